/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dgram: a Unix datagram socket, one frame each; what QEMU's "-netdev dgram" has at its other
 * end. A peer that does not exist (yet) is a cable without an end: frames wait here.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "frame_queue.h"
#include "kinds.h"

#define QUEUE	  256
#define FRAME_MIN 14
#define FRAME_MAX 9728 /* with a tag */
#define MACS_LEN  12
#define TAG_LEN	  4
#define BURST	  64

struct dgram {
	struct port port;
	int fd;
	struct sockaddr_un local;
	struct sockaddr_un peer;
	struct frame_queue in; /* for the guest */
	uint64_t received;     /* from the guest */
	uint64_t received_bytes;
	uint64_t refused;
	uint64_t unusable;
};

static struct dgram *
dgram_of(const struct port *port)
{
	return (struct dgram *)(uintptr_t)port;
}

static int
set_path(struct sockaddr_un *addr, const char *text, size_t len)
{
	addr->sun_family = AF_UNIX;
	if (len == 0 || len >= sizeof(addr->sun_path))
		return -EINVAL;
	memcpy(addr->sun_path, text, len);
	return 0;
}

static int
dgram_bind(struct dgram *d, const char *text)
{
	size_t len = strcspn(text, ",");

	if (text[len] != ',' || set_path(&d->local, text, len) != 0 ||
	    set_path(&d->peer, text + len + 1, strlen(text + len + 1)) != 0) {
		fprintf(stderr,
			"hv-host: port dgram: \"%s\" is not LOCAL,PEER: the paths of two "
			"sockets, of at most %zu bytes\n",
			text, sizeof(d->local.sun_path) - 1);
		return -EINVAL;
	}
	d->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (d->fd < 0)
		return -errno;
	if (bind(d->fd, (struct sockaddr *)&d->local, sizeof(d->local)) != 0) {
		int rc = -errno;

		fprintf(stderr, "hv-host: port dgram: %s: %s\n", d->local.sun_path, strerror(-rc));
		d->local.sun_path[0] = '\0'; /* not ours to remove */
		return rc;
	}
	return 0;
}

static void
dgram_destroy(struct port *port)
{
	struct dgram *d = dgram_of(port);

	if (d->fd >= 0) {
		close(d->fd);
		if (d->local.sun_path[0] != '\0')
			unlink(d->local.sun_path);
	}
	frame_queue_free(&d->in);
	free(d);
}

static int
dgram_create(struct nic *nic, const char *text, struct port **port)
{
	struct dgram *d = calloc(1, sizeof(*d));
	int rc;

	if (d == NULL)
		return -ENOMEM;
	d->port = (struct port){ .ops = &port_dgram_ops, .nic = nic };
	d->fd = -1;
	rc = frame_queue_init(&d->in, QUEUE);
	if (rc == 0)
		rc = dgram_bind(d, text);
	if (rc != 0) {
		dgram_destroy(&d->port);
		return rc;
	}
	*port = &d->port;
	return 0;
}

/* One datagram into the queue; false: there is none, or no room. The tag travels beside it. */
static bool
dgram_receive(struct dgram *d)
{
	uint8_t *at = frame_queue_room(&d->in, FRAME_MAX);
	struct port_frame f = { 0 };
	ssize_t n;

	if (at == NULL)
		return false;
	n = recv(d->fd, at, FRAME_MAX, MSG_TRUNC);
	if (n < 0)
		return false;
	if (n < FRAME_MIN || n > FRAME_MAX) {
		d->unusable++;
		return true;
	}
	f.len = (uint32_t)n;
	if (f.len >= FRAME_MIN + TAG_LEN && at[MACS_LEN] == 0x81 && at[MACS_LEN + 1] == 0x00) {
		f.flags = PORT_F_VLAN;
		f.tci = (uint16_t)(at[MACS_LEN + 2] << 8 | at[MACS_LEN + 3]);
		memmove(at + TAG_LEN, at, MACS_LEN);
		at += TAG_LEN;
		f.len -= TAG_LEN;
	}
	frame_queue_put(&d->in, at, &f);
	return true;
}

static unsigned int
dgram_peek(struct port *port, struct port_frame *frames, unsigned int max)
{
	struct dgram *d = dgram_of(port);

	for (unsigned int i = 0; i < BURST && dgram_receive(d); i++)
		;
	return frame_queue_peek(&d->in, frames, max);
}

static void
dgram_release(struct port *port, unsigned int n)
{
	frame_queue_release(&dgram_of(port)->in, n);
}

static bool
dgram_push(struct port *port, const struct port_frame *frame)
{
	struct dgram *d = dgram_of(port);
	uint8_t tag[TAG_LEN] = { 0x81, 0, (uint8_t)(frame->tci >> 8), (uint8_t)frame->tci };
	uint8_t *bytes = (uint8_t *)(uintptr_t)frame->data;
	size_t macs = frame->len < MACS_LEN ? frame->len : MACS_LEN;
	struct iovec iov[3] = {
		{ bytes, macs },
		{ tag, (frame->flags & PORT_F_VLAN) != 0 ? sizeof(tag) : 0 },
		{ bytes + macs, frame->len - macs },
	};
	struct msghdr mh = { .msg_name = &d->peer,
			     .msg_namelen = sizeof(d->peer),
			     .msg_iov = iov,
			     .msg_iovlen = 3 };

	if (sendmsg(d->fd, &mh, MSG_NOSIGNAL) < 0) {
		d->refused++;
		return false;
	}
	d->received++;
	d->received_bytes += frame->len;
	return true;
}

static unsigned int
dgram_flush(struct port *port)
{
	(void)port;
	return 0;
}

static int
dgram_command(struct port *port, const char *cmd, json_t *request, json_t *reply)
{
	struct dgram *d = dgram_of(port);

	(void)request;
	(void)reply;
	/* A cable that is cut is not looked at: the socket's buffer fills up, and no more. */
	if (strcmp(cmd, "cut") == 0 || strcmp(cmd, "mend") == 0)
		return 0;
	if (strcmp(cmd, "reset-stats") != 0 && strcmp(cmd, "clear") != 0)
		return -ENOENT;
	d->in.in = d->in.in_bytes = d->in.out = d->in.refused = 0;
	d->received = d->received_bytes = d->refused = d->unusable = 0;
	return 0;
}

static json_t *
dgram_stats(struct port *port)
{
	const struct dgram *d = dgram_of(port);

	return json_pack("{ss ss sI sI sI sI sI sI}", "kind", "dgram", "peer", d->peer.sun_path,
			 "sent", (json_int_t)d->in.out, "from_guest_frames",
			 (json_int_t)d->received, "from_guest_bytes", (json_int_t)d->received_bytes,
			 "waiting", (json_int_t)d->in.used, "refused", (json_int_t)d->refused,
			 "unusable", (json_int_t)d->unusable);
}

const struct port_ops port_dgram_ops = {
	.kind = "dgram",
	.create = dgram_create,
	.destroy = dgram_destroy,
	.peek = dgram_peek,
	.release = dgram_release,
	.push = dgram_push,
	.flush = dgram_flush,
	.command = dgram_command,
	.stats = dgram_stats,
};
