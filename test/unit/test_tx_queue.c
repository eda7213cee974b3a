/* SPDX-License-Identifier: BSD-3-Clause */
/* A transmit queue without sections, with a corrupt ring, and released before the host is done. */
#include <signal.h>

#define FX_TELEMETRY
#include "datapath_fixture.h"

#include "hvn_leave.h"
#include "hvn_tx.h"

static int
setup_again(void)
{
	const struct rte_eth_txconf tx = { .tx_free_thresh = 16 };
	int rc = hvn_tx_queue_setup(&fx.dev, 0, TX_DESC, SOCKET_ID_ANY, &tx);

	fx.txq = fx.data.tx_queues[0];
	return rc;
}

/* ethdev releases a queue, and then sets it up: a slow host's packets stay until it is done. */
static void
released(void **state)
{
	const uint64_t tid = send_direct();

	RTE_SET_USED(state);
	assert_int_equal(hvn_txq_stop(fx.txq, 1), -EBUSY);
	hvn_tx_queue_release(&fx.dev, 0);
	assert_null(fx.data.tx_queues[0]);
	assert_int_equal(fx.port.tx_past[0].packets, 1);
	assert_int_equal(fx.port.tx_past[0].completions, 0);
	assert_int_equal(rte_mempool_avail_count(fx.pool), POOL_SIZE - 1);
	/* The port runs: the new queue would have the same ids. */
	assert_int_equal(setup_again(), -EBUSY);
	assert_int_equal(rte_mempool_avail_count(fx.pool), POOL_SIZE - 1);
	assert_true(host_complete(tid, NVSP_STATUS_SUCCESS));
	assert_int_equal(setup_again(), 0);
	assert_int_equal(fx.port.tx_past[0].packets, 1);
	assert_int_equal(fx.port.tx_past[0].completions, 1);
	assert_int_equal(rte_mempool_avail_count(fx.pool), POOL_SIZE);
	assert_int_equal(hvn_txq_start(fx.txq), 0);
	assert_true(host_complete(send_direct(), NVSP_STATUS_SUCCESS));
	assert_int_equal(hvn_tx_done_cleanup(fx.txq, 0), 1);
	assert_int_equal(fx.ch->invalid[HVN_INV_COMPLETION], 0);
}

/* What is refused leaves the queue that there is. */
static void
refused(void **state)
{
	const struct rte_eth_txconf tx = { .tx_free_thresh = TX_DESC - 3 };
	const struct hvn_txq *q = fx.txq;

	RTE_SET_USED(state);
	assert_int_equal(hvn_tx_queue_setup(&fx.dev, 0, TX_DESC, SOCKET_ID_ANY, &tx), -EINVAL);
	assert_ptr_equal(fx.data.tx_queues[0], q);
	assert_true(host_complete(send_direct(), NVSP_STATUS_SUCCESS));
	assert_int_equal(hvn_tx_done_cleanup(fx.txq, 0), 1);
}

/* In a stopped port it can be set up at once; the packets come back when the channel is closed. */
static void
released_while_stopped(void **state)
{
	RTE_SET_USED(state);
	send_direct();
	fx.port.running = false;
	assert_int_equal(hvn_txq_stop(fx.txq, 1), -EBUSY);
	assert_int_equal(setup_again(), 0);
	assert_true(hvn_txq_free_released(&fx.port, 0, false));
	assert_int_equal(rte_mempool_avail_count(fx.pool), POOL_SIZE - 1);
	assert_false(hvn_txq_free_released(&fx.port, 0, true));
	assert_int_equal(rte_mempool_avail_count(fx.pool), POOL_SIZE);
	assert_false(hvn_txq_free_released(&fx.port, 0, true));
}

/* More pieces than one message may have can only be copied: prepare says what has no section. */
static void
no_section(void **state)
{
	struct rte_mbuf *m = make_packet(7, 60), *more;

	RTE_SET_USED(state);
	for (uint32_t i = 1; i < HVN_GPA_RANGES_MAX + 1; i++) {
		more = make_packet(7, 20);
		assert_int_equal(rte_pktmbuf_chain(m, more), 0);
	}
	assert_int_equal(hvn_tx_prepare(fx.txq, &m, 1), 1);
	/* More queues than sections: this one's share is none. */
	fx.data.nb_tx_queues = SECTS + 1;
	assert_int_equal(hvn_txq_stop(fx.txq, 1), 0);
	assert_int_equal(hvn_txq_start(fx.txq), 0);
	fx.data.nb_tx_queues = 1;
	assert_int_equal(hvn_tx_prepare(fx.txq, &m, 1), 0);
	assert_int_equal(hvn_tx_burst(fx.txq, &m, 1), 1);
	assert_int_equal(fx.txq->stats.errors, 1);
}

/* Polled all the same, which testpmd does not do: nothing goes in or out until they are started. */
static void
stopped(void **state)
{
	struct rte_mbuf *m = make_packet(7, 60), *got[BURST];

	RTE_SET_USED(state);
	assert_int_equal(hvn_txq_stop(fx.txq, 1), 0);
	hvn_rxq_stop(fx.rxq);
	assert_int_equal(hvn_tx_burst(fx.txq, &m, 1), 0);
	assert_true(host_frames(1, 1, 1, 60));
	assert_int_equal(hvn_rx_burst(fx.rxq, got, BURST), 0);
	assert_int_equal(hvn_txq_start(fx.txq), 0);
	assert_int_equal(hvn_rxq_start(fx.rxq), 0);
	assert_int_equal(hvn_tx_burst(fx.txq, &m, 1), 1);
	assert_int_equal(hvn_rx_burst(fx.rxq, got, BURST), 1);
	rte_pktmbuf_free(got[0]);
}

/* In the moment the ring turns out corrupt, the host completes what it cannot have seen. */
static bool forge;
int __real_vmbus_ring_tx_no_room(struct vmbus_ring *r, uint32_t len);
int __wrap_vmbus_ring_tx_no_room(struct vmbus_ring *r, uint32_t len);

int
__wrap_vmbus_ring_tx_no_room(struct vmbus_ring *r, uint32_t len)
{
	const struct hvn_txd *t = fx.txq->txd;

	if (forge)
		hvn_tx_completed(fx.ch, t->id_high | t->desc[t->agg_desc].id, NVSP_STATUS_SUCCESS);
	return __real_vmbus_ring_tx_no_room(r, len);
}

static void
forged_completion(void **state)
{
	struct hvn_txd *t = fx.txq->txd;
	struct vmbus_ring *tx = &fx.vc.tx;

	RTE_SET_USED(state);
	t->ring_left = 0;
	assert_true(hvn_tx_open(fx.txq, t));
	t->agg_end = 64;
	t->agg_pkts = 1;
	/* What vmbus_ring.c makes of a bad read index; and the message would wrap. */
	tx->index = tx->size - 8;
	tx->error = -EIO;
	tx->peer = 0;
	forge = true;
	hvn_tx_send_section(fx.txq, t);
	forge = false;
	hvn_txd_harvest(fx.txq);
	assert_int_equal(t->n_free, TX_DESC);
	assert_int_equal(t->n_sect, SECTS);
	assert_int_equal(fx.txq->stats.errors, 1);
	assert_int_equal(fx.ch->invalid[HVN_INV_COMPLETION], 1);
}

/* One of so many pieces, too long to be copied. */
static struct rte_mbuf *
make_chain(uint32_t segs)
{
	struct rte_mbuf *m = make_packet(7, 1700);

	for (uint32_t i = 1; i < segs; i++)
		assert_int_equal(rte_pktmbuf_chain(m, make_packet(7, 16)), 0);
	return m;
}

/* The host reads no more mbufs than the queue has descriptors: pools are made for as many. */
static void
mbufs_in_flight(void **state)
{
	const uint32_t segs[] = { 20, 20, 20, 1, 3, 1 };
	const unsigned int first_full = 5;
	struct vmbus_ring_pkt pkt[RTE_DIM(segs)];
	struct rte_mbuf *m;

	RTE_SET_USED(state);
	for (unsigned int i = 0; i < RTE_DIM(segs); i++) {
		m = make_chain(segs[i]);
		assert_int_equal(hvn_tx_burst(fx.txq, &m, 1), i != first_full);
		if (i == first_full)
			break;
		assert_int_equal(host_peek(&pkt[i]), 1);
		assert_int_equal(pkt[i].type, VMBUS_PKT_GPA_DIRECT);
		host_release(&pkt[i]);
	}
	assert_int_equal(rte_mempool_avail_count(fx.pool), POOL_SIZE - TX_DESC - 1);
	assert_int_equal(fx.txq->stats.desc_full, 1);
	assert_true(host_complete(pkt[3].tid, NVSP_STATUS_SUCCESS));
	assert_int_equal(hvn_tx_burst(fx.txq, &m, 1), 1);
	/* What was killed in a burst has as many in flight as before. */
	fx.txq->txd->inside = dead_process();
	m = make_packet(7, 1700);
	assert_int_equal(hvn_tx_burst(fx.txq, &m, 1), 0);
	assert_int_equal(fx.txq->txd->inside, 0);
	assert_true(host_complete(pkt[0].tid, NVSP_STATUS_SUCCESS));
	assert_int_equal(hvn_tx_burst(fx.txq, &m, 1), 1);
	assert_int_equal(fx.txq->txd->segs, TX_DESC - segs[0] + 1);
	hvn_txq_reclaim(fx.txq);
	assert_int_equal(fx.txq->txd->segs, 0);
	assert_int_equal(rte_mempool_avail_count(fx.pool), POOL_SIZE);
}

/* A packet of more pieces than descriptors waits until the host reads nothing else, and is copied. */
static void
more_pieces_than_descriptors(void **state)
{
	const uint64_t tid = send_direct();
	struct rte_mbuf *m = make_chain(TX_DESC + 1);
	struct vmbus_ring_pkt pkt;

	RTE_SET_USED(state);
	assert_int_equal(hvn_tx_burst(fx.txq, &m, 1), 0);
	assert_true(host_complete(tid, NVSP_STATUS_SUCCESS));
	assert_int_equal(hvn_tx_burst(fx.txq, &m, 1), 1);
	assert_int_equal(host_peek(&pkt), 1);
	assert_int_equal(pkt.type, VMBUS_PKT_INBAND);
	host_release(&pkt);
	assert_int_equal(fx.txq->stats.errors, 0);
	assert_true(host_complete(pkt.tid, NVSP_STATUS_SUCCESS));
	assert_int_equal(hvn_tx_done_cleanup(fx.txq, 0), 0);
}

/* So many packets are freed as were asked for, and no more. */
static void
cleanup_some(void **state)
{
	uint64_t tid[5];
	struct rte_mbuf *m = make_packet(7, 60);
	struct vmbus_ring_pkt pkt;

	RTE_SET_USED(state);
	assert_int_equal(hvn_tx_done_cleanup(fx.txq, 0), 0);
	for (unsigned int i = 0; i < RTE_DIM(tid); i++) {
		tid[i] = send_direct();
		/* Its packet was freed when it was copied: it is none to free later. */
		if (i != 1)
			continue;
		assert_int_equal(hvn_tx_burst(fx.txq, &m, 1), 1);
		assert_int_equal(host_peek(&pkt), 1);
		assert_int_equal(pkt.type, VMBUS_PKT_INBAND);
		assert_true(host_complete(tid[0], NVSP_STATUS_SUCCESS));
		assert_true(host_complete(pkt.tid, NVSP_STATUS_SUCCESS));
		host_release(&pkt);
	}
	for (unsigned int i = 1; i < RTE_DIM(tid) - 1; i++)
		assert_true(host_complete(tid[i], NVSP_STATUS_SUCCESS));
	assert_int_equal(rte_mempool_avail_count(fx.pool), POOL_SIZE - 5);
	assert_int_equal(hvn_tx_done_cleanup(fx.txq, 1), 1);
	assert_int_equal(rte_mempool_avail_count(fx.pool), POOL_SIZE - 4);
	assert_int_equal(hvn_tx_done_cleanup(fx.txq, 2), 2);
	assert_int_equal(rte_mempool_avail_count(fx.pool), POOL_SIZE - 2);
	assert_int_equal(hvn_txd_used(fx.txq->txd), 2);
	assert_int_equal(hvn_tx_done_cleanup(fx.txq, 10), 1);
	assert_int_equal(hvn_tx_done_cleanup(fx.txq, 10), 0);
	assert_true(host_complete(tid[4], NVSP_STATUS_SUCCESS));
	assert_int_equal(hvn_tx_done_cleanup(fx.txq, 0), 1);
	assert_int_equal(rte_mempool_avail_count(fx.pool), POOL_SIZE);
	assert_int_equal(hvn_txd_used(fx.txq->txd), 0);
	assert_int_equal(fx.txq->txd->n_sect, SECTS);
	fx.port.removed = 1;
	assert_int_equal(hvn_tx_done_cleanup(fx.txq, 0), -EIO);
}

/* What a poll has found completed is done with, before the queue takes it back; it counts as freed. */
static void
found_by_a_poll(void **state)
{
	const uint64_t tid[4] = { send_direct(), send_direct(), send_direct(), send_direct() };
	const uint16_t in_flight = RTE_DIM(tid);

	RTE_SET_USED(state);
	assert_int_equal(hvn_tx_descriptor_status(fx.txq, TX_DESC - in_flight - 1),
			 RTE_ETH_TX_DESC_DONE);
	assert_int_equal(hvn_tx_descriptor_status(fx.txq, TX_DESC - in_flight),
			 RTE_ETH_TX_DESC_FULL);
	assert_int_equal(hvn_tx_descriptor_status(fx.txq, TX_DESC - 1), RTE_ETH_TX_DESC_FULL);
	assert_int_equal(hvn_tx_descriptor_status(fx.txq, TX_DESC), -EINVAL);
	assert_true(host_complete(tid[2], NVSP_STATUS_SUCCESS));
	assert_true(hvn_chan_scan(fx.ch) > 0);
	assert_int_equal(hvn_txd_used(fx.txq->txd), in_flight);
	assert_int_equal(hvn_tx_descriptor_status(fx.txq, TX_DESC - in_flight),
			 RTE_ETH_TX_DESC_DONE);
	assert_int_equal(hvn_tx_descriptor_status(fx.txq, TX_DESC - in_flight + 1),
			 RTE_ETH_TX_DESC_FULL);
	/* One found, two more to find, of which one was asked for. */
	assert_true(host_complete(tid[0], NVSP_STATUS_SUCCESS));
	assert_true(host_complete(tid[1], NVSP_STATUS_SUCCESS));
	assert_int_equal(hvn_tx_done_cleanup(fx.txq, 2), 2);
	assert_int_equal(hvn_tx_done_cleanup(fx.txq, 2), 1);
	assert_true(host_complete(tid[3], NVSP_STATUS_SUCCESS));
	assert_int_equal(hvn_tx_done_cleanup(fx.txq, 2), 1);
}

/* A completion counts when the host has published it, also where one of the same form stands before. */
static void
completed_before_published(void **state)
{
	const uint32_t nvsp[10] = { NVSP_RNDIS_COMPLETE, NVSP_STATUS_SUCCESS };
	const uint64_t tid[2] = { send_direct(), send_direct() };

	RTE_SET_USED(state);
	assert_true(host_complete(tid[0], NVSP_STATUS_SUCCESS));
	assert_int_equal(vmbus_ring_tx_put(&fx.host_tx, VMBUS_PKT_COMPLETION, VMBUS_PKT_F_RC,
					   tid[1], NULL, 0, nvsp, sizeof(nvsp)),
			 0);
	assert_int_equal(hvn_tx_done_cleanup(fx.txq, 0), 1);
	assert_int_equal(hvn_txd_used(fx.txq->txd), 1);
	vmbus_ring_tx_publish(&fx.host_tx);
	assert_int_equal(hvn_tx_done_cleanup(fx.txq, 0), 1);
	assert_int_equal(fx.ch->invalid[HVN_INV_COMPLETION], 0);
}

/* What statistics are made of. Whoever asks for them has the lock: without it nothing changes. */
struct view {
	const void *rxq, *txq;
	uint64_t rx_past, tx_past;
};

static struct view seen;
static bool watched;

static struct view
view(void)
{
	return (struct view){ fx.data.rx_queues[0], fx.data.tx_queues[0],
			      fx.port.rx_past[0].packets, fx.port.tx_past[0].packets };
}

void
hvn_telemetry_lock(void)
{
	const struct view now = view();

	if (watched)
		assert_memory_equal(&now, &seen, sizeof(now));
}

void
hvn_telemetry_unlock(void)
{
	seen = view();
}

static void
leave(void)
{
	hvn_telemetry_unlock();
	watched = true;
	hvn_leave(&fx.port);
	hvn_telemetry_lock();
	watched = false;
}

/* A process that is stopped in a burst on either queue: what it has is replaced, not touched. */
static void
stopped_inside(void **state)
{
	const pid_t pid = living_process();
	struct hvn_txq *txq = fx.txq;
	struct hvn_rxq *rxq = fx.rxq;
	struct rte_mbuf *m = make_packet(7, 60);

	fx.ch->in_lock.lock.owner = txq->txd->inside = (uint32_t)pid;
	RTE_SET_USED(state);
	assert_int_equal(hvn_tx_burst(txq, &m, 1), 0);
	rte_pktmbuf_free(m);
	assert_int_equal(hvn_txq_stop(txq, 1), -EBUSY);
	hvn_rxq_stop(rxq);
	fx.port.running = false;
	assert_true(hvn_leave_needed(&fx.port));
	leave();
	assert_true(fx.ch->left && fx.vc.kept);
	fx.rxq = fx.data.rx_queues[0];
	fx.txq = fx.data.tx_queues[0];
	assert_ptr_not_equal(fx.rxq, rxq);
	assert_ptr_not_equal(fx.txq, txq);
	assert_ptr_not_equal(fx.txq->txd, txq->txd);
	assert_int_equal(fx.txq->txd->inside, 0);
	assert_int_equal(txq->txd->inside, pid);
	assert_ptr_equal(txq->chan, fx.ch);
	assert_int_equal(fx.rxq->buf_len, rxq->buf_len);
	/* Nobody else comes in any more, and the dead can be cleaned up after. */
	assert_false(hvn_biased_try(&fx.ch->out_lock));
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	hvn_txd_free(txq->txd);
	rte_free(txq);
	rte_free(rxq);
}

static bool no_memory;
void *__real_rte_malloc_socket(const char *type, size_t size, unsigned int align, int socket);
void *__wrap_rte_malloc_socket(const char *type, size_t size, unsigned int align, int socket);

void *
__wrap_rte_malloc_socket(const char *type, size_t size, unsigned int align, int socket)
{
	return no_memory ? NULL : __real_rte_malloc_socket(type, size, align, socket);
}

/* Without memory for others there are no queues any more, but what they counted. */
static void
stopped_inside_without_memory(void **state)
{
	const pid_t pid = living_process();
	struct hvn_txq *txq = fx.txq;
	struct hvn_rxq *rxq = fx.rxq;

	RTE_SET_USED(state);
	fx.ch->in_lock.lock.owner = txq->txd->inside = (uint32_t)pid;
	rxq->stats.packets = txq->stats.packets = 7;
	rxq->base.packets = txq->base.packets = 2;
	no_memory = true;
	leave();
	no_memory = false;
	assert_null(fx.data.rx_queues[0]);
	assert_null(fx.data.tx_queues[0]);
	assert_int_equal(fx.port.rx_past[0].packets, 5);
	assert_int_equal(fx.port.tx_past[0].packets, 5);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	fx.rxq = NULL;
	fx.txq = NULL;
	hvn_txd_free(txq->txd);
	rte_free(txq);
	rte_free(rxq);
}

/* Queues that a stopped process has are released, but not freed; one that died is no such process. */
static void
released_inside(void **state)
{
	const pid_t pid = living_process();
	struct hvn_txq *txq = fx.txq;
	struct hvn_rxq *rxq = fx.rxq;

	RTE_SET_USED(state);
	fx.ch->in_lock.lock.owner = txq->txd->inside = (uint32_t)pid;
	hvn_rx_queue_release(&fx.dev, 0);
	hvn_tx_queue_release(&fx.dev, 0);
	fx.rxq = NULL;
	assert_true(rxq->left && txq->released);
	assert_true(hvn_txq_free_released(&fx.port, 0, false));
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_true(hvn_txd_repair(txq));
	assert_false(hvn_txq_free_released(&fx.port, 0, false));
	rte_free(rxq);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(released, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(refused, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(released_while_stopped, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(no_section, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(stopped, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(forged_completion, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(mbufs_in_flight, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(more_pieces_than_descriptors, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(cleanup_some, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(found_by_a_poll, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(completed_before_published, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(stopped_inside, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(stopped_inside_without_memory, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(released_inside, fx_big, fx_close),
	};

	if (fx_eal() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
