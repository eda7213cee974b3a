/* SPDX-License-Identifier: BSD-3-Clause */
/* Statistics are asked for at any time, by any thread: while queues and channels come and go too. */
#include <pthread.h>
#include <sched.h>

#define FX_TELEMETRY
#include "datapath_fixture.h"

#include "hvn_stats.h"
#include "hvn_telemetry.h"
#include "hvn_vf.h"

#define ASKED 100000u

static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static unsigned int inside; /* the lock */
static unsigned int vf_asked, vf_asked_outside;
static bool over;
static cpu_set_t others; /* CPUs that are not lcore 0's */

void
hvn_telemetry_lock(void)
{
	pthread_mutex_lock(&lock);
	inside++;
}

void
hvn_telemetry_unlock(void)
{
	inside--;
	pthread_mutex_unlock(&lock);
}

uint64_t
hvn_ctrl_late(const struct hvn_port *p)
{
	(void)p;
	return 0;
}

/* The VF's, which may be a port of ours: that takes the lock. */
int
rte_eth_stats_get(uint16_t port, struct rte_eth_stats *stats)
{
	(void)port;
	vf_asked++;
	vf_asked_outside += inside == 0;
	memset(stats, 0, sizeof(*stats));
	stats->ipackets = 5;
	return 0;
}

/* What ethdev's telemetry thread does; counts the answers that are wrong. */
static void *
ask(void *arg)
{
	struct rte_eth_stats last = { 0 }, s;
	uint64_t *wrong = arg;

	if (CPU_COUNT(&others) != 0)
		pthread_setaffinity_np(pthread_self(), sizeof(others), &others);
	for (uint32_t i = 0; i < ASKED; i++) {
		memset(&s, 0, sizeof(s));
		*wrong += hvn_stats_get(&fx.dev, &s) != 0 || s.ipackets < last.ipackets ||
			  s.opackets < last.opackets || s.imissed < last.imissed;
		last = s;
	}
	__atomic_store_n(&over, true, __ATOMIC_RELEASE);
	return NULL;
}

/* As the driver does it. */
static void
queues_anew(void)
{
	const struct rte_eth_txconf tx = { .tx_free_thresh = 16 };
	const struct rte_eth_rxconf rx = { 0 };

	hvn_telemetry_lock();
	hvn_rx_queue_release(&fx.dev, 0);
	hvn_tx_queue_release(&fx.dev, 0);
	hvn_telemetry_unlock();
	hvn_telemetry_lock();
	assert_int_equal(hvn_rx_queue_setup(&fx.dev, 0, 64, 0, &rx, fx.pool), 0);
	assert_int_equal(hvn_tx_queue_setup(&fx.dev, 0, TX_DESC, 0, &tx), 0);
	hvn_telemetry_unlock();
	fx.rxq = fx.data.rx_queues[0];
	fx.txq = fx.data.tx_queues[0];
}

static void
channel_anew(void)
{
	hvn_telemetry_lock();
	hvn_stats_channel_gone(&fx.port, fx.ch);
	fx.port.hidden = true;
	hvn_telemetry_unlock();
	hvn_telemetry_lock();
	fx.port.n_chans = 0;
	fx.port.chan[0] = NULL;
	fx.port.hidden = false;
	hvn_telemetry_unlock();
	fx.ch->dropped = 0;
	fx.port.chan[0] = fx.ch;
	fx.port.n_chans = 1;
}

static void
monotonic(void **state)
{
	struct rte_eth_stats s = { 0 };
	uint64_t wrong = 0, rounds;
	pthread_t thread;

	(void)state;
	fx.data.mtu = 1500;
	assert_int_equal(pthread_create(&thread, NULL, ask, &wrong), 0);
	for (rounds = 0; !__atomic_load_n(&over, __ATOMIC_ACQUIRE); rounds++) {
		fx.rxq->stats.packets++;
		fx.txq->stats.packets++;
		fx.ch->dropped++;
		queues_anew();
		channel_anew();
	}
	pthread_join(thread, NULL);
	assert_int_equal(hvn_stats_get(&fx.dev, &s), 0);
	assert_int_equal(s.ipackets, rounds);
	assert_int_equal(s.opackets, rounds);
	assert_int_equal(s.imissed, rounds);
	assert_int_equal(s.q_ipackets[0], rounds);
	assert_int_equal(wrong, 0);
	assert_int_not_equal(rounds, 0);
}

/* What queue 0 has counted as completed. */
static uint64_t
completions(void)
{
	struct rte_eth_xstat_name names[100];
	struct rte_eth_xstat x[100];
	int n = hvn_xstats_get_names(&fx.dev, names, RTE_DIM(names));

	assert_int_equal(hvn_xstats_get(&fx.dev, x, RTE_DIM(x)), n);
	for (int i = 0; i < n; i++)
		if (strcmp(names[i].name, "tx_q0_completions") == 0)
			return x[i].value;
	return UINT64_MAX;
}

/* Every name is there once, and has the form that DPDK's guide asks for. */
static void
named(void **state)
{
	struct rte_eth_xstat_name names[100];
	int n = hvn_xstats_get_names(&fx.dev, names, RTE_DIM(names));

	(void)state;
	assert_in_range(n, 40, RTE_DIM(names));
	for (int i = 0; i < n; i++) {
		const char *s = names[i].name;

		assert_in_range(strlen(s), 1, RTE_ETH_XSTATS_NAME_SIZE - 1);
		assert_int_equal(strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_"), strlen(s));
		for (int j = 0; j < i; j++)
			assert_string_not_equal(s, names[j].name);
	}
}

/* A queue that was released while the host held its packets counts on, from a reset again at zero. */
static void
released(void **state)
{
	const struct rte_eth_txconf tx = { .tx_free_thresh = 16 };
	const uint64_t tid[] = { send_direct(), send_direct(), send_direct() };

	(void)state;
	assert_true(host_complete(tid[0], NVSP_STATUS_SUCCESS));
	assert_true(hvn_chan_scan(fx.ch) > 0);
	hvn_tx_queue_release(&fx.dev, 0);
	assert_int_equal(completions(), 1);
	assert_true(host_complete(tid[1], NVSP_STATUS_SUCCESS));
	assert_true(hvn_chan_scan(fx.ch) > 0);
	assert_int_equal(completions(), 2);
	assert_int_equal(hvn_stats_reset(&fx.dev), 0);
	assert_int_equal(completions(), 0);
	assert_true(host_complete(tid[2], NVSP_STATUS_SUCCESS));
	assert_int_equal(hvn_tx_queue_setup(&fx.dev, 0, TX_DESC, 0, &tx), 0);
	assert_int_equal(completions(), 1);
}

/* A process that is slower than the close of the port. */
static void
closed(void **state)
{
	struct rte_eth_xstat x[100] = { { 0 } };
	struct rte_eth_stats s = { 0 };

	(void)state;
	fx.data.dev_private = NULL;
	assert_int_equal(hvn_stats_get(&fx.dev, &s), -ENODEV);
	assert_int_equal(hvn_xstats_get(&fx.dev, x, RTE_DIM(x)), -ENODEV);
	assert_int_equal(hvn_stats_reset(&fx.dev), -ENODEV);
	fx.data.dev_private = &fx.port;
	fx.dev.data = NULL;
	assert_int_equal(hvn_stats_get(&fx.dev, &s), -ENODEV);
	assert_int_equal(hvn_stats_reset(&fx.dev), -ENODEV);
	fx.dev.data = &fx.data;
	assert_int_equal(hvn_stats_get(&fx.dev, &s), 0);
	assert_true(hvn_xstats_get(&fx.dev, x, RTE_DIM(x)) > 0);
	fx.port.closed = true;
	assert_int_equal(hvn_stats_get(&fx.dev, &s), -ENODEV);
	assert_int_equal(hvn_xstats_get(&fx.dev, x, RTE_DIM(x)), -ENODEV);
}

/* Whoever has the lock of a VF's statistics waits for none that is held by who waits for that one. */
static void
order_of_locks(void **state)
{
	static struct hvn_vf vf = { .counting = true };
	struct rte_eth_stats s = { 0 };

	(void)state;
	vf.p = &fx.port;
	fx.port.vf = &vf;
	assert_int_equal(hvn_stats_get(&fx.dev, &s), 0);
	assert_int_equal(s.ipackets, 5);
	hvn_vf_stats_end(&vf);
	assert_int_equal(vf_asked, 2);
	assert_int_equal(vf_asked_outside, 0);
	memset(&s, 0, sizeof(s));
	assert_int_equal(hvn_stats_get(&fx.dev, &s), 0);
	assert_int_equal(s.ipackets, 5);
	assert_int_equal(hvn_stats_reset(&fx.dev), 0);
	assert_int_equal(vf_asked, 2);
	fx.port.vf = NULL;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(monotonic, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(named, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(released, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(closed, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(order_of_locks, fx_big, fx_close),
	};

	if (sched_getaffinity(0, sizeof(others), &others) != 0 || fx_eal() != 0)
		return 1;
	CPU_CLR(rte_lcore_to_cpu_id(0), &others);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
