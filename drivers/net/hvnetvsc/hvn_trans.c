/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Transactions with the host, and what comes in: completions and replies end a transaction, the
 * rest is queued for the control thread.
 */
#include <errno.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_malloc.h>

#include "hvn_ctrl_state.h"
#include "hvn_hurry.h"
#include "hvn_said.h"

#define LOCK_MS	    1000 /* the queue is locked for less than a microsecond */
#define WAIT_MIN_US 10
#define WAIT_MAX_US 500

/* Most that is waited for the completion of a message without an answer, which is HALT. */
#define UNANSWERED_MS 500u

/* Held for a moment only, and whoever held it: the queue of messages is always whole. */
static void
lock(struct hvn_ctrl *c)
{
	const uint64_t end = rte_rdtsc() + LOCK_MS * rte_get_tsc_hz() / 1000;

	/* In full, also of a process that is known to be late: this one is taken from it. */
	do {
		if (hvn_lock_wait(&c->lock, LOCK_MS) != HVN_LOCK_NO)
			return;
	} while (rte_rdtsc() < end);
	HVN_LOG(ERR, "port %u: process %u is stopped inside the control queue: not waited for",
		c->p->port_id, hvn_process_id(c->lock.owner));
	/* Relaxed: there is nothing to take over in order with, its owner stands in the middle. */
	__atomic_store_n(&c->lock.owner, hvn_process_self, __ATOMIC_RELAXED);
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
	for (unsigned int i = 0; i < HVN_CTRL_BUFS; i++) {
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
	struct hvn_ctrl_trans *t = &c->trans;
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
	/* Release: the message before the flag that the waiter looks at without the lock. */
	__atomic_store_n(&t->completed, true, __ATOMIC_RELEASE);
}

static void
take_reply(struct hvn_ctrl *c, uint32_t type, const void *msg, uint32_t len)
{
	struct hvn_ctrl_trans *t = &c->trans;
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
	for (unsigned int i = 0; i < HVN_CTRL_BUFS; i++)
		if (c->buf[i].tid == t->tid)
			c->buf[i].answered = true;
	t->reply_len = RTE_MIN(len, (uint32_t)sizeof(t->reply));
	memcpy(t->reply, msg, t->reply_len);
	/* Release: as of a completion. */
	__atomic_store_n(&t->replied, true, __ATOMIC_RELEASE);
}

static bool
push_note(struct hvn_ctrl *c, enum hvn_ctrl_kind kind, const void *msg, uint32_t len)
{
	struct hvn_ctrl_note *n;

	if (c->notes_count == HVN_CTRL_NOTES)
		return false;
	n = &c->notes[(c->notes_head + c->notes_count) % HVN_CTRL_NOTES];
	n->kind = kind;
	n->len = RTE_MIN(len, (uint32_t)sizeof(n->data));
	memcpy(n->data, msg, n->len);
	c->notes_count++;
	return true;
}

bool
hvn_ctrl_pop_note(struct hvn_ctrl *c, struct hvn_ctrl_note *n)
{
	bool any;

	lock(c);
	any = c->notes_count != 0;
	if (any) {
		*n = c->notes[c->notes_head];
		c->notes_head = (c->notes_head + 1) % HVN_CTRL_NOTES;
		c->notes_count--;
	}
	hvn_lock_release(&c->lock);
	return any;
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
	struct hvn_ctrl_trans *t = &c->trans;

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

/*
 * Who replies to a request has it: when it completes it is its business. Acquire: with the flag comes
 * the message, here and in refused().
 */
static bool
answered(const struct hvn_ctrl_trans *t)
{
	return t->rndis_type == HVN_CTRL_NO_REPLY_TYPE
		       ? __atomic_load_n(&t->completed, __ATOMIC_ACQUIRE)
		       : __atomic_load_n(&t->replied, __ATOMIC_ACQUIRE);
}

/* A request that the host refused has no reply. */
static bool
refused(const struct hvn_ctrl_trans *t)
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
	const struct hvn_ctrl_trans *t = &p->ctrl->trans;
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
	/* The host offers some in return; it has been signalled. */
	if (rc == 0 && reply_type == NVSP_SUBCHANNEL)
		hv_vmbus_signals_hold(hvn_vdev(p), true);
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

static struct hvn_ctrl_buf *
get_buf(struct hvn_ctrl *c, uint64_t tid)
{
	struct hvn_ctrl_buf *b = NULL;

	lock(c);
	for (unsigned int i = 0; i < HVN_CTRL_BUFS && b == NULL; i++)
		if (c->buf[i].tid == 0)
			b = &c->buf[i];
	for (unsigned int i = 0; i < HVN_CTRL_BUFS && b == NULL; i++)
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
	struct hvn_ctrl_buf *buf;
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

int
hvn_ctrl_make_bufs(struct hvn_ctrl *c, int socket)
{
	uint8_t *mem = rte_zmalloc_socket("hvn_ctrl_buf", HVN_CTRL_BUFS * HVN_RNDIS_REQUEST_MAX,
					  HV_PAGE_SIZE, socket);

	if (mem == NULL)
		return -ENOMEM;
	c->buf[0].addr = mem;
	for (unsigned int i = 0; i < HVN_CTRL_BUFS; i++) {
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
	for (unsigned int i = 0; i < HVN_CTRL_BUFS; i++) {
		any |= c->buf[i].tid != 0;
		c->buf[i].tid = 0;
		c->buf[i].answered = false;
	}
	/* What the old session said does not hold in the next one. */
	c->notes_count = 0;
	hvn_lock_release(&c->lock);
	/* Those that it may read are lost; without memory for others they are used again. */
	if (held && any)
		hvn_ctrl_make_bufs(c, hvn_node(p));
}
