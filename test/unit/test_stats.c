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
static struct rte_eth_stats of_vf;
static uint64_t late_answers;
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
	return late_answers;
}

/* The VF's, which may be a port of ours: that takes the lock. */
int
rte_eth_stats_get(uint16_t port, struct rte_eth_stats *stats)
{
	(void)port;
	vf_asked++;
	vf_asked_outside += inside == 0;
	*stats = of_vf;
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

/* What the port tells by name is this, and no more. */
static void
expect_each(const uint64_t *value, const char *const *name, unsigned int want)
{
	struct rte_eth_xstat_name names[100];
	struct rte_eth_xstat x[100];
	int n = hvn_xstats_get_names(&fx.dev, names, RTE_DIM(names));

	assert_int_equal(n, want);
	assert_int_equal(hvn_xstats_get(&fx.dev, x, RTE_DIM(x)), n);
	for (int i = 0; i < n; i++) {
		unsigned int at = 0;

		while (at < want && strcmp(names[i].name, name[at]) != 0)
			at++;
		if (at == want || x[i].id != (uint64_t)i ||
		    x[i].value != (value == NULL ? 0 : value[at]))
			fail_msg("%s is %" PRIu64, names[i].name, x[i].value);
	}
}

/* Each counter has its own name, and its place in the basic statistics; a reset makes all of them 0. */
static void
each(void **state)
{
	static const struct {
		const char *name;
		uint64_t value;
	} all[] = {
		{ "rx_q0_packets", 1 },
		{ "rx_q0_bytes", 2 },
		{ "rx_q0_errors", 3 },
		{ "rx_q0_nombuf", 4 },
		{ "rx_q0_dropped", 5 },
		{ "rx_q0_multicast", 6 },
		{ "rx_q0_broadcast", 7 },
		{ "rx_q0_messages", 8 },
		{ "rx_q0_external", 9 },
		{ "tx_q0_packets", 11 },
		{ "tx_q0_bytes", 12 },
		{ "tx_q0_errors", 13 },
		{ "tx_q0_ring_full", 14 },
		{ "tx_q0_section_full", 15 },
		{ "tx_q0_desc_full", 16 },
		{ "tx_q0_messages", 17 },
		{ "tx_q0_copied", 18 },
		{ "tx_q0_direct", 19 },
		{ "tx_q0_completions", 20 },
		{ "tx_q0_failed", 21 },
		{ "invalid_descriptor", 31 },
		{ "invalid_packet_type", 32 },
		{ "invalid_nvsp", 33 },
		{ "invalid_transfer", 34 },
		{ "invalid_range", 35 },
		{ "invalid_rndis", 36 },
		{ "invalid_completion", 37 },
		{ "invalid_rsc", 38 },
		{ "rx_signals", 41 },
		{ "tx_signals", 42 },
		{ "rx_untaken_packets", 43 },
		{ "ctrl_late_answers", 44 },
		{ "recoveries", 45 },
		{ "path_switches_to_vf", 51 },
		{ "path_switches_to_synthetic", 52 },
		{ "path_switches_planned", 53 },
		{ "path_switches_surprise", 54 },
		{ "path_switches_failed", 55 },
		{ "path_switch_last_ns", 56 },
		{ "path_switch_longest_ns", 57 },
		{ "vf_rx_packets", 61 },
		{ "vf_rx_bytes", 62 },
		{ "vf_rx_missed", 63 },
		{ "vf_rx_nombuf", 64 },
		{ "vf_rx_errors", 65 },
		{ "vf_tx_packets", 66 },
		{ "vf_tx_bytes", 67 },
		{ "vf_tx_errors", 68 },
		{ "path_is_vf", 0 }, /* no counter */
	};
	struct hvn_vf vf = {
		.p = &fx.port,
		.counting = true,
		.count = { .to_vf = 51,
			   .to_synthetic = 52,
			   .planned = 53,
			   .surprise = 54,
			   .failed = 55,
			   .last_ns = 56,
			   .longest_ns = 57 },
	};
	const struct rte_eth_stats none = { 0 };
	const char *name[RTE_DIM(all)];
	uint64_t value[RTE_DIM(all)];
	struct rte_eth_stats s = { 0 };

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(all); i++) {
		name[i] = all[i].name;
		value[i] = all[i].value;
	}
	fx.rxq->stats = (struct hvn_rx_stats){ .packets = 1,
					       .bytes = 2,
					       .errors = 3,
					       .nombuf = 4,
					       .dropped = 5,
					       .multicast = 6,
					       .broadcast = 7,
					       .messages = 8,
					       .external = 9 };
	fx.txq->stats = (struct hvn_tx_stats){ .packets = 11,
					       .bytes = 12,
					       .errors = 13,
					       .ring_full = 14,
					       .section_full = 15,
					       .desc_full = 16,
					       .messages = 17,
					       .copied = 18,
					       .direct = 19,
					       .completions = 20,
					       .failed = 21 };
	for (unsigned int i = 0; i < HVN_INV_COUNT; i++)
		fx.ch->invalid[i] = 31 + i;
	fx.ch->in_signals = 41;
	fx.ch->out_signals = 42;
	fx.ch->dropped = 43;
	late_answers = 44;
	fx.port.recoveries = 45;
	of_vf = (struct rte_eth_stats){ .ipackets = 61,
					.ibytes = 62,
					.imissed = 63,
					.rx_nombuf = 64,
					.ierrors = 65,
					.opackets = 66,
					.obytes = 67,
					.oerrors = 68,
					.q_ipackets = { 71 },
					.q_ibytes = { 72 },
					.q_errors = { 73 },
					.q_opackets = { 74 },
					.q_obytes = { 75 } };
	fx.port.vf = &vf;
	expect_each(value, name, RTE_DIM(all));
	assert_int_equal(hvn_stats_get(&fx.dev, &s), 0);
	assert_int_equal(s.ipackets, 1 + 61);
	assert_int_equal(s.ibytes, 2 + 62);
	assert_int_equal(s.imissed, 5 + 43 + 63);
	assert_int_equal(s.rx_nombuf, 4 + 64);
	assert_int_equal(s.ierrors, 3 + 65);
	assert_int_equal(s.opackets, 11 + 66);
	assert_int_equal(s.obytes, 12 + 67);
	assert_int_equal(s.oerrors, 13 + 21 + 68);
	assert_int_equal(s.q_ipackets[0], 1 + 71);
	assert_int_equal(s.q_ibytes[0], 2 + 72);
	assert_int_equal(s.q_errors[0], 3 + 73);
	assert_int_equal(s.q_opackets[0], 11 + 74);
	assert_int_equal(s.q_obytes[0], 12 + 75);
	assert_int_equal(hvn_stats_reset(&fx.dev), 0);
	expect_each(NULL, name, RTE_DIM(all));
	memset(&s, 0, sizeof(s));
	assert_int_equal(hvn_stats_get(&fx.dev, &s), 0);
	assert_memory_equal(&s, &none, sizeof(s));
	fx.port.vf = NULL;
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
	of_vf = (struct rte_eth_stats){ .ipackets = 5 };
	vf_asked = 0;
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
		cmocka_unit_test_setup_teardown(each, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(released, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(closed, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(order_of_locks, fx_big, fx_close),
	};

	if (sched_getaffinity(0, sizeof(others), &others) != 0 || fx_eal() != 0)
		return 1;
	CPU_CLR(rte_lcore_to_cpu_id(0), &others);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
