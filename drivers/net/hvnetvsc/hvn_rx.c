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

/* Empty mbufs in the application's array: out <= next <= end, pkts[next..end) are empty. */
struct rx_room {
	struct rte_mbuf **pkts;
	uint32_t n, out, next, end;
};

/*
 * Allocate for what the ring seems to hold, messages being much alike; what was too much goes
 * back at the end of the burst.
 */
static int
rx_alloc(struct hvn_rxq *q, const struct hvn_chan *ch, struct rx_room *room)
{
	const struct vmbus_ring *rx = &ch->vc->rx;
	uint32_t left = ch->msg_ranges - ch->msg_next, want = left;

	room->next = room->end = room->out;
	if (left < room->n - room->end)
		want = vmbus_ring_dist(rx, rx->index, rx->peer) /
		       (ch->msg.len + VMBUS_PKT_TRAILER) * ch->msg_ranges;
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

/* A fast look: what needs more than one copy into one mbuf? */
static inline bool
rx_is_special(const struct hvn_rxq *q, const struct rndis_pkt_info *info)
{
	return info->data_len > q->buf_len || info->data_len < RTE_ETHER_HDR_LEN ||
	       (info->present & (RNDIS_INFO_PACKET_ID | RNDIS_INFO_VLAN)) != 0;
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

static inline void
rx_prefetch(const struct hvn_port *p, const uint8_t *ranges, uint32_t i, uint32_t data_off)
{
	uint64_t off = hv_load64(ranges + 8 * i) >> 32;

	/* A prefetch cannot fault, whatever the offset. */
	rte_prefetch0(p->recv_buf + off);
	rte_prefetch0(p->recv_buf + off + data_off);
}

/*
 * Consume ranges of the current message while there are empty mbufs. Returns false if the burst
 * has to end here.
 */
static inline bool
rx_ranges(struct hvn_rxq *q, struct hvn_chan *ch, struct rx_room *room, uint64_t *bytes)
{
	const struct hvn_port *p = q->port;
	const uint8_t *ranges = ch->msg.body + 8, *slot, *frame;
	const bool want_hash = (q->offloads & RTE_ETH_RX_OFFLOAD_RSS_HASH) != 0;
	uint32_t i = ch->msg_next, count = ch->msg_ranges, data_off = q->data_off;
	enum rndis_parse_error err;
	struct rndis_pkt_info info;
	struct rte_mbuf *m, *out;
	uint64_t flags;
	uint32_t len;
	bool ok = true;
	uint8_t *dst;
	int rc;

	for (; i < count && room->next < room->end; i++) {
		if (i + PREFETCH_AHEAD < count)
			rx_prefetch(p, ranges, i + PREFETCH_AHEAD, data_off);
		slot = hvn_chan_range(p, hv_load64(ranges + 8 * i), &len);
		if (unlikely(slot == NULL)) {
			rx_bad_range(ch, q, RNDIS_PARSE_OK);
			continue;
		}
		err = rndis_parse_packet(slot, len, 0, &info);
		if (unlikely(err != RNDIS_PARSE_OK)) {
			rx_bad_range(ch, q, err);
			continue;
		}
		data_off = info.data_off;
		frame = slot + data_off;
		m = room->pkts[room->next];
		if (unlikely(rx_is_special(q, &info) || ch->rsc_head != NULL)) {
			rc = hvn_rx_frame(q, ch, m, frame, &info, &out);
			if (rc == -ENOMEM) {
				q->stats.nombuf++;
				ok = false;
				break;
			}
			if (rc < 0) {
				ch->msg_status = NVSP_STATUS_FAILURE;
				continue;
			}
			if (rc == HVN_RX_OUT)
				rte_mbuf_raw_free(m); /* its place is needed */
			room->next += rc != 0;
			if ((rc & HVN_RX_OUT) != 0) {
				rx_count_group(q, rte_pktmbuf_mtod(out, uint8_t *));
				*bytes += out->pkt_len;
				room->pkts[room->out++] = out;
			}
			continue;
		}
		flags = hvn_rx_csum(&info);
		if (want_hash && (info.present & RNDIS_INFO_HASH_VALUE) != 0)
			flags |= RTE_MBUF_F_RX_RSS_HASH;
		else
			info.hash_value = 0;
		hvn_rx_fill(m, q->mbuf_init, flags, info.data_len, info.hash_value);
		dst = (uint8_t *)m->buf_addr + RTE_PKTMBUF_HEADROOM;
		hvn_copy(dst, frame, info.data_len);
		rx_count_group(q, dst);
		*bytes += info.data_len;
		room->next++;
		room->pkts[room->out++] = m;
	}
	ch->msg_next = i;
	q->data_off = data_off;
	return ok;
}

/* The burst proper; the caller holds in_lock. */
static inline uint16_t
rx_synthetic(struct hvn_rxq *q, struct hvn_chan *ch, struct rte_mbuf **pkts, uint16_t n)
{
	struct rx_room room = { .pkts = pkts, .n = n };
	uint64_t bytes = 0;
	uint32_t i;
	bool blocked = false;

	while (room.out < n) {
		if (ch->msg_ranges == 0) {
			if (hvn_chan_next(ch) != 1)
				break;
			for (i = 0; i < RTE_MIN(ch->msg_ranges, (uint32_t)PREFETCH_AHEAD); i++)
				rx_prefetch(q->port, ch->msg.body + 8, i, q->data_off);
			q->stats.messages++;
		}
		if (room.next == room.end && rx_alloc(q, ch, &room) != 0) {
			blocked = true;
			break;
		}
		if (!rx_ranges(q, ch, &room, &bytes)) {
			blocked = true;
			break;
		}
		if (ch->msg_next == ch->msg_ranges) {
			if (unlikely(ch->rsc_head != NULL))
				hvn_rx_rsc_drop(q, ch);
			hvn_chan_msg_done(ch);
		}
	}
	if (room.next != room.end)
		rte_mempool_put_bulk(q->pool, (void **)&pkts[room.next], room.end - room.next);
	q->stats.packets += room.out;
	q->stats.bytes += bytes;
	/* Completions behind the frames we cannot take must not wait for mbufs: they free some. */
	if (unlikely(blocked))
		hvn_chan_scan_locked(ch);
	else
		hvn_chan_finish(ch);
	return (uint16_t)room.out;
}

static __rte_noinline void
rx_ptypes(struct rte_mbuf **pkts, uint16_t n)
{
	uint16_t i;

	for (i = 0; i < n; i++)
		pkts[i]->packet_type = rte_net_get_ptype(pkts[i], NULL, RTE_PTYPE_ALL_MASK);
}

static inline uint16_t
rx_poll(struct hvn_rxq *q, struct rte_mbuf **pkts, uint16_t n)
{
	struct hvn_chan *ch = q->chan;
	const struct vmbus_ring *rx;
	uint16_t got;

	if (unlikely(ch == NULL || hvn_removed(q->port)))
		return 0;
	__atomic_store_n(&ch->rx_polls, ch->rx_polls + 1, __ATOMIC_RELAXED);
	rx = &ch->vc->rx;
	/* Nothing new and nothing owed: one line of the host's was read, no lock taken. */
	if (__atomic_load_n(&rx->hdr->windex, __ATOMIC_RELAXED) ==
		    __atomic_load_n(&rx->index, __ATOMIC_RELAXED) &&
	    __atomic_load_n(&ch->n_acks, __ATOMIC_RELAXED) == 0)
		return 0;
	/* Busy: a transmit burst on another lcore looks for completions; come back. */
	if (unlikely(n == 0) || !rte_spinlock_trylock(&ch->in_lock))
		return 0;
	got = rx_synthetic(q, ch, pkts, n);
	rte_spinlock_unlock(&ch->in_lock);
	if (unlikely(q->ptypes))
		rx_ptypes(pkts, got);
	return got;
}

static __rte_noinline uint16_t
rx_vf(const struct hvn_rxq *q, uint16_t vf, struct rte_mbuf **pkts, uint16_t n)
{
	struct rte_eth_fp_ops *ops = &rte_eth_fp_ops[vf];
	uint16_t i, got = ops->rx_pkt_burst(ops->rxq.data[q->queue_id], pkts, n);

	for (i = 0; i < got; i++)
		pkts[i]->port = q->port_id;
	return got;
}

uint16_t
hvn_rx_burst(void *rxq, struct rte_mbuf **pkts, uint16_t n)
{
	struct hvn_rxq *q = rxq;
	uint16_t got = 0, vf = hvn_path_enter(&q->path);

	/* The host may deliver by either path at any time (broadcasts, a switch under way). */
	if (unlikely(vf != RTE_MAX_ETHPORTS)) {
		if (__atomic_load_n(&q->path.synthetic_first, __ATOMIC_RELAXED)) {
			got = rx_poll(q, pkts, n);
			got += rx_vf(q, vf, pkts + got, n - got);
			hvn_path_leave(&q->path);
			return got;
		}
		got = rx_vf(q, vf, pkts, n);
	}
	hvn_path_leave(&q->path);
	return got + rx_poll(q, pkts + got, n - got);
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

	if (ch == NULL || hvn_removed(q->port) || !rte_spinlock_trylock(&ch->in_lock))
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
	rte_spinlock_unlock(&ch->in_lock);
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
