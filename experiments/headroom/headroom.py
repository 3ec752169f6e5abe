"""The phantom's headroom: how well each factor is read from each modality by chance, raw input, untrained features, a supervised
network, and the Bayes rule. Command, from the root: python -m experiments.headroom.headroom --out runs/headroom

Scores are AUROCs (macro over findings, one-vs-rest over values of the other factors) on the test split; chance is 0.5.
Strength of the logistic regressions is chosen on the validation split, separately for each factor and label fraction.
"""

import argparse
import csv
import hashlib
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from mmrep import config as cfg
from mmrep.data.phantom import CARDINALITIES, FINDINGS, latents, parse, phantom, render_image
from mmrep.data.phantom.tabular import BATCH, CODE_ERROR, LABS
from mmrep.encoders import ENCODERS
from mmrep.run import write_json

FACTORS = {"findings": len(FINDINGS), "class": 10, "severity_bin": 3, "laterality": 2, "zone": 3}
QUICKSTART = Path(__file__).resolve().parents[2] / "configs" / "quickstart.py"
STRENGTHS = (1e-4, 1e-2, 1.0)
Scores = dict[str, float]


def targets(batch: dict) -> dict[str, np.ndarray]:
    """Factor -> i32[B, columns] of 0/1."""
    out = {name: np.eye(count, dtype=np.int32)[batch[f"label/{name}"]] for name, count in FACTORS.items() if name != "findings"}
    return out | {"findings": batch["label/findings"].astype(np.int32), "laterality": out["laterality"][:, 1:]}


def macro(target: np.ndarray, scores: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score
    return float(np.mean([roc_auc_score(target[:, k], scores[:, k]) for k in range(target.shape[1])]))


def probe(features: list[np.ndarray], labels: list[dict], rows: np.ndarray) -> Scores:
    """Logistic regression on standardized features of (train, val, test), trained on the given training rows."""
    from sklearn.linear_model import LogisticRegression
    mean, spread = features[0][rows].mean(0), features[0][rows].std(0) + 1e-6
    train, val, test = ((f - mean) / spread for f in (features[0][rows], *features[1:]))
    out = {}
    for name in FACTORS:
        y, best = labels[0][name][rows], (-1.0, 0.5)
        for strength in STRENGTHS:
            fits = [LogisticRegression(C=strength, max_iter=200, tol=1e-3).fit(train, column) if 0 < column.sum() < len(column)
                    else None for column in y.T]
            read = [np.stack([fit.decision_function(x) if fit else np.zeros(len(x)) for fit in fits], -1) for x in (val, test)]
            on_val, on_test = (macro(label[name], scores) for label, scores in zip(labels[1:], read))
            best = (on_val, on_test) if on_val > best[0] else best  # by validation alone: among equals the first
        out[name] = best[1]
    return out


class Cnn(nn.Module):
    """A small supervised network: the best place of every feature (max), and a coarse map for where it is."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = x.astype(jnp.float32) / 127.5 - 1
        x = nn.gelu(nn.Conv(32, (5, 5))(x - x.mean((1, 2, 3), keepdims=True)))
        x = nn.gelu(nn.Conv(64, (3, 3), strides=2)(x))
        x = nn.gelu(nn.Conv(96, (3, 3), strides=2)(x))
        x = nn.gelu(nn.Conv(96, (3, 3))(x))
        where = nn.Conv(8, (1, 1))(x).reshape(x.shape[0], -1)
        return jnp.concatenate([x.max((1, 2)), x.mean((1, 2)), where], -1)


class Mlp(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.gelu(nn.Dense(128)(nn.gelu(nn.Dense(128)(x))))


class Head(nn.Module):
    body: nn.Module

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(sum(FACTORS.values()) - 1)(self.body(x))


def columns(y: np.ndarray | jax.Array) -> dict:
    ends = np.cumsum([count - (name == "laterality") for name, count in FACTORS.items()])
    return dict(zip(FACTORS, np.split(y, ends[:-1], axis=1)))


def supervised(body: nn.Module, inputs: list[np.ndarray], labels: list[dict], steps: int, seed: int, rate: float = 3e-3
               ) -> Scores:
    """All factors at once, binary cross-entropy, batch 128, warm-up and cosine decay."""
    y = np.concatenate([labels[0][name] for name in FACTORS], 1)
    model = Head(body)
    params = model.init(jax.random.key(seed), inputs[0][:2])
    optimizer = optax.chain(optax.clip_by_global_norm(1.0),
                            optax.adamw(optax.warmup_cosine_decay_schedule(0, rate, steps // 10, steps), weight_decay=1e-4))
    state = optimizer.init(params)

    @jax.jit
    def step(params: dict, state: tuple, x: jax.Array, y: jax.Array) -> tuple:
        def loss(p: dict) -> jax.Array:
            return optax.sigmoid_binary_cross_entropy(model.apply(p, x), y).sum(-1).mean()
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    generator, apply = np.random.default_rng(seed), jax.jit(model.apply)
    for _ in range(steps):
        rows = generator.integers(len(y), size=128)
        params, state = step(params, state, inputs[0][rows], y[rows])
    read = columns(np.concatenate([apply(params, inputs[2][i:i + 256]) for i in range(0, len(inputs[2]), 256)]))
    return {name: macro(labels[2][name], read[name]) for name in FACTORS}


def untrained(module: nn.Module, inputs: list[np.ndarray], seed: int, read: Callable = lambda x: x) -> list[np.ndarray]:
    params = module.init(jax.random.key(seed), inputs[0][:2])
    apply = jax.jit(lambda x: read(module.apply(params, x)))
    return [np.concatenate([apply(x[i:i + 256]) for i in range(0, len(x), 256)]) for x in inputs]


def oracle(test: object, image: np.ndarray, labels: dict) -> Scores:
    """The image's Bayes rule given all but the factor asked for: which value's rendering is nearest."""
    block, out = test.latents(), {}

    def distance(**changed: np.ndarray) -> np.ndarray:
        return ((render_image(block | changed).astype(np.float64) - image) ** 2).mean((1, 2, 3))

    for name, count in FACTORS.items():
        scores = []
        for k in range(count):
            if name == "findings":
                found = np.stack([block["findings"]] * 2)
                found[0, :, k], found[1, :, k] = 0, 1
                scores.append(distance(findings=found[0]) - distance(findings=found[1]))
            else:
                changed = {name: np.full_like(block["class"], k)}
                if name == "severity_bin":
                    changed["severity"] = np.full_like(block["severity"], (k + 0.5) / 3)
                scores.append(-distance(**changed))
        scores = np.stack(scores, -1)
        scores = scores[:, 1:] - scores[:, :1] if name == "laterality" else scores
        out[name] = macro(labels[name], scores)
    return out


def table_bayes(batch: dict, labels: dict) -> Scores:
    """The table's Bayes rule: exact likelihoods of laboratory values and codes, the findings' joint prior counted over 10^5
    subjects."""
    places = 2 ** np.arange(6)
    prior = np.bincount(latents(0, np.arange(100_000))["findings"] @ places, minlength=64) / 100_000
    patterns = np.arange(64)[:, None] >> np.arange(6) & 1
    z = (batch["tabular"][:, 2:8] - [lab[0] for lab in LABS]) / [lab[1] for lab in LABS]
    z = z - BATCH[np.arange(6) % 2][:, batch["category"][:, 3]].T
    misfit = ((z[:, None] - patterns * [lab[2] for lab in LABS]) ** 2).sum(-1) / 2
    joint = np.exp(-(misfit - misfit.min(1, keepdims=True))) * prior
    out = {"findings": macro(labels["findings"], joint @ patterns / joint.sum(1, keepdims=True))}
    code, ward = (np.where(np.eye(n)[batch["category"][:, k]] > 0, 1 - CODE_ERROR, CODE_ERROR / (n - 1))
                  for k, n in ((4, 10), (5, 3)))
    u = (np.arange(300) + 0.5) / 300
    likely = np.exp(-((batch["tabular"][:, 8:9] - 1 - 2 * u) / 0.25) ** 2 / 2) * np.repeat(ward, 100, axis=1)
    degree = likely.reshape(len(ward), 3, 100).sum(-1)
    out["class"] = macro(labels["class"], code)
    out["severity_bin"] = macro(labels["severity_bin"], degree / degree.sum(1, keepdims=True))
    return out | {"laterality": 0.5, "zone": 0.5}  # drawn independently of every column


def text_bayes(batch: dict, labels: dict) -> Scores:
    """The report's Bayes rule: the grammar's inverse."""
    read = [parse(text) for text in batch["text"]]
    out = {"findings": macro(labels["findings"], np.array([r["findings"] for r in read]))}
    for name, key in (("class", "class"), ("severity_bin", "severity"), ("laterality", "laterality"), ("zone", "zone")):
        scores = np.eye(FACTORS[name])[[r[key] for r in read]]
        out[name] = macro(labels[name], scores[:, 1:] if name == "laterality" else scores)
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


def study(seed: int, n: int, labeled: int, steps: int) -> list[dict]:
    """Rows of the tidy table of one seed. n: subjects for the supervised network; labeled: of them for the regressions."""
    from sklearn.decomposition import PCA
    sources = [phantom(split, seed=seed, n=size) for split, size in (("train", n), ("val", 1024), ("test", 2048))]
    batches = [s.block(np.arange(len(s))) for s in sources]
    labels, few = [targets(b) for b in batches], np.arange(labeled)
    one_percent = np.arange(max(1, labeled // 100))
    rows: list[dict] = []

    def record(modality: str, method: str, scores: Scores) -> None:
        rows.extend({"seed": seed, "modality": modality, "method": method, "factor": name, "auroc": round(value, 4)}
                    for name, value in scores.items())
        print(seed, modality, method, {k: round(v, 3) for k, v in scores.items()}, flush=True)

    def both(modality: str, method: str, features: list[np.ndarray]) -> None:
        record(modality, method, probe(features, labels, few))
        record(modality, method + "@1%", probe(features, labels, one_percent))

    images = [b["image"] for b in batches]
    flat = [x.reshape(len(x), -1).astype(np.float32) for x in (images[0][:labeled], *images[1:])]
    pca = PCA(128, svd_solver="randomized", random_state=0).fit(flat[0])
    both("image", "raw", [pca.transform(x) for x in flat])
    config = cfg.load(str(QUICKSTART))
    scaled = [(x.reshape(-1, 32, 32, 1) / 255 - config.inputs.image.mean) / config.inputs.image.std for x in flat]
    vit = cfg.build(ENCODERS, config.encoders.image, "config.encoders.image")
    both("image", "untrained ViT", untrained(vit, scaled, seed, lambda out: out.pooled))
    both("image", "untrained CNN", untrained(Cnn(), [x.reshape(-1, 32, 32, 1) for x in flat], seed))
    record("image", "supervised", supervised(Cnn(), images, labels, steps, seed))
    record("image", "Bayes", oracle(sources[2], images[2], labels[2]))
    for modality, inputs in (("text", words(batches)), ("tabular", table_inputs(batches))):
        small = [inputs[0][:labeled], *inputs[1:]]
        both(modality, "raw", small)
        both(modality, "untrained", untrained(Mlp(), small, seed))
        record(modality, "supervised", supervised(Mlp(), inputs, labels, steps, seed))
    record("text", "Bayes", text_bayes(batches[2], labels[2]))
    record("tabular", "Bayes", table_bayes(batches[2], labels[2]))
    return rows


def measured() -> str:
    """A digest of what is measured: the first images and reports, the quickstart's encoder. Kept rows of another are made anew."""
    block, config = phantom("train").block(np.arange(64)), cfg.load(str(QUICKSTART))
    parts = (block["image"].tobytes(), "".join(block["text"]).encode(), block["tabular"].tobytes(), cfg.digest(config.encoders).encode())
    return hashlib.sha256(b"".join(parts)).hexdigest()[:12]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for headroom.csv, headroom.json and each seed's rows")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--n", type=int, default=49_152, help="training subjects of the supervised networks")
    parser.add_argument("--labeled", type=int, default=4096, help="training subjects of the logistic regressions")
    parser.add_argument("--steps", type=int, default=1000)
    args = parser.parse_args()
    warnings.filterwarnings("ignore", message=".*[Cc]onverge")
    args.out.mkdir(parents=True, exist_ok=True)
    sizes = {"n": args.n, "labeled": min(args.labeled, args.n), "steps": args.steps}
    settings, rows = sizes | {"measured": measured()}, []
    for seed in args.seeds:  # each kept as soon as it is there, so that a study that was stopped goes on
        file = args.out / f"seed{seed}.json"
        found = json.loads(file.read_text()) if file.is_file() else {}
        if found.get("settings") != settings:
            start = time.time()
            found = {"settings": settings, "rows": study(seed, **sizes), "seconds": round(time.time() - start)}
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
    write_json(args.out / "headroom.json", {"seeds": args.seeds} | settings | {"mean": means})
    print("| modality / method | " + " | ".join(FACTORS) + " |\n|---|" + "---|" * len(FACTORS))
    for key, cells in means.items():
        print(f"| {key} | " + " | ".join(f"{cells[name]:.3f}" for name in FACTORS) + " |")


if __name__ == "__main__":
    main()
