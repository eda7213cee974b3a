/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RNDIS control messages: initialize, query, set, and the simple OIDs. Callers hold ctrl_lock.
 * 0 or a negative errno: -ENOTSUP if the host does not know the OID, -EREMOTEIO for other
 * refusals, otherwise as hvn_ctrl_rndis().
 */
#ifndef HVN_RNDIS_H
#define HVN_RNDIS_H

#include "hvn.h"

/* First message of a session: caps.max_packets, max_transfer, align. */
int hvn_rndis_initialize(struct hvn_port *p);
/* Last message but for the revocation of the buffers. Has no reply. */
void hvn_rndis_halt(struct hvn_port *p);

/*
 * Ask for an OID, with in_len bytes of input if any. At most *len bytes of the answer are copied
 * to info, and *len is set to their number.
 */
int hvn_rndis_query(struct hvn_port *p, uint32_t oid, const void *in, uint32_t in_len, void *info,
		    uint32_t *len);
int hvn_rndis_query_u32(struct hvn_port *p, uint32_t oid, uint32_t *value);
int hvn_rndis_set(struct hvn_port *p, uint32_t oid, const void *info, uint32_t len);

int hvn_rndis_get_mac(struct hvn_port *p, struct rte_ether_addr *mac);
/* Config parameter NetworkAddress: hosts refuse it unless MAC spoofing is allowed, or ignore it. */
int hvn_rndis_set_mac(struct hvn_port *p, const struct rte_ether_addr *mac);

#define HVN_FILTER_UNKNOWN UINT32_MAX /* hvn_port.filter: the host did not answer, or refused */

/* Packet filter by the port's state: 0 unless running. Sends it only if it differs. */
int hvn_rndis_update_filter(struct hvn_port *p);
int hvn_rndis_set_filter(struct hvn_port *p, uint32_t filter);

#endif /* HVN_RNDIS_H */
