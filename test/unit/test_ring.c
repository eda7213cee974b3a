/* SPDX-License-Identifier: BSD-3-Clause */
/* The ring between two well-behaved ends: layout, wrap, full, empty, batches. */
#include "ring_fixture.h"

static void
test_init_refuses(void **state)
{
	struct fixture *f = *state;
	struct vmbus_ring r;

	assert_int_equal(vmbus_ring_init_tx(&r, NULL, FX_BYTES, HV_PAGE_SIZE), -EINVAL);
	assert_int_equal(vmbus_ring_init_tx(&r, f->mem, HV_PAGE_SIZE, HV_PAGE_SIZE), -EINVAL);
	assert_int_equal(vmbus_ring_init_tx(&r, f->mem, 0, HV_PAGE_SIZE), -EINVAL);
	assert_int_equal(vmbus_ring_init_rx(&r, f->mem, FX_BYTES - 8, HV_PAGE_SIZE), -EINVAL);
	assert_int_equal(vmbus_ring_init_rx(&r, f->mem, FX_BYTES, 2048), -EINVAL);
	assert_int_equal(vmbus_ring_init_rx(&r, f->mem + 8, FX_BYTES, HV_PAGE_SIZE), -EINVAL);
	assert_int_equal(vmbus_ring_init_rx(&r, f->mem, 0xFFFFF000u, HV_PAGE_SIZE), -EINVAL);

	f->hdr->windex = FX_DATA;
	assert_int_equal(vmbus_ring_init_tx(&r, f->mem, FX_BYTES, HV_PAGE_SIZE), -EIO);
	assert_int_equal(vmbus_ring_init_rx(&r, f->mem, FX_BYTES, HV_PAGE_SIZE), -EIO);
	f->hdr->windex = 12;
	assert_int_equal(vmbus_ring_init_rx(&r, f->mem, FX_BYTES, HV_PAGE_SIZE), -EIO);
	f->hdr->windex = 0;
	f->hdr->rindex = 0x80000000u;
	assert_int_equal(vmbus_ring_init_tx(&r, f->mem, FX_BYTES, HV_PAGE_SIZE), -EIO);
}

/* A header page larger than 4 KiB: arm64 guests with 64 KiB pages. */
static void
test_big_header_page(void **state)
{
	const uint32_t hdr = 65536, bytes = hdr + 2 * HV_PAGE_SIZE;
	uint8_t *mem = aligned_alloc(HV_PAGE_SIZE, bytes);
	struct vmbus_ring tx, rx;
	struct vmbus_ring_pkt pkt;

	(void)state;
	assert_non_null(mem);
	memset(mem, 0, bytes);
	assert_int_equal(vmbus_ring_init_tx(&tx, mem, bytes, hdr), 0);
	assert_int_equal(vmbus_ring_init_rx(&rx, mem, bytes, hdr), 0);
	assert_int_equal(tx.size, 2 * HV_PAGE_SIZE);
	assert_int_equal(vmbus_ring_tx_put(&tx, VMBUS_PKT_INBAND, 0, 5, NULL, 0, "payload", 8), 0);
	assert_true(vmbus_ring_tx_publish(&tx));
	assert_memory_equal(mem + hdr + 16, "payload", 8);
	assert_int_equal(vmbus_ring_rx_peek(&rx, &pkt, NULL, 0), 1);
	assert_string_equal((const char *)pkt.body, "payload");
	free(mem);
}

static void
test_layout(void **state)
{
	struct fixture *f = *state;
	struct vmbus_pkt_desc desc;
	uint64_t trailer;
	const uint8_t ext[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };

	fx_init(f, 64);
	assert_int_equal(vmbus_ring_tx_put(&f->tx, VMBUS_PKT_XFER_PAGES, VMBUS_PKT_F_RC,
					   0x1122334455667788u, ext, 8, "abc", 3),
			 0);
	/* Nothing is visible before it is published. */
	assert_int_equal(f->hdr->windex, 64);
	assert_false(vmbus_ring_rx_ready(&f->rx));
	assert_true(vmbus_ring_tx_publish(&f->tx));
	assert_int_equal(f->hdr->windex, 64 + 32 + 8);

	memcpy(&desc, f->data + 64, sizeof(desc));
	assert_int_equal(desc.type, VMBUS_PKT_XFER_PAGES);
	assert_int_equal(desc.off8, 3);
	assert_int_equal(desc.len8, 4);
	assert_int_equal(desc.flags, 1);
	assert_int_equal(desc.tid, 0x1122334455667788u);
	assert_memory_equal(f->data + 64 + 16, ext, 8);
	assert_memory_equal(f->data + 64 + 24, "abc\0\0\0\0\0", 8);
	memcpy(&trailer, f->data + 96, sizeof(trailer));
	assert_int_equal(trailer, (uint64_t)64 << 32);
}

/* The padding is zero even where the ring held something else (T62). */
static void
test_padding_is_zero(void **state)
{
	struct fixture *f = *state;
	uint32_t len, i;

	for (len = 1; len <= 16; len++) {
		fx_init(f, FX_DATA - 24);
		memset(f->data, 0xEE, FX_DATA);
		assert_int_equal(vmbus_ring_tx_put(&f->tx, VMBUS_PKT_INBAND, 0, 1, NULL, 0,
						   "0123456789abcdef", len),
				 0);
		for (i = len; i < ((len + 7) & ~7u); i++)
			assert_int_equal(f->data[(FX_DATA - 24 + 16 + i) % FX_DATA], 0);
	}
}

/* A packet of every small length at every offset: every way to wrap. */
static void
test_wrap_everywhere(void **state)
{
	struct fixture *f = *state;
	uint32_t at, len;
	struct vmbus_ring_pkt pkt;

	for (at = 0; at < FX_DATA; at += 8) {
		for (len = 16; len <= 72; len += 8) {
			fx_init(f, at);
			assert_int_equal(fx_put(f, at + len, len), 0);
			assert_true(vmbus_ring_tx_publish(&f->tx));
			assert_int_equal(f->hdr->windex, (at + len + 8) % FX_DATA);
			fx_expect(f, at + len, len, &pkt);
			/* Copied only if the body itself is in two pieces. */
			assert_int_equal(pkt.body == f->scratch,
					 at + 16 < FX_DATA && at + len > FX_DATA);
			vmbus_ring_rx_release(&f->rx, &pkt);
			assert_false(vmbus_ring_rx_ready(&f->rx));
			assert_false(vmbus_ring_rx_publish(&f->rx));
			assert_int_equal(f->hdr->rindex, f->hdr->windex);
		}
	}
}

static void
test_fill_across_wrap(void **state)
{
	struct fixture *f = *state;
	struct vmbus_ring_span span;
	uint8_t src[64], got[64];
	uint32_t split, off, len, i;

	for (i = 0; i < sizeof(src); i++)
		src[i] = (uint8_t)(i + 1);
	for (split = 8; split <= 64; split += 8) {
		fx_init(f, FX_DATA - split);
		assert_int_equal(vmbus_ring_tx_reserve(&f->tx, 64, &span), 0);
		assert_int_equal(span.n[0], split);
		assert_int_equal(span.n[1], 64 - split);
		for (off = 0; off < 64; off++) {
			for (len = 0; len <= 64 - off; len++) {
				memset(span.p[0], 0, span.n[0]);
				memset(span.p[1], 0, span.n[1]);
				vmbus_ring_tx_fill(&span, off, src, len);
				for (i = 0; i < 64; i++)
					got[i] = f->data[(FX_DATA - split + i) % FX_DATA];
				for (i = 0; i < 64; i++)
					assert_int_equal(got[i], i >= off && i < off + len
									 ? src[i - off]
									 : 0);
			}
		}
	}
}

/* 8 bytes stay unused: a full ring is told from an empty one. */
static void
test_full(void **state)
{
	struct fixture *f = *state;
	struct vmbus_ring_span span;
	uint32_t at;

	for (at = 0; at < FX_DATA; at += 8) {
		fx_init(f, at);
		assert_int_equal(vmbus_ring_tx_space(&f->tx), FX_DATA - 8);
		assert_int_equal(vmbus_ring_tx_reserve(&f->tx, FX_DATA - 8, &span), -EMSGSIZE);
		assert_int_equal(fx_put(f, 1, FX_DATA - 16), 0);
		assert_int_equal(vmbus_ring_tx_space(&f->tx), 0);
		assert_int_equal(vmbus_ring_tx_reserve(&f->tx, 16, &span), -EAGAIN);
		assert_true(vmbus_ring_tx_publish(&f->tx));
		assert_int_not_equal(f->hdr->windex, f->hdr->rindex);
		fx_take(f, 1, FX_DATA - 16);
		/* Released but not published: still full. */
		assert_int_equal(vmbus_ring_tx_reserve(&f->tx, 16, &span), -EAGAIN);
		vmbus_ring_rx_publish(&f->rx);
		assert_int_equal(vmbus_ring_tx_space(&f->tx), FX_DATA - 8);
		assert_int_equal(vmbus_ring_tx_reserve(&f->tx, FX_DATA - 16, &span), 0);
	}
}

static void
test_one_step_short(void **state)
{
	struct fixture *f = *state;
	struct vmbus_ring_span span = { 0 };
	uint32_t used;

	for (used = 24; used < FX_DATA - 40; used += 8) {
		uint32_t space = FX_DATA - 8 - used;

		fx_init(f, 1024);
		assert_int_equal(fx_put(f, 1, used - 8), 0);
		assert_int_equal(vmbus_ring_tx_space(&f->tx), space);
		assert_int_equal(vmbus_ring_tx_reserve(&f->tx, space, &span), -EAGAIN);
		assert_int_equal(vmbus_ring_tx_reserve(&f->tx, space - 8, &span), 0);
		assert_int_equal(span.n[0] + span.n[1], space - 8);
	}
}

static void
test_reserve_refuses(void **state)
{
	struct fixture *f = *state;
	struct vmbus_ring_span span;

	assert_int_equal(vmbus_ring_tx_reserve(&f->tx, 20, &span), -EINVAL);
	assert_int_equal(vmbus_ring_tx_reserve(&f->tx, FX_DATA, &span), -EMSGSIZE);
	assert_int_equal(vmbus_ring_tx_reserve(&f->tx, 0xFFFFFFF8u, &span), -EMSGSIZE);
	assert_int_equal(vmbus_ring_tx_put(&f->tx, 6, 0, 1, "1234", 4, NULL, 0), -EINVAL);
	assert_int_equal(vmbus_ring_tx_put(&f->tx, 6, 0, 1, NULL, 0, "", 0xFFFFFFFFu), -EMSGSIZE);
	assert_int_equal(vmbus_ring_tx_put(&f->tx, 6, 0, 1, "", 0xFFFFFFF8u, NULL, 0), -EMSGSIZE);
	assert_int_equal(f->tx.index, 0);
	assert_false(vmbus_ring_tx_publish(&f->tx));
}

/* Reserving again replaces; nothing is consumed before commit. */
static void
test_reserve_twice(void **state)
{
	struct fixture *f = *state;
	struct vmbus_ring_span a, b;

	assert_int_equal(vmbus_ring_tx_reserve(&f->tx, 64, &a), 0);
	assert_int_equal(vmbus_ring_tx_reserve(&f->tx, 32, &b), 0);
	assert_ptr_equal(a.p[0], b.p[0]);
	assert_int_equal(f->tx.index, 0);
	vmbus_ring_tx_commit(&f->tx, 32);
	assert_int_equal(f->tx.index, 40);
}

/* Many commits, one store of the index; many releases, one store. */
static void
test_batches(void **state)
{
	struct fixture *f = *state;
	uint32_t round, i;

	fx_init(f, 8);
	for (round = 0; round < 500; round++) {
		uint32_t before = f->hdr->windex, n = 1 + round % 20;

		for (i = 0; i < n; i++)
			assert_int_equal(fx_put(f, round * 100 + i, 16 + 8 * (i % 9)), 0);
		assert_int_equal(f->hdr->windex, before);
		assert_true(vmbus_ring_tx_publish(&f->tx));
		assert_false(vmbus_ring_tx_publish(&f->tx));
		assert_int_equal(f->hdr->windex, f->tx.index);
		before = f->hdr->rindex;
		for (i = 0; i < n; i++)
			fx_take(f, round * 100 + i, 16 + 8 * (i % 9));
		assert_int_equal(f->hdr->rindex, before);
		assert_false(vmbus_ring_rx_ready(&f->rx));
		assert_false(vmbus_ring_rx_publish(&f->rx));
		assert_int_equal(f->hdr->rindex, f->hdr->windex);
	}
	assert_int_equal(f->tx.signals, 500);
}

/* The other side's index is loaded only when the cached one does not do. */
static void
test_cached_index(void **state)
{
	struct fixture *f = *state;
	struct vmbus_ring_pkt pkt;

	assert_int_equal(fx_put(f, 1, 16), 0);
	vmbus_ring_tx_publish(&f->tx);
	assert_int_equal(fx_put(f, 2, 16), 0);
	vmbus_ring_tx_publish(&f->tx);
	fx_expect(f, 1, 16, &pkt);
	f->hdr->windex = 0xBAD;
	vmbus_ring_rx_release(&f->rx, &pkt);
	fx_expect(f, 2, 16, &pkt);
	assert_int_equal(f->rx.error, 0);
}

/* A ring of the size OpenVMM tests with, and its largest transfer-page packet. */
static void
test_375_ranges(void **state)
{
	struct fixture *f = *state;
	struct {
		uint16_t set_id, reserved;
		uint32_t count;
		struct vmbus_xfer_range range[375];
	} ext = { 0xCAFE, 0x5A5A, 375, { { 0, 0 } } };
	const uint8_t nvsp[40] = { 107 };
	struct vmbus_ring_pkt pkt;
	uint32_t i;

	for (i = 0; i < 375; i++) {
		ext.range[i].len = 1806;
		ext.range[i].off = i * 1806;
	}
	for (i = 0; i < FX_DATA; i += 248) {
		fx_init(f, i);
		assert_int_equal(vmbus_ring_tx_put(&f->tx, VMBUS_PKT_XFER_PAGES, VMBUS_PKT_F_RC, 16,
						   &ext, sizeof(ext), nvsp, sizeof(nvsp)),
				 0);
		vmbus_ring_tx_publish(&f->tx);
		assert_int_equal(vmbus_ring_rx_peek(&f->rx, &pkt, f->scratch, sizeof(f->scratch)),
				 1);
		assert_int_equal(pkt.ext_len, sizeof(ext));
		assert_int_equal(pkt.payload_len, sizeof(nvsp));
		assert_memory_equal(pkt.body, &ext, sizeof(ext));
		assert_memory_equal(pkt.body + sizeof(ext), nvsp, sizeof(nvsp));
	}
}

/* A packet that wraps and is larger than the scratch is reported and can be skipped. */
static void
test_scratch_too_small(void **state)
{
	struct fixture *f = *state;
	struct vmbus_ring_pkt pkt;

	fx_init(f, FX_DATA - 32);
	assert_int_equal(fx_put(f, 1, 64), 0);
	assert_int_equal(fx_put(f, 2, 64), 0);
	vmbus_ring_tx_publish(&f->tx);
	assert_int_equal(vmbus_ring_rx_peek(&f->rx, &pkt, f->scratch, 47), -EMSGSIZE);
	assert_int_equal(pkt.len, 64);
	assert_null(pkt.body);
	assert_int_equal(vmbus_ring_rx_peek(&f->rx, &pkt, f->scratch, 48), 1);
	vmbus_ring_rx_release(&f->rx, &pkt);
	/* The next does not wrap and needs none. */
	assert_int_equal(vmbus_ring_rx_peek(&f->rx, &pkt, NULL, 0), 1);
	assert_int_equal(pkt.tid, 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, fx_setup, fx_teardown)
		T(test_init_refuses),
		T(test_big_header_page),
		T(test_layout),
		T(test_padding_is_zero),
		T(test_wrap_everywhere),
		T(test_fill_across_wrap),
		T(test_full),
		T(test_one_step_short),
		T(test_reserve_refuses),
		T(test_reserve_twice),
		T(test_batches),
		T(test_cached_index),
		T(test_375_ranges),
		T(test_scratch_too_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
