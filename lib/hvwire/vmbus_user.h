/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vmbus-user, version 1: a VMBus partition carried by a Unix socket.
 *
 * Transport: AF_UNIX, SOCK_SEQPACKET, one message per datagram, little-endian, file
 * descriptors by SCM_RIGHTS. The host listens; one connection is one partition (guest).
 * The VMBus messages inside are the real ones of vmbus_wire.h, unmodified, so that a real
 * kernel (through a machine emulator) and a plain process speak to the same host.
 * This protocol is ours; doc/vmbus_user.rst describes it.
 *
 * Order of a connection: the guest sends HELLO and waits for HELLO_ACK; MEM_ADD for each
 * piece of its memory; then POST_MESSAGE and doorbells at any time. When the socket hangs
 * up, each side drops everything the other one gave it.
 */
#ifndef VMBUS_USER_H
#define VMBUS_USER_H

#include "vmbus_wire.h"

#define VMU_MAGIC   0x31554D56u /* "VMU1" */
#define VMU_VERSION 1u
#define VMU_MSG_MAX 512u /* no datagram is longer */

/* Name of the environment variable that lists host sockets, separated by commas. */
#define VMU_SOCKET_ENV "HV_VMBUS_SOCKET"

struct vmu_hdr {
	uint32_t magic;
	uint16_t type;	/* enum vmu_type */
	uint16_t flags; /* VMU_F_* */
	uint32_t len;	/* bytes after this header */
	uint32_t seq;	/* chosen by the sender; an ACK repeats it */
} HVWIRE_PACKED;
HVWIRE_SIZE(struct vmu_hdr, 16);

#define VMU_F_NEED_ACK 0x0001 /* the receiver answers VMU_ACK when the effect is complete */

enum vmu_type {
	/* guest to host */
	VMU_HELLO = 1,	      /* struct vmu_hello */
	VMU_MEM_ADD = 2,      /* struct vmu_mem + 1 fd */
	VMU_MEM_DEL = 3,      /* struct vmu_mem; NEED_ACK: the host unmaps before it answers */
	VMU_POST_MESSAGE = 4, /* struct vmu_post: HvPostMessage; ACK status = hypercall status */
	VMU_SIGNAL_EVENT = 5, /* struct vmu_signal: HvSignalEvent, when no SIGNAL_FD is held */
	VMU_RESET = 6,	      /* empty: partition reset; the host drops channels, GPADLs, pages */
	/* host to guest */
	VMU_HELLO_ACK = 16,    /* struct vmu_hello */
	VMU_SINT_MESSAGE = 17, /* struct vmu_sint_msg: the guest queues it for the SynIC slot */
	VMU_SINT_EVENT = 18,   /* struct vmu_event: set an event flag, when no EVENT_FD is held */
	VMU_SIGNAL_FD = 19,    /* struct vmu_signal + eventfd the guest writes; no fd = withdraw */
	VMU_EVENT_FD = 20,     /* struct vmu_event + eventfd the guest reads; no fd = withdraw */
	/* both ways */
	VMU_ACK = 32, /* struct vmu_ack */
	VMU_LOG = 33, /* text, not terminated: e.g. a crash report */
};

#define VMU_FEAT_SIGNAL_FD 0x1u /* the sender can use SIGNAL_FD */
#define VMU_FEAT_EVENT_FD  0x2u /* the sender can use EVENT_FD */

#define VMU_NAME_LEN 64

struct vmu_hello {
	uint32_t
		version; /* VMU_VERSION; the host refuses others with a hang-up after its own HELLO_ACK */
	uint32_t features;
	uint32_t n_vps;		 /* virtual processors of the partition; 0 from the host */
	uint32_t status;	 /* 0; in HELLO_ACK a positive errno says why the host refuses */
	uint64_t guest_os_id;	 /* HV_X64_MSR_GUEST_OS_ID, 0 if unknown */
	char name[VMU_NAME_LEN]; /* of the partition or host, zero padded */
} HVWIRE_PACKED;
HVWIRE_SIZE(struct vmu_hello, 88);

struct vmu_mem {
	uint64_t gpa;
	uint64_t size;
	uint64_t offset; /* in the file */
	uint32_t flags;	 /* VMU_MEM_RDONLY */
	uint32_t reserved;
} HVWIRE_PACKED;
HVWIRE_SIZE(struct vmu_mem, 32);

#define VMU_MEM_RDONLY	    0x1u
#define VMU_MEM_REGIONS_MIN 1024u /* a host must accept at least this many regions */

struct vmu_post {
	uint32_t conn_id;
	uint32_t msg_type;
	uint32_t size; /* payload bytes, at most 240; the datagram ends after them */
	uint32_t vp;
	uint8_t payload[VMBUS_MSG_MAX];
} HVWIRE_PACKED;
HVWIRE_SIZE(struct vmu_post, 256);

struct vmu_sint_msg {
	uint32_t vp;
	uint32_t sint;
	uint32_t msg_type;
	uint32_t size; /* payload bytes, at most 240; the datagram ends after them */
	uint8_t payload[VMBUS_MSG_MAX];
} HVWIRE_PACKED;
HVWIRE_SIZE(struct vmu_sint_msg, 256);

struct vmu_signal {
	uint32_t conn_id;
	uint16_t flag;
	uint16_t reserved;
} HVWIRE_PACKED;
HVWIRE_SIZE(struct vmu_signal, 8);

struct vmu_event {
	uint32_t vp;
	uint32_t sint;
	uint32_t flag; /* the channel's relid */
} HVWIRE_PACKED;
HVWIRE_SIZE(struct vmu_event, 12);

struct vmu_ack {
	uint32_t status; /* 0, or a hypercall status for POST_MESSAGE, or a positive errno */
} HVWIRE_PACKED;
HVWIRE_SIZE(struct vmu_ack, 4);

/* Hypercall results that POST_MESSAGE can return (TLFS). */
#define HV_STATUS_SUCCESS		0
#define HV_STATUS_INVALID_PARAMETER	5
#define HV_STATUS_INSUFFICIENT_MEMORY	11
#define HV_STATUS_INVALID_CONNECTION_ID 18
#define HV_STATUS_INSUFFICIENT_BUFFERS	19

#endif /* VMBUS_USER_H */
