/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control thread of a port, and transactions with the host.
 *
 * A transaction is run by whoever needs it (an application's control function, the control
 * thread) holding ctrl_lock; it scans the primary channel itself until the answer is there, so
 * that nothing depends on lcores that poll. What comes in meanwhile and is no answer is queued;
 * the control thread dispatches it, without ctrl_lock, because link events call the application.
 */
#ifndef HVN_CTRL_H
#define HVN_CTRL_H

#include "hvn.h"

#define HVN_NVSP_TIMEOUT_MS    5000u
#define HVN_RNDIS_TIMEOUT_MS   60000u /* Azure may take this long when a VM is serviced */
#define HVN_RNDIS_REQUEST_MAX  HV_PAGE_SIZE
#define HVN_CTRL_NO_REPLY_TYPE 0u

/* Start the control thread of a port. In the primary process. 0 or a negative errno. */
int hvn_ctrl_create(struct hvn_port *p);

/* Stop it and free it; may be called by that thread itself (a callback that closes the port). */
void hvn_ctrl_destroy(struct hvn_port *p);

/* Is the caller the control thread of a port? Any thread. */
bool hvn_ctrl_is_thread(void);

/* Let the control thread look around now. Any thread of the primary; does not block. */
void hvn_ctrl_kick(struct hvn_port *p);

/* Have it look for sub-channels that the host took away. */
void hvn_ctrl_channel_gone(struct hvn_port *p);

/* Have it tell the application that the device is gone. */
void hvn_ctrl_tell_removed(struct hvn_port *p);

/*
 * ctrl_lock: may be held for the length of a transaction, so waiting for it sleeps. Recursive: a
 * VF that is probed under it makes ethdev call the application, which may call this port.
 */
void hvn_ctrl_lock(struct hvn_port *p);
void hvn_ctrl_unlock(struct hvn_port *p);

/*
 * The channel was closed: answers to what was asked on it cannot come any more. held: the host has
 * not confirmed it, and may still read requests.
 */
void hvn_ctrl_session_reset(struct hvn_port *p, bool held);

/*
 * Send an NVSP message (zero-padded to NVSP_MSG_SIZE) and wait for its completion, which must be
 * of reply_type and hold at least reply_len bytes; so many are copied. HVN_CTRL_NO_REPLY_TYPE
 * takes any completion, also an empty one. Caller holds ctrl_lock. 0, -ETIMEDOUT, -ENODEV,
 * -EPROTO (too short), -EAGAIN (ring full), -EIO.
 */
int hvn_ctrl_nvsp(struct hvn_port *p, const void *msg, uint32_t len, uint32_t reply_type,
		  void *reply, uint32_t reply_len);

/* Send an NVSP message that has no completion. As above. */
int hvn_ctrl_nvsp_post(struct hvn_port *p, const void *msg, uint32_t len);

/*
 * Send an RNDIS control message, built by the caller with the request id of
 * hvn_ctrl_rndis_id(), and wait for the reply of reply_type, however late
 * the host completes the message; with HVN_CTRL_NO_REPLY_TYPE for the completion. *reply points to
 * the reply, valid until the next transaction. Caller holds ctrl_lock. As hvn_ctrl_nvsp().
 */
int hvn_ctrl_rndis(struct hvn_port *p, const void *msg, uint32_t len, uint32_t reply_type,
		   const uint8_t **reply, uint32_t *reply_len);
uint32_t hvn_ctrl_rndis_id(struct hvn_port *p);

/* Answers that nobody waited for any more. For statistics. */
uint64_t hvn_ctrl_late(const struct hvn_port *p);

#endif /* HVN_CTRL_H */
