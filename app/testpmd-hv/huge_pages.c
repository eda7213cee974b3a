/* SPDX-License-Identifier: BSD-3-Clause */
#include "huge_pages.h"

#include <ctype.h>
#include <dirent.h>
#include <limits.h>
#include <mntent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGES "/sys/kernel/mm/hugepages"

/* Of a mount that names no size, in KiB. */
static unsigned long
default_kib(const char *root)
{
	char path[PATH_MAX], line[128];
	unsigned long kib = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/proc/meminfo", root);
	f = fopen(path, "r");
	while (f != NULL && kib == 0 && fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "Hugepagesize: %lu kB", &kib) != 1)
			kib = 0;
	if (f != NULL)
		fclose(f);
	return kib;
}

/* "pagesize=1024M": as it was given to mount, or as the kernel says it. */
static unsigned long
mount_kib(const char *root, const struct mntent *m)
{
	const char *option = hasmntopt(m, "pagesize");
	unsigned long long bytes;
	char *end;

	if (option == NULL || option[strlen("pagesize")] != '=')
		return default_kib(root);
	bytes = strtoull(option + strlen("pagesize="), &end, 10);
	switch (toupper((unsigned char)*end)) {
	case 'G':
		bytes <<= 10;
		/* fall through */
	case 'M':
		bytes <<= 10;
		/* fall through */
	case 'K':
		bytes <<= 10;
	}
	return (unsigned long)(bytes >> 10);
}

static bool
is_mounted(const char *root, unsigned long kib)
{
	char path[PATH_MAX], text[4096];
	struct mntent m;
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "%s/proc/mounts", root);
	f = setmntent(path, "r");
	while (f != NULL && !found && getmntent_r(f, &m, text, sizeof(text)) != NULL)
		found = strcmp(m.mnt_type, "hugetlbfs") == 0 && mount_kib(root, &m) == kib &&
			access(m.mnt_dir, W_OK) == 0;
	if (f != NULL)
		endmntent(f);
	return found;
}

static unsigned long
read_count(const char *root, unsigned long kib, const char *name)
{
	char path[PATH_MAX];
	unsigned long n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s" PAGES "/hugepages-%lukB/%s", root, kib, name);
	f = fopen(path, "r");
	if (f == NULL)
		return 0;
	if (fscanf(f, "%lu", &n) != 1)
		n = 0;
	fclose(f);
	return n;
}

unsigned long
huge_pages_free_mib(const char *root)
{
	unsigned long kib, sum = 0, n, reserved;
	char path[PATH_MAX];
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "%s" PAGES, root);
	d = opendir(path);
	while (d != NULL && (e = readdir(d)) != NULL) {
		if (sscanf(e->d_name, "hugepages-%lukB", &kib) != 1 || !is_mounted(root, kib))
			continue;
		n = read_count(root, kib, "free_hugepages");
		/* Those are somebody's mapping already, and counted as free until he touches them. */
		reserved = read_count(root, kib, "resv_hugepages");
		sum += n > reserved ? (n - reserved) * kib : 0;
	}
	if (d != NULL)
		closedir(d);
	return sum >> 10;
}
