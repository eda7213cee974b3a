# SPDX-License-Identifier: BSD-3-Clause
"""The data path between the synthetic NIC and a VF, under traffic."""
import pytest

from failover import NOTHING, VfHost
from hv import CPUS, Testpmd, TestpmdHv

APPS = [Testpmd, TestpmdHv]
FLAPS = 20


@pytest.fixture
def start(run):
    """start(queues, ...): a host, an application that sends back what it gets, and traffic."""
    def begin(app=Testpmd, queues=1, **more):
        host = run(VfHost, queues=queues, **more)
        program = run(app, host, "--forward-mode=macswap", f"--rxq={queues}", f"--txq={queues}",
                      eal=host.device, cores=min(queues, 2), cpus=CPUS[-1:])
        program.expect("Forwarding|packets/burst=")
        host.command("start", nic=0)
        return host, program
    return begin


def finish(host, app):
    app.end()
    host.end()


@pytest.mark.parametrize("queues", [1, 4])
@pytest.mark.parametrize("app", APPS, ids=["dpdk-testpmd", "testpmd-hv"])
def test_planned(start, app, queues):
    """Both ways and back: no frame is lost, none comes twice, each flow stays in order."""
    host, program = start(app, queues)
    for serial in (2, 3):
        host.wait_on_vf()
        host.vf("remove")
        host.wait_on_synthetic()
        host.vf("add", serial=serial)
    host.wait_on_vf()
    assert host.settle() == NOTHING
    finish(host, program)
