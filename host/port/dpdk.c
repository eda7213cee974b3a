/* SPDX-License-Identifier: BSD-3-Clause */
/* dpdk: the NIC's wire is a DPDK port: a capture file, a tap, a socket, memory, hardware. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_bus.h>
#include <rte_dev.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include "host.h"
#include "kinds.h"

#define HELD	     256 /* received, offered to the guest */
#define TX_BATCH     64
#define DESCRIPTORS  512
#define MBUFS	     1024
#define ROOM	     9728
#define MTU	     9600
#define VLAN_LEN     4
#define CLOSE_TRIES  1000 /* of the last frames, when the host ends */
#define FLATTEN_ROOM 65536

/* What waits for room in a transmit queue. */
struct out {
	struct rte_mbuf *tx[TX_BATCH];
	unsigned int n;
};

struct dpdk {
	struct port port;
	char name[RTE_ETH_NAME_MAX_LEN];
	uint16_t id;
	bool opened;
	bool probed; /* by us: removed at the end */
	struct rte_mempool *pool;
	struct rte_mbuf *held[HELD]; /* ring */
	struct port_frame frames[HELD];
	uint8_t *flat[HELD]; /* copy of a frame in several segments */
	unsigned int head;
	unsigned int used;
	unsigned int n_queues, rx_next;
	struct out *out; /* n_queues of them */
	uint64_t sent;	 /* to the guest */
	uint64_t sent_bytes;
	uint64_t received; /* from the guest */
	uint64_t received_bytes;
	uint64_t no_mbuf;
	uint64_t refused;
	uint64_t unusable; /* received frames that could not be made contiguous */
	uint64_t last_rx;  /* ns */
};

static struct dpdk *
dpdk_of(const struct port *port)
{
	return (struct dpdk *)(uintptr_t)port;
}

static int
complain(const struct dpdk *d, const char *what, int rc)
{
	fprintf(stderr, "hv-host: port dpdk: %s: %s: %s\n", d->name, what, strerror(-rc));
	return rc;
}

/* Take a port that exists (-- --vdev=..., -a ...), or create a virtual device. */
static int
dpdk_probe(struct dpdk *d, const char *text)
{
	const char *args = strchr(text, ',');
	size_t len = args ? (size_t)(args - text) : strlen(text);
	int rc;

	if (len == 0 || len >= sizeof(d->name)) {
		fprintf(stderr, "hv-host: port dpdk: \"%s\" names no device; e.g. dpdk:net_tap0\n",
			text);
		return -EINVAL;
	}
	memcpy(d->name, text, len);
	if (rte_eth_dev_get_port_by_name(d->name, &d->id) == 0)
		return 0;
	rc = rte_eal_hotplug_add("vdev", d->name, args ? args + 1 : "");
	if (rc != 0)
		return complain(d,
				"no such device, or its arguments are wrong (more behind "
				"-- --log-level=7)",
				rc);
	d->probed = true;
	rc = rte_eth_dev_get_port_by_name(d->name, &d->id);
	return rc != 0 ? complain(d, "device without a port", rc) : 0;
}

static int
dpdk_configure(struct dpdk *d)
{
	struct rte_eth_conf conf = { 0 };
	struct rte_eth_dev_info info;
	uint16_t nb_rx = DESCRIPTORS, nb_tx = DESCRIPTORS;
	int rc = rte_eth_dev_info_get(d->id, &info), socket;

	if (rc != 0)
		return complain(d, "no information", rc);
	if (d->n_queues > info.max_rx_queues)
		d->n_queues = info.max_rx_queues;
	if (d->n_queues > info.max_tx_queues)
		d->n_queues = info.max_tx_queues;
	/* The guest's MTU may change; the wire carries what one mbuf holds, or the device takes. */
	conf.rxmode.mtu = info.max_mtu != 0 && info.max_mtu < MTU ? info.max_mtu : MTU;
	if (info.max_rx_pktlen < conf.rxmode.mtu + RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN)
		conf.rxmode.mtu = info.max_rx_pktlen - RTE_ETHER_HDR_LEN - RTE_ETHER_CRC_LEN;
	conf.rxmode.offloads = info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_SCATTER;
	conf.txmode.offloads = info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	rc = rte_eth_dev_configure(d->id, (uint16_t)d->n_queues, (uint16_t)d->n_queues, &conf);
	if (rc != 0)
		return complain(d, "configure", rc);
	d->opened = true;
	rc = rte_eth_dev_adjust_nb_rx_tx_desc(d->id, &nb_rx, &nb_tx);
	if (rc != 0)
		return complain(d, "descriptors", rc);
	socket = rte_eth_dev_socket_id(d->id);
	for (uint16_t q = 0; q < d->n_queues; q++) {
		rc = rte_eth_rx_queue_setup(d->id, q, nb_rx, (unsigned int)socket, NULL, d->pool);
		if (rc != 0)
			return complain(d, "receive queue", rc);
		rc = rte_eth_tx_queue_setup(d->id, q, nb_tx, (unsigned int)socket, NULL);
		if (rc != 0)
			return complain(d, "transmit queue", rc);
	}
	rc = rte_eth_dev_start(d->id);
	if (rc != 0)
		return complain(d, "start", rc);
	/* Whose frames the guest wants is the NIC's business; not every device can be told. */
	rte_eth_promiscuous_enable(d->id);
	rte_eth_allmulticast_enable(d->id);
	return 0;
}

static int
dpdk_pool(struct dpdk *d)
{
	char name[32];

	snprintf(name, sizeof(name), "hv_port%u", d->id);
	d->pool = rte_pktmbuf_pool_create(name, MBUFS + d->n_queues * TX_BATCH, 64, 0,
					  ROOM + RTE_PKTMBUF_HEADROOM, SOCKET_ID_ANY);
	return d->pool == NULL ? complain(d, "packet memory; more is got by -- -m 256", -ENOMEM)
			       : 0;
}

/* Queues that the other end has too: memif must not be asked for others. */
static unsigned int
queues_used(const struct dpdk *d)
{
	unsigned int n = nic_channels(d->port.nic);

	return n < d->n_queues ? n : d->n_queues;
}

static unsigned int
flush_queue(struct dpdk *d, unsigned int queue)
{
	struct out *o = &d->out[queue];
	unsigned int n;

	if (o->n == 0)
		return 0;
	n = rte_eth_tx_burst(d->id, (uint16_t)queue, o->tx, (uint16_t)o->n);
	o->n -= n;
	memmove(o->tx, o->tx + n, o->n * sizeof(o->tx[0]));
	return n;
}

/* Frames of a guest that had more queues than the one that is there now. */
static void
move_queue(struct dpdk *d, unsigned int from, unsigned int to)
{
	struct out *a = &d->out[from], *b = &d->out[to];
	unsigned int n = a->n < TX_BATCH - b->n ? a->n : TX_BATCH - b->n;

	memcpy(b->tx + b->n, a->tx, n * sizeof(a->tx[0]));
	b->n += n;
	a->n -= n;
	memmove(a->tx, a->tx + n, a->n * sizeof(a->tx[0]));
}

static unsigned int
dpdk_flush(struct port *port)
{
	struct dpdk *d = dpdk_of(port);
	unsigned int used = queues_used(d), n = 0;

	for (unsigned int q = used; q < d->n_queues; q++)
		if (d->out[q].n != 0)
			move_queue(d, q, q % used);
	for (unsigned int q = 0; q < used; q++)
		n += flush_queue(d, q);
	return n;
}

static unsigned int
dpdk_unsent(const struct port *port)
{
	const struct dpdk *d = dpdk_of(port);
	unsigned int n = 0;

	for (unsigned int q = 0; d->out != NULL && q < d->n_queues; q++)
		n += d->out[q].n;
	return n;
}

static void
dpdk_discard(struct port *port)
{
	struct dpdk *d = dpdk_of(port);

	for (unsigned int q = 0; d->out != NULL && q < d->n_queues; q++) {
		rte_pktmbuf_free_bulk(d->out[q].tx, d->out[q].n);
		d->out[q].n = 0;
	}
}

/* Free what waits in either direction. */
static void
drop_held(struct dpdk *d)
{
	dpdk_discard(&d->port);
	for (; d->used != 0; d->used--, d->head = (d->head + 1) % HELD)
		rte_pktmbuf_free(d->held[d->head]);
}

static void
dpdk_destroy(struct port *port)
{
	struct dpdk *d = dpdk_of(port);

	for (unsigned int i = 0; i < CLOSE_TRIES && dpdk_unsent(port) != 0; i++)
		dpdk_flush(port);
	if (dpdk_unsent(port) != 0)
		fprintf(stderr, "hv-host: port dpdk: %s: %u frames of the guest not sent\n",
			d->name, dpdk_unsent(port));
	drop_held(d);
	if (d->opened) {
		rte_eth_dev_stop(d->id);
		if (!d->probed)
			rte_eth_dev_close(d->id);
	}
	if (d->probed)
		rte_eal_hotplug_remove("vdev", d->name);
	rte_mempool_free(d->pool);
	for (unsigned int i = 0; i < HELD; i++)
		free(d->flat[i]);
	free(d->out);
	free(d);
}

static int
dpdk_create(struct nic *nic, const char *text, struct port **port)
{
	struct dpdk *d = calloc(1, sizeof(*d));
	int rc;

	if (d == NULL)
		return -ENOMEM;
	d->port = (struct port){ .ops = &port_dpdk_ops, .nic = nic };
	d->n_queues = nic_port_queues(nic);
	d->out = calloc(d->n_queues, sizeof(*d->out));
	rc = d->out == NULL ? -ENOMEM : dpdk_probe(d, text);
	if (rc == 0)
		rc = dpdk_pool(d);
	if (rc == 0)
		rc = dpdk_configure(d);
	if (rc != 0) {
		dpdk_destroy(&d->port);
		return rc;
	}
	*port = &d->port;
	return 0;
}

/* One contiguous frame at d->frames[i]; false: it cannot be had. */
static bool
dpdk_flatten(struct dpdk *d, unsigned int i, struct rte_mbuf *m)
{
	struct port_frame *f = &d->frames[i];

	*f = (struct port_frame){ .len = m->pkt_len };
	if (m->nb_segs == 1) {
		f->data = rte_pktmbuf_mtod(m, const uint8_t *);
		return true;
	}
	if (m->pkt_len > FLATTEN_ROOM)
		return false;
	if (d->flat[i] == NULL)
		d->flat[i] = malloc(FLATTEN_ROOM);
	if (d->flat[i] == NULL)
		return false;
	/* Segments always span more than one piece here: this copies. */
	f->data = d->flat[i];
	return rte_pktmbuf_read(m, 0, m->pkt_len, d->flat[i]) != NULL;
}

/* A NIC's tag travels beside the frame. */
static void
dpdk_strip_vlan(struct port_frame *f, const struct rte_mbuf *m)
{
	uint8_t *p = (uint8_t *)(uintptr_t)f->data;

	if ((m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) != 0) {
		f->flags |= PORT_F_VLAN;
		f->tci = m->vlan_tci;
	} else if (f->len >= RTE_ETHER_HDR_LEN + VLAN_LEN && p[12] == 0x81 && p[13] == 0x00) {
		f->flags |= PORT_F_VLAN;
		f->tci = (uint16_t)(p[14] << 8 | p[15]);
		memmove(p + VLAN_LEN, p, 2 * RTE_ETHER_ADDR_LEN);
		f->data = p + VLAN_LEN;
		f->len -= VLAN_LEN;
	}
}

static void
receive_queue(struct dpdk *d, unsigned int queue)
{
	unsigned int room = HELD - d->used, i;
	struct rte_mbuf *burst[64];
	uint16_t n =
		rte_eth_rx_burst(d->id, (uint16_t)queue, burst, (uint16_t)(room < 64 ? room : 64));

	if (n != 0)
		d->last_rx = host_now();
	for (uint16_t k = 0; k < n; k++) {
		i = (d->head + d->used) % HELD;
		if (!dpdk_flatten(d, i, burst[k])) {
			d->unusable++;
			rte_pktmbuf_free(burst[k]);
			continue;
		}
		dpdk_strip_vlan(&d->frames[i], burst[k]);
		d->held[i] = burst[k];
		d->used++;
	}
}

static void
dpdk_receive(struct dpdk *d)
{
	unsigned int n = queues_used(d);

	for (unsigned int i = 0; i < n && d->used < HELD; i++) {
		d->rx_next = (d->rx_next + 1) % n;
		receive_queue(d, d->rx_next);
	}
}

static unsigned int
dpdk_peek(struct port *port, struct port_frame *frames, unsigned int max)
{
	struct dpdk *d = dpdk_of(port);

	if (d->used < max && d->used < HELD)
		dpdk_receive(d);
	if (max > d->used)
		max = d->used;
	for (unsigned int k = 0; k < max; k++)
		frames[k] = d->frames[(d->head + k) % HELD];
	return max;
}

static void
dpdk_release(struct port *port, unsigned int n)
{
	struct dpdk *d = dpdk_of(port);

	for (unsigned int k = 0; k < n && d->used != 0; k++) {
		d->sent++;
		d->sent_bytes += d->frames[d->head].len;
		rte_pktmbuf_free(d->held[d->head]);
		d->head = (d->head + 1) % HELD;
		d->used--;
	}
}

/* Append bytes, in as many segments as they need. */
static bool
append(struct dpdk *d, struct rte_mbuf *head, const void *data, uint32_t len)
{
	const uint8_t *p = data;

	while (len != 0) {
		struct rte_mbuf *tail = rte_pktmbuf_lastseg(head), *more;
		uint32_t n = rte_pktmbuf_tailroom(tail);

		if (n == 0) {
			more = rte_pktmbuf_alloc(d->pool);
			if (more == NULL)
				return false;
			if (rte_pktmbuf_chain(head, more) != 0) {
				rte_pktmbuf_free(more);
				return false;
			}
			continue;
		}
		if (n > len)
			n = len;
		memcpy(rte_pktmbuf_append(head, (uint16_t)n), p, n);
		p += n;
		len -= n;
	}
	return true;
}

static struct rte_mbuf *
dpdk_copy(struct dpdk *d, const struct port_frame *f)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(d->pool);
	uint8_t tag[VLAN_LEN] = { 0x81, 0, (uint8_t)(f->tci >> 8), (uint8_t)f->tci };
	uint32_t macs = 2 * RTE_ETHER_ADDR_LEN;
	bool ok;

	if (m == NULL)
		return NULL;
	if ((f->flags & PORT_F_VLAN) != 0)
		ok = append(d, m, f->data, macs) && append(d, m, tag, VLAN_LEN) &&
		     append(d, m, f->data + macs, f->len - macs);
	else
		ok = append(d, m, f->data, f->len);
	if (ok)
		return m;
	rte_pktmbuf_free(m);
	return NULL;
}

static bool
dpdk_push(struct port *port, const struct port_frame *frame)
{
	struct dpdk *d = dpdk_of(port);
	unsigned int queue = frame->queue % queues_used(d);
	struct out *o = &d->out[queue];
	struct rte_mbuf *m;

	if (o->n == TX_BATCH)
		flush_queue(d, queue);
	if (o->n == TX_BATCH) {
		d->refused++;
		return false;
	}
	if (frame->len < RTE_ETHER_HDR_LEN)
		return true;
	m = dpdk_copy(d, frame);
	if (m == NULL) {
		d->no_mbuf++;
		return false;
	}
	o->tx[o->n++] = m;
	d->received++;
	d->received_bytes += frame->len;
	return true;
}

static int
dpdk_command(struct port *port, const char *cmd, json_t *request, json_t *reply)
{
	struct dpdk *d = dpdk_of(port);

	(void)request;
	(void)reply;
	if (strcmp(cmd, "cut") == 0) {
		drop_held(d);
		return rte_eth_dev_stop(d->id);
	}
	if (strcmp(cmd, "mend") == 0)
		return rte_eth_dev_start(d->id);
	if (strcmp(cmd, "reset-stats") != 0 && strcmp(cmd, "clear") != 0)
		return -ENOENT;
	d->sent = d->sent_bytes = d->received = d->received_bytes = 0;
	d->no_mbuf = d->refused = d->unusable = 0;
	return 0;
}

static json_t *
dpdk_stats(struct port *port)
{
	const struct dpdk *d = dpdk_of(port);
	struct rte_eth_stats st = { 0 };
	uint64_t now = host_clock();

	rte_eth_stats_get(d->id, &st);
	/* A capture file that is used up looks like a wire gone silent. */
	return json_pack("{ss ss sI sI sI sI sI sI sI sI sI sI sI}", "kind", "dpdk", "device",
			 d->name, "sent", (json_int_t)d->sent, "sent_bytes",
			 (json_int_t)d->sent_bytes, "from_guest_frames", (json_int_t)d->received,
			 "from_guest_bytes", (json_int_t)d->received_bytes, "waiting",
			 (json_int_t)d->used, "unsent", (json_int_t)dpdk_unsent(port), "refused",
			 (json_int_t)d->refused, "no_mbuf", (json_int_t)d->no_mbuf, "unusable",
			 (json_int_t)d->unusable, "device_missed",
			 (json_int_t)(st.imissed + st.rx_nombuf), "silence_ns",
			 (json_int_t)(d->last_rx && now > d->last_rx ? now - d->last_rx : 0));
}

const struct port_ops port_dpdk_ops = {
	.kind = "dpdk",
	.create = dpdk_create,
	.destroy = dpdk_destroy,
	.peek = dpdk_peek,
	.release = dpdk_release,
	.push = dpdk_push,
	.flush = dpdk_flush,
	.unsent = dpdk_unsent,
	.discard = dpdk_discard,
	.command = dpdk_command,
	.stats = dpdk_stats,
};
