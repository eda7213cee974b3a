/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What Linux says about VMBus devices: /sys/bus/vmbus/devices and their uio nodes.
 *
 * Reads files only; no DPDK. All functions return 0 or a negative errno. Sources:
 * Linux Documentation/ABI/stable/sysfs-bus-vmbus, drivers/uio/uio_hv_generic.c, and recorded
 * trees of Linux 6.1 and 6.12 (test/data/sysfs).
 */
#ifndef VMBUS_SYSFS_H
#define VMBUS_SYSFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hv_guid.h"

/* Where the trees are: for unit tests, which have their own. NULL leaves the default. */
void vmbus_sysfs_set_roots(const char *devices, const char *dev);

struct vmbus_sysfs_dev {
	char name[HV_GUID_STRLEN]; /* of the directory */
	struct hv_guid class_id;
	struct hv_guid instance_id;
	uint32_t relid;
	uint16_t hw_device_id; /* 0 if there is no such file */
	int numa_node;	       /* -1 if unknown */
	char driver[32];       /* kernel driver, "" if none is bound */
	int uio;	       /* N of /dev/uioN, -1 if there is none */
};

/*
 * Call fn for each device, in no particular order; entries that cannot be read are skipped
 * (they may be going away). Stops at the first non-zero return, and returns it. No such
 * directory, i.e. no VMBus on this machine: 0.
 */
int vmbus_sysfs_scan(int (*fn)(const struct vmbus_sysfs_dev *dev, void *arg), void *arg);

/* Read one device by the name of its directory. -ENOENT if there is none. */
int vmbus_sysfs_read(const char *name, struct vmbus_sysfs_dev *dev);

/* State of a device's primary channel: 2 closed, 3 open. */
int vmbus_sysfs_state(const char *name, unsigned int *state);

/* The maps of uio_hv_generic, in the order that is its ABI. */
enum vmbus_sysfs_map_index {
	VMBUS_MAP_RINGS,
	VMBUS_MAP_INT_PAGE,
	VMBUS_MAP_MONITOR_PAGE,
	VMBUS_MAP_RECV,
	VMBUS_MAP_SEND,
	VMBUS_MAP_COUNT
};

struct vmbus_sysfs_map {
	uint64_t size;	/* bytes; 0 = the device has no such map */
	uint32_t gpadl; /* receive and send buffer */
};

/*
 * Read the maps of /dev/uio<uio>. -EPROTO if a map that must be there is missing, has another
 * name or no believable size; *bad is then its index.
 */
int vmbus_sysfs_maps(const char *name, int uio, struct vmbus_sysfs_map maps[VMBUS_MAP_COUNT],
		     unsigned int *bad);

/* What map i is called, up to the colon. */
const char *vmbus_sysfs_map_name(unsigned int i);

struct vmbus_sysfs_chan {
	uint32_t relid;
	uint16_t index;	    /* sub-channel index, 0 = primary */
	uint8_t monitor_id; /* 0xff: no monitor, hence no such file */
};

/* Find the channel with this sub-channel index. -EAGAIN if the host has not offered it. */
int vmbus_sysfs_chan(const char *name, uint16_t index, struct vmbus_sysfs_chan *chan);

/*
 * The relids of all sub-channels that have a directory, new and old; up to max of them are stored, and
 * how many there are is returned.
 */
unsigned int vmbus_sysfs_subs(const char *name, uint32_t *relid, unsigned int max);

/* Path of a channel's ring file; of /dev/uioN. Cut off if too long. */
void vmbus_sysfs_ring_path(const char *name, uint32_t relid, char *path, size_t len);
void vmbus_sysfs_uio_path(int uio, char *path, size_t len);

#endif /* VMBUS_SYSFS_H */
