/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An application that is refused a queue: refused_queue [EAL arguments]. Port 0 gets to its VF; one
 * of its queues is stopped and set up with an offload that does not exist, which ethdev notices
 * when it has released the old queue; then it has to come to its VF again. Before that it tries to
 * start the port without a queue. Exits with 0 if all is as it should be.
 */
#include <stdio.h>
#include <stdlib.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_ethdev.h>

#include "check.h"

#define LONG_MS		20000
#define NO_SUCH_OFFLOAD (UINT64_C(1) << 63)

static struct rte_mempool *pool;

static void
refused(const char *what, int rc)
{
	if (rc != -EINVAL)
		rte_exit(EXIT_FAILURE, "%s is not refused: %d\n", what, rc);
}

static uint64_t
xstat(const char *name)
{
	uint64_t id, value;

	check(name, rte_eth_xstats_get_id_by_name(0, name, &id));
	if (rte_eth_xstats_get_by_id(0, &id, &value, 1) != 1)
		check(name, -EIO);
	return value;
}

/* It has switched to a VF more often than before, and is on it. */
static void
wait_vf(const char *when, uint64_t before)
{
	struct rte_mbuf *m;

	for (int ms = 0; ms < LONG_MS; ms++) {
		if (xstat("path_is_vf") != 0 && xstat("path_switches_to_vf") > before)
			return;
		/* The other queue may not exist. */
		if (rte_eth_rx_burst(0, 0, &m, 1) != 0)
			rte_pktmbuf_free(m);
		rte_delay_us_sleep(1000);
	}
	rte_exit(EXIT_FAILURE, "not on the VF: %s\n", when);
}

static void
set_up(void)
{
	struct rte_eth_conf conf = { .rxmode.mq_mode = RTE_ETH_MQ_RX_RSS };

	pool = rte_pktmbuf_pool_create("rx", 4095, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (pool == NULL)
		check("pool", -rte_errno);
	check("configure", rte_eth_dev_configure(0, 2, 2, &conf));
	for (uint16_t q = 0; q < 2; q++) {
		/* Some are missing; a start that is refused leaves nothing behind. */
		refused("start", rte_eth_dev_start(0));
		check("rx queue", rte_eth_rx_queue_setup(0, q, 256, SOCKET_ID_ANY, NULL, pool));
		refused("start", rte_eth_dev_start(0));
		check("tx queue", rte_eth_tx_queue_setup(0, q, 256, SOCKET_ID_ANY, NULL));
	}
	check("start", rte_eth_dev_start(0));
}

int
main(int argc, char **argv)
{
	const struct rte_eth_rxconf rx = { .offloads = NO_SUCH_OFFLOAD };
	const struct rte_eth_txconf tx = { .offloads = NO_SUCH_OFFLOAD };
	uint64_t before;

	check("EAL", rte_eal_init(argc, argv) < 0 ? -rte_errno : 0);
	set_up();
	wait_vf("at the start", 0);
	check("stop", rte_eth_dev_rx_queue_stop(0, 1));
	before = xstat("path_switches_to_vf");
	refused("rx queue", rte_eth_rx_queue_setup(0, 1, 256, SOCKET_ID_ANY, &rx, pool));
	wait_vf("without a receive queue", before);
	check("stop", rte_eth_dev_tx_queue_stop(0, 1));
	before = xstat("path_switches_to_vf");
	refused("tx queue", rte_eth_tx_queue_setup(0, 1, 256, SOCKET_ID_ANY, &tx));
	wait_vf("without a transmit queue", before);
	rte_eth_dev_stop(0);
	rte_eth_dev_close(0);
	rte_eal_cleanup();
	return 0;
}
