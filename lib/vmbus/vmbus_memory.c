/* SPDX-License-Identifier: BSD-3-Clause */
/* Shared memory that may outlive the channel it was shared under. */
#include <rte_malloc.h>
#include <rte_memzone.h>

#include "vmbus_backend.h"

struct hv_vmbus_memory {
	const struct rte_memzone *mz;
	uint32_t refs;
};

struct hv_vmbus_memory *
vmbus_memory_new(const struct rte_memzone *mz)
{
	struct hv_vmbus_memory *m = rte_malloc("hv_vmbus_memory", sizeof(*m), 0);

	if (m != NULL)
		*m = (struct hv_vmbus_memory){ .mz = mz, .refs = 1 };
	return m;
}

void
hv_vmbus_memory_get(struct hv_vmbus_memory *m)
{
	__atomic_add_fetch(&m->refs, 1, __ATOMIC_RELAXED);
}

void
hv_vmbus_memory_put(struct hv_vmbus_memory *m)
{
	/* Release: what was read of it. Acquire: before it is given away. */
	if (m == NULL || __atomic_sub_fetch(&m->refs, 1, __ATOMIC_ACQ_REL) != 0)
		return;
	rte_memzone_free(m->mz);
	rte_free(m);
}
