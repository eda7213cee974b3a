/* SPDX-License-Identifier: BSD-3-Clause */
/* "key=value,key=value" of a port: one table per kind holds reader, limits and help text. */
#ifndef HOST_PORT_OPT_H
#define HOST_PORT_OPT_H

#include <stddef.h>
#include <stdint.h>

enum port_opt_type {
	PORT_OPT_UINT,	 /* uint64_t, k and M and G accepted behind the number */
	PORT_OPT_CHOICE, /* unsigned int: index of the word in choices */
	PORT_OPT_RANGE,	 /* uint64_t[2]: "n" or "n-m" */
	PORT_OPT_SET,	 /* bool, a word without value */
};

struct port_opt {
	const char *key;
	enum port_opt_type type;
	size_t offset; /* of the value in the kind's configuration */
	uint64_t min;
	uint64_t max;
	const char *choices; /* "yes|no" */
	const char *help;
};

/* Tables end with a key of NULL. 0, or -EINVAL with a message on stderr. */
int port_opt_parse(const char *kind, const struct port_opt *opts, const char *text, void *config);
void port_opt_help(const struct port_opt *opts);

#endif /* HOST_PORT_OPT_H */
