/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <rte_alarm.h>
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_errno.h>

#include "hvn_mp.h"

#define MP_NAME "net_hvnetvsc"
#define WAIT_S	2 /* for secondaries to answer: one that is stopped does not */

/* From the change of the function pointers until a burst that had read the old ones is over. */
#define GRACE_US 5000

/* The same where nobody says that he has changed them. */
#define WORD_US 50000

struct mp_param {
	uint16_t port_id;
	uint8_t what;	 /* enum hvn_mp_what */
	uint8_t by_word; /* nobody waits for an answer */
	int32_t rc;
};

/* --- primary -------------------------------------------------------------------------------------- */

/* Has everybody answered this? What was asked before, who was stopped for long answers too. */
static bool
has_all(const struct hvn_port *p, const struct mp_param *param, const struct rte_mp_reply *replies)
{
	bool all = replies->nb_received == replies->nb_sent;

	for (int i = 0; i < replies->nb_received; i++) {
		struct mp_param got;

		memcpy(&got, replies->msgs[i].param, sizeof(got));
		if (got.port_id != param->port_id || got.what != param->what)
			all = false;
		else if (got.rc != 0)
			HVN_LOG(ERR, "port %u: a secondary process cannot follow: %s", p->port_id,
				rte_strerror(-got.rc));
	}
	return all;
}

bool
hvn_mp_tell(struct hvn_port *p, enum hvn_mp_what what)
{
	/* EAL refuses a request while another one of this name waits: of another port, too. */
	static pthread_mutex_t asking = PTHREAD_MUTEX_INITIALIZER;
	struct mp_param param = { .port_id = p->port_id, .what = (uint8_t)what };
	struct timespec limit = { .tv_sec = WAIT_S };
	struct rte_mp_reply replies = { 0 };
	struct rte_mp_msg msg = { .len_param = sizeof(param) };
	uint32_t others;
	bool all;

	if (rte_eal_process_type() != RTE_PROC_PRIMARY)
		return true;
	/*
	 * Then an addition of nothing: either it finds the secondary that has counted itself, or that
	 * one finds what was noted before this.
	 */
	__atomic_store_n(&p->told, (uint8_t)what, __ATOMIC_RELAXED);
	others = __atomic_fetch_add(&p->secondaries, 0, __ATOMIC_ACQ_REL);
	if (others == 0)
		return true;
	strcpy(msg.name, MP_NAME);
	memcpy(msg.param, &param, sizeof(param));
	pthread_mutex_lock(&asking);
	all = rte_mp_request_sync(&msg, &replies, &limit) == 0 && has_all(p, &param, &replies);
	/*
	 * EAL asks one behind the other, and nobody behind the one that does not answer. Not more than
	 * is needed: what a process that is stopped has not read fills its socket.
	 */
	if (!all && others > 1) {
		param.by_word = 1;
		memcpy(msg.param, &param, sizeof(param));
		rte_mp_sendmsg(&msg);
	}
	pthread_mutex_unlock(&asking);
	if (!all && others > 1 && what != HVN_MP_START)
		rte_delay_us_sleep(WORD_US);
	/* Who answers this has taken all that was said before. */
	p->unheard = !all || (p->unheard && what != HVN_MP_START);
	if (!all)
		HVN_LOG(WARNING, "port %u: a secondary process does not answer", p->port_id);
	free(replies.msgs);
	return all;
}

/* --- secondary ------------------------------------------------------------------------------------ */

static void
set_bursts(struct rte_eth_dev *dev, bool on)
{
	/* Not by dev->data: the primary may have cleared it, and port 0 is another one. */
	struct rte_eth_fp_ops *fp = &rte_eth_fp_ops[dev - rte_eth_devices];

	dev->rx_pkt_burst = on ? hvn_rx_burst : hvn_rx_burst_none;
	dev->tx_pkt_burst = on ? hvn_tx_burst : hvn_tx_burst_none;
	fp->rx_queue_count = dev->rx_queue_count;
	fp->rx_descriptor_status = dev->rx_descriptor_status;
	fp->tx_descriptor_status = dev->tx_descriptor_status;
	fp->tx_pkt_prepare = dev->tx_pkt_prepare;
	/* Closed meanwhile, while this process was stopped: a burst still looks up its queue. */
	if (dev->data->rx_queues != NULL)
		fp->rxq.data = dev->data->rx_queues;
	if (dev->data->tx_queues != NULL)
		fp->txq.data = dev->data->tx_queues;
	/* Release: with the queues they need. */
	__atomic_store_n(&fp->rx_pkt_burst, dev->rx_pkt_burst, __ATOMIC_RELEASE);
	__atomic_store_n(&fp->tx_pkt_burst, dev->tx_pkt_burst, __ATOMIC_RELEASE);
}

/* What ethdev reads of a port that it releases: see set_bursts(). */
static void
keep_data(struct rte_eth_dev *dev)
{
	static struct rte_eth_dev_data kept[RTE_MAX_ETHPORTS];
	const uint16_t id = (uint16_t)(dev - rte_eth_devices);

	if (dev->data == NULL || dev->data == &kept[id])
		return;
	kept[id] = *dev->data;
	kept[id].port_id = id;
	kept[id].name[0] = '\0'; /* it is found no more */
	dev->data = &kept[id];
}

/*
 * What the last request was, by port. Mapping asks the primary for descriptors, which the thread
 * that takes requests cannot do: the interrupt thread does it, after the answer.
 */
static struct {
	rte_spinlock_t lock;
	pthread_mutex_t mapping;
	/* Whoever has it can be sure that the device stays; again by callbacks of a port that goes. */
	pthread_mutex_t leaving;
	struct hv_vmbus_device *vdev[RTE_MAX_ETHPORTS];
	uint8_t what[RTE_MAX_ETHPORTS];
	uint32_t times[RTE_MAX_ETHPORTS]; /* it was told something */
	bool joined[RTE_MAX_ETHPORTS];
} told = { .lock = RTE_SPINLOCK_INITIALIZER,
	   .mapping = PTHREAD_MUTEX_INITIALIZER,
	   .leaving = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP };

/* Not every secondary has probed every port; one may be in the middle of it, or have closed it. */
static bool
is_ours(const struct rte_eth_dev *dev, uint16_t id)
{
	return told.vdev[id] != NULL && dev->data != NULL &&
	       dev->rx_queue_count == hvn_rx_queue_count;
}

/* With the lock. RTE_MAX_ETHPORTS if it has no port, or has another by now. */
static uint16_t
port_of(const struct hv_vmbus_device *vdev)
{
	uint16_t id = 0;

	while (id < RTE_MAX_ETHPORTS && told.vdev[id] != vdev)
		id++;
	return id;
}

static bool
starts(uint16_t id)
{
	return id < RTE_MAX_ETHPORTS && told.what[id] == HVN_MP_START;
}

static void
remap(void *arg)
{
	struct hv_vmbus_device *vdev = arg;
	uint32_t times = 0;
	uint16_t id;
	bool start;
	int rc = 0;

	pthread_mutex_lock(&told.mapping);
	/* What the primary has open now: it may have been closed and opened since. */
	hv_vmbus_close(vdev);
	rte_spinlock_lock(&told.lock);
	id = port_of(vdev);
	start = starts(id);
	if (start)
		times = told.times[id];
	rte_spinlock_unlock(&told.lock);
	if (start)
		rc = hv_vmbus_attach_secondary(vdev);
	pthread_mutex_unlock(&told.mapping);
	if (rc != 0)
		HVN_LOG(ERR, "%s: cannot follow the primary process: %s", vdev->name,
			rte_strerror(-rc));
	/* It may have been told otherwise meanwhile, or of the start of another session. */
	rte_spinlock_lock(&told.lock);
	if (start && rc == 0 && port_of(vdev) == id && told.times[id] == times &&
	    is_ours(&rte_eth_devices[id], id))
		set_bursts(&rte_eth_devices[id], true);
	rte_spinlock_unlock(&told.lock);
}

/* With told.leaving. */
static int
follow(struct rte_eth_dev *dev, uint16_t id, uint16_t what)
{
	struct hv_vmbus_device *vdev = told.vdev[id];
	bool joined, on;

	if (what > HVN_MP_CLOSE)
		return -ENOTSUP;
	rte_spinlock_lock(&told.lock);
	told.what[id] = (uint8_t)what;
	told.times[id]++;
	joined = told.joined[id];
	/* Also at a start, if it has found the port started by itself: what they use is unmapped. */
	on = dev->rx_pkt_burst == hvn_rx_burst;
	set_bursts(dev, false);
	rte_spinlock_unlock(&told.lock);
	if (what != HVN_MP_START || on)
		rte_delay_us_sleep(GRACE_US);
	if (what == HVN_MP_STOP)
		return 0;
	if (what == HVN_MP_CLOSE) {
		if (!joined)
			return 0; /* hvn_mp_joined() sees it */
		vdev->drv_priv = NULL;
		keep_data(dev);
		rte_eth_dev_release_port(dev);
	}
	return rte_eal_alarm_set(1, remap, vdev);
}

static int
on_request(const struct rte_mp_msg *msg, const void *peer)
{
	struct rte_mp_msg out = { .len_param = sizeof(struct mp_param) };
	struct mp_param param;
	struct rte_eth_dev *dev;

	if (msg->len_param != sizeof(param))
		return -EINVAL;
	memcpy(&param, msg->param, sizeof(param));
	strcpy(out.name, MP_NAME);
	param.rc = 0;
	if (param.port_id < RTE_MAX_ETHPORTS) {
		dev = &rte_eth_devices[param.port_id];
		pthread_mutex_lock(&told.leaving);
		if (is_ours(dev, param.port_id))
			param.rc = follow(dev, param.port_id, param.what);
		pthread_mutex_unlock(&told.leaving);
	}
	memcpy(out.param, &param, sizeof(param));
	return param.by_word ? 0 : rte_mp_reply(&out, peer);
}

static int deaf; /* a negative errno */

/* Also where no port is probed: the primary waits for every process. */
RTE_INIT(hvn_mp_listen)
{
	if (rte_mp_action_register(MP_NAME, on_request) != 0)
		deaf = -rte_errno;
}

void
hvn_mp_prepare(struct rte_eth_dev *dev, struct hv_vmbus_device *vdev)
{
	const uint16_t id = (uint16_t)(dev - rte_eth_devices);

	pthread_mutex_lock(&told.leaving);
	rte_spinlock_lock(&told.lock);
	told.vdev[id] = vdev;
	told.joined[id] = false;
	told.what[id] = HVN_MP_NOTHING;
	rte_spinlock_unlock(&told.lock);
	pthread_mutex_unlock(&told.leaving);
}

void
hvn_mp_leave(struct hv_vmbus_device *vdev)
{
	uint16_t id;

	pthread_mutex_lock(&told.leaving);
	rte_spinlock_lock(&told.lock);
	id = port_of(vdev);
	if (id < RTE_MAX_ETHPORTS) {
		told.vdev[id] = NULL;
		keep_data(&rte_eth_devices[id]);
	}
	rte_spinlock_unlock(&told.lock);
	pthread_mutex_unlock(&told.leaving);
	/* Nobody sets one from here on. Without the lock: it waits for the primary's answers. */
	rte_eal_alarm_cancel(remap, vdev);
}

/* Whether those who are there already may poll it: while it is being stopped, too, they may not. */
static bool
is_started(const struct hvn_port *p)
{
	return __atomic_load_n(&p->told, __ATOMIC_RELAXED) == HVN_MP_START;
}

int
hvn_mp_join(struct rte_eth_dev *dev)
{
	const uint16_t id = (uint16_t)(dev - rte_eth_devices);
	struct hv_vmbus_device *vdev = HV_VMBUS_DEV(dev->device);
	struct hvn_port *p = hvn_port(dev);
	int rc = 0;

	if (p == NULL)
		return -ENODEV;
	if (deaf != 0)
		return deaf;
	/* See hvn_mp_tell(). */
	__atomic_fetch_add(&p->secondaries, 1, __ATOMIC_ACQ_REL);
	if (__atomic_load_n(&p->told, __ATOMIC_RELAXED) == HVN_MP_CLOSE)
		return -ENODEV;
	/* A port that does not run now has, when it is told of its start, another session maybe. */
	rte_spinlock_lock(&told.lock);
	if (!is_started(p) && told.what[id] == HVN_MP_NOTHING)
		told.what[id] = HVN_MP_STOP;
	rte_spinlock_unlock(&told.lock);
	pthread_mutex_lock(&told.mapping);
	/*
	 * Unless it was told of a start by now, and has followed. What fails because the session ends
	 * meanwhile fails once more, for want of a session.
	 */
	for (int i = 0; i < 2 && !vdev->opened && rc != -ENODEV; i++)
		rc = hv_vmbus_attach_secondary(vdev);
	pthread_mutex_unlock(&told.mapping);
	/* Between two sessions: it is told of the next one, or was by now. */
	rte_spinlock_lock(&told.lock);
	if (rc == -ENODEV && !hvn_removed(p) && told.what[id] != HVN_MP_NOTHING)
		rc = 0;
	rte_spinlock_unlock(&told.lock);
	return rc;
}

int
hvn_mp_joined(struct rte_eth_dev *dev)
{
	const uint16_t id = (uint16_t)(dev - rte_eth_devices);
	const struct hvn_port *p = hvn_port(dev);
	bool closed, on;

	rte_spinlock_lock(&told.lock);
	closed = told.what[id] == HVN_MP_CLOSE;
	told.joined[id] = !closed;
	/* It was started before its session was mapped, and not stopped since; a stop may be on the way. */
	on = told.what[id] == HVN_MP_NOTHING ? is_started(p) : dev->rx_pkt_burst == hvn_rx_burst;
	/* Always: ethdev may have copied for its bursts what has changed meanwhile. */
	set_bursts(dev, on);
	rte_spinlock_unlock(&told.lock);
	return closed ? -ENODEV : 0;
}
