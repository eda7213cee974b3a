/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Doorbells, and how long they may be left unseen, in the monitor page. It is the machine's, not a device's: channels of other devices
 * have their bits in the same words, and the host clears them while others are being set.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "vmbus.h"

#define ROUNDS 1000000u

static uint32_t word;
static unsigned int lost[2];
static pthread_barrier_t both;

/* Signal; as the host, see the bit and clear it, and no other. */
static void *
ring_bell(void *arg)
{
	const unsigned int n = (unsigned int)(uintptr_t)arg;
	struct hv_vmbus_channel chan = { .monitor_trigger = &word, .monitor_mask = 1u << 5 * n };

	pthread_barrier_wait(&both);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		hv_vmbus_signal(NULL, &chan);
		if ((__atomic_fetch_and(&word, ~chan.monitor_mask, __ATOMIC_ACQ_REL) &
		     chan.monitor_mask) == 0)
			lost[n]++;
	}
	assert_int_equal(chan.doorbells, ROUNDS);
	return NULL;
}

static void
shared_word(void **state)
{
	pthread_t other;

	(void)state;
	word = 1u << 31; /* of a device that nobody here knows */
	pthread_barrier_init(&both, NULL, 2);
	assert_int_equal(pthread_create(&other, NULL, ring_bell, (void *)(uintptr_t)1), 0);
	ring_bell(NULL);
	pthread_join(other, NULL);
	assert_int_equal(lost[0], 0);
	assert_int_equal(lost[1], 0);
	assert_int_equal(word, 1u << 31);
}

/* The devarg's microseconds are there in the page's unit, for this channel alone. */
static void
latency(void **state)
{
	static const struct {
		uint32_t id, microseconds;
		uint16_t units; /* of 100 ns */
	} cases[] = { { 0, 50, 500 }, { 31, 1, 10 }, { 32, 0, 0 }, { 127, 1000000, UINT16_MAX } };
	static struct vmbus_monitor_page page __attribute__((aligned(HV_PAGE_SIZE))), want;

	(void)state;
	for (unsigned int i = 0; i < 4; i++) {
		const uint32_t id = cases[i].id, group = VMBUS_MONITOR_GROUP(id);
		struct hv_vmbus_channel chan = { .monitor_id = id };

		memset(&page, 0xFF, sizeof(page));
		want = page;
		hv_vmbus_set_latency(NULL, &chan, cases[i].microseconds); /* it has no doorbell */
		assert_memory_equal(&page, &want, sizeof(page));
		chan.monitor_trigger = (void *)&page.group[group].pending;
		hv_vmbus_set_latency(NULL, &chan, cases[i].microseconds);
		want.latency[group][id % 32] = cases[i].units;
		assert_memory_equal(&page, &want, sizeof(page));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shared_word),
		cmocka_unit_test(latency),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
