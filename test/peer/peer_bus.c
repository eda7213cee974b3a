/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel's part of VMBus: contact, offers, buffers of a bound NIC, opening and closing of
 * channels, interrupts. The receiving thread only queues what the host says; a worker acts on
 * it, because it has to wait for the host's answers.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/epoll.h>
#include <sys/mman.h>

#include "peer.h"

/* Guest physical addresses of our memory: the application's is at its virtual addresses. */
#define GPA_FIRST   (UINT64_C(1) << 46)
#define GPA_STEP    (UINT64_C(64) << 20)
#define VPS	    8
#define REGIONS_MAX 1024
#define PAGE_P2C    1
#define PAGE_C2P    2

struct task {
	struct task *next;
	bool rescind;
	struct vmbus_msg_offer offer; /* of a rescind only relid */
};

pthread_mutex_t peer_lock = PTHREAD_MUTEX_INITIALIZER;
struct peer_dev peer_devs[PEER_DEVICES];
struct peer_mem bus_pages = { .fd = -1 };

static struct vmbus_client *client;
static int events = -1; /* epoll of the channels' eventfds; data: see event_data() */

static pthread_mutex_t task_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t task_cond = PTHREAD_COND_INITIALIZER;
static struct task *first_task, **last_task = &first_task;

static struct {
	uint64_t gpa;
	uint64_t bytes;
} regions[REGIONS_MAX]; /* of the application */
static pthread_mutex_t regions_lock = PTHREAD_MUTEX_INITIALIZER;

/* --- memory --------------------------------------------------------------------------------------- */

static void
mem_free(struct peer_mem *m)
{
	if (m->addr != NULL) {
		vmbus_client_mem_del(client, m->gpa, m->bytes);
		PEER_REAL(munmap)(m->addr, m->bytes);
	}
	if (m->fd >= 0)
		close(m->fd);
	memset(m, 0, sizeof(*m));
	m->fd = -1;
}

/* Share a file (or new memory, fd < 0) with the host. */
static int
mem_make(struct peer_mem *m, int fd, uint64_t bytes)
{
	static uint64_t next_gpa = GPA_FIRST;
	void *p;
	int rc;

	memset(m, 0, sizeof(*m));
	m->fd = fd;
	if (fd < 0) {
		m->fd = memfd_create("hvpeer", MFD_CLOEXEC);
		if (m->fd < 0 || ftruncate(m->fd, (off_t)bytes) != 0)
			return -errno;
	}
	p = PEER_REAL(mmap)(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	m->addr = p;
	m->bytes = bytes;
	m->gpa = next_gpa;
	next_gpa += (bytes + GPA_STEP - 1) / GPA_STEP * GPA_STEP;
	rc = vmbus_client_mem_add(client, m->gpa, bytes, 0, m->fd);
	if (rc != 0)
		mem_free(m);
	return rc;
}

static int
gpadl_make(struct peer_mem *m, uint32_t relid)
{
	uint32_t n = (uint32_t)(m->bytes / HV_PAGE_SIZE);
	uint64_t *pfn = calloc(n, sizeof(*pfn));
	int rc;

	if (pfn == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		pfn[i] = m->gpa / HV_PAGE_SIZE + i;
	rc = vmbus_client_gpadl_create(client, relid, pfn, n, &m->gpadl);
	free(pfn);
	return rc;
}

static void
gpadl_drop(struct peer_mem *m, uint32_t relid)
{
	if (m->gpadl != 0 &&
	    vmbus_client_gpadl_teardown(client, relid, m->gpadl, VMBUS_CLIENT_TIMEOUT_MS) != 0)
		peer_log("relid %u: GPADL %#x was not torn down", relid, m->gpadl);
	m->gpadl = 0;
}

void
bus_share(void *addr, uint64_t bytes, uint64_t offset, int fd)
{
	uint64_t gpa = (uint64_t)(uintptr_t)addr;
	int rc;

	if (client == NULL)
		return;
	/* Whole pages of the file: what a device is given is in one, and a host refuses what is behind. */
	bytes &= ~(uint64_t)HV_PAGE_MASK;
	if (bytes == 0)
		return;
	rc = vmbus_client_mem_add(client, gpa, bytes, offset, fd);
	if (rc != 0) {
		peer_log("cannot share %p, %llu bytes: %s", addr, (unsigned long long)bytes,
			 strerror(-rc));
		return;
	}
	pthread_mutex_lock(&regions_lock);
	for (unsigned int i = 0; i < REGIONS_MAX; i++) {
		if (regions[i].bytes == 0) {
			regions[i].gpa = gpa;
			regions[i].bytes = bytes;
			break;
		}
	}
	pthread_mutex_unlock(&regions_lock);
}

void
bus_unshare(void *addr, uint64_t bytes)
{
	uint64_t gpa = (uint64_t)(uintptr_t)addr, gone_gpa = 0, gone_bytes = 0;

	pthread_mutex_lock(&regions_lock);
	for (unsigned int i = 0; i < REGIONS_MAX; i++) {
		if (regions[i].bytes != 0 && regions[i].gpa >= gpa &&
		    regions[i].gpa + regions[i].bytes <= gpa + bytes) {
			gone_gpa = regions[i].gpa;
			gone_bytes = regions[i].bytes;
			regions[i].bytes = 0;
		}
	}
	pthread_mutex_unlock(&regions_lock);
	if (gone_bytes != 0)
		vmbus_client_mem_del(client, gone_gpa, gone_bytes);
}

/* --- channels ---------------------------------------------------------------------------------------- */

static uint64_t
event_data(const struct peer_dev *dev, const struct peer_chan *chan, int fd)
{
	return (uint64_t)(dev - peer_devs) << 48 | (uint64_t)(chan - dev->chan) << 32 |
	       (uint32_t)fd;
}

static struct vmbus_ring_hdr *
inbound(const struct peer_chan *chan)
{
	return (void *)(chan->ring.addr + PEER_RING_BYTES);
}

static void
mask(const struct peer_chan *chan, bool masked)
{
	__atomic_store_n(&inbound(chan)->imask, masked, __ATOMIC_SEQ_CST);
}

/* hv_uio_channel_cb() */
static void
interrupt(struct peer_dev *dev, const struct peer_chan *chan)
{
	if (peer_kernel != PEER_KERNEL_6_12_59 && chan != &dev->chan[0]) {
		peer_log("kernel panic: interrupt of sub-channel %u, which has no device",
			 chan->index);
		abort();
	}
	if (peer_kernel == PEER_KERNEL_6_12_52)
		mask(chan, true);
	uio_notify(dev);
}

/* What vmbus_open() of the kernel does to fresh rings: empty, unmasked, flow control. */
static void
rings_reset(struct peer_chan *chan)
{
	for (unsigned int i = 0; i < 2; i++) {
		struct vmbus_ring_hdr *h = (void *)(chan->ring.addr + i * PEER_RING_BYTES);

		memset(h, 0, sizeof(*h));
		h->feature = VMBUS_RING_FEAT_PENDING_SEND;
	}
}

static int
chan_make_ring(struct peer_dev *dev, struct peer_chan *chan)
{
	int fd = tree_make_ring(dev, chan);
	struct stat st;
	int rc;

	if (fd < 0)
		return fd;
	rc = mem_make(&chan->ring, fd, 2 * (uint64_t)PEER_RING_BYTES);
	if (rc == 0 && fstat(chan->ring.fd, &st) == 0)
		chan->ring_ino = st.st_ino;
	return rc;
}

static int
chan_open(struct peer_dev *dev, struct peer_chan *chan)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int fd, rc;

	rings_reset(chan);
	rc = gpadl_make(&chan->ring, chan->relid);
	if (rc == 0)
		rc = vmbus_client_open(client, chan->relid, chan->ring.gpadl, chan->index % VPS,
				       PEER_RING_BYTES / HV_PAGE_SIZE);
	if (rc != 0) {
		gpadl_drop(&chan->ring, chan->relid);
		return rc;
	}
	if (peer_kernel == PEER_KERNEL_6_12_52)
		mask(chan, true);
	chan->open = true;
	fd = vmbus_client_event_fd(client, chan->relid);
	ev.data.u64 = event_data(dev, chan, fd);
	if (fd >= 0)
		epoll_ctl(events, EPOLL_CTL_ADD, fd, &ev);
	return 0;
}

static void
chan_close(struct peer_chan *chan, bool rescinded)
{
	int fd;

	if (!chan->open)
		return;
	chan->open = false;
	fd = vmbus_client_event_fd(client, chan->relid);
	if (fd >= 0)
		epoll_ctl(events, EPOLL_CTL_DEL, fd, NULL);
	if (!rescinded) {
		vmbus_client_close(client, chan->relid);
		gpadl_drop(&chan->ring, chan->relid);
	}
	vmbus_client_forget(client, chan->relid, chan->conn_id);
}

int
bus_open(struct peer_dev *dev)
{
	int rc = chan_open(dev, &dev->chan[0]);

	if (rc == 0)
		tree_state(dev, 3);
	else /* what the kernel makes of a refusal */
		rc = rc == -EPROTO ? -EAGAIN : rc;
	return rc;
}

static void
dev_free(struct peer_dev *dev)
{
	mem_free(&dev->chan[0].ring);
	mem_free(&dev->recv);
	mem_free(&dev->send);
	dev->used = false;
}

void
bus_close(struct peer_dev *dev)
{
	if (dev->dead) {
		dev_free(dev);
		return;
	}
	for (unsigned int i = 1; i < PEER_CHANNELS; i++) {
		if (dev->chan[i].ring.fd < 0)
			continue;
		tree_show_ring(dev, &dev->chan[i], false);
		chan_close(&dev->chan[i], false);
		mem_free(&dev->chan[i].ring);
	}
	chan_close(&dev->chan[0], false);
	tree_state(dev, 2);
}

/* hv_uio_irqcontrol() goes through the list of sub-channels, and asks none whether it has a ring. */
static void
expect_ring(const struct peer_chan *chan)
{
	if (!chan->offered || chan->ring.fd >= 0)
		return;
	peer_log("kernel panic: write() to a sub-channel, %u, that is not open", chan->index);
	abort();
}

void
bus_irqcontrol(struct peer_dev *dev, bool on)
{
	pthread_mutex_lock(&peer_lock);
	for (unsigned int i = 0; i < PEER_CHANNELS; i++) {
		struct peer_chan *chan = &dev->chan[i];
		uint64_t one = 1;
		int fd;

		if (i > 0 && peer_kernel != PEER_KERNEL_6_12_59)
			continue;
		if (i > 0)
			expect_ring(chan);
		if (!chan->open)
			continue;
		mask(chan, !on);
		if (!on || chan->monitor_id != VMBUS_MONITOR_ID_NONE)
			continue;
		fd = vmbus_client_signal_fd(client, chan->conn_id);
		if (fd < 0 || PEER_REAL(write)(fd, &one, sizeof(one)) != sizeof(one))
			vmbus_client_signal(client, chan->conn_id);
	}
	pthread_mutex_unlock(&peer_lock);
}

/* --- offers ------------------------------------------------------------------------------------------ */

/* What the kernel does without a lock takes its time: that of a variable of the environment. */
static void
take_time(const char *name)
{
	const char *ms = getenv(name);

	if (ms == NULL)
		return;
	pthread_mutex_unlock(&peer_lock);
	usleep((useconds_t)atoi(ms) * 1000);
	pthread_mutex_lock(&peer_lock);
}

static struct peer_dev *
dev_by_guid(const struct hv_guid *guid)
{
	for (unsigned int i = 0; i < PEER_DEVICES; i++)
		if (peer_devs[i].used && !peer_devs[i].dead &&
		    hv_guid_equal(&peer_devs[i].offer.instance_id, guid))
			return &peer_devs[i];
	return NULL;
}

static void
chan_from_offer(struct peer_chan *chan, const struct vmbus_msg_offer *offer)
{
	memset(chan, 0, sizeof(*chan));
	chan->ring.fd = -1;
	chan->offered = true;
	chan->relid = offer->relid;
	chan->conn_id = offer->conn_id;
	chan->index = offer->sub_index;
	chan->monitor_id = offer->monitor_allocated & 1 ? offer->monitor_id : VMBUS_MONITOR_ID_NONE;
}

/* A new NIC is bound to uio_hv_generic at once, as after a write to new_id. */
static void
on_primary(const struct vmbus_msg_offer *offer)
{
	static const struct hv_guid nic = VMBUS_CLASS_NIC;
	struct peer_dev *dev = NULL;
	int rc;

	if (!hv_guid_equal(&offer->class_id, &nic))
		return;
	for (unsigned int i = 0; i < PEER_DEVICES && dev == NULL; i++)
		if (!peer_devs[i].used)
			dev = &peer_devs[i];
	if (dev == NULL) {
		peer_log("more than %d devices", PEER_DEVICES);
		return;
	}
	memset(dev, 0, sizeof(*dev));
	for (unsigned int i = 0; i < PEER_CHANNELS; i++)
		dev->chan[i].ring.fd = -1;
	dev->uio = (int)(dev - peer_devs);
	dev->offer = *offer;
	dev->recv.fd = dev->send.fd = -1;
	hv_guid_format(&offer->instance_id, dev->name);
	chan_from_offer(&dev->chan[0], offer);
	dev->used = true;
	rc = chan_make_ring(dev, &dev->chan[0]);
	if (rc == 0)
		rc = mem_make(&dev->recv, -1, PEER_RECV_BYTES);
	if (rc == 0)
		rc = gpadl_make(&dev->recv, offer->relid);
	if (rc == 0)
		rc = mem_make(&dev->send, -1, PEER_SEND_BYTES);
	if (rc == 0)
		rc = gpadl_make(&dev->send, offer->relid);
	if (rc != 0) {
		peer_log("%s: cannot be bound: %s", dev->name, strerror(-rc));
		dev_free(dev);
		return;
	}
	tree_add_dev(dev);
	peer_log("%s is /dev/uio%d", dev->name, dev->uio);
}

static void
on_sub(const struct vmbus_msg_offer *offer)
{
	const char *delay = getenv("HVPEER_RING_DELAY_MS");
	struct peer_dev *dev = dev_by_guid(&offer->instance_id);
	struct peer_chan *chan;
	int rc;

	if (dev == NULL || offer->sub_index >= PEER_CHANNELS || !dev->chan[0].open)
		return;
	chan = &dev->chan[offer->sub_index];
	if (chan->offered)
		return;
	/* In the list of sub-channels; then in sysfs; then it has a ring. */
	chan_from_offer(chan, offer);
	take_time("HVPEER_OPEN_DELAY_MS");
	tree_add_chan(dev, chan);
	take_time("HVPEER_OPEN_DELAY_MS");
	if (!dev->chan[0].open)
		return;
	rc = chan_make_ring(dev, chan);
	if (rc == 0)
		rc = chan_open(dev, chan);
	if (rc != 0) {
		peer_log("%s: sub-channel %u: %s", dev->name, chan->index, strerror(-rc));
		return;
	}
	if (delay != NULL)
		usleep((useconds_t)atoi(delay) * 1000);
	tree_show_ring(dev, chan, true);
}

/* Only when its relid is given back does the host let go of what the channel named. */
static void
rescind_chan(struct peer_dev *dev, struct peer_chan *chan)
{
	bool primary = chan == &dev->chan[0];

	if (primary) {
		uio_hangup(dev);
		tree_remove_dev(dev);
	} else {
		tree_remove_chan(dev, chan);
	}
	tree_show_ring(dev, chan, false);
	chan_close(chan, true);
	/* A file of sysfs takes the pages of its mappings with it. */
	if (!primary && chan->ring.fd >= 0 && ftruncate(chan->ring.fd, 0) != 0)
		peer_log("ring of channel %u: %s", chan->relid, strerror(errno));
	chan->offered = false;
	vmbus_client_released(client, chan->relid);
	if (!primary)
		mem_free(&chan->ring);
	else if (dev->users == 0)
		dev_free(dev);
}

static void
on_rescind(uint32_t relid)
{
	take_time("HVPEER_RESCIND_DELAY_MS");
	for (unsigned int d = 0; d < PEER_DEVICES; d++) {
		struct peer_dev *dev = &peer_devs[d];

		for (unsigned int c = 0; dev->used && !dev->dead && c < PEER_CHANNELS; c++) {
			struct peer_chan *chan = &dev->chan[c];

			if (!chan->offered || chan->relid != relid)
				continue;
			rescind_chan(dev, chan);
			return;
		}
	}
	vmbus_client_released(client, relid);
}

/* --- threads ------------------------------------------------------------------------------------------- */

static void
queue(const struct vmbus_msg_offer *offer, uint32_t relid)
{
	struct task *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return;
	t->rescind = offer == NULL;
	if (offer != NULL)
		t->offer = *offer;
	else
		t->offer.relid = relid;
	pthread_mutex_lock(&task_lock);
	*last_task = t;
	last_task = &t->next;
	pthread_cond_signal(&task_cond);
	pthread_mutex_unlock(&task_lock);
}

static void
cb_offer(void *ctx, const struct vmbus_msg_offer *offer)
{
	(void)ctx;
	queue(offer, 0);
}

static void
cb_rescind(void *ctx, uint32_t relid)
{
	(void)ctx;
	queue(NULL, relid);
}

static void
cb_event(void *ctx, uint32_t relid)
{
	(void)ctx;
	for (unsigned int d = 0; d < PEER_DEVICES; d++)
		for (unsigned int c = 0; peer_devs[d].used && c < PEER_CHANNELS; c++)
			if (peer_devs[d].chan[c].open && peer_devs[d].chan[c].relid == relid)
				interrupt(&peer_devs[d], &peer_devs[d].chan[c]);
}

/* There is no kernel whose hypervisor goes away; a rescind of everything is the next best. */
static void
cb_hangup(void *ctx)
{
	(void)ctx;
	peer_log("the host hung up");
	for (unsigned int d = 0; d < PEER_DEVICES; d++)
		if (peer_devs[d].used)
			uio_hangup(&peer_devs[d]);
}

static void
cb_log(void *ctx, const char *text)
{
	(void)ctx;
	peer_log("the host says: %s", text);
}

static void
cb_refused(void *ctx, const char *what)
{
	(void)ctx;
	peer_log("not taken from the host: %s", what);
}

static void *
receive_thread(void *arg)
{
	vmbus_client_run(client);
	return arg;
}

/* Act on one thing the host said, if there is any. */
static bool
work(bool wait)
{
	struct task *t;

	pthread_mutex_lock(&task_lock);
	while (first_task == NULL && wait)
		pthread_cond_wait(&task_cond, &task_lock);
	t = first_task;
	if (t != NULL)
		first_task = t->next;
	if (first_task == NULL)
		last_task = &first_task;
	pthread_mutex_unlock(&task_lock);
	if (t == NULL)
		return false;
	pthread_mutex_lock(&peer_lock);
	if (t->rescind)
		on_rescind(t->offer.relid);
	else if (t->offer.sub_index == 0)
		on_primary(&t->offer);
	else
		on_sub(&t->offer);
	pthread_mutex_unlock(&peer_lock);
	free(t);
	return true;
}

static void *
work_thread(void *arg)
{
	while (work(true))
		;
	return arg;
}

static void *
event_thread(void *arg)
{
	struct epoll_event ev;
	struct peer_dev *dev;
	uint64_t n;

	for (;;) {
		if (epoll_wait(events, &ev, 1, -1) != 1)
			continue;
		dev = &peer_devs[ev.data.u64 >> 48];
		if (PEER_REAL(read)((int)(uint32_t)ev.data.u64, &n, sizeof(n)) == sizeof(n))
			interrupt(dev, &dev->chan[ev.data.u64 >> 32 & 0xffff]);
	}
	return arg;
}

static int
contact(void)
{
	int rc = vmbus_client_hello(client, "peer", VPS, NULL);

	if (rc == 0)
		rc = mem_make(&bus_pages, -1, 3 * HV_PAGE_SIZE);
	if (rc == 0)
		rc = vmbus_client_contact(client, bus_pages.gpa + PAGE_P2C * HV_PAGE_SIZE,
					  bus_pages.gpa + PAGE_C2P * HV_PAGE_SIZE);
	if (rc == 0)
		rc = vmbus_client_request_offers(client);
	while (rc == 0 && work(false))
		;
	return rc;
}

int
bus_start(const char *socket_path)
{
	static const struct vmbus_client_ops ops = { .offer = cb_offer,
						     .rescind = cb_rescind,
						     .event = cb_event,
						     .hangup = cb_hangup,
						     .log = cb_log,
						     .refused = cb_refused };
	int fd = vmbus_client_connect(socket_path), rc;
	struct vmbus_client *c;
	pthread_t thread;

	if (fd < 0)
		return fd;
	events = epoll_create1(EPOLL_CLOEXEC);
	if (events < 0)
		return -errno;
	rc = vmbus_client_new(fd, &ops, NULL, &c);
	if (rc != 0)
		return rc;
	client = c;
	rc = pthread_create(&thread, NULL, receive_thread, NULL);
	if (rc == 0)
		rc = -contact();
	if (rc == 0)
		rc = pthread_create(&thread, NULL, work_thread, NULL);
	if (rc == 0)
		rc = pthread_create(&thread, NULL, event_thread, NULL);
	return -rc;
}
