/* SPDX-License-Identifier: BSD-3-Clause */
/* Completions of the guest's sends: in order, late if asked for, and the sections they free. */
#include "netvsp.h"

/* May another send be read? Also keeps the list of finished sections from overflowing. */
bool
tx_room(struct nic_queue *q)
{
	unsigned int left = NIC_TX_QUOTA - q->n_comp - q->n_defer;

	q->tx_full = left < (q->tx_full ? q->nic->opt.tx_resume : 1);
	return !q->tx_full && q->n_done < NIC_BURST;
}

/* The section holds a send from now until its completion is published. */
bool
tx_section_take(struct nic_queue *q, uint32_t section)
{
	if (q->nic->section_busy == NULL || section >= q->nic->sections)
		return true;
	if (q->nic->section_busy[section])
		return false;
	q->nic->section_busy[section] = 1;
	return true;
}

void
tx_section_release(struct nic_queue *q, uint32_t section)
{
	if (q->nic->section_busy != NULL && section < q->nic->sections)
		q->nic->section_busy[section] = 0;
}

/* One completion into the ring: the most frequent packet, so put together here. */
static bool
put(struct nic_queue *q, const struct tx_completion *c)
{
	struct {
		struct vmbus_pkt_desc desc;
		struct nvsp_rndis_complete msg;
		uint8_t pad[NVSP_MSG_SIZE - sizeof(struct nvsp_rndis_complete)];
	} HVWIRE_PACKED p = {
		.desc = { .type = VMBUS_PKT_COMPLETION, .off8 = sizeof(p.desc) / 8, .tid = c->tid },
		.msg = { .type = NVSP_RNDIS_COMPLETE, .status = c->status },
	};
	uint32_t len = (uint32_t)sizeof(p.desc) + ((nvsp_msg_len(q->nic) + 7u) & ~7u);
	struct vmbus_ring_span span;

	p.desc.len8 = (uint16_t)(len / 8);
	if (vmbus_ring_tx_reserve(&q->chan->tx, len, &span) != 0)
		return false;
	vmbus_ring_tx_fill(&span, 0, &p, len);
	vmbus_ring_tx_commit(&q->chan->tx, len);
	if (host_tracing)
		host_trace('H', "RING", "COMP", q->chan->relid, &p, len);
	if (q->ids.n != 0)
		tx_ids_remove(&q->ids, c->tid);
	if (c->section != NVSP_NO_SECTION)
		q->done[q->n_done++] = c->section;
	return true;
}

void
tx_complete(struct nic_queue *q, uint64_t tid, uint32_t section, uint32_t status)
{
	struct tx_completion c = { .tid = tid, .section = section, .status = status };

	q->st->tx_failed += status != NVSP_STATUS_SUCCESS;
	if (q->n_comp == 0 && q->nic->opt.tx_delay_ms == 0 && put(q, &c))
		return;
	c.due = host_after(q->nic->opt.tx_delay_ms * UINT64_C(1000000));
	tx_ids_add(&q->ids, tid);
	q->comp[(q->comp_head + q->n_comp) % NIC_TX_QUOTA] = c;
	q->n_comp++;
}

void
tx_flush(struct nic_queue *q)
{
	while (q->n_comp != 0 && q->n_done < NIC_BURST + NIC_TX_QUOTA) {
		struct tx_completion *c = &q->comp[q->comp_head];

		if (c->due > host_now() || !put(q, c))
			break;
		q->comp_head = (q->comp_head + 1) % NIC_TX_QUOTA;
		q->n_comp--;
	}
}

void
tx_published(struct nic_queue *q)
{
	for (unsigned int i = 0; i < q->n_done; i++)
		tx_section_release(q, q->done[i]);
	q->n_done = 0;
}
