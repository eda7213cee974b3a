/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * When each side must wake the other, and when it must not: hosts take superfluous signals
 * for abuse, and a missing one hangs a queue.
 */
#include "ring_fixture.h"

/* OpenVMM's test_ring: the first write into an empty ring signals, the second does not. */
static void
test_first_write_signals(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(fx_put(f, 1, 32), 0);
	assert_true(vmbus_ring_tx_publish(&f->tx));
	assert_int_equal(fx_put(f, 2, 32), 0);
	assert_false(vmbus_ring_tx_publish(&f->tx));
	assert_int_equal(f->tx.signals, 1);
	fx_take(f, 1, 32);
	fx_take(f, 2, 32);
	assert_false(vmbus_ring_rx_publish(&f->rx));
	assert_int_equal(fx_put(f, 3, 32), 0);
	assert_true(vmbus_ring_tx_publish(&f->tx));
	assert_int_equal(f->tx.signals, 2);
}

/* Every combination of mask and "was it empty", also with several packets in one publish. */
static void
test_producer_table(void **state)
{
	struct fixture *f = *state;
	uint32_t mask, empty, n, i;

	for (mask = 0; mask < 3; mask++) {
		for (empty = 0; empty < 2; empty++) {
			for (n = 1; n <= 4; n++) {
				fx_init(f, FX_DATA - 64);
				if (!empty) {
					assert_int_equal(fx_put(f, 9, 16), 0);
					vmbus_ring_tx_publish(&f->tx);
				}
				f->tx.signals = 0;
				/* Any value but 0 is a mask. */
				f->hdr->imask = mask == 2 ? 0x80000000u : mask;
				for (i = 0; i < n; i++)
					assert_int_equal(fx_put(f, i, 32), 0);
				assert_int_equal(vmbus_ring_tx_publish(&f->tx), mask == 0 && empty);
				assert_int_equal(f->tx.signals, mask == 0 && empty);
			}
		}
	}
}

/* Nothing committed: no store, no signal. */
static void
test_nothing_to_publish(void **state)
{
	struct fixture *f = *state;

	f->hdr->windex = 4088;
	assert_false(vmbus_ring_tx_publish(&f->tx));
	assert_int_equal(f->hdr->windex, 4088);
	f->hdr->rindex = 4088;
	assert_false(vmbus_ring_rx_publish(&f->rx));
	assert_int_equal(f->hdr->rindex, 4088);
}

/* The consumer caught up to the middle of what was published before: not empty, no signal. */
static void
test_consumer_halfway(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(fx_put(f, 1, 16), 0);
	assert_int_equal(fx_put(f, 2, 16), 0);
	assert_true(vmbus_ring_tx_publish(&f->tx));
	fx_take(f, 1, 16);
	vmbus_ring_rx_publish(&f->rx);
	assert_int_equal(fx_put(f, 3, 16), 0);
	assert_false(vmbus_ring_tx_publish(&f->tx));
}

static void
test_mask_and_unmask(void **state)
{
	struct fixture *f = *state;

	vmbus_ring_rx_mask(&f->rx);
	assert_int_equal(f->hdr->imask, 1);
	assert_int_equal(fx_put(f, 1, 16), 0);
	assert_false(vmbus_ring_tx_publish(&f->tx));
	/* The signal was suppressed: unmasking has to find the packet. */
	assert_true(vmbus_ring_rx_unmask(&f->rx));
	assert_int_equal(f->hdr->imask, 0);
	fx_take(f, 1, 16);
	vmbus_ring_rx_publish(&f->rx);
	assert_false(vmbus_ring_rx_unmask(&f->rx));
	assert_int_equal(fx_put(f, 2, 16), 0);
	assert_true(vmbus_ring_tx_publish(&f->tx));
}

/* Fill with packets of 64 bytes of ring each. Returns how many. */
static uint32_t
fill(struct fixture *f)
{
	uint32_t n = 0;

	while (fx_put(f, n, 56) == 0)
		n++;
	vmbus_ring_tx_publish(&f->tx);
	return n;
}

/* OpenVMM's test_pending_send_size: exactly one signal, on crossing, for every size asked. */
static void
test_pending_crosses_once(void **state)
{
	struct fixture *f = *state;
	uint32_t want, n, i;

	for (want = 8; want <= FX_DATA - 8; want += 8) {
		uint32_t signals = 0, space_at_signal = 0;

		fx_init(f, want);
		n = fill(f);
		vmbus_ring_tx_pending(&f->tx, want);
		if (vmbus_ring_tx_space(&f->tx) >= want)
			continue; /* the re-check finds room: it does not sleep */
		for (i = 0; i < n; i++) {
			fx_take(f, i, 56);
			if (vmbus_ring_rx_publish(&f->rx)) {
				signals++;
				space_at_signal = vmbus_ring_tx_space(&f->tx);
			}
		}
		assert_int_equal(signals, 1);
		assert_int_equal(f->rx.signals, 1);
		/* Not late, not early: enough room now, and not one release before. */
		assert_true(space_at_signal >= want);
		assert_true(space_at_signal - 64 < want);
	}
}

/* The same with releases in batches, over the wrap of the index. */
static void
test_pending_batched(void **state)
{
	struct fixture *f = *state;
	uint32_t batch, at, n, i, signals;

	for (batch = 1; batch <= 16; batch++) {
		for (at = 0; at < FX_DATA; at += 512) {
			fx_init(f, at);
			n = fill(f);
			signals = 0;
			vmbus_ring_tx_pending(&f->tx, 1024);
			for (i = 0; i < n; i++) {
				fx_take(f, i, 56);
				if (i % batch == batch - 1)
					signals += vmbus_ring_rx_publish(&f->rx);
			}
			signals += vmbus_ring_rx_publish(&f->rx);
			assert_int_equal(signals, 1);
		}
	}
}

static void
test_pending_off(void **state)
{
	struct fixture *f = *state;
	uint32_t n = fill(f), i;

	vmbus_ring_tx_pending(&f->tx, 512);
	assert_int_equal(f->hdr->pending_send, 512);
	vmbus_ring_tx_pending(&f->tx, 0);
	assert_int_equal(f->hdr->pending_send, 0);
	for (i = 0; i < n; i++) {
		fx_take(f, i, 56);
		assert_false(vmbus_ring_rx_publish(&f->rx));
	}
}

/* Without the feature bit the consumer does not look. */
static void
test_pending_no_feature(void **state)
{
	struct fixture *f = *state;
	uint32_t n = fill(f), i;

	f->hdr->feature = ~VMBUS_RING_FEAT_PENDING_SEND;
	vmbus_ring_tx_pending(&f->tx, 512);
	for (i = 0; i < n; i++) {
		fx_take(f, i, 56);
		assert_false(vmbus_ring_rx_publish(&f->rx));
	}
	assert_int_equal(f->rx.signals, 0);
}

/* The mask is about "not empty" signals only. */
static void
test_pending_ignores_mask(void **state)
{
	struct fixture *f = *state;
	uint32_t n = fill(f), i, signals = 0;

	vmbus_ring_rx_mask(&f->rx);
	vmbus_ring_tx_pending(&f->tx, 512);
	for (i = 0; i < n; i++) {
		fx_take(f, i, 56);
		signals += vmbus_ring_rx_publish(&f->rx);
	}
	assert_int_equal(signals, 1);
}

/* What we write is a multiple of 8 that an empty ring has. */
static void
test_pending_is_sane(void **state)
{
	struct fixture *f = *state;

	vmbus_ring_tx_pending(&f->tx, 1);
	assert_int_equal(f->hdr->pending_send, 8);
	vmbus_ring_tx_pending(&f->tx, 4087);
	assert_int_equal(f->hdr->pending_send, 4088);
	vmbus_ring_tx_pending(&f->tx, 0xFFFFFFFFu);
	assert_int_equal(f->hdr->pending_send, 4088);
}

/* Odd requests of the other side (T19): one signal, when it is meant; impossible ones: none. */
static void
test_pending_odd_values(void **state)
{
	static const struct {
		uint32_t pending;
		uint32_t packets_left; /* when the signal must come; ~0: never */
	} cases[] = {
		{ FX_DATA - 1, 0 },   { FX_DATA - 8, 0 },  { FX_DATA, ~0u }, { 0xFFFFFFFFu, ~0u },
		{ 0x80000000u, ~0u }, { 3, ~0u },	   { 7, ~0u },	     { FX_DATA - 64, 0 },
		{ FX_DATA - 65, 1 },  { FX_DATA - 72, 1 },
	};
	struct fixture *f = *state;
	uint32_t c, i, n;

	for (c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
		uint32_t left = ~0u, signals = 0;

		fx_init(f, 128);
		n = fill(f);
		f->hdr->pending_send = cases[c].pending;
		for (i = 0; i < n; i++) {
			fx_take(f, i, 56);
			if (vmbus_ring_rx_publish(&f->rx)) {
				signals++;
				left = n - 1 - i;
			}
		}
		assert_int_equal(left, cases[c].packets_left);
		assert_int_equal(signals, left == ~0u ? 0 : 1);
	}
}

/* The producer went on before the consumer looked: it needs no signal. */
static void
test_pending_already_seen(void **state)
{
	struct fixture *f = *state;
	uint32_t n = fill(f), i;

	for (i = 0; i < n; i++)
		fx_take(f, i, 56);
	/* What rx_publish does, interrupted behind its store by a producer that refills. */
	__atomic_store_n(&f->hdr->rindex, f->rx.index, __ATOMIC_RELEASE);
	assert_int_equal(fill(f), n);
	vmbus_ring_tx_pending(&f->tx, 512);
	assert_false(vmbus_ring_rx_publish(&f->rx));
}

/*
 * OpenVMM's test_ring_full: a packet of 4000 bytes in a ring of one page; the second waits
 * for the room of the first, asks for it, and is woken.
 */
static void
test_ring_full_wakes(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(fx_put(f, 1, 4000), 0);
	assert_true(vmbus_ring_tx_publish(&f->tx));
	assert_int_equal(fx_put(f, 2, 4000), -EAGAIN);
	vmbus_ring_tx_pending(&f->tx, vmbus_ring_footprint(4000));
	assert_true(vmbus_ring_tx_space(&f->tx) < vmbus_ring_footprint(4000));
	fx_take(f, 1, 4000);
	assert_true(vmbus_ring_rx_publish(&f->rx));
	assert_int_equal(fx_put(f, 2, 4000), 0);
	vmbus_ring_tx_pending(&f->tx, 0);
	assert_true(vmbus_ring_tx_publish(&f->tx));
	fx_take(f, 2, 4000);
	assert_false(vmbus_ring_rx_publish(&f->rx));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, fx_setup, fx_teardown)
		T(test_first_write_signals),  T(test_producer_table),  T(test_nothing_to_publish),
		T(test_consumer_halfway),     T(test_mask_and_unmask), T(test_pending_crosses_once),
		T(test_pending_batched),      T(test_pending_off),     T(test_pending_no_feature),
		T(test_pending_ignores_mask), T(test_pending_is_sane), T(test_pending_odd_values),
		T(test_pending_already_seen), T(test_ring_full_wakes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
