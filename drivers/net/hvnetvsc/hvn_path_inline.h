/* SPDX-License-Identifier: BSD-3-Clause */
/* The burst's half of the path switch: see struct hvn_queue_path. */
#ifndef HVN_PATH_INLINE_H
#define HVN_PATH_INLINE_H

#include "hvn.h"

/*
 * What vf_port may be beside a port and RTE_MAX_ETHPORTS. A burst may turn such a value into the
 * one it leads to; the control thread writes all others.
 */
#define HVN_TX_TO_VF 0x8000u		    /* | port: to the VF, when order allows */
#define HVN_TX_BACK  0x4000u		    /* | port: away from it, when order allows */
#define HVN_RX_LAST  (RTE_MAX_ETHPORTS + 1) /* off the VF; frames may still be held back */
#define HVN_RX_HALT  (RTE_MAX_ETHPORTS + 2) /* for a moment nothing: the VF is being emptied */

/* The VF's port, or RTE_MAX_ETHPORTS. It stays valid until hvn_path_leave(). */
static inline uint16_t
hvn_path_enter(struct hvn_queue_path *path)
{
	__atomic_store_n(&path->busy, hvn_process_self, __ATOMIC_RELAXED);
	/* Program order is enough: the control thread's membarrier supplies the fence. */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	/* Acquire: with it come the frames of hvn_path_rx_collect(). */
	return __atomic_load_n(&path->vf_port, __ATOMIC_ACQUIRE);
}

static inline void
hvn_path_leave(struct hvn_queue_path *path)
{
	/* Release: what the burst did with the VF comes before. */
	__atomic_store_n(&path->busy, 0, __ATOMIC_RELEASE);
}

#endif /* HVN_PATH_INLINE_H */
