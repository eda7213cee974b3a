/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A Hyper-V partition in QEMU's x86 emulation, served by a host at the other end of a
 * vmbus-user socket.
 *
 *   hv-vmbus-cpu.c   CPUID leaves, MSRs, hypercalls, the device and its ACPI node
 *   hv-vmbus-synic.c message slots, event flags, their interrupt
 *   hv-vmbus-link.c  the socket
 *
 * There is at most one such device. Everything runs under QEMU's global lock.
 */
#ifndef HV_VMBUS_USER_H
#define HV_VMBUS_USER_H

#include "hw/i386/vmbus_user.h"

#define HV_VPS_MAX   64
#define HV_SINTS     16
#define HV_SLOT_SIZE 256

struct hv_message {
	QSIMPLEQ_ENTRY(hv_message) link;
	struct vmu_sint_msg m;
};

/* The synthetic interrupt controller of one virtual processor: its MSRs, what waits for it. */
struct hv_synic {
	uint64_t control;
	uint64_t siefp;
	uint64_t simp;
	uint64_t sint[HV_SINTS];
	uint32_t apic_id;
	QSIMPLEQ_HEAD(, hv_message) queue;
};

/* An eventfd of the host: a doorbell (conn_id) or an interrupt (ev). */
struct hv_fd {
	QLIST_ENTRY(hv_fd) link;
	struct vmu_event ev;
	uint32_t conn_id;
	int fd;
};

struct hv_link {
	char *path;
	int sock; /* -1: no host */
	uint32_t seq;
	bool acked;
	uint32_t ack_seq;
	uint32_t ack_status;
	QLIST_HEAD(, hv_fd) doorbells;
	QLIST_HEAD(, hv_fd) interrupts;
};

extern struct hv_link hv_link;
extern struct hv_synic hv_synic[HV_VPS_MAX];
extern unsigned int hv_n_vps;

/* Host address of len bytes of guest RAM inside one page; NULL if there is none. */
void *hv_guest_ram(uint64_t gpa, size_t len);

/* hv-vmbus-synic.c */
void hv_synic_reset(void);
bool hv_synic_read(struct hv_synic *s, uint32_t msr, uint64_t *val);
bool hv_synic_write(struct hv_synic *s, uint32_t msr, uint64_t val);
void hv_synic_message(const struct vmu_sint_msg *m);
void hv_synic_event(const struct vmu_event *ev);

/* hv-vmbus-link.c: statuses are those of hypercalls */
int hv_link_open(Error **errp);
void hv_link_reset(void); /* returns when the host has let go of everything */
uint32_t hv_link_post(const struct vmu_post *post);
uint32_t hv_link_signal(uint32_t conn_id, uint16_t flag);
void hv_link_log(const void *text, size_t len);

/*
 * What build-qemu.sh calls from QEMU's CPU emulation; nothing happens without the device.
 * RDMSR and WRMSR: false if the register in RCX is not one of Hyper-V's.
 */
void hv_vmbus_cpuid(CPUX86State *env, uint32_t leaf, uint32_t *eax, uint32_t *ebx, uint32_t *ecx,
		    uint32_t *edx);
bool hv_vmbus_rdmsr(CPUX86State *env);
bool hv_vmbus_wrmsr(CPUX86State *env, uint64_t val);

#endif /* HV_VMBUS_USER_H */
