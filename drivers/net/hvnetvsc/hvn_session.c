/* SPDX-License-Identifier: BSD-3-Clause */
/* Opening and closing the channel. */
#include <errno.h>
#include <string.h>

#include <rte_cycles.h>

#include "hvn_ctrl.h"
#include "hvn_hurry.h"
#include "hvn_leave.h"
#include "hvn_link.h"
#include "hvn_nvsp.h"
#include "hvn_offload.h"
#include "hvn_rndis.h"
#include "hvn_rss.h"
#include "hvn_session.h"
#include "hvn_stats.h"
#include "hvn_telemetry.h"
#include "hvn_txd.h"
#include "hvn_vf.h"

#define MTU_MIN	       68u
#define RECV_BUF_BYTES (31u << 20)
#define RECV_BUF_OLD   (15u << 20) /* the most that hosts of NVSP 2 and older take */
#define SEND_BUF_BYTES (15u << 20)
#define SUBCHANNEL_MS  5000u
#define DRAIN_SCANS    16

/* The smallest MTU a host takes: what is below is its business no more than ours. */
static uint16_t
wire_mtu(uint16_t mtu)
{
	return RTE_MAX(mtu, (uint16_t)RTE_ETHER_MTU);
}

static int
get_mtu(struct hvn_port *p, uint16_t mtu)
{
	uint32_t host = mtu;
	int rc = hvn_rndis_query_u32(p, RNDIS_OID_GEN_MAXIMUM_FRAME_SIZE, &host);

	if (rc == -ENODEV || rc == -ETIMEDOUT || rc == -EIO) {
		HVN_LOG(ERR, "port %u: frame size of the host: %s", p->port_id, rte_strerror(-rc));
		return rc;
	}
	/* A host need not say, and what no network has is not believed. */
	if (rc != 0 || host < MTU_MIN) {
		HVN_LOG(INFO, "port %u: the host names no frame size (%s)", p->port_id,
			rc != 0 ? rte_strerror(-rc) : "too small");
		host = mtu;
	}
	p->caps.mtu = RTE_MIN(host, (uint32_t)mtu);
	/*
	 * How much more the host has shows only when it is asked for, and it keeps 1500 where that is
	 * too much. It has no more where it cannot be asked, or has less than the least.
	 */
	p->caps.mtu_max = HVN_MTU_MAX;
	if (host < RTE_ETHER_MTU || (rc == 0 && p->caps.nvsp_version < NVSP_VERSION_2))
		p->caps.mtu_max = RTE_MIN(host, (uint32_t)HVN_MTU_MAX);
	if (host < mtu)
		HVN_LOG(WARNING, "port %u: MTU %u asked for, the host gives %u", p->port_id, mtu,
			host);
	return 0;
}

static int
open_channel(struct hvn_port *p, uint32_t recv_bytes)
{
	struct hv_vmbus_open_params params = {
		.ring_bytes = p->args.ring_bytes,
		.recv_buf_bytes = recv_bytes,
		.send_buf_bytes = SEND_BUF_BYTES,
		/* A recovery has one try, as long as the application waits for nothing. */
		.patient = p->recovering && !hvn_hurried(p),
	};
	struct hv_vmbus_channel *vc;
	int rc;

	rc = hv_vmbus_open(hvn_vdev(p), &params, &vc);
	if (rc != 0)
		return rc;
	rc = hvn_chan_create(p, vc, &p->chan[0]);
	if (rc != 0)
		return rc;
	p->n_chans = 1;
	hv_vmbus_set_latency(hvn_vdev(p), vc, p->args.latency_us);
	return 0;
}

/* Where the time of an opening went. */
struct session_times {
	uint64_t start;
	uint64_t channel; /* open, its buffers shared */
	uint64_t nvsp;
};

static int
handshake(struct hvn_port *p, uint16_t mtu, struct session_times *t)
{
	int rc;

	t->channel = rte_get_timer_cycles();
	rc = hvn_nvsp_negotiate(p);
	if (rc == 0)
		rc = hvn_nvsp_configure(p, mtu);
	if (rc == 0)
		rc = hvn_nvsp_recv_buf(p);
	if (rc == 0)
		rc = hvn_nvsp_send_buf(p);
	t->nvsp = rte_get_timer_cycles();
	if (rc == 0)
		rc = hvn_rndis_initialize(p);
	if (rc == 0)
		rc = hvn_rndis_get_mac(p, &p->mac);
	if (rc == 0)
		rc = get_mtu(p, mtu);
	if (rc == 0)
		rc = hvn_offload_setup(p);
	if (rc == 0)
		rc = hvn_link_query(p);
	if (rc == 0)
		rc = hvn_rss_query(p);
	return rc;
}

int
hvn_session_open(struct hvn_port *p, uint16_t mtu)
{
	struct session_times t = { .start = rte_get_timer_cycles() };
	uint64_t end;
	int rc;

	mtu = wire_mtu(mtu);
	memset(&p->caps, 0, sizeof(p->caps));
	memset(&p->said, 0, sizeof(p->said));
	p->filter = 0;
	p->rss_on = false;
	p->subs_asked = false;
	p->granted = 0;
	p->asked_queues = 0;
	p->session_mtu = mtu;
	/* Before the channel is open: the host tells of its VF in the middle of what follows. */
	hvn_vf_session(p);
	rc = open_channel(p, RECV_BUF_BYTES);
	if (rc == 0)
		rc = handshake(p, mtu, &t);
	/* The version is known only behind the channel: an old host is asked again with less. */
	if (rc == -EPROTO && p->caps.nvsp_version <= NVSP_VERSION_2 && p->recv_buf == NULL &&
	    p->caps.nvsp_version != 0 && p->recv_len > RECV_BUF_OLD) {
		hvn_session_close(p, 0);
		rc = open_channel(p, RECV_BUF_OLD);
		if (rc == 0)
			rc = handshake(p, mtu, &t);
	}
	if (rc != 0) {
		hvn_session_close(p, 0);
		return rc;
	}
	p->known = p->caps;
	p->opened = true;
	hvn_vf_known(p);
	end = rte_get_timer_cycles();
	HVN_LOG(INFO,
		"port %u: NVSP 0x%x, MTU %u, %u slots of %u, %u sections of %u, %u queues, %" PRIu64
		" us (channel %" PRIu64 ", NVSP %" PRIu64 ", RNDIS %" PRIu64 ")",
		p->port_id, p->caps.nvsp_version, p->caps.mtu, p->caps.slot_count,
		p->caps.slot_size, p->caps.section_count, p->caps.section_size, p->caps.rx_queues,
		hvn_us(end - t.start), hvn_us(t.channel - t.start), hvn_us(t.nvsp - t.channel),
		hvn_us(end - t.nvsp));
	return 0;
}

/* --- what became of it ------------------------------------------------------------------------------ */

static bool
is_corrupt(const struct hvn_chan *ch)
{
	return ch->vc->rx.error != 0 || ch->vc->tx.error != 0;
}

bool
hvn_session_talks(const struct hvn_port *p)
{
	return p->opened && !hvn_removed(p) && !is_corrupt(p->chan[0]);
}

bool
hvn_session_broken(const struct hvn_port *p)
{
	for (uint16_t i = 0; p->opened && i < p->n_chans; i++)
		if (p->chan[i]->lost || is_corrupt(p->chan[i]))
			return true;
	return false;
}

void
hvn_session_lost(struct hvn_port *p)
{
	bool any = false;

	for (uint16_t i = 1; i < p->n_chans; i++) {
		struct hvn_chan *ch = p->chan[i];

		if (ch->lost || !hv_vmbus_channel_gone(hvn_vdev(p), ch->vc))
			continue;
		__atomic_store_n(&ch->lost, true, __ATOMIC_RELAXED);
		any = true;
		HVN_LOG(ERR,
			"port %u: the host took channel %u away: queue %u neither receives nor "
			"sends until the port is opened anew, the others go on",
			p->port_id, ch->vc->index, i);
	}
	if (any && p->running && hvn_rss_apply(p) != 0)
		HVN_LOG(ERR, "port %u: some flows are lost until then", p->port_id);
}

/* --- closing ----------------------------------------------------------------------------------------- */

/* Give back every slot and take every completion that is already there. */
static void
drain(struct hvn_port *p)
{
	for (unsigned int i = 0; i < DRAIN_SCANS; i++) {
		int n = 0;

		for (uint16_t c = 0; c < p->n_chans; c++)
			n += RTE_MAX(hvn_chan_scan(p->chan[c]), 0);
		if (n == 0)
			return;
	}
}

/* The host may take its time with them; who asks for statistics meanwhile does not wait. */
static void
hide_channels(struct hvn_port *p)
{
	hvn_telemetry_lock();
	for (uint16_t i = 0; i < p->n_chans; i++)
		hvn_stats_channel_gone(p, p->chan[i]);
	p->hidden = true;
	hvn_telemetry_unlock();
}

void
hvn_session_close(struct hvn_port *p, unsigned int ms)
{
	/* With the first channel in use by somebody who is stopped no answer would come in. */
	bool talk = hvn_session_talks(p) && !hvn_chan_in_use(p->chan[0]);
	bool held;
	int rc = 0;

	if (talk)
		rc = hvn_rndis_set_filter(p, 0);
	if (talk && rc == 0)
		hvn_rndis_halt(p);
	/* A silent host is told nothing: packets that it has not read yet name the buffers. */
	if (talk && rc != -ETIMEDOUT) {
		drain(p);
		hvn_nvsp_revoke(p);
	}
	p->opened = false;
	hide_channels(p);
	hvn_leave(p);
	held = hv_vmbus_close_within(hvn_vdev(p), ms) != 0;
	if (held)
		hvn_hurry_late(p);
	hvn_telemetry_lock();
	hvn_ctrl_session_reset(p, held);
	for (uint16_t i = 0; i < HVN_QUEUES_MAX && held; i++)
		if (p->txq[i] != NULL)
			hvn_txd_lose(p->txq[i]->txd);
	/* The host has let go of the rest: what was in flight is ours again. */
	for (uint16_t i = 0; i < p->data->nb_tx_queues; i++)
		if (p->data->tx_queues[i] != NULL)
			hvn_txq_reclaim(p->data->tx_queues[i]);
	for (uint16_t i = 0; i < HVN_QUEUES_MAX; i++)
		hvn_txq_free_released(p, i, true);
	for (uint16_t i = 0; i < p->n_chans; i++) {
		hvn_leave_chan(p, p->chan[i]);
		p->chan[i] = NULL;
	}
	p->n_chans = 0;
	p->hidden = false;
	hvn_telemetry_unlock();
	p->filter = 0;
	p->recv_buf = NULL;
	p->send_buf = NULL;
	p->recv_len = p->send_len = 0;
}

/* --- sub-channels ----------------------------------------------------------------------------------- */

static int
add_channel(struct hvn_port *p, struct hv_vmbus_channel *vc)
{
	int rc = hvn_chan_create(p, vc, &p->chan[p->n_chans]);

	if (rc != 0)
		return rc;
	p->chan[p->n_chans]->index = p->n_chans;
	hv_vmbus_set_latency(hvn_vdev(p), vc, p->args.latency_us);
	p->n_chans++;
	return 0;
}

/* Open those of the granted channels that have been offered by now, in whatever order they came. */
static int
open_offered(struct hvn_port *p)
{
	struct hv_vmbus_channel *vc;
	int rc;

	for (uint16_t i = 1; i <= p->granted && p->n_chans <= p->granted; i++) {
		rc = hv_vmbus_subchannel_open(hvn_vdev(p), i, &vc);
		if (rc == -EEXIST || rc == -EAGAIN)
			continue;
		if (rc == 0)
			rc = add_channel(p, vc);
		if (rc != 0) {
			HVN_LOG(ERR, "port %u: sub-channel %u: %s", p->port_id, i,
				rte_strerror(-rc));
			return rc;
		}
	}
	return 0;
}

/* Those missing at the end stay away, until the next start looks for them. */
static int
wait_for_granted(struct hvn_port *p)
{
	uint64_t until = rte_get_timer_cycles() + SUBCHANNEL_MS * rte_get_timer_hz() / 1000;
	int rc;

	while (p->n_chans < p->granted + 1 && rte_get_timer_cycles() < until) {
		rc = open_offered(p);
		if (rc != 0)
			return rc;
		hvn_chan_scan(p->chan[0]);
		if (hvn_removed(p))
			return -ENODEV;
		if (p->n_chans < p->granted + 1)
			rte_delay_us_sleep(500);
	}
	return 0;
}

/* The host is asked once in a session; what it offers late is taken whenever this is called again. */
static int
open_subchannels(struct hvn_port *p, uint16_t queues)
{
	const uint16_t before = p->n_chans;
	const bool late = p->subs_asked;
	int rc, held;

	if (queues <= 1 || p->caps.nvsp_version < NVSP_VERSION_5)
		return 0;
	if (late) {
		rc = open_offered(p);
	} else {
		p->subs_asked = true;
		rc = hvn_nvsp_subchannels(p, queues - 1, &p->granted);
		if (rc == 0)
			rc = wait_for_granted(p);
		held = hv_vmbus_signals_hold(hvn_vdev(p), false);
		if (rc == 0)
			rc = held;
	}
	if (rc == -ENODEV || rc == -ETIMEDOUT || rc == -EIO)
		return rc;
	if (late && p->n_chans > before)
		HVN_LOG(NOTICE, "port %u: the host offered %u channels late, %u are in use now",
			p->port_id, p->n_chans - before, p->n_chans);
	else if (!late && p->n_chans < queues)
		HVN_LOG(WARNING, "port %u: %u queues asked for, the host gives %u channels",
			p->port_id, queues, p->n_chans);
	return 0;
}

/* Does the host still hold packets of queues that were released? No others may take their place. */
static bool
host_holds_released(struct hvn_port *p)
{
	bool any = false;

	hvn_telemetry_lock();
	for (uint16_t i = 0; i < HVN_QUEUES_MAX; i++)
		any |= hvn_txq_free_released(p, i, false);
	hvn_telemetry_unlock();
	return any;
}

/* The send sections are to be divided anew: does the host still read some of them? */
static bool
host_holds_sections(struct hvn_port *p)
{
	bool any = false;

	if (p->tx_shares == p->data->nb_tx_queues)
		return false;
	for (uint16_t i = 0; i < HVN_QUEUES_MAX; i++)
		any |= p->txq[i] != NULL && hvn_txq_stop(p->txq[i], 0) != 0;
	return any;
}

/* Does the session that there is fit, or will with more channels? */
static bool
can_go_on(struct hvn_port *p, uint16_t mtu, uint16_t queues)
{
	if (!p->opened || p->session_mtu != wire_mtu(mtu) || hvn_session_broken(p) ||
	    host_holds_released(p) || host_holds_sections(p) || hvn_leave_needed(p))
		return false;
	return (p->n_chans == 1 && queues == 1) || (queues > 1 && !p->subs_asked) ||
	       p->asked_queues == queues;
}

int
hvn_session_fit(struct hvn_port *p, uint16_t mtu, uint16_t queues)
{
	int rc;

	if (hvn_removed(p))
		return -ENODEV;
	queues = RTE_MAX(queues, (uint16_t)1);
	if (!can_go_on(p, mtu, queues)) {
		hvn_session_close(p, 0);
		rc = hvn_session_open(p, mtu);
		if (rc != 0)
			return rc;
	}
	rc = open_subchannels(p, queues);
	if (rc != 0) {
		hvn_session_close(p, 0);
		return rc;
	}
	p->asked_queues = queues;
	p->tx_shares = p->data->nb_tx_queues;
	return 0;
}
