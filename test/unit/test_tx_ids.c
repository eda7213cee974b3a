/* SPDX-License-Identifier: BSD-3-Clause */
/* hv-host's set of transaction ids, against one that is searched from end to end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "netvsp/netvsp.h"

#define IDS 1600u /* of which as many as fit are in the set */

static struct tx_ids ids;
static bool in[IDS];

/* Ids as guests choose them: pointers, numbers, all bits; many have one home. */
static uint64_t
id_of(unsigned int i)
{
	return i % 3 == 0   ? i + 1
	       : i % 3 == 1 ? UINT64_C(0x7f0000000000) + 64 * i
			    : ~(uint64_t)i << 32;
}

static void
check_all(void)
{
	for (unsigned int i = 0; i < IDS; i++)
		assert_int_equal(tx_ids_has(&ids, id_of(i)), in[i]);
}

static void
as_a_list(void **state)
{
	unsigned int n = 0;

	(void)state;
	srand(7);
	for (unsigned int turn = 0; turn < 200000; turn++) {
		unsigned int i = (unsigned int)rand() % IDS;

		if (in[i] || n == NIC_TX_QUOTA) {
			tx_ids_remove(&ids, id_of(i));
			n -= in[i];
			in[i] = false;
		} else {
			tx_ids_add(&ids, id_of(i));
			tx_ids_add(&ids, id_of(i));
			in[i] = true;
			n++;
		}
		assert_int_equal(ids.n, n);
		if (turn % 4096 == 0)
			check_all();
	}
	for (unsigned int i = 0; i < IDS; i++)
		tx_ids_remove(&ids, id_of(i));
	for (unsigned int i = 0; i < 2 * NIC_TX_QUOTA; i++)
		assert_int_equal(ids.id[i], 0);
}

static void
zero(void **state)
{
	(void)state;
	tx_ids_add(&ids, 0);
	assert_false(tx_ids_has(&ids, 0));
	tx_ids_remove(&ids, 0);
	assert_int_equal(ids.n, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_a_list),
		cmocka_unit_test(zero),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
