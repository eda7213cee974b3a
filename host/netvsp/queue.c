/* SPDX-License-Identifier: BSD-3-Clause */
/* A channel's slice: packets in, completions out, one publish each way. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "netvsp.h"

#define PACKET_MAX (16u << 10) /* a send of 32 ranges over 255 pages has 2.8 KiB */

bool
nic_fatal(struct nic_queue *q, const char *rule, const void *bytes, size_t len, const char *fmt,
	  ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	host_violation(q->chan->part, rule, bytes, len, "nic %u queue %u: %s", q->nic->index,
		       q->index, text);
	channel_fail(q->chan);
	return false;
}

uint32_t
nvsp_msg_len(const struct nic *nic)
{
	if (nic->opt.msg_size != MSG_AUTO)
		return nic->opt.msg_size == MSG_OLD ? NVSP_MSG_SIZE_OLD : NVSP_MSG_SIZE;
	/* The size grows once 6.1 is agreed: the answer to INIT is still old. */
	return nic->state > NVSP_ST_INIT && nic->version >= NVSP_VERSION_6_1 ? NVSP_MSG_SIZE
									     : NVSP_MSG_SIZE_OLD;
}

static void
trace_packet(struct nic_queue *q, char dir, uint16_t type, uint16_t flags, uint64_t tid,
	     const uint8_t *body, uint32_t ext, uint32_t len)
{
	static uint8_t copy[PACKET_MAX + sizeof(struct vmbus_pkt_desc)];
	struct vmbus_pkt_desc d = { .type = type,
				    .off8 = (uint16_t)((sizeof(d) + ext) / 8),
				    .len8 = (uint16_t)((sizeof(d) + len + 7) / 8),
				    .flags = flags,
				    .tid = tid };
	const char *name = type == VMBUS_PKT_INBAND	  ? "INBAND"
			   : type == VMBUS_PKT_GPA_DIRECT ? "GPADIRECT"
			   : type == VMBUS_PKT_XFER_PAGES ? "XFERPAGES"
			   : type == VMBUS_PKT_COMPLETION ? "COMP"
							  : "?";

	if (len > PACKET_MAX)
		len = PACKET_MAX;
	memcpy(copy, &d, sizeof(d));
	memcpy(copy + sizeof(d), body, len);
	host_trace(dir, "RING", name, q->chan->relid, copy, sizeof(d) + len);
}

int
queue_send(struct nic_queue *q, uint16_t type, uint16_t flags, uint64_t tid, const void *msg,
	   uint32_t len, uint32_t pad_to)
{
	uint8_t buf[128] = { 0 };
	int rc;

	memcpy(buf, msg, len);
	if (len < pad_to)
		len = pad_to;
	rc = vmbus_ring_tx_put(&q->chan->tx, type, flags, tid, NULL, 0, buf, len);
	if (rc == 0 && host_tracing)
		trace_packet(q, 'H', type, flags, tid, buf, 0, len);
	return rc;
}

/* Completions and received frames of a slice become visible with one store. */
void
queue_publish(struct nic_queue *q)
{
	const struct vmbus_ring *tx = &q->chan->tx, *rx = &q->chan->rx;

	/* While the headers are as the guest left them. */
	if (tx->index != tx->published || rx->index != rx->published)
		channel_check(q->chan);
	if (vmbus_ring_tx_publish(&q->chan->tx))
		channel_signal(q->chan);
	tx_published(q);
}

static bool
complete_receive(struct nic_queue *q, const struct vmbus_ring_pkt *pkt)
{
	struct nvsp_rndis_complete m;

	if (pkt->flags != 0)
		host_violation(q->chan->part, "rx.complete-flags", pkt->body, pkt->payload_len,
			       "nic %u queue %u: a completion that asks for one", q->nic->index,
			       q->index);
	/* The only other completion a guest has reason for is that of a message about its VF. */
	if (q->index == 0 && vf_completed(q->nic, pkt->tid))
		return true;
	if (pkt->payload_len < sizeof(m))
		return nic_fatal(q, "rx.complete-short", pkt->body, pkt->payload_len,
				 "completion of %u bytes", pkt->payload_len);
	memcpy(&m, pkt->body + pkt->ext_len, sizeof(m));
	if (m.type != NVSP_RNDIS_COMPLETE)
		return nic_fatal(q, "rx.complete-type", pkt->body, pkt->payload_len,
				 "completion holds message %u, not %u", m.type,
				 NVSP_RNDIS_COMPLETE);
	return slots_complete(q, pkt->tid);
}

/* One packet of the guest; false = it stays in the ring, or the channel failed. */
static bool
packet(struct nic_queue *q, const struct vmbus_ring_pkt *pkt)
{
	if (host_tracing && !q->again)
		trace_packet(q, 'G', pkt->type, pkt->flags, pkt->tid, pkt->body, pkt->ext_len,
			     pkt->len - (uint32_t)sizeof(struct vmbus_pkt_desc));
	switch (pkt->type) {
	case VMBUS_PKT_COMPLETION:
		return complete_receive(q, pkt);
	case VMBUS_PKT_INBAND:
	case VMBUS_PKT_GPA_DIRECT:
		return nvsp_packet(q, pkt);
	default:
		return nic_fatal(q, "ring.packet-type", pkt->body, pkt->payload_len,
				 "packet of type %u", pkt->type);
	}
}

/* Hosts skip the word behind a packet, which says where it started. */
static void
check_trailer(struct nic_queue *q, const struct vmbus_ring_pkt *pkt)
{
	const struct vmbus_ring *rx = &q->chan->rx;
	uint64_t word = hv_load64(rx->data + vmbus_ring_wrap(rx, rx->index + pkt->len));

	if (word != (uint64_t)rx->index << 32)
		host_violation(q->chan->part, "ring.trailer", &word, sizeof(word),
			       "nic %u queue %u: trailer of the packet at %u", q->nic->index,
			       q->index, rx->index);
}

/* Drain the guest's ring. Returns how many packets. */
static unsigned int
drain(struct nic_queue *q)
{
	static uint8_t scratch[PACKET_MAX];
	struct vmbus_ring *rx = &q->chan->rx;
	struct vmbus_ring_pkt pkt;
	uint32_t end = UINT32_MAX; /* never reached */
	unsigned int n = 0;
	int rc;

	if (q->nic->leg != NULL && (!vmbus_ring_rx_ready(rx) || !vf_leg_drain(q, &end)))
		return 0;
	/* A corrupt ring is never ready, and is looked at to be found so. */
	while (n < NIC_BURST && tx_room(q) && (rx->index != end || rx->error != 0)) {
		rc = vmbus_ring_rx_peek(rx, &pkt, scratch, sizeof(scratch));
		if (rc == 0)
			break;
		if (rc == 1 && pkt.len > PACKET_MAX)
			rc = -EMSGSIZE;
		if (rc != 1) {
			nic_fatal(q, rc == -EIO ? "ring.corrupt" : "ring.descriptor",
				  rc == -EIO ? (const void *)rx->hdr : rx->data + rx->index,
				  rc == -EIO ? RING_HDR_SHOWN : 8 /* never straddles the end */,
				  rc == -EIO	    ? "indices or packet length"
				  : rc == -EMSGSIZE ? "packet too long"
						    : "malformed packet descriptor");
			break;
		}
		q->again = !packet(q, &pkt);
		if (q->again)
			break;
		check_trailer(q, &pkt);
		vmbus_ring_rx_release(rx, &pkt);
		n++;
	}
	return n;
}

unsigned int
queue_poll(struct nic_queue *q)
{
	struct channel *chan = q->chan;
	unsigned int n = 0;

	tx_flush(q);
	if (q->n_defer != 0)
		n += tx_resume(q);
	if (!chan->failed && !chan->asleep)
		n += drain(q);
	tx_flush(q);
	if (q->index == 0 && !chan->failed)
		rndis_ctrl_flush(q->nic);
	queue_publish(q);
	if (vmbus_ring_rx_publish(&chan->rx))
		channel_signal(chan);
	return n;
}
