# SPDX-License-Identifier: BSD-3-Clause
"""The host as a thread that serves one socket."""
import os
import select
import socket
import threading
import time
import traceback

from .config import BusConfig, NicConfig
from .control import VERSIONS, Bus
from .netvsp import Nic
from .rules import Rules
from .socket_server import Partition

PATIENCE = 20  # seconds until a doorbell that was not rung is a broken rule


class SecondHost:
    """with SecondHost(path, nic...) as host: ..., then host.verdict()."""

    def __init__(self, path, *nics, bus=None):
        self.socket = str(path)
        self.rules = Rules()
        self.bus_config = bus or BusConfig(list(VERSIONS))
        self.nics = [Nic(c, self.rules) for c in (nics or [NicConfig()])]
        self.lock = threading.RLock()
        self.partition = None
        self.partitions = 0
        self.stopping = False
        self.error = None
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(self.socket)
        self.listener.listen(4)
        self.thread = threading.Thread(target=self._run, daemon=True)

    @property
    def nic(self):
        return self.nics[0]

    @property
    def bus(self):
        return self.partition.bus if self.partition else None

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping = True
        self.thread.join(10)
        if self.partition is not None:
            self.partition.hang_up()
        self.listener.close()
        os.unlink(self.socket)

    def verdict(self):
        """Once the guest has ended: no rule was broken, and we made no mistake ourselves."""
        self.until(lambda: self.partition is None or self.partition.gone, "a hang-up")
        assert self.error is None, self.error
        assert self.rules.broken == [], "\n".join(self.rules.broken)

    def until(self, condition, what, seconds=60):
        """Wait for a condition on the host; its first true value."""
        end = time.monotonic() + seconds
        while True:
            with self.lock:
                value = condition()
            assert self.error is None, self.error
            if value:
                return value
            assert time.monotonic() < end, f"not within {seconds} s: {what}\n" + \
                "\n".join(self.rules.broken)
            time.sleep(0.005)

    def _run(self):
        try:
            while not self.stopping:
                with self.lock:
                    busy = self.step()
                if not busy:
                    fds = [self.listener]
                    if self.partition is not None and not self.partition.gone:
                        fds.append(self.partition.sock)
                    select.select(fds, [], [], 0.001)
        except Exception:  # noqa: a test shall see it, not a dead thread
            self.error = traceback.format_exc()
            if self.partition is not None:
                self.partition.hang_up()

    def step(self):
        """What is to be done now. Whether there was anything."""
        busy = False
        partition = self.partition
        if partition is None or partition.gone:
            if select.select([self.listener], [], [], 0)[0]:
                sock, _ = self.listener.accept()
                partition = Partition(sock, self.rules, self.bus_config.features)
                partition.bus = Bus(partition, self.rules, self.bus_config, self.nics)
                self.partition = partition
                self.partitions += 1
                busy = True
            return busy
        for _ in range(64):
            if partition.gone or not partition.receive():
                break
            busy = True
        bus = partition.bus
        bus.poll_doorbells()
        for channel in list(bus.channels.values()):
            if channel.open:
                busy |= self._serve(channel)
        for nic in self.nics:
            busy |= nic.deliver()
        return busy

    def _serve(self, channel):
        now = time.monotonic()
        rung = getattr(channel, "rung", False)
        channel.rung = False
        into = channel.inbound
        busy = False
        if rung or into.masked:
            busy = channel.device.service(channel)
        elif into.waiting():
            # Not before it is rung: that is what the guest must do.
            since = channel.__dict__.setdefault("silent", now)
            if now - since > PATIENCE:
                self.rules.check(False, f"{into.name}: data, but no signal")
                channel.device.service(channel)
                channel.silent = now
        if rung or not into.waiting():
            channel.__dict__.pop("silent", None)
        if channel.open and channel.queue:
            out = channel.outbound
            need = len(channel.queue[0]) + 8
            if rung or (not out.blocked and out.free() >= need):
                channel.device.flush(channel)
            elif out.blocked and out.free() >= out.blocked + 8:
                since = channel.__dict__.setdefault("stuck", now)
                if now - since > PATIENCE:
                    self.rules.check(False, f"{out.name}: room, but no signal for a blocked host")
                    channel.device.flush(channel)
                    channel.stuck = now
            if not channel.queue:
                channel.__dict__.pop("stuck", None)
        return busy
