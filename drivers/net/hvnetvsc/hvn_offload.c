/* SPDX-License-Identifier: BSD-3-Clause */
/* Offloads. */
#include <errno.h>
#include <string.h>

#include "hvn_caps.h"
#include "hvn_offload.h"
#include "hvn_rndis.h"
#include "rndis_parse.h"

#define TCP4 (NDIS_CSUM_TCP | NDIS_CSUM_TCP_OPTIONS)
#define TCP6 (NDIS_CSUM_TCP | NDIS_CSUM_TCP_OPTIONS | NDIS_CSUM_IP_OPTIONS)
#define LSO6 (NDIS_LSO6_EXT_HEADERS | NDIS_LSO6_TCP_OPTIONS)

/* Every 2-bit field of want is set in flags. */
static bool
has(uint32_t flags, uint32_t want)
{
	for (uint32_t bit = 1; bit <= NDIS_CSUM_IPHDR; bit <<= 2)
		if ((want & bit) != 0 && !NDIS_CSUM_SUPPORTED(flags, bit))
			return false;
	return true;
}

/* The value is an enumeration: TX | RX would be RX alone. */
static uint8_t
csum_param(const struct ndis_csum_caps *tx, const struct ndis_csum_caps *rx, uint32_t want_tx,
	   uint32_t want_rx)
{
	bool t = has(tx->flags, want_tx), r = has(rx->flags, want_rx);

	return t ? (r ? NDIS_PARAM_TX_RX : NDIS_PARAM_TX) : r ? NDIS_PARAM_RX : NDIS_PARAM_OFF;
}

static bool
lso4(const struct ndis_offload *o)
{
	return (o->lsov2_ip4.encap & NDIS_ENCAP_8023) != 0 && o->lsov2_ip4.max_size != 0;
}

static bool
lso6(const struct ndis_offload *o)
{
	return (o->lsov2_ip6.encap & NDIS_ENCAP_8023) != 0 && o->lsov2_ip6.max_size != 0 &&
	       (o->lsov2_ip6.options & 3 * LSO6) != 0 &&
	       (o->lsov2_ip6.options & 3 * NDIS_LSO6_EXT_HEADERS) != 0 &&
	       (o->lsov2_ip6.options & 3 * NDIS_LSO6_TCP_OPTIONS) != 0;
}

static int
query(struct hvn_port *p, uint32_t oid, struct ndis_offload *o)
{
	uint8_t answer[HVN_CTRL_MSG_MAX / 4];
	struct ndis_offload in = { 0 };
	uint32_t len = sizeof(answer);
	const char *why = "";
	int rc;

	in.hdr.type = NDIS_OBJECT_OFFLOAD;
	if (p->caps.nvsp_version >= NVSP_VERSION_5) {
		in.hdr.revision = 3;
		in.hdr.size = NDIS_OFFLOAD_SIZE_REV3;
	} else if (p->caps.nvsp_version >= NVSP_VERSION_4) {
		in.hdr.revision = 2;
		in.hdr.size = NDIS_OFFLOAD_SIZE_REV2;
	} else {
		in.hdr.revision = 1;
		in.hdr.size = NDIS_OFFLOAD_SIZE_REV1;
	}
	rc = hvn_rndis_query(p, oid, &in, in.hdr.size, answer, &len);
	if (rc == 0)
		rc = hvn_caps_offload(answer, len, o, &why);
	if (rc != 0)
		HVN_LOG(INFO, "port %u: offloads (OID 0x%08x): %s %s", p->port_id, oid,
			rte_strerror(-rc), why);
	return rc;
}

static int
set(struct hvn_port *p, const struct ndis_offload *hw)
{
	bool udp = p->caps.nvsp_version >= NVSP_VERSION_5;
	struct ndis_offload_params par = {
		.hdr = { NDIS_OBJECT_DEFAULT, 3, NDIS_OFFLOAD_PARAMS_SIZE_REV3 },
		.ip4_csum = csum_param(&hw->ip4_tx, &hw->ip4_rx, NDIS_CSUM_IPHDR, NDIS_CSUM_IPHDR),
		.tcp4_csum = csum_param(&hw->ip4_tx, &hw->ip4_rx, TCP4, NDIS_CSUM_TCP),
		.tcp6_csum = csum_param(&hw->ip6_tx, &hw->ip6_rx, TCP6, NDIS_CSUM_TCP),
		.lsov1 = NDIS_PARAM_OFF,
		.lsov2_ip4 = lso4(hw) ? NDIS_PARAM_ON : NDIS_PARAM_OFF,
		.lsov2_ip6 = lso6(hw) ? NDIS_PARAM_ON : NDIS_PARAM_OFF,
		.rsc_ip4 = NDIS_PARAM_OFF,
		.rsc_ip6 = NDIS_PARAM_OFF,
	};
	uint32_t len = sizeof(par);

	if (udp) {
		par.udp4_csum = csum_param(&hw->ip4_tx, &hw->ip4_rx, NDIS_CSUM_UDP, NDIS_CSUM_UDP);
		par.udp6_csum = csum_param(&hw->ip6_tx, &hw->ip6_rx, NDIS_CSUM_UDP, NDIS_CSUM_UDP);
	} else {
		par.hdr.revision = 2;
		par.hdr.size = (uint16_t)(len = NDIS_OFFLOAD_PARAMS_SIZE_REV2);
		par.rsc_ip4 = par.rsc_ip6 = 0;
	}
	return hvn_rndis_set(p, RNDIS_OID_TCP_OFFLOAD_PARAMETERS, &par, len);
}

static bool
rsc(const struct hvn_port *p, const struct ndis_offload *o)
{
	return p->caps.nvsp_version >= NVSP_VERSION_6_1 && o->rsc_ip4 != 0 && o->rsc_ip6 != 0;
}

/* The host takes no limit: it coalesces up to ours, or not at all. */
static bool
wants_rsc(const struct hvn_port *p)
{
	const struct rte_eth_rxmode *mode = &p->data->dev_conf.rxmode;

	if (!p->caps.rsc || (mode->offloads & RTE_ETH_RX_OFFLOAD_TCP_LRO) == 0)
		return false;
	/* ethdev's where the application has none: a frame that is not coalesced. */
	if (mode->max_lro_pkt_size >= HVN_LRO_MAX ||
	    mode->max_lro_pkt_size <= mode->mtu + RTE_ETHER_HDR_LEN)
		return true;
	HVN_LOG(NOTICE,
		"port %u: the host does not coalesce: it cannot be told the limit of %u bytes "
		"(max_lro_pkt_size); %u or none would do",
		p->port_id, mode->max_lro_pkt_size, HVN_LRO_MAX);
	return false;
}

int
hvn_offload_rsc(struct hvn_port *p)
{
	const bool want = wants_rsc(p);
	const uint8_t value = want ? NDIS_PARAM_ON : NDIS_PARAM_OFF;
	/* 0 leaves all others as they are. */
	struct ndis_offload_params par = {
		.hdr = { NDIS_OBJECT_DEFAULT, 3, NDIS_OFFLOAD_PARAMS_SIZE_REV3 },
		.rsc_ip4 = value,
		.rsc_ip6 = value,
	};
	int rc;

	if (p->rsc_on == want)
		return 0;
	rc = hvn_rndis_set(p, RNDIS_OID_TCP_OFFLOAD_PARAMETERS, &par, sizeof(par));
	if (rc == 0)
		p->rsc_on = want;
	else
		HVN_LOG(ERR, "port %u: coalescing by the host (LRO): %s", p->port_id,
			rte_strerror(-rc));
	return rc;
}

/* What the host indicated when they were set. */
static int
indicated(const struct hvn_port *p, struct ndis_offload *o)
{
	const struct hvn_said *said = &p->said;
	uint32_t off, size;
	const char *why;

	if (rndis_parse_indicate(said->offload, said->offload_len, &off, &size) != 0)
		return -ENOENT;
	return hvn_caps_offload(said->offload + off, size, o, &why);
}

static bool
fatal(int rc)
{
	return rc == -ENODEV || rc == -ETIMEDOUT || rc == -EIO;
}

int
hvn_offload_setup(struct hvn_port *p)
{
	struct ndis_offload hw = { 0 }, now = { 0 };
	int rc;

	memset(&p->caps.offload, 0, sizeof(p->caps.offload));
	p->rsc_on = false;
	rc = query(p, RNDIS_OID_TCP_OFFLOAD_HW_CAPABILITIES, &hw);
	if (rc != 0)
		return fatal(rc) ? rc : 0;
	rc = set(p, &hw);
	if (rc != 0) {
		HVN_LOG(WARNING, "port %u: the host refuses offloads: %s", p->port_id,
			rte_strerror(-rc));
		return fatal(rc) ? rc : 0;
	}
	/* Hosts mask silently what they do not like: what is in force is what counts. */
	rc = query(p, RNDIS_OID_TCP_OFFLOAD_CURRENT_CONFIG, &now);
	if (fatal(rc))
		return rc;
	if (rc != 0)
		rc = indicated(p, &now);
	p->caps.offload = rc == 0 ? now : hw;
	p->caps.rsc = rsc(p, &hw); /* off now: set() says so */
	if (p->caps.nvsp_version < NVSP_VERSION_5) {
		/* No parameter turns UDP on. */
		p->caps.offload.ip4_tx.flags &= ~(3 * NDIS_CSUM_UDP);
		p->caps.offload.ip6_tx.flags &= ~(3 * NDIS_CSUM_UDP);
	}
	if (lso4(&p->caps.offload))
		p->caps.lso4_max = RTE_MIN(p->caps.offload.lsov2_ip4.max_size, RNDIS_LSO_MAX_BYTES);
	if (lso6(&p->caps.offload))
		p->caps.lso6_max = RTE_MIN(p->caps.offload.lsov2_ip6.max_size, RNDIS_LSO_MAX_BYTES);
	return 0;
}

uint64_t
hvn_offload_rx_capa(const struct hvn_port *p)
{
	const struct ndis_offload *o = &p->known.offload;
	uint64_t capa = RTE_ETH_RX_OFFLOAD_VLAN_STRIP | RTE_ETH_RX_OFFLOAD_RSS_HASH |
			RTE_ETH_RX_OFFLOAD_SCATTER;

	if (has(o->ip4_rx.flags, NDIS_CSUM_IPHDR))
		capa |= RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
	if (has(o->ip4_rx.flags, NDIS_CSUM_TCP) && has(o->ip6_rx.flags, NDIS_CSUM_TCP))
		capa |= RTE_ETH_RX_OFFLOAD_TCP_CKSUM;
	if (has(o->ip4_rx.flags, NDIS_CSUM_UDP) && has(o->ip6_rx.flags, NDIS_CSUM_UDP))
		capa |= RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
	if (p->known.rsc)
		capa |= RTE_ETH_RX_OFFLOAD_TCP_LRO;
	return capa;
}

/* ethdev's flags mean both families. */
uint64_t
hvn_offload_tx_capa(const struct hvn_port *p)
{
	const struct ndis_offload *o = &p->known.offload;
	uint64_t capa = RTE_ETH_TX_OFFLOAD_MULTI_SEGS | RTE_ETH_TX_OFFLOAD_VLAN_INSERT |
			RTE_ETH_TX_OFFLOAD_QINQ_INSERT;

	/* Who frees an external buffer as if it were the pool's never gives its slot back. */
	if (!p->args.rx_extmbuf)
		capa |= RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
	if (has(o->ip4_tx.flags, NDIS_CSUM_IPHDR))
		capa |= RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
	if (has(o->ip4_tx.flags, TCP4) && has(o->ip6_tx.flags, TCP6))
		capa |= RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
	if (has(o->ip4_tx.flags, NDIS_CSUM_UDP) && has(o->ip6_tx.flags, NDIS_CSUM_UDP))
		capa |= RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
	if (p->known.lso4_max != 0 && p->known.lso6_max != 0)
		capa |= RTE_ETH_TX_OFFLOAD_TCP_TSO;
	return capa;
}
