/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the command line says of devices: allow and block lists, their arguments, sockets.
 * Entries for the stock bus ("vmbus:<guid>") count as well, so that command lines carry over.
 */
#include <errno.h>
#include <string.h>

#include <rte_devargs.h>

#include "hv_guid.h"
#include "vmbus_bus.h"

static const char *const bus_names[] = { VMBUS_BUS_NAME, VMBUS_STOCK_NAME };

static bool
is_socket(const char *name)
{
	return strcmp(name, "socket") == 0 || strncmp(name, "socket=", 7) == 0;
}

int
vmbus_devargs_parse_name(const char *name, void *addr)
{
	struct hv_guid guid;

	for (unsigned int i = 0; i < RTE_DIM(bus_names); i++) {
		size_t n = strlen(bus_names[i]);

		if (strncmp(name, bus_names[i], n) == 0 && name[n] == ':') {
			name += n + 1;
			break;
		}
	}
	if (addr == NULL && is_socket(name))
		return 0;
	if (hv_guid_parse(name, &guid) != 0)
		return -EINVAL;
	if (addr != NULL)
		memcpy(addr, &guid, sizeof(guid));
	return 0;
}

struct rte_devargs *
vmbus_devargs_socket(unsigned int i)
{
	struct rte_devargs *da;

	RTE_EAL_DEVARGS_FOREACH (VMBUS_BUS_NAME, da) {
		if (is_socket(da->name) && i-- == 0)
			return da;
	}
	return NULL;
}

/* Is there an entry that allows or blocks single devices? Finds the one for a GUID. */
static struct rte_devargs *
find_entry(const struct hv_guid *want, bool *any_allowed)
{
	struct rte_devargs *da, *found = NULL;
	struct hv_guid guid;

	*any_allowed = false;
	for (unsigned int i = 0; i < RTE_DIM(bus_names); i++) {
		RTE_EAL_DEVARGS_FOREACH (bus_names[i], da) {
			if (is_socket(da->name) || vmbus_devargs_parse_name(da->name, &guid) != 0)
				continue;
			if (da->policy == RTE_DEV_ALLOWED)
				*any_allowed = true;
			if (found == NULL && hv_guid_equal(&guid, want))
				found = da;
		}
	}
	return found;
}

bool
vmbus_devargs_apply(const struct rte_bus *bus, struct vmbus_dev *dev)
{
	const struct rte_bus *stock = rte_bus_find_by_name(VMBUS_STOCK_NAME);
	struct rte_devargs *da;
	bool any_allowed, allow_mode;

	da = find_entry(&dev->pub.instance_id, &any_allowed);
	dev->pub.device.devargs = da != NULL ? da : dev->found_devargs;
	if (da != NULL)
		return da->policy == RTE_DEV_ALLOWED;
	allow_mode = bus->conf.scan_mode == RTE_BUS_SCAN_ALLOWLIST ||
		     (stock != NULL && stock->conf.scan_mode == RTE_BUS_SCAN_ALLOWLIST);
	/* "-a hv_vmbus:socket=..." alone allows every device behind that socket. */
	return !allow_mode || (dev->found_devargs != NULL && !any_allowed);
}
