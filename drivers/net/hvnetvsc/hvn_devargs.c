/* SPDX-License-Identifier: BSD-3-Clause */
/* Device arguments: names and defaults of the stock driver, and ours. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_kvargs.h>

#include "hvn_ctrl.h"
#include "hvn_devargs.h"
#include "hvn_hurry.h"

static const char *const names[] = {
	"latency",	"rx_copybreak",	 "tx_copybreak", "rx_extmbuf_enable", "numa_aware",
	"mac",		"ring_size",	 "nvsp",	 "nvsp_timeout",      "rndis_timeout",
	"stop_timeout", "udp_cksum_max", NULL,
};

struct number {
	const char *name;
	uint32_t *value;
	uint32_t min, max;
};

static int
take_number(const char *key, const char *text, void *arg)
{
	const struct number *n = arg;
	unsigned long v;
	char *end;

	errno = 0;
	v = text != NULL ? strtoul(text, &end, 0) : 0;
	if (text == NULL || *text == '\0' || *text == '-' || *end != '\0' || errno != 0 ||
	    v < n->min || v > n->max) {
		HVN_LOG(ERR, "device argument %s=%s: a number from %u to %u is needed", key,
			text != NULL ? text : "", n->min, n->max);
		return -EINVAL;
	}
	*n->value = (uint32_t)v;
	return 0;
}

static int
take_mac(const char *key, const char *text, void *arg)
{
	struct hvn_devargs *args = arg;

	if (text == NULL || rte_ether_unformat_addr(text, &args->mac) != 0) {
		HVN_LOG(ERR, "device argument %s=%s: not a MAC address", key,
			text != NULL ? text : "");
		return -EINVAL;
	}
	args->mac_set = true;
	return 0;
}

static int
take_vf(const char *key, const char *text, void *arg)
{
	struct hvn_devargs *args = arg;

	if (text == NULL || *text == '\0' || strlen(text) >= sizeof(args->vf)) {
		HVN_LOG(ERR, "device argument %s: 1 to %zu characters are needed", key,
			sizeof(args->vf) - 1);
		return -EINVAL;
	}
	strcpy(args->vf, text);
	return 0;
}

/*
 * The value of vf= is itself a list with commas: everything behind "vf=" is taken, so that it
 * comes last.
 */
static char *
split_vf(char *text)
{
	char *at;

	if (strncmp(text, "vf=", 3) == 0) {
		*text = '\0';
		return text + 3;
	}
	at = strstr(text, ",vf=");
	if (at == NULL)
		return NULL;
	*at = '\0';
	return at + 4;
}

static int
parse_list(const char *text, struct hvn_devargs *args)
{
	uint32_t extmbuf = args->rx_extmbuf, numa = args->numa_aware;
	const struct number numbers[] = {
		{ "latency", &args->latency_us, 0, 1000000 },
		{ "rx_copybreak", &args->rx_copybreak, 0, 65536 },
		{ "tx_copybreak", &args->tx_copybreak, 0, 65536 },
		{ "rx_extmbuf_enable", &extmbuf, 0, 1 },
		{ "numa_aware", &numa, 0, 1 },
		{ "ring_size", &args->ring_bytes, 16384, 16 << 20 },
		{ "nvsp", &args->nvsp_max, NVSP_VERSION_1, NVSP_VERSION_6_1 },
		{ "udp_cksum_max", &args->udp_cksum_max, 0, 65535 },
		{ "nvsp_timeout", &args->nvsp_timeout_ms, 100, 600000 },
		{ "stop_timeout", &args->stop_timeout_ms, 10, 600000 },
		{ "rndis_timeout", &args->rndis_timeout_ms, 100, 600000 },
	};
	struct rte_kvargs *kv = rte_kvargs_parse(text, names);
	int rc = 0;

	if (kv == NULL) {
		HVN_LOG(ERR, "device arguments \"%s\": known are %s", text, HVN_DEVARGS_HELP);
		return -EINVAL;
	}
	for (unsigned int i = 0; i < RTE_DIM(numbers) && rc == 0; i++) {
		struct number n = numbers[i];

		rc = rte_kvargs_process(kv, n.name, take_number, &n);
	}
	if (rc == 0)
		rc = rte_kvargs_process(kv, "mac", take_mac, args);
	if (rc == 0 && args->ring_bytes % HV_PAGE_SIZE != 0) {
		HVN_LOG(ERR, "device argument ring_size=%u: not a multiple of %u", args->ring_bytes,
			HV_PAGE_SIZE);
		rc = -EINVAL;
	}
	args->rx_extmbuf = extmbuf != 0;
	args->numa_aware = numa != 0;
	rte_kvargs_free(kv);
	return rc != 0 ? -EINVAL : 0;
}

int
hvn_devargs_parse(const char *text, struct hvn_devargs *args)
{
	char *copy, *vf;
	int rc = 0;

	memset(args, 0, sizeof(*args));
	args->latency_us = 50;
	args->rx_copybreak = 256;
	args->tx_copybreak = HVN_TX_COPYBREAK;
	args->udp_cksum_max = HVN_UDP_CKSUM_MAX;
	args->numa_aware = true;
	args->nvsp_max = NVSP_VERSION_6_1;
	args->nvsp_timeout_ms = HVN_NVSP_TIMEOUT_MS;
	args->rndis_timeout_ms = HVN_RNDIS_TIMEOUT_MS;
	args->stop_timeout_ms = HVN_STOP_TIMEOUT_MS;
	if (text == NULL || *text == '\0')
		return 0;
	copy = strdup(text);
	if (copy == NULL)
		return -ENOMEM;
	vf = split_vf(copy);
	if (*copy != '\0')
		rc = parse_list(copy, args);
	if (rc == 0 && vf != NULL)
		rc = take_vf("vf", vf, args);
	free(copy);
	return rc;
}
