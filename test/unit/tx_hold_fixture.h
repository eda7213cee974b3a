/* SPDX-License-Identifier: BSD-3-Clause */
/* Packets of several bursts in one message, behind a host that is slow. */
#ifndef TX_HOLD_FIXTURE_H
#define TX_HOLD_FIXTURE_H

#define FX_SIZES
#define SLOTS	  600u
#define SECTS	  256u
#define POOL_SIZE 1023u
#define TX_DESC	  256u
#include "tx_fixture.h"

#include "hvn_tx.h"
#include "hvn_tx_hold.h"

#define LEN	60u
#define MESSAGE 64u /* of a section, in the ring */
#define ENOUGH	(HVN_TX_BEHIND / MESSAGE + 1)

static uint32_t sent_id, taken_id; /* packets, in order */
static uint64_t frame_tid, want_tid;

static inline int
open_big(void **state)
{
	sent_id = taken_id = 0;
	frame_tid = want_tid = 1;
	return fx_big(state);
}

/* True if it was taken. */
static inline bool
send_next(void)
{
	struct rte_mbuf *m = make_packet(sent_id, LEN);

	if (hvn_tx_burst(fx.txq, &m, 1) == 1) {
		sent_id++;
		return true;
	}
	rte_pktmbuf_free(m);
	return false;
}

/* A frame comes in, and the thread receives it: it is not idle. */
static inline void
receive(void)
{
	struct rte_mbuf *m;

	assert_true(host_frames(frame_tid++, 0, 1, LEN));
	assert_int_equal(hvn_rx_burst(fx.rxq, &m, 1), 1);
	rte_pktmbuf_free(m);
}

static inline void
look(void)
{
	struct rte_mbuf *m[BURST];

	assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 0);
}

/* Bytes that the host has not read. */
static inline uint32_t
unread(void)
{
	return vmbus_ring_dist(&fx.vc.tx, fx.host_rx.index, fx.vc.tx.published);
}

/* The host takes one packet: how many frames were in it, or 0 for a completion. Completes it. */
static inline uint32_t
host_takes(void)
{
	struct vmbus_ring_pkt pkt;
	uint32_t at = 0, n = 0;

	assert_int_equal(host_peek(&pkt), 1);
	if (pkt.type == VMBUS_PKT_COMPLETION) {
		expect_ack(want_tid++, NVSP_STATUS_SUCCESS);
		return 0;
	}
	assert_true(take(&s));
	for (; at < s.len; n++)
		expect_plain(&s, &at, taken_id++, LEN);
	assert_int_equal(at, s.len);
	assert_true(host_complete(s.tid, NVSP_STATUS_SUCCESS));
	return n;
}

/* What there was before something waited. */
static inline void
host_takes_others(void)
{
	for (uint32_t n = 0; n < ENOUGH;)
		n += host_takes();
	assert_int_equal(host_takes(), 0);
}

static inline void
host_takes_all(void)
{
	struct vmbus_ring_pkt pkt;

	while (host_peek(&pkt) == 1)
		host_takes();
}

/* More than the host can be without soon: each packet went at once. */
static inline void
get_behind(void)
{
	uint32_t before;

	receive();
	before = unread();
	for (uint32_t i = 0; i < ENOUGH; i++)
		assert_true(send_next());
	assert_int_equal(unread(), before + ENOUGH * MESSAGE);
	assert_false(hvn_tx_held(fx.ch));
}

/* One packet waits. */
static inline void
hold_one(void)
{
	uint32_t before;

	get_behind();
	/* Two bursts of transmit without one of receive: the second goes. */
	receive();
	before = unread();
	assert_true(send_next());
	assert_true(hvn_tx_held(fx.ch));
	assert_int_equal(unread(), before);
}

static inline void
expect_all(void)
{
	look();
	look();
	assert_false(hvn_tx_held(fx.ch));
	host_takes_all();
	look();
	assert_int_equal(taken_id, sent_id);
	assert_int_equal(want_tid, frame_tid);
	assert_int_equal(fx.ch->n_acks, 0);
	hvn_tx_reclaim(fx.txq);
	assert_int_equal(hvn_txd_used(fx.txq->txd), 0);
	assert_int_equal(fx.txq->stats.errors, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_big, fx_close)

#endif /* TX_HOLD_FIXTURE_H */
