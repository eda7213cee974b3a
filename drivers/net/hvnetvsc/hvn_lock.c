/* SPDX-License-Identifier: BSD-3-Clause */
#include <rte_cycles.h>
#include <rte_pause.h>

#include "hvn_lock.h"

bool
hvn_lock_take_over(struct hvn_lock *l)
{
	uint32_t owner = __atomic_load_n(&l->owner, __ATOMIC_RELAXED);

	if (!hvn_process_gone(owner))
		return false;
	return __atomic_compare_exchange_n(&l->owner, &owner, hvn_process_self, false,
					   __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

enum hvn_lock_rc
hvn_lock_wait(struct hvn_lock *l, unsigned int ms)
{
	const uint64_t since = rte_rdtsc();

	while (!hvn_lock_try(l)) {
		if (hvn_lock_take_over(l))
			return HVN_LOCK_TAKEN_OVER;
		if (hvn_process_late(__atomic_load_n(&l->owner, __ATOMIC_RELAXED), since, ms))
			return HVN_LOCK_NO;
		rte_delay_us_sleep(20);
	}
	return HVN_LOCK_YES;
}

enum hvn_lock_rc
hvn_lock_spin(struct hvn_lock *l)
{
	for (uint32_t i = 0; i < HVN_LOCK_SPINS; i++) {
		if (hvn_lock_try(l))
			return HVN_LOCK_YES;
		rte_pause();
	}
	return hvn_lock_take_over(l) ? HVN_LOCK_TAKEN_OVER : HVN_LOCK_NO;
}
