/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver's data path on a channel in plain memory; the test plays the host at the other ends
 * of the two rings. What the data path calls in the bus and in the control plane is recorded.
 */
#ifndef DATAPATH_FIXTURE_H
#define DATAPATH_FIXTURE_H

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <rte_eal.h>
#include <rte_ip.h>
#include <rte_malloc.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include "hvn_chan.h"
#include "hvn_ctrl.h"
#include "hvn_telemetry.h"
#include "hvn_txd.h"
#include "rndis_build.h"

#define SLOT_SIZE   2048u
#define SECT_SIZE   6144u
#define BURST	    32u
#define INBOUND_MAX 64u
#ifndef FX_SIZES /* small: what runs out in a test runs out soon */
#define SLOTS	  600u
#define SECTS	  16u
#define POOL_SIZE 511u
#define TX_DESC	  64u
#endif

int hvn_logtype;

struct inbound {
	enum hvn_ctrl_kind kind;
	uint64_t tid;
	uint32_t len;
};

static struct {
	struct hvn_port port;
	struct rte_eth_dev dev;
	struct rte_eth_dev_data data;
	void *rxqs[2], *txqs[2];
	struct hv_vmbus_channel vc, vc2;
	struct hvn_chan *ch;
	struct hvn_rxq *rxq;
	struct hvn_txq *txq;
	struct vmbus_ring host_tx, host_rx; /* the host's ends */
	uint8_t *in_mem, *out_mem;
	uint8_t *recv, *send;
	struct rte_mempool *pool, *small;
	unsigned int signals;
	struct inbound inbound[INBOUND_MAX];
	unsigned int n_inbound;
	bool refuse_inbound;
	int memory_refs;
	pthread_t memory_put_by;
} fx;

void
hv_vmbus_memory_get(struct hv_vmbus_memory *m)
{
	(void)m;
	__atomic_add_fetch(&fx.memory_refs, 1, __ATOMIC_RELAXED);
}

void
hv_vmbus_memory_put(struct hv_vmbus_memory *m)
{
	(void)m;
	fx.memory_put_by = pthread_self();
	__atomic_sub_fetch(&fx.memory_refs, 1, __ATOMIC_RELEASE);
}

void
hv_vmbus_channel_keep(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan)
{
	(void)dev;
	chan->kept = true;
}

int
hv_vmbus_dma_check(struct hv_vmbus_device *dev, const void *addr, uint64_t iova, size_t len)
{
	(void)dev, (void)addr, (void)iova, (void)len;
	return 0;
}

void
hv_vmbus_signal(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan)
{
	RTE_SET_USED(dev);
	RTE_SET_USED(chan);
	__atomic_add_fetch(&fx.signals, 1, __ATOMIC_RELAXED);
}

int
hv_vmbus_signals_hold(struct hv_vmbus_device *dev, bool hold)
{
	(void)dev;
	(void)hold;
	return 0;
}

#ifndef FX_TELEMETRY /* a test has its own */
void
hvn_telemetry_lock(void)
{
}

void
hvn_telemetry_unlock(void)
{
}
#endif

#ifndef FX_CTRL /* the control plane itself is tested */
void
hvn_ctrl_kick(struct hvn_port *p)
{
	(void)p;
}

bool
hvn_ctrl_inbound(struct hvn_port *p, enum hvn_ctrl_kind kind, uint64_t tid, const void *msg,
		 uint32_t len)
{
	assert_ptr_equal(p, &fx.port);
	assert_non_null(msg);
	if (fx.refuse_inbound || fx.n_inbound == INBOUND_MAX)
		return false;
	fx.inbound[fx.n_inbound++] = (struct inbound){ kind, tid, len };
	return true;
}
#endif

/* --- set-up ------------------------------------------------------------------------------------- */

static int
fx_eal(void)
{
	static char *argv[] = { (char *)(uintptr_t) "datapath",
				(char *)(uintptr_t) "--no-huge",
				(char *)(uintptr_t) "--no-pci",
				(char *)(uintptr_t) "--no-shconf",
				(char *)(uintptr_t) "--no-telemetry",
				(char *)(uintptr_t) "--log-level=3",
				(char *)(uintptr_t) "-m",
				(char *)(uintptr_t) "64",
				(char *)(uintptr_t) "-l",
				(char *)(uintptr_t) "0" };

	if (rte_eal_init(RTE_DIM(argv), argv) < 0)
		return -1;
	hvn_process_fenced = hvn_process_register() == 0;
	fx.pool = rte_pktmbuf_pool_create("pool", POOL_SIZE, 32, 0, RTE_PKTMBUF_HEADROOM + 2048,
					  SOCKET_ID_ANY);
	fx.small = rte_pktmbuf_pool_create("small", POOL_SIZE, 0, 0, RTE_PKTMBUF_HEADROOM + 256,
					   SOCKET_ID_ANY);
	return fx.pool == NULL || fx.small == NULL ? -1 : 0;
}

static void
fx_rx_queue(struct rte_mempool *pool, uint64_t offloads)
{
	const struct rte_eth_rxconf conf = { .offloads = offloads };

	fx.data.mtu = 1500;
	assert_int_equal(hvn_rx_queue_setup(&fx.dev, 0, 512, SOCKET_ID_ANY, &conf, pool), 0);
	fx.data.mtu = 9000;
	fx.rxq = fx.data.rx_queues[0];
	assert_int_equal(hvn_rxq_start(fx.rxq), 0);
}

/* One channel with rings of ring_bytes (header page included), one queue each way. */
static void
fx_open(uint32_t ring_bytes)
{
	const struct rte_eth_txconf tx = { .tx_free_thresh = 16 };
	struct hvn_port *p = &fx.port;

	memset(p, 0, sizeof(*p));
	memset(&fx.data, 0, sizeof(fx.data));
	fx.in_mem = aligned_alloc(4096, ring_bytes);
	fx.out_mem = aligned_alloc(4096, ring_bytes);
	fx.recv = aligned_alloc(4096, SLOT_SIZE * SLOTS);
	fx.send = aligned_alloc(4096, SECT_SIZE * SECTS);
	memset(fx.in_mem, 0, ring_bytes);
	memset(fx.out_mem, 0, ring_bytes);
	memset(fx.recv, 0, SLOT_SIZE * SLOTS);
	memset(&fx.vc, 0, sizeof(fx.vc));
	assert_int_equal(vmbus_ring_init_tx(&fx.host_tx, fx.in_mem, ring_bytes, 4096), 0);
	assert_int_equal(vmbus_ring_init_rx(&fx.vc.rx, fx.in_mem, ring_bytes, 4096), 0);
	assert_int_equal(vmbus_ring_init_tx(&fx.vc.tx, fx.out_mem, ring_bytes, 4096), 0);
	assert_int_equal(vmbus_ring_init_rx(&fx.host_rx, fx.out_mem, ring_bytes, 4096), 0);
	fx.signals = 0;
	fx.n_inbound = 0;
	fx.refuse_inbound = false;

	fx.dev.data = &fx.data;
	fx.data.dev_private = p;
	fx.data.rx_queues = fx.rxqs;
	fx.data.tx_queues = fx.txqs;
	fx.data.nb_rx_queues = fx.data.nb_tx_queues = 1;
	fx.data.mtu = 1500;
	p->data = &fx.data;
	p->running = true;
	p->recv_buf = fx.recv;
	p->recv_len = SLOT_SIZE * SLOTS;
	p->send_buf = fx.send;
	p->send_len = SECT_SIZE * SECTS;
	p->caps = (struct hvn_host_caps){
		.nvsp_version = NVSP_VERSION_6_1,
		.mtu = 1500,
		.max_packets = 8,
		.max_transfer = 0xEFFFFFFF,
		.align = 8,
		.slot_size = SLOT_SIZE,
		.slot_count = SLOTS,
		.section_size = SECT_SIZE,
		.section_count = SECTS,
		.lso4_max = 62780,
		.lso6_max = 62780,
	};
	p->args.udp_cksum_max = UINT16_MAX;
	p->args.tx_copybreak = HVN_TX_COPYBREAK;
	p->caps.offload.ip4_tx.flags = 0x155;
	p->caps.offload.ip6_tx.flags = 0x055;
	p->known = p->caps;
	assert_int_equal(hvn_chan_create(p, &fx.vc, &fx.ch), 0);
	p->chan[0] = fx.ch;
	p->n_chans = 1;
	fx.data.mtu = 9000; /* of sending: what is copied and what is read in place */
	assert_int_equal(hvn_tx_queue_setup(&fx.dev, 0, TX_DESC, SOCKET_ID_ANY, &tx), 0);
	fx.txq = fx.data.tx_queues[0];
	assert_int_equal(hvn_txq_start(fx.txq), 0);
}

/* Everything back where it came from: the proof that nothing leaked. */
static inline int
fx_close(void **state)
{
	RTE_SET_USED(state);
	if (fx.rxq != NULL)
		hvn_rx_queue_release(&fx.dev, 0);
	hvn_tx_queue_release(&fx.dev, 0);
	hvn_txq_free_released(&fx.port, 0, true);
	hvn_chan_free(fx.ch);
	fx.rxq = NULL;
	fx.ch = NULL;
	free(fx.in_mem);
	free(fx.out_mem);
	free(fx.recv);
	free(fx.send);
	if (rte_mempool_avail_count(fx.pool) != POOL_SIZE ||
	    rte_mempool_avail_count(fx.small) != POOL_SIZE) {
		print_error("mbufs missing or doubled: %u and %u of %u\n",
			    rte_mempool_avail_count(fx.pool), rte_mempool_avail_count(fx.small),
			    POOL_SIZE);
		return -1;
	}
	return 0;
}

static inline int
fx_big(void **state)
{
	RTE_SET_USED(state);
	fx_open(4096 + 65536);
	fx_rx_queue(fx.pool, 0);
	return 0;
}

static inline int
fx_tiny(void **state)
{
	RTE_SET_USED(state);
	fx_open(4096 + 4096);
	fx_rx_queue(fx.pool, 0);
	return 0;
}

/* A process that is no more. */
static inline uint32_t
dead_process(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	return (uint32_t)pid;
}

/* One that lives until it is killed, but not longer than a test that fails. */
static inline pid_t
living_process(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		alarm(60);
		pause();
		_exit(0);
	}
	assert_true(pid > 0);
	return pid;
}

/* --- the host's side ---------------------------------------------------------------------------- */

/* A byte of a frame, so that any mix-up shows. */
static uint8_t
pattern(uint32_t id, uint32_t i)
{
	return (uint8_t)(id * 31 + i * 7 + (i >> 8));
}

static void
make_frame(uint8_t *p, uint32_t id, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		p[i] = pattern(id, i);
	p[0] &= 0xFE;
	p[12] = 0x88;
	p[13] = 0xB5;
}

static inline struct rte_mbuf *
make_packet(uint32_t id, uint32_t len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(fx.pool);

	assert_non_null(m);
	make_frame((uint8_t *)rte_pktmbuf_append(m, (uint16_t)len), id, len);
	return m;
}

/* Lay a frame out in a slot with the records given; returns the range of it. */
static uint64_t
host_slot(uint32_t slot, uint32_t id, uint32_t len, uint32_t n_ppi, const uint32_t (*ppi)[2])
{
	uint8_t *p = fx.recv + slot * SLOT_SIZE;
	struct rndis_packet *pkt = rndis_build_packet(p);

	for (uint32_t i = 0; i < n_ppi; i++)
		rndis_build_ppi(pkt, ppi[i][0], ppi[i][1]);
	pkt->data_off = 256 - RNDIS_OFFSET_BASE;
	pkt->data_len = len;
	pkt->hdr.len = SLOT_SIZE;
	make_frame(p + 256, id, len);
	return SLOT_SIZE | (uint64_t)(slot * SLOT_SIZE) << 32;
}

static const uint32_t nvsp_data[10] = { NVSP_RNDIS, NVSP_CHANNEL_DATA, NVSP_NO_SECTION };
static const uint32_t nvsp_ctrl[10] = { NVSP_RNDIS, NVSP_CHANNEL_CONTROL, NVSP_NO_SECTION };

/* Write a packet; false if the ring is full. Published at once. */
static bool
host_put(uint16_t type, uint64_t tid, const void *ext, uint32_t ext_len, const void *payload,
	 uint32_t payload_len)
{
	int rc = vmbus_ring_tx_put(&fx.host_tx, type, VMBUS_PKT_F_RC, tid, ext, ext_len, payload,
				   payload_len);

	if (rc != 0)
		return false;
	vmbus_ring_tx_publish(&fx.host_tx);
	return true;
}

static bool
host_xfer(uint64_t tid, uint32_t n, const uint64_t *ranges)
{
	uint64_t ext[64];

	assert_true(n < RTE_DIM(ext));
	ext[0] = NVSP_RECV_BUF_ID | 0xAB000000u | (uint64_t)n << 32; /* reserved: garbage */
	memcpy(ext + 1, ranges, n * sizeof(*ranges));
	return host_put(VMBUS_PKT_XFER_PAGES, tid, ext, 8 + n * 8, nvsp_data, sizeof(nvsp_data));
}

/* A piece of a coalesced frame: flags of the packet id, bytes `at`.. of frame id. */
static inline uint64_t
host_piece(uint32_t slot, uint8_t pkt_flags, uint32_t id, uint32_t at, uint32_t len)
{
	const uint32_t ppi[1][2] = { { RNDIS_PPI_PACKET_ID,
				       1u | (RNDIS_PKTID_SUBALLOC | (uint32_t)pkt_flags) << 8 } };
	uint64_t range = host_slot(slot, id, len, 1, ppi);
	uint8_t frame[4096];

	make_frame(frame, id, 4096);
	memcpy(fx.recv + slot * SLOT_SIZE + 256, frame + at, len);
	return range;
}

/* n frames of len bytes: ids and slots from first on. */
static inline bool
host_frames(uint64_t tid, uint32_t first, uint32_t n, uint32_t len)
{
	uint64_t ranges[64];

	for (uint32_t i = 0; i < n; i++)
		ranges[i] = host_slot((first + i) % SLOTS, first + i, len, 0, NULL);
	return host_xfer(tid, n, ranges);
}

static inline bool
host_complete(uint64_t tid, uint32_t status)
{
	const uint32_t nvsp[10] = { NVSP_RNDIS_COMPLETE, status };

	return host_put(VMBUS_PKT_COMPLETION, tid, NULL, 0, nvsp, sizeof(nvsp));
}

/* Next packet the guest sent: 1, or 0 if there is none. Valid until host_release(). */
static int
host_peek(struct vmbus_ring_pkt *pkt)
{
	static uint8_t scratch[4096];

	return vmbus_ring_rx_peek(&fx.host_rx, pkt, scratch, sizeof(scratch));
}

static void
host_release(const struct vmbus_ring_pkt *pkt)
{
	vmbus_ring_rx_release(&fx.host_rx, pkt);
	vmbus_ring_rx_publish(&fx.host_rx);
}

/* Send a packet that the host reads where it lies; its id. */
static inline uint64_t
send_direct(void)
{
	struct rte_mbuf *m = make_packet(7, 1900);
	struct vmbus_ring_pkt pkt;

	assert_int_equal(hvn_tx_burst(fx.txq, &m, 1), 1);
	assert_int_equal(host_peek(&pkt), 1);
	assert_int_equal(pkt.type, VMBUS_PKT_GPA_DIRECT);
	host_release(&pkt);
	return pkt.tid;
}

/* The guest has acknowledged exactly this one next. */
static inline void
expect_ack(uint64_t tid, uint32_t status)
{
	struct vmbus_ring_pkt pkt;

	assert_int_equal(host_peek(&pkt), 1);
	assert_int_equal(pkt.type, VMBUS_PKT_COMPLETION);
	assert_int_equal(pkt.flags, 0);
	assert_int_equal(pkt.tid, tid);
	assert_int_equal(pkt.payload_len, 8);
	assert_int_equal(hv_load32(pkt.body), NVSP_RNDIS_COMPLETE);
	assert_int_equal(hv_load32(pkt.body + 4), status);
	host_release(&pkt);
}

static inline void
expect_silence(void)
{
	struct vmbus_ring_pkt pkt;

	assert_int_equal(host_peek(&pkt), 0);
}

/* The frame with this id, and free it. */
static inline void
expect_frame(struct rte_mbuf *m, uint32_t id, uint32_t len)
{
	uint8_t want[4096] = { 0 }, buf[4096];
	const uint8_t *got;

	make_frame(want, id, len);
	assert_int_equal(m->pkt_len, len);
	rte_mbuf_sanity_check(m, 1);
	got = rte_pktmbuf_read(m, 0, len, buf);
	assert_non_null(got);
	assert_memory_equal(got, want, len);
	rte_pktmbuf_free(m);
}

#endif /* DATAPATH_FIXTURE_H */
