# SPDX-License-Identifier: BSD-3-Clause
"""A capture of mixed traffic, the same at every run, and what must become of it."""
import random
import struct

from scapy.all import (ARP, ICMP, IP, TCP, UDP, Dot1AD, Dot1Q, Ether, ICMPv6EchoRequest, IPOption,
                       IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop,
                       IPv6ExtHdrRouting, Padding, Raw)

SEED = 20240611
FRAMES = 2400
MIN, MAX = 60, 1514
NIC_MAC = "00:15:5d:00:00:01"  # hv-host's default


def _ip(flow, **more):
    return IP(src=f"10.0.{flow}.1", dst=f"10.1.{flow}.2", ttl=64 - flow % 8, **more)


def _ip6(flow, **more):
    return IPv6(src=f"fd00::{flow:x}:1", dst=f"fd00::{flow:x}:2", hlim=64, **more)


def _tcp(flow, n, rng):
    options = [("Timestamp", (n, rng.getrandbits(31)))] if flow % 2 else []
    return TCP(sport=1024 + flow, dport=443, seq=n * 1448, ack=rng.getrandbits(32), flags="PA",
               options=options)


# What a flow of each kind is made of, below the payload.
KINDS = {
    "tcp": lambda f, n, r: _ip(f) / _tcp(f, n, r),
    "udp": lambda f, n, r: _ip(f) / UDP(sport=2000 + f, dport=4789),
    "udp-nocsum": lambda f, n, r: _ip(f) / UDP(sport=2000 + f, dport=53, chksum=0),
    "icmp": lambda f, n, r: _ip(f) / ICMP(id=f, seq=n),
    "arp": lambda f, n, r: ARP(op=1 + n % 2, hwsrc=f"02:00:00:00:01:{f:02x}",
                               psrc=f"10.0.{f}.1", pdst=f"10.1.{n // 256}.{n % 256}"),
    "options": lambda f, n, r: _ip(f, options=[IPOption(b"\x94\x04\x00\x00")]) / _tcp(f, n, r),
    "options-udp": lambda f, n, r: (_ip(f, options=[IPOption(b"\x01" * 40)]) /
                                    UDP(sport=3000 + f, dport=7)),
    "fragment": lambda f, n, r: _ip(f, id=n, flags="MF" if n % 3 < 2 else 0, frag=185 * (n % 3),
                                    proto=17),
    "tcp6": lambda f, n, r: _ip6(f) / _tcp(f, n, r),
    "udp6": lambda f, n, r: _ip6(f, fl=f) / UDP(sport=4000 + f, dport=4789),
    "icmp6": lambda f, n, r: _ip6(f) / ICMPv6EchoRequest(id=f, seq=n),
    "hop6": lambda f, n, r: _ip6(f) / IPv6ExtHdrHopByHop() / _tcp(f, n, r),
    "dest6": lambda f, n, r: (_ip6(f) / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() /
                              UDP(sport=5000 + f, dport=9)),
    "route6": lambda f, n, r: (_ip6(f) / IPv6ExtHdrRouting(addresses=[f"fd00::{f:x}:9"],
                                                           segleft=0) / _tcp(f, n, r)),
    "fragment6": lambda f, n, r: (_ip6(f) / IPv6ExtHdrFragment(offset=181 * (n % 2), nh=17,
                                                               m=1 - n % 2, id=n // 2)),
    "other": lambda f, n, r: Raw(b""),  # an EtherType nobody knows
}

TAGS = {
    "none": [],
    "vlan": [lambda f: Dot1Q(vlan=100 + f, prio=f % 8)],
    "vlan0": [lambda f: Dot1Q(vlan=0, prio=7)],  # a priority tag
    "8100-8100": [lambda f: Dot1Q(vlan=200 + f), lambda f: Dot1Q(vlan=300 + f, prio=3)],
    "88a8-8100": [lambda f: Dot1AD(vlan=400 + f), lambda f: Dot1Q(vlan=500 + f, prio=5)],
}


def _size(rng, least, most):
    pick = rng.random()
    if pick < 0.25:
        return least
    if pick < 0.5:
        return most
    return rng.randint(least, most)


def _frame(flow, kind, tags, n, rng, largest):
    mac = ("ff:ff:ff:ff:ff:ff" if kind == "arp" else
           "01:00:5e:00:00:fb" if kind == "udp-nocsum" and flow % 3 == 0 else NIC_MAC)
    head = Ether(src=f"02:00:00:00:00:{flow:02x}", dst=mac)
    for tag in TAGS[tags]:
        head = head / tag(flow)
    if kind == "other":
        head.lastlayer().type = 0x88B5
    head = head / KINDS[kind](flow, n, rng)
    # A NIC carries the outer 802.1Q tag beside the frame: a tagged one may have 4 bytes more.
    most = largest + (4 if tags in ("vlan", "vlan0", "8100-8100") else 0)
    size = _size(rng, MIN, most)
    if kind.startswith("fragment"):
        head = head / Raw(rng.randbytes(8))
        size = max(size, len(head))
    room = size - len(head)
    if room < 0:  # only headers
        return bytes(head)
    if kind == "arp":
        return bytes(head / Padding(bytes(room)))
    # Twelve bytes of payload make a frame unlike any other.
    mark = n.to_bytes(4, "big") + rng.randbytes(8)
    return bytes(head / Raw((mark + rng.randbytes(room))[:room]))


def make(count=FRAMES, largest=MAX, seed=SEED):
    """[(flow, frame)]: frames all different, each at least 60 bytes."""
    rng = random.Random(seed)
    flows = [(kind, tags) for kind in KINDS for tags in TAGS]
    flows += [("tcp", "none"), ("udp", "none"), ("tcp6", "none")] * 8
    sent = [0] * len(flows)
    frames, known = [], set()
    while len(frames) < count:
        flow = rng.randrange(len(flows))
        kind, tags = flows[flow]
        data = _frame(flow, kind, tags, sent[flow], rng, largest)
        sent[flow] += 1
        if len(data) < MIN:
            data += bytes(MIN - len(data))
        if data not in known:
            known.add(data)
            frames.append((flow, data))
    return frames


def write(path, frames):
    """A pcap file of Ethernet frames."""
    with open(path, "wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for n, (_, data) in enumerate(frames):
            out.write(struct.pack("<IIII", n // 1000, n % 1000 * 1000, len(data), len(data)))
            out.write(data)


def read(path):
    with open(path, "rb") as pcap:
        # Times in micro- or nanoseconds: both are little-endian captures.
        assert struct.unpack("<I", pcap.read(24)[:4])[0] in (0xA1B2C3D4, 0xA1B23C4D)
        frames = []
        while head := pcap.read(16):
            _, _, kept, length = struct.unpack("<IIII", head)
            assert kept == length
            frames.append(pcap.read(kept))
    return frames


def swapped(data):
    return data[6:12] + data[:6] + data[12:]


def check(sent, received, transform=swapped, in_order=False):
    """Every frame came out once, as it must, and those of a flow in their order."""
    index = {transform(data): n for n, (_, data) in enumerate(sent)}
    assert len(index) == len(sent)
    order = []
    for n, data in enumerate(received):
        assert data in index, f"frame {n} that came out was not sent: {data[:80].hex()}"
        order.append(index[data])
    missing = sorted(set(range(len(sent))) - set(order))
    assert not missing, f"{len(missing)} frames are missing, first {missing[0]}: " \
        f"{sent[missing[0]][1][:80].hex()}"
    assert len(order) == len(sent), "frames came out twice"
    if in_order:
        assert order == list(range(len(sent)))
    last = {}
    for n in order:
        flow = sent[n][0]
        assert last.get(flow, -1) < n, f"flow {flow}: frame {n} came out behind {last[flow]}"
        last[flow] = n
