/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Between the bus and those who play VMBus underneath it. Private to lib/vmbus.
 *
 * A back end finds devices (vmbus_uio.c: sysfs, vmbus_user.c: a socket), opens them and tells
 * when they go. What a second process needs of an open device is in struct vmbus_shared, in
 * memory that has the same address in every process.
 */
#ifndef VMBUS_BACKEND_H
#define VMBUS_BACKEND_H

#include "vmbus.h"

#define VMBUS_CHANNELS_MAX 128 /* of one device, primary included */
#define VMBUS_MAPS_MAX	   8

extern int vmbus_logtype;

#define VMBUS_LOG(level, fmt, ...) \
	rte_log(RTE_LOG_##level, vmbus_logtype, "VMBUS: " fmt "\n", ##__VA_ARGS__)

/* A mapping that a secondary process has to repeat at the same address. For the back end. */
struct vmbus_shared_map {
	void *addr;
	uint64_t bytes;
	uint32_t id; /* whatever finds it: a map number, a relid */
};

/* What a secondary has to know of a device before it attaches. */
struct vmbus_shared_id {
	struct hv_guid class_id;
	struct hv_guid instance_id;
	char backend[8];
	uint32_t relid;
	uint16_t hw_device_id;
	int numa_node;
};

/* State of one device that is common to all processes. rte_malloc() memory, the primary frees it. */
struct vmbus_shared {
	struct vmbus_shared *next; /* under the lock of the list: vmbus_shared.c */
	struct vmbus_shared_id id;
	bool opened;
	bool gone; /* written by the primary, read by all */
	struct hv_vmbus_buffer recv;
	struct hv_vmbus_buffer send;
	void *backend_data; /* of the back end, rte_malloc() memory, freed with this */
	uint16_t n_maps;
	struct vmbus_shared_map maps[VMBUS_MAPS_MAX];
	/* By sub-channel index; an entry appears when its channel is complete. */
	struct hv_vmbus_channel *chan[VMBUS_CHANNELS_MAX];
};

/* A device with what drivers do not see. Allocated by the bus. */
struct vmbus_dev {
	struct hv_vmbus_device pub; /* first */
	struct vmbus_shared *shared;
	struct rte_devargs *found_devargs;
	bool quiet; /* the driver is told nothing: it is being bound or removed, or knows all */
	bool channel_gone; /* it is still to be told */
};

/*
 * Functions return 0 or a negative errno, and log the reason of a failure. The caller serialises
 * the control functions of one device.
 */
struct vmbus_backend_ops {
	const char *name; /* at most 7 characters */

	/*
	 * Report every device there is with vmbus_bus_add(). Called at each scan of the bus, by
	 * the first before DPDK memory exists (vmbus_memory_ready is false).
	 */
	int (*scan)(void);

	/* The device leaves the bus: free dev->backend. The device is closed. */
	void (*release)(struct hv_vmbus_device *dev);

	/*
	 * Open. Fills shared->recv, ->send and chan (zeroed, index 0): relid, monitor_id,
	 * monitor_trigger, monitor_mask, and the rings by vmbus_channel_attach().
	 */
	int (*open)(struct hv_vmbus_device *dev, const struct hv_vmbus_open_params *params,
		    struct hv_vmbus_channel *chan);

	/* The same for a sub-channel: chan is zeroed but for its index. -EAGAIN: not offered yet. */
	int (*subchannel_open)(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan);

	/*
	 * Close every open channel of shared->chan[], sub-channels first, and release all
	 * memory. The structures themselves are freed by the caller. Also called on a device
	 * that is gone. Waits for the host up to ms, 0: by itself. -ETIMEDOUT: it may still use
	 * what it was given.
	 */
	int (*close)(struct hv_vmbus_device *dev, unsigned int ms);

	/*
	 * Never free this open channel's rings, nor the device's buffers: hv_vmbus_channel_keep().
	 * NULL: they are the kernel's, each process has maps of its own.
	 */
	void (*keep)(struct hv_vmbus_device *dev, const struct hv_vmbus_channel *chan);

	/* In a secondary: repeat the maps of shared, at their addresses; and let go of them. */
	int (*attach)(struct hv_vmbus_device *dev);
	void (*detach)(struct hv_vmbus_device *dev);

	/* Ring a channel that has no monitor_trigger. */
	void (*signal)(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan);

	/* hv_vmbus_signals_hold(). May be NULL: nothing speaks against a signal at any time. */
	int (*hold)(struct hv_vmbus_device *dev, bool hold);

	/*
	 * Receive interrupts; see vmbus.h. The caller masks and unmasks the ring itself. prepare
	 * gives 1 where it could not: poll, and ask again.
	 */
	int (*intr_prepare)(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan, bool on);
	int (*intr_fd)(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan);
	void (*intr_ack)(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan);

	/* Did the host take this channel alone away? Only asked in the primary. May be NULL: no. */
	bool (*channel_gone)(struct hv_vmbus_device *dev, const struct hv_vmbus_channel *chan);

	/* Memory that is not DPDK's own is to be read by the host: rte_dev_dma_map(). -ENOTSUP. */
	int (*dma_map)(struct hv_vmbus_device *dev, uint64_t iova, size_t len);

	/* The bus is cleaned up, every device is closed. May be NULL. */
	void (*cleanup)(void);
};

extern const struct vmbus_backend_ops vmbus_uio_ops;
extern const struct vmbus_backend_ops vmbus_user_ops;

/* --- for back ends: vmbus_bus.c ---------------------------------------------------------------- */

/* False until the bus probes: rte_malloc() and memzones do not exist yet. */
extern bool vmbus_memory_ready;

/* What a scan found. */
struct vmbus_found {
	struct hv_guid class_id;
	struct hv_guid instance_id;
	uint32_t relid;
	uint16_t hw_device_id;
	int numa_node;
	struct rte_devargs *devargs; /* of the socket the device was found behind; or NULL */
};

/*
 * Put a device on the bus if none with this instance GUID is there. *dev is the new one, or the
 * old one (-EEXIST; relid and numa_node are brought up to date). dev->backend is NULL in a new one.
 */
int vmbus_bus_add(const struct vmbus_backend_ops *ops, const struct vmbus_found *found,
		  struct hv_vmbus_device **dev);

/*
 * The device went away. Any thread; returns at once. The driver's gone() runs later on the
 * interrupt thread; a device without a driver leaves the bus there.
 */
void vmbus_bus_gone(struct hv_vmbus_device *dev);

/* The host took a sub-channel away: the driver's channel_gone() runs later. Any thread. */
void vmbus_bus_channel_gone(struct hv_vmbus_device *dev);

/* --- for back ends: vmbus_channel.c, vmbus_shared.c -------------------------------------------- */

/* The shared state of a device: NULL before the bus probes it. */
static inline struct vmbus_shared *
vmbus_shared_of(const struct hv_vmbus_device *dev)
{
	return ((const struct vmbus_dev *)dev)->shared;
}

struct rte_memzone;

/* Counted memory made of a zone, which the last hv_vmbus_memory_put() frees. NULL: none left. */
struct hv_vmbus_memory *vmbus_memory_new(const struct rte_memzone *mz);

/* Copy out up to max of the devices that the primary drives. How many. Any process. */
unsigned int vmbus_shared_list(struct vmbus_shared_id *out, unsigned int max);

/*
 * Attach both rings of a channel to mem: ring_bytes each (header page of hdr_bytes included),
 * guest to host first. The inbound ring is masked before this returns. -EINVAL, -EIO.
 */
int vmbus_channel_attach(struct hv_vmbus_channel *chan, void *mem, uint32_t ring_bytes,
			 uint32_t hdr_bytes);

/* Let a monitored channel ring its bit in the child-to-parent page (4096 bytes). */
void vmbus_channel_monitor(struct hv_vmbus_channel *chan, void *page, uint8_t monitor_id);

#endif /* VMBUS_BACKEND_H */
