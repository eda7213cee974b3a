/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One direction of a VMBus channel: a byte ring in memory shared with the other side.
 *
 * Pure C11: no DPDK, no system call, no allocation; used by the guest library, by the
 * software host and by the unit tests. Barriers towards the other side are here only, but for the
 * doorbell's and for the first mask of a channel.
 *
 * A struct vmbus_ring is private to one side and one role (producer or consumer) and is not
 * thread safe: callers serialise. Everything the other side writes (its index, its mask,
 * its pending size) is validated here; a bad value makes the ring unusable (-EIO, sticky
 * in ->error) and no memory outside the data area is ever touched.
 *
 * What runs per packet is inline (vmbus_ring_inline.h); what runs once per ring, per wrap or
 * never is in vmbus_ring.c.
 *
 * Signal rules: Linux drivers/hv/ring_buffer.c (hv_signal_on_write, hv_pkt_iter_close),
 * OpenVMM vmbus_ring/src/lib.rs.
 */
#ifndef VMBUS_RING_H
#define VMBUS_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "vmbus_wire.h"

/* Everything below describes bytes of the data area; indices are multiples of 8. */
struct vmbus_ring {
	struct vmbus_ring_hdr *hdr; /* shared */
	uint8_t *data;		    /* shared */
	uint32_t size;		    /* of the data area, multiple of 8 */
	uint32_t index;		    /* private: next byte to write, or to read */
	uint32_t published;	    /* private: what the other side was told last */
	uint32_t peer;		    /* private: last valid index seen of the other side */
	int error;		    /* 0, or -EIO for ever after a corrupt peer index */
	uint64_t signals;	    /* times the publish functions returned true */
};

/*
 * Attach to ring memory: mem is the header page followed by the data area, bytes in all
 * (header page of hdr_bytes: HV_PAGE_SIZE, or the guest's page size where larger).
 * init_tx starts as the producer at the shared write index, init_rx as the consumer at the
 * shared read index; neither writes to the memory.
 * Returns 0, -EINVAL if the memory is unusable (data area not a multiple of 4096, none, or
 * above 1 GiB; mem not aligned to 64), or -EIO if the indices in the memory are invalid.
 */
int vmbus_ring_init_tx(struct vmbus_ring *r, void *mem, uint32_t bytes, uint32_t hdr_bytes);
int vmbus_ring_init_rx(struct vmbus_ring *r, void *mem, uint32_t bytes, uint32_t hdr_bytes);

/* --- producer ------------------------------------------------------------------------------ */

/*
 * Bytes that a packet of len bytes (descriptor to padding, before rounding) takes in a ring.
 */
static inline uint32_t
vmbus_ring_footprint(uint32_t len)
{
	return ((len + 7u) & ~7u) + VMBUS_PKT_TRAILER;
}

/*
 * Bytes that can be reserved now, footprint included: reads the other side's index.
 * 0 if the ring is corrupt.
 */
static inline uint32_t vmbus_ring_tx_space(struct vmbus_ring *r);

/* A reserved packet: in one piece, or in two where it wraps. */
struct vmbus_ring_span {
	uint8_t *p[2];
	uint32_t n[2]; /* n[1] = 0 when contiguous */
};

/*
 * Reserve room for a packet of len bytes (multiple of 8: descriptor, extension, payload,
 * padding) behind those already committed. Nothing is visible to the other side yet, and
 * nothing is consumed until vmbus_ring_tx_commit(): reserving again replaces it.
 * The read index of the other side is loaded only when the cached one leaves no room.
 * Returns 0, -EAGAIN if there is no room now, -EMSGSIZE if there never can be, -EINVAL if len
 * is no multiple of 8, -EIO.
 */
static inline int vmbus_ring_tx_reserve(struct vmbus_ring *r, uint32_t len,
					struct vmbus_ring_span *span);

/* Copy into a reserved packet at an offset, across the wrap. off + len must lie inside. */
static inline void vmbus_ring_tx_fill(const struct vmbus_ring_span *span, uint32_t off,
				      const void *src, uint32_t len);

/* Commit the packet of len bytes reserved last: writes its trailer, advances the private index. */
static inline void vmbus_ring_tx_commit(struct vmbus_ring *r, uint32_t len);

/*
 * For packets written as a batch: `bytes` of free ring in one piece behind what is committed, or
 * NULL. The caller writes whole packets with their trailers (start offset << 32) and advances by
 * what it wrote, which commits them.
 */
static inline uint64_t *vmbus_ring_tx_run(struct vmbus_ring *r, uint32_t bytes);
static inline void vmbus_ring_tx_advance(struct vmbus_ring *r, uint32_t bytes);

/*
 * Publish all committed packets with one store of the write index. Returns true if the
 * other side must be signalled: its mask is clear and the ring was empty before.
 * Returns false without a store if nothing was committed.
 */
static inline bool vmbus_ring_tx_publish(struct vmbus_ring *r);

/* Reserve, fill and commit one packet: descriptor, extension, payload, zero padding. As reserve. */
int vmbus_ring_tx_put(struct vmbus_ring *r, uint16_t type, uint16_t flags, uint64_t tid,
		      const void *ext, uint32_t ext_len, const void *payload, uint32_t payload_len);

/*
 * Ask to be signalled when `bytes` are free, or (0) no longer. After asking, the caller must
 * look at vmbus_ring_tx_space() once more before it sleeps.
 */
void vmbus_ring_tx_pending(struct vmbus_ring *r, uint32_t bytes);

/* --- consumer ------------------------------------------------------------------------------ */

/* A packet at the head of the ring: its descriptor is a private copy, already validated. */
struct vmbus_ring_pkt {
	uint16_t type;
	uint16_t flags;
	uint32_t len; /* descriptor to padding, without trailer */
	uint64_t tid;
	uint32_t ext_len;     /* bytes of body before the payload */
	uint32_t payload_len; /* padding included */
	/*
	 * ext_len + payload_len bytes behind the 16-byte descriptor, contiguous: in the ring, or
	 * in the caller's scratch where the packet wraps. In the ring they may change while being
	 * read. Valid until the packet is released and that is published.
	 */
	const uint8_t *body;
};

/*
 * Is there anything to read beyond what was released? Reads one cache line, and that only when
 * everything seen before was released. Also true when the ring is corrupt: peek then says so.
 */
static inline bool vmbus_ring_rx_ready(struct vmbus_ring *r);

/*
 * Look at the packet at the private read index. A packet that wraps is copied into scratch.
 * Returns 1 and fills pkt; 0 if the ring is empty; -EMSGSIZE if it wraps and is larger than
 * scratch_len (pkt->len is set, so that it can be released unread); -EBADMSG if the
 * descriptor is malformed but the packet can be skipped (pkt->len is set: release it);
 * -EIO if the ring is corrupt (sticky).
 * Unknown packet types are not an error here.
 */
static inline int vmbus_ring_rx_peek(struct vmbus_ring *r, struct vmbus_ring_pkt *pkt,
				     void *scratch, uint32_t scratch_len);

/* Advance the private read index behind a peeked packet of pkt->len bytes. */
static inline void vmbus_ring_rx_release(struct vmbus_ring *r, const struct vmbus_ring_pkt *pkt);

/*
 * Publish the private read index with one store. Returns true if the producer is blocked and
 * must be signalled: its pending size was not free before and is free now.
 */
static inline bool vmbus_ring_rx_publish(struct vmbus_ring *r);

/* Consumer wants no "not empty" signals (the normal state of a polling driver). */
void vmbus_ring_rx_mask(struct vmbus_ring *r);

/*
 * Consumer wants signals. Returns true if the ring is not empty: a signal may already have
 * been suppressed, so the caller must drain (or mask again) instead of sleeping.
 */
bool vmbus_ring_rx_unmask(struct vmbus_ring *r);

#include "vmbus_ring_inline.h"

#endif /* VMBUS_RING_H */
