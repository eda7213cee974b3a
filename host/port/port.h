/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where a NIC's frames come from and go to: one struct port per NIC, one implementation per
 * kind (gen, sink, echo, pair, dpdk, dgram). All calls come from the host's one thread.
 *
 * Nothing is lost between a port and its NIC: a frame that the NIC cannot take stays in the
 * port (which may then miss later ones, and counts that), a frame that the port cannot take
 * stays in the guest's ring.
 */
#ifndef HOST_PORT_H
#define HOST_PORT_H

#include <stdbool.h>
#include <stdint.h>
#include <jansson.h>

struct nic;
struct port;

/* What travels beside a frame, in either direction. */
#define PORT_F_VLAN	 0x01u /* tci is valid; the tag is not in the bytes */
#define PORT_F_IP_GOOD	 0x02u /* to the guest: what the NIC is to say of the checksums; */
#define PORT_F_IP_BAD	 0x04u /* none of the four: the NIC verifies the frame itself */
#define PORT_F_L4_GOOD	 0x08u
#define PORT_F_L4_BAD	 0x10u
#define PORT_F_HASH	 0x20u /* hash and hash_info are valid */
#define PORT_F_RSC_FIRST 0x40u /* pieces of one coalesced segment follow each other */
#define PORT_F_RSC_MORE	 0x80u

struct port_frame {
	const uint8_t *data; /* one contiguous frame without FCS; of the giver until released */
	uint32_t len;
	uint16_t flags; /* PORT_F_* */
	uint16_t tci;
	uint32_t hash;
	uint32_t hash_info; /* NDIS_HASH_* */
	uint16_t queue;	    /* to a port that has several; modulo their number */
};

struct port_ops {
	const char *kind;
	/*
	 * text is what stood behind "port=<kind>:" (may be empty). 0, or -errno with a message on
	 * stderr. *port is allocated here.
	 */
	int (*create)(struct nic *nic, const char *text, struct port **port);
	void (*destroy)(struct port *port);
	/*
	 * Frames for the guest: fill at most max entries, return how many. They stay valid, and
	 * are offered again by the next call, until released.
	 */
	unsigned int (*peek)(struct port *port, struct port_frame *frames, unsigned int max);
	/* The first n frames of the last peek were delivered. */
	void (*release)(struct port *port, unsigned int n);
	/* A finished frame from the guest. false: no room now, try again later. */
	bool (*push)(struct port *port, const struct port_frame *frame);
	/* End of a slice: send what push() has buffered; housekeeping. Returns work done. */
	unsigned int (*flush)(struct port *port);
	/* Frames that push() took and flush() could not send yet. May be NULL: none, ever. */
	unsigned int (*unsent)(const struct port *port);
	/* ... are given up: who was to have them has gone. With unsent. */
	void (*discard)(struct port *port);
	/* A control command ("start", "stop", "rate", ...), as nic_command(). May be NULL. */
	int (*command)(struct port *port, const char *cmd, json_t *request, json_t *reply);
	json_t *(*stats)(struct port *port); /* a new object */
	/* Did verification find frames lost, damaged, duplicated or out of order? May be NULL. */
	bool (*failed)(const struct port *port);
};

struct port {
	const struct port_ops *ops;
	struct nic *nic;
};

/* "gen:rate=1000,...": create the port a text names. 0 or -errno with a message. */
int port_create(struct nic *nic, const char *text, struct port **port);
void port_help(void);

/* pair.c: join the pair ports of two NICs once all exist. 0 or -errno with a message. */
int port_join(struct port *port, struct port *other);

/* From netvsp/: identity of the NIC that a port serves. */
const uint8_t *nic_mac(const struct nic *nic); /* 6 bytes */
uint32_t nic_mtu(const struct nic *nic);       /* L2 bytes without FCS that the guest accepts */
unsigned int nic_index(const struct nic *nic);
/* Queues that a port being created may have: 1, but a VF's wire as many as the NIC. */
unsigned int nic_port_queues(const struct nic *nic);
unsigned int
nic_channels(const struct nic *nic); /* that the guest has; its VF has as many queues */

#endif /* HOST_PORT_H */
