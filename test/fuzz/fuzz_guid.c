/* SPDX-License-Identifier: BSD-3-Clause */
/* Any text: what is read as a GUID is written and read again as the same one. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "hv_guid.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1); /* exact: reading past the end is seen */
	char again[HV_GUID_STRLEN];
	struct hv_guid a, b;

	if (text == NULL)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (hv_guid_parse(text, &a) == 0) {
		size_t len = strlen(text);

		FUZZ_ASSERT(len == HV_GUID_STRLEN - 1 || len == HV_GUID_STRLEN + 1);
		hv_guid_format(&a, again);
		FUZZ_ASSERT(strlen(again) == HV_GUID_STRLEN - 1);
		FUZZ_ASSERT(hv_guid_parse(again, &b) == 0 && hv_guid_equal(&a, &b));
	}
	free(text);
	return 0;
}
