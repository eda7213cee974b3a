/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line: one table holds each option, its argument, its reader and its help text. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"
#include "options.h"
#include "vmbus/msg_name.h"

struct host_options host_opt = {
	.name = "hv-host",
	.strict = true,
	.signal_grace_ms = 5000,
	.cpu = -1,
	.numa = -1,
	.vmbus_max = VMBUS_VERSION_5_3,
	.vmbus_min = VMBUS_VERSION_2_4,
	.msg_conn_id = VMBUS_CONN_ID_LEGACY,
	.monitor = true,
	.dedicated = true,
	.signal_fd = true,
	.event_fd = true,
	.sub_limit = VMBUS_RELID_MAX,
	.gpadl_limit = 1280ull << 20, /* Windows Server 2019: Linux Documentation/virt/hyperv */
};

enum opt_kind {
	OPT_HEADING, /* only a line of help */
	OPT_STRING,
	OPT_UINT,
	OPT_MIB,
	OPT_INT,
	OPT_SET,   /* flag: true */
	OPT_CLEAR, /* flag: false */
	OPT_VERSION,
	OPT_WAIT,
	OPT_ORDER,
	OPT_NIC,
	OPT_LOSE,
};

struct opt {
	const char *name;
	const char *arg;
	enum opt_kind kind;
	void *to;
	uint64_t max;
	const char *help;
};

static const struct opt opts[] = {
	{ NULL, NULL, OPT_HEADING, NULL, 0, "What to serve" },
	{ "socket", "PATH", OPT_STRING, &host_opt.socket, 0,
	  "listen for guests on this Unix socket (required)" },
	{ "nic", "KEY=VALUE,...", OPT_NIC, NULL, 0,
	  "add a NIC; may be repeated; --nic help lists the keys" },
	{ "nics-per-guest", "N", OPT_UINT, &host_opt.nics_per_guest, HOST_NICS_MAX,
	  "give each guest the next N free NICs (default 0: all that are free)" },
	{ "control", "PATH", OPT_STRING, &host_opt.control, 0,
	  "control socket for hv-hostctl (default: <socket>.ctl)" },
	{ "name", "TEXT", OPT_STRING, &host_opt.name, 0, "name told to guests" },
	{ NULL, NULL, OPT_HEADING, NULL, 0, "How to run" },
	{ "wait", "poll|event", OPT_WAIT, &host_opt.wait_event, 0,
	  "poll: busy loop, guests need not signal (default); event: sleep until signalled" },
	{ "signal-grace", "MS", OPT_UINT, &host_opt.signal_grace_ms, 600000,
	  "event: wait so long for a signal that is owed (default 5000; 0 = for ever)" },
	{ "cpu", "N", OPT_INT, &host_opt.cpu, 1023, "run on this CPU only" },
	{ "numa", "N", OPT_INT, &host_opt.numa, 1023, "run on and allocate from this NUMA node" },
	{ "no-strict", NULL, OPT_CLEAR, &host_opt.strict, 0,
	  "report broken rules, but do not exit with status 3 for them" },
	{ "verbose", NULL, OPT_SET, &host_opt.verbose, 0, "log what happens, not only errors" },
	{ "trace", "FILE", OPT_STRING, &host_opt.trace, 0,
	  "record every message, one line each: time direction layer name ch len : bytes" },
	{ "json", "FILE", OPT_STRING, &host_opt.json, 0, "write the statistics at the end" },
	{ NULL, NULL, OPT_HEADING, NULL, 0, "How the bus behaves" },
	{ "vmbus-max", "M.N", OPT_VERSION, &host_opt.vmbus_max, 0,
	  "newest protocol version accepted (default 5.3)" },
	{ "vmbus-min", "M.N", OPT_VERSION, &host_opt.vmbus_min, 0,
	  "oldest protocol version accepted (default 2.4)" },
	{ "message-conn-id", "N", OPT_UINT, &host_opt.msg_conn_id, 0xFFFFFF,
	  "connection id answered to guests of 5.0 and later (default 1)" },
	{ "no-monitor", NULL, OPT_CLEAR, &host_opt.monitor, 0,
	  "offer channels without a monitor id: guests signal by hypercall or eventfd" },
	{ "no-dedicated", NULL, OPT_CLEAR, &host_opt.dedicated, 0,
	  "offer channels without a dedicated interrupt" },
	{ "no-signal-fd", NULL, OPT_CLEAR, &host_opt.signal_fd, 0,
	  "take guests' signals as messages, never by eventfd" },
	{ "no-event-fd", NULL, OPT_CLEAR, &host_opt.event_fd, 0,
	  "interrupt guests by messages, never by eventfd" },
	{ "mmio", "MB", OPT_UINT, &host_opt.mmio_mb, 0xFFFF, "MMIO size named in offers" },
	{ "gpadl-limit", "MB", OPT_MIB, &host_opt.gpadl_limit, 1u << 20,
	  "shared memory per guest (default 1280)" },
	{ "sub-delay", "MS", OPT_UINT, &host_opt.sub_delay_ms, 600000,
	  "wait before each sub-channel offer" },
	{ "sub-order", "forward|reverse|random", OPT_ORDER, &host_opt.sub_order, 0,
	  "order of sub-channel offers" },
	{ "serve-order", "forward|reverse|random", OPT_ORDER, &host_opt.serve_order, 0,
	  "order in which a guest's channels are read and answered" },
	{ "seed", "N", OPT_UINT, &host_opt.seed, 0xFFFFFFFF,
	  "of all that happens by chance (default: of the clock)" },
	{ "sub-limit", "N", OPT_UINT, &host_opt.sub_limit, VMBUS_RELID_MAX,
	  "offer at most N sub-channels of a device, whatever was granted" },
	{ "open-status", "N", OPT_UINT, &host_opt.open_status, 0xFFFFFFFF,
	  "refuse every OPENCHANNEL with this status" },
	{ "unload-delay", "MS", OPT_UINT, &host_opt.unload_delay_ms, 600000, "answer UNLOAD late" },
	{ "reply-delay", "MS", OPT_UINT, &host_opt.reply_delay_ms, 600000,
	  "send every control message late" },
	{ "lose", "NAME[:N]", OPT_LOSE, NULL, 0,
	  "lose the first N (default 1) control messages of a type, e.g. GPADL_CREATED:2" },
	{ NULL, NULL, OPT_HEADING, NULL, 0, "Other" },
	{ "help", NULL, OPT_HEADING, NULL, 0, "this text" },
};

#define N_OPTS (sizeof(opts) / sizeof(opts[0]))

static void
help(void)
{
	puts("Usage: hv-host --socket PATH --nic KEY=VALUE,... [options] [-- DPDK options]\n\n"
	     "A Hyper-V network host in a process: guests connect to a Unix socket, share their\n"
	     "memory and find VMBus with synthetic NICs.");
	for (size_t i = 0; i < N_OPTS; i++) {
		char left[64];

		if (opts[i].name == NULL) {
			printf("\n%s:\n", opts[i].help);
			continue;
		}
		snprintf(left, sizeof(left), "--%s%s%s", opts[i].name, opts[i].arg ? " " : "",
			 opts[i].arg ? opts[i].arg : "");
		if (strlen(left) > 24)
			printf("  %s\n  %-24s  %s\n", left, "", opts[i].help);
		else
			printf("  %-24s  %s\n", left, opts[i].help);
	}
	puts("\nExit status: 0 success; 1 wrong usage or start-up failure; 3 a guest broke a rule\n"
	     "of the protocol; 4 traffic verification failed. SIGINT and SIGTERM end the host and\n"
	     "print its statistics.");
}

static int
parse_uint(const char *text, uint64_t max, uint64_t *v)
{
	char *end;

	errno = 0;
	*v = strtoull(text, &end, 0);
	if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || *v > max)
		return -EINVAL;
	return 0;
}

static int
parse_version(const char *text, uint32_t *v)
{
	unsigned int major, minor;
	char tail;

	if (sscanf(text, "%u.%u%c", &major, &minor, &tail) != 2 || major > 99 || minor > 99)
		return -EINVAL;
	*v = VMBUS_VERSION(major, minor);
	return 0;
}

static int
parse_lose(const char *text)
{
	const char *colon = strchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : strlen(text);
	uint64_t n = 1;

	if (colon && parse_uint(colon + 1, 1u << 30, &n) != 0)
		return -EINVAL;
	for (unsigned int t = 1; t < HOST_LOSE_MAX; t++) {
		const char *name = vmbus_msg_name(t);

		if (strlen(name) == len && strncmp(name, text, len) == 0) {
			host_opt.lose[t] = (unsigned int)n;
			return 0;
		}
	}
	return -EINVAL;
}

static int
parse_order(const char *text, enum order *order)
{
	static const char *const names[] = { "forward", "reverse", "random" };

	for (unsigned int i = 0; i < 3; i++)
		if (strcmp(text, names[i]) == 0) {
			*order = (enum order)i;
			return 0;
		}
	return -EINVAL;
}

static int
apply_number(const struct opt *o, const char *arg)
{
	uint64_t v;

	if (parse_uint(arg, o->max, &v) != 0)
		return -EINVAL;
	if (o->kind == OPT_INT)
		*(int *)o->to = (int)v;
	else if (o->kind == OPT_MIB)
		*(uint64_t *)o->to = v << 20;
	else
		*(uint32_t *)o->to = (uint32_t)v;
	return 0;
}

static int
apply(const struct opt *o, const char *arg)
{
	switch (o->kind) {
	case OPT_STRING:
		*(const char **)o->to = arg;
		return 0;
	case OPT_UINT:
	case OPT_MIB:
	case OPT_INT:
		return apply_number(o, arg);
	case OPT_SET:
	case OPT_CLEAR:
		*(bool *)o->to = o->kind == OPT_SET;
		return 0;
	case OPT_VERSION:
		return parse_version(arg, o->to);
	case OPT_WAIT:
		*(bool *)o->to = strcmp(arg, "event") == 0;
		return strcmp(arg, "event") == 0 || strcmp(arg, "poll") == 0 ? 0 : -EINVAL;
	case OPT_ORDER:
		return parse_order(arg, o->to);
	case OPT_NIC:
		if (host_opt.n_nics == HOST_NICS_MAX)
			return -EINVAL;
		host_opt.nics[host_opt.n_nics++] = arg;
		return 0;
	case OPT_LOSE:
		return parse_lose(arg);
	case OPT_HEADING:
		break;
	}
	return -EINVAL;
}

static int
check(void)
{
	if (host_opt.socket == NULL) {
		fprintf(stderr, "hv-host: --socket PATH is missing; see hv-host --help\n");
		return -EINVAL;
	}
	if (host_opt.vmbus_min > host_opt.vmbus_max) {
		fprintf(stderr, "hv-host: --vmbus-min is above --vmbus-max\n");
		return -EINVAL;
	}
	return 0;
}

int
options_parse(int argc, char **argv, int *rest)
{
	struct option longs[N_OPTS + 1] = { 0 };
	unsigned int n = 0, of[N_OPTS];
	int c, at = 0;

	for (unsigned int i = 0; i < N_OPTS; i++)
		if (opts[i].name != NULL) {
			longs[n].name = opts[i].name;
			longs[n].has_arg = opts[i].arg ? required_argument : no_argument;
			of[n++] = i;
		}
	while ((c = getopt_long(argc, argv, "+h", longs, &at)) != -1) {
		const struct opt *o;

		if (c == '?') {
			fprintf(stderr, "See hv-host --help.\n");
			return -EINVAL;
		}
		o = &opts[of[at]];
		if (c == 'h' || strcmp(o->name, "help") == 0) {
			help();
			return 1;
		}
		if (o->kind == OPT_NIC && strcmp(optarg, "help") == 0) {
			nic_help();
			return 1;
		}
		if (apply(o, optarg) != 0) {
			fprintf(stderr,
				"hv-host: --%s: \"%s\" is not a valid %s; see hv-host --help\n",
				o->name, optarg, o->arg);
			return -EINVAL;
		}
	}
	if (optind < argc && strcmp(argv[optind - 1], "--") != 0) {
		fprintf(stderr, "hv-host: unexpected argument \"%s\"; DPDK's go behind --\n",
			argv[optind]);
		return -EINVAL;
	}
	*rest = optind;
	return check();
}
