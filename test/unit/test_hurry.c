/* SPDX-License-Identifier: BSD-3-Clause */
/* How long a port that ends waits for its host, on a clock of the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <rte_cycles.h>

#define HZ 1000000u /* a cycle is a microsecond */

static uint64_t clock_us;

#define rte_get_timer_cycles() clock_us
#define rte_get_timer_hz()     ((uint64_t)HZ)
#include "../../drivers/net/hvnetvsc/hvn_hurry.c"

/* Two ports of one host, and one of another. */
static struct hv_vmbus_host host, other_host;
static struct hv_vmbus_device devs[3];
static struct hvn_port ports[3];

static int
fresh(void **state)
{
	(void)state;
	clock_us = 1000 * (uint64_t)HZ;
	memset(&host, 0, sizeof(host));
	memset(&other_host, 0, sizeof(other_host));
	memset(ports, 0, sizeof(ports));
	for (unsigned int i = 0; i < RTE_DIM(ports); i++) {
		devs[i].host = i < 2 ? &host : &other_host;
		rte_eth_devices[i].device = &devs[i].device;
		ports[i].port_id = (uint16_t)i;
		ports[i].args.stop_timeout_ms = 500;
	}
	return 0;
}

/* The port waits in a hurry until that is over; the milliseconds. */
static uint32_t
wait_in_vain(struct hvn_port *p)
{
	uint64_t start = clock_us;

	hvn_hurry(p);
	while (!hvn_hurry_over(p, UINT64_MAX)) {
		clock_us += 1000;
		assert_in_range(clock_us - start, 0, HZ);
	}
	/* Who else asks finds it over at once. */
	assert_true(hvn_hurry_over(p, UINT64_MAX));
	hvn_hurry_end(p);
	return (uint32_t)((clock_us - start) / 1000);
}

static void
no_hurry(void **state)
{
	(void)state;
	assert_false(hvn_hurry_over(&ports[0], clock_us + 1));
	assert_true(hvn_hurry_over(&ports[0], clock_us));
	assert_int_equal(host.late_at, 0);
}

/* A stop, a close and the release of the channels by one port are one that is late. */
static void
a_port_counts_once(void **state)
{
	(void)state;
	assert_int_equal(wait_in_vain(&ports[0]), 500);
	assert_int_equal(wait_in_vain(&ports[0]), 125);
	hvn_hurry_late(&ports[0]);
	assert_int_equal(hvn_hurry_ms(&ports[0]), 125);
	assert_int_equal(hvn_hurry_ms(&ports[1]), 125);
}

/* However many ports a host lets wait, they end soon; each has a moment. */
static void
ports_share_patience(void **state)
{
	(void)state;
	assert_int_equal(wait_in_vain(&ports[0]), 500);
	assert_int_equal(wait_in_vain(&ports[1]), 125);
	assert_int_equal(hvn_hurry_ms(&ports[0]), 31);
	for (unsigned int i = 0; i < 100; i++) {
		ports[1].late_in = 0; /* many more ports */
		hvn_hurry_late(&ports[1]);
		assert_in_range(hvn_hurry_ms(&ports[0]), 10, 31);
	}
	assert_int_equal(hvn_hurry_ms(&ports[0]), 10);
	ports[0].args.stop_timeout_ms = 1;
	assert_int_equal(hvn_hurry_ms(&ports[0]), 1);
}

/* One silent host makes nobody impatient with another. */
static void
hosts_do_not(void **state)
{
	(void)state;
	wait_in_vain(&ports[0]);
	wait_in_vain(&ports[1]);
	assert_int_equal(wait_in_vain(&ports[2]), 500);
	assert_int_equal(hvn_hurry_ms(&ports[0]), 31);
	/* Nor does the answer of one count for the other. */
	hvn_hurry_answered(&ports[2]);
	assert_int_equal(hvn_hurry_ms(&ports[2]), 500);
	assert_int_equal(hvn_hurry_ms(&ports[0]), 31);
}

/* A host that answers any port has its patience back, from all. */
static void
an_answer_forgives(void **state)
{
	(void)state;
	wait_in_vain(&ports[0]);
	wait_in_vain(&ports[1]);
	hvn_hurry_answered(&ports[1]);
	assert_int_equal(hvn_hurry_ms(&ports[0]), 500);
	assert_int_equal(wait_in_vain(&ports[0]), 500);
	assert_int_equal(hvn_hurry_ms(&ports[1]), 125);
}

/* So has one that nobody asked for a while. */
static void
time_forgives(void **state)
{
	(void)state;
	wait_in_vain(&ports[0]);
	wait_in_vain(&ports[1]);
	clock_us += 5 * (uint64_t)HZ - 1;
	assert_int_equal(hvn_hurry_ms(&ports[0]), 31);
	clock_us++;
	assert_int_equal(wait_in_vain(&ports[1]), 500);
	assert_int_equal(hvn_hurry_ms(&ports[0]), 125);
}

/* Another thread was late between this one's look at the clock and its note. */
static void
clocks_of_threads(void **state)
{
	(void)state;
	wait_in_vain(&ports[0]);
	host.late_at = clock_us + 5;
	hvn_hurry_late(&ports[1]);
	assert_int_equal(host.late, 2);
}

static void
what_is_left(void **state)
{
	(void)state;
	hvn_hurry(&ports[0]);
	assert_int_equal(hvn_hurry_left(&ports[0]), 501);
	clock_us += 499 * 1000;
	assert_int_equal(hvn_hurry_left(&ports[0]), 2);
	clock_us += 1000;
	assert_int_equal(hvn_hurry_left(&ports[0]), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(no_hurry, fresh),
		cmocka_unit_test_setup(a_port_counts_once, fresh),
		cmocka_unit_test_setup(ports_share_patience, fresh),
		cmocka_unit_test_setup(hosts_do_not, fresh),
		cmocka_unit_test_setup(an_answer_forgives, fresh),
		cmocka_unit_test_setup(time_forgives, fresh),
		cmocka_unit_test_setup(clocks_of_threads, fresh),
		cmocka_unit_test_setup(what_is_left, fresh),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
