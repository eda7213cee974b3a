/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The per-packet half of vmbus_ring.h, which documents it. Include that instead.
 *
 * A corrupt ring has the indices of a full one for its producer, of an empty one for its consumer:
 * both end in a refresh, or in vmbus_ring_rx_ready(), which look at ->error.
 */
#ifndef VMBUS_RING_INLINE_H
#define VMBUS_RING_INLINE_H

#include <errno.h>
#include <string.h>

#define VMBUS_RING_LIKELY(x)   __builtin_expect(!!(x), 1)
#define VMBUS_RING_UNLIKELY(x) __builtin_expect(!!(x), 0)

/*
 * Full barrier: orders a store to the shared header before the loads behind it. The thread
 * sanitizer does not model fences; it needs none here, because every transfer of data is
 * ordered by an acquire load of a release store.
 */
static inline void
vmbus_ring_full_fence(void)
{
#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"
#endif
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
}

/* Bytes from index a forward to index b. */
static inline uint32_t
vmbus_ring_dist(const struct vmbus_ring *r, uint32_t a, uint32_t b)
{
	return b >= a ? b - a : b - a + r->size;
}

/* Index i, at most one data area too far, brought back. */
static inline uint32_t
vmbus_ring_wrap(const struct vmbus_ring *r, uint32_t i)
{
	return i >= r->size ? i - r->size : i;
}

/* Out of line, vmbus_ring.c: take in a changed index of the other side. */
int vmbus_ring_tx_refresh(struct vmbus_ring *r, uint32_t rindex);
bool vmbus_ring_rx_refresh(struct vmbus_ring *r, uint32_t windex);
/* Out of line: what is rare. */
int vmbus_ring_tx_no_room(struct vmbus_ring *r, uint32_t len);
void vmbus_ring_tx_fill_wrapped(const struct vmbus_ring_span *span, uint32_t off, const void *src,
				uint32_t len);
int vmbus_ring_rx_corrupt(struct vmbus_ring *r);
int vmbus_ring_rx_wrapped(struct vmbus_ring *r, struct vmbus_ring_pkt *pkt, void *scratch,
			  uint32_t scratch_len);
bool vmbus_ring_rx_unblocked(struct vmbus_ring *r, uint32_t released);

/* --- producer ------------------------------------------------------------------------------ */

/* Free bytes by the cached read index; 8 of them always stay unused, so that full != empty. */
static inline uint32_t
vmbus_ring_tx_free(const struct vmbus_ring *r)
{
	return r->peer > r->index ? r->peer - r->index : r->peer - r->index + r->size;
}

static inline uint32_t
vmbus_ring_tx_space(struct vmbus_ring *r)
{
	/* Acquire: what is stored into the freed bytes comes after the reads that freed them. */
	uint32_t rindex = __atomic_load_n(&r->hdr->rindex, __ATOMIC_ACQUIRE);

	if (VMBUS_RING_UNLIKELY(rindex != r->peer) && vmbus_ring_tx_refresh(r, rindex) != 0)
		return 0;
	return vmbus_ring_tx_free(r) - VMBUS_PKT_TRAILER;
}

static inline int
vmbus_ring_tx_reserve(struct vmbus_ring *r, uint32_t len, struct vmbus_ring_span *span)
{
	uint32_t to_end = r->size - r->index;
	int rc;

	/* len is bounded before it is added to: len + trailer cannot overflow. */
	if (VMBUS_RING_UNLIKELY(len >= r->size || (len & 7u) != 0 ||
				len + VMBUS_PKT_TRAILER >= vmbus_ring_tx_free(r))) {
		rc = vmbus_ring_tx_no_room(r, len);
		if (rc != 0)
			return rc;
	}
	span->p[0] = r->data + r->index;
	span->p[1] = r->data;
	span->n[0] = len <= to_end ? len : to_end;
	span->n[1] = len - span->n[0];
	return 0;
}

static inline void
vmbus_ring_tx_fill(const struct vmbus_ring_span *span, uint32_t off, const void *src, uint32_t len)
{
	if (VMBUS_RING_LIKELY(off + len <= span->n[0]))
		memcpy(span->p[0] + off, src, len);
	else
		vmbus_ring_tx_fill_wrapped(span, off, src, len);
}

static inline void
vmbus_ring_tx_commit(struct vmbus_ring *r, uint32_t len)
{
	uint32_t at = vmbus_ring_wrap(r, r->index + len);
	uint64_t trailer = (uint64_t)r->index << 32;

	memcpy(__builtin_assume_aligned(r->data + at, 8), &trailer, sizeof(trailer));
	r->index = vmbus_ring_wrap(r, at + VMBUS_PKT_TRAILER);
}

static inline uint64_t *
vmbus_ring_tx_run(struct vmbus_ring *r, uint32_t bytes)
{
	if (VMBUS_RING_UNLIKELY(bytes >= vmbus_ring_tx_free(r) && bytes > vmbus_ring_tx_space(r)))
		return NULL;
	if (VMBUS_RING_UNLIKELY(bytes > r->size - r->index))
		return NULL;
	return (uint64_t *)(void *)(r->data + r->index);
}

static inline void
vmbus_ring_tx_advance(struct vmbus_ring *r, uint32_t bytes)
{
	r->index = vmbus_ring_wrap(r, r->index + bytes);
}

static inline bool
vmbus_ring_tx_publish(struct vmbus_ring *r)
{
	struct vmbus_ring_hdr *hdr = r->hdr;
	uint32_t before = r->published;

	if (before == r->index || VMBUS_RING_UNLIKELY(r->error != 0))
		return false;
	r->published = r->index;
	/* Release: the packets' bytes are visible before the index that covers them. */
	__atomic_store_n(&hdr->windex, r->index, __ATOMIC_RELEASE);
	/*
	 * The index store before the loads of mask and read index: a consumer that unmasks and
	 * then looks at the write index either sees ours, or we see its cleared mask.
	 */
	vmbus_ring_full_fence();
	/* Acquire: the mask is read before the read index, as the consumer writes them. */
	if (VMBUS_RING_LIKELY(__atomic_load_n(&hdr->imask, __ATOMIC_ACQUIRE) != 0))
		return false;
	/* A bad read index can only make this decision wrong; it is validated when it is used. */
	if (__atomic_load_n(&hdr->rindex, __ATOMIC_RELAXED) != before)
		return false;
	r->signals++;
	return true;
}

/* --- consumer ------------------------------------------------------------------------------ */

static inline bool
vmbus_ring_rx_ready(struct vmbus_ring *r)
{
	uint32_t windex;

	if (VMBUS_RING_LIKELY(r->index != r->peer))
		return true;
	/* Acquire: packet bytes are read after the index that says they are complete. */
	windex = __atomic_load_n(&r->hdr->windex, __ATOMIC_ACQUIRE);
	if (windex == r->peer)
		return VMBUS_RING_UNLIKELY(r->error != 0);
	return vmbus_ring_rx_refresh(r, windex);
}

static inline int
vmbus_ring_rx_peek(struct vmbus_ring *r, struct vmbus_ring_pkt *pkt, void *scratch,
		   uint32_t scratch_len)
{
	uint32_t at = r->index;
	uint32_t off8, len8, min_off8;
	uint64_t word;

	if (!vmbus_ring_rx_ready(r))
		return 0;
	if (VMBUS_RING_UNLIKELY(r->error != 0))
		return r->error;

	/*
	 * One load of each half of the descriptor: from here on only the copy counts. Indices
	 * are multiples of 8, so neither half straddles the end of the data area.
	 */
	word = __atomic_load_n((const uint64_t *)(const void *)(r->data + at), __ATOMIC_RELAXED);
	pkt->tid = __atomic_load_n((const uint64_t *)(const void *)(r->data +
								    vmbus_ring_wrap(r, at + 8)),
				   __ATOMIC_RELAXED);
	pkt->type = (uint16_t)word;
	pkt->flags = (uint16_t)(word >> 48);
	off8 = (uint16_t)(word >> 16);
	len8 = (uint16_t)(word >> 32);
	pkt->len = len8 * 8;

	/* Without a believable length the next packet cannot be found. */
	if (VMBUS_RING_UNLIKELY(len8 < 2 ||
				pkt->len + VMBUS_PKT_TRAILER > vmbus_ring_dist(r, at, r->peer)))
		return vmbus_ring_rx_corrupt(r);

	/* Transfer-page and GPA-direct packets have an extension of at least 8 bytes. */
	min_off8 = pkt->type == VMBUS_PKT_XFER_PAGES || pkt->type == VMBUS_PKT_GPA_DIRECT ? 3 : 2;
	if (VMBUS_RING_UNLIKELY(off8 < min_off8 || off8 > len8 ||
				(pkt->flags & ~VMBUS_PKT_F_RC) != 0)) {
		pkt->ext_len = 0;
		pkt->payload_len = 0;
		pkt->body = NULL;
		return -EBADMSG;
	}
	pkt->ext_len = off8 * 8 - (uint32_t)sizeof(struct vmbus_pkt_desc);
	pkt->payload_len = pkt->len - off8 * 8;
	if (VMBUS_RING_UNLIKELY(at + pkt->len > r->size))
		return vmbus_ring_rx_wrapped(r, pkt, scratch, scratch_len);
	pkt->body = r->data + at + sizeof(struct vmbus_pkt_desc);
	return 1;
}

static inline void
vmbus_ring_rx_release(struct vmbus_ring *r, const struct vmbus_ring_pkt *pkt)
{
	/* Others may look how far a ring was read. */
	__atomic_store_n(&r->index, vmbus_ring_wrap(r, r->index + pkt->len + VMBUS_PKT_TRAILER),
			 __ATOMIC_RELAXED);
}

static inline bool
vmbus_ring_rx_publish(struct vmbus_ring *r)
{
	uint32_t released = vmbus_ring_dist(r, r->published, r->index);

	if (released == 0 || VMBUS_RING_UNLIKELY(r->error != 0))
		return false;
	r->published = r->index;
	/* Release: our loads of the packets are complete before the producer may overwrite. */
	__atomic_store_n(&r->hdr->rindex, r->index, __ATOMIC_RELEASE);
	if ((__atomic_load_n(&r->hdr->feature, __ATOMIC_RELAXED) & VMBUS_RING_FEAT_PENDING_SEND) ==
	    0)
		return false;
	/*
	 * The index store before the load of the pending size: a producer that announces itself
	 * blocked and then looks at the read index either sees ours, or we see it blocked.
	 */
	vmbus_ring_full_fence();
	if (VMBUS_RING_LIKELY(__atomic_load_n(&r->hdr->pending_send, __ATOMIC_RELAXED) == 0))
		return false;
	return vmbus_ring_rx_unblocked(r, released);
}

#endif /* VMBUS_RING_INLINE_H */
