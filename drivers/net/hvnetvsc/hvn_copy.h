/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copying frames. Debian builds for a CPU of 2008, where a copy is a call or 16-byte moves; so the
 * loops that copy exist once per vector width (HVN_WIDTHS) and one is chosen when the plug-in is
 * loaded.
 */
#ifndef HVN_COPY_H
#define HVN_COPY_H

#include <stdint.h>
#include <string.h>

#include <rte_common.h>

typedef char hvn_v16 __attribute__((vector_size(16), aligned(1), may_alias));
typedef char hvn_v32 __attribute__((vector_size(32), aligned(1), may_alias));
typedef char hvn_v64 __attribute__((vector_size(64), aligned(1), may_alias));

#define HVN_MOVE(type, dst, src) (*(type *)(void *)(dst) = *(const type *)(const void *)(src))

/* Bytes of the widest moves of this CPU: 16, 32 or 64. */
extern unsigned int hvn_copy_width;

/* One move of w bytes; w is a constant. */
static __rte_always_inline void
hvn_move(uint8_t *dst, const uint8_t *src, const uint32_t w)
{
	if (w == 64)
		HVN_MOVE(hvn_v64, dst, src);
	else if (w == 32)
		HVN_MOVE(hvn_v32, dst, src);
	else
		HVN_MOVE(hvn_v16, dst, src);
}

static __rte_always_inline void
hvn_copy16(uint8_t *dst, const uint8_t *src)
{
	HVN_MOVE(hvn_v16, dst, src);
}

/* Less than 16 bytes. */
static inline void
hvn_copy_tiny(uint8_t *dst, const uint8_t *src, uint32_t len)
{
	uint64_t a, b;

	if (len >= 8) {
		memcpy(&a, src, 8);
		memcpy(&b, src + len - 8, 8);
		memcpy(dst, &a, 8);
		memcpy(dst + len - 8, &b, 8);
	} else {
		while (len-- != 0)
			dst[len] = src[len];
	}
}

/*
 * Copy len bytes and touch no others; source and destination do not overlap. The last moves end
 * where the frame ends and overlap those before: no loop for the rest. w is the width of moves, a
 * constant that the function's target can do.
 */
static __rte_always_inline void
hvn_copy_wide(uint8_t *dst, const uint8_t *src, uint32_t len, const uint32_t w)
{
	uint8_t *dst_end = dst + len;
	const uint8_t *src_end = src + len;

	if (len < 2 * w) {
		if (len >= w) {
			hvn_move(dst, src, w);
			hvn_move(dst_end - w, src_end - w, w);
			return;
		}
		if (w > 32 && len >= 32) {
			hvn_move(dst, src, 32);
			hvn_move(dst_end - 32, src_end - 32, 32);
		} else if (w > 16 && len >= 16) {
			hvn_move(dst, src, 16);
			hvn_move(dst_end - 16, src_end - 16, 16);
		} else {
			hvn_copy_tiny(dst, src, len);
		}
		return;
	}
	for (; len > 4 * w; len -= 4 * w, dst += 4 * w, src += 4 * w) {
		hvn_move(dst, src, w);
		hvn_move(dst + w, src + w, w);
		hvn_move(dst + 2 * w, src + 2 * w, w);
		hvn_move(dst + 3 * w, src + 3 * w, w);
	}
	if (len > 2 * w) {
		hvn_move(dst, src, w);
		hvn_move(dst + w, src + w, w);
	}
	hvn_move(dst_end - 2 * w, src_end - 2 * w, w);
	hvn_move(dst_end - w, src_end - w, w);
}

/* The same where speed does not matter. */
static inline void
hvn_copy(uint8_t *dst, const uint8_t *src, uint32_t len)
{
	memcpy(dst, src, len);
}

/*
 * Define name_16, name_32 and name_64, which call the always-inline function body with the width
 * as its last argument, and the pointer name that hvn_copy_choose() of the file sets.
 */
#ifdef __x86_64__
#define HVN_TARGET_32 __attribute__((target("avx2")))
#define HVN_TARGET_64 __attribute__((target("avx512f,avx2")))
#define HVN_PICK(name) \
	(hvn_copy_width == 64 ? name##_64 : hvn_copy_width == 32 ? name##_32 : name##_16)
#else
#define HVN_TARGET_32
#define HVN_TARGET_64
#define HVN_PICK(name) name##_16
#endif

#endif /* HVN_COPY_H */
