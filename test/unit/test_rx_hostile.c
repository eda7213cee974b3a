/* SPDX-License-Identifier: BSD-3-Clause */
/* What a host may write into the ring and the receive buffer that it must not. */
#include "datapath_fixture.h"

/* T31: the packet is skipped, counted and not completed. */
static void
bad_messages(void **state)
{
	const uint64_t range = host_slot(0, 0, 60, 0, NULL);
	uint64_t ext[2] = { NVSP_RECV_BUF_ID | UINT64_C(1) << 32, range };
	uint32_t nvsp[10] = { NVSP_RNDIS };
	struct rte_mbuf *m[BURST];

	RTE_SET_USED(state);
	ext[0] ^= 1;
	host_put(VMBUS_PKT_XFER_PAGES, 1, ext, 16, nvsp, 40); /* set id */
	ext[0] ^= 1;
	ext[0] = NVSP_RECV_BUF_ID;
	host_put(VMBUS_PKT_XFER_PAGES, 2, ext, 16, nvsp, 40); /* no ranges */
	ext[0] = NVSP_RECV_BUF_ID | UINT64_C(2) << 32;
	host_put(VMBUS_PKT_XFER_PAGES, 3, ext, 16, nvsp, 40); /* ranges behind the payload */
	ext[0] = NVSP_RECV_BUF_ID | UINT64_C(0x20000001) << 32;
	host_put(VMBUS_PKT_XFER_PAGES, 4, ext, 16, nvsp, 40); /* 8 * count overflows */
	ext[0] = NVSP_RECV_BUF_ID | UINT64_C(1) << 32;
	host_put(VMBUS_PKT_XFER_PAGES, 5, ext, 16, nvsp, 0); /* no NVSP message */
	nvsp[0] = NVSP_INIT;
	host_put(VMBUS_PKT_XFER_PAGES, 6, ext, 16, nvsp, 40);
	nvsp[0] = NVSP_RNDIS;
	nvsp[1] = 2; /* channel type */
	host_put(VMBUS_PKT_XFER_PAGES, 7, ext, 16, nvsp, 40);
	assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 0);
	assert_int_equal(fx.ch->invalid[HVN_INV_XFER], 7);
	expect_silence();
	assert_int_equal(fx.ch->vc->rx.index, fx.host_tx.index);

	/* T16, T14: unknown type; payload before its descriptor's end. */
	host_put(0x33, 8, NULL, 0, nvsp, 8);
	host_put(VMBUS_PKT_INBAND, 9, NULL, 0, nvsp, 8);
	fx.host_tx.data[fx.vc.rx.index + 32 + 2] = 1;
	host_frames(10, 0, 1, 60);
	assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 1);
	expect_frame(m[0], 0, 60);
	expect_ack(10, NVSP_STATUS_SUCCESS);
	assert_int_equal(fx.ch->invalid[HVN_INV_PKT_TYPE], 1);
	assert_int_equal(fx.ch->invalid[HVN_INV_DESC], 1);
}

/* T32-T34, T37-T43: good frames around a bad range are delivered, the message fails. */
static void
bad_ranges(void **state)
{
	static const struct {
		uint32_t at, value; /* u32 of the RNDIS message that is made wrong */
	} bad[] = {
		{ 0, 2 },
		{ 4, 0 },
		{ 4, 43 },
		{ 4, SLOT_SIZE + 1 },
		{ 8, 35 },
		{ 8, SLOT_SIZE },
		{ 8, 0xFFFFFFF8u },
		{ 12, 0 },
		{ 12, 13 },
		{ 12, SLOT_SIZE },
		{ 12, 0xFFFFFFFFu },
		{ 28, 8 },
		{ 32, 1 },
		{ 32, 0xFFFFFFF0u },
	};
	const uint64_t wrong[] = {
		SLOT_SIZE | (uint64_t)(SLOT_SIZE * SLOTS) << 32,
		SLOT_SIZE + 1,
		0,
		43,
		SLOT_SIZE | UINT64_C(0xFFFFFFFF) << 32,
		0xFFFFFFFFu,
		SLOT_SIZE | (uint64_t)(SLOT_SIZE * SLOTS - 1) << 32,
	};
	const uint32_t csum[1][2] = { { RNDIS_PPI_CHECKSUM, 0 } };
	struct rte_mbuf *m[BURST];
	uint64_t ranges[3];

	RTE_SET_USED(state);
	for (uint32_t i = 0; i < RTE_DIM(bad) + RTE_DIM(wrong); i++) {
		for (uint32_t k = 0; k < 3; k++)
			ranges[k] = host_slot(k, k, 60, 1, csum);
		if (i < RTE_DIM(bad))
			memcpy(fx.recv + SLOT_SIZE + bad[i].at, &bad[i].value, 4);
		else
			ranges[1] = wrong[i - RTE_DIM(bad)];
		assert_true(host_xfer(i, 3, ranges));
		assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 2);
		expect_frame(m[0], 0, 60);
		expect_frame(m[1], 2, 60);
		expect_ack(i, NVSP_STATUS_FAILURE);
	}
	assert_int_equal(fx.rxq->stats.errors, RTE_DIM(bad) + RTE_DIM(wrong));
	/* T35: one slot twice. */
	ranges[0] = ranges[1] = host_slot(5, 5, 100, 0, NULL);
	host_xfer(99, 2, ranges);
	assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 2);
	expect_frame(m[0], 5, 100);
	expect_frame(m[1], 5, 100);
	expect_ack(99, NVSP_STATUS_SUCCESS);
}

/* T12, T13: the ring can no longer be trusted, and is not touched again. */
static void
corrupt_ring(void **state)
{
	struct rte_mbuf *m[BURST];

	RTE_SET_USED(state);
	fx.host_tx.hdr->windex = 65536 + 8;
	assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 0);
	assert_int_equal(hvn_chan_scan(fx.ch), -EIO);
	fx.host_tx.hdr->windex = 0;
	host_frames(1, 1, 1, 60);
	assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 0);
	expect_silence();
}

/* Random packets, slots and bytes: nothing is lost or read outside (run with ASan as well). */
static void
garbage(void **state)
{
	struct rte_mbuf *m[BURST];
	struct vmbus_ring_pkt pkt;
	uint64_t ext[16];
	uint32_t seed = 1;

	RTE_SET_USED(state);
	for (uint32_t round = 0; round < 20000; round++) {
		uint32_t n = (seed = seed * 1664525u + 1013904223u) >> 29;

		ext[0] = NVSP_RECV_BUF_ID | (uint64_t)n << 32;
		for (uint32_t i = 1; i < RTE_DIM(ext); i++) {
			uint32_t slot = (seed = seed * 1664525u + 1013904223u) % SLOTS;

			ext[i] = host_piece(slot, (uint8_t)(seed >> 20) & 6, slot, 0,
					    (seed >> 8) % 1500);
			if ((seed & 0x700) == 0)
				fx.recv[slot * SLOT_SIZE + (seed >> 24) % 64] ^= (uint8_t)seed;
			if ((seed & 0xF000) == 0)
				ext[i] = (uint64_t)seed << 24;
		}
		host_put((seed >> 16) % 13 ? VMBUS_PKT_XFER_PAGES : (uint16_t)(seed >> 12) % 14,
			 (uint64_t)seed << 21, ext, 8 + 8 * n, nvsp_data, seed % 41);
		uint16_t got = hvn_rx_burst(fx.rxq, m, 1 + seed % BURST);

		for (uint16_t i = 0; i < got; i++)
			rte_mbuf_sanity_check(m[i], 1);
		rte_pktmbuf_free_bulk(m, got);
		if (round % 7 == 0)
			hvn_chan_scan(fx.ch);
		while (host_peek(&pkt) == 1)
			host_release(&pkt);
		fx.n_inbound = 0;
	}
	assert_int_equal(fx.vc.rx.error, 0);
}

/*
 * The host takes no completion, and sends what has to be completed at once behind a message that is
 * half delivered: the completions owed stay within their bounds.
 */
static void
owed(void **state)
{
	/* Control messages, outside the buffer: completed at once. */
	const uint64_t ext[2] = { NVSP_RECV_BUF_ID | UINT64_C(1) << 32,
				  SLOT_SIZE | UINT64_C(0xFFFFFF00) << 32 };
	const uint32_t nvsp[10] = { NVSP_RNDIS, NVSP_CHANNEL_CONTROL };
	struct rte_mbuf *m[BURST];
	uint32_t tid = 1;

	RTE_SET_USED(state);
	while (fx.ch->n_acks < HVN_ACKS_MAX - 2) {
		assert_true(host_frames(tid, tid, 1, 60));
		tid++;
		assert_int_equal(hvn_rx_burst(fx.rxq, m, 1), 1);
		rte_pktmbuf_free(m[0]);
	}
	assert_true(host_frames(tid++, 500, 2, 60));
	assert_int_equal(hvn_rx_burst(fx.rxq, m, 1), 1);
	rte_pktmbuf_free(m[0]);
	for (uint32_t i = 0; i < 4; i++)
		assert_true(host_put(VMBUS_PKT_XFER_PAGES, tid++, ext, sizeof(ext), nvsp,
				     sizeof(nvsp)));
	assert_true(hvn_biased_try(&fx.ch->in_lock));
	hvn_chan_scan_locked(fx.ch);
	hvn_biased_release(&fx.ch->in_lock);
	assert_in_range(fx.ch->n_acks, HVN_ACKS_MAX - 2, HVN_ACKS_MAX - 1);
	assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 1);
	rte_pktmbuf_free(m[0]);
	assert_true(fx.ch->n_acks <= HVN_ACKS_MAX);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(bad_messages, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(bad_ranges, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(corrupt_ring, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(owed, fx_tiny, fx_close),
		cmocka_unit_test_setup_teardown(garbage, fx_big, fx_close),
	};

	if (fx_eal() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
