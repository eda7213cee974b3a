/* SPDX-License-Identifier: BSD-3-Clause */
/* Behind a host that is slow, packets of several bursts share a message; nothing waits for long. */
#include "tx_hold_fixture.h"

static int
open_tiny(void **state)
{
	sent_id = taken_id = 0;
	frame_tid = want_tid = 1;
	return fx_tiny(state);
}

/* Each burst adds to the message, until that is full. */
static void
full(void **state)
{
	uint32_t before;

	(void)state;
	hold_one();
	before = unread();
	for (uint32_t i = 1; i < 7; i++) {
		look();
		assert_true(send_next());
		assert_true(hvn_tx_held(fx.ch));
		assert_int_equal(unread(), before);
	}
	look();
	assert_true(send_next());
	assert_false(hvn_tx_held(fx.ch));
	assert_int_equal(unread(), before + MESSAGE);
	host_takes_others();
	assert_int_equal(host_takes(), 8);
	assert_int_equal(taken_id, sent_id);
	expect_all();
}

/* No packet comes any more, and the thread goes on: at its second look. */
static void
second_look(void **state)
{
	uint32_t before;

	(void)state;
	for (uint32_t i = 0; i < 2; i++) {
		hold_one();
		before = unread();
		look();
		assert_true(hvn_tx_held(fx.ch));
		assert_int_equal(unread(), before);
		look();
		assert_false(hvn_tx_held(fx.ch));
		assert_int_equal(unread(), before + MESSAGE);
		host_takes_all();
		assert_int_equal(taken_id, sent_id);
	}
	expect_all();
}

/* So it is where the host has caught up, which is told. */
static void
caught_up(void **state)
{
	unsigned int signals;

	(void)state;
	hold_one();
	host_takes_all();
	assert_int_equal(taken_id, sent_id - 1);
	vmbus_ring_rx_unmask(&fx.host_rx);
	signals = fx.signals;
	look();
	assert_int_equal(fx.signals, signals);
	look();
	assert_int_equal(fx.signals, signals + 1);
	host_takes_all();
	assert_int_equal(taken_id, sent_id);
	/* Idle again: the next poll takes no lock. */
	look();
	assert_int_equal(fx.rxq->idle_at, fx.vc.rx.index);
	assert_int_equal(fx.ch->tx_looker, 0);
	expect_all();
}

/* A thread that does not look between two bursts may not look again. */
static void
unwatched(void **state)
{
	(void)state;
	hold_one();
	assert_true(send_next());
	assert_false(hvn_tx_held(fx.ch));
	expect_all();
}

/* It looked long ago. */
static void
watched_once(void **state)
{
	(void)state;
	get_behind();
	receive();
	assert_true(fx.ch->tx_watched);
	host_takes_all();
	for (uint32_t i = 0; i < 2 * ENOUGH; i++) {
		assert_true(send_next());
		assert_false(hvn_tx_held(fx.ch));
	}
	expect_all();
}

/* Nor does it count what it did before bursts of which none had anything to hold. */
static void
watched_long_ago(void **state)
{
	struct rte_mbuf *m[8];

	(void)state;
	get_behind();
	receive();
	for (uint32_t i = 0; i < 4; i++) {
		for (uint32_t j = 0; j < RTE_DIM(m); j++)
			m[j] = make_packet(sent_id++, LEN);
		assert_int_equal(hvn_tx_burst(fx.txq, m, RTE_DIM(m)), RTE_DIM(m));
	}
	assert_true(send_next());
	assert_false(hvn_tx_held(fx.ch));
	expect_all();
}

/* Who asks for no frames looks, too, and who sends no packets. */
static void
nothing(void **state)
{
	struct rte_mbuf *m;

	(void)state;
	hold_one();
	for (uint32_t i = 0; i < 2; i++)
		assert_int_equal(hvn_rx_burst(fx.rxq, &m, 0), 0);
	assert_false(hvn_tx_held(fx.ch));
	host_takes_all();
	hold_one();
	assert_int_equal(hvn_tx_burst(fx.txq, &m, 0), 0);
	assert_false(hvn_tx_held(fx.ch));
	/* What comes meanwhile is not overlooked. */
	host_takes_all();
	look();
	assert_int_equal(hvn_rx_burst(fx.rxq, &m, 0), 0);
	receive();
	expect_all();
}

/* What was not published is nothing that the host could be behind with. */
static void
one_burst(void **state)
{
	struct rte_mbuf *m[8 * ENOUGH + 1];

	(void)state;
	assert_true(send_next());
	receive();
	for (uint32_t i = 0; i < RTE_DIM(m); i++)
		m[i] = make_packet(sent_id++, LEN);
	assert_int_equal(hvn_tx_burst(fx.txq, m, RTE_DIM(m)), RTE_DIM(m));
	assert_false(hvn_tx_held(fx.ch) || fx.ch->tx_looker);
	expect_all();
}

/* Packets that are not plain find their place among those that are. */
static void
order(void **state)
{
	struct rte_mbuf *m;
	struct rndis_pkt_info info;
	uint32_t at = 0;

	(void)state;
	hold_one();
	look();
	m = make_packet(99, LEN);
	m->ol_flags |= RTE_MBUF_F_TX_VLAN;
	assert_int_equal(send_one(m), 1);
	assert_true(hvn_tx_held(fx.ch));
	look();
	m = make_packet(98, 1900);
	assert_int_equal(send_one(m), 1);
	assert_false(hvn_tx_held(fx.ch));
	host_takes_others();
	assert_true(take(&s));
	expect_plain(&s, &at, taken_id++, LEN);
	next_frame(&s, &at, &info);
	assert_int_equal(info.present, RNDIS_INFO_VLAN);
	assert_int_equal(at, s.len);
	assert_true(host_complete(s.tid, NVSP_STATUS_SUCCESS));
	assert_true(take(&s));
	assert_int_equal(s.section, NVSP_NO_SECTION);
	assert_true(host_complete(s.tid, NVSP_STATUS_SUCCESS));
	sent_id += 2;
	taken_id += 2;
	expect_all();
}

/* No more than fits: a frame as long as those in it has to. */
static void
no_room(void **state)
{
	struct vmbus_ring_pkt pkt;
	struct rte_mbuf *m;

	(void)state;
	for (uint32_t len = 1400; len <= 1500; len += 100) {
		get_behind();
		receive();
		for (uint32_t i = 0; i < 4; i++) {
			m = make_packet(sent_id, len);
			assert_int_equal(send_one(m), 1);
			/* 6144 bytes: four of 1444 fit, and three of 1544. */
			assert_int_equal(hvn_tx_held(fx.ch), i < (len == 1400 ? 3 : 2));
			look();
			if (!hvn_tx_held(fx.ch))
				break;
		}
		while (host_peek(&pkt) == 1) {
			if (pkt.type == VMBUS_PKT_COMPLETION) {
				expect_ack(want_tid++, NVSP_STATUS_SUCCESS);
				continue;
			}
			assert_true(take(&s));
			assert_true(host_complete(s.tid, NVSP_STATUS_SUCCESS));
		}
		look();
		hvn_tx_reclaim(fx.txq);
		assert_int_equal(hvn_txd_used(fx.txq->txd), 0);
	}
}

/* Completions of the receive side have taken the room: the packets stay, and no more come. */
static void
ring_full(void **state)
{
	struct rte_mbuf *m[BURST];
	uint64_t full_before;
	uint32_t n = 0;

	(void)state;
	receive();
	while (hvn_tx_room(&fx.vc.tx, HVN_TX_MSG_LEN + 3 * MESSAGE))
		assert_true(send_next());
	receive();
	assert_true(send_next());
	assert_true(hvn_tx_held(fx.ch));
	/* What is left of the room for messages goes, in one burst. */
	while (hvn_tx_room(&fx.vc.tx, HVN_TX_MSG_LEN + 32 * n)) {
		assert_true(host_frames(frame_tid++, 0, 1, LEN));
		n++;
	}
	assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), n);
	rte_pktmbuf_free_bulk(m, n);
	assert_true(hvn_tx_held(fx.ch));
	full_before = fx.txq->stats.ring_full;
	assert_false(send_next());
	assert_int_equal(fx.txq->stats.ring_full, full_before + 1);
	assert_true(hvn_tx_held(fx.ch));
	for (uint32_t i = 0; i < 3; i++) {
		hvn_tx_flush(fx.txq);
		look();
		assert_true(hvn_tx_held(fx.ch));
	}
	/* It goes on looking. */
	host_takes_all();
	look();
	look();
	assert_false(hvn_tx_held(fx.ch));
	assert_true(send_next());
	look();
	expect_all();
}

/* Anything, in any order: all packets arrive, in order; none waits for a host that is idle. */
static void
anything(void **state)
{
	uint32_t seed = 1, held = 0, looks = 0, took;
	struct rte_mbuf *m[BURST];
	struct vmbus_ring_pkt pkt;

	(void)state;
	for (uint32_t i = 0; i < 200000; i++) {
		const uint32_t what = rand_r((unsigned int *)&seed) % 16;
		uint32_t n = 1 + rand_r((unsigned int *)&seed) % 12;

		if (what < 7) {
			for (uint32_t j = 0; j < n; j++)
				m[j] = make_packet(sent_id + j, LEN);
			took = hvn_tx_burst(fx.txq, m, (uint16_t)n);
			sent_id += took;
			rte_pktmbuf_free_bulk(m + took, n - took);
			held += hvn_tx_held(fx.ch);
			looks = 0;
		} else if (what < 9) {
			if (host_frames(frame_tid, 0, 1, LEN))
				frame_tid++;
		} else if (what < 13) {
			took = hvn_rx_burst(fx.rxq, m, BURST);
			rte_pktmbuf_free_bulk(m, took);
			assert_false(hvn_tx_held(fx.ch) && ++looks > 1 && host_peek(&pkt) == 0);
		} else {
			/* Long behind, and for a while not. */
			for (n *= i / 1000 % 8 == 0 ? 8 : 1; n > 6 && host_peek(&pkt) == 1; n--)
				host_takes();
		}
	}
	assert_true(held > 1000);
	do {
		took = hvn_rx_burst(fx.rxq, m, BURST);
		rte_pktmbuf_free_bulk(m, took);
		host_takes_all();
	} while (took != 0 || hvn_tx_held(fx.ch));
	assert_int_equal(fx.txq->stats.packets, sent_id);
	assert_int_equal(taken_id, sent_id);
	assert_int_equal(fx.txq->stats.errors, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(full),
		TEST(second_look),
		TEST(caught_up),
		TEST(unwatched),
		TEST(watched_once),
		TEST(watched_long_ago),
		TEST(nothing),
		TEST(one_burst),
		TEST(order),
		TEST(no_room),
		TEST(anything),
		cmocka_unit_test_setup_teardown(ring_full, open_tiny, fx_close),
		{ .name = "anything, tiny",
		  .test_func = anything,
		  .setup_func = open_tiny,
		  .teardown_func = fx_close },
	};

	if (fx_eal() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
