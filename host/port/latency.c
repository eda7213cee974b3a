/* SPDX-License-Identifier: BSD-3-Clause */
#include "latency.h"

static uint64_t
bucket_end(unsigned int i)
{
	unsigned int shift;

	if (i < 2 * LATENCY_SUB)
		return i;
	shift = i / LATENCY_SUB - 1;
	return ((uint64_t)(i - shift * LATENCY_SUB + 1) << shift) - 1;
}

uint64_t
latency_quantile(const struct latency *l, unsigned int permille)
{
	uint64_t rank = l->n / 1000 * permille + (l->n % 1000 * permille + 999) / 1000, seen = 0;

	for (unsigned int i = 0; i < LATENCY_BUCKETS; i++) {
		seen += l->bucket[i];
		if (seen >= rank && seen != 0)
			return bucket_end(i) < l->max ? bucket_end(i) : l->max;
	}
	return l->max;
}

json_t *
latency_json(const struct latency *l)
{
	if (l->n == 0)
		return json_object();
	return json_pack("{sI sI sI sI sI sI}", "min", (json_int_t)l->min, "avg",
			 (json_int_t)(l->sum / l->n), "p50", (json_int_t)latency_quantile(l, 500),
			 "p99", (json_int_t)latency_quantile(l, 990), "p999",
			 (json_int_t)latency_quantile(l, 999), "max", (json_int_t)l->max);
}
