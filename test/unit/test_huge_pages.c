/* SPDX-License-Identifier: BSD-3-Clause */
/* Which hugepages testpmd-hv takes for ones that EAL can have, on trees made here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "huge_pages.h"

#define PAGES "/sys/kernel/mm/hugepages"

static char root[] = "/tmp/test_huge_pages.XXXXXX";

static void
make_dir(const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s%s", root, name);
	mkdir(path, 0700);
}

static void
write_text(const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s%s", root, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void
pages(const char *size, const char *free_ones, const char *reserved)
{
	char name[128];

	snprintf(name, sizeof(name), PAGES "/hugepages-%s", size);
	make_dir(name);
	snprintf(name, sizeof(name), PAGES "/hugepages-%s/free_hugepages", size);
	write_text(name, free_ones);
	snprintf(name, sizeof(name), PAGES "/hugepages-%s/resv_hugepages", size);
	write_text(name, reserved);
}

/* With a mount in the root's own directory, or in one that is not there. */
static unsigned long
free_with(const char *type, const char *options, const char *where)
{
	char line[512];

	snprintf(
		line, sizeof(line),
		"proc /proc proc rw 0 0\nnone %s%s %s rw,relatime%s 0 0\nsysfs /sys sysfs rw 0 0\n",
		root, where, type, options);
	write_text("/proc/mounts", line);
	return huge_pages_free_mib(root);
}

static int
set_up(void **state)
{
	static const char *const dirs[] = { "/proc", "/sys", "/sys/kernel", "/sys/kernel/mm",
					    PAGES };

	(void)state;
	assert_non_null(mkdtemp(root));
	for (unsigned int i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		make_dir(dirs[i]);
	write_text("/proc/meminfo",
		   "MemFree: 7 kB\nHugePages_Free: 3\nHugepagesize:       2048 kB\n");
	return 0;
}

static int
tear_down(void **state)
{
	char command[64];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", root);
	return system(command);
}

static void
nothing(void **state)
{
	(void)state;
	assert_int_equal(huge_pages_free_mib("/nowhere"), 0);
	assert_int_equal(huge_pages_free_mib(root), 0);
}

/* A page of a size that no hugetlbfs gives is none for EAL. */
static void
mounted(void **state)
{
	(void)state;
	pages("2048kB", "300\n", "0\n");
	pages("1048576kB", "2\n", "0\n");
	assert_int_equal(free_with("tmpfs", ",pagesize=2M", ""), 0);
	assert_int_equal(free_with("hugetlbfs", ",pagesize=2M", ""), 600);
	assert_int_equal(free_with("hugetlbfs", ",pagesize=1024M", ""), 2048);
	assert_int_equal(free_with("hugetlbfs", ",pagesize=1G,size=4G", ""), 2048);
	assert_int_equal(free_with("hugetlbfs", ",pagesize=2097152", ""), 600);
	/* It gives what the machine's default is. */
	assert_int_equal(free_with("hugetlbfs", "", ""), 600);
	write_text("/proc/meminfo", "Hugepagesize:    1048576 kB\n");
	assert_int_equal(huge_pages_free_mib(root), 2048);
	assert_int_equal(free_with("hugetlbfs", ",pagesize=64K", ""), 0);
	/* Nobody can make a file there. */
	assert_int_equal(free_with("hugetlbfs", ",pagesize=2M", "/away"), 0);
}

/* What somebody has mapped and not touched is his. */
static void
reserved(void **state)
{
	(void)state;
	pages("2048kB", "300\n", "100\n");
	assert_int_equal(free_with("hugetlbfs", ",pagesize=2M", ""), 400);
	pages("2048kB", "300\n", "301\n");
	assert_int_equal(huge_pages_free_mib(root), 0);
	pages("2048kB", "300\n", "?\n");
	assert_int_equal(huge_pages_free_mib(root), 600);
	pages("2048kB", "\n", "0\n");
	assert_int_equal(huge_pages_free_mib(root), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing),
		cmocka_unit_test(mounted),
		cmocka_unit_test(reserved),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
