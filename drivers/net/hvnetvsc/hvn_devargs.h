/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef HVN_DEVARGS_H
#define HVN_DEVARGS_H

#include "hvn.h"

/* For users: in messages and in what dpdk-pmdinfo.py shows. */
#define HVN_DEVARGS_HELP                                                                    \
	"latency=<us> rx_copybreak=<bytes> tx_copybreak=<bytes> rx_extmbuf_enable=<0|1> "   \
	"numa_aware=<0|1> mac=<xx:xx:xx:xx:xx:xx> vf=<device arguments> ring_size=<bytes> " \
	"nvsp=<version> nvsp_timeout=<ms> rndis_timeout=<ms> stop_timeout=<ms> "            \
	"udp_cksum_max=<bytes>"

/*
 * Read device arguments (NULL: none) over the defaults. 0, or -EINVAL and a line in the log for an
 * unknown name or a value out of range.
 */
int hvn_devargs_parse(const char *text, struct hvn_devargs *args);

#endif /* HVN_DEVARGS_H */
