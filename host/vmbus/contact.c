/* SPDX-License-Identifier: BSD-3-Clause */
/* VMBus control messages from a guest: checked, named when wrong, never trusted. */
#include <stdlib.h>
#include <string.h>

#include "msg_name.h"
#include "options.h"
#include "vmbus_host.h"

#define CONNECTION_REFUSED 0xC0000236u /* NTSTATUS: hvsocket is not served */
#define NS_PER_MS	   1000000u
#define REVOKE_SLICES_MAX  1024 /* more than a ring holds */

struct vmbus *
vmbus_create(struct partition *part)
{
	(void)part;
	return calloc(1, sizeof(struct vmbus));
}

uint32_t
partition_version(const struct partition *part)
{
	return part->vmbus->version;
}

/* Does the option --lose name this message? */
static bool
lost(uint32_t type)
{
	if (type >= HOST_LOSE_MAX || host_opt.lose[type] == 0)
		return false;
	host_opt.lose[type]--;
	return true;
}

static void
send_delayed(struct partition *part, const void *msg, size_t len, unsigned int ms)
{
	struct vmu_sint_msg s = { .vp = part->vmbus->msg_vp,
				  .sint = VMBUS_SINT,
				  .msg_type = VMBUS_MSGTYPE_CHANNEL,
				  .size = (uint32_t)len };
	uint32_t type;

	memcpy(&type, msg, sizeof(type));
	if (lost(type))
		return;
	memcpy(s.payload, msg, len);
	if (host_tracing)
		host_trace('H', "VMBUS", vmbus_msg_name(type), 0, msg, len);
	out_send(part, VMU_SINT_MESSAGE, 0, &s, offsetof(struct vmu_sint_msg, payload) + len, -1,
		 ms ? host_after((uint64_t)ms * NS_PER_MS) : 0);
}

void
vmbus_send(struct partition *part, const void *msg, size_t len)
{
	send_delayed(part, msg, len, host_opt.reply_delay_ms);
}

bool
vmbus_uses_memory(struct partition *part, uint64_t gpa, uint64_t size)
{
	struct vmbus *v = part->vmbus;

	return (v->monitor_c2p != 0 && v->monitor_c2p >= gpa && v->monitor_c2p < gpa + size) ||
	       (v->monitor_p2c != 0 && v->monitor_p2c >= gpa && v->monitor_p2c < gpa + size);
}

/* Are the two monitor pages usable? None at all is allowed, one alone is not. */
static bool
monitor_ok(struct partition *part, const struct vmbus_msg_initiate_contact *m)
{
	if (m->monitor_p2c == 0 && m->monitor_c2p == 0)
		return true;
	return m->monitor_p2c != 0 && m->monitor_c2p != 0 &&
	       ((m->monitor_p2c | m->monitor_c2p) & (HV_PAGE_SIZE - 1)) == 0 &&
	       guest_addr(part, m->monitor_p2c, HV_PAGE_SIZE, true) != NULL &&
	       guest_addr(part, m->monitor_c2p, HV_PAGE_SIZE, true) != NULL;
}

static bool
version_ok(uint32_t version)
{
	static const uint32_t known[] = { VMBUS_VERSION_2_4, VMBUS_VERSION_3_0, VMBUS_VERSION_4_0,
					  VMBUS_VERSION_4_1, VMBUS_VERSION_5_0, VMBUS_VERSION_5_1,
					  VMBUS_VERSION_5_2, VMBUS_VERSION_5_3 };

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i] == version)
			return version >= host_opt.vmbus_min && version <= host_opt.vmbus_max;
	return false;
}

static uint32_t
on_contact(struct partition *part, uint32_t conn_id, const struct vmbus_msg_initiate_contact *m)
{
	struct vmbus_msg_version_response r = { .hdr.type = VMBUS_MSG_VERSION_RESPONSE };
	bool modern = m->version >= VMBUS_VERSION_5_0;
	struct vmbus *v = part->vmbus;

	/* A host without 5.0 does not have connection 4. */
	if (conn_id == VMBUS_CONN_ID_CONTACT && host_opt.vmbus_max < VMBUS_VERSION_5_0)
		return HV_STATUS_INVALID_CONNECTION_ID;
	if (conn_id != (modern ? VMBUS_CONN_ID_CONTACT : VMBUS_CONN_ID_LEGACY)) {
		host_violation(part, "vmbus.connection-id", m, sizeof(*m),
			       "INITIATE_CONTACT for %#x on connection %u", m->version, conn_id);
		return HV_STATUS_INVALID_CONNECTION_ID;
	}
	vmbus_reset(part);
	v->msg_vp = m->target_vp;
	if (version_ok(m->version)) {
		r.supported = 1;
		if (!monitor_ok(part, m)) {
			host_violation(part, "vmbus.monitor-page", m, sizeof(*m),
				       "monitor pages must be both or none, pages of the guest");
			r.supported = 0;
			r.conn_state = 2;
		}
	}
	if (r.supported) {
		v->version = m->version;
		v->conn_id = modern ? host_opt.msg_conn_id : VMBUS_CONN_ID_LEGACY;
		v->monitor_p2c = m->monitor_p2c;
		v->monitor_c2p = m->monitor_c2p;
		r.selected_or_conn_id = modern ? v->conn_id : m->version;
	}
	vmbus_send(part, &r, sizeof(r));
	return HV_STATUS_SUCCESS;
}

static void
send_created(struct partition *part, uint32_t relid, uint32_t id, uint32_t status)
{
	struct vmbus_msg_gpadl_created r = {
		.hdr.type = VMBUS_MSG_GPADL_CREATED, .relid = relid, .gpadl = id, .status = status
	};

	if (status != GPADL_PENDING)
		vmbus_send(part, &r, sizeof(r));
}

static void
on_gpadl(struct partition *part, const struct vmbus_msg_hdr *hdr, uint32_t len)
{
	uint32_t relid = 0, status;

	if (hdr->type == VMBUS_MSG_GPADL_HEADER) {
		const struct vmbus_msg_gpadl_header *m = (const void *)hdr;

		/* An unknown channel is a silent error: there is nobody to answer for. */
		if (channel_by_relid(part, m->relid) == NULL) {
			host_violation(part, "vmbus.unknown-relid", m, len, "GPADL_HEADER for %u",
				       m->relid);
			return;
		}
		status = gpadl_header(part, m, len);
		send_created(part, m->relid, m->gpadl, status);
	} else {
		const struct vmbus_msg_gpadl_body *m = (const void *)hdr;

		status = gpadl_body(part, m, len, &relid);
		send_created(part, relid, m->gpadl, status);
	}
}

/*
 * Are the pages still the host's? Before 4.0 Linux revokes it by the ring and tears it down by a
 * message without waiting: what was in the ring first is handled first.
 */
static bool
in_use(struct partition *part, uint32_t relid, uint32_t id)
{
	for (unsigned int i = 0; i < REVOKE_SLICES_MAX; i++) {
		/* The slice may have ended in a rescind: both are looked up again. */
		struct vchan *c = channel_by_relid(part, relid);
		struct gpadl *g = gpadl_find(part, id);

		if (g == NULL || !g->used)
			return false;
		if (c == NULL || !c->pub.open || c->pub.failed || c->ring == id)
			return true;
		channel_wake(c);
		if (c->pub.vdev->ops->poll(&c->pub) == 0)
			return true;
	}
	return true;
}

static void
on_teardown(struct partition *part, const struct vmbus_msg_gpadl_teardown *m)
{
	struct gpadl *g = gpadl_find(part, m->gpadl);
	bool used;

	if (g == NULL || g->relid != m->relid || g->teardown) {
		host_violation(part, "gpadl.unknown", m, sizeof(*m),
			       "teardown of GPADL %#x, relid %u", m->gpadl, m->relid);
		return;
	}
	used = in_use(part, m->relid, m->gpadl);
	g = gpadl_find(part, m->gpadl);
	if (g == NULL)
		return;
	g->teardown = true;
	if (used) {
		/* Answered when the channel is closed. */
		host_violation(part, "gpadl.in-use", m, sizeof(*m),
			       "teardown of GPADL %#x while it is in use", m->gpadl);
		return;
	}
	gpadl_finish_teardowns(part);
}

static void
on_unload(struct partition *part)
{
	struct vmbus_msg_hdr r = { .type = VMBUS_MSG_UNLOAD_RESPONSE };

	vmbus_reset(part);
	send_delayed(part, &r, sizeof(r), host_opt.unload_delay_ms + host_opt.reply_delay_ms);
}

/* Shortest message of each type a guest may send; 0 = not one of them. */
static uint32_t
min_len(uint32_t type)
{
	switch (type) {
	case VMBUS_MSG_REQUESTOFFERS:
	case VMBUS_MSG_UNLOAD:
		return sizeof(struct vmbus_msg_hdr);
	case VMBUS_MSG_OPENCHANNEL:
		return sizeof(struct vmbus_msg_open);
	case VMBUS_MSG_CLOSECHANNEL:
	case VMBUS_MSG_RELID_RELEASED:
		return sizeof(struct vmbus_msg_relid);
	case VMBUS_MSG_GPADL_HEADER:
		return sizeof(struct vmbus_msg_gpadl_header);
	case VMBUS_MSG_GPADL_BODY:
		return sizeof(struct vmbus_msg_gpadl_body);
	case VMBUS_MSG_GPADL_TEARDOWN:
		return sizeof(struct vmbus_msg_gpadl_teardown);
	case VMBUS_MSG_INITIATE_CONTACT:
		return sizeof(struct vmbus_msg_initiate_contact);
	case VMBUS_MSG_TL_CONNECT_REQUEST:
		return 40;
	case VMBUS_MSG_MODIFYCHANNEL:
		return sizeof(struct vmbus_msg_modify_channel);
	default:
		return 0;
	}
}

static void
on_tl_connect(struct partition *part, const uint8_t *m)
{
	uint8_t r[44] = { VMBUS_MSG_TL_CONNECT_RESULT };
	uint32_t status = CONNECTION_REFUSED;

	memcpy(r + 8, m + 8, 32);
	memcpy(r + 40, &status, sizeof(status));
	vmbus_send(part, r, sizeof(r));
}

static void
dispatch(struct partition *part, const struct vmbus_msg_hdr *hdr, uint32_t len)
{
	const void *m = hdr;

	switch (hdr->type) {
	case VMBUS_MSG_REQUESTOFFERS:
		channel_send_offers(part);
		break;
	case VMBUS_MSG_OPENCHANNEL:
		channel_on_open(part, m);
		break;
	case VMBUS_MSG_CLOSECHANNEL:
		channel_on_close(part, ((const struct vmbus_msg_relid *)m)->relid);
		break;
	case VMBUS_MSG_RELID_RELEASED:
		channel_on_released(part, ((const struct vmbus_msg_relid *)m)->relid);
		break;
	case VMBUS_MSG_GPADL_HEADER:
	case VMBUS_MSG_GPADL_BODY:
		on_gpadl(part, hdr, len);
		break;
	case VMBUS_MSG_GPADL_TEARDOWN:
		on_teardown(part, m);
		break;
	case VMBUS_MSG_UNLOAD:
		on_unload(part);
		break;
	case VMBUS_MSG_TL_CONNECT_REQUEST:
		on_tl_connect(part, m);
		break;
	case VMBUS_MSG_MODIFYCHANNEL:
		channel_on_modify(part, m);
		break;
	default:
		break;
	}
}

uint32_t
vmbus_post(struct partition *part, uint32_t conn_id, const void *msg, uint32_t len)
{
	uint64_t copy[VMBUS_MSG_MAX / 8] = { 0 };
	const struct vmbus_msg_hdr *hdr = (const void *)copy;

	memcpy(copy, msg, len);
	if (len < sizeof(*hdr) || min_len(hdr->type) == 0 || len < min_len(hdr->type)) {
		host_violation(part,
			       len < sizeof(*hdr) || min_len(hdr->type) != 0
				       ? "vmbus.short"
				       : "vmbus.unknown-message",
			       msg, len, "message type %u of %u bytes", hdr->type, len);
		return HV_STATUS_SUCCESS;
	}
	if (host_tracing)
		host_trace('G', "VMBUS", vmbus_msg_name(hdr->type), conn_id, msg, len);
	if (hdr->type == VMBUS_MSG_INITIATE_CONTACT)
		return on_contact(part, conn_id, (const void *)copy);
	/* Linux releases its relids when its bus driver is unloaded: after UNLOAD. */
	if (part->vmbus->version == 0 && hdr->type == VMBUS_MSG_RELID_RELEASED)
		return HV_STATUS_SUCCESS;
	if (part->vmbus->version == 0) {
		host_violation(part, "vmbus.before-contact", msg, len, "%s before contact",
			       vmbus_msg_name(hdr->type));
		return conn_id == VMBUS_CONN_ID_LEGACY || conn_id == VMBUS_CONN_ID_CONTACT
			       ? HV_STATUS_SUCCESS
			       : HV_STATUS_INVALID_CONNECTION_ID;
	}
	if (conn_id != part->vmbus->conn_id) {
		host_violation(part, "vmbus.connection-id", msg, len, "%s on connection %u, not %u",
			       vmbus_msg_name(hdr->type), conn_id, part->vmbus->conn_id);
		return HV_STATUS_INVALID_CONNECTION_ID;
	}
	dispatch(part, hdr, len);
	return HV_STATUS_SUCCESS;
}
