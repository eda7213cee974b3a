/* SPDX-License-Identifier: BSD-3-Clause */
/* pair: a cable between two NICs of this host. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frame_queue.h"
#include "kinds.h"

#define QUEUE 1024 /* frames each way before the sending guest has to wait */

struct pair {
	struct port port;
	unsigned int peer_index;
	struct pair *peer;    /* NULL until joined, and after its NIC is gone */
	struct frame_queue q; /* toward this NIC's guest */
	uint64_t unplugged;   /* frames that found no peer */
};

static struct pair *
pair_of(const struct port *port)
{
	return (struct pair *)(uintptr_t)port;
}

static int
pair_create(struct nic *nic, const char *text, struct port **port)
{
	struct pair *p = calloc(1, sizeof(*p));
	char *end;

	if (p == NULL)
		return -ENOMEM;
	p->peer_index = (unsigned int)strtoul(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end != '\0' || p->peer_index == nic_index(nic)) {
		fprintf(stderr,
			"hv-host: port pair: \"%s\" is not the index of another NIC (pair:1)\n",
			text);
		free(p);
		return -EINVAL;
	}
	if (frame_queue_init(&p->q, QUEUE) != 0) {
		fprintf(stderr, "hv-host: port pair: no memory\n");
		free(p);
		return -ENOMEM;
	}
	p->port = (struct port){ .ops = &port_pair_ops, .nic = nic };
	*port = &p->port;
	return 0;
}

int
port_join(struct port *port, struct port *other)
{
	struct pair *a = pair_of(port), *b;

	if (other->ops != &port_pair_ops || pair_of(other)->peer_index != nic_index(port->nic) ||
	    a->peer_index != nic_index(other->nic)) {
		fprintf(stderr, "hv-host: NIC %u has port=pair:%u: NIC %u needs port=pair:%u\n",
			nic_index(port->nic), a->peer_index, a->peer_index, nic_index(port->nic));
		return -EINVAL;
	}
	b = pair_of(other);
	a->peer = b;
	b->peer = a;
	return 0;
}

static void
pair_destroy(struct port *port)
{
	struct pair *p = pair_of(port);

	if (p->peer != NULL)
		p->peer->peer = NULL;
	frame_queue_free(&p->q);
	free(p);
}

static unsigned int
pair_peek(struct port *port, struct port_frame *frames, unsigned int max)
{
	return frame_queue_peek(&pair_of(port)->q, frames, max);
}

static void
pair_release(struct port *port, unsigned int n)
{
	frame_queue_release(&pair_of(port)->q, n);
}

static bool
pair_push(struct port *port, const struct port_frame *frame)
{
	struct pair *p = pair_of(port);
	uint8_t *at;

	if (p->peer == NULL) {
		p->unplugged++;
		return true;
	}
	at = frame_queue_room(&p->peer->q, frame->len);
	if (at == NULL)
		return false;
	memcpy(at, frame->data, frame->len);
	frame_queue_put(&p->peer->q, at, frame);
	return true;
}

static unsigned int
pair_flush(struct port *port)
{
	(void)port;
	return 0;
}

static json_t *
pair_stats(struct port *port)
{
	const struct pair *p = pair_of(port);
	const struct frame_queue *there = p->peer != NULL ? &p->peer->q : NULL;

	return json_pack("{ss sI sI sI sI sI sI}", "kind", "pair", "peer",
			 (json_int_t)p->peer_index, "from_guest_frames",
			 (json_int_t)(there ? there->in : 0), "refused",
			 (json_int_t)(there ? there->refused : 0), "unplugged",
			 (json_int_t)p->unplugged, "sent", (json_int_t)p->q.out, "waiting",
			 (json_int_t)p->q.used);
}

const struct port_ops port_pair_ops = {
	.kind = "pair",
	.create = pair_create,
	.destroy = pair_destroy,
	.peek = pair_peek,
	.release = pair_release,
	.push = pair_push,
	.flush = pair_flush,
	.stats = pair_stats,
};
