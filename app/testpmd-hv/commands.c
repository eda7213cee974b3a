/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands of -i, with testpmd's words. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmdline.h>
#include <cmdline_parse.h>
#include <cmdline_parse_string.h>
#include <cmdline_socket.h>

#include "testpmd_hv.h"

static struct cmdline *cl;

/* Every command is a few fixed words; the last may be a port number or "all". */
struct words {
	cmdline_fixed_string_t a, b, c, d;
};

#define WORD(var, field, text)                    \
	static cmdline_parse_token_string_t var = \
		TOKEN_STRING_INITIALIZER(struct words, field, text)

WORD(w_help, a, "help");
WORD(w_quit, a, "quit");
WORD(w_start, a, "start");
WORD(w_stop, a, "stop");
WORD(w_show, a, "show");
WORD(w_clear, a, "clear");
WORD(w_port, a, "port");
WORD(w_show_port, b, "port");
WORD(w_port_verb, b, "start#stop#close");
WORD(w_show_what, c, "stats#info#xstats");
WORD(w_clear_what, c, "stats");
WORD(w_which_c, c, NULL);
WORD(w_which_d, d, NULL);

/* Ports that a word names; 0 and a message if none. */
static unsigned int
select_ports(const char *word, struct tp_port **list)
{
	unsigned int n = 0;
	char *end;
	unsigned long id;

	if (strcmp(word, "all") == 0) {
		while (n < tp_n_ports) {
			list[n] = &tp_ports[n];
			n++;
		}
		return n;
	}
	id = strtoul(word, &end, 10);
	if (end != word && *end == '\0' && id < RTE_MAX_ETHPORTS)
		list[0] = port_find((uint16_t)id);
	if (end == word || *end != '\0' || id >= RTE_MAX_ETHPORTS || list[0] == NULL) {
		printf("No port %s\n", word);
		return 0;
	}
	return 1;
}

static void
cmd_help(void *parsed, struct cmdline *c, void *data)
{
	RTE_SET_USED(parsed);
	RTE_SET_USED(c);
	RTE_SET_USED(data);
	puts("start                                 forward\n"
	     "stop                                  stop forwarding, print what happened\n"
	     "show port stats|info|xstats all|N     of one port or all\n"
	     "clear port stats all|N                the devices' own statistics\n"
	     "port start|stop|close all|N           while nothing is forwarded\n"
	     "quit                                  end; so do SIGINT and SIGTERM");
}

static void
cmd_quit(void *parsed, struct cmdline *c, void *data)
{
	RTE_SET_USED(parsed);
	RTE_SET_USED(c);
	RTE_SET_USED(data);
	tp_quit = true;
}

static void
cmd_start(void *parsed, struct cmdline *c, void *data)
{
	RTE_SET_USED(parsed);
	RTE_SET_USED(c);
	RTE_SET_USED(data);
	if (forward_start() == 0)
		printf("Forwarding (%s)\n", options_mode_name(tp_opt.mode));
}

static void
cmd_stop(void *parsed, struct cmdline *c, void *data)
{
	RTE_SET_USED(parsed);
	RTE_SET_USED(c);
	RTE_SET_USED(data);
	if (!forward_running()) {
		puts("Not forwarding");
		return;
	}
	forward_stop();
	stats_print(stdout);
}

static void
show_info(const struct tp_port *port)
{
	char mac[RTE_ETHER_ADDR_FMT_SIZE];
	static const char *const states[] = { "stopped", "started", "closed" };
	struct rte_eth_dev_info info;
	struct rte_eth_link link;
	uint16_t mtu = 0;

	printf("Port %u (%s): %s\n", port->id, port->name, states[port->state]);
	if (port->state == TP_PORT_CLOSED || rte_eth_dev_info_get(port->id, &info) != 0)
		return;
	rte_ether_format_addr(mac, sizeof(mac), &port->mac);
	rte_eth_dev_get_mtu(port->id, &mtu);
	printf("  driver %s, MAC address %s, MTU %u\n", info.driver_name, mac, mtu);
	if (rte_eth_link_get_nowait(port->id, &link) == 0)
		printf("  link %s, %u Mbit/s\n", link.link_status ? "up" : "down", link.link_speed);
	printf("  receive queues %u of %u with %u descriptors, transmit queues %u of %u with %u\n"
	       "  RETA size %u, RSS types 0x%" PRIx64 ", offloads rx 0x%" PRIx64 " tx 0x%" PRIx64
	       "\n",
	       info.nb_rx_queues, info.max_rx_queues, port->rxd, info.nb_tx_queues,
	       info.max_tx_queues, port->txd, info.reta_size, info.flow_type_rss_offloads,
	       info.rx_offload_capa, info.tx_offload_capa);
}

static void
show_xstats(const struct tp_port *port)
{
	struct rte_eth_xstat *values = NULL;
	struct rte_eth_xstat_name *names = NULL;
	int n = port->state == TP_PORT_CLOSED ? 0 : rte_eth_xstats_get_names(port->id, NULL, 0);

	printf("Port %u (%s)\n", port->id, port->name);
	if (n <= 0)
		return;
	names = calloc((size_t)n, sizeof(*names));
	values = calloc((size_t)n, sizeof(*values));
	if (names != NULL && values != NULL &&
	    rte_eth_xstats_get_names(port->id, names, (unsigned int)n) == n &&
	    rte_eth_xstats_get(port->id, values, (unsigned int)n) == n)
		for (int i = 0; i < n; i++)
			printf("  %s: %" PRIu64 "\n", names[values[i].id].name, values[i].value);
	free(names);
	free(values);
}

static void
cmd_show(void *parsed, struct cmdline *c, void *data)
{
	const struct words *w = parsed;
	struct tp_port *list[RTE_MAX_ETHPORTS] = { 0 };
	unsigned int n = select_ports(w->d, list);

	RTE_SET_USED(c);
	RTE_SET_USED(data);
	for (unsigned int i = 0; i < n; i++) {
		if (strcmp(w->c, "stats") == 0) {
			stats_port_refresh(list[i]);
			stats_print_port(stdout, list[i]);
		} else if (strcmp(w->c, "info") == 0)
			show_info(list[i]);
		else
			show_xstats(list[i]);
	}
}

static void
cmd_clear(void *parsed, struct cmdline *c, void *data)
{
	const struct words *w = parsed;
	struct tp_port *list[RTE_MAX_ETHPORTS] = { 0 };
	unsigned int n = select_ports(w->d, list);

	RTE_SET_USED(c);
	RTE_SET_USED(data);
	for (unsigned int i = 0; i < n; i++)
		if (list[i]->state != TP_PORT_CLOSED)
			rte_eth_stats_reset(list[i]->id);
}

static void
cmd_port(void *parsed, struct cmdline *c, void *data)
{
	const struct words *w = parsed;
	struct tp_port *list[RTE_MAX_ETHPORTS] = { 0 };
	unsigned int n = select_ports(w->c, list);

	RTE_SET_USED(c);
	RTE_SET_USED(data);
	if (forward_running()) {
		puts("Stop forwarding first");
		return;
	}
	for (unsigned int i = 0; i < n; i++) {
		int rc = 0;

		if (strcmp(w->b, "start") == 0)
			rc = port_start(list[i]);
		else if (strcmp(w->b, "stop") == 0)
			rc = port_stop(list[i]);
		else
			port_close(list[i]);
		if (rc == 0)
			printf("Port %u: %s done\n", list[i]->id, w->b);
	}
}

#define COMMAND(var, func, ...)                  \
	static cmdline_parse_inst_t var = {      \
		.f = func,                       \
		.help_str = "",                  \
		.tokens = { __VA_ARGS__, NULL }, \
	}

COMMAND(i_help, cmd_help, (void *)&w_help);
COMMAND(i_quit, cmd_quit, (void *)&w_quit);
COMMAND(i_start, cmd_start, (void *)&w_start);
COMMAND(i_stop, cmd_stop, (void *)&w_stop);
COMMAND(i_show, cmd_show, (void *)&w_show, (void *)&w_show_port, (void *)&w_show_what,
	(void *)&w_which_d);
COMMAND(i_clear, cmd_clear, (void *)&w_clear, (void *)&w_show_port, (void *)&w_clear_what,
	(void *)&w_which_d);
COMMAND(i_port, cmd_port, (void *)&w_port, (void *)&w_port_verb, (void *)&w_which_c);

static cmdline_parse_ctx_t context[] = {
	&i_help, &i_quit, &i_start, &i_stop, &i_show, &i_clear, &i_port, NULL,
};

int
commands_open(void)
{
	cl = cmdline_stdin_new(context, TP_NAME "> ");
	if (cl == NULL) {
		fprintf(stderr, TP_NAME ": cannot read commands from standard input\n");
		return -EIO;
	}
	return 0;
}

void
commands_poll(int timeout_ms)
{
	struct pollfd pfd = { .fd = STDIN_FILENO, .events = POLLIN };
	char buf[256];
	ssize_t n;

	/* A signal ends poll() early; the caller looks at tp_quit. */
	if (poll(&pfd, 1, timeout_ms) <= 0)
		return;
	n = read(STDIN_FILENO, buf, sizeof(buf));
	if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN)) {
		tp_quit = true; /* end of the input is the end of the session */
		return;
	}
	/* One at a time: behind "quit" nothing is executed. */
	for (ssize_t i = 0; i < n && !tp_quit; i++)
		if (cmdline_in(cl, buf + i, 1) < 0)
			tp_quit = true;
	fflush(stdout);
}

void
commands_close(void)
{
	if (cl == NULL)
		return;
	cmdline_stdin_exit(cl);
	cl = NULL;
}
