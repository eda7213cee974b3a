/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <string.h>

#include "nvsp_wire.h"
#include "rndis_build.h"
#include "rndis_parse.h"
#include "roundtrip.h"
#include "vmbus_ring.h"

struct field {
	size_t off, size;
};

/* Take the named fields of the structure, zero for the rest of it, and carry over what follows. */
static uint32_t
keep(const uint8_t *in, uint32_t len, uint8_t *out, size_t fixed, const struct field *f, size_t n)
{
	if (len < fixed)
		return 0;
	memset(out, 0, fixed);
	for (size_t i = 0; i < n; i++)
		memcpy(out + f[i].off, in + f[i].off, f[i].size);
	return len;
}

/* Only the fields named, of a structure, reach the output. */
#define F(field)                                            \
	{                                                   \
		offsetof(M, field), sizeof(((M *)0)->field) \
	}
#define KEEP(type, ...)                                                                    \
	({                                                                                 \
		typedef struct type M;                                                     \
		static const struct field fields[] = { __VA_ARGS__ };                      \
		keep(in, len, out, sizeof(M), fields, sizeof(fields) / sizeof(fields[0])); \
	})

uint32_t
rt_vmbus(const uint8_t *in, uint32_t len, uint8_t *out)
{
	/* Page numbers behind a GPADL message are an array, nothing to decode. */
	memcpy(out, in, len);
	switch (hv_load32(in)) {
	case VMBUS_MSG_OFFERCHANNEL:
		return KEEP(vmbus_msg_offer, F(hdr.type), F(class_id), F(instance_id), F(flags),
			    F(mmio_mb), F(user_data), F(sub_index), F(relid), F(monitor_id),
			    F(monitor_allocated), F(dedicated_intr), F(conn_id));
	case VMBUS_MSG_REQUESTOFFERS:
	case VMBUS_MSG_ALLOFFERS_DELIVERED:
	case VMBUS_MSG_UNLOAD:
	case VMBUS_MSG_UNLOAD_RESPONSE:
		return KEEP(vmbus_msg_hdr, F(type));
	case VMBUS_MSG_RESCIND_CHANNELOFFER:
	case VMBUS_MSG_RELID_RELEASED:
	case VMBUS_MSG_CLOSECHANNEL:
		return KEEP(vmbus_msg_relid, F(hdr.type), F(relid));
	case VMBUS_MSG_OPENCHANNEL:
		return KEEP(vmbus_msg_open, F(hdr.type), F(relid), F(open_id), F(ring_gpadl),
			    F(target_vp), F(downstream_page), F(user_data));
	case VMBUS_MSG_OPENCHANNEL_RESULT:
		return KEEP(vmbus_msg_open_result, F(hdr.type), F(relid), F(open_id), F(status));
	case VMBUS_MSG_GPADL_HEADER:
		return KEEP(vmbus_msg_gpadl_header, F(hdr.type), F(relid), F(gpadl), F(range_bytes),
			    F(range_count), F(byte_count), F(byte_offset));
	case VMBUS_MSG_GPADL_BODY:
		return KEEP(vmbus_msg_gpadl_body, F(hdr.type), F(msg_number), F(gpadl));
	case VMBUS_MSG_GPADL_CREATED:
		return KEEP(vmbus_msg_gpadl_created, F(hdr.type), F(relid), F(gpadl), F(status));
	case VMBUS_MSG_GPADL_TEARDOWN:
		return KEEP(vmbus_msg_gpadl_teardown, F(hdr.type), F(relid), F(gpadl));
	case VMBUS_MSG_GPADL_TORNDOWN:
		return KEEP(vmbus_msg_gpadl_torndown, F(hdr.type), F(gpadl));
	case VMBUS_MSG_INITIATE_CONTACT:
		return KEEP(vmbus_msg_initiate_contact, F(hdr.type), F(version), F(target_vp),
			    F(interrupt_page), F(monitor_p2c), F(monitor_c2p));
	case VMBUS_MSG_VERSION_RESPONSE:
		return KEEP(vmbus_msg_version_response, F(hdr.type), F(supported), F(conn_state),
			    F(selected_or_conn_id));
	default:
		return 0;
	}
}

uint32_t
rt_nvsp(const uint8_t *in, uint32_t len, uint8_t *out)
{
	if (len < 4 || len > RT_MAX)
		return 0;
	/* What lies behind the fields of a message is zero, except a table. */
	memset(out, 0, RT_MAX);
	switch (hv_load32(in)) {
	case NVSP_INIT:
		return KEEP(nvsp_init, F(type), F(version_min), F(version_max));
	case NVSP_INIT_COMPLETE:
		return KEEP(nvsp_init_complete, F(type), F(version), F(max_mdl_chain), F(status));
	case NVSP_NDIS_VERSION:
		return KEEP(nvsp_ndis_version, F(type), F(major), F(minor));
	case NVSP_NDIS_CONFIG:
		return KEEP(nvsp_ndis_config, F(type), F(mtu), F(caps));
	case NVSP_RECV_BUF:
	case NVSP_SEND_BUF:
		return KEEP(nvsp_buf, F(type), F(gpadl), F(id));
	case NVSP_RECV_BUF_COMPLETE:
		return KEEP(nvsp_recv_buf_complete, F(type), F(status), F(section_count), F(offset),
			    F(slot_size), F(slot_count), F(end_offset));
	case NVSP_SEND_BUF_COMPLETE:
		return KEEP(nvsp_send_buf_complete, F(type), F(status), F(section_size));
	case NVSP_REVOKE_RECV_BUF:
	case NVSP_REVOKE_SEND_BUF:
		return KEEP(nvsp_revoke_buf, F(type), F(id));
	case NVSP_RNDIS:
		return KEEP(nvsp_rndis, F(type), F(channel_type), F(section), F(section_len));
	case NVSP_RNDIS_COMPLETE:
		return KEEP(nvsp_rndis_complete, F(type), F(status));
	case NVSP_VF_ASSOC:
		return KEEP(nvsp_vf_assoc, F(type), F(allocated), F(serial));
	case NVSP_SWITCH_DATA_PATH:
		return KEEP(nvsp_switch_data_path, F(type), F(path));
	case NVSP_SUBCHANNEL:
		return KEEP(nvsp_subchannel, F(type), F(op_or_status), F(count));
	case NVSP_SEND_TABLE:
		memcpy(out + 12, in + 12, len - 12);
		return KEEP(nvsp_send_table, F(type), F(count), F(offset));
	default:
		return 0;
	}
}

/* A PACKET: what the parser says is given to the builder, records in the order they came. */
static uint32_t
rt_packet(const uint8_t *in, uint32_t len, uint8_t *out)
{
	static const struct {
		uint32_t type, bit;
		size_t field;
	} known[] = {
		{ RNDIS_PPI_CHECKSUM, RNDIS_INFO_CHECKSUM,
		  offsetof(struct rndis_pkt_info, checksum) },
		{ RNDIS_PPI_LSO, RNDIS_INFO_LSO, offsetof(struct rndis_pkt_info, lso) },
		{ RNDIS_PPI_VLAN, RNDIS_INFO_VLAN, offsetof(struct rndis_pkt_info, vlan) },
		{ RNDIS_PPI_HASH_VALUE, RNDIS_INFO_HASH_VALUE,
		  offsetof(struct rndis_pkt_info, hash_value) },
		{ RNDIS_PPI_HASH_INFO, RNDIS_INFO_HASH_INFO,
		  offsetof(struct rndis_pkt_info, hash_info) },
		{ RNDIS_PPI_PACKET_ID, RNDIS_INFO_PACKET_ID,
		  offsetof(struct rndis_pkt_info, packet_id) },
	};
	struct rndis_packet *pkt = rndis_build_packet(out);
	struct rndis_pkt_info info;
	uint32_t ppi_off, at, hdr, end, value, i, pad;

	if (rndis_parse_packet(in, len, RNDIS_PARSE_F_STRICT, &info) != RNDIS_PARSE_OK)
		return 0;
	ppi_off = hv_load32(in + offsetof(struct rndis_packet, ppi_off));
	end = sizeof(*pkt) + hv_load32(in + offsetof(struct rndis_packet, ppi_len));
	for (at = sizeof(*pkt); at < end; at += RNDIS_PPI_U32_SIZE) {
		for (i = 0; i < sizeof(known) / sizeof(known[0]); i++)
			if (hv_load32(in + at + 4) == known[i].type)
				break;
		if (i == sizeof(known) / sizeof(known[0]) || !(info.present & known[i].bit))
			return 0;
		memcpy(&value, (uint8_t *)&info + known[i].field, sizeof(value));
		rndis_build_ppi(pkt, known[i].type, value);
	}
	hdr = sizeof(*pkt) + pkt->ppi_len;
	pad = info.msg_len - hdr - info.data_len;
	rndis_build_finish(pkt, info.data_len, pad);
	/* Linux names the place of records that are not there; hosts put frames further back. */
	pkt->ppi_off = ppi_off;
	pkt->data_off = info.data_off - RNDIS_OFFSET_BASE;
	memset(out + hdr, 0, len - hdr);
	memcpy(out + info.data_off, in + info.data_off, info.data_len);
	return len;
}

static uint32_t
rt_request(const uint8_t *in, uint32_t len, uint8_t *out)
{
	uint32_t off, size, n;

	if (rndis_parse_request(in, len, &off, &size) != 0)
		return 0;
	n = rndis_build_request(out, hv_load32(in), hv_load32(in + 8), hv_load32(in + 12), in + off,
				size);
	/* DPDK and Linux ask for space behind a query that they leave empty. */
	if (size != 0)
		return n;
	memcpy(out + n, in + n, len - n);
	return len;
}

uint32_t
rt_rndis(const uint8_t *in, uint32_t len, uint8_t *out)
{
	uint32_t off, size;

	memset(out, 0, RT_MAX);
	if (len < sizeof(struct rndis_hdr) || len > RT_MAX)
		return 0;
	switch (hv_load32(in)) {
	case RNDIS_PACKET:
		return rt_packet(in, len, out);
	case RNDIS_QUERY:
	case RNDIS_SET:
		return rt_request(in, len, out);
	case RNDIS_INITIALIZE:
		return KEEP(rndis_initialize, F(hdr), F(request_id), F(major), F(minor),
			    F(max_transfer));
	case RNDIS_INITIALIZE_CMPLT:
		return KEEP(rndis_initialize_cmplt, F(hdr), F(request_id), F(status), F(major),
			    F(minor), F(device_flags), F(medium), F(max_packets), F(max_transfer),
			    F(align_factor), F(af_off), F(af_len));
	case RNDIS_HALT:
		return KEEP(rndis_halt, F(hdr), F(request_id));
	case RNDIS_QUERY_CMPLT:
		if (rndis_parse_query_cmplt(in, len, &off, &size) != 0)
			return 0;
		memcpy(out + off, in + off, size);
		return KEEP(rndis_query_cmplt, F(hdr), F(request_id), F(status), F(info_len),
			    F(info_off));
	case RNDIS_SET_CMPLT:
	case RNDIS_KEEPALIVE_CMPLT:
		return KEEP(rndis_status_cmplt, F(hdr), F(request_id), F(status));
	case RNDIS_INDICATE:
		if (rndis_parse_indicate(in, len, &off, &size) != 0)
			return 0;
		memcpy(out + off, in + off, size);
		return KEEP(rndis_indicate, F(hdr), F(status), F(buf_len), F(buf_off));
	default:
		return 0;
	}
}

uint32_t
rt_ring(const uint8_t *in, uint32_t len, uint8_t *out, const uint8_t **payload,
	uint32_t *payload_len)
{
	static _Alignas(64) uint8_t mem[2][2 * HV_PAGE_SIZE + RT_MAX];
	struct vmbus_ring from, to, back;
	struct vmbus_ring_pkt pkt;
	struct vmbus_ring_span span;
	uint8_t scratch[RT_MAX];
	uint32_t padded = (len + 7u) & ~7u;

	memset(mem, 0, sizeof(mem));
	if (vmbus_ring_init_tx(&from, mem[0], HV_PAGE_SIZE + RT_MAX, HV_PAGE_SIZE) != 0 ||
	    vmbus_ring_tx_reserve(&from, padded, &span) != 0)
		return 0;
	memcpy(scratch, in, len);
	memset(scratch + len, 0, padded - len);
	vmbus_ring_tx_fill(&span, 0, scratch, padded);
	vmbus_ring_tx_commit(&from, padded);
	vmbus_ring_tx_publish(&from);
	if (vmbus_ring_init_rx(&back, mem[0], HV_PAGE_SIZE + RT_MAX, HV_PAGE_SIZE) != 0 ||
	    vmbus_ring_rx_peek(&back, &pkt, scratch, sizeof(scratch)) != 1)
		return 0;
	if (payload != NULL) {
		*payload = in + sizeof(struct vmbus_pkt_desc) + pkt.ext_len;
		*payload_len = len - (uint32_t)(*payload - in);
	}
	if (vmbus_ring_init_tx(&to, mem[1], HV_PAGE_SIZE + RT_MAX, HV_PAGE_SIZE) != 0 ||
	    vmbus_ring_tx_put(&to, pkt.type, pkt.flags, pkt.tid, pkt.body, pkt.ext_len,
			      pkt.body + pkt.ext_len, pkt.payload_len) != 0)
		return 0;
	memcpy(out, mem[1] + HV_PAGE_SIZE, padded + VMBUS_PKT_TRAILER);
	return padded;
}
