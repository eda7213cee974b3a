/* SPDX-License-Identifier: BSD-3-Clause */
/* Statistics: read from the queues' counters, never from the host. */
#ifndef HVN_STATS_H
#define HVN_STATS_H

#include "hvn.h"

/* The counters of a queue, which are words, since the last reset, to those of its predecessors. */
static inline void
hvn_stats_add(void *sum, const void *now, const void *base, size_t size)
{
	const uint64_t *n = now, *b = base;
	uint64_t *s = sum;

	for (size_t i = 0; i < size / sizeof(*s); i++)
		s[i] += n[i] - b[i];
}

int hvn_stats_get(struct rte_eth_dev *dev, struct rte_eth_stats *stats);
int hvn_stats_reset(struct rte_eth_dev *dev);
int hvn_xstats_get_names(struct rte_eth_dev *dev, struct rte_eth_xstat_name *names,
			 unsigned int size);
int hvn_xstats_get(struct rte_eth_dev *dev, struct rte_eth_xstat *xstats, unsigned int size);
int hvn_xstats_reset(struct rte_eth_dev *dev);
/* A channel is closed: what it counted is kept. Caller holds ctrl_lock. */
void hvn_stats_channel_gone(struct hvn_port *p, const struct hvn_chan *ch);

/* Why something of the host's is refused: names of hvn_chan.invalid[]. */
extern const char *const hvn_invalid_names[HVN_INV_COUNT];

int hvn_priv_dump(struct rte_eth_dev *dev, FILE *f);
int hvn_fw_version(struct rte_eth_dev *dev, char *text, size_t size);

#endif /* HVN_STATS_H */
