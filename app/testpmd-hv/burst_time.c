/* SPDX-License-Identifier: BSD-3-Clause */
/* How long single calls of the burst functions take (--time-bursts). */
#include <sys/resource.h>

#include <rte_cycles.h>

#include "burst_time.h"

/* How often the system took this thread's processor away while it could have run. */
static long
preemptions(void)
{
	struct rusage u;

	return getrusage(RUSAGE_THREAD, &u) == 0 ? u.ru_nivcsw : 0;
}

static void
note(struct tp_burst_time *t, uint64_t start, long before)
{
	uint64_t cycles = rte_rdtsc() - start;

	if (cycles > t->longest)
		t->longest = cycles;
	/* Taken away in between, a call lasts as long as the system likes. */
	if (cycles > t->longest_alone && preemptions() == before)
		t->longest_alone = cycles;
}

uint16_t
burst_time_rx(struct tp_stream *s, struct rte_mbuf **pkts, uint16_t n)
{
	long before = preemptions();
	uint64_t start = rte_rdtsc();
	uint16_t got = rte_eth_rx_burst(s->rx_port, s->rx_queue, pkts, n);

	note(&s->time, start, before);
	return got;
}

uint16_t
burst_time_tx(struct tp_stream *s, struct rte_mbuf **pkts, uint16_t n)
{
	long before = preemptions();
	uint64_t start = rte_rdtsc();
	uint16_t sent = rte_eth_tx_burst(s->tx_port, s->tx_queue, pkts, n);

	note(&s->time, start, before);
	return sent;
}

void
burst_time_join(struct tp_burst_time *to, const struct tp_burst_time *from)
{
	/* The stream's lcore may be running. */
	uint64_t longest = __atomic_load_n(&from->longest, __ATOMIC_RELAXED);
	uint64_t alone = __atomic_load_n(&from->longest_alone, __ATOMIC_RELAXED);

	to->longest = RTE_MAX(to->longest, longest);
	to->longest_alone = RTE_MAX(to->longest_alone, alone);
}

double
burst_time_us(uint64_t cycles)
{
	return (double)cycles * 1e6 / (double)rte_get_tsc_hz();
}
