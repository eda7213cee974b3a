/* SPDX-License-Identifier: BSD-3-Clause */
/* Objects a guest may ask for or set. */
#include <string.h>

#include "netvsp.h"

#define VENDOR_ID    0x0000155Du
#define MAC_OPTIONS  0x24Du
#define BUFFER_SPACE (256u << 10)

static const uint32_t basic_list[] = {
	RNDIS_OID_GEN_SUPPORTED_LIST,
	RNDIS_OID_GEN_HARDWARE_STATUS,
	RNDIS_OID_GEN_MEDIA_SUPPORTED,
	RNDIS_OID_GEN_MEDIA_IN_USE,
	RNDIS_OID_GEN_MAXIMUM_LOOKAHEAD,
	RNDIS_OID_GEN_MAXIMUM_FRAME_SIZE,
	RNDIS_OID_GEN_LINK_SPEED,
	RNDIS_OID_GEN_TRANSMIT_BUFFER_SPACE,
	RNDIS_OID_GEN_RECEIVE_BUFFER_SPACE,
	RNDIS_OID_GEN_TRANSMIT_BLOCK_SIZE,
	RNDIS_OID_GEN_RECEIVE_BLOCK_SIZE,
	RNDIS_OID_GEN_VENDOR_ID,
	RNDIS_OID_GEN_VENDOR_DESCRIPTION,
	RNDIS_OID_GEN_CURRENT_PACKET_FILTER,
	RNDIS_OID_GEN_CURRENT_LOOKAHEAD,
	RNDIS_OID_GEN_DRIVER_VERSION,
	RNDIS_OID_GEN_MAXIMUM_TOTAL_SIZE,
	RNDIS_OID_GEN_PROTOCOL_OPTIONS, /* listed, not answered: as OpenVMM */
	RNDIS_OID_GEN_MAC_OPTIONS,
	RNDIS_OID_GEN_MEDIA_CONNECT_STATUS,
	RNDIS_OID_GEN_MAXIMUM_SEND_PACKETS,
	RNDIS_OID_GEN_VENDOR_DRIVER_VERSION,
	RNDIS_OID_802_3_PERMANENT_ADDRESS,
	RNDIS_OID_802_3_CURRENT_ADDRESS,
	RNDIS_OID_802_3_MULTICAST_LIST, /* the same */
	RNDIS_OID_802_3_MAXIMUM_LIST_SIZE,
};
static const uint32_t ndis6_list[] = {
	RNDIS_OID_GEN_MAX_LINK_SPEED,	       RNDIS_OID_GEN_LINK_STATE,
	RNDIS_OID_GEN_LINK_PARAMETERS, /* the same */
	RNDIS_OID_GEN_RNDIS_CONFIG_PARAMETER,  RNDIS_OID_OFFLOAD_ENCAPSULATION,
	RNDIS_OID_TCP_OFFLOAD_CURRENT_CONFIG,  RNDIS_OID_TCP_OFFLOAD_PARAMETERS,
	RNDIS_OID_TCP_OFFLOAD_HW_CAPABILITIES,
};
static const uint32_t ndis630_list[] = { RNDIS_OID_GEN_RSS_CAPABILITIES,
					 RNDIS_OID_GEN_RSS_PARAMETERS };

static uint32_t
append(uint8_t *out, uint32_t room, uint32_t *len, const uint32_t *list, size_t bytes)
{
	if (bytes > room - *len)
		return RNDIS_STATUS_BUFFER_OVERFLOW;
	memcpy(out + *len, list, bytes);
	*len += (uint32_t)bytes;
	return RNDIS_STATUS_SUCCESS;
}

static uint32_t
supported_list(const struct nic *nic, uint8_t *out, uint32_t room, uint32_t *len)
{
	uint32_t st = append(out, room, len, basic_list, sizeof(basic_list));

	if (nic->ndis_major != 5 && nic->ndis_major != 6)
		st = RNDIS_STATUS_BAD_VERSION;
	if (st == RNDIS_STATUS_SUCCESS && nic->ndis_major == 6)
		st = append(out, room, len, ndis6_list, sizeof(ndis6_list));
	if (st == RNDIS_STATUS_SUCCESS && nic->ndis_major == 6 && nic->ndis_minor >= 30)
		st = append(out, room, len, ndis630_list, sizeof(ndis630_list));
	if (st != RNDIS_STATUS_SUCCESS)
		*len = 0;
	return st;
}

/* Objects that are one u32. */
static bool
query_u32(const struct nic *nic, uint32_t oid, uint32_t *v)
{
	switch (oid) {
	case RNDIS_OID_GEN_HARDWARE_STATUS:
	case RNDIS_OID_GEN_MEDIA_SUPPORTED:
	case RNDIS_OID_GEN_MEDIA_IN_USE:
	case RNDIS_OID_GEN_CURRENT_PACKET_FILTER: /* whatever was set */
	case RNDIS_OID_GEN_MEDIA_CONNECT_STATUS:  /* connected, whatever was indicated */
		*v = 0;
		return true;
	case RNDIS_OID_802_3_MAXIMUM_LIST_SIZE:
		*v = nic->opt.oids_all ? nic->opt.mcast_list : 0;
		return true;
	case RNDIS_OID_GEN_MAXIMUM_LOOKAHEAD:
	case RNDIS_OID_GEN_CURRENT_LOOKAHEAD:
	case RNDIS_OID_GEN_MAXIMUM_FRAME_SIZE:
		*v = nic->mtu - 14;
		return true;
	case RNDIS_OID_GEN_MAXIMUM_TOTAL_SIZE:
	case RNDIS_OID_GEN_TRANSMIT_BLOCK_SIZE:
	case RNDIS_OID_GEN_RECEIVE_BLOCK_SIZE:
		*v = nic->mtu;
		return true;
	case RNDIS_OID_GEN_LINK_SPEED:
		*v = (uint32_t)(nic->speed / 100);
		return true;
	case RNDIS_OID_GEN_TRANSMIT_BUFFER_SPACE:
	case RNDIS_OID_GEN_RECEIVE_BUFFER_SPACE:
		*v = BUFFER_SPACE;
		return true;
	case RNDIS_OID_GEN_VENDOR_ID:
		*v = VENDOR_ID;
		return true;
	case RNDIS_OID_GEN_MAC_OPTIONS:
		*v = MAC_OPTIONS;
		return true;
	case RNDIS_OID_GEN_MAXIMUM_SEND_PACKETS:
		*v = UINT32_MAX;
		return true;
	default:
		return false;
	}
}

uint32_t
oid_give(uint8_t *out, uint32_t room, uint32_t *len, const void *data, uint32_t n)
{
	if (n > room)
		return RNDIS_STATUS_BUFFER_OVERFLOW;
	memcpy(out, data, n);
	*len = n;
	return RNDIS_STATUS_SUCCESS;
}

static uint32_t
query_link_state(const struct nic *nic, uint8_t *out, uint32_t room, uint32_t *len)
{
	struct ndis_link_state st = { .hdr = { NDIS_OBJECT_DEFAULT, 1, sizeof(st) },
				      .connect_state = 1,
				      .duplex = 2,
				      .tx_speed = nic->speed,
				      .rx_speed = nic->speed };

	return oid_give(out, room, len, &st, sizeof(st));
}

static uint32_t
query_offload(const struct nic *nic, bool current, uint8_t *out, uint32_t room, uint32_t *len)
{
	struct ndis_offload o;

	if (current)
		offload_current(nic, &o);
	else
		offload_caps(nic, &o);
	return oid_give(out, room, len, &o, offload_object_size(nic, &o));
}

uint32_t
oid_query(struct nic *nic, uint32_t oid, const uint8_t *in, uint32_t in_len, uint8_t *out,
	  uint32_t room, uint32_t *out_len)
{
	static const char vendor[] = "hv-host synthetic NIC";
	const uint16_t driver_version = 0x0100;
	const uint64_t speeds[2] = { nic->speed, nic->speed };
	struct ndis_rss_caps caps;
	uint32_t v;

	/* What a guest puts into the buffer of a query is not looked at, as in OpenVMM. */
	(void)in;
	*out_len = 0;
	if (query_u32(nic, oid, &v))
		return oid_give(out, room, out_len, &v, sizeof(v));
	switch (oid) {
	case RNDIS_OID_GEN_SUPPORTED_LIST:
		return supported_list(nic, out, room, out_len);
	case RNDIS_OID_GEN_VENDOR_DESCRIPTION:
		return oid_give(out, room, out_len, vendor, sizeof(vendor));
	case RNDIS_OID_GEN_DRIVER_VERSION:
	case RNDIS_OID_GEN_VENDOR_DRIVER_VERSION:
		return oid_give(out, room, out_len, &driver_version, sizeof(driver_version));
	case RNDIS_OID_802_3_PERMANENT_ADDRESS:
		return oid_give(out, room, out_len, nic->opt.mac, sizeof(nic->opt.mac));
	case RNDIS_OID_802_3_CURRENT_ADDRESS:
		return oid_give(out, room, out_len, nic->mac, sizeof(nic->mac));
	case RNDIS_OID_GEN_MAX_LINK_SPEED:
		return oid_give(out, room, out_len, speeds, sizeof(speeds));
	case RNDIS_OID_GEN_LINK_STATE:
		return query_link_state(nic, out, room, out_len);
	case RNDIS_OID_TCP_OFFLOAD_CURRENT_CONFIG:
		return query_offload(nic, true, out, room, out_len);
	case RNDIS_OID_TCP_OFFLOAD_HW_CAPABILITIES:
		return query_offload(nic, false, out, room, out_len);
	case RNDIS_OID_GEN_RSS_CAPABILITIES:
		rss_caps(nic, &caps);
		return oid_give(out, room, out_len, &caps, sizeof(caps));
	default:
		return nic->opt.oids_all ? oid_query_more(nic, oid, in_len, out, room, out_len)
					 : RNDIS_STATUS_NOT_SUPPORTED;
	}
}

uint32_t
oid_set(struct nic *nic, uint32_t oid, const uint8_t *in, uint32_t len)
{
	switch (oid) {
	case RNDIS_OID_GEN_CURRENT_PACKET_FILTER:
		if (len < sizeof(uint32_t))
			return rndis_short_object(nic, in, len, "a packet filter has 4 bytes");
		/* Any bit passes everything; 0 keeps frames back. */
		nic->filter = hv_load32(in);
		return RNDIS_STATUS_SUCCESS;
	case RNDIS_OID_OFFLOAD_ENCAPSULATION:
		return offload_encap(nic, in, len);
	case RNDIS_OID_GEN_RNDIS_CONFIG_PARAMETER:
		return offload_config_param(nic, in, len);
	case RNDIS_OID_GEN_RSS_PARAMETERS:
		return rss_set(nic, in, len);
	case RNDIS_OID_GEN_NETWORK_LAYER_ADDRESSES:
		return RNDIS_STATUS_SUCCESS; /* accepted, no meaning */
	default:
		return nic->opt.oids_all ? oid_set_more(nic, oid, in, len)
					 : RNDIS_STATUS_NOT_SUPPORTED;
	}
}
