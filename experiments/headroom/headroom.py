"""The phantom's headroom: how well each factor is read from each modality by raw input, untrained features, a supervised network, and
the Bayes rule. Command, from the root: python -m experiments.headroom.headroom --out runs/headroom

Scores are AUROCs (macro over findings, one-vs-rest over values of the other factors) on the test split; chance is 0.5.
Strength of the logistic regressions is chosen on the validation split, separately for each factor and label fraction.
"""

import argparse
import csv
import hashlib
import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from mmrep import config as cfg
from mmrep.core.files import write_json
from mmrep.data.phantom import CARDINALITIES, VISIBILITY, phantom
from mmrep.encoders import ENCODERS

from .bayes import image_bayes, table_bayes, text_bayes
from .networks import Cnn, Cnn1d, Cnn3d, Labels, Mlp, Scores, chance_se, probe, supervised, untrained

PLAIN = ("findings", "class", "severity_bin", "laterality", "zone")  # of the quickstart's image, which shows no other
ALL = tuple(factor for factor in VISIBILITY if factor != "severity")  # severity_bin is of it; also what a modality knows nothing of
MODALITIES = ("image", "whole image", "volume", "signal", "text", "tabular", "features")
STEPS = {"tabular": 8, "features": 3, "volume": 3, "whole image": 2}  # what is learned late
MEDIANS = {"age": 60.0, "bmi": 27.0}
QUICKSTART = Path(__file__).resolve().parents[2] / "configs" / "quickstart.py"


def targets(batch: dict, factors: tuple[str, ...]) -> Labels:
    """Factor -> i32[B, columns] of 0/1; of two values one column, of a number whether it is above the median."""
    out = {}
    for name in factors:
        y = np.asarray(batch[f"label/{name}"])
        y = (y > MEDIANS[name] if name in MEDIANS else y).astype(np.int32)
        y = np.eye(y.max() + 1, dtype=np.int32)[y] if y.ndim == 1 else y
        out[name] = y[:, 1:] if y.shape[1] == 2 else y
    return out


def words(batches: list[dict]) -> list[np.ndarray]:
    """Counts of words and of pairs of neighbors."""
    from sklearn.feature_extraction.text import CountVectorizer
    counter = CountVectorizer(ngram_range=(1, 2), token_pattern=r"\w+|\.", min_df=5).fit(batches[0]["text"])
    return [counter.transform(b["text"]).toarray().astype(np.float32) for b in batches]


def table_inputs(batches: list[dict]) -> list[np.ndarray]:
    mean, spread = batches[0]["tabular"].mean(0), batches[0]["tabular"].std(0)
    return [np.concatenate([(b["tabular"] - mean) / spread,
                            *(np.eye(n, dtype=np.float32)[b["category"][:, k]] for k, n in enumerate(CARDINALITIES))], 1)
            for b in batches]


def source_of(name: str, split: str, seed: int, n: int) -> Any:
    """A split of the phantom that shows one modality; "image" is the quickstart's, all else of the whole phantom: its markers
    independent (else marker_b tells half of marker_a), and of a signal the findings, too, for it shows one of them."""
    return phantom(split, seed=seed, n=n, scale="tiny", modalities=(name.split()[-1],), whole=name != "image",
                   correlation=0.0 if name == "signal" else 0.3, match=0.1)


def labels_of(name: str, batch: dict) -> Labels:
    """What a modality is asked for, the other findings of a signal alone."""
    labels = targets(batch, PLAIN if name == "image" else ALL)
    return labels | ({"findings": np.delete(labels["findings"], 3, 1)} if name == "signal" else {})


def read_split(source: Any) -> dict:
    """All rows, rendered a part at a time."""
    n = len(source)
    parts = [source.block(np.arange(i, min(i + 4096, n))) for i in range(0, n, 4096)]
    return {k: sum((p[k] for p in parts), []) if k == "text" else np.concatenate([p[k] for p in parts]) for k in parts[0] if k != "present"}


def study(name: str, seed: int, n: int, labeled: int, test: int, steps: int) -> list[dict]:
    """Rows of the tidy table of one modality and seed. n: subjects for the supervised network; labeled: of them for the regressions."""
    from sklearn.decomposition import PCA
    modality = name.split()[-1]
    sources = [source_of(name, split, seed, size) for split, size in (("train", n), ("val", 1024), ("test", test))]
    batches = [read_split(source) for source in sources]
    labels, few = [labels_of(name, b) for b in batches], np.arange(labeled)
    one_percent = np.arange(max(1, labeled // 100))
    rows: list[dict] = []

    def record(method: str, scores: Scores) -> None:
        rows.extend({"seed": seed, "modality": name, "method": method, "factor": factor, "auroc": round(value, 4),
                     "chance_se": round(chance_se(labels[2][factor]), 5)} for factor, value in scores.items())
        print(seed, name, method, {k: round(v, 3) for k, v in scores.items()}, flush=True)

    def both(method: str, features: list[np.ndarray]) -> None:
        record(method, probe(features, labels, few))
        record(method + "@1%", probe(features, labels, one_percent))

    inputs = {"text": words, "tabular": table_inputs}.get(modality, lambda bs: [b[modality] for b in bs])(batches)
    small = [inputs[0][:labeled], *inputs[1:]]
    flat = [x.reshape(len(x), -1).astype(np.float32) for x in small]
    if modality in ("image", "volume", "signal"):
        pca = PCA(128, svd_solver="randomized", random_state=0).fit(flat[0])
        flat = [pca.transform(x) for x in flat]
    both("raw", flat)
    body = {"image": Cnn, "volume": Cnn3d, "signal": Cnn1d}.get(modality, Mlp)()
    if modality == "image":
        config = cfg.load(str(QUICKSTART))
        scaled = [((x / 255 - config.inputs.image.mean) / config.inputs.image.std).astype(np.float32) for x in small]
        vit = cfg.build(ENCODERS, config.encoders.image, "config.encoders.image")
        both("untrained ViT", untrained(vit, scaled, seed, lambda out: out.pooled))
    both("untrained network", untrained(body, small, seed))
    record("supervised", supervised(body, inputs, labels, steps * STEPS.get(name, 1), seed))
    if modality == "image":
        record("Bayes", image_bayes(sources[2], batches[2]["image"], labels[2], name == "whole image"))
    elif modality in ("text", "tabular"):
        record("Bayes", (text_bayes if modality == "text" else table_bayes)(batches[2], labels[2]))
    return rows


def measured(name: str) -> str:
    """A digest of what is measured: the first subjects and their labels, the quickstart's encoder. Kept rows of another are made anew."""
    block, config = source_of(name, "train", 0, 64).block(np.arange(64)), cfg.load(str(QUICKSTART))
    data = "".join(block["text"]).encode() if name == "text" else block[name.split()[-1]].tobytes()
    labels = b"".join(labels_of(name, block)[factor].tobytes() for factor in labels_of(name, block))
    return hashlib.sha256(data + labels + cfg.digest(config.encoders).encode()).hexdigest()[:12]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for headroom.csv, headroom.json and each seed's rows")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--modalities", nargs="+", default=list(MODALITIES))
    parser.add_argument("--n", type=int, default=49_152, help="training subjects of the supervised networks")
    parser.add_argument("--labeled", type=int, default=4096, help="training subjects of the logistic regressions")
    parser.add_argument("--test", type=int, default=10_240, help="subjects that everything is read on")
    parser.add_argument("--steps", type=int, default=1000)
    args = parser.parse_args()
    warnings.filterwarnings("ignore", message=".*[Cc]onverge")
    args.out.mkdir(parents=True, exist_ok=True)
    sizes, rows = {"n": args.n, "labeled": min(args.labeled, args.n), "test": args.test, "steps": args.steps}, []
    for modality in args.modalities:
        settings = sizes | {"measured": measured(modality)}
        for seed in args.seeds:  # each kept as soon as it is there, so that a study that was stopped goes on
            file = args.out / f"{modality.replace(' ', '_')}{seed}.json"
            found = json.loads(file.read_text()) if file.is_file() else {}
            if found.get("settings") != settings:
                start = time.time()
                found = {"settings": settings, "rows": study(modality, seed, **sizes), "seconds": round(time.time() - start)}
                write_json(file, found)
            rows += found["rows"]
    with open(args.out / "headroom.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    table: dict = {}
    for row in rows:
        table.setdefault(f"{row['modality']} / {row['method']}", {}).setdefault(row["factor"], []).append(row["auroc"])
    means = {key: {name: float(np.mean(v)) for name, v in cells.items()} for key, cells in table.items()}
    write_json(args.out / "headroom.json", {"seeds": args.seeds} | sizes | {"mean": means})
    factors = list(dict.fromkeys(row["factor"] for row in rows))
    print("| modality / method | " + " | ".join(factors) + " |\n|---|" + "---|" * len(factors))
    for key, cells in means.items():
        print(f"| {key} | " + " | ".join(f"{cells[name]:.3f}" if name in cells else "" for name in factors) + " |")


if __name__ == "__main__":
    main()
