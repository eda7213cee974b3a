/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How long single calls of the burst functions take (--time-bursts). Costs a system call for each
 * of them: not for measurements of speed.
 */
#ifndef BURST_TIME_H
#define BURST_TIME_H

#include "testpmd_hv.h"

uint16_t burst_time_rx(struct tp_stream *s, struct rte_mbuf **pkts, uint16_t n);
uint16_t burst_time_tx(struct tp_stream *s, struct rte_mbuf **pkts, uint16_t n);

/* The longer of both. */
void burst_time_join(struct tp_burst_time *to, const struct tp_burst_time *from);

double burst_time_us(uint64_t cycles);

#endif /* BURST_TIME_H */
