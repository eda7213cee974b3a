/* SPDX-License-Identifier: BSD-3-Clause */
#include "vmbus_uio_map.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <rte_common.h>
#include <rte_memory.h>

#include "vmbus_sigbus.h"

#define MAP_TRIES 4096
#define FILE_MAX  (INT64_C(1) << 31)
#define MAP_STEP  (UINT64_C(64) << 20)

static int
memory_end(const struct rte_memseg_list *msl, void *arg)
{
	uintptr_t *end = arg;

	if (!msl->external)
		*end = RTE_MAX(*end, (uintptr_t)RTE_PTR_ADD(msl->base_va, msl->len));
	return 0;
}

/* What takes the address for a hint, as kernels before 4.17 do, puts *addr elsewhere. */
static int
map_near(int fd, off_t offset, uint64_t bytes, int flags, void **addr)
{
	void *p = mmap(*addr, bytes, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_FIXED_NOREPLACE | flags, fd, offset);

	if (p == MAP_FAILED)
		return -errno;
	*addr = p;
	/* Without a guard it works as long as the device is there. */
	vmbus_sigbus_guard(p, bytes);
	return 0;
}

void
vmbus_uio_unmap(void *addr, uint64_t bytes)
{
	vmbus_sigbus_unguard(addr);
	munmap(addr, bytes);
}

int
vmbus_uio_map(int fd, off_t offset, uint64_t bytes, bool populate, void **addr)
{
	uintptr_t at = 0;
	int rc = -ENOMEM;

	rte_memseg_list_walk(memory_end, &at);
	for (unsigned int i = 0; i < MAP_TRIES; i++) {
		at = RTE_ALIGN_CEIL(at + 1, MAP_STEP);
		*addr = (void *)at;
		rc = map_near(fd, offset, bytes, populate ? MAP_POPULATE : 0, addr);
		if (rc != -EEXIST)
			break;
	}
	if (rc != 0)
		*addr = NULL;
	return rc;
}

int
vmbus_uio_map_at(int fd, off_t offset, uint64_t bytes, void *addr)
{
	void *p = addr;
	int rc = map_near(fd, offset, bytes, 0, &p);

	if (rc == 0 && p != addr) {
		vmbus_uio_unmap(p, bytes);
		rc = -EEXIST;
	}
	return rc;
}

bool
vmbus_uio_pollable(int fd)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int ep = epoll_create1(EPOLL_CLOEXEC);
	bool can = ep >= 0 && epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) == 0;

	if (ep >= 0)
		close(ep);
	return can;
}

int
vmbus_uio_map_file(const char *path, void *at, uint64_t *bytes, void **addr)
{
	struct stat st;
	int fd, rc;

	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) != 0) {
		rc = -errno;
	} else if (st.st_size == 0) {
		rc = -ENODEV; /* not yet what it is going to be */
	} else if (st.st_size < 0 || st.st_size > FILE_MAX) {
		rc = -EINVAL;
	} else {
		*bytes = (uint64_t)st.st_size;
		*addr = at;
		rc = at != NULL ? vmbus_uio_map_at(fd, 0, *bytes, at)
				: vmbus_uio_map(fd, 0, *bytes, false, addr);
	}
	close(fd);
	return rc;
}
