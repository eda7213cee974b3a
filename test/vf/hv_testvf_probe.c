/* SPDX-License-Identifier: BSD-3-Clause */
/* Where the device of hv_testvf.h comes from: its arguments, and the drivers that take it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_kvargs.h>
#include <rte_malloc.h>
#include <bus_vdev_driver.h>
#include <ethdev_vdev.h>

#include "hv_testvf.h"

static int
copy_text(const char *key, const char *value, void *to)
{
	(void)key;
	snprintf(to, 128, "%s", value != NULL ? value : "");
	return 0;
}

static const char *
text_arg(struct rte_kvargs *args, const char *key, char text[128], const char *none)
{
	snprintf(text, 128, "%s", none);
	if (args != NULL)
		rte_kvargs_process(args, key, copy_text, text);
	return text;
}

static uint64_t
number_arg(struct rte_kvargs *args, const char *key, uint64_t none)
{
	char text[128];

	return text_arg(args, key, text, "")[0] == '\0' ? none : strtoull(text, NULL, 0);
}

static int
find_inner(struct testvf *vf, const char *text)
{
	size_t len = strcspn(text, "+");
	char args[128];
	int rc;

	if (text[len] == '\0')
		return rte_eth_dev_get_port_by_name(text, &vf->inner);
	snprintf(args, sizeof(args), "%s", text + len + 1);
	for (char *p = args; *p != '\0'; p++)
		*p = *p == '+' ? ',' : *p == ':' ? '=' : *p;
	snprintf(vf->made, sizeof(vf->made), "%.*s", (int)len, text);
	rc = rte_eal_hotplug_add("vdev", vf->made, args);
	return rc != 0 ? rc : rte_eth_dev_get_port_by_name(vf->made, &vf->inner);
}

static int
set_up(struct rte_eth_dev *dev, struct rte_kvargs *args, const char *mac_key)
{
	struct testvf *vf = testvf_of(dev);
	char text[128];

	vf->data = dev->data;
	TAILQ_INIT(&vf->flows);
	rte_spinlock_init(&vf->flow_lock);
	vf->rmv = number_arg(args, "rmv", 1) != 0;
	vf->max_queues = (uint16_t)number_arg(args, "queues", 64);
	vf->max_desc = (uint16_t)number_arg(args, "desc", 0);
	vf->max_mtu = (uint16_t)number_arg(args, "mtu", 9600);
	vf->has_inner = text_arg(args, "inner", text, "")[0] != '\0';
	if (vf->has_inner && find_inner(vf, text) != 0) {
		fprintf(stderr, "net_hvtestvf: inner=%s is no port\n", text);
		return -ENODEV;
	}
	/* With packets it can what the inner one can; without, everything. */
	vf->has_rss = number_arg(args, "rss", !vf->has_inner) != 0;
	vf->reta_size = (uint16_t)RTE_MIN(number_arg(args, "reta", 128), (uint64_t)TESTVF_RETA);
	vf->rx_capa = number_arg(args, "rxcap", vf->has_inner ? 0 : UINT64_MAX);
	vf->tx_capa = number_arg(args, "txcap",
				 vf->has_inner ? RTE_ETH_TX_OFFLOAD_MULTI_SEGS |
							 RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE
					       : UINT64_MAX);
	if (rte_ether_unformat_addr(text_arg(args, mac_key, text, ""), &vf->mac) != 0) {
		fprintf(stderr, "net_hvtestvf: %s=%s is no MAC address\n", mac_key, text);
		return -EINVAL;
	}
	testvf_fail(vf, text_arg(args, "fail", text, ""));
	if (vf->fail[OP_PROBE] != 0)
		return vf->fail[OP_PROBE];
	dev->data->mac_addrs = &vf->mac;
	dev->data->dev_flags = vf->rmv ? RTE_ETH_DEV_INTR_RMV : 0;
	text_arg(args, "ctl", text, "");
	return text[0] == '\0' || strcmp(mac_key, "mac") != 0 ? 0 : testvf_ctl_open(dev, text);
}

static void
set_ops(struct rte_eth_dev *dev, struct rte_vdev_device *vdev)
{
	dev->device = &vdev->device;
	dev->dev_ops = &testvf_ops;
	dev->rx_pkt_burst = testvf_rx;
	dev->tx_pkt_burst = testvf_tx;
}

/* An inner port is no port of the application's any more. */
static int
own(uint16_t port)
{
	struct rte_eth_dev_owner owner = { .id = RTE_ETH_DEV_NO_OWNER };

	if (rte_eth_dev_owner_get(port, &owner) != 0 || owner.id != RTE_ETH_DEV_NO_OWNER)
		return 0;
	strcpy(owner.name, "net_hvtestvf");
	if (rte_eth_dev_owner_new(&owner.id) != 0)
		return -ENOSPC;
	return rte_eth_dev_owner_set(port, &owner);
}

static int
probe_port(struct rte_vdev_device *vdev, struct rte_kvargs *args, const char *name,
	   const char *mac_key)
{
	struct rte_eth_dev *dev = rte_eth_dev_allocate(name);
	int rc;

	if (dev == NULL)
		return -ENOMEM;
	set_ops(dev, vdev);
	dev->data->numa_node = (int)rte_socket_id();
	dev->data->dev_private = rte_zmalloc(name, sizeof(struct testvf), RTE_CACHE_LINE_SIZE);
	rc = dev->data->dev_private == NULL ? -ENOMEM : set_up(dev, args, mac_key);
	if (rc == 0 && testvf_of(dev)->has_inner)
		rc = own(testvf_of(dev)->inner);
	if (rc == 0) {
		rte_eth_dev_probing_finish(dev);
		return 0;
	}
	dev->data->mac_addrs = NULL;
	rte_eth_dev_release_port(dev);
	return rc;
}

static int
probe_secondary(struct rte_vdev_device *vdev)
{
	struct rte_eth_dev *dev = rte_eth_dev_attach_secondary(rte_vdev_device_name(vdev));

	if (dev == NULL)
		return -ENODEV;
	set_ops(dev, vdev);
	rte_eth_dev_probing_finish(dev);
	return 0;
}

static void
second_name(struct rte_vdev_device *vdev, char name[RTE_ETH_NAME_MAX_LEN])
{
	snprintf(name, RTE_ETH_NAME_MAX_LEN, "%s_2", vdev->device.name);
}

static int
vf_probe(struct rte_vdev_device *vdev)
{
	struct rte_kvargs *args = rte_kvargs_parse(rte_vdev_device_args(vdev), NULL);
	char text[128], name[RTE_ETH_NAME_MAX_LEN];
	int rc;

	if (rte_eal_process_type() != RTE_PROC_PRIMARY)
		rc = probe_secondary(vdev);
	else
		rc = probe_port(vdev, args, rte_vdev_device_name(vdev), "mac");
	if (rc == 0 && text_arg(args, "mac2", text, "")[0] != '\0') {
		second_name(vdev, name);
		rc = probe_port(vdev, args, name, "mac2");
	}
	rte_kvargs_free(args);
	return rc;
}

static void
remove_port(const char *name)
{
	struct rte_eth_dev *dev = rte_eth_dev_allocated(name);

	if (dev == NULL)
		return;
	testvf_ops.dev_close(dev);
	rte_eth_dev_release_port(dev);
}

static int
vf_remove(struct rte_vdev_device *vdev)
{
	char name[RTE_ETH_NAME_MAX_LEN];

	second_name(vdev, name);
	remove_port(name);
	remove_port(rte_vdev_device_name(vdev));
	return 0;
}

static struct rte_vdev_driver drivers[] = {
	{ .driver.name = "net_hvtestvf", .probe = vf_probe, .remove = vf_remove },
	/* Takes devices of the same name. */
	{ .driver.name = "net_hvothervf",
	  .driver.alias = "net_hvtestvf",
	  .probe = vf_probe,
	  .remove = vf_remove },
};

static struct rte_vdev_driver *registered;

void
testvf_use_driver(const char *name)
{
	if (registered != NULL)
		rte_vdev_unregister(registered);
	registered = NULL;
	for (unsigned int i = 0; i < RTE_DIM(drivers); i++)
		if (strcmp(drivers[i].driver.name, name) == 0)
			registered = &drivers[i];
	if (registered != NULL)
		rte_vdev_register(registered);
}

RTE_INIT(register_driver)
{
	testvf_use_driver("net_hvtestvf");
}
