/* SPDX-License-Identifier: BSD-3-Clause */
/* The forwarding engines, and which lcore runs which stream. */
#include <errno.h>
#include <string.h>

#include <rte_byteorder.h>
#include <rte_cycles.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_prefetch.h>
#include <rte_udp.h>

#include "burst_time.h"
#include "testpmd_hv.h"

#define PREFETCH_AHEAD 4
#define SLICE_POLLS    256 /* of the main lcore if it is alone, between looks at the clock */
#define UDP_DISCARD    9

/* One burst of a stream: packets handled, 0 if there was nothing to do. */
typedef uint16_t (*engine_t)(struct tp_stream *s);

static struct tp_stream streams[RTE_MAX_ETHPORTS * 2];
static unsigned int n_streams;
static unsigned int n_workers; /* lcores that forward */
static engine_t engine;
static bool running;
static uint32_t stop_flag;
static uint64_t started_at, run_cycles;
/* Of streams of earlier runs: a port may be stopped, and the streams built anew. */
static struct tp_counters past[RTE_MAX_ETHPORTS];
static struct tp_burst_time past_time;

static inline uint16_t
rx_burst(struct tp_stream *s, struct rte_mbuf **pkts)
{
	if (unlikely(tp_opt.time_bursts))
		return burst_time_rx(s, pkts, tp_opt.burst);
	return rte_eth_rx_burst(s->rx_port, s->rx_queue, pkts, tp_opt.burst);
}

static inline uint16_t
tx_burst(struct tp_stream *s, struct rte_mbuf **pkts, uint16_t n)
{
	if (unlikely(tp_opt.time_bursts))
		return burst_time_tx(s, pkts, n);
	return rte_eth_tx_burst(s->tx_port, s->tx_queue, pkts, n);
}

static void
send_burst(struct tp_stream *s, struct rte_mbuf **pkts, uint16_t n)
{
	uint16_t sent = 0;

	if (likely(!s->closed)) {
		sent = tx_burst(s, pkts, n);
		for (uint32_t i = 0; unlikely(sent < n) && i < tp_opt.tx_retries; i++) {
			if (__atomic_load_n(&stop_flag, __ATOMIC_RELAXED) > 1)
				break;
			rte_delay_us(1);
			s->c.retries++;
			sent += tx_burst(s, pkts + sent, n - sent);
		}
	}
	s->c.tx += sent;
	if (unlikely(sent < n)) {
		s->c.dropped += n - sent;
		rte_pktmbuf_free_bulk(pkts + sent, n - sent);
	}
}

static uint16_t
engine_io(struct tp_stream *s)
{
	struct rte_mbuf *pkts[TP_BURST_MAX];
	uint16_t n = rx_burst(s, pkts);

	if (n != 0) {
		s->c.rx += n;
		send_burst(s, pkts, n);
	}
	return n;
}

/* What the receive side said of a packet is no order to the transmit side. */
static inline void
forget_rx(struct rte_mbuf *m)
{
	m->ol_flags &= RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL;
	m->tx_offload = 0;
}

static uint16_t
engine_mac(struct tp_stream *s)
{
	struct rte_mbuf *pkts[TP_BURST_MAX];
	uint16_t n = rx_burst(s, pkts);

	if (n == 0)
		return 0;
	for (uint16_t i = 0; i < n; i++) {
		struct rte_ether_hdr *eth;

		if (i + PREFETCH_AHEAD < n)
			rte_prefetch0(rte_pktmbuf_mtod(pkts[i + PREFETCH_AHEAD], void *));
		eth = rte_pktmbuf_mtod(pkts[i], struct rte_ether_hdr *);
		rte_ether_addr_copy(&s->dst, &eth->dst_addr);
		rte_ether_addr_copy(&s->src, &eth->src_addr);
		forget_rx(pkts[i]);
	}
	s->c.rx += n;
	send_burst(s, pkts, n);
	return n;
}

static uint16_t
engine_macswap(struct tp_stream *s)
{
	struct rte_mbuf *pkts[TP_BURST_MAX];
	uint16_t n = rx_burst(s, pkts);

	if (n == 0)
		return 0;
	for (uint16_t i = 0; i < n; i++) {
		struct rte_ether_hdr *eth;
		struct rte_ether_addr tmp;

		if (i + PREFETCH_AHEAD < n)
			rte_prefetch0(rte_pktmbuf_mtod(pkts[i + PREFETCH_AHEAD], void *));
		eth = rte_pktmbuf_mtod(pkts[i], struct rte_ether_hdr *);
		rte_ether_addr_copy(&eth->dst_addr, &tmp);
		rte_ether_addr_copy(&eth->src_addr, &eth->dst_addr);
		rte_ether_addr_copy(&tmp, &eth->src_addr);
		forget_rx(pkts[i]);
	}
	s->c.rx += n;
	send_burst(s, pkts, n);
	return n;
}

static uint16_t
engine_rxonly(struct tp_stream *s)
{
	struct rte_mbuf *pkts[TP_BURST_MAX];
	uint16_t n = rx_burst(s, pkts);

	if (n != 0) {
		s->c.rx += n;
		rte_pktmbuf_free_bulk(pkts, n);
	}
	return n;
}

/* A UDP datagram to the discard service, between addresses of RFC 2544. */
static void
build_packet(const struct tp_stream *s, struct rte_mbuf *m)
{
	struct {
		struct rte_ether_hdr eth;
		struct rte_ipv4_hdr ip;
		struct rte_udp_hdr udp;
	} __rte_packed __rte_aligned(2) h = { 0 };
	char *data = rte_pktmbuf_mtod(m, char *);
	uint16_t ip_len = tp_opt.txpkts - sizeof(h.eth);

	m->data_len = tp_opt.txpkts;
	m->pkt_len = tp_opt.txpkts;
	h.eth.dst_addr = s->dst;
	h.eth.src_addr = s->src;
	h.eth.ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4);
	h.ip.version_ihl = RTE_IPV4_VHL_DEF;
	h.ip.total_length = rte_cpu_to_be_16(ip_len);
	h.ip.time_to_live = 64;
	h.ip.next_proto_id = IPPROTO_UDP;
	h.ip.src_addr = rte_cpu_to_be_32(RTE_IPV4(198, 18, 0, 1));
	h.ip.dst_addr = rte_cpu_to_be_32(RTE_IPV4(198, 18, 0, 2));
	h.ip.hdr_checksum = rte_ipv4_cksum(&h.ip);
	h.udp.src_port = rte_cpu_to_be_16((uint16_t)(UDP_DISCARD + s->tx_queue));
	h.udp.dst_port = rte_cpu_to_be_16(UDP_DISCARD);
	h.udp.dgram_len = rte_cpu_to_be_16((uint16_t)(ip_len - sizeof(h.ip)));
	memcpy(data, &h, sizeof(h));
	memset(data + sizeof(h), 0, tp_opt.txpkts - sizeof(h));
}

static uint16_t
engine_txonly(struct tp_stream *s)
{
	struct rte_mbuf *pkts[TP_BURST_MAX];

	/* No free buffer: the transmit queue holds all, and gives some back when polled. */
	if (s->closed || rte_pktmbuf_alloc_bulk(ports_pool(), pkts, tp_opt.burst) != 0) {
		if (!s->closed)
			rte_eth_tx_done_cleanup(s->tx_port, s->tx_queue, 0);
		return 0;
	}
	for (uint16_t i = 0; i < tp_opt.burst; i++)
		build_packet(s, pkts[i]);
	s->c.rx += tp_opt.burst;
	send_burst(s, pkts, tp_opt.burst);
	return tp_opt.burst;
}

static const engine_t engines[] = {
	[TP_IO] = engine_io,	     [TP_MAC] = engine_mac,	  [TP_MACSWAP] = engine_macswap,
	[TP_RXONLY] = engine_rxonly, [TP_TXONLY] = engine_txonly,
};

/* Streams are dealt out to the lcores in turn; each polls its own, one burst after another. */
static void
poll_streams(unsigned int worker, uint64_t *now)
{
	for (unsigned int i = worker; i < n_streams; i += n_workers) {
		struct tp_stream *s = &streams[i];
		uint16_t n = engine(s);
		uint64_t t = rte_rdtsc();

		s->c.polls++;
		if (n != 0) {
			s->c.bursts++;
			s->c.cycles += t - *now;
		}
		*now = t;
	}
}

static int
worker_main(void *arg)
{
	unsigned int worker = (unsigned int)(uintptr_t)arg;
	uint64_t now = rte_rdtsc();

	while (__atomic_load_n(&stop_flag, __ATOMIC_RELAXED) == 0)
		poll_streams(worker, &now);
	return 0;
}

bool
forward_slice(void)
{
	uint64_t now = rte_rdtsc();

	if (!running || rte_lcore_count() > 1)
		return false;
	for (unsigned int i = 0; i < SLICE_POLLS; i++)
		poll_streams(0, &now);
	return true;
}

static void
add_stream(const struct tp_port *from, const struct tp_port *to, uint16_t queue)
{
	struct tp_stream *s = &streams[n_streams++];

	memset(s, 0, sizeof(*s));
	s->rx_port = from->id;
	s->rx_queue = queue;
	s->tx_port = to->id;
	s->tx_queue = queue;
	s->closed = to->state != TP_PORT_STARTED;
	s->src = to->mac;
	/* testpmd's default peer: 02:00:00:00:00:<port> */
	s->dst = (struct rte_ether_addr){ { 0x02, 0, 0, 0, 0, (uint8_t)to->id } };
}

static int
build_streams(void)
{
	uint16_t queues = tp_opt.mode == TP_TXONLY ? tp_opt.txq : tp_opt.rxq;

	n_streams = 0;
	for (unsigned int i = 0; i < tp_n_ports; i++) {
		const struct tp_port *port = &tp_ports[i], *peer = &tp_ports[port->peer];

		if (port->state != TP_PORT_STARTED)
			continue;
		/* A partner that has gone for good is no partner; one that is stopped drops. */
		if (peer->state == TP_PORT_CLOSED || tp_opt.mode == TP_TXONLY)
			peer = port;
		for (uint16_t q = 0; q < queues; q++) {
			if (n_streams == RTE_DIM(streams)) {
				fprintf(stderr, TP_NAME ": more than %zu queues\n",
					RTE_DIM(streams));
				return -ENOSPC;
			}
			add_stream(port, peer, q);
		}
	}
	if (n_streams == 0) {
		fprintf(stderr, TP_NAME ": no port is started\n");
		return -ENODEV;
	}
	return 0;
}

int
forward_start(void)
{
	unsigned int lcore, worker = 0, lcores = rte_lcore_count() - 1;
	int rc;

	if (running) {
		fprintf(stderr, TP_NAME ": already forwarding\n");
		return -EBUSY;
	}
	rc = build_streams();
	if (rc != 0)
		return rc;
	engine = engines[tp_opt.mode];
	n_workers = lcores == 0 ? 1 : RTE_MIN(lcores, n_streams);
	__atomic_store_n(&stop_flag, 0, __ATOMIC_RELAXED);
	running = true;
	started_at = rte_rdtsc();
	RTE_LCORE_FOREACH_WORKER(lcore)
	{
		if (worker == n_workers)
			break;
		rc = rte_eal_remote_launch(worker_main, (void *)(uintptr_t)worker++, lcore);
		if (rc != 0) {
			fprintf(stderr, TP_NAME ": lcore %u does not start\n", lcore);
			forward_stop();
			return rc;
		}
	}
	return 0;
}

static void
add_counters(struct tp_counters *to, const struct tp_counters *from)
{
	/* The stream's lcore may be running: each counter is read once, none is torn. */
	for (size_t i = 0; i < sizeof(*to) / sizeof(uint64_t); i++)
		((uint64_t *)to)[i] +=
			__atomic_load_n(&((const uint64_t *)from)[i], __ATOMIC_RELAXED);
}

void
forward_stop(void)
{
	if (!running)
		return;
	/* The second value also ends retries: a queue that takes nothing must not hold us. */
	__atomic_store_n(&stop_flag, 1, __ATOMIC_RELAXED);
	rte_delay_us_sleep(1000);
	__atomic_store_n(&stop_flag, 2, __ATOMIC_RELAXED);
	rte_eal_mp_wait_lcore();
	running = false;
	run_cycles += rte_rdtsc() - started_at;
	past_time = forward_burst_time();
	for (unsigned int i = 0; i < n_streams; i++)
		add_counters(&past[streams[i].rx_port], &streams[i].c);
	n_streams = 0;
}

struct tp_burst_time
forward_burst_time(void)
{
	struct tp_burst_time t = past_time;

	for (unsigned int i = 0; i < n_streams; i++)
		burst_time_join(&t, &streams[i].time);
	return t;
}

bool
forward_running(void)
{
	return running;
}

void
forward_counters(uint16_t port, struct tp_counters *sum)
{
	*sum = past[port];
	for (unsigned int i = 0; i < n_streams; i++)
		if (streams[i].rx_port == port)
			add_counters(sum, &streams[i].c);
}

double
forward_seconds(void)
{
	uint64_t cycles = run_cycles + (running ? rte_rdtsc() - started_at : 0);

	return (double)cycles / (double)rte_get_tsc_hz();
}
