/* SPDX-License-Identifier: BSD-3-Clause */
/* A VMBus client and a peer that answers by script, over a socket pair. */
#ifndef CLIENT_FIXTURE_H
#define CLIENT_FIXTURE_H

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "vmbus_client.h"

#define RELID 7u
#define CONN  0x2007u

/* The host's side of one test. */
static struct peer {
	int fd;
	pthread_t thread, client_thread;
	struct vmbus_client *c;
	/* Script: sees each VMBus message, its connection id; returns the ACK's status. */
	uint32_t (*message)(const struct vmbus_msg_hdr *msg, uint32_t len, uint32_t conn);
	uint32_t hello_status, hello_version;
	uint32_t mem_status;
	unsigned int posts, signals;
	/* What a GPADL came to. */
	uint64_t pfn[VMBUS_GPADL_MAX_PFNS];
	uint32_t n_pfns, want_pfns;
	/* What the client reported. */
	unsigned int offers, events, hangups, refused;
	uint32_t rescinded;
	char log[VMU_MSG_MAX];
} peer;

static inline void
tell(uint16_t type, uint32_t seq, const void *body, uint32_t len, int fd)
{
	struct vmu_hdr hdr = { .magic = VMU_MAGIC, .type = type, .len = len, .seq = seq };
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} ctl = { .align = { .cmsg_level = SOL_SOCKET,
			     .cmsg_type = SCM_RIGHTS,
			     .cmsg_len = CMSG_LEN(sizeof(int)) } };
	uint8_t buf[VMU_MSG_MAX];
	struct iovec iov = { .iov_base = buf, .iov_len = sizeof(hdr) + len };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };

	memcpy(buf, &hdr, sizeof(hdr));
	if (len != 0)
		memcpy(buf + sizeof(hdr), body, len);
	if (fd >= 0) {
		memcpy(CMSG_DATA(&ctl.align), &fd, sizeof(fd));
		mh.msg_control = ctl.buf;
		mh.msg_controllen = sizeof(ctl.buf);
	}
	sendmsg(peer.fd, &mh, MSG_NOSIGNAL);
}

static inline void
tell_message(const void *msg, uint32_t len)
{
	struct vmu_sint_msg s = { .sint = VMBUS_SINT,
				  .msg_type = VMBUS_MSGTYPE_CHANNEL,
				  .size = len };

	memcpy(s.payload, msg, len);
	tell(VMU_SINT_MESSAGE, 0, &s, offsetof(struct vmu_sint_msg, payload) + len, -1);
}

static inline void *
peer_main(void *arg)
{
	uint8_t buf[VMU_MSG_MAX];
	struct vmu_hello hello = { 0 };
	struct vmu_post post;
	struct vmu_hdr hdr;
	uint64_t copy[VMBUS_MSG_MAX / 8];
	ssize_t n;

	(void)arg;
	while ((n = recv(peer.fd, buf, sizeof(buf), 0)) >= (ssize_t)sizeof(hdr)) {
		struct vmu_ack ack = { 0 };

		memcpy(&hdr, buf, sizeof(hdr));
		if (hdr.type == VMU_HELLO) {
			hello.version = peer.hello_version;
			hello.status = peer.hello_status;
			strcpy(hello.name, "scripted\033host");
			tell(VMU_HELLO_ACK, hdr.seq, &hello, sizeof(hello), -1);
		} else if (hdr.type == VMU_POST_MESSAGE) {
			memset(copy, 0, sizeof(copy));
			memcpy(&post, buf + sizeof(hdr), hdr.len);
			memcpy(copy, post.payload, post.size);
			peer.posts++;
			ack.status = peer.message((const void *)copy, post.size, post.conn_id);
		} else if (hdr.type == VMU_SIGNAL_EVENT) {
			__atomic_fetch_add(&peer.signals, 1, __ATOMIC_RELAXED);
		} else {
			ack.status = peer.mem_status;
		}
		if (hdr.flags & VMU_F_NEED_ACK)
			tell(VMU_ACK, hdr.seq, &ack, sizeof(ack), -1);
	}
	return NULL;
}

/* --- callbacks of the client ----------------------------------------------------------------------- */

static inline void
on_offer(void *ctx, const struct vmbus_msg_offer *offer)
{
	(void)ctx;
	assert_int_equal(offer->relid, RELID);
	peer.offers++;
}

static inline void
on_rescind(void *ctx, uint32_t relid)
{
	(void)ctx;
	peer.rescinded = relid;
}

static inline void
on_event(void *ctx, uint32_t relid)
{
	(void)ctx;
	assert_int_equal(relid, RELID);
	peer.events++;
}

static inline void
on_hangup(void *ctx)
{
	(void)ctx;
	peer.hangups++;
}

static inline void
on_log(void *ctx, const char *text)
{
	(void)ctx;
	strcpy(peer.log, text);
}

static inline void
on_refused(void *ctx, const char *what)
{
	(void)ctx;
	assert_non_null(what);
	peer.refused++;
}

static const struct vmbus_client_ops ops = { on_offer,	on_rescind, on_event,
					     on_hangup, on_log,	    on_refused };

static inline void *
client_main(void *arg)
{
	vmbus_client_run(arg);
	return NULL;
}

/* --- a host that does what it should ---------------------------------------------------------------- */

static inline uint32_t
collect(const struct vmbus_msg_hdr *msg, uint32_t len)
{
	const struct vmbus_msg_gpadl_header *head = (const void *)msg;
	const struct vmbus_msg_gpadl_body *body = (const void *)msg;
	bool first = msg->type == VMBUS_MSG_GPADL_HEADER;
	uint32_t n = (len - (first ? sizeof(*head) : sizeof(*body))) / 8;
	struct vmbus_msg_gpadl_created r = { .hdr.type = VMBUS_MSG_GPADL_CREATED,
					     .gpadl = first ? head->gpadl : body->gpadl };

	if (first) {
		peer.n_pfns = 0;
		peer.want_pfns = (head->range_bytes - 8u) / 8;
		assert_int_equal(head->relid, RELID);
		assert_int_equal(head->range_count, 1);
		assert_int_equal(head->byte_count, peer.want_pfns * HV_PAGE_SIZE);
		assert_int_equal(head->byte_offset, 0);
	}
	assert_true(n <= (first ? VMBUS_GPADL_HDR_PFNS : VMBUS_GPADL_BODY_PFNS));
	assert_true(peer.n_pfns + n <= peer.want_pfns);
	memcpy(&peer.pfn[peer.n_pfns], (const uint8_t *)msg + len - 8 * n, 8 * n);
	peer.n_pfns += n;
	if (peer.n_pfns == peer.want_pfns)
		tell_message(&r, sizeof(r));
	return 0;
}

static inline uint32_t
good(const struct vmbus_msg_hdr *msg, uint32_t len, uint32_t conn)
{
	struct vmbus_msg_version_response version = { .hdr.type = VMBUS_MSG_VERSION_RESPONSE,
						      .supported = 1,
						      .selected_or_conn_id = 0x55 };
	struct vmbus_msg_hdr end = { .type = VMBUS_MSG_ALLOFFERS_DELIVERED };
	struct vmbus_msg_offer offer = { .hdr.type = VMBUS_MSG_OFFERCHANNEL,
					 .relid = RELID,
					 .conn_id = CONN };
	struct vmbus_msg_open_result open = { .hdr.type = VMBUS_MSG_OPENCHANNEL_RESULT,
					      .relid = RELID };
	struct vmbus_msg_gpadl_torndown torn = { .hdr.type = VMBUS_MSG_GPADL_TORNDOWN };

	assert_int_equal(conn,
			 msg->type == VMBUS_MSG_INITIATE_CONTACT ? VMBUS_CONN_ID_CONTACT : 0x55);
	switch (msg->type) {
	case VMBUS_MSG_INITIATE_CONTACT:
		tell_message(&version, sizeof(version));
		break;
	case VMBUS_MSG_REQUESTOFFERS:
		tell_message(&offer, sizeof(offer));
		tell_message(&end, sizeof(end));
		break;
	case VMBUS_MSG_GPADL_HEADER:
	case VMBUS_MSG_GPADL_BODY:
		return collect(msg, len);
	case VMBUS_MSG_OPENCHANNEL:
		assert_int_equal(((const struct vmbus_msg_open *)msg)->downstream_page, 16);
		tell_message(&open, sizeof(open));
		break;
	case VMBUS_MSG_GPADL_TEARDOWN:
		torn.gpadl = ((const struct vmbus_msg_gpadl_teardown *)msg)->gpadl;
		tell_message(&torn, sizeof(torn));
		break;
	default:
		break;
	}
	return 0;
}

static inline int
setup(void **state)
{
	int fd[2];

	(void)state;
	memset(&peer, 0, sizeof(peer));
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd), 0);
	peer.fd = fd[0];
	peer.message = good;
	peer.hello_version = VMU_VERSION;
	assert_int_equal(vmbus_client_new(fd[1], &ops, NULL, &peer.c), 0);
	pthread_create(&peer.client_thread, NULL, client_main, peer.c);
	pthread_create(&peer.thread, NULL, peer_main, NULL);
	return 0;
}

static inline int
teardown(void **state)
{
	(void)state;
	vmbus_client_stop(peer.c);
	pthread_join(peer.client_thread, NULL);
	vmbus_client_free(peer.c);
	pthread_join(peer.thread, NULL);
	close(peer.fd);
	return 0;
}

/* All that the peer has sent before is processed: the client answers in order. */
static inline void
settle(void)
{
	assert_int_equal(vmbus_client_mem_del(peer.c, 0x1000, 0x1000), 0);
}

static inline void
contact(void)
{
	assert_int_equal(vmbus_client_contact(peer.c, 0x1000, 0x2000), 0);
	assert_int_equal(vmbus_client_version(peer.c), VMBUS_VERSION_5_3);
}

#endif /* CLIENT_FIXTURE_H */
