/* SPDX-License-Identifier: BSD-3-Clause */
/* Modes rx, tx, fwd and idle: bursts in a loop, the cycles inside them counted. */
#include <errno.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_udp.h>

#include "hvbench.h"

/* Look at the clock once per so many bursts. */
#define BURSTS_PER_CHECK 64

__rte_noinline uint16_t
hvb_rx_burst(uint16_t port, struct rte_mbuf **pkts, uint16_t n)
{
	return rte_eth_rx_burst(port, 0, pkts, n);
}

__rte_noinline uint16_t
hvb_tx_burst(uint16_t port, struct rte_mbuf **pkts, uint16_t n)
{
	return rte_eth_tx_burst(port, 0, pkts, n);
}

static inline void
count(const struct hvb_options *opt, struct hvb_side *side, uint16_t n, uint64_t cycles)
{
	side->bursts++;
	if (n == 0) {
		side->empty++;
		side->empty_cycles += cycles;
		if (opt->rest_us != 0)
			rte_delay_us_sleep(opt->rest_us);
		return;
	}
	side->packets += n;
	side->cycles += cycles;
}

static inline uint16_t
timed_rx(const struct hvb_options *opt, struct hvb_side *side, struct rte_mbuf **pkts)
{
	uint64_t start = rte_rdtsc_precise();
	uint16_t n = hvb_rx_burst(opt->port, pkts, opt->burst);

	count(opt, side, n, rte_rdtsc_precise() - start);
	return n;
}

static inline uint16_t
timed_tx(const struct hvb_options *opt, struct hvb_side *side, struct rte_mbuf **pkts, uint16_t n)
{
	uint64_t start = rte_rdtsc_precise();
	uint16_t sent = hvb_tx_burst(opt->port, pkts, n);

	count(opt, side, sent, rte_rdtsc_precise() - start);
	return sent;
}

bool
hvb_make_frames(const struct hvb_options *opt, struct rte_mempool *mp, struct rte_mbuf **pkts,
		unsigned int n)
{
	static const uint8_t dst[6] = { 0x02, 0, 0, 0, 0, 0x01 };
	static const uint8_t src[6] = { 0x02, 0, 0, 0, 0, 0x02 };
	uint16_t ip_len = opt->size - sizeof(struct rte_ether_hdr);

	if (rte_pktmbuf_alloc_bulk(mp, pkts, n) != 0)
		return false;
	for (unsigned int i = 0; i < n; i++) {
		struct rte_ether_hdr *eth = rte_pktmbuf_mtod(pkts[i], struct rte_ether_hdr *);
		struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(eth + 1);
		struct rte_udp_hdr *udp = (struct rte_udp_hdr *)(ip + 1);

		memcpy(&eth->dst_addr, dst, sizeof(dst));
		memcpy(&eth->src_addr, src, sizeof(src));
		eth->ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4);
		memset(ip, 0, sizeof(*ip));
		ip->version_ihl = RTE_IPV4_VHL_DEF;
		ip->total_length = rte_cpu_to_be_16(ip_len);
		ip->time_to_live = 64;
		ip->next_proto_id = IPPROTO_UDP;
		ip->src_addr = rte_cpu_to_be_32(RTE_IPV4(192, 0, 2, 1));
		ip->dst_addr = rte_cpu_to_be_32(RTE_IPV4(192, 0, 2, 2));
		ip->hdr_checksum = rte_ipv4_cksum(ip);
		udp->src_port = rte_cpu_to_be_16(9);
		udp->dst_port = rte_cpu_to_be_16(9);
		udp->dgram_len = rte_cpu_to_be_16(ip_len - sizeof(*ip));
		udp->dgram_cksum = 0;
		pkts[i]->data_len = opt->size;
		pkts[i]->pkt_len = opt->size;
	}
	return true;
}

/* One turn of the loop on this lcore; either side may be somebody else's. */
struct turn {
	const struct hvb_options *opt;
	struct rte_mempool *mp;
	struct hvb_side *rx; /* NULL: not ours */
	struct hvb_side *tx;
	struct rte_mbuf *held[HVB_BURST_MAX]; /* made or received, not yet sent */
	uint16_t n_held;
};

/* Send what is held; what does not fit stays at the front. */
static void
send_held(struct turn *t)
{
	uint16_t sent = timed_tx(t->opt, t->tx, t->held, t->n_held);

	t->n_held -= sent;
	if (t->n_held != 0 && sent != 0)
		memmove(t->held, t->held + sent, t->n_held * sizeof(t->held[0]));
}

static void
turn_tx(struct turn *t)
{
	if (t->n_held == 0) {
		if (!hvb_make_frames(t->opt, t->mp, t->held, t->opt->burst)) {
			/* All frames are under way: let completions come back. */
			timed_tx(t->opt, t->tx, t->held, 0);
			return;
		}
		t->n_held = t->opt->burst;
	}
	send_held(t);
}

static void
turn_rx(struct turn *t)
{
	struct rte_mbuf *pkts[HVB_BURST_MAX];
	uint16_t n = timed_rx(t->opt, t->rx, pkts);

	rte_pktmbuf_free_bulk(pkts, n);
}

static void
swap_macs(struct rte_mbuf *m)
{
	struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
	struct rte_ether_addr tmp = eth->dst_addr;

	eth->dst_addr = eth->src_addr;
	eth->src_addr = tmp;
}

static void
turn_fwd(struct turn *t)
{
	if (t->n_held == 0) {
		t->n_held = timed_rx(t->opt, t->rx, t->held);
		for (uint16_t i = 0; i < t->n_held; i++)
			swap_macs(t->held[i]);
	}
	if (t->n_held != 0)
		send_held(t);
}

/* A clock's reading costs as much as such a poll: one pair of them for many. */
static void
polls(struct turn *t)
{
	struct rte_mbuf *pkts[HVB_BURST_MAX];
	uint64_t start = rte_rdtsc_precise();
	uint16_t n = 0;

	for (int i = 0; i < BURSTS_PER_CHECK && n == 0; i++, t->rx->bursts++)
		n = hvb_rx_burst(t->opt->port, pkts, t->opt->burst);
	if (n == 0) {
		t->rx->empty += BURSTS_PER_CHECK;
		t->rx->empty_cycles += rte_rdtsc_precise() - start;
	}
	rte_pktmbuf_free_bulk(pkts, n);
}

static void
do_turn(struct turn *t)
{
	if (t->rx != NULL && t->tx != NULL && t->opt->mode == HVB_FWD)
		turn_fwd(t);
	else if (t->tx != NULL)
		turn_tx(t);
	else if (t->opt->mode == HVB_IDLE)
		polls(t);
	else
		turn_rx(t);
}

static bool
enough(const struct hvb_options *opt, const struct turn *t)
{
	const struct hvb_side *side = t->rx != NULL ? t->rx : t->tx;

	return opt->packets != 0 && side->packets >= opt->packets;
}

/* Turn until the time or the number of packets is reached; returns the seconds it took. */
static double
loop(struct turn *t, double seconds, bool limited)
{
	uint64_t hz = rte_get_tsc_hz(), start = rte_rdtsc(), now = start;
	uint64_t end = seconds > 0 ? start + (uint64_t)(seconds * (double)hz) : UINT64_MAX;

	while (now < end && !hvb_quit && !(limited && enough(t->opt, t))) {
		for (int i = 0; i < BURSTS_PER_CHECK; i++)
			do_turn(t);
		now = rte_rdtsc();
	}
	return (double)(now - start) / (double)hz;
}

static int
transmitter(void *arg)
{
	struct turn *t = arg;

	if (t->opt->warmup > 0)
		loop(t, t->opt->warmup, false);
	memset(t->tx, 0, sizeof(*t->tx));
	loop(t, t->opt->seconds, true);
	rte_pktmbuf_free_bulk(t->held, t->n_held);
	return 0;
}

int
hvb_run_traffic(const struct hvb_options *opt, struct rte_mempool *mp, struct hvb_result *res)
{
	struct turn here = { .opt = opt, .mp = mp }, there = here;
	unsigned int other = rte_get_next_lcore(-1, 1, 0);

	if (opt->mode != HVB_TX)
		here.rx = &res->rx;
	if (opt->mode == HVB_TX || opt->mode == HVB_FWD)
		here.tx = &res->tx;
	if (opt->split) {
		if (other == RTE_MAX_LCORE)
			return -ENODEV;
		/* Receive here, transmit there: of one queue, as ethdev allows. */
		here.rx = &res->rx;
		here.tx = NULL;
		there.tx = &res->tx;
		rte_eal_remote_launch(transmitter, &there, other);
	}
	if (opt->warmup > 0)
		loop(&here, opt->warmup, false);
	memset(&res->rx, 0, sizeof(res->rx));
	rte_eth_stats_reset(opt->port);
	if (!opt->split)
		memset(&res->tx, 0, sizeof(res->tx));
	res->seconds = loop(&here, opt->seconds, true);
	if (opt->split)
		rte_eal_wait_lcore(other);
	rte_pktmbuf_free_bulk(here.held, here.n_held);
	return 0;
}
