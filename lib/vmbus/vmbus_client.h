/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A VMBus guest's side of the control protocol, over a vmbus-user socket. No DPDK.
 *
 * One client is one connection, one partition. A thread of the caller sits in
 * vmbus_client_run() and receives; every other function may be called from any other thread,
 * waits a bounded time for its answer, and returns 0 or a negative errno: -ETIMEDOUT the host
 * does not answer, -ENOTCONN it hung up, -ENODEV the channel was rescinded meanwhile, -EPROTO
 * it refused. Functions that do not wait say so; only those may be called from the callbacks.
 */
#ifndef VMBUS_CLIENT_H
#define VMBUS_CLIENT_H

#include <stdbool.h>

#include "vmbus_user.h"

#define VMBUS_CLIENT_TIMEOUT_MS 5000

struct vmbus_client;

/* Called by the thread in vmbus_client_run(), with no lock held. */
struct vmbus_client_ops {
	/* A channel is offered; relid is in range, nothing else was checked. */
	void (*offer)(void *ctx, const struct vmbus_msg_offer *offer);
	/* The channel is gone; whoever waits for it has been woken. */
	void (*rescind)(void *ctx, uint32_t relid);
	/* The host signals a channel and has given no descriptor for it. */
	void (*event)(void *ctx, uint32_t relid);
	/* The host hung up or sent what is no vmbus-user. The last callback. */
	void (*hangup)(void *ctx);
	/* The host has something to tell, printable, terminated. */
	void (*log)(void *ctx, const char *text);
	/* The host gave something that is not taken. */
	void (*refused)(void *ctx, const char *what);
	/*
	 * The host has let go of a GPADL, in time or late; who waits for it is woken behind this.
	 * NULL: not wanted, as the next.
	 */
	void (*torndown)(void *ctx, uint32_t gpadl);
	/* Nothing came for a millisecond: time for something short. True: call again. */
	bool (*idle)(void *ctx);
};

/* --- connection ------------------------------------------------------------------------------- */

/* Connect to a socket. Returns a descriptor; -ENOENT no such file, -ECONNREFUSED nobody listens. */
int vmbus_client_connect(const char *path);

/* Make a client of a connected descriptor, which it owns from now on. Does not wait. */
int vmbus_client_new(int fd, const struct vmbus_client_ops *ops, void *ctx,
		     struct vmbus_client **client);

/* Receive until the host hangs up or vmbus_client_stop() is called. */
void vmbus_client_run(struct vmbus_client *client);

/* There is something for ->idle(). Does not wait. */
void vmbus_client_wake(struct vmbus_client *client);

/* Let vmbus_client_run() return, without the hang-up callback. Does not wait. */
void vmbus_client_stop(struct vmbus_client *client);

/* The running thread has ended. */
void vmbus_client_free(struct vmbus_client *client);

/* Introduce ourselves. host_name (VMU_NAME_LEN bytes) may be NULL. -EPROTONOSUPPORT, -EPROTO. */
int vmbus_client_hello(struct vmbus_client *client, const char *name, uint32_t n_vps,
		       char *host_name);

/*
 * Everything that the calling thread asks of any host from now on has ms milliseconds in all;
 * 0: as long as it takes. What is left when they are over is sent, and not waited for.
 */
void vmbus_client_hurry(unsigned int ms);

/* What the host has not answered is forgotten: the next answer is waited for in full. */
void vmbus_client_patient(struct vmbus_client *client);

/* --- memory ------------------------------------------------------------------------------------ */

/*
 * Share size bytes at offset of a file as guest physical memory at gpa; all are multiples of
 * the page size. The host has it when this returns. mem_del: the host has let go of it.
 */
int vmbus_client_mem_add(struct vmbus_client *client, uint64_t gpa, uint64_t size, uint64_t offset,
			 int fd);
int vmbus_client_mem_del(struct vmbus_client *client, uint64_t gpa, uint64_t size);

/* --- bus ---------------------------------------------------------------------------------------- */

/*
 * Agree on a VMBus version, from 5.3 down to 2.4. The monitor pages are guest physical
 * addresses, zeroed pages; both 0 for none. -EPROTONOSUPPORT if the host knows no version of ours.
 */
int vmbus_client_contact(struct vmbus_client *client, uint64_t monitor_p2c, uint64_t monitor_c2p);
uint32_t vmbus_client_version(const struct vmbus_client *client);

/* Ask for offers; returns when all present ones were passed to ->offer(). */
int vmbus_client_request_offers(struct vmbus_client *client);

/*
 * End the contact: the host forgets channels, GPADLs and monitor pages. Hosts may take a minute;
 * to hang up ends everything as well.
 */
int vmbus_client_unload(struct vmbus_client *client, unsigned int timeout_ms);

/* --- channels ------------------------------------------------------------------------------------ */

/*
 * Share n guest pages, given as page frame numbers of 4096 bytes, under a GPADL of a channel;
 * at most VMBUS_GPADL_MAX_PFNS. -EINVAL above that. A GPADL whose creation failed or timed out
 * must be torn down before the pages are used for something else; *gpadl is then 0 if the host
 * said that it does not have it.
 */
int vmbus_client_gpadl_create(struct vmbus_client *client, uint32_t relid, const uint64_t *pfn,
			      uint32_t n, uint32_t *gpadl);
/* The host may owe no answer for a rescinded channel: wait at most timeout_ms. */
int vmbus_client_gpadl_teardown(struct vmbus_client *client, uint32_t relid, uint32_t gpadl,
				unsigned int timeout_ms);

/*
 * Open a channel over the rings in a GPADL; the host-to-guest ring starts at downstream_page.
 * From here until vmbus_client_forget() the host may give descriptors for it.
 */
int vmbus_client_open(struct vmbus_client *client, uint32_t relid, uint32_t ring_gpadl,
		      uint32_t target_vp, uint32_t downstream_page);

/* Close it. The host has let go of the rings only when their GPADL is torn down. */
int vmbus_client_close(struct vmbus_client *client, uint32_t relid);

/* A rescinded channel is no longer used: the host may give its relid to another. Does not wait. */
int vmbus_client_released(struct vmbus_client *client, uint32_t relid);

/* --- events -------------------------------------------------------------------------------------- */

/*
 * The eventfd the host writes to signal a channel (by relid), or the one to write to ring a
 * channel (by connection id); -ENOENT if it gave none. The client owns it; it stays valid
 * until forgotten, whatever the host gives or withdraws, and the first one in the epoll sets that
 * it was put into. Neither waits.
 */
int vmbus_client_event_fd(struct vmbus_client *client, uint32_t relid);
int vmbus_client_signal_fd(struct vmbus_client *client, uint32_t conn_id);

/* The channel was closed, or did not open: close its descriptors, take none. Does not wait. */
void vmbus_client_forget(struct vmbus_client *client, uint32_t relid, uint32_t conn_id);

/* Ring a channel by message. Does not wait; what finds the socket full is sent later. */
int vmbus_client_signal(struct vmbus_client *client, uint32_t conn_id);

#endif /* VMBUS_CLIENT_H */
