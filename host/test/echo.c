/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device class for tests of the bus alone: it sends every packet back as it came. Stands in
 * for netvsp/ behind the nic_*() functions of host.h.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"

struct nic {
	struct vdev vdev;
	unsigned int index;
	uint64_t packets;
	bool attached;
};

static int
echo_open(struct channel *chan)
{
	(void)chan;
	return 0;
}

static void
echo_close(struct channel *chan)
{
	(void)chan;
}

static unsigned int
echo_poll(struct channel *chan)
{
	struct nic *nic = chan->vdev->priv;
	struct vmbus_ring_pkt pkt;
	uint8_t scratch[4096];
	unsigned int n = 0;
	bool signal;
	int rc = 0;

	while (n < 32 && !chan->asleep &&
	       (rc = vmbus_ring_rx_peek(&chan->rx, &pkt, scratch, sizeof(scratch))) != 0) {
		if (rc == -EIO)
			break;
		if (rc == 1 && vmbus_ring_tx_put(&chan->tx, pkt.type, pkt.flags, pkt.tid, NULL, 0,
						 pkt.body, pkt.len - 16) == -EAGAIN) {
			channel_wait_room(chan, pkt.len);
			break;
		}
		if (chan->blocked)
			channel_wait_room(chan, 0);
		vmbus_ring_rx_release(&chan->rx, &pkt);
		nic->packets++;
		n++;
	}
	if (rc == -EIO) {
		host_violation(chan->part, "ring.corrupt", chan->rx.hdr, RING_HDR_SHOWN,
			       "channel %u", chan->relid);
		channel_fail(chan);
		return 0;
	}
	signal = vmbus_ring_tx_publish(&chan->tx);
	if (vmbus_ring_rx_publish(&chan->rx) || signal)
		channel_signal(chan);
	return n;
}

static void
echo_reset(struct vdev *vdev)
{
	(void)vdev;
}

static const struct vsp_ops echo_ops = {
	.open = echo_open,
	.close = echo_close,
	.poll = echo_poll,
	.reset = echo_reset,
};

struct nic *
nic_create(unsigned int index, const char *text)
{
	struct nic *nic = calloc(1, sizeof(*nic));

	(void)text;
	if (nic != NULL)
		nic->index = index;
	return nic;
}

void
nic_destroy(struct nic *nic)
{
	free(nic);
}

void
nic_help(void)
{
	puts("the echo class has no keys");
}

int
nic_start(struct nic *nic, struct nic *const all[], unsigned int n)
{
	(void)nic;
	(void)all;
	(void)n;
	return 0;
}

struct vdev *
nic_attach(struct nic *nic, struct partition *part)
{
	if (nic->attached)
		return NULL;
	nic->attached = true;
	nic->vdev = (struct vdev){
		.ops = &echo_ops, .part = part, .class_id = VMBUS_CLASS_NIC, .priv = nic
	};
	nic->vdev.instance_id.b[0] = (uint8_t)(nic->index + 1);
	return &nic->vdev;
}

void
nic_detach(struct vdev *vdev)
{
	((struct nic *)vdev->priv)->attached = false;
}

unsigned int
nic_poll(struct nic *nic)
{
	(void)nic;
	return 0;
}

int
nic_command(struct nic *nic, const char *cmd, json_t *request, json_t *reply)
{
	(void)reply;
	if (strcmp(cmd, "subs") != 0)
		return -ENOENT;
	return channel_offer_subs(&nic->vdev,
				  (unsigned int)json_integer_value(json_object_get(request, "n")));
}

json_t *
nic_stats(struct nic *nic)
{
	return json_pack("{s:I}", "packets", (json_int_t)nic->packets);
}

bool
nic_failed(const struct nic *nic)
{
	(void)nic;
	return false;
}
