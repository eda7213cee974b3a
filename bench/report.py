#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""What bench/run.py measured, as JSON, as a table and as a plot.

    bench/report.py BENCH.JSON DIRECTORY    the tables and plots of doc/performance.rst
"""
import json
import pathlib
import random
import statistics

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
    """One dictionary a row."""
    out = []
    for name, by_driver in data["values"].items():
        row = {"row": name, "unit": data["units"][name]}
        for driver, values in by_driver.items():
            row[driver] = {"median": statistics.median(values), "min": min(values),
                           "max": max(values)}
        stock, ours = by_driver["stock"], by_driver["ours"]
        if row["stock"]["median"]:
            row["ratio"] = row["ours"]["median"] / row["stock"]["median"]
            row["ratio_95"] = interval(list(zip(ours, stock)))
        if "floor" in row and row["floor"]["median"]:
            row["of_floor"] = row["ours"]["median"] / row["floor"]["median"]
        count = data["instructions"].get(name)
        if count:
            row["instructions"] = dict(count, ratio=count["ours"] / count["stock"])
        out.append(row)
    return out


def cell(m):
    return f"{m['median']:.4g} ({m['min']:.4g}..{m['max']:.4g})" if m else ""


def markdown(data):
    m = data["machine"]
    lines = [
        "# Drivers side by side", "",
        f"{m['cpu']}, {m['cpus']} CPUs, Linux {m['kernel']}, DPDK {m['dpdk']}, {m['commit']}.",
        f"hv-host on CPU {m['host_cpu']}, guest on CPU {m['guest_cpu']}; a cache line goes there "
        f"and back in {min(data['ping_cycles']):.0f}..{max(data['ping_cycles']):.0f} cycles "
        f"(per round). Load of the machine at the start: {m['load']:.2f}.",
        f"{data['rounds']} interleaved rounds of {data['seconds']} s; median (min..max). Cycles "
        "and instructions are per packet, inside the burst calls; for the idle poll, per call.",
        "", "| | unit | stock | ours | ours / stock (95 %) | floor | ours / floor "
        "| instructions stock | ours | ratio |", "|---|---|---|---|---|---|---|---|---|---|"]
    for r in summary(data):
        ratio = f"{r['ratio']:.2f} ({r['ratio_95'][0]:.2f}..{r['ratio_95'][1]:.2f})" \
            if "ratio" in r else ""
        count = r.get("instructions")
        lines.append(
            f"| {r['row']} | {r['unit']} | {cell(r['stock'])} | {cell(r['ours'])} | {ratio} | "
            f"{cell(r.get('floor'))} | {r.get('of_floor', 0):.2f} | " +
            (f"{count['stock']:.0f} | {count['ours']:.0f} | {count['ratio']:.2f} |"
             if count else " | | |"))
    if "overload" in data:
        lines += ["", "| offered, frames/s | driver | delivered | dropped by the driver |",
                  "|---|---|---|---|"]
        lines += [f"| {o['offered']} ({o['factor']} x) | {o['driver']} | {o['delivered']:.0f} | "
                  f"{o['driver_dropped']:.0f} |" for o in data["overload"]]
    return "\n".join(lines) + "\n"


def plot(data, path):
    """Bars: cost of each row in parts of the stock driver's."""
    try:
        import matplotlib
    except ImportError:
        return "python3-matplotlib is not installed: no plot"
    matplotlib.use("Agg")
    from matplotlib import pyplot
    table = [r for r in summary(data) if "ratio" in r]
    fig, axes = pyplot.subplots(figsize=(9, 0.4 * len(table) + 1.5))
    at = range(len(table))
    axes.barh(at, [r["ratio"] for r in table], color="#3b6ea5", label="cycles or time")
    axes.errorbar([r["ratio"] for r in table], at, fmt="none", ecolor="black",
                  xerr=[[max(0, r["ratio"] - r["ratio_95"][0]) for r in table],
                        [max(0, r["ratio_95"][1] - r["ratio"]) for r in table]])
    counted = [(i, r["instructions"]["ratio"]) for i, r in enumerate(table) if
               "instructions" in r]
    if counted:
        axes.scatter([v for _, v in counted], [i for i, _ in counted], color="#c44e52", zorder=3,
                     label="instructions")
    axes.axvline(1, color="grey", linewidth=0.8)
    axes.set_yticks(list(at), [r["row"] for r in table])
    axes.invert_yaxis()
    axes.set_xlabel("ours / stock (less is better)")
    axes.legend()
    fig.tight_layout()
    fig.savefig(path, dpi=80)
    return f"plot in {path}"


def write(data, directory):
    directory.mkdir(parents=True, exist_ok=True)
    data["summary"] = summary(data)
    (directory / "bench.json").write_text(json.dumps(data, indent=1))
    text = markdown(data)
    (directory / "bench.md").write_text(text)
    print(text)
    print(plot(data, directory / "bench.png"))
    print(f"table in {directory}/bench.md, everything in {directory}/bench.json")


def rst_table(header, table):
    """A list-table: cells may be of any width."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for cells in [header, *table]:
        lines += [f"   {'*' if i == 0 else ' '} - {c}".rstrip() for i, c in enumerate(cells)]
    return "\n".join(lines) + "\n"


def overload_plot(data, path):
    try:
        import matplotlib
    except ImportError:
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot
    fig, axes = pyplot.subplots(figsize=(6, 4))
    for driver, colour in (("stock", "#999999"), ("ours", "#3b6ea5")):
        at = [o for o in data["overload"] if o["driver"] == driver]
        axes.plot([o["offered"] / 1e6 for o in at], [o["delivered"] / 1e6 for o in at], "o-",
                  color=colour, label=driver)
    axes.set_xlabel("offered, Mframes/s")
    axes.set_ylabel("delivered, Mframes/s")
    axes.set_ylim(bottom=0)
    axes.legend()
    fig.tight_layout()
    fig.savefig(path, dpi=80)


def document(data, directory):
    """What doc/performance.rst includes, from one run."""
    m = data["machine"]
    table = [[r["row"], r["unit"], cell(r["stock"]), cell(r["ours"]),
              f"{r['ratio']:.2f} ({r['ratio_95'][0]:.2f}..{r['ratio_95'][1]:.2f})"
              if "ratio" in r else "", cell(r.get("floor")),
              f"{r['of_floor']:.2f}" if "of_floor" in r else ""] for r in summary(data)]
    text = [
        "..  SPDX-License-Identifier: BSD-3-Clause",
        "..  Made by bench/report.py", "",
        f"{m['cpu']}, {m['cpus']} CPUs, Linux {m['kernel']}, DPDK {m['dpdk']}, commit "
        f"{m['commit']}. hv-host on CPU {m['host_cpu']}, the guest on CPU {m['guest_cpu']}; a "
        f"cache line went there and back in {min(data['ping_cycles']):.0f} to "
        f"{max(data['ping_cycles']):.0f} cycles. Load before the run {m['load']:.2f}. "
        f"{data['rounds']} interleaved rounds of {data['seconds']} s a measurement: medians "
        "(least..most).", "",
        rst_table(["", "unit", "stock", "ours", "ours / stock (95 %)", "floor", "ours / floor"],
                  table)]
    if data.get("instructions"):
        text += ["Instructions per packet in the burst calls, counted in the same set-up:", "",
                 rst_table(["", "stock", "ours", "ratio"],
                           [[name, f"{c['stock']:.0f}", f"{c['ours']:.0f}",
                             f"{c['ours'] / c['stock']:.2f}"]
                            for name, c in data["instructions"].items()])]
    text += [".. image:: performance.png", ""]
    if data.get("overload"):
        text += ["Overload, 8 frames a message:", "",
                 rst_table(["offered, frames/s", "driver", "delivered", "dropped by the driver"],
                           [[f"{o['offered']} ({o['factor']} x)", o["driver"],
                             f"{o['delivered']:.0f}", f"{o['driver_dropped']:.0f}"]
                            for o in data["overload"]]),
                 ".. image:: overload.png", ""]
        overload_plot(data, directory / "overload.png")
    plot(data, directory / "performance.png")
    (directory / "performance_run.inc").write_text("\n".join(text))


if __name__ == "__main__":
    import sys
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    document(json.loads(pathlib.Path(sys.argv[1]).read_text()), pathlib.Path(sys.argv[2]))
