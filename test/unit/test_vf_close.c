/* SPDX-License-Identifier: BSD-3-Clause */
/* How long the end of a port waits for its VF, on a clock of the test's; the VF itself is stubs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <rte_cycles.h>

static uint64_t clock_us;

static int
test_clock(clockid_t id, struct timespec *ts)
{
	(void)id;
	ts->tv_sec = (time_t)(clock_us / 1000000);
	ts->tv_nsec = (long)(clock_us % 1000000 * 1000);
	return 0;
}

static void
test_sleep(unsigned int us)
{
	clock_us += us;
}

#define clock_gettime	   test_clock
#define rte_delay_us_sleep test_sleep

#include "../../drivers/net/hvnetvsc/hvn_vf.c"

int hvn_logtype;

static struct hvn_port port;
static struct hvn_vf vf;
static bool inside; /* a burst does not leave the VF */

int
hvn_vf_queues_quiesce(struct hvn_vf *v)
{
	(void)v;
	clock_us += 200 * 1000;
	return inside ? -EAGAIN : 0;
}

/* What the state machine asks for besides succeeds at once. */
#define DONE(type, name, ...)   \
	type name(__VA_ARGS__)  \
	{                       \
		return (type)0; \
	}
DONE(void, hvn_ctrl_kick, __rte_unused struct hvn_port *p)
DONE(void, hvn_flow_free, __rte_unused struct hvn_vf *v)
DONE(int, hvn_nvsp_switch_data_path, __rte_unused struct hvn_port *p, __rte_unused uint32_t path)
DONE(bool, hvn_process_stopped, __rte_unused uint32_t mark)
DONE(void, hvn_vf_args_free, __rte_unused struct hvn_vf_arg **kept)
DONE(int, hvn_vf_apply, __rte_unused struct hvn_vf *v)
DONE(int, hvn_vf_attach, __rte_unused struct hvn_vf *v)
DONE(void, hvn_vf_claim, __rte_unused struct hvn_vf *v)
DONE(void, hvn_vf_unclaim, __rte_unused struct hvn_vf *v)
DONE(void, hvn_vf_clear, __rte_unused struct hvn_vf *v)
DONE(int, hvn_vf_configure, __rte_unused struct hvn_vf *v)
DONE(void, hvn_vf_detach, __rte_unused struct hvn_vf *v)
DONE(int, hvn_vf_look, __rte_unused struct hvn_vf *v)
DONE(void, hvn_vf_unwatch, __rte_unused struct hvn_vf *v)
DONE(void, hvn_vf_stop, __rte_unused struct hvn_vf *v)
DONE(void, hvn_vf_stats_end, __rte_unused struct hvn_vf *v)
DONE(void, hvn_vf_queues_order, __rte_unused struct hvn_port *p, __rte_unused enum hvn_ring_first f)
DONE(void, hvn_vf_queues_room, __rte_unused struct hvn_port *p)
DONE(void, hvn_vf_queues_rx, __rte_unused struct hvn_port *p, __rte_unused uint16_t v)
DONE(void, hvn_vf_queues_tx, __rte_unused struct hvn_port *p, __rte_unused uint16_t v)
DONE(void, hvn_vf_queues_rx_off, __rte_unused struct hvn_vf *v)
DONE(void, hvn_vf_queues_tx_back, __rte_unused struct hvn_port *p)
DONE(void, hvn_vf_queues_unsaid, __rte_unused struct hvn_port *p)

/* A VF that vanished long ago, but for a burst; its next try is as far away as it gets. */
static int
fresh(void **state)
{
	(void)state;
	clock_us = 3600 * UINT64_C(1000000);
	memset(&vf, 0, sizeof(vf));
	vf.p = &port;
	vf.port = 1;
	port.vf = &vf;
	rte_spinlock_init(&vf.lock);
	hvn_path_init(&vf.path);
	vf.path.started = vf.path.attached = vf.path.running = vf.path.turned = true;
	vf.path.stale = vf.path.backoff = true;
	vf.path.tries = UINT8_MAX;
	vf.retry_at = hvn_vf_now() + RETRY_MAX_MS * HVN_NS_PER_MS;
	inside = false;
	return 0;
}

static uint64_t
waited_ms(void (*end)(struct hvn_port *))
{
	uint64_t start = clock_us;

	end(&port);
	return (clock_us - start) / 1000;
}

/* The burst is over: nobody waits for the next try. */
static void
over(void **state)
{
	(void)state;
	assert_in_range(waited_ms(hvn_vf_close), 1, 500);
	assert_false(vf.path.attached);
	fresh(state);
	assert_in_range(waited_ms(hvn_vf_pause), 1, 500);
	assert_false(vf.path.running);
}

/* It never is: nor is it waited for without end. */
static void
never(void **state)
{
	(void)state;
	inside = true;
	assert_in_range(waited_ms(hvn_vf_close), CLOSE_MS, CLOSE_MS + 1000);
	assert_true(vf.path.attached);
	fresh(state);
	inside = true;
	assert_in_range(waited_ms(hvn_vf_pause), CLOSE_MS, CLOSE_MS + 1000);
	assert_true(vf.path.running);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(over, fresh),
		cmocka_unit_test_setup(never, fresh),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
