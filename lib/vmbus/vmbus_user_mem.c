/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All of DPDK's memory is guest memory: rings and buffers, and every mbuf a driver may name in
 * a packet. Segments that follow each other in one file become one region.
 *
 * Lock order: EAL's memory lock, then list_lock. Nothing under list_lock allocates DPDK memory.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_memory.h>

#include "vmbus_user_conn.h"

#define EVENT_NAME "hv_vmbus"

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static TAILQ_HEAD(, user_mem) list = TAILQ_HEAD_INITIALIZER(list);

/* A run of segments being collected. */
struct run {
	struct user_mem *mem; /* NULL: for everybody */
	uint64_t gpa;
	uint64_t size;
	uint64_t offset;
	int fd;
	int error;
};

static uint64_t
segment_gpa(const struct rte_memseg *ms)
{
	return rte_eal_iova_mode() == RTE_IOVA_VA ? (uint64_t)(uintptr_t)ms->addr : ms->iova;
}

static struct user_region *
region_at(struct user_mem *mem, uint64_t gpa, uint64_t size)
{
	for (unsigned int i = 0; i < mem->n_regions; i++) {
		struct user_region *r = &mem->regions[i];

		if (r->gpa < gpa + size && gpa < r->gpa + r->size)
			return r;
	}
	return NULL;
}

static void
complain(struct user_mem *mem, int error, uint64_t gpa, uint64_t size)
{
	if (mem->complained)
		return;
	mem->complained = true;
	VMBUS_LOG(ERR,
		  "%s: the host cannot have memory at %#" PRIx64 ", %#" PRIx64
		  " bytes: %s; packets in it will fail",
		  mem->path, gpa, size, strerror(-error));
}

static int
region_new(struct user_mem *mem, uint64_t gpa, uint64_t size, uint64_t offset, int fd)
{
	struct user_region *grown;
	int rc;

	grown = realloc(mem->regions, (mem->n_regions + 1) * sizeof(*grown));
	if (grown == NULL)
		return -ENOMEM;
	mem->regions = grown;
	rc = vmbus_client_mem_add(mem->client, gpa, size, offset, fd);
	if (rc != 0) {
		complain(mem, rc, gpa, size);
		return rc;
	}
	grown[mem->n_regions++] = (struct user_region){ .gpa = gpa, .size = size };
	return 0;
}

/* Give a host a run, less what it has: memory freed in the middle of a region comes back. */
static int
run_add(struct user_mem *mem, uint64_t gpa, uint64_t size, uint64_t offset, int fd)
{
	while (size != 0) {
		struct user_region *r = region_at(mem, gpa, 1);
		uint64_t n = size;
		int rc;

		if (r != NULL) {
			n = RTE_MIN(size, r->gpa + r->size - gpa);
			r->freed -= RTE_MIN(n, r->freed);
		} else {
			/* Up to the next region, if one begins inside. */
			for (unsigned int i = 0; i < mem->n_regions; i++)
				if (mem->regions[i].gpa > gpa && mem->regions[i].gpa - gpa < n)
					n = mem->regions[i].gpa - gpa;
			rc = region_new(mem, gpa, n, offset, fd);
			if (rc != 0)
				return rc;
		}
		gpa += n;
		offset += n;
		size -= n;
	}
	return 0;
}

static void
run_flush(struct run *run)
{
	struct user_mem *mem;

	if (run->size == 0)
		return;
	pthread_mutex_lock(&list_lock);
	TAILQ_FOREACH (mem, &list, link) {
		int rc;

		if (run->mem != NULL && mem != run->mem)
			continue;
		rc = run_add(mem, run->gpa, run->size, run->offset, run->fd);
		if (rc != 0)
			run->error = rc;
	}
	pthread_mutex_unlock(&list_lock);
	run->size = 0;
}

/* Called under EAL's memory lock. */
static int
add_segment(const struct rte_memseg_list *msl, const struct rte_memseg *ms, void *arg)
{
	struct run *run = arg;
	uint64_t gpa = segment_gpa(ms);
	size_t offset;
	int fd;

	if (msl->external || gpa == RTE_BAD_IOVA)
		return 0;
	fd = rte_memseg_get_fd_thread_unsafe(ms);
	if (fd < 0 || rte_memseg_get_fd_offset_thread_unsafe(ms, &offset) != 0) {
		run->error = -rte_errno;
		return 0;
	}
	/* By physical address a page may come back elsewhere: each is its own region then. */
	if (run->size != 0 && fd == run->fd && gpa == run->gpa + run->size &&
	    offset == run->offset + run->size && rte_eal_iova_mode() == RTE_IOVA_VA) {
		run->size += ms->len;
		return 0;
	}
	run_flush(run);
	run->gpa = gpa;
	run->size = ms->len;
	run->offset = offset;
	run->fd = fd;
	return 0;
}

static void
region_freed(struct user_mem *mem, uint64_t gpa, uint64_t size)
{
	struct user_region *r;

	while (size != 0 && (r = region_at(mem, gpa, size)) != NULL) {
		uint64_t from = RTE_MAX(gpa, r->gpa);
		uint64_t n = RTE_MIN(gpa + size, r->gpa + r->size) - from;

		size -= from + n - gpa;
		gpa = from + n;
		r->freed += n;
		if (r->freed < r->size)
			continue;
		/* Pages go back to the system only when the host has let go of them, too. */
		vmbus_client_mem_del(mem->client, r->gpa, r->size);
		*r = mem->regions[--mem->n_regions];
	}
}

/* Called under EAL's memory lock, before a free and after an allocation. */
static void
on_memory(enum rte_mem_event type, const void *addr, size_t len, void *arg)
{
	const struct rte_memseg_list *msl = rte_mem_virt2memseg_list(addr);
	struct run run = { 0 };
	struct user_mem *mem;

	(void)arg;
	if (msl == NULL || msl->external)
		return;
	for (size_t at = 0; at < len; at += msl->page_sz) {
		const struct rte_memseg *ms = rte_mem_virt2memseg(RTE_PTR_ADD(addr, at), msl);

		if (ms == NULL)
			continue;
		if (type == RTE_MEM_EVENT_ALLOC) {
			add_segment(msl, ms, &run);
			continue;
		}
		pthread_mutex_lock(&list_lock);
		TAILQ_FOREACH (mem, &list, link)
			region_freed(mem, segment_gpa(ms), ms->len);
		pthread_mutex_unlock(&list_lock);
	}
	run_flush(&run);
}

int
user_mem_share(struct user_mem *mem, struct vmbus_client *client, const char *path)
{
	struct run run = { .mem = mem };
	bool first;

	memset(mem, 0, sizeof(*mem));
	mem->client = client;
	mem->path = path;
	pthread_mutex_lock(&list_lock);
	first = TAILQ_EMPTY(&list);
	TAILQ_INSERT_TAIL(&list, mem, link);
	pthread_mutex_unlock(&list_lock);
	/* Before the walk, so that nothing is missed; legacy memory does not change, and says so. */
	if (first)
		rte_mem_event_callback_register(EVENT_NAME, on_memory, NULL);
	rte_memseg_walk(add_segment, &run);
	run_flush(&run);
	if (run.error != 0)
		VMBUS_LOG(ERR, "%s: not all of DPDK's memory can be shared with the host: %s", path,
			  strerror(-run.error));
	return mem->n_regions != 0 ? 0 : run.error;
}

void
user_mem_forget(struct user_mem *mem)
{
	bool last;

	pthread_mutex_lock(&list_lock);
	TAILQ_REMOVE(&list, mem, link);
	last = TAILQ_EMPTY(&list);
	pthread_mutex_unlock(&list_lock);
	if (last)
		rte_mem_event_callback_unregister(EVENT_NAME, NULL);
	free(mem->regions);
	mem->regions = NULL;
	mem->n_regions = 0;
}
