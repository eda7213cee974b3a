# SPDX-License-Identifier: BSD-3-Clause
"""The main job as on a real guest: the driver on /dev/uioN and sysfs instead of a socket."""
import pytest

import capture
from hv import Host, UioTestpmd, until
from test_interrupts import UioRxIntr


@pytest.mark.parametrize("queues", [1, 4])
@pytest.mark.parametrize("host_args", [(), ("--no-monitor", "--wait", "event")], ids=" ".join)
def test_capture(run, tmp, frames, queues, host_args):
    source, sink = tmp / "in.pcap", tmp / "out.pcap"
    capture.write(source, frames)
    host = run(Host, *host_args,
               nics=[f"port=dpdk:net_pcap0,rx_pcap={source},tx_pcap={sink}"])
    app = run(UioTestpmd, host, "--forward-mode=macswap", f"--rxq={queues}", f"--txq={queues}",
              cores=min(queues, 2), eal=["--log-level=bus.hv_vmbus:debug"])
    until(lambda: host.port()["from_guest_frames"] >= len(frames), "all frames back")
    app.end()
    assert "back end uio" in app.text
    host.end()
    capture.check(frames, capture.read(sink), in_order=queues == 1)


def forward_with(host, app, counts):
    """Stop, start with so many queues and forward, for each of the counts; then quit."""
    for queues in counts:
        app.expect("testpmd> ")
        for line in ("port stop 0", f"port config all rxq {queues}",
                     f"port config all txq {queues}", "port start 0", "start"):
            app.type(line)
        app.expect("macswap packet forwarding.*\\n")
        before = host.port()["received"]
        until(lambda: host.port()["received"] > before + 1000, "frames back")
        app.type("stop")
        app.expect("Done")
    app.type("quit")
    assert app.wait() == 0, app.text


class BareTestpmd(UioTestpmd):
    kernel = {"HVPEER_BARE": "1"}


def test_bare(run):
    """A tree with what the ABI demands and no more, also with sub-channels, and again after a
    stop: the process is not ended over a file that cannot be waited for."""
    host = run(Host, nics=["queues=2,port=gen:rate=20000,verify=count"])
    app = run(BareTestpmd, host, "--forward-mode=macswap", "--rxq=2", "--txq=2", interactive=True)
    forward_with(host, app, (2, 1))
    assert "cannot be waited for" in app.text
    app.forget()
    host.end()


class OldKernelTestpmd(UioTestpmd):
    kernel = {"HVPEER_KERNEL": "6.12.58"}


def survives(run, cls, *host_args):
    """The kernel lives on while queues come and go and forward."""
    host = run(Host, *host_args, "--wait", "event",
               nics=["queues=4,port=gen:rate=20000,verify=count"])
    app = run(cls, host, "--forward-mode=macswap", "--rxq=4", "--txq=4", interactive=True)
    forward_with(host, app, (4, 1, 4))
    assert "kernel panic" not in app.text
    app.forget()
    host.end()


def test_old_kernel(run):
    """Where the interrupt of a sub-channel is the end of the kernel there is none, by no queue."""
    survives(run, OldKernelTestpmd)


def test_restart(run):
    """Stop and start, and another number of queues: sub-channels come and go and come."""
    host = run(Host, nics=["queues=8,port=gen:rate=20000,verify=count"])
    app = run(UioTestpmd, host, "--forward-mode=macswap", "--rxq=4", "--txq=4", interactive=True)
    forward_with(host, app, (4, 1, 4))
    app.forget()
    host.end()


def test_rescind(run):
    """The pages of sub-channels' rings go while they are polled: it ends in order, by no SIGBUS."""
    host = run(Host, nics=["queues=8,port=gen:rate=100k,verify=count"])
    app = run(UioTestpmd, host, "--forward-mode=macswap", "--rxq=4", "--txq=4", cores=2,
              interactive=True)
    app.expect("testpmd> ")
    app.type("start")
    until(lambda: host.port()["received"] > 1000, "traffic")
    assert host.command("rescind", nic=0)["ok"]
    app.expect("device removal event")
    app.expect("Now total ports is 0")
    app.type("quit")
    assert app.wait() == 0, app.text
    app.forget()
    host.end()


# Kernels that take their time with sub-channels; with 1 written meanwhile they would be dead.
class SlowRescind(UioTestpmd):
    kernel = {"HVPEER_RESCIND_DELAY_MS": "200"}


class SlowOpen(UioTestpmd):
    kernel = {"HVPEER_OPEN_DELAY_MS": "300"}


class SlowRxIntr(UioRxIntr):
    kernel = {"HVPEER_OPEN_DELAY_MS": "1500"}


@pytest.mark.parametrize("cls", [SlowRescind, SlowOpen])
def test_no_signal_before_sub_channels_are_open(run, cls):
    """Nor while those of the last session are still there: every signal is a write of 1."""
    survives(run, cls, "--no-monitor")


def test_no_interrupts_before_sub_channels_are_open(run):
    """What the kernel does is not tried out by a write of 1 then."""
    host = run(Host, nics=["queues=3,port=gen:rate=200,burst=1,count=400,flows=32,start=command"])
    app = run(SlowRxIntr, host, "3", "400")
    app.expect("not open")
    app.wait()
    assert "kernel panic" not in app.text
    app.forget()
    host.kill()
