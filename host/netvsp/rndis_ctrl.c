/* SPDX-License-Identifier: BSD-3-Clause */
/* RNDIS control messages: carried out at once, answered in order when a slot is free. */
#include <string.h>

#include "netvsp.h"
#include "rndis_parse.h"

#define REPLY_MAX  1024u
#define LINK_RETRY UINT64_C(5000000000) /* ns: the second edge of a toggle (OpenVMM) */

static const char *
ctrl_name(uint32_t type)
{
	switch (type) {
	case RNDIS_INITIALIZE:
		return "INIT";
	case RNDIS_HALT:
		return "HALT";
	case RNDIS_QUERY:
		return "QUERY";
	case RNDIS_SET:
		return "SET";
	case RNDIS_RESET:
		return "RESET";
	case RNDIS_KEEPALIVE:
		return "KEEPALIVE";
	case RNDIS_INDICATE:
		return "INDICATE";
	default:
		return (type & RNDIS_COMPLETION) != 0 ? "CMPLT" : "?";
	}
}

/* --- to the guest ------------------------------------------------------------------------ */

bool
rndis_ctrl_put(struct nic *nic, const void *msg, uint32_t len)
{
	if (nic->ctrl_head == nic->ctrl_tail)
		nic->ctrl_head = nic->ctrl_tail = 0;
	if (nic->ctrl_tail + sizeof(len) + len > NIC_CTRL_LIMIT && nic->ctrl_head != 0) {
		memmove(nic->ctrl, nic->ctrl + nic->ctrl_head, nic->ctrl_tail - nic->ctrl_head);
		nic->ctrl_tail -= nic->ctrl_head;
		nic->ctrl_head = 0;
	}
	if (nic->ctrl_tail + sizeof(len) + len > NIC_CTRL_LIMIT)
		return false;
	if (nic->ctrl_tail == 0)
		nic->ctrl_due = host_after(nic->opt.reply_delay_ms * UINT64_C(1000000));
	memcpy(nic->ctrl + nic->ctrl_tail, &len, sizeof(len));
	memcpy(nic->ctrl + nic->ctrl_tail + sizeof(len), msg, len);
	nic->ctrl_tail += (uint32_t)sizeof(len) + len;
	return true;
}

/* Send what is queued while there are slots and room. */
void
rndis_ctrl_flush(struct nic *nic)
{
	struct nic_queue *q = nic_primary(nic);

	while (nic->ctrl_head != nic->ctrl_tail && host_now() >= nic->ctrl_due) {
		uint32_t len, slot, off;

		if (vmbus_ring_tx_space(&q->chan->tx) < NIC_RING_SPARE)
			return;
		slot = slots_take_ctrl(nic);
		if (slot == NIC_NO_SLOT)
			return;
		memcpy(&len, nic->ctrl + nic->ctrl_head, sizeof(len));
		off = slot * nic->slot_size;
		memcpy(nic->recv.va + off, nic->ctrl + nic->ctrl_head + sizeof(len), len);
		if (host_tracing) {
			uint32_t type = hv_load32(nic->ctrl + nic->ctrl_head + sizeof(len));

			host_trace('H', "RNDIS-CTL", ctrl_name(type), q->chan->relid,
				   nic->ctrl + nic->ctrl_head + sizeof(len), len);
		}
		nic->ctrl_head += (uint32_t)sizeof(len) + len;
		nic->ctrl_due = host_after(nic->opt.reply_delay_ms * UINT64_C(1000000));
		rx_send_control(q, slot, len);
	}
}

void
rndis_indicate(struct nic *nic, uint32_t status, const void *buf, uint32_t len, bool short_len)
{
	uint8_t msg[sizeof(struct rndis_indicate) + sizeof(struct ndis_offload)];
	struct rndis_indicate m = { .hdr = { RNDIS_INDICATE, (uint32_t)sizeof(m) },
				    .status = status,
				    .buf_len = len };

	if (len > sizeof(struct ndis_offload))
		return;
	if (len != 0) {
		m.buf_off = sizeof(m) - RNDIS_OFFSET_BASE;
		memcpy(msg + sizeof(m), buf, len);
		if (!short_len)
			m.hdr.len += len;
	}
	memcpy(msg, &m, sizeof(m));
	if (!rndis_ctrl_put(nic, msg, (uint32_t)sizeof(m) + len))
		host_log(HOST_WARN, "nic %u: indication %#x lost: control queue full", nic->index,
			 status);
}

/* --- link ---------------------------------------------------------------------------------- */

static void
tell_link(struct nic *nic)
{
	rndis_indicate(nic,
		       nic->link_up ? RNDIS_STATUS_MEDIA_CONNECT : RNDIS_STATUS_MEDIA_DISCONNECT,
		       NULL, 0, false);
	nic->link_told = nic->link_up;
}

/*
 * Flaps are coalesced: the guest is told of the last state. The same state again is a toggle,
 * whose second edge comes seconds later, because Linux overlooks faster ones.
 */
void
rndis_link(struct nic *nic, bool up)
{
	bool same = nic->link_up == up;

	nic->link_up = up;
	if (nic->state < NVSP_ST_READY || nic->recv.va == NULL)
		return;
	if (nic->link_toggle)
		return;
	if (same) {
		nic->link_up = !up;
		tell_link(nic);
		nic->link_up = up;
		nic->link_toggle = true;
		nic->link_due = host_after(LINK_RETRY);
	} else if (nic->link_told != up) {
		tell_link(nic);
	}
}

void
rndis_link_tick(struct nic *nic)
{
	if (!nic->link_toggle || host_now() < nic->link_due)
		return;
	nic->link_toggle = false;
	if (nic->link_told != nic->link_up)
		tell_link(nic);
}

/* --- from the guest ------------------------------------------------------------------------- */

static uint32_t
bad(struct nic_queue *q, const char *rule, const uint8_t *msg, uint32_t len, const char *what)
{
	nic_fatal(q, rule, msg, len, "%s", what);
	return NVSP_STATUS_FAILURE;
}

/* What a guest sets is no object of its kind: the status of the answer. */
uint32_t
rndis_bad_object(struct nic *nic, const void *in, uint32_t len, const char *what)
{
	host_violation(nic->queue[0]->chan->part, "rndis.object", in, len, "%s", what);
	return RNDIS_STATUS_INVALID_DATA;
}

uint32_t
rndis_short_object(struct nic *nic, const void *in, uint32_t len, const char *what)
{
	rndis_bad_object(nic, in, len, what);
	return RNDIS_STATUS_FAILURE;
}

/* What no host looks at, and a guest has no other value for. */
static void
check_field(struct nic_queue *q, const uint8_t *msg, uint32_t len, bool good, const char *what)
{
	if (!good)
		host_violation(q->chan->part, "rndis.field", msg, len, "nic %u: %s", q->nic->index,
			       what);
}

static uint32_t
queued(struct nic_queue *q, const void *msg, uint32_t len)
{
	if (rndis_ctrl_put(q->nic, msg, len))
		return NVSP_STATUS_SUCCESS;
	host_violation(q->chan->part, "rndis.flood", msg, len,
		       "nic %u: more than %u bytes of control messages outstanding", q->nic->index,
		       NIC_CTRL_LIMIT);
	return NVSP_STATUS_FAILURE;
}

static uint32_t
on_initialize(struct nic_queue *q, const uint8_t *msg, uint32_t len)
{
	struct nic *nic = q->nic;
	struct rndis_initialize_cmplt r = {
		.hdr = { RNDIS_INITIALIZE_CMPLT, (uint32_t)sizeof(r) },
		.status = RNDIS_STATUS_SUCCESS,
		.major = 1,
		.device_flags = 1,
		.max_packets = nic->opt.max_packets,
		.max_transfer = nic->opt.max_transfer,
		.align_factor = nic->opt.align,
	};
	struct rndis_initialize m;

	if (len < sizeof(m))
		return bad(q, "rndis.short", msg, len, "INITIALIZE too short");
	memcpy(&m, msg, sizeof(m));
	check_field(q, msg, len, m.major == 1 && m.minor == 0, "INITIALIZE of no version 1.0");
	if (nic->rndis_ready)
		return bad(q, "rndis.initialize-twice", msg, len, "second INITIALIZE");
	r.request_id = m.request_id;
	nic->rndis_ready = true;
	if (queued(q, &r, sizeof(r)) != NVSP_STATUS_SUCCESS)
		return NVSP_STATUS_FAILURE;
	vf_session_ready(nic);
	return NVSP_STATUS_SUCCESS;
}

static uint32_t
on_query(struct nic_queue *q, const uint8_t *msg, uint32_t len)
{
	struct rndis_query_cmplt r = { .hdr = { RNDIS_QUERY_CMPLT, 0 },
				       .info_off = RNDIS_QUERY_CMPLT_INFO_OFF };
	uint8_t reply[REPLY_MAX];
	struct rndis_request m;
	uint32_t off, size, room = (uint32_t)(sizeof(reply) - sizeof(r));

	if (len < sizeof(m))
		return bad(q, "rndis.short", msg, len, "QUERY too short");
	memcpy(&m, msg, sizeof(m));
	check_field(q, msg, len, m.vc_handle == 0, "QUERY with a VC handle");
	if (room > q->nic->slot_size - sizeof(r))
		room = q->nic->slot_size - (uint32_t)sizeof(r);
	r.request_id = m.request_id;
	if (rndis_parse_request(msg, len, &off, &size) == 0) {
		r.status = oid_query(q->nic, m.oid, msg + off, size, reply + sizeof(r), room,
				     &r.info_len);
	} else {
		host_violation(q->chan->part, "rndis.query-offset", msg, len,
			       "the buffer of a QUERY lies outside the message");
		r.status = RNDIS_STATUS_INVALID_DATA;
	}
	r.hdr.len = (uint32_t)sizeof(r) + r.info_len;
	memcpy(reply, &r, sizeof(r));
	return queued(q, reply, r.hdr.len);
}

static uint32_t
on_set(struct nic_queue *q, const uint8_t *msg, uint32_t len)
{
	struct rndis_status_cmplt r = { .hdr = { RNDIS_SET_CMPLT, (uint32_t)sizeof(r) } };
	struct rndis_request m;
	uint32_t off, size;

	if (len < sizeof(m) || rndis_parse_request(msg, len, &off, &size) != 0)
		return bad(q, "rndis.short", msg, len, "SET too short for its buffer");
	memcpy(&m, msg, sizeof(m));
	check_field(q, msg, len, m.vc_handle == 0, "SET with a VC handle");
	/* OpenVMM looks for the data right behind the request, wherever the offset points. */
	if (size != 0 && off != sizeof(m))
		host_violation(q->chan->part, "rndis.set-offset", msg, len,
			       "SET data at %u, not right behind the request", off);
	r.request_id = m.request_id;
	/* Answer first: an indication of what changed follows it. */
	if (m.oid == RNDIS_OID_TCP_OFFLOAD_PARAMETERS) {
		r.status = offload_set(q->nic, msg + off, size);
		if (queued(q, &r, sizeof(r)) != NVSP_STATUS_SUCCESS)
			return NVSP_STATUS_FAILURE;
		if (r.status == RNDIS_STATUS_SUCCESS) {
			struct ndis_offload o;

			offload_current(q->nic, &o);
			rndis_indicate(q->nic, RNDIS_STATUS_OFFLOAD_CONFIG, &o,
				       offload_object_size(q->nic, &o), false);
		}
		return NVSP_STATUS_SUCCESS;
	}
	r.status = oid_set(q->nic, m.oid, msg + off, size);
	return queued(q, &r, sizeof(r));
}

static uint32_t
on_keepalive(struct nic_queue *q, const uint8_t *msg, uint32_t len)
{
	struct rndis_status_cmplt r = { .hdr = { RNDIS_KEEPALIVE_CMPLT, (uint32_t)sizeof(r) } };
	struct rndis_keepalive m;

	if (len < sizeof(m))
		return bad(q, "rndis.short", msg, len, "KEEPALIVE too short");
	memcpy(&m, msg, sizeof(m));
	r.request_id = m.request_id;
	return queued(q, &r, sizeof(r));
}

/* Nothing that the guest has set is lost: addressing is not reset. */
static uint32_t
on_reset(struct nic_queue *q)
{
	const uint32_t r[4] = { RNDIS_RESET_CMPLT, sizeof(r), RNDIS_STATUS_SUCCESS, 0 };

	return queued(q, r, sizeof(r));
}

uint32_t
rndis_control(struct nic_queue *q, const uint8_t *msg, uint32_t len)
{
	struct rndis_hdr h;

	if (q->index != 0) {
		host_violation(q->chan->part, "rndis.sub-channel", msg, len,
			       "control message on queue %u", q->index);
		return NVSP_STATUS_FAILURE;
	}
	if (len < sizeof(h))
		return bad(q, "rndis.short", msg, len, "no RNDIS header");
	memcpy(&h, msg, sizeof(h));
	if (host_tracing)
		host_trace('G', "RNDIS-CTL", ctrl_name(h.type), q->chan->relid, msg, len);
	if (h.len < sizeof(h) || h.len > len)
		return bad(q, "rndis.length", msg, len, "message length outside its packet");
	/* A guest that skips INITIALIZE is answered by OpenVMM, but not by every host. */
	if (!q->nic->rndis_ready && h.type != RNDIS_INITIALIZE && h.type != RNDIS_HALT)
		host_violation(q->chan->part, "rndis.order", msg, len,
			       "message %#x before INITIALIZE", h.type);
	switch (h.type) {
	case RNDIS_INITIALIZE:
		return on_initialize(q, msg, h.len);
	case RNDIS_QUERY:
		return on_query(q, msg, h.len);
	case RNDIS_SET:
		return on_set(q, msg, h.len);
	case RNDIS_KEEPALIVE:
		return on_keepalive(q, msg, h.len);
	case RNDIS_HALT:
		return NVSP_STATUS_SUCCESS; /* no answer, no change of state */
	case RNDIS_RESET:
		if (q->nic->opt.reset_answered)
			return on_reset(q);
		return bad(q, "rndis.type", msg, len, "RESET, which OpenVMM does not know");
	default:
		return bad(q, "rndis.type", msg, len, "control message of an unknown type");
	}
}
