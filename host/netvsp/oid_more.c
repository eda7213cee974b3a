/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Objects that Windows hosts know and OpenVMM does not (oids=all): statistics, names, the
 * multicast list, the VLAN id.
 */
#include <string.h>

#include "netvsp.h"

#define NAME_BYTES	    512u
#define MODERATION_NONE	    1u
#define OID_INTR_MODERATION 0x00010209u
#define OID_MACHINE_NAME    0x0001021Au
#define OID_DIRECTED_XMIT   0x00020201u /* bytes, frames; the same for multicast, broadcast */
#define OID_BROADCAST_RCV   0x0002020Cu
#define OID_RCV_CRC_ERROR   0x0002020Du
#define OID_XMIT_QUEUE_LEN  0x0002020Eu
#define OID_RCV_DISCARDS    0x0002021Bu
#define OID_XMIT_DISCARDS   0x0002021Cu
#define OID_RSC_STATISTICS  0x0002021Du
#define OID_8023_MAC_OPT    0x01010105u
#define OID_8023_ADD_MCAST  0x01010208u
#define OID_8023_DEL_MCAST  0x01010209u
#define OID_8023_ERR_FIRST  0x01020101u /* 3 counters of errors */
#define OID_8023_ERR_MORE   0x01020201u /* 7 more */

static uint32_t
give_name(uint8_t *out, uint32_t room, uint32_t *len, const char *name)
{
	uint8_t wide[NAME_BYTES] = { 0 };
	uint32_t n = 0;

	while (name[n] != '\0' && 2 * n + 2 < sizeof(wide)) {
		wide[2 * n] = (uint8_t)name[n];
		n++;
	}
	return oid_give(out, room, len, wide, 2 * n);
}

static uint64_t
sum(const struct nic *nic, size_t field)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < NIC_QUEUES_MAX; i++)
		n += *(const uint64_t *)(const void *)((const char *)&nic->qstats[i] + field);
	return n;
}

#define SUM(nic, field) sum(nic, offsetof(struct nic_queue_stats, field))

/* What the guest receives is what we send: rx is from its point of view. */
static bool
counter(const struct nic *nic, uint32_t oid, uint64_t *v)
{
	if (oid >= OID_DIRECTED_XMIT && oid <= OID_BROADCAST_RCV) {
		uint32_t i = oid - OID_DIRECTED_XMIT;
		const struct nic_cast *c = i < 6 ? &nic->tx_cast : &nic->rx_cast;

		*v = i % 2 == 0 ? c->bytes[i % 6 / 2] : c->frames[i % 6 / 2];
		return true;
	}
	switch (oid) {
	case RNDIS_OID_GEN_XMIT_OK:
		*v = SUM(nic, tx_frames);
		return true;
	case RNDIS_OID_GEN_RCV_OK:
		*v = SUM(nic, rx_frames);
		return true;
	case RNDIS_OID_GEN_XMIT_ERROR:
		*v = SUM(nic, tx_failed);
		return true;
	case RNDIS_OID_GEN_BYTES_RCV:
		*v = SUM(nic, rx_bytes);
		return true;
	case RNDIS_OID_GEN_BYTES_XMIT:
		*v = SUM(nic, tx_bytes);
		return true;
	case RNDIS_OID_GEN_RCV_NO_BUFFER:
	case OID_RCV_DISCARDS:
		*v = nic->rx_overflow;
		return true;
	case OID_XMIT_DISCARDS:
		*v = nic->tx_link_down;
		return true;
	case RNDIS_OID_GEN_RCV_ERROR:
	case OID_RCV_CRC_ERROR:
	case OID_XMIT_QUEUE_LEN:
		*v = 0;
		return true;
	default:
		*v = 0;
		return oid - OID_8023_ERR_FIRST < 3 || oid - OID_8023_ERR_MORE < 7;
	}
}

uint32_t
oid_query_more(const struct nic *nic, uint32_t oid, uint32_t in_len, uint8_t *out, uint32_t room,
	       uint32_t *out_len)
{
	const struct {
		struct ndis_object_hdr hdr;
		uint32_t pad;
		uint64_t packets, bytes, events, aborts;
	} rsc = { .hdr = { NDIS_OBJECT_DEFAULT, 1, sizeof(rsc) },
		  .packets = nic->rsc_packets,
		  .bytes = nic->rsc_bytes,
		  .events = nic->rsc_events };
	const struct {
		struct ndis_object_hdr hdr;
		uint32_t flags, state;
	} moderation = { .hdr = { NDIS_OBJECT_DEFAULT, 1, sizeof(moderation) },
			 .state = MODERATION_NONE };
	const uint32_t vlan = nic->vlan_id, none = 0;
	uint64_t v;

	/* NDIS: 32 bits for who has no room for 64. */
	if (counter(nic, oid, &v))
		return oid_give(out, room, out_len, &v, in_len >= 4 && in_len < 8 ? 4 : 8);
	switch (oid) {
	case RNDIS_OID_GEN_FRIENDLY_NAME:
		return give_name(out, room, out_len, "Network Adapter");
	case OID_MACHINE_NAME:
		return give_name(out, room, out_len, "hv-host");
	case RNDIS_OID_GEN_VLAN_ID:
		return oid_give(out, room, out_len, &vlan, sizeof(vlan));
	case OID_8023_MAC_OPT:
		return oid_give(out, room, out_len, &none, sizeof(none));
	case OID_INTR_MODERATION:
		return oid_give(out, room, out_len, &moderation, sizeof(moderation));
	case OID_RSC_STATISTICS:
		return oid_give(out, room, out_len, &rsc, sizeof(rsc));
	case RNDIS_OID_802_3_MULTICAST_LIST:
		return nic->opt.mcast_list == 0
			       ? RNDIS_STATUS_NOT_SUPPORTED
			       : oid_give(out, room, out_len, nic->mcast, 6 * nic->n_mcast);
	default:
		return RNDIS_STATUS_NOT_SUPPORTED;
	}
}

static unsigned int
mcast_find(const struct nic *nic, const uint8_t *mac)
{
	unsigned int i = 0;

	while (i < nic->n_mcast && memcmp(nic->mcast[i], mac, 6) != 0)
		i++;
	return i;
}

static uint32_t
set_mcast(struct nic *nic, uint32_t oid, const uint8_t *in, uint32_t len)
{
	unsigned int i;

	if (nic->opt.mcast_list == 0)
		return RNDIS_STATUS_NOT_SUPPORTED;
	if (len % 6 != 0 || (oid != RNDIS_OID_802_3_MULTICAST_LIST && len != 6))
		return RNDIS_STATUS_INVALID_LENGTH;
	if (len / 6 + (oid == OID_8023_ADD_MCAST ? nic->n_mcast : 0) > nic->opt.mcast_list)
		return RNDIS_STATUS_RESOURCES;
	for (i = 0; i < len; i += 6)
		if ((in[i] & 1) == 0)
			return RNDIS_STATUS_INVALID_DATA;
	if (oid == RNDIS_OID_802_3_MULTICAST_LIST) {
		memcpy(nic->mcast, in, len);
		nic->n_mcast = len / 6;
		return RNDIS_STATUS_SUCCESS;
	}
	i = mcast_find(nic, in);
	if (oid == OID_8023_ADD_MCAST && i == nic->n_mcast)
		memcpy(nic->mcast[nic->n_mcast++], in, 6);
	else if (oid == OID_8023_DEL_MCAST && i < nic->n_mcast)
		memcpy(nic->mcast[i], nic->mcast[--nic->n_mcast], 6);
	return RNDIS_STATUS_SUCCESS;
}

uint32_t
oid_set_more(struct nic *nic, uint32_t oid, const uint8_t *in, uint32_t len)
{
	switch (oid) {
	case RNDIS_OID_802_3_MULTICAST_LIST:
	case OID_8023_ADD_MCAST:
	case OID_8023_DEL_MCAST:
		return set_mcast(nic, oid, in, len);
	case RNDIS_OID_GEN_VLAN_ID:
		if (len < sizeof(uint32_t))
			return rndis_short_object(nic, in, len, "a VLAN id has 4 bytes");
		/* Kept, without effect: no driver uses it, tags travel in the frames' information. */
		nic->vlan_id = hv_load32(in);
		return RNDIS_STATUS_SUCCESS;
	case RNDIS_OID_GEN_CURRENT_LOOKAHEAD:
	case RNDIS_OID_GEN_PROTOCOL_OPTIONS:
	case RNDIS_OID_GEN_LINK_PARAMETERS:
	case OID_INTR_MODERATION:
		return RNDIS_STATUS_SUCCESS; /* accepted, no meaning */
	default:
		return RNDIS_STATUS_NOT_SUPPORTED;
	}
}

bool
oid_filter(const struct nic *nic, const uint8_t *dst)
{
	static const uint8_t all[6] = { 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF };

	if ((nic->filter & RNDIS_FILTER_PROMISCUOUS) != 0)
		return true;
	if ((dst[0] & 1) == 0)
		return (nic->filter & RNDIS_FILTER_DIRECTED) != 0 &&
		       memcmp(dst, nic->mac, sizeof(nic->mac)) == 0;
	if (memcmp(dst, all, sizeof(all)) == 0)
		return (nic->filter & RNDIS_FILTER_BROADCAST) != 0;
	return (nic->filter & RNDIS_FILTER_ALL_MULTICAST) != 0 ||
	       ((nic->filter & RNDIS_FILTER_MULTICAST) != 0 && mcast_find(nic, dst) < nic->n_mcast);
}
