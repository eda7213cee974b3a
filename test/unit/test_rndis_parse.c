/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RNDIS messages a peer should not send. Every message is parsed in a buffer of exactly its
 * size, at an odd address, so that the address sanitizer sees a read past its end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rndis_build.h"
#include "rndis_parse.h"

#define FRAME 60u

struct msg {
	uint8_t b[2048];
	uint32_t len;
};

static struct rndis_packet *
pkt_of(struct msg *m)
{
	return (struct rndis_packet *)m->b;
}

/* A good message: n records of a u32 and a frame. */
static void
good(struct msg *m, const uint32_t *types, uint32_t n)
{
	struct rndis_packet *pkt;
	uint32_t i, hdr;

	memset(m, 0, sizeof(*m));
	pkt = rndis_build_packet(m->b);
	for (i = 0; i < n; i++)
		rndis_build_ppi(pkt, types[i], 0x11110000u + i);
	hdr = rndis_build_finish(pkt, FRAME, 0);
	memset(m->b + hdr, 0xF0, FRAME);
	m->len = hdr + FRAME;
}

static enum rndis_parse_error
parse(const struct msg *m, unsigned int flags, struct rndis_pkt_info *info)
{
	uint8_t *exact = malloc(m->len + 1);
	enum rndis_parse_error err;

	assert_non_null(exact);
	memcpy(exact + 1, m->b, m->len);
	memset(info, 0xEE, sizeof(*info));
	err = rndis_parse_packet(exact + 1, m->len, flags, info);
	free(exact);
	return err;
}

static void
expect(const struct msg *m, enum rndis_parse_error want)
{
	struct rndis_pkt_info info;

	assert_int_equal(parse(m, 0, &info), want);
}

/* One record at a time appended by hand: any size, type and data offset. */
static void
add_ppi(struct msg *m, uint32_t size, uint32_t type, uint32_t off, uint32_t bytes)
{
	struct rndis_packet *pkt = pkt_of(m);
	struct rndis_ppi h = { size, type, off };
	uint8_t frame[FRAME];

	memcpy(frame, m->b + pkt->data_off + 8, FRAME);
	memset(m->b + 44 + pkt->ppi_len, 0, bytes);
	memcpy(m->b + 44 + pkt->ppi_len, &h, sizeof(h));
	memset(m->b + 44 + pkt->ppi_len + sizeof(h), 0x22, bytes - sizeof(h));
	pkt->ppi_off = RNDIS_PPI_OFF;
	pkt->ppi_len += bytes;
	m->len = rndis_build_finish(pkt, FRAME, 0);
	memcpy(m->b + m->len, frame, FRAME);
	m->len += FRAME;
}

static void
test_good(void **state)
{
	static const uint32_t types[] = { RNDIS_PPI_HASH_VALUE, RNDIS_PPI_VLAN,
					  RNDIS_PPI_LSO,	RNDIS_PPI_CHECKSUM,
					  RNDIS_PPI_HASH_INFO,	RNDIS_PPI_PACKET_ID };
	struct rndis_pkt_info info;
	struct msg m;
	uint32_t n;

	(void)state;
	for (n = 0; n <= 6; n++) {
		good(&m, types, n);
		assert_int_equal(parse(&m, RNDIS_PARSE_F_STRICT, &info), RNDIS_PARSE_OK);
		assert_int_equal(info.msg_len, m.len);
		assert_int_equal(info.data_off, 44 + 16 * n);
		assert_int_equal(info.data_len, FRAME);
		assert_int_equal(__builtin_popcount(info.present), n);
	}
	assert_int_equal(info.hash_value, 0x11110000u);
	assert_int_equal(info.vlan, 0x11110001u);
	assert_int_equal(info.lso, 0x11110002u);
	assert_int_equal(info.checksum, 0x11110003u);
	assert_int_equal(info.hash_info, 0x11110004u);
	assert_int_equal(info.packet_id.version, 5);
	assert_int_equal(info.packet_id.flags, 0);
	assert_int_equal(info.packet_id.id, 0x1111);
}

/* Every prefix of a good message, T37 and T38. */
static void
test_truncated(void **state)
{
	static const uint32_t types[] = { RNDIS_PPI_CHECKSUM };
	struct msg m;
	uint32_t full;

	(void)state;
	good(&m, types, 1);
	full = m.len;
	for (m.len = 0; m.len < full; m.len++)
		expect(&m, m.len < 44 ? RNDIS_PARSE_SHORT : RNDIS_PARSE_LENGTH);
	m.len = full + 8; /* slack behind the message is normal */
	expect(&m, RNDIS_PARSE_OK);
}

static void
test_type_and_length(void **state)
{
	static const uint32_t lens[] = { 0, 7, 8, 43, 105, 0x7FFFFFFF, 0x80000000u, 0xFFFFFFFFu };
	struct msg m;
	uint32_t i;

	(void)state;
	good(&m, NULL, 0);
	for (i = 0; i < 10; i++) {
		pkt_of(&m)->hdr.type = i | (i == 1 ? RNDIS_COMPLETION : 0);
		expect(&m, RNDIS_PARSE_TYPE);
	}
	for (i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		good(&m, NULL, 0);
		pkt_of(&m)->hdr.len = lens[i];
		expect(&m, RNDIS_PARSE_LENGTH);
	}
	/* Large enough for the header, too small for the frame. */
	pkt_of(&m)->hdr.len = 44;
	expect(&m, RNDIS_PARSE_DATA);
}

/* T39, T40, T41: a message of 104 bytes, frame at 44. */
static void
test_data(void **state)
{
	static const struct {
		uint32_t off, len;
		enum rndis_parse_error want;
	} cases[] = {
		{ 36, 60, RNDIS_PARSE_OK },
		{ 36, 1, RNDIS_PARSE_OK },
		{ 95, 1, RNDIS_PARSE_OK },
		{ 37, 59, RNDIS_PARSE_OK },
		{ 36, 0, RNDIS_PARSE_DATA },
		{ 36, 61, RNDIS_PARSE_DATA },
		{ 96, 1, RNDIS_PARSE_DATA },
		{ 96, 0, RNDIS_PARSE_DATA },
		{ 97, 0xFFFFFFFFu, RNDIS_PARSE_DATA },
		{ 0, 60, RNDIS_PARSE_DATA },
		{ 35, 60, RNDIS_PARSE_DATA },
		{ 40, 57, RNDIS_PARSE_DATA },
		{ 36, 0xFFFFFFFFu, RNDIS_PARSE_DATA },
		{ 36, 0xFFFFFFDDu, RNDIS_PARSE_DATA }, /* sum wraps to 1 */
		{ 0xFFFFFFF8u, 60, RNDIS_PARSE_DATA },
		{ 0xFFFFFFFFu, 1, RNDIS_PARSE_DATA },
		{ 0x80000000u, 0x80000000u, RNDIS_PARSE_DATA },
	};
	struct msg m;
	uint32_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		good(&m, NULL, 0);
		pkt_of(&m)->data_off = cases[i].off;
		pkt_of(&m)->data_len = cases[i].len;
		expect(&m, cases[i].want);
	}
}

/* What a host refuses of a guest, and a guest tolerates of a host. */
static void
test_strict(void **state)
{
	static const size_t fields[] = { offsetof(struct rndis_packet, oob_off),
					 offsetof(struct rndis_packet, oob_len),
					 offsetof(struct rndis_packet, oob_count),
					 offsetof(struct rndis_packet, vc_handle) };
	struct rndis_pkt_info info;
	struct msg m;
	uint32_t i;

	(void)state;
	for (i = 0; i < 16; i++) {
		good(&m, NULL, 0);
		m.b[fields[i / 4] + i % 4] = 1;
		assert_int_equal(parse(&m, 0, &info), RNDIS_PARSE_OK);
		assert_int_equal(parse(&m, RNDIS_PARSE_F_STRICT, &info), RNDIS_PARSE_OOB);
	}
	good(&m, NULL, 0);
	pkt_of(&m)->reserved = 1; /* nobody checks it */
	assert_int_equal(parse(&m, RNDIS_PARSE_F_STRICT, &info), RNDIS_PARSE_OK);
}

/* T42: a message of 120 bytes with one record at 44. */
static void
test_ppi_area(void **state)
{
	static const uint32_t types[] = { RNDIS_PPI_CHECKSUM };
	static const struct {
		uint32_t off, len;
		enum rndis_parse_error want;
	} cases[] = {
		{ 36, 16, RNDIS_PARSE_OK },
		{ 0, 0, RNDIS_PARSE_OK },
		{ 36, 0, RNDIS_PARSE_OK },
		{ 0xFFFFFFFFu, 0, RNDIS_PARSE_OK },
		{ 0, 16, RNDIS_PARSE_PPI },
		{ 35, 16, RNDIS_PARSE_PPI },
		{ 36, 1, RNDIS_PARSE_PPI },
		{ 36, 11, RNDIS_PARSE_PPI },
		{ 36, 12, RNDIS_PARSE_PPI },
		{ 36, 15, RNDIS_PARSE_PPI },
		{ 36, 77, RNDIS_PARSE_PPI },
		{ 36, 0xFFFFFFFFu, RNDIS_PARSE_PPI },
		{ 36, 0xFFFFFFDCu, RNDIS_PARSE_PPI },
		{ 112, 16, RNDIS_PARSE_PPI },
		{ 113, 16, RNDIS_PARSE_PPI },
		{ 0xFFFFFFF8u, 16, RNDIS_PARSE_PPI },
	};
	struct msg m;
	uint32_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		good(&m, types, 1);
		pkt_of(&m)->ppi_off = cases[i].off;
		pkt_of(&m)->ppi_len = cases[i].len;
		expect(&m, cases[i].want);
	}
}

/* T43: the sizes that make a naive walk loop for ever or run out of the message. */
static void
test_ppi_size(void **state)
{
	static const uint32_t sizes[] = { 0,  1,	   4,		8,	     11,
					  13, 14,	   15,		17,	     18,
					  20, 0x80000000u, 0xFFFFFFF0u, 0xFFFFFFFCu, 0xFFFFFFFFu };
	static const uint32_t ppi_types[] = { RNDIS_PPI_CHECKSUM, 0x1234, RNDIS_PPI_PACKET_ID };
	struct msg m;
	uint32_t i, t;

	(void)state;
	for (t = 0; t < 3; t++) {
		for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			/* alone, and behind a good one */
			good(&m, NULL, 0);
			add_ppi(&m, sizes[i], ppi_types[t], 12, 16);
			expect(&m, RNDIS_PARSE_PPI);
			good(&m, ppi_types, 1);
			add_ppi(&m, sizes[i], ppi_types[t], 12, 16);
			expect(&m, RNDIS_PARSE_PPI);
		}
	}
}

static void
test_ppi_data_offset(void **state)
{
	static const uint32_t offs[] = { 0, 1, 11, 16, 17, 28, 0x80000000u, 0xFFFFFFFFu };
	struct msg m;
	uint32_t i;

	(void)state;
	for (i = 0; i < sizeof(offs) / sizeof(offs[0]); i++) {
		good(&m, NULL, 0);
		add_ppi(&m, 16, RNDIS_PPI_VLAN, offs[i], 16);
		expect(&m, RNDIS_PARSE_PPI);
	}
}

/* Data anywhere in a longer record; unknown records and empty ones are passed over. */
static void
test_ppi_unusual(void **state)
{
	struct rndis_pkt_info info;
	struct msg m;

	(void)state;
	good(&m, NULL, 0);
	add_ppi(&m, 12, 0x77, 12, 12);
	add_ppi(&m, 40, RNDIS_PPI_VLAN, 36, 40);
	add_ppi(&m, 32, 0x4242, 20, 32);
	add_ppi(&m, 16, RNDIS_PPI_HASH_VALUE, 12, 16);
	assert_int_equal(parse(&m, 0, &info), RNDIS_PARSE_OK);
	assert_int_equal(info.present, RNDIS_INFO_VLAN | RNDIS_INFO_HASH_VALUE);
	assert_int_equal(info.vlan, 0x22222222u);
	assert_int_equal(info.hash_value, 0x22222222u);
}

/* T44: too short for its type: as if it were not there. */
static void
test_ppi_short(void **state)
{
	static const uint32_t types[] = { RNDIS_PPI_CHECKSUM,  RNDIS_PPI_LSO,
					  RNDIS_PPI_VLAN,      RNDIS_PPI_HASH_VALUE,
					  RNDIS_PPI_HASH_INFO, RNDIS_PPI_PACKET_ID };
	struct rndis_pkt_info info;
	struct msg m;
	uint32_t i, off;

	(void)state;
	for (i = 0; i < 6; i++) {
		good(&m, NULL, 0);
		add_ppi(&m, 12, types[i], 12, 12);
		assert_int_equal(parse(&m, 0, &info), RNDIS_PARSE_OK);
		assert_int_equal(info.present, 0);
		for (off = 13; off < 16; off++) {
			good(&m, NULL, 0);
			add_ppi(&m, 16, types[i], off, 16);
			assert_int_equal(parse(&m, 0, &info), RNDIS_PARSE_OK);
			assert_int_equal(info.present, 0);
		}
	}
}

/* T45: in the common layout, and with one of the two unusual. */
static void
test_ppi_twice(void **state)
{
	static const uint32_t types[] = { RNDIS_PPI_VLAN, RNDIS_PPI_CHECKSUM, RNDIS_PPI_VLAN,
					  RNDIS_PPI_PACKET_ID, RNDIS_PPI_PACKET_ID };
	struct rndis_pkt_info info;
	struct msg m;

	(void)state;
	good(&m, types, 5);
	assert_int_equal(parse(&m, 0, &info), RNDIS_PARSE_OK);
	assert_int_equal(info.vlan, 0x11110000u);
	assert_int_equal(info.packet_id.version, 3);
	good(&m, types, 1);
	add_ppi(&m, 24, RNDIS_PPI_VLAN, 20, 24);
	assert_int_equal(parse(&m, 0, &info), RNDIS_PARSE_OK);
	assert_int_equal(info.vlan, 0x11110000u);
}

/* T46: bits above the VLAN field do not reach the tag. */
static void
test_vlan_mask(void **state)
{
	uint32_t tci;

	(void)state;
	assert_int_equal(RNDIS_VLAN_TO_TCI(0xFFFF0000u), 0);
	assert_int_equal(RNDIS_VLAN_TO_TCI(0xFFFFFFFFu), 0xFFFF);
	assert_int_equal(RNDIS_VLAN_TO_TCI(0x645u), 0xA064); /* id 100, priority 5 */
	for (tci = 0; tci <= 0xFFFF; tci++)
		assert_int_equal(RNDIS_VLAN_TO_TCI(RNDIS_VLAN_FROM_TCI(tci)), tci);
}

/* The most records a slot can hold end after that many turns. */
static void
test_many_records(void **state)
{
	struct rndis_pkt_info info;
	struct msg m;
	uint32_t i;

	(void)state;
	good(&m, NULL, 0);
	for (i = 0; i < 150; i++)
		add_ppi(&m, 12, 0x80000077u, 12, 12);
	assert_int_equal(parse(&m, 0, &info), RNDIS_PARSE_OK);
	assert_int_equal(info.data_off, 44 + 150 * 12);
}

static void
test_strerror(void **state)
{
	unsigned int i, j;

	(void)state;
	for (i = 0; i < RNDIS_PARSE_ERRORS; i++) {
		assert_non_null(rndis_parse_strerror(i));
		for (j = 0; j < i; j++)
			assert_string_not_equal(rndis_parse_strerror(i), rndis_parse_strerror(j));
	}
	assert_string_equal(rndis_parse_strerror(RNDIS_PARSE_ERRORS), "unknown error");
	assert_string_equal(rndis_parse_strerror((enum rndis_parse_error) - 1), "unknown error");
}

/* --- control messages ----------------------------------------------------------------------- */

typedef int (*control_fn)(const void *msg, uint32_t len, uint32_t *off, uint32_t *size);

static int
control(control_fn fn, const void *msg, uint32_t len, uint32_t *off, uint32_t *size)
{
	uint8_t *exact = malloc(len + 1);
	int rc;

	assert_non_null(exact);
	memcpy(exact + 1, msg, len);
	*off = *size = 0xEEEEEEEEu;
	rc = fn(exact + 1, len, off, size);
	free(exact);
	return rc;
}

/* T51 and T52. */
static void
test_query_cmplt(void **state)
{
	static const struct {
		uint32_t msg_len, off, len;
		int want;
	} cases[] = {
		{ 30, 16, 6, 0 },
		{ 30, 17, 5, 0 },
		{ 30, 0, 0, 0 },
		{ 30, 16, 7, -EINVAL },
		{ 30, 15, 6, -EINVAL },
		{ 30, 0, 6, -EINVAL },
		{ 30, 22, 1, -EINVAL },
		{ 30, 23, 1, -EINVAL },
		{ 31, 16, 6, -EINVAL },
		{ 29, 16, 6, -EINVAL },
		{ 23, 16, 6, -EINVAL },
		{ 0, 16, 6, -EINVAL },
		{ 0xFFFFFFFFu, 16, 6, -EINVAL },
		{ 30, 0xFFFFFFFFu, 6, -EINVAL },
		{ 30, 16, 0xFFFFFFFFu, -EINVAL },
		{ 30, 16, 0xFFFFFFF0u, -EINVAL },
	};
	struct {
		struct rndis_query_cmplt h;
		uint8_t data[6];
	} HVWIRE_PACKED m = { { { RNDIS_QUERY_CMPLT, 30 }, 1, 0, 6, 16 }, "\0\x15]\1\2\3" };
	uint32_t off, size, i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		m.h.hdr.len = cases[i].msg_len;
		m.h.info_off = cases[i].off;
		m.h.info_len = cases[i].len;
		assert_int_equal(control(rndis_parse_query_cmplt, &m, sizeof(m), &off, &size),
				 cases[i].want);
		if (cases[i].want == 0) {
			assert_int_equal(size, cases[i].len);
			assert_int_equal(off, size == 0 ? 24 : cases[i].off + 8);
		}
	}
	for (i = 0; i < sizeof(m.h); i++)
		assert_int_equal(control(rndis_parse_query_cmplt, &m, i, &off, &size), -EINVAL);
}

static void
test_request(void **state)
{
	uint8_t b[64];
	struct rndis_request *req = (struct rndis_request *)b;
	uint32_t off, size, len, i, value = 13;

	(void)state;
	len = rndis_build_request(b, RNDIS_SET, 3, RNDIS_OID_GEN_CURRENT_PACKET_FILTER, &value, 4);
	assert_int_equal(len, 32);
	assert_int_equal(control(rndis_parse_request, b, len, &off, &size), 0);
	assert_int_equal(off, 28);
	assert_int_equal(size, 4);
	for (i = 0; i < len; i++)
		assert_int_equal(control(rndis_parse_request, b, i, &off, &size), -EINVAL);
	req->info_off = 19;
	assert_int_equal(control(rndis_parse_request, b, len, &off, &size), -EINVAL);
	req->info_off = 21;
	assert_int_equal(control(rndis_parse_request, b, len, &off, &size), -EINVAL);
	req->info_off = 20;
	req->info_len = 0xFFFFFFFFu;
	assert_int_equal(control(rndis_parse_request, b, len, &off, &size), -EINVAL);
	req->info_len = 0;
	req->info_off = 0xFFFFFFFFu;
	assert_int_equal(control(rndis_parse_request, b, len, &off, &size), 0);
	assert_int_equal(size, 0);
}

/* T53: the buffer counts against the range, not against the message length. */
static void
test_indicate(void **state)
{
	struct {
		struct rndis_indicate h;
		uint32_t speed;
	} HVWIRE_PACKED m = { { { RNDIS_INDICATE, 20 }, RNDIS_STATUS_LINK_SPEED_CHANGE, 4, 12 },
			      100000000 };
	uint32_t off, size, i;

	(void)state;
	assert_int_equal(control(rndis_parse_indicate, &m, 24, &off, &size), 0);
	assert_int_equal(off, 20);
	assert_int_equal(size, 4);
	m.h.hdr.len = 24;
	assert_int_equal(control(rndis_parse_indicate, &m, 24, &off, &size), 0);
	m.h.hdr.len = 20;
	for (i = 0; i < 24; i++)
		assert_int_equal(control(rndis_parse_indicate, &m, i, &off, &size), -EINVAL);
	m.h.hdr.len = 19;
	assert_int_equal(control(rndis_parse_indicate, &m, 24, &off, &size), -EINVAL);
	m.h.hdr.len = 25;
	assert_int_equal(control(rndis_parse_indicate, &m, 24, &off, &size), -EINVAL);
	m.h.hdr.len = 20;
	m.h.buf_off = 11;
	assert_int_equal(control(rndis_parse_indicate, &m, 24, &off, &size), -EINVAL);
	m.h.buf_off = 13;
	assert_int_equal(control(rndis_parse_indicate, &m, 24, &off, &size), -EINVAL);
	m.h.buf_off = 0;
	m.h.buf_len = 0;
	assert_int_equal(control(rndis_parse_indicate, &m, 24, &off, &size), 0);
	assert_int_equal(size, 0);
	assert_int_equal(control(rndis_parse_indicate, &m, 20, &off, &size), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_type_and_length),
		cmocka_unit_test(test_data),
		cmocka_unit_test(test_strict),
		cmocka_unit_test(test_ppi_area),
		cmocka_unit_test(test_ppi_size),
		cmocka_unit_test(test_ppi_data_offset),
		cmocka_unit_test(test_ppi_unusual),
		cmocka_unit_test(test_ppi_short),
		cmocka_unit_test(test_ppi_twice),
		cmocka_unit_test(test_vlan_mask),
		cmocka_unit_test(test_many_records),
		cmocka_unit_test(test_strerror),
		cmocka_unit_test(test_query_cmplt),
		cmocka_unit_test(test_request),
		cmocka_unit_test(test_indicate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
