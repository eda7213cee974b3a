/* SPDX-License-Identifier: BSD-3-Clause */
/* Device arguments of a VF that is a PCI function. */
#ifndef HVN_VF_ARGS_H
#define HVN_VF_ARGS_H

#define HVN_VF_ARGS 512

/*
 * What to probe the function at addr with: its address, and the arguments that the user gave EAL for
 * it. EAL forgets them when the function goes, and when it is probed without: so they are
 * kept by the NIC, in kept, which is empty at first. Returns kept or addr; NULL if the user has
 * blocked it ("-b").
 */
const char *hvn_vf_args(char kept[HVN_VF_ARGS], const char *addr);

#endif /* HVN_VF_ARGS_H */
