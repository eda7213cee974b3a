/* SPDX-License-Identifier: BSD-3-Clause */
/* What the guest sent, as a strict host reads it. */
#ifndef TX_FIXTURE_H
#define TX_FIXTURE_H

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
static inline void
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

static inline bool
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
static inline const uint8_t *
next_frame(const struct sent *s, uint32_t *at, struct rndis_pkt_info *info)
{
	const uint8_t *msg = s->data + *at;

	assert_int_equal(rndis_parse_packet(msg, s->len - *at, RNDIS_PARSE_F_STRICT, info),
			 RNDIS_PARSE_OK);
	*at += info->msg_len;
	return msg + info->data_off;
}

static inline void
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

static inline uint16_t
send_one(struct rte_mbuf *m)
{
	return hvn_tx_burst(fx.txq, &m, 1);
}

/* Ethernet, an optional tag, IPv4, TCP or UDP, payload; checksums are garbage. */
static inline struct rte_mbuf *
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

#endif /* TX_FIXTURE_H */
