/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdbool.h>
#include <stdio.h>
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

const char *
hvn_vf_args(char kept[HVN_VF_ARGS], const char *addr)
{
	const size_t len = strlen(addr);
	struct rte_devargs *da;

	RTE_EAL_DEVARGS_FOREACH ("pci", da) {
		if (!is_of(da->name, addr))
			continue;
		if (da->policy == RTE_DEV_BLOCKED)
			return NULL;
		/* A part of them could mean something else. */
		if (da->args != NULL && da->args[0] != '\0' &&
		    len + 1 + strlen(da->args) < HVN_VF_ARGS)
			snprintf(kept, HVN_VF_ARGS, "%s,%s", addr, da->args);
	}
	return strncmp(kept, addr, len) == 0 && kept[len] == ',' ? kept : addr;
}
