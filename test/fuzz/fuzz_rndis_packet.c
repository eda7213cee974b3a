/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A PACKET message of any content: what is found lies inside it, and the inline path for
 * common records agrees with the walk over any records.
 */
#include <string.h>

#include "fuzz.h"
#include "rndis_parse.h"

static void
check_found(const uint8_t *msg, uint32_t len, const struct rndis_pkt_info *info)
{
	uint32_t i, sum = 0;

	FUZZ_ASSERT(info->msg_len <= len && info->msg_len >= sizeof(struct rndis_packet));
	FUZZ_ASSERT(info->data_len != 0);
	FUZZ_ASSERT((uint64_t)info->data_off + info->data_len <= info->msg_len);
	for (i = 0; i < info->data_len; i++)
		sum += msg[info->data_off + i];
	fuzz_sink = sum;
}

static void
check_walk(const uint8_t *msg, const struct rndis_pkt_info *info)
{
	const struct rndis_packet *pkt = (const struct rndis_packet *)msg;
	struct rndis_pkt_info all = { .present = 0 };

	if (pkt->ppi_len == 0) {
		FUZZ_ASSERT(info->present == 0);
		return;
	}
	FUZZ_ASSERT(rndis_parse_ppis(msg + RNDIS_OFFSET_BASE + pkt->ppi_off, pkt->ppi_len, &all) ==
		    RNDIS_PARSE_OK);
	FUZZ_ASSERT(all.present == info->present);
#define SAME(bit, field)                          \
	FUZZ_ASSERT((all.present & (bit)) == 0 || \
		    memcmp(&all.field, &info->field, sizeof(all.field)) == 0)
	SAME(RNDIS_INFO_CHECKSUM, checksum);
	SAME(RNDIS_INFO_LSO, lso);
	SAME(RNDIS_INFO_VLAN, vlan);
	SAME(RNDIS_INFO_HASH_VALUE, hash_value);
	SAME(RNDIS_INFO_HASH_INFO, hash_info);
	SAME(RNDIS_INFO_PACKET_ID, packet_id);
#undef SAME
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rndis_pkt_info info, strict;
	enum rndis_parse_error err, err_strict;

	if (size > UINT16_MAX)
		return 0;
	err = rndis_parse_packet(data, (uint32_t)size, 0, &info);
	err_strict = rndis_parse_packet(data, (uint32_t)size, RNDIS_PARSE_F_STRICT, &strict);
	FUZZ_ASSERT((unsigned int)err < RNDIS_PARSE_ERRORS);
	FUZZ_ASSERT(err_strict == err || err_strict == RNDIS_PARSE_OOB);
	FUZZ_ASSERT(err != RNDIS_PARSE_OOB);
	FUZZ_ASSERT(rndis_parse_strerror(err) != NULL);
	if (err == RNDIS_PARSE_OK) {
		check_found(data, (uint32_t)size, &info);
		check_walk(data, &info);
	}
	return 0;
}
