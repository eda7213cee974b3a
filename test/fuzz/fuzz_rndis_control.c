/* SPDX-License-Identifier: BSD-3-Clause */
/* Control messages of any content: the information buffer found lies inside the range. */
#include "fuzz.h"
#include "rndis_parse.h"

typedef int (*parse_fn)(const void *msg, uint32_t len, uint32_t *off, uint32_t *size);

static void
check(parse_fn parse, const uint8_t *msg, uint32_t len, uint32_t hdr)
{
	uint32_t off = UINT32_MAX, size = UINT32_MAX, i, sum = 0;

	if (parse(msg, len, &off, &size) != 0)
		return;
	FUZZ_ASSERT(len >= hdr && off >= hdr);
	FUZZ_ASSERT((uint64_t)off + size <= len);
	for (i = 0; i < size; i++)
		sum += msg[off + i];
	fuzz_sink = sum;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > UINT16_MAX)
		return 0;
	check(rndis_parse_query_cmplt, data, (uint32_t)size, sizeof(struct rndis_query_cmplt));
	check(rndis_parse_request, data, (uint32_t)size, sizeof(struct rndis_request));
	check(rndis_parse_indicate, data, (uint32_t)size, sizeof(struct rndis_indicate));
	return 0;
}
