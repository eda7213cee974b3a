/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What port 0 has, word by word: features [EAL arguments]. Functions of its ops table, offloads and
 * capabilities, flags, and whether its queues are counted, for which frames have to come; and that it
 * says the same while the session with the host is another one. As a secondary process: whether it
 * gets a frame from the last queue of the primary's port.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <ethdev_driver.h>

#include "check.h"

#define LONG_MS 20000

#define OPS	 (sizeof(struct eth_dev_ops) / sizeof(void *))
#define OP(name) [offsetof(struct eth_dev_ops, name) / sizeof(void *)] = #name

/* Those that the test knows. */
static const char *const names[OPS] = { OP(dev_configure),
					OP(dev_start),
					OP(dev_stop),
					OP(dev_close),
					OP(dev_reset),
					OP(is_removed),
					OP(dev_set_link_up),
					OP(dev_set_link_down),
					OP(link_update),
					OP(promiscuous_enable),
					OP(promiscuous_disable),
					OP(allmulticast_enable),
					OP(allmulticast_disable),
					OP(set_mc_addr_list),
					OP(mac_addr_set),
					OP(mac_addr_add),
					OP(mac_addr_remove),
					OP(mtu_set),
					OP(vlan_filter_set),
					OP(vlan_offload_set),
					OP(flow_ctrl_get),
					OP(flow_ctrl_set),
					OP(dev_infos_get),
					OP(dev_supported_ptypes_get),
					OP(dev_ptypes_set),
					OP(rx_queue_setup),
					OP(rx_queue_release),
					OP(tx_queue_setup),
					OP(tx_queue_release),
					OP(rx_queue_start),
					OP(rx_queue_stop),
					OP(tx_queue_start),
					OP(tx_queue_stop),
					OP(rxq_info_get),
					OP(txq_info_get),
					OP(rx_burst_mode_get),
					OP(tx_burst_mode_get),
					OP(tx_done_cleanup),
					OP(rx_queue_intr_enable),
					OP(rx_queue_intr_disable),
					OP(get_monitor_addr),
					OP(flow_ops_get),
					OP(rss_hash_update),
					OP(rss_hash_conf_get),
					OP(reta_update),
					OP(reta_query),
					OP(stats_get),
					OP(stats_reset),
					OP(xstats_get),
					OP(xstats_get_names),
					OP(xstats_reset),
					OP(fw_version_get),
					OP(eth_dev_priv_dump),
					OP(timesync_enable),
					OP(timesync_disable),
					OP(get_module_info),
					OP(get_module_eeprom),
					OP(tm_ops_get),
					OP(get_eeprom),
					OP(get_reg) };

/* Each member of the table is a pointer to a function. */
static void
say_ops(const struct eth_dev_ops *ops)
{
	const void *const *functions = (const void *const *)(const void *)ops;

	for (size_t i = 0; i < OPS; i++)
		if (functions[i] != NULL)
			printf("op %s\n", names[i] != NULL ? names[i] : "unknown");
}

static void
say_bits(const char *kind, uint64_t bits, const char *(*name)(uint64_t))
{
	for (; bits != 0; bits &= bits - 1)
		printf("%s %s\n", kind, name(bits & -bits));
}

static void
say_info(const struct rte_eth_dev *dev)
{
	struct rte_eth_dev_info info;

	check("info", rte_eth_dev_info_get(0, &info));
	say_bits("offload", info.rx_offload_capa, rte_eth_dev_rx_offload_name);
	say_bits("offload", info.tx_offload_capa, rte_eth_dev_tx_offload_name);
	say_bits("capability", info.dev_capa, rte_eth_dev_capability_name);
	if (info.speed_capa != 0)
		printf("has speed_capa\n");
	if ((*info.dev_flags & RTE_ETH_DEV_INTR_LSC) != 0)
		printf("has INTR_LSC\n");
	if ((*info.dev_flags & RTE_ETH_DEV_INTR_RMV) != 0)
		printf("has INTR_RMV\n");
	if (dev->rx_descriptor_status != NULL)
		printf("has rx_descriptor_status\n");
	if (dev->tx_descriptor_status != NULL)
		printf("has tx_descriptor_status\n");
}

/* What does not fit is cut off, and the bytes that are needed are told. */
static void
check_version(void)
{
	char all[64], some[6];

	check("version", rte_eth_dev_fw_version_get(0, all, sizeof(all)));
	if (rte_eth_dev_fw_version_get(0, some, sizeof(some)) != (int)strlen(all) + 1 ||
	    strncmp(some, all, sizeof(some) - 1) != 0 || some[sizeof(some) - 1] != '\0')
		check("part of the version", -EBADMSG);
}

static void
wait_frame(uint16_t queue)
{
	struct rte_mbuf *m;

	for (int ms = 0; rte_eth_rx_burst(0, queue, &m, 1) == 0; ms++) {
		check("a frame", ms < LONG_MS ? 0 : -ETIMEDOUT);
		rte_delay_us_sleep(1000);
	}
	rte_pktmbuf_free(m);
}

/* ethdev asks of queues that were never set up, too. */
static void
ask_nothing(void)
{
	struct rte_eth_burst_mode mode;
	struct rte_power_monitor_cond cond;

	if (rte_eth_rx_burst_mode_get(0, 0, &mode) != -EINVAL ||
	    rte_eth_tx_burst_mode_get(0, 0, &mode) != -EINVAL ||
	    rte_eth_get_monitor_addr(0, 0, &cond) != -EINVAL)
		rte_exit(EXIT_FAILURE, "a queue that is not there answers\n");
}

/* Frames that come are counted where they came. */
static void
say_stats(void)
{
	const struct rte_eth_conf conf = { 0 };
	struct rte_mempool *pool;
	struct rte_eth_stats stats;

	pool = rte_pktmbuf_pool_create("rx", 1023, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	check("pool", pool == NULL ? -rte_errno : 0);
	/* No numbers: those that the port prefers. */
	check("configure", rte_eth_dev_configure(0, 0, 0, &conf));
	ask_nothing();
	check("rx queue", rte_eth_rx_queue_setup(0, 0, 256, SOCKET_ID_ANY, NULL, pool));
	check("tx queue", rte_eth_tx_queue_setup(0, 0, 256, SOCKET_ID_ANY, NULL));
	check("start", rte_eth_dev_start(0));
	wait_frame(0);
	check("statistics", rte_eth_stats_get(0, &stats));
	if (stats.q_ipackets[0] != 0)
		printf("has q_ipackets\n");
	check("stop", rte_eth_dev_stop(0));
}

static bool asking = true;

/* Another thread's view. */
static void *
ask(void *arg)
{
	struct rte_eth_rss_conf rss = { 0 };
	struct rte_eth_dev_info first, now;

	check("info", rte_eth_dev_info_get(0, &first));
	while (__atomic_load_n(&asking, __ATOMIC_RELAXED)) {
		check("info", rte_eth_dev_info_get(0, &now));
		if (now.max_rx_queues != first.max_rx_queues ||
		    now.max_tx_queues != first.max_tx_queues || now.max_mtu != first.max_mtu ||
		    now.max_rx_pktlen != first.max_rx_pktlen ||
		    now.max_lro_pkt_size != first.max_lro_pkt_size ||
		    now.reta_size != first.reta_size || now.speed_capa != first.speed_capa ||
		    now.rx_offload_capa != first.rx_offload_capa ||
		    now.tx_offload_capa != first.tx_offload_capa ||
		    now.flow_type_rss_offloads != first.flow_type_rss_offloads)
			rte_exit(EXIT_FAILURE, "another port for a moment\n");
		check("hash", rte_eth_dev_rss_hash_conf_get(0, &rss));
	}
	return arg;
}

/* Each MTU, and each reset, is another session. */
static void
reopen(void)
{
	pthread_t thread;

	check("thread", -pthread_create(&thread, NULL, ask, NULL));
	for (int i = 0; i < 4; i++) {
		check("MTU", rte_eth_dev_set_mtu(0, i % 2 != 0 ? 1500 : 9000));
		check("reset", rte_eth_dev_reset(0));
	}
	__atomic_store_n(&asking, false, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
}

int
main(int argc, char **argv)
{
	check("EAL", rte_eal_init(argc, argv) < 0 ? -rte_errno : 0);
	if (rte_eal_process_type() == RTE_PROC_SECONDARY) {
		check("port", rte_eth_dev_is_valid_port(0) ? 0 : -ENODEV);
		wait_frame(rte_eth_devices[0].data->nb_rx_queues - 1);
		printf("has processes\n");
	} else {
		say_ops(rte_eth_devices[0].dev_ops);
		say_info(&rte_eth_devices[0]);
		check_version();
		say_stats();
		reopen();
		rte_eth_dev_close(0);
	}
	rte_eal_cleanup();
	return 0;
}
