/* SPDX-License-Identifier: BSD-3-Clause */
/* An application that forwards: completions of what it sent, between messages of frames. */
#include "datapath_fixture.h"

#define ITEMS 5u

static uint64_t
send_packet(void)
{
	struct rte_mbuf *m = make_packet(1, 60);
	struct vmbus_ring_pkt pkt;
	uint64_t tid;

	assert_int_equal(hvn_tx_burst(fx.txq, &m, 1), 1);
	assert_int_equal(host_peek(&pkt), 1);
	tid = pkt.tid;
	host_release(&pkt);
	return tid;
}

/* A message of frames with the usual record. */
static void
offer(uint64_t tid, uint32_t *id, uint32_t n)
{
	const uint32_t ppi[1][2] = { { RNDIS_PPI_CHECKSUM, RNDIS_RXCSUM_IP_OK } };
	uint64_t ranges[4];

	for (uint32_t i = 0; i < n; i++, (*id)++)
		ranges[i] = host_slot(*id % SLOTS, *id, 60, 1, ppi);
	assert_true(host_xfer(tid, n, ranges));
}

/* Every order of short and long messages, completions, and those of a failure. */
static void
every_order(void **state)
{
	struct rte_mbuf *m[BURST];
	uint32_t id = 0, failed = 0, done = 0;

	RTE_SET_USED(state);
	for (uint32_t order = 0; order < 1u << 2 * ITEMS; order++) {
		uint32_t seen = id, want[ITEMS], messages = 0;
		uint64_t sent[ITEMS];

		for (uint32_t i = 0; i < ITEMS; i++)
			sent[i] = send_packet();
		for (uint32_t i = 0; i < ITEMS; i++) {
			const uint32_t kind = order >> 2 * i & 3;

			if (kind < 2) {
				offer(i, &id, kind == 0 ? 4 : 1);
				want[messages++] = i;
			} else {
				assert_true(host_complete(sent[i], kind == 2
									   ? NVSP_STATUS_SUCCESS
									   : NVSP_STATUS_FAILURE));
				failed += kind == 3;
				sent[i] = 0;
			}
		}
		/* With room to spare, and without. */
		uint16_t n = hvn_rx_burst(fx.rxq, m, (uint16_t)(order & 1 ? BURST : id - seen));

		assert_int_equal(n, id - seen);
		for (uint16_t i = 0; i < n; i++)
			expect_frame(m[i], seen++, 60);
		assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 0);
		for (uint32_t i = 0; i < messages; i++)
			expect_ack(want[i], NVSP_STATUS_SUCCESS);
		for (uint32_t i = 0; i < ITEMS; i++)
			if (sent[i] != 0)
				assert_true(host_complete(sent[i], NVSP_STATUS_SUCCESS));
		done += ITEMS;
		assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 0);
		assert_int_equal(fx.txq->stats.completions, done);
		assert_int_equal(fx.txq->stats.failed, failed);
	}
	hvn_tx_done_cleanup(fx.txq, 0);
	assert_int_equal(hvn_txd_used(fx.txq->txd), 0);
	assert_int_equal(fx.ch->invalid[HVN_INV_COMPLETION], 0);
	assert_int_equal(rte_mempool_avail_count(fx.pool), POOL_SIZE);
}

/* Completions alone, and of nothing, cost no mbuf. */
static void
alone(void **state)
{
	struct rte_mbuf *m[BURST];
	uint64_t tid = send_packet();

	RTE_SET_USED(state);
	assert_true(host_complete(tid, NVSP_STATUS_SUCCESS));
	assert_true(host_complete(tid, NVSP_STATUS_SUCCESS));
	assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 0);
	assert_int_equal(fx.txq->stats.completions, 1);
	assert_int_equal(fx.ch->invalid[HVN_INV_COMPLETION], 1);
	hvn_tx_done_cleanup(fx.txq, 0);
	assert_int_equal(rte_mempool_avail_count(fx.pool), POOL_SIZE);
	assert_int_equal(fx.host_tx.hdr->rindex, fx.vc.rx.index);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_order, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(alone, fx_big, fx_close),
	};

	if (fx_eal() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
