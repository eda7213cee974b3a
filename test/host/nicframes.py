# SPDX-License-Identifier: BSD-3-Clause
"""Frames for tests of the synthetic NIC, and what a guest and an adapter make of them."""
import random
import struct

import nicguest as ng
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

MACS = dict(src="00:15:5d:00:00:01", dst="02:00:00:00:00:01")


def frame(i=0, size=60):
    return bytes(Ether(**MACS, type=0x88B5) / Raw(struct.pack("<I", i))).ljust(size, b"\xa5")


def tcp4(payload=b"x" * 40, tcp_options=(), **kw):
    return Ether(**MACS) / IP(src="10.0.0.1", dst="10.0.0.2", id=7, **kw) / TCP(
        sport=1000, dport=80, seq=100, flags="PA", options=list(tcp_options)) / Raw(payload)


def udp4(payload=b"x" * 40):
    return Ether(**MACS) / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=5, dport=6) / Raw(payload)


def tcp6(payload=b"x" * 40):
    return Ether(**MACS) / IPv6(src="fd00::1", dst="fd00::2") / TCP(
        sport=1000, dport=80, seq=100, flags="PA") / Raw(payload)


def udp6(payload=b"x" * 40):
    return Ether(**MACS) / IPv6(src="fd00::1", dst="fd00::2") / UDP(sport=5, dport=6) / Raw(payload)


def fold(data):
    data += bytes(len(data) % 2)
    s = sum(struct.unpack(f">{len(data) // 2}H", data))
    while s >> 16:
        s = (s & 0xFFFF) + (s >> 16)
    return s


def pseudo(f, with_len=True):
    ip = f.getlayer(1)
    l4 = bytes(ip.payload)
    proto = 6 if TCP in f else 17
    n = len(l4) if with_len else 0
    if IPv6 in f:
        return fold(bytes(ip)[8:40] + struct.pack(">2I", n, proto))
    return fold(bytes(ip)[12:20] + struct.pack(">2H", proto, n))


def seeded(f, seed):
    raw = bytearray(bytes(f))
    l4 = 14 + (40 if IPv6 in f else 4 * (raw[14] & 15))
    at = l4 + (16 if TCP in f else 6)
    raw[at:at + 2] = struct.pack(">H", seed)
    return bytes(raw), l4


def lso(f, mss, version=1):
    """A frame as the guest must give it, and its request."""
    raw, l4 = seeded(f, pseudo(f, False))
    raw = bytearray(raw)
    if IPv6 in f:
        raw[18:20] = bytes(2)
    else:
        raw[16:18] = raw[24:26] = bytes(2)
    return bytes(raw), mss | l4 << 20 | version << 30 | (IPv6 in f) << 31


def segments(f, mss):
    data, out, flags = bytes(f[TCP].payload), [], str(f[TCP].flags)
    for i in range(0, len(data), mss):
        s = f.copy()
        s[TCP].remove_payload()
        s = s / Raw(data[i:i + mss])
        s[TCP].seq = (s[TCP].seq + i) & 0xFFFFFFFF
        not_here = ("" if i + mss >= len(data) else "FP") + ("C" if i else "")
        s[TCP].flags = "".join(x for x in flags if x not in not_here)
        if IP in s:
            s[IP].id = (s[IP].id + i // mss) & 0xFFFF
            del s[IP].len, s[IP].chksum
        else:
            del s[IPv6].plen
        del s[TCP].chksum
        out.append(bytes(s))
    return out


def toeplitz(data, key=ng.KEY):
    k, h = int.from_bytes(key, "big"), 0
    for i in range(len(data) * 8):
        if data[i // 8] & 0x80 >> i % 8:
            h ^= k >> (len(key) * 8 - 32 - i) & 0xFFFFFFFF
    return h


def flows(n):
    rnd = random.Random(3)
    for i in range(n):
        make = rnd.choice([tcp4, udp4, tcp6, udp6])
        f = make(struct.pack("<I", i))
        l3, l4 = f.getlayer(1), f.getlayer(2)
        l4.sport, l4.dport = rnd.randrange(65536), rnd.randrange(65536)
        if make in (tcp4, udp4):
            l3.src = f"10.1.{rnd.randrange(256)}.{rnd.randrange(256)}"
            kind = 0x200 if make == tcp4 else 0x4000
            data = bytes(l3)[12:20]
        else:
            l3.src = f"fd00::{rnd.randrange(65536):x}"
            kind = 0x1000 if make == tcp6 else 0x8000
            data = bytes(l3)[8:40]
        yield bytes(f), toeplitz(data + struct.pack(">2H", l4.sport, l4.dport)), kind | 1
