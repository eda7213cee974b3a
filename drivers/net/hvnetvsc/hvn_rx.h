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
 * The 8 bytes from data_off to port of a fresh mbuf, and the two words behind ol_flags. Relies on
 * the layout that vector drivers of DPDK rely on too; checked in hvn_rx.c.
 */
static __rte_always_inline void
hvn_rx_fill(struct rte_mbuf *m, uint64_t mbuf_init, uint64_t flags, uint32_t len, uint32_t hash)
{
	uint64_t *at = (uint64_t *)(void *)&m->packet_type;

	memcpy((uint8_t *)m + offsetof(struct rte_mbuf, rearm_data), &mbuf_init, 8);
	m->ol_flags = flags;
	at[0] = (uint64_t)len << 32;
	at[1] = (len & 0xFFFFu) | (uint64_t)hash << 32;
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
