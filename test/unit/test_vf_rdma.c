/* SPDX-License-Identifier: BSD-3-Clause */
/* Waiting for the RDMA device of a VF, in a sysfs tree and with a libibverbs of the test's. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "hvn_vf_rdma.h"
#include "tree_fixture.h"

#define ADDR "7870:00:00.0"

static char asked[HVN_RDMA_NAME];
static int answer;

static int
fake_open(const char *name)
{
	snprintf(asked, sizeof(asked), "%s", name);
	return answer;
}

static void
dir(const char *below)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/bus/pci/devices/" ADDR "/%s", root, below);
	tree_make_path(path);
	assert_int_equal(mkdir(path, 0755), 0);
}

static int
setup(void **state)
{
	asked[0] = '\0';
	answer = 0;
	return tree_setup(state);
}

/* The function, its driver, the RDMA device in sysfs, in libibverbs, and at last open. */
static void
test_it_takes_its_time(void **state)
{
	char name[HVN_RDMA_NAME];

	(void)state;
	assert_int_equal(hvn_vf_rdma_ready(root, ADDR, "mana", fake_open, name), -EAGAIN);
	dir("infiniband");
	assert_int_equal(hvn_vf_rdma_ready(root, ADDR, "mana", fake_open, name), -EAGAIN);
	assert_string_equal(asked, "");
	dir("infiniband/mana_0");
	answer = -ENODEV;
	assert_int_equal(hvn_vf_rdma_ready(root, ADDR, "mana", fake_open, name), -EAGAIN);
	assert_string_equal(asked, "mana_0");
	answer = -EACCES;
	assert_int_equal(hvn_vf_rdma_ready(root, ADDR, "mana", fake_open, name), -EAGAIN);
	answer = 0;
	assert_int_equal(hvn_vf_rdma_ready(root, ADDR, "mana", fake_open, name), 0);
	assert_string_equal(name, "mana_0");
}

/* Each driver that opens RDMA devices, and none besides. */
static void
test_who_needs_it(void **state)
{
	static const char *const need[] = { "mlx4_core", "mlx5_core", "mana" };
	static const char *const not [] = { "vfio-pci", "uio_pci_generic", "e1000e", "" };
	char name[HVN_RDMA_NAME];

	(void)state;
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(hvn_vf_rdma_ready(root, ADDR, need[i], fake_open, name), -EAGAIN);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(hvn_vf_rdma_ready(root, ADDR, not [i], fake_open, name), 0);
	assert_string_equal(asked, "");
}

/* The RDMA device of another function is not this one's. */
static void
test_other_function(void **state)
{
	char name[HVN_RDMA_NAME];

	(void)state;
	dir("infiniband/mlx5_0");
	assert_int_equal(hvn_vf_rdma_ready(root, "7870:00:00.1", "mlx5_core", fake_open, name),
			 -EAGAIN);
	assert_int_equal(hvn_vf_rdma_ready(root, ADDR, "mlx5_core", fake_open, name), 0);
	assert_string_equal(asked, "mlx5_0");
}

static void
test_no_library(void **state)
{
	char name[HVN_RDMA_NAME];

	(void)state;
	dir("infiniband/mlx5_0");
	answer = -ENOTSUP;
	assert_int_equal(hvn_vf_rdma_ready(root, ADDR, "mlx5_core", fake_open, name), 0);
}

/* The real library, of which this machine need not have a device: it loads, and lists no such. */
static void
test_libibverbs(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(hvn_vf_rdma_open("no such device"), -ENODEV);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_it_takes_its_time, setup, tree_teardown),
		cmocka_unit_test_setup_teardown(test_who_needs_it, setup, tree_teardown),
		cmocka_unit_test_setup_teardown(test_other_function, setup, tree_teardown),
		cmocka_unit_test_setup_teardown(test_no_library, setup, tree_teardown),
		cmocka_unit_test(test_libibverbs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
