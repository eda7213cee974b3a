/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where every field of every structure lies on the wire, checked when this is compiled. The sizes
 * stand behind the structures themselves.
 */
#include "ndis_wire.h"
#include "nvsp_wire.h"
#include "rndis_wire.h"
#include "vmbus_user.h"
#include "vmbus_wire.h"

#define AT(field, off) HVWIRE_OFF(struct T, field, off);

/* clang-format off */

/* --- vmbus_wire.h ------------------------------------------------ */

#define T vmbus_msg_hdr
AT(type, 0) AT(pad, 4)
#undef T

#define T vmbus_msg_offer
AT(hdr, 0) AT(class_id, 8) AT(instance_id, 24) AT(reserved0, 40) AT(flags, 56) AT(mmio_mb, 58)
AT(user_data, 60) AT(sub_index, 180) AT(reserved1, 182) AT(relid, 184) AT(monitor_id, 188)
AT(monitor_allocated, 189) AT(dedicated_intr, 190) AT(conn_id, 192)
#undef T

#define T vmbus_msg_relid
AT(hdr, 0) AT(relid, 8)
#undef T

#define T vmbus_msg_open
AT(hdr, 0) AT(relid, 8) AT(open_id, 12) AT(ring_gpadl, 16) AT(target_vp, 20)
AT(downstream_page, 24) AT(user_data, 28)
#undef T

#define T vmbus_msg_open_result
AT(hdr, 0) AT(relid, 8) AT(open_id, 12) AT(status, 16)
#undef T

#define T vmbus_msg_gpadl_header
AT(hdr, 0) AT(relid, 8) AT(gpadl, 12) AT(range_bytes, 16) AT(range_count, 18) AT(byte_count, 20)
AT(byte_offset, 24) AT(pfn, 28)
#undef T

#define T vmbus_msg_gpadl_body
AT(hdr, 0) AT(msg_number, 8) AT(gpadl, 12) AT(pfn, 16)
#undef T

#define T vmbus_msg_gpadl_created
AT(hdr, 0) AT(relid, 8) AT(gpadl, 12) AT(status, 16)
#undef T

#define T vmbus_msg_gpadl_teardown
AT(hdr, 0) AT(relid, 8) AT(gpadl, 12)
#undef T

#define T vmbus_msg_gpadl_torndown
AT(hdr, 0) AT(gpadl, 8)
#undef T

#define T vmbus_msg_initiate_contact
AT(hdr, 0) AT(version, 8) AT(target_vp, 12) AT(interrupt_page, 16) AT(sint, 16) AT(vtl, 17)
AT(reserved, 18) AT(feature_flags, 20) AT(monitor_p2c, 24) AT(monitor_c2p, 32)
#undef T

#define T vmbus_msg_version_response
AT(hdr, 0) AT(supported, 8) AT(conn_state, 9) AT(pad, 10) AT(selected_or_conn_id, 12)
#undef T

#define T vmbus_msg_modify_channel
AT(hdr, 0) AT(relid, 8) AT(target_vp, 12)
#undef T

#define T vmbus_msg_modify_response
AT(hdr, 0) AT(relid, 8) AT(status, 12)
#undef T

#define T vmbus_ring_hdr
AT(windex, 0) AT(rindex, 4) AT(imask, 8) AT(pending_send, 12) AT(reserved0, 16) AT(feature, 64)
AT(reserved1, 68)
#undef T

#define T vmbus_pkt_desc
AT(type, 0) AT(off8, 2) AT(len8, 4) AT(flags, 6) AT(tid, 8)
#undef T

#define T vmbus_xfer_range
AT(len, 0) AT(off, 4)
#undef T

#define T vmbus_pkt_xfer
AT(desc, 0) AT(set_id, 16) AT(reserved, 18) AT(range_count, 20)
#undef T

#define T vmbus_gpa_range
AT(len, 0) AT(off, 4)
#undef T

#define T vmbus_pkt_gpa_direct
AT(desc, 0) AT(reserved, 16) AT(range_count, 20)
#undef T

#define T vmbus_monitor_param
AT(conn_id, 0) AT(flag, 4) AT(reserved, 6)
#undef T

#define T vmbus_monitor_page
AT(trigger_state, 0) AT(reserved0, 4) AT(group, 8) AT(group[1].pending, 16)
AT(group[1].armed, 20) AT(reserved1, 40) AT(next_check, 64) AT(latency, 576) AT(reserved2, 832)
AT(param, 1088) AT(reserved3, 2112)
#undef T

#define T hv_post_message_input
AT(conn_id, 0) AT(reserved, 4) AT(msg_type, 8) AT(payload_size, 12) AT(payload, 16)
#undef T

#define T hv_synic_message
AT(msg_type, 0) AT(payload_size, 4) AT(flags, 5) AT(reserved, 6) AT(sender, 8) AT(payload, 16)
#undef T

/* --- vmbus_user.h ------------------------------------------------ */

#define T vmu_hdr
AT(magic, 0) AT(type, 4) AT(flags, 6) AT(len, 8) AT(seq, 12)
#undef T

#define T vmu_hello
AT(version, 0) AT(features, 4) AT(n_vps, 8) AT(status, 12) AT(guest_os_id, 16) AT(name, 24)
#undef T

#define T vmu_mem
AT(gpa, 0) AT(size, 8) AT(offset, 16) AT(flags, 24) AT(reserved, 28)
#undef T

#define T vmu_post
AT(conn_id, 0) AT(msg_type, 4) AT(size, 8) AT(vp, 12) AT(payload, 16)
#undef T

#define T vmu_sint_msg
AT(vp, 0) AT(sint, 4) AT(msg_type, 8) AT(size, 12) AT(payload, 16)
#undef T

#define T vmu_signal
AT(conn_id, 0) AT(flag, 4) AT(reserved, 6)
#undef T

#define T vmu_event
AT(vp, 0) AT(sint, 4) AT(flag, 8)
#undef T

#define T vmu_ack
AT(status, 0)
#undef T

/* --- nvsp_wire.h ------------------------------------------------- */

#define T nvsp_init
AT(type, 0) AT(version_min, 4) AT(version_max, 8)
#undef T

#define T nvsp_init_complete
AT(type, 0) AT(version, 4) AT(max_mdl_chain, 8) AT(status, 12)
#undef T

#define T nvsp_ndis_version
AT(type, 0) AT(major, 4) AT(minor, 8)
#undef T

#define T nvsp_ndis_config
AT(type, 0) AT(mtu, 4) AT(reserved, 8) AT(caps, 12)
#undef T

#define T nvsp_buf
AT(type, 0) AT(gpadl, 4) AT(id, 8) AT(reserved, 10)
#undef T

#define T nvsp_recv_buf_complete
AT(type, 0) AT(status, 4) AT(section_count, 8) AT(offset, 12) AT(slot_size, 16)
AT(slot_count, 20) AT(end_offset, 24)
#undef T

#define T nvsp_send_buf_complete
AT(type, 0) AT(status, 4) AT(section_size, 8)
#undef T

#define T nvsp_revoke_buf
AT(type, 0) AT(id, 4) AT(reserved, 6)
#undef T

#define T nvsp_rndis
AT(type, 0) AT(channel_type, 4) AT(section, 8) AT(section_len, 12)
#undef T

#define T nvsp_rndis_complete
AT(type, 0) AT(status, 4)
#undef T

#define T nvsp_vf_assoc
AT(type, 0) AT(allocated, 4) AT(serial, 8)
#undef T

#define T nvsp_switch_data_path
AT(type, 0) AT(path, 4)
#undef T

#define T nvsp_oid_query_ex
AT(type, 0) AT(ndis_header, 4) AT(oid, 8)
#undef T

#define T nvsp_oid_query_ex_complete
AT(type, 0) AT(status, 4) AT(bytes, 8)
#undef T

#define T nvsp_subchannel
AT(type, 0) AT(op_or_status, 4) AT(count, 8)
#undef T

#define T nvsp_send_table
AT(type, 0) AT(count, 4) AT(offset, 8)
#undef T

/* --- rndis_wire.h ------------------------------------------------ */

#define T rndis_hdr
AT(type, 0) AT(len, 4)
#undef T

#define T rndis_packet
AT(hdr, 0) AT(data_off, 8) AT(data_len, 12) AT(oob_off, 16) AT(oob_len, 20) AT(oob_count, 24)
AT(ppi_off, 28) AT(ppi_len, 32) AT(vc_handle, 36) AT(reserved, 40)
#undef T

#define T rndis_initialize
AT(hdr, 0) AT(request_id, 8) AT(major, 12) AT(minor, 16) AT(max_transfer, 20)
#undef T

#define T rndis_initialize_cmplt
AT(hdr, 0) AT(request_id, 8) AT(status, 12) AT(major, 16) AT(minor, 20) AT(device_flags, 24)
AT(medium, 28) AT(max_packets, 32) AT(max_transfer, 36) AT(align_factor, 40) AT(af_off, 44)
AT(af_len, 48)
#undef T

#define T rndis_halt
AT(hdr, 0) AT(request_id, 8)
#undef T

#define T rndis_request
AT(hdr, 0) AT(request_id, 8) AT(oid, 12) AT(info_len, 16) AT(info_off, 20) AT(vc_handle, 24)
#undef T

#define T rndis_query_cmplt
AT(hdr, 0) AT(request_id, 8) AT(status, 12) AT(info_len, 16) AT(info_off, 20)
#undef T

#define T rndis_status_cmplt
AT(hdr, 0) AT(request_id, 8) AT(status, 12)
#undef T

#define T rndis_keepalive
AT(hdr, 0) AT(request_id, 8)
#undef T

#define T rndis_indicate
AT(hdr, 0) AT(status, 8) AT(buf_len, 12) AT(buf_off, 16)
#undef T

#define T rndis_ppi
AT(size, 0) AT(type, 4) AT(off, 8)
#undef T

#define T rndis_packet_id
AT(version, 0) AT(flags, 1) AT(id, 2)
#undef T

/* --- ndis_wire.h ------------------------------------------------- */

#define T ndis_object_hdr
AT(type, 0) AT(revision, 1) AT(size, 2)
#undef T

#define T ndis_csum_caps
AT(encap, 0) AT(flags, 4)
#undef T

#define T ndis_offload
AT(hdr, 0) AT(ip4_tx, 4) AT(ip4_rx, 12) AT(ip6_tx, 20) AT(ip6_rx, 28) AT(lsov1, 36)
AT(lsov1.encap, 36) AT(lsov1.max_size, 40) AT(lsov1.min_segs, 44) AT(lsov1.options, 48)
AT(ipsecv1, 52) AT(lsov2_ip4, 80) AT(lsov2_ip4.encap, 80) AT(lsov2_ip4.max_size, 84)
AT(lsov2_ip4.min_segs, 88) AT(lsov2_ip6, 92) AT(lsov2_ip6.encap, 92) AT(lsov2_ip6.max_size, 96)
AT(lsov2_ip6.min_segs, 100) AT(lsov2_ip6.options, 104) AT(flags, 108) AT(ipsecv2, 112)
AT(rsc_ip4, 144) AT(rsc_ip6, 145) AT(pad, 146) AT(nvgre_flags, 148) AT(nvgre_max_header, 152)
#undef T

#define T ndis_offload_params
AT(hdr, 0) AT(ip4_csum, 4) AT(tcp4_csum, 5) AT(udp4_csum, 6) AT(tcp6_csum, 7) AT(udp6_csum, 8)
AT(lsov1, 9) AT(ipsecv1, 10) AT(lsov2_ip4, 11) AT(lsov2_ip6, 12) AT(tcp_conn_ip4, 13)
AT(tcp_conn_ip6, 14) AT(pad0, 15) AT(flags, 16) AT(ipsecv2, 20) AT(ipsecv2_ip4, 21)
AT(rsc_ip4, 22) AT(rsc_ip6, 23) AT(encap_offload, 24) AT(encap_types, 25) AT(pad1, 26)
#undef T

#define T ndis_rss_caps
AT(hdr, 0) AT(flags, 4) AT(msi_count, 8) AT(rx_queues, 12) AT(reta_entries, 16)
#undef T

#define T ndis_rss_params
AT(hdr, 0) AT(flags, 4) AT(base_cpu, 6) AT(hash_info, 8) AT(table_len, 12) AT(pad0, 14)
AT(table_off, 16) AT(key_len, 20) AT(pad1, 22) AT(key_off, 24) AT(cpu_mask_off, 28)
AT(cpu_mask_count, 32) AT(cpu_mask_entry, 36)
#undef T

#define T ndis_link_state
AT(hdr, 0) AT(connect_state, 4) AT(duplex, 8) AT(pad, 12) AT(tx_speed, 16) AT(rx_speed, 24)
AT(pause, 32) AT(autoneg, 36)
#undef T

#define T ndis_offload_encap
AT(hdr, 0) AT(ip4, 4) AT(ip4.enabled, 4) AT(ip4.type, 8) AT(ip4.header_size, 12) AT(ip6, 16)
AT(ip6.enabled, 16) AT(ip6.type, 20) AT(ip6.header_size, 24)
#undef T

#define T rndis_config_param
AT(name_off, 0) AT(name_len, 4) AT(type, 8) AT(value_off, 12) AT(value_len, 16)
#undef T
