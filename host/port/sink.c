/* SPDX-License-Identifier: BSD-3-Clause */
/* sink: takes everything, checks what a gen port made. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"
#include "kinds.h"
#include "verify.h"

#define CLOCK_REFRESH 32 /* frames that may share a time stamp */

struct sink {
	struct port port;
	unsigned int check; /* 0 = yes, 1 = no, 2 = count */
	struct verify *verify;
	uint64_t now;
	unsigned int fresh;
};

const struct port_opt port_sink_opts[] = {
	{ "verify", PORT_OPT_CHOICE, offsetof(struct sink, check), 0, 0, "yes|no|count",
	  "check frames of gen ports; count: errors do not fail the run" },
	{ NULL },
};

static struct sink *
sink_of(const struct port *port)
{
	return (struct sink *)(uintptr_t)port;
}

static void
sink_destroy(struct port *port)
{
	verify_free(sink_of(port)->verify);
	free(sink_of(port));
}

static int
sink_create(struct nic *nic, const char *text, struct port **port)
{
	struct sink *s = calloc(1, sizeof(*s));
	int rc = -ENOMEM;

	if (s == NULL || (s->verify = verify_new()) == NULL ||
	    (rc = port_opt_parse("sink", port_sink_opts, text, s)) != 0) {
		if (s != NULL)
			verify_free(s->verify);
		free(s);
		return rc;
	}
	s->port = (struct port){ .ops = &port_sink_ops, .nic = nic };
	*port = &s->port;
	return 0;
}

static unsigned int
sink_peek(struct port *port, struct port_frame *frames, unsigned int max)
{
	(void)port;
	(void)frames;
	(void)max;
	return 0;
}

static void
sink_release(struct port *port, unsigned int n)
{
	(void)port;
	(void)n;
}

static bool
sink_push(struct port *port, const struct port_frame *frame)
{
	struct sink *s = sink_of(port);

	if (s->check == 1) {
		s->verify->frames++;
		s->verify->bytes += frame->len;
		return true;
	}
	if (s->fresh == 0) {
		s->now = host_clock();
		s->fresh = CLOCK_REFRESH;
	}
	s->fresh--;
	verify_frame(s->verify, frame, s->now);
	return true;
}

static unsigned int
sink_flush(struct port *port)
{
	struct sink *s = sink_of(port);

	s->fresh = 0;
	verify_tick(s->verify, host_now(), 0);
	return 0;
}

static int
sink_command(struct port *port, const char *cmd, json_t *request, json_t *reply)
{
	(void)request;
	(void)reply;
	if (strcmp(cmd, "reset-stats") == 0)
		verify_reset(sink_of(port)->verify);
	else if (strcmp(cmd, "clear") == 0)
		verify_forgive(sink_of(port)->verify);
	else
		return -ENOENT;
	return 0;
}

static json_t *
sink_stats(struct port *port)
{
	json_t *o = json_pack("{ss}", "kind", "sink");

	verify_json(sink_of(port)->verify, host_clock(), o);
	return o;
}

static bool
sink_failed(const struct port *port)
{
	const struct sink *s = sink_of(port);

	return s->check == 0 && verify_failed(s->verify);
}

const struct port_ops port_sink_ops = {
	.kind = "sink",
	.create = sink_create,
	.destroy = sink_destroy,
	.peek = sink_peek,
	.release = sink_release,
	.push = sink_push,
	.flush = sink_flush,
	.command = sink_command,
	.stats = sink_stats,
	.failed = sink_failed,
};
