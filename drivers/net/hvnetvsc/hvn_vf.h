/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The VF of a port: hvn_path.h decides what to do next, this executes it.
 *
 * Locks: whoever runs the engine holds ctrl_lock: the control thread (which only tries for it), or an
 * application's start, stop or close. Facts may be recorded by any thread.
 */
#ifndef HVN_VF_H
#define HVN_VF_H

#include <sys/queue.h>
#include <time.h>

#include "hvn.h"
#include "hvn_path.h"
#include "hvn_vf_args.h"
#include "hvn_vf_find.h"

#define HVN_NS_PER_MS UINT64_C(1000000)

struct hvn_vf_counters {
	uint64_t to_vf, to_synthetic; /* completed switches */
	uint64_t planned, surprise;   /* of those to the synthetic path */
	uint64_t failed; /* a switch the host did not complete, a VF that could not be used */
	uint64_t last_ns,
		longest_ns; /* from the decision to leave a path until the host confirmed */
};

struct hvn_vf {
	struct hvn_port *p;
	struct hvn_path path;
	rte_spinlock_t lock; /* of the events */
	uint8_t events[HVN_EV_COUNT];
	unsigned int n_events;
	bool assoc;
	bool fresh; /* the session has not said yet what the host's path is */
	uint32_t serial;
	uint16_t port; /* RTE_MAX_ETHPORTS: none attached */
	bool any_gone; /* a port vanished while it was not attached: these */
	bool gone[RTE_MAX_ETHPORTS];
	bool polled;	  /* it has no removal interrupt: it is asked whether it is there */
	uint32_t stopped; /* a process was stopped inside the VF when it was last waited for */
	const uint32_t *alien_at; /* a process that cannot be looked at has this mark ... */
	uint32_t alien;		  /* ... of this value */
	uint64_t alien_since;	  /* ... since then, ns */
	bool halted;		  /* bursts receive nothing until it is emptied */
	bool abandoned;		  /* ... and never came out: a queue may be half changed */
	uint64_t owner;
	struct rte_ether_addr mac; /* by which the VF is known: the NIC's, whatever is set later */
	struct rte_ether_addr *mc; /* the application's multicast list */
	uint32_t n_mc;
	TAILQ_HEAD(, rte_flow) flows;
	uint64_t retry_at; /* ns, 0 = no timer */
	uint64_t look_at;  /* ns: next look for a device, or at the link of the one that runs */
	uint64_t leaving;  /* ns: when the current switch was decided on */
	char refusal[128]; /* why a VF is not used */
	bool told;	   /* something was logged that would be repeated */
	bool counting;	   /* the VF runs, and its counters count from base */
	bool changed;	   /* the application has not been told that the data path is another */
	struct hvn_lock stats_lock;	   /* for counting, base and past */
	char device[RTE_DEV_NAME_MAX_LEN]; /* of the VF's port, in use: hvn_vf_port.c */
	struct hvn_vf_arg *kept; /* the user's arguments of devices, while they are away */
	struct rte_eth_stats base;
	struct rte_eth_stats past; /* of those before it */
	struct hvn_vf_counters count;
};

/* Monotonic, ns. */
static inline uint64_t
hvn_vf_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 * HVN_NS_PER_MS + (uint64_t)ts.tv_nsec;
}

/* Make the engine of a port: nothing attached. 0 or -ENOMEM. */
int hvn_vf_create(struct hvn_port *p);
/* After HVN_EV_CLOSE was run: nothing is attached any more. */
void hvn_vf_destroy(struct hvn_port *p);

/* Record a fact and wake the control thread. Any thread, does not block. */
void hvn_vf_event(struct hvn_port *p, enum hvn_path_event ev);
/* A session is about to be opened: the host will tell of its VF anew. Caller holds ctrl_lock. */
void hvn_vf_session(struct hvn_port *p);
/* It is open, the NIC's MAC address is known: the VF is found by it from now on. */
void hvn_vf_known(struct hvn_port *p);
/* The host's VF_ASSOC message. Control thread. */
void hvn_vf_assoc(struct hvn_port *p, bool allocated, uint32_t serial);

/*
 * Take the recorded facts and do what they ask for, until nothing is left to do or something must
 * be waited for. Caller holds ctrl_lock. Returns after how many ms to run again, 0 = when woken.
 */
uint32_t hvn_vf_run(struct hvn_port *p);

/*
 * Has the data path changed since this was asked last? Then the application is to be told. Caller
 * holds ctrl_lock.
 */
bool hvn_vf_changed(struct hvn_port *p);

/* Before the port is closed: leave the VF for good, bounded in time. Caller holds ctrl_lock. */
void hvn_vf_close(struct hvn_port *p);

/*
 * The port's configuration changed (filter, RSS, addresses, VLAN): the VF gets it. One that cannot
 * follow is left. Caller holds ctrl_lock.
 */
void hvn_vf_mirror(struct hvn_port *p);
/* The multicast list that hvn_vf_mirror() is to pass on; copied. 0 or -ENOMEM. */
int hvn_vf_set_mc(struct hvn_port *p, const struct rte_ether_addr *list, uint32_t n);
/* A queue of the running port changes: leave the VF, and take it again. Caller holds ctrl_lock. */
void hvn_vf_pause(struct hvn_port *p);
void hvn_vf_resume(struct hvn_port *p);

/* --- hvn_vf_queues.c: the paths of its queues --------------------------------------------------- */

/* Receive from a VF's port too, or what else vf_port may be; and transmit by it. */
void hvn_vf_queues_rx(struct hvn_port *p, uint16_t port);
void hvn_vf_queues_tx(struct hvn_port *p, uint16_t port);
/* Give queues that transmit on the VF a moment to turn back when it has sent what it was given. */
void hvn_vf_queues_tx_back(struct hvn_port *p);
/* For what hvn_path_rx_collect() takes; once for each queue. */
void hvn_vf_queues_room(struct hvn_port *p);
/* Which path's frames are the older ones. */
void hvn_vf_queues_order(struct hvn_port *p, enum hvn_ring_first first);
/*
 * The host is about to be asked to turn back. If it never said that it had turned to the VF, and
 * has all the same: what the ring has by now is from before.
 */
void hvn_vf_queues_unsaid(struct hvn_port *p);
/* Wait until no burst is on the path that was in force before. 0 or -EAGAIN: one still is. */
int hvn_vf_queues_quiesce(struct hvn_vf *vf);
/*
 * Receive from the VF no longer. What it has received is left to the application, which is waited
 * for; not for long: then its frames are taken and kept for it.
 */
void hvn_vf_queues_rx_off(struct hvn_vf *vf);

/* --- hvn_vf_stats.c: statistics ------------------------------------------------------------------ */

/* Add what went by way of VFs to a port's statistics; and forget it. */
void hvn_vf_stats_add(struct hvn_port *p, struct rte_eth_stats *stats);
void hvn_vf_stats_reset(struct hvn_port *p);
/* The VF is about to stop: keep what it counted. */
void hvn_vf_stats_end(struct hvn_vf *vf);

/* --- hvn_vf_port.c: the VF as an ethdev port --------------------------------------------------- */

/* Own what is the VF of this NIC, now and whenever it comes; and stop that. */
void hvn_vf_claim(struct hvn_vf *vf);
void hvn_vf_unclaim(struct hvn_vf *vf);
/* Is there a device for this association? 0, -ENODEV, or -EAGAIN: there is, but not ready. */
int hvn_vf_look(struct hvn_vf *vf);
/* Find or probe the port and take it. 0, -EAGAIN, or why it cannot be used. */
int hvn_vf_attach(struct hvn_vf *vf);
void hvn_vf_detach(struct hvn_vf *vf);
/* Let go of ports that vanished while they were not attached. */
void hvn_vf_clear(struct hvn_vf *vf);
/* No event of the attached port comes any more. */
void hvn_vf_unwatch(struct hvn_vf *vf);
/* Note the reason why a VF is not used; returns rc. */
int hvn_vf_refuse(struct hvn_vf *vf, int rc, const char *why);

/* --- hvn_vf_conf.c: its configuration ------------------------------------------------------------ */

/* Give it the port's configuration and start it; a reason for the log is left in refusal. */
int hvn_vf_configure(struct hvn_vf *vf);
/* Give a running one what may have changed. */
int hvn_vf_apply(struct hvn_vf *vf);
void hvn_vf_stop(struct hvn_vf *vf);

#endif /* HVN_VF_H */
