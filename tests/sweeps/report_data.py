"""Made-up data of a report's page: some hundred runs of which some failed, with curves, maps and pictures."""

import math
import statistics

import numpy as np

from mmrep.sweeps.page import page, thumbnail

NAMES = ["probe/findings/auroc", "retrieval/image_to_text/R@1/instance", "zeroshot/class/top1", "alignment/cka_debiased_linear",
         "retrieval/text_to_image/R@1/instance", "probe/findings@1%/auroc", "probe/class/accuracy", "alignment/mutual_knn@10",
         "alignment/gap"]
FINDINGS = ["opacity", "effusion", "nodule", "none", "cardiomegaly"]
GOOD = {"softmax": 0.03, "sigmoid": 0.045, "local": 0.055, "triplet": -0.05, "vicreg": 0.0}
AXES = ["optim.lr", "loss", "encoder", "batch"]
ERROR = "FloatingPointError: step 1610: the gradient of encoders/image/block03/mlp is not finite\nlower optim.lr"


def fake(lrs=(1e-4, 3e-4, 1e-3, 3e-3, 1e-2), losses=tuple(GOOD), encoders=("vit", "resnet"), batches=(64, 256), seeds=5, metrics=30,
         points=60, rows=200, queries=12, curves=24, seed=0):
    """Runs of every combination, `seeds` of each: 500 unless asked for fewer, each as large as real ones: maps of 200 rows (`projection`),
    12 queries either way, 24 curves (`report.curve`). What a run reads depends on its axes, its seed and chance."""
    rng = np.random.Generator(np.random.Philox(seed))
    names = [*NAMES, *(f"probe/finding{i:02d}/auroc" for i in range(max(metrics - len(NAMES), 0)))][:metrics]
    label = rng.integers(0, len(FINDINGS), rows)
    centers = rng.normal(0, 0.35, (len(FINDINGS), 2))
    settings = [dict(zip(AXES, (lr, loss, encoder, batch))) for lr in lrs for loss in losses for encoder in encoders for batch in batches]
    runs = [_run(rng, axes, s, names, points, label, centers, queries, curves) for axes in settings for s in range(seeds)]
    wrong = [f"{r['run']} failed {r['tries']} times: {r['error'].splitlines()[0]}" for r in runs if r["state"] == "failed"]
    return {"study": "Losses and learning rates of image-text pretraining", "config": "quickstart.py", "generated": "2026-11-27 15:00 UTC",
            "commit": "1416d55b0a3f", "device": "1 x NVIDIA H100", "axes": AXES, "metrics": names, "shown": names[:4], "runs": runs,
            "pictures": {"d0": _pictures(rng, label)}, "summary": _summary(settings, names[:4], runs),
            "comparisons": _comparisons(rng, settings, names[:4], losses[0], seeds), "problems": wrong}


def _tag(axes):
    return ",".join(f"{k}={v}" for k, v in axes.items())


def _run(rng, axes, seed, names, points, label, centers, queries, curves):
    lr, loss, encoder, batch = axes.values()
    quality = 0.74 + GOOD[loss] - 0.09 * (math.log10(lr) + 3) ** 2 + 0.02 * (encoder == "resnet") + 0.015 * (batch == 256)
    failed = lr >= 1e-2 and loss == "triplet" and seed < 2
    state = "failed" if failed else "stopped" if (lr, loss, encoder, seed) == (1e-4, "vicreg", "vit", 0) else "finished"
    value, luck, done = {}, rng.normal(0, 0.012), state == "finished"
    for i, name in enumerate(names):
        value[name] = quality + luck + rng.normal(0, 0.006) - 0.06 * (i % 5)
    steps = np.linspace(0, 4800, points).astype(int)[:points if done else max(points // 3, 2)]
    curve = 4.2 * np.exp(-steps / 700 * (lr / 1e-3) ** 0.4) + 2.4 - 2 * quality + rng.normal(0, 0.02, len(steps))
    if failed:
        curve[-1] = 400.0
    return {"run": f"{_tag(axes)}/seed{seed}", "tag": _tag(axes), "seed": seed, "axes": axes, "state": state, "tries": 1 + 2 * failed,
            "error": ERROR if failed else "", "step": int(steps[-1]), "seconds": 640.25 + 900 * rng.random(),
            "values": {m: [v, v - 0.02, v + 0.018, 512] for m, v in value.items()} if done else {},
            "controls": {"untrained": {m: 0.55 - 0.06 * (i % 5) for i, m in enumerate(names)}} if done else {},
            "curve": _curves(names, steps.tolist(), curve, lr, quality + luck, curves),
            "map": _map(rng, quality, label, centers, queries) if done else None}


def _curves(names, steps, loss, lr, quality, count):
    """The loss, the rate, a few parts of the loss, and validations at every fifth step."""
    judged = [quality - 0.25 * math.exp(-x / 1200) if i % 5 == 4 else None for i, x in enumerate(steps)]
    found = {"step": steps, "loss": loss.tolist(), "lr": (lr * np.minimum(np.array(steps) / 480, 1)).tolist(), "val/auroc": judged}
    found |= {f"term{i}/loss": (loss * (0.3 + i / 10) + 0.01 * np.sin(np.arange(len(loss)) * i)).tolist() for i in range(6)}
    found |= {f"val/{name}": [v and v - 0.02 * i for v in judged] for i, name in enumerate(names)}
    return dict(list(found.items())[: count + 1])


def _map(rng, quality, label, centers, queries):
    rows, spread, retrieval = len(label), 0.1 + 0.3 * max(0.8 - quality, 0), []
    for start in ("image", "text"):
        for q in np.linspace(0, rows - 1, min(queries, rows)).astype(int).tolist():
            first = [q] if rng.random() < quality else []
            found = list(dict.fromkeys([*first, *rng.choice(rows, 6).tolist()]))[:5]
            retrieval.append({"from": start, "query": q, "found": [[row, round(0.9 - 0.07 * k, 3)] for k, row in enumerate(found)]})
    xy = {m: (centers[label] + rng.normal(0, spread, (rows, 2)) + [shift, 0]).round(4).tolist()
          for m, shift in (("image", -0.08), ("text", 0.08))}
    return {"rows": list(range(rows)), "pair": ["image", "text"], "xy": xy, "retrieval": retrieval, "data": "d0",
            "label": {"name": "finding", "values": label.tolist(), "names": FINDINGS}}


def _pictures(rng, label):
    """Two dark lungs, and a bright spot where there is a finding."""
    images, texts, (down, across) = {}, {}, np.mgrid[0:48, 0:48] / 48
    lungs = sum(120 * np.exp(-((across - x) ** 2 + (down - 0.5) ** 2) * 14) for x in (0.3, 0.7))
    for row, finding in enumerate(label):
        x, y = rng.uniform(0.25, 0.75, 2)
        spot = 110 * np.exp(-((across - x) ** 2 + (down - y) ** 2) * 150) * (finding != 3)
        images[row] = thumbnail(np.clip(190 - lungs + spot + rng.normal(0, 8, (48, 48)), 0, 255).astype(np.uint8))
        what = "No acute finding" if finding == 3 else f"Mild {FINDINGS[finding]} in the {'right' if x > 0.5 else 'left'} zone"
        texts[row] = f"Frontal view. {what}; heart and mediastinum are unremarkable."
    return {"images": images, "texts": texts}


def _summary(settings, metrics, runs):
    rows = []
    for metric in metrics:
        for axes in settings:
            values = [r["values"][metric][0] for r in runs if r["axes"] == axes and r["values"]]
            sd = statistics.stdev(values) if len(values) > 1 else math.nan
            mean, half = statistics.fmean(values) if values else math.nan, 2.78 * sd / math.sqrt(max(len(values), 1))
            rows.append({"tag": _tag(axes), "axes": axes, "metric": metric, "mean": mean, "low": mean - half, "high": mean + half,
                         "n": len(values), "sd_seed": sd, "sd_test": 0.0097, "values": values})
    return rows


def _comparisons(rng, settings, metrics, baseline, seeds):
    rows, p, few = [], 2 * 0.5 ** seeds, seeds < 6
    note = f"{seeds} seeds: the smallest possible p is {p:.3g}, so no star can be" if few else ""
    for metric in metrics:
        for axes in settings:
            if axes["loss"] != baseline:
                d = GOOD[axes["loss"]] - GOOD[baseline] + rng.normal(0, 0.006)
                rows.append({"metric": metric, "tag": _tag(axes), "baseline": _tag(axes | {"loss": baseline}), "difference": d,
                             "low": d - 0.02, "high": d + 0.02, "effect": d / 0.015, "p": p, "p_holm": min(8 * p, 1), "p_smallest": p,
                             "stars": "" if few else "**", "n": seeds, "detectable": 0.021, "note": note})
    return rows


def one_run(**changed):
    """The smallest report: a run without axes, curve or map."""
    run = {"run": "all/seed0", "tag": "all", "seed": 0, "axes": {}, "state": "finished", "error": "", "tries": 1, "step": 3, "seconds": 0.5,
           "values": {"top1": [0.5, 0.4, 0.6, 10]}, "controls": {}, "curve": None, "map": None}
    return {"study": "tiny", "config": "", "generated": "", "commit": "", "device": "", "axes": [], "metrics": ["top1"], "shown": ["top1"],
            "runs": [run | changed], "pictures": {}, "summary": [], "comparisons": [], "problems": []}


if __name__ == "__main__":  # to look at a page: python -m tests.sweeps.report_data > report.html
    print(page(fake()))
