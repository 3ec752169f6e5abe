"""R^2 of content, style and private latents from one modality's encoding: by their dependence, by its dimensions, of controls."""

from mmrep.sweeps import style
from mmrep.sweeps.results import mean, values

LABELS = {"content": ("content", style.BLUE, "o"), "style": ("style", style.RED, "s"), "private_1": ("private, own", style.GREEN, "^"),
          "private_2": ("private, other's", style.ORANGE, "v")}
ROWS = {"p=1": "$p$ = 1", "p=.75": "$p$ = .75", "statistical": "$p$ = .75,\nWishart", "causal": "$p$ = .75,\n+ causal"}
CONTROLS = {"p=1": "trained", "wrong pairs": "wrong\npairs", "same style": "style kept\n($p$ = 0)", "untrained": "untrained"}


def r2(rows: list) -> dict[str, dict[str, list[float]]]:
    """{setting: {label: R^2 by seed}} of kernel ridge regressions; of untrained encoders, "untrained" (p=1) and "untrained, causal"."""
    found: dict = {}
    for label in LABELS:
        metric = f"identify/x1/{label}/r2_kernel"
        for setting, seeds in values(rows, metric, by="setting").items():
            found.setdefault(setting, {})[label] = seeds
        for setting, seeds in values(rows, metric, by="setting", control="untrained").items():
            found.setdefault({"p=1": "untrained"}.get(setting, f"untrained, {setting}"), {})[label] = seeds
    return found


def sizes(by: dict) -> dict[int, str]:
    """{dimensions of the encoding: setting}; as many as content has are those of the setting p=1."""
    found = {int(name.split()[1]): name for name in by if name.startswith("dim ")}
    return dict(sorted((found | {max(found) // 2: "p=1"}).items()))


def measure(rows: list) -> dict[str, float]:
    by = r2(rows)
    found = {f"{label}/{setting}": mean(seeds) for setting, of in by.items() for label, seeds in of.items()}
    for setting in by:
        found[f"private/{setting}"] = max(found[f"private_1/{setting}"], found[f"private_2/{setting}"])
        found[f"|style|/{setting}"] = abs(found[f"style/{setting}"])
    dims = sizes(by)
    found["highest private of the four"] = max(found[f"private/{setting}"] for setting in ROWS)
    for name, dim in (("least", min(dims)), ("most", max(dims))):
        found |= {f"{label} at {name} dimensions": found[f"{label}/{dims[dim]}"] for label in ("content", "style", "private")}
    return found


def draw(rows: list):
    import matplotlib.pyplot as plt

    by = r2(rows)
    figure, axes = plt.subplots(1, 3, figsize=(6.8, 2.7), sharey=True, width_ratios=(1.25, 0.9, 1.1))
    for ax, names, title in ((axes[0], ROWS, "Dependence of the latents"), (axes[2], CONTROLS, "Controls")):
        for i, (label, (name, color, marker)) in enumerate(LABELS.items()):
            at = [k + 0.18 * (i - 1.5) for k in range(len(names))]
            style.over_seeds(ax, at, [by[setting][label] for setting in names], color=color, marker=marker, ls="none", label=name)
        ax.set_xticks(range(len(names)), names.values(), fontsize=6.5)
        ax.set(title=title, xlim=(-0.5, len(names) - 0.5))
    dims = sizes(by)
    for label, (name, color, marker) in LABELS.items():
        style.over_seeds(axes[1], list(dims), [by[setting][label] for setting in dims.values()], color=color, marker=marker, label=name)
    axes[1].axvline(max(dims) // 2, color=style.GREY, lw=0.8, ls=":", zorder=0)
    axes[1].set(title="Size of the encoding", xlabel="dimensions", xticks=list(dims))
    for ax in axes:
        ax.axhline(0, color=style.GREY, lw=0.6, zorder=0)
    axes[0].set(ylabel="$R^2$ of latents from $g_1(x_1)$", ylim=(-0.06, 1.06))
    handles, names = axes[0].get_legend_handles_labels()
    axes[2].legend(handles, names, loc="upper right")
    return figure
