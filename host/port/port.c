/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "kinds.h"

static const struct {
	const struct port_ops *ops;
	const char *usage;
	const char *help;
	const struct port_opt *opts;
} kinds[] = {
	{ &port_gen_ops, "gen[:KEY=VALUE,...]", "generate frames, judge those that come back",
	  port_gen_opts },
	{ &port_sink_ops, "sink[:KEY=VALUE]", "take every frame, check those of gen ports",
	  port_sink_opts },
	{ &port_echo_ops, "echo[:KEY=VALUE]", "send every frame back, MAC addresses exchanged",
	  port_echo_opts },
	{ &port_pair_ops, "pair:N", "a cable to NIC N, whose port is pair to this one", NULL },
	{ &port_dpdk_ops, "dpdk:DEVICE[,ARGS]",
	  "any DPDK device, e.g. net_pcap0,rx_pcap=in.pcap,tx_pcap=out.pcap", NULL },
	{ &port_dgram_ops, "dgram:LOCAL,PEER", "a Unix datagram socket, as QEMU's -netdev dgram",
	  NULL },
};

#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

int
port_create(struct nic *nic, const char *text, struct port **port)
{
	size_t len = strcspn(text, ":");
	const char *rest = text[len] == ':' ? text + len + 1 : text + len;

	for (size_t i = 0; i < N_KINDS; i++)
		if (strlen(kinds[i].ops->kind) == len &&
		    strncmp(kinds[i].ops->kind, text, len) == 0)
			return kinds[i].ops->create(nic, rest, port);
	fprintf(stderr, "hv-host: no kind of port \"%.*s\"; there are:", (int)len, text);
	for (size_t i = 0; i < N_KINDS; i++)
		fprintf(stderr, " %s", kinds[i].ops->kind);
	fputc('\n', stderr);
	return -EINVAL;
}

void
port_help(void)
{
	for (size_t i = 0; i < N_KINDS; i++) {
		printf("  %-24s  %s\n", kinds[i].usage, kinds[i].help);
		if (kinds[i].opts != NULL)
			port_opt_help(kinds[i].opts);
	}
}
