/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include <rte_cycles.h>
#include <rte_malloc.h>

#include "hvn_chan.h"
#include "hvn_copy.h"

#define SCAN_MAX 1024 /* packets per scan */

/* Nobody polled for so long while the ring is nearly full: frames make way for completions. */
#define ABANDONED_MS 200 /* an application that polls may get no processor for a while */

int
hvn_chan_create(struct hvn_port *p, struct hv_vmbus_channel *vc, struct hvn_chan **chan)
{
	struct hvn_chan *ch;
	int socket = hvn_node(p);

	ch = rte_zmalloc_socket("hvn_chan", sizeof(*ch), RTE_CACHE_LINE_SIZE, socket);
	if (ch == NULL)
		ch = rte_zmalloc("hvn_chan", sizeof(*ch), RTE_CACHE_LINE_SIZE);
	if (ch == NULL) {
		HVN_LOG(ERR, "port %u: no memory for channel %u", p->port_id, vc->index);
		return -ENOMEM;
	}
	ch->vc = vc;
	ch->port = p;
	ch->index = vc->index;
	ch->rx_polls_tsc = rte_rdtsc();
	*chan = ch;
	return 0;
}

void
hvn_chan_free(struct hvn_chan *ch)
{
	if (ch == NULL)
		return;
	rte_pktmbuf_free(ch->rsc_head);
	hvn_ext_release(ch->ext);
	rte_free(ch);
}

/*
 * Whoever held in_lock was killed. The ring's index moves behind what was done with a packet, so
 * that at worst a message's frames come once more: those before went to the dead.
 */
static void
repair(struct hvn_chan *ch)
{
	HVN_LOG(WARNING, "port %u: channel %u: a process ended while it received",
		ch->port->port_id, ch->index);
	ch->rsc_head = NULL; /* maybe half a chain: lost */
	ch->msg_ranges = ch->msg_next = ch->ctrl_next = 0;
	/* Which of them the host has got is unknown; one that comes twice would be fatal. */
	if (ch->paying)
		ch->n_acks = 0;
	ch->paying = false;
}

bool
hvn_chan_lock_in(struct hvn_chan *ch)
{
	enum hvn_lock_rc rc = hvn_biased_wait(&ch->in_lock, HVN_BURST_MS);

	if (rc == HVN_LOCK_TAKEN_OVER)
		repair(ch);
	return rc != HVN_LOCK_NO;
}

void
hvn_chan_rescue(struct hvn_chan *ch)
{
	if (hvn_biased_take_over(&ch->in_lock)) {
		repair(ch);
		hvn_biased_release(&ch->in_lock);
	}
	if (hvn_biased_take_over(&ch->out_lock))
		hvn_biased_release(&ch->out_lock);
}

int
hvn_chan_send(struct hvn_chan *ch, uint16_t type, uint16_t flags, uint64_t tid, const void *ext,
	      uint32_t ext_len, const void *payload, uint32_t payload_len)
{
	bool signal = false;
	int rc;

	if (hvn_removed(ch->port))
		return -ENODEV;
	/* Nothing to repair behind a dead holder: what it had not committed is not in the ring. */
	if (hvn_biased_wait(&ch->out_lock, HVN_BURST_MS) == HVN_LOCK_NO)
		return -EAGAIN;
	rc = vmbus_ring_tx_put(&ch->vc->tx, type, flags, tid, ext, ext_len, payload, payload_len);
	if (rc == 0)
		signal = vmbus_ring_tx_publish(&ch->vc->tx);
	ch->out_signals += signal;
	hvn_biased_release(&ch->out_lock);
	if (signal)
		hv_vmbus_signal(hvn_vdev(ch->port), ch->vc);
	return rc;
}

/* Descriptor and 8 bytes: Windows and OpenVMM take the short form (Linux sends it). */
#define ACK_DESC (VMBUS_PKT_COMPLETION | UINT64_C(2) << 16 | UINT64_C(3) << 32)
#define ACK_LEN	 24u
static_assert(sizeof(struct hvn_ack) == 16, "");

/* All completions owed in one piece of the ring. */
static inline bool
pay_together(struct hvn_chan *ch, struct vmbus_ring *tx)
{
	const uint32_t footprint = ACK_LEN + VMBUS_PKT_TRAILER;
	uint64_t *at = vmbus_ring_tx_run(tx, ch->n_acks * footprint);
	uint64_t start = (uint64_t)tx->index << 32;
	const struct hvn_ack *ack;
	uint32_t n;

	if (at == NULL)
		return false;
	for (ack = ch->acks; ack != ch->acks + ch->n_acks; ack++, at += 4) {
		at[0] = ACK_DESC;
		hvn_copy16((uint8_t *)(at + 1), (const uint8_t *)ack);
		at[3] = start;
		start += (uint64_t)footprint << 32;
	}
	/* Not owed any more before it is in the ring: a process may be killed between. */
	n = ch->n_acks;
	ch->n_acks = 0;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	vmbus_ring_tx_advance(tx, n * footprint);
	return true;
}

/* One by one, as many as there is room for. */
static void
pay_some(struct hvn_chan *ch, struct vmbus_ring *tx)
{
	struct vmbus_ring_span span;
	uint32_t i;

	ch->paying = true;
	for (i = 0; i < ch->n_acks; i++) {
		const uint64_t msg[3] = {
			ACK_DESC,
			ch->acks[i].tid,
			ch->acks[i].nvsp,
		};

		if (vmbus_ring_tx_reserve(tx, sizeof(msg), &span) != 0)
			break;
		vmbus_ring_tx_fill(&span, 0, msg, sizeof(msg));
		vmbus_ring_tx_commit(tx, sizeof(msg));
	}
	ch->n_acks -= i;
	memmove(ch->acks, ch->acks + i, ch->n_acks * sizeof(ch->acks[0]));
	ch->paying = false;
}

bool
hvn_chan_pay(struct hvn_chan *ch)
{
	struct vmbus_ring *tx = &ch->vc->tx;
	bool signal;

	/* A transmit burst has it: the next poll tries again. */
	if (!hvn_biased_try(&ch->out_lock))
		return false;
	if (unlikely(!pay_together(ch, tx)))
		pay_some(ch, tx);
	signal = vmbus_ring_tx_publish(tx);
	ch->out_signals += signal;
	hvn_biased_release(&ch->out_lock);
	if (signal)
		hv_vmbus_signal(hvn_vdev(ch->port), ch->vc);
	return ch->n_acks == 0;
}

void
hvn_chan_finish(struct hvn_chan *ch)
{
	if (vmbus_ring_rx_publish(&ch->vc->rx)) {
		ch->in_signals++;
		hv_vmbus_signal(hvn_vdev(ch->port), ch->vc);
	}
	if (ch->n_acks != 0)
		hvn_chan_pay(ch);
}

/* --- what is not a frame ------------------------------------------------------------------------ */

static void
take_completion(struct hvn_chan *ch, const struct vmbus_ring_pkt *pkt)
{
	uint64_t nvsp;

	nvsp = pkt->payload_len >= 8 ? hv_load64(pkt->body + pkt->ext_len) : 0;
	/* Not ours to guess what a malformed one meant: its buffers stay with the host. */
	if ((uint32_t)nvsp != NVSP_RNDIS_COMPLETE) {
		ch->invalid[HVN_INV_NVSP]++;
		return;
	}
	hvn_tx_completed(ch, pkt->tid, (uint32_t)(nvsp >> 32));
}

/* Control messages of a transfer-page packet to the control thread: false if one had no room. */
static bool
take_control(struct hvn_chan *ch, const struct vmbus_ring_pkt *pkt, uint32_t ranges)
{
	uint32_t i, len, status = NVSP_STATUS_SUCCESS;
	const uint8_t *msg;

	/* Resume behind what was passed on when the queue was full before. */
	for (i = ch->ctrl_next; i < ranges; i++) {
		msg = hvn_chan_range(ch->port, hv_load64(pkt->body + 8 + 8 * i), &len);
		if (msg == NULL || len < sizeof(struct rndis_hdr)) {
			ch->invalid[HVN_INV_RANGE]++;
			status = NVSP_STATUS_FAILURE;
			continue;
		}
		if (!hvn_ctrl_inbound(ch->port, HVN_CTRL_RNDIS, pkt->tid, msg,
				      RTE_MIN(len, (uint32_t)HVN_CTRL_MSG_MAX))) {
			ch->ctrl_next = i;
			return false;
		}
	}
	ch->ctrl_next = 0;
	hvn_chan_owe(ch, pkt->tid, status);
	return true;
}

/* Handle one packet that is no message of frames: false if it must stay in the ring. */
static bool
take_other(struct hvn_chan *ch, const struct vmbus_ring_pkt *pkt, int peek)
{
	uint32_t ranges, len = RTE_MIN(pkt->payload_len, (uint32_t)HVN_CTRL_MSG_MAX);

	if (peek != 1) {
		ch->invalid[HVN_INV_DESC]++;
		return true;
	}
	switch (pkt->type) {
	case VMBUS_PKT_COMPLETION:
		if ((pkt->tid & HVN_TID_CTRL) != 0)
			return hvn_ctrl_inbound(ch->port, HVN_CTRL_COMPLETION, pkt->tid,
						pkt->body + pkt->ext_len, len);
		take_completion(ch, pkt);
		return true;
	case VMBUS_PKT_INBAND:
		return hvn_ctrl_inbound(ch->port, HVN_CTRL_INBAND, pkt->tid,
					pkt->body + pkt->ext_len, len);
	case VMBUS_PKT_XFER_PAGES:
		if (hvn_chan_xfer(pkt, &ranges) == HVN_XFER_CONTROL)
			return take_control(ch, pkt, ranges);
		/* As Linux: what cannot be understood is not completed. */
		ch->invalid[HVN_INV_XFER]++;
		return true;
	default:
		ch->invalid[HVN_INV_PKT_TYPE]++;
		return true;
	}
}

int
hvn_chan_other(struct hvn_chan *ch, int peek)
{
	struct vmbus_ring_pkt pkt = ch->msg;

	if (peek < 0 && peek != -EBADMSG && peek != -EMSGSIZE)
		return peek;
	if (pkt.type == VMBUS_PKT_COMPLETION && ch->scanned == 0 && hvn_tx_completed_run(ch) != 0)
		return 0;
	/* A scan was here: everything but frames is done. */
	if (ch->scanned == 0 && !take_other(ch, &pkt, peek))
		return -EAGAIN;
	hvn_chan_release(ch, &pkt);
	return 0;
}

/* --- scan --------------------------------------------------------------------------------------- */

static bool
has_frames(const struct vmbus_ring_pkt *pkt)
{
	uint32_t ranges;

	return pkt->type == VMBUS_PKT_XFER_PAGES && hvn_chan_xfer(pkt, &ranges) == HVN_XFER_FRAMES;
}

/* Drop frames from the head until `room` bytes of the ring are free. */
static void
drop_frames(struct hvn_chan *ch, uint32_t room)
{
	uint64_t *dropped = ch->rxq != NULL ? &ch->rxq->stats.dropped : &ch->dropped;
	const struct vmbus_ring *rx = &ch->vc->rx;
	int n = 0;

	rte_pktmbuf_free(ch->rsc_head);
	ch->rsc_head = NULL;
	while (n < SCAN_MAX) {
		if (rx->size - vmbus_ring_dist(rx, rx->index, rx->peer) > room)
			break;
		if (ch->msg_ranges == 0 && hvn_chan_next(ch) != 1)
			break;
		*dropped += ch->msg_ranges - ch->msg_next;
		hvn_chan_msg_done(ch);
		n++;
	}
}

/* Is the ring nearly full while no receive burst has run for a while? */
static bool
abandoned(struct hvn_chan *ch)
{
	const struct vmbus_ring *rx = &ch->vc->rx;
	uint64_t polls = __atomic_load_n(&ch->rxq->polls, __ATOMIC_RELAXED);
	uint64_t now = rte_rdtsc();

	if (polls != ch->rx_polls_seen) {
		ch->rx_polls_seen = polls;
		ch->rx_polls_tsc = now;
		return false;
	}
	return rx->size - vmbus_ring_dist(rx, rx->index, rx->peer) < rx->size / 4 &&
	       now - ch->rx_polls_tsc > rte_get_tsc_hz() / 1000 * ABANDONED_MS;
}

bool
hvn_chan_unpolled(struct hvn_chan *ch)
{
	const struct hvn_rxq *q = ch->rxq;
	uint64_t polls = q != NULL ? __atomic_load_n(&q->polls, __ATOMIC_RELAXED) : 0;
	bool same = q == NULL || polls == ch->polls_looked;

	ch->polls_looked = polls;
	return same;
}

/* Run ahead over frames that stay in the ring, on a copy of the ring's state. */
static int
scan_ahead(struct hvn_chan *ch)
{
	struct vmbus_ring *rx = &ch->vc->rx;
	struct vmbus_ring ahead = *rx;
	struct vmbus_ring_pkt pkt;
	int n = 0, rc = 0;

	ahead.index = vmbus_ring_wrap(rx, rx->index + ch->scanned);
	while (n < SCAN_MAX) {
		/* Room for one more stays, for the current message. */
		if (ch->n_acks >= HVN_ACKS_MAX - 1 && !hvn_chan_pay(ch) &&
		    ch->n_acks >= HVN_ACKS_MAX - 1)
			break;
		rc = vmbus_ring_rx_peek(&ahead, &pkt, ch->scratch, sizeof(ch->scratch));
		if (rc == 0 || rc == -EIO)
			break;
		if (rc != 1 || !has_frames(&pkt)) {
			if (!take_other(ch, &pkt, rc))
				break;
			n++;
		}
		vmbus_ring_rx_release(&ahead, &pkt);
		ch->scanned += pkt.len + VMBUS_PKT_TRAILER;
	}
	if (rc == -EIO) {
		vmbus_ring_rx_corrupt(rx);
		return 0;
	}
	/* The index of the other side was validated on the copy. */
	rx->peer = ahead.peer;
	return n;
}

int
hvn_chan_scan_locked(struct hvn_chan *ch)
{
	const struct hvn_port *p = ch->port;
	uint32_t before;
	int n, rc;

	if (hvn_removed(p))
		return -ENODEV;
	if (unlikely(hvn_ext_waiting(ch)))
		hvn_ext_collect(ch);
	/* Refreshes what is known of the ring. */
	if (ch->msg_ranges == 0 && !vmbus_ring_rx_ready(&ch->vc->rx)) {
		if (ch->n_acks != 0)
			hvn_chan_pay(ch);
		return 0;
	}
	before = ch->vc->rx.index;
	if (ch->msg_ranges == 0 && ch->scanned == 0)
		hvn_tx_completed_run(ch);
	/* What is done here may make work for the next poll, or turn a lap of the ring. */
	if (ch->rxq != NULL)
		__atomic_store_n(&ch->rxq->idle_at, HVN_NEVER_IDLE, __ATOMIC_RELAXED);
	if (!p->running || ch->rxq == NULL)
		drop_frames(ch, UINT32_MAX);
	else if (abandoned(ch))
		drop_frames(ch, ch->vc->rx.size / 2);
	/* In order as far as there are no frames, then past them. */
	rc = ch->msg_ranges == 0 ? hvn_chan_next(ch) : 1;
	n = rc == 1 ? scan_ahead(ch) : 0;
	n += ch->vc->rx.index != before;
	hvn_chan_finish(ch);
	return ch->vc->rx.error != 0 ? ch->vc->rx.error : n;
}

int
hvn_chan_scan(struct hvn_chan *ch)
{
	int rc;

	if (hvn_removed(ch->port))
		return -ENODEV;
	if (!hvn_biased_try(&ch->in_lock))
		return -EBUSY;
	rc = hvn_chan_scan_locked(ch);
	hvn_biased_release(&ch->in_lock);
	return rc;
}
