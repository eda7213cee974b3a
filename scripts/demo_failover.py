# SPDX-License-Identifier: BSD-3-Clause
"""For "make demo": a planned and a surprise failover under traffic; what each lost, as JSON.

    demo_failover.py HOST.ctl VF.ctl RESULT
"""
import json
import socket
import sys
import time

PAUSE = 1.5  # seconds between steps: everything in flight has come back
LIMIT = 20


def ask(path, **request):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        s.sendall(json.dumps(request).encode() + b"\n")
        answer = json.loads(s.makefile().readline())
    if not answer["ok"]:
        sys.exit(f"hv-host refused {request}: {answer['error']}")
    return answer


def nic(path):
    return ask(path, cmd="stats")["stats"]["nics"][0]


def wait_path(path, wanted):
    end = time.monotonic() + LIMIT
    while nic(path)["data_path"] != wanted:
        if time.monotonic() > end:
            sys.exit(f"the data path is not \"{wanted}\" after {LIMIT} s")
        time.sleep(0.01)
    time.sleep(PAUSE)


def lost(path):
    return nic(path)["port"]["lost"]


def main():
    host, vf, result = sys.argv[1:]
    figures = {}
    for serial, kind in ((1, "planned"), (2, "surprise")):
        start = lost(host)
        ask(host, cmd="vf", nic=0, action="plug", serial=serial)
        wait_path(host, "vf")
        figures[f"to_vf_{serial}"] = lost(host) - start
        start = lost(host)
        if kind == "surprise":
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
                s.sendto(b"rmv", vf)
            time.sleep(PAUSE)
        ask(host, cmd="vf", nic=0, action="unplug")
        wait_path(host, "synthetic")
        figures[kind] = lost(host) - start
    with open(result, "w", encoding="ascii") as f:
        json.dump(figures, f)


main()
