/* SPDX-License-Identifier: BSD-3-Clause */
#include "tx_fixture.h"

/*
 * Who comes to send while the session is being replaced does nothing: the control thread, which has
 * seen nobody inside, has the descriptors.
 */
static void
recovering(void **state)
{
	struct rte_mbuf *m[2] = { make_packet(0, 60), make_packet(1, 60) };

	RTE_SET_USED(state);
	assert_int_equal(hvn_tx_burst(fx.txq, m, 1), 1);
	assert_true(take(&s));
	assert_true(host_complete(s.tid, NVSP_STATUS_SUCCESS));
	assert_true(hvn_chan_scan(fx.ch) > 0);
	fx.port.recovering = true;
	assert_int_equal(hvn_tx_burst(fx.txq, m + 1, 1), 0);
	assert_int_equal(hvn_tx_reclaim(fx.txq), 1);
	assert_int_equal(hvn_tx_done_cleanup(fx.txq, 0), 0);
	assert_int_equal(hvn_txd_used(fx.txq->txd), 1);
	assert_int_equal(fx.txq->txd->inside, 0);
	fx.port.recovering = false;
	assert_int_equal(hvn_tx_burst(fx.txq, m + 1, 1), 1);
	assert_int_equal(hvn_txd_used(fx.txq->txd), 1);
	assert_true(take(&s));
	assert_true(host_complete(s.tid, NVSP_STATUS_SUCCESS));
	hvn_tx_done_cleanup(fx.txq, 0);
	assert_int_equal(hvn_txd_used(fx.txq->txd), 0);
}

/* Short packets share a section, padded to the host's alignment but for the last. */
static void
aggregate(void **state)
{
	struct rte_mbuf *m[11];
	uint32_t at, id = 0;

	RTE_SET_USED(state);
	for (uint32_t i = 0; i < 11; i++)
		m[i] = make_packet(i, 60 + i);
	memset(fx.send, 0xEE, SECT_SIZE * SECTS);
	assert_int_equal(hvn_tx_burst(fx.txq, m, 11), 11);
	assert_int_equal(fx.signals, 1);
	for (uint32_t want = 8; take(&s); want = 3) {
		for (at = 0; want != 0; want--, id++) {
			uint32_t start = at, end;

			expect_plain(&s, &at, id, 60 + id);
			end = start + HEAD + 60 + id;
			assert_int_equal(at, want == 1 ? end : (end + 7) & ~7u);
			for (; end < at; end++)
				assert_int_equal(s.data[end], 0);
		}
		assert_int_equal(at, s.len);
		assert_true(host_complete(s.tid, NVSP_STATUS_SUCCESS));
	}
	assert_int_equal(id, 11);
	/* No packet waited for that. */
	assert_int_equal(hvn_tx_done_cleanup(fx.txq, 0), 0);
	assert_int_equal(hvn_txd_used(fx.txq->txd), 0);
	assert_int_equal(fx.txq->txd->n_sect, SECTS);
	assert_int_equal(fx.txq->stats.completions, 2);
	assert_int_equal(fx.txq->stats.copied, 11);
}

/* Packets that are not plain share a section too; nothing of what was in it before goes along. */
static void
padding(void **state)
{
	struct rte_mbuf *m[8];
	struct rndis_pkt_info info;
	uint32_t at = 0;

	RTE_SET_USED(state);
	for (uint32_t i = 0; i < RTE_DIM(m); i++) {
		m[i] = make_packet(i, 60 + i);
		m[i]->ol_flags |= RTE_MBUF_F_TX_VLAN;
	}
	memset(fx.send, 0xEE, SECT_SIZE * SECTS);
	assert_int_equal(hvn_tx_burst(fx.txq, m, RTE_DIM(m)), RTE_DIM(m));
	assert_true(take(&s));
	for (uint32_t i = 0; i < RTE_DIM(m); i++) {
		const uint8_t *frame = next_frame(&s, &at, &info);
		uint32_t end = (uint32_t)(frame - s.data) + 60 + i;

		assert_int_equal(info.present, RNDIS_INFO_VLAN);
		assert_int_equal(at, i + 1 == RTE_DIM(m) ? end : (end + 7) & ~7u);
		for (; end < at; end++)
			assert_int_equal(s.data[end], 0);
	}
	assert_int_equal(at, s.len);
	assert_true(host_complete(s.tid, NVSP_STATUS_SUCCESS));
	hvn_tx_done_cleanup(fx.txq, 0);
}

/* Among several channels each message says which queue it is of, however its packet is sent. */
static void
hash_value(void **state)
{
	static const uint32_t len[] = { 60, 61, 62, 1700, 63 };
	struct rte_mbuf *m[RTE_DIM(len)];
	struct rndis_pkt_info info;
	uint32_t id = 0;

	RTE_SET_USED(state);
	fx.port.n_chans = 2;
	fx.data.nb_tx_queues = 2;
	fx.txq->queue_id = 1;
	fx.port.txq[1] = fx.txq;
	hvn_txd_start(fx.txq);
	for (uint32_t i = 0; i < RTE_DIM(len); i++)
		m[i] = make_packet(i, len[i]);
	m[2]->ol_flags |= RTE_MBUF_F_TX_VLAN;
	assert_int_equal(hvn_tx_burst(fx.txq, m, RTE_DIM(len)), RTE_DIM(len));
	while (take(&s)) {
		for (uint32_t at = 0, next; at < s.len; id++) {
			next = at;
			next_frame(&s, &next, &info);
			assert_int_equal(info.present,
					 RNDIS_INFO_HASH_VALUE | (id == 2 ? RNDIS_INFO_VLAN : 0));
			assert_int_equal(info.hash_value, 1);
			expect_plain(&s, &at, id, len[id]);
		}
		assert_true(host_complete(s.tid, NVSP_STATUS_SUCCESS));
	}
	assert_int_equal(id, RTE_DIM(len));
	hvn_tx_done_cleanup(fx.txq, 0);
	assert_int_equal(hvn_txd_used(fx.txq->txd), 0);
	fx.port.n_chans = 1;
	fx.data.nb_tx_queues = 1;
	fx.txq->queue_id = 0;
	fx.port.txq[1] = NULL;
}

/*
 * Copied or read in place, packets of a burst go in its order; also where a section is full just
 * before one that is not copied.
 */
static void
order(void **state)
{
	static const uint32_t len[] = { 60, 60, 1700, 60,   60, 60,   60,   60,
					60, 60, 60,   1700, 60, 1700, 1700, 60 };
	struct rte_mbuf *m[RTE_DIM(len)];
	uint32_t id = 0;

	RTE_SET_USED(state);
	for (uint32_t i = 0; i < RTE_DIM(len); i++)
		m[i] = make_packet(i, len[i]);
	assert_int_equal(hvn_tx_burst(fx.txq, m, RTE_DIM(len)), RTE_DIM(len));
	while (take(&s)) {
		for (uint32_t at = 0; at < s.len; id++)
			expect_plain(&s, &at, id, len[id]);
		assert_true(host_complete(s.tid, NVSP_STATUS_SUCCESS));
	}
	assert_int_equal(id, RTE_DIM(len));
	hvn_tx_done_cleanup(fx.txq, 0);
	assert_int_equal(hvn_txd_used(fx.txq->txd), 0);
	assert_int_equal(fx.txq->txd->n_sect, SECTS);
}

/* Longer ones stay where they are until the host has read them. */
static void
direct(void **state)
{
	struct rte_mbuf *m, *seg;
	uint32_t at = 0;

	RTE_SET_USED(state);
	m = make_packet(7, 2000);
	assert_int_equal(send_one(m), 1);
	assert_true(take(&s));
	assert_int_equal(s.n_ranges, 2);
	expect_plain(&s, &at, 7, 2000);
	assert_int_equal(rte_mempool_avail_count(fx.pool), POOL_SIZE - 1);
	assert_true(host_complete(s.tid, NVSP_STATUS_FAILURE));
	hvn_tx_done_cleanup(fx.txq, 0);
	assert_int_equal(rte_mempool_avail_count(fx.pool), POOL_SIZE);
	assert_int_equal(fx.txq->stats.failed, 1);

	/* Segments: one frame of id 7 cut in three. */
	m = make_packet(7, 1000);
	for (uint32_t i = 1; i < 3; i++) {
		uint8_t all[3000];

		make_frame(all, 7, sizeof(all));
		seg = rte_pktmbuf_alloc(fx.pool);
		memcpy(rte_pktmbuf_append(seg, 1000), all + i * 1000, 1000);
		assert_int_equal(rte_pktmbuf_chain(m, seg), 0);
	}
	assert_int_equal(send_one(m), 1);
	assert_true(take(&s));
	assert_int_equal(s.n_ranges, 4);
	at = 0;
	expect_plain(&s, &at, 7, 3000);
	host_complete(s.tid, NVSP_STATUS_SUCCESS);

	/* Too many segments for a message, but they fit a section. */
	m = make_packet(8, 14);
	for (uint32_t i = 0; i < 40; i++) {
		seg = rte_pktmbuf_alloc(fx.pool);
		memset(rte_pktmbuf_append(seg, 50), (int)i, 50);
		assert_int_equal(rte_pktmbuf_chain(m, seg), 0);
	}
	assert_int_equal(send_one(m), 1);
	assert_true(take(&s));
	assert_int_equal(s.n_ranges, 0);
	assert_int_equal(s.len, HEAD + 14 + 2000);
	assert_int_equal(s.data[HEAD + 14 + 1999], 39);
	assert_int_equal(fx.txq->stats.copied, 1);
	host_complete(s.tid, NVSP_STATUS_SUCCESS);
	hvn_tx_done_cleanup(fx.txq, 0);
}

/*
 * B1 to B3: the ring is full, bursts fail, again and again; then the host reads. Nothing leaked,
 * every packet taken arrives once and in order, the queue lives.
 */
static void
ring_full(void **state)
{
	uint32_t sent = 0, seen = 0, at;
	uint64_t pending[64];
	unsigned int n_pending = 0;
	struct rte_mbuf *m[BURST];

	RTE_SET_USED(state);
	for (uint32_t round = 0; round < 3000; round++) {
		uint32_t n = 1 + round % 20, len = round % 5 ? 60 + round % 1400 : 1700;
		uint16_t took;

		for (uint32_t i = 0; i < n; i++) {
			m[i] = make_packet(sent + i, len);
			rte_pktmbuf_mtod(m[i], uint8_t *)[1] = (uint8_t)(sent + i);
		}
		took = hvn_tx_burst(fx.txq, m, (uint16_t)n);
		assert_true(took <= n);
		rte_pktmbuf_free_bulk(m + took, n - took);
		sent += took;
		if (round % 50 < 40)
			continue;
		while (n_pending < RTE_DIM(pending) && take(&s)) {
			struct rndis_pkt_info info;

			for (at = 0; at < s.len; seen++)
				assert_int_equal(next_frame(&s, &at, &info)[1], (uint8_t)seen);
			pending[n_pending++] = s.tid;
		}
		while (n_pending != 0 && host_complete(pending[n_pending - 1], NVSP_STATUS_SUCCESS))
			n_pending--;
	}
	while (take(&s)) {
		struct rndis_pkt_info info;

		for (at = 0; at < s.len; seen++)
			assert_int_equal(next_frame(&s, &at, &info)[1], (uint8_t)seen);
		assert_true(host_complete(s.tid, NVSP_STATUS_SUCCESS));
		hvn_tx_done_cleanup(fx.txq, 0);
	}
	while (n_pending != 0 && host_complete(pending[--n_pending], NVSP_STATUS_SUCCESS))
		hvn_tx_done_cleanup(fx.txq, 0);
	assert_int_equal(seen, sent);
	assert_int_equal(fx.txq->stats.packets, sent);
	assert_true(fx.txq->stats.ring_full + fx.txq->stats.desc_full != 0);
	hvn_tx_done_cleanup(fx.txq, 0);
	assert_int_equal(hvn_txd_used(fx.txq->txd), 0);
	assert_int_equal(fx.txq->txd->n_sect, SECTS);
	assert_int_equal(rte_mempool_avail_count(fx.pool), POOL_SIZE);
}

/* However much is sent, what the host is owed for frames received still has room. */
static void
room_for_acknowledgements(void **state)
{
	static const uint32_t len[] = { 60, 1700 };
	struct vmbus_ring *tx = &fx.vc.tx;
	struct rte_mbuf *m[BURST];
	struct vmbus_ring_pkt pkt;

	RTE_SET_USED(state);
	for (uint32_t i = 0; i < RTE_DIM(len); i++) {
		while (vmbus_ring_tx_space(tx) > tx->size / 4 + 300)
			assert_int_equal(vmbus_ring_tx_put(tx, VMBUS_PKT_INBAND, 0, 7, NULL, 0,
							   "nothing", 8),
					 0);
		do
			m[0] = make_packet(1, len[i]);
		while (send_one(m[0]) == 1);
		rte_pktmbuf_free(m[0]);
		assert_int_equal(fx.txq->stats.ring_full, i + 1);
		for (uint32_t j = 0; j < 30; j++)
			assert_true(host_frames(j + 1, j, 1, 60));
		assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 30);
		rte_pktmbuf_free_bulk(m, 30);
		assert_int_equal(fx.ch->n_acks, 0);
		while (host_peek(&pkt) == 1)
			host_release(&pkt);
	}
}

/* T17: an id that was never issued, is of the past, or comes twice. */
static void
bad_completions(void **state)
{
	uint32_t short_nvsp = NVSP_RNDIS_COMPLETE;
	uint64_t old;

	RTE_SET_USED(state);
	/* Of a descriptor that waits for none. */
	host_complete(UINT64_C(1) << 48, 1);
	assert_int_equal(hvn_chan_scan(fx.ch), 1);
	assert_int_equal(fx.ch->invalid[HVN_INV_COMPLETION], 1);
	send_one(make_packet(1, 1700));
	assert_true(take(&s));
	old = s.tid;
	host_complete(0, 1);
	host_complete(1, 1);
	host_complete(old ^ 1, 1);
	host_complete(old ^ 1u << 16, 1);
	host_complete(old ^ UINT64_C(1) << 32, 1);
	host_complete(old ^ UINT64_C(1) << 48, 1);
	host_complete(old | UINT64_C(63) << 32, 1);
	host_put(VMBUS_PKT_COMPLETION, old, NULL, 0, NULL, 0); /* T21 */
	host_put(VMBUS_PKT_COMPLETION, old, NULL, 0, &short_nvsp, 0);
	assert_int_equal(hvn_tx_done_cleanup(fx.txq, 0), 0);
	assert_int_equal(fx.ch->invalid[HVN_INV_COMPLETION], 8);
	assert_int_equal(fx.ch->invalid[HVN_INV_NVSP], 2);
	host_complete(old, 1);
	host_complete(old, 1);
	assert_int_equal(hvn_tx_done_cleanup(fx.txq, 0), 1);
	assert_int_equal(fx.ch->invalid[HVN_INV_COMPLETION], 9);
	/* The same descriptor again, and its former id. */
	send_one(make_packet(2, 1700));
	assert_true(take(&s));
	assert_int_equal((uint16_t)s.tid, (uint16_t)old);
	host_complete(old, 1);
	assert_int_equal(hvn_tx_done_cleanup(fx.txq, 0), 0);
	host_complete(s.tid, 1);
	assert_int_equal(hvn_tx_done_cleanup(fx.txq, 0), 1);
}

/* T18: completed on another channel, also on both. */
static void
foreign(void **state)
{
	struct hvn_chan *other;

	RTE_SET_USED(state);
	assert_int_equal(hvn_chan_create(&fx.port, &fx.vc, &other), 0);
	send_one(make_packet(1, 1700));
	assert_true(take(&s));
	hvn_tx_completed(other, s.tid, NVSP_STATUS_SUCCESS);
	hvn_tx_completed(other, s.tid, NVSP_STATUS_SUCCESS);
	assert_int_equal(hvn_tx_done_cleanup(fx.txq, 0), 1);
	assert_int_equal(rte_mempool_avail_count(fx.pool), POOL_SIZE);
	send_one(make_packet(1, 1700));
	assert_true(take(&s));
	hvn_tx_completed(other, s.tid, NVSP_STATUS_SUCCESS);
	host_complete(s.tid, 1);
	assert_int_equal(hvn_tx_done_cleanup(fx.txq, 0), 1);
	assert_int_equal(hvn_txd_used(fx.txq->txd), 0);
	/* The note is looked at when the own channel has completed it. */
	send_one(make_packet(1, 1700));
	assert_true(take(&s));
	hvn_tx_completed(other, s.tid, NVSP_STATUS_SUCCESS);
	host_complete(s.tid, 1);
	assert_true(hvn_chan_scan(fx.ch) > 0);
	assert_int_equal(hvn_tx_done_cleanup(fx.txq, 0), 1);
	assert_int_equal(hvn_txd_used(fx.txq->txd), 0);
	assert_int_equal(fx.ch->invalid[HVN_INV_COMPLETION], 2);
	hvn_chan_free(other);
}

/* All descriptors in flight, all sections too. */
static void
exhausted(void **state)
{
	uint32_t n = 0;

	RTE_SET_USED(state);
	for (;;) {
		struct rte_mbuf *m = make_packet(n, 60);

		if (send_one(m) == 0) {
			rte_pktmbuf_free(m);
			break;
		}
		n++;
	}
	/* Each took a descriptor: some with a section, the others read in place for want of one. */
	assert_int_equal(n, TX_DESC);
	assert_int_equal(fx.txq->stats.desc_full, 1);
	assert_int_equal(fx.txq->stats.direct, TX_DESC - SECTS);
	assert_int_equal(fx.txq->stats.section_full, TX_DESC - SECTS);
	assert_int_equal(hvn_tx_descriptor_status(fx.txq, 0), RTE_ETH_TX_DESC_FULL);
	assert_int_equal(hvn_txq_stop(fx.txq, 1), -EBUSY);
	while (take(&s))
		host_complete(s.tid, 1);
	assert_int_equal(hvn_txq_stop(fx.txq, 1000), 0);
	assert_int_equal(hvn_txq_start(fx.txq), 0);
	assert_int_equal(hvn_tx_descriptor_status(fx.txq, 0), RTE_ETH_TX_DESC_DONE);
}

/* T11, T20: the host's index is nonsense; sending fails, nothing else happens. */
static void
corrupt_ring(void **state)
{
	struct rte_mbuf *m = make_packet(0, 60);

	RTE_SET_USED(state);
	fx.host_rx.hdr->rindex = 4096;
	for (uint32_t i = 0; i < 100; i++) {
		struct rte_mbuf *more = make_packet(i, 1000);

		if (send_one(more) == 0)
			rte_pktmbuf_free(more);
	}
	assert_int_equal(send_one(m), 0);
	rte_pktmbuf_free(m);
	assert_int_equal(fx.vc.tx.error, -EIO);
}

/* A process was killed while it sent: the next one uses only what the host does not hold. */
static void
dead_sender(void **state)
{
	struct hvn_txd *t = fx.txq->txd;
	bool held[SECTS] = { false };
	struct sent first[4];

	RTE_SET_USED(state);
	hvn_process_init(0);
	for (uint32_t i = 0; i < 4; i++) {
		assert_int_equal(send_one(make_packet(i, 1400)), 1);
		assert_true(take(&first[i]));
		assert_true(first[i].section < SECTS);
		held[first[i].section] = true;
	}
	/* It died in the middle of everything. */
	t->inside = dead_process();
	t->n_free = 1;
	t->n_sect = 0;
	t->agg_base = t->send_buf;
	t->agg_end = 77;
	fx.ch->out_lock.lock.owner = fx.ch->in_lock.lock.owner = t->inside;
	for (uint32_t i = 4; i < SECTS; i++) {
		assert_int_equal(send_one(make_packet(i, 1400)), 1);
		assert_true(take(&s));
		assert_true(s.section < SECTS);
		assert_false(held[s.section]);
		assert_true(host_complete(s.tid, 1));
	}
	for (uint32_t i = 0; i < 4; i++)
		assert_true(host_complete(first[i].tid, 1));
	hvn_tx_done_cleanup(fx.txq, 0);
	assert_int_equal(hvn_txd_used(t), 0);
	assert_int_equal(t->n_sect, SECTS);
	assert_int_equal(fx.ch->invalid[HVN_INV_COMPLETION], 0);
}

/*
 * With many descriptors few of them are in flight when the ring is full. The completions must be
 * looked for nevertheless, though nobody receives on this channel: the host may wait for that.
 */
static void
nobody_receives(void **state)
{
	struct rte_mbuf *m[BURST];
	uint32_t id = 0;
	uint16_t took;

	RTE_SET_USED(state);
	fx.txq->txd->reclaim_at = fx.txq->txd->reclaim_max = 1000;
	do {
		m[0] = make_packet(id++, 60);
		took = hvn_tx_burst(fx.txq, m, 1);
	} while (took == 1 && id < 1000);
	assert_int_equal(took, 0);
	while (take(&s))
		assert_true(host_complete(s.tid, NVSP_STATUS_SUCCESS));
	/* This one may still find nothing; the next one has room. */
	took = hvn_tx_burst(fx.txq, m, 1);
	if (took == 0)
		took = hvn_tx_burst(fx.txq, m, 1);
	assert_int_equal(took, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(aggregate, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(recovering, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(padding, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(hash_value, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(order, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(direct, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(ring_full, fx_tiny, fx_close),
		cmocka_unit_test_setup_teardown(nobody_receives, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(room_for_acknowledgements, fx_tiny, fx_close),
		cmocka_unit_test_setup_teardown(bad_completions, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(foreign, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(exhausted, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(dead_sender, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(corrupt_ring, fx_tiny, fx_close),
	};

	if (fx_eal() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
