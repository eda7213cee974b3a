/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bounds-checked reading of RNDIS PACKET messages, for the guest's receive path and the
 * host's transmit path alike. Pure code: no allocation, no system call.
 *
 * The bytes may be in shared memory that the other side changes while they are read: every
 * field is loaded once and checked on the private copy; results are byte offsets inside the
 * range given, proven to lie in it whatever the memory says afterwards.
 */
#ifndef RNDIS_PARSE_H
#define RNDIS_PARSE_H

#include "rndis_wire.h"

/* Which per-packet information a packet carried: bit per field of rndis_pkt_info. */
#define RNDIS_INFO_CHECKSUM   0x01u
#define RNDIS_INFO_LSO	      0x02u
#define RNDIS_INFO_VLAN	      0x04u
#define RNDIS_INFO_HASH_VALUE 0x08u
#define RNDIS_INFO_HASH_INFO  0x10u
#define RNDIS_INFO_PACKET_ID  0x20u

struct rndis_pkt_info {
	uint32_t msg_len;  /* of the whole message: stride to the next aggregated one */
	uint32_t data_off; /* of the frame, from the first byte of the message */
	uint32_t data_len;
	uint32_t present; /* RNDIS_INFO_* */
	uint32_t checksum;
	uint32_t lso;
	uint32_t vlan; /* as on the wire: RNDIS_VLAN_TO_TCI() */
	uint32_t hash_value;
	uint32_t hash_info;
	struct rndis_packet_id packet_id;
};

/* Why a message was refused; 0 is good. Stable: used as an index of counters. */
enum rndis_parse_error {
	RNDIS_PARSE_OK = 0,
	RNDIS_PARSE_SHORT,  /* range shorter than the header */
	RNDIS_PARSE_TYPE,   /* not a PACKET */
	RNDIS_PARSE_LENGTH, /* message length < header or > range */
	RNDIS_PARSE_DATA,   /* data offset or length outside the message, or no data */
	RNDIS_PARSE_OOB,    /* out-of-band fields or VC handle not zero (strict only) */
	RNDIS_PARSE_PPI,    /* per-packet information outside the message or malformed */
	RNDIS_PARSE_ERRORS
};

/* Refuse what a host must refuse of a guest (OOB, VC handle), not only what is unsafe. */
#define RNDIS_PARSE_F_STRICT 0x1u

/*
 * Read one PACKET message at msg, of which len bytes may be touched.
 * Of two records of one type the first counts; a record shorter than its type needs is
 * ignored; unknown records are skipped. Returns RNDIS_PARSE_OK and fills info, else the
 * reason (info is then undefined).
 */
static inline enum rndis_parse_error
rndis_parse_packet(const void *msg, uint32_t len, unsigned int flags, struct rndis_pkt_info *info);

/* Name of a reason, for logs and statistics. Never NULL. */
const char *rndis_parse_strerror(enum rndis_parse_error err);

/*
 * Find the information buffer of a QUERY_CMPLT, or of a QUERY or SET request: sets *off and
 * *size relative to msg and returns 0, or -EINVAL if it does not lie inside len bytes.
 * A length of 0 is valid and gives *size 0.
 */
int rndis_parse_query_cmplt(const void *msg, uint32_t len, uint32_t *off, uint32_t *size);
int rndis_parse_request(const void *msg, uint32_t len, uint32_t *off, uint32_t *size);

/*
 * Find the buffer of an INDICATE message. Hosts up to Windows Server 2019 forget the buffer
 * in the message length of LINK_SPEED_CHANGE (Linux netvsc_drv.c), so len is the length of
 * the range, not of the message. As above; a missing buffer gives *size 0.
 */
int rndis_parse_indicate(const void *msg, uint32_t len, uint32_t *off, uint32_t *size);

/* --- the inline half ------------------------------------------------------------------------ */

/*
 * Take the records in the len bytes at rec into info: any size, order and type. Used behind
 * the common records that rndis_parse_packet() reads itself.
 */
enum rndis_parse_error rndis_parse_ppis(const uint8_t *rec, uint32_t len,
					struct rndis_pkt_info *info);

/* Keep a value unless one of its type was there before. */
#define RNDIS_INFO_SET(info, bit, field, value)     \
	do {                                        \
		if (((info)->present & (bit)) == 0) \
			(info)->field = (value);    \
		(info)->present |= (bit);           \
	} while (0)

/* Take a record of one u32; false if its type is not one of those. */
static inline int
rndis_parse_ppi_u32(uint32_t type, uint32_t value, struct rndis_pkt_info *info)
{
	if (type == RNDIS_PPI_CHECKSUM)
		RNDIS_INFO_SET(info, RNDIS_INFO_CHECKSUM, checksum, value);
	else if (type == RNDIS_PPI_HASH_VALUE)
		RNDIS_INFO_SET(info, RNDIS_INFO_HASH_VALUE, hash_value, value);
	else if (type == RNDIS_PPI_VLAN)
		RNDIS_INFO_SET(info, RNDIS_INFO_VLAN, vlan, value);
	else if (type == RNDIS_PPI_LSO)
		RNDIS_INFO_SET(info, RNDIS_INFO_LSO, lso, value);
	else if (type == RNDIS_PPI_HASH_INFO)
		RNDIS_INFO_SET(info, RNDIS_INFO_HASH_INFO, hash_info, value);
	else
		return 0;
	return 1;
}

static inline enum rndis_parse_error
rndis_parse_packet(const void *msg, uint32_t len, unsigned int flags, struct rndis_pkt_info *info)
{
	/* What every host sends: size 16, data at 12, one u32. Two loads for a record. */
	const uint8_t *p = msg;
	uint32_t off, size, room, left;
	uint64_t a, b;

	if (len < sizeof(struct rndis_packet))
		return RNDIS_PARSE_SHORT;
	a = hv_load64(p);
	if ((uint32_t)a != RNDIS_PACKET)
		return RNDIS_PARSE_TYPE;
	info->msg_len = (uint32_t)(a >> 32);
	if (info->msg_len < sizeof(struct rndis_packet) || info->msg_len > len)
		return RNDIS_PARSE_LENGTH;
	/* From here on every offset counts from byte 8 and has room bytes. */
	room = info->msg_len - RNDIS_OFFSET_BASE;

	a = hv_load64(p + offsetof(struct rndis_packet, data_off));
	off = (uint32_t)a;
	size = (uint32_t)(a >> 32);
	if (off < RNDIS_PPI_OFF || off > room || size == 0 || size > room - off)
		return RNDIS_PARSE_DATA;
	info->data_off = off + RNDIS_OFFSET_BASE;
	info->data_len = size;

	if ((flags & RNDIS_PARSE_F_STRICT) != 0 &&
	    (hv_load64(p + offsetof(struct rndis_packet, oob_off)) != 0 ||
	     hv_load32(p + offsetof(struct rndis_packet, oob_count)) != 0 ||
	     hv_load32(p + offsetof(struct rndis_packet, vc_handle)) != 0))
		return RNDIS_PARSE_OOB;

	info->present = 0;
	a = hv_load64(p + offsetof(struct rndis_packet, ppi_off));
	off = (uint32_t)a;
	left = (uint32_t)(a >> 32);
	if (left == 0)
		return RNDIS_PARSE_OK;
	if (off < RNDIS_PPI_OFF || off > room || left > room - off)
		return RNDIS_PARSE_PPI;
	p += off + RNDIS_OFFSET_BASE;
	do {
		if (left < RNDIS_PPI_U32_SIZE)
			return rndis_parse_ppis(p, left, info);
		a = hv_load64(p);
		b = hv_load64(p + 8);
		if ((uint32_t)a != RNDIS_PPI_U32_SIZE || (uint32_t)b != sizeof(struct rndis_ppi) ||
		    !rndis_parse_ppi_u32((uint32_t)(a >> 32), (uint32_t)(b >> 32), info))
			return rndis_parse_ppis(p, left, info);
		p += RNDIS_PPI_U32_SIZE;
		left -= RNDIS_PPI_U32_SIZE;
	} while (left != 0);
	return RNDIS_PARSE_OK;
}

#endif /* RNDIS_PARSE_H */
