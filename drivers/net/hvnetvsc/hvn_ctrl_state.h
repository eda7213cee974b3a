/* SPDX-License-Identifier: BSD-3-Clause */
/* Inside of hvn_ctrl.h: what its two halves share, the control thread and the transactions. */
#ifndef HVN_CTRL_STATE_H
#define HVN_CTRL_STATE_H

#include <pthread.h>

#include "hvn_ctrl.h"

#define HVN_CTRL_NOTES	    64	/* queued notifications */
#define HVN_CTRL_NOTE_BYTES 256 /* the longest: INDICATE with an NDIS_OFFLOAD */
#define HVN_CTRL_BUFS	    4 /* request buffers: one may be held by a host that does not complete */

/* What came in and is no answer. */
struct hvn_ctrl_note {
	enum hvn_ctrl_kind kind;
	uint32_t len;
	uint8_t data[HVN_CTRL_NOTE_BYTES];
};

/* The transaction in flight. */
struct hvn_ctrl_trans {
	uint64_t tid; /* 0: none */
	uint32_t nvsp_type;
	uint32_t rndis_type;
	uint32_t rndis_id;
	bool completed;
	bool replied;
	uint32_t completion_len;
	uint32_t reply_len;
	uint8_t completion[64];
	uint8_t reply[HVN_CTRL_MSG_MAX];
};

struct hvn_ctrl_buf {
	uint8_t *addr;
	uint64_t gpa;
	uint64_t tid;  /* the host may still read it; 0: free */
	bool answered; /* it has read it, although it has not completed it yet */
};

/* In shared memory: a secondary's burst may find an answer. The thread belongs to the primary. */
struct hvn_ctrl {
	struct hvn_port *p;
	pthread_t thread;
	int wake_fd;
	bool stop;
	bool orphan; /* destroyed by its own thread, which frees it */
	bool tell_removed;
	bool channel_gone;   /* to be looked for */
	bool recover;	     /* the port is to be recovered ... */
	bool recovering;     /* ... and the application was told that it is */
	uint64_t recover_at; /* not before, in timer cycles */
	bool tell_path;
	uint64_t next_tid;
	uint32_t next_rndis_id;
	uint64_t late;
	struct hvn_ctrl_buf buf[HVN_CTRL_BUFS];

	struct hvn_lock lock; /* of the rest: bursts, the waiter, the control thread */
	struct hvn_ctrl_trans trans;
	unsigned int notes_head, notes_count;
	struct hvn_ctrl_note notes[HVN_CTRL_NOTES];
};

/* Memory for requests; the primary, with c otherwise empty. 0 or a negative errno. */
int hvn_ctrl_make_bufs(struct hvn_ctrl *c, int socket);

/* The oldest notification, into n: false if there is none. The control thread. */
bool hvn_ctrl_pop_note(struct hvn_ctrl *c, struct hvn_ctrl_note *n);

#endif /* HVN_CTRL_STATE_H */
