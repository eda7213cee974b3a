/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The RDMA device of a PCI function. The DPDK drivers of mlx4, mlx5 and MANA leave the function to
 * its kernel driver and open its RDMA device, which comes later than the function and its network
 * interface: a probe before that fails, and may leave EAL with a device that cannot be probed again.
 */
#ifndef HVN_VF_RDMA_H
#define HVN_VF_RDMA_H

#define HVN_RDMA_NAME 64

/* Can the RDMA device of this name be opened? 0 or a negative errno. */
typedef int (*hvn_rdma_open_t)(const char *name);

/*
 * May the function at addr, bound to this kernel driver, be probed? 0: yes, name is its RDMA device,
 * or empty if its driver needs none; -EAGAIN: not yet. sysfs as for hvn_vf_find().
 */
int hvn_vf_rdma_ready(const char *sysfs, const char *addr, const char *driver, hvn_rdma_open_t open,
		      char name[HVN_RDMA_NAME]);

/*
 * By libibverbs, loaded at the first call: nobody without such a VF needs it. 0, -ENODEV: it does not
 * list the device, -ENOTSUP: there is no library (then the DPDK driver will not be there either), or
 * why it cannot be opened.
 */
int hvn_vf_rdma_open(const char *name);

#endif /* HVN_VF_RDMA_H */
