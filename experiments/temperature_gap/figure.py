"""Gap against temperature, short and longer training, beside the authors' numbers; gap of untrained towers against depth."""

from mmrep.sweeps import style
from mmrep.sweeps.results import mean, values

# CLIP after fine-tuning on COCO, printed by the authors' notebook shift_features.ipynb; see README.md
PUBLISHED = {1.0: 0.2384, 0.1: 0.3028, 0.05: 0.5524, 0.0333: 0.6352, 0.02: 0.7961, 0.01: 1.0006}
GAP, TOLD = "alignment:x1-x2/gap", "alignment:x1-x2/separability"


def trained(rows: list, metric: str = GAP, tower: str | None = None, **where) -> dict[int, dict[float, list[float]]]:
    """{steps: {temperature: values by seed}}; tower: "linear" for the control."""
    found: dict = {}
    rows = [r for r in rows if r["steps"]]
    for (steps, temperature), seeds in values(rows, metric, by=("steps", "temperature"), tower=tower, **where).items():
        found.setdefault(steps, {})[temperature] = seeds
    return found


def depths(rows: list, metric: str = GAP) -> dict[str, dict[int, list[float]]]:
    """{tower: {depth: values by seed of the untrained towers}}."""
    found: dict = {}
    for (tower, depth), seeds in values([r for r in rows if r["depth"]], metric, by=("tower", "depth"), control="untrained").items():
        found.setdefault(tower, {})[depth] = seeds
    return found


def measure(rows: list) -> dict[str, float]:
    by, together, found = trained(rows), trained(rows, tower="linear"), {}
    short, long = sorted(by)
    for name, gaps in (("short", by[short]), ("long", by[long]), ("started together", together[short])):
        line = [mean(gaps[t]) for t in sorted(gaps)]  # from cold to warm
        found |= {f"smallest ratio of neighbors/{name}": min(a / b for a, b in zip(line, line[1:])),
                  f"coldest over warmest/{name}": line[0] / line[-1]}
    cold, warm = min(by[short]), max(by[short])
    for name, t in (("cold", cold), ("warm", warm)):
        found[f"gap closed by longer training/{name}"] = mean(by[short][t]) - mean(by[long][t])
    gap, told = depths(rows), depths(rows, TOLD)
    for tower in gap:
        found |= {f"gap of untrained towers/{tower}/{d}": mean(v) for d, v in gap[tower].items()}
        found |= {f"gap gained with depth/{tower}": mean(gap[tower][8]) - mean(gap[tower][1]),
                  f"least separability of untrained towers/{tower}": min(min(v) for v in told[tower].values()),
                  f"greatest separability of untrained towers/{tower}": max(max(v) for v in told[tower].values())}
    return found


def draw(rows: list):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(6.8, 2.7))
    by, before = trained(rows), trained(rows, control="untrained")
    temperatures = sorted(PUBLISHED)
    start = [v for seeds in before[min(by)].values() for v in seeds]
    axes[0].axhline(mean(start), color=style.GREY, lw=0.8, ls=":")
    axes[0].annotate("untrained", (1, mean(start)), xytext=(0, 2), textcoords="offset points", color=style.GREY, fontsize=7, ha="right")
    for color, steps in zip((style.BLUE, style.SKY), sorted(by)):
        style.over_seeds(axes[0], sorted(by[steps]), [by[steps][t] for t in sorted(by[steps])], color=color, label=f"ours, {steps} steps")
    control = trained(rows, tower="linear")[min(by)]
    style.over_seeds(axes[0], list(control), list(control.values()), color=style.RED, ls="--", label="linear, started together (control)")
    axes[0].plot(temperatures, [PUBLISHED[t] for t in temperatures], "s--", mfc="none", color=style.BLACK, lw=0.8, ms=4,
                 label="published: CLIP on COCO")
    axes[0].set(title="After training", xscale="log", xlabel="temperature", ylabel="modality gap", ylim=(0, 1.7))
    axes[0].legend(loc="upper right", bbox_to_anchor=(1.0, 0.75))
    gap = depths(rows)
    for color, tower in ((style.BLUE, "ReLU"), (style.RED, "linear")):
        name = "ReLU" if tower == "ReLU" else "linear, no biases (control)"
        style.over_seeds(axes[1], sorted(gap[tower]), [gap[tower][d] for d in sorted(gap[tower])], color=color, label=name)
    axes[1].set(title="Untrained", xscale="log", xlabel="hidden layers", ylim=(0, 1.7))
    axes[1].set_xticks(sorted(gap["ReLU"]), list(map(str, sorted(gap["ReLU"]))))
    axes[1].minorticks_off()
    axes[1].legend(loc="center right", bbox_to_anchor=(1.0, 0.3))
    return figure
