/* SPDX-License-Identifier: BSD-3-Clause */
/* echo: sends each frame of the guest back to it, the MAC addresses exchanged. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frame_queue.h"
#include "kinds.h"

#define QUEUE_DEFAULT 1024
#define MACS_LEN      12

struct echo {
	struct port port;
	uint64_t queue;
	struct frame_queue q;
	uint64_t runts;
};

const struct port_opt port_echo_opts[] = {
	{ "queue", PORT_OPT_UINT, offsetof(struct echo, queue), 1, 65536, NULL,
	  "frames held before the guest has to wait (default 1024)" },
	{ NULL },
};

static struct echo *
echo_of(const struct port *port)
{
	return (struct echo *)(uintptr_t)port;
}

static int
echo_create(struct nic *nic, const char *text, struct port **port)
{
	struct echo *e = calloc(1, sizeof(*e));
	int rc;

	if (e == NULL)
		return -ENOMEM;
	e->queue = QUEUE_DEFAULT;
	rc = port_opt_parse("echo", port_echo_opts, text, e);
	if (rc == 0)
		rc = frame_queue_init(&e->q, (unsigned int)e->queue);
	if (rc != 0) {
		if (rc == -ENOMEM)
			fprintf(stderr, "hv-host: port echo: no memory\n");
		free(e);
		return rc;
	}
	e->port = (struct port){ .ops = &port_echo_ops, .nic = nic };
	*port = &e->port;
	return 0;
}

static void
echo_destroy(struct port *port)
{
	frame_queue_free(&echo_of(port)->q);
	free(echo_of(port));
}

static unsigned int
echo_peek(struct port *port, struct port_frame *frames, unsigned int max)
{
	return frame_queue_peek(&echo_of(port)->q, frames, max);
}

static void
echo_release(struct port *port, unsigned int n)
{
	frame_queue_release(&echo_of(port)->q, n);
}

static bool
echo_push(struct port *port, const struct port_frame *frame)
{
	struct echo *e = echo_of(port);
	uint8_t *at;

	if (frame->len < MACS_LEN) {
		e->runts++;
		return true;
	}
	at = frame_queue_room(&e->q, frame->len);
	if (at == NULL)
		return false;
	memcpy(at, frame->data + 6, 6);
	memcpy(at + 6, frame->data, 6);
	memcpy(at + MACS_LEN, frame->data + MACS_LEN, frame->len - MACS_LEN);
	frame_queue_put(&e->q, at, frame);
	return true;
}

static unsigned int
echo_flush(struct port *port)
{
	(void)port;
	return 0;
}

static int
echo_command(struct port *port, const char *cmd, json_t *request, json_t *reply)
{
	struct echo *e = echo_of(port);

	(void)request;
	(void)reply;
	if (strcmp(cmd, "reset-stats") != 0 && strcmp(cmd, "clear") != 0)
		return -ENOENT;
	e->q.in = e->q.in_bytes = e->q.out = e->q.refused = e->runts = 0;
	return 0;
}

static json_t *
echo_stats(struct port *port)
{
	const struct echo *e = echo_of(port);

	return json_pack("{ss sI sI sI sI sI sI}", "kind", "echo", "from_guest_frames",
			 (json_int_t)e->q.in, "from_guest_bytes", (json_int_t)e->q.in_bytes, "sent",
			 (json_int_t)e->q.out, "waiting", (json_int_t)e->q.used, "refused",
			 (json_int_t)e->q.refused, "runts", (json_int_t)e->runts);
}

const struct port_ops port_echo_ops = {
	.kind = "echo",
	.create = echo_create,
	.destroy = echo_destroy,
	.peek = echo_peek,
	.release = echo_release,
	.push = echo_push,
	.flush = echo_flush,
	.command = echo_command,
	.stats = echo_stats,
};
