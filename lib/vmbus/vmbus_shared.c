/* SPDX-License-Identifier: BSD-3-Clause */
/* Devices as primary and secondary processes share them. */
#include <errno.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_malloc.h>
#include <rte_memzone.h>

#include "hv_guid.h"
#include "vmbus_bus.h"
#include "vmbus_lock.h"

#define SHARED_ZONE "hv_vmbus_devices"
#define GONE_MSG    "hv_vmbus_gone"
#define LOCK_MS	    999

struct shared_list {
	pthread_mutex_t lock;
	struct vmbus_shared *first;
};

static bool listening;

static struct shared_list *
shared_list(bool create)
{
	const struct rte_memzone *mz = rte_memzone_lookup(SHARED_ZONE);

	if (mz == NULL && create) {
		mz = rte_memzone_reserve(SHARED_ZONE, sizeof(struct shared_list), SOCKET_ID_ANY, 0);
		if (mz != NULL) {
			memset(mz->addr, 0, sizeof(struct shared_list));
			vmbus_lock_init(&((struct shared_list *)mz->addr)->lock);
		}
	}
	return mz != NULL ? mz->addr : NULL;
}

/* Only the primary changes the list: it may go on without, past a secondary that is stopped. */
static bool
list_lock(struct shared_list *list)
{
	if (vmbus_lock(&list->lock, LOCK_MS))
		return true;
	VMBUS_LOG(WARNING, "the list of devices is locked by a process that does not run");
	return false;
}

unsigned int
vmbus_shared_list(struct vmbus_shared_id *out, unsigned int max)
{
	struct shared_list *list = shared_list(false);
	unsigned int n = 0;

	if (list == NULL || !list_lock(list))
		return 0;
	for (const struct vmbus_shared *s = list->first; s != NULL && n < max; s = s->next)
		out[n++] = s->id;
	vmbus_unlock(&list->lock);
	return n;
}

/* In a secondary. */
static struct vmbus_shared *
shared_find(struct shared_list *list, const struct hv_guid *instance_id)
{
	struct vmbus_shared *s;

	if (list == NULL || !list_lock(list))
		return NULL;
	for (s = list->first; s != NULL; s = s->next)
		if (hv_guid_equal(&s->id.instance_id, instance_id))
			break;
	vmbus_unlock(&list->lock);
	return s;
}

int
vmbus_shared_get(struct vmbus_dev *dev)
{
	bool primary = rte_eal_process_type() == RTE_PROC_PRIMARY;
	struct shared_list *list = shared_list(primary);
	struct vmbus_shared *s;
	bool locked;

	if (dev->shared != NULL)
		return 0;
	if (!primary) {
		dev->shared = shared_find(list, &dev->pub.instance_id);
		return dev->shared != NULL ? 0 : -ENODEV;
	}
	if (list == NULL)
		return -ENOMEM;
	s = rte_zmalloc("hv_vmbus", sizeof(*s), RTE_CACHE_LINE_SIZE);
	if (s == NULL) {
		VMBUS_LOG(ERR, "%s: no memory for its shared state", dev->pub.name);
		return -ENOMEM;
	}
	s->id.class_id = dev->pub.class_id;
	s->id.instance_id = dev->pub.instance_id;
	s->id.relid = dev->pub.relid;
	s->id.hw_device_id = dev->pub.hw_device_id;
	s->id.numa_node = dev->pub.device.numa_node;
	strncpy(s->id.backend, dev->pub.ops->name, sizeof(s->id.backend) - 1);
	locked = list_lock(list);
	s->next = list->first;
	list->first = s;
	if (locked)
		vmbus_unlock(&list->lock);
	dev->shared = s;
	return 0;
}

void
vmbus_shared_put(struct vmbus_dev *dev)
{
	struct vmbus_shared *s = dev->shared, **at;
	struct shared_list *list;
	bool locked;

	dev->shared = NULL;
	if (s == NULL || rte_eal_process_type() != RTE_PROC_PRIMARY)
		return;
	list = shared_list(false);
	if (list == NULL)
		return;
	locked = list_lock(list);
	for (at = &list->first; *at != NULL; at = &(*at)->next) {
		if (*at == s) {
			*at = s->next;
			break;
		}
	}
	if (locked)
		vmbus_unlock(&list->lock);
	rte_free(s->backend_data);
	rte_free(s);
}

/* --- removal, from the primary to the secondaries --------------------------------------------------- */

void
vmbus_shared_tell_gone(const struct hv_vmbus_device *dev)
{
	struct rte_mp_msg msg = { .len_param = sizeof(dev->instance_id) };
	struct vmbus_shared *s = vmbus_shared_of(dev);

	if (rte_eal_process_type() != RTE_PROC_PRIMARY || s == NULL)
		return;
	/* Relaxed: nothing else is said by it; those that are here get a message. */
	__atomic_store_n(&s->gone, true, __ATOMIC_RELAXED);
	strncpy(msg.name, GONE_MSG, sizeof(msg.name) - 1);
	memcpy(msg.param, &dev->instance_id, sizeof(dev->instance_id));
	/* Fails without secondaries, or without shared configuration: nobody to tell then. */
	rte_mp_sendmsg(&msg);
}

static int
on_gone(const struct rte_mp_msg *msg, const void *peer)
{
	struct hv_guid guid;

	(void)peer;
	if (msg->len_param != sizeof(guid))
		return -EINVAL;
	memcpy(&guid, msg->param, sizeof(guid));
	vmbus_bus_gone_by_id(&guid);
	return 0;
}

void
vmbus_shared_listen(void)
{
	if (rte_eal_process_type() == RTE_PROC_PRIMARY || listening)
		return;
	listening = rte_mp_action_register(GONE_MSG, on_gone) == 0;
}

void
vmbus_shared_unlisten(void)
{
	if (listening)
		rte_mp_action_unregister(GONE_MSG);
	listening = false;
}
