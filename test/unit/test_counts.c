/* SPDX-License-Identifier: BSD-3-Clause */
/* What is counted, where, and when. */
#include "datapath_fixture.h"

#include "hvn_rx.h"
#include "hvn_tx.h"

/* A message counts once, however many bursts it takes and how often mbufs were short meanwhile. */
static void
messages_counted(void **state)
{
	struct rte_mbuf *all[POOL_SIZE], *m[BURST];

	RTE_SET_USED(state);
	assert_true(host_frames(1, 0, 8, 60));
	assert_int_equal(rte_mempool_get_bulk(fx.pool, (void **)all, POOL_SIZE), 0);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 0);
	rte_mempool_put_bulk(fx.pool, (void **)all, POOL_SIZE);
	for (uint32_t i = 0; i < 4; i++) {
		assert_int_equal(hvn_rx_burst(fx.rxq, m, 2), 2);
		rte_pktmbuf_free_bulk(m, 2);
	}
	assert_int_equal(fx.rxq->stats.messages, 1);
	/* The burst ends in the middle of the second. */
	assert_true(host_frames(2, 0, 8, 60));
	assert_true(host_frames(3, 8, 8, 60));
	assert_int_equal(hvn_rx_burst(fx.rxq, m, 12), 12);
	rte_pktmbuf_free_bulk(m, 12);
	assert_int_equal(hvn_rx_burst(fx.rxq, m, 12), 4);
	rte_pktmbuf_free_bulk(m, 4);
	assert_int_equal(fx.rxq->stats.messages, 3);
	/* The first of one of several frames is usual, the second is not. */
	const uint32_t ppi[1][2] = { { 77, 0 } };
	const uint64_t range[2] = { host_slot(0, 0, 60, 0, NULL), host_slot(1, 1, 60, 1, ppi) };

	assert_true(host_xfer(4, 2, range));
	assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 2);
	rte_pktmbuf_free_bulk(m, 2);
	assert_int_equal(fx.rxq->stats.messages, 4);
}

/*
 * B27: a frame counts as received when the application has it: not while it waits in the ring, not
 * if it is refused or dropped. Each is counted in one place.
 */
static void
received(void **state)
{
	const struct hvn_rx_stats *st = &fx.rxq->stats;
	struct rte_mbuf *all[POOL_SIZE], *m[BURST];
	const uint64_t bad = SLOT_SIZE + 1;

	RTE_SET_USED(state);
	assert_true(host_frames(1, 0, 8, 60));
	assert_int_equal(hvn_rx_queue_count(fx.rxq), 8);
	assert_int_equal(st->packets, 0);
	assert_int_equal(hvn_rx_burst(fx.rxq, m, 3), 3);
	rte_pktmbuf_free_bulk(m, 3);
	assert_int_equal(st->packets, 3);
	assert_int_equal(st->bytes, 180);
	/* No mbufs: none of the rest. */
	assert_int_equal(rte_mempool_get_bulk(fx.pool, (void **)all, POOL_SIZE), 0);
	assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 0);
	assert_int_equal(hvn_chan_scan(fx.ch), 0);
	rte_mempool_put_bulk(fx.pool, (void **)all, POOL_SIZE);
	assert_int_equal(st->packets, 3);
	assert_int_equal(st->nombuf, 1);
	/* Refused. */
	assert_true(host_xfer(2, 1, &bad));
	assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 5);
	rte_pktmbuf_free_bulk(m, 5);
	assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 0);
	assert_int_equal(st->packets, 8);
	assert_int_equal(st->errors, 1);
	/* Dropped, with the port stopped. */
	assert_true(host_frames(3, 0, 4, 60));
	fx.port.running = false;
	assert_true(hvn_chan_scan(fx.ch) > 0);
	assert_int_equal(st->packets, 8);
	assert_int_equal(st->bytes, 480);
	assert_int_equal(st->dropped, 4);
	assert_int_equal(st->errors, 1);
}

/*
 * B27: a packet counts as sent when the driver has taken it and put it before the host, once,
 * whenever its completion comes; one that is refused or left to the application does not.
 */
static void
sent(void **state)
{
	const struct hvn_tx_stats *st = &fx.txq->stats;
	struct rte_mbuf *m[3] = { make_packet(7, 60), make_packet(7, 13), make_packet(7, 1700) };
	struct vmbus_ring_pkt pkt;
	uint64_t tid[2];

	RTE_SET_USED(state);
	assert_int_equal(hvn_tx_burst(fx.txq, m, 3), 3); /* the second is no frame */
	assert_int_equal(st->packets, 2);
	assert_int_equal(st->bytes, 1760);
	assert_int_equal(st->errors, 1);
	assert_int_equal(st->copied, 1);
	assert_int_equal(st->direct, 1);
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(host_peek(&pkt), 1);
		tid[i] = pkt.tid;
		host_release(&pkt);
	}
	expect_silence();
	for (uint32_t i = 0; i < 2; i++) {
		assert_true(
			host_complete(tid[i], i == 0 ? NVSP_STATUS_SUCCESS : NVSP_STATUS_FAILURE));
		hvn_tx_done_cleanup(fx.txq, 0);
		assert_int_equal(st->packets, 2);
		assert_int_equal(st->completions, 1 + i);
		assert_int_equal(st->failed, i);
	}
	/* No room: what the burst did not take is not counted. */
	while (vmbus_ring_tx_put(&fx.vc.tx, VMBUS_PKT_INBAND, 0, 7, NULL, 0, "nothing", 8) == 0)
		;
	for (uint32_t i = 0; i < 3; i++)
		m[i] = make_packet(7, 1700);
	assert_int_equal(hvn_tx_burst(fx.txq, m, 3), 0);
	rte_pktmbuf_free_bulk(m, 3);
	assert_int_equal(st->packets, 2);
	assert_int_equal(st->bytes, 1760);
	assert_int_equal(st->errors, 1);
	assert_int_equal(st->ring_full, 1);
	m[0] = make_packet(7, 60);
	assert_int_equal(hvn_tx_burst(fx.txq, m, 1), 0);
	rte_pktmbuf_free(m[0]);
	assert_int_equal(st->ring_full, 2);
	assert_int_equal(st->packets, 2);
}

/* Frames for several are counted as such, beside the others. */
static void
groups(void **state)
{
	static const uint8_t to[][6] = {
		{ 0x00, 0x15, 0x5D, 0, 0, 1 },		{ 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF },
		{ 0x01, 0x00, 0x5E, 0, 0, 1 },		{ 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFE },
		{ 0xFF, 0xFF, 0xFE, 0xFF, 0xFF, 0xFF }, { 0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF }
	};
	const struct hvn_rx_stats *st = &fx.rxq->stats;
	struct rte_mbuf *m[BURST];

	RTE_SET_USED(state);
	assert_true(host_frames(1, 0, RTE_DIM(to), 60));
	for (uint32_t i = 0; i < RTE_DIM(to); i++)
		memcpy(fx.recv + i * SLOT_SIZE + 256, to[i], sizeof(to[i]));
	assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), RTE_DIM(to));
	rte_pktmbuf_free_bulk(m, RTE_DIM(to));
	assert_int_equal(st->packets, RTE_DIM(to));
	assert_int_equal(st->broadcast, 1);
	assert_int_equal(st->multicast, 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(messages_counted, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(received, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(groups, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(sent, fx_big, fx_close),
	};

	if (fx_eal() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
