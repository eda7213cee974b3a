/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the back end "uio" share. */
#ifndef VMBUS_UIO_H
#define VMBUS_UIO_H

#include "vmbus_backend.h"
#include "vmbus_lock.h"

/* Private to a process. */
struct uio_dev {
	char name[HV_GUID_STRLEN];	 /* of the sysfs directory */
	int uio;			 /* N of /dev/uioN */
	int fd;				 /* holds the channels open; tells of removal */
	int intr_fd[VMBUS_CHANNELS_MAX]; /* by channel index: opened when it wants interrupts */
	struct rte_intr_handle *watch;
	struct vmbus_monitor_page *monitor;
	bool map_here[VMBUS_MAPS_MAX];	    /* of shared->maps[], in this process */
	bool ring_here[VMBUS_CHANNELS_MAX]; /* of sub-channels, by index */
	bool stalled;			    /* who had the lock for signals did not run */
	bool hold;			    /* signals wait: hv_vmbus_signals_hold() */
	bool held;			    /* one does */
};

/* The same for all processes: shared->backend_data, from the first open on. */
struct uio_shared {
	pthread_mutex_t lock;
	bool sub_intr;			      /* the kernel knows interrupts of sub-channels */
	bool intr_wanted[VMBUS_CHANNELS_MAX]; /* by channel index */
};

/* Open /dev/uioN once more; the reason of a failure is logged. 0 or -errno. */
int uio_open_node(const struct hv_vmbus_device *dev, int *fd);

/* Is there a sub-channel that the kernel has not open? What is not in sysfs yet is not seen. */
bool uio_subs_unopened(const struct hv_vmbus_device *dev);

/* vmbus_uio_intr.c; see struct vmbus_backend_ops. */
void uio_signal(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan);
int uio_hold(struct hv_vmbus_device *dev, bool hold);
int uio_intr_prepare(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan, bool on);
int uio_intr_fd(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan);
void uio_intr_ack(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan);

#endif /* VMBUS_UIO_H */
