/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The VF's wire: a second port, whose far end a guest attaches as the VF. While the data path is
 * "VF", frames for the guest go there; what the guest sends there always counts, as on hardware.
 * Frames are held, never dropped: a path that is closed keeps them in the NIC's own port.
 */
#include <errno.h>
#include <stdio.h>

#include "netvsp.h"

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

/* Move frames until there are no more or the other port has no room. */
static unsigned int
move(struct port *from, struct port *to)
{
	static struct port_frame frames[NIC_BURST];
	unsigned int n = from->ops->peek(from, frames, NIC_BURST), done = 0;

	while (done < n && to->ops->push(to, &frames[done]))
		done++;
	if (done != 0)
		from->ops->release(from, done);
	return done;
}

unsigned int
vf_leg_poll(struct nic *nic)
{
	unsigned int to = 0, from;

	if (nic->leg == NULL)
		return 0;
	if (nic->path_vf && nic->link_up && !nic->hold_rx && !nic->leg_cut)
		to = move(nic->port, nic->leg);
	from = nic->leg_cut ? 0 : move(nic->leg, nic->port);
	nic->leg_to_guest += to;
	nic->leg_from_guest += from;
	return to + from + nic->leg->ops->flush(nic->leg);
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
