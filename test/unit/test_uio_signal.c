/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A signal by uio takes a lock of all processes: it outlives one that is killed or stopped inside.
 * And which channels may have interrupts, by what the kernel unmasks.
 */
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
	(void)dev;
	*fd = STDIN_FILENO;
	return 0;
}

static bool one_unopened;

bool
uio_subs_unopened(const struct hv_vmbus_device *dev)
{
	(void)dev;
	return one_unopened;
}

static struct uio_shared *all; /* of both processes */
static struct vmbus_shared shared;
static struct uio_dev uio;
static struct vmbus_dev dev = { .pub.backend = &uio, .shared = &shared };
static struct hv_vmbus_channel chan,
	subs[2] = { { .index = 1, .relid = 17 }, { .index = 2, .relid = 9 } };
static struct vmbus_ring_hdr hdr, sub_hdr[2];
static bool unmasks_subs; /* the kernel, when 1 is written */

ssize_t __real_write(int fd, const void *buf, size_t len);
ssize_t __wrap_write(int fd, const void *buf, size_t len);

ssize_t
__wrap_write(int fd, const void *buf, size_t len)
{
	if (len == sizeof(int32_t)) {
		hdr.imask = 0;
		for (unsigned int i = 0; i < 2 && unmasks_subs; i++)
			sub_hdr[i].imask = 0;
	}
	return __real_write(fd, buf, len);
}

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
 * A signal of this process reaches the kernel, whoever is in the middle of one. Channels are masked
 * again with the lock only: without it an interrupt may have been asked for just now.
 */
static void
signal_once(bool locked)
{
	int ends[2];
	int32_t on = 0;

	assert_int_equal(pipe(ends), 0);
	uio.fd = ends[1];
	hdr.imask = 0;
	sub_hdr[0].imask = 0;
	uio_signal(&dev.pub, &chan);
	assert_int_equal(hdr.imask, locked);
	assert_int_equal(sub_hdr[0].imask, locked);
	assert_int_equal(read(ends[0], &on, sizeof(on)), sizeof(on));
	assert_int_equal(on, 1);
	close(ends[0]);
	close(ends[1]);
}

/* Who has the lock may mask what is unmasked now: nobody is to sleep, and nothing is tried out. */
static void
ask_in_vain(void)
{
	uio.fd = -1; /* no write */
	assert_int_equal(uio_intr_prepare(&dev.pub, &chan, true), 1);
	assert_int_equal(uio_intr_prepare(&dev.pub, &subs[0], true), -EAGAIN);
	assert_false(all->intr_wanted[0] || all->intr_wanted[1]);
	assert_int_equal(uio_intr_prepare(&dev.pub, &chan, false), 0);
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
	if (sig == SIGSTOP)
		ask_in_vain();
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

static void
prepare(bool kernel_unmasks)
{
	const int rc = kernel_unmasks ? 0 : -ENOTSUP;

	for (unsigned int i = 0; i < VMBUS_CHANNELS_MAX; i++)
		uio.intr_fd[i] = -1;
	unmasks_subs = kernel_unmasks;
	hdr.imask = sub_hdr[0].imask = sub_hdr[1].imask = 1;
	assert_int_equal(uio_intr_prepare(&dev.pub, &subs[0], true), rc);
	/* It unmasks by itself behind that. */
	assert_true(hdr.imask == 1 && sub_hdr[0].imask == 1 && sub_hdr[1].imask == 1);
	assert_int_equal(all->intr_wanted[1], kernel_unmasks);
	assert_int_equal(all->sub_intr, kernel_unmasks);
}

/* A kernel that unmasks sub-channels survives their interrupts: what wants them keeps them. */
static void
sub_wanted(void **state)
{
	int null = open("/dev/null", O_WRONLY);

	(void)state;
	uio.fd = null;
	prepare(true);
	sub_hdr[0].imask = 0;
	uio_signal(&dev.pub, &chan);
	assert_true(hdr.imask == 1 && sub_hdr[0].imask == 0 && sub_hdr[1].imask == 1);
	uio.fd = -1; /* known: nothing is written any more */
	assert_int_equal(uio_intr_prepare(&dev.pub, &subs[1], true), 0);
	assert_int_equal(sub_hdr[0].imask, 0);
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(uio_intr_prepare(&dev.pub, &subs[i], false), 0);
	assert_int_equal(sub_hdr[0].imask, 1);
	close(null);
}

static void
sub_refused(void **state)
{
	int null = open("/dev/null", O_WRONLY);

	(void)state;
	all->sub_intr = false;
	uio.fd = null;
	prepare(false);
	assert_int_equal(uio_intr_prepare(&dev.pub, &subs[0], false), 0);
	/* What is unmasked already proves nothing. */
	sub_hdr[0].imask = 0;
	assert_int_equal(uio_intr_prepare(&dev.pub, &subs[0], true), -ENOTSUP);
	assert_int_equal(uio_intr_prepare(&dev.pub, &chan, true), 0);
	assert_int_equal(uio_intr_prepare(&dev.pub, &chan, false), 0);
	/* A device that is gone says nothing about its kernel. */
	uio.fd = -1;
	assert_int_equal(uio_intr_prepare(&dev.pub, &subs[0], true), -EBADF);
	close(null);
}

/* What was written to the pipe since the last look. */
static unsigned int
writes(int fd)
{
	unsigned int n = 0;
	int32_t on;

	while (read(fd, &on, sizeof(on)) == sizeof(on)) {
		assert_int_equal(on, 1);
		n++;
	}
	return n;
}

/*
 * A kernel that stores into the ring of each sub-channel, whether it has one or not, is not written to
 * while there is one that is not open.
 */
static void
unopened(void **state)
{
	uint32_t page = 0;
	int ends[2];

	(void)state;
	assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
	uio.fd = ends[1];
	all->sub_intr = false;
	uio_signal(&dev.pub, &chan);
	assert_int_equal(writes(ends[0]), 1);
	/* Several are one, and none is none. */
	assert_int_equal(uio_hold(&dev.pub, true), 0);
	for (unsigned int i = 0; i < 3; i++)
		uio_signal(&dev.pub, &chan);
	assert_int_equal(writes(ends[0]), 0);
	assert_int_equal(uio_hold(&dev.pub, false), 0);
	assert_int_equal(writes(ends[0]), 1);
	assert_int_equal(uio_hold(&dev.pub, true), 0);
	assert_int_equal(uio_hold(&dev.pub, false), 0);
	assert_int_equal(uio_hold(&dev.pub, false), 0);
	assert_int_equal(writes(ends[0]), 0);
	/* Offered, or of a former session. */
	one_unopened = true;
	assert_int_equal(uio_intr_fd(&dev.pub, &subs[0]), -EAGAIN);
	assert_int_equal(uio_hold(&dev.pub, true), 0);
	assert_int_equal(uio_hold(&dev.pub, false), -EIO);
	uio_signal(&dev.pub, &chan);
	assert_int_equal(writes(ends[0]), 0);
	/* Nothing is ever written for monitored channels. */
	chan.monitor_trigger = subs[0].monitor_trigger = subs[1].monitor_trigger = &page;
	assert_int_equal(uio_hold(&dev.pub, false), 0);
	chan.monitor_trigger = subs[0].monitor_trigger = subs[1].monitor_trigger = NULL;
	one_unopened = false;
	assert_int_equal(writes(ends[0]), 1);
	close(ends[0]);
	close(ends[1]);
}

static int
set_up(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < VMBUS_CHANNELS_MAX; i++)
		uio.intr_fd[i] = -1;
	for (unsigned int i = 0; i < 2; i++) {
		shared.chan[i + 1] = &subs[i];
		subs[i].rx.hdr = &sub_hdr[i];
	}
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
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(killed),     cmocka_unit_test(stopped),
		cmocka_unit_test(sub_wanted), cmocka_unit_test(sub_refused),
		cmocka_unit_test(unopened),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
