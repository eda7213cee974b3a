/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "hv_guid.h"

#define DASH 0xFFu

/* Which byte each pair of digits is: three little-endian fields, then single bytes. */
static const uint8_t text_order[] = { 3,    2, 1, 0,	DASH, 5,  4,  DASH, 7,	6,
				      DASH, 8, 9, DASH, 10,   11, 12, 13,   14, 15 };

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int
hv_guid_parse(const char *text, struct hv_guid *guid)
{
	bool braces = text[0] == '{';
	struct hv_guid g;
	unsigned int i;
	int hi, lo;

	if (braces)
		text++;
	for (i = 0; i < sizeof(text_order); i++) {
		if (text_order[i] == DASH) {
			if (*text++ != '-')
				return -EINVAL;
			continue;
		}
		/* The second digit is read only behind a first one: never past the end. */
		hi = hex_digit(text[0]);
		lo = hi < 0 ? -1 : hex_digit(text[1]);
		if (lo < 0)
			return -EINVAL;
		g.b[text_order[i]] = (uint8_t)(hi << 4 | lo);
		text += 2;
	}
	if (braces && *text++ != '}')
		return -EINVAL;
	if (*text != '\0')
		return -EINVAL;
	*guid = g;
	return 0;
}

void
hv_guid_format(const struct hv_guid *guid, char text[HV_GUID_STRLEN])
{
	static const char digits[] = "0123456789abcdef";
	unsigned int i;

	for (i = 0; i < sizeof(text_order); i++) {
		if (text_order[i] == DASH) {
			*text++ = '-';
			continue;
		}
		*text++ = digits[guid->b[text_order[i]] >> 4];
		*text++ = digits[guid->b[text_order[i]] & 15];
	}
	*text = '\0';
}

bool
hv_guid_equal(const struct hv_guid *a, const struct hv_guid *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}
