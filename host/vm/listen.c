/* SPDX-License-Identifier: BSD-3-Clause */
/* A listening Unix socket: private to the user, replaces a dead predecessor's file only. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "partition.h"

/* Kept for the day when there is no other: somebody nobody accepts wakes us for ever. */
static int spare = -1;

/* 0 if nobody listens there (a stale file is removed), else -errno with a message. */
static int
remove_stale(const char *path, const struct sockaddr_un *addr, int type)
{
	struct stat st;
	int fd, rc;

	if (lstat(path, &st) != 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode)) {
		fprintf(stderr, "hv-host: %s exists and is not a socket: choose another path\n",
			path);
		return -EEXIST;
	}
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	rc = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 ? 0 : errno;
	close(fd);
	if (rc != ECONNREFUSED) {
		fprintf(stderr,
			"hv-host: %s is in use by a running process: stop it or choose "
			"another path\n",
			path);
		return -EADDRINUSE;
	}
	return unlink(path) != 0 ? -errno : 0;
}

int
listen_open(const char *path, struct event_source *src, int type)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	mode_t mask;
	int fd, rc;

	src->fd = -1;
	if (strlen(path) >= sizeof(addr.sun_path)) {
		fprintf(stderr, "hv-host: %s: a socket path has at most %zu characters\n", path,
			sizeof(addr.sun_path) - 1);
		return -ENAMETOOLONG;
	}
	strcpy(addr.sun_path, path);
	rc = remove_stale(path, &addr, type);
	if (rc != 0)
		return rc;
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mask = umask(0177);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0 ||
	    listen(fd, 16) != 0) {
		rc = -errno;
		fprintf(stderr, "hv-host: cannot listen on %s: %s\n", path, strerror(-rc));
	} else {
		rc = loop_add(src, fd, EPOLLIN);
	}
	umask(mask);
	if (rc == 0 && spare < 0)
		spare = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (rc != 0 && fd >= 0)
		close(fd);
	return rc;
}

int
listen_accept(const struct event_source *src, const char *who)
{
	int fd = accept4(src->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0 || (errno != EMFILE && errno != ENFILE))
		return fd;
	if (spare >= 0) {
		host_log(HOST_ERR, "%s was turned away: %s", who, strerror(errno));
		close(spare);
		fd = accept4(src->fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			close(fd);
	}
	spare = fcntl(src->fd, F_DUPFD_CLOEXEC, 0);
	return -1;
}

void
listen_close(const char *path, struct event_source *src)
{
	int fd = src->fd;

	if (fd < 0)
		return;
	loop_del(src);
	close(fd);
	unlink(path);
}
