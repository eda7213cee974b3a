/* SPDX-License-Identifier: BSD-3-Clause */
/* The kinds of port, for port.c's table. */
#ifndef HOST_PORT_KINDS_H
#define HOST_PORT_KINDS_H

#include "port.h"
#include "port_opt.h"

extern const struct port_ops port_gen_ops, port_sink_ops, port_echo_ops, port_pair_ops,
	port_dpdk_ops, port_dgram_ops;
extern const struct port_opt port_gen_opts[], port_sink_opts[], port_echo_opts[];

#endif /* HOST_PORT_KINDS_H */
