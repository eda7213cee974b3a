/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hvbench: what a driver costs per packet, through the ethdev API only. The driver under test
 * is chosen by EAL arguments, so that the same binary measures any of them.
 *
 * Cycles are counted inside the burst calls and nowhere else: making, touching and freeing
 * packets is not the driver's cost.
 */
#ifndef HVBENCH_H
#define HVBENCH_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_ethdev.h>
#include <rte_mbuf.h>

#define HVB_BURST_MAX 512

enum hvb_mode { HVB_RX, HVB_TX, HVB_FWD, HVB_IDLE, HVB_LATENCY, HVB_RESTART };

struct hvb_options {
	enum hvb_mode mode;
	const char *mode_name;
	uint16_t port;
	uint16_t size; /* frame bytes without FCS, transmit and latency modes */
	uint16_t burst;
	uint16_t queues; /* set up; only the first is polled */
	uint16_t rxd, txd;
	uint32_t mbufs;
	double seconds; /* of measurement; 0 = until packets */
	double warmup;
	uint64_t packets; /* stop after so many; 0 = no limit */
	uint32_t rate;	  /* latency mode: frames a second */
	uint32_t rest_us; /* after a burst that moved nothing, for a host that is behind */
	bool split;	  /* receive and transmit of the queue on different lcores */
	const char *json;
};

/* Counted on one lcore; bursts that moved nothing are kept apart. */
struct hvb_side {
	uint64_t bursts;
	uint64_t empty;
	uint64_t packets;
	uint64_t cycles;       /* in bursts that moved packets */
	uint64_t empty_cycles; /* in bursts that did not */
} __rte_cache_aligned;

/* Latency histogram: 2^-4 relative resolution over the range of u64 nanoseconds. */
#define HVB_HIST_SUB   16
#define HVB_HIST_SLOTS (64 * HVB_HIST_SUB)

struct hvb_result {
	struct hvb_side rx;
	struct hvb_side tx;
	double seconds;
	uint64_t lost; /* latency mode: sent and not seen again */
	uint64_t hist[HVB_HIST_SLOTS];
	double stop_ms, start_ms, probe_ms; /* restart mode */
	uint64_t heap_bytes;		    /* DPDK memory with a started port, mempool excluded */
};

extern volatile bool hvb_quit;

/* The two calls under test, never inlined, so that an instruction counter can be told to
 * collect in them alone. */
uint16_t hvb_rx_burst(uint16_t port, struct rte_mbuf **pkts, uint16_t n);
uint16_t hvb_tx_burst(uint16_t port, struct rte_mbuf **pkts, uint16_t n);

/* Run a mode on a started port. 0, or a negative errno. */
int hvb_run_traffic(const struct hvb_options *opt, struct rte_mempool *mp, struct hvb_result *res);
int hvb_run_latency(const struct hvb_options *opt, struct rte_mempool *mp, struct hvb_result *res);

/* Make n UDP frames of opt->size; all or none (false). */
bool hvb_make_frames(const struct hvb_options *opt, struct rte_mempool *mp, struct rte_mbuf **pkts,
		     unsigned int n);

/* Print a result for people, and as JSON into opt->json. */
int hvb_report(const struct hvb_options *opt, const struct hvb_result *res);

#endif /* HVBENCH_H */
