/* SPDX-License-Identifier: BSD-3-Clause */
/* VF association and the data path's direction; the VF itself is not here. */
#include <errno.h>
#include <string.h>

#include "netvsp.h"

#define TID_ASSOC  UINT64_C(0x8000000000000000)
#define TID_SWITCH UINT64_C(0x8000000000000001)
#define MS	   UINT64_C(1000000)

static void
notify(struct nic *nic, uint32_t type, uint32_t value)
{
	if (nic->n_notices < VF_NOTICES)
		nic->notice[nic->n_notices++] = (struct vf_notice){ .type = type,
								    .value = value,
								    .serial = nic->vf_serial };
}

static bool
send_notice(struct nic *nic, const struct vf_notice *n)
{
	struct nvsp_vf_assoc a = { .type = n->type, .allocated = n->value, .serial = n->serial };
	bool rc = n->type == NVSP_SWITCH_DATA_PATH || nic->opt.vf_rc;
	uint64_t tid = n->type == NVSP_SWITCH_DATA_PATH ? TID_SWITCH : rc ? TID_ASSOC : 0;
	uint32_t len =
		n->type == NVSP_SWITCH_DATA_PATH ? sizeof(struct nvsp_switch_data_path) : sizeof(a);

	return queue_send(nic_primary(nic), VMBUS_PKT_INBAND, rc ? VMBUS_PKT_F_RC : 0, tid, &a, len,
			  nvsp_msg_len(nic)) == 0;
}

/* May this guest be told of VFs? */
static bool
allowed(const struct nic *nic)
{
	return nic->rndis_ready && nic->state == NVSP_ST_READY && nic->version >= NVSP_VERSION_4 &&
	       (nic->caps & NVSP_CAP_SRIOV) != 0;
}

void
vf_session_ready(struct nic *nic)
{
	nic->vf_due = host_now() + nic->opt.vf_delay_ms * MS;
}

/* The VF stays, and so does the data path: DPDK relies on it (OpenVMM). */
void
vf_session_end(struct nic *nic)
{
	if (nic->vf != VF_NONE)
		nic->vf = VF_WAITING;
	if (nic->switch_pending)
		nic->path_vf = nic->switch_to_vf;
	nic->switch_pending = false;
	nic->n_notices = 0;
}

static void
finish_switch(struct nic *nic)
{
	bool to_vf = nic->switch_to_vf;

	/* The completion is empty and says nothing of the result. */
	if (nic->switch_rc &&
	    queue_send(nic_primary(nic), VMBUS_PKT_COMPLETION, 0, nic->switch_tid, "", 0, 0) != 0)
		return;
	nic->switch_pending = false;
	if (to_vf && nic->opt.switch_fail)
		notify(nic, NVSP_SWITCH_DATA_PATH, NVSP_PATH_SYNTHETIC);
	else
		nic->path_vf = to_vf;
}

bool
vf_switch_request(struct nic_queue *q, const struct vmbus_ring_pkt *pkt, uint32_t path)
{
	struct nic *nic = q->nic;
	bool rc = (pkt->flags & VMBUS_PKT_F_RC) != 0;
	bool legal =
		path == NVSP_PATH_VF ? nic->vf == VF_ADVERTISED && !nic->path_vf : nic->path_vf;

	if (path > NVSP_PATH_VF)
		host_violation(q->chan->part, "nvsp.data-path", pkt->body, pkt->payload_len,
			       "data path %u does not exist", path);
	if (nic->switch_pending || !legal || path > NVSP_PATH_VF) {
		/* Completed, without effect. */
		return !rc || queue_send(q, VMBUS_PKT_COMPLETION, 0, pkt->tid, "", 0, 0) == 0;
	}
	nic->switch_pending = true;
	nic->switch_rc = rc;
	nic->switch_to_vf = path == NVSP_PATH_VF;
	nic->switch_tid = pkt->tid;
	nic->switch_due = host_now() + nic->opt.switch_delay_ms * MS;
	if (nic->opt.switch_delay_ms == 0)
		finish_switch(nic);
	return true;
}

void
vf_tick(struct nic *nic)
{
	if (!allowed(nic))
		return;
	if (nic->switch_pending && host_now() >= nic->switch_due)
		finish_switch(nic);
	/* Right behind INITIALIZE_CMPLT, unless it is to be late. */
	if (nic->vf == VF_WAITING && host_now() >= nic->vf_due &&
	    nic->ctrl_head == nic->ctrl_tail) {
		nic->vf = VF_ADVERTISED;
		notify(nic, NVSP_VF_ASSOC, 1);
	}
	while (nic->n_notices != 0 && send_notice(nic, &nic->notice[0])) {
		nic->n_notices--;
		memmove(&nic->notice[0], &nic->notice[1], nic->n_notices * sizeof(nic->notice[0]));
	}
}

int
vf_add(struct nic *nic, uint32_t serial)
{
	if (nic->vf != VF_NONE)
		return -EALREADY;
	nic->vf = VF_WAITING;
	nic->vf_serial = serial;
	nic->vf_due = host_now();
	return 0;
}

/* Another VF, without a word of the first one's end: removal and addition overtook the guest. */
int
vf_replace(struct nic *nic, uint32_t serial)
{
	if (nic->vf == VF_NONE)
		return -ENODEV;
	vf_force_synthetic(nic);
	nic->vf = VF_NONE;
	return vf_add(nic, serial);
}

int
vf_force_synthetic(struct nic *nic)
{
	if (nic->switch_pending)
		finish_switch(nic);
	if (!nic->path_vf)
		return -EALREADY;
	nic->path_vf = false;
	if (allowed(nic))
		notify(nic, NVSP_SWITCH_DATA_PATH, NVSP_PATH_SYNTHETIC);
	return 0;
}

int
vf_remove(struct nic *nic)
{
	bool told = nic->vf == VF_ADVERTISED;

	if (nic->vf == VF_NONE)
		return -ENODEV;
	vf_force_synthetic(nic);
	nic->vf = VF_NONE;
	if (told && allowed(nic))
		notify(nic, NVSP_VF_ASSOC, 0);
	return 0;
}
