/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_pause.h>

#include "hvn_lock.h"

#define SPINS 65536u /* far longer than any burst holds a lock, some 100 us */

uint32_t hvn_lock_self = 1;

uint64_t
hvn_lock_init_process(uint64_t world)
{
	struct stat st = { 0 };

	hvn_lock_self = (uint32_t)getpid();
	if (stat("/proc/self/ns/pid", &st) != 0 || (world != 0 && world != st.st_ino))
		hvn_lock_self |= HVN_LOCK_ALIEN;
	return st.st_ino;
}

/* As /proc says: 'T' and so on; 0 if it says nothing. */
static char
state_of(uint32_t pid)
{
	char path[32], text[256];
	const char *state;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	/* Behind the name, which is in parentheses and may hold any byte. */
	state = strrchr(text, ')');
	return (char)(state != NULL && state[1] == ' ' ? state[2] : 0);
}

/* Dead, but its parent has not asked for it yet: that may take for ever. */
static bool
is_zombie(uint32_t pid)
{
	char state = state_of(pid);

	return state == 'Z' || state == 'X';
}

/* Does the mark name a process that this one can ask for? */
static bool
is_foreign(uint32_t mark)
{
	return mark != 0 && mark != hvn_lock_self && ((mark | hvn_lock_self) & HVN_LOCK_ALIEN) == 0;
}

bool
hvn_process_gone(uint32_t mark)
{
	if (!is_foreign(mark))
		return false;
	return kill((pid_t)mark, 0) != 0 ? errno == ESRCH : is_zombie(mark);
}

bool
hvn_process_stopped(uint32_t mark)
{
	char state = (char)(is_foreign(mark) ? state_of(mark) : 0);

	return state == 'T' || state == 't';
}

bool
hvn_lock_take_over(struct hvn_lock *l)
{
	uint32_t owner = __atomic_load_n(&l->owner, __ATOMIC_RELAXED);

	if (!hvn_process_gone(owner))
		return false;
	return __atomic_compare_exchange_n(&l->owner, &owner, hvn_lock_self, false,
					   __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

enum hvn_lock_rc
hvn_lock_wait(struct hvn_lock *l, unsigned int ms)
{
	const uint64_t end = rte_rdtsc() + rte_get_tsc_hz() / 1000 * ms;

	while (!hvn_lock_try(l)) {
		if (hvn_lock_take_over(l))
			return HVN_LOCK_TAKEN_OVER;
		if (rte_rdtsc() > end)
			return HVN_LOCK_NO;
		rte_delay_us_sleep(20);
	}
	return HVN_LOCK_YES;
}

enum hvn_lock_rc
hvn_lock_spin(struct hvn_lock *l)
{
	for (uint32_t i = 0; i < SPINS; i++) {
		if (hvn_lock_try(l))
			return HVN_LOCK_YES;
		rte_pause();
	}
	return hvn_lock_take_over(l) ? HVN_LOCK_TAKEN_OVER : HVN_LOCK_NO;
}
