/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The client end of vmbus-user: the whole memory of the machine is given to the host. A host
 * that goes away is like a partition without VMBus; the next reset of the machine looks for it
 * again.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/sockets.h"
#include "sysemu/sysemu.h"
#include "cpu.h"
#include "hw/i386/x86.h"
#include "hw/i386/hv-vmbus-user.h"
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#define WAIT_MS 10000 /* for an answer of the host */

struct hv_link hv_link = { .sock = -1 };

static void
free_fd(struct hv_fd *f)
{
	QLIST_REMOVE(f, link);
	qemu_set_fd_handler(f->fd, NULL, NULL, NULL);
	close(f->fd);
	g_free(f);
}

static void
hang_up(const char *why)
{
	struct hv_fd *f, *next;

	if (hv_link.sock < 0)
		return;
	error_report("hv-vmbus-user: %s: %s", hv_link.path, why);
	qemu_set_fd_handler(hv_link.sock, NULL, NULL, NULL);
	close(hv_link.sock);
	hv_link.sock = -1;
	QLIST_FOREACH_SAFE(f, &hv_link.doorbells, link, next) free_fd(f);
	QLIST_FOREACH_SAFE(f, &hv_link.interrupts, link, next) free_fd(f);
}

static uint32_t
send_msg(uint16_t type, uint16_t flags, const void *body, size_t len, int fd)
{
	struct vmu_hdr hdr = { VMU_MAGIC, type, flags, len, ++hv_link.seq };
	struct iovec iov[2] = { { &hdr, sizeof(hdr) }, { (void *)body, len } };
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} ctl = { 0 };
	struct msghdr mh = { .msg_iov = iov, .msg_iovlen = 2 };

	if (fd >= 0) {
		struct cmsghdr *c;

		mh.msg_control = ctl.buf;
		mh.msg_controllen = sizeof(ctl.buf);
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	if (hv_link.sock >= 0 && sendmsg(hv_link.sock, &mh, MSG_NOSIGNAL) < 0)
		hang_up(strerror(errno));
	return hdr.seq;
}

static void
interrupt_ready(void *opaque)
{
	struct hv_fd *f = opaque;
	uint64_t n;

	if (read(f->fd, &n, sizeof(n)) == sizeof(n))
		hv_synic_event(&f->ev);
}

static void
on_signal_fd(const struct vmu_signal *s, int fd)
{
	struct hv_fd *f, *next;

	QLIST_FOREACH_SAFE(f, &hv_link.doorbells, link, next)
	if (f->conn_id == s->conn_id)
		free_fd(f);
	if (fd < 0)
		return;
	f = g_new0(struct hv_fd, 1);
	f->conn_id = s->conn_id;
	f->fd = fd;
	QLIST_INSERT_HEAD(&hv_link.doorbells, f, link);
}

static void
on_event_fd(const struct vmu_event *ev, int fd)
{
	struct hv_fd *f, *next;

	QLIST_FOREACH_SAFE(f, &hv_link.interrupts, link, next)
	if (memcmp(&f->ev, ev, sizeof(*ev)) == 0)
		free_fd(f);
	if (fd < 0)
		return;
	f = g_new0(struct hv_fd, 1);
	f->ev = *ev;
	f->fd = fd;
	qemu_socket_set_nonblock(fd);
	QLIST_INSERT_HEAD(&hv_link.interrupts, f, link);
	qemu_set_fd_handler(fd, interrupt_ready, NULL, f);
}

/* Takes fd over. */
static void
dispatch(const struct vmu_hdr *hdr, const void *body, int fd)
{
	const struct vmu_sint_msg *m = body;
	bool kept = false;

	switch (hdr->type) {
	case VMU_SINT_MESSAGE:
		if (hdr->len >= offsetof(struct vmu_sint_msg, payload) &&
		    hdr->len == offsetof(struct vmu_sint_msg, payload) + m->size)
			hv_synic_message(m);
		break;
	case VMU_SINT_EVENT:
		if (hdr->len == sizeof(struct vmu_event))
			hv_synic_event(body);
		break;
	case VMU_SIGNAL_FD:
		kept = hdr->len == sizeof(struct vmu_signal);
		if (kept)
			on_signal_fd(body, fd);
		break;
	case VMU_EVENT_FD:
		kept = hdr->len == sizeof(struct vmu_event);
		if (kept)
			on_event_fd(body, fd);
		break;
	case VMU_HELLO_ACK:
	case VMU_ACK:
		hv_link.acked = true;
		hv_link.ack_seq = hdr->seq;
		hv_link.ack_status = hdr->type == VMU_HELLO_ACK
					     ? ((const struct vmu_hello *)body)->status
					     : ((const struct vmu_ack *)body)->status;
		break;
	case VMU_LOG:
		info_report("hv-vmbus-user: host: %.*s", (int)hdr->len, (const char *)body);
		break;
	}
	if (fd >= 0 && !kept)
		close(fd);
}

/* One datagram of the host; false if there is none. */
static bool
receive(void)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} ctl;
	struct {
		struct vmu_hdr hdr;
		uint8_t body[VMU_MSG_MAX - sizeof(struct vmu_hdr)];
	} in = { 0 };
	struct iovec iov = { &in, sizeof(in) };
	struct msghdr mh = { .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = ctl.buf,
			     .msg_controllen = sizeof(ctl.buf) };
	struct cmsghdr *c;
	ssize_t n;
	int fd = -1;

	if (hv_link.sock < 0)
		return false;
	n = recvmsg(hv_link.sock, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		hang_up(n == 0 ? "the host hung up" : strerror(errno));
		return false;
	}
	c = CMSG_FIRSTHDR(&mh);
	if (c != NULL && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(&fd, CMSG_DATA(c), sizeof(int));
	if (n < (ssize_t)sizeof(in.hdr) || in.hdr.magic != VMU_MAGIC ||
	    in.hdr.len != n - sizeof(in.hdr)) {
		hang_up("it does not speak vmbus-user");
		if (fd >= 0)
			close(fd);
		return false;
	}
	dispatch(&in.hdr, in.body, fd);
	return true;
}

static void
socket_ready(void *opaque)
{
	while (receive())
		;
}

/* Handle what comes until the answer to seq is here; false if it does not come. */
static bool
wait_ack(uint32_t seq)
{
	int64_t end = g_get_monotonic_time() + WAIT_MS * 1000;

	hv_link.acked = false;
	while (hv_link.sock >= 0 && g_get_monotonic_time() < end) {
		struct pollfd p = { .fd = hv_link.sock, .events = POLLIN };

		while (receive())
			if (hv_link.acked && hv_link.ack_seq == seq)
				return true;
		if (hv_link.sock >= 0)
			poll(&p, 1, 100);
	}
	hang_up("no answer from the host");
	return false;
}

static bool
add_memory(uint64_t gpa, uint64_t size, uint64_t offset, int fd)
{
	struct vmu_mem mem = { .gpa = gpa, .size = size, .offset = offset };

	if (size == 0)
		return true;
	return wait_ack(send_msg(VMU_MEM_ADD, VMU_F_NEED_ACK, &mem, sizeof(mem), fd)) &&
	       hv_link.ack_status == 0;
}

static bool
introduce(void)
{
	X86MachineState *x86 = X86_MACHINE(current_machine);
	struct vmu_hello hello = { .version = VMU_VERSION,
				   .features = VMU_FEAT_SIGNAL_FD | VMU_FEAT_EVENT_FD,
				   .n_vps = hv_n_vps };
	int fd = memory_region_get_fd(current_machine->ram);

	pstrcpy(hello.name, sizeof(hello.name), qemu_get_vm_name() ?: "qemu");
	return wait_ack(send_msg(VMU_HELLO, 0, &hello, sizeof(hello), -1)) &&
	       hv_link.ack_status == 0 && add_memory(0, x86->below_4g_mem_size, 0, fd) &&
	       add_memory(x86->above_4g_mem_start, x86->above_4g_mem_size, x86->below_4g_mem_size,
			  fd);
}

int
hv_link_open(Error **errp)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	if (memory_region_get_fd(current_machine->ram) < 0) {
		error_setg(errp, "the memory has no file: use -object memory-backend-memfd,"
				 "share=on and -machine memory-backend=");
		return -1;
	}
	pstrcpy(addr.sun_path, sizeof(addr.sun_path), hv_link.path);
	hv_link.sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (hv_link.sock < 0 ||
	    connect(hv_link.sock, (struct sockaddr *)&addr, sizeof(addr)) != 0) {
		error_setg_errno(errp, errno, "no host at %s", hv_link.path);
		if (hv_link.sock >= 0)
			close(hv_link.sock);
		hv_link.sock = -1;
		return -1;
	}
	qemu_set_fd_handler(hv_link.sock, socket_ready, NULL, NULL);
	if (!introduce()) {
		error_setg(errp, "the host at %s refuses this guest", hv_link.path);
		hang_up("refused");
		return -1;
	}
	return 0;
}

void
hv_link_reset(void)
{
	Error *err = NULL;

	if (hv_link.sock >= 0)
		wait_ack(send_msg(VMU_RESET, VMU_F_NEED_ACK, NULL, 0, -1));
	else if (hv_link_open(&err) != 0)
		warn_report_err(err);
}

uint32_t
hv_link_post(const struct vmu_post *post)
{
	uint32_t seq = send_msg(VMU_POST_MESSAGE, VMU_F_NEED_ACK, post,
				offsetof(struct vmu_post, payload) + post->size, -1);

	return wait_ack(seq) ? hv_link.ack_status : HV_STATUS_INVALID_CONNECTION_ID;
}

uint32_t
hv_link_signal(uint32_t conn_id, uint16_t flag)
{
	struct vmu_signal s = { .conn_id = conn_id, .flag = flag };
	const uint64_t one = 1;
	struct hv_fd *f;

	QLIST_FOREACH(f, &hv_link.doorbells, link)
	if (f->conn_id == conn_id)
		return write(f->fd, &one, sizeof(one)) == sizeof(one)
			       ? HV_STATUS_SUCCESS
			       : HV_STATUS_INSUFFICIENT_BUFFERS;
	if (hv_link.sock < 0)
		return HV_STATUS_INVALID_CONNECTION_ID;
	send_msg(VMU_SIGNAL_EVENT, 0, &s, sizeof(s), -1);
	return HV_STATUS_SUCCESS;
}

void
hv_link_log(const void *text, size_t len)
{
	send_msg(VMU_LOG, 0, text, MIN(len, VMU_MSG_MAX - sizeof(struct vmu_hdr)), -1);
}
