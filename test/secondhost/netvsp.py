# SPDX-License-Identifier: BSD-3-Clause
"""The network host: NVSP of one NIC, from its offer on."""
import collections
import random
import struct

from . import objects, ring, rndis
from .config import V1, V2, V4, V5, V61
from .memory import BadAddress, Pages
from .rndis_control import Control
from .transmit import Parser

(INIT, INIT_COMPLETE, NDIS_VERSION, RECV_BUF, RECV_BUF_COMPLETE, REVOKE_RECV, SEND_BUF,
 SEND_BUF_COMPLETE, REVOKE_SEND, RNDIS, RNDIS_COMPLETE, NDIS_CONFIG, VF_ASSOC, SWITCH,
 SUBCHANNEL, TABLE) = (1, 2, 100, 101, 102, 103, 104, 105, 106, 107, 108, 125, 128, 129, 133, 134)
NO_SECTION = 0xFFFFFFFF
RECV_ID = 0xCAFE
SRIOV, RSC = 1 << 2, 1 << 7


class Session:
    """From the opening of the primary channel to its closing."""

    def __init__(self, data_path):
        self.version = None
        self.asked = []
        self.seen = []  # NVSP types, in order
        self.capabilities = 0
        self.mtu = 1500
        self.recv = self.send = None
        self.recv_gpadl = self.send_gpadl = None
        self.recv_id = RECV_ID
        self.revoked = False
        self.slot = self.slots = 0
        self.free = []
        self.busy = {}  # (relid, id): slots
        self.completed = 0
        self.tx_ids = {}  # outstanding (relid, id): what it was
        self.sub_asked = None
        self.table = None  # RSS
        self.data_path = data_path
        self.switches = []
        self.switching = None  # (channel, id) of a switch that is not completed
        self.control = None


class Nic:
    """A synthetic NIC. Tests drive it through receive(), sent, hold, complete()."""

    def __init__(self, config, rules):
        self.config = config
        self.rules = rules
        self.random = random.Random(1)
        self.bus = None
        self.channels = {}  # index: channel
        self.sessions = []
        self.session = None
        self.reset()

    def reset(self):
        self.sent = []  # frames
        self.groups = []  # frames in each message
        self.backlog = collections.deque()
        self.hold = False
        self.hold_switch = False
        self.associated = False
        self.held = []  # (channel, id, snapshot)
        self.tx_status = 1
        self.last_tx = None
        self.layout = rndis.OPENVMM
        self.rx_status = collections.Counter()

    # Offer, open, close

    def attach(self, bus):
        self.bus = bus

    def detach(self):
        self.channels.clear()

    def offer(self, index=0):
        self.channels[index] = self.bus.offer(self, index)

    def opened(self, channel):
        if channel.index == 0:
            self.session = Session(self.config.data_path)
            self.sessions.append(self.session)
            self.session.control = Control(self, self.session)
        else:
            self.rules.check(self.session is not None and self.session.sub_asked,
                             f"{channel.name} opened without asking for it")
            config = self.config
            open_ones = sum(c.open for c in self.channels.values())
            if config.table is not None and open_ones == len(self.channels):
                self.send_table(config.table)

    def closed(self, channel, orderly):
        """A channel closes; with the primary go the sub-channels."""
        session = self.session
        if channel.index or session is None:
            return
        if orderly and session.version is not None and not channel.rescinded:
            self._check_end(session)
        self.session = None
        for index, other in list(self.channels.items()):
            if index:
                if other.open:
                    self.bus.close(other, orderly)
                if orderly:
                    self.bus.rescind(other)
                del self.channels[index]

    def _check_end(self, session):
        check = self.rules.check
        if session.recv is None:
            return
        check(REVOKE_RECV in session.seen, "closed without revoking the receive buffer")
        check(session.send is None or REVOKE_SEND in session.seen,
              "closed without revoking the send buffer")
        check(session.control.filter in (0, None), "closed with packet filter "
              f"{session.control.filter}")
        check(session.control.halted or not session.control.initialized, "closed without HALT")

    def gpadl_goes(self, ident):
        session = self.session
        if session is not None and ident in (session.recv_gpadl, session.send_gpadl):
            self.rules.check(session.revoked, "buffer torn down without a revoke")

    # Guest to host

    def service(self, channel):
        """Something may have happened on a channel. Whether it did."""
        work = False
        while channel.open and not channel.inbound.dead:
            into = channel.inbound
            if not into.waiting():
                if not into.masked:
                    break
                into.mask(False)  # and look again: what came in between was not signalled
                continue
            into.mask(True)
            packets = into.take(64)
            if into.publish():
                self.bus.interrupt(channel)
            work = True
            for packet in packets:
                self.packet(channel, packet)
                if not channel.open:
                    break
        return work

    def packet(self, channel, packet):
        check = self.rules.check
        if not check(self.session is not None, f"{channel.name}: packet without session"):
            return
        if packet.type == ring.COMPLETION:
            self._completion(channel, packet)
            return
        if not check(packet.type in (ring.INBAND, ring.GPA_DIRECT), f"packet type {packet.type}"):
            return
        data = packet.payload
        if not check(len(data) == 40, f"{channel.name}: NVSP message of {len(data)} bytes"):
            return
        kind = struct.unpack_from("<I", data)[0]
        session = self.session
        if kind != RNDIS:
            session.seen.append(kind)
            check(packet.type == ring.INBAND, f"NVSP {kind} in a GPA direct packet")
            check(channel.index == 0, f"NVSP {kind} on a sub-channel")
        check(not session.revoked or kind in (REVOKE_RECV, REVOKE_SEND),
              f"NVSP {kind} after a revoke")
        check(session.version is not None or kind == INIT, f"NVSP {kind} before INIT")
        wants = {NDIS_VERSION: False, NDIS_CONFIG: False, REVOKE_RECV: False, REVOKE_SEND: False}
        self.rules.equal(packet.wants_completion, wants.get(kind, True),
                         f"NVSP {kind}: completion requested")
        if packet.wants_completion:
            check(packet.id != 0, f"NVSP {kind}: transaction id 0")
            check((channel.relid, packet.id) not in session.tx_ids,
                  f"NVSP {kind}: transaction id {packet.id:#x} is outstanding")
        handler = {INIT: self._init, NDIS_CONFIG: self._ndis_config,
                   NDIS_VERSION: self._ndis_version, RECV_BUF: self._recv_buf,
                   SEND_BUF: self._send_buf, REVOKE_RECV: self._revoke, REVOKE_SEND: self._revoke,
                   RNDIS: self._rndis, SUBCHANNEL: self._subchannel, SWITCH: self._switch}
        if check(kind in handler, f"NVSP type {kind}"):
            handler[kind](channel, packet, data)

    def reply(self, channel, ident, *fields, size=None):
        """A completion with an NVSP message, or empty."""
        if fields and fields[0] in self.config.replies:
            for packet in self.config.replies[fields[0]](ident):
                self.put(channel, packet)
            return
        body = struct.pack(f"<{len(fields)}I", *fields)
        body = body.ljust(size or self.config.reply_bytes, b"\0") if fields else b""
        self.put(channel, ring.encode(ring.COMPLETION, ident, body))

    def notify(self, kind, *fields, ident=0, completion=False, size=None, channel=None):
        """An in-band message that answers nothing."""
        body = struct.pack(f"<I{len(fields)}I", kind, *fields)
        body = body.ljust(size or self.config.reply_bytes, b"\0")
        self.put(channel or self.channels[0], ring.encode(ring.INBAND, ident, body,
                                                          completion=completion))

    def put(self, channel, packet):
        channel.queue.append(packet)
        self.flush(channel)

    def flush(self, channel):
        if not channel.open or not channel.queue:
            return
        done, signal = channel.outbound.put(channel.queue)
        del channel.queue[:done]
        if channel.queue:
            need = max(len(channel.queue[0]) + 8, (channel.outbound.size // 4) & ~7)
            channel.outbound.block(need)
        elif channel.outbound.blocked:
            channel.outbound.block(0)
        if signal:
            self.bus.interrupt(channel)

    def _init(self, channel, packet, data):
        session = self.session
        _, version, again = struct.unpack_from("<III", data)
        self.rules.equal(again, version, "INIT: second version")
        self.rules.zero(data[12:], "end of INIT")
        self.rules.check(version in (V1, V2, V4, V5, 0x60000, V61), f"NVSP version {version:#x}")
        self.rules.check(session.version is None, "INIT after success")
        self.rules.check(not session.asked or version < session.asked[-1],
                         f"NVSP version {version:#x} after {session.asked}")
        session.asked.append(version)
        ok = version in self.config.nvsp
        if ok:
            session.version = version
        self.reply(channel, packet.id, INIT_COMPLETE, 2 if version == V1 else 0xFFFFFFFF, 34,
                   1 if ok else self.config.refusal, size=self.config.init_complete_bytes)

    def _ndis_config(self, _, __, data):
        session, check = self.session, self.rules.check
        _, mtu, reserved, caps = struct.unpack_from("<IIIQ", data)
        check(session.version >= V2, "NDIS_CONFIG before NVSP 2")
        check(session.seen.count(NDIS_CONFIG) == 1 and RECV_BUF not in session.seen,
              f"NDIS_CONFIG: order {session.seen}")
        check(1514 <= mtu <= 9216, f"NDIS_CONFIG: MTU {mtu}")
        check(reserved == 0 and not any(data[20:]), "NDIS_CONFIG: reserved fields")
        check(caps & ~0xFF == 0 and caps & 8, f"NDIS_CONFIG: capabilities {caps:#x}")
        check(session.version >= V5 or not caps & 0x24, f"capabilities {caps:#x} before NVSP 5")
        check(session.version >= V61 or not caps & RSC, "RSC before NVSP 6.1")
        session.capabilities = caps
        session.mtu = min(mtu - 14, self.config.mtu)

    def _ndis_version(self, _, __, data):
        wanted = (6, 30) if self.session.version >= V5 else (6, 1)
        self.rules.equal(struct.unpack_from("<II", data, 4), wanted, "NDIS version")
        self.rules.zero(data[12:], "end of NDIS_VERSION")

    def _recv_buf(self, channel, packet, data):
        session, config = self.session, self.config
        _, gpadl, ident, reserved = struct.unpack_from("<IIHH", data)
        self.rules.equal(session.seen.count(RECV_BUF), 1, "number of RECV_BUF")
        self.rules.check(session.version < V2 or NDIS_CONFIG in session.seen,
                         "RECV_BUF before NDIS_CONFIG")
        self.rules.check(NDIS_VERSION in session.seen, "RECV_BUF before NDIS_VERSION")
        self.rules.equal(ident, RECV_ID, "receive buffer id")
        self.rules.check(reserved == 0 and not any(data[12:]), "RECV_BUF: reserved fields")
        session.recv = self.bus.buffer(channel, gpadl)
        session.recv_gpadl = gpadl
        session.recv_id = ident
        session.slot = config.slot or 256 + session.mtu + 14 + 36
        size = session.recv.size if session.recv else 0
        if session.version <= V2:
            size = min(size, 15 << 20)
        session.slots = min(size // session.slot, config.slots or size)
        session.free = list(range(16, session.slots))
        if config.order == "down":
            session.free.reverse()
        elif config.order == "random":
            self.random.shuffle(session.free)
        session.control.slots = list(range(16))
        self.reply(channel, packet.id, RECV_BUF_COMPLETE, config.recv_status, 1, 0, session.slot,
                   session.slots, session.slot * session.slots)

    def _send_buf(self, channel, packet, data):
        session = self.session
        _, gpadl, _ = struct.unpack_from("<IIH", data)
        self.rules.equal(session.seen.count(SEND_BUF), 1, "number of SEND_BUF")
        self.rules.check(not any(data[10:]), "SEND_BUF: reserved fields")
        session.send = self.bus.buffer(channel, gpadl)
        session.send_gpadl = gpadl
        self.reply(channel, packet.id, SEND_BUF_COMPLETE, self.config.send_status,
                   self.config.send_section)
        if self.config.send_status != 1:
            session.send = None

    def _revoke(self, _, __, data):
        session = self.session
        kind, ident = struct.unpack_from("<IH", data)
        self.rules.zero(data[6:], "end of REVOKE")
        self.rules.equal(session.seen.count(kind), 1, f"number of REVOKE {kind}")
        if kind == REVOKE_RECV:
            self.rules.equal(ident, session.recv_id, "id of the revoked receive buffer")
        self.rules.check(not session.tx_ids, f"revoke, {len(session.tx_ids)} messages outstanding")
        self.rules.check(not session.busy, f"revoke, {len(session.busy)} receptions not completed")
        session.revoked = True
        self.backlog.clear()

    def _subchannel(self, channel, packet, data):
        session, config = self.session, self.config
        _, operation, count = struct.unpack_from("<III", data)
        self.rules.equal(operation, 1, "SUBCHANNEL: operation")
        self.rules.zero(data[12:], "end of SUBCHANNEL")
        self.rules.check(session.version >= V5, "SUBCHANNEL before NVSP 5")
        self.rules.check(session.sub_asked is None, "SUBCHANNEL twice in a session")
        self.rules.check(session.control.initialized, "SUBCHANNEL before RNDIS INITIALIZE")
        self.rules.check(count >= 1, "SUBCHANNEL: none asked")
        session.sub_asked = count
        if count >= config.queues:
            self.reply(channel, packet.id, SUBCHANNEL, 2, 0)
            return
        granted = count if config.grant is None else config.grant
        self.reply(channel, packet.id, SUBCHANNEL, 1, granted)
        indices = list(range(1, granted + 1))
        if config.offer_order == "down":
            indices.reverse()
        for index in indices:
            self.offer(index)

    def _switch(self, channel, packet, data):
        _, path = struct.unpack_from("<II", data)
        self.rules.check(path in (0, 1), f"SWITCH_DATA_PATH {path}")
        self.rules.zero(data[8:], "end of SWITCH_DATA_PATH")
        self.rules.check(self.session.version >= V4, "SWITCH_DATA_PATH before NVSP 4")
        session = self.session
        self.rules.check(session.capabilities & SRIOV, "SWITCH_DATA_PATH without the capability")
        self.rules.check(session.switching is None, "SWITCH_DATA_PATH while one is pending")
        session.switches.append(path)
        session.switching = channel, packet.id, path
        if not self.hold_switch:
            self.switched()

    def switched(self):
        """A switch is done: empty, whatever came of it."""
        session = self.session
        channel, ident, path = session.switching
        session.switching = None
        if self.associated or path == 0:
            session.data_path = path
        self.reply(channel, ident)

    def send_table(self, entries, offset=None):
        at = offset or self.config.table_offset
        body = struct.pack("<III", TABLE, len(entries), at).ljust(at, b"\0")
        body += struct.pack(f"<{len(entries)}I", *entries)
        self.put(self.channels[0], ring.encode(ring.INBAND, 0, body))

    def vf_association(self, allocated, serial):
        self.associated = allocated
        if not allocated:
            self.session.data_path = 0
        self.notify(VF_ASSOC, int(allocated), serial, ident=1 << 63, completion=True)

    # Transmitted messages

    def _rndis(self, channel, packet, data):
        session, rules = self.session, self.rules
        _, control, section, size = struct.unpack_from("<IIII", data)
        rules.check(control in (0, 1), f"RNDIS channel type {control}")
        rules.zero(data[16:], "end of RNDIS_PKT")
        rules.check(session.recv is not None, "RNDIS before the receive buffer")
        places = self._places(packet, section, size)
        if not places:
            self.reply(channel, packet.id, RNDIS_COMPLETE, 2)
            return
        content = b"".join(self._bytes(places))
        first = len(next(self._bytes(places[:1])))
        session.tx_ids[channel.relid, packet.id] = section
        done = channel, packet.id, places, content
        if control:
            rules.equal(channel.index, 0, "channel of an RNDIS control message")
            session.control.request(done, content)
            return
        rules.check(session.control.initialized, "data before RNDIS INITIALIZE")
        config = self.config
        frames = Parser(rules, config.alignment, config.max_packets, session.mtu).message(
            content, first)
        # One packet alone may be longer: it is what it is (Linux does not look at it at all).
        rules.check(len(frames) <= 1 or len(content) <= config.max_transfer,
                    f"{len(frames)} packets in {len(content)} bytes")
        for frame in frames:
            frame.channel = channel.index
            frame.section = section != NO_SECTION
        self.sent += frames
        self.groups.append(len(frames))
        if self.hold:
            self.held.append(done)
        else:
            self.complete(done)

    def _places(self, packet, section, size):
        """Where a message lies: the section first, then the ranges."""
        session, check = self.session, self.rules.check
        places = []
        unit = self.config.send_section
        if section != NO_SECTION:
            ok = check(session.send is not None, "section without a send buffer")
            ok = ok and check(0 < size <= unit and (section + 1) * unit <= session.send.size,
                              f"section {section}, {size} bytes of {unit}")
            ok = ok and check(section not in session.tx_ids.values(), f"section {section} in use")
            if not ok:
                return []
            places.append((session.send, section * unit, size))
        else:
            self.rules.equal(size, 0, "size of no section")
        if packet.type != ring.GPA_DIRECT:
            check(places, "in-band RNDIS message without section")
            return places
        try:
            return places + list(self._ranges(packet.extension))
        except (BadAddress, struct.error) as error:
            check(False, f"GPA direct: {error}")
            return []

    def _ranges(self, extension):
        check = self.rules.check
        _, count = struct.unpack_from("<II", extension)
        check(1 <= count <= 32, f"GPA direct: {count} ranges")
        at = 8
        for _ in range(count):
            size, offset = struct.unpack_from("<II", extension, at)
            pages = (offset + size + 4095) // 4096
            check(size and offset < 4096, f"GPA direct: {size} bytes at {offset}")
            pfns = struct.unpack_from(f"<{pages}Q", extension, at + 8)
            at += 8 + 8 * pages
            yield Pages(self.bus.partition.memory, pfns, pages * 4096), offset, size
        self.rules.equal(at, len(extension), "GPA direct: size of the range list")

    @staticmethod
    def _bytes(places):
        for pages, offset, size in places:
            yield pages.read(offset, size)

    def complete(self, done, status=None, channel=None):
        """The host is done with a message; until now the guest left it alone."""
        where, ident, places, content = done
        self.last_tx = ident
        if self.session is None or self.session.tx_ids.pop((where.relid, ident), None) is None:
            return
        self.rules.check(b"".join(self._bytes(places)) == content,
                         f"message {ident:#x} was changed before its completion")
        self.reply(channel or where, ident, RNDIS_COMPLETE,
                   self.tx_status if status is None else status)

    # Host to guest

    def _completion(self, channel, packet):
        session, check = self.session, self.rules.check
        check(packet.flags == 0, f"completion with flags {packet.flags}")
        if packet.id == 1 << 63 and not packet.payload:
            return  # of a VF association; hosts need none
        slots = session.busy.pop((channel.relid, packet.id), None)
        if not check(slots is not None, f"{channel.name}: completion of {packet.id:#x}"):
            return
        ok = check(len(packet.payload) >= 8, f"completion of {len(packet.payload)} bytes")
        if ok:
            kind, status = struct.unpack_from("<II", packet.payload)
            self.rules.equal(kind, RNDIS_COMPLETE, "type of a completion")
            check(status in (1, 2), f"status of a completion {status}")
            self.rules.zero(packet.payload[8:], "end of a completion")
            self.rx_status[status] += 1
        session.completed += 1
        control = session.control
        for slot in slots:
            (control.slots if slot < 16 else session.free).append(slot)

    def transfer(self, channel, slots, ranges, control=0, ident=None):
        """A transfer-page packet over filled slots."""
        session = self.session
        if ident is None:
            ident = {"slot": slots[0], "top": (1 << 64) - 1 - slots[0],
                     "random": self.random.getrandbits(64)}[self.config.ids]
        session.busy[channel.relid, ident] = list(slots)
        payload = struct.pack("<IIII", RNDIS, control, NO_SECTION, 0)
        payload = payload.ljust(self.config.reply_bytes, b"\0")
        self.put(channel, ring.transfer_pages(ident, session.recv_id, ranges, payload))

    def receive(self, frames, per_message=1, queue=0):
        """Frames for the guest: bytes, or (bytes, PPIs); so many ranges a message."""
        frames = [f if isinstance(f, tuple) else (f, ()) for f in frames]
        for at in range(0, len(frames), per_message):
            self.backlog.append((queue, frames[at:at + per_message], self.layout))

    def deliver(self):
        """As much of the backlog as there are slots and room. Whether there was any."""
        work = False
        while self.backlog and self.session is not None and self.session.recv is not None:
            session = self.session
            queue, frames, layout = self.backlog[0]
            channel = self.channels.get(queue)
            if (len(session.free) < len(frames) or channel is None or not channel.open
                    or channel.queue or not session.control.filter or channel.outbound.blocked):
                break
            self.backlog.popleft()
            slots = [session.free.pop(0) for _ in frames]
            ranges = []
            for slot, (frame, ppis) in zip(slots, frames):
                length, raw = rndis.received(layout, session.slot, frame, ppis)
                session.recv.write(slot * session.slot, raw)
                ranges.append((length, slot * session.slot))
            self.transfer(channel, slots, ranges)
            work = True
        return work

    @property
    def offload(self):
        return self.config.offload or objects.offload()
