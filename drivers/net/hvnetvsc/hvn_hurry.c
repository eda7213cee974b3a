/* SPDX-License-Identifier: BSD-3-Clause */
#include <rte_cycles.h>

#include "hvn_hurry.h"

#define GAVE_UP_MS  100u  /* patience with hosts after one has let a port wait in vain */
#define GAVE_UP_FOR 5000u /* milliseconds */

/* When a stop or a close last gave a host up, in cycles. Of all ports. */
static uint64_t gave_up;

static uint64_t
ms_to_cycles(uint32_t ms)
{
	return ms * rte_get_timer_hz() / 1000;
}

uint32_t
hvn_hurry_ms(const struct hvn_port *p)
{
	uint64_t last = __atomic_load_n(&gave_up, __ATOMIC_RELAXED);
	uint32_t ms = p->args.stop_timeout_ms;

	if (last != 0 && rte_get_timer_cycles() - last < ms_to_cycles(GAVE_UP_FOR))
		ms = RTE_MIN(ms, GAVE_UP_MS);
	return ms;
}

void
hvn_hurry(struct hvn_port *p)
{
	uint64_t until = rte_get_timer_cycles() + ms_to_cycles(hvn_hurry_ms(p));

	__atomic_store_n(&p->hurry_until, until, __ATOMIC_RELAXED);
}

void
hvn_hurry_end(struct hvn_port *p)
{
	__atomic_store_n(&p->hurry_until, 0, __ATOMIC_RELAXED);
}

uint32_t
hvn_hurry_left(const struct hvn_port *p)
{
	uint64_t now = rte_get_timer_cycles();

	if (p->hurry_until <= now)
		return 1;
	return (uint32_t)((p->hurry_until - now) * 1000 / rte_get_timer_hz()) + 1;
}

bool
hvn_hurry_over(const struct hvn_port *p, uint64_t until)
{
	uint64_t hurry = __atomic_load_n(&p->hurry_until, __ATOMIC_RELAXED);
	uint64_t now = rte_get_timer_cycles();

	if (hurry != 0 && now >= hurry) {
		__atomic_store_n(&gave_up, now, __ATOMIC_RELAXED);
		return true;
	}
	return now >= until;
}
