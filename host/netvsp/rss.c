/* SPDX-License-Identifier: BSD-3-Clause */
/* Receive side scaling: the guest's key and table, Toeplitz by table look-up. */
#include <string.h>

#include "netvsp.h"

#define ETHERTYPE_IP4 0x0800u
#define ETHERTYPE_IP6 0x86DDu
#define PROTO_TCP     6u
#define PROTO_UDP     17u

/* Microsoft's documented key; in use until a guest sets one (hash=always). */
static const uint8_t default_key[NDIS_RSS_KEY_SIZE] = {
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
	0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
	0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa
};

/* For each input byte and value: the xor of the key windows of its set bits. */
static void
set_key(struct nic_rss *rss, const uint8_t *key)
{
	memcpy(rss->key, key, NDIS_RSS_KEY_SIZE);
	for (unsigned int i = 0; i < NIC_HASH_TABLE; i++) {
		uint32_t bit[8];

		for (unsigned int b = 0; b < 8; b++) {
			uint64_t w = 0;

			for (unsigned int k = 0; k < 5; k++)
				w = w << 8 | key[i + k];
			bit[b] = (uint32_t)(w >> (8 - b));
		}
		for (unsigned int v = 0; v < 256; v++) {
			uint32_t h = 0;

			for (unsigned int b = 0; b < 8; b++)
				if (v & (0x80u >> b))
					h ^= bit[b];
			rss->lut[i][v] = h;
		}
	}
}

void
rss_reset(struct nic *nic)
{
	memset(&nic->rss, 0, sizeof(nic->rss));
	set_key(&nic->rss, default_key);
	nic->rss.hash_info = NDIS_HASH_TOEPLITZ | NDIS_HASH_IPV4 | NDIS_HASH_TCP_IPV4 |
			     NDIS_HASH_IPV6 | NDIS_HASH_TCP_IPV6;
}

void
rss_caps(const struct nic *nic, struct ndis_rss_caps *caps)
{
	*caps = (struct ndis_rss_caps){
		.hdr = { NDIS_OBJECT_RSS_CAPABILITIES, 2, sizeof(*caps) },
		.flags = NDIS_RSS_CAP_TOEPLITZ | NDIS_RSS_CAP_TCP_IPV4 | NDIS_RSS_CAP_TCP_IPV6,
		.msi_count = nic->opt.queues,
		.rx_queues = nic->opt.queues,
		.reta_entries = (uint16_t)nic->opt.rss_entries,
	};
	if (nic->opt.rss_udp)
		caps->flags |= NDIS_RSS_CAP_UDP_IPV4 | NDIS_RSS_CAP_UDP_IPV6;
}

/* The object's parts, checked to lie inside it. */
static uint32_t
check(struct nic *nic, const struct ndis_rss_params *p, const uint8_t *in, uint32_t len)
{
	uint32_t n = p->table_len / 4u;

	if (p->key_off > len || p->key_len > len - p->key_off || p->table_off > len ||
	    p->table_len > len - p->table_off)
		return rndis_bad_object(nic, in, len, "RSS: key or table outside the object");
	if (p->key_len != NDIS_RSS_KEY_SIZE || n == 0 || p->table_len % 4 != 0)
		return rndis_bad_object(nic, in, len, "RSS: no key of 40 bytes, or no table");
	for (uint32_t i = 0; i < n; i++)
		if (hv_load32(in + p->table_off + 4 * i) >= nic->opt.queues)
			return rndis_bad_object(nic, in, len, "RSS: an entry beyond the queues");
	return RNDIS_STATUS_SUCCESS;
}

uint32_t
rss_set(struct nic *nic, const uint8_t *in, uint32_t len)
{
	uint32_t entries = nic->opt.rss_entries ? nic->opt.rss_entries : NDIS_RSS_RETA_DEFAULT;
	struct nic_rss *rss = &nic->rss;
	struct ndis_rss_params p;
	bool closed = false;
	uint32_t n, st;

	if (len < sizeof(p))
		return rndis_short_object(nic, in, len, "RSS: shorter than its fixed part");
	memcpy(&p, in, sizeof(p));
	/* OpenVMM does not look at the header: it is obeyed. Of the size guests have two opinions. */
	if (p.hdr.type != NDIS_OBJECT_RSS_PARAMETERS || p.hdr.revision < 1)
		rndis_bad_object(nic, in, len, "no object of RSS parameters");
	if ((p.flags & NDIS_RSS_FLAG_DISABLE) != 0 || (p.hash_info & 0xFFu) == 0) {
		rss->enabled = false;
		return RNDIS_STATUS_SUCCESS;
	}
	st = check(nic, &p, in, len);
	if (st != RNDIS_STATUS_SUCCESS)
		return st;
	n = p.table_len / 4u;
	/* Too long is cut, too short is repeated; "unchanged" flags mean nothing. */
	for (uint32_t i = 0; i < entries; i++) {
		rss->table[i] = (uint8_t)hv_load32(in + p.table_off + 4 * (i % n));
		closed |= nic->queue[rss->table[i]] == NULL;
	}
	if (closed)
		host_violation(nic->vdev.part, "rss.channel-closed", in, len,
			       "nic %u: the table names a channel that is not open", nic->index);
	rss->entries = (uint16_t)entries;
	rss->hash_info = p.hash_info;
	set_key(rss, in + p.key_off);
	rss->enabled = true;
	return RNDIS_STATUS_SUCCESS;
}

/* --- per frame ------------------------------------------------------------------------------ */

static inline uint32_t
toeplitz(const struct nic_rss *rss, const uint8_t *in, unsigned int n, unsigned int at)
{
	uint32_t h = 0;

	for (unsigned int i = 0; i < n; i++)
		h ^= rss->lut[at + i][in[i]];
	return h;
}

static uint32_t
hash_ip4(const struct nic_rss *rss, const uint8_t *ip, uint32_t len, uint32_t *info)
{
	uint32_t types = rss->hash_info, ihl = (ip[0] & 0xFu) * 4u, h;
	bool fragment = (ip[6] & 0x3F) != 0 || ip[7] != 0;
	uint32_t l4 = ip[9] == PROTO_TCP   ? NDIS_HASH_TCP_IPV4
		      : ip[9] == PROTO_UDP ? NDIS_HASH_UDP_IPV4
					   : 0;

	if (ihl < 20 || len < ihl + 4 || fragment)
		l4 = 0;
	if ((types & (l4 | NDIS_HASH_IPV4)) == 0)
		return 0;
	h = toeplitz(rss, ip + 12, 8, 0);
	if ((types & l4) != 0)
		h ^= toeplitz(rss, ip + ihl, 4, 8);
	*info = NDIS_HASH_TOEPLITZ | ((types & l4) != 0 ? l4 : NDIS_HASH_IPV4);
	return h;
}

static uint32_t
hash_ip6(const struct nic_rss *rss, const uint8_t *ip, uint32_t len, uint32_t *info)
{
	uint32_t types = rss->hash_info, h;
	uint32_t l4 = ip[6] == PROTO_TCP   ? NDIS_HASH_TCP_IPV6
		      : ip[6] == PROTO_UDP ? NDIS_HASH_UDP_IPV6
					   : 0;

	if (len < 44)
		l4 = 0;
	if ((types & (l4 | NDIS_HASH_IPV6)) == 0)
		return 0;
	h = toeplitz(rss, ip + 8, 32, 0);
	if ((types & l4) != 0)
		h ^= toeplitz(rss, ip + 40, 4, 32);
	*info = NDIS_HASH_TOEPLITZ | ((types & l4) != 0 ? l4 : NDIS_HASH_IPV6);
	return h;
}

uint32_t
rss_hash(const struct nic_rss *rss, const uint8_t *frame, uint32_t len, uint32_t *info)
{
	uint32_t off = 12, type;

	*info = 0;
	if (len < 18)
		return 0;
	type = (uint32_t)frame[12] << 8 | frame[13];
	if (type == 0x8100) {
		type = (uint32_t)frame[16] << 8 | frame[17];
		off = 16;
	}
	off += 2;
	if (type == ETHERTYPE_IP4 && len >= off + 20 && frame[off] >> 4 == 4)
		return hash_ip4(rss, frame + off, len - off, info);
	if (type == ETHERTYPE_IP6 && len >= off + 40 && frame[off] >> 4 == 6)
		return hash_ip6(rss, frame + off, len - off, info);
	return 0;
}
