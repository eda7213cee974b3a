/* SPDX-License-Identifier: BSD-3-Clause */
/* What a host says of itself: whatever it is, what is taken from it can be worked with. */
#include <errno.h>
#include <string.h>

#include "fuzz.h"
#include "hvn_caps.h"

#define BUF_LEN (1u << 20)

enum answer { RECV_BUF, SEND_BUF, INITIALIZE, OFFLOAD, RSS, SEND_TABLE, ANSWERS };

static void
buffer(enum answer which, const uint8_t *msg, uint32_t len)
{
	uint32_t size = 0, count = 0;
	const char *why = NULL;
	int rc = which == RECV_BUF ? hvn_caps_recv_buf(msg, len, BUF_LEN, &size, &count, &why)
				   : hvn_caps_send_buf(msg, len, BUF_LEN, &size, &count, &why);

	FUZZ_ASSERT(rc == 0 || (rc == -EPROTO && why != NULL && size == 0 && count == 0));
	if (rc == 0)
		FUZZ_ASSERT((uint64_t)size * count <= BUF_LEN &&
			    (count == 0 || size >= HVN_SLOT_MIN));
}

static void
initialize(const uint8_t *msg, uint32_t len)
{
	uint32_t packets = 0, transfer = 0, align = 0;
	const char *why = NULL;
	int rc = hvn_caps_initialize(msg, len, &packets, &transfer, &align, &why);

	FUZZ_ASSERT(rc == 0 || (rc == -EPROTO && why != NULL && align == 0));
	if (rc == 0)
		FUZZ_ASSERT(packets != 0 && align != 0 && (align & (align - 1)) == 0);
}

static void
offload(const uint8_t *msg, uint32_t len)
{
	struct ndis_offload off = { 0 };
	const char *why = NULL;
	int rc = hvn_caps_offload(msg, len, &off, &why);

	FUZZ_ASSERT(rc == 0 || (rc == -EPROTO && why != NULL));
}

static void
rss(const uint8_t *msg, uint32_t len)
{
	uint32_t flags = 0, queues = 0;
	uint16_t reta = 0;
	const char *why = NULL;
	int rc = hvn_caps_rss(msg, len, &flags, &queues, &reta, &why);

	FUZZ_ASSERT(rc == 0 || (rc == -EPROTO && why != NULL && queues == 0 && reta == 0));
	if (rc == 0)
		FUZZ_ASSERT(queues != 0 && reta != 0 && reta <= NDIS_RSS_RETA_MAX);
}

static void
send_table(const uint8_t *msg, uint32_t len)
{
	uint16_t table[NVSP_SEND_TABLE_ENTRIES];
	const uint32_t channels = 1 + len % 64;
	const char *why = NULL;
	int rc = hvn_caps_send_table(msg, len, channels, table, &why);

	FUZZ_ASSERT(rc == 0 || (rc == -EPROTO && why != NULL));
	for (uint32_t i = 0; rc == 0 && i < NVSP_SEND_TABLE_ENTRIES; i++)
		FUZZ_ASSERT(table[i] < channels);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum answer which;
	uint32_t len;

	if (size == 0)
		return 0;
	which = data[0] % ANSWERS;
	len = (uint32_t)size - 1;
	switch (which) {
	case INITIALIZE:
		initialize(data + 1, len);
		break;
	case OFFLOAD:
		offload(data + 1, len);
		break;
	case RSS:
		rss(data + 1, len);
		break;
	case SEND_TABLE:
		send_table(data + 1, len);
		break;
	default:
		buffer(which, data + 1, len);
	}
	return 0;
}
