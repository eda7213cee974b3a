/* SPDX-License-Identifier: BSD-3-Clause */
/* Between the receiving half of the client and its requests. Private to vmbus_client*.c. */
#ifndef VMBUS_CLIENT_WAIT_H
#define VMBUS_CLIENT_WAIT_H

#include <pthread.h>
#include <sys/queue.h>

#include "vmbus_client.h"

/* What an answer is recognised by: a VMBus message type, or a vmbus-user type behind this. */
#define ANSWER_VMU(type) (0x10000u | (type))

/* Somebody waits for one answer. Lives on the waiter's stack. */
struct answer {
	TAILQ_ENTRY(answer) link;
	uint32_t type;
	uint32_t id;	/* sequence number, GPADL, relid; 0 where there can be only one */
	uint32_t count; /* answers to ids that follow each other; done with all, or a bad one */
	uint32_t seen;
	uint32_t relid; /* a rescind of this channel ends the wait; 0 = of none */
	bool done;
	int error;	 /* the wait was ended without an answer */
	uint32_t status; /* of the answer */
	uint32_t value;
	char name[VMU_NAME_LEN];
};

/* An eventfd of an open channel. */
struct client_fd {
	uint16_t kind; /* VMU_EVENT_FD, VMU_SIGNAL_FD */
	uint32_t id;   /* relid, connection id */
	int fd;
	int second; /* an EVENT_FD that came later: passed on to fd; or -1 */
};

/* What the host said of a relid, and we of its channel. */
struct client_relid {
	uint32_t conn_id;
	bool offered;
	bool rescinded; /* until it is released */
	bool opened;	/* its descriptors are taken, until it is forgotten */
};

/* A message without an answer, for which the socket had no room. */
struct client_unsent {
	uint16_t type; /* VMU_SIGNAL_EVENT, or VMU_POST_MESSAGE for RELID_RELEASED */
	uint32_t id;
};

#define CLIENT_UNSENT_MAX (2 * (VMBUS_RELID_MAX + 1)) /* one of each for every channel */

struct vmbus_client {
	int fd;
	const struct vmbus_client_ops *ops;
	void *ctx;
	pthread_mutex_t lock; /* of all below */
	pthread_cond_t cond;  /* an answer is done, or the host is gone */
	TAILQ_HEAD(, answer) answers;
	struct client_fd *fds;
	unsigned int n_fds;
	int seconds; /* epoll of all client_fd.second; -1 while there was none */
	struct client_relid relid[VMBUS_RELID_MAX + 1];
	struct client_unsent unsent[CLIENT_UNSENT_MAX];
	unsigned int n_unsent;
	int wake; /* eventfd: there is something unsent */
	uint32_t seq;
	uint32_t next_gpadl;
	uint32_t version;
	uint32_t msg_conn_id;
	bool stopping;
	bool dead;
	bool silent; /* it owed an answer and has said nothing since */
};

/* Send one datagram, with a descriptor if fd >= 0. 0 or -errno. */
int client_send(struct vmbus_client *c, uint16_t type, uint16_t flags, uint32_t seq,
		const void *body, uint32_t len, int fd);

/*
 * Send VMU_SIGNAL_EVENT to a connection, or RELID_RELEASED (type VMU_POST_MESSAGE) for a relid.
 * Never waits: what finds the socket full is sent by the receiving thread. 0 or -errno.
 */
int client_send_soon(struct vmbus_client *c, uint16_t type, uint32_t id);

/* Announce a wait before sending what will be answered. */
void client_expect(struct vmbus_client *c, struct answer *a, uint32_t type, uint32_t id,
		   uint32_t relid);

/* The first of n new sequence numbers. */
uint32_t client_seq(struct vmbus_client *c, uint32_t n);

/* The milliseconds of timeout_ms that vmbus_client_hurry() leaves. */
unsigned int client_patience(unsigned int timeout_ms);

/* Wait. 0 and the answer in *a, -ETIMEDOUT, -ENOTCONN, -ENODEV. Always takes *a off the list. */
int client_await(struct vmbus_client *c, struct answer *a, unsigned int timeout_ms);

/* Give up a wait, because sending failed. */
void client_unexpect(struct vmbus_client *c, struct answer *a);

/* Send a datagram and wait for its ACK. 0, a positive status, or -errno. */
int client_request(struct vmbus_client *c, uint16_t type, const void *body, uint32_t len, int fd);

/* The status of an ACK as a number that is not negative. */
static inline int
client_ack_status(uint32_t status)
{
	return status <= INT32_MAX ? (int)status : INT32_MAX;
}

/* --- vmbus_client_fd.c -------------------------------------------------------------------------- */

/* Can we tell an eventfd from another file? */
bool client_fd_able(void);

/* The host sent a descriptor. Takes *fd if it is kept. */
void client_fd_take(struct vmbus_client *c, uint16_t kind, uint32_t id, int *fd);

/* Write to the event descriptor of a relid. False: there is none. */
bool client_fd_ring(struct vmbus_client *c, uint32_t relid);

/* Pass on what was written to second descriptors. */
void client_fd_pass_on(struct vmbus_client *c);

void client_fd_close_all(struct vmbus_client *c);

#endif /* VMBUS_CLIENT_WAIT_H */
