/* SPDX-License-Identifier: BSD-3-Clause */
/* What EAL's list of device arguments says of a VF, with a PCI bus of the test's. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <bus_driver.h>
#include <rte_devargs.h>

#include "hvn_vf_args.h"

#define ADDR "7870:00:00.0"

static int
nothing(void)
{
	return 0;
}

static struct rte_device *
no_device(const struct rte_device *start, rte_dev_cmp_t cmp, const void *data)
{
	(void)start, (void)cmp, (void)data;
	return NULL;
}

static int
takes_any(const char *name, void *addr)
{
	(void)name, (void)addr;
	return 0;
}

static struct rte_bus pci = {
	.scan = nothing, .probe = nothing, .find_device = no_device, .parse = takes_any
};
RTE_REGISTER_BUS(pci, pci);

static int
forget_all(void **state)
{
	struct rte_devargs *da;

	(void)state;
	while ((da = rte_devargs_next("pci", NULL)) != NULL)
		rte_devargs_remove(da);
	return 0;
}

static void
given(const char *text)
{
	assert_int_equal(rte_devargs_add(RTE_DEVTYPE_ALLOWED, text), 0);
}

static const char *
args(struct hvn_vf_arg **kept, const char *addr)
{
	const char *text = NULL;

	assert_int_equal(hvn_vf_args(kept, addr, &text), 0);
	return text;
}

/* They are the same when the device returns, though EAL has forgotten them. */
static void
test_kept(void **state)
{
	struct hvn_vf_arg *kept = NULL;

	assert_string_equal(args(&kept, ADDR), ADDR);
	given("pci:" ADDR ",mac=00:15:5d:01:02:03,x=1");
	assert_string_equal(args(&kept, ADDR), ADDR ",mac=00:15:5d:01:02:03,x=1");
	forget_all(state);
	assert_string_equal(args(&kept, ADDR), ADDR ",mac=00:15:5d:01:02:03,x=1");
	given("pci:" ADDR);
	assert_string_equal(args(&kept, ADDR), ADDR ",mac=00:15:5d:01:02:03,x=1");
	/* Another time, the user has it otherwise. */
	forget_all(state);
	given("pci:" ADDR ",x=2");
	assert_string_equal(args(&kept, ADDR), ADDR ",x=2");
	hvn_vf_args_free(&kept);
}

/* Those of another function are not this one's; the domain may be left out. */
static void
test_whose(void **state)
{
	struct hvn_vf_arg *kept = NULL;

	(void)state;
	given("pci:7870:00:00.1,x=1");
	given("pci:02:00.0,x=3");
	given("pci:7870:0A:00.0,x=4");
	assert_string_equal(args(&kept, ADDR), ADDR);
	assert_string_equal(args(&kept, "0001:02:00.0"), "0001:02:00.0");
	assert_string_equal(args(&kept, "0000:02:00.0"), "0000:02:00.0,x=3");
	assert_string_equal(args(&kept, "7870:0a:00.0"), "7870:0a:00.0,x=4");
	assert_string_equal(args(&kept, "0000:02:00.00"), "0000:02:00.00");
	assert_string_equal(args(&kept, ADDR), ADDR);
	hvn_vf_args_free(&kept);
}

/* Two functions take turns, with arguments of any length. */
static void
test_turns(void **state)
{
	static const char *const addr[] = { ADDR, "7870:00:00.1" };
	struct hvn_vf_arg *kept = NULL;
	char given_to[2][1000];

	for (int i = 0; i < 2; i++) {
		snprintf(given_to[i], sizeof(given_to[i]), "pci:%s,k=%0900d", addr[i], i);
		given(given_to[i]);
		assert_string_equal(args(&kept, addr[i]), given_to[i] + strlen("pci:"));
	}
	forget_all(state);
	for (int i = 0; i < 2; i++)
		assert_string_equal(args(&kept, addr[i]), given_to[i] + strlen("pci:"));
	given("pci:" ADDR ",x=2");
	assert_string_equal(args(&kept, ADDR), ADDR ",x=2");
	assert_string_equal(args(&kept, addr[1]), given_to[1] + strlen("pci:"));
	hvn_vf_args_free(&kept);
	assert_null(kept);
}

/* "-b" is said of this function, and of no other. */
static void
test_blocked(void **state)
{
	struct hvn_vf_arg *kept = NULL;
	const char *text;

	(void)state;
	assert_int_equal(rte_devargs_add(RTE_DEVTYPE_BLOCKED, "pci:" ADDR), 0);
	assert_int_equal(hvn_vf_args(&kept, ADDR, &text), -EPERM);
	assert_string_equal(args(&kept, "7870:00:00.1"), "7870:00:00.1");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_kept, forget_all),
		cmocka_unit_test_teardown(test_whose, forget_all),
		cmocka_unit_test_teardown(test_turns, forget_all),
		cmocka_unit_test_teardown(test_blocked, forget_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
