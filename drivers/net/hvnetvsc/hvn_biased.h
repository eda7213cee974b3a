/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A lock as hvn_lock.h's, for the one thread that takes it again and again: that thread is favoured,
 * and takes it by plain loads and stores. Whoever else comes ends that with a barrier in all threads
 * (membarrier), some microseconds, and gives it back on release, unless others come often: then the
 * lock is one like any other for a while.
 */
#ifndef HVN_BIASED_H
#define HVN_BIASED_H

#include "hvn_lock.h"

/*
 * A thread: the mark of its process, and a number there. What it is before it takes the first lock
 * names nobody.
 */
#define HVN_NO_THREAD UINT64_C(1)
extern __thread uint64_t hvn_thread_self
	__attribute__((visibility("hidden"), tls_model("initial-exec")));

enum hvn_biased_fence {
	HVN_BIASED_FENCED,
	HVN_BIASED_UNFENCED, /* the favourite may not have seen that it is none */
	HVN_BIASED_WAITING,  /* it has by patient_at */
};

struct hvn_biased {
	uint64_t favourite; /* a thread, 0: none; changed by who has lock only */
	uint64_t inside;    /* the favourite, while it has the lock its way; written by it alone */
	struct hvn_lock lock; /* of everybody else */
	uint16_t in_a_row;    /* times that last has taken it */
	uint8_t unfenced;     /* enum hvn_biased_fence */
	uint64_t last;
	/*
	 * The last favourite, until it comes as everybody does: it may be about to write inside, so
	 * nobody else is favoured. One that has moved elsewhere, or is killed, leaves it like that.
	 */
	uint64_t former;
	uint64_t lender;     /* the favourite again when lock is released, 0: none */
	uint64_t patient_at; /* TSC until which others have come too soon */
	uint64_t favour_at;  /* TSC from which a favourite is chosen again */
} __rte_cache_aligned;

/* Where the favourite does not come in, and everybody else: hvn_biased_try(), _release(). */
bool hvn_biased_try_shared(struct hvn_biased *b);
void hvn_biased_release_shared(struct hvn_biased *b);

static __rte_always_inline bool
hvn_biased_try(struct hvn_biased *b)
{
	const uint64_t self = hvn_thread_self;

	/* Inside already: somebody is called back there, and must not come in twice. */
	if (likely(__atomic_load_n(&b->favourite, __ATOMIC_RELAXED) == self &&
		   __atomic_load_n(&b->inside, __ATOMIC_RELAXED) == 0)) {
		__atomic_store_n(&b->inside, self, __ATOMIC_RELAXED);
		/* Program order is enough: who takes the favour away supplies the fence. */
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
		/* Acquire: it may have been away, and what was done meanwhile comes with it. */
		if (likely(__atomic_load_n(&b->favourite, __ATOMIC_ACQUIRE) == self))
			return true;
		__atomic_store_n(&b->inside, 0, __ATOMIC_RELAXED);
	}
	return hvn_biased_try_shared(b);
}

static __rte_always_inline void
hvn_biased_release(struct hvn_biased *b)
{
	if (likely(__atomic_load_n(&b->inside, __ATOMIC_RELAXED) == hvn_thread_self))
		__atomic_store_n(&b->inside, 0, __ATOMIC_RELEASE);
	else
		hvn_biased_release_shared(b);
}

/* The process that has it, as a mark; 0: none. */
static inline uint32_t
hvn_biased_holder(const struct hvn_biased *b)
{
	uint32_t owner = __atomic_load_n(&b->lock.owner, __ATOMIC_RELAXED);

	return owner != 0 ? owner : (uint32_t)(__atomic_load_n(&b->inside, __ATOMIC_RELAXED) >> 32);
}

/* The process that takes it, as a mark, or that did last; 0: none. For people: nobody is kept out. */
static inline uint32_t
hvn_biased_user(const struct hvn_biased *b)
{
	uint64_t thread = __atomic_load_n(&b->favourite, __ATOMIC_RELAXED);

	if (thread == 0)
		thread = __atomic_load_n(&b->last, __ATOMIC_RELAXED);
	return (uint32_t)(thread >> 32);
}

/* The mark of another process that may have it, or is looking whether it can; 0: none. */
static inline uint32_t
hvn_biased_elsewhere(const struct hvn_biased *b)
{
	uint32_t owner = __atomic_load_n(&b->lock.owner, __ATOMIC_RELAXED);
	uint32_t inside = (uint32_t)(__atomic_load_n(&b->inside, __ATOMIC_RELAXED) >> 32);

	return hvn_process_elsewhere(owner) ? owner : hvn_process_elsewhere(inside) ? inside : 0;
}

/* As hvn_lock_take_over(), hvn_lock_wait() and hvn_lock_spin(). */
bool hvn_biased_take_over(struct hvn_biased *b);
enum hvn_lock_rc hvn_biased_wait(struct hvn_biased *b, unsigned int ms);
enum hvn_lock_rc hvn_biased_spin(struct hvn_biased *b);

#endif /* HVN_BIASED_H */
