/* SPDX-License-Identifier: BSD-3-Clause */
/* NVSP: the handshake, and what may be said when. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "netvsp.h"

#define WINDOWS_MIN 32u /* Windows does not answer shorter messages (FreeBSD if_hnreg.h) */
#define MDL_CHAIN   34u

static const char *
msg_name(uint32_t type)
{
	switch (type) {
	case NVSP_INIT:
		return "INIT";
	case NVSP_NDIS_VERSION:
		return "NDIS_VER";
	case NVSP_RECV_BUF:
		return "SEND_RECV_BUF";
	case NVSP_SEND_BUF:
		return "SEND_SEND_BUF";
	case NVSP_REVOKE_RECV_BUF:
		return "REVOKE_RECV_BUF";
	case NVSP_REVOKE_SEND_BUF:
		return "REVOKE_SEND_BUF";
	case NVSP_RNDIS:
		return "SEND_RNDIS_PKT";
	case NVSP_NDIS_CONFIG:
		return "NDIS_CONFIG";
	case NVSP_SWITCH_DATA_PATH:
		return "SWITCH_DATA_PATH";
	case NVSP_OID_QUERY_EX:
		return "OID_QUERY_EX";
	case NVSP_SUBCHANNEL:
		return "SUBCHANNEL";
	default:
		return "?";
	}
}

void
nvsp_session_start(struct nic *nic)
{
	nic->state = NVSP_ST_INIT;
	nic->sessions++;
	nic->version = 0;
	nic->have_config = nic->have_ndis = nic->rndis_ready = nic->table_due = false;
	nic->ndis_major = nic->ndis_minor = 0;
	nic->caps = 0;
	nic->mtu = NIC_MTU_DEFAULT;
	memcpy(nic->mac, nic->opt.mac, sizeof(nic->mac));
	nic->filter = 0;
	nic->granted = 0;
	nic->switch_pending = false;
	nic->n_notices = 0;
	memset(nic->vf_open, 0, sizeof(nic->vf_open));
	nic->ctrl_head = nic->ctrl_tail = 0;
	nic->link_told = nic->link_up;
	nic->link_toggle = false;
	offload_reset(nic);
	rss_reset(nic);
}

static void
drop_buffer(struct nic *nic, struct nic_buf *buf)
{
	if (buf->va != NULL)
		gpadl_put(nic_primary(nic)->chan, buf->gpadl);
	memset(buf, 0, sizeof(*buf));
}

void
nvsp_session_end(struct nic *nic)
{
	vf_session_end(nic);
	nic->state = NVSP_ST_CLOSED;
	drop_buffer(nic, &nic->recv);
	drop_buffer(nic, &nic->send);
	slots_free(nic);
	free(nic->section_busy);
	nic->section_busy = NULL;
	nic->sections = 0;
	nic->filter = 0;
	nic->rndis_ready = false;
}

/* A completion with a message; the caller made sure that there is room. */
static bool
reply(struct nic_queue *q, const struct vmbus_ring_pkt *pkt, const void *msg, uint32_t len)
{
	if ((pkt->flags & VMBUS_PKT_F_RC) == 0) {
		host_violation(q->chan->part, "nvsp.no-rc", pkt->body, pkt->payload_len,
			       "a request that needs an answer asks for no completion");
		return true;
	}
	return queue_send(q, VMBUS_PKT_COMPLETION, 0, pkt->tid, msg, len, nvsp_msg_len(q->nic)) ==
	       0;
}

/* Linux never asks for these, UEFI does: an empty completion. */
static bool
reply_empty(struct nic_queue *q, const struct vmbus_ring_pkt *pkt)
{
	if ((pkt->flags & VMBUS_PKT_F_RC) == 0)
		return true;
	return queue_send(q, VMBUS_PKT_COMPLETION, 0, pkt->tid, "", 0, 0) == 0;
}

static bool
on_init(struct nic_queue *q, const struct vmbus_ring_pkt *pkt, const struct nvsp_init *m)
{
	static const uint32_t known[] = { NVSP_VERSION_1, NVSP_VERSION_2, NVSP_VERSION_4,
					  NVSP_VERSION_5, NVSP_VERSION_6, NVSP_VERSION_6_1 };
	struct nic *nic = q->nic;
	struct nvsp_init_complete r = { .type = NVSP_INIT_COMPLETE,
					.version = m->version_min == NVSP_VERSION_1 ? NVSP_VERSION_1
										    : UINT32_MAX,
					.max_mdl_chain = MDL_CHAIN,
					.status = NVSP_STATUS_NONE };

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i] == m->version_min && m->version_min >= nic->opt.nvsp_min &&
		    m->version_min <= nic->opt.nvsp_max)
			r.status = NVSP_STATUS_SUCCESS;
	if (!reply(q, pkt, &r, sizeof(r)))
		return false;
	if (r.status == NVSP_STATUS_SUCCESS) {
		nic->version = m->version_min;
		nic->state = NVSP_ST_CONFIG;
	}
	return true;
}

static bool
order(struct nic_queue *q, const struct vmbus_ring_pkt *pkt, const char *what)
{
	return nic_fatal(q, "nvsp.order", pkt->body, pkt->payload_len, "%s", what);
}

static bool
on_config(struct nic_queue *q, const struct vmbus_ring_pkt *pkt, const struct nvsp_ndis_config *m)
{
	struct nic *nic = q->nic;

	if (nic->version < NVSP_VERSION_2)
		return nic_fatal(q, "nvsp.version", pkt->body, pkt->payload_len,
				 "NDIS_CONFIG does not exist in version 1");
	if (nic->have_config || nic->recv.va != NULL)
		return order(q, pkt, "NDIS_CONFIG twice, or behind the receive buffer");
	nic->have_config = true;
	/* Other sizes silently become the default: the guest reads the frame size back. */
	nic->mtu =
		m->mtu >= nic->opt.mtu_min && m->mtu <= nic->opt.mtu_max ? m->mtu : NIC_MTU_DEFAULT;
	nic->caps = m->caps;
	return reply_empty(q, pkt);
}

static bool
on_ndis_version(struct nic_queue *q, const struct vmbus_ring_pkt *pkt,
		const struct nvsp_ndis_version *m)
{
	if (q->nic->have_ndis)
		return order(q, pkt, "NDIS_VERSION twice");
	q->nic->have_ndis = true;
	q->nic->ndis_major = m->major;
	q->nic->ndis_minor = m->minor;
	return reply_empty(q, pkt);
}

/* The memory a GPADL names; false after a fatal violation. */
static bool
map_buffer(struct nic_queue *q, const struct vmbus_ring_pkt *pkt, const struct nvsp_buf *m,
	   struct nic_buf *buf)
{
	size_t len = 0;
	uint8_t *va = gpadl_take(q->chan, m->gpadl, &len);

	if (va == NULL)
		return nic_fatal(q, "nvsp.buffer-gpadl", pkt->body, pkt->payload_len,
				 "GPADL %#x is none of this channel, or is its ring or a buffer",
				 m->gpadl);
	if (len > UINT32_MAX || ((uintptr_t)va & HV_PAGE_MASK) != 0 || (len & HV_PAGE_MASK) != 0) {
		gpadl_put(q->chan, m->gpadl);
		return nic_fatal(q, "nvsp.buffer-gpadl", pkt->body, pkt->payload_len,
				 "GPADL %#x is no whole number of pages", m->gpadl);
	}
	*buf = (struct nic_buf){ .va = va, .len = (uint32_t)len, .gpadl = m->gpadl, .id = m->id };
	return true;
}

static bool
on_recv_buf(struct nic_queue *q, const struct vmbus_ring_pkt *pkt, const struct nvsp_buf *m)
{
	struct nvsp_recv_buf_complete r = { .type = NVSP_RECV_BUF_COMPLETE };
	struct nic *nic = q->nic;

	if (nic->recv.va != NULL)
		return order(q, pkt, "RECV_BUF twice");
	if (nic->version >= NVSP_VERSION_2 && !nic->have_config)
		return order(q, pkt, "RECV_BUF before NDIS_CONFIG");
	if (nic->opt.refuse_recv != 0) {
		r.status = nic->opt.refuse_recv;
		return reply(q, pkt, &r, sizeof(r));
	}
	if (!map_buffer(q, pkt, m, &nic->recv))
		return false;
	if (nic->opt.recv_max != 0 && nic->recv.len > nic->opt.recv_max << 20) {
		drop_buffer(nic, &nic->recv);
		r.status = NVSP_STATUS_FAILURE;
		return reply(q, pkt, &r, sizeof(r));
	}
	/* OpenVMM's size: 256 bytes of header, the frame, 36 unused for an old Windows guest. */
	nic->slot_size = nic->opt.slot_size != 0 ? nic->opt.slot_size : 256 + nic->mtu + 36;
	nic->slot_count = nic->recv.len / nic->slot_size;
	if (nic->opt.slots != 0 && nic->slot_count > nic->opt.slots)
		nic->slot_count = nic->opt.slots;
	if (nic->slot_count <= NIC_CTRL_SLOTS || slots_create(nic) != 0) {
		/* OpenVMM accepts it and then never answers a control message. */
		drop_buffer(nic, &nic->recv);
		nic->slot_count = 0;
		r.status = NVSP_STATUS_FAILURE;
		return reply(q, pkt, &r, sizeof(r));
	}
	r.status = NVSP_STATUS_SUCCESS;
	r.section_count = 1;
	r.slot_size = nic->slot_size;
	r.slot_count = nic->slot_count;
	r.end_offset = nic->slot_size * nic->slot_count;
	return reply(q, pkt, &r, sizeof(r));
}

static bool
on_send_buf(struct nic_queue *q, const struct vmbus_ring_pkt *pkt, const struct nvsp_buf *m)
{
	struct nvsp_send_buf_complete r = { .type = NVSP_SEND_BUF_COMPLETE };
	struct nic *nic = q->nic;

	if (nic->send.va != NULL)
		return order(q, pkt, "SEND_BUF twice");
	if (nic->opt.refuse_send != 0) {
		r.status = nic->opt.refuse_send;
		return reply(q, pkt, &r, sizeof(r));
	}
	if (!map_buffer(q, pkt, m, &nic->send))
		return false;
	nic->sections = nic->send.len / nic->opt.section_size;
	nic->section_busy = calloc(nic->sections + 1, 1);
	if (nic->section_busy == NULL) {
		drop_buffer(nic, &nic->send);
		r.status = NVSP_STATUS_FAILURE;
		return reply(q, pkt, &r, sizeof(r));
	}
	r.status = NVSP_STATUS_SUCCESS;
	r.section_size = nic->opt.section_size;
	return reply(q, pkt, &r, sizeof(r));
}

/* Nothing may follow a revoke but the other one; no answer. */
static bool
on_revoke(struct nic_queue *q, const struct vmbus_ring_pkt *pkt, const struct nvsp_revoke_buf *m)
{
	struct nic *nic = q->nic;
	struct nic_buf *buf = m->type == NVSP_REVOKE_RECV_BUF ? &nic->recv : &nic->send;

	if (buf->va == NULL || buf->id != m->id)
		host_violation(q->chan->part, "nvsp.revoke", pkt->body, pkt->payload_len,
			       "revoked buffer %#x was not given", m->id);
	if (buf->va != NULL && m->type == NVSP_REVOKE_RECV_BUF)
		slots_free(nic);
	drop_buffer(nic, buf);
	/* Sends that waited for the port may lie in what was taken away. */
	for (unsigned int i = 0; i < NIC_QUEUES_MAX; i++)
		if (nic->queue[i] != NULL)
			nic->queue[i]->n_defer = nic->queue[i]->resume = 0;
	nic->state = NVSP_ST_REVOKED;
	nic->filter = 0;
	return true;
}

static bool
on_oid_query_ex(struct nic_queue *q, const struct vmbus_ring_pkt *pkt)
{
	struct nvsp_oid_query_ex_complete r = { .type = NVSP_OID_QUERY_EX_COMPLETE,
						.status = RNDIS_STATUS_NOT_SUPPORTED };

	return reply(q, pkt, &r, sizeof(r));
}

/* The first RNDIS message ends the configuration, with or without a send buffer. */
static bool
on_rndis(struct nic_queue *q, const struct vmbus_ring_pkt *pkt, const struct nvsp_rndis *m)
{
	struct nic *nic = q->nic;

	if (nic->state == NVSP_ST_CONFIG && nic->recv.va != NULL && nic->have_ndis)
		nic->state = NVSP_ST_READY;
	if (nic->state != NVSP_ST_READY)
		return order(q, pkt, "RNDIS before version, configuration and receive buffer");
	return tx_rndis(q, pkt, m);
}

/* Bytes of a message that are read; 0 = unknown, or not in this version. */
static uint32_t
msg_needs(const struct nic *nic, uint32_t type)
{
	switch (type) {
	case NVSP_INIT:
		return sizeof(struct nvsp_init);
	case NVSP_NDIS_VERSION:
		return sizeof(struct nvsp_ndis_version);
	case NVSP_RECV_BUF:
	case NVSP_SEND_BUF:
		return sizeof(struct nvsp_buf);
	case NVSP_REVOKE_RECV_BUF:
	case NVSP_REVOKE_SEND_BUF:
		return sizeof(struct nvsp_revoke_buf);
	case NVSP_RNDIS:
		return sizeof(struct nvsp_rndis);
	case NVSP_NDIS_CONFIG:
		return sizeof(struct nvsp_ndis_config);
	case NVSP_SWITCH_DATA_PATH:
		return nic->version >= NVSP_VERSION_4 ? sizeof(struct nvsp_switch_data_path) : 0;
	case NVSP_OID_QUERY_EX:
		return nic->version >= NVSP_VERSION_5 ? sizeof(struct nvsp_oid_query_ex) : 0;
	case NVSP_SUBCHANNEL:
		return nic->version >= NVSP_VERSION_5 ? sizeof(struct nvsp_subchannel) : 0;
	default:
		return 0;
	}
}

union nvsp_any {
	uint32_t type;
	struct nvsp_init init;
	struct nvsp_ndis_version ndis;
	struct nvsp_ndis_config config;
	struct nvsp_buf buf;
	struct nvsp_revoke_buf revoke;
	struct nvsp_rndis rndis;
	struct nvsp_switch_data_path path;
	struct nvsp_subchannel sub;
};

static bool
dispatch(struct nic_queue *q, const struct vmbus_ring_pkt *pkt, const union nvsp_any *m)
{
	struct nic *nic = q->nic;

	if (m->type == NVSP_RNDIS)
		return on_rndis(q, pkt, &m->rndis);
	if (m->type == NVSP_REVOKE_RECV_BUF || m->type == NVSP_REVOKE_SEND_BUF)
		return nic->state >= NVSP_ST_CONFIG ? on_revoke(q, pkt, &m->revoke)
						    : order(q, pkt, "revoke before INIT");
	if ((m->type == NVSP_INIT) != (nic->state == NVSP_ST_INIT))
		return order(q, pkt,
			     m->type == NVSP_INIT ? "INIT twice" : "the first message is not INIT");
	switch (m->type) {
	case NVSP_INIT:
		return on_init(q, pkt, &m->init);
	case NVSP_SWITCH_DATA_PATH:
	case NVSP_OID_QUERY_EX:
	case NVSP_SUBCHANNEL:
		if (nic->state != NVSP_ST_READY)
			return order(q, pkt, "request before RNDIS, or after a revoke");
		if (m->type == NVSP_SWITCH_DATA_PATH)
			return vf_switch_request(q, pkt, m->path.path);
		return m->type == NVSP_SUBCHANNEL ? subchannel_request(q, pkt, &m->sub)
						  : on_oid_query_ex(q, pkt);
	default:
		if (nic->state != NVSP_ST_CONFIG)
			return order(q, pkt, "configuration after it was complete");
		if (m->type == NVSP_NDIS_CONFIG)
			return on_config(q, pkt, &m->config);
		if (m->type == NVSP_NDIS_VERSION)
			return on_ndis_version(q, pkt, &m->ndis);
		return m->type == NVSP_RECV_BUF ? on_recv_buf(q, pkt, &m->buf)
						: on_send_buf(q, pkt, &m->buf);
	}
}

bool
nvsp_packet(struct nic_queue *q, const struct vmbus_ring_pkt *pkt)
{
	const uint8_t *at = pkt->body + pkt->ext_len;
	union nvsp_any m = { 0 };
	uint32_t need;

	if (pkt->payload_len < sizeof(m.type))
		return nic_fatal(q, "nvsp.short", pkt->body, pkt->payload_len, "no message");
	m.type = hv_load32(at);
	need = msg_needs(q->nic, m.type);
	if (host_tracing && !q->again)
		host_trace('G', "NVSP", msg_name(m.type), q->chan->relid, at, pkt->payload_len);
	if (need == 0)
		return nic_fatal(q, "nvsp.type", at, pkt->payload_len,
				 "message %u is unknown to version %#x", m.type, q->nic->version);
	if (pkt->payload_len < need)
		return nic_fatal(q, "nvsp.short", at, pkt->payload_len,
				 "message %u has %u bytes, needs %u", m.type, pkt->payload_len,
				 need);
	if (pkt->payload_len < WINDOWS_MIN) {
		host_violation(q->chan->part, "nvsp.short", at, pkt->payload_len,
			       "message %u has %u bytes: Windows ignores it", m.type,
			       pkt->payload_len);
		return true;
	}
	memcpy((uint8_t *)&m + sizeof(m.type), at + sizeof(m.type), need - sizeof(m.type));
	if (m.type != NVSP_RNDIS && q->index != 0)
		return nic_fatal(q, "nvsp.sub-channel", at, pkt->payload_len,
				 "message %u on a sub-channel", m.type);
	if (m.type != NVSP_RNDIS && pkt->type != VMBUS_PKT_INBAND)
		return nic_fatal(q, "nvsp.packet-type", at, pkt->payload_len,
				 "message %u in a packet of type %u", m.type, pkt->type);
	/* An answer must find room: the message waits for it. */
	if (m.type != NVSP_RNDIS && vmbus_ring_tx_space(&q->chan->tx) < NIC_RING_SPARE)
		return false;
	return dispatch(q, pkt, &m);
}
