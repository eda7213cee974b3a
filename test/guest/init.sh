#!/bin/busybox sh
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=dash
# The guest's first process: a shell on the second serial port; the first has the kernel's log.
/bin/busybox --install -s /bin
export PATH=/usr/sbin:/usr/bin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm /run/netns /dev/hugepages
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
# busybox prefers its own, which knows no name spaces
ip() {
	/usr/sbin/ip "$@"
}
ip link set lo up
echo 1 > /proc/sys/kernel/panic_on_oops
# A path of which no packet leaves by itself: what is counted is what a test sent.
echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6
case $(cat /proc/cmdline) in
*guest.shell*)
	while true; do
		setsid sh -c 'exec sh < /dev/ttyS0 > /dev/ttyS0 2>&1'
	done
	;;
esac
stty -F /dev/ttyS1 -echo raw
exec < /dev/ttyS1 > /dev/ttyS1 2>&1
echo "guest ready"
# In a shell of its own: the end of a child makes busybox's read forget the line's first half.
while line=$(IFS= read -r line && printf '%s' "$line"); do
	eval "$line"
done
