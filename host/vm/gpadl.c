/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * GPADLs: lists of guest pages that a channel shares. Collected from a header and its bodies,
 * then mapped so that scattered pages are contiguous for the host.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "options.h"
#include "partition.h"

#define GPADLS_MAX	 4096
#define GPADL_ST_INVALID 0xC000000Du /* NTSTATUS STATUS_INVALID_PARAMETER */
#define GPADL_ST_LIMIT	 0xC000009Au /* NTSTATUS STATUS_INSUFFICIENT_RESOURCES */

struct gpadl *
gpadl_find(struct partition *part, uint32_t id)
{
	struct gpadl *g;

	TAILQ_FOREACH (g, &part->gpadls, link) {
		if (g->id == id)
			return g;
	}
	return NULL;
}

void *
gpadl_take(struct channel *chan, uint32_t gpadl, size_t *len)
{
	struct gpadl *g = gpadl_find(chan->part, gpadl);

	if (g == NULL || !g->created || g->teardown || g->used || g->relid != chan->relid)
		return NULL;
	g->used = true;
	*len = g->bytes;
	return g->va;
}

void
gpadl_put(struct channel *chan, uint32_t gpadl)
{
	struct gpadl *g = gpadl_find(chan->part, gpadl);

	if (g != NULL)
		g->used = false;
}

void
gpadl_free(struct partition *part, struct gpadl *g)
{
	if (g->map != NULL)
		munmap(g->map, g->map_len);
	part->gpadl_bytes -= (uint64_t)g->n_pfns * HV_PAGE_SIZE;
	TAILQ_REMOVE(&part->gpadls, g, link);
	free(g);
}

void
gpadl_free_all(struct partition *part)
{
	struct gpadl *g;

	while ((g = TAILQ_FIRST(&part->gpadls)) != NULL)
		gpadl_free(part, g);
}

bool
gpadl_overlaps(struct partition *part, uint64_t gpa, uint64_t size)
{
	struct gpadl *g;

	TAILQ_FOREACH (g, &part->gpadls, link) {
		for (uint32_t i = 0; i < g->have; i++)
			if (g->pfn[i] >= gpa / HV_PAGE_SIZE &&
			    g->pfn[i] < (gpa + size) / HV_PAGE_SIZE)
				return true;
	}
	return false;
}

/* Pages from index i on that follow each other in one region. */
static uint32_t
run_length(struct partition *part, const struct gpadl *g, uint32_t i, struct region **region)
{
	struct region *r = mem_find(part, g->pfn[i] * HV_PAGE_SIZE);
	uint32_t n = 1;

	*region = r;
	if (r == NULL || r->rdonly)
		return 0;
	while (i + n < g->n_pfns && g->pfn[i + n] == g->pfn[i] + n &&
	       (g->pfn[i] + n) * HV_PAGE_SIZE < r->gpa + r->size)
		n++;
	return n;
}

/* Map the runs one behind the other into one reserved range of addresses. */
static int
map_runs(struct partition *part, struct gpadl *g, const struct region *first)
{
	size_t len = (size_t)g->n_pfns * HV_PAGE_SIZE, page = mem_page_size(first);
	size_t off = first->offset + (g->pfn[0] * HV_PAGE_SIZE - first->gpa);
	uint8_t *at;

	/* Room for what huge pages stick out, and to start at the file's alignment. */
	g->map_len = len + 3 * page;
	g->map = mmap(NULL, g->map_len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		      0);
	if (g->map == MAP_FAILED) {
		g->map = NULL;
		return -ENOMEM;
	}
	at = (uint8_t *)(((uintptr_t)g->map + page - 1) & ~(uintptr_t)(page - 1));
	g->va = at + (off & (page - 1));
	for (uint32_t i = 0, n; i < g->n_pfns; i += n) {
		struct region *r;
		int rc;

		n = run_length(part, g, i, &r);
		if (n == 0)
			return -EFAULT;
		rc = mem_map_fixed(r, g->pfn[i] * HV_PAGE_SIZE, (size_t)n * HV_PAGE_SIZE,
				   g->va + (size_t)i * HV_PAGE_SIZE, i == 0, i + n == g->n_pfns);
		if (rc != 0)
			return rc;
	}
	return 0;
}

static bool
page_there(struct partition *part, uint64_t pfn)
{
	const struct region *r =
		pfn < UINT64_MAX / HV_PAGE_SIZE ? mem_find(part, pfn * HV_PAGE_SIZE) : NULL;

	return r != NULL && !r->rdonly;
}

/* All page numbers are here. Returns the status of GPADL_CREATED. */
static uint32_t
gpadl_complete(struct partition *part, struct gpadl *g)
{
	struct region *r;
	uint32_t n;
	int rc = 0;

	for (uint32_t i = 0; i < g->n_pfns && rc == 0; i++)
		if (g->pfn[i] >= UINT64_MAX / HV_PAGE_SIZE)
			rc = -EFAULT;
	n = rc == 0 ? run_length(part, g, 0, &r) : 0;
	if (n == g->n_pfns)
		g->va = r->va + (g->pfn[0] * HV_PAGE_SIZE - r->gpa);
	else
		rc = n == 0 ? -EFAULT : map_runs(part, g, r);
	if (rc == -EINVAL) {
		/* What hardware maps by the page, mmap() maps by the huge page. */
		host_log(HOST_WARN,
			 "guest %u: GPADL %#x refused: its pages are scattered inside huge pages, "
			 "which this host cannot map; give the guest memory of small pages",
			 part->id, g->id);
		gpadl_free(part, g);
		return GPADL_ST_LIMIT;
	}
	if (rc != 0) {
		n = 0;
		while (n + 1 < g->n_pfns && page_there(part, g->pfn[n]))
			n++;
		host_violation(part, "gpadl.pages", &g->pfn[n], sizeof(g->pfn[n]),
			       "GPADL %#x: a page is no writable guest memory (%s)", g->id,
			       strerror(-rc));
		gpadl_free(part, g);
		return GPADL_ST_INVALID;
	}
	g->created = true;
	return 0;
}

static uint32_t
gpadl_append(struct partition *part, struct gpadl *g, const uint64_t *pfn, size_t n)
{
	if (n > g->n_pfns - g->have) {
		host_violation(part, "gpadl.too-many-pfns", pfn, n * sizeof(*pfn),
			       "GPADL %#x: more page numbers than the header announced", g->id);
		gpadl_free(part, g);
		return GPADL_ST_INVALID;
	}
	memcpy(&g->pfn[g->have], pfn, n * sizeof(*pfn));
	g->have += (uint32_t)n;
	return g->have == g->n_pfns ? gpadl_complete(part, g) : GPADL_PENDING;
}

uint32_t
gpadl_header(struct partition *part, const struct vmbus_msg_gpadl_header *m, size_t len)
{
	uint32_t n = (m->range_bytes - 8u) / 8u, count = 0;
	struct gpadl *g;

	if (gpadl_find(part, m->gpadl) != NULL || m->gpadl == 0) {
		host_violation(part, "gpadl.id", m, len, "GPADL id %#x is 0 or in use", m->gpadl);
		return GPADL_ST_INVALID;
	}
	if (m->range_count != 1 || m->range_bytes < 16 || m->range_bytes % 8 != 0 ||
	    n > VMBUS_GPADL_MAX_PFNS || m->byte_offset != 0 || m->byte_count == 0 ||
	    ((uint64_t)m->byte_count + HV_PAGE_SIZE - 1) / HV_PAGE_SIZE != n) {
		host_violation(part, "gpadl.range", m, len,
			       "GPADL %#x: the range is not %u whole pages", m->gpadl, n);
		return GPADL_ST_INVALID;
	}
	TAILQ_FOREACH (g, &part->gpadls, link)
		count++;
	g = NULL;
	if (count < GPADLS_MAX &&
	    part->gpadl_bytes + (uint64_t)n * HV_PAGE_SIZE <= host_opt.gpadl_limit)
		g = calloc(1, sizeof(*g) + n * sizeof(g->pfn[0]));
	if (g == NULL) {
		host_log(HOST_WARN, "guest %u: GPADL %#x refused: limit reached", part->id,
			 m->gpadl);
		part->gpadl_refused = m->gpadl;
		return GPADL_ST_LIMIT;
	}
	g->id = m->gpadl;
	g->relid = m->relid;
	g->n_pfns = n;
	g->bytes = m->byte_count;
	part->gpadl_bytes += (uint64_t)n * HV_PAGE_SIZE;
	TAILQ_INSERT_TAIL(&part->gpadls, g, link);
	return gpadl_append(part, g, m->pfn, (len - sizeof(*m)) / sizeof(m->pfn[0]));
}

uint32_t
gpadl_body(struct partition *part, const struct vmbus_msg_gpadl_body *m, size_t len,
	   uint32_t *relid)
{
	struct gpadl *g = gpadl_find(part, m->gpadl);

	if (g == NULL && m->gpadl == part->gpadl_refused)
		return GPADL_PENDING;
	if (g == NULL || g->created) {
		host_violation(part, "gpadl.body-unknown", m, len,
			       "GPADL_BODY for %#x, which waits for none", m->gpadl);
		return GPADL_PENDING;
	}
	*relid = g->relid;
	return gpadl_append(part, g, m->pfn, (len - sizeof(*m)) / sizeof(m->pfn[0]));
}
