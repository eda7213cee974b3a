/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/membarrier.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <rte_common.h>
#include <rte_cycles.h>

#include "hvn_process.h"

#define SHORT_MS  2u
#define SILENT_MS 1000u

uint32_t hvn_process_self = 1;
bool hvn_process_fenced;

/* What /proc says of a process. */
struct seen {
	char state; /* 'T' and so on */
	uint64_t start;
};

static bool
look(uint32_t pid, struct seen *s)
{
	char path[32], text[512];
	const char *rest;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	/* Behind the name, which is in parentheses and may hold any byte: fields 3 and 22. */
	rest = strrchr(text, ')');
	return rest != NULL && sscanf(rest,
				      ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d "
				      "%*d %*d %*d %*d %*d %" SCNu64,
				      &s->state, &s->start) == 2;
}

static uint32_t
mark_of(uint32_t pid, uint64_t start)
{
	return pid | (uint32_t)(1 + start % 511) << HVN_PROCESS_ID_BITS;
}

static uint64_t
inode(const char *path)
{
	struct stat st = { 0 };

	return stat(path, &st) == 0 ? st.st_ino : 0;
}

uint64_t
hvn_process_init(uint64_t world)
{
	uint64_t pids = inode("/proc/self/ns/pid");
	uint64_t here = pids ^ inode("/proc/self/ns/time") << 32;
	uint32_t mark = (uint32_t)getpid();
	static uint32_t made_for;
	struct seen s;

	/* Bursts of another port use it: it stays, whatever /proc says now. */
	if (made_for == mark)
		return here;
	made_for = mark;
	if (look(mark, &s))
		mark = mark_of(mark, s.start);
	if (pids == 0 || (world != 0 && world != here))
		mark |= HVN_PROCESS_ALIEN;
	hvn_process_self = mark;
	return here;
}

int
hvn_process_register(void)
{
	return syscall(__NR_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) != 0
		       ? -errno
		       : 0;
}

int
hvn_process_barrier(void)
{
	return syscall(__NR_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) != 0 ? -errno : 0;
}

/* Does the mark name a process that this one can ask for? */
static bool
is_foreign(uint32_t mark)
{
	return mark != 0 && mark != hvn_process_self && !hvn_process_alien(mark);
}

/* Is what was seen the process of this mark? */
static bool
is_same(uint32_t mark, const struct seen *s)
{
	uint32_t pid = hvn_process_id(mark);

	return mark == pid || mark == mark_of(pid, s->start);
}

bool
hvn_process_gone(uint32_t mark)
{
	struct seen s;

	if (!is_foreign(mark))
		return false;
	if (kill((pid_t)hvn_process_id(mark), 0) != 0 && errno == ESRCH)
		return true;
	/* Dead, but its parent has not asked for it yet, which may take for ever; or another. */
	return look(hvn_process_id(mark), &s) &&
	       (s.state == 'Z' || s.state == 'X' || !is_same(mark, &s));
}

bool
hvn_process_stopped(uint32_t mark)
{
	struct seen s;

	return is_foreign(mark) && look(hvn_process_id(mark), &s) &&
	       (s.state == 'T' || s.state == 't') && is_same(mark, &s);
}

bool
hvn_process_late(uint32_t mark, uint64_t since, unsigned int ms)
{
	/* In vain, and when: what two threads make of them together shortens a wait at most. */
	static uint32_t silent;
	static uint64_t silent_at;
	const uint64_t now = rte_rdtsc(), per_ms = rte_get_tsc_hz() / 1000;

	if (now - since <= RTE_MIN(ms, SHORT_MS) * per_ms)
		return false;
	if (hvn_process_stopped(mark) ||
	    (mark != 0 && mark == __atomic_load_n(&silent, __ATOMIC_RELAXED) &&
	     now - __atomic_load_n(&silent_at, __ATOMIC_RELAXED) < SILENT_MS * per_ms))
		return true;
	if (now - since <= ms * per_ms)
		return false;
	if (ms >= HVN_BURST_MS && mark != hvn_process_self) {
		__atomic_store_n(&silent, mark, __ATOMIC_RELAXED);
		__atomic_store_n(&silent_at, now, __ATOMIC_RELAXED);
	}
	return true;
}
