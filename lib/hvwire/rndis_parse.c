/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "rndis_parse.h"

enum rndis_parse_error
rndis_parse_ppis(const uint8_t *rec, uint32_t len, struct rndis_pkt_info *info)
{
	uint32_t size, type, off, value;
	struct rndis_packet_id id;

	/* Every turn takes at least the 12 bytes of a record's header off len. */
	while (len != 0) {
		if (len < sizeof(struct rndis_ppi))
			return RNDIS_PARSE_PPI;
		size = hv_load32(rec + offsetof(struct rndis_ppi, size));
		type = hv_load32(rec + offsetof(struct rndis_ppi, type));
		off = hv_load32(rec + offsetof(struct rndis_ppi, off));
		if (size < sizeof(struct rndis_ppi) || size > len || (size & 3u) != 0)
			return RNDIS_PARSE_PPI;
		/* Data start inside the record, unless it is nothing but a header. */
		if (off < sizeof(struct rndis_ppi) ||
		    (off >= size && size != sizeof(struct rndis_ppi)) || off > size)
			return RNDIS_PARSE_PPI;
		if (size - off >= sizeof(uint32_t)) {
			value = hv_load32(rec + off);
			if (type == RNDIS_PPI_PACKET_ID) {
				id.version = (uint8_t)value;
				id.flags = (uint8_t)(value >> 8);
				id.id = (uint16_t)(value >> 16);
				RNDIS_INFO_SET(info, RNDIS_INFO_PACKET_ID, packet_id, id);
			} else {
				rndis_parse_ppi_u32(type, value, info);
			}
		}
		rec += size;
		len -= size;
	}
	return RNDIS_PARSE_OK;
}

const char *
rndis_parse_strerror(enum rndis_parse_error err)
{
	static const char *const names[RNDIS_PARSE_ERRORS] = {
		[RNDIS_PARSE_OK] = "no error",
		[RNDIS_PARSE_SHORT] = "shorter than a PACKET header",
		[RNDIS_PARSE_TYPE] = "not a PACKET message",
		[RNDIS_PARSE_LENGTH] = "message length outside its range",
		[RNDIS_PARSE_DATA] = "frame outside the message, or empty",
		[RNDIS_PARSE_OOB] = "out-of-band fields or VC handle not zero",
		[RNDIS_PARSE_PPI] = "malformed per-packet information",
	};

	return (unsigned int)err < RNDIS_PARSE_ERRORS ? names[err] : "unknown error";
}

/*
 * An information buffer of size bytes at off (from byte 8) inside a message of end bytes,
 * behind its header of hdr bytes.
 */
static int
parse_buffer(uint32_t hdr, uint32_t end, uint32_t off, uint32_t size, uint32_t *out_off,
	     uint32_t *out_size)
{
	uint32_t room = end - RNDIS_OFFSET_BASE;

	*out_off = hdr;
	*out_size = 0;
	if (size == 0)
		return 0;
	if (off < hdr - RNDIS_OFFSET_BASE || off > room || size > room - off)
		return -EINVAL;
	*out_off = off + RNDIS_OFFSET_BASE;
	*out_size = size;
	return 0;
}

/* The message length, or 0 if it is shorter than hdr bytes or longer than the range. */
static uint32_t
parse_length(const uint8_t *msg, uint32_t len, uint32_t hdr)
{
	uint32_t msg_len;

	if (len < hdr)
		return 0;
	msg_len = hv_load32(msg + offsetof(struct rndis_hdr, len));
	return msg_len < hdr || msg_len > len ? 0 : msg_len;
}

int
rndis_parse_query_cmplt(const void *msg, uint32_t len, uint32_t *off, uint32_t *size)
{
	const uint8_t *p = msg;
	uint32_t msg_len = parse_length(p, len, sizeof(struct rndis_query_cmplt));

	if (msg_len == 0)
		return -EINVAL;
	return parse_buffer(sizeof(struct rndis_query_cmplt), msg_len,
			    hv_load32(p + offsetof(struct rndis_query_cmplt, info_off)),
			    hv_load32(p + offsetof(struct rndis_query_cmplt, info_len)), off, size);
}

int
rndis_parse_request(const void *msg, uint32_t len, uint32_t *off, uint32_t *size)
{
	const uint8_t *p = msg;
	uint32_t msg_len = parse_length(p, len, sizeof(struct rndis_request));

	if (msg_len == 0)
		return -EINVAL;
	return parse_buffer(sizeof(struct rndis_request), msg_len,
			    hv_load32(p + offsetof(struct rndis_request, info_off)),
			    hv_load32(p + offsetof(struct rndis_request, info_len)), off, size);
}

int
rndis_parse_indicate(const void *msg, uint32_t len, uint32_t *off, uint32_t *size)
{
	const uint8_t *p = msg;

	if (parse_length(p, len, sizeof(struct rndis_indicate)) == 0)
		return -EINVAL;
	return parse_buffer(sizeof(struct rndis_indicate), len,
			    hv_load32(p + offsetof(struct rndis_indicate, buf_off)),
			    hv_load32(p + offsetof(struct rndis_indicate, buf_len)), off, size);
}
