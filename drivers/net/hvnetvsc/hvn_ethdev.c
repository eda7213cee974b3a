/* SPDX-License-Identifier: BSD-3-Clause */
/* Probe, remove, and what ethdev may call. */
#include <errno.h>
#include <string.h>

#include <rte_malloc.h>

#include "hvn_ctrl.h"
#include "hvn_devargs.h"
#include "hvn_flow.h"
#include "hvn_intr.h"
#include "hvn_link.h"
#include "hvn_mp.h"
#include "hvn_offload.h"
#include "hvn_port.h"
#include "hvn_rndis.h"
#include "hvn_rss.h"
#include "hvn_session.h"
#include "hvn_stats.h"
#include "hvn_telemetry.h"
#include "hvn_vf.h"

RTE_LOG_REGISTER(hvn_logtype, pmd.net.hvnetvsc, NOTICE);

/* --- what the port is --------------------------------------------------------------------------------- */

static uint32_t
speed_capa(const struct hvn_port *p)
{
	static const struct {
		uint32_t mbps, capa;
	} speeds[] = {
		{ RTE_ETH_SPEED_NUM_1G, RTE_ETH_LINK_SPEED_1G },
		{ RTE_ETH_SPEED_NUM_2_5G, RTE_ETH_LINK_SPEED_2_5G },
		{ RTE_ETH_SPEED_NUM_5G, RTE_ETH_LINK_SPEED_5G },
		{ RTE_ETH_SPEED_NUM_10G, RTE_ETH_LINK_SPEED_10G },
		{ RTE_ETH_SPEED_NUM_20G, RTE_ETH_LINK_SPEED_20G },
		{ RTE_ETH_SPEED_NUM_25G, RTE_ETH_LINK_SPEED_25G },
		{ RTE_ETH_SPEED_NUM_40G, RTE_ETH_LINK_SPEED_40G },
		{ RTE_ETH_SPEED_NUM_50G, RTE_ETH_LINK_SPEED_50G },
		{ RTE_ETH_SPEED_NUM_56G, RTE_ETH_LINK_SPEED_56G },
		{ RTE_ETH_SPEED_NUM_100G, RTE_ETH_LINK_SPEED_100G },
		{ RTE_ETH_SPEED_NUM_200G, RTE_ETH_LINK_SPEED_200G },
	};

	for (unsigned int i = 0; i < RTE_DIM(speeds); i++)
		if (speeds[i].mbps == p->link_speed)
			return speeds[i].capa;
	return 0;
}

static int
infos_get(struct rte_eth_dev *dev, struct rte_eth_dev_info *info)
{
	const struct hvn_port *p = hvn_port(dev);

	info->min_mtu = RTE_ETHER_MIN_MTU;
	info->max_mtu = (uint16_t)p->known.mtu_max;
	info->err_handle_mode = RTE_ETH_ERROR_HANDLE_MODE_PROACTIVE;
	info->min_rx_bufsize = HVN_RX_BUF_MIN;
	info->max_rx_pktlen = p->known.mtu_max + RTE_ETHER_HDR_LEN;
	info->max_rx_queues = (uint16_t)p->known.rx_queues;
	info->max_tx_queues = (uint16_t)p->known.rx_queues;
	info->max_lro_pkt_size = p->known.rsc ? HVN_LRO_MAX : 0;
	info->max_mac_addrs = 1;
	info->rx_queue_offload_capa = 0;
	info->rx_offload_capa = hvn_offload_rx_capa(p);
	info->tx_offload_capa = hvn_offload_tx_capa(p);
	info->reta_size = p->known.reta_size;
	info->hash_key_size = NDIS_RSS_KEY_SIZE;
	info->flow_type_rss_offloads = hvn_rss_capa(p);
	info->rx_desc_lim = (struct rte_eth_desc_lim){ .nb_max = HVN_DESC_MAX,
						       .nb_min = HVN_DESC_MIN,
						       .nb_align = 1 };
	info->tx_desc_lim = (struct rte_eth_desc_lim){
		.nb_max = HVN_DESC_MAX,
		.nb_min = HVN_DESC_MIN,
		.nb_align = 1,
		.nb_seg_max = HVN_TX_SEGS_MAX,
		.nb_mtu_seg_max = HVN_TX_SEGS_MAX,
	};
	info->speed_capa = speed_capa(p);
	info->default_rxportconf = (struct rte_eth_dev_portconf){ .burst_size = HVN_BURST_DEFAULT,
								  .ring_size = 1024,
								  .nb_queues = 1 };
	info->default_txportconf = info->default_rxportconf;
	info->dev_capa =
		RTE_ETH_DEV_CAPA_RUNTIME_RX_QUEUE_SETUP | RTE_ETH_DEV_CAPA_RUNTIME_TX_QUEUE_SETUP;
	return 0;
}

#define PTYPE_LAYERS (RTE_PTYPE_L2_MASK | RTE_PTYPE_L3_MASK | RTE_PTYPE_L4_MASK)

static void
want_ptypes(struct rte_eth_dev *dev, uint32_t layers)
{
	hvn_port(dev)->ptypes = layers;
	for (uint16_t i = 0; i < dev->data->nb_rx_queues; i++) {
		struct hvn_rxq *q = dev->data->rx_queues[i];

		if (q != NULL)
			q->ptypes = layers;
	}
}

/*
 * ethdev's default is to tell all types; but whoever needs them asks first which there are
 * (l3fwd), and nobody else should pay for reading every header. So the question turns them on,
 * unless the application has chosen by itself.
 */
static const uint32_t *
supported_ptypes(struct rte_eth_dev *dev)
{
	/* What rte_net_get_ptype() finds without tunnels. */
	static const uint32_t types[] = {
		RTE_PTYPE_L2_ETHER,    RTE_PTYPE_L2_ETHER_VLAN, RTE_PTYPE_L2_ETHER_QINQ,
		RTE_PTYPE_L3_IPV4,     RTE_PTYPE_L3_IPV4_EXT,	RTE_PTYPE_L3_IPV6,
		RTE_PTYPE_L3_IPV6_EXT, RTE_PTYPE_L4_TCP,	RTE_PTYPE_L4_UDP,
		RTE_PTYPE_L4_SCTP,     RTE_PTYPE_L4_FRAG,	RTE_PTYPE_UNKNOWN,
	};

	if (!hvn_port(dev)->ptypes_set && rte_eal_process_type() == RTE_PROC_PRIMARY)
		want_ptypes(dev, PTYPE_LAYERS);
	return types;
}

static int
ptypes_set(struct rte_eth_dev *dev, uint32_t mask)
{
	hvn_port(dev)->ptypes_set = true;
	want_ptypes(dev, mask & PTYPE_LAYERS);
	return 0;
}

/* --- filters and addresses ------------------------------------------------------------------------------ */

/* ethdev sets the state that the filter is computed from behind this call: do it before. */
static int
refilter(struct rte_eth_dev *dev)
{
	struct hvn_port *p = hvn_port(dev);
	int rc;

	if (!p->opened || hvn_removed(p))
		return 0;
	hvn_ctrl_lock(p);
	rc = hvn_rndis_update_filter(p);
	hvn_vf_mirror(p);
	hvn_ctrl_unlock(p);
	return rc;
}

static int
set_promiscuous(struct rte_eth_dev *dev, uint8_t on)
{
	uint8_t before = dev->data->promiscuous;
	int rc;

	dev->data->promiscuous = on & 1;
	rc = refilter(dev);
	if (rc != 0)
		dev->data->promiscuous = before & 1;
	return rc;
}

static int
promiscuous_enable(struct rte_eth_dev *dev)
{
	return set_promiscuous(dev, 1);
}

static int
promiscuous_disable(struct rte_eth_dev *dev)
{
	return set_promiscuous(dev, 0);
}

static int
set_allmulticast(struct rte_eth_dev *dev, uint8_t on)
{
	uint8_t before = dev->data->all_multicast;
	int rc;

	dev->data->all_multicast = on & 1;
	rc = refilter(dev);
	if (rc != 0)
		dev->data->all_multicast = before & 1;
	return rc;
}

static int
allmulticast_enable(struct rte_eth_dev *dev)
{
	return set_allmulticast(dev, 1);
}

static int
allmulticast_disable(struct rte_eth_dev *dev)
{
	return set_allmulticast(dev, 0);
}

static int
set_mc_list(struct rte_eth_dev *dev, struct rte_ether_addr *list, uint32_t n)
{
	struct hvn_port *p = hvn_port(dev);
	uint16_t before = p->n_mc;
	int rc = 0;

	for (uint32_t i = 0; i < n; i++)
		if (!rte_is_multicast_ether_addr(&list[i]))
			return -EINVAL;
	hvn_ctrl_lock(p);
	p->n_mc = (uint16_t)RTE_MIN(n, (uint32_t)UINT16_MAX);
	if (p->opened && !hvn_removed(p))
		rc = hvn_rndis_update_filter(p);
	/* The VF gets the list once the host has accepted that there is one, or keeps what it has. */
	if (rc == 0)
		rc = hvn_vf_set_mc(p, list, n);
	if (rc != 0)
		p->n_mc = before;
	if (p->opened && !hvn_removed(p)) {
		if (rc != 0)
			hvn_rndis_update_filter(p);
		else
			hvn_vf_mirror(p);
	}
	hvn_ctrl_unlock(p);
	return rc;
}

static int
mac_addr_set(struct rte_eth_dev *dev, struct rte_ether_addr *mac)
{
	struct hvn_port *p = hvn_port(dev);
	int rc;

	if (!p->opened || hvn_removed(p))
		return -ENODEV;
	hvn_ctrl_lock(p);
	/* ethdev sets it again at each start: a host that refuses others need not hear of its own. */
	rc = rte_is_same_ether_addr(mac, &p->mac) ? 0 : hvn_rndis_set_mac(p, mac);
	if (rc == 0)
		p->mac = *mac;
	hvn_vf_mirror(p);
	hvn_ctrl_unlock(p);
	if (rc == 0)
		return 0;
	HVN_LOG(ERR,
		"port %u: the host refuses another MAC address (%s): allow MAC address "
		"spoofing in the settings of its virtual switch",
		p->port_id, rte_strerror(-rc));
	return rc == -ENODEV || rc == -ETIMEDOUT ? rc : -ENOTSUP;
}

static int
vlan_offload_set(struct rte_eth_dev *dev, int mask)
{
	struct hvn_port *p = hvn_port(dev);
	bool strip = (dev->data->dev_conf.rxmode.offloads & RTE_ETH_RX_OFFLOAD_VLAN_STRIP) != 0;

	if ((mask & RTE_ETH_VLAN_STRIP_MASK) == 0)
		return 0;
	for (uint16_t i = 0; i < dev->data->nb_rx_queues; i++)
		if (dev->data->rx_queues[i] != NULL)
			hvn_rxq_strip(dev->data->rx_queues[i], strip);
	hvn_ctrl_lock(p);
	hvn_vf_mirror(p);
	hvn_ctrl_unlock(p);
	return 0;
}

/*
 * A queue of a running port goes, or is set up anew: so is the VF's, and where it puts frames. In
 * between ethdev may refuse the set-up, so that each leaves the VF in use.
 */
static void
queue_change(struct hvn_port *p)
{
	hvn_ctrl_lock(p);
	if (p->running)
		hvn_vf_pause(p);
	hvn_telemetry_lock();
}

static void
queue_changed(struct hvn_port *p)
{
	hvn_telemetry_unlock();
	hvn_ctrl_unlock(p);
	if (p->running)
		hvn_vf_resume(p);
}

static void
rx_queue_release(struct rte_eth_dev *dev, uint16_t id)
{
	queue_change(hvn_port(dev));
	hvn_rx_queue_release(dev, id);
	queue_changed(hvn_port(dev));
}

static void
tx_queue_release(struct rte_eth_dev *dev, uint16_t id)
{
	queue_change(hvn_port(dev));
	hvn_tx_queue_release(dev, id);
	queue_changed(hvn_port(dev));
}

static int
rx_queue_setup(struct rte_eth_dev *dev, uint16_t id, uint16_t nb_desc, unsigned int socket,
	       const struct rte_eth_rxconf *conf, struct rte_mempool *pool)
{
	int rc;

	queue_change(hvn_port(dev));
	rc = hvn_rx_queue_setup(dev, id, nb_desc, socket, conf, pool);
	queue_changed(hvn_port(dev));
	return rc;
}

static int
tx_queue_setup(struct rte_eth_dev *dev, uint16_t id, uint16_t nb_desc, unsigned int socket,
	       const struct rte_eth_txconf *conf)
{
	int rc;

	queue_change(hvn_port(dev));
	rc = hvn_tx_queue_setup(dev, id, nb_desc, socket, conf);
	queue_changed(hvn_port(dev));
	return rc;
}

static const struct eth_dev_ops ops = {
	.dev_configure = hvn_port_configure,
	.dev_start = hvn_port_start,
	.dev_stop = hvn_port_stop,
	.dev_close = hvn_port_close,
	.dev_reset = hvn_port_reset,
	.is_removed = hvn_port_is_removed,
	.dev_set_link_up = hvn_link_set_up,
	.dev_set_link_down = hvn_link_set_down,
	.link_update = hvn_link_update,
	.promiscuous_enable = promiscuous_enable,
	.promiscuous_disable = promiscuous_disable,
	.allmulticast_enable = allmulticast_enable,
	.allmulticast_disable = allmulticast_disable,
	.set_mc_addr_list = set_mc_list,
	.mac_addr_set = mac_addr_set,
	.mtu_set = hvn_port_mtu_set,
	.vlan_offload_set = vlan_offload_set,
	.dev_infos_get = infos_get,
	.dev_supported_ptypes_get = supported_ptypes,
	.dev_ptypes_set = ptypes_set,
	.rx_queue_setup = rx_queue_setup,
	.rx_queue_release = rx_queue_release,
	.tx_queue_setup = tx_queue_setup,
	.tx_queue_release = tx_queue_release,
	.rx_queue_start = hvn_port_rx_queue_start,
	.rx_queue_stop = hvn_port_rx_queue_stop,
	.tx_queue_start = hvn_port_tx_queue_start,
	.tx_queue_stop = hvn_port_tx_queue_stop,
	.rxq_info_get = hvn_rxq_info,
	.txq_info_get = hvn_txq_info,
	.rx_burst_mode_get = hvn_rx_burst_mode,
	.tx_burst_mode_get = hvn_tx_burst_mode,
	.tx_done_cleanup = hvn_tx_done_cleanup,
	.rx_queue_intr_enable = hvn_intr_enable,
	.rx_queue_intr_disable = hvn_intr_disable,
	.get_monitor_addr = hvn_intr_monitor_addr,
	.flow_ops_get = hvn_flow_ops_get,
	.rss_hash_update = hvn_rss_hash_update,
	.rss_hash_conf_get = hvn_rss_hash_conf_get,
	.reta_update = hvn_rss_reta_update,
	.reta_query = hvn_rss_reta_query,
	.stats_get = hvn_stats_get,
	.stats_reset = hvn_stats_reset,
	.xstats_get = hvn_xstats_get,
	.xstats_get_names = hvn_xstats_get_names,
	.xstats_reset = hvn_xstats_reset,
	.fw_version_get = hvn_fw_version,
	.eth_dev_priv_dump = hvn_priv_dump,
};

/* A secondary runs bursts and reads: the device is opened and configured by the primary. */
static const struct eth_dev_ops secondary_ops = {
	.dev_close = hvn_port_close,
	.is_removed = hvn_port_is_removed,
	.link_update = hvn_link_update,
	.dev_infos_get = infos_get,
	.dev_supported_ptypes_get = supported_ptypes,
	.rxq_info_get = hvn_rxq_info,
	.txq_info_get = hvn_txq_info,
	.rx_burst_mode_get = hvn_rx_burst_mode,
	.tx_burst_mode_get = hvn_tx_burst_mode,
	.tx_done_cleanup = hvn_tx_done_cleanup,
	.get_monitor_addr = hvn_intr_monitor_addr,
	.rss_hash_conf_get = hvn_rss_hash_conf_get,
	.reta_query = hvn_rss_reta_query,
	.stats_get = hvn_stats_get,
	.stats_reset = hvn_stats_reset,
	.xstats_get = hvn_xstats_get,
	.xstats_get_names = hvn_xstats_get_names,
	.xstats_reset = hvn_xstats_reset,
	.fw_version_get = hvn_fw_version,
	.eth_dev_priv_dump = hvn_priv_dump,
};

/* --- probe and remove ------------------------------------------------------------------------------------- */

/* What differs from process to process. */
static void
init_process(struct rte_eth_dev *dev, struct hv_vmbus_device *vdev)
{
	const bool primary = rte_eal_process_type() == RTE_PROC_PRIMARY;

	dev->device = &vdev->device;
	dev->intr_handle = vdev->intr_handle;
	/* In a secondary, until it has mapped what is open: hvn_mp.c. */
	dev->dev_ops = primary ? &ops : &secondary_ops;
	dev->rx_pkt_burst = primary ? hvn_rx_burst : hvn_rx_burst_none;
	dev->tx_pkt_burst = primary ? hvn_tx_burst : hvn_tx_burst_none;
	dev->tx_pkt_prepare = hvn_tx_prepare;
	dev->rx_queue_count = hvn_rx_queue_count;
	dev->rx_descriptor_status = hvn_rx_descriptor_status;
	dev->tx_descriptor_status = hvn_tx_descriptor_status;
}

static int
init_port(struct rte_eth_dev *dev, struct hv_vmbus_device *vdev)
{
	int socket = vdev->device.numa_node;
	struct hvn_devargs args;
	struct hvn_port *p;
	int rc;

	rc = hvn_devargs_parse(hv_vmbus_device_args(vdev), &args);
	if (rc != 0)
		return rc;
	if (!args.numa_aware)
		socket = SOCKET_ID_ANY;
	p = rte_zmalloc_socket("hvn_port", sizeof(*p), RTE_CACHE_LINE_SIZE, socket);
	if (p == NULL && socket != SOCKET_ID_ANY)
		HVN_LOG(ERR,
			"%s: no memory on NUMA node %d, which is the device's; numa_aware=0 does "
			"without",
			vdev->name, socket);
	dev->data->dev_private = p;
	dev->data->mac_addrs = rte_zmalloc("hvn_mac", sizeof(struct rte_ether_addr), 0);
	if (p == NULL || dev->data->mac_addrs == NULL)
		return -ENOMEM;
	p->args = args;
	dev->data->numa_node = vdev->device.numa_node;
	dev->data->mtu = RTE_ETHER_MTU;
	dev->data->dev_flags |= RTE_ETH_DEV_INTR_LSC | RTE_ETH_DEV_INTR_RMV;
	p->data = dev->data;
	p->port_id = dev->data->port_id;
	p->want_link_up = true;
	p->world = hvn_process_init(0);
	/* If not, no VF is used, and no lock has a favourite. */
	p->fenced = hvn_process_fenced = hvn_process_register() == 0;
	rte_spinlock_recursive_init(&p->ctrl_lock);
	return 0;
}

/* 0, 1 if the devarg "mac" means another NIC, or a negative errno. */
static int
open_port(struct rte_eth_dev *dev)
{
	struct hvn_port *p = hvn_port(dev);
	int rc;

	hvn_ctrl_lock(p);
	rc = hvn_session_open(p, dev->data->mtu);
	if (rc == 0 && p->args.mac_set && !rte_is_same_ether_addr(&p->mac, &p->args.mac)) {
		hvn_session_close(p, 0);
		rc = 1;
	}
	hvn_ctrl_unlock(p);
	if (rc == 0) {
		dev->data->mac_addrs[0] = p->mac;
		hvn_link_update(dev, 0);
	}
	return rc;
}

static int
probe_primary(struct hv_vmbus_device *vdev)
{
	struct rte_eth_dev *dev = rte_eth_dev_allocate(vdev->name);
	int rc;

	if (dev == NULL)
		return -ENOMEM;
	init_process(dev, vdev);
	rc = init_port(dev, vdev);
	if (rc == 0)
		rc = hvn_vf_create(hvn_port(dev));
	if (rc == 0)
		rc = hvn_ctrl_create(hvn_port(dev));
	if (rc == 0)
		rc = open_port(dev);
	if (rc != 0) {
		if (dev->data->dev_private != NULL) {
			hvn_ctrl_destroy(hvn_port(dev));
			hvn_vf_destroy(hvn_port(dev));
		}
		rte_eth_dev_release_port(dev);
		return rc;
	}
	vdev->drv_priv = dev;
	rte_eth_dev_probing_finish(dev);
	return 0;
}

static int
probe_secondary(struct hv_vmbus_device *vdev)
{
	struct rte_eth_dev *dev = rte_eth_dev_attach_secondary(vdev->name);
	int rc;

	if (dev == NULL)
		return -ENODEV;
	hvn_mp_prepare(dev, vdev);
	init_process(dev, vdev);
	rc = hvn_process_register();
	if (rc != 0)
		HVN_LOG(ERR, "port %u: a secondary process must be allowed membarrier(): %s",
			dev->data->port_id, rte_strerror(-rc));
	/* The primary may be about to make it. */
	else if (hvn_port(dev) == NULL)
		rc = -ENODEV;
	if (rc == 0) {
		hvn_process_init(hvn_port(dev)->world);
		hvn_process_fenced = hvn_port(dev)->fenced;
		rc = hvn_mp_join(dev);
	}
	if (rc == 0) {
		vdev->drv_priv = dev;
		rte_eth_dev_probing_finish(dev);
		rc = hvn_mp_joined(dev);
	}
	if (rc != 0) {
		hvn_mp_leave(vdev);
		vdev->drv_priv = NULL;
		rte_eth_dev_release_port(dev);
	}
	return rc;
}

static int
probe(struct hv_vmbus_driver *drv, struct hv_vmbus_device *vdev)
{
	(void)drv;
	return rte_eal_process_type() == RTE_PROC_PRIMARY ? probe_primary(vdev)
							  : probe_secondary(vdev);
}

static int
remove_port(struct hv_vmbus_device *vdev)
{
	const bool primary = rte_eal_process_type() == RTE_PROC_PRIMARY;
	struct rte_eth_dev *dev;
	int rc = 0;

	if (!primary)
		hvn_mp_leave(vdev);
	/* In a secondary not by its name, which the primary clears. */
	dev = primary ? rte_eth_dev_allocated(vdev->name) : vdev->drv_priv;
	vdev->drv_priv = NULL;
	if (dev == NULL)
		return 0; /* the application closed it */
	if (!primary)
		return rte_eth_dev_release_port(dev);
	if (dev->data->dev_started)
		rc = rte_eth_dev_stop(dev->data->port_id);
	if (rc == 0)
		rc = rte_eth_dev_close(dev->data->port_id);
	return rc;
}

static void
gone(struct hv_vmbus_device *vdev)
{
	struct rte_eth_dev *dev = rte_eth_dev_allocated(vdev->name);

	if (dev != NULL)
		hvn_port_removed(dev);
}

static void
channel_gone(struct hv_vmbus_device *vdev)
{
	struct rte_eth_dev *dev = rte_eth_dev_allocated(vdev->name);

	if (dev != NULL && rte_eal_process_type() == RTE_PROC_PRIMARY)
		hvn_ctrl_channel_gone(hvn_port(dev));
}

static const struct hv_guid classes[] = { VMBUS_CLASS_NIC, { { 0 } } };

static struct hv_vmbus_driver driver = {
	.probe = probe,
	.remove = remove_port,
	.gone = gone,
	.channel_gone = channel_gone,
	.classes = classes,
};

#define HVN_KMOD "* uio_hv_generic"

HV_VMBUS_REGISTER_DRIVER(net_hvnetvsc, driver);
RTE_PMD_REGISTER_KMOD_DEP(net_hvnetvsc, HVN_KMOD);
RTE_PMD_REGISTER_PARAM_STRING(net_hvnetvsc, HVN_DEVARGS_HELP);

/*
 * What dpdk-pmdinfo.py shows. DPDK's own build makes this string out of the symbols above; a driver
 * built elsewhere has to write it.
 */
extern const char hvn_pmd_info[];
const char hvn_pmd_info[] __rte_used =
	"PMD_INFO_STRING= {\"name\": \"net_hvnetvsc\", \"kmod\": \"" HVN_KMOD
	"\", \"params\": \"" HVN_DEVARGS_HELP "\", \"pci_ids\": []}";
