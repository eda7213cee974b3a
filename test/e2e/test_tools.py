# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's own tools as secondaries of an application: dpdk-proc-info, dpdk-pdump, dpdk-dumpcap."""
import re

import pytest

import capture
from console import Console, cycle, queues_of
from hv import EAL_PLUGINS, Host, Program, until
from test_vlan import Wire

COUNT = 2000
# dpdk-testpmd is linked with one mempool driver, the tools with none. Processes that share mempools
# must number their drivers alike, which is by the order in which they were loaded.
MEMPOOL = ["-d", EAL_PLUGINS / "librte_mempool_dpaa.so.23"]


def memory(huge_dir):
    return ["--huge-dir", huge_dir, "-m", "128"]


def tool(run, name, app, host, *args):
    """A tool beside a console."""
    return run(Program, [name, *MEMPOOL, *app.plugins, "--no-pci", "--no-telemetry",
                         "--file-prefix", app.prefix, "--", *args],
               {"HV_VMBUS_SOCKET": str(host.socket)})


def proc_info(run, app, host, *args):
    """What dpdk-proc-info prints."""
    info = tool(run, "dpdk-proc-info", app, host, *args)
    assert info.wait() == 0, info.text
    return info.text.replace("\r", "")


def test_proc_info(huge_dir, run):
    """Statistics of a secondary are the primary's, again and again; traffic goes on."""
    host = run(Host, nics=[f"queues=4,port=gen:count={COUNT},rate=50k,start=command,"
                           "expect=return"])
    app = run(Console, host, "--forward-mode=macswap", queues=3, memory=memory(huge_dir))
    for n in range(3):
        cycle(host, app, COUNT, n * COUNT)
        text = proc_info(run, app, host, "--stats")
        for way in "RT":
            found = re.search(rf"{way}X-packets: +(\d+)", text)
            assert found and int(found[1]) == (n + 1) * COUNT, text
        text = proc_info(run, app, host, "--xstats")
        for q, frames in queues_of(host).items():
            assert re.search(rf"rx_q{q}_packets: +{frames}\b", text), text
    text = proc_info(run, app, host, "--show-port")
    assert "driver net_hvnetvsc" in text and "Link up at 10 Gbps" in text, text
    for q in range(3):
        assert re.search(rf"-- {q} descriptors \d+/1024 .* burst mode : synthetic", text), text
        assert re.search(rf"-- {q} descriptors 1024 .* burst mode : synthetic", text), text
    assert "key len : 40" in text, text
    app.quit()
    host.end()


@pytest.fixture
def wire(huge_dir, run, tmp):
    """What the application receives and sends is known frame by frame."""
    return Wire(run, tmp, capture.make(count=400, seed=3), mode="macswap",
                memory=memory(huge_dir))


def check(wire, received, sent):
    frames = wire.frames
    capture.check(frames, wire.end(), in_order=True)
    capture.check(frames, received, lambda data: data, in_order=True)
    capture.check(frames, sent, in_order=True)


def test_pdump(wire, run, tmp):
    wire.app.do("start")  # its files become ports, with which testpmd would not start
    mbufs = 2047
    dump = tool(run, "dpdk-pdump", wire.app, wire.host, "--pdump",
                f"port=0,queue=*,rx-dev={tmp}/rx.pcap,tx-dev={tmp}/tx.pcap,"
                f"ring-size=1024,total-num-mbufs={mbufs}")
    dump.expect("capture for")

    def written():
        """All mbufs of its pool are free again."""
        pool, = (t for t in wire.app.do("dump_mempool").split("mempool <")
                 if re.search(rf"\bsize={mbufs}\b", t))
        return sum(int(n) for n in re.findall(r"(?:total_cache|common_pool)_count=(\d+)",
                                              pool)) == mbufs

    wire.pass_all()
    until(written, "frames written")
    dump.end()
    check(wire, capture.read(tmp / "rx.pcap"), capture.read(tmp / "tx.pcap"))


def test_dumpcap(wire, run, tmp):
    """It takes no EAL options: what the others are told to load is preloaded."""
    libraries = [str(a) for a in (*MEMPOOL, *wire.app.plugins) if a != "-d"]
    out = tmp / "dump.pcap"
    dump = run(Program, ["dpdk-dumpcap", f"--file-prefix={wire.app.prefix}", "-i", "0", "-P",
                         "-c", 2 * wire.count, "-w", out],
               {"HV_VMBUS_SOCKET": str(wire.host.socket), "LD_PRELOAD": ":".join(libraries)})
    dump.expect("Capturing on")
    wire.pass_all()
    dump.ended(0)
    found = capture.read(out)
    sent = {data for _, data in wire.frames}
    check(wire, [d for d in found if d in sent], [d for d in found if d not in sent])
