/* SPDX-License-Identifier: BSD-3-Clause */
#include "hvn_path.h"

#include <errno.h>
#include <string.h>

void
hvn_path_init(struct hvn_path *p)
{
	memset(p, 0, sizeof(*p));
	p->host = HVN_HOST_SYN;
	p->in_flight = HVN_ACT_NONE;
}

/* Something about the VF changed: what was held against the old one no longer counts. */
static void
forget_failures(struct hvn_path *p)
{
	p->refused = false;
	p->backoff = false;
	p->tries = 0;
}

static void
try_later(struct hvn_path *p)
{
	p->backoff = true;
	if (p->tries < UINT8_MAX)
		p->tries++;
}

/* A device that appears is another one, whatever was said of this. */
static void
device_gone(struct hvn_path *p)
{
	p->present = false;
	p->recovering = false;
	p->no_link = false;
	p->stale = p->attached;
	forget_failures(p);
}

static void
host_took_path_back(struct hvn_path *p)
{
	/* The completion of a switch in flight may have been sent before or after this notice. */
	p->doubt = p->in_flight == HVN_ACT_SWITCH_VF;
	/*
	 * Synthetic, then; but before the VF is given up, the host says that it is done with it: its
	 * answer to a request comes when all that was sent by way of the VF has arrived.
	 */
	p->host = p->host_gone ? HVN_HOST_SYN : HVN_HOST_UNKNOWN;
	/* Its back end failed, or it is about to remove the VF: asking at once would only flap. */
	try_later(p);
}

static void
switch_completed(struct hvn_path *p)
{
	if (p->in_flight == HVN_ACT_SWITCH_VF)
		p->host = p->doubt ? HVN_HOST_UNKNOWN : HVN_HOST_VF;
	else if (p->in_flight == HVN_ACT_SWITCH_SYN)
		p->host = HVN_HOST_SYN;
	else
		return;
	if (!p->doubt)
		p->tries = 0;
	p->doubt = false;
	p->in_flight = HVN_ACT_NONE;
}

/*
 * No answer, or the request could not be sent. Towards the VF: again later, traffic is safe on
 * the synthetic path. Back: traffic is there already, so a host that never answers must not
 * hold the VF, or the closing of the port, for ever.
 */
static void
switch_failed(struct hvn_path *p, enum hvn_path_action act)
{
	try_later(p);
	if (act == HVN_ACT_SWITCH_VF)
		return;
	p->backoff = false;
	if (p->tries >= HVN_PATH_TRIES) {
		p->host = HVN_HOST_SYN;
		p->tries = 0;
	}
}

static void
switch_timed_out(struct hvn_path *p)
{
	enum hvn_path_action act = p->in_flight;

	if (act == HVN_ACT_NONE)
		return;
	p->in_flight = HVN_ACT_NONE;
	p->doubt = false;
	p->host = HVN_HOST_UNKNOWN;
	switch_failed(p, act);
}

void
hvn_path_event(struct hvn_path *p, enum hvn_path_event ev)
{
	switch (ev) {
	case HVN_EV_START:
		p->started = true;
		p->closing = false;
		/* A VF that did not fit may fit the new configuration. */
		forget_failures(p);
		break;
	case HVN_EV_STOP:
		p->started = false;
		p->outdated = p->running;
		break;
	case HVN_EV_CLOSE:
		p->started = false;
		p->closing = true;
		break;
	case HVN_EV_OPEN:
		/* A host keeps the data path over a re-open: state what is wanted. */
		p->host_gone = false;
		p->closing = false;
		p->in_flight = HVN_ACT_NONE;
		p->doubt = false;
		p->host = HVN_HOST_UNKNOWN;
		forget_failures(p);
		break;
	case HVN_EV_ASSOC:
		p->assoc = true;
		forget_failures(p);
		break;
	case HVN_EV_ASSOC_OTHER:
		p->assoc = true;
		device_gone(p);
		break;
	case HVN_EV_UNASSOC:
		p->assoc = false;
		forget_failures(p);
		break;
	case HVN_EV_APPEAR:
		p->present = true;
		forget_failures(p);
		break;
	case HVN_EV_VANISH:
		device_gone(p);
		break;
	case HVN_EV_RECOVERING:
		p->recovering = p->attached && !p->stale;
		break;
	case HVN_EV_RECOVERED:
		p->recovering = false;
		forget_failures(p);
		break;
	case HVN_EV_LINK_DOWN:
		p->no_link = p->running && !p->stale;
		break;
	case HVN_EV_LINK_UP:
		p->no_link = false;
		break;
	case HVN_EV_UNFIT:
		p->refused = p->attached && !p->stale;
		break;
	case HVN_EV_HOST_SYNTHETIC:
		host_took_path_back(p);
		break;
	case HVN_EV_HOST_GONE:
		p->host_gone = true;
		p->assoc = false;
		p->in_flight = HVN_ACT_NONE;
		p->doubt = false;
		p->host = HVN_HOST_SYN;
		forget_failures(p);
		break;
	case HVN_EV_SWITCHED:
		switch_completed(p);
		break;
	case HVN_EV_SWITCH_TIMEOUT:
		switch_timed_out(p);
		break;
	case HVN_EV_RETRY:
		p->backoff = false;
		break;
	case HVN_EV_COUNT:
		break;
	}
}

bool
hvn_path_wanted(const struct hvn_path *p)
{
	return p->started && !p->closing && !p->host_gone && p->assoc && p->present && !p->stale &&
	       !p->outdated && !p->recovering && !p->no_link && !p->refused;
}

static enum hvn_path_action
next_towards_vf(const struct hvn_path *p)
{
	if (p->tx_on && p->host != HVN_HOST_VF)
		return HVN_ACT_TX_OFF;
	if (p->in_flight != HVN_ACT_NONE)
		return HVN_ACT_WAIT;
	if (p->backoff)
		return HVN_ACT_RETRY;
	if (!p->attached)
		return HVN_ACT_ATTACH;
	if (!p->running)
		return HVN_ACT_CONFIGURE;
	if (!p->rx_on)
		return HVN_ACT_RX_ON;
	if (p->host != HVN_HOST_VF)
		return HVN_ACT_SWITCH_VF;
	if (!p->tx_on)
		return HVN_ACT_TX_ON;
	return HVN_ACT_NONE;
}

static enum hvn_path_action
next_towards_synthetic(const struct hvn_path *p)
{
	bool keep = p->present && p->assoc && !p->stale && !p->closing && !p->refused;

	if (p->tx_on)
		return HVN_ACT_TX_OFF;
	/* Frames that bursts are handing to the VF must be in its rings before the host turns. */
	if (p->turned && !p->backoff)
		return HVN_ACT_QUIESCE;
	if (p->in_flight != HVN_ACT_NONE)
		return HVN_ACT_WAIT;
	if (p->host != HVN_HOST_SYN)
		return HVN_ACT_SWITCH_SYN;
	if (p->rx_on)
		return HVN_ACT_RX_OFF;
	/* A burst that never ends keeps the VF's memory, not the host's path. */
	if (p->turned)
		return HVN_ACT_RETRY;
	/* A VF that recovers in place, has no link or waits for a start is kept; else it goes. */
	if (p->running && (!p->started || p->outdated || !keep))
		return HVN_ACT_STOP;
	if (p->attached && !keep)
		return HVN_ACT_DETACH;
	return HVN_ACT_NONE;
}

enum hvn_path_action
hvn_path_next(const struct hvn_path *p)
{
	return hvn_path_wanted(p) ? next_towards_vf(p) : next_towards_synthetic(p);
}

static void
step_failed(struct hvn_path *p, enum hvn_path_action act, int rc)
{
	switch (act) {
	case HVN_ACT_ATTACH:
	case HVN_ACT_CONFIGURE:
		if (rc == -EAGAIN)
			try_later(p);
		else
			p->refused = true;
		break;
	case HVN_ACT_SWITCH_VF:
	case HVN_ACT_SWITCH_SYN:
		switch_failed(p, act);
		break;
	case HVN_ACT_QUIESCE:
		/* Memory must not go while a burst may use it: try until it passes. */
		try_later(p);
		break;
	default:
		/* Turning a pointer, stopping and detaching cannot fail. */
		break;
	}
}

void
hvn_path_done(struct hvn_path *p, enum hvn_path_action act, int rc)
{
	if (rc != 0) {
		step_failed(p, act, rc);
		return;
	}
	switch (act) {
	case HVN_ACT_ATTACH:
		p->attached = true;
		p->tries = 0;
		break;
	case HVN_ACT_CONFIGURE:
		p->running = true;
		p->tries = 0;
		break;
	case HVN_ACT_RX_ON:
		p->rx_on = true;
		break;
	case HVN_ACT_TX_ON:
		p->tx_on = true;
		break;
	case HVN_ACT_SWITCH_VF:
	case HVN_ACT_SWITCH_SYN:
		p->in_flight = act;
		p->doubt = false;
		break;
	case HVN_ACT_TX_OFF:
		p->tx_on = false;
		p->turned = true;
		break;
	case HVN_ACT_RX_OFF:
		p->rx_on = false;
		p->turned = true;
		break;
	case HVN_ACT_QUIESCE:
		p->turned = false;
		p->backoff = false;
		p->tries = 0;
		break;
	case HVN_ACT_STOP:
		p->running = false;
		p->outdated = false;
		/* The link shows again when it runs. */
		p->no_link = false;
		break;
	case HVN_ACT_DETACH:
		p->attached = false;
		p->recovering = false;
		p->stale = false;
		break;
	default:
		break;
	}
}

const char *
hvn_path_event_name(enum hvn_path_event ev)
{
	static const char *const name[HVN_EV_COUNT] = {
		[HVN_EV_START] = "start",
		[HVN_EV_STOP] = "stop",
		[HVN_EV_CLOSE] = "close",
		[HVN_EV_OPEN] = "open",
		[HVN_EV_ASSOC] = "associated",
		[HVN_EV_ASSOC_OTHER] = "another associated",
		[HVN_EV_UNASSOC] = "association withdrawn",
		[HVN_EV_APPEAR] = "device appeared",
		[HVN_EV_VANISH] = "device vanished",
		[HVN_EV_RECOVERING] = "recovering",
		[HVN_EV_RECOVERED] = "recovered",
		[HVN_EV_LINK_DOWN] = "VF link down",
		[HVN_EV_LINK_UP] = "VF link up",
		[HVN_EV_UNFIT] = "VF does not fit any more",
		[HVN_EV_HOST_SYNTHETIC] = "host switched to synthetic",
		[HVN_EV_HOST_GONE] = "host gone",
		[HVN_EV_SWITCHED] = "switch completed",
		[HVN_EV_SWITCH_TIMEOUT] = "switch timed out",
		[HVN_EV_RETRY] = "retry",
	};

	return (unsigned int)ev < HVN_EV_COUNT ? name[ev] : "unknown";
}

const char *
hvn_path_action_name(enum hvn_path_action act)
{
	static const char *const name[HVN_ACT_COUNT] = {
		[HVN_ACT_NONE] = "none",
		[HVN_ACT_WAIT] = "wait",
		[HVN_ACT_RETRY] = "retry later",
		[HVN_ACT_ATTACH] = "attach",
		[HVN_ACT_CONFIGURE] = "configure",
		[HVN_ACT_RX_ON] = "receive on",
		[HVN_ACT_SWITCH_VF] = "switch to VF",
		[HVN_ACT_TX_ON] = "transmit on",
		[HVN_ACT_TX_OFF] = "transmit off",
		[HVN_ACT_SWITCH_SYN] = "switch to synthetic",
		[HVN_ACT_RX_OFF] = "receive off",
		[HVN_ACT_QUIESCE] = "quiesce",
		[HVN_ACT_STOP] = "stop",
		[HVN_ACT_DETACH] = "detach",
	};

	return (unsigned int)act < HVN_ACT_COUNT ? name[act] : "unknown";
}
