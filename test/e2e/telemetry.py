# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's telemetry socket."""
import json
import socket


class Telemetry:
    """A client of the socket, as dpdk-telemetry.py is one."""

    def __init__(self, app):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(20)
        self.socket.connect(f"/var/run/dpdk/{app.prefix}/dpdk_telemetry.v2")
        self.ask_raw(None)

    def ask_raw(self, command):
        if command is not None:
            self.socket.send(command.encode())
        return json.loads(self.socket.recv(1 << 17))

    def ask(self, command):
        (value,) = self.ask_raw(command).values()
        return value
