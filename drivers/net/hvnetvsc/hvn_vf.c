/* SPDX-License-Identifier: BSD-3-Clause */
/* Execute the failover state machine. */
#include <errno.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_malloc.h>

#include "hvn_ctrl.h"
#include "hvn_flow.h"
#include "hvn_nvsp.h"
#include "hvn_path_inline.h"
#include "hvn_vf.h"

#define ACTIONS_MAX  64 /* in one run: more than the longest way from path to path */
#define CLOSE_MS     5000
#define LOOK_MS	     100 /* between two looks for a device */
#define LINK_MS	     5	 /* ... and at the link of a VF that carries traffic */
#define RETRY_MIN_MS 50
#define RETRY_MAX_MS 5000

int
hvn_vf_create(struct hvn_port *p)
{
	struct hvn_vf *vf = rte_zmalloc("hvn_vf", sizeof(*vf), 0);

	if (vf == NULL)
		return -ENOMEM;
	vf->p = p;
	vf->port = RTE_MAX_ETHPORTS;
	rte_spinlock_init(&vf->lock);
	hvn_path_init(&vf->path);
	TAILQ_INIT(&vf->flows);
	if (rte_eth_dev_owner_new(&vf->owner) != 0) {
		rte_free(vf);
		return -ENOMEM;
	}
	p->vf = vf;
	return 0;
}

/* Somebody waits for it: what failed is tried again soon, however often it has failed. */
static void
run_soon(struct hvn_port *p)
{
	uint64_t soon = hvn_vf_now() + RETRY_MIN_MS * HVN_NS_PER_MS;

	rte_delay_us_sleep(1000);
	if (p->vf->retry_at > soon)
		p->vf->retry_at = soon;
	hvn_vf_run(p);
}

void
hvn_vf_close(struct hvn_port *p)
{
	uint64_t end = hvn_vf_now() + CLOSE_MS * HVN_NS_PER_MS;

	if (p->vf == NULL)
		return;
	hvn_vf_event(p, HVN_EV_CLOSE);
	hvn_vf_run(p);
	while (p->vf->path.attached && !hvn_process_stopped(p->vf->stopped) && hvn_vf_now() < end)
		run_soon(p);
	if (p->vf->path.attached)
		HVN_LOG(ERR, "port %u: a burst is still inside VF %u, which is left as it is",
			p->port_id, p->vf->port);
}

void
hvn_vf_destroy(struct hvn_port *p)
{
	struct hvn_vf *vf = p->vf;

	if (vf == NULL)
		return;
	if (vf->port != RTE_MAX_ETHPORTS)
		hvn_vf_unwatch(vf);
	hvn_vf_unclaim(vf);
	hvn_flow_free(vf);
	hvn_vf_args_free(&vf->kept);
	rte_free(vf->mc);
	p->vf = NULL;
	rte_free(vf);
}

void
hvn_vf_event(struct hvn_port *p, enum hvn_path_event ev)
{
	struct hvn_vf *vf = p->vf;
	unsigned int n = 0;

	if (vf == NULL)
		return;
	/* Facts are idempotent: of each the newest counts, so that a flood of them finds room. */
	rte_spinlock_lock(&vf->lock);
	for (unsigned int i = 0; i < vf->n_events; i++)
		if (vf->events[i] != ev)
			vf->events[n++] = vf->events[i];
	vf->events[n++] = (uint8_t)ev;
	vf->n_events = n;
	rte_spinlock_unlock(&vf->lock);
	hvn_ctrl_kick(p);
}

void
hvn_vf_session(struct hvn_port *p)
{
	p->vf->fresh = true;
	p->vf->assoc = false;
	hvn_vf_event(p, HVN_EV_UNASSOC);
}

void
hvn_vf_known(struct hvn_port *p)
{
	struct hvn_vf *vf = p->vf;

	if (!rte_is_zero_ether_addr(&vf->mac))
		return;
	vf->mac = p->mac;
	hvn_vf_claim(vf);
}

void
hvn_vf_assoc(struct hvn_port *p, bool allocated, uint32_t serial)
{
	struct hvn_vf *vf = p->vf;
	bool other;

	if (vf == NULL)
		return;
	HVN_LOG(NOTICE, "port %u: the host %s VF serial %u", p->port_id,
		allocated ? "associates" : "withdraws", serial);
	other = vf->assoc && allocated && serial != vf->serial;
	vf->assoc = allocated;
	if (allocated)
		vf->serial = serial;
	vf->look_at = 0;
	vf->told = false;
	/* It keeps the path over a close, so the old one may be in force. */
	if (vf->fresh && allocated)
		hvn_vf_event(p, HVN_EV_OPEN);
	vf->fresh = false;
	hvn_vf_event(p, !allocated ? HVN_EV_UNASSOC : other ? HVN_EV_ASSOC_OTHER : HVN_EV_ASSOC);
}

/* --- actions -------------------------------------------------------------------------------------- */

/* Ask the host, wait for its completion, and say what came. */
static void
switch_path(struct hvn_vf *vf, enum hvn_path_action act)
{
	bool to_vf = act == HVN_ACT_SWITCH_VF;
	int rc;

	if (vf->leaving == 0)
		vf->leaving = hvn_vf_now();
	if (to_vf)
		hvn_vf_queues_order(vf->p, HVN_RING_FIRST);
	else
		hvn_vf_queues_unsaid(vf->p);
	rc = hvn_nvsp_switch_data_path(vf->p, to_vf ? NVSP_PATH_VF : NVSP_PATH_SYNTHETIC);
	if (rc != 0 && rc != -ETIMEDOUT) {
		vf->count.failed++;
		hvn_path_done(&vf->path, act, rc);
		return;
	}
	hvn_path_done(&vf->path, act, 0);
	hvn_path_event(&vf->path, rc == 0 ? HVN_EV_SWITCHED : HVN_EV_SWITCH_TIMEOUT);
	if (rc != 0) {
		vf->count.failed++;
		HVN_LOG(WARNING, "port %u: the host did not confirm the switch to the %s path",
			vf->p->port_id, to_vf ? "VF" : "synthetic");
		return;
	}
	vf->count.last_ns = hvn_vf_now() - vf->leaving;
	if (vf->count.last_ns > vf->count.longest_ns)
		vf->count.longest_ns = vf->count.last_ns;
	vf->leaving = 0;
	if (to_vf)
		vf->count.to_vf++;
	else
		vf->count.to_synthetic++;
	HVN_LOG(NOTICE, "port %u: data path switched to %s in %" PRIu64 " us", vf->p->port_id,
		to_vf ? "VF" : "synthetic", vf->count.last_ns / 1000);
}

static void
turn_tx_off(struct hvn_vf *vf)
{
	const struct hvn_path *path = &vf->path;
	bool there = path->present && !path->stale;
	/* The host or the application wanted it; a host turns first, and withdraws the VF then. */
	bool planned = there && !path->recovering && !path->no_link;

	vf->leaving = hvn_vf_now();
	vf->alien_at = NULL;
	if (planned)
		vf->count.planned++;
	else
		vf->count.surprise++;
	if (there && vf->p->running)
		hvn_vf_queues_tx_back(vf->p);
	hvn_vf_queues_tx(vf->p, RTE_MAX_ETHPORTS);
}

static int
configure(struct hvn_vf *vf)
{
	int rc = hvn_vf_configure(vf);

	/* Its failures mean nothing if it has gone meanwhile: another may come in its place. */
	if (rc != 0 && rte_eth_dev_is_removed(vf->port) != 0) {
		hvn_path_event(&vf->path, HVN_EV_VANISH);
		rc = -EAGAIN;
	}
	vf->abandoned = false;
	vf->counting = rc == 0 && rte_eth_stats_get(vf->port, &vf->base) == 0;
	if (rc != 0 && rc != -EAGAIN) {
		vf->count.failed++;
		HVN_LOG(WARNING, "port %u: VF %u is not used: %s (%s)", vf->p->port_id, vf->port,
			vf->refusal, rte_strerror(-rc));
	}
	return rc;
}

static int
attach(struct hvn_vf *vf)
{
	int rc = hvn_vf_attach(vf);

	if (rc != 0 && rc != -EAGAIN)
		HVN_LOG(WARNING, "port %u: VF serial %u is not used: %s (%s)", vf->p->port_id,
			vf->serial, vf->refusal, rte_strerror(-rc));
	return rc;
}

static void
execute(struct hvn_vf *vf, enum hvn_path_action act)
{
	int rc = 0;

	switch (act) {
	case HVN_ACT_ATTACH:
		rc = attach(vf);
		break;
	case HVN_ACT_CONFIGURE:
		rc = configure(vf);
		break;
	case HVN_ACT_RX_ON:
		hvn_vf_queues_room(vf->p);
		hvn_vf_queues_rx(vf->p, vf->port);
		break;
	case HVN_ACT_TX_ON:
		hvn_vf_queues_order(vf->p, HVN_RING_TURNED);
		hvn_vf_queues_tx(vf->p, vf->port | HVN_TX_TO_VF);
		vf->changed = true;
		break;
	case HVN_ACT_TX_OFF:
		turn_tx_off(vf);
		vf->changed = true;
		break;
	case HVN_ACT_RX_OFF:
		/* A device that its driver resets is not to be asked for anything. */
		if (vf->path.present && !vf->path.stale && !vf->path.recovering &&
		    vf->path.started && vf->p->running)
			hvn_vf_queues_rx_off(vf);
		hvn_vf_queues_rx(vf->p, HVN_RX_LAST);
		vf->leaving = 0;
		break;
	case HVN_ACT_QUIESCE:
		rc = hvn_vf_queues_quiesce(vf);
		break;
	case HVN_ACT_STOP:
		/* Some drivers forget their counters when they stop. */
		hvn_vf_stats_end(vf);
		hvn_vf_stop(vf);
		break;
	case HVN_ACT_DETACH:
		hvn_vf_detach(vf);
		break;
	case HVN_ACT_SWITCH_VF:
	case HVN_ACT_SWITCH_SYN:
		switch_path(vf, act);
		return; /* reported there */
	default:
		return;
	}
	hvn_path_done(&vf->path, act, rc);
	if (act == HVN_ACT_CONFIGURE && rc == 0)
		vf->look_at = 0;
}

/* --- the engine ------------------------------------------------------------------------------- */

static void
apply(struct hvn_vf *vf)
{
	int rc = hvn_vf_apply(vf);

	if (rc == 0)
		return;
	vf->count.failed++;
	HVN_LOG(WARNING, "port %u: VF %u is not used any more: %s (%s)", vf->p->port_id, vf->port,
		vf->refusal, rte_strerror(-rc));
	hvn_vf_event(vf->p, HVN_EV_UNFIT);
}

static void
take_events(struct hvn_vf *vf)
{
	uint8_t events[HVN_EV_COUNT];
	unsigned int n;

	rte_spinlock_lock(&vf->lock);
	n = vf->n_events;
	memcpy(events, vf->events, n);
	vf->n_events = 0;
	rte_spinlock_unlock(&vf->lock);
	for (unsigned int i = 0; i < n; i++) {
		hvn_path_event(&vf->path, (enum hvn_path_event)events[i]);
		/* Changes made meanwhile did not reach it. */
		if (events[i] == HVN_EV_RECOVERED && vf->path.running && !vf->path.stale)
			apply(vf);
	}
}

/* A VF without a link carries nothing: it is kept, but not used, until the link is back. */
static void
look_at_link(struct hvn_vf *vf)
{
	struct rte_eth_link link;

	if (rte_eth_link_get_nowait(vf->port, &link) != 0 ||
	    (link.link_status == RTE_ETH_LINK_DOWN) == vf->path.no_link)
		return;
	hvn_path_event(&vf->path, vf->path.no_link ? HVN_EV_LINK_UP : HVN_EV_LINK_DOWN);
}

/* Devices come without telling us, and so do links. */
static void
look_around(struct hvn_vf *vf)
{
	if (hvn_vf_now() < vf->look_at)
		return;
	vf->look_at = hvn_vf_now() + (vf->path.running ? LINK_MS : LOOK_MS) * HVN_NS_PER_MS;
	if (vf->assoc && !vf->path.present && hvn_vf_look(vf) != -ENODEV)
		hvn_path_event(&vf->path, HVN_EV_APPEAR);
	if (!vf->path.running || vf->path.stale || vf->path.recovering)
		return;
	look_at_link(vf);
	if (vf->polled && rte_eth_dev_is_removed(vf->port) != 0)
		hvn_path_event(&vf->path, HVN_EV_VANISH);
}

/* Without end: some devices are ready only minutes after the host spoke of them. */
static uint32_t
retry_ms(const struct hvn_vf *vf)
{
	uint32_t ms = RETRY_MIN_MS << (vf->path.tries < 7 ? vf->path.tries : 7);

	return ms < RETRY_MAX_MS ? ms : RETRY_MAX_MS;
}

/* After how long there is something to do even if nobody wakes the control thread. */
static uint32_t
next_run(struct hvn_vf *vf)
{
	uint64_t now = hvn_vf_now();
	uint32_t ms = vf->path.running ? LINK_MS : vf->assoc ? LOOK_MS : 0;

	if (vf->retry_at != 0) {
		uint32_t left =
			vf->retry_at > now ? (uint32_t)((vf->retry_at - now) / HVN_NS_PER_MS) : 0;

		if (ms == 0 || left < ms)
			ms = left + 1;
	}
	return ms;
}

uint32_t
hvn_vf_run(struct hvn_port *p)
{
	struct hvn_vf *vf = p->vf;
	enum hvn_path_action act;

	if (vf == NULL)
		return 0;
	if (vf->retry_at != 0 && hvn_vf_now() >= vf->retry_at) {
		vf->retry_at = 0;
		hvn_path_event(&vf->path, HVN_EV_RETRY);
	}
	hvn_vf_clear(vf);
	for (unsigned int i = 0; i < ACTIONS_MAX; i++) {
		take_events(vf);
		look_around(vf);
		act = hvn_path_next(&vf->path);
		if (act == HVN_ACT_NONE || act == HVN_ACT_WAIT)
			break;
		if (act == HVN_ACT_RETRY) {
			if (vf->retry_at == 0)
				vf->retry_at = hvn_vf_now() + retry_ms(vf) * HVN_NS_PER_MS;
			break;
		}
		execute(vf, act);
	}
	return next_run(vf);
}

bool
hvn_vf_changed(struct hvn_port *p)
{
	bool changed = p->vf != NULL && p->vf->changed;

	if (changed)
		p->vf->changed = false;
	return changed;
}

void
hvn_vf_mirror(struct hvn_port *p)
{
	struct hvn_vf *vf = p->vf;

	if (vf != NULL && vf->path.running && !vf->path.stale && !vf->path.recovering)
		apply(vf);
}

void
hvn_vf_pause(struct hvn_port *p)
{
	uint64_t end = hvn_vf_now() + CLOSE_MS * HVN_NS_PER_MS;

	hvn_vf_event(p, HVN_EV_STOP);
	hvn_vf_run(p);
	/* Its queues are about to be freed: bursts of others that are inside of it are waited for. */
	while (p->vf != NULL && p->vf->path.running && !hvn_process_stopped(p->vf->stopped) &&
	       hvn_vf_now() < end)
		run_soon(p);
}

void
hvn_vf_resume(struct hvn_port *p)
{
	if (p->want_link_up)
		hvn_vf_event(p, HVN_EV_START);
}
