/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A running port whose channels do not serve any more (the host took one away, or wrote nonsense into
 * a ring) is given another session with the host, under the application's bursts.
 */
#ifndef HVN_RECOVER_H
#define HVN_RECOVER_H

#include "hvn.h"

/*
 * The bursts of all processes are turned off, the session is closed and opened, and everything is set
 * up as it was: queues that are stopped stay so, descriptors of receive interrupts stay valid and wake
 * who sleeps. By the control thread, without ctrl_lock, between RTE_ETH_EVENT_ERR_RECOVERING and the
 * event that says what came of it. 0, also if there is nothing to do (any more); -EAGAIN: a thread may
 * still be inside a burst, nothing was changed, to be called again; another negative errno: the port
 * is as if it were stopped, and has no session.
 */
int hvn_recover(struct hvn_port *p);

#endif /* HVN_RECOVER_H */
