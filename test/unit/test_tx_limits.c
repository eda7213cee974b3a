/* SPDX-License-Identifier: BSD-3-Clause */
/* Limits of the MTU and of the host on what is sent; headers of unusual shape. */
#include "datapath_fixture.h"

#include "hvn_tx.h"
#include "hvn_txd.h"

/*
 * Longer than the MTU: not sent, whoever asked beforehand. What the host takes in one send is about
 * packed ones: a packet alone is sent however long it is.
 */
static void
too_long(void **state)
{
	const struct {
		uint32_t mtu, max, len;
		bool good;
	} cases[] = {
		{ 1500, 0, 1522, true },    { 1500, 0, 1523, false },	{ 1500, 0, 1900, false },
		{ 9000, 2000, 1900, true }, { 9000, 2000, 2000, true },
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

/* TCP headers cut at every byte: tx_prepare takes the packet, and the burst sends it summed right. */
static void
split_headers(void **state)
{
	uint8_t frame[14 + 20 + 20 + 40];
	const uint32_t n = sizeof(frame);

	RTE_SET_USED(state);
	for (uint32_t cut = 14; cut < n; cut++) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(fx.pool), *seg = rte_pktmbuf_alloc(fx.pool);
		struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(frame + 14);
		struct vmbus_ring_pkt pkt;
		struct rndis_pkt_info info;

		make_frame(frame, 3, n);
		memcpy(frame + 12, "\x08\x00", 2);
		*ip = (struct rte_ipv4_hdr){ .version_ihl = 0x45,
					     .total_length = RTE_BE16(80),
					     .next_proto_id = IPPROTO_TCP,
					     .src_addr = RTE_BE32(0x0A000001),
					     .dst_addr = RTE_BE32(0x0A000002) };
		memcpy(rte_pktmbuf_append(m, (uint16_t)cut), frame, cut);
		memcpy(rte_pktmbuf_append(seg, (uint16_t)(n - cut)), frame + cut, n - cut);
		assert_int_equal(rte_pktmbuf_chain(m, seg), 0);
		m->l2_len = 14;
		m->l3_len = m->l4_len = 20;
		m->ol_flags = RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_TCP_CKSUM;
		assert_int_equal(hvn_tx_prepare(fx.txq, &m, 1), 1);
		assert_int_equal(hvn_tx_burst(fx.txq, &m, 1), 1);
		assert_int_equal(host_peek(&pkt), 1);
		assert_int_equal(pkt.type, VMBUS_PKT_INBAND);
		const uint8_t *msg = fx.send + hv_load32(pkt.body + pkt.ext_len + 8) * SECT_SIZE;

		assert_int_equal(rndis_parse_packet(msg, hv_load32(pkt.body + pkt.ext_len + 12),
						    RNDIS_PARSE_F_STRICT, &info),
				 RNDIS_PARSE_OK);
		assert_int_equal(info.data_len, n);
		assert_true((info.present & RNDIS_INFO_CHECKSUM) != 0);
		/* But for the sums, which are the host's, all as it was. */
		memcpy(frame + 24, msg + info.data_off + 24, 2);
		memcpy(frame + 50, msg + info.data_off + 50, 2);
		assert_memory_equal(msg + info.data_off, frame, n);
		assert_int_equal(frame[50] | frame[51] << 8, rte_ipv4_phdr_cksum(ip, 0));
		host_release(&pkt);
		assert_true(host_complete(pkt.tid, NVSP_STATUS_SUCCESS));
		hvn_tx_done_cleanup(fx.txq, 0);
	}
}

/* Sum over all that an L4 checksum covers behind IPv6, but for what is added. */
static uint16_t
sum6(const struct rte_ipv6_hdr *ip, const uint8_t *l4, uint32_t len, uint32_t add)
{
	uint32_t sum = rte_raw_cksum(ip->src_addr, 32) + rte_raw_cksum(l4, len) + add;

	sum = (sum >> 16) + (sum & 0xFFFF);
	return (uint16_t)((sum >> 16) + (sum & 0xFFFF));
}

/* IPv6 with an extension header, which is no part of what is summed, here or by the host. */
static void
extension_header(void **state)
{
	enum { L3 = 40 + 8, BODY = 33 };

	RTE_SET_USED(state);
	for (uint32_t i = 0; i < 4; i++) {
		const bool tcp = i & 1, host = i & 2;
		const uint32_t l4 = tcp ? 20 : 8, len = l4 + BODY, n = 14 + L3 + len;
		struct rte_mbuf *m = rte_pktmbuf_alloc(fx.pool);
		uint8_t *at = (uint8_t *)rte_pktmbuf_append(m, (uint16_t)n);
		const uint8_t proto = tcp ? IPPROTO_TCP : IPPROTO_UDP;
		const uint8_t hop[8] = { proto, 0, 1, 4 };
		const uint32_t rest = rte_cpu_to_be_16((uint16_t)len) + rte_cpu_to_be_16(proto);
		struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)(at + 14);
		struct rndis_pkt_info info;
		struct vmbus_ring_pkt pkt;
		uint16_t field;

		fx.port.caps.offload.ip6_tx.flags = host ? 0x155 : 0;
		make_frame(at, 9, n);
		memcpy(at + 12, "\x86\xDD", 2);
		ip->vtc_flow = rte_cpu_to_be_32(6u << 28);
		ip->payload_len = rte_cpu_to_be_16((uint16_t)(sizeof(hop) + len));
		ip->proto = IPPROTO_HOPOPTS;
		memcpy(ip + 1, hop, sizeof(hop));
		m->l2_len = 14;
		m->l3_len = L3;
		m->l4_len = l4;
		m->ol_flags = RTE_MBUF_F_TX_IPV6 |
			      (tcp ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM);
		assert_int_equal(hvn_tx_burst(fx.txq, &m, 1), 1);
		assert_int_equal(host_peek(&pkt), 1);
		const uint8_t *msg = fx.send + hv_load32(pkt.body + pkt.ext_len + 8) * SECT_SIZE;

		assert_int_equal(rndis_parse_packet(msg, hv_load32(pkt.body + pkt.ext_len + 12),
						    RNDIS_PARSE_F_STRICT, &info),
				 RNDIS_PARSE_OK);
		assert_int_equal((info.present & RNDIS_INFO_CHECKSUM) != 0, host);
		msg += info.data_off + 14;
		ip = (struct rte_ipv6_hdr *)(uintptr_t)msg;
		memcpy(&field, msg + L3 + (tcp ? 16 : 6), sizeof(field));
		if (host)
			assert_int_equal(field, sum6(ip, NULL, 0, rest));
		else
			assert_int_equal(sum6(ip, msg + L3, len, rest), 0xFFFF);
		host_release(&pkt);
		assert_true(host_complete(pkt.tid, NVSP_STATUS_SUCCESS));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(too_long, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(split_headers, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(extension_header, fx_big, fx_close),
	};

	if (fx_eal() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
