/* SPDX-License-Identifier: BSD-3-Clause */
/* Whom the control thread waits for before a VF is stopped, with processes that stop and go on. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../drivers/net/hvnetvsc/hvn_vf_queues.c"

int hvn_logtype;

bool
hvn_path_rx_collect(struct hvn_rxq *q, uint16_t vf_port)
{
	(void)q, (void)vf_port;
	return true;
}

void
hvn_path_mark_ring(const struct hvn_rxq *q, struct hvn_ring_mark *mark)
{
	(void)q, (void)mark;
}

static struct hvn_port port;
static struct rte_eth_dev_data data;
static struct hvn_vf vf;
static struct hvn_txq *txq; /* shared with the processes */
static void *tx_queues[1];
static pid_t child;

/* A process in a burst on the VF: when it runs, the burst is over. */
static void
in_burst(void)
{
	int status;

	child = fork();
	if (child == 0) {
		hvn_process_init(0);
		txq->path.busy = hvn_process_self;
		raise(SIGSTOP);
		__atomic_store_n(&txq->path.busy, 0, __ATOMIC_RELEASE);
		pause();
		_exit(0);
	}
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, WUNTRACED), child);
	assert_true(WIFSTOPPED(status));
}

static int
end(void **state)
{
	(void)state;
	if (child > 0) {
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	}
	child = 0;
	munmap(txq, sizeof(*txq));
	return 0;
}

static int
fresh(void **state)
{
	(void)state;
	hvn_process_init(0);
	if (hvn_process_register() != 0)
		return -1;
	txq = mmap(NULL, sizeof(*txq), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (txq == MAP_FAILED)
		return -1;
	memset(&port, 0, sizeof(port));
	memset(&vf, 0, sizeof(vf));
	memset(&data, 0, sizeof(data));
	tx_queues[0] = txq;
	data.tx_queues = tx_queues;
	data.nb_tx_queues = 1;
	port.data = &data;
	vf.p = &port;
	return 0;
}

static void
stopped(void **state)
{
	(void)state;
	in_burst();
	assert_true(hvn_process_stopped(txq->path.busy));
	assert_int_equal(hvn_vf_queues_quiesce(&vf), -EAGAIN);
	/* Others need not wait for it ... */
	assert_true(hvn_process_stopped(vf.stopped));
	assert_int_equal(hvn_process_id(txq->path.busy), child);
	/* ... until it goes on, whether anybody has asked the queues since or not. */
	kill(child, SIGCONT);
	assert_int_equal(waitpid(child, NULL, WCONTINUED), child);
	assert_false(hvn_process_stopped(vf.stopped));
	while (__atomic_load_n(&txq->path.busy, __ATOMIC_ACQUIRE) != 0)
		usleep(1000);
	assert_int_equal(hvn_vf_queues_quiesce(&vf), 0);
	assert_false(vf.abandoned);
}

/* One that is stopped says nothing of another, which runs. */
static void
another(void **state)
{
	uint64_t before;

	(void)state;
	in_burst();
	assert_int_equal(hvn_vf_queues_quiesce(&vf), -EAGAIN);
	txq->path.busy = (uint32_t)getppid();
	before = hvn_vf_now();
	assert_int_equal(hvn_vf_queues_quiesce(&vf), -EAGAIN);
	assert_true(hvn_vf_now() - before >= QUIESCE_MS * HVN_NS_PER_MS);
	assert_false(hvn_process_stopped(vf.stopped));
}

/* The time that one process was silent is not another's, nor that of a former turn. */
static void
silent(void **state)
{
	uint32_t mark = HVN_PROCESS_ALIEN | 5;

	(void)state;
	txq->path.busy = mark;
	assert_int_equal(hvn_vf_queues_quiesce(&vf), -EAGAIN);
	assert_int_equal(txq->path.busy, mark);
	vf.alien_since -= ALIEN_MS * HVN_NS_PER_MS;
	txq->path.busy = ++mark;
	assert_int_equal(hvn_vf_queues_quiesce(&vf), -EAGAIN);
	assert_int_equal(txq->path.busy, mark);
	vf.alien_since -= ALIEN_MS * HVN_NS_PER_MS;
	txq->path.busy = 0;
	assert_int_equal(hvn_vf_queues_quiesce(&vf), 0);
	txq->path.busy = mark;
	assert_int_equal(hvn_vf_queues_quiesce(&vf), -EAGAIN);
	assert_int_equal(txq->path.busy, mark);
	vf.alien_since -= ALIEN_MS * HVN_NS_PER_MS;
	assert_int_equal(hvn_vf_queues_quiesce(&vf), 0);
	assert_true(vf.abandoned);
}

static void
gone(void **state)
{
	(void)state;
	in_burst();
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	child = 0;
	assert_int_equal(hvn_vf_queues_quiesce(&vf), 0);
	assert_true(vf.abandoned);
}

/* Another process has the id of one that ended in a burst. */
static void
reused(void **state)
{
	uint32_t started;

	(void)state;
	in_burst();
	/* 0 would be one that is not known. */
	started = txq->path.busy >> HVN_PROCESS_ID_BITS == 1 ? 2 : 1;
	txq->path.busy = hvn_process_id(txq->path.busy) | started << HVN_PROCESS_ID_BITS;
	assert_false(hvn_process_stopped(txq->path.busy));
	assert_int_equal(hvn_vf_queues_quiesce(&vf), 0);
	assert_true(vf.abandoned);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(stopped, fresh, end),
		cmocka_unit_test_setup_teardown(another, fresh, end),
		cmocka_unit_test_setup_teardown(silent, fresh, end),
		cmocka_unit_test_setup_teardown(gone, fresh, end),
		cmocka_unit_test_setup_teardown(reused, fresh, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
