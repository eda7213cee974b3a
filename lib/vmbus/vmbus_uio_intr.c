/* SPDX-License-Identifier: BSD-3-Clause */
/* Back end "uio": signals without a monitor, receive interrupts, latency. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "vmbus_uio.h"

#define LOCK_MS 50 /* far longer than anybody who runs has it */

/*
 * Without a monitor only a write of 1 reaches the host. It also unmasks the inbound rings of
 * all channels: those that want no interrupts are masked again.
 */
void
uio_signal(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan)
{
	struct vmbus_shared *s = vmbus_shared_of(dev);
	struct uio_shared *us = s->backend_data;
	struct uio_dev *u = dev->backend;
	const int32_t on = 1;
	/* One that is stopped is waited for once, not at each signal. */
	const bool stalled = __atomic_load_n(&u->stalled, __ATOMIC_RELAXED);
	const bool locked = vmbus_lock(&us->lock, stalled ? 0 : LOCK_MS);

	if (locked == stalled)
		__atomic_store_n(&u->stalled, !locked, __ATOMIC_RELAXED);
	/* Fails only when the device is gone. */
	if (write(u->fd, &on, sizeof(on)) != (ssize_t)sizeof(on))
		VMBUS_LOG(DEBUG, "%s: signal: %s", dev->name, strerror(errno));
	/* Without the lock the first could have been enabled just now; an interrupt too many is none. */
	for (unsigned int i = locked ? 0 : 1; i < VMBUS_CHANNELS_MAX; i++)
		if (s->chan[i] != NULL && !us->intr_wanted[i])
			vmbus_ring_rx_mask(&s->chan[i]->rx);
	/* Not in the list while it is being opened. */
	if (s->chan[chan->index] == NULL)
		vmbus_ring_rx_mask(&chan->rx);
	if (locked)
		vmbus_unlock(&us->lock);
}

/*
 * Only for the primary: there are kernels that crash on the interrupt of a sub-channel, and no
 * way to tell them from others. The caller unmasks after this and masks before it.
 */
int
uio_intr_prepare(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan, bool on)
{
	struct uio_shared *us = vmbus_shared_of(dev)->backend_data;
	struct uio_dev *u = dev->backend;
	bool locked;
	int rc;

	if (chan->index != 0)
		return on ? -ENOTSUP : 0;
	if (on && u->intr_fd < 0) {
		rc = uio_open_node(dev, &u->intr_fd);
		if (rc != 0)
			return rc;
	}
	locked = vmbus_lock(&us->lock, LOCK_MS);
	us->intr_wanted[chan->index] = on;
	/* A signal of another thread may have unmasked it in between. */
	if (!on)
		vmbus_ring_rx_mask(&chan->rx);
	if (locked)
		vmbus_unlock(&us->lock);
	return 0;
}

int
uio_intr_fd(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan)
{
	struct uio_dev *u = dev->backend;
	int rc = 0;

	if (chan->index != 0)
		return -ENOTSUP;
	if (u->intr_fd < 0)
		rc = uio_open_node(dev, &u->intr_fd);
	return rc != 0 ? rc : u->intr_fd;
}

void
uio_intr_ack(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan)
{
	const struct uio_dev *u = dev->backend;
	uint32_t count;

	(void)chan;
	/* EAGAIN: no interrupt since; EIO: on_uio_event() sees it too. */
	if (u->intr_fd >= 0 && read(u->intr_fd, &count, sizeof(count)) < 0)
		VMBUS_LOG(DEBUG, "%s: interrupt: %s", dev->name, strerror(errno));
}
