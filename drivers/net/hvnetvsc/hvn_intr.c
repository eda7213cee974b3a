/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Receive interrupts. What the application waits for is an epoll descriptor per queue over two
 * others: the bus's, readable when the host signals, and one of our own, for what was already in
 * the ring when interrupts were enabled: the host signals an empty ring only.
 */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <rte_interrupts.h>
#include <rte_malloc.h>

#include "hvn_chan.h"
#include "hvn_intr.h"
#include "hvn_tx_hold.h"

/* The device's process_private: descriptors belong to a process. */
struct hvn_intr {
	int wait[HVN_QUEUES_MAX];
	int own[HVN_QUEUES_MAX];
};

static int
watch(int ep, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN };

	return epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) != 0 ? -errno : 0;
}

/* Fewer channels may have been granted than asked for: nothing comes in there, and nothing wakes it. */
static int
watch_channel(const struct hvn_intr *in, struct hvn_port *p, uint16_t i)
{
	int fd;

	if (i >= p->n_chans)
		return 0;
	fd = hv_vmbus_intr_fd(hvn_vdev(p), p->chan[i]->vc);
	return fd < 0 ? fd : watch(in->wait[i], fd);
}

static int
queue_start(struct hvn_intr *in, struct hvn_port *p, uint16_t i)
{
	int rc;

	in->wait[i] = epoll_create1(EPOLL_CLOEXEC);
	in->own[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (in->wait[i] < 0 || in->own[i] < 0)
		return -errno;
	rc = watch_channel(in, p, i);
	return rc != 0 ? rc : watch(in->wait[i], in->own[i]);
}

static void
refused(const struct hvn_port *p, uint16_t i, int rc)
{
	HVN_LOG(ERR, "port %u: receive interrupt of queue %u: %s", p->port_id, i,
		rte_strerror(-rc));
}

static int
go_on(struct rte_eth_dev *dev)
{
	int rc = 0;

	for (uint16_t i = 0; i < dev->data->nb_rx_queues && rc == 0; i++) {
		rc = watch_channel(dev->process_private, hvn_port(dev), i);
		if (rc != 0)
			refused(hvn_port(dev), i, rc);
	}
	return rc;
}

int
hvn_intr_start(struct rte_eth_dev *dev)
{
	struct hvn_port *p = hvn_port(dev);
	struct rte_intr_handle *h = dev->intr_handle;
	uint16_t n = dev->data->nb_rx_queues;
	struct hvn_intr *in;
	int rc = 0;

	if (dev->data->dev_conf.intr_conf.rxq == 0)
		return 0;
	if (dev->process_private != NULL)
		return go_on(dev);
	in = rte_malloc("hvn_intr", sizeof(*in), 0);
	if (in == NULL)
		return -ENOMEM;
	for (uint16_t i = 0; i < HVN_QUEUES_MAX; i++)
		in->wait[i] = in->own[i] = -1;
	dev->process_private = in;
	if (rte_intr_vec_list_alloc(h, NULL, n) != 0)
		rc = -ENOMEM;
	for (uint16_t i = 0; i < n && rc == 0; i++) {
		rc = queue_start(in, p, i);
		if (rc == 0)
			rc = rte_intr_vec_list_index_set(h, i, RTE_INTR_VEC_RXTX_OFFSET + i);
		if (rc == 0)
			rc = rte_intr_efds_index_set(h, i, in->wait[i]);
		if (rc != 0)
			refused(p, i, rc);
	}
	if (rc == 0)
		rc = rte_intr_nb_efd_set(h, n);
	if (rc == 0)
		rc = rte_intr_max_intr_set(h, n + 1);
	if (rc != 0)
		hvn_intr_stop(dev);
	return rc;
}

void
hvn_intr_pause(struct rte_eth_dev *dev)
{
	const struct hvn_intr *in = dev->process_private;
	struct hvn_port *p = hvn_port(dev);
	int fd;

	if (in == NULL)
		return;
	/* Closed they would stay in there as long as somebody else, the host, has them open. */
	for (uint16_t i = 0; i < dev->data->nb_rx_queues && i < p->n_chans; i++) {
		fd = hv_vmbus_intr_fd(hvn_vdev(p), p->chan[i]->vc);
		if (fd >= 0)
			epoll_ctl(in->wait[i], EPOLL_CTL_DEL, fd, NULL);
	}
}

void
hvn_intr_wake(struct rte_eth_dev *dev)
{
	const struct hvn_intr *in = dev->process_private;
	const uint64_t one = 1;

	for (uint16_t i = 0; in != NULL && i < dev->data->nb_rx_queues; i++)
		if (write(in->own[i], &one, sizeof(one)) < 0)
			HVN_LOG(ERR, "port %u: queue %u may sleep: %s", dev->data->port_id, i,
				rte_strerror(errno));
}

void
hvn_intr_stop(struct rte_eth_dev *dev)
{
	struct hvn_intr *in = dev->process_private;
	struct rte_intr_handle *h = dev->intr_handle;

	if (in == NULL)
		return;
	dev->process_private = NULL;
	rte_intr_free_epoll_fd(h);
	rte_intr_nb_efd_set(h, 0);
	rte_intr_vec_list_free(h);
	for (uint16_t i = 0; i < HVN_QUEUES_MAX; i++) {
		if (in->wait[i] >= 0)
			close(in->wait[i]);
		if (in->own[i] >= 0)
			close(in->own[i]);
	}
	rte_free(in);
}

/*
 * The channel of a queue whose interrupts are set up, with in_lock: 0, -ENOTSUP, -ENODATA for one that
 * runs without a channel, or is about to be woken because it gets another one.
 */
static int
intr_channel(struct rte_eth_dev *dev, uint16_t id, struct hvn_chan **ch)
{
	const struct hvn_rxq *q = dev->data->rx_queues[id];

	if (dev->process_private == NULL || hvn_removed(hvn_port(dev)) || q == NULL)
		return -ENOTSUP;
	*ch = q->chan;
	if (hvn_recovering(hvn_port(dev)))
		return -ENODATA;
	if (!q->started)
		return -ENOTSUP;
	if (*ch == NULL)
		return -ENODATA;
	/* Who goes to sleep looks no more. */
	hvn_tx_flush_chan(*ch);
	if (!hvn_chan_lock_in(*ch))
		return hvn_recovering(hvn_port(dev)) ? -ENODATA : -EBUSY;
	if (q->chan == *ch)
		return 0;
	hvn_biased_release(&(*ch)->in_lock);
	return -ENODATA;
}

int
hvn_intr_enable(struct rte_eth_dev *dev, uint16_t id)
{
	const struct hvn_intr *in = dev->process_private;
	struct hvn_chan *ch = NULL;
	int rc = intr_channel(dev, id, &ch);
	const uint64_t one = 1;

	if (rc != 0)
		return rc == -ENODATA ? 0 : rc;
	rc = hv_vmbus_intr_enable(hvn_vdev(hvn_port(dev)), ch->vc);
	hvn_biased_release(&ch->in_lock);
	if (rc <= 0)
		return rc;
	return write(in->own[id], &one, sizeof(one)) == (ssize_t)sizeof(one) ? 0 : -errno;
}

int
hvn_intr_disable(struct rte_eth_dev *dev, uint16_t id)
{
	const struct hvn_intr *in = dev->process_private;
	struct hv_vmbus_device *vdev;
	struct hvn_chan *ch = NULL;
	int rc = intr_channel(dev, id, &ch);
	uint64_t count;

	if (rc != 0 && rc != -ENODATA)
		return rc;
	if (rc == 0) {
		vdev = hvn_vdev(hvn_port(dev));
		rc = hv_vmbus_intr_disable(vdev, ch->vc);
		hv_vmbus_intr_ack(vdev, ch->vc);
		hvn_biased_release(&ch->in_lock);
	} else {
		rc = 0;
	}
	/* Without a channel, too: hvn_intr_wake(). */
	if (read(in->own[id], &count, sizeof(count)) < 0 && errno != EAGAIN)
		return -errno;
	return rc;
}

/* -1: the host has written since, do not sleep. */
static int
moved(const uint64_t value, const uint64_t opaque[RTE_POWER_MONITOR_OPAQUE_SZ])
{
	return (uint32_t)value != (uint32_t)opaque[0] ? -1 : 0;
}

int
hvn_intr_monitor_addr(void *rxq, struct rte_power_monitor_cond *cond)
{
	const struct hvn_rxq *q = rxq;
	struct hvn_chan *ch;

	if (q == NULL)
		return -EINVAL;
	/* One address can be watched: with a VF, frames come by two rings. */
	if (hvn_removed(q->port) || q->path.vf_port != RTE_MAX_ETHPORTS ||
	    (!q->started && !hvn_recovering(q->port)))
		return -ENOTSUP;
	ch = hvn_recovering(q->port) ? NULL : q->chan;
	if (ch != NULL)
		hvn_tx_flush_chan(ch);
	/* The ring's; of a queue without a channel one that does not change. */
	cond->addr = (void *)(uintptr_t)(ch != NULL ? q->windex : &q->nothing);
	cond->size = sizeof(*q->windex);
	/* Everything up to here was read: anything else in the index is news. */
	cond->opaque[0] = ch != NULL ? ch->vc->rx.index : q->nothing;
	cond->fn = moved;
	return 0;
}
