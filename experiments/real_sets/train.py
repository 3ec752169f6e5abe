"""Each of the ten real sets from its table to results: `python -m experiments.real_sets.train [NAME ...] --out runs/real_sets/train`.

A check that every modality reaches an encoder, no benchmark: small networks, one seed, minutes on two cores. `configs` has a config a set,
pairs with text by CLIP where there is text, else supervision; prints a line of what test reads, beside an untrained network. A set whose
run is finished is not trained again. `--total "2 steps"` shortens all.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from experiments.real_sets.real_sets import WORK, specs, written
from mmrep import config as cfg
from mmrep.cli import prepare_process
from mmrep.data.audit.split import NAMES, assign
from mmrep.train import train

BASE = Path(__file__).resolve().parents[2] / "configs" / "base.py"
BLOCKS = {"width": 96, "depth": 4, "heads": 4, "pool": "mean"}
TEXT = {"name": "text"} | BLOCKS | {"depth": 2}
PICTURE = {"name": "vit", "patch": (8, 8), "positions": "sincos"} | BLOCKS
RESIZE = ({"name": "resize", "size": 64},)
CROP = ({"name": "random_crop", "size": 64, "scale": (0.5, 1.0)}, {"name": "rotate", "degrees": 10.0})


def configs(data: Path, work: Path) -> dict[str, Any]:
    """name -> config of a short training on each set below `data`; tables that have to be written go to `work`."""
    of = {name: stream["source"] for name, stream in specs(data, work).items()}

    def columns(name: str, **changed: Any) -> dict[str, Any]:
        return of[name] | {"columns": {k: v for k, v in (of[name]["columns"] | changed).items() if v is not None}}

    return {
        "covid_cxr": pairs(columns("covid_cxr", mask=None, group="clinical_notes"), "image", PICTURE, {"finding": "image"}, "40 epochs", 64,
                           mean=0.5, std=0.25),
        "medpix2": pairs(columns("medpix2", group="caption"), "image", PICTURE, {"type": "image", "location": "image"}, "25 epochs",
                         mean=0.26, std=0.29),
        "vqa_rad": pairs(columns("vqa_rad", group="question", case="image", split="split_image_disjoint"), "image", PICTURE,
                         {"organ": "image"}, "15 epochs", mean=0.35, std=0.29),
        "odir_96": pairs(columns("odir_96", group="diagnostic_keywords", tabular=None, category=None), "image", PICTURE,
                         {"eye": "image"}, "8 epochs", mean=0.3, std=0.2),
        "ham10000_64": labels(columns("ham10000_64", tabular=None, category=None), "image", PICTURE, {"dx": 7}, "6 epochs", RESIZE, CROP,
                              mean=0.65, std=0.16),
        "pneumoniamnist": labels(of["pneumoniamnist"], "image", PICTURE | {"patch": (4, 4)}, {"pneumonia": 2}, "8 epochs",
                                 mean=0.57, std=0.17),
        "ludb_ecg": pairs(columns("ludb_ecg", group="text"), "signal", {"name": "vit", "patch": (50,), "positions": "sincos"} | BLOCKS,
                          {"rhythm": "signal", "sex": "signal"}, "150 epochs", 64, ()),
        "msd_hippocampus": labels(hippocampus(data, work), "volume", {"name": "vit", "patch": (8, 8, 8), "positions": "sincos"} | BLOCKS,
                                  {"large": 2}, "25 epochs", batch=32, mean=0.2, std=0.2),
        "breast_omics": labels(columns("breast_salmon", tabular=None, features="rna_eig_*", label={"er": "ER_Status"}), "features",
                               {"name": "mlp", "width": 64, "depth": 2, "dropout": 0.3, "input_dropout": 0.2}, {"er": 2}, "40 epochs",
                               batch=64),
        "iu_cxr_reports": labels(reports(data, work), "text", TEXT, {"normal": 2}, "8 epochs", batch=64),
    }


def small(total: str, source: dict, batch: int, prepare: tuple, augment: tuple) -> Any:
    """What all of them share."""
    c = cfg.load(str(BASE))
    c.total = total
    c.tokenizer = {"name": "wordpiece", "vocab_size": 2048, "length": 64}
    c.data = {"main": {"source": source, "prepare": prepare, "augment": augment, "batch": batch, "cache_mib": 1024}}
    c.optim.name = "muon"
    c.optim.kwargs = {"consistent_rms": 0.2}
    c.optim.wd, c.optim.warmup = 0.05, "10%"
    c.eval.controls = ("untrained",)
    return c


def pairs(source: dict, modality: str, encoder: dict, probes: dict[str, str], total: str, batch: int = 128, prepare: tuple = RESIZE,
          **scale: float) -> Any:
    """CLIP of a modality with its text; judged by retrieval and by a linear probe of each label."""
    c = small(total, source, batch, prepare, CROP if prepare else ())
    c.encoders = {modality: encoder, "text": TEXT}
    c.inputs = {modality: scale} if scale else {}
    c.objectives = {"clip": {"name": "contrastive", "temperature": 0.1, "a": modality, "b": "text"}}
    c.evals = {"retrieval": {"name": "retrieval", "pair": (modality, "text"), "ks": (1, 10)}} | {
        label: {"name": "probe", "label": label, "modality": of, "fractions": (1.0,), "knn": False} for label, of in probes.items()}
    return c


def labels(source: dict, modality: str, encoder: dict, heads: dict[str, int], total: str, prepare: tuple = (), augment: tuple = (),
           batch: int = 128, **scale: float) -> Any:
    """Supervision of a modality on labels of so many classes; judged by its own heads."""
    c = small(total, source, batch, prepare, augment)
    c.encoders = {modality: encoder}
    c.inputs = {modality: scale} if scale else {}
    c.head.kind = "none"
    c.objectives = {"classify": {"name": "supervised", "view": modality,
                                 "heads": {name: {"kind": "ce", "classes": n} for name, n in heads.items()}}}
    c.evals = {"supervised": {"name": "supervised"}}
    return c


def hippocampus(data: Path, work: Path) -> dict[str, Any]:
    """MSD hippocampus with a label to learn: whether it is larger than the median of the training rows."""
    folder = (data / "msd_hippocampus").resolve()

    def made() -> tuple[list[dict], dict]:
        rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
        sizes = [row["vox_anterior"] + row["vox_posterior"] for row in rows]
        middle = np.median([size for size, row in zip(sizes, rows) if row["split"] == "train"])
        return [row | {"large": int(size > middle)} for size, row in zip(sizes, rows)], {}

    return {"name": "manifest", "path": str(written(work / "msd_hippocampus", made)),
            "files": {"volume": f"{folder}/volumes.npz/images"},
            "columns": {"volume": "index", "case": "name", "label": {"large": "large"}}}


def reports(data: Path, work: Path) -> dict[str, Any]:
    """The reports of Indiana University with a label to learn, whether the indexers called them normal, and splits of one's own."""
    def made() -> tuple[list[dict], dict]:
        rows = [json.loads(line) for line in (data / "iu_cxr_reports" / "reports.jsonl").read_text().splitlines()]
        normal = np.array([row["mesh_major"] == ["normal"] for row in rows])
        split = assign(np.arange(len(rows)), np.stack([normal, ~normal], 1).astype(float), (0.7, 0.1, 0.2))
        return [{k: row[k] for k in ("uid", "findings", "impression")} | {"normal": int(n), "split": NAMES[s]}
                for row, n, s in zip(rows, normal, split)], {}

    return {"name": "manifest", "path": str(written(work / "iu_cxr_reports", made)),
            "columns": {"text": ["findings", "impression"], "case": "uid", "label": {"normal": "normal"}}}


def line(name: str, results: dict) -> str:
    """One row of the table in README.md: what test reads, untrained in brackets."""
    shown = [m for m in sorted(results["metrics"]) if m.endswith("auroc") or m.endswith("_to_text/R@10/group")]
    told = "; ".join(f"{m} {results['metrics'][m]['value']:.3f} ({results['controls']['untrained'][m]['value']:.3f})" for m in shown
                     if m in results["controls"]["untrained"])
    return f"| {name} | {told} | {sum(results['seconds'].values()):.0f} |"


def main(say: Callable[[str], None] = lambda text: print(text, flush=True)) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="sets to train on (default: all)")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=WORK, help="where tables that have to be written go")
    parser.add_argument("--out", type=Path, default=WORK / "train", help="a run's folder each")
    parser.add_argument("--total", default="", help="length of every run, e.g. '2 steps' (default: the config's)")
    args = parser.parse_args()
    prepare_process()
    say("| set | test: trained (untrained) | seconds |\n|---|---|---|")
    for name, config in configs(args.data, args.work).items():
        if not args.names or name in args.names:
            config.total = args.total or config.total
            done = args.out / name / "results.json"
            say(line(name, json.loads(done.read_text()) if done.is_file() else train(config, args.out / name)))


if __name__ == "__main__":
    main()
