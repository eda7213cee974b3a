# SPDX-License-Identifier: BSD-3-Clause
"""dpdk-testpmd's prompt, driven as DPDK's test suite (DTS) does: a command, its answer."""
import re

from hv import Testpmd, until

PROMPT = "testpmd> "
# Whole, or with a few lines of other threads in the middle.
ANY_PROMPT = PROMPT + "|" + "|".join(
    rf"{PROMPT[:i]}(?:[^\n]*\n){{1,4}}{PROMPT[i:]}" for i in range(1, len(PROMPT)))


class Console(Testpmd):
    """dpdk-testpmd -i: the prompt has come when it is constructed."""

    def __init__(self, host, *args, queues=1, **more):
        more.setdefault("cores", min(queues, 2))
        super().__init__(host, f"--rxq={queues}", f"--txq={queues}", *args, interactive=True,
                         **more)
        self.mode = next((a[15:] for a in args if a.startswith("--forward-mode=")), "io")
        self.expect(ANY_PROMPT)

    def do(self, *lines):
        """Type commands, each at its prompt; the answer to the last."""
        answer = ""
        for line in lines:
            start = self.seen
            self.type(line)
            end = self.expect(ANY_PROMPT).end()
            answer = self.text[start:end].removesuffix(PROMPT).replace("\r", "")
            assert not re.search("Bad arguments|Command not found|Ambiguous", answer), answer
        return answer

    def restart(self, *between):
        """Stop the port, do something, start it."""
        self.do("stop", "port stop 0", *between)
        answer = self.do("port start 0")
        assert not re.search("Error|Fail to (start|configure)", answer), answer

    def stats(self):
        """Basic statistics of port 0."""
        return {k: int(v) for k, v in re.findall(r"([RT]X-\w+): +(\d+)",
                                                 self.do("show port stats 0"))}

    def xstats(self):
        return {k: int(v) for k, v in re.findall(r"(?m)^(\w+): (\d+)$",
                                                 self.do("show port xstats 0"))}

    def info(self):
        """'show port info' as a dictionary."""
        return dict(re.findall(r"(?m)^ *([\w ()/.-]+?): *(.*?) *$",
                               self.do("show port info 0")))

    def quit(self):
        self.type("quit")
        assert self.wait() == 0, self.text
        self.forget()


def queues_of(host, field="rx_frames"):
    """A counter of each open channel of the first NIC."""
    return {q["index"]: q[field] for q in host.stats()["nics"][0]["queues"] if q["open"]}


def back(host, count):
    """Wait until the generator has got so many frames back."""
    until(lambda: host.port()["received"] >= count, f"{count} frames back")


def cycle(host, console, count, total=0):
    """Forward the generator's next count frames: all come back.

    More than a queue has descriptors may wait for an lcore that had no processor: none is dropped.
    """
    console.do(f"set fwd {console.mode} retry", "set burst tx delay 1 retry 10000000", "start")
    host.command("start", nic=0)
    back(host, total + count)
    console.do("stop")
