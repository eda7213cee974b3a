/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VMBus for DPDK drivers: devices, channels and their shared buffers.
 *
 * A driver registers by class GUID and is probed for each matching device of the bus
 * "hv_vmbus", whoever plays VMBus underneath: the kernel's uio_hv_generic, or a software
 * host over a vmbus-user socket. A driver sees no file descriptor, no sysfs path and no mmap.
 *
 * Threads: control functions (open, close, sub-channel) of one device are called by one
 * thread at a time and never from a data lcore. Ring access is the driver's business: it
 * serialises the users of one ring. All waits are bounded; all functions return 0 or a
 * negative errno unless said otherwise.
 *
 * Processes: struct hv_vmbus_channel and the memory it points to have the same address in
 * primary and secondary; struct hv_vmbus_device is private to a process.
 */
#ifndef HV_VMBUS_H
#define HV_VMBUS_H

#include <rte_compat.h>
#include <rte_dev.h>
#include <rte_interrupts.h>
#include <rte_log.h>
#include <bus_driver.h>
#include <dev_driver.h>

#include "vmbus_ring.h"

#ifdef __cplusplus
extern "C" {
#endif

struct hv_vmbus_device;
struct hv_vmbus_channel;
struct hv_vmbus_driver;
struct vmbus_backend_ops;

/* --- drivers -------------------------------------------------------------------------------- */

/* Claim a device: 0, or a negative errno after which nothing of it is held. */
typedef int (*hv_vmbus_probe_t)(struct hv_vmbus_driver *drv, struct hv_vmbus_device *dev);
/* Give a device up: stop using it and close it. */
typedef int (*hv_vmbus_remove_t)(struct hv_vmbus_device *dev);
/*
 * The host took the device away (rescind, host death). Called once, from the interrupt thread,
 * before any memory goes, and neither before probe() has ended nor beside remove() or after it.
 * The driver must see that no lcore touches a ring any more (hv_vmbus_device_gone() is already
 * true) and tell its application. It must not call hv_vmbus_close() from here.
 */
typedef void (*hv_vmbus_gone_t)(struct hv_vmbus_device *dev);

/*
 * The host took one or more sub-channels away, while the device goes on: hv_vmbus_channel_gone()
 * says which. Called from the interrupt thread; a channel's memory stays until hv_vmbus_close().
 */
typedef void (*hv_vmbus_channel_gone_t)(struct hv_vmbus_device *dev);

struct hv_vmbus_driver {
	RTE_TAILQ_ENTRY(hv_vmbus_driver) next;
	struct rte_driver driver;
	hv_vmbus_probe_t probe;
	hv_vmbus_remove_t remove;
	hv_vmbus_gone_t gone;		      /* may be NULL */
	hv_vmbus_channel_gone_t channel_gone; /* may be NULL */
	const struct hv_guid *classes;	      /* ends with an all-zero GUID */
};

/* Add a driver to the bus, or take it off. Called by constructors and destructors. */
void hv_vmbus_register(struct hv_vmbus_driver *drv);
void hv_vmbus_unregister(struct hv_vmbus_driver *drv);

#define HV_VMBUS_REGISTER_DRIVER(nm, drv)        \
	RTE_INIT(hv_vmbus_init_##nm)             \
	{                                        \
		(drv).driver.name = RTE_STR(nm); \
		hv_vmbus_register(&(drv));       \
	}                                        \
	RTE_FINI(hv_vmbus_fini_##nm)             \
	{                                        \
		hv_vmbus_unregister(&(drv));     \
	}                                        \
	RTE_PMD_EXPORT_NAME(nm, __COUNTER__)

/* --- devices -------------------------------------------------------------------------------- */

/*
 * What drivers remember of the host behind a device; devices of one host share it. The library
 * makes it zero and does not look at it. Any thread, atomically; of this process.
 */
struct hv_vmbus_host {
	uint64_t late_at; /* timer cycles: when it last let somebody wait in vain; 0 = it answers */
	uint32_t late;	  /* how many since it answered */
	uint32_t spell;	  /* how often it has begun to be silent */
};

struct hv_vmbus_device {
	RTE_TAILQ_ENTRY(hv_vmbus_device) next;
	struct rte_device device; /* name = instance GUID in text, lower case, no braces */
	struct hv_vmbus_driver *driver;
	struct hv_guid class_id;
	struct hv_guid instance_id;
	uint32_t relid;	       /* of the primary channel; may change over a re-open */
	uint16_t hw_device_id; /* sysfs "device": 3 for a NIC; 0 if unknown */
	bool opened;
	bool gone; /* set once by the bus: read with hv_vmbus_device_gone() */
	struct rte_intr_handle *intr_handle; /* removal and receive interrupts; may have no fd */
	void *drv_priv;			     /* for the driver */
	struct hv_vmbus_host *host;
	const struct vmbus_backend_ops *ops;
	void *backend; /* for the back end */
	char name[HV_GUID_STRLEN];
};

#define HV_VMBUS_DEV(rte_dev) container_of(rte_dev, struct hv_vmbus_device, device)

/* Counted memory of a buffer. */
struct hv_vmbus_memory;

/* Memory shared with the host besides rings, named by a GPADL. */
struct hv_vmbus_buffer {
	struct hv_vmbus_memory *memory; /* NULL: it cannot outlive hv_vmbus_close() */
	uint8_t *addr;			/* NULL if there is none */
	uint64_t len;			/* bytes */
	uint32_t gpadl;			/* to put in protocol messages */
	bool foreign; /* not DPDK memory: its I/O addresses are unknown, no other device may DMA it */
};

/* What a driver would like; a back end that cannot choose (uio) ignores it. 0 = default. */
struct hv_vmbus_open_params {
	uint32_t ring_bytes;	 /* of one direction, header page included; default 2 MiB */
	uint32_t recv_buf_bytes; /* default 0: none on back ends that can choose */
	uint32_t send_buf_bytes;
	bool patient; /* a host that has let us wait in vain gets all its time again */
};

/*
 * Open the device: memory, GPADLs, primary channel. Inbound interrupts are masked before
 * the first message can arrive. *chan belongs to the device until hv_vmbus_close().
 * -EBUSY another process has it; -ENODEV it is gone; -ETIMEDOUT the host does not answer;
 * -ENOMEM; -EPROTO the host refused. The reason is logged.
 */
int hv_vmbus_open(struct hv_vmbus_device *dev, const struct hv_vmbus_open_params *params,
		  struct hv_vmbus_channel **chan);

/*
 * Close all channels, sub-channels first, and release the shared memory; every lcore must
 * have stopped using them. Safe on a device that is gone, and on one that is not open.
 */
void hv_vmbus_close(struct hv_vmbus_device *dev);

/*
 * The same, waiting for the host no longer than ms milliseconds in all, where waiting is the
 * process's own (a kernel's is not); 0: as long as it takes. -ETIMEDOUT: the host has not
 * confirmed, and may still read and write what it was given: that memory is not used again.
 */
int hv_vmbus_close_within(struct hv_vmbus_device *dev, unsigned int ms);

/*
 * Before the device is closed: some thread of a secondary process that does not run may still be
 * using this channel. The channel, its rings and the buffers of the device are given up: nobody
 * else gets that memory, ever. The host is taken off all the same.
 */
void hv_vmbus_channel_keep(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan);

/*
 * Let the memory of a buffer live on behind hv_vmbus_close() until it is put as often as it was
 * got. The host has no part in it then; if it never lets go, the memory is lost, not reused. Any
 * thread of the primary; the last put frees DPDK memory. NULL may be put.
 */
void hv_vmbus_memory_get(struct hv_vmbus_memory *m);
void hv_vmbus_memory_put(struct hv_vmbus_memory *m);

/* The receive and send buffers of an open device. */
const struct hv_vmbus_buffer *hv_vmbus_recv_buf(const struct hv_vmbus_device *dev);
const struct hv_vmbus_buffer *hv_vmbus_send_buf(const struct hv_vmbus_device *dev);

/*
 * Open the sub-channel with this index (>= 1) if the host has offered it. Does not wait.
 * -EAGAIN not offered yet, or not ready to be mapped; -EEXIST already open; as hv_vmbus_open().
 */
int hv_vmbus_subchannel_open(struct hv_vmbus_device *dev, uint16_t index,
			     struct hv_vmbus_channel **chan);

/*
 * Has the host taken this channel alone away? It reads and writes its rings no more. A control
 * thread of the primary may ask, while the device is open. The back end uio cannot know.
 */
bool hv_vmbus_channel_gone(struct hv_vmbus_device *dev, const struct hv_vmbus_channel *chan);

/* In a secondary process: map what the primary opened and find a channel by index (0 = primary). */
int hv_vmbus_attach_secondary(struct hv_vmbus_device *dev);
struct hv_vmbus_channel *hv_vmbus_channel_find(const struct hv_vmbus_device *dev, uint16_t index);

/* The user's key=value list for the driver, without what is the bus's own; NULL: none. Any thread. */
const char *hv_vmbus_device_args(const struct hv_vmbus_device *dev);

/*
 * Can the host read memory at this address, of which packets may be made? DPDK's own it can;
 * -ENOTSUP, with a message once, where it cannot. Control threads.
 */
int hv_vmbus_dma_check(struct hv_vmbus_device *dev, const void *addr, uint64_t iova, size_t len);

/* True from the moment the host took the device away. Cheap; any thread. */
static inline bool
hv_vmbus_device_gone(const struct hv_vmbus_device *dev)
{
	/* Acquire: what the back end noted of it before. */
	return __atomic_load_n(&dev->gone, __ATOMIC_ACQUIRE);
}

/*
 * Guest physical address of DPDK memory, as a host counts, given its IOVA. The two are equal on
 * every back end; kept as a function so that drivers state the intent.
 */
static inline uint64_t
hv_vmbus_gpa(rte_iova_t iova)
{
	return (uint64_t)iova;
}

/* --- channels --------------------------------------------------------------------------------- */

struct hv_vmbus_channel {
	struct vmbus_ring tx; /* guest to host */
	struct vmbus_ring rx; /* host to guest */
	uint32_t relid;
	uint16_t index;	    /* sub-channel index, 0 = primary */
	uint8_t monitor_id; /* VMBUS_MONITOR_ID_NONE: signalled by a system call */
	bool open;
	bool kept;		   /* hv_vmbus_channel_keep() */
	uint32_t *monitor_trigger; /* pending word of the monitor page, or NULL */
	uint32_t monitor_mask;
	uint64_t doorbells; /* signals sent */
	void *ring_mem;
	uint32_t ring_bytes; /* one direction, header page included */
};

/*
 * Tell the host that the outbound ring has become non-empty, or that the inbound ring has
 * room again: call it when a publish function returned true, and only then (hosts punish
 * superfluous signals). One atomic OR on monitored channels, else a system call. Any process.
 */
void hv_vmbus_signal(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan);

/*
 * Sub-channels have been asked for: signals of this process by system calls wait from here on, where a
 * kernel may not survive one before those are open. false: they are open, or were waited for long
 * enough; what has waited goes out. -EIO: it cannot, some are offered and not open; close the device.
 * In the primary, by whom controls the device.
 */
int hv_vmbus_signals_hold(struct hv_vmbus_device *dev, bool hold);

/*
 * Receive interrupts of a channel. enable unmasks the ring and makes the file descriptor of
 * hv_vmbus_intr_fd() readable when the host signals; returns 1 if the caller has to poll instead
 * of sleeping (data is already there, mostly), 0, or a negative errno (-ENOTSUP: this back end or
 * kernel cannot for this channel). disable masks again.
 */
int hv_vmbus_intr_enable(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan);
int hv_vmbus_intr_disable(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan);

/*
 * Descriptor to wait on (epoll), -ENOTSUP if there is none. One for each channel, which may also
 * become readable by the interrupt of another: find nothing, and sleep again.
 */
int hv_vmbus_intr_fd(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan);

/* Consume a notification on that descriptor so that it can become readable again. */
void hv_vmbus_intr_ack(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan);

/* Set how long the host may let a monitored doorbell wait. Hosts may ignore it. */
void hv_vmbus_set_latency(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan,
			  uint32_t microseconds);

#ifdef __cplusplus
}
#endif

#endif /* HV_VMBUS_H */
