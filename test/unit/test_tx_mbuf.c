/* SPDX-License-Identifier: BSD-3-Clause */
/* Whose the mbuf is: what may be written to, what goes back where, and when. */
#include "tx_fixture.h"

static unsigned int external_freed;

static void
free_external(void *addr, void *opaque)
{
	RTE_SET_USED(addr);
	RTE_SET_USED(opaque);
	external_freed++;
}

enum owner { ALONE, SHARED, INDIRECT, EXTERNAL, OWNERS };

/* The same packet as it may come; what else holds its bytes is at *other. */
static struct rte_mbuf *
owned(struct rte_mbuf *m, enum owner owner, struct rte_mbuf **other)
{
	static uint8_t mem[2048];
	static struct rte_mbuf_ext_shared_info shared;
	struct rte_mbuf *more;

	*other = NULL;
	switch (owner) {
	case SHARED:
		rte_mbuf_refcnt_update(m, 1);
		*other = m;
		return m;
	case INDIRECT:
		*other = m;
		more = rte_pktmbuf_clone(m, fx.pool);
		assert_non_null(more);
		assert_int_equal(rte_mbuf_refcnt_read(more), 1);
		return more;
	case EXTERNAL:
		shared.free_cb = free_external;
		rte_mbuf_ext_refcnt_set(&shared, 1);
		external_freed = 0;
		more = rte_pktmbuf_alloc(fx.pool);
		rte_pktmbuf_attach_extbuf(more, mem, (uintptr_t)mem, sizeof(mem), &shared);
		memcpy(rte_pktmbuf_append(more, m->data_len), rte_pktmbuf_mtod(m, void *),
		       m->data_len);
		more->ol_flags |= m->ol_flags;
		more->tx_offload = m->tx_offload;
		rte_pktmbuf_free(m);
		return more;
	default:
		return m;
	}
}

/*
 * One such packet among plain ones, which are freed together, once they are copied: it goes as they
 * do, but is freed as what it is.
 */
static void
copied(void **state)
{
	RTE_SET_USED(state);
	for (enum owner owner = ALONE; owner < OWNERS; owner++) {
		struct rte_mbuf *m[3], *other;
		uint32_t at = 0;

		for (uint32_t i = 0; i < 3; i++)
			m[i] = make_packet(i, 60);
		m[1] = owned(m[1], owner, &other);
		assert_int_equal(hvn_tx_burst(fx.txq, m, 3), 3);
		assert_int_equal(rte_mempool_avail_count(fx.pool), POOL_SIZE - (other != NULL));
		assert_int_equal(external_freed, owner == EXTERNAL);
		if (other != NULL) {
			assert_int_equal(rte_mbuf_refcnt_read(other), 1);
			rte_pktmbuf_free(other);
		}
		assert_true(take(&s));
		for (uint32_t i = 0; i < 3; i++)
			expect_plain(&s, &at, i, 60);
		assert_int_equal(at, s.len);
		assert_true(host_complete(s.tid, NVSP_STATUS_SUCCESS));
		hvn_tx_done_cleanup(fx.txq, 0);
	}
}

/* Sections are full just where the packets begin to be of another pool: each goes back to its own. */
static void
two_pools(void **state)
{
	const uint32_t n = fx.port.caps.max_packets;
	struct rte_mbuf *m[BURST];

	RTE_SET_USED(state);
	for (uint32_t i = 0; i < 2 * n; i++) {
		m[i] = rte_pktmbuf_alloc(i < n ? fx.pool : fx.small);
		make_frame((uint8_t *)rte_pktmbuf_append(m[i], 60), i, 60);
	}
	assert_int_equal(hvn_tx_burst(fx.txq, m, (uint16_t)(2 * n)), 2 * n);
	assert_int_equal(rte_mempool_avail_count(fx.small), POOL_SIZE);
	while (take(&s))
		assert_true(host_complete(s.tid, NVSP_STATUS_SUCCESS));
	hvn_tx_done_cleanup(fx.txq, 0);
}

/* A tag in the bytes of a plain packet goes beside them, and out of a copy only. */
static void
inline_tag(void **state)
{
	RTE_SET_USED(state);
	for (enum owner owner = ALONE; owner < OWNERS; owner++) {
		struct rte_mbuf *m = make_packet(5, 64), *other;
		struct rndis_pkt_info info;
		uint8_t before[64];
		const uint8_t *frame;
		uint32_t at = 0;

		memcpy(rte_pktmbuf_mtod_offset(m, uint8_t *, 12), "\x81\x00\xA0\x64", 4);
		memcpy(before, rte_pktmbuf_mtod(m, void *), sizeof(before));
		m = owned(m, owner, &other);
		assert_int_equal(hvn_tx_prepare(fx.txq, &m, 1), 1);
		assert_memory_equal(rte_pktmbuf_mtod(m, void *), before, sizeof(before));
		assert_int_equal(send_one(m), 1);
		if (other != NULL)
			assert_memory_equal(rte_pktmbuf_mtod(other, void *), before,
					    sizeof(before));
		rte_pktmbuf_free(other);
		assert_true(take(&s));
		frame = next_frame(&s, &at, &info);
		assert_int_equal(info.present, RNDIS_INFO_VLAN);
		assert_int_equal(RNDIS_VLAN_TO_TCI(info.vlan), 0xA064);
		assert_int_equal(info.data_len, 60);
		assert_memory_equal(frame, before, 12);
		assert_memory_equal(frame + 12, before + 16, 48);
		assert_true(host_complete(s.tid, NVSP_STATUS_SUCCESS));
		hvn_tx_done_cleanup(fx.txq, 0);
	}
}

/*
 * Prepared for the hardware of a VF, a packet has the sum of its pseudo header, and none of its IP
 * header; but only if nobody else has its bytes.
 */
static void
prepared(void **state)
{
	static const uint64_t flags[] = { RTE_MBUF_F_TX_UDP_CKSUM, RTE_MBUF_F_TX_TCP_CKSUM,
					  RTE_MBUF_F_TX_TCP_SEG };

	RTE_SET_USED(state);
	for (uint32_t i = 0; i < OWNERS * RTE_DIM(flags); i++) {
		const enum owner owner = i / RTE_DIM(flags);
		const uint64_t what =
			RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM | flags[i % RTE_DIM(flags)];
		const bool tcp = (what & RTE_MBUF_F_TX_L4_MASK) != RTE_MBUF_F_TX_UDP_CKSUM;
		struct rte_mbuf *m = ip4_packet(false, tcp, 1700), *other;
		const uint32_t len = m->pkt_len, field = 34 + (tcp ? 16 : 6);
		uint8_t want[2048];
		uint16_t sum;

		m->ol_flags = what;
		m->tso_segsz = 1448;
		memcpy(want, rte_pktmbuf_mtod(m, void *), len);
		if (owner == ALONE) {
			memset(want + 24, 0, 2);
			sum = rte_ipv4_phdr_cksum((const struct rte_ipv4_hdr *)(want + 14), what);
			memcpy(want + field, &sum, 2);
		}
		m = owned(m, owner, &other);
		assert_int_equal(hvn_tx_prepare(fx.txq, &m, 1), 1);
		assert_memory_equal(rte_pktmbuf_mtod(m, void *), want, len);
		rte_pktmbuf_free(m);
		rte_pktmbuf_free(other);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(copied, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(two_pools, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(inline_tag, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(prepared, fx_big, fx_close),
	};

	if (fx_eal() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
