/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The VF of a port: hvn_path.h decides what to do next, this executes it.
 *
 * Locks: whoever runs the engine holds ctrl_lock: the control thread (which only tries for it), or an
 * application's start, stop or close. Facts may be recorded by any thread.
 */
#ifndef HVN_VF_H
#define HVN_VF_H

#include "hvn.h"
#include "hvn_path.h"
#include "hvn_vf_find.h"

#define HVN_VF_EVENTS 64

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
	uint8_t events[HVN_VF_EVENTS];
	unsigned int n_events;
	bool assoc;
	bool fresh; /* the session has not said yet what the host's path is */
	uint32_t serial;
	uint16_t port;	/* RTE_MAX_ETHPORTS: none attached */
	bool probed;	/* by us: removed again when it is given up */
	bool link_down; /* of the attached VF, as told to the state machine */
	uint64_t owner;
	uint64_t retry_at; /* ns, 0 = no timer */
	uint64_t look_at;  /* ns: next look for a device, and at its link */
	uint64_t leaving;  /* ns: when the current switch was decided on */
	char refusal[128]; /* logged once for each VF */
	bool counting;	   /* the VF runs, and its counters count from base */
	struct rte_eth_stats base;
	struct rte_eth_stats past; /* of those before it */
	struct hvn_vf_counters count;
};

/* Make the engine of a port: nothing attached. 0 or -ENOMEM. */
int hvn_vf_create(struct hvn_port *p);
/* After HVN_EV_CLOSE was run: nothing is attached any more. */
void hvn_vf_destroy(struct hvn_port *p);

/* In every process that runs bursts, before the first of them: see hvn_vf_quiesce(). 0 or -errno. */
int hvn_vf_register_barrier(void);

/* Record a fact and wake the control thread. Any thread, does not block. */
void hvn_vf_event(struct hvn_port *p, enum hvn_path_event ev);
/* A session was opened: the host tells of its VF anew. Caller holds ctrl_lock. */
void hvn_vf_session(struct hvn_port *p);
/* The host's VF_ASSOC message. Control thread. */
void hvn_vf_assoc(struct hvn_port *p, bool allocated, uint32_t serial);

/*
 * Take the recorded facts and do what they ask for, until nothing is left to do or something must
 * be waited for. Caller holds ctrl_lock. Returns after how many ms to run again, 0 = when woken.
 */
uint32_t hvn_vf_run(struct hvn_port *p);

/* The port's configuration changed (filter, RSS, MTU, addresses): mirror it. Caller holds ctrl_lock. */
void hvn_vf_mirror(struct hvn_port *p);

/* Add what went by way of VFs to a port's statistics; and forget it. */
void hvn_vf_stats_add(struct hvn_port *p, struct rte_eth_stats *stats);
void hvn_vf_stats_reset(struct hvn_port *p);

/* --- hvn_vf_port.c: the VF as an ethdev port --------------------------------------------------- */

/* Is there a device for this association? 0, -ENODEV, or -EAGAIN: there is, but not ready. */
int hvn_vf_look(struct hvn_vf *vf);
/* Find or probe the port and take it. 0, -EAGAIN, or why it cannot be used. */
int hvn_vf_attach(struct hvn_vf *vf);
/* Give it the port's configuration and start it; a reason for the log is left in refusal. */
int hvn_vf_configure(struct hvn_vf *vf);
void hvn_vf_stop(struct hvn_vf *vf);
void hvn_vf_detach(struct hvn_vf *vf);
void hvn_vf_configure_filters(struct hvn_vf *vf);

#endif /* HVN_VF_H */
