/* SPDX-License-Identifier: BSD-3-Clause */
/* What is shown of the counters: a table for people, JSON for programs. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <rte_cycles.h>

#include "burst_time.h"
#include "testpmd_hv.h"

struct figures {
	uint64_t offered; /* received, or lost before we could receive it */
	uint64_t received, forwarded, dropped;
	uint64_t missed; /* by the device: no room, no buffer, errors */
	double pps;	 /* forwarded (rxonly: received), mean over the run */
	double cycles;	 /* per packet, of bursts that found packets */
	struct tp_counters c;
	struct rte_eth_stats dev;
};

void
stats_port_refresh(struct tp_port *port)
{
	struct rte_eth_stats now;

	if (port->state != TP_PORT_CLOSED && rte_eth_stats_get(port->id, &now) == 0)
		port->last = now;
}

static void
derive(struct figures *f)
{
	double s = forward_seconds();

	f->received = f->c.rx;
	f->forwarded = f->c.tx;
	f->dropped = f->c.dropped;
	f->missed = f->dev.imissed + f->dev.ierrors + f->dev.rx_nombuf;
	/* txonly makes its packets: what the device missed was nobody's offer to us. */
	f->offered = f->received + (tp_opt.mode == TP_TXONLY ? 0 : f->missed);
	f->pps = s > 0 ? (double)(tp_opt.mode == TP_RXONLY ? f->received : f->forwarded) / s : 0;
	f->cycles = f->received ? (double)f->c.cycles / (double)f->received : 0;
}

static void
figures_of(const struct tp_port *port, struct figures *f)
{
	memset(f, 0, sizeof(*f));
	forward_counters(port->id, &f->c);
	f->dev = port->last;
	derive(f);
}

static void
add(struct figures *sum, const struct figures *f)
{
	sum->c.rx += f->c.rx;
	sum->c.tx += f->c.tx;
	sum->c.dropped += f->c.dropped;
	sum->c.retries += f->c.retries;
	sum->c.polls += f->c.polls;
	sum->c.bursts += f->c.bursts;
	sum->c.cycles += f->c.cycles;
	sum->dev.imissed += f->dev.imissed;
	sum->dev.ierrors += f->dev.ierrors;
	sum->dev.rx_nombuf += f->dev.rx_nombuf;
	sum->dev.oerrors += f->dev.oerrors;
	sum->dev.ibytes += f->dev.ibytes;
	sum->dev.obytes += f->dev.obytes;
}

static void
print_row(FILE *out, const char *name, const struct figures *f)
{
	fprintf(out,
		"%-6s %14" PRIu64 " %14" PRIu64 " %14" PRIu64 " %12" PRIu64 " %12.0f %8.1f %8.1f\n",
		name, f->offered, f->received, f->forwarded, f->dropped, f->pps, f->cycles,
		f->c.bursts ? (double)f->received / (double)f->c.bursts : 0);
}

void
stats_print(FILE *out)
{
	struct figures sum = { 0 };

	fprintf(out, "\n%s, %.1f s forwarding\n", options_mode_name(tp_opt.mode),
		forward_seconds());
	fprintf(out, "%-6s %14s %14s %14s %12s %12s %8s %8s\n", "port", "offered", "received",
		"forwarded", "dropped", "pps", "cyc/pkt", "pkt/burst");
	for (unsigned int i = 0; i < tp_n_ports; i++) {
		struct tp_port *port = &tp_ports[i];
		struct figures f;
		char name[16];

		stats_port_refresh(port);
		figures_of(port, &f);
		add(&sum, &f);
		snprintf(name, sizeof(name), "%u%s", port->id, port->removed ? " gone" : "");
		print_row(out, name, &f);
	}
	derive(&sum);
	print_row(out, "all", &sum);
	if (tp_opt.time_bursts) {
		struct tp_burst_time t = forward_burst_time();

		fprintf(out,
			"longest burst: %.1f us; of those that were not interrupted: %.1f us\n",
			burst_time_us(t.longest), burst_time_us(t.longest_alone));
	}
	fflush(out);
}

void
stats_print_port(FILE *out, const struct tp_port *port)
{
	const struct rte_eth_stats *d = &port->last;
	struct figures f;

	figures_of(port, &f);
	fprintf(out,
		"Port %u (%s)\n"
		"  RX-packets: %-12" PRIu64 " RX-missed: %-10" PRIu64 " RX-bytes: %" PRIu64 "\n"
		"  RX-errors:  %-12" PRIu64 " RX-nombuf: %" PRIu64 "\n"
		"  TX-packets: %-12" PRIu64 " TX-errors: %-10" PRIu64 " TX-bytes: %" PRIu64 "\n"
		"  received %" PRIu64 ", forwarded %" PRIu64 ", dropped %" PRIu64
		", retries %" PRIu64 ", %.1f cycles a packet\n",
		port->id, port->name, d->ipackets, d->imissed, d->ibytes, d->ierrors, d->rx_nombuf,
		d->opackets, d->oerrors, d->obytes, f.received, f.forwarded, f.dropped, f.c.retries,
		f.cycles);
}

static void
json_figures(FILE *out, const struct figures *f)
{
	fprintf(out,
		"\"offered\": %" PRIu64 ", \"received\": %" PRIu64 ", \"forwarded\": %" PRIu64
		", \"dropped\": %" PRIu64 ", \"missed\": %" PRIu64 ", \"retries\": %" PRIu64
		", \"polls\": %" PRIu64 ", \"bursts\": %" PRIu64
		", \"pps\": %.1f, \"cycles_per_packet\": %.2f, \"tx_errors\": %" PRIu64
		", \"rx_bytes\": %" PRIu64 ", \"tx_bytes\": %" PRIu64,
		f->offered, f->received, f->forwarded, f->dropped, f->missed, f->c.retries,
		f->c.polls, f->c.bursts, f->pps, f->cycles, f->dev.oerrors, f->dev.ibytes,
		f->dev.obytes);
}

int
stats_write_json(const char *path)
{
	struct figures sum = { 0 };
	FILE *out = fopen(path, "w");
	int rc;

	if (out == NULL) {
		rc = -errno;
		fprintf(stderr, TP_NAME ": --json %s: %s\n", path, strerror(errno));
		return rc;
	}
	fprintf(out, "{\n  \"mode\": \"%s\", \"seconds\": %.3f, \"tsc_hz\": %" PRIu64 ",\n",
		options_mode_name(tp_opt.mode), forward_seconds(), rte_get_tsc_hz());
	fprintf(out, "  \"ports\": [");
	for (unsigned int i = 0; i < tp_n_ports; i++) {
		struct figures f;

		figures_of(&tp_ports[i], &f);
		add(&sum, &f);
		/* Device names are GUIDs, PCI addresses or vdev names: nothing to escape. */
		fprintf(out, "%s\n    {\"port\": %u, \"name\": \"%s\", \"removed\": %s, ",
			i ? "," : "", tp_ports[i].id, tp_ports[i].name,
			tp_ports[i].removed ? "true" : "false");
		json_figures(out, &f);
		fputc('}', out);
	}
	derive(&sum);
	fprintf(out, "\n  ],\n  \"total\": {");
	json_figures(out, &sum);
	if (tp_opt.time_bursts) {
		struct tp_burst_time t = forward_burst_time();

		fprintf(out,
			", \"longest_burst_us\": %.1f, \"longest_burst_not_interrupted_us\": %.1f",
			burst_time_us(t.longest), burst_time_us(t.longest_alone));
	}
	fprintf(out, "}\n}\n");
	rc = ferror(out) ? -EIO : 0;
	if (fclose(out) != 0 || rc != 0) {
		fprintf(stderr, TP_NAME ": --json %s: could not be written\n", path);
		return -EIO;
	}
	return 0;
}
