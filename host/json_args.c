/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>

#include "json_args.h"

uint64_t
json_arg_u64(json_t *request, const char *name, uint64_t dflt)
{
	json_t *v = json_object_get(request, name);

	return json_is_integer(v) ? (uint64_t)json_integer_value(v) : dflt;
}

int
json_arg_hex(json_t *request, const char *name, uint8_t *out, uint32_t max, uint32_t *len)
{
	const char *text = json_string_value(json_object_get(request, name));
	unsigned int b;

	for (*len = 0; text != NULL && *text != '\0'; text += 2) {
		if (*len == max || sscanf(text, "%2x", &b) != 1 || text[1] == '\0')
			return -EINVAL;
		out[(*len)++] = (uint8_t)b;
	}
	return 0;
}

int
json_refuse(json_t *reply, const char *what)
{
	json_object_set_new(reply, "error", json_string(what));
	return -EINVAL;
}
