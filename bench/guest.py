# SPDX-License-Identifier: BSD-3-Clause
"""One measurement: a fresh hv-host, a fresh guest, and whatever becomes of the two."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from rows import PACED

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = pathlib.Path(os.environ.get("HV_BUILD", ROOT / "build" / "gcc"))
HVBENCH, HVFLOOR = BUILD / "bench" / "hvbench", BUILD / "bench" / "hvfloor"
RUN_PEER = ROOT / "test" / "peer" / "run-peer"
OURS = [BUILD / "lib" / "vmbus" / "librte_bus_hv_vmbus.so.23",
        BUILD / "drivers" / "net" / "hvnetvsc" / "librte_net_hvnetvsc.so.23"]
STOCK = "librte_net_netvsc.so.23"
WARMUP = 0.1
# A measurement takes a second beside its own time; whoever takes longer does not end.
GRACE, GRACE_COUNTED = 6, 300
END_GRACE = 5


def end_in_order():
    """SIGTERM ends this program as an exception: hosts and guests are sessions of their own."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


class Failure(Exception):
    """A measurement without a result."""


def run(argv, env, seconds, result=None):
    """Output of a program. Killed, with all it started, after so long; or, once the file `result`
    is complete, END_GRACE later. Returns (output, ended?)."""
    proc = subprocess.Popen([str(a) for a in argv], env=env, text=True, process_group=0,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)
    deadline = time.monotonic() + seconds
    seen = False
    try:
        while True:
            try:
                out, _ = proc.communicate(timeout=0.2 if result else seconds)
                break
            except subprocess.TimeoutExpired:
                now = time.monotonic()
                if result and not seen and complete(result):
                    seen, deadline = True, now + END_GRACE
                if now >= deadline:
                    raise
    except BaseException as e:
        out = kill(proc)
        if not isinstance(e, subprocess.TimeoutExpired):
            raise
        if seen:
            return out, False
        raise Failure(f"did not end in {seconds:.0f} s") from None
    if proc.returncode != 0:
        raise Failure(f"status {proc.returncode}: {' '.join(map(str, argv))}\n{out}")
    return out, True


def kill_started(proc):
    """Kill what a program started: run-peer then takes away the directory that it made."""
    return subprocess.run(["pkill", "-KILL", "-P", str(proc.pid)], check=False).returncode == 0


def kill(proc):
    """Kill a program and all it started; its last output."""
    if kill_started(proc):
        try:
            return proc.communicate(timeout=2)[0]
        except subprocess.TimeoutExpired:
            pass
    os.killpg(proc.pid, signal.SIGKILL)
    return proc.communicate()[0]


def complete(path):
    try:
        json.loads(path.read_text())
    except (OSError, ValueError):
        return False
    return True


class Bench:
    """incidents: what went wrong, as dictionaries; the caller adds the round."""

    def __init__(self, seconds):
        self.seconds, self.warmup = seconds, WARMUP
        self.plugins = {"stock": [STOCK], "ours": OURS}
        cpus = sorted(os.sched_getaffinity(0))
        self.host_cpu, self.cpu = cpus[0], cpus[1 % len(cpus)]
        self.count = 0
        self.incidents = []

    def ping(self):
        """Cycles for a cache line to go there and back between the two CPUs."""
        argv = [BUILD / "bench" / "hvping", self.host_cpu, self.cpu]
        return float(run(argv, None, 30)[0])

    def eal(self, prefix):
        return ["--lcores", f"0@{self.cpu}", "--no-huge", "-m", "512", "--no-shconf", "--no-pci",
                "--no-telemetry", "--log-level=*:error", "--file-prefix", prefix]

    def command(self, driver, row, tmp, prefix, more):
        """Command line and environment of a guest."""
        env = dict(os.environ, HV_BUILD=str(BUILD))
        if driver == "floor":
            env["HV_VMBUS_SOCKET"] = str(tmp / "s")
            return [HVFLOOR, *self.eal(prefix), "--", *row.floor,
                    str(row.seconds or self.seconds), "8"], env
        plugins = [a for p in self.plugins[driver] for a in ("-d", p)]
        program = [HVBENCH, *plugins, *self.eal(prefix), "--",
                   *row.args, "--json", tmp / "r", *more]
        return [RUN_PEER, "--socket", tmp / "s", "--for", "hvbench", "--", *program], env

    def note(self, driver, row, what):
        self.incidents.append({"row": row.name, "driver": driver, "what": what})
        print(f"bench: {row.name}, {driver}: {what}", flush=True)

    def once(self, driver, row):
        """hvbench's or hvfloor's result, or None: what happened is an incident."""
        return self.guest(driver, row, row.nic, self.timed)

    def guest(self, driver, row, nic, measure):
        """measure(driver, row, tmp, prefix) with a host behind tmp/s."""
        tmp = pathlib.Path(tempfile.mkdtemp(prefix="hv-bench."))
        self.count += 1
        prefix = f"hv-bench-{os.getpid()}-{self.count}"
        host = subprocess.Popen([BUILD / "host" / "hv-host", "--socket", tmp / "s", "--cpu",
                                 str(self.host_cpu), "--nic", nic],
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE, text=True, process_group=0)
        try:
            end = time.monotonic() + 10
            while not (tmp / "s.ctl").exists() and time.monotonic() < end:
                time.sleep(0.01)
            return measure(driver, row, tmp, prefix)
        except Failure as e:
            self.note(driver, row, str(e))
            return None
        finally:
            self.end_host(host, driver, row)
            shutil.rmtree(tmp, ignore_errors=True)
            shutil.rmtree(f"/var/run/dpdk/{prefix}", ignore_errors=True)

    def end_host(self, host, driver, row):
        host.send_signal(signal.SIGTERM)
        try:
            _, err = host.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(host.pid, signal.SIGKILL)
            host.communicate()
            self.note(driver, row, "the host did not end")
            return
        # The stock driver breaks rules; ours and the floor must not.
        if host.returncode and driver != "stock":
            self.note(driver, row, f"the host ended with status {host.returncode}: {err}")

    def timed(self, driver, row, tmp, prefix):
        seconds = row.seconds or self.seconds
        more = ["--seconds", str(seconds), "--warmup", str(WARMUP)]
        argv, env = self.command(driver, row, tmp, prefix, more)
        if driver == "floor":
            out, _ = run(argv, env, GRACE + seconds)
            return json.loads(out.strip().splitlines()[-1])
        _, ended = run(argv, env, GRACE + seconds, tmp / "r")
        if not ended:
            self.note(driver, row, "measured, but the process did not end")
        return json.loads((tmp / "r").read_text())


class Counter(Bench):
    """Instructions in the burst calls alone: repeatable on a noisy machine.

    Frames come in groups of a burst, at a rate that a driver 50 times slower than usual takes:
    net_netvsc never leaves a burst while the host is faster. What the polls in between cost is
    known from the row "idle poll" and subtracted.
    """
    PACKETS = 6400
    IDLE_SECONDS = 2
    RATE = 3200

    def __init__(self, idle):
        super().__init__(0)
        self.idle_row = idle
        self.idle = {}  # of a driver: instructions of an empty poll

    def once(self, driver, row):
        """{"packet": instructions in ethdev's call, "inside": of them, in the driver's}"""
        if row is self.idle_row and driver in self.idle:
            return self.idle[driver]
        nic = row.nic.replace(PACED, f"port=gen:rate={self.RATE},burst=32,")
        result = self.guest(driver, row, nic, self.counted)
        if row is self.idle_row and result is not None:
            self.idle[driver] = result
        return result

    def counted(self, driver, row, tmp, prefix):
        idle = row is self.idle_row
        limit = ["--seconds", str(self.IDLE_SECONDS)] if idle else \
            ["--packets", str(self.PACKETS), "--seconds", "0", "--rest", "1000"]
        argv, env = self.command(driver, row, tmp, prefix, [*limit, "--warmup", "0"])
        at = argv.index(HVBENCH)
        argv[at:at] = ["valgrind", "-q", "--tool=callgrind", "--toggle-collect=hvb_rx_burst",
                       "--toggle-collect=hvb_tx_burst", f"--callgrind-out-file={tmp}/cg"]
        run(argv, env, GRACE_COUNTED)
        total, caller = costs((tmp / "cg").read_text())
        result = json.loads((tmp / "r").read_text())
        side = result["tx" if row.side == "tx" else "rx"]
        if idle:
            return {"packet": total / side["bursts"], "inside": (total - caller) / side["bursts"]}
        empty = self.once(driver, self.idle_row) if side is result["rx"] else None
        empty = empty or {"packet": 0, "inside": 0}
        return {"packet": (total - side["empty"] * empty["packet"]) / side["packets"],
                "inside": (total - caller - side["empty"] * empty["inside"]) / side["packets"]}


def costs(callgrind):
    """Instructions in all, and of them those of hvbench's functions, into which ethdev's calls
    are inlined, themselves."""
    total = int(re.search(r"^(?:totals|summary): (\d+)", callgrind, re.M).group(1))
    names, own, inside, skip = {}, 0, False, False
    for line in callgrind.splitlines():
        m = re.match(r"fn=\((\d+)\)(?: (.*))?$", line)
        if m:
            if m.group(2):
                names[m.group(1)] = m.group(2)
            inside = names.get(m.group(1), "").startswith(("hvb_rx_burst", "hvb_tx_burst"))
        elif line.startswith("calls="):
            skip = True  # the next line is the callee's cost
        elif re.match(r"[+\-*\d]", line):
            if inside and not skip:
                own += int(line.split()[1])
            skip = False
        else:
            m = re.match(r"cfn=\((\d+)\) (.*)$", line)
            if m:
                names[m.group(1)] = m.group(2)
    return total, own
