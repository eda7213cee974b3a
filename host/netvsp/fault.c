/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a faithful host never does, for tests of guests: packets of any content, bytes of the
 * receive buffer, a broken ring index, and (key mangle) damaged headers now and then.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "netvsp.h"

#define RAW_MAX	     8192u
#define MANGLE_BYTES 108u /* header and information as far as they matter */

static int
wrong(json_t *reply, const char *what)
{
	json_object_set_new(reply, "error", json_string(what));
	return -EINVAL;
}

/* Hexadecimal text of a request, at most max bytes; absent = none. */
static int
hex_field(json_t *request, const char *name, uint8_t *out, uint32_t max, uint32_t *len)
{
	const char *text = json_string_value(json_object_get(request, name));
	unsigned int b;

	for (*len = 0; text != NULL && *text != '\0'; text += 2) {
		if (*len == max || sscanf(text, "%2x", &b) != 1 || text[1] == '\0')
			return -EINVAL;
		out[(*len)++] = (uint8_t)b;
	}
	return 0;
}

static uint64_t
number(json_t *request, const char *name, uint64_t dflt)
{
	json_t *v = json_object_get(request, name);

	return json_is_integer(v) ? (uint64_t)json_integer_value(v) : dflt;
}

/* A packet whose descriptor, extension and payload are the request's; nothing is checked. */
static int
cmd_raw(struct nic_queue *q, json_t *request, json_t *reply)
{
	uint8_t body[2 * RAW_MAX] = { 0 };
	struct vmbus_ring_span span;
	uint32_t ext, payload, len;
	struct vmbus_pkt_desc d;

	if (hex_field(request, "ext", body, RAW_MAX, &ext) != 0 || (ext & 7u) != 0 ||
	    hex_field(request, "payload", body + ext, RAW_MAX, &payload) != 0)
		return wrong(reply, "raw: ext (multiple of 8 bytes) and payload are hexadecimal");
	len = (uint32_t)sizeof(d) + ext + ((payload + 7u) & ~7u);
	d = (struct vmbus_pkt_desc){
		.type = (uint16_t)number(request, "type", VMBUS_PKT_INBAND),
		.off8 = (uint16_t)number(request, "off8", (sizeof(d) + ext) / 8),
		.len8 = (uint16_t)number(request, "len8", len / 8),
		.flags = (uint16_t)number(request, "flags", 0),
		.tid = number(request, "tid", 0),
	};
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
	uint64_t off = number(request, "offset", 0);
	uint8_t bytes[RAW_MAX];
	uint32_t len;

	if (nic->recv.va == NULL || hex_field(request, "bytes", bytes, RAW_MAX, &len) != 0 ||
	    off > nic->recv.len || len > nic->recv.len - off)
		return wrong(reply, "poke: no receive buffer, or bytes outside it");
	memcpy(nic->recv.va + off, bytes, len);
	return 0;
}

/* The write index of the host-to-guest ring: any value. */
static int
cmd_ring_index(struct nic_queue *q, json_t *request)
{
	__atomic_store_n(&q->chan->tx.hdr->windex, (uint32_t)number(request, "value", UINT32_MAX),
			 __ATOMIC_RELEASE);
	channel_signal(q->chan);
	return 0;
}

int
fault_command(struct nic *nic, const char *cmd, json_t *request, json_t *reply)
{
	uint64_t i = number(request, "queue", 0);
	struct nic_queue *q = i < NIC_QUEUES_MAX ? nic->queue[i] : NULL;

	if (strcmp(cmd, "mangle") == 0) {
		nic->opt.mangle = (unsigned int)number(request, "every", 0);
		return 0;
	}
	if (strcmp(cmd, "poke") == 0)
		return cmd_poke(nic, request, reply);
	if (strcmp(cmd, "raw") != 0 && strcmp(cmd, "ring-index") != 0)
		return -ENOENT;
	if (q == NULL)
		return wrong(reply, "no open channel of this queue");
	return cmd[1] == 'a' ? cmd_raw(q, request, reply) : cmd_ring_index(q, request);
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
