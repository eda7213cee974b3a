/* SPDX-License-Identifier: BSD-3-Clause */
/* Device arguments of the driver. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "hvn_devargs.h"

int hvn_logtype;

static void
test_defaults(void **state)
{
	struct hvn_devargs a;

	(void)state;
	assert_int_equal(hvn_devargs_parse(NULL, &a), 0);
	assert_int_equal(a.latency_us, 50);
	assert_int_equal(a.rx_copybreak, 256);
	assert_false(a.rx_extmbuf);
	assert_true(a.numa_aware);
	assert_false(a.mac_set);
	assert_int_equal(a.nvsp_max, NVSP_VERSION_6_1);
	assert_string_equal(a.vf, "");
	/* As doc/hvnetvsc.rst has them. */
	assert_int_equal(a.tx_copybreak, 1600);
	assert_int_equal(a.udp_cksum_max, 1420);
	assert_int_equal(a.ring_bytes, 0);
	assert_int_equal(a.nvsp_timeout_ms, 5000);
	assert_int_equal(a.rndis_timeout_ms, 60000);
	assert_int_equal(a.stop_timeout_ms, 500);
	assert_int_equal(hvn_devargs_parse("", &a), 0);
	assert_int_equal(a.latency_us, 50);
}

static void
test_all(void **state)
{
	static const struct rte_ether_addr mac = { { 0, 0x15, 0x5d, 1, 2, 0xab } };
	struct hvn_devargs a;

	(void)state;
	assert_int_equal(hvn_devargs_parse("latency=7,rx_copybreak=100,tx_copybreak=0x200,"
					   "rx_extmbuf_enable=1,numa_aware=0,"
					   "mac=00:15:5D:01:02:ab,ring_size=65536,nvsp=0x50000,"
					   "rndis_timeout=2500,udp_cksum_max=900,"
					   "nvsp_timeout=700,stop_timeout=900,"
					   "vf=net_memif0,role=client,socket=/run/x",
					   &a),
			 0);
	assert_int_equal(a.latency_us, 7);
	assert_int_equal(a.rx_copybreak, 100);
	assert_int_equal(a.tx_copybreak, 512);
	assert_true(a.rx_extmbuf);
	assert_false(a.numa_aware);
	assert_true(a.mac_set);
	assert_memory_equal(&a.mac, &mac, sizeof(mac));
	assert_int_equal(a.ring_bytes, 65536);
	assert_int_equal(a.nvsp_max, NVSP_VERSION_5);
	assert_int_equal(a.rndis_timeout_ms, 2500);
	assert_int_equal(a.nvsp_timeout_ms, 700);
	assert_int_equal(a.stop_timeout_ms, 900);
	assert_int_equal(a.udp_cksum_max, 900);
	/* The rest of the text belongs to the VF, commas and all. */
	assert_string_equal(a.vf, "net_memif0,role=client,socket=/run/x");
	assert_int_equal(hvn_devargs_parse("vf=0000:00:05.0", &a), 0);
	assert_string_equal(a.vf, "0000:00:05.0");
}

static void
test_refused(void **state)
{
	static const char *const bad[] = {
		"latency=",
		"stop_timeout=0",
		"latency=x",
		"latency=-1",
		"latency=1000001",
		"latency=5us",
		"rx_extmbuf_enable=2",
		"numa_aware=yes",
		"mac=",
		"mac=00:15:5d:01:02",
		"mac=00:15:5d:01:02:03:04",
		"mac=zz:15:5d:01:02:03",
		"ring_size=16385",
		"ring_size=0",
		"ring_size=33554432",
		"nvsp=0",
		"nvsp=0x70000",
		"latncy=50",
		"latency=50,unknown=1",
		"rndis_timeout=0",
		"udp_cksum_max=65536",
		"latency=99999999999999999999",
		"vf=",
		"latency",
	};
	char longest[400] = "vf=";
	struct hvn_devargs a;

	(void)state;
	for (size_t i = 0; i < RTE_DIM(bad); i++)
		if (hvn_devargs_parse(bad[i], &a) != -EINVAL)
			fail_msg("\"%s\" was taken", bad[i]);
	memset(longest + 3, 'a', 255);
	assert_int_equal(hvn_devargs_parse(longest, &a), 0);
	longest[258] = 'a';
	assert_int_equal(hvn_devargs_parse(longest, &a), -EINVAL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_all),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
