/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "ndis_wire.h"
#include "nvsp_wire.h"
#include "rndis_build.h"
#include "rndis_parse.h"
#include "roundtrip.h"
#include "vmbus_ring.h"

struct field {
	size_t off, size;
};

/* The named fields of the structure, zero for the rest of it; what follows is left alone. */
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

/* Numbers in a row, read and written one by one. False: they do not end inside the message. */
static bool
numbers(const uint8_t *in, uint32_t len, uint8_t *out, size_t at, size_t bytes, size_t each)
{
	if (at > len || bytes > len - at || bytes % each != 0)
		return false;
	for (size_t end = at + bytes; at < end; at += each) {
		uint64_t n = 0;

		for (size_t i = each; i-- > 0;)
			n = n << 8 | in[at + i];
		memcpy(out + at, &n, each);
	}
	return true;
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

/* Page numbers behind a GPADL message: as many as its header says, or as there is room for. */
static uint32_t
rt_pages(const uint8_t *in, uint32_t len, uint8_t *out, size_t at, size_t bytes)
{
	return bytes >= 8 && numbers(in, len, out, at, bytes, 8) && at + bytes == len ? len : 0;
}

static uint32_t
rt_gpadl_header(const uint8_t *in, uint32_t len, uint8_t *out)
{
	const struct vmbus_msg_gpadl_header *h = (const void *)in;
	size_t bytes;

	if (KEEP(vmbus_msg_gpadl_header, F(hdr.type), F(relid), F(gpadl), F(range_bytes),
		 F(range_count), F(byte_count), F(byte_offset)) == 0)
		return 0;
	/* The range's own length and offset count, and are in the structure. */
	bytes = h->range_bytes - 8u;
	if (bytes > VMBUS_GPADL_HDR_PFNS * 8u)
		bytes = VMBUS_GPADL_HDR_PFNS * 8u;
	return rt_pages(in, len, out, sizeof(*h), bytes);
}

static uint32_t
rt_gpadl_body(const uint8_t *in, uint32_t len, uint8_t *out)
{
	const size_t at = sizeof(struct vmbus_msg_gpadl_body);

	if (KEEP(vmbus_msg_gpadl_body, F(hdr.type), F(msg_number), F(gpadl)) == 0)
		return 0;
	return rt_pages(in, len, out, at, len - at);
}

uint32_t
rt_vmbus(const uint8_t *in, uint32_t len, uint8_t *out)
{
	memset(out, 0, len);
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
		return rt_gpadl_header(in, len, out);
	case VMBUS_MSG_GPADL_BODY:
		return rt_gpadl_body(in, len, out);
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

/* Up to NVSP 6 hosts count from another place: 28 means 40. */
static bool
rt_send_table(const uint8_t *in, uint32_t len, uint8_t *out)
{
	uint32_t off;

	if (len < sizeof(struct nvsp_send_table))
		return false;
	off = hv_load32(in + offsetof(struct nvsp_send_table, offset));
	return numbers(in, len, out, off == 28 ? NVSP_SEND_TABLE_OFF_BUG : off,
		       NVSP_SEND_TABLE_ENTRIES * 4, 4);
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
		if (!rt_send_table(in, len, out))
			return 0;
		return KEEP(nvsp_send_table, F(type), F(count), F(offset));
	default:
		return 0;
	}
}

/* --- information buffers ------------------------------------------------------------------------- */

/* Objects may be older and shorter than the structure, and buffers longer than the object. */
#define OBJECT(structure, ...)                                                                    \
	({                                                                                        \
		typedef struct structure M;                                                       \
		static const struct field fields[] = { F(hdr.type), F(hdr.revision), F(hdr.size), \
						       __VA_ARGS__ };                             \
		object(in, len, out, fields, sizeof(fields) / sizeof(fields[0]));                 \
	})

static bool
object(const uint8_t *in, uint32_t len, uint8_t *out, const struct field *f, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (f[i].off + f[i].size <= len)
			memcpy(out + f[i].off, in + f[i].off, f[i].size);
	return true;
}

static bool
rt_rss_params(const uint8_t *in, uint32_t len, uint8_t *out)
{
	const struct ndis_rss_params *p = (const void *)in;

	return len >= sizeof(*p) &&
	       OBJECT(ndis_rss_params, F(flags), F(base_cpu), F(hash_info), F(table_len),
		      F(table_off), F(key_len), F(key_off), F(cpu_mask_off), F(cpu_mask_count),
		      F(cpu_mask_entry)) &&
	       numbers(in, len, out, p->table_off, p->table_len, 4) &&
	       numbers(in, len, out, p->key_off, p->key_len, 1);
}

/* The name and a string value are UTF-16, a number has 4 bytes. */
static bool
rt_config_param(const uint8_t *in, uint32_t len, uint8_t *out)
{
	const struct rndis_config_param *p = (const void *)in;

	return KEEP(rndis_config_param, F(name_off), F(name_len), F(type), F(value_off),
		    F(value_len)) != 0 &&
	       numbers(in, len, out, p->name_off, p->name_len, 2) &&
	       numbers(in, len, out, p->value_off, p->value_len,
		       p->type == RNDIS_CONFIG_STRING ? 2 : 4);
}

/* Parameters and the state of a link have the same type; lengths tell them apart. */
static bool
rt_default_object(const uint8_t *in, uint32_t len, uint8_t *out)
{
	if (((const struct ndis_object_hdr *)in)->size >= sizeof(struct ndis_link_state))
		return OBJECT(ndis_link_state, F(connect_state), F(duplex), F(tx_speed),
			      F(rx_speed), F(pause), F(autoneg));
	return OBJECT(ndis_offload_params, F(ip4_csum), F(tcp4_csum), F(udp4_csum), F(tcp6_csum),
		      F(udp6_csum), F(lsov1), F(ipsecv1), F(lsov2_ip4), F(lsov2_ip6),
		      F(tcp_conn_ip4), F(tcp_conn_ip6), F(flags), F(ipsecv2), F(ipsecv2_ip4),
		      F(rsc_ip4), F(rsc_ip6), F(encap_offload), F(encap_types));
}

/* An NDIS object by its fields; anything else is a number, an address or a text: by the byte. */
static bool
rt_info(uint32_t oid, const uint8_t *in, uint32_t len, uint8_t *out)
{
	const struct ndis_object_hdr *h = (const void *)in;

	memset(out, 0, len);
	if (oid == RNDIS_OID_GEN_RNDIS_CONFIG_PARAMETER)
		return rt_config_param(in, len, out);
	if (len <= sizeof(*h) || h->size > len || h->size <= sizeof(*h))
		return numbers(in, len, out, 0, len, 1);
	switch (h->type) {
	case NDIS_OBJECT_OFFLOAD:
		return OBJECT(ndis_offload, F(ip4_tx.encap), F(ip4_tx.flags), F(ip4_rx.encap),
			      F(ip4_rx.flags), F(ip6_tx.encap), F(ip6_tx.flags), F(ip6_rx.encap),
			      F(ip6_rx.flags), F(lsov1.encap), F(lsov1.max_size), F(lsov1.min_segs),
			      F(lsov1.options), F(ipsecv1), F(lsov2_ip4.encap),
			      F(lsov2_ip4.max_size), F(lsov2_ip4.min_segs), F(lsov2_ip6.encap),
			      F(lsov2_ip6.max_size), F(lsov2_ip6.min_segs), F(lsov2_ip6.options),
			      F(flags), F(ipsecv2), F(rsc_ip4), F(rsc_ip6), F(nvgre_flags),
			      F(nvgre_max_header));
	case NDIS_OBJECT_OFFLOAD_ENCAP:
		return OBJECT(ndis_offload_encap, F(ip4.enabled), F(ip4.type), F(ip4.header_size),
			      F(ip6.enabled), F(ip6.type), F(ip6.header_size));
	case NDIS_OBJECT_RSS_CAPABILITIES:
		return OBJECT(ndis_rss_caps, F(flags), F(msi_count), F(rx_queues), F(reta_entries));
	case NDIS_OBJECT_RSS_PARAMETERS:
		return rt_rss_params(in, len, out);
	case NDIS_OBJECT_DEFAULT:
		return rt_default_object(in, len, out);
	default:
		return numbers(in, len, out, 0, len, 1);
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
	uint8_t info[RT_MAX];
	uint32_t off, size, n;

	if (rndis_parse_request(in, len, &off, &size) != 0 ||
	    !rt_info(hv_load32(in + 12), in + off, size, info))
		return 0;
	n = rndis_build_request(out, hv_load32(in), hv_load32(in + 8), hv_load32(in + 12), info,
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
		if (rndis_parse_query_cmplt(in, len, &off, &size) != 0 ||
		    !rt_info(0, in + off, size, out + off))
			return 0;
		return KEEP(rndis_query_cmplt, F(hdr), F(request_id), F(status), F(info_len),
			    F(info_off));
	case RNDIS_SET_CMPLT:
	case RNDIS_KEEPALIVE_CMPLT:
		return KEEP(rndis_status_cmplt, F(hdr), F(request_id), F(status));
	case RNDIS_INDICATE:
		if (rndis_parse_indicate(in, len, &off, &size) != 0 ||
		    !rt_info(0, in + off, size, out + off))
			return 0;
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
