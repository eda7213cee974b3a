/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The hypervisor's face: CPUID leaves, MSRs, the hypercalls HvPostMessage and HvSignalEvent, and
 * the ACPI node that makes a guest look for VMBus. Numbers: TLFS; Linux
 * arch/x86/include/asm/hyperv-tlfs.h.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "cpu.h"
#include "exec/address-spaces.h"
#include "hw/acpi/acpi_aml_interface.h"
#include "hw/i386/x86.h"
#include "hw/isa/isa.h"
#include "hw/qdev-properties.h"
#include "sysemu/cpu-timers.h"
#include "sysemu/reset.h"
#include "hw/i386/hv-vmbus-user.h"

#define TYPE_HV_VMBUS_USER "hv-vmbus-user"
OBJECT_DECLARE_SIMPLE_TYPE(HvVmbusUser, HV_VMBUS_USER)

struct HvVmbusUser {
	ISADevice parent;
	MemoryRegion port;
	char *path;
};

#define MSR_GUEST_OS_ID	   0x40000000
#define MSR_HYPERCALL	   0x40000001
#define MSR_VP_INDEX	   0x40000002
#define MSR_TIME_REF_COUNT 0x40000020
#define MSR_REFERENCE_TSC  0x40000021
#define MSR_TSC_FREQUENCY  0x40000022
#define MSR_APIC_FREQUENCY 0x40000023
#define MSR_CRASH_P0	   0x40000100
#define MSR_CRASH_CTL	   0x40000105
#define MSR_TSC_INVARIANT  0x40000118
#define MSR_FIRST	   0x40000000
#define MSR_LAST	   0x400001FF
#define N_CRASH		   5

#define CRASH_NOTIFY  (1ull << 63)
#define CRASH_MESSAGE (1ull << 62)
#define ENABLE	      1ull
#define PAGE	      (~0xFFFull)

#define HV_POST_MESSAGE	  0x5C
#define HV_SIGNAL_EVENT	  0x5D
#define HV_FAST		  (1ull << 16)
#define HV_STATUS_NO_CALL 2

#define HYPERCALL_PORT 0xE4
#define APIC_HZ	       1000000000ull  /* of QEMU's APIC timer */
#define MMIO_BASE      (512ull << 30) /* for _CRS: far from RAM and PCI */
#define MMIO_SIZE      (256ull << 20)

unsigned int hv_n_vps;
static bool present;
static uint64_t tsc_hz;
static struct {
	uint64_t guest_os_id;
	uint64_t hypercall;
	uint64_t reference_tsc;
	uint64_t tsc_invariant;
	uint64_t crash[N_CRASH];
} msr;

void *
hv_guest_ram(uint64_t gpa, size_t len)
{
	X86MachineState *x86 = X86_MACHINE(current_machine);
	uint8_t *ram = memory_region_get_ram_ptr(current_machine->ram);

	if (gpa / 4096 != (gpa + len - 1) / 4096)
		return NULL;
	if (gpa < x86->below_4g_mem_size)
		return ram + gpa;
	if (gpa >= x86->above_4g_mem_start &&
	    gpa - x86->above_4g_mem_start < x86->above_4g_mem_size)
		return ram + x86->below_4g_mem_size + (gpa - x86->above_4g_mem_start);
	return NULL;
}

void
hv_vmbus_cpuid(CPUX86State *env, uint32_t leaf, uint32_t *eax, uint32_t *ebx, uint32_t *ecx,
	       uint32_t *edx)
{
	/* Features: reference counter, SynIC, hypercall, VP index, reference TSC, frequencies,
	 * invariant TSC; post and signal; frequency and crash registers. Hints: relaxed timing,
	 * no auto-EOI, which QEMU's APIC does not have. */
	static const uint32_t leaves[][4] = {
		{ 0x40000006, 0x7263694D, 0x666F736F, 0x76482074 }, /* "Microsoft Hv" */
		{ 0x31237648, 0, 0, 0 },			    /* "Hv#1" */
		{ 20348, 10u << 16, 0, 0 },
		{ 0x8A66, 0x30, 0, 0x500 },
		{ 0x220, 0xFFFFFFFF, 0, 0 },
		{ HV_VPS_MAX, HV_VPS_MAX, 0, 0 },
		{ 0, 0, 0, 0 },
	};

	if (!present || leaf < 0x40000000 || leaf >= 0x40000000 + ARRAY_SIZE(leaves))
		return;
	leaf -= 0x40000000;
	*eax = leaves[leaf][0];
	*ebx = leaves[leaf][1];
	*ecx = leaves[leaf][2];
	*edx = leaves[leaf][3];
}

static uint64_t
reference_time(void)
{
	return qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL) / 100;
}

static void
set_reference_tsc(void)
{
	uint64_t scale = ((unsigned __int128)10000000 << 64) / tsc_hz;
	int64_t offset =
		reference_time() - (int64_t)(((unsigned __int128)cpu_get_ticks() * scale) >> 64);
	uint8_t *page = hv_guest_ram(msr.reference_tsc & PAGE, 4096);
	uint32_t sequence = 1;

	if ((msr.reference_tsc & ENABLE) == 0 || page == NULL)
		return;
	memset(page, 0, 4096);
	memcpy(page + 8, &scale, sizeof(scale));
	memcpy(page + 16, &offset, sizeof(offset));
	__atomic_store_n((uint32_t *)page, sequence, __ATOMIC_RELEASE);
}

static void
set_hypercall_page(void)
{
	static const uint8_t code[] = {
		0xF3, 0x0F,	      0x1E, 0xFA, /* endbr64 */
		0xE6, HYPERCALL_PORT, 0xC3,	  /* out %al, $port; ret */
	};

	if ((msr.hypercall & ENABLE) != 0 && msr.guest_os_id != 0)
		address_space_write(&address_space_memory, msr.hypercall & PAGE,
				    MEMTXATTRS_UNSPECIFIED, code, sizeof(code));
}

/* The guest says why it dies: the host's log gets it. */
static void
report_crash(uint64_t ctl)
{
	char text[256];
	uint8_t *page;
	size_t len = MIN(msr.crash[4], 4096 - (msr.crash[3] & ~PAGE));

	if ((ctl & CRASH_NOTIFY) == 0)
		return;
	len = MIN(len, 400);
	page = hv_guest_ram(msr.crash[3], len ? len : 1);
	if ((ctl & CRASH_MESSAGE) != 0 && page != NULL && len > 0) {
		hv_link_log(page, len);
		return;
	}
	snprintf(text, sizeof(text),
		 "crash %#" PRIx64 " %#" PRIx64 " %#" PRIx64 " %#" PRIx64 " %#" PRIx64,
		 msr.crash[0], msr.crash[1], msr.crash[2], msr.crash[3], msr.crash[4]);
	hv_link_log(text, strlen(text));
}

static bool
read_msr(CPUState *cpu, uint32_t index, uint64_t *val)
{
	switch (index) {
	case MSR_GUEST_OS_ID:
		*val = msr.guest_os_id;
		break;
	case MSR_HYPERCALL:
		*val = msr.hypercall;
		break;
	case MSR_VP_INDEX:
		*val = cpu->cpu_index;
		break;
	case MSR_TIME_REF_COUNT:
		*val = reference_time();
		break;
	case MSR_REFERENCE_TSC:
		*val = msr.reference_tsc;
		break;
	case MSR_TSC_FREQUENCY:
		*val = tsc_hz;
		break;
	case MSR_APIC_FREQUENCY:
		*val = APIC_HZ;
		break;
	case MSR_CRASH_P0 ... MSR_CRASH_P0 + N_CRASH - 1:
		*val = msr.crash[index - MSR_CRASH_P0];
		break;
	case MSR_CRASH_CTL:
		*val = CRASH_NOTIFY | CRASH_MESSAGE;
		break;
	case MSR_TSC_INVARIANT:
		*val = msr.tsc_invariant;
		break;
	default:
		return hv_synic_read(&hv_synic[cpu->cpu_index], index, val);
	}
	return true;
}

static bool
write_msr(CPUState *cpu, uint32_t index, uint64_t val)
{
	switch (index) {
	case MSR_GUEST_OS_ID:
		msr.guest_os_id = val;
		break;
	case MSR_HYPERCALL:
		msr.hypercall = val;
		set_hypercall_page();
		break;
	case MSR_REFERENCE_TSC:
		msr.reference_tsc = val;
		set_reference_tsc();
		break;
	case MSR_CRASH_P0 ... MSR_CRASH_P0 + N_CRASH - 1:
		msr.crash[index - MSR_CRASH_P0] = val;
		break;
	case MSR_CRASH_CTL:
		report_crash(val);
		break;
	case MSR_TSC_INVARIANT:
		msr.tsc_invariant = val;
		break;
	default:
		return hv_synic_write(&hv_synic[cpu->cpu_index], index, val);
	}
	return true;
}

static bool
access_msr(CPUX86State *env, bool write, uint64_t *val)
{
	uint32_t index = env->regs[R_ECX];
	bool lock = !qemu_mutex_iothread_locked(), mine;

	if (!present || index < MSR_FIRST || index > MSR_LAST)
		return false;
	if (lock)
		qemu_mutex_lock_iothread();
	mine = write ? write_msr(env_cpu(env), index, *val) : read_msr(env_cpu(env), index, val);
	if (lock)
		qemu_mutex_unlock_iothread();
	return mine;
}

bool
hv_vmbus_rdmsr(CPUX86State *env)
{
	uint64_t val = 0;

	if (!access_msr(env, false, &val))
		return false;
	env->regs[R_EAX] = (uint32_t)val;
	env->regs[R_EDX] = val >> 32;
	return true;
}

bool
hv_vmbus_wrmsr(CPUX86State *env, uint64_t val)
{
	return access_msr(env, true, &val);
}

static uint64_t
post_message(CPUState *cpu, uint64_t gpa)
{
	struct vmu_post post = { .vp = cpu->cpu_index };
	uint32_t in[4];
	const uint8_t *at = gpa % 8 == 0 ? hv_guest_ram(gpa, sizeof(in) + VMBUS_MSG_MAX) : NULL;

	if (at == NULL)
		return HV_STATUS_INVALID_PARAMETER;
	memcpy(in, at, sizeof(in)); /* connection, 0, type, size */
	if (in[3] > VMBUS_MSG_MAX)
		return HV_STATUS_INVALID_PARAMETER;
	post.conn_id = in[0];
	post.msg_type = in[2];
	post.size = in[3];
	memcpy(post.payload, at + sizeof(in), post.size);
	return hv_link_post(&post);
}

static uint64_t
signal_event(bool fast, uint64_t input)
{
	if (!fast) {
		const void *at = hv_guest_ram(input, sizeof(input));

		if (at == NULL)
			return HV_STATUS_INVALID_PARAMETER;
		memcpy(&input, at, sizeof(input));
	}
	return hv_link_signal(input, input >> 32);
}

/* The hypercall page's `out`: control in RCX, input in RDX, result into RAX. */
static void
hypercall(void *opaque, hwaddr addr, uint64_t data, unsigned int size)
{
	CPUX86State *env = &X86_CPU(current_cpu)->env;
	uint64_t control = env->regs[R_ECX], input = env->regs[R_EDX];

	switch (control & 0xFFFF) {
	case HV_POST_MESSAGE:
		env->regs[R_EAX] = post_message(current_cpu, input);
		break;
	case HV_SIGNAL_EVENT:
		env->regs[R_EAX] = signal_event((control & HV_FAST) != 0, input);
		break;
	default:
		env->regs[R_EAX] = HV_STATUS_NO_CALL;
		break;
	}
}

static uint64_t
port_read(void *opaque, hwaddr addr, unsigned int size)
{
	return ~0ull;
}

static const MemoryRegionOps port_ops = {
	.read = port_read,
	.write = hypercall,
	.impl = { .min_access_size = 1, .max_access_size = 1 },
};

static void
reset(void *opaque)
{
	/* The host lets go of the memory first: the guest's next life uses it for other things. */
	hv_link_reset();
	hv_synic_reset();
	memset(&msr, 0, sizeof(msr));
}

static void
measure_tsc(void)
{
	int64_t ticks = cpu_get_host_ticks(), ns = get_clock();

	g_usleep(50000);
	ticks = cpu_get_host_ticks() - ticks;
	ns = get_clock() - ns;
	tsc_hz = (unsigned __int128)ticks * 1000000000 / ns;
}

static void
realize(DeviceState *dev, Error **errp)
{
	HvVmbusUser *s = HV_VMBUS_USER(dev);
	CPUState *cpu;

	if (present || s->path == NULL) {
		error_setg(errp, present ? "only one hv-vmbus-user device is possible"
					 : "hv-vmbus-user needs path=SOCKET of hv-host");
		return;
	}
	CPU_FOREACH(cpu)
	{
		if (cpu->cpu_index >= HV_VPS_MAX) {
			error_setg(errp, "hv-vmbus-user: at most %u processors", HV_VPS_MAX);
			return;
		}
		hv_synic[cpu->cpu_index].apic_id = X86_CPU(cpu)->apic_id;
		hv_n_vps = MAX(hv_n_vps, cpu->cpu_index + 1);
	}
	hv_synic_reset();
	hv_link.path = s->path;
	if (hv_link_open(errp) != 0)
		return;
	measure_tsc();
	memory_region_init_io(&s->port, OBJECT(s), &port_ops, s, "hv-hypercall", 1);
	isa_register_ioport(ISA_DEVICE(dev), &s->port, HYPERCALL_PORT);
	qemu_register_reset(reset, s);
	present = true;
}

/* Linux's bus driver refuses a node without _CRS; the window is for devices with MMIO. */
static void
build_aml(AcpiDevAmlIf *adev, Aml *scope)
{
	Aml *dev = aml_device("VMB8"), *crs = aml_resource_template();

	aml_append(crs, aml_qword_memory(AML_POS_DECODE, AML_MIN_FIXED, AML_MAX_FIXED,
					 AML_CACHEABLE, AML_READ_WRITE, 0, MMIO_BASE,
					 MMIO_BASE + MMIO_SIZE - 1, 0, MMIO_SIZE));
	aml_append(dev, aml_name_decl("_HID", aml_string("VMBus")));
	aml_append(dev, aml_name_decl("_UID", aml_int(0)));
	aml_append(dev, aml_name_decl("_STA", aml_int(0xF)));
	aml_append(dev, aml_name_decl("_CRS", crs));
	aml_append(scope, dev);
}

static Property properties[] = {
	DEFINE_PROP_STRING("path", HvVmbusUser, path),
	DEFINE_PROP_END_OF_LIST(),
};

static void
class_init(ObjectClass *class, void *data)
{
	DeviceClass *dc = DEVICE_CLASS(class);

	dc->realize = realize;
	dc->desc = "Hyper-V partition served by hv-host";
	dc->hotpluggable = false;
	device_class_set_props(dc, properties);
	set_bit(DEVICE_CATEGORY_MISC, dc->categories);
	ACPI_DEV_AML_IF_CLASS(class)->build_dev_aml = build_aml;
}

static const TypeInfo type_info = {
	.name = TYPE_HV_VMBUS_USER,
	.parent = TYPE_ISA_DEVICE,
	.instance_size = sizeof(HvVmbusUser),
	.class_init = class_init,
	.interfaces = (InterfaceInfo[]){ { TYPE_ACPI_DEV_AML_IF }, {} },
};

static void
register_types(void)
{
	type_register_static(&type_info);
}

type_init(register_types)
