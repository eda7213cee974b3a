/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Beside DPDK's own bus "vmbus": it is loaded with every DPDK application of a distribution and
 * its NIC driver takes the same devices. It is put behind our bus, and a device we drive is
 * marked as driven there, so that its probe passes over it; devices we leave are still its own.
 */
#include <string.h>

#include "hv_guid.h"
#include "vmbus_bus.h"

/* Stands for our driver on the stock bus, which never calls it. */
static const struct rte_driver claimed = { .name = VMBUS_BUS_NAME };

void
vmbus_claim_order(void)
{
	static bool done;
	struct rte_bus *stock = rte_bus_find_by_name(VMBUS_STOCK_NAME);

	if (done || stock == NULL)
		return;
	done = true;
	/* Registering puts it at the end; a bus that has scanned already scans once more. */
	rte_bus_unregister(stock);
	rte_bus_register(stock);
}

static int
same_guid(const struct rte_device *rdev, const void *data)
{
	struct hv_guid guid;

	return hv_guid_parse(rdev->name, &guid) != 0 || !hv_guid_equal(&guid, data);
}

static struct rte_device *
stock_device(const struct hv_vmbus_device *dev)
{
	struct rte_bus *stock = rte_bus_find_by_name(VMBUS_STOCK_NAME);

	/* Always from the start: the stock bus returns earlier devices again otherwise. */
	return stock == NULL ? NULL : stock->find_device(NULL, same_guid, &dev->instance_id);
}

bool
vmbus_claim_taken(const struct hv_vmbus_device *dev)
{
	struct rte_device *other = stock_device(dev);

	return other != NULL && other->driver != NULL && other->driver != &claimed;
}

void
vmbus_claim_device(const struct hv_vmbus_device *dev)
{
	struct rte_device *other = stock_device(dev);

	if (other != NULL)
		other->driver = &claimed;
}

void
vmbus_unclaim_device(const struct hv_vmbus_device *dev)
{
	struct rte_device *other = stock_device(dev);

	if (other != NULL && other->driver == &claimed)
		other->driver = NULL;
}
