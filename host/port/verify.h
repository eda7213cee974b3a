/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Verification of frames that gen ports made: per flow, what is lost, duplicated, out of
 * order or damaged; latency; the longest silence.
 */
#ifndef HOST_VERIFY_H
#define HOST_VERIFY_H

#include <stdbool.h>
#include <stdint.h>
#include <jansson.h>

#include "gen_format.h"
#include "latency.h"
#include "port.h"

#define VERIFY_WINDOW  1024 /* sequence numbers per flow in which a duplicate is recognised */
#define VERIFY_SECONDS 120  /* of the series */

/* A gen port of this process, known to all verifiers: what was sent is not guessed from gaps. */
struct verify_origin {
	const uint64_t *sent; /* per flow: next sequence number to be delivered */
	unsigned int n_flows;
	bool done; /* count reached, all delivered: what did not come back is lost */
};

struct verify_flow {
	bool known;
	uint64_t base; /* below: written off */
	uint64_t next; /* highest sequence number seen + 1 */
	uint64_t seen[VERIFY_WINDOW / 64];
};

struct verify_source {
	struct verify_flow *flows;
	unsigned int n;
	bool midway; /* what was sent before a flow's first frame came is written off */
};

struct verify_second {
	uint64_t sent;
	uint64_t received;
	int64_t lost;
};

struct verify {
	struct verify_source source[GEN_PORTS_MAX];
	uint64_t frames;
	uint64_t bytes;
	uint64_t other; /* not made by a gen port */
	uint64_t received;
	int64_t lost; /* gaps; a late frame closes its gap */
	uint64_t duplicated;
	uint64_t reordered;
	uint64_t damaged;
	uint64_t bad_head;
	uint64_t bad_bytes;
	uint64_t bad_ip_cksum;
	uint64_t bad_l4_cksum;
	uint64_t late; /* written off by verify_forgive(), or too old to be told from a duplicate */
	struct latency latency;
	/* silence and series */
	uint64_t last; /* ns of the last frame, 0 = none yet */
	uint64_t longest_gap;
	uint64_t second; /* running second, 0 = none yet */
	uint64_t n_seconds;
	struct verify_second total; /* at the end of the last second */
	struct verify_second seconds[VERIFY_SECONDS];
};

struct verify *verify_new(void);
void verify_free(struct verify *v);

/* origin lives until NULL is set for its index. */
void verify_set_origin(unsigned int index, const struct verify_origin *origin);

/* A frame arrived at time now. */
void verify_frame(struct verify *v, const struct port_frame *frame, uint64_t now);

/* Close the seconds that are over; sent is the port's total, for the series. */
void verify_tick(struct verify *v, uint64_t now, uint64_t sent);

/* The next silence begins with the next frame. */
void verify_pause(struct verify *v);

/* Zero the counters; frames in flight are still expected. */
void verify_reset(struct verify *v);

/* Zero the counters and write off what is in flight. */
void verify_forgive(struct verify *v);

/* Sent by origins of this process whose frames arrive here, but not arrived: in flight or lost. */
uint64_t verify_outstanding(const struct verify *v, bool only_done);

bool verify_failed(const struct verify *v);

/* Add the results to a port's statistics. */
void verify_json(const struct verify *v, uint64_t now, json_t *o);

#endif /* HOST_VERIFY_H */
