/* SPDX-License-Identifier: BSD-3-Clause */
/* The VMBus client against a peer that answers by script, over a socket pair. */
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
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
	unsigned int posts;
	/* What a GPADL came to. */
	uint64_t pfn[VMBUS_GPADL_MAX_PFNS];
	uint32_t n_pfns, want_pfns;
	/* What the client reported. */
	unsigned int offers, events, hangups;
	uint32_t rescinded;
	char log[VMU_MSG_MAX];
} peer;

static void
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

static void
tell_message(const void *msg, uint32_t len)
{
	struct vmu_sint_msg s = { .sint = VMBUS_SINT,
				  .msg_type = VMBUS_MSGTYPE_CHANNEL,
				  .size = len };

	memcpy(s.payload, msg, len);
	tell(VMU_SINT_MESSAGE, 0, &s, offsetof(struct vmu_sint_msg, payload) + len, -1);
}

static void *
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
		}
		if (hdr.flags & VMU_F_NEED_ACK)
			tell(VMU_ACK, hdr.seq, &ack, sizeof(ack), -1);
	}
	return NULL;
}

/* --- callbacks of the client ----------------------------------------------------------------------- */

static void
on_offer(void *ctx, const struct vmbus_msg_offer *offer)
{
	(void)ctx;
	assert_int_equal(offer->relid, RELID);
	peer.offers++;
}

static void
on_rescind(void *ctx, uint32_t relid)
{
	(void)ctx;
	peer.rescinded = relid;
}

static void
on_event(void *ctx, uint32_t relid)
{
	(void)ctx;
	assert_int_equal(relid, RELID);
	peer.events++;
}

static void
on_hangup(void *ctx)
{
	(void)ctx;
	peer.hangups++;
}

static void
on_log(void *ctx, const char *text)
{
	(void)ctx;
	strcpy(peer.log, text);
}

static const struct vmbus_client_ops ops = { on_offer, on_rescind, on_event, on_hangup, on_log };

static void *
client_main(void *arg)
{
	vmbus_client_run(arg);
	return NULL;
}

/* --- a host that does what it should ---------------------------------------------------------------- */

static uint32_t
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

static uint32_t
good(const struct vmbus_msg_hdr *msg, uint32_t len, uint32_t conn)
{
	struct vmbus_msg_version_response version = { .hdr.type = VMBUS_MSG_VERSION_RESPONSE,
						      .supported = 1,
						      .selected_or_conn_id = 0x55 };
	struct vmbus_msg_hdr end = { .type = VMBUS_MSG_ALLOFFERS_DELIVERED };
	struct vmbus_msg_offer offer = { .hdr.type = VMBUS_MSG_OFFERCHANNEL, .relid = RELID };
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

static int
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

static int
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
static void
settle(void)
{
	assert_int_equal(vmbus_client_mem_del(peer.c, 0x1000, 0x1000), 0);
}

static void
contact(void)
{
	assert_int_equal(vmbus_client_contact(peer.c, 0x1000, 0x2000), 0);
	assert_int_equal(vmbus_client_version(peer.c), VMBUS_VERSION_5_3);
}

/* --- tests ---------------------------------------------------------------------------------------------- */

static void
hello(void **state)
{
	char name[VMU_NAME_LEN];

	(void)state;
	assert_int_equal(vmbus_client_hello(peer.c, "test", 1, name), 0);
	assert_string_equal(name, "scripted?host");
	peer.hello_status = EBUSY;
	assert_int_equal(vmbus_client_hello(peer.c, "test", 1, NULL), -EPROTO);
	peer.hello_status = 0;
	peer.hello_version = 2;
	assert_int_equal(vmbus_client_hello(peer.c, "test", 1, NULL), -EPROTONOSUPPORT);
}

static void
open_and_close(void **state)
{
	uint64_t pfn = 0x1234;
	uint32_t gpadl;

	(void)state;
	contact();
	assert_int_equal(vmbus_client_request_offers(peer.c), 0);
	assert_int_equal(peer.offers, 1);
	assert_int_equal(vmbus_client_gpadl_create(peer.c, RELID, &pfn, 1, &gpadl), 0);
	assert_int_equal(vmbus_client_open(peer.c, RELID, gpadl, 0, 16), 0);
	assert_int_equal(vmbus_client_close(peer.c, RELID), 0);
	assert_int_equal(vmbus_client_gpadl_teardown(peer.c, RELID, gpadl, 5000), 0);
	assert_int_equal(peer.hangups, 0);
}

static uint32_t
only_4_0(const struct vmbus_msg_hdr *msg, uint32_t len, uint32_t conn)
{
	const struct vmbus_msg_initiate_contact *m = (const void *)msg;
	struct vmbus_msg_version_response r = { .hdr.type = VMBUS_MSG_VERSION_RESPONSE };

	assert_int_equal(len, sizeof(*m));
	assert_int_equal(m->monitor_p2c, 0x1000);
	assert_int_equal(m->monitor_c2p, 0x2000);
	if (m->version >= VMBUS_VERSION_5_0) {
		assert_int_equal(conn, VMBUS_CONN_ID_CONTACT);
		assert_int_equal(m->sint, VMBUS_SINT);
		return HV_STATUS_INVALID_CONNECTION_ID;
	}
	assert_int_equal(conn, VMBUS_CONN_ID_LEGACY);
	assert_int_equal(m->interrupt_page, 0);
	r.supported = m->version == VMBUS_VERSION_4_0;
	r.selected_or_conn_id = m->version;
	tell_message(&r, sizeof(r));
	return 0;
}

static void
downgrade(void **state)
{
	(void)state;
	peer.message = only_4_0;
	assert_int_equal(vmbus_client_contact(peer.c, 0x1000, 0x2000), 0);
	assert_int_equal(vmbus_client_version(peer.c), VMBUS_VERSION_4_0);
	assert_int_equal(peer.posts, 6);
}

static uint32_t
no_version(const struct vmbus_msg_hdr *msg, uint32_t len, uint32_t conn)
{
	struct vmbus_msg_version_response r = { .hdr.type = VMBUS_MSG_VERSION_RESPONSE };

	(void)msg;
	(void)len;
	(void)conn;
	tell_message(&r, sizeof(r));
	return 0;
}

static void
no_version_in_common(void **state)
{
	(void)state;
	peer.message = no_version;
	assert_int_equal(vmbus_client_contact(peer.c, 0, 0), -EPROTONOSUPPORT);
	assert_int_equal(peer.posts, 8);
}

static void
gpadl_sizes(void **state)
{
	static const uint32_t sizes[] = { 1, 25, 26, 27, 53, 54, 55, 82, 83, 7936, 8190 };
	static uint64_t pfn[VMBUS_GPADL_MAX_PFNS + 1];
	uint32_t gpadl, last = 0;

	(void)state;
	contact();
	for (unsigned int i = 0; i < VMBUS_GPADL_MAX_PFNS; i++)
		pfn[i] = (uint64_t)i * 0x100000001u ^ 0x5a5;
	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		assert_int_equal(vmbus_client_gpadl_create(peer.c, RELID, pfn, sizes[i], &gpadl),
				 0);
		assert_int_equal(peer.n_pfns, sizes[i]);
		assert_memory_equal(peer.pfn, pfn, 8 * sizes[i]);
		assert_true(gpadl > last);
		last = gpadl;
	}
	assert_int_equal(vmbus_client_gpadl_create(peer.c, RELID, pfn, VMBUS_GPADL_MAX_PFNS + 1,
						   &gpadl),
			 -EINVAL);
	assert_int_equal(vmbus_client_gpadl_create(peer.c, RELID, pfn, 0, &gpadl), -EINVAL);
}

static uint32_t
busy_twice(const struct vmbus_msg_hdr *msg, uint32_t len, uint32_t conn)
{
	if (msg->type == VMBUS_MSG_REQUESTOFFERS && peer.posts < 4)
		return peer.posts & 1 ? HV_STATUS_INSUFFICIENT_MEMORY
				      : HV_STATUS_INSUFFICIENT_BUFFERS;
	return good(msg, len, conn);
}

static void
post_again(void **state)
{
	(void)state;
	peer.message = busy_twice;
	contact();
	assert_int_equal(vmbus_client_request_offers(peer.c), 0);
	assert_int_equal(peer.posts, 4);
}

/* Short of buffers in the middle of the first GPADL, and now and then in the second. */
static uint32_t
busy_bodies(const struct vmbus_msg_hdr *msg, uint32_t len, uint32_t conn)
{
	static unsigned int bodies, teardowns;

	if (msg->type == VMBUS_MSG_GPADL_TEARDOWN)
		teardowns++;
	if (msg->type == VMBUS_MSG_GPADL_BODY) {
		bodies++;
		if (teardowns == 0 ? bodies >= 5 : bodies % 3 == 0)
			return HV_STATUS_INSUFFICIENT_BUFFERS;
	}
	return good(msg, len, conn);
}

static void
gpadl_again(void **state)
{
	static uint64_t pfn[400];
	uint32_t gpadl;

	(void)state;
	peer.message = busy_bodies;
	contact();
	for (unsigned int i = 0; i < 400; i++)
		pfn[i] = i * 3;
	assert_int_equal(vmbus_client_gpadl_create(peer.c, RELID, pfn, 400, &gpadl), 0);
	assert_int_equal(peer.n_pfns, 400);
	assert_memory_equal(peer.pfn, pfn, sizeof(pfn));
	assert_int_equal(gpadl, VMBUS_GPADL_FIRST + 1);
}

static uint32_t
refuse(const struct vmbus_msg_hdr *msg, uint32_t len, uint32_t conn)
{
	struct vmbus_msg_gpadl_created created = { .hdr.type = VMBUS_MSG_GPADL_CREATED,
						   .status = 0xC000009A };
	struct vmbus_msg_open_result open = { .hdr.type = VMBUS_MSG_OPENCHANNEL_RESULT,
					      .relid = RELID,
					      .status = 0x8000FFFF };

	if (msg->type == VMBUS_MSG_GPADL_HEADER) {
		created.gpadl = ((const struct vmbus_msg_gpadl_header *)msg)->gpadl;
		tell_message(&created, sizeof(created));
	} else if (msg->type == VMBUS_MSG_OPENCHANNEL) {
		tell_message(&open, sizeof(open));
	} else if (msg->type == VMBUS_MSG_CLOSECHANNEL) {
		return HV_STATUS_INVALID_PARAMETER;
	} else {
		return good(msg, len, conn);
	}
	return 0;
}

static void
refusals(void **state)
{
	uint64_t pfn = 1;
	uint32_t gpadl = 9;

	(void)state;
	peer.message = refuse;
	contact();
	assert_int_equal(vmbus_client_gpadl_create(peer.c, RELID, &pfn, 1, &gpadl), -EPROTO);
	assert_int_equal(gpadl, 0);
	assert_int_equal(vmbus_client_open(peer.c, RELID, 1, 0, 16), -EPROTO);
	assert_int_equal(vmbus_client_close(peer.c, RELID), -EPROTO);
}

static uint32_t
rescind_instead(const struct vmbus_msg_hdr *msg, uint32_t len, uint32_t conn)
{
	struct vmbus_msg_relid other = { .hdr.type = VMBUS_MSG_RESCIND_CHANNELOFFER,
					 .relid = RELID + 1 };
	struct vmbus_msg_relid ours = { .hdr.type = VMBUS_MSG_RESCIND_CHANNELOFFER,
					.relid = RELID };

	if (msg->type != VMBUS_MSG_OPENCHANNEL)
		return good(msg, len, conn);
	tell_message(&other, sizeof(other));
	tell_message(&ours, sizeof(ours));
	return 0;
}

static void
rescind_while_opening(void **state)
{
	(void)state;
	peer.message = rescind_instead;
	contact();
	assert_int_equal(vmbus_client_open(peer.c, RELID, 1, 0, 16), -ENODEV);
	settle();
	assert_int_equal(peer.rescinded, RELID);
}

static uint32_t
hang_up(const struct vmbus_msg_hdr *msg, uint32_t len, uint32_t conn)
{
	if (msg->type != VMBUS_MSG_OPENCHANNEL)
		return good(msg, len, conn);
	shutdown(peer.fd, SHUT_RDWR);
	return 0;
}

static void
hangup_while_opening(void **state)
{
	(void)state;
	peer.message = hang_up;
	contact();
	assert_int_equal(vmbus_client_open(peer.c, RELID, 1, 0, 16), -ENOTCONN);
	assert_int_equal(vmbus_client_unload(peer.c), -ENOTCONN);
	assert_int_equal(vmbus_client_signal(peer.c, CONN), -ENOTCONN);
	pthread_join(peer.thread, NULL);
	pthread_create(&peer.thread, NULL, peer_main, NULL);
}

/* Nothing of this is for us, or it is too short, or of no channel: it changes nothing. */
static void
nonsense(void **state)
{
	struct vmbus_msg_offer offer = { .hdr.type = VMBUS_MSG_OFFERCHANNEL };
	struct vmbus_msg_relid rescind = { .hdr.type = VMBUS_MSG_RESCIND_CHANNELOFFER };
	struct vmbus_msg_gpadl_torndown torn = { .hdr.type = VMBUS_MSG_GPADL_TORNDOWN };
	struct vmu_sint_msg s = { .sint = VMBUS_SINT, .msg_type = VMBUS_MSGTYPE_CHANNEL };
	struct vmu_event event = { .sint = VMBUS_SINT };
	uint8_t bytes[400];

	(void)state;
	contact();
	memset(bytes, 0xff, sizeof(bytes));
	tell_message(&offer, sizeof(offer)); /* relid 0 */
	offer.relid = VMBUS_RELID_MAX + 1;
	tell_message(&offer, sizeof(offer));
	offer.relid = RELID;
	tell_message(&offer, sizeof(offer) - 1);
	rescind.relid = 5000;
	tell_message(&rescind, sizeof(rescind));
	tell_message(&torn, sizeof(torn)); /* nobody waits */
	tell_message(bytes, 240);
	s.size = 5000;
	tell(VMU_SINT_MESSAGE, 0, &s, sizeof(s), -1);
	s.size = 240;
	tell(VMU_SINT_MESSAGE, 0, &s, offsetof(struct vmu_sint_msg, payload) + 8, -1);
	event.flag = 0x10000;
	tell(VMU_SINT_EVENT, 0, &event, sizeof(event), -1);
	tell(VMU_EVENT_FD, 0, &event, sizeof(event), 0);
	for (uint16_t type = 0; type < 64; type++)
		tell(type == VMU_ACK || type == VMU_LOG ? 99 : type, 12345, bytes, type, -1);
	tell(VMU_LOG, 0, "tells\n", 6, -1);
	settle();
	assert_int_equal(peer.offers + peer.events + peer.hangups + peer.rescinded, 0);
	assert_string_equal(peer.log, "tells?");
}

static void
no_magic(void **state)
{
	(void)state;
	assert_int_equal(send(peer.fd, "GET / HTTP/1.1\r\n\r\n", 18, 0), 18);
	assert_int_equal(vmbus_client_hello(peer.c, "test", 1, NULL), -ENOTCONN);
	pthread_join(peer.client_thread, NULL);
	assert_int_equal(peer.hangups, 1);
	pthread_create(&peer.client_thread, NULL, client_main, peer.c);
}

static unsigned int
open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n;
}

static void
descriptors(void **state)
{
	struct vmu_event event = { .sint = VMBUS_SINT, .flag = RELID };
	struct vmu_signal signal = { .conn_id = CONN };
	unsigned int before = open_fds();
	int fd = eventfd(0, EFD_NONBLOCK), second = eventfd(0, 0), held;
	uint64_t n = 5;

	(void)state;
	tell(VMU_SINT_EVENT, 0, &event, sizeof(event), -1);
	assert_int_equal(vmbus_client_event_fd(peer.c, RELID), -ENOENT);
	tell(VMU_EVENT_FD, 0, &event, sizeof(event), fd);
	tell(VMU_SIGNAL_FD, 0, &signal, sizeof(signal), fd);
	settle();
	assert_int_equal(peer.events, 1);
	held = vmbus_client_event_fd(peer.c, RELID);
	assert_true(held >= 0 && vmbus_client_signal_fd(peer.c, CONN) >= 0);
	assert_int_equal(write(fd, &n, sizeof(n)), sizeof(n));
	assert_int_equal(read(held, &n, sizeof(n)), sizeof(n));
	assert_int_equal(n, 5);
	/* Another one takes over the number; withdrawn, the number stays in use; nothing blocks. */
	tell(VMU_EVENT_FD, 0, &event, sizeof(event), second);
	tell(VMU_EVENT_FD, 0, &event, sizeof(event), -1);
	settle();
	assert_int_equal(vmbus_client_event_fd(peer.c, RELID), held);
	assert_int_equal(read(held, &n, sizeof(n)), -1);
	assert_int_equal(errno, EAGAIN);
	vmbus_client_forget(peer.c, RELID, CONN);
	assert_int_equal(vmbus_client_event_fd(peer.c, RELID), -ENOENT);
	assert_int_equal(vmbus_client_signal_fd(peer.c, CONN), -ENOENT);
	close(fd);
	close(second);
	assert_int_equal(open_fds(), before);
}

static void
paths(void **state)
{
	char path[200];

	(void)state;
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(vmbus_client_connect(path), -ENAMETOOLONG);
	assert_int_equal(vmbus_client_connect("/nonexistent/socket"), -ENOENT);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(hello),
		T(open_and_close),
		T(downgrade),
		T(no_version_in_common),
		T(gpadl_sizes),
		T(post_again),
		T(gpadl_again),
		T(refusals),
		T(rescind_while_opening),
		T(hangup_while_opening),
		T(nonsense),
		T(no_magic),
		T(descriptors),
		cmocka_unit_test(paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
