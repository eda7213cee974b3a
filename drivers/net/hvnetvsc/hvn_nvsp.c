/* SPDX-License-Identifier: BSD-3-Clause */
/* NVSP. */
#include <errno.h>
#include <string.h>

#include "hvn_caps.h"
#include "hvn_ctrl.h"
#include "hvn_nvsp.h"
#include "hvn_vf.h"

static const uint32_t versions[] = {
	NVSP_VERSION_6_1, NVSP_VERSION_6, NVSP_VERSION_5,
	NVSP_VERSION_4,	  NVSP_VERSION_2, NVSP_VERSION_1,
};

int
hvn_nvsp_negotiate(struct hvn_port *p)
{
	struct nvsp_init_complete done;

	for (unsigned int i = 0; i < RTE_DIM(versions); i++) {
		struct nvsp_init init = { NVSP_INIT, versions[i], versions[i] };
		int rc;

		if (versions[i] > p->args.nvsp_max)
			continue;
		rc = hvn_ctrl_nvsp(p, &init, sizeof(init), NVSP_INIT_COMPLETE, &done, sizeof(done));
		if (rc != 0) {
			HVN_LOG(ERR, "port %u: the host does not answer NVSP INIT: %s", p->port_id,
				rte_strerror(-rc));
			return rc;
		}
		/* A refusal may be any other status; the version in the answer is noise. */
		if (done.status == NVSP_STATUS_SUCCESS) {
			p->caps.nvsp_version = versions[i];
			return 0;
		}
	}
	HVN_LOG(ERR, "port %u: the host refuses every NVSP version up to 0x%x", p->port_id,
		p->args.nvsp_max);
	return -EPROTONOSUPPORT;
}

int
hvn_nvsp_configure(struct hvn_port *p, uint16_t mtu)
{
	struct nvsp_ndis_version version = { NVSP_NDIS_VERSION, 6, 1 };
	struct nvsp_ndis_config config = {
		.type = NVSP_NDIS_CONFIG,
		.mtu = mtu + (uint32_t)RTE_ETHER_HDR_LEN,
		.caps = NVSP_CAP_8021Q,
	};
	int rc = 0;

	if (p->caps.nvsp_version >= NVSP_VERSION_5) {
		config.caps |= NVSP_CAP_SRIOV | NVSP_CAP_TEAMING;
		version.minor = 30;
	}
	/* The host coalesces only what the offload parameters ask for besides. */
	if (p->caps.nvsp_version >= NVSP_VERSION_6_1)
		config.caps |= NVSP_CAP_RSC;
	if (p->caps.nvsp_version >= NVSP_VERSION_2)
		rc = hvn_ctrl_nvsp_post(p, &config, sizeof(config));
	if (rc == 0)
		rc = hvn_ctrl_nvsp_post(p, &version, sizeof(version));
	p->caps.ndis_major = version.major;
	p->caps.ndis_minor = version.minor;
	if (rc != 0)
		HVN_LOG(ERR, "port %u: cannot send the NDIS configuration: %s", p->port_id,
			rte_strerror(-rc));
	return rc;
}

int
hvn_nvsp_recv_buf(struct hvn_port *p)
{
	const struct hv_vmbus_buffer *b = hv_vmbus_recv_buf(hvn_vdev(p));
	struct nvsp_buf msg = { NVSP_RECV_BUF, b->gpadl, NVSP_RECV_BUF_ID, 0 };
	struct nvsp_recv_buf_complete done;
	const char *why = "";
	int rc;

	p->recv_len = b->len;
	if (b->addr == NULL) {
		HVN_LOG(ERR, "port %u: the device has no receive buffer", p->port_id);
		return -ENODEV;
	}
	rc = hvn_ctrl_nvsp(p, &msg, sizeof(msg), NVSP_RECV_BUF_COMPLETE, &done, sizeof(done));
	if (rc == 0)
		rc = hvn_caps_recv_buf(&done, sizeof(done), b->len, &p->caps.slot_size,
				       &p->caps.slot_count, &why);
	if (rc != 0) {
		HVN_LOG(ERR, "port %u: receive buffer of %" PRIu64 " bytes: %s %s", p->port_id,
			b->len, rte_strerror(-rc), why);
		return rc;
	}
	p->recv_buf = b->addr;
	return 0;
}

int
hvn_nvsp_send_buf(struct hvn_port *p)
{
	const struct hv_vmbus_buffer *b = hv_vmbus_send_buf(hvn_vdev(p));
	struct nvsp_buf msg = { NVSP_SEND_BUF, b->gpadl, NVSP_SEND_BUF_ID, 0 };
	struct nvsp_send_buf_complete done;
	const char *why = "";
	int rc;

	p->send_buf = NULL;
	p->send_len = 0;
	p->caps.section_size = p->caps.section_count = 0;
	if (b->addr == NULL)
		return 0;
	rc = hvn_ctrl_nvsp(p, &msg, sizeof(msg), NVSP_SEND_BUF_COMPLETE, &done, sizeof(done));
	if (rc != 0 && rc != -EPROTO)
		return rc;
	if (rc == 0)
		rc = hvn_caps_send_buf(&done, sizeof(done), b->len, &p->caps.section_size,
				       &p->caps.section_count, &why);
	if (rc != 0) {
		HVN_LOG(WARNING,
			"port %u: send buffer: %s: every packet is sent from where it lies",
			p->port_id, why);
		return 0;
	}
	p->send_buf = b->addr;
	p->send_len = b->len;
	return 0;
}

int
hvn_nvsp_subchannels(struct hvn_port *p, uint16_t want, uint16_t *granted)
{
	struct nvsp_subchannel msg = { NVSP_SUBCHANNEL, NVSP_SUBCHANNEL_ALLOCATE, want };
	struct nvsp_subchannel done;
	int rc;

	*granted = 0;
	rc = hvn_ctrl_nvsp(p, &msg, sizeof(msg), NVSP_SUBCHANNEL, &done, sizeof(done));
	if (rc != 0) {
		HVN_LOG(ERR, "port %u: request for %u sub-channels: %s", p->port_id, want,
			rte_strerror(-rc));
		return rc;
	}
	if (done.op_or_status != NVSP_STATUS_SUCCESS) {
		HVN_LOG(WARNING, "port %u: the host refuses %u sub-channels (status %u)",
			p->port_id, want, done.op_or_status);
		return 0;
	}
	if (done.count > want) {
		HVN_LOG(ERR, "port %u: the host grants %u sub-channels where %u were asked for",
			p->port_id, done.count, want);
		return -EPROTO;
	}
	*granted = (uint16_t)done.count;
	return 0;
}

void
hvn_nvsp_revoke(struct hvn_port *p)
{
	struct nvsp_revoke_buf recv = { NVSP_REVOKE_RECV_BUF, NVSP_RECV_BUF_ID, 0 };
	struct nvsp_revoke_buf send = { NVSP_REVOKE_SEND_BUF, NVSP_SEND_BUF_ID, 0 };

	if (p->recv_buf != NULL)
		hvn_ctrl_nvsp_post(p, &recv, sizeof(recv));
	if (p->send_buf != NULL)
		hvn_ctrl_nvsp_post(p, &send, sizeof(send));
}

int
hvn_nvsp_switch_data_path(struct hvn_port *p, uint32_t path)
{
	struct nvsp_switch_data_path msg = { NVSP_SWITCH_DATA_PATH, path };

	if (!p->opened || hvn_removed(p))
		return -ENODEV;
	if (p->caps.nvsp_version < NVSP_VERSION_4)
		return -ENOTSUP;
	return hvn_ctrl_nvsp(p, &msg, sizeof(msg), HVN_CTRL_NO_REPLY_TYPE, NULL, 0);
}

/* --- unasked messages ------------------------------------------------------------------------------ */

/*
 * Completions go to the channel that sent, so the table changes nothing here; it is checked
 * because a bad one tells of a bad host.
 */
static void
on_send_table(struct hvn_port *p, const void *msg, uint32_t len)
{
	uint16_t table[NVSP_SEND_TABLE_ENTRIES];
	const char *why;

	if (hvn_caps_send_table(msg, len, RTE_MAX(p->n_chans, (uint16_t)1), table, &why) != 0)
		HVN_LOG(WARNING, "port %u: send table ignored: %s", p->port_id, why);
}

static void
on_vf_assoc(struct hvn_port *p, const void *msg, uint32_t len)
{
	struct nvsp_vf_assoc m;

	if (len < sizeof(m))
		return;
	memcpy(&m, msg, sizeof(m));
	hvn_vf_assoc(p, m.allocated != 0, m.serial);
}

/* The host took the data path back on its own. */
static void
on_switch(struct hvn_port *p, const void *msg, uint32_t len)
{
	struct nvsp_switch_data_path m;

	if (len < sizeof(m))
		return;
	memcpy(&m, msg, sizeof(m));
	if (m.path == NVSP_PATH_SYNTHETIC)
		hvn_vf_event(p, HVN_EV_HOST_SYNTHETIC);
}

void
hvn_nvsp_notify(struct hvn_port *p, const void *msg, uint32_t len)
{
	uint32_t type = len >= sizeof(type) ? hv_load32(msg) : 0;

	switch (type) {
	case NVSP_SEND_TABLE:
		on_send_table(p, msg, len);
		break;
	case NVSP_VF_ASSOC:
		on_vf_assoc(p, msg, len);
		break;
	case NVSP_SWITCH_DATA_PATH:
		on_switch(p, msg, len);
		break;
	default:
		HVN_LOG(DEBUG, "port %u: NVSP message of type %u ignored", p->port_id, type);
	}
}
