/* SPDX-License-Identifier: BSD-3-Clause */
/* RNDIS control messages. */
#include <errno.h>
#include <string.h>

#include "hvn_caps.h"
#include "hvn_ctrl.h"
#include "hvn_rndis.h"
#include "rndis_build.h"

#define MAX_TRANSFER 0x4000u /* what Linux says it takes; hosts do not look at it */

static int
status_errno(uint32_t status)
{
	switch (status) {
	case RNDIS_STATUS_SUCCESS:
		return 0;
	case RNDIS_STATUS_NOT_SUPPORTED:
	case RNDIS_STATUS_INVALID_OID:
		return -ENOTSUP;
	case RNDIS_STATUS_INVALID_DATA:
	case RNDIS_STATUS_INVALID_LENGTH:
		return -EINVAL;
	default:
		return -EREMOTEIO;
	}
}

int
hvn_rndis_initialize(struct hvn_port *p)
{
	struct rndis_initialize msg = {
		.hdr = { RNDIS_INITIALIZE, sizeof(msg) },
		.request_id = hvn_ctrl_rndis_id(p),
		.major = 1,
		.max_transfer = MAX_TRANSFER,
	};
	const char *why = "";
	const uint8_t *reply;
	uint32_t len;
	int rc;

	rc = hvn_ctrl_rndis(p, &msg, sizeof(msg), RNDIS_INITIALIZE_CMPLT, &reply, &len);
	if (rc == 0)
		rc = hvn_caps_initialize(reply, len, &p->caps.max_packets, &p->caps.max_transfer,
					 &p->caps.align, &why);
	if (rc != 0)
		HVN_LOG(ERR, "port %u: RNDIS INITIALIZE: %s %s", p->port_id, rte_strerror(-rc),
			why);
	return rc;
}

void
hvn_rndis_halt(struct hvn_port *p)
{
	struct rndis_halt msg = {
		.hdr = { RNDIS_HALT, sizeof(msg) },
		.request_id = hvn_ctrl_rndis_id(p),
	};

	hvn_ctrl_rndis(p, &msg, sizeof(msg), HVN_CTRL_NO_REPLY_TYPE, NULL, NULL);
}

static int
request(struct hvn_port *p, uint32_t type, uint32_t oid, const void *info, uint32_t len,
	const uint8_t **reply, uint32_t *reply_len)
{
	uint8_t msg[HVN_RNDIS_REQUEST_MAX];
	struct rndis_status_cmplt head; /* QUERY_CMPLT begins alike */
	int rc;

	if (len > sizeof(msg) - sizeof(struct rndis_request))
		return -EMSGSIZE;
	len = rndis_build_request(msg, type, hvn_ctrl_rndis_id(p), oid, info, len);
	rc = hvn_ctrl_rndis(p, msg, len, type | RNDIS_COMPLETION, reply, reply_len);
	if (rc != 0)
		return rc;
	if (*reply_len < sizeof(head))
		return -EPROTO;
	memcpy(&head, *reply, sizeof(head));
	return status_errno(head.status);
}

int
hvn_rndis_query(struct hvn_port *p, uint32_t oid, const void *in, uint32_t in_len, void *info,
		uint32_t *len)
{
	uint32_t off, size, reply_len;
	const uint8_t *reply;
	int rc;

	rc = request(p, RNDIS_QUERY, oid, in, in_len, &reply, &reply_len);
	if (rc == 0 && rndis_parse_query_cmplt(reply, reply_len, &off, &size) != 0)
		rc = -EPROTO;
	if (rc != 0) {
		HVN_LOG(DEBUG, "port %u: query of OID 0x%08x: %s", p->port_id, oid,
			rte_strerror(-rc));
		return rc;
	}
	*len = RTE_MIN(*len, size);
	memcpy(info, reply + off, *len);
	return 0;
}

int
hvn_rndis_query_u32(struct hvn_port *p, uint32_t oid, uint32_t *value)
{
	uint32_t len = sizeof(*value), v = 0;
	int rc = hvn_rndis_query(p, oid, NULL, 0, &v, &len);

	if (rc == 0 && len < sizeof(v))
		rc = -EPROTO;
	if (rc == 0)
		*value = v;
	return rc;
}

int
hvn_rndis_set(struct hvn_port *p, uint32_t oid, const void *info, uint32_t len)
{
	const uint8_t *reply;
	uint32_t reply_len;
	int rc = request(p, RNDIS_SET, oid, info, len, &reply, &reply_len);

	if (rc != 0)
		HVN_LOG(DEBUG, "port %u: set of OID 0x%08x: %s", p->port_id, oid,
			rte_strerror(-rc));
	return rc;
}

/* --- MAC address ------------------------------------------------------------------------------------ */

static int
get_mac(struct hvn_port *p, uint32_t oid, struct rte_ether_addr *mac)
{
	struct rte_ether_addr got;
	uint32_t len = sizeof(got);
	int rc = hvn_rndis_query(p, oid, NULL, 0, &got, &len);

	if (rc == 0 && (len < sizeof(got) || !rte_is_valid_assigned_ether_addr(&got)))
		rc = -EPROTO;
	if (rc != 0) {
		HVN_LOG(ERR, "port %u: no usable MAC address from the host: %s", p->port_id,
			rte_strerror(-rc));
		return rc;
	}
	*mac = got;
	return 0;
}

int
hvn_rndis_get_mac(struct hvn_port *p, struct rte_ether_addr *mac)
{
	return get_mac(p, RNDIS_OID_802_3_PERMANENT_ADDRESS, mac);
}

int
hvn_rndis_set_mac(struct hvn_port *p, const struct rte_ether_addr *mac)
{
	static const char name[] = "NetworkAddress";
	struct {
		struct rndis_config_param head;
		uint16_t name[sizeof(name) - 1];
		uint16_t value[2 * RTE_ETHER_ADDR_LEN];
	} HVWIRE_PACKED param = {
		.head = {
			.name_off = offsetof(__typeof__(param), name),
			.name_len = sizeof(param.name),
			.type = RNDIS_CONFIG_STRING,
			.value_off = offsetof(__typeof__(param), value),
			.value_len = sizeof(param.value),
		},
	};

	struct rte_ether_addr now;
	int rc;

	for (unsigned int i = 0; i < RTE_DIM(param.name); i++)
		param.name[i] = (uint16_t)name[i];
	for (unsigned int i = 0; i < RTE_DIM(param.value); i++) {
		uint8_t byte = mac->addr_bytes[i / 2];

		param.value[i] = (uint16_t) "0123456789ABCDEF"[i % 2 != 0 ? byte & 15 : byte >> 4];
	}
	rc = hvn_rndis_set(p, RNDIS_OID_GEN_RNDIS_CONFIG_PARAMETER, &param, sizeof(param));
	/* Some hosts say yes and change nothing; whether all others say what they did is not known. */
	if (rc == 0 && get_mac(p, RNDIS_OID_802_3_CURRENT_ADDRESS, &now) == 0 &&
	    !rte_is_same_ether_addr(&now, mac))
		HVN_LOG(WARNING,
			"port %u: the host took another MAC address and goes on "
			"with " RTE_ETHER_ADDR_PRT_FMT,
			p->port_id, RTE_ETHER_ADDR_BYTES(&now));
	return rc;
}

/* --- packet filter ------------------------------------------------------------------------------------ */

int
hvn_rndis_set_filter(struct hvn_port *p, uint32_t filter)
{
	int rc;

	if (filter == p->filter)
		return 0;
	rc = hvn_rndis_set(p, RNDIS_OID_GEN_CURRENT_PACKET_FILTER, &filter, sizeof(filter));
	/* What was not answered may still be done. */
	p->filter = rc == 0 ? filter : HVN_FILTER_UNKNOWN;
	if (rc != 0)
		HVN_LOG(ERR, "port %u: packet filter 0x%x: %s", p->port_id, filter,
			rte_strerror(-rc));
	return rc;
}

int
hvn_rndis_update_filter(struct hvn_port *p)
{
	uint32_t filter = 0;

	if (p->running && p->want_link_up) {
		filter = RNDIS_FILTER_DIRECTED | RNDIS_FILTER_BROADCAST;
		/* Hosts have no multicast list: one address asked for means all of them. */
		if (p->data->all_multicast || p->n_mc != 0)
			filter |= RNDIS_FILTER_ALL_MULTICAST;
		if (p->data->promiscuous)
			filter = RNDIS_FILTER_PROMISCUOUS;
	}
	return hvn_rndis_set_filter(p, filter);
}
