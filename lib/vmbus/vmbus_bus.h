/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the bus itself know of each other. Private to lib/vmbus. */
#ifndef VMBUS_BUS_H
#define VMBUS_BUS_H

#include "vmbus_backend.h"

#define VMBUS_BUS_NAME	 "hv_vmbus"
#define VMBUS_STOCK_NAME "vmbus" /* DPDK's own bus for the same devices */

/* --- vmbus_devargs.c: what the command line says of devices ------------------------------------- */

/* rte_bus.parse: a GUID, with or without "vmbus:" before it, or "socket...". */
int vmbus_devargs_parse_name(const char *name, void *addr);

/* The user's choice for a device: may it be probed? Sets dev->pub.device.devargs. */
bool vmbus_devargs_apply(const struct rte_bus *bus, struct vmbus_dev *dev);

/* Log each device that is allowed by its GUID, and that "known" does not know. */
void vmbus_devargs_tell_unknown(bool (*known)(const struct hv_guid *instance_id));

/*
 * A socket that the command line or rte_dev_probe() names:
 *   "socket=PATH[,args]", or for a path that EAL finds too long "socket,path=PATH[,args]":
 *     the args go to every device behind it;
 *   "<guid>,socket=PATH[,args]": the device with that GUID, and its socket.
 */
struct vmbus_devargs_socket {
	const char *path; /* len bytes, no NUL behind them */
	size_t len;
	struct rte_devargs *of_all; /* of every device behind the socket, with */
	const char *args;	    /* these arguments; or NULL */
};

/* The i-th of them; false: there are fewer. */
bool vmbus_devargs_socket(unsigned int i, struct vmbus_devargs_socket *s);

/* --- vmbus_claim.c: living beside the stock bus --------------------------------------------------- */

/* See to it that the stock bus probes after ours. */
void vmbus_claim_order(void);

/* A driver of ours is about to drive this device: let the stock bus believe that it is taken. */
void vmbus_claim_device(const struct hv_vmbus_device *dev);
void vmbus_unclaim_device(const struct hv_vmbus_device *dev);

/* Is a driver of the stock bus bound to it? */
bool vmbus_claim_taken(const struct hv_vmbus_device *dev);

/* --- vmbus_shared.c ------------------------------------------------------------------------------- */

/* In the primary: create the shared state of a device. In a secondary: find it. 0 or -errno. */
int vmbus_shared_get(struct vmbus_dev *dev);

/* Forget it; the primary frees it. The device is closed. */
void vmbus_shared_put(struct vmbus_dev *dev);

/* Tell the secondaries that a device is gone, and listen for that in a secondary. */
void vmbus_shared_tell_gone(const struct hv_vmbus_device *dev);
void vmbus_shared_listen(void);
void vmbus_shared_unlisten(void);

/* --- vmbus_user_conn.c ---------------------------------------------------------------------------- */

/* Is a socket named by devargs or environment? */
bool vmbus_user_wanted(void);

/* --- vmbus_bus.c ---------------------------------------------------------------------------------- */

/* As vmbus_bus_gone(), for who has no device but its GUID. Any thread. */
void vmbus_bus_gone_by_id(const struct hv_guid *instance_id);

/* The first device of which this is true, or NULL. is_it() is called with the list locked. */
struct hv_vmbus_device *vmbus_bus_first(bool (*is_it)(struct hv_vmbus_device *dev, void *arg),
					void *arg);

/* --- vmbus_bus_find.c ----------------------------------------------------------------------------- */

/* rte_bus.find_device and rte_bus.dev_iterate; the filter takes "name=<instance GUID>". */
struct rte_device *vmbus_bus_find_device(const struct rte_device *start, rte_dev_cmp_t cmp,
					 const void *data);
void *vmbus_bus_dev_iterate(const void *start, const char *str, const struct rte_dev_iterator *it);

#endif /* VMBUS_BUS_H */
