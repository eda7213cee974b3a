/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Event descriptors that the host gives. It may send any file: only eventfds of channels that we
 * have opened are kept, so that their number is bounded, and that nobody sleeps, or dies of a
 * SIGPIPE, because of what the other end of a pipe does.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmbus_client_wait.h"

/* By what the kernel says of it: there is no call to ask. */
static bool
is_eventfd(int fd)
{
	char path[64], text[512];
	ssize_t n;
	int info;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	info = open(path, O_RDONLY | O_CLOEXEC);
	if (info < 0)
		return false;
	n = read(info, text, sizeof(text) - 1);
	close(info);
	text[n > 0 ? n : 0] = '\0';
	return strstr(text, "\neventfd-count:") != NULL;
}

bool
client_fd_able(void)
{
	int fd = eventfd(0, EFD_CLOEXEC);
	bool able = fd >= 0 && is_eventfd(fd);

	if (fd >= 0)
		close(fd);
	return able;
}

static struct client_fd *
find(struct vmbus_client *c, uint16_t kind, uint32_t id)
{
	for (unsigned int i = 0; i < c->n_fds; i++)
		if (c->fds[i].kind == kind && c->fds[i].id == id)
			return &c->fds[i];
	return NULL;
}

/* Of a channel that we opened? */
static bool
expected(const struct vmbus_client *c, uint16_t kind, uint32_t id)
{
	if (kind == VMU_EVENT_FD)
		return c->relid[id].opened;
	for (uint32_t i = 1; i <= VMBUS_RELID_MAX; i++)
		if (c->relid[i].opened && c->relid[i].conn_id == id)
			return true;
	return false;
}

/* Before its number is closed: the host's copy keeps the file in the epoll set otherwise. */
static void
drop_second(struct vmbus_client *c, struct client_fd *have)
{
	if (have->second < 0)
		return;
	epoll_ctl(c->seconds, EPOLL_CTL_DEL, have->second, NULL);
	close(have->second);
	have->second = -1;
}

/*
 * An application has the number of the first one in its epoll sets, which remember the file
 * behind it: the number cannot be given another file.
 */
static bool
keep_second(struct vmbus_client *c, struct client_fd *have, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u32 = have->id };

	drop_second(c, have);
	if (c->seconds < 0)
		c->seconds = epoll_create1(EPOLL_CLOEXEC);
	if (c->seconds < 0 || epoll_ctl(c->seconds, EPOLL_CTL_ADD, fd, &ev) != 0)
		return false;
	have->second = fd;
	return true;
}

static bool
keep(struct vmbus_client *c, uint16_t kind, uint32_t id, int fd)
{
	struct client_fd *have = find(c, kind, id), *grown;

	if (have != NULL && kind == VMU_EVENT_FD)
		return keep_second(c, have, fd);
	if (have != NULL) /* ours to write to: others may be writing right now */
		return dup3(fd, have->fd, O_CLOEXEC) >= 0 && close(fd) == 0;
	grown = realloc(c->fds, (c->n_fds + 1) * sizeof(*grown));
	if (grown == NULL)
		return false;
	grown[c->n_fds++] = (struct client_fd){ kind, id, fd, -1 };
	c->fds = grown;
	return true;
}

void
client_fd_take(struct vmbus_client *c, uint16_t kind, uint32_t id, int *fd)
{
	bool wanted;

	if (*fd < 0)
		return; /* withdrawn: ours stays open until the channel is forgotten */
	if (!is_eventfd(*fd)) {
		c->ops->refused(c->ctx, "a descriptor that is no eventfd");
		return;
	}
	if (fcntl(*fd, F_SETFL, O_NONBLOCK) != 0)
		return;
	pthread_mutex_lock(&c->lock);
	wanted = expected(c, kind, id);
	if (wanted && keep(c, kind, id, *fd))
		*fd = -1;
	pthread_mutex_unlock(&c->lock);
	if (!wanted)
		c->ops->refused(c->ctx, "a descriptor of a channel that is not open");
}

bool
client_fd_ring(struct vmbus_client *c, uint32_t relid)
{
	const uint64_t one = 1;
	struct client_fd *have;
	bool rung;

	pthread_mutex_lock(&c->lock);
	have = find(c, VMU_EVENT_FD, relid);
	/* A counter that is full has been rung already. */
	rung = have != NULL &&
	       (write(have->fd, &one, sizeof(one)) == sizeof(one) || errno == EAGAIN);
	pthread_mutex_unlock(&c->lock);
	return rung;
}

void
client_fd_pass_on(struct vmbus_client *c)
{
	struct epoll_event ev[8];
	int n = epoll_wait(c->seconds, ev, 8, 0);
	struct client_fd *have;
	uint64_t count;

	pthread_mutex_lock(&c->lock);
	for (int i = 0; i < n; i++) {
		have = find(c, VMU_EVENT_FD, ev[i].data.u32);
		if (have == NULL || have->second < 0)
			continue;
		/* What cannot be read, or written on, would wake us for ever. */
		if (read(have->second, &count, sizeof(count)) != sizeof(count) ||
		    (write(have->fd, &count, sizeof(count)) < 0 && errno != EAGAIN))
			drop_second(c, have);
	}
	pthread_mutex_unlock(&c->lock);
}

void
client_fd_close_all(struct vmbus_client *c)
{
	for (unsigned int i = 0; i < c->n_fds; i++) {
		drop_second(c, &c->fds[i]);
		close(c->fds[i].fd);
	}
	free(c->fds);
	if (c->seconds >= 0)
		close(c->seconds);
}

/* --- for the back end --------------------------------------------------------------------------- */

static int
fd_of(struct vmbus_client *c, uint16_t kind, uint32_t id)
{
	struct client_fd *have;
	int fd;

	pthread_mutex_lock(&c->lock);
	have = find(c, kind, id);
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
drop(struct vmbus_client *c, uint16_t kind, uint32_t id)
{
	struct client_fd *have = find(c, kind, id);

	if (have == NULL)
		return;
	drop_second(c, have);
	close(have->fd);
	*have = c->fds[--c->n_fds];
}

void
vmbus_client_forget(struct vmbus_client *c, uint32_t relid, uint32_t conn_id)
{
	pthread_mutex_lock(&c->lock);
	if (relid <= VMBUS_RELID_MAX)
		c->relid[relid].opened = false;
	drop(c, VMU_EVENT_FD, relid);
	drop(c, VMU_SIGNAL_FD, conn_id);
	pthread_mutex_unlock(&c->lock);
}
