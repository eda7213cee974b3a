/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Signals of a secondary process. The primary has the socket; it hands out the descriptors of a
 * channel, or rings on request where the host gave none. Channels with a monitor need neither.
 */
#include <errno.h>
#include <string.h>
#include <stdlib.h>

#include <rte_eal.h>

#include "hv_guid.h"
#include "vmbus_user_conn.h"

#define MP_NAME	   "hv_vmbus_signal"
#define MP_SECONDS 5

enum mp_what { MP_GET_FDS, MP_RING };

struct mp_request {
	struct hv_guid instance_id;
	uint16_t index;
	uint16_t what; /* enum mp_what */
};

struct mp_reply {
	uint16_t has_signal; /* descriptors follow in this order */
	uint16_t has_event;
};

/* Open devices; the lock also keeps their channels from being closed. */
static pthread_mutex_t open_lock = PTHREAD_MUTEX_INITIALIZER;
static TAILQ_HEAD(, user_dev) open_devs = TAILQ_HEAD_INITIALIZER(open_devs);
static bool serving;

static void
get_fds(const struct user_dev *ud, const struct user_chan *uc, struct rte_mp_msg *out)
{
	struct mp_reply *reply = (void *)out->param;
	int signal_fd = vmbus_client_signal_fd(ud->conn->client, uc->conn_id);
	int event_fd = vmbus_client_event_fd(ud->conn->client, uc->relid);

	reply->has_signal = signal_fd >= 0;
	reply->has_event = event_fd >= 0;
	if (signal_fd >= 0)
		out->fds[out->num_fds++] = signal_fd;
	if (event_fd >= 0)
		out->fds[out->num_fds++] = event_fd;
}

static int
on_request(const struct rte_mp_msg *msg, const void *peer)
{
	struct rte_mp_msg out = { .len_param = sizeof(struct mp_reply) };
	struct mp_request req;
	struct user_dev *ud;
	int rc = 0;

	if (msg->len_param != sizeof(req))
		return -EINVAL;
	memcpy(&req, msg->param, sizeof(req));
	strcpy(out.name, MP_NAME);
	pthread_mutex_lock(&open_lock);
	TAILQ_FOREACH (ud, &open_devs, open_link) {
		if (hv_guid_equal(&ud->dev->instance_id, &req.instance_id))
			break;
	}
	if (ud != NULL && req.index < VMBUS_CHANNELS_MAX && ud->chan[req.index] != NULL) {
		if (req.what == MP_RING)
			user_ring(ud, ud->chan[req.index]);
		else
			get_fds(ud, ud->chan[req.index], &out);
	}
	/* While the descriptors cannot be closed. */
	if (req.what == MP_GET_FDS)
		rc = rte_mp_reply(&out, peer);
	pthread_mutex_unlock(&open_lock);
	return rc;
}

void
user_mp_opened(struct user_dev *ud)
{
	/* Refused where there can be no secondary processes. */
	if (!serving)
		serving = rte_mp_action_register(MP_NAME, on_request) == 0;
	pthread_mutex_lock(&open_lock);
	TAILQ_INSERT_TAIL(&open_devs, ud, open_link);
	pthread_mutex_unlock(&open_lock);
	ud->is_open = true;
}

void
user_mp_closing(struct user_dev *ud)
{
	if (!ud->is_open)
		return;
	ud->is_open = false;
	pthread_mutex_lock(&open_lock);
	TAILQ_REMOVE(&open_devs, ud, open_link);
	pthread_mutex_unlock(&open_lock);
}

void
user_mp_cleanup(void)
{
	if (serving)
		rte_mp_action_unregister(MP_NAME);
	serving = false;
}

/* --- in the secondary --------------------------------------------------------------------------- */

static void
request_init(struct rte_mp_msg *msg, const struct hv_vmbus_device *dev, uint16_t index,
	     enum mp_what what)
{
	struct mp_request req = { .instance_id = dev->instance_id,
				  .index = index,
				  .what = (uint16_t)what };

	memset(msg, 0, sizeof(*msg));
	strcpy(msg->name, MP_NAME);
	msg->len_param = sizeof(req);
	memcpy(msg->param, &req, sizeof(req));
}

int
user_mp_fds(const struct hv_vmbus_device *dev, uint16_t index, int *signal_fd, int *event_fd)
{
	struct timespec limit = { .tv_sec = MP_SECONDS };
	struct rte_mp_reply replies;
	struct mp_reply reply;
	struct rte_mp_msg msg;
	int at = 0, n;

	*signal_fd = *event_fd = -1;
	request_init(&msg, dev, index, MP_GET_FDS);
	if (rte_mp_request_sync(&msg, &replies, &limit) != 0 || replies.nb_received != 1)
		return -ETIMEDOUT;
	memcpy(&reply, replies.msgs[0].param, sizeof(reply));
	n = replies.msgs[0].num_fds;
	if (reply.has_signal && at < n)
		*signal_fd = replies.msgs[0].fds[at++];
	if (reply.has_event && at < n)
		*event_fd = replies.msgs[0].fds[at++];
	free(replies.msgs);
	return 0;
}

void
user_mp_ring(const struct hv_vmbus_device *dev, uint16_t index)
{
	struct rte_mp_msg msg;

	request_init(&msg, dev, index, MP_RING);
	rte_mp_sendmsg(&msg);
}
