/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The failover state machine: which path carries the port's traffic, and the next step to
 * get where it should be. Pure code: no DPDK, no clock, no lock, no allocation.
 *
 * It reconciles. Events only record facts (the application started the port, the host
 * associates a VF, its device vanished); hvn_path_next() compares the facts with what has
 * been done and names one action; the caller executes it and reports with hvn_path_done().
 * No history is kept beyond the facts, so no order of events can lead into a dead end:
 * test_path.c visits every reachable state and proves it.
 *
 * One thread (the port's control thread) owns a struct hvn_path.
 *
 * Order of a switch to the VF: attach, configure and start it, receive from both paths, tell
 * the host and wait for its completion, only then transmit on the VF. Back: transmit on the
 * synthetic path, let bursts leave the VF, tell the host, stop receiving, let bursts leave
 * again, stop, detach.
 */
#ifndef HVN_PATH_H
#define HVN_PATH_H

#include <stdbool.h>
#include <stdint.h>

enum hvn_path_event {
	HVN_EV_START,	    /* application started the port */
	HVN_EV_STOP,	    /* ... stopped it */
	HVN_EV_CLOSE,	    /* ... closes it: nothing may remain */
	HVN_EV_OPEN,	    /* channel (re)opened: the host's view is unknown */
	HVN_EV_ASSOC,	    /* host associates a VF */
	HVN_EV_ASSOC_OTHER, /* host associates another one without withdrawing the first */
	HVN_EV_UNASSOC,	    /* host withdraws it */
	HVN_EV_APPEAR,	    /* a matching device exists */
	HVN_EV_VANISH,	    /* it is gone: removal event, surprise */
	HVN_EV_RECOVERING,  /* the VF's driver resets it in place */
	HVN_EV_RECOVERED,   /* ... with success */
	HVN_EV_LINK_DOWN,   /* the VF has no link */
	HVN_EV_LINK_UP,
	HVN_EV_UNFIT,	       /* the VF cannot follow a change of the port's configuration */
	HVN_EV_HOST_SYNTHETIC, /* unsolicited: the host took the data path back */
	HVN_EV_HOST_GONE,      /* rescind, host death: nobody to talk to */
	HVN_EV_SWITCHED,       /* completion of the switch in flight */
	HVN_EV_SWITCH_TIMEOUT, /* no completion in time */
	HVN_EV_RETRY,	       /* the timer asked for by HVN_ACT_RETRY ran out */
	HVN_EV_COUNT
};

enum hvn_path_action {
	HVN_ACT_NONE,	    /* all is as it should be */
	HVN_ACT_WAIT,	    /* a switch is in flight: wait for its event */
	HVN_ACT_RETRY,	    /* see that a timer runs that ends in HVN_EV_RETRY */
	HVN_ACT_ATTACH,	    /* find the device, take ownership */
	HVN_ACT_CONFIGURE,  /* mirror the port's configuration and start the VF */
	HVN_ACT_RX_ON,	    /* poll the VF for receive too */
	HVN_ACT_SWITCH_VF,  /* ask the host to deliver through the VF; completion is awaited */
	HVN_ACT_TX_ON,	    /* transmit on the VF */
	HVN_ACT_TX_OFF,	    /* transmit on the synthetic path from the next burst on */
	HVN_ACT_SWITCH_SYN, /* ask the host to deliver synthetically; completion is awaited */
	HVN_ACT_RX_OFF,	    /* stop polling the VF, what it still holds delivered first */
	HVN_ACT_QUIESCE,    /* wait until no burst is inside the VF's functions */
	HVN_ACT_STOP,	    /* stop the VF */
	HVN_ACT_DETACH,	    /* give it up: close, remove, release ownership */
	HVN_ACT_COUNT
};

enum hvn_host_path { HVN_HOST_SYN, HVN_HOST_VF, HVN_HOST_UNKNOWN };

/* A host that does not answer a switch back this often is taken to have done it. */
#define HVN_PATH_TRIES 3

struct hvn_path {
	/* facts from outside */
	bool started;
	bool closing;
	bool host_gone;
	bool assoc;
	bool present;
	bool recovering;
	bool no_link;
	bool stale;    /* what is attached is not, or no longer, the VF that is meant */
	bool outdated; /* it runs with what the port was configured to before a stop */
	bool refused;  /* this VF cannot carry the port; forgotten when something changes */
	/* what has been done */
	bool attached;
	bool running;
	bool rx_on;
	bool tx_on;
	bool turned; /* something was turned off, and a burst may still be inside the VF */
	bool doubt;  /* the host took the path back while a switch to the VF was in flight */
	enum hvn_host_path host;
	enum hvn_path_action in_flight; /* HVN_ACT_NONE or a switch */
	bool backoff;			/* a retry timer runs */
	uint8_t tries;			/* failures in a row: the caller's delay grows with it */
};

/* Synthetic, nothing known, port stopped. */
void hvn_path_init(struct hvn_path *p);

/* Record a fact. */
void hvn_path_event(struct hvn_path *p, enum hvn_path_event ev);

/* The next action; HVN_ACT_NONE when there is nothing to do. Does not change p. */
enum hvn_path_action hvn_path_next(const struct hvn_path *p);

/*
 * Report an action of hvn_path_next() as executed: rc 0, -EAGAIN (may work later: it is tried
 * again for as long as the VF is there) or another negative errno (the VF cannot be used: it
 * is left alone). For a switch, rc is that of sending the request.
 */
void hvn_path_done(struct hvn_path *p, enum hvn_path_action act, int rc);

/* Should the VF carry the port's traffic, as far as is known now? */
bool hvn_path_wanted(const struct hvn_path *p);

/* Names for logs and telemetry; never NULL. */
const char *hvn_path_event_name(enum hvn_path_event ev);
const char *hvn_path_action_name(enum hvn_path_action act);

#endif /* HVN_PATH_H */
