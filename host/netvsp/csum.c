/* SPDX-License-Identifier: BSD-3-Clause */
/* What a guest left to the host: checksums, segmentation. And what the guest wants to hear. */
#include <string.h>

#include "netvsp.h"

#define L2	     14u /* the only Ethernet header a host knows: tags travel beside the frame */
#define IP4_LEN	     20u
#define IP6_LEN	     40u
#define TCP_LEN	     20u
#define UDP_LEN	     8u
#define PROTO_TCP    6u
#define PROTO_UDP    17u
#define TCP_CSUM_OFF 16u
#define UDP_CSUM_OFF 6u
#define TCP_FIN_PSH  0x09u
#define TCP_CWR	     0x80u
#define LSO_MSS_MIN  32u /* bounds the segments of a hostile frame */

static inline uint32_t
be16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

static inline void
put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline uint32_t
be32(const uint8_t *p)
{
	return be16(p) << 16 | be16(p + 2);
}

/* Ones' complement sum in memory order; fold() turns it into a big-endian value. */
static uint64_t
sum(const uint8_t *p, uint32_t len, uint64_t acc)
{
	uint64_t a = acc, b = 0;

	for (; len >= 8; len -= 8, p += 8) {
		uint32_t w[2];

		memcpy(w, p, sizeof(w));
		a += w[0];
		b += w[1];
	}
	a += b;
	for (; len >= 2; len -= 2, p += 2) {
		uint16_t w;

		memcpy(&w, p, sizeof(w));
		a += w;
	}
	return len != 0 ? a + p[0] : a;
}

static uint32_t
fold(uint64_t s)
{
	s = (s & 0xFFFFFFFF) + (s >> 32);
	s = (s & 0xFFFFFFFF) + (s >> 32);
	s = (s & 0xFFFF) + (s >> 16);
	s = (s & 0xFFFF) + (s >> 16);
	return __builtin_bswap16((uint16_t)s);
}

/* The same value? 0 and 0xFFFF are. */
static bool
sum_equal(uint32_t a, uint32_t b)
{
	return a == b || (a % 0xFFFF == 0 && b % 0xFFFF == 0);
}

/* Folded pseudo-header sum; l4_len 0 = without length, as LSO wants it. */
static uint32_t
pseudo(const uint8_t *ip, bool v6, uint32_t proto, uint32_t l4_len)
{
	uint64_t s = v6 ? sum(ip + 8, 32, 0) : sum(ip + 12, 8, 0);

	s += __builtin_bswap16((uint16_t)proto);
	s += __builtin_bswap16((uint16_t)l4_len);
	return fold(s);
}

static bool
family_ok(const uint8_t *frame, uint32_t len, bool v6)
{
	if (len < L2 + (v6 ? IP6_LEN : IP4_LEN))
		return false;
	return be16(frame + 12) == (v6 ? 0x86DDu : 0x0800u) && frame[L2] >> 4 == (v6 ? 6 : 4);
}

static uint32_t
ip4_hlen(const uint8_t *ip)
{
	return (ip[0] & 0xFu) * 4u;
}

/* Is the transport header of this protocol where the IPv6 header alone says, if it says that? */
static bool
ip6_l4_ok(const uint8_t *ip, uint32_t proto, uint32_t l4_off)
{
	uint32_t next = ip[6];

	if (next == PROTO_TCP || next == PROTO_UDP)
		return next == proto && l4_off == L2 + IP6_LEN;
	/* Extension headers are not looked through. */
	return l4_off > L2 + IP6_LEN;
}

/* --- transmit: one frame ---------------------------------------------------------------------- */

struct csum_where {
	bool v6, tcp, l4, iphdr;
	uint32_t l4_off; /* from the frame's start */
	uint32_t l4_len; /* by the IP header, without Ethernet padding */
};

static void
locate(const struct tx_frame *f, struct csum_where *w)
{
	uint32_t off = f->csum >> RNDIS_TXCSUM_L4OFF_SHIFT & RNDIS_TXCSUM_L4OFF_MASK;
	uint32_t end;

	w->v6 = (f->csum & RNDIS_TXCSUM_IPV4) == 0;
	w->tcp = (f->csum & RNDIS_TXCSUM_TCP) != 0; /* wins over UDP */
	w->l4 = (f->csum & (RNDIS_TXCSUM_TCP | RNDIS_TXCSUM_UDP)) != 0;
	w->iphdr = !w->v6 && (f->csum & RNDIS_TXCSUM_IPHDR) != 0;
	w->l4_off = off != 0 ? off : L2 + (w->v6 ? IP6_LEN : IP4_LEN);
	end = L2 + (w->v6 ? IP6_LEN + be16(f->data + L2 + 4) : be16(f->data + L2 + 2));
	w->l4_len = end > w->l4_off && end <= f->len ? end - w->l4_off : 0;
}

static bool
offered(const struct nic *nic, const struct tx_frame *f, const struct csum_where *w)
{
	const uint8_t *l4 = f->data + w->l4_off;
	unsigned int mask = w->v6 ? nic->opt.tx_csum6 : nic->opt.tx_csum4, asked = 0;

	if (w->iphdr)
		asked |= OPT_IP;
	if (w->l4)
		asked |= w->tcp ? OPT_TCP : OPT_UDP;
	if (w->l4 && w->tcp && l4[12] >> 4 > TCP_LEN / 4)
		asked |= OPT_TCP_OPTS;
	if (w->v6 ? w->l4_off > L2 + IP6_LEN : ip4_hlen(f->data + L2) > IP4_LEN)
		asked |= OPT_IP_OPTS;
	return (asked & ~mask) == 0;
}

static const char *
check_csum(const struct nic *nic, const struct tx_frame *f, bool *fail)
{
	struct csum_where w;
	const uint8_t *ip = f->data + L2, *field;

	*fail = true;
	if ((f->csum & (RNDIS_TXCSUM_IPV4 | RNDIS_TXCSUM_IPV6)) == 0 ||
	    !family_ok(f->data, f->len, (f->csum & RNDIS_TXCSUM_IPV4) == 0))
		return "tx.csum-family";
	locate(f, &w);
	if (!w.v6 && (ip4_hlen(ip) < IP4_LEN || L2 + ip4_hlen(ip) > f->len))
		return "tx.csum-family";
	if (w.l4 && (w.l4_off < L2 + (w.v6 ? IP6_LEN : ip4_hlen(ip)) ||
		     w.l4_len < (w.tcp ? TCP_LEN : UDP_LEN)))
		return "tx.csum-offset";
	*fail = false;
	if (w.l4) {
		if (!w.v6 &&
		    (w.l4_off != L2 + ip4_hlen(ip) || ip[9] != (w.tcp ? PROTO_TCP : PROTO_UDP)))
			return "tx.csum-offset";
		if (w.v6 && !ip6_l4_ok(ip, w.tcp ? PROTO_TCP : PROTO_UDP, w.l4_off))
			return "tx.csum-offset";
		field = f->data + w.l4_off + (w.tcp ? TCP_CSUM_OFF : UDP_CSUM_OFF);
		if (!sum_equal(be16(field),
			       pseudo(ip, w.v6, w.tcp ? PROTO_TCP : PROTO_UDP, w.l4_len)))
			return "tx.csum-seed";
	}
	if (w.iphdr && be16(ip + 10) != 0)
		return "tx.csum-ip-not-zero";
	return offered(nic, f, &w) ? NULL : "tx.csum-not-offered";
}

/* As an adapter does it: the field's content takes part in the sum. */
void
csum_finish(struct tx_frame *f)
{
	uint8_t *ip = f->data + L2, *field;
	struct csum_where w;
	uint32_t c;

	locate(f, &w);
	if (w.iphdr) {
		put16(ip + 10, 0);
		put16(ip + 10, ~fold(sum(ip, ip4_hlen(ip), 0)));
	}
	if (!w.l4)
		return;
	field = f->data + w.l4_off + (w.tcp ? TCP_CSUM_OFF : UDP_CSUM_OFF);
	c = ~fold(sum(f->data + w.l4_off, w.l4_len, 0)) & 0xFFFFu;
	put16(field, c == 0 && !w.tcp ? 0xFFFF : c);
}

/* --- transmit: segmentation --------------------------------------------------------------------- */

struct lso_where {
	bool v6;
	uint32_t mss, l4_off, hdr_len;
};

static bool
lso_locate(const struct tx_frame *f, struct lso_where *w)
{
	uint32_t doff;

	w->v6 = (f->lso & RNDIS_LSO_IPV6) != 0;
	w->mss = f->lso & RNDIS_LSO_MSS_MASK;
	w->l4_off = f->lso >> RNDIS_LSO_L4OFF_SHIFT & RNDIS_LSO_L4OFF_MASK;
	if (!family_ok(f->data, f->len, w->v6) || w->l4_off + TCP_LEN > f->len ||
	    w->l4_off < L2 + (w->v6 ? IP6_LEN : ip4_hlen(f->data + L2)))
		return false;
	doff = (f->data[w->l4_off + 12] >> 4) * 4u;
	w->hdr_len = w->l4_off + doff;
	return doff >= TCP_LEN && w->hdr_len < f->len &&
	       (w->v6 ||
		(ip4_hlen(f->data + L2) >= IP4_LEN && w->l4_off == L2 + ip4_hlen(f->data + L2)));
}

static const char *
check_lso(const struct nic *nic, const struct tx_frame *f, bool *fail)
{
	const uint8_t *ip = f->data + L2;
	struct lso_where w;
	uint32_t max;

	*fail = true;
	if ((f->lso & RNDIS_LSO_V2) == 0)
		return "tx.lso-version";
	if (!lso_locate(f, &w))
		return "tx.lso-offset";
	if (w.mss < LSO_MSS_MIN)
		return "tx.lso-mss";
	*fail = false;
	if (w.v6 ? !ip6_l4_ok(ip, PROTO_TCP, w.l4_off) : ip[9] != PROTO_TCP)
		return "tx.lso-offset";
	max = w.v6 ? nic->opt.lso6 : nic->opt.lso4;
	if (max == 0)
		return "tx.lso-not-offered";
	if (f->len > max)
		return "tx.lso-size";
	if (f->len - w.hdr_len <= w.mss)
		return "tx.lso-segments";
	if (be16(w.v6 ? ip + 4 : ip + 2) != 0 || (!w.v6 && be16(ip + 10) != 0))
		return "tx.lso-ip-not-zero";
	if (!sum_equal(be16(f->data + w.l4_off + TCP_CSUM_OFF), pseudo(ip, w.v6, PROTO_TCP, 0)))
		return "tx.lso-seed";
	return NULL;
}

const char *
csum_check(const struct nic *nic, const struct tx_frame *f, bool *fail)
{
	*fail = false;
	if (f->has_lso)
		return check_lso(nic, f, fail);
	return f->has_csum ? check_csum(nic, f, fail) : NULL;
}

unsigned int
lso_segments(const struct tx_frame *f)
{
	struct lso_where w;

	if (!lso_locate(f, &w))
		return 0;
	return (f->len - w.hdr_len + w.mss - 1) / w.mss;
}

uint32_t
lso_segment(const struct tx_frame *f, unsigned int i, uint8_t *out)
{
	uint32_t at, n, l4_len, s;
	struct lso_where w;
	uint8_t *ip = out + L2, *tcp;
	bool last;

	if (!lso_locate(f, &w))
		return 0;
	at = w.hdr_len + i * w.mss;
	n = f->len - at < w.mss ? f->len - at : w.mss;
	last = at + n == f->len;
	memcpy(out, f->data, w.hdr_len);
	memcpy(out + w.hdr_len, f->data + at, n);
	tcp = out + w.l4_off;
	l4_len = w.hdr_len - w.l4_off + n;
	if (w.v6) {
		put16(ip + 4, w.l4_off - L2 - IP6_LEN + l4_len);
	} else {
		put16(ip + 2, w.l4_off - L2 + l4_len);
		put16(ip + 4, be16(ip + 4) + i);
		put16(ip + 10, 0);
		put16(ip + 10, ~fold(sum(ip, ip4_hlen(ip), 0)));
	}
	s = be32(tcp + 4) + i * w.mss;
	put16(tcp + 4, s >> 16);
	put16(tcp + 6, s);
	if (!last)
		tcp[13] &= (uint8_t)~TCP_FIN_PSH;
	if (i != 0)
		tcp[13] &= (uint8_t)~TCP_CWR;
	/* The seed has no length: add this segment's. */
	put16(tcp + TCP_CSUM_OFF,
	      ~fold(sum(tcp, l4_len, (uint64_t)__builtin_bswap16((uint16_t)l4_len))));
	return w.hdr_len + n;
}

/* --- receive ------------------------------------------------------------------------------------ */

/* Verify the transport checksum; 0 = nothing to say. */
static uint32_t
verify_l4(const uint8_t *ip, bool v6, uint32_t proto, const uint8_t *l4, uint32_t l4_len,
	  uint8_t on, int hint)
{
	bool tcp = proto == PROTO_TCP, good;
	uint8_t bit = v6 ? (tcp ? OFFL_TCP6 : OFFL_UDP6) : (tcp ? OFFL_TCP4 : OFFL_UDP4);

	if ((!tcp && proto != PROTO_UDP) || (on & bit) == 0 || l4_len < (tcp ? TCP_LEN : UDP_LEN))
		return 0;
	if (hint == 0) {
		if (!tcp && be16(l4 + UDP_CSUM_OFF) == 0)
			return v6 ? RNDIS_RXCSUM_UDP_FAILED : 0;
		good = sum_equal(fold(sum(l4, l4_len,
					  __builtin_bswap16(
						  (uint16_t)pseudo(ip, v6, proto, l4_len)))),
				 0xFFFF);
	} else {
		good = hint > 0;
	}
	if (tcp)
		return good ? RNDIS_RXCSUM_TCP_OK : RNDIS_RXCSUM_TCP_FAILED;
	return good ? RNDIS_RXCSUM_UDP_OK : RNDIS_RXCSUM_UDP_FAILED;
}

/* What the port says of a checksum: 1 good, -1 bad, 0 nothing. */
static int
hint(const struct port_frame *f, uint16_t good, uint16_t bad)
{
	return f->flags & good ? 1 : f->flags & bad ? -1 : 0;
}

static uint32_t
receive4(uint8_t on, const struct port_frame *f, uint32_t off)
{
	const uint8_t *ip = f->data + off;
	uint32_t hl = ip4_hlen(ip), total = be16(ip + 2), v = 0;
	int ip_hint = hint(f, PORT_F_IP_GOOD, PORT_F_IP_BAD);
	bool good;

	if (hl < IP4_LEN || total < hl || total > f->len - off)
		return on & OFFL_IP4 ? RNDIS_RXCSUM_IP_FAILED : 0;
	good = ip_hint != 0 ? ip_hint > 0 : sum_equal(fold(sum(ip, hl, 0)), 0xFFFF);
	if (on & OFFL_IP4)
		v = good ? RNDIS_RXCSUM_IP_OK : RNDIS_RXCSUM_IP_FAILED;
	/* A fragment's transport checksum is of the whole datagram. */
	if (!good || (be16(ip + 6) & 0x3FFF) != 0)
		return v;
	return v | verify_l4(ip, false, ip[9], ip + hl, total - hl, on,
			     hint(f, PORT_F_L4_GOOD, PORT_F_L4_BAD));
}

static uint32_t
receive6(uint8_t on, const struct port_frame *f, uint32_t off)
{
	const uint8_t *ip = f->data + off;
	uint32_t len = be16(ip + 4);

	/* Extension headers are not looked through. */
	if (len > f->len - off - IP6_LEN)
		return 0;
	return verify_l4(ip, true, ip[6], ip + IP6_LEN, len, on,
			 hint(f, PORT_F_L4_GOOD, PORT_F_L4_BAD));
}

uint32_t
csum_receive(const struct nic *nic, const struct port_frame *f)
{
	uint8_t on = nic->offload.rx;
	uint32_t off = L2, type;

	if (on == 0 || f->len < L2 + IP4_LEN)
		return 0;
	type = be16(f->data + 12);
	if (type == 0x8100 && f->len >= L2 + 4 + IP4_LEN) {
		type = be16(f->data + 16);
		off += 4;
	}
	if (type == 0x0800 && f->data[off] >> 4 == 4)
		return receive4(on, f, off);
	if (type == 0x86DD && f->len >= off + IP6_LEN && f->data[off] >> 4 == 6)
		return receive6(on, f, off);
	return 0;
}
