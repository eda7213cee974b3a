/* SPDX-License-Identifier: BSD-3-Clause */
/* NDIS offload objects: what is offered, what is on. */
#include <stdio.h>
#include <string.h>

#include "netvsp.h"

#define LSO_MIN_SEGS 2u

static struct nic_offload
supported(const struct nic *nic)
{
	const struct nic_opt *o = &nic->opt;
	struct nic_offload s = {
		.lso4 = o->lso4 != 0, .lso6 = o->lso6 != 0, .rsc4 = o->rsc != 0, .rsc6 = o->rsc != 0
	};

	s.tx = (uint8_t)((o->tx_csum4 & OPT_IP ? OFFL_IP4 : 0) |
			 (o->tx_csum4 & OPT_TCP ? OFFL_TCP4 : 0) |
			 (o->tx_csum4 & OPT_UDP ? OFFL_UDP4 : 0) |
			 (o->tx_csum6 & OPT_TCP ? OFFL_TCP6 : 0) |
			 (o->tx_csum6 & OPT_UDP ? OFFL_UDP6 : 0));
	s.rx = o->rx_csum ? OFFL_IP4 | OFFL_L4_ALL : 0;
	return s;
}

void
offload_reset(struct nic *nic)
{
	/* All that is supported is on, before the guest says anything; RSC is not. */
	nic->offload = supported(nic);
	nic->offload.rsc4 = nic->offload.rsc6 = false;
}

static uint32_t
flags4(uint8_t on, unsigned int options)
{
	return (on & OFFL_IP4 ? NDIS_CSUM_IPHDR : 0) | (on & OFFL_TCP4 ? NDIS_CSUM_TCP : 0) |
	       (on & OFFL_UDP4 ? NDIS_CSUM_UDP : 0) |
	       (on & OFFL_TCP4 && options & OPT_TCP_OPTS ? NDIS_CSUM_TCP_OPTIONS : 0) |
	       (on != 0 && options & OPT_IP_OPTS ? NDIS_CSUM_IP_OPTIONS : 0);
}

static uint32_t
flags6(uint8_t on, unsigned int options)
{
	return (on & OFFL_TCP6 ? NDIS_CSUM_TCP : 0) | (on & OFFL_UDP6 ? NDIS_CSUM_UDP : 0) |
	       (on & OFFL_TCP6 && options & OPT_TCP_OPTS ? NDIS_CSUM_TCP_OPTIONS : 0) |
	       (on & (OFFL_TCP6 | OFFL_UDP6) && options & OPT_IP_OPTS ? NDIS_CSUM_IP_OPTIONS : 0);
}

static void
fill(const struct nic *nic, const struct nic_offload *on, struct ndis_offload *o)
{
	const uint32_t all = 0x1F;

	memset(o, 0, sizeof(*o));
	o->hdr.type = NDIS_OBJECT_OFFLOAD;
	o->ip4_tx.encap = o->ip4_rx.encap = o->ip6_tx.encap = o->ip6_rx.encap = NDIS_ENCAP_8023;
	o->ip4_tx.flags = flags4(on->tx, nic->opt.tx_csum4);
	o->ip6_tx.flags = flags6(on->tx, nic->opt.tx_csum6);
	o->ip4_rx.flags = flags4(on->rx, all);
	o->ip6_rx.flags = flags6(on->rx, all);
	if (on->lso4) {
		o->lsov2_ip4.encap = NDIS_ENCAP_8023;
		o->lsov2_ip4.max_size = nic->opt.lso4;
		o->lsov2_ip4.min_segs = LSO_MIN_SEGS;
	}
	if (on->lso6) {
		o->lsov2_ip6.encap = NDIS_ENCAP_8023;
		o->lsov2_ip6.max_size = nic->opt.lso6;
		o->lsov2_ip6.min_segs = LSO_MIN_SEGS;
		o->lsov2_ip6.options = NDIS_LSO6_EXT_HEADERS | NDIS_LSO6_TCP_OPTIONS;
	}
	o->rsc_ip4 = on->rsc4;
	o->rsc_ip6 = on->rsc6;
}

void
offload_caps(const struct nic *nic, struct ndis_offload *o)
{
	struct nic_offload s = supported(nic);

	fill(nic, &s, o);
}

void
offload_current(const struct nic *nic, struct ndis_offload *o)
{
	fill(nic, &nic->offload, o);
}

/* Revision and size that a guest of this NDIS version expects. */
uint32_t
offload_object_size(const struct nic *nic, struct ndis_offload *o)
{
	uint32_t size = NDIS_OFFLOAD_SIZE_REV3;

	o->hdr.revision = 3;
	if (nic->ndis_major < 6 || (nic->ndis_major == 6 && nic->ndis_minor < 1)) {
		o->hdr.revision = 1;
		size = NDIS_OFFLOAD_SIZE_REV1;
	} else if (nic->ndis_major == 6 && nic->ndis_minor < 30) {
		o->hdr.revision = 2;
		size = NDIS_OFFLOAD_SIZE_REV2;
	}
	o->hdr.size = (uint16_t)size;
	return size;
}

/* One checksum field of the parameters: false if it is no value of the enumeration. */
static bool
set_csum(struct nic_offload *on, const struct nic_offload *sup, uint8_t bit, uint8_t value)
{
	if (value > NDIS_PARAM_TX_RX)
		return false;
	if (value == NDIS_PARAM_NO_CHANGE)
		return true;
	on->tx &= (uint8_t)~bit;
	on->rx &= (uint8_t)~bit;
	if (value == NDIS_PARAM_TX || value == NDIS_PARAM_TX_RX)
		on->tx |= bit & sup->tx;
	if (value == NDIS_PARAM_RX || value == NDIS_PARAM_TX_RX)
		on->rx |= bit & sup->rx;
	return true;
}

static bool
set_switch(bool *on, bool sup, uint8_t value)
{
	if (value > NDIS_PARAM_ON)
		return false;
	if (value != NDIS_PARAM_NO_CHANGE)
		*on = sup && value == NDIS_PARAM_ON;
	return true;
}

uint32_t
offload_set(struct nic *nic, const uint8_t *in, uint32_t len)
{
	struct nic_offload on = nic->offload, sup = supported(nic);
	struct ndis_offload_params p = { 0 };
	uint32_t size;

	if (len < sizeof(p.hdr))
		return rndis_short_object(nic, in, len, "shorter than an object's header");
	memcpy(&p.hdr, in, sizeof(p.hdr));
	size = p.hdr.size;
	if (p.hdr.type != NDIS_OBJECT_DEFAULT || p.hdr.revision < 1 || size < 20 || size > len)
		return rndis_bad_object(nic, in, len, "no object of offload parameters");
	memcpy(&p, in, size < sizeof(p) ? size : sizeof(p));
	if (p.lsov1 == NDIS_PARAM_ON)
		return RNDIS_STATUS_NOT_SUPPORTED;
	if (!set_csum(&on, &sup, OFFL_IP4, p.ip4_csum) ||
	    !set_csum(&on, &sup, OFFL_TCP4, p.tcp4_csum) ||
	    !set_csum(&on, &sup, OFFL_UDP4, p.udp4_csum) ||
	    !set_csum(&on, &sup, OFFL_TCP6, p.tcp6_csum) ||
	    !set_csum(&on, &sup, OFFL_UDP6, p.udp6_csum) ||
	    !set_switch(&on.lso4, sup.lso4, p.lsov2_ip4) ||
	    !set_switch(&on.lso6, sup.lso6, p.lsov2_ip6))
		return rndis_bad_object(nic, in, len, "a value that is none of the enumeration");
	if (size >= NDIS_OFFLOAD_PARAMS_SIZE_REV2 + 2 &&
	    (!set_switch(&on.rsc4, sup.rsc4, p.rsc_ip4) ||
	     !set_switch(&on.rsc6, sup.rsc6, p.rsc_ip6)))
		return rndis_bad_object(nic, in, len, "a value that is none of the enumeration");
	/* RSC also needs the capability of NVSP 6.1. */
	if (nic->version < NVSP_VERSION_6_1 || (nic->caps & NVSP_CAP_RSC) == 0)
		on.rsc4 = on.rsc6 = false;
	nic->offload = on;
	return RNDIS_STATUS_SUCCESS;
}

uint32_t
offload_encap(struct nic *nic, const uint8_t *in, uint32_t len)
{
	struct ndis_offload_encap e;

	if (len < sizeof(e))
		return rndis_short_object(nic, in, len, "shorter than offload encapsulation");
	memcpy(&e, in, sizeof(e));
	if (e.hdr.type != NDIS_OBJECT_OFFLOAD_ENCAP || e.hdr.revision < 1)
		return rndis_bad_object(nic, in, len, "no object of offload encapsulation");
	if ((e.ip4.enabled == NDIS_PARAM_ON &&
	     (e.ip4.type != NDIS_ENCAP_8023 || e.ip4.header_size != 14)) ||
	    (e.ip6.enabled == NDIS_PARAM_ON &&
	     (e.ip6.type != NDIS_ENCAP_8023 || e.ip6.header_size != 14)))
		return RNDIS_STATUS_NOT_SUPPORTED;
	return RNDIS_STATUS_SUCCESS;
}

/* UTF-16LE to ASCII; what is not ASCII becomes '?'. */
static void
narrow(char *out, size_t room, const uint8_t *in, uint32_t bytes)
{
	size_t n = 0;

	for (uint32_t i = 0; i + 1 < bytes && n + 1 < room; i += 2)
		out[n++] = in[i + 1] == 0 && in[i] < 128 ? (char)in[i] : '?';
	out[n] = '\0';
}

/* Windows: 12 digits, and only where the host permits other addresses ("MAC spoofing"). */
static uint32_t
set_mac(struct nic *nic, const char *value)
{
	unsigned int b[6];
	char end;

	if (nic->opt.mac_change == MAC_REFUSE)
		return RNDIS_STATUS_NOT_SUPPORTED;
	if (strlen(value) != 12 ||
	    sscanf(value, "%2x%2x%2x%2x%2x%2x%c", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &end) !=
		    6 ||
	    (b[0] & 1) != 0)
		return RNDIS_STATUS_INVALID_DATA;
	for (unsigned int i = 0; i < 6; i++)
		nic->mac[i] = (uint8_t)b[i];
	return RNDIS_STATUS_SUCCESS;
}

uint32_t
offload_config_param(struct nic *nic, const uint8_t *in, uint32_t len)
{
	static const struct {
		const char *name;
		uint8_t bit;
	} csum[] = { { "*IPChecksumOffloadIPv4", OFFL_IP4 },
		     { "*TCPChecksumOffloadIPv4", OFFL_TCP4 },
		     { "*TCPChecksumOffloadIPv6", OFFL_TCP6 },
		     { "*UDPChecksumOffloadIPv4", OFFL_UDP4 },
		     { "*UDPChecksumOffloadIPv6", OFFL_UDP6 } };
	struct nic_offload sup = supported(nic);
	struct rndis_config_param p;
	char name[128], value[128];
	unsigned int v;

	if (len < sizeof(p))
		return rndis_short_object(nic, in, len, "shorter than a parameter's fixed part");
	memcpy(&p, in, sizeof(p));
	if (p.name_off > len || p.name_len > len - p.name_off || p.name_len > 255 ||
	    p.value_off > len || p.value_len > len - p.value_off || p.value_len > 255)
		return rndis_bad_object(nic, in, len, "parameter outside its object");
	narrow(name, sizeof(name), in + p.name_off, p.name_len);
	narrow(value, sizeof(value), in + p.value_off, p.value_len);
	host_log(HOST_INFO, "nic %u: configuration parameter %s = %s", nic->index, name, value);
	if (p.type != RNDIS_CONFIG_STRING)
		return RNDIS_STATUS_SUCCESS;
	if (strcmp(name, "NetworkAddress") == 0 && nic->opt.mac_change != MAC_IGNORE)
		return set_mac(nic, value);
	/* OpenVMM reads a digit whatever the name is: half of all addresses fail by it. */
	if (value[0] < '0' || value[0] > '9')
		return RNDIS_STATUS_INVALID_DATA;
	v = (unsigned int)(value[0] - '0');
	for (size_t i = 0; i < sizeof(csum) / sizeof(csum[0]); i++)
		if (strcmp(csum[i].name, name) == 0) {
			/* Bit 0 transmit, bit 1 receive. */
			const uint8_t param[] = { NDIS_PARAM_OFF, NDIS_PARAM_TX, NDIS_PARAM_RX,
						  NDIS_PARAM_TX_RX };

			set_csum(&nic->offload, &sup, csum[i].bit, param[v & 3]);
		}
	if (strcmp(name, "*LsoV2IPv4") == 0)
		nic->offload.lso4 = sup.lso4 && v != 0;
	if (strcmp(name, "*LsoV2IPv6") == 0)
		nic->offload.lso6 = sup.lso6 && v != 0;
	return RNDIS_STATUS_SUCCESS;
}
