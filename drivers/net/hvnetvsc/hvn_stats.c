/* SPDX-License-Identifier: BSD-3-Clause */
/* Statistics. */
#include <errno.h>
#include <string.h>

#include "hvn_ctrl.h"
#include "hvn_stats.h"
#include "hvn_telemetry.h"
#include "hvn_vf.h"

struct counter {
	const char *name;
	size_t off;
};

/* Of each receive and transmit queue: rx_q0_<name>, tx_q0_<name>. */
#define RX(field)                                            \
	{                                                    \
#field, offsetof(struct hvn_rx_stats, field) \
	}
static const struct counter rx_counters[] = {
	RX(packets),   RX(bytes),     RX(errors),   RX(nombuf),	  RX(dropped),
	RX(multicast), RX(broadcast), RX(messages), RX(external),
};
#define TX(field)                                            \
	{                                                    \
#field, offsetof(struct hvn_tx_stats, field) \
	}
static const struct counter tx_counters[] = {
	TX(packets),  TX(bytes),  TX(errors), TX(ring_full),   TX(section_full), TX(desc_full),
	TX(messages), TX(copied), TX(direct), TX(completions), TX(failed),
};

/* Of the port, summed over its channels: what the host sent and was refused, by reason. */
const char *const hvn_invalid_names[HVN_INV_COUNT] = {
	[HVN_INV_DESC] = "invalid_descriptor",
	[HVN_INV_PKT_TYPE] = "invalid_packet_type",
	[HVN_INV_NVSP] = "invalid_nvsp",
	[HVN_INV_XFER] = "invalid_transfer",
	[HVN_INV_RANGE] = "invalid_range",
	[HVN_INV_RNDIS] = "invalid_rndis",
	[HVN_INV_COMPLETION] = "invalid_completion",
	[HVN_INV_RSC] = "invalid_rsc",
};
/* ... and what else is counted for the whole port: index behind those of hvn_invalid_names[]. */
enum port_counter {
	PORT_RX_SIGNALS = HVN_INV_COUNT,
	PORT_TX_SIGNALS,
	PORT_RX_UNTAKEN,
	PORT_OF_CHANNELS, /* up to here: summed over the channels */
	PORT_LATE = PORT_OF_CHANNELS,
	PORT_RECOVERIES,
	PORT_TO_VF,
	PORT_TO_SYNTHETIC,
	PORT_PLANNED,
	PORT_SURPRISE,
	PORT_FAILED,
	PORT_COUNTED, /* up to here: subtracted since the last reset */
	PORT_VF_RX_PACKETS = PORT_COUNTED,
	PORT_VF_RX_BYTES,
	PORT_VF_RX_MISSED,
	PORT_VF_RX_NOMBUF,
	PORT_VF_RX_ERRORS,
	PORT_VF_TX_PACKETS,
	PORT_VF_TX_BYTES,
	PORT_VF_TX_ERRORS,
	PORT_PATH_VF,
	PORT_LAST_NS,
	PORT_LONGEST_NS,
	PORT_COUNTERS
};
static_assert(PORT_COUNTED <= HVN_PORT_COUNTERS, "hvn_port.counted_past");

static const char *const port_names[PORT_COUNTERS] = {
	[PORT_RX_SIGNALS] = "rx_signals",
	[PORT_TX_SIGNALS] = "tx_signals",
	[PORT_RX_UNTAKEN] = "rx_untaken_packets",
	[PORT_LATE] = "ctrl_late_answers",
	[PORT_RECOVERIES] = "recoveries",
	[PORT_TO_VF] = "path_switches_to_vf",
	[PORT_TO_SYNTHETIC] = "path_switches_to_synthetic",
	[PORT_PLANNED] = "path_switches_planned",
	[PORT_SURPRISE] = "path_switches_surprise",
	[PORT_FAILED] = "path_switches_failed",
	[PORT_VF_RX_PACKETS] = "vf_rx_packets",
	[PORT_VF_RX_BYTES] = "vf_rx_bytes",
	[PORT_VF_RX_MISSED] = "vf_rx_missed",
	[PORT_VF_RX_NOMBUF] = "vf_rx_nombuf",
	[PORT_VF_RX_ERRORS] = "vf_rx_errors",
	[PORT_VF_TX_PACKETS] = "vf_tx_packets",
	[PORT_VF_TX_BYTES] = "vf_tx_bytes",
	[PORT_VF_TX_ERRORS] = "vf_tx_errors",
	[PORT_PATH_VF] = "path_is_vf",
	[PORT_LAST_NS] = "path_switch_last_ns",
	[PORT_LONGEST_NS] = "path_switch_longest_ns",
};

static const char *
port_name(unsigned int i)
{
	return i < HVN_INV_COUNT ? hvn_invalid_names[i] : port_names[i];
}

static uint64_t
value(const void *stats, const struct counter *c)
{
	return *(const uint64_t *)(const void *)((const uint8_t *)stats + c->off);
}

/* --- of a queue ----------------------------------------------------------------------------------- */

static struct hvn_rx_stats
rx_stats(const struct rte_eth_dev *dev, unsigned int i)
{
	const struct hvn_rxq *q = i < dev->data->nb_rx_queues ? dev->data->rx_queues[i] : NULL;
	struct hvn_rx_stats s = hvn_port(dev)->rx_past[i];

	if (q != NULL)
		hvn_stats_add(&s, &q->stats, &q->base, sizeof(s));
	return s;
}

/* A queue that was released while the host held its packets. The primary frees it, when it likes. */
static struct hvn_txq *
released_txq(const struct rte_eth_dev *dev, unsigned int i)
{
	struct hvn_txq *q = hvn_port(dev)->txq[i];

	return rte_eal_process_type() == RTE_PROC_PRIMARY && q != NULL && q->released ? q : NULL;
}

static struct hvn_tx_stats
tx_stats(const struct rte_eth_dev *dev, unsigned int i)
{
	const struct hvn_txq *q = i < dev->data->nb_tx_queues ? dev->data->tx_queues[i] : NULL;
	const struct hvn_txq *gone = released_txq(dev, i);
	struct hvn_tx_stats s = hvn_port(dev)->tx_past[i];

	if (q != NULL)
		hvn_stats_add(&s, &q->stats, &q->base, sizeof(s));
	/* What the host still had of its predecessor is completed now. */
	if (gone != NULL)
		hvn_stats_add(&s, &gone->stats, &gone->base, sizeof(s));
	return s;
}

/* --- of the port ---------------------------------------------------------------------------------- */

static void
add_channel(uint64_t v[PORT_OF_CHANNELS], const struct hvn_chan *ch)
{
	for (unsigned int i = 0; i < HVN_INV_COUNT; i++)
		v[i] += ch->invalid[i];
	v[PORT_RX_SIGNALS] += ch->in_signals;
	v[PORT_TX_SIGNALS] += ch->out_signals;
	v[PORT_RX_UNTAKEN] += ch->dropped;
}

void
hvn_stats_channel_gone(struct hvn_port *p, const struct hvn_chan *ch)
{
	add_channel(p->counted_past, ch);
}

static void
channel_values(const struct hvn_port *p, uint64_t v[PORT_OF_CHANNELS])
{
	memcpy(v, p->counted_past, PORT_OF_CHANNELS * sizeof(v[0]));
	for (uint16_t c = 0; !p->hidden && c < p->n_chans; c++)
		add_channel(v, p->chan[c]);
}

static void
path_values(const struct hvn_vf *vf, uint64_t v[PORT_COUNTERS])
{
	const struct hvn_vf_counters *c = &vf->count;
	struct rte_eth_stats s = { 0 };

	v[PORT_TO_VF] = c->to_vf;
	v[PORT_TO_SYNTHETIC] = c->to_synthetic;
	v[PORT_PLANNED] = c->planned;
	v[PORT_SURPRISE] = c->surprise;
	v[PORT_FAILED] = c->failed;
	v[PORT_PATH_VF] = vf->path.tx_on;
	v[PORT_LAST_NS] = c->last_ns;
	v[PORT_LONGEST_NS] = c->longest_ns;
	hvn_vf_stats_add(vf->p, &s);
	v[PORT_VF_RX_PACKETS] = s.ipackets;
	v[PORT_VF_RX_BYTES] = s.ibytes;
	v[PORT_VF_RX_MISSED] = s.imissed;
	v[PORT_VF_RX_NOMBUF] = s.rx_nombuf;
	v[PORT_VF_RX_ERRORS] = s.ierrors;
	v[PORT_VF_TX_PACKETS] = s.opackets;
	v[PORT_VF_TX_BYTES] = s.obytes;
	v[PORT_VF_TX_ERRORS] = s.oerrors;
}

static void
port_values(const struct hvn_port *p, uint64_t v[PORT_COUNTERS])
{
	memset(v, 0, PORT_COUNTERS * sizeof(v[0]));
	channel_values(p, v);
	v[PORT_LATE] = hvn_ctrl_late(p);
	v[PORT_RECOVERIES] = p->recoveries;
	if (p->vf != NULL)
		path_values(p->vf, v);
	for (unsigned int i = 0; i < PORT_COUNTED; i++)
		v[i] -= p->counted_base[i];
}

static void
port_reset(struct hvn_port *p)
{
	uint64_t v[PORT_COUNTERS];

	port_values(p, v);
	for (unsigned int i = 0; i < PORT_COUNTED; i++)
		p->counted_base[i] += v[i];
	if (p->vf != NULL)
		p->vf->count.last_ns = p->vf->count.longest_ns = 0;
}

/* --- basic ------------------------------------------------------------------------------------------- */

static void
add_rx(struct rte_eth_stats *s, const struct rte_eth_dev *dev, unsigned int i)
{
	const struct hvn_rx_stats n = rx_stats(dev, i);

	s->ipackets += n.packets;
	s->ibytes += n.bytes;
	s->ierrors += n.errors;
	s->imissed += n.dropped;
	s->rx_nombuf += n.nombuf;
	if (i >= RTE_ETHDEV_QUEUE_STAT_CNTRS)
		return;
	s->q_ipackets[i] = n.packets;
	s->q_ibytes[i] = n.bytes;
	s->q_errors[i] = n.errors;
}

static void
add_tx(struct rte_eth_stats *s, const struct rte_eth_dev *dev, unsigned int i)
{
	const struct hvn_tx_stats n = tx_stats(dev, i);

	s->opackets += n.packets;
	s->obytes += n.bytes;
	/* A message that the host did not send counts once, however many packets it carried. */
	s->oerrors += n.errors + n.failed;
	if (i >= RTE_ETHDEV_QUEUE_STAT_CNTRS)
		return;
	s->q_opackets[i] = n.packets;
	s->q_obytes[i] = n.bytes;
}

/* ethdev calls from its telemetry thread too, while another configures the port or closes it. */
static bool
lock_port(const struct rte_eth_dev *dev)
{
	hvn_telemetry_lock();
	/* Behind a close ethdev takes the data away too. */
	if (dev->data != NULL && hvn_port(dev) != NULL && !hvn_port(dev)->closed)
		return true;
	hvn_telemetry_unlock();
	return false;
}

int
hvn_stats_get(struct rte_eth_dev *dev, struct rte_eth_stats *stats)
{
	uint64_t port[PORT_OF_CHANNELS];

	if (!lock_port(dev))
		return -ENODEV;
	/* Also of numbers that no queue has at present. */
	for (unsigned int i = 0; i < HVN_QUEUES_MAX; i++) {
		add_rx(stats, dev, i);
		add_tx(stats, dev, i);
	}
	channel_values(hvn_port(dev), port);
	/* Frames for which there was no queue at all. */
	stats->imissed += port[PORT_RX_UNTAKEN] - hvn_port(dev)->counted_base[PORT_RX_UNTAKEN];
	hvn_vf_stats_add(hvn_port(dev), stats);
	hvn_telemetry_unlock();
	return 0;
}

/* Bursts keep counting: what they reached is remembered and subtracted. */
int
hvn_stats_reset(struct rte_eth_dev *dev)
{
	if (!lock_port(dev))
		return -ENODEV;
	for (unsigned int i = 0; i < dev->data->nb_rx_queues; i++) {
		struct hvn_rxq *q = dev->data->rx_queues[i];

		if (q != NULL)
			q->base = q->stats;
	}
	for (unsigned int i = 0; i < dev->data->nb_tx_queues; i++) {
		struct hvn_txq *q = dev->data->tx_queues[i];

		if (q != NULL)
			q->base = q->stats;
	}
	for (unsigned int i = 0; i < HVN_QUEUES_MAX; i++) {
		struct hvn_txq *q = released_txq(dev, i);

		if (q != NULL)
			q->base = q->stats;
	}
	memset(hvn_port(dev)->rx_past, 0, sizeof(hvn_port(dev)->rx_past));
	memset(hvn_port(dev)->tx_past, 0, sizeof(hvn_port(dev)->tx_past));
	port_reset(hvn_port(dev));
	hvn_vf_stats_reset(hvn_port(dev));
	hvn_telemetry_unlock();
	return 0;
}

int
hvn_xstats_reset(struct rte_eth_dev *dev)
{
	return hvn_stats_reset(dev);
}

/* --- extended ------------------------------------------------------------------------------------------ */

struct queues {
	uint16_t rx, tx;
};

/* Read once: ethdev changes them whoever asks. */
static struct queues
queues_now(const struct rte_eth_dev *dev)
{
	return (struct queues){ __atomic_load_n(&dev->data->nb_rx_queues, __ATOMIC_RELAXED),
				__atomic_load_n(&dev->data->nb_tx_queues, __ATOMIC_RELAXED) };
}

static unsigned int
xstats_count(struct queues n)
{
	return n.rx * RTE_DIM(rx_counters) + n.tx * RTE_DIM(tx_counters) + PORT_COUNTERS;
}

int
hvn_xstats_get_names(struct rte_eth_dev *dev, struct rte_eth_xstat_name *names, unsigned int size)
{
	const struct queues queues = queues_now(dev);
	unsigned int n = xstats_count(queues), at = 0;

	if (names == NULL || size < n)
		return (int)n;
	for (unsigned int q = 0; q < queues.rx; q++)
		for (unsigned int i = 0; i < RTE_DIM(rx_counters); i++)
			snprintf(names[at++].name, RTE_ETH_XSTATS_NAME_SIZE, "rx_q%u_%s", q,
				 rx_counters[i].name);
	for (unsigned int q = 0; q < queues.tx; q++)
		for (unsigned int i = 0; i < RTE_DIM(tx_counters); i++)
			snprintf(names[at++].name, RTE_ETH_XSTATS_NAME_SIZE, "tx_q%u_%s", q,
				 tx_counters[i].name);
	for (unsigned int i = 0; i < PORT_COUNTERS; i++)
		snprintf(names[at++].name, RTE_ETH_XSTATS_NAME_SIZE, "%s", port_name(i));
	return (int)at;
}

int
hvn_xstats_get(struct rte_eth_dev *dev, struct rte_eth_xstat *xstats, unsigned int size)
{
	const struct queues queues = queues_now(dev);
	unsigned int n = xstats_count(queues), at = 0;
	uint64_t port[PORT_COUNTERS];

	if (xstats == NULL || size < n)
		return (int)n;
	if (!lock_port(dev))
		return -ENODEV;
	for (unsigned int q = 0; q < queues.rx; q++) {
		const struct hvn_rx_stats rx = rx_stats(dev, q);

		for (unsigned int i = 0; i < RTE_DIM(rx_counters); i++)
			xstats[at++].value = value(&rx, &rx_counters[i]);
	}
	for (unsigned int q = 0; q < queues.tx; q++) {
		const struct hvn_tx_stats tx = tx_stats(dev, q);

		for (unsigned int i = 0; i < RTE_DIM(tx_counters); i++)
			xstats[at++].value = value(&tx, &tx_counters[i]);
	}
	port_values(hvn_port(dev), port);
	hvn_telemetry_unlock();
	for (unsigned int i = 0; i < PORT_COUNTERS; i++)
		xstats[at++].value = port[i];
	for (unsigned int i = 0; i < at; i++)
		xstats[i].id = i;
	return (int)at;
}
