/* SPDX-License-Identifier: BSD-3-Clause */
/* Control thread and transactions. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_lcore.h>
#include <rte_malloc.h>

#include "hvn_ctrl.h"
#include "hvn_ext.h"
#include "hvn_hurry.h"
#include "hvn_link.h"
#include "hvn_nvsp.h"
#include "hvn_rndis.h"
#include "hvn_said.h"
#include "hvn_session.h"
#include "hvn_vf.h"
#include "rndis_build.h"

#define NOTES_MAX   64	/* queued notifications */
#define NOTE_BYTES  256 /* the longest: INDICATE with an NDIS_OFFLOAD */
#define BUFS	    4	/* request buffers: one may be held by a host that does not complete */
#define IDLE_MS	    20	/* between two looks at the primary channel */
#define WAIT_MIN_US 10
#define LOCK_MS	    1000 /* the queue is locked for less than a microsecond */
#define WAIT_MAX_US 500

/* Most that is waited for the completion of a message without an answer, which is HALT. */
#define UNANSWERED_MS 500u

struct note {
	enum hvn_ctrl_kind kind;
	uint32_t len;
	uint8_t data[NOTE_BYTES];
};

/* The transaction in flight. */
struct trans {
	uint64_t tid; /* 0: none */
	uint32_t nvsp_type;
	uint32_t rndis_type;
	uint32_t rndis_id;
	bool completed;
	bool replied;
	uint32_t completion_len;
	uint32_t reply_len;
	uint8_t completion[64];
	uint8_t reply[HVN_CTRL_MSG_MAX];
};

struct request_buf {
	uint8_t *addr;
	uint64_t gpa;
	uint64_t tid;  /* the host may still read it; 0: free */
	bool answered; /* it has read it, although it has not completed it yet */
};

/* In shared memory: a secondary's burst may find an answer. The thread belongs to the primary. */
struct hvn_ctrl {
	struct hvn_port *p;
	pthread_t thread;
	int wake_fd;
	bool stop;
	bool orphan; /* destroyed by its own thread, which frees it */
	bool tell_removed;
	bool channel_gone; /* to be looked for */
	bool tell_reset;
	bool tell_path;
	uint64_t next_tid;
	uint32_t next_rndis_id;
	uint64_t late;
	struct request_buf buf[BUFS];

	struct hvn_lock lock; /* of the rest: bursts, the waiter, the control thread */
	struct trans trans;
	unsigned int notes_head, notes_count;
	struct note notes[NOTES_MAX];
};

/* Held for a moment only, and whoever held it: the queue of messages is always whole. */
static void
lock(struct hvn_ctrl *c)
{
	if (hvn_lock_wait(&c->lock, LOCK_MS) != HVN_LOCK_NO)
		return;
	HVN_LOG(ERR, "port %u: process %u is stopped inside the control queue: not waited for",
		c->p->port_id, c->lock.owner & ~HVN_LOCK_ALIEN);
	__atomic_store_n(&c->lock.owner, hvn_lock_self, __ATOMIC_RELEASE);
}

void
hvn_ctrl_lock(struct hvn_port *p)
{
	while (!rte_spinlock_recursive_trylock(&p->ctrl_lock))
		rte_delay_us_sleep(20);
}

void
hvn_ctrl_unlock(struct hvn_port *p)
{
	rte_spinlock_recursive_unlock(&p->ctrl_lock);
}

void
hvn_ctrl_kick(struct hvn_port *p)
{
	const uint64_t one = 1;

	/* The descriptor means nothing in a secondary: there the thread's own period must do. */
	if (p->ctrl != NULL && rte_eal_process_type() == RTE_PROC_PRIMARY &&
	    write(p->ctrl->wake_fd, &one, sizeof(one)) < 0)
		return;
}

void
hvn_ctrl_tell_removed(struct hvn_port *p)
{
	if (p->ctrl == NULL)
		return;
	__atomic_store_n(&p->ctrl->tell_removed, true, __ATOMIC_RELEASE);
	hvn_ctrl_kick(p);
}

void
hvn_ctrl_channel_gone(struct hvn_port *p)
{
	if (p->ctrl == NULL)
		return;
	__atomic_store_n(&p->ctrl->channel_gone, true, __ATOMIC_RELEASE);
	hvn_ctrl_kick(p);
}

uint64_t
hvn_ctrl_late(const struct hvn_port *p)
{
	return p->ctrl != NULL ? p->ctrl->late : 0;
}

/* --- what comes in ------------------------------------------------------------------------------- */

/*
 * The host has read a request: its buffer is free again, also when nobody waits any more. Whether
 * it was answered before.
 */
static bool
free_buf(struct hvn_ctrl *c, uint64_t tid)
{
	for (unsigned int i = 0; i < BUFS; i++) {
		if (c->buf[i].tid != tid)
			continue;
		c->buf[i].tid = 0;
		return c->buf[i].answered;
	}
	return false;
}

static void
take_completion(struct hvn_ctrl *c, uint64_t tid, const void *msg, uint32_t len)
{
	struct trans *t = &c->trans;
	uint32_t type = len >= sizeof(type) ? hv_load32(msg) : 0;

	if (free_buf(c, tid) && t->tid != tid)
		return;
	if (t->tid != tid || t->completed ||
	    (t->nvsp_type != HVN_CTRL_NO_REPLY_TYPE && type != t->nvsp_type)) {
		c->late++;
		return;
	}
	t->completion_len = RTE_MIN(len, (uint32_t)sizeof(t->completion));
	memcpy(t->completion, msg, t->completion_len);
	__atomic_store_n(&t->completed, true, __ATOMIC_RELEASE);
}

static void
take_reply(struct hvn_ctrl *c, uint32_t type, const void *msg, uint32_t len)
{
	struct trans *t = &c->trans;
	uint32_t id;

	if (t->tid == 0 || t->replied || t->rndis_type != type || len < 12) {
		c->late++;
		return;
	}
	id = hv_load32((const uint8_t *)msg + 8);
	if (id != t->rndis_id) {
		c->late++;
		return;
	}
	for (unsigned int i = 0; i < BUFS; i++)
		if (c->buf[i].tid == t->tid)
			c->buf[i].answered = true;
	t->reply_len = RTE_MIN(len, (uint32_t)sizeof(t->reply));
	memcpy(t->reply, msg, t->reply_len);
	__atomic_store_n(&t->replied, true, __ATOMIC_RELEASE);
}

static bool
push_note(struct hvn_ctrl *c, enum hvn_ctrl_kind kind, const void *msg, uint32_t len)
{
	struct note *n;

	if (c->notes_count == NOTES_MAX)
		return false;
	n = &c->notes[(c->notes_head + c->notes_count) % NOTES_MAX];
	n->kind = kind;
	n->len = RTE_MIN(len, (uint32_t)sizeof(n->data));
	memcpy(n->data, msg, n->len);
	c->notes_count++;
	return true;
}

bool
hvn_ctrl_inbound(struct hvn_port *p, enum hvn_ctrl_kind kind, uint64_t tid, const void *msg,
		 uint32_t len)
{
	struct hvn_ctrl *c = p->ctrl;
	bool ok = true, wake = false;
	uint32_t type;

	if (c == NULL)
		return true;
	/* Leave it in the ring rather than wait for a process that is stopped. */
	if (hvn_lock_spin(&c->lock) == HVN_LOCK_NO)
		return false;
	type = len >= sizeof(type) ? hv_load32(msg) : 0;
	if (kind == HVN_CTRL_COMPLETION) {
		take_completion(c, tid, msg, len);
	} else if (kind == HVN_CTRL_RNDIS && (type & RNDIS_COMPLETION) != 0) {
		take_reply(c, type, msg, len);
	} else {
		if (kind == HVN_CTRL_RNDIS)
			hvn_said_keep(&p->said, msg, len);
		ok = push_note(c, kind, msg, len);
		wake = ok && c->notes_count == 1;
	}
	hvn_lock_release(&c->lock);
	if (wake)
		hvn_ctrl_kick(p);
	return ok;
}

/* --- transactions ---------------------------------------------------------------------------------- */

static uint64_t
new_tid(struct hvn_ctrl *c)
{
	c->next_tid = (c->next_tid + 1) & (HVN_TID_CTRL - 1);
	if (c->next_tid == 0)
		c->next_tid = 1;
	return HVN_TID_CTRL | c->next_tid;
}

uint32_t
hvn_ctrl_rndis_id(struct hvn_port *p)
{
	if (++p->ctrl->next_rndis_id == 0)
		p->ctrl->next_rndis_id = 1;
	return p->ctrl->next_rndis_id;
}

static void
begin(struct hvn_ctrl *c, uint64_t tid, uint32_t nvsp_type, uint32_t rndis_type, uint32_t rndis_id)
{
	struct trans *t = &c->trans;

	lock(c);
	t->nvsp_type = nvsp_type;
	t->rndis_type = rndis_type;
	t->rndis_id = rndis_id;
	t->completed = t->replied = false;
	t->tid = tid;
	hvn_lock_release(&c->lock);
}

/* From here on an answer is late. */
static void
end(struct hvn_ctrl *c)
{
	lock(c);
	c->trans.tid = 0;
	hvn_lock_release(&c->lock);
}

/* Who replies to a request has it: when it completes it is its business. */
static bool
answered(const struct trans *t)
{
	return t->rndis_type == HVN_CTRL_NO_REPLY_TYPE
		       ? __atomic_load_n(&t->completed, __ATOMIC_ACQUIRE)
		       : __atomic_load_n(&t->replied, __ATOMIC_ACQUIRE);
}

/* A request that the host refused has no reply. */
static bool
refused(const struct trans *t)
{
	struct nvsp_rndis_complete done;

	if (t->nvsp_type != NVSP_RNDIS_COMPLETE ||
	    !__atomic_load_n(&t->completed, __ATOMIC_ACQUIRE))
		return false;
	if (t->completion_len < sizeof(done))
		return true;
	memcpy(&done, t->completion, sizeof(done));
	return done.status != NVSP_STATUS_SUCCESS;
}

static int
wait_answer(struct hvn_port *p, uint32_t timeout_ms)
{
	const struct trans *t = &p->ctrl->trans;
	uint64_t until = rte_get_timer_cycles() + timeout_ms * rte_get_timer_hz() / 1000;
	unsigned int us = WAIT_MIN_US;
	int rc;

	for (;;) {
		rc = hvn_chan_scan(p->chan[0]);
		if (rc == -EBUSY)
			hvn_chan_rescue(p->chan[0]);
		if (refused(t))
			return -EREMOTEIO;
		if (answered(t)) {
			hvn_hurry_answered(p);
			return 0;
		}
		if (hvn_removed(p) || rc == -ENODEV)
			return -ENODEV;
		if (rc == -EIO)
			return -EIO;
		if (hvn_hurry_over(p, until))
			return -ETIMEDOUT;
		rte_delay_us_sleep(us);
		us = RTE_MIN(us + us / 2, (unsigned int)WAIT_MAX_US);
	}
}

/* Send, with patience while the ring is full of data. */
static int
send_wait(struct hvn_port *p, uint16_t type, uint16_t flags, uint64_t tid, const void *ext,
	  uint32_t ext_len, const void *payload, uint32_t len)
{
	uint64_t until = rte_get_timer_cycles() + rte_get_timer_hz();
	int rc;

	do {
		if (hvn_removed(p) || p->chan[0] == NULL)
			return -ENODEV;
		rc = hvn_chan_send(p->chan[0], type, flags, tid, ext, ext_len, payload, len);
		if (rc != -EAGAIN)
			return rc;
		hvn_chan_scan(p->chan[0]);
		rte_delay_us_sleep(WAIT_MAX_US);
	} while (!hvn_hurry_over(p, until));
	return rc;
}

int
hvn_ctrl_nvsp_post(struct hvn_port *p, const void *msg, uint32_t len)
{
	uint8_t out[NVSP_MSG_SIZE] = { 0 };

	memcpy(out, msg, RTE_MIN(len, NVSP_MSG_SIZE));
	return send_wait(p, VMBUS_PKT_INBAND, 0, new_tid(p->ctrl), NULL, 0, out, sizeof(out));
}

int
hvn_ctrl_nvsp(struct hvn_port *p, const void *msg, uint32_t len, uint32_t reply_type, void *reply,
	      uint32_t reply_len)
{
	struct hvn_ctrl *c = p->ctrl;
	uint8_t out[NVSP_MSG_SIZE] = { 0 };
	uint64_t tid = new_tid(c);
	int rc;

	memcpy(out, msg, RTE_MIN(len, NVSP_MSG_SIZE));
	begin(c, tid, reply_type, HVN_CTRL_NO_REPLY_TYPE, 0);
	rc = send_wait(p, VMBUS_PKT_INBAND, VMBUS_PKT_F_RC, tid, NULL, 0, out, sizeof(out));
	if (rc == 0)
		rc = wait_answer(p, p->args.nvsp_timeout_ms);
	end(c);
	if (rc != 0 || reply_len == 0)
		return rc;
	if (c->trans.completion_len < reply_len)
		return -EPROTO;
	memcpy(reply, c->trans.completion, reply_len);
	return 0;
}

static struct request_buf *
get_buf(struct hvn_ctrl *c, uint64_t tid)
{
	struct request_buf *b = NULL;

	lock(c);
	for (unsigned int i = 0; i < BUFS && b == NULL; i++)
		if (c->buf[i].tid == 0)
			b = &c->buf[i];
	for (unsigned int i = 0; i < BUFS && b == NULL; i++)
		if (c->buf[i].answered)
			b = &c->buf[i];
	if (b != NULL) {
		b->tid = tid;
		b->answered = false;
	}
	hvn_lock_release(&c->lock);
	return b;
}

int
hvn_ctrl_rndis(struct hvn_port *p, const void *msg, uint32_t len, uint32_t reply_type,
	       const uint8_t **reply, uint32_t *reply_len)
{
	struct hvn_ctrl *c = p->ctrl;
	uint8_t out[NVSP_MSG_SIZE] = { 0 };
	struct nvsp_rndis head = { NVSP_RNDIS, NVSP_CHANNEL_CONTROL, NVSP_NO_SECTION, 0 };
	struct {
		uint32_t reserved;
		uint32_t range_count;
		struct vmbus_gpa_range range;
		uint64_t pfn;
	} HVWIRE_PACKED gpa = { .range_count = 1 };
	uint64_t tid = new_tid(c);
	uint32_t timeout_ms = p->args.rndis_timeout_ms;
	struct request_buf *buf;
	int rc;

	if (len > HVN_RNDIS_REQUEST_MAX)
		return -EMSGSIZE;
	/* Nothing depends on it: to wait for it is only kind. */
	if (reply_type == HVN_CTRL_NO_REPLY_TYPE)
		timeout_ms = RTE_MIN(timeout_ms, UNANSWERED_MS);
	buf = get_buf(c, tid);
	if (buf == NULL)
		return -EBUSY;
	memset(buf->addr, 0, HVN_RNDIS_REQUEST_MAX);
	memcpy(buf->addr, msg, len);
	memcpy(out, &head, sizeof(head));
	gpa.range.len = len;
	gpa.pfn = buf->gpa >> HV_PAGE_SHIFT;
	begin(c, tid, NVSP_RNDIS_COMPLETE, reply_type, c->next_rndis_id);
	rc = send_wait(p, VMBUS_PKT_GPA_DIRECT, VMBUS_PKT_F_RC, tid, &gpa, sizeof(gpa), out,
		       sizeof(out));
	if (rc != 0)
		buf->tid = 0;
	else
		rc = wait_answer(p, timeout_ms);
	end(c);
	if (rc == 0 && reply != NULL) {
		*reply = c->trans.reply;
		*reply_len = c->trans.reply_len;
	}
	return rc;
}

static int
make_bufs(struct hvn_ctrl *c, int socket)
{
	uint8_t *mem = rte_zmalloc_socket("hvn_ctrl_buf", BUFS * HVN_RNDIS_REQUEST_MAX,
					  HV_PAGE_SIZE, socket);

	if (mem == NULL)
		return -ENOMEM;
	c->buf[0].addr = mem;
	for (unsigned int i = 0; i < BUFS; i++) {
		rte_iova_t iova = rte_mem_virt2iova(mem + i * HVN_RNDIS_REQUEST_MAX);

		if (iova == RTE_BAD_IOVA || (iova & HV_PAGE_MASK) != 0) {
			HVN_LOG(ERR, "no bus address for control messages");
			return -EFAULT;
		}
		c->buf[i].addr = mem + i * HVN_RNDIS_REQUEST_MAX;
		c->buf[i].gpa = hv_vmbus_gpa(iova);
	}
	return 0;
}

void
hvn_ctrl_session_reset(struct hvn_port *p, bool held)
{
	struct hvn_ctrl *c = p->ctrl;
	bool any = false;

	lock(c);
	c->trans.tid = 0;
	for (unsigned int i = 0; i < BUFS; i++) {
		any |= c->buf[i].tid != 0;
		c->buf[i].tid = 0;
		c->buf[i].answered = false;
	}
	/* What the old session said does not hold in the next one. */
	c->notes_count = 0;
	hvn_lock_release(&c->lock);
	/* Those that it may read are lost; without memory for others they are used again. */
	if (held && any)
		make_bufs(c, p->data->numa_node);
}

/* --- the thread --------------------------------------------------------------------------------------- */

static bool
pop_note(struct hvn_ctrl *c, struct note *n)
{
	bool any;

	lock(c);
	any = c->notes_count != 0;
	if (any) {
		*n = c->notes[c->notes_head];
		c->notes_head = (c->notes_head + 1) % NOTES_MAX;
		c->notes_count--;
	}
	hvn_lock_release(&c->lock);
	return any;
}

static bool
stopped(const struct hvn_ctrl *c)
{
	return __atomic_load_n(&c->stop, __ATOMIC_ACQUIRE);
}

/* Callbacks of the application may close the port: look at c only, and at stop, behind them. */
static void
dispatch(struct hvn_ctrl *c)
{
	struct note n;

	for (unsigned int i = 0; i < NOTES_MAX && !stopped(c) && pop_note(c, &n); i++) {
		if (n.kind == HVN_CTRL_RNDIS)
			hvn_link_indicate(c->p, n.data, n.len);
		else
			hvn_nvsp_notify(c->p, n.data, n.len);
	}
	if (!stopped(c) && __atomic_exchange_n(&c->tell_removed, false, __ATOMIC_ACQ_REL))
		rte_eth_dev_callback_process(&rte_eth_devices[c->p->port_id],
					     RTE_ETH_EVENT_INTR_RMV, NULL);
	if (!stopped(c) && c->tell_reset) {
		c->tell_reset = false;
		rte_eth_dev_callback_process(&rte_eth_devices[c->p->port_id],
					     RTE_ETH_EVENT_INTR_RESET, NULL);
	}
	if (!stopped(c) && c->tell_path) {
		c->tell_path = false;
		hvn_link_path_changed(c->p);
	}
}

/* Bursts see a corrupt ring as an empty or a full one, and may not log. */
static void
tell_corrupt(struct hvn_chan *ch)
{
	if (ch->told_corrupt || (ch->vc->rx.error == 0 && ch->vc->tx.error == 0))
		return;
	ch->told_corrupt = true;
	HVN_LOG(ERR,
		"port %u: channel %u: the host wrote nonsense into the ring that it %s: nothing "
		"moves in it any more; stop the port and reset it",
		ch->port->port_id, ch->index, ch->vc->rx.error != 0 ? "fills" : "empties");
}

/* Nobody may be polling: completions and notifications must not wait for that. */
static uint32_t
look_around(struct hvn_ctrl *c)
{
	struct hvn_port *p = c->p;
	uint32_t again = IDLE_MS, vf;

	if (!rte_spinlock_recursive_trylock(&p->ctrl_lock))
		return again; /* whoever has it scans */
	if (p->opened && !hvn_removed(p)) {
		/* A stopped port has no bursts that would return frames to the host. */
		for (uint16_t i = 0; i < p->n_chans; i++)
			if (i == 0 || !p->running || hvn_ext_waiting(p->chan[i]))
				hvn_chan_scan(p->chan[i]);
		for (uint16_t i = 0; i < p->n_chans; i++)
			tell_corrupt(p->chan[i]);
		if (__atomic_exchange_n(&c->channel_gone, false, __ATOMIC_ACQ_REL))
			c->tell_reset = hvn_session_lost(p);
		for (uint16_t i = 0; p->secondaries && i < p->n_chans; i++)
			hvn_chan_rescue(p->chan[i]);
	}
	vf = hvn_vf_run(p);
	c->tell_path |= hvn_vf_changed(p);
	hvn_ctrl_unlock(p);
	if (vf != 0 && vf < again)
		again = vf;
	/* Without the lock, by dispatch(). */
	return c->tell_reset || c->tell_path ? 0 : again;
}

static void
ctrl_free(struct hvn_ctrl *c)
{
	if (c->wake_fd >= 0)
		close(c->wake_fd);
	rte_free(c->buf[0].addr);
	rte_free(c);
}

static __thread bool is_thread;

bool
hvn_ctrl_is_thread(void)
{
	return is_thread;
}

static void *
ctrl_main(void *arg)
{
	struct hvn_ctrl *c = arg;
	struct pollfd pfd = { .fd = c->wake_fd, .events = POLLIN };
	uint32_t ms = IDLE_MS;
	uint64_t count;

	is_thread = true;
	while (!stopped(c)) {
		if (poll(&pfd, 1, (int)ms) > 0 && read(c->wake_fd, &count, sizeof(count)) < 0 &&
		    errno != EAGAIN)
			break;
		if (stopped(c))
			break;
		dispatch(c);
		if (!stopped(c))
			ms = look_around(c);
	}
	if (c->orphan)
		ctrl_free(c);
	return NULL;
}

int
hvn_ctrl_create(struct hvn_port *p)
{
	int socket = p->data->numa_node;
	struct hvn_ctrl *c;
	char name[16];
	int rc;

	c = rte_zmalloc_socket("hvn_ctrl", sizeof(*c), RTE_CACHE_LINE_SIZE, socket);
	if (c == NULL)
		return -ENOMEM;
	c->p = p;
	c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = c->wake_fd < 0 ? -errno : make_bufs(c, socket);
	if (rc == 0) {
		p->ctrl = c;
		snprintf(name, sizeof(name), "hvn-ctrl-%u", p->port_id);
		rc = -rte_ctrl_thread_create(&c->thread, name, NULL, ctrl_main, c);
		if (rc > 0)
			rc = -rc;
	}
	if (rc != 0) {
		HVN_LOG(ERR, "port %u: no control thread: %s", p->port_id, rte_strerror(-rc));
		p->ctrl = NULL;
		ctrl_free(c);
	}
	return rc;
}

void
hvn_ctrl_destroy(struct hvn_port *p)
{
	struct hvn_ctrl *c = p->ctrl;

	if (c == NULL)
		return;
	if (pthread_equal(pthread_self(), c->thread)) {
		c->orphan = true;
		pthread_detach(c->thread);
		__atomic_store_n(&c->stop, true, __ATOMIC_RELEASE);
		p->ctrl = NULL;
		return;
	}
	__atomic_store_n(&c->stop, true, __ATOMIC_RELEASE);
	hvn_ctrl_kick(p);
	pthread_join(c->thread, NULL);
	p->ctrl = NULL;
	ctrl_free(c);
}
