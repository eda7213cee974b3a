/* SPDX-License-Identifier: BSD-3-Clause */
/* What EAL's list of device arguments says of a VF, with a PCI bus of the test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
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

/* They are the same when the device returns, though EAL has forgotten them. */
static void
test_kept(void **state)
{
	char kept[HVN_VF_ARGS] = "";

	assert_string_equal(hvn_vf_args(kept, ADDR), ADDR);
	given("pci:" ADDR ",mac=00:15:5d:01:02:03,x=1");
	assert_string_equal(hvn_vf_args(kept, ADDR), ADDR ",mac=00:15:5d:01:02:03,x=1");
	forget_all(state);
	assert_string_equal(hvn_vf_args(kept, ADDR), ADDR ",mac=00:15:5d:01:02:03,x=1");
	given("pci:" ADDR);
	assert_string_equal(hvn_vf_args(kept, ADDR), ADDR ",mac=00:15:5d:01:02:03,x=1");
	/* Another time, the user has it otherwise. */
	forget_all(state);
	given("pci:" ADDR ",x=2");
	assert_string_equal(hvn_vf_args(kept, ADDR), ADDR ",x=2");
}

/* Those of another function are not this one's; the domain may be left out. */
static void
test_whose(void **state)
{
	char kept[HVN_VF_ARGS] = "";

	(void)state;
	given("pci:7870:00:00.1,x=1");
	given("pci:02:00.0,x=3");
	given("pci:7870:0A:00.0,x=4");
	assert_string_equal(hvn_vf_args(kept, ADDR), ADDR);
	assert_string_equal(hvn_vf_args(kept, "0001:02:00.0"), "0001:02:00.0");
	assert_string_equal(hvn_vf_args(kept, "0000:02:00.0"), "0000:02:00.0,x=3");
	assert_string_equal(hvn_vf_args(kept, "7870:0a:00.0"), "7870:0a:00.0,x=4");
	assert_string_equal(hvn_vf_args(kept, "0000:02:00.00"), "0000:02:00.00");
	assert_string_equal(hvn_vf_args(kept, ADDR), ADDR);
}

static void
test_too_long(void **state)
{
	char kept[HVN_VF_ARGS] = "", text[2 * HVN_VF_ARGS] = "pci:" ADDR ",";

	(void)state;
	memset(text + strlen(text), 'x', HVN_VF_ARGS);
	given(text);
	assert_string_equal(hvn_vf_args(kept, ADDR), ADDR);
}

/* "-b" is said of this function, and of no other. */
static void
test_blocked(void **state)
{
	char kept[HVN_VF_ARGS] = "";

	(void)state;
	assert_int_equal(rte_devargs_add(RTE_DEVTYPE_BLOCKED, "pci:" ADDR), 0);
	assert_null(hvn_vf_args(kept, ADDR));
	assert_string_equal(hvn_vf_args(kept, "7870:00:00.1"), "7870:00:00.1");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_kept, forget_all),
		cmocka_unit_test_teardown(test_whose, forget_all),
		cmocka_unit_test_teardown(test_too_long, forget_all),
		cmocka_unit_test_teardown(test_blocked, forget_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
