/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A process is killed in a burst, at many of its instructions in turn; then others use the queue.
 *
 * The burst is single-stepped. At each step the test is forked, and the child leaves the burst for good
 * by a jump out of the step's signal: its registers and its stack are gone, what it had stored is there.
 * To the locks it was a process that has ended since. As in a real one its lcore is nobody else's, and
 * its mempool cache serves it without the shared ring, in which DPDK itself leaves others waiting.
 */
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#include "datapath_fixture.h"
#include "hvn_path_inline.h"
#include "hvn_rx.h"
#include "hvn_tx.h"

#define VICTIM	 3u		    /* lcore */
#define VF	 3u		    /* port */
#define STEP	 (UINT64_C(1) << 8) /* of the processor's flags: trap after each instruction */
#define MESSAGES 2u
#define FRAMES	 2u /* a message */
#define SENT	 3u
/* Of so many instructions one: all take a minute on a busy machine, and more with sanitizers. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define EVERY 64u
#else
#define EVERY 5u
#endif
#define FAILED 99 /* exit status of a child; else how much was lost */

static sigjmp_buf out;
static volatile uint32_t steps, lost_in, failed_in;
static uint32_t gone; /* the mark of a process that has ended */
static bool is_child;
static bool favoured; /* the channel's locks know the victim */

static void
on_step(int sig)
{
	pid_t pid;
	int status;

	(void)sig;
	if (++steps % EVERY != 0)
		return;
	pid = fork();
	if (pid == 0) {
		is_child = true;
		siglongjmp(out, 1);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) ||
	    WEXITSTATUS(status) == FAILED)
		failed_in++;
	else
		lost_in += WEXITSTATUS(status) != 0;
}

static void
set_step(bool on)
{
	uint64_t flags = __builtin_ia32_readeflags_u64();

	__builtin_ia32_writeeflags_u64(on ? flags | STEP : flags & ~STEP);
}

/* Returns once for each of them, in a child where it was the last, and at the end. */
static void
kill_in(void (*burst)(void))
{
	const uint32_t self = hvn_process_self;

	steps = lost_in = failed_in = 0;
	hvn_process_self = gone;
	hvn_thread_self = favoured ? (uint64_t)gone << 32 | VICTIM : HVN_NO_THREAD;
	fx.ch->in_lock.favourite = fx.ch->out_lock.favourite = favoured ? hvn_thread_self : 0;
	RTE_PER_LCORE(_lcore_id) = VICTIM;
	if (sigsetjmp(out, 1) == 0) {
		set_step(true);
		burst();
		set_step(false);
	}
	RTE_PER_LCORE(_lcore_id) = 0;
	hvn_process_self = self;
	hvn_thread_self = HVN_NO_THREAD;
	/* The control thread comes by. */
	hvn_chan_rescue(fx.ch);
}

/* Memory of EAL is shared with children, but not this. */
static int
make_private(const struct rte_memseg_list *msl, const struct rte_memseg *ms, size_t len, void *arg)
{
	static const uint8_t zero[HV_PAGE_SIZE];
	uint8_t *copy = malloc(len);

	(void)msl, (void)arg;
	if (copy == NULL)
		return -1;
	memcpy(copy, ms->addr, len);
	if (mmap(ms->addr, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		 0) == MAP_FAILED)
		return -1;
	/* What was never touched is not touched now: it would make each fork slow. */
	for (size_t at = 0; at < len; at += HV_PAGE_SIZE)
		if (memcmp(copy + at, zero, sizeof(zero)) != 0)
			memcpy((uint8_t *)ms->addr + at, copy + at, HV_PAGE_SIZE);
	free(copy);
	return 0;
}

/* --- mbufs: each is in one place, or lost ------------------------------------------------------- */

static struct rte_mbuf *all[POOL_SIZE];
static uint8_t seen[POOL_SIZE];
static uint32_t n_all;

static void
note(struct rte_mempool *pool, void *arg, void *obj, unsigned int i)
{
	(void)pool, (void)arg, (void)i;
	all[n_all++] = obj;
}

static void
see(const struct rte_mbuf *m)
{
	for (uint32_t i = 0; i < n_all; i++)
		if (all[i] == m) {
			assert_int_equal(seen[i]++, 0);
			return;
		}
	fail();
}

/* Take everything out of the pool, look, and put it in anew, with what was lost. */
static void
check_pool(void)
{
	struct rte_mempool_cache *cache = rte_mempool_default_cache(fx.pool, VICTIM);
	void *obj;

	memset(seen, 0, sizeof(seen));
	/* DPDK counts the last one before it is there; nobody else has this cache. */
	for (uint32_t i = 0; i + is_child < cache->len; i++)
		see(cache->objs[i]);
	cache->len = 0;
	while (rte_mempool_get(fx.pool, &obj) == 0)
		see(obj);
	for (uint32_t i = 0; i < n_all; i++) {
		rte_mbuf_refcnt_set(all[i], 1);
		all[i]->next = NULL;
		all[i]->nb_segs = 1;
		rte_mempool_put(fx.pool, all[i]);
	}
}

/* --- the scenarios ------------------------------------------------------------------------------ */

static struct rte_mbuf *burst_of[BURST];
static uint16_t burst_n;
static uint32_t lost;

static void
receive(void)
{
	burst_n = hvn_rx_burst(fx.rxq, burst_of, BURST);
}

static void
transmit(void)
{
	hvn_tx_burst(fx.txq, burst_of, SENT);
}

/* Whole frames, none twice, in order. */
static void
take_burst(uint32_t *last)
{
	for (uint16_t i = 0; i < burst_n; i++) {
		uint32_t id = burst_of[i]->pkt_len - 60;

		assert_true(id > *last && id < 20);
		*last = id;
		expect_frame(burst_of[i], id, 60 + id);
	}
}

static void
receive_rest(uint32_t *last)
{
	/* One burst may do no more than put things in order. */
	for (uint32_t empty = 0; empty < 2; empty += burst_n == 0) {
		receive();
		take_burst(last);
	}
}

/* Frames of one id each, which is in their length. */
static void
put_messages(uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++) {
		uint64_t ranges[FRAMES];

		for (uint32_t j = 0; j < FRAMES; j++) {
			uint32_t id = 1 + i * FRAMES + j;

			ranges[j] = host_slot(id, id, 60 + id, 0, NULL);
		}
		assert_true(host_xfer(1000 + i, FRAMES, ranges));
	}
}

/* The host hears of each message at most once; of those it sent later it does. */
static void
check_acks(void)
{
	bool acked[MESSAGES + 1] = { false };
	struct vmbus_ring_pkt pkt;

	while (host_peek(&pkt) == 1) {
		assert_int_equal(pkt.type, VMBUS_PKT_COMPLETION);
		assert_in_range(pkt.tid, 1000, 1000 + MESSAGES);
		assert_false(acked[pkt.tid - 1000]);
		acked[pkt.tid - 1000] = true;
		host_release(&pkt);
	}
	assert_true(acked[MESSAGES]);
	for (uint32_t i = 0; i < MESSAGES; i++)
		lost += !acked[i];
}

static void
received(void)
{
	uint32_t last = 0;

	put_messages(0, MESSAGES);
	kill_in(receive);
	if (!is_child)
		take_burst(&last);
	receive_rest(&last);
	put_messages(MESSAGES, MESSAGES + 1);
	receive_rest(&last);
	assert_int_equal(last, (MESSAGES + 1) * FRAMES);
	check_acks();
}

/* What the host got: whole messages in sections of their own; it completes them. */
static void
host_takes(void)
{
	uint64_t tids[TX_DESC];
	bool held[SECTS] = { false };
	struct vmbus_ring_pkt pkt;
	uint32_t n = 0;

	while (host_peek(&pkt) == 1) {
		const uint8_t *nvsp = pkt.body + pkt.ext_len;
		uint32_t sect = hv_load32(nvsp + 8);

		assert_int_equal(hv_load32(nvsp), NVSP_RNDIS);
		assert_int_equal(sect == NVSP_NO_SECTION, pkt.type == VMBUS_PKT_GPA_DIRECT);
		if (sect != NVSP_NO_SECTION) {
			assert_in_range(sect, 0, SECTS - 1);
			assert_false(held[sect]);
			held[sect] = true;
		}
		for (uint32_t i = 0; i < n; i++)
			assert_true(tids[i] != pkt.tid);
		tids[n++] = pkt.tid;
		host_release(&pkt);
	}
	for (uint32_t i = 0; i < n; i++)
		assert_true(host_complete(tids[i], NVSP_STATUS_SUCCESS));
}

static void
sent(void)
{
	struct rte_mbuf *m[2];
	uint16_t n = 0;

	/* In sections, and read where it is. */
	for (uint32_t i = 0; i < SENT; i++)
		burst_of[i] = make_packet(i, i == 1 ? 1900 : 60 + 400 * i);
	kill_in(transmit);
	for (uint32_t i = 0; i < RTE_DIM(m); i++)
		m[i] = make_packet(20 + i, 100);
	for (uint32_t tries = 0; tries < 3 && n < RTE_DIM(m); tries++)
		n += hvn_tx_burst(fx.txq, m + n, RTE_DIM(m) - n);
	assert_int_equal(n, RTE_DIM(m));
	host_takes();
	hvn_tx_done_cleanup(fx.txq, 0);
	assert_int_equal(fx.ch->invalid[HVN_INV_COMPLETION], 0);
	/* Marked as sent without being sent: the host completes it never. */
	lost += hvn_txd_used(fx.txq->txd);
	assert_in_range(hvn_txd_used(fx.txq->txd), 0, 1);
	assert_in_range(fx.txq->txd->n_sect, SECTS - hvn_txd_used(fx.txq->txd), SECTS);
}

static void
clean_up(void)
{
	hvn_tx_done_cleanup(fx.txq, 0);
}

/* The host has completed messages: who takes the completions dies of it. */
static void
completed(void)
{
	struct rte_mbuf *m[SENT];

	for (uint32_t i = 0; i < SENT; i++)
		m[i] = make_packet(i, i == 1 ? 1900 : 60 + 400 * i);
	assert_int_equal(hvn_tx_burst(fx.txq, m, SENT), SENT);
	host_takes();
	kill_in(clean_up);
	m[0] = make_packet(20, 100);
	for (uint32_t tries = 0; tries < 3 && hvn_tx_burst(fx.txq, m, 1) != 1; tries++)
		assert_in_range(tries, 0, 1);
	host_takes();
	hvn_tx_done_cleanup(fx.txq, 0);
	/* What was taken and not yet released is seen again. */
	assert_in_range(fx.ch->invalid[HVN_INV_COMPLETION], 0, is_child ? SENT : 0);
	assert_int_equal(hvn_txd_used(fx.txq->txd), 0);
	assert_int_equal(fx.txq->txd->n_sect, SECTS);
}

/* --- the same with a VF, whose frames have been held back --------------------------------------- */

static uint16_t
no_frames(void *rxq, struct rte_mbuf **pkts, uint16_t n)
{
	(void)rxq, (void)pkts, (void)n;
	return 0;
}

static void
hold(struct rte_mbuf **pkts, uint32_t n, uint32_t *id)
{
	for (uint32_t i = 0; i < n; i++, ++*id)
		pkts[i] = make_packet(*id, 60 + *id);
}

static struct rte_mbuf *late[HVN_RX_LATE];

static void
receive_some(void)
{
	burst_n = hvn_rx_burst(fx.rxq, burst_of, 6);
}

static void
held(void)
{
	struct hvn_rx_hold *h = &fx.rxq->hold;
	uint32_t id = 1, last = 0;

	/* Of two VFs taken late, and of the ring behind them. */
	h->late = late;
	h->late_first = 1;
	hold(late + 1, 4, &id);
	h->late_n = 4;
	h->late_vfs = 2;
	memset(h->late_vf, 0, sizeof(h->late_vf));
	h->late_vf[0].n = 2;
	h->late_vf[1].n = 2;
	hold(h->pkts + 2, 4, &id);
	h->first = 2;
	h->n = 4;
	h->of_vf = false;
	fx.rxq->path.vf_port = VF;
	fx.rxq->path.ring_first = HVN_RING_LAST;
	kill_in(receive_some);
	if (!is_child)
		take_burst(&last);
	fx.rxq->path.busy = 0; /* as the control thread does for the dead */
	fx.rxq->path.vf_port = HVN_RX_LAST;
	receive_rest(&last);
	assert_int_equal(h->n, 0);
	assert_int_equal(h->late_n, 0);
	h->late = NULL;
	fx.rxq->path.vf_port = RTE_MAX_ETHPORTS;
}

static void
each_step(void (*scenario)(void))
{
	struct rte_mbuf *m[BURST];
	void *state;

	lost = 0;
	fx_big(&state);
	/* The victim's cache has what it takes, and room for what it gives. */
	RTE_PER_LCORE(_lcore_id) = VICTIM;
	assert_int_equal(rte_pktmbuf_alloc_bulk(fx.pool, m, BURST), 0);
	rte_pktmbuf_free_bulk(m, BURST);
	RTE_PER_LCORE(_lcore_id) = 0;
	scenario();
	assert_int_equal(hvn_biased_holder(&fx.ch->in_lock), 0);
	assert_int_equal(hvn_biased_holder(&fx.ch->out_lock), 0);
	hvn_rx_queue_release(&fx.dev, 0);
	fx.rxq = NULL;
	hvn_txq_reclaim(fx.txq);
	check_pool();
	assert_int_equal(fx_close(&state), 0);
	if (is_child)
		_exit((int)lost);
	print_message("%u instructions, something lost at %u\n", steps, lost_in);
	assert_in_range(steps, 50, UINT32_MAX);
	assert_int_equal(failed_in, 0);
}

static void
at_each_step(void (*scenario)(void))
{
	favoured = false;
	each_step(scenario);
	favoured = true;
	each_step(scenario);
}

/* A child that fails says where. */
static int
end_child(void **state)
{
	(void)state;
	if (!is_child)
		return 0;
	print_error("killed at instruction %u\n", steps);
	_exit(FAILED);
}

static void
receiving(void **state)
{
	(void)state;
	at_each_step(received);
}

static void
sending(void **state)
{
	(void)state;
	at_each_step(sent);
}

static void
completing(void **state)
{
	(void)state;
	at_each_step(completed);
}

static void
holding(void **state)
{
	static struct rte_eth_dev_data data;
	static void *queues[1];
	struct rte_eth_dev *vf = &rte_eth_devices[VF];

	(void)state;
	data.rx_queues = data.tx_queues = queues;
	vf->data = &data;
	vf->state = RTE_ETH_DEV_ATTACHED;
	vf->rx_pkt_burst = no_frames;
	at_each_step(held);
	memset(vf, 0, sizeof(*vf));
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(receiving, end_child),
		cmocka_unit_test_teardown(sending, end_child),
		cmocka_unit_test_teardown(completing, end_child),
		cmocka_unit_test_teardown(holding, end_child),
	};
	const struct sigaction step = { .sa_handler = on_step };

	if (fx_eal() != 0 || rte_memseg_contig_walk(make_private, NULL) != 0 ||
	    sigaction(SIGTRAP, &step, NULL) != 0)
		return 1;
	hvn_process_init(0);
	gone = dead_process();
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	rte_mempool_obj_iter(fx.pool, note, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
