# SPDX-License-Identifier: BSD-3-Clause
"""vmbus-user: the datagrams between a partition and its host.

The design names the fields and their order; the sizes were read off the wire.
"""
import array
import os
import socket
import struct

from .memory import PAGE, Memory

MAGIC = 0x31554D56
HELLO, MEM_ADD, MEM_DEL, POST_MESSAGE, SIGNAL_EVENT, RESET = 1, 2, 3, 4, 5, 6
HELLO_ACK, SINT_MESSAGE, SINT_EVENT, SIGNAL_FD, EVENT_FD = 16, 17, 18, 19, 20
ACK, LOG = 32, 33
NEED_ACK = 1
HEADER = struct.Struct("<IHHII")
SIGNAL_FDS, EVENT_FDS = 1, 2  # features
INVALID_CONNECTION = 18
SINT = 2


class Partition:
    """One guest. `bus` gets its VMBus messages and doorbells."""

    def __init__(self, sock, rules, features):
        self.sock = sock
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 60, 0))
        self.rules = rules
        self.offered = features
        self.memory = Memory()
        self.features = None  # common ones, once it said hello
        self.vps = 0
        self.bus = None
        self.gone = False
        self.event_fds = {}  # (vp, flag): the eventfd that interrupts it
        self.interrupts = {}  # flag: how often
        self.log = []
        self.signals = 0  # doorbells that came as datagrams
        self.seq = 0

    def receive(self):
        """One datagram; False when there is none."""
        try:
            data, extra, _, _ = self.sock.recvmsg(1024, socket.CMSG_LEN(32), socket.MSG_DONTWAIT)
            fds = [fd for _, _, raw in extra for fd in array.array("i", raw)]
        except BlockingIOError:
            return False
        except OSError:
            data, fds = b"", []
        try:
            if data:
                self._datagram(data, fds)
            else:
                self.hang_up()
        finally:
            for fd in fds:
                os.close(fd)
        return True

    def hang_up(self):
        if not self.gone:
            self.gone = True
            self.sock.close()
            if self.bus is not None:
                self.bus.lost()
            self.memory.regions.clear()

    def _datagram(self, data, fds):
        check = self.rules.check
        if not check(16 <= len(data) <= 512, f"datagram of {len(data)} bytes"):
            return
        magic, kind, flags, length, seq = HEADER.unpack_from(data)
        body = data[16:]
        check(magic == MAGIC and flags & ~NEED_ACK == 0 and length == len(body),
              f"datagram header {data[:16].hex()}, body {len(body)}")
        check((kind == HELLO) == (self.features is None), f"datagram {kind}: HELLO comes first")
        check(len(fds) == int(kind == MEM_ADD), f"datagram {kind} with {len(fds)} descriptors")
        handler = {HELLO: self._hello, MEM_ADD: self._mem_add, MEM_DEL: self._mem_del,
                   POST_MESSAGE: self._post, SIGNAL_EVENT: self._signal, RESET: self._reset,
                   LOG: self._log, ACK: lambda *_: 0}.get(kind)
        if not check(handler is not None, f"datagram type {kind}"):
            return
        self.reply_to = seq
        status = handler(body, fds)
        if flags & NEED_ACK and not self.gone:
            self.send(ACK, struct.pack("<II", seq, status))

    def send(self, kind, body, fds=()):
        if self.gone:
            return
        self.seq += 1
        seq = self.reply_to if kind in (ACK, HELLO_ACK) else self.seq
        if kind == ACK:
            body = body[4:]
        try:
            socket.send_fds(self.sock, [HEADER.pack(MAGIC, kind, 0, len(body), seq) + body],
                            list(fds))
        except OSError:
            self.hang_up()

    def _hello(self, body, _):
        version, features, vps, status, _, name = struct.unpack("<IIIIQ64s", body)
        self.rules.equal(version, 1, "HELLO: version")
        self.rules.equal(status, 0, "HELLO: status")
        self.rules.check(1 <= vps <= 2048, f"HELLO: {vps} VPs")
        self.rules.check(b"\0" in name, "HELLO: name without end")
        self.vps = vps
        self.features = features & self.offered
        self.send(HELLO_ACK, struct.pack("<IIIIQ64s", 1, self.offered, 0, 0, 0, b"second host"))
        return 0

    def _mem_add(self, body, fds):
        gpa, size, offset, flags, _ = struct.unpack("<QQQII", body)
        ok = self.rules.check(gpa % PAGE == size % PAGE == offset % PAGE == 0 and size
                              and flags == 0, f"MEM_ADD {gpa:#x} {size:#x} {offset:#x} {flags:#x}")
        ok &= self.rules.check(not self.memory.overlaps(gpa, size), f"MEM_ADD {gpa:#x} overlaps")
        if ok and fds:
            self.memory.add(fds[0], gpa, size, offset)
        return 0 if ok else 5

    def _mem_del(self, body, _):
        gpa, size = struct.unpack_from("<QQ", body)
        if self.bus is not None:
            self.bus.memory_goes(gpa, size)
        found = self.memory.remove(gpa, size)
        self.rules.check(found, f"MEM_DEL {gpa:#x} {size:#x} was not added")
        return 0 if found else 5

    def _post(self, body, _):
        connection, kind, size, vp = struct.unpack_from("<IIII", body)
        self.rules.equal(kind, 1, "POST_MESSAGE: message type")
        self.rules.check(size <= 240 and len(body) == 16 + size,
                         f"POST_MESSAGE: size {size}, body {len(body)}")
        self.rules.check(vp < self.vps, f"POST_MESSAGE: VP {vp}")
        return self.bus.message(connection, body[16:16 + size])

    def _signal(self, body, _):
        connection, flag, reserved = struct.unpack("<IHH", body)
        self.rules.equal((flag, reserved), (0, 0), "SIGNAL_EVENT: flag, reserved")
        self.signals += 1
        return self.bus.doorbell(connection, 1)

    def _reset(self, *_):
        self.bus.lost()
        self.memory.regions.clear()
        return 0

    def _log(self, body, _):
        self.log.append(body.decode(errors="replace"))
        return 0

    def message(self, vp, payload):
        """A VMBus message to the guest."""
        self.send(SINT_MESSAGE, struct.pack("<IIII", vp, SINT, 1, len(payload)) + payload)

    def signal_fd(self, connection):
        """Give the guest an eventfd as doorbell, if it can; ours to read and close."""
        if not self.features & SIGNAL_FDS:
            return None
        fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.send(SIGNAL_FD, struct.pack("<IHH", connection, 0, 0), [fd])
        return fd

    def no_signal_fd(self, connection, fd):
        if fd is not None:
            self.send(SIGNAL_FD, struct.pack("<IHH", connection, 0, 0))
            os.close(fd)

    def event_fd(self, vp, flag):
        if self.features & EVENT_FDS and (vp, flag) not in self.event_fds:
            fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self.event_fds[vp, flag] = fd
            self.send(EVENT_FD, struct.pack("<III", vp, SINT, flag), [fd])

    def no_event_fd(self, vp, flag):
        fd = self.event_fds.pop((vp, flag), None)
        if fd is not None:
            self.send(EVENT_FD, struct.pack("<III", vp, SINT, flag))
            os.close(fd)

    def interrupt(self, vp, flag):
        self.interrupts[flag] = self.interrupts.get(flag, 0) + 1
        fd = self.event_fds.get((vp, flag))
        if fd is None:
            self.send(SINT_EVENT, struct.pack("<III", vp, SINT, flag))
        else:
            os.eventfd_write(fd, 1)
