/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control.h"
#include "json_args.h"
#include "options.h"
#include "report.h"
#include "vmbus/vmbus_host.h"

#define LINE_LEN 4096
#define CLIENTS	 8

struct client {
	struct event_source src;
	size_t have;
	char line[LINE_LEN];
	char *reply; /* what the client did not take yet; no request is read meanwhile */
	size_t reply_at, reply_len;
};

static struct event_source listener = { .fd = -1 };
static struct client clients[CLIENTS];
static const char *control_path;

/* Without the number of a NIC they are not unknown. */
static bool
is_of_a_nic(const char *cmd)
{
	static const char *const names[] = {
		"bus-raw",   "clear",	  "filter",	 "hold-rx",
		"indicate",  "link",	  "mangle",	 "network-change",
		"offer",     "offload",	  "poke",	 "rate",
		"raw",	     "rescind",	  "reset-stats", "resume",
		"resume-rx", "ring-word", "rss",	 "speed",
		"stall",     "start",	  "stop",	 "switch-synthetic",
		"vf",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(cmd, names[i]) == 0)
			return true;
	return false;
}

static int
run(const char *cmd, json_t *request, json_t *reply)
{
	json_t *number = json_object_get(request, "nic");
	json_t *channel = json_object_get(request, "channel");
	json_int_t index = json_integer_value(number);
	struct vdev *vdev;
	struct nic *nic;
	int rc;

	if (strcmp(cmd, "stats") == 0)
		return json_object_set_new(reply, "stats", host_stats());
	if (strcmp(cmd, "violations") == 0)
		return json_object_set_new(reply, "violations", report_violations_json());
	if (strcmp(cmd, "version") == 0)
		return json_object_set_new(reply, "version", json_string("0.1.0"));
	if (strcmp(cmd, "quit") == 0) {
		host_quit();
		return 0;
	}
	/* One NIC needs no number. */
	if (number == NULL && host_nic(1) != NULL)
		return is_of_a_nic(cmd)
			       ? json_refuse(reply, "there are several NICs: \"nic\" says which")
			       : -ENOENT;
	nic = (number == NULL || json_is_integer(number)) && index >= 0 && index < HOST_NICS_MAX
		      ? host_nic((unsigned int)index)
		      : NULL;
	if (nic == NULL)
		return json_refuse(reply, "no such NIC");
	if (strcmp(cmd, "offer") != 0 && strcmp(cmd, "rescind") != 0 && strcmp(cmd, "bus-raw") != 0)
		return nic_command(nic, cmd, request, reply);
	vdev = host_nic_vdev((unsigned int)index);
	if (vdev == NULL)
		return -ENOTCONN;
	if (strcmp(cmd, "bus-raw") == 0)
		return vmbus_inject(vdev->part, request, reply);
	if (channel != NULL) {
		index = json_integer_value(channel);
		rc = cmd[0] == 'o' ? vdev_offer_sub(vdev, index) : vdev_rescind_sub(vdev, index);
		return rc == 0 ? 0 : json_refuse(reply, "no such sub-channel to be had or taken");
	}
	if (strcmp(cmd, "offer") == 0)
		return vdev_offer(vdev);
	vdev_rescind(vdev);
	return 0;
}

static void
answer(struct client *c, const char *line)
{
	json_error_t err;
	json_t *request = json_loads(line, 0, &err), *reply = json_object();
	const char *cmd = json_string_value(json_object_get(request, "cmd"));
	int rc = cmd == NULL ? -EINVAL : run(cmd, request, reply);

	json_object_set_new(reply, "ok", json_boolean(rc == 0));
	if (rc != 0 && json_object_get(reply, "error") == NULL)
		json_object_set_new(reply, "error",
				    json_string(cmd == NULL	  ? "no JSON object with a \"cmd\""
						: rc == -ENOENT	  ? "unknown command"
						: rc == -ENOTCONN ? "no guest has this NIC"
								  : strerror(-rc)));
	c->reply = json_dumps(reply, JSON_COMPACT);
	c->reply_at = 0;
	c->reply_len = c->reply != NULL ? strlen(c->reply) + 1 : 0;
	if (c->reply != NULL)
		c->reply[c->reply_len - 1] = '\n';
	json_decref(request);
	json_decref(reply);
}

static void
client_close(struct client *c)
{
	int fd = c->src.fd;

	loop_del(&c->src);
	close(fd);
	free(c->reply);
	c->reply = NULL;
}

/* Send what the client takes. 0 when it has all, 1 if it must read first, -1 if it is gone. */
static int
client_send(struct client *c)
{
	while (c->reply != NULL && c->reply_at < c->reply_len) {
		ssize_t n = send(c->src.fd, c->reply + c->reply_at, c->reply_len - c->reply_at,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 1 : -1;
		c->reply_at += (size_t)n;
	}
	free(c->reply);
	c->reply = NULL;
	return 0;
}

/* Answer the requests that are here, one after the other. As client_send(). */
static int
client_serve(struct client *c)
{
	char *end;
	int rc = client_send(c);

	while (rc == 0 && (end = memchr(c->line, '\n', c->have)) != NULL) {
		*end = '\0';
		answer(c, c->line);
		c->have -= (size_t)(end + 1 - c->line);
		memmove(c->line, end + 1, c->have);
		rc = client_send(c);
	}
	return rc;
}

static void
client_ready(struct event_source *src, uint32_t events)
{
	struct client *c = (struct client *)src;
	ssize_t n;
	int rc = c->reply != NULL ? client_serve(c) : 0;

	if (rc == 0 && (events & ~(uint32_t)EPOLLOUT) != 0) {
		n = recv(src->fd, c->line + c->have, LINE_LEN - c->have, MSG_DONTWAIT);
		if (n > 0)
			c->have += (size_t)n;
		else if (n == 0 || (errno != EAGAIN && errno != EINTR))
			rc = -1;
		rc = rc == 0 ? client_serve(c) : rc;
	}
	if (rc < 0 || (rc == 0 && c->have == LINE_LEN) ||
	    loop_mod(src, rc == 0 ? EPOLLIN : EPOLLOUT) != 0)
		client_close(c);
}

static void
client_accept(struct event_source *src, uint32_t events)
{
	int fd = listen_accept(src, "a control client");

	(void)events;
	for (unsigned int i = 0; fd >= 0 && i < CLIENTS; i++) {
		if (clients[i].src.fd >= 0)
			continue;
		clients[i].have = 0;
		clients[i].src.ready = client_ready;
		if (loop_add(&clients[i].src, fd, EPOLLIN) == 0)
			return;
		clients[i].src.fd = -1;
		break;
	}
	if (fd >= 0)
		close(fd);
}

int
control_open(const char *path)
{
	control_path = path;
	for (unsigned int i = 0; i < CLIENTS; i++)
		clients[i].src.fd = -1;
	listener.ready = client_accept;
	return listen_open(path, &listener, SOCK_STREAM);
}

void
control_close(void)
{
	if (control_path == NULL)
		return;
	for (unsigned int i = 0; i < CLIENTS; i++)
		if (clients[i].src.fd >= 0)
			client_close(&clients[i]);
	listen_close(control_path, &listener);
}
