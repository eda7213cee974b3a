/* SPDX-License-Identifier: BSD-3-Clause */
/* The connection of a VMBus client: sending, receiving, who waits for what. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "vmbus_client_wait.h"

#define FDS_PER_DATAGRAM 4   /* one is legal; more are received only to be closed */
#define SILENT_MS	 100 /* patience with a host that has let us wait in vain */
#define IDLE_MS		 1   /* between the pieces of what is done in idle time */

static __thread uint64_t hurry_until; /* monotonic milliseconds, 0: no hurry */

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
	/* A full listen queue may not hold us for ever. */
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
	c->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->wake < 0) {
		free(c);
		return -errno;
	}
	c->seconds = -1;
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
	client_fd_close_all(c);
	close(c->wake);
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

/* --- patience ---------------------------------------------------------------------------------- */

static uint64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void
vmbus_client_hurry(unsigned int ms)
{
	hurry_until = ms != 0 ? now_ms() + ms : 0;
}

void
vmbus_client_patient(struct vmbus_client *c)
{
	__atomic_store_n(&c->silent, false, __ATOMIC_RELAXED);
}

unsigned int
client_patience(unsigned int timeout_ms)
{
	uint64_t now;

	if (hurry_until == 0)
		return timeout_ms;
	now = now_ms();
	if (now >= hurry_until)
		return 0;
	return hurry_until - now < timeout_ms ? (unsigned int)(hurry_until - now) : timeout_ms;
}

/* --- sending and waiting ---------------------------------------------------------------------- */

/* Does not wait. -EAGAIN: no room in the socket. */
static int
send_datagram(struct vmbus_client *c, uint16_t type, uint16_t flags, uint32_t seq, const void *body,
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
	while (sendmsg(c->fd, &mh, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
		if (errno == EINTR)
			continue;
		return errno == EPIPE || errno == ECONNRESET ? -ENOTCONN : -errno;
	}
	return 0;
}

int
client_send(struct vmbus_client *c, uint16_t type, uint16_t flags, uint32_t seq, const void *body,
	    uint32_t len, int fd)
{
	struct pollfd p = { .fd = c->fd, .events = POLLOUT };
	uint64_t end = now_ms() + client_patience(VMBUS_CLIENT_TIMEOUT_MS), now;
	int rc;

	while ((rc = send_datagram(c, type, flags, seq, body, len, fd)) == -EAGAIN) {
		now = now_ms();
		if (now >= end)
			return -ETIMEDOUT;
		poll(&p, 1, (int)(end - now));
	}
	return rc;
}

static int
send_unsent(struct vmbus_client *c, const struct client_unsent *u)
{
	struct vmbus_msg_relid released = { .hdr.type = VMBUS_MSG_RELID_RELEASED, .relid = u->id };
	struct vmu_post post = { .conn_id = c->msg_conn_id,
				 .msg_type = VMBUS_MSGTYPE_CHANNEL,
				 .size = sizeof(released) };
	struct vmu_signal signal = { .conn_id = u->id };

	if (u->type == VMU_SIGNAL_EVENT)
		return send_datagram(c, u->type, 0, client_seq(c, 1), &signal, sizeof(signal), -1);
	memcpy(post.payload, &released, sizeof(released));
	return send_datagram(c, u->type, 0, client_seq(c, 1), &post,
			     offsetof(struct vmu_post, payload) + sizeof(released), -1);
}

/* The lock is held. A doorbell that waits already is the same doorbell. */
static int
keep_unsent(struct vmbus_client *c, const struct client_unsent *u)
{
	const uint64_t one = 1;

	for (unsigned int i = 0; i < c->n_unsent; i++)
		if (c->unsent[i].type == u->type && c->unsent[i].id == u->id)
			return 0;
	if (c->n_unsent == CLIENT_UNSENT_MAX)
		return -EAGAIN;
	c->unsent[c->n_unsent++] = *u;
	return write(c->wake, &one, sizeof(one)) == sizeof(one) || errno == EAGAIN ? 0 : -errno;
}

int
client_send_soon(struct vmbus_client *c, uint16_t type, uint32_t id)
{
	const struct client_unsent u = { type, id };
	int rc = -EAGAIN;

	pthread_mutex_lock(&c->lock);
	if (c->n_unsent == 0)
		rc = send_unsent(c, &u);
	if (rc == -EAGAIN)
		rc = keep_unsent(c, &u);
	pthread_mutex_unlock(&c->lock);
	return rc;
}

/* The socket has room again. */
static void
flush_unsent(struct vmbus_client *c)
{
	unsigned int n = 0;

	pthread_mutex_lock(&c->lock);
	while (n < c->n_unsent && send_unsent(c, &c->unsent[n]) != -EAGAIN)
		n++;
	c->n_unsent -= n;
	memmove(c->unsent, c->unsent + n, c->n_unsent * sizeof(c->unsent[0]));
	pthread_mutex_unlock(&c->lock);
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
	/* It may have been rescinded before anybody waited for it. */
	if (relid <= VMBUS_RELID_MAX && c->relid[relid].rescinded) {
		a->error = -ENODEV;
		a->done = true;
	}
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
	timeout_ms = client_patience(timeout_ms);
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
	/* A wait that was cut shorter tells nothing. */
	if (rc == -ETIMEDOUT && timeout_ms >= SILENT_MS)
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
	return rc != 0 ? rc : client_ack_status(a.status);
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
on_offer(struct vmbus_client *c, const struct vmbus_msg_offer *offer)
{
	struct client_relid *r = &c->relid[offer->relid];

	pthread_mutex_lock(&c->lock);
	/* Until it is released a second offer is no offer. */
	if (!r->offered)
		*r = (struct client_relid){ .conn_id = offer->conn_id, .offered = true };
	pthread_mutex_unlock(&c->lock);
	c->ops->offer(c->ctx, offer);
}

static void
on_rescind(struct vmbus_client *c, uint32_t relid)
{
	struct answer *a;

	pthread_mutex_lock(&c->lock);
	c->relid[relid].rescinded = true;
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

static void
on_torndown(struct vmbus_client *c, uint32_t gpadl)
{
	if (c->ops->torndown != NULL)
		c->ops->torndown(c->ctx, gpadl);
	answer(c, VMBUS_MSG_GPADL_TORNDOWN, gpadl, 0, 0, NULL);
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
		on_offer(c, offer);
	else if (hdr->type == VMBUS_MSG_RESCIND_CHANNELOFFER && len >= sizeof(*relid) &&
		 relid_ok(relid->relid))
		on_rescind(c, relid->relid);
	else if (hdr->type == VMBUS_MSG_ALLOFFERS_DELIVERED ||
		 hdr->type == VMBUS_MSG_UNLOAD_RESPONSE)
		answer(c, hdr->type, 0, 0, 0, NULL);
	else if (hdr->type == VMBUS_MSG_GPADL_CREATED && len >= sizeof(*created))
		answer(c, hdr->type, created->gpadl, created->status, 0, NULL);
	else if (hdr->type == VMBUS_MSG_GPADL_TORNDOWN && len >= sizeof(*torndown))
		on_torndown(c, torndown->gpadl);
	else if (hdr->type == VMBUS_MSG_OPENCHANNEL_RESULT && len >= sizeof(*opened))
		answer(c, hdr->type, opened->relid, opened->status, 0, NULL);
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
		if (event->sint == VMBUS_SINT && relid_ok(event->flag) &&
		    !client_fd_ring(c, event->flag))
			c->ops->event(c->ctx, event->flag);
		break;
	case VMU_EVENT_FD:
		if (event->sint == VMBUS_SINT && relid_ok(event->flag))
			client_fd_take(c, VMU_EVENT_FD, event->flag, fd);
		break;
	case VMU_SIGNAL_FD:
		client_fd_take(c, VMU_SIGNAL_FD, ((const struct vmu_signal *)body)->conn_id, fd);
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
	ssize_t n = recvmsg(c->fd, &mh, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
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

/* Sleep until the host has sent something, doing what else comes up. False: it cannot. */
static bool
wait_input(struct vmbus_client *c)
{
	struct pollfd p[] = { { .fd = c->fd, .events = POLLIN },
			      { .fd = c->wake, .events = POLLIN },
			      { .fd = c->seconds, .events = POLLIN } };
	bool more = c->ops->idle != NULL;
	uint64_t n;
	int ready;

	pthread_mutex_lock(&c->lock);
	if (c->n_unsent != 0)
		p[0].events |= POLLOUT;
	pthread_mutex_unlock(&c->lock);
	while ((ready = poll(p, sizeof(p) / sizeof(p[0]), more ? IDLE_MS : -1)) == 0)
		more = c->ops->idle(c->ctx);
	if (ready < 0)
		return errno == EINTR;
	if (p[1].revents != 0 && read(c->wake, &n, sizeof(n)) < 0 && errno != EAGAIN)
		return false;
	if (p[2].revents != 0)
		client_fd_pass_on(c);
	if ((p[0].revents & POLLOUT) != 0)
		flush_unsent(c);
	return true;
}

void
vmbus_client_run(struct vmbus_client *c)
{
	bool stopping;

	while (wait_input(c) && receive(c))
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
vmbus_client_wake(struct vmbus_client *c)
{
	const uint64_t one = 1;

	/* Full: it is awake. */
	while (write(c->wake, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

void
vmbus_client_stop(struct vmbus_client *c)
{
	pthread_mutex_lock(&c->lock);
	c->stopping = true;
	pthread_mutex_unlock(&c->lock);
	shutdown(c->fd, SHUT_RDWR);
}
