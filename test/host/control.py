# SPDX-License-Identifier: BSD-3-Clause
"""One command to the control socket of a host."""
import json
import socket


def control(h, **request):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.settimeout(20)
        s.connect(f"{h.path}.ctl")
        s.sendall(json.dumps(request).encode() + b"\n")
        reply = json.loads(s.makefile().readline())
    assert reply["ok"], reply
    return reply
