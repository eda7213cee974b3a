/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An aggregate that is not full at the end of a transmit burst waits for the packets of the next
 * one while the host is behind: it would not get to it yet anyway. That is for threads that receive
 * and transmit on the same channel by turns: it is sent by the next burst, or by the second receive
 * burst without one of transmit. Behind them stand whatever ends the polling (interrupts, monitored
 * addresses, stop), what has to find the ring empty (a VF), and, for threads that sleep without a
 * word, the control thread, within 40 ms.
 *
 * The channel's fields change under out_lock, but for what the receiving thread says of itself. They
 * are read without it, too: as hints.
 */
#ifndef HVN_TX_HOLD_H
#define HVN_TX_HOLD_H

#include "hvn_txd.h"

/*
 * The host is behind with more bytes in the ring than this: of as many completions as a receive
 * burst writes, and of 32 messages, of which each takes it longer than a poll takes the guest.
 */
#ifndef HVN_TX_BEHIND
#define HVN_TX_BEHIND 4096u
#endif

static inline bool
hvn_tx_held(const struct hvn_chan *ch)
{
	return __atomic_load_n(&ch->tx_held, __ATOMIC_RELAXED);
}

/* --- transmit burst, with out_lock ---------------------------------------------------------------- */

bool hvn_tx_resume(struct hvn_txq *q);
bool hvn_tx_hold(struct hvn_txq *q);

/* Begin: false if there is no room to go on with the aggregate that waits. */
static __rte_always_inline bool
hvn_tx_begin(struct hvn_txq *q)
{
	struct hvn_txd *t = q->txd;

	/* Another queue that shares the channel has nothing to do with it. */
	t->looked = unlikely(__atomic_load_n(&q->chan->tx_watched, __ATOMIC_RELAXED)) &&
		    q->queue_id == q->chan->index;
	return likely(!t->looked && t->agg_base == NULL) || hvn_tx_resume(q);
}

/* End, with an aggregate that may have more messages: does it wait? Only its poller looks again. */
static __rte_always_inline bool
hvn_tx_end(struct hvn_txq *q)
{
	return __atomic_load_n(&q->chan->poller, __ATOMIC_RELAXED) == hvn_thread_self &&
	       hvn_tx_hold(q);
}

/* --- receive burst, with in_lock ------------------------------------------------------------------ */

/* It has taken so many frames. */
void hvn_tx_look(struct hvn_chan *ch, uint16_t frames);

/* Whether this thread has to come again, although nothing comes in. */
static __rte_always_inline bool
hvn_tx_watch(struct hvn_chan *ch, uint16_t frames)
{
	if (unlikely(ch->poller != hvn_thread_self)) {
		__atomic_store_n(&ch->poller, hvn_thread_self, __ATOMIC_RELAXED);
		/* Either this thread finds what the former one holds, or that one finds this. */
		vmbus_ring_full_fence();
	}
	if (likely(__atomic_load_n(&ch->tx_looker, __ATOMIC_RELAXED) == 0))
		return false;
	hvn_tx_look(ch, frames);
	return __atomic_load_n(&ch->tx_looker, __ATOMIC_RELAXED) != 0;
}

/* --- others --------------------------------------------------------------------------------------- */

/* Send what waits, if there is room, and unless the channel is in use just now. */
void hvn_tx_flush(struct hvn_txq *q);
/* The same by any thread, of a channel whose thread may look no more. */
void hvn_tx_flush_chan(struct hvn_chan *ch);
/* The same, if it has waited since the last call. */
void hvn_tx_flush_old(struct hvn_chan *ch);
/* The queue stops: what still waits is lost. */
void hvn_tx_unhold(struct hvn_txq *q);

#endif /* HVN_TX_HOLD_H */
