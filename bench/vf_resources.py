# SPDX-License-Identifier: BSD-3-Clause
"""What a process holds, to be compared before and after: what a leak would make grow.

Not mbufs: testpmd-hv counts them at its end.
"""
import os
import pathlib

# net_memif of DPDK 22.11 forgets the interrupt handle of each transmit queue that it releases:
# memif_tx_queue_setup() makes one with room for 512 events, of 64, 2048 and 24576 bytes, each of
# which has a header and a trailer of 128 bytes in the heap, and up to 64 that were left over.
MEMIF_ELEMENTS = 3
MEMIF_BYTES = 64 + 2048 + 24576 + MEMIF_ELEMENTS * (128 + 64)
SLACK_KB = 4096


def held(pid, telemetry):
    """Descriptors, threads, mappings, memory other than DPDK's; and what DPDK counts of its own."""
    proc = pathlib.Path(f"/proc/{pid}")
    status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
    heaps = [telemetry.ask(f"/eal/heap_info,{n}") for n in telemetry.ask("/eal/heap_list")]
    return {"fds": len(os.listdir(proc / "fd")), "threads": int(status["Threads"]),
            "maps": len((proc / "maps").read_text().splitlines()),
            # DPDK's memory is a file's, and its pages are touched one by one, with load.
            "anon_kb": int(status["RssAnon"].split()[0]),
            "memzones": len(telemetry.ask("/eal/memzone_list")),
            "heap_elements": sum(h["Alloc_count"] for h in heaps),
            "heap_bytes": sum(h["Alloc_size"] for h in heaps)}


def grown(first, last, memif_queues, resident=True):
    """What grew by more than so many of memif's queues explain: a list of names."""
    slack = {"fds": 0, "threads": 0, "maps": 16, "memzones": 0,
             "heap_elements": MEMIF_ELEMENTS * memif_queues,
             "heap_bytes": MEMIF_BYTES * memif_queues}
    if resident:
        slack["anon_kb"] = SLACK_KB
    return [k for k, more in slack.items() if last[k] > first[k] + more]
