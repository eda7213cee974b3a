/* SPDX-License-Identifier: BSD-3-Clause */
/* Pages that go away under a mapping. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <cmocka.h>

#include "vmbus_sigbus.h"

#define PAGES 4

static sigjmp_buf escape;
static unsigned int others;
static size_t page;

/* The application's own handler, which was there first. */
static void
application_handler(int sig, siginfo_t *info, void *context)
{
	(void)sig, (void)context;
	others++;
	if (info->si_code > 0)
		siglongjmp(escape, 1);
}

/* A mapping of a file that has lost its pages. */
static volatile uint8_t *
lost(void)
{
	int fd = memfd_create("lost", MFD_CLOEXEC);
	volatile uint8_t *p;

	assert_int_equal(ftruncate(fd, PAGES * page), 0);
	p = mmap(NULL, PAGES * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	p[0] = p[page] = 0x55;
	assert_int_equal(ftruncate(fd, 0), 0);
	close(fd);
	return p;
}

static bool
faults(volatile uint8_t *p)
{
	if (sigsetjmp(escape, 1) != 0)
		return true;
	(void)*p;
	return false;
}

static void
guarded(void)
{
	volatile uint8_t *p = lost();

	others = 0;
	assert_int_equal(vmbus_sigbus_guard((void *)(uintptr_t)p, PAGES * page), 0);
	assert_false(faults(&p[page + 5]));
	assert_int_equal(p[page], 0);
	p[3 * page] = 7;
	assert_int_equal(p[3 * page], 7);
	assert_int_equal(others, 0);
	vmbus_sigbus_unguard((const void *)(uintptr_t)p);
	/* What was not touched before is now nobody's. */
	assert_true(faults(&p[0]));
	assert_int_equal(others, 1);
	munmap((void *)(uintptr_t)p, PAGES * page);
}

/* Other faults, and signals that are sent, are the application's as before. */
static void
passed_on(void)
{
	volatile uint8_t *p = lost(), *q = lost();

	others = 0;
	assert_int_equal(vmbus_sigbus_guard((void *)(uintptr_t)p, page), 0);
	assert_true(faults(&p[page]));
	assert_true(faults(q));
	assert_false(faults(p));
	raise(SIGBUS);
	assert_int_equal(others, 3);
	vmbus_sigbus_unguard((const void *)(uintptr_t)p);
	munmap((void *)(uintptr_t)p, PAGES * page);
	munmap((void *)(uintptr_t)q, PAGES * page);
}

static void
many(void)
{
	int rc = 0, n = 0;

	while (rc == 0 && n < 100000)
		rc = vmbus_sigbus_guard((void *)((uintptr_t)++n * page), page);
	assert_int_equal(rc, -ENOSPC);
	for (int i = 1; i < n; i++)
		vmbus_sigbus_unguard((void *)((uintptr_t)i * page));
	guarded();
}

/* One test: cmocka has a handler of its own for each. */
static void
all(void **state)
{
	struct sigaction sa = { .sa_sigaction = application_handler, .sa_flags = SA_SIGINFO };

	(void)state;
	sigaction(SIGBUS, &sa, NULL);
	guarded();
	passed_on();
	many();
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(all) };

	page = (size_t)sysconf(_SC_PAGESIZE);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
