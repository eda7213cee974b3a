#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""
Instructions that a guest executes for each frame: Linux's hv_netvsc, DPDK's net_netvsc and our
driver, on one processor, with the same frames. QEMU counts them (plugin/count.c), so the figures
do not depend on what else this machine does, as long as the guest has work. Therefore guest and
host take turns on one processor of this machine: the host, much faster than an emulated guest,
fills the ring, or empties it, in its turn. The share of polls that found nothing to do is shown.
"""
import argparse
import os
import pathlib
import re
import struct
import subprocess
import tempfile
import time

import guest as g
import image
import pmd

SIZE = 64      # bytes of a frame without FCS
WARM = 5       # s until a flow is steady
RX = f"port=gen:size={SIZE},flows=1,start=command,verify=no"
TX = "port=sink:verify=no"
PKTGEN = f"""add_device eth0 > kpktgend_0
count 0 > eth0
clone_skb 0 > eth0
pkt_size {SIZE} > eth0
delay 0 > eth0
dst 198.18.0.1 > eth0
dst_mac 00:15:5d:00:00:02 > eth0"""


def additions(root):
    """The drivers, and an XDP program that drops everything."""
    image.add_dpdk(root, g.BUILD)
    subprocess.run(["clang", "-O2", "-target", "bpf", "-c", "-x", "c", "-", "-o",
                    root / "drop.o"], check=True, text=True,
                   input="__attribute__((section(\"xdp\"))) int drop(void) { return 1; }\n")


def count_of(path):
    """Instructions in user space, in the kernel."""
    return struct.unpack("<2Q", path.read_bytes())


def up(guest):
    guest.run("modprobe hv_netvsc")
    guest.until("the interface", "ip link set eth0 up && ip link show eth0 | grep -q LOWER_UP")


def run_testpmd(mode, bind, **more):
    def begin(guest):
        pmd.prepare(guest, bind=bind)
        if not bind:
            guest.run("modprobe af_packet; ip link set eth0 up promisc on")
        app = pmd.Console(guest, mode, cpus=1, more="--record-burst-stats --no-flush-rx", **more)
        app.do("start")
        return app
    return begin


def stock(mode):
    return run_testpmd(mode, True, stock=True)


def af_packet(mode):
    return run_testpmd(mode, False, eal="--vdev=net_af_packet0,iface=eth0,qpairs=1")


def xdp(guest):
    up(guest)
    guest.run("ip link set dev eth0 promisc on xdp obj /drop.o sec xdp")


def stack(guest):
    up(guest)


def pktgen(guest):
    up(guest)
    guest.run("modprobe pktgen")
    for line in PKTGEN.splitlines():
        what, to = line.split(" > ")
        guest.run(f"echo '{what}' > /proc/net/pktgen/{to}")
    guest.start("echo start > /proc/net/pktgen/pgctrl")


ROWS = {
    "rx": [("hv_netvsc, dropped by XDP", xdp),
           ("hv_netvsc, no receiver", stack),
           ("net_netvsc, testpmd rxonly", stock("rxonly")),
           ("net_hvnetvsc, testpmd rxonly", run_testpmd("rxonly", True))],
    "tx": [("hv_netvsc, pktgen", pktgen),
           ("hv_netvsc, AF_PACKET, testpmd txonly", af_packet("txonly")),
           ("net_netvsc, testpmd txonly", stock("txonly")),
           ("net_hvnetvsc, testpmd txonly", run_testpmd("txonly", True))],
}


def pin(*processes):
    """All threads on one processor."""
    cpu = {min(os.sched_getaffinity(0))}
    for p in processes:
        for thread in pathlib.Path(f"/proc/{p.pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), cpu)


def frames_of(host, way):
    nic = host.stats()["nics"][0]
    return sum(q[f"{way}_frames"] for q in nic["queues"])


def idle_share(app):
    """Of testpmd's polls of a queue, how many per cent found nothing."""
    found = re.search(r"[RT]X-bursts : \d+ \[(.*)\]", app.do("show fwd stats all"))
    none = re.search(r"(\d+)% of 0 pkts", found[1]) if found else None
    return int(none[1]) if none else 0


def measure(tmp, kernel, initrd, way, begin, seconds):
    """(instructions in user space and in the kernel for each frame, frames, idle polls or None)"""
    counts = tmp / "count"
    nic = RX if way == "rx" else TX
    with g.Host(tmp, "--wait", "poll", "--nic", nic, verbose=False) as host, \
            g.Guest(tmp, host, kernel.series, memory=1024, initrd=initrd,
                    qemu=["-plugin", f"{image.plugin()},counts={counts}"]) as guest:
        app = begin(guest)
        pin(host.proc, guest.proc)
        if way == "rx":
            host.command("start", nic=0)
        time.sleep(WARM)
        if app is not None:
            app.do("clear fwd stats all")
        before, frames = count_of(counts), frames_of(host, way)
        time.sleep(seconds)
        after, frames = count_of(counts), frames_of(host, way) - frames
        idle = idle_share(app) if app is not None else None
        guest.kill()
    return [(b - a) / max(frames, 1) for a, b in zip(before, after)], frames, idle


def measure_all(tmp, series, only, seconds):
    kernel = image.kernel(series)
    initrd = image.build(kernel, tmp / "initrd", extra=additions)
    for way, rows in ROWS.items():
        for name, begin in rows:
            if only not in f"{way} {name}":
                continue
            with tempfile.TemporaryDirectory(dir=tmp) as one:
                each, frames, idle = measure(pathlib.Path(one), kernel, initrd, way, begin,
                                             seconds)
            print(f"{series:6} {way:2} {name:38} {each[0]:7.0f} {each[1]:7.0f} "
                  f"{sum(each):7.0f} {frames:9} {'' if idle is None else f'{idle} %'}",
                  flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--kernel", choices=image.SERIES, action="append")
    p.add_argument("--seconds", type=float, default=10)
    p.add_argument("--only", default="", help="rows whose name has this in it")
    args = p.parse_args()
    print(f"{'kernel':6} {'':2} {'driver and application':38} {'user':>7} {'kernel':>7} "
          f"{'sum':>7} {'frames':>9} idle polls", flush=True)
    for series in args.kernel or image.SERIES:
        with tempfile.TemporaryDirectory() as tmp:
            measure_all(pathlib.Path(tmp), series, args.only, args.seconds)


if __name__ == "__main__":
    main()
