/* SPDX-License-Identifier: BSD-3-Clause */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "json_args.h"

int
json_arg_uint(json_t *request, json_t *reply, const char *name, uint64_t max, uint64_t *value)
{
	json_t *v = json_object_get(request, name);
	json_int_t n = json_integer_value(v);
	char what[96];

	if (v == NULL)
		return 0;
	if (json_is_integer(v) && (max == UINT64_MAX || (n >= 0 && (uint64_t)n <= max))) {
		*value = (uint64_t)n;
		return 0;
	}
	snprintf(what, sizeof(what), "\"%s\" must be a number, 0 to %" PRIu64, name, max);
	return json_refuse(reply, what);
}

int
json_arg_hex(json_t *request, const char *name, uint8_t *out, uint32_t max, uint32_t *len)
{
	json_t *v = json_object_get(request, name);
	const char *text = json_string_value(v);
	unsigned int b;

	*len = 0;
	if (text == NULL)
		return v == NULL ? 0 : -EINVAL;
	for (; *text != '\0'; text += 2) {
		if (*len == max || !isxdigit((unsigned char)text[0]) ||
		    !isxdigit((unsigned char)text[1]) || sscanf(text, "%2x", &b) != 1)
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
