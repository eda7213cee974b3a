/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What EAL is told beside the user's arguments: where the plug-ins are, and, if nobody named a
 * device, a software host that we start for the time we run.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <rte_config.h>

#include "huge_pages.h"
#include "testpmd_hv.h"

#define SOCKET_ENV     "HV_VMBUS_SOCKET"
#define NIC_CLASS      "{f8615163-df3e-46c5-913f-f2d2f965ed0e}" /* sysfs class_id */
#define MEMORY_MIB     "512" /* of DPDK's: two ports and their mbufs */
#define START_MS       20000
#define STOP_MS	       2000
#define EXTRA_ARGS_MAX 16
#define DIR_LEN	       4096
#define PATH_LEN       (DIR_LEN + 256)

static const char *const plugins[][2] = {
	/* file, its directory in the build tree as seen from the program's */
	{ "librte_bus_hv_vmbus.so.23", "../../lib/vmbus" },
	{ "librte_net_hvnetvsc.so.23", "../../drivers/net/hvnetvsc" },
};

static char plugin_path[RTE_DIM(plugins)][PATH_LEN];
static char socket_path[64];
static pid_t host_pid;

/* Directory of this program. */
static int
own_dir(char *dir, size_t size)
{
	char exe[DIR_LEN];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

	if (n < 0) {
		fprintf(stderr, TP_NAME ": /proc/self/exe: %s\n", strerror(errno));
		return -errno;
	}
	exe[n] = '\0';
	snprintf(dir, size, "%s", dirname(exe));
	return 0;
}

static bool
eal_arg_present(int argc, char **argv, const char *const *names)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		for (const char *const *n = names; *n != NULL; n++) {
			size_t len = strlen(*n);

			/* "-dX" and "--vdev=X" as well as "-d X" and "--vdev X" */
			if (strncmp(argv[i], *n, len) == 0 &&
			    ((*n)[1] != '-' || argv[i][len] == '\0' || argv[i][len] == '='))
				return true;
		}
	return false;
}

/* Does the user load this plug-in: -d FILE, or -d DIRECTORY that has it? */
static bool
plugin_given(int argc, char **argv, const char *file)
{
	char path[PATH_LEN];

	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (strstr(argv[i], file) != NULL)
			return true;
		if (strcmp(argv[i - 1], "-d") != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", argv[i], file);
		if (access(path, R_OK) == 0)
			return true;
	}
	return false;
}

/* Is there a synthetic NIC that the kernel offers? */
static bool
kernel_has_nic(void)
{
	DIR *d = opendir("/sys/bus/vmbus/devices");
	struct dirent *e;
	bool found = false;

	if (d == NULL)
		return false;
	while (!found && (e = readdir(d)) != NULL) {
		char path[PATH_LEN], id[64] = "";
		FILE *f;

		snprintf(path, sizeof(path), "/sys/bus/vmbus/devices/%s/class_id", e->d_name);
		f = fopen(path, "r");
		if (f == NULL)
			continue;
		found = fgets(id, sizeof(id), f) != NULL &&
			strncasecmp(id, NIC_CLASS, strlen(NIC_CLASS)) == 0;
		fclose(f);
	}
	closedir(d);
	return found;
}

static int
find_host(const char *dir, char *path, size_t size)
{
	snprintf(path, size, "%s/../../host/hv-host", dir);
	if (access(path, X_OK) == 0)
		return 0;
	snprintf(path, size, "%s/hv-host", dir);
	if (access(path, X_OK) == 0)
		return 0;
	fprintf(stderr,
		TP_NAME ": no device is named, and hv-host is not beside this program (%s); start "
			"one and set " SOCKET_ENV ", or build it\n",
		dir);
	return -ENOENT;
}

/* In the child. EAL's main lcore, which mostly sleeps, is on the first CPU: share that one. */
static void
exec_host(const char *path, pid_t parent)
{
	char *argv[2 * TP_HOST_NICS + 8], cpu[16];
	cpu_set_t set;
	int n = 0, first = 0, null = open("/dev/null", O_RDWR | O_CLOEXEC);

	/* We end when the program does, however it ends. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(127);
	setpgid(0, 0); /* a terminal's Ctrl-C is for the program; it ends us in order */
	umask(077);
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO); /* its statistics; errors stay visible */
	CPU_ZERO(&set);
	sched_getaffinity(0, sizeof(set), &set);
	while (first < CPU_SETSIZE - 1 && !CPU_ISSET(first, &set))
		first++;
	snprintf(cpu, sizeof(cpu), "%d", first);
	argv[n++] = (char *)(uintptr_t)path;
	argv[n++] = (char *)(uintptr_t) "--socket";
	argv[n++] = socket_path;
	argv[n++] = (char *)(uintptr_t) "--cpu";
	argv[n++] = cpu;
	argv[n++] = (char *)(uintptr_t) "--wait";
	argv[n++] = (char *)(uintptr_t)(CPU_COUNT(&set) > 1 ? "poll" : "event");
	for (unsigned int i = 0; i < tp_opt.n_host_nics; i++) {
		argv[n++] = (char *)(uintptr_t) "--nic";
		argv[n++] = (char *)(uintptr_t)tp_opt.host_nics[i];
	}
	argv[n] = NULL;
	execv(path, argv);
	fprintf(stderr, TP_NAME ": %s: %s\n", path, strerror(errno));
	_exit(127);
}

static void
sleep_ms(long ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000 };

	nanosleep(&t, NULL);
}

static int
start_host(const char *path)
{
	uint64_t random = 0;
	char ready[sizeof(socket_path) + 8];
	pid_t self = getpid();
	int status;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return -EIO;
	snprintf(socket_path, sizeof(socket_path), "/tmp/" TP_NAME ".%016llx",
		 (unsigned long long)random);
	/* The control socket is the last that the host opens. */
	snprintf(ready, sizeof(ready), "%s.ctl", socket_path);
	fflush(NULL);
	host_pid = fork();
	if (host_pid < 0) {
		fprintf(stderr, TP_NAME ": fork: %s\n", strerror(errno));
		host_pid = 0;
		return -EAGAIN;
	}
	if (host_pid == 0)
		exec_host(path, self);
	for (int ms = 0; ms < START_MS && !tp_quit; ms += 10) {
		if (access(ready, F_OK) == 0)
			return 0;
		if (waitpid(host_pid, &status, WNOHANG) == host_pid) {
			host_pid = 0;
			fprintf(stderr, TP_NAME ": the embedded hv-host did not start\n");
			return -ECHILD;
		}
		sleep_ms(10);
	}
	if (!tp_quit)
		fprintf(stderr, TP_NAME ": the embedded hv-host is not ready after %d s\n",
			START_MS / 1000);
	embedded_host_stop();
	return -ETIMEDOUT;
}

void
embedded_host_stop(void)
{
	char control[sizeof(socket_path) + 8];
	int status = 0, ms = 0;

	if (host_pid == 0)
		return;
	kill(host_pid, SIGTERM);
	while (waitpid(host_pid, &status, WNOHANG) == 0) {
		if (ms >= STOP_MS)
			kill(host_pid, SIGKILL);
		sleep_ms(10);
		ms += 10;
	}
	host_pid = 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		printf("The embedded hv-host ended: no rule was broken, no packet lost or "
		       "damaged\n");
	else
		printf("The embedded hv-host ended with status %d\n",
		       WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
	unlink(socket_path);
	snprintf(control, sizeof(control), "%s.ctl", socket_path);
	unlink(control);
}

/* Nobody named a device: be the host, and need nothing of the machine. */
static int
embed(const char *dir, int argc, char **argv, char **extra, int *n)
{
	static const char *const devices[] = { "--vdev", "-a", "--allow", NULL };
	static const char *const memory[] = { "--no-huge",	   "-m",	  "--socket-mem",
					      "--huge-dir",	   "--in-memory", "--legacy-mem",
					      "--memory-channels", NULL };
	char path[PATH_LEN];
	int rc;

	if (getenv(SOCKET_ENV) != NULL || eal_arg_present(argc, argv, devices) || kernel_has_nic())
		return 0;
	rc = find_host(dir, path, sizeof(path));
	if (rc == 0)
		rc = start_host(path);
	if (rc != 0)
		return rc;
	setenv(SOCKET_ENV, socket_path, 1);
	printf("No Hyper-V device here and no " SOCKET_ENV ": started a software host of my own,\n"
	       "%s (process %d, socket %s)\n",
	       path, (int)host_pid, socket_path);
	extra[(*n)++] = (char *)(uintptr_t) "--no-pci";
	if (!eal_arg_present(argc, argv, memory) &&
	    huge_pages_free_mib("") < strtoul(MEMORY_MIB, NULL, 10)) {
		printf("No " MEMORY_MIB " MiB of free huge pages: --no-huge -m " MEMORY_MIB "\n");
		extra[(*n)++] = (char *)(uintptr_t) "--no-huge";
		extra[(*n)++] = (char *)(uintptr_t) "-m";
		extra[(*n)++] = (char *)(uintptr_t)MEMORY_MIB;
	}
	fflush(stdout);
	return 0;
}

/* The build tree's plug-ins, unless EAL finds installed ones or the user names some. */
static void
add_plugins(const char *dir, int argc, char **argv, char **extra, int *n)
{
	for (unsigned int i = 0; i < RTE_DIM(plugins); i++) {
		char *path = plugin_path[i];

		snprintf(path, PATH_LEN, "%s/%s", RTE_EAL_PMD_PATH, plugins[i][0]);
		if (access(path, R_OK) == 0 || plugin_given(argc, argv, plugins[i][0]))
			continue;
		snprintf(path, PATH_LEN, "%s/%s/%s", dir, plugins[i][1], plugins[i][0]);
		if (access(path, R_OK) != 0)
			continue;
		extra[(*n)++] = (char *)(uintptr_t) "-d";
		extra[(*n)++] = path;
	}
}

int
embedded_host_prepare(int *argc, char ***argv)
{
	static char **args; /* EAL keeps pointers to it; for good, as a leak check sees */
	char dir[DIR_LEN], *extra[EXTRA_ARGS_MAX];
	int n = 0, rc = own_dir(dir, sizeof(dir));

	if (rc == 0)
		rc = embed(dir, *argc, *argv, extra, &n);
	if (rc != 0)
		return rc;
	add_plugins(dir, *argc, *argv, extra, &n);
	args = calloc((size_t)(*argc + n + 1), sizeof(*args));
	if (args == NULL) {
		embedded_host_stop();
		return -ENOMEM;
	}
	args[0] = (*argv)[0];
	memcpy(args + 1, extra, (size_t)n * sizeof(*args));
	memcpy(args + 1 + n, *argv + 1, (size_t)(*argc - 1) * sizeof(*args));
	*argv = args;
	*argc += n;
	return 0;
}
