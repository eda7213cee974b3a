/* SPDX-License-Identifier: BSD-3-Clause */
/* The control thread of a port. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_lcore.h>
#include <rte_malloc.h>

#include "hvn_ctrl_state.h"
#include "hvn_ext.h"
#include "hvn_link.h"
#include "hvn_nvsp.h"
#include "hvn_recover.h"
#include "hvn_session.h"
#include "hvn_tx_hold.h"
#include "hvn_vf.h"

#define IDLE_MS	   20	/* between two looks at the channels */
#define AGAIN_MS   100	/* between two tries to recover, */
#define RECOVER_MS 1000 /* and two recoveries: a host may break every session at once */

void
hvn_ctrl_lock(struct hvn_port *p)
{
	while (!rte_spinlock_recursive_trylock(&p->ctrl_lock))
		rte_delay_us_sleep(20);
}

void
hvn_ctrl_unlock(struct hvn_port *p)
{
	rte_spinlock_recursive_unlock(&p->ctrl_lock);
}

void
hvn_ctrl_kick(struct hvn_port *p)
{
	const uint64_t one = 1;

	/* The descriptor means nothing in a secondary: there the thread's own period must do. */
	if (p->ctrl != NULL && rte_eal_process_type() == RTE_PROC_PRIMARY &&
	    write(p->ctrl->wake_fd, &one, sizeof(one)) < 0)
		return;
}

void
hvn_ctrl_tell_removed(struct hvn_port *p)
{
	if (p->ctrl == NULL)
		return;
	/* Release: that it is removed, for the callback that is then called. */
	__atomic_store_n(&p->ctrl->tell_removed, true, __ATOMIC_RELEASE);
	hvn_ctrl_kick(p);
}

void
hvn_ctrl_channel_gone(struct hvn_port *p)
{
	if (p->ctrl == NULL)
		return;
	/* Release: what the bus has noted of its channels. */
	__atomic_store_n(&p->ctrl->channel_gone, true, __ATOMIC_RELEASE);
	hvn_ctrl_kick(p);
}

/* --- the thread --------------------------------------------------------------------------------------- */

/* Relaxed, and so is its store: whoever sets it joins this thread, or is this thread. */
static bool
stopped(const struct hvn_ctrl *c)
{
	return __atomic_load_n(&c->stop, __ATOMIC_RELAXED);
}

static void
tell(struct hvn_ctrl *c, enum rte_eth_event_type event)
{
	rte_eth_dev_callback_process(&rte_eth_devices[c->p->port_id], event, NULL);
}

static void
recover(struct hvn_ctrl *c)
{
	unsigned int ms = RECOVER_MS;
	int rc;

	c->recover = false;
	if (!c->recovering) {
		c->recovering = true;
		tell(c, RTE_ETH_EVENT_ERR_RECOVERING);
		if (stopped(c))
			return;
	}
	rc = hvn_recover(c->p);
	if (rc == -EAGAIN)
		ms = AGAIN_MS;
	c->recover_at = rte_get_timer_cycles() + ms * rte_get_timer_hz() / 1000;
	if (rc == -EAGAIN)
		return;
	c->recovering = false;
	hvn_link_renewed(c->p);
	if (stopped(c))
		return;
	tell(c, rc == 0 ? RTE_ETH_EVENT_RECOVERY_SUCCESS : RTE_ETH_EVENT_RECOVERY_FAILED);
}

/* Callbacks of the application may close the port: look at c only, and at stop, behind them. */
static void
dispatch(struct hvn_ctrl *c)
{
	struct hvn_ctrl_note n;

	for (unsigned int i = 0; i < HVN_CTRL_NOTES && !stopped(c) && hvn_ctrl_pop_note(c, &n);
	     i++) {
		if (n.kind == HVN_CTRL_RNDIS)
			hvn_link_indicate(c->p, n.data, n.len);
		else
			hvn_nvsp_notify(c->p, n.data, n.len);
	}
	/* Acquire, as of channel_gone below: see who sets them. */
	if (!stopped(c) && __atomic_exchange_n(&c->tell_removed, false, __ATOMIC_ACQUIRE))
		tell(c, RTE_ETH_EVENT_INTR_RMV);
	if (!stopped(c) && c->recover)
		recover(c);
	if (!stopped(c) && c->tell_path) {
		c->tell_path = false;
		hvn_link_path_changed(c->p);
	}
}

/* Bursts see a corrupt ring as an empty or a full one, and may not log. */
static void
tell_corrupt(struct hvn_chan *ch)
{
	if (ch->told_corrupt || (ch->vc->rx.error == 0 && ch->vc->tx.error == 0))
		return;
	ch->told_corrupt = true;
	HVN_LOG(ERR,
		"port %u: channel %u: the host wrote nonsense into the ring that it %s: nothing "
		"moves in it until the port is opened anew",
		ch->port->port_id, ch->index, ch->vc->rx.error != 0 ? "fills" : "empties");
}

/* Nobody may be polling: completions and notifications must not wait for that. */
static uint32_t
look_around(struct hvn_ctrl *c)
{
	struct hvn_port *p = c->p;
	uint32_t again = IDLE_MS, vf;

	if (!rte_spinlock_recursive_trylock(&p->ctrl_lock))
		return again; /* whoever has it scans */
	if (p->opened && !hvn_removed(p)) {
		/* A queue that is polled looks after its channel. */
		for (uint16_t i = 0; i < p->n_chans; i++)
			if (!p->running || hvn_ext_waiting(p->chan[i]) ||
			    hvn_chan_unpolled(p->chan[i]))
				hvn_chan_scan(p->chan[i]);
		for (uint16_t i = 0; i < p->n_chans; i++)
			hvn_tx_flush_old(p->chan[i]);
		for (uint16_t i = 0; i < p->n_chans; i++)
			tell_corrupt(p->chan[i]);
		if (__atomic_exchange_n(&c->channel_gone, false, __ATOMIC_ACQUIRE))
			hvn_session_lost(p);
		for (uint16_t i = 0; hvn_has_secondaries(p) && i < p->n_chans; i++)
			hvn_chan_rescue(p->chan[i]);
	}
	/* The application waits for the end of one that has begun, also if it has stopped the port. */
	c->recover = (c->recovering || (p->running && !hvn_removed(p) && hvn_session_broken(p))) &&
		     rte_get_timer_cycles() >= c->recover_at;
	vf = hvn_vf_run(p);
	c->tell_path |= hvn_vf_changed(p);
	hvn_ctrl_unlock(p);
	if (vf != 0 && vf < again)
		again = vf;
	/* Without the lock, by dispatch(). */
	return c->recover || c->tell_path ? 0 : again;
}

static void
ctrl_free(struct hvn_ctrl *c)
{
	if (c->wake_fd >= 0)
		close(c->wake_fd);
	rte_free(c->buf[0].addr);
	rte_free(c);
}

static __thread bool is_thread;

bool
hvn_ctrl_is_thread(void)
{
	return is_thread;
}

static void *
ctrl_main(void *arg)
{
	struct hvn_ctrl *c = arg;
	struct pollfd pfd = { .fd = c->wake_fd, .events = POLLIN };
	uint32_t ms = IDLE_MS;
	uint64_t count;

	is_thread = true;
	while (!stopped(c)) {
		if (poll(&pfd, 1, (int)ms) > 0 && read(c->wake_fd, &count, sizeof(count)) < 0 &&
		    errno != EAGAIN)
			break;
		if (stopped(c))
			break;
		dispatch(c);
		if (!stopped(c))
			ms = look_around(c);
	}
	if (c->orphan)
		ctrl_free(c);
	return NULL;
}

int
hvn_ctrl_create(struct hvn_port *p)
{
	int socket = hvn_node(p);
	struct hvn_ctrl *c;
	char name[16];
	int rc;

	c = rte_zmalloc_socket("hvn_ctrl", sizeof(*c), RTE_CACHE_LINE_SIZE, socket);
	if (c == NULL)
		return -ENOMEM;
	c->p = p;
	c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = c->wake_fd < 0 ? -errno : hvn_ctrl_make_bufs(c, socket);
	if (rc == 0) {
		p->ctrl = c;
		snprintf(name, sizeof(name), "hvn-ctrl-%u", p->port_id);
		rc = -rte_ctrl_thread_create(&c->thread, name, NULL, ctrl_main, c);
		if (rc > 0)
			rc = -rc;
	}
	if (rc != 0) {
		HVN_LOG(ERR, "port %u: no control thread: %s", p->port_id, rte_strerror(-rc));
		p->ctrl = NULL;
		ctrl_free(c);
	}
	return rc;
}

void
hvn_ctrl_destroy(struct hvn_port *p)
{
	struct hvn_ctrl *c = p->ctrl;

	if (c == NULL)
		return;
	if (pthread_equal(pthread_self(), c->thread)) {
		c->orphan = true;
		pthread_detach(c->thread);
		__atomic_store_n(&c->stop, true, __ATOMIC_RELAXED);
		p->ctrl = NULL;
		return;
	}
	__atomic_store_n(&c->stop, true, __ATOMIC_RELAXED);
	hvn_ctrl_kick(p);
	pthread_join(c->thread, NULL);
	p->ctrl = NULL;
	ctrl_free(c);
}
