/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Transmit burst: short packets are copied into send sections, several to a message; long ones are
 * read by the host where they are. One publish and at most one signal per burst.
 *
 * Nothing is started that cannot be finished: a descriptor, a section and room in the ring are
 * there before a byte is copied, so that an aggregate can always be sent at the end of the burst.
 */
#include <errno.h>

#include <rte_cycles.h>

#include "hvn_chan.h"
#include "hvn_path_inline.h"
#include "hvn_tx.h"
#include "hvn_tx_frame.h"
#include "hvn_tx_hold.h"
#include "rndis_build.h"

#define PFNS_MAX 96u /* of one message: 64 KiB in as many pieces as there may be */

static_assert(HVN_TXD_HEAD_MAX == sizeof(struct rndis_packet) + RNDIS_PPI_U32_SIZE, "");

/* Many messages are in flight: look for completions, also where nobody receives. */
static __rte_noinline void
tx_reclaim(struct hvn_txq *q)
{
	struct hvn_chan *ch = q->chan;
	struct hvn_txd *t = q->txd;

	if (!hvn_biased_try(&ch->in_lock))
		return;
	hvn_chan_scan_locked(ch);
	hvn_biased_release(&ch->in_lock);
	hvn_txd_harvest(q);
	/* The host is behind: not again at once, but in good time. */
	t->reclaim_at = RTE_MIN(hvn_txd_used(t) + HVN_TX_RECLAIM, t->reclaim_max);
}

uint32_t
hvn_tx_reclaim(struct hvn_txq *q)
{
	if (unlikely(q->txd->inside) && !hvn_txd_repair(q))
		return hvn_txd_used(q->txd);
	hvn_txd_enter(q->txd);
	if (likely(!hvn_recovering(q->port))) {
		hvn_txd_harvest(q);
		hvn_tx_flush(q);
		if (hvn_txd_used(q->txd) != 0)
			tx_reclaim(q);
	}
	hvn_txd_leave(q->txd);
	return hvn_txd_used(q->txd);
}

/* --- aggregates ------------------------------------------------------------------------------------ */

/*
 * Room for a message of total bytes in the open aggregate, or in a new one; NULL if there is none.
 * Its padding is zeroed; the caller counts it in the length, hvn_tx_send_section() takes it back.
 */
static uint8_t *
tx_agg_room(struct hvn_txq *q, struct hvn_txd *t, uint32_t total)
{
	uint32_t start = 0, pad = -total & t->agg_align;

	if (t->agg_base != NULL) {
		start = (t->agg_end + t->agg_align) & ~t->agg_align;
		if (t->agg_pkts == t->agg_max || start + total > t->agg_limit)
			hvn_tx_send_section(q, t);
	}
	if (t->agg_base == NULL) {
		if (!hvn_tx_open(q, t))
			return NULL;
		start = 0;
	}
	/* Behind the last message of a full section there is no room, nor need, for padding. */
	if (start + total + pad <= t->agg_limit)
		memset(t->agg_base + start + total, 0, pad);
	t->agg_last = start;
	t->agg_end = start + total;
	t->agg_pkts++;
	return t->agg_base + start;
}

/* --- everything else -------------------------------------------------------------------------------- */

static uint32_t
tx_write_header(const struct hvn_txd *t, const struct hvn_tx_frame *f, uint8_t *p)
{
	struct rndis_packet *pkt = (struct rndis_packet *)p;
	uint32_t i;

	memcpy(p, t->head, t->head_len);
	for (i = 0; i < f->n_ppi; i++)
		rndis_build_ppi(pkt, f->ppi_type[i], f->ppi_value[i]);
	return rndis_build_finish(pkt, f->len, 0);
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
	uint32_t head;

	if (p == NULL)
		return false;
	head = tx_write_header(t, f, p);
	((struct rndis_hdr *)p)->len += -total & t->agg_align;
	memcpy(p + head, f->head, f->head_len);
	tx_copy_chain(m, f->skip, p + head + f->head_len);
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
	const uint32_t rndis = t->head_len + f->n_ppi * RNDIS_PPI_U32_SIZE;
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
		hvn_tx_send_section(q, t);
	/* Each segment counts as a descriptor; a long chain goes when nothing else is read. */
	if (t->n_free == 0 || (t->segs != 0 && t->segs + m->nb_segs > t->nb_desc)) {
		q->stats.desc_full++;
		return 0;
	}
	d = t->free[t->n_free - 1];
	n = tx_build_ranges(t, d, f, m, ext + 2);
	if (n == 0)
		return -EMSGSIZE;
	n += 2;
	len = n * 8 + NVSP_MSG_SIZE;
	if (!hvn_tx_room(tx, len) || vmbus_ring_tx_reserve(tx, len, &span) != 0) {
		q->stats.ring_full++;
		return 0;
	}
	t->ring_left = 0; /* no longer known */
	d = hvn_txd_get(t);
	slot = t->hdr + d * HVN_TXD_HDR_SIZE;
	slot += tx_write_header(t, f, slot);
	memcpy(slot, f->head, f->head_len);
	t->desc[d].mbuf = m;
	t->desc[d].segs = m->nb_segs;
	t->segs += m->nb_segs;

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

bool
hvn_tx_special(struct hvn_txq *q, struct hvn_txd *t, struct rte_mbuf *m, uint64_t *bytes,
	       uint32_t *bad)
{
	const uint32_t len = m->pkt_len;
	struct hvn_tx_frame f;
	bool fits, copied;
	uint32_t total;
	int rc = 0;

	if (hvn_tx_describe(q->port, m, &f) != 0) {
		(*bad)++;
		rte_pktmbuf_free(m);
		return true;
	}
	total = t->head_len + f.n_ppi * RNDIS_PPI_U32_SIZE + f.len;
	fits = total <= t->agg_limit && t->sect_count != 0;
	copied = fits && f.len <= t->copybreak && (t->agg_base != NULL || t->n_sect != 0);
	/* A message of its own, read in place; also for want of a section. */
	if (!copied)
		rc = tx_direct(q, t, m, &f);
	if (!copied && rc >= 0) {
		*bytes += rc != 0 ? len : 0;
		return rc != 0;
	}
	if (!fits) {
		(*bad)++;
		rte_pktmbuf_free(m);
		return true;
	}
	if (!tx_copy(q, t, m, &f, total))
		return false;
	*bytes += len;
	rte_pktmbuf_free(m);
	return true;
}

/* --- burst ------------------------------------------------------------------------------------------ */

static hvn_tx_pack_t tx_pack;

RTE_INIT(hvn_tx_pick)
{
	tx_pack = HVN_PICK(hvn_tx_pack);
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
	/* Inside it is waited for; else it sees this. */
	if (unlikely(hvn_recovering(q->port))) {
		hvn_txd_leave(t);
		return 0;
	}
	hvn_txd_harvest(q);
	if (unlikely(hvn_txd_used(t) >= t->reclaim_at))
		tx_reclaim(q);
	if (unlikely(n == 0) || (unlikely(!hvn_biased_try(&ch->out_lock)) &&
				 hvn_biased_spin(&ch->out_lock) == HVN_LOCK_NO)) {
		hvn_tx_flush(q);
		hvn_txd_leave(t);
		return 0;
	}
	t->ring_left = 0;
	sent = hvn_tx_begin(q) ? tx_pack(q, pkts, n) : 0;
	/*
	 * Whatever is missing, the host may be waiting too: for room in the ring where its completions
	 * stand unread.
	 */
	if (unlikely(sent != n))
		t->reclaim_at = 0;
	signal = vmbus_ring_tx_publish(&ch->vc->tx);
	ch->out_signals += signal;
	hvn_biased_release(&ch->out_lock);
	if (signal)
		hv_vmbus_signal(hvn_vdev(q->port), ch->vc);
	/* Behind it: who waits for this burst's end closes the channel then. */
	hvn_txd_leave(t);
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
