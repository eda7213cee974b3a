/* SPDX-License-Identifier: BSD-3-Clause */
#include "hvn_vf_find.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PCI_CLASS_ETHERNET 0x0200u /* base class and sub-class of sysfs "class" */
#define SLOT_SUFFIXES	   10	   /* names the kernel may have moved on to */
#define DEV_LEN		   512	   /* path of a device directory: sysfs paths are short */
#define PATH_LEN	   (DEV_LEN + 300)

/* First line of a sysfs file without its newline; false if it cannot be read. */
static bool
read_line(const char *path, char *buf, size_t len)
{
	FILE *f = fopen(path, "re");
	bool ok;

	if (f == NULL)
		return false;
	ok = fgets(buf, (int)len, f) != NULL;
	fclose(f);
	if (ok)
		buf[strcspn(buf, "\n")] = '\0';
	return ok;
}

static bool
same_mac(const char *text, const uint8_t mac[6])
{
	unsigned int b[6];

	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5]) != 6)
		return false;
	for (int i = 0; i < 6; i++) {
		if (b[i] != mac[i])
			return false;
	}
	return true;
}

/* Look through the network interfaces of a function: how many, and which has our MAC. */
static unsigned int
match_netdevs(const char *dev, const uint8_t mac[6], struct hvn_vf_pci *vf)
{
	char path[PATH_LEN], line[64];
	struct dirent *e;
	unsigned int n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "%s/net", dev);
	d = opendir(path);
	if (d == NULL)
		return 0;
	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.' || strlen(e->d_name) >= HVN_NETDEV_LEN)
			continue;
		snprintf(path, sizeof(path), "%s/net/%s/address", dev, e->d_name);
		n++;
		if (!read_line(path, line, sizeof(line)) || !same_mac(line, mac))
			continue;
		memcpy(vf->netdev, e->d_name, strlen(e->d_name) + 1);
		vf->mac_checked = true;
	}
	closedir(d);
	return n;
}

static void
read_driver(const char *dev, struct hvn_vf_pci *vf)
{
	char path[PATH_LEN], target[PATH_LEN];
	const char *base;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/driver", dev);
	n = readlink(path, target, sizeof(target) - 1);
	if (n <= 0)
		return;
	target[n] = '\0';
	base = strrchr(target, '/');
	snprintf(vf->driver, sizeof(vf->driver), "%.31s", base != NULL ? base + 1 : target);
}

/* Drivers that hand a function to user space whole: no network interface will ever appear. */
static bool
is_userspace_driver(const char *driver)
{
	return strncmp(driver, "uio", 3) == 0 || strncmp(driver, "vfio", 4) == 0 ||
	       strcmp(driver, "igb_uio") == 0;
}

/*
 * Judge one function. 0: it is the VF; -EAGAIN: may become it; -ENODEV: it is not. A function
 * without an interface counts only if the slot led to it.
 */
static int
examine(const char *sysfs, const char *addr, const uint8_t mac[6], bool by_serial,
	struct hvn_vf_pci *vf)
{
	char dev[DEV_LEN], path[PATH_LEN], line[32];
	unsigned int netdevs;

	snprintf(dev, sizeof(dev), "%s/bus/pci/devices/%s", sysfs, addr);
	snprintf(path, sizeof(path), "%s/class", dev);
	if (!read_line(path, line, sizeof(line)) ||
	    strtoul(line, NULL, 16) >> 8 != PCI_CLASS_ETHERNET)
		return -ENODEV;

	memset(vf, 0, sizeof(*vf));
	snprintf(vf->addr, sizeof(vf->addr), "%.15s", addr);
	vf->by_serial = by_serial;
	read_driver(dev, vf);
	netdevs = match_netdevs(dev, mac, vf);

	if (vf->mac_checked)
		return 0;
	/* Its interfaces have other addresses, though more may come on a shared function. */
	if (netdevs != 0)
		return by_serial ? -EAGAIN : -ENODEV;
	if (!by_serial)
		return -ENODEV;
	return is_userspace_driver(vf->driver) ? 0 : -EAGAIN;
}

/* All functions of the device in one slot, named "<serial>" or "<serial>-<n>". */
static int
try_slot(const char *sysfs, const char *slot, const uint8_t mac[6], struct hvn_vf_pci *vf)
{
	char path[PATH_LEN], line[32], addr[HVN_PCI_ADDR_LEN];
	int rc, best = -ENODEV;

	snprintf(path, sizeof(path), "%s/bus/pci/slots/%s/address", sysfs, slot);
	if (!read_line(path, line, sizeof(line)))
		return -ENOENT;
	for (int fn = 0; fn < 8; fn++) {
		snprintf(addr, sizeof(addr), "%.12s.%d", line, fn);
		rc = examine(sysfs, addr, mac, true, vf);
		if (rc == 0)
			return 0;
		if (rc == -EAGAIN)
			best = rc;
	}
	return best;
}

static int
by_mac(const char *sysfs, const uint8_t mac[6], struct hvn_vf_pci *vf)
{
	char path[PATH_LEN];
	struct dirent *e;
	int rc = -ENODEV;
	DIR *d;

	snprintf(path, sizeof(path), "%s/bus/pci/devices", sysfs);
	d = opendir(path);
	if (d == NULL)
		return -ENODEV;
	while (rc != 0 && (e = readdir(d)) != NULL) {
		if (e->d_name[0] != '.' && strlen(e->d_name) < HVN_PCI_ADDR_LEN)
			rc = examine(sysfs, e->d_name, mac, false, vf);
	}
	closedir(d);
	return rc;
}

int
hvn_vf_find(const char *sysfs, uint32_t serial, const uint8_t mac[6], struct hvn_vf_pci *vf)
{
	char slot[24];
	bool pending = false;
	int rc;

	for (int i = 0; i < SLOT_SUFFIXES; i++) {
		if (i == 0)
			snprintf(slot, sizeof(slot), "%u", serial);
		else
			snprintf(slot, sizeof(slot), "%u-%d", serial, i);
		rc = try_slot(sysfs, slot, mac, vf);
		if (rc == 0)
			return 0;
		if (rc == -ENOENT)
			break;
		pending |= rc == -EAGAIN;
	}
	rc = by_mac(sysfs, mac, vf);
	if (rc == 0)
		return 0;
	memset(vf, 0, sizeof(*vf));
	return pending ? -EAGAIN : -ENODEV;
}
