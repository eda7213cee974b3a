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

/* The value of a "socket=" that begins the text, with its length; NULL: it does not. */
static const char *
socket_value(const char *text, size_t *len)
{
	if (text == NULL || strncmp(text, "socket=", 7) != 0)
		return NULL;
	*len = strcspn(text + 7, ",");
	return text + 7;
}

/* Fills s: false if the entry names no socket. */
static bool
socket_of(struct rte_devargs *da, struct vmbus_devargs_socket *s)
{
	const char *args = da->args != NULL ? da->args : "";
	static bool told;

	memset(s, 0, sizeof(*s));
	if (!is_socket(da->name)) {
		s->path = socket_value(args, &s->len);
		return s->path != NULL;
	}
	s->of_all = da;
	s->args = args;
	s->path = socket_value(da->name, &s->len);
	if (s->path != NULL)
		return true;
	if (strncmp(args, "path=", 5) != 0) {
		if (!told)
			VMBUS_LOG(ERR, "-a %s:socket,%s: \"path=\" must come first", VMBUS_BUS_NAME,
				  args);
		told = true;
		return false;
	}
	s->path = args + 5;
	s->len = strcspn(s->path, ",");
	s->args = s->path[s->len] == ',' ? s->path + s->len + 1 : s->path + s->len;
	return true;
}

bool
vmbus_devargs_socket(unsigned int i, struct vmbus_devargs_socket *s)
{
	struct rte_devargs *da;

	RTE_EAL_DEVARGS_FOREACH (VMBUS_BUS_NAME, da) {
		if (da->policy == RTE_DEV_ALLOWED && socket_of(da, s) && i-- == 0)
			return true;
	}
	return false;
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

void
vmbus_devargs_tell_unknown(bool (*known)(const struct hv_guid *instance_id))
{
	struct rte_devargs *da;
	struct hv_guid guid;

	for (unsigned int i = 0; i < RTE_DIM(bus_names); i++) {
		RTE_EAL_DEVARGS_FOREACH (bus_names[i], da) {
			if (da->policy == RTE_DEV_ALLOWED && !is_socket(da->name) &&
			    vmbus_devargs_parse_name(da->name, &guid) == 0 && !known(&guid))
				VMBUS_LOG(
					WARNING,
					"-a %s:%s: no such device; is it bound to uio_hv_generic, "
					"or its host's socket named?",
					bus_names[i], da->name);
		}
	}
}

const char *
hv_vmbus_device_args(const struct hv_vmbus_device *dev)
{
	const char *args = dev->device.devargs != NULL ? dev->device.devargs->args : NULL, *value;
	size_t len;

	value = socket_value(args, &len);
	if (value == NULL)
		return args;
	return value[len] == ',' ? value + len + 1 : value + len;
}
