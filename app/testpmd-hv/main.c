/* SPDX-License-Identifier: BSD-3-Clause */
/* Start, the main lcore's loop, end. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_errno.h>

#include "testpmd_hv.h"

#define TURN_MS 20

volatile bool tp_quit;

static void
on_signal(int sig)
{
	(void)sig;
	tp_quit = true;
}

static void
catch_signals(void)
{
	struct sigaction sa = { .sa_handler = on_signal };

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
}

/* Ports that their host took away are closed, the others go on. */
static void
drop_removed(void)
{
	bool resume = forward_running();

	if (!ports_removed())
		return;
	forward_stop();
	for (unsigned int i = 0; i < tp_n_ports; i++) {
		struct tp_port *port = &tp_ports[i];

		if (port->state == TP_PORT_CLOSED ||
		    !__atomic_load_n(&port->removed, __ATOMIC_ACQUIRE))
			continue;
		port_close(port);
		printf("Port %u (%s): closed\n", port->id, port->name);
	}
	if (ports_usable() != 0 && resume)
		forward_start();
	fflush(stdout);
}

static void
loop(void)
{
	uint64_t hz = rte_get_tsc_hz(), start = rte_rdtsc();
	uint64_t period = tp_opt.stats_period * hz, shown = start;

	while (!tp_quit && ports_usable() != 0) {
		uint64_t now = rte_rdtsc();
		bool busy = forward_slice();

		if (tp_opt.interactive)
			commands_poll(busy ? 0 : TURN_MS);
		else if (!busy)
			rte_delay_us_sleep(TURN_MS * 1000);
		drop_removed();
		if (period != 0 && now - shown >= period) {
			stats_print(stdout);
			shown = now;
		}
		if (tp_opt.duration != 0 && now - start >= tp_opt.duration * hz)
			break;
	}
}

static int
run(void)
{
	int rc = ports_init();

	if (rc != 0)
		return rc;
	ports_wait_link();
	if (tp_opt.interactive)
		rc = commands_open();
	else
		rc = forward_start();
	if (rc != 0)
		return rc;
	if (!tp_opt.interactive)
		printf("Forwarding (%s) on %u port(s)\n", options_mode_name(tp_opt.mode),
		       tp_n_ports);
	fflush(stdout);
	loop();
	forward_stop();
	commands_close();
	stats_print(stdout);
	if (tp_opt.json != NULL)
		rc = stats_write_json(tp_opt.json);
	if (ports_usable() == 0) {
		fprintf(stderr, TP_NAME ": no port is left\n");
		rc = -ENODEV;
	}
	return rc;
}

static void
explain_eal_failure(void)
{
	fprintf(stderr,
		TP_NAME ": DPDK did not start: %s. If it has no memory, reserve huge pages "
			"(dpdk-hugepages.py --setup 1G) or add --no-huge -m 512 before --\n",
		rte_strerror(rte_errno));
}

/* EAL stops at "--"; what is behind it is ours. Help asks for no devices. */
static int
parse_options(int argc, char **argv)
{
	int i, rc;

	for (i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			options_help();
			return 1;
		}
	}
	if (i == argc)
		return options_parse(1, argv);
	argv[i] = argv[0]; /* getopt names the program by it */
	rc = options_parse(argc - i, argv + i);
	argv[i] = (char *)(uintptr_t) "--";
	return rc;
}

int
main(int argc, char **argv)
{
	int rc = parse_options(argc, argv);

	if (rc != 0)
		return rc > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
	catch_signals();
	setvbuf(stdout, NULL, _IOLBF, 0); /* in order with what cmdline and the host write */
	if (embedded_host_prepare(&argc, &argv) != 0)
		return EXIT_FAILURE;
	if (rte_eal_init(argc, argv) < 0) {
		explain_eal_failure();
		embedded_host_stop();
		return EXIT_FAILURE;
	}
	rc = run();
	forward_stop();
	if (ports_fini() != 0)
		rc = -ENOMEM;
	rte_eal_cleanup();
	embedded_host_stop();
	return rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
