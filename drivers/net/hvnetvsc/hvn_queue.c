/* SPDX-License-Identifier: BSD-3-Clause */
/* Set-up, release, start and stop of queues. */
#include <errno.h>

#include <rte_cycles.h>
#include <rte_malloc.h>

#include "hvn_copy.h"
#include "hvn_leave.h"
#include "hvn_path_inline.h"
#include "hvn_stats.h"
#include "hvn_tx_hold.h"
#include "hvn_txd.h"

#define SLOT_FETCH_OFF 256 /* to be fetched of a slot, before one was seen */

static int
queue_socket(const struct hvn_port *p, unsigned int socket)
{
	return p->args.numa_aware ? p->data->numa_node : (int)socket;
}

static uint64_t
rearm_word(uint16_t port)
{
	const struct rte_mbuf m = {
		.data_off = RTE_PKTMBUF_HEADROOM,
		.refcnt = 1,
		.nb_segs = 1,
		.port = port,
	};
	uint64_t word;

	memcpy(&word, &m.rearm_data, sizeof(word));
	return word;
}

/* The same pool feeds transmit in most applications: say early what the host cannot read. */
static void
check_memory(struct rte_mempool *pool, void *arg, struct rte_mempool_memhdr *mem, unsigned int i)
{
	(void)pool, (void)i;
	hv_vmbus_dma_check(arg, mem->addr, mem->iova, mem->len);
}

/* Do frames of the MTU fit mbufs with room for so many bytes, or may they be chained? */
static int
frames_fit(const struct rte_eth_dev_data *data, uint16_t id, uint32_t room, uint64_t offloads)
{
	uint32_t frame = data->mtu + RTE_ETHER_HDR_LEN + sizeof(struct rte_vlan_hdr);

	if (frame <= room || (offloads & RTE_ETH_RX_OFFLOAD_SCATTER) != 0)
		return 0;
	HVN_LOG(ERR,
		"port %u: rx queue %u: an MTU of %u needs %u bytes per mbuf, there are %u: use "
		"larger mbufs or the offload RTE_ETH_RX_OFFLOAD_SCATTER",
		data->port_id, id, data->mtu, frame, room);
	return -EINVAL;
}

int
hvn_rxq_fits(const struct hvn_rxq *q)
{
	return frames_fit(q->port->data, q->queue_id, q->buf_len, q->offloads);
}

void
hvn_rxq_strip(struct hvn_rxq *q, bool strip)
{
	q->vlan_strip = strip;
	q->offloads &= ~(uint64_t)RTE_ETH_RX_OFFLOAD_VLAN_STRIP;
	q->offloads |= strip ? RTE_ETH_RX_OFFLOAD_VLAN_STRIP : 0;
}

/*
 * ethdev has released the queue before it sets it up anew, and has checked numbers against what
 * dev_infos_get() says.
 */
int
hvn_rx_queue_setup(struct rte_eth_dev *dev, uint16_t id, uint16_t nb_desc, unsigned int socket,
		   const struct rte_eth_rxconf *conf, struct rte_mempool *pool)
{
	struct hvn_port *p = hvn_port(dev);
	uint32_t room = rte_pktmbuf_data_room_size(pool) - RTE_PKTMBUF_HEADROOM;
	uint64_t offloads = conf->offloads | dev->data->dev_conf.rxmode.offloads;
	struct hvn_rxq *q;

	if (frames_fit(dev->data, id, room, offloads) != 0)
		return -EINVAL;
	q = rte_zmalloc_socket("hvn_rxq", sizeof(*q), RTE_CACHE_LINE_SIZE, queue_socket(p, socket));
	if (q == NULL) {
		HVN_LOG(ERR, "port %u: no memory for rx queue %u", p->port_id, id);
		return -ENOMEM;
	}
	hvn_rx_queue_release(dev, id);
	q->port = p;
	q->pool = pool;
	q->mbuf_init = rearm_word(p->port_id);
	q->offloads = offloads;
	q->queue_id = id;
	q->port_id = p->port_id;
	q->nb_desc = nb_desc;
	q->buf_len = (uint16_t)RTE_MIN(room, (uint32_t)UINT16_MAX - RTE_PKTMBUF_HEADROOM);
	q->data_max = q->buf_len - RTE_ETHER_HDR_LEN;
	q->fetch_off = SLOT_FETCH_OFF;
	q->want_hash = (offloads & RTE_ETH_RX_OFFLOAD_RSS_HASH) != 0;
	q->pinned = (rte_pktmbuf_priv_flags(pool) & RTE_PKTMBUF_POOL_F_PINNED_EXT_BUF) != 0;
	q->deferred = conf->rx_deferred_start != 0;
	hvn_rxq_strip(q, (offloads & RTE_ETH_RX_OFFLOAD_VLAN_STRIP) != 0);
	q->ptypes = p->ptypes;
	q->path.vf_port = RTE_MAX_ETHPORTS;
	q->windex = &q->nothing;
	dev->data->rx_queues[id] = q;
	rte_mempool_mem_iter(pool, check_memory, HV_VMBUS_DEV(dev->device));
	return 0;
}

void
hvn_rx_queue_release(struct rte_eth_dev *dev, uint16_t id)
{
	struct hvn_rxq *q = dev->data->rx_queues[id];

	if (q == NULL)
		return;
	dev->data->rx_queues[id] = NULL;
	hvn_rxq_stop(q);
	hvn_stats_add(&q->port->rx_past[id], &q->stats, &q->base, sizeof(q->stats));
	if (q->left) {
		hvn_leave_vf(q->port, &q->path, &q->asking);
		return;
	}
	rte_free(q->hold.late);
	rte_free(q);
}

int
hvn_tx_queue_setup(struct rte_eth_dev *dev, uint16_t id, uint16_t nb_desc, unsigned int socket,
		   const struct rte_eth_txconf *conf)
{
	struct hvn_port *p = hvn_port(dev);
	const int node = queue_socket(p, socket);
	struct hvn_txq *q;
	uint16_t thresh;

	thresh = conf->tx_free_thresh != 0 ? conf->tx_free_thresh : nb_desc / 4;
	if (thresh >= nb_desc - 3) {
		HVN_LOG(ERR,
			"port %u: tx queue %u: tx_free_thresh %u must be below %u, the "
			"descriptors minus 3",
			p->port_id, id, thresh, nb_desc - 3);
		return -EINVAL;
	}
	q = rte_zmalloc_socket("hvn_txq", sizeof(*q), RTE_CACHE_LINE_SIZE, node);
	if (q == NULL || hvn_txd_create(&q->txd, nb_desc, node) != 0) {
		HVN_LOG(ERR, "port %u: no memory for tx queue %u", p->port_id, id);
		rte_free(q);
		return -ENOMEM;
	}
	hvn_tx_queue_release(dev, id);
	/* In a stopped port the next start takes the channel back from the host. */
	if (p->running && hvn_txq_free_released(p, id, false)) {
		HVN_LOG(ERR,
			"port %u: tx queue %u: the host still holds packets of its "
			"predecessor: again later, or stop the port",
			p->port_id, id);
		hvn_txd_free(q->txd);
		rte_free(q);
		return -EBUSY;
	}
	q->port = p;
	q->offloads = conf->offloads | dev->data->dev_conf.txmode.offloads;
	q->queue_id = id;
	q->port_id = p->port_id;
	q->nb_desc = nb_desc;
	q->free_thresh = thresh;
	q->deferred = conf->tx_deferred_start != 0;
	q->path.vf_port = RTE_MAX_ETHPORTS;
	dev->data->tx_queues[id] = q;
	return 0;
}

static void
txq_keep_stats(struct hvn_txq *q)
{
	hvn_stats_add(&q->port->tx_past[q->queue_id], &q->stats, &q->base, sizeof(q->stats));
	q->base = q->stats;
}

/* The host reads nothing of it any more. */
static void
txq_free(struct hvn_txq *q, bool closed)
{
	const struct hvn_port *p = q->port;

	hvn_txq_reclaim(q);
	txq_keep_stats(q);
	if (q->left)
		return;
	/* Whoever looks up a completion that the host made up may have found it just now. */
	for (uint16_t i = 0; i < p->n_chans && !closed; i++)
		if (hvn_chan_lock_in(p->chan[i]))
			hvn_biased_release(&p->chan[i]->in_lock);
	hvn_txd_free(q->txd);
	rte_free(q);
}

void
hvn_tx_queue_release(struct rte_eth_dev *dev, uint16_t id)
{
	struct hvn_txq *q = dev->data->tx_queues[id];

	if (q == NULL)
		return;
	dev->data->tx_queues[id] = NULL;
	q->started = false;
	q->left = hvn_txq_on_vf(q, false);
	if (q->left)
		hvn_leave_vf(q->port, &q->path, &q->asking);
	if (q->chan != NULL && !hvn_process_elsewhere(q->txd->inside))
		hvn_txd_harvest(q);
	/*
	 * The host was too slow for the stop: what it reads stays as it is until it says so, or until
	 * the channel is closed. p->txq[] leads its completions here.
	 */
	if (q->chan != NULL &&
	    (hvn_txd_used(q->txd) != 0 || hvn_process_elsewhere(q->txd->inside))) {
		q->released = true;
		txq_keep_stats(q);
		return;
	}
	txq_free(q, false);
}

bool
hvn_txq_free_released(struct hvn_port *p, uint16_t id, bool closed)
{
	struct hvn_txq *q = p->txq[id];

	if (q == NULL || !q->released)
		return false;
	if (closed && hvn_process_elsewhere(q->txd->inside)) {
		txq_keep_stats(q);
		p->txq[id] = NULL; /* left to who is inside */
		return false;
	}
	if (!closed) {
		if (hvn_process_elsewhere(q->txd->inside))
			return true;
		hvn_chan_scan(q->chan);
		hvn_txd_harvest(q);
		if (hvn_txd_used(q->txd) != 0)
			return true;
	}
	txq_free(q, closed);
	return false;
}

void
hvn_rxq_info(struct rte_eth_dev *dev, uint16_t id, struct rte_eth_rxq_info *info)
{
	const struct hvn_rxq *q = dev->data->rx_queues[id];

	info->mp = q->pool;
	info->scattered_rx = (q->offloads & RTE_ETH_RX_OFFLOAD_SCATTER) != 0;
	info->nb_desc = q->nb_desc;
	info->rx_buf_size = q->buf_len;
	info->conf.offloads = q->offloads;
	info->conf.rx_deferred_start = q->deferred;
}

void
hvn_txq_info(struct rte_eth_dev *dev, uint16_t id, struct rte_eth_txq_info *info)
{
	const struct hvn_txq *q = dev->data->tx_queues[id];

	info->nb_desc = q->nb_desc;
	info->conf.offloads = q->offloads;
	info->conf.tx_free_thresh = q->free_thresh;
	info->conf.tx_deferred_start = q->deferred;
}

int
hvn_rx_burst_mode(struct rte_eth_dev *dev, uint16_t id, struct rte_eth_burst_mode *mode)
{
	const struct hvn_rxq *q = dev->data->rx_queues[id];

	/* ethdev asks of queues that were never set up, too. */
	if (q == NULL)
		return -EINVAL;
	snprintf(mode->info, sizeof(mode->info), "%s%s%s, %u-byte copies",
		 q->path.vf_port != RTE_MAX_ETHPORTS ? "VF and synthetic" : "synthetic",
		 (q->offloads & RTE_ETH_RX_OFFLOAD_SCATTER) != 0 ? ", scattered" : "",
		 q->chan != NULL && q->chan->ext != NULL ? ", external buffers" : "",
		 hvn_copy_width);
	return 0;
}

int
hvn_tx_burst_mode(struct rte_eth_dev *dev, uint16_t id, struct rte_eth_burst_mode *mode)
{
	const struct hvn_txq *q = dev->data->tx_queues[id];

	if (q == NULL)
		return -EINVAL;
	snprintf(mode->info, sizeof(mode->info), "%s, sections up to %u bytes, %u-byte copies",
		 q->path.vf_port != RTE_MAX_ETHPORTS ? "VF" : "synthetic", q->txd->copybreak,
		 hvn_copy_width);
	return 0;
}

/* --- start and stop ----------------------------------------------------------------------------- */

int
hvn_rxq_start(struct hvn_rxq *q)
{
	struct hvn_port *p = q->port;
	struct hvn_chan *ch;

	if (q->left) {
		if (hvn_rxq_in_use(q, true))
			return -EBUSY;
		/* What was held at the stop, which a process was in the middle of. */
		hvn_path_rx_drop(q);
		q->left = false;
	}
	q->started = true;
	/* Fewer channels were granted than asked for: nothing will come in here. */
	if (q->queue_id >= p->n_chans)
		return 0;
	ch = p->chan[q->queue_id];
	q->recv_buf = p->recv_buf;
	/*
	 * The burst copies 64 bytes where a frame has less: the last slot is left to the slow way. And
	 * it gives mbufs no flags but those of the frame: so are mbufs that need others.
	 */
	q->slot_size = 0;
	if (p->recv_len >= p->caps.slot_size + 64u && !q->pinned)
		q->slot_size = p->caps.slot_size;
	q->slot_max = p->recv_len - q->slot_size - 64;
	/* Frames that are not copied are not usual. */
	q->data_max = q->buf_len - RTE_ETHER_HDR_LEN;
	if (ch->ext != NULL && !q->pinned &&
	    p->args.rx_copybreak <= q->data_max + RTE_ETHER_HDR_LEN)
		q->data_max = p->args.rx_copybreak > RTE_ETHER_HDR_LEN
				      ? p->args.rx_copybreak - RTE_ETHER_HDR_LEN - 1
				      : 0;
	q->owed = 0;
	q->owed_max = p->caps.slot_count / HVN_QUEUES_MAX;
	if (!hvn_chan_lock_in(ch)) {
		q->started = false;
		return -EBUSY;
	}
	ch->rxq = q;
	hvn_biased_release(&ch->in_lock);
	q->chan = ch;
	q->idle_at = HVN_NEVER_IDLE;
	q->windex = &ch->vc->rx.hdr->windex;
	return 0;
}

void
hvn_rxq_stop(struct hvn_rxq *q)
{
	struct hvn_chan *ch = q->chan;
	bool locked;

	q->started = false;
	q->chan = NULL;
	q->windex = &q->nothing;
	q->idle_at = q->nothing;
	q->left = hvn_rxq_in_use(q, false);
	locked = ch != NULL && hvn_chan_lock_in(ch);
	if (ch != NULL) {
		ch->rxq = NULL;
		q->left |= !locked;
	}
	/* Held by a process that is stopped: its burst goes on with what it has. */
	if (!q->left)
		hvn_path_rx_drop(q);
	if (!locked)
		return;
	rte_pktmbuf_free(ch->rsc_head);
	ch->rsc_head = NULL;
	hvn_biased_release(&ch->in_lock);
}

int
hvn_txq_start(struct hvn_txq *q)
{
	struct hvn_port *p = q->port;

	if (p->n_chans == 0 || q->queue_id >= HVN_QUEUES_MAX)
		return -EINVAL;
	/* Still attached: some messages of before the stop are in flight. */
	if (q->chan == NULL) {
		hvn_txd_start(q);
		/* With fewer channels than queues some queues share one. */
		q->chan = p->chan[q->queue_id % p->n_chans];
		p->txq[q->queue_id] = q;
	}
	q->started = true;
	return 0;
}

int
hvn_txq_stop(struct hvn_txq *q, unsigned int timeout_ms)
{
	const uint64_t end = rte_rdtsc() + rte_get_tsc_hz() / 1000 * timeout_ms;

	q->started = false;
	if (q->chan == NULL || (q->txd->inside && !hvn_txd_repair(q)))
		return q->chan == NULL ? 0 : -EBUSY;
	for (;;) {
		hvn_tx_flush(q);
		hvn_txd_harvest(q);
		if (hvn_txd_used(q->txd) == 0)
			break;
		/* In a ring that is lost or broken no completion comes. */
		if (rte_rdtsc() > end || hvn_removed(q->port) || q->chan->lost ||
		    q->chan->vc->rx.error != 0) {
			hvn_tx_unhold(q);
			if (hvn_txd_used(q->txd) == 0)
				break;
			return -EBUSY;
		}
		if (hvn_chan_scan(q->chan) <= 0)
			rte_delay_us_sleep(20);
	}
	q->port->txq[q->queue_id] = NULL;
	q->chan = NULL;
	return 0;
}

void
hvn_txq_reclaim(struct hvn_txq *q)
{
	if (q->port->txq[q->queue_id] == q)
		q->port->txq[q->queue_id] = NULL;
	q->chan = NULL;
	q->started = false;
	hvn_txd_reset(q->txd);
}
