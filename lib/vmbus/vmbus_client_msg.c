/* SPDX-License-Identifier: BSD-3-Clause */
/* What a VMBus client asks of its host: one function per exchange of messages. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "vmbus_client_wait.h"

#define POST_TRIES 12 /* 1 ms, doubled each time: about 4 s in all */
#define ERRNO_MAX  4096

int
vmbus_client_hello(struct vmbus_client *c, const char *name, uint32_t n_vps, char *host_name)
{
	struct vmu_hello h = {
		.version = VMU_VERSION,
		.features = client_fd_able() ? VMU_FEAT_SIGNAL_FD | VMU_FEAT_EVENT_FD : 0,
		.n_vps = n_vps,
	};
	struct answer a;
	int rc;

	strncpy(h.name, name, sizeof(h.name) - 1);
	client_expect(c, &a, ANSWER_VMU(VMU_HELLO_ACK), 0, 0);
	rc = client_send(c, VMU_HELLO, 0, client_seq(c, 1), &h, sizeof(h), -1);
	if (rc != 0) {
		client_unexpect(c, &a);
		return rc;
	}
	rc = client_await(c, &a, VMBUS_CLIENT_TIMEOUT_MS);
	if (rc != 0)
		return rc;
	if (a.status != 0 || a.value != VMU_VERSION)
		return a.status == EPROTONOSUPPORT || a.status == 0 ? -EPROTONOSUPPORT : -EPROTO;
	if (host_name != NULL) {
		memcpy(host_name, a.name, VMU_NAME_LEN);
		host_name[VMU_NAME_LEN - 1] = '\0';
		for (char *s = host_name; *s != '\0'; s++)
			if (*s < ' ' || *s > '~')
				*s = '?';
	}
	return 0;
}

/* The status is an errno of the host's, or whatever it likes. */
static int
mem_errno(int rc)
{
	if (rc <= 0)
		return rc;
	return rc < ERRNO_MAX ? -rc : -EPROTO;
}

int
vmbus_client_mem_add(struct vmbus_client *c, uint64_t gpa, uint64_t size, uint64_t offset, int fd)
{
	struct vmu_mem m = { .gpa = gpa, .size = size, .offset = offset };

	return mem_errno(client_request(c, VMU_MEM_ADD, &m, sizeof(m), fd));
}

int
vmbus_client_mem_del(struct vmbus_client *c, uint64_t gpa, uint64_t size)
{
	struct vmu_mem m = { .gpa = gpa, .size = size };

	return mem_errno(client_request(c, VMU_MEM_DEL, &m, sizeof(m), -1));
}

/* HvPostMessage. 0, the hypercall's status, or -errno. */
static int
post_on(struct vmbus_client *c, uint32_t conn_id, const void *msg, uint32_t len)
{
	struct vmu_post p = { .conn_id = conn_id, .msg_type = VMBUS_MSGTYPE_CHANNEL, .size = len };
	struct timespec pause = { .tv_nsec = 1000000 };
	int rc = 0;

	memcpy(p.payload, msg, len);
	for (unsigned int i = 0; i < POST_TRIES; i++) {
		rc = client_request(c, VMU_POST_MESSAGE, &p,
				    offsetof(struct vmu_post, payload) + len, -1);
		/* The host is short of buffers: it says so and expects the message again. */
		if ((rc != HV_STATUS_INSUFFICIENT_BUFFERS && rc != HV_STATUS_INSUFFICIENT_MEMORY) ||
		    client_patience(VMBUS_CLIENT_TIMEOUT_MS) == 0)
			break;
		nanosleep(&pause, NULL);
		pause.tv_nsec = pause.tv_nsec < 500000000 ? pause.tv_nsec * 2 : 999999999;
	}
	return rc;
}

static int
post(struct vmbus_client *c, const void *msg, uint32_t len)
{
	int rc = post_on(c, c->msg_conn_id, msg, len);

	return rc > 0 ? -EPROTO : rc;
}

/* Post a message and wait for its answer, which *a describes. 0 or -errno. */
static int
ask(struct vmbus_client *c, const void *msg, uint32_t len, struct answer *a, uint32_t type,
    uint32_t id, uint32_t relid, unsigned int timeout_ms)
{
	int rc;

	client_expect(c, a, type, id, relid);
	rc = post(c, msg, len);
	if (rc != 0) {
		client_unexpect(c, a);
		return rc;
	}
	return client_await(c, a, timeout_ms);
}

/* --- bus ------------------------------------------------------------------------------------------ */

/* 1 the host has this version, 0 it has not, or -errno. */
static int
contact_with(struct vmbus_client *c, uint32_t version, uint64_t p2c, uint64_t c2p)
{
	bool modern = version >= VMBUS_VERSION_5_0;
	struct vmbus_msg_initiate_contact m = {
		.hdr.type = VMBUS_MSG_INITIATE_CONTACT,
		.version = version,
		.monitor_p2c = p2c,
		.monitor_c2p = c2p,
	};
	struct answer a;
	int rc;

	if (modern)
		m.sint = VMBUS_SINT;
	client_expect(c, &a, VMBUS_MSG_VERSION_RESPONSE, 0, 0);
	rc = post_on(c, modern ? VMBUS_CONN_ID_CONTACT : VMBUS_CONN_ID_LEGACY, &m, sizeof(m));
	if (rc != 0) {
		client_unexpect(c, &a);
		/* A host older than 5.0 does not have that connection. */
		return rc > 0 ? 0 : rc;
	}
	rc = client_await(c, &a, VMBUS_CLIENT_TIMEOUT_MS);
	if (rc != 0 || a.status != 0)
		return rc;
	c->version = version;
	c->msg_conn_id = modern ? a.value : VMBUS_CONN_ID_LEGACY;
	return 1;
}

int
vmbus_client_contact(struct vmbus_client *c, uint64_t monitor_p2c, uint64_t monitor_c2p)
{
	static const uint32_t versions[] = { VMBUS_VERSION_5_3, VMBUS_VERSION_5_2,
					     VMBUS_VERSION_5_1, VMBUS_VERSION_5_0,
					     VMBUS_VERSION_4_1, VMBUS_VERSION_4_0,
					     VMBUS_VERSION_3_0, VMBUS_VERSION_2_4 };

	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
		int rc = contact_with(c, versions[i], monitor_p2c, monitor_c2p);

		if (rc != 0)
			return rc < 0 ? rc : 0;
	}
	return -EPROTONOSUPPORT;
}

int
vmbus_client_request_offers(struct vmbus_client *c)
{
	struct vmbus_msg_hdr m = { .type = VMBUS_MSG_REQUESTOFFERS };
	struct answer a;

	return ask(c, &m, sizeof(m), &a, VMBUS_MSG_ALLOFFERS_DELIVERED, 0, 0,
		   VMBUS_CLIENT_TIMEOUT_MS);
}

int
vmbus_client_unload(struct vmbus_client *c, unsigned int timeout_ms)
{
	struct vmbus_msg_hdr m = { .type = VMBUS_MSG_UNLOAD };
	struct answer a;
	int rc;

	vmbus_client_hurry(timeout_ms);
	rc = ask(c, &m, sizeof(m), &a, VMBUS_MSG_UNLOAD_RESPONSE, 0, 0, timeout_ms);
	vmbus_client_hurry(0);
	return rc;
}

/* --- channels --------------------------------------------------------------------------------------- */

static int
post_gpadl_header(struct vmbus_client *c, uint32_t relid, uint32_t gpadl, const uint64_t *pfn,
		  uint32_t n)
{
	union {
		struct vmbus_msg_gpadl_header head;
		uint8_t room[VMBUS_MSG_MAX];
	} m = { .head = { .hdr.type = VMBUS_MSG_GPADL_HEADER,
			  .relid = relid,
			  .gpadl = gpadl,
			  .range_bytes = (uint16_t)(8 + 8 * n),
			  .range_count = 1,
			  .byte_count = n * HV_PAGE_SIZE } };
	uint32_t k = n < VMBUS_GPADL_HDR_PFNS ? n : VMBUS_GPADL_HDR_PFNS;

	memcpy(m.room + sizeof(m.head), pfn, 8 * k);
	return post(c, &m, sizeof(m.head) + 8 * k);
}

/* The i-th message with page frames behind those of the header. Returns its length. */
static uint32_t
gpadl_body(uint8_t *room, uint32_t gpadl, const uint64_t *pfn, uint32_t n, uint32_t i)
{
	struct vmbus_msg_gpadl_body body = { .hdr.type = VMBUS_MSG_GPADL_BODY, .gpadl = gpadl };
	uint32_t at = VMBUS_GPADL_HDR_PFNS + i * VMBUS_GPADL_BODY_PFNS;
	uint32_t k = n - at < VMBUS_GPADL_BODY_PFNS ? n - at : VMBUS_GPADL_BODY_PFNS;

	memcpy(room, &body, sizeof(body));
	memcpy(room + sizeof(body), pfn + at, 8 * k);
	return sizeof(body) + 8 * k;
}

static uint32_t
gpadl_bodies(uint32_t n)
{
	return n <= VMBUS_GPADL_HDR_PFNS ? 0
					 : (n - VMBUS_GPADL_HDR_PFNS + VMBUS_GPADL_BODY_PFNS - 1) /
						   VMBUS_GPADL_BODY_PFNS;
}

/* Each waits for the one before: for a host that is short of buffers. */
static int
post_gpadl_singly(struct vmbus_client *c, uint32_t gpadl, const uint64_t *pfn, uint32_t n)
{
	uint8_t room[VMBUS_MSG_MAX];
	int rc = 0;

	for (uint32_t i = 0; i < gpadl_bodies(n) && rc == 0; i++)
		rc = post(c, room, gpadl_body(room, gpadl, pfn, n, i));
	return rc;
}

/* Hundreds of messages for a large buffer: sent at once, acknowledged together. As post_on(). */
static int
post_gpadl_at_once(struct vmbus_client *c, uint32_t gpadl, const uint64_t *pfn, uint32_t n)
{
	struct vmu_post p = { .conn_id = c->msg_conn_id, .msg_type = VMBUS_MSGTYPE_CHANNEL };
	uint32_t count = gpadl_bodies(n), seq;
	struct answer a;
	int rc = 0;

	if (count == 0)
		return 0;
	seq = client_seq(c, count);
	client_expect(c, &a, ANSWER_VMU(VMU_ACK), seq, 0);
	a.count = count;
	for (uint32_t i = 0; i < count && rc == 0; i++) {
		p.size = gpadl_body(p.payload, gpadl, pfn, n, i);
		rc = client_send(c, VMU_POST_MESSAGE, VMU_F_NEED_ACK, seq + i, &p,
				 offsetof(struct vmu_post, payload) + p.size, -1);
	}
	if (rc != 0) {
		client_unexpect(c, &a);
		return rc;
	}
	rc = client_await(c, &a, VMBUS_CLIENT_TIMEOUT_MS);
	return rc != 0 ? rc : client_ack_status(a.status);
}

/* One attempt. -EBUSY: some message was refused for want of buffers, the rest is in disorder. */
static int
gpadl_try(struct vmbus_client *c, uint32_t relid, uint32_t gpadl, const uint64_t *pfn, uint32_t n,
	  bool at_once)
{
	struct answer a;
	int rc;

	client_expect(c, &a, VMBUS_MSG_GPADL_CREATED, gpadl, relid);
	rc = post_gpadl_header(c, relid, gpadl, pfn, n);
	if (rc == 0)
		rc = at_once ? post_gpadl_at_once(c, gpadl, pfn, n)
			     : post_gpadl_singly(c, gpadl, pfn, n);
	if (rc != 0) {
		client_unexpect(c, &a);
		if (rc == HV_STATUS_INSUFFICIENT_BUFFERS || rc == HV_STATUS_INSUFFICIENT_MEMORY)
			return -EBUSY;
		return rc > 0 ? -EPROTO : rc;
	}
	rc = client_await(c, &a, VMBUS_CLIENT_TIMEOUT_MS);
	/* The host does not have it: nothing to tear down. */
	return rc == 0 && a.status != 0 ? -ENOSPC : rc;
}

int
vmbus_client_gpadl_create(struct vmbus_client *c, uint32_t relid, const uint64_t *pfn, uint32_t n,
			  uint32_t *gpadl)
{
	uint32_t id;
	int rc;

	*gpadl = 0;
	if (n == 0 || n > VMBUS_GPADL_MAX_PFNS)
		return -EINVAL;
	id = __atomic_fetch_add(&c->next_gpadl, 2, __ATOMIC_RELAXED);
	rc = gpadl_try(c, relid, id, pfn, n, true);
	if (rc == -EBUSY) {
		rc = vmbus_client_gpadl_teardown(c, relid, id, VMBUS_CLIENT_TIMEOUT_MS);
		if (rc == 0)
			rc = gpadl_try(c, relid, ++id, pfn, n, false);
	}
	if (rc == -ENOSPC)
		return -EPROTO;
	*gpadl = id;
	return rc;
}

int
vmbus_client_gpadl_teardown(struct vmbus_client *c, uint32_t relid, uint32_t gpadl,
			    unsigned int timeout_ms)
{
	struct vmbus_msg_gpadl_teardown m = { .hdr.type = VMBUS_MSG_GPADL_TEARDOWN,
					      .relid = relid,
					      .gpadl = gpadl };
	struct answer a;

	/* Hosts answer for a rescinded channel, too: the wait does not end with the channel. */
	return ask(c, &m, sizeof(m), &a, VMBUS_MSG_GPADL_TORNDOWN, gpadl, 0, timeout_ms);
}

int
vmbus_client_open(struct vmbus_client *c, uint32_t relid, uint32_t ring_gpadl, uint32_t target_vp,
		  uint32_t downstream_page)
{
	struct vmbus_msg_open m = {
		.hdr.type = VMBUS_MSG_OPENCHANNEL,
		.relid = relid,
		.open_id = relid,
		.ring_gpadl = ring_gpadl,
		.target_vp = target_vp,
		.downstream_page = downstream_page,
	};
	struct answer a;
	int rc;

	if (relid > VMBUS_RELID_MAX)
		return -EINVAL;
	pthread_mutex_lock(&c->lock);
	c->relid[relid].opened = true;
	pthread_mutex_unlock(&c->lock);
	rc = ask(c, &m, sizeof(m), &a, VMBUS_MSG_OPENCHANNEL_RESULT, relid, relid,
		 VMBUS_CLIENT_TIMEOUT_MS);
	if (rc == 0 && a.status != 0)
		return -EPROTO;
	return rc;
}

int
vmbus_client_close(struct vmbus_client *c, uint32_t relid)
{
	struct vmbus_msg_relid m = { .hdr.type = VMBUS_MSG_CLOSECHANNEL, .relid = relid };

	return post(c, &m, sizeof(m));
}

int
vmbus_client_released(struct vmbus_client *c, uint32_t relid)
{
	if (relid > VMBUS_RELID_MAX)
		return -EINVAL;
	pthread_mutex_lock(&c->lock);
	memset(&c->relid[relid], 0, sizeof(c->relid[relid]));
	pthread_mutex_unlock(&c->lock);
	return client_send_soon(c, VMU_POST_MESSAGE, relid);
}

int
vmbus_client_signal(struct vmbus_client *c, uint32_t conn_id)
{
	return client_send_soon(c, VMU_SIGNAL_EVENT, conn_id);
}
