/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sockets of the back end "user", and what the hosts behind them offer.
 *
 * A control thread per connection receives. It never waits for the host, never allocates DPDK
 * memory, and leaves everything that may take time to the interrupt thread.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_alarm.h>
#include <rte_eal.h>
#include <rte_lcore.h>
#include <rte_memzone.h>

#include "hv_guid.h"
#include "vmbus_bus.h"
#include "vmbus_user_conn.h"

#define LOGS_MAX  100 /* messages of a host that are shown */
#define UNLOAD_MS 300

static TAILQ_HEAD(, user_conn) conns = TAILQ_HEAD_INITIALIZER(conns);

/* --- callbacks of the client, on the connection's thread ------------------------------------------- */

static struct user_offer *
offer_by_relid(struct user_conn *conn, uint32_t relid)
{
	struct user_offer *o;

	TAILQ_FOREACH (o, &conn->offers, link) {
		if (o->msg.relid == relid)
			return o;
	}
	return NULL;
}

static struct user_dev *
dev_by_guid(struct user_conn *conn, const struct hv_guid *instance_id)
{
	struct user_dev *ud;

	TAILQ_FOREACH (ud, &conn->devs, link) {
		if (hv_guid_equal(&ud->dev->instance_id, instance_id))
			return ud;
	}
	return NULL;
}

/* On the interrupt thread: applications that watch for hot-plug hear of late offers. */
static void
announce(void *arg)
{
	struct user_conn *conn = arg;
	char name[HV_GUID_STRLEN];
	struct user_offer *o;

	do {
		pthread_mutex_lock(&conn->lock);
		TAILQ_FOREACH (o, &conn->offers, link) {
			if (o->announce)
				break;
		}
		if (o != NULL) {
			o->announce = false;
			hv_guid_format(&o->msg.instance_id, name);
		}
		pthread_mutex_unlock(&conn->lock);
		if (o != NULL) {
			VMBUS_LOG(NOTICE, "%s: the host offers a device", name);
			rte_dev_event_callback_process(name, RTE_DEV_EVENT_ADD);
		}
	} while (o != NULL);
}

static void
on_offer(void *ctx, const struct vmbus_msg_offer *msg)
{
	struct user_conn *conn = ctx;
	struct user_offer *o = NULL;
	bool tell = false;

	pthread_mutex_lock(&conn->lock);
	/* A relid is offered once until it is released: a second offer is no offer. */
	if (offer_by_relid(conn, msg->relid) == NULL)
		o = calloc(1, sizeof(*o));
	if (o != NULL) {
		o->msg = *msg;
		o->announce = tell = conn->settled && msg->sub_index == 0;
		TAILQ_INSERT_TAIL(&conn->offers, o, link);
	}
	pthread_mutex_unlock(&conn->lock);
	if (tell)
		rte_eal_alarm_set(1, announce, conn);
}

static void
offer_free(struct user_conn *conn, struct user_offer *o)
{
	vmbus_client_released(conn->client, o->msg.relid);
	TAILQ_REMOVE(&conn->offers, o, link);
	free(o);
}

static void
on_rescind(void *ctx, uint32_t relid)
{
	struct user_conn *conn = ctx;
	struct user_offer *o;
	struct user_dev *ud;

	pthread_mutex_lock(&conn->lock);
	o = offer_by_relid(conn, relid);
	if (o != NULL && !o->rescinded) {
		o->rescinded = true;
		ud = dev_by_guid(conn, &o->msg.instance_id);
		if (ud != NULL && o->msg.sub_index == 0)
			vmbus_bus_gone(ud->dev);
		else if (ud != NULL && o->used)
			vmbus_bus_channel_gone(ud->dev);
		if (!o->used)
			offer_free(conn, o);
	}
	pthread_mutex_unlock(&conn->lock);
}

static void
on_event(void *ctx, uint32_t relid)
{
	struct user_conn *conn = ctx;
	uint64_t one = 1;

	pthread_mutex_lock(&conn->lock);
	if (conn->event_fd[relid] >= 0 && write(conn->event_fd[relid], &one, sizeof(one)) < 0)
		VMBUS_LOG(DEBUG, "%s: signal of channel %u is pending already", conn->path, relid);
	pthread_mutex_unlock(&conn->lock);
}

static void
on_hangup(void *ctx)
{
	struct user_conn *conn = ctx;
	struct user_dev *ud;

	VMBUS_LOG(ERR, "%s: the host hung up; its devices are gone", conn->path);
	pthread_mutex_lock(&conn->lock);
	conn->dead = true;
	TAILQ_FOREACH (ud, &conn->devs, link)
		vmbus_bus_gone(ud->dev);
	pthread_mutex_unlock(&conn->lock);
}

static void
on_log(void *ctx, const char *text)
{
	struct user_conn *conn = ctx;

	/* Not so much that it could fill a disk. */
	if (conn->logged++ < LOGS_MAX)
		VMBUS_LOG(NOTICE, "%s: the host says: %s", conn->path, text);
}

static void
on_refused(void *ctx, const char *what)
{
	struct user_conn *conn = ctx;

	if (conn->logged++ < LOGS_MAX)
		VMBUS_LOG(WARNING, "%s: not taken from the host: %s", conn->path, what);
}

static void
on_torndown(void *ctx, uint32_t gpadl)
{
	user_share_torndown(ctx, gpadl);
}

static bool
on_idle(void *ctx)
{
	return user_share_idle(ctx);
}

static const struct vmbus_client_ops client_ops = {
	.offer = on_offer,
	.rescind = on_rescind,
	.event = on_event,
	.hangup = on_hangup,
	.log = on_log,
	.refused = on_refused,
	.torndown = on_torndown,
	.idle = on_idle,
};

static void *
conn_thread(void *arg)
{
	vmbus_client_run(((struct user_conn *)arg)->client);
	return NULL;
}

/* --- up and down -------------------------------------------------------------------------------------- */

/* Every error of a socket is said once, with what to do about it. */
static int
conn_failed(struct user_conn *conn, int rc, const char *what)
{
	const char *hint = "";

	if (rc == conn->last_error)
		return rc;
	conn->last_error = rc;
	if (rc == -ENOENT)
		hint = "; there is no such socket: start hv-host first";
	else if (rc == -ECONNREFUSED)
		hint = "; nobody listens on it, a host has left it behind: start hv-host again";
	else if (rc == -EPROTOTYPE || rc == -EPROTONOSUPPORT)
		hint = "; whoever listens there speaks another protocol or version";
	else if (rc == -ETIMEDOUT)
		hint = "; the host does not answer";
	VMBUS_LOG(ERR, "%s: %s: %s%s", conn->path, what, strerror(-rc), hint);
	return rc;
}

static void
conn_down(struct user_conn *conn)
{
	struct user_offer *o;
	bool ended = conn->dead;

	if (!conn->up)
		return;
	/* Late offers are announced no more; one that was late already arms no alarm behind this. */
	pthread_mutex_lock(&conn->lock);
	conn->settled = false;
	pthread_mutex_unlock(&conn->lock);
	if (vmbus_client_version(conn->client) != 0 && !ended) {
		ended = vmbus_client_unload(conn->client, UNLOAD_MS) == 0;
		if (!ended)
			VMBUS_LOG(WARNING, "%s: the host did not confirm the end", conn->path);
	}
	vmbus_client_stop(conn->client);
	pthread_join(conn->thread, NULL);
	/* Nobody is left who could arm it again. */
	rte_eal_alarm_cancel(announce, conn);
	user_share_end(conn, ended);
	if (conn->mem.client != NULL)
		user_mem_forget(&conn->mem);
	conn->mem.client = NULL;
	rte_memzone_free(conn->monitor);
	conn->monitor = NULL;
	vmbus_client_free(conn->client);
	conn->client = NULL;
	while ((o = TAILQ_FIRST(&conn->offers)) != NULL) {
		TAILQ_REMOVE(&conn->offers, o, link);
		free(o);
	}
	conn->up = false;
}

static int
conn_contact(struct user_conn *conn)
{
	char host[VMU_NAME_LEN], name[VMU_NAME_LEN], zone[RTE_MEMZONE_NAMESIZE];
	static unsigned int zones;
	uint64_t gpa;
	int rc;

	snprintf(name, sizeof(name), "dpdk-%d", (int)getpid());
	rc = vmbus_client_hello(conn->client, name, USER_VPS, host);
	if (rc != 0)
		return conn_failed(conn, rc, "the host refuses us");
	rc = user_mem_share(&conn->mem, conn->client, conn->path);
	if (rc != 0)
		return conn_failed(conn, rc, "DPDK's memory cannot be shared");
	snprintf(zone, sizeof(zone), "hv_vmbus_monitor_%u", zones++);
	conn->monitor = rte_memzone_reserve_aligned(zone, 2 * HV_PAGE_SIZE, SOCKET_ID_ANY,
						    RTE_MEMZONE_IOVA_CONTIG, HV_PAGE_SIZE);
	if (conn->monitor == NULL)
		return conn_failed(conn, -ENOMEM, "monitor pages");
	memset(conn->monitor->addr, 0, 2 * HV_PAGE_SIZE);
	gpa = hv_vmbus_gpa(conn->monitor->iova);
	rc = vmbus_client_contact(conn->client, gpa, gpa + HV_PAGE_SIZE);
	if (rc != 0)
		return conn_failed(conn, rc, "no VMBus version in common");
	rc = vmbus_client_request_offers(conn->client);
	if (rc != 0)
		return conn_failed(conn, rc, "no list of devices");
	VMBUS_LOG(INFO, "%s: connected to \"%s\", VMBus %u.%u", conn->path, host,
		  vmbus_client_version(conn->client) >> 16,
		  vmbus_client_version(conn->client) & 0xffff);
	return 0;
}

static int
conn_up(struct user_conn *conn)
{
	int fd = vmbus_client_connect(conn->path), rc;
	bool none;

	if (fd < 0)
		return conn_failed(conn, fd, "cannot connect");
	conn->dead = conn->settled = false;
	conn->host = (struct hv_vmbus_host){ 0 };
	rc = vmbus_client_new(fd, &client_ops, conn, &conn->client);
	if (rc != 0) {
		close(fd);
		return rc;
	}
	rc = -rte_ctrl_thread_create(&conn->thread, "hv-vmbus", NULL, conn_thread, conn);
	if (rc != 0) {
		vmbus_client_free(conn->client);
		return conn_failed(conn, rc, "no thread");
	}
	conn->up = true;
	rc = conn_contact(conn);
	if (rc != 0) {
		conn_down(conn);
		return rc;
	}
	conn->last_error = 0;
	pthread_mutex_lock(&conn->lock);
	conn->settled = true;
	none = TAILQ_EMPTY(&conn->offers);
	pthread_mutex_unlock(&conn->lock);
	if (none)
		VMBUS_LOG(WARNING,
			  "%s: the host offers no device: it has none, or another application "
			  "has them",
			  conn->path);
	return 0;
}

/* --- the list of sockets --------------------------------------------------------------------------------- */

static void
conn_add(const char *path, size_t len, const struct vmbus_devargs_socket *s)
{
	struct user_conn *conn;

	if (len == 0)
		return;
	if (len >= sizeof(conn->path)) {
		VMBUS_LOG(ERR, "%.*s: the path of a socket has %zu bytes at most", (int)len, path,
			  sizeof(conn->path) - 1);
		return;
	}
	TAILQ_FOREACH (conn, &conns, link) {
		if (strncmp(conn->path, path, len) == 0 && conn->path[len] == '\0')
			return;
	}
	conn = calloc(1, sizeof(*conn));
	if (conn == NULL)
		return;
	memcpy(conn->path, path, len);
	if (s != NULL && s->of_all != NULL) {
		/* A copy: rte_dev_probe() frees its own when it finds no device. */
		conn->devargs = *s->of_all;
		conn->devargs.data = strdup(s->args);
		conn->devargs.args = conn->devargs.data;
		conn->has_devargs = conn->devargs.data != NULL;
	}
	pthread_mutex_init(&conn->lock, NULL);
	TAILQ_INIT(&conn->offers);
	TAILQ_INIT(&conn->devs);
	TAILQ_INIT(&conn->populating);
	TAILQ_INIT(&conn->leaving);
	memset(conn->event_fd, 0xff, sizeof(conn->event_fd));
	TAILQ_INSERT_TAIL(&conns, conn, link);
}

static void
conn_list(void)
{
	const char *env = getenv(VMU_SOCKET_ENV);
	struct vmbus_devargs_socket s;

	for (unsigned int i = 0; vmbus_devargs_socket(i, &s); i++)
		conn_add(s.path, s.len, &s);
	while (env != NULL && *env != '\0') {
		size_t n = strcspn(env, ",");

		conn_add(env, n, NULL);
		env += n + (env[n] == ',');
	}
}

bool
vmbus_user_wanted(void)
{
	const char *env = getenv(VMU_SOCKET_ENV);
	struct vmbus_devargs_socket s;

	return (env != NULL && *env != '\0') || vmbus_devargs_socket(0, &s);
}

/* --- devices ------------------------------------------------------------------------------------------------ */

static void
device_add(struct user_conn *conn, struct user_offer *o)
{
	const struct vmbus_msg_offer *offer = &o->msg;
	struct vmbus_found found = {
		.class_id = offer->class_id,
		.instance_id = offer->instance_id,
		.relid = offer->relid,
		.numa_node = SOCKET_ID_ANY,
		.devargs = conn->has_devargs ? &conn->devargs : NULL,
	};
	struct hv_vmbus_device *dev;
	struct user_dev *ud = calloc(1, sizeof(*ud));

	if (ud == NULL || vmbus_bus_add(&vmbus_user_ops, &found, &dev) != 0) {
		if (ud != NULL && !o->refused && dev != NULL &&
		    dev_by_guid(conn, &offer->instance_id) == NULL) {
			VMBUS_LOG(ERR,
				  "%s: device %s is there already, from another host: give one "
				  "of the two another instance id (hv-host --nic guid=)",
				  conn->path, dev->name);
			o->refused = true;
		}
		free(ud);
		return;
	}
	ud->conn = conn;
	ud->dev = dev;
	dev->backend = ud;
	dev->host = &conn->host;
	TAILQ_INSERT_TAIL(&conn->devs, ud, link);
}

static void
conn_scan(struct user_conn *conn)
{
	struct user_offer *o;

	/* A host that came back is a new one, once nobody holds a device of the old one. */
	if (conn->up && conn->dead && TAILQ_EMPTY(&conn->devs))
		conn_down(conn);
	if (!conn->up && conn_up(conn) != 0)
		return;
	pthread_mutex_lock(&conn->lock);
	TAILQ_FOREACH (o, &conn->offers, link) {
		if (o->msg.sub_index == 0 && !o->rescinded && !conn->dead)
			device_add(conn, o);
	}
	pthread_mutex_unlock(&conn->lock);
}

int
user_conn_scan(void)
{
	struct user_conn *conn;

	if (!vmbus_memory_ready)
		return 0;
	conn_list();
	TAILQ_FOREACH (conn, &conns, link)
		conn_scan(conn);
	return 0;
}

void
user_conn_cleanup(void)
{
	struct user_conn *conn;

	while ((conn = TAILQ_FIRST(&conns)) != NULL) {
		TAILQ_REMOVE(&conns, conn, link);
		conn_down(conn);
		pthread_mutex_destroy(&conn->lock);
		free(conn->devargs.data);
		free(conn);
	}
}

void
user_dev_release(struct user_dev *ud)
{
	pthread_mutex_lock(&ud->conn->lock);
	TAILQ_REMOVE(&ud->conn->devs, ud, link);
	pthread_mutex_unlock(&ud->conn->lock);
	free(ud);
}

/* --- offers in use --------------------------------------------------------------------------------------------- */

int
user_offer_take(struct user_conn *conn, const struct hv_guid *instance_id, uint16_t index,
		struct user_chan *uc, uint8_t *monitor_id)
{
	struct user_offer *o;

	pthread_mutex_lock(&conn->lock);
	TAILQ_FOREACH (o, &conn->offers, link) {
		if (o->msg.sub_index == index && !o->rescinded && !o->used &&
		    hv_guid_equal(&o->msg.instance_id, instance_id))
			break;
	}
	if (o != NULL) {
		o->used = true;
		uc->relid = o->msg.relid;
		uc->conn_id = o->msg.conn_id;
		uc->has_offer = true;
		*monitor_id =
			o->msg.monitor_allocated & 1 ? o->msg.monitor_id : VMBUS_MONITOR_ID_NONE;
	}
	pthread_mutex_unlock(&conn->lock);
	return o != NULL ? 0 : -ENODEV;
}

bool
user_offer_rescinded(struct user_conn *conn, uint32_t relid)
{
	struct user_offer *o;
	bool rescinded;

	pthread_mutex_lock(&conn->lock);
	o = offer_by_relid(conn, relid);
	rescinded = o != NULL && o->rescinded;
	pthread_mutex_unlock(&conn->lock);
	return rescinded;
}

void
user_offer_drop(struct user_conn *conn, struct user_chan *uc)
{
	struct user_offer *o;

	if (!uc->has_offer)
		return;
	uc->has_offer = false;
	pthread_mutex_lock(&conn->lock);
	o = offer_by_relid(conn, uc->relid);
	if (o != NULL) {
		o->used = false;
		if (o->rescinded)
			offer_free(conn, o);
	}
	pthread_mutex_unlock(&conn->lock);
}
