# SPDX-License-Identifier: BSD-3-Clause
"""Frames of all kinds, and what a switch tells with them out of band."""
import random
import struct

from . import rndis
from .transmit import fold

GUEST = bytes.fromhex("00155d010203")
PEER = bytes.fromhex("00155d040506")


def ethernet(kind, payload, to=GUEST):
    return (to + PEER + struct.pack(">H", kind) + payload).ljust(60, b"\0")


def ipv4(proto, payload, ident=0):
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), ident, 0, 64, proto, 0,
                       bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]))
    return head[:10] + struct.pack(">H", fold(head) ^ 0xFFFF) + head[12:] + payload


def ipv6(proto, payload):
    return struct.pack(">IHBB", 6 << 28, len(payload), proto, 64) + bytes(15) + b"\1" + \
        bytes(15) + b"\2" + payload


def udp(payload, sport=1000):
    return struct.pack(">HHHH", sport, 2000, 8 + len(payload), 0) + payload


def tcp(payload, sport=1000):
    return struct.pack(">HHIIBBHHH", sport, 80, 1, 2, 0x50, 0x10, 0xFFFF, 0, 0) + payload


def mixed(count, seed=1, mtu=1500):
    """Distinct frames from 14 bytes of header on up to the MTU, no two alike."""
    rng = random.Random(seed)
    out = []
    for i in range(count):
        body = struct.pack(">I", i) + rng.randbytes(rng.choice((4, 18, 100, 555, mtu - 68)))
        kind = i % 6
        if kind == 0:
            frame = ethernet(0x0800, ipv4(17, udp(body, i & 0xFFFF), i))
        elif kind == 1:
            frame = ethernet(0x0800, ipv4(6, tcp(body, i & 0xFFFF), i))
        elif kind == 2:
            frame = ethernet(0x86DD, ipv6(17, udp(body)))
        elif kind == 3:
            frame = ethernet(0x0806, body, b"\xff" * 6)
        elif kind == 4:
            frame = ethernet(0x88B5, body)
        else:
            frame = ethernet(0x86DD, ipv6(6, tcp(body)))
        out.append(frame)
    return out


def vlan_ppi(tci):
    value = tci >> 13 & 7 | (tci >> 12 & 1) << 3 | (tci & 0xFFF) << 4
    return rndis.VLAN, struct.pack("<I", value)


def tci_of(data):
    value = struct.unpack("<I", data)[0]
    return (value & 7) << 13 | (value >> 3 & 1) << 12 | value >> 4 & 0xFFF


def checksum_ppi(value=0x28):
    return rndis.CHECKSUM, struct.pack("<I", value)


def hash_ppis(value):
    return [(rndis.HASH_VALUE, struct.pack("<I", value)),
            (rndis.HASH_INFO, struct.pack("<I", 0x101))]


def tagged(frame, tci):
    return frame[:12] + struct.pack(">HH", 0x8100, tci) + frame[12:]
