/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net_netvsc moves the bytes of a frame with an 802.1Q tag, also where others hold the same
 * buffer. Ours leaves the tag out while it describes the frame: nothing of the caller's changes.
 */
#include "../unit/datapath_fixture.h"

static uint32_t
tagged(uint8_t *p, uint32_t len)
{
	make_frame(p, 1, len);
	memcpy(p + 12, "\x81\x00\x61\x23\x08\x00", 6);
	return len;
}

/* An indirect mbuf on a buffer that somebody else goes on reading. */
static void
mbuf_unchanged(void **state)
{
	RTE_SET_USED(state);
	for (uint32_t len = 60; len <= 1514; len += 1454 / 2) {
		struct rte_mbuf *owner = rte_pktmbuf_alloc(fx.pool), *m, header;
		struct vmbus_ring_pkt pkt;
		uint8_t before[1600];

		tagged((uint8_t *)rte_pktmbuf_append(owner, (uint16_t)len), len);
		m = rte_pktmbuf_alloc(fx.pool);
		rte_pktmbuf_attach(m, owner);
		memcpy(before, rte_pktmbuf_mtod(owner, void *), len);
		header = *m;
		assert_int_equal(hvn_tx_prepare(fx.txq, &m, 1), 1);
		assert_int_equal(hvn_tx_burst(fx.txq, &m, 1), 1);
		assert_memory_equal(rte_pktmbuf_mtod(owner, void *), before, len);
		assert_int_equal(host_peek(&pkt), 1);
		/* Not copied: it is still the caller's, as it was. */
		if (pkt.type == VMBUS_PKT_GPA_DIRECT) {
			assert_int_equal(m->data_off, header.data_off);
			assert_int_equal(m->data_len, header.data_len);
			assert_int_equal(m->pkt_len, header.pkt_len);
			assert_int_equal(m->ol_flags, header.ol_flags);
		}
		host_release(&pkt);
		assert_true(host_complete(pkt.tid, NVSP_STATUS_SUCCESS));
		hvn_tx_done_cleanup(fx.txq, 0);
		assert_memory_equal(rte_pktmbuf_mtod(owner, void *), before, len);
		assert_int_equal(rte_mbuf_refcnt_read(owner), 1);
		rte_pktmbuf_free(owner);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(mbuf_unchanged, fx_big, fx_close),
	};

	if (fx_eal() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
