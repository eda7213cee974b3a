/* SPDX-License-Identifier: BSD-3-Clause */
/* A secondary is told of the port's start, stop and close at any time: in the middle of its probe too. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <pthread.h>
#include <semaphore.h>
#include <unistd.h>

#include <rte_alarm.h>
#include <rte_eal.h>

#include "hvn_mp.h"

#define ID 3

int hvn_logtype;

static struct rte_eth_dev *const dev = &rte_eth_devices[ID];
static struct rte_eth_dev_data data = { .port_id = ID };
static struct hv_vmbus_device vdev;
static struct hvn_port port;

/* --- the rest of the secondary -------------------------------------------------------------------- */

static rte_mp_t on_request;
static int32_t reply_rc;
static rte_eal_alarm_callback alarm_fn;
static void *alarm_arg;
static unsigned int released;

static void meanwhile(unsigned int at);

#define BURST(name)                                                \
	uint16_t name(void *q, struct rte_mbuf **pkts, uint16_t n) \
	{                                                          \
		(void)q, (void)pkts, (void)n;                      \
		return 0;                                          \
	}
BURST(hvn_rx_burst)
BURST(hvn_rx_burst_none)
BURST(hvn_tx_burst)
BURST(hvn_tx_burst_none)

uint32_t
hvn_rx_queue_count(void *q)
{
	(void)q;
	return 0;
}

static enum rte_proc_type_t process_type = RTE_PROC_SECONDARY;

enum rte_proc_type_t
rte_eal_process_type(void)
{
	return process_type;
}

int
rte_mp_action_register(const char *name, rte_mp_t action)
{
	(void)name;
	on_request = action;
	return 0;
}

int
rte_mp_reply(struct rte_mp_msg *msg, const char *peer)
{
	(void)peer;
	memcpy(&reply_rc, msg->param + 4, sizeof(reply_rc));
	return 0;
}

int
rte_eal_alarm_set(uint64_t us, rte_eal_alarm_callback fn, void *arg)
{
	(void)us;
	alarm_fn = fn;
	alarm_arg = arg;
	return 0;
}

int
rte_eal_alarm_cancel(rte_eal_alarm_callback fn, void *arg)
{
	assert_ptr_equal(arg, &vdev);
	if (fn != alarm_fn)
		return 0;
	alarm_fn = NULL;
	return 1;
}

static sem_t in_grace; /* each time somebody waits for bursts to end */

void
rte_delay_us_sleep(unsigned int us)
{
	sem_post(&in_grace);
	usleep(us);
}

int
rte_eth_dev_release_port(struct rte_eth_dev *d)
{
	assert_ptr_equal(d, dev);
	assert_int_equal(d->data->port_id, ID);
	released++;
	dev->rx_queue_count = NULL;
	return 0;
}

/* --- the primary ---------------------------------------------------------------------------------- */

/* Points of a probe at which it does something. */
enum { PREPARED, IN_ATTACH, MAPPED, BEFORE_JOINED, BEHIND, POINTS };

static unsigned int session, sessions; /* 0: there is none */
static unsigned int mapped;
static bool probing;

static void
set_session(bool on)
{
	session = on ? ++sessions : 0;
}

int
hv_vmbus_attach_secondary(struct hv_vmbus_device *d)
{
	const unsigned int before = session;

	assert_ptr_equal(d, &vdev);
	assert_false(d->opened);
	assert_true(before != 0 || probing);
	meanwhile(IN_ATTACH);
	if (before == 0)
		return -ENODEV;
	/* In the middle of what it asks for. */
	if (session != before)
		return -ETIMEDOUT;
	mapped = session;
	d->opened = true;
	meanwhile(MAPPED);
	return 0;
}

void
hv_vmbus_close(struct hv_vmbus_device *d)
{
	assert_ptr_equal(d, &vdev);
	/* A burst would go on in what is unmapped here. */
	assert_false(d->opened && dev->rx_pkt_burst == hvn_rx_burst);
	d->opened = false;
}

static void
interrupt_thread(void)
{
	rte_eal_alarm_callback fn = alarm_fn;

	alarm_fn = NULL;
	if (fn != NULL)
		fn(alarm_arg);
}

#define BEGIN	  (HVN_MP_CLOSE + 1) /* a start that is not told yet */
#define BEGIN_END (HVN_MP_CLOSE + 2) /* a stop that was told before this process was there */
#define GOES	  (HVN_MP_CLOSE + 3) /* and a close */
#define OF_OTHER  (HVN_MP_CLOSE + 4) /* a stop of another port */

/* Each stop ends the session too: so does a change of the MTU. */
static void
tell(unsigned int what)
{
	const bool of_other = what == OF_OTHER;
	const uint16_t param[4] = { ID + of_other, of_other ? HVN_MP_STOP : (uint16_t)what };
	struct rte_mp_msg msg = { .len_param = sizeof(param) };

	const bool on = what == HVN_MP_START || what == BEGIN;

	if (what == BEGIN_END || what == GOES) {
		port.told = what == GOES ? HVN_MP_CLOSE : HVN_MP_STOP;
		return;
	}
	if (!of_other) {
		port.running = on;
		if (session == 0 || !on)
			set_session(on);
		if (what == BEGIN)
			return;
		port.told = (uint8_t)what;
	}
	memcpy(msg.param, param, sizeof(param));
	reply_rc = -1;
	assert_int_equal(on_request(&msg, "primary"), 0);
	assert_int_equal(reply_rc, 0);
}

static const struct hvn_port *asked_of;
static unsigned int asked, answers, asking, sent;
static bool old_answer;

/* To all, without an answer. */
int
rte_mp_sendmsg(struct rte_mp_msg *msg)
{
	assert_int_equal(asking, 0);
	reply_rc = 1;
	assert_int_equal(on_request(msg, "primary"), 0);
	/* It would be taken for the answer to what is asked next. */
	assert_int_equal(reply_rc, 1);
	sent++;
	return 0;
}

int
rte_mp_request_sync(struct rte_mp_msg *req, struct rte_mp_reply *reply, const struct timespec *ts)
{
	uint16_t param[2];

	assert_true(ts->tv_sec > 0 && ts->tv_sec < 10);
	assert_true(req->len_param >= (int)sizeof(param));
	/* EAL refuses a second one of this name meanwhile. */
	assert_int_equal(__atomic_fetch_add(&asking, 1, __ATOMIC_ACQ_REL), 0);
	usleep(2000);
	memcpy(param, req->param, sizeof(param));
	assert_int_equal(param[0], ID);
	asked = param[1];
	/* Whoever has not counted itself by the time of the request finds this. */
	if (asked_of != NULL)
		assert_int_equal(asked_of->told, asked);
	reply->nb_sent = 2;
	reply->nb_received = (int)answers;
	reply->msgs = calloc(2, sizeof(*reply->msgs));
	assert_non_null(reply->msgs);
	for (unsigned int i = 0; i < answers; i++) {
		memcpy(reply->msgs[i].param, req->param, sizeof(reply->msgs[i].param));
		if (old_answer)
			reply->msgs[i].param[2] ^= HVN_MP_STOP ^ HVN_MP_START;
	}
	__atomic_fetch_sub(&asking, 1, __ATOMIC_ACQ_REL);
	return 0;
}

static const unsigned int *told;
static unsigned int when;
static bool at_once; /* the interrupt thread, where it does not wait for the probe */

static void
meanwhile(unsigned int at)
{
	if (at != when)
		return;
	when = POINTS;
	for (; *told != HVN_MP_NOTHING; told++) {
		tell(*told);
		if (at_once && at != IN_ATTACH && at != MAPPED)
			interrupt_thread();
	}
}

/* --- the probe ------------------------------------------------------------------------------------ */

static bool
bursts_are(eth_rx_burst_t rx, eth_tx_burst_t tx)
{
	return dev->rx_pkt_burst == rx && dev->tx_pkt_burst == tx &&
	       rte_eth_fp_ops[ID].rx_pkt_burst == rx && rte_eth_fp_ops[ID].tx_pkt_burst == tx;
}

/* With bursts goes what they need: who sends signals. */
static void
expect_bursts(bool on)
{
	assert_true(bursts_are(on ? hvn_rx_burst : hvn_rx_burst_none,
			       on ? hvn_tx_burst : hvn_tx_burst_none));
	assert_true(!on || (vdev.opened && mapped == session));
}

/* The device may be freed behind it. */
static void
leave(void)
{
	hvn_mp_leave(&vdev);
	assert_null(alarm_fn);
}

static bool removed, finished_late;

/* As the driver does it. */
static int
probe(bool has_session, bool running)
{
	int rc;

	memset(dev, 0, sizeof(*dev));
	memset(&port, 0, sizeof(port));
	dev->data = &data;
	dev->device = &vdev.device;
	data.dev_private = &port;
	vdev.opened = false;
	set_session(has_session);
	port.running = running;
	port.told = running ? HVN_MP_START : HVN_MP_NOTHING;
	port.removed = removed;
	released = 0;
	probing = true;
	hvn_mp_prepare(dev, &vdev);
	dev->rx_pkt_burst = hvn_rx_burst_none;
	dev->tx_pkt_burst = hvn_tx_burst_none;
	dev->rx_queue_count = hvn_rx_queue_count;
	meanwhile(PREPARED);
	rc = hvn_mp_join(dev);
	if (rc == 0) {
		assert_int_equal(port.secondaries, 1);
		meanwhile(BEFORE_JOINED);
		/* As ethdev does it, with what it has read a while ago. */
		rte_eth_fp_ops[ID].rx_pkt_burst = finished_late ? hvn_rx_burst : dev->rx_pkt_burst;
		rte_eth_fp_ops[ID].tx_pkt_burst = finished_late ? hvn_tx_burst : dev->tx_pkt_burst;
		rc = hvn_mp_joined(dev);
	}
	probing = false;
	if (dev->rx_pkt_burst == hvn_rx_burst)
		expect_bursts(true);
	if (rc != 0)
		leave();
	return rc;
}

/* Told nothing in its probe, it does what the port does, and then what it is told. */
static void
undisturbed(void **state)
{
	(void)state;
	when = POINTS;
	assert_int_equal(probe(true, true), 0);
	assert_null(alarm_fn);
	expect_bursts(true);
	tell(HVN_MP_STOP);
	expect_bursts(false);
	tell(HVN_MP_START);
	/* Not before it has mapped what is open now. */
	expect_bursts(false);
	interrupt_thread();
	expect_bursts(true);
	assert_int_equal(probe(true, false), 0);
	expect_bursts(false);
	assert_int_equal(probe(false, false), 0);
	expect_bursts(false);
	/* It has found the port started, and is told so behind that: bursts have begun. */
	assert_int_equal(probe(true, true), 0);
	while (sem_trywait(&in_grace) == 0)
		;
	tell(HVN_MP_START);
	assert_int_equal(sem_trywait(&in_grace), 0);
	interrupt_thread();
	expect_bursts(true);
	/* A port that runs has a session. */
	assert_int_equal(probe(false, true), -ENODEV);
	removed = true;
	assert_int_equal(probe(false, false), -ENODEV);
	removed = false;
}

/* A port that is being stopped: with whom was there it has spoken before. */
static void
stopping(void **state)
{
	static const unsigned int end[] = { BEGIN_END, HVN_MP_NOTHING };

	(void)state;
	for (when = PREPARED; when <= BEFORE_JOINED; when++) {
		const unsigned int at = when;

		told = end;
		assert_int_equal(probe(true, true), 0);
		assert_int_equal(when, POINTS);
		expect_bursts(false);
		when = at;
	}
	/* A start and a stop, while ethdev copies the bursts. */
	told = (const unsigned int[]){ HVN_MP_START, HVN_MP_STOP, HVN_MP_NOTHING };
	when = PREPARED;
	at_once = finished_late = true;
	assert_int_equal(probe(true, false), 0);
	expect_bursts(false);
	at_once = finished_late = false;
}

/* A port that goes: nobody tells this process any more. */
static void
going(void **state)
{
	static const unsigned int close[] = { GOES, HVN_MP_NOTHING };

	(void)state;
	for (unsigned int has_session = 0; has_session < 2; has_session++) {
		told = close;
		when = PREPARED;
		assert_int_equal(probe(has_session, true), -ENODEV);
		assert_int_equal(when, POINTS);
	}
}

/* The next session is there before this process has done with the one before. */
static void
overtaken(void **state)
{
	static const unsigned int again[] = { HVN_MP_STOP, HVN_MP_START, HVN_MP_NOTHING };

	(void)state;
	at_once = false;
	for (unsigned int at = IN_ATTACH; at <= MAPPED; at++) {
		when = POINTS;
		assert_int_equal(probe(true, true), 0);
		tell(HVN_MP_STOP);
		tell(HVN_MP_START);
		told = again;
		when = at;
		interrupt_thread();
		assert_int_equal(when, POINTS);
		expect_bursts(false);
		interrupt_thread();
		expect_bursts(true);
	}
}

/* What is told of one port is not of another. */
static void
of_another(void **state)
{
	static struct rte_eth_dev_data other_data = { .port_id = ID + 1 };
	static struct hv_vmbus_device other_vdev;
	static const unsigned int stop[] = { OF_OTHER, HVN_MP_NOTHING };
	struct rte_eth_dev *other = &rte_eth_devices[ID + 1];

	(void)state;
	when = POINTS;
	assert_int_equal(probe(true, true), 0);
	other->data = &other_data;
	other->rx_queue_count = hvn_rx_queue_count;
	hvn_mp_prepare(other, &other_vdev);
	for (unsigned int at = IN_ATTACH; at <= BEFORE_JOINED; at++) {
		told = stop;
		when = at;
		tell(HVN_MP_STOP);
		tell(HVN_MP_START);
		meanwhile(BEFORE_JOINED);
		interrupt_thread();
		assert_int_equal(when, POINTS);
		assert_ptr_equal(other->rx_pkt_burst, hvn_rx_burst_none);
		other->rx_pkt_burst = NULL;
		expect_bursts(true);
	}
}

/* The primary has waited long enough, and port 0 is not meant by what it has left. */
static void
late(void **state)
{
	struct rte_eth_fp_ops before;

	(void)state;
	for (unsigned int by_itself = 0; by_itself < 2; by_itself++) {
		when = POINTS;
		assert_int_equal(probe(true, true), 0);
		rte_eth_fp_ops[0].rx_pkt_burst = hvn_rx_burst;
		before = rte_eth_fp_ops[0];
		memset(&data, 0, sizeof(data));
		if (by_itself) {
			leave();
			rte_eth_dev_release_port(dev);
		} else {
			tell(HVN_MP_CLOSE);
			expect_bursts(false);
			interrupt_thread();
		}
		assert_memory_equal(&before, &rte_eth_fp_ops[0], sizeof(before));
		assert_int_equal(released, 1);
		data.port_id = ID;
	}
}

/* What is told last holds, wherever in the probe it is told, and however late it is acted upon. */
static void
disturbed(void **state)
{
	static const unsigned int cases[][4] = {
		{ HVN_MP_START },
		{ BEGIN },
		{ HVN_MP_STOP },
		{ HVN_MP_STOP, HVN_MP_START },
		{ HVN_MP_START, HVN_MP_STOP },
		{ HVN_MP_START, HVN_MP_STOP, HVN_MP_START },
		{ HVN_MP_STOP, HVN_MP_CLOSE },
		{ HVN_MP_CLOSE },
	};

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(cases) * POINTS * 2 * 3; i++) {
		const unsigned int *all = cases[i / POINTS / 6];
		const bool has_session = i % 3 != 0, running = i % 3 == 2;
		const unsigned int at = i / 6 % POINTS;
		unsigned int last;
		int rc;

		told = all;
		when = at;
		at_once = i / 3 % 2;
		rc = probe(has_session, running);
		/* Without a session there is nothing to map. */
		if (when == MAPPED)
			when = BEHIND;
		meanwhile(BEHIND);
		assert_int_equal(when, POINTS);
		assert_int_equal(*told, HVN_MP_NOTHING);
		last = told[-1];
		if (last == BEGIN)
			tell(last = HVN_MP_START);
		interrupt_thread();
		expect_bursts(last == HVN_MP_START);
		if (last == HVN_MP_CLOSE) {
			/* Either the probe fails, and its caller releases the port, or the close does. */
			assert_int_equal(released, rc == 0);
			assert_true(rc == 0 || rc == -ENODEV);
			assert_false(rc == 0 && vdev.opened);
			if (rc != 0)
				tell(HVN_MP_CLOSE);
			assert_int_equal(released, rc == 0);
			continue;
		}
		assert_int_equal(rc, 0);
		assert_int_equal(released, 0);
		tell(HVN_MP_STOP);
		tell(HVN_MP_START);
		interrupt_thread();
		expect_bursts(true);
		tell(HVN_MP_CLOSE);
		expect_bursts(false);
		assert_int_equal(released, 1);
		interrupt_thread();
		assert_false(vdev.opened);
	}
}

static void *
close_it(void *arg)
{
	tell(HVN_MP_CLOSE);
	return arg;
}

/* It removes the device at any time: nothing told before or behind that touches it. */
static void
leaving(void **state)
{
	static const unsigned int all[] = { HVN_MP_STOP, HVN_MP_START, HVN_MP_CLOSE };
	pthread_t primary;

	(void)state;
	when = POINTS;
	for (unsigned int i = 0; i < RTE_DIM(all) * RTE_DIM(all); i++) {
		assert_int_equal(probe(true, true), 0);
		tell(HVN_MP_STOP);
		tell(all[i % RTE_DIM(all)]);
		leave();
		released = 0;
		tell(all[i / RTE_DIM(all)]);
		assert_null(alarm_fn);
		expect_bursts(false);
		assert_int_equal(released, 0);
		leave();
	}
	/* A close is on its way: the port is not released twice. */
	assert_int_equal(probe(true, true), 0);
	while (sem_trywait(&in_grace) == 0)
		;
	assert_int_equal(pthread_create(&primary, NULL, close_it, NULL), 0);
	sem_wait(&in_grace);
	leave();
	assert_int_equal(released, 1);
	pthread_join(primary, NULL);
	assert_null(alarm_fn);
}

static void *
start_stop(void *arg)
{
	for (unsigned int i = 0; i < 20; i++) {
		assert_true(hvn_mp_tell(arg, HVN_MP_STOP));
		assert_true(hvn_mp_tell(arg, HVN_MP_START));
	}
	return NULL;
}

/* The primary notes what it tells, also where nobody is there yet, and who has not answered. */
static void
telling(void **state)
{
	struct hvn_port p = { .port_id = ID }, q;
	pthread_t other;

	(void)state;
	process_type = RTE_PROC_PRIMARY;
	asked_of = &p;
	assert_true(hvn_mp_tell(&p, HVN_MP_START));
	assert_int_equal(p.told, HVN_MP_START);
	assert_int_equal(asked, HVN_MP_NOTHING);
	p.secondaries = 1;
	answers = 2;
	assert_true(hvn_mp_tell(&p, HVN_MP_STOP));
	assert_int_equal(asked, HVN_MP_STOP);
	assert_false(p.unheard);
	assert_int_equal(sent, 0);
	answers = 1;
	assert_false(hvn_mp_tell(&p, HVN_MP_STOP));
	assert_true(p.unheard);
	assert_int_equal(sent, 0);
	p.secondaries = 2;
	assert_false(hvn_mp_tell(&p, HVN_MP_START));
	assert_true(p.unheard);
	/* EAL asks nobody behind the one that does not answer. */
	assert_int_equal(sent, 1);
	/* Only who follows a start has nothing left of before. */
	answers = 2;
	assert_true(hvn_mp_tell(&p, HVN_MP_STOP));
	assert_true(p.unheard);
	assert_true(hvn_mp_tell(&p, HVN_MP_START));
	assert_false(p.unheard);
	/* To something else, of somebody who was stopped for long. */
	old_answer = true;
	assert_false(hvn_mp_tell(&p, HVN_MP_START));
	assert_true(p.unheard);
	old_answer = false;
	assert_true(hvn_mp_tell(&p, HVN_MP_START));
	/* Two ports at once. */
	asked_of = NULL;
	q = p;
	assert_int_equal(pthread_create(&other, NULL, start_stop, &q), 0);
	start_stop(&p);
	pthread_join(other, NULL);
	process_type = RTE_PROC_SECONDARY;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(undisturbed), cmocka_unit_test(stopping),
		cmocka_unit_test(disturbed),   cmocka_unit_test(leaving),
		cmocka_unit_test(telling),     cmocka_unit_test(going),
		cmocka_unit_test(overtaken),   cmocka_unit_test(late),
		cmocka_unit_test(of_another),
	};

	sem_init(&in_grace, 0, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
