/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a host says of itself, read with suspicion. Pure code: no DPDK, no allocation.
 *
 * Every function returns 0, or -EPROTO and a reason in *why for the log; results are then
 * untouched. Messages are private copies.
 */
#ifndef HVN_CAPS_H
#define HVN_CAPS_H

#include <stdint.h>

#include "ndis_wire.h"
#include "nvsp_wire.h"
#include "rndis_wire.h"

/* A slot or section below this cannot hold an RNDIS header and an Ethernet header (T24, T25). */
#define HVN_SLOT_MIN 68u

/* RECV_BUF_COMPLETE for a buffer of buf_len bytes. */
int hvn_caps_recv_buf(const void *msg, uint32_t len, uint64_t buf_len, uint32_t *slot_size,
		      uint32_t *slot_count, const char **why);

/* SEND_BUF_COMPLETE for a buffer of buf_len bytes. */
int hvn_caps_send_buf(const void *msg, uint32_t len, uint64_t buf_len, uint32_t *section_size,
		      uint32_t *section_count, const char **why);

/* INITIALIZE_CMPLT: RNDIS messages in a transfer, its bytes, and their alignment in bytes. */
int hvn_caps_initialize(const void *msg, uint32_t len, uint32_t *max_packets,
			uint32_t *max_transfer, uint32_t *align, const char **why);

/* NDIS_OFFLOAD, hardware capabilities or configuration in force; what is absent is 0. */
int hvn_caps_offload(const void *info, uint32_t len, struct ndis_offload *offload,
		     const char **why);

/* RSS capabilities: queues >= 1, RETA entries 1..NDIS_RSS_RETA_MAX. */
int hvn_caps_rss(const void *info, uint32_t len, uint32_t *flags, uint32_t *queues,
		 uint16_t *reta_size, const char **why);

/* SEND_TABLE: channel index by hash, each below channels. */
int hvn_caps_send_table(const void *msg, uint32_t len, uint32_t channels,
			uint16_t table[NVSP_SEND_TABLE_ENTRIES], const char **why);

#endif /* HVN_CAPS_H */
