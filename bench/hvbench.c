/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_lcore.h>
#include <rte_malloc.h>

#include "hvbench.h"

volatile bool hvb_quit;

static const struct {
	const char *name;
	enum hvb_mode mode;
} modes[] = {
	{ "rx", HVB_RX },     { "tx", HVB_TX },		  { "fwd", HVB_FWD },
	{ "idle", HVB_IDLE }, { "latency", HVB_LATENCY }, { "restart", HVB_RESTART },
};

static void
usage(FILE *f)
{
	fprintf(f,
		"usage: hvbench [EAL arguments] -- --mode MODE [options]\n"
		"\n"
		"  --mode MODE      rx, tx, fwd (MAC swap), idle (nobody sends), latency (echoing\n"
		"                   peer), restart\n"
		"  --port N         ethdev port (default: the first)\n"
		"  --size BYTES     frame without FCS, for tx and latency (default 64)\n"
		"  --burst N        packets a burst (default 32)\n"
		"  --queues N       of which the first is used (default 1)\n"
		"  --rxd N, --txd N descriptors (default: the driver's)\n"
		"  --mbufs N        in the pool (default 16384)\n"
		"  --seconds S      of measurement (default 2; 0 with --packets)\n"
		"  --warmup S       before it (default 0.2)\n"
		"  --packets N      stop after so many\n"
		"  --rest US        sleep after a burst that moved nothing\n"
		"  --rate N         latency: frames a second (default 10000)\n"
		"  --split          receive on the main lcore, transmit on the next\n"
		"  --json FILE      write the result there\n");
}

static double
number(const char *name, const char *text, double min, double max)
{
	char *end;
	double v = strtod(text, &end);

	if (*text == '\0' || *end != '\0' || v < min || v > max) {
		fprintf(stderr, "hvbench: --%s takes a number from %g to %g, not \"%s\"\n", name,
			min, max, text);
		exit(2);
	}
	return v;
}

static void
set_mode(struct hvb_options *opt, const char *text)
{
	for (size_t i = 0; i < RTE_DIM(modes); i++) {
		if (strcmp(modes[i].name, text) == 0) {
			opt->mode = modes[i].mode;
			opt->mode_name = modes[i].name;
			return;
		}
	}
	fprintf(stderr, "hvbench: unknown mode \"%s\"\n", text);
	exit(2);
}

static void
parse(int argc, char **argv, struct hvb_options *opt)
{
	static const struct option longs[] = {
		{ "mode", required_argument, NULL, 'm' },
		{ "port", required_argument, NULL, 'p' },
		{ "size", required_argument, NULL, 's' },
		{ "burst", required_argument, NULL, 'b' },
		{ "queues", required_argument, NULL, 'q' },
		{ "rxd", required_argument, NULL, 'r' },
		{ "txd", required_argument, NULL, 't' },
		{ "mbufs", required_argument, NULL, 'n' },
		{ "seconds", required_argument, NULL, 'd' },
		{ "warmup", required_argument, NULL, 'w' },
		{ "packets", required_argument, NULL, 'c' },
		{ "rate", required_argument, NULL, 'R' },
		{ "rest", required_argument, NULL, 'e' },
		{ "split", no_argument, NULL, 'S' },
		{ "json", required_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c, at;

	while ((c = getopt_long(argc, argv, "", longs, &at)) != -1) {
		switch (c) {
		case 'm':
			set_mode(opt, optarg);
			break;
		case 'p':
			opt->port = (uint16_t)number("port", optarg, 0, RTE_MAX_ETHPORTS - 1);
			break;
		case 's':
			opt->size = (uint16_t)number("size", optarg, 60, 9216);
			break;
		case 'b':
			opt->burst = (uint16_t)number("burst", optarg, 1, HVB_BURST_MAX);
			break;
		case 'q':
			opt->queues = (uint16_t)number("queues", optarg, 1, 64);
			break;
		case 'r':
			opt->rxd = (uint16_t)number("rxd", optarg, 1, 65535);
			break;
		case 't':
			opt->txd = (uint16_t)number("txd", optarg, 1, 65535);
			break;
		case 'n':
			opt->mbufs = (uint32_t)number("mbufs", optarg, 512, 1 << 24);
			break;
		case 'd':
			opt->seconds = number("seconds", optarg, 0, 86400);
			break;
		case 'w':
			opt->warmup = number("warmup", optarg, 0, 3600);
			break;
		case 'c':
			opt->packets = (uint64_t)number("packets", optarg, 0, 1e15);
			break;
		case 'R':
			opt->rate = (uint32_t)number("rate", optarg, 1, 1e7);
			break;
		case 'e':
			opt->rest_us = (uint32_t)number("rest", optarg, 0, 1e6);
			break;
		case 'S':
			opt->split = true;
			break;
		case 'j':
			opt->json = optarg;
			break;
		case 'h':
			usage(stdout);
			exit(0);
		default:
			usage(stderr);
			exit(2);
		}
	}
	if (optind != argc || opt->mode_name == NULL ||
	    (opt->seconds == 0 && opt->packets == 0 && opt->mode != HVB_RESTART)) {
		usage(stderr);
		exit(2);
	}
}

static void
on_signal(int sig)
{
	(void)sig;
	hvb_quit = true;
}

static uint64_t
heap_used(void)
{
	struct rte_malloc_socket_stats st;
	uint64_t sum = 0;

	for (unsigned int i = 0; i < rte_socket_count(); i++) {
		if (rte_malloc_get_socket_stats(rte_socket_id_by_idx(i), &st) == 0)
			sum += st.heap_allocsz_bytes;
	}
	return sum;
}

static double
since_ms(uint64_t start)
{
	return (double)(rte_rdtsc() - start) * 1e3 / (double)rte_get_tsc_hz();
}

static int
fail(const char *what, int rc)
{
	fprintf(stderr, "hvbench: %s: %s\n", what, rte_strerror(-rc));
	return rc;
}

static int
start_port(struct hvb_options *opt, struct rte_mempool *mp)
{
	struct rte_eth_conf conf = { 0 };
	struct rte_eth_dev_info info;
	int rc = rte_eth_dev_info_get(opt->port, &info);

	if (rc != 0)
		return fail("no such port", rc);
	if (opt->size + RTE_ETHER_CRC_LEN > RTE_ETHER_MAX_LEN)
		conf.rxmode.mtu = opt->size - RTE_ETHER_HDR_LEN;
	conf.txmode.offloads = info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
	rc = rte_eth_dev_configure(opt->port, opt->queues, opt->queues, &conf);
	if (rc != 0)
		return fail("configure", rc);
	if (opt->rxd == 0)
		opt->rxd = info.default_rxportconf.ring_size ? info.default_rxportconf.ring_size
							     : 1024;
	if (opt->txd == 0)
		opt->txd = info.default_txportconf.ring_size ? info.default_txportconf.ring_size
							     : 1024;
	rc = rte_eth_dev_adjust_nb_rx_tx_desc(opt->port, &opt->rxd, &opt->txd);
	if (rc != 0)
		return fail("descriptors", rc);
	info.default_txconf.offloads = conf.txmode.offloads;
	for (uint16_t i = 0; i < opt->queues; i++) {
		rc = rte_eth_rx_queue_setup(opt->port, i, opt->rxd,
					    rte_eth_dev_socket_id(opt->port), &info.default_rxconf,
					    mp);
		if (rc != 0)
			return fail("receive queue", rc);
		rc = rte_eth_tx_queue_setup(opt->port, i, opt->txd,
					    rte_eth_dev_socket_id(opt->port), &info.default_txconf);
		if (rc != 0)
			return fail("transmit queue", rc);
	}
	rc = rte_eth_dev_start(opt->port);
	if (rc != 0)
		return fail("start", rc);
	rte_eth_promiscuous_enable(opt->port);
	return 0;
}

static int
run_restart(struct hvb_options *opt, struct hvb_result *res)
{
	uint64_t t = rte_rdtsc();
	int rc = rte_eth_dev_stop(opt->port);

	if (rc != 0)
		return fail("stop", rc);
	res->stop_ms = since_ms(t);
	t = rte_rdtsc();
	rc = rte_eth_dev_start(opt->port);
	if (rc != 0)
		return fail("start again", rc);
	res->start_ms = since_ms(t);
	return 0;
}

static int
run(struct hvb_options *opt, struct hvb_result *res)
{
	uint64_t before = heap_used();
	uint32_t buf = RTE_PKTMBUF_HEADROOM + RTE_MAX(2048u, (uint32_t)opt->size + 64);
	struct rte_mempool *mp = rte_pktmbuf_pool_create("hvbench", opt->mbufs, 512, 0,
							 (uint16_t)buf, SOCKET_ID_ANY);
	uint64_t pool;
	int rc;

	if (mp == NULL)
		return fail("mbuf pool", -rte_errno);
	pool = heap_used() - before;
	rc = start_port(opt, mp);
	if (rc != 0)
		return rc;
	res->heap_bytes = heap_used() - pool;
	if (opt->mode == HVB_LATENCY)
		rc = hvb_run_latency(opt, mp, res);
	else if (opt->mode == HVB_RESTART)
		rc = run_restart(opt, res);
	else
		rc = hvb_run_traffic(opt, mp, res);
	if (rc != 0)
		return rc;
	rc = hvb_report(opt, res);
	rte_eth_dev_stop(opt->port);
	rte_eth_dev_close(opt->port);
	return rc;
}

int
main(int argc, char **argv)
{
	struct hvb_options opt = {
		.port = UINT16_MAX,
		.size = 64,
		.burst = 32,
		.queues = 1,
		.mbufs = 16384,
		.seconds = 2,
		.warmup = 0.2,
		.rate = 10000,
	};
	static struct hvb_result res;
	uint64_t t = rte_rdtsc();
	int n = rte_eal_init(argc, argv), rc;

	if (n < 0)
		return 1;
	res.probe_ms = since_ms(t);
	parse(argc - n, argv + n, &opt);
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	if (opt.port == UINT16_MAX)
		opt.port = (uint16_t)rte_eth_find_next_owned_by(0, RTE_ETH_DEV_NO_OWNER);
	if (!rte_eth_dev_is_valid_port(opt.port)) {
		fprintf(stderr, "hvbench: no port: name a device by EAL arguments\n");
		rc = -ENODEV;
	} else {
		rc = run(&opt, &res);
	}
	rte_eal_cleanup();
	return rc == 0 ? 0 : 1;
}
