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

/*
 * The mark of a process: its id, for which Linux has 22 bits, and above that 9 bits of the time it
 * was started at, which tell it from a later one of the same id; 0 where /proc does not say.
 */
struct hvn_lock {
	uint32_t owner; /* a mark, 0: free */
};

#define HVN_PROCESS_ID_BITS 22

/* A process that others cannot tell dead from alive, because it counts processes by itself. */
#define HVN_LOCK_ALIEN (UINT32_C(1) << 31)

/* Of this process. */
extern uint32_t hvn_lock_self __attribute__((visibility("hidden")));

/*
 * When a port is probed. world: where process ids and times mean what they mean in the primary
 * process (namespaces); 0 in the primary itself. Returns this process's.
 */
uint64_t hvn_lock_init_process(uint64_t world);

/*
 * Take part in the barrier below: in every process that runs bursts, before the first of them. 0, or a
 * negative errno where the kernel, or what confines the process, does not allow membarrier().
 */
int hvn_process_register(void);

/* Every thread of those processes passes a full barrier before this returns. 0 or a negative errno. */
int hvn_process_barrier(void);

/* Can nobody here say whether the process of this mark runs? */
static inline bool
hvn_process_alien(uint32_t mark)
{
	return ((mark | hvn_lock_self) & HVN_LOCK_ALIEN) != 0;
}

/* Its id, for people. */
static inline uint32_t
hvn_process_id(uint32_t mark)
{
	return mark & ((UINT32_C(1) << HVN_PROCESS_ID_BITS) - 1);
}

/* Is the process that this mark names gone? false if that cannot be told. */
bool hvn_process_gone(uint32_t mark);

/* Is it stopped now, by a signal or a debugger? false if that cannot be told. */
bool hvn_process_stopped(uint32_t mark);

/*
 * Has the process of this mark been waited for long enough since then (TSC), where it may take so many
 * ms? One that is stopped, or was just waited for in vain elsewhere, is waited for shortly: it may be
 * met in many places.
 */
bool hvn_process_late(uint32_t mark, uint64_t since, unsigned int ms);

/* Does this mark name another process, which may go on at any time? */
static inline bool
hvn_process_elsewhere(uint32_t mark)
{
	return mark != 0 && mark != hvn_lock_self && !hvn_process_gone(mark);
}

static __rte_always_inline bool
hvn_lock_try(struct hvn_lock *l)
{
	uint32_t nobody = 0;

	return __atomic_compare_exchange_n(&l->owner, &nobody, hvn_lock_self, false,
					   __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static __rte_always_inline void
hvn_lock_release(struct hvn_lock *l)
{
	__atomic_store_n(&l->owner, 0, __ATOMIC_RELEASE);
}

#define HVN_LOCK_MS 200u /* longer than any burst: whoever holds it then is stopped */

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
