/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VMBus on the wire: control messages, ring header, ring packets, monitor page.
 *
 * Sources of the numbers: Linux include/linux/hyperv.h and drivers/hv/hyperv_vmbus.h;
 * OpenVMM vmbus_core/src/protocol.rs and vmbus_ring/src/lib.rs; FreeBSD
 * sys/dev/hyperv/vmbus/vmbus_reg.h. Checked against recorded conversations of Linux 6.1.
 */
#ifndef VMBUS_WIRE_H
#define VMBUS_WIRE_H

#include "hvwire.h"

/* --- limits --------------------------------------------------------------------------- */
#define VMBUS_MSG_MAX	      240	  /* HvPostMessage payload (TLFS) */
#define VMBUS_RELID_MAX	      2047	  /* usable relids are 1..2047: 2048 event flags per SINT */
#define VMBUS_SINT	      2		  /* VMBUS_MESSAGE_SINT */
#define VMBUS_MSGTYPE_CHANNEL 1		  /* HvPostMessage / SynIC message type of VMBus */
#define VMBUS_CONN_ID_LEGACY  1		  /* channel messages before 5.0 */
#define VMBUS_CONN_ID_CONTACT 4		  /* INITIATE_CONTACT from 5.0 on */
#define VMBUS_GPADL_FIRST     0xE1E10u	  /* where Linux starts to count */
#define VMBUS_GPADL_HDR_PFNS  26	  /* page frames in a GPADL_HEADER */
#define VMBUS_GPADL_BODY_PFNS 28	  /* page frames in a GPADL_BODY */
#define VMBUS_GPADL_MAX_PFNS  8190	  /* the range length field has 16 bits */
#define VMBUS_VP_NONE	      0xFFFFFFFFu /* OPENCHANNEL: no interrupts wanted */

/* --- protocol versions: major << 16 | minor -------------------------------------------- */
#define VMBUS_VERSION(major, minor) ((uint32_t)(major) << 16 | (minor))
#define VMBUS_VERSION_2_4	    VMBUS_VERSION(2, 4)
#define VMBUS_VERSION_3_0	    VMBUS_VERSION(3, 0)
#define VMBUS_VERSION_4_0	    VMBUS_VERSION(4, 0)
#define VMBUS_VERSION_4_1	    VMBUS_VERSION(4, 1)
#define VMBUS_VERSION_5_0	    VMBUS_VERSION(5, 0)
#define VMBUS_VERSION_5_1	    VMBUS_VERSION(5, 1)
#define VMBUS_VERSION_5_2	    VMBUS_VERSION(5, 2)
#define VMBUS_VERSION_5_3	    VMBUS_VERSION(5, 3)

/* --- message types ---------------------------------------------------------------------- */
enum vmbus_msg_type {
	VMBUS_MSG_INVALID = 0,
	VMBUS_MSG_OFFERCHANNEL = 1,
	VMBUS_MSG_RESCIND_CHANNELOFFER = 2,
	VMBUS_MSG_REQUESTOFFERS = 3,
	VMBUS_MSG_ALLOFFERS_DELIVERED = 4,
	VMBUS_MSG_OPENCHANNEL = 5,
	VMBUS_MSG_OPENCHANNEL_RESULT = 6,
	VMBUS_MSG_CLOSECHANNEL = 7,
	VMBUS_MSG_GPADL_HEADER = 8,
	VMBUS_MSG_GPADL_BODY = 9,
	VMBUS_MSG_GPADL_CREATED = 10,
	VMBUS_MSG_GPADL_TEARDOWN = 11,
	VMBUS_MSG_GPADL_TORNDOWN = 12,
	VMBUS_MSG_RELID_RELEASED = 13,
	VMBUS_MSG_INITIATE_CONTACT = 14,
	VMBUS_MSG_VERSION_RESPONSE = 15,
	VMBUS_MSG_UNLOAD = 16,
	VMBUS_MSG_UNLOAD_RESPONSE = 17,
	VMBUS_MSG_TL_CONNECT_REQUEST = 21,
	VMBUS_MSG_MODIFYCHANNEL = 22,
	VMBUS_MSG_TL_CONNECT_RESULT = 23,
	VMBUS_MSG_MODIFYCHANNEL_RESPONSE = 24,
};

struct vmbus_msg_hdr {
	uint32_t type; /* enum vmbus_msg_type */
	uint32_t pad;  /* 0 */
} HVWIRE_PACKED;
HVWIRE_SIZE(struct vmbus_msg_hdr, 8);

#define VMBUS_OFFER_F_ENUMERATE	     0x0001
#define VMBUS_OFFER_F_NAMED_PIPE     0x0010
#define VMBUS_OFFER_F_TLNPI_PROVIDER 0x2000 /* hvsocket */
#define VMBUS_MONITOR_ID_NONE	     0xFF

struct vmbus_msg_offer {
	struct vmbus_msg_hdr hdr;
	struct hv_guid class_id;
	struct hv_guid instance_id;
	uint8_t reserved0[16];
	uint16_t flags;
	uint16_t mmio_mb;
	uint8_t user_data[120];
	uint16_t sub_index; /* 0 = primary */
	uint16_t reserved1;
	uint32_t relid;
	uint8_t monitor_id;
	uint8_t monitor_allocated; /* bit 0 */
	uint16_t dedicated_intr;   /* bit 0 */
	uint32_t conn_id;	   /* HvSignalEvent target, opaque */
} HVWIRE_PACKED;
HVWIRE_SIZE(struct vmbus_msg_offer, 196);

/* RESCIND_CHANNELOFFER, RELID_RELEASED, CLOSECHANNEL: a header and one relid. */
struct vmbus_msg_relid {
	struct vmbus_msg_hdr hdr;
	uint32_t relid;
} HVWIRE_PACKED;
HVWIRE_SIZE(struct vmbus_msg_relid, 12);

struct vmbus_msg_open {
	struct vmbus_msg_hdr hdr;
	uint32_t relid;
	uint32_t open_id; /* echoed in the result; Linux uses the relid */
	uint32_t ring_gpadl;
	uint32_t target_vp;
	uint32_t downstream_page; /* first page of the host-to-guest ring inside the GPADL */
	uint8_t user_data[120];
} HVWIRE_PACKED;
HVWIRE_SIZE(struct vmbus_msg_open, 148);

struct vmbus_msg_open_result {
	struct vmbus_msg_hdr hdr;
	uint32_t relid;
	uint32_t open_id;
	uint32_t status; /* 0 = opened */
} HVWIRE_PACKED;
HVWIRE_SIZE(struct vmbus_msg_open_result, 20);

struct vmbus_msg_gpadl_header {
	struct vmbus_msg_hdr hdr;
	uint32_t relid;
	uint32_t gpadl;
	uint16_t range_bytes; /* sum over the ranges of 8 + 8 * pages */
	uint16_t range_count; /* 1 */
	uint32_t byte_count;  /* first range */
	uint32_t byte_offset; /* first range: offset in its first page */
	uint64_t pfn[];	      /* at most VMBUS_GPADL_HDR_PFNS */
} HVWIRE_PACKED;
HVWIRE_SIZE(struct vmbus_msg_gpadl_header, 28);

struct vmbus_msg_gpadl_body {
	struct vmbus_msg_hdr hdr;
	uint32_t msg_number; /* reserved: Linux leaves 0 */
	uint32_t gpadl;
	uint64_t pfn[]; /* at most VMBUS_GPADL_BODY_PFNS */
} HVWIRE_PACKED;
HVWIRE_SIZE(struct vmbus_msg_gpadl_body, 16);

struct vmbus_msg_gpadl_created {
	struct vmbus_msg_hdr hdr;
	uint32_t relid;
	uint32_t gpadl;
	uint32_t status; /* 0 = created */
} HVWIRE_PACKED;
HVWIRE_SIZE(struct vmbus_msg_gpadl_created, 20);

struct vmbus_msg_gpadl_teardown {
	struct vmbus_msg_hdr hdr;
	uint32_t relid;
	uint32_t gpadl;
} HVWIRE_PACKED;
HVWIRE_SIZE(struct vmbus_msg_gpadl_teardown, 16);

struct vmbus_msg_gpadl_torndown {
	struct vmbus_msg_hdr hdr;
	uint32_t gpadl;
} HVWIRE_PACKED;
HVWIRE_SIZE(struct vmbus_msg_gpadl_torndown, 12);

struct vmbus_msg_initiate_contact {
	struct vmbus_msg_hdr hdr;
	uint32_t version;
	uint32_t target_vp;
	union {
		uint64_t interrupt_page; /* before 5.0 */
		struct {
			uint8_t sint; /* 5.0 and later */
			uint8_t vtl;
			uint16_t reserved;
			uint32_t feature_flags; /* 6.0 */
		} HVWIRE_PACKED;
	};
	uint64_t monitor_p2c; /* parent to child monitor page, GPA */
	uint64_t monitor_c2p; /* child to parent: the page the guest rings */
} HVWIRE_PACKED;
HVWIRE_SIZE(struct vmbus_msg_initiate_contact, 40);

struct vmbus_msg_version_response {
	struct vmbus_msg_hdr hdr;
	uint8_t supported;
	uint8_t conn_state; /* 0 ok, 1 low resources, 2 unknown failure */
	uint16_t pad;
	uint32_t selected_or_conn_id; /* < 5.0: version; >= 5.0: connection id to post to */
} HVWIRE_PACKED;
HVWIRE_SIZE(struct vmbus_msg_version_response, 16);

struct vmbus_msg_modify_channel {
	struct vmbus_msg_hdr hdr;
	uint32_t relid;
	uint32_t target_vp;
} HVWIRE_PACKED;
HVWIRE_SIZE(struct vmbus_msg_modify_channel, 16);

struct vmbus_msg_modify_response {
	struct vmbus_msg_hdr hdr;
	uint32_t relid;
	uint32_t status;
} HVWIRE_PACKED;
HVWIRE_SIZE(struct vmbus_msg_modify_response, 16);

/* --- ring ------------------------------------------------------------------------------- */

/* First page of a ring; the data area starts HV_PAGE_SIZE bytes later (one guest page). */
struct vmbus_ring_hdr {
	uint32_t windex;       /* written by the producer: bytes into the data area */
	uint32_t rindex;       /* written by the consumer */
	uint32_t imask;	       /* consumer: 1 = no "not empty" signal wanted */
	uint32_t pending_send; /* producer: blocked until this many bytes are free */
	uint32_t reserved0[12];
	uint32_t feature; /* producer: VMBUS_RING_FEAT_PENDING_SEND */
	uint8_t reserved1[HV_PAGE_SIZE - 68];
} HVWIRE_PACKED __attribute__((aligned(64)));
HVWIRE_SIZE(struct vmbus_ring_hdr, 4096);

#define VMBUS_RING_FEAT_PENDING_SEND 0x1u

enum vmbus_pkt_type {
	VMBUS_PKT_INVALID = 0,
	VMBUS_PKT_INBAND = 6,
	VMBUS_PKT_XFER_PAGES = 7,
	VMBUS_PKT_GPA_DIRECT = 9,
	VMBUS_PKT_COMPLETION = 0xB,
};

#define VMBUS_PKT_F_RC 0x0001 /* completion requested; every other bit must be 0 */

struct vmbus_pkt_desc {
	uint16_t type;
	uint16_t off8; /* start of the payload, in units of 8 bytes */
	uint16_t len8; /* whole packet without trailer, in units of 8 bytes */
	uint16_t flags;
	uint64_t tid; /* transaction id, opaque to the other side */
} HVWIRE_PACKED;
HVWIRE_SIZE(struct vmbus_pkt_desc, 16);

#define VMBUS_PKT_TRAILER 8u /* u64: ring offset of the packet << 32 */

/* A slice of the receive buffer. */
struct vmbus_xfer_range {
	uint32_t len;
	uint32_t off;
} HVWIRE_PACKED;
HVWIRE_SIZE(struct vmbus_xfer_range, 8);

/* Descriptor of VMBUS_PKT_XFER_PAGES; the ranges follow. */
struct vmbus_pkt_xfer {
	struct vmbus_pkt_desc desc;
	uint16_t set_id;   /* receive buffer id */
	uint16_t reserved; /* may hold garbage */
	uint32_t range_count;
} HVWIRE_PACKED;
HVWIRE_SIZE(struct vmbus_pkt_xfer, 24);

/* Head of one range of VMBUS_PKT_GPA_DIRECT; (off + len + 4095) / 4096 u64 pfns follow. */
struct vmbus_gpa_range {
	uint32_t len;
	uint32_t off;
} HVWIRE_PACKED;
HVWIRE_SIZE(struct vmbus_gpa_range, 8);

struct vmbus_pkt_gpa_direct {
	struct vmbus_pkt_desc desc;
	uint32_t reserved;
	uint32_t range_count;
} HVWIRE_PACKED;
HVWIRE_SIZE(struct vmbus_pkt_gpa_direct, 24);

/* --- monitor page ----------------------------------------------------------------------- */
struct vmbus_monitor_param {
	uint32_t conn_id;
	uint16_t flag;
	uint16_t reserved;
} HVWIRE_PACKED;
HVWIRE_SIZE(struct vmbus_monitor_param, 8);

struct vmbus_monitor_page {
	uint32_t trigger_state; /* bits 3:0 = group enabled */
	uint32_t reserved0;
	struct {
		uint32_t pending; /* the guest sets bit monitor_id % 32 atomically */
		uint32_t armed;
	} HVWIRE_PACKED group[4];
	uint8_t reserved1[24];
	int32_t next_check[4][32];
	uint16_t latency[4][32]; /* 100 ns units */
	uint8_t reserved2[256];
	struct vmbus_monitor_param param[4][32];
	uint8_t reserved3[1984];
} HVWIRE_PACKED __attribute__((aligned(8)));
HVWIRE_SIZE(struct vmbus_monitor_page, 4096);

#define VMBUS_MONITOR_GROUP(id) ((id) / 32u)
#define VMBUS_MONITOR_MASK(id)	(1u << ((id) % 32u))
#define VMBUS_MONITOR_COUNT	128u

/* Hypercall and SynIC framing, used where a real kernel's messages are carried. */
struct hv_post_message_input {
	uint32_t conn_id;
	uint32_t reserved;
	uint32_t msg_type;
	uint32_t payload_size;
	uint8_t payload[VMBUS_MSG_MAX];
} HVWIRE_PACKED;
HVWIRE_SIZE(struct hv_post_message_input, 256);

struct hv_synic_message {
	uint32_t msg_type; /* 0 = empty slot */
	uint8_t payload_size;
	uint8_t flags; /* bit 0: another message is pending */
	uint16_t reserved;
	uint64_t sender;
	uint8_t payload[VMBUS_MSG_MAX];
} HVWIRE_PACKED;
HVWIRE_SIZE(struct hv_synic_message, 256);

/* --- class GUIDs (wire byte order) -------------------------------------------------------- */
/* f8615163-df3e-46c5-913f-f2d2f965ed0e, synthetic network interface */
#define VMBUS_CLASS_NIC                                                                         \
	{                                                                                       \
		{                                                                               \
			0x63, 0x51, 0x61, 0xf8, 0x3e, 0xdf, 0xc5, 0x46, 0x91, 0x3f, 0xf2, 0xd2, \
				0xf9, 0x65, 0xed, 0x0e                                          \
		}                                                                               \
	}

#endif /* VMBUS_WIRE_H */
