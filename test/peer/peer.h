/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libhvpeer: gives one process, by LD_PRELOAD, what Linux's hv_vmbus and uio_hv_generic give:
 * /sys/bus/vmbus, /sys/class/uio and /dev/uioN, out of the NICs of an hv-host.
 *
 *   peer_libc.c  the interposed functions of libc
 *   peer_tree.c  the sysfs tree, as files in a private directory
 *   peer_uio.c   /dev/uioN: open, read, write, mmap, hang-up
 *   peer_bus.c   the kernel's part of VMBus, over vmbus_client.h
 *
 * The behaviour is that of Linux 6.12.59 (uio_hv_generic.c, uio.c, vmbus_drv.c). Locks: peer_lock
 * serialises everything that changes channels, and may be held while the host answers; read,
 * write and poll never take it.
 */
#ifndef PEER_H
#define PEER_H

#include <pthread.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "hv_guid.h"
#include "vmbus_client.h"

#define PEER_CHANNELS	128
#define PEER_DEVICES	16
#define PEER_FDS	4096
#define PEER_RING_BYTES (2u << 20) /* one direction */
#define PEER_RECV_BYTES (31u << 20)
#define PEER_SEND_BYTES (16u << 20)
#define PEER_MAPS	5

/* Guest memory of the "kernel": a shared file. */
struct peer_mem {
	int fd; /* -1: none */
	uint8_t *addr;
	uint64_t bytes;
	uint64_t gpa;
	uint32_t gpadl; /* 0: none */
};

struct peer_chan {
	bool offered;
	bool open;
	uint32_t relid;
	uint32_t conn_id;
	uint16_t index;
	uint8_t monitor_id;
	struct peer_mem ring; /* both directions */
	ino_t ring_ino;
};

struct peer_dev {
	bool used;
	int uio;
	char name[HV_GUID_STRLEN];
	struct vmbus_msg_offer offer;
	struct peer_mem recv;
	struct peer_mem send;
	struct peer_chan chan[PEER_CHANNELS];
	unsigned int users; /* files and mappings */
	uint32_t count;	    /* interrupts; atomic */
	bool dead;	    /* rescinded; atomic */
};

/*
 * HVPEER_BARE: no more than the ABI demands, and nothing that a kernel happens to do besides: no
 * directory of the primary channel, attributes without a newline, a state that never changes,
 * mappings wherever there is room, device files that cannot be waited for.
 */
extern bool peer_bare;

/*
 * HVPEER_OPEN_DELAY_MS: from the offer of a sub-channel to its directory, and from there to its ring.
 * HVPEER_RING_DELAY_MS: from there to the file of the ring. HVPEER_RESCIND_DELAY_MS: from a rescind to
 * the end of the channel.
 */

/*
 * HVPEER_KERNEL: what uio_hv_generic of this release does with interrupts. Before it knew the
 * interrupts of sub-channels, one was the end of the kernel: here of the process, by abort().
 */
enum peer_kernel {
	PEER_KERNEL_6_12_59, /* the default: write() is for all channels; who waits masks */
	PEER_KERNEL_6_12_58, /* write() is for the primary */
	PEER_KERNEL_6_12_52, /* and the kernel masks: each channel it opens, at each interrupt */
};
extern enum peer_kernel peer_kernel;

extern pthread_mutex_t peer_lock;
extern struct peer_dev peer_devs[PEER_DEVICES];

/* The real function behind an interposed one. */
#define PEER_REAL(name) ((__typeof__(&name))peer_real(#name))
void *peer_real(const char *name);

void peer_log(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* --- peer_tree.c ---------------------------------------------------------------------------- */

int tree_init(const char *dir);

/* The path that stands for a path of the kernel, in buf; or the path itself. */
const char *tree_map(const char *path, char *buf, size_t len);

/* N if the path is /dev/uioN, else -1. */
int tree_uio(const char *path);

/*
 * An attribute that is computed when it is read, given its real path: 0 brought up to date, or
 * no such attribute; -EIO, that is what reading it gives (the channel is closed).
 */
int tree_refresh(const char *path);

void tree_add_dev(const struct peer_dev *dev);
void tree_remove_dev(const struct peer_dev *dev);
void tree_state(const struct peer_dev *dev, unsigned int state);
void tree_add_chan(const struct peer_dev *dev, const struct peer_chan *chan);
void tree_remove_chan(const struct peer_dev *dev, const struct peer_chan *chan);

/* Make the ring file of a channel, and let it be seen. Returns a descriptor or -errno. */
int tree_make_ring(const struct peer_dev *dev, const struct peer_chan *chan);
void tree_show_ring(const struct peer_dev *dev, const struct peer_chan *chan, bool show);

/* --- peer_bus.c ------------------------------------------------------------------------------ */

/* Connect, take offers, "bind" each NIC to uio_hv_generic. */
int bus_start(const char *socket_path);

/* First user, last user. Under peer_lock. 0 or -errno. */
int bus_open(struct peer_dev *dev);
void bus_close(struct peer_dev *dev);

/* write() to the device file: mask or unmask channels, signal those without a monitor. */
void bus_irqcontrol(struct peer_dev *dev, bool on);

/* Memory of the application itself, shared under its own address. */
void bus_share(void *addr, uint64_t bytes, uint64_t offset, int fd);
void bus_unshare(void *addr, uint64_t bytes);

extern struct peer_mem bus_pages; /* interrupt page, monitor page to us, monitor page from us */

/* --- peer_uio.c ------------------------------------------------------------------------------ */

struct peer_file;

int uio_open(int uio, int flags);
/* The open file of a descriptor, or NULL. */
struct peer_file *uio_file(int fd);
ssize_t uio_read(struct peer_file *f, int fd, void *buf, size_t len);
ssize_t uio_write(struct peer_file *f, const void *buf, size_t len);
void *uio_mmap(struct peer_file *f, void *addr, size_t len, int prot, int flags, off_t offset);
void uio_close(struct peer_file *f, int fd);
/* A mapping of a ring file is refused while its channel is closed. */
bool uio_ring_closed(int fd);
/* munmap was called. */
void uio_unmapped(void *addr, size_t len);
/* Wake the readers of a device: an interrupt, or its end. */
void uio_notify(struct peer_dev *dev);
void uio_hangup(struct peer_dev *dev);

#endif /* PEER_H */
