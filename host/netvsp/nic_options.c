/* SPDX-License-Identifier: BSD-3-Clause */
/* The keys of --nic. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hv_guid.h"
#include "netvsp.h"
#include "rndis_build.h"

struct choice {
	const char *name;
	unsigned int value;
};

enum key_kind { KEY_UINT, KEY_CHOICE, KEY_MAC, KEY_GUID, KEY_SPEED, KEY_VF };

struct key {
	const char *name;
	enum key_kind kind;
	size_t off;
	unsigned int dflt, min, max;
	const struct choice *choices;
	const char *help;
};

static const struct choice yes_no[] = { { "no", 0 }, { "yes", 1 }, { NULL, 0 } };
static const struct choice versions[] = { { "1", NVSP_VERSION_1 },
					  { "2", NVSP_VERSION_2 },
					  { "4", NVSP_VERSION_4 },
					  { "5", NVSP_VERSION_5 },
					  { "6", NVSP_VERSION_6 },
					  { "6.1", NVSP_VERSION_6_1 },
					  { NULL, 0 } };
static const struct choice ids[] = {
	{ "slot", IDS_SLOT }, { "random", IDS_RANDOM }, { "high", IDS_HIGH }, { NULL, 0 }
};
static const struct choice lens[] = { { "slot", 0 }, { "exact", 1 }, { NULL, 0 } };
static const struct choice tables[] = { { "late", TABLE_LATE },
					{ "early", TABLE_EARLY },
					{ "bug", TABLE_BUG },
					{ "none", TABLE_NONE },
					{ NULL, 0 } };
static const struct choice sizes[] = {
	{ "auto", MSG_AUTO }, { "old", MSG_OLD }, { "new", MSG_NEW }, { NULL, 0 }
};
static const struct choice hashes[] = {
	{ "no", HASH_NO }, { "yes", HASH_YES }, { "always", HASH_ALWAYS }, { NULL, 0 }
};
static const struct choice oids[] = { { "all", 1 }, { "openvmm", 0 }, { NULL, 0 } };
static const struct choice mac_changes[] = {
	{ "ignore", MAC_IGNORE }, { "refuse", MAC_REFUSE }, { "allow", MAC_ALLOW }, { NULL, 0 }
};
static const struct choice resets[] = { { "fatal", 0 }, { "answer", 1 }, { NULL, 0 } };
static const struct choice filters[] = { { "any", 0 }, { "mac", 1 }, { NULL, 0 } };
static const struct choice vf_times[] = { { "rndis", VF_AFTER_RNDIS },
					  { "init", VF_AFTER_INIT },
					  { "config", VF_AFTER_CONFIG },
					  { NULL, 0 } };
static const struct choice states[] = { { "down", 0 }, { "up", 1 }, { NULL, 0 } };
static const struct choice header_pages[] = { { "join", 0 }, { "split", 1 }, { NULL, 0 } };
static const struct choice overflow[] = { { "hold", 0 }, { "drop", 1 }, { NULL, 0 } };

#define OFF(field) offsetof(struct nic_opt, field)
#define UINT(n, f, d, lo, hi, text)                        \
	{                                                  \
		n, KEY_UINT, OFF(f), d, lo, hi, NULL, text \
	}
#define CHOICE(n, f, d, choices, text)                        \
	{                                                     \
		n, KEY_CHOICE, OFF(f), d, 0, 0, choices, text \
	}

static const struct key keys[] = {
	{ "mac", KEY_MAC, OFF(mac), 0, 0, 0, NULL, "Ethernet address (00:15:5d:00:00:<number>)" },
	{ "guid", KEY_GUID, OFF(guid), 0, 0, 0, NULL, "instance id of the device" },
	UINT("mtu-min", mtu_min, 1514, 82, 65535,
	     "smallest accepted frame size, Ethernet header included; others become 1514"),
	UINT("mtu-max", mtu_max, 9216, 1514, 65535, "largest accepted frame size"),
	UINT("queues", queues, 8, 1, NIC_QUEUES_MAX, "channels a guest may have"),
	UINT("grant", grant, NIC_QUEUES_MAX, 0, NIC_QUEUES_MAX,
	     "sub-channels granted at most, whatever was asked for"),
	CHOICE("nvsp-max", nvsp_max, NVSP_VERSION_6_1, versions, "newest NVSP version"),
	CHOICE("nvsp-min", nvsp_min, NVSP_VERSION_1, versions, "oldest NVSP version"),
	UINT("slot-size", slot_size, 0, 0, 65536,
	     "bytes of a receive slot; 0 = 256 + frame size + 36"),
	UINT("slots", slots, 0, 0, 1u << 20, "receive slots used at most; 0 = what fits"),
	UINT("section-size", section_size, 6144, 64, 1u << 20, "bytes of a send section"),
	UINT("ranges", ranges, NVSP_XFER_RANGES_MAX, 1, NVSP_XFER_RANGES_MAX_RSC,
	     "most frames in one packet to the guest"),
	UINT("ranges-exact", ranges_exact, 0, 0, NVSP_XFER_RANGES_MAX_RSC,
	     "always so many frames in a packet, unless flush-us passed"),
	UINT("flush-us", flush_us, 100, 1, 1000000, "see ranges-exact"),
	UINT("max-packets", max_packets, 8, 1, 255, "PACKET messages in one send"),
	UINT("align", align, 3, 0, 12, "packing alignment, exponent of 2"),
	UINT("max-transfer", max_transfer, 0xEFFFFFFF, 1, UINT32_MAX, "bytes of one send"),
	CHOICE("msg-size", msg_size, MSG_AUTO, sizes, "NVSP messages: old = 28 bytes, new = 40"),
	CHOICE("ids", ids, IDS_SLOT, ids, "transaction ids of received packets"),
	CHOICE("scatter", scatter, 0, yes_no, "slots are used in no order"),
	UINT("data-offset", data_offset, 248, 0, 4096,
	     "where the frame starts in a message, from byte 8; 0 = right behind the header"),
	CHOICE("msg-len", msg_exact, 0, lens, "length of a message: its slot, or exact"),
	CHOICE("hash", hash, HASH_YES, hashes, "send hash value and type: yes = once RSS is on"),
	CHOICE("csum", csum, 1, yes_no, "send the state of checksums"),
	CHOICE("vlan-strip", vlan_strip, 1, yes_no, "take the outer 802.1Q tag out of frames"),
	CHOICE("send-table", send_table, TABLE_LATE, tables,
	       "when: all channels are open, at once, with a wrong offset, never"),
	UINT("table-offset", table_offset, 12, 12, NVSP_SEND_TABLE_OFF_BUG,
	     "where the send table starts in its message: OpenVMM 12, Windows 40"),
	CHOICE("oids", oids_all, 1, oids,
	       "objects: those of OpenVMM, or also statistics, names, VLAN id, multicast list"),
	UINT("mcast-list", mcast_list, 0, 0, NIC_MCAST_MAX,
	     "addresses in the multicast list; 0 = it cannot be set (OpenVMM)"),
	CHOICE("filter", filter_mac, 0, filters,
	       "what a packet filter does: any but 0 passes all (OpenVMM), or by address "
	       "(Windows)"),
	CHOICE("mac-change", mac_change, MAC_IGNORE, mac_changes,
	       "parameter NetworkAddress: ignored (OpenVMM); refused, or followed (Windows)"),
	CHOICE("reset", reset_answered, 0, resets, "RNDIS RESET ends the channel (OpenVMM)"),
	UINT("ring-use", ring_use, 0, 0, 1u << 30,
	     "bytes of a ring that received frames fill at most; 0 = all"),
	UINT("ring-spare", ring_spare, 2048, 0, 1u << 30,
	     "free bytes of a ring below which no frame is put into it"),
	CHOICE("header-pages", pages_split, 0, header_pages,
	       "a header in two ranges that are pages in a row: taken, as Linux before 6.15 sends "
	       "it; or refused (OpenVMM)"),
	UINT("tx-resume", tx_resume, 1, 1, NIC_TX_QUOTA,
	     "with all sends outstanding: the ring is read on when so many more are possible; "
	     "OpenVMM, asynchronous: 256"),
	UINT("tx-delay", tx_delay_ms, 0, 0, 60000, "ms until a send is completed"),
	UINT("tx-fail-every", tx_fail_every, 0, 0, 1u << 30, "every Nth send fails"),
	UINT("reply-delay", reply_delay_ms, 0, 0, 60000, "ms until a control message is sent"),
	CHOICE("link", link, 1, states, "state of the link at start"),
	{ "speed", KEY_SPEED, OFF(speed), 0, 0, 0, NULL, "bit/s (10000000000)" },
	CHOICE("speed-msg-short", speed_short, 0, yes_no,
	       "message length of a speed change omits its buffer, as before Windows 2022"),
	{ "vf", KEY_VF, OFF(vf), 0, 0, 0, NULL,
	  "SERIAL[:MS]: associate a VF, MS after RNDIS is initialized" },
	CHOICE("vf-when", vf_when, VF_AFTER_RNDIS, vf_times,
	       "earliest: RNDIS is initialized; or at once behind INIT or NDIS_CONFIG"),
	CHOICE("vf-rc", vf_rc, 1, yes_no, "VF association asks for a completion"),
	UINT("switch-delay", switch_delay_ms, 0, 0, 60000, "ms until a data path switch is done"),
	CHOICE("switch-fail", switch_fail, 0, yes_no,
	       "a switch to the VF fails: completed, then SWITCH_DATA_PATH synthetic"),
	UINT("rss-entries", rss_entries, NDIS_RSS_RETA_DEFAULT, 0, NDIS_RSS_RETA_MAX,
	     "entries of the RSS table"),
	CHOICE("rss-udp", rss_udp, 1, yes_no,
	       "offer hashes of UDP ports, as Windows; OpenVMM does not"),
	UINT("tx-csum4", tx_csum4, 0x1F, 0, 0x1F,
	     "IPv4 transmit checksums: 1 IP, 2 TCP, 4 UDP, 8 TCP options, 16 IP options"),
	UINT("tx-csum6", tx_csum6, 0x1E, 0, 0x1E, "the same for IPv6; 16 extension headers"),
	CHOICE("rx-csum", rx_csum, 1, yes_no, "offer receive checksums"),
	UINT("lso4", lso4, RNDIS_LSO_MAX_BYTES, 0, 65535, "LSOv2 IPv4 bytes; 0 = not offered"),
	UINT("lso6", lso6, RNDIS_LSO_MAX_BYTES, 0, 65535, "LSOv2 IPv6 bytes; 0 = not offered"),
	CHOICE("rsc", rsc, 0, yes_no, "offer RSC (frames that a port gives in pieces)"),
	UINT("refuse-recv", refuse_recv, 0, 0, 7, "status for the receive buffer, 0 = accept it"),
	UINT("recv-max", recv_max, 0, 0, 64,
	     "MiB of receive buffer accepted at most, as by hosts of NVSP 2 (15); 0 = any"),
	UINT("refuse-send", refuse_send, 0, 0, 7, "status for the send buffer, 0 = accept it"),
	UINT("mangle", mangle, 0, 0, 1u << 30,
	     "damage the header or the range of every Nth received frame, by chance"),
	CHOICE("hold-rx", hold_rx, 0, yes_no, "keep frames back until the command resume-rx"),
	CHOICE("overflow", overflow_drop, 0, overflow,
	       "a frame without slot or room: it waits in the port, or is lost"),
};
#define N_KEYS (sizeof(keys) / sizeof(keys[0]))

static int
fail(unsigned int index, const char *key, const char *value, const char *what)
{
	fprintf(stderr, "hv-host: --nic %u: %s=%s: %s (--nic help lists the keys)\n", index, key,
		value, what);
	return -EINVAL;
}

static int
parse_mac(struct nic_opt *opt, const char *v)
{
	unsigned int b[6];
	char end;

	if (sscanf(v, "%2x:%2x:%2x:%2x:%2x:%2x%c", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5],
		   &end) != 6)
		return -EINVAL;
	for (int i = 0; i < 6; i++)
		opt->mac[i] = (uint8_t)b[i];
	return (opt->mac[0] & 1) != 0 ? -EINVAL : 0;
}

static int
parse_vf(struct nic_opt *opt, const char *v)
{
	char *end;
	unsigned long serial = strtoul(v, &end, 0), delay = 0;

	if (end == v || serial > UINT32_MAX)
		return -EINVAL;
	if (*end == ':') {
		v = end + 1;
		delay = strtoul(v, &end, 10);
		if (end == v || delay > 600000)
			return -EINVAL;
	}
	if (*end != '\0')
		return -EINVAL;
	opt->vf = 1;
	opt->vf_serial = (unsigned int)serial;
	opt->vf_delay_ms = (unsigned int)delay;
	return 0;
}

static int
parse_number(const char *v, uint64_t min, uint64_t max, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(v, &end, 0);
	return end == v || *end != '\0' || *v == '-' || errno != 0 || *out < min || *out > max
		       ? -EINVAL
		       : 0;
}

static int
parse_value(struct nic_opt *opt, unsigned int index, const struct key *k, const char *v)
{
	unsigned int *at = (unsigned int *)(void *)((char *)opt + k->off);
	uint64_t n;

	switch (k->kind) {
	case KEY_UINT:
		if (parse_number(v, k->min, k->max, &n) != 0)
			return fail(index, k->name, v, "number out of range");
		*at = (unsigned int)n;
		return 0;
	case KEY_SPEED:
		/* The OID counts units of 100 bit/s in 32 bits. */
		if (parse_number(v, 100, UINT32_MAX * UINT64_C(100), &opt->speed) != 0)
			return fail(index, k->name, v, "bit/s out of range");
		return 0;
	case KEY_CHOICE:
		for (const struct choice *c = k->choices; c->name != NULL; c++)
			if (strcmp(c->name, v) == 0) {
				*at = c->value;
				return 0;
			}
		return fail(index, k->name, v, "unknown value");
	case KEY_MAC:
		return parse_mac(opt, v) != 0 ? fail(index, k->name, v, "no unicast address") : 0;
	case KEY_GUID:
		return hv_guid_parse(v, &opt->guid) != 0 ? fail(index, k->name, v, "no GUID") : 0;
	case KEY_VF:
		return parse_vf(opt, v) != 0 ? fail(index, k->name, v, "not SERIAL[:MS]") : 0;
	}
	return -EINVAL;
}

static void
defaults(struct nic_opt *opt, unsigned int index)
{
	/* As OpenVMM's petri and our documents: one recognisable id per NIC. */
	static const uint8_t guid[16] = { 0x00, 0x6e, 0x76, 0x68, 0x74, 0x65, 0x76, 0x4e,
					  0x80, 0x00, 0x00, 0x15, 0x5d, 0x00, 0x00, 0x00 };
	const uint8_t mac[6] = { 0x00, 0x15, 0x5d, 0x00, 0x00, (uint8_t)(index + 1) };

	memset(opt, 0, sizeof(*opt));
	memcpy(opt->mac, mac, sizeof(mac));
	memcpy(opt->guid.b, guid, sizeof(guid));
	opt->guid.b[15] = (uint8_t)(index + 1);
	opt->speed = UINT64_C(10000000000);
	strcpy(opt->port, "sink");
	for (size_t i = 0; i < N_KEYS; i++)
		if (keys[i].kind == KEY_UINT || keys[i].kind == KEY_CHOICE)
			*(unsigned int *)(void *)((char *)opt + keys[i].off) = keys[i].dflt;
}

static int
check(const struct nic_opt *opt, unsigned int index)
{
	if (opt->nvsp_min > opt->nvsp_max)
		return fail(index, "nvsp-min", "", "newer than nvsp-max");
	if (opt->mtu_min > opt->mtu_max)
		return fail(index, "mtu-min", "", "above mtu-max");
	/* The longest control reply, the list of OIDs, must fit a slot. */
	if (opt->slot_size != 0 && opt->slot_size < 320)
		return fail(index, "slot-size", "", "below 320");
	if (opt->data_offset != 0 && opt->data_offset + RNDIS_OFFSET_BASE < RNDIS_BUILD_PACKET_MAX)
		return fail(index, "data-offset", "", "inside the header: 0, or at least 132");
	if (opt->slots != 0 && opt->slots <= NIC_CTRL_SLOTS)
		return fail(index, "slots", "", "needs more than the 16 control slots");
	return 0;
}

/* vf-leg=(...): a port's text, whose commas are its own. */
static int
take_leg(struct nic_opt *opt, const char **text)
{
	const char *from = *text + strlen("vf-leg=("), *end = strchr(from, ')');

	if (end == NULL || (size_t)(end - from) >= sizeof(opt->vf_leg) ||
	    (end[1] != ',' && end[1] != '\0'))
		return -EINVAL;
	memcpy(opt->vf_leg, from, (size_t)(end - from));
	opt->vf_leg[end - from] = '\0';
	*text = end + 1 + (end[1] == ',');
	return 0;
}

int
nic_options_parse(struct nic_opt *opt, unsigned int index, const char *text)
{
	char item[256];

	defaults(opt, index);
	while (*text != '\0') {
		size_t len = strcspn(text, ",");
		const struct key *k = NULL;
		char *value;

		if (strncmp(text, "port=", 5) == 0) {
			/* The port's own keys have commas: it takes the rest. */
			if (strlen(text + 5) >= sizeof(opt->port))
				return fail(index, "port", text + 5, "too long");
			strcpy(opt->port, text + 5);
			break;
		}
		if (strncmp(text, "vf-leg=(", 8) == 0) {
			if (take_leg(opt, &text) != 0)
				return fail(index, "vf-leg", text,
					    "(port text) is too long or not closed");
			continue;
		}
		if (len >= sizeof(item))
			return fail(index, "key", text, "too long");
		memcpy(item, text, len);
		item[len] = '\0';
		text += len + (text[len] == ',');
		if (len == 0)
			continue;
		value = strchr(item, '=');
		if (value == NULL)
			return fail(index, item, "", "a key needs a value");
		*value++ = '\0';
		for (size_t i = 0; i < N_KEYS && k == NULL; i++)
			if (strcmp(keys[i].name, item) == 0)
				k = &keys[i];
		if (k == NULL)
			return fail(index, item, value, "unknown key");
		if (parse_value(opt, index, k, value) != 0)
			return -EINVAL;
	}
	return check(opt, index);
}

void
nic_help(void)
{
	puts("Keys of --nic, comma separated; port= comes last and takes the rest of the text:\n");
	for (size_t i = 0; i < N_KEYS; i++) {
		const struct key *k = &keys[i];

		printf("  %-16s %s", k->name, k->help);
		if (k->kind == KEY_UINT)
			printf(" (%u; %u..%u)", k->dflt, k->min, k->max);
		if (k->kind == KEY_CHOICE)
			for (const struct choice *c = k->choices; c->name != NULL; c++)
				printf("%s%s%s", c == k->choices ? " (" : "|", c->name,
				       c->value == k->dflt ? "*" : "");
		puts(k->kind == KEY_CHOICE ? "; * = default)" : "");
	}
	printf("  %-16s %s\n", "vf-leg",
	       "(PORT): the VF's wire, e.g. (dpdk:net_memif0,role=server,socket=/run/vf.sock)");
	printf("  %-16s %s\n\n", "port", "where frames come from and go to (sink)");
	port_help();
}
