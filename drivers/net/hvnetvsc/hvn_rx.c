/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Receive burst: frames go from the host's slots straight into the application's array, as many
 * as it asked for; the rest stays in the ring, which is the host's back-pressure.
 */
#include <errno.h>
#include <stddef.h>

#include <rte_cycles.h>
#include <rte_net.h>

#include "hvn_chan.h"
#include "hvn_ext.h"
#include "hvn_path_inline.h"
#include "hvn_rx.h"
#include "hvn_tx_hold.h"

static_assert(
	offsetof(struct rte_mbuf, ol_flags) == offsetof(struct rte_mbuf, rearm_data) + 8 &&
		offsetof(struct rte_mbuf, pkt_len) == offsetof(struct rte_mbuf, packet_type) + 4 &&
		offsetof(struct rte_mbuf, data_len) == offsetof(struct rte_mbuf, packet_type) + 8 &&
		offsetof(struct rte_mbuf, hash) == offsetof(struct rte_mbuf, packet_type) + 12,
	"layout of struct rte_mbuf");

#define CSUM_L3(n)                                                  \
	(((n)&RNDIS_RXCSUM_IP_FAILED) ? RTE_MBUF_F_RX_IP_CKSUM_BAD  \
	 : ((n)&RNDIS_RXCSUM_IP_OK)   ? RTE_MBUF_F_RX_IP_CKSUM_GOOD \
				      : 0)
#define CSUM_L4(n)                                                                                 \
	(((n) & (RNDIS_RXCSUM_TCP_FAILED | RNDIS_RXCSUM_UDP_FAILED)) ? RTE_MBUF_F_RX_L4_CKSUM_BAD  \
	 : ((n) & (RNDIS_RXCSUM_TCP_OK | RNDIS_RXCSUM_UDP_OK))	     ? RTE_MBUF_F_RX_L4_CKSUM_GOOD \
								     : 0)
#define CSUM(n)	   (CSUM_L3(n) | CSUM_L4(n))
#define CSUM_4(n)  CSUM(n), CSUM((n) + 1), CSUM((n) + 2), CSUM((n) + 3)
#define CSUM_16(n) CSUM_4(n), CSUM_4((n) + 4), CSUM_4((n) + 8), CSUM_4((n) + 12)
const uint16_t hvn_rx_csum_flags[64] = { CSUM_16(0), CSUM_16(16), CSUM_16(32), CSUM_16(48) };

/* As many as there are, at most want. */
uint32_t
hvn_rx_alloc(struct hvn_rxq *q, struct rte_mbuf **pkts, uint32_t want)
{
	struct rte_mempool_cache *cache = rte_mempool_default_cache(q->pool, rte_lcore_id());

#ifndef RTE_LIBRTE_MEMPOOL_DEBUG
	if (likely(cache != NULL && cache->len >= want)) {
		cache->len -= want;
		hvn_copy((uint8_t *)pkts, (const uint8_t *)&cache->objs[cache->len],
			 want * sizeof(*pkts));
		return want;
	}
#endif
	for (; want != 0; want /= 2)
		if (rte_mempool_get_bulk(q->pool, (void **)pkts, want) == 0)
			return want;
	q->stats.nombuf++;
	return 0;
}

static __rte_noinline void
rx_bad_range(struct hvn_chan *ch, struct hvn_rxq *q, enum rndis_parse_error err)
{
	if (err == RNDIS_PARSE_OK) {
		ch->invalid[HVN_INV_RANGE]++;
	} else {
		ch->invalid[HVN_INV_RNDIS]++;
		ch->parse_errors[err]++;
	}
	q->stats.errors++;
	ch->msg_status = NVSP_STATUS_FAILURE;
}

bool
hvn_rx_range(struct hvn_rxq *q, struct hvn_chan *ch, struct hvn_rx_room *room, uint64_t range)
{
	struct rte_mbuf *m = *room->next, *frame = NULL;
	enum rndis_parse_error err;
	struct rndis_pkt_info info;
	const uint8_t *slot;
	uint32_t len;
	int rc;

	slot = hvn_chan_range(q->port, range, &len);
	err = slot != NULL ? rndis_parse_packet(slot, len, 0, &info) : RNDIS_PARSE_OK;
	if (slot == NULL || err != RNDIS_PARSE_OK) {
		rx_bad_range(ch, q, err);
		return true;
	}
	if (ch->ext != NULL && hvn_ext_attach(q, ch, m, slot, len, &info)) {
		frame = m;
		rc = HVN_RX_USED | HVN_RX_OUT;
	} else {
		rc = hvn_rx_frame(q, ch, m, slot + info.data_off, &info, &frame);
	}
	if (rc == -ENOMEM) {
		q->stats.nombuf++;
		return false;
	}
	if (rc < 0) {
		ch->msg_status = NVSP_STATUS_FAILURE;
		return true;
	}
	/* The place of an mbuf that became part of a frame in the making is filled again. */
	if (rc == HVN_RX_USED)
		*room->next = *--room->spare;
	if ((rc & HVN_RX_OUT) == 0)
		return true;
	if (rc == HVN_RX_OUT)
		rte_mbuf_raw_free(m); /* its place is needed */
	*room->next++ = frame;
	room->bytes += frame->pkt_len;
	if ((*rte_pktmbuf_mtod(frame, uint8_t *) & 1) != 0)
		hvn_rx_count_group(q, rte_pktmbuf_mtod(frame, uint8_t *));
	return true;
}

static hvn_rx_synthetic_t rx_synthetic;

RTE_INIT(hvn_rx_pick)
{
	rx_synthetic = HVN_PICK(hvn_rx_synthetic);
}

void
hvn_rx_ptypes(struct rte_mbuf **pkts, uint16_t n, uint32_t layers)
{
	uint32_t look = RTE_PTYPE_L2_MASK;
	uint16_t i;

	/* A layer is found by way of those below it. */
	if (layers > RTE_PTYPE_L2_MASK)
		look |= RTE_PTYPE_L3_MASK;
	look |= layers & RTE_PTYPE_L4_MASK;
	for (i = 0; i < n; i++)
		pkts[i]->packet_type = rte_net_get_ptype(pkts[i], NULL, look) & layers;
}

/* There is something in the ring, or owed. */
static __rte_noinline uint16_t
rx_busy(struct hvn_rxq *q, struct rte_mbuf **pkts, uint16_t n)
{
	struct hvn_chan *ch = q->chan;
	const struct vmbus_ring *rx;
	uint16_t got;
	bool again, idle;

	/* Busy: a transmit burst on another lcore looks for completions; come back. */
	if (unlikely(ch == NULL || hvn_removed(q->port)) || !hvn_biased_try(&ch->in_lock))
		return 0;
	/* Stopped since, by the primary process of this secondary. */
	if (unlikely(q->chan != ch)) {
		hvn_biased_release(&ch->in_lock);
		return 0;
	}
	/* Who asks for nothing polls, too. */
	got = likely(n != 0) ? rx_synthetic(q, ch, pkts, n) : 0;
	again = hvn_tx_watch(ch, got);
	rx = &ch->vc->rx;
	idle = rx->index == rx->published && ch->n_acks == 0 && !again;
	__atomic_store_n(&q->idle_at, idle ? rx->index : HVN_NEVER_IDLE, __ATOMIC_RELAXED);
	hvn_biased_release(&ch->in_lock);
	if (unlikely(q->ptypes))
		hvn_rx_ptypes(pkts, got, q->ptypes);
	return got;
}

/* Nothing new and nothing owed: one line of the host's was read, and one of ours; no lock taken. */
static __rte_always_inline bool
rx_idle(struct hvn_rxq *q)
{
	__atomic_store_n(&q->polls, q->polls + 1, __ATOMIC_RELAXED);
	return __atomic_load_n(q->windex, __ATOMIC_RELAXED) ==
	       __atomic_load_n(&q->idle_at, __ATOMIC_RELAXED);
}

uint16_t
hvn_rx_poll(struct hvn_rxq *q, struct rte_mbuf **pkts, uint16_t n)
{
	return rx_idle(q) ? 0 : rx_busy(q, pkts, n);
}

uint16_t
hvn_rx_burst(void *rxq, struct rte_mbuf **pkts, uint16_t n)
{
	struct hvn_rxq *q = rxq;

	/* Without a VF nothing needs protection; with one it is looked up again, and protected. */
	if (unlikely(__atomic_load_n(&q->path.vf_port, __ATOMIC_RELAXED) != RTE_MAX_ETHPORTS))
		return hvn_path_rx(q, pkts, n);
	return rx_idle(q) ? 0 : rx_busy(q, pkts, n);
}

uint16_t
hvn_rx_burst_none(void *rxq, struct rte_mbuf **pkts, uint16_t n)
{
	RTE_SET_USED(rxq);
	RTE_SET_USED(pkts);
	RTE_SET_USED(n);
	return 0;
}
