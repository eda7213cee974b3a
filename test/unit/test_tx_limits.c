/* SPDX-License-Identifier: BSD-3-Clause */
/* Limits of the MTU and of the host on what is sent. */
#include "datapath_fixture.h"

#include "hvn_tx.h"
#include "hvn_txd.h"

/* Longer than the MTU, or than the host takes in one send: not sent, whoever asked beforehand. */
static void
too_long(void **state)
{
	const struct {
		uint32_t mtu, max, len;
		bool good;
	} cases[] = {
		{ 1500, 0, 1522, true },    { 1500, 0, 1523, false },	 { 1500, 0, 1900, false },
		{ 9000, 2000, 1900, true }, { 9000, 2000, 2000, false },
	};

	RTE_SET_USED(state);
	for (unsigned int i = 0; i < RTE_DIM(cases); i++) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(fx.pool);
		struct vmbus_ring_pkt pkt;
		uint64_t errors = fx.txq->stats.errors;

		make_frame((uint8_t *)rte_pktmbuf_append(m, (uint16_t)cases[i].len), 1,
			   cases[i].len);
		fx.data.mtu = (uint16_t)cases[i].mtu;
		fx.port.caps.max_transfer = cases[i].max;
		hvn_txd_start(fx.txq);
		assert_int_equal(hvn_tx_prepare(fx.txq, &m, 1), cases[i].good);
		assert_int_equal(hvn_tx_burst(fx.txq, &m, 1), 1);
		assert_int_equal(fx.txq->stats.errors, errors + !cases[i].good);
		assert_int_equal(host_peek(&pkt), cases[i].good);
		if (!cases[i].good)
			continue;
		host_release(&pkt);
		host_complete(pkt.tid, NVSP_STATUS_SUCCESS);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(too_long, fx_big, fx_close),
	};

	if (fx_eal() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
