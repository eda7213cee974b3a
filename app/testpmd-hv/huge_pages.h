/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef HUGE_PAGES_H
#define HUGE_PAGES_H

/*
 * MiB of hugepages that EAL could take: free, reserved by nobody, and of a size of which a hugetlbfs is
 * mounted that this process may write to. root: before /proc and /sys, "" for this machine.
 */
unsigned long huge_pages_free_mib(const char *root);

#endif /* HUGE_PAGES_H */
