/* SPDX-License-Identifier: BSD-3-Clause */
/* Frames handed out in the receive buffer, and held for as long as applications like. */
#include <pthread.h>
#include <unistd.h>

#include "datapath_fixture.h"

#include "hvn_ext.h"
#include "rest.h"

#define QUOTA 8u
#define BREAK 256u

static int
setup(void **state)
{
	RTE_SET_USED(state);
	fx_open(4096 + 65536);
	fx.memory_refs = 0;
	fx.port.args.rx_copybreak = BREAK;
	assert_int_equal(hvn_ext_create(fx.ch, NULL, QUOTA), 0);
	fx_rx_queue(fx.pool, 0);
	return 0;
}

static int
teardown(void **state)
{
	int rc = fx_close(state);

	assert_int_equal(fx.memory_refs, 0);
	return rc;
}

static void
expect_external(const struct rte_mbuf *m, uint32_t slot, uint32_t len)
{
	const uint8_t *at = fx.recv + slot * SLOT_SIZE;

	assert_true(RTE_MBUF_HAS_EXTBUF(m));
	assert_ptr_equal(rte_pktmbuf_mtod(m, uint8_t *), at + 256);
	assert_int_equal(rte_pktmbuf_iova(m), (uintptr_t)at + 256);
	assert_int_equal(rte_pktmbuf_headroom(m), 256);
	assert_int_equal(m->pkt_len, len);
}

/* The message is completed when the last of its external mbufs was freed; short frames are copied. */
static void
held(void **state)
{
	struct rte_mbuf *m[BURST];
	uint64_t range[3];

	RTE_SET_USED(state);
	range[0] = host_slot(0, 0, BREAK - 1, 0, NULL);
	range[1] = host_slot(1, 1, BREAK, 0, NULL);
	range[2] = host_slot(2, 2, 1500, 0, NULL);
	assert_true(host_xfer(7, 3, range));
	assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 3);
	assert_false(RTE_MBUF_HAS_EXTBUF(m[0]));
	expect_external(m[1], 1, BREAK);
	expect_external(m[2], 2, 1500);
	assert_int_equal(fx.rxq->stats.external, 2);
	expect_frame(m[0], 0, BREAK - 1);
	expect_frame(m[2], 2, 1500);
	hvn_chan_scan(fx.ch);
	expect_silence();
	expect_frame(m[1], 1, BREAK);
	assert_true(hvn_ext_waiting(fx.ch));
	hvn_chan_scan(fx.ch);
	expect_ack(7, NVSP_STATUS_SUCCESS);
	expect_silence();
	assert_false(hvn_ext_waiting(fx.ch));
	/* Freed before the message was consumed to its end; and one of its ranges is bad. */
	range[2] |= UINT64_C(0xFFFF) << 48;
	assert_true(host_xfer(8, 3, range));
	assert_int_equal(hvn_rx_burst(fx.rxq, m, 2), 2);
	rte_pktmbuf_free_bulk(m, 2);
	hvn_chan_scan(fx.ch);
	expect_silence();
	assert_int_equal(hvn_rx_burst(fx.rxq, m, 2), 0);
	hvn_chan_scan(fx.ch);
	expect_ack(8, NVSP_STATUS_FAILURE);
	expect_silence();
}

/* What may not be handed out is copied, so that the host keeps its slots. */
static void
quota(void **state)
{
	struct rte_mbuf *m[BURST], *clone;
	const uint32_t n = QUOTA / 2;

	RTE_SET_USED(state);
	for (uint32_t round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < 3; i++)
			assert_true(host_frames(i, n * i, n, 1000));
		assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 3 * n);
		for (uint32_t i = 0; i < 3 * n; i++)
			assert_int_equal(RTE_MBUF_HAS_EXTBUF(m[i]) != 0, i < QUOTA);
		expect_ack(2, NVSP_STATUS_SUCCESS);
		expect_silence();
		/* A clone holds as well as its original. */
		clone = rte_pktmbuf_clone(m[0], fx.small);
		assert_non_null(clone);
		for (uint32_t i = 0; i < 3 * n; i++)
			expect_frame(m[i], i, 1000);
		hvn_chan_scan(fx.ch);
		expect_ack(1, NVSP_STATUS_SUCCESS);
		expect_silence();
		rte_pktmbuf_free(clone);
		hvn_chan_scan(fx.ch);
		expect_ack(0, NVSP_STATUS_SUCCESS);
	}
	/* More ranges than the quota has slots. */
	assert_true(host_frames(9, 0, QUOTA + 1, 1000));
	assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), QUOTA + 1);
	assert_false(RTE_MBUF_HAS_EXTBUF(m[0]));
	rte_pktmbuf_free_bulk(m, QUOTA + 1);
	expect_ack(9, NVSP_STATUS_SUCCESS);
}

/* Tag and hash are told as with copies; what has to be put together is copied. */
static void
records(void **state)
{
	const uint32_t ppi[3][2] = { { RNDIS_PPI_CHECKSUM, RNDIS_RXCSUM_TCP_OK },
				     { RNDIS_PPI_HASH_VALUE, 99 },
				     { RNDIS_PPI_VLAN, RNDIS_VLAN_FROM_TCI(0xA064) } };
	uint64_t range = host_slot(3, 3, 700, 3, ppi);
	struct rte_mbuf *m[BURST];

	RTE_SET_USED(state);
	fx.rxq->want_hash = fx.rxq->vlan_strip = true;
	assert_true(host_xfer(1, 1, &range));
	assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 1);
	expect_external(m[0], 3, 700);
	assert_int_equal(m[0]->vlan_tci, 0xA064);
	assert_int_equal(m[0]->hash.rss, 99);
	assert_int_equal(m[0]->ol_flags, RTE_MBUF_F_EXTERNAL | RTE_MBUF_F_RX_L4_CKSUM_GOOD |
						 RTE_MBUF_F_RX_RSS_HASH | RTE_MBUF_F_RX_VLAN |
						 RTE_MBUF_F_RX_VLAN_STRIPPED);
	rte_pktmbuf_free(m[0]);
	hvn_chan_scan(fx.ch);
	expect_ack(1, NVSP_STATUS_SUCCESS);

	fx.rxq->vlan_strip = false;
	assert_true(host_xfer(2, 1, &range));
	assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 1);
	assert_false(RTE_MBUF_HAS_EXTBUF(m[0]));
	rte_pktmbuf_free(m[0]);
	expect_ack(2, NVSP_STATUS_SUCCESS);

	/* Another process may free what it gets: there the way back is unknown. */
	fx.rxq->vlan_strip = true;
	fx.port.secondaries = 1;
	assert_true(host_xfer(3, 1, &range));
	assert_int_equal(hvn_rx_burst(fx.rxq, m, BURST), 1);
	assert_false(RTE_MBUF_HAS_EXTBUF(m[0]));
	rte_pktmbuf_free(m[0]);
	expect_ack(3, NVSP_STATUS_SUCCESS);
}

/* Held beyond the stop of the queue, in the middle of a message, and beyond the channel. */
static void
outlive(void **state)
{
	struct rte_mbuf *m[BURST];

	RTE_SET_USED(state);
	assert_true(host_frames(5, 0, 4, 1000));
	assert_true(host_frames(6, 4, 2, 1000));
	assert_true(host_frames(7, 6, 2, 1000));
	assert_int_equal(hvn_rx_burst(fx.rxq, m, 7), 7);
	hvn_rx_queue_release(&fx.dev, 0);
	fx.rxq = NULL;
	/* The rest of the last message is dropped. */
	hvn_chan_scan(fx.ch);
	expect_silence();
	expect_frame(m[4], 4, 1000);
	expect_frame(m[5], 5, 1000);
	hvn_chan_scan(fx.ch);
	expect_ack(6, NVSP_STATUS_SUCCESS);
	expect_silence();
	hvn_chan_free(fx.ch);
	fx.ch = NULL;
	fx.port.n_chans = 0;
	assert_int_equal(fx.memory_refs, 1);
	expect_frame(m[6], 6, 1000);
	for (uint32_t i = 0; i < 3; i++)
		expect_frame(m[i], i, 1000);
	assert_int_equal(fx.memory_refs, 1);
	expect_frame(m[3], 3, 1000);
	/* Not by us: that may take long. */
	for (int ms = 0; ms < 10000 && __atomic_load_n(&fx.memory_refs, __ATOMIC_ACQUIRE) != 0;
	     ms++)
		usleep(1000);
	assert_int_equal(fx.memory_refs, 0);
	assert_false(pthread_equal(fx.memory_put_by, pthread_self()));
}

/* The channel goes in the middle of a message of which nothing is held any more. */
static void
begun(void **state)
{
	struct rte_mbuf *m[BURST];

	RTE_SET_USED(state);
	assert_true(host_frames(5, 0, 4, 1000));
	assert_int_equal(hvn_rx_burst(fx.rxq, m, 2), 2);
	rte_pktmbuf_free_bulk(m, 2);
	hvn_rx_queue_release(&fx.dev, 0);
	fx.rxq = NULL;
	hvn_chan_free(fx.ch);
	fx.ch = NULL;
	fx.port.n_chans = 0;
	assert_int_equal(fx.memory_refs, 0);
}

/* Freed by other threads while the channel goes on. */
#define THREADS 2
#define ROUNDS	20000u

static struct rte_ring *to_free;
static bool done;

static void *
free_all(void *arg)
{
	void *m;

	RTE_SET_USED(arg);
	while (!__atomic_load_n(&done, __ATOMIC_ACQUIRE) || rte_ring_count(to_free) != 0)
		if (rte_ring_dequeue(to_free, &m) == 0)
			rte_pktmbuf_free(m);
	return NULL;
}

static void
threads(void **state)
{
	uint32_t sent = 0, got = 0, acked = 0;
	struct vmbus_ring_pkt pkt;
	struct rte_mbuf *m[BURST];
	pthread_t t[THREADS];

	RTE_SET_USED(state);
	to_free = rte_ring_create("to_free", 256, SOCKET_ID_ANY, 0);
	assert_non_null(to_free);
	for (uint32_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, free_all, NULL), 0);
	while (acked < ROUNDS) {
		/* The slots of a message are used again only once it was completed. */
		if (sent < ROUNDS && sent - acked < 16 &&
		    host_frames(sent, 3 * (sent % 16), 1 + sent % 3, 300))
			sent++;
		for (uint16_t n = hvn_rx_burst(fx.rxq, m, BURST), i = 0; i < n; i++, got++)
			while (rte_ring_enqueue(to_free, m[i]) != 0)
				rest();
		hvn_chan_scan(fx.ch);
		while (host_peek(&pkt) == 1) {
			assert_int_equal(pkt.type, VMBUS_PKT_COMPLETION);
			host_release(&pkt);
			acked++;
		}
	}
	__atomic_store_n(&done, true, __ATOMIC_RELEASE);
	for (uint32_t i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	rte_ring_free(to_free);
	assert_true(fx.rxq->stats.external > 100);
	assert_int_equal(got, fx.rxq->stats.packets);
	expect_silence();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(held, setup, teardown),
		cmocka_unit_test_setup_teardown(quota, setup, teardown),
		cmocka_unit_test_setup_teardown(records, setup, teardown),
		cmocka_unit_test_setup_teardown(outlive, setup, teardown),
		cmocka_unit_test_setup_teardown(begun, setup, teardown),
		cmocka_unit_test_setup_teardown(threads, setup, teardown),
	};

	if (fx_eal() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
