/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <rte_cycles.h>

#include "hvn_biased.h"
#include "hvn_ctrl.h"
#include "hvn_hurry.h"
#include "hvn_intr.h"
#include "hvn_mp.h"
#include "hvn_port.h"
#include "hvn_rndis.h"
#include "hvn_recover.h"
#include "hvn_session.h"
#include "hvn_txd.h"
#include "hvn_vf.h"

#define POLLED_MS 20   /* a queue that is not polled in this time may be polled no more */
#define AWAY_MS	  2000 /* ... or its lcore has no processor; longer than any is without one */
#define PUT_OFFS  3    /* for a secondary that polls and does not answer, each some 4 s */

/* --- bursts --------------------------------------------------------------------------------------- */

/* What lcores call meanwhile: who comes here has left the burst that it was in. */
static uint16_t
rx_pass(void *rxq, struct rte_mbuf **pkts, uint16_t n)
{
	struct hvn_rxq *q = rxq;

	RTE_SET_USED(pkts);
	RTE_SET_USED(n);
	/* Release: all that the burst did. */
	__atomic_store_n(&q->passed, true, __ATOMIC_RELEASE);
	return 0;
}

static void
set_bursts(struct rte_eth_dev *dev, eth_rx_burst_t rx, eth_tx_burst_t tx)
{
	struct rte_eth_fp_ops *fp = &rte_eth_fp_ops[dev->data->port_id];

	dev->rx_pkt_burst = rx;
	dev->tx_pkt_burst = tx;
	/* ethdev is about to copy them, or has stopped the port. */
	if (!dev->data->dev_started)
		return;
	/* Release: with the queues as they are now. */
	__atomic_store_n(&fp->rx_pkt_burst, rx, __ATOMIC_RELEASE);
	__atomic_store_n(&fp->tx_pkt_burst, tx, __ATOMIC_RELEASE);
}

static void
bursts_on(struct rte_eth_dev *dev)
{
	set_bursts(dev, hvn_rx_burst, hvn_tx_burst);
	/* Either this finds the device removed, or hvn_port_removed() turns them off behind it. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (hvn_removed(hvn_port(dev)))
		set_bursts(dev, hvn_rx_burst_none, hvn_tx_burst_none);
}

static void
set_recovering(struct hvn_port *p, bool on)
{
	__atomic_store_n(&p->recovering, on, __ATOMIC_RELAXED);
}

static void
go_on(struct rte_eth_dev *dev)
{
	set_recovering(hvn_port(dev), false);
	bursts_on(dev);
	hvn_intr_wake(dev);
	/* With ctrl_lock, so that a stop by the application is told behind it. */
	hvn_mp_tell(hvn_port(dev), HVN_MP_START);
}

/* By queue: how often it was polled; none has passed. */
static void
note_polls(const struct rte_eth_dev *dev, uint64_t polls[HVN_QUEUES_MAX])
{
	for (uint16_t i = 0; i < dev->data->nb_rx_queues; i++) {
		struct hvn_rxq *q = dev->data->rx_queues[i];

		if (q == NULL)
			continue;
		polls[i] = __atomic_load_n(&q->polls, __ATOMIC_RELAXED);
		__atomic_store_n(&q->passed, false, __ATOMIC_RELAXED);
	}
}

/* Queues that somebody polls now. polls: how often each had been polled before. */
static void
find_polled(const struct rte_eth_dev *dev, uint64_t polls[HVN_QUEUES_MAX],
	    bool polled[HVN_QUEUES_MAX])
{
	note_polls(dev, polls);
	rte_delay_us_sleep(POLLED_MS * 1000);
	for (uint16_t i = 0; i < dev->data->nb_rx_queues; i++) {
		const struct hvn_rxq *q = dev->data->rx_queues[i];

		polled[i] = q != NULL && __atomic_load_n(&q->polls, __ATOMIC_RELAXED) != polls[i];
	}
}

/* Is a thread of this process maybe inside a burst? polled: NULL, or receive queues that count. */
static bool
any_inside(const struct rte_eth_dev *dev, const bool *polled)
{
	for (uint16_t i = 0; i < dev->data->nb_rx_queues; i++) {
		const struct hvn_rxq *q = dev->data->rx_queues[i];

		if (q != NULL && q->started && (polled == NULL || polled[i]) &&
		    !__atomic_load_n(&q->passed, __ATOMIC_ACQUIRE))
			return true;
	}
	for (uint16_t i = 0; i < dev->data->nb_tx_queues; i++) {
		const struct hvn_txq *q = dev->data->tx_queues[i];

		if (q != NULL &&
		    __atomic_load_n(&q->txd->inside, __ATOMIC_ACQUIRE) == hvn_process_self)
			return true;
	}
	return false;
}

/* Wait for them; false: one is there, the device is gone, or the application waits to stop the port. */
static bool
all_left(const struct rte_eth_dev *dev, const bool *polled, const bool *away)
{
	const struct hvn_port *p = hvn_port(dev);

	/* By counting: the clock goes on while this process is stopped. */
	for (unsigned int ms = 0; ms < AWAY_MS; ms++) {
		if (!any_inside(dev, ms < HVN_BURST_MS ? NULL : away))
			return true;
		if (hvn_removed(p) || hvn_hurried(p) ||
		    (ms == HVN_BURST_MS && any_inside(dev, polled)))
			return false;
		rte_delay_us_sleep(1000);
	}
	return !any_inside(dev, polled);
}

/* Have all lcores of this process leave their bursts. On false one may be there. */
static bool
turn_off(struct rte_eth_dev *dev)
{
	/* Who polls is a thread of this process, and does not sleep until an interrupt. */
	const bool ours =
		!hvn_has_secondaries(hvn_port(dev)) && dev->data->dev_conf.intr_conf.rxq == 0;
	uint64_t before[HVN_QUEUES_MAX] = { 0 };
	bool polled[HVN_QUEUES_MAX] = { false }, away[HVN_QUEUES_MAX] = { false };

	find_polled(dev, before, polled);
	for (uint16_t i = 0; i < dev->data->nb_rx_queues; i++)
		away[i] = polled[i] || (ours && before[i] != 0);
	/* Who passes sees this from then on. */
	set_recovering(hvn_port(dev), true);
	set_bursts(dev, rx_pass, hvn_tx_burst_none);
	/* Who has begun to send says so from here on; where it is not allowed, the time does it. */
	hvn_process_barrier();
	return all_left(dev, polled, away);
}

/* --- queues --------------------------------------------------------------------------------------- */

struct queue_states {
	uint8_t rx[HVN_QUEUES_MAX];
	uint8_t tx[HVN_QUEUES_MAX];
};

static void
save_states(const struct rte_eth_dev *dev, struct queue_states *s)
{
	memcpy(s->rx, dev->data->rx_queue_state, sizeof(s->rx));
	memcpy(s->tx, dev->data->tx_queue_state, sizeof(s->tx));
}

/* A start goes by what was configured: the application has started and stopped some since. */
static int
restore_states(struct rte_eth_dev *dev, const struct queue_states *s)
{
	int rc = 0;

	for (uint16_t i = 0; i < dev->data->nb_rx_queues && rc == 0; i++)
		if (dev->data->rx_queue_state[i] != s->rx[i])
			rc = s->rx[i] == RTE_ETH_QUEUE_STATE_STARTED
				     ? hvn_port_rx_queue_start(dev, i)
				     : hvn_port_rx_queue_stop(dev, i);
	for (uint16_t i = 0; i < dev->data->nb_tx_queues && rc == 0; i++)
		if (dev->data->tx_queue_state[i] != s->tx[i])
			rc = s->tx[i] == RTE_ETH_QUEUE_STATE_STARTED
				     ? hvn_port_tx_queue_start(dev, i)
				     : hvn_port_tx_queue_stop(dev, i);
	return rc;
}

/* Each session begins with the host's own address; ethdev sets another one at a start only. */
static int
restore_mac(struct hvn_port *p, const struct rte_ether_addr *mac)
{
	int rc;

	if (rte_is_same_ether_addr(mac, &p->mac))
		return 0;
	rc = hvn_rndis_set_mac(p, mac);
	if (rc == -ENODEV || rc == -ETIMEDOUT || rc == -EIO)
		return rc;
	if (rc == 0)
		p->mac = *mac;
	else
		HVN_LOG(ERR, "port %u: the host does not take the MAC address again: %s",
			p->port_id, rte_strerror(-rc));
	return 0;
}

/* --- recovery ------------------------------------------------------------------------------------- */

/* Bursts are off: it is as if it were stopped. */
static void
fail(struct rte_eth_dev *dev)
{
	struct hvn_port *p = hvn_port(dev);
	const uint64_t hurry = hvn_hurry_alone(p);

	/* Descriptors of receive interrupts stay until the application stops the port. */
	hvn_port_stop_locked(dev);
	hvn_hurry_alone_end(p, hurry);
	set_recovering(p, false);
	hvn_intr_wake(dev);
	set_bursts(dev, hvn_rx_burst_none, hvn_tx_burst_none);
}

/* Which process uses the queue? 0: this one, or nobody knows. */
static uint32_t
user_elsewhere(const struct hvn_port *p, uint16_t queue)
{
	const uint32_t mark = queue < p->n_chans ? hvn_biased_user(&p->chan[queue]->in_lock) : 0;

	return hvn_process_alien(mark) || !hvn_process_elsewhere(mark) ? 0 : hvn_process_id(mark);
}

/* With bursts off: which queues does a secondary poll? Who does here, and ends a burst, has passed. */
static bool
polled_elsewhere(const struct rte_eth_dev *dev, bool polled[HVN_QUEUES_MAX])
{
	uint64_t before[HVN_QUEUES_MAX] = { 0 };
	bool any = false;

	find_polled(dev, before, polled);
	for (uint16_t i = 0; i < dev->data->nb_rx_queues; i++) {
		const struct hvn_rxq *q = dev->data->rx_queues[i];

		polled[i] = polled[i] && !__atomic_load_n(&q->passed, __ATOMIC_RELAXED);
		any |= polled[i];
	}
	return any;
}

static void
tell_deaf(const struct rte_eth_dev *dev, const bool polled[HVN_QUEUES_MAX])
{
	static const char why[] = "and does not answer: nothing can be taken from it; end it, then "
				  "stop and start the port";
	const struct hvn_port *p = hvn_port(dev);
	bool any = false;

	for (uint16_t i = 0; i < dev->data->nb_rx_queues; i++) {
		const uint32_t pid = polled[i] ? user_elsewhere(p, i) : 0;

		if (pid == 0)
			continue;
		any = true;
		HVN_LOG(ERR, "port %u: process %u uses queue %u %s", p->port_id, pid, i, why);
	}
	if (!any)
		HVN_LOG(ERR, "port %u: a secondary process polls %s", p->port_id, why);
}

/*
 * Somebody is, or may be, in a burst. A secondary that does not answer polls on until it ends, which no
 * time makes safe: then the session is left as it is, until the application stops polling.
 */
static int
put_off(struct rte_eth_dev *dev, bool heard)
{
	struct hvn_port *p = hvn_port(dev);
	bool polled[HVN_QUEUES_MAX] = { false };

	if (heard || hvn_removed(p) || hvn_hurried(p) || !polled_elsewhere(dev, polled) ||
	    ++p->put_off < PUT_OFFS) {
		if (heard)
			p->put_off = 0;
		go_on(dev);
		return -EAGAIN;
	}
	p->put_off = 0;
	tell_deaf(dev, polled);
	fail(dev);
	return -EDEADLK;
}

static int
recover(struct rte_eth_dev *dev)
{
	struct hvn_port *p = hvn_port(dev);
	const struct rte_ether_addr mac = p->mac;
	const bool want_link_up = p->want_link_up;
	struct queue_states states;
	uint64_t hurry;
	bool heard;
	int rc;

	save_states(dev, &states);
	/* Before the bursts of this process, so that who polls a queue then is a thread of it. */
	heard = hvn_mp_tell(p, HVN_MP_STOP);
	if (!turn_off(dev))
		return put_off(dev, heard);
	p->put_off = 0;
	hurry = hvn_hurry_alone(p);
	hvn_port_stop_locked(dev);
	hvn_session_close(p, hvn_hurry_ms(p));
	hvn_hurry_alone_end(p, hurry);
	rc = hvn_port_start_locked(dev);
	if (rc == 0)
		rc = restore_states(dev, &states);
	if (rc == 0)
		rc = restore_mac(p, &mac);
	if (rc == 0 && !want_link_up) {
		p->want_link_up = false;
		rc = hvn_rndis_update_filter(p);
	}
	if (rc == 0) {
		p->recoveries++;
		go_on(dev);
		return 0;
	}
	fail(dev);
	return rc;
}

int
hvn_recover(struct hvn_port *p)
{
	struct rte_eth_dev *dev = &rte_eth_devices[p->port_id];
	const uint64_t start = rte_get_timer_cycles();
	bool needed;
	int rc = 0;

	hvn_ctrl_lock(p);
	/* The application may have stopped or reset the port since. */
	needed = p->running && hvn_session_broken(p);
	if (needed)
		rc = hvn_removed(p) ? -ENODEV : recover(dev);
	else
		p->put_off = 0;
	hvn_ctrl_unlock(p);
	if (!needed || rc == -EAGAIN || rc == -EDEADLK)
		return rc;
	if (rc != 0) {
		HVN_LOG(ERR, "port %u: it cannot be opened again: %s; close it", p->port_id,
			rte_strerror(-rc));
		return rc;
	}
	hvn_vf_resume(p);
	HVN_LOG(NOTICE, "port %u: recovered, %" PRIu64 " us", p->port_id,
		hvn_us(rte_get_timer_cycles() - start));
	return 0;
}
