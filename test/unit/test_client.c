/* SPDX-License-Identifier: BSD-3-Clause */
/* The VMBus client: every exchange, and how each can fail. */
#include "client_fixture.h"

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
refuse_silently(const struct vmbus_msg_hdr *msg, uint32_t len, uint32_t conn)
{
	return msg->type == VMBUS_MSG_OPENCHANNEL ? 0 : good(msg, len, conn);
}

/* The rescind comes when nobody waits yet: who waits then is told at once. */
static void
rescind_before_opening(void **state)
{
	struct vmbus_msg_relid m = { .hdr.type = VMBUS_MSG_RESCIND_CHANNELOFFER, .relid = RELID };

	(void)state;
	peer.message = refuse_silently;
	contact();
	tell_message(&m, sizeof(m));
	settle();
	assert_int_equal(peer.rescinded, RELID);
	assert_int_equal(vmbus_client_open(peer.c, RELID, 1, 0, 16), -ENODEV);
	/* Released, the relid may come again, for another channel. */
	assert_int_equal(vmbus_client_released(peer.c, RELID), 0);
	peer.message = good;
	assert_int_equal(vmbus_client_request_offers(peer.c), 0);
	assert_int_equal(vmbus_client_open(peer.c, RELID, 1, 0, 16), 0);
}

/* Statuses that are no errno, and one whose highest bit is all it has: none becomes success. */
static void
memory_refused(void **state)
{
	(void)state;
	peer.mem_status = EEXIST;
	assert_int_equal(vmbus_client_mem_add(peer.c, 0x1000, 0x1000, 0, -1), -EEXIST);
	assert_int_equal(vmbus_client_mem_del(peer.c, 0x1000, 0x1000), -EEXIST);
	peer.mem_status = 0x80000000u;
	assert_int_equal(vmbus_client_mem_add(peer.c, 0x1000, 0x1000, 0, -1), -EPROTO);
	peer.mem_status = 0xFFFFFFFFu;
	assert_int_equal(vmbus_client_mem_del(peer.c, 0x1000, 0x1000), -EPROTO);
	shutdown(peer.fd, SHUT_RDWR);
	pthread_join(peer.client_thread, NULL);
	assert_int_equal(vmbus_client_mem_add(peer.c, 0x1000, 0x1000, 0, -1), -ENOTCONN);
	assert_int_equal(vmbus_client_mem_del(peer.c, 0x1000, 0x1000), -ENOTCONN);
	pthread_create(&peer.client_thread, NULL, client_main, peer.c);
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
	assert_int_equal(vmbus_client_unload(peer.c, 1000), -ENOTCONN);
	assert_int_equal(vmbus_client_signal(peer.c, CONN), -ENOTCONN);
	pthread_join(peer.thread, NULL);
	pthread_create(&peer.thread, NULL, peer_main, NULL);
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
		T(rescind_before_opening),
		T(memory_refused),
		T(hangup_while_opening),
		cmocka_unit_test(paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
