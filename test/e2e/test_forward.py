# SPDX-License-Identifier: BSD-3-Clause
"""The main job: a capture in, through hv-host, the driver, macswap and back, byte for byte."""
import pytest

import capture
from hv import NO_HUGE, Host, Testpmd, TestpmdHv, until

PROGRAMS = pytest.mark.parametrize("program", [Testpmd, TestpmdHv])


def forward(run, tmp, frames, program, nic="", memory=NO_HUGE, queues=1, args=(), host_args=()):
    """Run a capture through a program; what came out."""
    source, sink = tmp / "in.pcap", tmp / "out.pcap"
    capture.write(source, frames)
    port = f"port=dpdk:net_pcap0,rx_pcap={source},tx_pcap={sink}"
    host = run(Host, *host_args, nics=[f"{nic},{port}" if nic else port])
    # A host that shares its CPU with others may not run for a while: ours can be patient.
    patience = ["--tx-retries=1000000"] if program is TestpmdHv else []
    app = run(program, host, "--forward-mode=macswap", f"--rxq={queues}", f"--txq={queues}",
              *patience, *args, memory=memory, cores=min(queues, 2))
    try:
        until(lambda: host.port()["from_guest_frames"] >= len(frames), "all frames back")
    except AssertionError:
        print(host.stats(), host.text, app.text)
        raise
    app.end()
    host.end()
    return capture.read(sink)


def forward_each(run, tmp, frames, program, memory, queues):
    """The capture through three NICs of one process, each with other messages than the next."""
    source = tmp / "in.pcap"
    ranges = {"ranges=1": 1, "ranges-exact=8,flush-us=1000000": 8,
              "ranges-exact=32,flush-us=1000000": 32}
    capture.write(source, frames)
    host = run(Host, nics=[f"{r},port=dpdk:net_pcap{i},rx_pcap={source},tx_pcap={tmp}/out{i}.pcap"
                           for i, r in enumerate(ranges)])
    patience = ["--tx-retries=1000000"] if program is TestpmdHv else []
    app = run(program, host, "--forward-mode=macswap", f"--rxq={queues}", f"--txq={queues}",
              *patience, memory=memory, cores=min(queues, 2))
    try:
        until(lambda: all(nic["port"]["from_guest_frames"] >= len(frames)
                          for nic in host.stats()["nics"]), "all frames back")
    except AssertionError:
        print(host.stats(), host.text, app.text)
        raise
    for nic, n in zip(host.stats()["nics"], ranges.values()):
        got, packets = (sum(q[key] for q in nic["queues"]) for key in ("rx_frames", "rx_packets"))
        # Control messages are packets as well; the last ones are not full.
        assert n / 2 < got / packets <= n, f"{got} frames in {packets} packets, not {n} each"
    app.end()
    host.end()
    for i in range(len(ranges)):
        yield capture.read(tmp / f"out{i}.pcap")


def check_each(run, tmp, frames, program, memory, queues):
    for out in forward_each(run, tmp, frames, program, memory, queues):
        capture.check(frames, out, in_order=queues == 1)


@PROGRAMS
@pytest.mark.parametrize("queues", [1, 4])
def test_capture(run, tmp, frames, program, queues):
    check_each(run, tmp, frames, program, ["--no-huge", "-m", "512", "--no-shconf"], queues)


@PROGRAMS
@pytest.mark.parametrize("queues", [1, 4])
def test_hugepages(run, tmp, frames, hugepages, program, queues):
    check_each(run, tmp, frames, program, ["--in-memory", "-m", "500"], queues)


@pytest.mark.parametrize("program, args", [
    (Testpmd, ["--max-pkt-len=9018", "--mbuf-size=9728", "--total-num-mbufs=8192"]),
    (Testpmd, ["--max-pkt-len=9018", "--enable-scatter", "--tx-offloads=0x8000",
               "--txd=4096"]),
    (TestpmdHv, ["--mtu=9000"]),
])
def test_jumbo(run, tmp, program, args):
    frames = capture.make(count=400, largest=9014, seed=9)
    out = forward(run, tmp, frames, program, "mtu-max=9216", args=args,
                  memory=["--no-huge", "-m", "512", "--no-shconf"])
    capture.check(frames, out, in_order=True)


@pytest.mark.parametrize("nic", [
    "nvsp-max=1", "nvsp-max=2", "nvsp-max=4", "nvsp-max=5", "nvsp-max=6",
    "data-offset=0,msg-len=exact,ids=random",
    "slot-size=2048,slots=64,scatter=yes",
    "section-size=2048,max-packets=1",
    "align=0,csum=no,hash=no,vlan-strip=no",
])
def test_hosts(run, tmp, frames, nic):
    """Other hosts than the default one."""
    capture.check(frames, forward(run, tmp, frames, TestpmdHv, nic), in_order=True)


@pytest.mark.parametrize("args", [
    ["--vmbus-max", "2.4"], ["--vmbus-max", "4.1"], ["--no-monitor"], ["--wait", "event"],
    ["--no-signal-fd", "--no-event-fd", "--wait", "event"],
])
def test_buses(run, tmp, frames, args):
    capture.check(frames, forward(run, tmp, frames, TestpmdHv, host_args=args), in_order=True)
