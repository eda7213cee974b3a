/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The other side writes what it must not: indices, lengths, offsets, and changes after the
 * check. The ring fails for good where the next packet cannot be found, skips what it can,
 * and never touches memory outside the data area (the address sanitizer watches).
 */
#include "ring_fixture.h"

static const uint32_t bad_index[] = {
	FX_DATA, FX_DATA + 8, 1, 4, 7, FX_DATA - 1, 0x80000000u, 0xFFFFFFF8u, 0xFFFFFFFFu,
};
#define N_BAD (sizeof(bad_index) / sizeof(bad_index[0]))

static void
expect_dead_tx(struct fixture *f)
{
	struct vmbus_ring_span span;
	uint32_t windex = f->hdr->windex;

	assert_int_equal(f->tx.error, -EIO);
	/* For ever, even if the index becomes good again. */
	f->hdr->rindex = 0;
	assert_int_equal(vmbus_ring_tx_space(&f->tx), 0);
	assert_int_equal(vmbus_ring_tx_reserve(&f->tx, 16, &span), -EIO);
	assert_int_equal(fx_put(f, 1, 16), -EIO);
	assert_false(vmbus_ring_tx_publish(&f->tx));
	assert_int_equal(f->hdr->windex, windex);
}

static void
expect_dead_rx(struct fixture *f)
{
	struct vmbus_ring_pkt pkt;
	uint32_t rindex = f->hdr->rindex;

	assert_int_equal(f->rx.error, -EIO);
	f->hdr->windex = 0;
	/* Ready, so that the caller peeks and learns it. */
	assert_true(vmbus_ring_rx_ready(&f->rx));
	assert_true(vmbus_ring_rx_unmask(&f->rx));
	assert_int_equal(vmbus_ring_rx_peek(&f->rx, &pkt, f->scratch, sizeof(f->scratch)), -EIO);
	assert_false(vmbus_ring_rx_publish(&f->rx));
	assert_int_equal(f->hdr->rindex, rindex);
}

/* T11: the read index of the ring we write. */
static void
test_bad_read_index(void **state)
{
	struct fixture *f = *state;
	struct vmbus_ring_span span;
	uint32_t i;

	for (i = 0; i < N_BAD; i++) {
		fx_init(f, 0);
		assert_int_equal(fx_put(f, 1, FX_DATA - 16), 0);
		vmbus_ring_tx_publish(&f->tx);
		f->hdr->rindex = bad_index[i];
		assert_int_equal(vmbus_ring_tx_reserve(&f->tx, 16, &span), -EIO);
		expect_dead_tx(f);

		fx_init(f, 0);
		f->hdr->rindex = bad_index[i];
		assert_int_equal(vmbus_ring_tx_space(&f->tx), 0);
		expect_dead_tx(f);
	}
}

/* T20: backwards, or past what was published. */
static void
test_read_index_moves_wrong(void **state)
{
	struct fixture *f = *state;
	struct vmbus_ring_pkt pkt;
	uint32_t to;

	for (to = 0; to < FX_DATA; to += 8) {
		fx_init(f, 1000);
		assert_int_equal(fx_put(f, 1, 56), 0);
		assert_int_equal(fx_put(f, 2, 56), 0);
		vmbus_ring_tx_publish(&f->tx);
		fx_expect(f, 1, 56, &pkt);
		vmbus_ring_rx_release(&f->rx, &pkt);
		vmbus_ring_rx_publish(&f->rx);
		assert_int_equal(vmbus_ring_tx_space(&f->tx), FX_DATA - 8 - 64);
		f->hdr->rindex = to;
		if (to >= 1064 && to <= 1128) {
			assert_int_equal(vmbus_ring_tx_space(&f->tx), FX_DATA - 8 - (1128 - to));
		} else {
			assert_int_equal(vmbus_ring_tx_space(&f->tx), 0);
			expect_dead_tx(f);
		}
	}
}

/* Committed but unpublished bytes are not the other side's to release. */
static void
test_read_index_past_unpublished(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(fx_put(f, 1, 56), 0);
	f->hdr->rindex = 64;
	assert_int_equal(vmbus_ring_tx_space(&f->tx), 0);
	expect_dead_tx(f);
}

/* T12: the write index of the ring we read. */
static void
test_bad_write_index(void **state)
{
	struct fixture *f = *state;
	struct vmbus_ring_pkt pkt;
	uint32_t i;

	for (i = 0; i < N_BAD; i++) {
		fx_init(f, 0);
		f->hdr->windex = bad_index[i];
		assert_int_equal(vmbus_ring_rx_peek(&f->rx, &pkt, f->scratch, sizeof(f->scratch)),
				 -EIO);
		expect_dead_rx(f);
		fx_init(f, 0);
		f->hdr->windex = bad_index[i];
		assert_true(vmbus_ring_rx_ready(&f->rx));
		expect_dead_rx(f);
		fx_init(f, 0);
		f->hdr->windex = bad_index[i];
		assert_true(vmbus_ring_rx_unmask(&f->rx));
		expect_dead_rx(f);
	}
}

static void
raw_desc(struct fixture *f, uint32_t at, uint16_t type, uint16_t off8, uint16_t len8,
	 uint16_t flags)
{
	struct vmbus_pkt_desc d = { type, off8, len8, flags, 77 };
	uint32_t i;

	for (i = 0; i < sizeof(d); i++)
		f->data[(at + i) % FX_DATA] = ((const uint8_t *)&d)[i];
}

/* The write index goes back behind what was already offered. */
static void
test_write_index_moves_back(void **state)
{
	struct fixture *f = *state;
	struct vmbus_ring_pkt pkt;

	assert_int_equal(fx_put(f, 1, 56), 0);
	vmbus_ring_tx_publish(&f->tx);
	fx_take(f, 1, 56);
	/* What lies there would be a packet. */
	raw_desc(f, f->rx.index, VMBUS_PKT_INBAND, 2, 2, 0);
	f->hdr->windex = 32;
	assert_int_equal(vmbus_ring_rx_peek(&f->rx, &pkt, f->scratch, sizeof(f->scratch)), -EIO);
	expect_dead_rx(f);
}

/* T13: a length that leads nowhere. 64 bytes are available. */
static void
test_bad_length(void **state)
{
	static const uint16_t bad[] = { 0, 1, 8, 9, 100, 512, 0x7FFF, 0xFFFF };
	struct fixture *f = *state;
	struct vmbus_ring_pkt pkt;
	uint32_t i, at;

	for (at = 0; at < FX_DATA; at += 8) {
		for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
			fx_init(f, at);
			raw_desc(f, at, VMBUS_PKT_INBAND, 2, bad[i], 0);
			f->hdr->windex = (at + 64) % FX_DATA;
			assert_int_equal(vmbus_ring_rx_peek(&f->rx, &pkt, f->scratch,
							    sizeof(f->scratch)),
					 -EIO);
			f->hdr->windex = at;
			assert_int_equal(f->rx.error, -EIO);
		}
		fx_init(f, at);
		raw_desc(f, at, VMBUS_PKT_INBAND, 2, 7, 0);
		f->hdr->windex = (at + 64) % FX_DATA;
		assert_int_equal(vmbus_ring_rx_peek(&f->rx, &pkt, f->scratch, sizeof(f->scratch)),
				 1);
	}
}

/* Less than a descriptor and a trailer is available. */
static void
test_too_little_available(void **state)
{
	struct fixture *f = *state;
	struct vmbus_ring_pkt pkt;
	uint32_t n;

	for (n = 8; n <= 16; n += 8) {
		fx_init(f, FX_DATA - 8);
		raw_desc(f, FX_DATA - 8, VMBUS_PKT_INBAND, 2, 2, 0);
		f->hdr->windex = (FX_DATA - 8 + n) % FX_DATA;
		assert_int_equal(vmbus_ring_rx_peek(&f->rx, &pkt, f->scratch, sizeof(f->scratch)),
				 -EIO);
		expect_dead_rx(f);
	}
}

/* T14, OpenVMM's test_malformed_*: the packet is skipped, the next one is read. */
static void
test_malformed_is_skipped(void **state)
{
	static const struct {
		uint16_t type, off8, flags;
	} bad[] = {
		{ VMBUS_PKT_INBAND, 0, 0 },	{ VMBUS_PKT_INBAND, 1, 0 },
		{ VMBUS_PKT_INBAND, 8, 0 },	{ VMBUS_PKT_INBAND, 0xFFFF, 0 },
		{ VMBUS_PKT_INBAND, 2, 2 },	{ VMBUS_PKT_INBAND, 2, 0x8001 },
		{ VMBUS_PKT_XFER_PAGES, 2, 1 }, { VMBUS_PKT_GPA_DIRECT, 2, 1 },
		{ VMBUS_PKT_COMPLETION, 1, 0 },
	};
	struct fixture *f = *state;
	struct vmbus_ring_pkt pkt;
	uint32_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		fx_init(f, 2048);
		assert_int_equal(fx_put(f, 1, 56), 0);
		assert_int_equal(fx_put(f, 2, 56), 0);
		raw_desc(f, 2048, bad[i].type, bad[i].off8, 7, bad[i].flags);
		vmbus_ring_tx_publish(&f->tx);
		assert_int_equal(vmbus_ring_rx_peek(&f->rx, &pkt, f->scratch, sizeof(f->scratch)),
				 -EBADMSG);
		assert_int_equal(pkt.len, 56);
		assert_null(pkt.body);
		assert_int_equal(pkt.tid, 77);
		vmbus_ring_rx_release(&f->rx, &pkt);
		fx_take(f, 2, 56);
		assert_int_equal(f->rx.error, 0);
	}
}

/* off8 = len8: a packet without payload is legal. */
static void
test_empty_payload(void **state)
{
	struct fixture *f = *state;
	struct vmbus_ring_pkt pkt;

	fx_init(f, FX_DATA - 16);
	raw_desc(f, FX_DATA - 16, VMBUS_PKT_COMPLETION, 2, 2, 0);
	f->hdr->windex = 8;
	assert_int_equal(vmbus_ring_rx_peek(&f->rx, &pkt, NULL, 0), 1);
	assert_int_equal(pkt.ext_len + pkt.payload_len, 0);
	vmbus_ring_rx_release(&f->rx, &pkt);
	assert_false(vmbus_ring_rx_ready(&f->rx));
}

/* T16: what an unknown type means is the caller's business. */
static void
test_unknown_type(void **state)
{
	struct fixture *f = *state;
	struct vmbus_ring_pkt pkt;

	assert_int_equal(fx_put(f, 1, 24), 0);
	raw_desc(f, 0, 0x4242, 2, 3, 0);
	vmbus_ring_tx_publish(&f->tx);
	assert_int_equal(vmbus_ring_rx_peek(&f->rx, &pkt, f->scratch, sizeof(f->scratch)), 1);
	assert_int_equal(pkt.type, 0x4242);
	assert_int_equal(pkt.payload_len, 8);
}

/* T15: the descriptor changes after it was read. */
static void
test_descriptor_changes(void **state)
{
	struct fixture *f = *state;
	struct vmbus_ring_pkt pkt;

	assert_int_equal(fx_put(f, 1, 56), 0);
	assert_int_equal(fx_put(f, 2, 56), 0);
	vmbus_ring_tx_publish(&f->tx);
	fx_expect(f, 1, 56, &pkt);
	raw_desc(f, 0, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF);
	assert_int_equal(pkt.len, 56);
	assert_int_equal(pkt.payload_len, 40);
	vmbus_ring_rx_release(&f->rx, &pkt);
	fx_take(f, 2, 56);
}

/* A packet in scratch does not change with the ring. */
static void
test_wrapped_body_is_private(void **state)
{
	struct fixture *f = *state;
	struct vmbus_ring_pkt pkt;
	uint32_t i;

	fx_init(f, FX_DATA - 32);
	assert_int_equal(fx_put(f, 1, 56), 0);
	vmbus_ring_tx_publish(&f->tx);
	fx_expect(f, 1, 56, &pkt);
	memset(f->data, 0xFF, FX_DATA);
	for (i = 0; i < 40; i++)
		assert_int_equal(pkt.body[i], (uint8_t)(31 + i));
}

/* T19 with a bad write index while deciding: no signal, and the ring is dead. */
static void
test_bad_write_index_while_releasing(void **state)
{
	struct fixture *f = *state;
	uint32_t i;

	for (i = 0; i < N_BAD; i++) {
		fx_init(f, 0);
		assert_int_equal(fx_put(f, 1, FX_DATA - 16), 0);
		vmbus_ring_tx_publish(&f->tx);
		fx_take(f, 1, FX_DATA - 16);
		f->hdr->pending_send = 64;
		f->hdr->windex = bad_index[i];
		assert_false(vmbus_ring_rx_publish(&f->rx));
		expect_dead_rx(f);
	}
}

/* Each side writes only its own fields. */
static void
test_fields_of_the_other_side(void **state)
{
	struct fixture *f = *state;
	struct vmbus_ring_hdr before, after;

	assert_int_equal(fx_put(f, 1, 56), 0);
	before = *f->hdr;
	vmbus_ring_tx_publish(&f->tx);
	vmbus_ring_tx_pending(&f->tx, 80);
	after = *f->hdr;
	after.windex = before.windex;
	after.pending_send = before.pending_send;
	assert_memory_equal(&before, &after, sizeof(before));

	before = *f->hdr;
	fx_take(f, 1, 56);
	vmbus_ring_rx_publish(&f->rx);
	vmbus_ring_rx_mask(&f->rx);
	after = *f->hdr;
	after.rindex = before.rindex;
	after.imask = before.imask;
	assert_memory_equal(&before, &after, sizeof(before));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, fx_setup, fx_teardown)
		T(test_bad_read_index),
		T(test_read_index_moves_wrong),
		T(test_read_index_past_unpublished),
		T(test_bad_write_index),
		T(test_write_index_moves_back),
		T(test_bad_length),
		T(test_too_little_available),
		T(test_malformed_is_skipped),
		T(test_empty_payload),
		T(test_unknown_type),
		T(test_descriptor_changes),
		T(test_wrapped_body_is_private),
		T(test_bad_write_index_while_releasing),
		T(test_fields_of_the_other_side),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
