/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The DPDK bus "hv_vmbus": devices of all back ends, drivers by class GUID.
 *
 * The list of devices changes only in scan, probe, unplug and cleanup, which EAL calls one at a
 * time; others who look at it take the lock. What a back end notices on its own thread is put off
 * to the interrupt thread.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <rte_alarm.h>
#include <rte_devargs.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_memory.h>

#include "hv_guid.h"
#include "vmbus_bus.h"

RTE_LOG_REGISTER(vmbus_logtype, bus.hv_vmbus, NOTICE);

bool vmbus_memory_ready;

static RTE_TAILQ_HEAD(, hv_vmbus_device) devices = TAILQ_HEAD_INITIALIZER(devices);
static pthread_mutex_t devices_lock = PTHREAD_MUTEX_INITIALIZER;
static RTE_TAILQ_HEAD(, hv_vmbus_driver) drivers = TAILQ_HEAD_INITIALIZER(drivers);

static const struct vmbus_backend_ops *const backends[] = {
	&vmbus_uio_ops,
	&vmbus_user_ops,
};

static struct rte_bus bus;

void
hv_vmbus_register(struct hv_vmbus_driver *drv)
{
	TAILQ_INSERT_TAIL(&drivers, drv, next);
}

void
hv_vmbus_unregister(struct hv_vmbus_driver *drv)
{
	TAILQ_REMOVE(&drivers, drv, next);
}

static struct hv_vmbus_device *
find(const struct hv_guid *instance_id)
{
	struct hv_vmbus_device *dev;

	TAILQ_FOREACH (dev, &devices, next) {
		if (hv_guid_equal(&dev->instance_id, instance_id))
			return dev;
	}
	return NULL;
}

struct hv_vmbus_device *
vmbus_bus_first(bool (*is_it)(struct hv_vmbus_device *dev, void *arg), void *arg)
{
	struct hv_vmbus_device *dev;

	pthread_mutex_lock(&devices_lock);
	TAILQ_FOREACH (dev, &devices, next) {
		if (is_it(dev, arg))
			break;
	}
	pthread_mutex_unlock(&devices_lock);
	return dev;
}

/* --- devices come and go ------------------------------------------------------------------------ */

/* The kernel's devices have one host, and a secondary does not ask who has which. */
static struct hv_vmbus_host only_host;

int
vmbus_bus_add(const struct vmbus_backend_ops *ops, const struct vmbus_found *found,
	      struct hv_vmbus_device **out)
{
	struct hv_vmbus_device *dev = find(&found->instance_id);
	struct vmbus_dev *priv;

	*out = dev;
	if (dev != NULL) {
		if (dev->ops == ops && !dev->opened) {
			dev->relid = found->relid;
			dev->device.numa_node = found->numa_node;
		}
		return -EEXIST;
	}
	priv = calloc(1, sizeof(*priv));
	if (priv == NULL)
		return -ENOMEM;
	dev = &priv->pub;
	dev->intr_handle = rte_intr_instance_alloc(RTE_INTR_INSTANCE_F_PRIVATE);
	if (dev->intr_handle == NULL) {
		free(priv);
		return -ENOMEM;
	}
	rte_intr_fd_set(dev->intr_handle, -1);
	rte_intr_type_set(dev->intr_handle, RTE_INTR_HANDLE_EXT);
	dev->class_id = found->class_id;
	dev->instance_id = found->instance_id;
	dev->relid = found->relid;
	dev->hw_device_id = found->hw_device_id;
	dev->ops = ops;
	dev->host = &only_host;
	hv_guid_format(&dev->instance_id, dev->name);
	dev->device.name = dev->name;
	dev->device.bus = &bus;
	dev->device.numa_node = found->numa_node;
	priv->found_devargs = found->devargs;
	pthread_mutex_lock(&devices_lock);
	TAILQ_INSERT_TAIL(&devices, dev, next);
	pthread_mutex_unlock(&devices_lock);
	VMBUS_LOG(DEBUG, "%s: found, relid %u, back end %s", dev->name, dev->relid, ops->name);
	*out = dev;
	return 0;
}

/*
 * What the host took away is noted, and then the alarm looks whether the driver may be told;
 * driver_told() says that it may, and then looks what was noted. All four are sequentially
 * consistent: so at least one of the two sees what the other did.
 */
static void
tell_driver_gone(void *arg)
{
	struct hv_vmbus_device *dev = arg;
	struct vmbus_dev *priv = arg;

	if (__atomic_exchange_n(&priv->quiet, true, __ATOMIC_SEQ_CST))
		return;
	vmbus_shared_tell_gone(dev);
	if (dev->driver == NULL)
		return;
	VMBUS_LOG(NOTICE, "%s: the host took the device away", dev->name);
	if (dev->driver->gone != NULL)
		dev->driver->gone(dev);
}

static void
tell_driver_channel_gone(void *arg)
{
	struct hv_vmbus_device *dev = arg;
	struct vmbus_dev *priv = arg;

	/* Acquire: an alarm of before takes the flag, with what the back end noted before it. */
	if (__atomic_load_n(&priv->quiet, __ATOMIC_SEQ_CST) ||
	    !__atomic_exchange_n(&priv->channel_gone, false, __ATOMIC_ACQUIRE))
		return;
	if (dev->driver != NULL && dev->driver->channel_gone != NULL)
		dev->driver->channel_gone(dev);
}

static void
tell_soon(struct hv_vmbus_device *dev, rte_eal_alarm_callback tell)
{
	if (rte_eal_alarm_set(1, tell, dev) != 0)
		VMBUS_LOG(ERR, "%s: cannot tell the driver what the host took away", dev->name);
}

/* No callback of the driver runs when this returns, nor starts until there is driver_told(). */
static void
driver_untold(struct hv_vmbus_device *dev)
{
	/*
	 * First: an alarm that is set behind the cancel must find it. Relaxed: the lock of the alarms
	 * puts them in order.
	 */
	__atomic_store_n(&((struct vmbus_dev *)dev)->quiet, true, __ATOMIC_RELAXED);
	rte_eal_alarm_cancel(tell_driver_gone, dev);
	rte_eal_alarm_cancel(tell_driver_channel_gone, dev);
}

/* The driver is told again, also of what happened meanwhile. */
static void
driver_told(struct hv_vmbus_device *dev)
{
	struct vmbus_dev *priv = (struct vmbus_dev *)dev;

	/* In this order: see tell_driver_gone(). With it comes the driver that is to be told. */
	__atomic_store_n(&priv->quiet, false, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&dev->gone, __ATOMIC_SEQ_CST))
		tell_soon(dev, tell_driver_gone);
	else if (__atomic_load_n(&priv->channel_gone, __ATOMIC_SEQ_CST))
		tell_soon(dev, tell_driver_channel_gone);
}

void
vmbus_bus_gone(struct hv_vmbus_device *dev)
{
	/* Noted, then told: see tell_driver_gone(). */
	if (!__atomic_exchange_n(&dev->gone, true, __ATOMIC_SEQ_CST))
		tell_soon(dev, tell_driver_gone);
}

void
vmbus_bus_channel_gone(struct hv_vmbus_device *dev)
{
	/* As vmbus_bus_gone(). */
	__atomic_store_n(&((struct vmbus_dev *)dev)->channel_gone, true, __ATOMIC_SEQ_CST);
	tell_soon(dev, tell_driver_channel_gone);
}

void
vmbus_bus_gone_by_id(const struct hv_guid *instance_id)
{
	struct hv_vmbus_device *dev;

	/* It is not freed before the lock is released, nor the alarm left behind by who frees it. */
	pthread_mutex_lock(&devices_lock);
	dev = find(instance_id);
	if (dev != NULL)
		vmbus_bus_gone(dev);
	pthread_mutex_unlock(&devices_lock);
}

static void
device_free(struct hv_vmbus_device *dev)
{
	pthread_mutex_lock(&devices_lock);
	TAILQ_REMOVE(&devices, dev, next);
	pthread_mutex_unlock(&devices_lock);
	dev->ops->release(dev);
	/* Nobody is left who could set one. */
	rte_eal_alarm_cancel(tell_driver_gone, dev);
	rte_eal_alarm_cancel(tell_driver_channel_gone, dev);
	vmbus_shared_put((struct vmbus_dev *)dev);
	rte_intr_instance_free(dev->intr_handle);
	free(dev);
}

/* --- drivers meet devices ------------------------------------------------------------------------- */

static bool
driver_wants(const struct hv_vmbus_driver *drv, const struct hv_vmbus_device *dev)
{
	static const struct hv_guid end;

	for (const struct hv_guid *c = drv->classes; !hv_guid_equal(c, &end); c++)
		if (hv_guid_equal(c, &dev->class_id))
			return true;
	return false;
}

static int
probe_with(struct hv_vmbus_driver *drv, struct hv_vmbus_device *dev)
{
	int rc = vmbus_shared_get((struct vmbus_dev *)dev);

	if (rc != 0)
		return rc;
	driver_untold(dev);
	dev->driver = drv;
	rc = drv->probe(drv, dev);
	if (rc != 0) {
		dev->driver = NULL;
		hv_vmbus_close(dev);
	} else {
		dev->device.driver = &drv->driver;
	}
	driver_told(dev);
	return rc;
}

/* 0, 1 if no driver wants it, or a negative errno. */
static int
probe_device(struct hv_vmbus_device *dev)
{
	struct hv_vmbus_driver *drv;

	if (hv_vmbus_device_gone(dev))
		return -ENODEV;
	if (rte_dev_is_probed(&dev->device))
		return -EEXIST;
	TAILQ_FOREACH (drv, &drivers, next) {
		int rc;

		if (!driver_wants(drv, dev))
			continue;
		if (!vmbus_devargs_apply(&bus, (struct vmbus_dev *)dev)) {
			VMBUS_LOG(INFO, "%s: not probed: the command line excludes it", dev->name);
			return 1;
		}
		if (vmbus_claim_taken(dev)) {
			VMBUS_LOG(ERR, "%s: DPDK's own vmbus driver has it", dev->name);
			return -EBUSY;
		}
		/* Also when it fails: the stock driver on a half-open device helps nobody. */
		vmbus_claim_device(dev);
		rc = probe_with(drv, dev);
		if (rc <= 0)
			return rc;
	}
	vmbus_unclaim_device(dev);
	return 1;
}

static int
bus_plug(struct rte_device *rdev)
{
	int rc = probe_device(HV_VMBUS_DEV(rdev));

	/* The caller of rte_dev_probe() frees its devargs when this fails. */
	if (rc != 0 && rc != -EEXIST)
		rdev->devargs = NULL;
	return rc;
}

static int
bus_unplug(struct rte_device *rdev)
{
	struct hv_vmbus_device *dev = HV_VMBUS_DEV(rdev);
	int rc;

	if (dev->driver == NULL)
		return -ENODEV;
	driver_untold(dev);
	rc = dev->driver->remove(dev);
	if (rc != 0 && !hv_vmbus_device_gone(dev)) {
		driver_told(dev);
		return rc;
	}
	vmbus_unclaim_device(dev);
	hv_vmbus_close(dev);
	dev->driver = NULL;
	rdev->driver = NULL;
	rdev->devargs = NULL;
	if (hv_vmbus_device_gone(dev)) {
		device_free(dev);
		return 0;
	}
	vmbus_shared_put((struct vmbus_dev *)dev);
	/* Gone right now: then it leaves the bus at the next scan. */
	driver_told(dev);
	return 0;
}

/* --- the bus ---------------------------------------------------------------------------------------- */

static int
bus_scan(void)
{
	struct hv_vmbus_device *dev, *next;

	vmbus_claim_order();
	RTE_TAILQ_FOREACH_SAFE (dev, &devices, next, next) {
		if (hv_vmbus_device_gone(dev) && dev->driver == NULL)
			device_free(dev);
	}
	for (unsigned int i = 0; i < RTE_DIM(backends); i++) {
		int rc = backends[i]->scan();

		if (rc != 0)
			VMBUS_LOG(DEBUG, "scan of back end %s: %s", backends[i]->name,
				  strerror(-rc));
	}
	return 0;
}

static bool
is_found(const struct hv_guid *instance_id)
{
	return find(instance_id) != NULL;
}

static int
bus_probe(void)
{
	struct hv_vmbus_device *dev;
	unsigned int failed = 0;

	vmbus_memory_ready = true;
	vmbus_shared_listen();
	bus_scan();
	TAILQ_FOREACH (dev, &devices, next) {
		int rc;

		if (dev->driver != NULL)
			continue;
		rc = probe_device(dev);
		if (rc < 0) {
			VMBUS_LOG(ERR, "%s: probe failed: %s", dev->name, strerror(-rc));
			failed++;
		}
	}
	vmbus_devargs_tell_unknown(is_found);
	return failed != 0 ? -1 : 0;
}

static bool
has_driver(const struct hv_vmbus_device *dev)
{
	const struct hv_vmbus_driver *drv;

	TAILQ_FOREACH (drv, &drivers, next) {
		if (driver_wants(drv, dev))
			return true;
	}
	return false;
}

/*
 * Devices found this early are the kernel's: their host reads physical addresses. A socket's
 * host takes either; addresses of the process need no privilege.
 */
static enum rte_iova_mode
bus_iommu_class(void)
{
	struct hv_vmbus_device *dev;

	TAILQ_FOREACH (dev, &devices, next) {
		if (has_driver(dev) && rte_eal_using_phys_addrs() != 0 &&
		    vmbus_devargs_apply(&bus, (struct vmbus_dev *)dev))
			return RTE_IOVA_PA;
	}
	return vmbus_user_wanted() ? RTE_IOVA_VA : RTE_IOVA_DC;
}

static int
bus_dma_map(struct rte_device *rdev, void *addr, uint64_t iova, size_t len)
{
	int rc = hv_vmbus_dma_check(HV_VMBUS_DEV(rdev), addr, iova, len);

	if (rc != 0)
		rte_errno = -rc;
	return rc != 0 ? -1 : 0;
}

/* A map is a question only: there is nothing to undo. */
static int
bus_dma_unmap(struct rte_device *rdev, void *addr, uint64_t iova, size_t len)
{
	(void)rdev, (void)addr, (void)iova, (void)len;
	return 0;
}

static int
bus_cleanup(void)
{
	struct hv_vmbus_device *dev;
	int error = 0;

	vmbus_shared_unlisten();
	while ((dev = TAILQ_FIRST(&devices)) != NULL) {
		if (dev->driver != NULL) {
			driver_untold(dev);
			if (dev->driver->remove(dev) != 0)
				error = -1;
			dev->driver = NULL;
		}
		hv_vmbus_close(dev);
		device_free(dev);
	}
	for (unsigned int i = 0; i < RTE_DIM(backends); i++)
		if (backends[i]->cleanup != NULL)
			backends[i]->cleanup();
	return error;
}

static struct rte_bus bus = {
	.scan = bus_scan,
	.probe = bus_probe,
	.find_device = vmbus_bus_find_device,
	.plug = bus_plug,
	.unplug = bus_unplug,
	.parse = vmbus_devargs_parse_name,
	.dma_map = bus_dma_map,
	.dma_unmap = bus_dma_unmap,
	.get_iommu_class = bus_iommu_class,
	.dev_iterate = vmbus_bus_dev_iterate,
	.cleanup = bus_cleanup,
};

/*
 * A second copy of this library in one process (installed, and given with -d) stays idle, and
 * with it the drivers linked to it.
 */
RTE_INIT_PRIO(vmbus_bus_init, BUS)
{
	bus.name = VMBUS_BUS_NAME;
	if (rte_bus_find_by_name(bus.name) == NULL)
		rte_bus_register(&bus);
}
