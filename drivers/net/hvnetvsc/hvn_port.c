/* SPDX-License-Identifier: BSD-3-Clause */
/* Configure, start, stop, reset, close. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_malloc.h>

#include "hvn_ctrl.h"
#include "hvn_ext.h"
#include "hvn_hurry.h"
#include "hvn_intr.h"
#include "hvn_link.h"
#include "hvn_mp.h"
#include "hvn_offload.h"
#include "hvn_port.h"
#include "hvn_rndis.h"
#include "hvn_rss.h"
#include "hvn_session.h"
#include "hvn_telemetry.h"
#include "hvn_vf.h"

#define TX_DRAIN_MS 1000u
#define CLOSE_MS    60000u /* far longer than a close may take */
#define RELEASE_MS  20u	   /* what ethdev does behind it */

/* --- bursts -------------------------------------------------------------------------------------------- */

/* What ethdev calls, for the state the port is in: the function pointers that lcores read. */
static void
set_bursts(struct rte_eth_dev *dev, bool on)
{
	struct rte_eth_fp_ops *fp = &rte_eth_fp_ops[dev->data->port_id];

	dev->rx_pkt_burst = on ? hvn_rx_burst : hvn_rx_burst_none;
	dev->tx_pkt_burst = on ? hvn_tx_burst : hvn_tx_burst_none;
	dev->tx_pkt_prepare = hvn_tx_prepare;
	if (on)
		return; /* ethdev copies them when the start has succeeded */
	/* Relaxed: these need nothing. Bursts that have begun are waited for. */
	__atomic_store_n(&fp->rx_pkt_burst, dev->rx_pkt_burst, __ATOMIC_RELAXED);
	__atomic_store_n(&fp->tx_pkt_burst, dev->tx_pkt_burst, __ATOMIC_RELAXED);
}

void
hvn_port_removed(struct rte_eth_dev *dev)
{
	struct hvn_port *p = hvn_port(dev);

	/* Relaxed: it says no more than that. */
	__atomic_store_n(&p->removed, 1, __ATOMIC_RELAXED);
	if (dev->data->dev_started)
		set_bursts(dev, false);
	p->link_up = false;
	hvn_link_update(dev, 0);
	hvn_vf_event(p, HVN_EV_HOST_GONE);
	hvn_ctrl_tell_removed(p);
}

int
hvn_port_is_removed(struct rte_eth_dev *dev)
{
	return hvn_removed(hvn_port(dev));
}

/* --- queues ----------------------------------------------------------------------------------------------- */

static int
rx_start(struct rte_eth_dev *dev, uint16_t id)
{
	struct hvn_rxq *q = dev->data->rx_queues[id];
	int rc = q->started ? 0 : hvn_rxq_start(q);

	if (rc == 0)
		dev->data->rx_queue_state[id] = RTE_ETH_QUEUE_STATE_STARTED;
	return rc;
}

static int
tx_start(struct rte_eth_dev *dev, uint16_t id)
{
	struct hvn_txq *q = dev->data->tx_queues[id];
	int rc = q->started ? 0 : hvn_txq_start(q);

	if (rc == 0)
		dev->data->tx_queue_state[id] = RTE_ETH_QUEUE_STATE_STARTED;
	return rc;
}

static void
rx_stop(struct rte_eth_dev *dev, uint16_t id)
{
	struct hvn_rxq *q = dev->data->rx_queues[id];

	dev->data->rx_queue_state[id] = RTE_ETH_QUEUE_STATE_STOPPED;
	if (q != NULL && q->started)
		hvn_rxq_stop(q);
}

static int
tx_stop(struct rte_eth_dev *dev, uint16_t id, unsigned int ms)
{
	struct hvn_txq *q = dev->data->tx_queues[id];

	dev->data->tx_queue_state[id] = RTE_ETH_QUEUE_STATE_STOPPED;
	return q != NULL && q->started ? hvn_txq_stop(q, ms) : 0;
}

static int
queue_op(struct rte_eth_dev *dev, uint16_t id, int (*op)(struct rte_eth_dev *, uint16_t))
{
	struct hvn_port *p = hvn_port(dev);
	int rc;

	if (hvn_removed(p))
		return -ENODEV;
	hvn_ctrl_lock(p);
	rc = op(dev, id);
	hvn_ctrl_unlock(p);
	return rc;
}

static int
rx_stop_op(struct rte_eth_dev *dev, uint16_t id)
{
	rx_stop(dev, id);
	return 0;
}

static int
tx_stop_op(struct rte_eth_dev *dev, uint16_t id)
{
	return tx_stop(dev, id, TX_DRAIN_MS);
}

int
hvn_port_rx_queue_start(struct rte_eth_dev *dev, uint16_t id)
{
	return queue_op(dev, id, rx_start);
}

int
hvn_port_rx_queue_stop(struct rte_eth_dev *dev, uint16_t id)
{
	return queue_op(dev, id, rx_stop_op);
}

int
hvn_port_tx_queue_start(struct rte_eth_dev *dev, uint16_t id)
{
	return queue_op(dev, id, tx_start);
}

int
hvn_port_tx_queue_stop(struct rte_eth_dev *dev, uint16_t id)
{
	return queue_op(dev, id, tx_stop_op);
}

/* "rx_extmbuf_enable": half of the host's slots, by queue, may be held by mbufs. */
static int
start_external(struct hvn_port *p)
{
	const struct hv_vmbus_buffer *b = hv_vmbus_recv_buf(hvn_vdev(p));
	int rc = 0;

	if (!p->args.rx_extmbuf)
		return 0;
	if (b->memory == NULL || b->foreign || rte_eal_iova_mode() != RTE_IOVA_VA) {
		HVN_LOG(WARNING, "port %u: rx_extmbuf_enable=1: frames are copied all the same: %s",
			p->port_id,
			b->memory == NULL || b->foreign
				? "the kernel's receive buffer has no I/O addresses for other "
				  "devices, and goes with the channel"
				: "I/O addresses are physical ones (--iova-mode=va)");
		return 0;
	}
	/* Half of what the host gives each channel, those that are still to come included. */
	for (uint16_t i = 0; i < p->n_chans && rc == 0; i++)
		if (p->chan[i]->ext == NULL)
			rc = hvn_ext_create(p->chan[i], b->memory,
					    p->caps.slot_count / 2 / (p->granted + 1));
	return rc;
}

static int
not_set_up(const struct rte_eth_dev *dev, const char *what, uint16_t id)
{
	HVN_LOG(ERR, "port %u: %s queue %u was never set up", dev->data->port_id, what, id);
	return -EINVAL;
}

static int
start_queues(struct rte_eth_dev *dev)
{
	int rc = 0;

	for (uint16_t i = 0; i < dev->data->nb_rx_queues && rc == 0; i++) {
		const struct hvn_rxq *q = dev->data->rx_queues[i];

		rc = q == NULL ? not_set_up(dev, "receive", i) : hvn_rxq_fits(q);
		if (rc == 0 && !q->deferred)
			rc = rx_start(dev, i);
	}
	for (uint16_t i = 0; i < dev->data->nb_tx_queues && rc == 0; i++) {
		const struct hvn_txq *q = dev->data->tx_queues[i];

		if (q == NULL)
			rc = not_set_up(dev, "transmit", i);
		else if (!q->deferred)
			rc = tx_start(dev, i);
	}
	return rc;
}

/* Completions are waited for once for all queues together, not for each. */
static void
stop_queues(struct rte_eth_dev *dev)
{
	for (uint16_t i = 0; i < dev->data->nb_rx_queues; i++)
		rx_stop(dev, i);
	for (uint16_t i = 0; i < dev->data->nb_tx_queues; i++) {
		if (tx_stop(dev, i, hvn_hurry_left(hvn_port(dev))) != 0)
			HVN_LOG(WARNING,
				"port %u: transmit queue %u: the host still holds packets; they "
				"are freed when the channel is closed",
				dev->data->port_id, i);
	}
}

/* --- port --------------------------------------------------------------------------------------------------- */

static uint16_t
queues_wanted(const struct rte_eth_dev *dev)
{
	return RTE_MAX(dev->data->nb_rx_queues, dev->data->nb_tx_queues);
}

int
hvn_port_configure(struct rte_eth_dev *dev)
{
	struct rte_eth_conf *conf = &dev->data->dev_conf;
	struct hvn_port *p = hvn_port(dev);
	uint64_t start = rte_get_timer_cycles();
	int rc;

	if (hvn_removed(p))
		return -ENODEV;
	/* ethdev: asking for RSS means asking for the hash. */
	if ((conf->rxmode.mq_mode & RTE_ETH_MQ_RX_RSS_FLAG) != 0)
		conf->rxmode.offloads |= RTE_ETH_RX_OFFLOAD_RSS_HASH;
	hvn_ctrl_lock(p);
	rc = hvn_session_fit(p, dev->data->mtu, queues_wanted(dev));
	if (rc == 0 && dev->data->mtu > p->caps.mtu) {
		HVN_LOG(ERR, "port %u: the host gives an MTU of %u, not %u", p->port_id,
			p->caps.mtu, dev->data->mtu);
		rc = -EINVAL;
	}
	if (rc == 0)
		rc = hvn_rss_configure(p, conf);
	hvn_ctrl_unlock(p);
	if (rc == 0)
		HVN_LOG(INFO, "port %u: configured, %" PRIu64 " us", p->port_id,
			hvn_us(rte_get_timer_cycles() - start));
	return rc;
}

int
hvn_port_start_locked(struct rte_eth_dev *dev)
{
	struct hvn_port *p = hvn_port(dev);
	int rc;

	rc = hvn_session_fit(p, dev->data->mtu, queues_wanted(dev));
	if (rc == 0)
		rc = start_external(p);
	if (rc == 0)
		rc = start_queues(dev);
	if (rc == 0)
		rc = hvn_rss_apply(p);
	if (rc == 0)
		rc = hvn_offload_rsc(p);
	if (rc == 0)
		rc = hvn_intr_start(dev);
	if (rc != 0)
		return rc;
	p->want_link_up = true;
	/* Relaxed, also at the stop: who acts on it has ctrl_lock. */
	__atomic_store_n(&p->running, true, __ATOMIC_RELAXED);
	return hvn_rndis_update_filter(p);
}

void
hvn_port_stop_locked(struct rte_eth_dev *dev)
{
	struct hvn_port *p = hvn_port(dev);

	/* Bursts are turned off: the VF is left while the queues it shares are still there. */
	hvn_vf_event(p, HVN_EV_STOP);
	hvn_vf_run(p);
	__atomic_store_n(&p->running, false, __ATOMIC_RELAXED);
	if (hvn_session_talks(p))
		hvn_rndis_update_filter(p);
	if (p->recovering)
		hvn_intr_pause(dev);
	else
		hvn_intr_stop(dev);
	stop_queues(dev);
}

int
hvn_port_start(struct rte_eth_dev *dev)
{
	struct hvn_port *p = hvn_port(dev);
	uint64_t start = rte_get_timer_cycles();
	int rc;

	if (hvn_removed(p))
		return -ENODEV;
	hvn_ctrl_lock(p);
	rc = hvn_port_start_locked(dev);
	if (rc != 0) {
		hvn_hurry(p);
		hvn_port_stop_locked(dev);
		hvn_hurry_end(p);
	} else {
		set_bursts(dev, true);
		/* With the lock: the control thread tells others of its recoveries. */
		hvn_mp_tell(p, HVN_MP_START);
	}
	hvn_ctrl_unlock(p);
	if (rc == 0)
		hvn_vf_event(p, HVN_EV_START);
	if (rc != 0)
		HVN_LOG(ERR, "port %u: start: %s", p->port_id, rte_strerror(-rc));
	hvn_link_update(dev, 0);
	if (rc == 0)
		HVN_LOG(INFO, "port %u: started, link %s, %" PRIu64 " us", p->port_id,
			dev->data->dev_link.link_status ? "up" : "down",
			hvn_us(rte_get_timer_cycles() - start));
	return rc;
}

int
hvn_port_stop(struct rte_eth_dev *dev)
{
	struct hvn_port *p = hvn_port(dev);

	set_bursts(dev, false);
	hvn_mp_tell(p, HVN_MP_STOP);
	hvn_hurry(p);
	hvn_ctrl_lock(p);
	/* It was being recovered: bursts are on again. */
	if (p->told == HVN_MP_START) {
		set_bursts(dev, false);
		hvn_mp_tell(p, HVN_MP_STOP);
	}
	/* Who had the lock may have been busy with something that cannot be hurried. */
	hvn_hurry(p);
	hvn_port_stop_locked(dev);
	hvn_hurry_end(p);
	hvn_ctrl_unlock(p);
	return 0;
}

/* A new session in place: ethdev has stopped the port. */
int
hvn_port_reset(struct rte_eth_dev *dev)
{
	struct hvn_port *p = hvn_port(dev);
	int rc;

	if (hvn_removed(p))
		return -ENODEV;
	hvn_ctrl_lock(p);
	hvn_session_close(p, 0);
	rc = hvn_session_fit(p, dev->data->mtu, queues_wanted(dev));
	hvn_ctrl_unlock(p);
	return rc;
}

int
hvn_port_mtu_set(struct rte_eth_dev *dev, uint16_t mtu)
{
	struct hvn_port *p = hvn_port(dev);
	uint16_t before = p->session_mtu;
	int rc;

	if (dev->data->dev_started) {
		HVN_LOG(ERR, "port %u: the MTU can be changed while the port is stopped",
			p->port_id);
		return -EBUSY;
	}
	if (hvn_removed(p))
		return -ENODEV;
	hvn_ctrl_lock(p);
	rc = hvn_session_fit(p, mtu, queues_wanted(dev));
	if (rc == 0 && mtu > p->caps.mtu) {
		rc = -EINVAL;
		hvn_session_fit(p, before, queues_wanted(dev));
	}
	hvn_ctrl_unlock(p);
	return rc;
}

/* By port, as a port that is closed has no memory of its own any more. */
static uint32_t closing[RTE_MAX_ETHPORTS];

/*
 * Another thread closes the port: testpmd closes one that was removed in a thread of its own, and
 * all ports at its end. ethdev releases the port behind every close, and the second time there has
 * to be something to release.
 */
static void
wait_closed(struct rte_eth_dev *dev, uint16_t id)
{
	static struct rte_eth_dev_data released[RTE_MAX_ETHPORTS];
	unsigned int i;

	/* The other one waits for this thread. */
	if (hvn_ctrl_is_thread())
		return;
	/* Acquire: what the other one did to the port. */
	for (i = 0; i < CLOSE_MS && __atomic_load_n(&closing[id], __ATOMIC_ACQUIRE) != 0; i++)
		rte_delay_us_sleep(1000);
	for (i = 0; i < RELEASE_MS && __atomic_load_n(&dev->data, __ATOMIC_ACQUIRE) != NULL; i++)
		rte_delay_us_sleep(1000);
	if (dev->data == NULL) {
		released[id].port_id = id;
		dev->data = &released[id];
	}
}

static void
close_port(struct rte_eth_dev *dev)
{
	struct hvn_port *p = hvn_port(dev);
	bool alone;

	hvn_hurry(p);
	hvn_ctrl_lock(p);
	hvn_hurry(p);
	if (p->running)
		hvn_port_stop_locked(dev);
	hvn_vf_close(p);
	/* Who has heard of it may still be in a burst, on a machine that is busy with others. */
	alone = hvn_mp_tell(p, HVN_MP_CLOSE) && !hvn_has_secondaries(p);
	hvn_hurry(p);
	/* Closing the channels has as long once more. */
	hvn_session_close(p, hvn_hurry_ms(p));
	hvn_ctrl_unlock(p);
	/* Nobody who is late looks at what goes now. */
	hvn_telemetry_lock();
	p->closed = true;
	hvn_telemetry_unlock();
	hvn_ctrl_destroy(p);
	hvn_telemetry_lock();
	hvn_vf_destroy(p);
	for (uint16_t i = 0; alone && i < dev->data->nb_rx_queues; i++)
		hvn_rx_queue_release(dev, i);
	for (uint16_t i = 0; alone && i < dev->data->nb_tx_queues; i++)
		hvn_tx_queue_release(dev, i);
	/*
	 * A process that is stopped goes on with bursts on the queues that it knows, until it hears of
	 * the end: it must find them, as stopped ones. They are left to it, and so is not freed what
	 * ethdev would free.
	 */
	if (!alone) {
		dev->data->rx_queues = dev->data->tx_queues = NULL;
		dev->data->dev_private = NULL;
	}
	dev->data->nb_rx_queues = dev->data->nb_tx_queues = 0;
	hvn_telemetry_unlock();
}

int
hvn_port_close(struct rte_eth_dev *dev)
{
	const uint16_t id = (uint16_t)(dev - rte_eth_devices);
	/* NULL: the primary has had it released, just now. */
	struct rte_device *device = __atomic_load_n(&dev->device, __ATOMIC_RELAXED);
	struct hv_vmbus_device *vdev = device != NULL ? HV_VMBUS_DEV(device) : NULL;

	if (rte_eal_process_type() != RTE_PROC_PRIMARY) {
		if (vdev != NULL) {
			hvn_mp_leave(vdev);
			vdev->drv_priv = NULL;
		}
		return 0;
	}
	/* Acquire: a port of this number was closed before. */
	if (__atomic_exchange_n(&closing[id], 1, __ATOMIC_ACQUIRE) != 0) {
		wait_closed(dev, id);
		return 0;
	}
	close_port(dev);
	/* Release: with all that was done to the port. */
	__atomic_store_n(&closing[id], 0, __ATOMIC_RELEASE);
	return 0;
}
