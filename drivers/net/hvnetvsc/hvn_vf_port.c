/* SPDX-License-Identifier: BSD-3-Clause */
/* The VF as an ethdev port: found, taken, given up. hvn_vf_conf.c configures it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <rte_bus.h>
#include <rte_cycles.h>
#include <rte_dev.h>
#include <dev_driver.h>

#include "hvn_ctrl.h"
#include "hvn_vf.h"
#include "hvn_vf_rdma.h"

#define SYSFS	    "/sys"
#define DEVICES_MAX 64
#define BUSY_TRIES  100 /* ms that a callback is waited for */

int
hvn_vf_refuse(struct hvn_vf *vf, int rc, const char *why)
{
	snprintf(vf->refusal, sizeof(vf->refusal), "%s", why);
	return rc;
}

/* --- devices in use --------------------------------------------------------------------------- */

/* One device may have the VFs of several NICs (MANA): it goes with the last of them. */
struct used_device {
	char name[RTE_DEV_NAME_MAX_LEN]; /* empty: free */
	unsigned int users;		 /* ports attached by NICs */
	bool probed;			 /* by us; what the application brought in stays */
};

static struct used_device devices[DEVICES_MAX];
static rte_spinlock_t devices_lock = RTE_SPINLOCK_INITIALIZER;

static struct used_device *
device_entry(const char *name)
{
	for (unsigned int i = 0; i < DEVICES_MAX; i++)
		if (strcmp(devices[i].name, name) == 0)
			return &devices[i];
	return NULL;
}

static void
device_use(const char *name, bool probed)
{
	struct used_device *d;

	rte_spinlock_lock(&devices_lock);
	d = device_entry(name);
	if (d == NULL) {
		d = device_entry("");
		if (d != NULL)
			snprintf(d->name, sizeof(d->name), "%s", name);
	}
	if (d != NULL) {
		d->users++;
		d->probed |= probed;
	}
	rte_spinlock_unlock(&devices_lock);
}

/* One user less: *last tells that nobody is left, the result whether we had probed it. */
static bool
device_unuse(const char *name, bool *last)
{
	struct used_device *d;
	bool probed = false;

	*last = true;
	rte_spinlock_lock(&devices_lock);
	d = device_entry(name);
	if (d != NULL) {
		probed = d->probed;
		*last = --d->users == 0;
		if (*last)
			memset(d, 0, sizeof(*d));
	}
	rte_spinlock_unlock(&devices_lock);
	return probed;
}

static bool
device_used(const char *name)
{
	bool used;

	rte_spinlock_lock(&devices_lock);
	used = device_entry(name) != NULL;
	rte_spinlock_unlock(&devices_lock);
	return used;
}

/* --- which port ------------------------------------------------------------------------------- */

/* Its device; also of a port that is being announced, which is not valid yet. NULL: no port. */
static const struct rte_device *
device_of(uint16_t port)
{
	return rte_eth_devices[port].data != NULL ? rte_eth_devices[port].device : NULL;
}

static bool
has_mac(uint16_t port, const struct rte_ether_addr *mac)
{
	const struct rte_ether_addr *addrs = rte_eth_devices[port].data->mac_addrs;

	return addrs != NULL && rte_is_same_ether_addr(&addrs[0], mac);
}

/* Is this port the VF of another of our NICs, by its address? */
static bool
is_of_another(const struct hvn_vf *vf, uint16_t port)
{
	for (uint16_t i = 0; i < RTE_MAX_ETHPORTS; i++) {
		const struct rte_eth_dev *dev = &rte_eth_devices[i];
		const struct hvn_port *p;

		if (i == vf->p->port_id || device_of(i) == NULL ||
		    dev->dev_ops != rte_eth_devices[vf->p->port_id].dev_ops)
			continue;
		p = dev->data->dev_private;
		if (p != NULL && p->vf != NULL && has_mac(port, &p->vf->mac))
			return true;
	}
	return false;
}

/*
 * A PCI function with our address is our VF, and no other device with our address is (a bond or a
 * tap made by the application has it too). A device named by the user may have any address.
 */
static bool
is_meant(const struct hvn_vf *vf, uint16_t port, const char *named)
{
	const struct rte_device *dev = device_of(port);

	if (dev == NULL || port == vf->p->port_id)
		return false;
	if (named[0] == '\0')
		return strcmp(rte_bus_name(rte_dev_bus(dev)), "pci") == 0 &&
		       has_mac(port, &vf->mac);
	return strcmp(rte_dev_name(dev), named) == 0 &&
	       (has_mac(port, &vf->mac) || !is_of_another(vf, port));
}

/* "net_memif0,role=client" is the device net_memif0. */
static void
named_device(const struct hvn_vf *vf, char name[RTE_DEV_NAME_MAX_LEN])
{
	const char *devargs = vf->p->args.vf;

	snprintf(name, RTE_DEV_NAME_MAX_LEN, "%.*s", (int)strcspn(devargs, ","), devargs);
}

/* The next port of a device, whoever's it is. */
static uint16_t
next_of(const char *device, uint16_t port)
{
	for (; port < RTE_MAX_ETHPORTS; port++)
		if (device_of(port) != NULL && strcmp(rte_dev_name(device_of(port)), device) == 0)
			break;
	return port;
}

/* The port of a device; one with our address before others. */
static uint16_t
port_of(const struct hvn_vf *vf, const char *device)
{
	char named[RTE_DEV_NAME_MAX_LEN];
	uint16_t found = RTE_MAX_ETHPORTS;

	named_device(vf, named);
	for (uint16_t port = next_of(device, 0); port < RTE_MAX_ETHPORTS;
	     port = next_of(device, port + 1)) {
		if (!is_meant(vf, port, named))
			continue;
		if (has_mac(port, &vf->mac))
			return port;
		if (found == RTE_MAX_ETHPORTS)
			found = port;
	}
	return found;
}

/* --- ownership ---------------------------------------------------------------------------------- */

static bool
is_own(const struct hvn_vf *vf, uint16_t port)
{
	struct rte_eth_dev_owner owner = { 0 };

	return device_of(port) != NULL && rte_eth_dev_owner_get(port, &owner) == 0 &&
	       owner.id == vf->owner;
}

static int
own(const struct hvn_vf *vf, uint16_t port)
{
	struct rte_eth_dev_owner owner = { 0 };

	if (is_own(vf, port))
		return 0;
	owner.id = vf->owner;
	snprintf(owner.name, sizeof(owner.name), "hvnetvsc port %u", vf->p->port_id);
	return rte_eth_dev_owner_set(port, &owner);
}

/*
 * A VF that anybody probes is ours before the application sees it: what is owned is left out when
 * ports are counted, so that nobody else configures or polls it.
 */
static int
on_new(uint16_t port, enum rte_eth_event_type type, void *arg, void *ret)
{
	struct hvn_vf *vf = arg;
	char named[RTE_DEV_NAME_MAX_LEN];

	RTE_SET_USED(type);
	RTE_SET_USED(ret);
	named_device(vf, named);
	if (is_meant(vf, port, named) && own(vf, port) == 0) {
		__atomic_store_n(&vf->look_at, 0, __ATOMIC_RELAXED);
		hvn_ctrl_kick(vf->p);
	}
	return 0;
}

/*
 * A device that the application brought in stays with us when its VF is given up. It may vanish
 * then: as a rule a host first withdraws a VF and removes its function behind that.
 */
static int
on_gone(uint16_t port, enum rte_eth_event_type type, void *arg, void *ret)
{
	struct hvn_vf *vf = arg;

	RTE_SET_USED(type);
	RTE_SET_USED(ret);
	if (port != vf->port && is_own(vf, port)) {
		__atomic_store_n(&vf->gone[port], true, __ATOMIC_RELAXED);
		/* Release: which. */
		__atomic_store_n(&vf->any_gone, true, __ATOMIC_RELEASE);
		hvn_ctrl_kick(vf->p);
	}
	return 0;
}

static void
unregister(uint16_t port, enum rte_eth_event_type type, rte_eth_dev_cb_fn fn, void *arg)
{
	for (unsigned int i = 0; i < BUSY_TRIES; i++) {
		if (rte_eth_dev_callback_unregister(port, type, fn, arg) != -EAGAIN)
			return;
		rte_delay_us_sleep(1000);
	}
}

void
hvn_vf_claim(struct hvn_vf *vf)
{
	char named[RTE_DEV_NAME_MAX_LEN];

	named_device(vf, named);
	rte_eth_dev_callback_register(RTE_ETH_ALL, RTE_ETH_EVENT_NEW, on_new, vf);
	rte_eth_dev_callback_register(RTE_ETH_ALL, RTE_ETH_EVENT_INTR_RMV, on_gone, vf);
	for (uint16_t port = 0; port < RTE_MAX_ETHPORTS; port++)
		if (is_meant(vf, port, named))
			own(vf, port);
}

void
hvn_vf_unclaim(struct hvn_vf *vf)
{
	unregister(RTE_ETH_ALL, RTE_ETH_EVENT_INTR_RMV, on_gone, vf);
	unregister(RTE_ETH_ALL, RTE_ETH_EVENT_NEW, on_new, vf);
	for (uint16_t port = 0; port < RTE_MAX_ETHPORTS; port++)
		/* One that could not be given up is nobody's to use. */
		if (port != vf->port && is_own(vf, port))
			rte_eth_dev_owner_unset(port, vf->owner);
}

/* --- devices that go ---------------------------------------------------------------------------- */

static void
remove_device(const struct hvn_vf *vf, uint16_t port, struct rte_device *dev)
{
	int rc = rte_dev_remove(dev);

	if (rc != 0)
		HVN_LOG(WARNING, "port %u: VF port %u was closed but not removed: %s",
			vf->p->port_id, port, rte_strerror(-rc));
}

/* A port of ours that is not in use, whose device is gone; the device goes with its last user. */
static void
forget(const struct hvn_vf *vf, uint16_t port)
{
	struct rte_device *dev = rte_eth_devices[port].device;
	bool used = device_used(rte_dev_name(dev));

	HVN_LOG(NOTICE, "port %u: VF port %u has gone", vf->p->port_id, port);
	rte_eth_dev_close(port);
	if (!used)
		remove_device(vf, port, dev);
}

void
hvn_vf_clear(struct hvn_vf *vf)
{
	/* Acquire: which. One that goes from here on sets it again. */
	if (!__atomic_exchange_n(&vf->any_gone, false, __ATOMIC_ACQUIRE))
		return;
	for (uint16_t port = 0; port < RTE_MAX_ETHPORTS; port++)
		if (__atomic_exchange_n(&vf->gone[port], false, __ATOMIC_RELAXED) &&
		    port != vf->port && is_own(vf, port))
			forget(vf, port);
}

/* A device that was probed for us and has no port of ours; unless it has ports of others. */
static void
put_back(const struct hvn_vf *vf, const char *name)
{
	struct rte_eth_dev_owner owner;
	uint16_t port, any = RTE_MAX_ETHPORTS;

	for (port = next_of(name, 0); port < RTE_MAX_ETHPORTS; port = next_of(name, port + 1)) {
		if (rte_eth_dev_owner_get(port, &owner) != 0 || owner.id != RTE_ETH_DEV_NO_OWNER)
			return;
		any = port;
	}
	if (any != RTE_MAX_ETHPORTS)
		remove_device(vf, any, rte_eth_devices[any].device);
}

/* --- attach and detach ------------------------------------------------------------------------ */

int
hvn_vf_look(struct hvn_vf *vf)
{
	struct hvn_vf_pci pci;

	/* A device named by the user is there when the host says so: attaching it will tell. */
	if (vf->p->args.vf[0] != '\0')
		return 0;
	return hvn_vf_find(SYSFS, vf->serial, vf->mac.addr_bytes, &pci);
}

/* What is missing may come: it is tried for as long as the VF is there, and said once. */
static void
not_yet(struct hvn_vf *vf, const char *device, const char *why)
{
	if (!vf->told)
		HVN_LOG(NOTICE, "port %u: VF %s cannot be probed yet: %s", vf->p->port_id, device,
			why);
	vf->told = true;
}

/* Devargs and name of the device to use. */
static int
choose(struct hvn_vf *vf, const char **devargs, char name[RTE_DEV_NAME_MAX_LEN])
{
	char rdma[HVN_RDMA_NAME];
	struct hvn_vf_pci pci;
	int rc;

	if (vf->p->args.vf[0] != '\0') {
		*devargs = vf->p->args.vf;
		named_device(vf, name);
		return 0;
	}
	rc = hvn_vf_find(SYSFS, vf->serial, vf->mac.addr_bytes, &pci);
	if (rc != 0)
		return rc == -ENODEV ? -EAGAIN : rc;
	rc = hvn_vf_rdma_ready(SYSFS, pci.addr, pci.driver, hvn_vf_rdma_open, rdma);
	if (rc != 0) {
		not_yet(vf, pci.addr, rdma[0] != '\0' ? rdma : "it has no RDMA device");
		return rc;
	}
	snprintf(name, RTE_DEV_NAME_MAX_LEN, "%s", pci.addr);
	rc = hvn_vf_args(&vf->kept, name, devargs);
	if (rc == -EPERM)
		return hvn_vf_refuse(vf, rc, "its PCI function is blocked (-b)");
	return rc == 0 ? 0 : -EAGAIN;
}

static int
on_event(uint16_t port, enum rte_eth_event_type type, void *arg, void *ret)
{
	struct hvn_port *p = arg;

	RTE_SET_USED(port);
	RTE_SET_USED(ret);
	switch (type) {
	case RTE_ETH_EVENT_INTR_RMV:
	case RTE_ETH_EVENT_RECOVERY_FAILED:
		hvn_vf_event(p, HVN_EV_VANISH);
		break;
	case RTE_ETH_EVENT_ERR_RECOVERING:
		hvn_vf_event(p, HVN_EV_RECOVERING);
		break;
	case RTE_ETH_EVENT_RECOVERY_SUCCESS:
		hvn_vf_event(p, HVN_EV_RECOVERED);
		break;
	default:
		break;
	}
	return 0;
}

static const enum rte_eth_event_type watched[] = {
	RTE_ETH_EVENT_INTR_RMV,
	RTE_ETH_EVENT_ERR_RECOVERING,
	RTE_ETH_EVENT_RECOVERY_SUCCESS,
	RTE_ETH_EVENT_RECOVERY_FAILED,
};

void
hvn_vf_unwatch(struct hvn_vf *vf)
{
	for (unsigned int i = 0; i < RTE_DIM(watched); i++)
		unregister(vf->port, watched[i], on_event, vf->p);
}

int
hvn_vf_attach(struct hvn_vf *vf)
{
	char name[RTE_DEV_NAME_MAX_LEN];
	const char *devargs;
	bool probed = false;
	uint16_t port;
	int rc;

	rc = hvn_process_barrier();
	if (rc != 0)
		return hvn_vf_refuse(vf, rc, "it could not be left: no membarrier() here");
	rc = choose(vf, &devargs, name);
	if (rc != 0)
		return rc;
	port = port_of(vf, name);
	/* Gone while nobody looked, and perhaps come back: it is another device then. */
	if (port != RTE_MAX_ETHPORTS && rte_eth_dev_is_removed(port) != 0) {
		if (own(vf, port) != 0 || device_used(name))
			return -EAGAIN;
		forget(vf, port);
		port = RTE_MAX_ETHPORTS;
	}
	if (port == RTE_MAX_ETHPORTS) {
		/* That there is one already is no error for EAL. */
		bool known = next_of(name, 0) != RTE_MAX_ETHPORTS;

		rc = rte_dev_probe(devargs);
		if (rc != 0 && rc != -EEXIST) {
			not_yet(vf, name, rte_strerror(-rc));
			return -EAGAIN;
		}
		probed = rc == 0 && !known;
		port = port_of(vf, name);
	}
	if (port == RTE_MAX_ETHPORTS) {
		if (probed)
			put_back(vf, name);
		return hvn_vf_refuse(vf, -ENODEV, "its device has no port with this MAC address");
	}
	if (own(vf, port) != 0)
		return hvn_vf_refuse(vf, -EBUSY, "its port has another owner");
	device_use(name, probed);
	snprintf(vf->device, sizeof(vf->device), "%s", name);
	vf->port = port;
	vf->told = false;
	for (unsigned int i = 0; i < RTE_DIM(watched); i++)
		rte_eth_dev_callback_register(port, watched[i], on_event, vf->p);
	HVN_LOG(NOTICE, "port %u: VF is port %u, %s", vf->p->port_id, port, name);
	/* Word for word what net_netvsc says: test suites wait for it. */
	if (probed)
		rte_log(RTE_LOG_NOTICE, (uint32_t)hvn_logtype,
			"HN_DRIVER: netvsc_hotplug_retry(): Found matching MAC address, adding "
			"device %s\n",
			name);
	return 0;
}

void
hvn_vf_detach(struct hvn_vf *vf)
{
	uint16_t port = vf->port;
	struct rte_device *dev = rte_eth_devices[port].device;
	bool probed, last, there = vf->path.present && !vf->path.stale;

	hvn_vf_unwatch(vf);
	HVN_LOG(NOTICE, "port %u: VF %u is given up", vf->p->port_id, port);
	vf->port = RTE_MAX_ETHPORTS;
	vf->told = false;
	/* By the name it had: somebody else may have closed the port. */
	probed = device_unuse(vf->device, &last);
	if (dev == NULL)
		return;
	/*
	 * A device that is gone, or that we brought in, goes, with its last port. What the application
	 * brought in stays, and stays ours: it would be in the way as a port of its own.
	 */
	if (there && (!probed || !last))
		return;
	rte_eth_dev_close(port);
	if (last)
		remove_device(vf, port, dev);
}
