/* SPDX-License-Identifier: BSD-3-Clause */
/* A histogram of nanoseconds whose buckets are at most 1/32 of their value wide. */
#ifndef HOST_LATENCY_H
#define HOST_LATENCY_H

#include <stdint.h>
#include <jansson.h>

#define LATENCY_SUB_LOG 5
#define LATENCY_SUB	(1u << LATENCY_SUB_LOG) /* buckets per power of two */
#define LATENCY_BUCKETS ((65 - LATENCY_SUB_LOG) * LATENCY_SUB)

struct latency {
	uint64_t n;
	uint64_t sum;
	uint64_t min;
	uint64_t max;
	uint64_t bucket[LATENCY_BUCKETS];
};

static inline unsigned int
latency_index(uint64_t ns)
{
	unsigned int shift;

	if (ns < 2 * LATENCY_SUB)
		return (unsigned int)ns;
	shift = 63u - LATENCY_SUB_LOG - (unsigned int)__builtin_clzll(ns);
	return shift * LATENCY_SUB + (unsigned int)(ns >> shift);
}

static inline void
latency_add(struct latency *l, uint64_t ns)
{
	if (l->n == 0 || ns < l->min)
		l->min = ns;
	if (ns > l->max)
		l->max = ns;
	l->n++;
	l->sum += ns;
	l->bucket[latency_index(ns)]++;
}

/* Upper end of the bucket that holds the quantile (per mille), never above the maximum. */
uint64_t latency_quantile(const struct latency *l, unsigned int permille);

/* {"min": ..., "avg", "p50", "p99", "p999", "max"} in ns; empty without a sample. */
json_t *latency_json(const struct latency *l);

#endif /* HOST_LATENCY_H */
