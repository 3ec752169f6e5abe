"""What `mmrep compare` says and draws."""

from pathlib import Path
from typing import Any

import numpy as np

from mmrep.core.files import write_json
from mmrep.sweeps.tables import number, plain, terminal

KINDS = {"cka": "CKA (debiased, linear)", "mutual_knn": "mutual kNN@10"}
SHORT = {"cka": "CKA", "mutual_knn": "kNN@10"}


def lines(found: dict[str, Any]) -> list[str]:
    """The comparison in words and tables."""
    out = [f"a: {found['a']} (step {found['steps'][0]})", f"b: {found['b']} (step {found['steps'][1]})",
           f"{found['n']:,} rows of {found['split']}; layers on {found['rows']:,} of them, one a case", ""]
    for m, of in found["layers"].items():
        for key, kind in KINDS.items():
            if of[key]:
                rows = [[name, *(number(v, 2) for v in row)] for name, row in zip(of["a"], of[key])]
                mean, high = (np.array(of["null"][key][end]) for end in ("mean", "high"))
                out += [f"{m}: {kind} of a's layers (rows) and b's", terminal(([" ", *of["b"]], rows)),
                        f"of shuffled rows: mean {_rounded(mean.min())} to {_rounded(mean.max())}, 95 % quantile up to "
                        f"{_rounded(high.max())}", ""]
    out += _of_embeddings(found["embeddings"])
    rows = []
    for name, flips in found["flips"].items():
        d = found["differences"].get(name)
        text = f"{number(d['value'])} [{number(d['low'])}, {number(d['high'])}]" if d else found["left_out"].get(name, "")
        rows.append([name, text, str(flips["both"]), str(flips["a_only"]["n"]), str(flips["b_only"]["n"]), str(flips["neither"])])
    if rows:
        head = ["", "b - a", "both", "a only", "b only", "neither"]
        out += ["b - a, paired by case, and rows that are right in", terminal((head, rows)), ""]
        for name, flips in found["flips"].items():
            for key, text in (("a_only", "lost"), ("b_only", "won")):
                if flips[key]["n"]:
                    more = ", ..." if flips[key]["n"] > len(flips[key]["rows"]) else ""
                    out.append(f"{name}: {text} in b: rows {', '.join(map(str, flips[key]['rows']))}{more}")
    for name, by in found["subgroups"].items():
        rows = [[label, value, str(one["n"]), f"{number(one['value'])} [{number(one['low'])}, {number(one['high'])}]",
                 *(str(one[key]) for key in ("both", "a_only", "b_only", "neither"))]
                for label, values in by.items() for value, one in values.items()]
        out += ["", f"{name}: b - a, and rows that are right in, by subgroup (intervals are not corrected for how many there are)",
                terminal((["label", "value", "rows", "b - a", "both", "a only", "b only", "neither"], rows))]
    return out + [f"left out: {name}: {why}" for name, why in found["left_out"].items() if name not in found["flips"]]


def _of_embeddings(of: dict[str, Any]) -> list[str]:
    """A row a pair of embeddings: both similarities with intervals, and what shuffled rows read."""
    kinds = {key: kind for key, kind in KINDS.items() if of[key]}

    def cells(key: str, i: int, j: int) -> list[str]:
        low, high = (of["interval"][key][end][i][j] if of["interval"][key] else np.nan for end in ("low", "high"))
        mean, bound = (of["null"][key][end][i][j] for end in ("mean", "high"))
        value, low, high, mean, bound = (_rounded(x, 3) for x in (of[key][i][j], low, high, mean, bound))
        return [f"{value} [{low}, {high}]", f"{mean} ({bound})"]

    rows = [[a, b, *(cell for key in kinds for cell in cells(key, i, j))] for i, a in enumerate(of["a"]) for j, b in enumerate(of["b"])]
    head = ["a", "b", *(text for kind in kinds.values() for text in (kind, "shuffled"))]
    title = "embeddings: [95 % interval by the jackknife], and the mean (95 % quantile) of shuffled rows"
    return [title, terminal((head, rows)), ""] if kinds else []


def _rounded(x: float, digits: int = 2) -> str:
    """A similarity, which is near 0 where it is small: no further digits, no -0."""
    return number(round(float(x), digits) + 0.0, digits)


def write(found: dict[str, Any], out: Path) -> Path:
    """Write OUT/compare.json and OUT/compare.png: heat maps a modality, the paired differences, and the embeddings."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure  # without pyplot, whose backend and settings are the caller's

    from mmrep.sweeps import style

    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "compare.json", plain(found))
    with rc_context(style.STYLE):
        maps = [(m, of) for m, of in found["layers"].items() if of["cka"]]
        kinds = [key for key in KINDS if any(of[key] for _, of in maps)] or ["cka"]
        figure = Figure(figsize=(3.1 * len(maps) + 3.4, 6.0))
        grid = figure.add_gridspec(2, len(maps) + 1)
        for row, key in enumerate(kinds):
            for column, (m, of) in enumerate(maps):
                if of[key]:
                    _matrix(figure, figure.add_subplot(grid[row, column]), f"{m}: {SHORT[key]} of layers", of, key)
        _forest(figure.add_subplot(grid[0, -1]), found["differences"], style)
        _pairs(figure.add_subplot(grid[1, -1]), found["embeddings"], kinds, style)
        part = out / "compare.part.png"
        figure.savefig(part, dpi=150)
    part.replace(out / "compare.png")
    return out / "compare.png"


def _matrix(figure: Any, ax: Any, title: str, of: dict[str, Any], key: str) -> None:
    """A heat map of layers, with a cross where shuffled rows often read as much, and their 95 % quantile as a line in the key."""
    values, high = np.array(of[key]), np.array(of["null"][key]["high"])
    image = ax.imshow(values, vmin=0, vmax=1, cmap="viridis", origin="lower", aspect="auto")
    y, x = np.nonzero(values <= high)
    ax.plot(x, y, "x", ms=4, color="white")
    ax.set_xticks(range(len(of["b"])), of["b"], rotation=90, fontsize=6)
    ax.set_yticks(range(len(of["a"])), of["a"], fontsize=6)
    ax.set(title=title, xlabel="b  (x: no more than shuffled rows)" if len(x) else "b", ylabel="a")
    bar = figure.colorbar(image, ax=ax, shrink=0.8)
    bar.set_label("dotted: 95 % of shuffles", fontsize=6)
    bar.ax.axhline(high.max(), color="white", lw=1.2, ls=":")


def _pairs(ax: Any, of: dict[str, Any], kinds: list[str], style: Any) -> None:
    """Similarities of embeddings, a line a pair, with intervals, and a bar up to the 95 % quantile of shuffled rows."""
    pairs = [(i, j) for i in range(len(of["a"])) for j in range(len(of["b"]))][::-1]
    for key, color, shift in zip(kinds, (style.BLUE, style.GREEN), (0.15, -0.15)):
        for place, (i, j) in enumerate(pairs if of[key] else ()):
            value = of[key][i][j]
            low, high = (of["interval"][key][end][i][j] if of["interval"][key] else value for end in ("low", "high"))
            ax.barh(place + shift, of["null"][key]["high"][i][j], 0.22, color=style.GREY, alpha=0.35, lw=0)
            ax.errorbar(value, place + shift, xerr=[[value - low], [high - value]], marker="o", color=color, capsize=2)
        ax.plot([], [], "o", color=color, label=SHORT[key])
    ax.barh(0, 0, color=style.GREY, alpha=0.35, label="95 % of shuffles")
    ax.axvline(0, color=style.GREY, lw=1, ls=":")
    ax.set_yticks(range(len(pairs)), [f"a {of['a'][i]}, b {of['b'][j]}" for i, j in pairs], fontsize=6)
    ax.set(title="Embeddings", xlabel="similarity", ylim=(-0.6, 1.6 * len(pairs)))  # room for the legend
    ax.legend(loc="upper left")


def _forest(ax: Any, differences: dict[str, dict], style: Any) -> None:
    """Differences with their intervals, a line each."""
    names = list(differences)[::-1]
    for i, name in enumerate(names):
        d = differences[name]
        ax.errorbar(d["value"], i, xerr=[[d["value"] - d["low"]], [d["high"] - d["value"]]], marker="o", color=style.BLUE, capsize=2)
    ax.axvline(0, color=style.GREY, lw=1, ls=":")
    ax.locator_params(axis="x", nbins=5)
    ax.set_yticks(range(len(names)), names, fontsize=6)
    ax.set(title="b - a, paired by case", xlabel="difference of the share right", ylim=(-0.6, max(len(names) - 0.4, 0.6)))
    if not names:
        ax.text(0.5, 0.5, "nothing that both evaluate", ha="center", transform=ax.transAxes, color=style.GREY)
