/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * NDIS objects carried as RNDIS information buffers: offloads, RSS, link state.
 *
 * Sources: Microsoft's ntddndis documentation; Linux hyperv_net.h; OpenVMM rndisprot.rs.
 * Offsets inside an object count from the start of the object.
 */
#ifndef NDIS_WIRE_H
#define NDIS_WIRE_H

#include "hvwire.h"

struct ndis_object_hdr {
	uint8_t type;
	uint8_t revision;
	uint16_t size;
} HVWIRE_PACKED;
HVWIRE_SIZE(struct ndis_object_hdr, 4);

#define NDIS_OBJECT_DEFAULT	     0x80u /* OFFLOAD_PARAMETERS, LINK_STATE */
#define NDIS_OBJECT_RSS_CAPABILITIES 0x88u
#define NDIS_OBJECT_RSS_PARAMETERS   0x89u
#define NDIS_OBJECT_OFFLOAD	     0xA7u
#define NDIS_OBJECT_OFFLOAD_ENCAP    0xA8u

#define NDIS_ENCAP_8023 2u

/* Checksum capability flags are 2-bit fields: 1 = supported. */
#define NDIS_CSUM_IP_OPTIONS		 0x001u /* IPv4: options; IPv6: extension headers */
#define NDIS_CSUM_TCP_OPTIONS		 0x004u
#define NDIS_CSUM_TCP			 0x010u
#define NDIS_CSUM_UDP			 0x040u
#define NDIS_CSUM_IPHDR			 0x100u /* IPv4 only */
#define NDIS_CSUM_SUPPORTED(flags, what) (((flags) & (what)*3u) != 0)

struct ndis_csum_caps {
	uint32_t encap;
	uint32_t flags;
} HVWIRE_PACKED;
HVWIRE_SIZE(struct ndis_csum_caps, 8);

struct ndis_offload {
	struct ndis_object_hdr hdr; /* NDIS_OBJECT_OFFLOAD */
	struct ndis_csum_caps ip4_tx;
	struct ndis_csum_caps ip4_rx;
	struct ndis_csum_caps ip6_tx;
	struct ndis_csum_caps ip6_rx;
	struct {
		uint32_t encap;
		uint32_t max_size;
		uint32_t min_segs;
		uint32_t options;
	} HVWIRE_PACKED lsov1;
	uint32_t ipsecv1[7];
	struct {
		uint32_t encap;
		uint32_t max_size;
		uint32_t min_segs;
	} HVWIRE_PACKED lsov2_ip4;
	struct {
		uint32_t encap;
		uint32_t max_size;
		uint32_t min_segs;
		uint32_t options; /* NDIS_LSO6_* */
	} HVWIRE_PACKED lsov2_ip6;
	uint32_t flags;
	uint8_t ipsecv2[32]; /* revision 2 */
	uint8_t rsc_ip4;     /* revision 3 */
	uint8_t rsc_ip6;
	uint8_t pad[2];
	uint32_t nvgre_flags;
	uint32_t nvgre_max_header;
} HVWIRE_PACKED;
HVWIRE_SIZE(struct ndis_offload, 156);
#define NDIS_OFFLOAD_SIZE_REV1 112u
#define NDIS_OFFLOAD_SIZE_REV2 144u
#define NDIS_OFFLOAD_SIZE_REV3 156u
#define NDIS_LSO6_EXT_HEADERS  0x1u
#define NDIS_LSO6_TCP_OPTIONS  0x4u

/* Values of the fields below: an enumeration, not a mask. */
#define NDIS_PARAM_NO_CHANGE 0u
#define NDIS_PARAM_OFF	     1u /* checksums, LSO, RSC */
#define NDIS_PARAM_TX	     2u /* checksums */
#define NDIS_PARAM_RX	     3u
#define NDIS_PARAM_TX_RX     4u
#define NDIS_PARAM_ON	     2u /* LSO, RSC */

struct ndis_offload_params {
	struct ndis_object_hdr hdr; /* NDIS_OBJECT_DEFAULT */
	uint8_t ip4_csum;
	uint8_t tcp4_csum;
	uint8_t udp4_csum;
	uint8_t tcp6_csum;
	uint8_t udp6_csum;
	uint8_t lsov1;
	uint8_t ipsecv1;
	uint8_t lsov2_ip4;
	uint8_t lsov2_ip6;
	uint8_t tcp_conn_ip4;
	uint8_t tcp_conn_ip6;
	uint8_t pad0;
	uint32_t flags;
	uint8_t ipsecv2;
	uint8_t ipsecv2_ip4; /* end of revision 2 */
	uint8_t rsc_ip4;
	uint8_t rsc_ip6;
	uint8_t encap_offload;
	uint8_t encap_types; /* end of revision 3 */
	uint8_t pad1[2];
} HVWIRE_PACKED;
HVWIRE_SIZE(struct ndis_offload_params, 28);
#define NDIS_OFFLOAD_PARAMS_SIZE_REV2 22u
#define NDIS_OFFLOAD_PARAMS_SIZE_REV3 28u /* the structure's size, as Linux sends it */

struct ndis_rss_caps {
	struct ndis_object_hdr hdr; /* NDIS_OBJECT_RSS_CAPABILITIES, revision 2 */
	uint32_t flags;
	uint32_t msi_count;
	uint32_t rx_queues;
	uint16_t reta_entries; /* not in revision 1 */
} HVWIRE_PACKED;
HVWIRE_SIZE(struct ndis_rss_caps, 18);
#define NDIS_RSS_CAPS_SIZE_REV1	 16u
#define NDIS_RSS_CAP_TOEPLITZ	 0x00000001u
#define NDIS_RSS_CAP_TCP_IPV4	 0x00000100u
#define NDIS_RSS_CAP_TCP_IPV6	 0x00000200u
#define NDIS_RSS_CAP_TCP_IPV6_EX 0x00000400u
#define NDIS_RSS_CAP_UDP_IPV4	 0x00000800u
#define NDIS_RSS_CAP_UDP_IPV6	 0x00001000u
#define NDIS_RSS_CAP_UDP_IPV6_EX 0x00002000u

/* Hash information: of RSS parameters and of RNDIS_PPI_HASH_INFO. */
#define NDIS_HASH_TOEPLITZ    0x00000001u
#define NDIS_HASH_IPV4	      0x00000100u
#define NDIS_HASH_TCP_IPV4    0x00000200u
#define NDIS_HASH_IPV6	      0x00000400u
#define NDIS_HASH_IPV6_EX     0x00000800u
#define NDIS_HASH_TCP_IPV6    0x00001000u
#define NDIS_HASH_TCP_IPV6_EX 0x00002000u
#define NDIS_HASH_UDP_IPV4    0x00004000u
#define NDIS_HASH_UDP_IPV6    0x00008000u
#define NDIS_HASH_UDP_IPV6_EX 0x00010000u

#define NDIS_RSS_KEY_SIZE		 40u
#define NDIS_RSS_RETA_DEFAULT		 128u
#define NDIS_RSS_RETA_MAX		 256u
#define NDIS_RSS_FLAG_BASE_CPU_UNCHANGED 0x01u
#define NDIS_RSS_FLAG_HASH_UNCHANGED	 0x02u
#define NDIS_RSS_FLAG_TABLE_UNCHANGED	 0x04u
#define NDIS_RSS_FLAG_KEY_UNCHANGED	 0x08u
#define NDIS_RSS_FLAG_DISABLE		 0x10u

/* Table (u32 channel index each) and key follow. */
struct ndis_rss_params {
	struct ndis_object_hdr hdr; /* NDIS_OBJECT_RSS_PARAMETERS, revision 2 */
	uint16_t flags;
	uint16_t base_cpu;
	uint32_t hash_info;
	uint16_t table_len; /* bytes */
	uint16_t pad0;
	uint32_t table_off;
	uint16_t key_len;
	uint16_t pad1;
	uint32_t key_off;
	uint32_t cpu_mask_off;
	uint32_t cpu_mask_count;
	uint32_t cpu_mask_entry;
} HVWIRE_PACKED;
HVWIRE_SIZE(struct ndis_rss_params, 40);

struct ndis_link_state {
	struct ndis_object_hdr hdr; /* NDIS_OBJECT_DEFAULT, revision 1 */
	uint32_t connect_state;	    /* 1 = connected */
	uint32_t duplex;
	uint32_t pad;
	uint64_t tx_speed; /* bit/s */
	uint64_t rx_speed;
	uint32_t pause;
	uint32_t autoneg;
} HVWIRE_PACKED;
HVWIRE_SIZE(struct ndis_link_state, 40);

struct ndis_offload_encap {
	struct ndis_object_hdr hdr; /* NDIS_OBJECT_OFFLOAD_ENCAP, revision 1 */
	struct {
		uint32_t enabled;
		uint32_t type; /* NDIS_ENCAP_* */
		uint32_t header_size;
	} HVWIRE_PACKED ip4, ip6;
} HVWIRE_PACKED;
HVWIRE_SIZE(struct ndis_offload_encap, 28);

/* Data of RNDIS_OID_GEN_RNDIS_CONFIG_PARAMETER; UTF-16LE name and value follow. */
struct rndis_config_param {
	uint32_t name_off;
	uint32_t name_len; /* bytes */
	uint32_t type;	   /* RNDIS_CONFIG_* */
	uint32_t value_off;
	uint32_t value_len;
} HVWIRE_PACKED;
HVWIRE_SIZE(struct rndis_config_param, 20);
#define RNDIS_CONFIG_INTEGER 0u
#define RNDIS_CONFIG_STRING  2u

#endif /* NDIS_WIRE_H */
