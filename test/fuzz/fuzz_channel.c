/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A host that writes anything into its rings and the receive buffer, in any order with what the
 * application does: no access outside them, no mbuf lost or given out twice, and what is given out
 * is sound.
 */
#define FX_SIZES
#define SLOTS	  16u
#define SECTS	  8u
#define POOL_SIZE 127u
#define TX_DESC	  64u

#include "../unit/datapath_fixture.h"
#include "fuzz.h"
#include "hvn_ext.h"

#define QUOTA	 8u /* slots that zero-copy receive may hold */
#define HELD_MAX 64u

enum op {
	OP_FRAME,    /* a frame in a slot, its header perhaps wrong */
	OP_SLOT,     /* a word anywhere in the receive buffer */
	OP_XFER,     /* frames are announced */
	OP_PACKET,   /* any packet */
	OP_WORD,     /* a word anywhere in the ring's data, behind what was published */
	OP_HEADER,   /* a word of either ring's header that is the host's */
	OP_COMPLETE, /* a completion of a message, in flight or not */
	OP_READ,     /* the host reads the guest's ring */
	OP_RX,
	OP_TX,
	OP_SCAN, /* the control thread looks */
	OP_ASK,	 /* the application asks how full the queue is */
	OP_FREE,
	OP_COUNT
};

static struct {
	const uint8_t *in, *end;
	struct rte_mbuf *held[HELD_MAX];
	uint32_t n_held, ring_data;
} s;

static uint64_t
take(uint32_t bytes)
{
	uint64_t v = 0;

	while (bytes-- != 0 && s.in != s.end)
		v = v << 8 | *s.in++;
	return v;
}

static void
frame(void)
{
	uint32_t ppi[4][2], slot = (uint32_t)take(1) % SLOTS, len = (uint32_t)take(2) % 1500;
	uint32_t n = (uint32_t)take(1), word = n >> 4, i;
	uint8_t *p = fx.recv + slot * SLOT_SIZE;

	n &= 3;
	for (i = 0; i < n; i++) {
		ppi[i][0] = (uint32_t)take(1) % 16;
		ppi[i][1] = (uint32_t)take(4);
	}
	host_slot(slot, slot, len, n, ppi);
	/* A header of 44 bytes, and records: one of their words. */
	if (word != 0) {
		uint32_t value = (uint32_t)take(4);

		memcpy(p + 4 * word, &value, sizeof(value));
	}
}

static void
slot_word(void)
{
	uint32_t at = (uint32_t)take(2) % (SLOTS * SLOT_SIZE - 3), value = (uint32_t)take(4);

	memcpy(fx.recv + at, &value, sizeof(value));
}

static void
xfer(void)
{
	uint32_t n = (uint32_t)take(1) % 34, i;
	uint64_t ranges[34];

	for (i = 0; i < n; i++) {
		uint32_t slot = (uint32_t)take(1);

		ranges[i] = slot < 0xF0 ? SLOT_SIZE | (uint64_t)(slot % SLOTS * SLOT_SIZE) << 32
					: take(8);
	}
	host_xfer(take(1), n, ranges);
}

static void
packet(void)
{
	uint16_t type = (uint16_t)(take(1) % 16), flags = (uint16_t)take(1);
	uint32_t ext_len = (uint32_t)take(1) % 16 * 8, len = (uint32_t)take(1);
	uint64_t tid = take(8);
	uint8_t bytes[128 + 256] = { 0 };
	uint32_t i;

	for (i = 0; i < ext_len + len && s.in != s.end; i++)
		bytes[i] = (uint8_t)take(1);
	if (vmbus_ring_tx_put(&fx.host_tx, type, flags, tid, bytes, ext_len, bytes + ext_len,
			      len) == 0)
		vmbus_ring_tx_publish(&fx.host_tx);
}

static void
ring_word(void)
{
	uint32_t at = (uint32_t)take(2) % (s.ring_data / 8) * 8;
	uint64_t value = take(8);

	memcpy(fx.in_mem + HV_PAGE_SIZE + at, &value, sizeof(value));
}

static void
header(void)
{
	struct vmbus_ring_hdr *in = (struct vmbus_ring_hdr *)fx.in_mem;
	struct vmbus_ring_hdr *out = (struct vmbus_ring_hdr *)fx.out_mem;
	uint32_t which = (uint32_t)take(1), value = (uint32_t)take(4);

	if ((which & 0x80) == 0)
		value = value % s.ring_data & ~7u;
	switch (which % 4) {
	case 0:
		in->windex = value;
		break;
	case 1:
		in->pending_send = value;
		break;
	case 2:
		out->rindex = value;
		break;
	default:
		out->imask = value;
	}
}

static void
complete(void)
{
	const struct hvn_txd *t = fx.txq->txd;
	uint64_t tid = t->id_high | t->desc[take(1) % t->nb_desc].id;

	host_complete(tid ^ take(1) << 16, (uint32_t)take(1));
}

static void
host_read(void)
{
	uint32_t n = (uint32_t)take(1) % 64;
	struct vmbus_ring_pkt pkt;

	while (n-- != 0 && host_peek(&pkt) == 1) {
		if (pkt.type != VMBUS_PKT_COMPLETION)
			host_complete(pkt.tid, NVSP_STATUS_SUCCESS);
		host_release(&pkt);
	}
}

static void
look_at(const struct rte_mbuf *m)
{
	uint32_t sum = 0, len = 0;
	const char *why;

	FUZZ_ASSERT(rte_mbuf_check(m, 1, &why) == 0);
	for (const struct rte_mbuf *seg = m; seg != NULL; seg = seg->next) {
		FUZZ_ASSERT(rte_mbuf_refcnt_read(seg) == 1);
		FUZZ_ASSERT(seg->data_off + seg->data_len <= seg->buf_len);
		len += seg->data_len;
		for (uint32_t i = 0; i < seg->data_len; i++)
			sum += *rte_pktmbuf_mtod_offset(seg, const uint8_t *, i);
	}
	FUZZ_ASSERT(len == m->pkt_len && len >= RTE_ETHER_HDR_LEN);
	fuzz_sink = sum;
}

static void
receive(void)
{
	uint32_t n = RTE_MIN((uint32_t)take(1) % 33, HELD_MAX - s.n_held);
	uint32_t got = hvn_rx_burst(fx.rxq, s.held + s.n_held, (uint16_t)n);

	FUZZ_ASSERT(got <= n);
	for (uint32_t i = 0; i < got; i++)
		look_at(s.held[s.n_held + i]);
	s.n_held += got;
}

static struct rte_mbuf *
fresh(uint32_t len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(fx.pool);

	if (m == NULL)
		return NULL;
	len = RTE_MAX(RTE_MIN(len, (uint32_t)rte_pktmbuf_tailroom(m)), RTE_ETHER_HDR_LEN + 0u);
	memset(rte_pktmbuf_append(m, (uint16_t)len), 0x45, len);
	return m;
}

/* What was received, or a new one; with wishes for it. */
static struct rte_mbuf *
to_send(uint32_t how)
{
	static const uint64_t wish[] = { 0,
					 RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_IPV4,
					 RTE_MBUF_F_TX_UDP_CKSUM | RTE_MBUF_F_TX_IPV4,
					 RTE_MBUF_F_TX_TCP_CKSUM | RTE_MBUF_F_TX_IPV6,
					 RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_IPV4,
					 RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_IPV6,
					 RTE_MBUF_F_TX_VLAN,
					 RTE_MBUF_F_TX_QINQ | RTE_MBUF_F_TX_VLAN };
	struct rte_mbuf *m, *tail;

	if ((how & 0x40) == 0 && s.n_held != 0)
		return s.held[--s.n_held];
	m = fresh((uint32_t)take(2) % 2049);
	if (m == NULL || (how & 0x80) == 0)
		return m;
	m->ol_flags |= wish[how % RTE_DIM(wish)];
	m->tx_offload = take(8);
	tail = (how & 0x20) != 0 ? fresh(256) : NULL;
	if (tail != NULL && rte_pktmbuf_chain(m, tail) != 0)
		rte_pktmbuf_free(tail);
	return m;
}

static void
transmit(void)
{
	uint32_t n = (uint32_t)take(1) % BURST, how = (uint32_t)take(1), i, sent;
	struct rte_mbuf *pkts[BURST];

	for (i = 0; i < n; i++)
		if ((pkts[i] = to_send(how)) == NULL)
			break;
	n = hvn_tx_prepare(fx.txq, pkts, (uint16_t)i);
	sent = hvn_tx_burst(fx.txq, pkts, (uint16_t)n);
	FUZZ_ASSERT(sent <= n);
	rte_pktmbuf_free_bulk(pkts + sent, i - sent);
}

static void
one_op(void)
{
	switch ((enum op)(take(1) % OP_COUNT)) {
	case OP_FRAME:
		frame();
		break;
	case OP_SLOT:
		slot_word();
		break;
	case OP_XFER:
		xfer();
		break;
	case OP_PACKET:
		packet();
		break;
	case OP_WORD:
		ring_word();
		break;
	case OP_HEADER:
		header();
		break;
	case OP_COMPLETE:
		complete();
		break;
	case OP_READ:
		host_read();
		break;
	case OP_RX:
		receive();
		break;
	case OP_TX:
		transmit();
		break;
	case OP_SCAN:
		fx.refuse_inbound = (take(1) & 1) != 0;
		hvn_chan_scan(fx.ch);
		break;
	case OP_ASK:
		FUZZ_ASSERT(hvn_rx_queue_count(fx.rxq) <= SLOTS * 1024u);
		hvn_rx_descriptor_status(fx.rxq, (uint16_t)take(2));
		hvn_tx_descriptor_status(fx.txq, (uint16_t)take(2));
		hvn_tx_done_cleanup(fx.txq, (uint32_t)take(1));
		break;
	default:
		rte_pktmbuf_free_bulk(s.held, s.n_held);
		s.n_held = 0;
	}
	fx.n_inbound = 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint64_t offloads[] = { 0, RTE_ETH_RX_OFFLOAD_CHECKSUM,
					     RTE_ETH_RX_OFFLOAD_VLAN_STRIP,
					     RTE_ETH_RX_OFFLOAD_RSS_HASH,
					     RTE_ETH_RX_OFFLOAD_TCP_LRO };
	static bool ready;
	uint32_t how, ops = 0;
	uint64_t wanted = 0;

	if (!ready && fx_eal() != 0)
		exit(1);
	ready = true;
	s.in = data;
	s.end = data + size;
	s.n_held = 0;
	how = (uint32_t)take(1);
	s.ring_data = (how & 0x80) != 0 ? 65536 : 4096;
	fx_open(HV_PAGE_SIZE + s.ring_data);
	fx.memory_refs = 0;
	fx.port.args.rx_copybreak = 64;
	if ((how & 1) != 0 && hvn_ext_create(fx.ch, NULL, QUOTA) != 0)
		exit(1);
	for (uint32_t i = 1; i < RTE_DIM(offloads); i++)
		wanted |= (how & 1u << i) != 0 ? offloads[i] : 0;
	if ((how & 0x40) != 0)
		fx_rx_queue(fx.small, wanted | RTE_ETH_RX_OFFLOAD_SCATTER);
	else
		fx_rx_queue(fx.pool, wanted);
	while (s.in != s.end && ops++ < 1024)
		one_op();
	rte_pktmbuf_free_bulk(s.held, s.n_held);
	FUZZ_ASSERT(fx_close(NULL) == 0 && fx.memory_refs == 0);
	return 0;
}
