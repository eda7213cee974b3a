/* SPDX-License-Identifier: BSD-3-Clause */
/* Signals between guest and host, and the slices of work they stand for. */
#include <unistd.h>

#include "vmbus_host.h"

void
channel_doorbell(struct vchan *c)
{
	c->pub.doorbells++;
	if (c->credits > 0) {
		c->credits--;
		return;
	}
	/* No room was waited for and the mask was set all the time: nothing explains this signal. */
	c->pub.superfluous++;
	host_violation(c->pub.part, "ring.signal-superfluous", NULL, 0,
		       "channel %u was signalled although its mask is set", c->pub.relid);
}

uint32_t
vmbus_signal_event(struct partition *part, uint32_t conn_id)
{
	struct vmbus *v = part->vmbus;

	for (uint32_t i = 1; i <= v->relid_top; i++) {
		struct vchan *c = v->by_relid[i];

		if (c == NULL || c->pub.conn_id != conn_id)
			continue;
		if (c->pub.open)
			channel_doorbell(c);
		return HV_STATUS_SUCCESS;
	}
	host_violation(part, "vmu.signal-unknown", NULL, 0, "signal for connection %#x", conn_id);
	return HV_STATUS_INVALID_CONNECTION_ID;
}

/* The guest's doorbells in the monitor page: read and cleared in one step. */
static unsigned int
poll_monitor(struct partition *part)
{
	struct vmbus *v = part->vmbus;
	struct vmbus_monitor_page *page;
	unsigned int n = 0;

	if (v->monitor_c2p == 0)
		return 0;
	page = guest_addr(part, v->monitor_c2p, HV_PAGE_SIZE, true);
	if (page == NULL)
		return 0;
	for (unsigned int g = 0; g < 4; g++) {
		uint32_t *word = &page->group[g].pending, bits;

		if (__atomic_load_n(word, __ATOMIC_RELAXED) == 0)
			continue;
		/* Acquire: what the guest wrote before it rang is seen by the slice that follows. */
		bits = __atomic_exchange_n(word, 0, __ATOMIC_ACQ_REL);
		for (; bits != 0; bits &= bits - 1, n++) {
			unsigned int id = g * 32 + (unsigned int)__builtin_ctz(bits);
			struct vchan *c = v->by_monitor[id];

			if (c != NULL && c->pub.open)
				channel_doorbell(c);
			/*
			 * Linux releases a rescinded channel while a user of uio_hv_generic still
			 * polls it: that one's last doorbell may come after the release.
			 */
			else if (c == NULL && !v->monitor_used[id])
				host_violation(part, "monitor.unknown", NULL, 0,
					       "monitor id %u belongs to no channel", id);
		}
	}
	return n;
}

unsigned int
vmbus_poll(struct partition *part)
{
	struct vmbus *v = part->vmbus;
	unsigned int work = poll_monitor(part);

	for (uint32_t i = 1; i <= v->relid_top; i++) {
		struct vchan *c = v->by_relid[i];

		if (c == NULL || !c->pub.open || c->pub.failed)
			continue;
		work += c->pub.vdev->ops->poll(&c->pub);
		/* The slice may have ended in a rescind: look again before touching the ring. */
		if (v->by_relid[i] == c && c->pub.open && c->pub.tx.hdr->pending_send != 0)
			c->credits++;
	}
	return work;
}

bool
vmbus_unmask(struct partition *part)
{
	struct vmbus *v = part->vmbus;
	bool idle = true;

	for (uint32_t i = 1; i <= v->relid_top; i++) {
		struct vchan *c = v->by_relid[i];

		if (c == NULL || !c->pub.open || c->pub.failed)
			continue;
		c->credits++;
		c->masked = false;
		if (vmbus_ring_rx_unmask(&c->pub.rx))
			idle = false;
	}
	return idle;
}

void
vmbus_mask(struct partition *part)
{
	struct vmbus *v = part->vmbus;

	for (uint32_t i = 1; i <= v->relid_top; i++) {
		struct vchan *c = v->by_relid[i];

		if (c != NULL && c->pub.open && !c->masked) {
			vmbus_ring_rx_mask(&c->pub.rx);
			c->masked = true;
		}
	}
}

unsigned int
vmbus_open_channels(const struct partition *part)
{
	unsigned int n = 0;

	for (uint32_t i = 1; i <= part->vmbus->relid_top; i++)
		if (part->vmbus->by_relid[i] != NULL && part->vmbus->by_relid[i]->pub.open)
			n++;
	return n;
}

void
channel_signal(struct channel *chan)
{
	struct vchan *c = (struct vchan *)chan;
	struct vmu_event ev = { .vp = chan->target_vp, .sint = VMBUS_SINT, .flag = chan->relid };
	uint64_t one = 1;

	if (!chan->open || chan->target_vp == VMBUS_VP_NONE)
		return;
	chan->interrupts++;
	if (c->event_fd < 0)
		out_send(chan->part, VMU_SINT_EVENT, 0, &ev, sizeof(ev), -1, 0);
	else if (write(c->event_fd, &one, sizeof(one)) < 0)
		return; /* full: the guest has a signal to read already */
}

void
channel_fail(struct channel *chan)
{
	chan->failed = true;
}
