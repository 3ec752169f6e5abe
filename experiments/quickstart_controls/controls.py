"""The controls of the quickstart at its own number of steps: shuffled pairs, and supervision on what the text reveals.

Command, from the root: python -m experiments.quickstart_controls.controls --out runs/controls [--total "100 steps"]

Trains configs/quickstart.py, its `:shuffled` and its `:supervised` (each kept, and reused when it is finished) and judges each
on the true pairs of the test split (the shuffled run a second time: its own reading is of strangers' reports). Prints the table
as Markdown and writes it to OUT/controls.json. Exit code 1 where a control does not control: pairs shuffled must not be above
chance, supervised must read the factors better than untrained encoders and no worse than captions let it, true pairs must teach
more than shuffled ones, and runs of the config's own length must reach what the demo promises.
"""

import argparse
import json
import sys
from pathlib import Path

from mmrep import config as cfg
from mmrep import evaluate
from mmrep.cli import prepare_process
from mmrep.train import train

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "quickstart.py"
ROWS = ("zeroshot/class/top1", "zeroshot/findings/auroc", "retrieval/image_to_text/R@1/instance", "probe/findings/auroc",
        "probe/findings@1%/auroc", "probe/class/auroc")
COLUMNS = ("raw_pca", "untrained", "shuffled", "trained", "supervised")


def study(out: Path, total: str) -> dict[str, dict[str, dict]]:
    """{column: metrics} of the three runs and of the controls beside the first."""
    # a shortened study reads less, too: 1,024 labeled rows, no neighbors
    overrides = [f"--config.total={total}", "--config.eval.limit=1024", "--config.evals.probe.knn=False",
                 "--config.evals.probe_class.knn=False"] if total else []
    found = {}
    for name, arg in (("trained", ""), ("shuffled", ":shuffled"), ("supervised", ":supervised")):
        beside = [] if name == "trained" else ["--config.eval.controls=()"]  # those of the first are everyone's
        results = train(cfg.load(f"{CONFIG}{arg}", overrides + beside), out / name)
        found[name] = results["metrics"]
        if name == "trained":
            found |= results["controls"]
    # what was trained on strangers' reports is judged on true pairs like the others
    found["shuffled"] = evaluate.evaluate(out / "shuffled", {"pair_noise": "0.0"}, say=lambda text: None)["metrics"]
    return found


def table(found: dict[str, dict[str, dict]]) -> str:
    """Markdown: a row a metric, a column a method, value [interval]."""
    lines = ["| test | " + " | ".join(COLUMNS) + " |", "|---|" + "---|" * len(COLUMNS)]
    for row in ROWS:
        cells = [found[c].get(row) for c in COLUMNS]
        text = ["" if m is None else f"{m['value']:.3f} [{m['low']:.3f}, {m['high']:.3f}]" for m in cells]
        lines.append(f"| {row} | " + " | ".join(text) + " |")
    return "\n".join(lines)


def failures(found: dict[str, dict[str, dict]], whole: bool) -> list[str]:
    """What the runs should show and do not. whole: they had the config's own length, so the demo's numbers must be there, too."""
    shuffled, wrong = found["shuffled"], []
    if shuffled["zeroshot/class/top1"]["low"] > 0.10:
        wrong.append("shuffled pairs: zero-shot above chance, 0.10")
    if shuffled["retrieval/image_to_text/R@1/instance"]["low"] > 1 / 512:
        wrong.append("shuffled pairs: retrieval above chance, 1/512")
    for name in ("probe/findings/auroc", "probe/class/auroc"):
        if found["supervised"][name]["low"] <= found["untrained"][name]["high"]:
            wrong.append(f"supervised: {name} not above untrained, so this length teaches nothing and the controls show nothing")
        if found["supervised"][name]["value"] < found["trained"][name]["value"] - 0.05:
            wrong.append(f"supervised: {name} far below what captions alone gave")
        if found["shuffled"][name]["low"] > found["untrained"][name]["high"] + 0.05:
            wrong.append(f"shuffled pairs: {name} above untrained, so something besides the pairs teaches")
    trained = found["trained"]
    for name in ("zeroshot/class/top1", "retrieval/image_to_text/R@1/instance") if whole else ("zeroshot/findings/auroc",):
        if trained[name]["low"] <= shuffled[name]["high"]:
            wrong.append(f"trained: {name} not above shuffled pairs, so the pairs teach nothing")
    beside = max(found[control]["probe/findings/auroc"]["value"] for control in ("raw_pca", "untrained"))
    least = {"zeroshot/class/top1": 0.80, "retrieval/image_to_text/R@1/instance": 0.5 * trained["retrieval/ceiling/R@1/instance"]["value"],
             "probe/findings/auroc": max(0.85, beside + 0.10)}
    wrong += [f"trained: {name} is {trained[name]['value']:.3f}, below {value:.3f}" for name, value in least.items()
              if whole and trained[name]["value"] < value]
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs and of controls.json")
    parser.add_argument("--total", default="", help="length of every run, e.g. '100 steps' (default: the config's)")
    args = parser.parse_args()
    prepare_process()  # as the mmrep command does: its allocator setting saves page faults at every step
    found = study(args.out, args.total)
    (args.out / "controls.json").write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    print(table(found))
    for line in (wrong := failures(found, not args.total)):
        print(f"FAIL {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
