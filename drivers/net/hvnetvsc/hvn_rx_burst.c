/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The receive burst proper: what hosts usually send, checked and copied in one pass. Everything
 * else is left to hvn_chan.c (messages) and hvn_rx.c (ranges). Compiled once per vector width.
 *
 * Usual is a message of frames in one piece of the ring, and in it a plain RNDIS packet with the
 * records checksum, hash value and information, and VLAN, which fits one mbuf. What is usual is checked as much as
 * rndis_parse_packet() and hvn_chan_xfer() do.
 */
#include <rte_prefetch.h>
#include <rte_vect.h>

#include "hvn_chan.h"
#include "hvn_ext.h"
#include "hvn_rx.h"

/* Slots ahead that are fetched, header and end of the shortest frame: in a message, of single ones. */
#ifndef HVN_RX_AHEAD
#define HVN_RX_AHEAD 4
#endif

/* The same from message to message, where they are alike: at least. */
#ifndef HVN_RX_FAR
#define HVN_RX_FAR 16
#endif

/* Completions owed at which the batch ends, although frames are left: see rx_defer(). */
#ifndef HVN_RX_DEFER
#define HVN_RX_DEFER 16
#endif

/* Messages of a burst that may bring no frame: a host that refills the ring could keep it for ever. */
#define HVN_RX_BARREN 512

/* The message being consumed: ranges at..end, in the ring or in the channel's scratch. */
struct rx_msg {
	const uint8_t *body; /* behind the descriptor */
	const uint8_t *at, *end;
	uint64_t tid;
	uint32_t len;
};

/*
 * Does a word hold this? One that is needed for nothing else may be compared where it lies, which a
 * volatile load does not allow; whatever it is afterwards does not matter.
 */
static __rte_always_inline bool
rx_holds16(const uint8_t *p, const uint16_t value)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v == value;
}

static __rte_always_inline bool
rx_holds32(const uint8_t *p, const uint32_t value)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v == value;
}

static __rte_always_inline bool
rx_holds64(const uint8_t *p, const uint64_t value)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v == value;
}

static __rte_always_inline void
rx_prefetch(const struct hvn_rxq *q, const uint8_t *range)
{
	const uint8_t *slot = q->recv_buf + hv_load32(range + 4);

	/* A prefetch cannot fault, whatever the offset. */
	rte_prefetch0(slot);
	rte_prefetch0(slot + q->fetch_off);
}

/*
 * Records of 16 bytes each, each type at most once, between the header and the frame? What they
 * say goes into the mbuf. The bytes of a slot are there.
 */
static __rte_noinline bool
rx_records(struct hvn_rxq *q, const uint8_t *slot, uint64_t data_off, struct rte_mbuf *m)
{
	const uint64_t where = hv_load64(slot + offsetof(struct rndis_packet, ppi_off));
	const uint8_t *rec = slot + sizeof(struct rndis_packet);
	uint32_t len = (uint32_t)(where >> 32), seen = 0, bit, value;
	uint64_t a, b;

	q->records = true;
	if (len == 0)
		return data_off >= RNDIS_PPI_OFF;
	if ((uint32_t)where != RNDIS_PPI_OFF || (len & (RNDIS_PPI_U32_SIZE - 1)) != 0 ||
	    (where >> 32) + RNDIS_PPI_OFF > data_off)
		return false;
	for (; len != 0; len -= RNDIS_PPI_U32_SIZE, rec += RNDIS_PPI_U32_SIZE) {
		a = hv_load64(rec);
		b = hv_load64(rec + 8);
		value = (uint32_t)(b >> 32);
		bit = 1u << ((a >> 32) & 31u);
		if ((uint32_t)a != RNDIS_PPI_U32_SIZE || (uint32_t)b != sizeof(struct rndis_ppi) ||
		    (seen & bit) != 0)
			return false;
		seen |= bit;
		switch (a >> 32) {
		case RNDIS_PPI_CHECKSUM:
			m->ol_flags |= hvn_rx_csum_flags[value & 63u];
			break;
		case RNDIS_PPI_HASH_VALUE:
			if (q->want_hash) {
				m->ol_flags |= RTE_MBUF_F_RX_RSS_HASH;
				m->hash.rss = value;
			}
			break;
		case RNDIS_PPI_HASH_INFO:
			/* Function and type of the hash: an mbuf has no place for them. */
			break;
		case RNDIS_PPI_VLAN:
			/* A tag to insert is no plain copy. */
			if (!q->vlan_strip)
				return false;
			m->ol_flags |= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
			m->vlan_tci = RNDIS_VLAN_TO_TCI(value);
			break;
		default:
			return false;
		}
	}
	return true;
}

/*
 * Is a checksum the one record of this slot? Up to its value, which is not looked at. With wide
 * registers the words in question, of 32 bytes, are compared at once.
 */
static __rte_always_inline bool
rx_only_checksum(const uint8_t *slot)
{
#if HVN_WIDTH >= 32
	const __m256i usual =
		_mm256_setr_epi32(RNDIS_PPI_OFF, RNDIS_PPI_U32_SIZE, 0, 0, RNDIS_PPI_U32_SIZE,
				  RNDIS_PPI_CHECKSUM, sizeof(struct rndis_ppi), 0);
	const __m256i mask = _mm256_setr_epi32(-1, -1, 0, 0, -1, -1, -1, 0);
	const uint8_t *at = slot + offsetof(struct rndis_packet, ppi_off);

	return _mm256_testz_si256(
		_mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(const void *)at), usual),
		mask);
#else
	const uint8_t *rec = slot + sizeof(struct rndis_packet);

	return hv_load64(slot + offsetof(struct rndis_packet, ppi_off)) ==
		       (RNDIS_PPI_OFF | (uint64_t)RNDIS_PPI_U32_SIZE << 32) &&
	       rx_holds64(rec, RNDIS_PPI_U32_SIZE | (uint64_t)RNDIS_PPI_CHECKSUM << 32) &&
	       rx_holds32(rec + 8, sizeof(struct rndis_ppi));
#endif
}

/*
 * Is this range inside the receive buffer, and what it holds usual? Then the frame goes into the
 * fresh mbuf. A field is loaded once. Without `records`, a constant, a checksum alone is usual, and
 * nothing is called: a call in the loop would cost its registers.
 */
static __rte_always_inline bool
rx_one(struct hvn_rxq *q, uint64_t range, struct rte_mbuf *m, uint64_t *bytes, const bool records)
{
	const uint64_t off = range >> 32;
	const uint8_t *slot, *rec, *frame;
	uint64_t data_off, data_len;
	uint32_t msg_len;
	uint8_t *dst;

	/* Behind it a whole slot is there, whatever the range's length is, and a wide copy's bytes. */
	if (unlikely((uint32_t)range > q->slot_size || off > q->slot_max))
		return false;
	slot = q->recv_buf + off;
	msg_len = hv_load32(slot + offsetof(struct rndis_packet, hdr.len));
	data_off = hv_load32(slot + offsetof(struct rndis_packet, data_off));
	data_len = hv_load32(slot + offsetof(struct rndis_packet, data_len));
	if (unlikely(!rx_holds32(slot, RNDIS_PACKET) || msg_len > (uint32_t)range ||
		     (uint32_t)(data_len - RTE_ETHER_HDR_LEN) > q->data_max ||
		     data_off + data_len + RNDIS_OFFSET_BASE > msg_len))
		return false;
	rec = slot + sizeof(struct rndis_packet);
	if (likely(data_off >= RNDIS_PPI_OFF + RNDIS_PPI_U32_SIZE && rx_only_checksum(slot))) {
		hvn_rx_fill(m, q->mbuf_init, hvn_rx_csum_flags[hv_load32(rec + 12) & 63u], data_len,
			    0);
	} else {
		hvn_rx_fill(m, q->mbuf_init, 0, data_len, 0);
		if (!records || !rx_records(q, slot, data_off, m))
			return false;
	}
	frame = slot + data_off + RNDIS_OFFSET_BASE;
	dst = (uint8_t *)m->buf_addr + RTE_PKTMBUF_HEADROOM;
	/* Both have 64 bytes: one branch less for what comes in numbers. */
	if (likely(data_len <= 64))
		hvn_copy_64(dst, frame, HVN_WIDTH);
	else
		hvn_copy_long(dst, frame, data_len, HVN_WIDTH);
	*bytes += data_len;
	if (unlikely((*dst & 1) != 0))
		hvn_rx_count_group(q, dst);
	return true;
}

/*
 * Usual frames, from the n ranges before `end`, into the mbufs before `next`. Returns how many were
 * left because one is not usual. fetch: what to fetch with the ranges up to fetch_end, of which 0
 * is `end`, in the same distance from it.
 */
static __rte_always_inline uint32_t
rx_run(struct hvn_rxq *q, const uint8_t *end, struct rte_mbuf **next, uint64_t n,
       const uint8_t *fetch, int64_t fetch_end, uint64_t *bytes, const bool records)
{
	int64_t i;

	for (i = -(int64_t)n; i != 0; i++) {
		if (i < fetch_end)
			rx_prefetch(q, fetch + 8 * i);
		if (unlikely(!rx_one(q, hv_load64(end + 8 * i), next[i], bytes, records)))
			break;
	}
	return (uint32_t)-i;
}

/* The channel's current message, from hvn_chan_next() or of the burst before. */
static inline void
rx_msg_load(struct hvn_chan *ch, struct rx_msg *msg)
{
	msg->body = ch->msg.body;
	msg->at = msg->body + 8 + 8 * (uint64_t)ch->msg_next;
	msg->end = msg->body + 8 + 8 * (uint64_t)ch->msg_ranges;
	msg->tid = ch->msg.tid;
	msg->len = ch->msg.len;
	ch->msg_ranges = 0;
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

/* The message at pkt became the channel's current one, with `done` of its frames delivered. */
static __rte_noinline void
rx_stopped(struct hvn_chan *ch, const uint8_t *pkt, uint64_t len, uint64_t count, uint64_t done)
{
	ch->msg.body = pkt + sizeof(struct vmbus_pkt_desc);
	ch->msg.tid = hv_load64(pkt + 8);
	ch->msg.len = (uint32_t)len - VMBUS_PKT_TRAILER;
	ch->msg_ranges = (uint32_t)count;
	ch->msg_next = (uint32_t)done;
	ch->msg_status = NVSP_STATUS_SUCCESS;
}

/* Where usual messages end, and with whole ones at most. The ring's private state is not changed. */
static inline const uint8_t *
rx_stop(const struct vmbus_ring *rx)
{
	return rx->data + (rx->peer >= rx->index ? rx->peer : rx->size);
}

/* Where the host puts frames in slots: what to fetch of those to come. The range was usual. */
static __rte_always_inline void
rx_learn(struct hvn_rxq *q, const uint8_t *range)
{
	/* The host may have changed it since it was checked. */
	const uint64_t off = hv_load32(range + 4);

	if (likely(off <= q->slot_max))
		q->fetch_off =
			hv_load32(q->recv_buf + off + offsetof(struct rndis_packet, data_off)) +
			RNDIS_OFFSET_BASE + (RTE_ETHER_MIN_LEN - RTE_ETHER_CRC_LEN) - 1;
}

/* Messages up to pkt are done: their completions are in acks[] up to ack. */
static inline void
rx_advance(struct hvn_rxq *q, struct hvn_chan *ch, const uint8_t *pkt, const struct hvn_ack *ack)
{
	struct vmbus_ring *rx = &ch->vc->rx;
	const uint32_t n = (uint32_t)(ack - ch->acks);

	q->stats.messages += n - ch->n_acks;
	/* As in hvn_chan_msg_done(): a process may be killed between. */
	__atomic_store_n(&rx->index, vmbus_ring_wrap(rx, (uint32_t)(pkt - rx->data)),
			 __ATOMIC_RELAXED);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	ch->n_acks = n;
}

/*
 * Usual messages of one frame from the head of the ring, at most room, and all as long as the first.
 * The checks of vmbus_ring_rx_peek() and hvn_chan_xfer() on values in registers. Returns the frames;
 * if one is not usual, its message becomes the channel's current one.
 */
static __rte_always_inline uint32_t
rx_single(struct hvn_rxq *q, struct hvn_chan *ch, struct rte_mbuf **next, uint64_t room,
	  uint64_t *bytes, const bool records)
{
	const uint64_t most = RTE_MIN(room, (uint64_t)(HVN_ACKS_MAX - ch->n_acks));
	struct hvn_ack *ack = &ch->acks[ch->n_acks], *const ack_end = ack + most;
	const uint8_t *pkt = ch->vc->rx.data + ch->vc->rx.index, *const stop = rx_stop(&ch->vc->rx);
	struct rte_mbuf **const first = next;
	uint64_t left = (uint64_t)(stop - pkt), desc, len, sum = 0;

	/* The shortest such message has 48 bytes. */
	if (left < 48)
		return 0;
	/* Type and offset of the payload: right behind the range. Then length and flags. */
	desc = hv_load64(pkt);
	len = 8 * ((desc >> 32) & UINT16_MAX) + VMBUS_PKT_TRAILER;
	if ((uint32_t)desc != VMBUS_PKT_XFER_PAGES + 4 * 65536u || desc >> 48 > 1 || len < 48)
		return 0;
	for (; ack != ack_end && left >= len; ack++, next++) {
		if (unlikely(!rx_holds64(pkt, desc) || !rx_holds16(pkt + 16, NVSP_RECV_BUF_ID) ||
			     !rx_holds32(pkt + 20, 1) || !rx_holds64(pkt + 32, NVSP_RNDIS)))
			break;
		/* The slot of a message to come. */
		if (left >= HVN_RX_AHEAD * len)
			rx_prefetch(q, pkt + (HVN_RX_AHEAD - 1) * len + 24);
		if (unlikely(!rx_one(q, hv_load64(pkt + 24), *next, &sum, records))) {
			rx_stopped(ch, pkt, len, 1, 0);
			break;
		}
		ack->tid = hv_load64(pkt + 8);
		ack->nvsp = HVN_ACK(NVSP_STATUS_SUCCESS);
		pkt += len;
		left -= len;
	}
	if (next != first)
		rx_learn(q, pkt - len + 24);
	rx_advance(q, ch, pkt, ack);
	*bytes += sum;
	return (uint32_t)(next - first);
}

/* The same of messages with any number of frames, as long as whole ones fit into room. */
static __rte_always_inline uint32_t
rx_whole(struct hvn_rxq *q, struct hvn_chan *ch, struct rte_mbuf **next, uint64_t room,
	 uint64_t *bytes, const bool records)
{
	struct hvn_ack *ack = &ch->acks[ch->n_acks], *const ack_end = &ch->acks[HVN_ACKS_MAX];
	const uint8_t *pkt = ch->vc->rx.data + ch->vc->rx.index, *const stop = rx_stop(&ch->vc->rx);
	const uint8_t *last = NULL, *end, *fetch;
	struct rte_mbuf **const first = next;
	uint64_t desc, head, len, count, rest, sum = 0;
	const uint64_t far = q->fetch_far;
	int64_t fetch_end;

	room = RTE_MIN(room, (uint64_t)NVSP_XFER_RANGES_MAX_RSC);
	for (; ack != ack_end && pkt + 48 <= stop; ack++) {
		desc = hv_load64(pkt);
		head = hv_load64(pkt + sizeof(struct vmbus_pkt_desc));
		count = head >> 32;
		if (unlikely(count - 1 >= room || (uint16_t)head != NVSP_RECV_BUF_ID ||
			     (uint32_t)desc !=
				     VMBUS_PKT_XFER_PAGES + ((uint32_t)count + 3) * 65536))
			break;
		desc >>= 32;
		len = (uint16_t)desc;
		if (unlikely(desc > 0x1FFFF || count + 3 >= len))
			break;
		len = 8 * len + VMBUS_PKT_TRAILER;
		if (unlikely(pkt + len > stop || !rx_holds64(pkt + 24 + 8 * count, NVSP_RNDIS)))
			break;
		end = pkt + 24 + 8 * count;
		fetch = end + 8 * HVN_RX_AHEAD;
		fetch_end = -HVN_RX_AHEAD;
		/* The message to come has its ranges where this one has them. */
		if (far + len <= (uint64_t)(stop - pkt) && rx_holds64(pkt + far, hv_load64(pkt))) {
			fetch = end + far;
			fetch_end = 0;
		}
		rest = rx_run(q, end, next + count, count, fetch, fetch_end, &sum, records);
		next += count - rest;
		if (unlikely(rest != 0)) {
			rx_stopped(ch, pkt, len, count, count - rest);
			break;
		}
		last = pkt;
		ack->tid = hv_load64(pkt + 8);
		ack->nvsp = HVN_ACK(NVSP_STATUS_SUCCESS);
		room -= count;
		pkt += len;
	}
	if (last != NULL)
		rx_learn(q, last + 24);
	rx_advance(q, ch, pkt, ack);
	*bytes += sum;
	return (uint32_t)(next - first);
}

/* One function for each kind of loop, so that each has the registers for itself. */
#define RX_LOOP(name, loop, records)                                                \
	static __rte_noinline uint32_t name(struct hvn_rxq *q, struct hvn_chan *ch, \
					    struct rte_mbuf **next, uint64_t room,  \
					    uint64_t *bytes)                        \
	{                                                                           \
		return loop(q, ch, next, room, bytes, records);                     \
	}

RX_LOOP(rx_single_plain, rx_single, false)
RX_LOOP(rx_whole_plain, rx_whole, false)
RX_LOOP(rx_whole_records, rx_whole, true)

/* Usual messages into the mbufs from next on; returns the end of the frames. */
static __rte_always_inline struct rte_mbuf **
rx_usual(struct hvn_rxq *q, struct hvn_chan *ch, struct rte_mbuf **next, struct rte_mbuf **spare,
	 uint64_t *bytes)
{
	if (unlikely(q->records)) {
		q->records = false; /* until rx_records() is called again */
		return next + rx_whole_records(q, ch, next, (uint64_t)(spare - next), bytes);
	}
	if (q->singles)
		next += rx_single_plain(q, ch, next, (uint64_t)(spare - next), bytes);
	if (next == spare || ch->msg_ranges != 0)
		return next;
	return next + rx_whole_plain(q, ch, next, (uint64_t)(spare - next), bytes);
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
	__atomic_store_n(&rx->index, vmbus_ring_wrap(rx, rx->index + msg->len + VMBUS_PKT_TRAILER),
			 __ATOMIC_RELAXED);
	if (unlikely(ch->ext_held))
		hvn_ext_msg_done(ch, msg->tid, ch->msg_status);
	else
		hvn_chan_owe(ch, msg->tid, ch->msg_status);
	q->stats.messages++;
}

/* A range that is not usual. False if the burst has to end here: no mbufs. */
static __rte_always_inline bool
rx_other(struct hvn_rxq *q, struct hvn_chan *ch, struct rx_msg *msg, struct rte_mbuf ***next,
	 struct rte_mbuf ***spare, uint64_t *bytes)
{
	struct hvn_rx_room room = { .next = *next, .spare = *spare, .bytes = *bytes };
	bool ok;

	ch->ext_ranges = (uint32_t)((msg->end - msg->body) / 8 - 1);
	ok = hvn_rx_range(q, ch, &room, hv_load64(msg->at));
	*next = room.next;
	*spare = room.spare;
	*bytes = room.bytes;
	msg->at += ok ? 8 : 0;
	return ok;
}

/*
 * Guess how many mbufs the burst needs: what the current message still has, and what the ring
 * seems to hold, messages being much alike. What was too much goes back at the end of the burst.
 */
static __rte_always_inline uint32_t
rx_guess(struct hvn_rxq *q, const struct vmbus_ring *rx, uint32_t left, uint32_t room)
{
	const uint32_t avail = vmbus_ring_dist(rx, rx->index, rx->peer);
	const uint8_t *pkt = rx->data + rx->index;
	uint32_t count, len;

	/* Not yet checked, and near the end of the ring not even there: a hint. */
	if (left >= room || avail < 48 || rx->size - rx->index < 24)
		return RTE_MIN(room, RTE_MAX(left, 1u));
	count = hv_load32(pkt + 20);
	len = 8 * (uint32_t)(uint16_t)hv_load32(pkt + 4) + VMBUS_PKT_TRAILER;
	q->singles = count == 1;
	q->fetch_far = len * (count >= HVN_RX_FAR ? 1 : HVN_RX_FAR / RTE_MAX(count, 1u));
	if (count >= room || len * room <= avail)
		return room;
	return RTE_MIN(room, RTE_MAX(left, 1u) + avail / len * count);
}

/*
 * Everything else: what is not usual, messages longer than the burst, rings that wrap. The array
 * has frames up to next, empty mbufs up to spare. Returns the end of the frames; what is behind
 * them is given back. While it runs, the current message is in msg, not in the channel.
 */
static __rte_noinline struct rte_mbuf **
rx_mixed(struct hvn_rxq *q, struct hvn_chan *ch, struct rte_mbuf **next, struct rte_mbuf **spare,
	 struct rte_mbuf **const last, uint64_t *bytes, bool *blocked)
{
	struct vmbus_ring *rx = &ch->vc->rx;
	struct rx_msg msg = { NULL };
	uint32_t ranges, run, rest, budget = (uint32_t)(last - next) + HVN_RX_BARREN;

	while (next != last) {
		if (msg.at == msg.end) {
			if (budget-- == 0 || (ch->msg_ranges == 0 && hvn_chan_next(ch) != 1))
				break;
			rx_msg_load(ch, &msg);
		}
		ranges = (uint32_t)((msg.end - msg.at) / 8);
		if (next == spare) {
			spare += hvn_rx_alloc(q, next,
					      rx_guess(q, rx, ranges, (uint32_t)(last - next)));
			if (next == spare) {
				*blocked = true;
				break;
			}
		}
		run = RTE_MIN(ranges, (uint32_t)(spare - next));
		rest = run;
		if (likely(ch->rsc_head == NULL))
			rest = rx_run(q, msg.at + 8 * (uint64_t)run, next + run, run,
				      msg.at + 8 * (uint64_t)(run + HVN_RX_AHEAD),
				      (int64_t)(ranges - run) - HVN_RX_AHEAD, bytes, true);
		msg.at += 8 * (uint64_t)(run - rest);
		next += run - rest;
		if (rest != 0 && !rx_other(q, ch, &msg, &next, &spare, bytes)) {
			*blocked = true;
			break;
		}
		if (msg.at == msg.end) {
			rx_msg_done(q, ch, rx, &msg);
			if (ch->rsc_head == NULL && ch->scanned == 0 && next != spare)
				next = rx_usual(q, ch, next, spare, bytes);
		}
	}
	if (msg.at != msg.end)
		rx_msg_store(ch, &msg);
	if (next != spare)
		rte_mempool_put_bulk(q->pool, (void **)next, (unsigned int)(spare - next));
	return next;
}

/*
 * May the end of the batch wait for the next burst? Frames are left, for which the application
 * has to come back; and what the host waits for is little.
 */
static __rte_always_inline bool
rx_defer(struct hvn_rxq *q, const struct hvn_chan *ch, const struct vmbus_ring *rx, uint32_t got)
{
	q->owed += got;
	return rx->index != rx->peer && ch->n_acks < HVN_RX_DEFER && q->owed < q->owed_max;
}

/* The caller holds in_lock. */
uint16_t
HVN_WIDE(hvn_rx_synthetic)(struct hvn_rxq *q, struct hvn_chan *ch, struct rte_mbuf **pkts,
			   uint16_t n)
{
	struct rte_mbuf **next = pkts, **spare = pkts; /* between them: empty mbufs */
	struct vmbus_ring *rx = &ch->vc->rx;
	bool blocked = false;
	uint64_t bytes = 0;

	if (likely(ch->msg_ranges == 0 && ch->rsc_head == NULL && ch->scanned == 0) &&
	    likely(vmbus_ring_rx_ready(rx))) {
		/* Where an application forwards, completions stand in front of frames and between. */
		if (rx_holds16(rx->data + rx->index, VMBUS_PKT_COMPLETION))
			hvn_tx_completed_run(ch);
		spare += hvn_rx_alloc(q, pkts, rx_guess(q, rx, 0, n));
		blocked = spare == pkts;
		do
			next = rx_usual(q, ch, next, spare, &bytes);
		while (next != spare && ch->msg_ranges == 0 && hvn_tx_completed_run(ch) != 0);
	}
	if (unlikely(next != spare || ch->msg_ranges != 0) ||
	    (next != pkts + n && rx->index != rx->peer && !blocked))
		next = rx_mixed(q, ch, next, spare, pkts + n, &bytes, &blocked);
	q->stats.packets += (uint32_t)(next - pkts);
	q->stats.bytes += bytes;
	/* Completions behind the frames we cannot take must not wait for mbufs: they free some. */
	if (unlikely(blocked)) {
		hvn_chan_scan_locked(ch);
	} else if (!rx_defer(q, ch, rx, (uint32_t)(next - pkts))) {
		q->owed = 0;
		hvn_chan_finish(ch);
	}
	return (uint16_t)(next - pkts);
}
