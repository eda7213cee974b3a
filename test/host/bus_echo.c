/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A driver for any VMBus device that sends packets back: lib/vmbus from end to end, without a
 * NIC. Runs against hv-host-echo; test_client.py says what must come out.
 *
 *   bus_echo [EAL arguments] -- step...
 *
 * Steps: open, close, echo=N (N packets on every open channel), sub=I (open sub-channel I),
 * intr (one packet on every open channel, received by interrupt while the others have interrupts
 * as well), gone (wait until the host takes the device), remove (rte_dev_remove), probe (rte_dev_probe), attach (in a secondary process), alloc (memory
 * that DPDK has to get from the system, and gives back), line (wait for a line on stdin).
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_devargs.h>
#include <rte_eal.h>
#include <rte_malloc.h>

#include "vmbus.h"

#define DEVS_MAX 8
#define SUBS_MAX 8
#define BODY_MAX 2048

struct one_dev {
	struct hv_vmbus_device *dev;
	struct hv_vmbus_channel *chan[SUBS_MAX + 1];
	char name[HV_GUID_STRLEN];
	uint64_t tid;
	bool gone;
};

static struct one_dev devs[DEVS_MAX];

static int
echo_probe(struct hv_vmbus_driver *drv, struct hv_vmbus_device *dev)
{
	(void)drv;
	for (unsigned int i = 0; i < DEVS_MAX; i++) {
		if (devs[i].dev != NULL)
			continue;
		devs[i] = (struct one_dev){ .dev = dev };
		strcpy(devs[i].name, dev->name);
		printf("probe %s args=%s\n", dev->name,
		       dev->device.devargs != NULL ? dev->device.devargs->args : "-");
		return 0;
	}
	return -ENOSPC;
}

static int
echo_remove(struct hv_vmbus_device *dev)
{
	for (unsigned int i = 0; i < DEVS_MAX; i++)
		if (devs[i].dev == dev)
			devs[i].dev = NULL;
	hv_vmbus_close(dev);
	printf("remove %s\n", dev->name);
	return 0;
}

static void
echo_gone(struct hv_vmbus_device *dev)
{
	for (unsigned int i = 0; i < DEVS_MAX; i++)
		if (devs[i].dev == dev)
			__atomic_store_n(&devs[i].gone, true, __ATOMIC_RELEASE);
}

static const struct hv_guid classes[] = { VMBUS_CLASS_NIC, { { 0 } } };

static struct hv_vmbus_driver echo_driver = {
	.probe = echo_probe,
	.remove = echo_remove,
	.gone = echo_gone,
	.classes = classes,
};

HV_VMBUS_REGISTER_DRIVER(test_echo, echo_driver);

/* --- one packet there and back --------------------------------------------------------------------- */

static void
fill(uint8_t *body, uint32_t len, uint64_t tid)
{
	for (uint32_t i = 0; i < len; i++)
		body[i] = (uint8_t)(tid * 31 + i * 7);
}

static int
send_one(struct one_dev *d, struct hv_vmbus_channel *c, uint64_t tid)
{
	uint32_t len = 8 + (uint32_t)(tid * 40 % BODY_MAX) / 8 * 8;
	uint8_t body[BODY_MAX + 8];
	int rc;

	fill(body, len, tid);
	rc = vmbus_ring_tx_put(&c->tx, VMBUS_PKT_INBAND, 0, tid, NULL, 0, body, len);
	if (vmbus_ring_tx_publish(&c->tx))
		hv_vmbus_signal(d->dev, c);
	return rc;
}

/* 1 a packet came and is right, 0 none came, negative: it is wrong. */
static int
receive_one(struct one_dev *d, struct hv_vmbus_channel *c, uint64_t tid)
{
	uint8_t scratch[BODY_MAX + 64], want[BODY_MAX + 8];
	struct vmbus_ring_pkt pkt;
	int rc = vmbus_ring_rx_peek(&c->rx, &pkt, scratch, sizeof(scratch));

	if (rc != 1)
		return rc;
	fill(want, pkt.payload_len <= sizeof(want) ? pkt.payload_len : 0, tid);
	rc = pkt.tid == tid && pkt.payload_len == 8 + (uint32_t)(tid * 40 % BODY_MAX) / 8 * 8 &&
			     memcmp(want, pkt.body, pkt.payload_len) == 0
		     ? 1
		     : -EBADMSG;
	vmbus_ring_rx_release(&c->rx, &pkt);
	if (vmbus_ring_rx_publish(&c->rx))
		hv_vmbus_signal(d->dev, c);
	return rc;
}

static int
echo_channel(struct one_dev *d, struct hv_vmbus_channel *c, unsigned int n)
{
	uint64_t sent = 0, got = 0, end = rte_get_timer_cycles() + 20 * rte_get_timer_hz();

	while (got < n && rte_get_timer_cycles() < end) {
		int rc;

		if (hv_vmbus_device_gone(d->dev))
			return -ENODEV;
		if (sent < n && sent - got < 64 && send_one(d, c, d->tid + sent) == 0)
			sent++;
		rc = receive_one(d, c, d->tid + got);
		if (rc < 0)
			return rc;
		got += (uint64_t)rc;
	}
	d->tid += sent;
	return got == n ? 0 : -ETIMEDOUT;
}

static int
echo_all(struct one_dev *d, unsigned int n)
{
	int rc = 0;

	for (unsigned int i = 0; i <= SUBS_MAX && rc == 0; i++)
		if (d->chan[i] != NULL)
			rc = echo_channel(d, d->chan[i], n);
	return rc;
}

static int
enable_all(struct one_dev *d, bool on)
{
	int rc = 0;

	for (unsigned int i = 0; i <= SUBS_MAX && rc == 0; i++) {
		if (d->chan[i] == NULL)
			continue;
		rc = on ? hv_vmbus_intr_enable(d->dev, d->chan[i])
			: hv_vmbus_intr_disable(d->dev, d->chan[i]);
	}
	return rc == 1 ? -EALREADY : rc;
}

static void
ack_others(struct one_dev *d, const struct hv_vmbus_channel *c)
{
	for (unsigned int i = 0; i <= SUBS_MAX; i++)
		if (d->chan[i] != NULL && d->chan[i] != c)
			hv_vmbus_intr_ack(d->dev, d->chan[i]);
}

/* What another channel's interrupt did to this one's descriptor may come late. */
static int
wait_quiet(struct one_dev *d, struct hv_vmbus_channel *c, struct pollfd *p)
{
	for (unsigned int i = 0; i < 100; i++) {
		hv_vmbus_intr_ack(d->dev, c);
		if (poll(p, 1, 10) == 0)
			return 0;
	}
	return -EALREADY;
}

static int
interrupt(struct one_dev *d, struct hv_vmbus_channel *c)
{
	struct pollfd p = { .fd = hv_vmbus_intr_fd(d->dev, c), .events = POLLIN };
	int rc = p.fd < 0 ? p.fd : enable_all(d, true);

	if (rc == 0)
		rc = wait_quiet(d, c, &p);
	if (rc == 0)
		rc = send_one(d, c, d->tid);
	if (rc == 0 && poll(&p, 1, 30000) != 1)
		rc = -ETIMEDOUT;
	/* Who waits for another channel takes nothing from who waits for this one. */
	ack_others(d, c);
	if (rc == 0 && poll(&p, 1, 0) != 1)
		rc = -EBUSY;
	hv_vmbus_intr_ack(d->dev, c);
	if (rc == 0)
		rc = enable_all(d, false);
	if (rc != 0)
		return rc;
	return receive_one(d, c, d->tid++) == 1 ? 0 : -EBADMSG;
}

static int
interrupt_all(struct one_dev *d)
{
	int rc = 0;

	for (unsigned int i = 0; i <= SUBS_MAX && rc == 0; i++)
		if (d->chan[i] != NULL)
			rc = interrupt(d, d->chan[i]);
	return rc;
}

/* --- steps -------------------------------------------------------------------------------------------- */

static int
wait_gone(struct one_dev *d)
{
	for (unsigned int i = 0; i < 3000; i++) {
		if (__atomic_load_n(&d->gone, __ATOMIC_ACQUIRE))
			return hv_vmbus_device_gone(d->dev) ? 0 : -EINVAL;
		rte_delay_us_sleep(10000);
	}
	return -ETIMEDOUT;
}

static int
open_sub(struct one_dev *d, uint16_t index)
{
	int rc = -EAGAIN;

	if (index > SUBS_MAX)
		return -EINVAL;
	for (unsigned int i = 0; i < 3000 && rc == -EAGAIN; i++) {
		rc = hv_vmbus_subchannel_open(d->dev, index, &d->chan[index]);
		if (rc == -EAGAIN)
			rte_delay_us_sleep(10000);
	}
	return rc;
}

static int
open_dev(struct one_dev *d)
{
	struct hv_vmbus_open_params p = { .ring_bytes = 64 << 10,
					  .recv_buf_bytes = 1 << 20,
					  .send_buf_bytes = 256 << 10 };
	int rc = hv_vmbus_open(d->dev, &p, &d->chan[0]);

	if (rc == 0 && (hv_vmbus_recv_buf(d->dev)->len < p.recv_buf_bytes ||
			hv_vmbus_send_buf(d->dev)->gpadl == 0))
		return -EBADMSG;
	return rc;
}

static int
attach(struct one_dev *d)
{
	int rc = hv_vmbus_attach_secondary(d->dev);

	for (uint16_t i = 0; i <= SUBS_MAX && rc == 0; i++)
		d->chan[i] = hv_vmbus_channel_find(d->dev, i);
	return rc == 0 && d->chan[0] == NULL ? -ENOENT : rc;
}

static int
allocate(void)
{
	void *p[64];
	int rc = 0;

	for (unsigned int i = 0; i < RTE_DIM(p); i++) {
		p[i] = rte_malloc(NULL, 3 << 20, 4096);
		if (p[i] == NULL && i == 0)
			rc = -ENOMEM;
	}
	for (unsigned int i = 0; i < RTE_DIM(p); i++)
		rte_free(p[i]);
	return rc;
}

static int
step_dev(struct one_dev *d, const char *step)
{
	if (strcmp(step, "open") == 0)
		return open_dev(d);
	if (strcmp(step, "close") == 0) {
		hv_vmbus_close(d->dev);
		memset(d->chan, 0, sizeof(d->chan));
		return 0;
	}
	if (strncmp(step, "echo=", 5) == 0)
		return echo_all(d, (unsigned int)atoi(step + 5));
	if (strncmp(step, "sub=", 4) == 0)
		return open_sub(d, (uint16_t)atoi(step + 4));
	if (strcmp(step, "attach") == 0)
		return attach(d);
	if (strcmp(step, "intr") == 0)
		return interrupt_all(d);
	if (strcmp(step, "gone") == 0)
		return wait_gone(d);
	if (strcmp(step, "remove") == 0)
		return rte_dev_remove(&d->dev->device);
	return -EINVAL;
}

static int
step_all(const char *step)
{
	char line[16], name[64];
	int rc = 0;

	if (strcmp(step, "line") == 0)
		return fgets(line, sizeof(line), stdin) != NULL ? 0 : -EPIPE;
	if (strcmp(step, "alloc") == 0)
		return allocate();
	if (strcmp(step, "probe") == 0) {
		snprintf(name, sizeof(name), "hv_vmbus:%s,again=1", devs[0].name);
		return rte_dev_probe(name);
	}
	for (unsigned int i = 0; i < DEVS_MAX && rc == 0; i++)
		if (devs[i].dev != NULL)
			rc = step_dev(&devs[i], step);
	return rc;
}

int
main(int argc, char **argv)
{
	int n, rc = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	n = rte_eal_init(argc, argv);
	if (n < 0) {
		fprintf(stderr, "EAL did not start\n");
		return 2;
	}
	for (int i = n + 1; i < argc && rc == 0; i++) {
		rc = step_all(argv[i]);
		printf("%s: %s\n", argv[i], rc == 0 ? "ok" : strerror(-rc));
	}
	rte_eal_cleanup();
	return rc == 0 ? 0 : 1;
}
