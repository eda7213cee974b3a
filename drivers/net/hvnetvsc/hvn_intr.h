/* SPDX-License-Identifier: BSD-3-Clause */
/* Receive interrupts, and the address to monitor for a sleep without them. */
#ifndef HVN_INTR_H
#define HVN_INTR_H

#include <rte_power_intrinsics.h>

#include "hvn.h"

/*
 * If the application wants receive interrupts: descriptors of the queues for epoll. Behind a pause they
 * are the same as before. 0 or -errno.
 */
int hvn_intr_start(struct rte_eth_dev *dev);
/* The channels are about to be closed: nobody is woken by them any more. */
void hvn_intr_pause(struct rte_eth_dev *dev);
/* Wake whoever sleeps, or is about to. */
void hvn_intr_wake(struct rte_eth_dev *dev);
void hvn_intr_stop(struct rte_eth_dev *dev);

int hvn_intr_enable(struct rte_eth_dev *dev, uint16_t id);
int hvn_intr_disable(struct rte_eth_dev *dev, uint16_t id);
int hvn_intr_monitor_addr(void *rxq, struct rte_power_monitor_cond *cond);

#endif /* HVN_INTR_H */
