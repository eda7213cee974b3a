/* SPDX-License-Identifier: BSD-3-Clause */
/* File descriptors the main loop waits for. */
#ifndef HOST_LOOP_H
#define HOST_LOOP_H

#include <stdint.h>

struct event_source {
	int fd;
	void (*ready)(struct event_source *src, uint32_t events);
};

int loop_init(void);
void loop_fini(void);
int loop_add(struct event_source *src, int fd, uint32_t events);
int loop_mod(struct event_source *src, uint32_t events);
/* The source's memory must live on until loop_wait() has returned. */
void loop_del(struct event_source *src);
#define LOOP_FOREVER UINT64_MAX
/* Wait at most ns, serve what is ready. 1 if something was, else 0. */
int loop_wait(uint64_t ns);

#endif /* HOST_LOOP_H */
