/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include <rte_malloc.h>
#include <rte_memory.h>

#include "hvn_chan.h"
#include "hvn_txd.h"
#include "rndis_build.h"

/* Aligned to its size, a header never straddles a page: the host wants it in one piece. */
static int
make_hdr(struct hvn_txd *t)
{
	uint8_t *hdr = rte_zmalloc_socket("hvn_txd", t->nb_desc * HVN_TXD_HDR_SIZE, HV_PAGE_SIZE,
					  t->socket);

	if (hdr == NULL)
		return -ENOMEM;
	t->hdr = hdr;
	for (uint32_t i = 0; i < t->nb_desc; i++)
		t->desc[i].hdr_gpa = hv_vmbus_gpa(rte_mem_virt2iova(hdr + i * HVN_TXD_HDR_SIZE));
	return 0;
}

int
hvn_txd_create(struct hvn_txd **txd, uint16_t nb_desc, int socket)
{
	struct hvn_txd *t = rte_zmalloc_socket("hvn_txd", sizeof(*t), RTE_CACHE_LINE_SIZE, socket);
	uint32_t i, ring = rte_align32pow2(nb_desc);

	if (t == NULL)
		return -ENOMEM;
	t->nb_desc = nb_desc;
	t->socket = socket;
	t->mask = ring - 1;
	t->desc = rte_zmalloc_socket("hvn_txd", nb_desc * sizeof(t->desc[0]), 64, socket);
	t->free = rte_zmalloc_socket("hvn_txd", nb_desc * sizeof(t->free[0]), 64, socket);
	t->sect = rte_zmalloc_socket("hvn_txd", nb_desc * sizeof(t->sect[0]), 64, socket);
	t->done = rte_zmalloc_socket("hvn_txd", ring * sizeof(t->done[0]), 64, socket);
	if (t->desc == NULL || t->free == NULL || t->sect == NULL || t->done == NULL ||
	    make_hdr(t) != 0) {
		hvn_txd_free(t);
		return -ENOMEM;
	}
	for (i = 0; i < nb_desc; i++) {
		t->desc[i].sect = HVN_TXD_NO_SECT;
		t->desc[i].id = 1u << 16 | i;
		t->free[i] = (uint16_t)(nb_desc - 1 - i);
	}
	t->n_free = nb_desc;
	*txd = t;
	return 0;
}

void
hvn_txd_free(struct hvn_txd *t)
{
	if (t == NULL)
		return;
	rte_free(t->desc);
	rte_free(t->free);
	rte_free(t->sect);
	rte_free(t->done);
	rte_free(t->hdr);
	rte_free(t);
}

void
hvn_txd_start(const struct hvn_txq *q)
{
	const uint16_t queue = q->queue_id;
	const struct hvn_port *p = q->port;
	struct hvn_txd *t = q->txd;
	const struct hvn_host_caps *caps = &p->caps;
	const uint32_t queues = RTE_MAX(p->data->nb_tx_queues, 1);
	const uint32_t share = p->send_buf != NULL ? caps->section_count / queues : 0;
	struct rndis_packet *head;
	uint32_t i;

	t->id_high = (1ull << 16 | queue) << 32;
	t->send_buf = p->send_buf;
	t->section_size = caps->section_size;
	t->n_sect = RTE_MIN(share, (uint32_t)t->nb_desc);
	t->sect_first = queue * share;
	t->sect_count = t->n_sect;
	for (i = 0; i < t->n_sect; i++)
		t->sect[i] = t->sect_first + t->n_sect - 1 - i;
	t->agg_base = NULL;
	t->agg_max = RTE_MAX(caps->max_packets, 1u);
	t->agg_limit = caps->section_size;
	t->agg_limit = RTE_MIN(t->agg_limit, hvn_tx_packed_max(p));
	t->agg_align = caps->align != 0 ? caps->align - 1 : 0;
	t->agg_limit &= ~t->agg_align;
	t->copybreak = p->args.tx_copybreak;
	if (t->n_sect == 0)
		t->copybreak = 0;
	t->plain_max = 0;
	/* No host has asked for more than 8 yet. */
	if (t->copybreak >= RTE_ETHER_HDR_LEN && t->agg_align < 8 &&
	    t->agg_limit > HVN_TXD_HEAD_MAX + RTE_ETHER_HDR_LEN)
		t->plain_max = RTE_MIN(RTE_MIN(t->copybreak, hvn_tx_longest(p)),
				       t->agg_limit - HVN_TXD_HEAD_MAX) -
			       RTE_ETHER_HDR_LEN + 1;
	t->reclaim_max = t->nb_desc - RTE_MIN(q->free_thresh, t->nb_desc / 2u);
	if (t->n_sect != 0)
		t->reclaim_max = RTE_MIN(t->reclaim_max, RTE_MAX(t->n_sect * 3 / 4, 1u));
	t->reclaim_at = RTE_MIN((uint32_t)HVN_TX_RECLAIM, t->reclaim_max);

	memset(t->head, 0, sizeof(t->head));
	head = rndis_build_packet(t->head);
	/* Among several channels the hash value tells the host on which one to complete. */
	if (p->n_chans > 1)
		rndis_build_ppi(head, RNDIS_PPI_HASH_VALUE, q->queue_id);
	t->head_len = rndis_build_finish(head, 0, 0);
}

void
hvn_txd_lose(struct hvn_txd *t)
{
	for (uint32_t i = 0; i < t->nb_desc; i++)
		if (t->desc[i].expect != 0)
			t->desc[i].mbuf = NULL;
	/* Without memory for others, those that it may read are used again. */
	if (hvn_txd_used(t) != 0)
		make_hdr(t);
}

void
hvn_txd_reset(struct hvn_txd *t)
{
	uint32_t i;

	for (i = 0; i < t->nb_desc; i++) {
		struct hvn_txd_desc *desc = &t->desc[i];

		rte_pktmbuf_free(desc->mbuf);
		desc->mbuf = NULL;
		desc->sect = HVN_TXD_NO_SECT;
		desc->expect = 0;
		desc->foreign = 0;
		t->free[i] = (uint16_t)(t->nb_desc - 1 - i);
	}
	t->n_free = t->nb_desc;
	t->n_sect = t->segs = 0;
	t->copybreak = 0;
	t->plain_max = 0;
	t->done_cons = t->done_prod;
	t->foreign_pending = 0;
	t->agg_base = NULL;
	t->inside = 0;
}

/* Does a message that the host has not completed hold this section? */
static bool
section_held(const struct hvn_txd *t, uint32_t sect)
{
	for (uint32_t i = 0; i < t->nb_desc; i++)
		if (t->desc[i].expect != 0 && t->desc[i].sect == sect)
			return true;
	return false;
}

bool
hvn_txd_repair(struct hvn_txq *q)
{
	struct hvn_txd *t = q->txd;

	if (hvn_process_elsewhere(t->inside))
		return false;
	/* Nobody completes anything meanwhile. */
	if (q->chan == NULL || !hvn_chan_lock_in(q->chan))
		return false;
	/* Nor sends what waits. */
	if (hvn_biased_wait(&q->chan->out_lock, HVN_BURST_MS) == HVN_LOCK_NO) {
		hvn_biased_release(&q->chan->in_lock);
		return false;
	}
	HVN_LOG(WARNING, "port %u: transmit queue %u: a process ended while it sent", q->port_id,
		q->queue_id);
	t->done_cons = t->done_prod;
	t->agg_base = NULL;
	if (q->queue_id == q->chan->index)
		__atomic_store_n(&q->chan->tx_held, false, __ATOMIC_RELAXED);
	hvn_biased_release(&q->chan->out_lock);
	t->n_free = t->n_sect = t->segs = 0;
	for (uint32_t i = 0; i < t->nb_desc; i++) {
		struct hvn_txd_desc *desc = &t->desc[i];

		if (desc->expect != 0) {
			t->segs += desc->mbuf != NULL ? desc->segs : 0;
			continue;
		}
		/* It may have been freed before: rather lost than freed twice. */
		desc->mbuf = NULL;
		desc->sect = HVN_TXD_NO_SECT;
		t->free[t->n_free++] = (uint16_t)i;
	}
	for (uint32_t i = 0; i < t->sect_count; i++)
		if (!section_held(t, t->sect_first + i))
			t->sect[t->n_sect++] = t->sect_first + i;
	hvn_biased_release(&q->chan->in_lock);
	t->inside = 0;
	return true;
}

/* Push to the done ring, which holds every descriptor: it cannot be full. */
static void
push_done(struct hvn_txq *q, uint16_t d, uint32_t status)
{
	struct hvn_txd *t = q->txd;

	t->desc[d].expect = 0;
	q->stats.completions++;
	if (status != NVSP_STATUS_SUCCESS)
		q->stats.failed++;
	t->done[t->done_prod & t->mask] = d;
	/* Release: the descriptor before the index that hands it over. */
	__atomic_store_n(&t->done_prod, t->done_prod + 1, __ATOMIC_RELEASE);
}

void
hvn_tx_completed(struct hvn_chan *ch, uint64_t tid, uint32_t status)
{
	const uint32_t queue = (uint32_t)(tid >> 32) ^ 1u << 16;
	const uint16_t d = (uint16_t)tid;
	struct hvn_txq *q;
	struct hvn_txd *t;

	q = queue < HVN_QUEUES_MAX ? ch->port->txq[queue] : NULL;
	t = q != NULL ? q->txd : NULL;
	if (unlikely(t == NULL || d >= t->nb_desc ||
		     __atomic_load_n(&t->desc[d].expect, __ATOMIC_RELAXED) != (uint32_t)tid ||
		     (uint32_t)tid == 0)) {
		ch->invalid[HVN_INV_COMPLETION]++;
		return;
	}
	if (likely(q->chan == ch)) {
		push_done(q, d, status);
		return;
	}
	__atomic_store_n(&t->desc[d].foreign, (uint64_t)status << 32 | (uint32_t)tid,
			 __ATOMIC_RELAXED);
	/* Release: the note before the flag that makes it be looked for. */
	__atomic_store_n(&t->foreign_pending, 1, __ATOMIC_RELEASE);
}

/*
 * Completions of messages of this channel's own queue, of the form that hosts send, from the head
 * of the ring: all with one descriptor, and of success. Everything else is left to
 * hvn_tx_completed().
 */
uint32_t
hvn_tx_completed_run(struct hvn_chan *ch)
{
	const uint64_t success = NVSP_RNDIS_COMPLETE | (uint64_t)NVSP_STATUS_SUCCESS << 32;
	struct vmbus_ring *rx = &ch->vc->rx;
	const uint8_t *pkt = rx->data + rx->index;
	const uint8_t *const stop = rx->data + (rx->peer >= rx->index ? rx->peer : rx->size);
	struct hvn_txq *q = hvn_chan_txq(ch);
	uint32_t prod, first, len, nb_desc, mask;
	struct hvn_txd_desc *descs;
	uint64_t desc, tid, id_high;
	struct hvn_txd *t;
	uint16_t *done;

	t = q != NULL ? q->txd : NULL;
	if (t == NULL || pkt + 32 > stop)
		return 0;
	desc = hv_load64(pkt);
	len = 8 * (uint32_t)(uint16_t)(desc >> 32) + VMBUS_PKT_TRAILER;
	if ((uint32_t)desc != (VMBUS_PKT_COMPLETION | 2u << 16) || desc >> 32 > 0x1FFFF || len < 32)
		return 0;
	descs = t->desc;
	done = t->done;
	nb_desc = t->nb_desc;
	id_high = t->id_high;
	mask = t->mask;
	prod = first = t->done_prod;
	for (; pkt + len <= stop; pkt += len) {
		tid = hv_load64(pkt + 8);
		if (hv_load64(pkt) != desc || hv_load64(pkt + 16) != success ||
		    (tid ^ id_high) >> 32 != 0 || (uint16_t)tid >= nb_desc || (uint32_t)tid == 0 ||
		    __atomic_load_n(&descs[(uint16_t)tid].expect, __ATOMIC_RELAXED) !=
			    (uint32_t)tid)
			break;
		descs[(uint16_t)tid].expect = 0;
		done[prod++ & mask] = (uint16_t)tid;
		/* Release: the descriptor before the index that hands it over. One by one: a
		 * process may be killed here.
		 */
		__atomic_store_n(&t->done_prod, prod, __ATOMIC_RELEASE);
	}
	if (prod == first)
		return 0;
	q->stats.completions += prod - first;
	__atomic_store_n(&rx->index, vmbus_ring_wrap(rx, (uint32_t)(pkt - rx->data)),
			 __ATOMIC_RELAXED);
	return prod - first;
}

uint32_t
hvn_txd_harvest_some(struct hvn_txq *q, uint32_t max)
{
	struct hvn_txd *t = q->txd;
	uint32_t prod, n = 0;
	uint16_t d;

	if (__atomic_load_n(&t->foreign_pending, __ATOMIC_RELAXED) != 0)
		hvn_txd_take_foreign(q);
	/* Acquire: the descriptors that it hands over. */
	prod = __atomic_load_n(&t->done_prod, __ATOMIC_ACQUIRE);
	for (; t->done_cons != prod; t->done_cons++) {
		d = t->done[t->done_cons & t->mask];
		/* Packets in sections were freed when they were copied. */
		if (t->desc[d].mbuf != NULL && n++ == max)
			return max;
		hvn_txd_put(t, d);
	}
	return n;
}

void
hvn_txd_take_foreign(struct hvn_txq *q)
{
	struct hvn_txd *t = q->txd;
	uint32_t i;

	/* The own channel's completers are kept out, so that a message is completed once. */
	if (!hvn_biased_try(&q->chan->in_lock))
		return;
	/* The flag first: a note that comes later sets it again. Acquire: the notes. */
	__atomic_exchange_n(&t->foreign_pending, 0, __ATOMIC_ACQUIRE);
	for (i = 0; i < t->nb_desc; i++) {
		uint64_t note = __atomic_exchange_n(&t->desc[i].foreign, 0, __ATOMIC_RELAXED);

		if (note == 0)
			continue;
		if (t->desc[i].expect == (uint32_t)note)
			push_done(q, (uint16_t)i, (uint32_t)(note >> 32));
		else
			q->chan->invalid[HVN_INV_COMPLETION]++;
	}
	hvn_biased_release(&q->chan->in_lock);
}
