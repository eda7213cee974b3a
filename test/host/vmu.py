# SPDX-License-Identifier: BSD-3-Clause
"""A vmbus-user guest in Python, able to speak malformed protocol."""
import array
import mmap
import os
import socket
import struct
import time

MAGIC = 0x31554D56
HELLO, MEM_ADD, MEM_DEL, POST, SIGNAL, RESET = 1, 2, 3, 4, 5, 6
HELLO_ACK, SINT_MESSAGE, SINT_EVENT, SIGNAL_FD, EVENT_FD, ACK = 16, 17, 18, 19, 20, 32
PAGE = 4096


class Guest:
    def __init__(self, path, pages=256, features=0, hello=True, keep_fds=False):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(20)
        self.sock.connect(str(path))
        self.seq = 0
        self.conn = 1
        self.msgs = []
        self.first = {}  # of each GPADL: its first page
        self.conns = {}  # of each offered relid: where its doorbell goes
        self.fds = [] if keep_fds else None  # descriptors the host gave, oldest first
        self.memfd = os.memfd_create("guest")
        os.ftruncate(self.memfd, pages * PAGE)
        self.mem = mmap.mmap(self.memfd, pages * PAGE)
        if hello:
            self.send(HELLO, struct.pack("<4IQ64s", 1, features, 2, 0, 0, b"pytest"))
            assert self.wait(HELLO_ACK)[:4] == struct.pack("<I", 1)
            assert self.mem_add(0x100000, pages * PAGE) == 0

    def send(self, kind, body=b"", flags=0, fd=None, magic=MAGIC, length=None):
        self.seq += 1
        hdr = struct.pack("<IHHII", magic, kind, flags,
                          len(body) if length is None else length, self.seq)
        anc = [] if fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                                      array.array("i", [fd]))]
        self.sock.sendmsg([hdr + body], anc)

    def recv(self):
        data, anc, _, _ = self.sock.recvmsg(512, 256)
        for _, _, fds in anc:
            for fd in array.array("i", fds):
                if self.fds is None:
                    os.close(fd)
                else:
                    self.fds.append(fd)
        if not data:
            raise ConnectionError("host hung up")
        kind, body = struct.unpack_from("<H", data, 4)[0], data[16:]
        if kind == SINT_MESSAGE and body[16:20] == b"\x01\0\0\0":
            self.conns[struct.unpack_from("<I", body, 200)[0]] = struct.unpack_from("<I", body,
                                                                                    208)[0]
        return kind, body

    def wait(self, kind):
        end = time.monotonic() + 20
        while time.monotonic() < end:
            got, body = self.recv()
            if got == kind:
                return body
            if got == SINT_MESSAGE:
                self.msgs.append(body[16:])
        raise TimeoutError(kind)

    def acked(self, kind, body=b"", fd=None):
        self.send(kind, body, flags=1, fd=fd)
        return struct.unpack("<I", self.wait(ACK))[0]

    def mem_add(self, gpa, size, offset=0, flags=0, fd=None):
        return self.acked(MEM_ADD, struct.pack("<3Q2I", gpa, size, offset, flags, 0),
                          self.memfd if fd is None else fd)

    def mem_del(self, gpa, size):
        return self.acked(MEM_DEL, struct.pack("<3Q2I", gpa, size, 0, 0, 0))

    def post(self, msg, conn=None):
        return self.acked(POST, struct.pack("<4I", self.conn if conn is None else conn, 1,
                                            len(msg), 0) + msg)

    def message(self, kind):
        """The next VMBus message of a type, in any order."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            for i, m in enumerate(self.msgs):
                if struct.unpack_from("<I", m)[0] == kind:
                    return self.msgs.pop(i)
            self.msgs.append(self.wait(SINT_MESSAGE)[16:])
        raise TimeoutError(kind)

    def wait_body(self, first):
        """The next control message that begins with this word, with its SynIC header."""
        while True:
            body = self.wait(SINT_MESSAGE)
            if struct.unpack_from("<I", body, 16)[0] == first:
                return body

    def contact(self, major, minor, monitor=(0, 0)):
        modern = major >= 5
        target = 2 if modern else 0
        status = self.post(struct.pack("<4I3Q", 14, 0, major << 16 | minor, 0, target, *monitor),
                           4 if modern else 1)
        if status:
            return None
        r = self.message(15)
        if modern:
            self.conn = struct.unpack_from("<I", r, 12)[0]
        return r[8]

    def offers(self):
        self.post(struct.pack("<II", 3, 0))
        self.message(4)
        return [struct.unpack_from("<I", m, 184)[0] for m in self.msgs if m[0] == 1]

    def gpadl(self, relid, ident, pfns, count=None):
        n = len(pfns) if count is None else count
        self.first[ident] = pfns[0]
        self.post(struct.pack("<4I2H2I", 8, 0, relid, ident, 8 + 8 * n, 1, n * PAGE, 0)
                  + struct.pack(f"<{len(pfns[:26])}Q", *pfns[:26]))
        for i in range(26, len(pfns), 28):
            part = pfns[i:i + 28]
            self.post(struct.pack("<4I", 9, 0, 0, ident) + struct.pack(f"<{len(part)}Q", *part))
        return struct.unpack_from("<I", self.message(10), 16)[0]

    def signal(self, relid):
        self.send(SIGNAL, struct.pack("<I2H", self.conns[relid], 0, 0))

    def open(self, relid, ident, page, feature=1):
        at = (self.first.get(ident, 0) - 0x100) * PAGE
        if 0 <= at < len(self.mem):
            struct.pack_into("<I", self.mem, at + 64, feature)
        self.post(struct.pack("<7I120x", 5, 0, relid, relid, ident, 0, page))
        return struct.unpack_from("<I", self.message(6), 16)[0]
