/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RNDIS on the wire, as NVSP carries it.
 *
 * Sources: MS-RNDIS; Linux drivers/net/hyperv/hyperv_net.h and include/linux/rndis.h;
 * OpenVMM netvsp/src/rndisprot.rs; DPDK drivers/net/netvsc/rndis.h.
 *
 * Offsets inside a message count from byte 8, the first field after the length; those of
 * per-packet information count from the start of that record.
 */
#ifndef RNDIS_WIRE_H
#define RNDIS_WIRE_H

#include "hvwire.h"

#define RNDIS_COMPLETION 0x80000000u

enum rndis_type {
	RNDIS_PACKET = 1,
	RNDIS_INITIALIZE = 2,
	RNDIS_HALT = 3,
	RNDIS_QUERY = 4,
	RNDIS_SET = 5,
	RNDIS_RESET = 6,
	RNDIS_INDICATE = 7,
	RNDIS_KEEPALIVE = 8,
	RNDIS_SET_EX = 9,
};
#define RNDIS_INITIALIZE_CMPLT (RNDIS_INITIALIZE | RNDIS_COMPLETION)
#define RNDIS_QUERY_CMPLT      (RNDIS_QUERY | RNDIS_COMPLETION)
#define RNDIS_SET_CMPLT	       (RNDIS_SET | RNDIS_COMPLETION)
#define RNDIS_RESET_CMPLT      (RNDIS_RESET | RNDIS_COMPLETION)
#define RNDIS_KEEPALIVE_CMPLT  (RNDIS_KEEPALIVE | RNDIS_COMPLETION)

/* Where offsets count from. */
#define RNDIS_OFFSET_BASE 8u

struct rndis_hdr {
	uint32_t type;
	uint32_t len; /* from the type field to the end, padding included */
} HVWIRE_PACKED;
HVWIRE_SIZE(struct rndis_hdr, 8);

struct rndis_packet {
	struct rndis_hdr hdr;
	uint32_t data_off;
	uint32_t data_len;
	uint32_t oob_off; /* the three OOB fields and vc_handle must be 0 */
	uint32_t oob_len;
	uint32_t oob_count;
	uint32_t ppi_off; /* 36; 0 when there are none (Linux sends 36 with length 0) */
	uint32_t ppi_len;
	uint32_t vc_handle;
	uint32_t reserved;
} HVWIRE_PACKED;
HVWIRE_SIZE(struct rndis_packet, 44);

#define RNDIS_PPI_OFF 36u /* where ours start, from RNDIS_OFFSET_BASE */

struct rndis_initialize {
	struct rndis_hdr hdr;
	uint32_t request_id;
	uint32_t major; /* 1 */
	uint32_t minor; /* 0 */
	uint32_t max_transfer;
} HVWIRE_PACKED;
HVWIRE_SIZE(struct rndis_initialize, 24);

struct rndis_initialize_cmplt {
	struct rndis_hdr hdr;
	uint32_t request_id;
	uint32_t status;
	uint32_t major;
	uint32_t minor;
	uint32_t device_flags; /* 1 = connectionless */
	uint32_t medium;       /* 0 = 802.3 */
	uint32_t max_packets;  /* PACKET messages in one transfer */
	uint32_t max_transfer; /* bytes in one transfer */
	uint32_t align_factor; /* exponent of 2: packing alignment */
	uint32_t af_off;       /* this and the next are optional */
	uint32_t af_len;
} HVWIRE_PACKED;
HVWIRE_SIZE(struct rndis_initialize_cmplt, 52);
#define RNDIS_INITIALIZE_CMPLT_MIN 44u /* through align_factor */

struct rndis_halt {
	struct rndis_hdr hdr;
	uint32_t request_id;
} HVWIRE_PACKED;
HVWIRE_SIZE(struct rndis_halt, 12);

/* QUERY and SET; the information buffer follows. */
struct rndis_request {
	struct rndis_hdr hdr;
	uint32_t request_id;
	uint32_t oid;
	uint32_t info_len;
	uint32_t info_off; /* RNDIS_REQUEST_INFO_OFF */
	uint32_t vc_handle;
} HVWIRE_PACKED;
HVWIRE_SIZE(struct rndis_request, 28);
#define RNDIS_REQUEST_INFO_OFF 20u

struct rndis_query_cmplt {
	struct rndis_hdr hdr;
	uint32_t request_id;
	uint32_t status;
	uint32_t info_len;
	uint32_t info_off; /* RNDIS_QUERY_CMPLT_INFO_OFF */
} HVWIRE_PACKED;
HVWIRE_SIZE(struct rndis_query_cmplt, 24);
#define RNDIS_QUERY_CMPLT_INFO_OFF 16u

/* SET_CMPLT and KEEPALIVE_CMPLT */
struct rndis_status_cmplt {
	struct rndis_hdr hdr;
	uint32_t request_id;
	uint32_t status;
} HVWIRE_PACKED;
HVWIRE_SIZE(struct rndis_status_cmplt, 16);

struct rndis_keepalive {
	struct rndis_hdr hdr;
	uint32_t request_id;
} HVWIRE_PACKED;
HVWIRE_SIZE(struct rndis_keepalive, 12);

struct rndis_indicate {
	struct rndis_hdr hdr;
	uint32_t status;
	uint32_t buf_len;
	uint32_t buf_off; /* from RNDIS_OFFSET_BASE; 0 if there is no buffer */
} HVWIRE_PACKED;
HVWIRE_SIZE(struct rndis_indicate, 20);

/* --- per-packet information --------------------------------------------------------------- */
struct rndis_ppi {
	uint32_t size; /* with this header; multiple of 4 */
	uint32_t type; /* bit 31: internal name space */
	uint32_t off;  /* of the data, from the start of this record: 12 */
} HVWIRE_PACKED;
HVWIRE_SIZE(struct rndis_ppi, 12);

#define RNDIS_PPI_U32_SIZE 16u /* a record that carries one u32, or a packet id */

enum rndis_ppi_type {
	RNDIS_PPI_CHECKSUM = 0,
	RNDIS_PPI_LSO = 2,
	RNDIS_PPI_VLAN = 6,
	RNDIS_PPI_HASH_VALUE = 8,
	RNDIS_PPI_HASH_INFO = 9,
};
#define RNDIS_PPI_INTERNAL  0x80000000u
#define RNDIS_PPI_PACKET_ID (RNDIS_PPI_INTERNAL | 1u)

/* RNDIS_PPI_CHECKSUM, guest to host */
#define RNDIS_TXCSUM_IPV4	 0x00000001u
#define RNDIS_TXCSUM_IPV6	 0x00000002u
#define RNDIS_TXCSUM_TCP	 0x00000004u
#define RNDIS_TXCSUM_UDP	 0x00000008u
#define RNDIS_TXCSUM_IPHDR	 0x00000010u
#define RNDIS_TXCSUM_L4OFF_SHIFT 16 /* 10 bits, from the start of the frame */
#define RNDIS_TXCSUM_L4OFF_MASK	 0x3FFu

/* RNDIS_PPI_CHECKSUM, host to guest */
#define RNDIS_RXCSUM_TCP_FAILED	 0x001u
#define RNDIS_RXCSUM_UDP_FAILED	 0x002u
#define RNDIS_RXCSUM_IP_FAILED	 0x004u
#define RNDIS_RXCSUM_TCP_OK	 0x008u
#define RNDIS_RXCSUM_UDP_OK	 0x010u
#define RNDIS_RXCSUM_IP_OK	 0x020u
#define RNDIS_RXCSUM_LOOPBACK	 0x040u
#define RNDIS_RXCSUM_TCP_INVALID 0x080u /* value in the frame was not recomputed */
#define RNDIS_RXCSUM_IP_INVALID	 0x100u

/* RNDIS_PPI_LSO, version 2 */
#define RNDIS_LSO_MSS_MASK    0x000FFFFFu
#define RNDIS_LSO_L4OFF_SHIFT 20 /* 10 bits */
#define RNDIS_LSO_L4OFF_MASK  0x3FFu
#define RNDIS_LSO_V2	      0x40000000u
#define RNDIS_LSO_IPV6	      0x80000000u
#define RNDIS_LSO_MAX_BYTES   62780u /* 0xF53C, headers included */

/* RNDIS_PPI_VLAN: bits 2:0 priority, 3 DEI, 15:4 VLAN id */
#define RNDIS_VLAN_FROM_TCI(tci)                                                  \
	((((uint32_t)(tci)&0x0FFFu) << 4) | (((uint32_t)(tci) >> 12) & 1u) << 3 | \
	 ((uint32_t)(tci)&0xFFFFu) >> 13)
#define RNDIS_VLAN_TO_TCI(v) \
	((uint16_t)((((v) >> 4) & 0x0FFFu) | (((v) >> 3) & 1u) << 12 | ((v)&7u) << 13))

/* RNDIS_PPI_PACKET_ID (RSC) */
struct rndis_packet_id {
	uint8_t version; /* 1 */
	uint8_t flags;	 /* RNDIS_PKTID_* */
	uint16_t id;
} HVWIRE_PACKED;
HVWIRE_SIZE(struct rndis_packet_id, 4);
#define RNDIS_PKTID_SUBALLOC 0x01u /* part of a packet spread over several ranges */
#define RNDIS_PKTID_FIRST    0x02u
#define RNDIS_PKTID_LAST     0x04u

/* --- status codes --------------------------------------------------------------------------- */
#define RNDIS_STATUS_SUCCESS	       0x00000000u
#define RNDIS_STATUS_PENDING	       0x00000103u
#define RNDIS_STATUS_MEDIA_CONNECT     0x4001000Bu
#define RNDIS_STATUS_MEDIA_DISCONNECT  0x4001000Cu
#define RNDIS_STATUS_LINK_SPEED_CHANGE 0x40010013u /* u32, 100 bit/s */
#define RNDIS_STATUS_NETWORK_CHANGE    0x40010018u
#define RNDIS_STATUS_OFFLOAD_CONFIG    0x40020006u /* NDIS_OFFLOAD */
#define RNDIS_STATUS_BUFFER_OVERFLOW   0x80000005u
#define RNDIS_STATUS_FAILURE	       0xC0000001u
#define RNDIS_STATUS_RESOURCES	       0xC000009Au
#define RNDIS_STATUS_NOT_SUPPORTED     0xC00000BBu
#define RNDIS_STATUS_BAD_VERSION       0xC0010004u
#define RNDIS_STATUS_INVALID_PACKET    0xC001000Fu
#define RNDIS_STATUS_INVALID_LENGTH    0xC0010014u
#define RNDIS_STATUS_INVALID_DATA      0xC0010015u
#define RNDIS_STATUS_BUFFER_TOO_SHORT  0xC0010016u
#define RNDIS_STATUS_INVALID_OID       0xC0010017u

/* --- packet filter bits (RNDIS_OID_GEN_CURRENT_PACKET_FILTER) --------------------------------- */
#define RNDIS_FILTER_DIRECTED	   0x01u
#define RNDIS_FILTER_MULTICAST	   0x02u
#define RNDIS_FILTER_ALL_MULTICAST 0x04u
#define RNDIS_FILTER_BROADCAST	   0x08u
#define RNDIS_FILTER_PROMISCUOUS   0x20u

/* --- object identifiers ------------------------------------------------------------------------ */
#define RNDIS_OID_GEN_SUPPORTED_LIST	      0x00010101u
#define RNDIS_OID_GEN_HARDWARE_STATUS	      0x00010102u
#define RNDIS_OID_GEN_MEDIA_SUPPORTED	      0x00010103u
#define RNDIS_OID_GEN_MEDIA_IN_USE	      0x00010104u
#define RNDIS_OID_GEN_MAXIMUM_LOOKAHEAD	      0x00010105u
#define RNDIS_OID_GEN_MAXIMUM_FRAME_SIZE      0x00010106u
#define RNDIS_OID_GEN_LINK_SPEED	      0x00010107u
#define RNDIS_OID_GEN_TRANSMIT_BUFFER_SPACE   0x00010108u
#define RNDIS_OID_GEN_RECEIVE_BUFFER_SPACE    0x00010109u
#define RNDIS_OID_GEN_TRANSMIT_BLOCK_SIZE     0x0001010Au
#define RNDIS_OID_GEN_RECEIVE_BLOCK_SIZE      0x0001010Bu
#define RNDIS_OID_GEN_VENDOR_ID		      0x0001010Cu
#define RNDIS_OID_GEN_VENDOR_DESCRIPTION      0x0001010Du
#define RNDIS_OID_GEN_CURRENT_PACKET_FILTER   0x0001010Eu
#define RNDIS_OID_GEN_CURRENT_LOOKAHEAD	      0x0001010Fu
#define RNDIS_OID_GEN_DRIVER_VERSION	      0x00010110u
#define RNDIS_OID_GEN_MAXIMUM_TOTAL_SIZE      0x00010111u
#define RNDIS_OID_GEN_PROTOCOL_OPTIONS	      0x00010112u
#define RNDIS_OID_GEN_MAC_OPTIONS	      0x00010113u
#define RNDIS_OID_GEN_MEDIA_CONNECT_STATUS    0x00010114u
#define RNDIS_OID_GEN_MAXIMUM_SEND_PACKETS    0x00010115u
#define RNDIS_OID_GEN_VENDOR_DRIVER_VERSION   0x00010116u
#define RNDIS_OID_GEN_NETWORK_LAYER_ADDRESSES 0x00010118u
#define RNDIS_OID_GEN_RSS_CAPABILITIES	      0x00010203u
#define RNDIS_OID_GEN_RSS_PARAMETERS	      0x00010204u
#define RNDIS_OID_GEN_MAX_LINK_SPEED	      0x00010206u
#define RNDIS_OID_GEN_LINK_STATE	      0x00010207u
#define RNDIS_OID_GEN_LINK_PARAMETERS	      0x00010208u
#define RNDIS_OID_GEN_RNDIS_CONFIG_PARAMETER  0x0001021Bu
#define RNDIS_OID_GEN_VLAN_ID		      0x0001021Cu
#define RNDIS_OID_GEN_XMIT_OK		      0x00020101u
#define RNDIS_OID_GEN_RCV_OK		      0x00020102u
#define RNDIS_OID_GEN_XMIT_ERROR	      0x00020103u
#define RNDIS_OID_GEN_RCV_ERROR		      0x00020104u
#define RNDIS_OID_GEN_RCV_NO_BUFFER	      0x00020105u
#define RNDIS_OID_GEN_FRIENDLY_NAME	      0x00020216u
#define RNDIS_OID_GEN_BYTES_RCV		      0x00020219u
#define RNDIS_OID_GEN_BYTES_XMIT	      0x0002021Au
#define RNDIS_OID_802_3_PERMANENT_ADDRESS     0x01010101u
#define RNDIS_OID_802_3_CURRENT_ADDRESS	      0x01010102u
#define RNDIS_OID_802_3_MULTICAST_LIST	      0x01010103u
#define RNDIS_OID_802_3_MAXIMUM_LIST_SIZE     0x01010104u
#define RNDIS_OID_OFFLOAD_ENCAPSULATION	      0x0101010Au
#define RNDIS_OID_TCP_OFFLOAD_CURRENT_CONFIG  0xFC01020Bu
#define RNDIS_OID_TCP_OFFLOAD_PARAMETERS      0xFC01020Cu
#define RNDIS_OID_TCP_OFFLOAD_HW_CAPABILITIES 0xFC01020Du

#endif /* RNDIS_WIRE_H */
