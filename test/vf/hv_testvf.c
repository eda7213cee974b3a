/* SPDX-License-Identifier: BSD-3-Clause */
/* The device: see hv_testvf.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_kvargs.h>
#include <rte_malloc.h>
#include <bus_vdev_driver.h>
#include <ethdev_vdev.h>

#include <rte_cycles.h>

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

static uint16_t
vf_rx(void *queue, struct rte_mbuf **pkts, uint16_t n)
{
	struct queue *q = queue;
	struct testvf *vf = q->vf;

	if (!vf->has_inner || __atomic_load_n(&vf->gone, __ATOMIC_RELAXED))
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

static uint16_t
vf_tx(void *queue, struct rte_mbuf **pkts, uint16_t n)
{
	struct queue *q = queue;
	struct testvf *vf = q->vf;
	uint16_t sent = n;
	uint64_t all;

	while (unlikely(__atomic_load_n(&vf->hang, __ATOMIC_ACQUIRE))) {
		__atomic_store_n(&vf->hung, true, __ATOMIC_RELAXED);
		rte_pause();
	}
	if (__atomic_load_n(&vf->gone, __ATOMIC_RELAXED))
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

static const struct eth_dev_ops vf_ops = {
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

/* --- probe -------------------------------------------------------------------------------------------- */

static int
copy_text(const char *key, const char *value, void *to)
{
	(void)key;
	snprintf(to, 128, "%s", value != NULL ? value : "");
	return 0;
}

static const char *
text_arg(struct rte_kvargs *args, const char *key, char text[128], const char *none)
{
	snprintf(text, 128, "%s", none);
	if (args != NULL)
		rte_kvargs_process(args, key, copy_text, text);
	return text;
}

static uint64_t
number_arg(struct rte_kvargs *args, const char *key, uint64_t none)
{
	char text[128];

	return text_arg(args, key, text, "")[0] == '\0' ? none : strtoull(text, NULL, 0);
}

/* Applications see the outer port only. */
static int
own_inner(const struct testvf *vf)
{
	struct rte_eth_dev_owner owner = { .name = "net_hvtestvf" };
	int rc = rte_eth_dev_owner_new(&owner.id);

	return rc != 0 ? rc : rte_eth_dev_owner_set(vf->inner, &owner);
}

static int
find_inner(struct testvf *vf, const char *text)
{
	size_t len = strcspn(text, "+");
	char args[128];
	int rc;

	if (text[len] == '\0')
		return rte_eth_dev_get_port_by_name(text, &vf->inner);
	snprintf(args, sizeof(args), "%s", text + len + 1);
	for (char *p = args; *p != '\0'; p++)
		*p = *p == '+' ? ',' : *p == ':' ? '=' : *p;
	snprintf(vf->made, sizeof(vf->made), "%.*s", (int)len, text);
	rc = rte_eal_hotplug_add("vdev", vf->made, args);
	if (rc == 0)
		rc = rte_eth_dev_get_port_by_name(vf->made, &vf->inner);
	return rc != 0 ? rc : own_inner(vf);
}

static int
set_up(struct rte_eth_dev *dev, struct rte_kvargs *args, const char *mac_key)
{
	struct testvf *vf = testvf_of(dev);
	char text[128];

	vf->data = dev->data;
	TAILQ_INIT(&vf->flows);
	rte_spinlock_init(&vf->flow_lock);
	vf->rmv = number_arg(args, "rmv", 1) != 0;
	vf->max_queues = (uint16_t)number_arg(args, "queues", 64);
	vf->max_mtu = (uint16_t)number_arg(args, "mtu", 9600);
	vf->has_inner = text_arg(args, "inner", text, "")[0] != '\0';
	if (vf->has_inner && find_inner(vf, text) != 0) {
		fprintf(stderr, "net_hvtestvf: inner=%s is no port\n", text);
		return -ENODEV;
	}
	/* With packets it can what the inner one can; without, everything. */
	vf->has_rss = number_arg(args, "rss", !vf->has_inner) != 0;
	vf->reta_size = (uint16_t)RTE_MIN(number_arg(args, "reta", 128), (uint64_t)TESTVF_RETA);
	vf->rx_capa = number_arg(args, "rxcap", vf->has_inner ? 0 : UINT64_MAX);
	vf->tx_capa = number_arg(args, "txcap",
				 vf->has_inner ? RTE_ETH_TX_OFFLOAD_MULTI_SEGS |
							 RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE
					       : UINT64_MAX);
	if (rte_ether_unformat_addr(text_arg(args, mac_key, text, ""), &vf->mac) != 0) {
		fprintf(stderr, "net_hvtestvf: %s=%s is no MAC address\n", mac_key, text);
		return -EINVAL;
	}
	testvf_fail(vf, text_arg(args, "fail", text, ""));
	if (vf->fail[OP_PROBE] != 0)
		return vf->fail[OP_PROBE];
	dev->data->mac_addrs = &vf->mac;
	dev->data->dev_flags = vf->rmv ? RTE_ETH_DEV_INTR_RMV : 0;
	text_arg(args, "ctl", text, "");
	return text[0] == '\0' || strcmp(mac_key, "mac") != 0 ? 0 : testvf_ctl_open(dev, text);
}

static void
set_ops(struct rte_eth_dev *dev, struct rte_vdev_device *vdev)
{
	dev->device = &vdev->device;
	dev->dev_ops = &vf_ops;
	dev->rx_pkt_burst = vf_rx;
	dev->tx_pkt_burst = vf_tx;
}

/* An inner port is no port of the application's any more. */
static int
own(uint16_t port)
{
	struct rte_eth_dev_owner owner = { .id = RTE_ETH_DEV_NO_OWNER };

	if (rte_eth_dev_owner_get(port, &owner) != 0 || owner.id != RTE_ETH_DEV_NO_OWNER)
		return 0;
	strcpy(owner.name, "net_hvtestvf");
	if (rte_eth_dev_owner_new(&owner.id) != 0)
		return -ENOSPC;
	return rte_eth_dev_owner_set(port, &owner);
}

static int
probe_port(struct rte_vdev_device *vdev, struct rte_kvargs *args, const char *name,
	   const char *mac_key)
{
	struct rte_eth_dev *dev = rte_eth_dev_allocate(name);
	int rc;

	if (dev == NULL)
		return -ENOMEM;
	set_ops(dev, vdev);
	dev->data->numa_node = (int)rte_socket_id();
	dev->data->dev_private = rte_zmalloc(name, sizeof(struct testvf), RTE_CACHE_LINE_SIZE);
	rc = dev->data->dev_private == NULL ? -ENOMEM : set_up(dev, args, mac_key);
	if (rc == 0 && testvf_of(dev)->has_inner)
		rc = own(testvf_of(dev)->inner);
	if (rc == 0) {
		rte_eth_dev_probing_finish(dev);
		return 0;
	}
	dev->data->mac_addrs = NULL;
	rte_eth_dev_release_port(dev);
	return rc;
}

static int
probe_secondary(struct rte_vdev_device *vdev)
{
	struct rte_eth_dev *dev = rte_eth_dev_attach_secondary(rte_vdev_device_name(vdev));

	if (dev == NULL)
		return -ENODEV;
	set_ops(dev, vdev);
	rte_eth_dev_probing_finish(dev);
	return 0;
}

static void
second_name(struct rte_vdev_device *vdev, char name[RTE_ETH_NAME_MAX_LEN])
{
	snprintf(name, RTE_ETH_NAME_MAX_LEN, "%s_2", vdev->device.name);
}

static int
vf_probe(struct rte_vdev_device *vdev)
{
	struct rte_kvargs *args = rte_kvargs_parse(rte_vdev_device_args(vdev), NULL);
	char text[128], name[RTE_ETH_NAME_MAX_LEN];
	int rc;

	if (rte_eal_process_type() != RTE_PROC_PRIMARY)
		rc = probe_secondary(vdev);
	else
		rc = probe_port(vdev, args, rte_vdev_device_name(vdev), "mac");
	if (rc == 0 && text_arg(args, "mac2", text, "")[0] != '\0') {
		second_name(vdev, name);
		rc = probe_port(vdev, args, name, "mac2");
	}
	rte_kvargs_free(args);
	return rc;
}

static void
remove_port(const char *name)
{
	struct rte_eth_dev *dev = rte_eth_dev_allocated(name);

	if (dev == NULL)
		return;
	vf_close(dev);
	rte_eth_dev_release_port(dev);
}

static int
vf_remove(struct rte_vdev_device *vdev)
{
	char name[RTE_ETH_NAME_MAX_LEN];

	second_name(vdev, name);
	remove_port(name);
	remove_port(rte_vdev_device_name(vdev));
	return 0;
}

static struct rte_vdev_driver vf_driver = { .probe = vf_probe, .remove = vf_remove };

RTE_PMD_REGISTER_VDEV(net_hvtestvf, vf_driver);
RTE_PMD_REGISTER_PARAM_STRING(net_hvtestvf, "see test/vf/hv_testvf.h");
