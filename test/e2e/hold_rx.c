/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An application that keeps what it receives: hold_rx [EAL arguments] -- QUEUES. It reads commands:
 *
 *   hold N    keep the next N frames of all queues, and answer when they are there
 *   check     how many are held, how many of them in buffers that are not the pool's, and how many
 *             changed since they were received
 *   send      send them all back, addresses exchanged;   free   free them
 *   restart   stop and start the port;   mtu N   with another MTU;   stop;   close
 *   pool      how many mbufs are missing in the pool
 *   quit
 *
 * What comes while nothing is to be kept is sent back at once.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_ethdev.h>

#include "check.h"
#include "command_line.h"

#define BURST	 32
#define DESC	 256
#define HELD_MAX 4096
#define PORT	 0
#define TRIES	 10000000

static struct {
	struct rte_mbuf *m;
	uint64_t sum;
} held[HELD_MAX];
static unsigned int n_held, wanted;
static struct rte_mempool *pool;
static uint16_t queues;
static bool running;

static void
set_up(void)
{
	const struct rte_eth_conf conf = {
		.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS,
		.rx_adv_conf.rss_conf.rss_hf = RTE_ETH_RSS_IPV4,
	};

	pool = rte_pktmbuf_pool_create("pool", 2 * HELD_MAX - 1, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
				       SOCKET_ID_ANY);
	if (pool == NULL)
		check("pool", -rte_errno);
	check("configure", rte_eth_dev_configure(PORT, queues, queues, &conf));
	for (uint16_t q = 0; q < queues; q++) {
		check("rx queue", rte_eth_rx_queue_setup(PORT, q, DESC, SOCKET_ID_ANY, NULL, pool));
		check("tx queue", rte_eth_tx_queue_setup(PORT, q, DESC, SOCKET_ID_ANY, NULL));
	}
	check("promiscuous", rte_eth_promiscuous_enable(PORT));
	check("start", rte_eth_dev_start(PORT));
	running = true;
}

/* Of all bytes and where they are. */
static uint64_t
sum(const struct rte_mbuf *m)
{
	uint64_t s = UINT64_C(0xcbf29ce484222325) ^ rte_pktmbuf_pkt_len(m);

	for (; m != NULL; m = m->next)
		for (uint16_t i = 0; i < m->data_len; i++)
			s = (s ^ *rte_pktmbuf_mtod_offset(m, uint8_t *, i)) *
			    UINT64_C(0x100000001b3);
	return s;
}

static void
send_back(struct rte_mbuf *m, uint16_t q)
{
	struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
	struct rte_ether_addr mac = eth->src_addr;

	eth->src_addr = eth->dst_addr;
	eth->dst_addr = mac;
	for (unsigned int i = 0; i < TRIES; i++)
		if (rte_eth_tx_burst(PORT, q, &m, 1) == 1)
			return;
	rte_exit(EXIT_FAILURE, "a frame cannot be sent\n");
}

static void
receive(void)
{
	struct rte_mbuf *pkts[BURST];

	for (uint16_t q = 0; running && q < queues; q++) {
		uint16_t n = rte_eth_rx_burst(PORT, q, pkts, BURST);

		for (uint16_t i = 0; i < n; i++) {
			if (n_held == wanted) {
				send_back(pkts[i], q);
				continue;
			}
			held[n_held].m = pkts[i];
			held[n_held++].sum = sum(pkts[i]);
		}
		/* Also collects what was sent. */
		rte_eth_tx_done_cleanup(PORT, q, 0);
	}
}

static void
show(void)
{
	unsigned int external = 0, damaged = 0;

	for (unsigned int i = 0; i < n_held; i++) {
		external += RTE_MBUF_HAS_EXTBUF(held[i].m) != 0;
		damaged += sum(held[i].m) != held[i].sum;
	}
	printf("held %u external %u damaged %u\n", n_held, external, damaged);
}

static void
let_go(bool back)
{
	for (unsigned int i = 0; i < n_held; i++) {
		if (back)
			send_back(held[i].m, i % queues);
		else
			rte_pktmbuf_free(held[i].m);
	}
	n_held = wanted = 0;
}

static void
stop(void)
{
	if (running)
		check("stop", rte_eth_dev_stop(PORT));
	running = false;
}

/* false: to end. */
static bool
command(const char *line)
{
	unsigned int n;

	if (strcmp(line, "quit") == 0)
		return false;
	if (sscanf(line, "hold %u", &n) == 1 && n <= HELD_MAX - n_held) {
		for (wanted = n_held + n; n_held != wanted;)
			receive();
	} else if (strcmp(line, "check") == 0) {
		show();
	} else if (strcmp(line, "send") == 0 || strcmp(line, "free") == 0) {
		let_go(line[0] == 's');
	} else if (strcmp(line, "pool") == 0) {
		printf("missing %u\n", rte_mempool_in_use_count(pool));
	} else if (strcmp(line, "stop") == 0) {
		stop();
	} else if (strcmp(line, "restart") == 0 || sscanf(line, "mtu %u", &n) == 1) {
		stop();
		if (line[0] == 'm')
			check("mtu", rte_eth_dev_set_mtu(PORT, (uint16_t)n));
		check("start", rte_eth_dev_start(PORT));
		running = true;
	} else if (strcmp(line, "close") == 0) {
		stop();
		check("close", rte_eth_dev_close(PORT));
	} else {
		printf("what? ");
	}
	printf("done %s\n", line);
	fflush(stdout);
	return true;
}

int
main(int argc, char **argv)
{
	int n = rte_eal_init(argc, argv);
	const char *line = NULL;

	if (n < 0 || argc - n != 2)
		rte_exit(EXIT_FAILURE, "usage: hold_rx [EAL arguments] -- QUEUES\n");
	queues = (uint16_t)atoi(argv[n + 1]);
	set_up();
	printf("ready\n");
	fflush(stdout);
	do {
		receive();
		line = read_line();
	} while (line == NULL || command(line));
	if (rte_eth_dev_is_valid_port(PORT)) {
		stop();
		rte_eth_dev_close(PORT);
	}
	rte_eal_cleanup();
	return 0;
}
