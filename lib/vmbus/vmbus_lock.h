/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A lock in memory that processes share. The kernel gives it back for a holder that is killed; one
 * that is stopped is waited for shortly. For what each holder leaves whole at every moment.
 */
#ifndef VMBUS_LOCK_H
#define VMBUS_LOCK_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <time.h>

static inline void
vmbus_lock_init(pthread_mutex_t *m)
{
	pthread_mutexattr_t a;

	pthread_mutexattr_init(&a);
	pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(m, &a);
	pthread_mutexattr_destroy(&a);
}

/* false: its holder did not run for so many milliseconds, less than 1000. */
static inline bool
vmbus_lock(pthread_mutex_t *m, unsigned int ms)
{
	struct timespec until;
	int rc = pthread_mutex_trylock(m);

	if (rc == EBUSY) {
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += ms * 1000000;
		if (until.tv_nsec >= 1000000000) {
			until.tv_sec++;
			until.tv_nsec -= 1000000000;
		}
		rc = pthread_mutex_clocklock(m, CLOCK_MONOTONIC, &until);
	}
	if (rc == EOWNERDEAD)
		rc = pthread_mutex_consistent(m);
	return rc == 0;
}

static inline void
vmbus_unlock(pthread_mutex_t *m)
{
	pthread_mutex_unlock(m);
}

#endif /* VMBUS_LOCK_H */
