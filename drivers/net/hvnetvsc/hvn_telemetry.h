/* SPDX-License-Identifier: BSD-3-Clause */
/* What DPDK's telemetry socket tells of our ports: /hvnetvsc/... */
#ifndef HVN_TELEMETRY_H
#define HVN_TELEMETRY_H

/*
 * Its thread, and whoever asks for statistics, looks at ports at any time: whoever frees a channel,
 * a queue or a port, or puts another in its place, does that inside this lock. Taken with ctrl_lock
 * held, or without; inside only the locks of channels and of a VF's statistics are taken, for a
 * limited time. Of this process: a primary's release does not wait for a secondary, which may read
 * of a queue that has gone.
 */
void hvn_telemetry_lock(void);
void hvn_telemetry_unlock(void);

#endif /* HVN_TELEMETRY_H */
