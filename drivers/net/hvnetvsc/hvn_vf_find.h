/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which PCI function is the VF of a synthetic NIC? Reads sysfs only; no DPDK.
 *
 * The host names the VF by a serial number. Linux's pci-hyperv names the PCI slot after it,
 * so the slot leads to the function; the MAC address, equal on both, confirms it. Several
 * ports may live on one function (MANA), so the serial alone is not proof; a slot name may
 * already be taken (the kernel then appends "-1"), so the MAC alone must do as a fallback.
 */
#ifndef HVN_VF_FIND_H
#define HVN_VF_FIND_H

#include <stdbool.h>
#include <stdint.h>

#define HVN_PCI_ADDR_LEN 16 /* "dddd:bb:dd.f" and the terminating zero, with room */
#define HVN_NETDEV_LEN	 16

struct hvn_vf_pci {
	char addr[HVN_PCI_ADDR_LEN];
	char driver[32];	     /* kernel driver, empty if unbound */
	char netdev[HVN_NETDEV_LEN]; /* with our MAC; empty if the function has none */
	bool by_serial;		     /* found through its slot */
	bool mac_checked; /* false: bound to a user-space driver; check the DPDK port's MAC */
};

/*
 * Find the VF with this serial and MAC address below sysfs ("/sys", or a copy for tests).
 * 0 and *vf is filled; -ENODEV if there is none; -EAGAIN if it is there but its kernel driver
 * has not finished (no driver, or no network interface yet): look again later.
 */
int hvn_vf_find(const char *sysfs, uint32_t serial, const uint8_t mac[6], struct hvn_vf_pci *vf);

#endif /* HVN_VF_FIND_H */
