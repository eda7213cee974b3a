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

struct client_fd {
	uint16_t kind; /* VMU_EVENT_FD, VMU_SIGNAL_FD */
	uint32_t id;   /* relid, connection id */
	int fd;
};

struct vmbus_client {
	int fd;
	const struct vmbus_client_ops *ops;
	void *ctx;
	pthread_mutex_t lock; /* of all below */
	pthread_cond_t cond;  /* an answer is done, or the host is gone */
	TAILQ_HEAD(, answer) answers;
	struct client_fd *fds;
	unsigned int n_fds;
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

/* Announce a wait before sending what will be answered. */
void client_expect(struct vmbus_client *c, struct answer *a, uint32_t type, uint32_t id,
		   uint32_t relid);

/* The first of n new sequence numbers. */
uint32_t client_seq(struct vmbus_client *c, uint32_t n);

/* Wait. 0 and the answer in *a, -ETIMEDOUT, -ENOTCONN, -ENODEV. Always takes *a off the list. */
int client_await(struct vmbus_client *c, struct answer *a, unsigned int timeout_ms);

/* Give up a wait, because sending failed. */
void client_unexpect(struct vmbus_client *c, struct answer *a);

/* Send a datagram and wait for its ACK. 0, a positive status, or -errno. */
int client_request(struct vmbus_client *c, uint16_t type, const void *body, uint32_t len, int fd);

#endif /* VMBUS_CLIENT_WAIT_H */
