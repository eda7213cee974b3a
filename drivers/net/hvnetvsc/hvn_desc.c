/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a queue holds: counts and states of descriptors, and packets that are done with. It is the
 * sum of the two paths, whichever is in force: frames wait in the ring and in the VF's queue.
 *
 * Applications ask from other threads than the one that polls, whose mark the question must not
 * take away (struct hvn_queue_path): it has one of its own, for one at a time.
 */
#include <errno.h>

#include "hvn_chan.h"
#include "hvn_path_inline.h"
#include "hvn_txd.h"

/* The VF, if one is in use, which stays there until answered(); else NULL. */
static const struct rte_eth_dev *
ask_vf(const struct hvn_queue_path *path, struct hvn_lock *asking)
{
	const struct rte_eth_dev *dev;
	uint16_t vf;

	if (__atomic_load_n(&path->vf_port, __ATOMIC_RELAXED) == RTE_MAX_ETHPORTS ||
	    hvn_lock_spin(asking) == HVN_LOCK_NO)
		return NULL;
	/* As hvn_path_enter(). */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	vf = __atomic_load_n(&path->vf_port, __ATOMIC_ACQUIRE);
	vf &= (uint16_t) ~(HVN_TX_TO_VF | HVN_TX_BACK);
	dev = vf < RTE_MAX_ETHPORTS ? &rte_eth_devices[vf] : NULL;
	if (dev != NULL && dev->state == RTE_ETH_DEV_ATTACHED)
		return dev;
	hvn_lock_release(asking);
	return NULL;
}

static void
answered(struct hvn_lock *asking)
{
	hvn_lock_release(asking);
}

/* --- receive ------------------------------------------------------------------------------------ */

/* Frames in the ring, at most nb_desc. */
static uint32_t
in_ring(struct hvn_rxq *q)
{
	struct hvn_chan *ch = q->chan;
	struct vmbus_ring_pkt pkt;
	struct vmbus_ring ahead;
	uint32_t ranges, count = 0;
	uint8_t scratch[64];

	if (ch == NULL || hvn_removed(q->port) || !hvn_biased_try(&ch->in_lock))
		return 0;
	ahead = ch->vc->rx;
	if (ch->msg_ranges != 0) {
		count = ch->msg_ranges - ch->msg_next;
		vmbus_ring_rx_release(&ahead, &ch->msg);
	}
	/* The one packet that wraps may be too long for scratch: it is then not counted. */
	while (count < q->nb_desc) {
		int rc = vmbus_ring_rx_peek(&ahead, &pkt, scratch, sizeof(scratch));

		if (rc == 0 || rc == -EIO)
			break;
		if (rc == 1 && pkt.type == VMBUS_PKT_XFER_PAGES &&
		    hvn_chan_xfer(&pkt, &ranges) == HVN_XFER_FRAMES)
			count += ranges;
		vmbus_ring_rx_release(&ahead, &pkt);
	}
	hvn_biased_release(&ch->in_lock);
	return RTE_MIN(count, (uint32_t)q->nb_desc);
}

/* All but what the VF itself holds: the ring, and what bursts have taken but not delivered. */
static uint32_t
beside_vf(struct hvn_rxq *q)
{
	return in_ring(q) + __atomic_load_n(&q->hold.n, __ATOMIC_RELAXED) +
	       __atomic_load_n(&q->hold.late_n, __ATOMIC_RELAXED);
}

uint32_t
hvn_rx_queue_count(void *rxq)
{
	struct hvn_rxq *q = rxq;
	const struct rte_eth_dev *vf = ask_vf(&q->path, &q->asking);
	uint32_t count = 0, of_vf;

	if (vf != NULL) {
		if (vf->rx_queue_count != NULL) {
			of_vf = vf->rx_queue_count(vf->data->rx_queues[q->queue_id]);
			/* Some drivers have an error for it. */
			count = (int32_t)of_vf < 0 ? 0 : of_vf;
		}
		answered(&q->asking);
	}
	count += beside_vf(q);
	return RTE_MIN(count, (uint32_t)q->nb_desc);
}

int
hvn_rx_descriptor_status(void *rxq, uint16_t offset)
{
	struct hvn_rxq *q = rxq;
	const struct rte_eth_dev *vf;
	uint32_t beside;
	int status = -ENOTSUP;

	if (offset >= q->nb_desc)
		return -EINVAL;
	beside = beside_vf(q);
	if (offset < beside)
		return RTE_ETH_RX_DESC_DONE;
	vf = ask_vf(&q->path, &q->asking);
	if (vf == NULL)
		return RTE_ETH_RX_DESC_AVAIL;
	if (vf->rx_descriptor_status != NULL)
		status = vf->rx_descriptor_status(vf->data->rx_queues[q->queue_id],
						  (uint16_t)(offset - beside));
	answered(&q->asking);
	if (status >= 0)
		return status;
	/* It has no such descriptor, or cannot tell. */
	return offset < hvn_rx_queue_count(q) ? RTE_ETH_RX_DESC_DONE : RTE_ETH_RX_DESC_AVAIL;
}

/* --- transmit ----------------------------------------------------------------------------------- */

int
hvn_tx_descriptor_status(void *txq, uint16_t offset)
{
	struct hvn_txq *q = txq;
	struct hvn_txd *t = q->txd;
	const struct rte_eth_dev *vf;
	int status = RTE_ETH_TX_DESC_DONE;

	if (offset >= q->nb_desc)
		return -EINVAL;
	/*
	 * Descriptors are used in no order: the free and the completed ones come first. Relaxed: they
	 * are only counted.
	 */
	if (offset >= t->n_free + (__atomic_load_n(&t->done_prod, __ATOMIC_RELAXED) - t->done_cons))
		return RTE_ETH_TX_DESC_FULL;
	vf = ask_vf(&q->path, &q->asking);
	if (vf == NULL)
		return status;
	if (vf->tx_descriptor_status != NULL)
		status = vf->tx_descriptor_status(vf->data->tx_queues[q->queue_id], offset);
	answered(&q->asking);
	/* Its queue may be shorter. */
	return status == -EINVAL ? RTE_ETH_TX_DESC_UNAVAIL
	       : status < 0	 ? RTE_ETH_TX_DESC_DONE
				 : status;
}

/* Of the VF's queue, which keeps sent packets for as long as its driver likes. */
static uint32_t
cleanup_vf(struct hvn_txq *q, uint32_t free_cnt)
{
	const struct rte_eth_dev *vf = ask_vf(&q->path, &q->asking);
	int n = 0;

	if (vf == NULL)
		return 0;
	if (vf->dev_ops->tx_done_cleanup != NULL)
		n = vf->dev_ops->tx_done_cleanup(vf->data->tx_queues[q->queue_id], free_cnt);
	answered(&q->asking);
	return (uint32_t)RTE_MAX(n, 0);
}

static uint32_t
cleanup_ring(struct hvn_txq *q, uint32_t max)
{
	struct hvn_txd *t = q->txd;
	uint32_t n;

	if (q->chan == NULL || (t->inside && !hvn_txd_repair(q)))
		return 0;
	hvn_txd_enter(t);
	/* In this order: inside it is waited for, else it sees this; and the channel may be another. */
	if (hvn_recovering(q->port) || q->chan == NULL) {
		hvn_txd_leave(t);
		return 0;
	}
	n = hvn_txd_harvest_some(q, max);
	if (n < max && hvn_txd_used(t) != 0 && hvn_biased_try(&q->chan->in_lock)) {
		hvn_chan_scan_locked(q->chan);
		hvn_biased_release(&q->chan->in_lock);
		n += hvn_txd_harvest_some(q, max - n);
	}
	hvn_txd_leave(t);
	return n;
}

int
hvn_tx_done_cleanup(void *txq, uint32_t free_cnt)
{
	const uint32_t max = free_cnt != 0 ? free_cnt : INT32_MAX;
	struct hvn_txq *q = txq;
	uint32_t n = cleanup_vf(q, free_cnt);

	if (hvn_removed(q->port))
		return n != 0 ? (int)n : -EIO;
	if (n < max)
		n += cleanup_ring(q, max - n);
	return (int)n;
}
