/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "loop.h"

static int epfd = -1;

int
loop_init(void)
{
	epfd = epoll_create1(EPOLL_CLOEXEC);
	return epfd < 0 ? -errno : 0;
}

void
loop_fini(void)
{
	if (epfd >= 0)
		close(epfd);
	epfd = -1;
}

int
loop_add(struct event_source *src, int fd, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = src };

	src->fd = fd;
	return epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev) != 0 ? -errno : 0;
}

void
loop_del(struct event_source *src)
{
	if (src->fd >= 0)
		epoll_ctl(epfd, EPOLL_CTL_DEL, src->fd, NULL);
	src->fd = -1;
}

int
loop_wait(uint64_t ns)
{
	struct timespec ts = { .tv_sec = (time_t)(ns / 1000000000u),
			       .tv_nsec = (long)(ns % 1000000000u) };
	struct epoll_event ev[16];
	int n = epoll_pwait2(epfd, ev, 16, &ts, NULL);

	for (int i = 0; i < n; i++) {
		struct event_source *src = ev[i].data.ptr;

		/* Removed by a handler that ran before it. */
		if (src->fd >= 0)
			src->ready(src, ev[i].events);
	}
	return n > 0;
}
