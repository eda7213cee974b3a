/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A port for tests of netvsp/: frames are injected by the control command "inject" and those
 * of the guest are returned by "taken". Stands in for port/ behind port.h.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "port/port.h"

#define FRAMES	   2048u
#define FRAME_MAX  10240u
#define TAKEN_MAX  FRAME_MAX
#define ROOM_UNSET UINT32_MAX

struct script {
	struct port port;
	unsigned int head, n; /* frames for the guest */
	struct port_frame frame[FRAMES];
	json_t *taken; /* frames of the guest: [hex, flags, tci] */
	uint32_t room; /* frames push() still accepts */
	uint64_t pushed;
};

static int
hex(const char *text, uint8_t *out, uint32_t *len)
{
	unsigned int b;

	for (*len = 0; *text != '\0'; text += 2) {
		if (*len == FRAME_MAX || sscanf(text, "%2x", &b) != 1)
			return -EINVAL;
		out[(*len)++] = (uint8_t)b;
	}
	return 0;
}

static unsigned int
script_peek(struct port *port, struct port_frame *frames, unsigned int max)
{
	struct script *s = (struct script *)port;
	unsigned int n = s->n < max ? s->n : max;

	for (unsigned int i = 0; i < n; i++)
		frames[i] = s->frame[(s->head + i) % FRAMES];
	return n;
}

static void
script_release(struct port *port, unsigned int n)
{
	struct script *s = (struct script *)port;

	for (; n != 0; n--, s->n--, s->head = (s->head + 1) % FRAMES)
		free((void *)(uintptr_t)s->frame[s->head].data);
}

static bool
script_push(struct port *port, const struct port_frame *f)
{
	struct script *s = (struct script *)port;
	char text[2 * TAKEN_MAX + 1];

	if (s->room == 0)
		return false;
	if (s->room != ROOM_UNSET)
		s->room--;
	s->pushed++;
	for (uint32_t i = 0; i < f->len && i < TAKEN_MAX; i++)
		snprintf(text + 2 * i, 3, "%02x", f->data[i]);
	json_array_append_new(s->taken, json_pack("[s,i,i]", f->len ? text : "", f->flags, f->tci));
	return true;
}

static unsigned int
script_flush(struct port *port)
{
	(void)port;
	return 0;
}

static int
inject(struct script *s, json_t *request)
{
	const char *text = json_string_value(json_object_get(request, "frame"));
	json_int_t count = json_integer_value(json_object_get(request, "count"));
	uint8_t bytes[FRAME_MAX];
	struct port_frame f = { 0 };

	if (text == NULL || hex(text, bytes, &f.len) != 0)
		return -EINVAL;
	f.flags = (uint16_t)json_integer_value(json_object_get(request, "flags"));
	f.tci = (uint16_t)json_integer_value(json_object_get(request, "tci"));
	for (count += count == 0; count > 0; count--) {
		uint8_t *copy = malloc(f.len ? f.len : 1);

		if (copy == NULL || s->n == FRAMES) {
			free(copy);
			return -ENOSPC;
		}
		memcpy(copy, bytes, f.len);
		f.data = copy;
		s->frame[(s->head + s->n++) % FRAMES] = f;
	}
	return 0;
}

static int
script_command(struct port *port, const char *cmd, json_t *request, json_t *reply)
{
	struct script *s = (struct script *)port;

	if (strcmp(cmd, "inject") == 0)
		return inject(s, request);
	if (strcmp(cmd, "room") == 0) {
		s->room = (uint32_t)json_integer_value(json_object_get(request, "frames"));
		return 0;
	}
	if (strcmp(cmd, "taken") != 0)
		return -ENOENT;
	json_object_set_new(reply, "frames", s->taken);
	s->taken = json_array();
	return 0;
}

static json_t *
script_stats(struct port *port)
{
	struct script *s = (struct script *)port;

	return json_pack("{s:i,s:I}", "waiting", s->n, "pushed", (json_int_t)s->pushed);
}

static int
script_create(struct nic *nic, const char *text, struct port **port)
{
	struct script *s = calloc(1, sizeof(*s));

	(void)text;
	if (s == NULL)
		return -ENOMEM;
	s->port.nic = nic;
	s->taken = json_array();
	s->room = ROOM_UNSET;
	*port = &s->port;
	return 0;
}

static void
script_destroy(struct port *port)
{
	struct script *s = (struct script *)port;

	script_release(port, s->n);
	json_decref(s->taken);
	free(s);
}

static const struct port_ops script_ops = {
	.kind = "script",
	.create = script_create,
	.destroy = script_destroy,
	.peek = script_peek,
	.release = script_release,
	.push = script_push,
	.flush = script_flush,
	.command = script_command,
	.stats = script_stats,
};

int
port_create(struct nic *nic, const char *text, struct port **port)
{
	int rc = script_create(nic, text, port);

	if (rc == 0)
		(*port)->ops = &script_ops;
	return rc;
}

void
port_help(void)
{
	puts("the only port is script");
}

int
port_join(struct port *port, struct port *other)
{
	(void)port;
	(void)other;
	return -ENOTSUP;
}
