/* SPDX-License-Identifier: BSD-3-Clause */
#include <rte_cycles.h>

#include "hvn_hurry.h"

#define LATE_LEAST_MS 10u
#define LATE_FOR_MS   5000u

static uint64_t
ms_to_cycles(uint32_t ms)
{
	return ms * rte_get_timer_hz() / 1000;
}

/* Another port may have been late a moment behind `now`: never far in the future, then. */
static bool
silent(uint64_t last, uint64_t now)
{
	return last != 0 && (int64_t)(now - last) < (int64_t)ms_to_cycles(LATE_FOR_MS);
}

uint32_t
hvn_hurry_ms(const struct hvn_port *p)
{
	const struct hv_vmbus_host *h = hvn_vdev(p)->host;
	uint64_t last = __atomic_load_n(&h->late_at, __ATOMIC_RELAXED);
	uint32_t n = __atomic_load_n(&h->late, __ATOMIC_RELAXED);
	uint32_t ms = p->args.stop_timeout_ms;

	if (!silent(last, rte_get_timer_cycles()))
		return ms;
	/* A quarter each time: all ports together wait little longer than the first. */
	return RTE_MAX(ms >> (2 * RTE_MIN(n, 8u)), RTE_MIN(ms, LATE_LEAST_MS));
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

bool
hvn_hurried(const struct hvn_port *p)
{
	return __atomic_load_n(&p->hurry_until, __ATOMIC_RELAXED) != 0;
}

uint64_t
hvn_hurry_alone(struct hvn_port *p)
{
	uint64_t until = rte_get_timer_cycles() + ms_to_cycles(hvn_hurry_ms(p)), none = 0;

	return __atomic_compare_exchange_n(&p->hurry_until, &none, until, false, __ATOMIC_RELAXED,
					   __ATOMIC_RELAXED)
		       ? until
		       : 0;
}

void
hvn_hurry_alone_end(struct hvn_port *p, uint64_t until)
{
	/* 0 is found by who found another one's, and changes nothing. */
	__atomic_compare_exchange_n(&p->hurry_until, &until, 0, false, __ATOMIC_RELAXED,
				    __ATOMIC_RELAXED);
}

uint32_t
hvn_hurry_left(const struct hvn_port *p)
{
	uint64_t now = rte_get_timer_cycles();

	if (p->hurry_until <= now)
		return 1;
	return (uint32_t)((p->hurry_until - now) * 1000 / rte_get_timer_hz()) + 1;
}

void
hvn_hurry_late(struct hvn_port *p)
{
	struct hv_vmbus_host *h = hvn_vdev(p)->host;
	uint64_t now = rte_get_timer_cycles();
	uint64_t last = __atomic_exchange_n(&h->late_at, now, __ATOMIC_RELAXED);
	uint32_t spell;

	if (!silent(last, now)) {
		__atomic_store_n(&h->late, 0, __ATOMIC_RELAXED);
		__atomic_add_fetch(&h->spell, 1, __ATOMIC_RELAXED);
	}
	/* A port that closes finds it out three times, and tells the others no more than once. */
	spell = __atomic_load_n(&h->spell, __ATOMIC_RELAXED);
	if (__atomic_exchange_n(&p->late_in, spell, __ATOMIC_RELAXED) != spell)
		__atomic_add_fetch(&h->late, 1, __ATOMIC_RELAXED);
}

void
hvn_hurry_answered(struct hvn_port *p)
{
	struct hv_vmbus_host *h = hvn_vdev(p)->host;

	if (__atomic_load_n(&h->late_at, __ATOMIC_RELAXED) != 0)
		__atomic_store_n(&h->late_at, 0, __ATOMIC_RELAXED);
}

bool
hvn_hurry_over(struct hvn_port *p, uint64_t until)
{
	uint64_t hurry = __atomic_load_n(&p->hurry_until, __ATOMIC_RELAXED);
	uint64_t now = rte_get_timer_cycles();

	if (hurry == 0 || now < hurry)
		return now >= until;
	hvn_hurry_late(p);
	return true;
}
