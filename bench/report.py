# SPDX-License-Identifier: BSD-3-Clause
"""What bench/run.py measured, as JSON, as a table and as a plot."""
import json
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
    fig.savefig(path, dpi=120)
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
