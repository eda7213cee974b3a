/* SPDX-License-Identifier: BSD-3-Clause */
/* Rules by EtherType that drop or count: enough to see whether a rule is in force. */
#include <errno.h>
#include <stdlib.h>

#include <rte_flow_driver.h>
#include <rte_mbuf.h>

#include "hv_testvf.h"

static int
parse(struct testvf *vf, const struct rte_flow_item *item, const struct rte_flow_action *action,
      struct testvf_flow *f, struct rte_flow_error *error)
{
	if (vf->fail[OP_FLOW] != 0)
		return rte_flow_error_set(error, -vf->fail[OP_FLOW],
					  RTE_FLOW_ERROR_TYPE_UNSPECIFIED, NULL, "told to fail");
	for (; item->type != RTE_FLOW_ITEM_TYPE_END; item++) {
		if (item->type == RTE_FLOW_ITEM_TYPE_IPV4)
			f->ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV4);
		else if (item->type == RTE_FLOW_ITEM_TYPE_IPV6)
			f->ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV6);
		else if (item->type != RTE_FLOW_ITEM_TYPE_ETH)
			return rte_flow_error_set(error, ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM, item,
						  "only eth, ipv4, ipv6");
	}
	for (; action->type != RTE_FLOW_ACTION_TYPE_END; action++) {
		if (action->type == RTE_FLOW_ACTION_TYPE_DROP)
			f->drop = true;
		else if (action->type != RTE_FLOW_ACTION_TYPE_COUNT)
			return rte_flow_error_set(error, ENOTSUP, RTE_FLOW_ERROR_TYPE_ACTION,
						  action, "only drop, count");
	}
	return 0;
}

static int
flow_validate(struct rte_eth_dev *dev, const struct rte_flow_attr *attr,
	      const struct rte_flow_item item[], const struct rte_flow_action action[],
	      struct rte_flow_error *error)
{
	struct testvf_flow f = { 0 };

	(void)attr;
	return parse(testvf_of(dev), item, action, &f, error);
}

static struct rte_flow *
flow_create(struct rte_eth_dev *dev, const struct rte_flow_attr *attr,
	    const struct rte_flow_item item[], const struct rte_flow_action action[],
	    struct rte_flow_error *error)
{
	struct testvf *vf = testvf_of(dev);
	struct testvf_flow *f = calloc(1, sizeof(*f));

	(void)attr;
	if (f == NULL || parse(vf, item, action, f, error) != 0) {
		free(f);
		return NULL;
	}
	rte_spinlock_lock(&vf->flow_lock);
	TAILQ_INSERT_TAIL(&vf->flows, f, next);
	rte_spinlock_unlock(&vf->flow_lock);
	return (struct rte_flow *)f;
}

static int
flow_destroy(struct rte_eth_dev *dev, struct rte_flow *flow, struct rte_flow_error *error)
{
	struct testvf *vf = testvf_of(dev);
	struct testvf_flow *f = (struct testvf_flow *)flow;

	(void)error;
	rte_spinlock_lock(&vf->flow_lock);
	TAILQ_REMOVE(&vf->flows, f, next);
	rte_spinlock_unlock(&vf->flow_lock);
	free(f);
	return 0;
}

static int
flow_query(struct rte_eth_dev *dev, struct rte_flow *flow, const struct rte_flow_action *action,
	   void *data, struct rte_flow_error *error)
{
	const struct testvf_flow *f = (const struct testvf_flow *)flow;
	struct rte_flow_query_count *c = data;

	(void)dev;
	if (action->type != RTE_FLOW_ACTION_TYPE_COUNT)
		return rte_flow_error_set(error, ENOTSUP, RTE_FLOW_ERROR_TYPE_ACTION, action,
					  "only count");
	c->hits_set = c->bytes_set = 1;
	c->hits = f->hits;
	c->bytes = f->bytes;
	return 0;
}

const struct rte_flow_ops testvf_flow_ops = {
	.validate = flow_validate,
	.create = flow_create,
	.destroy = flow_destroy,
	.query = flow_query,
};

static bool
dropped(struct testvf *vf, struct rte_mbuf *m)
{
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	struct testvf_flow *f;

	TAILQ_FOREACH (f, &vf->flows, next) {
		if (f->ether_type != 0 && f->ether_type != eth->ether_type)
			continue;
		f->hits++;
		f->bytes += m->pkt_len;
		if (f->drop)
			return true;
	}
	return false;
}

uint16_t
testvf_flow_filter(struct testvf *vf, struct rte_mbuf **pkts, uint16_t n)
{
	uint16_t kept = 0;

	rte_spinlock_lock(&vf->flow_lock);
	for (uint16_t i = 0; i < n; i++) {
		if (dropped(vf, pkts[i]))
			rte_pktmbuf_free(pkts[i]);
		else
			pkts[kept++] = pkts[i];
	}
	rte_spinlock_unlock(&vf->flow_lock);
	return kept;
}
