/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "frame_queue.h"

#define BYTES_PER_FRAME 2048u
#define BYTES_MIN	(256u << 10) /* several of the largest frames, whatever n */
#define ALIGN		64u

int
frame_queue_init(struct frame_queue *q, unsigned int n)
{
	memset(q, 0, sizeof(*q));
	q->n = n;
	q->size = n * BYTES_PER_FRAME > BYTES_MIN ? n * BYTES_PER_FRAME : BYTES_MIN;
	q->frames = calloc(n, sizeof(*q->frames));
	q->bytes = malloc(q->size);
	if (q->frames == NULL || q->bytes == NULL) {
		frame_queue_free(q);
		return -ENOMEM;
	}
	return 0;
}

void
frame_queue_free(struct frame_queue *q)
{
	free(q->frames);
	free(q->bytes);
	q->frames = NULL;
	q->bytes = NULL;
}

uint8_t *
frame_queue_room(struct frame_queue *q, uint32_t len)
{
	uint32_t first;

	if (q->used == 0)
		q->tail = 0;
	else if (q->used < q->n) {
		/* Free bytes end where the oldest frame begins. */
		first = (uint32_t)(q->frames[q->head].data - q->bytes);
		if (q->tail <= first) {
			if (len <= first - q->tail && q->tail != first)
				return q->bytes + q->tail;
			q->refused++;
			return NULL;
		}
		if (len > q->size - q->tail && len < first)
			q->tail = 0;
	} else {
		q->refused++;
		return NULL;
	}
	if (len <= q->size - q->tail)
		return q->bytes + q->tail;
	q->refused++;
	return NULL;
}

void
frame_queue_put(struct frame_queue *q, uint8_t *at, const struct port_frame *like)
{
	struct port_frame *f = &q->frames[(q->head + q->used) % q->n];

	*f = (struct port_frame){
		.data = at, .len = like->len, .flags = like->flags & PORT_F_VLAN, .tci = like->tci
	};
	q->tail = (uint32_t)(at - q->bytes) + (like->len + ALIGN) / ALIGN * ALIGN;
	if (q->tail > q->size)
		q->tail = q->size;
	q->used++;
	q->in++;
	q->in_bytes += like->len;
}

unsigned int
frame_queue_peek(const struct frame_queue *q, struct port_frame *frames, unsigned int max)
{
	unsigned int n = max < q->used ? max : q->used;

	for (unsigned int i = 0; i < n; i++)
		frames[i] = q->frames[(q->head + i) % q->n];
	return n;
}

void
frame_queue_release(struct frame_queue *q, unsigned int n)
{
	if (n > q->used)
		n = q->used;
	q->head = (q->head + n) % q->n;
	q->used -= n;
	q->out += n;
}
