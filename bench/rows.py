# SPDX-License-Identifier: BSD-3-Clause
"""What is measured: one Row for each line of the table."""

MEMORY_QUEUES = 4

# At most these parts of what the stock driver takes: of its instructions, of its cycles.
AIMS = {
    "rx 60 B, 1 ranges": (0.15, 0.70), "rx 60 B, 8 ranges": (0.22, 0.60),
    "rx 60 B, 32 ranges": (0.22, 0.55), "rx 1514 B, 8 ranges": (0.35, 0.85),
    "rx 1514 B, 32 ranges": (0.35, 0.85), "tx 60 B": (0.15, 0.35), "tx 1514 B": (0.30, 0.50),
    "forward 60 B": (0.20, 0.45), "forward 1514 B": (0.35, 0.65), "idle poll": (0.10, 0.25)}

# Frames to receive come in groups, of which four find room in the stock driver's staging ring, at a
# rate that leaves time for them. Where the host is never slower than the driver, the stock driver
# does not leave its burst and throws away what it took: that is overload, and measured there.
PACED = "port=gen:rate=500k,burst=256,"


class Row:
    """One kind of traffic. nic: what the host does; args: what the guest does."""

    def __init__(self, name, nic, args, side, floor=None, value="cycles_per_packet",
                 unit="cycles", seconds=None, stock=True):
        self.name, self.nic, self.args, self.side, self.floor = name, nic, args, side, floor
        self.value, self.unit, self.seconds = value, unit, seconds
        self.drivers = (["stock"] if stock else []) + ["ours"] + (["floor"] if floor else [])

    def of(self, result):
        """This row's value in what hvbench or hvfloor measured; None: nothing happened."""
        if self.side == "heap":
            return result["heap_bytes"] / 1024
        if self.side in ("latency", "restart"):
            return result["latency_ns" if self.side == "latency" else "restart_ms"][self.value]
        if "rx" not in result:  # the floor
            return result["cycles_per_packet"] or None
        if self.side == "both":
            sides = [result[s][self.value] for s in ("rx", "tx")]
            return sum(sides) if all(sides) else None
        return result[self.side][self.value] or None


IDLE = Row("idle poll", "port=sink", ["--mode", "idle"], "rx", value="cycles_per_empty_poll")


def rx(size, ranges, gen=PACED, **more):
    exact = f"ranges-exact={ranges},flush-us=1000" if ranges > 1 else "ranges=1"
    mode = ["--mode", "rx"] + (["--size", str(size)] if size > 1514 else [])
    return Row(f"rx {size} B, {ranges} ranges", f"{exact},{gen}size={size},verify=no", mode,
               "rx", ["rx", str(size)], **more)


def forward(size, **more):
    mode = ["--mode", "fwd"] + (["--size", str(size)] if size > 1514 else [])
    return Row(f"forward {size} B", "ranges-exact=8,flush-us=1000,"
               f"{PACED}size={size},verify=no", mode, "both", **more)


def forward_small(size, burst):
    """Frames a second, in small bursts, to a host that is slower than the driver."""
    return Row(f"forward {size} B, bursts of {burst}", f"ranges=1,port=gen:size={size},verify=no",
               ["--mode", "fwd", "--burst", str(burst)], "tx", value="packets", unit="frames")


def tx(size, **more):
    return Row(f"tx {size} B", "port=sink:verify=no", ["--mode", "tx", "--size", str(size)], "tx",
               **more)


def rows():
    sizes = (60, 128, 512, 1514)
    out = [rx(size, ranges) for size in sizes for ranges in (1, 8, 32)]
    # net_netvsc of DPDK 22.11 has no MTU above 1500; a section has no room for such a frame, so
    # there is nothing to copy that a floor of transmit would be made of.
    out += [rx(9014, ranges, stock=False) for ranges in (1, 8, 32)]
    out += [tx(size, floor=["tx", str(size)]) for size in sizes] + [tx(9014, stock=False)]
    out += [forward(size) for size in sizes] + [forward(9014, stock=False), IDLE]
    for p in ("p50", "p99", "p9999"):
        out.append(Row(f"latency {p}", "port=echo",
                       ["--mode", "latency", "--size", "128", "--rate", "20000"], "latency",
                       value=p, unit="ns", seconds=1))
    for queues in (1, MEMORY_QUEUES):
        args = ["--mode", "restart", "--queues", str(queues)]
        out.append(Row(f"memory, queues: {queues}", "port=sink", args, "heap", unit="KiB"))
        if queues == 1:
            out += [Row(f"restart: {what}", "port=sink", args, "restart", value=what, unit="ms")
                    for what in ("probe", "stop", "start")]
    return out
