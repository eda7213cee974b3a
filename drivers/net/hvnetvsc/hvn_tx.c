/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Transmit burst: short packets are copied into send sections, several to a message; long ones are
 * read by the host where they are. One publish and at most one signal per burst.
 *
 * Nothing is started that cannot be finished: a descriptor, a section and room in the ring are
 * there before a byte is copied, so that an aggregate is always sent by the end of the burst.
 */
#include <errno.h>

#include <rte_cycles.h>

#include "hvn_chan.h"
#include "hvn_copy.h"
#include "hvn_path_inline.h"
#include "hvn_tx_frame.h"
#include "hvn_txd.h"
#include "rndis_build.h"

#define HEAD_LEN HVN_TXD_HEAD_LEN
#define MSG_LEN	 (sizeof(struct vmbus_pkt_desc) + NVSP_MSG_SIZE)
#define PFNS_MAX 96u /* of one message: 64 KiB in as many pieces as there may be */

/* Always left for completions of the receive side, which must get through. */
#define ACK_ROOM (HVN_ACKS_MAX * 32u)

static_assert(HEAD_LEN == sizeof(struct rndis_packet) + RNDIS_PPI_U32_SIZE, "");
static_assert(MSG_LEN % 8 == 0, "");

/* --- room ----------------------------------------------------------------------------------------- */

static inline bool
tx_room(struct vmbus_ring *tx, uint32_t len)
{
	uint32_t need = len + VMBUS_PKT_TRAILER + RTE_MIN(ACK_ROOM, tx->size / 4);

	if (likely(vmbus_ring_tx_free(tx) > need))
		return true;
	return vmbus_ring_tx_space(tx) > need;
}

/* Descriptors run low: look for completions, also where nobody receives. */
static __rte_noinline void
tx_reclaim(struct hvn_txq *q)
{
	struct hvn_chan *ch = q->chan;

	if (!hvn_lock_try(&ch->in_lock))
		return;
	hvn_chan_scan_locked(ch);
	hvn_lock_release(&ch->in_lock);
	hvn_txd_harvest(q);
}

uint32_t
hvn_tx_reclaim(struct hvn_txq *q)
{
	if (unlikely(q->txd->inside) && !hvn_txd_repair(q))
		return hvn_txd_used(q->txd);
	hvn_txd_enter(q->txd);
	hvn_txd_harvest(q);
	if (hvn_txd_used(q->txd) != 0)
		tx_reclaim(q);
	hvn_txd_leave(q->txd);
	return hvn_txd_used(q->txd);
}

/* --- aggregates ------------------------------------------------------------------------------------ */

static inline void
tx_send_section(struct hvn_txq *q, struct hvn_txd *t)
{
	struct vmbus_ring *tx = &q->chan->vc->tx;
	const uint16_t d = t->agg_desc;
	const uint64_t msg[7] = {
		VMBUS_PKT_INBAND | UINT64_C(2) << 16 | (uint64_t)(MSG_LEN / 8) << 32 |
			(uint64_t)VMBUS_PKT_F_RC << 48,
		hvn_txd_arm(t, d),
		NVSP_RNDIS | (uint64_t)NVSP_CHANNEL_DATA << 32,
		t->desc[d].sect | (uint64_t)t->agg_end << 32,
	};
	struct vmbus_ring_span span;

	static_assert(sizeof(msg) == MSG_LEN, "");
	t->agg_base = NULL;
	q->stats.messages++;
	/* Cannot fail: room was there when the aggregate was opened, and out_lock is held since. */
	if (likely(vmbus_ring_tx_reserve(tx, MSG_LEN, &span) == 0)) {
		vmbus_ring_tx_fill(&span, 0, msg, sizeof(msg));
		vmbus_ring_tx_commit(tx, MSG_LEN);
		return;
	}
	/* But the ring may have turned out corrupt: the packets are lost with the device. */
	t->desc[d].expect = 0;
	hvn_txd_put(t, d);
	q->stats.errors += t->agg_pkts;
}

static inline bool
tx_agg_open(struct hvn_txq *q, struct hvn_txd *t)
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
	if (unlikely(!tx_room(&q->chan->vc->tx, MSG_LEN))) {
		q->stats.ring_full++;
		return false;
	}
	d = hvn_txd_get(t);
	t->agg_desc = d;
	t->desc[d].sect = t->sect[--t->n_sect];
	t->agg_base = t->send_buf + (size_t)t->desc[d].sect * t->section_size;
	t->agg_end = 0;
	t->agg_pkts = 0;
	return true;
}

/*
 * Room for a message of total bytes in the open aggregate, or in a new one; NULL if there is none.
 * The message before is padded now: the last one of an aggregate stays unpadded.
 */
static inline uint8_t *
tx_agg_room(struct hvn_txq *q, struct hvn_txd *t, uint32_t total)
{
	uint32_t start = 0, pad;
	uint8_t *last;

	if (t->agg_base != NULL) {
		start = (t->agg_end + t->agg_align) & ~t->agg_align;
		if (t->agg_pkts == t->agg_max || start + total > t->agg_limit)
			tx_send_section(q, t);
	}
	if (t->agg_base == NULL) {
		if (!tx_agg_open(q, t))
			return NULL;
		start = 0;
	} else {
		pad = start - t->agg_end;
		last = t->agg_base + t->agg_last;
		((struct rndis_hdr *)last)->len += pad;
		if (likely(pad <= 8))
			memset(t->agg_base + t->agg_end, 0, 8);
		else
			memset(t->agg_base + t->agg_end, 0, pad);
	}
	t->agg_last = start;
	t->agg_end = start + total;
	t->agg_pkts++;
	return t->agg_base + start;
}

/* --- the plain case: one segment, no offload, short ------------------------------------------------ */

static inline bool
tx_is_plain(const struct hvn_txd *t, const struct rte_mbuf *m, const uint8_t *data)
{
	uint16_t type;

	if (m->nb_segs != 1 || (m->ol_flags & RTE_MBUF_F_TX_OFFLOAD_MASK) != 0 ||
	    (uint32_t)m->data_len - RTE_ETHER_HDR_LEN >= t->plain_max)
		return false;
	memcpy(&type, data + 2 * RTE_ETHER_ADDR_LEN, sizeof(type));
	return type != RTE_BE16(RTE_ETHER_TYPE_VLAN);
}

static inline void
tx_write_plain(const struct hvn_txd *t, uint8_t *p, const uint8_t *data, uint32_t len)
{
	const uint64_t w[2] = {
		RNDIS_PACKET | (uint64_t)(HEAD_LEN + len) << 32,
		(HEAD_LEN - RNDIS_OFFSET_BASE) | (uint64_t)len << 32,
	};

	memcpy(p, w, sizeof(w));
	hvn_copy16(p + 16, t->head + 16);
	hvn_copy16(p + 32, t->head + 32);
	hvn_copy16(p + HEAD_LEN - 16, t->head + HEAD_LEN - 16);
	hvn_copy(p + HEAD_LEN, data, len);
}

/* --- everything else -------------------------------------------------------------------------------- */

static uint32_t
tx_write_header(const struct hvn_txd *t, const struct hvn_tx_frame *f, uint8_t *p)
{
	struct rndis_packet *pkt = (struct rndis_packet *)p;
	uint32_t i, len;

	memcpy(p, t->head, HEAD_LEN);
	for (i = 0; i < f->n_ppi; i++)
		rndis_build_ppi(pkt, f->ppi_type[i], f->ppi_value[i]);
	len = rndis_build_finish(pkt, f->len, 0);
	return len;
}

static uint8_t *
tx_copy_chain(const struct rte_mbuf *m, uint32_t skip, uint8_t *dst)
{
	for (; m != NULL; m = m->next) {
		if (skip >= m->data_len) {
			skip -= m->data_len;
			continue;
		}
		hvn_copy(dst, rte_pktmbuf_mtod_offset(m, const uint8_t *, skip),
			 m->data_len - skip);
		dst += m->data_len - skip;
		skip = 0;
	}
	return dst;
}

static bool
tx_copy(struct hvn_txq *q, struct hvn_txd *t, const struct rte_mbuf *m,
	const struct hvn_tx_frame *f, uint32_t total)
{
	uint8_t *p = tx_agg_room(q, t, total);

	if (p == NULL)
		return false;
	p += tx_write_header(t, f, p);
	memcpy(p, f->head, f->head_len);
	tx_copy_chain(m, f->skip, p + f->head_len);
	q->stats.copied++;
	return true;
}

/*
 * Add a piece of memory, contiguous for devices, as one range of consecutive page frames. Returns
 * the new number of words, 0 if there are too many.
 */
static uint32_t
tx_add_range(uint64_t *ext, uint32_t n, uint64_t gpa, uint32_t len)
{
	const uint64_t first = gpa >> HV_PAGE_SHIFT, last = (gpa + len - 1) >> HV_PAGE_SHIFT;
	uint64_t pfn;

	if (n + 1 + (last - first + 1) > PFNS_MAX + HVN_GPA_RANGES_MAX)
		return 0;
	ext[n++] = len | (gpa & HV_PAGE_MASK) << 32;
	for (pfn = first; pfn <= last; pfn++)
		ext[n++] = pfn;
	return n;
}

/* Ranges for the RNDIS header in slot d, and for the chain behind skip bytes. Words, or 0. */
static uint32_t
tx_build_ranges(const struct hvn_txd *t, uint16_t d, const struct hvn_tx_frame *f,
		const struct rte_mbuf *m, uint64_t *ext)
{
	const uint32_t rndis = HEAD_LEN + f->n_ppi * RNDIS_PPI_U32_SIZE;
	uint32_t n, ranges = 1, skip = f->skip;

	/* ext[0] is the head of the extension: reserved, number of ranges. */
	n = tx_add_range(ext, 1, t->desc[d].hdr_gpa, rndis + f->head_len);
	for (; m != NULL && n != 0; m = m->next) {
		if (skip >= m->data_len) {
			skip -= m->data_len;
			continue;
		}
		if (++ranges > HVN_GPA_RANGES_MAX)
			return 0;
		n = tx_add_range(ext, n, hv_vmbus_gpa(rte_pktmbuf_iova_offset(m, skip)),
				 m->data_len - skip);
		skip = 0;
	}
	ext[0] = (uint64_t)ranges << 32;
	return n;
}

/* 1: sent; 0: no room now; -EMSGSIZE: too many pieces. */
static int
tx_direct(struct hvn_txq *q, struct hvn_txd *t, struct rte_mbuf *m, const struct hvn_tx_frame *f)
{
	static const uint64_t nvsp[NVSP_MSG_SIZE / 8] = {
		NVSP_RNDIS | (uint64_t)NVSP_CHANNEL_DATA << 32,
		NVSP_NO_SECTION,
	};
	uint64_t ext[2 + 1 + HVN_GPA_RANGES_MAX + PFNS_MAX];
	struct vmbus_ring *tx = &q->chan->vc->tx;
	struct vmbus_ring_span span;
	uint32_t n, len;
	uint8_t *slot;
	uint16_t d;

	/* Order of packets: what was packed before goes out before. */
	if (t->agg_base != NULL)
		tx_send_section(q, t);
	if (t->n_free == 0) {
		q->stats.desc_full++;
		return 0;
	}
	d = t->free[t->n_free - 1];
	n = tx_build_ranges(t, d, f, m, ext + 2);
	if (n == 0)
		return -EMSGSIZE;
	n += 2;
	len = n * 8 + NVSP_MSG_SIZE;
	if (!tx_room(tx, len) || vmbus_ring_tx_reserve(tx, len, &span) != 0) {
		q->stats.ring_full++;
		return 0;
	}
	d = hvn_txd_get(t);
	slot = t->hdr + d * HVN_TXD_HDR_SIZE;
	slot += tx_write_header(t, f, slot);
	memcpy(slot, f->head, f->head_len);
	t->desc[d].mbuf = m;

	ext[0] = VMBUS_PKT_GPA_DIRECT | (uint64_t)n << 16 | (uint64_t)(len / 8) << 32 |
		 (uint64_t)VMBUS_PKT_F_RC << 48;
	ext[1] = hvn_txd_arm(t, d);
	vmbus_ring_tx_fill(&span, 0, ext, n * 8);
	vmbus_ring_tx_fill(&span, n * 8, nvsp, sizeof(nvsp));
	vmbus_ring_tx_commit(tx, len);
	q->stats.messages++;
	q->stats.direct++;
	return 1;
}

/* What became of a packet. */
enum tx_result {
	TX_WAIT,   /* no room: it and all behind it stay with the application */
	TX_COPIED, /* its mbuf can be freed */
	TX_KEPT,   /* its mbuf is freed when the host completes the message */
	TX_BAD,	   /* cannot be sent: counted, to be freed */
};

static __rte_noinline enum tx_result
tx_special(struct hvn_txq *q, struct hvn_txd *t, struct rte_mbuf *m)
{
	struct hvn_tx_frame f;
	uint32_t total;
	bool fits;
	int rc;

	if (hvn_tx_describe(q->port, m, &f) != 0)
		return TX_BAD;
	total = HEAD_LEN + f.n_ppi * RNDIS_PPI_U32_SIZE + f.len;
	fits = total <= t->agg_limit && t->send_buf != NULL;
	if (fits && f.len <= t->copybreak && (t->agg_base != NULL || t->n_sect != 0))
		return tx_copy(q, t, m, &f, total) ? TX_COPIED : TX_WAIT;
	/* A message of its own, read in place; also for want of a section. */
	rc = tx_direct(q, t, m, &f);
	if (rc >= 0)
		return rc == 1 ? TX_KEPT : TX_WAIT;
	if (!fits)
		return TX_BAD;
	return tx_copy(q, t, m, &f, total) ? TX_COPIED : TX_WAIT;
}

/* --- burst ------------------------------------------------------------------------------------------ */

/* Copied packets whose mbufs are freed together: pkts[from..to). */
struct tx_done {
	struct rte_mbuf **pkts;
	uint16_t from, to;
};

static inline void
tx_free_run(struct tx_done *run, uint16_t next)
{
	if (run->to != run->from)
		rte_mempool_put_bulk(run->pkts[run->from]->pool, (void **)&run->pkts[run->from],
				     run->to - run->from);
	run->from = run->to = next;
}

/* The mbuf of packet i is no longer needed. */
static inline void
tx_free_one(struct tx_done *run, uint16_t i, bool fast)
{
	struct rte_mbuf *m = run->pkts[i];

	if (!fast) {
		if (unlikely(m->nb_segs != 1 || !RTE_MBUF_DIRECT(m))) {
			tx_free_run(run, i + 1);
			rte_pktmbuf_free(m);
			return;
		}
		if (unlikely(rte_pktmbuf_prefree_seg(m) == NULL)) {
			tx_free_run(run, i + 1);
			return;
		}
		if (unlikely(run->to != run->from && m->pool != run->pkts[run->from]->pool))
			tx_free_run(run, i);
	}
	run->to = i + 1;
}

/* Packets into messages; the caller holds out_lock. Returns how many were taken. */
static inline uint16_t
tx_pack(struct hvn_txq *q, struct hvn_txd *t, struct rte_mbuf **pkts, uint16_t n)
{
	const bool fast = (q->offloads & RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE) != 0;
	struct tx_done run = { .pkts = pkts };
	uint64_t bytes = 0;
	uint32_t copied = 0, bad = 0;
	enum tx_result res;
	struct rte_mbuf *m;
	uint32_t len;
	uint8_t *p;
	uint16_t i;

	for (i = 0; i < n; i++) {
		m = pkts[i];
		len = m->pkt_len;
		if (likely(tx_is_plain(t, m, rte_pktmbuf_mtod(m, const uint8_t *)))) {
			p = tx_agg_room(q, t, HEAD_LEN + len);
			if (likely(p != NULL)) {
				tx_write_plain(t, p, rte_pktmbuf_mtod(m, const uint8_t *), len);
				copied++;
				bytes += len;
				tx_free_one(&run, i, fast);
				continue;
			}
			/* For want of a section it may still be read in place. */
			if (t->n_sect != 0 || t->n_free == 0)
				break;
		}
		res = tx_special(q, t, m);
		if (res == TX_WAIT)
			break;
		if (res == TX_KEPT) {
			tx_free_run(&run, i + 1);
			bytes += len;
			continue;
		}
		if (res == TX_BAD)
			bad++;
		else
			bytes += len;
		tx_free_run(&run, i + 1);
		rte_pktmbuf_free(m);
	}
	if (t->agg_base != NULL)
		tx_send_section(q, t);
	tx_free_run(&run, i);
	q->stats.packets += i - bad;
	q->stats.copied += copied;
	q->stats.errors += bad;
	q->stats.bytes += bytes;
	return i;
}

static inline uint16_t
tx_synthetic(struct hvn_txq *q, struct rte_mbuf **pkts, uint16_t n)
{
	struct hvn_chan *ch = q->chan;
	struct hvn_txd *t = q->txd;
	bool signal;
	uint16_t sent;

	if (unlikely(ch == NULL || hvn_removed(q->port)))
		return 0;
	/* Whoever sent last was killed while doing so. */
	if (unlikely(t->inside) && !hvn_txd_repair(q))
		return 0;
	hvn_txd_enter(t);
	hvn_txd_harvest(q);
	if (unlikely(t->n_free < q->free_thresh || t->n_sect < t->sect_low))
		tx_reclaim(q);
	if (unlikely(n == 0) || (unlikely(!hvn_lock_try(&ch->out_lock)) &&
				 hvn_lock_spin(&ch->out_lock) == HVN_LOCK_NO)) {
		hvn_txd_leave(t);
		return 0;
	}
	sent = tx_pack(q, t, pkts, n);
	signal = vmbus_ring_tx_publish(&ch->vc->tx);
	hvn_lock_release(&ch->out_lock);
	hvn_txd_leave(t);
	if (signal) {
		ch->out_signals++;
		hv_vmbus_signal(hvn_vdev(q->port), ch->vc);
	}
	return sent;
}

uint16_t
hvn_tx_synthetic(struct hvn_txq *q, struct rte_mbuf **pkts, uint16_t n)
{
	return tx_synthetic(q, pkts, n);
}

uint16_t
hvn_tx_burst(void *txq, struct rte_mbuf **pkts, uint16_t n)
{
	struct hvn_txq *q = txq;

	/* Without a VF nothing needs protection; with one it is looked up again, and protected. */
	if (unlikely(__atomic_load_n(&q->path.vf_port, __ATOMIC_RELAXED) != RTE_MAX_ETHPORTS))
		return hvn_path_tx(q, pkts, n);
	return tx_synthetic(q, pkts, n);
}

uint16_t
hvn_tx_burst_none(void *txq, struct rte_mbuf **pkts, uint16_t n)
{
	RTE_SET_USED(txq);
	RTE_SET_USED(pkts);
	RTE_SET_USED(n);
	return 0;
}

int
hvn_tx_done_cleanup(void *txq, uint32_t free_cnt)
{
	struct hvn_txq *q = txq;
	uint32_t before;

	RTE_SET_USED(free_cnt);
	if (q->chan == NULL || hvn_removed(q->port))
		return 0;
	before = hvn_txd_used(q->txd);
	return (int)(before - hvn_tx_reclaim(q));
}

int
hvn_tx_descriptor_status(void *txq, uint16_t offset)
{
	struct hvn_txq *q = txq;
	struct hvn_txd *t = q->txd;

	if (offset >= q->nb_desc)
		return -EINVAL;
	/* Descriptors are used in no order: the free and the completed ones come first. */
	if (offset < t->n_free + (__atomic_load_n(&t->done_prod, __ATOMIC_ACQUIRE) - t->done_cons))
		return RTE_ETH_TX_DESC_DONE;
	return RTE_ETH_TX_DESC_FULL;
}
