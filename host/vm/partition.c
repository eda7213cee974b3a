/* SPDX-License-Identifier: BSD-3-Clause */
/* The vmbus-user socket of one guest: every datagram is checked, then acted upon. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "options.h"
#include "partition.h"
#include "vmbus/vmbus_host.h"

#define READS_PER_SLICE 64
#define FDS_MAX		4 /* one is legal; more are received only to be closed */

struct partition_list partitions = TAILQ_HEAD_INITIALIZER(partitions);

static void
ack(struct partition *part, const struct vmu_hdr *hdr, uint32_t status)
{
	struct vmu_ack a = { .status = status };

	if (hdr->flags & VMU_F_NEED_ACK)
		out_send(part, VMU_ACK, hdr->seq, &a, sizeof(a), -1, 0);
}

static char
printable(char c)
{
	return c < ' ' || c > '~' ? '?' : c;
}

static void
on_hello(struct partition *part, const struct vmu_hdr *hdr, const struct vmu_hello *h)
{
	struct vmu_hello reply = { .version = VMU_VERSION };

	if (host_opt.signal_fd)
		reply.features |= VMU_FEAT_SIGNAL_FD;
	if (host_opt.event_fd)
		reply.features |= VMU_FEAT_EVENT_FD;
	strncpy(reply.name, host_opt.name, sizeof(reply.name) - 1);
	if (h->version != VMU_VERSION)
		reply.status = EPROTONOSUPPORT;
	else if (part->hello)
		reply.status = EALREADY;
	out_send(part, VMU_HELLO_ACK, hdr->seq, &reply, sizeof(reply), -1, 0);
	if (reply.status != 0) {
		host_violation(part, "vmu.hello", h, sizeof(*h), "version %u, %s HELLO", h->version,
			       part->hello ? "second" : "first");
		partition_kill(part, "HELLO was refused");
		return;
	}
	part->hello = true;
	part->features = h->features & reply.features;
	part->n_vps = h->n_vps;
	memcpy(part->name, h->name, VMU_NAME_LEN);
	for (char *c = part->name; *c != '\0'; c++)
		*c = printable(*c);
	host_log(HOST_INFO, "guest %u: \"%s\" connected, %u processors", part->id, part->name,
		 part->n_vps);
	host_attach_nics(part);
}

static void
on_mem(struct partition *part, const struct vmu_hdr *hdr, const struct vmu_mem *mem, int fd)
{
	int rc;

	if (hdr->type == VMU_MEM_ADD) {
		rc = fd < 0 ? EBADF : mem_add(part, mem, fd);
	} else if (mem->size != 0 && mem->gpa + mem->size > mem->gpa &&
		   (gpadl_overlaps(part, mem->gpa, mem->size) ||
		    vmbus_uses_memory(part, mem->gpa, mem->size))) {
		rc = EBUSY;
	} else {
		rc = mem_del(part, mem);
	}
	if (rc != 0)
		host_violation(part, hdr->type == VMU_MEM_ADD ? "mem.add" : "mem.del", mem,
			       sizeof(*mem), "memory at %#llx, %#llx bytes: %s",
			       (unsigned long long)mem->gpa, (unsigned long long)mem->size,
			       strerror(rc));
	ack(part, hdr, (uint32_t)rc);
}

static void
on_post(struct partition *part, const struct vmu_hdr *hdr, const struct vmu_post *post)
{
	uint32_t fixed = offsetof(struct vmu_post, payload);
	uint32_t status = HV_STATUS_INVALID_PARAMETER;

	if (post->size > VMBUS_MSG_MAX || hdr->len != fixed + post->size)
		host_violation(part, "vmu.post-size", post, fixed,
			       "POST_MESSAGE of %u bytes carries %u", post->size, hdr->len - fixed);
	else if (post->msg_type != VMBUS_MSGTYPE_CHANNEL)
		host_violation(part, "vmu.post-type", post, fixed, "message type %u",
			       post->msg_type);
	else
		status = vmbus_post(part, post->conn_id, post->payload, post->size);
	ack(part, hdr, status);
}

/* A guest's words, as far as a terminal can bear them. */
static void
on_log(struct partition *part, const char *text, uint32_t len)
{
	char line[VMU_MSG_MAX + 1];

	for (uint32_t i = 0; i < len; i++)
		line[i] = printable(text[i]);
	line[len] = '\0';
	host_log(HOST_INFO, "guest %u says: %s", part->id, line);
}

/* Shortest and longest body of each message a guest may send. */
static bool
length_ok(uint16_t type, uint32_t len)
{
	switch (type) {
	case VMU_HELLO:
		return len == sizeof(struct vmu_hello);
	case VMU_MEM_ADD:
	case VMU_MEM_DEL:
		return len == sizeof(struct vmu_mem);
	case VMU_POST_MESSAGE:
		return len >= offsetof(struct vmu_post, payload) && len <= sizeof(struct vmu_post);
	case VMU_SIGNAL_EVENT:
		return len == sizeof(struct vmu_signal);
	case VMU_RESET:
		return len == 0;
	case VMU_ACK:
		return len == sizeof(struct vmu_ack);
	case VMU_LOG:
		return true;
	default:
		return false;
	}
}

static void
dispatch(struct partition *part, const struct vmu_hdr *hdr, const void *body, int fd)
{
	switch (hdr->type) {
	case VMU_HELLO:
		on_hello(part, hdr, body);
		break;
	case VMU_MEM_ADD:
	case VMU_MEM_DEL:
		on_mem(part, hdr, body, fd);
		break;
	case VMU_POST_MESSAGE:
		on_post(part, hdr, body);
		break;
	case VMU_SIGNAL_EVENT:
		ack(part, hdr,
		    vmbus_signal_event(part, ((const struct vmu_signal *)body)->conn_id));
		break;
	case VMU_RESET:
		vmbus_reset(part);
		ack(part, hdr, 0);
		break;
	case VMU_LOG:
		on_log(part, body, hdr->len);
		break;
	default:
		break;
	}
}

static void
on_datagram(struct partition *part, const uint8_t *buf, size_t len, int fd)
{
	struct vmu_hdr hdr;
	uint64_t body[VMU_MSG_MAX / 8];

	if (len < sizeof(hdr)) {
		host_violation(part, "vmu.short", buf, len, "datagram of %zu bytes", len);
		partition_kill(part, "it does not speak vmbus-user");
		return;
	}
	memcpy(&hdr, buf, sizeof(hdr));
	memcpy(body, buf + sizeof(hdr), len - sizeof(hdr));
	if (hdr.magic != VMU_MAGIC || hdr.len != len - sizeof(hdr) ||
	    !length_ok(hdr.type, hdr.len)) {
		host_violation(part, "vmu.header", buf, len, "malformed header or unknown type %u",
			       hdr.type);
		/* Without the magic nothing else can be believed; otherwise go on. */
		if (hdr.magic != VMU_MAGIC)
			partition_kill(part, "it does not speak vmbus-user");
		else
			ack(part, &hdr, EINVAL);
		return;
	}
	if (!part->hello && hdr.type != VMU_HELLO) {
		host_violation(part, "vmu.before-hello", buf, len, "type %u before HELLO",
			       hdr.type);
		ack(part, &hdr, EPROTO);
		return;
	}
	dispatch(part, &hdr, body, fd);
}

/* One datagram; its descriptors never outlive the call. 0, or -errno when there is none. */
static int
receive(struct partition *part)
{
	union {
		char buf[CMSG_SPACE(FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} ctl;
	uint8_t buf[VMU_MSG_MAX];
	struct iovec iov = { .iov_base = buf, .iov_len = sizeof(buf) };
	struct msghdr mh = { .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = ctl.buf,
			     .msg_controllen = sizeof(ctl.buf) };
	int fds[FDS_MAX], n_fds = 0;
	ssize_t n = recvmsg(part->src.fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n <= 0)
		return n == 0 ? -EPIPE : -errno;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&mh); c != NULL; c = CMSG_NXTHDR(&mh, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++)
			if (n_fds < FDS_MAX)
				memcpy(&fds[n_fds++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
	}
	if ((mh.msg_flags & MSG_TRUNC) != 0)
		host_violation(part, "vmu.too-long", buf, (size_t)n, "datagram above %u bytes",
			       VMU_MSG_MAX);
	else
		on_datagram(part, buf, (size_t)n, n_fds == 1 ? fds[0] : -1);
	while (n_fds > 0)
		close(fds[--n_fds]);
	return 0;
}

static void
partition_ready(struct event_source *src, uint32_t events)
{
	struct partition *part =
		(struct partition *)((char *)src - offsetof(struct partition, src));
	int rc = 0;

	(void)events;
	for (unsigned int i = 0; i < READS_PER_SLICE && rc == 0 && !part->dead; i++)
		rc = receive(part);
	if (rc != 0 && rc != -EAGAIN && rc != -EINTR && !part->dead)
		partition_kill(part, "it hung up");
}

void
partition_accept(struct event_source *src, uint32_t events)
{
	static unsigned int next_id = 1;
	int fd = listen_accept(src, "a guest");
	struct partition *part;

	(void)events;
	if (fd < 0)
		return;
	part = calloc(1, sizeof(*part));
	if (part != NULL) {
		part->src.fd = -1;
		part->src.ready = partition_ready;
		TAILQ_INIT(&part->files);
		TAILQ_INIT(&part->gpadls);
		TAILQ_INIT(&part->out);
		TAILQ_INIT(&part->late);
		part->vmbus = vmbus_create(part);
	}
	if (part == NULL || part->vmbus == NULL || loop_add(&part->src, fd, EPOLLIN) != 0) {
		host_log(HOST_ERR, "a guest was turned away: out of memory");
		if (part != NULL)
			vmbus_destroy(part);
		free(part);
		close(fd);
		return;
	}
	part->id = next_id++;
	TAILQ_INSERT_TAIL(&partitions, part, link);
}

void
partition_kill(struct partition *part, const char *why)
{
	if (part->dead)
		return;
	host_log(HOST_INFO, "guest %u: disconnected: %s", part->id, why);
	part->dead = true;
}

static void
partition_free(struct partition *part)
{
	int fd = part->src.fd;

	vmbus_reset(part);
	host_detach_nics(part);
	vmbus_destroy(part);
	mem_drop_all(part);
	out_purge(part, false);
	mem_sigbus_report();
	TAILQ_REMOVE(&partitions, part, link);
	loop_del(&part->src);
	close(fd);
	free(part);
}

void
partitions_reap(void)
{
	struct partition *part, *next;

	for (part = TAILQ_FIRST(&partitions); part != NULL; part = next) {
		next = TAILQ_NEXT(part, link);
		if (part->dead)
			partition_free(part);
	}
	channels_reap();
}

void
partitions_free(void)
{
	while (!TAILQ_EMPTY(&partitions))
		partition_free(TAILQ_FIRST(&partitions));
	channels_reap();
}
