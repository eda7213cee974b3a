#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Install what building, testing and the demonstration need: Debian packages by name; and below
# build/ the DPDK driver SDK headers and Open vSwitch. Says what it does; does nothing the second
# time.
#
#   setup.sh [LIST...]   packages of scripts/packages.txt and of further lists
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)

packages=$(sed 's/#.*//' "$top/scripts/packages.txt" "$@")
missing=
for p in $packages; do
	state=$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null || true)
	[ "$state" = installed ] || missing="$missing $p"
done

if [ -n "$missing" ]; then
	echo "setup: installing$missing"
	sudo=
	if [ "$(id -u)" -ne 0 ]; then
		command -v sudo >/dev/null || {
			echo "setup: not root and no sudo: as root, apt-get install$missing" >&2
			exit 1
		}
		sudo=sudo
	fi
	apt="$sudo env DEBIAN_FRONTEND=noninteractive apt-get -q"
	log=$(mktemp)
	# An outdated third-party list may fail to update; what counts is that the install works.
	$apt update > "$log" 2>&1 || true
	# shellcheck disable=SC2086 # a list of names
	if ! $apt install -y --no-install-recommends $missing >> "$log" 2>&1; then
		tail -n 40 "$log" >&2
		echo "setup: apt-get failed; the full log is in $log" >&2
		exit 1
	fi
	rm -f "$log"
else
	echo "setup: all packages are installed"
fi

"$top/scripts/sdk-headers.sh"
# A test's: everything else works without.
"$top/scripts/ovs.sh" || echo "setup: no Open vSwitch: test_ovs.py is going to fail" >&2
