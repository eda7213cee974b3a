/* SPDX-License-Identifier: BSD-3-Clause */
/* Control commands of a NIC, and its statistics. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "hv_guid.h"
#include "json_args.h"
#include "netvsp.h"

static int
cmd_link(struct nic *nic, json_t *request, json_t *reply)
{
	const char *state = json_string_value(json_object_get(request, "state"));

	if (state == NULL)
		return json_refuse(reply, "link: state must be up, down or toggle");
	if (strcmp(state, "up") == 0)
		rndis_link(nic, true);
	else if (strcmp(state, "down") == 0)
		rndis_link(nic, false);
	else if (strcmp(state, "toggle") == 0)
		rndis_link(nic, nic->link_up);
	else
		return json_refuse(reply, "link: state must be up, down or toggle");
	return 0;
}

static bool
can_indicate(const struct nic *nic)
{
	return nic->state == NVSP_ST_READY && nic->slots != NULL;
}

static int
cmd_speed(struct nic *nic, json_t *request, json_t *reply)
{
	json_int_t bps = json_integer_value(json_object_get(request, "bps"));
	uint32_t unit;

	if (bps < 100 || bps / 100 > (json_int_t)UINT32_MAX)
		return json_refuse(reply, "speed: bps must be 100 to 429496729500");
	nic->speed = (uint64_t)bps;
	unit = (uint32_t)(bps / 100);
	/* Only guests that set the teaming capability are told. */
	if (can_indicate(nic) && (nic->caps & NVSP_CAP_TEAMING) != 0)
		rndis_indicate(nic, RNDIS_STATUS_LINK_SPEED_CHANGE, &unit, sizeof(unit),
			       nic->opt.speed_short != 0);
	return 0;
}

/* An indication of any status; without a buffer of its own, OFFLOAD_CONFIG says what is on. */
static int
cmd_indicate(struct nic *nic, json_t *request, json_t *reply)
{
	uint64_t status = RNDIS_STATUS_OFFLOAD_CONFIG;
	struct ndis_offload o;
	uint32_t len;

	if (json_arg_uint(request, reply, "status", UINT32_MAX, &status) != 0)
		return -EINVAL;
	if (json_arg_hex(request, "bytes", (uint8_t *)&o, sizeof(o), &len) != 0)
		return json_refuse(reply, "indicate: bytes are hexadecimal, at most 156");
	if (!can_indicate(nic))
		return json_refuse(reply, "indicate: no guest that could be told");
	if (len == 0 && status == RNDIS_STATUS_OFFLOAD_CONFIG) {
		offload_current(nic, &o);
		len = offload_object_size(nic, &o);
	}
	rndis_indicate(nic, (uint32_t)status, &o, len,
		       json_is_true(json_object_get(request, "short")));
	return 0;
}

/* "unplug", as the host's administrator does it or as hardware fails. */
static int
cmd_unplug(struct nic *nic, json_t *request, json_t *reply, uint64_t ms)
{
	const char *kind = json_string_value(json_object_get(request, "kind"));

	if (kind == NULL || strcmp(kind, "planned") == 0)
		return vf_unplug(nic);
	if (strcmp(kind, "surprise") == 0)
		return vf_vanish(nic, ms);
	return json_refuse(reply, "vf: unplug is of kind planned or surprise");
}

static int
cmd_vf(struct nic *nic, json_t *request, json_t *reply)
{
	const char *action = json_string_value(json_object_get(request, "action"));
	bool has_serial = json_object_get(request, "serial") != NULL;
	uint64_t serial = 0, count = 1, ms = 100;

	if (json_arg_uint(request, reply, "serial", UINT32_MAX, &serial) != 0 ||
	    json_arg_uint(request, reply, "count", UINT32_MAX, &count) != 0 ||
	    json_arg_uint(request, reply, "ms", UINT32_MAX, &ms) != 0)
		return -EINVAL;
	if (action == NULL)
		action = "";
	if (strcmp(action, "unplug") == 0)
		return cmd_unplug(nic, request, reply, ms);
	if (strcmp(action, "lose") == 0) {
		nic->lose_switches = (unsigned int)count;
		return 0;
	}
	if (strcmp(action, "cut") == 0 || strcmp(action, "mend") == 0)
		return vf_leg_cut(nic, action[0] == 'c');
	if (strcmp(action, "flap") == 0) {
		vf_flap(nic, count, ms);
		return 0;
	}
	if (has_serial && strcmp(action, "plug") == 0)
		return vf_plug(nic, (uint32_t)serial);
	if (has_serial && strcmp(action, "replace") == 0)
		return vf_replace(nic, (uint32_t)serial);
	return json_refuse(reply, "vf: action must be unplug, cut, mend, lose, flap, or plug or "
				  "replace with a serial");
}

static int
cmd_stall(struct nic *nic, json_t *request, json_t *reply, bool stalled)
{
	uint64_t i = 0;

	if (json_arg_uint(request, reply, "queue", UINT32_MAX, &i) != 0)
		return -EINVAL;
	if (i >= NIC_QUEUES_MAX || nic->queue[i] == NULL)
		return json_refuse(reply, "no open channel of this queue");
	nic->queue[i]->stalled = stalled;
	return 0;
}

static json_t *
offload_json(const struct nic_offload *o)
{
	return json_pack("{s:i,s:i,s:b,s:b,s:b,s:b}", "tx_csum", o->tx, "rx_csum", o->rx, "lso4",
			 o->lso4, "lso6", o->lso6, "rsc4", o->rsc4, "rsc6", o->rsc6);
}

static json_t *
rss_json(const struct nic_rss *r)
{
	char key[2 * NDIS_RSS_KEY_SIZE + 1];
	json_t *table = json_array();

	for (unsigned int i = 0; i < NDIS_RSS_KEY_SIZE; i++)
		snprintf(key + 2 * i, 3, "%02x", r->key[i]);
	for (unsigned int i = 0; r->enabled && i < r->entries; i++)
		json_array_append_new(table, json_integer(r->table[i]));
	return json_pack("{s:b,s:I,s:s,s:o}", "enabled", r->enabled, "hash_info",
			 (json_int_t)r->hash_info, "key", key, "table", table);
}

int
nic_command(struct nic *nic, const char *cmd, json_t *request, json_t *reply)
{
	int rc;

	if (strcmp(cmd, "link") == 0)
		return cmd_link(nic, request, reply);
	if (strcmp(cmd, "speed") == 0)
		return cmd_speed(nic, request, reply);
	if (strcmp(cmd, "network-change") == 0) {
		if (can_indicate(nic))
			rndis_indicate(nic, RNDIS_STATUS_NETWORK_CHANGE, NULL, 0, false);
		return 0;
	}
	if (strcmp(cmd, "indicate") == 0)
		return cmd_indicate(nic, request, reply);
	if (strcmp(cmd, "vf") == 0)
		return cmd_vf(nic, request, reply);
	if (strcmp(cmd, "switch-synthetic") == 0)
		return vf_force_synthetic(nic);
	if (strcmp(cmd, "stall") == 0 || strcmp(cmd, "resume") == 0)
		return cmd_stall(nic, request, reply, cmd[0] == 's');
	if (strcmp(cmd, "hold-rx") == 0 || strcmp(cmd, "resume-rx") == 0) {
		nic->hold_rx = cmd[0] == 'h';
		return 0;
	}
	if (strcmp(cmd, "filter") == 0)
		return json_object_set_new(reply, "filter", json_integer(nic->filter));
	if (strcmp(cmd, "offload") == 0)
		return json_object_set_new(reply, "offload", offload_json(&nic->offload));
	if (strcmp(cmd, "rss") == 0)
		return json_object_set_new(reply, "rss", rss_json(&nic->rss));
	rc = fault_command(nic, cmd, request, reply);
	if (rc != -ENOENT)
		return rc;
	if (nic->port->ops->command != NULL)
		return nic->port->ops->command(nic->port, cmd, request, reply);
	return -ENOENT;
}

static json_t *
queue_json(const struct nic *nic, unsigned int index)
{
	const struct nic_queue_stats *s = &nic->qstats[index];
	const struct channel *chan = nic->queue[index] ? nic->queue[index]->chan : NULL;
	const struct {
		const char *name;
		uint64_t value;
	} fields[] = {
		{ "rx_frames", s->rx_frames },
		{ "rx_bytes", s->rx_bytes },
		{ "rx_packets", s->rx_packets },
		{ "rx_vlan", s->rx_vlan },
		{ "rx_no_slot", s->rx_no_slot },
		{ "rx_no_ring", s->rx_no_ring },
		{ "tx_frames", s->tx_frames },
		{ "tx_bytes", s->tx_bytes },
		{ "tx_messages", s->tx_messages },
		{ "tx_failed", s->tx_failed },
		{ "tx_vlan", s->tx_vlan },
		{ "tx_lso", s->tx_lso },
		{ "tx_csum", s->tx_csum },
		{ "tx_no_room", s->tx_no_room },
		{ "tx_deferred", s->tx_deferred },
		{ "opened", s->opened },
		{ "interrupts", s->interrupts + (chan ? chan->interrupts : 0) },
		{ "doorbells", s->doorbells + (chan ? chan->doorbells : 0) },
		{ "superfluous", s->superfluous + (chan ? chan->superfluous : 0) },
	};
	json_t *o = json_pack("{s:i,s:i,s:b,s:b}", "index", index, "relid",
			      chan != NULL ? (int)chan->relid : 0, "open", chan != NULL, "failed",
			      chan != NULL && chan->failed);

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		json_object_set_new(o, fields[i].name, json_integer((json_int_t)fields[i].value));
	return o;
}

json_t *
nic_stats(struct nic *nic)
{
	static const char *const states[] = { "closed", "init", "config", "ready", "revoked" };
	static const char *const vf[] = { "none", "waiting", "advertised" };
	json_t *queues = json_array(), *o;
	char mac[18], guid[HV_GUID_STRLEN];
	const uint8_t *m = nic->mac;

	for (unsigned int i = 0; i < NIC_QUEUES_MAX; i++)
		if (nic->qstats[i].opened != 0)
			json_array_append_new(queues, queue_json(nic, i));
	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4],
		 m[5]);
	hv_guid_format(&nic->opt.guid, guid);
	o = json_pack("{s:i,s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:b}", "index", nic->index, "mac", mac,
		      "guid", guid, "state", states[nic->state], "sessions",
		      (json_int_t)nic->sessions, "nvsp_version", (json_int_t)nic->version,
		      "capabilities", (json_int_t)nic->caps, "frame_size", (json_int_t)nic->mtu,
		      "filter", (json_int_t)nic->filter, "link", nic->link_up);
	json_object_set_new(o, "speed", json_integer((json_int_t)nic->speed));
	json_object_set_new(o, "data_path", json_string(nic->path_vf ? "vf" : "synthetic"));
	json_object_set_new(o, "vf", json_string(vf[nic->vf]));
	json_object_set_new(o, "vf_serial", json_integer(nic->vf_serial));
	json_object_set_new(o, "vf_flaps", json_integer((json_int_t)(nic->flap_steps + 1) / 2));
	if (nic->leg != NULL) {
		json_object_set_new(o, "vf_to_guest", json_integer((json_int_t)nic->leg_to_guest));
		json_object_set_new(o, "vf_from_guest",
				    json_integer((json_int_t)nic->leg_from_guest));
		json_object_set_new(o, "vf_leg", nic->leg->ops->stats(nic->leg));
	}
	json_object_set_new(o, "slots", json_integer(nic->slot_count));
	json_object_set_new(o, "slots_used", json_integer(slots_used(nic)));
	json_object_set_new(o, "subchannels", json_integer(nic->granted));
	json_object_set_new(o, "rx_too_big", json_integer((json_int_t)nic->rx_too_big));
	json_object_set_new(o, "rx_no_channel", json_integer((json_int_t)nic->rx_no_channel));
	json_object_set_new(o, "rx_overflow", json_integer((json_int_t)nic->rx_overflow));
	json_object_set_new(o, "rx_filtered", json_integer((json_int_t)nic->rx_filtered));
	json_object_set_new(o, "mangled", json_integer((json_int_t)nic->mangled));
	json_object_set_new(o, "rx_no_rsc", json_integer((json_int_t)nic->rx_no_rsc));
	json_object_set_new(o, "tx_link_down", json_integer((json_int_t)nic->tx_link_down));
	json_object_set_new(o, "offload", offload_json(&nic->offload));
	json_object_set_new(o, "rss", rss_json(&nic->rss));
	json_object_set_new(o, "queues", queues);
	json_object_set_new(o, "port_kind", json_string(nic->port->ops->kind));
	json_object_set_new(o, "port", nic->port->ops->stats(nic->port));
	return o;
}
