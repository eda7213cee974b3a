# SPDX-License-Identifier: BSD-3-Clause
"""The table of "make demo"; exit status 0 only if every packet came back as it must."""
import json
import sys


def main():
    with open(sys.argv[1], encoding="ascii") as f:
        host = json.load(f)
    with open(sys.argv[2], encoding="ascii") as f:
        app = json.load(f)
    with open(sys.argv[3], encoding="ascii") as f:
        failover = json.load(f)
    rate, vf_holds = float(sys.argv[4]), int(sys.argv[5])
    gen, total = host["nics"][0]["port"], app["total"]
    lost = gen["sent"] - gen["received"]
    planned = sum(n for what, n in failover.items() if what != "surprise")
    rows = [
        ("offered by hv-host", f"{gen['sent']:,}", f"{gen['sent_bytes'] / 1e6:,.1f} MB"),
        ("received by testpmd-hv", f"{total['received']:,}", ""),
        ("forwarded by testpmd-hv", f"{total['forwarded']:,}", f"{total['pps']:,.0f} packets/s"),
        ("back at hv-host, intact", f"{gen['received']:,}", ""),
        ("lost", f"{lost:,}", f"{total['dropped']:,} dropped by testpmd-hv, "
                              f"{total['missed']:,} missed by the driver"),
        ("  by switches that were planned", f"{planned:,}",
         f"blackout {planned / rate * 1e3:.1f} ms (lost / rate), 3 switches"),
        ("  by the VF that vanished", f"{failover['surprise']:,}",
         f"blackout {failover['surprise'] / rate * 1e3:.1f} ms; its rings hold {vf_holds:,}"),
        ("damaged", f"{gen['damaged']:,}", ""),
        ("duplicated, out of order", f"{gen['duplicated']:,}, {gen['reordered']:,}", ""),
        ("rules of the protocol broken", f"{sum(host['violations'].values()):,}",
         " ".join(host["violations"])),
        ("cycles a packet", f"{total['cycles_per_packet']:.0f}",
         f"received, addresses swapped, sent; {app['tsc_hz'] / 1e9:.1f} GHz TSC"),
    ]
    for name, figure, remark in rows:
        print(f"  {name:30}{figure:>16}  {remark}".rstrip())
    good = gen["sent"] > 0 and lost == failover["surprise"] <= vf_holds and planned == 0 and \
        not host["violations"] and \
        not any(gen[k] for k in ("damaged", "duplicated", "reordered"))
    return 0 if good else 1


sys.exit(main())
