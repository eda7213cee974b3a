/* SPDX-License-Identifier: BSD-3-Clause */
/* Frames that the host coalesced (RSC): pieces in order, and the sum of the IP header it left. */
#include "datapath_fixture.h"

static void
coalesced(void **state)
{
	struct rte_mbuf *m[BURST];
	uint64_t r[4];

	RTE_SET_USED(state);
	r[0] = host_piece(0, RNDIS_PKTID_FIRST, 9, 0, 1400);
	r[1] = host_piece(1, 0, 9, 1400, 1400);
	r[2] = host_piece(2, RNDIS_PKTID_LAST, 9, 2800, 10);
	r[3] = host_slot(3, 3, 60, 0, NULL);
	host_xfer(1, 4, r);
	assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 2);
	assert_true((m[0]->ol_flags & RTE_MBUF_F_RX_LRO) != 0);
	assert_int_equal(m[0]->tso_segsz, 1400 - RTE_ETHER_HDR_LEN);
	expect_frame(m[0], 9, 2810);
	expect_frame(m[1], 3, 60);
	expect_ack(1, NVSP_STATUS_SUCCESS);

	/* T47: middle without first; no last; a plain frame in between. */
	host_xfer(2, 1, &r[1]);
	host_xfer(3, 2, r);
	host_xfer(4, 1, &r[2]);
	r[1] = r[3];
	host_xfer(5, 3, r);
	assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 1);
	expect_frame(m[0], 3, 60);
	assert_int_equal(fx.ch->invalid[HVN_INV_RSC], 5);
	for (uint64_t tid = 2; tid <= 5; tid++) {
		struct vmbus_ring_pkt pkt;

		assert_int_equal(host_peek(&pkt), 1);
		assert_int_equal(pkt.tid, tid);
		host_release(&pkt);
	}
}

/* Pieces that take several mbufs each. */
static void
small_mbufs(void **state)
{
	const char *why = NULL;
	struct rte_mbuf *m;
	uint64_t r[3];

	RTE_SET_USED(state);
	fx_rx_queue(fx.small, RTE_ETH_RX_OFFLOAD_SCATTER | RTE_ETH_RX_OFFLOAD_TCP_LRO);
	r[0] = host_piece(0, RNDIS_PKTID_FIRST, 9, 0, 700);
	r[1] = host_piece(1, 0, 9, 700, 1400);
	r[2] = host_piece(2, RNDIS_PKTID_LAST, 9, 2100, 1000);
	assert_true(host_xfer(1, 3, r));
	assert_int_equal(hvn_rx_burst(fx.rxq, &m, 1), 1);
	assert_int_equal(rte_mbuf_check(m, 1, &why), 0);
	assert_int_equal(m->nb_segs, (3100 + 255) / 256);
	expect_frame(m, 9, 3100);
	expect_ack(1, NVSP_STATUS_SUCCESS);
}

/* More bytes than a packet can have: what is too much is refused, with all behind it. */
static void
too_long(void **state)
{
	struct rte_mbuf *m;
	uint64_t r[60];

	RTE_SET_USED(state);
	for (uint32_t i = 0; i < RTE_DIM(r); i++)
		r[i] = host_piece(i, i == 0 ? RNDIS_PKTID_FIRST : 0, 9, 0, 1400);
	assert_true(host_xfer(1, RTE_DIM(r), r));
	assert_int_equal(hvn_rx_burst(fx.rxq, &m, 1), 0);
	assert_int_equal(fx.ch->invalid[HVN_INV_RSC], RTE_DIM(r) - HVN_LRO_MAX / 1400);
	expect_ack(1, NVSP_STATUS_FAILURE);
}

/* The payload of a segment is what it is without the tag that is put back. */
static void
tagged(void **state)
{
	const uint32_t flags = RNDIS_PKTID_SUBALLOC, vlan = RNDIS_VLAN_FROM_TCI(0x2064);
	const uint32_t first[2][2] = { { RNDIS_PPI_PACKET_ID, 1u | (flags | RNDIS_PKTID_FIRST)
									      << 8 },
				       { RNDIS_PPI_VLAN, vlan } };
	const uint32_t last[2][2] = { { RNDIS_PPI_PACKET_ID, 2u | (flags | RNDIS_PKTID_LAST) << 8 },
				      { RNDIS_PPI_VLAN, vlan } };
	struct rte_mbuf *m;
	uint64_t r[2];

	RTE_SET_USED(state);
	r[0] = host_slot(0, 5, 200, 2, first);
	r[1] = host_slot(1, 6, 100, 2, last);
	assert_true(host_xfer(1, 2, r));
	assert_int_equal(hvn_rx_burst(fx.rxq, &m, 1), 1);
	assert_int_equal(m->pkt_len, 300 + 4);
	assert_int_equal(m->tso_segsz, 200 - RTE_ETHER_HDR_LEN);
	expect_ack(1, NVSP_STATUS_SUCCESS);
	rte_pktmbuf_free(m);
}

#define OK_INVALID (RNDIS_RXCSUM_IP_OK | RNDIS_RXCSUM_IP_INVALID)

/* The first and only piece of a frame whose IPv4 header has ihl words; its sum is wrong. */
static struct rte_mbuf *
receive_ip(uint32_t checksum, bool inline_tag, bool tag, uint32_t ihl, uint32_t len)
{
	const uint32_t flags = RNDIS_PKTID_SUBALLOC | RNDIS_PKTID_FIRST | RNDIS_PKTID_LAST;
	const uint32_t ppi[3][2] = { { RNDIS_PPI_PACKET_ID, 1u | flags << 8 },
				     { RNDIS_PPI_CHECKSUM, checksum },
				     { RNDIS_PPI_VLAN, RNDIS_VLAN_FROM_TCI(0x2064) } };
	uint64_t range = host_slot(0, 5, len, tag ? 3 : 2, ppi);
	uint8_t *at = fx.recv + 256 + 12;
	struct rte_mbuf *m;

	if (inline_tag) {
		memcpy(at, "\x81\x00\x00\x65", 4);
		at += 4;
	}
	memcpy(at, "\x08\x00", 2);
	at[2] = (uint8_t)(0x40 | ihl);
	assert_true(host_xfer(1, 1, &range));
	assert_int_equal(hvn_rx_burst(fx.rxq, &m, 1), 1);
	expect_ack(1, NVSP_STATUS_SUCCESS);
	return m;
}

/* The host has checked the header of a coalesced frame, but changed its length since. */
static void
ip_sum(void **state)
{
	const uint64_t good = RTE_MBUF_F_RX_IP_CKSUM_GOOD;

	RTE_SET_USED(state);
	for (uint32_t i = 0; i < 16; i++) {
		const bool inline_tag = i & 1, tag = i & 2, invalid = i & 4;
		const uint32_t ihl = i & 8 ? 15 : 5;
		struct rte_mbuf *m = receive_ip(invalid ? OK_INVALID : RNDIS_RXCSUM_IP_OK,
						inline_tag && !tag, tag, ihl, 100);
		const uint8_t *ip = rte_pktmbuf_mtod_offset(m, uint8_t *, 14);

		if (tag || inline_tag)
			ip += 4;
		assert_int_equal(ip[0] & 15, ihl);
		assert_int_equal(rte_raw_cksum(ip, 4 * ihl) == 0xFFFF, invalid);
		assert_int_equal(m->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK, good);
		rte_pktmbuf_free(m);
	}
	/* A header that is not there, or is none: nothing is known of it, and nothing written. */
	for (uint32_t i = 0; i < 2; i++) {
		const uint32_t ihl = i == 0 ? 15 : 4;
		struct rte_mbuf *m = receive_ip(OK_INVALID, false, false, ihl, 60);
		uint8_t want[60];

		memcpy(want, fx.recv + 256, sizeof(want));
		assert_memory_equal(rte_pktmbuf_mtod(m, void *), want, sizeof(want));
		assert_int_equal(m->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK, 0);
		rte_pktmbuf_free(m);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(coalesced, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(small_mbufs, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(too_long, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(tagged, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(ip_sum, fx_big, fx_close),
	};

	if (fx_eal() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
