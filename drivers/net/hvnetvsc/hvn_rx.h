/* SPDX-License-Identifier: BSD-3-Clause */
/* Between the receive burst and what it seldom needs (hvn_rx_frame.c). */
#ifndef HVN_RX_H
#define HVN_RX_H

#include <stddef.h>

#include "hvn.h"
#include "hvn_copy.h"

extern const uint16_t hvn_rx_csum_flags[64];

/* mbuf flags of the checksum record: bits 0..5 of it say failed or good by layer. */
static inline uint64_t
hvn_rx_csum(const struct rndis_pkt_info *info)
{
	return (info->present & RNDIS_INFO_CHECKSUM) != 0 ? hvn_rx_csum_flags[info->checksum & 63u]
							  : 0;
}

/*
 * The 8 bytes from data_off to port of a fresh mbuf, its flags, and the two words behind: len of
 * one segment, or 0; tail: vlan_tci << 16 | hash << 32. Relies on the layout that vector drivers of
 * DPDK rely on too; checked in hvn_rx.c.
 */
static __rte_always_inline void
hvn_rx_fill(struct rte_mbuf *m, uint64_t mbuf_init, uint64_t flags, uint64_t len, uint64_t tail)
{
	uint64_t *at = (uint64_t *)(void *)&m->rearm_data;

	at[0] = mbuf_init;
	at[1] = flags;
	at[2] = len << 32;
	at[3] = len | tail;
}

/* The application's array: frames up to next, then empty mbufs up to spare. */
struct hvn_rx_room {
	struct rte_mbuf **next, **spare;
	uint64_t bytes;
};

/* One function per vector width: the burst proper, by the holder of in_lock. */
typedef uint16_t (*hvn_rx_synthetic_t)(struct hvn_rxq *q, struct hvn_chan *ch,
				       struct rte_mbuf **pkts, uint16_t n);
HVN_WIDTHS(uint16_t, hvn_rx_synthetic, struct hvn_rxq *q, struct hvn_chan *ch,
	   struct rte_mbuf **pkts, uint16_t n);

/* Empty mbufs into pkts: at most want, 0 if there are none. */
uint32_t hvn_rx_alloc(struct hvn_rxq *q, struct rte_mbuf **pkts, uint32_t want);

/* Tell the packet types of these layers, which are some of L2, L3 and L4. */
void hvn_rx_ptypes(struct rte_mbuf **pkts, uint16_t n, uint32_t layers);

/* Any range, with every check; there is an empty mbuf. False: not done for want of more of them. */
bool hvn_rx_range(struct hvn_rxq *q, struct hvn_chan *ch, struct hvn_rx_room *room, uint64_t range);

/* A frame for several. */
static __rte_always_inline void
hvn_rx_count_group(struct hvn_rxq *q, const uint8_t *frame)
{
	uint32_t high;
	uint16_t low;

	memcpy(&high, frame, sizeof(high));
	memcpy(&low, frame + 4, sizeof(low));
	if (high == UINT32_MAX && low == UINT16_MAX)
		q->stats.broadcast++;
	else
		q->stats.multicast++;
}

/*
 * Deliver a frame that needs more than one copy into one mbuf: several segments, a tag to insert,
 * a piece of a coalesced frame. m is an empty mbuf of the queue's pool.
 * Returns HVN_RX_*; -EBADMSG: refused and counted, m was not used; -ENOMEM: nothing was changed.
 */
#define HVN_RX_USED 1 /* m now belongs to a frame */
#define HVN_RX_OUT  2 /* *out is to be delivered */
int hvn_rx_frame(struct hvn_rxq *q, struct hvn_chan *ch, struct rte_mbuf *m, const uint8_t *frame,
		 const struct rndis_pkt_info *info, struct rte_mbuf **out);

/* Give up the coalesced frame being collected, and count that. */
void hvn_rx_rsc_drop(struct hvn_rxq *q, struct hvn_chan *ch);

#endif /* HVN_RX_H */
