/* SPDX-License-Identifier: BSD-3-Clause */
/* Frames that need more than one copy: scattered, re-tagged, coalesced. */
#include <errno.h>

#include <rte_ip.h>
#include <rte_net.h>

#include "hvn_rx.h"

/* Flags of every mbuf: those of some pools have their buffers elsewhere, and say so. */
static uint64_t
pool_flags(const struct hvn_rxq *q)
{
	return q->pinned ? RTE_MBUF_F_EXTERNAL : 0;
}

/* A mbuf of the queue's pool as a segment of a chain. */
static struct rte_mbuf *
seg_alloc(struct hvn_rxq *q)
{
	struct rte_mbuf *m = rte_mbuf_raw_alloc(q->pool);

	if (m != NULL)
		hvn_rx_fill(m, q->mbuf_init, pool_flags(q), 0, 0);
	return m;
}

/* Number of mbufs that len bytes take. */
static uint32_t
segs_for(const struct hvn_rxq *q, uint32_t len)
{
	return (len + q->buf_len - 1) / q->buf_len;
}

/* Hang segs - 1 more mbufs behind m. On -ENOMEM m is as it was. */
static int
chain_build(struct hvn_rxq *q, struct rte_mbuf *m, uint32_t segs)
{
	struct rte_mbuf *last = m;
	uint32_t i;

	for (i = 1; i < segs; i++) {
		last->next = seg_alloc(q);
		if (last->next == NULL) {
			rte_pktmbuf_free(m->next);
			m->next = NULL;
			return -ENOMEM;
		}
		last = last->next;
	}
	m->nb_segs = (uint16_t)segs;
	return 0;
}

/* Append bytes at seg, going on to the next segment where one is full. Returns the last used. */
static struct rte_mbuf *
chain_write(const struct hvn_rxq *q, struct rte_mbuf *seg, const uint8_t *src, uint32_t len)
{
	uint32_t part;

	while (len != 0) {
		part = RTE_MIN(len, (uint32_t)(q->buf_len - seg->data_len));
		if (part == 0) {
			seg = seg->next;
			continue;
		}
		hvn_copy(rte_pktmbuf_mtod_offset(seg, uint8_t *, seg->data_len), src, part);
		seg->data_len += (uint16_t)part;
		src += part;
		len -= part;
	}
	return seg;
}

/* The host has verified, but not recomputed, the IPv4 header checksum of a coalesced frame. */
static void
fix_ip_checksum(struct rte_mbuf *m, uint32_t checksum)
{
	const uint32_t both = RNDIS_RXCSUM_IP_OK | RNDIS_RXCSUM_IP_INVALID;
	struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
	uint32_t off = sizeof(*eth), ihl;
	rte_be16_t type = eth->ether_type;
	struct rte_ipv4_hdr *ip;

	if ((checksum & both) != both)
		return;
	if (type == RTE_BE16(RTE_ETHER_TYPE_VLAN) && m->data_len >= off + 4) {
		type = *rte_pktmbuf_mtod_offset(m, rte_be16_t *, off + 2);
		off += 4;
	}
	if (type != RTE_BE16(RTE_ETHER_TYPE_IPV4) || m->data_len < off + sizeof(*ip))
		return;
	ip = rte_pktmbuf_mtod_offset(m, struct rte_ipv4_hdr *, off);
	ihl = (ip->version_ihl & 0xFu) * 4;
	if (ihl < sizeof(*ip) || m->data_len < off + ihl) {
		m->ol_flags &= ~RTE_MBUF_F_RX_IP_CKSUM_MASK;
		return;
	}
	ip->hdr_checksum = 0;
	ip->hdr_checksum = (uint16_t)~rte_raw_cksum(ip, ihl);
}

/* One frame, or the first piece of one, into m and as many more mbufs as it needs. */
static int
frame_start(struct hvn_rxq *q, struct rte_mbuf *m, const uint8_t *frame,
	    const struct rndis_pkt_info *info)
{
	const uint16_t tci = RNDIS_VLAN_TO_TCI(info->vlan);
	const bool tagged = (info->present & RNDIS_INFO_VLAN) != 0;
	const bool insert = tagged && !q->vlan_strip;
	const uint32_t len = info->data_len + (insert ? sizeof(struct rte_vlan_hdr) : 0);
	const uint32_t segs = segs_for(q, len);
	uint64_t flags = hvn_rx_csum(info) | pool_flags(q);
	struct rte_mbuf *seg = m;

	if (info->data_len < RTE_ETHER_HDR_LEN || len > HVN_LRO_MAX ||
	    (segs > 1 &&
	     (q->offloads & (RTE_ETH_RX_OFFLOAD_SCATTER | RTE_ETH_RX_OFFLOAD_TCP_LRO)) == 0)) {
		q->stats.errors++;
		return -EBADMSG;
	}
	if ((info->present & RNDIS_INFO_HASH_VALUE) != 0 && q->want_hash)
		flags |= RTE_MBUF_F_RX_RSS_HASH;
	if (tagged)
		flags |= insert ? RTE_MBUF_F_RX_VLAN
				: RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
	hvn_rx_fill(m, q->mbuf_init, flags, 0,
		    (flags & RTE_MBUF_F_RX_RSS_HASH) != 0 ? (uint64_t)info->hash_value << 32 : 0);
	if (chain_build(q, m, segs) != 0)
		return -ENOMEM;
	if (tagged)
		m->vlan_tci = tci;
	if (insert) {
		const rte_be16_t tag[2] = { RTE_BE16(RTE_ETHER_TYPE_VLAN), rte_cpu_to_be_16(tci) };

		seg = chain_write(q, seg, frame, 2 * RTE_ETHER_ADDR_LEN);
		seg = chain_write(q, seg, (const uint8_t *)tag, sizeof(tag));
		chain_write(q, seg, frame + 2 * RTE_ETHER_ADDR_LEN,
			    info->data_len - 2 * RTE_ETHER_ADDR_LEN);
	} else {
		chain_write(q, seg, frame, info->data_len);
	}
	m->pkt_len = len;
	return 0;
}

void
hvn_rx_rsc_drop(struct hvn_rxq *q, struct hvn_chan *ch)
{
	ch->invalid[HVN_INV_RSC]++;
	q->stats.errors++;
	rte_pktmbuf_free(ch->rsc_head);
	ch->rsc_head = NULL;
}

static int
rsc_refuse(struct hvn_rxq *q, struct hvn_chan *ch)
{
	hvn_rx_rsc_drop(q, ch);
	return -EBADMSG;
}

/* A middle or last piece: its bytes go behind those already collected. */
static int
rsc_append(struct hvn_rxq *q, struct hvn_chan *ch, struct rte_mbuf *m, const uint8_t *piece,
	   uint32_t len)
{
	struct rte_mbuf *head = ch->rsc_head, *tail = ch->rsc_tail;
	uint32_t room = q->buf_len - tail->data_len, segs;

	if (head->pkt_len + len > HVN_LRO_MAX)
		return rsc_refuse(q, ch);
	if (len > room) {
		segs = segs_for(q, len - room);
		hvn_rx_fill(m, q->mbuf_init, pool_flags(q), 0, 0);
		if (chain_build(q, m, segs) != 0)
			return -ENOMEM;
		m->nb_segs = 1;
		tail->next = m;
		head->nb_segs += (uint16_t)segs;
	}
	ch->rsc_tail = chain_write(q, tail, piece, len);
	head->pkt_len += len;
	return len > room ? HVN_RX_USED : 0;
}

/* Payload of the first segment of a coalesced frame, which the others but the last have as well. */
static uint16_t
segment_size(const struct rte_mbuf *m, uint32_t first)
{
	struct rte_net_hdr_lens lens = { 0 };
	uint32_t headers;

	rte_net_get_ptype(m, &lens, RTE_PTYPE_L2_MASK | RTE_PTYPE_L3_MASK | RTE_PTYPE_L4_MASK);
	headers = lens.l2_len + lens.l3_len + lens.l4_len;
	return (uint16_t)(headers < first ? first - headers : first);
}

static int
rsc_piece(struct hvn_rxq *q, struct hvn_chan *ch, struct rte_mbuf *m, const uint8_t *frame,
	  const struct rndis_pkt_info *info, struct rte_mbuf **out)
{
	const uint8_t flags = info->packet_id.flags;
	int rc;

	if ((flags & RNDIS_PKTID_FIRST) != 0) {
		if (ch->rsc_head != NULL)
			rsc_refuse(q, ch);
		rc = frame_start(q, m, frame, info);
		if (rc != 0)
			return rc;
		fix_ip_checksum(m, info->checksum);
		ch->rsc_head = m;
		ch->rsc_tail = rte_pktmbuf_lastseg(m);
		ch->rsc_pieces = 1;
		ch->rsc_first = m->pkt_len; /* with a tag put back */
		rc = HVN_RX_USED;
	} else {
		if (ch->rsc_head == NULL)
			return rsc_refuse(q, ch);
		rc = rsc_append(q, ch, m, frame, info->data_len);
		if (rc < 0)
			return rc;
		ch->rsc_pieces++;
	}
	if ((flags & RNDIS_PKTID_LAST) == 0)
		return rc;
	*out = ch->rsc_head;
	ch->rsc_head = NULL;
	if (ch->rsc_pieces > 1) {
		(*out)->ol_flags |= RTE_MBUF_F_RX_LRO;
		(*out)->tso_segsz = segment_size(*out, ch->rsc_first);
	}
	return rc | HVN_RX_OUT;
}

int
hvn_rx_frame(struct hvn_rxq *q, struct hvn_chan *ch, struct rte_mbuf *m, const uint8_t *frame,
	     const struct rndis_pkt_info *info, struct rte_mbuf **out)
{
	int rc;

	if ((info->present & RNDIS_INFO_PACKET_ID) != 0 &&
	    (info->packet_id.flags & RNDIS_PKTID_SUBALLOC) != 0)
		return rsc_piece(q, ch, m, frame, info, out);
	/* The frame before was never completed. */
	if (ch->rsc_head != NULL)
		hvn_rx_rsc_drop(q, ch);
	rc = frame_start(q, m, frame, info);
	if (rc != 0)
		return rc;
	*out = m;
	return HVN_RX_USED | HVN_RX_OUT;
}
