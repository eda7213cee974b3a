/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Mappings that several processes have at the same address. Functions return 0 or a negative
 * errno; nothing stays mapped when they fail. Callers are serialised.
 */
#ifndef VMBUS_UIO_MAP_H
#define VMBUS_UIO_MAP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Map behind DPDK's own memory, where a secondary process will find room too. populate: touch
 * every page now, because one never touched cannot be had any more when the device is gone.
 */
int vmbus_uio_map(int fd, off_t offset, uint64_t bytes, bool populate, void **addr);

/* Map exactly at addr. -EEXIST: something else is there. */
int vmbus_uio_map_at(int fd, off_t offset, uint64_t bytes, void *addr);

/* Map a whole file, at a given address unless that is NULL. Its size goes to *bytes. */
int vmbus_uio_map_file(const char *path, void *at, uint64_t *bytes, void **addr);

#endif /* VMBUS_UIO_MAP_H */
