/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One send of the guest: gather its bytes, check every frame in it, push the frames into the
 * port. A send that the port has no room for is kept, so that the completions behind it in the
 * ring are read: they free the slots that a port may wait for.
 */
#include <stdlib.h>
#include <string.h>

#include "netvsp.h"
#include "rndis_parse.h"

#define SEGS_MAX    255u
#define FRAMES_MAX  256u
#define DEFER_BYTES (256u << 10)
#define EXT_MAX	    4096u
#define STUCK_NS    UINT64_C(200000000)

struct seg {
	const uint8_t *p;
	uint32_t len;
};

/* A send: where its bytes are. Also the record of a deferred one, followed by its ranges. */
struct send {
	uint64_t tid;
	uint32_t section, section_len;
	uint32_t ext_len;
	const uint8_t *ext; /* range list of a GPA-direct packet */
};

static struct {
	struct seg seg[SEGS_MAX];
	unsigned int n;
	uint32_t total;
	uint32_t first; /* bytes of the first range: headers must lie in it */
} src;

/* The whole send in private memory, where that is needed; one segment of an LSO frame. */
static uint8_t linear[NIC_LINEAR], segment[1u << 16];

struct frame {
	struct rndis_pkt_info info;
	uint32_t at; /* of the message */
};
static struct frame frames[FRAMES_MAX];

enum outcome { SEND_OK, SEND_FAIL, SEND_FATAL, SEND_LATER };

static enum outcome
broken(struct nic_queue *q, const char *rule, const void *bytes, uint32_t len, const char *what)
{
	host_violation(q->chan->part, rule, bytes, len, "nic %u queue %u: %s", q->nic->index,
		       q->index, what);
	return SEND_FAIL;
}

/* --- gather ----------------------------------------------------------------------------------- */

static bool
add_seg(const uint8_t *p, uint32_t len)
{
	struct seg *last = src.n != 0 ? &src.seg[src.n - 1] : NULL;

	if (len > NIC_LINEAR - src.total)
		return false;
	src.total += len;
	if (last != NULL && last->p + last->len == p) {
		last->len += len;
		return true;
	}
	if (src.n == SEGS_MAX)
		return false;
	src.seg[src.n++] = (struct seg){ .p = p, .len = len };
	return true;
}

static enum outcome
gather_section(struct nic_queue *q, const struct send *s)
{
	struct nic *nic = q->nic;
	uint64_t at = (uint64_t)s->section * nic->opt.section_size;

	if (nic->send.va == NULL || s->section >= nic->sections ||
	    at + s->section_len > nic->send.len) {
		nic_fatal(q, "tx.section", NULL, 0, "section %u, %u bytes: outside the send buffer",
			  s->section, s->section_len);
		return SEND_FATAL;
	}
	if (s->section_len > nic->opt.section_size)
		broken(q, "tx.section-len", NULL, 0, "more bytes than a section has");
	if (s->section_len != 0 && !add_seg(nic->send.va + at, s->section_len))
		return broken(q, "tx.too-long", NULL, 0, "send too long");
	src.first = s->section_len;
	return SEND_OK;
}

/* The pages of one range. */
static enum outcome
gather_range(struct nic_queue *q, const uint8_t *pfns, uint32_t off, uint32_t len)
{
	for (uint32_t left = len; left != 0; pfns += sizeof(uint64_t), off = 0) {
		uint32_t n = left < HV_PAGE_SIZE - off ? left : HV_PAGE_SIZE - off;
		uint64_t pfn = hv_load64(pfns);
		const uint8_t *p = NULL;

		if (pfn < UINT64_MAX / HV_PAGE_SIZE)
			p = guest_addr(q->chan->part, pfn * HV_PAGE_SIZE + off, n, false);
		if (p == NULL)
			return broken(q, "tx.gpa-memory", pfns, sizeof(pfn),
				      "a page of a send is no guest memory");
		if (!add_seg(p, n))
			return broken(q, "tx.too-long", NULL, 0, "send too long or too scattered");
		left -= n;
	}
	return SEND_OK;
}

static enum outcome
gather_gpa(struct nic_queue *q, const uint8_t *ext, uint32_t ext_len)
{
	uint32_t count = hv_load32(ext + 4), at = 8;
	bool first = src.first == 0;
	enum outcome rc;

	if (count > NIC_TX_RANGES)
		broken(q, "tx.ranges", ext, 8, "more than 32 ranges");
	for (uint32_t i = 0; i < count; i++) {
		uint32_t len, off, pfns;

		if (ext_len - at < sizeof(struct vmbus_gpa_range))
			goto bad;
		len = hv_load32(ext + at);
		off = hv_load32(ext + at + 4);
		at += (uint32_t)sizeof(struct vmbus_gpa_range);
		if (len == 0 || off >= HV_PAGE_SIZE || len > NIC_LINEAR)
			goto bad;
		pfns = (off + len + HV_PAGE_SIZE - 1) / HV_PAGE_SIZE;
		if (pfns > (ext_len - at) / sizeof(uint64_t))
			goto bad;
		rc = gather_range(q, ext + at, off, len);
		if (rc != SEND_OK)
			return rc;
		at += pfns * (uint32_t)sizeof(uint64_t);
		/*
		 * Linux before 6.15 makes a range of each page of a buffer: one that goes on where
		 * the page before it ended is the same range.
		 */
		first = first && (i == 0 || off == 0);
		if (first)
			src.first += len;
		first = first && ((off + len) & HV_PAGE_MASK) == 0;
	}
	if (count != 0)
		return SEND_OK;
bad:
	nic_fatal(q, "tx.gpa-list", ext, ext_len, "malformed list of ranges");
	return SEND_FATAL;
}

static enum outcome
gather(struct nic_queue *q, const struct send *s)
{
	enum outcome rc = SEND_OK;

	src.n = 0;
	src.total = src.first = 0;
	if (s->section != NVSP_NO_SECTION)
		rc = gather_section(q, s);
	if (rc == SEND_OK && s->ext_len != 0)
		rc = gather_gpa(q, s->ext, s->ext_len);
	if (rc == SEND_OK && src.total == 0)
		rc = broken(q, "tx.empty", NULL, 0, "a send without bytes");
	return rc;
}

static const uint8_t *
linearize(void)
{
	uint32_t at = 0;

	for (unsigned int i = 0; i < src.n; i++) {
		memcpy(linear + at, src.seg[i].p, src.seg[i].len);
		at += src.seg[i].len;
	}
	return linear;
}

/* --- check ------------------------------------------------------------------------------------- */

/* The header and its information must lie in the first range; msg is private. */
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

static enum outcome
check_frame(struct nic_queue *q, const struct frame *f, const uint8_t *base)
{
	const struct rndis_pkt_info *i = &f->info;
	uint32_t max = q->nic->mtu + 4; /* a tag may be in the bytes */

	if (i->data_len < 14)
		return broken(q, "tx.frame-short", base + f->at, 44, "frame below 14 bytes");
	if (i->data_len > max && (i->present & RNDIS_INFO_LSO) == 0)
		return broken(q, "tx.frame-size", base + f->at, 44,
			      "frame above the size that was agreed");
	if (i->data_len > sizeof(segment))
		return broken(q, "tx.frame-size", base + f->at, 44, "LSO frame above 64 KiB");
	return SEND_OK;
}

/* Read all PACKET messages of the send. Returns SEND_OK and *count. */
static enum outcome
parse(struct nic_queue *q, const uint8_t *base, unsigned int *count, uint32_t *present)
{
	uint32_t at = 0;
	unsigned int n = 0;
	enum outcome rc;

	*present = 0;
	do {
		struct frame *f = &frames[n];
		enum rndis_parse_error err;

		if (n == FRAMES_MAX)
			return broken(q, "tx.packets", NULL, 0, "too many messages in one send");
		err = rndis_parse_packet(base + at, src.total - at, RNDIS_PARSE_F_STRICT, &f->info);
		if (err != RNDIS_PARSE_OK)
			return broken(q, "tx.rndis", base + at,
				      src.total - at < 44 ? src.total - at : 44,
				      rndis_parse_strerror(err));
		if (base == linear && src.n > 1 && !header_whole(base + at, at))
			return broken(q, "tx.header-split", base + at, 44,
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
		broken(q, "tx.packets", base, 44, "more messages in one send than were offered");
	if (n > 1)
		for (unsigned int i = 1; i < n; i++)
			if ((frames[i].at & ((1u << q->nic->opt.align) - 1)) != 0)
				broken(q, "tx.align", base + frames[i].at, 44,
				       "aggregated message not aligned");
	if (src.total > q->nic->opt.max_transfer)
		broken(q, "tx.max-transfer", base, 44, "more bytes than were offered");
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
static enum outcome
check_offloads(struct nic_queue *q, const uint8_t *base, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		struct tx_frame t;
		const char *rule;
		bool fail;

		tx_frame_of(&frames[i], base, &t);
		rule = csum_check(q->nic, &t, &fail);
		if (rule != NULL)
			broken(q, rule, t.data, t.len < 64 ? t.len : 64,
			       t.has_lso ? "LSO request" : "checksum request");
		if (fail)
			return SEND_FAIL;
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

static enum outcome
push_all(struct nic_queue *q, const uint8_t *base, unsigned int n, bool offloads)
{
	unsigned int no = 0;

	for (unsigned int i = 0; i < n; i++) {
		const struct frame *fr = &frames[i];
		struct port_frame f = { .data = base + fr->at + fr->info.data_off,
					.len = fr->info.data_len };
		struct tx_frame t;

		if (host_tracing)
			host_trace('G', "RNDIS-DATA", "PACKET", q->chan->relid, base + fr->at,
				   fr->info.msg_len);
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
static enum outcome
data(struct nic_queue *q)
{
	const uint8_t *base = src.n > 1 ? linearize() : src.seg[0].p;
	uint32_t present;
	unsigned int n;
	enum outcome rc = parse(q, base, &n, &present);
	bool offloads;

	if (rc != SEND_OK)
		return rc;
	offloads = (present & (RNDIS_INFO_CHECKSUM | RNDIS_INFO_LSO)) != 0;
	if (offloads && base != linear) {
		/* Finished in place, and checked where the guest cannot change it any more. */
		base = linearize();
		rc = parse(q, base, &n, &present);
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
	return (uint32_t)sizeof(struct send) + ((ext_len + 7u) & ~7u);
}

/* Keep a send for later; false: no room, it stays in the ring. */
static bool
defer(struct nic_queue *q, const struct send *s)
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
stuck(const struct nic_queue *q)
{
	return (!tx_room(q) || q->defer_full) && host_now() - q->defer_since > STUCK_NS;
}

unsigned int
tx_resume(struct nic_queue *q)
{
	unsigned int n = 0;

	while (q->n_defer != 0) {
		struct send s;
		enum outcome rc;

		memcpy(&s, q->defer + q->defer_head, sizeof(s));
		s.ext = q->defer + q->defer_head + sizeof(s);
		rc = gather(q, &s);
		if (rc == SEND_OK)
			rc = data(q);
		if (rc == SEND_FATAL)
			return n;
		if (rc == SEND_LATER) {
			if (!stuck(q))
				return n;
			q->st->tx_no_room++;
			rc = SEND_FAIL;
		}
		q->resume = 0;
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
finish(struct nic_queue *q, const struct send *s, enum outcome rc)
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
control(struct nic_queue *q, const struct send *s)
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
	struct send s = { .tid = pkt->tid, .section = m->section, .section_len = m->section_len };
	enum outcome rc;
	bool is_data;

	if (pkt->type == VMBUS_PKT_GPA_DIRECT) {
		s.ext = pkt->body;
		s.ext_len = pkt->ext_len;
	}
	if ((pkt->flags & VMBUS_PKT_F_RC) == 0) {
		broken(q, "nvsp.no-rc", pkt->body, pkt->payload_len,
		       "an RNDIS packet must ask for a completion");
		s.section = NVSP_NO_SECTION;
		return finish(q, &s, SEND_FAIL);
	}
	rc = gather(q, &s);
	if (rc != SEND_OK)
		return finish(q, &s, rc);
	/* The message decides, whatever the channel type says. */
	is_data = src.seg[0].len >= 4 && hv_load32(src.seg[0].p) == RNDIS_PACKET;
	if (is_data != (m->channel_type == NVSP_CHANNEL_DATA))
		broken(q, "nvsp.channel-type", pkt->body, pkt->payload_len,
		       "channel type does not fit the RNDIS message");
	if (!is_data)
		return control(q, &s);
	if (!tx_section_take(q, s.section))
		broken(q, "tx.section-busy", NULL, 0, "a section is used before its completion");
	if (q->n_defer != 0) {
		rc = SEND_LATER;
	} else {
		q->tx_count++;
		rc = fail_by_option(q) ? SEND_FAIL : data(q);
	}
	if (finish(q, &s, rc))
		return true;
	/* It stays in the ring and is read again. */
	tx_section_release(q, s.section);
	q->tx_count--;
	return false;
}
