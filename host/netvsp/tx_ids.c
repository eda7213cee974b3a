/* SPDX-License-Identifier: BSD-3-Clause */
/* Transaction ids of sends that wait for their completion: a hash table, linear probing. */
#include "netvsp.h"

/* At most half full, so that a search ends soon. An id of 0 breaks a rule and is not kept. */
#define SLOTS (2 * NIC_TX_QUOTA)
_Static_assert((SLOTS & (SLOTS - 1)) == 0, "power of two");

static unsigned int
home(uint64_t id)
{
	return (unsigned int)(id * UINT64_C(0x9E3779B97F4A7C15) >> 32) % SLOTS;
}

/* Where the id is, or the free slot that it would have. */
static unsigned int
find(const struct tx_ids *ids, uint64_t id)
{
	unsigned int i = home(id);

	while (ids->id[i] != 0 && ids->id[i] != id)
		i = (i + 1) % SLOTS;
	return i;
}

bool
tx_ids_has(const struct tx_ids *ids, uint64_t id)
{
	return ids->n != 0 && id != 0 && ids->id[find(ids, id)] == id;
}

void
tx_ids_add(struct tx_ids *ids, uint64_t id)
{
	unsigned int i = find(ids, id);

	if (id == 0 || ids->id[i] == id)
		return;
	ids->id[i] = id;
	ids->n++;
}

void
tx_ids_remove(struct tx_ids *ids, uint64_t id)
{
	unsigned int i, k;

	if (!tx_ids_has(ids, id))
		return;
	ids->n--;
	/* Those behind it that a search would not reach any more move up. */
	for (i = k = find(ids, id);;) {
		ids->id[i] = 0;
		do {
			k = (k + 1) % SLOTS;
			if (ids->id[k] == 0)
				return;
		} while ((k - home(ids->id[k])) % SLOTS < (k - i) % SLOTS);
		ids->id[i] = ids->id[k];
		i = k;
	}
}
