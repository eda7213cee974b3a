/* SPDX-License-Identifier: BSD-3-Clause */
/* A port as text, for people. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "hvn_stats.h"
#include "hvn_telemetry.h"

int
hvn_fw_version(struct rte_eth_dev *dev, char *text, size_t size)
{
	const struct hvn_port *p = hvn_port(dev);
	uint32_t v = p->known.nvsp_version;
	char nvsp[16];
	int n;

	/* Up to version 2 the numbers say nothing: 0x2 and 0x30002. */
	if (v <= NVSP_VERSION_2)
		snprintf(nvsp, sizeof(nvsp), "%u", v == NVSP_VERSION_1 ? 1 : 2);
	else if ((v & 0xFFFF) != 0)
		snprintf(nvsp, sizeof(nvsp), "%u.%u", v >> 16, v & 0xFFFF);
	else
		snprintf(nvsp, sizeof(nvsp), "%u", v >> 16);
	n = snprintf(text, size, "NVSP %s NDIS %u.%u", nvsp, p->known.ndis_major,
		     p->known.ndis_minor);
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
			fprintf(f, "    %s %" PRIu64 "\n", hvn_invalid_names[i], ch->invalid[i]);
	for (unsigned int i = 0; i < RNDIS_PARSE_ERRORS; i++)
		if (ch->parse_errors[i] != 0)
			fprintf(f, "    RNDIS: %s %" PRIu64 "\n", rndis_parse_strerror(i),
				ch->parse_errors[i]);
}

static void
dump_port(struct rte_eth_dev *dev, FILE *f)
{
	const struct hvn_port *p = hvn_port(dev);
	const struct hvn_host_caps *c = &p->known;
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
	for (uint16_t i = 0; !p->hidden && i < p->n_chans; i++)
		dump_chan(p->chan[i], f);
}

int
hvn_priv_dump(struct rte_eth_dev *dev, FILE *f)
{
	char *text = NULL;
	size_t len = 0;
	FILE *m = open_memstream(&text, &len);
	int rc;

	if (m == NULL)
		return -errno;
	/* A port that closes waits for the lock; it shall not wait for who reads the file. */
	hvn_telemetry_lock();
	dump_port(dev, m);
	hvn_telemetry_unlock();
	rc = fclose(m) != 0 ? -errno : 0;
	if (rc == 0 && fwrite(text, 1, len, f) != len)
		rc = -EIO;
	free(text);
	return rc;
}
