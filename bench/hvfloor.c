/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The floor: what the wire itself costs. A loop on the same rings and buffers as a driver's
 * that does only what the protocol demands of a guest, and checks nothing:
 *
 *   receive   read each descriptor, copy each frame into an mbuf-sized buffer, write one
 *             completion for each message
 *   transmit  copy each frame behind a prepared RNDIS header into a send-buffer section,
 *             write one message for each section, take the completions
 *
 * How close a driver comes to it is what bench/run.py reports. It fetches ahead within a message
 * only: a driver that does so across messages can take less.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_malloc.h>
#include <rte_memcpy.h>
#include <rte_pause.h>
#include <rte_prefetch.h>

#include "nvsp_wire.h"
#include "rndis_build.h"
#include "vmbus.h"

#define BUF_COUNT  64 /* the same ones again soon, as a mempool's cache gives them */
#define BURST	   32
#define SCRATCH	   8192
#define TIMEOUT_MS 2000

static volatile bool quit;

struct floor {
	struct hv_vmbus_device *dev;
	struct hv_vmbus_channel *chan;
	const uint8_t *recv;
	uint8_t *send;
	uint32_t section_size;
	uint32_t sections;
	uint32_t max_packets;
	uint8_t *bufs;
	uint32_t buf_size;
	uint32_t frame_max;
	uint32_t next_buf;
	uint8_t scratch[SCRATCH];
	uint32_t free_sections[16384];
	uint32_t n_free;
	uint64_t packets;
	uint64_t cycles;
};

static struct hv_vmbus_device *found;

static int
probe(struct hv_vmbus_driver *drv, struct hv_vmbus_device *dev)
{
	(void)drv;
	found = dev;
	return 0;
}

static int
remove_dev(struct hv_vmbus_device *dev)
{
	hv_vmbus_close(dev);
	return 0;
}

static const struct hv_guid nic_class[] = { VMBUS_CLASS_NIC, { { 0 } } };

static struct hv_vmbus_driver floor_driver = {
	.probe = probe,
	.remove = remove_dev,
	.classes = nic_class,
};

HV_VMBUS_REGISTER_DRIVER(floor, floor_driver);

static void
put(struct floor *f, uint16_t type, uint16_t flags, uint64_t tid, const void *msg, uint32_t len)
{
	struct vmbus_ring *tx = &f->chan->tx;

	while (vmbus_ring_tx_put(tx, type, flags, tid, NULL, 0, msg, len) == -EAGAIN)
		rte_pause();
	if (vmbus_ring_tx_publish(tx))
		hv_vmbus_signal(f->dev, f->chan);
}

static void
released(struct floor *f)
{
	if (vmbus_ring_rx_publish(&f->chan->rx))
		hv_vmbus_signal(f->dev, f->chan);
}

static void
complete(struct floor *f, uint64_t tid)
{
	static const struct nvsp_rndis_complete done = { NVSP_RNDIS_COMPLETE, NVSP_STATUS_SUCCESS };

	put(f, VMBUS_PKT_COMPLETION, 0, tid, &done, sizeof(done));
}

/* Wait for the completion of a request; everything else is acknowledged and dropped. */
static int
wait_for(struct floor *f, uint64_t tid, void *reply, uint32_t len)
{
	uint64_t end = rte_get_timer_cycles() + rte_get_timer_hz() * TIMEOUT_MS / 1000;
	struct vmbus_ring_pkt pkt;

	while (rte_get_timer_cycles() < end) {
		int rc = vmbus_ring_rx_peek(&f->chan->rx, &pkt, f->scratch, SCRATCH);
		bool mine = rc == 1 && pkt.type == VMBUS_PKT_COMPLETION && pkt.tid == tid;

		if (rc == 0)
			continue;
		if (rc < 0)
			return rc;
		if (mine)
			memcpy(reply, pkt.body, RTE_MIN(len, pkt.payload_len));
		vmbus_ring_rx_release(&f->chan->rx, &pkt);
		released(f);
		if (rc == 1 && pkt.type == VMBUS_PKT_XFER_PAGES)
			complete(f, pkt.tid);
		if (mine)
			return 0;
	}
	return -ETIMEDOUT;
}

static int
request(struct floor *f, uint64_t tid, const void *msg, uint32_t msg_len, void *reply, uint32_t len)
{
	uint8_t wire[NVSP_MSG_SIZE] = { 0 };

	memcpy(wire, msg, msg_len);
	put(f, VMBUS_PKT_INBAND, reply != NULL ? VMBUS_PKT_F_RC : 0, tid, wire, sizeof(wire));
	return reply != NULL ? wait_for(f, tid, reply, len) : 0;
}

/* An RNDIS control message through section 0, which data does not use. */
static int
control(struct floor *f, uint64_t tid, const void *msg, uint32_t len)
{
	struct nvsp_rndis req = { NVSP_RNDIS, NVSP_CHANNEL_CONTROL, 0, len };
	struct nvsp_rndis_complete done;

	memcpy(f->send, msg, len);
	return request(f, tid, &req, sizeof(req), &done, sizeof(done));
}

static int
bring_up(struct floor *f)
{
	struct nvsp_init init = { NVSP_INIT, NVSP_VERSION_5, NVSP_VERSION_5 };
	struct nvsp_ndis_config config = { NVSP_NDIS_CONFIG, f->frame_max, 0, NVSP_CAP_8021Q };
	struct nvsp_ndis_version version = { NVSP_NDIS_VERSION, 6, 30 };
	struct nvsp_buf rbuf = { NVSP_RECV_BUF, hv_vmbus_recv_buf(f->dev)->gpadl, NVSP_RECV_BUF_ID,
				 0 };
	struct nvsp_buf sbuf = { NVSP_SEND_BUF, hv_vmbus_send_buf(f->dev)->gpadl, NVSP_SEND_BUF_ID,
				 0 };
	struct rndis_initialize rinit = { { RNDIS_INITIALIZE, sizeof(rinit) }, 1, 1, 0, 0x4000 };
	uint32_t filter = RNDIS_FILTER_PROMISCUOUS | RNDIS_FILTER_DIRECTED;
	uint8_t set[sizeof(struct rndis_request) + 4];
	struct nvsp_init_complete inited = { 0 };
	struct nvsp_recv_buf_complete rdone = { 0 };
	struct nvsp_send_buf_complete sdone = { 0 };
	int rc = request(f, 1, &init, sizeof(init), &inited, sizeof(inited));

	if (rc != 0 || inited.status != NVSP_STATUS_SUCCESS)
		return rc != 0 ? rc : -EPROTO;
	request(f, 0, &config, sizeof(config), NULL, 0);
	request(f, 0, &version, sizeof(version), NULL, 0);
	rc = request(f, 2, &rbuf, sizeof(rbuf), &rdone, sizeof(rdone));
	if (rc == 0)
		rc = request(f, 3, &sbuf, sizeof(sbuf), &sdone, sizeof(sdone));
	if (rc != 0 || sdone.section_size == 0)
		return rc != 0 ? rc : -EPROTO;
	f->section_size = sdone.section_size;
	f->sections = RTE_MIN(hv_vmbus_send_buf(f->dev)->len / f->section_size,
			      RTE_DIM(f->free_sections));
	for (uint32_t i = 1; i < f->sections; i++)
		f->free_sections[f->n_free++] = i;
	rc = control(f, 4, &rinit, sizeof(rinit));
	if (rc != 0)
		return rc;
	rndis_build_request(set, RNDIS_SET, 2, RNDIS_OID_GEN_CURRENT_PACKET_FILTER, &filter, 4);
	return control(f, 5, set, sizeof(set));
}

static inline uint8_t *
next_buf(struct floor *f)
{
	f->next_buf = (f->next_buf + 1) % BUF_COUNT;
	return f->bufs + (size_t)f->next_buf * f->buf_size;
}

/* Copy the frames of one transfer-page packet; its layout is taken on trust. */
static inline uint32_t
take_frames(struct floor *f, const struct vmbus_ring_pkt *pkt)
{
	const struct vmbus_xfer_range *range = (const void *)(pkt->body + 8);
	uint32_t n;

	memcpy(&n, pkt->body + 4, sizeof(n));
	for (uint32_t i = 0; i < n; i++) {
		const struct rndis_packet *msg = (const void *)(f->recv + range[i].off);

		if (i + 4 < n)
			rte_prefetch0(f->recv + range[i + 4].off);
		rte_memcpy(next_buf(f), (const uint8_t *)msg + RNDIS_OFFSET_BASE + msg->data_off,
			   RTE_MIN(msg->data_len, f->buf_size));
	}
	return n;
}

static inline uint32_t
rx_turn(struct floor *f)
{
	static const struct nvsp_rndis_complete done = { NVSP_RNDIS_COMPLETE, NVSP_STATUS_SUCCESS };
	struct vmbus_ring_pkt pkt;
	uint32_t n = 0;

	while (n < BURST && vmbus_ring_rx_peek(&f->chan->rx, &pkt, f->scratch, SCRATCH) == 1) {
		if (pkt.type == VMBUS_PKT_XFER_PAGES) {
			n += take_frames(f, &pkt);
			if (vmbus_ring_tx_put(&f->chan->tx, VMBUS_PKT_COMPLETION, 0, pkt.tid, NULL,
					      0, &done, sizeof(done)) != 0)
				break;
		}
		vmbus_ring_rx_release(&f->chan->rx, &pkt);
	}
	if (n == 0)
		return 0;
	released(f);
	if (vmbus_ring_tx_publish(&f->chan->tx))
		hv_vmbus_signal(f->dev, f->chan);
	return n;
}

static void
take_completions(struct floor *f)
{
	struct vmbus_ring_pkt pkt;

	while (vmbus_ring_rx_peek(&f->chan->rx, &pkt, f->scratch, SCRATCH) == 1) {
		if (pkt.type == VMBUS_PKT_COMPLETION && f->n_free < f->sections)
			f->free_sections[f->n_free++] = (uint32_t)pkt.tid;
		vmbus_ring_rx_release(&f->chan->rx, &pkt);
		if (pkt.type == VMBUS_PKT_XFER_PAGES)
			complete(f, pkt.tid);
	}
	released(f);
}

/* One burst: sections filled with as many frames as the host takes in a message. */
static inline uint32_t
tx_turn(struct floor *f, const uint8_t *hdr, uint32_t hdr_len, uint32_t size)
{
	uint32_t n = 0, stride = (hdr_len + size + 7) & ~7u;

	take_completions(f);
	while (n < BURST && f->n_free != 0) {
		uint32_t section = f->free_sections[f->n_free - 1], len = 0;
		uint32_t most = RTE_MIN(f->max_packets, f->section_size / stride);
		uint8_t *at = f->send + (size_t)section * f->section_size;

		for (uint32_t i = 0; i < RTE_MIN(most, BURST - n); i++, len += stride) {
			rte_memcpy(at + len, hdr, hdr_len);
			rte_memcpy(at + len + hdr_len, next_buf(f), size);
		}

		uint8_t wire[NVSP_MSG_SIZE] = { 0 };
		struct nvsp_rndis msg = { NVSP_RNDIS, NVSP_CHANNEL_DATA, section, len };

		memcpy(wire, &msg, sizeof(msg));
		if (vmbus_ring_tx_put(&f->chan->tx, VMBUS_PKT_INBAND, VMBUS_PKT_F_RC, section, NULL,
				      0, wire, sizeof(wire)) != 0)
			break;
		f->n_free--;
		n += len / stride;
	}
	if (vmbus_ring_tx_publish(&f->chan->tx))
		hv_vmbus_signal(f->dev, f->chan);
	return n;
}

static void
run(struct floor *f, bool tx, uint32_t size, double seconds)
{
	uint64_t hz = rte_get_tsc_hz(), start = rte_rdtsc();
	uint64_t end = start + (uint64_t)(seconds * (double)hz);
	/* Room for the widest load of rte_memcpy(), which compilers cannot rule out. */
	uint8_t hdr[256];
	struct rndis_packet *pkt = rndis_build_packet(hdr);
	uint32_t pad, hdr_len;

	_Static_assert(sizeof(hdr) >= RNDIS_BUILD_PACKET_MAX, "a header fits");
	rndis_build_ppi(pkt, RNDIS_PPI_HASH_VALUE, 0);
	hdr_len = (uint32_t)sizeof(*pkt) + pkt->ppi_len;
	pad = ((hdr_len + size + 7) & ~7u) - hdr_len - size;
	rndis_build_finish(pkt, size, pad);
	while (rte_rdtsc() < end && !quit) {
		uint64_t t = rte_rdtsc_precise();
		uint32_t n = tx ? tx_turn(f, hdr, hdr_len, size) : rx_turn(f);

		if (n != 0) {
			f->cycles += rte_rdtsc_precise() - t;
			f->packets += n;
		}
	}
	printf("{\"driver\": \"floor\", \"mode\": \"%s\", \"packets\": %" PRIu64
	       ", \"seconds\": %.3f, \"cycles_per_packet\": %.2f}\n",
	       tx ? "tx" : "rx", f->packets, seconds,
	       f->packets ? (double)f->cycles / (double)f->packets : 0);
}

static void
on_signal(int sig)
{
	(void)sig;
	quit = true;
}

int
main(int argc, char **argv)
{
	struct hv_vmbus_open_params params = { .recv_buf_bytes = 31 << 20,
					       .send_buf_bytes = 16 << 20 };
	struct floor *f;
	int n = rte_eal_init(argc, argv), rc;

	if (n < 0)
		return 1;
	if (argc - n != 5) {
		fprintf(stderr,
			"usage: hvfloor [EAL arguments] -- rx|tx SIZE SECONDS MAXPACKETS\n");
		return 2;
	}
	argv += n;
	f = rte_zmalloc("floor", sizeof(*f), 0);
	if (found == NULL || f == NULL) {
		fprintf(stderr, "hvfloor: no NIC: name a host socket in HV_VMBUS_SOCKET\n");
		return 1;
	}
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	f->dev = found;
	f->frame_max = RTE_MAX((uint32_t)atoi(argv[2]), 1514u);
	/* An mbuf with that room. */
	f->buf_size = RTE_ALIGN(RTE_MAX(f->frame_max, 2048u) + 128, 64u);
	f->bufs = rte_zmalloc("floor bufs", (size_t)f->buf_size * BUF_COUNT, 64);
	f->max_packets = (uint32_t)RTE_MAX(atoi(argv[4]), 1);
	rc = f->bufs == NULL ? -ENOMEM : hv_vmbus_open(f->dev, &params, &f->chan);
	if (rc == 0) {
		f->recv = hv_vmbus_recv_buf(f->dev)->addr;
		f->send = hv_vmbus_send_buf(f->dev)->addr;
		rc = bring_up(f);
	}
	if (rc == 0)
		run(f, strcmp(argv[1], "tx") == 0, (uint32_t)atoi(argv[2]), atof(argv[3]));
	else
		fprintf(stderr, "hvfloor: cannot bring the NIC up: %s\n", rte_strerror(-rc));
	hv_vmbus_close(f->dev);
	rte_eal_cleanup();
	return rc == 0 ? 0 : 1;
}
