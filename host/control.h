/* SPDX-License-Identifier: BSD-3-Clause */
/* The control socket: one JSON request per line, one JSON reply per line. */
#ifndef HOST_CONTROL_H
#define HOST_CONTROL_H

#include "host.h"

int control_open(const char *path);
void control_close(void);

/* main.c */
json_t *host_stats(void);
void host_quit(void);
struct nic *host_nic(unsigned int index);
struct vdev *host_nic_vdev(unsigned int index);

#endif /* HOST_CONTROL_H */
