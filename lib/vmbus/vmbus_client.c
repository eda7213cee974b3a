/* SPDX-License-Identifier: BSD-3-Clause */
/* The connection of a VMBus client: sending, receiving, who waits for what. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "vmbus_client_wait.h"

#define FDS_PER_DATAGRAM 4 /* one is legal; more are received only to be closed */
#define FDS_MAX		 4096
#define SILENT_MS	 200 /* patience with a host that has let us wait in vain */

int
vmbus_client_connect(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct timeval limit = { .tv_sec = VMBUS_CLIENT_TIMEOUT_MS / 1000 };
	int fd, rc;

	if (strlen(path) >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	strcpy(sa.sun_path, path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* Neither a full socket nor a full listen queue may hold us for ever. */
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0) {
		rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}

int
vmbus_client_new(int fd, const struct vmbus_client_ops *ops, void *ctx,
		 struct vmbus_client **client)
{
	struct vmbus_client *c = calloc(1, sizeof(*c));
	pthread_condattr_t attr;

	if (c == NULL)
		return -ENOMEM;
	c->fd = fd;
	c->ops = ops;
	c->ctx = ctx;
	c->next_gpadl = VMBUS_GPADL_FIRST;
	TAILQ_INIT(&c->answers);
	pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->cond, &attr);
	pthread_condattr_destroy(&attr);
	*client = c;
	return 0;
}

void
vmbus_client_free(struct vmbus_client *c)
{
	for (unsigned int i = 0; i < c->n_fds; i++)
		close(c->fds[i].fd);
	free(c->fds);
	close(c->fd);
	pthread_cond_destroy(&c->cond);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

uint32_t
vmbus_client_version(const struct vmbus_client *c)
{
	return c->version;
}

/* --- sending and waiting ---------------------------------------------------------------------- */

int
client_send(struct vmbus_client *c, uint16_t type, uint16_t flags, uint32_t seq, const void *body,
	    uint32_t len, int fd)
{
	struct vmu_hdr hdr = {
		.magic = VMU_MAGIC, .type = type, .flags = flags, .len = len, .seq = seq
	};
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} ctl = { 0 };
	uint8_t buf[VMU_MSG_MAX];
	struct iovec iov = { .iov_base = buf, .iov_len = sizeof(hdr) + len };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (len > sizeof(buf) - sizeof(hdr))
		return -EMSGSIZE;
	memcpy(buf, &hdr, sizeof(hdr));
	if (len != 0)
		memcpy(buf + sizeof(hdr), body, len);
	if (fd >= 0) {
		struct cmsghdr *cm;

		mh.msg_control = ctl.buf;
		mh.msg_controllen = sizeof(ctl.buf);
		cm = CMSG_FIRSTHDR(&mh);
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cm), &fd, sizeof(int));
	}
	while (sendmsg(c->fd, &mh, MSG_NOSIGNAL) < 0) {
		if (errno == EINTR)
			continue;
		if (errno == EAGAIN || errno == EWOULDBLOCK)
			return -ETIMEDOUT;
		return errno == EPIPE || errno == ECONNRESET ? -ENOTCONN : -errno;
	}
	return 0;
}

uint32_t
client_seq(struct vmbus_client *c, uint32_t n)
{
	return __atomic_fetch_add(&c->seq, n, __ATOMIC_RELAXED);
}

void
client_expect(struct vmbus_client *c, struct answer *a, uint32_t type, uint32_t id, uint32_t relid)
{
	memset(a, 0, sizeof(*a));
	a->type = type;
	a->id = id;
	a->count = 1;
	a->relid = relid;
	pthread_mutex_lock(&c->lock);
	TAILQ_INSERT_TAIL(&c->answers, a, link);
	pthread_mutex_unlock(&c->lock);
}

void
client_unexpect(struct vmbus_client *c, struct answer *a)
{
	pthread_mutex_lock(&c->lock);
	TAILQ_REMOVE(&c->answers, a, link);
	pthread_mutex_unlock(&c->lock);
}

int
client_await(struct vmbus_client *c, struct answer *a, unsigned int timeout_ms)
{
	struct timespec end;
	int rc = 0;

	if (__atomic_load_n(&c->silent, __ATOMIC_RELAXED) && timeout_ms > SILENT_MS)
		timeout_ms = SILENT_MS;
	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += timeout_ms / 1000;
	end.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
	if (end.tv_nsec >= 1000000000) {
		end.tv_nsec -= 1000000000;
		end.tv_sec++;
	}
	pthread_mutex_lock(&c->lock);
	while (!a->done && !c->dead && rc == 0)
		rc = pthread_cond_timedwait(&c->cond, &c->lock, &end);
	if (a->done)
		rc = a->error;
	else
		rc = c->dead ? -ENOTCONN : -ETIMEDOUT;
	if (rc == -ETIMEDOUT)
		__atomic_store_n(&c->silent, true, __ATOMIC_RELAXED);
	TAILQ_REMOVE(&c->answers, a, link);
	pthread_mutex_unlock(&c->lock);
	return rc;
}

int
client_request(struct vmbus_client *c, uint16_t type, const void *body, uint32_t len, int fd)
{
	uint32_t seq = client_seq(c, 1);
	struct answer a;
	int rc;

	client_expect(c, &a, ANSWER_VMU(VMU_ACK), seq, 0);
	rc = client_send(c, type, VMU_F_NEED_ACK, seq, body, len, fd);
	if (rc != 0) {
		client_unexpect(c, &a);
		return rc;
	}
	rc = client_await(c, &a, VMBUS_CLIENT_TIMEOUT_MS);
	return rc != 0 ? rc : (int)(a.status & 0x7fffffff);
}

/* --- receiving ----------------------------------------------------------------------------------- */

/* An answer arrived: the first who waits for it gets it, an unexpected one is dropped. */
static void
answer(struct vmbus_client *c, uint32_t type, uint32_t id, uint32_t status, uint32_t value,
       const char *name)
{
	struct answer *a;

	pthread_mutex_lock(&c->lock);
	TAILQ_FOREACH (a, &c->answers, link) {
		if (a->done || a->type != type || id - a->id >= a->count)
			continue;
		if (++a->seen < a->count && status == 0)
			break;
		a->status = status;
		a->value = value;
		if (name != NULL)
			memcpy(a->name, name, sizeof(a->name));
		a->done = true;
		pthread_cond_broadcast(&c->cond);
		break;
	}
	pthread_mutex_unlock(&c->lock);
}

static void
on_rescind(struct vmbus_client *c, uint32_t relid)
{
	struct answer *a;

	pthread_mutex_lock(&c->lock);
	TAILQ_FOREACH (a, &c->answers, link) {
		if (!a->done && a->relid == relid) {
			a->error = -ENODEV;
			a->done = true;
		}
	}
	pthread_cond_broadcast(&c->cond);
	pthread_mutex_unlock(&c->lock);
	c->ops->rescind(c->ctx, relid);
}

static bool
relid_ok(uint32_t relid)
{
	return relid > 0 && relid <= VMBUS_RELID_MAX;
}

/* A VMBus message, copied out of the datagram; the bytes behind len are zero. */
static void
on_message(struct vmbus_client *c, const void *msg, uint32_t len)
{
	const struct vmbus_msg_hdr *hdr = msg;
	const struct vmbus_msg_version_response *version = msg;
	const struct vmbus_msg_offer *offer = msg;
	const struct vmbus_msg_relid *relid = msg;
	const struct vmbus_msg_gpadl_created *created = msg;
	const struct vmbus_msg_gpadl_torndown *torndown = msg;
	const struct vmbus_msg_open_result *opened = msg;

	if (hdr->type == VMBUS_MSG_VERSION_RESPONSE && len >= sizeof(*version))
		answer(c, hdr->type, 0, version->supported ? 0 : 1, version->selected_or_conn_id,
		       NULL);
	else if (hdr->type == VMBUS_MSG_OFFERCHANNEL && len >= sizeof(*offer) &&
		 relid_ok(offer->relid))
		c->ops->offer(c->ctx, offer);
	else if (hdr->type == VMBUS_MSG_RESCIND_CHANNELOFFER && len >= sizeof(*relid) &&
		 relid_ok(relid->relid))
		on_rescind(c, relid->relid);
	else if (hdr->type == VMBUS_MSG_ALLOFFERS_DELIVERED ||
		 hdr->type == VMBUS_MSG_UNLOAD_RESPONSE)
		answer(c, hdr->type, 0, 0, 0, NULL);
	else if (hdr->type == VMBUS_MSG_GPADL_CREATED && len >= sizeof(*created))
		answer(c, hdr->type, created->gpadl, created->status, 0, NULL);
	else if (hdr->type == VMBUS_MSG_GPADL_TORNDOWN && len >= sizeof(*torndown))
		answer(c, hdr->type, torndown->gpadl, 0, 0, NULL);
	else if (hdr->type == VMBUS_MSG_OPENCHANNEL_RESULT && len >= sizeof(*opened))
		answer(c, hdr->type, opened->relid, opened->status, 0, NULL);
}

static struct client_fd *
fd_find(struct vmbus_client *c, uint16_t kind, uint32_t id)
{
	for (unsigned int i = 0; i < c->n_fds; i++)
		if (c->fds[i].kind == kind && c->fds[i].id == id)
			return &c->fds[i];
	return NULL;
}

/*
 * A descriptor for events. Takes *fd if it is kept. One that is withdrawn stays open until its
 * channel is forgotten, because its number is in use; a second one takes over that number.
 */
static void
on_fd(struct vmbus_client *c, uint16_t kind, uint32_t id, int *fd)
{
	struct client_fd *have, *grown;

	if (*fd < 0)
		return;
	/* Whatever kind of file it is, nobody blocks on it. */
	if (fcntl(*fd, F_SETFL, fcntl(*fd, F_GETFL) | O_NONBLOCK) != 0)
		return;
	pthread_mutex_lock(&c->lock);
	have = fd_find(c, kind, id);
	if (have != NULL) {
		dup3(*fd, have->fd, O_CLOEXEC);
	} else if (c->n_fds < FDS_MAX) {
		grown = realloc(c->fds, (c->n_fds + 1) * sizeof(*grown));
		if (grown != NULL) {
			grown[c->n_fds++] = (struct client_fd){ kind, id, *fd };
			c->fds = grown;
			*fd = -1;
		}
	}
	pthread_mutex_unlock(&c->lock);
}

static void
on_log(struct vmbus_client *c, const uint8_t *body, uint32_t len)
{
	char text[VMU_MSG_MAX + 1];

	for (uint32_t i = 0; i < len; i++)
		text[i] = body[i] >= ' ' && body[i] <= '~' ? (char)body[i] : '?';
	text[len] = '\0';
	c->ops->log(c->ctx, text);
}

/* Shortest body of each message a host may send; it may be longer. */
static uint32_t
min_len(uint16_t type)
{
	switch (type) {
	case VMU_HELLO_ACK:
		return sizeof(struct vmu_hello);
	case VMU_SINT_MESSAGE:
		return offsetof(struct vmu_sint_msg, payload);
	case VMU_SINT_EVENT:
	case VMU_EVENT_FD:
		return sizeof(struct vmu_event);
	case VMU_SIGNAL_FD:
		return sizeof(struct vmu_signal);
	case VMU_ACK:
		return sizeof(struct vmu_ack);
	default:
		return 0;
	}
}

static void
dispatch(struct vmbus_client *c, const struct vmu_hdr *hdr, const void *body, int *fd)
{
	const struct vmu_hello *hello = body;
	const struct vmu_sint_msg *msg = body;
	const struct vmu_event *event = body;

	switch (hdr->type) {
	case VMU_HELLO_ACK:
		answer(c, ANSWER_VMU(VMU_HELLO_ACK), 0, hello->status, hello->version, hello->name);
		break;
	case VMU_SINT_MESSAGE:
		if (msg->msg_type == VMBUS_MSGTYPE_CHANNEL && msg->size <= VMBUS_MSG_MAX &&
		    msg->size >= sizeof(struct vmbus_msg_hdr) &&
		    hdr->len >= offsetof(struct vmu_sint_msg, payload) + msg->size) {
			uint64_t copy[VMBUS_MSG_MAX / 8] = { 0 };

			memcpy(copy, msg->payload, msg->size);
			on_message(c, copy, msg->size);
		}
		break;
	case VMU_SINT_EVENT:
		if (event->sint == VMBUS_SINT && relid_ok(event->flag))
			c->ops->event(c->ctx, event->flag);
		break;
	case VMU_EVENT_FD:
		if (event->sint == VMBUS_SINT && relid_ok(event->flag))
			on_fd(c, VMU_EVENT_FD, event->flag, fd);
		break;
	case VMU_SIGNAL_FD:
		on_fd(c, VMU_SIGNAL_FD, ((const struct vmu_signal *)body)->conn_id, fd);
		break;
	case VMU_ACK:
		answer(c, ANSWER_VMU(VMU_ACK), hdr->seq, ((const struct vmu_ack *)body)->status, 0,
		       NULL);
		break;
	case VMU_LOG:
		on_log(c, body, hdr->len);
		break;
	default:
		break;
	}
}

/* One datagram; descriptors that nobody keeps are closed. False: the connection is at its end. */
static bool
receive(struct vmbus_client *c)
{
	union {
		char buf[CMSG_SPACE(FDS_PER_DATAGRAM * sizeof(int))];
		struct cmsghdr align;
	} ctl;
	uint8_t buf[VMU_MSG_MAX];
	uint64_t body[VMU_MSG_MAX / 8] = { 0 };
	struct iovec iov = { .iov_base = buf, .iov_len = sizeof(buf) };
	struct msghdr mh = { .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = ctl.buf,
			     .msg_controllen = sizeof(ctl.buf) };
	int fds[FDS_PER_DATAGRAM] = { -1 }, n_fds = 0;
	ssize_t n = recvmsg(c->fd, &mh, MSG_CMSG_CLOEXEC);
	struct vmu_hdr hdr;
	bool ok = false;

	if (n <= 0)
		return n < 0 && (errno == EINTR || errno == EAGAIN);
	__atomic_store_n(&c->silent, false, __ATOMIC_RELAXED);
	for (struct cmsghdr *m = CMSG_FIRSTHDR(&mh); m != NULL; m = CMSG_NXTHDR(&mh, m)) {
		if (m->cmsg_level != SOL_SOCKET || m->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < (m->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++)
			if (n_fds < FDS_PER_DATAGRAM)
				memcpy(&fds[n_fds++], CMSG_DATA(m) + i * sizeof(int), sizeof(int));
	}
	if ((size_t)n >= sizeof(hdr) && (mh.msg_flags & MSG_TRUNC) == 0) {
		memcpy(&hdr, buf, sizeof(hdr));
		memcpy(body, buf + sizeof(hdr), (size_t)n - sizeof(hdr));
		ok = hdr.magic == VMU_MAGIC && hdr.len == (size_t)n - sizeof(hdr);
		if (ok && hdr.len >= min_len(hdr.type))
			dispatch(c, &hdr, body, &fds[0]);
	}
	while (n_fds > 0)
		if (fds[--n_fds] >= 0)
			close(fds[n_fds]);
	return ok;
}

void
vmbus_client_run(struct vmbus_client *c)
{
	bool stopping;

	while (receive(c))
		;
	pthread_mutex_lock(&c->lock);
	c->dead = true;
	stopping = c->stopping;
	pthread_cond_broadcast(&c->cond);
	pthread_mutex_unlock(&c->lock);
	/* Whatever the reason, the host learns that nobody listens any more. */
	shutdown(c->fd, SHUT_RDWR);
	if (!stopping)
		c->ops->hangup(c->ctx);
}

void
vmbus_client_stop(struct vmbus_client *c)
{
	pthread_mutex_lock(&c->lock);
	c->stopping = true;
	pthread_mutex_unlock(&c->lock);
	shutdown(c->fd, SHUT_RDWR);
}

/* --- descriptors ----------------------------------------------------------------------------------- */

static int
fd_of(struct vmbus_client *c, uint16_t kind, uint32_t id)
{
	struct client_fd *have;
	int fd;

	pthread_mutex_lock(&c->lock);
	have = fd_find(c, kind, id);
	fd = have != NULL ? have->fd : -ENOENT;
	pthread_mutex_unlock(&c->lock);
	return fd;
}

int
vmbus_client_event_fd(struct vmbus_client *c, uint32_t relid)
{
	return fd_of(c, VMU_EVENT_FD, relid);
}

int
vmbus_client_signal_fd(struct vmbus_client *c, uint32_t conn_id)
{
	return fd_of(c, VMU_SIGNAL_FD, conn_id);
}

static void
fd_drop(struct vmbus_client *c, uint16_t kind, uint32_t id)
{
	struct client_fd *have = fd_find(c, kind, id);

	if (have == NULL)
		return;
	close(have->fd);
	*have = c->fds[--c->n_fds];
}

void
vmbus_client_forget(struct vmbus_client *c, uint32_t relid, uint32_t conn_id)
{
	pthread_mutex_lock(&c->lock);
	fd_drop(c, VMU_EVENT_FD, relid);
	fd_drop(c, VMU_SIGNAL_FD, conn_id);
	pthread_mutex_unlock(&c->lock);
}
