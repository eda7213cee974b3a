# SPDX-License-Identifier: BSD-3-Clause
"""RNDIS control requests of one session."""
import struct

from . import objects, rndis

SRIOV = 1 << 2


class Control:
    def __init__(self, nic, session):
        self.nic = nic
        self.rules = nic.rules
        self.session = session
        self.initialized = False
        self.halted = False
        self.filter = None
        self.requests = []  # (type, oid)
        self.offload = None  # parameters set
        self.slots = []
        self.late = None  # a request that is not completed yet

    def request(self, done, content):
        rules = self.rules
        if not rules.check(len(content) >= 12, f"RNDIS control message of {len(content)} bytes"):
            return
        kind, length, request = struct.unpack_from("<III", content)
        rules.equal(length, len(content), f"RNDIS {kind}: message length")
        rules.check(request != 0, f"RNDIS {kind}: request id 0")
        rules.check(not self.halted, f"RNDIS {kind} after HALT")
        rules.check((kind == rndis.INITIALIZE) != self.initialized,
                    f"RNDIS {kind}: INITIALIZE comes first, once")
        handler = {rndis.INITIALIZE: self._initialize, rndis.HALT: self._halt,
                   rndis.QUERY: self._query, rndis.SET: self._set,
                   rndis.KEEPALIVE: self._keepalive}.get(kind)
        if not rules.check(handler is not None, f"RNDIS type {kind:#x}"):
            self.nic.complete(done, 2)
            return
        replies = handler(request, content)
        config = self.nic.config
        if config.complete_late:
            if self.late is not None:
                self.nic.complete(self.late, 1)
            self.late = done
            if kind == rndis.HALT:  # the last one
                self.nic.complete(done, 1)
        elif not config.reply_first:
            self.nic.complete(done, 1)
        for raw in replies:
            self.send(raw)
        if config.reply_first and not config.complete_late:
            self.nic.complete(done, 1)
        session, vf = self.session, self.nic.config.vf
        if kind == rndis.INITIALIZE and vf is not None and session.capabilities & SRIOV:
            self.nic.vf_association(True, vf)

    def send(self, raw, length=None):
        """A control message to the guest."""
        session = self.session
        if not self.rules.check(self.slots, "no control slot left: completions are missing"):
            return
        slot = self.slots.pop(0)
        session.recv.write(slot * session.slot, raw)
        self.nic.transfer(self.nic.channels[0], [slot],
                          [(len(raw) if length is None else length, slot * session.slot)],
                          control=1)

    def _own(self, kind, request, oid, reply, after=()):
        self.requests.append((kind, oid))
        own = self.nic.config.answers.get(oid)
        return [reply, *after] if own is None else own(request)

    def _initialize(self, request, content):
        major, minor, transfer = struct.unpack_from("<III", content, 12)
        self.rules.equal((major, minor, len(content)), (1, 0, 24), "RNDIS INITIALIZE")
        self.rules.check(transfer >= 0x4000, f"RNDIS INITIALIZE: max transfer {transfer}")
        self.initialized = True
        config = self.nic.config
        reply = rndis.initialize_reply(request, 0, config.max_packets, config.max_transfer,
                                       config.alignment)
        return self._own(rndis.INITIALIZE, request, None, reply)

    def _halt(self, _, content):
        self.rules.equal(len(content), 12, "size of HALT")
        self.halted = True
        return []

    def _keepalive(self, request, _):
        return [rndis.message(rndis.KEEPALIVE | rndis.REPLY, struct.pack("<II", request, 0))]

    def _body(self, name, content):
        oid, size, offset, handle = struct.unpack_from("<IIII", content.ljust(28, b"\0"), 12)
        name = f"{name} {oid:#x}"
        self.rules.check(len(content) == 28 + size, f"{name}: {len(content)} bytes, data {size}")
        self.rules.check(offset == 20 or (offset == 0 and not size), f"{name}: offset {offset}")
        self.rules.equal(handle, 0, f"{name}: VC handle")
        return oid, content[28:28 + size]

    def _query(self, request, content):
        oid, data = self._body("QUERY", content)
        config, session = self.nic.config, self.session
        objects.check_query(self.rules, oid, data, session.version)
        u32 = {rndis.MEDIA_STATUS: 0, rndis.FRAME_SIZE: session.mtu,
               rndis.TOTAL_SIZE: session.mtu + 14, rndis.LINK_SPEED: config.link_speed * 10000,
               rndis.FILTER: 0, rndis.VENDOR: 0x155D}
        raw = {rndis.PERMANENT_MAC: config.mac, rndis.CURRENT_MAC: config.mac,
               rndis.OFFLOAD_HARDWARE: self.nic.offload, rndis.OFFLOAD_CURRENT: self.nic.offload}
        if oid in u32:
            answer = struct.pack("<I", u32[oid])
        elif oid in raw:
            answer = raw[oid]
        elif oid == rndis.RSS_CAPABILITIES and config.queues > 1:
            answer = objects.rss_capabilities(config.queues, config.rss_entries)
        else:
            answer = None
        reply = rndis.query_reply(request, rndis.SUCCESS if answer else rndis.NOT_SUPPORTED,
                                  answer or b"")
        return self._own(rndis.QUERY, request, oid, reply)

    def _set(self, request, content):
        oid, data = self._body("SET", content)
        rules, session, nic = self.rules, self.session, self.nic
        status, after = rndis.SUCCESS, []
        if oid == rndis.FILTER:
            rules.equal(len(data), 4, "size of a packet filter")
            value = struct.unpack("<I", data)[0]
            rules.check(value & ~0x2D == 0, f"packet filter {value:#x}")
            self.filter = value
        elif oid == rndis.OFFLOAD_PARAMETERS:
            objects.check_offload_parameters(rules, data, session.version)
            self.offload = data
            after = [rndis.indication(rndis.OFFLOAD_CONFIG, nic.offload)]
        elif oid == rndis.RSS_PARAMETERS:
            channels = {i for i, c in nic.channels.items() if c.open}
            session.table = objects.check_rss(rules, data, channels, nic.config.rss_entries)
        elif oid not in (rndis.CONFIG_PARAMETER, rndis.ENCAPSULATION):
            rules.check(False, f"SET of OID {oid:#x}")
            status = rndis.NOT_SUPPORTED
        return self._own(rndis.SET, request, oid, rndis.set_reply(request, status), after)
