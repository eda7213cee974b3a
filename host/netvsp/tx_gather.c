/* SPDX-License-Identifier: BSD-3-Clause */
/* Where the bytes of a guest's send are: its section, its ranges, checked. */
#include <string.h>

#include "netvsp.h"

enum tx_outcome
tx_broken(struct nic_queue *q, const char *rule, const void *bytes, uint32_t len, const char *what)
{
	host_violation(q->chan->part, rule, bytes, len, "nic %u queue %u: %s", q->nic->index,
		       q->index, what);
	return SEND_FAIL;
}

void
tx_odd(struct nic_queue *q, const char *rule, const void *bytes, uint32_t len, const char *what)
{
	if (!q->mute)
		tx_broken(q, rule, bytes, len, what);
}

/* Index and length, as they follow each other in the message. */
#define SECTION_SHOWN (2 * sizeof(uint32_t))

static bool
add_seg(struct tx_source *src, const uint8_t *p, uint32_t len)
{
	struct tx_seg *last = src->n != 0 ? &src->seg[src->n - 1] : NULL;

	if (len > NIC_LINEAR - src->total)
		return false;
	src->total += len;
	if (last != NULL && last->p + last->len == p) {
		last->len += len;
		return true;
	}
	if (src->n == TX_SEGS_MAX)
		return false;
	src->seg[src->n++] = (struct tx_seg){ .p = p, .len = len };
	return true;
}

static enum tx_outcome
gather_section(struct nic_queue *q, const struct tx_send *s, struct tx_source *src)
{
	struct nic *nic = q->nic;
	uint64_t at = (uint64_t)s->section * nic->opt.section_size;

	if (nic->send.va == NULL || s->section >= nic->sections ||
	    at + s->section_len > nic->send.len) {
		nic_fatal(q, "tx.section", &s->section, SECTION_SHOWN,
			  "section %u, %u bytes: outside the send buffer", s->section,
			  s->section_len);
		return SEND_FATAL;
	}
	if (s->section_len > nic->opt.section_size)
		tx_odd(q, "tx.section-len", &s->section, SECTION_SHOWN,
		       "more bytes than a section has");
	if (s->section_len != 0 && !add_seg(src, nic->send.va + at, s->section_len))
		return tx_broken(q, "tx.too-long", &s->section, SECTION_SHOWN, "send too long");
	src->first = s->section_len;
	return SEND_OK;
}

/* The pages of one range. */
static enum tx_outcome
gather_range(struct nic_queue *q, struct tx_source *src, const uint8_t *pfns, uint32_t off,
	     uint32_t len)
{
	for (uint32_t left = len; left != 0; pfns += sizeof(uint64_t), off = 0) {
		uint32_t n = left < HV_PAGE_SIZE - off ? left : HV_PAGE_SIZE - off;
		uint64_t pfn = hv_load64(pfns);
		const uint8_t *p = NULL;

		if (pfn < UINT64_MAX / HV_PAGE_SIZE)
			p = guest_addr(q->chan->part, pfn * HV_PAGE_SIZE + off, n, false);
		if (p == NULL)
			return tx_broken(q, "tx.gpa-memory", pfns, sizeof(pfn),
					 "a page of a send is no guest memory");
		if (!add_seg(src, p, n))
			return tx_broken(q, "tx.too-long", pfns, sizeof(pfn),
					 "send too long or too scattered");
		left -= n;
	}
	return SEND_OK;
}

static enum tx_outcome
gather_gpa(struct nic_queue *q, struct tx_source *src, const uint8_t *ext, uint32_t ext_len)
{
	uint32_t count = hv_load32(ext + 4), at = 8;
	bool first = src->first == 0;
	enum tx_outcome rc;

	if (count > NIC_TX_RANGES)
		tx_odd(q, "tx.ranges", ext, 8, "more than 32 ranges");
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
		rc = gather_range(q, src, ext + at, off, len);
		if (rc != SEND_OK)
			return rc;
		at += pfns * (uint32_t)sizeof(uint64_t);
		/*
		 * Linux before 6.15 makes a range of each page of a buffer: one that goes on where
		 * the page before it ended is the same range, unless the host is asked not to know.
		 */
		first = first && (i == 0 || (off == 0 && !q->nic->opt.pages_split));
		if (first)
			src->first += len;
		first = first && ((off + len) & HV_PAGE_MASK) == 0;
	}
	if (count != 0)
		return SEND_OK;
bad:
	nic_fatal(q, "tx.gpa-list", ext, ext_len, "malformed list of ranges");
	return SEND_FATAL;
}

enum tx_outcome
tx_gather(struct nic_queue *q, const struct tx_send *s, struct tx_source *src)
{
	enum tx_outcome rc = SEND_OK;

	src->n = 0;
	src->total = src->first = 0;
	if (s->section != NVSP_NO_SECTION)
		rc = gather_section(q, s, src);
	if (rc == SEND_OK && s->ext_len != 0)
		rc = gather_gpa(q, src, s->ext, s->ext_len);
	if (rc == SEND_OK && src->total == 0)
		rc = tx_broken(q, "tx.empty", &s->section, SECTION_SHOWN, "a send without bytes");
	return rc;
}

void
tx_linearize(const struct tx_source *src, uint8_t *out)
{
	for (unsigned int i = 0; i < src->n; i++) {
		memcpy(out, src->seg[i].p, src->seg[i].len);
		out += src->seg[i].len;
	}
}
