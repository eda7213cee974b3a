/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A lock that favours one thread: who is the favourite, how it stops being that, and that no two are
 * ever inside. On a clock of the test's, where that matters.
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <rte_atomic.h>
#include <rte_cycles.h>

static uint64_t clock_us;

static uint64_t
test_rdtsc(void)
{
	return __atomic_load_n(&clock_us, __ATOMIC_RELAXED);
}

static uint64_t
test_tsc_hz(void)
{
	return 1000000;
}

static void
test_sleep(unsigned int us)
{
	__atomic_add_fetch(&clock_us, us, __ATOMIC_RELAXED);
}

static int barrier_rc;
static unsigned int barriers;

#define rte_rdtsc	   test_rdtsc
#define rte_get_tsc_hz	   test_tsc_hz
#define rte_delay_us_sleep test_sleep

#include "../../drivers/net/hvnetvsc/hvn_lock.c"
#include "../../drivers/net/hvnetvsc/hvn_process.c"

static int
test_barrier(void)
{
	__atomic_add_fetch(&barriers, 1, __ATOMIC_RELAXED);
	return barrier_rc != 0 ? barrier_rc : hvn_process_barrier();
}

#define hvn_process_barrier test_barrier
#include "../../drivers/net/hvnetvsc/hvn_biased.c"

static struct hvn_biased *b;

/* As often as makes a thread the favourite. */
static void
take_often(void)
{
	for (uint32_t i = 0; i < IN_A_ROW; i++) {
		assert_true(hvn_biased_try(b));
		hvn_biased_release(b);
	}
}

static bool
take_once(void)
{
	bool got = hvn_biased_try(b);

	if (got)
		hvn_biased_release(b);
	return got;
}

/* --- other threads, one at a time --------------------------------------------------------------- */

static void *
call(void *arg)
{
	((void (*)(void))arg)();
	return NULL;
}

/* A thread that does this, then is told to go on, and ends. */
static void
other(void (*what)(void))
{
	pthread_t t;

	assert_int_equal(pthread_create(&t, NULL, call, (void *)what), 0);
	assert_int_equal(pthread_join(t, NULL), 0);
}

static bool got;

static void
try_it(void)
{
	got = take_once();
}

static void
take_it_over(void)
{
	got = hvn_biased_take_over(b);
}

static int
setup(void **state)
{
	(void)state;
	hvn_process_init(0);
	hvn_thread_self = HVN_NO_THREAD;
	hvn_process_fenced = hvn_process_register() == 0;
	clock_us += 3600 * UINT64_C(1000000);
	barrier_rc = 0;
	barriers = 0;
	b = mmap(NULL, sizeof(*b), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return b == MAP_FAILED ? -1 : 0;
}

static int
teardown(void **state)
{
	(void)state;
	return munmap(b, sizeof(*b));
}

/* --- who is the favourite ----------------------------------------------------------------------- */

static void
favourite(void **state)
{
	(void)state;
	for (uint32_t i = 1; i < IN_A_ROW; i++)
		assert_true(take_once());
	assert_int_equal(b->favourite, 0);
	assert_true(take_once());
	assert_int_equal(b->favourite, hvn_thread_self);
	/* Now it does not come to where the others do. */
	assert_true(hvn_biased_try(b));
	assert_int_equal(b->lock.owner, 0);
	assert_int_equal(hvn_biased_holder(b), hvn_process_self);
	hvn_biased_release(b);
	assert_int_equal(hvn_biased_holder(b), 0);
	assert_int_equal(barriers, 0);
}

/* Two that take turns. */
static void
nobody(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 2 * IN_A_ROW; i++) {
		assert_true(take_once());
		other(try_it);
		assert_true(got);
	}
	assert_int_equal(b->favourite, 0);
	assert_int_equal(barriers, 0);
}

static void
without_barrier(void **state)
{
	(void)state;
	hvn_process_fenced = false;
	take_often();
	assert_int_equal(b->favourite, 0);
}

/* Forbidden since: who cannot call it waits for as long as a store may take, and there is no favour. */
static void
barrier_fails(void **state)
{
	(void)state;
	take_often();
	barrier_rc = -EPERM;
	other(try_it);
	assert_false(got);
	assert_int_equal(b->favourite, 0);
	other(try_it);
	assert_false(got);
	assert_int_equal(barriers, 1);
	clock_us += OFTEN_MS * 1000;
	other(try_it);
	assert_true(got);
	clock_us += PAUSE_MS * 1000;
	take_often();
	assert_int_equal(b->favourite, 0);
}

/* As a callback would that is run there, of an mbuf that is freed. */
static void
nested(void **state)
{
	(void)state;
	take_often();
	assert_true(hvn_biased_try(b));
	assert_false(hvn_biased_try(b));
	assert_int_equal(b->lock.owner, 0);
	hvn_biased_release(b);
	assert_true(take_once());
	assert_int_equal(b->favourite, hvn_thread_self);
	/* It was given the favour back when it was on its way to where everybody comes in. */
	assert_true(hvn_biased_try_shared(b));
	assert_false(hvn_biased_try(b));
	hvn_biased_release(b);
	assert_int_equal(b->favourite, hvn_thread_self);
	/* Or is chosen now. */
	b->favourite = b->former = 0;
	for (uint32_t i = 1; i < IN_A_ROW; i++)
		assert_true(take_once());
	assert_true(hvn_biased_try(b));
	assert_false(hvn_biased_try(b));
	hvn_biased_release(b);
	assert_int_equal(b->favourite, hvn_thread_self);
}

/* A thread is one as long as its process, whatever another probe finds in /proc. */
static void
mark_stays(void **state)
{
	const uint32_t mark = hvn_process_self;

	(void)state;
	hvn_process_self ^= 1u << HVN_PROCESS_ID_BITS;
	hvn_process_init(0);
	assert_int_not_equal(hvn_process_self, mark);
	hvn_process_self = mark;
}

/* --- and is it no more -------------------------------------------------------------------------- */

static void
lent(void **state)
{
	(void)state;
	take_often();
	/* The control thread comes by. */
	for (uint32_t i = 1; i <= 5; i++) {
		clock_us += 20000;
		other(try_it);
		assert_true(got);
		assert_int_equal(barriers, i);
		assert_int_equal(b->favourite, hvn_thread_self);
	}
	/* Somebody who comes again and again. */
	other(try_it);
	assert_int_equal(barriers, 6);
	assert_int_equal(b->favourite, 0);
	other(try_it);
	assert_int_equal(barriers, 6);
	take_often();
	assert_int_equal(b->favourite, 0);
	clock_us += PAUSE_MS * 1000;
	take_often();
	assert_int_equal(b->favourite, hvn_thread_self);
}

static void
inside(void **state)
{
	(void)state;
	take_often();
	assert_true(hvn_biased_try(b));
	other(try_it);
	assert_false(got);
	other(take_it_over);
	assert_false(got);
	/* Its next try is as everybody's, but what it has taken its way is given back its way. */
	assert_int_equal(b->favourite, 0);
	assert_int_equal(hvn_biased_wait(b, 10), HVN_LOCK_NO);
	hvn_biased_release(b);
	assert_true(take_once());
	assert_int_equal(b->favourite, hvn_thread_self);
	assert_int_equal(b->former, hvn_thread_self);
	other(try_it);
	assert_true(got);
}

/*
 * One that may have read that it is the favourite, and write that it is inside any time: another one
 * must not have to rely on that word.
 */
static void
former(void **state)
{
	(void)state;
	other(take_often);
	assert_int_not_equal(b->favourite, 0);
	assert_true(take_once());
	assert_true(take_once());
	clock_us += PAUSE_MS * 1000;
	take_often();
	clock_us += PAUSE_MS * 1000;
	take_often();
	assert_int_equal(b->favourite, 0);
	assert_int_not_equal(b->former, 0);
	/* It comes in by the other door. */
	hvn_thread_self = b->former;
	assert_true(take_once());
	assert_int_equal(b->former, 0);
	hvn_thread_self = HVN_NO_THREAD;
	clock_us += PAUSE_MS * 1000;
	take_often();
	assert_int_equal(b->favourite, hvn_thread_self);
}

/* --- other processes ---------------------------------------------------------------------------- */

static pid_t child;

/* A child that becomes the favourite, and stays inside or not. */
static void
start_child(bool stay)
{
	int ready[2];
	char c;

	assert_int_equal(pipe(ready), 0);
	child = fork();
	if (child == 0) {
		hvn_process_init(0);
		if (hvn_process_register() != 0)
			_exit(1);
		for (uint32_t i = 0; i < IN_A_ROW; i++)
			if (!take_once())
				_exit(1);
		if (stay && !hvn_biased_try(b))
			_exit(1);
		if (write(ready[1], "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	assert_true(child > 0);
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	assert_int_not_equal(b->favourite, 0);
}

static void
end_child(void)
{
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, NULL, 0), child);
}

static void
killed_inside(void **state)
{
	(void)state;
	start_child(true);
	assert_false(take_once());
	assert_false(hvn_biased_take_over(b));
	end_child();
	assert_false(take_once());
	assert_int_equal(hvn_biased_wait(b, 10), HVN_LOCK_TAKEN_OVER);
	hvn_biased_release(b);
	clock_us += PAUSE_MS * 1000;
	take_often();
	assert_int_equal(b->favourite, hvn_thread_self);
}

static void
killed_outside(void **state)
{
	(void)state;
	start_child(false);
	end_child();
	assert_false(hvn_biased_take_over(b));
	assert_true(take_once());
	/* It is not known whether it was about to write: nobody is favoured. */
	clock_us += PAUSE_MS * 1000;
	take_often();
	clock_us += PAUSE_MS * 1000;
	take_often();
	assert_int_equal(b->favourite, 0);
}

static void
stopped_inside(void **state)
{
	int status;

	(void)state;
	start_child(true);
	kill(child, SIGSTOP);
	assert_int_equal(waitpid(child, &status, WUNTRACED), child);
	assert_int_equal(hvn_biased_wait(b, HVN_BURST_MS), HVN_LOCK_NO);
	assert_int_equal(hvn_biased_spin(b), HVN_LOCK_NO);
	assert_int_equal(hvn_biased_holder(b), b->inside >> 32);
	end_child();
	assert_int_equal(hvn_biased_spin(b), HVN_LOCK_TAKEN_OVER);
}

/* Somebody was killed with the lock while the favourite looked in: the dead is found all the same. */
static void
favourite_looks_in(void **state)
{
	uint32_t dead;

	(void)state;
	start_child(false);
	dead = (uint32_t)(b->favourite >> 32);
	end_child();
	assert_true(take_once());
	b->favourite = b->lender = 0;
	b->lock.owner = dead;
	b->inside = hvn_thread_self;
	other(take_it_over);
	assert_false(got);
	assert_int_equal(b->lock.owner, dead);
	b->inside = 0;
	other(take_it_over);
	assert_true(got);
}

/* Killed between what ends the favour and the barrier: whoever takes over has none. */
static void
killed_unfenced(void **state)
{
	uint32_t dead;

	(void)state;
	start_child(false);
	dead = (uint32_t)(b->favourite >> 32);
	end_child();
	b->favourite = b->lender = 0;
	b->unfenced = HVN_BIASED_UNFENCED;
	b->lock.owner = dead;
	assert_false(hvn_biased_take_over(b));
	assert_int_equal(b->lock.owner, dead);
	assert_int_equal(b->patient_at, clock_us + OFTEN_MS * 1000);
	assert_int_equal(hvn_biased_wait(b, HVN_BURST_MS), HVN_LOCK_TAKEN_OVER);
	assert_true(clock_us >= b->patient_at);
}

/* Somebody of this process looks whether it can have what a stopped one has. */
static void
elsewhere(void **state)
{
	(void)state;
	start_child(true);
	assert_int_equal(hvn_biased_elsewhere(b), b->inside >> 32);
	b->lock.owner = hvn_process_self;
	assert_int_equal(hvn_biased_elsewhere(b), b->inside >> 32);
	b->lock.owner = 0;
	end_child();
	assert_int_equal(hvn_biased_elsewhere(b), 0);
}

/* --- between any two instructions --------------------------------------------------------------- */

#define STEP	 (UINT64_C(1) << 8) /* of the processor's flags: trap after each instruction */
#define SOMEBODY ((uint64_t)hvn_process_self << 32 | UINT32_MAX)

static volatile uint32_t steps, take_at, release_at;
static volatile bool somebody_in, both_in;

static void
set_step(bool on)
{
	uint64_t flags = __builtin_ia32_readeflags_u64();

	/* What is done in between is seen behind. */
	rte_compiler_barrier();
	__builtin_ia32_writeeflags_u64(on ? flags | STEP : flags & ~STEP);
	rte_compiler_barrier();
}

/* Somebody else comes, and goes, while the favourite is on its way in or out. */
static void
on_step(int sig)
{
	const uint64_t favourite = hvn_thread_self;

	(void)sig;
	steps++;
	hvn_thread_self = SOMEBODY;
	if (steps == take_at)
		somebody_in = hvn_biased_try(b);
	if (steps == release_at && somebody_in) {
		somebody_in = false;
		hvn_biased_release(b);
	}
	hvn_thread_self = favourite;
}

/* Returns how many instructions there were. */
static uint32_t
favourite_takes(uint32_t take, uint32_t release)
{
	bool in;

	memset(b, 0, sizeof(*b));
	take_often();
	assert_int_equal(b->favourite, hvn_thread_self);
	steps = 0;
	somebody_in = false;
	take_at = take;
	release_at = release;
	set_step(true);
	in = hvn_biased_try(b);
	if (in && somebody_in)
		both_in = true;
	if (in)
		hvn_biased_release(b);
	set_step(false);
	if (somebody_in) {
		hvn_thread_self = SOMEBODY;
		hvn_biased_release(b);
		hvn_thread_self = b->former;
	}
	assert_int_equal(hvn_biased_holder(b), 0);
	assert_true(take_once());
	return steps;
}

static void
interleaved(void **state)
{
	const struct sigaction step = { .sa_handler = on_step };
	struct sigaction before;
	uint32_t n;

	(void)state;
	assert_int_equal(sigaction(SIGTRAP, &step, &before), 0);
	both_in = false;
	n = favourite_takes(UINT32_MAX, UINT32_MAX);
	assert_in_range(n, 10, 1000);
	for (uint32_t take = 1; take <= n; take++)
		for (uint32_t release = take; release <= n + 1; release++)
			favourite_takes(take, release);
	assert_false(both_in);
	sigaction(SIGTRAP, &before, NULL);
}

/* --- all at once -------------------------------------------------------------------------------- */

#define ROUNDS 50000u
#define ENOUGH 50u /* favours taken away, or the test says nothing */

static uint64_t guarded, taken;
static uint32_t failures;
static bool over;

/* Takes the lock often, and rests at times, so that others are chosen. */
static void *
busy(void *arg)
{
	const uint32_t rest = (uint32_t)(uintptr_t)arg;
	uint64_t mine = 0;

	while (!__atomic_load_n(&over, __ATOMIC_RELAXED) &&
	       (mine < ROUNDS || __atomic_load_n(&barriers, __ATOMIC_RELAXED) < ENOUGH)) {
		if (!hvn_biased_try(b)) {
			usleep(1);
			continue;
		}
		/* Not atomic: the sanitizer and the sum tell. */
		guarded++;
		mine++;
		hvn_biased_release(b);
		if (mine % rest == 0) {
			__atomic_add_fetch(&clock_us, 1000000, __ATOMIC_RELAXED);
			usleep(100);
		}
	}
	if (mine < ROUNDS)
		__atomic_add_fetch(&failures, 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&taken, mine, __ATOMIC_RELAXED);
	return NULL;
}

static void *
watch(void *arg)
{
	(void)arg;
	for (uint32_t s = 0; s < 1000 && !__atomic_load_n(&over, __ATOMIC_RELAXED); s++)
		usleep(100000);
	__atomic_store_n(&over, true, __ATOMIC_RELAXED);
	return NULL;
}

static void
together(void **state)
{
	static const uint32_t rests[] = { 7, 300, 5000 };
	pthread_t t[RTE_DIM(rests)], clock;

	(void)state;
	guarded = taken = failures = 0;
	over = false;
	assert_int_equal(pthread_create(&clock, NULL, watch, NULL), 0);
	for (unsigned int i = 0; i < RTE_DIM(t); i++)
		assert_int_equal(pthread_create(&t[i], NULL, busy, (void *)(uintptr_t)rests[i]), 0);
	for (unsigned int i = 0; i < RTE_DIM(t); i++)
		pthread_join(t[i], NULL);
	__atomic_store_n(&over, true, __ATOMIC_RELAXED);
	pthread_join(clock, NULL);
	assert_int_equal(failures, 0);
	assert_int_equal(guarded, taken);
	assert_true(barriers >= ENOUGH);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(favourite, setup, teardown),
		cmocka_unit_test_setup_teardown(nobody, setup, teardown),
		cmocka_unit_test_setup_teardown(without_barrier, setup, teardown),
		cmocka_unit_test_setup_teardown(barrier_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(nested, setup, teardown),
		cmocka_unit_test_setup_teardown(mark_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(lent, setup, teardown),
		cmocka_unit_test_setup_teardown(inside, setup, teardown),
		cmocka_unit_test_setup_teardown(former, setup, teardown),
		cmocka_unit_test_setup_teardown(killed_inside, setup, teardown),
		cmocka_unit_test_setup_teardown(killed_outside, setup, teardown),
		cmocka_unit_test_setup_teardown(stopped_inside, setup, teardown),
		cmocka_unit_test_setup_teardown(favourite_looks_in, setup, teardown),
		cmocka_unit_test_setup_teardown(killed_unfenced, setup, teardown),
		cmocka_unit_test_setup_teardown(elsewhere, setup, teardown),
		cmocka_unit_test_setup_teardown(interleaved, setup, teardown),
		cmocka_unit_test_setup_teardown(together, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
