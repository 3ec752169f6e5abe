"""What finished runs read beside their controls, as Markdown: `python -m experiments.real_tables.table RUN...`.

One table a run: the probes with all labels and R@10 by group, intervals, chance, the controls, and the paired differences of the
probes (case bootstrap on the same resamples). Everything is read from the run's results.json.
"""

import argparse
import json
from pathlib import Path

CONTROLS = ("untrained", "raw_pca")


def cell(metric: dict | None) -> str:
    """value [low, high], or nothing."""
    return "" if metric is None else f"{metric['value']:.3f} [{metric['low']:.3f}, {metric['high']:.3f}]"


def table(results: dict) -> str:
    """Markdown of one run's results.json."""
    metrics = results["metrics"]
    head = ["| test | n | this run | chance |"] + [f" {c} | this run - {c} |" for c in CONTROLS]
    lines = ["".join(head), "|---|---|---|---|" + "---|---|" * len(CONTROLS)]
    for name in sorted(metrics):
        probe = name.startswith("probe/") and "%" not in name and name.endswith(("/auroc", "/accuracy"))
        recall = name.startswith("retrieval/") and "_to_" in name and name.endswith("R@10/group")
        if not (probe or recall):
            continue
        chance = metrics["retrieval/chance/R@10/group"]["value"] if recall else 0.5 if name.endswith("auroc") else (
            metrics.get(f"{name}/chance", {}).get("value"))
        row = [name, str(metrics[name]["n"]), cell(metrics[name]), "" if chance is None else f"{chance:.3f}"]
        for control in CONTROLS:
            row += [cell(results[kind].get(control, {}).get(name)) for kind in ("controls", "paired")]
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    for folder in parser.parse_args().runs:
        results = json.loads((folder / "results.json").read_text())
        times = ", ".join(f"{k} {v:.0f} s" for k, v in sorted(results["seconds"].items()))
        print(f"### {folder.name}\n\nRead test {results['test_reads']} time(s); {times}.\n\n{table(results)}\n")


if __name__ == "__main__":
    main()
