/* SPDX-License-Identifier: BSD-3-Clause */
/* The receive buffer's slots: free, filled, with the guest. */
#include <errno.h>
#include <stdlib.h>

#include "netvsp.h"

#define ID_BITS 20 /* of a slot number inside a random transaction id */
#define ID_MASK ((1u << ID_BITS) - 1)
#define ID_HIGH UINT64_C(0xFFFF888000000000) /* as if it were a kernel pointer */

static uint64_t
next_random(uint64_t *seed)
{
	/* xorshift64 */
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

uint64_t
slots_random(struct nic *nic)
{
	return next_random(&nic->tid_seed);
}

int
slots_create(struct nic *nic)
{
	if (nic->slot_count > ID_MASK)
		nic->slot_count = ID_MASK;
	nic->slots = calloc(nic->slot_count, sizeof(*nic->slots));
	nic->free_slots = calloc(nic->slot_count, sizeof(*nic->free_slots));
	if (nic->slots == NULL || nic->free_slots == NULL) {
		slots_free(nic);
		return -ENOMEM;
	}
	nic->tid_seed = (uint64_t)host_random() << 32 | 1;
	nic->granted = 0;
	slots_share(nic);
	return 0;
}

void
slots_free(struct nic *nic)
{
	free(nic->slots);
	free(nic->free_slots);
	nic->slots = NULL;
	nic->free_slots = NULL;
	nic->slot_count = 0;
	nic->n_shares = 0;
	for (unsigned int i = 0; i < NIC_QUEUES_MAX; i++)
		if (nic->queue[i] != NULL)
			nic->queue[i]->n_batch = 0;
}

/* Whose stack a slot returns to. */
static struct nic_share *
home(struct nic *nic, uint32_t slot)
{
	unsigned int i = (slot - NIC_CTRL_SLOTS) / nic->share[0].n_home;

	return &nic->share[i < nic->n_shares ? i : nic->n_shares - 1];
}

static void
shuffle(struct nic *nic, struct nic_share *s)
{
	for (uint32_t i = 1; i < s->n_free; i++) {
		uint32_t j = (uint32_t)(next_random(&nic->tid_seed) % (i + 1));
		uint32_t slot = nic->free_slots[s->base + i];

		nic->free_slots[s->base + i] = nic->free_slots[s->base + j];
		nic->free_slots[s->base + j] = slot;
	}
}

/* Static shares, as OpenVMM's; what the guest still holds returns to its new home later. */
void
slots_share(struct nic *nic)
{
	uint32_t data = nic->slot_count - NIC_CTRL_SLOTS, slot = nic->slot_count;

	nic->n_shares = nic->granted + 1;
	for (unsigned int i = 0; i < nic->n_shares; i++) {
		struct nic_share *s = &nic->share[i];

		s->base = NIC_CTRL_SLOTS + i * (data / nic->n_shares);
		s->n_home =
			i + 1 < nic->n_shares ? data / nic->n_shares : nic->slot_count - s->base;
		s->n_free = 0;
	}
	/* Stacks: the lowest slot on top. */
	while (slot-- > NIC_CTRL_SLOTS) {
		struct nic_share *s = home(nic, slot);

		if (!nic->slots[slot].used)
			nic->free_slots[s->base + s->n_free++] = slot;
	}
	for (unsigned int i = 0; nic->opt.scatter && i < nic->n_shares; i++)
		shuffle(nic, &nic->share[i]);
}

uint32_t
slots_take(struct nic_queue *q)
{
	struct nic *nic = q->nic;
	struct nic_share *s = &nic->share[q->index];
	uint32_t slot;

	if (q->index >= nic->n_shares || s->n_free == 0)
		return NIC_NO_SLOT;
	slot = nic->free_slots[s->base + --s->n_free];
	nic->slots[slot].used = true;
	nic->slots[slot].next = NIC_NO_SLOT;
	return slot;
}

uint32_t
slots_take_ctrl(struct nic *nic)
{
	for (uint32_t i = 0; nic->slots != NULL && i < NIC_CTRL_SLOTS; i++)
		if (!nic->slots[i].used) {
			nic->slots[i].used = true;
			nic->slots[i].next = NIC_NO_SLOT;
			return i;
		}
	return NIC_NO_SLOT;
}

uint64_t
slots_sent(struct nic_queue *q, uint32_t head, unsigned int count)
{
	struct nic *nic = q->nic;
	struct nic_slot *s = &nic->slots[head];
	uint64_t r;

	s->count = (uint16_t)count;
	s->queue = (uint8_t)q->index;
	switch (nic->opt.ids) {
	case IDS_HIGH:
		s->tid = ID_HIGH + (uint64_t)head * 64;
		break;
	case IDS_RANDOM:
		r = next_random(&nic->tid_seed);
		s->tid = (r & ~(uint64_t)ID_MASK) | (head ^ (r >> (64 - ID_BITS)));
		break;
	default:
		s->tid = head;
	}
	return s->tid;
}

/* The slot an id was made from; garbage for an id that is not ours. */
static uint32_t
decode(const struct nic *nic, uint64_t tid)
{
	switch (nic->opt.ids) {
	case IDS_HIGH:
		return (tid - ID_HIGH) / 64 < UINT32_MAX ? (uint32_t)((tid - ID_HIGH) / 64)
							 : UINT32_MAX;
	case IDS_RANDOM:
		return (uint32_t)(tid & ID_MASK) ^ (uint32_t)(tid >> (64 - ID_BITS));
	default:
		return tid < UINT32_MAX ? (uint32_t)tid : UINT32_MAX;
	}
}

void
slots_return(struct nic *nic, uint32_t head)
{
	uint32_t chain[NVSP_XFER_RANGES_MAX_RSC];
	unsigned int n = 0;

	nic->slots[head].count = 0;
	for (uint32_t s = head; s != NIC_NO_SLOT && n < NVSP_XFER_RANGES_MAX_RSC;
	     s = nic->slots[s].next) {
		nic->slots[s].used = false;
		chain[n++] = s;
	}
	/* Pushed last to first, so that they are taken in the same order again. */
	while (n-- > 0) {
		struct nic_share *s;

		if (chain[n] < NIC_CTRL_SLOTS)
			continue;
		s = home(nic, chain[n]);
		nic->free_slots[s->base + s->n_free++] = chain[n];
	}
}

bool
slots_complete(struct nic_queue *q, uint64_t tid)
{
	struct nic *nic = q->nic;
	uint32_t head = decode(nic, tid);
	struct nic_slot *s;

	if (head >= nic->slot_count || nic->slots[head].count == 0 || nic->slots[head].tid != tid) {
		/* The buffer may be revoked with packets still in the guest's hands. */
		if (nic->slots == NULL && nic->state == NVSP_ST_REVOKED)
			return true;
		return nic_fatal(q, "rx.complete-id", &tid, sizeof(tid),
				 "completion of %#llx, which is not outstanding",
				 (unsigned long long)tid);
	}
	s = &nic->slots[head];
	if (s->queue != q->index)
		return nic_fatal(q, "rx.complete-channel", &tid, sizeof(tid),
				 "completion of %#llx, which was sent on queue %u",
				 (unsigned long long)tid, s->queue);
	slots_return(nic, head);
	return true;
}

void
slots_reclaim(struct nic_queue *q)
{
	struct nic *nic = q->nic;

	if (nic->slots == NULL)
		return;
	if (q->n_batch != 0)
		slots_return(nic, q->batch_head);
	q->n_batch = 0;
	for (uint32_t i = 0; i < nic->slot_count; i++)
		if (nic->slots[i].count != 0 && nic->slots[i].queue == q->index)
			slots_return(nic, i);
}

uint32_t
slots_used(const struct nic *nic)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < nic->slot_count; i++)
		n += nic->slots[i].used;
	return n;
}
