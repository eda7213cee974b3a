#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Forward mixed traffic through hv-host, the driver and testpmd-hv, over to a VF and back twice,
# once by surprise, and account for every packet.
# Settings: DEMO_SECONDS (20), DEMO_RATE in packets a second (300000), DEMO_QUEUES (1).
set -u
cd "$(dirname "$0")/.." || exit 1
build=${HV_BUILD:-build/gcc}
seconds=${DEMO_SECONDS:-20}
rate=${DEMO_RATE:-300000}
queues=${DEMO_QUEUES:-1}
dir=$(mktemp -d) || exit 1
host=
app=

finish() {
	[ -z "$app" ] || kill "$app" 2>/dev/null
	[ -z "$host" ] || kill "$host" 2>/dev/null
	wait
	rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT TERM

fail() {
	sed 's/^/  hv-host: /' "$dir/host.err" >&2
	[ ! -f "$dir/app.out" ] || tail -n 30 "$dir/app.out" | sed 's/^/  testpmd-hv: /' >&2
	echo "demo: FAILED: $*" >&2
	exit 1
}

wait_for() { # seconds, command...
	tries=$(($1 * 10))
	shift
	until "$@" 2>/dev/null; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] && kill -0 "$host" 2>/dev/null || return 1
		[ -z "$app" ] || kill -0 "$app" 2>/dev/null || return 1
		sleep 0.1
	done
}

port() { # a figure of the generator
	tools/hv-hostctl "$dir/hv.sock.ctl" -n 0 -k "port.$1" stats
}

all_back() {
	[ "$(port "done")" = true ] && [ "$(port outstanding)" = 0 ]
}

# TCP and UDP, IPv4 and IPv6, 256 flows, frames of 60, 590 and 1514 bytes as 7 : 4 : 1. Each has
# a sequence number and checksums, which hv-host verifies when it comes back.
mix="rate=$rate,count=$((rate * seconds)),imix,proto=mix,ipv6=25,flows=256"
leg="dpdk:net_memif0,role=server,socket-abstract=no,socket=$dir/vf.sock"
cpu=$(taskset -cp $$ | sed 's/.*: *//; s/[-,].*//') # the application mostly sleeps on this one
touch "$dir/host.err"
"$build/host/hv-host" --socket "$dir/hv.sock" --json "$dir/host.json" --cpu "$cpu" \
	--nic "queues=$queues,vf-leg=($leg),port=gen:$mix,start=command,expect=return" \
	>"$dir/host.out" 2>"$dir/host.err" &
host=$!
wait_for 10 test -S "$dir/hv.sock.ctl" || fail "hv-host did not start"

# A VF in software that can vanish: net_hvtestvf in front of a memif, whose other end hv-host has.
vf="net_hvtestvf0,mac=00:15:5d:00:00:01,ctl=$dir/vf.ctl,inner=net_memif0+role:client"
vf="$vf+socket-abstract:no+socket:$dir/vf.sock"
HV_VMBUS_SOCKET=$dir/hv.sock "$build/app/testpmd-hv/testpmd-hv" --no-huge -m 512 --no-shconf \
	--no-pci --no-telemetry -d "$build/test/vf/librte_net_hvtestvf.so" \
	-a "hv_vmbus:68766e00-6574-4e76-8000-00155d000001,vf=$vf" \
	-- --forward-mode macswap --rxq "$queues" --txq "$queues" \
	--tx-retries 100000 --json "$dir/app.json" >"$dir/app.out" 2>&1 &
app=$!
wait_for 20 grep -q '^Forwarding' "$dir/app.out" || fail "testpmd-hv did not start forwarding"

echo "hv-host sends $rate packets/s for $seconds s, testpmd-hv swaps their addresses:"
tools/hv-hostctl "$dir/hv.sock.ctl" -n 0 start >/dev/null || fail "hv-host does not answer"
/usr/bin/python3 scripts/demo_failover.py "$dir/hv.sock.ctl" "$dir/vf.ctl" "$dir/failover.json" ||
	fail "the data path did not change as it must"
# Lost packets never come back: then this ends by its time limit, and the table says so.
wait_for $((seconds * 2 + 10)) all_back
kill -INT "$app" 2>/dev/null
wait "$app"
app_status=$?
app=
kill -TERM "$host" 2>/dev/null
wait "$host"
host_status=$?
host=
/usr/bin/python3 scripts/demo_report.py "$dir/host.json" "$dir/app.json" "$dir/failover.json" \
	"$rate" $((2 * 1024 * queues)) # memif's rings: 1024 packets each way
case $?,$app_status,$host_status in
0,0,0 | 0,0,4) echo "demo: nothing was lost, but what the VF held when it vanished" ;;
*) fail "not every packet came back as it must, or a program failed: testpmd-hv ended with" \
	"status $app_status, hv-host with $host_status" ;;
esac
