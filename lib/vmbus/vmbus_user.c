/* SPDX-License-Identifier: BSD-3-Clause */
/* Back end "user": channels over memory of this process, VMBus spoken by ourselves. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_memory.h>
#include <rte_memzone.h>

#include "vmbus_bus.h"
#include "vmbus_user_conn.h"

#define SECONDARY_DEVICES RTE_MAX_ETHPORTS

/* --- channels -------------------------------------------------------------------------------------- */

/* Close a channel as far as it got. As user_share_free(). */
static int
channel_close(struct user_dev *ud, struct user_chan *uc)
{
	struct user_conn *conn = ud->conn;
	int rc;

	if (uc == NULL)
		return 0;
	if (uc->opened) {
		rc = vmbus_client_close(conn->client, uc->relid);
		if (rc != 0 && rc != -ENOTCONN)
			VMBUS_LOG(WARNING, "%s: closing channel %u: %s", ud->dev->name, uc->relid,
				  strerror(-rc));
	}
	uc->opened = false;
	rc = user_share_free(ud, uc->relid, &uc->ring);
	vmbus_client_forget(conn->client, uc->relid, uc->conn_id);
	pthread_mutex_lock(&conn->lock);
	if (conn->event_fd[uc->relid] >= 0)
		close(conn->event_fd[uc->relid]);
	conn->event_fd[uc->relid] = -1;
	pthread_mutex_unlock(&conn->lock);
	return rc;
}

static int
channel_open(struct user_dev *ud, struct user_chan *uc, struct hv_vmbus_channel *chan,
	     uint32_t ring_bytes, uint8_t monitor_id)
{
	struct user_conn *conn = ud->conn;
	struct vmbus_ring_hdr *hdr[2];
	int rc;

	rc = user_share_new(ud, uc->relid, 2 * ring_bytes, &uc->ring);
	if (rc != 0)
		return rc;
	hdr[0] = uc->ring.mz->addr;
	hdr[1] = RTE_PTR_ADD(uc->ring.mz->addr, ring_bytes);
	memset(hdr[0], 0, sizeof(*hdr[0]));
	memset(hdr[1], 0, sizeof(*hdr[1]));
	/* Both sides may rely on being woken when a full ring has room. */
	hdr[0]->feature = hdr[1]->feature = VMBUS_RING_FEAT_PENDING_SEND;
	rc = vmbus_channel_attach(chan, uc->ring.mz->addr, ring_bytes, HV_PAGE_SIZE);
	if (rc != 0)
		return rc;
	chan->relid = uc->relid;
	vmbus_channel_monitor(chan, RTE_PTR_ADD(conn->monitor->addr, HV_PAGE_SIZE), monitor_id);
	rc = vmbus_client_open(conn->client, uc->relid, uc->ring.gpadl, chan->index % USER_VPS,
			       ring_bytes / HV_PAGE_SIZE);
	/* A late answer may still open it. */
	uc->opened = rc == 0 || rc == -ETIMEDOUT;
	if (rc != 0)
		VMBUS_LOG(ERR, "%s: the host does not open channel %u: %s", ud->dev->name,
			  chan->index, strerror(-rc));
	return rc;
}

static struct user_chan *
channel_new(struct user_dev *ud, uint16_t index, uint8_t *monitor_id, int *rc)
{
	struct user_chan *uc = calloc(1, sizeof(*uc));

	*rc = -ENOMEM;
	if (uc == NULL)
		return NULL;
	*rc = user_offer_take(ud->conn, &ud->dev->instance_id, index, uc, monitor_id);
	if (*rc == 0)
		return uc;
	free(uc);
	return NULL;
}

static void
channel_free(struct user_dev *ud, uint16_t index)
{
	if (ud->chan[index] != NULL)
		user_offer_drop(ud->conn, ud->chan[index]);
	free(ud->chan[index]);
	ud->chan[index] = NULL;
}

static int
buffers_free(struct user_dev *ud, uint32_t relid)
{
	int rc = user_share_free(ud, relid, &ud->recv);

	return user_share_free(ud, relid, &ud->send) | rc;
}

static int
user_close(struct hv_vmbus_device *dev, unsigned int ms)
{
	bool late = false;
	struct user_dev *ud = dev->backend;
	uint32_t relid = dev->relid;
	int rc = 0;

	user_mp_closing(ud);
	vmbus_client_hurry(ms);
	for (uint16_t i = VMBUS_CHANNELS_MAX - 1; i > 0; i--) {
		rc |= channel_close(ud, ud->chan[i]);
		channel_free(ud, i);
	}
	/* Buffers outlive the channel since VMBus 4.0, and no longer than it before. */
	late = vmbus_client_version(ud->conn->client) >= VMBUS_VERSION_4_0;
	if (!late)
		rc |= buffers_free(ud, relid);
	rc |= channel_close(ud, ud->chan[0]);
	if (late)
		rc |= buffers_free(ud, relid);
	channel_free(ud, 0);
	vmbus_client_hurry(0);
	return rc;
}

/* A reference that nobody puts. */
static void
user_keep(struct hv_vmbus_device *dev, const struct hv_vmbus_channel *chan)
{
	struct user_dev *ud = dev->backend;

	if (ud->chan[chan->index] != NULL)
		hv_vmbus_memory_get(ud->chan[chan->index]->ring.memory);
	hv_vmbus_memory_get(ud->recv.memory);
	hv_vmbus_memory_get(ud->send.memory);
}

static int
buffer_new(struct user_dev *ud, uint32_t relid, uint32_t bytes, struct user_share *sh,
	   struct hv_vmbus_buffer *buf)
{
	int rc;

	memset(buf, 0, sizeof(*buf));
	if (bytes == 0)
		return 0;
	rc = user_share_new(ud, relid, bytes, sh);
	if (rc != 0)
		return rc;
	buf->addr = sh->mz->addr;
	buf->len = sh->mz->len;
	buf->gpadl = sh->gpadl;
	buf->memory = sh->memory;
	return 0;
}

static int
user_open(struct hv_vmbus_device *dev, const struct hv_vmbus_open_params *params,
	  struct hv_vmbus_channel *chan)
{
	struct vmbus_shared *s = vmbus_shared_of(dev);
	struct user_dev *ud = dev->backend;
	uint8_t monitor_id;
	struct user_chan *uc;
	int rc;

	uc = channel_new(ud, 0, &monitor_id, &rc);
	if (uc == NULL) {
		VMBUS_LOG(ERR, "%s: the host does not offer the device any more", dev->name);
		return rc;
	}
	ud->chan[0] = uc;
	dev->relid = uc->relid;
	if (params->patient)
		vmbus_client_patient(ud->conn->client);
	rc = buffer_new(ud, uc->relid, params->recv_buf_bytes, &ud->recv, &s->recv);
	if (rc == 0)
		rc = buffer_new(ud, uc->relid, params->send_buf_bytes, &ud->send, &s->send);
	if (rc == 0)
		rc = channel_open(ud, uc, chan, params->ring_bytes, monitor_id);
	if (rc == 0) {
		user_mp_opened(ud);
		user_share_populate(ud->conn, &ud->recv);
		user_share_populate(ud->conn, &ud->send);
		user_share_populate(ud->conn, &uc->ring);
	} else {
		user_close(dev, 0);
	}
	return rc == -ENOTCONN ? -ENODEV : rc;
}

static int
user_subchannel_open(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan)
{
	struct vmbus_shared *s = vmbus_shared_of(dev);
	struct user_dev *ud = dev->backend;
	uint8_t monitor_id;
	struct user_chan *uc;
	int rc;

	uc = channel_new(ud, chan->index, &monitor_id, &rc);
	if (uc == NULL)
		return rc == -ENODEV ? -EAGAIN : rc;
	ud->chan[chan->index] = uc;
	rc = channel_open(ud, uc, chan, s->chan[0]->ring_bytes, monitor_id);
	if (rc == 0) {
		user_share_populate(ud->conn, &uc->ring);
	} else {
		channel_close(ud, uc);
		channel_free(ud, chan->index);
	}
	return rc == -ENOTCONN ? -ENODEV : rc;
}

/* --- signals ------------------------------------------------------------------------------------------ */

/* What a secondary has instead of a connection: by channel, -1 where there is none. */
struct user_second {
	int signal_fd[VMBUS_CHANNELS_MAX];
	int event_fd[VMBUS_CHANNELS_MAX];
};

static bool
ring_fd(int fd)
{
	uint64_t one = 1;

	/* A counter that is full has been rung already. */
	return fd >= 0 && (write(fd, &one, sizeof(one)) == sizeof(one) || errno == EAGAIN);
}

void
user_ring(struct user_dev *ud, const struct user_chan *uc)
{
	struct vmbus_client *client = ud->conn->client;

	if (!ring_fd(vmbus_client_signal_fd(client, uc->conn_id)))
		vmbus_client_signal(client, uc->conn_id);
}

static void
user_signal(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan)
{
	if (dev->backend == NULL)
		return;
	if (rte_eal_process_type() == RTE_PROC_PRIMARY) {
		struct user_dev *ud = dev->backend;

		if (ud->chan[chan->index] != NULL)
			user_ring(ud, ud->chan[chan->index]);
	} else {
		struct user_second *second = dev->backend;

		if (!ring_fd(second->signal_fd[chan->index]))
			user_mp_ring(dev, chan->index);
	}
}

/* The host gave no descriptor: the connection's thread writes one of ours. */
static int
own_event_fd(struct user_conn *conn, uint32_t relid)
{
	int fd;

	pthread_mutex_lock(&conn->lock);
	fd = conn->event_fd[relid];
	if (fd < 0) {
		fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		conn->event_fd[relid] = fd;
	}
	pthread_mutex_unlock(&conn->lock);
	return fd < 0 ? -ENOTSUP : fd;
}

static int
user_intr_fd(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan)
{
	struct user_dev *ud = dev->backend;
	int fd;

	if (ud == NULL)
		return -ENOTSUP;
	if (rte_eal_process_type() != RTE_PROC_PRIMARY) {
		fd = ((struct user_second *)dev->backend)->event_fd[chan->index];
		return fd < 0 ? -ENOTSUP : fd;
	}
	if (ud->chan[chan->index] == NULL)
		return -ENOTSUP;
	fd = vmbus_client_event_fd(ud->conn->client, chan->relid);
	return fd >= 0 ? fd : own_event_fd(ud->conn, chan->relid);
}

static int
user_intr_prepare(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan, bool on)
{
	int fd;

	if (!on)
		return 0;
	fd = user_intr_fd(dev, chan);
	return fd < 0 ? fd : 0;
}

static void
user_intr_ack(struct hv_vmbus_device *dev, struct hv_vmbus_channel *chan)
{
	int fd = user_intr_fd(dev, chan);
	uint64_t n;

	if (fd >= 0 && read(fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
		VMBUS_LOG(DEBUG, "%s: event descriptor: %s", dev->name, strerror(errno));
}

/* --- the rest --------------------------------------------------------------------------------------------- */

/* A secondary has no connection: it finds what the primary drives, in memory it has as well. */
static int
scan_secondary(void)
{
	struct vmbus_devargs_socket socket;
	bool named = vmbus_devargs_socket(0, &socket);
	struct vmbus_shared_id id[SECONDARY_DEVICES];
	unsigned int n;

	if (!vmbus_memory_ready)
		return 0;
	n = vmbus_shared_list(id, RTE_DIM(id));
	for (unsigned int i = 0; i < n; i++) {
		struct vmbus_found found = {
			.class_id = id[i].class_id,
			.instance_id = id[i].instance_id,
			.relid = id[i].relid,
			.hw_device_id = id[i].hw_device_id,
			.numa_node = id[i].numa_node,
			.devargs = named ? socket.of_all : NULL,
		};
		struct hv_vmbus_device *dev;

		if (strcmp(id[i].backend, vmbus_user_ops.name) == 0)
			vmbus_bus_add(&vmbus_user_ops, &found, &dev);
	}
	return 0;
}

static int
user_scan(void)
{
	return rte_eal_process_type() == RTE_PROC_PRIMARY ? user_conn_scan() : scan_secondary();
}

/* What it had of this channel, without an event descriptor, is replaced. */
static int
second_fds(struct hv_vmbus_device *dev, uint16_t index, struct user_second *second)
{
	if (second->signal_fd[index] >= 0)
		close(second->signal_fd[index]);
	return user_mp_fds(dev, index, &second->signal_fd[index], &second->event_fd[index]);
}

static void
user_detach(struct hv_vmbus_device *dev)
{
	struct user_second *second = dev->backend;

	for (uint16_t i = 0; second != NULL && i < VMBUS_CHANNELS_MAX; i++) {
		if (second->signal_fd[i] >= 0)
			close(second->signal_fd[i]);
		if (second->event_fd[i] >= 0)
			close(second->event_fd[i]);
	}
	free(second);
	dev->backend = NULL;
}

/* The rest of what a secondary needs is DPDK memory. */
static int
user_attach(struct hv_vmbus_device *dev)
{
	struct user_second *second = dev->backend;
	int rc = 0;

	if (second == NULL) {
		second = malloc(sizeof(*second));
		if (second == NULL)
			return -ENOMEM;
		memset(second, 0xff, sizeof(*second));
		dev->backend = second;
	}
	for (uint16_t i = 0; i < VMBUS_CHANNELS_MAX && rc == 0; i++)
		if (hv_vmbus_channel_find(dev, i) != NULL && second->event_fd[i] < 0)
			rc = second_fds(dev, i, second);
	if (rc != 0) {
		VMBUS_LOG(ERR, "%s: the primary process does not answer", dev->name);
		/* What it has may be of another session when this is tried again. */
		user_detach(dev);
	}
	return rc;
}

static void
user_release(struct hv_vmbus_device *dev)
{
	if (rte_eal_process_type() != RTE_PROC_PRIMARY)
		user_detach(dev);
	else if (dev->backend != NULL)
		user_dev_release(dev->backend);
	dev->backend = NULL;
}

static int
user_dma_map(struct hv_vmbus_device *dev, uint64_t iova, size_t len)
{
	struct user_dev *ud = dev->backend;

	if (rte_eal_process_type() != RTE_PROC_PRIMARY || ud == NULL || ud->external_told)
		return -ENOTSUP;
	ud->external_told = true;
	VMBUS_LOG(WARNING,
		  "%s: external memory at %#" PRIx64
		  ", %zu bytes, has no file that the host could map: packets must not lie in it",
		  dev->name, iova, len);
	return -ENOTSUP;
}

static void
user_cleanup(void)
{
	user_mp_cleanup();
	user_conn_cleanup();
}

static bool
user_channel_gone(struct hv_vmbus_device *dev, const struct hv_vmbus_channel *chan)
{
	struct user_dev *ud = dev->backend;

	return ud != NULL && user_offer_rescinded(ud->conn, chan->relid);
}

const struct vmbus_backend_ops vmbus_user_ops = {
	.name = "user",
	.scan = user_scan,
	.release = user_release,
	.open = user_open,
	.subchannel_open = user_subchannel_open,
	.close = user_close,
	.keep = user_keep,
	.attach = user_attach,
	.detach = user_detach,
	.signal = user_signal,
	.intr_prepare = user_intr_prepare,
	.intr_fd = user_intr_fd,
	.intr_ack = user_intr_ack,
	.channel_gone = user_channel_gone,
	.dma_map = user_dma_map,
	.cleanup = user_cleanup,
};
