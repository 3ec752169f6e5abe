"""R^2 of content and style from one encoding, beside the table of the paper, and of runs whose mechanism is off."""

from mmrep.sweeps import style
from mmrep.sweeps.results import mean, values

# von Kuegelgen et al. 2021, inset table of section 5.1: mean and deviation over three seeds, kernel ridge regression; see README.md
PUBLISHED = {"p=1": {"content": (1.00, 0.00), "style": (0.07, 0.00)}, "p=.75": {"content": (1.00, 0.00), "style": (0.06, 0.05)},
             "statistical": {"content": (0.98, 0.03), "style": (0.37, 0.05)}, "causal": {"content": (0.99, 0.01), "style": (0.80, 0.08)}}
LABELS = {"content": (style.BLUE, "o"), "style": (style.RED, "s")}
ROWS = {"p=1": "independent\n$p$ = 1", "p=.75": "independent\n$p$ = .75", "statistical": "statistical\n$p$ = .75",
        "causal": "+ causal\n$p$ = .75"}
CONTROLS = {"p=1": "trained\n$p$ = 1", "wrong pairs": "wrong\npairs", "untrained": "untrained", "even covariance": "statistical,\neven"}


def r2(rows: list) -> dict[str, dict[str, list[float]]]:
    """{setting: {label: R^2 by seed}} of kernel ridge regressions; of untrained encoders, "untrained" (p=1) and "untrained, causal"."""
    found: dict = {}
    for label in LABELS:
        metric = f"identify/x/{label}/r2_kernel"
        for setting, seeds in values(rows, metric, by="setting").items():
            found.setdefault(setting, {})[label] = seeds
        for setting, seeds in values(rows, metric, by="setting", control="untrained").items():
            found.setdefault({"p=1": "untrained"}.get(setting, f"untrained, {setting}"), {})[label] = seeds
    return found


def measure(rows: list) -> dict[str, float]:
    found = {f"{label}/{setting}": mean(seeds) for setting, of in r2(rows).items() for label, seeds in of.items()}
    return found | {"style of causal above statistical": found["style/causal"] - found["style/statistical"]}


def draw(rows: list):
    import matplotlib.pyplot as plt

    by = r2(rows)
    figure, axes = plt.subplots(1, 2, figsize=(6.8, 2.7), sharey=True, width_ratios=(1.3, 1))
    for ax, names, title in ((axes[0], ROWS, "Dependence of content and style"), (axes[1], CONTROLS, "Controls")):
        for i, (label, (color, marker)) in enumerate(LABELS.items()):
            at = [k + 0.24 * (i - 0.5) for k in range(len(names))]
            style.over_seeds(ax, at, [by[setting][label] for setting in names], color=color, marker=marker, ls="none", label=label)
        ax.set_xticks(range(len(names)), names.values())
        ax.set(title=title, xlim=(-0.5, len(names) - 0.5))
        ax.axhline(0, color=style.GREY, lw=0.6, zorder=0)
    for i, label in enumerate(LABELS):
        found = [PUBLISHED[setting][label] for setting in ROWS]
        at = [k + 0.24 * (i - 0.5) + 0.1 for k in range(len(ROWS))]
        axes[0].errorbar(at, [m for m, _ in found], [s for _, s in found], fmt="D", ms=4, mfc="none", mec=style.BLACK, ecolor=style.BLACK,
                         elinewidth=0.8, capsize=2, label="published" if i else None)
    axes[0].set(ylabel="$R^2$ of latents from the encoding", ylim=(-0.06, 1.08))
    axes[0].legend(loc="center left", bbox_to_anchor=(0.0, 0.62))
    return figure
