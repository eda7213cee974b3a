/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * NVSP: version, buffers, sub-channels, the data path switch. In the order of the handshake;
 * callers hold ctrl_lock. 0 or a negative errno, the reason logged.
 */
#ifndef HVN_NVSP_H
#define HVN_NVSP_H

#include "hvn.h"

/* Agree on the newest version both know, up to args.nvsp_max: caps.nvsp_version. */
int hvn_nvsp_negotiate(struct hvn_port *p);

/* NDIS_CONFIG with this MTU (L3), then NDIS_VERSION. */
int hvn_nvsp_configure(struct hvn_port *p, uint16_t mtu);

/* Give the receive buffer to the host: caps.slot_*. */
int hvn_nvsp_recv_buf(struct hvn_port *p);

/* Give the send buffer to the host: caps.section_*; without one, transmit is direct only. */
int hvn_nvsp_send_buf(struct hvn_port *p);

/* Ask for sub-channels, once in a session. Sets *granted <= want, 0 if refused. */
int hvn_nvsp_subchannels(struct hvn_port *p, uint16_t want, uint16_t *granted);

/* Take both buffers back. The host stops reading the channel at the first. */
void hvn_nvsp_revoke(struct hvn_port *p);

/* Ask the host to deliver by NVSP_PATH_*, and wait for its completion. */
int hvn_nvsp_switch_data_path(struct hvn_port *p, uint32_t path);

/* An NVSP message that the host sent unasked. Control thread, without ctrl_lock. */
void hvn_nvsp_notify(struct hvn_port *p, const void *msg, uint32_t len);

#endif /* HVN_NVSP_H */
