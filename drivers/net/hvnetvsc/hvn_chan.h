/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Taking packets from the head of a channel's inbound ring. Shared by the receive burst and the
 * scan; both hold in_lock.
 */
#ifndef HVN_CHAN_H
#define HVN_CHAN_H

#include "hvn.h"
#include "hvn_ext.h"

/* What hvn_chan_xfer() makes of a transfer-page packet. */
enum hvn_xfer {
	HVN_XFER_BAD,
	HVN_XFER_FRAMES,
	HVN_XFER_CONTROL,
};

/*
 * Check a transfer-page packet and count its ranges. They start at body + 8. Fields are loaded
 * once; the packet is in memory shared with the host.
 */
static inline enum hvn_xfer
hvn_chan_xfer(const struct vmbus_ring_pkt *pkt, uint32_t *ranges)
{
	uint64_t head = hv_load64(pkt->body);
	uint64_t nvsp;
	uint32_t count = (uint32_t)(head >> 32);

	if (unlikely((uint16_t)head != NVSP_RECV_BUF_ID || count == 0 ||
		     count > NVSP_XFER_RANGES_MAX_RSC || 8 + 8 * count > pkt->ext_len ||
		     pkt->payload_len < 8))
		return HVN_XFER_BAD;
	nvsp = hv_load64(pkt->body + pkt->ext_len);
	*ranges = count;
	if (likely(nvsp == NVSP_RNDIS))
		return HVN_XFER_FRAMES;
	return nvsp == (NVSP_RNDIS | (uint64_t)NVSP_CHANNEL_CONTROL << 32) ? HVN_XFER_CONTROL
									   : HVN_XFER_BAD;
}

/* The transmit queue that is the channel's own, with in_lock; NULL while there is none. */
static inline struct hvn_txq *
hvn_chan_txq(const struct hvn_chan *ch)
{
	struct hvn_txq *q = ch->index < HVN_QUEUES_MAX ? ch->port->txq[ch->index] : NULL;

	return q != NULL && q->chan == ch ? q : NULL;
}

/* A packet of len bytes left the head: a scan may have been beyond it. */
static inline void
hvn_chan_unscan(struct hvn_chan *ch, uint32_t len)
{
	uint32_t took = len + VMBUS_PKT_TRAILER;

	ch->scanned = ch->scanned > took ? ch->scanned - took : 0;
}

/* Release the packet at the head. */
static inline void
hvn_chan_release(struct hvn_chan *ch, const struct vmbus_ring_pkt *pkt)
{
	/* In this order: what is handled twice is found out, what is skipped is lost. */
	hvn_chan_unscan(ch, pkt->len);
	vmbus_ring_rx_release(&ch->vc->rx, pkt);
}

/* The completion of a packet taken out of the inbound ring. There is room: see hvn_chan_next(). */
static inline void
hvn_chan_owe(struct hvn_chan *ch, uint64_t tid, uint32_t status)
{
	ch->acks[ch->n_acks] = (struct hvn_ack){ .tid = tid, .nvsp = HVN_ACK(status) };
	/* A process may be killed between. */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	ch->n_acks++;
}

/* All ranges of the current message were consumed. */
static inline void
hvn_chan_msg_done(struct hvn_chan *ch)
{
	hvn_chan_release(ch, &ch->msg);
	if (unlikely(ch->ext_held))
		hvn_ext_msg_done(ch, ch->msg.tid, ch->msg_status);
	else
		hvn_chan_owe(ch, ch->msg.tid, ch->msg_status);
	ch->msg_ranges = 0;
	ch->msg_next = 0;
}

/*
 * The packet at the head is no message of frames: handle it, if no scan did before. peek is what
 * vmbus_ring_rx_peek() said. 0: it was released, go on; -EAGAIN: it must wait; -EIO.
 */
int hvn_chan_other(struct hvn_chan *ch, int peek);

/* Write the completions owed; false if some could not be. Takes out_lock unless it is busy. */
bool hvn_chan_pay(struct hvn_chan *ch);

/*
 * Make the next message of frames the current one, handling on the way whatever else there is.
 * 1: ch->msg, msg_ranges and msg_next are set; 0: the ring is empty; -EAGAIN: what is next must
 * wait (no room for completions, control messages not taken); -EIO.
 */
static inline int
hvn_chan_next(struct hvn_chan *ch)
{
	unsigned int budget;
	int rc;

	for (budget = 512; budget != 0; budget--) {
		if (unlikely(ch->n_acks >= HVN_ACKS_MAX) && !hvn_chan_pay(ch))
			return -EAGAIN;
		rc = vmbus_ring_rx_peek(&ch->vc->rx, &ch->msg, ch->scratch, sizeof(ch->scratch));
		if (rc == 0)
			return 0;
		if (likely(rc == 1 && ch->msg.type == VMBUS_PKT_XFER_PAGES &&
			   hvn_chan_xfer(&ch->msg, &ch->msg_ranges) == HVN_XFER_FRAMES)) {
			ch->msg_next = 0;
			ch->msg_status = NVSP_STATUS_SUCCESS;
			return 1;
		}
		ch->msg_ranges = 0;
		rc = hvn_chan_other(ch, rc);
		if (rc != 0)
			return rc;
	}
	return -EAGAIN;
}

/*
 * End of a batch: publish the read index and pay what is owed, signal once per direction.
 */
void hvn_chan_finish(struct hvn_chan *ch);

/* A range of the current message: its bytes, or NULL if it is not inside the receive buffer. */
static inline const uint8_t *
hvn_chan_range(const struct hvn_port *p, uint64_t range, uint32_t *len)
{
	uint64_t off = range >> 32;

	*len = (uint32_t)range;
	if (unlikely(*len > p->caps.slot_size || off + *len > p->recv_len))
		return NULL;
	return p->recv_buf + off;
}

#endif /* HVN_CHAN_H */
