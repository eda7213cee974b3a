/* SPDX-License-Identifier: BSD-3-Clause */
/* One virtual NIC, across its guests. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "netvsp.h"

static int
nic_open(struct channel *chan)
{
	struct nic *nic = chan->vdev->priv;
	struct nic_queue *q;

	if (chan->sub_index >= NIC_QUEUES_MAX || nic->queue[chan->sub_index] != NULL)
		return 1;
	q = calloc(1, sizeof(*q));
	if (q == NULL)
		return 1;
	q->nic = nic;
	q->chan = chan;
	q->index = chan->sub_index;
	q->st = &nic->qstats[q->index];
	q->st->opened++;
	chan->priv = q;
	nic->queue[q->index] = q;
	if (q->index == 0)
		nvsp_session_start(nic);
	return 0;
}

static void
nic_close(struct channel *chan)
{
	struct nic_queue *q = chan->priv;

	if (q == NULL)
		return;
	if (q->index == 0)
		nvsp_session_end(q->nic);
	else
		slots_reclaim(q);
	q->st->interrupts += chan->interrupts;
	q->st->doorbells += chan->doorbells;
	q->st->superfluous += chan->superfluous;
	chan->interrupts = chan->doorbells = chan->superfluous = 0;
	q->nic->queue[q->index] = NULL;
	free(q->defer);
	free(q);
	chan->priv = NULL;
}

static unsigned int
nic_poll_channel(struct channel *chan)
{
	struct nic_queue *q = chan->priv;

	return q == NULL || q->stalled ? 0 : queue_poll(q);
}

static void
nic_reset(struct vdev *vdev)
{
	struct nic *nic = vdev->priv;

	/* Another guest, or this one from its start: nothing switched, nothing announced. */
	nic->path_vf = nic->leg_live = false;
	nic->n_mcast = nic->vlan_id = 0;
	if (nic->vf != VF_NONE)
		nic->vf = VF_WAITING;
}

static const struct vsp_ops nic_ops = {
	.open = nic_open,
	.close = nic_close,
	.poll = nic_poll_channel,
	.reset = nic_reset,
};

struct nic *
nic_create(unsigned int index, const char *text)
{
	struct nic *nic = calloc(1, sizeof(*nic));

	if (nic == NULL || nic_options_parse(&nic->opt, index, text) != 0) {
		free(nic);
		return NULL;
	}
	nic->index = index;
	memcpy(nic->mac, nic->opt.mac, sizeof(nic->mac));
	nic->link_up = nic->opt.link != 0;
	nic->speed = nic->opt.speed;
	nic->hold_rx = nic->opt.hold_rx != 0;
	nic->mtu = NIC_MTU_DEFAULT;
	nic->ctrl = malloc(NIC_CTRL_LIMIT);
	if (nic->opt.vf != 0) {
		nic->vf = VF_WAITING;
		nic->vf_serial = nic->opt.vf_serial;
	}
	if (nic->ctrl == NULL || port_create(nic, nic->opt.port, &nic->port) != 0 ||
	    vf_leg_create(nic) != 0) {
		nic_destroy(nic);
		return NULL;
	}
	return nic;
}

void
nic_destroy(struct nic *nic)
{
	if (nic == NULL)
		return;
	vf_leg_destroy(nic);
	if (nic->port != NULL)
		nic->port->ops->destroy(nic->port);
	free(nic->ctrl);
	free(nic);
}

int
nic_start(struct nic *nic, struct nic *const all[], unsigned int n)
{
	char *end;
	unsigned long other;

	/* "pair:N": each pair is joined once, by whichever end comes first. */
	if (strncmp(nic->opt.port, "pair:", 5) != 0)
		return 0;
	other = strtoul(nic->opt.port + 5, &end, 10);
	if (end == nic->opt.port + 5 || (*end != '\0' && *end != ',') || other >= n ||
	    all[other] == nic) {
		fprintf(stderr, "hv-host: --nic %u: port=%s: no other NIC has this number\n",
			nic->index, nic->opt.port);
		return -EINVAL;
	}
	return port_join(nic->port, all[other]->port);
}

struct vdev *
nic_attach(struct nic *nic, struct partition *part)
{
	if (nic->attached)
		return NULL;
	nic->attached = true;
	nic->vdev = (struct vdev){ .ops = &nic_ops,
				   .part = part,
				   .class_id = VMBUS_CLASS_NIC,
				   .instance_id = nic->opt.guid,
				   .priv = nic };
	nic_reset(&nic->vdev);
	return &nic->vdev;
}

void
nic_detach(struct vdev *vdev)
{
	struct nic *nic = vdev->priv;

	nic_reset(vdev);
	nic->attached = false;
}

unsigned int
nic_poll(struct nic *nic)
{
	unsigned int work = 0;

	if (nic->state != NVSP_ST_CLOSED && !nic_primary(nic)->chan->failed) {
		subchannel_tick(nic);
		vf_tick(nic);
		rndis_link_tick(nic);
		rndis_ctrl_flush(nic);
		work += rx_poll(nic);
	}
	work += vf_leg_poll(nic);
	return work + nic->port->ops->flush(nic->port);
}

bool
nic_failed(const struct nic *nic)
{
	return nic->port->ops->failed != NULL && nic->port->ops->failed(nic->port);
}

const uint8_t *
nic_mac(const struct nic *nic)
{
	return nic->mac;
}

uint32_t
nic_mtu(const struct nic *nic)
{
	return nic->mtu;
}

unsigned int
nic_index(const struct nic *nic)
{
	return nic->index;
}

unsigned int
nic_port_queues(const struct nic *nic)
{
	return nic->port != NULL ? nic->opt.queues : 1;
}

unsigned int
nic_channels(const struct nic *nic)
{
	return nic->granted + 1;
}
