/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A session: from opening the primary channel to closing it. MTU and number of channels are fixed
 * in it, so changing either means another session. Callers hold ctrl_lock; no burst
 * runs. 0 or a negative errno.
 */
#ifndef HVN_SESSION_H
#define HVN_SESSION_H

#include <stdbool.h>

#include "hvn.h"

/* Open with this MTU and one channel: everything in p->caps, MAC address, link state. */
int hvn_session_open(struct hvn_port *p, uint16_t mtu);

/*
 * As far as the port has one. Never fails: a host that does not answer within ms (0: within the
 * usual time) is left alone, and what it may still read is not used again.
 */
void hvn_session_close(struct hvn_port *p, unsigned int ms);

/*
 * Make the session fit: so many channels (or those the host lets have: p->n_chans), this MTU. It
 * is opened, extended (also by channels that were granted before and are offered only now), replaced
 * or left as it is. After a failure there is no session.
 */
int hvn_session_fit(struct hvn_port *p, uint16_t mtu, uint16_t queues);

/* Look for sub-channels that the host took away alone, and spread receive over the others. Bursts may run. */
void hvn_session_lost(struct hvn_port *p);

/* Is the session open, and the first channel such that the host can be asked? Caller holds ctrl_lock. */
bool hvn_session_talks(const struct hvn_port *p);

/* Is there a channel in which nothing can move any more? The session is not used again. Any thread. */
bool hvn_session_broken(const struct hvn_port *p);

#endif /* HVN_SESSION_H */
