/* SPDX-License-Identifier: BSD-3-Clause */
/* Signals between guest and host, and the slices of work they stand for. */
#include <unistd.h>

#include "options.h"
#include "vmbus_host.h"

#define CREDITS_MAX 1024u /* an eventfd is read once in many turns: see main.c */

/* Words of vchan's odd. */
#define ODD_MASK    0x01u
#define ODD_RINDEX  0x02u
#define ODD_WINDEX  0x04u
#define ODD_ROOM    0x08u
#define ODD_FEATURE 0x10u
#define ODD_PENDING 0x20u

/*
 * There was a reason for a doorbell. Of a device without a monitor page uio_hv_generic knows only
 * one doorbell, which rings at each channel: all of them may ring.
 */
static void
credit(struct vchan *c, unsigned int n)
{
	const struct vmbus *v = c->pub.part->vmbus;

	for (uint32_t i = 1; i <= v->relid_top; i++) {
		struct vchan *o = v->by_relid[i];

		if (o == NULL || (o != c && (o->pub.vdev != c->pub.vdev || !o->pub.open ||
					     c->pub.monitor_id != VMBUS_MONITOR_ID_NONE)))
			continue;
		o->credits = o->credits + n < CREDITS_MAX ? o->credits + n : CREDITS_MAX;
	}
}

void
channel_doorbell(struct vchan *c, uint64_t n)
{
	c->pub.doorbells += n;
	c->rang = c->rang_room = true;
	c->unsettled += n;
}

/* Every reason that the doorbells so far can have had is known by now. */
static void
settle(struct vchan *c)
{
	uint64_t n = c->unsettled, explained = n < c->credits ? n : c->credits;

	c->unsettled = 0;
	c->credits -= (unsigned int)explained;
	/* A mask that the guest cleared itself tells it to signal. */
	if (explained == n || (c->odd & ODD_MASK) != 0)
		return;
	/* No room was waited for and the mask was set all the time: nothing explains this signal. */
	c->pub.superfluous += n - explained;
	host_violation(c->pub.part, "ring.signal-superfluous", c->pub.rx.hdr, RING_HDR_SHOWN,
		       "channel %u was signalled although its mask is set, or its ring not empty",
		       c->pub.relid);
}

void
channel_wait_room(struct channel *chan, uint32_t bytes)
{
	struct vchan *c = (struct vchan *)chan;

	vmbus_ring_tx_pending(&chan->tx, bytes);
	chan->blocked = bytes != 0;
	c->blocked_at = c->wait_at = chan->tx.published;
	c->room = bytes < chan->tx.size - 8 ? (bytes + 7u) & ~7u : chan->tx.size - 8;
	c->rang_room = false;
	c->room_since = 0;
	if (chan->blocked)
		credit(c, 1);
}

/* A guest that owes a signal since *since: has it had its time? */
static bool
grace_over(uint64_t *since)
{
	if (*since == 0)
		*since = host_now();
	return host_opt.signal_grace_ms != 0 &&
	       host_now() - *since >= host_opt.signal_grace_ms * UINT64_C(1000000);
}

bool
channel_has_room(struct channel *chan)
{
	struct vchan *c = (struct vchan *)chan;

	if (!host_opt.wait_event || c->rang_room ||
	    (__atomic_load_n(&chan->rx.hdr->feature, __ATOMIC_RELAXED) &
	     VMBUS_RING_FEAT_PENDING_SEND) == 0)
		return true;
	/*
	 * What we sent since, a completion say, showed that we had seen the room: a guest that looks
	 * at our index only then owes no signal.
	 */
	if (chan->tx.published != c->wait_at)
		return true;
	/* It is enough, but less than was asked for: the guest owes nothing yet. */
	if (vmbus_ring_tx_space(&chan->tx) < c->room)
		return false;
	if (!grace_over(&c->room_since))
		return false;
	host_violation(chan->part, "ring.signal-room", chan->tx.hdr, RING_HDR_SHOWN,
		       "channel %u: the %u bytes that were waited for are free, but no signal in "
		       "%u ms",
		       chan->relid, c->room, host_opt.signal_grace_ms);
	return true;
}

/* --- asleep and awake ------------------------------------------------------------------------ */

/* Clear our mask: the ring is not read until the guest signals. False if it is not empty. */
static bool
fall_asleep(struct vchan *c)
{
	if (c->pub.asleep)
		return true;
	c->rang = false;
	c->owed_since = 0;
	c->credited = false;
	/* A thread of the guest may have looked at the mask of the ring's former life. */
	if (!c->slept)
		credit(c, 1);
	c->slept = c->pub.asleep = true;
	if (!vmbus_ring_rx_unmask(&c->pub.rx))
		return true;
	channel_wake(c);
	return false;
}

/*
 * The ring was empty when the mask was cleared. If it is not now, the guest has one reason for a
 * signal, which may still be on its way.
 */
static bool
filled(struct vchan *c)
{
	if (!vmbus_ring_rx_ready(&c->pub.rx))
		return false;
	if (!c->credited)
		credit(c, 1);
	c->credited = true;
	return true;
}

/* Set our mask. */
void
channel_wake(struct vchan *c)
{
	if (!c->pub.asleep)
		return;
	vmbus_ring_rx_mask(&c->pub.rx);
	c->pub.asleep = false;
	filled(c);
}

/*
 * A channel that is asleep although its ring is not empty: the guest owes a signal, and a real
 * host would not read on without. May it be read now?
 */
static bool
may_wake(struct vchan *c)
{
	if (!filled(c) || c->rang || c->pub.rx.error != 0)
		return true;
	if (!grace_over(&c->owed_since))
		return false;
	host_violation(
		c->pub.part, "ring.signal-missing", c->pub.rx.hdr, RING_HDR_SHOWN,
		"channel %u: packets in a ring that was empty and whose mask is clear, but no "
		"signal in %u ms",
		c->pub.relid, host_opt.signal_grace_ms);
	return true;
}

/* --- the rings' headers ------------------------------------------------------------------------ */

/* Nobody but the guest can have written them; memory that went away reads as zeroes. */
static bool
believable(const struct vchan *c)
{
	return !c->pub.forged && c->pub.part->faults == 0;
}

/*
 * Is that so only now? It is told once for as long as it is so. Asked behind the load of the word,
 * which may have found that the memory has gone.
 */
static bool
newly(struct vchan *c, unsigned int word, bool odd)
{
	bool told = (c->odd & word) != 0;

	if (!believable(c))
		return false;
	c->odd = odd ? c->odd | word : c->odd & ~word;
	return odd && !told;
}

/* The mask is ours alone to write. */
static void
check_mask(struct vchan *c)
{
	uint32_t mask = __atomic_load_n(&c->pub.rx.hdr->imask, __ATOMIC_RELAXED);

	if (!newly(c, ODD_MASK, (mask != 0) == c->pub.asleep))
		return;
	host_violation(c->pub.part, "ring.mask", &mask, sizeof(mask),
		       "channel %u: the guest wrote the host's interrupt mask", c->pub.relid);
	if (c->pub.asleep)
		channel_fail(&c->pub); /* as OpenVMM: it would not be signalled any more */
}

/* One word of ours in a header. */
static void
check_word(struct vchan *c, unsigned int bit, const uint32_t *word, uint32_t ours, const char *what)
{
	uint32_t seen = __atomic_load_n(word, __ATOMIC_RELAXED);

	if (newly(c, bit, seen != ours))
		host_violation(c->pub.part, "ring.owner", &seen, sizeof(seen),
			       "channel %u: the guest wrote the host's %s", c->pub.relid, what);
}

/*
 * What the guest says in the rings' headers, and what is not the guest's to say. Nothing is put
 * right: what a host writes of its own accord may hit memory that serves something else by now.
 */
void
channel_check(struct channel *chan)
{
	struct vchan *c = (struct vchan *)chan;
	struct vmbus_ring_hdr *out = c->pub.rx.hdr, *in = c->pub.tx.hdr;
	uint32_t wanted;

	if (!believable(c))
		return;
	check_mask(c);
	/* Validates the guest's read index. */
	vmbus_ring_tx_space(&c->pub.tx);
	if (c->pub.tx.error != 0) {
		host_violation(c->pub.part, "ring.corrupt", in, RING_HDR_SHOWN,
			       "channel %u: read index of the ring to the guest", c->pub.relid);
		channel_fail(&c->pub);
		return;
	}
	check_word(c, ODD_RINDEX, &out->rindex, c->pub.rx.published, "read index");
	check_word(c, ODD_WINDEX, &in->windex, c->pub.tx.published, "write index");
	check_word(c, ODD_ROOM, &in->pending_send, c->pub.blocked ? c->room : 0, "pending size");
	check_word(c, ODD_FEATURE, &in->feature, VMBUS_RING_FEAT_PENDING_SEND, "feature bits");
	wanted = __atomic_load_n(&out->pending_send, __ATOMIC_RELAXED);
	if (newly(c, ODD_PENDING, (wanted & 7u) != 0 || wanted > c->pub.rx.size - 8))
		host_violation(c->pub.part, "ring.pending", &wanted, sizeof(wanted),
			       "channel %u: the guest waits for %u bytes in a ring of %u",
			       c->pub.relid, wanted, c->pub.rx.size);
}

/* --- doorbells ------------------------------------------------------------------------------- */

uint32_t
vmbus_signal_event(struct partition *part, uint32_t conn_id)
{
	struct vmbus *v = part->vmbus;

	for (uint32_t i = 1; i <= v->relid_top; i++) {
		struct vchan *c = v->by_relid[i];

		if (c == NULL || c->pub.conn_id != conn_id)
			continue;
		if (c->pub.open)
			channel_doorbell(c, 1);
		return HV_STATUS_SUCCESS;
	}
	host_violation(part, "vmu.signal-unknown", &conn_id, sizeof(conn_id),
		       "signal for connection %#x", conn_id);
	return HV_STATUS_INVALID_CONNECTION_ID;
}

/* The guest's doorbells in the monitor page: read and cleared in one step. */
static unsigned int
poll_monitor(struct partition *part)
{
	struct vmbus *v = part->vmbus;
	struct vmbus_monitor_page *page;
	unsigned int n = 0;

	if (v->monitor_c2p == 0)
		return 0;
	page = guest_addr(part, v->monitor_c2p, HV_PAGE_SIZE, true);
	if (page == NULL)
		return 0;
	for (unsigned int g = 0; g < 4; g++) {
		uint32_t *word = &page->group[g].pending, bits;

		if (__atomic_load_n(word, __ATOMIC_RELAXED) == 0)
			continue;
		/* Acquire: what the guest wrote before it rang is seen by the slice that follows. */
		bits = __atomic_exchange_n(word, 0, __ATOMIC_ACQ_REL);
		for (; bits != 0; bits &= bits - 1, n++) {
			unsigned int id = g * 32 + (unsigned int)__builtin_ctz(bits);
			struct vchan *c = v->by_monitor[id];

			if (c != NULL && c->pub.open)
				channel_doorbell(c, 1);
			/*
			 * Linux releases a rescinded channel while a user of uio_hv_generic still
			 * polls it: that one's last doorbell may come after the release.
			 */
			else if (c == NULL && !v->monitor_used[id])
				host_violation(part, "monitor.unknown", &bits, sizeof(bits),
					       "monitor id %u belongs to no channel", id);
		}
	}
	return n;
}

unsigned int
vmbus_poll(struct partition *part)
{
	struct vmbus *v = part->vmbus;
	uint32_t top = v->relid_top, start = 0;
	unsigned int work = poll_monitor(part);

	if (host_opt.serve_order == ORDER_RANDOM && top != 0)
		start = host_random() % top;
	for (uint32_t n = 0; n < top; n++) {
		uint32_t i = 1 + (host_opt.serve_order == ORDER_REVERSE ? top - 1 - n
									: (start + n) % top);
		struct vchan *c = v->by_relid[i];

		if (c == NULL || !c->pub.open || c->pub.failed)
			continue;
		if (c->pub.tx.error != 0)
			channel_check(&c->pub);
		if (c->pub.asleep && may_wake(c))
			channel_wake(c);
		work += c->pub.vdev->ops->poll(&c->pub);
		/* The slice may have ended in a rescind: look again before touching the ring. */
		if (v->by_relid[i] != c || !c->pub.blocked || c->pub.tx.published == c->blocked_at)
			continue;
		/* What we sent while we wait for room can make the guest free it once more. */
		c->blocked_at = c->pub.tx.published;
		credit(c, 2);
	}
	for (uint32_t i = 1; i <= v->relid_top; i++)
		if (v->by_relid[i] != NULL && v->by_relid[i]->unsettled != 0)
			settle(v->by_relid[i]);
	return work;
}

bool
vmbus_sleep(struct partition *part)
{
	struct vmbus *v = part->vmbus;
	bool idle = true;

	for (uint32_t i = 1; i <= v->relid_top; i++) {
		struct vchan *c = v->by_relid[i];

		if (c == NULL || !c->pub.open || c->pub.failed)
			continue;
		channel_check(&c->pub);
		if (!c->pub.failed && !fall_asleep(c))
			idle = false;
	}
	return idle;
}

void
vmbus_wake(struct partition *part)
{
	struct vmbus *v = part->vmbus;

	poll_monitor(part);
	for (uint32_t i = 1; i <= v->relid_top; i++) {
		struct vchan *c = v->by_relid[i];

		if (c == NULL || !c->pub.open || c->pub.failed || !c->pub.asleep)
			continue;
		check_mask(c); /* waking writes it */
		if (may_wake(c))
			channel_wake(c);
	}
}

unsigned int
vmbus_open_channels(const struct partition *part)
{
	unsigned int n = 0;

	for (uint32_t i = 1; i <= part->vmbus->relid_top; i++)
		if (part->vmbus->by_relid[i] != NULL && part->vmbus->by_relid[i]->pub.open)
			n++;
	return n;
}

void
channel_signal(struct channel *chan)
{
	struct vchan *c = (struct vchan *)chan;
	struct vmu_event ev = { .vp = chan->target_vp, .sint = VMBUS_SINT, .flag = chan->relid };
	uint64_t one = 1;

	if (!chan->open || chan->target_vp == VMBUS_VP_NONE)
		return;
	chan->interrupts++;
	if (c->event_fd < 0)
		out_send(chan->part, VMU_SINT_EVENT, 0, &ev, sizeof(ev), -1, 0);
	else if (write(c->event_fd, &one, sizeof(one)) < 0)
		return; /* full: the guest has a signal to read already */
}

void
channel_fail(struct channel *chan)
{
	chan->failed = true;
}
