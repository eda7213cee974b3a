/* SPDX-License-Identifier: BSD-3-Clause */
#include "vmbus_sigbus.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>
#include <sys/mman.h>

#define RANGES_MAX 2048

/*
 * The handler reads these without a lock. bytes is cleared first and written last, addr between, and
 * the handler reads bytes, addr, bytes: what it finds in the middle belongs to a range that was
 * guarded, if the two others are equal.
 */
static struct range {
	uintptr_t addr;
	size_t bytes; /* 0: free */
} ranges[RANGES_MAX];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction before;
static long page_bytes;

static bool
guarded(uintptr_t at)
{
	for (unsigned int i = 0; i < RANGES_MAX; i++) {
		/* Acquire: the address of these bytes, or a later one. */
		size_t bytes = __atomic_load_n(&ranges[i].bytes, __ATOMIC_ACQUIRE);
		/* Acquire: a later address comes with the 0 that was stored before it. */
		uintptr_t addr = __atomic_load_n(&ranges[i].addr, __ATOMIC_ACQUIRE);

		/* An entry that is changing is none that somebody may touch. */
		if (bytes != 0 && at - addr < bytes &&
		    __atomic_load_n(&ranges[i].bytes, __ATOMIC_RELAXED) == bytes)
			return true;
	}
	return false;
}

static void
pass_on(int sig, siginfo_t *info, void *context)
{
	if ((before.sa_flags & SA_SIGINFO) != 0) {
		before.sa_sigaction(sig, info, context);
	} else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
		before.sa_handler(sig);
	} else if (before.sa_handler == SIG_DFL || info->si_code > 0) {
		/* A fault repeats itself when this returns; what was sent does not. */
		signal(sig, SIG_DFL);
		if (info->si_code <= 0)
			raise(sig);
	}
}

static void
on_sigbus(int sig, siginfo_t *info, void *context)
{
	uintptr_t at = (uintptr_t)info->si_addr;
	int error = errno;

	/* si_code: sent by another process, it has no address. */
	if (info->si_code <= 0 || !guarded(at) ||
	    mmap((void *)(at & ~(uintptr_t)(page_bytes - 1)), (size_t)page_bytes,
		 PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		 0) == MAP_FAILED)
		pass_on(sig, info, context);
	errno = error;
}

/* The lock is held. */
static int
install(void)
{
	/* No other flag: EAL's own handler, installed behind ours, passes on to just that. */
	struct sigaction sa = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };
	static bool installed;

	if (installed)
		return 0;
	page_bytes = sysconf(_SC_PAGESIZE);
	sigemptyset(&sa.sa_mask);
	/* Known before the handler can run. */
	if (sigaction(SIGBUS, NULL, &before) != 0 || sigaction(SIGBUS, &sa, NULL) != 0)
		return -errno;
	installed = true;
	return 0;
}

int
vmbus_sigbus_guard(void *addr, size_t bytes)
{
	unsigned int i;
	int rc;

	pthread_mutex_lock(&lock);
	rc = install();
	for (i = 0; rc == 0 && i < RANGES_MAX && ranges[i].bytes != 0; i++)
		;
	if (rc == 0 && i == RANGES_MAX)
		rc = -ENOSPC;
	if (rc == 0) {
		/* Release: behind the 0 of who had the entry before. */
		__atomic_store_n(&ranges[i].addr, (uintptr_t)addr, __ATOMIC_RELEASE);
		/* Release: behind the address. */
		__atomic_store_n(&ranges[i].bytes, bytes, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&lock);
	return rc;
}

void
vmbus_sigbus_unguard(const void *addr)
{
	pthread_mutex_lock(&lock);
	for (unsigned int i = 0; i < RANGES_MAX; i++)
		if (ranges[i].bytes != 0 && ranges[i].addr == (uintptr_t)addr)
			__atomic_store_n(&ranges[i].bytes, 0, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&lock);
}
