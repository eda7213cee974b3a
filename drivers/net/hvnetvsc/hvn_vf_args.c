/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <rte_devargs.h>

#include "hvn_vf_args.h"

/* The user may have left out the domain 0, and written A for a. */
static bool
is_of(const char *name, const char *addr)
{
	return strcasecmp(name, addr) == 0 ||
	       (strncmp(addr, "0000:", 5) == 0 && strcasecmp(name, addr + 5) == 0);
}

/* Where the arguments of this function are kept, or may be: at the end. */
static struct hvn_vf_arg **
place_of(struct hvn_vf_arg **kept, const char *addr)
{
	const size_t len = strlen(addr);

	while (*kept != NULL &&
	       !(strncmp((*kept)->text, addr, len) == 0 && (*kept)->text[len] == ','))
		kept = &(*kept)->next;
	return kept;
}

static int
keep(struct hvn_vf_arg **at, const char *addr, const char *args)
{
	const size_t size = strlen(addr) + 1 + strlen(args) + 1;
	struct hvn_vf_arg *next = *at != NULL ? (*at)->next : NULL;
	struct hvn_vf_arg *a = malloc(sizeof(*a) + size);

	if (a == NULL)
		return -ENOMEM;
	snprintf(a->text, size, "%s,%s", addr, args);
	a->next = next;
	free(*at);
	*at = a;
	return 0;
}

int
hvn_vf_args(struct hvn_vf_arg **kept, const char *addr, const char **devargs)
{
	struct hvn_vf_arg **at = place_of(kept, addr);
	struct rte_devargs *da;
	int rc = 0;

	RTE_EAL_DEVARGS_FOREACH ("pci", da) {
		if (!is_of(da->name, addr))
			continue;
		if (da->policy == RTE_DEV_BLOCKED)
			return -EPERM;
		if (da->args != NULL && da->args[0] != '\0')
			rc = keep(at, addr, da->args);
		if (rc != 0)
			return rc;
	}
	*devargs = *at != NULL ? (*at)->text : addr;
	return 0;
}

void
hvn_vf_args_free(struct hvn_vf_arg **kept)
{
	struct hvn_vf_arg *a;

	while ((a = *kept) != NULL) {
		*kept = a->next;
		free(a);
	}
}
