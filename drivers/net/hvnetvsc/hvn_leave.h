/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A secondary process that is stopped inside a burst (SIGSTOP, a debugger) goes on one day where it
 * was: with the channel whose lock it holds and the queue that it changes. Nothing of that may be
 * freed, or used by anybody else. So it is left to that process, whole, and the port gets others in
 * its place: another session with the host, other queues. Memory is lost; nobody waits, and nothing
 * is corrupted when the burst ends.
 *
 * Callers hold ctrl_lock; the port is stopped.
 */
#ifndef HVN_LEAVE_H
#define HVN_LEAVE_H

#include "hvn.h"

/*
 * Is a process that is stopped in a burst on the VF of this queue, or asking the VF something? Then
 * the VF is left to it too, and used by nobody until the burst is over. now: do not wait for a process
 * of which nobody can say whether it runs; one that runs is waited for. In use is a receive queue also
 * by who has its channel.
 */
bool hvn_rxq_in_use(const struct hvn_rxq *q, bool now);
bool hvn_txq_on_vf(const struct hvn_txq *q, bool now);
/* Such a queue goes out of use: remember who is on the VF. Its memory must not be freed any more. */
void hvn_leave_vf(struct hvn_port *p, struct hvn_queue_path *path, struct hvn_lock *asking);

/* Does a process that is stopped use this channel? */
bool hvn_chan_in_use(struct hvn_chan *ch);

/* ... or any channel or queue of the port: the session cannot go on. */
bool hvn_leave_needed(struct hvn_port *p);

/*
 * The session ends: keep every burst out of its channels from now on, and leave what cannot be had
 * (ch->left) with the queues on it, which are replaced.
 */
void hvn_leave(struct hvn_port *p);

/*
 * Free a channel that no burst can enter any more; with secondaries, and if the port is recovering, at
 * the end of another session: some thread may be about to look at its locks.
 */
void hvn_leave_chan(struct hvn_port *p, struct hvn_chan *ch);

#endif /* HVN_LEAVE_H */
