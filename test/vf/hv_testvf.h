/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net_hvtestvf: what a VF's driver does and a software device cannot be made to do: a MAC address
 * of its choice, a removal interrupt, RSS and flow rules, failures on command. Device arguments:
 *
 *   inner=NAME   a port probed before, which moves the packets (net_memif0); or the arguments of a
 *                virtual device that is made for this one, with + for comma and : for =; without: what is
 *                sent is counted and freed, nothing is received
 *   mac=, mac2=  address of the port, and of a second port on the same device
 *   ctl=PATH     Unix datagram socket for commands, see hv_testvf_ctl.c
 *   rmv=0        no removal interrupt
 *   queues=N desc=N mtu=N rss=0 reta=N rxcap=MASK txcap=MASK   what it can
 *   fail=OP:ERRNO   an operation (or "probe") that fails from the beginning
 */
#ifndef HV_TESTVF_H
#define HV_TESTVF_H

#include <stdio.h>

#include <rte_ether.h>
#include <rte_flow.h>
#include <ethdev_driver.h>

#define TESTVF_KEY  40
#define TESTVF_RETA 512
#define TESTVF_MC   16

/* Operations that can be made to fail. */
enum testvf_op {
	OP_PROBE,
	OP_CONFIGURE,
	OP_START,
	OP_STOP,
	OP_CLOSE,
	OP_RXQ,
	OP_TXQ,
	OP_MTU,
	OP_PROMISC,
	OP_ALLMULTI,
	OP_MC,
	OP_RSS,
	OP_RETA,
	OP_MAC,
	OP_VLAN,
	OP_STATS,
	OP_INFO,
	OP_FLOW,
	OP_COUNT
};

struct testvf_flow {
	TAILQ_ENTRY(testvf_flow) next;
	uint16_t ether_type; /* in network order, 0: any */
	bool drop;
	uint64_t hits, bytes;
};

/* In shared memory: a secondary process runs bursts on it. */
struct testvf {
	struct rte_eth_dev_data *data;
	bool has_inner;
	uint16_t inner;
	char made[64]; /* the inner device, if it was made for this one */
	/* what it can */
	uint16_t max_queues, max_desc, max_mtu, reta_size;
	bool rmv, has_rss;
	uint64_t rx_capa, tx_capa;
	/* what was set, for "state" */
	uint16_t mtu;
	uint8_t key[TESTVF_KEY];
	uint64_t hf;
	uint16_t reta[TESTVF_RETA];
	struct rte_ether_addr mc[TESTVF_MC];
	uint32_t n_mc;
	bool strip;
	TAILQ_HEAD(, testvf_flow) flows;
	rte_spinlock_t flow_lock;
	/* what it does */
	bool gone, link_down;
	bool resetting; /* it moves nothing, and forgets what it has */
	bool hold;	/* its stop does not end while this is set */
	bool hang;	/* transmit bursts do not end while this is set */
	bool hung;	/* one is there */
	bool leak;	/* what is sent is forgotten, and not freed */
	uint32_t leaked;
	int fail[OP_COUNT];
	uint32_t secondary_tx; /* packets sent by other processes */
	uint32_t all_tx;       /* ... and by all, over restarts */
	/* private to the primary */
	struct rte_intr_handle *ctl;
	char ctl_path[108];
	struct rte_ether_addr mac;
};

static inline struct testvf *
testvf_of(const struct rte_eth_dev *dev)
{
	return dev->data->dev_private;
}

/* hv_testvf.c */
extern const struct eth_dev_ops testvf_ops;
uint16_t testvf_rx(void *queue, struct rte_mbuf **pkts, uint16_t n);
uint16_t testvf_tx(void *queue, struct rte_mbuf **pkts, uint16_t n);
/* Nobody is inside its bursts: what it has received is lost. */
void testvf_forget(struct rte_eth_dev *dev);

/* hv_testvf_probe.c: devices that come from now on are of this driver, or of none. */
void testvf_use_driver(const char *name);

/* hv_testvf_ctl.c */
int testvf_ctl_open(struct rte_eth_dev *dev, const char *path);
void testvf_ctl_close(struct rte_eth_dev *dev);
/* "OP:ERRNO" or "OP ERRNO"; errno 0: it works again. */
void testvf_fail(struct testvf *vf, const char *text);

/* hv_testvf_flow.c */
extern const struct rte_flow_ops testvf_flow_ops;
/* Apply the rules to received packets: frees what they drop, returns how many remain. */
uint16_t testvf_flow_filter(struct testvf *vf, struct rte_mbuf **pkts, uint16_t n);

#endif /* HV_TESTVF_H */
