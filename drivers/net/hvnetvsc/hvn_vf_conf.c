/* SPDX-License-Identifier: BSD-3-Clause */
/* A VF gets the synthetic port's configuration: all of it at its start, changes when they come. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <rte_malloc.h>

#include "hvn_flow.h"
#include "hvn_vf.h"

/* --- can it carry the port? -------------------------------------------------------------------- */

/* Name a flag of a set that must not be empty. */
static const char *
lowest_name(uint64_t offloads, const char *(*name)(uint64_t))
{
	return name(offloads & -offloads);
}

static bool
frames_fit(const struct rte_eth_dev_data *d)
{
	uint32_t frame = d->mtu + RTE_ETHER_HDR_LEN + RTE_VLAN_HLEN;

	for (uint16_t i = 0; i < d->nb_rx_queues; i++) {
		const struct hvn_rxq *q = d->rx_queues[i];

		if (q != NULL && q->buf_len < frame)
			return false;
	}
	return true;
}

/*
 * What the application was promised and makes or takes packets by. A VF that cannot is left alone;
 * a flag or a hash that its frames lack is no more than ethdev allows.
 */
static int
check_fit(struct hvn_vf *vf, const struct rte_eth_dev_info *info, const struct rte_eth_conf *conf)
{
	const struct rte_eth_dev_data *d = vf->p->data;
	uint64_t tx = conf->txmode.offloads & ~info->tx_offload_capa &
		      ~(uint64_t)RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
	uint64_t rx = conf->rxmode.offloads & ~info->rx_offload_capa;
	char why[sizeof(vf->refusal)];

	if (d->nb_rx_queues > info->max_rx_queues || d->nb_tx_queues > info->max_tx_queues)
		return hvn_vf_refuse(vf, -ENOTSUP, "it has fewer queues than the port uses");
	/* Its interrupts are of its own queues, where nobody who sleeps on ours is woken. */
	if (d->dev_conf.intr_conf.rxq != 0)
		return hvn_vf_refuse(vf, -ENOTSUP, "the port uses receive interrupts");
	if (info->max_mtu < d->mtu)
		return hvn_vf_refuse(vf, -ENOTSUP, "its largest MTU is below the port's");
	if ((rx & RTE_ETH_RX_OFFLOAD_VLAN_STRIP) != 0)
		return hvn_vf_refuse(vf, -ENOTSUP, "it does not strip VLAN tags");
	if ((rx & RTE_ETH_RX_OFFLOAD_SCATTER) != 0 && !frames_fit(d))
		return hvn_vf_refuse(vf, -ENOTSUP, "it does not scatter frames over mbufs");
	if (tx == 0)
		return 0;
	snprintf(why, sizeof(why), "it lacks the transmit offload %s",
		 lowest_name(tx, rte_eth_dev_tx_offload_name));
	return hvn_vf_refuse(vf, -ENOTSUP, why);
}

/* What frames that come by the VF will lack: said once for each VF. */
static void
tell_differences(struct hvn_vf *vf, const struct rte_eth_dev_info *info,
		 const struct rte_eth_conf *conf)
{
	uint64_t rx = conf->rxmode.offloads & ~info->rx_offload_capa;
	uint16_t port = vf->p->port_id;

	if (vf->told)
		return;
	vf->told = true;
	for (; rx != 0; rx &= rx - 1)
		HVN_LOG(NOTICE, "port %u: VF %u has no %s: its frames come without", port, vf->port,
			lowest_name(rx, rte_eth_dev_rx_offload_name));
	if (vf->p->data->nb_rx_queues < 2 || vf->p->rss.hf == 0)
		return;
	if ((vf->p->rss.hf & info->flow_type_rss_offloads) == 0)
		HVN_LOG(NOTICE, "port %u: VF %u has no RSS: it chooses the queues itself", port,
			vf->port);
	else if (info->reta_size == 0 || info->hash_key_size != NDIS_RSS_KEY_SIZE)
		HVN_LOG(NOTICE,
			"port %u: VF %u has another kind of RSS: it chooses the queues itself",
			port, vf->port);
}

/* ethdev demands a frame's length at least, with an overhead that is the VF's; 0: just that. */
static uint32_t
lro_limit(uint32_t ours, uint32_t mtu, const struct rte_eth_dev_info *info)
{
	uint32_t overhead = RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN;

	if (info->max_mtu != UINT16_MAX && info->max_rx_pktlen > info->max_mtu)
		overhead = info->max_rx_pktlen - info->max_mtu;
	ours = RTE_MIN(ours, info->max_lro_pkt_size);
	return ours < mtu + overhead ? 0 : ours;
}

static void
fit_conf(const struct hvn_port *p, struct rte_eth_conf *conf, const struct rte_eth_dev_info *info)
{
	struct rte_eth_rss_conf *rss = &conf->rx_adv_conf.rss_conf;

	conf->rxmode.offloads &= info->rx_offload_capa;
	conf->txmode.offloads &= info->tx_offload_capa;
	/* Ours, not those of dev_conf: they may have changed, and the key was the application's. */
	rss->rss_hf = p->rss.hf & info->flow_type_rss_offloads;
	rss->rss_key = NULL;
	rss->rss_key_len = 0;
	if (info->hash_key_size == NDIS_RSS_KEY_SIZE) {
		rss->rss_key = (uint8_t *)(uintptr_t)p->rss.key;
		rss->rss_key_len = NDIS_RSS_KEY_SIZE;
	}
	if (rss->rss_hf == 0) {
		conf->rxmode.mq_mode = RTE_ETH_MQ_RX_NONE;
		conf->rxmode.offloads &= ~(uint64_t)RTE_ETH_RX_OFFLOAD_RSS_HASH;
	}
	/* Of a fixed speed the VF knows nothing; the MTU may have been set since. */
	conf->link_speeds = RTE_ETH_LINK_SPEED_AUTONEG;
	conf->rxmode.mtu = p->data->mtu;
	conf->rxmode.max_lro_pkt_size =
		lro_limit(conf->rxmode.max_lro_pkt_size, conf->rxmode.mtu, info);
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
	struct rte_mempool *pool = NULL;
	uint16_t rxd = 0, txd = 0;
	int rc = 0;

	for (uint16_t i = 0; i < d->nb_rx_queues; i++) {
		struct hvn_rxq *q = d->rx_queues[i];

		rxd = q != NULL && q->nb_desc > rxd ? q->nb_desc : rxd;
		pool = q != NULL ? q->pool : pool;
	}
	for (uint16_t i = 0; i < d->nb_tx_queues; i++) {
		struct hvn_txq *q = d->tx_queues[i];

		txd = q != NULL && q->nb_desc > txd ? q->nb_desc : txd;
	}
	rc = rte_eth_dev_adjust_nb_rx_tx_desc(vf->port, &rxd, &txd);
	for (uint16_t i = 0; i < d->nb_rx_queues && rc == 0; i++) {
		struct hvn_rxq *q = d->rx_queues[i];
		struct rte_eth_rxconf rx = info->default_rxconf;

		/* One that the application has not set up again: nobody will poll it. */
		if (q != NULL)
			pool = q->pool;
		if (pool == NULL)
			return -EAGAIN;
		rx.offloads = conf->rxmode.offloads;
		rx.rx_deferred_start = 0;
		rc = rte_eth_rx_queue_setup(vf->port, i, rxd, (unsigned int)node, &rx, pool);
	}
	for (uint16_t i = 0; i < d->nb_tx_queues && rc == 0; i++) {
		struct rte_eth_txconf tx = info->default_txconf;

		tx.offloads = conf->txmode.offloads;
		tx.tx_deferred_start = 0;
		rc = rte_eth_tx_queue_setup(vf->port, i, txd, (unsigned int)node, &tx);
	}
	return rc;
}

/* --- what may change while it runs --------------------------------------------------------------- */

static void
apply_rss(const struct hvn_vf *vf, const struct rte_eth_dev_info *info)
{
	struct rte_eth_rss_reta_entry64 reta[RTE_ETH_RSS_RETA_SIZE_512 / RTE_ETH_RETA_GROUP_SIZE];
	const struct hvn_port *p = vf->p;
	struct rte_eth_rss_conf rss = { .rss_hf = p->rss.hf & info->flow_type_rss_offloads };
	uint16_t size = p->known.reta_size;
	int rc = 0;

	if (p->data->nb_rx_queues < 2 || size == 0 || info->flow_type_rss_offloads == 0)
		return;
	if (info->hash_key_size == NDIS_RSS_KEY_SIZE) {
		rss.rss_key = (uint8_t *)(uintptr_t)p->rss.key;
		rss.rss_key_len = NDIS_RSS_KEY_SIZE;
	}
	rc = rte_eth_dev_rss_hash_update(vf->port, &rss);
	if (rc == 0 && info->reta_size != 0 && info->reta_size <= RTE_ETH_RSS_RETA_SIZE_512) {
		memset(reta, 0, sizeof(reta));
		for (uint16_t i = 0; i < info->reta_size; i++) {
			struct rte_eth_rss_reta_entry64 *e = &reta[i / RTE_ETH_RETA_GROUP_SIZE];

			e->mask |= UINT64_C(1) << (i % RTE_ETH_RETA_GROUP_SIZE);
			e->reta[i % RTE_ETH_RETA_GROUP_SIZE] = p->rss.reta[i % size];
		}
		rc = rte_eth_dev_rss_reta_update(vf->port, reta, info->reta_size);
	}
	if (rc != 0)
		HVN_LOG(WARNING, "port %u: VF %u keeps its RSS: %s", p->port_id, vf->port,
			rte_strerror(-rc));
}

static void
apply_filter(const struct hvn_vf *vf)
{
	const struct hvn_port *p = vf->p;
	bool all = p->data->all_multicast;
	int rc;

	rc = p->data->promiscuous ? rte_eth_promiscuous_enable(vf->port)
				  : rte_eth_promiscuous_disable(vf->port);
	if (rc != 0)
		HVN_LOG(WARNING, "port %u: VF %u: promiscuous mode: %s", p->port_id, vf->port,
			rte_strerror(-rc));
	rc = rte_eth_dev_set_mc_addr_list(vf->port, vf->mc, vf->n_mc);
	/* What the synthetic path does with a list: it takes all multicast frames. */
	if (rc != 0 && vf->n_mc != 0)
		all = true;
	rc = all ? rte_eth_allmulticast_enable(vf->port) : rte_eth_allmulticast_disable(vf->port);
	if (rc != 0)
		HVN_LOG(WARNING, "port %u: VF %u: multicast frames: %s", p->port_id, vf->port,
			rte_strerror(-rc));
}

/* A port that was named by the user may have an address of its own, and keep it. */
static int
apply_mac(struct hvn_vf *vf)
{
	const struct rte_ether_addr *have = rte_eth_devices[vf->port].data->mac_addrs;
	bool stranger = vf->p->args.vf[0] != '\0';
	struct rte_ether_addr mac = vf->p->mac;
	int rc;

	if (have == NULL || rte_is_same_ether_addr(&have[0], &mac))
		return 0;
	if (rte_is_same_ether_addr(&have[0], &vf->mac))
		stranger = false;
	rc = rte_eth_dev_default_mac_addr_set(vf->port, &mac);
	return rc == 0 || stranger ? 0 : hvn_vf_refuse(vf, rc, "it refuses the port's MAC address");
}

static int
apply_vlan(struct hvn_vf *vf, const struct rte_eth_dev_info *info)
{
	uint64_t wanted = vf->p->data->dev_conf.rxmode.offloads & RTE_ETH_RX_OFFLOAD_VLAN_STRIP;
	int have = rte_eth_dev_get_vlan_offload(vf->port), rc;

	if (have < 0 || ((have & RTE_ETH_VLAN_STRIP_OFFLOAD) != 0) == (wanted != 0))
		return 0;
	if (wanted != 0 && (info->rx_offload_capa & wanted) == 0)
		return hvn_vf_refuse(vf, -ENOTSUP, "it does not strip VLAN tags");
	rc = rte_eth_dev_set_vlan_offload(vf->port, have ^ RTE_ETH_VLAN_STRIP_OFFLOAD);
	return rc == 0 ? 0 : hvn_vf_refuse(vf, rc, "it refuses the port's VLAN offload");
}

int
hvn_vf_apply(struct hvn_vf *vf)
{
	struct rte_eth_dev_info info;
	int rc = rte_eth_dev_info_get(vf->port, &info);

	if (rc != 0)
		return hvn_vf_refuse(vf, rc, "it does not describe itself");
	apply_filter(vf);
	apply_rss(vf, &info);
	rc = apply_mac(vf);
	return rc != 0 ? rc : apply_vlan(vf, &info);
}

int
hvn_vf_set_mc(struct hvn_port *p, const struct rte_ether_addr *list, uint32_t n)
{
	struct rte_ether_addr *copy = NULL;

	if (p->vf == NULL)
		return 0;
	if (n != 0) {
		copy = rte_malloc("hvn_mc", n * sizeof(*list), 0);
		if (copy == NULL)
			return -ENOMEM;
		memcpy(copy, list, n * sizeof(*list));
	}
	rte_free(p->vf->mc);
	p->vf->mc = copy;
	p->vf->n_mc = n;
	return 0;
}

/* --- at its start -------------------------------------------------------------------------------- */

int
hvn_vf_configure(struct hvn_vf *vf)
{
	struct rte_eth_dev_data *d = vf->p->data;
	struct rte_eth_conf conf = d->dev_conf;
	struct rte_eth_dev_info info;
	int rc;

	rc = rte_eth_dev_info_get(vf->port, &info);
	if (rc != 0)
		return hvn_vf_refuse(vf, rc, "it does not describe itself");
	rc = check_fit(vf, &info, &conf);
	if (rc != 0)
		return rc;
	tell_differences(vf, &info, &conf);
	fit_conf(vf->p, &conf, &info);
	vf->polled = conf.intr_conf.rmv == 0;
	/* An application's own use of it, from before, ends here. */
	if (rte_eth_devices[vf->port].data->dev_started)
		rte_eth_dev_stop(vf->port);
	rc = rte_eth_dev_configure(vf->port, d->nb_rx_queues, d->nb_tx_queues, &conf);
	if (rc != 0)
		return hvn_vf_refuse(vf, rc, "it cannot be configured as the port is");
	rc = rte_eth_dev_set_mtu(vf->port, d->mtu);
	if (rc != 0 && rc != -ENOTSUP)
		return hvn_vf_refuse(vf, rc, "it refuses the port's MTU");
	rc = setup_queues(vf, &info, &conf);
	if (rc != 0)
		return hvn_vf_refuse(vf, rc, "its queues cannot be set up");
	rc = rte_eth_dev_start(vf->port);
	if (rc != 0)
		return hvn_vf_refuse(vf, rc, "it does not start");
	rc = hvn_vf_apply(vf);
	if (rc != 0) {
		rte_eth_dev_stop(vf->port);
		return rc;
	}
	hvn_flow_restore(vf);
	return 0;
}

void
hvn_vf_stop(struct hvn_vf *vf)
{
	int rc;

	hvn_flow_withdraw(vf);
	rc = rte_eth_dev_stop(vf->port);
	if (rc != 0)
		HVN_LOG(WARNING, "port %u: VF %u does not stop: %s", vf->p->port_id, vf->port,
			rte_strerror(-rc));
}
