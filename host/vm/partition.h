/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A partition: one guest, one connection of the vmbus-user socket.
 *
 *   partition.c  the socket's messages        memory.c  guest memory, SIGBUS
 *   listen.c     the listening socket         gpadl.c   shared page lists
 *   outq.c       what waits to be sent
 */
#ifndef HOST_PARTITION_H
#define HOST_PARTITION_H

#include <signal.h>
#include <sys/queue.h>

#include "host.h"
#include "loop.h"
#include "vmbus_user.h"

#define PART_VDEVS_MAX 64

struct mem_file;

struct region {
	uint64_t gpa;
	uint64_t size;
	uint64_t offset;
	struct mem_file *file;
	uint8_t *va;
	bool rdonly;
};

struct gpadl {
	TAILQ_ENTRY(gpadl) link;
	uint32_t id;
	uint32_t relid;
	uint32_t n_pfns;
	uint32_t have; /* received so far */
	uint32_t bytes;
	bool created;
	bool teardown; /* asked for while in use: answered when the channel closes */
	bool used;     /* as rings or as a buffer: not to be unmapped */
	uint8_t *va;
	void *map; /* own mapping, NULL if va lies inside a region's */
	size_t map_len;
	uint64_t pfn[];
};

struct out_msg;
TAILQ_HEAD(out_list, out_msg);
struct vmbus; /* vmbus/vmbus_host.h */

struct partition {
	TAILQ_ENTRY(partition) link;
	struct event_source src;
	unsigned int id;
	bool hello;
	bool dead; /* to be released by partitions_reap() */
	uint32_t features;
	uint32_t n_vps;
	char name[VMU_NAME_LEN + 1];
	struct region *regions; /* sorted by gpa */
	unsigned int n_regions;
	TAILQ_HEAD(, mem_file) files;
	TAILQ_HEAD(, gpadl) gpadls;
	uint64_t gpadl_bytes;
	uint32_t gpadl_refused;	   /* the last one: its bodies may be on their way */
	struct out_list out, late; /* at once, and when due */
	unsigned int n_out;
	struct vmbus *vmbus;
	struct vdev *vdevs[PART_VDEVS_MAX];
	unsigned int n_vdevs;
	uint64_t violations;
	volatile sig_atomic_t faults; /* in its memory: memory.c */
	sig_atomic_t faults_told;
};

TAILQ_HEAD(partition_list, partition);
extern struct partition_list partitions;

/* listen.c */
int listen_open(const char *path, struct event_source *src, int type);
/* The next who connects, named for messages; -1 if there is none, or no descriptor for it. */
int listen_accept(const struct event_source *src, const char *who);
void listen_close(const char *path, struct event_source *src);

/* partition.c */
void partition_accept(struct event_source *src, uint32_t events);
void partition_kill(struct partition *part, const char *why);
void partitions_reap(void);
void partitions_free(void);
/* Attach the host's NICs to a partition that said hello, and back: main.c. */
void host_attach_nics(struct partition *part);
void host_detach_nics(struct partition *part);

/* outq.c: send, or keep until `due` (0 = at once). fd (-1 = none) is duplicated. */
void out_send(struct partition *part, uint16_t type, uint32_t seq, const void *body, size_t len,
	      int fd, uint64_t due);
void out_flush(struct partition *part);
void out_purge(struct partition *part, bool delayed_only);

/* memory.c */
int mem_add(struct partition *part, const struct vmu_mem *mem, int fd); /* positive errno */
int mem_del(struct partition *part, const struct vmu_mem *mem);		/* positive errno */
void mem_drop_all(struct partition *part);
struct region *mem_find(struct partition *part, uint64_t gpa);
/* Map len bytes of a region again at va; alignment rules of huge pages are checked. */
int mem_map_fixed(const struct region *r, uint64_t gpa, size_t len, uint8_t *va, bool first,
		  bool last);
size_t mem_page_size(const struct region *r);
int mem_sigbus_init(void);
void mem_sigbus_report(void); /* turn faults since the last call into violations */

/* gpadl.c; the status goes into GPADL_CREATED */
#define GPADL_PENDING 0x00000103u /* NTSTATUS STATUS_PENDING: more bodies to come */
uint32_t gpadl_header(struct partition *part, const struct vmbus_msg_gpadl_header *m, size_t len);
uint32_t gpadl_body(struct partition *part, const struct vmbus_msg_gpadl_body *m, size_t len,
		    uint32_t *relid);
struct gpadl *gpadl_find(struct partition *part, uint32_t id);
void gpadl_free(struct partition *part, struct gpadl *g);
void gpadl_free_all(struct partition *part);
bool gpadl_overlaps(struct partition *part, uint64_t gpa, uint64_t size);

#endif /* HOST_PARTITION_H */
