#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Open vSwitch with DPDK in DIRECTORY (default build/ovs): Debian's packages, unpacked and not
# installed, because the installed ones start a switch.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
out=${1:-$top/build/ovs}

if [ -x "$out/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk" ]; then
	echo "ovs: $out has it"
	exit 0
fi
echo "ovs: unpacking Debian's Open vSwitch into $out"
mkdir -p "$(dirname "$out")"
work=$(mktemp -d "$out.XXXXXX")
trap 'rm -rf "$work"' EXIT
(cd "$work" && apt-get -q -o APT::Sandbox::User=root download openvswitch-common \
	openvswitch-switch openvswitch-switch-dpdk) > "$work/log" 2>&1 ||
	{ cat "$work/log" >&2; echo "ovs: apt-get update, and again" >&2; exit 1; }
for deb in "$work"/*.deb; do
	dpkg-deb -x "$deb" "$work/root"
done
rm -rf "$out"
mv "$work/root" "$out"
