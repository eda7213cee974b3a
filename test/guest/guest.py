# SPDX-License-Identifier: BSD-3-Clause
"""A software host and Linux guests in QEMU: start, talk to, time out, end.

    with Host(tmp, "--nic", "port=echo") as host, Guest(tmp, host, "6.1") as guest:
        guest.run("modprobe hv_netvsc")
"""
import contextlib
import itertools
import json
import os
import pathlib
import select
import socket
import subprocess
import time

import image

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("HV_BUILD", ROOT / "build" / "gcc"))
# hv-host may be that of another build, one with sanitizers, whose drivers do not run in a guest.
HOST_BUILD = pathlib.Path(os.environ.get("HV_HOST_BUILD", BUILD))
# Becomes the program it is given, which ends with the test run, however that ends.
TIED = ["setpriv", "--pdeathsig", "KILL"]
BOOT_TIMEOUT = 600    # s; 4 to 7 s of CPU time, which a loaded machine may not give for long
RUN_TIMEOUT = 180
TROUBLE = ("BUG:", "WARNING:", "Oops", "Call Trace", "blocked for more than", "Kernel panic",
           "detected stall")


class GuestError(AssertionError):
    """What a guest did wrong, with the end of its logs."""


def wait_for(what, condition, timeout=RUN_TIMEOUT, step=0.05):
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise GuestError(f"{timeout} s passed without: {what}")
        time.sleep(step)


class Host:
    """hv-host (or another program of the same usage) with a socket in `tmp`."""
    count = itertools.count()

    def __init__(self, tmp, *args, program="hv-host", verbose=True):
        n = next(self.count)
        self.path = pathlib.Path(tmp) / f"host{n}"
        self.log_path, self.json = self.path.with_suffix(".log"), self.path.with_suffix(".json")
        self.log = open(self.log_path, "wb")
        cmd = [HOST_BUILD / "host" / program, "--socket", self.path, "--json", self.json,
               "--wait", "event", *(["--verbose"] if verbose else []), *args]
        self.proc = subprocess.Popen([*TIED, *map(str, cmd)], stdout=self.log, stderr=self.log,
                                     stdin=subprocess.DEVNULL)
        wait_for("hv-host listens", lambda: self.control_path.exists() or self._dead(), 60)

    @property
    def control_path(self):
        return pathlib.Path(f"{self.path}.ctl")

    def _dead(self):
        if self.proc.poll() is not None:
            raise GuestError(f"hv-host ended with {self.proc.returncode}:\n{self.tail()}")
        return False

    def tail(self):
        return self.log_path.read_text(errors="replace")[-4000:]

    def command(self, cmd, **args):
        """A command of the control socket; the reply's object, ok or an error."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10)
            s.connect(str(self.control_path))
            s.sendall(json.dumps({"cmd": cmd, **args}).encode() + b"\n")
            reply = s.makefile().readline()
        reply = json.loads(reply)
        if not reply.get("ok"):
            raise GuestError(f"hv-host: {cmd} {args}: {reply.get('error')}")
        return reply

    def stats(self):
        return self.command("stats")["stats"]

    def end(self, violations=()):
        """Stop it: it must be alive, and exactly these rules were broken."""
        if self.proc.poll() is None:
            self.proc.terminate()
        try:
            status = self.proc.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise GuestError("hv-host does not end on SIGTERM") from None
        broken = set(json.loads(self.json.read_text())["violations"]) if self.json.exists() \
            else None
        if broken != set(violations) or status != (3 if violations else 0):
            raise GuestError(f"hv-host ended with {status}, broken rules: {broken}\n"
                             f"{self.tail()}")

    def kill(self):
        if self.proc.poll() is None:
            self.proc.kill()
        self.proc.wait()
        self.log.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, _value, _tb):
        try:
            if kind is None:
                self.end()
        finally:
            self.kill()


class Qmp:
    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(RUN_TIMEOUT)
        wait_for("QMP", lambda: self._connect(path), 30)
        self.file = self.sock.makefile("rw")
        self.events = []
        json.loads(self.file.readline())
        self("qmp_capabilities")

    def _connect(self, path):
        with contextlib.suppress(OSError):
            self.sock.connect(str(path))
            return True
        return False

    def __call__(self, execute, **arguments):
        self.file.write(json.dumps({"execute": execute, "arguments": arguments}) + "\n")
        self.file.flush()
        while True:
            reply = json.loads(self.file.readline())
            if "event" in reply:
                self.events.append(reply)
            elif "error" in reply:
                raise GuestError(f"QMP {execute} {arguments}: {reply['error']['desc']}")
            else:
                return reply["return"]

    def close(self):
        self.file.close()
        self.sock.close()


def command(directory, host, kernel, cpus, memory, initrd=None, append="",
            serial=("null", "stdio"), reboot=False):
    """QEMU's command line: the first serial port has the kernel's log, the second a shell."""
    # One thread for all processors: with one each, a processor may run the breakpoint that Linux
    # puts into its code while it patches it after Linux is done with it ("Oops: int3").
    rom = pathlib.Path(image.qemu()).parent / "pc-bios" / "optionrom"
    cmd = [image.qemu(), "-nodefaults", "-display", "none",
           "-action", f"reboot={'reset' if reboot else 'shutdown'}",
           "-L", "/usr/share/seabios", "-L", rom,
           "-machine", "pc,memory-backend=ram,hpet=off,i8042=off", "-accel", "tcg,thread=single",
           "-cpu", "max", "-smp", cpus, "-m", memory,
           "-object", f"memory-backend-memfd,id=ram,size={memory}M,share=on",
           "-device", f"hv-vmbus-user,path={host.path}",
           "-kernel", kernel.image, "-initrd", initrd or image.standard(kernel),
           "-append", f"console=ttyS0 panic=-1 {append}",
           "-qmp", f"unix:{directory}/qmp,server=on,wait=off"]
    for port in serial:
        cmd += ["-serial", port]
    return [str(c) for c in cmd]


class Guest:
    count = itertools.count()
    marks = itertools.count(1)

    def __init__(self, tmp, host, kernel="6.1", cpus=1, memory=256, initrd=None, append="",
                 qemu=(), boot=True, reboot=False):
        self.dir = pathlib.Path(tmp) / f"guest{next(self.count)}"
        self.dir.mkdir()
        self.host, self.kernel = host, image.kernel(kernel)
        self.console_path = self.dir / "console.log"
        self.transcript = open(self.dir / "shell.log", "wb")
        cmd = command(self.dir, host, self.kernel, cpus, memory, initrd, append,
                      (f"file:{self.console_path}", "stdio"), reboot)
        cmd += [str(a) for a in qemu]
        self.errors = open(self.dir / "qemu.log", "wb")
        self.proc = subprocess.Popen([*TIED, *cmd], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     stderr=self.errors)
        self.buffer = b""
        self.qmp = None
        try:
            self.qmp = Qmp(self.dir / "qmp")
            if boot:
                self.booted()
        except BaseException:
            self.kill()
            raise

    def console(self):
        return self.console_path.read_text(errors="replace") if self.console_path.exists() \
            else ""

    def _logs(self):
        self.errors.flush()
        self.transcript.flush()
        shell = (self.dir / "shell.log").read_text(errors="replace")
        return (f"--- kernel log\n{self.console()[-3000:]}\n--- shell\n{shell[-1500:]}\n"
                f"--- QEMU\n{(self.dir / 'qemu.log').read_text(errors='replace')[-1500:]}\n"
                f"--- hv-host\n{self.host.tail()[-2000:]}")

    def fail(self, text):
        raise GuestError(f"{text}\n{self._logs()}")

    def expect(self, pattern, timeout):
        """Bytes of the shell up to and with `pattern`."""
        end = time.monotonic() + timeout
        while pattern not in self.buffer:
            left = end - time.monotonic()
            if left <= 0:
                self.fail(f"no {pattern!r} within {timeout} s")
            ready, _, _ = select.select([self.proc.stdout], [], [], min(left, 1))
            data = os.read(self.proc.stdout.fileno(), 65536) if ready else None
            if data == b"":
                self.fail("QEMU ended")
            if data:
                self.transcript.write(data)
                self.buffer += data
        at = self.buffer.index(pattern) + len(pattern)
        got, self.buffer = self.buffer[:at], self.buffer[at:]
        return got

    def send(self, text):
        self.transcript.write(f"> {text}\n".encode())
        self.proc.stdin.write(text.encode() + b"\n")
        self.proc.stdin.flush()

    def booted(self):
        """Wait for the shell."""
        self.expect(b"guest ready\n", BOOT_TIMEOUT)

    def status(self, command, timeout=RUN_TIMEOUT):
        """(exit status, output) of a shell command of one line."""
        n = next(self.marks)
        self.send(f"{{ {command}; }} < /dev/null 2>&1; echo \"@{n}:$?@\"")
        out = self.expect(f"@{n}:".encode(), timeout)[:-len(f"@{n}:")]
        code = self.expect(b"@\n", timeout)[:-2]
        return int(code), out.decode(errors="replace").replace("\r", "")

    def run(self, command, timeout=RUN_TIMEOUT):
        """Output of a shell command that must succeed."""
        code, out = self.status(command, timeout)
        if code != 0:
            self.fail(f"\"{command}\" ended with {code}:\n{out}")
        return out

    def start(self, command):
        """Run a shell command in the background, its output is lost."""
        self.run(f"({command}) > /dev/null 2>&1 & true")

    def until(self, what, command, timeout=RUN_TIMEOUT):
        """Repeat a shell command until it succeeds; its output."""
        end = time.monotonic() + timeout
        while True:
            code, out = self.status(command, timeout)
            if code == 0:
                return out
            if time.monotonic() > end:
                self.fail(f"{timeout} s passed without: {what}\n{out}")
            time.sleep(0.2)

    def clean(self):
        """No oops, warning or hung task in the kernel's log since the last (re)boot."""
        log = self.console().rsplit("Linux version ", 1)[-1]
        bad = [line for line in log.splitlines() if any(w in line for w in TROUBLE)]
        if bad:
            self.fail("the kernel's log is not clean: " + "; ".join(bad[:5]))

    def end(self):
        """Switch off and check the kernel's log."""
        self.send("poweroff -f")
        try:
            self.proc.wait(60)
        except subprocess.TimeoutExpired:
            self.fail("the guest does not switch off")
        self.clean()

    def kill(self):
        if self.proc.poll() is None:
            self.proc.kill()
        self.proc.wait()
        for f in (self.proc.stdin, self.proc.stdout, self.errors, self.transcript, self.qmp):
            if f is not None:
                with contextlib.suppress(OSError):
                    f.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, _value, _tb):
        try:
            if kind is None and self.proc.poll() is None:
                self.end()
        finally:
            self.kill()
