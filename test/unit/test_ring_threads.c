/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A producer and a consumer in two threads: every packet arrives once, in order and whole,
 * and nobody sleeps for ever. Sleeping is real: a side that may sleep waits for the other
 * side's signal on a semaphore with a time-out, so a lost wake-up is a failure, not a delay.
 */
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rest.h"
#include "vmbus_ring.h"

#define RING_BYTES (HV_PAGE_SIZE + HV_PAGE_SIZE)
#define WAIT_S	   20
#define RUN_S	   10 /* a run on a loaded machine ends with fewer packets */

struct run {
	const char *name;
	_Atomic uint32_t packets;
	bool producer_sleeps; /* pending size and signal, else polls */
	bool consumer_sleeps; /* unmask and signal, else masked and polling */
	uint32_t batch;

	uint8_t *mem;
	sem_t to_producer;
	sem_t to_consumer;
	uint64_t producer_sleeps_n;
	uint64_t consumer_sleeps_n;
	uint64_t received;
	const char *_Atomic failure;
};

static int
wait_signal(sem_t *sem)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WAIT_S;
	while (sem_timedwait(sem, &until) != 0)
		if (errno != EINTR)
			return -1;
	return 0;
}

static uint32_t
packet_len(uint32_t i)
{
	return 24 + 8 * (i * 7u % 60);
}

static int
wait_for_room(struct run *run, struct vmbus_ring *tx, uint32_t need)
{
	if (!run->producer_sleeps) {
		rest();
		return 0;
	}
	vmbus_ring_tx_pending(tx, need);
	if (vmbus_ring_tx_space(tx) < need) {
		run->producer_sleeps_n++;
		if (wait_signal(&run->to_producer) != 0)
			return -1;
	}
	vmbus_ring_tx_pending(tx, 0);
	return 0;
}

/* No more packets than there are, if the time is over. */
static void
end_in_time(struct run *run, uint32_t sent, time_t start)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec - start < RUN_S)
		return;
	run->packets = sent;
	/* It may be asleep behind the last one. */
	sem_post(&run->to_consumer);
}

static void *
producer(void *arg)
{
	struct run *run = arg;
	struct timespec start;
	struct vmbus_ring tx;
	struct vmbus_ring_span span;
	uint64_t word[64];
	uint32_t i, k, len, batch = 0;
	struct vmbus_pkt_desc desc = { VMBUS_PKT_INBAND, 2, 0, 0, 0 };

	clock_gettime(CLOCK_MONOTONIC, &start);
	vmbus_ring_init_tx(&tx, run->mem, RING_BYTES, HV_PAGE_SIZE);
	for (i = 0; i < run->packets && run->failure == NULL;) {
		len = packet_len(i);
		if (vmbus_ring_tx_reserve(&tx, len, &span) == 0) {
			desc.len8 = (uint16_t)(len / 8);
			desc.tid = i;
			for (k = 0; k < (len - 16) / 8; k++)
				word[k] = (uint64_t)i << 32 | k;
			vmbus_ring_tx_fill(&span, 0, &desc, sizeof(desc));
			vmbus_ring_tx_fill(&span, 16, word, len - 16);
			vmbus_ring_tx_commit(&tx, len);
			i++;
			if (++batch < run->batch && i < run->packets)
				continue;
			batch = 0;
			if (vmbus_ring_tx_publish(&tx))
				sem_post(&run->to_consumer);
			if (i < run->packets)
				end_in_time(run, i, start.tv_sec);
			continue;
		}
		batch = 0;
		if (vmbus_ring_tx_publish(&tx))
			sem_post(&run->to_consumer);
		if (wait_for_room(run, &tx, vmbus_ring_footprint(len)) != 0) {
			run->failure = "the producer was never woken";
			break;
		}
	}
	if (tx.error != 0)
		run->failure = "the producer found the ring corrupt";
	return NULL;
}

static bool
packet_good(const struct vmbus_ring_pkt *pkt, uint32_t i)
{
	uint32_t k;
	uint64_t word;

	if (pkt->tid != i || pkt->len != packet_len(i) || pkt->type != VMBUS_PKT_INBAND)
		return false;
	for (k = 0; k < pkt->payload_len / 8; k++) {
		memcpy(&word, pkt->body + 8 * k, sizeof(word));
		if (word != ((uint64_t)i << 32 | k))
			return false;
	}
	return true;
}

static int
wait_for_packet(struct run *run, struct vmbus_ring *rx)
{
	if (!run->consumer_sleeps) {
		rest();
		return 0;
	}
	if (!vmbus_ring_rx_unmask(rx)) {
		run->consumer_sleeps_n++;
		if (wait_signal(&run->to_consumer) != 0)
			return -1;
	}
	vmbus_ring_rx_mask(rx);
	return 0;
}

static void *
consumer(void *arg)
{
	struct run *run = arg;
	struct vmbus_ring rx;
	struct vmbus_ring_pkt pkt;
	uint64_t scratch[128];
	uint32_t i = 0, batch;
	int rc = 0;

	vmbus_ring_init_rx(&rx, run->mem, RING_BYTES, HV_PAGE_SIZE);
	vmbus_ring_rx_mask(&rx);
	while (i < run->packets && run->failure == NULL) {
		for (batch = 0; batch < run->batch; batch++) {
			rc = vmbus_ring_rx_peek(&rx, &pkt, scratch, sizeof(scratch));
			if (rc != 1)
				break;
			if (!packet_good(&pkt, i)) {
				run->failure = "a packet is not what was sent";
				return NULL;
			}
			vmbus_ring_rx_release(&rx, &pkt);
			i++;
		}
		if (vmbus_ring_rx_publish(&rx))
			sem_post(&run->to_producer);
		if (rc < 0) {
			run->failure = "the consumer found the ring corrupt";
			return NULL;
		}
		if (rc == 0 && i < run->packets && wait_for_packet(run, &rx) != 0) {
			run->failure = "the consumer was never woken";
			return NULL;
		}
	}
	run->received = i;
	return NULL;
}

static int
run_one(struct run *run)
{
	struct vmbus_ring_hdr *hdr;
	pthread_t p, c;
	int ok;

	run->mem = aligned_alloc(HV_PAGE_SIZE, RING_BYTES);
	if (run->mem == NULL)
		return 1;
	memset(run->mem, 0, RING_BYTES);
	hdr = (struct vmbus_ring_hdr *)run->mem;
	hdr->feature = VMBUS_RING_FEAT_PENDING_SEND;
	sem_init(&run->to_producer, 0, 0);
	sem_init(&run->to_consumer, 0, 0);
	if (pthread_create(&c, NULL, consumer, run) != 0)
		return 1;
	if (pthread_create(&p, NULL, producer, run) != 0)
		return 1;
	pthread_join(p, NULL);
	pthread_join(c, NULL);
	ok = run->failure == NULL && run->received == run->packets;
	/* A run that never slept has proven nothing about waking. */
	if (ok && run->producer_sleeps && run->producer_sleeps_n == 0) {
		run->failure = "the producer never slept";
		ok = 0;
	}
	if (ok && run->consumer_sleeps && run->consumer_sleeps_n == 0) {
		run->failure = "the consumer never slept";
		ok = 0;
	}
	printf("%s %-28s %u packets, producer slept %llu times, consumer %llu times%s%s\n",
	       ok ? "ok    " : "not ok", run->name, run->packets,
	       (unsigned long long)run->producer_sleeps_n,
	       (unsigned long long)run->consumer_sleeps_n, run->failure != NULL ? ": " : "",
	       run->failure != NULL ? run->failure : "");
	sem_destroy(&run->to_producer);
	sem_destroy(&run->to_consumer);
	free(run->mem);
	return !ok;
}

int
main(void)
{
	struct run runs[] = {
		{ .name = "both poll", .packets = 2000000, .batch = 32 },
		{ .name = "both poll, one by one", .packets = 500000, .batch = 1 },
		{ .name = "producer sleeps",
		  .packets = 500000,
		  .producer_sleeps = true,
		  .batch = 4 },
		{ .name = "consumer sleeps",
		  .packets = 500000,
		  .consumer_sleeps = true,
		  .batch = 8 },
		{ .name = "both sleep",
		  .packets = 500000,
		  .producer_sleeps = true,
		  .consumer_sleeps = true,
		  .batch = 1 },
		{ .name = "both sleep, batches",
		  .packets = 1000000,
		  .producer_sleeps = true,
		  .consumer_sleeps = true,
		  .batch = 16 },
	};
	unsigned int i;
	int failed = 0;

	for (i = 0; i < sizeof(runs) / sizeof(runs[0]); i++)
		failed |= run_one(&runs[i]);
	return failed;
}
