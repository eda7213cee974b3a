/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The part of sysfs that a VMBus driver in user space sees, as real files below a private
 * directory on tmpfs, with the names, modes, links and contents of Linux 6.12
 * (test/data/sysfs). What changes while it is read is rewritten when it is opened.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "peer.h"

#define ACPI "devices/LNXSYSTM:00/LNXSYBUS:00/VMBUS:00"

static char root[PATH_MAX / 2]; /* DIR/sys */
static char dev_dir[PATH_MAX / 2];

/* --- writing ---------------------------------------------------------------------------------- */

static void __attribute__((format(printf, 3, 4)))
put(const char *path, mode_t mode, const char *fmt, ...)
{
	int fd = PEER_REAL(open)(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	va_list ap;
	int len;

	if (fd < 0) {
		peer_log("%s: %s", path, strerror(errno));
		return;
	}
	va_start(ap, fmt);
	len = vdprintf(fd, fmt, ap);
	va_end(ap);
	if (peer_bare && len > 0 && ftruncate(fd, len - 1) != 0)
		peer_log("%s: %s", path, strerror(errno));
	fchmod(fd, mode);
	close(fd);
}

static void
dir(const char *fmt, ...)
{
	char path[PATH_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(path, sizeof(path), fmt, ap);
	va_end(ap);
	if (mkdir(path, 0755) != 0 && errno != EEXIST)
		peer_log("%s: %s", path, strerror(errno));
}

#define PUT(mode, value, ...)                          \
	do {                                           \
		char p_[PATH_MAX];                     \
		snprintf(p_, sizeof(p_), __VA_ARGS__); \
		put(p_, mode, "%s", value);            \
	} while (0)

#define LINK(target, ...)                                        \
	do {                                                     \
		char p_[PATH_MAX];                               \
		snprintf(p_, sizeof(p_), __VA_ARGS__);           \
		if (symlink(target, p_) != 0)                    \
			peer_log("%s: %s", p_, strerror(errno)); \
	} while (0)

static const char *
number(char buf[32], const char *fmt, unsigned long long v)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(buf, 32, fmt, v);
#pragma GCC diagnostic pop
	return buf;
}

static void
device_path(const struct peer_dev *dev, char *path, size_t len)
{
	snprintf(path, len, "%s/" ACPI "/%s", root, dev->name);
}

/* --- the fixed part ----------------------------------------------------------------------------- */

int
tree_init(const char *base)
{
	static const char *const dirs[] = { "",
					    "/bus",
					    "/bus/vmbus",
					    "/bus/vmbus/devices",
					    "/bus/vmbus/drivers",
					    "/bus/vmbus/drivers/hv_netvsc",
					    "/bus/vmbus/drivers/uio_hv_generic",
					    "/class",
					    "/class/uio",
					    "/devices",
					    "/devices/LNXSYSTM:00",
					    "/devices/LNXSYSTM:00/LNXSYBUS:00",
					    ("/" ACPI) };
	static const char *const controls[] = { "bind", "new_id", "remove_id", "uevent", "unbind" };

	if (snprintf(root, sizeof(root), "%s/sys", base) >= (int)sizeof(root) ||
	    snprintf(dev_dir, sizeof(dev_dir), "%s/dev", base) >= (int)sizeof(dev_dir))
		return -ENAMETOOLONG;
	dir("%s", dev_dir);
	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		dir("%s%s", root, dirs[i]);
	for (size_t i = 0; i < sizeof(controls) / sizeof(controls[0]); i++) {
		PUT(0200, "", "%s/bus/vmbus/drivers/uio_hv_generic/%s", root, controls[i]);
		PUT(0200, "", "%s/bus/vmbus/drivers/hv_netvsc/%s", root, controls[i]);
	}
	PUT(0644, "1\n", "%s/bus/vmbus/drivers_autoprobe", root);
	PUT(0200, "", "%s/bus/vmbus/drivers_probe", root);
	PUT(0444, "1\n", "%s/bus/vmbus/hibernation", root);
	return 0;
}

/* --- channels ------------------------------------------------------------------------------------ */

void
tree_add_chan(const struct peer_dev *dev, const struct peer_chan *chan)
{
	static const char *const zeros[] = { "events",	       "interrupts",	 "intr_in_full",
					     "intr_out_empty", "out_full_first", "out_full_total" };
	static const char *const live[] = { "in_mask", "out_mask", "read_avail", "write_avail" };
	char base[PATH_MAX - 64], buf[32];

	if (peer_bare && chan->index == 0)
		return;
	snprintf(base, sizeof(base), "%s/" ACPI "/%s/channels/%u", root, dev->name, chan->relid);
	dir("%s", base);
	PUT(0644, "0\n", "%s/cpu", base);
	for (size_t i = 0; i < sizeof(zeros) / sizeof(zeros[0]); i++)
		PUT(0444, "0\n", "%s/%s", base, zeros[i]);
	for (size_t i = 0; i < sizeof(live) / sizeof(live[0]); i++)
		PUT(0444, "", "%s/%s", base, live[i]);
	if (chan->monitor_id != VMBUS_MONITOR_ID_NONE) {
		PUT(0444, number(buf, "%llu\n", chan->monitor_id), "%s/monitor_id", base);
		PUT(0444, "0\n", "%s/latency", base);
		PUT(0444, "0\n", "%s/pending", base);
	}
	PUT(0444, number(buf, "%llu\n", chan->index), "%s/subchannel_id", base);
}

static int
remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static void
remove_tree(const char *path)
{
	nftw(path, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

void
tree_remove_chan(const struct peer_dev *dev, const struct peer_chan *chan)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/" ACPI "/%s/channels/%u", root, dev->name, chan->relid);
	remove_tree(path);
}

static void
hidden_ring(const struct peer_dev *dev, const struct peer_chan *chan, char *path, size_t len)
{
	snprintf(path, len, "%s/ring-%d-%u", dev_dir, dev->uio, chan->relid);
}

int
tree_make_ring(const struct peer_dev *dev, const struct peer_chan *chan)
{
	char path[PATH_MAX];
	int fd;

	hidden_ring(dev, chan, path, sizeof(path));
	fd = PEER_REAL(open)(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, 2 * (off_t)PEER_RING_BYTES) != 0) {
		int rc = -errno;

		close(fd);
		return rc;
	}
	return fd;
}

void
tree_show_ring(const struct peer_dev *dev, const struct peer_chan *chan, bool show)
{
	char path[PATH_MAX], ring[PATH_MAX];

	if (peer_bare && chan->index == 0)
		return;
	hidden_ring(dev, chan, path, sizeof(path));
	snprintf(ring, sizeof(ring), "%s/" ACPI "/%s/channels/%u/ring", root, dev->name,
		 chan->relid);
	if (show && link(path, ring) != 0)
		peer_log("%s: %s", ring, strerror(errno));
	if (!show) {
		unlink(ring);
		unlink(path);
	}
}

/* --- devices ---------------------------------------------------------------------------------------- */

static void
add_identity(const struct peer_dev *dev, const char *base)
{
	const uint8_t *g = dev->offer.class_id.b;
	char text[HV_GUID_STRLEN + 4], guid[HV_GUID_STRLEN], buf[32], modalias[48];
	size_t n;

	hv_guid_format(&dev->offer.class_id, guid);
	snprintf(text, sizeof(text), "{%s}\n", guid);
	PUT(0444, text, "%s/class_id", base);
	snprintf(text, sizeof(text), "{%s}\n", dev->name);
	PUT(0444, text, "%s/device_id", base);
	n = (size_t)snprintf(modalias, sizeof(modalias), "vmbus:");
	for (int i = 0; i < 16; i++)
		n += (size_t)snprintf(modalias + n, sizeof(modalias) - n, "%02x", g[i]);
	snprintf(modalias + n, sizeof(modalias) - n, "\n");
	PUT(0444, modalias, "%s/modalias", base);
	PUT(0444, number(buf, "%llu\n", dev->chan[0].relid), "%s/id", base);
	PUT(0444, "0x1414\n", "%s/vendor", base);
	PUT(0444, "0x3\n", "%s/device", base);
	PUT(0444, "0\n", "%s/numa_node", base);
	PUT(0444, number(buf, "%llu:0\n", dev->chan[0].relid), "%s/channel_vp_mapping", base);
	PUT(0644, "(null)\n", "%s/driver_override", base);
}

static void
add_ring_state(const struct peer_dev *dev, const char *base)
{
	static const char *const what[] = { "intr_mask", "read_index", "write_index",
					    "read_bytes_avail", "write_bytes_avail" };
	static const char *const monitor[] = { "pending", "latency", "conn_id" };
	char buf[32];

	for (size_t i = 0; i < sizeof(what) / sizeof(what[0]); i++) {
		PUT(0444, "", "%s/in_%s", base, what[i]);
		PUT(0444, "", "%s/out_%s", base, what[i]);
	}
	if (dev->chan[0].monitor_id == VMBUS_MONITOR_ID_NONE)
		return;
	PUT(0444, number(buf, "%llu\n", dev->chan[0].monitor_id), "%s/monitor_id", base);
	for (size_t i = 0; i < sizeof(monitor) / sizeof(monitor[0]); i++) {
		PUT(0444, "0\n", "%s/client_monitor_%s", base, monitor[i]);
		PUT(0444, "0\n", "%s/server_monitor_%s", base, monitor[i]);
	}
}

static void
add_map(const char *base, unsigned int i, const char *name, uint64_t bytes)
{
	char buf[32], text[40];

	dir("%s/maps/map%u", base, i);
	snprintf(text, sizeof(text), "%s\n", name);
	PUT(0444, text, "%s/maps/map%u/name", base, i);
	PUT(0444, number(buf, "0x%016llx\n", bytes), "%s/maps/map%u/size", base, i);
	PUT(0444, "0x0\n", "%s/maps/map%u/offset", base, i);
	PUT(0444, number(buf, "0x%016llx\n", 0xff35385da0000000ull + i * 0x2000000ull),
	    "%s/maps/map%u/addr", base, i);
}

static void
add_uio(const struct peer_dev *dev, const char *device)
{
	char base[PATH_MAX - 64], text[64], link[64];

	dir("%s/uio", device);
	snprintf(base, sizeof(base), "%s/uio/uio%d", device, dev->uio);
	dir("%s", base);
	dir("%s/maps", base);
	add_map(base, 0, "txrx_rings", dev->chan[0].ring.bytes);
	add_map(base, 1, "int_page", HV_PAGE_SIZE);
	add_map(base, 2, "monitor_page", HV_PAGE_SIZE);
	snprintf(text, sizeof(text), "recv:%u", dev->recv.gpadl);
	add_map(base, 3, text, dev->recv.bytes);
	snprintf(text, sizeof(text), "send:%u", dev->send.gpadl);
	add_map(base, 4, text, dev->send.bytes);
	PUT(0444, "uio_hv_generic\n", "%s/name", base);
	PUT(0444, "0.02.1\n", "%s/version", base);
	PUT(0444, "0\n", "%s/event", base);
	snprintf(text, sizeof(text), "244:%d\n", dev->uio);
	PUT(0444, text, "%s/dev", base);
	snprintf(text, sizeof(text), "MAJOR=244\nMINOR=%d\nDEVNAME=uio%d\n", dev->uio, dev->uio);
	PUT(0644, text, "%s/uevent", base);
	snprintf(link, sizeof(link), "../../../%s", dev->name);
	LINK(link, "%s/device", base);
	LINK("../../../../../../../class/uio", "%s/subsystem", base);
}

void
tree_add_dev(const struct peer_dev *dev)
{
	char base[PATH_MAX - 128], link[160], text[80];

	device_path(dev, base, sizeof(base));
	dir("%s", base);
	dir("%s/channels", base);
	add_identity(dev, base);
	add_ring_state(dev, base);
	tree_state(dev, 2);
	tree_add_chan(dev, &dev->chan[0]);
	tree_show_ring(dev, &dev->chan[0], true);
	add_uio(dev, base);
	snprintf(text, sizeof(text), "DRIVER=uio_hv_generic\n");
	PUT(0644, text, "%s/uevent", base);
	LINK("../../../../../bus/vmbus", "%s/subsystem", base);
	LINK("../../../../../bus/vmbus/drivers/uio_hv_generic", "%s/driver", base);
	/* Last what makes it visible. */
	PUT(0600, "", "%s/uio%d", dev_dir, dev->uio);
	snprintf(link, sizeof(link), "../../" ACPI "/%s/uio/uio%d", dev->name, dev->uio);
	LINK(link, "%s/class/uio/uio%d", root, dev->uio);
	snprintf(link, sizeof(link), "../../../../" ACPI "/%s", dev->name);
	LINK(link, "%s/bus/vmbus/drivers/uio_hv_generic/%s", root, dev->name);
	snprintf(link, sizeof(link), "../../../" ACPI "/%s", dev->name);
	LINK(link, "%s/bus/vmbus/devices/%s", root, dev->name);
}

void
tree_remove_dev(const struct peer_dev *dev)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/bus/vmbus/devices/%s", root, dev->name);
	unlink(path);
	snprintf(path, sizeof(path), "%s/bus/vmbus/drivers/uio_hv_generic/%s", root, dev->name);
	unlink(path);
	snprintf(path, sizeof(path), "%s/class/uio/uio%d", root, dev->uio);
	unlink(path);
	snprintf(path, sizeof(path), "%s/uio%d", dev_dir, dev->uio);
	unlink(path);
	device_path(dev, path, sizeof(path));
	remove_tree(path);
}

void
tree_state(const struct peer_dev *dev, unsigned int state)
{
	char base[PATH_MAX - 16], buf[32];

	device_path(dev, base, sizeof(base));
	PUT(0444, number(buf, "%llu\n", peer_bare ? 3 : state), "%s/state", base);
}

/* --- reading ----------------------------------------------------------------------------------------- */

static bool
below(const char *path, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(path, prefix, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

int
tree_uio(const char *path)
{
	char *end;
	long n;

	if (strncmp(path, "/dev/uio", 8) != 0 || path[8] < '0' || path[8] > '9')
		return -1;
	n = strtol(path + 8, &end, 10);
	return *end == '\0' && n < INT_MAX ? (int)n : -1;
}

const char *
tree_map(const char *path, char *buf, size_t len)
{
	if (path == NULL || path[0] != '/' || root[0] == '\0')
		return path;
	if (below(path, "/sys/bus/vmbus") || below(path, "/sys/class/uio") ||
	    below(path, "/sys/" ACPI))
		snprintf(buf, len, "%s%s", root, path + 4);
	else if (tree_uio(path) >= 0)
		snprintf(buf, len, "%s%s", dev_dir, path + 4);
	else
		return path;
	return buf;
}

/* The channel that a real path of the tree is about, and what is left of the path behind it. */
static const struct peer_chan *
chan_of(const char *path, const struct peer_dev **dev, const char **attr)
{
	for (unsigned int d = 0; d < PEER_DEVICES; d++) {
		const struct peer_dev *pd = &peer_devs[d];
		const char *at = pd->used ? strstr(path, pd->name) : NULL;
		unsigned int relid;
		int n = 0;

		if (at == NULL || at[strlen(pd->name)] != '/')
			continue;
		*dev = pd;
		*attr = at + strlen(pd->name) + 1;
		if (sscanf(*attr, "channels/%u/%n", &relid, &n) != 1 || n == 0)
			return &pd->chan[0];
		*attr += n;
		for (unsigned int c = 0; c < PEER_CHANNELS; c++)
			if (pd->chan[c].offered && pd->chan[c].relid == relid)
				return &pd->chan[c];
	}
	return NULL;
}

/* Value of an attribute of a ring; false if it is not one. */
static bool
ring_attr(const struct vmbus_ring_hdr *h, const char *attr, uint32_t *v)
{
	uint32_t size = PEER_RING_BYTES - HV_PAGE_SIZE;
	uint32_t w = __atomic_load_n(&h->windex, __ATOMIC_RELAXED);
	uint32_t r = __atomic_load_n(&h->rindex, __ATOMIC_RELAXED);
	uint32_t used = w >= r ? w - r : w + size - r;

	if (strcmp(attr, "intr_mask") == 0 || strcmp(attr, "mask") == 0)
		*v = __atomic_load_n(&h->imask, __ATOMIC_RELAXED);
	else if (strcmp(attr, "read_index") == 0)
		*v = r;
	else if (strcmp(attr, "write_index") == 0)
		*v = w;
	else if (strcmp(attr, "read_bytes_avail") == 0 || strcmp(attr, "read_avail") == 0)
		*v = used;
	else if (strcmp(attr, "write_bytes_avail") == 0 || strcmp(attr, "write_avail") == 0)
		*v = size - used;
	else
		return false;
	return true;
}

int
tree_refresh(const char *path)
{
	const struct peer_dev *dev;
	const struct peer_chan *chan;
	const struct vmbus_ring_hdr *h;
	const char *attr;
	uint32_t v;
	bool in;

	if (strncmp(path, root, strlen(root)) != 0)
		return 0;
	chan = chan_of(path, &dev, &attr);
	if (chan == NULL || chan->ring.addr == NULL)
		return 0;
	/* The kernel's read_avail is of the inbound ring, write_avail of the outbound one. */
	in = strncmp(attr, "in_", 3) == 0 || strcmp(attr, "read_avail") == 0;
	if (strncmp(attr, "in_", 3) == 0)
		attr += 3;
	else if (strncmp(attr, "out_", 4) == 0)
		attr += 4;
	else if (strcmp(attr, "read_avail") != 0 && strcmp(attr, "write_avail") != 0)
		return 0;
	h = (const void *)(chan->ring.addr + (in ? PEER_RING_BYTES : 0));
	if (!ring_attr(h, attr, &v))
		return 0;
	if (!chan->open)
		return -EIO;
	put(path, 0444, "%u\n", v);
	return 0;
}
