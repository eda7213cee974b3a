# SPDX-License-Identifier: BSD-3-Clause
"""What a program may expect of uio_hv_generic, checked from inside: run-peer -- python3 abi.py.

Steps are named on the command line. Before what only the test can do, a step prints a word
and waits for a line.
"""
import errno
import mmap
import os
import pathlib
import select
import stat
import struct
import sys
import time

DEVICES = pathlib.Path("/sys/bus/vmbus/devices")
RECORDED = pathlib.Path(__file__).resolve().parents[1] / "data/sysfs/linux-6.12-uio.txt"
NAME = "00000001-0000-0000-0000-000000000000"
DEV = DEVICES / NAME
RING = 2 << 20
SIZES = [2 * RING, 4096, 4096, 31 << 20, 16 << 20]
KERNEL = os.environ.get("HVPEER_KERNEL", "6.12.59")
# What differs from one machine, or one moment, to another.
VARIES = ("addr", "device_id", "interrupts", "intr_out_empty", "monitor_id", "uevent", "name")


def tell(word):
    print(word, flush=True)
    sys.stdin.readline()


def soon(condition, what):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def fails(error, function, *args):
    try:
        function(*args)
    except OSError as e:
        assert e.errno == error, e
    else:
        raise AssertionError(f"{function} {args} did not fail")


def state():
    return int((DEV / "state").read_text())


def opened(flags=os.O_NONBLOCK):
    return os.open("/dev/uio0", os.O_RDWR | flags)


def u32(memory, at):
    return struct.unpack_from("<I", memory, at)[0]


def store32(memory, at, value):
    """At once: pack_into() writes zeros before, which a host that polls may see."""
    memoryview(memory)[at:at + 4].cast("I")[0] = value


def tree():
    """Each recorded entry is there: kind, mode, content."""
    seen = set()
    for line in RECORDED.read_text().splitlines():
        kind, rest = line[0], line.split("$DEV/", 1)[1]
        path = DEV / rest.split(" = ")[0].split(" -> ")[0]
        seen.add(str(path))
        mode = os.lstat(path).st_mode if path != DEV else os.stat(path).st_mode
        if kind == "D":
            assert stat.S_ISDIR(mode), path
        elif kind == "L":
            target = os.readlink(path).replace(NAME, "0000155d-0203-4d01-9a1c-00155d010203")
            assert stat.S_ISLNK(mode) and target == rest.split(" -> ")[1], path
        else:
            assert stat.S_IMODE(mode) == int(line.split()[1], 8), path
            if rest.endswith("= <EIO>"):
                fails(errno.EIO, path.read_text)
            elif path.name not in VARIES and " = " in rest:
                assert path.read_text().replace("\n", "|") == rest.split(" = ")[1], path
    have = {os.path.join(d, f) for d, dirs, files in os.walk(DEV) for f in dirs + files}
    assert have == seen - {f"{DEV}/."} - {str(DEV)}, have ^ seen
    assert os.listdir(DEVICES) == [NAME]
    assert os.listdir("/sys/class/uio") == ["uio0"]
    assert (pathlib.Path("/sys/class/uio/uio0/name")).read_text() == "uio_hv_generic\n"
    assert os.readlink(DEV).endswith(f"../devices/LNXSYSTM:00/LNXSYBUS:00/VMBUS:00/{NAME}")
    assert (DEV / "uio/uio0/maps/map3/name").read_text().startswith("recv:925")
    node = os.stat("/dev/uio0")
    assert stat.S_ISCHR(node.st_mode) and os.access("/dev/uio0", os.R_OK | os.W_OK)
    assert os.stat(DEV / "channels/1/ring").st_size == 2 * RING


def maps():
    """The first open opens the channel, the last close or unmap closes it."""
    assert state() == 2
    ring = os.open(DEV / "channels/1/ring", os.O_RDWR)
    fails(errno.ENODEV, mmap.mmap, ring, 2 * RING)
    fd, second = opened(), opened()
    assert state() == 3 and (DEV / "in_intr_mask").read_text() == "0\n"
    views = [mmap.mmap(fd, size, offset=i * 4096) for i, size in enumerate(SIZES)]
    fails(errno.EINVAL, mmap.mmap, fd, SIZES[1] + 1, mmap.MAP_SHARED, 3, 0, 4096)
    fails(errno.EINVAL, mmap.mmap, fd, 4096, mmap.MAP_SHARED, 3, 0, 5 * 4096)
    assert u32(views[0], 64) == 1 and u32(views[0], RING + 64) == 1
    same = mmap.mmap(ring, 2 * RING)
    same[100:104] = b"abcd"
    assert views[0][100:104] == b"abcd"
    os.close(fd)
    os.close(second)
    assert state() == 3
    for view in views:
        view.close()
    assert state() == 2
    fails(errno.EIO, (DEV / "channels/1/in_mask").read_text)
    fd = opened()
    again = mmap.mmap(fd, SIZES[0])
    assert again[100:104] == bytes(4) and u32(again, 0) == 0
    again.close()
    os.close(fd)


def send(rings, monitor, monitor_id=None):
    """One in-band packet of 32 bytes into the outbound ring, and the bell if it is wanted."""
    at = u32(rings, 0)
    struct.pack_into("<4HQQQQ", rings, 4096 + at, 6, 2, 4, 0, 7, 1, 2, at << 32)
    store32(rings, 0, at + 40)
    if monitor is not None and u32(rings, 8) == 0:
        if monitor_id is None:
            monitor_id = int((DEV / "monitor_id").read_text())
        store32(monitor, 8 + monitor_id // 32 * 8, 1 << monitor_id % 32)


def events(monitored=True):
    """read, write and poll."""
    assert (DEV / "monitor_id").exists() == monitored
    fd, second = opened(), opened()
    rings, monitor = mmap.mmap(fd, SIZES[0]), mmap.mmap(fd, 4096, offset=2 * 4096)
    poll = select.epoll()
    poll.register(fd, select.EPOLLIN)
    fails(errno.EINVAL, os.read, fd, 8)
    fails(errno.EINVAL, os.write, fd, b"12345678")
    for on in (0, 1) if monitored else (0,):
        assert os.write(fd, struct.pack("<i", on)) == 4
        assert u32(rings, RING + 8) == 1 - on
    for last in (False, True):
        while poll.poll(0):
            os.read(fd, 4)
        if not monitored:
            soon(lambda: u32(rings, 8) == 0, "a host that sleeps")
        fails(errno.EAGAIN, os.read, fd, 4)
        send(rings, monitor if monitored else None)
        if not monitored:  # both at once: unmask, and the bell
            os.write(fd, struct.pack("<i", 1))
        assert poll.poll(30) == [(fd, select.EPOLLIN)]
        first = struct.unpack("<I", os.read(fd, 4))[0]
        assert first > 0
        fails(errno.EAGAIN, os.read, fd, 4)
        # What the host wrote has to be taken before it interrupts again.
        soon(lambda: u32(rings, RING) != u32(rings, RING + 4), "the echo")
        store32(rings, RING + 4, u32(rings, RING))
    # Each open file has a count of its own.
    assert struct.unpack("<I", os.read(second, 4))[0] >= first
    os.close(fd)
    os.close(second)


def subchannels():
    """They come after the offer, go with the last close, and come again."""
    for _ in range(2):
        fd = opened()
        tell("subs")
        soon(lambda: len(os.listdir(DEV / "channels")) == 3, "two sub-channels")
        relids = sorted(int(n) for n in os.listdir(DEV / "channels"))[1:]
        for relid in relids:
            chan = DEV / "channels" / str(relid)
            soon((chan / "ring").exists, "ring")
            assert 1 <= int((chan / "subchannel_id").read_text()) <= 2
            assert stat.S_IMODE(os.stat(chan / "ring").st_mode) == 0o600
            ring = os.open(chan / "ring", os.O_RDWR)
            view = mmap.mmap(ring, os.fstat(ring).st_size)
            assert u32(view, 64) == 1
            os.write(fd, struct.pack("<i", 0))
            assert u32(view, RING + 8) == 1 and (chan / "in_mask").read_text() == "1\n"
            view.close()
            os.close(ring)
        os.close(fd)
        soon(lambda: os.listdir(DEV / "channels") == ["1"], "no sub-channels any more")


def kernel_masks():
    """Whose interrupts the kernel masks by itself, and whose for a write(): by its release."""
    old, own = KERNEL != "6.12.59", KERNEL == "6.12.52"
    fd = opened()
    tell("subs")
    soon(lambda: len(os.listdir(DEV / "channels")) == 3, "two sub-channels")
    chans = [DEV / "channels" / n for n in sorted(os.listdir(DEV / "channels"), key=int)]
    for chan in chans:
        soon((chan / "ring").exists, "ring")

    def masks():
        return [int((chan / "in_mask").read_text()) for chan in chans]
    assert masks() == [own] * 3
    ring = os.open(chans[1] / "ring", os.O_RDWR)
    view = mmap.mmap(ring, 2 * RING)
    store32(view, RING + 8, 1)
    for on in (1, 0, 1):
        before = masks()
        os.write(fd, struct.pack("<i", on))
        assert masks() == ([1 - on, *before[1:]] if old else [1 - on] * 3)
    view.close()
    os.close(ring)
    os.close(fd)


def interrupt_of(index):
    """Let the host interrupt a channel, whose ring is mapped from sysfs, and wait for that."""
    fd = opened()
    (chan,) = (c for c in (DEV / "channels").iterdir()
               if int((c / "subchannel_id").read_text()) == index)
    soon((chan / "ring").exists, "ring")
    ring, poll = os.open(chan / "ring", os.O_RDWR), select.epoll()
    view, monitor = mmap.mmap(ring, 2 * RING), mmap.mmap(fd, 4096, offset=2 * 4096)
    poll.register(fd, select.EPOLLIN)
    store32(view, RING + 8, 0)
    send(view, monitor, int((chan / "monitor_id").read_text()))
    assert poll.poll(30) == [(fd, select.EPOLLIN)]
    os.read(fd, 4)
    assert u32(view, RING + 8) == (KERNEL == "6.12.52")
    for memory in (view, monitor):
        memory.close()
    os.close(ring)
    os.close(fd)


def interrupts():
    """Of the primary channel, then of a sub-channel."""
    fd = opened()
    interrupt_of(0)
    tell("subs")
    soon(lambda: len(os.listdir(DEV / "channels")) == 3, "two sub-channels")
    print("a sub-channel's", flush=True)
    interrupt_of(1)
    os.close(fd)


def rescind():
    """The file tells of it; then the device is gone."""
    fd = opened()
    rings = mmap.mmap(fd, SIZES[0])
    poll = select.epoll()
    poll.register(fd, select.EPOLLIN)
    tell("rescind")
    end = select.EPOLLIN | select.EPOLLERR | select.EPOLLHUP
    soon(lambda: any(e & end == end for _, e in poll.poll(1)), "IN, ERR and HUP")
    fails(errno.EIO, os.read, fd, 4)
    fails(errno.EIO, os.write, fd, struct.pack("<i", 1))
    soon(lambda: os.listdir(DEVICES) == [], "no device any more")
    soon(lambda: not os.path.exists("/dev/uio0"), "no file any more")
    rings[0:4] = bytes(4)
    tell("offer")
    soon(lambda: os.listdir(DEVICES) == [NAME], "the device again")
    again = os.open("/dev/" + os.listdir(DEV / "uio")[0], os.O_RDWR)
    assert state() == 3
    os.close(again)
    rings.close()
    os.close(fd)


def unmonitored():
    events(monitored=False)


for step in sys.argv[1:]:
    globals()[step]()
    print("ok", step, flush=True)
