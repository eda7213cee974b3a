# SPDX-License-Identifier: BSD-3-Clause
"""testpmd-hv by itself: modes, commands, statistics, its own host."""
import json
import os
import re
import signal
import time

import pytest

import capture
import vf
from hv import HUGE, TESTPMD_HV, Host, Program, TestpmdHv, until

PEER = bytes.fromhex("020000000000")
TRANSFORM = {
    "io": lambda d: d,
    "macswap": capture.swapped,
}


def pcap_port(tmp, n=0):
    return ["--vdev", f"net_pcap{n},rx_pcap={tmp}/in{n}.pcap,tx_pcap={tmp}/out{n}.pcap"]


@pytest.mark.parametrize("mode", ["io", "macswap"])
def test_modes(run, tmp, frames, mode):
    capture.write(tmp / "in0.pcap", frames)
    app = run(TestpmdHv, None, f"--forward-mode={mode}", f"--json={tmp}/j", "--stats-period=1",
              eal=pcap_port(tmp))
    app.expect(rf"all +{len(frames)} +{len(frames)} +{len(frames)} ")
    app.end()
    capture.check(frames, capture.read(tmp / "out0.pcap"), TRANSFORM[mode], in_order=True)
    stats = json.loads((tmp / "j").read_text())
    total = stats["total"]
    assert total["received"] == total["forwarded"] == total["offered"] == len(frames)
    assert total["dropped"] == 0 and stats["mode"] == mode
    assert re.search(rf"all +{len(frames)} +{len(frames)} +{len(frames)} +0 ", app.text)


def test_pairs(run, tmp, frames):
    """What comes in on one port leaves by its partner."""
    for n, part in enumerate((frames[:900], frames[900:])):
        capture.write(tmp / f"in{n}.pcap", part)
    app = run(TestpmdHv, None, "--forward-mode=mac", "--stats-period=1",
              eal=pcap_port(tmp, 0) + pcap_port(tmp, 1))
    for _ in range(3):
        app.expect("s forwarding")
    app.expect(rf"all +{len(frames)} +{len(frames)} +{len(frames)} ")
    app.end()
    for n, part in ((1, frames[:900]), (0, frames[900:])):
        out = capture.read(tmp / f"out{n}.pcap")
        assert [d[12:] for d in out] == [d[12:] for _, d in part]
        assert {d[:6] for d in out} == {PEER[:5] + bytes([n])}


def test_txonly(run, tmp):
    capture.write(tmp / "in0.pcap", [])
    app = run(TestpmdHv, None, "--forward-mode=txonly", "--txpkts=333", "--burst=8",
              eal=pcap_port(tmp))
    until(lambda: (tmp / "out0.pcap").exists() and
          (tmp / "out0.pcap").stat().st_size > 100000, "frames")
    app.end()
    out = capture.read(tmp / "out0.pcap")
    assert {len(d) for d in out} == {333}
    assert len({d for d in out}) == 1
    head = out[0][14:34]
    total = sum(int.from_bytes(head[i:i + 2], "big") for i in range(0, 20, 2))
    assert (total & 0xFFFF) + (total >> 16) == 0xFFFF, "IPv4 header checksum"
    assert int.from_bytes(head[2:4], "big") == 333 - 14


def answers(app, *expected):
    for line, answer in expected:
        app.type(line)
        app.expect(answer)


def receives(app, port):
    app.type(f"show port stats {port}")
    return app.expect(rf"Port {port} .*\n  RX-packets: (\d+)\s")[1] != "0"


def test_commands(run, tmp):
    app = run(TestpmdHv, None, interactive=True,
              eal=["--vdev", "net_null0", "--vdev", "net_null1"])
    app.expect("testpmd-hv> ")
    answers(app,
            ("help", "show port"),
            ("show port info all", r"driver net_null"),
            ("start", r"Forwarding \(io\)"))
    # An lcore may not have begun when the prompt comes.
    until(lambda: all(receives(app, port) for port in range(2)), "frames")
    answers(app,
            ("show port stats 1", r"Port 1 .*\n  RX-packets: [1-9]"),
            ("show port xstats 0", "rx_good_packets: [1-9]"),
            ("port stop 0", "Stop forwarding first"),
            ("stop", r"all +[1-9][0-9]* "),
            ("stop", "Not forwarding"),
            ("port stop 0", "Port 0: stop done"),
            ("port stop 0", "is not started"),
            ("show port info 0", "stopped"),
            ("port start 0", "Port 0: start done"),
            ("port close 1", "Port 1: close done"),
            ("start", r"Forwarding \(io\)"),
            ("show port stats 7", "No port 7"),
            ("nonsense", "Command not found"))
    app.type("quit")
    assert app.wait() == 0


@pytest.mark.parametrize("args, message", [
    (["--rxq=0"], "--rxq takes a number from 1 to 64"),
    (["--burst=x"], "--burst takes a number"),
    (["--forward-mode=csum"], "--forward-mode csum: unknown"),
    (["--rxq=4", "--txq=2"], "--txq must not be below --rxq"),
    (["--what"], "See testpmd-hv --help"),
    (["7"], "unexpected argument \"7\""),
    (["--mbuf-size=300", "--txpkts=1000", "--forward-mode=txonly"], "does not fit"),
])
def test_wrong_options(run, args, message):
    app = run(TestpmdHv, None, *args, eal=["--vdev", "net_null0"])
    app.expect(re.escape(message))
    assert app.wait() == 1


def test_help(run):
    app = run(Program, [TESTPMD_HV, "--help"])
    assert app.wait() == 0
    assert "--forward-mode" in app.text


def embedded_socket(app):
    return app.expect(r"socket (\S+)\)\s").group(1)


def embedded(run, *args):
    return run(Program, [TESTPMD_HV, "--no-huge", "-m", "256", "--no-shconf", "--no-telemetry",
                         "--", *args])


def test_embedded_host(run, tmp):
    """Without any device it is its own host; the generator there judges what comes back."""
    app = embedded(run, "--forward-mode=macswap", "--duration=2", f"--json={tmp}/j",
                   "--host-nic=port=gen:flows=32,imix,rate=20k")
    path = embedded_socket(app)
    assert app.wait() == 0, app.text
    assert "no rule was broken, no packet lost" in app.text
    assert json.loads((tmp / "j").read_text())["total"]["forwarded"] > 1000
    assert not os.path.exists(path) and not os.path.exists(path + ".ctl")


def test_embedded_host_defaults(run):
    """No argument at all works on a machine without hugepages."""
    app = run(Program, [TESTPMD_HV])
    path = embedded_socket(app)
    app.expect("Forwarding")
    app.end(signal.SIGTERM)
    assert not os.path.exists(path)


def test_embedded_host_and_few_hugepages(run, huge_dir):
    """Nor on one that has some, too few to run on."""
    pages = HUGE / "nr_hugepages"
    free = int((HUGE / "free_hugepages").read_text())
    pages.write_text(str(int(pages.read_text()) - free + 4))
    assert int((HUGE / "free_hugepages").read_text()) == 4
    app = run(Program, [TESTPMD_HV])
    app.expect("Forwarding")
    app.end(signal.SIGTERM)


def test_embedded_host_dies_with_us(run):
    app = embedded(run)
    path = embedded_socket(app)
    pid = int(re.search(r"process (\d+)", app.text).group(1))
    app.expect("Forwarding")
    app.kill()
    until(lambda: not os.path.exists(f"/proc/{pid}"), "the host's end")
    assert not os.path.exists(path) and not os.path.exists(path + ".ctl")


def test_two_nics_forward_to_each_other(run, tmp):
    host = run(Host, nics=["port=gen:rate=5k,flows=8,count=3000", "port=sink"])
    app = run(TestpmdHv, host, f"--json={tmp}/j")
    until(lambda: host.port(1)["received"] == 3000, "frames at the other NIC")
    app.end()
    host.end()
    ports = json.loads((tmp / "j").read_text())["ports"]
    assert [p["received"] for p in ports] == [3000, 0]


def test_missing_mbufs(run, tmp):
    """A driver that keeps what it was to send is found out."""
    host = run(Host, nics=["port=sink"])
    one = vf.Vf(tmp)
    app = run(TestpmdHv, host, "--forward-mode=txonly", eal=one.by_driver())
    vf.to_vf(host)
    one.do("leak")
    until(lambda: one.state()["leaked"] != "0", "mbufs that are kept")
    app.end(status=1)
    assert re.search(r"testpmd-hv: [1-9]\d* mbufs did not come back", app.text)
    host.end()


def test_longest_burst(run, tmp):
    """A burst that a driver keeps is as long as it was kept, at least."""
    host = run(Host, nics=["port=sink"])
    one = vf.Vf(tmp)
    app = run(TestpmdHv, host, "--forward-mode=txonly", "--time-bursts", f"--json={tmp}/j",
              eal=one.by_driver())
    vf.to_vf(host)
    one.do("hang")
    until(lambda: one.state()["hung"] == "1", "a burst that does not end")
    start = time.monotonic()
    assert one.state()["hung"] == "1"
    kept = time.monotonic() - start
    one.do("go")
    app.end()
    total = json.loads((tmp / "j").read_text())["total"]
    assert total["longest_burst_us"] >= kept * 1e6
    assert 0 < total["longest_burst_not_interrupted_us"] <= total["longest_burst_us"]
    assert "longest burst: " in app.text
    host.end()
