/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a faithful host never does, for tests of guests: packets of any content, bytes of the
 * receive buffer, broken words of a ring, and (key mangle) damaged headers now and then.
 */
#include <errno.h>
#include <string.h>

#include "json_args.h"
#include "netvsp.h"

#define RAW_MAX	     8192u
#define MANGLE_BYTES 108u /* header and information as far as they matter */

/* A packet whose descriptor, extension and payload are the request's; nothing is checked. */
static int
cmd_raw(struct nic_queue *q, json_t *request, json_t *reply)
{
	uint8_t body[2 * RAW_MAX] = { 0 };
	uint64_t type = VMBUS_PKT_INBAND, off8, len8, flags = 0, tid = 0;
	struct vmbus_ring_span span;
	uint32_t ext, payload, len;
	struct vmbus_pkt_desc d;

	if (json_arg_hex(request, "ext", body, RAW_MAX, &ext) != 0 || (ext & 7u) != 0 ||
	    json_arg_hex(request, "payload", body + ext, RAW_MAX, &payload) != 0)
		return json_refuse(reply,
				   "raw: ext (multiple of 8 bytes) and payload are hexadecimal");
	len = (uint32_t)sizeof(d) + ext + ((payload + 7u) & ~7u);
	off8 = (sizeof(d) + ext) / 8;
	len8 = len / 8;
	if (json_arg_uint(request, reply, "type", UINT16_MAX, &type) != 0 ||
	    json_arg_uint(request, reply, "off8", UINT16_MAX, &off8) != 0 ||
	    json_arg_uint(request, reply, "len8", UINT16_MAX, &len8) != 0 ||
	    json_arg_uint(request, reply, "flags", UINT16_MAX, &flags) != 0 ||
	    json_arg_uint(request, reply, "tid", UINT64_MAX, &tid) != 0)
		return -EINVAL;
	d = (struct vmbus_pkt_desc){ .type = (uint16_t)type,
				     .off8 = (uint16_t)off8,
				     .len8 = (uint16_t)len8,
				     .flags = (uint16_t)flags,
				     .tid = tid };
	if (vmbus_ring_tx_reserve(&q->chan->tx, len, &span) != 0)
		return -EAGAIN;
	vmbus_ring_tx_fill(&span, 0, &d, sizeof(d));
	vmbus_ring_tx_fill(&span, sizeof(d), body, len - (uint32_t)sizeof(d));
	vmbus_ring_tx_commit(&q->chan->tx, len);
	queue_publish(q);
	return 0;
}

/* Bytes into the receive buffer. */
static int
cmd_poke(struct nic *nic, json_t *request, json_t *reply)
{
	uint8_t bytes[RAW_MAX];
	uint64_t off = 0;
	uint32_t len;

	if (json_arg_uint(request, reply, "offset", UINT32_MAX, &off) != 0)
		return -EINVAL;
	if (nic->recv.va == NULL || json_arg_hex(request, "bytes", bytes, RAW_MAX, &len) != 0 ||
	    off > nic->recv.len || len > nic->recv.len - off)
		return json_refuse(reply, "poke: no receive buffer, or bytes outside it");
	memcpy(nic->recv.va + off, bytes, len);
	return 0;
}

/* Any word of a ring's header, whoever it belongs to. Rings by the guest's names: tx, rx. */
static int
cmd_ring_word(struct nic_queue *q, json_t *request, json_t *reply)
{
	const char *ring = json_string_value(json_object_get(request, "ring"));
	const char *word = json_string_value(json_object_get(request, "word"));
	bool has_value = json_object_get(request, "value") != NULL;
	struct vmbus_ring_hdr *h;
	uint64_t value = 0;
	uint32_t *at;

	if (json_arg_uint(request, reply, "value", UINT32_MAX, &value) != 0)
		return -EINVAL;
	if (ring == NULL || word == NULL || (strcmp(ring, "tx") != 0 && strcmp(ring, "rx") != 0))
		return json_refuse(reply,
				   "ring-word: ring=tx|rx word=write|read|mask|pending|feature");
	h = ring[0] == 't' ? q->chan->rx.hdr : q->chan->tx.hdr;
	at = strcmp(word, "write") == 0	    ? &h->windex
	     : strcmp(word, "read") == 0    ? &h->rindex
	     : strcmp(word, "mask") == 0    ? &h->imask
	     : strcmp(word, "pending") == 0 ? &h->pending_send
	     : strcmp(word, "feature") == 0 ? &h->feature
					    : NULL;
	if (at == NULL || !has_value)
		return json_refuse(reply,
				   "ring-word: word=write|read|mask|pending|feature value=N");
	/* The words are not what the guest, or the host, made of them. */
	q->chan->forged = true;
	__atomic_store_n(at, (uint32_t)value, __ATOMIC_RELEASE);
	channel_signal(q->chan);
	return 0;
}

int
fault_command(struct nic *nic, const char *cmd, json_t *request, json_t *reply)
{
	uint64_t i = 0, every = 0;
	struct nic_queue *q;

	if (strcmp(cmd, "mangle") == 0) {
		if (json_arg_uint(request, reply, "every", UINT32_MAX, &every) != 0)
			return -EINVAL;
		nic->opt.mangle = (unsigned int)every;
		return 0;
	}
	if (strcmp(cmd, "poke") == 0)
		return cmd_poke(nic, request, reply);
	if (strcmp(cmd, "raw") != 0 && strcmp(cmd, "ring-word") != 0)
		return -ENOENT;
	if (json_arg_uint(request, reply, "queue", UINT32_MAX, &i) != 0)
		return -EINVAL;
	q = i < NIC_QUEUES_MAX ? nic->queue[i] : NULL;
	if (q == NULL)
		return json_refuse(reply, "no open channel of this queue");
	return cmd[1] == 'a' ? cmd_raw(q, request, reply) : cmd_ring_word(q, request, reply);
}

/* Damage one byte of a message's header, or the range that names it. */
void
fault_mangle(struct nic *nic, uint8_t *msg, struct vmbus_xfer_range *range)
{
	uint64_t r = slots_random(nic);

	if (r % nic->opt.mangle != 0)
		return;
	r = slots_random(nic);
	if ((r & 7) != 0)
		msg[(r >> 8) % MANGLE_BYTES] ^= (uint8_t)(1u << (r >> 32 & 7));
	else if ((r & 8) != 0)
		range->len ^= 1u << (r >> 8 & 31);
	else
		range->off ^= 1u << (r >> 8 & 31);
	nic->mangled++;
}
