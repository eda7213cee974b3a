/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net_netvsc keeps page numbers in 32 bits: memory above 16 TiB, and in IOVA-as-VA mode most of a
 * process's, is sent from another place. Ours have 64.
 */
#include "../unit/datapath_fixture.h"

static void
page_numbers(void **state)
{
	static const uint64_t bases[] = { UINT64_C(0x00000FFFFFFF8000),
					  UINT64_C(0x0000100000000000),
					  UINT64_C(0x00007FABCDEF0000),
					  UINT64_C(0x000FEDCBA9870000) };
	struct vmbus_ring_pkt pkt;
	struct rte_mbuf *m;

	RTE_SET_USED(state);
	for (unsigned int i = 0; i < RTE_DIM(bases); i++) {
		uint64_t at, iova;
		const uint8_t *range;

		m = rte_pktmbuf_alloc(fx.pool);
		make_frame((uint8_t *)rte_pktmbuf_append(m, 2000), 1, 2000);
		iova = m->buf_iova;
		m->buf_iova = bases[i];
		assert_int_equal(hvn_tx_burst(fx.txq, &m, 1), 1);
		assert_int_equal(host_peek(&pkt), 1);
		assert_int_equal(pkt.type, VMBUS_PKT_GPA_DIRECT);
		/* Two ranges: the header on one page, which may have the first bytes, the frame. */
		assert_int_equal(hv_load32(pkt.body + 4), 2);
		range = pkt.body + 8 + 16;
		at = bases[i] + m->data_off + 2000 - hv_load32(range);
		assert_int_equal(hv_load32(range + 4), at & HV_PAGE_MASK);
		assert_int_equal(hv_load64(range + 8), at >> HV_PAGE_SHIFT);
		host_release(&pkt);
		m->buf_iova = iova;
		assert_true(host_complete(pkt.tid, NVSP_STATUS_SUCCESS));
		hvn_tx_done_cleanup(fx.txq, 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(page_numbers, fx_big, fx_close),
	};

	if (fx_eal() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
