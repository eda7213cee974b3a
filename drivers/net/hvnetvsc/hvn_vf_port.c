/* SPDX-License-Identifier: BSD-3-Clause */
/* The VF as an ethdev port: found, taken, configured as the synthetic port is, given up. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <rte_dev.h>
#include <rte_malloc.h>

#include "hvn_vf.h"

#define SYSFS "/sys"

static int
refuse(struct hvn_vf *vf, int rc, const char *why)
{
	snprintf(vf->refusal, sizeof(vf->refusal), "%s", why);
	return rc;
}

static bool
same_mac(const struct hvn_vf *vf, uint16_t port)
{
	struct rte_ether_addr mac;

	return rte_eth_macaddr_get(port, &mac) == 0 && rte_is_same_ether_addr(&mac, &vf->p->mac);
}

/* The port of a device that EAL knows by this name, with our MAC address where that is required. */
static uint16_t
port_of(const struct hvn_vf *vf, const char *device, bool check_mac)
{
	uint16_t port;

	RTE_ETH_FOREACH_DEV (port) {
		struct rte_eth_dev_info info;

		if (port == vf->p->port_id || rte_eth_dev_info_get(port, &info) != 0 ||
		    strcmp(rte_dev_name(info.device), device) != 0)
			continue;
		if (!check_mac || same_mac(vf, port))
			return port;
	}
	return RTE_MAX_ETHPORTS;
}

/* "net_memif0,role=client" is the device net_memif0. */
static void
device_name(const char *devargs, char name[RTE_DEV_NAME_MAX_LEN])
{
	snprintf(name, RTE_DEV_NAME_MAX_LEN, "%.*s", (int)strcspn(devargs, ","), devargs);
}

int
hvn_vf_look(struct hvn_vf *vf)
{
	struct hvn_vf_pci pci;

	/* A device named by the user is there when the host says so: attaching it will tell. */
	if (vf->p->args.vf[0] != '\0')
		return 0;
	return hvn_vf_find(SYSFS, vf->serial, vf->p->mac.addr_bytes, &pci);
}

/* Fill devargs and name of the device to use. */
static int
choose(struct hvn_vf *vf, char devargs[256], char name[RTE_DEV_NAME_MAX_LEN])
{
	struct hvn_vf_pci pci;
	int rc;

	if (vf->p->args.vf[0] != '\0') {
		snprintf(devargs, 256, "%s", vf->p->args.vf);
		device_name(devargs, name);
		return 0;
	}
	rc = hvn_vf_find(SYSFS, vf->serial, vf->p->mac.addr_bytes, &pci);
	if (rc != 0)
		return rc == -ENODEV ? -EAGAIN : rc;
	snprintf(devargs, 256, "%s", pci.addr);
	snprintf(name, RTE_DEV_NAME_MAX_LEN, "%s", pci.addr);
	return 0;
}

static int
on_event(uint16_t port, enum rte_eth_event_type type, void *arg, void *ret)
{
	struct hvn_port *p = arg;

	(void)port;
	(void)ret;
	switch (type) {
	case RTE_ETH_EVENT_INTR_RMV:
	case RTE_ETH_EVENT_RECOVERY_FAILED:
		hvn_vf_event(p, HVN_EV_VANISH);
		break;
	case RTE_ETH_EVENT_ERR_RECOVERING:
		hvn_vf_event(p, HVN_EV_RECOVERING);
		break;
	case RTE_ETH_EVENT_RECOVERY_SUCCESS:
		hvn_vf_event(p, HVN_EV_RECOVERED);
		break;
	default:
		break;
	}
	return 0;
}

static const enum rte_eth_event_type watched[] = {
	RTE_ETH_EVENT_INTR_RMV,
	RTE_ETH_EVENT_ERR_RECOVERING,
	RTE_ETH_EVENT_RECOVERY_SUCCESS,
	RTE_ETH_EVENT_RECOVERY_FAILED,
};

static int
take(struct hvn_vf *vf, uint16_t port)
{
	struct rte_eth_dev_owner owner = { .id = vf->owner };

	snprintf(owner.name, sizeof(owner.name), "hvnetvsc port %u", vf->p->port_id);
	if (rte_eth_dev_owner_set(port, &owner) != 0)
		return refuse(vf, -EBUSY, "another driver owns the port");
	for (unsigned int i = 0; i < RTE_DIM(watched); i++)
		rte_eth_dev_callback_register(port, watched[i], on_event, vf->p);
	vf->port = port;
	return 0;
}

int
hvn_vf_attach(struct hvn_vf *vf)
{
	char devargs[256], name[RTE_DEV_NAME_MAX_LEN];
	bool by_user = vf->p->args.vf[0] != '\0';
	uint16_t port;
	int rc;

	rc = choose(vf, devargs, name);
	if (rc != 0)
		return rc;
	vf->probed = false;
	port = port_of(vf, name, !by_user);
	if (port == RTE_MAX_ETHPORTS) {
		rc = rte_dev_probe(devargs);
		if (rc != 0 && rc != -EEXIST)
			return -EAGAIN;
		vf->probed = true;
		port = port_of(vf, name, !by_user);
	}
	if (port == RTE_MAX_ETHPORTS)
		return refuse(vf, -ENODEV, "its device has no port with this MAC address");
	rc = take(vf, port);
	if (rc == 0)
		HVN_LOG(NOTICE, "port %u: VF is port %u, %s", vf->p->port_id, port, name);
	return rc;
}

/* --- configuration -------------------------------------------------------------------------------- */

/* The port's offloads that a VF must have, since packets are made for them already. */
static int
check_offloads(struct hvn_vf *vf, const struct rte_eth_dev_info *info,
	       const struct rte_eth_conf *conf)
{
	uint64_t tx = conf->txmode.offloads & ~info->tx_offload_capa &
		      ~(uint64_t)RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;

	if (vf->p->data->nb_rx_queues > info->max_rx_queues ||
	    vf->p->data->nb_tx_queues > info->max_tx_queues)
		return refuse(vf, -ENOTSUP, "it has fewer queues than the port uses");
	if (tx != 0)
		return refuse(vf, -ENOTSUP, "it lacks a transmit offload that the port promises");
	return 0;
}

static void
fit_conf(struct rte_eth_conf *conf, const struct rte_eth_dev_info *info)
{
	conf->rxmode.offloads &= info->rx_offload_capa;
	conf->txmode.offloads &= info->tx_offload_capa;
	conf->rx_adv_conf.rss_conf.rss_hf &= info->flow_type_rss_offloads;
	if (conf->rx_adv_conf.rss_conf.rss_hf == 0)
		conf->rxmode.mq_mode = RTE_ETH_MQ_RX_NONE;
	if (info->hash_key_size != NDIS_RSS_KEY_SIZE)
		conf->rx_adv_conf.rss_conf.rss_key = NULL;
	conf->intr_conf.rxq = 0;
	conf->intr_conf.lsc = (*info->dev_flags & RTE_ETH_DEV_INTR_LSC) != 0;
	conf->intr_conf.rmv = (*info->dev_flags & RTE_ETH_DEV_INTR_RMV) != 0;
}

static int
setup_queues(struct hvn_vf *vf, const struct rte_eth_dev_info *info,
	     const struct rte_eth_conf *conf)
{
	struct rte_eth_dev_data *d = vf->p->data;
	int node = rte_eth_dev_socket_id(vf->port);
	uint16_t rxd = 0, txd = 0;
	int rc = 0;

	for (uint16_t i = 0; i < d->nb_rx_queues; i++) {
		struct hvn_rxq *q = d->rx_queues[i];

		rxd = q != NULL && q->nb_desc > rxd ? q->nb_desc : rxd;
	}
	for (uint16_t i = 0; i < d->nb_tx_queues; i++) {
		struct hvn_txq *q = d->tx_queues[i];

		txd = q != NULL && q->nb_desc > txd ? q->nb_desc : txd;
	}
	rc = rte_eth_dev_adjust_nb_rx_tx_desc(vf->port, &rxd, &txd);
	for (uint16_t i = 0; i < d->nb_rx_queues && rc == 0; i++) {
		struct hvn_rxq *q = d->rx_queues[i];
		struct rte_eth_rxconf rx = info->default_rxconf;

		if (q == NULL)
			return -EAGAIN;
		rx.offloads = conf->rxmode.offloads;
		rx.rx_deferred_start = 0;
		rc = rte_eth_rx_queue_setup(vf->port, i, rxd, (unsigned int)node, &rx, q->pool);
	}
	for (uint16_t i = 0; i < d->nb_tx_queues && rc == 0; i++) {
		struct rte_eth_txconf tx = info->default_txconf;

		tx.offloads = conf->txmode.offloads;
		tx.tx_deferred_start = 0;
		rc = rte_eth_tx_queue_setup(vf->port, i, txd, (unsigned int)node, &tx);
	}
	return rc;
}

static void
configure_rss(struct hvn_vf *vf)
{
	struct rte_eth_rss_reta_entry64 reta[RTE_ETH_RSS_RETA_SIZE_512 / RTE_ETH_RETA_GROUP_SIZE];
	const struct hvn_port *p = vf->p;
	struct rte_eth_rss_conf rss = { 0 };
	struct rte_eth_dev_info info;
	uint16_t size = p->caps.reta_size;

	if (p->data->nb_rx_queues < 2 || size == 0 || rte_eth_dev_info_get(vf->port, &info) != 0)
		return;
	if (info.hash_key_size == NDIS_RSS_KEY_SIZE) {
		rss.rss_key = (uint8_t *)(uintptr_t)p->rss.key;
		rss.rss_key_len = NDIS_RSS_KEY_SIZE;
		rss.rss_hf = p->rss.hf & info.flow_type_rss_offloads;
		if (rss.rss_hf != 0)
			rte_eth_dev_rss_hash_update(vf->port, &rss);
	}
	if (info.reta_size == 0 || info.reta_size > RTE_ETH_RSS_RETA_SIZE_512)
		return;
	memset(reta, 0, sizeof(reta));
	for (uint16_t i = 0; i < info.reta_size; i++) {
		struct rte_eth_rss_reta_entry64 *e = &reta[i / RTE_ETH_RETA_GROUP_SIZE];

		e->mask |= UINT64_C(1) << (i % RTE_ETH_RETA_GROUP_SIZE);
		e->reta[i % RTE_ETH_RETA_GROUP_SIZE] = p->rss.reta[i % size];
	}
	rte_eth_dev_rss_reta_update(vf->port, reta, info.reta_size);
}

void
hvn_vf_configure_filters(struct hvn_vf *vf)
{
	const struct hvn_port *p = vf->p;

	if (p->data->promiscuous)
		rte_eth_promiscuous_enable(vf->port);
	else
		rte_eth_promiscuous_disable(vf->port);
	/* The synthetic path takes all multicast frames where a list was set: so does the VF. */
	if (p->data->all_multicast || (p->filter & RNDIS_FILTER_ALL_MULTICAST) != 0)
		rte_eth_allmulticast_enable(vf->port);
	else
		rte_eth_allmulticast_disable(vf->port);
	configure_rss(vf);
}

int
hvn_vf_configure(struct hvn_vf *vf)
{
	struct rte_eth_dev_data *d = vf->p->data;
	struct rte_eth_conf conf = d->dev_conf;
	struct rte_eth_dev_info info;
	int rc;

	rc = rte_eth_dev_info_get(vf->port, &info);
	if (rc != 0)
		return refuse(vf, rc, "it does not describe itself");
	rc = check_offloads(vf, &info, &conf);
	if (rc != 0)
		return rc;
	fit_conf(&conf, &info);
	/* An application's own use of it, from before, ends here. */
	rte_eth_dev_stop(vf->port);
	rc = rte_eth_dev_configure(vf->port, d->nb_rx_queues, d->nb_tx_queues, &conf);
	if (rc != 0)
		return refuse(vf, rc, "it cannot be configured as the port is");
	if (info.max_mtu < d->mtu)
		return refuse(vf, -ENOTSUP, "its largest MTU is below the port's");
	rc = rte_eth_dev_set_mtu(vf->port, d->mtu);
	if (rc != 0 && rc != -ENOTSUP)
		return refuse(vf, rc, "it refuses the port's MTU");
	rc = setup_queues(vf, &info, &conf);
	if (rc != 0)
		return refuse(vf, rc, "its queues cannot be set up");
	rc = rte_eth_dev_start(vf->port);
	if (rc != 0)
		return refuse(vf, rc, "it does not start");
	hvn_vf_configure_filters(vf);
	return 0;
}

void
hvn_vf_stop(struct hvn_vf *vf)
{
	rte_eth_dev_stop(vf->port);
}

void
hvn_vf_detach(struct hvn_vf *vf)
{
	struct rte_eth_dev_info info;
	uint16_t port = vf->port;
	int rc = rte_eth_dev_info_get(port, &info);

	for (unsigned int i = 0; i < RTE_DIM(watched); i++)
		rte_eth_dev_callback_unregister(port, watched[i], on_event, vf->p);
	rte_eth_dev_owner_unset(port, vf->owner);
	vf->port = RTE_MAX_ETHPORTS;
	/* A device that is gone, or that we brought in, goes; what the application brought in stays. */
	if (rc != 0 || (!vf->probed && vf->path.present))
		return;
	rte_eth_dev_close(port);
	rc = rte_dev_remove(info.device);
	if (rc != 0)
		HVN_LOG(WARNING, "port %u: VF port %u was closed but not removed: %s",
			vf->p->port_id, port, rte_strerror(-rc));
}
