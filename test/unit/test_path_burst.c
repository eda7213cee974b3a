/* SPDX-License-Identifier: BSD-3-Clause */
/* Bursts of a queue that uses a VF, of which the test plays the data path. */
#include "datapath_fixture.h"
#include "hvn_path_inline.h"
#include "hvn_rx.h"

#define VF 3u

static uint32_t vf_frames; /* the VF delivers so many more */
static void *vf_queues[1];

static uint16_t
vf_receive(void *rxq, struct rte_mbuf **pkts, uint16_t n)
{
	uint16_t i;

	RTE_SET_USED(rxq);
	for (i = 0; i < n && vf_frames != 0; i++, vf_frames--) {
		pkts[i] = rte_pktmbuf_alloc(fx.small);
		assert_non_null(pkts[i]);
		rte_pktmbuf_append(pkts[i], 60);
	}
	return i;
}

static uint16_t
vf_prepare(void *txq, struct rte_mbuf **pkts, uint16_t n)
{
	RTE_SET_USED(txq);
	RTE_SET_USED(pkts);
	return n - 1;
}

static int
open_vf(void **state)
{
	static struct rte_eth_dev_data data;
	struct rte_eth_dev *vf = &rte_eth_devices[VF];

	fx_big(state);
	data.rx_queues = data.tx_queues = vf_queues;
	vf->data = &data;
	vf->state = RTE_ETH_DEV_ATTACHED;
	vf->rx_pkt_burst = vf_receive;
	vf->tx_pkt_prepare = NULL;
	return 0;
}

static int
close_vf(void **state)
{
	memset(&rte_eth_devices[VF], 0, sizeof(rte_eth_devices[VF]));
	fx.rxq->path.vf_port = RTE_MAX_ETHPORTS;
	return fx_close(state);
}

/* A VF that fills every burst does not keep a frame of the ring back for ever. */
static void
ring_beside_a_busy_vf(void **state)
{
	struct rte_mbuf *m[8];
	uint32_t polls, of_vf = 0;
	bool seen = false;

	RTE_SET_USED(state);
	fx.rxq->path.vf_port = VF;
	fx.rxq->path.ring_first = HVN_RING_LAST;
	vf_frames = UINT32_MAX;
	assert_true(host_frames(1, 1, 1, 100));
	for (polls = 0; polls < 2 * HVN_DESC_MAX / RTE_DIM(m) && !seen; polls++) {
		uint16_t n = hvn_rx_burst(fx.rxq, m, RTE_DIM(m));

		for (uint16_t i = 0; i < n; i++) {
			seen |= m[i]->pkt_len == 100;
			of_vf += m[i]->pkt_len == 60;
			assert_int_equal(m[i]->port, fx.rxq->port_id);
		}
		rte_pktmbuf_free_bulk(m, n);
	}
	assert_true(seen);
	assert_true(of_vf != 0);
	vf_frames = 0;
}

/* Nobody ran for long: what is older comes first all the same, unless nothing comes of it. */
static void
not_run_for_long(void **state)
{
	struct hvn_rx_hold *h = &fx.rxq->hold;
	struct rte_mbuf *m[4];
	uint32_t polls;

	RTE_SET_USED(state);
	for (bool stuck = false;; stuck = true) {
		fx.rxq->path.vf_port = VF;
		fx.rxq->path.ring_first = HVN_RING_FIRST;
		for (uint32_t i = 0; i < 8; i++)
			assert_true(host_frames(i, i, 1, 100));
		vf_frames = 1;
		assert_int_equal(hvn_rx_burst(fx.rxq, m, 4), 4);
		assert_int_equal(h->n, 1);
		rte_pktmbuf_free_bulk(m, 4);
		h->mark.since = 0;
		if (stuck)
			break;
		assert_int_equal(hvn_rx_burst(fx.rxq, m, 4), 4);
		assert_int_equal(m[0]->pkt_len, 100);
		rte_pktmbuf_free_bulk(m, 4);
		assert_int_equal(hvn_rx_burst(fx.rxq, m, 4), 1);
		assert_int_equal(m[0]->pkt_len, 60);
		rte_pktmbuf_free(m[0]);
	}
	assert_true(hvn_biased_try(&fx.ch->in_lock));
	for (polls = 0; polls < 1000 && hvn_rx_burst(fx.rxq, m, 4) == 0; polls++)
		;
	hvn_biased_release(&fx.ch->in_lock);
	assert_true(polls > 100 && polls < 1000);
	assert_int_equal(m[0]->pkt_len, 60);
	rte_pktmbuf_free(m[0]);
}

static void
expect_lens(uint16_t n, const uint32_t *len)
{
	struct rte_mbuf *m[8];

	assert_int_equal(hvn_rx_burst(fx.rxq, m, n), n);
	for (uint16_t i = 0; i < n; i++) {
		assert_int_equal(m[i]->pkt_len, len[i]);
		assert_int_equal(m[i]->port, fx.rxq->port_id);
	}
	rte_pktmbuf_free_bulk(m, n);
}

/*
 * A VF goes while nobody polls: what it had received comes first, then what was held of the ring,
 * then the ring. On the next VF too, and what nobody asks for any more is freed.
 */
static void
late(void **state)
{
	struct hvn_rx_hold *h = &fx.rxq->hold;
	struct rte_mbuf *m[4];

	RTE_SET_USED(state);
	h->late = rte_malloc(NULL, HVN_RX_LATE * sizeof(h->late[0]), 0);
	assert_non_null(h->late);
	for (bool again = false;; again = true) {
		fx.rxq->path.vf_port = VF;
		fx.rxq->path.ring_first = HVN_RING_LAST;
		vf_frames = 6;
		assert_true(host_frames(1, 1, 2, 100));
		expect_lens(2, (const uint32_t[]){ 60, 60 });
		assert_int_equal(h->n, 2);
		assert_true(host_frames(2, 3, 1, 200));
		/* Nothing is taken of anything meanwhile. */
		fx.rxq->path.vf_port = HVN_RX_HALT;
		assert_int_equal(hvn_rx_burst(fx.rxq, m, 4), 0);
		assert_true(hvn_path_rx_collect(fx.rxq, VF));
		assert_int_equal(vf_frames, 0);
		assert_int_equal(h->late_n, 4);
		fx.rxq->path.vf_port = HVN_RX_LAST;
		if (again) {
			fx.rxq->path.vf_port = VF;
			fx.rxq->path.ring_first = HVN_RING_FIRST;
			vf_frames = 1;
		}
		expect_lens(3, (const uint32_t[]){ 60, 60, 60 });
		if (again)
			break;
		expect_lens(1, (const uint32_t[]){ 60 });
		expect_lens(3, (const uint32_t[]){ 100, 100, 200 });
		assert_int_equal(fx.rxq->path.vf_port, RTE_MAX_ETHPORTS);
	}
	expect_lens(1, (const uint32_t[]){ 60 });
	expect_lens(2, (const uint32_t[]){ 100, 100 });
	expect_lens(2, (const uint32_t[]){ 200, 60 });
	/* The first burst of another round; the rest goes with the queue. */
	vf_frames = 5;
	assert_true(hvn_path_rx_collect(fx.rxq, VF));
}

/*
 * The host turned to the VF, and back, while nobody polled, or only once: what the ring had before
 * comes first, then what the VF had received, then what the ring got since.
 */
static void
late_behind_older(void **state)
{
	struct hvn_rx_hold *h = &fx.rxq->hold;

	RTE_SET_USED(state);
	h->late = rte_malloc(NULL, HVN_RX_LATE * sizeof(h->late[0]), 0);
	assert_non_null(h->late);
	for (uint32_t held = 0; held < 2; held++) {
		fx.rxq->path.vf_port = VF;
		fx.rxq->path.ring_first = HVN_RING_FIRST;
		assert_true(host_frames(1, 1, 2 + held, 100));
		vf_frames = held;
		if (held != 0)
			expect_lens(1, (const uint32_t[]){ 100 });
		assert_int_equal(h->n, held);
		hvn_path_mark_ring(fx.rxq, &fx.rxq->path.mark);
		fx.rxq->path.ring_first = HVN_RING_TURNED;
		vf_frames = 4 - held;
		assert_true(host_frames(2, 5, 1, 200));
		fx.rxq->path.vf_port = HVN_RX_HALT;
		assert_true(hvn_path_rx_collect(fx.rxq, VF));
		assert_true(host_frames(3, 6, 1, 200));
		fx.rxq->path.vf_port = HVN_RX_LAST;
		expect_lens(6, (const uint32_t[]){ 100, 100, 60, 60, 60, 60 });
		expect_lens(2, (const uint32_t[]){ 200, 200 });
		assert_int_equal(fx.rxq->path.vf_port, RTE_MAX_ETHPORTS);
	}
}

/* Collect what the VF has received, behind what the ring has; then the VF is gone. */
static void
flap_unseen(uint32_t frames)
{
	fx.rxq->path.vf_port = VF;
	fx.rxq->path.ring_first = HVN_RING_FIRST;
	hvn_path_mark_ring(fx.rxq, &fx.rxq->path.mark);
	fx.rxq->path.ring_first = HVN_RING_TURNED;
	vf_frames = frames;
	fx.rxq->path.vf_port = HVN_RX_HALT;
	assert_true(hvn_path_rx_collect(fx.rxq, VF));
	fx.rxq->path.vf_port = HVN_RX_LAST;
}

/* Several VFs come and go while nobody polls: each one's frames have their place in the ring's. */
static void
late_again(void **state)
{
	struct hvn_rx_hold *h = &fx.rxq->hold;

	RTE_SET_USED(state);
	h->late = rte_malloc(NULL, HVN_RX_LATE * sizeof(h->late[0]), 0);
	assert_non_null(h->late);
	for (uint32_t held = 0; held < 2; held++) {
		/* What is held of the ring is older than the second VF. */
		if (held != 0) {
			fx.rxq->path.vf_port = VF;
			fx.rxq->path.ring_first = HVN_RING_LAST;
			vf_frames = 2;
			assert_true(host_frames(9, 9, 1, 250));
			expect_lens(1, (const uint32_t[]){ 60 });
			assert_int_equal(h->n, 1);
			fx.rxq->path.vf_port = HVN_RX_HALT;
			assert_true(hvn_path_rx_collect(fx.rxq, VF));
			fx.rxq->path.vf_port = HVN_RX_LAST;
		}
		assert_true(host_frames(1, 1, 2, 100));
		flap_unseen(2);
		flap_unseen(0);
		assert_true(host_frames(2, 3, 2, 200));
		flap_unseen(3);
		assert_true(host_frames(3, 5, 1, 150));
		if (held != 0) {
			expect_lens(1, (const uint32_t[]){ 60 });
			expect_lens(1, (const uint32_t[]){ 250 });
		}
		expect_lens(4, (const uint32_t[]){ 100, 100, 60, 60 });
		expect_lens(5, (const uint32_t[]){ 200, 200, 60, 60, 60 });
		expect_lens(1, (const uint32_t[]){ 150 });
		assert_int_equal(h->late_vfs, 0);
	}
	/* Of more than are told apart, none is lost. */
	for (uint32_t i = 0; i < HVN_RX_LATE_VFS + 2; i++)
		flap_unseen(1);
	assert_int_equal(h->late_vfs, HVN_RX_LATE_VFS);
	for (uint32_t i = 0; i < HVN_RX_LATE_VFS - 1; i++)
		expect_lens(1, (const uint32_t[]){ 60 });
	expect_lens(3, (const uint32_t[]){ 60, 60, 60 });
	assert_int_equal(h->late_n, 0);
}

/* The same, while the application polls; or the VF goes without its frames having been taken. */
static void
turned_back_at_once(void **state)
{
	RTE_SET_USED(state);
	for (bool gone = false;; gone = true) {
		fx.rxq->path.vf_port = VF;
		fx.rxq->path.ring_first = HVN_RING_FIRST;
		assert_true(host_frames(1, 1, 3, 100));
		vf_frames = 1;
		expect_lens(1, (const uint32_t[]){ 100 });
		vf_frames = 2;
		hvn_path_mark_ring(fx.rxq, &fx.rxq->path.mark);
		if (!gone)
			fx.rxq->path.ring_first = HVN_RING_TURNED;
		assert_true(host_frames(2, 5, 2, 200));
		if (gone)
			break;
		expect_lens(1, (const uint32_t[]){ 100 });
		assert_int_equal(fx.rxq->hold.n, 1);
		expect_lens(1, (const uint32_t[]){ 100 });
		expect_lens(1, (const uint32_t[]){ 60 });
		expect_lens(2, (const uint32_t[]){ 60, 60 });
		expect_lens(2, (const uint32_t[]){ 200, 200 });
	}
	vf_frames = 0;
	fx.rxq->path.vf_port = HVN_RX_LAST;
	expect_lens(5, (const uint32_t[]){ 100, 100, 60, 200, 200 });
}

/* A process is stopped in a burst on the VF: it finds the queue, and what was held, as they were. */
static void
left_on_vf(void **state)
{
	const pid_t other = living_process();
	struct hvn_rxq *q = fx.rxq;

	RTE_SET_USED(state);
	fx.rxq->path.vf_port = VF;
	fx.rxq->path.ring_first = HVN_RING_LAST;
	vf_frames = 1;
	assert_true(host_frames(1, 1, 2, 100));
	expect_lens(1, (const uint32_t[]){ 60 });
	assert_int_equal(q->hold.n, 2);
	q->path.busy = (uint32_t)other;
	hvn_rxq_stop(q);
	assert_int_equal(q->hold.n, 2);
	assert_int_equal(hvn_rxq_start(q), -EBUSY);
	hvn_rx_queue_release(&fx.dev, 0);
	assert_int_equal(fx.port.n_left_on_vf, 1);
	assert_ptr_equal(fx.port.left_on_vf[0], &q->path.busy);
	/* It has ended: as a queue like any other. */
	kill(other, SIGKILL);
	assert_int_equal(waitpid(other, NULL, 0), other);
	fx.data.rx_queues[0] = q;
	fx.port.n_left_on_vf = 0;
	assert_int_equal(hvn_rxq_start(q), 0);
	hvn_rxq_stop(q);
	assert_int_equal(q->hold.n, 0);
}

/* It has come out of its burst since the queue was stopped: what is held is of before. */
static void
left_for_a_while(void **state)
{
	enum { START, START_WITHOUT_CHANNEL, RELEASE };
	const pid_t other = living_process();
	struct hvn_rxq *q = fx.rxq;

	RTE_SET_USED(state);
	for (unsigned int how = START; how <= RELEASE; how++) {
		q->hold.pkts[0] = rte_pktmbuf_alloc(fx.pool);
		q->hold.first = 0;
		q->hold.n = 1;
		q->path.busy = (uint32_t)other;
		hvn_rxq_stop(q);
		assert_int_equal(q->hold.n, 1);
		assert_int_equal(hvn_rxq_start(q), -EBUSY);
		q->path.busy = 0;
		fx.port.n_chans = how == START_WITHOUT_CHANNEL ? 0 : 1;
		if (how == RELEASE) {
			hvn_rx_queue_release(&fx.dev, 0);
			fx_rx_queue(fx.pool, 0);
		} else {
			assert_int_equal(hvn_rxq_start(q), 0);
			assert_false(q->left);
			assert_int_equal(q->hold.n, 0);
			assert_int_equal(q->stats.dropped, how + 1);
		}
		fx.port.n_chans = 1;
		assert_int_equal(rte_mempool_avail_count(fx.pool), POOL_SIZE);
	}
	assert_int_equal(fx.port.n_left_on_vf, 0);
	kill(other, SIGKILL);
	assert_int_equal(waitpid(other, NULL, 0), other);
}

/* Packets are prepared for both paths, also while the queue turns; a VF need not prepare any. */
static void
prepare(void **state)
{
	static const uint16_t paths[] = { VF, VF | HVN_TX_TO_VF, VF | HVN_TX_BACK };
	struct rte_mbuf *m[2] = { rte_pktmbuf_alloc(fx.pool), rte_pktmbuf_alloc(fx.pool) };

	RTE_SET_USED(state);
	rte_pktmbuf_append(m[0], 60);
	rte_pktmbuf_append(m[1], 60);
	for (uint32_t i = 0; i < RTE_DIM(paths); i++) {
		fx.txq->path.vf_port = paths[i];
		rte_eth_devices[VF].tx_pkt_prepare = NULL;
		assert_int_equal(hvn_tx_prepare(fx.txq, m, 2), 2);
		rte_eth_devices[VF].tx_pkt_prepare = vf_prepare;
		assert_int_equal(hvn_tx_prepare(fx.txq, m, 2), 1);
	}
	fx.txq->path.vf_port = RTE_MAX_ETHPORTS;
	rte_pktmbuf_free_bulk(m, 2);
}

static uint32_t vf_done, vf_descs; /* sent packets of the VF to be freed; size of its queues */
static uint32_t asked_while;	   /* mark of the queue that the VF was asked about */

static uint32_t
vf_count(void *rxq)
{
	RTE_SET_USED(rxq);
	asked_while = fx.rxq->asking.owner;
	return vf_frames;
}

static int
vf_rx_status(void *rxq, uint16_t offset)
{
	RTE_SET_USED(rxq);
	if (offset >= vf_descs)
		return -EINVAL;
	return offset < vf_frames ? RTE_ETH_RX_DESC_DONE : RTE_ETH_RX_DESC_UNAVAIL;
}

static int
vf_tx_status(void *txq, uint16_t offset)
{
	RTE_SET_USED(txq);
	if (offset >= vf_descs)
		return -EINVAL;
	return offset < vf_done ? RTE_ETH_TX_DESC_DONE : RTE_ETH_TX_DESC_FULL;
}

static int
vf_cleanup(void *txq, uint32_t free_cnt)
{
	const uint32_t n = free_cnt == 0 ? vf_done : RTE_MIN(vf_done, free_cnt);

	RTE_SET_USED(txq);
	vf_done -= n;
	return (int)n;
}

/* Frames wait in the VF's queue, in the ring, and where bursts hold them back: all are counted. */
static void
waiting(void **state)
{
	struct rte_eth_dev *vf = &rte_eth_devices[VF];

	RTE_SET_USED(state);
	fx.rxq->path.vf_port = VF;
	fx.rxq->path.ring_first = HVN_RING_LAST;
	vf_frames = 6;
	vf_descs = 64;
	assert_true(host_frames(1, 1, 2, 100));
	/* A VF that tells nothing. */
	assert_int_equal(hvn_rx_queue_count(fx.rxq), 2);
	assert_int_equal(hvn_rx_descriptor_status(fx.rxq, 1), RTE_ETH_RX_DESC_DONE);
	assert_int_equal(hvn_rx_descriptor_status(fx.rxq, 2), RTE_ETH_RX_DESC_AVAIL);
	vf->rx_queue_count = vf_count;
	assert_int_equal(hvn_rx_queue_count(fx.rxq), 8);
	assert_int_equal(asked_while, hvn_process_self);
	assert_int_equal(fx.rxq->asking.owner, 0);
	assert_int_equal(hvn_rx_descriptor_status(fx.rxq, 7), RTE_ETH_RX_DESC_DONE);
	assert_int_equal(hvn_rx_descriptor_status(fx.rxq, 8), RTE_ETH_RX_DESC_AVAIL);
	vf->rx_descriptor_status = vf_rx_status;
	assert_int_equal(hvn_rx_descriptor_status(fx.rxq, 7), RTE_ETH_RX_DESC_DONE);
	assert_int_equal(hvn_rx_descriptor_status(fx.rxq, 8), RTE_ETH_RX_DESC_UNAVAIL);
	assert_int_equal(hvn_rx_descriptor_status(fx.rxq, 100), RTE_ETH_RX_DESC_AVAIL);
	assert_int_equal(hvn_rx_descriptor_status(fx.rxq, 512), -EINVAL);
	/* The ring's are held back behind those of the VF. */
	expect_lens(2, (const uint32_t[]){ 60, 60 });
	assert_int_equal(fx.rxq->hold.n, 2);
	assert_int_equal(hvn_rx_queue_count(fx.rxq), 6);
	vf_frames = UINT32_MAX; /* a negative errno */
	assert_int_equal(hvn_rx_queue_count(fx.rxq), 2);
	vf_frames = 10000;
	assert_int_equal(hvn_rx_queue_count(fx.rxq), 512);
	/* The VF is gone, a burst has not been there since. */
	fx.rxq->path.vf_port = HVN_RX_LAST;
	assert_int_equal(hvn_rx_queue_count(fx.rxq), 2);
	fx.rxq->path.vf_port = VF;
	vf->state = RTE_ETH_DEV_UNUSED;
	assert_int_equal(hvn_rx_queue_count(fx.rxq), 2);
	vf->state = RTE_ETH_DEV_ATTACHED;
	/* Who asked before was killed. */
	fx.rxq->asking.owner = dead_process();
	vf_frames = 1;
	assert_int_equal(hvn_rx_queue_count(fx.rxq), 3);
	vf_frames = 0;
}

/* What is sent by the VF waits there; what was sent before, here. */
static void
sending(void **state)
{
	static const struct eth_dev_ops can = { .tx_done_cleanup = vf_cleanup }, cannot;
	struct rte_eth_dev *vf = &rte_eth_devices[VF];
	struct rte_mbuf *m = rte_pktmbuf_alloc(fx.pool);
	struct vmbus_ring_pkt pkt;

	RTE_SET_USED(state);
	rte_pktmbuf_append(m, 1900);
	assert_int_equal(hvn_tx_burst(fx.txq, &m, 1), 1);
	fx.txq->path.vf_port = VF | HVN_TX_TO_VF;
	vf->dev_ops = &cannot;
	vf_done = 10;
	vf_descs = TX_DESC - 2;
	assert_int_equal(hvn_tx_descriptor_status(fx.txq, TX_DESC - 2), RTE_ETH_TX_DESC_DONE);
	assert_int_equal(hvn_tx_descriptor_status(fx.txq, TX_DESC - 1), RTE_ETH_TX_DESC_FULL);
	assert_int_equal(hvn_tx_done_cleanup(fx.txq, 0), 0);
	vf->tx_descriptor_status = vf_tx_status;
	vf->dev_ops = &can;
	assert_int_equal(hvn_tx_descriptor_status(fx.txq, 9), RTE_ETH_TX_DESC_DONE);
	assert_int_equal(hvn_tx_descriptor_status(fx.txq, 10), RTE_ETH_TX_DESC_FULL);
	assert_int_equal(hvn_tx_descriptor_status(fx.txq, TX_DESC - 2), RTE_ETH_TX_DESC_UNAVAIL);
	assert_int_equal(host_peek(&pkt), 1);
	assert_true(host_complete(pkt.tid, NVSP_STATUS_SUCCESS));
	host_release(&pkt);
	assert_int_equal(hvn_tx_done_cleanup(fx.txq, 3), 3);
	assert_int_equal(rte_mempool_avail_count(fx.pool), POOL_SIZE - 1);
	assert_int_equal(hvn_tx_done_cleanup(fx.txq, 0), 8);
	assert_int_equal(vf_done, 0);
	assert_int_equal(rte_mempool_avail_count(fx.pool), POOL_SIZE);
	fx.txq->path.vf_port = RTE_MAX_ETHPORTS;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(ring_beside_a_busy_vf, open_vf, close_vf),
		cmocka_unit_test_setup_teardown(not_run_for_long, open_vf, close_vf),
		cmocka_unit_test_setup_teardown(late, open_vf, close_vf),
		cmocka_unit_test_setup_teardown(late_behind_older, open_vf, close_vf),
		cmocka_unit_test_setup_teardown(late_again, open_vf, close_vf),
		cmocka_unit_test_setup_teardown(turned_back_at_once, open_vf, close_vf),
		cmocka_unit_test_setup_teardown(left_for_a_while, open_vf, close_vf),
		cmocka_unit_test_setup_teardown(left_on_vf, open_vf, close_vf),
		cmocka_unit_test_setup_teardown(prepare, open_vf, close_vf),
		cmocka_unit_test_setup_teardown(waiting, open_vf, close_vf),
		cmocka_unit_test_setup_teardown(sending, open_vf, close_vf),
	};

	if (fx_eal() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
