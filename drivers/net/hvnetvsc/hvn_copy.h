/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copying frames. Debian builds for a CPU of 2008, so memcpy() through the PLT or 16-byte moves
 * are all that the compiler would use; the width is chosen once, when the plug-in is loaded.
 */
#ifndef HVN_COPY_H
#define HVN_COPY_H

#include <stdint.h>
#include <string.h>

#include <rte_common.h>

/* len > 64; source and destination do not overlap; nothing outside of len bytes is touched. */
typedef void (*hvn_copy_t)(uint8_t *dst, const uint8_t *src, uint32_t len);
extern hvn_copy_t hvn_copy_long;
extern const char *hvn_copy_name;

struct hvn_b16 {
	uint64_t v[2];
};

static inline void
hvn_copy16(uint8_t *dst, const uint8_t *src)
{
	struct hvn_b16 t;

	memcpy(&t, src, sizeof(t));
	memcpy(dst, &t, sizeof(t));
}

/* Any length: pairs of moves that overlap in the middle. */
static inline void
hvn_copy(uint8_t *dst, const uint8_t *src, uint32_t len)
{
	if (len > 64) {
		hvn_copy_long(dst, src, len);
	} else if (len >= 32) {
		hvn_copy16(dst, src);
		hvn_copy16(dst + 16, src + 16);
		hvn_copy16(dst + len - 32, src + len - 32);
		hvn_copy16(dst + len - 16, src + len - 16);
	} else if (len >= 16) {
		hvn_copy16(dst, src);
		hvn_copy16(dst + len - 16, src + len - 16);
	} else if (len >= 8) {
		uint64_t a, b;

		memcpy(&a, src, 8);
		memcpy(&b, src + len - 8, 8);
		memcpy(dst, &a, 8);
		memcpy(dst + len - 8, &b, 8);
	} else {
		while (len-- != 0)
			dst[len] = src[len];
	}
}

#endif /* HVN_COPY_H */
