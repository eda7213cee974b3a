/* SPDX-License-Identifier: BSD-3-Clause */
/* DPDK's telemetry socket: one dictionary or array per question. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <rte_telemetry.h>

#include "hvn_copy.h"
#include "hvn_stats.h"
#include "hvn_telemetry.h"
#include "hvn_txd.h"
#include "hvn_vf.h"

/* Recursive: statistics of a port ask its VF, which may be a port of ours. */
static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

void
hvn_telemetry_lock(void)
{
	pthread_mutex_lock(&lock);
}

void
hvn_telemetry_unlock(void)
{
	pthread_mutex_unlock(&lock);
}

/* --- which port ----------------------------------------------------------------------------------- */

static bool
is_ours(uint16_t id)
{
	const struct rte_eth_dev *dev;

	if (!rte_eth_dev_is_valid_port(id))
		return false;
	dev = &rte_eth_devices[id];
	return dev->rx_pkt_burst != NULL && dev->device != NULL && dev->device->driver != NULL &&
	       strcmp(dev->device->driver->name, "net_hvnetvsc") == 0 && dev->data != NULL &&
	       hvn_port(dev) != NULL && !hvn_port(dev)->closed;
}

/* "PORT" or "PORT,FROM": the port, NULL if it is none of ours. */
static struct rte_eth_dev *
port_of(const char *params, unsigned long *from)
{
	unsigned long id;
	char *end;

	if (params == NULL || *params < '0' || *params > '9')
		return NULL;
	id = strtoul(params, &end, 10);
	*from = *end == ',' ? strtoul(end + 1, &end, 10) : 0;
	if (*end != '\0' || id >= RTE_MAX_ETHPORTS || !is_ours((uint16_t)id))
		return NULL;
	return &rte_eth_devices[id];
}

typedef int (*answer_t)(struct rte_eth_dev *dev, unsigned long from, struct rte_tel_data *d);

static int
answer(const char *params, struct rte_tel_data *d, answer_t fn)
{
	struct rte_eth_dev *dev;
	unsigned long from = 0;
	int rc = -EINVAL;

	hvn_telemetry_lock();
	dev = port_of(params, &from);
	if (dev != NULL)
		rc = fn(dev, from, d);
	hvn_telemetry_unlock();
	return rc;
}

/* --- answers -------------------------------------------------------------------------------------- */

static int
list(const char *cmd, const char *params, struct rte_tel_data *d)
{
	(void)cmd, (void)params;
	rte_tel_data_start_array(d, RTE_TEL_INT_VAL);
	hvn_telemetry_lock();
	for (uint16_t i = 0; i < RTE_MAX_ETHPORTS; i++)
		if (is_ours(i))
			rte_tel_data_add_array_int(d, i);
	hvn_telemetry_unlock();
	return 0;
}

static int
port_info(struct rte_eth_dev *dev, unsigned long from, struct rte_tel_data *d)
{
	const struct hvn_port *p = hvn_port(dev);
	const struct hvn_host_caps *c = &p->known;
	char text[64];

	(void)from;
	rte_tel_data_start_dict(d);
	rte_tel_data_add_dict_string(d, "name", dev->data->name);
	hvn_fw_version(dev, text, sizeof(text));
	rte_tel_data_add_dict_string(d, "version", text);
	rte_tel_data_add_dict_string(d, "state",
				     hvn_removed(p) ? "removed"
				     : p->running   ? "running"
				     : p->opened    ? "stopped"
						    : "closed");
	rte_ether_format_addr(text, sizeof(text), &p->mac);
	rte_tel_data_add_dict_string(d, "mac", text);
	rte_tel_data_add_dict_u64(d, "mtu", c->mtu);
	rte_tel_data_add_dict_u64(d, "filter", p->filter);
	rte_tel_data_add_dict_string(d, "link", p->link_up ? "up" : "down");
	rte_tel_data_add_dict_u64(d, "link_mbps", p->link_speed);
	rte_tel_data_add_dict_u64(d, "channels", p->n_chans);
	rte_tel_data_add_dict_u64(d, "receive_slots", c->slot_count);
	rte_tel_data_add_dict_u64(d, "receive_slot_bytes", c->slot_size);
	rte_tel_data_add_dict_u64(d, "send_sections", c->section_count);
	rte_tel_data_add_dict_u64(d, "send_section_bytes", c->section_size);
	rte_tel_data_add_dict_u64(d, "reta_size", c->reta_size);
	rte_tel_data_add_dict_string(d, "rss", p->rss_on ? "on" : "off");
	rte_tel_data_add_dict_string(d, "rsc", p->rsc_on ? "on" : "off");
	rte_tel_data_add_dict_u64(d, "lso_ipv4_bytes", c->lso4_max);
	rte_tel_data_add_dict_u64(d, "lso_ipv6_bytes", c->lso6_max);
	rte_tel_data_add_dict_u64(d, "copy_bytes", hvn_copy_width);
	return 0;
}

static struct rte_tel_data *
channel(const struct rte_eth_dev *dev, uint16_t i)
{
	const struct hvn_port *p = hvn_port(dev);
	const struct hvn_chan *ch = p->chan[i];
	const struct hv_vmbus_channel *vc = ch->vc;
	struct rte_tel_data *d = rte_tel_data_alloc();
	const struct hvn_rxq *rxq = NULL;
	const struct hvn_txq *txq = NULL;

	if (d == NULL)
		return NULL;
	if (i < dev->data->nb_rx_queues)
		rxq = dev->data->rx_queues[i];
	if (i < dev->data->nb_tx_queues)
		txq = dev->data->tx_queues[i];
	rte_tel_data_start_dict(d);
	rte_tel_data_add_dict_u64(d, "sub_channel", vc->index);
	rte_tel_data_add_dict_u64(d, "relid", vc->relid);
	rte_tel_data_add_dict_u64(d, "ring_bytes", vc->ring_bytes);
	rte_tel_data_add_dict_string(d, "signals",
				     vc->monitor_trigger != NULL ? "monitor" : "system call");
	rte_tel_data_add_dict_u64(d, "doorbells", vc->doorbells);
	rte_tel_data_add_dict_u64(d, "completions_owed", ch->n_acks);
	rte_tel_data_add_dict_string(d, "rx", rxq != NULL && rxq->started ? "started" : "stopped");
	rte_tel_data_add_dict_string(d, "tx", txq != NULL && txq->started ? "started" : "stopped");
	if (rxq != NULL)
		rte_tel_data_add_dict_u64(d, "rx_polls", rxq->polls);
	if (txq != NULL) {
		rte_tel_data_add_dict_u64(d, "tx_in_flight", hvn_txd_used(txq->txd));
		rte_tel_data_add_dict_u64(d, "tx_sections_free", txq->txd->n_sect);
	}
	return d;
}

/* An answer has room for some 40 channels: the others by asking from there. */
static int
port_queues(struct rte_eth_dev *dev, unsigned long from, struct rte_tel_data *d)
{
	const struct hvn_port *p = hvn_port(dev);
	struct rte_tel_data *one;
	char name[16];

	rte_tel_data_start_dict(d);
	for (unsigned long i = from; !p->hidden && i < p->n_chans; i++) {
		one = channel(dev, (uint16_t)i);
		if (one == NULL)
			return -ENOMEM;
		snprintf(name, sizeof(name), "%lu", i);
		if (rte_tel_data_add_dict_container(d, name, one, 0) != 0)
			rte_tel_data_free(one);
	}
	return 0;
}

static int
port_path(struct rte_eth_dev *dev, unsigned long from, struct rte_tel_data *d)
{
	const struct hvn_vf *vf = hvn_port(dev)->vf;
	char name[RTE_ETH_NAME_MAX_LEN];

	(void)from;
	if (vf == NULL)
		return -ENODEV;
	rte_tel_data_start_dict(d);
	rte_tel_data_add_dict_string(d, "transmit", vf->path.tx_on ? "vf" : "synthetic");
	rte_tel_data_add_dict_string(d, "receive", vf->path.rx_on ? "both" : "synthetic");
	rte_tel_data_add_dict_string(d, "associated", vf->assoc ? "yes" : "no");
	if (vf->assoc)
		rte_tel_data_add_dict_u64(d, "serial", vf->serial);
	if (vf->port != RTE_MAX_ETHPORTS && rte_eth_dev_get_name_by_port(vf->port, name) == 0) {
		rte_tel_data_add_dict_string(d, "vf", name);
		rte_tel_data_add_dict_u64(d, "vf_port", vf->port);
	}
	rte_tel_data_add_dict_string(d, "next", hvn_path_action_name(hvn_path_next(&vf->path)));
	if (vf->refusal[0] != '\0')
		rte_tel_data_add_dict_string(d, "refusal", vf->refusal);
	rte_tel_data_add_dict_u64(d, "switches_to_vf", vf->count.to_vf);
	rte_tel_data_add_dict_u64(d, "switches_to_synthetic", vf->count.to_synthetic);
	rte_tel_data_add_dict_u64(d, "switches_planned", vf->count.planned);
	rte_tel_data_add_dict_u64(d, "switches_surprise", vf->count.surprise);
	rte_tel_data_add_dict_u64(d, "switches_failed", vf->count.failed);
	rte_tel_data_add_dict_u64(d, "switch_last_ns", vf->count.last_ns);
	rte_tel_data_add_dict_u64(d, "switch_longest_ns", vf->count.longest_ns);
	return 0;
}

/* Every extended statistic of the driver that is not 0: there are more than an answer holds. */
static int
port_stats(struct rte_eth_dev *dev, unsigned long from, struct rte_tel_data *d)
{
	int n = hvn_xstats_get(dev, NULL, 0), rc = -ENOMEM;
	struct rte_eth_xstat_name *names = calloc((size_t)n, sizeof(*names));
	struct rte_eth_xstat *values = calloc((size_t)n, sizeof(*values));

	(void)from;
	if (names != NULL && values != NULL &&
	    hvn_xstats_get_names(dev, names, (unsigned int)n) == n &&
	    hvn_xstats_get(dev, values, (unsigned int)n) == n) {
		rte_tel_data_start_dict(d);
		rc = 0;
		for (int i = 0; i < n && rc == 0; i++)
			if (values[i].value != 0)
				rc = rte_tel_data_add_dict_u64(d, names[i].name, values[i].value);
		rc = 0; /* full: what is in it is right */
	}
	free(names);
	free(values);
	return rc;
}

#define ANSWER(name)                                                                       \
	static int name##_cmd(const char *cmd, const char *params, struct rte_tel_data *d) \
	{                                                                                  \
		(void)cmd;                                                                 \
		return answer(params, d, port_##name);                                     \
	}
ANSWER(info)
ANSWER(queues)
ANSWER(path)
ANSWER(stats)

RTE_INIT(hvn_telemetry_init)
{
	rte_telemetry_register_cmd("/hvnetvsc/list", list, "Ports of net_hvnetvsc. No parameters");
	rte_telemetry_register_cmd("/hvnetvsc/info", info_cmd,
				   "What the host granted a port. Parameters: int port_id");
	rte_telemetry_register_cmd("/hvnetvsc/queues", queues_cmd,
				   "Channels of a port. Parameters: int port_id[,int from]");
	rte_telemetry_register_cmd(
		"/hvnetvsc/path", path_cmd,
		"Synthetic or VF: state, and switches so far. Parameters: int port_id");
	rte_telemetry_register_cmd("/hvnetvsc/stats", stats_cmd,
				   "Counters that are not 0. Parameters: int port_id");
}
