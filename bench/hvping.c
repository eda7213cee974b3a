/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How far two CPUs are apart: TSC cycles for a cache line to go there and back. It decides what
 * everything that is shared between guest and host costs.
 *
 *   hvping CPU CPU
 */
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_cycles.h>
#include <rte_pause.h>

#define ROUNDS 200000u
#define PARTS  20u

static struct {
	uint32_t turn;
} line __attribute__((aligned(128)));

static int
pin(const char *cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)atoi(cpu), &set);
	return pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

static void
wait_for(uint32_t turn)
{
	while (__atomic_load_n(&line.turn, __ATOMIC_ACQUIRE) != turn)
		rte_pause();
}

static void *
echo(void *arg)
{
	if (pin(arg) != 0)
		fprintf(stderr, "hvping: no CPU %s\n", (const char *)arg);
	for (uint32_t i = 0; i < ROUNDS; i++) {
		wait_for(2 * i + 1);
		__atomic_store_n(&line.turn, 2 * i + 2, __ATOMIC_RELEASE);
	}
	return NULL;
}

int
main(int argc, char **argv)
{
	uint64_t best = UINT64_MAX, at;
	pthread_t thread;

	if (argc != 3 || pin(argv[1]) != 0) {
		fprintf(stderr, "usage: hvping CPU CPU\n");
		return 2;
	}
	if (pthread_create(&thread, NULL, echo, argv[2]) != 0)
		return 1;
	at = rte_rdtsc();
	for (uint32_t i = 0; i < ROUNDS; i++) {
		__atomic_store_n(&line.turn, 2 * i + 1, __ATOMIC_RELEASE);
		wait_for(2 * i + 2);
		/* The best part is the one that nothing else disturbed. */
		if ((i + 1) % (ROUNDS / PARTS) == 0) {
			uint64_t now = rte_rdtsc();

			if (now - at < best)
				best = now - at;
			at = now;
		}
	}
	pthread_join(thread, NULL);
	printf("%.0f\n", (double)best / (ROUNDS / PARTS));
	return 0;
}
