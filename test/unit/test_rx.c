/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath_fixture.h"

#include "hvn_rx.h"

/* Frames arrive whole and in order, the message is acknowledged once, behind its last frame. */
static void
partial_message(void **state)
{
	struct rte_mbuf *m[BURST];

	RTE_SET_USED(state);
	assert_true(host_frames(16, 1, 8, 60));
	assert_int_equal(hvn_rx_burst(fx.rxq, m, 3), 3);
	for (uint32_t i = 0; i < 3; i++)
		expect_frame(m[i], 1 + i, 60);
	expect_silence();
	assert_int_equal(hvn_rx_queue_count(fx.rxq), 5);
	assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 5);
	for (uint32_t i = 0; i < 5; i++)
		expect_frame(m[i], 4 + i, 60);
	expect_ack(16, NVSP_STATUS_SUCCESS);
	expect_silence();
	assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 0);
	assert_int_equal(fx.rxq->stats.packets, 8);
	assert_int_equal(fx.rxq->stats.bytes, 480);
}

/* Any length, any position in the ring, more than the burst. */
static void
wrap_and_lengths(void **state)
{
	struct rte_mbuf *m[BURST];
	uint32_t sent = 0, got = 0, owed = 0;

	RTE_SET_USED(state);
	while (got < 5000) {
		while (sent < 5000 && sent - got + 3 < SLOTS &&
		       host_frames(sent, sent, 1 + sent % 3, 14 + sent % 1500)) {
			sent += 1 + sent % 3;
			owed++;
		}
		uint16_t n = hvn_rx_burst(fx.rxq, m, 1 + got % BURST);

		assert_true(n > 0);
		for (uint16_t i = 0; i < n; i++, got++) {
			uint32_t first = got;

			/* The length of a message's frames comes from the id of its first. */
			while (first > 0 && m[i]->pkt_len != 14 + first % 1500)
				first--;
			assert_true(got - first < 3);
			expect_frame(m[i], got, 14 + first % 1500);
		}
		struct vmbus_ring_pkt pkt;

		while (host_peek(&pkt) == 1) {
			host_release(&pkt);
			owed--;
		}
	}
	assert_int_equal(owed, 0);
}

/* The outbound ring is full: completions are owed, not lost, and frames wait when too many are. */
static void
back_pressure(void **state)
{
	struct rte_mbuf *m[BURST];
	struct vmbus_ring_pkt pkt;
	uint32_t sent = 0, got = 0, acked = 0;

	RTE_SET_USED(state);
	/* Leave room for two acknowledgements. */
	while (vmbus_ring_tx_space(&fx.vc.tx) >= 3 * 32)
		assert_int_equal(vmbus_ring_tx_put(&fx.vc.tx, VMBUS_PKT_INBAND, 0, 7, NULL, 0,
						   nvsp_data, 8),
				 0);
	vmbus_ring_tx_publish(&fx.vc.tx);
	while (sent < 200) {
		if (host_frames(1000 + sent, sent, 1, 60))
			sent++;
		uint16_t n = hvn_rx_burst(fx.rxq, m, 4);

		for (uint16_t i = 0; i < n; i++)
			expect_frame(m[i], got++, 60);
		if (fx.ch->n_acks == HVN_ACKS_MAX)
			break;
	}
	assert_int_equal(fx.ch->n_acks, HVN_ACKS_MAX);
	assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 0);
	while (acked < sent) {
		while (host_peek(&pkt) == 1) {
			if (pkt.type == VMBUS_PKT_COMPLETION)
				assert_int_equal(pkt.tid, 1000 + acked++);
			host_release(&pkt);
		}
		uint16_t n = hvn_rx_burst(fx.rxq, m, BURST);

		for (uint16_t i = 0; i < n; i++)
			expect_frame(m[i], got++, 60);
	}
	assert_int_equal(got, sent);
	expect_silence();
}

static void
flags(void **state)
{
	static const struct {
		uint32_t csum;
		uint64_t want;
	} t[] = {
		{ 0, 0 },
		{ RNDIS_RXCSUM_TCP_OK | RNDIS_RXCSUM_IP_OK,
		  RTE_MBUF_F_RX_L4_CKSUM_GOOD | RTE_MBUF_F_RX_IP_CKSUM_GOOD },
		{ RNDIS_RXCSUM_UDP_FAILED | RNDIS_RXCSUM_IP_OK,
		  RTE_MBUF_F_RX_L4_CKSUM_BAD | RTE_MBUF_F_RX_IP_CKSUM_GOOD },
		{ RNDIS_RXCSUM_UDP_OK | RNDIS_RXCSUM_IP_FAILED,
		  RTE_MBUF_F_RX_L4_CKSUM_GOOD | RTE_MBUF_F_RX_IP_CKSUM_BAD },
		{ RNDIS_RXCSUM_TCP_FAILED, RTE_MBUF_F_RX_L4_CKSUM_BAD },
	};
	struct rte_mbuf *m[BURST];
	uint64_t range;

	RTE_SET_USED(state);
	for (uint32_t i = 0; i < RTE_DIM(t); i++) {
		const uint32_t ppi[2][2] = { { RNDIS_PPI_CHECKSUM, t[i].csum },
					     { RNDIS_PPI_HASH_VALUE, 0xDEADBEEF } };

		fx.rxq->want_hash = i % 2;
		range = host_slot(i, i, 60, 2, ppi);
		host_xfer(i, 1, &range);
		assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 1);
		assert_int_equal(m[0]->ol_flags & ~RTE_MBUF_F_RX_RSS_HASH, t[i].want);
		assert_int_equal((m[0]->ol_flags & RTE_MBUF_F_RX_RSS_HASH) != 0, i % 2);
		assert_int_equal(m[0]->hash.rss, i % 2 ? 0xDEADBEEF : 0);
		expect_frame(m[0], i, 60);
	}
}

/* Records in any order and number; of two of a type the first counts. */
static void
records(void **state)
{
	static const uint32_t value[3] = { RNDIS_RXCSUM_UDP_OK, RNDIS_VLAN_FROM_TCI(0xA064), 77 };
	static const uint32_t type[3] = { RNDIS_PPI_CHECKSUM, RNDIS_PPI_VLAN,
					  RNDIS_PPI_HASH_VALUE };
	struct rte_mbuf *m[BURST];
	uint64_t range[4];

	RTE_SET_USED(state);
	fx.rxq->vlan_strip = true;
	fx.rxq->want_hash = true;
	for (uint32_t i = 0; i < 3 * 3 * 3; i++) {
		const uint32_t at[3] = { i % 3, i / 3 % 3, i / 9 };
		const uint32_t mask = 1u << at[0] | 1u << at[1] | 1u << at[2];
		uint32_t ppi[3][2];

		for (uint32_t k = 0; k < 3; k++) {
			ppi[k][0] = type[at[k]];
			ppi[k][1] = value[at[k]];
			for (uint32_t j = 0; j < k; j++)
				if (at[j] == at[k])
					ppi[k][1] = 0xFFF;
		}
		/* In between frames with the usual record, and alone. */
		range[0] = host_slot(0, 0, 60, 1, ppi);
		range[1] = host_slot(1, 1, 70, 3, ppi);
		range[2] = host_slot(2, 2, 60, 0, ppi);
		host_xfer(i, 3, range);
		host_xfer(i, 1, range + 1);
		assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 4);
		for (uint32_t k = 1; k < 4; k += 2) {
			assert_int_equal(m[k]->ol_flags,
					 (mask & 1 ? RTE_MBUF_F_RX_L4_CKSUM_GOOD : 0) |
						 (mask & 2 ? RTE_MBUF_F_RX_VLAN |
								     RTE_MBUF_F_RX_VLAN_STRIPPED
							   : 0) |
						 (mask & 4 ? RTE_MBUF_F_RX_RSS_HASH : 0));
			assert_int_equal(m[k]->vlan_tci, mask & 2 ? 0xA064 : 0);
			assert_int_equal(m[k]->hash.rss, mask & 4 ? 77 : 0);
		}
		assert_int_equal(m[2]->ol_flags, 0);
		expect_frame(m[0], 0, 60);
		expect_frame(m[1], 1, 70);
		expect_frame(m[2], 2, 60);
		expect_frame(m[3], 1, 70);
		expect_ack(i, NVSP_STATUS_SUCCESS);
		expect_ack(i, NVSP_STATUS_SUCCESS);
	}
}

/* Completions may wait while frames do, but not longer; an idle poll finds none of them left. */
static void
deferred(void **state)
{
	struct rte_mbuf *m[BURST];
	uint32_t got = 0, polls = 0;

	RTE_SET_USED(state);
	fx.rxq->owed_max = 1000;
	for (uint32_t i = 0; i < 12; i++)
		host_frames(i, 4 * i, 4, 60);
	while (got < 48) {
		uint16_t n = hvn_rx_burst(fx.rxq, m, 8);

		for (uint16_t i = 0; i < n; i++)
			expect_frame(m[i], got++, 60);
		if (++polls == 5)
			expect_silence();
	}
	for (uint32_t i = 0; i < 12; i++)
		expect_ack(i, NVSP_STATUS_SUCCESS);
	assert_int_equal(fx.host_tx.hdr->rindex, fx.vc.rx.index);

	/* A host with few slots is told at once. */
	fx.rxq->owed_max = 8;
	host_frames(20, 0, 8, 60);
	host_frames(21, 8, 8, 60);
	assert_int_equal(hvn_rx_burst(fx.rxq, m, 8), 8);
	rte_pktmbuf_free_bulk(m, 8);
	expect_ack(20, NVSP_STATUS_SUCCESS);
	assert_int_equal(hvn_rx_burst(fx.rxq, m, 8), 8);
	rte_pktmbuf_free_bulk(m, 8);
	expect_ack(21, NVSP_STATUS_SUCCESS);

	/* Idle; what a scan does to the ring is seen by the next poll, even a whole lap of it. */
	assert_int_equal(hvn_rx_burst(fx.rxq, m, 8), 0);
	assert_int_equal(fx.rxq->idle_at, fx.vc.rx.index);
	host_put(VMBUS_PKT_INBAND, 6, NULL, 0, nvsp_data, 40);
	assert_true(hvn_chan_scan(fx.ch) > 0);
	assert_int_equal(fx.rxq->idle_at, HVN_NEVER_IDLE);
	host_frames(22, 1, 1, 60);
	assert_int_equal(hvn_rx_burst(fx.rxq, m, 8), 1);
	expect_frame(m[0], 1, 60);
	expect_ack(22, NVSP_STATUS_SUCCESS);
}

static unsigned int slow;
static uint32_t refill; /* ids of frames that the host adds each time one is taken; 0: none */
static bool refill_bad;
bool __real_hvn_rx_range(struct hvn_rxq *q, struct hvn_chan *ch, struct hvn_rx_room *room,
			 uint64_t range);
bool __wrap_hvn_rx_range(struct hvn_rxq *q, struct hvn_chan *ch, struct hvn_rx_room *room,
			 uint64_t range);

bool
__wrap_hvn_rx_range(struct hvn_rxq *q, struct hvn_chan *ch, struct hvn_rx_room *room,
		    uint64_t range)
{
	const uint32_t ppi[1][2] = { { 77, 0 } };
	struct vmbus_ring_pkt pkt;

	slow++;
	/* Enough to fail a test that would otherwise not end. */
	if (refill != 0 && slow < 20000) {
		uint64_t more = host_slot(refill % SLOTS, refill, 60, 1, ppi);

		while (host_peek(&pkt) == 1)
			host_release(&pkt);
		assert_true(host_xfer(refill++, 1, refill_bad ? &(uint64_t){ 0 } : &more));
	}
	return __real_hvn_rx_range(q, ch, room, range);
}

/*
 * B4: a host as fast as the guest, which has refilled the ring before the burst has looked again.
 * A burst takes what it was asked for and leaves the rest in the ring, where the host sees it.
 */
static void
endless(void **state)
{
	const uint32_t ppi[1][2] = { { 77, 0 } };
	struct rte_mbuf *m[BURST];
	uint32_t sent = 0, got = 0;
	uint64_t range;

	RTE_SET_USED(state);
	/* Usual frames: as many as fit, again before each burst. */
	while (got < 20000) {
		while (sent - got < SLOTS && host_frames(sent, sent, 1, 60))
			sent++;
		assert_true(sent - got > BURST);
		assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), BURST);
		for (uint32_t i = 0; i < BURST; i++)
			expect_frame(m[i], got++, 60);
		assert_int_equal(hvn_rx_queue_count(fx.rxq), RTE_MIN(sent - got, 512u));
		for (struct vmbus_ring_pkt pkt; host_peek(&pkt) == 1;)
			host_release(&pkt);
	}
	for (uint16_t n; got < sent;) {
		n = hvn_rx_burst(fx.rxq, m, BURST);
		assert_true(n != 0);
		for (uint16_t i = 0; i < n; i++)
			expect_frame(m[i], got++, 60);
	}
	/* Unusual ones, which come while the burst runs. */
	range = host_slot(0, 1, 60, 1, ppi);
	assert_true(host_xfer(1, 1, &range));
	slow = 0;
	refill = 2;
	for (uint32_t id = 1; id < 50 * BURST; id += BURST) {
		assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), BURST);
		for (uint32_t i = 0; i < BURST; i++)
			expect_frame(m[i], id + i, 60);
	}
	assert_int_equal(slow, 50 * BURST);
	assert_int_equal(fx.rxq->stats.dropped + fx.rxq->stats.errors + fx.ch->dropped, 0);
	/* And none that could be delivered: the burst ends all the same, without any. */
	refill_bad = true;
	assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 1);
	expect_frame(m[0], 1 + 50 * BURST, 60);
	for (uint32_t i = 0; i < 5; i++) {
		slow = 0;
		assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 0);
		assert_in_range(slow, 1, 1000);
	}
	refill = 0;
	refill_bad = false;
}

/* What hosts say of a frame once RSS is on is usual: none goes the slow way. */
static void
usual(void **state)
{
	const uint32_t ppi[3][2] = { { RNDIS_PPI_CHECKSUM, RNDIS_RXCSUM_IP_OK },
				     { RNDIS_PPI_HASH_INFO, 0x101 },
				     { RNDIS_PPI_HASH_VALUE, 0xFEEDF00D } };
	struct rte_mbuf *m[BURST];
	uint64_t range[4];

	RTE_SET_USED(state);
	fx.rxq->want_hash = true;
	slow = 0;
	for (uint32_t n = 1; n <= 4; n++) {
		for (uint32_t i = 0; i < n; i++)
			range[i] = host_slot(i, i, 60 + i, 3, ppi);
		assert_true(host_xfer(n, n, range));
		assert_true(host_xfer(n + 8, n, range));
		assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 2 * n);
		for (uint32_t i = 0; i < 2 * n; i++) {
			assert_int_equal(m[i]->hash.rss, 0xFEEDF00D);
			assert_int_equal(m[i]->ol_flags,
					 RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_RSS_HASH);
			expect_frame(m[i], i % n, 60 + i % n);
		}
	}
	assert_int_equal(slow, 0);
}

static void
vlan(void **state)
{
	const uint32_t ppi[1][2] = { { RNDIS_PPI_VLAN, RNDIS_VLAN_FROM_TCI(0xA064) } };
	uint64_t range = host_slot(3, 3, 60, 1, ppi);
	struct rte_mbuf *m[BURST];
	struct rte_eth_rxq_info info;
	uint8_t *p;

	RTE_SET_USED(state);
	hvn_rxq_strip(fx.rxq, true);
	hvn_rxq_info(&fx.dev, 0, &info);
	assert_true((info.conf.offloads & RTE_ETH_RX_OFFLOAD_VLAN_STRIP) != 0);
	host_xfer(1, 1, &range);
	assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 1);
	assert_int_equal(m[0]->vlan_tci, 0xA064);
	assert_int_equal(m[0]->ol_flags, RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED);
	expect_frame(m[0], 3, 60);

	hvn_rxq_strip(fx.rxq, false);
	hvn_rxq_info(&fx.dev, 0, &info);
	assert_true((info.conf.offloads & RTE_ETH_RX_OFFLOAD_VLAN_STRIP) == 0);
	host_xfer(2, 1, &range);
	assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 1);
	assert_int_equal(m[0]->pkt_len, 64);
	p = rte_pktmbuf_mtod(m[0], uint8_t *);
	assert_int_equal(p[12] << 8 | p[13], 0x8100);
	assert_int_equal(p[14] << 8 | p[15], 0xA064);
	memmove(p + 4, p, 12);
	rte_pktmbuf_adj(m[0], 4);
	expect_frame(m[0], 3, 60);
}

/* Chains of small mbufs; without room for all of one, the frame waits. */
static void
scatter(void **state)
{
	struct rte_mbuf *hold[POOL_SIZE], *m[BURST];
	unsigned int held = 0;

	RTE_SET_USED(state);
	fx_rx_queue(fx.small, RTE_ETH_RX_OFFLOAD_SCATTER);
	for (uint32_t len = 250; len < 1700; len += 3) {
		host_frames(len, len, 1, len);
		assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 1);
		assert_int_equal(m[0]->nb_segs, (len + 255) / 256);
		expect_frame(m[0], len, len);
		expect_ack(len, NVSP_STATUS_SUCCESS);
	}
	while (rte_mempool_avail_count(fx.small) > 3)
		hold[held++] = rte_pktmbuf_alloc(fx.small);
	host_frames(1, 1, 2, 1000);
	assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 0);
	assert_int_equal(fx.rxq->stats.nombuf, 1);
	assert_int_equal(rte_mempool_avail_count(fx.small), 3);
	expect_silence();
	rte_pktmbuf_free_bulk(hold, held);
	assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 2);
	expect_frame(m[0], 1, 1000);
	expect_frame(m[1], 2, 1000);
	expect_ack(1, NVSP_STATUS_SUCCESS);

	/* Not asked for: refused, not truncated. */
	fx.rxq->offloads = 0;
	host_frames(2, 1, 1, 1000);
	assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 0);
	expect_ack(2, NVSP_STATUS_FAILURE);
}

/* What is not a frame is handled behind frames that wait, once; the frames stay in order. */
static void
scan_ahead(void **state)
{
	struct rte_mbuf *m[BURST];
	uint64_t ext[2] = { NVSP_RECV_BUF_ID | UINT64_C(1) << 32, host_slot(50, 0, 60, 0, NULL) };

	RTE_SET_USED(state);
	host_frames(1, 1, 4, 60);
	assert_int_equal(hvn_rx_burst(fx.rxq, m, 1), 1);
	expect_frame(m[0], 1, 60);
	host_put(VMBUS_PKT_COMPLETION, HVN_TID_CTRL | 5, NULL, 0, nvsp_data, 40);
	host_frames(2, 5, 1, 60);
	host_put(VMBUS_PKT_INBAND, 6, NULL, 0, nvsp_data, 40);
	host_put(VMBUS_PKT_XFER_PAGES, 7, ext, 16, nvsp_ctrl, 40);
	host_frames(3, 6, 1, 60);
	assert_true(hvn_chan_scan(fx.ch) > 0);
	assert_int_equal(fx.n_inbound, 3);
	assert_int_equal(fx.inbound[0].kind, HVN_CTRL_COMPLETION);
	assert_int_equal(fx.inbound[1].kind, HVN_CTRL_INBAND);
	assert_int_equal(fx.inbound[2].kind, HVN_CTRL_RNDIS);
	expect_ack(7, NVSP_STATUS_SUCCESS);
	assert_int_equal(hvn_chan_scan(fx.ch), 0);

	/* No room with the control thread: it stays, and so does what is behind it. */
	fx.refuse_inbound = true;
	host_put(VMBUS_PKT_INBAND, 8, NULL, 0, nvsp_data, 40);
	host_frames(4, 7, 1, 60);
	hvn_chan_scan(fx.ch);
	assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 5);
	for (uint32_t i = 0; i < 5; i++)
		expect_frame(m[i], 2 + i, 60);
	fx.refuse_inbound = false;
	assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 1);
	expect_frame(m[0], 7, 60);
	assert_int_equal(fx.n_inbound, 4);
	for (uint64_t tid = 1; tid <= 4; tid++)
		expect_ack(tid, NVSP_STATUS_SUCCESS);
}

/* Several control messages in one packet, of which some have no room yet: each is taken once. */
static void
control_ranges(void **state)
{
	uint64_t ext[4] = { NVSP_RECV_BUF_ID | UINT64_C(3) << 32 };

	RTE_SET_USED(state);
	for (uint32_t i = 0; i < 3; i++)
		ext[1 + i] = 16 * (i + 1) | (uint64_t)(50 + i) * SLOT_SIZE << 32;
	fx.n_inbound = INBOUND_MAX - 1; /* room for one */
	host_put(VMBUS_PKT_XFER_PAGES, 1, ext, sizeof(ext), nvsp_ctrl, 40);
	hvn_chan_scan(fx.ch);
	assert_int_equal(fx.inbound[INBOUND_MAX - 1].kind, HVN_CTRL_RNDIS);
	assert_int_equal(fx.inbound[INBOUND_MAX - 1].len, 16);
	expect_silence();
	fx.n_inbound = 0;
	hvn_chan_scan(fx.ch);
	assert_int_equal(fx.n_inbound, 2);
	assert_int_equal(fx.inbound[0].len, 32);
	assert_int_equal(fx.inbound[1].len, 48);
	expect_ack(1, NVSP_STATUS_SUCCESS);
	expect_silence();
}

/* Nobody takes the frames of a stopped port: they are dropped and completed. */
static void
stopped(void **state)
{
	struct rte_mbuf *m[BURST];

	RTE_SET_USED(state);
	host_frames(1, 1, 8, 60);
	assert_int_equal(hvn_rx_burst(fx.rxq, m, 2), 2);
	rte_pktmbuf_free_bulk(m, 2);
	fx.port.running = false;
	host_frames(2, 1, 3, 60);
	assert_true(hvn_chan_scan(fx.ch) > 0);
	expect_ack(1, NVSP_STATUS_SUCCESS);
	expect_ack(2, NVSP_STATUS_SUCCESS);
	assert_int_equal(fx.rxq->stats.dropped, 9);
	fx.port.running = true;
	assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 0);
}

/* No mbufs: frames wait; a completion behind them is found all the same. */
static void
no_mbufs(void **state)
{
	struct rte_mbuf *hold[POOL_SIZE], *m[BURST];

	RTE_SET_USED(state);
	for (unsigned int i = 0; i < POOL_SIZE; i++)
		hold[i] = rte_pktmbuf_alloc(fx.pool);
	host_frames(1, 1, 8, 60);
	host_put(VMBUS_PKT_COMPLETION, HVN_TID_CTRL | 5, NULL, 0, nvsp_data, 40);
	assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 0);
	assert_int_equal(fx.rxq->stats.nombuf, 1);
	assert_int_equal(fx.n_inbound, 1);
	rte_pktmbuf_free_bulk(hold, POOL_SIZE);
	assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 8);
	for (uint32_t i = 0; i < 8; i++)
		expect_frame(m[i], 1 + i, 60);
	expect_ack(1, NVSP_STATUS_SUCCESS);
}

/* T45: of two records of one type the first wins, also where it says nothing. */
static void
twice(void **state)
{
	static const uint32_t ppi[][4][2] = {
		{ { RNDIS_PPI_CHECKSUM, 0 },
		  { RNDIS_PPI_CHECKSUM, RNDIS_RXCSUM_IP_FAILED },
		  { RNDIS_PPI_HASH_VALUE, 0 },
		  { RNDIS_PPI_HASH_VALUE, 5 } },
		{ { RNDIS_PPI_CHECKSUM, RNDIS_RXCSUM_IP_OK },
		  { RNDIS_PPI_CHECKSUM, RNDIS_RXCSUM_IP_FAILED },
		  { RNDIS_PPI_HASH_VALUE, 4 },
		  { RNDIS_PPI_HASH_VALUE, 5 } },
		{ { RNDIS_PPI_VLAN, RNDIS_VLAN_FROM_TCI(3) },
		  { RNDIS_PPI_VLAN, RNDIS_VLAN_FROM_TCI(7) },
		  { RNDIS_PPI_CHECKSUM, RNDIS_RXCSUM_IP_OK },
		  { RNDIS_PPI_CHECKSUM, RNDIS_RXCSUM_IP_FAILED } },
	};
	static const uint64_t want[] = { 0, RTE_MBUF_F_RX_IP_CKSUM_GOOD,
					 RTE_MBUF_F_RX_IP_CKSUM_GOOD };
	struct rte_mbuf *m[BURST];

	RTE_SET_USED(state);
	fx.rxq->want_hash = fx.rxq->vlan_strip = true;
	for (uint32_t i = 0; i < RTE_DIM(ppi); i++) {
		for (uint32_t n = 2; n <= 4; n += 2) {
			const uint64_t range = host_slot(i, i, 60, n, ppi[i]);

			assert_true(host_xfer(100 + i, 1, &range));
			assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 1);
			if (i < 2 || n == 4)
				assert_int_equal(m[0]->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK,
						 want[i]);
			if (i == 1 && n == 4)
				assert_int_equal(m[0]->hash.rss, 4);
			if (i == 2)
				assert_int_equal(m[0]->vlan_tci, 3);
			if (i == 0)
				assert_int_equal(m[0]->hash.rss, 0);
			rte_pktmbuf_free(m[0]);
			expect_ack(100 + i, NVSP_STATUS_SUCCESS);
		}
	}
}

/*
 * A process was killed inside a burst: its lock is taken over, once, and only then; the message it
 * was at comes again, whole; what it had written of completions is not written twice.
 */
static void
dead_holder(void **state)
{
	struct rte_mbuf *m[BURST];

	RTE_SET_USED(state);
	hvn_process_init(0);
	assert_true(host_frames(16, 1, 3, 60));
	fx.ch->in_lock.lock.owner = 1; /* init lives */
	assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 0);
	hvn_chan_rescue(fx.ch);
	assert_int_equal(fx.ch->in_lock.lock.owner, 1);
	fx.ch->in_lock.lock.owner = dead_process() | HVN_PROCESS_ALIEN; /* of a world of its own */
	hvn_chan_rescue(fx.ch);
	assert_int_not_equal(fx.ch->in_lock.lock.owner, 0);

	fx.ch->in_lock.lock.owner = dead_process();
	fx.ch->out_lock.lock.owner = fx.ch->in_lock.lock.owner;
	fx.ch->msg_ranges = 2; /* stored in part: it died there */
	fx.ch->msg_next = 77;
	fx.ch->paying = true;
	hvn_chan_owe(fx.ch, 15, NVSP_STATUS_SUCCESS);
	hvn_chan_rescue(fx.ch);
	assert_int_equal(fx.ch->in_lock.lock.owner, 0);
	assert_int_equal(fx.ch->out_lock.lock.owner, 0);
	assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 3);
	for (uint32_t i = 0; i < 3; i++)
		expect_frame(m[i], 1 + i, 60);
	expect_ack(16, NVSP_STATUS_SUCCESS);
	expect_silence();

	/* Control functions take it over by themselves. */
	fx.ch->in_lock.lock.owner = dead_process();
	assert_true(hvn_chan_lock_in(fx.ch));
	hvn_biased_release(&fx.ch->in_lock);
	fx.ch->out_lock.lock.owner = dead_process();
	assert_int_equal(hvn_chan_send(fx.ch, VMBUS_PKT_INBAND, 0, 7, NULL, 0, nvsp_data, 40), 0);
	assert_int_equal(fx.ch->out_lock.lock.owner, 0);
}

/* A pool whose mbufs have their buffers elsewhere: theirs say so, as whoever clones them must know. */
static void
pinned_buffers(void **state)
{
	static uint8_t memory[1 << 16] __rte_aligned(4096);
	const struct rte_pktmbuf_extmem ext = { .buf_ptr = memory,
						.buf_iova = (rte_iova_t)(uintptr_t)memory,
						.buf_len = sizeof(memory),
						.elt_size = RTE_PKTMBUF_HEADROOM + 384 };
	struct rte_mempool *pool;
	struct rte_mbuf *m[BURST], *clone;

	RTE_SET_USED(state);
	hvn_rx_queue_release(&fx.dev, 0);
	pool = rte_pktmbuf_pool_create_extbuf("pinned", 63, 0, 0, ext.elt_size, SOCKET_ID_ANY, &ext,
					      1);
	assert_non_null(pool);
	fx_rx_queue(pool, RTE_ETH_RX_OFFLOAD_SCATTER);
	for (uint32_t i = 0; i < 100; i++) {
		assert_true(host_frames(i, i, 2, i % 2 != 0 ? 60 : 1000));
		assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 2);
		for (const struct rte_mbuf *seg = m[1]; seg != NULL; seg = seg->next)
			assert_true(RTE_MBUF_HAS_PINNED_EXTBUF(seg));
		clone = rte_pktmbuf_clone(m[1], fx.pool);
		assert_non_null(clone);
		rte_pktmbuf_free(m[1]);
		expect_frame(m[0], i, i % 2 != 0 ? 60 : 1000);
		expect_frame(clone, i + 1, i % 2 != 0 ? 60 : 1000);
		expect_ack(i, NVSP_STATUS_SUCCESS);
	}
	assert_int_equal(rte_mempool_avail_count(pool), 63);
	hvn_rx_queue_release(&fx.dev, 0);
	fx.rxq = NULL;
	rte_mempool_free(pool);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(pinned_buffers, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(partial_message, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(wrap_and_lengths, fx_tiny, fx_close),
		cmocka_unit_test_setup_teardown(back_pressure, fx_tiny, fx_close),
		cmocka_unit_test_setup_teardown(endless, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(flags, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(records, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(deferred, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(usual, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(vlan, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(scatter, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(scan_ahead, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(control_ranges, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(stopped, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(no_mbufs, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(twice, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(dead_holder, fx_big, fx_close),
	};

	if (fx_eal() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
