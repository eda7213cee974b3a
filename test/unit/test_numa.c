/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory of a channel and its queues is asked for on the device's node, if the user wants that. */
#include "datapath_fixture.h"

#include "hvn_ext.h"
#include "hvn_leave.h"

#define DEVICE_NODE 5
#define QUEUE_NODE  3u /* what the application says */

static int nodes[64];
static unsigned int n_nodes;

/* This machine may not have these nodes: memory is taken from anywhere. */
void *__real_rte_zmalloc_socket(const char *type, size_t size, unsigned int align, int socket);
void *__wrap_rte_zmalloc_socket(const char *type, size_t size, unsigned int align, int socket);

void *__wrap_rte_malloc_socket(const char *type, size_t size, unsigned int align, int socket);

void *
__wrap_rte_zmalloc_socket(const char *type, size_t size, unsigned int align, int socket)
{
	if (n_nodes < RTE_DIM(nodes))
		nodes[n_nodes++] = socket;
	return __real_rte_zmalloc_socket(type, size, align, SOCKET_ID_ANY);
}

void *
__wrap_rte_malloc_socket(const char *type, size_t size, unsigned int align, int socket)
{
	return __wrap_rte_zmalloc_socket(type, size, align, socket);
}

/* Since the last call all was asked for there, at least so many times. */
static void
expect_node(int node, unsigned int least)
{
	assert_true(n_nodes >= least && n_nodes < RTE_DIM(nodes));
	for (unsigned int i = 0; i < n_nodes; i++)
		assert_int_equal(nodes[i], node);
	n_nodes = 0;
}

static void
allocations(void **state)
{
	const struct rte_eth_rxconf rx = { .offloads = 0 };
	const struct rte_eth_txconf tx = { .tx_free_thresh = 16 };

	RTE_SET_USED(state);
	for (int aware = 0; aware < 2; aware++) {
		struct hvn_chan *ch;

		fx.port.args.numa_aware = aware != 0;
		fx.data.numa_node = DEVICE_NODE;
		fx.data.mtu = 1500;
		n_nodes = 0;
		assert_int_equal(hvn_chan_create(&fx.port, &fx.vc2, &ch), 0);
		assert_int_equal(hvn_ext_create(ch, NULL, 8), 0);
		expect_node(aware ? DEVICE_NODE : SOCKET_ID_ANY, 2);
		hvn_chan_free(ch);
		assert_int_equal(hvn_rx_queue_setup(&fx.dev, 0, 512, QUEUE_NODE, &rx, fx.pool), 0);
		assert_int_equal(hvn_tx_queue_setup(&fx.dev, 0, TX_DESC, QUEUE_NODE, &tx), 0);
		expect_node(aware ? DEVICE_NODE : (int)QUEUE_NODE, 7);
		fx.rxq = fx.data.rx_queues[0];
		fx.txq = fx.data.tx_queues[0];
	}
}

/* A queue in whose place another one comes is succeeded where it was. */
static void
replaced(void **state)
{
	const struct rte_eth_txconf tx = { .tx_free_thresh = 16 };

	RTE_SET_USED(state);
	for (int aware = 0; aware < 2; aware++) {
		struct hvn_txq *old;

		fx.port.args.numa_aware = aware != 0;
		fx.data.numa_node = DEVICE_NODE;
		assert_int_equal(hvn_tx_queue_setup(&fx.dev, 0, TX_DESC, QUEUE_NODE, &tx), 0);
		old = fx.data.tx_queues[0];
		/* Its burst is on the way in another process. */
		old->txd->inside = (uint32_t)getppid();
		n_nodes = 0;
		hvn_leave(&fx.port);
		assert_ptr_not_equal(fx.data.tx_queues[0], old);
		expect_node(aware ? DEVICE_NODE : (int)QUEUE_NODE, 7);
		fx.txq = fx.data.tx_queues[0];
		hvn_txd_free(old->txd);
		rte_free(old);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(allocations, fx_big, fx_close),
		cmocka_unit_test_setup_teardown(replaced, fx_big, fx_close),
	};

	if (fx_eal() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
