/* SPDX-License-Identifier: BSD-3-Clause */
/* Channels of a partition: offered, opened, closed, rescinded. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "options.h"
#include "vmbus_host.h"

#define OPEN_ST_FAILED 0x8000FFFFu /* what OpenVMM answers; guests test for non-zero */
/* Event connection of a channel; opaque to the guest, so the SINT is mixed in as OpenVMM does. */
#define EVENT_CONN_ID(relid) ((relid) | VMBUS_SINT << 12)

struct vchan *
channel_by_relid(struct partition *part, uint32_t relid)
{
	if (relid == 0 || relid > VMBUS_RELID_MAX)
		return NULL;
	return part->vmbus->by_relid[relid];
}

struct channel *
channel_find(struct vdev *vdev, uint16_t sub_index)
{
	struct vmbus *v = vdev->part->vmbus;

	for (uint32_t i = 1; i <= v->relid_top; i++) {
		struct vchan *c = v->by_relid[i];

		if (c != NULL && c->pub.vdev == vdev && !c->rescinded &&
		    c->pub.sub_index == sub_index)
			return &c->pub;
	}
	return NULL;
}

/*
 * Channels that are no more. A batch of events may still name them, as their doorbell; their
 * memory lives until that batch is dealt with.
 */
static SLIST_HEAD(, vchan) dead = SLIST_HEAD_INITIALIZER(dead);

void
channels_reap(void)
{
	struct vchan *c;

	while ((c = SLIST_FIRST(&dead)) != NULL) {
		SLIST_REMOVE_HEAD(&dead, dead);
		free(c);
	}
}

static void
channel_free(struct vchan *c)
{
	struct vmbus *v = c->pub.part->vmbus;

	if (c->pub.monitor_id != VMBUS_MONITOR_ID_NONE)
		v->by_monitor[c->pub.monitor_id] = NULL;
	v->by_relid[c->pub.relid] = NULL;
	while (v->relid_top > 0 && v->by_relid[v->relid_top] == NULL)
		v->relid_top--;
	SLIST_INSERT_HEAD(&dead, c, dead);
}

static struct vchan *
channel_new(struct vdev *vdev, uint16_t sub_index)
{
	struct vmbus *v = vdev->part->vmbus;
	struct vchan *c = calloc(1, sizeof(*c));
	uint32_t relid = 1;

	while (relid <= VMBUS_RELID_MAX && v->by_relid[relid] != NULL)
		relid++;
	if (c == NULL || relid > VMBUS_RELID_MAX) {
		free(c);
		return NULL;
	}
	c->pub.vdev = vdev;
	c->pub.part = vdev->part;
	c->pub.sub_index = sub_index;
	c->pub.relid = relid;
	c->pub.conn_id = EVENT_CONN_ID(relid);
	c->pub.monitor_id = VMBUS_MONITOR_ID_NONE;
	c->event_fd = -1;
	c->signal.fd = -1;
	v->by_relid[relid] = c;
	if (relid > v->relid_top)
		v->relid_top = relid;
	if (host_opt.monitor && v->monitor_c2p != 0 && relid <= VMBUS_MONITOR_COUNT) {
		c->pub.monitor_id = (uint8_t)(relid - 1);
		v->by_monitor[relid - 1] = c;
		v->monitor_used[relid - 1] = true;
	}
	return c;
}

static void
channel_offer(struct vchan *c)
{
	struct vdev *vdev = c->pub.vdev;
	struct vmbus_msg_offer m = {
		.hdr.type = VMBUS_MSG_OFFERCHANNEL,
		.class_id = vdev->class_id,
		.instance_id = vdev->instance_id,
		.flags = VMBUS_OFFER_F_ENUMERATE,
		.mmio_mb = (uint16_t)host_opt.mmio_mb,
		.sub_index = c->pub.sub_index,
		.relid = c->pub.relid,
		.monitor_id = c->pub.monitor_id,
		.monitor_allocated = c->pub.monitor_id != VMBUS_MONITOR_ID_NONE,
		.dedicated_intr = host_opt.dedicated,
		.conn_id = c->pub.conn_id,
	};

	c->offered = true;
	vmbus_send(c->pub.part, &m, sizeof(m));
}

/* Does a guest still hold a relid of a rescinded offer of this device? */
static bool
held(const struct vdev *vdev)
{
	const struct vmbus *v = vdev->part->vmbus;

	for (uint32_t i = 1; i <= v->relid_top; i++)
		if (v->by_relid[i] != NULL && v->by_relid[i]->pub.vdev == vdev &&
		    v->by_relid[i]->rescinded)
			return true;
	return false;
}

int
vdev_offer(struct vdev *vdev)
{
	struct vchan *c;

	if (vdev->primary != NULL)
		return -EALREADY;
	/* Before REQUESTOFFERS there is nobody to tell; channel_send_offers() comes back. */
	if (!vdev->part->vmbus->offers_requested)
		return 0;
	/* Linux takes an offer with an instance id that it still holds for the old device. */
	vdev->want_offer = held(vdev);
	if (vdev->want_offer)
		return 0;
	c = channel_new(vdev, 0);
	if (c == NULL)
		return -ENOSPC;
	vdev->primary = &c->pub;
	channel_offer(c);
	return 0;
}

void
channel_send_offers(struct partition *part)
{
	struct vmbus_msg_hdr end = { .type = VMBUS_MSG_ALLOFFERS_DELIVERED };

	if (part->vmbus->offers_requested) {
		const struct vmbus_msg_hdr again = { .type = VMBUS_MSG_REQUESTOFFERS };

		host_violation(part, "vmbus.offers-twice", &again, sizeof(again),
			       "second REQUESTOFFERS");
		return;
	}
	part->vmbus->offers_requested = true;
	for (unsigned int i = 0; i < part->n_vdevs; i++)
		if (vdev_offer(part->vdevs[i]) != 0)
			host_log(HOST_ERR, "guest %u: no relid left for a device", part->id);
	vmbus_send(part, &end, sizeof(end));
}

/* Place of the i-th offer among n, by option. */
static unsigned int
sub_slot(unsigned int i, unsigned int n, const unsigned int *shuffled)
{
	if (host_opt.sub_order == ORDER_REVERSE)
		return n - 1 - i;
	return host_opt.sub_order == ORDER_RANDOM ? shuffled[i] : i;
}

int
channel_offer_subs(struct vdev *vdev, unsigned int n)
{
	unsigned int have = 0, order[VMBUS_RELID_MAX];

	while (channel_find(vdev, (uint16_t)(have + 1)) != NULL)
		have++;
	if (n > host_opt.sub_limit)
		n = host_opt.sub_limit;
	if (n > VMBUS_RELID_MAX - 1)
		return -ENOSPC;
	for (unsigned int i = 0; i < n; i++) {
		unsigned int j = host_random() % (i + 1);

		order[i] = order[j];
		order[j] = i;
	}
	for (unsigned int i = 0; i < n; i++) {
		struct vchan *c = channel_new(vdev, (uint16_t)(have + 1 + sub_slot(i, n, order)));

		if (c == NULL)
			return -ENOSPC;
		c->due = host_after((uint64_t)(i + 1) * host_opt.sub_delay_ms * 1000000u);
		if (host_opt.sub_delay_ms == 0)
			channel_offer(c);
	}
	return 0;
}

static struct vchan *
sub_of(struct vdev *vdev, int64_t sub_index)
{
	if (sub_index <= 0 || sub_index > UINT16_MAX)
		return NULL;
	return (struct vchan *)channel_find(vdev, (uint16_t)sub_index);
}

int
vdev_offer_sub(struct vdev *vdev, int64_t sub_index)
{
	struct vchan *c = sub_of(vdev, sub_index);

	if (c == NULL || c->offered)
		return -ENODEV;
	channel_offer(c);
	return 0;
}

void
channels_tick(struct partition *part)
{
	struct vmbus *v = part->vmbus;

	for (uint32_t i = 1; i <= v->relid_top; i++) {
		struct vchan *c = v->by_relid[i];

		if (c != NULL && !c->offered && !c->rescinded && c->due <= host_now())
			channel_offer(c);
	}
}

static void
signal_ready(struct event_source *src, uint32_t events)
{
	struct vchan *c = (struct vchan *)((char *)src - offsetof(struct vchan, signal));
	uint64_t n;

	(void)events;
	if (read(src->fd, &n, sizeof(n)) == sizeof(n))
		channel_doorbell(c, n);
}

/* Hand the guest an eventfd to interrupt it by, or withdraw it. */
void
channel_event_fd(struct vchan *c, bool give)
{
	struct partition *part = c->pub.part;
	struct vmu_event ev = { .vp = c->pub.target_vp, .sint = VMBUS_SINT, .flag = c->pub.relid };

	if (give == (c->event_fd >= 0) || !(part->features & VMU_FEAT_EVENT_FD) ||
	    (give && c->pub.target_vp == VMBUS_VP_NONE))
		return;
	if (!give) {
		close(c->event_fd);
		c->event_fd = -1;
	} else {
		c->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (c->event_fd < 0)
			return; /* SINT_EVENT serves instead */
	}
	out_send(part, VMU_EVENT_FD, 0, &ev, sizeof(ev), c->event_fd, 0);
}

/* The same in the other direction; a monitored channel has its doorbell in the monitor page. */
void
channel_signal_fd(struct vchan *c, bool give)
{
	struct partition *part = c->pub.part;
	struct vmu_signal sg = { .conn_id = c->pub.conn_id };
	int fd = c->signal.fd;

	if (give == (fd >= 0) || !(part->features & VMU_FEAT_SIGNAL_FD) ||
	    c->pub.monitor_id != VMBUS_MONITOR_ID_NONE)
		return;
	if (!give) {
		loop_del(&c->signal);
		close(fd);
	} else {
		fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		c->signal.ready = signal_ready;
		if (fd < 0)
			return;
		if (loop_add(&c->signal, fd, EPOLLIN) != 0) {
			c->signal.fd = -1;
			close(fd);
			return;
		}
	}
	out_send(part, VMU_SIGNAL_FD, 0, &sg, sizeof(sg), c->signal.fd, 0);
}

/* Both rings of a channel out of one GPADL, which is taken into use. 0 or -errno. */
static int
attach_rings(struct vchan *c, uint32_t gpadl, uint32_t page)
{
	uint64_t split = (uint64_t)page * HV_PAGE_SIZE;
	size_t len = 0;
	uint8_t *va = gpadl_take(&c->pub, gpadl, &len);
	int rc = -EINVAL;

	if (va == NULL)
		return -ENOENT;
	if (split != 0 && split < len)
		rc = vmbus_ring_init_rx(&c->pub.rx, va, (uint32_t)split, HV_PAGE_SIZE);
	if (rc == 0)
		rc = vmbus_ring_init_tx(&c->pub.tx, va + split, (uint32_t)(len - split),
					HV_PAGE_SIZE);
	if (rc != 0)
		gpadl_put(&c->pub, gpadl);
	return rc;
}

/* A processor the guest does not have is interrupted for nobody. */
static void
check_vp(struct vchan *c, uint32_t vp)
{
	struct partition *part = c->pub.part;

	if (vp != VMBUS_VP_NONE && part->n_vps != 0 && vp >= part->n_vps)
		host_violation(part, "channel.target-vp", &vp, sizeof(vp),
			       "channel %u: interrupts for processor %u of %u", c->pub.relid, vp,
			       part->n_vps);
}

/* Without it a host does not say when there is room again. */
static void
check_feature(struct vchan *c)
{
	uint32_t word = __atomic_load_n(&c->pub.rx.hdr->feature, __ATOMIC_RELAXED);

	if ((word & VMBUS_RING_FEAT_PENDING_SEND) == 0)
		host_violation(c->pub.part, "ring.feature", &word, sizeof(word),
			       "channel %u: the guest's ring does not say that it knows a "
			       "pending size",
			       c->pub.relid);
}

static uint32_t
channel_open(struct vchan *c, const struct vmbus_msg_open *m)
{
	struct partition *part = c->pub.part;
	int rc;

	if (host_opt.open_status != 0)
		return host_opt.open_status;
	if (attach_rings(c, m->ring_gpadl, m->downstream_page) != 0) {
		host_violation(part, "channel.open-ring", m, sizeof(*m),
			       "OPENCHANNEL %u: GPADL %#x, page %u is no usable ring pair",
			       m->relid, m->ring_gpadl, m->downstream_page);
		return OPEN_ST_FAILED;
	}
	/* We poll until told to sleep, and look at the guest's pending size. */
	vmbus_ring_rx_mask(&c->pub.rx);
	c->pub.asleep = c->pub.blocked = c->pub.forged = c->slept = false;
	c->odd = 0;
	check_feature(c);
	__atomic_store_n(&c->pub.tx.hdr->feature, VMBUS_RING_FEAT_PENDING_SEND, __ATOMIC_RELAXED);
	vmbus_ring_tx_pending(&c->pub.tx, 0);
	/* Without a monitor, uio_hv_generic unmasks by a doorbell: one tells what else that does. */
	c->credits = c->pub.monitor_id == VMBUS_MONITOR_ID_NONE;
	c->unsettled = 0;
	c->pub.failed = false;
	check_vp(c, m->target_vp);
	c->pub.target_vp = m->target_vp;
	rc = c->pub.vdev->ops->open(&c->pub);
	if (rc != 0) {
		gpadl_put(&c->pub, m->ring_gpadl);
		return (uint32_t)rc;
	}
	c->pub.open = true;
	c->ring = m->ring_gpadl;
	channel_event_fd(c, true);
	channel_signal_fd(c, true);
	return 0;
}

void
channel_on_open(struct partition *part, const struct vmbus_msg_open *m)
{
	struct vmbus_msg_open_result r = { .hdr.type = VMBUS_MSG_OPENCHANNEL_RESULT,
					   .relid = m->relid,
					   .open_id = m->open_id };
	struct vchan *c = channel_by_relid(part, m->relid);

	/* A guest cannot know of a rescind that is under way: silence, but no violation. */
	if (c != NULL && c->rescinded)
		return;
	if (c == NULL || !c->offered || c->pub.open) {
		host_violation(part, c == NULL ? "vmbus.unknown-relid" : "channel.open-twice", m,
			       sizeof(*m), "OPENCHANNEL for %u", m->relid);
		return;
	}
	r.status = channel_open(c, m);
	vmbus_send(part, &r, sizeof(r));
}

void
gpadl_finish_teardowns(struct partition *part)
{
	struct gpadl *g, *next;

	for (g = TAILQ_FIRST(&part->gpadls); g != NULL; g = next) {
		struct vmbus_msg_gpadl_torndown r = { .hdr.type = VMBUS_MSG_GPADL_TORNDOWN,
						      .gpadl = g->id };

		next = TAILQ_NEXT(g, link);
		if (!g->teardown || g->used)
			continue;
		/* Unmapped before the guest may use the pages again. */
		gpadl_free(part, g);
		vmbus_send(part, &r, sizeof(r));
	}
}

/* Linux tears no GPADL of a rescinded channel down: they end with its relid. */
static void
gpadl_release(struct partition *part, uint32_t relid)
{
	struct gpadl *g, *next;

	for (g = TAILQ_FIRST(&part->gpadls); g != NULL; g = next) {
		next = TAILQ_NEXT(g, link);
		if (g->relid == relid && !g->used)
			gpadl_free(part, g);
	}
}

/* Stop using the channel's memory. */
static void
channel_shut(struct vchan *c)
{
	if (!c->pub.open)
		return;
	c->pub.vdev->ops->close(&c->pub);
	c->pub.open = false;
	gpadl_put(&c->pub, c->ring);
	c->ring = 0;
	memset(&c->pub.rx, 0, sizeof(c->pub.rx));
	memset(&c->pub.tx, 0, sizeof(c->pub.tx));
	channel_event_fd(c, false);
	channel_signal_fd(c, false);
}

static void
channel_rescind(struct vchan *c)
{
	struct vmbus_msg_relid m = { .hdr.type = VMBUS_MSG_RESCIND_CHANNELOFFER,
				     .relid = c->pub.relid };

	channel_shut(c);
	if (c->rescinded)
		return;
	c->rescinded = true;
	if (c->offered)
		vmbus_send(c->pub.part, &m, sizeof(m));
	else
		channel_free(c);
}

/* Sub-channels never outlive their primary. */
static void
rescind_subs(struct vdev *vdev)
{
	struct vmbus *v = vdev->part->vmbus;

	for (uint32_t i = v->relid_top; i >= 1; i--) {
		struct vchan *c = v->by_relid[i];

		if (c != NULL && c->pub.vdev == vdev && c->pub.sub_index != 0 && !c->rescinded)
			channel_rescind(c);
	}
}

void
vdev_rescind(struct vdev *vdev)
{
	struct vchan *c = (struct vchan *)vdev->primary;

	vdev->want_offer = false;
	if (c == NULL)
		return;
	rescind_subs(vdev);
	channel_rescind(c);
	vdev->primary = NULL;
	vdev->ops->reset(vdev);
	gpadl_finish_teardowns(vdev->part);
}

int
vdev_rescind_sub(struct vdev *vdev, int64_t sub_index)
{
	struct vchan *c = sub_of(vdev, sub_index);

	if (c == NULL)
		return -ENODEV;
	channel_rescind(c);
	gpadl_finish_teardowns(vdev->part);
	return 0;
}

void
channel_on_close(struct partition *part, uint32_t relid)
{
	struct vchan *c = channel_by_relid(part, relid);

	if (c != NULL && c->rescinded)
		return;
	if (c == NULL || !c->pub.open) {
		host_violation(part, "channel.close", &relid, sizeof(relid),
			       "CLOSECHANNEL for %u: not open", relid);
		return;
	}
	if (c->pub.sub_index == 0)
		rescind_subs(c->pub.vdev);
	channel_shut(c);
	gpadl_finish_teardowns(part);
}

void
channel_on_released(struct partition *part, uint32_t relid)
{
	struct vchan *c = channel_by_relid(part, relid);
	struct vdev *vdev;

	/* Before 3.0 Linux unloads its bus driver without UNLOAD, and releases what it had. */
	if (c != NULL && !c->pub.open && !c->rescinded && part->vmbus->version < VMBUS_VERSION_3_0)
		return;
	if (c == NULL || !c->rescinded) {
		host_violation(part, "channel.released", &relid, sizeof(relid),
			       "RELID_RELEASED for %u, which was not rescinded", relid);
		return;
	}
	gpadl_release(part, relid);
	vdev = c->pub.vdev;
	channel_free(c);
	if (vdev->want_offer && vdev_offer(vdev) != 0)
		host_log(HOST_ERR, "guest %u: no relid left for a device", part->id);
}

void
channel_on_modify(struct partition *part, const struct vmbus_msg_modify_channel *m)
{
	struct vmbus_msg_modify_response r = { .hdr.type = VMBUS_MSG_MODIFYCHANNEL_RESPONSE,
					       .relid = m->relid };
	struct vchan *c = channel_by_relid(part, m->relid);

	if (part->vmbus->version < VMBUS_VERSION_4_1 || c == NULL) {
		host_violation(part, c == NULL ? "vmbus.unknown-relid" : "channel.modify-version",
			       m, sizeof(*m), "MODIFYCHANNEL for %u", m->relid);
		return;
	}
	if (!c->pub.open)
		return; /* as Hyper-V: ignored without an answer */
	channel_event_fd(c, false);
	check_vp(c, m->target_vp);
	c->pub.target_vp = m->target_vp;
	channel_event_fd(c, true);
	if (part->vmbus->version >= VMBUS_VERSION_5_3)
		vmbus_send(part, &r, sizeof(r));
}

void
vmbus_reset(struct partition *part)
{
	struct vmbus *v = part->vmbus;

	if (v == NULL)
		return;
	/* Sub-channels first: their relids are not always above the primary's. */
	for (int subs = 1; subs >= 0; subs--)
		for (uint32_t i = v->relid_top; i >= 1; i--)
			if (v->by_relid[i] != NULL && (v->by_relid[i]->pub.sub_index != 0) == subs)
				channel_shut(v->by_relid[i]);
	for (unsigned int i = 0; i < part->n_vdevs; i++) {
		part->vdevs[i]->primary = NULL;
		part->vdevs[i]->want_offer = false;
		part->vdevs[i]->ops->reset(part->vdevs[i]);
	}
	for (uint32_t i = v->relid_top; i >= 1; i--)
		if (v->by_relid[i] != NULL)
			channel_free(v->by_relid[i]);
	gpadl_free_all(part);
	out_purge(part, true);
	memset(v, 0, sizeof(*v));
}

void
vmbus_destroy(struct partition *part)
{
	free(part->vmbus);
	part->vmbus = NULL;
}
