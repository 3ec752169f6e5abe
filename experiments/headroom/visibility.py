"""The phantom's visibility matrix beside what was read from each modality.
Command, after headroom: python -m experiments.headroom.visibility runs/headroom

V is what the phantom promises (`VISIBILITY`): 1 shown, 0.5 hinted at, 0 not in it. Held to: the best reading (a supervised network, or
the Bayes rule) is at least 0.95 where V is 1, and every reading lies within three standard errors of chance, 0.5, where V is 0.
"""

import argparse
import csv
from collections import defaultdict
from pathlib import Path

import numpy as np

from mmrep.data.phantom import MODALITIES, VISIBILITY

BEST = ("supervised", "Bayes")


def table(rows: list[dict]) -> tuple[list[str], list[str]]:
    """Lines of a table: factor by modality, "V: raw / best" as means over seeds; and a line for each promise that is not kept."""
    found: dict = defaultdict(lambda: defaultdict(list))
    for row in rows:
        modality = row["modality"].removeprefix("whole ")
        if row["modality"] != "image":  # of the quickstart's image, which shows less
            found[row["factor"], modality][row["method"]].append((float(row["auroc"]), float(row["chance_se"])))
    shown = [m for m in MODALITIES if any(m == modality for _, modality in found)]
    lines, broken = ["| factor | " + " | ".join(shown) + " |", "|---|" + "---|" * len(shown)], []
    for factor in VISIBILITY:
        cells = []
        for modality in shown:
            methods = {m: np.mean(v, 0) for m, v in found.get((factor, modality), {}).items()}
            best = max((methods[m][0] for m in BEST if m in methods), default=np.nan)
            raw, v = methods.get("raw", [np.nan])[0], VISIBILITY[factor][modality]
            cells.append(f"{v:g}: {raw:.3f} / {best:.3f}" if methods else "")
            if v == 1 and best < 0.95:
                broken.append(f"{factor} of {modality}: shown, but the best reading is {best:.3f}")
            for method, (auroc, se) in methods.items() if v == 0 else ():
                bound = 3 * se / np.sqrt(len(found[factor, modality][method]))
                if abs(auroc - 0.5) > bound:
                    broken.append(f"{factor} of {modality}: not in it, but {method} reads {auroc:.3f}, beyond 0.5 +- {bound:.3f}")
        if any(cells):
            lines.append(f"| {factor} | " + " | ".join(cells) + " |")
    return lines, broken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="folder that headroom wrote")
    lines, broken = table(list(csv.DictReader(open(parser.parse_args().out / "headroom.csv"))))
    print("\n".join(lines) + "\n\n" + ("\n".join(broken) or "every promise is kept"))


if __name__ == "__main__":
    main()
