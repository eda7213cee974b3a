/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the data path executes per packet, on a channel in plain memory and without another thread:
 * run under an instruction counter that collects in hvn_rx_burst() and hvn_tx_burst() alone, the
 * same build always gives the same number. bench/count.py does that.
 *
 *   hvcount rx|tx|fwd|idle SIZE RANGES BURST ROUNDS
 *
 * Prints the number of packets (idle: of polls).
 */
#define FX_SIZES
#define SLOTS	  4096u
#define SECTS	  1024u
#define POOL_SIZE 8191u
#define TX_DESC	  1024u

#include <stdio.h>

#include "../test/unit/datapath_fixture.h"

#define RING_BYTES (4096u + (1u << 20))

static uint32_t size, ranges, burst;

/* Checksum record always, as OpenVMM does. */
static void
make_slots(void)
{
	const uint32_t ppi[1][2] = { { RNDIS_PPI_CHECKSUM,
				       RNDIS_RXCSUM_IP_OK | RNDIS_RXCSUM_UDP_OK } };

	for (uint32_t i = 0; i < SLOTS; i++)
		host_slot(i, i, size, 1, ppi);
}

static void
host_offer(uint32_t frames)
{
	static uint32_t slot, tid;
	uint64_t at[64];
	uint32_t i;

	for (; frames >= ranges; frames -= ranges) {
		for (i = 0; i < ranges; i++, slot = (slot + 1) % SLOTS)
			at[i] = SLOT_SIZE | (uint64_t)(slot * SLOT_SIZE) << 32;
		host_xfer(tid++, ranges, at);
	}
}

/* Read the guest's ring; complete what it sent. */
static void
host_answer(void)
{
	struct vmbus_ring_pkt pkt;

	while (host_peek(&pkt) == 1) {
		if (pkt.type != VMBUS_PKT_COMPLETION)
			host_complete(pkt.tid, NVSP_STATUS_SUCCESS);
		host_release(&pkt);
	}
}

static uint16_t
receive(struct rte_mbuf **pkts)
{
	host_offer(RTE_MAX(burst, ranges));
	return hvn_rx_burst(fx.rxq, pkts, (uint16_t)burst);
}

static uint16_t
make(struct rte_mbuf **pkts)
{
	if (rte_pktmbuf_alloc_bulk(fx.pool, pkts, burst) != 0)
		return 0;
	for (uint32_t i = 0; i < burst; i++)
		pkts[i]->data_len = (uint16_t)(pkts[i]->pkt_len = size);
	return (uint16_t)burst;
}

static uint64_t
turn(char mode, struct rte_mbuf **pkts)
{
	uint16_t n = 0, sent = 0;

	switch (mode) {
	case 'i':
		hvn_rx_burst(fx.rxq, pkts, (uint16_t)burst);
		return 1;
	case 'r':
		sent = n = receive(pkts);
		rte_pktmbuf_free_bulk(pkts, n);
		break;
	case 'f':
	case 't':
		n = mode == 'f' ? receive(pkts) : make(pkts);
		sent = hvn_tx_burst(fx.txq, pkts, n);
		rte_pktmbuf_free_bulk(pkts + sent, n - sent);
		break;
	default:
		break;
	}
	host_answer();
	return sent;
}

int
main(int argc, char **argv)
{
	struct rte_mbuf *pkts[512];
	uint64_t count = 0;

	if (argc != 6 || fx_eal() != 0) {
		fprintf(stderr, "usage: hvcount rx|tx|fwd|idle SIZE RANGES BURST ROUNDS\n");
		return 2;
	}
	size = (uint32_t)atoi(argv[2]);
	ranges = (uint32_t)atoi(argv[3]);
	burst = (uint32_t)atoi(argv[4]);
	fx_open(RING_BYTES);
	fx.txq->offloads = RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
	fx_rx_queue(fx.pool, 0);
	make_slots();
	/* A host that is busy wants no signals. */
	vmbus_ring_rx_mask(&fx.host_rx);
	/* A ring that does not run empty. */
	if (argv[1][0] == 'r' || argv[1][0] == 'f')
		host_offer(4 * RTE_MAX(burst, ranges));
	for (int i = atoi(argv[5]); i > 0; i--)
		count += turn(argv[1][0], pkts);
	printf("%llu\n", (unsigned long long)count);
	return 0;
}
