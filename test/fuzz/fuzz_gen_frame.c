/* SPDX-License-Identifier: BSD-3-Clause */
/* Any frame of a guest: a generator's stamp is looked for within its bytes only. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "port/gen_format.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *frame = malloc(size ? size : 1); /* exact: reading past the end is seen */
	struct gen_stamp s = { 0 };
	unsigned int what;

	if (frame == NULL)
		return 0;
	gen_format_init();
	memcpy(frame, data, size);
	what = gen_parse(frame, (uint32_t)size, &s);
	/* A verifier indexes its tables with what is called good. */
	if ((what & GEN_OURS) != 0) {
		FUZZ_ASSERT(s.port < GEN_PORTS_MAX && s.flow < GEN_FLOWS_MAX);
		FUZZ_ASSERT(s.ns <= GEN_NS_MASK && (what & GEN_BAD_HEAD) == 0);
	} else
		FUZZ_ASSERT(what == 0 || what == GEN_BAD_HEAD);
	fuzz_sink = s.seq;
	free(frame);
	return 0;
}
