/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The primary process and its secondaries. A secondary has function pointers and mappings of its
 * own; the primary, which starts and stops the port, tells it to change them.
 */
#ifndef HVN_MP_H
#define HVN_MP_H

#include "hvn.h"

enum hvn_mp_what {
	HVN_MP_NOTHING,
	HVN_MP_STOP,  /* bursts do nothing from now on */
	HVN_MP_START, /* map what is open now; bursts work again soon */
	HVN_MP_CLOSE, /* the port goes away */
};

/* Primary: have every secondary do so, and wait for it, for a limited time. false: one is silent. */
bool hvn_mp_tell(struct hvn_port *p, enum hvn_mp_what what);

/*
 * Secondary: at its probe, before the port can be told of anything, before ethdev has it, and behind
 * that. There need be no session then: the start of the port is told. 0 or a negative errno.
 */
void hvn_mp_prepare(struct rte_eth_dev *dev, struct hv_vmbus_device *vdev);
int hvn_mp_join(struct rte_eth_dev *dev);
int hvn_mp_joined(struct rte_eth_dev *dev);

/*
 * Secondary: before the port is released, also where the probe failed. From here on nothing that the
 * primary tells or has told touches port or device. Waits for what is being done of it.
 */
void hvn_mp_leave(struct hv_vmbus_device *vdev);

#endif /* HVN_MP_H */
