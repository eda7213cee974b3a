/* SPDX-License-Identifier: BSD-3-Clause */
#include "vmbus_ring.h"

#define RING_DATA_MAX (1u << 30) /* keeps every sum of two indices inside 32 bits */

static bool
index_valid(const struct vmbus_ring *r, uint32_t index)
{
	return index < r->size && (index & 7u) == 0;
}

static int
ring_init(struct vmbus_ring *r, void *mem, uint32_t bytes, uint32_t hdr_bytes)
{
	memset(r, 0, sizeof(*r));
	if (mem == NULL || ((uintptr_t)mem & 63u) != 0)
		return -EINVAL;
	if (hdr_bytes < HV_PAGE_SIZE || (hdr_bytes & HV_PAGE_MASK) != 0 || bytes <= hdr_bytes)
		return -EINVAL;
	if (((bytes - hdr_bytes) & HV_PAGE_MASK) != 0 || bytes - hdr_bytes > RING_DATA_MAX)
		return -EINVAL;
	r->hdr = mem;
	r->data = (uint8_t *)mem + hdr_bytes;
	r->size = bytes - hdr_bytes;
	return 0;
}

int
vmbus_ring_init_tx(struct vmbus_ring *r, void *mem, uint32_t bytes, uint32_t hdr_bytes)
{
	int rc = ring_init(r, mem, bytes, hdr_bytes);

	if (rc != 0)
		return rc;
	r->index = __atomic_load_n(&r->hdr->windex, __ATOMIC_RELAXED);
	/* Acquire: as in vmbus_ring_tx_space(). */
	r->peer = __atomic_load_n(&r->hdr->rindex, __ATOMIC_ACQUIRE);
	r->published = r->index;
	return index_valid(r, r->index) && index_valid(r, r->peer) ? 0 : -EIO;
}

int
vmbus_ring_init_rx(struct vmbus_ring *r, void *mem, uint32_t bytes, uint32_t hdr_bytes)
{
	int rc = ring_init(r, mem, bytes, hdr_bytes);

	if (rc != 0)
		return rc;
	r->index = __atomic_load_n(&r->hdr->rindex, __ATOMIC_RELAXED);
	/* Acquire: as in vmbus_ring_rx_ready(). */
	r->peer = __atomic_load_n(&r->hdr->windex, __ATOMIC_ACQUIRE);
	r->published = r->index;
	return index_valid(r, r->index) && index_valid(r, r->peer) ? 0 : -EIO;
}

/* --- producer ------------------------------------------------------------------------------ */

/* From now on the ring is full for ever. */
static int
tx_corrupt(struct vmbus_ring *r)
{
	r->error = -EIO;
	r->peer = vmbus_ring_wrap(r, r->index + VMBUS_PKT_TRAILER);
	return -EIO;
}

int
vmbus_ring_tx_refresh(struct vmbus_ring *r, uint32_t rindex)
{
	if (r->error != 0)
		return r->error;
	/* The consumer moves forward only, and never past what it was told of. */
	if (!index_valid(r, rindex) ||
	    vmbus_ring_dist(r, r->peer, rindex) > vmbus_ring_dist(r, r->peer, r->published))
		return tx_corrupt(r);
	r->peer = rindex;
	return 0;
}

int
vmbus_ring_tx_no_room(struct vmbus_ring *r, uint32_t len)
{
	if ((len & 7u) != 0)
		return -EINVAL;
	if (r->error != 0)
		return r->error;
	if (len > r->size - 2 * VMBUS_PKT_TRAILER)
		return -EMSGSIZE;
	if (vmbus_ring_tx_space(r) >= len + VMBUS_PKT_TRAILER)
		return 0;
	return r->error != 0 ? r->error : -EAGAIN;
}

void
vmbus_ring_tx_fill_wrapped(const struct vmbus_ring_span *span, uint32_t off, const void *src,
			   uint32_t len)
{
	uint32_t first = 0;

	if (off < span->n[0]) {
		first = span->n[0] - off;
		memcpy(span->p[0] + off, src, first);
		off = 0;
	} else {
		off -= span->n[0];
	}
	memcpy(span->p[1] + off, (const uint8_t *)src + first, len - first);
}

int
vmbus_ring_tx_put(struct vmbus_ring *r, uint16_t type, uint16_t flags, uint64_t tid,
		  const void *ext, uint32_t ext_len, const void *payload, uint32_t payload_len)
{
	static const uint8_t zero[8];
	struct vmbus_ring_span span;
	struct vmbus_pkt_desc desc;
	uint32_t off, len, pad;
	int rc;

	if ((ext_len & 7u) != 0)
		return -EINVAL;
	/* Each part alone is bounded first, so that the sum cannot overflow. */
	if (ext_len >= r->size || payload_len >= r->size)
		return -EMSGSIZE;
	off = (uint32_t)sizeof(desc) + ext_len;
	pad = -payload_len & 7u;
	len = off + payload_len + pad;
	if (len / 8 > UINT16_MAX)
		return -EMSGSIZE;
	rc = vmbus_ring_tx_reserve(r, len, &span);
	if (rc != 0)
		return rc;

	desc.type = type;
	desc.off8 = (uint16_t)(off / 8);
	desc.len8 = (uint16_t)(len / 8);
	desc.flags = flags;
	desc.tid = tid;
	vmbus_ring_tx_fill(&span, 0, &desc, sizeof(desc));
	if (ext_len != 0)
		vmbus_ring_tx_fill(&span, sizeof(desc), ext, ext_len);
	if (payload_len != 0)
		vmbus_ring_tx_fill(&span, off, payload, payload_len);
	if (pad != 0)
		vmbus_ring_tx_fill(&span, off + payload_len, zero, pad);
	vmbus_ring_tx_commit(r, len);
	return 0;
}

void
vmbus_ring_tx_pending(struct vmbus_ring *r, uint32_t bytes)
{
	/* More than an empty ring has would never come true. */
	if (bytes > r->size - VMBUS_PKT_TRAILER)
		bytes = r->size - VMBUS_PKT_TRAILER;
	__atomic_store_n(&r->hdr->pending_send, (bytes + 7u) & ~7u, __ATOMIC_RELAXED);
	/*
	 * The announcement before the caller's next look at the read index: a consumer that
	 * publishes its index and then reads the pending size either sees ours, or we see its.
	 */
	if (bytes != 0)
		vmbus_ring_full_fence();
}

/* --- consumer ------------------------------------------------------------------------------ */

/* From now on the ring is empty for ever. */
int
vmbus_ring_rx_corrupt(struct vmbus_ring *r)
{
	r->error = -EIO;
	r->peer = r->index;
	return -EIO;
}

bool
vmbus_ring_rx_refresh(struct vmbus_ring *r, uint32_t windex)
{
	if (r->error != 0)
		return true;
	/* The producer moves forward only, and never past the read index it was told. */
	if (!index_valid(r, windex) ||
	    vmbus_ring_dist(r, r->published, windex) < vmbus_ring_dist(r, r->published, r->peer)) {
		vmbus_ring_rx_corrupt(r);
		return true;
	}
	r->peer = windex;
	return r->index != windex;
}

/* The packet at the private read index runs over the end of the data area. */
int
vmbus_ring_rx_wrapped(struct vmbus_ring *r, struct vmbus_ring_pkt *pkt, void *scratch,
		      uint32_t scratch_len)
{
	uint32_t at = r->index + (uint32_t)sizeof(struct vmbus_pkt_desc);
	uint32_t body_len = pkt->len - (uint32_t)sizeof(struct vmbus_pkt_desc);
	uint32_t first;

	if (at >= r->size) {
		/* Only the descriptor wraps, or ends where the area ends. */
		pkt->body = r->data + (at - r->size);
		return 1;
	}
	if (body_len > scratch_len) {
		pkt->body = NULL;
		return -EMSGSIZE;
	}
	first = r->size - at;
	memcpy(scratch, r->data + at, first);
	memcpy((uint8_t *)scratch + first, r->data, body_len - first);
	pkt->body = scratch;
	return 1;
}

/* The producer announced a pending size: was it blocked before `released`, and is no longer? */
bool
vmbus_ring_rx_unblocked(struct vmbus_ring *r, uint32_t released)
{
	/*
	 * Acquire: the pending size before the write index. A producer writes its index first
	 * and announces itself then, so the index read here is the one it was blocked at.
	 */
	uint32_t pending = __atomic_load_n(&r->hdr->pending_send, __ATOMIC_ACQUIRE);
	/* Acquire: it becomes ->peer, so as in vmbus_ring_rx_ready(). */
	uint32_t windex = __atomic_load_n(&r->hdr->windex, __ATOMIC_ACQUIRE);
	uint32_t free_now;

	/* Some producers ask for odd numbers, "all but one byte" among them. */
	pending &= ~7u;
	/* More than there ever is comes never true. */
	if (pending == 0 || pending >= r->size)
		return false;
	if (windex != r->peer) {
		vmbus_ring_rx_refresh(r, windex);
		if (r->error != 0)
			return false;
	}
	free_now = r->size - vmbus_ring_dist(r, r->published, r->peer);
	/* Less free than was released: the producer has seen the new index and needs no signal. */
	if (free_now <= pending || free_now < released || free_now - released > pending)
		return false;
	r->signals++;
	return true;
}

void
vmbus_ring_rx_mask(struct vmbus_ring *r)
{
	__atomic_store_n(&r->hdr->imask, 1, __ATOMIC_RELAXED);
	/* The mask before the loads of the drain that follows: no signal for what that finds. */
	vmbus_ring_full_fence();
}

bool
vmbus_ring_rx_unmask(struct vmbus_ring *r)
{
	__atomic_store_n(&r->hdr->imask, 0, __ATOMIC_RELAXED);
	/* The cleared mask before the load of the write index: see vmbus_ring_tx_publish(). */
	vmbus_ring_full_fence();
	return vmbus_ring_rx_ready(r);
}
