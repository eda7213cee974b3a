/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The host's side of VMBus for one partition.
 *
 *   contact.c  messages from the guest, versions     channel.c  offer, open, close, rescind
 *   doorbell.c signals in both directions, polling   msg_name.c names of messages
 *   inject.c   messages no faithful host sends
 */
#ifndef HOST_VMBUS_HOST_H
#define HOST_VMBUS_HOST_H

#include "vm/partition.h"

/* A channel with what only vmbus/ needs; the public part comes first. */
struct vchan {
	struct channel pub;
	SLIST_ENTRY(vchan) dead;    /* freed once no event can name it: channels_reap() */
	bool offered;		    /* the guest was told */
	bool rescinded;		    /* its relid waits for RELID_RELEASED */
	uint64_t due;		    /* a sub-channel offer waits until then */
	uint32_t ring;		    /* GPADL of the rings */
	struct event_source signal; /* guest to host eventfd */
	int event_fd;		    /* host to guest eventfd, -1 = none */
	bool slept;		    /* at least once */
	bool rang;		    /* since it fell asleep */
	bool credited;		    /* since it fell asleep, for what came */
	uint64_t unsettled;	    /* doorbells whose reason is not looked for yet */
	uint64_t owed_since;	    /* asleep, not empty, and no signal: since when */
	uint32_t blocked_at;	    /* what was published when we last gave credit for waiting */
	uint32_t wait_at;	    /* what was published when we began to wait for room */
	uint32_t room;		    /* how much we wait for */
	bool rang_room;		    /* since we wait for it */
	unsigned int odd;	    /* words of the rings' headers that are wrong, and were told */
	uint64_t room_since;	    /* it is there, and no signal: since when */
	/*
	 * How many doorbells can be explained: one for each time the empty ring filled while the
	 * mask was clear, those for room that we waited for, and one at the opening if there is no
	 * monitor. A doorbell beyond that is superfluous beyond doubt; fewer prove nothing, as a
	 * guest may have seen the mask set.
	 */
	unsigned int credits;
};

struct vmbus {
	uint32_t version; /* 0 before contact */
	uint32_t conn_id; /* where the guest posts from now on */
	uint32_t msg_vp;
	bool offers_requested;
	uint64_t monitor_c2p; /* GPA of the page the guest rings, 0 = none */
	uint64_t monitor_p2c;
	struct vchan *by_relid[VMBUS_RELID_MAX + 1];
	struct vchan *by_monitor[VMBUS_MONITOR_COUNT];
	bool monitor_used[VMBUS_MONITOR_COUNT]; /* by a channel of this guest, now or before */
	uint32_t relid_top;			/* highest relid in use */
};

struct vmbus *vmbus_create(struct partition *part);
void vmbus_destroy(struct partition *part);
void vmbus_reset(struct partition *part);
bool vmbus_uses_memory(struct partition *part, uint64_t gpa, uint64_t size);

/* contact.c: a message from the guest; returns the hypercall's status. */
uint32_t vmbus_post(struct partition *part, uint32_t conn_id, const void *msg, uint32_t len);
void vmbus_send(struct partition *part, const void *msg, size_t len);

/* channel.c */
void channel_on_open(struct partition *part, const struct vmbus_msg_open *m);
void channel_on_close(struct partition *part, uint32_t relid);
void channel_on_released(struct partition *part, uint32_t relid);
void channel_on_modify(struct partition *part, const struct vmbus_msg_modify_channel *m);
void channel_send_offers(struct partition *part);
void channels_tick(struct partition *part); /* late offers */
void channels_reap(void);
struct vchan *channel_by_relid(struct partition *part, uint32_t relid);
void gpadl_finish_teardowns(struct partition *part);
void channel_event_fd(struct vchan *c, bool give);
void channel_signal_fd(struct vchan *c, bool give);

/* inject.c: the command bus-raw */
int vmbus_inject(struct partition *part, json_t *request, json_t *reply);

/* doorbell.c */
uint32_t vmbus_signal_event(struct partition *part, uint32_t conn_id);
unsigned int vmbus_poll(struct partition *part);
/* Ask for signals, false if a ring is not empty; and back to polling what is signalled. */
bool vmbus_sleep(struct partition *part);
void vmbus_wake(struct partition *part);
void channel_wake(struct vchan *c);
void channel_doorbell(struct vchan *c, uint64_t n);
unsigned int vmbus_open_channels(const struct partition *part);

#endif /* HOST_VMBUS_HOST_H */
