/* SPDX-License-Identifier: BSD-3-Clause */
/* Statistics. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "hvn_ctrl.h"
#include "hvn_stats.h"
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
	RX(packets), RX(bytes),	    RX(errors),	   RX(nombuf),
	RX(dropped), RX(multicast), RX(broadcast), RX(messages),
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
static const char *const invalid_names[HVN_INV_COUNT] = {
	[HVN_INV_DESC] = "invalid_descriptor",
	[HVN_INV_PKT_TYPE] = "invalid_packet_type",
	[HVN_INV_NVSP] = "invalid_nvsp",
	[HVN_INV_XFER] = "invalid_transfer",
	[HVN_INV_RANGE] = "invalid_range",
	[HVN_INV_RNDIS] = "invalid_rndis",
	[HVN_INV_COMPLETION] = "invalid_completion",
	[HVN_INV_RSC] = "invalid_rsc",
};
#define PORT_COUNTERS (HVN_INV_COUNT + 3)
static const char *const port_names[] = { "rx_signals", "tx_signals", "ctrl_late_answers" };

static uint64_t
value(const void *now, const void *base, const struct counter *c)
{
	const uint64_t *n = (const void *)((const uint8_t *)now + c->off);
	const uint64_t *b = (const void *)((const uint8_t *)base + c->off);

	return __atomic_load_n(n, __ATOMIC_RELAXED) - *b;
}

/* --- basic ------------------------------------------------------------------------------------------- */

static void
add_rx(struct rte_eth_stats *s, const struct hvn_rxq *q, unsigned int i)
{
	const struct hvn_rx_stats *n = &q->stats, *b = &q->base;

	s->ipackets += n->packets - b->packets;
	s->ibytes += n->bytes - b->bytes;
	s->ierrors += n->errors - b->errors;
	s->imissed += n->dropped - b->dropped;
	s->rx_nombuf += n->nombuf - b->nombuf;
	if (i >= RTE_ETHDEV_QUEUE_STAT_CNTRS)
		return;
	s->q_ipackets[i] = n->packets - b->packets;
	s->q_ibytes[i] = n->bytes - b->bytes;
	s->q_errors[i] = n->errors - b->errors;
}

static void
add_tx(struct rte_eth_stats *s, const struct hvn_txq *q, unsigned int i)
{
	const struct hvn_tx_stats *n = &q->stats, *b = &q->base;

	s->opackets += n->packets - b->packets;
	s->obytes += n->bytes - b->bytes;
	s->oerrors += n->errors - b->errors;
	if (i >= RTE_ETHDEV_QUEUE_STAT_CNTRS)
		return;
	s->q_opackets[i] = n->packets - b->packets;
	s->q_obytes[i] = n->bytes - b->bytes;
}

int
hvn_stats_get(struct rte_eth_dev *dev, struct rte_eth_stats *stats)
{
	for (unsigned int i = 0; i < dev->data->nb_rx_queues; i++)
		if (dev->data->rx_queues[i] != NULL)
			add_rx(stats, dev->data->rx_queues[i], i);
	for (unsigned int i = 0; i < dev->data->nb_tx_queues; i++)
		if (dev->data->tx_queues[i] != NULL)
			add_tx(stats, dev->data->tx_queues[i], i);
	hvn_vf_stats_add(hvn_port(dev), stats);
	return 0;
}

/* Bursts keep counting: what they reached is remembered and subtracted. */
int
hvn_stats_reset(struct rte_eth_dev *dev)
{
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
	hvn_vf_stats_reset(hvn_port(dev));
	return 0;
}

int
hvn_xstats_reset(struct rte_eth_dev *dev)
{
	return hvn_stats_reset(dev);
}

/* --- extended ------------------------------------------------------------------------------------------ */

static unsigned int
xstats_count(const struct rte_eth_dev *dev)
{
	return dev->data->nb_rx_queues * RTE_DIM(rx_counters) +
	       dev->data->nb_tx_queues * RTE_DIM(tx_counters) + PORT_COUNTERS;
}

int
hvn_xstats_get_names(struct rte_eth_dev *dev, struct rte_eth_xstat_name *names, unsigned int size)
{
	unsigned int n = xstats_count(dev), at = 0;

	if (names == NULL || size < n)
		return (int)n;
	for (unsigned int q = 0; q < dev->data->nb_rx_queues; q++)
		for (unsigned int i = 0; i < RTE_DIM(rx_counters); i++)
			snprintf(names[at++].name, RTE_ETH_XSTATS_NAME_SIZE, "rx_q%u_%s", q,
				 rx_counters[i].name);
	for (unsigned int q = 0; q < dev->data->nb_tx_queues; q++)
		for (unsigned int i = 0; i < RTE_DIM(tx_counters); i++)
			snprintf(names[at++].name, RTE_ETH_XSTATS_NAME_SIZE, "tx_q%u_%s", q,
				 tx_counters[i].name);
	for (unsigned int i = 0; i < HVN_INV_COUNT; i++)
		snprintf(names[at++].name, RTE_ETH_XSTATS_NAME_SIZE, "%s", invalid_names[i]);
	for (unsigned int i = 0; i < RTE_DIM(port_names); i++)
		snprintf(names[at++].name, RTE_ETH_XSTATS_NAME_SIZE, "%s", port_names[i]);
	return (int)at;
}

static void
port_values(const struct hvn_port *p, uint64_t v[PORT_COUNTERS])
{
	memset(v, 0, PORT_COUNTERS * sizeof(v[0]));
	for (uint16_t c = 0; c < p->n_chans; c++) {
		for (unsigned int i = 0; i < HVN_INV_COUNT; i++)
			v[i] += p->chan[c]->invalid[i];
		v[HVN_INV_COUNT] += p->chan[c]->in_signals;
		v[HVN_INV_COUNT + 1] += p->chan[c]->out_signals;
	}
	v[HVN_INV_COUNT + 2] = hvn_ctrl_late(p);
}

int
hvn_xstats_get(struct rte_eth_dev *dev, struct rte_eth_xstat *xstats, unsigned int size)
{
	static const uint8_t zero[sizeof(struct hvn_rx_stats) + sizeof(struct hvn_tx_stats)];
	unsigned int n = xstats_count(dev), at = 0;
	uint64_t port[PORT_COUNTERS];

	if (xstats == NULL || size < n)
		return (int)n;
	for (unsigned int q = 0; q < dev->data->nb_rx_queues; q++) {
		const struct hvn_rxq *rxq = dev->data->rx_queues[q];

		for (unsigned int i = 0; i < RTE_DIM(rx_counters); i++)
			xstats[at++].value =
				rxq == NULL ? value(zero, zero, &rx_counters[i])
					    : value(&rxq->stats, &rxq->base, &rx_counters[i]);
	}
	for (unsigned int q = 0; q < dev->data->nb_tx_queues; q++) {
		const struct hvn_txq *txq = dev->data->tx_queues[q];

		for (unsigned int i = 0; i < RTE_DIM(tx_counters); i++)
			xstats[at++].value =
				txq == NULL ? value(zero, zero, &tx_counters[i])
					    : value(&txq->stats, &txq->base, &tx_counters[i]);
	}
	port_values(hvn_port(dev), port);
	for (unsigned int i = 0; i < PORT_COUNTERS; i++)
		xstats[at++].value = port[i];
	for (unsigned int i = 0; i < at; i++)
		xstats[i].id = i;
	return (int)at;
}

/* --- for people ------------------------------------------------------------------------------------------ */

int
hvn_fw_version(struct rte_eth_dev *dev, char *text, size_t size)
{
	const struct hvn_port *p = hvn_port(dev);
	uint32_t v = p->caps.nvsp_version;
	char nvsp[16];
	int n;

	/* Up to version 2 the numbers say nothing: 0x2 and 0x30002. */
	if (v <= NVSP_VERSION_2)
		snprintf(nvsp, sizeof(nvsp), "%u", v == NVSP_VERSION_1 ? 1 : 2);
	else if ((v & 0xFFFF) != 0)
		snprintf(nvsp, sizeof(nvsp), "%u.%u", v >> 16, v & 0xFFFF);
	else
		snprintf(nvsp, sizeof(nvsp), "%u", v >> 16);
	n = snprintf(text, size, "NVSP %s NDIS %u.%u", nvsp, p->caps.ndis_major,
		     p->caps.ndis_minor);
	if (n < 0)
		return -EINVAL;
	return (size_t)n + 1 > size ? n + 1 : 0;
}

static void
dump_chan(const struct hvn_chan *ch, FILE *f)
{
	const struct hv_vmbus_channel *vc = ch->vc;

	fprintf(f,
		"  channel %u: sub-channel %u, relid %u, ring %u bytes, monitor %d, doorbells "
		"%" PRIu64 "\n",
		ch->index, vc->index, vc->relid, vc->ring_bytes,
		vc->monitor_id == VMBUS_MONITOR_ID_NONE ? -1 : vc->monitor_id, vc->doorbells);
	fprintf(f, "    rx index %u of %u, scanned %u, tx index %u, acknowledgements pending %u\n",
		vc->rx.index, vc->rx.size, ch->scanned, vc->tx.index, ch->n_acks);
	for (unsigned int i = 0; i < HVN_INV_COUNT; i++)
		if (ch->invalid[i] != 0)
			fprintf(f, "    %s %" PRIu64 "\n", invalid_names[i], ch->invalid[i]);
	for (unsigned int i = 0; i < RNDIS_PARSE_ERRORS; i++)
		if (ch->parse_errors[i] != 0)
			fprintf(f, "    RNDIS: %s %" PRIu64 "\n", rndis_parse_strerror(i),
				ch->parse_errors[i]);
}

int
hvn_priv_dump(struct rte_eth_dev *dev, FILE *f)
{
	const struct hvn_port *p = hvn_port(dev);
	const struct hvn_host_caps *c = &p->caps;
	char version[64];

	hvn_fw_version(dev, version, sizeof(version));
	fprintf(f, "hvnetvsc port %u: %s, %s%s%s\n", p->port_id, version,
		p->opened ? "open" : "closed", p->running ? ", running" : "",
		hvn_removed(p) ? ", removed" : "");
	fprintf(f, "  MTU %u, filter 0x%x, link %s %u Mb/s\n", c->mtu, p->filter,
		p->link_up ? "up" : "down", p->link_speed);
	fprintf(f, "  receive buffer %" PRIu64 " bytes: %u slots of %u\n", p->recv_len,
		c->slot_count, c->slot_size);
	fprintf(f, "  send buffer %" PRIu64 " bytes: %u sections of %u\n", p->send_len,
		c->section_count, c->section_size);
	fprintf(f, "  %u RNDIS messages and %u bytes in a transfer, aligned to %u\n",
		c->max_packets, c->max_transfer, c->align);
	fprintf(f, "  RSS: %u queues, RETA %u, capabilities 0x%x, %s\n", c->rx_queues, c->reta_size,
		c->rss_caps, p->rss_on ? "on" : "off");
	fprintf(f, "  LSO: IPv4 %u bytes, IPv6 %u bytes\n", c->lso4_max, c->lso6_max);
	for (uint16_t i = 0; i < p->n_chans; i++)
		dump_chan(p->chan[i], f);
	return 0;
}
