/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>

#include <cmocka.h>

#include "hv_guid.h"
#include "vmbus_wire.h"

static const struct hv_guid nic = VMBUS_CLASS_NIC;

static void
test_parse(void **state)
{
	static const char *const good[] = {
		"f8615163-df3e-46c5-913f-f2d2f965ed0e",
		"{f8615163-df3e-46c5-913f-f2d2f965ed0e}",
		"F8615163-DF3E-46C5-913F-F2D2F965ED0E",
		"{F8615163-dF3E-46c5-913F-f2d2F965ED0E}",
	};
	struct hv_guid g;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		memset(&g, 0, sizeof(g));
		assert_int_equal(hv_guid_parse(good[i], &g), 0);
		assert_true(hv_guid_equal(&g, &nic));
	}
}

static void
test_parse_refuses(void **state)
{
	static const char *const bad[] = {
		"",
		"{",
		"{}",
		"f",
		"f8615163",
		"f8615163-df3e-46c5-913f-f2d2f965ed0",
		"f8615163-df3e-46c5-913f-f2d2f965ed0e0",
		"f8615163-df3e-46c5-913f-f2d2f965ed0e ",
		" f8615163-df3e-46c5-913f-f2d2f965ed0e",
		"{f8615163-df3e-46c5-913f-f2d2f965ed0e",
		"f8615163-df3e-46c5-913f-f2d2f965ed0e}",
		"{f8615163-df3e-46c5-913f-f2d2f965ed0e}}",
		"f8615163df3e46c5913ff2d2f965ed0e",
		"f8615163-df3e-46c5-913ff-2d2f965ed0e",
		"g8615163-df3e-46c5-913f-f2d2f965ed0e",
		"f8615163-df3e-46c5-913f-f2d2f965ed0G",
		"f8615163_df3e_46c5_913f_f2d2f965ed0e",
	};
	struct hv_guid g, untouched;
	size_t i;

	(void)state;
	memset(&untouched, 0xA5, sizeof(untouched));
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		g = untouched;
		assert_int_equal(hv_guid_parse(bad[i], &g), -EINVAL);
		assert_memory_equal(&g, &untouched, sizeof(g));
	}
}

static void
test_format(void **state)
{
	char text[HV_GUID_STRLEN];
	struct hv_guid g, again;
	unsigned int i;

	(void)state;
	hv_guid_format(&nic, text);
	assert_string_equal(text, "f8615163-df3e-46c5-913f-f2d2f965ed0e");
	/* Each byte on its own, so that none is written twice or forgotten. */
	for (i = 0; i < 16; i++) {
		memset(&g, 0, sizeof(g));
		g.b[i] = 0x9C;
		hv_guid_format(&g, text);
		assert_int_equal(strlen(text), HV_GUID_STRLEN - 1);
		assert_int_equal(hv_guid_parse(text, &again), 0);
		assert_true(hv_guid_equal(&g, &again));
		assert_false(hv_guid_equal(&g, &nic));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_parse_refuses),
		cmocka_unit_test(test_format),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
