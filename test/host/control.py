# SPDX-License-Identifier: BSD-3-Clause
"""One command to the control socket of a host."""
import json
import socket

# Becomes the program it is given, which ends with the test run, however that ends.
TIED = ["setpriv", "--pdeathsig", "KILL"]


def listens(h):
    """A name alone is there a moment before somebody listens."""
    with socket.socket(socket.AF_UNIX) as s:
        return s.connect_ex(f"{h.path}.ctl") == 0


def control(h, **request):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.settimeout(60)
        s.connect(f"{h.path}.ctl")
        s.sendall(json.dumps(request).encode() + b"\n")
        reply = json.loads(s.makefile().readline())
    assert reply["ok"], reply
    return reply


def end_all(hosts, end=lambda h: h.end(), close=lambda h: None):
    """Those that a test leaves running end in order and are judged; none stays behind."""
    try:
        for h in hosts:
            if h.proc.poll() is None:
                end(h)
    finally:
        for h in hosts:
            if h.proc.poll() is None:
                h.proc.kill()
            h.proc.communicate()
            close(h)
