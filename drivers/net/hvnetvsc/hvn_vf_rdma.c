/* SPDX-License-Identifier: BSD-3-Clause */
#include "hvn_vf_rdma.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool
needs_rdma(const char *driver)
{
	static const char *const drivers[] = { "mlx5_core", "mlx4_core", "mana" };

	for (size_t i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++)
		if (strcmp(driver, drivers[i]) == 0)
			return true;
	return false;
}

/* A function has one RDMA device; its name may change while udev looks at it. */
static bool
device_of(const char *sysfs, const char *addr, char name[HVN_RDMA_NAME])
{
	char path[512];
	struct dirent *e;
	DIR *d;

	name[0] = '\0';
	snprintf(path, sizeof(path), "%s/bus/pci/devices/%s/infiniband", sysfs, addr);
	d = opendir(path);
	if (d == NULL)
		return false;
	while (name[0] == '\0' && (e = readdir(d)) != NULL)
		if (e->d_name[0] != '.' && strlen(e->d_name) < HVN_RDMA_NAME)
			memcpy(name, e->d_name, strlen(e->d_name) + 1);
	closedir(d);
	return name[0] != '\0';
}

int
hvn_vf_rdma_ready(const char *sysfs, const char *addr, const char *driver, hvn_rdma_open_t open,
		  char name[HVN_RDMA_NAME])
{
	int rc;

	name[0] = '\0';
	if (!needs_rdma(driver))
		return 0;
	if (!device_of(sysfs, addr, name))
		return -EAGAIN;
	rc = open(name);
	/* Without the library there is nobody to ask: sysfs has to do. */
	return rc == 0 || rc == -ENOTSUP ? 0 : -EAGAIN;
}

/* --- libibverbs ----------------------------------------------------------------------------------- */

/* Of <infiniband/verbs.h>, by which the driver is not to be built. */
struct ibv_device;
struct ibv_context;

static struct {
	bool tried, loaded;
	struct ibv_device **(*get_device_list)(int *n);
	void (*free_device_list)(struct ibv_device **list);
	const char *(*get_device_name)(struct ibv_device *device);
	struct ibv_context *(*open_device)(struct ibv_device *device);
	int (*close_device)(struct ibv_context *context);
} ibv;

/* POSIX: an object pointer of dlsym() holds a function. */
static bool
symbol(void *lib, const char *name, void *fn)
{
	void *p = dlsym(lib, name);

	memcpy(fn, &p, sizeof(p));
	return p != NULL;
}

static bool
load(void)
{
	void *lib;

	if (ibv.tried)
		return ibv.loaded;
	ibv.tried = true;
	/* Never closed: drivers that it loads may have registered themselves. */
	lib = dlopen("libibverbs.so.1", RTLD_NOW | RTLD_LOCAL);
	ibv.loaded = lib != NULL && symbol(lib, "ibv_get_device_list", &ibv.get_device_list) &&
		     symbol(lib, "ibv_free_device_list", &ibv.free_device_list) &&
		     symbol(lib, "ibv_get_device_name", &ibv.get_device_name) &&
		     symbol(lib, "ibv_open_device", &ibv.open_device) &&
		     symbol(lib, "ibv_close_device", &ibv.close_device);
	return ibv.loaded;
}

static int
try_open(struct ibv_device *device)
{
	struct ibv_context *context;

	errno = 0;
	context = ibv.open_device(device);
	if (context == NULL)
		return errno != 0 ? -errno : -EIO;
	ibv.close_device(context);
	return 0;
}

int
hvn_vf_rdma_open(const char *name)
{
	struct ibv_device **list;
	int n = 0, rc = -ENODEV;

	if (!load())
		return -ENOTSUP;
	list = ibv.get_device_list(&n);
	if (list == NULL)
		return -ENODEV;
	for (int i = 0; i < n; i++)
		if (strcmp(ibv.get_device_name(list[i]), name) == 0)
			rc = try_open(list[i]);
	ibv.free_device_list(list);
	return rc;
}
