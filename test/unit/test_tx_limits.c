/* SPDX-License-Identifier: BSD-3-Clause */
/* Limits of the MTU and of the host on what is sent; headers of unusual shape. */
#include <rte_errno.h>

#include "tx_fixture.h"

#include "hvn_tx.h"
#include "hvn_txd.h"

/*
 * Longer than the MTU with two tags in the bytes that the host gets: not sent, whoever asked
 * beforehand. What the host takes in one send is about packed ones: a packet alone is sent however
 * long it is.
 */
static void
too_long(void **state)
{
	const struct {
		uint32_t mtu, max, len;
		bool good, tag; /* tag: one in the packet, which travels beside it */
		uint64_t flags;
	} cases[] = {
		{ 1500, 0, 1522, true, false, 0 },
		{ 1500, 0, 1523, false, false, 0 },
		{ 1500, 0, 1900, false, false, 0 },
		{ 9000, 2000, 1900, true, false, 0 },
		{ 9000, 2000, 2000, true, false, 0 },
		{ 1500, 0, 1526, true, true, 0 },
		{ 1500, 0, 1527, false, true, 0 },
		{ 1500, 0, 1522, true, true, RTE_MBUF_F_TX_VLAN },
		{ 1500, 0, 1523, false, true, RTE_MBUF_F_TX_VLAN },
		{ 1500, 0, 1518, true, false, RTE_MBUF_F_TX_QINQ | RTE_MBUF_F_TX_VLAN },
		{ 1500, 0, 1519, false, false, RTE_MBUF_F_TX_QINQ | RTE_MBUF_F_TX_VLAN },
	};

	RTE_SET_USED(state);
	for (unsigned int i = 0; i < RTE_DIM(cases); i++) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(fx.pool);
		struct vmbus_ring_pkt pkt;
		uint64_t errors = fx.txq->stats.errors;

		make_frame((uint8_t *)rte_pktmbuf_append(m, (uint16_t)cases[i].len), 1,
			   cases[i].len);
		if (cases[i].tag)
			memcpy(rte_pktmbuf_mtod_offset(m, uint8_t *, 12), "\x81\x00", 2);
		m->ol_flags = cases[i].flags;
		fx.data.mtu = (uint16_t)cases[i].mtu;
		fx.port.known.max_transfer = cases[i].max;
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

/* No more messages in one send than the host takes, nor more bytes, nor than a section has. */
static void
packed(void **state)
{
	static const struct {
		uint32_t max_transfer, max_packets, len, together;
	} cases[] = {
		{ 544, 8, 200, 2 },
		{ 0, 3, 60, 3 },
		{ 0, 64, 1400, SECT_SIZE / 1400 },
	};

	RTE_SET_USED(state);
	for (uint32_t i = 0; i < 2 * RTE_DIM(cases); i++) {
		const bool plain = i & 1;
		const uint32_t c = i / 2, len = cases[c].len;
		struct rte_mbuf *m[12];
		uint32_t id = 0;

		fx.port.known.max_transfer = cases[c].max_transfer;
		fx.port.caps.max_packets = cases[c].max_packets;
		hvn_txd_start(fx.txq);
		for (uint32_t j = 0; j < RTE_DIM(m); j++) {
			m[j] = make_packet(j, len);
			m[j]->ol_flags |= plain ? 0 : RTE_MBUF_F_TX_VLAN;
		}
		assert_int_equal(hvn_tx_burst(fx.txq, m, RTE_DIM(m)), RTE_DIM(m));
		while (take(&s)) {
			const uint32_t first = id;

			for (uint32_t at = 0; at < s.len; id++)
				expect_plain(&s, &at, id, len);
			assert_int_equal(id - first, cases[c].together);
			assert_true(host_complete(s.tid, NVSP_STATUS_SUCCESS));
		}
		assert_int_equal(id, RTE_DIM(m));
		hvn_tx_done_cleanup(fx.txq, 0);
	}
}

static void
keep(void *addr, void *opaque)
{
	RTE_SET_USED(addr);
	RTE_SET_USED(opaque);
}

/* Pieces of len bytes, each across the end of a page, in memory of the test. */
static struct rte_mbuf *
pieces(uint32_t n, uint32_t len)
{
	enum { PAGES = 4 };
	static struct rte_mbuf_ext_shared_info shared;
	static uint8_t *mem;
	struct rte_mbuf *m = NULL, *seg;
	uint8_t *at;

	if (mem == NULL)
		mem = rte_zmalloc(NULL, 40 * PAGES * HV_PAGE_SIZE, HV_PAGE_SIZE);
	assert_non_null(mem);
	assert_true(len < PAGES * HV_PAGE_SIZE && n <= 40);
	shared.free_cb = keep;
	rte_mbuf_ext_refcnt_set(&shared, (uint16_t)n);
	for (uint32_t i = 0; i < n; i++) {
		at = mem + (i * PAGES + 2) * HV_PAGE_SIZE - len / 2;
		for (uint32_t j = 0; j < len; j++)
			at[j] = pattern(3, i * len + j);
		seg = rte_pktmbuf_alloc(fx.small);
		assert_non_null(seg);
		rte_pktmbuf_attach_extbuf(seg, at, (uintptr_t)at, (uint16_t)len, &shared);
		rte_pktmbuf_append(seg, (uint16_t)len);
		if (m == NULL)
			m = seg;
		else
			assert_int_equal(rte_pktmbuf_chain(m, seg), 0);
	}
	return m;
}

/*
 * As many pieces as a message may have, with its header, are read in place, up to the longest
 * frame there is; of more they are copied, if they fit a section.
 */
static void
most_pieces(void **state)
{
	static const struct {
		uint32_t n, len;
		bool good;
	} cases[] = {
		{ HVN_TX_SEGS_MAX, 2000, true },      { HVN_TX_SEGS_MAX, 2114, true },
		{ HVN_TX_SEGS_MAX, 100, true },	      { HVN_TX_SEGS_MAX + 1, 100, true },
		{ HVN_TX_SEGS_MAX + 1, 2000, false }, { 15, UINT16_MAX / 15, true },
		{ 16, (UINT16_MAX + 1) / 16, false },
	};

	RTE_SET_USED(state);
	fx.data.mtu = UINT16_MAX;
	for (uint32_t i = 0; i < RTE_DIM(cases); i++) {
		const bool good = cases[i].good;
		struct rte_mbuf *m = pieces(cases[i].n, cases[i].len);
		const uint64_t errors = fx.txq->stats.errors;
		struct rndis_pkt_info info;
		const uint8_t *frame;
		uint32_t at = 0;

		rte_errno = 0;
		assert_int_equal(hvn_tx_prepare(fx.txq, &m, 1), good);
		assert_int_equal(rte_errno, good ? 0 : EINVAL);
		assert_int_equal(send_one(m), 1);
		assert_int_equal(fx.txq->stats.errors, errors + !good);
		assert_int_equal(take(&s), good);
		if (!good)
			continue;
		assert_int_equal(s.n_ranges, cases[i].n > HVN_TX_SEGS_MAX ? 0 : cases[i].n + 1);
		frame = next_frame(&s, &at, &info);
		assert_int_equal(info.data_len, cases[i].n * cases[i].len);
		for (uint32_t j = 0; j < info.data_len; j++)
			assert_int_equal(frame[j], pattern(3, j));
		assert_true(host_complete(s.tid, NVSP_STATUS_SUCCESS));
		hvn_tx_done_cleanup(fx.txq, 0);
	}
}

/* A frame of IPv4 and TCP without options, up to its end. */
static void
tcp_frame(uint8_t *frame, uint32_t len)
{
	const struct rte_ipv4_hdr ip = { .version_ihl = 0x45,
					 .total_length = rte_cpu_to_be_16((uint16_t)(len - 14)),
					 .next_proto_id = IPPROTO_TCP,
					 .src_addr = RTE_BE32(0x0A000001),
					 .dst_addr = RTE_BE32(0x0A000002) };

	make_frame(frame, 3, len);
	memcpy(frame + 12, "\x08\x00", 2);
	memcpy(frame + 14, &ip, sizeof(ip));
	frame[14 + 20 + 12] = 0x50;
}

/*
 * TCP headers cut at every byte: tx_prepare takes the packet, writes nothing behind the cut, and the
 * burst sends it summed right; also with TCP options, and where nobody says how long its header is.
 */
static void
split_headers(void **state)
{
	static const uint8_t l4_len[] = { 20, 32, 0 };
	uint8_t frame[14 + 20 + 20 + 40];
	const uint32_t n = sizeof(frame);
	uint8_t behind[64];

	RTE_SET_USED(state);
	memset(behind, 0xEE, sizeof(behind));
	for (uint32_t i = 0; i < (n - 14) * RTE_DIM(l4_len); i++) {
		const uint32_t cut = 14 + i % (n - 14), told = l4_len[i / (n - 14)];
		struct rte_mbuf *m = rte_pktmbuf_alloc(fx.pool), *seg = rte_pktmbuf_alloc(fx.pool);
		const struct rte_ipv4_hdr *ip = (const struct rte_ipv4_hdr *)(frame + 14);
		struct vmbus_ring_pkt pkt;
		struct rndis_pkt_info info;

		tcp_frame(frame, n);
		frame[14 + 20 + 12] = told == 32 ? 0x80 : 0x50;
		memcpy(rte_pktmbuf_append(m, (uint16_t)cut), frame, cut);
		memset(rte_pktmbuf_mtod_offset(m, uint8_t *, cut), 0xEE, sizeof(behind));
		memcpy(rte_pktmbuf_append(seg, (uint16_t)(n - cut)), frame + cut, n - cut);
		assert_int_equal(rte_pktmbuf_chain(m, seg), 0);
		m->l2_len = 14;
		m->l3_len = 20;
		m->l4_len = told;
		m->ol_flags = RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_TCP_CKSUM;
		assert_int_equal(hvn_tx_prepare(fx.txq, &m, 1), 1);
		assert_memory_equal(rte_pktmbuf_mtod_offset(m, uint8_t *, cut), behind,
				    sizeof(behind));
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

/* Header lengths that are not those of the packet, which goes out as one segment or as several. */
static void
contradicted(void **state)
{
	static const struct {
		uint8_t l3_len, l4_len, version_ihl, data_off;
		int16_t total; /* added to the IP header's */
	} cases[] = {
		{ 20, 20, 0x45, 0x50, 0 }, /* the one that is right */
		{ 20, 0, 0x45, 0x50, 0 },     { 20, 19, 0x45, 0x50, 0 },
		{ 20, 24, 0x45, 0x50, 0 },    { 20, 61, 0x45, 0x50, 0 },
		{ 20, 255, 0x45, 0x50, 0 },   { 20, 20, 0x45, 0x80, 0 },
		{ 20, 20, 0x45, 0x40, 0 },    { 24, 20, 0x45, 0x50, 0 },
		{ 20, 20, 0x46, 0x50, 0 },    { 20, 20, 0x65, 0x50, 0 },
		{ 20, 20, 0x45, 0x50, 1 },    { 20, 20, 0x45, 0x50, -101 },
		{ 20, 20, 0x45, 0x50, -140 },
	};
	uint64_t errors = 0;

	RTE_SET_USED(state);
	fx.data.mtu = 1500;
	for (uint32_t i = 0; i < 2 * RTE_DIM(cases); i++) {
		const uint32_t c = i / 2, payload = 100, segsz = i & 1 ? 60 : 1000;
		struct rte_mbuf *m = rte_pktmbuf_alloc(fx.pool);
		uint8_t *frame = (uint8_t *)rte_pktmbuf_append(m, 54 + payload);
		struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(frame + 14);
		struct vmbus_ring_pkt pkt;

		/* What is cut into pieces needs no IP length: each has its own. None may be said. */
		const bool good = c == 0 || cases[c].total == -140 ||
				  (cases[c].total != 0 && segsz < payload);

		tcp_frame(frame, 54 + payload);
		m->ol_flags = RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_TCP_SEG;
		m->l2_len = 14;
		m->tso_segsz = (uint16_t)segsz;
		m->l3_len = cases[c].l3_len;
		m->l4_len = cases[c].l4_len;
		ip->version_ihl = cases[c].version_ihl;
		frame[14 + 20 + 12] = cases[c].data_off;
		ip->total_length = rte_cpu_to_be_16((uint16_t)(40 + payload + cases[c].total));
		assert_int_equal(hvn_tx_prepare(fx.txq, &m, 1), good);
		assert_int_equal(hvn_tx_burst(fx.txq, &m, 1), 1);
		errors += !good;
		assert_int_equal(fx.txq->stats.errors, errors);
		assert_int_equal(host_peek(&pkt), good);
		if (!good)
			continue;
		host_release(&pkt);
		assert_true(host_complete(pkt.tid, NVSP_STATUS_SUCCESS));
	}
	hvn_tx_done_cleanup(fx.txq, 0);
}

/* Sum over all that an L4 checksum covers, but for what is added. */
static uint16_t
sum_l4(const uint8_t *l3, bool ip4, const uint8_t *l4, uint32_t len, uint32_t add)
{
	uint32_t sum = rte_raw_cksum(l3 + (ip4 ? 12 : 8), ip4 ? 8 : 32) + rte_raw_cksum(l4, len);

	sum += add;
	sum = (sum >> 16) + (sum & 0xFFFF);
	return (uint16_t)((sum >> 16) + (sum & 0xFFFF));
}

/* IPv4 with an option of 4 bytes, IPv6 with an extension header of 8. */
static uint32_t
options_header(uint8_t *at, bool ip4, uint8_t proto, uint32_t len)
{
	const uint8_t hop[8] = { proto, 0, 1, 4 };
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)at;
	struct rte_ipv6_hdr *ip6 = (struct rte_ipv6_hdr *)at;

	if (ip4) {
		memset(at, 0, 24);
		memcpy(at + 20, "\x94\x04\0\0", 4); /* router alert */
		ip->version_ihl = 0x46;
		ip->total_length = rte_cpu_to_be_16((uint16_t)(24 + len));
		ip->next_proto_id = proto;
		ip->src_addr = RTE_BE32(0x0A000001);
		ip->dst_addr = RTE_BE32(0x0A000002);
		return 24;
	}
	ip6->vtc_flow = rte_cpu_to_be_32(6u << 28);
	ip6->payload_len = rte_cpu_to_be_16((uint16_t)(sizeof(hop) + len));
	ip6->proto = IPPROTO_HOPOPTS;
	memcpy(ip6 + 1, hop, sizeof(hop));
	return 48;
}

/*
 * Options are no part of what is summed, here or by the host, which is asked only if it says that it
 * can do with them. Who has the IP header alone summed may leave them out of its length.
 */
static void
ip_options(void **state)
{
	enum { BODY = 33 };

	RTE_SET_USED(state);
	for (uint32_t i = 0; i < 14; i++) {
		const bool alone = i >= 12, host = i >= 8 && i != 12;
		const bool tcp = i & 1, ip4 = alone || (i & 2);
		const uint32_t l4_len = tcp ? 20 : 8, len = l4_len + BODY;
		const uint8_t proto = tcp ? IPPROTO_TCP : IPPROTO_UDP;
		const uint32_t rest = rte_cpu_to_be_16((uint16_t)len) + rte_cpu_to_be_16(proto);
		struct rte_mbuf *m = rte_pktmbuf_alloc(fx.pool);
		uint8_t *at = rte_pktmbuf_mtod(m, uint8_t *);
		struct rndis_pkt_info info;
		struct vmbus_ring_pkt pkt;
		const uint8_t *msg, *l4;
		uint16_t field;

		/* Nothing; all but options; all. */
		fx.port.known.offload.ip4_tx.flags = i < 4 ? 0 : host ? 0x155 : 0x154;
		fx.port.known.offload.ip6_tx.flags = i < 4 ? 0 : host ? 0x055 : 0x054;
		make_frame(at, 9, 14 + 48 + len);
		memcpy(at + 12, ip4 ? "\x08\x00" : "\x86\xDD", 2);
		m->l2_len = 14;
		m->l3_len = options_header(at + 14, ip4, proto, len);
		m->l4_len = l4_len;
		rte_pktmbuf_append(m, (uint16_t)(14 + m->l3_len + len));
		m->ol_flags =
			(ip4 ? RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM : RTE_MBUF_F_TX_IPV6) |
			(tcp ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM);
		if (alone) {
			m->l3_len = 20;
			m->ol_flags = RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM;
		}
		assert_int_equal(hvn_tx_burst(fx.txq, &m, 1), 1);
		assert_int_equal(host_peek(&pkt), 1);
		msg = fx.send + hv_load32(pkt.body + pkt.ext_len + 8) * SECT_SIZE;
		assert_int_equal(rndis_parse_packet(msg, hv_load32(pkt.body + pkt.ext_len + 12),
						    RNDIS_PARSE_F_STRICT, &info),
				 RNDIS_PARSE_OK);
		assert_int_equal((info.present & RNDIS_INFO_CHECKSUM) != 0, host);
		msg += info.data_off + 14;
		l4 = msg + (ip4 ? 24 : 48);
		memcpy(&field, l4 + (tcp ? 16 : 6), sizeof(field));
		if (host && !alone)
			assert_int_equal(field, sum_l4(msg, ip4, NULL, 0, rest));
		else if (!alone)
			assert_int_equal(sum_l4(msg, ip4, l4, len, rest), 0xFFFF);
		if (ip4 && !host)
			assert_int_equal(rte_raw_cksum(msg, 24), 0xFFFF);
		host_release(&pkt);
		assert_true(host_complete(pkt.tid, NVSP_STATUS_SUCCESS));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(too_long, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(packed, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(most_pieces, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(split_headers, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(contradicted, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(ip_options, fx_big, fx_close),
	};

	if (fx_eal() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
