/* SPDX-License-Identifier: BSD-3-Clause */
/* Receive side scaling. */
#include <errno.h>
#include <string.h>

#include "hvn_caps.h"
#include "hvn_ctrl.h"
#include "hvn_rndis.h"
#include "hvn_rss.h"
#include "hvn_vf.h"

/* The key that Linux, FreeBSD and Microsoft's test vectors use. */
static const uint8_t default_key[NDIS_RSS_KEY_SIZE] = {
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
	0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
	0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};

/* ethdev's hash types, the capability they need, the bit that asks for them. */
static const struct {
	uint64_t hf;
	uint32_t cap;
	uint32_t hash;
} types[] = {
	{ RTE_ETH_RSS_IPV4, NDIS_RSS_CAP_TCP_IPV4, NDIS_HASH_IPV4 },
	{ RTE_ETH_RSS_NONFRAG_IPV4_TCP, NDIS_RSS_CAP_TCP_IPV4, NDIS_HASH_TCP_IPV4 },
	{ RTE_ETH_RSS_NONFRAG_IPV4_UDP, NDIS_RSS_CAP_UDP_IPV4, NDIS_HASH_UDP_IPV4 },
	{ RTE_ETH_RSS_IPV6, NDIS_RSS_CAP_TCP_IPV6, NDIS_HASH_IPV6 },
	{ RTE_ETH_RSS_NONFRAG_IPV6_TCP, NDIS_RSS_CAP_TCP_IPV6, NDIS_HASH_TCP_IPV6 },
	{ RTE_ETH_RSS_NONFRAG_IPV6_UDP, NDIS_RSS_CAP_UDP_IPV6, NDIS_HASH_UDP_IPV6 },
	{ RTE_ETH_RSS_IPV6_EX, NDIS_RSS_CAP_TCP_IPV6_EX, NDIS_HASH_IPV6_EX },
	{ RTE_ETH_RSS_IPV6_TCP_EX, NDIS_RSS_CAP_TCP_IPV6_EX, NDIS_HASH_TCP_IPV6_EX },
	{ RTE_ETH_RSS_IPV6_UDP_EX, NDIS_RSS_CAP_UDP_IPV6_EX, NDIS_HASH_UDP_IPV6_EX },
};

int
hvn_rss_query(struct hvn_port *p)
{
	struct ndis_rss_caps in = { 0 };
	uint32_t flags = 0, queues = 1, len;
	uint16_t reta = NDIS_RSS_RETA_DEFAULT;
	const char *why = "";
	uint8_t answer[64];
	int rc;

	p->caps.rx_queues = 1;
	p->caps.reta_size = 0;
	p->caps.rss_caps = 0;
	if (p->caps.nvsp_version < NVSP_VERSION_5)
		return 0;
	in.hdr.type = NDIS_OBJECT_RSS_CAPABILITIES;
	in.hdr.revision = 2;
	in.hdr.size = sizeof(in);
	len = sizeof(answer);
	rc = hvn_rndis_query(p, RNDIS_OID_GEN_RSS_CAPABILITIES, &in, sizeof(in), answer, &len);
	if (rc == 0)
		rc = hvn_caps_rss(answer, len, &flags, &queues, &reta, &why);
	if (rc == -ENODEV || rc == -ETIMEDOUT || rc == -EIO)
		return rc;
	if (rc != 0 || queues < 2 || (flags & NDIS_RSS_CAP_TOEPLITZ) == 0) {
		HVN_LOG(INFO, "port %u: one queue: the host has no RSS %s", p->port_id, why);
		return 0;
	}
	p->caps.rx_queues = RTE_MIN(queues, (uint32_t)HVN_QUEUES_MAX);
	p->caps.reta_size = reta;
	p->caps.rss_caps = flags;
	return 0;
}

uint64_t
hvn_rss_capa(const struct hvn_port *p)
{
	uint64_t hf = 0;

	if (p->known.rx_queues < 2)
		return 0;
	for (unsigned int i = 0; i < RTE_DIM(types); i++)
		if ((p->known.rss_caps & types[i].cap) != 0)
			hf |= types[i].hf;
	return hf;
}

static uint32_t
hash_info(const struct hvn_port *p)
{
	uint32_t hash = 0;

	for (unsigned int i = 0; i < RTE_DIM(types); i++)
		if ((p->rss.hf & types[i].hf) != 0)
			hash |= types[i].hash;
	return hash != 0 ? hash | NDIS_HASH_TOEPLITZ : 0;
}

static void
default_reta(struct hvn_port *p, uint16_t queues)
{
	for (unsigned int i = 0; i < NDIS_RSS_RETA_MAX; i++)
		p->rss.reta[i] = (uint16_t)(i % RTE_MAX(queues, 1u));
	p->rss.reta_set = false;
}

/* Check and take key and hash types. */
static int
set_hash(struct hvn_port *p, const struct rte_eth_rss_conf *conf)
{
	if (conf->rss_key != NULL && conf->rss_key_len != NDIS_RSS_KEY_SIZE) {
		HVN_LOG(ERR, "port %u: RSS key of %u bytes: the host takes %u", p->port_id,
			conf->rss_key_len, NDIS_RSS_KEY_SIZE);
		return -EINVAL;
	}
	if ((conf->rss_hf & ~hvn_rss_capa(p)) != 0) {
		HVN_LOG(ERR, "port %u: RSS by 0x%" PRIx64 ": the host offers 0x%" PRIx64,
			p->port_id, conf->rss_hf, hvn_rss_capa(p));
		return -EINVAL;
	}
	if (conf->rss_key != NULL)
		memcpy(p->rss.key, conf->rss_key, NDIS_RSS_KEY_SIZE);
	p->rss.hf = conf->rss_hf;
	return 0;
}

int
hvn_rss_configure(struct hvn_port *p, const struct rte_eth_conf *conf)
{
	static const uint8_t none[NDIS_RSS_KEY_SIZE];
	uint16_t queues = p->data->nb_rx_queues;

	if (memcmp(p->rss.key, none, sizeof(none)) == 0)
		memcpy(p->rss.key, default_key, sizeof(default_key));
	for (unsigned int i = 0; p->rss.reta_set && i < NDIS_RSS_RETA_MAX; i++)
		if (p->rss.reta[i] >= queues)
			p->rss.reta_set = false;
	if (!p->rss.reta_set)
		default_reta(p, queues);
	if ((conf->rxmode.mq_mode & RTE_ETH_MQ_RX_RSS_FLAG) == 0 || p->caps.rx_queues < 2) {
		p->rss.hf = 0;
		return 0;
	}
	return set_hash(p, &conf->rx_adv_conf.rss_conf);
}

/* --- to the host -------------------------------------------------------------------------------------- */

static int
disable(struct hvn_port *p)
{
	struct ndis_rss_params par = {
		.hdr = { NDIS_OBJECT_RSS_PARAMETERS, 2, sizeof(par) },
		.flags = NDIS_RSS_FLAG_DISABLE,
	};
	int rc;

	if (!p->rss_on)
		return 0;
	rc = hvn_rndis_set(p, RNDIS_OID_GEN_RSS_PARAMETERS, &par, sizeof(par));
	p->rss_on = false;
	return rc;
}

/* A frame for a channel that is not open would be lost. The primary is always there. */
static uint32_t
live_channel(const struct hvn_port *p, uint16_t queue, uint16_t queues)
{
	while (p->chan[queue]->lost)
		queue = (uint16_t)((queue + 1) % queues);
	return p->chan[queue]->vc->index;
}

int
hvn_rss_apply(struct hvn_port *p)
{
	uint16_t rx = RTE_MIN(p->data->nb_rx_queues, p->n_chans);
	struct {
		struct ndis_rss_params par;
		uint32_t table_and_key[NDIS_RSS_RETA_MAX + NDIS_RSS_KEY_SIZE / sizeof(uint32_t)];
	} HVWIRE_PACKED obj = { .par.hdr = { NDIS_OBJECT_RSS_PARAMETERS, 2, sizeof(obj.par) } };
	uint16_t n = p->caps.reta_size;
	int rc = disable(p);

	if (rc != 0 || rx == 0 || n == 0 || hash_info(p) == 0)
		return rc;
	/* Complete, always: hosts do not keep to the "unchanged" flags. */
	obj.par.hash_info = hash_info(p);
	obj.par.table_len = (uint16_t)(n * sizeof(uint32_t));
	obj.par.table_off = sizeof(obj.par);
	obj.par.key_len = NDIS_RSS_KEY_SIZE;
	obj.par.key_off = obj.par.table_off + obj.par.table_len;
	for (uint16_t i = 0; i < n; i++) {
		uint32_t channel = live_channel(p, p->rss.reta[i] % rx, rx);

		memcpy((uint8_t *)&obj + sizeof(obj.par) + i * sizeof(channel), &channel,
		       sizeof(channel));
	}
	memcpy((uint8_t *)&obj + obj.par.key_off, p->rss.key, NDIS_RSS_KEY_SIZE);
	rc = hvn_rndis_set(p, RNDIS_OID_GEN_RSS_PARAMETERS, &obj,
			   obj.par.key_off + NDIS_RSS_KEY_SIZE);
	if (rc == 0)
		p->rss_on = true;
	else if (rx == 1 && rc != -ENODEV && rc != -ETIMEDOUT && rc != -EIO)
		return 0; /* nothing to spread: only the hash in the packets is lost */
	else
		HVN_LOG(ERR, "port %u: RSS parameters: %s", p->port_id, rte_strerror(-rc));
	return rc;
}

/* What was changed takes effect now if the port runs, else at the next start. */
static int
changed(struct hvn_port *p, const struct hvn_rss *before)
{
	int rc = p->running && !hvn_removed(p) ? hvn_rss_apply(p) : 0;

	if (rc == 0)
		return 0;
	p->rss = *before;
	/* It was turned off for the change that the host then refused. */
	if (rc != -ENODEV && rc != -ETIMEDOUT && rc != -EIO && hvn_rss_apply(p) != 0)
		HVN_LOG(ERR,
			"port %u: RSS is off: the host does not take back what was in force; set "
			"it again, or restart the port",
			p->port_id);
	return rc;
}

/* --- ethdev --------------------------------------------------------------------------------------------- */

int
hvn_rss_hash_update(struct rte_eth_dev *dev, struct rte_eth_rss_conf *conf)
{
	struct hvn_port *p = hvn_port(dev);
	struct hvn_rss before;
	int rc;

	if (p->known.rx_queues < 2)
		return -ENOTSUP;
	hvn_ctrl_lock(p);
	before = p->rss;
	rc = set_hash(p, conf);
	if (rc == 0)
		rc = changed(p, &before);
	hvn_vf_mirror(p);
	hvn_ctrl_unlock(p);
	return rc;
}

int
hvn_rss_hash_conf_get(struct rte_eth_dev *dev, struct rte_eth_rss_conf *conf)
{
	struct hvn_port *p = hvn_port(dev);

	if (p->known.rx_queues < 2)
		return -ENOTSUP;
	conf->rss_hf = p->rss.hf;
	if (conf->rss_key != NULL) {
		if (conf->rss_key_len < NDIS_RSS_KEY_SIZE)
			return -EINVAL;
		memcpy(conf->rss_key, p->rss.key, NDIS_RSS_KEY_SIZE);
	}
	conf->rss_key_len = NDIS_RSS_KEY_SIZE;
	return 0;
}

/* Check and take entries. */
static int
set_reta(struct hvn_port *p, const struct rte_eth_rss_reta_entry64 *reta, uint16_t size)
{
	struct hvn_rss wanted = p->rss;

	for (uint16_t i = 0; i < size; i++) {
		const struct rte_eth_rss_reta_entry64 *e = &reta[i / RTE_ETH_RETA_GROUP_SIZE];
		uint16_t at = i % RTE_ETH_RETA_GROUP_SIZE;

		if ((e->mask & (UINT64_C(1) << at)) == 0)
			continue;
		if (e->reta[at] >= p->data->nb_rx_queues)
			return -EINVAL;
		wanted.reta[i] = e->reta[at];
	}
	wanted.reta_set = true;
	p->rss = wanted;
	return 0;
}

int
hvn_rss_reta_update(struct rte_eth_dev *dev, struct rte_eth_rss_reta_entry64 *reta, uint16_t size)
{
	struct hvn_port *p = hvn_port(dev);
	struct hvn_rss before;
	int rc;

	if (size != p->known.reta_size) {
		HVN_LOG(ERR, "port %u: RETA of %u entries: the host has %u", p->port_id, size,
			p->known.reta_size);
		return -EINVAL;
	}
	hvn_ctrl_lock(p);
	before = p->rss;
	rc = set_reta(p, reta, size);
	if (rc == 0)
		rc = changed(p, &before);
	hvn_vf_mirror(p);
	hvn_ctrl_unlock(p);
	return rc;
}

int
hvn_rss_reta_query(struct rte_eth_dev *dev, struct rte_eth_rss_reta_entry64 *reta, uint16_t size)
{
	const struct hvn_port *p = hvn_port(dev);

	if (size != p->known.reta_size)
		return -EINVAL;
	for (uint16_t i = 0; i < size; i++) {
		struct rte_eth_rss_reta_entry64 *e = &reta[i / RTE_ETH_RETA_GROUP_SIZE];

		if ((e->mask & (UINT64_C(1) << (i % RTE_ETH_RETA_GROUP_SIZE))) != 0)
			e->reta[i % RTE_ETH_RETA_GROUP_SIZE] = p->rss.reta[i];
	}
	return 0;
}
