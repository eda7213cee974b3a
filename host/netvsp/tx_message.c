/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One send of the guest: check every frame in it, push the frames into the port. A send that
 * the port has no room for is kept, so that the completions behind it in the ring are read: they
 * free the slots that a port may wait for.
 */
#include <stdlib.h>
#include <string.h>

#include "netvsp.h"
#include "rndis_parse.h"

#define FRAMES_MAX  256u
#define DEFER_BYTES (256u << 10)
#define EXT_MAX	    4096u
#define STUCK_NS    UINT64_C(200000000)

static struct tx_source src;

/* The whole send in private memory, where that is needed; one segment of an LSO frame. */
static uint8_t linear[NIC_LINEAR], segment[1u << 16];

struct frame {
	struct rndis_pkt_info info;
	uint32_t at; /* of the message */
};
static struct frame frames[FRAMES_MAX];

static const uint8_t *
linearize(void)
{
	tx_linearize(&src, linear);
	return linear;
}

/* --- check ------------------------------------------------------------------------------------- */

/* The header and its information must lie in the first range, wherever the others are. */
static bool
header_whole(const uint8_t *msg, uint32_t at)
{
	uint64_t end = (uint64_t)at + sizeof(struct rndis_packet);
	uint32_t ppi_len = hv_load32(msg + offsetof(struct rndis_packet, ppi_len));

	if (ppi_len != 0)
		end = (uint64_t)at + RNDIS_OFFSET_BASE + ppi_len +
		      hv_load32(msg + offsetof(struct rndis_packet, ppi_off));
	return end <= src.first;
}

static enum tx_outcome
check_frame(struct nic_queue *q, const struct frame *f, const uint8_t *base)
{
	const struct rndis_pkt_info *i = &f->info;
	/* Two tags may be in the bytes: of 802.1ad none travels beside them. */
	uint32_t max = q->nic->mtu + 8;

	/* Microsoft's pages ask for it; no host is known to look. */
	if ((i->data_off & 3) != 0)
		tx_odd(q, "tx.data-offset", base + f->at, 44, "frame at no multiple of 4");
	if (i->data_len < 14)
		return tx_broken(q, "tx.frame-short", base + f->at, 44, "frame below 14 bytes");
	if (i->data_len > max && (i->present & RNDIS_INFO_LSO) == 0)
		return tx_broken(q, "tx.frame-size", base + f->at, 44,
				 "frame above the size that was agreed");
	if (i->data_len > sizeof(segment))
		return tx_broken(q, "tx.frame-size", base + f->at, 44, "LSO frame above 64 KiB");
	return SEND_OK;
}

/* Read all PACKET messages of the send. Returns SEND_OK and *count. */
static enum tx_outcome
parse(struct nic_queue *q, const uint8_t *base, unsigned int *count, uint32_t *present)
{
	uint32_t at = 0;
	unsigned int n = 0;
	enum tx_outcome rc;

	*present = 0;
	do {
		struct frame *f = &frames[n];
		enum rndis_parse_error err;

		if (n == FRAMES_MAX)
			return tx_broken(q, "tx.packets", base + at,
					 src.total - at < 44 ? src.total - at : 44,
					 "too many messages in one send");
		err = rndis_parse_packet(base + at, src.total - at, RNDIS_PARSE_F_STRICT, &f->info);
		if (err != RNDIS_PARSE_OK)
			return tx_broken(q, "tx.rndis", base + at,
					 src.total - at < 44 ? src.total - at : 44,
					 rndis_parse_strerror(err));
		if (src.first < src.total && !header_whole(base + at, at))
			return tx_broken(q, "tx.header-split", base + at, 44,
					 "header and information not in the first range");
		f->at = at;
		rc = check_frame(q, f, base);
		if (rc != SEND_OK)
			return rc;
		*present |= f->info.present;
		at += f->info.msg_len;
		n++;
	} while (at < src.total);
	if (n > q->nic->opt.max_packets)
		tx_odd(q, "tx.packets", base, 44, "more messages in one send than were offered");
	if (n > 1)
		for (unsigned int i = 1; i < n; i++)
			if ((frames[i].at & ((1u << q->nic->opt.align) - 1)) != 0)
				tx_odd(q, "tx.align", base + frames[i].at, 44,
				       "aggregated message not aligned");
	/* A packet that is to be segmented is longer than many hosts say, and goes alone. */
	if (n > 1 && src.total > q->nic->opt.max_transfer)
		tx_odd(q, "tx.max-transfer", base, 44, "more packed than was offered");
	*count = n;
	return SEND_OK;
}

static void
tx_frame_of(const struct frame *f, const uint8_t *base, struct tx_frame *t)
{
	t->data = (uint8_t *)(uintptr_t)base + f->at + f->info.data_off;
	t->len = f->info.data_len;
	t->csum = f->info.checksum;
	t->lso = f->info.lso;
	t->has_lso = (f->info.present & RNDIS_INFO_LSO) != 0;
	/* A record that asks for nothing is as good as none: DPDK sends such. */
	t->has_csum = (f->info.present & RNDIS_INFO_CHECKSUM) != 0 &&
		      (t->csum & (RNDIS_TXCSUM_TCP | RNDIS_TXCSUM_UDP | RNDIS_TXCSUM_IPHDR)) != 0;
}

/* One bad request fails the whole send, before any of it went out. */
static enum tx_outcome
check_offloads(struct nic_queue *q, const uint8_t *base, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		const char *rule, *what;
		struct tx_frame t;
		bool fail;

		tx_frame_of(&frames[i], base, &t);
		rule = csum_check(q->nic, &t, &fail);
		if (rule == NULL)
			continue;
		what = t.has_lso ? "LSO request" : "checksum request";
		if (fail)
			return tx_broken(q, rule, t.data, t.len < 64 ? t.len : 64, what);
		tx_odd(q, rule, t.data, t.len < 64 ? t.len : 64, what);
	}
	return SEND_OK;
}

/* --- push --------------------------------------------------------------------------------------- */

static bool
push(struct nic_queue *q, const struct port_frame *f, unsigned int *no)
{
	/* Those before ->resume went out when the port filled up. */
	if ((*no)++ < q->resume)
		return true;
	if (!q->nic->link_up) {
		q->nic->tx_link_down++;
	} else if (!q->nic->port->ops->push(q->nic->port, f)) {
		return false;
	}
	q->resume++;
	q->st->tx_frames++;
	q->st->tx_bytes += f->len;
	nic_cast_count(&q->nic->tx_cast, f->data, f->len);
	return true;
}

static bool
push_lso(struct nic_queue *q, const struct tx_frame *t, struct port_frame *f, unsigned int *no)
{
	unsigned int n = lso_segments(t);

	for (unsigned int i = 0; i < n; i++) {
		if (*no < q->resume) {
			(*no)++;
			continue;
		}
		f->data = segment;
		f->len = lso_segment(t, i, segment);
		if (!push(q, f, no))
			return false;
	}
	q->st->tx_lso++;
	return true;
}

static enum tx_outcome
push_all(struct nic_queue *q, const uint8_t *base, unsigned int n, bool offloads)
{
	unsigned int no = 0;

	for (unsigned int i = 0; i < n && host_tracing && !q->mute; i++)
		host_trace('G', "RNDIS-DATA", "PACKET", q->chan->relid, base + frames[i].at,
			   frames[i].info.msg_len);
	for (unsigned int i = 0; i < n; i++) {
		const struct frame *fr = &frames[i];
		struct port_frame f = { .data = base + fr->at + fr->info.data_off,
					.len = fr->info.data_len };
		struct tx_frame t;

		if (fr->info.present & RNDIS_INFO_VLAN) {
			f.flags = PORT_F_VLAN;
			f.tci = RNDIS_VLAN_TO_TCI(fr->info.vlan);
			q->st->tx_vlan++;
		}
		if (offloads) {
			tx_frame_of(fr, base, &t);
			if (t.has_lso) {
				if (!push_lso(q, &t, &f, &no))
					return SEND_LATER;
				continue;
			}
			if (t.has_csum && no >= q->resume) {
				csum_finish(&t);
				q->st->tx_csum++;
			}
		}
		if (!push(q, &f, &no))
			return SEND_LATER;
	}
	return SEND_OK;
}

/* A data send, gathered. */
static enum tx_outcome
data(struct nic_queue *q)
{
	const uint8_t *base = src.n > 1 ? linearize() : src.seg[0].p;
	uint32_t present;
	unsigned int n;
	enum tx_outcome rc = parse(q, base, &n, &present);
	bool offloads, told = q->mute;

	if (rc != SEND_OK)
		return rc;
	offloads = (present & (RNDIS_INFO_CHECKSUM | RNDIS_INFO_LSO)) != 0;
	if (offloads && base != linear) {
		/* Finished in place, and checked where the guest cannot change it any more. */
		base = linearize();
		q->mute = true;
		rc = parse(q, base, &n, &present);
		q->mute = told;
		if (rc != SEND_OK)
			return rc;
	}
	if (offloads) {
		rc = check_offloads(q, base, n);
		if (rc != SEND_OK)
			return rc;
	}
	return push_all(q, base, n, offloads);
}

static bool
fail_by_option(struct nic_queue *q)
{
	unsigned int every = q->nic->opt.tx_fail_every;

	return every != 0 && q->tx_count % every == 0;
}

/* --- sends that wait ------------------------------------------------------------------------------ */

static uint32_t
record_len(uint32_t ext_len)
{
	return (uint32_t)sizeof(struct tx_send) + ((ext_len + 7u) & ~7u);
}

/* Keep a send for later; false: no room, it stays in the ring. */
static bool
defer(struct nic_queue *q, const struct tx_send *s)
{
	uint32_t len = record_len(s->ext_len);

	if (q->defer == NULL)
		q->defer = malloc(DEFER_BYTES);
	if (q->defer == NULL || s->ext_len > EXT_MAX)
		return false;
	if (q->n_defer == 0)
		q->defer_head = q->defer_tail = 0;
	if (q->defer_tail + len > DEFER_BYTES && q->defer_head != 0) {
		memmove(q->defer, q->defer + q->defer_head, q->defer_tail - q->defer_head);
		q->defer_tail -= q->defer_head;
		q->defer_head = 0;
	}
	if (q->defer_tail + len > DEFER_BYTES)
		return false;
	memcpy(q->defer + q->defer_tail, s, sizeof(*s));
	if (s->ext_len != 0)
		memcpy(q->defer + q->defer_tail + sizeof(*s), s->ext, s->ext_len);
	q->defer_tail += len;
	tx_ids_add(&q->ids, s->tid);
	if (q->n_defer++ == 0)
		q->defer_since = host_now();
	q->st->tx_deferred++;
	return true;
}

/*
 * Everything is full: the port's frames wait for slots, whose completions are behind sends that
 * wait for the port. Only losing a send ends that.
 */
static bool
stuck(struct nic_queue *q)
{
	return (!tx_room(q) || q->defer_full) && host_now() - q->defer_since > STUCK_NS;
}

unsigned int
tx_resume(struct nic_queue *q)
{
	unsigned int n = 0;

	while (q->n_defer != 0) {
		struct tx_send s;
		enum tx_outcome rc;

		memcpy(&s, q->defer + q->defer_head, sizeof(s));
		s.ext = q->defer + q->defer_head + sizeof(s);
		q->mute = true;
		rc = tx_gather(q, &s, &src);
		q->mute = s.told;
		if (rc == SEND_OK)
			rc = data(q);
		if (rc == SEND_FATAL)
			return n;
		if (rc == SEND_LATER) {
			s.told = true;
			memcpy(q->defer + q->defer_head, &s, sizeof(s));
			if (!stuck(q))
				return n;
			q->st->tx_no_room++;
			rc = SEND_FAIL;
		}
		q->resume = 0;
		q->st->tx_messages++;
		q->defer_head += record_len(s.ext_len);
		q->n_defer--;
		q->defer_since = host_now();
		q->defer_full = false;
		tx_complete(q, s.tid, s.section,
			    rc == SEND_OK ? NVSP_STATUS_SUCCESS : NVSP_STATUS_FAILURE);
		n++;
	}
	return n;
}

/* --- from the ring ------------------------------------------------------------------------------- */

static bool
finish(struct nic_queue *q, const struct tx_send *s, enum tx_outcome rc)
{
	if (rc == SEND_FATAL)
		return false;
	if (rc == SEND_LATER) {
		q->defer_full = !defer(q, s);
		return !q->defer_full;
	}
	q->resume = 0;
	q->st->tx_messages++;
	tx_complete(q, s->tid, s->section,
		    rc == SEND_OK ? NVSP_STATUS_SUCCESS : NVSP_STATUS_FAILURE);
	return true;
}

static bool
control(struct nic_queue *q, const struct tx_send *s)
{
	uint32_t status = rndis_control(q, linearize(), src.total);

	if (q->chan->failed)
		return false;
	tx_complete(q, s->tid, s->section, status);
	return true;
}

bool
tx_rndis(struct nic_queue *q, const struct vmbus_ring_pkt *pkt, const struct nvsp_rndis *m)
{
	struct tx_send s = { .tid = pkt->tid,
			     .section = m->section,
			     .section_len = m->section_len,
			     .told = q->again && q->again_told };
	enum tx_outcome rc;
	bool is_data;

	if (pkt->type == VMBUS_PKT_GPA_DIRECT) {
		s.ext = pkt->body;
		s.ext_len = pkt->ext_len;
	}
	if ((pkt->flags & VMBUS_PKT_F_RC) == 0) {
		tx_broken(q, "nvsp.no-rc", pkt->body, pkt->payload_len,
			  "an RNDIS packet must ask for a completion");
		s.section = NVSP_NO_SECTION;
		return finish(q, &s, SEND_FAIL);
	}
	q->mute = q->again;
	rc = tx_gather(q, &s, &src);
	if (rc != SEND_OK)
		return finish(q, &s, rc);
	/* The message decides, whatever the channel type says. */
	is_data = src.seg[0].len >= 4 && hv_load32(src.seg[0].p) == RNDIS_PACKET;
	if (is_data != (m->channel_type == NVSP_CHANNEL_DATA))
		tx_odd(q, "nvsp.channel-type", pkt->body, pkt->payload_len,
		       "channel type does not fit the RNDIS message");
	if (!is_data)
		return control(q, &s);
	if (!q->nic->rndis_ready)
		tx_odd(q, "rndis.order", pkt->body, pkt->payload_len, "a frame before INITIALIZE");
	if (s.tid == 0 || (q->ids.n != 0 && tx_ids_has(&q->ids, s.tid)))
		tx_odd(q, "tx.id", pkt->body, pkt->payload_len,
		       "transaction id 0, or of a send without its completion");
	if (!tx_section_take(q, s.section))
		tx_odd(q, "tx.section-busy", pkt->body, pkt->payload_len,
		       "a section is used before its completion");
	q->tx_count++;
	rc = SEND_LATER;
	if (q->n_defer == 0) {
		q->mute = s.told;
		rc = fail_by_option(q) ? SEND_FAIL : data(q);
		s.told = true;
	}
	if (finish(q, &s, rc))
		return true;
	/* It stays in the ring and is read again. */
	q->again_told = s.told;
	tx_section_release(q, s.section);
	q->tx_count--;
	return false;
}
