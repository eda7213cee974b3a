/* SPDX-License-Identifier: BSD-3-Clause */
/* Receive side scaling: key, hash types, RETA; before and after start. */
#ifndef HVN_RSS_H
#define HVN_RSS_H

#include "hvn.h"

/* Capabilities: caps.rx_queues, reta_size, rss_caps. Caller holds ctrl_lock. */
int hvn_rss_query(struct hvn_port *p);

/* RTE_ETH_RSS_* that the host can hash by; 0 without RSS. */
uint64_t hvn_rss_capa(const struct hvn_port *p);

/* Take what dev_configure says; the RETA stays if the application set one that still fits. */
int hvn_rss_configure(struct hvn_port *p, const struct rte_eth_conf *conf);

/* Send it to the host, naming open channels only. Caller holds ctrl_lock. */
int hvn_rss_apply(struct hvn_port *p);

/* ethdev operations */
int hvn_rss_hash_update(struct rte_eth_dev *dev, struct rte_eth_rss_conf *conf);
int hvn_rss_hash_conf_get(struct rte_eth_dev *dev, struct rte_eth_rss_conf *conf);
int hvn_rss_reta_update(struct rte_eth_dev *dev, struct rte_eth_rss_reta_entry64 *reta,
			uint16_t size);
int hvn_rss_reta_query(struct rte_eth_dev *dev, struct rte_eth_rss_reta_entry64 *reta,
		       uint16_t size);

#endif /* HVN_RSS_H */
