/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Decode a message into the fields of its wire structure, encode those fields again: the bytes
 * must be the same. A byte that no field names is encoded as zero, so it shows.
 */
#ifndef ROUNDTRIP_H
#define ROUNDTRIP_H

#include <stdint.h>

#define RT_MAX 8192

/*
 * Each returns the length of what it wrote to out (RT_MAX bytes), or 0 if the message is not one it
 * knows or is refused by the parser under test.
 */
uint32_t rt_vmbus(const uint8_t *in, uint32_t len, uint8_t *out);
uint32_t rt_nvsp(const uint8_t *in, uint32_t len, uint8_t *out);
uint32_t rt_rndis(const uint8_t *in, uint32_t len, uint8_t *out);
/* A ring packet without its trailer, through a real ring; payload (of in) by the way, may be NULL. */
uint32_t rt_ring(const uint8_t *in, uint32_t len, uint8_t *out, const uint8_t **payload,
		 uint32_t *payload_len);

#endif /* ROUNDTRIP_H */
