/* SPDX-License-Identifier: BSD-3-Clause */
/* Channels as drivers use them: the part that all back ends have in common. */
#include <errno.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_malloc.h>

#include "vmbus_backend.h"

#define LATENCY_UNIT_NS	   100u
#define RING_BYTES_DEFAULT (2u << 20)
#define RING_BYTES_MIN	   (4u * HV_PAGE_SIZE)
#define RING_BYTES_MAX	   (16u << 20) /* two of them in one GPADL */
#define BUFFER_BYTES_MAX   (VMBUS_GPADL_MAX_PFNS * HV_PAGE_SIZE)

int
vmbus_channel_attach(struct hv_vmbus_channel *chan, void *mem, uint32_t ring_bytes,
		     uint32_t hdr_bytes)
{
	struct vmbus_ring_hdr *inbound = (void *)((uint8_t *)mem + ring_bytes);
	int rc;

	/*
	 * Nobody waits for interrupts yet; some kernels crash on an unwanted one. Full: the mask
	 * before the index that is read now, so that what comes behind it comes without a signal.
	 */
	__atomic_store_n(&inbound->imask, 1, __ATOMIC_SEQ_CST);
	rc = vmbus_ring_init_tx(&chan->tx, mem, ring_bytes, hdr_bytes);
	if (rc == 0)
		rc = vmbus_ring_init_rx(&chan->rx, inbound, ring_bytes, hdr_bytes);
	chan->ring_mem = mem;
	chan->ring_bytes = ring_bytes;
	return rc;
}

void
vmbus_channel_monitor(struct hv_vmbus_channel *chan, void *page, uint8_t monitor_id)
{
	struct vmbus_monitor_page *mon = page;

	chan->monitor_id = VMBUS_MONITOR_ID_NONE;
	chan->monitor_trigger = NULL;
	if (page == NULL || monitor_id >= VMBUS_MONITOR_COUNT)
		return;
	chan->monitor_id = monitor_id;
	chan->monitor_trigger = &mon->group[VMBUS_MONITOR_GROUP(monitor_id)].pending;
	chan->monitor_mask = VMBUS_MONITOR_MASK(monitor_id);
}

static struct hv_vmbus_channel *
channel_alloc(const struct hv_vmbus_device *dev, uint16_t index)
{
	struct hv_vmbus_channel *chan =
		rte_zmalloc_socket("hv_vmbus_channel", sizeof(*chan), RTE_CACHE_LINE_SIZE,
				   dev->device.numa_node);

	/* Better than none; whether a driver insists on the device's node is up to the driver. */
	if (chan == NULL)
		chan = rte_zmalloc("hv_vmbus_channel", sizeof(*chan), RTE_CACHE_LINE_SIZE);
	if (chan == NULL) {
		VMBUS_LOG(ERR, "%s: no memory for channel %u", dev->name, index);
		return NULL;
	}
	chan->index = index;
	chan->monitor_id = VMBUS_MONITOR_ID_NONE;
	return chan;
}

static int
params_check(const struct hv_vmbus_device *dev, struct hv_vmbus_open_params *p)
{
	if (p->ring_bytes == 0)
		p->ring_bytes = RING_BYTES_DEFAULT;
	if (p->ring_bytes < RING_BYTES_MIN || p->ring_bytes > RING_BYTES_MAX ||
	    p->ring_bytes % HV_PAGE_SIZE != 0 || 2 * p->ring_bytes > BUFFER_BYTES_MAX ||
	    p->recv_buf_bytes > BUFFER_BYTES_MAX || p->send_buf_bytes > BUFFER_BYTES_MAX) {
		VMBUS_LOG(ERR,
			  "%s: rings of %u bytes, buffers of %u and %u: rings are whole pages, %u "
			  "bytes "
			  "at least, two rings or one buffer at most %u",
			  dev->name, p->ring_bytes, p->recv_buf_bytes, p->send_buf_bytes,
			  RING_BYTES_MIN, BUFFER_BYTES_MAX);
		return -EINVAL;
	}
	return 0;
}

int
hv_vmbus_dma_check(struct hv_vmbus_device *dev, const void *addr, uint64_t iova, size_t len)
{
	const struct rte_memseg_list *msl = rte_mem_virt2memseg_list(addr);

	return msl != NULL && !msl->external ? 0 : dev->ops->dma_map(dev, iova, len);
}

int
hv_vmbus_open(struct hv_vmbus_device *dev, const struct hv_vmbus_open_params *params,
	      struct hv_vmbus_channel **chan)
{
	struct vmbus_shared *s = vmbus_shared_of(dev);
	struct hv_vmbus_open_params p = { 0 };
	struct hv_vmbus_channel *c;
	int rc;

	if (rte_eal_process_type() != RTE_PROC_PRIMARY || s == NULL)
		return -EPERM;
	if (dev->opened)
		return -EALREADY;
	if (hv_vmbus_device_gone(dev))
		return -ENODEV;
	if (params != NULL)
		p = *params;
	rc = params_check(dev, &p);
	if (rc != 0)
		return rc;
	c = channel_alloc(dev, 0);
	if (c == NULL)
		return -ENOMEM;
	rc = dev->ops->open(dev, &p, c);
	if (rc != 0) {
		/* As far as it got, the back end has written them. */
		memset(&s->recv, 0, sizeof(s->recv));
		memset(&s->send, 0, sizeof(s->send));
		rte_free(c);
		return rc;
	}
	c->open = true;
	s->id.relid = dev->relid;
	s->chan[0] = c;
	dev->opened = s->opened = true;
	*chan = c;
	return 0;
}

void
hv_vmbus_close(struct hv_vmbus_device *dev)
{
	hv_vmbus_close_within(dev, 0);
}

int
hv_vmbus_close_within(struct hv_vmbus_device *dev, unsigned int ms)
{
	struct vmbus_shared *s = vmbus_shared_of(dev);
	int rc;

	if (!dev->opened || s == NULL)
		return 0;
	dev->opened = false;
	if (rte_eal_process_type() != RTE_PROC_PRIMARY) {
		dev->ops->detach(dev);
		return 0;
	}
	s->opened = false;
	rc = dev->ops->close(dev, ms);
	for (unsigned int i = 0; i < VMBUS_CHANNELS_MAX; i++) {
		if (s->chan[i] != NULL && !s->chan[i]->kept)
			rte_free(s->chan[i]);
		s->chan[i] = NULL;
	}
	memset(&s->recv, 0, sizeof(s->recv));
	memset(&s->send, 0, sizeof(s->send));
	return rc;
}

void
hv_vmbus_channel_keep(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan)
{
	if (chan->kept)
		return;
	chan->kept = true;
	if (dev->ops->keep != NULL)
		dev->ops->keep(dev, chan);
}

const struct hv_vmbus_buffer *
hv_vmbus_recv_buf(const struct hv_vmbus_device *dev)
{
	return &vmbus_shared_of(dev)->recv;
}

const struct hv_vmbus_buffer *
hv_vmbus_send_buf(const struct hv_vmbus_device *dev)
{
	return &vmbus_shared_of(dev)->send;
}

int
hv_vmbus_subchannel_open(struct hv_vmbus_device *dev, uint16_t index,
			 struct hv_vmbus_channel **chan)
{
	struct vmbus_shared *s = vmbus_shared_of(dev);
	struct hv_vmbus_channel *c;
	int rc;

	if (rte_eal_process_type() != RTE_PROC_PRIMARY || s == NULL || !dev->opened)
		return -EPERM;
	if (index == 0 || index >= VMBUS_CHANNELS_MAX)
		return -EINVAL;
	if (s->chan[index] != NULL)
		return -EEXIST;
	if (hv_vmbus_device_gone(dev))
		return -ENODEV;
	c = channel_alloc(dev, index);
	if (c == NULL)
		return -ENOMEM;
	rc = dev->ops->subchannel_open(dev, c);
	if (rc != 0) {
		rte_free(c);
		return rc;
	}
	c->open = true;
	s->chan[index] = c;
	*chan = c;
	return 0;
}

bool
hv_vmbus_channel_gone(struct hv_vmbus_device *dev, const struct hv_vmbus_channel *chan)
{
	return hv_vmbus_device_gone(dev) ||
	       (dev->ops->channel_gone != NULL && dev->ops->channel_gone(dev, chan));
}

int
hv_vmbus_attach_secondary(struct hv_vmbus_device *dev)
{
	struct vmbus_shared *s = vmbus_shared_of(dev);
	int rc;

	if (rte_eal_process_type() == RTE_PROC_PRIMARY)
		return -EPERM;
	/* Relaxed: if it goes behind this, what is mapped here is gone a moment later. */
	if (s == NULL || !s->opened || __atomic_load_n(&s->gone, __ATOMIC_RELAXED))
		return -ENODEV;
	rc = dev->ops->attach(dev);
	if (rc == 0)
		dev->opened = true;
	return rc;
}

struct hv_vmbus_channel *
hv_vmbus_channel_find(const struct hv_vmbus_device *dev, uint16_t index)
{
	struct vmbus_shared *s = vmbus_shared_of(dev);

	return s != NULL && index < VMBUS_CHANNELS_MAX ? s->chan[index] : NULL;
}

void
hv_vmbus_signal(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan)
{
	chan->doorbells++;
	/* Release: the ring index that the publish function stored is seen before the bit. */
	if (chan->monitor_trigger != NULL)
		__atomic_fetch_or(chan->monitor_trigger, chan->monitor_mask, __ATOMIC_RELEASE);
	else
		dev->ops->signal(dev, chan);
}

int
hv_vmbus_signals_hold(struct hv_vmbus_device *dev, bool hold)
{
	return dev->ops->hold != NULL && dev->opened ? dev->ops->hold(dev, hold) : 0;
}

int
hv_vmbus_intr_enable(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan)
{
	int rc = dev->ops->intr_prepare(dev, chan, true);

	if (rc != 0)
		return rc;
	return vmbus_ring_rx_unmask(&chan->rx) ? 1 : 0;
}

int
hv_vmbus_intr_disable(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan)
{
	vmbus_ring_rx_mask(&chan->rx);
	return dev->ops->intr_prepare(dev, chan, false);
}

int
hv_vmbus_intr_fd(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan)
{
	return dev->ops->intr_fd(dev, chan);
}

void
hv_vmbus_intr_ack(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan)
{
	dev->ops->intr_ack(dev, chan);
}

void
hv_vmbus_set_latency(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan,
		     uint32_t microseconds)
{
	uint64_t units = (uint64_t)microseconds * 1000 / LATENCY_UNIT_NS;
	struct vmbus_monitor_page *page;
	uint32_t id = chan->monitor_id;

	(void)dev;
	if (chan->monitor_trigger == NULL)
		return;
	page = (void *)((uintptr_t)chan->monitor_trigger & ~(uintptr_t)HV_PAGE_MASK);
	/* The field is ours, the page is everybody's. */
	page->latency[VMBUS_MONITOR_GROUP(id)][id % 32] =
		(uint16_t)RTE_MIN(units, (uint64_t)UINT16_MAX);
}
