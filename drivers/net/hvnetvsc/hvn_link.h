/* SPDX-License-Identifier: BSD-3-Clause */
/* Link state: what the host indicates, what ethdev is told. */
#ifndef HVN_LINK_H
#define HVN_LINK_H

#include "hvn.h"

/* Ask the host once, when a session opens. Caller holds ctrl_lock. */
int hvn_link_query(struct hvn_port *p);

/* An INDICATE message. Control thread, without ctrl_lock: link events call the application. */
void hvn_link_indicate(struct hvn_port *p, const void *msg, uint32_t len);

/*
 * The data path is another one: raise INTR_LSC. Of ethdev's events it is the one that asks for nothing
 * but a look at the port; others mean a reset, a device that is gone, or a port that must not be
 * configured meanwhile. The link is as before. Control thread, without ctrl_lock.
 */
void hvn_link_path_changed(struct hvn_port *p);

/*
 * Another session may have found another link, of which no message tells: raise INTR_LSC then. Control
 * thread, without ctrl_lock.
 */
void hvn_link_renewed(struct hvn_port *p);

/* ethdev operations. link_update never asks the host. */
int hvn_link_update(struct rte_eth_dev *dev, int wait);
int hvn_link_set_up(struct rte_eth_dev *dev);
int hvn_link_set_down(struct rte_eth_dev *dev);

#endif /* HVN_LINK_H */
