/* SPDX-License-Identifier: BSD-3-Clause */
/* What the user said of a VF's PCI function: its arguments ("-a ADDR,k=v"), or not to use it ("-b"). */
#ifndef HVN_VF_ARGS_H
#define HVN_VF_ARGS_H

/* Of one function each: EAL forgets its arguments when it is removed. */
struct hvn_vf_arg {
	struct hvn_vf_arg *next;
	char text[]; /* ADDR,k=v */
};

/*
 * The device arguments to probe a PCI function with: its address, and what the user gave with it, now
 * or when it was here before. kept: what was given so far, NULL at first; *devargs points into it, or is
 * addr, and is valid until the next call. 0, -EPERM if the user blocked the function, or -ENOMEM.
 */
int hvn_vf_args(struct hvn_vf_arg **kept, const char *addr, const char **devargs);

void hvn_vf_args_free(struct hvn_vf_arg **kept);

#endif /* HVN_VF_ARGS_H */
