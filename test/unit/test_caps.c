/* SPDX-License-Identifier: BSD-3-Clause */
/* What a host says of itself, honest and hostile: T24, T25, T28, T54, T55, T56. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hvn_caps.h"

#define BUF_LEN (31u << 20)

static const char *why;

/* The functions may read len bytes and no more: an exact copy on the heap, for the sanitizers. */
static void *
exact(const void *data, size_t len)
{
	void *copy = malloc(len != 0 ? len : 1);

	assert_non_null(copy);
	memcpy(copy, data, len);
	return copy;
}

/* --- buffers --------------------------------------------------------------------------------------- */

static int
recv_buf(const struct nvsp_recv_buf_complete *m, uint32_t len, uint32_t *size, uint32_t *count)
{
	void *copy = exact(m, len);
	int rc = hvn_caps_recv_buf(copy, len, BUF_LEN, size, count, &why);

	free(copy);
	return rc;
}

static const struct nvsp_recv_buf_complete good_recv = {
	.type = NVSP_RECV_BUF_COMPLETE,
	.status = NVSP_STATUS_SUCCESS,
	.section_count = 1,
	.slot_size = 1806,
	.slot_count = 17998,
	.end_offset = 1806 * 17998,
};

static void
test_recv_buf(void **state)
{
	struct nvsp_recv_buf_complete bad;
	uint32_t size = 7, count = 7;

	(void)state;
	for (uint32_t len = 0; len < sizeof(bad); len++)
		assert_int_equal(recv_buf(&good_recv, len, &size, &count), -EPROTO);
	for (uint32_t status = 0; status < 9; status++) {
		bad = good_recv;
		bad.status = status;
		if (status != NVSP_STATUS_SUCCESS)
			assert_int_equal(recv_buf(&bad, sizeof(bad), &size, &count), -EPROTO);
	}
#define BAD(field, value)                                                              \
	do {                                                                           \
		bad = good_recv;                                                       \
		bad.field = (value);                                                   \
		why = NULL;                                                            \
		assert_int_equal(recv_buf(&bad, sizeof(bad), &size, &count), -EPROTO); \
		assert_non_null(why);                                                  \
	} while (0)
	BAD(section_count, 0);
	BAD(section_count, 2);
	BAD(section_count, UINT32_MAX);
	BAD(offset, 8);
	BAD(slot_size, 0);
	BAD(slot_size, HVN_SLOT_MIN - 1);
	BAD(slot_size, UINT32_MAX);
	BAD(slot_count, 0);
	BAD(slot_count, BUF_LEN / 1806 + 1);
	BAD(slot_count, UINT32_MAX);
	/* The product is 2^32 + 0: it must not be computed in 32 bits. */
	bad = good_recv;
	bad.slot_size = 1u << 16;
	bad.slot_count = 1u << 16;
	assert_int_equal(recv_buf(&bad, sizeof(bad), &size, &count), -EPROTO);
#undef BAD
	assert_int_equal(size, 7);
	assert_int_equal(count, 7);
	assert_int_equal(recv_buf(&good_recv, sizeof(good_recv), &size, &count), 0);
	assert_int_equal(size, 1806);
	assert_int_equal(count, 17998);
}

static int
send_buf(uint32_t status, uint32_t section_size, uint32_t *size, uint32_t *count)
{
	struct nvsp_send_buf_complete m = { NVSP_SEND_BUF_COMPLETE, status, section_size };
	void *copy = exact(&m, sizeof(m));
	int rc = hvn_caps_send_buf(copy, sizeof(m), 15u << 20, size, count, &why);

	assert_int_equal(hvn_caps_send_buf(copy, sizeof(m) - 1, 15u << 20, size, count, &why),
			 -EPROTO);
	free(copy);
	return rc;
}

static void
test_send_buf(void **state)
{
	static const uint32_t bad[] = { 0, 1, 64, 67, 6145, 6146, (15u << 20) + 4, UINT32_MAX };
	uint32_t size = 0, count = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(send_buf(NVSP_STATUS_SUCCESS, bad[i], &size, &count), -EPROTO);
	assert_int_equal(send_buf(NVSP_STATUS_NONE, 6144, &size, &count), -EPROTO);
	assert_int_equal(send_buf(NVSP_STATUS_FAILURE, 6144, &size, &count), -EPROTO);
	assert_int_equal(send_buf(NVSP_STATUS_SUCCESS, 6144, &size, &count), 0);
	assert_int_equal(size, 6144);
	assert_int_equal(count, 2560);
	assert_int_equal(send_buf(NVSP_STATUS_SUCCESS, 15u << 20, &size, &count), 0);
	assert_int_equal(count, 1);
}

/* --- RNDIS ----------------------------------------------------------------------------------------- */

static const struct rndis_initialize_cmplt good_init = {
	.hdr = { RNDIS_INITIALIZE_CMPLT, sizeof(good_init) },
	.status = RNDIS_STATUS_SUCCESS,
	.major = 1,
	.device_flags = 1,
	.max_packets = 8,
	.max_transfer = 0xEFFFFFFF,
	.align_factor = 3,
};

static int
initialize(const struct rndis_initialize_cmplt *m, uint32_t len, uint32_t *packets,
	   uint32_t *transfer, uint32_t *align)
{
	void *copy = exact(m, len);
	int rc = hvn_caps_initialize(copy, len, packets, transfer, align, &why);

	free(copy);
	return rc;
}

static void
test_initialize(void **state)
{
	struct rndis_initialize_cmplt m;
	uint32_t packets, transfer, align;

	(void)state;
	for (uint32_t len = 0; len < RNDIS_INITIALIZE_CMPLT_MIN; len++)
		assert_int_equal(initialize(&good_init, len, &packets, &transfer, &align), -EPROTO);
	/* The last two fields are optional. */
	for (uint32_t len = RNDIS_INITIALIZE_CMPLT_MIN; len <= sizeof(m); len++) {
		assert_int_equal(initialize(&good_init, len, &packets, &transfer, &align), 0);
		assert_int_equal(packets, 8);
		assert_int_equal(transfer, 0xEFFFFFFF);
		assert_int_equal(align, 8);
	}
	for (uint32_t factor = 0; factor < 70; factor++) {
		m = good_init;
		m.align_factor = factor;
		if (factor > 8) {
			assert_int_equal(initialize(&m, sizeof(m), &packets, &transfer, &align),
					 -EPROTO);
			continue;
		}
		assert_int_equal(initialize(&m, sizeof(m), &packets, &transfer, &align), 0);
		assert_int_equal(align, factor < 2 ? 4 : 1 << factor);
	}
	m = good_init;
	m.align_factor = UINT32_MAX;
	assert_int_equal(initialize(&m, sizeof(m), &packets, &transfer, &align), -EPROTO);
	m = good_init;
	m.max_packets = 0;
	assert_int_equal(initialize(&m, sizeof(m), &packets, &transfer, &align), 0);
	assert_int_equal(packets, 1);
	m = good_init;
	for (uint32_t bytes = 0; bytes < 3000; bytes += 1557) {
		m = good_init;
		m.max_transfer = bytes;
		assert_int_equal(initialize(&m, sizeof(m), &packets, &transfer, &align), 0);
		/* Less than a frame is nonsense. */
		assert_int_equal(packets, bytes < 1558 ? 1 : 8);
		assert_int_equal(transfer, bytes < 1558 ? UINT32_MAX : bytes);
	}
	m = good_init;
	m.medium = 1;
	assert_int_equal(initialize(&m, sizeof(m), &packets, &transfer, &align), -EPROTO);
	m = good_init;
	m.status = RNDIS_STATUS_FAILURE;
	assert_int_equal(initialize(&m, sizeof(m), &packets, &transfer, &align), -EPROTO);
}

static int
offload(const struct ndis_offload *m, uint32_t len, struct ndis_offload *o)
{
	void *copy = exact(m, len);
	int rc = hvn_caps_offload(copy, len, o, &why);

	free(copy);
	return rc;
}

static void
test_offload(void **state)
{
	static const uint16_t sizes[] = { NDIS_OFFLOAD_SIZE_REV1, NDIS_OFFLOAD_SIZE_REV2,
					  NDIS_OFFLOAD_SIZE_REV3 };
	struct ndis_offload m, o;

	(void)state;
	memset(&m, 0x55, sizeof(m));
	m.hdr.type = NDIS_OBJECT_OFFLOAD;
	for (unsigned int rev = 1; rev <= 3; rev++) {
		m.hdr.revision = (uint8_t)rev;
		m.hdr.size = sizes[rev - 1];
		for (uint32_t len = 0; len < m.hdr.size; len++)
			assert_int_equal(offload(&m, len, &o), -EPROTO);
		/* What lies behind the object is not part of it. */
		assert_int_equal(offload(&m, sizeof(m), &o), 0);
		assert_int_equal(o.flags, 0x55555555);
		assert_int_equal(o.ipsecv2[0], rev >= 2 ? 0x55 : 0);
		assert_int_equal(o.rsc_ip4, rev >= 3 ? 0x55 : 0);
	}
	m.hdr.size = 4;
	assert_int_equal(offload(&m, sizeof(m), &o), -EPROTO);
	m.hdr.size = UINT16_MAX;
	assert_int_equal(offload(&m, sizeof(m), &o), -EPROTO);
	m.hdr.size = NDIS_OFFLOAD_SIZE_REV1;
	m.hdr.revision = 0;
	assert_int_equal(offload(&m, sizeof(m), &o), -EPROTO);
	m.hdr.revision = 1;
	m.hdr.type = NDIS_OBJECT_RSS_PARAMETERS;
	assert_int_equal(offload(&m, sizeof(m), &o), -EPROTO);
}

static int
rss(const struct ndis_rss_caps *m, uint32_t len, uint32_t *flags, uint32_t *queues, uint16_t *reta)
{
	void *copy = exact(m, len);
	int rc = hvn_caps_rss(copy, len, flags, queues, reta, &why);

	free(copy);
	return rc;
}

static void
test_rss(void **state)
{
	struct ndis_rss_caps m = {
		.hdr = { NDIS_OBJECT_RSS_CAPABILITIES, 2, sizeof(m) },
		.flags = NDIS_RSS_CAP_TOEPLITZ | NDIS_RSS_CAP_TCP_IPV4,
		.rx_queues = 8,
	};
	static const struct {
		uint16_t said, taken;
	} reta[] = { { 0, 128 },   { 1, 1 },	 { 64, 64 },	     { 100, 100 },
		     { 256, 256 }, { 257, 128 }, { UINT16_MAX, 128 } };
	uint32_t flags, queues;
	uint16_t size;

	(void)state;
	for (size_t i = 0; i < sizeof(reta) / sizeof(reta[0]); i++) {
		m.reta_entries = reta[i].said;
		assert_int_equal(rss(&m, sizeof(m), &flags, &queues, &size), 0);
		assert_int_equal(size, reta[i].taken);
		assert_int_equal(queues, 8);
		assert_int_equal(flags, m.flags);
	}
	/* Revision 1 ends before the table's size, however long the answer is. */
	m.reta_entries = 64;
	m.hdr.size = NDIS_RSS_CAPS_SIZE_REV1;
	assert_int_equal(rss(&m, sizeof(m), &flags, &queues, &size), 0);
	assert_int_equal(size, 128);
	assert_int_equal(rss(&m, NDIS_RSS_CAPS_SIZE_REV1, &flags, &queues, &size), 0);
	for (uint32_t len = 0; len < NDIS_RSS_CAPS_SIZE_REV1; len++)
		assert_int_equal(rss(&m, len, &flags, &queues, &size), -EPROTO);
	m.rx_queues = 0;
	assert_int_equal(rss(&m, sizeof(m), &flags, &queues, &size), 0);
	assert_int_equal(queues, 1);
	m.hdr.type = NDIS_OBJECT_OFFLOAD;
	assert_int_equal(rss(&m, sizeof(m), &flags, &queues, &size), -EPROTO);
}

/* --- send table ------------------------------------------------------------------------------------ */

static int
send_table(const uint8_t *msg, uint32_t len, uint32_t channels, uint16_t *table)
{
	void *copy = exact(msg, len);
	int rc = hvn_caps_send_table(copy, len, channels, table, &why);

	free(copy);
	return rc;
}

static void
put_table(uint8_t *msg, uint32_t head_off, uint32_t at)
{
	struct nvsp_send_table head = { NVSP_SEND_TABLE, NVSP_SEND_TABLE_ENTRIES, head_off };

	memset(msg, 0xFF, 128);
	memcpy(msg, &head, sizeof(head));
	for (uint32_t i = 0; i < NVSP_SEND_TABLE_ENTRIES; i++)
		memcpy(msg + at + 4 * i, &i, sizeof(i));
}

static void
test_send_table(void **state)
{
	static const uint32_t bad[] = { 0, 11, 13, 16, 77, UINT32_MAX, UINT32_MAX - 63 };
	uint16_t table[NVSP_SEND_TABLE_ENTRIES];
	uint8_t msg[128];
	uint32_t count;

	(void)state;
	put_table(msg, 12, 12);
	assert_int_equal(send_table(msg, 76, 16, table), 0);
	for (uint16_t i = 0; i < NVSP_SEND_TABLE_ENTRIES; i++)
		assert_int_equal(table[i], i);
	/* Entries beyond the channels that exist must not get through. */
	for (uint32_t channels = 1; channels < 20; channels++) {
		assert_int_equal(send_table(msg, 76, channels, table), 0);
		for (unsigned int i = 0; i < NVSP_SEND_TABLE_ENTRIES; i++)
			assert_true(table[i] < channels);
	}
	for (uint32_t len = 0; len < 76; len++)
		assert_int_equal(send_table(msg, len, 4, table), -EPROTO);
	/* The old hosts' wrong offset, in a long message. */
	put_table(msg, 12, NVSP_SEND_TABLE_OFF_BUG);
	assert_int_equal(send_table(msg, 104, 16, table), 0);
	assert_int_equal(table[15], 15);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		put_table(msg, bad[i], 12);
		assert_int_equal(send_table(msg, 76, 4, table), -EPROTO);
	}
	put_table(msg, 12, 12);
	count = 17;
	memcpy(msg + 4, &count, sizeof(count));
	assert_int_equal(send_table(msg, 76, 4, table), -EPROTO);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_recv_buf),   cmocka_unit_test(test_send_buf),
		cmocka_unit_test(test_initialize), cmocka_unit_test(test_offload),
		cmocka_unit_test(test_rss),	   cmocka_unit_test(test_send_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
