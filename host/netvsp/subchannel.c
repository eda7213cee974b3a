/* SPDX-License-Identifier: BSD-3-Clause */
/* Sub-channels: request, grant, and the table that says which channel to send on. */
#include <string.h>

#include "netvsp.h"

#define BUG_OFF_LIE 28u /* what hosts up to NVSP 6 say; the table is at 40 (Linux netvsc.c) */

static void
send_table(struct nic *nic)
{
	bool bug = nic->opt.send_table == TABLE_BUG;
	struct nvsp_send_table t = { .type = NVSP_SEND_TABLE,
				     .count = NVSP_SEND_TABLE_ENTRIES,
				     .offset = bug ? BUG_OFF_LIE : nic->opt.table_offset };
	uint32_t at = bug ? NVSP_SEND_TABLE_OFF_BUG : nic->opt.table_offset;
	uint8_t msg[NVSP_SEND_TABLE_OFF_BUG + 4 * NVSP_SEND_TABLE_ENTRIES] = { 0 };

	memcpy(msg, &t, sizeof(t));
	for (uint32_t i = 0; i < NVSP_SEND_TABLE_ENTRIES; i++) {
		uint32_t chan = i % (nic->granted + 1);

		memcpy(msg + at + 4 * i, &chan, sizeof(chan));
	}
	if (queue_send(nic_primary(nic), VMBUS_PKT_INBAND, 0, 0, msg,
		       at + 4 * NVSP_SEND_TABLE_ENTRIES, 0) == 0)
		nic->table_due = false;
}

bool
subchannel_request(struct nic_queue *q, const struct vmbus_ring_pkt *pkt,
		   const struct nvsp_subchannel *m)
{
	struct nvsp_subchannel r = { .type = NVSP_SUBCHANNEL, .op_or_status = NVSP_STATUS_FAILURE };
	struct nic *nic = q->nic;
	uint32_t n = m->count;
	bool again = nic->granted != 0;

	if (again)
		host_violation(q->chan->part, "nvsp.subchannel-twice", pkt->body, pkt->payload_len,
			       "nic %u: second request of a session: real hosts lose the data path",
			       nic->index);
	if (m->op_or_status != NVSP_SUBCHANNEL_ALLOCATE)
		host_violation(q->chan->part, "nvsp.subchannel-op", pkt->body, pkt->payload_len,
			       "nic %u: operation %u is none", nic->index, m->op_or_status);
	if (m->op_or_status == NVSP_SUBCHANNEL_ALLOCATE && n < nic->opt.queues &&
	    nic->slots != NULL && (nic->slot_count - NIC_CTRL_SLOTS) / (n + 1) >= 1) {
		r.op_or_status = NVSP_STATUS_SUCCESS;
		r.count = n < nic->opt.grant ? n : nic->opt.grant;
		if (again && r.count > nic->granted)
			r.count = nic->granted;
	} else {
		n = 0;
	}
	if ((pkt->flags & VMBUS_PKT_F_RC) == 0)
		host_violation(q->chan->part, "nvsp.no-rc", pkt->body, pkt->payload_len,
			       "a request that needs an answer asks for no completion");
	else if (queue_send(q, VMBUS_PKT_COMPLETION, 0, pkt->tid, &r, sizeof(r),
			    nvsp_msg_len(nic)) != 0)
		return false;
	if (r.count == 0)
		return true;
	if (!again) {
		nic->granted = r.count;
		slots_share(nic);
		if (channel_offer_subs(&nic->vdev, r.count) != 0)
			host_log(HOST_ERR, "nic %u: no relid left for %u sub-channels", nic->index,
				 r.count);
	}
	nic->table_due = nic->opt.send_table != TABLE_NONE;
	return true;
}

void
subchannel_tick(struct nic *nic)
{
	if (!nic->table_due)
		return;
	for (unsigned int i = 1; nic->opt.send_table == TABLE_LATE && i <= nic->granted; i++)
		if (nic->queue[i] == NULL)
			return;
	send_table(nic);
}
