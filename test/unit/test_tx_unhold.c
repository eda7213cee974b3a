/* SPDX-License-Identifier: BSD-3-Clause */
/* Packets that wait for the next burst, and who does not let them: others, sleep, a stop, an end. */
#include "tx_hold_fixture.h"

#include <pthread.h>

#include "hvn_intr.h"

/* Interrupts of the bus, as far as they are asked for. */
int
hv_vmbus_intr_enable(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan)
{
	(void)dev, (void)chan;
	return 0;
}

int
hv_vmbus_intr_disable(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan)
{
	(void)dev, (void)chan;
	return 0;
}

void
hv_vmbus_intr_ack(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan)
{
	(void)dev, (void)chan;
}

int
hv_vmbus_intr_fd(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan)
{
	(void)dev, (void)chan;
	return -ENOTSUP;
}

static void *
poll_there(void *arg)
{
	receive();
	return arg;
}

/* Another thread receives: it would have to take turns at the ring with this one. */
static void
two_threads(void **state)
{
	pthread_t t;

	(void)state;
	get_behind();
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(pthread_create(&t, NULL, poll_there, NULL), 0);
		pthread_join(t, NULL);
		assert_int_equal(fx.ch->tx_looker, 0);
		assert_true(send_next());
		assert_false(hvn_tx_held(fx.ch));
		assert_int_equal(fx.ch->tx_looker, 0);
	}
	expect_all();
}

/* Where others could be left with it, or where the ring is to be emptied, nothing waits. */
static void
not_alone(void **state)
{
	struct rte_mbuf *m;

	(void)state;
	get_behind();
	receive();
	fx.port.secondaries = 1;
	assert_true(send_next());
	assert_false(hvn_tx_held(fx.ch));
	fx.port.secondaries = 0;
	receive();
	fx.txq->path.vf_port = 5;
	m = make_packet(sent_id++, LEN);
	assert_int_equal(hvn_tx_synthetic(fx.txq, &m, 1), 1);
	fx.txq->path.vf_port = RTE_MAX_ETHPORTS;
	assert_false(hvn_tx_held(fx.ch));
	receive();
	assert_true(send_next());
	assert_true(hvn_tx_held(fx.ch));
	/* One came, or a VF, while something waits: it goes with the next burst, and not before. */
	fx.port.secondaries = 1;
	for (uint32_t i = 0; i < 3; i++)
		look();
	assert_true(hvn_tx_held(fx.ch));
	assert_true(send_next());
	assert_false(hvn_tx_held(fx.ch));
	fx.port.secondaries = 0;
	receive();
	assert_true(send_next());
	assert_true(hvn_tx_held(fx.ch));
	/* What turns a queue to the VF waits until nothing is in the ring. */
	assert_true(hvn_tx_reclaim(fx.txq) != 0);
	assert_false(hvn_tx_held(fx.ch));
	expect_all();
}

/* With fewer channels than queues some share one: only the channel's own holds anything. */
static struct hvn_txq *
second_queue(void)
{
	const struct rte_eth_txconf conf = { .tx_free_thresh = 16 };

	assert_int_equal(hvn_txq_stop(fx.txq, 0), 0);
	fx.data.nb_tx_queues = 2;
	assert_int_equal(hvn_txq_start(fx.txq), 0);
	assert_int_equal(hvn_tx_queue_setup(&fx.dev, 1, TX_DESC, SOCKET_ID_ANY, &conf), 0);
	assert_int_equal(hvn_txq_start(fx.data.tx_queues[1]), 0);
	return fx.data.tx_queues[1];
}

static void
end_second_queue(void)
{
	assert_int_equal(hvn_txq_stop(fx.data.tx_queues[1], 100), 0);
	hvn_tx_queue_release(&fx.dev, 1);
	fx.data.nb_tx_queues = 1;
}

static void
send_by(struct hvn_txq *q)
{
	struct rte_mbuf *m = make_packet(sent_id++, LEN);

	assert_int_equal(hvn_tx_burst(q, &m, 1), 1);
}

/* Who goes to sleep, and the control thread, have it sent; but not another queue's. */
static void
flushed(void **state)
{
	struct hvn_txq *q;
	uint32_t before;

	(void)state;
	q = second_queue();
	get_behind();
	receive();
	send_by(q);
	assert_false(hvn_tx_held(fx.ch));
	host_takes_all();
	look();
	hold_one();
	before = unread();
	hvn_tx_flush(q);
	hvn_tx_unhold(q);
	end_second_queue();
	assert_true(hvn_tx_held(fx.ch));
	assert_int_equal(unread(), before);
	hvn_tx_flush_chan(fx.ch);
	assert_false(hvn_tx_held(fx.ch));
	assert_int_equal(unread(), before + MESSAGE);
	hvn_tx_flush_chan(fx.ch);
	assert_int_equal(unread(), before + MESSAGE);
	expect_all();
}

/* Another queue goes on: what waits in this one does not wait for it. */
static void
neighbour(void **state)
{
	struct hvn_txq *q;

	(void)state;
	q = second_queue();
	hold_one();
	look();
	/* It may be in front of that one: the same frame, so that its place does not matter. */
	sent_id--;
	send_by(q);
	look();
	assert_false(hvn_tx_held(fx.ch));
	host_takes_others();
	assert_int_equal(host_takes(), 1);
	taken_id--;
	assert_int_equal(host_takes(), 1);
	look();
	end_second_queue();
	expect_silence();
}

/* What this queue has seen of the host is nothing that it knows when the other has made it slow. */
static void
neighbour_was_slow(void **state)
{
	struct hvn_txq *q;

	(void)state;
	q = second_queue();
	get_behind();
	host_takes_all();
	look();
	for (uint32_t i = 0; i <= ENOUGH; i++)
		send_by(q);
	send_by(fx.txq);
	assert_false(hvn_tx_held(fx.ch));
	host_takes_all();
	look();
	end_second_queue();
	expect_all();
}

/* Who is about to sleep looks no more. */
static void
asleep(void **state)
{
	struct rte_power_monitor_cond cond;

	(void)state;
	hold_one();
	fx.dev.process_private = state; /* interrupts are set up */
	assert_int_equal(hvn_intr_enable(&fx.dev, 0), 0);
	fx.dev.process_private = NULL;
	assert_false(hvn_tx_held(fx.ch));
	host_takes_all();
	look();
	hold_one();
	assert_int_equal(hvn_intr_monitor_addr(fx.rxq, &cond), 0);
	assert_false(hvn_tx_held(fx.ch));
	host_takes_all();
	look();
	/* Its last look was before that. */
	for (uint32_t i = 0; i < 2; i++) {
		get_behind();
		receive();
		if (i == 0) {
			assert_int_equal(hvn_intr_monitor_addr(fx.rxq, &cond), 0);
		} else {
			fx.dev.process_private = state;
			assert_int_equal(hvn_intr_enable(&fx.dev, 0), 0);
			fx.dev.process_private = NULL;
		}
		assert_true(send_next());
		assert_false(hvn_tx_held(fx.ch));
		host_takes_all();
		look();
	}
	expect_all();
}

/* The receive queue goes to another thread, in the middle of a burst. */
int __real_vmbus_ring_tx_refresh(struct vmbus_ring *r, uint32_t rindex);
int __wrap_vmbus_ring_tx_refresh(struct vmbus_ring *r, uint32_t rindex);
static bool move_now;

static void *
look_there(void *arg)
{
	look();
	return arg;
}

int
__wrap_vmbus_ring_tx_refresh(struct vmbus_ring *r, uint32_t rindex)
{
	pthread_t t;

	if (move_now) {
		move_now = false;
		assert_int_equal(pthread_create(&t, NULL, look_there, NULL), 0);
		pthread_join(t, NULL);
	}
	return __real_vmbus_ring_tx_refresh(r, rindex);
}

static void
moved_meanwhile(void **state)
{
	(void)state;
	get_behind();
	assert_true(send_next());
	receive();
	host_takes();
	move_now = true;
	assert_true(send_next());
	assert_false(move_now);
	assert_false(hvn_tx_held(fx.ch));
	expect_all();
}

static bool host_ends;

static void *
host_runs(void *arg)
{
	while (!__atomic_load_n(&host_ends, __ATOMIC_ACQUIRE))
		host_takes_all();
	return arg;
}

/* A queue that stops sends it first; where the host leaves no room it is counted as lost. */
static void
stopped(void **state)
{
	pthread_t host;

	(void)state;
	hold_one();
	assert_int_equal(pthread_create(&host, NULL, host_runs, NULL), 0);
	assert_int_equal(hvn_txq_stop(fx.txq, 5000), 0);
	__atomic_store_n(&host_ends, true, __ATOMIC_RELEASE);
	pthread_join(host, NULL);
	assert_int_equal(taken_id, sent_id);
	assert_int_equal(hvn_txq_start(fx.txq), 0);
	/* Also where it had no time to. */
	hold_one();
	hvn_tx_unhold(fx.txq);
	assert_false(hvn_tx_held(fx.ch));
	host_takes_all();
	look();
	hold_one();
	assert_int_equal(hvn_txq_stop(fx.txq, 0), -EBUSY);
	assert_false(hvn_tx_held(fx.ch));
	assert_int_equal(fx.txq->stats.errors, 0);
	host_takes_all();
	assert_int_equal(taken_id, sent_id);
	assert_int_equal(hvn_txq_stop(fx.txq, 100), 0);
	assert_int_equal(hvn_txq_start(fx.txq), 0);
	hold_one();
	fx.vc.tx.error = -EIO;
	fx.vc.tx.peer = vmbus_ring_wrap(&fx.vc.tx, fx.vc.tx.index + 8);
	for (uint32_t i = 0; i < 3; i++)
		look();
	assert_true(hvn_tx_held(fx.ch));
	assert_int_equal(fx.ch->tx_looker, 0);
	assert_int_equal(hvn_txq_stop(fx.txq, 0), -EBUSY);
	assert_false(hvn_tx_held(fx.ch));
	assert_int_equal(fx.txq->stats.errors, 1);
	assert_int_equal(hvn_txd_used(fx.txq->txd), ENOUGH);
}

/* It may be all there is. */
static void
stopped_empty(void **state)
{
	(void)state;
	hold_one();
	host_takes_all();
	fx.port.removed = 1;
	fx.vc.tx.error = -EIO;
	while (vmbus_ring_rx_ready(&fx.vc.rx))
		assert_int_not_equal(hvn_tx_completed_run(fx.ch), 0);
	hvn_txd_harvest(fx.txq);
	assert_int_equal(hvn_txd_used(fx.txq->txd), 1);
	assert_int_equal(hvn_txq_stop(fx.txq, 0), 0);
	assert_int_equal(fx.txq->stats.errors, 1);
}

/* A process that took the queue over is killed: what waited is gone with it. */
static void
killed(void **state)
{
	struct rte_mbuf *m[8];

	(void)state;
	hold_one();
	fx.txq->txd->inside = dead_process();
	for (uint32_t i = 0; i < RTE_DIM(m); i++)
		m[i] = make_packet(sent_id + i, LEN);
	assert_int_equal(hvn_tx_burst(fx.txq, m, RTE_DIM(m)), RTE_DIM(m));
	assert_false(hvn_tx_held(fx.ch));
	assert_int_equal(hvn_txd_used(fx.txq->txd), ENOUGH + 1);
	host_takes_others();
	taken_id++;
	assert_int_equal(host_takes(), 8);
	expect_silence();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(two_threads),     TEST(not_alone), TEST(flushed),
		TEST(asleep),	       TEST(neighbour), TEST(neighbour_was_slow),
		TEST(moved_meanwhile), TEST(stopped),	TEST(stopped_empty),
		TEST(killed),
	};

	if (fx_eal() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
