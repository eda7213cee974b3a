/* SPDX-License-Identifier: BSD-3-Clause */
#include <rte_cycles.h>
#include <rte_pause.h>

#include "hvn_biased.h"

#define IN_A_ROW 64u /* that makes a thread the favourite */
/* From one who takes the favour away to the next; in that time a store is seen without a barrier. */
#define OFTEN_MS 10u
#define PAUSE_MS 1000u /* then there is none for so long */

__thread uint64_t hvn_thread_self = HVN_NO_THREAD;

static uint64_t
self(void)
{
	static uint32_t threads;

	if (hvn_thread_self >> 32 != hvn_process_self)
		hvn_thread_self = (uint64_t)hvn_process_self << 32 |
				  __atomic_add_fetch(&threads, 1, __ATOMIC_RELAXED);
	return hvn_thread_self;
}

static uint64_t
after_ms(uint32_t ms)
{
	return rte_rdtsc() + rte_get_tsc_hz() / 1000 * ms;
}

/* The caller has lock. The favour ends; has the favourite seen that, or do we see it inside? */
static bool
take_favour(struct hvn_biased *b, uint64_t from)
{
	const bool often = rte_rdtsc() < b->patient_at;

	b->lender = often ? 0 : from;
	if (often)
		b->favour_at = after_ms(PAUSE_MS);
	b->patient_at = after_ms(OFTEN_MS);
	/* Whoever takes over from us, if we are killed before the barrier, waits instead. */
	b->unfenced = HVN_BIASED_UNFENCED;
	__atomic_store_n(&b->favourite, 0, __ATOMIC_RELEASE);
	if (hvn_process_barrier() == 0) {
		b->unfenced = HVN_BIASED_FENCED;
		return true;
	}
	/* Forbidden since the port was probed. */
	hvn_process_fenced = false;
	b->lender = 0;
	b->favour_at = after_ms(PAUSE_MS);
	return false;
}

/* The caller has lock. Not while another one is to be it again, or may still believe to be it. */
static void
choose_favourite(struct hvn_biased *b, uint64_t me)
{
	b->in_a_row = 0;
	if (b->lender != 0 || !hvn_process_fenced || (b->former != 0 && b->former != me) ||
	    rte_rdtsc() < b->favour_at)
		return;
	/* When lock is released: who has both ways in could come in twice. */
	b->lender = me;
}

/* The caller has lock; has it the other half, too? *dead: only because who was inside is gone. */
static bool
settle(struct hvn_biased *b, uint64_t me, bool *dead)
{
	const uint64_t favourite = __atomic_load_n(&b->favourite, __ATOMIC_RELAXED);
	uint64_t inside;

	if (favourite != 0 && favourite != me && !take_favour(b, favourite))
		return false;
	if (b->unfenced == HVN_BIASED_UNFENCED) {
		b->patient_at = after_ms(OFTEN_MS);
		/* Release: behind the time, also if we are killed here. */
		__atomic_store_n(&b->unfenced, HVN_BIASED_WAITING, __ATOMIC_RELEASE);
		return false;
	}
	if (b->unfenced == HVN_BIASED_WAITING && rte_rdtsc() < b->patient_at)
		return false;
	b->unfenced = HVN_BIASED_FENCED;
	/* Acquire: what the favourite did inside. */
	inside = __atomic_load_n(&b->inside, __ATOMIC_ACQUIRE);
	if (inside != 0 && dead != NULL && hvn_process_gone((uint32_t)(inside >> 32))) {
		/* It writes nothing any more, and nobody else does: see former. */
		b->former = b->lender = 0;
		__atomic_store_n(&b->inside, 0, __ATOMIC_RELAXED);
		*dead = true;
		return true;
	}
	/* It was given back the favour on its way here: see choose_favourite(). */
	if (favourite == me && inside == 0) {
		b->lender = me;
		__atomic_store_n(&b->favourite, 0, __ATOMIC_RELAXED);
	}
	return inside == 0;
}

bool
hvn_biased_try_shared(struct hvn_biased *b)
{
	const uint64_t me = self();

	if (!hvn_lock_try(&b->lock))
		return false;
	if (!settle(b, me, NULL)) {
		hvn_lock_release(&b->lock);
		return false;
	}
	/* Nobody is the favourite while somebody has lock; who is to be it again stands in lender. */
	if (b->former == me)
		b->former = 0;
	if (b->last != me)
		b->in_a_row = 0;
	b->last = me;
	if (++b->in_a_row >= IN_A_ROW)
		choose_favourite(b, me);
	return true;
}

void
hvn_biased_release_shared(struct hvn_biased *b)
{
	const uint64_t lender = b->lender;

	if (lender != 0) {
		b->lender = 0;
		b->former = lender;
		/* Release: it sees what was done meanwhile. */
		__atomic_store_n(&b->favourite, lender, __ATOMIC_RELEASE);
	}
	hvn_lock_release(&b->lock);
}

bool
hvn_biased_take_over(struct hvn_biased *b)
{
	const uint32_t owner = __atomic_load_n(&b->lock.owner, __ATOMIC_RELAXED);
	const uint64_t inside = __atomic_load_n(&b->inside, __ATOMIC_RELAXED);
	uint32_t was = owner;
	bool dead = owner != 0;

	/* From just the one that was looked at, since that is put back. */
	if (!hvn_process_gone(dead ? owner : (uint32_t)(inside >> 32)) ||
	    !__atomic_compare_exchange_n(&b->lock.owner, &was, hvn_process_self, false,
					 __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return false;
	if (!settle(b, self(), &dead)) {
		/* The favourite may be looking in: as it was, so that the dead is found again. */
		__atomic_store_n(&b->lock.owner, owner, __ATOMIC_RELEASE);
		return false;
	}
	if (!dead)
		hvn_biased_release_shared(b);
	return dead;
}

enum hvn_lock_rc
hvn_biased_wait(struct hvn_biased *b, unsigned int ms)
{
	const uint64_t since = rte_rdtsc();

	while (!hvn_biased_try(b)) {
		if (hvn_biased_take_over(b))
			return HVN_LOCK_TAKEN_OVER;
		if (hvn_process_late(hvn_biased_holder(b), since, ms))
			return HVN_LOCK_NO;
		rte_delay_us_sleep(20);
	}
	return HVN_LOCK_YES;
}

enum hvn_lock_rc
hvn_biased_spin(struct hvn_biased *b)
{
	for (uint32_t i = 0; i < HVN_LOCK_SPINS; i++) {
		if (hvn_biased_try(b))
			return HVN_LOCK_YES;
		rte_pause();
	}
	return hvn_biased_take_over(b) ? HVN_LOCK_TAKEN_OVER : HVN_LOCK_NO;
}
