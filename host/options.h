/* SPDX-License-Identifier: BSD-3-Clause */
/* What hv-host was asked to do: read once from the command line, constant afterwards. */
#ifndef HOST_OPTIONS_H
#define HOST_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#define HOST_NICS_MAX 64
#define HOST_LOSE_MAX 32 /* message types that --lose can name */

enum host_exit {
	HOST_EXIT_OK = 0,
	HOST_EXIT_USAGE = 1,
	HOST_EXIT_VIOLATIONS = 3,
	HOST_EXIT_TRAFFIC = 4,
};

enum order { ORDER_FORWARD, ORDER_REVERSE, ORDER_RANDOM };

struct host_options {
	const char *socket;
	const char *control; /* NULL: <socket>.ctl */
	const char *trace;
	const char *json;
	const char *name;
	const char *nics[HOST_NICS_MAX];
	unsigned int n_nics;
	unsigned int nics_per_guest; /* 0 = all that are free */
	bool wait_event;
	unsigned int signal_grace_ms; /* 0 = for ever */
	bool strict;
	bool verbose;
	int cpu;  /* -1 = not pinned */
	int numa; /* -1 = any */
	/* how the bus behaves */
	uint32_t vmbus_max;
	uint32_t vmbus_min;
	uint32_t msg_conn_id;
	bool monitor;
	bool dedicated;
	bool signal_fd;
	bool event_fd;
	unsigned int sub_delay_ms;
	enum order sub_order, serve_order;
	uint32_t seed;		/* 0 = of the clock */
	unsigned int sub_limit; /* at most so many sub-channels offered, whatever was granted */
	unsigned int unload_delay_ms;
	unsigned int reply_delay_ms;
	unsigned int open_status;
	unsigned int mmio_mb;
	uint64_t gpadl_limit;		  /* bytes per guest */
	unsigned int lose[HOST_LOSE_MAX]; /* replies of this type still to be lost */
};

extern struct host_options host_opt;

/* Fill host_opt. Returns 0, 1 if the program has nothing to do (--help), or -EINVAL with a message.
 * *rest is the index of the first argument for DPDK (behind "--"), argc if there is none. */
int options_parse(int argc, char **argv, int *rest);

#endif /* HOST_OPTIONS_H */
