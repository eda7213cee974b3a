/* SPDX-License-Identifier: BSD-3-Clause */
/* Waiting for another thread of the test. */
#ifndef REST_H
#define REST_H

#include <time.h>

/*
 * Between two looks at what another thread does. Mostly a moment, now and then a sleep, for that
 * thread may need this processor. Not sched_yield(): Linux 6.18 makes whoever yields lose a slice
 * each time, and one who yields in a loop, or others beside it, lose the processor for minutes.
 */
static inline void
rest(void)
{
	static __thread unsigned int looks;
	const struct timespec shortest = { .tv_nsec = 1 };

	if (++looks % 64 == 0)
		nanosleep(&shortest, NULL);
	else
		__builtin_ia32_pause();
}

#endif /* REST_H */
