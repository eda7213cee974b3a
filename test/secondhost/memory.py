# SPDX-License-Identifier: BSD-3-Clause
"""The guest's memory: shared files at guest-physical addresses, and lists of its pages."""
import ctypes
import mmap
import threading

PAGE = 4096
_barrier = threading.Lock()
_atomic = ctypes.CDLL("libatomic.so.1")


class BadAddress(Exception):
    """The guest named memory that is not its own."""


def full_barrier():
    """Stores before it are visible before loads after it: taking a lock is a locked operation."""
    with _barrier:
        pass


def swap_zero(view, offset):
    """Read a u32 of shared memory and clear it in one atomic operation."""
    word = ctypes.c_uint32.from_buffer(view, offset)
    return _atomic.__atomic_exchange_4(ctypes.byref(word), 0, 5) & 0xFFFFFFFF


class Memory:
    """Regions of guest-physical addresses."""

    def __init__(self):
        self.regions = []  # (gpa, size, mapping)

    def overlaps(self, gpa, size):
        return any(gpa < g + s and g < gpa + size for g, s, _ in self.regions)

    def add(self, fd, gpa, size, offset):
        self.regions.append((gpa, size, mmap.mmap(fd, size, offset=offset)))

    def remove(self, gpa, size):
        """Whether there was such a region. The mapping goes with its last user."""
        kept = [r for r in self.regions if r[:2] != (gpa, size)]
        found = len(kept) != len(self.regions)
        self.regions = kept
        return found

    def at(self, gpa, size):
        """A view of contiguous memory."""
        for start, length, mapping in self.regions:
            if start <= gpa and gpa + size <= start + length:
                return memoryview(mapping)[gpa - start:gpa - start + size]
        if size > PAGE - gpa % PAGE:
            raise BadAddress(f"{size} bytes at {gpa:#x}: not in one region")
        raise BadAddress(f"{size} bytes at {gpa:#x}")

    def read(self, gpa, size):
        """A copy; may cross regions."""
        out = b""
        while size:
            part = min(size, PAGE - gpa % PAGE)
            out += bytes(self.at(gpa, part))
            gpa += part
            size -= part
        return out


class Pages:
    """A buffer of scattered pages, as one range of bytes."""

    def __init__(self, memory, pfns, size):
        self.size = size
        self.count = len(pfns)
        self.runs = []  # (offset in the buffer, bytes, words)
        first = 0
        while first < len(pfns):
            end = first + 1
            while end < len(pfns) and pfns[end] == pfns[end - 1] + 1:
                end += 1
            self._add(memory, first * PAGE, pfns[first] * PAGE, (end - first) * PAGE)
            first = end

    def _add(self, memory, offset, gpa, length):
        try:
            view = memory.at(gpa, length)
            self.runs.append((offset, view, view.cast("I")))
        except BadAddress:
            if length == PAGE:
                raise
            for done in range(0, length, PAGE):
                self._add(memory, offset + done, gpa + done, PAGE)

    def _pieces(self, offset, size):
        if offset < 0 or offset + size > self.size:
            raise BadAddress(f"{size} bytes at {offset} of a buffer of {self.size}")
        low, high = 0, len(self.runs)
        while high - low > 1:
            middle = (low + high) // 2
            if self.runs[middle][0] <= offset:
                low = middle
            else:
                high = middle
        while size:
            start, view, _ = self.runs[low]
            part = min(size, start + len(view) - offset)
            yield view[offset - start:offset - start + part]
            offset += part
            size -= part
            low += 1

    def read(self, offset, size):
        return b"".join(bytes(p) for p in self._pieces(offset, size))

    def write(self, offset, data):
        for piece in self._pieces(offset, len(data)):
            piece[:] = data[:len(piece)]
            data = data[len(piece):]

    def word(self, offset):
        """Load an aligned u32 in one access."""
        for start, view, words in self.runs:
            if start <= offset < start + len(view):
                return words[(offset - start) // 4]
        raise BadAddress(f"word at {offset}")

    def set_word(self, offset, value):
        """Store an aligned u32 in one access."""
        for start, view, words in self.runs:
            if start <= offset < start + len(view):
                words[(offset - start) // 4] = value
                return
        raise BadAddress(f"word at {offset}")
