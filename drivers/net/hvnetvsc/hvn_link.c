/* SPDX-License-Identifier: BSD-3-Clause */
/* Link state. */
#include <errno.h>
#include <string.h>

#include "hvn_ctrl.h"
#include "hvn_link.h"
#include "hvn_rndis.h"
#include "hvn_vf.h"

#define SPEED_UNITS_PER_MBPS 10000u /* RNDIS counts in 100 bit/s */

static void
set_speed(struct hvn_port *p, uint32_t units)
{
	p->link_speed = units / SPEED_UNITS_PER_MBPS;
}

int
hvn_link_query(struct hvn_port *p)
{
	uint32_t status = 0, speed = 0;
	int rc;

	rc = hvn_rndis_query_u32(p, RNDIS_OID_GEN_MEDIA_CONNECT_STATUS, &status);
	if (rc == -ENODEV || rc == -ETIMEDOUT || rc == -EIO)
		return rc;
	/* Some hosts always say connected here: an indication counts for more, also an early one. */
	if (p->said.media == RNDIS_STATUS_MEDIA_DISCONNECT)
		status = 1;
	p->link_up = status == 0;
	rc = hvn_rndis_query_u32(p, RNDIS_OID_GEN_LINK_SPEED, &speed);
	if (rc == -ENODEV || rc == -ETIMEDOUT || rc == -EIO)
		return rc;
	if (rc == 0)
		set_speed(p, speed);
	return 0;
}

int
hvn_link_update(struct rte_eth_dev *dev, int wait)
{
	const struct hvn_port *p = hvn_port(dev);
	struct rte_eth_link link = {
		.link_duplex = RTE_ETH_LINK_FULL_DUPLEX,
		.link_autoneg = RTE_ETH_LINK_AUTONEG,
		.link_speed = p->link_speed != 0 ? p->link_speed : RTE_ETH_SPEED_NUM_UNKNOWN,
	};

	(void)wait;
	if (p->link_up && p->want_link_up && p->opened && !hvn_removed(p))
		link.link_status = RTE_ETH_LINK_UP;
	else
		link.link_speed = RTE_ETH_SPEED_NUM_NONE;
	return rte_eth_linkstatus_set(dev, &link);
}

static void
raise_event(struct hvn_port *p)
{
	if (p->data->dev_conf.intr_conf.lsc != 0)
		rte_eth_dev_callback_process(&rte_eth_devices[p->port_id], RTE_ETH_EVENT_INTR_LSC,
					     NULL);
}

/* Tell the application if there is news. */
static void
tell(struct hvn_port *p)
{
	struct rte_eth_dev *dev = &rte_eth_devices[p->port_id];
	struct rte_eth_link before, now;

	rte_eth_linkstatus_get(dev, &before);
	hvn_link_update(dev, 0);
	rte_eth_linkstatus_get(dev, &now);
	/* A change of speed alone is news as well. */
	if (before.link_status != now.link_status || before.link_speed != now.link_speed)
		raise_event(p);
}

void
hvn_link_renewed(struct hvn_port *p)
{
	tell(p);
}

void
hvn_link_path_changed(struct hvn_port *p)
{
	raise_event(p);
}

/* The host moved the NIC to another network: down and up makes applications announce themselves. */
static void
network_change(struct hvn_port *p)
{
	const struct rte_eth_dev *dev = &rte_eth_devices[p->port_id];

	HVN_LOG(NOTICE, "port %u: network change", p->port_id);
	if (!p->link_up)
		return;
	p->link_up = false;
	tell(p);
	/* The callback may have closed the port, and p is gone with it. */
	if (dev->data == NULL || dev->data->dev_private != p)
		return;
	p->link_up = true;
	tell(p);
}

void
hvn_link_indicate(struct hvn_port *p, const void *msg, uint32_t len)
{
	struct rndis_indicate ind;
	uint32_t off, size, speed;

	if (len < sizeof(ind))
		return;
	memcpy(&ind, msg, sizeof(ind));
	if (ind.hdr.type != RNDIS_INDICATE) {
		HVN_LOG(DEBUG, "port %u: RNDIS message of type 0x%x ignored", p->port_id,
			ind.hdr.type);
		return;
	}
	switch (ind.status) {
	case RNDIS_STATUS_MEDIA_CONNECT:
	case RNDIS_STATUS_MEDIA_DISCONNECT:
		p->link_up = ind.status == RNDIS_STATUS_MEDIA_CONNECT;
		HVN_LOG(INFO, "port %u: link %s", p->port_id, p->link_up ? "up" : "down");
		tell(p);
		break;
	case RNDIS_STATUS_LINK_SPEED_CHANGE:
		if (rndis_parse_indicate(msg, len, &off, &size) != 0 || size < sizeof(speed))
			return;
		memcpy(&speed, (const uint8_t *)msg + off, sizeof(speed));
		set_speed(p, speed);
		HVN_LOG(INFO, "port %u: link speed %u Mb/s", p->port_id, p->link_speed);
		tell(p);
		break;
	case RNDIS_STATUS_NETWORK_CHANGE:
		network_change(p);
		break;
	default: /* the offloads in force were asked for when the session began */
		HVN_LOG(DEBUG, "port %u: indication 0x%08x", p->port_id, ind.status);
	}
}

/* Also of the VF, which would go on receiving. */
static void
want(struct hvn_port *p, bool up)
{
	p->want_link_up = up;
	if (p->running && up)
		hvn_vf_resume(p);
	else if (p->running)
		hvn_vf_pause(p);
}

static int
set_wanted(struct rte_eth_dev *dev, bool up)
{
	struct hvn_port *p = hvn_port(dev);
	bool before;
	int rc;

	hvn_ctrl_lock(p);
	before = p->want_link_up;
	want(p, up);
	rc = p->opened && !hvn_removed(p) ? hvn_rndis_update_filter(p) : 0;
	if (rc != 0)
		want(p, before);
	hvn_ctrl_unlock(p);
	hvn_link_update(dev, 0);
	return rc;
}

int
hvn_link_set_up(struct rte_eth_dev *dev)
{
	return set_wanted(dev, true);
}

/* The protocol cannot take the link down: nothing is received any more, and ethdev is told so. */
int
hvn_link_set_down(struct rte_eth_dev *dev)
{
	return set_wanted(dev, false);
}
