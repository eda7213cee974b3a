# SPDX-License-Identifier: BSD-3-Clause
"""The programs under test as objects: start, talk to, end, and check how they ended."""
import itertools
import json
import os
import pathlib
import pty
import re
import shutil
import signal
import socket
import subprocess
import termios
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("HV_BUILD", ROOT / "build" / "gcc"))
HV_HOST = BUILD / "host" / "hv-host"
TESTPMD_HV = BUILD / "app" / "testpmd-hv" / "testpmd-hv"
HUGE = pathlib.Path("/sys/kernel/mm/hugepages/hugepages-2048kB")
DPDK_TESTPMD = shutil.which("dpdk-testpmd") or "dpdk-testpmd"
PLUGINS = [BUILD / "lib" / "vmbus" / "librte_bus_hv_vmbus.so.23",
           BUILD / "drivers" / "net" / "hvnetvsc" / "librte_net_hvnetvsc.so.23"]
EAL_PLUGINS = pathlib.Path(subprocess.run(
    ["pkg-config", "--variable=libdir", "libdpdk"], check=True, capture_output=True,
    text=True).stdout.strip(), "dpdk", "pmds-23.0")
CPUS = sorted(os.sched_getaffinity(0))
END_SECONDS = 2.0  # from SIGINT or SIGTERM to the end of any program
SLOW = 60  # seconds, of waits that end by an event: only a failure takes so long
NO_HUGE = ["--no-huge", "-m", "256", "--no-shconf"]
# Becomes the program it is given, which ends with the thread that started it, however that ends.
TIED = ["setpriv", "--pdeathsig", "KILL"]

_prefix = itertools.count()


def install(root):
    """Below `root` what "make install" puts where; the plug-ins, whose search paths differ then."""
    subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", root],
                   check=True, capture_output=True)
    return [root / EAL_PLUGINS.relative_to("/") / p.name for p in PLUGINS]


def until(condition, what, seconds=SLOW):
    """Wait for a condition; its first true value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.01)


def becomes(get, wanted, seconds=SLOW):
    """Wait until a value is this: another process counts when it gets to it."""
    end = time.monotonic() + seconds
    while (value := get()) != wanted:
        assert time.monotonic() < end, f"for {seconds} s {value}, not {wanted}"
        time.sleep(0.01)


def lcores(n, cpus=CPUS):
    """n lcores, dealt out to CPUs; the first, which mostly sleeps, is on the first we may use."""
    places = [CPUS[0], *(cpus[i % len(cpus)] for i in range(1, n))]
    return ["--lcores", ",".join(f"{i}@{cpu}" for i, cpu in enumerate(places))]


class Program:
    """A process on a pseudo terminal: its output line by line, and an input that can be typed."""

    def __init__(self, argv, env=None, **more):
        self.argv = [str(a) for a in argv]
        self.text = ""
        self.seen = 0
        self.status = None
        master, slave = pty.openpty()
        mode = termios.tcgetattr(slave)
        mode[1] &= ~termios.OPOST
        mode[3] &= ~(termios.ECHO | termios.ICANON)
        termios.tcsetattr(slave, termios.TCSANOW, mode)
        self.tty = master
        # No session of its own: sessions are scheduled as groups (sched_autogroup), and a group
        # beside another that spins was seen to get no processor for minutes (Linux 6.18).
        self.proc = subprocess.Popen([*TIED, *self.argv], stdin=slave, stdout=slave, stderr=slave,
                                     env={**os.environ, **(env or {})}, process_group=0, **more)
        os.close(slave)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        while True:
            try:
                data = os.read(self.tty, 65536)
            except OSError:  # EIO: nobody holds the other end
                return
            if not data:
                return
            self.text += data.decode(errors="replace")

    def type(self, line):
        os.write(self.tty, (line + "\n").encode())

    def expect(self, pattern, seconds=SLOW):
        """Wait for text behind what was expected last; the match."""
        regex = re.compile(pattern)
        end = time.monotonic() + seconds
        while True:
            alive = self.proc.poll() is None and self.reader.is_alive()
            if not alive:
                self.reader.join(SLOW)
            match = regex.search(self.text, self.seen)
            if match:
                self.seen = match.end()
                return match
            assert alive and time.monotonic() < end, \
                f"no \"{pattern}\" from {' '.join(self.argv)}:\n{self.text}"
            time.sleep(0.01)

    def wait(self, seconds=SLOW):
        """Its exit status, negative: a signal."""
        try:
            self.status = self.proc.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.argv[0]} did not end in {seconds} s:\n{self.text}") \
                from None
        self.reader.join(SLOW)
        return self.status

    def end(self, sig=signal.SIGINT, status=0, seconds=SLOW):
        """Ask it to end: it does, with this status."""
        assert self.proc.poll() is None, f"{self.argv[0]} died:\n{self.text}"
        self.proc.send_signal(sig)
        self.ended(status, seconds)

    def waited(self):
        """Seconds that its main thread was ready to run and another had the processor."""
        try:
            path = pathlib.Path(f"/proc/{self.proc.pid}/schedstat")
            return int(path.read_text().split()[1]) / 1e9
        except OSError:  # a kernel without CONFIG_SCHED_INFO
            return 0

    def pid(self):
        """Of the program itself, which a launcher may have started."""
        pid = self.proc.pid
        if "run-peer" not in self.argv[0]:
            return pid
        return int(pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])

    def processor_time(self, threads=""):
        """Seconds, of all its threads, or of the main one: "/task/PID"."""
        stat = pathlib.Path(f"/proc/{self.pid()}{threads}/stat").read_text()
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def run_on(self):
        """A main thread that polls is behind what it was at: it has counted what it has sent."""
        main = f"/task/{self.pid()}"
        start = self.processor_time(main)
        until(lambda: self.processor_time(main) > start + 0.05, f"{self.argv[0]} runs")

    def is_asleep(self, threads=""):
        """Its main thread, or all with such a name, at this moment."""
        pid = self.pid()
        found = [(t / "stat").read_text().rpartition(")")[2].split()[0]
                 for t in pathlib.Path(f"/proc/{pid}/task").iterdir()
                 if (threads in (t / "comm").read_text() if threads else t.name == str(pid))]
        return set(found) == {"S"}

    def is_idle(self):
        """Asleep, it takes nearly no processor; a process that polls takes what it gets."""
        before = self.processor_time()
        time.sleep(1)
        return self.processor_time() - before < 0.2

    def end_soon(self, sig, status=0):
        """Like end(), within 2 s, not counting the time in which others had the processor."""
        assert self.proc.poll() is None, f"{self.argv[0]} died:\n{self.text}"
        start = time.monotonic() - self.waited()
        self.proc.send_signal(sig)
        until(lambda: os.waitid(os.P_PID, self.proc.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG),
              f"the end of {self.argv[0]}:\n{self.text}")
        took = time.monotonic() - start - self.waited()  # it is there to be asked, not yet reaped
        assert took < END_SECONDS, f"{self.argv[0]} took {took:.1f} s to end:\n{self.text}"
        self.ended(status)

    def ended(self, status, seconds=SLOW):
        assert self.wait(seconds) == status, self.text

    def kill(self):
        if self.proc.poll() is None:
            try:
                os.kill(self.pid(), signal.SIGKILL)  # a launcher takes away what it made
            except (OSError, IndexError):  # which has started nothing, or ends
                self.proc.kill()
        self.proc.wait()
        self.reader.join(SLOW)


def listens(path):
    """A Unix socket's name alone is there before, and may be left by a program that was killed."""
    with socket.socket(socket.AF_UNIX) as s:
        return s.connect_ex(str(path)) == 0


class Host(Program):
    """hv-host; end() checks that no rule was broken."""
    verdict = 0  # its exit status when the test leaves it running; 3: rules are broken on purpose

    def __init__(self, tmp, *args, nics=("port=sink",), name="hv", cpu=None):
        self.socket = tmp / f"{name}.sock"
        self.json = tmp / f"{name}.json"
        nic_args = [a for nic in nics for a in ("--nic", nic)]
        super().__init__([HV_HOST, "--socket", self.socket, "--json", self.json, *nic_args,
                          "--cpu", CPUS[0] if cpu is None else cpu, *args])
        self.control_path = f"{self.socket}.ctl"
        until(lambda: listens(self.control_path) or self.proc.poll() is not None, "control socket")
        assert self.proc.poll() is None, f"hv-host did not start:\n{self.wait()} {self.text}"

    def command(self, cmd, **args):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(SLOW)
            s.connect(self.control_path)
            s.sendall(json.dumps({"cmd": cmd, **args}).encode() + b"\n")
            return json.loads(s.makefile().readline())

    def stats(self):
        return self.command("stats")["stats"]

    def port(self, nic=0):
        """Statistics of a NIC's port now."""
        return self.stats()["nics"][nic]["port"]

    def result(self):
        return json.loads(self.json.read_text())

    def end(self, sig=signal.SIGTERM, status=0, seconds=SLOW):
        super().end(sig, status, seconds)

    def ended(self, status, seconds=SLOW):
        super().ended(status, seconds)
        if status == 0:
            assert self.result()["violations"] == {}, self.text
        for left in (self.socket, self.control_path):
            assert not os.path.exists(left), f"hv-host left {left}"


class Testpmd(Program):
    """Debian's dpdk-testpmd, unmodified, with our plug-ins."""
    __test__ = False
    binary = DPDK_TESTPMD
    plugins = [a for p in PLUGINS if not (EAL_PLUGINS / p.name).exists() for a in ("-d", p)]

    def __init__(self, host, *args, eal=(), memory=NO_HUGE, cores=1, cpus=CPUS, interactive=False,
                 telemetry=False, **more):
        self.prefix = f"hv-e2e-{os.getpid()}-{next(_prefix)}"
        launcher, env = self.reach(getattr(host, "socket", host))
        super().__init__([*launcher, self.binary, *self.plugins, *lcores(cores + 1, cpus),
                          *memory, "--no-pci", *([] if telemetry else ["--no-telemetry"]),
                          "--file-prefix", self.prefix, *eal, "--", *self.app_args(cores),
                          *args, *(["-i"] if interactive else [])], env, **more)

    def reach(self, socket_path):
        """What makes the program find a host: a command before its own, and environment."""
        return [], {"HV_VMBUS_SOCKET": str(socket_path)} if socket_path else {}

    def app_args(self, cores):
        # It throws away what it finds in the queues at its start, unless told not to.
        return ["--total-num-mbufs=16384", f"--nb-cores={cores}", "--no-flush-rx"]

    def ended(self, status, seconds=SLOW):
        super().ended(status, seconds)
        self.forget()

    def forget(self):
        """EAL leaves its run-time directory to the next process with the same prefix."""
        for base in ("/var/run/dpdk", os.environ.get("XDG_RUNTIME_DIR", "/tmp") + "/dpdk"):
            shutil.rmtree(pathlib.Path(base, self.prefix), ignore_errors=True)

    def kill(self):
        super().kill()
        self.forget()


class App(Testpmd):
    """Another application than testpmd, which has arguments of its own or none."""

    def app_args(self, cores):
        return []


class TestpmdHv(App):
    """Our own."""
    binary = TESTPMD_HV
    plugins = []


class UioTestpmd(Testpmd):
    """Our driver as on a real guest: on uio_hv_generic, which test/peer plays."""
    kernel = {}  # what the played one is like: HVPEER_..., see test/peer/peer.h

    def reach(self, socket_path):
        return [ROOT / "test/peer/run-peer", "--socket", socket_path, "--"], \
            {"HV_BUILD": BUILD, **self.kernel}
