/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rte_flow. The host has no rules for the synthetic path, so a rule lives in the VF. It is
 * remembered here: while the VF is away it is not offloaded, which query and dump tell, and it
 * comes back with the VF, or with another that takes its place.
 */
#ifndef HVN_FLOW_H
#define HVN_FLOW_H

#include "hvn.h"

/* For ethdev. */
int hvn_flow_ops_get(struct rte_eth_dev *dev, const struct rte_flow_ops **ops);

/* The VF was started: it gets the rules again. Caller holds ctrl_lock, as for the others. */
void hvn_flow_restore(struct hvn_vf *vf);
/* It is about to be stopped: take them out, keep what they counted. */
void hvn_flow_withdraw(struct hvn_vf *vf);
/* The port is closed: forget them. None is in a VF. */
void hvn_flow_free(struct hvn_vf *vf);

#endif /* HVN_FLOW_H */
