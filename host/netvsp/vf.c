/* SPDX-License-Identifier: BSD-3-Clause */
/* VF association and the data path's direction; the VF itself is not here. */
#include <errno.h>
#include <string.h>

#include "netvsp.h"

#define TID_ASSOC  UINT64_C(0x8000000000000000)
#define TID_SWITCH UINT64_C(0x8000000000000001)
#define MS	   UINT64_C(1000000)
#define ASKED_NS   (20 * MS)

#define VF_SWITCHED	 0u /* a notice's type: the completion of the guest's switch */
#define VF_NOTICES_EVENT 3u /* completion, synthetic path, VF gone */

/* Room for all that one event can have to say: nothing is lost, the event has to wait. */
static bool
can_notify(const struct nic *nic)
{
	return nic->n_notices + VF_NOTICES_EVENT <= VF_NOTICES;
}

static void
notify(struct nic *nic, uint32_t type, uint32_t value)
{
	nic->notice[nic->n_notices++] = (struct vf_notice){
		.type = type, .value = value, .serial = nic->vf_serial, .tid = nic->switch_tid
	};
}

static bool
send_notice(struct nic *nic, const struct vf_notice *n)
{
	struct nvsp_vf_assoc a = { .type = n->type, .allocated = n->value, .serial = n->serial };
	struct nic_queue *q = nic_primary(nic);
	bool assoc = n->type == NVSP_VF_ASSOC;

	/* The completion of a switch is empty and says nothing of the result. */
	if (n->type == VF_SWITCHED)
		return queue_send(q, VMBUS_PKT_COMPLETION, 0, n->tid, "", 0, 0) == 0;
	if (assoc && !nic->opt.vf_rc)
		return queue_send(q, VMBUS_PKT_INBAND, 0, 0, &a, sizeof(a), nvsp_msg_len(nic)) == 0;
	if (queue_send(q, VMBUS_PKT_INBAND, VMBUS_PKT_F_RC, assoc ? TID_ASSOC : TID_SWITCH, &a,
		       assoc ? sizeof(a) : sizeof(struct nvsp_switch_data_path),
		       nvsp_msg_len(nic)) != 0)
		return false;
	nic->vf_open[assoc ? 0 : 1]++;
	return true;
}

static void
flush(struct nic *nic)
{
	unsigned int n = 0;

	while (n < nic->n_notices && send_notice(nic, &nic->notice[n]))
		n++;
	nic->n_notices -= n;
	memmove(&nic->notice[0], &nic->notice[n], nic->n_notices * sizeof(nic->notice[0]));
}

bool
vf_completed(struct nic *nic, uint64_t tid)
{
	if ((tid != TID_ASSOC && tid != TID_SWITCH) || nic->vf_open[tid - TID_ASSOC] == 0)
		return false;
	nic->vf_open[tid - TID_ASSOC]--;
	return true;
}

/* May this guest be told of VFs? */
static bool
allowed(const struct nic *nic)
{
	/* Hosts have been seen to speak before anybody asked. */
	if (nic->opt.vf_when != VF_AFTER_RNDIS && nic->state >= NVSP_ST_CONFIG &&
	    nic->state <= NVSP_ST_READY)
		return nic->opt.vf_when == VF_AFTER_INIT || nic->have_config;
	return nic->rndis_ready && nic->state == NVSP_ST_READY && nic->version >= NVSP_VERSION_4 &&
	       (nic->caps & NVSP_CAP_SRIOV) != 0;
}

void
vf_session_ready(struct nic *nic)
{
	nic->vf_due = host_after(nic->opt.vf_delay_ms * MS);
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

static bool
is_lost(struct nic *nic)
{
	if (nic->lose_switches == 0)
		return false;
	nic->lose_switches--;
	return true;
}

static void
finish_switch(struct nic *nic)
{
	bool to_vf = nic->switch_to_vf;

	/* The back end has switched when nothing goes to the VF any more. */
	if (!to_vf && nic->path_vf) {
		nic->path_vf = false;
		vf_leg_poll(nic);
		/* It may ask because its VF has gone, and never make room there. */
		if (nic->leg_patience > ASKED_NS)
			nic->leg_patience = ASKED_NS;
	}
	if (!to_vf && vf_leg_settling(nic))
		return;
	nic->leg_live = to_vf;
	nic->switch_pending = false;
	if (nic->switch_rc && !is_lost(nic))
		notify(nic, VF_SWITCHED, 0);
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
	/* A guest asks for the synthetic path when it sends nothing by the VF any more. */
	if (path == NVSP_PATH_VF)
		nic->leg_live = true;
	else if (!nic->path_vf)
		nic->leg_live = false;
	if (nic->switch_pending || !legal || path > NVSP_PATH_VF) {
		/* Completed, without effect. */
		return !rc || is_lost(nic) ||
		       queue_send(q, VMBUS_PKT_COMPLETION, 0, pkt->tid, "", 0, 0) == 0;
	}
	if (!can_notify(nic))
		return false;
	nic->switch_pending = true;
	nic->switch_rc = rc;
	nic->switch_to_vf = path == NVSP_PATH_VF;
	nic->switch_tid = pkt->tid;
	nic->switch_due = host_after(nic->opt.switch_delay_ms * MS);
	if (nic->opt.switch_delay_ms == 0) {
		finish_switch(nic);
		flush(nic);
	}
	return true;
}

static void
flap(struct nic *nic)
{
	if (nic->flap_steps == 0 || host_now() < nic->flap_due ||
	    (nic->vf == VF_NONE ? vf_plug(nic, nic->vf_serial + 1) : vf_unplug(nic)) != 0)
		return;
	nic->flap_steps--;
	nic->flap_due = host_after(nic->flap_ns);
}

void
vf_tick(struct nic *nic)
{
	if (nic->state < NVSP_ST_CONFIG || nic->state > NVSP_ST_READY)
		return;
	if (vf_leg_settling(nic))
		return;
	if (nic->switch_pending && host_now() >= nic->switch_due && can_notify(nic))
		finish_switch(nic);
	flap(nic);
	if (nic->vf_vanished && host_now() >= nic->vf_due)
		vf_unplug(nic); /* or, without room in the ring, next time */
	/* Right behind INITIALIZE_CMPLT, unless it is to be late. */
	if (allowed(nic) && nic->vf == VF_WAITING && host_now() >= nic->vf_due &&
	    nic->ctrl_head == nic->ctrl_tail && can_notify(nic)) {
		nic->vf = VF_ADVERTISED;
		notify(nic, NVSP_VF_ASSOC, 1);
	}
	flush(nic);
}

int
vf_plug(struct nic *nic, uint32_t serial)
{
	if (nic->vf != VF_NONE)
		return -EALREADY;
	if (nic->leg_cut)
		vf_leg_cut(nic, false);
	nic->vf_vanished = false;
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
	if (!can_notify(nic))
		return -EBUSY;
	vf_force_synthetic(nic);
	nic->vf = VF_NONE;
	return vf_plug(nic, serial);
}

int
vf_force_synthetic(struct nic *nic)
{
	if (!can_notify(nic))
		return -EBUSY;
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
vf_unplug(struct nic *nic)
{
	bool told = nic->vf == VF_ADVERTISED;

	if (nic->vf == VF_NONE)
		return -ENODEV;
	if (!can_notify(nic))
		return -EBUSY;
	vf_force_synthetic(nic);
	nic->vf = VF_NONE;
	nic->vf_vanished = false;
	if (told && allowed(nic))
		notify(nic, NVSP_VF_ASSOC, 0);
	return 0;
}

/* The hardware fails: first its wire, and the host tells so ms later. */
int
vf_vanish(struct nic *nic, uint64_t ms)
{
	int rc = nic->vf == VF_NONE ? -ENODEV : vf_leg_cut(nic, true);

	if (rc != 0)
		return rc;
	nic->vf_vanished = true;
	nic->vf_due = host_after(ms * MS);
	return 0;
}

void
vf_flap(struct nic *nic, uint64_t count, uint64_t ms)
{
	nic->flap_steps = 2 * count;
	nic->flap_ns = ms * MS;
	nic->flap_due = host_now();
}
