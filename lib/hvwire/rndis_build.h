/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Building RNDIS messages into a caller's buffer. Inline, because the transmit path uses it
 * per packet. The caller provides enough room: RNDIS_BUILD_PACKET_MAX for a packet header
 * with every record, or what the function says.
 */
#ifndef RNDIS_BUILD_H
#define RNDIS_BUILD_H

#include <string.h>

#include "rndis_wire.h"

/* PACKET header with hash value, VLAN, checksum or LSO, hash info and packet id. */
#define RNDIS_BUILD_PACKET_MAX (44u + 6u * RNDIS_PPI_U32_SIZE)

/* Start a PACKET header at p: everything zero but the type. */
static inline struct rndis_packet *
rndis_build_packet(void *p)
{
	struct rndis_packet *pkt = (struct rndis_packet *)p;

	memset(pkt, 0, sizeof(*pkt));
	pkt->hdr.type = RNDIS_PACKET;
	return pkt;
}

/* Append a record of one u32 behind those already there. */
static inline void
rndis_build_ppi(struct rndis_packet *pkt, uint32_t type, uint32_t value)
{
	uint8_t *at = (uint8_t *)pkt + sizeof(*pkt) + pkt->ppi_len;
	struct {
		struct rndis_ppi h;
		uint32_t v;
	} HVWIRE_PACKED rec = { { RNDIS_PPI_U32_SIZE, type, sizeof(struct rndis_ppi) }, value };

	memcpy(at, &rec, sizeof(rec));
	pkt->ppi_off = RNDIS_PPI_OFF;
	pkt->ppi_len += RNDIS_PPI_U32_SIZE;
}

/*
 * Finish the header for a frame of data_len bytes that follows it, the message padded by
 * pad bytes. Returns the size of the header, which is where the frame starts.
 */
static inline uint32_t
rndis_build_finish(struct rndis_packet *pkt, uint32_t data_len, uint32_t pad)
{
	uint32_t hdr_len = (uint32_t)sizeof(*pkt) + pkt->ppi_len;

	pkt->data_off = hdr_len - RNDIS_OFFSET_BASE;
	pkt->data_len = data_len;
	pkt->hdr.len = hdr_len + data_len + pad;
	return hdr_len;
}

/* Build a QUERY or SET request of sizeof(struct rndis_request) + info_len bytes. */
static inline uint32_t
rndis_build_request(void *p, uint32_t type, uint32_t id, uint32_t oid, const void *info,
		    uint32_t info_len)
{
	struct rndis_request req = {
		.hdr = { type, (uint32_t)sizeof(req) + info_len },
		.request_id = id,
		.oid = oid,
		.info_len = info_len,
		.info_off = RNDIS_REQUEST_INFO_OFF,
	};

	memcpy(p, &req, sizeof(req));
	if (info_len != 0)
		memcpy((uint8_t *)p + sizeof(req), info, info_len);
	return req.hdr.len;
}

#endif /* RNDIS_BUILD_H */
