/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <rte_cycles.h>

#include "hvbench.h"

static double
ratio(uint64_t a, uint64_t b)
{
	return b == 0 ? 0 : (double)a / (double)b;
}

/* Lower bound of a histogram slot. */
static uint64_t
slot_value(unsigned int slot)
{
	unsigned int power = slot / HVB_HIST_SUB;

	if (power == 0)
		return slot;
	return (uint64_t)(HVB_HIST_SUB + slot % HVB_HIST_SUB) << (power - 1);
}

static uint64_t
percentile(const struct hvb_result *res, double p)
{
	uint64_t total = 0, seen = 0;

	for (unsigned int i = 0; i < HVB_HIST_SLOTS; i++)
		total += res->hist[i];
	for (unsigned int i = 0; i < HVB_HIST_SLOTS; i++) {
		seen += res->hist[i];
		if (total != 0 && (double)seen >= (double)total * p)
			return slot_value(i);
	}
	return 0;
}

static void
json_side(FILE *f, const char *name, const struct hvb_side *s)
{
	fprintf(f,
		"  \"%s\": {\"packets\": %" PRIu64 ", \"bursts\": %" PRIu64 ", \"empty\": %" PRIu64
		", \"cycles_per_packet\": %.2f, \"packets_per_burst\": %.2f, "
		"\"cycles_per_empty_poll\": %.2f},\n",
		name, s->packets, s->bursts, s->empty, ratio(s->cycles, s->packets),
		ratio(s->packets, s->bursts - s->empty), ratio(s->empty_cycles, s->empty));
}

static int
write_json(const struct hvb_options *opt, const struct hvb_result *res)
{
	struct rte_eth_stats stats = { 0 };
	struct rte_eth_dev_info info;
	FILE *f = fopen(opt->json, "w");

	if (f == NULL) {
		fprintf(stderr, "hvbench: cannot write %s: %s\n", opt->json, strerror(errno));
		return -errno;
	}
	rte_eth_stats_get(opt->port, &stats);
	if (rte_eth_dev_info_get(opt->port, &info) != 0)
		info.driver_name = "unknown";
	fprintf(f, "{\n  \"driver\": \"%s\", \"mode\": \"%s\", \"size\": %u, \"burst\": %u,\n",
		info.driver_name, opt->mode_name, opt->size, opt->burst);
	fprintf(f, "  \"seconds\": %.6f, \"tsc_hz\": %" PRIu64 ",\n", res->seconds,
		rte_get_tsc_hz());
	json_side(f, "rx", &res->rx);
	json_side(f, "tx", &res->tx);
	fprintf(f,
		"  \"imissed\": %" PRIu64 ", \"ierrors\": %" PRIu64 ", \"rx_nombuf\": %" PRIu64
		", \"oerrors\": %" PRIu64 ",\n",
		stats.imissed, stats.ierrors, stats.rx_nombuf, stats.oerrors);
	fprintf(f,
		"  \"latency_ns\": {\"p50\": %" PRIu64 ", \"p99\": %" PRIu64 ", \"p9999\": %" PRIu64
		", \"lost\": %" PRIu64 "},\n",
		percentile(res, 0.5), percentile(res, 0.99), percentile(res, 0.9999), res->lost);
	fprintf(f,
		"  \"restart_ms\": {\"probe\": %.3f, \"stop\": %.3f, \"start\": %.3f},\n"
		"  \"heap_bytes\": %" PRIu64 "\n}\n",
		res->probe_ms, res->stop_ms, res->start_ms, res->heap_bytes);
	return fclose(f) == 0 ? 0 : -errno;
}

static void
print_side(const char *name, const struct hvb_side *s, double seconds)
{
	if (s->bursts == 0)
		return;
	printf("%s: %" PRIu64 " packets, %.3f Mpps, %.1f cycles/packet, %.1f packets/burst, "
	       "%.1f cycles/empty poll\n",
	       name, s->packets, (double)s->packets / seconds / 1e6, ratio(s->cycles, s->packets),
	       ratio(s->packets, s->bursts - s->empty), ratio(s->empty_cycles, s->empty));
}

int
hvb_report(const struct hvb_options *opt, const struct hvb_result *res)
{
	print_side("rx", &res->rx, res->seconds);
	print_side("tx", &res->tx, res->seconds);
	if (opt->mode == HVB_LATENCY)
		printf("latency: %" PRIu64 " round trips, p50 %" PRIu64 " ns, p99 %" PRIu64
		       " ns, p99.99 %" PRIu64 " ns, %" PRIu64 " lost\n",
		       res->rx.packets, percentile(res, 0.5), percentile(res, 0.99),
		       percentile(res, 0.9999), res->lost);
	if (opt->mode == HVB_RESTART)
		printf("restart: probe %.3f ms, stop %.3f ms, start %.3f ms\n", res->probe_ms,
		       res->stop_ms, res->start_ms);
	printf("memory: %" PRIu64
	       " bytes of DPDK heap with the port started, without its mempool\n",
	       res->heap_bytes);
	return opt->json != NULL ? write_json(opt, res) : 0;
}
