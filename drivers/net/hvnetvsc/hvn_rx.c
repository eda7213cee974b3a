/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Receive burst: frames go from the host's slots straight into the application's array, as many
 * as it asked for; the rest stays in the ring, which is the host's back-pressure.
 */
#include <errno.h>
#include <stddef.h>

#include <rte_cycles.h>
#include <rte_net.h>
#include <rte_prefetch.h>

#include "hvn_chan.h"
#include "hvn_path_inline.h"
#include "hvn_rx.h"

static_assert(
	offsetof(struct rte_mbuf, ol_flags) == offsetof(struct rte_mbuf, rearm_data) + 8 &&
		offsetof(struct rte_mbuf, pkt_len) == offsetof(struct rte_mbuf, packet_type) + 4 &&
		offsetof(struct rte_mbuf, data_len) == offsetof(struct rte_mbuf, packet_type) + 8 &&
		offsetof(struct rte_mbuf, hash) == offsetof(struct rte_mbuf, packet_type) + 12,
	"layout of struct rte_mbuf");

/* Slots ahead whose header and first line of data are fetched. */
#define PREFETCH_AHEAD 4

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

/* The application's array: frames in pkts[0..out), empty mbufs in pkts[out..end). */
struct rx_room {
	struct rte_mbuf **pkts;
	uint32_t n, out, end;
	uint64_t bytes;
};

/* The message being consumed: ranges at..end, in the ring or in the channel's scratch. */
struct rx_msg {
	const uint8_t *body; /* behind the descriptor */
	const uint8_t *at, *end;
	uint64_t tid;
	uint32_t len;
};

/*
 * Allocate for what the ring seems to hold, messages being much alike; what was too much goes
 * back at the end of the burst.
 */
static __rte_noinline int
rx_alloc(struct hvn_rxq *q, const struct vmbus_ring *rx, const struct rx_msg *msg,
	 struct rx_room *room)
{
	uint32_t left = (uint32_t)(msg->end - msg->at) / 8, want = left;

	if (left < room->n - room->end)
		want = vmbus_ring_dist(rx, rx->index, rx->peer) / (msg->len + VMBUS_PKT_TRAILER) *
		       ((uint32_t)(msg->end - msg->body) / 8 - 1);
	want = RTE_MAX(want, left);
	want = RTE_MIN(want, room->n - room->end);
	while (rte_mempool_get_bulk(q->pool, (void **)&room->pkts[room->end], want) != 0) {
		if (want == 1) {
			q->stats.nombuf++;
			return -ENOMEM;
		}
		want /= 2;
	}
	room->end += want;
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

static inline void
rx_count_group(struct hvn_rxq *q, const uint8_t *frame)
{
	if (likely((frame[0] & 1) == 0))
		return;
	if (rte_is_broadcast_ether_addr((const struct rte_ether_addr *)frame))
		q->stats.broadcast++;
	else
		q->stats.multicast++;
}

static __rte_always_inline void
rx_prefetch(const uint8_t *recv_buf, const uint8_t *range, uint32_t data_off)
{
	const uint8_t *slot = recv_buf + hv_load32(range + 4);

	/* A prefetch cannot fault, whatever the offset. */
	rte_prefetch0(slot);
	rte_prefetch0(slot + data_off);
}

/* Any range, with every check. False if the burst has to end here: no mbufs. */
static __rte_noinline bool
rx_range(struct hvn_rxq *q, struct hvn_chan *ch, struct rx_room *room, uint64_t range)
{
	struct rte_mbuf *m = room->pkts[room->out], *frame = NULL;
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
	rc = hvn_rx_frame(q, ch, m, slot + info.data_off, &info, &frame);
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
		room->pkts[room->out] = room->pkts[--room->end];
	if ((rc & HVN_RX_OUT) == 0)
		return true;
	if (rc == HVN_RX_OUT)
		rte_mbuf_raw_free(m); /* its place is needed */
	room->pkts[room->out++] = frame;
	room->bytes += frame->pkt_len;
	rx_count_group(q, rte_pktmbuf_mtod(frame, uint8_t *));
	return true;
}

/* What a slot that hosts usually send contains, in registers. */
struct rx_usual {
	const uint8_t *frame;
	uint32_t data_off, data_len, csum, hash;
};

/* Records of 16 bytes each, of checksum and hash value, each at most once? */
static __rte_always_inline bool
rx_usual_ppis(const uint8_t *rec, uint32_t len, struct rx_usual *u, uint64_t *flags)
{
	uint32_t seen = 0;
	uint64_t a, b;

	do {
		a = hv_load64(rec);
		b = hv_load64(rec + 8);
		if ((uint32_t)b != sizeof(struct rndis_ppi))
			return false;
		if (a == (RNDIS_PPI_U32_SIZE | (uint64_t)RNDIS_PPI_CHECKSUM << 32) &&
		    (seen & 1) == 0) {
			*flags = hvn_rx_csum_flags[(b >> 32) & 63u];
			seen |= 1;
		} else if (a == (RNDIS_PPI_U32_SIZE | (uint64_t)RNDIS_PPI_HASH_VALUE << 32) &&
			   (seen & 2) == 0) {
			u->hash = (uint32_t)(b >> 32);
			seen |= 2;
		} else {
			return false;
		}
		rec += RNDIS_PPI_U32_SIZE;
		len -= RNDIS_PPI_U32_SIZE;
	} while (len != 0);
	return true;
}

/*
 * Is this range inside the receive buffer, and what it holds a plain frame, laid out as hosts do:
 * records of 16 bytes, behind them the frame, which fits one mbuf? Checks as much as
 * rndis_parse_packet() does; anything else is left to rx_range().
 */
static __rte_always_inline bool
rx_is_usual(const struct hvn_rxq *q, uint64_t range, struct rx_usual *u, uint64_t *flags)
{
	const uint32_t len = (uint32_t)range;
	const uint8_t *slot = q->recv_buf + (range >> 32);
	uint64_t a, b;
	uint32_t ppi_len;

	/* A whole slot is there, so that its header may be read whatever len is. */
	if (unlikely(len > q->slot_size || (range >> 32) > q->slot_max))
		return false;
	a = hv_load64(slot);
	b = hv_load64(slot + offsetof(struct rndis_packet, data_off));
	if (unlikely((uint32_t)a != RNDIS_PACKET))
		return false;
	a >>= 32;
	u->data_off = (uint32_t)b;
	b >>= 32;
	u->data_len = (uint32_t)b;
	if (unlikely(a > len || u->data_len - RTE_ETHER_HDR_LEN > q->data_max ||
		     u->data_off + b + RNDIS_OFFSET_BASE > a))
		return false;
	a = hv_load64(slot + offsetof(struct rndis_packet, ppi_off));
	ppi_len = (uint32_t)(a >> 32);
	u->hash = 0;
	*flags = 0;
	u->frame = slot + u->data_off + RNDIS_OFFSET_BASE;
	if (ppi_len == 0)
		return u->data_off >= RNDIS_PPI_OFF;
	if (unlikely((uint32_t)a != RNDIS_PPI_OFF || (ppi_len & 15u) != 0 ||
		     (a >> 32) + RNDIS_PPI_OFF > u->data_off))
		return false;
	return rx_usual_ppis(slot + sizeof(struct rndis_packet), ppi_len, u, flags);
}

/* The channel's current message, from hvn_chan_next() or of the burst before. */
static inline void
rx_msg_load(const struct hvn_chan *ch, struct rx_msg *msg)
{
	msg->body = ch->msg.body;
	msg->at = msg->body + 8 + 8 * (uint64_t)ch->msg_next;
	msg->end = msg->body + 8 + 8 * (uint64_t)ch->msg_ranges;
	msg->tid = ch->msg.tid;
	msg->len = ch->msg.len;
}

/* What is left of the message waits for the next burst. */
static inline void
rx_msg_store(struct hvn_chan *ch, const struct rx_msg *msg)
{
	ch->msg.body = msg->body;
	ch->msg.tid = msg->tid;
	ch->msg.len = msg->len;
	ch->msg_ranges = (uint32_t)((msg->end - msg->body) / 8 - 1);
	ch->msg_next = (uint32_t)((msg->at - msg->body) / 8 - 1);
}

/*
 * Is there a message of frames at the head, in one piece? The checks of vmbus_ring_rx_peek() and
 * hvn_chan_xfer() on values in registers; anything else is left to those.
 */
static __rte_always_inline bool
rx_msg_usual(struct hvn_chan *ch, const struct vmbus_ring *rx, struct rx_msg *msg)
{
	const uint32_t index = rx->index, peer = rx->peer;
	const uint32_t avail = (peer >= index ? peer : rx->size) - index;
	const uint8_t *pkt = rx->data + index;
	uint64_t desc, head;
	uint32_t off, count;

	/* A longer message than what is there in one piece: also the ring that is empty. */
	if (avail < 48)
		return false;
	desc = hv_load64(pkt);
	head = hv_load64(pkt + sizeof(struct vmbus_pkt_desc));
	off = (uint32_t)(desc >> 16) & 0xFFFFu;
	msg->len = (uint32_t)(desc >> 32) & 0xFFFFu;
	count = (uint32_t)(head >> 32);
	if ((desc & ~UINT64_C(0x1FFFFFFFF0000)) != VMBUS_PKT_XFER_PAGES || off >= msg->len ||
	    count - 1 >= off - 3 || (uint16_t)head != NVSP_RECV_BUF_ID || off < 3 ||
	    count > NVSP_XFER_RANGES_MAX_RSC)
		return false;
	msg->len *= 8;
	if (msg->len + VMBUS_PKT_TRAILER > avail ||
	    hv_load64(pkt + 8 * (uint64_t)off) != NVSP_RNDIS || ch->n_acks == HVN_ACKS_MAX)
		return false;
	msg->tid = hv_load64(pkt + 8);
	msg->body = pkt + sizeof(struct vmbus_pkt_desc);
	msg->at = msg->body + 8;
	msg->end = msg->at + 8 * (uint64_t)count;
	ch->msg_status = NVSP_STATUS_SUCCESS;
	return true;
}

/* The next message; false if there is none that can be taken now. */
static __rte_always_inline bool
rx_msg_next(struct hvn_rxq *q, struct hvn_chan *ch, struct vmbus_ring *rx, struct rx_msg *msg)
{
	const uint8_t *recv_buf = q->port->recv_buf, *at;
	uint32_t ahead;

	q->stats.messages++;
	if (likely(rx_msg_usual(ch, rx, msg))) {
		/* Slots of the messages to come, if they are of this one's size. */
		ahead = rx->index + 3 * (msg->len + VMBUS_PKT_TRAILER);
		if (ahead + 32 <= rx->peer)
			rx_prefetch(recv_buf, rx->data + ahead + 24, q->data_off);
	} else {
		if (hvn_chan_next(ch) != 1) {
			q->stats.messages--;
			return false;
		}
		rx_msg_load(ch, msg);
		ch->msg_ranges = 0;
	}
	for (at = msg->at + 8; at != msg->end && at != msg->at + 8 * PREFETCH_AHEAD; at += 8)
		rx_prefetch(recv_buf, at, q->data_off);
	return true;
}

/*
 * Usual frames, from ranges at at..end, into next[0], next[1] and so on. Returns where it stopped:
 * at end, or at a range that is not usual.
 */
static __rte_always_inline const uint8_t *
rx_run(struct hvn_rxq *q, const uint8_t *at, const uint8_t *end, const uint8_t *fetch_end,
       struct rte_mbuf **next, uint64_t *total, const uint32_t w)
{
	uint32_t data_off = q->data_off - RNDIS_OFFSET_BASE;
	uint64_t flags, bytes = 0;
	struct rx_usual u;
	struct rte_mbuf *m;
	uint8_t *dst;

	for (; at != end; at += 8) {
		if (likely(at < fetch_end))
			rx_prefetch(q->recv_buf, at + 8 * PREFETCH_AHEAD, q->data_off);
		if (unlikely(!rx_is_usual(q, hv_load64(at), &u, &flags)))
			break;
		m = *next++;
		data_off = u.data_off;
		if (q->want_hash && u.hash != 0)
			flags |= RTE_MBUF_F_RX_RSS_HASH;
		else
			u.hash = 0;
		hvn_rx_fill(m, q->mbuf_init, flags, u.data_len, u.hash);
		dst = (uint8_t *)m->buf_addr + RTE_PKTMBUF_HEADROOM;
		hvn_copy_wide(dst, u.frame, u.data_len, w);
		bytes += u.data_len;
		rx_count_group(q, dst);
	}
	*total += bytes;
	q->data_off = data_off + RNDIS_OFFSET_BASE;
	return at;
}

/* A message is done: owe its completion, release it. */
static __rte_always_inline void
rx_msg_done(struct hvn_rxq *q, struct hvn_chan *ch, struct vmbus_ring *rx, const struct rx_msg *msg)
{
	if (unlikely(ch->rsc_head != NULL))
		hvn_rx_rsc_drop(q, ch);
	/* As in hvn_chan_msg_done(): a process may be killed between. */
	if (unlikely(ch->scanned != 0))
		hvn_chan_unscan(ch, msg->len);
	rx->index = vmbus_ring_wrap(rx, rx->index + msg->len + VMBUS_PKT_TRAILER);
	hvn_chan_owe(ch, msg->tid, ch->msg_status);
}

/*
 * The burst proper; the caller holds in_lock. While it runs, the current message is in msg, not in
 * the channel. w: see hvn_copy_wide().
 */
static __rte_always_inline uint16_t
rx_synthetic(struct hvn_rxq *q, struct hvn_chan *ch, struct rte_mbuf **pkts, uint16_t n,
	     const uint32_t w)
{
	struct rx_room room = { .pkts = pkts, .n = n };
	struct vmbus_ring *rx = &ch->vc->rx;
	struct rx_msg msg = { NULL };
	const uint8_t *from, *end;
	bool blocked = false;

	if (ch->msg_ranges != 0) {
		rx_msg_load(ch, &msg);
		ch->msg_ranges = 0;
	}
	while (room.out != n) {
		if (msg.at == msg.end && !rx_msg_next(q, ch, rx, &msg))
			break;
		if (unlikely(room.out == room.end) && rx_alloc(q, rx, &msg, &room) != 0) {
			blocked = true;
			break;
		}
		from = msg.at;
		end = from + 8 * (uint64_t)(room.end - room.out);
		if (likely(ch->rsc_head == NULL))
			msg.at =
				rx_run(q, from, RTE_MIN(end, msg.end), msg.end - 8 * PREFETCH_AHEAD,
				       &pkts[room.out], &room.bytes, w);
		room.out += (uint32_t)(msg.at - from) / 8;
		if (likely(msg.at == msg.end)) {
			rx_msg_done(q, ch, rx, &msg);
		} else if (room.out != room.end) {
			if (!rx_range(q, ch, &room, hv_load64(msg.at))) {
				blocked = true;
				break;
			}
			msg.at += 8;
			if (msg.at == msg.end)
				rx_msg_done(q, ch, rx, &msg);
		}
	}
	if (msg.at != msg.end)
		rx_msg_store(ch, &msg);
	if (room.out != room.end)
		rte_mempool_put_bulk(q->pool, (void **)&pkts[room.out], room.end - room.out);
	q->stats.packets += room.out;
	q->stats.bytes += room.bytes;
	/* Completions behind the frames we cannot take must not wait for mbufs: they free some. */
	if (unlikely(blocked))
		hvn_chan_scan_locked(ch);
	else
		hvn_chan_finish(ch);
	return (uint16_t)room.out;
}

typedef uint16_t (*rx_synthetic_t)(struct hvn_rxq *q, struct hvn_chan *ch, struct rte_mbuf **pkts,
				   uint16_t n);

static __rte_noinline uint16_t
rx_synthetic_16(struct hvn_rxq *q, struct hvn_chan *ch, struct rte_mbuf **pkts, uint16_t n)
{
	return rx_synthetic(q, ch, pkts, n, 16);
}

HVN_TARGET_32 static __rte_noinline uint16_t
rx_synthetic_32(struct hvn_rxq *q, struct hvn_chan *ch, struct rte_mbuf **pkts, uint16_t n)
{
	return rx_synthetic(q, ch, pkts, n, 32);
}

HVN_TARGET_64 static __rte_noinline uint16_t
rx_synthetic_64(struct hvn_rxq *q, struct hvn_chan *ch, struct rte_mbuf **pkts, uint16_t n)
{
	return rx_synthetic(q, ch, pkts, n, 64);
}

static rx_synthetic_t rx_synthetic_best;

RTE_INIT(hvn_rx_pick)
{
	rx_synthetic_best = HVN_PICK(rx_synthetic);
}

static __rte_noinline void
rx_ptypes(struct rte_mbuf **pkts, uint16_t n, uint32_t layers)
{
	uint16_t i;

	for (i = 0; i < n; i++)
		pkts[i]->packet_type = rte_net_get_ptype(pkts[i], NULL, layers);
}

/* There is something in the ring, or owed. */
static __rte_noinline uint16_t
rx_busy(struct hvn_rxq *q, struct hvn_chan *ch, struct rte_mbuf **pkts, uint16_t n)
{
	uint16_t got;

	/* Busy: a transmit burst on another lcore looks for completions; come back. */
	if (unlikely(n == 0) || !hvn_lock_try(&ch->in_lock))
		return 0;
	/* Stopped since, by the primary process of this secondary. */
	if (unlikely(q->chan != ch)) {
		hvn_lock_release(&ch->in_lock);
		return 0;
	}
	got = rx_synthetic_best(q, ch, pkts, n);
	hvn_lock_release(&ch->in_lock);
	if (unlikely(q->ptypes))
		rx_ptypes(pkts, got, q->ptypes);
	return got;
}

static __rte_always_inline uint16_t
rx_poll(struct hvn_rxq *q, struct rte_mbuf **pkts, uint16_t n)
{
	struct hvn_chan *ch = q->chan;
	const struct vmbus_ring *rx;

	if (unlikely(ch == NULL || hvn_removed(q->port)))
		return 0;
	__atomic_store_n(&ch->rx_polls, ch->rx_polls + 1, __ATOMIC_RELAXED);
	rx = &ch->vc->rx;
	/* Nothing new and nothing owed: one line of the host's was read, no lock taken. */
	if (__atomic_load_n(&rx->hdr->windex, __ATOMIC_RELAXED) ==
		    __atomic_load_n(&rx->index, __ATOMIC_RELAXED) &&
	    __atomic_load_n(&ch->n_acks, __ATOMIC_RELAXED) == 0)
		return 0;
	return rx_busy(q, ch, pkts, n);
}

uint16_t
hvn_rx_poll(struct hvn_rxq *q, struct rte_mbuf **pkts, uint16_t n)
{
	return rx_poll(q, pkts, n);
}

uint16_t
hvn_rx_burst(void *rxq, struct rte_mbuf **pkts, uint16_t n)
{
	struct hvn_rxq *q = rxq;

	/* Without a VF nothing needs protection; with one it is looked up again, and protected. */
	if (unlikely(__atomic_load_n(&q->path.vf_port, __ATOMIC_RELAXED) != RTE_MAX_ETHPORTS))
		return hvn_path_rx(q, pkts, n);
	return rx_poll(q, pkts, n);
}

uint16_t
hvn_rx_burst_none(void *rxq, struct rte_mbuf **pkts, uint16_t n)
{
	RTE_SET_USED(rxq);
	RTE_SET_USED(pkts);
	RTE_SET_USED(n);
	return 0;
}

/* --- what the ring holds ------------------------------------------------------------------------ */

uint32_t
hvn_rx_queue_count(void *rxq)
{
	struct hvn_rxq *q = rxq;
	struct hvn_chan *ch = q->chan;
	struct vmbus_ring_pkt pkt;
	struct vmbus_ring ahead;
	uint32_t ranges, count = 0;
	uint8_t scratch[64];

	if (ch == NULL || hvn_removed(q->port) || !hvn_lock_try(&ch->in_lock))
		return 0;
	ahead = ch->vc->rx;
	if (ch->msg_ranges != 0) {
		count = ch->msg_ranges - ch->msg_next;
		vmbus_ring_rx_release(&ahead, &ch->msg);
	}
	/* The one packet that wraps may be too long for scratch: it is then not counted. */
	while (count < q->nb_desc) {
		int rc = vmbus_ring_rx_peek(&ahead, &pkt, scratch, sizeof(scratch));

		if (rc == 0 || rc == -EIO)
			break;
		if (rc == 1 && pkt.type == VMBUS_PKT_XFER_PAGES &&
		    hvn_chan_xfer(&pkt, &ranges) == HVN_XFER_FRAMES)
			count += ranges;
		vmbus_ring_rx_release(&ahead, &pkt);
	}
	hvn_lock_release(&ch->in_lock);
	return RTE_MIN(count, (uint32_t)q->nb_desc);
}

int
hvn_rx_descriptor_status(void *rxq, uint16_t offset)
{
	struct hvn_rxq *q = rxq;

	if (offset >= q->nb_desc)
		return -EINVAL;
	return offset < hvn_rx_queue_count(q) ? RTE_ETH_RX_DESC_DONE : RTE_ETH_RX_DESC_AVAIL;
}
