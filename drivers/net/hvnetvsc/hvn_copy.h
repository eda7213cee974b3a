/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copying frames. Debian builds for a CPU of 2008, where a copy is a call or 16-byte moves; so the
 * files with loops that copy are compiled once per vector width (meson.build), and one is chosen
 * when the plug-in is loaded.
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

/* More than 64 bytes: see hvn_copy_wide(). */
static __rte_always_inline void
hvn_copy_long(uint8_t *dst, const uint8_t *src, uint64_t len, const uint32_t w)
{
	uint8_t *dst_end = dst + len;
	const uint8_t *src_end = src + len;

	if (w > 32 && len < 2 * w) {
		hvn_move(dst, src, w);
		hvn_move(dst_end - w, src_end - w, w);
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

/*
 * Copy len bytes and touch no others; source and destination do not overlap. The last moves end
 * where the frame ends and overlap those before: no loop for the rest. w is the width of moves, a
 * constant that the file's target can do.
 */
static __rte_always_inline void
hvn_copy_wide(uint8_t *dst, const uint8_t *src, uint32_t len, const uint32_t w)
{
	if (len > 64) {
		hvn_copy_long(dst, src, len, w);
	} else if (len >= 32) {
		const uint32_t half = w > 32 ? 32 : w;

		hvn_move(dst, src, half);
		hvn_move(dst + len - half, src + len - half, half);
		if (half < 32) {
			hvn_move(dst + half, src + half, half);
			hvn_move(dst + len - 2 * half, src + len - 2 * half, half);
		}
	} else if (len >= 16) {
		hvn_move(dst, src, 16);
		hvn_move(dst + len - 16, src + len - 16, 16);
	} else {
		hvn_copy_tiny(dst, src, len);
	}
}

/* 64 bytes. */
static __rte_always_inline void
hvn_copy_64(uint8_t *dst, const uint8_t *src, const uint32_t w)
{
	for (uint32_t i = 0; i < 64; i += w)
		hvn_move(dst + i, src + i, w);
}

/* The same where speed does not matter. */
static inline void
hvn_copy(uint8_t *dst, const uint8_t *src, uint32_t len)
{
	memcpy(dst, src, len);
}

/*
 * A file compiled once per width, with HVN_WIDTH set, defines HVN_WIDE(name)(...); HVN_WIDTHS()
 * declares all of them, HVN_PICK() is the one for this CPU.
 */
#define HVN_WIDE_(name, w)  name##_##w
#define HVN_WIDE__(name, w) HVN_WIDE_(name, w)
#define HVN_WIDE(name)	    HVN_WIDE__(name, HVN_WIDTH)
#define HVN_WIDTHS(type, name, ...)  \
	type name##_16(__VA_ARGS__); \
	type name##_32(__VA_ARGS__); \
	type name##_64(__VA_ARGS__)
#ifdef __x86_64__
#define HVN_PICK(name) \
	(hvn_copy_width == 64 ? name##_64 : hvn_copy_width == 32 ? name##_32 : name##_16)
#else
#define HVN_PICK(name) name##_16
#endif

#endif /* HVN_COPY_H */
