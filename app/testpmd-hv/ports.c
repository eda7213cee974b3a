/* SPDX-License-Identifier: BSD-3-Clause */
/* Ports: configuration, start and stop, what the driver tells us of them. */
#include <errno.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_errno.h>
#include <rte_lcore.h>

#include "testpmd_hv.h"

#define LINK_WAIT_MS 3000
#define POOL_CACHE   256
#define DESC_DEFAULT 1024
#define L2_ROOM	     (RTE_ETHER_HDR_LEN + 2 * 4) /* two VLAN tags */

struct tp_port tp_ports[RTE_MAX_ETHPORTS];
unsigned int tp_n_ports;

static struct rte_mempool *pool;

struct rte_mempool *
ports_pool(void)
{
	return pool;
}

static int
port_error(const struct tp_port *port, const char *what, int rc)
{
	fprintf(stderr, TP_NAME ": port %u (%s): %s: %s\n", port->id, port->name, what,
		rte_strerror(-rc));
	return rc;
}

struct tp_port *
port_find(uint16_t id)
{
	for (unsigned int i = 0; i < tp_n_ports; i++)
		if (tp_ports[i].id == id)
			return &tp_ports[i];
	return NULL;
}

/* Interrupt thread: say so, and leave the work to the main lcore. */
static int
on_removal(uint16_t id, enum rte_eth_event_type event, void *arg, void *ret)
{
	struct tp_port *port = arg;

	RTE_SET_USED(event);
	RTE_SET_USED(ret);
	printf("\nPort %u (%s): device removal event\n", id, port->name);
	fflush(stdout);
	__atomic_store_n(&port->removed, true, __ATOMIC_RELEASE);
	return 0;
}

/* Of a port that has two of them; else an empty text. */
static const char *
data_path(uint16_t port)
{
	uint64_t id, vf;

	if (rte_eth_xstats_get_id_by_name(port, "path_is_vf", &id) != 0 ||
	    rte_eth_xstats_get_by_id(port, &id, &vf, 1) != 1)
		return "";
	return vf != 0 ? ", data path VF" : ", data path synthetic";
}

static int
on_link(uint16_t id, enum rte_eth_event_type event, void *arg, void *ret)
{
	struct rte_eth_link link;

	RTE_SET_USED(event);
	RTE_SET_USED(arg);
	RTE_SET_USED(ret);
	if (rte_eth_link_get_nowait(id, &link) == 0) {
		printf("\nPort %u: link state change event: %s%s\n", id,
		       link.link_status ? "up" : "down", data_path(id));
		fflush(stdout);
	}
	return 0;
}

/* Buffers that every queue's descriptors can hold at once, plus those in flight in lcores. */
static int
create_pool(uint32_t max_rx_len)
{
	uint32_t n = tp_opt.mbufs, room = tp_opt.mbuf_size;

	if (n == 0) {
		for (unsigned int i = 0; i < tp_n_ports; i++)
			n += tp_opt.rxq * tp_ports[i].rxd + tp_opt.txq * tp_ports[i].txd;
		n += rte_lcore_count() * (POOL_CACHE + tp_opt.burst) * 2 + 1024;
	}
	if (room == 0)
		room = RTE_MAX((uint32_t)RTE_MBUF_DEFAULT_BUF_SIZE,
			       RTE_PKTMBUF_HEADROOM + RTE_MAX(max_rx_len, tp_opt.txpkts));
	if (room > UINT16_MAX) {
		fprintf(stderr, TP_NAME ": frames of %u bytes do not fit in one buffer\n",
			max_rx_len);
		return -EINVAL;
	}
	if (tp_opt.mode == TP_TXONLY && room < RTE_PKTMBUF_HEADROOM + (uint32_t)tp_opt.txpkts) {
		fprintf(stderr, TP_NAME ": --txpkts %u does not fit in --mbuf-size %u\n",
			tp_opt.txpkts, room);
		return -EINVAL;
	}
	pool = rte_pktmbuf_pool_create("tp_pool", n, RTE_MIN((uint32_t)POOL_CACHE, n / 2), 0,
				       (uint16_t)room, SOCKET_ID_ANY);
	if (pool == NULL) {
		fprintf(stderr,
			TP_NAME ": cannot create %u buffers of %u bytes: %s; give EAL more "
				"memory (-m), or fewer with --mbufs\n",
			n, room, rte_strerror(rte_errno));
		return -ENOMEM;
	}
	return 0;
}

static int
check_queues(const struct tp_port *port, const struct rte_eth_dev_info *info)
{
	if (tp_opt.rxq <= info->max_rx_queues && tp_opt.txq <= info->max_tx_queues)
		return 0;
	fprintf(stderr,
		TP_NAME ": port %u (%s) has at most %u receive and %u transmit queues; "
			"give --rxq and --txq\n",
		port->id, port->name, info->max_rx_queues, info->max_tx_queues);
	return -EINVAL;
}

static int
configure(struct tp_port *port, struct rte_eth_dev_info *info)
{
	struct rte_eth_conf conf = { 0 };
	uint16_t mtu;
	int rc;

	rc = rte_eth_dev_info_get(port->id, info);
	if (rc != 0)
		return port_error(port, "no information", rc);
	rte_eth_dev_get_name_by_port(port->id, port->name);
	rc = check_queues(port, info);
	if (rc != 0)
		return rc;
	if (tp_opt.mtu != 0)
		conf.rxmode.mtu = tp_opt.mtu;
	if (tp_opt.rxq > 1) {
		conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		conf.rx_adv_conf.rss_conf.rss_hf =
			info->flow_type_rss_offloads &
			(RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP);
	}
	if (info->tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS)
		conf.txmode.offloads |= RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	conf.intr_conf.lsc = tp_opt.lsc && (*info->dev_flags & RTE_ETH_DEV_INTR_LSC);
	conf.intr_conf.rmv = !!(*info->dev_flags & RTE_ETH_DEV_INTR_RMV);
	rc = rte_eth_dev_configure(port->id, tp_opt.rxq, tp_opt.txq, &conf);
	if (rc != 0)
		return port_error(port, "configure", rc);
	port->rxd = tp_opt.rxd ? tp_opt.rxd : info->default_rxportconf.ring_size;
	port->txd = tp_opt.txd ? tp_opt.txd : info->default_txportconf.ring_size;
	if (port->rxd == 0)
		port->rxd = DESC_DEFAULT;
	if (port->txd == 0)
		port->txd = DESC_DEFAULT;
	rc = rte_eth_dev_adjust_nb_rx_tx_desc(port->id, &port->rxd, &port->txd);
	if (rc != 0)
		return port_error(port, "descriptors", rc);
	if (rte_eth_dev_get_mtu(port->id, &mtu) == 0)
		port->max_rx_len = mtu + L2_ROOM;
	return 0;
}

static int
setup_queues(struct tp_port *port, struct rte_eth_dev_info *info)
{
	int socket = rte_eth_dev_socket_id(port->id), rc;

	for (uint16_t q = 0; q < tp_opt.rxq; q++) {
		rc = rte_eth_rx_queue_setup(port->id, q, port->rxd, (unsigned int)socket,
					    &info->default_rxconf, pool);
		if (rc != 0)
			return port_error(port, "receive queue", rc);
	}
	for (uint16_t q = 0; q < tp_opt.txq; q++) {
		rc = rte_eth_tx_queue_setup(port->id, q, port->txd, (unsigned int)socket, NULL);
		if (rc != 0)
			return port_error(port, "transmit queue", rc);
	}
	return 0;
}

int
port_start(struct tp_port *port)
{
	int rc;

	if (port->state != TP_PORT_STOPPED)
		return port_error(port, port->state == TP_PORT_STARTED ? "is started" : "is closed",
				  -EALREADY);
	rc = rte_eth_dev_start(port->id);
	if (rc != 0)
		return port_error(port, "start", rc);
	port->state = TP_PORT_STARTED;
	rc = rte_eth_promiscuous_enable(port->id);
	if (rc != 0 && rc != -ENOTSUP)
		port_error(port, "promiscuous mode", rc);
	rte_eth_macaddr_get(port->id, &port->mac);
	return 0;
}

int
port_stop(struct tp_port *port)
{
	int rc;

	if (port->state != TP_PORT_STARTED)
		return port_error(port, "is not started", -EALREADY);
	stats_port_refresh(port);
	rc = rte_eth_dev_stop(port->id);
	port->state = TP_PORT_STOPPED;
	return rc == 0 ? 0 : port_error(port, "stop", rc);
}

void
port_close(struct tp_port *port)
{
	int rc;

	if (port->state == TP_PORT_STARTED)
		port_stop(port);
	if (port->state == TP_PORT_CLOSED)
		return;
	rte_eth_dev_callback_unregister(port->id, RTE_ETH_EVENT_INTR_RMV, on_removal, port);
	rte_eth_dev_callback_unregister(port->id, RTE_ETH_EVENT_INTR_LSC, on_link, port);
	rc = rte_eth_dev_close(port->id);
	if (rc != 0)
		port_error(port, "close", rc);
	port->state = TP_PORT_CLOSED;
}

static void
find_ports(void)
{
	uint16_t id;

	RTE_ETH_FOREACH_DEV (id) {
		struct tp_port *port = &tp_ports[tp_n_ports++];

		port->id = id;
		port->state = TP_PORT_CLOSED; /* until it is configured */
	}
	for (unsigned int i = 0; i < tp_n_ports; i++)
		tp_ports[i].peer = (uint16_t)((i ^ 1) < tp_n_ports ? i ^ 1 : i);
}

int
ports_init(void)
{
	struct rte_eth_dev_info info[RTE_MAX_ETHPORTS];
	uint32_t max_rx_len = 0;
	int rc;

	find_ports();
	if (tp_n_ports == 0) {
		fprintf(stderr,
			TP_NAME ": no port: bind a NIC to uio_hv_generic, or name a host's "
				"socket in HV_VMBUS_SOCKET; EAL's messages above say more\n");
		return -ENODEV;
	}
	for (unsigned int i = 0; i < tp_n_ports; i++) {
		rc = configure(&tp_ports[i], &info[i]);
		if (rc != 0)
			return rc;
		max_rx_len = RTE_MAX(max_rx_len, tp_ports[i].max_rx_len);
	}
	rc = create_pool(max_rx_len);
	for (unsigned int i = 0; i < tp_n_ports && rc == 0; i++) {
		struct tp_port *port = &tp_ports[i];

		port->state = TP_PORT_STOPPED;
		rte_eth_dev_callback_register(port->id, RTE_ETH_EVENT_INTR_RMV, on_removal, port);
		rte_eth_dev_callback_register(port->id, RTE_ETH_EVENT_INTR_LSC, on_link, port);
		rc = setup_queues(port, &info[i]);
		if (rc == 0)
			rc = port_start(port);
	}
	return rc;
}

void
ports_wait_link(void)
{
	struct rte_eth_link link;
	unsigned int up, ms;

	for (ms = 0; ms < LINK_WAIT_MS && !tp_quit; ms += 10) {
		up = 0;
		for (unsigned int i = 0; i < tp_n_ports; i++)
			if (rte_eth_link_get_nowait(tp_ports[i].id, &link) != 0 ||
			    link.link_status == RTE_ETH_LINK_UP)
				up++;
		if (up == tp_n_ports)
			return;
		rte_delay_us_sleep(10000);
	}
	if (!tp_quit)
		printf("Not every port's link is up\n");
}

unsigned int
ports_usable(void)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < tp_n_ports; i++)
		if (tp_ports[i].state != TP_PORT_CLOSED)
			n++;
	return n;
}

bool
ports_removed(void)
{
	for (unsigned int i = 0; i < tp_n_ports; i++)
		if (tp_ports[i].state != TP_PORT_CLOSED &&
		    __atomic_load_n(&tp_ports[i].removed, __ATOMIC_ACQUIRE))
			return true;
	return false;
}

int
ports_fini(void)
{
	unsigned int missing;

	for (unsigned int i = 0; i < tp_n_ports; i++)
		port_close(&tp_ports[i]);
	missing = pool != NULL ? rte_mempool_in_use_count(pool) : 0;
	if (missing != 0)
		fprintf(stderr, TP_NAME ": %u mbufs did not come back when the ports were closed\n",
			missing);
	rte_mempool_free(pool);
	pool = NULL;
	return missing == 0 ? 0 : -ENOMEM;
}
