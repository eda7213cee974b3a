# SPDX-License-Identifier: BSD-3-Clause
"""A guest's driver for the synthetic NIC in Python: rings, NVSP and RNDIS, well formed or not."""
import struct
import threading
import time

import vmu

PAGE = vmu.PAGE
INBAND, XFER, GPA, COMP = 6, 7, 9, 0xB
RC = 1
V1, V2, V4, V5, V6, V61 = 0x2, 0x30002, 0x40000, 0x50000, 0x60000, 0x60001
NONE, SUCCESS, FAILURE = 0, 1, 2
NO_SECTION = 0xFFFFFFFF
GPA_BASE = 0x100000
RING_PAGES = 16                      # each way, header page included
RECV_PAGES, SEND_PAGES = 64, 16
KEY = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcb"
                    "ae7b30b477cb2da38030f20c6a42b73bbeac01fa")

OID_LIST, OID_FRAME_SIZE, OID_SPEED = 0x10101, 0x10106, 0x10107
OID_FILTER, OID_CONNECT, OID_RSS_CAPS, OID_RSS = 0x1010E, 0x10114, 0x10203, 0x10204
OID_MAC, OID_HWCAPS, OID_OFFLOAD, OID_CURRENT = 0x1010101, 0xFC01020D, 0xFC01020C, 0xFC01020B


def until(cond, seconds=20):
    end = time.monotonic() + seconds
    while True:
        got = cond()
        if got or time.monotonic() > end:
            return got
        time.sleep(0.0005)


class Packet:
    def __init__(self, raw):
        self.type, off8, _, self.flags, self.tid = struct.unpack_from("<4HQ", raw)
        self.ext, self.payload = raw[16:off8 * 8], raw[off8 * 8:]
        self.ranges = []
        if self.type == XFER:
            n = struct.unpack_from("<I", self.ext, 4)[0]
            self.ranges = [struct.unpack_from("<2I", self.ext, 8 + 8 * i) for i in range(n)]
        self.kind = struct.unpack_from("<I", self.payload)[0] if len(self.payload) >= 4 else None

    def u32(self, off):
        return struct.unpack_from("<I", self.payload, off)[0]


class Channel:
    """Both rings of a channel; page is the guest page they start at."""

    def __init__(self, guest, relid, page, gpadl):
        self.g, self.relid, self.gpadl = guest, relid, gpadl
        self.out, self.inn = page * PAGE, (page + RING_PAGES) * PAGE
        self.size = (RING_PAGES - 1) * PAGE
        self.words = memoryview(guest.mem).cast("I")
        self.fence = threading.Lock()  # taking one orders stores before loads
        self.rings = True  # the host's doorbell, when it is owed
        self.late = 0  # seconds from finding that to doing it
        guest.mem[self.out:self.out + 2 * RING_PAGES * PAGE] = bytes(2 * RING_PAGES * PAGE)
        self.words[self.inn // 4 + 2] = 1
        pfns = [GPA_BASE // PAGE + page + i for i in range(2 * RING_PAGES)]
        assert guest.gpadl(relid, gpadl, pfns) == 0
        self.status = guest.open(relid, gpadl, RING_PAGES)

    def _copy_in(self, at, data):
        for i, b in enumerate(data):
            self.g.mem[self.out + PAGE + (at + i) % self.size] = b

    def raw(self, data):
        """Put bytes that make a whole packet with its trailer into the ring."""
        w = self.words[self.out // 4]

        def room():
            r = self.words[self.out // 4 + 1]
            return (r - w - 1) % self.size > len(data)
        assert until(room), "the host does not read"
        self._copy_in(w, data)
        # One store: the "<I" of struct writes bytes.
        self.words[self.out // 4] = (w + len(data)) % self.size
        with self.fence:
            pass
        if self.rings and self.words[self.out // 4 + 2] == 0 and self.words[self.out // 4 + 1] == w:
            time.sleep(self.late)
            self.g.signal(self.relid)

    def send(self, payload, tid=1, flags=RC, kind=INBAND, ext=b""):
        payload += bytes(-len(payload) % 8)
        off8 = 2 + len(ext) // 8
        self.raw(struct.pack("<4HQ", kind, off8, off8 + len(payload) // 8, flags, tid) + ext
                 + payload + struct.pack("<2I", 0, self.words[self.out // 4]))

    def free(self):
        w, r = self.words[self.inn // 4], self.words[self.inn // 4 + 1]
        return self.size - (w - r) % self.size

    def read(self, seconds=20):
        """The next packet of the host, None if there is none."""
        m, base = self.g.mem, self.inn
        r = self.words[base // 4 + 1]
        if not until(lambda: self.words[base // 4] != r, seconds):
            return None
        ring = m[base + PAGE:base + PAGE + self.size]
        ring = ring[r:] + ring[:r]
        n = struct.unpack_from("<H", ring, 4)[0] * 8
        free = self.free()
        self.words[base // 4 + 1] = (r + n + 8) % self.size
        with self.fence:
            pass
        pending = self.words[base // 4 + 3]
        if self.rings and pending and free <= pending < self.free():
            self.g.signal(self.relid)
        return Packet(ring[:n])

    def idle(self):
        """The host has read everything and has nothing to say."""
        return until(lambda: not self.pending()) and self.read(0.05) is None

    def pending(self):
        return self.words[self.out // 4] != self.words[self.out // 4 + 1]

    def complete(self, pkt, tid=None, status=1):
        self.send(struct.pack("<2I", 108, status), pkt.tid if tid is None else tid, 0, COMP)


class Nic:
    """One NIC brought up step by step; pages of guest memory are laid out by hand."""

    def __init__(self, path, contact=(5, 3), pages=1024):
        self.g = vmu.Guest(path, pages=pages)
        assert self.g.contact(*contact) == 1
        self.relid = self.g.offers()[0]
        self.g.msgs.clear()
        self.next_page, self.next_gpadl, self.tid, self.rid = 0, 0x100, 100, 0
        self.events, self.subs, self.held = [], {}, []
        self.ch = self.channel(self.relid)

    def pages(self, n):
        self.next_page += n
        return self.next_page - n

    def channel(self, relid):
        self.next_gpadl += 1
        return Channel(self.g, relid, self.pages(2 * RING_PAGES), self.next_gpadl)

    def buffer(self, pages):
        self.next_gpadl += 1
        page = self.pages(pages)
        pfns = [GPA_BASE // PAGE + page + i for i in range(pages)]
        assert self.g.gpadl(self.relid, self.next_gpadl, pfns) == 0
        return page * PAGE, self.next_gpadl

    # --- NVSP ---------------------------------------------------------------------------------
    def nvsp(self, *fields, fmt=None, tid=None, size=40, flags=RC):
        """Send a message; returns the transaction id."""
        self.tid += 1
        tid = self.tid if tid is None else tid
        body = struct.pack(fmt or f"<{len(fields)}I", *fields)
        self.ch.send(body + bytes(max(0, size - len(body))), tid, flags)
        return tid

    def ask(self, *fields, **kw):
        """The completion of a message."""
        return self.completion_of(self.nvsp(*fields, **kw))

    def completion_of(self, tid):
        while True:
            p = self.ch.read()
            assert p is not None, "no answer"
            if p.type == COMP and p.tid == tid:
                return p
            self.events.append(p)

    def init(self, version=V61):
        return self.ask(1, version, version)

    def config(self, mtu=1514, caps=0x2C):
        self.nvsp(125, mtu, 0, caps, fmt="<3IQ", flags=0)

    def ndis(self, major=6, minor=30):
        self.nvsp(100, major, minor, flags=0)

    def recv_buf(self, pages=RECV_PAGES):
        self.recv, gpadl = self.buffer(pages)
        return self.ask(101, gpadl, 0xCAFE)

    def send_buf(self, pages=SEND_PAGES):
        self.sendb, gpadl = self.buffer(pages)
        return self.ask(104, gpadl, 0)

    def handshake(self, version=V61, mtu=1514, caps=0x2C, send=True, recv=RECV_PAGES):
        assert self.init(version).u32(12) == SUCCESS
        if version > V1:
            self.config(mtu, caps)
        self.ndis(6, 30 if version >= V5 else 1)
        r = self.recv_buf(recv)
        assert r.u32(4) == SUCCESS
        self.slot_size, self.slots = r.u32(16), r.u32(20)
        if send:
            s = self.send_buf()
            assert s.u32(4) == SUCCESS
            self.section = s.u32(8)
        return self

    # --- RNDIS --------------------------------------------------------------------------------
    def gpa(self, data, at=None):
        """Data in memory of its own, as the range list of a GPA-direct packet."""
        if at is None:
            at = self.pages(-(-len(data) // PAGE)) * PAGE
        self.g.mem[at:at + len(data)] = data
        gpa = GPA_BASE + at
        off = gpa % PAGE
        n = (off + len(data) + PAGE - 1) // PAGE
        return struct.pack(f"<2I{n}Q", len(data), off, *[gpa // PAGE + i for i in range(n)])

    def rndis(self, msg, ranges=None, channel=1, section=NO_SECTION, used=0, ch=None, tid=None,
              flags=RC):
        """Send bytes as GPA-direct, or what is in a section; returns the transaction id."""
        self.tid += 1
        tid = self.tid if tid is None else tid
        ranges = ranges if ranges is not None else [self.gpa(msg)] if msg else []
        body = struct.pack("<4I", 107, channel, section, used) + bytes(24)
        ext = struct.pack("<2I", 0, len(ranges)) + b"".join(ranges) if ranges else b""
        (ch or self.ch).send(body, tid, flags, GPA if ranges else INBAND, ext)
        return tid

    def control(self, kind, body, **kw):
        """A control message; the reply from byte 8 on, and its type."""
        self.rid += 1
        msg = struct.pack("<3I", kind, 12 + len(body), self.rid) + body
        if not hasattr(self, "ctl"):
            self.ctl = self.pages(1) * PAGE
        tid = self.rndis(msg, [self.gpa(msg, self.ctl)], **kw)
        done = reply = None
        while done is None or reply is None:
            p = self.ch.read()
            assert p is not None, "no answer"
            if p.type == COMP and p.tid == tid:
                done = p
                assert p.u32(4) == SUCCESS
                continue
            m = self.message(p) if p.type == XFER else b""
            if len(m) >= 12 and m[3] == 0x80 and struct.unpack_from("<I", m, 8)[0] == self.rid:
                reply = m
                self.ch.complete(p)
            else:
                self.events.append(p)
        return struct.unpack_from("<I", reply)[0], reply

    def message(self, pkt, i=0):
        length, off = pkt.ranges[i]
        return bytes(self.g.mem[self.recv + off:self.recv + off + length])

    def rndis_init(self):
        kind, r = self.control(2, struct.pack("<3I", 1, 0, 0x4000))
        assert kind == 0x80000002
        return struct.unpack_from("<10I", r, 12)

    def query(self, oid, data=b""):
        kind, r = self.control(4, struct.pack("<4I", oid, len(data), 20, 0) + data)
        assert kind == 0x80000004
        status, length, off = struct.unpack_from("<3I", r, 12)
        return status, r[8 + off:8 + off + length]

    def set(self, oid, data):
        kind, r = self.control(5, struct.pack("<4I", oid, len(data), 20, 0) + data)
        assert kind == 0x80000005
        return struct.unpack_from("<I", r, 12)[0]

    def up(self, version=V61, filter=0xB, **kw):
        self.handshake(version, **kw)
        self.rndis_init()
        if filter:
            assert self.set(OID_FILTER, struct.pack("<I", filter)) == 0
        return self

    def indication(self):
        """The next INDICATE: status and buffer."""
        for i, p in enumerate(self.events):
            if p.type == XFER and self.message(p)[0] == 7:
                self.events.pop(i)
                break
        else:
            p = self.ch.read()
            assert p is not None and p.type == XFER, "no indication"
        m = self.message(p)
        assert m[0] == 7
        self.ch.complete(p)
        status, length, off = struct.unpack_from("<3I", m, 8)
        return status, m[8 + off:8 + off + length]

    # --- sub-channels ---------------------------------------------------------------------------
    def subchannels(self, n):
        r = self.ask(133, 1, n)
        assert r.kind == 133 and r.u32(4) == SUCCESS
        for _ in range(r.u32(8)):
            offer = self.g.message(1)
            index, _, relid = struct.unpack_from("<2HI", offer, 180)
            self.subs[index] = self.channel(relid)
            assert self.subs[index].status == 0
        return r.u32(8)

    def rss(self, table, key=KEY, flags=0, hash_info=0xD701, kind=0x89):
        tab = struct.pack(f"<{len(table)}I", *table)
        return self.set(OID_RSS, struct.pack("<2BH2HI2HI2H4I", kind, 2, 40, flags, 0, hash_info,
                                             len(tab), 0, 40, len(key), 0, 40 + len(tab), 0, 0, 0)
                        + tab + key)

    # --- frames ---------------------------------------------------------------------------------
    def section_send(self, index, msgs, ch=None, **kw):
        data = b"".join(msgs)
        at = self.sendb + index * self.section
        self.g.mem[at:at + len(data)] = data
        return self.rndis(b"", [], 0, index, len(data), ch, **kw)

    def completion(self, tid, ch=None):
        """Status of a send."""
        while True:
            p = (ch or self.ch).read()
            assert p is not None, "no completion"
            if p.type == COMP and p.tid == tid:
                assert p.kind == 108
                return p.u32(4)
            self.events.append(p)

    def frames(self, n, ch=None, seconds=20):
        """n received frames as (frame, {ppi type: value}); packets are completed."""
        ch, got = ch or self.ch, []
        while len(got) < n:
            p = ch.read(seconds)
            if p is None:
                break
            if p.type != XFER:
                self.events.append(p)
                continue
            for i in range(len(p.ranges)):
                got.append(parse(self.message(p, i)))
            ch.complete(p)
        return got


def ppi(kind, value):
    return struct.pack("<4I", 16, kind, 12, value)


def packet(frame, ppis=b"", pad=0, **over):
    """An RNDIS PACKET message."""
    f = dict(kind=1, len=44 + len(ppis) + len(frame) + pad, data_off=36 + len(ppis),
             data_len=len(frame), oob=0, oob_len=0, oob_count=0, ppi_off=36 if ppis else 0,
             ppi_len=len(ppis), vc=0, rsvd=0)
    f.update(over)
    return struct.pack("<11I", *f.values()) + ppis + frame + bytes(pad)


def parse(msg):
    f = struct.unpack_from("<11I", msg)
    assert f[0] == 1 and f[1] <= len(msg) and f[4:7] == (0, 0, 0)
    ppis, at, end = {}, 8 + f[7], 8 + f[7] + f[8]
    while f[8] and at < end:
        size, kind, off, value = struct.unpack_from("<4I", msg, at)
        ppis[kind] = value
        at += size
    return msg[8 + f[2]:8 + f[2] + f[3]], ppis
