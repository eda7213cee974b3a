#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Build QEMU for x86-64 guests (TCG only, few devices) with the hv-vmbus-user device; print the
# path of the program. About 3 minutes on 2 cores; the result is kept outside the source tree.
#
#   HV_GUEST_CACHE   where to keep it (default: ~/.cache/hvnetvsc)
#
# QEMU's code is not part of this project: Debian's source package is fetched, five lines are
# inserted that call our device from the CPU emulation, and one word is replaced.
set -eu
cd "$(dirname "$0")"
here=$(pwd)
cache=${HV_GUEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/hvnetvsc}
mkdir -p "$cache"
exec 9> "$cache/qemu.lock"
flock 9

die() {
	echo "build-qemu: $*" >&2
	exit 1
}

# The binary's version without the number of its rebuild is the source's.
version=$(apt-cache policy qemu-system-x86 | sed -n 's/^  Candidate: //p' | sed 's/+b[0-9]*$//')
[ -n "$version" ] || die "apt knows no qemu-system-x86: run apt-get update"
dir=$cache/qemu-$({ cat build-qemu.sh; echo "$version"; } | sha256sum | cut -c 1-12)
tree=$dir/src
log=$dir/build.log

# Insert a line before the first one that matches a pattern, from the start pattern on.
insert() {
	file=$tree/$1 text=$2 at=$3 from=${4:-.}
	awk -v text="$text" -v at="$at" -v from="$from" '
		$0 ~ from { started = 1 }
		started && !done && $0 ~ at { print text; done = 1 }
		{ print }' "$file" > "$file.new"
	cmp -s "$file" "$file.new" && die "$file: no line matches $at"
	mv "$file.new" "$file"
}

# Replace a text that stands there once.
replace() {
	file=$tree/$1
	[ "$(grep -cF "$2" "$file")" = 1 ] || die "$file: not once: $2"
	awk -v from="$2" -v to="$3" '{
		i = index($0, from)
		if (i) $0 = substr($0, 1, i - 1) to substr($0, i + length(from))
		print }' "$file" > "$file.new"
	mv "$file.new" "$file"
}

hook() {
	msr=target/i386/tcg/sysemu/misc_helper.c
	cpuid=target/i386/tcg/misc_helper.c
	header='#include "hw/i386/hv-vmbus-user.h"'
	device="'hv-vmbus-cpu.c', 'hv-vmbus-synic.c', 'hv-vmbus-link.c'"

	insert $cpuid "$header" '^#include "exec/helper-proto.h"'
	insert $cpuid '    hv_vmbus_cpuid(env, env->regs[R_EAX], &eax, &ebx, &ecx, &edx);' \
		'env->regs.R_EAX. = eax;' '^void helper_cpuid'
	insert $msr "$header" '^#include "exec/helper-proto.h"'
	insert $msr '    if (hv_vmbus_rdmsr(env)) { return; }' 'switch .*R_ECX' '^void helper_rdmsr'
	insert $msr '    if (hv_vmbus_wrmsr(env, val)) { return; }' 'switch .*R_ECX' \
		'^void helper_wrmsr'
	insert hw/i386/meson.build "i386_ss.add(files($device))" "^subdir"
	# With one thread for all processors QEMU leaves barriers out and makes no locked instruction
	# atomic. But the host runs too, and has the same memory: interrupts would get lost.
	replace accel/tcg/tcg-accel-ops-rr.c 'tcg_cpu_init_cflags(cpu, false)' \
		'tcg_cpu_init_cflags(cpu, true)'
}

configure() {
	cat > "$tree/configs/devices/x86_64-softmmu/hvguest.mak" <<-END
	CONFIG_I440FX=y
	CONFIG_VMXNET3_PCI=y
	CONFIG_VIRTIO_PCI=y
	CONFIG_VIRTIO_NET=y
	END
	mkdir -p "$tree/build"
	cd "$tree/build"
	../configure --target-list=x86_64-softmmu --without-default-features \
		--without-default-devices --with-devices-x86_64=hvguest --enable-system \
		--enable-tcg --enable-plugins --disable-kvm --disable-werror --disable-docs \
		--disable-tools
}

# Only what differs is written: the build then does only what is needed.
install_device() {
	for f in qemu/*.c; do
		update "$f" "$tree/hw/i386"
	done
	for f in qemu/*.h ../../lib/hvwire/*_user.h ../../lib/hvwire/vmbus_wire.h \
		../../lib/hvwire/hvwire.h; do
		update "$f" "$tree/include/hw/i386"
	done
}

update() {
	cmp -s "$1" "$2/$(basename "$1")" || cp "$1" "$2"
}

if [ ! -f "$dir/configured" ]; then
	rm -rf "$dir"
	mkdir -p "$dir"
	"$here/../../scripts/debian-source.sh" qemu "$version" "$dir"
	hook
	install_device
	(configure) > "$log" 2>&1 || { tail -n 40 "$log" >&2; die "configure failed: $log"; }
	rm -f "$dir"/qemu_*
	touch "$dir/configured"
fi
install_device
# The ROM that loads -kernel is built with plain make; QEMU's configure wants a 32-bit libc for it.
rom=$tree/build/pc-bios/optionrom
printf '%s\n' "TOPSRC_DIR=$tree" CC=cc LD=ld OBJCOPY=objcopy PYTHON=python3 > "$rom/config.mak"
{ ninja -C "$tree/build" qemu-system-x86_64 && make -C "$rom" linuxboot_dma.bin kvmvapic.bin; } \
	> "$log" 2>&1 || { grep -E -A 8 'error:|FAILED|\*\*\*' "$log" >&2; die "build failed: $log"; }
echo "$tree/build/qemu-system-x86_64"
