/* SPDX-License-Identifier: BSD-3-Clause */
/* Packets written as a batch, in one piece of the ring: vmbus_ring_tx_run(), _advance(). */
#include "ring_fixture.h"

#define FOOTPRINT 32u /* 24 bytes and their trailer, as the driver's completions */

/* n packets as a caller writes them: tids from tid on. */
static void
write_run(struct fixture *f, uint64_t *at, uint32_t n, uint64_t tid)
{
	uint64_t start = (uint64_t)f->tx.index << 32;

	for (uint32_t i = 0; i < n; i++, at += 4, start += (uint64_t)FOOTPRINT << 32) {
		at[0] = VMBUS_PKT_COMPLETION | UINT64_C(2) << 16 | UINT64_C(3) << 32;
		at[1] = tid + i;
		at[2] = ~(tid + i);
		at[3] = start;
	}
	vmbus_ring_tx_advance(&f->tx, n * FOOTPRINT);
}

/* Packets with these tids come out, with the trailers they must have. */
static void
expect_run(struct fixture *f, uint32_t n, uint64_t tid)
{
	struct vmbus_ring_pkt pkt;
	uint64_t body, trailer;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t at = f->rx.index;

		assert_int_equal(vmbus_ring_rx_peek(&f->rx, &pkt, f->scratch, sizeof(f->scratch)),
				 1);
		assert_int_equal(pkt.type, VMBUS_PKT_COMPLETION);
		assert_int_equal(pkt.len, 24);
		assert_int_equal(pkt.tid, tid + i);
		memcpy(&body, pkt.body, sizeof(body));
		assert_int_equal(body, ~(tid + i));
		memcpy(&trailer, f->data + (at + 24) % FX_DATA, sizeof(trailer));
		assert_int_equal(trailer, (uint64_t)at << 32);
		vmbus_ring_rx_release(&f->rx, &pkt);
	}
	assert_int_equal(vmbus_ring_rx_peek(&f->rx, &pkt, f->scratch, sizeof(f->scratch)), 0);
}

/* At every offset: what fits in front of the end is given, what would wrap is not. */
static void
test_every_offset(void **state)
{
	struct fixture *f = *state;

	for (uint32_t at = 0; at < FX_DATA; at += 8) {
		for (uint32_t n = 1; n <= 3; n++) {
			bool fits = n * FOOTPRINT <= FX_DATA - at;
			uint64_t *run;

			fx_init(f, at);
			run = vmbus_ring_tx_run(&f->tx, n * FOOTPRINT);
			assert_int_equal(run != NULL, fits);
			/* Asking takes nothing. */
			assert_int_equal(f->tx.index, at);
			assert_false(vmbus_ring_tx_publish(&f->tx));
			if (!fits)
				continue;
			assert_ptr_equal(run, f->data + at);
			write_run(f, run, n, at);
			assert_int_equal(f->tx.index, (at + n * FOOTPRINT) % FX_DATA);
			assert_int_equal(f->hdr->windex, at);
			assert_true(vmbus_ring_tx_publish(&f->tx));
			assert_int_equal(f->hdr->windex, (at + n * FOOTPRINT) % FX_DATA);
			expect_run(f, n, at);
		}
	}
}

/* Up to the last byte but 8, and not one packet more; again when the consumer has read. */
static void
test_full(void **state)
{
	struct fixture *f = *state;
	const uint32_t most = FX_DATA / FOOTPRINT - 1;

	fx_init(f, 0);
	assert_null(vmbus_ring_tx_run(&f->tx, FX_DATA));
	assert_null(vmbus_ring_tx_run(&f->tx, UINT32_MAX & ~7u));
	write_run(f, vmbus_ring_tx_run(&f->tx, most * FOOTPRINT), most, 1);
	/* 32 bytes are free, of which 8 must stay so. */
	assert_null(vmbus_ring_tx_run(&f->tx, FOOTPRINT));
	assert_non_null(vmbus_ring_tx_run(&f->tx, FOOTPRINT - 8));
	vmbus_ring_tx_publish(&f->tx);
	assert_null(vmbus_ring_tx_run(&f->tx, FOOTPRINT));
	expect_run(f, most, 1);
	vmbus_ring_rx_publish(&f->rx);
	/* The read index is looked at when the cached one leaves no room. */
	write_run(f, vmbus_ring_tx_run(&f->tx, FOOTPRINT), 1, 77);
	assert_int_equal(f->tx.index, 0);
	vmbus_ring_tx_publish(&f->tx);
	expect_run(f, 1, 77);
}

/* Runs and single packets take turns round the ring, many times. */
static void
test_mixed(void **state)
{
	struct fixture *f = *state;
	uint64_t tid = 1;

	fx_init(f, 0);
	for (uint32_t round = 0; round < 3000; round++) {
		uint32_t n = round % 7 + 1, len = 16 + round % 9 * 8;
		uint64_t *run = vmbus_ring_tx_run(&f->tx, n * FOOTPRINT);

		if (run != NULL) {
			write_run(f, run, n, tid);
			vmbus_ring_tx_publish(&f->tx);
			expect_run(f, n, tid);
		}
		assert_int_equal(fx_put(f, tid + n, len), 0);
		vmbus_ring_tx_publish(&f->tx);
		fx_take(f, tid + n, len);
		vmbus_ring_rx_publish(&f->rx);
		tid += n + 1;
	}
}

/* A read index that no consumer can have makes the ring full for ever. */
static void
test_corrupt_index(void **state)
{
	static const uint32_t bad[] = { 4,
					FX_DATA,
					FX_DATA + 8,
					0x80000000u,
					0xFFFFFFF8u,
					/* not told of yet */ 3 * FOOTPRINT + 8 };
	const uint32_t most = FX_DATA / FOOTPRINT - 1;
	struct fixture *f = *state;

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		fx_init(f, 0);
		write_run(f, vmbus_ring_tx_run(&f->tx, 3 * FOOTPRINT), 3, 1);
		vmbus_ring_tx_publish(&f->tx);
		f->hdr->rindex = bad[i];
		assert_null(vmbus_ring_tx_run(&f->tx, most * FOOTPRINT));
		assert_int_equal(f->tx.error, -EIO);
		f->hdr->rindex = 0;
		assert_null(vmbus_ring_tx_run(&f->tx, FOOTPRINT));
		assert_false(vmbus_ring_tx_publish(&f->tx));
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = { T(test_every_offset), T(test_full), T(test_mixed),
					    T(test_corrupt_index) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
