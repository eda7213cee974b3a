/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One queue, its receive burst on one thread and its transmit burst on another, as lcores may share
 * it, and the host on a third. Meant to run under ThreadSanitizer too: each side has a pool of its
 * own, since what orders a pool's users is inside DPDK, which the sanitizer does not see.
 */
#include <pthread.h>
#include <stdio.h>

#include <rte_cycles.h>

#include "datapath_fixture.h"
#include "rest.h"

#define FRAMES	   100000u /* each way */
#define LONGEST	   200u
#define SECONDS	   100u /* a failure takes so long, nothing else */
#define COPY_BELOW 140u /* longer ones are read where they are */

static bool over;
static uint64_t deadline;

struct side {
	const char *failure;
	uint32_t done, skipped;
};

static bool
go_on(void)
{
	if (rte_rdtsc() > deadline)
		__atomic_store_n(&over, true, __ATOMIC_RELAXED);
	return !__atomic_load_n(&over, __ATOMIC_RELAXED);
}

static void
broken(struct side *s, const char *why)
{
	s->failure = why;
	__atomic_store_n(&over, true, __ATOMIC_RELAXED);
}

static uint32_t
frame_len(uint32_t id)
{
	return 60 + id % (LONGEST - 60);
}

static bool
is_frame(const uint8_t *data, uint32_t len, uint32_t id)
{
	uint8_t want[LONGEST];

	make_frame(want, id, frame_len(id));
	return len == frame_len(id) && memcmp(data, want, len) == 0;
}

/*
 * How many frames the driver has dropped: it does while nobody receives, and this thread may get no
 * processor for as long.
 */
static uint32_t
dropped(void)
{
	static uint32_t last;

	if (hvn_biased_try(&fx.ch->in_lock)) {
		last = (uint32_t)fx.rxq->stats.dropped;
		hvn_biased_release(&fx.ch->in_lock);
	}
	return last;
}

static void *
receive(void *arg)
{
	struct side *s = arg;
	struct rte_mbuf *m[BURST];
	uint32_t lost = 0;
	uint16_t n;

	while (s->done < FRAMES && s->done - s->skipped + lost < FRAMES && go_on()) {
		n = hvn_rx_burst(fx.rxq, m, BURST);
		for (uint16_t i = 0; i < n; i++, s->done++) {
			if (!is_frame(rte_pktmbuf_mtod(m[i], uint8_t *), m[i]->pkt_len, s->done))
				lost = dropped();
			while (!is_frame(rte_pktmbuf_mtod(m[i], uint8_t *), m[i]->pkt_len,
					 s->done)) {
				if (s->skipped == lost) {
					broken(s, "a frame is not the one that comes next");
					break;
				}
				s->skipped++;
				s->done++;
			}
		}
		rte_pktmbuf_free_bulk(m, n);
		if (n == 0) {
			lost = dropped();
			rest();
		}
	}
	return NULL;
}

static void *
transmit(void *arg)
{
	struct side *s = arg;
	struct rte_mbuf *m[BURST];
	uint16_t n, sent;
	uint32_t id;

	while (s->done < FRAMES && go_on()) {
		for (n = 0; n < BURST && s->done + n < FRAMES; n++) {
			m[n] = rte_pktmbuf_alloc(fx.small);
			if (m[n] == NULL)
				break;
			id = s->done + n;
			make_frame((uint8_t *)rte_pktmbuf_append(m[n], (uint16_t)frame_len(id)), id,
				   frame_len(id));
		}
		sent = hvn_tx_burst(fx.txq, m, n);
		rte_pktmbuf_free_bulk(m + sent, n - sent);
		s->done += sent;
		if (sent == 0)
			rest();
	}
	return NULL;
}

/* Messages of RNDIS at p: the frames that come next? */
static void
host_messages(struct side *s, const uint8_t *p, uint32_t len)
{
	const uint32_t data_base = offsetof(struct rndis_packet, data_off);
	uint32_t at, offset;

	for (at = 0; at < len && s->failure == NULL; s->done++) {
		offset = hv_load32(p + at + offsetof(struct rndis_packet, data_off));
		if (!is_frame(p + at + data_base + offset,
			      hv_load32(p + at + offsetof(struct rndis_packet, data_len)), s->done))
			broken(s, "a frame sent is not the one that comes next");
		at += hv_load32(p + at + offsetof(struct rndis_packet, hdr.len));
	}
}

/* Guest-physical addresses are pointers here. */
static void
host_gather(struct side *s, const struct vmbus_ring_pkt *pkt)
{
	const uint8_t *at = pkt->body + 8, *end = pkt->body + pkt->ext_len;
	uint8_t msg[1024];
	uint32_t len = 0, part, off;

	while (at + 16 <= end) {
		part = hv_load32(at);
		off = hv_load32(at + 4);
		/* A piece crosses one page at most. */
		if (part > sizeof(msg) - len) {
			broken(s, "a range that is too long");
			return;
		}
		memcpy(msg + len,
		       (const uint8_t *)(uintptr_t)(hv_load64(at + 8) << HV_PAGE_SHIFT) + off,
		       part);
		len += part;
		at += off + part > HV_PAGE_SIZE ? 24 : 16;
	}
	host_messages(s, msg, len);
}

struct host {
	struct side seen;     /* what the guest has sent */
	uint32_t given;	      /* frames put into slots */
	uint64_t next, acked; /* messages of frames */
	uint64_t owed[TX_DESC];
	uint32_t n_owed;
};

static uint32_t
frames_of(uint64_t tid)
{
	return 1 + tid % 8;
}

static void
host_give(struct host *h)
{
	uint32_t n = RTE_MIN(frames_of(h->next), FRAMES - h->given), i, id;
	uint64_t ranges[8];

	/* The slots of all messages that are not acknowledged stay as they are. */
	if (n == 0 || (h->next - h->acked + 1) * 8 > SLOTS)
		return;
	for (i = 0; i < n; i++) {
		id = h->given + i;
		ranges[i] =
			host_slot((uint32_t)(h->next * 8 + i) % SLOTS, id, frame_len(id), 0, NULL);
	}
	if (!host_xfer(h->next, n, ranges))
		return;
	h->given += n;
	h->next++;
}

/* One packet of the guest. */
static bool
host_take(struct host *h)
{
	struct vmbus_ring_pkt pkt;
	uint32_t section, len;

	if (h->n_owed == TX_DESC || host_peek(&pkt) != 1)
		return false;
	if (pkt.type == VMBUS_PKT_COMPLETION) {
		if (pkt.tid != h->acked++)
			broken(&h->seen, "an acknowledgement out of order");
		host_release(&pkt);
		return true;
	}
	section = hv_load32(pkt.body + pkt.ext_len + 8);
	len = hv_load32(pkt.body + pkt.ext_len + 12);
	if (pkt.type == VMBUS_PKT_GPA_DIRECT)
		host_gather(&h->seen, &pkt);
	else if (section < SECTS && len <= SECT_SIZE)
		host_messages(&h->seen, fx.send + section * SECT_SIZE, len);
	else
		broken(&h->seen, "no such section");
	h->owed[h->n_owed++] = pkt.tid;
	host_release(&pkt);
	return true;
}

static void
both_ways(void **state)
{
	struct side rx = { 0 }, tx = { 0 };
	struct host h = { .next = 1, .acked = 1 };
	pthread_t receiver, sender;
	bool any;

	RTE_SET_USED(state);
	fx.txq->txd->copybreak = COPY_BELOW;
	fx.txq->txd->plain_max = COPY_BELOW - RTE_ETHER_HDR_LEN;
	deadline = rte_rdtsc() + SECONDS * rte_get_tsc_hz();
	assert_int_equal(pthread_create(&receiver, NULL, receive, &rx), 0);
	assert_int_equal(pthread_create(&sender, NULL, transmit, &tx), 0);
	while ((h.seen.done < FRAMES || h.acked < h.next || h.given < FRAMES) && go_on()) {
		host_give(&h);
		any = host_take(&h);
		if (h.n_owed != 0 && host_complete(h.owed[h.n_owed - 1], NVSP_STATUS_SUCCESS))
			h.n_owed--;
		if (!any)
			rest();
	}
	pthread_join(receiver, NULL);
	pthread_join(sender, NULL);
	if (rx.failure != NULL || tx.failure != NULL || h.seen.failure != NULL)
		print_error("%s\n", rx.failure	 ? rx.failure
				    : tx.failure ? tx.failure
						 : h.seen.failure);
	assert_null(rx.failure);
	assert_null(h.seen.failure);
	assert_int_equal(rx.done - rx.skipped + fx.rxq->stats.dropped, FRAMES);
	assert_int_equal(tx.done, FRAMES);
	assert_int_equal(h.seen.done, FRAMES);
	while (h.n_owed != 0 && host_complete(h.owed[h.n_owed - 1], NVSP_STATUS_SUCCESS))
		h.n_owed--;
	hvn_tx_done_cleanup(fx.txq, 0);
	assert_true(fx.txq->stats.direct != 0);
	assert_true(fx.txq->stats.copied != 0);
}

static int
open_small(void **state)
{
	RTE_SET_USED(state);
	fx_open(4096 + 16384);
	fx_rx_queue(fx.pool, 0);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(both_ways, open_small, fx_close),
	};

	if (fx_eal() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
