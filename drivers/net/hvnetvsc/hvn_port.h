/* SPDX-License-Identifier: BSD-3-Clause */
/* ethdev operations on a whole port and on the running state of its queues. */
#ifndef HVN_PORT_H
#define HVN_PORT_H

#include "hvn.h"

int hvn_port_configure(struct rte_eth_dev *dev);
int hvn_port_start(struct rte_eth_dev *dev);
int hvn_port_stop(struct rte_eth_dev *dev);
int hvn_port_reset(struct rte_eth_dev *dev);
int hvn_port_close(struct rte_eth_dev *dev);
int hvn_port_mtu_set(struct rte_eth_dev *dev, uint16_t mtu);
int hvn_port_is_removed(struct rte_eth_dev *dev);

int hvn_port_rx_queue_start(struct rte_eth_dev *dev, uint16_t id);
int hvn_port_rx_queue_stop(struct rte_eth_dev *dev, uint16_t id);
int hvn_port_tx_queue_start(struct rte_eth_dev *dev, uint16_t id);
int hvn_port_tx_queue_stop(struct rte_eth_dev *dev, uint16_t id);

/* The host took the device: no burst touches a ring from now on. Interrupt thread. */
void hvn_port_removed(struct rte_eth_dev *dev);

/*
 * Without the bursts, for hvn_recover.c. Caller holds ctrl_lock, and is in a hurry to stop. Start:
 * 0 or a negative errno, after which the port has to be stopped.
 */
int hvn_port_start_locked(struct rte_eth_dev *dev);
void hvn_port_stop_locked(struct rte_eth_dev *dev);

#endif /* HVN_PORT_H */
