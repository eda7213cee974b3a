/* SPDX-License-Identifier: BSD-3-Clause */
/* Reading what a host says of itself. */
#include <errno.h>
#include <string.h>

#include "hvn_caps.h"

#define ALIGN_FACTOR_MAX 8u /* 256 bytes: more would waste sections, and 32 would overflow */

static int
refuse(const char **why, const char *reason)
{
	*why = reason;
	return -EPROTO;
}

int
hvn_caps_recv_buf(const void *msg, uint32_t len, uint64_t buf_len, uint32_t *slot_size,
		  uint32_t *slot_count, const char **why)
{
	struct nvsp_recv_buf_complete m;

	if (len < sizeof(m))
		return refuse(why, "short answer");
	memcpy(&m, msg, sizeof(m));
	if (m.status != NVSP_STATUS_SUCCESS)
		return refuse(why, "refused");
	if (m.section_count != 1 || m.offset != 0)
		return refuse(why, "not one section at offset 0");
	if (m.slot_size < HVN_SLOT_MIN || m.slot_count == 0)
		return refuse(why, "slots too small, or none");
	if ((uint64_t)m.slot_size * m.slot_count > buf_len)
		return refuse(why, "slots exceed the buffer");
	*slot_size = m.slot_size;
	*slot_count = m.slot_count;
	return 0;
}

int
hvn_caps_send_buf(const void *msg, uint32_t len, uint64_t buf_len, uint32_t *section_size,
		  uint32_t *section_count, const char **why)
{
	struct nvsp_send_buf_complete m;

	if (len < sizeof(m))
		return refuse(why, "short answer");
	memcpy(&m, msg, sizeof(m));
	if (m.status != NVSP_STATUS_SUCCESS)
		return refuse(why, "refused");
	if (m.section_size < HVN_SLOT_MIN || m.section_size % 4 != 0 || m.section_size > buf_len)
		return refuse(why, "impossible section size");
	*section_size = m.section_size;
	*section_count = (uint32_t)(buf_len / m.section_size);
	return 0;
}

int
hvn_caps_initialize(const void *msg, uint32_t len, uint32_t *max_packets, uint32_t *max_transfer,
		    uint32_t *align, const char **why)
{
	struct rndis_initialize_cmplt m = { 0 };

	if (len < RNDIS_INITIALIZE_CMPLT_MIN)
		return refuse(why, "short answer");
	memcpy(&m, msg, len < sizeof(m) ? len : sizeof(m));
	if (m.status != RNDIS_STATUS_SUCCESS)
		return refuse(why, "refused");
	if (m.medium != 0)
		return refuse(why, "not an Ethernet device");
	if (m.align_factor > ALIGN_FACTOR_MAX)
		return refuse(why, "impossible alignment");
	/* 0 packets makes no sense, nor less than a frame does; one packet always works. */
	*max_packets = m.max_packets != 0 ? m.max_packets : 1;
	*max_transfer = m.max_transfer;
	if (m.max_transfer < sizeof(struct rndis_packet) + 1514) {
		*max_packets = 1;
		*max_transfer = UINT32_MAX;
	}
	/* Records are multiples of 4 bytes whatever the host asks for. */
	*align = m.align_factor < 2 ? 4 : 1u << m.align_factor;
	return 0;
}

int
hvn_caps_offload(const void *info, uint32_t len, struct ndis_offload *offload, const char **why)
{
	struct ndis_offload o = { 0 };

	if (len < NDIS_OFFLOAD_SIZE_REV1)
		return refuse(why, "short answer");
	memcpy(&o, info, len < sizeof(o) ? len : sizeof(o));
	if (o.hdr.type != NDIS_OBJECT_OFFLOAD || o.hdr.revision == 0)
		return refuse(why, "not an offload object");
	if (o.hdr.size < NDIS_OFFLOAD_SIZE_REV1 || o.hdr.size > len)
		return refuse(why, "object size outside the answer");
	/* Bytes behind the object's own size are not its. */
	if (o.hdr.size < sizeof(o))
		memset((uint8_t *)&o + o.hdr.size, 0, sizeof(o) - o.hdr.size);
	*offload = o;
	return 0;
}

int
hvn_caps_rss(const void *info, uint32_t len, uint32_t *flags, uint32_t *queues, uint16_t *reta_size,
	     const char **why)
{
	struct ndis_rss_caps c = { 0 };

	if (len < NDIS_RSS_CAPS_SIZE_REV1)
		return refuse(why, "short answer");
	memcpy(&c, info, len < sizeof(c) ? len : sizeof(c));
	if (c.hdr.type != NDIS_OBJECT_RSS_CAPABILITIES || c.hdr.size < NDIS_RSS_CAPS_SIZE_REV1)
		return refuse(why, "not an RSS capabilities object");
	if (c.hdr.size < sizeof(c))
		c.reta_entries = 0;
	*flags = c.flags;
	*queues = c.rx_queues != 0 ? c.rx_queues : 1;
	*reta_size = NDIS_RSS_RETA_DEFAULT;
	if (c.reta_entries != 0 && c.reta_entries <= NDIS_RSS_RETA_MAX)
		*reta_size = c.reta_entries;
	return 0;
}

int
hvn_caps_send_table(const void *msg, uint32_t len, uint32_t channels,
		    uint16_t table[NVSP_SEND_TABLE_ENTRIES], const char **why)
{
	const uint32_t bytes = NVSP_SEND_TABLE_ENTRIES * sizeof(uint32_t);
	uint32_t entry[NVSP_SEND_TABLE_ENTRIES];
	struct nvsp_send_table m;
	uint32_t off;

	if (len < sizeof(m))
		return refuse(why, "short message");
	memcpy(&m, msg, sizeof(m));
	if (m.count != NVSP_SEND_TABLE_ENTRIES || channels == 0)
		return refuse(why, "not 16 entries");
	/* A message of this length has the table there, whatever it says (Linux netvsc.c). */
	off = len >= NVSP_SEND_TABLE_OFF_BUG + bytes ? NVSP_SEND_TABLE_OFF_BUG : m.offset;
	if (off < sizeof(m) || off > len || bytes > len - off)
		return refuse(why, "table outside the message");
	memcpy(entry, (const uint8_t *)msg + off, bytes);
	for (unsigned int i = 0; i < NVSP_SEND_TABLE_ENTRIES; i++)
		table[i] = (uint16_t)(entry[i] < channels ? entry[i] : entry[i] % channels);
	return 0;
}
