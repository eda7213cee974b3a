/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * NVSP, the network virtual service protocol, on the wire.
 *
 * Sources: Linux drivers/net/hyperv/hyperv_net.h; OpenVMM netvsp/src/protocol.rs; FreeBSD
 * sys/dev/hyperv/netvsc/if_hnreg.h. Checked against recorded conversations of Linux 6.1.
 */
#ifndef NVSP_WIRE_H
#define NVSP_WIRE_H

#include "hvwire.h"

#define NVSP_VERSION_1	 0x00000002u
#define NVSP_VERSION_2	 0x00030002u /* NDIS_CONFIG: MTU, VLAN */
#define NVSP_VERSION_4	 0x00040000u /* VF association, data path switch */
#define NVSP_VERSION_5	 0x00050000u /* sub-channels, send table, NDIS 6.30 */
#define NVSP_VERSION_6	 0x00060000u
#define NVSP_VERSION_6_1 0x00060001u /* 40-byte messages, RSC */

/*
 * Windows hosts ignore requests below 32 bytes (FreeBSD if_hnreg.h): always send 40. What
 * comes back may be 28 bytes padded to 32, or 40; accept whatever holds the fields read.
 */
#define NVSP_MSG_SIZE	  40u
#define NVSP_MSG_SIZE_OLD 28u /* up to version 6 */

#define NVSP_RECV_BUF_ID 0xCAFEu
#define NVSP_SEND_BUF_ID 0xFACEu
#define NVSP_NO_SECTION	 0xFFFFFFFFu

/* Ranges in one transfer-page packet: NDIS 6.0 and later; with RSC (hyperv_net.h). */
#define NVSP_XFER_RANGES_MAX	 375u
#define NVSP_XFER_RANGES_MAX_RSC 562u

enum nvsp_type {
	NVSP_INIT = 1,
	NVSP_INIT_COMPLETE = 2,
	NVSP_NDIS_VERSION = 100,
	NVSP_RECV_BUF = 101,
	NVSP_RECV_BUF_COMPLETE = 102,
	NVSP_REVOKE_RECV_BUF = 103,
	NVSP_SEND_BUF = 104,
	NVSP_SEND_BUF_COMPLETE = 105,
	NVSP_REVOKE_SEND_BUF = 106,
	NVSP_RNDIS = 107,
	NVSP_RNDIS_COMPLETE = 108,
	NVSP_NDIS_CONFIG = 125,
	NVSP_VF_ASSOC = 128,
	NVSP_SWITCH_DATA_PATH = 129,
	NVSP_OID_QUERY_EX = 131,
	NVSP_OID_QUERY_EX_COMPLETE = 132,
	NVSP_SUBCHANNEL = 133, /* request and its completion */
	NVSP_SEND_TABLE = 134,
	NVSP_PD_API = 135,
	NVSP_PD_POST_BATCH = 136,
};

enum nvsp_status {
	NVSP_STATUS_NONE = 0,
	NVSP_STATUS_SUCCESS = 1,
	NVSP_STATUS_FAILURE = 2,
	NVSP_STATUS_TOO_NEW = 3,
	NVSP_STATUS_TOO_OLD = 4,
	NVSP_STATUS_BAD_RNDIS = 5,
	NVSP_STATUS_BUSY = 6,
	NVSP_STATUS_UNSUPPORTED = 7,
};

struct nvsp_init {
	uint32_t type;
	uint32_t version_min;
	uint32_t version_max; /* the same value again */
} HVWIRE_PACKED;
HVWIRE_SIZE(struct nvsp_init, 12);

struct nvsp_init_complete {
	uint32_t type;
	uint32_t version; /* 0xFFFFFFFF, or 2 for version 1: ignore */
	uint32_t max_mdl_chain;
	uint32_t status; /* accepted only if NVSP_STATUS_SUCCESS */
} HVWIRE_PACKED;
HVWIRE_SIZE(struct nvsp_init_complete, 16);

struct nvsp_ndis_version {
	uint32_t type;
	uint32_t major;
	uint32_t minor;
} HVWIRE_PACKED;
HVWIRE_SIZE(struct nvsp_ndis_version, 12);

#define NVSP_CAP_VMQ	     0x01u
#define NVSP_CAP_CHIMNEY     0x02u
#define NVSP_CAP_SRIOV	     0x04u
#define NVSP_CAP_8021Q	     0x08u
#define NVSP_CAP_CORRELATION 0x10u
#define NVSP_CAP_TEAMING     0x20u /* needed to be told of link speed changes */
#define NVSP_CAP_VSUBNET     0x40u
#define NVSP_CAP_RSC	     0x80u /* only when the receive path reassembles */

struct nvsp_ndis_config {
	uint32_t type;
	uint32_t mtu; /* with the 14-byte Ethernet header */
	uint32_t reserved;
	uint64_t caps;
} HVWIRE_PACKED;
HVWIRE_SIZE(struct nvsp_ndis_config, 20);

/* RECV_BUF and SEND_BUF */
struct nvsp_buf {
	uint32_t type;
	uint32_t gpadl;
	uint16_t id;
	uint16_t reserved;
} HVWIRE_PACKED;
HVWIRE_SIZE(struct nvsp_buf, 12);

struct nvsp_recv_buf_complete {
	uint32_t type;
	uint32_t status;
	uint32_t section_count; /* 1 */
	uint32_t offset;	/* 0 */
	uint32_t slot_size;
	uint32_t slot_count;
	uint32_t end_offset;
} HVWIRE_PACKED;
HVWIRE_SIZE(struct nvsp_recv_buf_complete, 28);

struct nvsp_send_buf_complete {
	uint32_t type;
	uint32_t status;
	uint32_t section_size;
} HVWIRE_PACKED;
HVWIRE_SIZE(struct nvsp_send_buf_complete, 12);

/* REVOKE_RECV_BUF and REVOKE_SEND_BUF */
struct nvsp_revoke_buf {
	uint32_t type;
	uint16_t id;
	uint16_t reserved;
} HVWIRE_PACKED;
HVWIRE_SIZE(struct nvsp_revoke_buf, 8);

#define NVSP_CHANNEL_DATA    0u
#define NVSP_CHANNEL_CONTROL 1u

struct nvsp_rndis {
	uint32_t type;
	uint32_t channel_type; /* NVSP_CHANNEL_* */
	uint32_t section;      /* index, or NVSP_NO_SECTION */
	uint32_t section_len;  /* bytes used in it */
} HVWIRE_PACKED;
HVWIRE_SIZE(struct nvsp_rndis, 16);

struct nvsp_rndis_complete {
	uint32_t type;
	uint32_t status;
} HVWIRE_PACKED;
HVWIRE_SIZE(struct nvsp_rndis_complete, 8);

struct nvsp_vf_assoc {
	uint32_t type;
	uint32_t allocated; /* the flag; serial 0 is legal */
	uint32_t serial;
} HVWIRE_PACKED;
HVWIRE_SIZE(struct nvsp_vf_assoc, 12);

#define NVSP_PATH_SYNTHETIC 0u
#define NVSP_PATH_VF	    1u

/* Request, and notice from the host; its completion is empty. */
struct nvsp_switch_data_path {
	uint32_t type;
	uint32_t path;
} HVWIRE_PACKED;
HVWIRE_SIZE(struct nvsp_switch_data_path, 8);

struct nvsp_oid_query_ex {
	uint32_t type;
	uint32_t ndis_header;
	uint32_t oid;
} HVWIRE_PACKED;
HVWIRE_SIZE(struct nvsp_oid_query_ex, 12);

struct nvsp_oid_query_ex_complete {
	uint32_t type;
	uint32_t status;
	uint32_t bytes;
} HVWIRE_PACKED;
HVWIRE_SIZE(struct nvsp_oid_query_ex_complete, 12);

#define NVSP_SUBCHANNEL_ALLOCATE 1u

struct nvsp_subchannel {
	uint32_t type;
	uint32_t op_or_status; /* request: NVSP_SUBCHANNEL_ALLOCATE; completion: status */
	uint32_t count;	       /* wanted; granted */
} HVWIRE_PACKED;
HVWIRE_SIZE(struct nvsp_subchannel, 12);

#define NVSP_SEND_TABLE_ENTRIES 16u
/* Hosts up to NVSP 6 report a wrong offset; their table is here (Linux netvsc.c). */
#define NVSP_SEND_TABLE_OFF_BUG 40u

struct nvsp_send_table {
	uint32_t type;
	uint32_t count;	 /* 16 */
	uint32_t offset; /* of u32 table[count], from the start of the message */
} HVWIRE_PACKED;
HVWIRE_SIZE(struct nvsp_send_table, 12);

#endif /* NVSP_WIRE_H */
