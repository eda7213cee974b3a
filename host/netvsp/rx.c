/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames to the guest: from the port into slots of the receive buffer, many of them announced
 * by one transfer-page packet. A frame that finds no slot or no room stays in the port.
 */
#include <string.h>

#include "netvsp.h"
#include "rndis_build.h"

#define TPID	       0x8100u
#define PREFETCH_SLOTS 8u

/* A message's header is put together here and copied: the slot is the guest's to scribble in. */
struct rx_header {
	struct rndis_packet pkt;
	struct {
		struct rndis_ppi h;
		uint32_t value;
	} HVWIRE_PACKED ppi[6];
} HVWIRE_PACKED;

static const struct vmbus_pkt_xfer xfer_template = {
	.desc = { .type = VMBUS_PKT_XFER_PAGES, .flags = VMBUS_PKT_F_RC },
};

static uint32_t
packet_len(const struct nic *nic, unsigned int ranges)
{
	return (uint32_t)(sizeof(struct vmbus_pkt_xfer) +
			  ranges * sizeof(struct vmbus_xfer_range)) +
	       ((nvsp_msg_len(nic) + 7u) & ~7u);
}

/* One transfer-page packet; false if the ring has no room. */
static bool
send_packet(struct nic_queue *q, uint32_t head, const struct vmbus_xfer_range *ranges,
	    unsigned int n, uint32_t channel_type)
{
	struct nic *nic = q->nic;
	struct vmbus_pkt_xfer x = xfer_template;
	uint8_t msg[(NVSP_MSG_SIZE + 7u) & ~7u] = { 0 };
	struct nvsp_rndis m = { .type = NVSP_RNDIS,
				.channel_type = channel_type,
				.section = NVSP_NO_SECTION };
	uint32_t len = packet_len(nic, n), msg_at = (uint32_t)(sizeof(x) + n * sizeof(*ranges));
	struct vmbus_ring_span span;

	if (vmbus_ring_tx_reserve(&q->chan->tx, len, &span) != 0)
		return false;
	memcpy(msg, &m, sizeof(m));
	x.desc.off8 = (uint16_t)(msg_at / 8);
	x.desc.len8 = (uint16_t)(len / 8);
	x.desc.tid = slots_sent(q, head, n);
	x.set_id = nic->recv.id;
	x.range_count = n;
	vmbus_ring_tx_fill(&span, 0, &x, sizeof(x));
	vmbus_ring_tx_fill(&span, sizeof(x), ranges, (uint32_t)(n * sizeof(*ranges)));
	vmbus_ring_tx_fill(&span, msg_at, msg, len - msg_at);
	vmbus_ring_tx_commit(&q->chan->tx, len);
	if (host_tracing) {
		uint8_t copy[sizeof(x) + sizeof(*ranges) * NVSP_XFER_RANGES_MAX_RSC + sizeof(msg)];

		memcpy(copy, &x, sizeof(x));
		memcpy(copy + sizeof(x), ranges, n * sizeof(*ranges));
		memcpy(copy + msg_at, msg, len - msg_at);
		host_trace('H', "RING", "XFERPAGES", q->chan->relid, copy, len);
	}
	q->st->rx_packets++;
	return true;
}

/* The caller made sure of the room. */
void
rx_send_control(struct nic_queue *q, uint32_t slot, uint32_t len)
{
	struct vmbus_xfer_range r = { .len = len, .off = slot * q->nic->slot_size };

	if (!send_packet(q, slot, &r, 1, NVSP_CHANNEL_CONTROL))
		slots_return(q->nic, slot);
}

/* Send what is batched; false if it must wait for room. */
static bool
emit(struct nic_queue *q)
{
	if (q->n_batch == 0)
		return true;
	if (!send_packet(q, q->batch_head, q->batch, q->n_batch, NVSP_CHANNEL_DATA))
		return false;
	q->n_batch = 0;
	return true;
}

/* Room for a batch of n ranges? If not, the guest is asked for a signal. */
static bool
ring_room(struct nic_queue *q, unsigned int n)
{
	struct vmbus_ring *tx = &q->chan->tx;
	uint32_t need = vmbus_ring_footprint(packet_len(q->nic, n)) + NIC_RING_SPARE;
	uint32_t spare = q->nic->opt.ring_spare;

	if (q->nic->opt.ring_use != 0 && tx->size > q->nic->opt.ring_use)
		need += tx->size - q->nic->opt.ring_use;
	/* No more than half of a small ring. */
	if (spare > tx->size / 2)
		spare = tx->size / 2;
	if (need < spare)
		need = spare;
	if (vmbus_ring_tx_free(tx) > need || vmbus_ring_tx_space(tx) >= need) {
		if (q->chan->blocked) {
			if (!channel_has_room(q->chan))
				return false;
			channel_wait_room(q->chan, 0);
		}
		return true;
	}
	if (q->chan->blocked)
		return false;
	/* First what was written, then the wait for room behind it: so the guest reads it. */
	queue_publish(q);
	channel_wait_room(q->chan, need > tx->size / 4 ? need : tx->size / 4);
	if (vmbus_ring_tx_space(tx) < need)
		return false;
	/* Freed before it was asked for: without a signal. */
	channel_wait_room(q->chan, 0);
	return true;
}

static unsigned int
batch_limit(const struct nic *nic)
{
	return nic->opt.ranges_exact != 0 ? nic->opt.ranges_exact : nic->opt.ranges;
}

/* --- one frame ------------------------------------------------------------------------------ */

static inline void
add_ppi(struct rx_header *h, unsigned int *n, uint32_t type, uint32_t value)
{
	h->ppi[*n].h = (struct rndis_ppi){ RNDIS_PPI_U32_SIZE, type, sizeof(struct rndis_ppi) };
	h->ppi[*n].value = value;
	(*n)++;
}

/* What is known of a frame before it has a slot. */
struct rx_meta {
	uint32_t hash, hash_info;
	uint32_t csum;
	uint16_t tci;
	bool vlan;  /* tci is valid */
	bool strip; /* and the tag is still in the bytes */
};

static void
classify(struct nic *nic, const struct port_frame *f, struct rx_meta *m)
{
	m->hash_info = 0;
	if (f->flags & PORT_F_HASH) {
		m->hash = f->hash;
		m->hash_info = f->hash_info;
	} else if (nic->rss.enabled || nic->opt.hash == HASH_ALWAYS) {
		m->hash = rss_hash(&nic->rss, f->data, f->len, &m->hash_info);
	}
	m->csum = nic->opt.csum ? csum_receive(nic, f) : 0;
	m->strip = false;
	m->vlan = (f->flags & PORT_F_VLAN) != 0;
	m->tci = f->tci;
	if (!m->vlan && nic->opt.vlan_strip && f->len >= 18 &&
	    ((uint32_t)f->data[12] << 8 | f->data[13]) == TPID) {
		m->vlan = m->strip = true;
		m->tci = (uint16_t)((uint32_t)f->data[14] << 8 | f->data[15]);
	}
}

static struct nic_queue *
pick_queue(struct nic *nic, const struct rx_meta *m)
{
	if (!nic->rss.enabled || m->hash_info == 0)
		return nic->queue[0];
	return nic->queue[nic->rss.table[m->hash % nic->rss.entries]];
}

unsigned int
rx_channel_of(struct nic *nic, const struct port_frame *f)
{
	struct nic_queue *q;
	struct rx_meta m;

	classify(nic, f, &m);
	q = pick_queue(nic, &m);
	return q != NULL ? q->index : 0;
}

/* Write header and frame into a slot. Returns the message's length. */
static uint32_t
fill_slot(struct nic *nic, uint8_t *slot, const struct port_frame *f, const struct rx_meta *m,
	  unsigned int rsc)
{
	uint32_t len = f->len - (m->strip ? 4 : 0), hdr, at;
	struct rx_header h;
	unsigned int n = 0;

	/* What is copied in whole lines below; in two steps, or compilers use slow rep stos. */
	memset(&h, 0, 64);
	memset((uint8_t *)&h + 64, 0, 64);
	if (rsc == 0 || (rsc & RNDIS_PKTID_FIRST)) {
		if (nic->opt.csum)
			add_ppi(&h, &n, RNDIS_PPI_CHECKSUM, m->csum);
		if (m->vlan)
			add_ppi(&h, &n, RNDIS_PPI_VLAN, RNDIS_VLAN_FROM_TCI(m->tci));
		if (nic->opt.hash != HASH_NO && m->hash_info != 0) {
			add_ppi(&h, &n, RNDIS_PPI_HASH_VALUE, m->hash);
			add_ppi(&h, &n, RNDIS_PPI_HASH_INFO, m->hash_info);
		}
	}
	if (rsc != 0)
		add_ppi(&h, &n, RNDIS_PPI_PACKET_ID, 1u | rsc << 8);
	hdr = (uint32_t)sizeof(h.pkt) + n * RNDIS_PPI_U32_SIZE;
	at = nic->opt.data_offset ? nic->opt.data_offset + RNDIS_OFFSET_BASE : hdr;
	h.pkt.hdr.type = RNDIS_PACKET;
	h.pkt.hdr.len = nic->opt.msg_exact ? at + len : nic->slot_size;
	h.pkt.data_off = at - RNDIS_OFFSET_BASE;
	h.pkt.data_len = len;
	h.pkt.ppi_off = n != 0 ? RNDIS_PPI_OFF : 0;
	h.pkt.ppi_len = n * RNDIS_PPI_U32_SIZE;
	/* Whole cache lines where the frame starts behind them: fixed sizes cost little. */
	if (hdr <= 64 && at >= 64)
		memcpy(slot, &h, 64);
	else if (hdr <= 128 && at >= 128)
		memcpy(slot, &h, 128);
	else
		memcpy(slot, &h, hdr);
	if (m->strip) {
		memcpy(slot + at, f->data, 12);
		memcpy(slot + at + 12, f->data + 16, f->len - 16);
	} else {
		memcpy(slot + at, f->data, f->len);
	}
	return h.pkt.hdr.len;
}

/* The guest read a slot last: fetch the lines that a later frame is written to. */
static inline void
prefetch_slot(const struct nic *nic, const struct nic_share *s)
{
	const uint8_t *slot;

	if (s->n_free < PREFETCH_SLOTS)
		return;
	slot = nic->recv.va +
	       (size_t)nic->free_slots[s->base + s->n_free - PREFETCH_SLOTS] * nic->slot_size;
	__builtin_prefetch(slot, 1);
	__builtin_prefetch(slot + nic->opt.data_offset + RNDIS_OFFSET_BASE, 1);
}

/* Put a frame into a queue's batch; false: it stays in the port. */
static bool
add_frame(struct nic_queue *q, const struct port_frame *f, const struct rx_meta *m,
	  unsigned int rsc)
{
	struct nic *nic = q->nic;
	uint32_t slot, len;

	if (q->n_batch >= batch_limit(nic) && !emit(q))
		return false;
	if (!ring_room(q, q->n_batch + 1)) {
		q->st->rx_no_ring++;
		return false;
	}
	slot = slots_take(q);
	if (slot == NIC_NO_SLOT) {
		q->st->rx_no_slot++;
		return false;
	}
	prefetch_slot(nic, &nic->share[q->index]);
	len = fill_slot(nic, nic->recv.va + (size_t)slot * nic->slot_size, f, m, rsc);
	if (q->n_batch == 0) {
		q->batch_head = slot;
		q->batch_since = host_now();
	} else {
		nic->slots[q->batch_tail].next = slot;
	}
	q->batch_tail = slot;
	q->batch[q->n_batch++] =
		(struct vmbus_xfer_range){ .len = len, .off = slot * nic->slot_size };
	if (nic->opt.mangle != 0)
		fault_mangle(nic, nic->recv.va + (size_t)slot * nic->slot_size,
			     &q->batch[q->n_batch - 1]);
	q->st->rx_frames++;
	q->st->rx_bytes += f->len;
	nic_cast_count(&nic->rx_cast, f->data, f->len);
	q->st->rx_vlan += m->vlan;
	if (host_tracing)
		host_trace('H', "RNDIS-DATA", "PACKET", q->chan->relid,
			   nic->recv.va + (size_t)slot * nic->slot_size,
			   len < nic->slot_size || nic->opt.msg_exact ? len : 256 + f->len);
	return true;
}

/* Does the frame fit a slot with the longest header? */
static bool
fits(const struct nic *nic, const struct port_frame *f)
{
	uint32_t at = nic->opt.data_offset ? nic->opt.data_offset + RNDIS_OFFSET_BASE
					   : RNDIS_BUILD_PACKET_MAX;

	return f->len != 0 && at + f->len <= nic->slot_size;
}

/*
 * The pieces of one coalesced segment: one queue, one packet. Returns how many frames were
 * dealt with; 0 = they stay in the port.
 */
static unsigned int
deliver_rsc(struct nic *nic, const struct port_frame *f, unsigned int n)
{
	struct nic_queue *q;
	struct rx_meta m;
	unsigned int k = 1;

	while (k < n && (f[k - 1].flags & PORT_F_RSC_MORE))
		k++;
	if ((f[k - 1].flags & PORT_F_RSC_MORE) && k < NIC_BURST)
		return 0; /* the rest is not here yet */
	classify(nic, &f[0], &m);
	q = pick_queue(nic, &m);
	if (q == NULL || q->chan->failed) {
		nic->rx_no_channel += k;
		return k;
	}
	for (unsigned int i = 0; i < k; i++)
		if (!fits(nic, &f[i]) || !(nic->offload.rsc4 || nic->offload.rsc6) ||
		    k > batch_limit(nic)) {
			nic->rx_no_rsc += k;
			return k;
		}
	if (q->n_batch + k > batch_limit(nic) && !emit(q))
		return 0;
	if (!ring_room(q, q->n_batch + k) || nic->share[q->index].n_free < k)
		return 0;
	for (unsigned int i = 0; i < k; i++)
		add_frame(q, &f[i], &m,
			  RNDIS_PKTID_SUBALLOC | (i == 0 ? RNDIS_PKTID_FIRST : 0) |
				  (i + 1 == k ? RNDIS_PKTID_LAST : 0));
	nic->rsc_packets += k;
	nic->rsc_events++;
	for (unsigned int i = 0; i < k; i++)
		nic->rsc_bytes += f[i].len;
	return k;
}

/* As above for one plain frame. */
static bool
deliver(struct nic *nic, const struct port_frame *f)
{
	struct nic_queue *q;
	struct rx_meta m;

	if (!fits(nic, f)) {
		nic->rx_too_big++;
		return true;
	}
	if (nic->opt.filter_mac && f->len >= 6 && !oid_filter(nic, f->data)) {
		nic->rx_filtered++;
		return true;
	}
	classify(nic, f, &m);
	q = pick_queue(nic, &m);
	if (q == NULL || q->chan->failed) {
		nic->rx_no_channel++;
		return true;
	}
	if (add_frame(q, f, &m, 0))
		return true;
	nic->rx_overflow += nic->opt.overflow_drop;
	return nic->opt.overflow_drop != 0;
}

static bool
receiving(struct nic *nic)
{
	return nic->state == NVSP_ST_READY && nic->filter != 0 && nic->slots != NULL &&
	       nic->link_up && !nic->hold_rx && !nic->path_vf && !vf_leg_settling(nic);
}

unsigned int
rx_poll(struct nic *nic)
{
	static struct port_frame frames[NIC_BURST];
	unsigned int n = 0, done = 0, step;

	if (receiving(nic))
		n = nic->port->ops->peek(nic->port, frames, NIC_BURST);
	while (done < n) {
		if (frames[done].flags & (PORT_F_RSC_FIRST | PORT_F_RSC_MORE))
			step = deliver_rsc(nic, &frames[done], n - done);
		else
			step = deliver(nic, &frames[done]);
		if (step == 0)
			break;
		done += step;
	}
	if (done != 0)
		nic->port->ops->release(nic->port, done);
	for (unsigned int i = 0; i <= nic->granted; i++) {
		struct nic_queue *q = nic->queue[i];

		if (q == NULL || q->chan->failed)
			continue;
		if (nic->opt.ranges_exact == 0 || q->n_batch >= nic->opt.ranges_exact ||
		    host_now() - q->batch_since >= nic->opt.flush_us * UINT64_C(1000))
			emit(q);
		queue_publish(q);
	}
	return done;
}
