/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The failover state machine, checked exhaustively: every state that any order of events and
 * outcomes of actions can reach is visited; safety is asserted in each step, and from each
 * state it is shown that, once nothing more happens, the machine comes to rest in the state
 * that the facts demand.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hvn_path.h"

/*
 * The machine and the world around it, as one comparable state. What the world knows by itself is
 * not taken from the machine: else both could be wrong together.
 */
struct world {
	struct hvn_path p;
	bool host_vf;  /* where the host really delivers */
	bool unheard;  /* a switch got no answer since the last that did */
	bool crossed;  /* the host took the path back while it was asked for the VF */
	bool other;    /* the device that is attached is not the one that is meant */
	bool old_conf; /* the VF runs as the port was configured before it was stopped */
};

#define MAX_STATES (1u << 22)
#define TABLE_SIZE (MAX_STATES * 2)
/* A retry counter only sets delays above this: bounding it keeps the state space finite. */
#define TRIES_BOUND HVN_PATH_TRIES

static struct world *states;
static uint32_t *table;
static uint32_t n_states;

static uint64_t
key_of(const struct world *w)
{
	const struct hvn_path *p = &w->p;
	const bool bit[] = { p->started,    p->closing, p->host_gone, p->assoc,	   p->present,
			     p->recovering, p->stale,	p->refused,   p->attached, p->running,
			     p->rx_on,	    p->tx_on,	p->turned,    p->doubt,	   p->backoff,
			     w->host_vf,    p->no_link, p->outdated,  w->unheard,  w->crossed,
			     w->other,	    w->old_conf };
	uint64_t key = 0;

	for (size_t i = 0; i < sizeof(bit) / sizeof(bit[0]); i++)
		key = key << 1 | bit[i];
	key = key << 2 | p->host;
	key = key << 4 | p->in_flight;
	key = key << 8 | p->tries;
	return key + 1;
}

/* Add a state if it is new. */
static void
visit(const struct world *in)
{
	struct world w = *in;

	if (w.p.tries > TRIES_BOUND)
		w.p.tries = TRIES_BOUND;

	uint64_t key = key_of(&w);
	uint32_t at = (uint32_t)((key * 0x9E3779B97F4A7C15ull) >> 41) % TABLE_SIZE;

	while (table[at] != 0) {
		if (key_of(&states[table[at] - 1]) == key)
			return;
		at = (at + 1) % TABLE_SIZE;
	}
	assert_true(n_states < MAX_STATES);
	states[n_states] = w;
	table[at] = ++n_states;
}

/* What must hold in every state, whatever happened. */
static void
check_safe(const struct world *w)
{
	const struct hvn_path *p = &w->p;

	/* The data path uses nothing that is not attached and running. */
	if (p->rx_on || p->tx_on || p->turned)
		assert_true(p->attached && p->running);
	if (p->running)
		assert_true(p->attached);
	/* Transmit on the VF implies receive from it. */
	if (p->tx_on)
		assert_true(p->rx_on);
	/* What was said of a device does not outlive it: else the next one would never be used. */
	if (p->recovering || p->stale)
		assert_true(p->attached && !(p->recovering && p->stale));
	if (p->no_link || p->outdated)
		assert_true(p->running);
	assert_true(!p->doubt || p->in_flight == HVN_ACT_SWITCH_VF);
	assert_true(p->in_flight == HVN_ACT_NONE || p->in_flight == HVN_ACT_SWITCH_VF ||
		    p->in_flight == HVN_ACT_SWITCH_SYN);
}

/* Conditions under which an action may be taken at all. */
static void
check_action(const struct world *w, enum hvn_path_action act)
{
	const struct hvn_path *p = &w->p;

	/* The application was told of the VF by TX_ON: the host has left it, so that comes back first. */
	if (p->tx_on && !w->host_vf)
		assert_int_equal(act, HVN_ACT_TX_OFF);
	if (act == HVN_ACT_CONFIGURE || act == HVN_ACT_RX_ON || act == HVN_ACT_SWITCH_VF ||
	    act == HVN_ACT_TX_ON)
		assert_true(p->attached && p->present && p->assoc && p->started && !w->other &&
			    !w->old_conf);
	switch (act) {
	case HVN_ACT_ATTACH:
		assert_true(!p->attached && p->present && p->assoc && p->started);
		break;
	case HVN_ACT_CONFIGURE:
		assert_false(p->running);
		break;
	case HVN_ACT_TX_ON:
		/* Only after the host said so, and while it really delivers there. */
		assert_true(p->running && p->rx_on && p->host == HVN_HOST_VF && w->host_vf);
		break;
	case HVN_ACT_SWITCH_VF:
		assert_true(p->running && p->rx_on && p->in_flight == HVN_ACT_NONE);
		break;
	case HVN_ACT_SWITCH_SYN:
		assert_true(!p->tx_on && p->in_flight == HVN_ACT_NONE && !p->host_gone);
		break;
	case HVN_ACT_STOP:
	case HVN_ACT_DETACH:
		/* Never under a burst, never while the host believes in the VF. */
		assert_true(!p->rx_on && !p->tx_on && !p->turned);
		assert_int_equal(p->host, HVN_HOST_SYN);
		assert_int_equal(p->in_flight, HVN_ACT_NONE);
		break;
	default:
		break;
	}
	if (act == HVN_ACT_DETACH)
		assert_false(p->running);
}

/* Something has changed: whatever was held against the VF is forgotten, and it is tried again. */
static bool
is_fresh(enum hvn_path_event ev)
{
	return ev == HVN_EV_START || ev == HVN_EV_OPEN || ev == HVN_EV_ASSOC ||
	       ev == HVN_EV_ASSOC_OTHER || ev == HVN_EV_APPEAR || ev == HVN_EV_RECOVERED;
}

/*
 * The event as the world delivers it; false if it cannot happen now. late: of two things that the
 * host may have done, the other one.
 */
static bool
deliver(struct world *w, enum hvn_path_event ev, bool late)
{
	bool to_vf = w->p.in_flight == HVN_ACT_SWITCH_VF;

	switch (ev) {
	case HVN_EV_SWITCHED:
		if (w->p.in_flight == HVN_ACT_NONE)
			return false;
		w->unheard = false;
		/* Its notice tells of the time before the switch, or behind it. */
		w->host_vf = to_vf && !(w->crossed && late);
		w->crossed = false;
		break;
	case HVN_EV_SWITCH_TIMEOUT:
		if (w->p.in_flight == HVN_ACT_NONE)
			return false;
		w->unheard = true;
		w->crossed = false;
		/* Not done, or done and not said. */
		if (late)
			w->host_vf = to_vf;
		break;
	case HVN_EV_RETRY:
		if (!w->p.backoff)
			return false;
		break;
	case HVN_EV_HOST_SYNTHETIC:
		w->host_vf = false;
		w->crossed = to_vf;
		break;
	case HVN_EV_HOST_GONE:
		w->host_vf = false;
		w->crossed = false;
		break;
	case HVN_EV_OPEN:
		if (w->p.in_flight != HVN_ACT_NONE && late)
			w->host_vf = to_vf;
		w->crossed = false;
		break;
	case HVN_EV_VANISH:
	case HVN_EV_ASSOC_OTHER:
		w->other = w->p.attached;
		break;
	case HVN_EV_STOP:
		w->old_conf = w->p.running;
		break;
	default:
		break;
	}
	hvn_path_event(&w->p, ev);
	if (is_fresh(ev))
		assert_true(!w->p.refused && !w->p.backoff);
	assert_false(ev == HVN_EV_RECOVERED && w->p.recovering);
	assert_false(ev == HVN_EV_LINK_UP && w->p.no_link);
	return true;
}

static void
done(struct world *w, enum hvn_path_action act, int rc)
{
	if (rc == 0 && act == HVN_ACT_DETACH)
		w->other = false;
	if (rc == 0 && act == HVN_ACT_STOP)
		w->old_conf = false;
	if (rc != 0 && (act == HVN_ACT_SWITCH_VF || act == HVN_ACT_SWITCH_SYN))
		w->unheard = true;
	hvn_path_done(&w->p, act, rc);
}

static bool
is_asynchronous(enum hvn_path_action act)
{
	return act == HVN_ACT_NONE || act == HVN_ACT_WAIT || act == HVN_ACT_RETRY;
}

static bool
can_fail(enum hvn_path_action act)
{
	return act == HVN_ACT_ATTACH || act == HVN_ACT_CONFIGURE || act == HVN_ACT_SWITCH_VF ||
	       act == HVN_ACT_SWITCH_SYN || act == HVN_ACT_QUIESCE;
}

#define RCS 3u

static void
expand(const struct world *from)
{
	static const int rcs[RCS] = { 0, -EAGAIN, -ENOTSUP };
	enum hvn_path_action act = hvn_path_next(&from->p);
	struct world w;

	check_safe(from);
	check_action(from, act);
	for (enum hvn_path_event ev = 0; ev < HVN_EV_COUNT; ev++)
		for (int late = 0; late < 2; late++) {
			w = *from;
			if (deliver(&w, ev, late))
				visit(&w);
		}
	if (is_asynchronous(act))
		return;
	for (unsigned int i = 0; i < (can_fail(act) ? RCS : 1); i++) {
		w = *from;
		done(&w, act, rcs[i]);
		visit(&w);
	}
}

/* Nothing happens any more and everything works (or the host is mute): where does it end? */
static void
check_settles(const struct world *from, bool host_answers)
{
	struct world w = *from;
	enum hvn_path_action act;
	unsigned int steps = 0;

	while ((act = hvn_path_next(&w.p)) != HVN_ACT_NONE) {
		assert_true(++steps < 100);
		if (act == HVN_ACT_WAIT)
			deliver(&w, host_answers ? HVN_EV_SWITCHED : HVN_EV_SWITCH_TIMEOUT, false);
		else if (act == HVN_ACT_RETRY)
			deliver(&w, HVN_EV_RETRY, false);
		else
			done(&w, act, 0);
		check_safe(&w);
		/* A mute host is asked for the VF for ever; what counts is that traffic is safe. */
		if (!host_answers && hvn_path_wanted(&w.p) && steps > 50) {
			assert_false(w.p.tx_on);
			return;
		}
	}
	if (hvn_path_wanted(&w.p)) {
		assert_true(w.p.attached && w.p.running && w.p.rx_on && w.p.tx_on);
		assert_true(w.host_vf);
		return;
	}
	assert_true(!w.p.rx_on && !w.p.tx_on && !w.p.turned);
	/* Only a host that did not answer can be left delivering to a VF that nobody polls. */
	if (!w.unheard)
		assert_false(w.host_vf);
	if (!w.p.started)
		assert_false(w.p.running);
	/* A link is looked at while the VF runs: else it could never come back. */
	if (w.p.no_link && w.p.started && w.p.assoc && w.p.present && !w.p.refused && !w.p.stale)
		assert_true(w.p.running);
	if (w.p.closing || w.p.stale || !w.p.present || !w.p.assoc)
		assert_false(w.p.attached);
	/* Only what the application or the VF itself said keeps a usable VF unused. */
	assert_true(!w.p.started || w.p.closing || w.p.host_gone || !w.p.assoc || !w.p.present ||
		    w.p.recovering || w.p.no_link || w.p.refused);
}

static void
test_every_state(void **state)
{
	struct world w = { 0 };

	(void)state;
	states = calloc(MAX_STATES, sizeof(*states));
	table = calloc(TABLE_SIZE, sizeof(*table));
	assert_non_null(states);
	assert_non_null(table);
	hvn_path_init(&w.p);
	visit(&w);
	for (uint32_t i = 0; i < n_states; i++)
		expand(&states[i]);
	/* The search must have gone somewhere. */
	print_message("%u states\n", n_states);
	assert_true(n_states > 5000);
	for (uint32_t i = 0; i < n_states; i++) {
		check_settles(&states[i], true);
		check_settles(&states[i], false);
	}
	free(states);
	free(table);
}

/* Run until nothing is left to do now; records the actions. */
static unsigned int
run(struct hvn_path *p, enum hvn_path_action *log, unsigned int max)
{
	enum hvn_path_action act;
	unsigned int n = 0;

	while (!is_asynchronous(act = hvn_path_next(p))) {
		assert_true(n < max);
		log[n++] = act;
		hvn_path_done(p, act, 0);
	}
	return n;
}

static void
assert_actions(const enum hvn_path_action *log, unsigned int n, const enum hvn_path_action *want,
	       unsigned int n_want)
{
	assert_int_equal(n, n_want);
	for (unsigned int i = 0; i < n; i++)
		assert_string_equal(hvn_path_action_name(log[i]), hvn_path_action_name(want[i]));
}

static void
to_vf(struct hvn_path *p)
{
	enum hvn_path_action log[16];

	hvn_path_init(p);
	hvn_path_event(p, HVN_EV_START);
	hvn_path_event(p, HVN_EV_ASSOC);
	hvn_path_event(p, HVN_EV_APPEAR);
	run(p, log, 16);
	hvn_path_event(p, HVN_EV_SWITCHED);
	run(p, log, 16);
	assert_true(p->tx_on);
}

static void
test_order_to_vf(void **state)
{
	static const enum hvn_path_action before[] = { HVN_ACT_ATTACH, HVN_ACT_CONFIGURE,
						       HVN_ACT_RX_ON, HVN_ACT_SWITCH_VF };
	static const enum hvn_path_action after[] = { HVN_ACT_TX_ON };
	enum hvn_path_action log[16];
	struct hvn_path p;

	(void)state;
	hvn_path_init(&p);
	hvn_path_event(&p, HVN_EV_START);
	hvn_path_event(&p, HVN_EV_APPEAR);
	assert_int_equal(hvn_path_next(&p), HVN_ACT_NONE); /* not associated */
	hvn_path_event(&p, HVN_EV_ASSOC);
	assert_actions(log, run(&p, log, 16), before, 4);
	assert_int_equal(hvn_path_next(&p), HVN_ACT_WAIT);
	hvn_path_event(&p, HVN_EV_SWITCHED);
	assert_actions(log, run(&p, log, 16), after, 1);
}

static void
test_order_planned_removal(void **state)
{
	static const enum hvn_path_action before[] = { HVN_ACT_TX_OFF, HVN_ACT_QUIESCE,
						       HVN_ACT_SWITCH_SYN };
	static const enum hvn_path_action after[] = { HVN_ACT_RX_OFF, HVN_ACT_QUIESCE, HVN_ACT_STOP,
						      HVN_ACT_DETACH };
	enum hvn_path_action log[16];
	struct hvn_path p;

	(void)state;
	/* With and without the host's notice, which does not say that the VF's frames have arrived. */
	for (int notice = 0; notice < 2; notice++) {
		to_vf(&p);
		if (notice)
			hvn_path_event(&p, HVN_EV_HOST_SYNTHETIC);
		hvn_path_event(&p, HVN_EV_UNASSOC);
		assert_actions(log, run(&p, log, 16), before, 3);
		hvn_path_event(&p, HVN_EV_SWITCHED);
		assert_actions(log, run(&p, log, 16), after, 4);
		assert_int_equal(hvn_path_next(&p), HVN_ACT_NONE);
	}
}

/* A device that vanishes and comes back before the old one was given up is not mixed up. */
static void
test_vanish_and_reappear(void **state)
{
	enum hvn_path_action log[32];
	struct hvn_path p;
	unsigned int n, detached = 0;

	(void)state;
	to_vf(&p);
	hvn_path_event(&p, HVN_EV_VANISH);
	hvn_path_event(&p, HVN_EV_APPEAR);
	n = run(&p, log, 32);
	hvn_path_event(&p, HVN_EV_SWITCHED);
	n += run(&p, log + n, 32 - n);
	for (unsigned int i = 0; i < n; i++) {
		if (log[i] == HVN_ACT_DETACH)
			detached = i + 1;
		if (log[i] == HVN_ACT_ATTACH)
			assert_true(detached != 0);
	}
	assert_true(detached != 0);
	hvn_path_event(&p, HVN_EV_SWITCHED);
	run(&p, log, 32);
	assert_true(p.tx_on);
}

/* Recovery in place keeps the VF attached and running, but carries no traffic over it. */
static void
test_recovery_in_place(void **state)
{
	enum hvn_path_action log[16];
	struct hvn_path p;

	(void)state;
	to_vf(&p);
	hvn_path_event(&p, HVN_EV_RECOVERING);
	run(&p, log, 16);
	hvn_path_event(&p, HVN_EV_SWITCHED);
	run(&p, log, 16);
	assert_true(p.attached && p.running && !p.rx_on && !p.tx_on);
	hvn_path_event(&p, HVN_EV_RECOVERED);
	run(&p, log, 16);
	hvn_path_event(&p, HVN_EV_SWITCHED);
	run(&p, log, 16);
	assert_true(p.tx_on);
}

/* A link that comes back does not end a recovery, nor the other way round. */
static void
test_recovery_and_link(void **state)
{
	static const enum hvn_path_event back[2][2] = { { HVN_EV_LINK_UP, HVN_EV_RECOVERED },
							{ HVN_EV_RECOVERED, HVN_EV_LINK_UP } };
	enum hvn_path_action log[16];
	struct hvn_path p;

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		to_vf(&p);
		hvn_path_event(&p, HVN_EV_RECOVERING);
		hvn_path_event(&p, HVN_EV_LINK_DOWN);
		run(&p, log, 16);
		hvn_path_event(&p, HVN_EV_SWITCHED);
		run(&p, log, 16);
		hvn_path_event(&p, back[i][0]);
		assert_int_equal(run(&p, log, 16), 0);
		hvn_path_event(&p, back[i][1]);
		run(&p, log, 16);
		hvn_path_event(&p, HVN_EV_SWITCHED);
		run(&p, log, 16);
		assert_true(p.tx_on);
	}
}

/* What was refused is tried again when the application has configured the port anew. */
static void
test_unfit_until_restart(void **state)
{
	enum hvn_path_action log[16];
	struct hvn_path p;

	(void)state;
	to_vf(&p);
	hvn_path_event(&p, HVN_EV_UNFIT);
	run(&p, log, 16);
	hvn_path_event(&p, HVN_EV_SWITCHED);
	run(&p, log, 16);
	assert_false(p.attached);
	hvn_path_event(&p, HVN_EV_STOP);
	run(&p, log, 16);
	hvn_path_event(&p, HVN_EV_START);
	run(&p, log, 16);
	hvn_path_event(&p, HVN_EV_SWITCHED);
	run(&p, log, 16);
	assert_true(p.tx_on);
}

/* The link of a stopped VF is not looked at: what was seen before a stop must not count after. */
static void
test_no_link_over_restart(void **state)
{
	enum hvn_path_action log[16];
	struct hvn_path p;

	(void)state;
	to_vf(&p);
	hvn_path_event(&p, HVN_EV_LINK_DOWN);
	run(&p, log, 16);
	hvn_path_event(&p, HVN_EV_SWITCHED);
	run(&p, log, 16);
	hvn_path_event(&p, HVN_EV_STOP);
	run(&p, log, 16);
	assert_false(p.running);
	hvn_path_event(&p, HVN_EV_START);
	run(&p, log, 16);
	assert_true(p.running);
}

/* No number of attempts is too many, however long the device takes to be ready. */
static void
test_waits_for_ever(void **state)
{
	struct hvn_path p;

	(void)state;
	hvn_path_init(&p);
	hvn_path_event(&p, HVN_EV_START);
	hvn_path_event(&p, HVN_EV_ASSOC);
	hvn_path_event(&p, HVN_EV_APPEAR);
	for (unsigned int i = 0; i < 100000; i++) {
		assert_int_equal(hvn_path_next(&p), HVN_ACT_ATTACH);
		hvn_path_done(&p, HVN_ACT_ATTACH, -EAGAIN);
		assert_int_equal(hvn_path_next(&p), HVN_ACT_RETRY);
		hvn_path_event(&p, HVN_EV_RETRY);
	}
	hvn_path_done(&p, HVN_ACT_ATTACH, 0);
	assert_int_equal(hvn_path_next(&p), HVN_ACT_CONFIGURE);
}

/* The VF could not be stopped in time (a burst was inside): it is, before it is used again. */
static void
test_stop_that_was_not_over(void **state)
{
	enum hvn_path_action log[16];
	struct hvn_path p;

	(void)state;
	to_vf(&p);
	hvn_path_event(&p, HVN_EV_STOP);
	assert_int_equal(hvn_path_next(&p), HVN_ACT_TX_OFF);
	hvn_path_done(&p, HVN_ACT_TX_OFF, 0);
	hvn_path_done(&p, HVN_ACT_QUIESCE, -EAGAIN);
	hvn_path_event(&p, HVN_EV_START);
	run(&p, log, 16);
	hvn_path_event(&p, HVN_EV_SWITCHED);
	assert_int_equal(run(&p, log, 16), 6);
	assert_string_equal(hvn_path_action_name(log[2]), "stop");
	assert_string_equal(hvn_path_action_name(log[3]), "configure");
	hvn_path_event(&p, HVN_EV_SWITCHED);
	run(&p, log, 16);
	assert_true(p.tx_on);
}

static void
test_names(void **state)
{
	(void)state;
	for (enum hvn_path_event ev = 0; ev < HVN_EV_COUNT; ev++)
		assert_string_not_equal(hvn_path_event_name(ev), "unknown");
	for (enum hvn_path_action act = 0; act < HVN_ACT_COUNT; act++)
		assert_string_not_equal(hvn_path_action_name(act), "unknown");
	assert_string_equal(hvn_path_event_name(HVN_EV_COUNT), "unknown");
	assert_string_equal(hvn_path_action_name(HVN_ACT_COUNT), "unknown");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_state),
		cmocka_unit_test(test_order_to_vf),
		cmocka_unit_test(test_order_planned_removal),
		cmocka_unit_test(test_vanish_and_reappear),
		cmocka_unit_test(test_recovery_in_place),
		cmocka_unit_test(test_recovery_and_link),
		cmocka_unit_test(test_unfit_until_restart),
		cmocka_unit_test(test_no_link_over_restart),
		cmocka_unit_test(test_waits_for_ever),
		cmocka_unit_test(test_stop_that_was_not_over),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
