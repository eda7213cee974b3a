# SPDX-License-Identifier: BSD-3-Clause
"""B15: net_netvsc dead-locks when a port is closed while a VF comes or goes."""
import itertools
import threading
import time

import pytest

import vf
from console import Console
from hv import Host


@pytest.mark.parametrize("delay", [0, 0.01, 0.04])
@pytest.mark.parametrize("how", ["close", "quit"])
def test_close(run, tmp, how, delay):
    """The host adds and takes the VF without a pause; whatever it does, the port closes."""
    host = run(Host, nics=["queues=2,port=sink"])
    app = run(Console, host, queues=2, eal=vf.Vf(tmp).by_driver())
    stop = threading.Event()

    def toggle():
        for serial in itertools.count(1):
            if stop.is_set():
                return
            host.command("vf", nic=0, action="plug", serial=serial)
            time.sleep(0.005)
            host.command("vf", nic=0, action="unplug")

    thread = threading.Thread(target=toggle)
    thread.start()
    try:
        time.sleep(delay)
        if how != "quit":
            app.do("port stop 0", f"port {how} 0")
        app.quit()
    finally:
        stop.set()
        thread.join()
    host.end()
