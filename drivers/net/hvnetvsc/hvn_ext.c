/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include <rte_alarm.h>
#include <rte_eal.h>
#include <rte_malloc.h>

#include "hvn_chan.h"
#include "hvn_ext.h"
#include "hvn_rx.h"

#define MSGS_MAX 4096u /* messages held at a time */

/* A message whose slots are held. */
struct ext_msg {
	/* References: mbufs, and one while the message is the channel's current one. */
	struct rte_mbuf_ext_shared_info shinfo;
	struct hvn_ext *ext;
	struct ext_msg *next; /* in one of the lists */
	uint64_t tid;
	uint32_t status;
	uint32_t slots;
};

struct hvn_ext {
	struct hv_vmbus_memory *memory;
	struct ext_msg *current; /* of the channel's current message */
	struct ext_msg *free;
	struct ext_msg *back; /* taken off returned, not yet owed */
	uint32_t slots_free;
	uint32_t refs;				      /* the channel, and each message held */
	struct ext_msg *returned __rte_cache_aligned; /* pushed by any thread */
	struct ext_msg msgs[] __rte_cache_aligned;
};

static void
ext_free(void *arg)
{
	struct hvn_ext *ext = arg;

	hv_vmbus_memory_put(ext->memory);
	rte_free(ext);
}

/*
 * To free memory may take EAL's lock and an answer of the host, which a thread that frees an mbuf
 * must not wait for: the alarm thread does.
 */
static void
ext_put(struct hvn_ext *ext, bool may_wait)
{
	/* Release: what was done with it. Acquire: by all others, before it is freed. */
	if (__atomic_sub_fetch(&ext->refs, 1, __ATOMIC_ACQ_REL) != 0)
		return;
	if (may_wait || rte_eal_alarm_set(1, ext_free, ext) != 0)
		ext_free(ext);
}

/* Nobody refers to the message any more. Any thread. */
static void
give_back(struct ext_msg *msg)
{
	struct hvn_ext *ext = msg->ext;

	msg->next = __atomic_load_n(&ext->returned, __ATOMIC_RELAXED);
	/* Release: the message, and all that was read of its slots. */
	while (!__atomic_compare_exchange_n(&ext->returned, &msg->next, msg, true, __ATOMIC_RELEASE,
					    __ATOMIC_RELAXED))
		;
	ext_put(ext, false);
}

/* The last mbuf was freed. */
static void
freed(void *addr, void *msg)
{
	(void)addr;
	give_back(msg);
}

int
hvn_ext_create(struct hvn_chan *ch, struct hv_vmbus_memory *memory, uint32_t slots)
{
	const uint32_t n = RTE_MIN(slots, MSGS_MAX);
	const int socket = hvn_node(ch->port);
	struct hvn_ext *ext;

	ext = rte_zmalloc_socket("hvn_ext", sizeof(*ext) + n * sizeof(ext->msgs[0]),
				 RTE_CACHE_LINE_SIZE, socket);
	if (ext == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		ext->msgs[i].ext = ext;
		ext->msgs[i].next = ext->free;
		ext->free = &ext->msgs[i];
	}
	hv_vmbus_memory_get(memory);
	ext->memory = memory;
	ext->slots_free = slots;
	ext->refs = 1;
	ch->ext = ext;
	return 0;
}

void
hvn_ext_release(struct hvn_ext *ext)
{
	struct ext_msg *msg;

	if (ext == NULL)
		return;
	/* The ring's last message was begun and never ended. */
	msg = ext->current;
	ext->current = NULL;
	if (msg != NULL && rte_mbuf_ext_refcnt_update(&msg->shinfo, -1) == 0)
		give_back(msg);
	ext_put(ext, true);
}

bool
hvn_ext_waiting(const struct hvn_chan *ch)
{
	return ch->ext != NULL && (__atomic_load_n(&ch->ext->returned, __ATOMIC_RELAXED) != NULL ||
				   __atomic_load_n(&ch->ext->back, __ATOMIC_RELAXED) != NULL);
}

void
hvn_ext_collect(struct hvn_chan *ch)
{
	struct hvn_ext *ext = ch->ext;
	struct ext_msg *msg;

	if (ext->back == NULL && __atomic_load_n(&ext->returned, __ATOMIC_RELAXED) != NULL)
		/* Acquire: the messages that were released into it. */
		ext->back = __atomic_exchange_n(&ext->returned, NULL, __ATOMIC_ACQUIRE);
	/* Room for one more stays, for the current message. */
	while (ext->back != NULL && ch->n_acks < HVN_ACKS_MAX - 1) {
		msg = ext->back;
		__atomic_store_n(&ext->back, msg->next, __ATOMIC_RELAXED);
		ext->slots_free += msg->slots;
		hvn_chan_owe(ch, msg->tid, msg->status);
		msg->next = ext->free;
		ext->free = msg;
	}
}

/* The record of the channel's current message; NULL if too much is held. */
static struct ext_msg *
current_msg(struct hvn_chan *ch)
{
	struct hvn_ext *ext = ch->ext;
	struct ext_msg *msg = ext->current;

	if (msg != NULL)
		return msg;
	hvn_ext_collect(ch);
	msg = ext->free;
	if (msg == NULL || ch->ext_ranges > ext->slots_free)
		return NULL;
	ext->free = msg->next;
	ext->slots_free -= ch->ext_ranges;
	msg->slots = ch->ext_ranges;
	msg->shinfo.free_cb = freed;
	msg->shinfo.fcb_opaque = msg;
	rte_mbuf_ext_refcnt_set(&msg->shinfo, 1);
	__atomic_add_fetch(&ext->refs, 1, __ATOMIC_RELAXED);
	ext->current = msg;
	ch->ext_held = true;
	return msg;
}

bool
hvn_ext_attach(struct hvn_rxq *q, struct hvn_chan *ch, struct rte_mbuf *m, const uint8_t *slot,
	       uint32_t len, const struct rndis_pkt_info *info)
{
	const bool tagged = (info->present & RNDIS_INFO_VLAN) != 0;
	const bool hash = (info->present & RNDIS_INFO_HASH_VALUE) != 0 && q->want_hash;
	uint64_t flags = hvn_rx_csum(info);
	struct ext_msg *msg;

	if (info->data_len < RTE_MAX(q->port->args.rx_copybreak, RTE_ETHER_HDR_LEN + 0u) ||
	    len > UINT16_MAX || ch->rsc_head != NULL || (tagged && !q->vlan_strip) ||
	    ((info->present & RNDIS_INFO_PACKET_ID) != 0 &&
	     (info->packet_id.flags & RNDIS_PKTID_SUBALLOC) != 0) ||
	    q->pinned || hvn_has_secondaries(q->port) || rte_eal_process_type() != RTE_PROC_PRIMARY)
		return false;
	/* Some applications send on what they receive: it fits what they were told of sizes. */
	if (info->data_len > q->port->data->mtu + RTE_ETHER_HDR_LEN + sizeof(struct rte_vlan_hdr))
		return false;
	msg = current_msg(ch);
	if (msg == NULL || rte_mbuf_ext_refcnt_read(&msg->shinfo) == UINT16_MAX / 2)
		return false;
	if (hash)
		flags |= RTE_MBUF_F_RX_RSS_HASH;
	if (tagged)
		flags |= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
	hvn_rx_fill(m, q->mbuf_init, flags, info->data_len,
		    (uint64_t)(tagged ? RNDIS_VLAN_TO_TCI(info->vlan) : 0) << 16 |
			    (hash ? (uint64_t)info->hash_value << 32 : 0));
	rte_mbuf_ext_refcnt_update(&msg->shinfo, 1);
	/* I/O addresses are virtual ones: hvn_port.c. What is in front of the frame is headroom. */
	rte_pktmbuf_attach_extbuf(m, (void *)(uintptr_t)slot, (rte_iova_t)(uintptr_t)slot,
				  (uint16_t)len, &msg->shinfo);
	m->data_off = (uint16_t)info->data_off;
	m->data_len = (uint16_t)info->data_len;
	q->stats.external++;
	return true;
}

void
hvn_ext_msg_done(struct hvn_chan *ch, uint64_t tid, uint32_t status)
{
	struct ext_msg *msg = ch->ext->current;

	ch->ext->current = NULL;
	ch->ext_held = false;
	msg->tid = tid;
	msg->status = status;
	if (rte_mbuf_ext_refcnt_update(&msg->shinfo, -1) == 0)
		give_back(msg);
}
