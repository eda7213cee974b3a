# SPDX-License-Identifier: BSD-3-Clause
"""What a guest may put into a transmitted RNDIS message, rule by rule."""
import dataclasses
import struct

from . import rndis


@dataclasses.dataclass
class Sent:
    """A frame as it would be on the wire, but for offloads."""
    frame: bytes
    vlan: int = None  # out of band: priority << 13 | DEI << 12 | id
    checksum: int = None
    lso: int = None
    hash: int = None
    channel: int = 0
    section: bool = False  # it came through the send buffer

    @property
    def tagged(self):
        """With the tag where it is on the wire."""
        if self.vlan is None:
            return self.frame
        return self.frame[:12] + struct.pack(">HH", 0x8100, self.vlan) + self.frame[12:]


def fold(data, start=0):
    if len(data) % 2:
        data += b"\0"
    total = start + sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


class Parser:
    """Judges the messages of one NIC."""

    def __init__(self, rules, alignment, max_packets, mtu):
        self.rules = rules
        self.align = 1 << alignment
        self.max_packets = max_packets
        self.mtu = mtu

    def message(self, data, first):
        """Frames in a message; `first` bytes of it are in its first range."""
        rules = self.rules
        out = []
        at = 0
        while at < len(data):
            if not rules.check(len(data) - at >= 44, f"{len(data) - at} bytes are no RNDIS packet"):
                return out
            length = struct.unpack_from("<I", data, at + 4)[0]
            if not rules.check(44 <= length <= len(data) - at,
                               f"RNDIS message of {length} in {len(data) - at} bytes"):
                return out
            last = at + length == len(data)
            rules.check(last or length % self.align == 0,
                        f"RNDIS message of {length} bytes, then another: not padded")
            sent = self._packet(data[at:at + length], first - at)
            if sent is None:
                return out
            out.append(sent)
            at += length
        rules.check(len(out) <= self.max_packets, f"{len(out)} RNDIS packets in a message")
        return out

    def _packet(self, raw, contiguous):
        check, equal = self.rules.check, self.rules.equal
        (kind, length, data, size, oob, oob_size, oob_count, ppi, ppi_size, handle,
         reserved) = struct.unpack_from("<11I", raw)
        equal(kind, rndis.PACKET, "type of a data message")
        equal((oob, oob_size, oob_count), (0, 0, 0), "out-of-band data")
        equal((handle, reserved), (0, 0), "VC handle and reserved")
        check(data >= 36 and data % 4 == 0, f"data offset {data}")
        check(ppi_size % 4 == 0, f"PPI length {ppi_size}")
        if ppi_size:
            equal(ppi, 36, "PPI offset")
        else:
            check(ppi in (0, 36), f"PPI offset {ppi} without PPIs")
        if not check(size > 0 and data + size <= length - 8 and 36 + ppi_size <= data,
                     f"PPIs {ppi_size}, data {data}+{size} in {length}"):
            return None
        check(44 + ppi_size <= contiguous, "header and PPIs not in the first range")
        self.rules.zero(raw[44 + ppi_size:8 + data], "hole before the data")
        tail = raw[8 + data + size:]
        self.rules.zero(tail, "padding behind the frame")
        check(len(tail) < self.align, f"{len(tail)} bytes of padding")
        sent = Sent(raw[8 + data:8 + data + size])
        self._ppis(raw[44:44 + ppi_size], sent)
        self._frame(sent)
        return sent

    def _ppis(self, info, sent):
        check = self.rules.check
        seen = []
        at = 0
        while at < len(info):
            if not check(len(info) - at >= 12, "PPI cut off"):
                return
            size, kind, offset = struct.unpack_from("<III", info, at)
            if not check(size >= 16 and size % 4 == 0 and at + size <= len(info),
                         f"PPI {kind} of {size} bytes"):
                return
            self.rules.equal((size, offset), (16, 12), f"PPI {kind}: size and data offset")
            check(kind not in seen, f"PPI {kind} twice")
            seen.append(kind)
            value = struct.unpack_from("<I", info, at + offset)[0]
            name = {rndis.CHECKSUM: "checksum", rndis.LSO: "lso", rndis.VLAN: "vlan",
                    rndis.HASH_VALUE: "hash"}.get(kind)
            if check(name is not None, f"PPI type {kind:#x}"):
                if name == "vlan":
                    check(value >> 16 == 0, f"VLAN PPI {value:#x}")
                    value = (value & 7) << 13 | (value >> 3 & 1) << 12 | value >> 4 & 0xFFF
                setattr(sent, name, value)
            at += size
        order = [k for k in (rndis.HASH_VALUE, rndis.VLAN, rndis.LSO, rndis.CHECKSUM) if k in seen]
        self.rules.equal(seen, order, "order of the PPIs")
        check(sent.lso is None or sent.checksum is None, "LSO and checksum in one packet")

    def _frame(self, sent):
        check = self.rules.check
        frame = sent.frame
        if not check(len(frame) >= 14, f"frame of {len(frame)} bytes"):
            return
        kind = struct.unpack_from(">H", frame, 12)[0]
        if sent.vlan is None:
            check(kind != 0x8100, "802.1Q tag inside the frame")
        if sent.lso is not None:
            check(len(frame) <= 0xF53C, f"LSO frame of {len(frame)} bytes")
            self._lso(frame, sent.lso, kind)
            return
        check(len(frame) <= self.mtu + 14, f"frame of {len(frame)} bytes, MTU {self.mtu}")
        if sent.checksum is not None:
            self._checksum(frame, sent.checksum, kind)

    def _layers(self, frame, kind, version6, offset):
        """L3 and L4 offsets, pseudo-header sum without length, L4 protocol."""
        self.rules.equal(kind, 0x86DD if version6 else 0x0800, "ethertype of an offload")
        least = 54 if version6 else 34
        if not self.rules.check(least <= offset < len(frame) - 8, f"L4 offset {offset}"):
            return None
        if version6:
            proto = frame[20]
            addresses = frame[22:54]
        else:
            proto = frame[23]
            addresses = frame[26:34]
            self.rules.equal(offset, 14 + 4 * (frame[14] & 15), "L4 offset")
        return proto, fold(addresses, proto)

    def _checksum(self, frame, value, kind):
        check, equal = self.rules.check, self.rules.equal
        is4, is6, tcp, udp, ip = (value >> b & 1 for b in range(5))
        check(value & ~0x03FF001F == 0, f"checksum PPI {value:#x}: unknown bits")
        if not check(is4 + is6 == 1 and tcp + udp <= 1 and tcp + udp + ip >= 1,
                     f"checksum PPI {value:#x}"):
            return
        check(not (ip and is6), "IP header checksum of IPv6")
        if ip:
            equal(frame[24:26], b"\0\0", "IPv4 header checksum to be filled in")
        if not tcp + udp:
            return
        layers = self._layers(frame, kind, is6, value >> 16 & 0x3FF)
        if layers is None:
            return
        proto, pseudo = layers
        offset = value >> 16 & 0x3FF
        equal(proto, 6 if tcp else 17, "L4 protocol of a checksum offload")
        length = struct.unpack_from(">H", frame, 18 if is6 else 16)[0]
        length = length - (offset - 54) if is6 else length - (offset - 14)
        at = offset + (16 if tcp else 6)
        equal(struct.unpack_from(">H", frame, at)[0], fold(struct.pack(">H", length), pseudo),
              "pseudo-header sum in the L4 checksum")

    def _lso(self, frame, value, kind):
        equal = self.rules.equal
        mss, offset = value & 0xFFFFF, value >> 20 & 0x3FF
        version, is6 = value >> 30 & 1, value >> 31
        equal(version, 1, "LSO version")
        layers = self._layers(frame, kind, is6, offset)
        if layers is None:
            return
        proto, pseudo = layers
        equal(proto, 6, "protocol of LSO")
        if is6:
            equal(frame[18:20], b"\0\0", "IPv6 payload length for LSO")
        else:
            equal(frame[16:18], b"\0\0", "IPv4 total length for LSO")
            equal(frame[24:26], b"\0\0", "IPv4 header checksum for LSO")
        equal(struct.unpack_from(">H", frame, offset + 16)[0], pseudo,
              "pseudo-header sum without length for LSO")
        header = offset + 4 * (frame[offset + 12] >> 4)
        self.rules.check(0 < mss < len(frame) - header, f"LSO: MSS {mss}, one segment")
