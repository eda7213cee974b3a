# SPDX-License-Identifier: BSD-3-Clause
"""RNDIS as the host writes it: replies, indications, received frames."""
import dataclasses
import struct

PACKET, INITIALIZE, HALT, QUERY, SET, RESET, INDICATE, KEEPALIVE = 1, 2, 3, 4, 5, 6, 7, 8
REPLY = 0x80000000
SUCCESS, FAILURE, NOT_SUPPORTED, INVALID_DATA = 0, 0xC0000001, 0xC00000BB, 0xC0010015
MEDIA_CONNECT, MEDIA_DISCONNECT, LINK_SPEED_CHANGE, NETWORK_CHANGE, OFFLOAD_CONFIG = (
    0x4001000B, 0x4001000C, 0x40010013, 0x40010018, 0x40020006)

SUPPORTED_LIST, MEDIA_STATUS, FRAME_SIZE, TOTAL_SIZE, LINK_SPEED, FILTER = (
    0x00010101, 0x00010114, 0x00010106, 0x00010111, 0x00010107, 0x0001010E)
RSS_CAPABILITIES, RSS_PARAMETERS, CONFIG_PARAMETER = 0x00010203, 0x00010204, 0x0001021B
PERMANENT_MAC, CURRENT_MAC = 0x01010101, 0x01010102
OFFLOAD_CURRENT, OFFLOAD_PARAMETERS, OFFLOAD_HARDWARE = 0xFC01020B, 0xFC01020C, 0xFC01020D
ENCAPSULATION, VENDOR, LINK_STATE = 0x0101010A, 0x0001010C, 0x00010207

CHECKSUM, LSO, VLAN, HASH_VALUE, HASH_INFO = 0, 2, 6, 8, 9
PACKET_ID = 0x80000001  # internal: RSC


def message(kind, body):
    return struct.pack("<II", kind, 8 + len(body)) + body


def initialize_reply(request, status=0, max_packets=8, max_transfer=0xEFFFFFFF, alignment=3):
    return message(INITIALIZE | REPLY, struct.pack("<11I", request, status, 1, 0, 1, 0,
                                                   max_packets, max_transfer, alignment, 0, 0))


def query_reply(request, status, data=b""):
    """A status other than success has no data, and no offset."""
    return message(QUERY | REPLY, struct.pack("<IIII", request, status, len(data),
                                              16 if data else 0) + data)


def set_reply(request, status=0):
    return message(SET | REPLY, struct.pack("<II", request, status))


def indication(status, data=b"", counted=True):
    """Some hosts forget to count the buffer in the message's length."""
    raw = message(INDICATE, struct.pack("<III", status, len(data), 12 if data else 0) + data)
    if not counted:
        raw = raw[:4] + struct.pack("<I", 20) + raw[8:]
    return raw


def ppi(kind, data, at=12):
    """A record; its data may begin later than they have to."""
    size = (at + len(data) + 3) & ~3
    return (struct.pack("<III", size, kind, at).ljust(at, b"\0") + data).ljust(size, b"\0")


@dataclasses.dataclass
class Layout:
    """How a host lays out a received frame in a slot. All are legal."""
    data_at: int = 0  # from the message's start; 0: right behind the PPIs
    length: str = "exact"  # "slot": the message is as long as the slot
    trailing: int = 0  # bytes behind the frame, inside the message
    before: tuple = ()  # PPIs ahead of the frame's own
    after: tuple = ()
    reverse: bool = False  # order of the frame's own
    whole_slot: bool = False  # the range is the slot, not the message
    junk: int = 0xEE  # what fills the holes
    ppi_offset_without: int = 0  # the offset when there are no PPIs
    ppi_data_at: int = 12


OPENVMM = Layout(data_at=256, length="slot", whole_slot=True, ppi_offset_without=36)


def fits(layout, slot, frame, ppis):
    """Whether a slot has room for a frame laid out so."""
    info = sum(map(len, layout.before + layout.after))
    info += sum(len(ppi(k, d, layout.ppi_data_at)) for k, d in ppis)
    return max(layout.data_at, 44 + info) + len(frame) + layout.trailing <= slot


def received(layout, slot, frame, ppis):
    """A PACKET message with a frame, for a slot of so many bytes; the range's length and bytes."""
    records = [ppi(k, d, layout.ppi_data_at) for k, d in ppis]
    if layout.reverse:
        records.reverse()
    info = b"".join([*layout.before, *records, *layout.after])
    data_at = max(layout.data_at, 44 + len(info))
    end = data_at + len(frame)
    length = slot if layout.length == "slot" else end + layout.trailing
    head = struct.pack("<11I", PACKET, length, data_at - 8, len(frame), 0, 0, 0,
                       36 if info else layout.ppi_offset_without, len(info), 0, 0)
    raw = (head + info).ljust(data_at, bytes([layout.junk])) + frame
    raw = raw.ljust(length, bytes([layout.junk]))
    assert len(raw) <= slot, f"{len(raw)} bytes in a slot of {slot}"
    return (slot if layout.whole_slot else length), raw
