/* SPDX-License-Identifier: BSD-3-Clause */
/* What DPDK's telemetry socket tells of our ports: /hvnetvsc/... */
#ifndef HVN_TELEMETRY_H
#define HVN_TELEMETRY_H

/*
 * Its thread looks at ports at any time: whoever frees a channel, a queue or a port does that
 * inside this lock. Taken with ctrl_lock held, or without; nothing else is taken inside.
 */
void hvn_telemetry_lock(void);
void hvn_telemetry_unlock(void);

#endif /* HVN_TELEMETRY_H */
