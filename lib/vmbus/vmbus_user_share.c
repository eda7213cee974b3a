/* SPDX-License-Identifier: BSD-3-Clause */
/* DPDK memory that a host is given under a GPADL, and how it comes back. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <rte_alarm.h>
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_memory.h>
#include <rte_memzone.h>

#include "vmbus_bus.h"
#include "vmbus_user_conn.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14, uapi/asm-generic/mman-common.h */
#endif

#define POPULATE_BYTES	     (256u << 10)
#define RESCINDED_TIMEOUT_MS 1000 /* a host has given up the pages with the channel */

/* A GPADL whose end the host has to confirm. */
struct user_leaving {
	TAILQ_ENTRY(user_leaving) link;
	uint32_t gpadl;
	struct hv_vmbus_memory *memory;
	bool confirmed;
	bool left; /* nobody waits for it any more */
};

/* --- giving ------------------------------------------------------------------------------------ */

/* Frame numbers of n pages. A segment's are looked up together: by page it takes system calls. */
static void
frames(const uint8_t *addr, uint32_t n, uint64_t *pfn)
{
	const struct rte_memseg_list *msl = rte_mem_virt2memseg_list(addr);
	bool by_segment = msl != NULL && !msl->external && rte_eal_iova_mode() == RTE_IOVA_PA;

	for (uint32_t i = 0; i < n;) {
		const uint8_t *page = addr + (size_t)i * HV_PAGE_SIZE;
		const struct rte_memseg *ms = by_segment ? rte_mem_virt2memseg(page, msl) : NULL;
		uint64_t gpa;
		uint32_t k = 1;

		if (ms != NULL && ms->iova != RTE_BAD_IOVA) {
			size_t at = RTE_PTR_DIFF(page, ms->addr);

			gpa = hv_vmbus_gpa(ms->iova + at);
			k = RTE_MIN(n - i, (uint32_t)((ms->len - at) / HV_PAGE_SIZE));
		} else {
			gpa = hv_vmbus_gpa(rte_mem_virt2iova(page));
		}
		for (uint32_t j = 0; j < k; j++)
			pfn[i + j] = (gpa >> HV_PAGE_SHIFT) + j;
		i += k;
	}
}

static int
share_gpadl(struct user_conn *conn, uint32_t relid, struct user_share *sh)
{
	uint32_t n = (uint32_t)(sh->mz->len / HV_PAGE_SIZE);
	uint64_t *pfn = calloc(n, sizeof(*pfn));
	int rc;

	if (pfn == NULL)
		return -ENOMEM;
	frames(sh->mz->addr, n, pfn);
	rc = vmbus_client_gpadl_create(conn->client, relid, pfn, n, &sh->gpadl);
	free(pfn);
	return rc;
}

int
user_share_new(struct user_dev *ud, uint32_t relid, uint32_t bytes, struct user_share *sh)
{
	static unsigned int zones;
	uint64_t start = rte_get_timer_cycles();
	char name[RTE_MEMZONE_NAMESIZE];
	int rc;

	bytes = RTE_ALIGN_CEIL(bytes, HV_PAGE_SIZE);
	snprintf(name, sizeof(name), "hv_vmbus_%u",
		 __atomic_fetch_add(&zones, 1, __ATOMIC_RELAXED));
	sh->mz = rte_memzone_reserve_aligned(name, bytes, ud->dev->device.numa_node, 0,
					     HV_PAGE_SIZE);
	if (sh->mz == NULL) {
		VMBUS_LOG(ERR, "%s: no %u bytes of DPDK memory: give it more (-m, hugepages)",
			  ud->dev->name, bytes);
		return -ENOMEM;
	}
	sh->memory = vmbus_memory_new(sh->mz);
	if (sh->memory == NULL) {
		rte_memzone_free(sh->mz);
		sh->mz = NULL;
		return -ENOMEM;
	}
	rc = share_gpadl(ud->conn, relid, sh);
	if (rc != 0)
		VMBUS_LOG(ERR, "%s: the host does not take %u bytes of memory: %s", ud->dev->name,
			  bytes, strerror(-rc));
	else
		VMBUS_LOG(DEBUG, "%s: %u bytes shared in %" PRIu64 " us", ud->dev->name, bytes,
			  (rte_get_timer_cycles() - start) * 1000000 / rte_get_timer_hz());
	return rc;
}

/* --- page faults ------------------------------------------------------------------------------- */

void
user_share_populate(struct user_conn *conn, struct user_share *sh)
{
	if (sh->mz == NULL)
		return;
	pthread_mutex_lock(&conn->lock);
	sh->populated = 0;
	sh->populating = true;
	/* The last first: rings are given behind buffers, and used before them. */
	TAILQ_INSERT_HEAD(&conn->populating, sh, link);
	pthread_mutex_unlock(&conn->lock);
	vmbus_client_wake(conn->client);
}

static void
populate_end(struct user_conn *conn, struct user_share *sh)
{
	if (sh->populating)
		TAILQ_REMOVE(&conn->populating, sh, link);
	sh->populating = false;
}

bool
user_share_idle(struct user_conn *conn)
{
	struct user_share *sh;
	size_t n;
	bool more;

	pthread_mutex_lock(&conn->lock);
	sh = TAILQ_FIRST(&conn->populating);
	if (sh != NULL) {
		n = RTE_MIN(sh->mz->len - sh->populated, (size_t)POPULATE_BYTES);
		/* Older kernels cannot: then every page has its fault when it is first used. */
		if (madvise(RTE_PTR_ADD(sh->mz->addr, sh->populated), n, MADV_POPULATE_WRITE) != 0)
			n = sh->mz->len - sh->populated;
		sh->populated += n;
		if (sh->populated == sh->mz->len)
			populate_end(conn, sh);
	}
	more = !TAILQ_EMPTY(&conn->populating);
	pthread_mutex_unlock(&conn->lock);
	return more;
}

/* --- taking back ------------------------------------------------------------------------------- */

/* On the interrupt thread: what was given up comes back after all. */
static void
take_back(void *arg)
{
	struct user_conn *conn = arg;
	struct user_leaving *l;

	do {
		pthread_mutex_lock(&conn->lock);
		TAILQ_FOREACH (l, &conn->leaving, link) {
			if (l->confirmed && l->left)
				break;
		}
		if (l != NULL)
			TAILQ_REMOVE(&conn->leaving, l, link);
		pthread_mutex_unlock(&conn->lock);
		if (l != NULL) {
			VMBUS_LOG(NOTICE, "%s: the host gives memory back, late", conn->path);
			hv_vmbus_memory_put(l->memory);
			free(l);
		}
	} while (l != NULL);
}

void
user_share_torndown(struct user_conn *conn, uint32_t gpadl)
{
	struct user_leaving *l;
	bool late = false;

	pthread_mutex_lock(&conn->lock);
	TAILQ_FOREACH (l, &conn->leaving, link) {
		if (l->gpadl == gpadl) {
			l->confirmed = true;
			late = l->left;
			break;
		}
	}
	pthread_mutex_unlock(&conn->lock);
	if (late)
		rte_eal_alarm_set(1, take_back, conn);
}

static struct user_leaving *
leaving_new(struct user_conn *conn, const struct user_share *sh)
{
	struct user_leaving *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return NULL;
	l->gpadl = sh->gpadl;
	l->memory = sh->memory;
	pthread_mutex_lock(&conn->lock);
	TAILQ_INSERT_TAIL(&conn->leaving, l, link);
	pthread_mutex_unlock(&conn->lock);
	return l;
}

/* Is the memory ours? If not, it is when the host confirms. */
static bool
leaving_end(struct user_conn *conn, struct user_leaving *l, bool ours)
{
	if (l == NULL)
		return ours;
	pthread_mutex_lock(&conn->lock);
	ours |= l->confirmed;
	l->left = !ours;
	if (ours)
		TAILQ_REMOVE(&conn->leaving, l, link);
	pthread_mutex_unlock(&conn->lock);
	if (ours)
		free(l);
	return ours;
}

int
user_share_free(struct user_dev *ud, uint32_t relid, struct user_share *sh)
{
	bool rescinded = user_offer_rescinded(ud->conn, relid), ours;
	struct user_conn *conn = ud->conn;
	struct user_leaving *l;
	int rc = 0;

	if (sh->mz == NULL)
		return 0;
	pthread_mutex_lock(&conn->lock);
	populate_end(conn, sh);
	pthread_mutex_unlock(&conn->lock);
	if (sh->gpadl != 0) {
		/* Known before it is asked for: the answer may come when the wait is just over. */
		l = leaving_new(conn, sh);
		rc = vmbus_client_gpadl_teardown(conn->client, relid, sh->gpadl,
						 rescinded ? RESCINDED_TIMEOUT_MS
							   : VMBUS_CLIENT_TIMEOUT_MS);
		ours = leaving_end(conn, l, rc == 0 || rc == -ENOTCONN || rescinded);
	} else {
		ours = true;
	}
	if (ours)
		hv_vmbus_memory_put(sh->memory);
	else
		VMBUS_LOG(ERR,
			  "%s: the host does not give back %zu bytes: %s; they are lost until it "
			  "does",
			  ud->dev->name, sh->mz->len, strerror(-rc));
	*sh = (struct user_share){ 0 };
	return ours ? 0 : -ETIMEDOUT;
}

void
user_share_end(struct user_conn *conn, bool ours)
{
	struct user_leaving *l;

	rte_eal_alarm_cancel(take_back, conn);
	while ((l = TAILQ_FIRST(&conn->leaving)) != NULL) {
		TAILQ_REMOVE(&conn->leaving, l, link);
		if (ours || l->confirmed)
			hv_vmbus_memory_put(l->memory);
		free(l);
	}
}
