# SPDX-License-Identifier: BSD-3-Clause
"""hv-host's ports behind a real NIC: generator, echo, cable, capture files; hv-hostctl."""
import json
import os
import pathlib
import socket
import struct
import subprocess
import sys

import nicguest
import pytest
import vmu
from control import TIED, end_all, listens
from nicguest import packet, ppi
from scapy.utils import rdpcap, wrpcap
from scapy.layers.l2 import Dot1Q, Ether
from scapy.layers.inet import IP, UDP
from scapy.packet import Raw

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("HV_BUILD", ROOT / "build" / "gcc"))
VLAN, PACKET_ID, RSC_CAP = 6, 0x80000001, 0x80


class Host:
    def __init__(self, path, *nics, args=(), inside=()):
        self.path, self.ctl = path / "s", path / "s.ctl"
        words = [w for n in nics for w in ("--nic", n)]
        self.err = open(path / "err", "a+")  # it writes at the end, wherever errors() reads
        self.proc = subprocess.Popen([*TIED, *inside, BUILD / "host" / "hv-host", "--socket",
                                      self.path, "--nics-per-guest", "1", *words, *args],
                                     stdout=subprocess.PIPE, stderr=self.err, text=True)
        assert nicguest.until(lambda: self.proc.poll() is not None or listens(self), 60)
        assert self.proc.poll() is None, self.errors()

    def errors(self):
        self.err.seek(0)
        return self.err.read()

    def guest(self, **kw):
        return nicguest.Nic(self.path).up(**kw)

    def hostctl(self, *words):
        return subprocess.run([sys.executable, ROOT / "tools" / "hv-hostctl", self.ctl, *words],
                              capture_output=True, text=True, timeout=60)

    def port(self, nic=0):
        r = self.hostctl("-n", str(nic), "-k", "port", "stats")
        assert r.returncode == 0, r.stderr
        return json.loads(r.stdout)

    def nic(self, nic=0):
        return json.loads(self.hostctl("-n", str(nic), "stats").stdout)

    def wait(self, key, value, nic=0):
        nicguest.until(lambda: self.port(nic)[key] == value)
        assert self.port(nic)[key] == value

    def end(self, status=0):
        self.proc.terminate()
        out, _ = self.proc.communicate(timeout=60)
        assert self.proc.returncode == status, self.errors()
        return json.loads(out)


@pytest.fixture
def host(tmp_path):
    started = []

    def start(*nics, **more):
        started.append(Host(tmp_path, *nics, **more))
        return started[-1]
    yield start
    end_all(started, close=lambda h: h.err.close())


def send(guest, frame, ppis=b""):
    assert guest.completion(guest.rndis(packet(frame, ppis), channel=0)) == 1


def forward(guest, frames):
    """Send frames in sections, MAC addresses exchanged."""
    for f in frames:
        tid = guest.section_send(0, [packet(f[6:12] + f[:6] + f[12:])])
        assert guest.completion(tid) == 1


def test_generator_complete(host):
    h = host("port=gen:count=300,size=60-1514,proto=mix,ipv6=50,flows=8,expect=return")
    g = h.guest()
    frames = [f for f, _ in g.frames(300)]
    assert len(frames) == 300
    for f in frames[::17]:
        # Checksums as an independent implementation computes them.
        p = Ether(f)
        assert bytes(p) == f
        for layer in ("IP", "UDP", "TCP"):
            if layer in p:
                del p[layer].chksum
        assert bytes(p) == f
    forward(g, frames)
    h.wait("received", 300)
    s = h.port()
    assert (s["sent"], s["lost"], s["outstanding"], s["damaged"]) == (300, 0, 0, 0)
    assert s["done"] and s["latency_ns"]["min"] > 0
    assert h.end()["nics"][0]["port"]["received"] == 300


@pytest.mark.parametrize("fault, key", [("drop", "lost"), ("drop last", "outstanding"),
                                        ("twice", "duplicated"), ("swap", "reordered"),
                                        ("flip", "damaged"), ("cut", "damaged")])
def test_generator_finds(host, fault, key):
    h = host("port=gen:count=40,size=200,flows=1")
    g = h.guest()
    frames = [f for f, _ in g.frames(40)]
    if fault == "drop":
        del frames[7]
    elif fault == "drop last":
        del frames[39]
    elif fault == "twice":
        frames.insert(20, frames[18])
    elif fault == "swap":
        frames[3], frames[4] = frames[4], frames[3]
    elif fault == "flip":
        frames[9] = frames[9][:150] + bytes([frames[9][150] ^ 1]) + frames[9][151:]
    else:
        frames[9] = frames[9][:150]
    forward(g, frames)
    h.wait("from_guest_frames", len(frames))
    s = h.port()
    assert {k: s[k] for k in ("lost", "outstanding", "duplicated", "reordered", "damaged")
            if s[k]} == {key: 1}
    h.end(4)


def test_generator_coalesced(host):
    """A frame in pieces is one segment: one transfer-page packet, numbered first to last."""
    h = host("rsc=yes,port=gen:count=40,proto=tcp,size=4000,rsc=3,start=command,ipv6=50")
    g = h.guest(caps=0x2C | RSC_CAP)
    assert g.set(nicguest.OID_OFFLOAD, struct.pack("<2BH18x2B4x", 0x80, 3, 28, 2, 2)) == 0
    assert g.indication()[0] == 0x40020006  # the offloads are now ...
    assert h.hostctl("-n", "0", "start").returncode == 0
    pieces, whole = [], []
    while len(whole) < 40:
        p = g.ch.read()
        assert p is not None and p.type == nicguest.XFER
        for i in range(len(p.ranges)):
            data, ppis = nicguest.parse(g.message(p, i))
            flags = ppis[PACKET_ID] >> 8 & 0xFF
            assert flags & 1 and (flags & 2 != 0) == (not pieces)
            pieces.append(data)
            if flags & 4:
                whole.append(b"".join(pieces))
                assert len(pieces) == 3
                pieces = []
        assert not pieces
        g.ch.complete(p)
    for f in whole:
        p = Ether(f)
        del p["TCP"].chksum
        assert len(f) == 4000 and bytes(p) == f
    assert h.port()["sent"] == 40
    h.end()


def test_generator_to_sink_of_other_nic(host):
    h = host("port=gen:rate=2000,count=100,vlan=291", "port=sink")
    a, b = h.guest(), h.guest()
    got = a.frames(100)
    assert len(got) == 100 and all(VLAN in p for _, p in got)
    for f, _ in got:
        send(b, f)
    h.wait("received", 100, nic=1)
    s = h.port(1)
    assert s["lost"] == s["outstanding"] == s["damaged"] == 0
    h.end()


def test_echo(host):
    h = host("port=echo:queue=4")
    g = h.guest()
    frame = bytes(range(14)) + bytes(50)
    send(g, frame, ppi(VLAN, 5 << 4))
    [(back, ppis)] = g.frames(1)
    assert back == frame[6:12] + frame[:6] + frame[12:]
    assert ppis[VLAN] == 5 << 4
    assert h.port()["sent"] == 1
    h.end()


def test_pair(host):
    h = host("port=pair:1", "port=pair:0")
    a, b = h.guest(), h.guest()
    # Broadcast: a NIC gives its guest what the filter asks for.
    frames = [b"\xff" * 6 + bytes([2, 0, 0, 0, 0, i]) + bytes(60 + i) for i in range(50)]
    for f in frames:
        send(a, f)
    assert [f for f, _ in b.frames(50)] == frames
    send(b, frames[3])
    assert [f for f, _ in a.frames(1)] == [frames[3]]
    h.end()


def test_pair_of_one(tmp_path):
    r = subprocess.run([BUILD / "host" / "hv-host", "--socket", tmp_path / "s", "--nic",
                        "port=pair:1", "--nic", "port=sink"], capture_output=True, text=True)
    assert r.returncode == 1 and "port=pair:0" in r.stderr


def test_capture_files(host, tmp_path):
    frames = [Ether(dst="ff:ff:ff:ff:ff:ff") / IP() / UDP(dport=i) / Raw(bytes(20 + 16 * i))
              for i in range(80)]
    for i in range(0, 80, 5):
        frames[i] = Ether(dst="ff:ff:ff:ff:ff:ff") / Dot1Q(vlan=i, prio=3) / frames[i].payload
    raw = [bytes(f) for f in frames]
    wrpcap(str(tmp_path / "in.pcap"), frames)
    h = host(f"port=dpdk:net_pcap0,rx_pcap={tmp_path}/in.pcap,tx_pcap={tmp_path}/out.pcap")
    g = h.guest()
    got = g.frames(80)
    for i, (f, ppis) in enumerate(got):
        assert (VLAN in ppis) == (i % 5 == 0)
        assert f == (raw[i] if i % 5 else raw[i][:12] + raw[i][16:])
    assert len(got) == 80
    for f, ppis in got:
        send(g, f, ppi(VLAN, ppis[VLAN]) if VLAN in ppis else b"")
    h.wait("from_guest_frames", 80)
    assert h.port()["sent"] == 80 and h.port()["silence_ns"] > 0
    h.end()
    assert [bytes(p) for p in rdpcap(str(tmp_path / "out.pcap"))] == raw


def test_ring_device(host):
    """net_ring gives back what it is given: the NIC is wired to itself."""
    h = host("queues=4,port=dpdk:net_ring0")
    g = h.guest()
    mine = [b"\xff" * 6 + bytes([2, 0, 0, 0, 0, i, 8, 0]) + bytes(60 + i) for i in range(10)]
    for i, f in enumerate(mine):
        g.section_send(i, [packet(f)])
    assert [f for f, _ in g.frames(10)] == mine
    h.end()


# In a network of its own: the name of the interface that the host has, and of the wire's far end.
KERNEL_WIRES = {
    "net_tap": ("dpdk:net_tap0,iface=hvt", "true", "hvt"),
    "net_af_packet": ("dpdk:net_af_packet0,iface=hva", "ip link add hva type veth peer name hvb && "
                      "ip link set hva up && ip link set hvb up", "hvb"),
}
FAR_END = """
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88b5))
s.bind((sys.argv[1], 0x88b5))
s.settimeout(20)
print("ready", flush=True)
for i in range(int(sys.argv[2])):  # sends back what it gets, addresses exchanged
    f = s.recv(2000)
    while f[12:14] != bytes([0x88, 0xb5]) or f[6:12] != bytes([2, 0, 0, 0, 0, i]):
        f = s.recv(2000)
    s.send(f[6:12] + f[:6] + f[12:])
"""


@pytest.mark.parametrize("device", KERNEL_WIRES)
def test_kernel_device(host, device):
    """A tap, and a veth: frames of the guest come out in a kernel, and the kernel's come in."""
    port, prepare, far = KERNEL_WIRES[device]
    mine = [b"\xff" * 6 + bytes([2, 0, 0, 0, 0, i, 0x88, 0xb5]) + bytes(60 + i)
            for i in range(10)]
    h = host(f"port={port}", inside=["unshare", *([] if os.geteuid() == 0 else ["-r"]), "-n",
                                     "sh", "-c", prepare + ' && exec "$@"', "sh"])
    inside = ["nsenter", "-t", str(h.proc.pid), "-n"]
    with subprocess.Popen([*inside, sys.executable, "-c", FAR_END, far, str(len(mine))],
                          stdout=subprocess.PIPE, text=True) as end:
        try:
            assert end.stdout.readline() == "ready\n"
            g = h.guest()
            for i, f in enumerate(mine):
                g.section_send(i, [packet(f)])
            got = []
            while len(got) < len(mine):
                more = g.frames(1)
                assert more, f"{len(got)} frames came back"
                # The kernel has something to say of its own.
                got += [f for f, _ in more if f[12:14] == b"\x88\xb5"]
            assert end.wait(20) == 0
        finally:
            end.kill()
    assert got == [f[6:12] + f[:6] + f[12:] for f in mine]
    h.end()


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("ends", [
    [f"dpdk:net_memif0,role={role},socket-abstract=no,socket={{0}}/m" for role in
     ("server", "client")],
    ["dpdk:net_vhost0,iface={0}/v", "dpdk:net_virtio_user0,path={0}/v"]], ids=["memif", "vhost"])
def test_device_between_two_hosts(tmp_path, ends, first):
    """Frames of one's guest reach the other's; whichever ends first, both end in order."""
    mine = [b"\xff" * 6 + bytes([2, 0, 0, 0, 0, i, 8, 0]) + bytes(60 + 50 * i) for i in range(20)]
    hosts = []
    try:
        for i, port in enumerate(ends):
            (tmp_path / str(i)).mkdir()
            hosts.append(Host(tmp_path / str(i), "queues=2,port=" + port.format(tmp_path)))
        guests = [h.guest() for h in hosts]
        for a, b in (guests, guests[::-1]):
            for f in mine:
                send(a, f)
            assert [f for f, _ in b.frames(len(mine))] == mine
        hosts[first].end()
        assert hosts[1 - first].port()["kind"] == "dpdk"
        hosts[1 - first].end()
    finally:
        end_all(hosts, close=lambda h: h.err.close())


def test_datagrams(host, tmp_path):
    """A socket's frames reach the guest and back; they wait for a peer that is not there yet."""
    local, peer = tmp_path / "local", tmp_path / "peer"
    h = host(f"port=dgram:{local},{peer}")
    g = h.guest()
    mine = [b"\xff" * 6 + bytes([2, 0, 0, 0, 0, i, 8, 0]) + bytes(60 + i) for i in range(20)]
    g.section_send(0, [packet(mine[0])])
    assert nicguest.until(lambda: h.port()["refused"] > 0)
    assert h.port()["from_guest_frames"] == 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.settimeout(60)
        s.bind(str(peer))
        assert s.recv(10000) == mine[0]
        send(g, mine[1], ppi(VLAN, 5 << 4 | 3))
        assert s.recv(10000) == mine[1][:12] + bytes([0x81, 0, 0x60, 5]) + mine[1][12:]
        for i, f in enumerate(mine):
            tag = bytes([0x81, 0, 0x20, i]) if i % 2 else b""
            s.sendto(f[:12] + tag + f[12:], str(local))
        s.sendto(b"short", str(local))
        got = g.frames(20)
    assert [f for f, _ in got] == mine
    assert all((VLAN in p) == (i % 2) for i, (_, p) in enumerate(got))
    h.wait("unusable", 1)
    h.end()
    assert not local.exists()


@pytest.mark.parametrize("nic, message", [
    ("port=bogus", "gen sink echo pair dpdk dgram"),
    ("port=gen:rte=1", "rate size imix"),
    ("port=gen:size=70000", "60 to 9216"),
    ("port=dpdk:net_pcap0,rx_pcap=/nonexistent", "net_pcap0"),
    ("port=dpdk:", "names no device"),
    ("port=dgram:/one/path", "LOCAL,PEER"),
    ("port=dgram:/nonexistent/a,/b", "No such file"),
])
def test_wrong_port(tmp_path, nic, message):
    r = subprocess.run([BUILD / "host" / "hv-host", "--socket", tmp_path / "s", "--nic", nic],
                       capture_output=True, text=True)
    assert r.returncode == 1 and message in r.stderr


def test_hostctl(host):
    h = host("port=gen:start=command,rate=1k", "port=sink")
    assert json.loads(h.hostctl("stats").stdout)["nics"][1]["port"]["kind"] == "sink"
    assert h.hostctl("-n", "0", "-k", "port.running", "stats").stdout == "false\n"
    for words in (["-n", "0", "start"], ["-n", "0", "rate", "rate=5"], ["-n", "0", "clear"]):
        r = h.hostctl(*words)
        assert (r.returncode, r.stdout, r.stderr) == (0, "", "")
    assert h.port()["running"] and h.port()["rate"] == 5
    for words, message in ((["-n", "1", "start"], "unknown command"),
                           (["-n", "7", "start"], "no such NIC"),
                           (["-n", "0", "rate", "rate=x"], "rate"),
                           (["-n", "0", "rescind"], "no guest"),
                           (["-n", "0", "-k", "port.nothing", "stats"], "port.nothing")):
        r = h.hostctl(*words)
        assert r.returncode == 1 and message in r.stderr, words
    assert h.hostctl("quit").returncode == 0
    h.proc.communicate(timeout=60)
    assert h.proc.returncode == 0
    r = h.hostctl("stats")
    assert r.returncode == 2 and "s.ctl" in r.stderr


def test_vf_that_sends_without_pause(host):
    """What comes from a VF without end does not keep the guest's ring from being read."""
    h = host("vf=1,vf-leg=(gen),port=sink:verify=no")
    g = h.guest()
    g.ask(129, 1)
    assert nicguest.until(lambda: h.nic()["vf_from_guest"] > 100000, 60)
    assert g.ask(129, 0).payload == b"" and h.nic()["data_path"] == "synthetic"
    h.end()


def test_out_of_descriptors(host):
    """Guests beyond what the host can serve are turned away and hold nobody up."""
    h = host("port=sink", inside=["prlimit", "--nofile=32"], args=["--wait", "event"])
    peers, away = [], 0
    for _ in range(32):
        peers.append(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        peers[-1].connect(str(h.path))
    assert nicguest.until(lambda: "a guest was turned away" in h.errors())
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(30)
        s.connect(f"{h.path}.ctl")
        assert s.recv(1) == b"", "nor does a control client"
    assert "a control client was turned away" in h.errors()
    for s in peers:
        s.settimeout(0.05)
        try:
            away += s.recv(1) == b""
        except TimeoutError:
            pass
        s.close()
    assert 0 < away < 32, "those that it could serve it keeps"
    g = h.guest()
    send(g, b"\xff" * 6 + bytes(60))
    h.end()


def test_names_cannot_write_on_the_terminal(host):
    h = host("port=sink", args=["--verbose"])
    g = vmu.Guest(h.path, hello=False)
    g.send(vmu.HELLO, struct.pack("<4IQ64s", 1, 0, 2, 0, 0, b"\x1b]0;%s%n\n\xffx"))
    assert g.wait(vmu.HELLO_ACK)[:4] == struct.pack("<I", 1)
    g.sock.close()
    assert nicguest.until(lambda: "hung up" in h.errors())
    assert "?]0;%s%n??x" in h.errors() and "\x1b" not in h.errors()
    h.end()
