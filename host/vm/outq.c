/* SPDX-License-Identifier: BSD-3-Clause */
/* What waits to be sent to a guest: bounded, in order, each with the time it is due. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "partition.h"

#define OUT_MAX 8192 /* a guest that reads nothing for so long is disconnected */

struct out_msg {
	TAILQ_ENTRY(out_msg) link;
	uint64_t due;
	int fd;
	size_t len;
	uint8_t bytes[];
};

static int
send_now(struct partition *part, const uint8_t *bytes, size_t len, int fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} ctl = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)bytes, .iov_len = len };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		struct cmsghdr *c;

		mh.msg_control = ctl.buf;
		mh.msg_controllen = sizeof(ctl.buf);
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	return sendmsg(part->src.fd, &mh, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static void
out_free(struct partition *part, struct out_list *list, struct out_msg *m)
{
	TAILQ_REMOVE(list, m, link);
	part->n_out--;
	if (m->fd >= 0)
		close(m->fd);
	free(m);
}

void
out_send(struct partition *part, uint16_t type, uint32_t seq, const void *body, size_t len, int fd,
	 uint64_t due)
{
	struct vmu_hdr hdr = { .magic = VMU_MAGIC, .type = type, .len = (uint32_t)len, .seq = seq };
	uint8_t bytes[VMU_MSG_MAX];
	struct out_msg *m;
	int rc;

	if (part->dead || part->src.fd < 0)
		return;
	memcpy(bytes, &hdr, sizeof(hdr));
	memcpy(bytes + sizeof(hdr), body, len);
	len += sizeof(hdr);
	if (TAILQ_EMPTY(&part->out) && due == 0) {
		rc = send_now(part, bytes, len, fd);
		if (rc == 0)
			return;
		if (rc != -EAGAIN && rc != -ENOBUFS) {
			partition_kill(part, strerror(-rc));
			return;
		}
	}
	m = part->n_out < OUT_MAX ? malloc(sizeof(*m) + len) : NULL;
	if (m == NULL) {
		partition_kill(part, "it does not read its messages");
		return;
	}
	m->due = due;
	m->len = len;
	m->fd = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
	memcpy(m->bytes, bytes, len);
	/* What is late holds up nothing but what is late. */
	if (due != 0)
		TAILQ_INSERT_TAIL(&part->late, m, link);
	else
		TAILQ_INSERT_TAIL(&part->out, m, link);
	part->n_out++;
}

/* False: the guest does not take more now. */
static bool
flush(struct partition *part, struct out_list *list)
{
	struct out_msg *m;

	while (!part->dead && (m = TAILQ_FIRST(list)) != NULL && m->due <= host_now()) {
		int rc = send_now(part, m->bytes, m->len, m->fd);

		if (rc == -EAGAIN || rc == -ENOBUFS)
			return false;
		out_free(part, list, m);
		if (rc != 0)
			partition_kill(part, strerror(-rc));
	}
	return true;
}

void
out_flush(struct partition *part)
{
	if (flush(part, &part->out))
		flush(part, &part->late);
}

static void
purge(struct partition *part, struct out_list *list)
{
	struct out_msg *m;

	while ((m = TAILQ_FIRST(list)) != NULL)
		out_free(part, list, m);
}

void
out_purge(struct partition *part, bool delayed_only)
{
	purge(part, &part->late);
	if (!delayed_only)
		purge(part, &part->out);
}
