/* SPDX-License-Identifier: BSD-3-Clause */
/* What a host offers, what is asked of it, and what an application is told of that. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "hvn_offload.h"
#include "hvn_rndis.h"

int hvn_logtype;

/* The host: its answers, and what it was told. */
static struct ndis_offload hw, now;
static int hw_rc, now_rc, set_rc;
static struct ndis_offload_params told;
static uint32_t told_len;

int
hvn_rndis_query(struct hvn_port *p, uint32_t oid, const void *in, uint32_t in_len, void *info,
		uint32_t *len)
{
	const bool is_hw = oid == RNDIS_OID_TCP_OFFLOAD_HW_CAPABILITIES;

	(void)p, (void)in, (void)in_len;
	assert_true(is_hw || oid == RNDIS_OID_TCP_OFFLOAD_CURRENT_CONFIG);
	memcpy(info, is_hw ? &hw : &now, sizeof(hw));
	*len = sizeof(hw);
	return is_hw ? hw_rc : now_rc;
}

int
hvn_rndis_set(struct hvn_port *p, uint32_t oid, const void *info, uint32_t len)
{
	(void)p;
	assert_int_equal(oid, RNDIS_OID_TCP_OFFLOAD_PARAMETERS);
	assert_true(len <= sizeof(told));
	memset(&told, 0, sizeof(told));
	memcpy(&told, info, len);
	told_len = len;
	return set_rc;
}

/* Everything, as Hyper-V offers it. */
static struct ndis_offload
all(void)
{
	return (struct ndis_offload){
		.hdr = { NDIS_OBJECT_OFFLOAD, 3, NDIS_OFFLOAD_SIZE_REV3 },
		.ip4_tx.flags = 0x155,
		.ip4_rx.flags = 0x155,
		.ip6_tx.flags = 0x055,
		.ip6_rx.flags = 0x055,
		.lsov2_ip4 = { NDIS_ENCAP_8023, 100000, 2 },
		.lsov2_ip6 = { NDIS_ENCAP_8023, 30000, 2, 0x5 },
		.rsc_ip4 = 1,
		.rsc_ip6 = 1,
	};
}

#define TX(what) RTE_ETH_TX_OFFLOAD_##what
#define RX(what) RTE_ETH_RX_OFFLOAD_##what

/* ethdev's flags are about both versions of IP, and about headers with and without options. */
static void
offered(void **state)
{
	const uint64_t tx_always = TX(MULTI_SEGS) | TX(VLAN_INSERT) | TX(QINQ_INSERT);
	const uint64_t rx_always = RX(VLAN_STRIP) | RX(RSS_HASH) | RX(SCATTER);
	const uint64_t tx_l4 = TX(TCP_CKSUM) | TX(UDP_CKSUM), rx_l4 = RX(TCP_CKSUM) | RX(UDP_CKSUM);
	const struct {
		uint32_t tx4, tx6, rx4, rx6, lso4, lso6;
		bool rsc, external;
		uint64_t tx, rx;
	} cases[] = {
		{ 0x155, 0x055, 0x155, 0x055, 1, 1, true, false,
		  TX(IPV4_CKSUM) | tx_l4 | TX(TCP_TSO) | TX(MBUF_FAST_FREE),
		  RX(IPV4_CKSUM) | rx_l4 | RX(TCP_LRO) },
		{ .external = true },
		{ .tx = TX(MBUF_FAST_FREE) },
		/* Of one version only. */
		{ 0x155, 0, 0x155, 0, 1, 0, false, true, TX(IPV4_CKSUM), RX(IPV4_CKSUM) },
		{ 0, 0x055, 0, 0x055, 0, 1, false, true, 0, 0 },
		/* To send TCP without TCP options, or extension headers. */
		{ 0x151, 0x055, 0x150, 0x050, 0, 0, false, true, TX(IPV4_CKSUM) | TX(UDP_CKSUM),
		  RX(IPV4_CKSUM) | rx_l4 },
		{ 0x055, 0x051, 0x040, 0x040, 0, 0, false, true, TX(UDP_CKSUM), RX(UDP_CKSUM) },
		{ 0x055, 0x054, 0x010, 0x010, 0, 0, false, true, TX(UDP_CKSUM), RX(TCP_CKSUM) },
		{ 0x014, 0x015, 0, 0, 0, 0, false, true, TX(TCP_CKSUM), 0 },
	};

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(cases); i++) {
		struct hvn_port p = { .args.rx_extmbuf = cases[i].external };

		p.known.offload.ip4_tx.flags = cases[i].tx4;
		p.known.offload.ip6_tx.flags = cases[i].tx6;
		p.known.offload.ip4_rx.flags = cases[i].rx4;
		p.known.offload.ip6_rx.flags = cases[i].rx6;
		p.known.lso4_max = cases[i].lso4;
		p.known.lso6_max = cases[i].lso6;
		p.known.rsc = cases[i].rsc;
		assert_int_equal(hvn_offload_tx_capa(&p), tx_always | cases[i].tx);
		assert_int_equal(hvn_offload_rx_capa(&p), rx_always | cases[i].rx);
	}
}

static int
setup(struct hvn_port *p, uint32_t version)
{
	memset(p, 0, sizeof(*p));
	p->caps.nvsp_version = version;
	memset(&told, 0, sizeof(told));
	told_len = 0;
	return hvn_offload_setup(p);
}

/* All that the host can do is switched on; what is in force then is what counts. */
static void
switched_on(void **state)
{
	struct hvn_port p;

	(void)state;
	hw = now = all();
	assert_int_equal(setup(&p, NVSP_VERSION_6_1), 0);
	assert_int_equal(told.hdr.revision, 3);
	assert_int_equal(told_len, sizeof(told));
	assert_int_equal(told.ip4_csum, NDIS_PARAM_TX_RX);
	assert_int_equal(told.tcp4_csum, NDIS_PARAM_TX_RX);
	assert_int_equal(told.udp4_csum, NDIS_PARAM_TX_RX);
	assert_int_equal(told.tcp6_csum, NDIS_PARAM_TX_RX);
	assert_int_equal(told.udp6_csum, NDIS_PARAM_TX_RX);
	assert_int_equal(told.lsov1, NDIS_PARAM_OFF);
	assert_int_equal(told.lsov2_ip4, NDIS_PARAM_ON);
	assert_int_equal(told.lsov2_ip6, NDIS_PARAM_ON);
	assert_int_equal(told.rsc_ip4, NDIS_PARAM_OFF);
	assert_int_equal(told.rsc_ip6, NDIS_PARAM_OFF);
	assert_int_equal(p.caps.lso4_max, RNDIS_LSO_MAX_BYTES);
	assert_int_equal(p.caps.lso6_max, 30000);
	assert_true(p.caps.rsc);
	/* The host masks silently. */
	now.ip4_tx.flags = 0x100;
	now.lsov2_ip4.max_size = 0;
	now.lsov2_ip6.options = NDIS_LSO6_TCP_OPTIONS;
	assert_int_equal(setup(&p, NVSP_VERSION_6_1), 0);
	assert_int_equal(p.caps.offload.ip4_tx.flags, 0x100);
	assert_int_equal(p.caps.lso4_max, 0);
	assert_int_equal(p.caps.lso6_max, 0);
	/* One way only, or none, is another value. */
	hw.ip4_tx.flags = 0x010;
	hw.ip4_rx.flags = 0x110;
	hw.ip6_tx.flags = 0x055;
	hw.ip6_rx.flags = 0;
	hw.lsov2_ip4.encap = 0;
	assert_int_equal(setup(&p, NVSP_VERSION_6), 0);
	assert_int_equal(told.ip4_csum, NDIS_PARAM_RX);
	assert_int_equal(told.tcp4_csum, NDIS_PARAM_RX);
	assert_int_equal(told.udp4_csum, NDIS_PARAM_OFF);
	assert_int_equal(told.tcp6_csum, NDIS_PARAM_TX);
	assert_int_equal(told.udp6_csum, NDIS_PARAM_TX);
	assert_int_equal(told.lsov2_ip4, NDIS_PARAM_OFF);
	assert_false(p.caps.rsc);
}

/* Before version 5 there is no word for UDP: it is not on. */
static void
old_host(void **state)
{
	struct hvn_port p;

	(void)state;
	hw = now = all();
	assert_int_equal(setup(&p, NVSP_VERSION_4), 0);
	assert_int_equal(told.hdr.revision, 2);
	assert_int_equal(told_len, NDIS_OFFLOAD_PARAMS_SIZE_REV2);
	assert_int_equal(told.udp4_csum, NDIS_PARAM_NO_CHANGE);
	assert_int_equal(told.udp6_csum, NDIS_PARAM_NO_CHANGE);
	assert_int_equal(told.tcp4_csum, NDIS_PARAM_TX_RX);
	assert_int_equal(p.caps.offload.ip4_tx.flags, 0x155 & ~0x40);
	assert_int_equal(p.caps.offload.ip6_tx.flags, 0x055 & ~0x40);
	assert_false(p.caps.rsc);
}

/* A host without offloads, or that refuses them, is used without; one that is gone is not. */
static void
refused(void **state)
{
	struct hvn_port p;

	(void)state;
	hw = now = all();
	hw_rc = -ENOTSUP;
	assert_int_equal(setup(&p, NVSP_VERSION_6_1), 0);
	assert_int_equal(told_len, 0);
	assert_int_equal(p.caps.offload.ip4_tx.flags, 0);
	hw_rc = -ETIMEDOUT;
	assert_int_equal(setup(&p, NVSP_VERSION_6_1), -ETIMEDOUT);
	hw_rc = 0;
	set_rc = -EINVAL;
	assert_int_equal(setup(&p, NVSP_VERSION_6_1), 0);
	assert_int_equal(p.caps.offload.ip4_tx.flags, 0);
	assert_int_equal(p.caps.lso4_max, 0);
	assert_false(p.caps.rsc);
	set_rc = -ENODEV;
	assert_int_equal(setup(&p, NVSP_VERSION_6_1), -ENODEV);
	set_rc = 0;
	now_rc = -EIO;
	assert_int_equal(setup(&p, NVSP_VERSION_6_1), -EIO);
	/* It does not say what is in force: what it was told. */
	now_rc = -ENOTSUP;
	now.ip4_tx.flags = 0;
	assert_int_equal(setup(&p, NVSP_VERSION_6_1), 0);
	assert_int_equal(p.caps.offload.ip4_tx.flags, 0x155);
	assert_int_equal(p.caps.lso6_max, 30000);
	now_rc = 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(offered),
		cmocka_unit_test(switched_on),
		cmocka_unit_test(old_host),
		cmocka_unit_test(refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
