/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests of the control plane, on a channel in plain memory. */
#define FX_CTRL
#include "datapath_fixture.h"

#include "hvn_hurry.h"
#include "hvn_link.h"
#include "hvn_nvsp.h"
#include "hvn_recover.h"
#include "hvn_session.h"
#include "hvn_tx_hold.h"
#include "hvn_vf.h"

/* What the control thread tells; here it has nothing to do. */
void
hvn_link_indicate(struct hvn_port *p, const void *msg, uint32_t len)
{
	(void)p, (void)msg, (void)len;
}

void
hvn_nvsp_notify(struct hvn_port *p, const void *msg, uint32_t len)
{
	(void)p, (void)msg, (void)len;
}

void
hvn_link_renewed(struct hvn_port *p)
{
	(void)p;
}

void
hvn_link_path_changed(struct hvn_port *p)
{
	(void)p;
}

/* Which event was told of which port: a bit each. */
#define PORT 2
static unsigned int told, told_of_others;

int
rte_eth_dev_callback_process(struct rte_eth_dev *dev, enum rte_eth_event_type event, void *ret)
{
	(void)ret;
	__atomic_fetch_or(dev == &rte_eth_devices[PORT] ? &told : &told_of_others, 1u << event,
			  __ATOMIC_RELEASE);
	return 0;
}

static bool broken; /* by who holds ctrl_lock */
static int outcome; /* of a recovery */
static unsigned int tries;

void
hvn_session_lost(struct hvn_port *p)
{
	(void)p;
	broken = true;
}

bool
hvn_session_broken(const struct hvn_port *p)
{
	(void)p;
	return broken;
}

int
hvn_recover(struct hvn_port *p)
{
	int rc;

	hvn_ctrl_lock(p);
	tries++;
	rc = tries == 1 ? -EAGAIN : outcome;
	if (rc != -EAGAIN)
		broken = false;
	hvn_ctrl_unlock(p);
	return rc;
}

uint32_t
hvn_vf_run(struct hvn_port *p)
{
	(void)p;
	return 0;
}

bool
hvn_vf_changed(struct hvn_port *p)
{
	(void)p;
	return false;
}

/* This machine may not have the device's node: memory is taken from anywhere. */
#define DEVICE_NODE 5
static unsigned int on_node, elsewhere;

void *__real_rte_zmalloc_socket(const char *type, size_t size, unsigned int align, int socket);
void *__wrap_rte_zmalloc_socket(const char *type, size_t size, unsigned int align, int socket);

void *
__wrap_rte_zmalloc_socket(const char *type, size_t size, unsigned int align, int socket)
{
	on_node += socket == DEVICE_NODE;
	elsewhere += socket != DEVICE_NODE;
	return __real_rte_zmalloc_socket(type, size, align, SOCKET_ID_ANY);
}

#define REPLY	 0x80000004u /* QUERY_COMPLETE */
#define REQUESTS 10u	     /* more than there are buffers */

static bool host_reads, completes = true;
static unsigned int requests, waits;

/* The host: it answers requests as they come. */
static void
host_run(uint32_t id)
{
	const uint32_t nvsp[10] = { NVSP_RNDIS_COMPLETE, NVSP_STATUS_SUCCESS };
	const uint64_t ext[2] = { NVSP_RECV_BUF_ID | UINT64_C(1) << 32, 64 };
	const uint32_t init[10] = { NVSP_INIT_COMPLETE };
	const uint32_t reply[16] = { REPLY, 64, id };
	struct vmbus_ring_pkt pkt;
	uint32_t rc = 0;

	while (host_peek(&pkt) == 1) {
		uint64_t tid = pkt.tid;
		uint16_t type = pkt.type;

		host_release(&pkt);
		if ((tid & HVN_TID_CTRL) == 0)
			continue; /* what filled the ring */
		requests++;
		if (completes || type == VMBUS_PKT_INBAND)
			rc |= !host_put(VMBUS_PKT_COMPLETION, tid, NULL, 0,
					type == VMBUS_PKT_INBAND ? init : nvsp, 40);
		if (type == VMBUS_PKT_INBAND)
			continue;
		memcpy(fx.recv, reply, sizeof(reply));
		rc |= !host_put(VMBUS_PKT_XFER_PAGES, 1, ext, sizeof(ext), nvsp_ctrl, 40);
	}
	assert_int_equal(rc, 0);
}

static uint32_t id;
static uint64_t patience; /* cycles, of the last wait */

/* Called between two looks at the ring; no test waits for real. */
bool
hvn_hurry_over(struct hvn_port *p, uint64_t until)
{
	(void)p;
	patience = until - rte_get_timer_cycles();
	waits++;
	if (host_reads)
		host_run(id);
	return !host_reads || waits > 1000;
}

void
hvn_hurry_answered(struct hvn_port *p)
{
	(void)p;
}

static int
rndis(void)
{
	const uint32_t msg[4] = { 4, sizeof(msg), 0, 0 };
	const uint8_t *reply;
	uint32_t len;

	id = hvn_ctrl_rndis_id(&fx.port);
	waits = 0;
	return hvn_ctrl_rndis(&fx.port, msg, sizeof(msg), REPLY, &reply, &len);
}

static int
nvsp(void)
{
	const uint32_t msg[2] = { NVSP_INIT, 0 };

	waits = 0;
	return hvn_ctrl_nvsp(&fx.port, msg, sizeof(msg), NVSP_INIT_COMPLETE, NULL, 0);
}

static int
open_ctrl(void **state)
{
	fx_big(state);
	fx.data.numa_node = SOCKET_ID_ANY;
	host_reads = true;
	requests = 0;
	return hvn_ctrl_create(&fx.port);
}

static int
close_ctrl(void **state)
{
	hvn_ctrl_destroy(&fx.port);
	return fx_close(state);
}

/*
 * B22: requests for which the ring has no room fail, and leave nothing behind: as soon as there is
 * room the next one is sent and answered.
 */
static void
unsent(void **state)
{
	unsigned int i;

	RTE_SET_USED(state);
	assert_int_equal(rndis(), 0);
	assert_int_equal(nvsp(), 0);
	assert_int_equal(requests, 2);
	while (vmbus_ring_tx_put(&fx.vc.tx, VMBUS_PKT_INBAND, 0, 7, NULL, 0, nvsp_data, 8) == 0)
		;
	vmbus_ring_tx_publish(&fx.vc.tx);
	host_reads = false;
	for (i = 0; i < REQUESTS; i++) {
		assert_int_equal(rndis(), -EAGAIN);
		assert_int_equal(nvsp(), -EAGAIN);
	}
	assert_int_equal(requests, 2);
	host_run(0);
	assert_int_equal(requests, 2);
	host_reads = true;
	for (i = 0; i < REQUESTS; i++) {
		assert_int_equal(rndis(), 0);
		assert_int_equal(nvsp(), 0);
	}
	assert_int_equal(requests, 2 + 2 * REQUESTS);
	assert_int_equal(hvn_ctrl_late(&fx.port), 0);
}

/* What was replied to was read, whenever it is completed, and if it never is. */
static void
uncompleted(void **state)
{
	RTE_SET_USED(state);
	completes = false;
	for (unsigned int i = 0; i < REQUESTS; i++)
		assert_int_equal(rndis(), 0);
	completes = true;
	for (unsigned int i = 0; i < REQUESTS; i++)
		assert_int_equal(rndis(), 0);
	assert_int_equal(requests, 2 * REQUESTS);
	assert_int_equal(hvn_ctrl_late(&fx.port), 0);
}

/* A message without a reply is not waited for as long as an answer. */
static void
unanswered(void **state)
{
	const uint32_t halt[3] = { RNDIS_HALT, sizeof(halt), 1 };

	RTE_SET_USED(state);
	fx.port.args.rndis_timeout_ms = 60000;
	host_reads = false;
	assert_int_equal(rndis(), -ETIMEDOUT);
	assert_true(patience > 50 * rte_get_timer_hz());
	assert_int_equal(hvn_ctrl_rndis(&fx.port, halt, sizeof(halt), HVN_CTRL_NO_REPLY_TYPE, NULL,
					NULL),
			 -ETIMEDOUT);
	assert_true(patience < rte_get_timer_hz());
}

/*
 * Those that were sent, and not read in time, hold their buffers: the host may still read them. It
 * has them back once it does, its answers are late, and the next request is answered.
 */
static void
unread(void **state)
{
	unsigned int sent = 0;
	int rc;

	RTE_SET_USED(state);
	host_reads = false;
	while ((rc = rndis()) == -ETIMEDOUT)
		assert_true(++sent < REQUESTS);
	assert_int_equal(rc, -EBUSY);
	assert_true(sent > 1);
	host_reads = true;
	host_run(id);
	assert_int_equal(requests, sent);
	while (hvn_chan_scan(fx.ch) > 0)
		;
	assert_true(hvn_ctrl_late(&fx.port) >= sent);
	assert_int_equal(rndis(), 0);
}

/* A process was killed that had the locks: who waits for an answer takes them, or the thread does. */
static void
dead_holder(void **state)
{
	const uint32_t dead = dead_process();

	RTE_SET_USED(state);
	fx.ch->in_lock.lock.owner = fx.ch->out_lock.lock.owner = dead;
	assert_int_equal(rndis(), 0);
	hvn_ctrl_lock(&fx.port);
	fx.ch->in_lock.lock.owner = fx.ch->out_lock.lock.owner = dead;
	fx.port.secondaries = 1;
	fx.port.opened = true;
	hvn_ctrl_unlock(&fx.port);
	for (unsigned int i = 0; i < 5000; i++) {
		if (hvn_biased_holder(&fx.ch->in_lock) != dead &&
		    hvn_biased_holder(&fx.ch->out_lock) != dead)
			break;
		usleep(1000);
	}
	hvn_ctrl_lock(&fx.port);
	fx.port.opened = false;
	hvn_ctrl_unlock(&fx.port);
	assert_int_equal(hvn_biased_holder(&fx.ch->in_lock), 0);
	assert_int_equal(hvn_biased_holder(&fx.ch->out_lock), 0);
}

/* A port that runs, or is stopped. */
static void
port_is(bool running)
{
	hvn_ctrl_lock(&fx.port);
	fx.port.port_id = PORT;
	fx.port.opened = running;
	fx.port.running = running;
	hvn_ctrl_unlock(&fx.port);
}

static void
wait_told(unsigned int events)
{
	for (unsigned int i = 0; i < 5000 && __atomic_load_n(&told, __ATOMIC_ACQUIRE) != events;
	     i++)
		usleep(1000);
	assert_int_equal(told, events);
	assert_int_equal(told_of_others, 0);
}

/* What the host took away is told of the port that had it. */
static void
taken_away(void **state)
{
	RTE_SET_USED(state);
	told = told_of_others = 0;
	port_is(true);
	hvn_ctrl_tell_removed(&fx.port);
	wait_told(1u << RTE_ETH_EVENT_INTR_RMV);
	port_is(false);
}

/*
 * The host takes a channel: the application hears that the port recovers, once, however many times it
 * is tried, and what came of it; and the next time not at once. One that stops the port meanwhile hears
 * the end, too.
 */
static void
recovered(void **state)
{
	const unsigned int begin = 1u << RTE_ETH_EVENT_ERR_RECOVERING;
	uint64_t since;

	RTE_SET_USED(state);
	told = told_of_others = tries = 0;
	outcome = 0;
	port_is(true);
	hvn_ctrl_channel_gone(&fx.port);
	wait_told(begin);
	/* Not yet: a burst was inside. */
	port_is(false);
	wait_told(begin | 1u << RTE_ETH_EVENT_RECOVERY_SUCCESS);
	assert_int_equal(tries, 2);

	since = rte_get_timer_cycles();
	told = 0;
	outcome = -EIO;
	port_is(true);
	hvn_ctrl_channel_gone(&fx.port);
	wait_told(begin | 1u << RTE_ETH_EVENT_RECOVERY_FAILED);
	assert_int_equal(tries, 3);
	assert_true(rte_get_timer_cycles() - since > rte_get_timer_hz() / 2);
	port_is(false);
}

/* Its memory, also that of another session while the host may read what it had, is near the device. */
static void
placed(void **state)
{
	RTE_SET_USED(state);
	hvn_ctrl_destroy(&fx.port);
	fx.port.args.numa_aware = true;
	fx.data.numa_node = DEVICE_NODE;
	on_node = elsewhere = 0;
	assert_int_equal(hvn_ctrl_create(&fx.port), 0);
	assert_int_equal(on_node, 2);
	host_reads = false;
	assert_int_equal(rndis(), -ETIMEDOUT);
	hvn_ctrl_session_reset(&fx.port, true);
	assert_int_equal(on_node, 3);
	assert_int_equal(elsewhere, 0);
}

/*
 * Packets that wait for the next burst, in a queue whose application does nothing any more, or is
 * not alone any more.
 */
static void
held_until(bool secondary)
{
	struct rte_mbuf *m;
	uint32_t before;

	for (uint32_t i = 0; i < 2 * BURST; i++) {
		m = make_packet(i, i < 40 ? 1900 : 60);
		assert_int_equal(hvn_tx_burst(fx.txq, &m, 1), 1);
		if (hvn_tx_held(fx.ch))
			break;
		assert_true(host_frames(i + 1, 0, 1, 60));
		assert_int_equal(hvn_rx_burst(fx.rxq, &m, 1), 1);
		rte_pktmbuf_free(m);
	}
	assert_true(hvn_tx_held(fx.ch));
	before = fx.vc.tx.published;
	__atomic_store_n(&fx.port.opened, true, __ATOMIC_RELEASE);
	fx.port.secondaries = secondary;
	for (unsigned int i = 0; i < 5000 && hvn_tx_held(fx.ch); i++) {
		if (secondary)
			__atomic_fetch_add(&fx.rxq->polls, 1, __ATOMIC_RELAXED);
		usleep(1000);
	}
	__atomic_store_n(&fx.port.opened, false, __ATOMIC_RELEASE);
	hvn_ctrl_lock(&fx.port);
	assert_false(hvn_tx_held(fx.ch));
	assert_int_not_equal(fx.vc.tx.published, before);
	fx.port.secondaries = 0;
	hvn_ctrl_unlock(&fx.port);
}

static void
held(void **state)
{
	(void)state;
	held_until(false);
}

static void
held_by_one_of_two(void **state)
{
	(void)state;
	held_until(true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(unsent, open_ctrl, close_ctrl),
		cmocka_unit_test_setup_teardown(unread, open_ctrl, close_ctrl),
		cmocka_unit_test_setup_teardown(uncompleted, open_ctrl, close_ctrl),
		cmocka_unit_test_setup_teardown(unanswered, open_ctrl, close_ctrl),
		cmocka_unit_test_setup_teardown(dead_holder, open_ctrl, close_ctrl),
		cmocka_unit_test_setup_teardown(taken_away, open_ctrl, close_ctrl),
		cmocka_unit_test_setup_teardown(recovered, open_ctrl, close_ctrl),
		cmocka_unit_test_setup_teardown(placed, open_ctrl, close_ctrl),
		cmocka_unit_test_setup_teardown(held, open_ctrl, close_ctrl),
		cmocka_unit_test_setup_teardown(held_by_one_of_two, open_ctrl, close_ctrl),
	};

	if (fx_eal() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
