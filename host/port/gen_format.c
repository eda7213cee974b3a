/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <stdbool.h>
#include <string.h>

#include "gen_format.h"

#define ETH_LEN	  14
#define PROTO_TCP 6
#define PROTO_UDP 17

static uint8_t pattern[GEN_FRAME_MAX];
static uint32_t pattern_sum[GEN_FRAME_MAX / 2 + 1]; /* of the first 2 * i bytes, folded */
static bool ready;

static uint16_t
get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

uint32_t
gen_sum(const void *data, uint32_t len)
{
	const uint8_t *p = data;
	uint32_t sum = 0;
	uint16_t w;

	for (; len >= 2; len -= 2, p += 2) {
		memcpy(&w, p, 2);
		sum += w;
	}
	if (len != 0) {
		w = 0;
		memcpy(&w, p, 1);
		sum += w;
	}
	return sum;
}

uint16_t
gen_fold(uint32_t sum)
{
	sum = (sum & 0xFFFF) + (sum >> 16);
	return (uint16_t)((sum & 0xFFFF) + (sum >> 16));
}

void
gen_format_init(void)
{
	uint32_t x = 0x9E3779B9u;

	if (ready)
		return;
	for (uint32_t i = 0; i < GEN_FRAME_MAX; i++) {
		x = x * 1664525u + 1013904223u;
		pattern[i] = (uint8_t)(x >> 24);
	}
	for (uint32_t i = 0; i < GEN_FRAME_MAX / 2; i++)
		pattern_sum[i + 1] = gen_fold(pattern_sum[i] + gen_sum(pattern + 2 * i, 2));
	ready = true;
}

const uint8_t *
gen_pattern(void)
{
	return pattern;
}

/* Stronger than the L4 checksum, which does not see words exchanged. */
static uint16_t
gen_check(const struct gen_stamp *s, uint32_t payload)
{
	uint64_t id = (uint64_t)s->port << 56 | (uint64_t)s->flow << 32 | s->seq;
	uint64_t x = id * 0xFF51AFD7ED558CCDu ^ ((s->ns & GEN_NS_MASK) << 16 | (payload & 0xFFFF));

	return (uint16_t)((x * 0xC4CEB9FE1A85EC53u) >> 48);
}

void
gen_head_write(uint8_t *at, const struct gen_stamp *s, uint32_t payload)
{
	struct gen_head h = { .magic = htobe16(GEN_MAGIC), .port = s->port };
	uint32_t seq = htobe32(s->seq);
	uint64_t ns = htobe64(s->ns << 16);

	h.flow = htobe16(s->flow);
	memcpy(h.seq, &seq, sizeof(h.seq));
	memcpy(h.ns, &ns, sizeof(h.ns));
	h.check = htobe16(gen_check(s, payload));
	memcpy(at, &h, sizeof(h));
}

/* Where the layers of a frame lie. */
struct layers {
	const uint8_t *ip;
	const uint8_t *l4;
	const uint8_t *payload;
	uint32_t l4_len; /* by the IP header; may be more than is there */
	uint32_t room;	 /* bytes present from l4 on */
	uint8_t proto;
	bool v6;
};

static bool
find_ip(const uint8_t *data, uint32_t len, struct layers *l, uint32_t *left)
{
	uint32_t at = ETH_LEN;
	uint16_t type;

	if (len < ETH_LEN + 20)
		return false;
	type = get16(data + 12);
	if (type == 0x8100 || type == 0x88A8) {
		type = get16(data + 16);
		at += 4;
	}
	l->ip = data + at;
	l->v6 = type == 0x86DD;
	*left = len - at;
	return (l->v6 || type == 0x0800) && *left >= (l->v6 ? 40 : 20);
}

static bool
find_payload(const uint8_t *data, uint32_t len, struct layers *l)
{
	uint32_t left, ip_len, l4_head;

	if (!find_ip(data, len, l, &left))
		return false;
	ip_len = l->v6 ? 40 : (l->ip[0] & 15) * 4u;
	l->proto = l->ip[l->v6 ? 6 : 9];
	if (ip_len < 20 || left < ip_len + 20 || (l->ip[0] >> 4) != (l->v6 ? 6 : 4))
		return false;
	if (!l->v6 && (get16(l->ip + 6) & 0x3FFF) != 0) /* a fragment */
		return false;
	l->l4 = l->ip + ip_len;
	l->room = left - ip_len;
	l->l4_len = l->v6 ? get16(l->ip + 4) : get16(l->ip + 2) - ip_len;
	l4_head = l->proto == PROTO_UDP ? 8 : l->proto == PROTO_TCP ? (l->l4[12] >> 4) * 4u : 0;
	if (l4_head < 8 || l->room < l4_head + sizeof(struct gen_head) ||
	    (!l->v6 && get16(l->ip + 2) < ip_len + l4_head + sizeof(struct gen_head)))
		return false;
	l->payload = l->l4 + l4_head;
	return l->l4_len >= l4_head + sizeof(struct gen_head);
}

/* Only for frames whose pattern is intact: its sum is taken from the table. */
static bool
l4_cksum_good(const struct layers *l, uint32_t rest)
{
	uint32_t head = (uint32_t)(l->payload - l->l4) + sizeof(struct gen_head);
	uint32_t sum = gen_sum(l->l4, head) + htobe16(l->proto) + htobe16((uint16_t)l->l4_len);
	uint16_t field;

	memcpy(&field, l->l4 + 6, 2);
	if (l->proto == PROTO_UDP && field == 0)
		return !l->v6;
	sum += l->v6 ? gen_sum(l->ip + 8, 32) : gen_sum(l->ip + 12, 8);
	sum += pattern_sum[rest / 2];
	if (rest & 1)
		sum += gen_sum(pattern + rest - 1, 1);
	return gen_fold(sum) == 0xFFFF;
}

unsigned int
gen_parse(const uint8_t *data, uint32_t len, struct gen_stamp *stamp)
{
	struct gen_head h;
	struct layers l;
	uint32_t payload, rest, seq;
	uint64_t ns = 0;
	unsigned int bad = 0;

	if (!find_payload(data, len, &l))
		return 0;
	memcpy(&h, l.payload, sizeof(h));
	if (h.magic != htobe16(GEN_MAGIC))
		return 0;
	payload = l.l4_len - (uint32_t)(l.payload - l.l4);
	rest = payload - (uint32_t)sizeof(h);
	memcpy(&seq, h.seq, sizeof(h.seq));
	memcpy(&ns, h.ns, sizeof(h.ns));
	stamp->port = h.port;
	stamp->flow = be16toh(h.flow);
	stamp->seq = be32toh(seq);
	stamp->ns = be64toh(ns) >> 16;
	if (h.check != htobe16(gen_check(stamp, payload)) || h.zero != 0 ||
	    stamp->port >= GEN_PORTS_MAX || stamp->flow >= GEN_FLOWS_MAX)
		return GEN_BAD_HEAD;
	if (l.l4_len > l.room || rest > GEN_FRAME_MAX ||
	    memcmp(l.payload + sizeof(h), pattern, rest) != 0)
		bad |= GEN_BAD_BYTES;
	else if (!l4_cksum_good(&l, rest))
		bad |= GEN_BAD_L4_CKSUM;
	if (!l.v6 && gen_fold(gen_sum(l.ip, (uint32_t)(l.l4 - l.ip))) != 0xFFFF)
		bad |= GEN_BAD_IP_CKSUM;
	return GEN_OURS | bad;
}
