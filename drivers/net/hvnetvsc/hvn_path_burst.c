/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bursts of a port whose path is not simply synthetic. They keep the order of each queue, and so of
 * each flow, while the path changes; none waits.
 *
 * Receive: frames of the newer path are held back until those that the older path had when the
 * first of them was seen are delivered. The host puts a frame on one path only after it has put all
 * earlier ones on the other, so the newer path is looked at first, then the older one is emptied.
 * While the host turns to the VF, the synthetic ring is the older path; from then on the VF's queue
 * is, since the host may turn back at any time, and unasked.
 *
 * Transmit: a queue turns to the VF in a burst that finds nothing of it left in the ring. Under load
 * that moment may not come: then the queue takes nothing until it does, as if it were full, for a
 * limited time. It turns back, if that is planned, when the VF has sent what it was given, where the
 * VF's driver tells; else at once.
 */
#include <string.h>

#include <rte_cycles.h>

#include "hvn_chan.h"
#include "hvn_ctrl.h"
#include "hvn_path_inline.h"
#include "hvn_rx.h"
#include "hvn_txd.h"

#define VF_QUEUE_MAX HVN_DESC_MAX /* frames a VF's queue can hold, or more */

#define OLDER_MS    1000 /* receive: the older path gets shorter by then, or nobody empties it */
#define OLDER_LOOKS 256	 /* ... unless it was this one that nobody ran for so long */
#define SEND_MS	    1000 /* transmit: as before, while waiting for the moment to turn */
#define HOLD_MS	    2000 /* ... and then nothing, until it comes or by then */

static inline bool
is_over(uint64_t since, uint64_t ms)
{
	return rte_rdtsc() - since > ms * rte_get_tsc_hz() / 1000;
}

/* --- receive -------------------------------------------------------------------------------------- */

/* The VF's frames as the port's: not every VF tells packet types, nor is it asked to. */
static void
rx_adopt(const struct hvn_rxq *q, struct rte_mbuf **pkts, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++)
		pkts[i]->port = q->port_id;
	if (unlikely(q->ptypes))
		hvn_rx_ptypes(pkts, n, q->ptypes);
}

static uint16_t
rx_vf(struct hvn_rxq *q, uint16_t vf, struct rte_mbuf **pkts, uint16_t n)
{
	const struct rte_eth_dev *dev = &rte_eth_devices[vf];
	uint16_t got = 0;

	/* A secondary may lack it, and ethdev's copy may be older there than the queues. */
	if (likely(dev->state == RTE_ETH_DEV_ATTACHED))
		got = dev->rx_pkt_burst(dev->data->rx_queues[q->queue_id], pkts, n);
	rx_adopt(q, pkts, got);
	/* For whoever waits until nothing is left in there. Release: what was taken out of it. */
	if (got == 0 && n != 0)
		__atomic_store_n(&q->hold.vf_empty, q->hold.vf_empty + 1, __ATOMIC_RELEASE);
	return got;
}

static uint16_t
rx_release(struct hvn_rxq *q, struct rte_mbuf **pkts, uint16_t n)
{
	struct hvn_rx_hold *h = &q->hold;
	const uint16_t m = RTE_MIN(n, h->n);

	for (uint16_t i = 0; i < m; i++)
		pkts[i] = h->pkts[h->first + i];
	/* In this order: a process may be killed between, and what is lost does not come twice. */
	h->n -= m;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	h->first += m;
	return m;
}

void
hvn_path_mark_ring(const struct hvn_rxq *q, struct hvn_ring_mark *m)
{
	const struct vmbus_ring *rx;
	uint32_t windex;

	m->left = 0;
	m->looks = 0;
	m->since = rte_rdtsc();
	if (q->chan == NULL || hvn_removed(q->port))
		return;
	rx = &q->chan->vc->rx;
	/* In this order: a scan on another lcore may move the index meanwhile. */
	m->at = __atomic_load_n(&rx->index, __ATOMIC_ACQUIRE);
	windex = __atomic_load_n(&rx->hdr->windex, __ATOMIC_ACQUIRE);
	if (windex < rx->size)
		m->left = vmbus_ring_dist(rx, m->at, windex);
}

static bool
rx_ring_passed(const struct hvn_rxq *q, struct hvn_ring_mark *m)
{
	const struct vmbus_ring *rx;
	uint32_t index, bytes;

	if (m->left == 0)
		return true;
	if (q->chan == NULL || hvn_removed(q->port) ||
	    (is_over(m->since, OLDER_MS) && ++m->looks > OLDER_LOOKS)) {
		m->left = 0;
		return true;
	}
	rx = &q->chan->vc->rx;
	index = __atomic_load_n(&rx->index, __ATOMIC_RELAXED);
	if (index == m->at)
		return false;
	bytes = vmbus_ring_dist(rx, m->at, index);
	m->at = index;
	m->left -= RTE_MIN(bytes, m->left);
	m->since = rte_rdtsc();
	return m->left == 0;
}

/* Frames of the ring up to the mark, and none behind it: what came by the VF may be older than that. */
static uint16_t
rx_ring_to(struct hvn_rxq *q, struct hvn_ring_mark *m, struct rte_mbuf **pkts, uint16_t n)
{
	uint16_t got = 0, one = 1;

	/* The ring's read index moves behind the last frame of a message. */
	while (!rx_ring_passed(q, m) && got < n && one != 0) {
		one = hvn_rx_poll(q, pkts + got, 1);
		got += one;
	}
	return got;
}

static uint16_t
rx_ring_first(struct hvn_rxq *q, uint16_t vf, struct rte_mbuf **pkts, uint16_t n)
{
	struct hvn_rx_hold *h = &q->hold;
	uint16_t got;

	if (h->n == 0) {
		h->first = 0;
		h->of_vf = true;
		h->n = rx_vf(q, vf, h->pkts, HVN_RX_HOLD);
		if (h->n == 0)
			return hvn_rx_poll(q, pkts, n);
		hvn_path_mark_ring(q, &h->mark);
	}
	got = rx_ring_to(q, &h->mark, pkts, n);
	if (h->mark.left == 0)
		got += rx_release(q, pkts + got, n - got);
	return got;
}

/* The host has turned to the VF: is all that came by the ring before delivered? */
static bool
rx_turned(struct hvn_rxq *q)
{
	uint8_t seen = HVN_RING_TURNED;

	if (!rx_ring_passed(q, &q->path.mark))
		return false;
	__atomic_compare_exchange_n(&q->path.ring_first, &seen, HVN_RING_LAST, false,
				    __ATOMIC_RELAXED, __ATOMIC_RELAXED);
	return true;
}

static uint16_t
rx_vf_first(struct hvn_rxq *q, uint16_t vf, struct rte_mbuf **pkts, uint16_t n)
{
	struct hvn_rx_hold *h = &q->hold;
	uint16_t got;

	if (h->n == 0) {
		h->first = 0;
		h->of_vf = false;
		h->n = hvn_rx_poll(q, h->pkts, HVN_RX_HOLD);
		h->left = VF_QUEUE_MAX;
	}
	/* The VF has delivered all that it may have held: were it polled first, it might fill the burst. */
	if (h->n != 0 && h->left == 0)
		return rx_release(q, pkts, n);
	got = rx_vf(q, vf, pkts, n);
	if (h->n == 0)
		return got;
	h->left -= RTE_MIN(got, h->left);
	if (got == 0 || h->left == 0)
		got += rx_release(q, pkts + got, n - got);
	return got;
}

/* Frames of the first VF that was taken late. As in rx_release(), a process may be killed anywhere. */
static uint16_t
late_release(struct hvn_rx_hold *h, struct rte_mbuf **pkts, uint16_t n)
{
	struct hvn_rx_late *l = &h->late_vf[0];
	/* The last one has all that is left. */
	uint16_t m = h->late_vfs > 1 ? RTE_MIN(l->n, h->late_n) : h->late_n;

	m = RTE_MIN(m, n);
	for (uint16_t i = 0; i < m; i++)
		pkts[i] = h->late[h->late_first + i];
	h->late_n -= m;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	h->late_first += m;
	l->n -= RTE_MIN(m, l->n);
	if (h->late_n == 0) {
		h->late_vfs = 0;
	} else if (l->n == 0 && h->late_vfs > 1) {
		memmove(l, l + 1, (h->late_vfs - 1u) * sizeof(*l));
		h->late_vfs--;
	}
	return m;
}

/*
 * What the control thread took out of a VF: behind what the ring had when the host turned to the
 * VF, if that was not read yet, and what was held of the VF; before all else. So one VF after the
 * other.
 */
static uint16_t
rx_late(struct hvn_rxq *q, struct rte_mbuf **pkts, uint16_t n)
{
	struct hvn_rx_hold *h = &q->hold;
	struct hvn_rx_late *l = &h->late_vf[0];
	uint16_t got = 0;

	if (h->n != 0 && l->behind)
		return rx_release(q, pkts, n);
	if (l->mark.left != 0) {
		if (h->n != 0 && !h->of_vf)
			return rx_release(q, pkts, n);
		got = rx_ring_to(q, &l->mark, pkts, n);
		if (l->mark.left != 0)
			return got;
	}
	if (h->n != 0 && h->of_vf) {
		got += rx_release(q, pkts + got, n - got);
		if (h->n != 0)
			return got;
	}
	return got + late_release(h, pkts + got, n - got);
}

/* What the ring has that is older than anything of the VF that is held or left in there; or NULL. */
static struct hvn_ring_mark *
rx_older(struct hvn_rxq *q)
{
	/* Acquire: the mark that goes with it. */
	uint8_t first = __atomic_load_n(&q->path.ring_first, __ATOMIC_ACQUIRE);

	if (first == HVN_RING_TURNED)
		return &q->path.mark;
	return first == HVN_RING_FIRST && q->hold.n != 0 && q->hold.of_vf ? &q->hold.mark : NULL;
}

/* The VF has gone: nothing is older than what is held, but for what the ring had before. */
static uint16_t
rx_last(struct hvn_rxq *q, struct rte_mbuf **pkts, uint16_t n)
{
	struct hvn_ring_mark *older = q->hold.n != 0 && q->hold.of_vf ? rx_older(q) : NULL;
	uint16_t seen = HVN_RX_LAST, got = 0;

	if (older != NULL) {
		got = rx_ring_to(q, older, pkts, n);
		if (older->left != 0)
			return got;
	}
	got += rx_release(q, pkts + got, n - got);
	if (q->hold.n == 0)
		__atomic_compare_exchange_n(&q->path.vf_port, &seen, RTE_MAX_ETHPORTS, false,
					    __ATOMIC_RELAXED, __ATOMIC_RELAXED);
	return got + hvn_rx_poll(q, pkts + got, n - got);
}

uint16_t
hvn_path_rx(struct hvn_rxq *q, struct rte_mbuf **pkts, uint16_t n)
{
	const uint16_t vf = hvn_path_enter(&q->path);
	/* Acquire: the mark that goes with it. */
	uint8_t first = __atomic_load_n(&q->path.ring_first, __ATOMIC_ACQUIRE);
	uint16_t got;

	if (vf == HVN_RX_HALT)
		got = 0;
	else if (q->hold.late_n != 0)
		got = rx_late(q, pkts, n);
	else if (vf >= RTE_MAX_ETHPORTS)
		got = rx_last(q, pkts, n);
	else if (q->hold.n != 0 && !q->hold.of_vf && first != HVN_RING_LAST)
		/* Of the ring, from before a flap that nobody has polled through. */
		got = rx_release(q, pkts, n);
	else if (first == HVN_RING_FIRST && (q->hold.n == 0 || q->hold.of_vf))
		got = rx_ring_first(q, vf, pkts, n);
	else if (first == HVN_RING_TURNED && !rx_turned(q))
		got = rx_ring_to(q, &q->path.mark, pkts, n);
	else if (q->hold.n != 0 && q->hold.of_vf)
		got = rx_release(q, pkts, n);
	else
		got = rx_vf_first(q, vf, pkts, n);
	hvn_path_leave(&q->path);
	return got;
}

void
hvn_path_rx_drop(struct hvn_rxq *q)
{
	struct hvn_rx_hold *h = &q->hold;

	rte_pktmbuf_free_bulk(&h->pkts[h->first], h->n);
	if (h->late_n != 0)
		rte_pktmbuf_free_bulk(&h->late[h->late_first], h->late_n);
	q->stats.dropped += h->n + h->late_n;
	h->n = 0;
	h->late_n = 0;
	h->late_vfs = 0;
}

/* Where to count what is about to be taken out of a VF. */
static struct hvn_rx_late *
next_late(struct hvn_rxq *q)
{
	struct hvn_rx_hold *h = &q->hold;
	const bool behind = h->late_n != 0;
	struct hvn_ring_mark *older;
	struct hvn_rx_late *l;

	if (!behind)
		h->late_vfs = 0;
	if (h->late_vfs == HVN_RX_LATE_VFS)
		return &h->late_vf[HVN_RX_LATE_VFS - 1];
	l = &h->late_vf[h->late_vfs++];
	memset(l, 0, sizeof(*l));
	l->behind = behind;
	/* What is held is of an earlier one then, and so is its mark. */
	older = behind && q->path.ring_first != HVN_RING_TURNED ? NULL : rx_older(q);
	if (older != NULL)
		l->mark = *older;
	return l;
}

bool
hvn_path_rx_collect(struct hvn_rxq *q, uint16_t vf)
{
	const struct rte_eth_dev *dev = &rte_eth_devices[vf];
	struct hvn_rx_hold *h = &q->hold;
	struct hvn_rx_late *l;
	bool there = true;
	uint16_t got = 0;

	if (h->late == NULL)
		return false;
	l = next_late(q);
	memmove(h->late, h->late + h->late_first, h->late_n * sizeof(h->late[0]));
	h->late_first = 0;
	do {
		h->late_n += got;
		l->n += got;
		/* Closed by somebody else meanwhile? */
		there = dev->state == RTE_ETH_DEV_ATTACHED;
		if (!there)
			break;
		got = RTE_MIN(HVN_RX_LATE - h->late_n, HVN_RX_HOLD + 0u);
		got = dev->rx_pkt_burst(dev->data->rx_queues[q->queue_id], h->late + h->late_n,
					got);
		rx_adopt(q, h->late + h->late_n, got);
	} while (got != 0);
	if (l->n == 0)
		h->late_vfs--;
	return there && h->late_n < HVN_RX_LATE;
}

/* --- transmit --------------------------------------------------------------------------------------- */

/* Is nothing of this queue's in the ring, or not yet taken by the host? */
static bool
tx_ring_done(struct hvn_txq *q)
{
	return q->chan == NULL || hvn_removed(q->port) || hvn_tx_reclaim(q) == 0;
}

static bool
tx_vf_done(uint16_t vf, uint16_t queue)
{
	/* Not ethdev's copy, which may be older in a secondary than the queues. */
	const struct rte_eth_dev *dev = &rte_eth_devices[vf];

	return dev->state != RTE_ETH_DEV_ATTACHED || dev->tx_descriptor_status == NULL ||
	       dev->tx_descriptor_status(dev->data->tx_queues[queue], 0) != RTE_ETH_TX_DESC_FULL;
}

/* Turn, unless the control thread has decided otherwise; the path in force. */
static uint16_t
tx_turn(struct hvn_txq *q, uint16_t seen, uint16_t to)
{
	return __atomic_compare_exchange_n(&q->path.vf_port, &seen, to, false, __ATOMIC_RELAXED,
					   __ATOMIC_RELAXED)
		       ? to
		       : seen;
}

/* The VF takes nothing: it may be full, or gone without a word. */
static bool
tx_vf_dead(struct hvn_txq *q, uint16_t vf)
{
	if (rte_eth_devices[vf].data->dev_link.link_status == RTE_ETH_LINK_UP)
		return false;
	if (!__atomic_load_n(&q->path.dead, __ATOMIC_RELAXED)) {
		__atomic_store_n(&q->path.dead, true, __ATOMIC_RELAXED);
		hvn_ctrl_kick(q->port);
	}
	return true;
}

static uint16_t
tx_vf(struct hvn_txq *q, uint16_t vf, struct rte_mbuf **pkts, uint16_t n, bool *dead)
{
	const struct rte_eth_dev *dev = &rte_eth_devices[vf];
	uint16_t sent;

	/* A secondary may lack it: the synthetic path still sends. */
	*dead = unlikely(dev->state != RTE_ETH_DEV_ATTACHED);
	if (unlikely(*dead))
		return 0;
	sent = dev->tx_pkt_burst(dev->data->tx_queues[q->queue_id], pkts, n);
	*dead = unlikely(sent == 0 && n != 0) && tx_vf_dead(q, vf);
	return sent;
}

uint16_t
hvn_path_tx(struct hvn_txq *q, struct rte_mbuf **pkts, uint16_t n)
{
	uint16_t sent = 0, path = hvn_path_enter(&q->path);
	uint64_t since = __atomic_load_n(&q->path.since, __ATOMIC_RELAXED);
	bool dead = false;

	if ((path & HVN_TX_TO_VF) != 0) {
		if (tx_ring_done(q) || is_over(since, HOLD_MS))
			path = tx_turn(q, path, path & ~HVN_TX_TO_VF);
		else if (is_over(since, SEND_MS))
			n = 0;
	} else if ((path & HVN_TX_BACK) != 0) {
		if (tx_vf_done(path & ~HVN_TX_BACK, q->queue_id))
			path = tx_turn(q, path, RTE_MAX_ETHPORTS);
		else
			path &= ~HVN_TX_BACK;
	}
	if (path < RTE_MAX_ETHPORTS) {
		sent = tx_vf(q, path, pkts, n, &dead);
		hvn_path_leave(&q->path);
		/* What was sent before the switch still completes here. */
		if (q->chan != NULL && hvn_txd_used(q->txd) != 0 && !hvn_removed(q->port))
			hvn_tx_reclaim(q);
		if (likely(!dead))
			return sent;
	} else {
		hvn_path_leave(&q->path);
	}
	return hvn_tx_synthetic(q, pkts, n);
}
