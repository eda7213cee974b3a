/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Mappings whose pages the kernel may take away: those of a device that is removed. Whoever
 * touches such a page gets SIGBUS, which ends the application; with a guard it gets a page of
 * zeros instead, of which every check of what a host writes makes an idle or a corrupt ring.
 *
 * Pure C, no DPDK. The handler is installed at the first guard and passes on what is not ours.
 */
#ifndef VMBUS_SIGBUS_H
#define VMBUS_SIGBUS_H

#include <stddef.h>

/* Guard whole pages. Any thread. 0, -ENOSPC, or another negative errno: not guarded. */
int vmbus_sigbus_guard(void *addr, size_t bytes);

/* No longer; before they are unmapped. */
void vmbus_sigbus_unguard(const void *addr);

#endif /* VMBUS_SIGBUS_H */
