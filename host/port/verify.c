/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <string.h>

#include "verify.h"

static const struct verify_origin *origins[GEN_PORTS_MAX];

struct verify *
verify_new(void)
{
	gen_format_init();
	return calloc(1, sizeof(struct verify));
}

void
verify_free(struct verify *v)
{
	for (unsigned int i = 0; v != NULL && i < GEN_PORTS_MAX; i++)
		free(v->source[i].flows);
	free(v);
}

void
verify_set_origin(unsigned int index, const struct verify_origin *origin)
{
	if (index < GEN_PORTS_MAX)
		origins[index] = origin;
}

static struct verify_flow *
find_flow(struct verify *v, const struct gen_stamp *s)
{
	struct verify_source *src = &v->source[s->port];
	struct verify_flow *flows;
	unsigned int n = src->n ? src->n : 64;

	if (s->flow < src->n)
		return &src->flows[s->flow];
	while (n <= s->flow)
		n *= 2;
	flows = realloc(src->flows, n * sizeof(*flows));
	if (flows == NULL)
		return NULL;
	memset(flows + src->n, 0, (n - src->n) * sizeof(*flows));
	src->flows = flows;
	src->n = n;
	return &flows[s->flow];
}

static bool
is_seen(struct verify_flow *f, uint64_t seq)
{
	return (f->seen[seq % VERIFY_WINDOW / 64] >> (seq % 64) & 1) != 0;
}

static void
set_seen(struct verify_flow *f, uint64_t seq, bool seen)
{
	uint64_t bit = 1ull << (seq % 64), *word = &f->seen[seq % VERIFY_WINDOW / 64];

	*word = seen ? *word | bit : *word & ~bit;
}

/* A frame at or beyond the expected number; those between are lost until they come. */
static void
advance(struct verify *v, struct verify_flow *f, uint64_t seq)
{
	uint64_t gap = seq - f->next;

	v->lost += (int64_t)gap;
	if (gap >= VERIFY_WINDOW)
		memset(f->seen, 0, sizeof(f->seen));
	else
		for (uint64_t i = f->next; i < seq; i++)
			set_seen(f, i, false);
	set_seen(f, seq, true);
	f->next = seq + 1;
	v->received++;
}

static void
sequence(struct verify *v, const struct gen_stamp *s)
{
	struct verify_flow *f = find_flow(v, s);
	int32_t ahead;
	uint64_t seq;

	if (f == NULL)
		return;
	if (!f->known) {
		/* Frames of another process count from the first one seen. */
		f->known = true;
		f->next = f->base =
			origins[s->port] == NULL || v->source[s->port].midway ? s->seq : 0;
	}
	ahead = (int32_t)(s->seq - (uint32_t)f->next);
	seq = f->next + (uint64_t)(int64_t)ahead;
	if (ahead >= 0)
		advance(v, f, seq);
	else if ((uint64_t) - (int64_t)ahead > f->next || seq < f->base ||
		 f->next - seq > VERIFY_WINDOW)
		v->late++;
	else if (is_seen(f, seq))
		v->duplicated++;
	else {
		set_seen(f, seq, true);
		v->reordered++;
		v->received++;
		v->lost--;
	}
}

static void
damage(struct verify *v, unsigned int what)
{
	v->damaged++;
	v->bad_head += (what & GEN_BAD_HEAD) != 0;
	v->bad_bytes += (what & GEN_BAD_BYTES) != 0;
	v->bad_ip_cksum += (what & GEN_BAD_IP_CKSUM) != 0;
	v->bad_l4_cksum += (what & GEN_BAD_L4_CKSUM) != 0;
}

void
verify_frame(struct verify *v, const struct port_frame *frame, uint64_t now)
{
	struct gen_stamp s;
	unsigned int what = gen_parse(frame->data, frame->len, &s);

	v->frames++;
	v->bytes += frame->len;
	if (what == 0) {
		v->other++;
		return;
	}
	if ((what & GEN_DAMAGED) != 0)
		damage(v, what);
	if ((what & GEN_OURS) == 0)
		return;
	sequence(v, &s);
	latency_add(&v->latency, (now - s.ns) & GEN_NS_MASK);
	if (v->last != 0 && now - v->last > v->longest_gap)
		v->longest_gap = now - v->last;
	v->last = now;
}

void
verify_tick(struct verify *v, uint64_t now, uint64_t sent)
{
	struct verify_second *s;
	uint64_t second = now / 1000000000u;

	if (second == v->second)
		return;
	if (v->second == 0) {
		v->second = second;
		return;
	}
	if (second - v->second > VERIFY_SECONDS)
		v->second = second - VERIFY_SECONDS;
	for (; v->second < second; v->second++) {
		s = &v->seconds[v->n_seconds++ % VERIFY_SECONDS];
		s->sent = sent - v->total.sent;
		s->received = v->received - v->total.received;
		s->lost = v->lost - v->total.lost;
		v->total.sent = sent;
		v->total.received = v->received;
		v->total.lost = v->lost;
	}
}

void
verify_pause(struct verify *v)
{
	v->last = 0;
}

void
verify_reset(struct verify *v)
{
	struct verify old = *v;

	memset(v, 0, sizeof(*v));
	memcpy(v->source, old.source, sizeof(v->source));
}

void
verify_forgive(struct verify *v)
{
	verify_reset(v);
	for (unsigned int i = 0; i < GEN_PORTS_MAX; i++) {
		const struct verify_origin *o = origins[i];

		v->source[i].midway = true;
		for (unsigned int j = 0; j < v->source[i].n; j++) {
			struct verify_flow *f = &v->source[i].flows[j];

			if (!f->known)
				continue;
			f->known = o != NULL && j < o->n_flows;
			if (f->known)
				f->base = f->next = o->sent[j];
			memset(f->seen, 0, sizeof(f->seen));
		}
	}
}

uint64_t
verify_outstanding(const struct verify *v, bool only_done)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < GEN_PORTS_MAX; i++) {
		const struct verify_source *src = &v->source[i];
		const struct verify_origin *o = origins[i];

		if (o == NULL || src->n == 0 || (only_done && !o->done))
			continue;
		for (unsigned int j = 0; j < o->n_flows; j++) {
			bool known = j < src->n && src->flows[j].known;
			uint64_t next = known ? src->flows[j].next : 0;

			if ((known || !src->midway) && o->sent[j] > next)
				n += o->sent[j] - next;
		}
	}
	return n;
}

bool
verify_failed(const struct verify *v)
{
	return v->lost > 0 || v->duplicated != 0 || v->reordered != 0 || v->damaged != 0 ||
	       verify_outstanding(v, true) != 0;
}

static void
set(json_t *o, const char *key, uint64_t value)
{
	json_object_set_new(o, key, json_integer((json_int_t)value));
}

static json_t *
seconds_json(const struct verify *v)
{
	uint64_t first = v->n_seconds > VERIFY_SECONDS ? v->n_seconds - VERIFY_SECONDS : 0;
	json_t *a = json_array();

	for (uint64_t i = first; i < v->n_seconds; i++) {
		const struct verify_second *s = &v->seconds[i % VERIFY_SECONDS];

		json_array_append_new(a, json_pack("[III]", (json_int_t)s->sent,
						   (json_int_t)s->received, (json_int_t)s->lost));
	}
	return a;
}

void
verify_json(const struct verify *v, uint64_t now, json_t *o)
{
	set(o, "from_guest_frames", v->frames);
	set(o, "from_guest_bytes", v->bytes);
	set(o, "received", v->received);
	set(o, "other", v->other);
	set(o, "lost", v->lost > 0 ? (uint64_t)v->lost : 0);
	set(o, "outstanding", verify_outstanding(v, false));
	set(o, "duplicated", v->duplicated);
	set(o, "reordered", v->reordered);
	set(o, "damaged", v->damaged);
	set(o, "bad_head", v->bad_head);
	set(o, "bad_bytes", v->bad_bytes);
	set(o, "bad_ip_checksum", v->bad_ip_cksum);
	set(o, "bad_l4_checksum", v->bad_l4_cksum);
	set(o, "late", v->late);
	json_object_set_new(o, "latency_ns", latency_json(&v->latency));
	set(o, "longest_gap_ns", v->longest_gap);
	set(o, "silence_ns", v->last != 0 && now > v->last ? now - v->last : 0);
	json_object_set_new(o, "seconds", seconds_json(v));
}
