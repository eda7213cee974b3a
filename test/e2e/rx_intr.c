/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An application that sleeps until frames come: rx_intr [EAL arguments] -- QUEUES FRAMES [ptypes].
 * It ends when so many frames were received, or when it slept LONG_MS for nothing: then a wake-up
 * was lost, or the frames were. Prints both and how often it slept; how often the condition that
 * ethdev gives for umwait held before it slept, and after it woke; and how many frames had a packet
 * type, of which it has asked ethdev only with the last argument, and how many had a hash.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_interrupts.h>

#define LONG_MS 20000
#define BURST	32

static struct rte_mbuf *pkts[BURST];
static uint64_t typed, hashed;

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
	for (uint16_t q = 0; q < queues; q++) {
		rc = rte_eth_dev_rx_intr_ctl_q(0, q, RTE_EPOLL_PER_THREAD, RTE_INTR_EVENT_ADD,
					       NULL);
		if (rc != 0)
			die("interrupt", rc);
	}
}

/* Would umwait return at once, because some queue has news? */
static bool
monitor_says_news(uint16_t queues)
{
	struct rte_power_monitor_cond c;
	bool news = false;

	for (uint16_t q = 0; q < queues; q++) {
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
poll_all(uint16_t queues)
{
	uint64_t got = 0;

	for (uint16_t q = 0; q < queues; q++) {
		uint16_t n = rte_eth_rx_burst(0, q, pkts, BURST);

		for (uint16_t i = 0; i < n; i++) {
			typed += pkts[i]->packet_type != 0;
			hashed += (pkts[i]->ol_flags & RTE_MBUF_F_RX_RSS_HASH) != 0;
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
	for (unsigned int ms = 0; ms < LONG_MS && !monitor_says_news(queues); ms++)
		rte_delay_us_sleep(1000);
}

/* false: it woke for nothing after a long time. */
static bool
sleep_for_frames(uint16_t queues)
{
	struct rte_epoll_event ev[16];
	int n;

	for (uint16_t q = 0; q < queues; q++) {
		int rc = rte_eth_dev_rx_intr_enable(0, q);

		if (rc != 0)
			die("enable", rc);
	}
	n = rte_epoll_wait(RTE_EPOLL_PER_THREAD, ev, 16, LONG_MS);
	for (uint16_t q = 0; q < queues; q++)
		rte_eth_dev_rx_intr_disable(0, q);
	return n != 0;
}

int
main(int argc, char **argv)
{
	uint64_t want, got = 0, sleeps = 0, news = 0;
	bool early;
	bool awake = true;
	uint16_t queues;
	int n = rte_eal_init(argc, argv);

	if (n < 0 || argc - n < 3 || argc - n > 4)
		rte_exit(EXIT_FAILURE,
			 "usage: rx_intr [EAL arguments] -- QUEUES FRAMES [ptypes]\n");
	queues = (uint16_t)atoi(argv[n + 1]);
	want = strtoull(argv[n + 2], NULL, 0);
	if (argc - n == 4 && rte_eth_dev_get_supported_ptypes(0, RTE_PTYPE_L3_MASK, NULL, 0) <= 0)
		die("packet types", -ENOTSUP);
	set_up(queues);
	early = monitor_says_news(queues);
	printf("ready\n");
	fflush(stdout);
	while (got < want && awake) {
		uint64_t now = poll_all(queues);

		got += now;
		if (now == 0 && got < want) {
			/* As if the frame had come just behind the poll. */
			if (++sleeps % 8 == 0)
				wait_for_news(queues);
			awake = sleep_for_frames(queues);
			news += monitor_says_news(queues);
		}
	}
	printf("frames %" PRIu64 " sleeps %" PRIu64 " early %d news %" PRIu64 " typed %" PRIu64
	       " hashed %" PRIu64 "%s\n",
	       got, sleeps, early, news, typed, hashed, awake ? "" : ", the last in vain");
	rte_eth_dev_stop(0);
	rte_eth_dev_close(0);
	rte_eal_cleanup();
	return awake ? 0 : 1;
}
