/* SPDX-License-Identifier: BSD-3-Clause */
/* hv-host: start, the one loop that runs everything, end. */
#include <errno.h>
#include <numa.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <rte_eal.h>

#include "control.h"
#include "options.h"
#include "report.h"
#include "vmbus/vmbus_host.h"

#define TURNS_PER_WAIT 64      /* polling: how often the sockets are looked at */
#define NAP_MIN	       100000u /* ns: a monitor page rings without waking us */
#define NAP_MAX	       1000000u
#define EAL_ARGS_MAX   64

static volatile sig_atomic_t quit;
static struct nic *nics[HOST_NICS_MAX];
static struct vdev *nic_vdevs[HOST_NICS_MAX];
static unsigned int n_nics;
static struct event_source guests = { .fd = -1, .ready = partition_accept };

static void
on_signal(int sig)
{
	(void)sig;
	quit = 1;
}

void
host_quit(void)
{
	quit = 1;
}

struct nic *
host_nic(unsigned int index)
{
	return index < n_nics ? nics[index] : NULL;
}

struct vdev *
host_nic_vdev(unsigned int index)
{
	return index < n_nics ? nic_vdevs[index] : NULL;
}

void
host_attach_nics(struct partition *part)
{
	unsigned int most = host_opt.nics_per_guest ? host_opt.nics_per_guest : HOST_NICS_MAX;

	for (unsigned int i = 0; i < n_nics && part->n_vdevs < most; i++) {
		struct vdev *vdev = nic_vdevs[i] == NULL ? nic_attach(nics[i], part) : NULL;

		if (vdev == NULL)
			continue;
		nic_vdevs[i] = vdev;
		part->vdevs[part->n_vdevs++] = vdev;
	}
}

void
host_detach_nics(struct partition *part)
{
	for (unsigned int i = 0; i < n_nics; i++) {
		struct vdev *vdev = nic_vdevs[i];

		if (vdev == NULL || vdev->part != part)
			continue;
		nic_vdevs[i] = NULL;
		nic_detach(vdev);
	}
	part->n_vdevs = 0;
}

json_t *
host_stats(void)
{
	json_t *o = json_object(), *a = json_array();
	struct partition *part;
	unsigned int n = 0;

	for (unsigned int i = 0; i < n_nics; i++)
		json_array_append_new(a, nic_stats(nics[i]));
	TAILQ_FOREACH (part, &partitions, link)
		n++;
	json_object_set_new(o, "guests", json_integer(n));
	json_object_set_new(o, "nics", a);
	json_object_set_new(o, "violations", report_violations_json());
	return o;
}

/* One turn over everything; returns the work done and how many channels are open. */
static unsigned int
turn(unsigned int *open)
{
	struct partition *part;
	unsigned int work = 0;

	report_tick();
	*open = 0;
	TAILQ_FOREACH (part, &partitions, link) {
		work += vmbus_poll(part);
		channels_tick(part);
		out_flush(part);
		*open += vmbus_open_channels(part);
	}
	for (unsigned int i = 0; i < n_nics; i++)
		work += nic_poll(nics[i]);
	mem_sigbus_report();
	return work;
}

/* Nothing to do: ask for signals, and sleep unless something came in meanwhile. */
static void
nap(uint64_t ns)
{
	struct partition *part;
	bool idle = true;

	TAILQ_FOREACH (part, &partitions, link)
		if (!vmbus_sleep(part))
			idle = false;
	loop_wait(idle ? ns : 0);
	TAILQ_FOREACH (part, &partitions, link)
		vmbus_wake(part);
}

static void
run(void)
{
	uint64_t turns = 0, ns = NAP_MIN;

	while (!quit) {
		unsigned int open, work = turn(&open);

		if (work != 0)
			ns = NAP_MIN;
		if (open == 0)
			loop_wait(NAP_MAX);
		else if (host_opt.wait_event && work == 0) {
			nap(ns);
			ns = ns * 2 < NAP_MAX ? ns * 2 : NAP_MAX;
		} else if (turns++ % TURNS_PER_WAIT == 0)
			loop_wait(0);
		partitions_reap();
	}
}

/* DPDK carries the NICs' packets; no hardware, no huge pages unless asked for behind "--". */
static int
start_eal(int argc, char **argv)
{
	static const char *const defaults[] = {
		"hv-host",	  "--no-huge",	    "-m",	    "64", "--no-shconf", "--no-pci",
		"--no-telemetry", "--iova-mode=va", "--log-level=4"
	};
	char *args[EAL_ARGS_MAX], lcores[32];
	int n = 0;

	for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++)
		args[n++] = (char *)(uintptr_t)defaults[i];
	snprintf(lcores, sizeof(lcores), "--lcores=0@%d",
		 host_opt.cpu >= 0 ? host_opt.cpu : sched_getcpu());
	args[n++] = lcores;
	for (int i = 0; i < argc && n < EAL_ARGS_MAX - 1; i++)
		args[n++] = argv[i];
	args[n] = NULL;
	/* The guest's bus plug-in lives in the same directory: it must not look for a host. */
	unsetenv(VMU_SOCKET_ENV);
	if (rte_eal_init(n, args) < 0) {
		fprintf(stderr, "hv-host: DPDK did not start; try --log-level=8 behind --\n");
		return -EINVAL;
	}
	return 0;
}

static int
place(void)
{
	cpu_set_t set;

	if (host_opt.numa >= 0) {
		if (numa_available() < 0 || numa_run_on_node(host_opt.numa) != 0) {
			fprintf(stderr, "hv-host: --numa %d: no such node\n", host_opt.numa);
			return -EINVAL;
		}
		numa_set_preferred(host_opt.numa);
	}
	if (host_opt.cpu >= 0) {
		CPU_ZERO(&set);
		CPU_SET(host_opt.cpu, &set);
		if (sched_setaffinity(0, sizeof(set), &set) != 0) {
			fprintf(stderr, "hv-host: --cpu %d: %s\n", host_opt.cpu, strerror(errno));
			return -EINVAL;
		}
	}
	return 0;
}

static int
start_nics(void)
{
	for (unsigned int i = 0; i < host_opt.n_nics; i++) {
		nics[i] = nic_create(i, host_opt.nics[i]);
		if (nics[i] == NULL)
			return -EINVAL;
		n_nics++;
	}
	for (unsigned int i = 0; i < n_nics; i++)
		if (nic_start(nics[i], nics, n_nics) != 0)
			return -EINVAL;
	return 0;
}

static int
start(int argc, char **argv)
{
	static char control[4096];
	struct sigaction sa = { .sa_handler = on_signal };
	struct rlimit rl;

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	/* Devices write to sockets (vhost) whose other end may have gone. */
	signal(SIGPIPE, SIG_IGN);
	/* One descriptor for each file of guest memory. */
	if (getrlimit(RLIMIT_NOFILE, &rl) == 0) {
		rl.rlim_cur = rl.rlim_max;
		setrlimit(RLIMIT_NOFILE, &rl);
	}
	snprintf(control, sizeof(control), "%s.ctl", host_opt.socket);
	if (place() != 0 || (host_opt.trace != NULL && report_open_trace(host_opt.trace) != 0) ||
	    start_eal(argc, argv) != 0 || mem_sigbus_init() != 0 || loop_init() != 0 ||
	    start_nics() != 0)
		return -EINVAL;
	if (listen_open(host_opt.socket, &guests, SOCK_SEQPACKET) != 0)
		return -EINVAL;
	return control_open(host_opt.control != NULL ? host_opt.control : control);
}

static int
finish(int rc)
{
	json_t *stats = host_stats();

	control_close();
	listen_close(host_opt.socket, &guests);
	partitions_free();
	/* Verdicts first: a sink's depends on what another NIC's generator sent. */
	for (unsigned int i = 0; i < n_nics; i++)
		if (rc == 0 && nic_failed(nics[i]))
			rc = HOST_EXIT_TRAFFIC;
	for (unsigned int i = 0; i < n_nics; i++)
		nic_destroy(nics[i]);
	if (rc == 0 && host_opt.strict && report_violations() != 0)
		rc = HOST_EXIT_VIOLATIONS;
	if (rc != HOST_EXIT_USAGE) {
		json_dumpf(stats, stdout, JSON_INDENT(2));
		putchar('\n');
		if (host_opt.json != NULL &&
		    json_dump_file(stats, host_opt.json, JSON_INDENT(2)) != 0) {
			fprintf(stderr, "hv-host: cannot write --json %s\n", host_opt.json);
			rc = rc == 0 ? HOST_EXIT_USAGE : rc;
		}
	}
	json_decref(stats);
	report_close();
	loop_fini();
	rte_eal_cleanup();
	return rc;
}

int
main(int argc, char **argv)
{
	int rest, rc = options_parse(argc, argv, &rest);

	if (rc != 0)
		return rc > 0 ? HOST_EXIT_OK : HOST_EXIT_USAGE;
	if (start(argc - rest, argv + rest) != 0)
		return finish(HOST_EXIT_USAGE);
	run();
	return finish(HOST_EXIT_OK);
}
