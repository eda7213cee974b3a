/* SPDX-License-Identifier: BSD-3-Clause */
#include "vmbus_sysfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmbus_wire.h"

/* Above this a map is not believed: far more than the 31 MiB of the largest one. */
#define MAP_MAX (UINT64_C(1) << 30)

static const char *devices_root = "/sys/bus/vmbus/devices";
static const char *dev_root = "/dev";

void
vmbus_sysfs_set_roots(const char *devices, const char *dev)
{
	if (devices != NULL)
		devices_root = devices;
	if (dev != NULL)
		dev_root = dev;
}

/* First line of an attribute of a device, without its end. */
static int __attribute__((format(printf, 4, 5)))
read_line(const char *name, char *text, size_t len, const char *fmt, ...)
{
	char path[PATH_MAX], rest[192];
	ssize_t n;
	va_list ap;
	int fd, rc;

	va_start(ap, fmt);
	vsnprintf(rest, sizeof(rest), fmt, ap);
	va_end(ap);
	snprintf(path, sizeof(path), "%s/%s/%s", devices_root, name, rest);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, text, len - 1);
	rc = n < 0 ? -errno : 0;
	close(fd);
	if (rc != 0)
		return rc;
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return 0;
}

/* The whole of text is a number, decimal or 0x hexadecimal. */
static int
parse_number(const char *text, int base, uint64_t max, uint64_t *value)
{
	char *end;
	unsigned long long v;

	if (text[0] < '0' || text[0] > '9')
		return -EINVAL;
	errno = 0;
	v = strtoull(text, &end, base);
	if (errno != 0 || *end != '\0' || v > max)
		return -EINVAL;
	*value = v;
	return 0;
}

static int
read_number(const char *name, const char *attr, uint64_t max, uint64_t *value)
{
	char text[64];
	int rc = read_line(name, text, sizeof(text), "%s", attr);

	return rc != 0 ? rc : parse_number(text, 0, max, value);
}

static int
read_guid(const char *name, const char *attr, struct hv_guid *guid)
{
	char text[64];
	int rc = read_line(name, text, sizeof(text), "%s", attr);

	return rc != 0 ? rc : hv_guid_parse(text, guid);
}

/* Last part of the link "driver". */
static void
read_driver(const char *name, char *driver, size_t len)
{
	char path[PATH_MAX], target[PATH_MAX];
	const char *base;
	ssize_t n;

	driver[0] = '\0';
	snprintf(path, sizeof(path), "%s/%s/driver", devices_root, name);
	n = readlink(path, target, sizeof(target) - 1);
	if (n <= 0)
		return;
	target[n] = '\0';
	base = strrchr(target, '/');
	base = base != NULL ? base + 1 : target;
	if (strlen(base) < len)
		strcpy(driver, base);
}

/* N of the directory uio/uioN, or -1. */
static int
read_uio(const char *name)
{
	char path[PATH_MAX];
	struct dirent *e;
	uint64_t n;
	int uio = -1;
	DIR *d;

	snprintf(path, sizeof(path), "%s/%s/uio", devices_root, name);
	d = opendir(path);
	if (d == NULL)
		return -1;
	while (uio < 0 && (e = readdir(d)) != NULL) {
		if (strncmp(e->d_name, "uio", 3) == 0 &&
		    parse_number(e->d_name + 3, 10, INT_MAX, &n) == 0)
			uio = (int)n;
	}
	closedir(d);
	return uio;
}

int
vmbus_sysfs_read(const char *name, struct vmbus_sysfs_dev *dev)
{
	uint64_t v;
	char text[64];
	int rc;

	memset(dev, 0, sizeof(*dev));
	if (strlen(name) >= sizeof(dev->name))
		return -ENOENT;
	strcpy(dev->name, name);
	rc = read_guid(name, "class_id", &dev->class_id);
	if (rc == 0)
		rc = read_guid(name, "device_id", &dev->instance_id);
	if (rc == 0)
		rc = read_number(name, "id", UINT32_MAX, &v);
	if (rc != 0)
		return rc;
	dev->relid = (uint32_t)v;
	if (read_number(name, "device", UINT16_MAX, &v) == 0)
		dev->hw_device_id = (uint16_t)v;
	/* A machine without NUMA may say -1. */
	dev->numa_node = -1;
	if (read_line(name, text, sizeof(text), "numa_node") == 0 &&
	    parse_number(text, 10, INT_MAX, &v) == 0)
		dev->numa_node = (int)v;
	read_driver(name, dev->driver, sizeof(dev->driver));
	dev->uio = read_uio(name);
	return 0;
}

int
vmbus_sysfs_scan(int (*fn)(const struct vmbus_sysfs_dev *dev, void *arg), void *arg)
{
	struct vmbus_sysfs_dev dev;
	struct dirent *e;
	int rc = 0;
	DIR *d;

	d = opendir(devices_root);
	if (d == NULL)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	while (rc == 0 && (e = readdir(d)) != NULL) {
		if (e->d_name[0] != '.' && vmbus_sysfs_read(e->d_name, &dev) == 0)
			rc = fn(&dev, arg);
	}
	closedir(d);
	return rc;
}

int
vmbus_sysfs_state(const char *name, unsigned int *state)
{
	uint64_t v;
	int rc = read_number(name, "state", UINT_MAX, &v);

	if (rc == 0)
		*state = (unsigned int)v;
	return rc;
}

const char *
vmbus_sysfs_map_name(unsigned int i)
{
	static const char *const names[VMBUS_MAP_COUNT] = {
		[VMBUS_MAP_RINGS] = "txrx_rings",
		[VMBUS_MAP_INT_PAGE] = "int_page",
		[VMBUS_MAP_MONITOR_PAGE] = "monitor_page",
		[VMBUS_MAP_RECV] = "recv",
		[VMBUS_MAP_SEND] = "send",
	};

	return i < VMBUS_MAP_COUNT ? names[i] : "?";
}

/* "recv:925203" of map VMBUS_MAP_RECV: the number names the GPADL. */
static int
parse_map_name(unsigned int i, const char *text, uint32_t *gpadl)
{
	const char *want = vmbus_sysfs_map_name(i);
	size_t n = strlen(want);
	uint64_t v;

	if (strncmp(text, want, n) != 0)
		return -EPROTO;
	if (i < VMBUS_MAP_RECV)
		return text[n] == '\0' ? 0 : -EPROTO;
	if (text[n] != ':' || parse_number(text + n + 1, 10, UINT32_MAX, &v) != 0)
		return -EPROTO;
	*gpadl = (uint32_t)v;
	return 0;
}

static int
read_map(const char *name, int uio, unsigned int i, struct vmbus_sysfs_map *map)
{
	char text[64];
	int rc;

	memset(map, 0, sizeof(*map));
	rc = read_line(name, text, sizeof(text), "uio/uio%d/maps/map%u/name", uio, i);
	/* Buffers exist for NICs only, on new kernels: their absence is no error here. */
	if (rc == -ENOENT && i >= VMBUS_MAP_RECV)
		return 0;
	if (rc != 0 || parse_map_name(i, text, &map->gpadl) != 0)
		return -EPROTO;
	rc = read_line(name, text, sizeof(text), "uio/uio%d/maps/map%u/size", uio, i);
	if (rc != 0 || parse_number(text, 0, MAP_MAX, &map->size) != 0 || map->size == 0 ||
	    map->size % HV_PAGE_SIZE != 0)
		return -EPROTO;
	return 0;
}

int
vmbus_sysfs_maps(const char *name, int uio, struct vmbus_sysfs_map maps[VMBUS_MAP_COUNT],
		 unsigned int *bad)
{
	unsigned int i;
	int rc;

	for (i = 0; i < VMBUS_MAP_COUNT; i++) {
		rc = read_map(name, uio, i, &maps[i]);
		if (rc != 0) {
			*bad = i;
			return rc;
		}
	}
	return 0;
}

/* A channel directory; the kernel may be filling or removing it right now: -EAGAIN. */
static int
read_chan(const char *name, const char *relid, struct vmbus_sysfs_chan *chan)
{
	char text[64];
	uint64_t v;
	int rc;

	if (parse_number(relid, 10, UINT32_MAX, &v) != 0)
		return -EAGAIN;
	chan->relid = (uint32_t)v;
	rc = read_line(name, text, sizeof(text), "channels/%.16s/subchannel_id", relid);
	if (rc != 0 || parse_number(text, 10, UINT16_MAX, &v) != 0)
		return -EAGAIN;
	chan->index = (uint16_t)v;
	chan->monitor_id = VMBUS_MONITOR_ID_NONE;
	rc = read_line(name, text, sizeof(text), "channels/%.16s/monitor_id", relid);
	if (rc == 0 && parse_number(text, 10, VMBUS_MONITOR_COUNT - 1, &v) == 0)
		chan->monitor_id = (uint8_t)v;
	return 0;
}

/* What the device says of itself is its primary channel's, also where that has no directory. */
static int
primary_chan(const char *name, struct vmbus_sysfs_chan *chan)
{
	uint64_t v;
	int rc = read_number(name, "id", UINT32_MAX, &v);

	if (rc != 0)
		return rc;
	*chan = (struct vmbus_sysfs_chan){ .relid = (uint32_t)v,
					   .monitor_id = VMBUS_MONITOR_ID_NONE };
	if (read_number(name, "monitor_id", VMBUS_MONITOR_COUNT - 1, &v) == 0)
		chan->monitor_id = (uint8_t)v;
	return 0;
}

int
vmbus_sysfs_chan(const char *name, uint16_t index, struct vmbus_sysfs_chan *chan)
{
	char path[PATH_MAX];
	struct dirent *e;
	int rc = -EAGAIN;
	DIR *d;

	snprintf(path, sizeof(path), "%s/%s/channels", devices_root, name);
	d = opendir(path);
	if (d == NULL)
		rc = errno == ENOENT ? -ENODEV : -errno;
	while (d != NULL && rc != 0 && (e = readdir(d)) != NULL) {
		if (read_chan(name, e->d_name, chan) == 0 && chan->index == index)
			rc = 0;
	}
	if (d != NULL)
		closedir(d);
	return rc != 0 && index == 0 ? primary_chan(name, chan) : rc;
}

unsigned int
vmbus_sysfs_subs(const char *name, uint32_t *relid, unsigned int max)
{
	unsigned int n = 0;
	char path[PATH_MAX];
	uint64_t own, v;
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "%s/%s/channels", devices_root, name);
	/* The primary's. Without it the device is going. */
	d = read_number(name, "id", UINT32_MAX, &own) == 0 ? opendir(path) : NULL;
	while (d != NULL && (e = readdir(d)) != NULL) {
		if (parse_number(e->d_name, 10, UINT32_MAX, &v) != 0 || v == own)
			continue;
		if (n < max)
			relid[n] = (uint32_t)v;
		n++;
	}
	if (d != NULL)
		closedir(d);
	return n;
}

void
vmbus_sysfs_ring_path(const char *name, uint32_t relid, char *path, size_t len)
{
	snprintf(path, len, "%s/%s/channels/%u/ring", devices_root, name, relid);
}

void
vmbus_sysfs_uio_path(int uio, char *path, size_t len)
{
	snprintf(path, len, "%s/uio%d", dev_root, uio);
}
