/* SPDX-License-Identifier: BSD-3-Clause */
#include "hvn_tx_hold.h"
#include "hvn_tx.h"

static void
set(bool *hint, bool value)
{
	/* Without a store where nothing changes: another lcore may read the line. */
	if (__atomic_load_n(hint, __ATOMIC_RELAXED) != value)
		__atomic_store_n(hint, value, __ATOMIC_RELAXED);
}

static void
set_looker(struct hvn_chan *ch, uint64_t thread)
{
	if (__atomic_load_n(&ch->tx_looker, __ATOMIC_RELAXED) != thread)
		__atomic_store_n(&ch->tx_looker, thread, __ATOMIC_RELAXED);
}

/* With out_lock. What was not published the host cannot be behind with. */
static bool
is_behind(struct vmbus_ring *tx)
{
	const uint32_t used = tx->size - vmbus_ring_tx_space(tx);
	const uint32_t mine = vmbus_ring_dist(tx, tx->published, tx->index);

	return tx->error == 0 && used > mine + RTE_MIN(HVN_TX_BEHIND, tx->size / 4);
}

/* Would another packet like those in it still fit? */
static bool
has_room(const struct hvn_txd *t)
{
	return t->agg_limit - t->agg_end > t->agg_end / t->agg_pkts + t->agg_align;
}

/*
 * A process that is killed leaves what it held to the others in a state that they can go on with,
 * but not always: with secondaries nothing waits.
 */
bool
hvn_tx_hold(struct hvn_txq *q)
{
	struct hvn_chan *ch = q->chan;

	if (q->queue_id != ch->index || hvn_has_secondaries(q->port) || !has_room(q->txd) ||
	    __atomic_load_n(&q->path.vf_port, __ATOMIC_RELAXED) != RTE_MAX_ETHPORTS)
		return false;
	if (!is_behind(&ch->vc->tx))
		return false;
	set_looker(ch, hvn_thread_self);
	/* A thread that has not looked since its last burst may never do so again. */
	if (!q->txd->looked)
		return false;
	__atomic_store_n(&ch->tx_holds, ch->tx_holds + 1, __ATOMIC_RELAXED);
	set(&ch->tx_held, true);
	/* The queue may have gone to another thread just now: see hvn_tx_watch(). */
	vmbus_ring_full_fence();
	set(&ch->tx_held, __atomic_load_n(&ch->poller, __ATOMIC_RELAXED) == hvn_thread_self);
	return hvn_tx_held(ch);
}

bool
hvn_tx_resume(struct hvn_txq *q)
{
	set(&q->chan->tx_watched, false);
	if (q->txd->agg_base == NULL)
		return true;
	/* Completions of the receive side may have taken the room that it had. */
	if (!hvn_tx_room(&q->chan->vc->tx, HVN_TX_MSG_LEN)) {
		q->stats.ring_full++;
		return false;
	}
	set(&q->chan->tx_held, false);
	return true;
}

/* With out_lock: is there something to signal? Not by q->chan, of which a stop takes it away. */
static bool
send_held(struct hvn_chan *ch, struct hvn_txq *q)
{
	bool signal;

	if (!hvn_tx_held(ch) || q->queue_id != ch->index ||
	    !hvn_tx_room(&ch->vc->tx, HVN_TX_MSG_LEN))
		return false;
	set(&ch->tx_held, false);
	/* It has a descriptor in use, so that no stop is over. */
	hvn_tx_send_section(q, q->txd);
	signal = vmbus_ring_tx_publish(&ch->vc->tx);
	ch->out_signals += signal;
	return signal;
}

static void
signal_host(const struct hvn_chan *ch, bool signal)
{
	if (signal)
		hv_vmbus_signal(hvn_vdev(ch->port), ch->vc);
}

static void
look_no_more(struct hvn_chan *ch)
{
	set_looker(ch, 0);
	set(&ch->tx_watched, false);
}

/* It looks at nothing of the host's: that would keep the host from reading. */
void
hvn_tx_look(struct hvn_chan *ch, uint16_t frames)
{
	const bool held = hvn_tx_held(ch);
	struct hvn_txq *q;
	bool signal;

	/* Nothing is to be sent soon; or the queue has come here from who transmits. */
	if (!held &&
	    (frames == 0 || __atomic_load_n(&ch->tx_looker, __ATOMIC_RELAXED) != hvn_thread_self)) {
		look_no_more(ch);
		return;
	}
	if (!held || !__atomic_load_n(&ch->tx_watched, __ATOMIC_RELAXED)) {
		set(&ch->tx_watched, true);
		return;
	}
	/* A secondary may be killed in the middle: it is left to the control thread. */
	if (hvn_has_secondaries(ch->port) || !hvn_biased_try(&ch->out_lock))
		return;
	q = hvn_chan_txq(ch);
	signal = q != NULL && send_held(ch, q);
	/* But for want of room: again. */
	if (!hvn_tx_held(ch) || ch->vc->tx.error != 0)
		look_no_more(ch);
	hvn_biased_release(&ch->out_lock);
	signal_host(ch, signal);
}

void
hvn_tx_flush(struct hvn_txq *q)
{
	struct hvn_chan *ch = q->chan;
	bool signal;

	if (likely(!hvn_tx_held(ch)) || hvn_removed(q->port) || !hvn_biased_try(&ch->out_lock))
		return;
	signal = send_held(ch, q);
	hvn_biased_release(&ch->out_lock);
	signal_host(ch, signal);
}

void
hvn_tx_flush_chan(struct hvn_chan *ch)
{
	struct hvn_txq *q;
	bool signal = false;

	set(&ch->tx_watched, false);
	if (!hvn_tx_held(ch) || !hvn_chan_lock_in(ch))
		return;
	q = hvn_chan_txq(ch);
	if (q != NULL && !hvn_removed(ch->port) &&
	    hvn_biased_wait(&ch->out_lock, HVN_BURST_MS) != HVN_LOCK_NO) {
		signal = send_held(ch, q);
		hvn_biased_release(&ch->out_lock);
	}
	hvn_biased_release(&ch->in_lock);
	signal_host(ch, signal);
}

void
hvn_tx_flush_old(struct hvn_chan *ch)
{
	const uint32_t holds = __atomic_load_n(&ch->tx_holds, __ATOMIC_RELAXED);

	if (hvn_tx_held(ch) && holds == ch->tx_holds_seen)
		hvn_tx_flush_chan(ch);
	ch->tx_holds_seen = holds;
}

void
hvn_tx_unhold(struct hvn_txq *q)
{
	struct hvn_chan *ch = q->chan;
	bool signal;

	if (!hvn_tx_held(ch) || q->queue_id != ch->index ||
	    hvn_biased_wait(&ch->out_lock, HVN_BURST_MS) == HVN_LOCK_NO)
		return;
	signal = !hvn_removed(q->port) && send_held(ch, q);
	if (hvn_tx_held(ch)) {
		set(&ch->tx_held, false);
		q->stats.errors += q->txd->agg_pkts;
		hvn_tx_unopen(q->txd);
	}
	hvn_biased_release(&ch->out_lock);
	signal_host(ch, signal);
}
