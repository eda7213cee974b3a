# SPDX-License-Identifier: BSD-3-Clause
"""Checksums and segmentation: what the host computes, and what it says of what it received."""
import re
import struct

import pytest
from scapy.all import IP, TCP, UDP, Ether, IPOption, IPv6, Raw

import capture
from console import Console, cycle
from hv import Host, until
from test_errors import GUID
from test_vlan import Wire

COUNT = 1000
HARDWARE = [f"csum set {what} hw 0" for what in ("ip", "udp", "tcp")]


def good(data):
    """The frame with the checksums that scapy computes."""
    packet = Ether(data)
    for layer in (IP, TCP, UDP):
        if layer in packet:
            del packet[layer].chksum
    return bytes(packet)


def queue_sum(host, field):
    return sum(q[field] for q in host.result()["nics"][0]["queues"])


@pytest.mark.parametrize("kind", ["hw", "sw"])
def test_transmit(run, kind):
    """All are right on the wire, whoever computes them; the generator checks each frame."""
    host = run(Host, nics=[f"queues=4,port=gen:count={COUNT},rate=20k,proto=mix,ipv6=50,"
                           "size=92-1514,start=command,expect=return"])
    app = run(Console, host, "--forward-mode=csum", queues=2,
              eal=["-a", f"hv_vmbus:{GUID},udp_cksum_max=65535"])
    app.restart(*(HARDWARE if kind == "hw" else []))
    cycle(host, app, COUNT)
    app.quit()
    host.end()
    assert queue_sum(host, "tx_csum") == (COUNT if kind == "hw" else 0)


def test_flood(run):
    """Frames as fast as they are taken: what does not come back is what testpmd says it dropped."""
    count = 40000
    host = run(Host, nics=[f"port=gen:count={count},proto=mix,ipv6=50,start=command,verify=count"])
    app = run(Console, host, "--forward-mode=csum", "--txd=64")
    app.do("start")
    host.command("start", nic=0)
    until(lambda: app.stats()["RX-packets"] == count, "all frames")
    text = app.do("stop")
    sent, dropped = (int(re.search(rf"TX-{what}: (\d+)", text)[1])
                     for what in ("packets", "dropped"))
    assert sent + dropped == count
    until(lambda: host.port()["received"] == sent, "those that were sent")
    assert host.port()["damaged"] == host.port()["reordered"] == 0
    app.quit()
    host.end()


@pytest.mark.parametrize("nic", ["", "nvsp-max=4,"])
def test_large_datagrams(run, nic):
    """Those that hosts are known to damage are summed here, on old hosts all; TCP never is."""
    host = run(Host, nics=[f"{nic}port=gen:count={COUNT},rate=20k,proto=mix,ipv6=50,size=1514,"
                           "flows=4,start=command,expect=return"])
    app = run(Console, host, "--forward-mode=csum")
    app.restart(*HARDWARE)
    cycle(host, app, COUNT)
    app.quit()
    host.end()
    # The host sums all but UDP; of UDP over IPv4 it still does the IP header.
    assert COUNT // 2 <= queue_sum(host, "tx_csum") < COUNT


@pytest.mark.parametrize("mask, asked", [(31, True), (15, False)])
def test_ip_options(run, tmp, mask, asked):
    """A host that does not take them in packets that it sums is not asked; all are right."""
    frames = [(n, bytes(Ether(src="02:00:00:00:00:01", dst=capture.NIC_MAC) /
                        IP(src="10.0.0.1", dst="10.0.0.2", id=n,
                           options=[IPOption(b"\x01" * 4 * (1 + n % 10))]) /
                        (TCP if n % 2 else UDP)(sport=n, dport=53, chksum=1 + n) /
                        Raw(struct.pack(">I", n) + bytes(32)))) for n in range(60)]
    wire = Wire(run, tmp, frames, nic=f"tx-csum4={mask},", mode="csum")
    wire.app.restart(*HARDWARE)
    assert sorted(data[12:] for data in wire.forward()) == \
        sorted(good(data)[12:] for _, data in frames)
    assert queue_sum(wire.host, "tx_csum") == len(frames) * asked


def test_receive(run, tmp):
    """Bad ones are counted by layer; good ones are not."""
    frames, bad_ip, bad_l4 = [], 0, 0
    for n in range(120):
        ip = IP(src="10.0.0.1", dst="10.0.0.2", id=n) if n % 3 else \
            IPv6(src="fd00::1", dst="fd00::2")
        l4 = TCP(sport=n, dport=80) if n % 2 else UDP(sport=n, dport=53)
        data = bytearray(bytes(Ether(src="02:00:00:00:00:01", dst=capture.NIC_MAC) / ip / l4 /
                               Raw(struct.pack(">I", n) + bytes(32))))
        if n % 5 == 0:  # the last byte of the payload
            data[-1] ^= 0x55
            bad_l4 += 1
        elif n % 7 == 0 and n % 3:
            data[14 + 10] ^= 0x55
            bad_ip += 1
        frames.append((n, bytes(data)))
    assert bad_ip and bad_l4
    wire = Wire(run, tmp, frames, "--rx-offloads=0xe", mode="csum")
    wire.app.restart(*HARDWARE)
    out = wire.forward()
    # testpmd computes all of them anew.
    assert sorted(good(data)[12:] for _, data in frames) == sorted(data[12:] for data in out)
    counts = re.search(r"Bad-ipcsum: (\d+) +Bad-l4csum: (\d+)", wire.app.text)
    assert counts and (int(counts[1]), int(counts[2])) == (bad_ip, bad_l4), wire.app.text


@pytest.mark.parametrize("version", [4, 6])
def test_segmentation(run, tmp, version):
    """The host cuts what is larger than a segment: bytes, numbers and checksums are right."""
    size, frames, wanted = 500, [], []
    for n in range(50):
        ip = IP(src="10.0.0.1", dst="10.0.0.2", id=100 * n) if version == 4 else \
            IPv6(src="fd00::1", dst="fd00::2")
        tcp = TCP(sport=1000 + n, dport=80, seq=1000000, ack=7, flags="A",
                  options=[("Timestamp", (n, 0))] if n % 2 else [])
        payload = capture.random.Random(n).randbytes(600 + 16 * n)
        frames.append((n, bytes(Ether(src="02:00:00:00:00:01", dst=capture.NIC_MAC) / ip / tcp /
                                Raw(payload))))
        wanted.append(payload)
    wire = Wire(run, tmp, frames, mode="csum")
    wire.count = sum(-(-len(p) // size) for p in wanted)
    wire.app.restart(*HARDWARE, f"tso set {size} 0")
    out = wire.forward()
    assert queue_sum(wire.host, "tx_lso") == len(frames)
    found = {}
    for data in out:
        assert good(data) == data
        packet = Ether(data)
        piece = bytes(packet[TCP].payload)
        assert 0 < len(piece) <= size
        flow = packet[TCP].sport - 1000
        assert packet[TCP].seq == 1000000 + len(found.get(flow, b""))
        found[flow] = found.get(flow, b"") + piece
    assert [found[n] for n in range(len(frames))] == wanted


def test_not_offered(run):
    """A host without transmit checksums: the port does not offer them, and testpmd says so."""
    host = run(Host, nics=["tx-csum4=0,tx-csum6=0,lso4=0,lso6=0,port=sink"])
    app = run(Console, host, "--forward-mode=csum")
    app.do("port stop 0")
    for line in HARDWARE:
        assert "not supported" in app.do(line)
    assert "TSO" not in app.do("show port 0 tx_offload capabilities")
    app.quit()
    host.end()
