/* SPDX-License-Identifier: BSD-3-Clause */
/* A signal by uio takes a lock of all processes: it outlives one that is killed or stopped inside. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "vmbus_uio.h"

int vmbus_logtype;

int
uio_open_node(const struct hv_vmbus_device *dev, int *fd)
{
	(void)dev, (void)fd;
	return -ENODEV;
}

static struct uio_shared *all; /* of both processes */
static struct vmbus_shared shared;
static struct uio_dev uio;
static struct vmbus_dev dev = { .pub.backend = &uio, .shared = &shared };
static struct hv_vmbus_channel chan;
static struct vmbus_ring_hdr hdr;

static char
state_of(pid_t pid)
{
	char path[32], state = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "r");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%*d (%*[^)]) %c", &state), 1);
	fclose(f);
	return state;
}

static void
wait_for(pid_t pid, char state)
{
	while (state_of(pid) != state)
		usleep(1000);
}

/*
 * A signal of this process reaches the kernel, whoever is in the middle of one. The first channel is
 * masked again with the lock only: without it an interrupt may have been asked for just now.
 */
static void
signal_once(bool locked)
{
	int ends[2];
	int32_t on = 0;

	assert_int_equal(pipe(ends), 0);
	uio.fd = ends[1];
	hdr.imask = 0;
	uio_signal(&dev.pub, &chan);
	assert_int_equal(hdr.imask, locked);
	assert_int_equal(read(ends[0], &on, sizeof(on)), sizeof(on));
	assert_int_equal(on, 1);
	close(ends[0]);
	close(ends[1]);
}

static void
holder(int sig)
{
	char full[4096] = { 0 };
	int ends[2];
	pid_t pid;

	assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
	while (write(ends[1], full, sizeof(full)) > 0)
		;
	fcntl(ends[1], F_SETFL, 0);
	uio.fd = ends[1];
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* also where the test fails */
		uio_signal(&dev.pub, &chan);	  /* for ever: nobody reads */
		_exit(0);
	}
	wait_for(pid, 'S');
	kill(pid, sig);
	wait_for(pid, sig == SIGSTOP ? 'T' : 'Z');
	for (int i = 0; i < 2; i++)
		signal_once(sig == SIGKILL);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	signal_once(true);
	assert_false(uio.stalled);
	/* Had back for good. */
	assert_int_equal(pthread_mutex_trylock(&all->lock), 0);
	vmbus_unlock(&all->lock);
	close(ends[0]);
	close(ends[1]);
}

static void
killed(void **state)
{
	(void)state;
	holder(SIGKILL);
}

static void
stopped(void **state)
{
	(void)state;
	holder(SIGSTOP);
}

static int
set_up(void **state)
{
	(void)state;
	all = mmap(NULL, sizeof(*all), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	vmbus_lock_init(&all->lock);
	shared.backend_data = all;
	shared.chan[0] = &chan;
	chan.rx.hdr = &hdr;
	alarm(20); /* a lock that is never had */
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(killed), cmocka_unit_test(stopped) };

	return cmocka_run_group_tests(tests, set_up, NULL);
}
