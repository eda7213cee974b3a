/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames handed out where the host put them ("rx_extmbuf_enable=1"): external buffers of mbufs,
 * inside the receive buffer. The message that brought them is completed when the last of its mbufs
 * was freed, by whoever did that and whenever, also behind the end of the session: the memory
 * lives as long. How many slots applications may keep from the host that way is bounded; beyond,
 * frames are copied.
 *
 * Only the primary process hands frames out, and only while it is alone: the function that mbufs
 * are freed with has another address in another process.
 */
#ifndef HVN_EXT_H
#define HVN_EXT_H

#include "hvn.h"

/* Of a channel without one. slots: the most that mbufs may hold. 0 or -ENOMEM. */
int hvn_ext_create(struct hvn_chan *ch, struct hv_vmbus_memory *memory, uint32_t slots);

/* The channel goes; mbufs that are still held stay good. NULL is allowed. */
void hvn_ext_release(struct hvn_ext *ext);

/*
 * Make the empty mbuf m the frame of the current message, which has so many ranges, that lies at
 * info in the slot of len bytes. False: it has to be copied. Caller holds in_lock.
 */
bool hvn_ext_attach(struct hvn_rxq *q, struct hvn_chan *ch, struct rte_mbuf *m, const uint8_t *slot,
		    uint32_t len, const struct rndis_pkt_info *info);

/* The current message was consumed, and mbufs hold it: its completion is owed when they are freed. */
void hvn_ext_msg_done(struct hvn_chan *ch, uint64_t tid, uint32_t status);

/* Owe the completions of messages that came back, as many as there is room for. Holds in_lock. */
void hvn_ext_collect(struct hvn_chan *ch);

/* Is there something to collect? Any thread. */
bool hvn_ext_waiting(const struct hvn_chan *ch);

#endif /* HVN_EXT_H */
