/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An application that goes on with other numbers of queues: fewer_queues [EAL arguments] [-- again].
 * The host is slow and still holds packets of the second transmit queue when the port is stopped, and
 * configured with two instead of four; that queue is not set up again. Then the first one sends as
 * much as it may. Again: with one queue for a while, which sends as much as it may, and with four once
 * more, of which the second sends. Exits with 0 if everything was sent; the host says whether it was
 * disturbed.
 */
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_ethdev.h>

#include "check.h"

#define QUEUES 4
#define BURST  32

static struct rte_mempool *pool;

static void
configure(uint16_t rx_queues, uint16_t tx_queues)
{
	const struct rte_eth_conf conf = { .rxmode.mq_mode = RTE_ETH_MQ_RX_RSS };

	check("configure", rte_eth_dev_configure(0, rx_queues, tx_queues, &conf));
}

static void
set_up(uint16_t first)
{
	for (uint16_t q = first; q < QUEUES; q++) {
		check("rx queue", rte_eth_rx_queue_setup(0, q, 256, SOCKET_ID_ANY, NULL, pool));
		check("tx queue", rte_eth_tx_queue_setup(0, q, 1024, SOCKET_ID_ANY, NULL));
	}
}

/* A burst, or what of it finds room in a second; every packet is full of its mark. */
static uint16_t
send_burst(uint16_t queue, uint8_t mark)
{
	struct rte_mbuf *pkts[BURST];
	uint16_t sent = 0;

	check("mbufs", rte_pktmbuf_alloc_bulk(pool, pkts, BURST));
	for (unsigned int i = 0; i < BURST; i++) {
		uint8_t *data = (uint8_t *)rte_pktmbuf_append(pkts[i], 1000);

		memset(data, mark, 1000);
		data[12] = 0x08; /* IPv4, of no protocol */
		data[13] = 0x00;
	}
	for (int ms = 0; ms < 1000 && sent < BURST; ms++) {
		sent += rte_eth_tx_burst(0, queue, pkts + sent, (uint16_t)(BURST - sent));
		rte_delay_us_sleep(1000);
	}
	rte_pktmbuf_free_bulk(pkts + sent, BURST - sent);
	return sent;
}

/* As much as the first queue takes. */
static void
fill(void)
{
	for (int i = 0; i < 120; i++)
		if (send_burst(0, 0) != BURST)
			break;
}

static void
fewer(void)
{
	if (send_burst(1, 1) != BURST)
		rte_exit(EXIT_FAILURE, "the second queue takes no burst\n");
	check("stop", rte_eth_dev_stop(0));
	configure(QUEUES, 2);
	check("start", rte_eth_dev_start(0));
	fill();
}

static void
again(void)
{
	check("stop", rte_eth_dev_stop(0));
	configure(1, 1);
	check("start", rte_eth_dev_start(0));
	fill();
	check("stop", rte_eth_dev_stop(0));
	configure(QUEUES, QUEUES);
	set_up(1);
	check("start", rte_eth_dev_start(0));
	if (send_burst(1, 1) != BURST)
		rte_exit(EXIT_FAILURE, "the second queue takes no burst\n");
}

int
main(int argc, char **argv)
{
	int used = rte_eal_init(argc, argv);

	check("EAL", used < 0 ? -rte_errno : 0);
	pool = rte_pktmbuf_pool_create("pool", 16383, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
				       SOCKET_ID_ANY);
	if (pool == NULL)
		check("pool", -rte_errno);
	configure(QUEUES, QUEUES);
	set_up(0);
	check("start", rte_eth_dev_start(0));
	if (argc > used + 1)
		again();
	else
		fewer();
	check("stop", rte_eth_dev_stop(0));
	check("close", rte_eth_dev_close(0));
	rte_eal_cleanup();
	return 0;
}
