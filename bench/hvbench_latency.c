/* SPDX-License-Identifier: BSD-3-Clause */
/* Mode latency: one frame at a time to an echoing peer; round trips into a histogram. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <rte_cycles.h>

#include "hvbench.h"

/* Behind Ethernet, IPv4 and UDP headers. */
#define STAMP_OFF 42

struct stamp {
	uint64_t magic;
	uint64_t seq;
	uint64_t tsc;
} __rte_packed;

#define STAMP_MAGIC 0x687662656e636831ull

static void
record(struct hvb_result *res, uint64_t ns)
{
	unsigned int msb = ns < HVB_HIST_SUB ? 0 : 63 - (unsigned int)__builtin_clzll(ns);
	unsigned int slot;

	/* Linear below 16 ns, then 16 slots for each power of two. */
	if (msb < 4)
		slot = (unsigned int)ns;
	else
		slot = (msb - 3) * HVB_HIST_SUB + (unsigned int)((ns >> (msb - 4)) & 15);
	res->hist[slot]++;
}

static bool
send_one(const struct hvb_options *opt, struct rte_mempool *mp, struct hvb_result *res)
{
	struct stamp st = { .magic = STAMP_MAGIC, .seq = res->tx.packets };
	struct rte_mbuf *m;

	if (!hvb_make_frames(opt, mp, &m, 1))
		return false;
	st.tsc = rte_rdtsc_precise();
	memcpy(rte_pktmbuf_mtod_offset(m, void *, STAMP_OFF), &st, sizeof(st));
	if (hvb_tx_burst(opt->port, &m, 1) != 1) {
		rte_pktmbuf_free(m);
		return false;
	}
	res->tx.packets++;
	return true;
}

static void
receive(const struct hvb_options *opt, struct hvb_result *res, double ns_per_tsc)
{
	struct rte_mbuf *pkts[HVB_BURST_MAX];
	uint16_t n = hvb_rx_burst(opt->port, pkts, opt->burst);
	uint64_t now = rte_rdtsc_precise();

	for (uint16_t i = 0; i < n; i++) {
		struct stamp st;

		if (pkts[i]->data_len >= STAMP_OFF + sizeof(st)) {
			memcpy(&st, rte_pktmbuf_mtod_offset(pkts[i], void *, STAMP_OFF),
			       sizeof(st));
			if (st.magic == STAMP_MAGIC && st.tsc <= now) {
				record(res, (uint64_t)((double)(now - st.tsc) * ns_per_tsc));
				res->rx.packets++;
			}
		}
	}
	rte_pktmbuf_free_bulk(pkts, n);
}

int
hvb_run_latency(const struct hvb_options *opt, struct rte_mempool *mp, struct hvb_result *res)
{
	uint64_t hz = rte_get_tsc_hz(), start = rte_rdtsc(), now = start, next = start;
	uint64_t gap = hz / opt->rate, end = start + (uint64_t)(opt->seconds * (double)hz);
	double ns_per_tsc = 1e9 / (double)hz;

	if (opt->size < STAMP_OFF + sizeof(struct stamp)) {
		fprintf(stderr, "hvbench: --mode latency needs frames of %zu bytes: --size\n",
			STAMP_OFF + sizeof(struct stamp));
		return -EINVAL;
	}
	while (now < end && !hvb_quit) {
		if (now >= next && send_one(opt, mp, res))
			next += gap;
		receive(opt, res, ns_per_tsc);
		now = rte_rdtsc();
	}
	res->seconds = (double)(now - start) / (double)hz;
	/* What is still under way gets 100 ms. */
	for (end = now + hz / 10; now < end && res->rx.packets < res->tx.packets; now = rte_rdtsc())
		receive(opt, res, ns_per_tsc);
	res->lost = res->tx.packets - res->rx.packets;
	return 0;
}
