# SPDX-License-Identifier: BSD-3-Clause
"""Both rings of a channel from the host's side, and the packets in them."""
import dataclasses
import struct

from .memory import PAGE, full_barrier

WRITE, READ, MASK, PENDING, FEATURES = 0, 4, 8, 12, 64
INBAND, XFER_PAGES, GPA_DIRECT, COMPLETION = 6, 7, 9, 11
TYPES = {INBAND, XFER_PAGES, GPA_DIRECT, COMPLETION}
TRAILER = 8


@dataclasses.dataclass
class Packet:
    type: int
    flags: int
    id: int
    extension: bytes
    payload: bytes  # with its padding

    @property
    def wants_completion(self):
        return bool(self.flags & 1)


def encode(kind, ident, payload, extension=b"", completion=False):
    """A packet without trailer."""
    offset = 16 + len(extension)
    total = (offset + len(payload) + 7) & ~7
    head = struct.pack("<HHHHQ", kind, offset // 8, total // 8, int(completion), ident)
    return (head + extension + payload).ljust(total, b"\0")


def transfer_pages(ident, set_id, ranges, payload):
    extension = struct.pack("<HBBI", set_id, 0, 0, len(ranges))
    extension += b"".join(struct.pack("<II", count, offset) for count, offset in ranges)
    return encode(XFER_PAGES, ident, payload, extension, completion=True)


class Half:
    """One ring: a header page and the data behind it."""

    def __init__(self, pages, first, size):
        self.pages = pages
        self.base = first
        self.data = first + PAGE
        self.size = size - PAGE

    def get(self, field):
        return self.pages.word(self.base + field)

    def set(self, field, value):
        self.pages.set_word(self.base + field, value)

    def copy_out(self, at, length):
        first = min(length, self.size - at)
        out = self.pages.read(self.data + at, first)
        return out if first == length else out + self.pages.read(self.data, length - first)

    def copy_in(self, at, data):
        first = min(len(data), self.size - at)
        self.pages.write(self.data + at, data[:first])
        if first < len(data):
            self.pages.write(self.data, data[first:])


class Inbound(Half):
    """Guest to host. The host consumes and checks."""

    def __init__(self, pages, first, size, rules, name):
        super().__init__(pages, first, size)
        self.rules = rules
        self.name = name
        self.at = 0
        self.signals = 0  # that the guest sent
        self.allowed = 1  # that it may have sent: one for each time the ring was empty
        self.dead = False
        rules.equal(self.get(FEATURES) & 1, 1, f"{name}: 'pending size' feature bit")
        for field in (WRITE, READ, PENDING):
            rules.equal(self.get(field), 0, f"{name}: field {field} of a new ring")
        self.set(MASK, 0)

    def _index(self):
        value = self.get(WRITE)
        ok = self.rules.check(value < self.size and value % 8 == 0,
                              f"{self.name}: write index {value:#x} of {self.size:#x}")
        self.dead |= not ok
        return value

    def waiting(self):
        return not self.dead and self._index() != self.at

    def take(self, limit):
        """Up to so many packets, in one publication of the read index."""
        if self.dead:
            return []
        self.rules.equal(self.get(READ), self._published(), f"{self.name}: our read index")
        self.rules.check(self.get(MASK) in (0, 1) and self.get(MASK) == int(self.masked),
                         f"{self.name}: our interrupt mask was changed")
        end = self._index()
        packets = []
        while not self.dead and self.at != end and len(packets) < limit:
            packet = self._packet(end)
            if packet is None:
                self.dead = True
                break
            packets.append(packet)
        return packets

    masked = False
    _shown = 0

    def _published(self):
        return self._shown

    def mask(self, on):
        self.masked = on
        self.set(MASK, int(on))
        full_barrier()

    def publish(self):
        """Give the space back. Returns whether a blocked guest wants a signal for it."""
        if self._shown == self.at:
            return False
        before = self.free(self._shown)
        self.set(READ, self.at)
        self._shown = self.at
        self.allowed += 1
        full_barrier()
        pending = self.get(PENDING)
        if not pending:
            return False
        self.rules.check(pending % 8 == 0 and pending <= self.size - 8,
                         f"{self.name}: pending send size {pending}")
        pending &= ~7
        return before <= pending < self.free(self.at)

    def free(self, read):
        write = self.get(WRITE)
        return self.size - (write - read) if write >= read else read - write

    def _packet(self, end):
        rules, name = self.rules, self.name
        used = (end - self.at) % self.size
        if not rules.check(used >= 24, f"{name}: {used} bytes are no packet"):
            return None
        kind, off8, len8, flags, ident = struct.unpack("<HHHHQ", self.copy_out(self.at, 16))
        least = 3 if kind in (XFER_PAGES, GPA_DIRECT) else 2
        ok = rules.check(kind in TYPES, f"{name}: packet type {kind}")
        ok &= rules.check(off8 >= least and len8 >= off8 and len8 * 8 + TRAILER <= used,
                          f"{name}: packet of {len8} words, payload at {off8}, {used} bytes used")
        ok &= rules.check(flags & ~1 == 0, f"{name}: packet flags {flags:#x}")
        if not ok:
            return None
        raw = self.copy_out(self.at, len8 * 8 + TRAILER)
        start = struct.unpack("<Q", raw[-8:])[0]
        rules.equal(start, self.at << 32, f"{name}: trailer")
        self.at = (self.at + len(raw)) % self.size
        return Packet(kind, flags, ident, raw[16:off8 * 8], raw[off8 * 8:-8])


class Outbound(Half):
    """Host to guest. The host produces."""

    def __init__(self, pages, first, size, rules, name):
        super().__init__(pages, first, size)
        self.rules = rules
        self.name = name
        self.at = 0
        self.blocked = 0
        self.crossings = 0
        for field in (WRITE, READ):
            rules.equal(self.get(field), 0, f"{name}: field {field} of a new ring")
        self.set(PENDING, 0)
        self.set(FEATURES, 1)

    def free(self):
        """Room, 8 bytes less than what would make a full ring look empty."""
        read = self.get(READ)
        used = (self.at - read) % self.size if self.size else 0
        self.rules.check(read < self.size and read % 8 == 0 and used <= self._most(),
                         f"{self.name}: guest's read index {read:#x}, ours {self.at:#x}")
        return self.size - used - 8

    _last_used = 0

    def _most(self):
        return self.size - 8

    def put(self, packets):
        """Write as many as fit, publish once. Returns how many, and whether to signal."""
        old = self.at
        done = 0
        room = self.free()
        for packet in packets:
            need = len(packet) + TRAILER
            if need > room:
                break
            self.copy_in(self.at, packet + struct.pack("<II", 0, self.at))
            self.at = (self.at + need) % self.size
            room -= need
            done += 1
        signal = False
        if done:
            self.set(WRITE, self.at)
            full_barrier()
            signal = self.get(MASK) == 0 and self.get(READ) == old
        return done, signal

    def block(self, size):
        """Ask for a signal when so much is free; 0: no more."""
        if size and not self.blocked:
            self.crossings += 1
        self.blocked = size
        self.set(PENDING, size)
        full_barrier()

    def empty(self):
        return self.get(READ) == self.at
