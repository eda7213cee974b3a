/* SPDX-License-Identifier: BSD-3-Clause */
#include "vmbus_uio_map.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
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

static int
map_fixed(int fd, off_t offset, uint64_t bytes, int flags, void *want)
{
	void *p = mmap(want, bytes, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_FIXED_NOREPLACE | flags, fd, offset);

	if (p == MAP_FAILED)
		return -errno;
	if (p != want) { /* a kernel before 4.17 takes it for a hint */
		munmap(p, bytes);
		return -EEXIST;
	}
	/* Without a guard it works as long as the device is there. */
	vmbus_sigbus_guard(want, bytes);
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
		rc = map_fixed(fd, offset, bytes, populate ? MAP_POPULATE : 0, *addr);
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
	return map_fixed(fd, offset, bytes, 0, addr);
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
	} else if (st.st_size <= 0 || st.st_size > FILE_MAX) {
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
