/* SPDX-License-Identifier: BSD-3-Clause */
/* Checksum and segmentation offloads: what the host can, what is in force, what ethdev is told. */
#ifndef HVN_OFFLOAD_H
#define HVN_OFFLOAD_H

#include "hvn.h"

/*
 * Query the capabilities, switch everything on that can be, and learn what is in force:
 * caps.offload, lso4_max, lso6_max. Caller holds ctrl_lock. A host without offloads is no error.
 */
int hvn_offload_setup(struct hvn_port *p);

/* Let the host coalesce (RSC) if the port was configured with LRO. Caller holds ctrl_lock. */
int hvn_offload_rsc(struct hvn_port *p);

/* RTE_ETH_RX_OFFLOAD_*, RTE_ETH_TX_OFFLOAD_* by what is in force. */
uint64_t hvn_offload_rx_capa(const struct hvn_port *p);
uint64_t hvn_offload_tx_capa(const struct hvn_port *p);

#endif /* HVN_OFFLOAD_H */
