/* SPDX-License-Identifier: BSD-3-Clause */
/* Inside the back end "user": connections, the memory they share, devices. */
#ifndef VMBUS_USER_CONN_H
#define VMBUS_USER_CONN_H

#include <pthread.h>
#include <sys/queue.h>
#include <rte_devargs.h>

#include "vmbus_backend.h"
#include "vmbus_client.h"

#define USER_VPS 64 /* virtual processors we claim: targets of interrupts, nothing else */

/* --- vmbus_user_mem.c ------------------------------------------------------------------------- */

struct user_region {
	uint64_t gpa;
	uint64_t size;
	uint64_t freed; /* bytes of it that DPDK has given back */
};

/* What of DPDK's memory a host has. */
struct user_mem {
	TAILQ_ENTRY(user_mem) link;
	struct vmbus_client *client;
	const char *path; /* for messages */
	struct user_region *regions;
	unsigned int n_regions;
	bool complained;
};

/* Share all memory, and what DPDK allocates or frees from now on. 0 or -errno. */
int user_mem_share(struct user_mem *mem, struct vmbus_client *client, const char *path);
void user_mem_forget(struct user_mem *mem);

/* --- vmbus_user_conn.c ------------------------------------------------------------------------ */

struct user_offer {
	TAILQ_ENTRY(user_offer) link;
	struct vmbus_msg_offer msg;
	bool used;	/* its channel is being opened, is open, is being closed */
	bool rescinded; /* used, so that the relid is not released yet */
	bool refused;	/* another host offers the same device; said already */
	bool announce;	/* came after the first ones: a hot-plug event is due */
};

struct user_dev;

/* One socket: one connection, one partition. */
struct user_conn {
	TAILQ_ENTRY(user_conn) link;
	char path[108];
	struct rte_devargs devargs; /* arguments for its devices */
	bool has_devargs;
	bool up;	/* there is a client and its thread */
	int last_error; /* said already */
	unsigned int logged;
	struct vmbus_client *client;
	pthread_t thread;
	struct user_mem mem;
	struct hv_vmbus_host host;
	const struct rte_memzone *monitor; /* two pages: parent to child, child to parent */
	pthread_mutex_t lock;		   /* of all below */
	bool settled;			   /* the first offers are complete */
	bool dead;			   /* the host hung up */
	TAILQ_HEAD(, user_offer) offers;
	TAILQ_HEAD(, user_dev) devs;
	TAILQ_HEAD(, user_share) populating;
	TAILQ_HEAD(, user_leaving) leaving;
	int event_fd[VMBUS_RELID_MAX + 1]; /* ours, where the host gives none; else -1 */
};

/* Memory shared by a GPADL. */
struct user_share {
	TAILQ_ENTRY(user_share) link; /* of conn->populating */
	const struct rte_memzone *mz;
	struct hv_vmbus_memory *memory; /* frees mz */
	uint32_t gpadl;
	bool populating;
	size_t populated; /* bytes of it that have had their page faults */
};

struct user_chan {
	struct user_share ring;
	uint32_t relid;
	uint32_t conn_id;
	bool opened;
	bool has_offer;
};

struct user_dev {
	TAILQ_ENTRY(user_dev) link;	 /* of conn->devs */
	TAILQ_ENTRY(user_dev) open_link; /* of the open ones */
	bool is_open;
	struct user_conn *conn;
	struct hv_vmbus_device *dev;
	bool external_told; /* that memory is out of the host's reach */
	struct user_share recv;
	struct user_share send;
	struct user_chan *chan[VMBUS_CHANNELS_MAX];
};

/* Read the list of sockets, connect those that are not, report what they offer. */
int user_conn_scan(void);

/* Close every connection. */
void user_conn_cleanup(void);

/*
 * Take the offer of a channel for use: fills relid, connection id and monitor (0xFF if none).
 * -ENODEV if there is none, or it is rescinded.
 */
int user_offer_take(struct user_conn *conn, const struct hv_guid *instance_id, uint16_t index,
		    struct user_chan *uc, uint8_t *monitor_id);

bool user_offer_rescinded(struct user_conn *conn, uint32_t relid);

/* The channel is closed: a rescinded relid goes back to the host. */
void user_offer_drop(struct user_conn *conn, struct user_chan *uc);

/* Device bookkeeping. */
void user_dev_release(struct user_dev *ud);

/* --- vmbus_user_share.c ------------------------------------------------------------------------ */

/* Memory, shared with the host under a channel's GPADL. 0 or -errno; *sh is to be freed anyhow. */
int user_share_new(struct user_dev *ud, uint32_t relid, uint32_t bytes, struct user_share *sh);

/* -ETIMEDOUT: the host may still have it; it comes back when the host says so. */
int user_share_free(struct user_dev *ud, uint32_t relid, struct user_share *sh);

/*
 * Have the page faults of all its pages taken in the background, piece by piece. On the data path
 * each would cost microseconds; all at once, before the device is used, they cost most of a probe.
 */
void user_share_populate(struct user_conn *conn, struct user_share *sh);

/* On the connection's thread, when nothing else is to be done: a piece of it. True: there is more. */
bool user_share_idle(struct user_conn *conn);

/* On the connection's thread: the host has let go of a GPADL. */
void user_share_torndown(struct user_conn *conn, uint32_t gpadl);

/* The connection is at its end, its thread has ended; ours: the host has let go of everything. */
void user_share_end(struct user_conn *conn, bool ours);

/* --- vmbus_user.c ------------------------------------------------------------------------------ */

/* Ring a channel without a monitor, in the primary. */
void user_ring(struct user_dev *ud, const struct user_chan *uc);

/* --- vmbus_user_mp.c --------------------------------------------------------------------------- */

/* Serve secondaries that attach to an open device; stop before it closes. */
void user_mp_opened(struct user_dev *ud);
void user_mp_closing(struct user_dev *ud);
void user_mp_cleanup(void);

/* In a secondary: descriptors of a channel, -1 where the host gave none. -ETIMEDOUT. */
int user_mp_fds(const struct hv_vmbus_device *dev, uint16_t index, int *signal_fd, int *event_fd);

/* In a secondary: have the primary ring. Does not wait. */
void user_mp_ring(const struct hv_vmbus_device *dev, uint16_t index);

#endif /* VMBUS_USER_CONN_H */
