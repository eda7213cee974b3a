/* SPDX-License-Identifier: BSD-3-Clause */
/* gen and sink: frames are valid, pacing is exact, every kind of fault is found. */
#include "port_fixture.h"
#include "port/gen_format.h"

#define N 64

static struct port_frame got[512];
static uint8_t copy[GEN_FRAME_MAX];

/* Take n frames, in pieces of at most 32, and hand each to sink (may be NULL). */
static void
carry(struct port *gen, struct port *sink, unsigned int n)
{
	while (n != 0) {
		unsigned int k = gen->ops->peek(gen, got, n < 32 ? n : 32);

		assert_int_not_equal(k, 0);
		for (unsigned int i = 0; sink != NULL && i < k; i++)
			assert_true(sink->ops->push(sink, &got[i]));
		gen->ops->release(gen, k);
		n -= k;
	}
}

static uint16_t
be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

/* RFC 1071 byte by byte, nothing of the code under test. */
static uint32_t
add(uint32_t sum, const uint8_t *p, unsigned int len)
{
	for (unsigned int i = 0; i < len; i++)
		sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xFFFF) + (sum >> 16);
	return sum;
}

static void
check_cksums(const struct port_frame *f)
{
	const uint8_t *ip = f->data + 14, *l4;
	bool v6 = be16(f->data + 12) == 0x86DD;
	unsigned int l4_len;
	uint32_t sum;

	if (v6) {
		l4 = ip + 40;
		l4_len = be16(ip + 4);
		sum = add(ip[6] + l4_len, ip + 8, 32);
	} else {
		assert_int_equal(be16(f->data + 12), 0x0800);
		assert_int_equal(add(0, ip, 20), 0xFFFF);
		l4 = ip + 20;
		l4_len = be16(ip + 2) - 20u;
		sum = add(ip[9] + l4_len, ip + 12, 8);
	}
	assert_ptr_equal(l4 + l4_len, f->data + f->len);
	if ((v6 ? ip[6] : ip[9]) == 17)
		assert_int_equal(be16(l4 + 4), l4_len);
	assert_int_equal(add(sum, l4, l4_len), 0xFFFF);
}

static void
frames_valid(void **state)
{
	static const char *const texts[] = {
		"",	     "proto=tcp",    "proto=mix,ipv6=50,flows=8", "size=61-1514,flows=300",
		"size=1513", "imix,flows=5", "size=9216,ipv6=100",	  "flows=4096,vlan=5"
	};

	(void)state;
	for (unsigned int t = 0; t < sizeof(texts) / sizeof(texts[0]); t++) {
		struct port *gen = fixture_port(&port_gen_ops, 0, texts[t]);

		for (unsigned int i = 0; i < 100; i++) {
			unsigned int k = gen->ops->peek(gen, got, 50);

			assert_int_equal(k, 50);
			for (unsigned int j = 0; j < k; j++) {
				check_cksums(&got[j]);
				assert_memory_equal(got[j].data, fixture_nics[0].mac, 6);
				assert_int_equal(got[j].tci, t == 7 ? 5 : 0);
				assert_int_equal((got[j].flags & PORT_F_VLAN) != 0, t == 7);
				assert_true(gen->ops->push(gen, &got[j]));
			}
			gen->ops->release(gen, k);
			fixture_now += 12345;
		}
		assert_int_equal(fixture_stat(gen, "received"), 5000);
		assert_int_equal(fixture_stat(gen, "sent"), 5000);
		assert_int_equal(fixture_stat(gen, "outstanding"), 0);
		assert_false(gen->ops->failed(gen));
		gen->ops->destroy(gen);
	}
}

static void
flows_differ(void **state)
{
	struct port *gen = fixture_port(&port_gen_ops, 0, "flows=512");
	unsigned int same = 0;

	(void)state;
	assert_int_equal(gen->ops->peek(gen, got, 512), 512);
	for (unsigned int i = 0; i < 512; i++)
		for (unsigned int j = 0; j < i; j++)
			same += memcmp(got[i].data + 26, got[j].data + 26, 12) == 0;
	assert_int_equal(same, 0);
	gen->ops->destroy(gen);
}

/* Not released: offered again, byte for byte. */
static void
peek_again(void **state)
{
	struct port *gen = fixture_port(&port_gen_ops, 0, "");
	struct port_frame again[8];

	(void)state;
	assert_int_equal(gen->ops->peek(gen, got, 8), 8);
	memcpy(copy, got[3].data, got[3].len);
	fixture_now += 1000;
	assert_int_equal(gen->ops->peek(gen, again, 8), 8);
	assert_ptr_equal(again[3].data, got[3].data);
	assert_memory_equal(again[3].data, copy, got[3].len);
	gen->ops->release(gen, 3);
	assert_int_equal(gen->ops->peek(gen, again, 1), 1);
	assert_ptr_equal(again[0].data, got[3].data);
	gen->ops->destroy(gen);
}

static struct port *gen, *sink;

static void
begin(const char *text)
{
	gen = fixture_port(&port_gen_ops, 0, text);
	sink = fixture_port(&port_sink_ops, 1, "");
}

static void
end(bool failed)
{
	assert_int_equal(sink->ops->failed(sink), failed);
	gen->ops->destroy(gen);
	sink->ops->destroy(sink);
}

static void
loss(void **state)
{
	(void)state;
	begin("flows=1,count=100");
	carry(gen, sink, 40);
	carry(gen, NULL, 3);
	assert_int_equal(fixture_stat(sink, "outstanding"), 3);
	assert_false(sink->ops->failed(sink));
	carry(gen, sink, 50);
	assert_int_equal(fixture_stat(sink, "lost"), 3);
	assert_int_equal(fixture_stat(sink, "outstanding"), 0);
	assert_true(sink->ops->failed(sink));
	assert_int_equal(fixture_command(sink, "clear", NULL), 0);
	assert_false(sink->ops->failed(sink));
	/* The last ones: lost only when no more can come. */
	carry(gen, NULL, 7);
	assert_int_equal(gen->ops->peek(gen, got, 8), 0);
	assert_int_equal(fixture_stat(sink, "outstanding"), 7);
	end(true);
}

static void
duplicates(void **state)
{
	(void)state;
	begin("flows=2,count=100");
	carry(gen, sink, 10);
	assert_int_equal(gen->ops->peek(gen, got, 1), 1);
	for (unsigned int i = 0; i < 3; i++)
		assert_true(sink->ops->push(sink, &got[0]));
	gen->ops->release(gen, 1);
	carry(gen, sink, 89);
	assert_int_equal(fixture_stat(sink, "duplicated"), 2);
	assert_int_equal(fixture_stat(sink, "received"), 100);
	assert_int_equal(fixture_stat(sink, "lost"), 0);
	end(true);
}

/* Order counts within a flow only. */
static void
reordering(void **state)
{
	(void)state;
	begin("flows=4");
	assert_int_equal(gen->ops->peek(gen, got, 4), 4);
	for (unsigned int i = 4; i-- > 0;)
		assert_true(sink->ops->push(sink, &got[i]));
	gen->ops->release(gen, 4);
	assert_int_equal(fixture_stat(sink, "reordered"), 0);
	assert_int_equal(gen->ops->peek(gen, got, 12), 12);
	for (unsigned int i = 12; i-- > 0;)
		assert_true(sink->ops->push(sink, &got[i]));
	gen->ops->release(gen, 12);
	assert_int_equal(fixture_stat(sink, "reordered"), 8);
	assert_int_equal(fixture_stat(sink, "received"), 16);
	assert_int_equal(fixture_stat(sink, "lost"), 0);
	assert_int_equal(fixture_stat(sink, "duplicated"), 0);
	end(true);
}

/* Each byte of a frame behind the MAC addresses, damaged in turn: nothing passes as received. */
static void
damage(void **state)
{
	unsigned int found = 0;

	(void)state;
	begin("flows=1,size=100");
	for (unsigned int i = 12; i < 100; i++) {
		struct port_frame f;
		json_int_t before;

		assert_int_equal(gen->ops->peek(gen, &f, 1), 1);
		memcpy(copy, f.data, f.len);
		copy[i] ^= 0x10;
		f.data = copy;
		before = fixture_stat(sink, "damaged") + fixture_stat(sink, "other");
		assert_true(sink->ops->push(sink, &f));
		gen->ops->release(gen, 1);
		assert_int_equal(fixture_stat(sink, "damaged") + fixture_stat(sink, "other"),
				 before + 1);
		found += fixture_stat(sink, "damaged") + fixture_stat(sink, "other") > before;
	}
	assert_int_equal(found, 88);
	assert_int_equal(fixture_stat(sink, "bad_bytes"), 40);
	end(true);
}

static void
truncated(void **state)
{
	struct port_frame f;

	(void)state;
	begin("flows=1,size=100");
	for (unsigned int len = 0; len < 100; len++) {
		assert_int_equal(gen->ops->peek(gen, &f, 1), 1);
		memcpy(copy, f.data, f.len);
		f = (struct port_frame){ .data = copy, .len = len };
		assert_true(sink->ops->push(sink, &f));
	}
	assert_int_equal(fixture_stat(sink, "damaged") + fixture_stat(sink, "other"), 100);
	end(true);
}

/* MAC addresses exchanged, a tag in the bytes, padding: still the same frame. */
static void
recognised(void **state)
{
	struct port_frame f;

	(void)state;
	begin("flows=1");
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(gen->ops->peek(gen, &f, 1), 1);
		memset(copy, 0, 100);
		memcpy(copy, f.data + 6, 6);
		memcpy(copy + 6, f.data, 6);
		memcpy(copy + 12, "\x81\x00\x00\x05", 4);
		memcpy(copy + (i == 1 ? 16 : 12), f.data + 12, f.len - 12);
		f = (struct port_frame){ .data = copy, .len = i == 0 ? 60 : i == 1 ? 64 : 80 };
		assert_true(sink->ops->push(sink, &f));
		gen->ops->release(gen, 1);
	}
	assert_int_equal(fixture_stat(sink, "received"), 3);
	end(false);
}

static void
latency_and_gap(void **state)
{
	(void)state;
	begin("flows=1");
	for (unsigned int i = 1; i <= 100; i++) {
		assert_int_equal(gen->ops->peek(gen, got, 1), 1);
		fixture_now += i == 100 ? 50000 : 1000;
		sink->ops->flush(sink);
		assert_true(sink->ops->push(sink, &got[0]));
		gen->ops->release(gen, 1);
	}
	assert_int_equal(fixture_latency(sink, "min"), 1000);
	assert_int_equal(fixture_latency(sink, "max"), 50000);
	assert_int_equal(fixture_latency(sink, "avg"), 1490);
	assert_in_range(fixture_latency(sink, "p50"), 1000, 1031);
	assert_in_range(fixture_latency(sink, "p99"), 1000, 1031);
	assert_int_equal(fixture_latency(sink, "p999"), 50000);
	assert_int_equal(fixture_stat(sink, "longest_gap_ns"), 50000);
	fixture_now += 777;
	assert_int_equal(fixture_stat(sink, "silence_ns"), 777);
	end(false);
}

static void
paced(void **state)
{
	unsigned int n = 0, k;

	(void)state;
	begin("rate=10000,flows=3");
	for (unsigned int i = 0; i < 100000; i++) { /* 1 s in steps of 10 us */
		k = gen->ops->peek(gen, got, 32);
		gen->ops->release(gen, k);
		assert_true(k <= 1);
		n += k;
		fixture_now += 10000;
	}
	assert_in_range(n, 10000, 10001);
	assert_int_equal(fixture_stat(gen, "missed"), 0);
	/* Nobody looks for 10 s: what the port cannot hold is missed. */
	fixture_now += 10000000000u;
	for (n = 0; (k = gen->ops->peek(gen, got, 32)) != 0; n += k)
		gen->ops->release(gen, k);
	assert_int_equal(n, 64);
	assert_in_range(fixture_stat(gen, "missed") + 64, 100000, 100001);
	assert_int_equal(fixture_command(gen, "rate", json_pack("{si}", "rate", 1000)), 0);
	assert_int_equal(gen->ops->peek(gen, got, 32), 1);
	gen->ops->release(gen, 1);
	fixture_now += 5000000;
	assert_int_equal(gen->ops->peek(gen, got, 32), 5);
	assert_int_not_equal(fixture_command(gen, "rate", json_pack("{si}", "rate", -1)), 0);
	assert_int_equal(fixture_command(gen, "dance", NULL), -ENOENT);
	end(false);
}

static void
bursts(void **state)
{
	unsigned int k;

	(void)state;
	begin("rate=1000,burst=16");
	for (unsigned int i = 0; i < 1000; i++) {
		k = gen->ops->peek(gen, got, 64);
		gen->ops->release(gen, k);
		assert_true(k == 0 || k == 16);
		fixture_now += 1000000;
	}
	assert_in_range(fixture_stat(gen, "sent"), 1000, 1016);
	end(false);
}

static void
commands(void **state)
{
	(void)state;
	begin("start=command,count=10,expect=return");
	assert_int_equal(gen->ops->peek(gen, got, 32), 0);
	assert_int_equal(fixture_command(gen, "start", NULL), 0);
	carry(gen, NULL, 10);
	assert_int_equal(gen->ops->peek(gen, got, 32), 0);
	assert_true(gen->ops->failed(gen)); /* nothing came back */
	assert_int_equal(fixture_command(gen, "clear", NULL), 0);
	assert_int_equal(fixture_command(gen, "start", NULL), 0);
	carry(gen, gen, 10);
	assert_false(gen->ops->failed(gen));
	assert_int_equal(fixture_command(gen, "start", NULL), 0);
	carry(gen, gen, 1);
	assert_int_equal(fixture_command(gen, "stop", NULL), 0);
	while (gen->ops->peek(gen, got, 32) != 0)
		carry(gen, gen, 1);
	assert_int_equal(fixture_stat(gen, "sent"), fixture_stat(gen, "received"));
	end(false);
}

/* The pieces of a frame, joined, are the frame. */
static void
coalesced(void **state)
{
	struct port_frame f = { .data = copy };

	(void)state;
	begin("proto=tcp,size=4000,rsc=3");
	for (unsigned int i = 0; i < 1000; i++) {
		assert_int_equal(gen->ops->peek(gen, got, 5), 3);
		f.len = 0;
		for (unsigned int j = 0; j < 3; j++) {
			assert_int_equal((got[j].flags & PORT_F_RSC_FIRST) != 0, j == 0);
			assert_int_equal((got[j].flags & PORT_F_RSC_MORE) != 0, j < 2);
			memcpy(copy + f.len, got[j].data, got[j].len);
			f.len += got[j].len;
		}
		check_cksums(&f);
		assert_true(sink->ops->push(sink, &f));
		gen->ops->release(gen, 3);
	}
	assert_int_equal(fixture_stat(gen, "sent"), 1000);
	assert_int_equal(fixture_stat(gen, "sent_bytes"), 4000000);
	assert_int_equal(fixture_stat(sink, "received"), 1000);
	end(false);
}

static void
wrong_options(void **state)
{
	static const char *const texts[] = { "rate=x",	   "rate=-1",	  "size=59", "size=9217",
					     "size=9-8",   "size=100-60", "flows=0", "flows=4k1",
					     "proto=icmp", "imix=1",	  "speed=1", "rate",
					     "vlan=65536", "rsc=2" };
	struct port *port = NULL;

	(void)state;
	for (unsigned int i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_int_equal(port_gen_ops.create(&fixture_nics[0], texts[i], &port), -EINVAL);
	assert_null(port);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_valid),	 cmocka_unit_test(flows_differ),
		cmocka_unit_test(peek_again),	 cmocka_unit_test(loss),
		cmocka_unit_test(duplicates),	 cmocka_unit_test(reordering),
		cmocka_unit_test(damage),	 cmocka_unit_test(truncated),
		cmocka_unit_test(recognised),	 cmocka_unit_test(latency_and_gap),
		cmocka_unit_test(paced),	 cmocka_unit_test(bursts),
		cmocka_unit_test(commands),	 cmocka_unit_test(coalesced),
		cmocka_unit_test(wrong_options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
