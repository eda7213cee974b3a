/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Mappings that several processes have at the same address. Functions return 0 or a negative
 * errno; nothing stays mapped when they fail. Callers are serialised.
 *
 * The kernel takes pages away when a device, or a sub-channel, is removed: those of a ring file
 * at once, those never touched of a device file. Each mapping has a guard (vmbus_sigbus.h).
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

/*
 * Map a whole file, at a given address unless that is NULL. Its size goes to *bytes. -ENODEV: it
 * has none yet, or cannot be mapped yet.
 */
int vmbus_uio_map_file(const char *path, void *at, uint64_t *bytes, void **addr);

void vmbus_uio_unmap(void *addr, uint64_t bytes);

/* Can EAL wait for this file? Its interrupt thread ends the process over one that it cannot. */
bool vmbus_uio_pollable(int fd);

#endif /* VMBUS_UIO_MAP_H */
