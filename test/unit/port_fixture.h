/* SPDX-License-Identifier: BSD-3-Clause */
/* A NIC and a clock for ports under test. */
#ifndef TEST_PORT_FIXTURE_H
#define TEST_PORT_FIXTURE_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "host.h"
#include "port/kinds.h"

struct nic {
	uint8_t mac[6];
	unsigned int index;
};

static struct nic fixture_nics[2] = { { { 0, 0x15, 0x5d, 0, 0, 1 }, 0 },
				      { { 0, 0x15, 0x5d, 0, 0, 2 }, 1 } };
static uint64_t fixture_now = 5000000000u;

const uint8_t *
nic_mac(const struct nic *nic)
{
	return nic->mac;
}

uint32_t
nic_mtu(const struct nic *nic)
{
	(void)nic;
	return 1514;
}

unsigned int
nic_index(const struct nic *nic)
{
	return nic->index;
}

uint64_t
host_clock(void)
{
	return fixture_now;
}

uint64_t
host_now(void)
{
	return fixture_now;
}

static inline struct port *
fixture_port(const struct port_ops *ops, unsigned int nic, const char *text)
{
	struct port *port = NULL;

	assert_int_equal(ops->create(&fixture_nics[nic], text, &port), 0);
	return port;
}

static inline json_int_t
fixture_stat(struct port *port, const char *key)
{
	json_t *o = port->ops->stats(port);
	json_int_t v = json_integer_value(json_object_get(o, key));

	assert_non_null(json_object_get(o, key));
	json_decref(o);
	return v;
}

/* Like fixture_stat(), one level down. */
static inline json_int_t
fixture_latency(struct port *port, const char *key)
{
	json_t *o = port->ops->stats(port);
	json_int_t v = json_integer_value(json_object_get(json_object_get(o, "latency_ns"), key));

	json_decref(o);
	return v;
}

static inline int
fixture_command(struct port *port, const char *cmd, json_t *request)
{
	json_t *reply = json_object();
	int rc = port->ops->command(port, cmd, request, reply);

	json_decref(request);
	json_decref(reply);
	return rc;
}

#endif /* TEST_PORT_FIXTURE_H */
