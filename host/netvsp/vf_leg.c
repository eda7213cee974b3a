/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The VF's wire: a second port, whose far end a guest attaches as the VF. While the data path is
 * "VF", frames for the guest go there; what the guest sends there always counts, as on hardware.
 * Frames are held, not dropped: a path that is closed keeps them in the NIC's own port. What was on its
 * way to a VF that has gone is lost.
 */
#include <errno.h>
#include <stdio.h>

#include "netvsp.h"

#define SETTLE_NS UINT64_C(1000000000) /* for what the VF has no room for: a guest may be slow */
#define TURN_NS	  UINT64_C(1000000)
#define DRAIN_MAX (64u * NIC_BURST) /* frames, more than any VF's ring holds */

int
vf_leg_create(struct nic *nic)
{
	return nic->opt.vf_leg[0] == '\0' ? 0 : port_create(nic, nic->opt.vf_leg, &nic->leg);
}

void
vf_leg_destroy(struct nic *nic)
{
	if (nic->leg != NULL)
		nic->leg->ops->destroy(nic->leg);
	nic->leg = NULL;
}

/* Frames for the guest, to the queue that their channel would have, until the leg has no room. */
static unsigned int
to_guest(struct nic *nic)
{
	static struct port_frame frames[NIC_BURST];
	unsigned int n = nic->port->ops->peek(nic->port, frames, NIC_BURST), done = 0;

	for (; done < n; done++) {
		frames[done].queue = (uint16_t)rx_channel_of(nic, &frames[done]);
		if (!nic->leg->ops->push(nic->leg, &frames[done]))
			break;
	}
	if (done != 0)
		nic->port->ops->release(nic->port, done);
	nic->leg_to_guest += done;
	return done;
}

/* As much as the port takes at once; *left: there is more, or may be. */
static unsigned int
from_guest(struct nic *nic, bool *left)
{
	static struct port_frame frames[NIC_BURST];
	unsigned int n = nic->leg->ops->peek(nic->leg, frames, NIC_BURST), done = 0;

	while (done < n && nic->port->ops->push(nic->port, &frames[done]))
		done++;
	if (done != 0)
		nic->leg->ops->release(nic->leg, done);
	nic->leg_from_guest += done;
	*left = n != 0;
	return done;
}

bool
vf_leg_drain(struct nic_queue *q, uint32_t *end)
{
	struct nic *nic = q->nic;
	bool left = nic->leg_live && !nic->leg_cut;

	if (left && q->leg_until == 0) {
		q->leg_until = nic->leg_from_guest + DRAIN_MAX;
		q->leg_end = q->chan->rx.peer;
	}
	*end = q->chan->rx.peer;
	while (left && nic->leg_from_guest < q->leg_until && from_guest(nic, &left) != 0)
		;
	if (left && nic->leg_from_guest < q->leg_until)
		return false;
	/* What was sent before those packets has come; the VF may go on for ever. */
	if (left)
		*end = q->leg_end;
	/* The ring may have more than is read at once: those wait no longer for the VF. */
	if (!left || q->chan->rx.index == q->leg_end)
		q->leg_until = 0;
	return true;
}

bool
vf_leg_settling(struct nic *nic)
{
	uint64_t now, passed;

	if (nic->leg_patience == 0)
		return false;
	if (nic->path_vf || nic->leg->ops->unsent == NULL || nic->leg->ops->unsent(nic->leg) == 0) {
		nic->leg_patience = 0;
		return false;
	}
	if (nic->leg_cut || !nic->leg_live)
		nic->leg_patience = 0;
	/* Time in which this process does not run is not the guest's fault. */
	now = host_now();
	passed = now - nic->leg_seen < TURN_NS ? now - nic->leg_seen : TURN_NS;
	nic->leg_seen = now;
	nic->leg_patience -= passed < nic->leg_patience ? passed : nic->leg_patience;
	if (nic->leg_patience != 0)
		return true;
	/* The VF never took them: by the next one they would come late. */
	nic->leg->ops->discard(nic->leg);
	return false;
}

unsigned int
vf_leg_poll(struct nic *nic)
{
	unsigned int n = 0;
	bool left;

	if (nic->leg == NULL || nic->leg_cut || !nic->leg_live)
		return 0;
	if (nic->path_vf)
		nic->leg_patience = SETTLE_NS;
	if (nic->path_vf && nic->link_up && !nic->hold_rx)
		n += to_guest(nic);
	n += from_guest(nic, &left);
	return n + nic->leg->ops->flush(nic->leg);
}

/* The VF's cable: cut without a word to the guest, and mended. */
int
vf_leg_cut(struct nic *nic, bool cut)
{
	int rc;

	if (nic->leg == NULL || nic->leg->ops->command == NULL)
		return -ENODEV;
	rc = nic->leg->ops->command(nic->leg, cut ? "cut" : "mend", NULL, NULL);
	if (rc == 0)
		nic->leg_cut = cut;
	return rc;
}
