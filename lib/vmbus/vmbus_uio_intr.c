/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Back end "uio": signals without a monitor, receive interrupts, latency.
 *
 * The kernel reports the interrupts of all channels on the same node and tells nobody whose they
 * are. Each open of it has a count of its own, so each channel has its own: what wakes another
 * takes nothing from it.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "vmbus_uio.h"

#define LOCK_MS 50 /* far longer than anybody who runs has it */

/* One that is stopped with the lock is waited for once, not at each call. */
static bool
lock(struct uio_dev *u, struct uio_shared *us)
{
	const bool stalled = __atomic_load_n(&u->stalled, __ATOMIC_RELAXED);
	const bool locked = vmbus_lock(&us->lock, stalled ? 0 : LOCK_MS);

	if (locked == stalled)
		__atomic_store_n(&u->stalled, !locked, __ATOMIC_RELAXED);
	return locked;
}

/*
 * Unmasks the inbound rings of all channels, and signals those without a monitor. Not while a
 * sub-channel is offered and not open, or closed and not yet rescinded: since d062463edf17 the kernel
 * stores into the ring of every sub-channel in its list, and has a null pointer for those (Linux 6.1.192
 * and 6.12.117: hv_uio_irqcontrol(), vmbus_process_offer(), vmbus_disconnect_ring()).
 */
static int
write_one(const struct uio_dev *u)
{
	const int32_t on = 1;

	return write(u->fd, &on, sizeof(on)) == (ssize_t)sizeof(on) ? 0 : -errno;
}

/* With the lock: without it one could have been enabled just now, and its interrupt be lost. */
static void
mask_unwanted(struct vmbus_shared *s)
{
	const struct uio_shared *us = s->backend_data;

	for (unsigned int i = 0; i < VMBUS_CHANNELS_MAX; i++)
		if (s->chan[i] != NULL && !us->intr_wanted[i])
			vmbus_ring_rx_mask(&s->chan[i]->rx);
}

static bool
any_unmonitored(const struct vmbus_shared *s)
{
	for (unsigned int i = 0; i < VMBUS_CHANNELS_MAX; i++)
		if (s->chan[i] != NULL && s->chan[i]->monitor_trigger == NULL)
			return true;
	return false;
}

int
uio_hold(struct hv_vmbus_device *dev, bool hold)
{
	const struct vmbus_shared *s = vmbus_shared_of(dev);
	struct uio_dev *u = dev->backend;

	if (hold) {
		__atomic_store_n(&u->held, false, __ATOMIC_RELAXED);
		/* Whoever finds it there leaves the signal to whom ends it, and the other way round. */
		__atomic_store_n(&u->hold, true, __ATOMIC_SEQ_CST);
		return 0;
	}
	/* No signal goes out: they wait until the device is closed. */
	if (u->hold && any_unmonitored(s) && uio_subs_unopened(dev)) {
		VMBUS_LOG(ERR,
			  "%s: a sub-channel that was offered is not open: a signal now could "
			  "crash the kernel",
			  dev->name);
		return -EIO;
	}
	__atomic_store_n(&u->hold, false, __ATOMIC_SEQ_CST);
	if (__atomic_exchange_n(&u->held, false, __ATOMIC_SEQ_CST))
		uio_signal(dev, s->chan[0]);
	return 0;
}

/* Does this signal wait? */
static bool
is_held(struct uio_dev *u)
{
	if (!__atomic_load_n(&u->hold, __ATOMIC_RELAXED))
		return false;
	__atomic_store_n(&u->held, true, __ATOMIC_SEQ_CST);
	/* Ended meanwhile: who did may have missed it. */
	return __atomic_load_n(&u->hold, __ATOMIC_SEQ_CST) ||
	       !__atomic_exchange_n(&u->held, false, __ATOMIC_SEQ_CST);
}

/* Without the lock rings stay unmasked until the next signal: an interrupt too many is none. */
void
uio_signal(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan)
{
	struct vmbus_shared *s = vmbus_shared_of(dev);
	struct uio_shared *us = s->backend_data;
	struct uio_dev *u = dev->backend;
	bool locked;
	int rc;

	if (is_held(u))
		return;
	locked = lock(u, us);
	rc = write_one(u);
	/* Fails only when the device is gone. */
	if (rc != 0)
		VMBUS_LOG(DEBUG, "%s: signal: %s", dev->name, strerror(-rc));
	if (locked)
		mask_unwanted(s);
	/* Not in the list while it is being opened. */
	if (s->chan[chan->index] == NULL)
		vmbus_ring_rx_mask(&chan->rx);
	if (locked)
		vmbus_unlock(&us->lock);
}

/*
 * Does the kernel survive the interrupt of a sub-channel? Linux learned that by the same commit
 * (d062463edf17) as to unmask sub-channels, too, when 1 is written: where this one stays masked
 * nothing was risked. With the lock; the channel wants no interrupts yet.
 */
static int
probe_sub(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan)
{
	struct vmbus_shared *s = vmbus_shared_of(dev);
	struct uio_shared *us = s->backend_data;
	const uint32_t *mask = &chan->rx.hdr->imask;
	int rc;

	if (us->sub_intr)
		return 0;
	if (uio_subs_unopened(dev)) {
		VMBUS_LOG(ERR, "%s: a sub-channel that was offered is not open: no interrupts yet",
			  dev->name);
		return -EAGAIN;
	}
	vmbus_ring_rx_mask(&chan->rx);
	if (__atomic_load_n(mask, __ATOMIC_RELAXED) == 0)
		return -EIO;
	rc = write_one(dev->backend);
	if (rc != 0)
		return rc;
	us->sub_intr = __atomic_load_n(mask, __ATOMIC_RELAXED) == 0;
	mask_unwanted(s);
	VMBUS_LOG(DEBUG, "%s: the kernel %s interrupts of sub-channels", dev->name,
		  us->sub_intr ? "knows" : "does not know");
	return us->sub_intr ? 0 : -ENOTSUP;
}

/* The caller unmasks after this and masks before it. */
int
uio_intr_prepare(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan, bool on)
{
	struct uio_shared *us = vmbus_shared_of(dev)->backend_data;
	struct uio_dev *u = dev->backend;
	bool locked;
	int rc = 0;

	if (on && u->intr_fd[chan->index] < 0) {
		rc = uio_intr_fd(dev, chan);
		if (rc < 0)
			return rc;
	}
	locked = lock(u, us);
	/* Who has it may be about to mask this ring for good: no sleep may rely on it. */
	if (on && !locked)
		return 1;
	us->intr_wanted[chan->index] = on;
	/* A signal of another thread may have unmasked it in between. */
	if (!on)
		vmbus_ring_rx_mask(&chan->rx);
	if (locked)
		vmbus_unlock(&us->lock);
	return 0;
}

static int
sub_supported(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan)
{
	struct uio_shared *us = vmbus_shared_of(dev)->backend_data;
	int rc;

	if (!lock(dev->backend, us)) {
		VMBUS_LOG(ERR, "%s: another process was stopped in the middle of a signal",
			  dev->name);
		return -EAGAIN;
	}
	rc = probe_sub(dev, chan);
	vmbus_unlock(&us->lock);
	if (rc == -ENOTSUP)
		VMBUS_LOG(ERR,
			  "%s: this kernel does not survive interrupts of sub-channels: use one "
			  "queue, or Linux 6.1.159, 6.12.59 or 6.19, or later",
			  dev->name);
	return rc;
}

int
uio_intr_fd(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan)
{
	int *fd = &((struct uio_dev *)dev->backend)->intr_fd[chan->index];
	int rc = 0;

	if (*fd < 0 && chan->index != 0)
		rc = sub_supported(dev, chan);
	if (*fd < 0 && rc == 0)
		rc = uio_open_node(dev, fd);
	return rc != 0 ? rc : *fd;
}

void
uio_intr_ack(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan)
{
	const struct uio_dev *u = dev->backend;
	const int fd = u->intr_fd[chan->index];
	uint32_t count;

	/* EAGAIN: no interrupt since; EIO: on_uio_event() sees it too. */
	if (fd >= 0 && read(fd, &count, sizeof(count)) < 0)
		VMBUS_LOG(DEBUG, "%s: interrupt: %s", dev->name, strerror(errno));
}
