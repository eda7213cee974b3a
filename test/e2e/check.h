/* SPDX-License-Identifier: BSD-3-Clause */
/* An application of a test ends with what DPDK refused it. */
#ifndef E2E_CHECK_H
#define E2E_CHECK_H

#include <stdlib.h>

#include <rte_common.h>
#include <rte_errno.h>

static inline void
check(const char *what, int rc)
{
	if (rc != 0)
		rte_exit(EXIT_FAILURE, "%s: %s\n", what, rte_strerror(-rc));
}

#endif /* E2E_CHECK_H */
