/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A lock in memory that processes share, which outlives a holder that was killed: it names the
 * process that has it, and whoever finds that process gone takes it over. What it protects may
 * then be half changed; the taker repairs that. Nobody waits for it without end: a holder may
 * also be stopped.
 */
#ifndef HVN_LOCK_H
#define HVN_LOCK_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_common.h>

#include "hvn_process.h"

#define HVN_LOCK_SPINS 65536u /* far longer than any burst holds a lock, some 100 us */

struct hvn_lock {
	uint32_t owner; /* a mark, 0: free */
};

static __rte_always_inline bool
hvn_lock_try(struct hvn_lock *l)
{
	uint32_t nobody = 0;

	return __atomic_compare_exchange_n(&l->owner, &nobody, hvn_process_self, false,
					   __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static __rte_always_inline void
hvn_lock_release(struct hvn_lock *l)
{
	__atomic_store_n(&l->owner, 0, __ATOMIC_RELEASE);
}

/* How a lock was got. */
enum hvn_lock_rc {
	HVN_LOCK_NO,
	HVN_LOCK_YES,
	HVN_LOCK_TAKEN_OVER, /* from a process that is gone: repair */
};

/* Does a process that is gone hold it? Then we do now. */
bool hvn_lock_take_over(struct hvn_lock *l);

/* Try for so long, asleep between tries; not for bursts. */
enum hvn_lock_rc hvn_lock_wait(struct hvn_lock *l, unsigned int ms);

/* Try for a short while, as a burst may. */
enum hvn_lock_rc hvn_lock_spin(struct hvn_lock *l);

#endif /* HVN_LOCK_H */
