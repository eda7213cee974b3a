/* SPDX-License-Identifier: BSD-3-Clause */
/* Looking for devices of the bus: by EAL, and by applications with rte_dev_iterator. */
#include <rte_errno.h>
#include <rte_kvargs.h>

#include "hv_guid.h"
#include "vmbus_bus.h"

struct search {
	const struct rte_device *start;
	bool behind; /* start has been passed, or there is none */
	rte_dev_cmp_t cmp;
	const void *data;
};

static bool
is_it(struct hv_vmbus_device *dev, void *arg)
{
	struct search *s = arg;

	if (s->behind)
		return s->cmp(&dev->device, s->data) == 0;
	s->behind = &dev->device == s->start;
	return false;
}

struct rte_device *
vmbus_bus_find_device(const struct rte_device *start, rte_dev_cmp_t cmp, const void *data)
{
	struct search s = { .start = start, .behind = start == NULL, .cmp = cmp, .data = data };
	struct hv_vmbus_device *dev = vmbus_bus_first(is_it, &s);

	return dev != NULL ? &dev->device : NULL;
}

/* "name=" is an instance GUID in any writing of it: letters of either case, braces or none. */
static int
name_differs(const char *key, const char *value, void *opaque)
{
	struct rte_device *rdev = opaque;
	struct hv_guid id;

	(void)key;
	/* kvargs takes notice of negative values only. */
	if (value == NULL || hv_guid_parse(value, &id) != 0 ||
	    !hv_guid_equal(&id, &HV_VMBUS_DEV(rdev)->instance_id))
		return -1;
	return 0;
}

static int
filter_differs(const struct rte_device *rdev, const void *filter)
{
	if (filter == NULL)
		return 0;
	return rte_kvargs_process(filter, "name", name_differs, (void *)(uintptr_t)rdev) != 0;
}

void *
vmbus_bus_dev_iterate(const void *start, const char *str, const struct rte_dev_iterator *it)
{
	static const char *const keys[] = { "name", NULL };
	struct rte_kvargs *filter = NULL;
	struct rte_device *found;

	(void)it;
	if (str != NULL) {
		filter = rte_kvargs_parse(str, keys);
		if (filter == NULL) {
			VMBUS_LOG(ERR, "cannot parse \"%s\" as a filter of devices", str);
			rte_errno = EINVAL;
			return NULL;
		}
	}
	found = vmbus_bus_find_device(start, filter_differs, filter);
	rte_kvargs_free(filter);
	return found;
}
