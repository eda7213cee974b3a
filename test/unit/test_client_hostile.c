/* SPDX-License-Identifier: BSD-3-Clause */
/* The VMBus client and a peer that sends nonsense, descriptors of any kind, or reads nothing. */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "client_fixture.h"

/* Nothing of this is for us, or it is too short, or of no channel: it changes nothing. */
static void
nonsense(void **state)
{
	struct vmbus_msg_offer offer = { .hdr.type = VMBUS_MSG_OFFERCHANNEL };
	struct vmbus_msg_relid rescind = { .hdr.type = VMBUS_MSG_RESCIND_CHANNELOFFER };
	struct vmbus_msg_gpadl_torndown torn = { .hdr.type = VMBUS_MSG_GPADL_TORNDOWN };
	struct vmu_sint_msg s = { .sint = VMBUS_SINT, .msg_type = VMBUS_MSGTYPE_CHANNEL };
	struct vmu_event event = { .sint = VMBUS_SINT };
	uint8_t bytes[400];

	(void)state;
	contact();
	memset(bytes, 0xff, sizeof(bytes));
	tell_message(&offer, sizeof(offer)); /* relid 0 */
	offer.relid = VMBUS_RELID_MAX + 1;
	tell_message(&offer, sizeof(offer));
	offer.relid = RELID;
	tell_message(&offer, sizeof(offer) - 1);
	rescind.relid = 5000;
	tell_message(&rescind, sizeof(rescind));
	tell_message(&torn, sizeof(torn)); /* nobody waits */
	tell_message(bytes, 240);
	s.size = 5000;
	tell(VMU_SINT_MESSAGE, 0, &s, sizeof(s), -1);
	s.size = 240;
	tell(VMU_SINT_MESSAGE, 0, &s, offsetof(struct vmu_sint_msg, payload) + 8, -1);
	event.flag = 0x10000;
	tell(VMU_SINT_EVENT, 0, &event, sizeof(event), -1);
	tell(VMU_EVENT_FD, 0, &event, sizeof(event), 0);
	for (uint16_t type = 0; type < 64; type++)
		tell(type == VMU_ACK || type == VMU_LOG ? 99 : type, 12345, bytes, type, -1);
	tell(VMU_LOG, 0, "tells\n", 6, -1);
	settle();
	assert_int_equal(peer.offers + peer.events + peer.hangups + peer.rescinded, 0);
	assert_string_equal(peer.log, "tells?");
}

static void
no_magic(void **state)
{
	(void)state;
	assert_int_equal(send(peer.fd, "GET / HTTP/1.1\r\n\r\n", 18, 0), 18);
	assert_int_equal(vmbus_client_hello(peer.c, "test", 1, NULL), -ENOTCONN);
	pthread_join(peer.client_thread, NULL);
	assert_int_equal(peer.hangups, 1);
	pthread_create(&peer.client_thread, NULL, client_main, peer.c);
}

/* --- descriptors ---------------------------------------------------------------------------- */

static unsigned int
open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n;
}

static void
give(uint16_t kind, int fd)
{
	struct vmu_event event = { .sint = VMBUS_SINT, .flag = RELID };
	struct vmu_signal signal = { .conn_id = CONN };

	if (kind == VMU_EVENT_FD)
		tell(kind, 0, &event, sizeof(event), fd);
	else
		tell(kind, 0, &signal, sizeof(signal), fd);
}

static void
opened(void)
{
	contact();
	assert_int_equal(vmbus_client_request_offers(peer.c), 0);
	assert_int_equal(vmbus_client_open(peer.c, RELID, 1, 0, 16), 0);
}

static uint64_t
count_of(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static void
descriptors(void **state)
{
	struct vmu_event event = { .sint = VMBUS_SINT, .flag = RELID };
	unsigned int before = open_fds();
	int fd = eventfd(0, EFD_NONBLOCK), held;
	uint64_t n = 5;

	(void)state;
	opened();
	tell(VMU_SINT_EVENT, 0, &event, sizeof(event), -1);
	assert_int_equal(vmbus_client_event_fd(peer.c, RELID), -ENOENT);
	give(VMU_EVENT_FD, fd);
	give(VMU_SIGNAL_FD, fd);
	settle();
	assert_int_equal(peer.events, 1);
	held = vmbus_client_event_fd(peer.c, RELID);
	assert_true(held >= 0 && vmbus_client_signal_fd(peer.c, CONN) >= 0);
	assert_int_equal(write(fd, &n, sizeof(n)), sizeof(n));
	assert_int_equal(count_of(held), 5);
	/* Nothing blocks; withdrawn, the number stays in use, and messages are passed on to it. */
	give(VMU_EVENT_FD, -1);
	tell(VMU_SINT_EVENT, 0, &event, sizeof(event), -1);
	settle();
	assert_int_equal(vmbus_client_event_fd(peer.c, RELID), held);
	assert_int_equal(count_of(held), 1);
	assert_int_equal(count_of(held), 0);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(peer.events, 1);
	vmbus_client_forget(peer.c, RELID, CONN);
	assert_int_equal(vmbus_client_event_fd(peer.c, RELID), -ENOENT);
	assert_int_equal(vmbus_client_signal_fd(peer.c, CONN), -ENOENT);
	close(fd);
	assert_int_equal(open_fds(), before);
}

/* An application sleeps in epoll_wait() on the first descriptor: the second one wakes it. */
static void
second_event_fd(void **state)
{
	int first = eventfd(0, 0), second = eventfd(0, 0), third = eventfd(0, 0);
	int ep = epoll_create1(EPOLL_CLOEXEC), held;
	struct epoll_event ev = { .events = EPOLLIN };
	uint64_t n = 3;

	(void)state;
	opened();
	give(VMU_EVENT_FD, first);
	settle();
	held = vmbus_client_event_fd(peer.c, RELID);
	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_ADD, held, &ev), 0);
	close(first);
	give(VMU_EVENT_FD, second);
	settle();
	assert_int_equal(write(second, &n, sizeof(n)), sizeof(n));
	assert_int_equal(epoll_wait(ep, &ev, 1, 5000), 1);
	assert_int_equal(count_of(held), 3);
	/* The second is replaced by the third, and no longer listened to. */
	give(VMU_EVENT_FD, third);
	settle();
	assert_int_equal(write(second, &n, sizeof(n)), sizeof(n));
	settle();
	assert_int_equal(epoll_wait(ep, &ev, 1, 0), 0);
	assert_int_equal(write(third, &n, sizeof(n)), sizeof(n));
	assert_int_equal(epoll_wait(ep, &ev, 1, 5000), 1);
	assert_int_equal(vmbus_client_event_fd(peer.c, RELID), held);
	close(second);
	close(third);
	close(ep);
}

static void
second_signal_fd(void **state)
{
	int first = eventfd(0, EFD_NONBLOCK), second = eventfd(0, EFD_NONBLOCK), held;
	uint64_t one = 1;

	(void)state;
	opened();
	give(VMU_SIGNAL_FD, first);
	settle();
	held = vmbus_client_signal_fd(peer.c, CONN);
	give(VMU_SIGNAL_FD, second);
	settle();
	assert_int_equal(vmbus_client_signal_fd(peer.c, CONN), held);
	assert_int_equal(write(held, &one, sizeof(one)), sizeof(one));
	assert_int_equal(count_of(first), 0);
	assert_int_equal(count_of(second), 1);
	close(first);
	close(second);
}

/* What is no eventfd is refused: to write to a pipe that nobody reads ends the process. */
static void
no_eventfd(void **state)
{
	int broken[2], null = open("/dev/null", O_RDWR | O_CLOEXEC), epoll = epoll_create1(0);

	(void)state;
	assert_int_equal(pipe(broken), 0);
	close(broken[0]);
	opened();
	for (unsigned int i = 0; i < 2; i++) {
		uint16_t kind = i == 0 ? VMU_SIGNAL_FD : VMU_EVENT_FD;

		give(kind, broken[1]);
		give(kind, null);
		give(kind, epoll);
		give(kind, peer.fd);
	}
	settle();
	assert_int_equal(peer.refused, 8);
	assert_int_equal(vmbus_client_signal_fd(peer.c, CONN), -ENOENT);
	assert_int_equal(vmbus_client_event_fd(peer.c, RELID), -ENOENT);
	close(broken[1]);
	close(null);
	close(epoll);
}

/* Thousands of descriptors of channels that do not exist, or are not open, use up none of ours. */
static void
descriptors_without_end(void **state)
{
	struct vmu_event event = { .sint = VMBUS_SINT };
	struct vmu_signal signal = { 0 };
	unsigned int before, n = 0;
	int fd = eventfd(0, 0);

	(void)state;
	opened();
	before = open_fds();
	for (uint32_t i = 1; i <= VMBUS_RELID_MAX; i++) {
		event.flag = i;
		signal.conn_id = 0x10000 + i;
		if (i == RELID)
			continue;
		tell(VMU_EVENT_FD, 0, &event, sizeof(event), fd);
		tell(VMU_SIGNAL_FD, 0, &signal, sizeof(signal), fd);
		n += 2;
	}
	settle();
	assert_int_equal(open_fds(), before);
	assert_int_equal(peer.refused, n);
	/* Also of ours, once it is closed. */
	vmbus_client_forget(peer.c, RELID, CONN);
	give(VMU_EVENT_FD, fd);
	settle();
	assert_int_equal(open_fds(), before);
	close(fd);
}

/* --- a peer that does not read -------------------------------------------------------------------- */

static unsigned int held_released;
static pthread_mutex_t hold = PTHREAD_MUTEX_INITIALIZER;

/* Stops reading at the first message; later it counts. */
static uint32_t
hold_and_count(const struct vmbus_msg_hdr *msg, uint32_t len, uint32_t conn)
{
	(void)len, (void)conn;
	if (msg->type == VMBUS_MSG_CLOSECHANNEL) {
		pthread_mutex_lock(&hold);
		pthread_mutex_unlock(&hold);
	}
	if (msg->type == VMBUS_MSG_RELID_RELEASED)
		__atomic_fetch_add(&held_released, 1, __ATOMIC_RELAXED);
	return 0;
}

static void *
close_main(void *arg)
{
	assert_int_equal(vmbus_client_close(arg, RELID), 0);
	return NULL;
}

/*
 * A data lcore rings, the interrupt thread releases: neither waits for a host that does not read
 * its socket, and nothing of it is lost.
 */
static void
full_socket(void **state)
{
	pthread_t closer;

	(void)state;
	contact();
	held_released = 0;
	peer.message = hold_and_count;
	pthread_mutex_lock(&hold);
	pthread_create(&closer, NULL, close_main, peer.c);
	while (peer.posts < 2)
		usleep(100);
	for (uint32_t conn = 0; conn < 4000; conn++)
		assert_int_equal(vmbus_client_signal(peer.c, conn), 0);
	for (uint32_t relid = 1; relid <= 8; relid++)
		assert_int_equal(vmbus_client_released(peer.c, relid), 0);
	pthread_mutex_unlock(&hold);
	pthread_join(closer, NULL);
	for (unsigned int i = 0; i < 5000; i++) {
		if (__atomic_load_n(&held_released, __ATOMIC_RELAXED) == 8 &&
		    __atomic_load_n(&peer.signals, __ATOMIC_RELAXED) == 4000)
			break;
		usleep(1000);
	}
	assert_int_equal(held_released, 8);
	assert_int_equal(peer.signals, 4000);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(nonsense),
		T(no_magic),
		T(descriptors),
		T(second_event_fd),
		T(second_signal_fd),
		T(no_eventfd),
		T(descriptors_without_end),
		T(full_socket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
