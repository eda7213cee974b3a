#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Provide DPDK's driver SDK headers, and those of its examples that are run here as they are, in
# DIRECTORY (default build/sdk).
#
# Debian's packages have neither. Where the installed DPDK has the headers
# (-Denable_driver_sdk=true) nothing is done, it has the examples too; else they are taken from the
# Debian source package of exactly the installed version. They are never committed.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
out=${1:-$top/build/sdk}
headers='lib/ethdev/ethdev_driver.h lib/ethdev/ethdev_vdev.h lib/eal/include/dev_driver.h
lib/eal/include/bus_driver.h drivers/bus/vdev/bus_vdev_driver.h drivers/bus/pci/bus_pci_driver.h'

examples='common l3fwd l3fwd-power multi_process/client_server_mp multi_process/symmetric_mp'

incdir=$(pkg-config --variable=includedir libdpdk) || {
	echo "sdk-headers: DPDK is not installed: run make setup" >&2
	exit 1
}
if [ -f "$incdir/ethdev_driver.h" ] || [ -f "$incdir/dpdk/ethdev_driver.h" ]; then
	echo "sdk-headers: the installed DPDK has the driver SDK headers"
	exit 0
fi
version=$(dpkg-query -W -f '${source:Version}' libdpdk-dev 2>/dev/null) || {
	echo "sdk-headers: DPDK in $incdir lacks ethdev_driver.h and is not Debian's package:" \
		"build DPDK with -Denable_driver_sdk=true" >&2
	exit 1
}
if [ "$(cat "$out/version" 2>/dev/null)" = "$version $examples" ]; then
	echo "sdk-headers: $out has them for $version"
	exit 0
fi
echo "sdk-headers: extracting from the source package dpdk $version into $out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$top/scripts/debian-source.sh" dpdk "$version" "$work"
mkdir -p "$out"
for h in $headers; do
	cp "$work/src/$h" "$out/"
done
rm -rf "$out/examples"
mkdir -p "$out/examples"
for e in $examples; do
	(cd "$work/src/examples" && cp -r --parents "$e" "$out/examples")
done
echo "$version $examples" > "$out/version"
