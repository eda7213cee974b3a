/* SPDX-License-Identifier: BSD-3-Clause */
/* How many frames a rate allows by now; the excess that nobody could take is missed. */
#ifndef HOST_PACE_H
#define HOST_PACE_H

#include <stdbool.h>
#include <stdint.h>

#define PACE_SECOND 1000000000u

struct pace {
	uint64_t rate;	 /* frames per second, > 0 */
	uint64_t limit;	 /* frames that may wait; more are missed */
	uint64_t burst;	 /* frames come in groups of so many */
	uint64_t last;	 /* ns of the last look, valid if running */
	uint64_t credit; /* frames times PACE_SECOND */
	uint64_t missed;
	bool running;
};

/* Frames due now, a multiple of burst; pace_take() must follow for those made. */
static inline uint64_t
pace_due(struct pace *p, uint64_t now)
{
	uint64_t elapsed, due;

	if (!p->running) {
		p->running = true;
		p->last = now;
		p->credit = p->burst * PACE_SECOND;
	}
	elapsed = now > p->last ? now - p->last : 0;
	p->last += elapsed;
	/* Whole seconds apart, so that nothing overflows however long nobody looked. */
	p->credit += elapsed % PACE_SECOND * p->rate;
	due = p->credit / PACE_SECOND + elapsed / PACE_SECOND * p->rate;
	if (due > p->limit) {
		p->missed += due - p->limit;
		due = p->limit;
		p->credit %= PACE_SECOND;
		p->credit += due * PACE_SECOND;
	} else
		p->credit += elapsed / PACE_SECOND * p->rate * PACE_SECOND;
	return due - due % p->burst;
}

static inline void
pace_take(struct pace *p, uint64_t n)
{
	p->credit -= n * PACE_SECOND;
}

#endif /* HOST_PACE_H */
