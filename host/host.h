/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hv-host: what its parts know of each other.
 *
 *   vm/      a partition: the vmbus-user socket, guest memory, GPADLs, events
 *   vmbus/   the VMBus control protocol and channels of a partition
 *   netvsp/  the synthetic NIC: NVSP, RNDIS, data path; one struct vsp_ops
 *   port/    where a NIC's frames go to and come from
 *
 * One thread runs everything: main.c's loop gives each part a bounded slice. The guest's
 * bytes are hostile: whatever it writes, the host neither crashes nor touches memory that
 * is not the guest's, and reports what rule was broken (host_violation()).
 */
#ifndef HOST_H
#define HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

#include "vmbus_ring.h"
#include "vmbus_wire.h"

struct partition; /* one guest: vm/ */
struct channel;
struct vdev;

/* --- a device class, implemented by netvsp/ ------------------------------------------------- */

struct vsp_ops {
	/*
	 * OPENCHANNEL: the rings are attached, chan->vdev and ->sub_index are set.
	 * 0, or a positive status that OPENCHANNEL_RESULT reports (then close is not called).
	 */
	int (*open)(struct channel *chan);
	/* Rings and GPADLs are still mapped; after return they are not touched again. */
	void (*close)(struct channel *chan);
	/*
	 * One bounded slice of work on an open channel; returns how much was done (0 = idle). The
	 * ring of a channel that is asleep is not read.
	 */
	unsigned int (*poll)(struct channel *chan);
	/* The guest, or a command, gave the device back: forget what belonged to this guest. */
	void (*reset)(struct vdev *vdev);
};

/* A device offered to one partition. */
struct vdev {
	const struct vsp_ops *ops;
	struct partition *part;
	struct hv_guid class_id;
	struct hv_guid instance_id;
	void *priv;		 /* the class's (struct nic) */
	struct channel *primary; /* NULL while not offered */
	bool want_offer;	 /* once the guest has released the relids of a rescinded offer */
};

/* A channel, offered from creation to rescind. Owned by vmbus/. */
struct channel {
	struct vdev *vdev;
	struct partition *part;
	uint16_t sub_index; /* 0 = primary */
	uint32_t relid;
	uint32_t conn_id;
	uint8_t monitor_id; /* VMBUS_MONITOR_ID_NONE */
	bool open;
	struct vmbus_ring rx; /* guest to host: we consume */
	struct vmbus_ring tx; /* host to guest: we produce */
	uint32_t target_vp;
	void *priv;	      /* the class's per-channel state */
	bool failed;	      /* fatal protocol error: not polled until closed and opened again */
	bool asleep;	      /* rx is not read before the guest signals */
	bool blocked;	      /* waits for room in tx: channel_wait_room() */
	bool forged;	      /* a command wrote into the rings' headers */
	uint64_t interrupts;  /* sent to the guest */
	uint64_t doorbells;   /* received from the guest */
	uint64_t superfluous; /* doorbells with nothing to say */
};

/* --- services of vm/ and vmbus/ -------------------------------------------------------------- */

/*
 * Take a GPADL of a channel into use: host address of its pages, mapped contiguously, and their
 * length; NULL if the channel has no such GPADL, or it is used already. It stays mapped until
 * gpadl_put(), whatever the guest asks for.
 */
void *gpadl_take(struct channel *chan, uint32_t gpadl, size_t *len);
void gpadl_put(struct channel *chan, uint32_t gpadl);

/*
 * Host address of guest physical memory [gpa, gpa + len) if it lies in one region and may be
 * accessed (write = true: not read-only), else NULL.
 */
void *guest_addr(struct partition *part, uint64_t gpa, size_t len, bool write);

/* Interrupt the guest for a channel (a publish function returned true). */
void channel_signal(struct channel *chan);

/* Look for what the guest may not write in the rings' headers: before anything is published. */
void channel_check(struct channel *chan);

/* Ask the guest for a signal when `bytes` are free in tx, or (0) no longer. All is published. */
void channel_wait_room(struct channel *chan, uint32_t bytes);

/* A blocked channel finds room: may it use it, or does the guest owe the signal for it? */
bool channel_has_room(struct channel *chan);

/* Stop serving a channel after a fatal protocol error; the guest sees a ring nobody reads. */
void channel_fail(struct channel *chan);

/* Offer n sub-channels of a device to the guest, starting behind those that exist. 0 or -errno. */
int channel_offer_subs(struct vdev *vdev, unsigned int n);

/* Channel of a device by sub-channel index, NULL if not offered. */
struct channel *channel_find(struct vdev *vdev, uint16_t sub_index);

/*
 * Offer a device's primary channel, or one of its granted sub-channels before its delay is over;
 * rescind all of its channels, or one sub-channel alone.
 */
int vdev_offer(struct vdev *vdev);
int vdev_offer_sub(struct vdev *vdev, int64_t sub_index);
void vdev_rescind(struct vdev *vdev);
int vdev_rescind_sub(struct vdev *vdev, int64_t sub_index);

/* The partition's negotiated VMBus version; 0 before contact. */
uint32_t partition_version(const struct partition *part);

/*
 * The guest broke a rule. rule is a short stable name ("nvsp.order", "ring.signal-superfluous"),
 * fmt a sentence; bytes, if any, are shown in hexadecimal. Counted per rule; in strict mode
 * hv-host's exit status is 3 if there was one.
 */
void host_violation(struct partition *part, const char *rule, const void *bytes, size_t len,
		    const char *fmt, ...) __attribute__((format(printf, 5, 6)));
#define RING_HDR_SHOWN \
	16 /* of a ring that is the offence: both indices, mask, what is waited for */

/*
 * Record a message in the --trace file: direction 'G' guest to host or 'H', layer ("VMBUS",
 * "RING", "NVSP", "RNDIS-CTL", "RNDIS-DATA"), name of the message, channel (or connection).
 * Cheap when tracing is off: test host_tracing first on the data path.
 */
extern bool host_tracing;
void host_trace(char dir, const char *layer, const char *name, uint32_t chan, const void *bytes,
		size_t len);

enum host_level { HOST_ERR, HOST_WARN, HOST_INFO, HOST_DEBUG };
void host_log(enum host_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Nanoseconds of CLOCK_MONOTONIC; host_now() is sampled once per turn of the main loop. */
uint64_t host_now(void);
uint64_t host_clock(void);
/* When so many nanoseconds, at least, have passed: the sample may be as old as a turn and a nap. */
uint64_t host_after(uint64_t ns);

/* Pseudo-random numbers of --seed. */
uint32_t host_random(void);

/* --- services of netvsp/ and port/ to main.c --------------------------------------------------- */

struct nic; /* configuration and state of one virtual NIC; lives across guests */

/*
 * Create a NIC from "--nic key=value,..."; NULL with a message on stderr when the text is
 * wrong. index counts from 0 and decides defaults (MAC 00:15:5d:00:00:<index+1>, instance GUID).
 */
struct nic *nic_create(unsigned int index, const char *text);
void nic_destroy(struct nic *nic);
void nic_help(void); /* print the keys with defaults and meaning on stdout */

/* Second step, when all NICs exist: start ports, join pairs. 0 or -errno with a message. */
int nic_start(struct nic *nic, struct nic *const all[], unsigned int n);

/* A partition connected: device to offer to it, or NULL if the NIC already has a guest. */
struct vdev *nic_attach(struct nic *nic, struct partition *part);
void nic_detach(struct vdev *vdev);

/* Slice of work that belongs to no channel: ports' housekeeping, timers. Returns work done. */
unsigned int nic_poll(struct nic *nic);

/* One control command: {"cmd": "...", "nic": N, ...}; fills reply. 0 or -errno (-ENOENT: unknown). */
int nic_command(struct nic *nic, const char *cmd, json_t *request, json_t *reply);

/* Statistics and configuration of a NIC, its channels and its port as a new JSON object. */
json_t *nic_stats(struct nic *nic);

/* True if traffic verification found an error (lost, damaged, duplicated): exit status 4. */
bool nic_failed(const struct nic *nic);

#endif /* HOST_H */
