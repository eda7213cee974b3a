/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The transmit burst proper: plain packets (one segment, no offload, short, not shared) are copied
 * into send sections behind a header prepared once. Everything else is left to hvn_tx.c. Compiled
 * once per vector width.
 *
 * The inner loop fills one section and calls nothing, so that it has the registers for itself.
 */
#include "hvn_copy.h"
#include "hvn_tx.h"
#include "hvn_tx_hold.h"

/* Owned by one, one segment: refcnt and nb_segs, which are neighbours. */
#define TX_ALONE 0x00010001u

static_assert(offsetof(struct rte_mbuf, nb_segs) == offsetof(struct rte_mbuf, refcnt) + 2,
	      "layout of struct rte_mbuf");

/* Flags that a plain packet may not have: all in the upper word of ol_flags. */
#define TX_FLAGS ((RTE_MBUF_F_TX_OFFLOAD_MASK | RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL) >> 32)
static_assert((TX_FLAGS << 32 & RTE_MBUF_F_TX_OFFLOAD_MASK) == RTE_MBUF_F_TX_OFFLOAD_MASK,
	      "flags of struct rte_mbuf");

/*
 * In this order, one by one: the compiler then compares most fields where they lie. *data: where the
 * frame is.
 */
static __rte_always_inline bool
tx_is_plain(const struct hvn_txd *t, const struct rte_mbuf *m, const struct rte_mempool *pool,
	    const uint8_t **data)
{
	uint32_t alone, flags;
	uint16_t type;

	memcpy(&alone, &m->refcnt, sizeof(alone));
	if (unlikely(alone != TX_ALONE))
		return false;
	memcpy(&flags, (const uint8_t *)&m->ol_flags + 4 * (RTE_BYTE_ORDER == RTE_LITTLE_ENDIAN),
	       sizeof(flags));
	if (unlikely((flags & TX_FLAGS) != 0))
		return false;
	if (unlikely((uint32_t)m->data_len - RTE_ETHER_HDR_LEN >= t->plain_max || m->pool != pool))
		return false;
	*data = rte_pktmbuf_mtod(m, const uint8_t *);
	/* A tag in the frame goes beside it. */
	memcpy(&type, *data + 2 * RTE_ETHER_ADDR_LEN, sizeof(type));
	return type != RTE_BE16(RTE_ETHER_TYPE_VLAN);
}

/*
 * The header of 44 bytes without, of 60 with a record, in registers: the last one ends where it
 * does. For the compiler what is stored into a section might change it.
 */
#if HVN_WIDTH >= 32
typedef hvn_v32 tx_vec;
#else
typedef hvn_v16 tx_vec;
#endif

#define TX_VECS(len)	  (((len) + sizeof(tx_vec) - 1) / sizeof(tx_vec))
#define TX_VEC_AT(i, len) RTE_MIN((i) * sizeof(tx_vec), (len) - sizeof(tx_vec))

struct tx_head {
	tx_vec v[TX_VECS(HVN_TXD_HEAD_MAX)];
};

static __rte_always_inline void
tx_get_head(struct tx_head *h, const uint8_t *from, const uint64_t len)
{
	for (uint64_t i = 0; i < TX_VECS(len); i++)
		h->v[i] = *(const tx_vec *)(const void *)(from + TX_VEC_AT(i, len));
}

static __rte_always_inline void
tx_put_head(uint8_t *at, const struct tx_head *h, const uint64_t len)
{
	for (uint64_t i = 0; i < TX_VECS(len); i++)
		*(tx_vec *)(void *)(at + TX_VEC_AT(i, len)) = h->v[i];
}

enum tx_stop {
	TX_ALL,	      /* no packet is left */
	TX_FULL,      /* the aggregate is */
	TX_NOT_PLAIN, /* the next packet is not */
	TX_NO_ROOM,   /* no aggregate can be opened */
};

/*
 * Plain packets from pkts up to end into the open aggregate; returns where it stopped, and why.
 * Every message is padded with zeros, of which there are less than 8; hvn_tx_send_section() takes
 * back what the last one has.
 */
static __rte_always_inline struct rte_mbuf **
tx_fill(struct hvn_txd *t, const struct rte_mempool *const pool, struct rte_mbuf **pkts,
	struct rte_mbuf **const end, uint64_t *bytes, enum tx_stop *why, const uint64_t head_len,
	const uint64_t align)
{
	uint8_t *at = t->agg_base + ((t->agg_end + align) & ~align), *behind;
	uint8_t *const limit = t->agg_base + t->agg_limit;
	struct rte_mbuf **const last =
		pkts + RTE_MIN((uint64_t)(end - pkts), (uint64_t)(t->agg_max - t->agg_pkts));
	struct rte_mbuf **next = pkts;
	uint64_t len = 0, sum = 0, stride;
	uint32_t word;
	const struct rte_mbuf *m;
	const uint8_t *data;
	struct tx_head head;

	tx_get_head(&head, t->head, head_len);
	*why = last == end ? TX_ALL : TX_FULL;
	for (; next != last; next++) {
		m = *next;
		if (!tx_is_plain(t, m, pool, &data)) {
			*why = TX_NOT_PLAIN;
			break;
		}
		len = m->data_len;
		stride = (head_len + len + align) & ~align;
		behind = at + stride;
		if (unlikely(behind > limit)) {
			*why = TX_FULL;
			break;
		}
		/* Padding; then the header, of which two words differ from packet to packet. */
		memset(behind - 8, 0, 8);
		tx_put_head(at, &head, head_len);
		word = (uint32_t)stride;
		memcpy(at + offsetof(struct rndis_packet, hdr.len), &word, sizeof(word));
		word = (uint32_t)len;
		memcpy(at + offsetof(struct rndis_packet, data_len), &word, sizeof(word));
		hvn_copy_wide(at + head_len, data, (uint32_t)len, HVN_WIDTH);
		at = behind;
		sum += len;
	}
	if (unlikely(next == pkts))
		return next;
	/*
	 * The last message, as it is without padding. Rounded up as a negative number rounded down:
	 * head_len + align, if used here too, would be stored once a packet.
	 */
	len = next[-1]->data_len;
	at += (int64_t)(-(head_len + len) & ~align);
	t->agg_last = (uint32_t)(at - t->agg_base);
	t->agg_end = t->agg_last + (uint32_t)(head_len + len);
	t->agg_pkts += (uint32_t)(next - pkts);
	*bytes += sum;
	return next;
}

/* Plain packets, section by section. Where it stops, the aggregate is open unless it is empty. */
static __rte_always_inline struct rte_mbuf **
tx_sections(struct hvn_txq *q, struct hvn_txd *t, struct rte_mbuf **next,
	    struct rte_mbuf **const end, uint64_t *bytes, enum tx_stop *stop,
	    const uint64_t head_len, const uint64_t align)
{
	/* All of them go back to this one together. */
	const struct rte_mempool *const pool = (*next)->pool;
	enum tx_stop why = TX_NO_ROOM;

	while (t->agg_base != NULL || likely(hvn_tx_open(q, t))) {
		next = tx_fill(t, pool, next, end, bytes, &why, head_len, align);
		if (why != TX_FULL)
			break;
		hvn_tx_send_section(q, t);
		why = TX_NO_ROOM;
	}
	if (unlikely(t->agg_base != NULL && t->agg_pkts == 0))
		hvn_tx_unopen(t);
	*stop = why;
	return next;
}

/*
 * One function for each header, so that the loop has the registers for itself; and one for the
 * alignment that hosts ask for, as a constant.
 */
#define TX_SECTIONS(name, head_len, align)                                                         \
	static __rte_noinline struct rte_mbuf **name(struct hvn_txq *q, struct hvn_txd *t,         \
						     struct rte_mbuf **next,                       \
						     struct rte_mbuf **const end, uint64_t *bytes, \
						     enum tx_stop *why)                            \
	{                                                                                          \
		return tx_sections(q, t, next, end, bytes, why, head_len, align);                  \
	}

TX_SECTIONS(tx_sections_44_8, sizeof(struct rndis_packet), 7)
TX_SECTIONS(tx_sections_44, sizeof(struct rndis_packet), t->agg_align)
TX_SECTIONS(tx_sections_60, HVN_TXD_HEAD_MAX, t->agg_align)

/* The mbufs of plain packets go back together: they are of one pool, and nobody else has them. */
static __rte_always_inline void
tx_free(struct rte_mbuf **pkts, struct rte_mbuf **end)
{
	struct rte_mempool *pool = (*pkts)->pool;
	const uint32_t n = (uint32_t)(end - pkts);
#ifndef RTE_LIBRTE_MEMPOOL_DEBUG
	struct rte_mempool_cache *cache = rte_mempool_default_cache(pool, rte_lcore_id());

	if (likely(cache != NULL && cache->len + n <= cache->flushthresh)) {
		hvn_copy_wide((uint8_t *)&cache->objs[cache->len], (const uint8_t *)pkts,
			      n * (uint32_t)sizeof(*pkts), HVN_WIDTH);
		cache->len += n;
		return;
	}
#endif
	rte_mempool_put_bulk(pool, (void **)pkts, n);
}

/* The caller holds out_lock. Returns how many packets were taken. */
uint16_t
HVN_WIDE(hvn_tx_pack)(struct hvn_txq *q, struct rte_mbuf **pkts, uint16_t n)
{
	struct rte_mbuf **const end = pkts + n, **next = pkts, **from = pkts;
	struct hvn_txd *t = q->txd;
	uint32_t bad = 0, copied = 0;
	const uint8_t *data;
	uint64_t bytes = 0;
	enum tx_stop why;

	/* from..next: copied, not yet freed, of one pool */
	for (;;) {
		why = TX_NOT_PLAIN;
		if (likely(tx_is_plain(t, *next, (*next)->pool, &data))) {
			if (unlikely(t->head_len != sizeof(struct rndis_packet)))
				next = tx_sections_60(q, t, next, end, &bytes, &why);
			else if (likely(t->agg_align == 7))
				next = tx_sections_44_8(q, t, next, end, &bytes, &why);
			else
				next = tx_sections_44(q, t, next, end, &bytes, &why);
			copied += (uint32_t)(next - from);
		}
		if (why == TX_ALL)
			break;
		if (next != from)
			tx_free(from, next);
		from = next;
		/* For want of a section a packet may still be read in place. */
		if (why == TX_NO_ROOM && (t->n_sect != 0 || t->n_free == 0))
			break;
		if (!hvn_tx_special(q, t, *next, &bytes, &bad))
			break;
		from = ++next;
		if (next == end)
			break;
	}
	if (t->agg_base != NULL && (t->agg_pkts == t->agg_max || !hvn_tx_end(q)))
		hvn_tx_send_section(q, t);
	if (next != from)
		tx_free(from, next);
	q->stats.packets += (uint32_t)(next - pkts) - bad;
	q->stats.errors += bad;
	q->stats.copied += copied;
	q->stats.bytes += bytes;
	return (uint16_t)(next - pkts);
}
