/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include "hvn_tx_frame.h"

#define TAG_LEN 4u

#define CSUM_FLAGS (RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_L4_MASK | RTE_MBUF_F_TX_TCP_SEG)

static void
add_ppi(struct hvn_tx_frame *f, uint32_t type, uint32_t value)
{
	f->ppi_type[f->n_ppi] = type;
	f->ppi_value[f->n_ppi++] = value;
}

static bool
is_tcp(const struct rte_mbuf *m)
{
	return (m->ol_flags & RTE_MBUF_F_TX_TCP_SEG) != 0 ||
	       (m->ol_flags & RTE_MBUF_F_TX_L4_MASK) == RTE_MBUF_F_TX_TCP_CKSUM;
}

/* Bytes of an IPv4 header as it says itself. */
static uint32_t
ip4_header_len(const uint8_t *l3)
{
	return (l3[0] & 0xFu) * 4;
}

/* Headers that have to be at hand in one piece. */
static uint32_t
headers_len(const struct rte_mbuf *m)
{
	uint32_t len = m->l2_len + m->l3_len;
	const uint8_t *l3;
	uint8_t byte;

	if ((m->ol_flags & RTE_MBUF_F_TX_TCP_SEG) != 0)
		return len + m->l4_len;
	switch (m->ol_flags & RTE_MBUF_F_TX_L4_MASK) {
	case RTE_MBUF_F_TX_TCP_CKSUM:
		return len + (uint32_t)sizeof(struct rte_tcp_hdr);
	case RTE_MBUF_F_TX_UDP_CKSUM:
		return len + (uint32_t)sizeof(struct rte_udp_hdr);
	default:
		/* Who wants the IP header summed may not count options: ipsec-secgw of DPDK does not. */
		l3 = rte_pktmbuf_read(m, m->l2_len, 1, &byte);
		return l3 != NULL ? RTE_MAX(len, m->l2_len + ip4_header_len(l3)) : len;
	}
}

static bool
is_vlan(const uint8_t *frame)
{
	return frame[12] == 0x81 && frame[13] == 0x00;
}

/*
 * The private copy of the first bytes, without the tag that goes out of band, and with the inner
 * of two to be inserted: the host inserts one. Returns how much longer the L2 header became.
 */
static int32_t
take_headers(const struct rte_mbuf *m, uint32_t want, struct hvn_tx_frame *f)
{
	uint8_t buf[HVN_TX_HEAD_MAX];
	const uint8_t *src = rte_pktmbuf_read(m, 0, want, buf);
	const rte_be16_t tag[2] = { RTE_BE16(RTE_ETHER_TYPE_VLAN), rte_cpu_to_be_16(m->vlan_tci) };

	f->skip = want;
	if ((m->ol_flags & RTE_MBUF_F_TX_QINQ) != 0) {
		memcpy(f->head, src, 12);
		memcpy(f->head + 12, tag, TAG_LEN);
		memcpy(f->head + 12 + TAG_LEN, src + 12, want - 12);
		f->head_len = want + TAG_LEN;
		return TAG_LEN;
	}
	if ((m->ol_flags & RTE_MBUF_F_TX_VLAN) == 0 && want >= RTE_ETHER_HDR_LEN + TAG_LEN &&
	    is_vlan(src)) {
		add_ppi(f, RNDIS_PPI_VLAN, RNDIS_VLAN_FROM_TCI((uint32_t)src[14] << 8 | src[15]));
		memcpy(f->head, src, 12);
		memcpy(f->head + 12, src + 12 + TAG_LEN, want - 12 - TAG_LEN);
		f->head_len = want - TAG_LEN;
		return -(int32_t)TAG_LEN;
	}
	memcpy(f->head, src, want);
	f->head_len = want;
	return 0;
}

static uint16_t
fold(uint32_t sum)
{
	sum = (sum >> 16) + (sum & 0xFFFFu);
	return (uint16_t)((sum >> 16) + (sum & 0xFFFFu));
}

/* Sum of the L4 header and payload of a frame whose checksum field is 0. */
static uint16_t
sum_l4(const struct rte_mbuf *m, const struct hvn_tx_frame *f, uint32_t l4, uint32_t l4_len)
{
	const uint32_t here = RTE_MIN(f->head_len - l4, l4_len);
	uint16_t rest = 0;
	uint32_t sum;

	sum = rte_raw_cksum(f->head + l4, here);
	/* here is even: both L4 headers are, and what follows them is not in head[]. */
	if (l4_len > here && rte_raw_cksum_mbuf(m, f->skip, l4_len - here, &rest) == 0)
		sum += rest;
	return fold(sum);
}

/*
 * Sum of the pseudo header. DPDK's functions take protocol and length from the IPv6 header, which
 * are others where there are extension headers.
 */
static uint16_t
pseudo_sum(const uint8_t *l3, bool ip4, bool tcp, uint32_t l4_len)
{
	const uint16_t addresses =
		ip4 ? rte_raw_cksum(&((const struct rte_ipv4_hdr *)l3)->src_addr,
				    2 * sizeof(rte_be32_t))
		    : rte_raw_cksum(((const struct rte_ipv6_hdr *)l3)->src_addr, 2 * 16);
	uint32_t sum = addresses;

	sum += rte_cpu_to_be_16(tcp ? IPPROTO_TCP : IPPROTO_UDP);
	sum += rte_cpu_to_be_16((uint16_t)l4_len);
	return fold(sum);
}

static int
segment_offload(const struct hvn_port *p, const struct rte_mbuf *m, struct hvn_tx_frame *f,
		uint32_t l2)
{
	const bool ip4 = (m->ol_flags & RTE_MBUF_F_TX_IPV4) != 0;
	const uint32_t max = ip4 ? p->known.lso4_max : p->known.lso6_max;
	const uint32_t l4 = l2 + m->l3_len;
	struct rte_tcp_hdr *tcp = (struct rte_tcp_hdr *)(f->head + l4);

	if (max == 0 || l2 != RTE_ETHER_HDR_LEN)
		return -ENOTSUP;
	if (m->tso_segsz == 0 || f->len > max)
		return -EINVAL;
	/* The lengths in the headers are those of the segments to come, so they count as 0. */
	if (ip4) {
		struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(f->head + l2);

		ip->total_length = 0;
		ip->hdr_checksum = 0;
	} else {
		((struct rte_ipv6_hdr *)(f->head + l2))->payload_len = 0;
	}
	tcp->cksum = pseudo_sum(f->head + l2, ip4, true, 0);
	add_ppi(f, RNDIS_PPI_LSO,
		m->tso_segsz | l4 << RNDIS_LSO_L4OFF_SHIFT | RNDIS_LSO_V2 |
			(ip4 ? 0 : RNDIS_LSO_IPV6));
	return 0;
}

/* Bytes of the IP packet by its header. */
static uint32_t
ip_length(const uint8_t *l3, bool ip4)
{
	if (ip4)
		return rte_be_to_cpu_16(((const struct rte_ipv4_hdr *)l3)->total_length);
	return rte_be_to_cpu_16(((const struct rte_ipv6_hdr *)l3)->payload_len) +
	       (uint32_t)sizeof(struct rte_ipv6_hdr);
}

/*
 * What of checksums the host can do for a packet whose L3 header is l3_len long: nothing behind a
 * tag, and nothing with IP options or extension headers unless it says so of these.
 */
static uint32_t
host_sums(const struct hvn_port *p, bool ip4, uint32_t l2, uint32_t l3_len)
{
	const uint32_t plain = ip4 ? sizeof(struct rte_ipv4_hdr) : sizeof(struct rte_ipv6_hdr);
	const uint32_t caps = ip4 ? p->known.offload.ip4_tx.flags : p->known.offload.ip6_tx.flags;

	if (l2 != RTE_ETHER_HDR_LEN ||
	    (l3_len > plain && !NDIS_CSUM_SUPPORTED(caps, NDIS_CSUM_IP_OPTIONS)))
		return 0;
	return caps;
}

/* May the host compute the L4 checksum? */
static bool
host_sums_l4(const struct hvn_port *p, const struct hvn_tx_frame *f, bool ip4, bool tcp,
	     uint32_t l2, uint32_t l3_len)
{
	const struct rte_ipv4_hdr *ip = (const struct rte_ipv4_hdr *)(f->head + l2);

	if (!NDIS_CSUM_SUPPORTED(host_sums(p, ip4, l2, l3_len),
				 tcp ? NDIS_CSUM_TCP : NDIS_CSUM_UDP))
		return false;
	/* Hosts up to NVSP 4 cannot do UDP (Linux rndis_filter.c); none can do a fragment. */
	if (!tcp && (p->known.nvsp_version <= NVSP_VERSION_4 ||
		     ip_length(f->head + l2, ip4) > p->args.udp_cksum_max))
		return false;
	return !ip4 || (ip->fragment_offset &
			rte_cpu_to_be_16(RTE_IPV4_HDR_MF_FLAG | RTE_IPV4_HDR_OFFSET_MASK)) == 0;
}

static int
checksum_l4(const struct hvn_port *p, const struct rte_mbuf *m, struct hvn_tx_frame *f, uint32_t l2,
	    uint32_t *what)
{
	const bool ip4 = (m->ol_flags & RTE_MBUF_F_TX_IPV4) != 0, tcp = is_tcp(m);
	const uint32_t l4 = l2 + m->l3_len;
	const uint8_t *l3 = f->head + l2;
	uint8_t *field = f->head + l4 +
			 (tcp ? offsetof(struct rte_tcp_hdr, cksum)
			      : offsetof(struct rte_udp_hdr, dgram_cksum));
	const uint32_t total = ip_length(l3, ip4), l4_len = total - m->l3_len;
	const uint16_t pseudo = pseudo_sum(l3, ip4, tcp, l4_len);
	uint16_t sum;

	/* The datagram ends where its IP header says, which Ethernet padding may follow. */
	if (total < m->l3_len + (tcp ? sizeof(struct rte_tcp_hdr) : sizeof(struct rte_udp_hdr)) ||
	    l2 + total > f->len)
		return -EINVAL;
	if (host_sums_l4(p, f, ip4, tcp, l2, m->l3_len)) {
		memcpy(field, &pseudo, sizeof(pseudo));
		*what |= (tcp ? RNDIS_TXCSUM_TCP : RNDIS_TXCSUM_UDP) |
			 l4 << RNDIS_TXCSUM_L4OFF_SHIFT;
		return 0;
	}
	memset(field, 0, 2);
	sum = (uint16_t)~fold((uint32_t)sum_l4(m, f, l4, l4_len) + pseudo);
	if (sum == 0 && !tcp)
		sum = 0xFFFF;
	memcpy(field, &sum, sizeof(sum));
	return 0;
}

static int
checksum_offload(const struct hvn_port *p, const struct rte_mbuf *m, struct hvn_tx_frame *f,
		 uint32_t l2)
{
	const bool ip4 = (m->ol_flags & RTE_MBUF_F_TX_IPV4) != 0;
	uint32_t what = 0;
	int rc;

	if ((m->ol_flags & RTE_MBUF_F_TX_L4_MASK) == RTE_MBUF_F_TX_SCTP_CKSUM)
		return -ENOTSUP;
	if (is_tcp(m) || (m->ol_flags & RTE_MBUF_F_TX_L4_MASK) == RTE_MBUF_F_TX_UDP_CKSUM) {
		rc = checksum_l4(p, m, f, l2, &what);
		if (rc != 0)
			return rc;
	}
	if (ip4 && (m->ol_flags & (RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_TCP_SEG)) != 0) {
		struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(f->head + l2);
		const uint32_t len = ip4_header_len(f->head + l2);

		ip->hdr_checksum = 0;
		if (NDIS_CSUM_SUPPORTED(host_sums(p, true, l2, len), NDIS_CSUM_IPHDR))
			what |= RNDIS_TXCSUM_IPHDR;
		else
			ip->hdr_checksum = (uint16_t)~rte_raw_cksum(ip, len);
	}
	if (what != 0)
		add_ppi(f, RNDIS_PPI_CHECKSUM,
			what | (ip4 ? RNDIS_TXCSUM_IPV4 : RNDIS_TXCSUM_IPV6));
	return 0;
}

/* Do the header lengths that the application gave make sense? */
static bool
lengths_ok(const struct rte_mbuf *m)
{
	const bool ip4 = (m->ol_flags & RTE_MBUF_F_TX_IPV4) != 0;
	const bool ip6 = (m->ol_flags & RTE_MBUF_F_TX_IPV6) != 0;

	if (ip4 == ip6 || m->l2_len < RTE_ETHER_HDR_LEN ||
	    m->l3_len < (ip4 ? sizeof(struct rte_ipv4_hdr) : sizeof(struct rte_ipv6_hdr)))
		return false;
	return (m->ol_flags & RTE_MBUF_F_TX_TCP_SEG) == 0 ||
	       m->l4_len >= sizeof(struct rte_tcp_hdr);
}

/*
 * And are they those of the headers? Who sends the packet may go by either. For the sum of the IP
 * header alone it may be longer.
 */
static bool
headers_ok(const struct rte_mbuf *m, const struct hvn_tx_frame *f, uint32_t l2)
{
	const bool ip4 = (m->ol_flags & RTE_MBUF_F_TX_IPV4) != 0;
	const bool l4_too = (m->ol_flags & (RTE_MBUF_F_TX_L4_MASK | RTE_MBUF_F_TX_TCP_SEG)) != 0;
	const uint8_t *l3 = f->head + l2, *l4 = l3 + m->l3_len;

	if (l3[0] >> 4 != (ip4 ? 4 : 6))
		return false;
	if (ip4 && (l4_too ? ip4_header_len(l3) != m->l3_len : ip4_header_len(l3) < m->l3_len))
		return false;
	return (m->ol_flags & RTE_MBUF_F_TX_TCP_SEG) == 0 ||
	       (((const struct rte_tcp_hdr *)l4)->data_off >> 4) * 4u == m->l4_len;
}

/* The length of an IP packet that says none: all of the frame. */
static void
give_length(const struct rte_mbuf *m, struct hvn_tx_frame *f, uint32_t l2)
{
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(f->head + l2);
	struct rte_ipv6_hdr *ip6 = (struct rte_ipv6_hdr *)(f->head + l2);
	const uint32_t len = f->len - l2;

	if ((m->ol_flags & RTE_MBUF_F_TX_IPV4) != 0 && ip->total_length == 0)
		ip->total_length = rte_cpu_to_be_16((uint16_t)len);
	else if ((m->ol_flags & RTE_MBUF_F_TX_IPV6) != 0 && ip6->payload_len == 0)
		ip6->payload_len = rte_cpu_to_be_16((uint16_t)(len - sizeof(*ip6)));
}

int
hvn_tx_describe(const struct hvn_port *p, const struct rte_mbuf *m, struct hvn_tx_frame *f)
{
	uint32_t want = RTE_MIN(m->pkt_len, RTE_ETHER_HDR_LEN + TAG_LEN), l2, segment;
	int32_t longer;

	f->n_ppi = 0;
	if (m->pkt_len < RTE_ETHER_HDR_LEN || m->pkt_len > UINT16_MAX)
		return -EINVAL;
	if ((m->ol_flags & (RTE_MBUF_F_TX_TUNNEL_MASK | RTE_MBUF_F_TX_OUTER_IP_CKSUM |
			    RTE_MBUF_F_TX_UDP_SEG)) != 0)
		return -ENOTSUP;
	if ((m->ol_flags & CSUM_FLAGS) != 0) {
		if (!lengths_ok(m))
			return -EINVAL;
		want = RTE_MAX(want, headers_len(m));
		if (want > m->pkt_len || want > HVN_TX_HEAD_MAX - TAG_LEN)
			return -EINVAL;
	}
	if ((m->ol_flags & RTE_MBUF_F_TX_QINQ) != 0)
		add_ppi(f, RNDIS_PPI_VLAN, RNDIS_VLAN_FROM_TCI(m->vlan_tci_outer));
	else if ((m->ol_flags & RTE_MBUF_F_TX_VLAN) != 0)
		add_ppi(f, RNDIS_PPI_VLAN, RNDIS_VLAN_FROM_TCI(m->vlan_tci));
	longer = take_headers(m, want, f);
	f->len = m->pkt_len + longer;
	if ((m->ol_flags & RTE_MBUF_F_TX_TCP_SEG) == 0 && f->len > hvn_tx_longest(p))
		return -EINVAL;
	if ((m->ol_flags & CSUM_FLAGS) == 0)
		return 0;
	/* With a tag left in it the L2 header is longer than hosts can parse. */
	l2 = m->l2_len + longer;
	if (l2 < RTE_ETHER_HDR_LEN || !headers_ok(m, f, l2))
		return -EINVAL;
	if ((m->ol_flags & RTE_MBUF_F_TX_TCP_SEG) == 0)
		return checksum_offload(p, m, f, l2);
	segment = l2 + m->l3_len + m->l4_len + m->tso_segsz;
	if (RTE_MIN(f->len, segment) > hvn_tx_longest(p))
		return -EINVAL;
	if (f->len > segment)
		return segment_offload(p, m, f, l2);
	/* What is one segment anyway needs a checksum only; and its length, which may be left out. */
	give_length(m, f, l2);
	return checksum_offload(p, m, f, l2);
}
