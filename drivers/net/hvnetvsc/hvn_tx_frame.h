/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a packet needs besides its bytes: per-packet information, and headers that differ from
 * those in the mbuf. The mbuf is never modified; it may be shared.
 */
#ifndef HVN_TX_FRAME_H
#define HVN_TX_FRAME_H

#include "hvn.h"
#include "hvn_txd.h"

#define HVN_TX_PPIS	 3u /* hash value, VLAN, checksum or LSO */
#define HVN_TX_RNDIS_MAX (44u + HVN_TX_PPIS * RNDIS_PPI_U32_SIZE)
/* Frame headers that fit a descriptor's slot behind the RNDIS header. */
#define HVN_TX_HEAD_MAX (HVN_TXD_HDR_SIZE - HVN_TX_RNDIS_MAX)

struct hvn_tx_frame {
	uint32_t len;	   /* of the frame the host gets */
	uint32_t head_len; /* bytes at head[], which come first */
	uint32_t skip;	   /* bytes of the mbuf chain that head[] stands for */
	uint32_t n_ppi;	   /* besides the hash value */
	uint32_t ppi_type[HVN_TX_PPIS - 1];
	uint32_t ppi_value[HVN_TX_PPIS - 1];
	uint8_t head[HVN_TX_HEAD_MAX];
};

/*
 * Describe a packet for the host: move an inline 802.1Q tag out, fix the headers for checksum and
 * segmentation offload, compute checksums that the host cannot. 0; -EINVAL if the offload request
 * contradicts the packet, -ENOTSUP if neither the host nor this driver can do it.
 */
int hvn_tx_describe(const struct hvn_port *p, const struct rte_mbuf *m, struct hvn_tx_frame *f);

#endif /* HVN_TX_FRAME_H */
