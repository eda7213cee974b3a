/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Processes that share a port: which one a mark in shared memory names, whether it still runs, and
 * the barrier between them.
 */
#ifndef HVN_PROCESS_H
#define HVN_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

/*
 * The mark of a process: its id, for which Linux has 22 bits, and above that 9 bits of the time it
 * was started at, which tell it from a later one of the same id; 0 where /proc does not say.
 */
#define HVN_PROCESS_ID_BITS 22

#define HVN_BURST_MS 200u /* longer than any burst: whoever is in one then is stopped */

/* A process that others cannot tell dead from alive, because it counts processes by itself. */
#define HVN_PROCESS_ALIEN (UINT32_C(1) << 31)

/* Of this process. */
extern uint32_t hvn_process_self __attribute__((visibility("hidden")));
/* Do all processes of this one's ports take part in the barrier below? */
extern bool hvn_process_fenced __attribute__((visibility("hidden")));

/*
 * When a port is probed. world: where process ids and times mean what they mean in the primary
 * process (namespaces); 0 in the primary itself. Returns this process's.
 */
uint64_t hvn_process_init(uint64_t world);

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
	return ((mark | hvn_process_self) & HVN_PROCESS_ALIEN) != 0;
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
	return mark != 0 && mark != hvn_process_self && !hvn_process_gone(mark);
}

#endif /* HVN_PROCESS_H */
