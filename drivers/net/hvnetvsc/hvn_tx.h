/* SPDX-License-Identifier: BSD-3-Clause */
/* Between the transmit burst (hvn_tx_burst.c) and what is not plain (hvn_tx.c). */
#ifndef HVN_TX_H
#define HVN_TX_H

#include "hvn_chan.h"
#include "hvn_copy.h"
#include "hvn_txd.h"

/* One function per vector width: n > 0 packets into messages, by the holder of out_lock. */
typedef uint16_t (*hvn_tx_pack_t)(struct hvn_txq *q, struct rte_mbuf **pkts, uint16_t n);
HVN_WIDTHS(uint16_t, hvn_tx_pack, struct hvn_txq *q, struct rte_mbuf **pkts, uint16_t n);

/* Any packet, which is freed or kept. False if it has to wait for room. */
bool hvn_tx_special(struct hvn_txq *q, struct hvn_txd *t, struct rte_mbuf *m, uint64_t *bytes,
		    uint32_t *bad);

/* Always left for completions of the receive side, which must get through. */
#define HVN_TX_ACK_ROOM (HVN_ACKS_MAX * 32u)

/* The message of a section, without trailer. */
#define HVN_TX_MSG_LEN (sizeof(struct vmbus_pkt_desc) + NVSP_MSG_SIZE)

/* Is there room for a message of len bytes? */
static __rte_always_inline bool
hvn_tx_room(struct vmbus_ring *tx, uint32_t len)
{
	uint32_t need = len + VMBUS_PKT_TRAILER + RTE_MIN(HVN_TX_ACK_ROOM, tx->size / 4);

	if (likely(vmbus_ring_tx_free(tx) > need))
		return true;
	return vmbus_ring_tx_space(tx) > need;
}

/* Send the open aggregate. */
static __rte_always_inline void
hvn_tx_send_section(struct hvn_txq *q, struct hvn_txd *t)
{
	struct vmbus_ring *tx = &q->chan->vc->tx;
	const uint16_t d = t->agg_desc;
	const uint64_t desc = VMBUS_PKT_INBAND | UINT64_C(2) << 16 |
			      (uint64_t)(HVN_TX_MSG_LEN / 8) << 32 | (uint64_t)VMBUS_PKT_F_RC << 48;
	const uint64_t nvsp = NVSP_RNDIS | (uint64_t)NVSP_CHANNEL_DATA << 32;
	const uint64_t what = t->desc[d].sect | (uint64_t)t->agg_end << 32;
	struct vmbus_ring_span span;
	uint64_t *at, tid;

	/* The last message is not padded. */
	((struct rndis_hdr *)(t->agg_base + t->agg_last))->len = t->agg_end - t->agg_last;
	t->agg_base = NULL;
	q->stats.messages++;
	/* Cannot fail: room was there when the aggregate was opened, and out_lock is held since. */
	if (likely(tx->size - tx->index >= HVN_TX_MSG_LEN + VMBUS_PKT_TRAILER)) {
		tid = hvn_txd_arm(t, d);
		at = (uint64_t *)(void *)(tx->data + tx->index);
		at[0] = desc;
		at[1] = tid;
		at[2] = nvsp;
		at[3] = what;
		at[4] = at[5] = at[6] = 0;
		at[7] = (uint64_t)tx->index << 32;
		vmbus_ring_tx_advance(tx, HVN_TX_MSG_LEN + VMBUS_PKT_TRAILER);
		return;
	}
	if (likely(vmbus_ring_tx_reserve(tx, HVN_TX_MSG_LEN, &span) == 0)) {
		const uint64_t msg[HVN_TX_MSG_LEN / 8] = { desc, hvn_txd_arm(t, d), nvsp, what };

		vmbus_ring_tx_fill(&span, 0, msg, HVN_TX_MSG_LEN);
		vmbus_ring_tx_commit(tx, HVN_TX_MSG_LEN);
		return;
	}
	/*
	 * But the ring may have turned out corrupt: the packets are lost with the device. The id was
	 * never given out, so that no completion forged meanwhile can give the descriptor back too.
	 */
	hvn_txd_put(t, d);
	q->stats.errors += t->agg_pkts;
}

/* How many messages of sections there is room for. */
static __rte_always_inline uint32_t
hvn_tx_ring_left(struct vmbus_ring *tx)
{
	const uint32_t footprint = HVN_TX_MSG_LEN + VMBUS_PKT_TRAILER;
	const uint32_t keep = RTE_MIN(HVN_TX_ACK_ROOM, tx->size / 4) + 1;
	uint32_t room = vmbus_ring_tx_free(tx);

	if (room < keep + footprint)
		room = vmbus_ring_tx_space(tx);
	return room < keep ? 0 : (room - keep) / footprint;
}

/* Open an aggregate: a descriptor, a section and room in the ring. False: counted which is missing. */
static __rte_always_inline bool
hvn_tx_open(struct hvn_txq *q, struct hvn_txd *t)
{
	uint16_t d;

	if (unlikely(t->n_free == 0)) {
		q->stats.desc_full++;
		return false;
	}
	if (unlikely(t->n_sect == 0)) {
		q->stats.section_full++;
		return false;
	}
	if (unlikely(t->ring_left == 0)) {
		t->ring_left = hvn_tx_ring_left(&q->chan->vc->tx);
		if (t->ring_left == 0) {
			q->stats.ring_full++;
			return false;
		}
	}
	t->ring_left--;
	d = hvn_txd_get(t);
	t->agg_desc = d;
	t->desc[d].sect = t->sect[--t->n_sect];
	t->agg_base = t->send_buf + (size_t)t->desc[d].sect * t->section_size;
	t->agg_end = 0;
	t->agg_last = 0;
	t->agg_pkts = 0;
	return true;
}

/* Take back hvn_tx_open(): nothing came. */
static inline void
hvn_tx_unopen(struct hvn_txd *t)
{
	t->agg_base = NULL;
	hvn_txd_put(t, t->agg_desc);
}

#endif /* HVN_TX_H */
