/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdbool.h>
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

int
loop_mod(struct event_source *src, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = src };

	return epoll_ctl(epfd, EPOLL_CTL_MOD, src->fd, &ev) != 0 ? -errno : 0;
}

void
loop_del(struct event_source *src)
{
	if (src->fd >= 0)
		epoll_ctl(epfd, EPOLL_CTL_DEL, src->fd, NULL);
	src->fd = -1;
}

/* Linux has epoll_pwait2() since 5.11; what came before it counts milliseconds. */
static int
wait_events(struct epoll_event *ev, int max, uint64_t ns)
{
	static bool coarse;
	struct timespec ts = { .tv_sec = (time_t)(ns / 1000000000u),
			       .tv_nsec = (long)(ns % 1000000000u) };
	int n = -1;

	if (!coarse) {
		n = epoll_pwait2(epfd, ev, max, ns == LOOP_FOREVER ? NULL : &ts, NULL);
		coarse = n < 0 && errno == ENOSYS;
	}
	if (coarse)
		n = epoll_pwait(epfd, ev, max,
				ns == LOOP_FOREVER ? -1 : (int)((ns + 999999u) / 1000000u), NULL);
	return n;
}

int
loop_wait(uint64_t ns)
{
	struct epoll_event ev[16];
	int n = wait_events(ev, 16, ns);

	for (int i = 0; i < n; i++) {
		struct event_source *src = ev[i].data.ptr;

		/* Removed by a handler that ran before it. */
		if (src->fd >= 0)
			src->ready(src, ev[i].events);
	}
	return n > 0;
}
