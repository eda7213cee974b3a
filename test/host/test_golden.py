# SPDX-License-Identifier: BSD-3-Clause
"""
What recorded guests said, said again: hv-host's answers against the recorded ones, field by field.

The guests' side of test/data/traces is authentic (Linux 6.1 and DPDK 22.11); the answers are those
of the stand-in they were recorded with, not of Hyper-V. DIFFERENT lists every field that differs,
with the reason; doc/hv_host.rst explains them.
"""
import collections
import gzip
import mmap
import os
import pathlib
import re
import struct
import threading

import nicguest as ng
import pytest
import vmu

TRACES = pathlib.Path(__file__).resolve().parents[1] / "data" / "traces"
PAGE, RAM = vmu.PAGE, 1 << 30
INBAND, XFER, GPA, COMP = ng.INBAND, ng.XFER, ng.GPA, ng.COMP
Line = collections.namedtuple("Line", "dir layer name chan raw")

# The recorded host, in our options.
NIC = ("mac=00:15:5d:01:02:03,guid=0000155d-0203-4d01-9a1c-00155d010203,slot-size=1728,"
       "slots=16384,max-transfer=16384,msg-len=exact,data-offset=0,csum=no,hash=no,vlan-strip=no,"
       "lso4=65535,lso6=65535,oids=openvmm,rss-udp=no,vf-rc=no,queues={queues}")
RUNS = {
    "linux-6.1-netvsc-1q": dict(queues=1),
    "linux-6.1-netvsc-2q": dict(queues=2, nic=",send-table=early"),
    "linux-6.1-netvsc-vf-hotplug": dict(queues=1),
    "linux-6.1-vmbus4.1": dict(queues=2, nic=",send-table=early", args=("--vmbus-max", "4.1")),
    "dpdk-22.11-netvsc-1q": dict(queues=1),
    "dpdk-22.11-netvsc-vf": dict(queues=1, nic=",vf-when=config"),
}

# (message, field, recorded, ours). The reasons are those of doc/hv_host.rst, in the same order.
OFFER = {("OFFERCHANNEL", "connection", "0x41", "0x2001"),
         ("OFFERCHANNEL", "flags", "0x0", "0x1"),
         ("OFFERCHANNEL", "monitor", "0x1", "0x0")}
INIT = {("completion 2", "version", "0x60001", "0xffffffff")}
OFFLOADS = {("extra", "control 7 0x40020006", None, None)}
ONE_QUEUE = {("QUERY 0x10203", "status", "0xc00000bb", "0x0"),
             ("QUERY 0x10203", "info", "", "880212000103000001000000010000008000"),
             ("QUERY 0x10203", "info_len", "0x0", "0x12"),
             ("QUERY 0x10203", "len", "0x18", "0x2a"),
             ("QUERY 0x10203", "range", 24, 42)}
TWO_QUEUES = {("QUERY 0x10203", "info", "880212000103000102000000020000008000",
               "880212000103000002000000020000008000")}
REMOVED = {("extra", "in-band 129 0x0", None, None)}
CONTACT = {("INITIATE_CONTACT", "status", 0, 18)}


def sub_offer(n):
    return {("OFFERCHANNEL", "connection", f"{0x41 + n:#x}", f"{0x2001 + n:#x}"),
            ("OFFERCHANNEL", "monitor", f"{1 + n:#x}", f"{n:#x}")}


ALL = OFFER | INIT | OFFLOADS
DIFFERENT = {
    "linux-6.1-netvsc-1q": ALL | ONE_QUEUE,
    "linux-6.1-netvsc-2q": ALL | TWO_QUEUES | sub_offer(1) | sub_offer(2),
    "linux-6.1-netvsc-vf-hotplug": ALL | ONE_QUEUE,
    "linux-6.1-vmbus4.1": ALL | TWO_QUEUES | sub_offer(1) | CONTACT,
    "dpdk-22.11-netvsc-1q": ALL | ONE_QUEUE,
    "dpdk-22.11-netvsc-vf": ALL | ONE_QUEUE | REMOVED,
}


def read(trace):
    out = []
    with gzip.open(TRACES / f"{trace}.raw.gz", "rt") as f:
        for text in f:
            m = re.match(r"\s*[\d.]+ (.)>. (\S+)\s+(\S*?)\s*ch=(\d+) len=\d+ :(.*)", text)
            out.append(Line(m[1], m[2], m[3], int(m[4]), bytes.fromhex(m[5])))
    return out


class Ring:
    """Both rings of a channel in pages that are scattered, as recorded."""

    def __init__(self, guest, relid, pfns, split):
        self.g, self.relid = guest, relid
        self.out, self.inn = pfns[:split], pfns[split:]
        self.fence, self.held = threading.Lock(), []
        for pfn in (self.out[0], self.inn[0]):
            guest.ram[pfn * PAGE:(pfn + 1) * PAGE] = bytes(PAGE)
        guest.words[self.inn[0] * PAGE // 4 + 2] = 1
        guest.words[self.out[0] * PAGE // 4 + 16] = 1

    def word(self, ring, i, value=None):
        at = ring[0] * PAGE // 4 + i
        if value is not None:
            self.g.words[at] = value
        return self.g.words[at]

    def send(self, raw):
        w, size = self.word(self.out, 0), (len(self.out) - 1) * PAGE
        raw += struct.pack("<2I", 0, w)
        for i, b in enumerate(raw):
            at = (w + i) % size
            self.g.ram[self.out[1 + at // PAGE] * PAGE + at % PAGE] = b
        self.word(self.out, 0, (w + len(raw)) % size)
        with self.fence:
            pass
        if self.word(self.out, 2) == 0 and self.word(self.out, 1) == w:
            self.g.signal(self.relid)

    def next(self, seconds):
        r, size = self.word(self.inn, 1), (len(self.inn) - 1) * PAGE
        if not ng.until(lambda: self.word(self.inn, 0) != r, seconds):
            return None

        def bytes_at(at, n):
            return bytes(self.g.ram[self.inn[1 + (at + i) % size // PAGE] * PAGE
                                    + (at + i) % PAGE] for i in range(n))
        n = struct.unpack("<H", bytes_at(r + 4, 2))[0] * 8
        raw = bytes_at(r, n)
        self.word(self.inn, 1, (r + n + 8) % size)
        return raw

    def take(self, match, seconds=20):
        """The first packet that matches; others are kept."""
        for i, raw in enumerate(self.held):
            if match(ng.Packet(raw)):
                return self.held.pop(i)
        while (raw := self.next(seconds)) is not None:
            if match(ng.Packet(raw)):
                return raw
            self.held.append(raw)
        return None


class Guest(vmu.Guest):
    """One whose memory is where the recorded guest's was."""

    def __init__(self, path):
        super().__init__(path, pages=1)
        fd = os.memfd_create("ram")
        os.ftruncate(fd, RAM)
        self.ram = mmap.mmap(fd, RAM)
        self.words = memoryview(self.ram).cast("I")
        assert self.mem_del(0x100000, PAGE) == 0
        assert self.mem_add(0, RAM, fd=fd) == 0
        os.close(fd)


# --- fields -----------------------------------------------------------------------------------

NAMES = {
    ("VMBUS", 1): ("class:16 instance:16 reserved:16 flags:2 mmio:2 user:120 sub:2 mmio2:2 relid:4 "
                   "monitor:1 allocated:1 dedicated:2 connection:4"),
    ("VMBUS", 6): "relid:4 open:4 status:4", ("VMBUS", 10): "relid:4 gpadl:4 status:4",
    ("VMBUS", 12): "gpadl:4", ("VMBUS", 15): "supported:1 state:1 pad:2 connection:4",
    ("NVSP", 2): "version:4 mdl:4 status:4",
    ("NVSP", 102): "status:4 sections:4 offset:4 size:4 count:4 end:4",
    ("NVSP", 105): "status:4 section:4", ("NVSP", 108): "status:4",
    ("NVSP", 107): "channel:4 section:4 used:4", ("NVSP", 133): "status:4 count:4",
    ("NVSP", 134): "count:4 offset:4 table:64", ("NVSP", 128): "allocated:4 serial:4",
    ("RNDIS", 1): ("len:4 data_off:4 data_len:4 oob_off:4 oob_len:4 oob_n:4 ppi_off:4 ppi_len:4 "
                   "vc:4 reserved:4 frame"),
    ("RNDIS", 0x80000002): ("len:4 request:4 status:4 major:4 minor:4 flags:4 medium:4 packets:4 "
                            "transfer:4 align:4 af_off:4 af_len:4"),
    ("RNDIS", 0x80000004): "len:4 request:4 status:4 info_len:4 info_off:4 info",
    ("RNDIS", 0x80000005): "len:4 request:4 status:4",
}


def fields(layer, raw):
    """A message as {field: hexadecimal}; what has no name is its tail."""
    kind, out, at = struct.unpack_from("<I", raw)[0] if len(raw) >= 4 else None, {}, 4
    at = 8 if layer == "VMBUS" else 4
    for item in NAMES.get((layer, kind), "tail").split():
        name, _, size = item.partition(":")
        end = at + int(size) if size else len(raw)
        value = raw[at:end]
        out[name] = f"{int.from_bytes(value, 'little'):#x}" if size and int(size) <= 8 \
            else value.hex()
        at = end
    return kind, out


class Replay:
    def __init__(self, host, trace):
        self.h, self.trace, self.lines = host, trace, read(trace)
        self.g = Guest(host.path)
        self.rings, self.gpadls, self.tids, self.seen = {}, {}, {}, []
        self.recv = self.send = None
        self.section = 6144
        self.sends = self.completed = 0
        self.told = set()  # lines whose packet was dealt with
        self.oids = {}  # of the request with this id

    def differ(self, what, field, theirs, ours):
        if theirs != ours:
            self.seen.append((what, field, theirs, ours))

    def compare(self, what, layer, theirs, ours, free=()):
        (kind, a), (other, b) = fields(layer, theirs), fields(layer, ours)
        self.differ(what, "type", kind, other)
        for name in a:
            if name not in free:
                self.differ(what, name, a[name], b.get(name))

    # --- the guest's side -----------------------------------------------------------------------
    def vmbus_out(self, line):
        raw, kind = line.raw, struct.unpack_from("<I", line.raw)[0]
        if kind in (8, 9):
            ident = struct.unpack_from("<I", raw, 12)[0]
            at = 28 if kind == 8 else 16
            pfns = struct.unpack_from(f"<{(len(raw) - at) // 8}Q", raw, at)
            self.gpadls.setdefault(ident, []).extend(pfns)
        if kind == 11:
            self.gpadls.pop(struct.unpack_from("<I", raw, 12)[0])
        if kind == 5:
            relid, _, ident, _, page = struct.unpack_from("<5I", raw, 8)
            self.rings[relid] = Ring(self.g, relid, self.gpadls[ident], page)
        status = self.g.post(raw, line.chan if kind == 14 else None)
        self.differ(line.name, "status", 0, status)
        self.refused = status != 0

    def content(self, i):
        """The RNDIS bytes of the send at line i, which are recorded behind it."""
        out = b""
        for line in self.lines[i + 1:]:
            if line.dir == "G" and line.layer == "RING" and line.chan == self.lines[i].chan:
                break
            if line.dir == "G" and line.layer.startswith("RNDIS") and \
                    line.chan == self.lines[i].chan:
                out += line.raw
        return out

    def fill(self, i):
        """Memory of a send as it was."""
        p = ng.Packet(self.lines[i].raw)
        if p.kind != 107:
            return
        self.sends += 1
        data, parts = self.content(i), []
        section, used = p.u32(8), p.u32(12)
        if section != ng.NO_SECTION:
            at = section * self.section
            parts += [self.send[(at + k) // PAGE] * PAGE + (at + k) % PAGE for k in range(used)]
        if p.type == GPA:
            n, at = struct.unpack_from("<I", p.ext, 4)[0], 8
            for _ in range(n):
                length, off = struct.unpack_from("<2I", p.ext, at)
                pages = (off + length + PAGE - 1) // PAGE
                pfns = struct.unpack_from(f"<{pages}Q", p.ext, at + 8)
                parts += [pfns[(off + k) // PAGE] * PAGE + (off + k) % PAGE
                          for k in range(length)]
                at += 8 + 8 * pages
        assert len(data) <= len(parts), "recorded bytes fit the send"
        for at, b in zip(parts, data):
            self.g.ram[at] = b
        if data[0] in (4, 5) and len(data) >= 16:
            self.oids[struct.unpack_from("<I", data, 8)[0]] = struct.unpack_from("<I", data, 12)[0]

    def ring_out(self, i):
        line, p = self.lines[i], ng.Packet(self.lines[i].raw)
        ring, raw = self.rings[line.chan], bytearray(line.raw)
        if p.type == COMP:
            chan, tid = self.tids[(line.chan, p.tid)].popleft()
            ring = self.rings[chan]
            raw[8:16] = struct.pack("<Q", tid)
        if p.kind in (101, 104):
            pfns = self.gpadls[p.u32(4)]
            self.recv, self.send = (pfns, self.send) if p.kind == 101 else (self.recv, pfns)
        self.fill(i)
        raw += bytes(struct.unpack_from("<H", raw, 4)[0] * 8 - len(raw))
        ring.send(bytes(raw))

    # --- the host's ------------------------------------------------------------------------------
    def vmbus_in(self, line):
        kind = struct.unpack_from("<I", line.raw)[0]
        if kind == 15 and self.refused:
            return
        self.compare(line.name, "VMBUS", line.raw, self.g.message(kind))

    def slot(self, off, length):
        return bytes(self.g.ram[self.recv[(off + k) // PAGE] * PAGE + (off + k) % PAGE]
                     for k in range(length))

    def ring_in(self, i):
        line, p = self.lines[i], ng.Packet(self.lines[i].raw)
        what = {COMP: "completion", INBAND: "in-band", XFER: "received"}[p.type]
        if p.type == XFER:
            return self.received(i, p)
        if p.kind == 128:
            self.h.cmd("vf", action="plug", serial=p.u32(8)) if p.u32(4) else \
                self.h.cmd("vf", action="unplug")
        raw = self.rings[line.chan].take(
            lambda q: (q.type, q.kind) == (p.type, p.kind) and (p.type != COMP or q.tid == p.tid))
        if raw is None:
            self.seen.append((f"{what} of {p.kind}", "message", "sent", "none"))
            return
        q = ng.Packet(raw)
        self.completed += q.kind == 108
        what = f"{what} {p.kind}"
        self.differ(what, "len8", line.raw[4:6], raw[4:6])
        self.differ(what, "flags", p.flags, q.flags)
        self.differ(what, "tid", p.tid, q.tid)
        if p.kind is not None:
            self.compare(what, "NVSP", p.payload, q.payload)

    def answer(self, chan, msg):
        """The packet with our answer to what the recorded one answers."""
        request = None if msg[0] == 7 else msg[8:12]

        def match(q):
            if q.type != XFER or q.u32(4) != 1:
                return False
            got = self.slot(q.ranges[0][1], 12)
            return (got[0], got[3]) == (msg[0], msg[3]) and request in (None, got[8:12])
        return self.rings[chan].take(match)

    def frames(self, chan):
        """A packet with frames, and the channel it came by: RSS may have sent it to another one."""
        def look():
            for at in [chan, *(c for c in self.rings if c != chan)]:
                raw = self.rings[at].take(lambda q: q.type == XFER and q.u32(4) == 0, 0)
                if raw is not None:
                    return raw, at
        return ng.until(look) or (None, chan)

    def messages(self, theirs, packet):
        for m, (length, off) in zip(theirs, packet.ranges):
            got = self.slot(off, length)
            assert off % 1728 == 0, "a slot begins where it must"
            kind = {1: "PACKET", 2: "INITIALIZE", 4: "QUERY", 5: "SET", 7: "INDICATE"}[m[0]]
            if m[0] in (4, 5):
                kind += f" {self.oids[struct.unpack_from('<I', m, 8)[0]]:#x}"
            self.differ(kind, "range", len(m), length)
            self.compare(kind, "RNDIS", m, got)

    def received(self, i, p):
        chan, control, at = self.lines[i].chan, p.u32(4) == 1, []
        name = f"received {'control' if control else 'data'}"
        for k in range(i + 1, len(self.lines)):
            line = self.lines[k]
            if (line.dir, line.layer, line.chan) == ("H", "RING", chan):
                break
            if line.dir == "H" and line.layer.startswith("RNDIS") and line.chan == chan:
                at.append(k)
        at = at[:len(p.ranges)]
        msgs = [self.lines[k].raw for k in at]
        self.told.update(at)
        if control:
            raw = self.answer(chan, msgs[0])
        else:
            for m in msgs:
                off, n = struct.unpack_from("<2I", m, 8)
                self.h.inject(m[8 + off:8 + off + n])
            raw, chan = self.frames(chan)
        if raw is None:
            self.seen.append((name, "message", "sent", "none"))
            return
        q = ng.Packet(raw)
        self.tids.setdefault((self.lines[i].chan, p.tid), collections.deque()).append((chan, q.tid))
        self.differ(name, "channel", self.lines[i].chan, chan)
        self.differ(name, "ranges", len(p.ranges), len(q.ranges))
        self.differ(name, "set id", p.ext[:2], q.ext[:2])
        self.differ(name, "flags", p.flags, q.flags)
        self.compare(name, "NVSP", p.payload, q.payload)
        self.messages(msgs, q)

    def unframed(self, i):
        """An answer whose packet the recorder lost, and that of its request's completion."""
        line = self.lines[i]
        raw = self.answer(line.chan, line.raw)
        assert raw is not None and self.rings[line.chan].take(lambda q: q.kind == 108)
        self.completed += 1
        self.messages([line.raw], ng.Packet(raw))

    def run(self):
        for i, line in enumerate(self.lines):
            if line.layer == "VMBUS":
                self.vmbus_in(line) if line.dir == "H" else self.vmbus_out(line)
            elif line.layer == "RING":
                self.ring_out(i) if line.dir == "G" else self.ring_in(i)
            elif (line.dir, line.layer) == ("H", "RNDIS-CTL") and i not in self.told:
                self.unframed(i)

        def all_completed():
            for ring in self.rings.values():
                while (raw := ring.next(0)) is not None:
                    ring.held.append(raw)
            return self.completed + sum(ng.Packet(raw).kind == 108 for ring in self.rings.values()
                                        for raw in ring.held) >= self.sends
        ng.until(all_completed)
        for chan, ring in self.rings.items():
            while (raw := ring.next(0.05)) is not None:
                ring.held.append(raw)
            for raw in ring.held:
                q = ng.Packet(raw)
                # The recorder lost some: that each send has one is what counts.
                self.completed += q.kind == 108
                if q.kind != 108:
                    self.seen.append(("extra", self.name(q), None, None))
        assert self.completed == self.sends
        return self.seen

    def name(self, q):
        """What a packet is that nobody waited for."""
        if q.type != XFER:
            return f"{'in-band' if q.type == INBAND else 'completion'} {q.kind} {q.u32(4):#x}"
        m = self.slot(q.ranges[0][1], 12)
        return (f"{'control' if q.u32(4) == 1 else 'data'} {m[0]} "
                f"{struct.unpack_from('<I', m, 8)[0]:#x}")


@pytest.mark.parametrize("trace", RUNS)
def test_golden(nichost, trace):
    run = RUNS[trace]
    h = nichost(NIC.format(queues=run["queues"]) + run.get("nic", ""), *run.get("args", ()))
    assert set(Replay(h, trace).run()) == DIFFERENT[trace]
    h.end()
