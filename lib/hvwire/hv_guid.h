/* SPDX-License-Identifier: BSD-3-Clause */
/* GUIDs between text and the bytes that VMBus carries. */
#ifndef HV_GUID_H
#define HV_GUID_H

#include <stdbool.h>

#include "hvwire.h"

/*
 * Read "f8615163-df3e-46c5-913f-f2d2f965ed0e", in either case, with or without braces.
 * Returns 0, or -EINVAL for anything else; guid is then untouched.
 */
int hv_guid_parse(const char *text, struct hv_guid *guid);

/* Write the text form: lower case, no braces, terminated. */
void hv_guid_format(const struct hv_guid *guid, char text[HV_GUID_STRLEN]);

bool hv_guid_equal(const struct hv_guid *a, const struct hv_guid *b);

#endif /* HV_GUID_H */
