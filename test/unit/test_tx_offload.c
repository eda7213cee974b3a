/* SPDX-License-Identifier: BSD-3-Clause */
/* Checksums, segmentation and tags: what the host is asked for, and what is done for it. */
#include <rte_errno.h>

#include "tx_fixture.h"

/* Send a packet that somebody else holds too: its bytes must not change. */
static const uint8_t *
send_shared(struct rte_mbuf *m, struct rndis_pkt_info *info)
{
	uint8_t before[4096];
	uint32_t at = 0;

	memcpy(before, rte_pktmbuf_mtod(m, void *), m->data_len);
	rte_mbuf_refcnt_update(m, 1);
	assert_int_equal(hvn_tx_prepare(fx.txq, &m, 1), 1);
	assert_int_equal(send_one(m), 1);
	assert_true(take(&s));
	assert_memory_equal(rte_pktmbuf_mtod(m, void *), before, m->data_len);
	assert_true(host_complete(s.tid, 1));
	hvn_tx_done_cleanup(fx.txq, 0);
	rte_pktmbuf_free(m);
	return next_frame(&s, &at, info);
}

static void
checksum(void **state)
{
	RTE_SET_USED(state);
	for (uint32_t i = 0; i < 16; i++) {
		const bool tag = i & 1, tcp = i & 2, host = i & 4, big = i & 8;
		struct rndis_pkt_info info;
		const struct rte_ipv4_hdr *ip;
		const uint8_t *frame;

		fx.port.known.offload.ip4_tx.flags = host ? 0x155 : 0;
		fx.data.mtu = 2000;
		frame = send_shared(ip4_packet(tag, tcp, big ? 1731 : 33), &info);
		ip = (const struct rte_ipv4_hdr *)(frame + 14);
		assert_int_equal(frame[12] << 8 | frame[13], 0x0800);
		assert_int_equal((info.present & RNDIS_INFO_VLAN) != 0, tag);
		if (tag)
			assert_int_equal(RNDIS_VLAN_TO_TCI(info.vlan), 0xA064);
		assert_int_equal((info.present & RNDIS_INFO_CHECKSUM) != 0, host);
		assert_int_equal(s.n_ranges != 0, big);
		if (host) {
			const uint8_t *field = frame + 34 + (tcp ? 16 : 6);
			uint16_t sum = rte_ipv4_phdr_cksum(ip, 0);

			assert_int_equal(info.checksum,
					 RNDIS_TXCSUM_IPV4 | RNDIS_TXCSUM_IPHDR | 34u << 16 |
						 (tcp ? RNDIS_TXCSUM_TCP : RNDIS_TXCSUM_UDP));
			assert_memory_equal(field, &sum, 2);
			assert_int_equal(ip->hdr_checksum, 0);
		} else {
			assert_int_equal(rte_ipv4_udptcp_cksum_verify(ip, ip + 1), 0);
			assert_int_equal(rte_raw_cksum(ip, 20), 0xFFFF);
		}
	}
}

/* Ethernet, IPv6, TCP, to be cut. */
static struct rte_mbuf *
tcp6_packet(uint32_t payload)
{
	struct rte_mbuf *m = make_packet(3, 14 + 40 + 20 + payload);
	uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);
	struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)(p + 14);

	memcpy(p + 12, "\x86\xDD", 2);
	*ip = (struct rte_ipv6_hdr){ .vtc_flow = RTE_BE32(0x60000000),
				     .payload_len = rte_cpu_to_be_16((uint16_t)(20 + payload)),
				     .proto = IPPROTO_TCP,
				     .hop_limits = 64,
				     .src_addr = { 0xFD, [15] = 1 },
				     .dst_addr = { 0xFD, [15] = 2 } };
	memset(ip + 1, 0x55, 20);
	((struct rte_tcp_hdr *)(ip + 1))->data_off = 0x50;
	m->l2_len = 14;
	m->l3_len = 40;
	m->l4_len = 20;
	m->tso_segsz = 1448;
	m->ol_flags = RTE_MBUF_F_TX_IPV6 | RTE_MBUF_F_TX_TCP_SEG;
	return m;
}

/* What the host offers of one version of IP says nothing of the other. */
static void
checksum6(void **state)
{
	RTE_SET_USED(state);
	for (uint32_t host = 0; host < 2; host++) {
		struct rte_mbuf *m = tcp6_packet(100);
		struct rndis_pkt_info info;
		const struct rte_ipv6_hdr *ip;
		const uint8_t *frame;
		uint16_t sum;

		m->ol_flags = RTE_MBUF_F_TX_IPV6 | RTE_MBUF_F_TX_TCP_CKSUM;
		fx.port.known.offload.ip4_tx.flags = host ? 0 : 0x155;
		fx.port.known.offload.ip6_tx.flags = host ? 0x055 : 0;
		frame = send_shared(m, &info);
		ip = (const struct rte_ipv6_hdr *)(frame + 14);
		assert_int_equal(info.present, host ? RNDIS_INFO_CHECKSUM : 0);
		if (host) {
			sum = rte_ipv6_phdr_cksum(ip, 0);
			assert_int_equal(info.checksum,
					 RNDIS_TXCSUM_IPV6 | RNDIS_TXCSUM_TCP | 54u << 16);
			assert_memory_equal(frame + 54 + 16, &sum, 2);
		} else {
			assert_int_equal(rte_ipv6_udptcp_cksum_verify(ip, ip + 1), 0);
		}
	}
}

/* What follows the datagram in a short frame is no part of it. */
static void
padded(void **state)
{
	RTE_SET_USED(state);
	for (uint32_t i = 0; i < 4; i++) {
		const bool tcp = i & 1, host = i & 2;
		struct rte_mbuf *m = ip4_packet(false, tcp, 3);
		struct rndis_pkt_info info;
		const struct rte_ipv4_hdr *ip;
		const uint8_t *frame;
		uint16_t sum;

		memset(rte_pktmbuf_append(m, 14), 0xAA, 14);
		fx.port.known.offload.ip4_tx.flags = host ? 0x155 : 0;
		frame = send_shared(m, &info);
		ip = (const struct rte_ipv4_hdr *)(frame + 14);
		sum = rte_ipv4_phdr_cksum(ip, 0);
		if (host)
			assert_memory_equal(frame + 34 + (tcp ? 16 : 6), &sum, 2);
		else
			assert_int_equal(rte_ipv4_udptcp_cksum_verify(ip, ip + 1), 0);
	}
}

/* A tag to insert goes beside the frame, priority and all, whatever tag is in it. */
static void
one_tag(void **state)
{
	RTE_SET_USED(state);
	for (uint32_t tag = 0; tag < 2; tag++) {
		struct rte_mbuf *m = ip4_packet(tag != 0, true, 33);
		const uint32_t len = m->pkt_len;
		struct rndis_pkt_info info;
		const struct rte_ipv4_hdr *ip;
		const uint8_t *frame;

		m->ol_flags |= RTE_MBUF_F_TX_VLAN;
		m->vlan_tci = 0x7123;
		frame = send_shared(m, &info);
		/* Behind a tag the host sums nothing. */
		assert_int_equal(info.present,
				 RNDIS_INFO_VLAN | (tag != 0 ? 0 : RNDIS_INFO_CHECKSUM));
		assert_int_equal(RNDIS_VLAN_TO_TCI(info.vlan), 0x7123);
		assert_int_equal(info.data_len, len);
		if (tag == 0)
			continue;
		assert_memory_equal(frame + 12, "\x81\x00\xA0\x64", 4);
		ip = (const struct rte_ipv4_hdr *)(frame + 18);
		assert_int_equal(rte_ipv4_udptcp_cksum_verify(ip, ip + 1), 0);
		assert_int_equal(rte_raw_cksum(ip, 20), 0xFFFF);
	}
}

/* Two tags to insert: the outer one beside the frame, the inner one in it, checksums done here. */
static void
two_tags(void **state)
{
	RTE_SET_USED(state);
	fx.data.mtu = 2000;
	for (uint32_t i = 0; i < 8; i++) {
		const bool tag = i & 1, tcp = i & 2, big = i & 4;
		struct rte_mbuf *m = ip4_packet(tag, tcp, big ? 1731 : 33);
		struct rndis_pkt_info info;
		const struct rte_ipv4_hdr *ip;
		const uint8_t *frame;

		m->ol_flags |= RTE_MBUF_F_TX_QINQ | RTE_MBUF_F_TX_VLAN;
		m->vlan_tci = 0x6123;
		m->vlan_tci_outer = 0x0456;
		frame = send_shared(m, &info);
		assert_int_equal(info.present, RNDIS_INFO_VLAN);
		assert_int_equal(RNDIS_VLAN_TO_TCI(info.vlan), 0x0456);
		assert_memory_equal(frame + 12, "\x81\x00\x61\x23", 4);
		ip = (const struct rte_ipv4_hdr *)(frame + (tag ? 22 : 18));
		assert_int_equal(info.data_len,
				 (tag ? 22 : 18) + rte_be_to_cpu_16(ip->total_length));
		assert_int_equal(rte_ipv4_udptcp_cksum_verify(ip, ip + 1), 0);
		assert_int_equal(rte_raw_cksum(ip, 20), 0xFFFF);
	}
}

/* Datagrams too long, or hosts too old, are summed here; TCP is not. */
static void
untrusted_udp(void **state)
{
	struct rndis_pkt_info info;
	const struct rte_ipv4_hdr *ip;

	RTE_SET_USED(state);
	fx.port.args.udp_cksum_max = 200;
	for (uint32_t i = 0; i < 12; i++) {
		const bool tcp = i & 1, big = i & 2, old = i >= 4, ancient = i >= 8;

		fx.port.known.nvsp_version = ancient ? NVSP_VERSION_1
					     : old   ? NVSP_VERSION_4
						     : NVSP_VERSION_5;
		ip = (const struct rte_ipv4_hdr *)(send_shared(ip4_packet(false, tcp,
									  big ? 173 : 172),
							       &info) +
						   14);
		assert_int_equal(info.present & RNDIS_INFO_CHECKSUM, RNDIS_INFO_CHECKSUM);
		assert_int_equal((info.checksum & RNDIS_TXCSUM_TCP) != 0, tcp);
		assert_int_equal((info.checksum & RNDIS_TXCSUM_UDP) != 0, !tcp && !big && !old);
		if ((info.checksum & (RNDIS_TXCSUM_TCP | RNDIS_TXCSUM_UDP)) == 0)
			assert_int_equal(rte_ipv4_udptcp_cksum_verify(ip, ip + 1), 0);
	}
}

/* A host sums no fragment of a datagram; who may not be fragmented is none. */
static void
fragments(void **state)
{
	static const uint16_t offsets[] = { 0, RTE_IPV4_HDR_DF_FLAG, RTE_IPV4_HDR_MF_FLAG, 1 };

	RTE_SET_USED(state);
	for (uint32_t i = 0; i < 2 * RTE_DIM(offsets); i++) {
		const bool tcp = i & 1, whole = i / 2 < 2;
		struct rte_mbuf *m = ip4_packet(false, tcp, 33);
		struct rndis_pkt_info info;
		const struct rte_ipv4_hdr *ip;

		rte_pktmbuf_mtod_offset(m, struct rte_ipv4_hdr *, 14)->fragment_offset =
			rte_cpu_to_be_16(offsets[i / 2]);
		ip = (const struct rte_ipv4_hdr *)(send_shared(m, &info) + 14);
		assert_int_equal(info.present, RNDIS_INFO_CHECKSUM);
		assert_int_equal((info.checksum & RNDIS_TXCSUM_IPHDR) != 0, true);
		assert_int_equal((info.checksum & (RNDIS_TXCSUM_TCP | RNDIS_TXCSUM_UDP)) != 0,
				 whole);
		if (!whole)
			assert_int_equal(rte_ipv4_udptcp_cksum_verify(ip, ip + 1), 0);
	}
}

/* A sum of 0 is sent as it is by TCP; of UDP it would mean that there is none. */
static void
sum_of_zero(void **state)
{
	uint16_t sum[2];

	RTE_SET_USED(state);
	fx.port.known.offload.ip4_tx.flags = 0;
	for (uint32_t tcp = 0; tcp < 2; tcp++) {
		const uint32_t l4 = 14 + 20, payload = l4 + (tcp ? 20 : 8);

		/* A word of the payload that makes up for the rest. */
		sum[0] = 0;
		for (uint32_t i = 0; i < 2; i++) {
			struct rte_mbuf *m = ip4_packet(false, tcp != 0, 32);
			struct rndis_pkt_info info;
			const uint8_t *frame;

			memcpy(rte_pktmbuf_mtod_offset(m, uint8_t *, payload), &sum[0], 2);
			frame = send_shared(m, &info);
			memcpy(&sum[i], frame + l4 + (tcp ? 16 : 6), 2);
		}
		assert_int_not_equal(sum[0], 0);
		assert_int_equal(sum[1], tcp ? 0 : 0xFFFF);
	}
}

/* What the vectors say of the header of a large send; a single segment is none. */
static void
segmentation(void **state)
{
	struct rte_mbuf *m = ip4_packet(true, true, 1600);
	struct rndis_pkt_info info;
	const struct rte_ipv4_hdr *ip;
	const uint8_t *frame;
	uint16_t sum;

	RTE_SET_USED(state);
	m->ol_flags = RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_TCP_SEG;
	m->tso_segsz = 1448;
	frame = send_shared(m, &info);
	ip = (const struct rte_ipv4_hdr *)(frame + 14);
	assert_int_equal(info.present, RNDIS_INFO_VLAN | RNDIS_INFO_LSO);
	assert_int_equal(info.lso, 0x422005A8);
	assert_int_equal(ip->total_length, 0);
	assert_int_equal(ip->hdr_checksum, 0);
	sum = rte_ipv4_phdr_cksum(ip, RTE_MBUF_F_TX_TCP_SEG);
	assert_memory_equal(frame + 34 + 16, &sum, 2);

	m = ip4_packet(false, true, 100);
	m->ol_flags = RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_TCP_SEG;
	m->tso_segsz = 1448;
	send_shared(m, &info);
	assert_int_equal(info.present, RNDIS_INFO_CHECKSUM);
}

/* The same of IPv6; a single segment has its length also where the application left it out. */
static void
segmentation6(void **state)
{
	struct rte_mbuf *m;
	struct rndis_pkt_info info;
	const struct rte_ipv6_hdr *ip;
	const uint8_t *frame;
	uint16_t sum;

	RTE_SET_USED(state);
	frame = send_shared(tcp6_packet(1600), &info);
	ip = (const struct rte_ipv6_hdr *)(frame + 14);
	assert_int_equal(info.present, RNDIS_INFO_LSO);
	assert_int_equal(info.lso, 0xC36005A8);
	assert_int_equal(ip->payload_len, 0);
	sum = rte_ipv6_phdr_cksum(ip, RTE_MBUF_F_TX_TCP_SEG);
	assert_memory_equal(frame + 54 + 16, &sum, 2);

	m = tcp6_packet(100);
	rte_pktmbuf_mtod_offset(m, struct rte_ipv6_hdr *, 14)->payload_len = 0;
	ip = (const struct rte_ipv6_hdr *)(send_shared(m, &info) + 14);
	assert_int_equal(info.present, RNDIS_INFO_CHECKSUM);
	assert_int_equal(ip->payload_len, RTE_BE16(20 + 100));
}

/* Not more than the host cuts, of either version, and nothing behind a tag that stays in the frame. */
static void
segmentation_limits(void **state)
{
	const struct {
		uint32_t lso4_max, lso6_max;
		int rc;
		bool ip4, tag;
		uint64_t flags;
	} cases[] = {
		{ 1654, 0, 0, true, false, 0 },
		{ 1653, 62780, EINVAL, true, false, 0 },
		{ 0, 62780, ENOTSUP, true, false, 0 },
		{ 0, 1674, 0, false, false, 0 },
		{ 62780, 1673, EINVAL, false, false, 0 },
		{ 62780, 0, ENOTSUP, false, false, 0 },
		{ 1654, 0, 0, true, true, 0 },
		{ 62780, 0, 0, true, false, RTE_MBUF_F_TX_VLAN },
		{ 62780, 0, ENOTSUP, true, true, RTE_MBUF_F_TX_VLAN },
		{ 62780, 0, ENOTSUP, true, false, RTE_MBUF_F_TX_QINQ | RTE_MBUF_F_TX_VLAN },
	};
	uint64_t errors = 0;

	RTE_SET_USED(state);
	for (uint32_t i = 0; i < RTE_DIM(cases); i++) {
		struct rte_mbuf *m =
			cases[i].ip4 ? ip4_packet(cases[i].tag, true, 1600) : tcp6_packet(1600);

		if (cases[i].ip4)
			m->ol_flags = RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM |
				      RTE_MBUF_F_TX_TCP_SEG | cases[i].flags;
		m->tso_segsz = 1448;
		fx.port.known.lso4_max = cases[i].lso4_max;
		fx.port.known.lso6_max = cases[i].lso6_max;
		rte_errno = 0;
		assert_int_equal(hvn_tx_prepare(fx.txq, &m, 1), cases[i].rc == 0);
		assert_int_equal(rte_errno, cases[i].rc);
		assert_int_equal(send_one(m), 1);
		errors += cases[i].rc != 0;
		assert_int_equal(fx.txq->stats.errors, errors);
		assert_int_equal(take(&s), cases[i].rc == 0);
		if (cases[i].rc == 0)
			assert_true(host_complete(s.tid, NVSP_STATUS_SUCCESS));
	}
	hvn_tx_done_cleanup(fx.txq, 0);
}

/* While another session is opened nothing is known of it: prepare goes by the last one. */
static void
prepared_between_sessions(void **state)
{
	struct rte_mbuf *m[] = { tcp6_packet(1600), tcp6_packet(100) };

	RTE_SET_USED(state);
	memset(&fx.port.caps, 0, sizeof(fx.port.caps));
	assert_int_equal(hvn_tx_prepare(fx.txq, m, RTE_DIM(m)), RTE_DIM(m));
	rte_pktmbuf_free_bulk(m, RTE_DIM(m));
}

/* What cannot be sent is refused by prepare, which says why, and counted, not sent, by the burst. */
static void
refused(void **state)
{
	static const int why[] = { EINVAL, EINVAL,  EINVAL,  ENOTSUP, EINVAL, EINVAL,
				   EINVAL, ENOTSUP, ENOTSUP, ENOTSUP, EINVAL };
	struct rte_mbuf *m[RTE_DIM(why)];

	RTE_SET_USED(state);
	m[0] = make_packet(0, 10);
	m[1] = make_packet(0, 60);
	m[1]->ol_flags = RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_TCP_CKSUM; /* no lengths */
	m[2] = ip4_packet(false, true, 100);
	m[2]->ol_flags |= RTE_MBUF_F_TX_TCP_SEG; /* tso_segsz 0 */
	m[3] = make_packet(0, 60);
	m[3]->ol_flags = RTE_MBUF_F_TX_TUNNEL_VXLAN;
	m[4] = ip4_packet(false, true, 100);
	m[4]->l3_len = 500; /* behind the end */
	fx.data.mtu = 1500;
	for (uint32_t i = 5; i < 7; i++) {
		/* One segment longer than the MTU, and two of which the first is. */
		m[i] = ip4_packet(false, true, 1600);
		m[i]->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
		m[i]->tso_segsz = i == 5 ? 3000 : 1500;
	}
	m[7] = ip4_packet(false, false, 100);
	m[7]->ol_flags = RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_SCTP_CKSUM;
	m[8] = ip4_packet(false, false, 100);
	m[8]->ol_flags |= RTE_MBUF_F_TX_UDP_SEG;
	m[9] = ip4_packet(false, false, 100);
	m[9]->ol_flags |= RTE_MBUF_F_TX_OUTER_IP_CKSUM;
	/* A tag that l2_len leaves out: the IP header would begin in the address before it. */
	m[10] = ip4_packet(true, true, 100);
	m[10]->ol_flags = RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM;
	m[10]->l2_len = 14;
	*rte_pktmbuf_mtod_offset(m[10], uint8_t *, 10) = 0x45;
	for (uint32_t i = 0; i < RTE_DIM(why); i++) {
		rte_errno = 0;
		assert_int_equal(hvn_tx_prepare(fx.txq, &m[i], 1), 0);
		assert_int_equal(rte_errno, why[i]);
	}
	assert_int_equal(hvn_tx_burst(fx.txq, m, RTE_DIM(why)), RTE_DIM(why));
	assert_int_equal(fx.txq->stats.errors, RTE_DIM(why));
	assert_int_equal(fx.txq->stats.packets, 0);
	assert_false(take(&s));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(checksum, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(checksum6, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(padded, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(one_tag, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(two_tags, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(untrusted_udp, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(fragments, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(sum_of_zero, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(segmentation, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(segmentation6, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(segmentation_limits, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(prepared_between_sessions, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(refused, fx_big, fx_close),
	};

	if (fx_eal() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
