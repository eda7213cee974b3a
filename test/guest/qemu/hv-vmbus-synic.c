/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SynIC as the TLFS describes it, without timers and without auto-EOI. The message and event
 * pages are ordinary guest memory that the guest names in SIMP and SIEFP.
 */
#include "qemu/osdep.h"
#include "cpu.h"
#include "exec/address-spaces.h"
#include "hw/i386/hv-vmbus-user.h"

#define MSR_SCONTROL 0x40000080
#define MSR_SVERSION 0x40000081
#define MSR_SIEFP    0x40000082
#define MSR_SIMP     0x40000083
#define MSR_EOM	     0x40000084
#define MSR_SINT0    0x40000090

#define MSI_WINDOW  0xFEE00000u /* bits 19:12: the APIC the interrupt goes to */
#define ENABLE	    1ull
#define SINT_MASKED (1ull << 16)
#define PAGE	    (~0xFFFull)

/* Slot: type, payload size, flags, sender, payload. */
#define SLOT_TYPE    0
#define SLOT_SIZE    4
#define SLOT_FLAGS   5
#define SLOT_SENDER  8
#define SLOT_PAYLOAD 16
#define SLOT_PENDING 1

struct hv_synic hv_synic[HV_VPS_MAX];

static void
interrupt(const struct hv_synic *s, uint32_t sint)
{
	if ((s->sint[sint] & SINT_MASKED) == 0)
		address_space_stl_le(&address_space_memory, MSI_WINDOW | s->apic_id << 12,
				     s->sint[sint] & 0xFF, MEMTXATTRS_UNSPECIFIED, NULL);
}

static uint8_t *
page_of(const struct hv_synic *s, uint64_t msr)
{
	if ((s->control & ENABLE) == 0 || (msr & ENABLE) == 0)
		return NULL;
	return hv_guest_ram(msr & PAGE, 4096);
}

static void
fill(uint8_t *slot, const struct vmu_sint_msg *m, bool more)
{
	memset(slot + SLOT_SIZE, 0, SLOT_PAYLOAD - SLOT_SIZE);
	slot[SLOT_SIZE] = m->size;
	slot[SLOT_FLAGS] = more ? SLOT_PENDING : 0;
	memcpy(slot + SLOT_PAYLOAD, m->payload, m->size);
	/* The type makes the slot valid: everything else is visible before it. */
	__atomic_store_n((uint32_t *)(slot + SLOT_TYPE), m->msg_type, __ATOMIC_RELEASE);
}

/* Is there a later message for this SINT? */
static bool
more_for(const struct hv_message *msg)
{
	for (const struct hv_message *m = QSIMPLEQ_NEXT(msg, link); m; m = QSIMPLEQ_NEXT(m, link))
		if (m->m.sint == msg->m.sint)
			return true;
	return false;
}

/* Move messages into free slots, oldest first for each SINT. */
static void
deliver(struct hv_synic *s)
{
	uint8_t *page = page_of(s, s->simp);
	struct hv_message *msg, *next;
	uint32_t busy = 0;

	if (page == NULL)
		return;
	QSIMPLEQ_FOREACH_SAFE(msg, &s->queue, link, next)
	{
		uint8_t *slot = page + msg->m.sint * HV_SLOT_SIZE;
		uint32_t *type = (uint32_t *)(slot + SLOT_TYPE);

		if (busy & 1u << msg->m.sint)
			continue;
		if (__atomic_load_n(type, __ATOMIC_ACQUIRE) != 0) {
			__atomic_fetch_or(&slot[SLOT_FLAGS], SLOT_PENDING, __ATOMIC_SEQ_CST);
			/* Emptied before it could see the flag: no EOM will come. */
			if (__atomic_load_n(type, __ATOMIC_SEQ_CST) != 0) {
				busy |= 1u << msg->m.sint;
				continue;
			}
		}
		fill(slot, &msg->m, more_for(msg));
		busy |= 1u << msg->m.sint;
		interrupt(s, msg->m.sint);
		QSIMPLEQ_REMOVE(&s->queue, msg, hv_message, link);
		g_free(msg);
	}
}

void
hv_synic_message(const struct vmu_sint_msg *m)
{
	struct hv_message *msg;
	struct hv_synic *s = &hv_synic[m->vp < hv_n_vps ? m->vp : 0];

	if (m->sint >= HV_SINTS || m->size > sizeof(m->payload) || m->msg_type == 0)
		return;
	msg = g_new(struct hv_message, 1);
	msg->m = *m;
	QSIMPLEQ_INSERT_TAIL(&s->queue, msg, link);
	deliver(s);
}

void
hv_synic_event(const struct vmu_event *ev)
{
	struct hv_synic *s = &hv_synic[ev->vp < hv_n_vps ? ev->vp : 0];
	uint8_t *page = page_of(s, s->siefp), bit = 1u << ev->flag % 8;

	if (page == NULL || ev->sint >= HV_SINTS || ev->flag >= HV_SLOT_SIZE * 8)
		return;
	page += ev->sint * HV_SLOT_SIZE + ev->flag / 8;
	/* A flag that is still set has its interrupt under way. */
	if ((__atomic_fetch_or(page, bit, __ATOMIC_SEQ_CST) & bit) == 0)
		interrupt(s, ev->sint);
}

void
hv_synic_reset(void)
{
	for (unsigned int i = 0; i < HV_VPS_MAX; i++) {
		struct hv_synic *s = &hv_synic[i];
		struct hv_message *msg;

		while ((msg = QSIMPLEQ_FIRST(&s->queue)) != NULL) {
			QSIMPLEQ_REMOVE_HEAD(&s->queue, link);
			g_free(msg);
		}
		QSIMPLEQ_INIT(&s->queue);
		s->control = s->siefp = s->simp = 0;
		for (unsigned int n = 0; n < HV_SINTS; n++)
			s->sint[n] = SINT_MASKED;
	}
}

static uint64_t *
reg(struct hv_synic *s, uint32_t msr)
{
	switch (msr) {
	case MSR_SCONTROL:
		return &s->control;
	case MSR_SIEFP:
		return &s->siefp;
	case MSR_SIMP:
		return &s->simp;
	case MSR_SINT0 ... MSR_SINT0 + HV_SINTS - 1:
		return &s->sint[msr - MSR_SINT0];
	default:
		return NULL;
	}
}

bool
hv_synic_read(struct hv_synic *s, uint32_t msr, uint64_t *val)
{
	uint64_t *r = reg(s, msr);

	if (r != NULL)
		*val = *r;
	else if (msr == MSR_SVERSION || msr == MSR_EOM)
		*val = msr == MSR_SVERSION;
	else
		return false;
	return true;
}

bool
hv_synic_write(struct hv_synic *s, uint32_t msr, uint64_t val)
{
	uint64_t *r = reg(s, msr);

	if (r != NULL)
		*r = val;
	else if (msr != MSR_EOM)
		return false;
	deliver(s);
	return true;
}
