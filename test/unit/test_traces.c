/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every message of the recorded conversations of Linux 6.1 and DPDK 22.11 (test/data/traces),
 * decoded and encoded again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <zlib.h>

#include "nvsp_wire.h"
#include "rndis_wire.h"
#include "roundtrip.h"
#include "vmbus_wire.h"

#define LINE_MAX_LEN 65536
#define N_MESSAGES   4722 /* in the six files */

static char **files;
static int n_files;

static uint32_t
bytes_of(const char *hex, uint8_t *out)
{
	uint32_t n = 0;
	char *end;

	for (;; hex = end) {
		unsigned long b = strtoul(hex, &end, 16);

		if (end == hex)
			return n;
		assert_in_range(b, 0, 255);
		assert_true(n < RT_MAX);
		out[n++] = (uint8_t)b;
	}
}

static uint32_t
check_ring(const uint8_t *in, uint32_t len, uint8_t *out)
{
	const uint8_t *payload;
	uint32_t payload_len;
	uint8_t nvsp[RT_MAX];

	if (rt_ring(in, len, out, &payload, &payload_len) == 0)
		return 0;
	/* Linux answers a VF association with nothing, and a switch completes empty. */
	if (payload_len >= 4 && hv_load32(payload) != 0) {
		assert_int_equal(rt_nvsp(payload, payload_len, nvsp), payload_len);
		assert_memory_equal(payload, nvsp, payload_len);
	}
	return len;
}

static uint32_t
check(const char *layer, const uint8_t *in, uint32_t len, uint8_t *out)
{
	if (strcmp(layer, "VMBUS") == 0)
		return rt_vmbus(in, len, out);
	if (strcmp(layer, "RING") == 0)
		return check_ring(in, len, out);
	if (strcmp(layer, "NVSP") == 0)
		return rt_nvsp(in, len, out);
	if (strcmp(layer, "RNDIS-CTL") == 0 || strcmp(layer, "RNDIS-DATA") == 0)
		return rt_rndis(in, len, out);
	return 0;
}

static unsigned int
check_file(const char *path)
{
	static char line[LINE_MAX_LEN];
	static uint8_t in[RT_MAX], out[RT_MAX];
	gzFile f = gzopen(path, "rb");
	unsigned int n = 0;

	assert_non_null(f);
	while (gzgets(f, line, sizeof(line)) != NULL) {
		char layer[16];
		const char *hex = strstr(line, " :");
		const char *said = strstr(line, "len=");
		uint32_t len;

		assert_non_null(hex);
		assert_non_null(said);
		assert_int_equal(sscanf(line, "%*s %*s %15s", layer), 1);
		len = bytes_of(hex + 2, in);
		n++;
		assert_int_equal(len, strtoul(said + 4, NULL, 10));
		memset(out, 0xEE, sizeof(out));
		if (check(layer, in, len, out) != len)
			fail_msg("%s:%u: refused: %.60s", path, n, line);
		if (memcmp(in, out, len) != 0)
			fail_msg("%s:%u: encoded differently: %.60s", path, n, line);
	}
	gzclose(f);
	return n;
}

static void
test_traces(void **state)
{
	unsigned int n = 0;

	(void)state;
	for (int i = 0; i < n_files; i++)
		n += check_file(files[i]);
	assert_int_equal(n_files, 6);
	assert_int_equal(n, N_MESSAGES);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_traces) };

	files = argv + 1;
	n_files = argc - 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
