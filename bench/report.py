#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""What bench/run.py measured, as JSON, as a table and as plots.

    bench/report.py BENCH.JSON DIRECTORY    the tables and plots of doc/performance.rst

Instructions are taken from instructions.json beside BENCH.JSON, where there is one.
"""
import json
import pathlib
import random
import statistics

from rows import AIMS

RESAMPLES = 2000


def interval(pairs):
    """95 % confidence interval of the ratio of medians, by resampling rounds."""
    rng = random.Random(1)
    ratios = []
    for _ in range(RESAMPLES):
        pick = [rng.choice(pairs) for _ in pairs]
        below = statistics.median(b for _, b in pick)
        ratios.append(statistics.median(a for a, _ in pick) / below if below else float("nan"))
    ratios.sort()
    return ratios[int(RESAMPLES * 0.025)], ratios[int(RESAMPLES * 0.975)]


def summary(data):
    """One dictionary a row; what was not measured is not there."""
    out = []
    for name, by_driver in data["values"].items():
        row = {"row": name, "unit": data["units"][name]}
        for driver, values in by_driver.items():
            got = [v for v in values if v is not None]
            if got:
                row[driver] = {"median": statistics.median(got), "min": min(got),
                               "max": max(got)}
        for key, above, below in (("ratio", "ours", "stock"), ("floor_ratio", "floor", "stock"),
                                  ("of_floor", "ours", "floor")):
            # Of the rounds that gave both.
            pairs = [p for p in zip(by_driver.get(above, ()), by_driver.get(below, ()))
                     if None not in p]
            if pairs and statistics.median(b for _, b in pairs):
                row[key] = statistics.median(a for a, _ in pairs) / \
                    statistics.median(b for _, b in pairs)
                row[key + "_95"] = interval(pairs)
        out.append(row)
    return out


def cell(m):
    return f"{m['median']:.4g} ({m['min']:.4g}..{m['max']:.4g})" if m else ""


def ratio(r, key="ratio"):
    if key not in r:
        return ""
    return f"{r[key]:.2f} ({r[key + '_95'][0]:.2f}..{r[key + '_95'][1]:.2f})"


def aim(name, which):
    return f"{AIMS[name][which]:.2f}" if name in AIMS else ""


def failures(data, name):
    """How often a measurement of the row went wrong, by driver: "stock 2"."""
    count = {}
    for i in data.get("incidents", []):
        if i["row"] == name:
            count[i["driver"]] = count.get(i["driver"], 0) + 1
    return ", ".join(f"{d} {n}" for d, n in count.items())


HEADER = ["", "unit", "stock", "ours", "ours / stock (95 %)", "aim", "floor",
          "floor / stock (95 %)", "ours / floor (95 %)", "went wrong"]


def table(data):
    return [[r["row"], r["unit"], cell(r.get("stock")), cell(r.get("ours")), ratio(r),
             aim(r["row"], 1), cell(r.get("floor")), ratio(r, "floor_ratio"), ratio(r, "of_floor"),
             failures(data, r["row"])] for r in summary(data)]


OVERLOAD_HEADER = ["offered, frames/s", "driver", "delivered/s", "dropped by the driver/s",
                   "found no room at the host/s"]


def overload_rows(data):
    """Medians of the rounds, one dictionary for each rate and driver."""
    kinds = {}
    for o in data.get("overload", []):
        kinds.setdefault((o["factor"], o["driver"]), []).append(o)
    out = []
    for same in kinds.values():
        row = dict(same[0])
        for key in ("delivered", "driver_dropped", "host_kept"):
            values = [o[key] for o in same]
            row[key] = {"median": statistics.median(values), "min": min(values),
                        "max": max(values)}
        out.append(row)
    return out


def overload_table(data):
    return [[f"{o['offered']} ({o['factor']} x)", o["driver"], cell(o["delivered"]),
             cell(o["driver_dropped"]), cell(o["host_kept"])] for o in overload_rows(data)]


def conditions(data):
    m, pings = data["machine"], data["ping_cycles"] or [float("nan")]
    return (f"{m['cpu']}, {m['cpus']} CPUs, Linux {m['kernel']}, DPDK {m['dpdk']}, commit "
            f"{m['commit']}. hv-host on CPU {m['host_cpu']}, the guest on CPU {m['guest_cpu']}; a "
            f"cache line went there and back in {min(pings):.0f} to {max(pings):.0f} cycles. Load "
            f"before the run {m['load']:.2f}. {data['rounds']} interleaved rounds of "
            f"{data['seconds']} s a measurement, {data.get('took', 0):.0f} s in all: medians "
            "(least..most).")


def markdown_table(header, lines):
    return ["| " + " | ".join(cells) + " |" for cells in [header, ["---"] * len(header), *lines]]


def markdown(data):
    lines = ["# Drivers side by side", "", conditions(data), "Cycles are per packet, inside the "
             "burst calls; for the idle poll, per call.", "",
             *markdown_table(HEADER, table(data))]
    if data.get("overload"):
        lines += ["", *markdown_table(OVERLOAD_HEADER, overload_table(data))]
    if data.get("incidents"):
        lines += ["", "What went wrong:", ""]
        lines += [f"* round {i.get('round', '?')}, {i['row']}, {i['driver']}: "
                  f"{i['what'].strip().splitlines()[0][:200]}" for i in data["incidents"]]
    return "\n".join(lines) + "\n"


def pyplot():
    """None without matplotlib: the plots are left out."""
    try:
        import matplotlib
    except ImportError:
        return None
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    return plt


def plot(data, path):
    """Bars: cost of each row in parts of the stock driver's."""
    plt = pyplot()
    rows = [r for r in summary(data) if "ratio_95" in r]
    if plt is None or not rows:
        return
    fig, axes = plt.subplots(figsize=(9, 0.3 * len(rows) + 1.5))
    at = range(len(rows))
    axes.barh(at, [r["ratio"] for r in rows], color="#3b6ea5")
    axes.errorbar([r["ratio"] for r in rows], at, fmt="none", ecolor="black",
                  xerr=[[max(0, r["ratio"] - r["ratio_95"][0]) for r in rows],
                        [max(0, r["ratio_95"][1] - r["ratio"]) for r in rows]])
    axes.axvline(1, color="grey", linewidth=0.8)
    axes.set_yticks(list(at), [r["row"] for r in rows])
    axes.invert_yaxis()
    axes.set_xlabel("ours / stock: cycles, time, memory (less is better)")
    fig.tight_layout()
    fig.savefig(path, dpi=80)
    plt.close(fig)


def overload_plot(data, path):
    plt = pyplot()
    if plt is None or not data.get("overload"):
        return
    fig, axes = plt.subplots(figsize=(6, 4))
    for driver, colour in (("stock", "#999999"), ("ours", "#3b6ea5")):
        at = [o for o in overload_rows(data) if o["driver"] == driver]
        offered = [o["offered"] / 1e6 for o in at]
        axes.plot(offered, [o["delivered"]["median"] / 1e6 for o in at], "o-", color=colour,
                  label=f"{driver}: delivered")
        axes.plot(offered, [o["driver_dropped"]["median"] / 1e6 for o in at], "x--", color=colour,
                  label=f"{driver}: dropped by the driver")
    axes.set_xlabel("offered, Mframes/s")
    axes.set_ylabel("Mframes/s")
    axes.set_ylim(bottom=0)
    axes.legend()
    fig.tight_layout()
    fig.savefig(path, dpi=80)
    plt.close(fig)


def write(data, directory):
    """bench.json first: the rest can be made from it."""
    part = directory / "bench.json.part"
    part.write_text(json.dumps(data, indent=1))
    part.replace(directory / "bench.json")
    (directory / "bench.md").write_text(markdown(data))
    plot(data, directory / "bench.png")
    overload_plot(data, directory / "overload.png")


def rst_table(header, lines):
    """A list-table: cells may be of any width."""
    out = [".. list-table::", "   :header-rows: 1", ""]
    for cells in [header, *lines]:
        out += [f"   {'*' if i == 0 else ' '} - {c}".rstrip() for i, c in enumerate(cells)]
    return "\n".join(out) + "\n"


def instructions(path):
    """What run.py --instructions counted, as a table."""
    lines = []
    for name, by_driver in json.loads(path.read_text()).items():
        stock, ours = (by_driver.get(d) for d in ("stock", "ours"))
        for what, key in (("", "packet"), (", without ethdev's call", "inside")):
            if ours is None or (key == "inside" and name != "idle poll"):
                continue
            lines.append([name + what, f"{stock[key]:.0f}" if stock else "", f"{ours[key]:.0f}",
                          f"{ours[key] / stock[key]:.3f}" if stock else "", aim(name, 0)])
    return rst_table(["", "stock", "ours", "ours / stock", "aim"], lines)


LICENCE = "..  SPDX-License-Identifier: BSD-3-Clause\n..  Made by bench/report.py\n\n"


def document(data, directory, counted):
    """What doc/performance.rst includes, from one run."""
    text = [conditions(data), "", rst_table(HEADER, table(data)), ".. image:: performance.png", ""]
    if data.get("overload"):
        text += ["Overload, 8 frames a message:", "",
                 rst_table(OVERLOAD_HEADER, overload_table(data)), ".. image:: overload.png", ""]
        overload_plot(data, directory / "overload.png")
    if data.get("incidents"):
        text += ["What went wrong:", ""]
        text += [f"* round {i.get('round', '?')}, {i['row']}, {i['driver']}: ``" +
                 i["what"].strip().splitlines()[0][:80].replace("`", "'") + "``"
                 for i in data["incidents"]] + [""]
    plot(data, directory / "performance.png")
    (directory / "performance_run.inc").write_text(LICENCE + "\n".join(text))
    if counted.exists():
        (directory / "performance_instructions.inc").write_text(LICENCE + instructions(counted))


if __name__ == "__main__":
    import sys
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    source = pathlib.Path(sys.argv[1])
    document(json.loads(source.read_text()), pathlib.Path(sys.argv[2]),
             source.with_name("instructions.json"))
