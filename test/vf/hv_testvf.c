/* SPDX-License-Identifier: BSD-3-Clause */
/* What the device of hv_testvf.h does. */
#include <errno.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_malloc.h>
#include <bus_vdev_driver.h>

#include "hv_testvf.h"

#define HOLD_MS 30000 /* a test that forgets it ends all the same */

struct queue {
	struct testvf *vf;
	uint16_t inner;
	uint16_t id;
	uint64_t packets, bytes;
};

static uint64_t
bytes_of(struct rte_mbuf **pkts, uint16_t n)
{
	uint64_t sum = 0;

	for (uint16_t i = 0; i < n; i++)
		sum += pkts[i]->pkt_len;
	return sum;
}

/* --- bursts ------------------------------------------------------------------------------------- */

static bool
moves_nothing(const struct testvf *vf)
{
	return __atomic_load_n(&vf->gone, __ATOMIC_RELAXED) ||
	       __atomic_load_n(&vf->resetting, __ATOMIC_RELAXED);
}

void
testvf_forget(struct rte_eth_dev *dev)
{
	struct testvf *vf = testvf_of(dev);
	struct rte_mbuf *pkts[32];
	uint16_t n;

	if (!vf->has_inner || !dev->data->dev_started)
		return;
	for (uint16_t i = 0; i < dev->data->nb_rx_queues; i++)
		while ((n = rte_eth_rx_burst(vf->inner, i, pkts, RTE_DIM(pkts))) != 0)
			rte_pktmbuf_free_bulk(pkts, n);
}

uint16_t
testvf_rx(void *queue, struct rte_mbuf **pkts, uint16_t n)
{
	struct queue *q = queue;
	struct testvf *vf = q->vf;

	if (!vf->has_inner || moves_nothing(vf))
		return 0;
	n = rte_eth_rx_burst(q->inner, q->id, pkts, n);
	if (n != 0 && !TAILQ_EMPTY(&vf->flows))
		n = testvf_flow_filter(vf, pkts, n);
	for (uint16_t i = 0; i < n; i++)
		pkts[i]->port = vf->data->port_id;
	q->packets += n;
	q->bytes += bytes_of(pkts, n);
	return n;
}

uint16_t
testvf_tx(void *queue, struct rte_mbuf **pkts, uint16_t n)
{
	struct queue *q = queue;
	struct testvf *vf = q->vf;
	uint16_t sent = n;
	uint64_t all;

	while (unlikely(__atomic_load_n(&vf->hang, __ATOMIC_ACQUIRE))) {
		__atomic_store_n(&vf->hung, true, __ATOMIC_RELAXED);
		rte_pause();
	}
	if (moves_nothing(vf))
		return 0;
	all = bytes_of(pkts, n);
	if (rte_eal_process_type() == RTE_PROC_SECONDARY)
		__atomic_fetch_add(&vf->secondary_tx, n, __ATOMIC_RELAXED);
	if (vf->has_inner) {
		sent = rte_eth_tx_burst(q->inner, q->id, pkts, n);
		all -= bytes_of(pkts + sent, n - sent);
	} else if (unlikely(__atomic_load_n(&vf->leak, __ATOMIC_RELAXED))) {
		__atomic_fetch_add(&vf->leaked, n, __ATOMIC_RELAXED);
	} else {
		rte_pktmbuf_free_bulk(pkts, n);
	}
	__atomic_fetch_add(&vf->all_tx, sent, __ATOMIC_RELAXED);
	q->packets += sent;
	q->bytes += all;
	return sent;
}

/* --- life ----------------------------------------------------------------------------------------- */

static int
vf_configure(struct rte_eth_dev *dev)
{
	const struct rte_eth_rxmode *rx = &dev->data->dev_conf.rxmode;
	const struct rte_eth_rss_conf *rss = &dev->data->dev_conf.rx_adv_conf.rss_conf;
	struct testvf *vf = testvf_of(dev);
	struct rte_eth_conf conf = { 0 };

	if (vf->fail[OP_CONFIGURE] != 0)
		return vf->fail[OP_CONFIGURE];
	vf->strip = (rx->offloads & RTE_ETH_RX_OFFLOAD_VLAN_STRIP) != 0;
	vf->mtu = dev->data->mtu;
	vf->hf = (rx->mq_mode & RTE_ETH_MQ_RX_RSS_FLAG) != 0 ? rss->rss_hf : 0;
	if (rss->rss_key != NULL)
		memcpy(vf->key, rss->rss_key, TESTVF_KEY);
	return !vf->has_inner ? 0
			      : rte_eth_dev_configure(vf->inner, dev->data->nb_rx_queues,
						      dev->data->nb_tx_queues, &conf);
}

static int
vf_start(struct rte_eth_dev *dev)
{
	struct testvf *vf = testvf_of(dev);

	if (vf->fail[OP_START] != 0)
		return vf->fail[OP_START];
	for (uint16_t i = 0; i < dev->data->nb_rx_queues; i++)
		dev->data->rx_queue_state[i] = RTE_ETH_QUEUE_STATE_STARTED;
	for (uint16_t i = 0; i < dev->data->nb_tx_queues; i++)
		dev->data->tx_queue_state[i] = RTE_ETH_QUEUE_STATE_STARTED;
	return vf->has_inner ? rte_eth_dev_start(vf->inner) : 0;
}

static int
vf_stop(struct rte_eth_dev *dev)
{
	struct testvf *vf = testvf_of(dev);

	if (vf->fail[OP_STOP] != 0)
		return vf->fail[OP_STOP];
	for (unsigned int ms = 0; ms < HOLD_MS && __atomic_load_n(&vf->hold, __ATOMIC_ACQUIRE);
	     ms++)
		rte_delay_us_sleep(1000);
	dev->data->dev_started = 0;
	return vf->has_inner ? rte_eth_dev_stop(vf->inner) : 0;
}

static void
vf_rxq_release(struct rte_eth_dev *dev, uint16_t id)
{
	rte_free(dev->data->rx_queues[id]);
	dev->data->rx_queues[id] = NULL;
}

static void
vf_txq_release(struct rte_eth_dev *dev, uint16_t id)
{
	rte_free(dev->data->tx_queues[id]);
	dev->data->tx_queues[id] = NULL;
}

static int
vf_close(struct rte_eth_dev *dev)
{
	int rc;

	if (rte_eal_process_type() != RTE_PROC_PRIMARY)
		return 0;
	rc = testvf_of(dev)->fail[OP_CLOSE];
	for (uint16_t i = 0; i < dev->data->nb_rx_queues; i++)
		vf_rxq_release(dev, i);
	for (uint16_t i = 0; i < dev->data->nb_tx_queues; i++)
		vf_txq_release(dev, i);
	testvf_ctl_close(dev);
	if (testvf_of(dev)->made[0] != '\0')
		rte_eal_hotplug_remove("vdev", testvf_of(dev)->made);
	testvf_of(dev)->made[0] = '\0';
	dev->data->mac_addrs = NULL;
	return rc;
}

static int
vf_is_removed(struct rte_eth_dev *dev)
{
	return testvf_of(dev)->gone;
}

/* --- queues ----------------------------------------------------------------------------------------- */

static int
make_queue(struct rte_eth_dev *dev, uint16_t id, void **slot)
{
	struct queue *q = rte_zmalloc(NULL, sizeof(*q), RTE_CACHE_LINE_SIZE);

	if (q == NULL)
		return -ENOMEM;
	q->vf = testvf_of(dev);
	q->inner = q->vf->inner;
	q->id = id;
	*slot = q;
	return 0;
}

static int
vf_rxq_setup(struct rte_eth_dev *dev, uint16_t id, uint16_t nb, unsigned int socket,
	     const struct rte_eth_rxconf *conf, struct rte_mempool *pool)
{
	struct testvf *vf = testvf_of(dev);
	int rc = vf->fail[OP_RXQ];

	(void)conf;
	if (rc == 0 && vf->has_inner)
		rc = rte_eth_rx_queue_setup(vf->inner, id, nb, socket, NULL, pool);
	return rc != 0 ? rc : make_queue(dev, id, &dev->data->rx_queues[id]);
}

static int
vf_txq_setup(struct rte_eth_dev *dev, uint16_t id, uint16_t nb, unsigned int socket,
	     const struct rte_eth_txconf *conf)
{
	struct testvf *vf = testvf_of(dev);
	int rc = vf->fail[OP_TXQ];

	(void)conf;
	if (rc == 0 && vf->has_inner)
		rc = rte_eth_tx_queue_setup(vf->inner, id, nb, socket, NULL);
	return rc != 0 ? rc : make_queue(dev, id, &dev->data->tx_queues[id]);
}

/* --- configuration ------------------------------------------------------------------------------- */

static int
vf_info(struct rte_eth_dev *dev, struct rte_eth_dev_info *info)
{
	struct testvf *vf = testvf_of(dev);
	int rc = vf->fail[OP_INFO];

	if (rc == 0 && vf->has_inner)
		rc = rte_eth_dev_info_get(vf->inner, info);
	if (rc != 0)
		return rc;
	info->device = dev->device;
	info->max_rx_queues =
		vf->has_inner ? RTE_MIN(info->max_rx_queues, vf->max_queues) : vf->max_queues;
	info->max_tx_queues = info->max_rx_queues;
	if (vf->max_desc != 0)
		info->rx_desc_lim.nb_max = info->tx_desc_lim.nb_max = vf->max_desc;
	info->max_mac_addrs = 1;
	info->max_mtu = vf->max_mtu;
	info->max_rx_pktlen = vf->max_mtu + 18;
	info->rx_offload_capa |= vf->rx_capa;
	info->tx_offload_capa |= vf->tx_capa;
	if (vf->has_rss) {
		info->flow_type_rss_offloads = UINT64_MAX;
		info->hash_key_size = TESTVF_KEY;
		info->reta_size = vf->reta_size;
	}
	return 0;
}

static int
vf_mtu(struct rte_eth_dev *dev, uint16_t mtu)
{
	struct testvf *vf = testvf_of(dev);

	if (vf->fail[OP_MTU] == 0)
		vf->mtu = mtu;
	return vf->fail[OP_MTU];
}

static int
vf_promisc(struct rte_eth_dev *dev)
{
	return testvf_of(dev)->fail[OP_PROMISC];
}

static int
vf_allmulti(struct rte_eth_dev *dev)
{
	return testvf_of(dev)->fail[OP_ALLMULTI];
}

static int
vf_mc(struct rte_eth_dev *dev, struct rte_ether_addr *list, uint32_t n)
{
	struct testvf *vf = testvf_of(dev);

	if (vf->fail[OP_MC] != 0 || n > TESTVF_MC)
		return vf->fail[OP_MC] != 0 ? vf->fail[OP_MC] : -ENOSPC;
	if (n != 0)
		memcpy(vf->mc, list, n * sizeof(*list));
	vf->n_mc = n;
	return 0;
}

/* ethdev keeps the address itself. */
static int
vf_mac(struct rte_eth_dev *dev, struct rte_ether_addr *mac)
{
	(void)mac;
	return testvf_of(dev)->fail[OP_MAC];
}

static int
vf_rss(struct rte_eth_dev *dev, struct rte_eth_rss_conf *conf)
{
	struct testvf *vf = testvf_of(dev);

	if (vf->fail[OP_RSS] != 0)
		return vf->fail[OP_RSS];
	vf->hf = conf->rss_hf;
	if (conf->rss_key != NULL)
		memcpy(vf->key, conf->rss_key, TESTVF_KEY);
	return 0;
}

static int
vf_reta(struct rte_eth_dev *dev, struct rte_eth_rss_reta_entry64 *reta, uint16_t size)
{
	struct testvf *vf = testvf_of(dev);

	if (vf->fail[OP_RETA] != 0)
		return vf->fail[OP_RETA];
	for (uint16_t i = 0; i < size; i++)
		if ((reta[i / 64].mask & UINT64_C(1) << i % 64) != 0)
			vf->reta[i] = reta[i / 64].reta[i % 64];
	return 0;
}

static int
vf_vlan(struct rte_eth_dev *dev, int mask)
{
	struct testvf *vf = testvf_of(dev);

	(void)mask;
	if (vf->fail[OP_VLAN] != 0)
		return vf->fail[OP_VLAN];
	vf->strip = (dev->data->dev_conf.rxmode.offloads & RTE_ETH_RX_OFFLOAD_VLAN_STRIP) != 0;
	return 0;
}

static int
vf_link(struct rte_eth_dev *dev, int wait)
{
	struct rte_eth_link link = { .link_speed = RTE_ETH_SPEED_NUM_50G,
				     .link_duplex = RTE_ETH_LINK_FULL_DUPLEX };
	const struct testvf *vf = testvf_of(dev);

	(void)wait;
	link.link_status = vf->gone || vf->link_down ||
					   (vf->has_inner &&
					    rte_eth_devices[vf->inner].data->dev_link.link_status ==
						    RTE_ETH_LINK_DOWN)
				   ? RTE_ETH_LINK_DOWN
				   : RTE_ETH_LINK_UP;
	return rte_eth_linkstatus_set(dev, &link);
}

static int
vf_stats(struct rte_eth_dev *dev, struct rte_eth_stats *s)
{
	if (testvf_of(dev)->fail[OP_STATS] != 0)
		return testvf_of(dev)->fail[OP_STATS];
	for (uint16_t i = 0; i < dev->data->nb_rx_queues; i++) {
		const struct queue *q = dev->data->rx_queues[i];

		s->ipackets += q != NULL ? q->packets : 0;
		s->ibytes += q != NULL ? q->bytes : 0;
		s->q_ipackets[i % RTE_ETHDEV_QUEUE_STAT_CNTRS] += q != NULL ? q->packets : 0;
	}
	for (uint16_t i = 0; i < dev->data->nb_tx_queues; i++) {
		const struct queue *q = dev->data->tx_queues[i];

		s->opackets += q != NULL ? q->packets : 0;
		s->obytes += q != NULL ? q->bytes : 0;
		s->q_opackets[i % RTE_ETHDEV_QUEUE_STAT_CNTRS] += q != NULL ? q->packets : 0;
	}
	return 0;
}

static int
vf_flow_ops(struct rte_eth_dev *dev, const struct rte_flow_ops **ops)
{
	(void)dev;
	*ops = &testvf_flow_ops;
	return 0;
}

const struct eth_dev_ops testvf_ops = {
	.dev_configure = vf_configure,
	.dev_start = vf_start,
	.dev_stop = vf_stop,
	.dev_close = vf_close,
	.is_removed = vf_is_removed,
	.dev_infos_get = vf_info,
	.rx_queue_setup = vf_rxq_setup,
	.tx_queue_setup = vf_txq_setup,
	.rx_queue_release = vf_rxq_release,
	.tx_queue_release = vf_txq_release,
	.mtu_set = vf_mtu,
	.promiscuous_enable = vf_promisc,
	.promiscuous_disable = vf_promisc,
	.allmulticast_enable = vf_allmulti,
	.allmulticast_disable = vf_allmulti,
	.set_mc_addr_list = vf_mc,
	.mac_addr_set = vf_mac,
	.rss_hash_update = vf_rss,
	.reta_update = vf_reta,
	.vlan_offload_set = vf_vlan,
	.link_update = vf_link,
	.stats_get = vf_stats,
	.flow_ops_get = vf_flow_ops,
};
