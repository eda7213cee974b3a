/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Double fetches: the host rewrites a word between any two instructions of the guest that look at
 * it. The page where it lies cannot be read; whoever does is let through for one instruction, after
 * which the host may write. Each word is given each of some values behind each such access, so that
 * a field that is checked by one load and used by another is found out.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "datapath_fixture.h"

#define PAGE	  4096u
#define TRAP_FLAG 0x100

static struct {
	uint8_t *page; /* NULL: not armed */
	uint8_t *word;
	uint32_t evil;
	unsigned int at, seen; /* accesses */
} trap;

static void
protect(int prot)
{
	if (mprotect(trap.page, PAGE, prot) != 0)
		abort();
}

static void
on_segv(int sig, siginfo_t *info, void *context)
{
	const uint8_t *addr = info->si_addr;

	/* Anywhere else: what these tests are for. It comes again at once. */
	if (trap.page == NULL || addr < trap.page || addr >= trap.page + PAGE) {
		signal(sig, SIG_DFL);
		return;
	}
	protect(PROT_READ | PROT_WRITE);
	((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
}

static void
on_trap(int sig, siginfo_t *info, void *context)
{
	(void)sig, (void)info;
	((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
	/* One step is over; the host writes once. */
	if (++trap.seen == trap.at)
		memcpy(trap.word, &trap.evil, sizeof(trap.evil));
	else
		protect(PROT_NONE);
}

/* cmocka has handlers of its own around each test. */
static void
catch_access(void)
{
	const struct sigaction segv = { .sa_sigaction = on_segv, .sa_flags = SA_SIGINFO };
	const struct sigaction step = { .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO };

	assert_int_equal(sigaction(SIGSEGV, &segv, NULL), 0);
	assert_int_equal(sigaction(SIGTRAP, &step, NULL), 0);
}

static void
arm(uint8_t *word, uint32_t evil, unsigned int at)
{
	trap.page = (uint8_t *)((uintptr_t)word & ~(uintptr_t)(PAGE - 1));
	trap.word = word;
	trap.evil = evil;
	trap.at = at;
	trap.seen = 0;
	protect(PROT_NONE);
}

/* Did the host write? */
static bool
disarm(void)
{
	protect(PROT_READ | PROT_WRITE);
	trap.page = NULL;
	return trap.seen >= trap.at;
}

/* The ring as if nothing had happened: a host that changes its length may lead the guest astray. */
static void
resync(void)
{
	struct vmbus_ring_pkt pkt;

	fx.vc.rx.index = fx.vc.rx.peer = fx.vc.rx.published = fx.host_tx.index;
	fx.vc.rx.hdr->rindex = fx.host_tx.index;
	fx.vc.rx.error = 0;
	fx.ch->n_acks = fx.ch->scanned = fx.ch->msg_ranges = fx.ch->msg_next = 0;
	fx.ch->ctrl_next = 0;
	fx.rxq->idle_at = HVN_NEVER_IDLE;
	fx.n_inbound = 0;
	while (host_peek(&pkt) == 1)
		host_release(&pkt);
}

/* What is next in the ring does not leave its page. */
static uint8_t *
ring_place(void)
{
	while (fx.host_tx.index % PAGE > PAGE - 256) {
		assert_true(host_put(0x33, 1, NULL, 0, nvsp_data, 40));
		resync();
	}
	return fx.in_mem + PAGE + fx.host_tx.index;
}

/* Frames that were delivered are bytes of the receive buffer, as it was before or is now. */
static void
expect_inside(struct rte_mbuf **m, uint16_t n, const uint8_t *was, const uint8_t *is, size_t len)
{
	static uint8_t buf[UINT16_MAX];

	for (uint16_t i = 0; i < n; i++) {
		const uint8_t *data;

		rte_mbuf_sanity_check(m[i], 1);
		assert_in_range(m[i]->pkt_len, RTE_ETHER_HDR_LEN, SLOT_SIZE - 44);
		data = rte_pktmbuf_read(m[i], 0, m[i]->pkt_len, buf);
		assert_non_null(data);
		assert_true(memmem(was, len, data, m[i]->pkt_len) != NULL ||
			    memmem(is, len, data, m[i]->pkt_len) != NULL);
	}
	rte_pktmbuf_free_bulk(m, n);
}

static const uint32_t records[4][2] = { { RNDIS_PPI_CHECKSUM, RNDIS_RXCSUM_IP_OK },
					{ RNDIS_PPI_HASH_INFO, 0x101 },
					{ RNDIS_PPI_HASH_VALUE, 0xFEEDF00D },
					{ 77, 1 } };

/* The headers of a frame: no, usual and unusual records; last in the small mbufs of a chain. */
static void
header(void **state)
{
	static const uint32_t evil[] = { 1900, 0xFFFFFFF0 };
	static const struct {
		uint32_t n_rec, len;
	} kind[] = { { 0, 60 }, { 1, 60 }, { 3, 60 }, { 4, 60 }, { 1, 300 } };
	static uint8_t was[SLOT_SIZE];
	struct rte_mbuf *m[BURST];
	uint32_t raced = 0;

	RTE_SET_USED(state);
	catch_access();
	fx.rxq->want_hash = true;
	memset(fx.recv, 0xC3, SLOT_SIZE * SLOTS);
	for (uint32_t i = 0; i < SLOT_SIZE; i++)
		fx.recv[i] = pattern(99, i);
	for (uint32_t k = 0; k < RTE_DIM(kind); k++) {
		const uint32_t n_rec = kind[k].n_rec, words = (44 + 16 * n_rec) / 4;

		if (kind[k].len > 256)
			fx_rx_queue(fx.small, RTE_ETH_RX_OFFLOAD_SCATTER);
		for (uint32_t i = 0; i < words * RTE_DIM(evil); i++) {
			bool written = true;

			for (unsigned int at = 1; written; at++) {
				uint64_t range = host_slot(0, 1, kind[k].len, n_rec, records);

				memcpy(was, fx.recv, SLOT_SIZE);
				assert_true(host_xfer(7, 1, &range));
				arm(fx.recv + 4 * (i % words), evil[i / words], at);
				uint16_t n = hvn_rx_burst(fx.rxq, m, BURST);

				written = disarm();
				raced += written;
				assert_in_range(n, 0, 1);
				assert_true(written || n == 1);
				expect_inside(m, n, was, fx.recv, SLOT_SIZE);
				resync();
			}
		}
	}
	assert_true(raced > 1000);
}

/* The packet in the ring: descriptor, header and ranges of two frames, usual or not, NVSP message. */
static void
packet(void **state)
{
	static const uint32_t evil[] = { 1, 0x00070002, 0xFFFFFFF0, SLOT_SIZE * SLOTS };
	const uint32_t len = SLOT_SIZE * SLOTS, words = (24 + 16 + 40) / 4;
	struct rte_mbuf *m[BURST];
	uint32_t raced = 0;

	RTE_SET_USED(state);
	catch_access();
	memset(fx.recv, 0, len);
	for (uint32_t k = 0; k < 2 * words * RTE_DIM(evil); k++) {
		const uint32_t i = k / 2;
		bool written = true;

		for (unsigned int at = 1; written; at++) {
			const uint64_t range[2] = { host_slot(0, 0, 60, k % 2 ? 4 : 1, records),
						    host_slot(1, 1, 60, k % 2 ? 4 : 1, records) };
			uint8_t *place = ring_place();

			assert_true(host_xfer(7, 2, range));
			arm(place + 4 * (i % words), evil[i / words], at);
			/* What is more than the burst is taken apart elsewhere. */
			uint16_t n = hvn_rx_burst(fx.rxq, m, k % 2 ? 1 : BURST);

			n += hvn_rx_burst(fx.rxq, m + n, BURST - n);
			written = disarm();
			raced += written;
			assert_in_range(n, 0, 2);
			assert_true(written || n == 2);
			/* The last slots of the buffer are empty, as is what is behind it. */
			expect_inside(m, n, fx.recv, fx.recv, len);
			resync();
		}
	}
	assert_true(raced > 500);
}

/* A completion: of the packet that was sent, or of none. */
static void
completion(void **state)
{
	static const uint32_t evil[] = { 1, 0xFFFFFFFF, 0x0000FFFF };
	const uint32_t words = (16 + 40) / 4;
	struct vmbus_ring_pkt pkt;
	uint32_t raced = 0;

	RTE_SET_USED(state);
	catch_access();
	for (uint32_t i = 0; i < words * RTE_DIM(evil); i++) {
		bool written = true;

		for (unsigned int at = 1; written; at++) {
			struct rte_mbuf *m = make_packet(1, 1700);
			uint8_t *place = ring_place();
			uint64_t tid;

			assert_int_equal(hvn_tx_burst(fx.txq, &m, 1), 1);
			assert_int_equal(host_peek(&pkt), 1);
			tid = pkt.tid;
			host_release(&pkt);
			assert_true(host_complete(tid, NVSP_STATUS_SUCCESS));
			arm(place + 4 * (i % words), evil[i / words], at);
			hvn_tx_done_cleanup(fx.txq, 0);
			written = disarm();
			raced += written;
			resync();
			if (hvn_txd_used(fx.txq->txd) != 0) {
				assert_true(written);
				assert_true(host_complete(tid, NVSP_STATUS_SUCCESS));
				hvn_tx_done_cleanup(fx.txq, 0);
				resync();
			}
			assert_int_equal(hvn_txd_used(fx.txq->txd), 0);
			assert_int_equal(rte_mempool_avail_count(fx.pool), POOL_SIZE);
		}
	}
	assert_true(raced > 100);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(header, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(packet, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(completion, fx_big, fx_close),
	};

	if (fx_eal() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
