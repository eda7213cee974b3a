/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libhvqstate: DPDK 22.11's net_netvsc does not say that its queues are started, so that
 * dpdk-testpmd passes over them. Says it in its place; nothing else changes.
 */
#include <dlfcn.h>

#include <rte_ethdev.h>

__attribute__((visibility("default"))) int
rte_eth_rx_queue_info_get(uint16_t port, uint16_t queue, struct rte_eth_rxq_info *info)
{
	static __typeof__(&rte_eth_rx_queue_info_get) real;
	int rc;

	if (real == NULL)
		real = (__typeof__(real))dlsym(RTLD_NEXT, "rte_eth_rx_queue_info_get");
	rc = real(port, queue, info);
	if (rc == 0)
		info->queue_state = RTE_ETH_QUEUE_STATE_STARTED;
	return rc;
}

__attribute__((visibility("default"))) int
rte_eth_tx_queue_info_get(uint16_t port, uint16_t queue, struct rte_eth_txq_info *info)
{
	static __typeof__(&rte_eth_tx_queue_info_get) real;
	int rc;

	if (real == NULL)
		real = (__typeof__(real))dlsym(RTLD_NEXT, "rte_eth_tx_queue_info_get");
	rc = real(port, queue, info);
	if (rc == 0)
		info->queue_state = RTE_ETH_QUEUE_STATE_STARTED;
	return rc;
}
