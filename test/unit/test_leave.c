/* SPDX-License-Identifier: BSD-3-Clause */
/* What a process that is stopped inside a burst uses is left to it; nothing else is. */
#include "datapath_fixture.h"

#include "hvn_leave.h"

static struct hvn_rxq *old_rxq;
static struct hvn_txq *old_txq;

static int
open_port(void **state)
{
	fx_big(state);
	fx.port.secondaries = 1;
	old_rxq = fx.rxq;
	old_txq = fx.txq;
	return 0;
}

/* Of a world of its own: nobody can tell whether it runs. */
static uint32_t
somebody(void)
{
	return (uint32_t)getppid() | HVN_PROCESS_ALIEN;
}

static void
expect_replaced(bool rx, bool tx)
{
	struct hvn_rxq *rxq = fx.data.rx_queues[0];
	struct hvn_txq *txq = fx.data.tx_queues[0];

	assert_int_equal(rxq != old_rxq, rx);
	assert_int_equal(txq != old_txq, tx);
	fx.rxq = rxq;
	fx.txq = txq;
	if (rx) {
		assert_false(rxq->started);
		assert_null(rxq->chan);
		assert_int_equal(rxq->path.busy | rxq->asking.owner, 0);
		assert_int_equal(rxq->path.vf_port, RTE_MAX_ETHPORTS);
		assert_ptr_equal(rxq->pool, old_rxq->pool);
		/* Its next burst is not on the VF. */
		assert_int_equal(old_rxq->path.vf_port, RTE_MAX_ETHPORTS);
		rte_free(old_rxq);
	}
	if (tx) {
		assert_false(txq->started);
		assert_null(txq->chan);
		assert_int_equal(txq->path.busy | txq->asking.owner, 0);
		assert_int_equal(txq->path.vf_port, RTE_MAX_ETHPORTS);
		assert_ptr_not_equal(txq->txd, old_txq->txd);
		assert_int_equal(old_txq->path.vf_port, RTE_MAX_ETHPORTS);
		hvn_txd_free(old_txq->txd);
		rte_free(old_txq);
	}
}

/* Everybody has heard of the stop: nobody comes in any more. */
static void
nobody(void **state)
{
	RTE_SET_USED(state);
	hvn_leave(&fx.port);
	expect_replaced(false, false);
	assert_false(fx.ch->left || fx.vc.kept);
	assert_false(hvn_biased_try(&fx.ch->in_lock));
	assert_false(hvn_biased_try(&fx.ch->out_lock));
}

static void
receives(void **state)
{
	pid_t pid = living_process();

	RTE_SET_USED(state);
	for (uint16_t tx = 0; tx < 2; tx++) {
		fx.data.nb_tx_queues = tx;
		fx.ch->in_lock.lock.owner = (uint32_t)pid;
		hvn_leave(&fx.port);
		assert_true(fx.ch->left && fx.vc.kept);
		/* It takes completions as well. */
		expect_replaced(true, tx);
		assert_int_equal(fx.port.n_left_on_vf, 0);
		fx_close(NULL);
		open_port(NULL);
	}
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void
sends(void **state)
{
	RTE_SET_USED(state);
	old_txq->txd->inside = somebody();
	hvn_leave(&fx.port);
	assert_true(fx.ch->left && fx.vc.kept);
	expect_replaced(false, true);
	assert_int_equal(fx.port.n_left_on_vf, 0);
}

/* The marks are kept in mind: until they are gone, the VF is not had back. */
static void
expect_left(const uint32_t *mark)
{
	assert_int_equal(fx.port.n_left_on_vf, 1);
	assert_ptr_equal(fx.port.left_on_vf[0], mark);
}

static void
on_vf(void **state)
{
	RTE_SET_USED(state);
	for (unsigned int i = 0; i < 4; i++) {
		struct hvn_queue_path *path = i < 2 ? &old_rxq->path : &old_txq->path;
		struct hvn_lock *asking = i < 2 ? &old_rxq->asking : &old_txq->asking;
		uint32_t *mark = i % 2 ? &asking->owner : &path->busy;

		path->vf_port = 7;
		*mark = somebody();
		hvn_leave(&fx.port);
		expect_left(mark);
		expect_replaced(i < 2, i >= 2);
		assert_int_equal(fx.ch->left, i >= 2);
		fx_close(NULL);
		open_port(NULL);
	}
}

/* Channels of former sessions go when every process has heard of the session's end. */
static void
channels(void **state)
{
	struct hvn_chan *ch;

	RTE_SET_USED(state);
	for (unsigned int unheard = 0; unheard < 2; unheard++) {
		assert_int_equal(hvn_chan_create(&fx.port, &fx.vc2, &ch), 0);
		hvn_leave_chan(&fx.port, ch);
		assert_ptr_equal(fx.port.shut, ch);
		fx.port.unheard = unheard;
		fx.port.n_chans = 0;
		hvn_leave(&fx.port);
		assert_ptr_equal(fx.port.shut, unheard ? ch : NULL);
	}
	fx.port.unheard = false;
	hvn_leave(&fx.port);
	assert_null(fx.port.shut);
	fx.port.secondaries = 0;
	assert_int_equal(hvn_chan_create(&fx.port, &fx.vc2, &ch), 0);
	hvn_leave_chan(&fx.port, ch);
	assert_null(fx.port.shut);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nobody, open_port, fx_close),
		cmocka_unit_test_setup_teardown(receives, open_port, fx_close),
		cmocka_unit_test_setup_teardown(sends, open_port, fx_close),
		cmocka_unit_test_setup_teardown(on_vf, open_port, fx_close),
		cmocka_unit_test_setup_teardown(channels, open_port, fx_close),
	};

	if (fx_eal() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
