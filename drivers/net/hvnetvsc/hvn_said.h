/* SPDX-License-Identifier: BSD-3-Clause */
/* What a host tells by indication alone. */
#ifndef HVN_SAID_H
#define HVN_SAID_H

#include "hvn.h"

/* Keep an RNDIS message if it is one of those. */
static inline void
hvn_said_keep(struct hvn_said *said, const void *msg, uint32_t len)
{
	struct rndis_indicate ind;

	if (len < sizeof(ind))
		return;
	memcpy(&ind, msg, sizeof(ind));
	if (ind.hdr.type != RNDIS_INDICATE)
		return;
	if (ind.status == RNDIS_STATUS_MEDIA_CONNECT || ind.status == RNDIS_STATUS_MEDIA_DISCONNECT)
		said->media = ind.status;
	if (ind.status == RNDIS_STATUS_OFFLOAD_CONFIG && len <= sizeof(said->offload)) {
		said->offload_len = len;
		memcpy(said->offload, msg, len);
	}
}

#endif /* HVN_SAID_H */
