/* SPDX-License-Identifier: BSD-3-Clause */
/* A guest's memory: regions of files it shares, mapped whole. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "partition.h"

#define REGIONS_MAX	8192
#define HUGETLBFS_MAGIC 0x958458f6 /* linux/magic.h */

/* A file several regions lie in is kept open once. */
struct mem_file {
	TAILQ_ENTRY(mem_file) link;
	dev_t dev;
	ino_t ino;
	int mode; /* O_RDONLY, O_RDWR */
	int fd;
	unsigned int refs;
	size_t page;
};

static void
file_put(struct partition *part, struct mem_file *f)
{
	if (--f->refs != 0)
		return;
	TAILQ_REMOVE(&part->files, f, link);
	close(f->fd);
	free(f);
}

static struct mem_file *
file_get(struct partition *part, int fd, const struct stat *st, int mode)
{
	struct statfs fs;
	struct mem_file *f;

	TAILQ_FOREACH (f, &part->files, link) {
		if (f->dev == st->st_dev && f->ino == st->st_ino && f->mode == mode) {
			f->refs++;
			return f;
		}
	}
	f = calloc(1, sizeof(*f));
	if (f == NULL)
		return NULL;
	f->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (f->fd < 0) {
		free(f);
		return NULL;
	}
	f->page = HV_PAGE_SIZE;
	if (fstatfs(fd, &fs) == 0 && (unsigned long)fs.f_type == HUGETLBFS_MAGIC)
		f->page = (size_t)fs.f_bsize;
	f->dev = st->st_dev;
	f->ino = st->st_ino;
	f->mode = mode;
	f->refs = 1;
	TAILQ_INSERT_TAIL(&part->files, f, link);
	return f;
}

/* Index of the first region that ends behind gpa. */
static unsigned int
region_index(const struct partition *part, uint64_t gpa)
{
	unsigned int lo = 0, hi = part->n_regions;

	while (lo < hi) {
		unsigned int mid = (lo + hi) / 2;

		if (part->regions[mid].gpa + part->regions[mid].size <= gpa)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct region *
mem_find(struct partition *part, uint64_t gpa)
{
	unsigned int i = region_index(part, gpa);

	return i < part->n_regions && part->regions[i].gpa <= gpa ? &part->regions[i] : NULL;
}

void *
guest_addr(struct partition *part, uint64_t gpa, size_t len, bool write)
{
	struct region *r = mem_find(part, gpa);

	if (r == NULL || (write && r->rdonly) || len > r->size - (gpa - r->gpa))
		return NULL;
	return r->va + (gpa - r->gpa);
}

static int
mem_check(struct partition *part, const struct vmu_mem *mem, const struct stat *st, int mode)
{
	unsigned int i;

	if (mem->size == 0 || ((mem->gpa | mem->size | mem->offset) & (HV_PAGE_SIZE - 1)) != 0 ||
	    (mem->flags & ~VMU_MEM_RDONLY) != 0 || mem->gpa + mem->size < mem->gpa ||
	    mem->offset + mem->size < mem->offset)
		return EINVAL;
	if (!S_ISREG(st->st_mode) || mem->offset + mem->size > (uint64_t)st->st_size)
		return ERANGE;
	if (mode == O_WRONLY || (mode == O_RDONLY && !(mem->flags & VMU_MEM_RDONLY)))
		return EACCES;
	i = region_index(part, mem->gpa);
	if (i < part->n_regions && part->regions[i].gpa < mem->gpa + mem->size)
		return EEXIST;
	return part->n_regions == REGIONS_MAX ? ENOSPC : 0;
}

static int
mem_insert(struct partition *part, const struct region *r)
{
	struct region *grown = reallocarray(part->regions, part->n_regions + 1, sizeof(*grown));
	unsigned int i;

	if (grown == NULL)
		return ENOMEM;
	part->regions = grown;
	i = region_index(part, r->gpa);
	memmove(&grown[i + 1], &grown[i], (part->n_regions - i) * sizeof(*grown));
	grown[i] = *r;
	part->n_regions++;
	return 0;
}

int
mem_add(struct partition *part, const struct vmu_mem *mem, int fd)
{
	struct region r = { .gpa = mem->gpa,
			    .size = mem->size,
			    .offset = mem->offset,
			    .rdonly = (mem->flags & VMU_MEM_RDONLY) != 0 };
	struct stat st;
	int mode = fcntl(fd, F_GETFL), rc;
	void *va;

	if (mode < 0 || fstat(fd, &st) != 0)
		return errno;
	mode &= O_ACCMODE;
	rc = mem_check(part, mem, &st, mode);
	if (rc != 0)
		return rc;
	r.file = file_get(part, fd, &st, mode);
	if (r.file == NULL)
		return errno ? errno : ENOMEM;
	rc = EINVAL;
	va = MAP_FAILED;
	if (((mem->size | mem->offset) & (r.file->page - 1)) == 0) {
		va = mmap(NULL, mem->size, PROT_READ | (r.rdonly ? 0 : PROT_WRITE), MAP_SHARED,
			  r.file->fd, (off_t)mem->offset);
		rc = va == MAP_FAILED ? errno : 0;
	}
	r.va = va;
	if (rc == 0)
		rc = mem_insert(part, &r);
	if (rc != 0) {
		if (va != MAP_FAILED)
			munmap(va, mem->size);
		file_put(part, r.file);
	}
	return rc;
}

int
mem_del(struct partition *part, const struct vmu_mem *mem)
{
	struct region *r = mem_find(part, mem->gpa);
	unsigned int i;

	if (r == NULL || r->gpa != mem->gpa || r->size != mem->size)
		return ENOENT;
	munmap(r->va, r->size);
	file_put(part, r->file);
	i = (unsigned int)(r - part->regions);
	memmove(r, r + 1, (part->n_regions - i - 1) * sizeof(*r));
	part->n_regions--;
	return 0;
}

void
mem_drop_all(struct partition *part)
{
	for (unsigned int i = 0; i < part->n_regions; i++) {
		munmap(part->regions[i].va, part->regions[i].size);
		file_put(part, part->regions[i].file);
	}
	free(part->regions);
	part->regions = NULL;
	part->n_regions = 0;
}

size_t
mem_page_size(const struct region *r)
{
	return r->file->page;
}

int
mem_map_fixed(const struct region *r, uint64_t gpa, size_t len, uint8_t *va, bool first, bool last)
{
	uint64_t off = r->offset + (gpa - r->gpa);
	size_t mask = r->file->page - 1, head = off & mask, tail;

	/*
	 * A huge page is mapped whole: what it has too much may only stick out where the
	 * reserved address range was made larger for it, in front of the first and behind
	 * the last run.
	 */
	tail = (r->file->page - ((off + len) & mask)) & mask;
	if (((uintptr_t)va & mask) != head || (head != 0 && !first) || (tail != 0 && !last))
		return -EINVAL;
	if (mmap(va - head, head + len + tail, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		 r->file->fd, (off_t)(off - head)) == MAP_FAILED)
		return -errno;
	return 0;
}

/* Page size of an address inside a GPADL's own mapping: that of the region mapped there. */
static size_t
gpadl_page(struct partition *part, const struct gpadl *g, const uint8_t *at)
{
	/* Huge pages stick out in front of the first and behind the last page. */
	size_t i = at < g->va ? 0 : (size_t)(at - g->va) / HV_PAGE_SIZE;
	const struct region *r =
		mem_find(part, g->pfn[i < g->n_pfns ? i : g->n_pfns - 1] * HV_PAGE_SIZE);

	return r != NULL ? r->file->page : HV_PAGE_SIZE;
}

/* Does a guest's mapping hold this address, and with what page size? */
static size_t
fault_page(struct partition *part, const uint8_t *at)
{
	struct gpadl *g;

	for (unsigned int i = 0; i < part->n_regions; i++) {
		struct region *r = &part->regions[i];

		if (at >= r->va && at < r->va + r->size)
			return r->file->page;
	}
	TAILQ_FOREACH (g, &part->gpadls, link) {
		if (g->map != NULL && at >= (uint8_t *)g->map &&
		    at < (uint8_t *)g->map + g->map_len)
			return gpadl_page(part, g, at);
	}
	return 0;
}

/*
 * The guest cut its file short: the page is replaced by zeroes, so that the host goes on.
 * SIGBUS is synchronous and guest memory is touched only outside the code that edits the lists
 * walked here, so walking them is safe.
 */
static void
on_sigbus(int sig, siginfo_t *info, void *ctx)
{
	struct partition *part;
	int saved = errno;

	(void)ctx;
	TAILQ_FOREACH (part, &partitions, link) {
		size_t page = fault_page(part, info->si_addr);
		uintptr_t at = (uintptr_t)info->si_addr & ~(uintptr_t)(page - 1);

		if (page == 0)
			continue;
		if (mmap((void *)at, page, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
			break;
		part->faults++;
		errno = saved;
		return;
	}
	/* Not a guest's memory: our own defect. The access is repeated and ends the process. */
	signal(sig, SIG_DFL);
}

int
mem_sigbus_init(void)
{
	struct sigaction sa = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };

	return sigaction(SIGBUS, &sa, NULL) != 0 ? -errno : 0;
}

void
mem_sigbus_report(void)
{
	struct partition *part;

	TAILQ_FOREACH (part, &partitions, link) {
		if (part->faults == part->faults_told)
			continue;
		part->faults_told = part->faults;
		host_violation(part, "mem.truncated", NULL, 0,
			       "a file of guest memory was made shorter than its region");
	}
}
