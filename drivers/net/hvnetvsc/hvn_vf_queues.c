/* SPDX-License-Identifier: BSD-3-Clause */
/* What the control thread tells the queues of a port about its paths, and waits for. */
#include <errno.h>

#include <rte_cycles.h>
#include <rte_malloc.h>

#include "hvn_path_inline.h"
#include "hvn_vf.h"

#define QUIESCE_MS 200	/* a burst that is not over by then: tried again later */
#define PLANNED_MS 2000 /* ... if nobody suffers by the wait: what it gives to the VF is not lost */
#define DRAIN_MS   200	/* for frames in the VF's receive queues: an application that polls */
#define LEAVE_MS   2	/* for what the VF was given to send */
#define ALIEN_MS   2000 /* ... nor by then: of a process in another PID namespace, taken for dead */

void
hvn_vf_queues_rx(struct hvn_port *p, uint16_t port)
{
	for (uint16_t i = 0; i < p->data->nb_rx_queues; i++) {
		struct hvn_rxq *q = p->data->rx_queues[i];

		if (q != NULL)
			/* Release: see hvn_path_enter(). */
			__atomic_store_n(&q->path.vf_port, port, __ATOMIC_RELEASE);
	}
}

void
hvn_vf_queues_room(struct hvn_port *p)
{
	for (uint16_t i = 0; i < p->data->nb_rx_queues; i++) {
		struct hvn_rxq *q = p->data->rx_queues[i];

		if (q != NULL && q->hold.late == NULL)
			q->hold.late =
				rte_malloc("hvn_late", HVN_RX_LATE * sizeof(q->hold.late[0]), 0);
	}
}

void
hvn_vf_queues_tx(struct hvn_port *p, uint16_t port)
{
	for (uint16_t i = 0; i < p->data->nb_tx_queues; i++) {
		struct hvn_txq *q = p->data->tx_queues[i];

		if (q == NULL)
			continue;
		/* A burst that has not seen the last turn may look at both. */
		__atomic_store_n(&q->path.since, rte_rdtsc(), __ATOMIC_RELAXED);
		__atomic_store_n(&q->path.dead, false, __ATOMIC_RELAXED);
		/* Release: the two above. */
		__atomic_store_n(&q->path.vf_port, port, __ATOMIC_RELEASE);
	}
}

/* Ask the queues to turn back; false: none needs time for that. */
static bool
ask_tx_back(struct hvn_port *p)
{
	bool any = false;

	for (uint16_t i = 0; i < p->data->nb_tx_queues; i++) {
		struct hvn_txq *q = p->data->tx_queues[i];
		uint16_t seen;

		if (q == NULL)
			continue;
		seen = __atomic_load_n(&q->path.vf_port, __ATOMIC_RELAXED);
		if (seen >= RTE_MAX_ETHPORTS || rte_eth_fp_ops[seen].tx_descriptor_status == NULL)
			continue;
		any |= __atomic_compare_exchange_n(&q->path.vf_port, &seen, seen | HVN_TX_BACK,
						   false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
	}
	return any;
}

static bool
tx_is_back(const struct hvn_port *p)
{
	for (uint16_t i = 0; i < p->data->nb_tx_queues; i++) {
		const struct hvn_txq *q = p->data->tx_queues[i];

		if (q != NULL &&
		    __atomic_load_n(&q->path.vf_port, __ATOMIC_RELAXED) != RTE_MAX_ETHPORTS)
			return false;
	}
	return true;
}

void
hvn_vf_queues_order(struct hvn_port *p, enum hvn_ring_first first)
{
	for (uint16_t i = 0; i < p->data->nb_rx_queues; i++) {
		struct hvn_rxq *q = p->data->rx_queues[i];

		if (q == NULL)
			continue;
		if (first == HVN_RING_TURNED)
			hvn_path_mark_ring(q, &q->path.mark);
		/* Release: the mark. */
		__atomic_store_n(&q->path.ring_first, (uint8_t)first, __ATOMIC_RELEASE);
	}
}

void
hvn_vf_queues_unsaid(struct hvn_port *p)
{
	for (uint16_t i = 0; i < p->data->nb_rx_queues; i++) {
		struct hvn_rxq *q = p->data->rx_queues[i];

		if (q == NULL || q->path.ring_first != HVN_RING_FIRST)
			continue;
		hvn_path_mark_ring(q, &q->path.mark);
		/* Release: the mark. */
		__atomic_store_n(&q->path.ring_first, (uint8_t)HVN_RING_TURNED, __ATOMIC_RELEASE);
	}
}

void
hvn_vf_queues_tx_back(struct hvn_port *p)
{
	uint64_t end = hvn_vf_now() + LEAVE_MS * HVN_NS_PER_MS;

	if (ask_tx_back(p))
		while (!tx_is_back(p) && hvn_vf_now() < end)
			rte_delay_us_sleep(20);
}

/* A process that cannot be looked at has had this mark for long, without a change that was seen. */
static bool
is_silent(struct hvn_vf *vf, const uint32_t *busy, uint32_t mark)
{
	if (vf->alien_at != busy || vf->alien != mark) {
		vf->alien_at = busy;
		vf->alien = mark;
		vf->alien_since = hvn_vf_now();
	}
	return hvn_vf_now() - vf->alien_since >= ALIEN_MS * HVN_NS_PER_MS;
}

/*
 * Did the process that marked a queue end? One that is stopped goes on one day, in the VF's functions:
 * nothing of the VF may be freed until then. One that counts processes by itself is taken for dead.
 */
static bool
abandoned(struct hvn_vf *vf, const uint32_t *busy, uint32_t mark)
{
	if (mark == hvn_process_self)
		return false;
	if (hvn_process_alien(mark) ? !is_silent(vf, busy, mark) : !hvn_process_gone(mark))
		return false;
	vf->abandoned = true;
	HVN_LOG(ERR, "port %u: process %u ended in a burst on the VF: it is waited for no longer",
		vf->p->port_id, hvn_process_id(mark));
	return true;
}

/* A burst was not over in time. */
static int
not_idle(struct hvn_vf *vf, uint32_t mark)
{
	uint32_t stopped = hvn_process_stopped(mark) ? mark : 0;

	if (stopped != 0 && stopped != vf->stopped)
		HVN_LOG(ERR,
			"port %u: process %u is stopped in a burst on the VF, which is kept until "
			"it goes on",
			vf->p->port_id, hvn_process_id(mark));
	vf->stopped = stopped;
	return -EAGAIN;
}

/* Does the application want to stop or close? */
static bool
is_urgent(const struct hvn_vf *vf)
{
	return __atomic_load_n(&vf->p->hurry_until, __ATOMIC_RELAXED) != 0;
}

/* A queue may start its next burst between two looks: to see it idle once is enough. */
static int
wait_idle(struct hvn_vf *vf, uint32_t *busy, uint64_t soon, uint64_t end)
{
	uint32_t mark;

	/* Acquire: what the burst did with the VF. */
	while ((mark = __atomic_load_n(busy, __ATOMIC_ACQUIRE)) != 0) {
		if (abandoned(vf, busy, mark))
			__atomic_compare_exchange_n(busy, &mark, 0, false, __ATOMIC_RELAXED,
						    __ATOMIC_RELAXED);
		else if ((mark == vf->stopped && hvn_process_stopped(mark)) ||
			 hvn_vf_now() > (is_urgent(vf) ? soon : end))
			return not_idle(vf, mark);
		else
			rte_delay_us_sleep(20);
	}
	if (vf->alien_at == busy)
		vf->alien_at = NULL;
	return 0;
}

/* The same of queues that were replaced under a process that is stopped. */
static int
wait_left(struct hvn_vf *vf, uint64_t soon, uint64_t end)
{
	struct hvn_port *p = vf->p;
	int rc = p->n_left_on_vf > HVN_LEFT_ON_VF ? -EAGAIN : 0;

	while (rc == 0 && p->n_left_on_vf != 0) {
		rc = wait_idle(vf, p->left_on_vf[p->n_left_on_vf - 1], soon, end);
		if (rc == 0)
			p->n_left_on_vf--;
	}
	return rc;
}

/*
 * Wait until every burst that may have read the old path is over. A burst stores busy and then
 * loads its path, without a fence; the barrier that every running thread passes here stands for
 * it: a burst that loaded the old path before has stored busy, and one after sees the new path.
 */
int
hvn_vf_queues_quiesce(struct hvn_vf *vf)
{
	/* While the VF is there and receives, the host need not turn at once. */
	bool patient = vf->path.rx_on && !vf->halted && vf->path.present && !vf->path.stale &&
		       vf->path.started && !vf->path.recovering && !vf->path.no_link;
	uint64_t soon = hvn_vf_now() + QUIESCE_MS * HVN_NS_PER_MS;
	uint64_t end = patient ? soon + (PLANNED_MS - QUIESCE_MS) * HVN_NS_PER_MS : soon;
	struct rte_eth_dev_data *d = vf->p->data;
	int rc = 0;

	if (hvn_process_barrier() != 0)
		return -EAGAIN;
	for (uint16_t i = 0; i < d->nb_rx_queues && rc == 0; i++) {
		struct hvn_rxq *q = d->rx_queues[i];

		rc = q != NULL ? wait_idle(vf, &q->path.busy, soon, end) : 0;
		if (rc == 0 && q != NULL)
			rc = wait_idle(vf, &q->asking.owner, soon, end);
	}
	for (uint16_t i = 0; i < d->nb_tx_queues && rc == 0; i++) {
		struct hvn_txq *q = d->tx_queues[i];

		rc = q != NULL ? wait_idle(vf, &q->path.busy, soon, end) : 0;
		if (rc == 0 && q != NULL)
			rc = wait_idle(vf, &q->asking.owner, soon, end);
	}
	if (rc == 0)
		rc = wait_left(vf, soon, end);
	if (rc == 0)
		vf->stopped = 0;
	return rc;
}

/*
 * The host has turned, so a poll that finds a queue of the VF empty, begun behind this point, is the
 * last that is needed. False: not all queues were polled as often.
 */
static bool
drain(struct hvn_vf *vf)
{
	uint64_t end = hvn_vf_now() + DRAIN_MS * HVN_NS_PER_MS;
	struct rte_eth_dev_data *d = vf->p->data;
	uint32_t seen[HVN_QUEUES_MAX];
	bool again = true;

	for (uint16_t i = 0; i < d->nb_rx_queues; i++) {
		const struct hvn_rxq *q = d->rx_queues[i];

		/* Acquire, here and below: what was taken out of it is out of it. */
		seen[i] = q != NULL ? __atomic_load_n(&q->hold.vf_empty, __ATOMIC_ACQUIRE) : 0;
	}
	while (again && hvn_vf_now() < end) {
		again = false;
		for (uint16_t i = 0; i < d->nb_rx_queues; i++) {
			const struct hvn_rxq *q = d->rx_queues[i];

			/* Two: the first may have begun before. */
			again |= q != NULL &&
				 __atomic_load_n(&q->hold.vf_empty, __ATOMIC_ACQUIRE) - seen[i] < 2;
		}
		if (again)
			rte_delay_us_sleep(50);
	}
	return !again;
}

void
hvn_vf_queues_rx_off(struct hvn_vf *vf)
{
	struct rte_eth_dev_data *d = vf->p->data;
	bool all = true;

	if (drain(vf))
		return;
	hvn_vf_queues_rx(vf->p, HVN_RX_HALT);
	vf->halted = true;
	/* A queue that a process left in the middle of a burst is not safe to look into. */
	if (hvn_vf_queues_quiesce(vf) == 0 && !vf->abandoned)
		for (uint16_t i = 0; i < d->nb_rx_queues; i++) {
			struct hvn_rxq *q = d->rx_queues[i];

			if (q != NULL && q->started)
				all &= hvn_path_rx_collect(q, vf->port);
		}
	else
		all = false;
	vf->halted = false;
	if (!all)
		HVN_LOG(WARNING, "port %u: what VF %u has received may be lost with it",
			vf->p->port_id, vf->port);
}
