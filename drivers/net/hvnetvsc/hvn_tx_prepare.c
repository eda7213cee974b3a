/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tx_prepare: says which packet cannot be sent. The transmit burst needs no preparation, since it
 * fixes headers on a copy; but the packet may leave through a VF, whose hardware wants the pseudo
 * header sums in the mbuf.
 */
#include <rte_errno.h>
#include <rte_net.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include "hvn_path_inline.h"
#include "hvn_tx_frame.h"

/*
 * Are the headers in the first segment? Elsewhere DPDK's function refuses the packet, which the
 * burst sends: it gathers them. What a VF thinks of such a packet its own tx_prepare has said.
 */
static bool
headers_here(const struct rte_mbuf *m)
{
	const uint64_t l4 = m->ol_flags & (RTE_MBUF_F_TX_L4_MASK | RTE_MBUF_F_TX_TCP_SEG);
	const uint32_t told = m->l4_len;
	uint32_t least = sizeof(struct rte_tcp_hdr);

	if (l4 == 0 || l4 == RTE_MBUF_F_TX_UDP_CKSUM)
		least = l4 == 0 ? 0 : sizeof(struct rte_udp_hdr);
	return m->data_len >= m->l2_len + m->l3_len + RTE_MAX(told, least);
}

static int
prepare_one(const struct hvn_txq *q, struct rte_mbuf *m)
{
	const struct hvn_port *p = q->port;
	struct hvn_tx_frame f;
	int rc;

	rc = hvn_tx_describe(p, m, &f);
	if (rc != 0)
		return rc;
	/* More pieces than one message may have: only a copy can be sent. */
	if (m->nb_segs >= HVN_GPA_RANGES_MAX &&
	    (q->txd->sect_count == 0 || f.len + HVN_TX_RNDIS_MAX > q->txd->agg_limit))
		return -EINVAL;
	if ((m->ol_flags &
	     (RTE_MBUF_F_TX_L4_MASK | RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_TCP_SEG)) != 0 &&
	    RTE_MBUF_DIRECT(m) && rte_mbuf_refcnt_read(m) == 1 && headers_here(m))
		return rte_net_intel_cksum_prepare(m);
	return 0;
}

uint16_t
hvn_tx_prepare(void *txq, struct rte_mbuf **pkts, uint16_t n)
{
	struct hvn_txq *q = txq;
	uint16_t i, vf = hvn_path_enter(&q->path);
	int rc;

	/* Also while the queue is about to turn: it may by the time these packets are sent. */
	vf &= (uint16_t) ~(HVN_TX_TO_VF | HVN_TX_BACK);
	if (unlikely(vf < RTE_MAX_ETHPORTS)) {
		const struct rte_eth_dev *dev = &rte_eth_devices[vf];

		if (dev->state == RTE_ETH_DEV_ATTACHED && dev->tx_pkt_prepare != NULL)
			n = dev->tx_pkt_prepare(dev->data->tx_queues[q->queue_id], pkts, n);
	}
	hvn_path_leave(&q->path);
	for (i = 0; i < n; i++) {
		rc = prepare_one(q, pkts[i]);
		if (rc != 0) {
			rte_errno = -rc;
			return i;
		}
	}
	return n;
}
