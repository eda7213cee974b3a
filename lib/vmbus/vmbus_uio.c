/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Back end "uio": devices that Linux's uio_hv_generic holds for us.
 *
 * The kernel speaks the VMBus control protocol. The first open of /dev/uioN opens the primary
 * channel, the last close closes all of them; so a mapping, which keeps the file open, must be
 * gone before that. Sub-channels are opened by the kernel as they are offered; each shows its
 * rings in sysfs, some time later. Nothing here depends on the kernel's version, only on what
 * is there: sizes and GPADLs are read, missing files are noticed.
 *
 * Sources: Linux drivers/uio/uio_hv_generic.c and drivers/uio/uio.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_interrupts.h>
#include <rte_malloc.h>

#include "vmbus_sysfs.h"
#include "vmbus_uio.h"
#include "vmbus_uio_map.h"

#define BIND_HINT	 "bind it to uio_hv_generic (hv-devbind) to use it here"
#define STATE_OPENED	 3  /* sysfs "state": CHANNEL_OPENED_STATE of the kernel */
#define CLOSE_WAIT_MS	 20 /* for a process that is exiting, each of CLOSE_WAIT_TRIES */
#define CLOSE_WAIT_TRIES 50
#define LEFT_WAIT_MS	 2000 /* for the host to take sub-channels of the last session back */

/* --- scan ---------------------------------------------------------------------------------------- */

static int
found_device(const struct vmbus_sysfs_dev *sd, void *arg)
{
	struct vmbus_found found = {
		.class_id = sd->class_id,
		.instance_id = sd->instance_id,
		.relid = sd->relid,
		.hw_device_id = sd->hw_device_id,
		.numa_node = sd->numa_node >= 0 ? sd->numa_node : SOCKET_ID_ANY,
	};
	static const struct hv_guid nic = VMBUS_CLASS_NIC;
	struct hv_vmbus_device *dev;
	struct uio_dev *u;
	int rc;

	(void)arg;
	if (sd->uio < 0) {
		if (hv_guid_equal(&sd->class_id, &nic))
			VMBUS_LOG(INFO, "%s: kernel driver %s has this NIC: " BIND_HINT, sd->name,
				  sd->driver[0] != '\0' ? sd->driver : "(none)");
		return 0;
	}
	rc = vmbus_bus_add(&vmbus_uio_ops, &found, &dev);
	if (rc == -EEXIST && dev->ops != &vmbus_uio_ops)
		return 0;
	if (rc != 0 && rc != -EEXIST)
		return rc;
	if (dev->backend == NULL) {
		u = calloc(1, sizeof(*u));
		if (u == NULL)
			return -ENOMEM;
		u->fd = -1;
		for (unsigned int i = 0; i < VMBUS_CHANNELS_MAX; i++)
			u->intr_fd[i] = -1;
		memcpy(u->name, sd->name, sizeof(u->name));
		dev->backend = u;
	}
	u = dev->backend;
	if (u->fd < 0)
		u->uio = sd->uio;
	return 0;
}

static int
uio_scan(void)
{
	return vmbus_sysfs_scan(found_device, NULL);
}

static void
uio_release(struct hv_vmbus_device *dev)
{
	free(dev->backend);
	dev->backend = NULL;
}

/* --- removal ------------------------------------------------------------------------------------- */

/*
 * The device file is readable: the host interrupted us, which only resets the count, or the
 * device is going away, which read() says with EIO.
 */
static void
on_uio_event(void *arg)
{
	struct hv_vmbus_device *dev = arg;
	struct uio_dev *u = dev->backend;
	uint32_t count;

	if (read(u->fd, &count, sizeof(count)) >= 0 || errno == EAGAIN || errno == EINTR)
		return;
	VMBUS_LOG(DEBUG, "%s: /dev/uio%d: %s", dev->name, u->uio, strerror(errno));
	/* The file stays readable for ever now: not to be called again. */
	rte_intr_callback_unregister_pending(u->watch, on_uio_event, dev, NULL);
	vmbus_bus_gone(dev);
}

static int
watch_start(struct hv_vmbus_device *dev)
{
	struct uio_dev *u = dev->backend;
	int rc;

	if (!vmbus_uio_pollable(u->fd)) {
		VMBUS_LOG(WARNING,
			  "%s: /dev/uio%d cannot be waited for: its removal will not be seen",
			  dev->name, u->uio);
		return 0;
	}
	u->watch = rte_intr_instance_alloc(RTE_INTR_INSTANCE_F_PRIVATE);
	if (u->watch == NULL)
		return -ENOMEM;
	rte_intr_fd_set(u->watch, u->fd);
	rte_intr_type_set(u->watch, RTE_INTR_HANDLE_EXT);
	rc = rte_intr_callback_register(u->watch, on_uio_event, dev);
	if (rc != 0) {
		rte_intr_instance_free(u->watch);
		u->watch = NULL;
		VMBUS_LOG(ERR, "%s: cannot watch for its removal: %s", dev->name, strerror(-rc));
	}
	return rc;
}

static void
watch_stop(struct hv_vmbus_device *dev)
{
	struct uio_dev *u = dev->backend;

	if (u->watch == NULL)
		return;
	/* Waits for a running callback; -ENOENT when the removal was seen. */
	rte_intr_callback_unregister_sync(u->watch, on_uio_event, dev);
	rte_intr_instance_free(u->watch);
	u->watch = NULL;
}

/* --- open and close ------------------------------------------------------------------------------- */

static void
log_open_error(const struct hv_vmbus_device *dev, const char *path, int error)
{
	const char *hint = "";

	if (error == EACCES || error == EPERM)
		hint = ": run as root, or give this user read and write access to it and to the "
		       "ring files of the device in sysfs";
	else if (error == ENOENT || error == ENODEV || error == ENXIO)
		hint = ": the device is gone, or another kernel driver took it";
	else if (error == EAGAIN || error == EINVAL)
		hint = ": the host refused to open the channel; see the kernel log";
	VMBUS_LOG(ERR, "%s: cannot open %s: %s%s", dev->name, path, strerror(error), hint);
}

static int
open_errno(int error)
{
	switch (error) {
	case ENOENT:
	case ENXIO:
		return -ENODEV;
	case EAGAIN:
	case EINVAL:
		return -EPROTO;
	default:
		return -error;
	}
}

/* Does another process hold the channel open? It may be one that is exiting right now. */
static bool
held_open(const struct hv_vmbus_device *dev)
{
	const struct uio_dev *u = dev->backend;
	unsigned int i, state;

	for (i = 0; i < CLOSE_WAIT_TRIES; i++) {
		if (vmbus_sysfs_state(u->name, &state) != 0 || state != STATE_OPENED)
			return false;
		rte_delay_us_sleep(CLOSE_WAIT_MS * 1000);
	}
	return true;
}

/* It has used the rings then, which the first open zeroes: what sysfs says may be old. */
static bool
rings_used(const void *rings, uint64_t bytes)
{
	const struct vmbus_ring_hdr *out = rings;
	const struct vmbus_ring_hdr *in = (const void *)((const uint8_t *)rings + bytes / 2);

	return __atomic_load_n(&out->windex, __ATOMIC_RELAXED) != 0 ||
	       __atomic_load_n(&in->windex, __ATOMIC_RELAXED) != 0;
}

static bool
is_ours(const struct vmbus_shared *s, uint32_t relid)
{
	for (unsigned int i = 1; i < VMBUS_CHANNELS_MAX; i++)
		if (s->chan[i] != NULL && s->chan[i]->relid == relid)
			return true;
	return false;
}

/* The kernel lets nobody map the ring of a channel that is not. */
static bool
is_open(const char *name, uint32_t relid)
{
	char path[PATH_MAX];
	uint64_t bytes;
	void *addr;

	vmbus_sysfs_ring_path(name, relid, path, sizeof(path));
	if (vmbus_uio_map_file(path, NULL, &bytes, &addr) != 0)
		return false;
	vmbus_uio_unmap(addr, bytes);
	return true;
}

bool
uio_subs_unopened(const struct hv_vmbus_device *dev)
{
	const struct vmbus_shared *s = vmbus_shared_of(dev);
	const struct uio_dev *u = dev->backend;
	uint32_t relid[2 * VMBUS_CHANNELS_MAX];
	const unsigned int n = vmbus_sysfs_subs(u->name, relid, RTE_DIM(relid));

	if (n > RTE_DIM(relid))
		return true;
	for (unsigned int i = 0; i < n; i++)
		if (!is_ours(s, relid[i]) && !is_open(u->name, relid[i]))
			return true;
	return false;
}

/* Before the first signal: see write_one(). With a monitor nothing is written yet. */
static int
wait_for_left(const struct hv_vmbus_device *dev, const struct hv_vmbus_channel *chan)
{
	unsigned int ms = 0;

	while (chan->monitor_trigger == NULL && uio_subs_unopened(dev)) {
		if (hv_vmbus_device_gone(dev))
			return -ENODEV;
		if (ms++ == LEFT_WAIT_MS) {
			VMBUS_LOG(
				ERR,
				"%s: the host does not take back sub-channels that were closed: a "
				"signal now could crash the kernel",
				dev->name);
			return -EBUSY;
		}
		rte_delay_us_sleep(1000);
	}
	return 0;
}

int
uio_open_node(const struct hv_vmbus_device *dev, int *fd)
{
	const struct uio_dev *u = dev->backend;
	char path[PATH_MAX];

	vmbus_sysfs_uio_path(u->uio, path, sizeof(path));
	*fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (*fd >= 0)
		return 0;
	log_open_error(dev, path, errno);
	return open_errno(errno);
}

static int
map_one(struct hv_vmbus_device *dev, const struct vmbus_sysfs_map *maps, unsigned int i,
	void **addr)
{
	struct vmbus_shared *s = vmbus_shared_of(dev);
	struct uio_dev *u = dev->backend;
	struct vmbus_shared_map *m = &s->maps[s->n_maps];
	int rc;

	*addr = NULL;
	if (maps[i].size == 0)
		return 0;
	rc = vmbus_uio_map(u->fd, i * sysconf(_SC_PAGESIZE), maps[i].size, i != VMBUS_MAP_RINGS,
			   addr);
	if (rc != 0) {
		VMBUS_LOG(ERR, "%s: cannot map %s of /dev/uio%d, %#" PRIx64 " bytes: %s", dev->name,
			  vmbus_sysfs_map_name(i), u->uio, maps[i].size, strerror(-rc));
		return rc;
	}
	m->addr = *addr;
	m->bytes = maps[i].size;
	m->id = i;
	u->map_here[s->n_maps++] = true;
	return 0;
}

/* Map what there is. The rings come first: they are masked before anything else happens. */
static int
map_all(struct hv_vmbus_device *dev, const struct vmbus_sysfs_map *maps,
	struct hv_vmbus_channel *chan, bool held)
{
	struct vmbus_shared *s = vmbus_shared_of(dev);
	struct uio_dev *u = dev->backend;
	void *addr;
	int rc;

	rc = map_one(dev, maps, VMBUS_MAP_RINGS, &addr);
	if (rc != 0)
		return rc;
	if (held && rings_used(addr, maps[VMBUS_MAP_RINGS].size)) {
		VMBUS_LOG(ERR, "%s: another process has /dev/uio%d open", dev->name, u->uio);
		return -EBUSY;
	}
	rc = vmbus_channel_attach(chan, addr, (uint32_t)(maps[VMBUS_MAP_RINGS].size / 2),
				  (uint32_t)sysconf(_SC_PAGESIZE));
	if (rc != 0) {
		VMBUS_LOG(ERR, "%s: unusable rings of %#" PRIx64 " bytes", dev->name,
			  maps[VMBUS_MAP_RINGS].size);
		return rc;
	}
	rc = map_one(dev, maps, VMBUS_MAP_MONITOR_PAGE, &addr);
	if (rc != 0)
		return rc;
	u->monitor = addr;
	rc = map_one(dev, maps, VMBUS_MAP_RECV, &addr);
	if (rc != 0)
		return rc;
	s->recv = (struct hv_vmbus_buffer){ NULL, addr, maps[VMBUS_MAP_RECV].size,
					    maps[VMBUS_MAP_RECV].gpadl, true };
	rc = map_one(dev, maps, VMBUS_MAP_SEND, &addr);
	if (rc != 0)
		return rc;
	s->send = (struct hv_vmbus_buffer){ NULL, addr, maps[VMBUS_MAP_SEND].size,
					    maps[VMBUS_MAP_SEND].gpadl, true };
	return 0;
}

static void
unmap_all(struct hv_vmbus_device *dev)
{
	struct vmbus_shared *s = vmbus_shared_of(dev);
	struct uio_dev *u = dev->backend;

	for (unsigned int i = 1; i < VMBUS_CHANNELS_MAX; i++) {
		struct hv_vmbus_channel *chan = s->chan[i];

		if (u->ring_here[i] && chan != NULL)
			vmbus_uio_unmap(chan->ring_mem, 2 * (uint64_t)chan->ring_bytes);
		u->ring_here[i] = false;
	}
	for (unsigned int i = 0; i < VMBUS_MAPS_MAX; i++) {
		if (u->map_here[i])
			vmbus_uio_unmap(s->maps[i].addr, s->maps[i].bytes);
		u->map_here[i] = false;
	}
	u->monitor = NULL;
}

static void
close_fds(struct hv_vmbus_device *dev)
{
	struct uio_dev *u = dev->backend;

	for (unsigned int i = 0; i < VMBUS_CHANNELS_MAX; i++) {
		if (u->intr_fd[i] >= 0)
			close(u->intr_fd[i]);
		u->intr_fd[i] = -1;
	}
	if (u->fd >= 0)
		close(u->fd);
	u->fd = -1;
}

/* The kernel waits for the host, with a patience of its own. */
static int
uio_close(struct hv_vmbus_device *dev, unsigned int ms)
{
	struct vmbus_shared *s = vmbus_shared_of(dev);
	struct uio_dev *u = dev->backend;

	(void)ms;
	watch_stop(dev);
	unmap_all(dev);
	close_fds(dev);
	u->hold = u->held = false;
	s->n_maps = 0;
	memset(&s->recv, 0, sizeof(s->recv));
	memset(&s->send, 0, sizeof(s->send));
	return 0;
}

/* It stays: a burst of a secondary that is about to signal looks at it behind the close. */
static int
share(struct vmbus_shared *s)
{
	struct uio_shared *us = s->backend_data;

	if (us == NULL) {
		us = rte_zmalloc("hv_vmbus_uio", sizeof(*us), 0);
		if (us == NULL)
			return -ENOMEM;
		vmbus_lock_init(&us->lock);
		s->backend_data = us;
	}
	us->sub_intr = false;
	memset(us->intr_wanted, 0, sizeof(us->intr_wanted));
	return 0;
}

/* What sysfs says now: relids and uio numbers change when a device leaves and comes back. */
static int
read_device(struct hv_vmbus_device *dev, struct vmbus_sysfs_map maps[VMBUS_MAP_COUNT],
	    struct vmbus_sysfs_chan *primary)
{
	struct uio_dev *u = dev->backend;
	struct vmbus_sysfs_dev sd;
	unsigned int bad;
	int rc;

	rc = vmbus_sysfs_read(u->name, &sd);
	if (rc != 0 || sd.uio < 0) {
		VMBUS_LOG(ERR, "%s: %s: " BIND_HINT, dev->name,
			  rc != 0 ? "not in sysfs any more" : "no uio device");
		return -ENODEV;
	}
	u->uio = sd.uio;
	dev->relid = sd.relid;
	rc = vmbus_sysfs_maps(u->name, u->uio, maps, &bad);
	if (rc != 0) {
		VMBUS_LOG(ERR, "%s: map%u of uio%d is not a valid %s: not uio_hv_generic?",
			  dev->name, bad, u->uio, vmbus_sysfs_map_name(bad));
		return rc;
	}
	rc = vmbus_sysfs_chan(u->name, 0, primary);
	if (rc != 0)
		VMBUS_LOG(ERR, "%s: no primary channel in sysfs", dev->name);
	return rc;
}

static int
uio_open(struct hv_vmbus_device *dev, const struct hv_vmbus_open_params *params,
	 struct hv_vmbus_channel *chan)
{
	struct vmbus_shared *s = vmbus_shared_of(dev);
	struct vmbus_sysfs_map maps[VMBUS_MAP_COUNT];
	struct vmbus_sysfs_chan primary;
	struct uio_dev *u = dev->backend;
	bool held;
	int rc;

	(void)params; /* the kernel chooses all sizes */
	if (rte_eal_iova_mode() == RTE_IOVA_VA)
		VMBUS_LOG(
			WARNING,
			"%s: IOVA mode is VA, but Hyper-V reads physical addresses: use hugepages "
			"as root, or --iova-mode=pa",
			dev->name);
	rc = read_device(dev, maps, &primary);
	if (rc != 0)
		return rc;
	held = held_open(dev);
	s->n_maps = 0;
	rc = share(s);
	if (rc != 0)
		return rc;
	rc = uio_open_node(dev, &u->fd);
	if (rc == 0)
		rc = map_all(dev, maps, chan, held);
	if (rc == 0)
		rc = watch_start(dev);
	if (rc == 0) {
		chan->relid = primary.relid;
		vmbus_channel_monitor(chan, u->monitor, primary.monitor_id);
		rc = wait_for_left(dev, chan);
	}
	if (rc != 0)
		uio_close(dev, 0);
	return rc;
}

static int
uio_subchannel_open(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan)
{
	struct uio_dev *u = dev->backend;
	struct vmbus_sysfs_chan sc;
	char path[PATH_MAX];
	uint64_t bytes;
	void *addr;
	int rc;

	rc = vmbus_sysfs_chan(u->name, chan->index, &sc);
	if (rc != 0)
		return rc;
	vmbus_sysfs_ring_path(u->name, sc.relid, path, sizeof(path));
	rc = vmbus_uio_map_file(path, NULL, &bytes, &addr);
	/* The file comes some time after the offer, and cannot be mapped before the open. */
	if (rc == -ENOENT || rc == -ENODEV)
		return hv_vmbus_device_gone(dev) ? -ENODEV : -EAGAIN;
	if (rc == 0) {
		rc = vmbus_channel_attach(chan, addr, (uint32_t)(bytes / 2),
					  (uint32_t)sysconf(_SC_PAGESIZE));
		if (rc != 0)
			vmbus_uio_unmap(addr, bytes);
	}
	if (rc != 0) {
		VMBUS_LOG(ERR, "%s: cannot use %s: %s", dev->name, path, strerror(-rc));
		return rc;
	}
	u->ring_here[chan->index] = true;
	chan->relid = sc.relid;
	vmbus_channel_monitor(chan, u->monitor, sc.monitor_id);
	return 0;
}

/* --- secondary processes ---------------------------------------------------------------------------- */

static void
uio_detach(struct hv_vmbus_device *dev)
{
	unmap_all(dev);
	close_fds(dev);
}

static int
attach_maps(struct hv_vmbus_device *dev)
{
	struct vmbus_shared *s = vmbus_shared_of(dev);
	struct uio_dev *u = dev->backend;
	char path[PATH_MAX];
	uint64_t bytes;
	int rc;

	for (unsigned int i = 0; i < s->n_maps; i++) {
		const struct vmbus_shared_map *m = &s->maps[i];

		rc = vmbus_uio_map_at(u->fd, m->id * sysconf(_SC_PAGESIZE), m->bytes, m->addr);
		if (rc != 0)
			return rc;
		u->map_here[i] = true;
		if (m->id == VMBUS_MAP_MONITOR_PAGE)
			u->monitor = m->addr;
	}
	for (unsigned int i = 1; i < VMBUS_CHANNELS_MAX; i++) {
		const struct hv_vmbus_channel *chan = s->chan[i];
		void *addr = chan != NULL ? chan->ring_mem : NULL;

		if (addr == NULL || u->ring_here[i])
			continue;
		vmbus_sysfs_ring_path(u->name, chan->relid, path, sizeof(path));
		rc = vmbus_uio_map_file(path, addr, &bytes, &addr);
		if (rc != 0)
			return rc;
		u->ring_here[i] = true;
	}
	return 0;
}

static int
uio_attach(struct hv_vmbus_device *dev)
{
	int rc;

	rc = uio_open_node(dev, &((struct uio_dev *)dev->backend)->fd);
	if (rc != 0)
		return rc;
	rc = attach_maps(dev);
	if (rc != 0) {
		VMBUS_LOG(ERR, "%s: cannot map it where the primary process has it: %s", dev->name,
			  strerror(-rc));
		uio_detach(dev);
	}
	return rc;
}

/* The host reads all of the guest's memory: an address is all it takes. */
static int
uio_dma_map(struct hv_vmbus_device *dev, uint64_t iova, size_t len)
{
	(void)len;
	if (iova != RTE_BAD_IOVA)
		return 0;
	VMBUS_LOG(WARNING, "%s: external memory without physical addresses", dev->name);
	return -ENOTSUP;
}

const struct vmbus_backend_ops vmbus_uio_ops = {
	.name = "uio",
	.scan = uio_scan,
	.release = uio_release,
	.open = uio_open,
	.subchannel_open = uio_subchannel_open,
	.close = uio_close,
	.attach = uio_attach,
	.detach = uio_detach,
	.signal = uio_signal,
	.hold = uio_hold,
	.intr_prepare = uio_intr_prepare,
	.intr_fd = uio_intr_fd,
	.intr_ack = uio_intr_ack,
	.dma_map = uio_dma_map,
};
