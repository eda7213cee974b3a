/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "gen_frames.h"

#define SLOTS_MIN 512
#define CACHELINE 64u
#define IMIX_LEN  12

/* RFC 2544's ranges: 198.18.0.0/15 and 2001:2::/48 never meet a real network. */
struct eth {
	uint8_t dst[6];
	uint8_t src[6];
	uint16_t type;
} __attribute__((packed));

struct ip4 {
	uint8_t ver_ihl, tos;
	uint16_t len, id, frag;
	uint8_t ttl, proto;
	uint16_t cksum;
	uint32_t src, dst;
} __attribute__((packed));

struct ip6 {
	uint32_t ver_flow;
	uint16_t len;
	uint8_t proto, hops;
	uint16_t src[8], dst[8];
} __attribute__((packed));

struct udp {
	uint16_t src, dst, len, cksum;
} __attribute__((packed));

struct tcp {
	uint16_t src, dst;
	uint32_t seq, ack;
	uint8_t off, flags;
	uint16_t window, cksum, urgent;
} __attribute__((packed));

static bool
is_v6(const struct gen_shape *s, unsigned int flow)
{
	return (flow + 1) * s->ipv6 / 100 != flow * s->ipv6 / 100;
}

/* Gray code's low bit: a mix stays a mix within every second flow, as ipv6=50 picks. */
static bool
is_tcp(const struct gen_shape *s, unsigned int flow)
{
	return s->proto == GEN_TCP || (s->proto == GEN_MIX && ((flow ^ flow >> 1) & 1) != 0);
}

static uint32_t
slot_size(const struct gen_shape *s, unsigned int i)
{
	static const uint16_t imix[IMIX_LEN] = { 60,  590, 60,	 60, 590, 60,
						 590, 60,  1514, 60, 590, 60 };
	unsigned int flow = (unsigned int)(i % s->flows);
	uint32_t size, least = 14u + (is_v6(s, flow) ? 40u : 20u) + (is_tcp(s, flow) ? 20u : 8u) +
			       (uint32_t)sizeof(struct gen_head);

	if (s->imix)
		size = imix[(i + i / s->flows) % IMIX_LEN];
	else
		size = (uint32_t)(s->size[0] +
				  (i * 2654435761u >> 8) % (s->size[1] - s->size[0] + 1));
	return size > least ? size : least;
}

static uint8_t *
put_ip(uint8_t *at, const struct gen_shape *s, unsigned int flow, uint32_t l4_len, uint32_t *pseudo)
{
	uint8_t proto = is_tcp(s, flow) ? 6 : 17;

	*pseudo = htobe16(proto) + htobe16((uint16_t)l4_len);
	if (is_v6(s, flow)) {
		struct ip6 h = { .ver_flow = htobe32(6u << 28),
				 .len = htobe16((uint16_t)l4_len),
				 .proto = proto,
				 .hops = 64 };

		h.src[0] = h.dst[0] = htobe16(0x2001);
		h.src[1] = h.dst[1] = htobe16(2);
		h.src[3] = htobe16(s->port);
		h.src[7] = htobe16((uint16_t)(flow + 1));
		h.dst[3] = htobe16(0xFFFF);
		h.dst[7] = htobe16(s->port + 1);
		*pseudo += gen_sum(h.src, 32);
		memcpy(at, &h, sizeof(h));
		return at + sizeof(h);
	}
	struct ip4 h = { .ver_ihl = 0x45,
			 .len = htobe16((uint16_t)(sizeof(h) + l4_len)),
			 .frag = htobe16(0x4000),
			 .ttl = 64,
			 .proto = proto,
			 .src = htobe32(0xC6120000u + flow + 1),
			 .dst = htobe32(0xC6130000u + s->port + 1) };

	h.cksum = (uint16_t)~gen_fold(gen_sum(&h, sizeof(h)));
	*pseudo += gen_sum(&h.src, 8);
	memcpy(at, &h, sizeof(h));
	return at + sizeof(h);
}

/* L4 header; returns the payload, *cksum the field. */
static uint8_t *
put_l4(uint8_t *at, const struct gen_shape *s, unsigned int flow, uint32_t l4_len, uint8_t **cksum)
{
	uint16_t src = htobe16((uint16_t)(1024 + flow * 13 % 48000));
	uint16_t dst = htobe16((uint16_t)(50000 + flow % 1000));

	if (is_tcp(s, flow)) {
		struct tcp h = { .src = src,
				 .dst = dst,
				 .seq = htobe32(1),
				 .ack = htobe32(1),
				 .off = sizeof(h) / 4 << 4,
				 .flags = 0x10,
				 .window = htobe16(0xFFFF) };

		memcpy(at, &h, sizeof(h));
		*cksum = at + offsetof(struct tcp, cksum);
		return at + sizeof(h);
	}
	struct udp h = { .src = src, .dst = dst, .len = htobe16((uint16_t)l4_len) };

	memcpy(at, &h, sizeof(h));
	*cksum = at + offsetof(struct udp, cksum);
	return at + sizeof(h);
}

static void
build(uint8_t *at, uint32_t size, const struct gen_shape *s, unsigned int flow,
      struct gen_slot *slot)
{
	struct eth eth = { .src = { 0x02, 0x48, 0x76, 0, 0, s->port } };
	uint8_t *l4, *payload, *end = at + size;
	uint32_t l4_len = size - (uint32_t)sizeof(eth) - (is_v6(s, flow) ? 40u : 20u), sum;

	memcpy(eth.dst, s->dst, sizeof(eth.dst));
	eth.type = htobe16(is_v6(s, flow) ? 0x86DD : 0x0800);
	memcpy(at, &eth, sizeof(eth));
	l4 = put_ip(at + sizeof(eth), s, flow, l4_len, &sum);
	payload = put_l4(l4, s, flow, l4_len, &slot->l4_cksum);
	slot->head = payload;
	slot->payload = (uint16_t)(end - payload);
	slot->flow = (uint16_t)flow;
	slot->udp = !is_tcp(s, flow);
	memcpy(payload + sizeof(struct gen_head), gen_pattern(),
	       slot->payload - sizeof(struct gen_head));
	slot->l4_sum = gen_fold(sum + gen_sum(l4, l4_len));
}

/* One frame, or the pieces that the NIC is to present as one coalesced segment. */
static void
describe(struct port_frame *f, unsigned int pieces, const uint8_t *data, uint32_t len,
	 const struct gen_shape *s, bool v6)
{
	uint32_t share = (len + pieces - 1) / pieces;
	uint16_t flags = PORT_F_L4_GOOD | (s->vlan ? PORT_F_VLAN : 0);

	/* IPv6 has no header checksum. */
	if (!v6)
		flags |= PORT_F_IP_GOOD;
	for (unsigned int i = 0; i < pieces; i++) {
		f[i] = (struct port_frame){ .data = data + i * share,
					    .len = i + 1 < pieces ? share : len - i * share,
					    .flags = flags,
					    .tci = (uint16_t)s->vlan };
		if (i + 1 < pieces)
			f[i].flags |= PORT_F_RSC_MORE | (i == 0 ? PORT_F_RSC_FIRST : 0);
	}
}

static int
allocate(struct gen_frames *g, uint32_t stride)
{
	g->frames = calloc((size_t)g->n * g->pieces, sizeof(*g->frames));
	g->slots = calloc(g->n, sizeof(*g->slots));
	g->bytes = aligned_alloc(CACHELINE, (size_t)g->n * stride);
	if (g->frames == NULL || g->slots == NULL || g->bytes == NULL) {
		gen_frames_free(g);
		return -ENOMEM;
	}
	memset(g->bytes, 0, (size_t)g->n * stride);
	return 0;
}

int
gen_frames_build(struct gen_frames *g, const struct gen_shape *s)
{
	uint32_t largest = 0, stride;

	memset(g, 0, sizeof(*g));
	gen_format_init();
	g->pieces = s->pieces > 1 ? (unsigned int)s->pieces : 1;
	g->n = (unsigned int)(s->flows * ((SLOTS_MIN + s->flows - 1) / s->flows));
	/* With a mix of sizes a flow needs several slots to have them all. */
	if ((s->imix || s->size[0] != s->size[1]) && g->n < s->flows * IMIX_LEN)
		g->n = (unsigned int)(s->flows * IMIX_LEN);
	for (unsigned int i = 0; i < g->n; i++)
		if (slot_size(s, i) > largest)
			largest = slot_size(s, i);
	stride = (largest + CACHELINE - 1) / CACHELINE * CACHELINE;
	if (allocate(g, stride) != 0)
		return -ENOMEM;
	for (unsigned int i = 0; i < g->n; i++) {
		uint8_t *at = g->bytes + (size_t)i * stride;
		unsigned int flow = (unsigned int)(i % s->flows);
		uint32_t len = slot_size(s, i);

		describe(&g->frames[i * g->pieces], g->pieces, at, len, s, is_v6(s, flow));
		build(at, len, s, flow, &g->slots[i]);
	}
	return 0;
}

void
gen_frames_free(struct gen_frames *g)
{
	free(g->frames);
	free(g->slots);
	free(g->bytes);
	memset(g, 0, sizeof(*g));
}

void
gen_slot_seal(const struct gen_slot *slot, uint8_t port, uint32_t seq, uint64_t ns)
{
	struct gen_stamp stamp = {
		.port = port, .flow = slot->flow, .seq = seq, .ns = ns & GEN_NS_MASK
	};
	uint16_t w[sizeof(struct gen_head) / 2], cksum;
	uint32_t sum = slot->l4_sum;

	gen_head_write(slot->head, &stamp, slot->payload);
	memcpy(w, slot->head, sizeof(w));
	for (unsigned int i = 0; i < sizeof(w) / sizeof(w[0]); i++)
		sum += w[i];
	cksum = (uint16_t)~gen_fold(sum);
	if (cksum == 0 && slot->udp) /* 0 would mean "none"; this is the same number */
		cksum = 0xFFFF;
	memcpy(slot->l4_cksum, &cksum, sizeof(cksum));
}
