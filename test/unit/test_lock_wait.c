/* SPDX-License-Identifier: BSD-3-Clause */
/* How long a process that does not give up its locks is waited for, on a clock of the test's. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <rte_cycles.h>

static uint64_t clock_us;

static uint64_t
test_rdtsc(void)
{
	return clock_us;
}

static uint64_t
test_tsc_hz(void)
{
	return 1000000;
}

static void
test_sleep(unsigned int us)
{
	clock_us += us;
}

#define rte_rdtsc	   test_rdtsc
#define rte_get_tsc_hz	   test_tsc_hz
#define rte_delay_us_sleep test_sleep

#include "../../drivers/net/hvnetvsc/hvn_lock.c"
#include "../../drivers/net/hvnetvsc/hvn_process.c"

/* The milliseconds until a lock is given up. */
static uint64_t
wait_for(uint32_t owner, unsigned int ms)
{
	struct hvn_lock l = { .owner = owner };
	const uint64_t start = clock_us;

	assert_int_equal(hvn_lock_wait(&l, ms), HVN_LOCK_NO);
	assert_int_equal(l.owner, owner);
	return (clock_us - start) / 1000;
}

static int
later(void **state)
{
	(void)state;
	hvn_process_init(0);
	clock_us += 3600 * UINT64_C(1000000);
	return 0;
}

/* Nobody can say whether it runs: once that was not so for long, it is for all its locks. */
static void
silent(void **state)
{
	const uint32_t one = HVN_PROCESS_ALIEN | 5, other = HVN_PROCESS_ALIEN | 6;

	(void)state;
	assert_int_equal(wait_for(one, HVN_BURST_MS), HVN_BURST_MS);
	assert_int_equal(wait_for(one, HVN_BURST_MS), SHORT_MS);
	assert_int_equal(wait_for(one, 10 * HVN_BURST_MS), SHORT_MS);
	assert_int_equal(wait_for(other, HVN_BURST_MS), HVN_BURST_MS);
	clock_us += SILENT_MS * 1000;
	assert_int_equal(wait_for(other, HVN_BURST_MS), HVN_BURST_MS);
}

/* A short wait in vain says nothing. */
static void
not_for_long(void **state)
{
	const uint32_t mark = HVN_PROCESS_ALIEN | 7;

	(void)state;
	assert_int_equal(wait_for(mark, 0), 0);
	assert_int_equal(wait_for(mark, 10), 10);
	assert_int_equal(wait_for(mark, HVN_BURST_MS), HVN_BURST_MS);
}

/* Another thread of this process was kept from a processor. */
static void
own(void **state)
{
	(void)state;
	assert_int_equal(wait_for(hvn_process_self, HVN_BURST_MS), HVN_BURST_MS);
	assert_int_equal(wait_for(hvn_process_self, HVN_BURST_MS), HVN_BURST_MS);
}

static void
stopped(void **state)
{
	pid_t child = fork();
	int status;

	(void)state;
	if (child == 0)
		for (;;)
			pause();
	assert_true(child > 0);
	assert_int_equal(wait_for((uint32_t)child, HVN_BURST_MS), HVN_BURST_MS);
	clock_us += SILENT_MS * 1000;
	kill(child, SIGSTOP);
	assert_int_equal(waitpid(child, &status, WUNTRACED), child);
	assert_int_equal(wait_for((uint32_t)child, HVN_BURST_MS), SHORT_MS);
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, NULL, 0), child);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(silent, later),
		cmocka_unit_test_setup(not_for_long, later),
		cmocka_unit_test_setup(own, later),
		cmocka_unit_test_setup(stopped, later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
