/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Processes that share a port, one queue each, as DPDK's symmetric_mp: mp_fwd [EAL] -- QUEUES QUEUE.
 * The primary sets the port up. Every process sends what its queue receives back, addresses
 * exchanged, and reads commands, of which the primary has more: what each answers is below.
 *
 * Each queue has a pool of its own: a process that is killed may leave a pool unusable, which is
 * then replaced with the queue (renew).
 */
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_ring.h>

#include "command_line.h"

#define BURST 32
#define DESC  256
#define POOL  2047
#define PORT  0
#define TRIES 100000

static uint16_t queues, queue;
static unsigned int pools;
static uint64_t received, sent;

/* --- a pool whose user can be stopped inside ----------------------------------------------------- */

static enum { NOWHERE, IN_GET, IN_PUT } asleep; /* the next time, once */

static void
fall_asleep(int where)
{
	if ((int)asleep != where)
		return;
	asleep = NOWHERE;
	raise(SIGSTOP);
}

static int
pool_alloc(struct rte_mempool *mp)
{
	char name[RTE_RING_NAMESIZE];

	snprintf(name, sizeof(name), "of_%s", mp->name);
	mp->pool_data = rte_ring_create(name, rte_align32pow2(mp->size + 1), mp->socket_id, 0);
	return mp->pool_data == NULL ? -rte_errno : 0;
}

static void
pool_free(struct rte_mempool *mp)
{
	rte_ring_free(mp->pool_data);
}

static int
pool_put(struct rte_mempool *mp, void *const *obj, unsigned int n)
{
	fall_asleep(IN_PUT);
	return rte_ring_enqueue_bulk(mp->pool_data, obj, n, NULL) == 0 ? -ENOBUFS : 0;
}

static int
pool_get(struct rte_mempool *mp, void **obj, unsigned int n)
{
	fall_asleep(IN_GET);
	return rte_ring_dequeue_bulk(mp->pool_data, obj, n, NULL) == 0 ? -ENOBUFS : 0;
}

static unsigned int
pool_count(const struct rte_mempool *mp)
{
	return rte_ring_count(mp->pool_data);
}

static const struct rte_mempool_ops pool_ops = {
	.name = "sleepy",
	.alloc = pool_alloc,
	.free = pool_free,
	.enqueue = pool_put,
	.dequeue = pool_get,
	.get_count = pool_count,
};

RTE_MEMPOOL_REGISTER_OPS(pool_ops);

/* --- a secondary that takes no message ------------------------------------------------------------ */

#define DEAF "mp_fwd_deaf"

static bool hears;

/* EAL has one thread for the messages of all names. */
static int
be_deaf(const struct rte_mp_msg *msg, const void *peer)
{
	(void)msg;
	(void)peer;
	printf("deaf\n");
	fflush(stdout);
	while (!__atomic_load_n(&hears, __ATOMIC_RELAXED))
		rte_delay_us_sleep(1000);
	return 0;
}

static void
deafen(void)
{
	struct rte_mp_msg msg = { .name = DEAF };

	if (rte_mp_sendmsg(&msg) != 0)
		rte_exit(EXIT_FAILURE, "deafen: %s\n", rte_strerror(rte_errno));
}

static int
on_failed(uint16_t id, enum rte_eth_event_type type, void *arg, void *ret)
{
	(void)type;
	(void)arg;
	(void)ret;
	printf("recovery of port %u failed\n", id);
	fflush(stdout);
	return 0;
}

/* --- the port -------------------------------------------------------------------------------------- */

static void
die(const char *what, int rc)
{
	rte_exit(EXIT_FAILURE, "%s: %s\n", what, rte_strerror(-rc));
}

static void
check(const char *what, int rc)
{
	if (rc != 0)
		die(what, rc);
}

static void
setup_queue(uint16_t q)
{
	struct rte_mempool *pool;
	char name[32];

	snprintf(name, sizeof(name), "pool%u", pools++);
	pool = rte_pktmbuf_pool_create_by_ops(name, POOL, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
					      SOCKET_ID_ANY, pool_ops.name);
	if (pool == NULL)
		die("pool", -rte_errno);
	check("rx queue", rte_eth_rx_queue_setup(PORT, q, DESC, SOCKET_ID_ANY, NULL, pool));
	check("tx queue", rte_eth_tx_queue_setup(PORT, q, DESC, SOCKET_ID_ANY, NULL));
}

static void
setup_port(void)
{
	const struct rte_eth_conf conf = {
		.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS,
		.rx_adv_conf.rss_conf.rss_hf = RTE_ETH_RSS_IPV4,
	};

	check("configure", rte_eth_dev_configure(PORT, queues, queues, &conf));
	for (uint16_t q = 0; q < queues; q++)
		setup_queue(q);
	check("promiscuous", rte_eth_promiscuous_enable(PORT));
	check("start", rte_eth_dev_start(PORT));
}

/* Another session with the host. */
static void
reopen(uint16_t mtu)
{
	check("stop", rte_eth_dev_stop(PORT));
	check("mtu", rte_eth_dev_set_mtu(PORT, mtu));
	check("start", rte_eth_dev_start(PORT));
}

/*
 * Somebody else's queue, after that process ended. It may have died between marking a packet as
 * sent and sending it: the host completes that never, and only another session forgets it.
 */
static void
renew(uint16_t q)
{
	check("rx stop", rte_eth_dev_rx_queue_stop(PORT, q));
	if (rte_eth_dev_tx_queue_stop(PORT, q) != 0) {
		reopen(1600);
		reopen(1500);
		check("rx stop", rte_eth_dev_rx_queue_stop(PORT, q));
		check("tx stop", rte_eth_dev_tx_queue_stop(PORT, q));
	}
	setup_queue(q);
	check("rx start", rte_eth_dev_rx_queue_start(PORT, q));
	check("tx start", rte_eth_dev_tx_queue_start(PORT, q));
}

static void
show(void)
{
	struct rte_eth_stats s;

	check("stats", rte_eth_stats_get(PORT, &s));
	printf("stats ipackets %" PRIu64 " opackets %" PRIu64 " received %" PRIu64 " sent %" PRIu64
	       "\n",
	       s.ipackets, s.opackets, received, sent);
}

/* false: to end. */
static bool
command(const char *line)
{
	int n;

	if (strcmp(line, "quit") == 0)
		return false;
	if (strcmp(line, "stats") == 0) {
		show();
	} else if (strcmp(line, "ports") == 0) {
		printf("ports %u\n", rte_eth_dev_count_avail());
	} else if (strcmp(line, "sleep") == 0) { /* in the loop, between bursts */
		raise(SIGSTOP);
	} else if (strcmp(line, "sleep rx") == 0) { /* in a receive burst, which allocates */
		asleep = IN_GET;
	} else if (strcmp(line, "sleep tx") == 0) { /* in a transmit burst, which frees */
		asleep = IN_PUT;
	} else if (strcmp(line, "deafen") == 0) { /* all others take no message until they hear */
		deafen();
	} else if (strcmp(line, "hear") == 0) {
		__atomic_store_n(&hears, true, __ATOMIC_RELAXED);
	} else if (strcmp(line, "promisc") == 0) { /* a transaction on the first channel */
		check("off", rte_eth_promiscuous_disable(PORT));
		check("on", rte_eth_promiscuous_enable(PORT));
	} else if (strcmp(line, "stop") == 0) {
		check("stop", rte_eth_dev_stop(PORT));
	} else if (strcmp(line, "start") == 0) {
		check("start", rte_eth_dev_start(PORT));
	} else if (strcmp(line, "restart") == 0) {
		check("stop", rte_eth_dev_stop(PORT));
		check("start", rte_eth_dev_start(PORT));
	} else if (sscanf(line, "mtu %d", &n) == 1) {
		reopen((uint16_t)n);
	} else if (sscanf(line, "renew %d", &n) == 1) {
		renew((uint16_t)n);
	} else if (strcmp(line, "close") == 0) {
		check("stop", rte_eth_dev_stop(PORT));
		check("close", rte_eth_dev_close(PORT));
	} else {
		printf("what? ");
	}
	printf("done %s\n", line);
	fflush(stdout);
	return true;
}

static void
forward(void)
{
	struct rte_mbuf *pkts[BURST];
	uint16_t n, done = 0;

	n = rte_eth_rx_burst(PORT, queue, pkts, BURST);
	received += n;
	for (uint16_t i = 0; i < n; i++) {
		struct rte_ether_hdr *eth = rte_pktmbuf_mtod(pkts[i], struct rte_ether_hdr *);
		struct rte_ether_addr mac = eth->src_addr;

		eth->src_addr = eth->dst_addr;
		eth->dst_addr = mac;
	}
	/* The port may be stopped for a while. */
	for (unsigned int i = 0; done < n && i < TRIES; i++)
		done += rte_eth_tx_burst(PORT, queue, pkts + done, n - done);
	sent += done;
	rte_pktmbuf_free_bulk(pkts + done, n - done);
}

int
main(int argc, char **argv)
{
	int n = rte_eal_init(argc, argv);
	const char *line = NULL;

	if (n < 0 || argc - n != 3)
		rte_exit(EXIT_FAILURE, "usage: mp_fwd [EAL arguments] -- QUEUES QUEUE\n");
	queues = (uint16_t)atoi(argv[n + 1]);
	queue = (uint16_t)atoi(argv[n + 2]);
	if (rte_eal_process_type() == RTE_PROC_PRIMARY) {
		rte_eth_dev_callback_register(RTE_ETH_ALL, RTE_ETH_EVENT_RECOVERY_FAILED, on_failed,
					      NULL);
		setup_port();
	} else {
		rte_mp_action_register(DEAF, be_deaf);
	}
	printf("ready\n");
	fflush(stdout);
	do {
		if (rte_eth_dev_is_valid_port(PORT))
			forward();
		line = read_line();
	} while (line == NULL || command(line));
	if (rte_eal_process_type() == RTE_PROC_PRIMARY && rte_eth_dev_is_valid_port(PORT)) {
		rte_eth_dev_stop(PORT);
		rte_eth_dev_close(PORT);
	}
	rte_eal_cleanup();
	return 0;
}
