/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver's state, and what its files call in each other.
 *
 *   hvn_ethdev.c  probe, remove, ops table        hvn_chan.c  a channel: scan, send, acknowledge
 *   hvn_port.c    configure, start, stop, reset   hvn_rx.c hvn_ext.c ... receive bursts
 *   hvn_session.c open and close the channel      hvn_tx.c    transmit bursts
 *   hvn_ctrl.c    control thread, transactions    hvn_txd.c   descriptors and sections
 *   hvn_nvsp.c    handshake, buffers, channels    hvn_path.c  failover state machine (pure)
 *   hvn_rndis.c   requests, OIDs, filter          hvn_caps.c  what the host says (pure)
 *   hvn_offload.c hvn_rss.c hvn_link.c hvn_stats.c hvn_telemetry.c hvn_devargs.c hvn_intr.c
 *   hvn_vf.c hvn_flow.c hvn_leave.c hvn_recover.c ...
 *
 * Everything reachable from struct hvn_port lives in memory shared with secondary processes,
 * except what is marked private to a process.
 *
 * Locks, in order: ctrl_lock (control functions of the application, one at a time), in_lock of a
 * channel, out_lock of a channel. A burst takes the two channel locks, uncontended unless receive
 * and transmit of one queue run on different lcores, for a bounded time; never ctrl_lock. The locks
 * of a channel outlive a process that is killed while it holds one: hvn_biased.h.
 */
#ifndef HVN_H
#define HVN_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_mbuf.h>
#include <rte_spinlock.h>
#include <ethdev_driver.h>

#include "hvn_biased.h"
#include "hvn_log.h"
#include "ndis_wire.h"
#include "nvsp_wire.h"
#include "rndis_parse.h"
#include "vmbus.h"

#define HVN_QUEUES_MAX	  64
#define HVN_BURST_DEFAULT 32
#ifndef HVN_TX_COPYBREAK
#define HVN_TX_COPYBREAK 1600 /* bytes: shorter frames are copied into sections */
#endif
#define HVN_MTU_MAX 9202 /* OpenVMM's limit of 9216 with the Ethernet header */
/* Azure drops or damages large datagrams that it is to sum; FreeBSD trusts it with these. */
#define HVN_UDP_CKSUM_MAX  1420
#define HVN_LRO_MAX	   65535 /* bytes of a coalesced frame */
#define HVN_DESC_MIN	   64
#define HVN_DESC_MAX	   4096
#define HVN_RX_BUF_MIN	   256	/* data room of an mbuf */
#define HVN_TX_SEGS_MAX	   31	/* the RNDIS header takes one range */
#define HVN_GPA_RANGES_MAX 32	/* Linux MAX_PAGE_BUFFER_COUNT */
#define HVN_RX_SCRATCH	   8192 /* a packet that wraps: at most 24 + 8 * 562 + 40 bytes */
#define HVN_CTRL_MSG_MAX   4352

/* Transaction ids: bit 63 says control; else queue << 32 | generation << 16 | descriptor, + 1 << 48 */
#define HVN_TID_CTRL (UINT64_C(1) << 63)

struct hvn_port;

/* --- counters: written by one thread each, read by anybody ----------------------------------- */

/* Why something the host sent was refused: index of hvn_chan.invalid[]. */
enum hvn_invalid {
	HVN_INV_DESC,	    /* malformed ring descriptor */
	HVN_INV_PKT_TYPE,   /* unknown packet type */
	HVN_INV_NVSP,	    /* NVSP message too short, unexpected or of the wrong type */
	HVN_INV_XFER,	    /* transfer-page header: set id, range count, lengths */
	HVN_INV_RANGE,	    /* range outside the receive buffer or longer than a slot */
	HVN_INV_RNDIS,	    /* refused by rndis_parse_packet() */
	HVN_INV_COMPLETION, /* id never issued, or completed twice */
	HVN_INV_RSC,	    /* coalesced pieces out of order */
	HVN_INV_COUNT
};

struct hvn_rx_stats {
	uint64_t packets, bytes, errors, nombuf,
		dropped; /* dropped: nobody polled, or port stopped */
	uint64_t multicast, broadcast;
	uint64_t messages; /* transfer-page packets taken */
	uint64_t external; /* frames handed out where they lie */
};

struct hvn_tx_stats {
	uint64_t packets, bytes, errors;
	uint64_t ring_full, section_full, desc_full; /* bursts cut short, by reason */
	uint64_t messages, copied, direct;	     /* NVSP messages; packets by way of sending */
	uint64_t completions, failed; /* failed: completed with a status other than success */
};

/* --- channel ------------------------------------------------------------------------------------ */

/*
 * One VMBus channel. Its inbound ring carries received frames, transmit completions and
 * notifications. in_lock serialises its consumers: the receive burst, a transmit burst that needs
 * descriptors, the control thread.
 *
 * Frames stay in the ring until the application takes them. What is not a frame can be taken out
 * of order: a scan runs ahead of the read index, over frames left in place, handles everything
 * else and remembers how far it came (scanned, in bytes beyond ring.rx.index); the receive burst
 * then skips what was handled.
 */
struct hvn_rxq;
struct hvn_txq;
struct hvn_ext;

/* A completion that the host is owed. */
struct hvn_ack {
	uint64_t tid;
	uint64_t nvsp; /* HVN_ACK() */
};

/* The message that says so. */
#define HVN_ACK(status) (NVSP_RNDIS_COMPLETE | (uint64_t)(status) << 32)

#ifndef HVN_ACKS_MAX
#define HVN_ACKS_MAX 64u
#endif

/* No index of a ring. */
#define HVN_NEVER_IDLE UINT32_MAX

struct hvn_chan {
	struct hv_vmbus_channel *vc;
	struct hvn_port *port;
	struct hvn_rxq *rxq;   /* who takes the frames; NULL: they are dropped */
	uint16_t index;	       /* = queue */
	bool lost;	       /* the host took it away alone: nothing moves in it any more */
	bool left;	       /* to a process that is stopped inside a burst: hvn_leave.h */
	struct hvn_chan *next; /* of hvn_port.shut */
	bool told_corrupt;     /* the log says so, once */
	bool tx_held;	       /* hvn_tx_hold.h: an aggregate waits */
	bool tx_watched;       /* a receive burst has come since the last one of transmit */
	uint32_t tx_holds;     /* how often one did */
	uint32_t tx_holds_seen;
	uint64_t poller;    /* the thread that received last: hvn_thread_self */
	uint64_t tx_looker; /* the same, if it has found the host behind, transmitting; or 0 */
	struct hvn_biased in_lock;
	struct hvn_biased out_lock; /* of the outbound ring */
	bool paying;		    /* completions are being written one by one */
	uint32_t scanned;
	uint32_t
		n_acks; /* owed: taken from the inbound ring, not yet written to the outbound one */

	/* the transfer-page message being consumed, when msg_ranges != 0 */
	uint32_t msg_ranges;
	uint32_t msg_next;
	uint32_t msg_status; /* NVSP_STATUS_* of its completion */
	uint32_t ctrl_next;  /* first range of a control packet not yet taken */
	struct vmbus_ring_pkt msg;

	/* frames handed out where they lie, where that is done: hvn_ext.h */
	struct hvn_ext *ext;
	uint32_t ext_ranges; /* of the current message */
	bool ext_held;	     /* mbufs hold it */

	/* a coalesced frame whose pieces are being collected (RSC) */
	struct rte_mbuf *rsc_head;
	struct rte_mbuf *rsc_tail;
	uint32_t rsc_pieces, rsc_first; /* of the first one: bytes */

	uint64_t rx_polls_seen; /* rxq->polls at the last change that a scan noticed, and when */
	uint64_t rx_polls_tsc;
	uint64_t polls_looked; /* rxq->polls at the control thread's last look */

	uint64_t invalid[HVN_INV_COUNT];
	uint64_t parse_errors[RNDIS_PARSE_ERRORS];
	uint64_t in_signals, out_signals;
	uint64_t dropped;		   /* frames that no queue took */
	struct hvn_ack acks[HVN_ACKS_MAX]; /* n_acks of them; under in_lock */
	uint8_t scratch[HVN_RX_SCRATCH] __rte_cache_aligned;
};

/* --- queues ------------------------------------------------------------------------------------- */

/* How far the ring must be read before frames of the VF may be delivered: hvn_path_burst.c. */
struct hvn_ring_mark {
	uint32_t at;	/* read index when left was counted */
	uint32_t left;	/* bytes */
	uint32_t looks; /* since nothing is left of the time */
	uint64_t since; /* TSC, of the last progress */
};

/* Are frames in the ring older than those of the VF? */
enum hvn_ring_first {
	HVN_RING_LAST,	 /* no: the host may turn back at any time */
	HVN_RING_FIRST,	 /* yes: the host is about to turn to the VF */
	HVN_RING_TURNED, /* it has: up to the mark. Ended by the burst that comes there */
};

/*
 * Which path a queue uses: read once per burst. The control thread changes vf_port, makes every
 * other thread pass a full barrier (membarrier), and waits while busy is set.
 */
struct hvn_queue_path {
	uint32_t busy;	    /* the process whose burst may be inside the VF's functions, 0 = none */
	uint16_t vf_port;   /* RTE_MAX_ETHPORTS: synthetic; see hvn_path_inline.h */
	uint8_t ring_first; /* receive: enum hvn_ring_first */
	bool dead;	    /* transmit: the control thread was told that the VF has gone */
	uint64_t since;	    /* transmit: TSC when it was to turn */
	struct hvn_ring_mark mark; /* receive: of HVN_RING_TURNED */
};

#define HVN_RX_HOLD	32
#define HVN_RX_LATE	(2u * HVN_DESC_MAX) /* more than a VF's queue holds */
#define HVN_RX_LATE_VFS 4 /* given up in turn; of more than that, in one piece with the last */

/* Frames of a VF that was given up before anybody asked for them. */
struct hvn_rx_late {
	uint32_t n;
	bool behind;		   /* an earlier one's, and so what is held */
	struct hvn_ring_mark mark; /* what is in the ring that is to come before them */
};

/* Frames of one path, held back until older ones of the other are delivered. */
struct hvn_rx_hold {
	uint16_t n, first;	   /* pkts[first..first + n) */
	bool of_vf;		   /* else of the ring */
	uint32_t left;		   /* frames of the VF that are to come first */
	uint32_t vf_empty;	   /* polls that found nothing in the VF */
	struct hvn_ring_mark mark; /* what is in the ring that is to come first */
	struct rte_mbuf *pkts[HVN_RX_HOLD];
	/* Taken out of VFs by the control thread: the frames, and which are whose. */
	struct rte_mbuf **late; /* room for HVN_RX_LATE, or NULL */
	uint32_t late_n, late_first;
	uint32_t late_vfs;
	struct hvn_rx_late late_vf[HVN_RX_LATE_VFS];
};

struct hvn_rxq {
	/* All that an idle poll looks at, with the word of the host's that windex points to. */
	struct hvn_queue_path path;
	uint32_t idle_at;	/* write index at which there is nothing to do; HVN_NEVER_IDLE */
	struct hvn_lock asking; /* who asks the VF what its queue holds */
	const uint32_t *windex; /* of the inbound ring; of nothing while stopped */
	uint64_t polls;		/* heartbeat: a transmit burst sees that nobody receives */

	struct hvn_chan *chan; /* NULL while stopped */
	struct hvn_port *port;
	struct rte_mempool *pool;
	uint64_t mbuf_init; /* rearm data of rte_mbuf */

	/* of the port, for the inner loop; set by hvn_rxq_start() */
	const uint8_t *recv_buf;
	uint64_t slot_max; /* largest offset of a whole slot */
	uint32_t slot_size;
	uint32_t data_max;  /* bytes of a frame in one mbuf, behind the Ethernet header */
	uint32_t fetch_off; /* in the last slot, where the shortest frame ends: what to fetch */
	uint64_t fetch_far; /* bytes in the ring to the message whose slots are fetched */
	uint32_t owed;	    /* frames taken since the host was last told */
	uint32_t owed_max;  /* it has few slots: told at once */
	uint16_t buf_len;   /* data room behind the headroom */
	bool want_hash;
	bool records; /* frames come with more than a checksum record */
	bool singles; /* messages come with one frame */
	bool pinned;  /* the pool's mbufs have buffers elsewhere, for good */

	bool started;
	bool deferred;
	bool left;	 /* a process that is stopped inside has it: not to be freed */
	bool passed;	 /* its lcore has left the burst: hvn_recover.c */
	uint32_t ptypes; /* layers of packet types that the application wants, 0: none */
	bool vlan_strip;
	uint16_t queue_id;
	uint16_t port_id;
	uint16_t nb_desc;
	uint64_t offloads;
	uint32_t nothing; /* windex of a stopped queue */
	struct hvn_rx_stats stats __rte_cache_aligned;
	struct hvn_rx_stats base; /* subtracted since the last reset */
	struct hvn_rx_hold hold;
} __rte_cache_aligned;

struct hvn_txd; /* hvn_txd.h */

struct hvn_txq {
	struct hvn_port *port;
	struct hvn_chan *chan;
	struct hvn_txd *txd; /* descriptors, sections, done ring: hvn_txd.h */
	uint64_t offloads;
	uint16_t queue_id;
	uint16_t port_id;
	uint16_t nb_desc;
	uint16_t free_thresh;
	bool started;
	bool deferred;
	bool released; /* by ethdev, while the host still held packets */
	bool left;     /* a process that is stopped inside has it: not to be freed */
	struct hvn_queue_path path;
	struct hvn_lock asking; /* who asks the VF what its queue holds */
	struct hvn_tx_stats stats __rte_cache_aligned;
	struct hvn_tx_stats base;
} __rte_cache_aligned;

/* --- port --------------------------------------------------------------------------------------- */

struct hvn_devargs {
	uint32_t latency_us;	   /* doorbell latency, "latency", 50 */
	uint32_t rx_copybreak;	   /* with rx_extmbuf_enable: shorter frames are copied, 256 */
	uint32_t tx_copybreak;	   /* packets up to this length are copied into sections */
	uint32_t udp_cksum_max;	   /* longer IP packets with UDP are summed here, not by the host */
	bool rx_extmbuf;	   /* "rx_extmbuf_enable", 0 */
	bool numa_aware;	   /* 1 */
	struct rte_ether_addr mac; /* "mac": probe only the NIC with this address */
	bool mac_set;
	char vf[256];		   /* "vf": devargs of a DPDK device to use as VF */
	uint32_t ring_bytes;	   /* "ring_size", one direction, back end permitting */
	uint32_t nvsp_max;	   /* "nvsp": newest version to offer */
	uint32_t nvsp_timeout_ms;  /* "nvsp_timeout" */
	uint32_t rndis_timeout_ms; /* "rndis_timeout" */
	uint32_t stop_timeout_ms;  /* "stop_timeout": all of a stop; all of a close, twice */
};

#define HVN_PORT_COUNTERS 20 /* room: hvn_stats.c has the names */

/* What the host granted. */
struct hvn_host_caps {
	uint32_t nvsp_version;
	uint32_t ndis_major, ndis_minor;
	uint32_t mtu;	       /* L3 */
	uint32_t mtu_max;      /* that may be asked for */
	uint32_t max_packets;  /* RNDIS messages in one NVSP message */
	uint32_t max_transfer; /* bytes of them */
	uint32_t align;	       /* 1 << alignment factor */
	uint32_t slot_size, slot_count;
	uint32_t section_size, section_count;
	uint32_t rx_queues; /* by RSS capabilities; 1 without RSS */
	uint16_t reta_size;
	uint32_t rss_caps;	     /* NDIS_RSS_CAP_* */
	struct ndis_offload offload; /* hardware capabilities, 0 where absent */
	uint32_t lso4_max, lso6_max; /* bytes, 0: none */
	bool rsc;
};

struct hvn_rss {
	uint8_t key[NDIS_RSS_KEY_SIZE];
	uint64_t hf; /* RTE_ETH_RSS_* in force */
	uint16_t reta[NDIS_RSS_RETA_MAX];
	bool reta_set; /* by the application: kept over restart */
};

#define HVN_LEFT_ON_VF 128

struct hvn_ctrl; /* hvn_ctrl.h */
struct hvn_vf;	 /* private to the primary process: hvn_vf.h */

/*
 * Last indications of the session, for who opens it: the queue of notifications is for others.
 * Written under its lock, read while nobody else receives.
 */
struct hvn_said {
	uint32_t media;	      /* RNDIS_STATUS_MEDIA_CONNECT, RNDIS_STATUS_MEDIA_DISCONNECT, or 0 */
	uint32_t offload_len; /* of the message that tells the offloads in force; 0: none came */
	uint8_t offload[512];
};

struct hvn_port {
	struct rte_eth_dev_data *data;
	uint16_t port_id;
	bool opened;	  /* channel open, NVSP and RNDIS are up */
	bool closed;	  /* by dev_close: nothing is left to be looked at */
	bool running;	  /* dev_start succeeded: frames are delivered, else dropped */
	bool recovering;  /* a session is put in another's place: hvn_recover.h */
	uint32_t removed; /* rescind or host death: bursts return 0 and touch no ring */
	/*
	 * Of the session, also while it is being opened; of the last that was open: what others are
	 * told, and what packets to be sent may ask for.
	 */
	struct hvn_host_caps caps, known;
	struct hvn_said said;
	struct hvn_devargs args;
	struct hvn_rss rss;
	uint32_t filter;     /* packet filter in force */
	uint32_t link_speed; /* Mb/s */
	bool link_up;
	bool want_link_up; /* dev_set_link_down() clears it */
	struct rte_ether_addr mac;

	const uint8_t *recv_buf; /* of the host's slots; same address in every process */
	uint64_t recv_len;
	uint8_t *send_buf;
	uint64_t send_len;

	/*
	 * Open channels, by queue. Where the host left gaps between sub-channels, a queue's number is
	 * not its channel's: that is chan[]->vc->index.
	 */
	uint16_t n_chans;
	bool hidden; /* they are being closed: statistics and telemetry do not look at them */
	struct hvn_chan *chan[HVN_QUEUES_MAX];
	uint64_t hurry_until;  /* a stop or close has so long, in timer cycles: hvn_hurry.h */
	uint32_t late_in;      /* the host's spell of silence in which the port was last late */
	uint16_t session_mtu;  /* what NDIS_CONFIG said, L3 */
	bool subs_asked;       /* one request per session */
	uint16_t granted;      /* sub-channels, of which some may come late */
	uint16_t asked_queues; /* what the session was fitted to */
	uint16_t tx_shares;    /* into which the send sections are divided */
	uint16_t n_mc;	       /* addresses in the application's multicast list */
	uint64_t recoveries;
	bool rss_on;
	bool rsc_on;
	uint32_t ptypes;		     /* the same, for queues set up later */
	bool ptypes_set;		     /* ... and it has said so itself */
	struct hvn_txq *txq[HVN_QUEUES_MAX]; /* those with descriptors, for completions */

	/* Since the last reset, by the number of a queue: of those that are not there any more. */
	struct hvn_rx_stats rx_past[HVN_QUEUES_MAX];
	struct hvn_tx_stats tx_past[HVN_QUEUES_MAX];

	/* Counters of channels that are closed, and what all had reached at the last reset. */
	uint64_t counted_past[HVN_PORT_COUNTERS];
	uint64_t counted_base[HVN_PORT_COUNTERS];

	uint64_t world;	       /* where process ids are those of the primary: hvn_process.h */
	bool fenced;	       /* the primary takes part in the barrier */
	uint32_t secondaries;  /* processes that were attached, dead ones too */
	uint8_t told;	       /* what they were told last, or would have been: enum hvn_mp_what */
	bool unheard;	       /* one has not answered: it may not know that the port has stopped */
	uint8_t put_off;       /* recoveries in a row, because such a one polls */
	struct hvn_chan *shut; /* closed, not yet freed, with secondaries: hvn_leave.c */
	struct hvn_ctrl *ctrl;
	struct hvn_vf *vf;
	/* Marks in queues that are left to a process which is stopped on the VF: hvn_leave.h. */
	uint32_t *left_on_vf[HVN_LEFT_ON_VF];
	uint32_t n_left_on_vf;
	rte_spinlock_recursive_t ctrl_lock;
};

static inline struct hvn_port *
hvn_port(const struct rte_eth_dev *dev)
{
	return (struct hvn_port *)dev->data->dev_private;
}

/* Is its session being replaced? Any thread, also of a secondary. */
static inline bool
hvn_recovering(const struct hvn_port *p)
{
	return __atomic_load_n(&p->recovering, __ATOMIC_RELAXED);
}

/* The device in this process: struct hv_vmbus_device is private to a process, hvn_port is not. */
static inline struct hv_vmbus_device *
hvn_vdev(const struct hvn_port *p)
{
	return HV_VMBUS_DEV(rte_eth_devices[p->port_id].device);
}

/* The node of the port's memory; a queue's without numa_aware is the application's choice. */
static inline int
hvn_node(const struct hvn_port *p)
{
	return p->args.numa_aware ? p->data->numa_node : SOCKET_ID_ANY;
}

static inline bool
hvn_removed(const struct hvn_port *p)
{
	return __atomic_load_n(&p->removed, __ATOMIC_RELAXED) != 0;
}

/* As far as is known here; hvn_mp_tell() knows. */
static inline bool
hvn_has_secondaries(const struct hvn_port *p)
{
	return __atomic_load_n(&p->secondaries, __ATOMIC_RELAXED) != 0;
}

/* --- hvn_chan.c: used by bursts and by the control thread ---------------------------------------- */

/* Allocate the state of a channel, on the device's node. 0 or -ENOMEM. */
int hvn_chan_create(struct hvn_port *p, struct hv_vmbus_channel *vc, struct hvn_chan **chan);
void hvn_chan_free(struct hvn_chan *ch);

/*
 * Write one packet, publish and signal. -EAGAIN if the ring is full, -EIO if it is corrupt, -ENODEV
 * if the device is gone. Any thread. For control messages; data has its own way.
 */
int hvn_chan_send(struct hvn_chan *ch, uint16_t type, uint16_t flags, uint64_t tid, const void *ext,
		  uint32_t ext_len, const void *payload, uint32_t payload_len);

/*
 * Handle everything in the inbound ring that is not a frame: completions and notifications, also
 * behind frames that nobody has taken yet, and send what completions are owed. Frames are dropped
 * (and acknowledged) only while the port is not running or the channel has no receive queue, or when the ring is nearly full and nobody receives. Bounded. Returns
 * > 0 if something was handled, 0, -EBUSY if another thread is at it, -EIO, -ENODEV. Caller holds no lock.
 */
int hvn_chan_scan(struct hvn_chan *ch);

/* Has nobody received on ch since this was last asked? Caller holds ctrl_lock. */
bool hvn_chan_unpolled(struct hvn_chan *ch);

/*
 * in_lock, for control functions: false if its holder does not give it up in time. What a process
 * that was killed inside has left is repaired.
 */
bool hvn_chan_lock_in(struct hvn_chan *ch);

/* Do so if its holder is gone: for locks that bursts only try for. Control thread. */
void hvn_chan_rescue(struct hvn_chan *ch);

/* The same by a holder of in_lock. */
int hvn_chan_scan_locked(struct hvn_chan *ch);

/* --- hvn_rx.c, hvn_tx.c --------------------------------------------------------------------------- */

uint16_t hvn_rx_burst(void *rxq, struct rte_mbuf **pkts, uint16_t n);
uint16_t hvn_tx_burst(void *txq, struct rte_mbuf **pkts, uint16_t n);
uint16_t hvn_tx_prepare(void *txq, struct rte_mbuf **pkts, uint16_t n);
/* What bursts point to while the port is stopped or gone: 0 packets. */
uint16_t hvn_rx_burst_none(void *rxq, struct rte_mbuf **pkts, uint16_t n);
uint16_t hvn_tx_burst_none(void *txq, struct rte_mbuf **pkts, uint16_t n);
int hvn_rx_queue_setup(struct rte_eth_dev *dev, uint16_t id, uint16_t nb_desc, unsigned int socket,
		       const struct rte_eth_rxconf *conf, struct rte_mempool *pool);
void hvn_rx_queue_release(struct rte_eth_dev *dev, uint16_t id);
int hvn_tx_queue_setup(struct rte_eth_dev *dev, uint16_t id, uint16_t nb_desc, unsigned int socket,
		       const struct rte_eth_txconf *conf);
void hvn_tx_queue_release(struct rte_eth_dev *dev, uint16_t id);
void hvn_rxq_info(struct rte_eth_dev *dev, uint16_t id, struct rte_eth_rxq_info *info);
void hvn_txq_info(struct rte_eth_dev *dev, uint16_t id, struct rte_eth_txq_info *info);
int hvn_rx_burst_mode(struct rte_eth_dev *dev, uint16_t id, struct rte_eth_burst_mode *mode);
int hvn_tx_burst_mode(struct rte_eth_dev *dev, uint16_t id, struct rte_eth_burst_mode *mode);

/* hvn_desc.c: what a queue holds, on both paths. */
int hvn_rx_descriptor_status(void *rxq, uint16_t offset);
int hvn_tx_descriptor_status(void *txq, uint16_t offset);
uint32_t hvn_rx_queue_count(void *rxq);
int hvn_tx_done_cleanup(void *txq, uint32_t free_cnt);

/* hvn_path_burst.c: bursts of a queue whose path is not simply synthetic. */
uint16_t hvn_path_rx(struct hvn_rxq *q, struct rte_mbuf **pkts, uint16_t n);
uint16_t hvn_path_tx(struct hvn_txq *q, struct rte_mbuf **pkts, uint16_t n);
/* What the ring holds now comes before what the VF holds. Any thread. */
void hvn_path_mark_ring(const struct hvn_rxq *q, struct hvn_ring_mark *m);
/*
 * Take what the VF's queue holds, for the next bursts, which find it in front of all that the ring
 * has got since the host turned to the VF. No burst is inside q. False: not all of it.
 */
bool hvn_path_rx_collect(struct hvn_rxq *q, uint16_t vf);
/* Free what is held back. No burst is inside q. */
void hvn_path_rx_drop(struct hvn_rxq *q);
/* What they use of the synthetic path; hvn_tx_reclaim() returns how many messages are in flight. */
uint16_t hvn_rx_poll(struct hvn_rxq *q, struct rte_mbuf **pkts, uint16_t n);
uint16_t hvn_tx_synthetic(struct hvn_txq *q, struct rte_mbuf **pkts, uint16_t n);
uint32_t hvn_tx_reclaim(struct hvn_txq *q);

/* Attach a queue to its channel after the port's channels are open, before traffic; and back. */
int hvn_rxq_start(struct hvn_rxq *q);
int hvn_txq_start(struct hvn_txq *q);
/*
 * No burst is inside q. Stop: frames that the channel still holds are dropped by scans. For
 * transmit: waits up to timeout_ms for completions in flight; -EBUSY if some are still missing
 * (their descriptors and mbufs are then kept until the channel is closed).
 */
void hvn_rxq_stop(struct hvn_rxq *q);
int hvn_txq_stop(struct hvn_txq *q, unsigned int timeout_ms);
/* The MTU may have grown since the queue was set up: -EINVAL if its mbufs are too small now. */
int hvn_rxq_fits(const struct hvn_rxq *q);

/* Take VLAN tags out of frames, or leave them in; any time, from the next burst on. */
void hvn_rxq_strip(struct hvn_rxq *q, bool strip);
/* The channel is closed and the host has let go: free every mbuf still in flight. */
void hvn_txq_reclaim(struct hvn_txq *q);
/*
 * Free transmit queue id if ethdev has released it; unless its channel is closed only if the host
 * has completed everything. True if it is still there.
 */
bool hvn_txq_free_released(struct hvn_port *p, uint16_t id, bool closed);

/* A transmit completion came in on ch, which may not be the queue's own. Caller holds in_lock. */
void hvn_tx_completed(struct hvn_chan *ch, uint64_t tid, uint32_t status);

/*
 * Take completions from the head of ch's ring while they are usual ones; no scan has been beyond
 * it. Returns how many. Caller holds in_lock.
 */
uint32_t hvn_tx_completed_run(struct hvn_chan *ch);

/* --- hvn_ctrl.c: called by hvn_chan.c --------------------------------------------------------------- */

enum hvn_ctrl_kind {
	HVN_CTRL_COMPLETION, /* of a request with HVN_TID_CTRL; payload of the packet */
	HVN_CTRL_INBAND,     /* NVSP message from the host */
	HVN_CTRL_RNDIS,	     /* a control message from the receive buffer */
};

/*
 * Copy a message for the control thread and wake it. Called by bursts too: it does not block and
 * makes no system call but a wake-up when the queue was empty. false: no room, the caller leaves
 * the packet in the ring. len is already cut to HVN_CTRL_MSG_MAX.
 */
bool hvn_ctrl_inbound(struct hvn_port *p, enum hvn_ctrl_kind kind, uint64_t tid, const void *msg,
		      uint32_t len);

#endif /* HVN_H */
