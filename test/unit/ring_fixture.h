/* SPDX-License-Identifier: BSD-3-Clause */
/* A ring of one data page with both its ends, for the ring tests. */
#ifndef RING_FIXTURE_H
#define RING_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vmbus_ring.h"

#define FX_DATA	 4096u
#define FX_BYTES (HV_PAGE_SIZE + FX_DATA)

struct fixture {
	uint8_t *mem;
	struct vmbus_ring_hdr *hdr;
	uint8_t *data;
	struct vmbus_ring tx;
	struct vmbus_ring rx;
	uint8_t scratch[FX_DATA];
};

/* Both ends attached to an empty ring whose indices are at. */
static inline void
fx_init(struct fixture *f, uint32_t at)
{
	if (f->mem == NULL)
		f->mem = aligned_alloc(HV_PAGE_SIZE, FX_BYTES);
	assert_non_null(f->mem);
	memset(f->mem, 0, FX_BYTES);
	f->hdr = (struct vmbus_ring_hdr *)f->mem;
	f->data = f->mem + HV_PAGE_SIZE;
	f->hdr->windex = at;
	f->hdr->rindex = at;
	f->hdr->feature = VMBUS_RING_FEAT_PENDING_SEND;
	assert_int_equal(vmbus_ring_init_tx(&f->tx, f->mem, FX_BYTES, HV_PAGE_SIZE), 0);
	assert_int_equal(vmbus_ring_init_rx(&f->rx, f->mem, FX_BYTES, HV_PAGE_SIZE), 0);
}

static inline int
fx_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return -1;
	*state = f;
	fx_init(f, 0);
	return 0;
}

static inline int
fx_teardown(void **state)
{
	struct fixture *f = *state;

	free(f->mem);
	free(f);
	return 0;
}

/* An in-band packet of len bytes with a recognisable body; len is a multiple of 8. */
static inline int
fx_put(struct fixture *f, uint64_t tid, uint32_t len)
{
	uint8_t body[FX_DATA] = { 0 };
	uint32_t i;

	for (i = 0; i < len - 16; i++)
		body[i] = (uint8_t)(tid * 31 + i);
	return vmbus_ring_tx_put(&f->tx, VMBUS_PKT_INBAND, VMBUS_PKT_F_RC, tid, NULL, 0, body,
				 len - 16);
}

/* Peek and check such a packet; does not release it. */
static inline void
fx_expect(struct fixture *f, uint64_t tid, uint32_t len, struct vmbus_ring_pkt *pkt)
{
	uint32_t i;

	assert_int_equal(vmbus_ring_rx_peek(&f->rx, pkt, f->scratch, sizeof(f->scratch)), 1);
	assert_int_equal(pkt->type, VMBUS_PKT_INBAND);
	assert_int_equal(pkt->flags, VMBUS_PKT_F_RC);
	assert_int_equal(pkt->tid, tid);
	assert_int_equal(pkt->len, len);
	assert_int_equal(pkt->ext_len, 0);
	assert_int_equal(pkt->payload_len, len - 16);
	for (i = 0; i < len - 16; i++)
		assert_int_equal(pkt->body[i], (uint8_t)(tid * 31 + i));
}

static inline void
fx_take(struct fixture *f, uint64_t tid, uint32_t len)
{
	struct vmbus_ring_pkt pkt;

	fx_expect(f, tid, len, &pkt);
	vmbus_ring_rx_release(&f->rx, &pkt);
}

#endif /* RING_FIXTURE_H */
