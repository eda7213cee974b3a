/* SPDX-License-Identifier: BSD-3-Clause */
/* echo and pair: order, content, and what happens when the queue is full. */
#include "port_fixture.h"
#include "port/frame_queue.h"

static uint8_t bytes[70000];

static struct port_frame
frame(unsigned int i, uint32_t len)
{
	for (unsigned int k = 0; k < len && k < 256; k++)
		bytes[k] = (uint8_t)(i + k);
	return (struct port_frame){
		.data = bytes, .len = len, .flags = PORT_F_VLAN | PORT_F_HASH, .tci = (uint16_t)i
	};
}

/* A queue model: lengths in order. Frames of all sizes pass through unchanged. */
static void
queue_random(void **state)
{
	struct frame_queue q;
	struct port_frame f;
	uint32_t len[64], x = 1, in = 0, out = 0, refused = 0;
	uint8_t *at;

	(void)state;
	assert_int_equal(frame_queue_init(&q, 50), 0);
	for (unsigned int turn = 0; turn < 200000; turn++) {
		x = x * 1664525u + 1013904223u;
		if ((x >> 31) != 0) {
			uint32_t n = 14 + (x >> 8) % ((x & 15) == 0 ? 65000 : 3000);

			f = frame(in, n);
			at = frame_queue_room(&q, n);
			if (at == NULL) {
				assert_true(q.used > 2);
				refused++;
				continue;
			}
			assert_true(at >= q.bytes && at + n <= q.bytes + q.size);
			memcpy(at, f.data, n);
			frame_queue_put(&q, at, &f);
			len[in++ % 64] = n;
		} else if (frame_queue_peek(&q, &f, 1) == 1) {
			assert_int_equal(f.len, len[out % 64]);
			assert_int_equal(f.flags, PORT_F_VLAN);
			assert_int_equal(f.tci, (uint16_t)out);
			for (unsigned int k = 0; k < f.len && k < 256; k++)
				assert_int_equal(f.data[k], (uint8_t)(out + k));
			frame_queue_release(&q, 1);
			out++;
		} else
			assert_int_equal(in, out);
	}
	assert_true(in > 50000 && refused > 100);
	frame_queue_free(&q);
}

static void
echo(void **state)
{
	struct port *port = fixture_port(&port_echo_ops, 0, "queue=4");
	struct port_frame f, got[8];

	(void)state;
	for (unsigned int i = 0; i < 4; i++) {
		f = frame(i, 60 + i);
		assert_true(port->ops->push(port, &f));
	}
	f = frame(4, 64);
	assert_false(port->ops->push(port, &f));
	assert_int_equal(port->ops->peek(port, got, 8), 4);
	assert_int_equal(got[1].len, 61);
	for (unsigned int k = 0; k < 61; k++)
		assert_int_equal(got[1].data[k], k < 6 ? 7 + k : k < 12 ? 1 + k - 6 : 1 + k);
	port->ops->release(port, 1);
	assert_true(port->ops->push(port, &f));
	assert_false(port->ops->push(port, &f));
	assert_int_equal(port->ops->peek(port, got, 8), 4);
	assert_int_equal(got[0].len, 61);
	assert_int_equal(got[3].tci, 4);
	port->ops->release(port, 4);
	assert_int_equal(port->ops->peek(port, got, 8), 0);
	f = frame(0, 11);
	assert_true(port->ops->push(port, &f));
	assert_int_equal(fixture_stat(port, "runts"), 1);
	assert_int_equal(fixture_stat(port, "refused"), 2);
	port->ops->destroy(port);
}

static void
pair(void **state)
{
	struct port *a = fixture_port(&port_pair_ops, 0, "1");
	struct port *b = fixture_port(&port_pair_ops, 1, "0");
	struct port_frame f = frame(9, 60), got[8];
	unsigned int n = 0;

	(void)state;
	assert_int_equal(port_join(a, b), 0);
	while (a->ops->push(a, &f))
		n++;
	assert_int_equal(n, 1024);
	/* One way full, the other free. */
	assert_true(b->ops->push(b, &f));
	assert_int_equal(a->ops->peek(a, got, 8), 1);
	assert_int_equal(b->ops->peek(b, got, 8), 8);
	assert_memory_equal(got[7].data, f.data, f.len);
	b->ops->release(b, 2);
	assert_true(a->ops->push(a, &f));
	assert_true(a->ops->push(a, &f));
	assert_false(a->ops->push(a, &f));
	/* The other NIC goes: frames are not held up by it. */
	b->ops->destroy(b);
	assert_true(a->ops->push(a, &f));
	assert_int_equal(fixture_stat(a, "unplugged"), 1);
	a->ops->destroy(a);
}

static void
pair_wrong(void **state)
{
	struct port *a = fixture_port(&port_pair_ops, 0, "1"), *port = NULL;
	struct port *b = fixture_port(&port_pair_ops, 1, "5");
	struct port *s = fixture_port(&port_sink_ops, 1, "");

	(void)state;
	assert_int_equal(port_join(a, b), -EINVAL);
	assert_int_equal(port_join(a, s), -EINVAL);
	assert_int_equal(port_pair_ops.create(&fixture_nics[0], "0", &port), -EINVAL);
	assert_int_equal(port_pair_ops.create(&fixture_nics[0], "", &port), -EINVAL);
	assert_int_equal(port_pair_ops.create(&fixture_nics[0], "1x", &port), -EINVAL);
	a->ops->destroy(a);
	b->ops->destroy(b);
	s->ops->destroy(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(queue_random),
		cmocka_unit_test(echo),
		cmocka_unit_test(pair),
		cmocka_unit_test(pair_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
