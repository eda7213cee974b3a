/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a burst pays for it that there might be a VF: hvpath. TSC cycles a call, the least of many
 * rounds, of the burst functions and of what they call when there is none, on a queue with nothing
 * to do. Exits with 1 if the difference is above LIMIT.
 */
#include <stdio.h>

#include "../test/unit/datapath_fixture.h"

#define CALLS  100000u
#define ROUNDS 400u
#define LIMIT  5.0

enum callee { RX_BURST, RX_ALONE, TX_BURST, TX_ALONE, CALLEES };

/* Its own loop for each, so that nothing else differs. */
static uint64_t
time_of(enum callee what)
{
	struct rte_mbuf *m[BURST];
	uint64_t start = rte_rdtsc();

	if (what == RX_BURST)
		for (uint32_t i = 0; i < CALLS; i++)
			hvn_rx_burst(fx.rxq, m, BURST);
	else if (what == RX_ALONE)
		for (uint32_t i = 0; i < CALLS; i++)
			hvn_rx_poll(fx.rxq, m, BURST);
	else if (what == TX_BURST)
		for (uint32_t i = 0; i < CALLS; i++)
			hvn_tx_burst(fx.txq, m, 0);
	else
		for (uint32_t i = 0; i < CALLS; i++)
			hvn_tx_synthetic(fx.txq, m, 0);
	return rte_rdtsc() - start;
}

int
main(void)
{
	uint64_t least[CALLEES] = { UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX };
	double cycles[CALLEES], more[2];
	void *state = NULL;

	if (fx_eal() != 0)
		return 1;
	fx_big(&state);
	/* In turn: the machine is not always as fast. */
	for (uint32_t round = 0; round < ROUNDS; round++)
		for (int what = 0; what < CALLEES; what++)
			least[what] = RTE_MIN(least[what], time_of((enum callee)what));
	fx_close(&state);
	for (int what = 0; what < CALLEES; what++)
		cycles[what] = (double)least[what] / CALLS;
	for (int way = 0; way < 2; way++) {
		more[way] = cycles[2 * way] - cycles[2 * way + 1];
		printf("%s burst with nothing to do: %.1f cycles, without the check of the path "
		       "%.1f: it costs %.1f\n",
		       way == 0 ? "receive" : "transmit", cycles[2 * way], cycles[2 * way + 1],
		       more[way]);
	}
	return more[0] > LIMIT || more[1] > LIMIT;
}
