"""What `mmrep compare` says and draws."""

from pathlib import Path
from typing import Any

import numpy as np

from mmrep.core.files import write_json
from mmrep.sweeps.tables import number, plain, terminal


def lines(found: dict[str, Any]) -> list[str]:
    """The comparison in words and tables."""
    out = [f"a: {found['a']} (step {found['steps'][0]})", f"b: {found['b']} (step {found['steps'][1]})",
           f"{found['n']:,} rows of {found['split']}; layers on {found['rows']:,} of them, one a case", ""]
    for m, of in found["layers"].items():
        if of["cka"]:
            rows = [[name, *(number(v, 2) for v in row)] for name, row in zip(of["a"], of["cka"])]
            out += [f"{m}: CKA (debiased, linear) of a's layers (rows) and b's", terminal(([" ", *of["b"]], rows)), ""]
    embedded = found["embeddings"]
    for name, kind in (("cka", "CKA"), ("mutual_knn", "mutual kNN@10")):
        if embedded[name]:
            rows = [[f"a {m}", *(number(v) for v in row)] for m, row in zip(embedded["a"], embedded[name])]
            out += [f"{kind} of the embeddings", terminal((["", *(f"b {m}" for m in embedded["b"])], rows)), ""]
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
        rows = [[label, value, str(one["n"]), f"{number(one['value'])} [{number(one['low'])}, {number(one['high'])}]"]
                for label, values in by.items() for value, one in values.items()]
        out += ["", f"{name}: b - a by subgroup (intervals are not corrected for how many there are)",
                terminal((["label", "value", "rows", "b - a"], rows))]
    return out + [f"left out: {name}: {why}" for name, why in found["left_out"].items() if name not in found["flips"]]


def write(found: dict[str, Any], out: Path) -> Path:
    """Write OUT/compare.json and OUT/compare.png: a heat map a modality, and the paired differences."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure  # without pyplot, whose backend and settings are the caller's

    from mmrep.sweeps import style

    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "compare.json", plain(found))
    with rc_context(style.STYLE):
        maps = [(m, of) for m, of in found["layers"].items() if of["cka"]]
        figure = Figure(figsize=(3.1 * len(maps) + 3.4, 3.0))
        axes = figure.subplots(1, len(maps) + 1, squeeze=False)
        for ax, (m, of) in zip(axes[0], maps):
            image = ax.imshow(np.array(of["cka"]), vmin=0, vmax=1, cmap="viridis", origin="lower", aspect="auto")
            ax.set_xticks(range(len(of["b"])), of["b"], rotation=90, fontsize=6)
            ax.set_yticks(range(len(of["a"])), of["a"], fontsize=6)
            ax.set(title=f"{m}: CKA of layers", xlabel="b", ylabel="a")
            figure.colorbar(image, ax=ax, shrink=0.8)
        _forest(axes[0, -1], found["differences"], style)
        part = out / "compare.part.png"
        figure.savefig(part, dpi=150)
    part.replace(out / "compare.png")
    return out / "compare.png"


def _forest(ax: Any, differences: dict[str, dict], style: Any) -> None:
    """Differences with their intervals, a line each."""
    names = list(differences)[::-1]
    for i, name in enumerate(names):
        d = differences[name]
        ax.errorbar(d["value"], i, xerr=[[d["value"] - d["low"]], [d["high"] - d["value"]]], marker="o", color=style.BLUE, capsize=2)
    ax.axvline(0, color=style.GREY, lw=1, ls=":")
    ax.set_yticks(range(len(names)), names, fontsize=6)
    ax.set(title="b - a, paired by case", xlabel="difference of the share right", ylim=(-0.6, max(len(names) - 0.4, 0.6)))
    if not names:
        ax.text(0.5, 0.5, "nothing that both evaluate", ha="center", transform=ax.transAxes, color=style.GREY)
