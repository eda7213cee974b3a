/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An application that sleeps until frames come:
 *
 *   rx_intr [EAL arguments] -- QUEUES FRAMES [ptypes|lcores]
 *
 * It ends when so many frames were received, or when it slept LONG_MS for nothing: then a wake-up
 * was lost, or the frames were. Prints both and how often it slept; how often the condition that
 * ethdev gives for umwait held before it slept, and after it woke; and how many frames had a packet
 * type, of which it has asked ethdev only with the argument, and how many had a hash; and how often a
 * queue's descriptor stayed readable, interrupts being off, for one that waits by poll(). With the other
 * argument each queue has an lcore, which sleeps for itself and looks every LCORE_MS whether all are
 * received; a lost wake-up is its last then, too.
 */
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_interrupts.h>
#include <rte_launch.h>
#include <rte_lcore.h>

#define LONG_MS	 20000
#define LCORE_MS 2000
#define BURST	 32

static uint64_t typed, hashed;
static uint64_t wanted, all_got, all_sleeps, stale; /* by lcores, atomic */

static void
die(const char *what, int rc)
{
	rte_exit(EXIT_FAILURE, "%s: %s\n", what, rte_strerror(-rc));
}

static void
set_up(uint16_t queues)
{
	struct rte_eth_conf conf = {
		.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS, /* with one queue too: for the hash */
		.rx_adv_conf.rss_conf.rss_hf = RTE_ETH_RSS_IPV4,
		.intr_conf.rxq = 1,
	};
	struct rte_mempool *pool;
	int rc;

	pool = rte_pktmbuf_pool_create("rx", 4095, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (pool == NULL)
		die("pool", -rte_errno);
	rc = rte_eth_dev_configure(0, queues, 1, &conf);
	if (rc != 0)
		die("configure", rc);
	for (uint16_t q = 0; q < queues; q++) {
		rc = rte_eth_rx_queue_setup(0, q, 256, SOCKET_ID_ANY, NULL, pool);
		if (rc != 0)
			die("rx queue", rc);
	}
	rc = rte_eth_tx_queue_setup(0, 0, 256, SOCKET_ID_ANY, NULL);
	if (rc != 0)
		die("tx queue", rc);
	rc = rte_eth_promiscuous_enable(0);
	if (rc == 0)
		rc = rte_eth_dev_start(0);
	if (rc != 0)
		die("start", rc);
}

/* What this thread's sleep ends by. */
static void
listen_to(uint16_t first, uint16_t end)
{
	for (uint16_t q = first; q < end; q++) {
		int rc = rte_eth_dev_rx_intr_ctl_q(0, q, RTE_EPOLL_PER_THREAD, RTE_INTR_EVENT_ADD,
						   NULL);
		if (rc != 0)
			die("interrupt", rc);
	}
}

/* Would umwait return at once, because some queue has news? */
static bool
monitor_says_news(uint16_t first, uint16_t end)
{
	struct rte_power_monitor_cond c;
	bool news = false;

	for (uint16_t q = first; q < end; q++) {
		int rc = rte_eth_get_monitor_addr(0, q, &c);

		if (rc != 0)
			die("monitor address", rc);
		if (c.size != sizeof(uint32_t))
			die("monitor size", -EINVAL);
		news |= c.fn(*(const volatile uint32_t *)c.addr, c.opaque) != 0;
	}
	return news;
}

static uint64_t
poll_all(uint16_t first, uint16_t end)
{
	struct rte_mbuf *pkts[BURST];
	uint64_t got = 0;

	for (uint16_t q = first; q < end; q++) {
		uint16_t n = rte_eth_rx_burst(0, q, pkts, BURST);

		for (uint16_t i = 0; i < n; i++) {
			if (pkts[i]->packet_type != 0)
				__atomic_fetch_add(&typed, 1, __ATOMIC_RELAXED);
			if ((pkts[i]->ol_flags & RTE_MBUF_F_RX_RSS_HASH) != 0)
				__atomic_fetch_add(&hashed, 1, __ATOMIC_RELAXED);
		}
		rte_pktmbuf_free_bulk(pkts, n);
		got += n;
	}
	return got;
}

/* Interrupts are off: of what comes in now the host says nothing later either. */
static void
wait_for_news(uint16_t queues)
{
	for (unsigned int ms = 0; ms < LONG_MS && !monitor_says_news(0, queues); ms++)
		rte_delay_us_sleep(1000);
}

/* Of interrupts that are off nothing is left, but what the host says just now. */
static void
look_at_descriptors(uint16_t first, uint16_t end)
{
	for (uint16_t q = first; q < end; q++) {
		struct pollfd p = { rte_eth_dev_rx_intr_ctl_q_get_fd(0, q), POLLIN, 0 };

		if (poll(&p, 1, 0) > 0)
			__atomic_fetch_add(&stale, 1, __ATOMIC_RELAXED);
	}
}

/* What ended a sleep: an interrupt; the time; not even what there is to receive. */
enum wake { WOKEN, VAIN, LOST };

static enum wake
sleep_for_frames(uint16_t first, uint16_t end, int ms)
{
	struct rte_epoll_event ev[16];
	bool news = false;
	int n;

	for (uint16_t q = first; q < end; q++) {
		int rc = rte_eth_dev_rx_intr_enable(0, q);

		if (rc != 0)
			die("enable", rc);
	}
	n = rte_epoll_wait(RTE_EPOLL_PER_THREAD, ev, 16, ms);
	/* What came behind that time has its interrupt, too. */
	if (n == 0 && (news = monitor_says_news(first, end)))
		n = rte_epoll_wait(RTE_EPOLL_PER_THREAD, ev, 16, LONG_MS);
	for (uint16_t q = first; q < end; q++)
		rte_eth_dev_rx_intr_disable(0, q);
	look_at_descriptors(first, end);
	return n != 0 ? WOKEN : news ? LOST : VAIN;
}

/* An lcore's part; 1: there were frames, and nothing ended its sleep. */
static int
one_queue(void *arg)
{
	const uint16_t q = (uint16_t)(uintptr_t)arg;

	listen_to(q, q + 1);
	while (__atomic_load_n(&all_got, __ATOMIC_RELAXED) <
	       __atomic_load_n(&wanted, __ATOMIC_RELAXED)) {
		uint64_t now = poll_all(q, q + 1);

		__atomic_fetch_add(&all_got, now, __ATOMIC_RELAXED);
		if (now != 0)
			continue;
		__atomic_fetch_add(&all_sleeps, 1, __ATOMIC_RELAXED);
		if (sleep_for_frames(q, q + 1, LCORE_MS) == LOST) {
			__atomic_store_n(&wanted, 0, __ATOMIC_RELAXED); /* the end of all */
			return 1;
		}
	}
	return 0;
}

static bool
run_lcores(uint16_t queues)
{
	unsigned int lcore;
	bool lost = false;
	uint16_t q = 0;

	RTE_LCORE_FOREACH_WORKER(lcore)
	if (q < queues)
		rte_eal_remote_launch(one_queue, (void *)(uintptr_t)q++, lcore);
	if (q < queues)
		die("lcores", -EINVAL);
	RTE_LCORE_FOREACH_WORKER(lcore)
	lost |= rte_eal_wait_lcore(lcore) != 0;
	return !lost;
}

int
main(int argc, char **argv)
{
	uint64_t got = 0, sleeps = 0, news = 0;
	bool early, lcores;
	bool awake = true;
	uint16_t queues;
	int n = rte_eal_init(argc, argv);

	if (n < 0 || argc - n < 3 || argc - n > 4)
		rte_exit(EXIT_FAILURE,
			 "usage: rx_intr [EAL arguments] -- QUEUES FRAMES [ptypes|lcores]\n");
	queues = (uint16_t)atoi(argv[n + 1]);
	wanted = strtoull(argv[n + 2], NULL, 0);
	lcores = argc - n == 4 && strcmp(argv[n + 3], "lcores") == 0;
	if (argc - n == 4 && !lcores &&
	    rte_eth_dev_get_supported_ptypes(0, RTE_PTYPE_L3_MASK, NULL, 0) <= 0)
		die("packet types", -ENOTSUP);
	set_up(queues);
	if (!lcores)
		listen_to(0, queues);
	early = monitor_says_news(0, queues);
	printf("ready\n");
	fflush(stdout);
	if (lcores) {
		awake = run_lcores(queues);
		got = all_got;
		sleeps = all_sleeps;
	}
	while (got < wanted && awake) {
		uint64_t now = poll_all(0, queues);

		got += now;
		if (now == 0 && got < wanted) {
			/* As if the frame had come just behind the poll. */
			if (++sleeps % 8 == 0)
				wait_for_news(queues);
			awake = sleep_for_frames(0, queues, LONG_MS) == WOKEN;
			news += monitor_says_news(0, queues);
		}
	}
	printf("frames %" PRIu64 " sleeps %" PRIu64 " early %d news %" PRIu64 " typed %" PRIu64
	       " hashed %" PRIu64 " stale %" PRIu64 "%s\n",
	       got, sleeps, early, news, typed, hashed, stale, awake ? "" : ", the last in vain");
	rte_eth_dev_stop(0);
	rte_eth_dev_close(0);
	rte_eal_cleanup();
	return awake ? 0 : 1;
}
