/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net_hvtestvf: what a VF's driver does and a software device cannot be made to do. A port in front
 * of another one (net_memif), with a MAC address of its choice, a removal interrupt and failures on
 * command:
 *
 *   --vdev 'net_hvtestvf0,inner=net_memif0,mac=00:15:5d:00:00:01,ctl=/path'
 *
 * inner is a device that was probed before. Datagrams on the Unix socket ctl: "rmv" (the hardware is
 * gone: no burst moves a packet, the removal event is raised), "recovering", "recovered", "failed",
 * "fail OP ERRNO" (the next calls of configure, start, rxq, txq or mtu fail; ERRNO 0 ends it).
 * Devargs: rmv=0 a driver without the removal interrupt; queues=N fewer queues.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <rte_ether.h>
#include <rte_interrupts.h>
#include <rte_kvargs.h>
#include <rte_malloc.h>
#include <bus_vdev_driver.h>
#include <ethdev_driver.h>
#include <ethdev_vdev.h>

enum op { OP_CONFIGURE, OP_START, OP_RXQ, OP_TXQ, OP_MTU, OP_COUNT };
static const char *const op_names[] = { "configure", "start", "rxq", "txq", "mtu" };

struct testvf {
	struct rte_eth_dev_data *data;
	uint16_t inner;
	uint16_t max_queues;
	bool rmv;
	bool gone;
	int fail[OP_COUNT];
	struct rte_intr_handle *ctl;
	char ctl_path[108];
	struct rte_ether_addr mac;
};

struct queue {
	struct testvf *vf;
	uint16_t inner;
	uint16_t id;
	uint64_t packets, bytes;
};

static struct testvf *
vf_of(const struct rte_eth_dev *dev)
{
	return dev->data->dev_private;
}

static uint64_t
bytes_of(struct rte_mbuf **pkts, uint16_t n)
{
	uint64_t sum = 0;

	for (uint16_t i = 0; i < n; i++)
		sum += pkts[i]->pkt_len;
	return sum;
}

static uint16_t
vf_rx(void *queue, struct rte_mbuf **pkts, uint16_t n)
{
	struct queue *q = queue;

	if (__atomic_load_n(&q->vf->gone, __ATOMIC_RELAXED))
		return 0;
	n = rte_eth_rx_burst(q->inner, q->id, pkts, n);
	for (uint16_t i = 0; i < n; i++)
		pkts[i]->port = q->vf->data->port_id;
	q->packets += n;
	q->bytes += bytes_of(pkts, n);
	return n;
}

static uint16_t
vf_tx(void *queue, struct rte_mbuf **pkts, uint16_t n)
{
	struct queue *q = queue;
	uint64_t all;
	uint16_t sent;

	if (__atomic_load_n(&q->vf->gone, __ATOMIC_RELAXED))
		return 0;
	all = bytes_of(pkts, n);
	sent = rte_eth_tx_burst(q->inner, q->id, pkts, n);
	q->packets += sent;
	q->bytes += all - bytes_of(pkts + sent, n - sent);
	return sent;
}

static int
vf_configure(struct rte_eth_dev *dev)
{
	struct testvf *vf = vf_of(dev);
	struct rte_eth_conf conf = { 0 };

	if (vf->fail[OP_CONFIGURE] != 0)
		return vf->fail[OP_CONFIGURE];
	return rte_eth_dev_configure(vf->inner, dev->data->nb_rx_queues, dev->data->nb_tx_queues,
				     &conf);
}

static int
vf_start(struct rte_eth_dev *dev)
{
	struct testvf *vf = vf_of(dev);

	if (vf->fail[OP_START] != 0)
		return vf->fail[OP_START];
	for (uint16_t i = 0; i < dev->data->nb_rx_queues; i++)
		dev->data->rx_queue_state[i] = RTE_ETH_QUEUE_STATE_STARTED;
	for (uint16_t i = 0; i < dev->data->nb_tx_queues; i++)
		dev->data->tx_queue_state[i] = RTE_ETH_QUEUE_STATE_STARTED;
	return rte_eth_dev_start(vf->inner);
}

static int
vf_stop(struct rte_eth_dev *dev)
{
	dev->data->dev_started = 0;
	return rte_eth_dev_stop(vf_of(dev)->inner);
}

static int
make_queue(struct rte_eth_dev *dev, uint16_t id, void **slot)
{
	struct queue *q = rte_zmalloc(NULL, sizeof(*q), RTE_CACHE_LINE_SIZE);

	if (q == NULL)
		return -ENOMEM;
	q->vf = vf_of(dev);
	q->inner = q->vf->inner;
	q->id = id;
	*slot = q;
	return 0;
}

static int
vf_rxq_setup(struct rte_eth_dev *dev, uint16_t id, uint16_t nb, unsigned int socket,
	     const struct rte_eth_rxconf *conf, struct rte_mempool *pool)
{
	struct testvf *vf = vf_of(dev);
	int rc = vf->fail[OP_RXQ];

	(void)conf;
	if (rc == 0)
		rc = rte_eth_rx_queue_setup(vf->inner, id, nb, socket, NULL, pool);
	return rc != 0 ? rc : make_queue(dev, id, &dev->data->rx_queues[id]);
}

static int
vf_txq_setup(struct rte_eth_dev *dev, uint16_t id, uint16_t nb, unsigned int socket,
	     const struct rte_eth_txconf *conf)
{
	struct testvf *vf = vf_of(dev);
	int rc = vf->fail[OP_TXQ];

	(void)conf;
	if (rc == 0)
		rc = rte_eth_tx_queue_setup(vf->inner, id, nb, socket, NULL);
	return rc != 0 ? rc : make_queue(dev, id, &dev->data->tx_queues[id]);
}

static void
vf_rxq_release(struct rte_eth_dev *dev, uint16_t id)
{
	rte_free(dev->data->rx_queues[id]);
}

static void
vf_txq_release(struct rte_eth_dev *dev, uint16_t id)
{
	rte_free(dev->data->tx_queues[id]);
}

static int
vf_info(struct rte_eth_dev *dev, struct rte_eth_dev_info *info)
{
	struct testvf *vf = vf_of(dev);
	int rc = rte_eth_dev_info_get(vf->inner, info);

	if (rc != 0)
		return rc;
	info->device = dev->device;
	info->max_rx_queues = RTE_MIN(info->max_rx_queues, vf->max_queues);
	info->max_tx_queues = RTE_MIN(info->max_tx_queues, vf->max_queues);
	info->max_mac_addrs = 1;
	info->max_rx_pktlen = 9618;
	info->max_mtu = 9600;
	info->tx_offload_capa |= RTE_ETH_TX_OFFLOAD_MULTI_SEGS | RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
	return 0;
}

static int
vf_mtu(struct rte_eth_dev *dev, uint16_t mtu)
{
	(void)mtu;
	return vf_of(dev)->fail[OP_MTU];
}

static int
vf_filter(struct rte_eth_dev *dev)
{
	(void)dev;
	return 0;
}

static int
vf_link(struct rte_eth_dev *dev, int wait)
{
	struct rte_eth_link link = { .link_speed = RTE_ETH_SPEED_NUM_50G,
				     .link_duplex = RTE_ETH_LINK_FULL_DUPLEX };

	(void)wait;
	link.link_status = vf_of(dev)->gone ? RTE_ETH_LINK_DOWN : RTE_ETH_LINK_UP;
	return rte_eth_linkstatus_set(dev, &link);
}

static int
vf_stats(struct rte_eth_dev *dev, struct rte_eth_stats *s)
{
	for (uint16_t i = 0; i < dev->data->nb_rx_queues; i++) {
		const struct queue *q = dev->data->rx_queues[i];

		s->ipackets += q != NULL ? q->packets : 0;
		s->ibytes += q != NULL ? q->bytes : 0;
	}
	for (uint16_t i = 0; i < dev->data->nb_tx_queues; i++) {
		const struct queue *q = dev->data->tx_queues[i];

		s->opackets += q != NULL ? q->packets : 0;
		s->obytes += q != NULL ? q->bytes : 0;
	}
	return 0;
}

static void on_command(void *arg);

static int
vf_close(struct rte_eth_dev *dev)
{
	struct testvf *vf = vf_of(dev);
	int fd;

	if (vf->ctl != NULL) {
		fd = rte_intr_fd_get(vf->ctl);
		rte_intr_callback_unregister_sync(vf->ctl, on_command, dev);
		close(fd);
		unlink(vf->ctl_path);
		rte_intr_instance_free(vf->ctl);
		vf->ctl = NULL;
	}
	dev->data->mac_addrs = NULL;
	return 0;
}

static const struct eth_dev_ops vf_ops = {
	.dev_configure = vf_configure,
	.dev_start = vf_start,
	.dev_stop = vf_stop,
	.dev_close = vf_close,
	.dev_infos_get = vf_info,
	.rx_queue_setup = vf_rxq_setup,
	.tx_queue_setup = vf_txq_setup,
	.rx_queue_release = vf_rxq_release,
	.tx_queue_release = vf_txq_release,
	.mtu_set = vf_mtu,
	.promiscuous_enable = vf_filter,
	.promiscuous_disable = vf_filter,
	.allmulticast_enable = vf_filter,
	.allmulticast_disable = vf_filter,
	.link_update = vf_link,
	.stats_get = vf_stats,
};

/* --- commands ------------------------------------------------------------------------------------- */

static void
fail_op(struct testvf *vf, const char *text)
{
	char name[16];
	int err;

	if (sscanf(text, "%15s %d", name, &err) != 2)
		return;
	for (unsigned int i = 0; i < OP_COUNT; i++)
		if (strcmp(op_names[i], name) == 0)
			vf->fail[i] = -err;
}

static void
on_command(void *arg)
{
	struct rte_eth_dev *dev = arg;
	struct testvf *vf = vf_of(dev);
	char text[64];
	ssize_t n = recv(rte_intr_fd_get(vf->ctl), text, sizeof(text) - 1, MSG_DONTWAIT);
	enum rte_eth_event_type event;

	if (n <= 0)
		return;
	text[n] = '\0';
	if (strncmp(text, "fail ", 5) == 0) {
		fail_op(vf, text + 5);
		return;
	}
	if (strncmp(text, "rmv", 3) == 0) {
		__atomic_store_n(&vf->gone, true, __ATOMIC_RELEASE);
		event = RTE_ETH_EVENT_INTR_RMV;
	} else if (strncmp(text, "recovering", 10) == 0) {
		event = RTE_ETH_EVENT_ERR_RECOVERING;
	} else if (strncmp(text, "recovered", 9) == 0) {
		event = RTE_ETH_EVENT_RECOVERY_SUCCESS;
	} else if (strncmp(text, "failed", 6) == 0) {
		event = RTE_ETH_EVENT_RECOVERY_FAILED;
	} else {
		return;
	}
	rte_eth_dev_callback_process(dev, event, NULL);
}

static int
open_ctl(struct rte_eth_dev *dev, const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct testvf *vf = vf_of(dev);
	int fd;

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	strcpy(addr.sun_path, path);
	strcpy(vf->ctl_path, path);
	unlink(path);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0) {
		if (fd >= 0)
			close(fd);
		return -errno;
	}
	vf->ctl = rte_intr_instance_alloc(RTE_INTR_INSTANCE_F_PRIVATE);
	if (vf->ctl == NULL || rte_intr_fd_set(vf->ctl, fd) != 0 ||
	    rte_intr_type_set(vf->ctl, RTE_INTR_HANDLE_EXT) != 0) {
		close(fd);
		return -ENOMEM;
	}
	return rte_intr_callback_register(vf->ctl, on_command, dev);
}

/* --- probe -------------------------------------------------------------------------------------------- */

static int
copy_text(const char *key, const char *value, void *to)
{
	(void)key;
	snprintf(to, 128, "%s", value);
	return 0;
}

static void
text_arg(struct rte_kvargs *args, const char *key, char text[128])
{
	if (args != NULL)
		rte_kvargs_process(args, key, copy_text, text);
}

static int
set_up(struct rte_eth_dev *dev, struct rte_kvargs *args)
{
	char inner[128] = "", mac[128] = "", ctl[128] = "", rmv[128] = "1", queues[128] = "64";
	struct testvf *vf = vf_of(dev);

	text_arg(args, "inner", inner);
	text_arg(args, "mac", mac);
	text_arg(args, "ctl", ctl);
	text_arg(args, "rmv", rmv);
	text_arg(args, "queues", queues);
	vf->data = dev->data;
	vf->rmv = atoi(rmv) != 0;
	vf->max_queues = (uint16_t)atoi(queues);
	if (rte_eth_dev_get_port_by_name(inner, &vf->inner) != 0) {
		fprintf(stderr, "net_hvtestvf: inner=%s is no port\n", inner);
		return -ENODEV;
	}
	if (rte_ether_unformat_addr(mac, &vf->mac) != 0) {
		fprintf(stderr, "net_hvtestvf: mac=%s is no MAC address\n", mac);
		return -EINVAL;
	}
	dev->data->mac_addrs = &vf->mac;
	dev->data->dev_flags = vf->rmv ? RTE_ETH_DEV_INTR_RMV : 0;
	dev->dev_ops = &vf_ops;
	dev->rx_pkt_burst = vf_rx;
	dev->tx_pkt_burst = vf_tx;
	return ctl[0] == '\0' ? 0 : open_ctl(dev, ctl);
}

static int
vf_probe(struct rte_vdev_device *vdev)
{
	struct rte_kvargs *args = rte_kvargs_parse(rte_vdev_device_args(vdev), NULL);
	struct rte_eth_dev *dev = rte_eth_vdev_allocate(vdev, sizeof(struct testvf));
	int rc = dev == NULL ? -ENOMEM : set_up(dev, args);

	rte_kvargs_free(args);
	if (rc == 0)
		rte_eth_dev_probing_finish(dev);
	else if (dev != NULL) {
		dev->data->mac_addrs = NULL;
		rte_eth_dev_release_port(dev);
	}
	return rc;
}

static int
vf_remove(struct rte_vdev_device *vdev)
{
	struct rte_eth_dev *dev = rte_eth_dev_allocated(rte_vdev_device_name(vdev));

	if (dev == NULL)
		return 0;
	vf_close(dev);
	return rte_eth_dev_release_port(dev);
}

static struct rte_vdev_driver vf_driver = { .probe = vf_probe, .remove = vf_remove };

RTE_PMD_REGISTER_VDEV(net_hvtestvf, vf_driver);
RTE_PMD_REGISTER_PARAM_STRING(net_hvtestvf,
			      "inner=<name> mac=<address> ctl=<path> rmv=<0|1> queues=<n>");
