/* SPDX-License-Identifier: BSD-3-Clause */
#include "hvn_copy.h"

unsigned int hvn_copy_width = 16;

#ifdef __x86_64__
RTE_INIT_PRIO(hvn_copy_probe, LOG)
{
	__builtin_cpu_init();
	/* As meson.build compiles them. */
	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi2"))
		return;
	if (__builtin_cpu_supports("avx512f"))
		hvn_copy_width = 64;
	else
		hvn_copy_width = 32;
}
#endif
