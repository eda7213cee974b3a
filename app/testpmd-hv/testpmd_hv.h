/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * testpmd-hv: forwards packets between ethdev ports, counts what happens to each.
 *
 * main.c decides, on the main lcore; forward.c moves packets, on the other lcores (on the main
 * one too if it is alone). There is no other thread. A stream is one receive queue and the
 * transmit queue its packets go to; one lcore runs it, and is the only writer of its counters.
 */
#ifndef TESTPMD_HV_H
#define TESTPMD_HV_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <rte_common.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#define TP_NAME	      "testpmd-hv"
#define TP_QUEUES_MAX 64
#define TP_BURST_MAX  512
#define TP_HOST_NICS  8 /* --host-nic */

enum tp_mode { TP_IO, TP_MAC, TP_MACSWAP, TP_RXONLY, TP_TXONLY };

struct tp_options {
	enum tp_mode mode;
	uint16_t rxq, txq;	   /* queues of each port */
	uint16_t rxd, txd;	   /* descriptors of each queue; 0: what the driver prefers */
	uint16_t burst;		   /* packets */
	uint32_t mbufs;		   /* of all ports; 0: computed */
	uint16_t mbuf_size;	   /* data room, headroom included; 0: computed */
	uint16_t mtu;		   /* 0: the driver's */
	uint16_t txpkts;	   /* txonly: bytes of a frame without FCS */
	uint32_t tx_retries;	   /* of what a transmit queue does not take, 1 us apart */
	unsigned int stats_period; /* seconds; 0: only at the end */
	unsigned int duration;	   /* seconds; 0: until a signal */
	bool interactive;
	bool lsc; /* ask for link interrupts */
	bool time_bursts;
	const char *json;		     /* file for the statistics */
	const char *host_nics[TP_HOST_NICS]; /* NICs of the embedded host */
	unsigned int n_host_nics;
};

extern struct tp_options tp_opt;

/* What became of packets; all counters only grow. */
struct tp_counters {
	uint64_t rx;	  /* received, or made by txonly */
	uint64_t tx;	  /* taken by the transmit queue */
	uint64_t dropped; /* not taken after the retries, or nowhere to go */
	uint64_t retries;
	uint64_t polls;
	uint64_t bursts; /* polls that found packets */
	uint64_t cycles; /* TSC cycles of those */
};

/* TSC cycles of the longest call of a burst function, and of those that nobody interrupted. */
struct tp_burst_time {
	uint64_t longest, longest_alone;
};

struct tp_stream {
	struct tp_counters c;
	struct tp_burst_time time;
	uint16_t rx_port, rx_queue;
	uint16_t tx_port, tx_queue;
	bool closed;			/* the transmit side has gone */
	struct rte_ether_addr src, dst; /* mac, txonly */
} __rte_cache_aligned;

enum tp_port_state { TP_PORT_STOPPED, TP_PORT_STARTED, TP_PORT_CLOSED };

struct tp_port {
	uint16_t id;
	uint16_t peer; /* index in tp_ports of where its packets go */
	enum tp_port_state state;
	bool removed; /* set by the interrupt thread, read by the main lcore */
	bool rmv_seen;
	uint16_t rxd, txd;
	uint32_t max_rx_len; /* of a frame the pool's buffers must hold */
	struct rte_ether_addr mac;
	char name[RTE_ETH_NAME_MAX_LEN];
	struct rte_eth_stats last; /* the device's own statistics when last asked */
};

extern struct tp_port tp_ports[RTE_MAX_ETHPORTS];
extern unsigned int tp_n_ports;

/* options.c: 0, or -EINVAL with a message; 1 if help was printed. argv[0] is skipped. */
int options_parse(int argc, char **argv);
void options_help(void);
const char *options_mode_name(enum tp_mode mode);

/* ports.c; 0 or a negative errno with a message */
int ports_init(void); /* find, configure and start all */
int port_start(struct tp_port *port);
int port_stop(struct tp_port *port);
void port_close(struct tp_port *port); /* also one that was removed */
int ports_fini(void);		       /* close all; -ENOMEM: mbufs are missing */
void ports_wait_link(void);	       /* bounded */
unsigned int ports_usable(void);
bool ports_removed(void); /* has a port gone that is not closed yet? */
struct tp_port *port_find(uint16_t id);
struct rte_mempool *ports_pool(void);

/* forward.c; all on the main lcore */
int forward_start(void); /* -EBUSY, -ENODEV with a message */
void forward_stop(void); /* returns when no lcore touches a queue any more */
bool forward_running(void);
/* If the main lcore is alone, it forwards here for a while; otherwise does nothing: false. */
bool forward_slice(void);
/* Sum of what a port received (and where that went) since the start. */
void forward_counters(uint16_t port, struct tp_counters *sum);
/* The longest burst of them all. */
struct tp_burst_time forward_burst_time(void);
double forward_seconds(void); /* time spent forwarding */

/* stats.c */
void stats_port_refresh(struct tp_port *port);
void stats_print(FILE *f);
void stats_print_port(FILE *f, const struct tp_port *port);
int stats_write_json(const char *path);

/* embedded_host.c */
/* Arguments for EAL: the user's, the plug-ins', and those that the embedded host needs. */
int embedded_host_prepare(int *argc, char ***argv);
void embedded_host_stop(void); /* no-op if none was started */

/* commands.c */
int commands_open(void);
void commands_poll(int timeout_ms); /* read what was typed, or wait */
void commands_close(void);

/* main.c */
extern volatile bool tp_quit;

#endif /* TESTPMD_HV_H */
