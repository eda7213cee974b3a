/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Descriptors of a transmit queue: one per NVSP message in flight, with what it holds until the
 * host completes it (a send section, or an mbuf that the host reads directly).
 *
 * The transmitting lcore owns the stacks. Completions are found by whoever drains a channel:
 * on the queue's own channel, under its in_lock, they go through the done ring (one producer, one
 * consumer, no locked instruction); on another channel they are noted in the descriptor and taken
 * by the transmitting lcore under the own channel's in_lock.
 */
#ifndef HVN_TXD_H
#define HVN_TXD_H

#include "hvn.h"

/* RNDIS header and, where they must differ from the mbuf's, the frame's own headers. */
#define HVN_TXD_HDR_SIZE 256u
#define HVN_TXD_HEAD_MAX 60u /* RNDIS header with the hash value alone */
#define HVN_TXD_NO_SECT	 UINT32_MAX

/*
 * Messages in flight before their completions are looked for: few, so that the same sections are
 * used while the caches still have them; many, so that the look at the host's index pays.
 */
#ifndef HVN_TX_RECLAIM
#define HVN_TX_RECLAIM 64
#endif

struct hvn_txd_desc {
	struct rte_mbuf *mbuf; /* read by the host, or NULL */
	uint32_t expect;       /* low half of the id in flight, 0: none. Completer clears it */
	uint32_t sect;	       /* HVN_TXD_NO_SECT: none */
	uint64_t foreign;      /* completed on another channel: status << 32 | low half of the id */
	uint64_t hdr_gpa;
	uint32_t id;   /* low half of the last id: its own number, below a count that is odd */
	uint32_t segs; /* of mbuf, when it was sent */
};

/* Longest frame that may be sent unsegmented: the MTU's, with two tags that are in its bytes. */
static inline uint32_t
hvn_tx_longest(const struct hvn_port *p)
{
	return p->data->mtu + RTE_ETHER_HDR_LEN + 2u * sizeof(struct rte_vlan_hdr);
}

/*
 * Most bytes of RNDIS messages packed into one send. A message that goes alone may be longer: a
 * packet to be segmented is, and hosts that say 16 KiB take it.
 */
static inline uint32_t
hvn_tx_packed_max(const struct hvn_port *p)
{
	return p->known.max_transfer != 0 ? p->known.max_transfer : UINT32_MAX;
}

struct hvn_txd {
	/* of the transmitting lcore */
	struct hvn_txd_desc *desc;
	uint16_t *free; /* stack of n_free */
	uint32_t *sect; /* stack of n_sect */
	uint8_t *hdr;	/* HVN_TXD_HDR_SIZE per descriptor, DPDK memory */
	uint8_t *send_buf;
	uint32_t section_size;
	uint32_t n_free, n_sect;
	uint32_t segs;	 /* of all mbufs that the host reads: a pool has to last for nb_desc */
	uint32_t inside; /* the process that is changing the above, 0: none */
	uint32_t done_cons;
	uint32_t mask; /* of the done ring */
	uint32_t copybreak;
	uint32_t plain_max; /* frame bytes behind the Ethernet header, + 1 */
	uint32_t head_len;  /* of head */
	uint32_t ring_left; /* messages of sections there is room for, at least; within a burst */
	uint32_t reclaim_at, reclaim_max; /* look for completions when so many are in flight */
	uint32_t sect_first, sect_count;  /* the queue's share */
	uint64_t id_high;		  /* of this queue's ids: the upper half */
	uint16_t nb_desc;
	int socket;

	/* the open aggregate; none when agg_base is NULL. Between bursts: hvn_tx_hold.h. */
	uint8_t *agg_base;
	uint32_t agg_end;  /* bytes used */
	uint32_t agg_last; /* start of its last message */
	uint32_t agg_pkts;
	uint32_t agg_max;   /* messages */
	uint32_t agg_limit; /* bytes */
	uint32_t agg_align; /* of a message's start - 1 */
	bool looked;	    /* the thread has received since its last burst */
	uint16_t agg_desc;
	uint8_t head[64]; /* template of the RNDIS header */

	/* of the holder of in_lock */
	uint32_t done_prod __rte_cache_aligned;
	uint16_t *done;

	uint32_t foreign_pending __rte_cache_aligned;
};

int hvn_txd_create(struct hvn_txd **txd, uint16_t nb_desc, int socket);
void hvn_txd_free(struct hvn_txd *t);
/* Take the queue's share of the send sections and the host's limits. */
void hvn_txd_start(const struct hvn_txq *q);
/* Free every mbuf in flight and forget all messages: the host no longer reads memory. */
void hvn_txd_reset(struct hvn_txd *t);
/* Forget mbufs and headers in flight: lost, rather than given to others while a host reads them. */
void hvn_txd_lose(struct hvn_txd *t);
/* Out of line half of hvn_txd_harvest(). */
void hvn_txd_take_foreign(struct hvn_txq *q);

/*
 * The process that sent on this queue was killed meanwhile: what the host holds is told from what
 * it does not, and the stacks are made anew. false: not now, or it is stopped, and not dead.
 */
bool hvn_txd_repair(struct hvn_txq *q);

/* A burst changes descriptors between these; the order matters within one process only. */
static inline void
hvn_txd_enter(struct hvn_txd *t)
{
	t->inside = hvn_process_self;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline void
hvn_txd_leave(struct hvn_txd *t)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	t->inside = 0;
}

/* Messages in flight or not yet harvested. */
static inline uint32_t
hvn_txd_used(const struct hvn_txd *t)
{
	return t->nb_desc - t->n_free;
}

static inline void
hvn_txd_free_mbuf(struct hvn_txd *t, struct hvn_txd_desc *desc)
{
	t->segs -= desc->segs;
	rte_pktmbuf_free(desc->mbuf);
	desc->mbuf = NULL;
}

static inline void
hvn_txd_put(struct hvn_txd *t, uint16_t d)
{
	struct hvn_txd_desc *desc = &t->desc[d];

	if (desc->sect != HVN_TXD_NO_SECT) {
		t->sect[t->n_sect++] = desc->sect;
		desc->sect = HVN_TXD_NO_SECT;
	}
	if (desc->mbuf != NULL)
		hvn_txd_free_mbuf(t, desc);
	t->free[t->n_free++] = d;
}

/* What was completed, up to prod. */
static inline void
hvn_txd_harvest_to(struct hvn_txd *t, const uint32_t prod)
{
	struct hvn_txd_desc *const descs = t->desc, *desc;
	uint16_t *to = t->free + t->n_free, d;
	uint32_t *sect = t->sect + t->n_sect;

	for (uint32_t i = t->done_cons; i != prod; i++) {
		d = t->done[i & t->mask];
		desc = &descs[d];
		*to++ = d;
		if (likely(desc->mbuf == NULL)) {
			*sect++ = desc->sect;
			desc->sect = HVN_TXD_NO_SECT;
			continue;
		}
		hvn_txd_free_mbuf(t, desc);
	}
	t->n_free += prod - t->done_cons;
	t->n_sect = (uint32_t)(sect - t->sect);
	t->done_cons = prod;
}

/* Transmitting lcore: take back what was completed. */
static inline void
hvn_txd_harvest(struct hvn_txq *q)
{
	struct hvn_txd *t = q->txd;
	/* Acquire: the descriptors were released before they were pushed. */
	const uint32_t prod = __atomic_load_n(&t->done_prod, __ATOMIC_ACQUIRE);

	if (prod != t->done_cons)
		hvn_txd_harvest_to(t, prod);
	if (unlikely(__atomic_load_n(&t->foreign_pending, __ATOMIC_RELAXED) != 0))
		hvn_txd_take_foreign(q);
}

/* The same until max packets are freed, which is how many were. */
uint32_t hvn_txd_harvest_some(struct hvn_txq *q, uint32_t max);

/* Give a descriptor an id that was not in use recently, and never 0. There is a free one. */
static inline uint16_t
hvn_txd_get(struct hvn_txd *t)
{
	uint16_t d = t->free[--t->n_free];

	t->desc[d].id += 2u << 16;
	return d;
}

/* The message goes out: from now on its completion is expected. Returns its transaction id. */
static inline uint64_t
hvn_txd_arm(struct hvn_txd *t, uint16_t d)
{
	struct hvn_txd_desc *desc = &t->desc[d];

	desc->expect = desc->id;
	return t->id_high | desc->id;
}

#endif /* HVN_TXD_H */
