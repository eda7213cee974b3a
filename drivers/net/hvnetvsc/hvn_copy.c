/* SPDX-License-Identifier: BSD-3-Clause */
#include "hvn_copy.h"

/*
 * The last vector is the one that ends with the frame and overlaps its predecessor: no tail loop.
 * A vector type of the compiler's, at any alignment, makes one body serve every width.
 */
#define HVN_DEFINE_COPY(name, bytes, attr)                                                   \
	typedef char name##_vec __attribute__((vector_size(bytes), aligned(1), may_alias));  \
	attr static void name(uint8_t *dst, const uint8_t *src, uint32_t len)                \
	{                                                                                    \
		uint8_t *last = dst + len - (bytes);                                         \
		name##_vec end = *(const name##_vec *)(const void *)(src + len - (bytes));   \
                                                                                             \
		for (; dst < last; dst += (bytes), src += (bytes))                           \
			*(name##_vec *)(void *)dst = *(const name##_vec *)(const void *)src; \
		*(name##_vec *)(void *)last = end;                                           \
	}

HVN_DEFINE_COPY(copy_16, 16, )
hvn_copy_t hvn_copy_long = copy_16;
const char *hvn_copy_name = "16-byte";

#ifdef __x86_64__
HVN_DEFINE_COPY(copy_avx2, 32, __attribute__((target("avx2"))))
HVN_DEFINE_COPY(copy_avx512, 64, __attribute__((target("avx512f"))))

RTE_INIT(hvn_copy_choose)
{
	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx512f")) {
		hvn_copy_long = copy_avx512;
		hvn_copy_name = "64-byte";
	} else if (__builtin_cpu_supports("avx2")) {
		hvn_copy_long = copy_avx2;
		hvn_copy_name = "32-byte";
	}
}
#endif
