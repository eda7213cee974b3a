/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include <rte_cycles.h>
#include <rte_malloc.h>

#include "hvn_chan.h"
#include "hvn_leave.h"
#include "hvn_stats.h"
#include "hvn_telemetry.h"
#include "hvn_txd.h"

/* Both locks, whatever a dead holder has left; or what of them can be had. */
static bool
shut(struct hvn_chan *ch)
{
	bool in = hvn_biased_wait(&ch->in_lock, HVN_BURST_MS) != HVN_LOCK_NO;

	return hvn_biased_wait(&ch->out_lock, in ? HVN_BURST_MS : 0) != HVN_LOCK_NO && in;
}

/* Only a secondary can be stopped while this process runs, and it keeps what it has. */
static bool
is_kept_for_long(const struct hvn_biased *b, bool now)
{
	const uint64_t since = rte_rdtsc();
	uint32_t mark;

	while ((mark = hvn_biased_elsewhere(b)) != 0) {
		if ((now && hvn_process_alien(mark)) || hvn_process_late(mark, since, HVN_BURST_MS))
			return true;
		rte_delay_us_sleep(20);
	}
	return false;
}

/* --- on the VF ------------------------------------------------------------------------------------ */

/* Of another process that may be there; or 0. */
static uint32_t
mark_on_vf(const struct hvn_queue_path *path, const struct hvn_lock *asking)
{
	uint32_t busy = __atomic_load_n(&path->busy, __ATOMIC_RELAXED);
	uint32_t owner = __atomic_load_n(&asking->owner, __ATOMIC_RELAXED);

	return hvn_process_elsewhere(busy) ? busy : hvn_process_elsewhere(owner) ? owner : 0;
}

static bool
is_on_vf(const struct hvn_queue_path *path, const struct hvn_lock *asking, bool now)
{
	const uint64_t since = rte_rdtsc();
	uint32_t mark;

	while ((mark = mark_on_vf(path, asking)) != 0) {
		if ((now && hvn_process_alien(mark)) || hvn_process_late(mark, since, HVN_BURST_MS))
			return true;
		rte_delay_us_sleep(20);
	}
	return false;
}

bool
hvn_rxq_in_use(const struct hvn_rxq *q, bool now)
{
	const struct hvn_port *p = q->port;

	return (q->queue_id < p->n_chans &&
		is_kept_for_long(&p->chan[q->queue_id]->in_lock, now)) ||
	       is_on_vf(&q->path, &q->asking, now);
}

bool
hvn_txq_on_vf(const struct hvn_txq *q, bool now)
{
	return is_on_vf(&q->path, &q->asking, now);
}

static void
keep_mark(struct hvn_port *p, uint32_t *mark)
{
	if (!hvn_process_elsewhere(__atomic_load_n(mark, __ATOMIC_RELAXED)))
		return;
	/* More than there is room for: the VF is never had back. */
	if (p->n_left_on_vf < HVN_LEFT_ON_VF)
		p->left_on_vf[p->n_left_on_vf] = mark;
	p->n_left_on_vf++;
}

void
hvn_leave_vf(struct hvn_port *p, struct hvn_queue_path *path, struct hvn_lock *asking)
{
	/* Its next burst is not on the VF. Relaxed: nothing comes with no VF. */
	__atomic_store_n(&path->vf_port, RTE_MAX_ETHPORTS, __ATOMIC_RELAXED);
	/* Who has read the old one shows its mark then: see hvn_vf_queues_quiesce(). */
	if (hvn_process_barrier() != 0)
		p->n_left_on_vf = HVN_LEFT_ON_VF + 1;
	keep_mark(p, &path->busy);
	keep_mark(p, &asking->owner);
}

/* --- channels ------------------------------------------------------------------------------------- */

bool
hvn_chan_in_use(struct hvn_chan *ch)
{
	return is_kept_for_long(&ch->in_lock, false) || is_kept_for_long(&ch->out_lock, false);
}

bool
hvn_leave_needed(struct hvn_port *p)
{
	for (uint16_t i = 0; i < p->n_chans; i++)
		if (hvn_chan_in_use(p->chan[i]))
			return true;
	for (uint16_t i = 0; i < p->data->nb_rx_queues; i++) {
		const struct hvn_rxq *q = p->data->rx_queues[i];

		if (q != NULL && is_on_vf(&q->path, &q->asking, false))
			return true;
	}
	for (uint16_t i = 0; i < p->data->nb_tx_queues; i++) {
		const struct hvn_txq *q = p->data->tx_queues[i];

		if (q != NULL && (hvn_process_elsewhere(q->txd->inside) || hvn_txq_on_vf(q, false)))
			return true;
	}
	return false;
}

/* A queue with the settings and counters of another one, stopped. */
static void
replace_rxq(struct hvn_port *p, uint16_t id)
{
	struct hvn_rxq *old = p->data->rx_queues[id];
	struct hvn_rxq *q;

	hvn_leave_vf(p, &old->path, &old->asking);
	hvn_telemetry_lock();
	q = rte_malloc_socket("hvn_rxq", sizeof(*q), RTE_CACHE_LINE_SIZE, hvn_node(p));
	if (q != NULL) {
		*q = *old;
		memset(&q->path, 0, sizeof(q->path));
		memset(&q->hold, 0, sizeof(q->hold));
		q->path.vf_port = RTE_MAX_ETHPORTS;
		q->asking.owner = 0;
		q->started = false;
		q->left = false;
		q->chan = NULL;
		q->nothing = 0;
		q->idle_at = 0;
		q->windex = &q->nothing;
	} else {
		hvn_stats_add(&p->rx_past[id], &old->stats, &old->base, sizeof(old->stats));
	}
	p->data->rx_queues[id] = q; /* NULL: the port does not start until it is set up again */
	hvn_telemetry_unlock();
}

static void
replace_txq(struct hvn_port *p, uint16_t id)
{
	struct hvn_txq *old = p->data->tx_queues[id];
	struct hvn_txq *q;

	hvn_leave_vf(p, &old->path, &old->asking);
	hvn_telemetry_lock();
	q = rte_malloc_socket("hvn_txq", sizeof(*q), RTE_CACHE_LINE_SIZE, old->txd->socket);
	if (q != NULL) {
		*q = *old;
		memset(&q->path, 0, sizeof(q->path));
		q->path.vf_port = RTE_MAX_ETHPORTS;
		q->asking.owner = 0;
		q->started = false;
		q->chan = NULL;
		if (hvn_txd_create(&q->txd, old->nb_desc, old->txd->socket) != 0) {
			rte_free(q);
			q = NULL;
		}
	}
	if (q == NULL)
		hvn_stats_add(&p->tx_past[id], &old->stats, &old->base, sizeof(old->stats));
	if (p->txq[id] == old)
		p->txq[id] = NULL;
	p->data->tx_queues[id] = q;
	hvn_telemetry_unlock();
}

void
hvn_leave_chan(struct hvn_port *p, struct hvn_chan *ch)
{
	if (ch->left)
		return;
	if (!hvn_has_secondaries(p) && !p->recovering) {
		hvn_chan_free(ch);
		return;
	}
	ch->next = p->shut;
	p->shut = ch;
}

/* Of former sessions: whoever looked at their locks has done so long ago, if it runs at all. */
static void
free_shut(struct hvn_port *p)
{
	struct hvn_chan *ch;

	while (!p->unheard && (ch = p->shut) != NULL) {
		p->shut = ch->next;
		hvn_chan_free(ch);
	}
}

/* Its descriptors are being changed by a burst of its own, or by one that takes its completions. */
static bool
txq_in_use(const struct hvn_txq *q)
{
	return hvn_process_elsewhere(q->txd->inside) ||
	       (q->chan != NULL && hvn_biased_elsewhere(&q->chan->in_lock) != 0);
}

void
hvn_leave(struct hvn_port *p)
{
	bool any = false;

	free_shut(p);
	for (uint16_t i = 0; i < p->n_chans; i++) {
		struct hvn_chan *ch = p->chan[i];

		if (shut(ch))
			continue;
		ch->left = any = true;
		hv_vmbus_channel_keep(hvn_vdev(p), ch->vc);
		if (i < p->data->nb_rx_queues && p->data->rx_queues[i] != NULL)
			replace_rxq(p, i);
	}
	for (uint16_t i = 0; i < p->data->nb_rx_queues; i++) {
		const struct hvn_rxq *q = p->data->rx_queues[i];

		if (q == NULL || !is_on_vf(&q->path, &q->asking, true))
			continue;
		any = true;
		replace_rxq(p, i);
	}
	for (uint16_t i = 0; i < p->data->nb_tx_queues; i++) {
		const struct hvn_txq *q = p->data->tx_queues[i];

		if (q == NULL || !(txq_in_use(q) || hvn_txq_on_vf(q, true)))
			continue;
		any = true;
		/* Back from the VF, a burst looks at what it has in the ring. */
		if (q->chan != NULL) {
			q->chan->left = true;
			hv_vmbus_channel_keep(hvn_vdev(p), q->chan->vc);
		}
		replace_txq(p, i);
	}
	if (any)
		HVN_LOG(WARNING,
			"port %u: a process is stopped inside a burst: the memory of channel and "
			"queue is left to it",
			p->port_id);
}
