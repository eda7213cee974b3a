/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The synthetic NIC: what its files know of each other.
 *
 *   nic.c         one NIC across its guests        nic_options.c  the keys of --nic
 *   command.c     control commands, statistics     fault.c        what no faithful host does
 *   queue.c       a channel's slice of work        nvsp.c         handshake and its order
 *   subchannel.c  sub-channels, send table         vf.c           VF association, data path
 *   vf_leg.c      the VF's own wire                rndis_ctrl.c   control messages, indications
 *   oid.c         QUERY and SET                    oid_more.c     statistics, names, multicast
 *   offload.c     NDIS offload objects
 *   rss.c         Toeplitz, RSS parameters         slots.c        the receive buffer
 *   rx.c          frames to the guest              tx.c           completions of the guest's sends
 *   tx_gather.c   where a send's bytes are         tx_message.c   one send: check, push, keep
 *   csum.c        checksums and segmentation
 *
 * Everything belongs to the host's one thread. A session lasts from OPENCHANNEL of the primary
 * channel to its close.
 */
#ifndef NETVSP_H
#define NETVSP_H

#include "host.h"
#include "ndis_wire.h"
#include "nvsp_wire.h"
#include "port/port.h"
#include "rndis_wire.h"

#define NIC_QUEUES_MAX	64u
#define NIC_CTRL_SLOTS	16u /* slots 0..15 carry control messages (OpenVMM) */
#define NIC_MTU_DEFAULT 1514u
#define NIC_HASH_TABLE	36u /* bytes hashed at most: IPv6 addresses and ports */
#define NIC_BURST	256u
/* Sends of one channel that are not completed yet (OpenVMM); above that its ring is not read. */
#define NIC_TX_QUOTA   1024u
#define NIC_TX_RANGES  32u     /* MAX_PAGE_BUFFER_COUNT of Linux; INIT_COMPLETE says 34 */
#define NIC_CTRL_LIMIT 102400u /* bytes of queued control messages (OpenVMM) */
#define NIC_LINEAR     (160u << 10)
#define NIC_MCAST_MAX  64u
#define NIC_RING_SPARE 256u /* kept free of received frames, for completions */

enum nic_ids { IDS_SLOT, IDS_RANDOM, IDS_HIGH };
enum nic_send_table { TABLE_LATE, TABLE_EARLY, TABLE_BUG, TABLE_NONE };
enum nic_msg_size { MSG_AUTO, MSG_OLD, MSG_NEW };
enum nic_mac_change { MAC_IGNORE, MAC_REFUSE, MAC_ALLOW };
enum nic_vf_when { VF_AFTER_RNDIS, VF_AFTER_INIT, VF_AFTER_CONFIG };
enum nic_hash { HASH_NO, HASH_YES, HASH_ALWAYS };

/* Bits of the options tx-csum4 and tx-csum6. */
#define OPT_IP	     0x01u
#define OPT_TCP	     0x02u
#define OPT_UDP	     0x04u
#define OPT_TCP_OPTS 0x08u
#define OPT_IP_OPTS  0x10u

/* What --nic says; nic_options.c has the meaning of each. */
struct nic_opt {
	uint8_t mac[6];
	struct hv_guid guid;
	char port[1024];
	char vf_leg[512]; /* empty: none */
	unsigned int mtu_min, mtu_max, queues, grant, nvsp_min, nvsp_max;
	unsigned int slot_size, slots, section_size, ranges, ranges_exact, flush_us;
	unsigned int max_packets, align, max_transfer, msg_size, ids, scatter, data_offset;
	unsigned int msg_exact, hash, csum, vlan_strip, send_table, table_offset;
	unsigned int tx_delay_ms, tx_fail_every, reply_delay_ms, link, rss_entries, rss_udp;
	unsigned int vf, vf_serial, vf_delay_ms, vf_rc, switch_delay_ms, switch_fail;
	unsigned int refuse_recv, refuse_send, recv_max, hold_rx, overflow_drop, speed_short;
	unsigned int tx_csum4, tx_csum6, rx_csum, lso4, lso6, rsc;
	unsigned int mangle, oids_all, mac_change, reset_answered, filter_mac, mcast_list;
	unsigned int vf_when, ring_use, ring_spare, tx_resume, pages_split;
	uint64_t speed; /* bit/s */
};

enum nvsp_state {
	NVSP_ST_CLOSED,	 /* no session */
	NVSP_ST_INIT,	 /* waits for INIT */
	NVSP_ST_CONFIG,	 /* version agreed; each configuration message once */
	NVSP_ST_READY,	 /* first RNDIS message came */
	NVSP_ST_REVOKED, /* buffers given back: only the close may follow */
};

/* A guest buffer named by RECV_BUF or SEND_BUF. */
struct nic_buf {
	uint8_t *va; /* NULL: none */
	uint32_t len;
	uint32_t gpadl;
	uint16_t id;
};

struct nic_slot {
	uint32_t next;	/* of the same packet; NIC_NO_SLOT ends it */
	uint16_t count; /* ranges of the packet this slot heads, 0 = heads none */
	uint8_t queue;	/* it was sent on */
	bool used;
	uint64_t tid;
};
#define NIC_NO_SLOT UINT32_MAX

/* One channel's share of the data slots: free_slots[base .. base + n_free) are free. */
struct nic_share {
	uint32_t base, n_home, n_free;
};

/* What NDIS offloads are on: bits of both directions. */
#define OFFL_IP4    0x01u
#define OFFL_TCP4   0x02u
#define OFFL_UDP4   0x04u
#define OFFL_TCP6   0x08u
#define OFFL_UDP6   0x10u
#define OFFL_L4_ALL (OFFL_TCP4 | OFFL_UDP4 | OFFL_TCP6 | OFFL_UDP6)

struct nic_offload {
	uint8_t tx;
	uint8_t rx;
	bool lso4, lso6, rsc4, rsc6;
};

struct nic_rss {
	bool enabled;
	uint32_t hash_info;
	uint16_t entries;
	uint8_t table[NDIS_RSS_RETA_MAX];
	uint8_t key[NDIS_RSS_KEY_SIZE];
	uint32_t lut[NIC_HASH_TABLE][256];
};

struct tx_completion {
	uint64_t tid;
	uint64_t due;
	uint32_t section;
	uint32_t status;
};

/* tx_ids.c */
struct tx_ids {
	unsigned int n;
	uint64_t id[2 * NIC_TX_QUOTA]; /* 0: free */
};

/* Frames by destination: one station, a group, all. */
struct nic_cast {
	uint64_t frames[3], bytes[3];
};

struct nic_queue_stats {
	uint64_t rx_frames, rx_bytes, rx_packets, rx_vlan, rx_no_slot, rx_no_ring;
	uint64_t tx_frames, tx_bytes, tx_messages, tx_failed, tx_vlan, tx_lso, tx_csum, tx_no_room;
	uint64_t tx_deferred, opened, interrupts, doorbells, superfluous;
};

/* An open channel of the NIC. */
struct nic_queue {
	struct nic *nic;
	struct channel *chan;
	unsigned int index;
	bool stalled; /* by command: not polled */
	/* the transfer-page packet being filled */
	unsigned int n_batch;
	uint32_t batch_head, batch_tail;
	uint64_t batch_since;
	struct vmbus_xfer_range batch[NVSP_XFER_RANGES_MAX_RSC];
	/* completions not yet in the ring */
	unsigned int comp_head, n_comp;
	bool tx_full; /* NIC_TX_QUOTA sends were outstanding: too few have been completed since */
	struct tx_completion comp[NIC_TX_QUOTA];
	/* sections whose completion is in the ring but not published */
	unsigned int n_done;
	uint32_t done[NIC_BURST + NIC_TX_QUOTA];
	/* sends the port had no room for, oldest first: records of tx_message.c */
	uint8_t *defer;
	uint32_t defer_head, defer_tail;
	unsigned int n_defer;
	unsigned int resume; /* frames of the oldest one that were pushed already */
	bool defer_full;
	uint64_t defer_since;
	uint64_t tx_count;
	struct tx_ids ids;
	/* What is odd about a send, and fails nothing, is told once, however often it is read. */
	bool mute;
	bool again;	 /* the packet at the ring's start was read before, and stayed there */
	bool again_told; /* as tx_send's told, of that packet */
	/* While the VF sends without pause: the ring up to here, when so many frames came from it. */
	uint64_t leg_until; /* 0: nothing waits for the VF */
	uint32_t leg_end;
	struct nic_queue_stats *st; /* lives longer: in struct nic */
};

enum vf_state {
	VF_NONE,
	VF_WAITING, /* there is one, this session was not told yet */
	VF_ADVERTISED,
};

/* A message about the VF that waits for room in the ring. */
struct vf_notice {
	uint32_t type, value, serial;
	uint64_t tid;
};
#define VF_NOTICES 32u

struct nic {
	struct vdev vdev;
	bool attached;
	unsigned int index;
	struct nic_opt opt;
	struct port *port;
	uint8_t mac[6]; /* the current one */
	/* outlives sessions */
	bool link_up;
	uint64_t speed;
	bool hold_rx;
	enum vf_state vf;
	uint32_t vf_serial;
	uint64_t vf_due;
	bool vf_vanished; /* the guest is told at vf_due */
	bool path_vf;	  /* data path: kept over a close (OpenVMM) */
	struct vf_notice notice[VF_NOTICES];
	unsigned int n_notices;
	unsigned int vf_open[2]; /* associations, switches: sent and not completed by the guest */
	struct port *leg;	 /* NULL: none */
	bool leg_cut;
	bool leg_live; /* from the guest's request for the VF to its request for the other path */
	unsigned int lose_switches;	 /* so many completions of a switch are not sent */
	uint64_t flap_steps;		 /* removals and additions of the VF that are to come */
	uint64_t flap_ns, flap_due;	 /* between them */
	uint64_t leg_patience, leg_seen; /* frames for the VF may be on their way for so long, ns */
	uint64_t leg_to_guest, leg_from_guest;

	/* guest's */
	uint8_t mcast[NIC_MCAST_MAX][6];
	unsigned int n_mcast;
	uint32_t vlan_id;

	/* session */
	enum nvsp_state state;
	bool have_config, have_ndis, rndis_ready, table_due;
	uint32_t version; /* NVSP_VERSION_* */
	uint32_t ndis_major, ndis_minor;
	uint64_t caps;
	uint32_t mtu; /* with the Ethernet header */
	uint32_t filter;
	struct nic_buf recv, send;
	uint32_t slot_size, slot_count;
	struct nic_slot *slots;
	uint32_t *free_slots;
	struct nic_share share[NIC_QUEUES_MAX];
	unsigned int n_shares;
	uint64_t tid_seed;
	uint8_t *section_busy;
	uint32_t sections;
	unsigned int granted; /* sub-channels */
	struct nic_offload offload;
	struct nic_rss rss;
	bool switch_pending; /* SWITCH_DATA_PATH waits for switch_due */
	bool switch_rc, switch_to_vf;
	uint64_t switch_tid, switch_due;

	/* control messages on their way to the guest: u32 length, bytes */
	uint8_t *ctrl;
	uint32_t ctrl_head, ctrl_tail;
	uint64_t ctrl_due; /* reply-delay: nothing before this time */
	bool link_told, link_toggle;
	uint64_t link_due;

	struct nic_queue *queue[NIC_QUEUES_MAX];
	struct nic_queue_stats qstats[NIC_QUEUES_MAX];
	struct nic_cast rx_cast, tx_cast;
	uint64_t rsc_packets, rsc_bytes, rsc_events, rx_filtered;
	uint64_t rx_too_big, rx_no_channel, rx_overflow, rx_no_rsc, tx_link_down, sessions, mangled;
};

/* nic_options.c */
int nic_options_parse(struct nic_opt *opt, unsigned int index, const char *text);

/* rx.c: the channel that a frame for the guest belongs to */
unsigned int rx_channel_of(struct nic *nic, const struct port_frame *f);

/* queue.c: a broken rule that ends the channel; always returns false. */
bool nic_fatal(struct nic_queue *q, const char *rule, const void *bytes, size_t len,
	       const char *fmt, ...) __attribute__((format(printf, 5, 6)));
unsigned int queue_poll(struct nic_queue *q);
void queue_publish(struct nic_queue *q);
uint32_t nvsp_msg_len(const struct nic *nic);
/* Put a message or a completion of NVSP into the ring. 0 or -EAGAIN. */
int queue_send(struct nic_queue *q, uint16_t type, uint16_t flags, uint64_t tid, const void *msg,
	       uint32_t len, uint32_t pad_to);

/* nvsp.c: false = the packet stays in the ring. */
bool nvsp_packet(struct nic_queue *q, const struct vmbus_ring_pkt *pkt);
void nvsp_session_start(struct nic *nic);
void nvsp_session_end(struct nic *nic);

/* subchannel.c */
bool subchannel_request(struct nic_queue *q, const struct vmbus_ring_pkt *pkt,
			const struct nvsp_subchannel *m);
void subchannel_tick(struct nic *nic);

/* vf.c */
void vf_session_ready(struct nic *nic);
void vf_session_end(struct nic *nic);
bool vf_switch_request(struct nic_queue *q, const struct vmbus_ring_pkt *pkt, uint32_t path);
void vf_tick(struct nic *nic);
/* The guest completed a message of the host about its VF; false: none waits for that. */
bool vf_completed(struct nic *nic, uint64_t tid);
int vf_plug(struct nic *nic, uint32_t serial);
int vf_unplug(struct nic *nic);
/* Its wire is dead at once, and the guest is told ms later; -ENODEV without a wire. */
int vf_vanish(struct nic *nic, uint64_t ms);
/* Take the VF away and give it back so many times, ms between each, with another serial each time. */
void vf_flap(struct nic *nic, uint64_t count, uint64_t ms);
int vf_replace(struct nic *nic, uint32_t serial);
int vf_force_synthetic(struct nic *nic);

/* vf_leg.c */
int vf_leg_create(struct nic *nic);
void vf_leg_destroy(struct nic *nic);
unsigned int vf_leg_poll(struct nic *nic);
/*
 * Take what the guest gave its VF before it filled q's ring up to *end; false if the port has no
 * room. A VF's hardware sends at once, so what stands in the ring was sent later: it is read
 * behind this, and not behind all that the VF goes on to send.
 */
bool vf_leg_drain(struct nic_queue *q, uint32_t *end);
/* Frames that were on their way to the VF when the path moved have not got there: wait a little. */
bool vf_leg_settling(struct nic *nic);
int vf_leg_cut(struct nic *nic, bool cut);

/* rndis_ctrl.c: returns the status of the send's completion. */
uint32_t rndis_bad_object(struct nic *nic, const void *in, uint32_t len, const char *what);
uint32_t rndis_short_object(struct nic *nic, const void *in, uint32_t len, const char *what);
uint32_t rndis_control(struct nic_queue *q, const uint8_t *msg, uint32_t len);
bool rndis_ctrl_put(struct nic *nic, const void *msg, uint32_t len);
void rndis_indicate(struct nic *nic, uint32_t status, const void *buf, uint32_t len,
		    bool short_len);
void rndis_ctrl_flush(struct nic *nic);
void rndis_link(struct nic *nic, bool up);
void rndis_link_tick(struct nic *nic);

/* oid.c */
uint32_t oid_query(struct nic *nic, uint32_t oid, const uint8_t *in, uint32_t in_len, uint8_t *out,
		   uint32_t room, uint32_t *out_len);
uint32_t oid_set(struct nic *nic, uint32_t oid, const uint8_t *in, uint32_t len);

/* The answer to a query, if it has room: the n bytes at data. Returns the RNDIS status. */
uint32_t oid_give(uint8_t *out, uint32_t room, uint32_t *len, const void *data, uint32_t n);
/* oid_more.c: NOT_SUPPORTED for what it does not know either. */
uint32_t oid_query_more(const struct nic *nic, uint32_t oid, uint32_t in_len, uint8_t *out,
			uint32_t room, uint32_t *out_len);
uint32_t oid_set_more(struct nic *nic, uint32_t oid, const uint8_t *in, uint32_t len);
/* May a frame to this address pass the guest's packet filter? */
bool oid_filter(const struct nic *nic, const uint8_t *dst);

/* offload.c */
void offload_reset(struct nic *nic);
void offload_caps(const struct nic *nic, struct ndis_offload *o);
void offload_current(const struct nic *nic, struct ndis_offload *o);
uint32_t offload_set(struct nic *nic, const uint8_t *in, uint32_t len);
uint32_t offload_encap(struct nic *nic, const uint8_t *in, uint32_t len);
uint32_t offload_config_param(struct nic *nic, const uint8_t *in, uint32_t len);
uint32_t offload_object_size(const struct nic *nic, struct ndis_offload *o);

/* rss.c */
void rss_reset(struct nic *nic);
void rss_caps(const struct nic *nic, struct ndis_rss_caps *caps);
uint32_t rss_set(struct nic *nic, const uint8_t *in, uint32_t len);
/* Toeplitz hash by the types that are on; *info = 0: not hashable. */
uint32_t rss_hash(const struct nic_rss *rss, const uint8_t *frame, uint32_t len, uint32_t *info);

/* slots.c */
int slots_create(struct nic *nic);
void slots_free(struct nic *nic);
void slots_share(struct nic *nic); /* among the granted channels */
/* A free slot, or NIC_NO_SLOT. */
uint32_t slots_take(struct nic_queue *q);
uint32_t slots_take_ctrl(struct nic *nic);
/* The chain of count slots at head is on its way to the guest: its transaction id. */
uint64_t slots_sent(struct nic_queue *q, uint32_t head, unsigned int count);
/* Slots of a packet come back, or those of a channel that was closed. */
void slots_return(struct nic *nic, uint32_t head);
void slots_reclaim(struct nic_queue *q);
/* A completion of the guest; false after a fatal violation. */
bool slots_complete(struct nic_queue *q, uint64_t tid);
uint32_t slots_used(const struct nic *nic);
uint64_t slots_random(struct nic *nic);

/* fault.c */
int fault_command(struct nic *nic, const char *cmd, json_t *request, json_t *reply);
void fault_mangle(struct nic *nic, uint8_t *msg, struct vmbus_xfer_range *range);

/* rx.c */
unsigned int rx_poll(struct nic *nic);
void rx_send_control(struct nic_queue *q, uint32_t slot, uint32_t len);

/* tx.c */
void tx_complete(struct nic_queue *q, uint64_t tid, uint32_t section, uint32_t status);
void tx_flush(struct nic_queue *q);
void tx_published(struct nic_queue *q);
bool tx_room(struct nic_queue *q);
bool tx_section_take(struct nic_queue *q, uint32_t section);
void tx_section_release(struct nic_queue *q, uint32_t section);

/* tx_ids.c: those that wait for the port, or for room for their completion */
bool tx_ids_has(const struct tx_ids *ids, uint64_t id);
void tx_ids_add(struct tx_ids *ids, uint64_t id);
void tx_ids_remove(struct tx_ids *ids, uint64_t id);

/* tx_gather.c */
#define TX_SEGS_MAX 255u

/* A send: where its bytes are. Also the record of a deferred one, followed by its ranges. */
struct tx_send {
	uint64_t tid;
	uint32_t section, section_len;
	uint32_t ext_len;
	bool told;	    /* what is odd about its frames */
	const uint8_t *ext; /* range list of a GPA-direct packet */
};

struct tx_seg {
	const uint8_t *p;
	uint32_t len;
};

struct tx_source {
	struct tx_seg seg[TX_SEGS_MAX];
	unsigned int n;
	uint32_t total; /* at most NIC_LINEAR */
	uint32_t first; /* bytes of the first range: headers must lie in it */
};

enum tx_outcome {
	SEND_OK,
	SEND_FAIL,  /* completed with a failure */
	SEND_FATAL, /* the channel failed */
	SEND_LATER, /* the port has no room */
};

/* Count a broken rule; always SEND_FAIL. */
enum tx_outcome tx_broken(struct nic_queue *q, const char *rule, const void *bytes, uint32_t len,
			  const char *what);
/* The same of what fails nothing: told once of each send. */
void tx_odd(struct nic_queue *q, const char *rule, const void *bytes, uint32_t len,
	    const char *what);
enum tx_outcome tx_gather(struct nic_queue *q, const struct tx_send *s, struct tx_source *src);
void tx_linearize(const struct tx_source *src, uint8_t *out);

/* tx_message.c */
bool tx_rndis(struct nic_queue *q, const struct vmbus_ring_pkt *pkt, const struct nvsp_rndis *m);
unsigned int tx_resume(struct nic_queue *q);

/* csum.c */
struct tx_frame {
	uint8_t *data; /* private, writable */
	uint32_t len;
	uint32_t csum; /* RNDIS_PPI_CHECKSUM */
	uint32_t lso;  /* RNDIS_PPI_LSO */
	bool has_csum, has_lso;
};
/*
 * Check what was asked for: the broken rule, or NULL. *fail: the send must fail, the frame
 * cannot be finished; else it is finished as hardware would, seed and all.
 */
const char *csum_check(const struct nic *nic, const struct tx_frame *f, bool *fail);
void csum_finish(struct tx_frame *f);
unsigned int lso_segments(const struct tx_frame *f);
/* Segment i of a checked LSO frame into out (room for f->len). Returns its length. */
uint32_t lso_segment(const struct tx_frame *f, unsigned int i, uint8_t *out);
/* RNDIS_RXCSUM_* of a frame for the guest: as the port says, else verified. */
uint32_t csum_receive(const struct nic *nic, const struct port_frame *f);

static inline void
nic_cast_count(struct nic_cast *c, const uint8_t *dst, uint32_t len)
{
	unsigned int k = 0;

	if ((dst[0] & 1) != 0)
		k = (dst[0] & dst[1] & dst[2] & dst[3] & dst[4] & dst[5]) == 0xFF ? 2 : 1;
	c->frames[k]++;
	c->bytes[k] += len;
}

static inline struct nic_queue *
nic_primary(struct nic *nic)
{
	return nic->queue[0];
}

#endif /* NETVSP_H */
