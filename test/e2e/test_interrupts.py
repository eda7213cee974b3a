# SPDX-License-Identifier: BSD-3-Clause
"""Receive interrupts: an application that sleeps gets every frame, and does sleep."""
import re

import pytest

from hv import BUILD, App, Host, UioTestpmd, until


class RxIntr(App):
    binary = BUILD / "test" / "e2e" / "rx_intr"


class UioRxIntr(UioTestpmd, RxIntr):
    """The same on the uio back end."""
    binary = RxIntr.binary
    app_args = RxIntr.app_args


def result(app):
    """What it printed at its end."""
    text = app.expect(r"frames .*\n")[0]
    assert app.wait() == 0, app.text
    app.forget()
    return {k: int(v) for k, v in re.findall(r"(\w+) (\d+)", text)}


def received(host, app, sleepers=""):
    """Frames begin when the application sleeps; what it printed at its end."""
    app.expect("ready")
    until(lambda: app.is_asleep(sleepers), "sleep")
    assert host.command("start", nic=0)["ok"]
    return result(app)


def check_interrupts(host, sleeps, queues=1):
    """A sleep takes one of each queue, but none where frames came before, as each eighth time."""
    told = sum(q["interrupts"] for q in host.stats()["nics"][0]["queues"])
    assert told <= sleeps * queues - sleeps // 8


@pytest.mark.parametrize("queues", [1, 3])
@pytest.mark.parametrize("rate, burst, count", [(200, 1, 400), (3000, 7, 20000), (0, 32, 50000)])
@pytest.mark.parametrize("host_args", [(), ("--wait", "event"), ("--no-event-fd",)])
def test_no_wakeup_is_lost(run, host_args, queues, rate, burst, count):
    """One frame at a time, bursts, and as fast as it goes; some host threads poll, some sleep."""
    gen = f"gen:rate={rate},burst={burst},count={count},flows=32,start=command,verify=no"
    host = run(Host, *host_args, nics=[f"port={gen}"])
    app = run(RxIntr, host, str(queues), str(count))
    found = received(host, app)
    assert found["frames"] == count
    assert found["sleeps"] > 0
    # What umwait would look at: nothing before there was a frame, news with almost each.
    assert found["early"] == 0 and 0 < found["news"] <= found["sleeps"]
    assert found["typed"] == 0
    assert found["hashed"] == count
    check_interrupts(host, found["sleeps"], queues)
    host.end()


@pytest.mark.parametrize("queues", [1, 3])
@pytest.mark.parametrize("rate, burst, count", [(200, 1, 400), (3000, 7, 20000), (0, 32, 50000)])
@pytest.mark.parametrize("host_args", [(), ("--wait", "event"), ("--no-monitor",)])
def test_uio(run, host_args, queues, rate, burst, count):
    gen = f"gen:rate={rate},burst={burst},count={count},flows=32,start=command,verify=no"
    host = run(Host, *host_args, nics=[f"port={gen}"])
    app = run(UioRxIntr, host, str(queues), str(count))
    found = received(host, app)
    assert found["frames"] == count and found["sleeps"] > 0 and found["news"] > 0
    used = [q["rx_frames"] > 0 for q in host.stats()["nics"][0]["queues"]]
    assert used.count(True) == queues
    check_interrupts(host, found["sleeps"], queues)
    host.end()


def taken(host):
    """Frames that the guest has received."""
    nic = host.stats()["nics"][0]
    return sum(q["rx_frames"] for q in nic["queues"]) - nic["slots_used"]


@pytest.mark.parametrize("host_args", [(), ("--wait", "event"), ("--no-monitor",)])
def test_uio_subchannel(run, host_args):
    """Frames of one flow, which the second queue has: no other interrupt helps."""
    host = run(Host, *host_args, nics=["port=gen:count=1,flows=1,start=command,verify=no"])
    app = run(UioRxIntr, host, "2", "100")
    app.expect("ready")
    until(app.is_asleep, "sleep")
    assert app.is_idle()
    for n in range(100):
        until(lambda n=n: taken(host) == n and app.is_asleep(), "sleep")
        assert host.command("start", nic=0)["ok"]
    found = result(app)
    assert found["frames"] == 100 and found["sleeps"] >= 100
    assert [q["rx_frames"] for q in host.stats()["nics"][0]["queues"]] == [0, 100]
    host.end()


@pytest.mark.parametrize("rate, burst, count", [(3000, 1, 20000), (0, 32, 50000)])
@pytest.mark.parametrize("cls", [RxIntr, UioRxIntr])
def test_lcores(run, cls, rate, burst, count):
    """Each queue sleeps for itself. On uio, the signal of one unmasks, and masks, the others'."""
    gen = f"gen:rate={rate},burst={burst},count={count},flows=32,start=command,verify=no"
    host = run(Host, "--no-monitor", "--wait", "event", nics=[f"port={gen}"])
    app = run(cls, host, "3", str(count), "lcores", cores=3)
    found = received(host, app, "worker")
    assert found["frames"] == count and found["sleeps"] > 0
    host.end()


# Kernels that end by the interrupt of a sub-channel.
class Linux_6_12_58(UioRxIntr):
    kernel = {"HVPEER_KERNEL": "6.12.58"}


class Linux_6_12_52(UioRxIntr):
    kernel = {"HVPEER_KERNEL": "6.12.52"}


@pytest.mark.parametrize("kernel", [Linux_6_12_58, Linux_6_12_52])
@pytest.mark.parametrize("rate, burst, count", [(200, 1, 400), (3000, 7, 20000)])
def test_uio_old_kernel(run, kernel, rate, burst, count):
    """By one queue, as ever."""
    gen = f"gen:rate={rate},burst={burst},count={count},flows=32,start=command,verify=no"
    host = run(Host, nics=[f"port={gen}"])
    app = run(kernel, host, "1", str(count))
    found = received(host, app)
    assert found["frames"] == count and found["sleeps"] > 0
    host.end()


@pytest.mark.parametrize("kernel", [Linux_6_12_58, Linux_6_12_52])
def test_uio_old_kernel_refused(run, kernel):
    """Two queues: it does not start, says which kernels would do, and no kernel is lost."""
    host = run(Host, nics=["port=gen:rate=10000,flows=32,verify=no"])
    app = run(kernel, host, "2", "1000")
    app.expect("6.1.159, 6.12.59 or 6.19")
    app.expect("receive interrupt of queue 1: Operation not supported")
    assert app.wait() == 1, app.text
    assert "kernel panic" not in app.text
    app.forget()
    host.end()


def test_fewer_channels(run):
    """Three queues on two channels: the third sleeps as well, and nothing comes in there."""
    host = run(Host, nics=["grant=1,port=gen:rate=3000,burst=7,count=5000,flows=32,start=command,"
                           "verify=no"])
    app = run(RxIntr, host, "3", "5000")
    found = received(host, app)
    assert found["frames"] == 5000 and found["sleeps"] > 0 and found["news"] > 0
    host.end()


@pytest.mark.parametrize("cls", [RxIntr, UioRxIntr])
def test_idle(run, cls):
    """Asleep, it takes no processor."""
    host = run(Host, nics=["port=gen:count=1,start=command,verify=no"])
    app = run(cls, host, "1", "1")
    app.expect("ready")
    until(app.is_asleep, "sleep")
    assert app.is_idle()
    assert host.command("start", nic=0)["ok"]
    assert result(app)["frames"] == 1
    host.end()


def test_packet_types_are_asked_for(run):
    """Who asks ethdev which packet types there are gets them, as l3fwd expects."""
    host = run(Host, nics=["port=gen:count=100,start=command,verify=no"])
    app = run(RxIntr, host, "1", "100", "ptypes")
    assert received(host, app)["typed"] == 100
    host.end()
