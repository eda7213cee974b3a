/* SPDX-License-Identifier: BSD-3-Clause */
/* gen: a traffic generator, and the judge of what of its traffic comes back. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gen_frames.h"
#include "host.h"
#include "kinds.h"
#include "pace.h"
#include "verify.h"

#define RATE_MAX      1000000000u
#define CLOCK_REFRESH 32 /* frames that may share a time stamp */
#define RSC_MAX	      32 /* pieces of one frame; a NIC takes at least so many at a time */
#define LIMIT_MIN     64 /* frames that may wait for the NIC before they are missed */

struct gen_config {
	uint64_t rate;
	uint64_t count;
	uint64_t burst;
	unsigned int start;  /* 0 = auto, 1 = command */
	unsigned int verify; /* 0 = yes, 1 = no, 2 = count */
	unsigned int expect; /* 0 = any, 1 = return */
	struct gen_shape shape;
};

struct gen {
	struct port port;
	struct gen_config cfg;
	struct gen_frames ring;
	unsigned int head;  /* next slot to be released */
	unsigned int ready; /* slots sealed behind it: offered, not yet taken */
	bool running;
	uint64_t made;	/* sealed, ever */
	uint64_t until; /* stop when so many are made; UINT64_MAX = never */
	uint64_t sent;	/* since reset */
	uint64_t sent_bytes;
	uint64_t *next;	     /* per flow: sequence number of the next frame to be sealed */
	uint64_t *delivered; /* per flow: sequence number behind the last one taken */
	struct pace pace;
	struct verify *verify;
	struct verify_origin origin;
	uint64_t now;	    /* time of frames from the guest */
	unsigned int fresh; /* frames that may still use it */
};

#define AT(field) offsetof(struct gen_config, field)

const struct port_opt port_gen_opts[] = {
	{ "rate", PORT_OPT_UINT, AT(rate), 0, RATE_MAX, NULL,
	  "frames per second (default 0: as fast as the guest takes them)" },
	{ "size", PORT_OPT_RANGE, AT(shape.size), 60, GEN_FRAME_MAX, NULL,
	  "bytes without FCS, or a mix from N to M (default 60)" },
	{ "imix", PORT_OPT_SET, AT(shape.imix), 0, 0, NULL,
	  "mix of 60, 590 and 1514 bytes, 7 : 4 : 1" },
	{ "flows", PORT_OPT_UINT, AT(shape.flows), 1, GEN_FLOWS_MAX, NULL,
	  "different 5-tuples (default 64)" },
	{ "proto", PORT_OPT_CHOICE, AT(shape.proto), 0, 0, "udp|tcp|mix", "(default udp)" },
	{ "ipv6", PORT_OPT_UINT, AT(shape.ipv6), 0, 100, NULL,
	  "per cent of the flows that are IPv6 (default 0)" },
	{ "vlan", PORT_OPT_UINT, AT(shape.vlan), 0, 65535, NULL,
	  "tag control information of every frame (default 0: no tag)" },
	{ "rsc", PORT_OPT_UINT, AT(shape.pieces), 1, RSC_MAX, NULL,
	  "give each frame in N pieces, as one coalesced segment (needs proto=tcp)" },
	{ "count", PORT_OPT_UINT, AT(count), 0, UINT64_MAX / 2, NULL,
	  "stop after N frames (default 0: never)" },
	{ "burst", PORT_OPT_UINT, AT(burst), 1, 512, NULL,
	  "with rate: frames come in groups of N; without: at most N at once" },
	{ "start", PORT_OPT_CHOICE, AT(start), 0, 0, "auto|command",
	  "begin at once (default) or by the command start" },
	{ "verify", PORT_OPT_CHOICE, AT(verify), 0, 0, "yes|no|count",
	  "check frames that come back; count: errors do not fail the run" },
	{ "expect", PORT_OPT_CHOICE, AT(expect), 0, 0, "any|return",
	  "return: fail also if count was reached and nothing came back" },
	{ NULL },
};

static struct gen *
gen_of(const struct port *port)
{
	return (struct gen *)(uintptr_t)port;
}

static void
gen_set_rate(struct gen *g, uint64_t rate)
{
	g->cfg.rate = rate;
	g->pace.running = false;
	g->pace.rate = rate;
	g->pace.burst = g->cfg.burst ? g->cfg.burst : 1;
	/* A millisecond may be caught up, no more than the ring holds. */
	g->pace.limit = rate / 1000 > LIMIT_MIN ? rate / 1000 : LIMIT_MIN;
	if (g->pace.limit > g->ring.n)
		g->pace.limit = g->ring.n;
	if (g->pace.limit < g->pace.burst)
		g->pace.limit = g->pace.burst;
}

static void
gen_start(struct gen *g)
{
	g->running = true;
	g->until = g->cfg.count ? g->made + g->cfg.count : UINT64_MAX;
	g->origin.done = false;
	g->pace.running = false;
	verify_pause(g->verify);
}

static void
gen_destroy(struct port *port)
{
	struct gen *g = gen_of(port);

	verify_set_origin(g->cfg.shape.port, NULL);
	verify_free(g->verify);
	gen_frames_free(&g->ring);
	free(g->next);
	free(g->delivered);
	free(g);
}

static int
check_rsc(const struct gen_shape *s)
{
	if (s->pieces > 1 && s->proto != GEN_TCP) {
		fprintf(stderr, "hv-host: port gen: only TCP is coalesced: rsc needs proto=tcp\n");
		return -EINVAL;
	}
	return 0;
}

static int
gen_create(struct nic *nic, const char *text, struct port **port)
{
	struct gen *g = calloc(1, sizeof(*g));
	struct gen_shape *shape;

	if (g == NULL)
		return -ENOMEM;
	g->port = (struct port){ .ops = &port_gen_ops, .nic = nic };
	shape = &g->cfg.shape;
	shape->size[0] = shape->size[1] = 60;
	shape->flows = 64;
	shape->port = (uint8_t)nic_index(nic);
	memcpy(shape->dst, nic_mac(nic), sizeof(shape->dst));
	if (port_opt_parse("gen", port_gen_opts, text, &g->cfg) != 0 || check_rsc(shape) != 0) {
		free(g);
		return -EINVAL;
	}
	g->verify = verify_new();
	g->next = calloc(shape->flows, sizeof(*g->next));
	g->delivered = calloc(shape->flows, sizeof(*g->delivered));
	if (g->verify == NULL || g->next == NULL || g->delivered == NULL ||
	    gen_frames_build(&g->ring, shape) != 0) {
		gen_destroy(&g->port);
		fprintf(stderr, "hv-host: port gen: no memory\n");
		return -ENOMEM;
	}
	g->origin = (struct verify_origin){ .sent = g->delivered,
					    .n_flows = (unsigned int)shape->flows };
	verify_set_origin(shape->port, &g->origin);
	gen_set_rate(g, g->cfg.rate);
	if (g->cfg.start == 0)
		gen_start(g);
	*port = &g->port;
	return 0;
}

/* Seal n more slots. */
static void
gen_make(struct gen *g, unsigned int n, uint64_t now)
{
	unsigned int i = (g->head + g->ready) % g->ring.n;

	for (unsigned int k = 0; k < n; k++) {
		const struct gen_slot *slot = &g->ring.slots[i];

		gen_slot_seal(slot, g->cfg.shape.port, (uint32_t)g->next[slot->flow]++, now);
		if (++i == g->ring.n)
			i = 0;
	}
	g->ready += n;
	g->made += n;
	if (g->made == g->until)
		g->running = false;
}

static unsigned int
gen_peek(struct port *port, struct port_frame *frames, unsigned int max)
{
	struct gen *g = gen_of(port);
	uint64_t now, want;
	unsigned int i;

	max /= g->ring.pieces; /* never a part of a frame */
	if (max > g->ring.n)
		max = g->ring.n;
	if (g->cfg.rate == 0 && g->cfg.burst != 0 && max > g->cfg.burst)
		max = (unsigned int)g->cfg.burst;
	if (g->running && (g->ready < max || g->cfg.rate != 0)) {
		now = host_clock();
		want = g->ready < max ? max - g->ready : 0;
		if (g->cfg.rate != 0) {
			/* Whole bursts are sealed, whatever the NIC asks for at a time. */
			want = pace_due(&g->pace, now);
			if (want > g->ring.n - g->ready)
				want = g->ring.n - g->ready;
		}
		if (want > g->until - g->made)
			want = g->until - g->made;
		if (want != 0)
			gen_make(g, (unsigned int)want, now);
		if (g->cfg.rate != 0)
			pace_take(&g->pace, want);
	}
	if (max > g->ready)
		max = g->ready;
	i = g->head;
	for (unsigned int k = 0; k < max; k++) {
		for (unsigned int j = 0; j < g->ring.pieces; j++)
			*frames++ = g->ring.frames[i * g->ring.pieces + j];
		if (++i == g->ring.n)
			i = 0;
	}
	return max * g->ring.pieces;
}

static void
gen_release(struct port *port, unsigned int n)
{
	struct gen *g = gen_of(port);

	n /= g->ring.pieces;
	if (n > g->ready)
		n = g->ready;
	for (unsigned int k = 0; k < n; k++) {
		g->delivered[g->ring.slots[g->head].flow]++;
		for (unsigned int j = 0; j < g->ring.pieces; j++)
			g->sent_bytes += g->ring.frames[g->head * g->ring.pieces + j].len;
		if (++g->head == g->ring.n)
			g->head = 0;
	}
	g->ready -= n;
	g->sent += n;
	if (g->made == g->until && g->ready == 0)
		g->origin.done = true;
}

static bool
gen_push(struct port *port, const struct port_frame *frame)
{
	struct gen *g = gen_of(port);

	if (g->cfg.verify == 1) {
		g->verify->frames++;
		g->verify->bytes += frame->len;
		return true;
	}
	if (g->fresh == 0) {
		g->now = host_clock();
		g->fresh = CLOCK_REFRESH;
	}
	g->fresh--;
	verify_frame(g->verify, frame, g->now);
	return true;
}

static unsigned int
gen_flush(struct port *port)
{
	struct gen *g = gen_of(port);

	g->fresh = 0;
	verify_tick(g->verify, host_now(), g->sent);
	return 0;
}

static int
gen_command(struct port *port, const char *cmd, json_t *request, json_t *reply)
{
	struct gen *g = gen_of(port);
	json_int_t v = json_integer_value(json_object_get(request, "rate"));

	if (strcmp(cmd, "start") == 0)
		gen_start(g);
	else if (strcmp(cmd, "stop") == 0)
		g->running = false;
	else if (strcmp(cmd, "rate") == 0) {
		if (!json_is_integer(json_object_get(request, "rate")) || v < 0 || v > RATE_MAX) {
			json_object_set_new(reply, "error",
					    json_string("\"rate\" must be 0 to 1000000000"));
			return -EINVAL;
		}
		gen_set_rate(g, (uint64_t)v);
	} else if (strcmp(cmd, "reset-stats") == 0 || strcmp(cmd, "clear") == 0) {
		g->sent = g->sent_bytes = g->pace.missed = 0;
		if (strcmp(cmd, "clear") == 0)
			verify_forgive(g->verify);
		else
			verify_reset(g->verify);
	} else
		return -ENOENT;
	return 0;
}

static json_t *
gen_stats(struct port *port)
{
	struct gen *g = gen_of(port);
	json_t *o =
		json_pack("{ss sb sb sI sI sI sI sI}", "kind", "gen", "running", g->running, "done",
			  g->origin.done, "rate", (json_int_t)g->cfg.rate, "sent",
			  (json_int_t)g->sent, "sent_bytes", (json_int_t)g->sent_bytes, "waiting",
			  (json_int_t)g->ready, "missed", (json_int_t)g->pace.missed);

	verify_json(g->verify, host_clock(), o);
	/* For how long nothing arrived, had all been lost at once (CSIT). */
	if (g->cfg.rate != 0)
		json_object_set_new(o, "blackout_ns",
				    json_integer((json_int_t)((double)json_integer_value(
								      json_object_get(o, "lost")) *
							      PACE_SECOND / (double)g->cfg.rate)));
	return o;
}

static bool
gen_failed(const struct port *port)
{
	const struct gen *g = gen_of(port);

	if (g->cfg.verify != 0)
		return false;
	return verify_failed(g->verify) ||
	       (g->cfg.expect == 1 && g->origin.done && g->sent != 0 && g->verify->received == 0);
}

const struct port_ops port_gen_ops = {
	.kind = "gen",
	.create = gen_create,
	.destroy = gen_destroy,
	.peek = gen_peek,
	.release = gen_release,
	.push = gen_push,
	.flush = gen_flush,
	.command = gen_command,
	.stats = gen_stats,
	.failed = gen_failed,
};
