/* SPDX-License-Identifier: BSD-3-Clause */
/* A tree of files for each test, in a directory of its own that goes with it. */
#ifndef TREE_FIXTURE_H
#define TREE_FIXTURE_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char root[64];

/* All directories above path. */
static void
tree_make_path(char *path)
{
	for (char *s = path + 1; (s = strchr(s, '/')) != NULL; s++) {
		*s = '\0';
		mkdir(path, 0755);
		*s = '/';
	}
}

static int
tree_setup(void **state)
{
	(void)state;
	strcpy(root, "/tmp/hvn_tree_XXXXXX");
	return mkdtemp(root) == NULL;
}

static int
remove_entry(const char *path, const struct stat *sb, int flag, struct FTW *ftw)
{
	(void)sb;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static int
tree_teardown(void **state)
{
	(void)state;
	return nftw(root, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

#endif /* TREE_FIXTURE_H */
