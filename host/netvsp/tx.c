/* SPDX-License-Identifier: BSD-3-Clause */
/* Completions of the guest's sends: in order, late if asked for, and the sections they free. */
#include "netvsp.h"

/* May another send be read? Also keeps the list of finished sections from overflowing. */
bool
tx_room(const struct nic_queue *q)
{
	return q->n_comp + q->n_defer < NIC_TX_QUOTA && q->n_done < NIC_BURST;
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

static bool
put(struct nic_queue *q, const struct tx_completion *c)
{
	struct nvsp_rndis_complete m = { .type = NVSP_RNDIS_COMPLETE, .status = c->status };

	if (queue_send(q, VMBUS_PKT_COMPLETION, 0, c->tid, &m, sizeof(m), nvsp_msg_len(q->nic)) !=
	    0)
		return false;
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
	c.due = host_now() + q->nic->opt.tx_delay_ms * UINT64_C(1000000);
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
