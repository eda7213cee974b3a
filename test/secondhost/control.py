# SPDX-License-Identifier: BSD-3-Clause
"""The VMBus control protocol of one partition: contact, offers, GPADLs, channels."""
import os
import struct
import uuid

from . import ring
from .memory import PAGE, BadAddress, Pages, full_barrier, swap_zero
from .socket_server import INVALID_CONNECTION

(OFFER, RESCIND, REQUEST_OFFERS, ALL_OFFERS, OPEN, OPEN_RESULT, CLOSE, GPADL_HEADER, GPADL_BODY,
 GPADL_CREATED, GPADL_TEARDOWN, GPADL_TORNDOWN, RELID_RELEASED, INITIATE_CONTACT,
 VERSION_RESPONSE, UNLOAD, UNLOAD_RESPONSE) = range(1, 18)
MODIFY, MODIFY_RESPONSE = 22, 24
NIC_CLASS = uuid.UUID("f8615163-df3e-46c5-913f-f2d2f965ed0e")
VERSIONS = [(5, 3), (5, 2), (5, 1), (5, 0), (4, 1), (4, 0), (3, 0), (2, 4)]


class Channel:
    """An offer and what the guest made of it."""

    def __init__(self, device, index, relid, monitor):
        self.device = device
        self.index = index
        self.relid = relid
        self.monitor = monitor  # None: the doorbell is a hypercall
        self.connection = 0x40 + relid
        self.offered = False
        self.rescinded = False
        self.ring_gpadl = None
        self.vp = None
        self.inbound = None
        self.outbound = None
        self.signal_fd = None
        self.queue = []  # packets that found no room

    @property
    def open(self):
        return self.inbound is not None

    @property
    def name(self):
        return f"channel {self.relid}"


class Gpadl:
    def __init__(self, relid, pages, size):
        self.relid = relid
        self.wanted = pages
        self.size = size
        self.pfns = []
        self.buffer = None


class Bus:
    """The host's end of VMBus for one partition."""

    def __init__(self, partition, rules, config, devices):
        self.partition = partition
        self.rules = rules
        self.config = config
        self.version = None
        self.asked = []
        self.connection = None
        self.monitor = None
        self.vp = 0
        self.channels = {}
        self.gpadls = {}
        self.history = []  # types of the messages, in order
        self.requested = False
        self.unloaded = False
        self.next_relid = config.first_relid
        self.devices = devices
        for device in devices:
            device.attach(self)

    # Messages

    def send(self, *fields, tail=b""):
        kind, *body = fields
        raw = struct.pack(f"<II{len(body)}I", kind, 0, *body) + tail
        self.partition.message(self.vp, raw)

    def message(self, connection, data):
        rules = self.rules
        if not rules.check(len(data) >= 8, f"VMBus message of {len(data)} bytes"):
            return 5
        kind, pad = struct.unpack_from("<II", data)
        rules.equal(pad, 0, f"VMBus message {kind}: padding")
        self.history.append(kind)
        if kind == INITIATE_CONTACT:
            return self._contact(connection, data)
        if not rules.check(self.version is not None, f"VMBus message {kind} before contact"):
            return INVALID_CONNECTION
        rules.equal(connection, self.connection, f"connection of VMBus message {kind}")
        sizes = {REQUEST_OFFERS: 8, OPEN: 148, CLOSE: 12, GPADL_TEARDOWN: 16, RELID_RELEASED: 12,
                 UNLOAD: 8, MODIFY: 16}
        if kind in sizes:
            if not rules.equal(len(data), sizes[kind], f"size of VMBus message {kind}"):
                return 0
        handler = {REQUEST_OFFERS: self._request, OPEN: self._open, CLOSE: self._close,
                   GPADL_HEADER: self._gpadl, GPADL_BODY: self._gpadl_body,
                   GPADL_TEARDOWN: self._teardown, RELID_RELEASED: self._released,
                   UNLOAD: self._unload, MODIFY: self._modify}.get(kind)
        if rules.check(handler is not None, f"VMBus message type {kind}"):
            handler(data)
        return 0

    def _contact(self, connection, data):
        rules = self.rules
        if not rules.equal(len(data), 40, "size of INITIATE_CONTACT"):
            return 5
        raw, vp, info, down, up = struct.unpack_from("<IIQQQ", data, 8)
        version = raw >> 16, raw & 0xFFFF
        rules.check(version in VERSIONS, f"VMBus version {version}")
        rules.check(not self.asked or version < self.asked[-1] or self.unloaded,
                    f"VMBus version {version} after {self.asked}")
        self.asked.append(version)
        rules.check(vp < self.partition.vps, f"INITIATE_CONTACT: VP {vp}")
        rules.equal(connection, 4 if version >= (5, 0) else 1, f"connection of contact {version}")
        if version >= (5, 0):
            rules.equal(info, 2, "INITIATE_CONTACT: SINT, VTL, features")
        else:
            rules.check(info % PAGE == 0, f"INITIATE_CONTACT: interrupt page {info:#x}")
        rules.check((down == 0) == (up == 0), "INITIATE_CONTACT: one monitor page of two")
        rules.check(down % PAGE == up % PAGE == 0, "INITIATE_CONTACT: monitor page's offset")
        if version >= (5, 0) and self.config.no_connection_4:
            return INVALID_CONNECTION
        self.vp = vp
        answer = version if version in self.config.versions else None
        if answer:
            self.version = version
            self.unloaded = False
            self.connection = self.config.message_connection if version >= (5, 0) else 1
            try:
                self.monitor = self.partition.memory.at(up, PAGE) if up else None
                if down:
                    self.partition.memory.at(down, PAGE)
            except BadAddress as error:
                rules.check(False, f"monitor page: {error}")
                self.monitor = None
        last = self.connection if version >= (5, 0) else raw
        self.partition.message(vp, struct.pack("<IIBBHI", VERSION_RESPONSE, 0, int(bool(answer)),
                                               0, 0, last if answer else 0))
        return 0

    def _request(self, _):
        self.rules.check(not self.requested, "REQUESTOFFERS twice")
        self.requested = True
        for device in self.devices:
            device.offer()
        self.send(ALL_OFFERS)

    def _unload(self, _):
        for channel in list(self.channels.values()):
            self.rules.check(not channel.open, f"UNLOAD: {channel.name} is open")
        self.rules.check(not self.gpadls, f"UNLOAD with GPADLs {sorted(self.gpadls)}")
        self.lost()
        self.unloaded = True
        self.send(UNLOAD_RESPONSE)

    def lost(self):
        """The partition is gone or let go."""
        for channel in list(self.channels.values()):
            self.close(channel, tell=False)
        self.channels.clear()
        self.gpadls.clear()
        self.monitor = None
        self.version = None
        self.requested = False
        for device in self.devices:
            device.detach()

    def memory_goes(self, gpa, size):
        """MEM_DEL: nothing that the guest has handed over may lie in it."""
        low, high = gpa // PAGE, (gpa + size) // PAGE
        for ident, gpadl in self.gpadls.items():
            self.rules.check(not any(low <= p < high for p in gpadl.pfns),
                             f"MEM_DEL of memory in GPADL {ident:#x}")

    # Offers

    def offer(self, device, index):
        relid = self.next_relid
        self.next_relid += self.config.relid_step
        monitor = device.config.monitor_id(index) if self.monitor is not None else None
        channel = Channel(device, index, relid, monitor)
        self.channels[relid] = channel
        channel.offered = True
        self.partition.message(self.vp, self.offer_message(channel))
        return channel

    @staticmethod
    def offer_message(channel):
        device = channel.device
        has_monitor = channel.monitor is not None
        return struct.pack("<II16s16s16sHH120sHHIBBHI", OFFER, 0, NIC_CLASS.bytes_le,
                           device.config.instance.bytes_le, device.config.offer_rest, 0, 0,
                           device.config.user_data, channel.index, 0, channel.relid,
                           channel.monitor if has_monitor else 0xFF, int(has_monitor), 1,
                           channel.connection)

    def rescind(self, channel):
        if channel.rescinded:
            return
        channel.rescinded = True
        self.send(RESCIND, channel.relid)

    def _released(self, data):
        relid = struct.unpack_from("<I", data, 8)[0]
        channel = self.channels.get(relid)
        self.rules.check(channel is not None and channel.rescinded,
                         f"RELID_RELEASED of {relid}, which was not rescinded")
        for ident, gpadl in list(self.gpadls.items()):
            if gpadl.relid == relid:
                del self.gpadls[ident]
        if channel is not None:
            self.close(channel, tell=False)
            del self.channels[relid]

    # GPADLs

    def _gpadl(self, data):
        relid, ident, length, count, size, offset = struct.unpack_from("<IIHHII", data, 8)
        rules = self.rules
        name = f"GPADL {ident:#x}"
        pages = (offset + size + PAGE - 1) // PAGE
        channel = self.channels.get(relid)
        rules.check(channel is not None, f"{name}: relid {relid}")
        rules.check(ident and ident not in self.gpadls, f"{name}: id zero or in use")
        rules.equal(count, 1, f"{name}: ranges")
        rules.equal(length, 8 + 8 * pages, f"{name}: length of the ranges")
        rules.equal(offset, 0, f"{name}: offset in the first page")
        rules.check(size % PAGE == 0 and size, f"{name}: {size} bytes")
        here = (len(data) - 28) // 8
        rules.equal(len(data), 28 + 8 * min(pages, 26), f"{name}: size of the header message")
        gpadl = Gpadl(relid, pages, size)
        gpadl.pfns += struct.unpack_from(f"<{here}Q", data, 28)
        self.gpadls[ident] = gpadl
        self._gpadl_done(ident, gpadl)

    def _gpadl_body(self, data):
        ident = struct.unpack_from("<I", data, 12)[0]
        gpadl = self.gpadls.get(ident)
        if not self.rules.check(gpadl is not None and gpadl.buffer is None
                                and len(gpadl.pfns) < gpadl.wanted,
                                f"GPADL_BODY for {ident:#x}"):
            return
        left = min(gpadl.wanted - len(gpadl.pfns), 28)
        here = (len(data) - 16) // 8
        self.rules.equal(here, left, f"GPADL {ident:#x}: pages in a body")
        gpadl.pfns += struct.unpack_from(f"<{here}Q", data, 16)
        self._gpadl_done(ident, gpadl)

    def _gpadl_done(self, ident, gpadl):
        if len(gpadl.pfns) < gpadl.wanted:
            return
        status = self.config.gpadl_status
        try:
            gpadl.buffer = Pages(self.partition.memory, gpadl.pfns, gpadl.size)
        except BadAddress as error:
            self.rules.check(False, f"GPADL {ident:#x}: {error}")
            status = 0xC000000D
        if status:
            del self.gpadls[ident]
        self.send(GPADL_CREATED, gpadl.relid, ident, status)

    def _teardown(self, data):
        relid, ident = struct.unpack_from("<II", data, 8)
        gpadl = self.gpadls.get(ident)
        rules = self.rules
        if not rules.check(gpadl is not None and gpadl.relid == relid,
                           f"GPADL_TEARDOWN of {ident:#x} on {relid}"):
            return
        channel = self.channels.get(relid)
        if channel is not None and channel.open and not channel.rescinded:
            channel.device.service(channel)
            rules.check(ident != channel.ring_gpadl, f"{channel.name}: rings torn down while open")
            rules.check(self.version < (4, 0), f"GPADL {ident:#x} torn down before CLOSECHANNEL")
        if channel is not None:
            channel.device.gpadl_goes(ident)
        del self.gpadls[ident]
        self.send(GPADL_TORNDOWN, ident)

    def buffer(self, channel, ident):
        """A GPADL's memory, if it is this channel's and not its rings."""
        gpadl = self.gpadls.get(ident)
        self.rules.check(gpadl is not None and gpadl.relid == channel.relid
                         and ident != channel.ring_gpadl and gpadl.buffer is not None,
                         f"{channel.name}: buffer GPADL {ident:#x}")
        return gpadl.buffer if gpadl else None

    # Channels

    def _open(self, data):
        relid, ident, gpadl_id, vp, down = struct.unpack_from("<IIIII", data, 8)
        rules = self.rules
        channel = self.channels.get(relid)
        if not rules.check(channel is not None and not channel.open, f"OPENCHANNEL of {relid}"):
            return
        if channel.rescinded:
            return  # no answer at all
        if channel.device.config.on_open is not None:
            channel.device.config.on_open(self, channel)
            return
        gpadl = self.gpadls.get(gpadl_id)
        rules.zero(data[28:148], f"{channel.name}: user data of OPENCHANNEL")
        rules.check(vp < self.partition.vps or vp == 0xFFFFFFFF, f"{channel.name}: VP {vp}")
        if not rules.check(gpadl is not None and gpadl.relid == relid and gpadl.buffer is not None
                           and 1 < down < gpadl.wanted - 1,
                           f"{channel.name}: rings in GPADL {gpadl_id:#x}, second at {down}"):
            self.send(OPEN_RESULT, relid, ident, 0xC000000D)
            return
        if self.config.open_status:
            self.send(OPEN_RESULT, relid, ident, self.config.open_status)
            return
        channel.ring_gpadl = gpadl_id
        channel.vp = vp if vp != 0xFFFFFFFF else None
        cut = down * PAGE
        channel.inbound = ring.Inbound(gpadl.buffer, 0, cut, rules, f"{channel.name} to host")
        channel.outbound = ring.Outbound(gpadl.buffer, cut, gpadl.size - cut, rules,
                                         f"{channel.name} to guest")
        channel.signal_fd = self.partition.signal_fd(channel.connection)
        if channel.vp is not None:
            self.partition.event_fd(channel.vp, relid)
        self.send(OPEN_RESULT, relid, ident, 0)
        channel.device.opened(channel)

    def _close(self, data):
        relid = struct.unpack_from("<I", data, 8)[0]
        channel = self.channels.get(relid)
        if self.rules.check(channel is not None and channel.open, f"CLOSECHANNEL of {relid}"):
            self.poll_doorbells()
            channel.device.service(channel)  # what was sent before the close
            self.close(channel)

    def close(self, channel, tell=True):
        if not channel.open:
            return
        self.check_signals(channel)
        channel.device.closed(channel, tell)
        if tell:
            self.partition.no_signal_fd(channel.connection, channel.signal_fd)
            if channel.vp is not None:
                self.partition.no_event_fd(channel.vp, channel.relid)
        elif channel.signal_fd is not None:
            os.close(channel.signal_fd)
        channel.signal_fd = None
        channel.inbound = channel.outbound = channel.ring_gpadl = None
        channel.queue.clear()

    def _modify(self, data):
        relid, vp = struct.unpack_from("<II", data, 8)
        channel = self.channels.get(relid)
        self.rules.check(self.version >= (4, 1), "MODIFYCHANNEL before VMBus 4.1")
        self.rules.check(vp < self.partition.vps, f"MODIFYCHANNEL: VP {vp}")
        if not self.rules.check(channel is not None and channel.open, f"MODIFYCHANNEL of {relid}"):
            return
        if channel.vp is not None:
            self.partition.no_event_fd(channel.vp, relid)
        channel.vp = vp
        self.partition.event_fd(vp, relid)
        if self.version >= (5, 3):
            self.send(MODIFY_RESPONSE, relid, 0)

    # Doorbells

    def doorbell(self, connection, count):
        for channel in self.channels.values():
            if channel.connection == connection and channel.open:
                channel.inbound.signals += count
                channel.rung = True
                return 0
        return 0 if connection in {c.connection for c in self.channels.values()} else 17

    def poll_doorbells(self):
        """Monitor page and eventfds."""
        pending = {}
        if self.monitor is not None:
            for group in range(4):
                bits = swap_zero(self.monitor, 8 + 8 * group)
                pending.update({32 * group + b: 1 for b in range(32) if bits >> b & 1})
        for channel in list(self.channels.values()):
            if not channel.open:
                continue
            if channel.monitor is not None and pending.pop(channel.monitor, 0):
                self.doorbell(channel.connection, 1)
            if channel.signal_fd is not None:
                try:
                    self.doorbell(channel.connection, os.eventfd_read(channel.signal_fd))
                except BlockingIOError:
                    pass
        self.rules.check(not pending or all(self._closed_monitor(m) for m in pending),
                         f"monitor bits of nobody: {sorted(pending)}")

    def _closed_monitor(self, monitor):
        return any(c.monitor == monitor for c in self.channels.values())

    def check_signals(self, channel):
        into, out = channel.inbound, channel.outbound
        self.rules.check(into.signals <= into.allowed + out.crossings,
                         f"{into.name}: {into.signals} signals, {into.allowed} times empty, "
                         f"{out.crossings} times short of room")

    def interrupt(self, channel):
        if channel.vp is not None:
            self.partition.interrupt(channel.vp, channel.relid)
        full_barrier()
