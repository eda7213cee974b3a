/* SPDX-License-Identifier: BSD-3-Clause */
/* What went by way of VFs: of the one that runs, and of those before it. */
#include <string.h>

#include "hvn_telemetry.h"
#include "hvn_vf.h"

#define STATS_MS 1000

static void
add(struct rte_eth_stats *to, const struct rte_eth_stats *s, const struct rte_eth_stats *base)
{
	to->ipackets += s->ipackets - base->ipackets;
	to->opackets += s->opackets - base->opackets;
	to->ibytes += s->ibytes - base->ibytes;
	to->obytes += s->obytes - base->obytes;
	to->imissed += s->imissed - base->imissed;
	to->ierrors += s->ierrors - base->ierrors;
	to->oerrors += s->oerrors - base->oerrors;
	to->rx_nombuf += s->rx_nombuf - base->rx_nombuf;
	for (unsigned int i = 0; i < RTE_ETHDEV_QUEUE_STAT_CNTRS; i++) {
		to->q_ipackets[i] += s->q_ipackets[i] - base->q_ipackets[i];
		to->q_opackets[i] += s->q_opackets[i] - base->q_opackets[i];
		to->q_ibytes[i] += s->q_ibytes[i] - base->q_ibytes[i];
		to->q_obytes[i] += s->q_obytes[i] - base->q_obytes[i];
		to->q_errors[i] += s->q_errors[i] - base->q_errors[i];
	}
}

void
hvn_vf_stats_add(struct hvn_port *p, struct rte_eth_stats *stats)
{
	static const struct rte_eth_stats none;
	struct hvn_vf *vf = p->vf;
	struct rte_eth_stats s;

	/* The VF must not go while it is asked; not even a process that was stopped is waited for long. */
	if (vf == NULL || hvn_lock_wait(&vf->stats_lock, STATS_MS) == HVN_LOCK_NO)
		return;
	add(stats, &vf->past, &none);
	if (vf->counting && rte_eth_stats_get(vf->port, &s) == 0)
		add(stats, &s, &vf->base);
	hvn_lock_release(&vf->stats_lock);
}

void
hvn_vf_stats_end(struct hvn_vf *vf)
{
	struct rte_eth_stats s;
	bool locked;

	/* First, as whoever asks for statistics: a VF that is a port of ours takes it too. */
	hvn_telemetry_lock();
	locked = hvn_lock_wait(&vf->stats_lock, STATS_MS) != HVN_LOCK_NO;
	if (vf->counting && rte_eth_stats_get(vf->port, &s) == 0)
		add(&vf->past, &s, &vf->base);
	vf->counting = false;
	if (locked)
		hvn_lock_release(&vf->stats_lock);
	hvn_telemetry_unlock();
}

void
hvn_vf_stats_reset(struct hvn_port *p)
{
	struct hvn_vf *vf = p->vf;

	if (vf == NULL || hvn_lock_wait(&vf->stats_lock, STATS_MS) == HVN_LOCK_NO)
		return;
	memset(&vf->past, 0, sizeof(vf->past));
	if (vf->counting)
		rte_eth_stats_get(vf->port, &vf->base);
	hvn_lock_release(&vf->stats_lock);
}
