/* SPDX-License-Identifier: BSD-3-Clause */
/* Arguments of control commands: numbers, bytes in hexadecimal, errors. */
#ifndef HOST_JSON_ARGS_H
#define HOST_JSON_ARGS_H

#include <jansson.h>
#include <stdint.h>

/*
 * A number of a request, 0 to max; UINT64_MAX: any that JSON has. *value stays as it is if there is
 * none; anything else is refused. 0 or -EINVAL.
 */
int json_arg_uint(json_t *request, json_t *reply, const char *name, uint64_t max, uint64_t *value);

/* Hexadecimal text of a request, at most max bytes; absent = none. 0 or -EINVAL. */
int json_arg_hex(json_t *request, const char *name, uint8_t *out, uint32_t max, uint32_t *len);

/* Refuse a command and say why; always -EINVAL. */
int json_refuse(json_t *reply, const char *what);

#endif /* HOST_JSON_ARGS_H */
