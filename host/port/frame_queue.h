/* SPDX-License-Identifier: BSD-3-Clause */
/* A bounded queue of copies of frames. */
#ifndef HOST_FRAME_QUEUE_H
#define HOST_FRAME_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "port.h"

struct frame_queue {
	struct port_frame *frames; /* ring of n */
	uint8_t *bytes;		   /* ring of size; a frame lies in one piece */
	unsigned int n;
	unsigned int head;
	unsigned int used;
	uint32_t size;
	uint32_t tail; /* where the next frame's bytes go */
	uint64_t in;
	uint64_t in_bytes;
	uint64_t out;
	uint64_t refused; /* attempts to put that found no room */
};

int frame_queue_init(struct frame_queue *q, unsigned int n);
void frame_queue_free(struct frame_queue *q);

/* Where len bytes of the next frame may be written, NULL if there is no room. */
uint8_t *frame_queue_room(struct frame_queue *q, uint32_t len);

/* The frame written there is part of the queue; only the VLAN tag of like's flags stays. */
void frame_queue_put(struct frame_queue *q, uint8_t *at, const struct port_frame *like);

unsigned int frame_queue_peek(const struct frame_queue *q, struct port_frame *frames,
			      unsigned int max);
void frame_queue_release(struct frame_queue *q, unsigned int n);

#endif /* HOST_FRAME_QUEUE_H */
