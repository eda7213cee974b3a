# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's own examples, unchanged: l3fwd, l3fwd-power, and two of several processes."""
import collections
import random
import re
import signal

import pytest
from scapy.all import IP, TCP, UDP, Ether, IPv6, Raw

import capture
import vf
from failover import NOTHING, VfHost
from hv import BUILD, CPUS, App, Host, Program, lcores, until

FRAMES = 400
MAC = capture.NIC_MAC[:-1]  # and 1 or 2
PORT_COUNTS = r"Port (\d): RX - (\d+), TX - (\d+), Drop - (\d+)"  # as symmetric_mp tells them
MEMORY = ["--no-huge", "-m", "512", "--no-shconf"]  # of which tables of routes take 256


class Example(App):
    """Built from DPDK's source, see test/e2e/meson.build."""
    name = None

    def __init__(self, host, *args, **more):
        binary = BUILD / "test" / "e2e" / self.name
        assert binary.exists(), f"no {binary}: run make setup, and build"
        self.binary = binary
        super().__init__(host, *args, **{"memory": MEMORY, **more})


class L3fwd(Example):
    name = "l3fwd"


class L3fwdPower(Example):
    name = "l3fwd-power"


class SymmetricMp(Example):
    name = "symmetric_mp"


class MpServer(Example):
    name = "mp_server"


def secondary(run, host, first, *args, name=None, eal=()):
    """Another process beside a primary."""
    return run(Program, [first.binary.with_name(name or first.name), *first.plugins, *lcores(1),
                         "--no-pci", "--no-telemetry", "--proc-type=secondary", "--file-prefix",
                         first.prefix, *eal, "--", *args], {"HV_VMBUS_SOCKET": str(host.socket)})


def packets(port, network, six=None, seed=3):
    """Frames that come in at a port, for hosts of a network behind another; a flow each eighth."""
    rng = random.Random(seed + port)
    frames = []
    for n in range(FRAMES):
        flow = rng.randrange(40)
        ip = (IPv6(src=f"fd00::{flow}", dst=six.format(flow + 1)) if six and flow % 4 == 0 else
              IP(src=f"10.{port}.0.{flow}", dst=network.format(flow + 1), ttl=2 + flow, id=n))
        l4 = TCP if flow % 2 else UDP
        frames.append((flow, bytes(
            Ether(src=f"02:00:00:00:01:{flow:02x}", dst=f"{MAC}{port + 1}") / ip /
            l4(sport=1000 + flow, dport=4789) /
            Raw(n.to_bytes(4, "big") + rng.randbytes(rng.choice((14, 200, 1400)))))))
    return frames


def routed(to):
    """What the router makes of a frame that leaves by a port; IPv6 keeps its hop limit there."""
    def transform(data):
        frame = Ether(data)
        frame.dst, frame.src = f"02:00:00:00:00:{to:02x}", f"{MAC}{to + 1}"
        if IP in frame:
            frame.ttl -= 1
            del frame[IP].chksum
        return bytes(frame)
    return transform


class Wires:
    """hv-host with two NICs, whose frames wait for the application, and what they sent out."""

    def __init__(self, run, tmp, sent, nic=""):
        self.sent = sent
        self.files = [tmp / f"out{i}.pcap" for i in range(2)]
        for i in range(2):
            capture.write(tmp / f"in{i}.pcap", sent[i])
        self.host = run(Host, nics=[f"{nic}hold-rx=yes,port=dpdk:net_pcap{i},"
                                    f"rx_pcap={tmp}/in{i}.pcap,tx_pcap={self.files[i]}"
                                    for i in range(2)])

    def cross(self):
        """All go in; as many come out on the other side."""
        for i in range(2):
            self.host.command("resume-rx", nic=i)
        for i in range(2):
            until(lambda i=i: self.host.port(i)["from_guest_frames"] >= len(self.sent[1 - i]),
                  f"frames out of port {i}")

    def check(self, transform, ordered=True):
        """Once the application has ended: each came out once, as transform(port) has it."""
        self.host.end()
        for i in range(2):
            sent = self.sent[1 - i]
            if not ordered:  # each frame is a flow
                sent = [(n, data) for n, (_, data) in enumerate(sent)]
            capture.check(sent, capture.read(self.files[i]), transform(i))


@pytest.mark.parametrize("lookup", ["lpm", "fib"])
def test_l3fwd(run, tmp, lookup):
    """Two queues of two ports on two lcores; addresses, hop count and checksum are rewritten."""
    wires = Wires(run, tmp, [packets(i, f"198.18.{1 - i}.{{}}", f"2001:200:0:{1 - i}::{{}}")
                             for i in range(2)])
    (tmp / "v4").write_text("".join(f"R198.18.{i}.0/24 {i}\n" for i in range(2)))
    (tmp / "v6").write_text("".join(f"R2001:0200:0000:{i:04x}:0000:0000:0000:0000/64 {i}\n"
                                    for i in range(2)))
    app = run(L3fwd, wires.host, "-p", "3", "-P", f"--lookup={lookup}",
              "--config=(0,0,0),(0,1,1),(1,0,1),(1,1,0)",
              f"--rule_ipv4={tmp}/v4", f"--rule_ipv6={tmp}/v6")
    app.expect("entering main loop on lcore 1")
    wires.cross()
    app.end()
    wires.check(routed)


def test_l3fwd_with_vf(run, tmp):
    """Its NIC's traffic goes over to a VF and back: no frame is lost, none comes twice."""
    host = run(VfHost)
    (tmp / "v4").write_text("R198.19.0.0/16 0\n")
    (tmp / "v6").write_text("R2001:0002:0000:0000:0000:0000:0000:0000/48 0\n")
    app = run(L3fwd, host, "-p", "1", "-P", "--config=(0,0,0)", f"--rule_ipv4={tmp}/v4",
              f"--rule_ipv6={tmp}/v6", eal=host.device, cores=0, cpus=CPUS[-1:])
    app.expect("entering main loop on lcore 0")
    host.command("start", nic=0)
    host.go_and_return()
    assert host.settle() == NOTHING
    app.end()
    host.end()


def test_l3fwd_power(run, tmp):
    """It sleeps until an interrupt of a queue, one of two, wakes it; and does so again. Asleep, it
    takes no processor.
    """
    wires = Wires(run, tmp, [packets(i, f"{2 - i}.1.1.{{}}") for i in range(2)])
    app = run(L3fwdPower, wires.host, "-p", "3", "-P", "--interrupt-only",
              "--config=(0,0,0),(1,0,1)")
    app.expect("Selected operation mode: interrupt-only")
    for lcore in range(2):
        text = f"entering main interrupt loop on lcore {lcore}"
        until(lambda t=text: t in app.text, text)
    until(app.is_idle, "sleep")  # who is awake when frames come takes them without an interrupt
    wires.cross()
    for port in range(2):
        until(lambda p=port: f"lcore {p} is waked up from rx interrupt on port {p} queue 0"
              in app.text, f"a wake-up by port {port}")
    until(lambda: app.text.count("sleeps until interrupt triggers") >= 2, "sleep again")
    assert app.is_idle()
    app.end()
    wires.check(routed)


def test_symmetric_mp(huge_dir, run, tmp):
    """A primary and a secondary, a queue of each port for either; both forward."""
    wires = Wires(run, tmp, [packets(i, "10.9.9.{}") for i in range(2)], nic="queues=2,")
    memory = ["--huge-dir", huge_dir, "-m", "128"]
    first = run(SymmetricMp, wires.host, "-p", "3", "--num-procs=2", "--proc-id=0",
                memory=memory, cores=0)
    first.expect("lcore 0 using queue 0 of each port")
    second = secondary(run, wires.host, first, "-p", "3", "--num-procs=2", "--proc-id=1")
    second.expect("lcore 0 using queue 1 of each port")
    wires.cross()
    told = collections.Counter()
    for process in (second, first):
        process.run_on()
        process.end()
        found = re.findall(PORT_COUNTS, process.text)
        assert len(found) == 2
        for port, rx, tx, drop in found:
            assert int(rx) > 0 and int(tx) > 0 and drop == "0"
            told[port, "rx"] += int(rx)
            told[port, "tx"] += int(tx)
    assert set(told.values()) == {FRAMES}
    first.forget()
    wires.check(lambda port: lambda data: data)


@pytest.mark.parametrize("probed", ["by_application", "by_driver"])
def test_symmetric_mp_with_vf(huge_dir, run, tmp, probed):
    """Both follow the second port's VF, which comes and goes: what they take is sent, once."""
    host = run(Host, nics=["queues=2,port=gen:rate=4k,burst=16,start=command,verify=no",
                           "queues=2,port=sink:verify=no"])
    one = vf.Vf(tmp, nic=2)
    eal = [*getattr(one, probed)(), "-a", vf.NIC.format(1)]
    first = run(SymmetricMp, host, "-p", "3", "--num-procs=2", "--proc-id=0", cores=0, eal=eal,
                memory=["--huge-dir", huge_dir, "-m", "128"])
    first.expect("lcore 0 using queue 0 of each port")
    second = secondary(run, host, first, "-p", "3", "--num-procs=2", "--proc-id=1", eal=eal)
    second.expect("lcore 0 using queue 1 of each port")

    def sent_by_vf():
        state = one.state()
        secondary_tx = int(state["secondary_tx"])
        return secondary_tx, int(state["all_tx"]) - secondary_tx

    def sent_by_queues():
        return [q["tx_frames"] for q in host.stats()["nics"][1]["queues"]]

    def both_send(count):
        before = count()
        until(lambda: all(a > b for a, b in zip(count(), before)), f"{count.__name__} by both")

    host.command("start", nic=0)
    both_send(sent_by_queues)
    for serial in range(1, 4):
        vf.to_vf(host, serial, nic=1)
        both_send(sent_by_vf)
        vf.remove(host, first, nic=1)
        both_send(sent_by_queues)
    vf.to_vf(host, 4, nic=1)
    both_send(sent_by_vf)
    host.command("stop", nic=0)

    def all_received():
        nic = host.stats()["nics"][0]
        return nic["port"]["waiting"] == 0 and nic["slots_used"] == 0

    until(all_received, "both have received all")
    # What a VF sent that the driver had probed is not known once it has gone.
    if probed == "by_application":
        until(lambda: host.port(1)["from_guest_frames"] + sum(sent_by_vf()) ==
              host.port(0)["sent"], "every frame on either path")
    told = collections.Counter()
    for process in (second, first):
        process.run_on()
        process.end()
        for port, *counts in re.findall(PORT_COUNTS, process.text):
            told.update({f"{port} {what}": int(n) for what, n in zip(("RX", "TX", "Drop"), counts)})
    sent = host.port(0)["sent"]
    assert told == {"0 RX": sent, "0 TX": 0, "0 Drop": 0, "1 RX": 0, "1 TX": sent, "1 Drop": 0}
    one.path.unlink()  # they end without closing ports
    first.forget()
    host.end()


def test_client_server_mp(huge_dir, run, tmp):
    """The primary receives and deals out; two secondaries send, each by a queue of its own."""
    few = FRAMES // 7  # a client has room for 127
    wires = Wires(run, tmp, [packets(i, "10.9.9.{}")[:few] for i in range(2)])
    first = run(MpServer, wires.host, "-p", "3", "-n", "2", cores=0,
                memory=["--huge-dir", huge_dir, "-m", "256"])
    first.expect("Finished Process Init")
    clients = [secondary(run, wires.host, first, "-n", str(n), name="mp_client") for n in range(2)]
    for n, client in enumerate(clients):
        client.expect(f"Client process {n} handling packets")
    wires.cross()
    sent = [{q["index"] for q in nic["queues"] if q["tx_frames"]}
            for nic in wires.host.stats()["nics"]]
    assert sent == [{0, 1}] * 2
    for client in clients:
        client.end(signal.SIGTERM, -signal.SIGTERM)  # it knows no other end
    first.end()
    wires.check(lambda port: lambda data: data, ordered=False)
