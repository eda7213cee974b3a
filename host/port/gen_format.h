/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the frames of a gen port carry, so that any port recognises them when they come back:
 * an 18-byte head as the start of the UDP or TCP payload, the rest a fixed pattern. 18 bytes
 * are what the smallest Ethernet frame (60 bytes without FCS) has room for behind UDP/IPv4.
 */
#ifndef HOST_GEN_FORMAT_H
#define HOST_GEN_FORMAT_H

#include <assert.h>
#include <stdint.h>

#define GEN_MAGIC     0x4876
#define GEN_PORTS_MAX 64
#define GEN_FLOWS_MAX 4096
#define GEN_FRAME_MAX 9216
#define GEN_NS_MASK   0xFFFFFFFFFFFFu /* time stamps have 48 bits: 78 hours */

struct gen_head {
	uint16_t magic;
	uint16_t check; /* gen_check() of everything below and the payload's length */
	uint8_t port;	/* index of the NIC whose port generated the frame */
	uint8_t zero;
	uint16_t flow;
	uint16_t seq[2]; /* per flow; verify.c extends it to 64 bits */
	uint16_t ns[3];
} __attribute__((packed)); /* big-endian */
static_assert(sizeof(struct gen_head) == 18, "fits a 60-byte UDP/IPv4 frame");

struct gen_stamp {
	uint8_t port;
	uint16_t flow;
	uint32_t seq;
	uint64_t ns; /* of host_clock(), GEN_NS_MASK */
};

/* Result of gen_parse(), a mask; 0: not a gen frame. */
#define GEN_OURS	 0x01u /* the stamp is good */
#define GEN_BAD_HEAD	 0x02u
#define GEN_BAD_BYTES	 0x04u /* the payload, or the frame's length */
#define GEN_BAD_IP_CKSUM 0x08u
#define GEN_BAD_L4_CKSUM 0x10u
#define GEN_DAMAGED	 (GEN_BAD_HEAD | GEN_BAD_BYTES | GEN_BAD_IP_CKSUM | GEN_BAD_L4_CKSUM)

/* Prepare the pattern; may be called again. */
void gen_format_init(void);

/* Write a head; payload is the length of the UDP or TCP payload including it. */
void gen_head_write(uint8_t *at, const struct gen_stamp *stamp, uint32_t payload);

/* The pattern that follows a head. */
const uint8_t *gen_pattern(void);

/* Look at a frame from anywhere: any bytes, no alignment, one VLAN tag allowed. */
unsigned int gen_parse(const uint8_t *data, uint32_t len, struct gen_stamp *stamp);

/* Ones' complement sum of len bytes, unfolded, in memory order; len < 64 KiB. */
uint32_t gen_sum(const void *data, uint32_t len);
uint16_t gen_fold(uint32_t sum);

#endif /* HOST_GEN_FORMAT_H */
