/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath_fixture.h"

/* An NVSP message of the guest, taken apart. */
struct sent {
	uint64_t tid;
	uint32_t section, section_len;
	uint32_t n_ranges;
	uint32_t len; /* bytes at data */
	uint8_t data[70000];
};

/* Read memory as the host would: in IOVA-as-VA mode guest-physical addresses are pointers. */
static void
gather(struct sent *s, const struct vmbus_ring_pkt *pkt)
{
	const uint8_t *at = pkt->body + 8, *end = pkt->body + pkt->ext_len;

	s->n_ranges = hv_load32(pkt->body + 4);
	for (uint32_t i = 0; i < s->n_ranges; i++) {
		uint32_t len = hv_load32(at), off = hv_load32(at + 4), left = len;

		assert_true(off < HV_PAGE_SIZE && len > 0);
		for (at += 8; left != 0; at += 8, off = 0) {
			uint32_t part = RTE_MIN(left, HV_PAGE_SIZE - off);

			assert_true(at < end);
			memcpy(s->data + s->len,
			       (const uint8_t *)(uintptr_t)(hv_load64(at) << HV_PAGE_SHIFT) + off,
			       part);
			s->len += part;
			left -= part;
		}
	}
	assert_ptr_equal(at, end);
}

static bool
take(struct sent *s)
{
	struct vmbus_ring_pkt pkt;
	const uint8_t *nvsp;

	if (host_peek(&pkt) != 1)
		return false;
	s->tid = pkt.tid;
	s->len = s->n_ranges = 0;
	assert_int_not_equal(pkt.tid, 0);
	assert_int_equal(pkt.flags, VMBUS_PKT_F_RC);
	assert_int_equal(pkt.payload_len, NVSP_MSG_SIZE);
	nvsp = pkt.body + pkt.ext_len;
	assert_int_equal(hv_load32(nvsp), NVSP_RNDIS);
	assert_int_equal(hv_load32(nvsp + 4), NVSP_CHANNEL_DATA);
	for (uint32_t i = 16; i < NVSP_MSG_SIZE; i += 4)
		assert_int_equal(hv_load32(nvsp + i), 0);
	s->section = hv_load32(nvsp + 8);
	s->section_len = hv_load32(nvsp + 12);
	if (pkt.type == VMBUS_PKT_GPA_DIRECT) {
		assert_int_equal(s->section, NVSP_NO_SECTION);
		gather(s, &pkt);
	} else {
		assert_int_equal(pkt.type, VMBUS_PKT_INBAND);
		assert_true(s->section < SECTS);
		s->len = s->section_len;
		memcpy(s->data, fx.send + s->section * SECT_SIZE, s->len);
	}
	host_release(&pkt);
	return true;
}

/* Next RNDIS message of an aggregate, checked as a strict host does: its frame. */
static const uint8_t *
next_frame(const struct sent *s, uint32_t *at, struct rndis_pkt_info *info)
{
	const uint8_t *msg = s->data + *at;

	assert_int_equal(rndis_parse_packet(msg, s->len - *at, RNDIS_PARSE_F_STRICT, info),
			 RNDIS_PARSE_OK);
	*at += info->msg_len;
	return msg + info->data_off;
}

static void
expect_plain(const struct sent *s, uint32_t *at, uint32_t id, uint32_t len)
{
	struct rndis_pkt_info info;
	const uint8_t *frame = next_frame(s, at, &info);
	uint8_t want[4096];

	make_frame(want, id, len);
	assert_int_equal(info.data_len, len);
	assert_memory_equal(frame, want, len);
}

static struct sent s;

/* RNDIS header without a record: there is one channel, no hash value has to choose one. */
#define HEAD 44u

static uint16_t
send_one(struct rte_mbuf *m)
{
	return hvn_tx_burst(fx.txq, &m, 1);
}

/* Short packets share a section, padded to the host's alignment but for the last. */
static void
aggregate(void **state)
{
	struct rte_mbuf *m[11];
	uint32_t at, id = 0;

	RTE_SET_USED(state);
	for (uint32_t i = 0; i < 11; i++)
		m[i] = make_packet(i, 60 + i);
	memset(fx.send, 0xEE, SECT_SIZE * SECTS);
	assert_int_equal(hvn_tx_burst(fx.txq, m, 11), 11);
	assert_int_equal(fx.signals, 1);
	for (uint32_t want = 8; take(&s); want = 3) {
		for (at = 0; want != 0; want--, id++) {
			uint32_t start = at, end;

			expect_plain(&s, &at, id, 60 + id);
			end = start + HEAD + 60 + id;
			assert_int_equal(at, want == 1 ? end : (end + 7) & ~7u);
			for (; end < at; end++)
				assert_int_equal(s.data[end], 0);
		}
		assert_int_equal(at, s.len);
		assert_true(host_complete(s.tid, NVSP_STATUS_SUCCESS));
	}
	assert_int_equal(id, 11);
	/* No packet waited for that. */
	assert_int_equal(hvn_tx_done_cleanup(fx.txq, 0), 0);
	assert_int_equal(hvn_txd_used(fx.txq->txd), 0);
	assert_int_equal(fx.txq->txd->n_sect, SECTS);
	assert_int_equal(fx.txq->stats.completions, 2);
}

/* Longer ones stay where they are until the host has read them. */
static void
direct(void **state)
{
	struct rte_mbuf *m, *seg;
	uint32_t at = 0;

	RTE_SET_USED(state);
	m = make_packet(7, 2000);
	assert_int_equal(send_one(m), 1);
	assert_true(take(&s));
	assert_int_equal(s.n_ranges, 2);
	expect_plain(&s, &at, 7, 2000);
	assert_int_equal(rte_mempool_avail_count(fx.pool), POOL_SIZE - 1);
	assert_true(host_complete(s.tid, NVSP_STATUS_FAILURE));
	hvn_tx_done_cleanup(fx.txq, 0);
	assert_int_equal(rte_mempool_avail_count(fx.pool), POOL_SIZE);
	assert_int_equal(fx.txq->stats.failed, 1);

	/* Segments: one frame of id 7 cut in three. */
	m = make_packet(7, 1000);
	for (uint32_t i = 1; i < 3; i++) {
		uint8_t all[3000];

		make_frame(all, 7, sizeof(all));
		seg = rte_pktmbuf_alloc(fx.pool);
		memcpy(rte_pktmbuf_append(seg, 1000), all + i * 1000, 1000);
		assert_int_equal(rte_pktmbuf_chain(m, seg), 0);
	}
	assert_int_equal(send_one(m), 1);
	assert_true(take(&s));
	assert_int_equal(s.n_ranges, 4);
	at = 0;
	expect_plain(&s, &at, 7, 3000);
	host_complete(s.tid, NVSP_STATUS_SUCCESS);

	/* Too many segments for a message, but they fit a section. */
	m = make_packet(8, 14);
	for (uint32_t i = 0; i < 40; i++) {
		seg = rte_pktmbuf_alloc(fx.pool);
		memset(rte_pktmbuf_append(seg, 50), (int)i, 50);
		assert_int_equal(rte_pktmbuf_chain(m, seg), 0);
	}
	assert_int_equal(send_one(m), 1);
	assert_true(take(&s));
	assert_int_equal(s.n_ranges, 0);
	assert_int_equal(s.len, HEAD + 14 + 2000);
	assert_int_equal(s.data[HEAD + 14 + 1999], 39);
	host_complete(s.tid, NVSP_STATUS_SUCCESS);
	hvn_tx_done_cleanup(fx.txq, 0);
}

/*
 * B1 to B3: the ring is full, bursts fail, again and again; then the host reads. Nothing leaked,
 * every packet taken arrives once and in order, the queue lives.
 */
static void
ring_full(void **state)
{
	uint32_t sent = 0, seen = 0, at;
	uint64_t pending[64];
	unsigned int n_pending = 0;
	struct rte_mbuf *m[BURST];

	RTE_SET_USED(state);
	for (uint32_t round = 0; round < 3000; round++) {
		uint32_t n = 1 + round % 20, len = round % 5 ? 60 + round % 1400 : 1700;
		uint16_t took;

		for (uint32_t i = 0; i < n; i++) {
			m[i] = make_packet(sent + i, len);
			rte_pktmbuf_mtod(m[i], uint8_t *)[1] = (uint8_t)(sent + i);
		}
		took = hvn_tx_burst(fx.txq, m, (uint16_t)n);
		assert_true(took <= n);
		rte_pktmbuf_free_bulk(m + took, n - took);
		sent += took;
		if (round % 50 < 40)
			continue;
		while (n_pending < RTE_DIM(pending) && take(&s)) {
			struct rndis_pkt_info info;

			for (at = 0; at < s.len; seen++)
				assert_int_equal(next_frame(&s, &at, &info)[1], (uint8_t)seen);
			pending[n_pending++] = s.tid;
		}
		while (n_pending != 0 && host_complete(pending[n_pending - 1], NVSP_STATUS_SUCCESS))
			n_pending--;
	}
	while (take(&s)) {
		struct rndis_pkt_info info;

		for (at = 0; at < s.len; seen++)
			assert_int_equal(next_frame(&s, &at, &info)[1], (uint8_t)seen);
		assert_true(host_complete(s.tid, NVSP_STATUS_SUCCESS));
		hvn_tx_done_cleanup(fx.txq, 0);
	}
	while (n_pending != 0 && host_complete(pending[--n_pending], NVSP_STATUS_SUCCESS))
		hvn_tx_done_cleanup(fx.txq, 0);
	assert_int_equal(seen, sent);
	assert_int_equal(fx.txq->stats.packets, sent);
	assert_true(fx.txq->stats.ring_full + fx.txq->stats.desc_full != 0);
	hvn_tx_done_cleanup(fx.txq, 0);
	assert_int_equal(hvn_txd_used(fx.txq->txd), 0);
	assert_int_equal(fx.txq->txd->n_sect, SECTS);
	assert_int_equal(rte_mempool_avail_count(fx.pool), POOL_SIZE);
}

/* T17: an id that was never issued, is of the past, or comes twice. */
static void
bad_completions(void **state)
{
	uint32_t short_nvsp = NVSP_RNDIS_COMPLETE;
	uint64_t old;

	RTE_SET_USED(state);
	send_one(make_packet(1, 1700));
	assert_true(take(&s));
	old = s.tid;
	host_complete(0, 1);
	host_complete(1, 1);
	host_complete(old ^ 1, 1);
	host_complete(old ^ 1u << 16, 1);
	host_complete(old ^ UINT64_C(1) << 32, 1);
	host_complete(old ^ UINT64_C(1) << 48, 1);
	host_complete(old | UINT64_C(63) << 32, 1);
	host_put(VMBUS_PKT_COMPLETION, old, NULL, 0, NULL, 0); /* T21 */
	host_put(VMBUS_PKT_COMPLETION, old, NULL, 0, &short_nvsp, 0);
	assert_int_equal(hvn_tx_done_cleanup(fx.txq, 0), 0);
	assert_int_equal(fx.ch->invalid[HVN_INV_COMPLETION], 7);
	assert_int_equal(fx.ch->invalid[HVN_INV_NVSP], 2);
	host_complete(old, 1);
	host_complete(old, 1);
	assert_int_equal(hvn_tx_done_cleanup(fx.txq, 0), 1);
	assert_int_equal(fx.ch->invalid[HVN_INV_COMPLETION], 8);
	/* The same descriptor again, and its former id. */
	send_one(make_packet(2, 1700));
	assert_true(take(&s));
	assert_int_equal((uint16_t)s.tid, (uint16_t)old);
	host_complete(old, 1);
	assert_int_equal(hvn_tx_done_cleanup(fx.txq, 0), 0);
	host_complete(s.tid, 1);
	assert_int_equal(hvn_tx_done_cleanup(fx.txq, 0), 1);
}

/* T18: completed on another channel, also on both. */
static void
foreign(void **state)
{
	struct hvn_chan *other;

	RTE_SET_USED(state);
	assert_int_equal(hvn_chan_create(&fx.port, &fx.vc, &other), 0);
	send_one(make_packet(1, 1700));
	assert_true(take(&s));
	hvn_tx_completed(other, s.tid, NVSP_STATUS_SUCCESS);
	hvn_tx_completed(other, s.tid, NVSP_STATUS_SUCCESS);
	assert_int_equal(hvn_tx_done_cleanup(fx.txq, 0), 1);
	assert_int_equal(rte_mempool_avail_count(fx.pool), POOL_SIZE);
	send_one(make_packet(1, 1700));
	assert_true(take(&s));
	hvn_tx_completed(other, s.tid, NVSP_STATUS_SUCCESS);
	host_complete(s.tid, 1);
	assert_int_equal(hvn_tx_done_cleanup(fx.txq, 0), 1);
	assert_int_equal(hvn_txd_used(fx.txq->txd), 0);
	hvn_chan_free(other);
}

/* All descriptors in flight, all sections too. */
static void
exhausted(void **state)
{
	uint32_t n = 0;

	RTE_SET_USED(state);
	for (;;) {
		struct rte_mbuf *m = make_packet(n, 60);

		if (send_one(m) == 0) {
			rte_pktmbuf_free(m);
			break;
		}
		n++;
	}
	/* Each took a descriptor: some with a section, the others read in place for want of one. */
	assert_int_equal(n, TX_DESC);
	assert_int_equal(fx.txq->stats.desc_full, 1);
	assert_int_equal(fx.txq->stats.direct, TX_DESC - SECTS);
	assert_int_equal(hvn_tx_descriptor_status(fx.txq, 0), RTE_ETH_TX_DESC_FULL);
	assert_int_equal(hvn_txq_stop(fx.txq, 1), -EBUSY);
	while (take(&s))
		host_complete(s.tid, 1);
	assert_int_equal(hvn_txq_stop(fx.txq, 1000), 0);
	assert_int_equal(hvn_txq_start(fx.txq), 0);
	assert_int_equal(hvn_tx_descriptor_status(fx.txq, 0), RTE_ETH_TX_DESC_DONE);
}

/* --- offloads ------------------------------------------------------------------------------------- */

/* Ethernet, an optional tag, IPv4, TCP or UDP, payload; checksums are garbage. */
static struct rte_mbuf *
ip4_packet(bool tag, bool tcp, uint32_t payload)
{
	const uint32_t l4 = tcp ? 20 : 8;
	struct rte_mbuf *m = make_packet(3, (tag ? 18 : 14) + 20 + l4 + payload);
	uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);
	struct rte_ipv4_hdr *ip;

	p += 12;
	if (tag) {
		memcpy(p, "\x81\x00\xA0\x64", 4);
		p += 4;
	}
	memcpy(p, "\x08\x00", 2);
	ip = (struct rte_ipv4_hdr *)(p + 2);
	*ip = (struct rte_ipv4_hdr){ .version_ihl = 0x45,
				     .time_to_live = 64,
				     .total_length =
					     rte_cpu_to_be_16((uint16_t)(20 + l4 + payload)),
				     .next_proto_id = tcp ? IPPROTO_TCP : IPPROTO_UDP,
				     .hdr_checksum = 0x1234,
				     .src_addr = rte_cpu_to_be_32(0x0A000001),
				     .dst_addr = rte_cpu_to_be_32(0x0A000002) };
	memset(ip + 1, 0x55, l4);
	if (tcp)
		((struct rte_tcp_hdr *)(ip + 1))->data_off = 0x50;
	else
		((struct rte_udp_hdr *)(ip + 1))->dgram_len =
			rte_cpu_to_be_16((uint16_t)(8 + payload));
	m->l2_len = tag ? 18 : 14;
	m->l3_len = 20;
	m->l4_len = l4;
	m->ol_flags = RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM |
		      (tcp ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM);
	return m;
}

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

		fx.port.caps.offload.ip4_tx.flags = host ? 0x155 : 0;
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

		fx.port.caps.nvsp_version = ancient ? NVSP_VERSION_1
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

/* What cannot be sent is refused by prepare, and counted, not sent, by the burst. */
static void
refused(void **state)
{
	struct rte_mbuf *m[7];

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
	for (uint32_t i = 0; i < 7; i++)
		assert_int_equal(hvn_tx_prepare(fx.txq, &m[i], 1), 0);
	assert_int_equal(hvn_tx_burst(fx.txq, m, 7), 7);
	assert_int_equal(fx.txq->stats.errors, 7);
	assert_int_equal(fx.txq->stats.packets, 0);
	assert_false(take(&s));
}

/* T11, T20: the host's index is nonsense; sending fails, nothing else happens. */
static void
corrupt_ring(void **state)
{
	struct rte_mbuf *m = make_packet(0, 60);

	RTE_SET_USED(state);
	fx.host_rx.hdr->rindex = 4096;
	for (uint32_t i = 0; i < 100; i++) {
		struct rte_mbuf *more = make_packet(i, 1000);

		if (send_one(more) == 0)
			rte_pktmbuf_free(more);
	}
	assert_int_equal(send_one(m), 0);
	rte_pktmbuf_free(m);
	assert_int_equal(fx.vc.tx.error, -EIO);
}

/* A process was killed while it sent: the next one uses only what the host does not hold. */
static void
dead_sender(void **state)
{
	struct hvn_txd *t = fx.txq->txd;
	bool held[SECTS] = { false };
	struct sent first[4];

	RTE_SET_USED(state);
	hvn_process_init(0);
	for (uint32_t i = 0; i < 4; i++) {
		assert_int_equal(send_one(make_packet(i, 1400)), 1);
		assert_true(take(&first[i]));
		assert_true(first[i].section < SECTS);
		held[first[i].section] = true;
	}
	/* It died in the middle of everything. */
	t->inside = dead_process();
	t->n_free = 1;
	t->n_sect = 0;
	t->agg_base = t->send_buf;
	t->agg_end = 77;
	fx.ch->out_lock.owner = fx.ch->in_lock.owner = t->inside;
	for (uint32_t i = 4; i < SECTS; i++) {
		assert_int_equal(send_one(make_packet(i, 1400)), 1);
		assert_true(take(&s));
		assert_true(s.section < SECTS);
		assert_false(held[s.section]);
		assert_true(host_complete(s.tid, 1));
	}
	for (uint32_t i = 0; i < 4; i++)
		assert_true(host_complete(first[i].tid, 1));
	hvn_tx_done_cleanup(fx.txq, 0);
	assert_int_equal(hvn_txd_used(t), 0);
	assert_int_equal(t->n_sect, SECTS);
	assert_int_equal(fx.ch->invalid[HVN_INV_COMPLETION], 0);
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

/*
 * With many descriptors few of them are in flight when the ring is full. The completions must be
 * looked for nevertheless, though nobody receives on this channel: the host may wait for that.
 */
static void
nobody_receives(void **state)
{
	struct rte_mbuf *m[BURST];
	uint32_t id = 0;
	uint16_t took;

	RTE_SET_USED(state);
	fx.txq->txd->reclaim_at = fx.txq->txd->reclaim_max = 1000;
	do {
		m[0] = make_packet(id++, 60);
		took = hvn_tx_burst(fx.txq, m, 1);
	} while (took == 1 && id < 1000);
	assert_int_equal(took, 0);
	while (take(&s))
		assert_true(host_complete(s.tid, NVSP_STATUS_SUCCESS));
	/* This one may still find nothing; the next one has room. */
	took = hvn_tx_burst(fx.txq, m, 1);
	if (took == 0)
		took = hvn_tx_burst(fx.txq, m, 1);
	assert_int_equal(took, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(aggregate, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(direct, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(ring_full, fx_tiny, fx_close),
		cmocka_unit_test_setup_teardown(two_pools, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(nobody_receives, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(bad_completions, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(foreign, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(exhausted, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(checksum, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(two_tags, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(untrusted_udp, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(segmentation, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(refused, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(dead_sender, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(corrupt_ring, fx_tiny, fx_close),
	};

	if (fx_eal() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
