/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The functions of libc that a program uses on sysfs, on /dev/uioN and to get shared memory.
 * Each passes on what is not about these.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>

#include "peer.h"

#define EXPORT __attribute__((visibility("default")))
/* Reading it at offset 0 fails with EIO, as the attributes of a closed channel do. */
#define EIO_FILE "/proc/self/mem"

void *
peer_real(const char *name)
{
	void *fn = dlsym(RTLD_NEXT, name);

	if (fn == NULL) {
		fprintf(stderr, "libhvpeer: libc has no %s\n", name);
		abort();
	}
	return fn;
}

void
peer_log(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "libhvpeer: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

/* --- open --------------------------------------------------------------------------------------- */

static int
done(int rc)
{
	if (rc >= 0)
		return rc;
	errno = -rc;
	return -1;
}

/* The path to open in place of a given one. */
static const char *
redirect(const char *path, char *buf)
{
	const char *real = tree_map(path, buf, PATH_MAX);

	if (real != path && tree_refresh(real) == -EIO)
		return EIO_FILE;
	return real;
}

static int
open_any(int dirfd, const char *path, int flags, mode_t mode)
{
	static __typeof__(&openat) real;
	char buf[PATH_MAX];
	int uio = path != NULL ? tree_uio(path) : -1;

	if (real == NULL)
		real = PEER_REAL(openat);
	if (uio >= 0)
		return done(uio_open(uio, flags));
	return real(dirfd, redirect(path, buf), flags, mode);
}

#define WITH_MODE(flags, mode)                                  \
	do {                                                    \
		if (((flags) & (O_CREAT | __O_TMPFILE)) != 0) { \
			va_list ap_;                            \
			va_start(ap_, flags);                   \
			(mode) = va_arg(ap_, mode_t);           \
			va_end(ap_);                            \
		}                                               \
	} while (0)

#define OPEN_FUNCTIONS(name, name_at, name_2, name_at_2)                \
	EXPORT int name(const char *path, int flags, ...)               \
	{                                                               \
		mode_t mode = 0;                                        \
		WITH_MODE(flags, mode);                                 \
		return open_any(AT_FDCWD, path, flags, mode);           \
	}                                                               \
	EXPORT int name_at(int dirfd, const char *path, int flags, ...) \
	{                                                               \
		mode_t mode = 0;                                        \
		WITH_MODE(flags, mode);                                 \
		return open_any(dirfd, path, flags, mode);              \
	}                                                               \
	EXPORT int name_2(const char *path, int flags);                 \
	EXPORT int name_2(const char *path, int flags)                  \
	{                                                               \
		return open_any(AT_FDCWD, path, flags, 0);              \
	}                                                               \
	EXPORT int name_at_2(int dirfd, const char *path, int flags);   \
	EXPORT int name_at_2(int dirfd, const char *path, int flags)    \
	{                                                               \
		return open_any(dirfd, path, flags, 0);                 \
	}

OPEN_FUNCTIONS(open, openat, __open_2, __openat_2)
OPEN_FUNCTIONS(open64, openat64, __open64_2, __openat64_2)

EXPORT FILE *
fopen(const char *path, const char *mode)
{
	char buf[PATH_MAX];

	return PEER_REAL(fopen)(redirect(path, buf), mode);
}

EXPORT FILE *
fopen64(const char *path, const char *mode)
{
	return fopen(path, mode);
}

EXPORT DIR *
opendir(const char *path)
{
	char buf[PATH_MAX];

	return PEER_REAL(opendir)(tree_map(path, buf, sizeof(buf)));
}

/* --- what a path is ------------------------------------------------------------------------------- */

EXPORT int
access(const char *path, int mode)
{
	char buf[PATH_MAX];

	return PEER_REAL(access)(tree_map(path, buf, sizeof(buf)), mode);
}

EXPORT int
faccessat(int dirfd, const char *path, int mode, int flags)
{
	char buf[PATH_MAX];

	return PEER_REAL(faccessat)(dirfd, tree_map(path, buf, sizeof(buf)), mode, flags);
}

EXPORT ssize_t
readlink(const char *path, char *out, size_t len)
{
	char buf[PATH_MAX];

	return PEER_REAL(readlink)(tree_map(path, buf, sizeof(buf)), out, len);
}

EXPORT ssize_t
readlinkat(int dirfd, const char *path, char *out, size_t len)
{
	char buf[PATH_MAX];

	return PEER_REAL(readlinkat)(dirfd, tree_map(path, buf, sizeof(buf)), out, len);
}

/* A device node is a plain file below. */
static void
fix_stat(const char *path, struct stat *st)
{
	int uio = path != NULL && st != NULL ? tree_uio(path) : -1;

	if (uio < 0)
		return;
	st->st_mode = S_IFCHR | 0600;
	st->st_rdev = makedev(244, (unsigned int)uio);
}

static int
stat_any(int dirfd, const char *path, struct stat *st, int flags)
{
	char buf[PATH_MAX];
	int rc = PEER_REAL(fstatat)(dirfd, tree_map(path, buf, sizeof(buf)), st, flags);

	if (rc == 0)
		fix_stat(path, st);
	return rc;
}

/* On 64-bit machines struct stat64 is struct stat. */
EXPORT int
stat(const char *path, struct stat *st)
{
	return stat_any(AT_FDCWD, path, st, 0);
}

EXPORT int
stat64(const char *path, struct stat64 *st)
{
	return stat_any(AT_FDCWD, path, (struct stat *)st, 0);
}

EXPORT int
lstat(const char *path, struct stat *st)
{
	return stat_any(AT_FDCWD, path, st, AT_SYMLINK_NOFOLLOW);
}

EXPORT int
lstat64(const char *path, struct stat64 *st)
{
	return stat_any(AT_FDCWD, path, (struct stat *)st, AT_SYMLINK_NOFOLLOW);
}

EXPORT int
fstatat(int dirfd, const char *path, struct stat *st, int flags)
{
	return stat_any(dirfd, path, st, flags);
}

EXPORT int
fstatat64(int dirfd, const char *path, struct stat64 *st, int flags)
{
	return stat_any(dirfd, path, (struct stat *)st, flags);
}

/* --- descriptors ------------------------------------------------------------------------------------ */

EXPORT ssize_t
read(int fd, void *buf, size_t len)
{
	static __typeof__(&read) real;
	struct peer_file *f = uio_file(fd);

	if (real == NULL)
		real = PEER_REAL(read);
	return f != NULL ? uio_read(f, fd, buf, len) : real(fd, buf, len);
}

EXPORT ssize_t __read_chk(int fd, void *buf, size_t len, size_t room);
EXPORT ssize_t
__read_chk(int fd, void *buf, size_t len, size_t room)
{
	if (len > room)
		abort();
	return read(fd, buf, len);
}

EXPORT ssize_t
write(int fd, const void *buf, size_t len)
{
	static __typeof__(&write) real;
	struct peer_file *f = uio_file(fd);

	if (real == NULL)
		real = PEER_REAL(write);
	return f != NULL ? uio_write(f, buf, len) : real(fd, buf, len);
}

EXPORT int
close(int fd)
{
	static __typeof__(&close) real;
	struct peer_file *f = uio_file(fd);

	if (real == NULL)
		real = PEER_REAL(close);
	if (f != NULL)
		uio_close(f, fd);
	return real(fd);
}

/* --- memory -------------------------------------------------------------------------------------------- */

/* A file of shared memory that has no name: what DPDK takes its memory from. */
static bool
is_memfd(int fd)
{
	char link[64], target[PATH_MAX];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = PEER_REAL(readlink)(link, target, sizeof(target) - 1);
	if (n <= 0)
		return false;
	target[n] = '\0';
	return strncmp(target, "/memfd:", 7) == 0;
}

EXPORT void *
mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	static __typeof__(&mmap) real;
	struct peer_file *f = uio_file(fd);
	void *p;

	if (real == NULL)
		real = PEER_REAL(mmap);
	if (f != NULL)
		return uio_mmap(f, addr, len, prot, flags, offset);
	if (fd >= 0 && (flags & MAP_SHARED) != 0 && uio_ring_closed(fd)) {
		errno = ENODEV;
		return MAP_FAILED;
	}
	p = real(addr, len, prot, flags, fd, offset);
	if (p != MAP_FAILED && fd >= 0 && (flags & MAP_SHARED) != 0 && (prot & PROT_WRITE) != 0 &&
	    is_memfd(fd))
		bus_share(p, len, (uint64_t)offset, fd);
	return p;
}

EXPORT void *
mmap64(void *addr, size_t len, int prot, int flags, int fd, off64_t offset)
{
	return mmap(addr, len, prot, flags, fd, offset);
}

EXPORT int
munmap(void *addr, size_t len)
{
	static __typeof__(&munmap) real;
	int rc;

	if (real == NULL)
		real = PEER_REAL(munmap);
	bus_unshare(addr, len);
	rc = real(addr, len);
	if (rc == 0)
		uio_unmapped(addr, len);
	return rc;
}

/* --- start ------------------------------------------------------------------------------------------------ */

bool peer_bare;
enum peer_kernel peer_kernel;

static bool
choose_kernel(void)
{
	static const char *const names[] = { [PEER_KERNEL_6_12_59] = "6.12.59",
					     [PEER_KERNEL_6_12_58] = "6.12.58",
					     [PEER_KERNEL_6_12_52] = "6.12.52" };
	const char *name = getenv("HVPEER_KERNEL");

	if (name == NULL)
		return true;
	for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		peer_kernel = (enum peer_kernel)i;
		if (strcmp(names[i], name) == 0)
			return true;
	}
	peer_log("HVPEER_KERNEL=%s: no such kernel here", name);
	return false;
}

static void __attribute__((constructor)) peer_start(void)
{
	const char *socket_path = getenv("HVPEER_SOCKET");
	const char *dir = getenv("HVPEER_DIR");
	const char *program = getenv("HVPEER_PROGRAM");
	int rc;

	/* One that only starts the program (a debugger, timeout) is passed through. */
	if (program != NULL && strcmp(program, program_invocation_short_name) != 0)
		return;
	/* What the program starts is none of our business. */
	unsetenv("LD_PRELOAD");
	if (socket_path == NULL || dir == NULL) {
		peer_log("HVPEER_SOCKET and HVPEER_DIR must be set: use run-peer");
		_exit(2);
	}
	peer_bare = getenv("HVPEER_BARE") != NULL;
	if (!choose_kernel())
		_exit(2);
	rc = tree_init(dir);
	if (rc == 0)
		rc = bus_start(socket_path);
	if (rc != 0) {
		peer_log("%s: %s", socket_path, strerror(-rc));
		_exit(2);
	}
}
