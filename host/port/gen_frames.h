/* SPDX-License-Identifier: BSD-3-Clause */
/* The ring of prebuilt frames that a gen port offers again and again. */
#ifndef HOST_GEN_FRAMES_H
#define HOST_GEN_FRAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "gen_format.h"
#include "port.h"

enum gen_proto { GEN_UDP, GEN_TCP, GEN_MIX };

struct gen_shape {
	uint64_t size[2]; /* bytes without FCS, lowest and highest */
	bool imix;	  /* 60, 590 and 1514 bytes, 7 : 4 : 1 */
	uint64_t flows;
	unsigned int proto; /* enum gen_proto */
	uint64_t ipv6;	    /* per cent of the flows */
	uint64_t vlan;	    /* 0 = untagged */
	uint64_t pieces;    /* > 1: as the pieces of a coalesced segment (RSC); TCP only */
	uint8_t port;
	uint8_t dst[6];
};

/* What changes when a frame is sent. */
struct gen_slot {
	uint8_t *head; /* struct gen_head */
	uint8_t *l4_cksum;
	uint32_t l4_sum; /* of all but the head and the field itself, folded */
	uint16_t flow;
	uint16_t payload;
	bool udp;
};

struct gen_frames {
	struct port_frame *frames; /* pieces of them per slot */
	struct gen_slot *slots;
	unsigned int pieces;
	unsigned int n; /* slots, a multiple of the flows: slot i belongs to flow i % flows */
	uint8_t *bytes;
};

/* 0 or -ENOMEM. A frame too short for its headers is made as long as they need. */
int gen_frames_build(struct gen_frames *g, const struct gen_shape *shape);
void gen_frames_free(struct gen_frames *g);

/* Write sequence number and time into a slot's frame and make its L4 checksum right. */
void gen_slot_seal(const struct gen_slot *slot, uint8_t port, uint32_t seq, uint64_t ns);

#endif /* HOST_GEN_FRAMES_H */
