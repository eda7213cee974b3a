/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line behind "--". */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "testpmd_hv.h"

struct tp_options tp_opt = {
	.rxq = 1,
	.txq = 1,
	.burst = 32,
	.txpkts = 64,
	.tx_retries = 1000,
	.lsc = true,
};

static const char *const mode_names[] = {
	[TP_IO] = "io",		[TP_MAC] = "mac",	[TP_MACSWAP] = "macswap",
	[TP_RXONLY] = "rxonly", [TP_TXONLY] = "txonly",
};

enum opt_kind {
	OPT_MODE,
	OPT_U16,
	OPT_U32,
	OPT_FLAG_ON,
	OPT_FLAG_OFF,
	OPT_TEXT,
	OPT_NIC,
	OPT_HELP
};

struct opt {
	const char *name;
	const char *arg;
	enum opt_kind kind;
	void *to;
	uint32_t min, max;
	const char *help;
};

static const struct opt opts[] = {
	{ "forward-mode", "MODE", OPT_MODE, NULL, 0, 0,
	  "io, mac, macswap, rxonly or txonly (default io)" },
	{ "rxq", "N", OPT_U16, &tp_opt.rxq, 1, TP_QUEUES_MAX, "receive queues of a port" },
	{ "txq", "N", OPT_U16, &tp_opt.txq, 1, TP_QUEUES_MAX, "transmit queues of a port" },
	{ "rxd", "N", OPT_U16, &tp_opt.rxd, 1, UINT16_MAX, "receive descriptors of a queue" },
	{ "txd", "N", OPT_U16, &tp_opt.txd, 1, UINT16_MAX, "transmit descriptors of a queue" },
	{ "burst", "N", OPT_U16, &tp_opt.burst, 1, TP_BURST_MAX, "packets a burst (default 32)" },
	{ "mbufs", "N", OPT_U32, &tp_opt.mbufs, 256, 1u << 26, "buffers of all ports" },
	{ "mbuf-size", "BYTES", OPT_U16, &tp_opt.mbuf_size, 256, UINT16_MAX,
	  "data room of a buffer, headroom included" },
	{ "mtu", "BYTES", OPT_U16, &tp_opt.mtu, RTE_ETHER_MIN_MTU, UINT16_MAX - 64,
	  "MTU of a port" },
	{ "txpkts", "BYTES", OPT_U16, &tp_opt.txpkts, 60, 9216, "txonly: frame size (default 64)" },
	{ "tx-retries", "N", OPT_U32, &tp_opt.tx_retries, 0, 1u << 20,
	  "tries, 1 us apart, to send what a queue did not take,\n"
	  "before it is counted as dropped (default 1000)" },
	{ "stats-period", "S", OPT_U32, &tp_opt.stats_period, 0, 86400,
	  "print statistics every S seconds" },
	{ "duration", "S", OPT_U32, &tp_opt.duration, 0, UINT32_MAX / 2,
	  "end after S seconds (default: on a signal)" },
	{ "no-lsc-interrupt", NULL, OPT_FLAG_OFF, &tp_opt.lsc, 0, 0,
	  "do not ask for link status interrupts" },
	{ "time-bursts", NULL, OPT_FLAG_ON, &tp_opt.time_bursts, 0, 0,
	  "tell how long the longest call of a burst function took; slow" },
	{ "json", "FILE", OPT_TEXT, &tp_opt.json, 0, 0, "write the statistics there at the end" },
	{ "host-nic", "KEY=VALUE,...", OPT_NIC, NULL, 0, 0,
	  "a NIC of the embedded host, may be repeated (default port=gen);\n"
	  "hv-host --nic help lists the keys" },
	{ "interactive", NULL, OPT_FLAG_ON, &tp_opt.interactive, 0, 0,
	  "or -i: read commands; \"help\" lists them" },
	{ "help", NULL, OPT_HELP, NULL, 0, 0, "this text" },
};

#define N_OPTS RTE_DIM(opts)

const char *
options_mode_name(enum tp_mode mode)
{
	return mode_names[mode];
}

void
options_help(void)
{
	puts("usage: " TP_NAME " [EAL arguments] -- [options]\n\n"
	     "Forwards packets between pairs of ports (0-1, 2-3, ...); a port without a partner\n"
	     "forwards to itself. If neither the kernel nor HV_VMBUS_SOCKET nor --vdev or -a names "
	     "a\n"
	     "device, it starts a software Hyper-V host of its own. SIGINT and SIGTERM end it.\n");
	for (size_t i = 0; i < N_OPTS; i++) {
		const char *help = opts[i].help, *nl;

		printf("  --%s%s%-*s  ", opts[i].name, opts[i].arg ? " " : "",
		       (int)(22 - strlen(opts[i].name) - (opts[i].arg ? 1 : 0)),
		       opts[i].arg ? opts[i].arg : "");
		while ((nl = strchr(help, '\n')) != NULL) {
			printf("%.*s\n%28s", (int)(nl - help), help, "");
			help = nl + 1;
		}
		puts(help);
	}
}

static int
parse_number(const struct opt *o, const char *text)
{
	char *end;
	unsigned long v;

	errno = 0;
	v = strtoul(text, &end, 0);
	if (errno != 0 || end == text || *end != '\0' || *text == '-' || v < o->min || v > o->max) {
		fprintf(stderr, TP_NAME ": --%s takes a number from %u to %u, not \"%s\"\n",
			o->name, o->min, o->max, text);
		return -EINVAL;
	}
	if (o->kind == OPT_U16)
		*(uint16_t *)o->to = (uint16_t)v;
	else
		*(uint32_t *)o->to = (uint32_t)v;
	return 0;
}

static int
parse_mode(const char *text)
{
	for (unsigned int i = 0; i < RTE_DIM(mode_names); i++) {
		if (strcmp(mode_names[i], text) == 0) {
			tp_opt.mode = (enum tp_mode)i;
			return 0;
		}
	}
	fprintf(stderr,
		TP_NAME ": --forward-mode %s: unknown; io, mac, macswap, rxonly or txonly\n", text);
	return -EINVAL;
}

static int
apply(const struct opt *o, const char *arg)
{
	switch (o->kind) {
	case OPT_MODE:
		return parse_mode(arg);
	case OPT_U16:
	case OPT_U32:
		return parse_number(o, arg);
	case OPT_FLAG_ON:
	case OPT_FLAG_OFF:
		*(bool *)o->to = o->kind == OPT_FLAG_ON;
		return 0;
	case OPT_TEXT:
		*(const char **)o->to = arg;
		return 0;
	case OPT_NIC:
		if (tp_opt.n_host_nics == TP_HOST_NICS) {
			fprintf(stderr, TP_NAME ": at most %d --host-nic\n", TP_HOST_NICS);
			return -EINVAL;
		}
		tp_opt.host_nics[tp_opt.n_host_nics++] = arg;
		return 0;
	case OPT_HELP:
		break;
	}
	options_help();
	return 1;
}

static int
check(bool txq_given, bool rxq_given)
{
	/* One lcore must own a transmit queue: each receive queue needs one of its own. */
	if (txq_given && rxq_given && tp_opt.mode <= TP_MACSWAP && tp_opt.txq < tp_opt.rxq) {
		fprintf(stderr, TP_NAME ": --txq must not be below --rxq in this forward mode\n");
		return -EINVAL;
	}
	if (rxq_given && !txq_given)
		tp_opt.txq = tp_opt.rxq;
	if (txq_given && !rxq_given && tp_opt.mode != TP_RXONLY && tp_opt.mode != TP_TXONLY)
		tp_opt.rxq = tp_opt.txq;
	if (tp_opt.n_host_nics == 0)
		tp_opt.host_nics[tp_opt.n_host_nics++] = "port=gen";
	return 0;
}

int
options_parse(int argc, char **argv)
{
	struct option longs[N_OPTS + 1] = { 0 };
	bool txq_given = false, rxq_given = false;
	int c, at = 0, rc;

	for (unsigned int i = 0; i < N_OPTS; i++) {
		longs[i].name = opts[i].name;
		longs[i].has_arg = opts[i].arg ? required_argument : no_argument;
	}
	optind = 1;
	while ((c = getopt_long(argc, argv, "+ih", longs, &at)) != -1) {
		if (c == '?') {
			fprintf(stderr, "See " TP_NAME " --help.\n");
			return -EINVAL;
		}
		if (c == 'i') {
			tp_opt.interactive = true;
			continue;
		}
		rc = apply(c == 'h' ? &opts[N_OPTS - 1] : &opts[at], optarg);
		if (rc != 0)
			return rc;
		txq_given = txq_given || opts[at].to == &tp_opt.txq;
		rxq_given = rxq_given || opts[at].to == &tp_opt.rxq;
	}
	if (optind < argc) {
		fprintf(stderr, TP_NAME ": unexpected argument \"%s\"; see --help\n", argv[optind]);
		return -EINVAL;
	}
	return check(txq_given, rxq_given);
}
