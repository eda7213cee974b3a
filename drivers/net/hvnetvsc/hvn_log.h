/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef HVN_LOG_H
#define HVN_LOG_H

#include <rte_cycles.h>
#include <rte_log.h>

extern int hvn_logtype;

/* One line of log: HVN_LOG(ERR, "port %u: ...", id). */
#define HVN_LOG(level, fmt, ...) \
	rte_log(RTE_LOG_##level, hvn_logtype, "hvnetvsc: " fmt "\n", ##__VA_ARGS__)

/* Timer cycles as microseconds. */
static inline uint64_t
hvn_us(uint64_t cycles)
{
	return cycles * 1000000 / rte_get_timer_hz();
}

#endif /* HVN_LOG_H */
