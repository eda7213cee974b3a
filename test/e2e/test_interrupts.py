# SPDX-License-Identifier: BSD-3-Clause
"""Receive interrupts: an application that sleeps gets every frame, and does sleep."""
import re

import pytest

from hv import BUILD, Host, Testpmd


class RxIntr(Testpmd):
    binary = BUILD / "test" / "e2e" / "rx_intr"

    def app_args(self, cores):
        return []


@pytest.mark.parametrize("queues", [1, 3])
@pytest.mark.parametrize("rate, burst, count", [(200, 1, 400), (3000, 7, 20000), (0, 32, 50000)])
@pytest.mark.parametrize("host_args", [(), ("--wait", "event"), ("--no-event-fd",)])
def test_no_wakeup_is_lost(run, host_args, queues, rate, burst, count):
    """One frame at a time, bursts, and as fast as it goes; some host threads poll, some sleep."""
    gen = f"gen:rate={rate},burst={burst},count={count},flows=32,start=command,verify=no"
    host = run(Host, *host_args, nics=[f"port={gen}"])
    app = run(RxIntr, host, str(queues), str(count))
    app.expect("ready")
    assert host.command("start", nic=0)["ok"]
    found = re.search(r"frames (\d+) sleeps (\d+)", app.expect(r"frames .*")[0])
    assert int(found[1]) == count
    assert int(found[2]) > 0
    assert app.wait() == 0, app.text
    app.forget()
    host.end()
