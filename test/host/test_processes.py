# SPDX-License-Identifier: BSD-3-Clause
"""The bus where it needs more of the machine: hugepages, secondary processes, the stock bus."""
import fcntl
import os
import pathlib
import shutil
import subprocess

import pytest
from control import control
from test_bus import BUILD, host  # noqa: F401 (a fixture)
from test_client import GUID, NO_HUGE, app  # noqa: F401 (a fixture)

PAGES = pathlib.Path("/proc/sys/vm/nr_hugepages")
LOCK = "/sys/kernel/mm/hugepages/hugepages-2048kB"
NIC = "{f8615163-df3e-46c5-913f-f2d2f965ed0e}"


def free_hugepages():
    text = pathlib.Path("/proc/meminfo").read_text()
    return int(text.split("HugePages_Free:")[1].split()[0])


@pytest.fixture
def huge_dir(tmp_path):
    """64 more hugepages of 2 MiB and a hugetlbfs to have them from, for the time of a test."""
    if os.geteuid() != 0 or not os.access(PAGES, os.W_OK):
        pytest.skip("hugepages can be configured by root only")
    # The lock of all tests that reserve some; what others free is theirs to give back.
    lock = os.open(LOCK, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    before = int(PAGES.read_text())
    PAGES.write_text(str(before + 64))
    where = tmp_path / "huge"
    where.mkdir()
    mounted = subprocess.run(["mount", "-t", "hugetlbfs", "-o", "pagesize=2M", "none", where])
    try:
        assert mounted.returncode == 0 and free_hugepages() >= 60, "no hugepages to be had"
        yield where
    finally:
        # Also when a test that failed still has the file open.
        PAGES.write_text(str(before))
        if mounted.returncode == 0:
            subprocess.run(["umount", "--lazy", where], check=True)
        os.close(lock)


@pytest.mark.parametrize("mode", [
    ("-m", "32"), ("--single-file-segments",), ("--legacy-mem", "-m", "32"), ("--huge-unlink",),
    ("--in-memory",), ("--iova-mode=pa", "-m", "16")], ids=" ".join)
def test_hugepages(host, app, huge_dir, mode):  # noqa: F811
    h = host()
    app(h, "open", "alloc", "echo=100", "alloc", "close", "alloc", "open", "echo=100",
        eal=("--huge-dir", str(huge_dir), *mode)).end()
    h.end()


@pytest.mark.parametrize("knob", [(), ("--no-monitor",), ("--no-monitor", "--no-signal-fd")],
                         ids=" ".join)
def test_secondary(host, app, huge_dir, knob):  # noqa: F811
    h = host(*knob, "--wait", "event")
    eal = ("--huge-dir", str(huge_dir))
    first = app(h, "open", "line", "sub=1", "echo=10", "line", "echo=10", "gone", "line",
                eal=(*eal, "-m", "32"))
    first.until("open: ok")
    control(h, cmd="subs", nic=0, n=1)
    first.go()
    first.until("echo=10: ok")
    second = app(h, "attach", "echo=100", "intr", "line", "gone",
                 eal=(*eal, "--proc-type=secondary"))
    second.until("intr: ok")
    first.go()
    first.until("echo=10: ok")
    second.go()
    control(h, cmd="rescind", nic=0)
    second.end()
    first.go()
    first.end()
    h.end()


def stock_devices(tmp_path, n):
    """A shell line that shows devices to the stock bus, in a mount namespace of its own."""
    lines = ["mount -t tmpfs none /sys/bus"]
    for i in range(1, n + 1):
        guid = GUID % i
        files = {"class_id": NIC, "device_id": f"{{{guid}}}", "id": i, "monitor_id": 1,
                 "numa_node": 0}
        lines.append(f"mkdir -p /sys/bus/vmbus/devices/{guid}")
        lines += [f"echo '{v}' > /sys/bus/vmbus/devices/{guid}/{k}" for k, v in files.items()]
    return "; ".join(lines)


@pytest.fixture
def namespace():
    if subprocess.run(["unshare", "-rm", "true"]).returncode != 0:
        pytest.skip("no user namespaces: the stock bus cannot be shown a device")


def test_claim(host, namespace, tmp_path):  # noqa: F811
    """The stock bus passes over what we drive, and gets what we do not."""
    h = host()
    shell = stock_devices(tmp_path, 2) + '; exec "$@"'
    out = subprocess.run(
        ["unshare", "-rm", "sh", "-ec", shell, "sh", BUILD / "test" / "host" / "bus_echo",
         "--no-pci", "--no-telemetry", "-l", "0", "--log-level=bus.vmbus:debug", *NO_HUGE,
         "-d", "librte_bus_vmbus.so.23", "-d", "librte_net_netvsc.so.23", "--", "open", "echo=9"],
        env=dict(os.environ, HV_VMBUS_SOCKET=str(h.path), RUNTIME_DIRECTORY=str(tmp_path)),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    assert out.returncode == 0 and "echo=9: ok" in out.stdout, out.stdout
    assert f"Adding vmbus device {GUID % 1}" in out.stdout
    assert "VMBUS driver already loaded" in out.stdout
    assert f"VMBUS device {GUID % 1}" not in out.stdout
    assert f"VMBUS device {GUID % 2}" in out.stdout
    h.end()


@pytest.mark.parametrize("ours_first", [True, False])
def test_order_of_loading(nichost, namespace, tmp_path, ours_first):
    """Whichever plug-in is loaded first, the stock bus looks at devices after ours."""
    h = nichost(f"guid={GUID % 1}")
    ours = [BUILD / "lib" / "vmbus" / "librte_bus_hv_vmbus.so.23",
            BUILD / "drivers" / "net" / "hvnetvsc" / "librte_net_hvnetvsc.so.23"]
    stock = ["librte_bus_vmbus.so.23", "librte_net_netvsc.so.23"]
    testpmd = shutil.which("dpdk-testpmd")
    assert testpmd is not None, "dpdk-testpmd belongs to the packages of make setup"
    plugins = [a for p in ([*ours, *stock] if ours_first else [*stock, *ours]) for a in ("-d", p)]
    shell = stock_devices(tmp_path, 1) + '; exec "$@"'
    out = subprocess.run(
        ["unshare", "-rm", "sh", "-ec", shell, "sh", testpmd, *plugins,
         "--no-pci", "--no-telemetry", "-l", "0,1" if os.cpu_count() > 1 else "0@0,1@0",
         "--log-level=bus.vmbus:debug", "--log-level=bus.hv_vmbus:debug", "--no-huge", "-m", "256",
         "--", "--no-mlockall", "--total-num-mbufs=2048"],
        env=dict(os.environ, RUNTIME_DIRECTORY=str(tmp_path), HV_VMBUS_SOCKET=str(h.path)),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=60).stdout
    assert out.rindex("Adding vmbus device") > out.index("kernel driver"), out
    assert out.count("Adding vmbus device") == (1 if ours_first else 2)
    assert "VMBUS driver already loaded" in out, out
    assert "Port 0: 00:15:5D:00:00:01" in out and "Configuring Port 1" not in out, out
    h.end()
