/* SPDX-License-Identifier: BSD-3-Clause */
/* Receive interrupts. */
#include <errno.h>

#include <rte_interrupts.h>

#include "hvn_intr.h"

int
hvn_intr_start(struct rte_eth_dev *dev)
{
	struct hvn_port *p = hvn_port(dev);
	struct rte_intr_handle *h = dev->intr_handle;
	uint16_t n = dev->data->nb_rx_queues;
	int rc;

	if (dev->data->dev_conf.intr_conf.rxq == 0)
		return 0;
	if (n > p->n_chans) {
		HVN_LOG(ERR, "port %u: receive interrupts need a channel for each of %u queues",
			p->port_id, n);
		return -ENOTSUP;
	}
	if (rte_intr_vec_list_alloc(h, NULL, n) != 0)
		return -ENOMEM;
	for (uint16_t i = 0; i < n; i++) {
		int fd = hv_vmbus_intr_fd(hvn_vdev(p), p->chan[i]->vc);

		rc = fd < 0 ? fd : rte_intr_vec_list_index_set(h, i, RTE_INTR_VEC_RXTX_OFFSET + i);
		if (rc == 0)
			rc = rte_intr_efds_index_set(h, i, fd);
		if (rc != 0) {
			HVN_LOG(ERR, "port %u: receive interrupt of queue %u: %s", p->port_id, i,
				rte_strerror(-rc));
			hvn_intr_stop(dev);
			return rc;
		}
	}
	rc = rte_intr_nb_efd_set(h, n);
	return rc != 0 ? rc : rte_intr_max_intr_set(h, n + 1);
}

void
hvn_intr_stop(struct rte_eth_dev *dev)
{
	struct rte_intr_handle *h = dev->intr_handle;

	if (dev->data->dev_conf.intr_conf.rxq == 0 || h == NULL)
		return;
	rte_intr_free_epoll_fd(h);
	rte_intr_nb_efd_set(h, 0);
	rte_intr_vec_list_free(h);
}

int
hvn_intr_enable(struct rte_eth_dev *dev, uint16_t id)
{
	struct hvn_port *p = hvn_port(dev);
	const struct hvn_rxq *q = dev->data->rx_queues[id];

	if (hvn_removed(p) || q == NULL || q->chan == NULL)
		return -ENODEV;
	return hv_vmbus_intr_enable(hvn_vdev(p), q->chan->vc);
}

int
hvn_intr_disable(struct rte_eth_dev *dev, uint16_t id)
{
	struct hvn_port *p = hvn_port(dev);
	const struct hvn_rxq *q = dev->data->rx_queues[id];
	int rc;

	if (hvn_removed(p) || q == NULL || q->chan == NULL)
		return -ENODEV;
	rc = hv_vmbus_intr_disable(hvn_vdev(p), q->chan->vc);
	hv_vmbus_intr_ack(hvn_vdev(p), q->chan->vc);
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
	struct vmbus_ring *r;

	if (q->chan == NULL || hvn_removed(q->port))
		return -ENOTSUP;
	r = &q->chan->vc->rx;
	cond->addr = &r->hdr->windex;
	cond->size = sizeof(r->hdr->windex);
	/* Everything up to here was read: anything else in the index is news. */
	cond->opaque[0] = r->index;
	cond->fn = moved;
	return 0;
}
