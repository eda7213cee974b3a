/* SPDX-License-Identifier: BSD-3-Clause */
/* Finding the VF in a sysfs tree made for each case. */
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

#include "hvn_vf_find.h"
#include "tree_fixture.h"

static const uint8_t mac[6] = { 0x00, 0x15, 0x5d, 0x01, 0x02, 0x03 };
#define OUR_MAC	  "00:15:5d:01:02:03"
#define OTHER_MAC "00:15:5d:01:02:04"
#define DEV(addr) "bus/pci/devices/" addr

static void
file(const char *name, const char *content)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", root, name);
	tree_make_path(path);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs(content, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void
link_to(const char *name, const char *target)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", root, name);
	tree_make_path(path);
	assert_int_equal(symlink(target, path), 0);
}

static void
test_serial_and_mac(void **state)
{
	struct hvn_vf_pci vf;

	(void)state;
	file("bus/pci/slots/2/address", "0002:00:02\n");
	file(DEV("0002:00:02.0/class"), "0x020000\n");
	file(DEV("0002:00:02.0/net/enP2s2/address"), OUR_MAC "\n");
	link_to(DEV("0002:00:02.0/driver"), "../../../../bus/pci/drivers/mlx5_core");
	assert_int_equal(hvn_vf_find(root, 2, mac, &vf), 0);
	assert_string_equal(vf.addr, "0002:00:02.0");
	assert_string_equal(vf.driver, "mlx5_core");
	assert_string_equal(vf.netdev, "enP2s2");
	assert_true(vf.by_serial && vf.mac_checked);
}

/* Serial 0 is a serial like any other. */
static void
test_serial_zero(void **state)
{
	struct hvn_vf_pci vf;

	(void)state;
	file("bus/pci/slots/0/address", "0001:00:00\n");
	file(DEV("0001:00:00.0/class"), "0x020000\n");
	file(DEV("0001:00:00.0/net/eth1/address"), OUR_MAC "\n");
	assert_int_equal(hvn_vf_find(root, 0, mac, &vf), 0);
	assert_true(vf.by_serial);
}

/* Several ports on one function: the interface with our address is meant. */
static void
test_shared_function(void **state)
{
	struct hvn_vf_pci vf;

	(void)state;
	file("bus/pci/slots/7/address", "7870:00:00\n");
	file(DEV("7870:00:00.0/class"), "0x020000\n");
	file(DEV("7870:00:00.0/net/a0/address"), OTHER_MAC "\n");
	/* Its sibling appears later: not found for good before it does. */
	assert_int_equal(hvn_vf_find(root, 7, mac, &vf), -EAGAIN);
	file(DEV("7870:00:00.0/net/a1/address"), OUR_MAC "\n");
	assert_int_equal(hvn_vf_find(root, 7, mac, &vf), 0);
	assert_string_equal(vf.netdev, "a1");
}

/* The slot leads elsewhere, the address is decisive. */
static void
test_mac_fallback(void **state)
{
	struct hvn_vf_pci vf;

	(void)state;
	file(DEV("0003:00:02.0/class"), "0x020000\n");
	file(DEV("0003:00:02.0/net/eth5/address"), OUR_MAC "\n");
	assert_int_equal(hvn_vf_find(root, 9, mac, &vf), 0);
	assert_false(vf.by_serial);
	assert_string_equal(vf.addr, "0003:00:02.0");
}

static void
test_slot_name_taken(void **state)
{
	struct hvn_vf_pci vf;

	(void)state;
	file("bus/pci/slots/1/address", "0000:00:01\n"); /* an unrelated bridge's slot */
	file(DEV("0000:00:01.0/class"), "0x060400\n");
	file("bus/pci/slots/1-1/address", "0004:00:02\n");
	file(DEV("0004:00:02.0/class"), "0x020000\n");
	link_to(DEV("0004:00:02.0/driver"), "../drivers/vfio-pci");
	assert_int_equal(hvn_vf_find(root, 1, mac, &vf), 0);
	assert_string_equal(vf.addr, "0004:00:02.0");
	assert_true(vf.by_serial);
	assert_false(vf.mac_checked);
}

/* There, but its driver has not come up: wait. Given to user space: nothing to wait for. */
static void
test_not_ready(void **state)
{
	struct hvn_vf_pci vf;

	(void)state;
	file("bus/pci/slots/5/address", "0000:00:05\n");
	file(DEV("0000:00:05.0/class"), "0x020000\n");
	assert_int_equal(hvn_vf_find(root, 5, mac, &vf), -EAGAIN);
	link_to(DEV("0000:00:05.0/driver"), "../drivers/e1000e");
	assert_int_equal(hvn_vf_find(root, 5, mac, &vf), -EAGAIN);
	file(DEV("0000:00:05.0/net/eth2/address"), OUR_MAC "\n");
	assert_int_equal(hvn_vf_find(root, 5, mac, &vf), 0);
}

static void
test_nothing_there(void **state)
{
	struct hvn_vf_pci vf;

	(void)state;
	assert_int_equal(hvn_vf_find(root, 2, mac, &vf), -ENODEV);
	file("bus/pci/slots/2/address", "\n");
	assert_int_equal(hvn_vf_find(root, 2, mac, &vf), -ENODEV);
	/* Same address on something that is no Ethernet function. */
	file(DEV("0000:00:09.0/class"), "0x028000\n");
	file(DEV("0000:00:09.0/net/wlan0/address"), OUR_MAC "\n");
	assert_int_equal(hvn_vf_find(root, 2, mac, &vf), -ENODEV);
	assert_string_equal(vf.addr, "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_serial_and_mac, tree_setup, tree_teardown),
		cmocka_unit_test_setup_teardown(test_serial_zero, tree_setup, tree_teardown),
		cmocka_unit_test_setup_teardown(test_shared_function, tree_setup, tree_teardown),
		cmocka_unit_test_setup_teardown(test_mac_fallback, tree_setup, tree_teardown),
		cmocka_unit_test_setup_teardown(test_slot_name_taken, tree_setup, tree_teardown),
		cmocka_unit_test_setup_teardown(test_not_ready, tree_setup, tree_teardown),
		cmocka_unit_test_setup_teardown(test_nothing_there, tree_setup, tree_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
