/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Both ends of a ring whose other side writes anything, anywhere, at any time: no access
 * outside the data area, no endless loop, no store to a field of the other side.
 */
#include <string.h>

#include "fuzz.h"
#include "vmbus_ring.h"

#define DATA_SIZE HV_PAGE_SIZE
#define RING_SIZE (HV_PAGE_SIZE + DATA_SIZE)

enum op {
	OP_WRITE_HEADER, /* the other side sets a header field */
	OP_WRITE_WORD,	 /* the other side writes into the data area */
	OP_PUT,
	OP_RESERVE,
	OP_PUBLISH_TX,
	OP_PENDING,
	OP_PEEK,
	OP_DRAIN,
	OP_PUBLISH_RX,
	OP_MASK,
	OP_UNMASK,
	OP_COUNT
};

struct state {
	uint8_t *mem;
	struct vmbus_ring_hdr *hdr;
	uint8_t *data;
	struct vmbus_ring tx;
	struct vmbus_ring rx;
	uint8_t scratch[1024];
	const uint8_t *in;
	const uint8_t *end;
};

static uint32_t
take(struct state *s, uint32_t bytes)
{
	uint32_t v = 0;

	while (bytes-- != 0 && s->in != s->end)
		v = v << 8 | *s->in++;
	return v;
}

static void
check_private(const struct vmbus_ring *r)
{
	FUZZ_ASSERT(r->error == 0 || r->error == -EIO);
	if (r->error == 0)
		FUZZ_ASSERT(r->index < r->size && (r->index & 7) == 0 && r->peer < r->size &&
			    (r->peer & 7) == 0);
}

static void
check_span(struct state *s, const struct vmbus_ring_span *span, uint32_t len)
{
	FUZZ_ASSERT(span->n[0] + span->n[1] == len);
	FUZZ_ASSERT(span->p[0] >= s->data && span->p[0] + span->n[0] <= s->data + DATA_SIZE);
	FUZZ_ASSERT(span->n[1] == 0 || (span->p[1] == s->data && span->n[1] < DATA_SIZE));
}

static int
peek(struct state *s, struct vmbus_ring_pkt *pkt)
{
	int rc = vmbus_ring_rx_peek(&s->rx, pkt, s->scratch, sizeof(s->scratch));
	const uint8_t *lo = s->data, *hi = s->data + DATA_SIZE;
	uint32_t i, n, sum = 0;

	FUZZ_ASSERT(rc == 0 || rc == 1 || rc == -EMSGSIZE || rc == -EBADMSG || rc == -EIO);
	if (rc == 0 || rc == -EIO)
		return rc;
	FUZZ_ASSERT(pkt->len >= 16 && pkt->len + 8 < DATA_SIZE);
	if (rc != 1)
		return rc;
	n = pkt->ext_len + pkt->payload_len;
	FUZZ_ASSERT(n + 16 == pkt->len);
	if (pkt->body == s->scratch) {
		lo = s->scratch;
		hi = s->scratch + sizeof(s->scratch);
	}
	FUZZ_ASSERT(pkt->body >= lo && pkt->body + n <= hi);
	for (i = 0; i < n; i++)
		sum += pkt->body[i];
	fuzz_sink = sum;
	return rc;
}

static void
drain(struct state *s)
{
	struct vmbus_ring_pkt pkt;
	uint32_t turns = 0;

	while (vmbus_ring_rx_ready(&s->rx)) {
		int rc = peek(s, &pkt);

		if (rc == 0 || rc == -EIO)
			break;
		vmbus_ring_rx_release(&s->rx, &pkt);
		/* The index is not published: the ring ends where it was filled to. */
		FUZZ_ASSERT(++turns <= DATA_SIZE / 24);
	}
}

static void
write_header(struct state *s)
{
	uint32_t which = take(s, 1), value = take(s, 4);
	/* Plausible values as often as wild ones. */
	uint32_t near = (value & (DATA_SIZE - 1)) & ~7u;

	if ((which & 0x80) == 0)
		value = near;
	switch (which % 5) {
	case 0:
		s->hdr->windex = value;
		break;
	case 1:
		s->hdr->rindex = value;
		break;
	case 2:
		s->hdr->imask = value;
		break;
	case 3:
		s->hdr->pending_send = value;
		break;
	default:
		s->hdr->feature = value;
		break;
	}
}

static void
reserve(struct state *s)
{
	uint32_t len = take(s, 2) & ~7u;
	struct vmbus_ring_span span;

	if (vmbus_ring_tx_reserve(&s->tx, len, &span) != 0)
		return;
	check_span(s, &span, len);
	memset(span.p[0], 0xAA, span.n[0]);
	memset(span.p[1], 0xAA, span.n[1]);
	if (len >= 16)
		vmbus_ring_tx_commit(&s->tx, len);
}

static void
write_word(struct state *s)
{
	uint32_t at = (take(s, 2) & (DATA_SIZE - 1)) & ~7u;
	uint32_t lo = take(s, 4), hi = take(s, 4);

	memcpy(s->data + at, &lo, sizeof(lo));
	memcpy(s->data + at + 4, &hi, sizeof(hi));
}

static void
put(struct state *s)
{
	static const uint8_t payload[2 * DATA_SIZE];
	uint32_t ext = take(s, 1), len = take(s, 2) % (DATA_SIZE + 64);

	vmbus_ring_tx_put(&s->tx, VMBUS_PKT_INBAND, 0, 1, payload, ext, payload, len);
}

static void
one_op(struct state *s)
{
	struct vmbus_ring_hdr before = *s->hdr;
	struct vmbus_ring_pkt pkt;
	enum op op = take(s, 1) % OP_COUNT;

	switch (op) {
	case OP_WRITE_HEADER:
		write_header(s);
		return;
	case OP_WRITE_WORD:
		write_word(s);
		break;
	case OP_PUT:
		put(s);
		break;
	case OP_RESERVE:
		reserve(s);
		break;
	case OP_PUBLISH_TX:
		vmbus_ring_tx_publish(&s->tx);
		if (s->hdr->windex == s->tx.published)
			before.windex = s->hdr->windex;
		break;
	case OP_PENDING:
		vmbus_ring_tx_pending(&s->tx, take(s, 4));
		FUZZ_ASSERT(s->hdr->pending_send < DATA_SIZE && (s->hdr->pending_send & 7) == 0);
		before.pending_send = s->hdr->pending_send;
		FUZZ_ASSERT(vmbus_ring_tx_space(&s->tx) < DATA_SIZE);
		break;
	case OP_PEEK:
		if (peek(s, &pkt) == 1)
			vmbus_ring_rx_release(&s->rx, &pkt);
		break;
	case OP_DRAIN:
		drain(s);
		break;
	case OP_PUBLISH_RX:
		vmbus_ring_rx_publish(&s->rx);
		if (s->hdr->rindex == s->rx.published)
			before.rindex = s->hdr->rindex;
		break;
	case OP_MASK:
		vmbus_ring_rx_mask(&s->rx);
		before.imask = 1;
		break;
	default:
		vmbus_ring_rx_unmask(&s->rx);
		before.imask = 0;
		break;
	}
	/* Only what the operation may write has changed. */
	FUZZ_ASSERT(memcmp(&before, s->hdr, sizeof(before)) == 0);
	check_private(&s->tx);
	check_private(&s->rx);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct state s = { .in = data, .end = data + size };
	uint32_t ops = 0;

	s.mem = aligned_alloc(HV_PAGE_SIZE, RING_SIZE);
	if (s.mem == NULL)
		return 0;
	memset(s.mem, 0, RING_SIZE);
	s.hdr = (struct vmbus_ring_hdr *)s.mem;
	s.data = s.mem + HV_PAGE_SIZE;
	s.hdr->windex = s.hdr->rindex = (take(&s, 2) & (DATA_SIZE - 1)) & ~7u;
	s.hdr->feature = VMBUS_RING_FEAT_PENDING_SEND;
	FUZZ_ASSERT(vmbus_ring_init_tx(&s.tx, s.mem, RING_SIZE, HV_PAGE_SIZE) == 0);
	FUZZ_ASSERT(vmbus_ring_init_rx(&s.rx, s.mem, RING_SIZE, HV_PAGE_SIZE) == 0);
	while (s.in != s.end && ops++ < 4096)
		one_op(&s);
	free(s.mem);
	return 0;
}
