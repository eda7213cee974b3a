/* SPDX-License-Identifier: BSD-3-Clause */
/* rte_flow rules: in the VF, and remembered. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <rte_flow.h>
#include <rte_flow_driver.h>
#include <rte_malloc.h>

#include "hvn_ctrl.h"
#include "hvn_flow.h"
#include "hvn_vf.h"

/* ethdev's opaque type. */
struct rte_flow {
	TAILQ_ENTRY(rte_flow) next;
	struct rte_flow *in_vf; /* the VF's handle; NULL: not offloaded */
	bool counts;
	struct rte_flow_query_count past; /* by earlier VFs */
	struct rte_flow_conv_rule rule;	  /* and behind it what it points to */
};

static int
no_vf(struct rte_flow_error *error)
{
	return rte_flow_error_set(error, ENOTSUP, RTE_FLOW_ERROR_TYPE_UNSPECIFIED, NULL,
				  "no VF carries the port: the synthetic path has no flow rules");
}

/* Does a VF run that can be asked? */
static bool
vf_ready(const struct hvn_vf *vf)
{
	return vf != NULL && vf->path.running && !vf->path.stale && !vf->path.recovering;
}

static bool
has_count(const struct rte_flow_action *a)
{
	for (; a->type != RTE_FLOW_ACTION_TYPE_END; a++)
		if (a->type == RTE_FLOW_ACTION_TYPE_COUNT)
			return true;
	return false;
}

static struct rte_flow *
remember(const struct rte_flow_attr *attr, const struct rte_flow_item *pattern,
	 const struct rte_flow_action *actions, struct rte_flow_error *error)
{
	const struct rte_flow_conv_rule ro = {
		.attr_ro = attr,
		.pattern_ro = pattern,
		.actions_ro = actions,
	};
	struct rte_flow *f;
	int len = rte_flow_conv(RTE_FLOW_CONV_OP_RULE, NULL, 0, &ro, error);

	if (len < 0)
		return NULL;
	f = rte_zmalloc("hvn_flow", offsetof(struct rte_flow, rule) + (size_t)len, 0);
	if (f == NULL) {
		rte_flow_error_set(error, ENOMEM, RTE_FLOW_ERROR_TYPE_UNSPECIFIED, NULL,
				   "no memory for the rule");
		return NULL;
	}
	if (rte_flow_conv(RTE_FLOW_CONV_OP_RULE, &f->rule, (size_t)len, &ro, error) < 0) {
		rte_free(f);
		return NULL;
	}
	f->counts = has_count(actions);
	return f;
}

static int
put_in_vf(const struct hvn_vf *vf, struct rte_flow *f, struct rte_flow_error *error)
{
	f->in_vf = rte_flow_create(vf->port, f->rule.attr_ro, f->rule.pattern_ro,
				   f->rule.actions_ro, error);
	return f->in_vf != NULL ? 0 : -rte_errno;
}

/* --- ethdev --------------------------------------------------------------------------------------- */

static int
flow_validate(struct rte_eth_dev *dev, const struct rte_flow_attr *attr,
	      const struct rte_flow_item pattern[], const struct rte_flow_action actions[],
	      struct rte_flow_error *error)
{
	struct hvn_port *p = hvn_port(dev);
	int rc;

	hvn_ctrl_lock(p);
	rc = vf_ready(p->vf) ? rte_flow_validate(p->vf->port, attr, pattern, actions, error)
			     : no_vf(error);
	hvn_ctrl_unlock(p);
	return rc;
}

/* Without a VF there is nobody who could say whether the rule is good: it is refused. */
static struct rte_flow *
flow_create(struct rte_eth_dev *dev, const struct rte_flow_attr *attr,
	    const struct rte_flow_item pattern[], const struct rte_flow_action actions[],
	    struct rte_flow_error *error)
{
	struct hvn_port *p = hvn_port(dev);
	struct rte_flow *f = NULL;

	hvn_ctrl_lock(p);
	if (!vf_ready(p->vf))
		no_vf(error);
	else
		f = remember(attr, pattern, actions, error);
	if (f != NULL && put_in_vf(p->vf, f, error) != 0) {
		rte_free(f);
		f = NULL;
	}
	if (f != NULL)
		TAILQ_INSERT_TAIL(&p->vf->flows, f, next);
	hvn_ctrl_unlock(p);
	return f;
}

static int
destroy_locked(struct hvn_vf *vf, struct rte_flow *f, struct rte_flow_error *error)
{
	int rc = f->in_vf != NULL ? rte_flow_destroy(vf->port, f->in_vf, error) : 0;

	if (rc != 0)
		return rc;
	TAILQ_REMOVE(&vf->flows, f, next);
	rte_free(f);
	return 0;
}

static int
flow_destroy(struct rte_eth_dev *dev, struct rte_flow *f, struct rte_flow_error *error)
{
	struct hvn_port *p = hvn_port(dev);
	int rc;

	hvn_ctrl_lock(p);
	rc = destroy_locked(p->vf, f, error);
	hvn_ctrl_unlock(p);
	return rc;
}

static int
flow_flush(struct rte_eth_dev *dev, struct rte_flow_error *error)
{
	struct hvn_port *p = hvn_port(dev);
	struct rte_flow *f, *next;
	int rc = 0, one;

	hvn_ctrl_lock(p);
	for (f = TAILQ_FIRST(&p->vf->flows); f != NULL; f = next) {
		next = TAILQ_NEXT(f, next);
		one = destroy_locked(p->vf, f, error);
		rc = rc != 0 ? rc : one;
	}
	hvn_ctrl_unlock(p);
	return rc;
}

static void
add_past(struct rte_flow *f, struct rte_flow_query_count *c)
{
	c->hits += f->past.hits;
	c->bytes += f->past.bytes;
	if (c->reset)
		memset(&f->past, 0, sizeof(f->past));
}

static int
flow_query(struct rte_eth_dev *dev, struct rte_flow *f, const struct rte_flow_action *action,
	   void *data, struct rte_flow_error *error)
{
	struct hvn_port *p = hvn_port(dev);
	int rc;

	hvn_ctrl_lock(p);
	if (f->in_vf == NULL || !vf_ready(p->vf))
		rc = rte_flow_error_set(error, EAGAIN, RTE_FLOW_ERROR_TYPE_HANDLE, NULL,
					"not offloaded now: the rule waits for a VF that takes it");
	else
		rc = rte_flow_query(p->vf->port, f->in_vf, action, data, error);
	if (rc == 0 && action->type == RTE_FLOW_ACTION_TYPE_COUNT)
		add_past(f, data);
	hvn_ctrl_unlock(p);
	return rc;
}

/* Isolated: only what rules name is received. The synthetic path would deliver all the rest. */
static int
flow_isolate(struct rte_eth_dev *dev, int set, struct rte_flow_error *error)
{
	RTE_SET_USED(dev);
	if (set == 0)
		return 0;
	return rte_flow_error_set(error, ENOTSUP, RTE_FLOW_ERROR_TYPE_UNSPECIFIED, NULL,
				  "the synthetic path cannot be isolated");
}

static int
flow_dump(struct rte_eth_dev *dev, struct rte_flow *only, FILE *file, struct rte_flow_error *error)
{
	struct hvn_port *p = hvn_port(dev);
	const struct rte_flow *f;
	unsigned int n = 0;

	RTE_SET_USED(error);
	hvn_ctrl_lock(p);
	TAILQ_FOREACH (f, &p->vf->flows, next) {
		if (only == NULL || only == f)
			fprintf(file, "rule %u: %s\n", n,
				f->in_vf != NULL ? "offloaded to the VF" : "not offloaded");
		n++;
	}
	hvn_ctrl_unlock(p);
	return 0;
}

static const struct rte_flow_ops flow_ops = {
	.validate = flow_validate,
	.create = flow_create,
	.destroy = flow_destroy,
	.flush = flow_flush,
	.query = flow_query,
	.isolate = flow_isolate,
	.dev_dump = flow_dump,
};

int
hvn_flow_ops_get(struct rte_eth_dev *dev, const struct rte_flow_ops **ops)
{
	RTE_SET_USED(dev);
	*ops = &flow_ops;
	return 0;
}

/* --- the VF comes and goes ------------------------------------------------------------------------- */

void
hvn_flow_restore(struct hvn_vf *vf)
{
	struct rte_flow_error error;
	struct rte_flow *f;
	unsigned int n = 0, failed = 0;

	TAILQ_FOREACH (f, &vf->flows, next) {
		error.message = NULL;
		n++;
		if (put_in_vf(vf, f, &error) == 0)
			continue;
		if (failed++ == 0)
			HVN_LOG(WARNING, "port %u: VF %u does not take a flow rule: %s",
				vf->p->port_id, vf->port,
				error.message != NULL ? error.message : rte_strerror(rte_errno));
	}
	if (n != 0)
		HVN_LOG(NOTICE, "port %u: %u of %u flow rules are offloaded", vf->p->port_id,
			n - failed, n);
}

static void
keep_count(const struct hvn_vf *vf, struct rte_flow *f)
{
	static const struct rte_flow_action count[] = {
		{ .type = RTE_FLOW_ACTION_TYPE_COUNT },
		{ .type = RTE_FLOW_ACTION_TYPE_END },
	};
	struct rte_flow_query_count c = { 0 };

	if (!f->counts || rte_flow_query(vf->port, f->in_vf, count, &c, NULL) != 0)
		return;
	f->past.hits += c.hits;
	f->past.bytes += c.bytes;
}

void
hvn_flow_withdraw(struct hvn_vf *vf)
{
	struct rte_flow *f;
	unsigned int n = 0;

	TAILQ_FOREACH (f, &vf->flows, next) {
		n++;
		if (f->in_vf == NULL)
			continue;
		if (vf_ready(vf))
			keep_count(vf, f);
		/* A device that is gone frees its memory at least; nobody looks at the handle again. */
		rte_flow_destroy(vf->port, f->in_vf, NULL);
		f->in_vf = NULL;
	}
	if (n != 0)
		HVN_LOG(NOTICE, "port %u: %u flow rules are not offloaded", vf->p->port_id, n);
}

void
hvn_flow_free(struct hvn_vf *vf)
{
	struct rte_flow *f, *next;

	for (f = TAILQ_FIRST(&vf->flows); f != NULL; f = next) {
		next = TAILQ_NEXT(f, next);
		rte_free(f);
	}
	TAILQ_INIT(&vf->flows);
}
