/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The bus, with a back end and alarms of the test: what a driver is told, and when. A device may
 * go at any moment, also while the driver is being bound to it or taken off it.
 */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../../lib/vmbus/vmbus_bus.c"

/* --- alarms: they fire when the test says so --------------------------------------------------- */

static struct {
	rte_eal_alarm_callback cb;
	void *arg;
} alarms[16];

int
rte_eal_alarm_set(uint64_t us, rte_eal_alarm_callback cb, void *arg)
{
	(void)us;
	for (unsigned int i = 0; i < RTE_DIM(alarms); i++) {
		if (alarms[i].cb != NULL)
			continue;
		alarms[i].cb = cb;
		alarms[i].arg = arg;
		return 0;
	}
	return -ENOMEM;
}

int
rte_eal_alarm_cancel(rte_eal_alarm_callback cb, void *arg)
{
	for (unsigned int i = 0; i < RTE_DIM(alarms); i++)
		if (alarms[i].cb == cb && alarms[i].arg == arg)
			alarms[i].cb = NULL;
	return 0;
}

static unsigned int
fire(void)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < RTE_DIM(alarms); i++) {
		rte_eal_alarm_callback cb = alarms[i].cb;

		if (cb == NULL)
			continue;
		alarms[i].cb = NULL;
		cb(alarms[i].arg);
		n++;
	}
	return n;
}

/* --- the rest of the library -------------------------------------------------------------------- */

static int
no_scan(void)
{
	return 0;
}

static void
no_release(struct hv_vmbus_device *dev)
{
	(void)dev;
}

const struct vmbus_backend_ops vmbus_uio_ops = { .name = "uio",
						 .scan = no_scan,
						 .release = no_release };
const struct vmbus_backend_ops vmbus_user_ops = { .name = "user",
						  .scan = no_scan,
						  .release = no_release };

void
hv_vmbus_close(struct hv_vmbus_device *dev)
{
	(void)dev;
}

int
hv_vmbus_dma_check(struct hv_vmbus_device *dev, const void *addr, uint64_t iova, size_t len)
{
	(void)dev, (void)addr, (void)iova, (void)len;
	return 0;
}

int
vmbus_shared_get(struct vmbus_dev *dev)
{
	(void)dev;
	return 0;
}

void
vmbus_shared_put(struct vmbus_dev *dev)
{
	(void)dev;
}

static unsigned int secondaries_told;

void
vmbus_shared_tell_gone(const struct hv_vmbus_device *dev)
{
	(void)dev;
	secondaries_told++;
}

void
vmbus_shared_listen(void)
{
}

void
vmbus_shared_unlisten(void)
{
}

void
vmbus_claim_order(void)
{
}

void
vmbus_claim_device(const struct hv_vmbus_device *dev)
{
	(void)dev;
}

void
vmbus_unclaim_device(const struct hv_vmbus_device *dev)
{
	(void)dev;
}

bool
vmbus_claim_taken(const struct hv_vmbus_device *dev)
{
	(void)dev;
	return false;
}

int
vmbus_devargs_parse_name(const char *name, void *addr)
{
	(void)name, (void)addr;
	return -1;
}

bool
vmbus_devargs_apply(const struct rte_bus *b, struct vmbus_dev *dev)
{
	(void)b, (void)dev;
	return true;
}

void
vmbus_devargs_tell_unknown(bool (*known)(const struct hv_guid *instance_id))
{
	(void)known;
}

static bool a_socket_is_named, can_read_physical;

bool
vmbus_user_wanted(void)
{
	return a_socket_is_named;
}

int
rte_eal_using_phys_addrs(void)
{
	return can_read_physical;
}

/* --- a driver ------------------------------------------------------------------------------------ */

static struct {
	bool bound, probing;
	unsigned int gone, channels_gone;
	int probe_rc, remove_rc;
	void (*in_probe)(struct hv_vmbus_device *dev);
	void (*in_remove)(struct hv_vmbus_device *dev);
} drv;

static int
drv_probe(struct hv_vmbus_driver *d, struct hv_vmbus_device *dev)
{
	(void)d;
	drv.probing = true;
	if (drv.in_probe != NULL)
		drv.in_probe(dev);
	drv.probing = false;
	drv.bound = drv.probe_rc == 0;
	return drv.probe_rc;
}

static int
drv_remove(struct hv_vmbus_device *dev)
{
	if (drv.remove_rc == 0)
		drv.bound = false;
	if (drv.in_remove != NULL)
		drv.in_remove(dev);
	return drv.remove_rc;
}

static void
drv_gone(struct hv_vmbus_device *dev)
{
	assert_true(drv.bound && !drv.probing);
	assert_true(hv_vmbus_device_gone(dev));
	drv.gone++;
}

static void
drv_channel_gone(struct hv_vmbus_device *dev)
{
	(void)dev;
	assert_true(drv.bound && !drv.probing);
	drv.channels_gone++;
}

static const struct hv_guid classes[] = { VMBUS_CLASS_NIC, { { 0 } } };
static struct hv_vmbus_driver driver = { .probe = drv_probe,
					 .remove = drv_remove,
					 .gone = drv_gone,
					 .channel_gone = drv_channel_gone,
					 .classes = classes };

static void
go_now(struct hv_vmbus_device *dev)
{
	vmbus_bus_gone(dev);
	fire();
}

static void
go_soon(struct hv_vmbus_device *dev)
{
	vmbus_bus_gone(dev);
}

static void
lose_channel(struct hv_vmbus_device *dev)
{
	vmbus_bus_channel_gone(dev);
	fire();
}

static struct hv_vmbus_device *
add_with(uint8_t id)
{
	struct vmbus_found found = { .class_id = VMBUS_CLASS_NIC, .instance_id = { { id } } };
	struct hv_vmbus_device *dev;

	assert_int_equal(vmbus_bus_add(&vmbus_user_ops, &found, &dev), 0);
	return dev;
}

static struct hv_vmbus_device *
add(void)
{
	return add_with(7);
}

static bool
present(void)
{
	return !TAILQ_EMPTY(&devices);
}

static int
setup(void **state)
{
	(void)state;
	memset(&drv, 0, sizeof(drv));
	memset(alarms, 0, sizeof(alarms));
	secondaries_told = 0;
	hv_vmbus_register(&driver);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	bus.cleanup();
	hv_vmbus_unregister(&driver);
	return present() || fire() != 0;
}

/* --- tests ---------------------------------------------------------------------------------------- */

static void
told_once(void **state)
{
	struct hv_vmbus_device *dev = add();

	(void)state;
	assert_int_equal(bus.plug(&dev->device), 0);
	vmbus_bus_gone(dev);
	vmbus_bus_gone_by_id(&dev->instance_id);
	assert_int_equal(drv.gone, 0); /* not on the thread that noticed */
	assert_int_equal(fire(), 1);
	assert_int_equal(drv.gone, 1);
	assert_int_equal(secondaries_told, 1);
	assert_int_equal(bus.unplug(&dev->device), 0);
	assert_false(present());
	assert_int_equal(fire(), 0);
}

static void
goes_while_probed(void **state)
{
	struct hv_vmbus_device *dev = add();

	(void)state;
	drv.in_probe = go_now;
	assert_int_equal(bus.plug(&dev->device), 0);
	assert_int_equal(drv.gone, 0);
	assert_int_equal(fire(), 1);
	assert_int_equal(drv.gone, 1);
	assert_int_equal(bus.unplug(&dev->device), 0);
	assert_false(present());
}

static void
goes_while_probe_fails(void **state)
{
	struct hv_vmbus_device *dev = add();

	(void)state;
	drv.in_probe = go_now;
	drv.probe_rc = -EIO;
	assert_int_equal(bus.plug(&dev->device), -EIO);
	fire();
	assert_int_equal(drv.gone, 0);
	assert_int_equal(bus.plug(&dev->device), -ENODEV);
	bus.scan();
	assert_false(present());
}

static void
goes_while_removed(void **state)
{
	void (*const when[])(struct hv_vmbus_device *) = { go_now, go_soon };

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(when); i++) {
		struct hv_vmbus_device *dev = add();

		assert_int_equal(bus.plug(&dev->device), 0);
		drv.in_remove = when[i];
		assert_int_equal(bus.unplug(&dev->device), 0);
		/* Nothing is left that knows the device. */
		assert_false(present());
		assert_int_equal(fire(), 0);
		assert_int_equal(drv.gone, 0);
	}
}

/* A removal that failed leaves a driver that is told as before. */
static void
goes_after_failed_removal(void **state)
{
	struct hv_vmbus_device *dev = add();

	(void)state;
	assert_int_equal(bus.plug(&dev->device), 0);
	drv.remove_rc = -EBUSY;
	assert_int_equal(bus.unplug(&dev->device), -EBUSY);
	vmbus_bus_gone(dev);
	fire();
	assert_int_equal(drv.gone, 1);
	/* A device that is gone goes, whatever the driver says. */
	drv.remove_rc = 0;
	assert_int_equal(bus.unplug(&dev->device), 0);
	assert_false(present());
}

static void
goes_after_removal(void **state)
{
	struct hv_vmbus_device *dev = add();

	(void)state;
	assert_int_equal(bus.plug(&dev->device), 0);
	assert_int_equal(bus.unplug(&dev->device), 0);
	assert_true(present());
	/* Bound again it is told again. */
	assert_int_equal(bus.plug(&dev->device), 0);
	vmbus_bus_gone(dev);
	fire();
	assert_int_equal(drv.gone, 1);
	assert_int_equal(bus.unplug(&dev->device), 0);
	dev = add();
	vmbus_bus_gone(dev);
	fire();
	bus.scan();
	assert_false(present());
	assert_int_equal(drv.gone, 1);
}

static void
channels_go(void **state)
{
	struct hv_vmbus_device *dev = add();

	(void)state;
	drv.in_probe = lose_channel;
	assert_int_equal(bus.plug(&dev->device), 0);
	assert_int_equal(drv.channels_gone, 0);
	fire();
	assert_int_equal(drv.channels_gone, 1);
	vmbus_bus_channel_gone(dev);
	vmbus_bus_channel_gone(dev);
	fire();
	assert_int_equal(drv.channels_gone, 2);
	drv.in_remove = lose_channel;
	assert_int_equal(bus.unplug(&dev->device), 0);
	fire();
	assert_int_equal(drv.channels_gone, 2);
}

static void
unknown_id(void **state)
{
	struct hv_guid other = { { 8 } };

	(void)state;
	add();
	vmbus_bus_gone_by_id(&other);
	assert_int_equal(fire(), 0);
}

/* A kernel's host reads physical addresses; a socket's host takes addresses of the process. */
static void
iova_class(void **state)
{
	struct hv_vmbus_device *dev;

	(void)state;
	assert_int_equal(bus.get_iommu_class(), RTE_IOVA_DC);
	a_socket_is_named = true;
	assert_int_equal(bus.get_iommu_class(), RTE_IOVA_VA);
	dev = add();
	assert_int_equal(bus.get_iommu_class(), RTE_IOVA_VA); /* nothing else is possible */
	can_read_physical = true;
	assert_int_equal(bus.get_iommu_class(), RTE_IOVA_PA);
	dev->class_id = (struct hv_guid){ { 9 } };
	assert_int_equal(bus.get_iommu_class(), RTE_IOVA_VA); /* nobody drives it */
	a_socket_is_named = can_read_physical = false;
	go_now(dev);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* What rte_dev_iterator_init() and _next() call. */
static void
iterate(void **state)
{
	struct hv_vmbus_device *one = add_with(0xAB), *two = add_with(2);
	struct hv_vmbus_device stranger = { .instance_id = one->instance_id };
	char upper[HV_GUID_STRLEN + 8];
	int n;

	(void)state;
	assert_ptr_equal(bus.dev_iterate(NULL, NULL, NULL), &one->device);
	assert_ptr_equal(bus.dev_iterate(&one->device, NULL, NULL), &two->device);
	assert_null(bus.dev_iterate(&two->device, NULL, NULL));
	/* It left the bus since: nothing comes behind it, and nothing of it is read. */
	assert_null(bus.dev_iterate(&stranger.device, NULL, NULL));

	n = snprintf(upper, sizeof(upper), "name={%s}", one->name);
	for (int i = 5; i < n; i++)
		upper[i] = (char)toupper(upper[i]);
	assert_ptr_equal(bus.dev_iterate(NULL, upper, NULL), &one->device);
	assert_null(bus.dev_iterate(&one->device, upper, NULL));
}

static void
iterate_filter(void **state)
{
	static const char *const wrong[] = { "mac=00:15:5d:00:00:01", "name=a,serial=1" };
	static const char *const none[] = { "name=", "name", "name=eth0",
					    "name=00000000-0000-0000-0000-000000000000" };

	(void)state;
	add();
	for (unsigned int i = 0; i < RTE_DIM(wrong); i++) {
		rte_errno = 0;
		assert_null(bus.dev_iterate(NULL, wrong[i], NULL));
		assert_int_equal(rte_errno, EINVAL);
	}
	/* A filter that matches nothing is no error. */
	for (unsigned int i = 0; i < RTE_DIM(none); i++) {
		rte_errno = 0;
		assert_null(bus.dev_iterate(NULL, none[i], NULL));
		assert_int_equal(rte_errno, 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(told_once),
		T(goes_while_probed),
		T(goes_while_probe_fails),
		T(goes_while_removed),
		T(goes_after_failed_removal),
		T(goes_after_removal),
		T(channels_go),
		T(unknown_id),
		T(iova_class),
		T(iterate),
		T(iterate_filter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
