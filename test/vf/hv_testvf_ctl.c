/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands, one a datagram; each is answered where the sender has an address ("ok", or text):
 *
 *   rmv          the hardware is gone: no burst moves a packet, the removal event is raised
 *   gone         the same without an event
 *   recovering, recovered, failed   a reset in place, and its events: no burst moves a packet until
 *                it is recovered, and what was received before is lost then
 *   link up, link down
 *   hang, go     the next transmit burst does not end until "go"
 *   hold, release   a stop does not end until "release"
 *   leak         mbufs that are sent are never freed, if there is no inner port
 *   fail OP ERRNO   the next calls fail; ERRNO 0 ends it
 *   driver NAME  devices of this name are net_hvtestvf's or net_hvothervf's from now on, or nobody's
 *   state        what it was configured to, one "key=value" a line
 */
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <dev_driver.h>
#include <rte_interrupts.h>

#include "hv_testvf.h"

static const char *const op_names[OP_COUNT] = {
	[OP_PROBE] = "probe",	  [OP_CONFIGURE] = "configure",
	[OP_START] = "start",	  [OP_STOP] = "stop",
	[OP_CLOSE] = "close",	  [OP_RXQ] = "rxq",
	[OP_TXQ] = "txq",	  [OP_MTU] = "mtu",
	[OP_PROMISC] = "promisc", [OP_ALLMULTI] = "allmulti",
	[OP_MC] = "mc",		  [OP_RSS] = "rss",
	[OP_RETA] = "reta",	  [OP_MAC] = "mac",
	[OP_VLAN] = "vlan",	  [OP_STATS] = "stats",
	[OP_INFO] = "info",	  [OP_FLOW] = "flow",
};

void
testvf_fail(struct testvf *vf, const char *text)
{
	char name[16];
	int err;

	if (sscanf(text, "%15[a-z]%*[: ]%d", name, &err) != 2)
		return;
	for (unsigned int i = 0; i < OP_COUNT; i++)
		if (strcmp(op_names[i], name) == 0)
			vf->fail[i] = -err;
}

/* --- state -------------------------------------------------------------------------------------- */

struct text {
	char buf[4096];
	size_t len;
};

static void __rte_format_printf(2, 3) put(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->buf + t->len, sizeof(t->buf) - t->len, fmt, ap);
	va_end(ap);
	if (n > 0)
		t->len = RTE_MIN(t->len + (size_t)n, sizeof(t->buf) - 1);
}

static void
put_state(struct text *t, const struct rte_eth_dev *dev)
{
	const struct testvf *vf = testvf_of(dev);
	char mac[RTE_ETHER_ADDR_FMT_SIZE];
	const struct testvf_flow *f;
	unsigned int flows = 0;

	rte_ether_format_addr(mac, sizeof(mac), &vf->mac);
	put(t, "driver=%s\n", dev->device->driver->name);
	put(t, "mac=%s\nmtu=%u\nstarted=%d\npromisc=%d\nallmulti=%d\nstrip=%d\n", mac, vf->mtu,
	    vf->data->dev_started, vf->data->promiscuous, vf->data->all_multicast, vf->strip);
	put(t, "queues=%u\nhf=%" PRIx64 "\nkey=", vf->data->nb_rx_queues, vf->hf);
	for (unsigned int i = 0; i < TESTVF_KEY; i++)
		put(t, "%02x", vf->key[i]);
	put(t, "\nreta=");
	for (unsigned int i = 0; i < vf->reta_size; i++)
		put(t, "%s%u", i == 0 ? "" : ",", vf->reta[i]);
	put(t, "\nmc=");
	for (unsigned int i = 0; i < vf->n_mc; i++) {
		rte_ether_format_addr(mac, sizeof(mac), &vf->mc[i]);
		put(t, "%s%s", i == 0 ? "" : ",", mac);
	}
	TAILQ_FOREACH (f, &vf->flows, next)
		flows++;
	put(t, "\nflows=%u\nsecondary_tx=%u\nall_tx=%u\nhung=%d\nleaked=%u\n", flows,
	    vf->secondary_tx, vf->all_tx, vf->hung, vf->leaked);
}

/* --- commands ------------------------------------------------------------------------------------- */

static bool
is(const char *text, const char *command)
{
	return strncmp(text, command, strlen(command)) == 0;
}

static void
command(struct rte_eth_dev *dev, const char *text, struct text *answer)
{
	struct testvf *vf = testvf_of(dev);
	enum rte_eth_event_type event = RTE_ETH_EVENT_MAX;

	if (is(text, "fail "))
		testvf_fail(vf, text + 5);
	else if (is(text, "driver "))
		testvf_use_driver(text + 7);
	else if (is(text, "link "))
		vf->link_down = strcmp(text, "link down") == 0;
	else if (strcmp(text, "hang") == 0 || strcmp(text, "go") == 0)
		__atomic_store_n(&vf->hang, text[0] == 'h', __ATOMIC_RELEASE);
	else if (strcmp(text, "hold") == 0 || strcmp(text, "release") == 0)
		__atomic_store_n(&vf->hold, text[0] == 'h', __ATOMIC_RELEASE);
	else if (is(text, "leak"))
		__atomic_store_n(&vf->leak, true, __ATOMIC_RELAXED);
	else if (is(text, "rmv"))
		event = RTE_ETH_EVENT_INTR_RMV;
	else if (is(text, "recovering"))
		event = RTE_ETH_EVENT_ERR_RECOVERING;
	else if (is(text, "recovered"))
		event = RTE_ETH_EVENT_RECOVERY_SUCCESS;
	else if (is(text, "failed"))
		event = RTE_ETH_EVENT_RECOVERY_FAILED;
	if (is(text, "rmv") || is(text, "gone"))
		__atomic_store_n(&vf->gone, true, __ATOMIC_RELEASE);
	if (is(text, "recovered"))
		testvf_forget(dev);
	if (is(text, "recover"))
		__atomic_store_n(&vf->resetting, is(text, "recovering"), __ATOMIC_RELEASE);
	if (is(text, "state"))
		put_state(answer, dev);
	else
		put(answer, "ok");
	if (event != RTE_ETH_EVENT_MAX)
		rte_eth_dev_callback_process(dev, event, NULL);
}

static void
on_command(void *arg)
{
	struct rte_eth_dev *dev = arg;
	int fd = rte_intr_fd_get(testvf_of(dev)->ctl);
	struct sockaddr_un from;
	socklen_t len = sizeof(from);
	struct text answer = { .len = 0 };
	char text[64];
	ssize_t n =
		recvfrom(fd, text, sizeof(text) - 1, MSG_DONTWAIT, (struct sockaddr *)&from, &len);

	if (n <= 0)
		return;
	text[n] = '\0';
	command(dev, text, &answer);
	if (len > sizeof(sa_family_t))
		sendto(fd, answer.buf, answer.len, MSG_DONTWAIT, (struct sockaddr *)&from, len);
}

int
testvf_ctl_open(struct rte_eth_dev *dev, const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct testvf *vf = testvf_of(dev);
	int fd, rc;

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	strcpy(addr.sun_path, path);
	strcpy(vf->ctl_path, path);
	unlink(path);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	vf->ctl = rte_intr_instance_alloc(RTE_INTR_INSTANCE_F_PRIVATE);
	if (vf->ctl == NULL || rte_intr_fd_set(vf->ctl, fd) != 0 ||
	    rte_intr_type_set(vf->ctl, RTE_INTR_HANDLE_EXT) != 0 ||
	    bind(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0)
		rc = -EIO;
	else
		rc = rte_intr_callback_register(vf->ctl, on_command, dev);
	if (rc != 0) {
		close(fd);
		rte_intr_instance_free(vf->ctl);
		vf->ctl = NULL;
	}
	return rc;
}

void
testvf_ctl_close(struct rte_eth_dev *dev)
{
	struct testvf *vf = testvf_of(dev);
	int fd;

	if (vf->ctl == NULL)
		return;
	fd = rte_intr_fd_get(vf->ctl);
	rte_intr_callback_unregister_sync(vf->ctl, on_command, dev);
	close(fd);
	unlink(vf->ctl_path);
	rte_intr_instance_free(vf->ctl);
	vf->ctl = NULL;
}
