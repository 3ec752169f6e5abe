"""The report's page: what is packed into it, and, in a real browser, that it shows and does what it should."""

import copy
import json
import math
import re
import statistics
import time

import numpy as np
import pytest

from mmrep.sweeps.page import packed, page, short, thumbnail
from tests.sweeps.browser import Browser, find_chromium

NAMES = ["probe/findings/auroc", "retrieval/image_to_text/R@1/instance", "zeroshot/class/top1", "alignment/cka_debiased_linear",
         "retrieval/text_to_image/R@1/instance", "probe/findings@1%/auroc", "probe/class/accuracy", "alignment/mutual_knn@10", "alignment/gap"]
FINDINGS = ["opacity", "effusion", "nodule", "none", "cardiomegaly"]
SIDES = ["left", "right"]


def fake(lrs=(1e-4, 3e-4, 1e-3, 3e-3, 1e-2), losses=("softmax", "sigmoid", "local", "triplet", "vicreg"), encoders=("vit", "resnet"),
         batches=(64, 256), seeds=5, metrics=30, points=50, rows=60, maps=True, seed=0):
    """A report's data of len(lrs) x len(losses) x len(encoders) x len(batches) x seeds made-up runs, of which a few failed."""
    rng = np.random.Generator(np.random.Philox(seed))
    names = [*NAMES, *(f"probe/finding{i:02d}/auroc" for i in range(max(metrics - len(NAMES), 0)))][:metrics]
    shown = names[:4]
    good = {"softmax": 0.03, "sigmoid": 0.045, "local": 0.055, "triplet": -0.05, "vicreg": 0.0}
    pictures = {"d0": {"images": {}, "texts": {}}}
    label = rng.integers(0, len(FINDINGS), rows)
    grid = np.mgrid[0:48, 0:48] / 48
    for row in range(rows):
        x, y = rng.uniform(0.25, 0.75, 2)
        lung = 120 * np.exp(-((grid[1] - 0.3) ** 2 + (grid[0] - 0.5) ** 2) * 14) + 120 * np.exp(-((grid[1] - 0.7) ** 2 + (grid[0] - 0.5) ** 2) * 14)
        spot = (label[row] != 3) * 110 * np.exp(-((grid[1] - x) ** 2 + (grid[0] - y) ** 2) * 150)
        pictures["d0"]["images"][row] = thumbnail(np.clip(190 - lung + spot + rng.normal(0, 8, (48, 48)), 0, 255).astype(np.uint8))
        text = "no acute finding" if label[row] == 3 else f"mild {FINDINGS[label[row]]} in the {SIDES[int(x > 0.5)]} zone"
        pictures["d0"]["texts"][row] = f"Frontal view. {text.capitalize()}; heart and mediastinum are unremarkable."
    runs = []
    settings = [(lr, loss, encoder, batch) for lr in lrs for loss in losses for encoder in encoders for batch in batches]
    steps = np.linspace(0, 4800, points).astype(int)
    centers = rng.normal(0, 0.35, (len(FINDINGS), 2))
    for lr, loss, encoder, batch in settings:
        quality = 0.74 + good.get(loss, 0) - 0.09 * (math.log10(lr) + 3) ** 2 + 0.02 * (encoder == "resnet") + 0.015 * (batch == 256)
        axes = {"optim.lr": lr, "loss": loss, "encoder": encoder, "batch": batch}
        tag = ",".join(f"{k}={v}" for k, v in axes.items())
        for s in range(seeds):
            failed, fall = lr >= 1e-2 and loss == "triplet" and s < 2, rng.normal(0, 0.012)
            state = "failed" if failed else "stopped" if (lr, loss, s) == (1e-4, "vicreg", 0) and encoder == "vit" else "finished"
            value = {m: quality + fall + rng.normal(0, 0.006) - 0.06 * (i % 5) for i, m in enumerate(names)}
            values = {m: [v, v - 0.02, v + 0.018, 512] for m, v in value.items()} if state == "finished" else {}
            end = points if state == "finished" else max(points // 3, 2)
            loss_curve = (4.2 * np.exp(-steps / 900 * (0.6 + quality)) + 1.4 - quality + rng.normal(0, 0.03, points))[:end]
            if failed:
                loss_curve[-1] = 400.0
            judged = [float(quality - 0.25 * math.exp(-x / 1200)) if i % 5 == 4 else None for i, x in enumerate(steps[:end])]
            spread = 0.1 + 0.3 * max(0.8 - quality, 0)
            xy = {m: (centers[label] + rng.normal(0, spread, (rows, 2)) + [shift, 0]).round(4).tolist() for m, shift in (("image", -0.08), ("text", 0.08))}
            found = []
            for start in ("image", "text"):
                for q in range(0, rows, max(rows // 6, 1)):
                    others = [q, *rng.choice(rows, 5).tolist()] if rng.random() < quality else rng.choice(rows, 6).tolist()
                    found.append({"from": start, "query": q, "found": [[r, round(0.9 - 0.07 * k, 3)] for k, r in enumerate(dict.fromkeys(others))][:5]})
            has_map = maps and state == "finished"
            runs.append({
                "run": f"{tag}/seed{s}", "tag": tag, "seed": s, "axes": axes, "state": state, "tries": 1 + 2 * failed,
                "error": "FloatingPointError: step 1610: the gradient of encoders/image/block03/mlp is not finite\nlower optim.lr" if failed else "",
                "step": int(steps[end - 1]), "seconds": 640.25 + 900 * rng.random(), "values": values,
                "controls": {"untrained": {m: 0.55 - 0.06 * (i % 5) for i, m in enumerate(names)}} if values else {},
                "curve": {"step": steps[:end].tolist(), "loss": loss_curve.tolist(), "lr": (lr * np.minimum(steps[:end] / 480, 1)).tolist(),
                          "val/auroc": judged},
                "map": {"rows": list(range(rows)), "pair": ["image", "text"], "xy": xy, "retrieval": found, "data": "d0",
                        "label": {"name": "finding", "values": label.tolist(), "names": FINDINGS}} if has_map else None})
    summary, comparisons = [], []
    for metric in shown:
        for lr, loss, encoder, batch in settings:
            axes = {"optim.lr": lr, "loss": loss, "encoder": encoder, "batch": batch}
            tag = ",".join(f"{k}={v}" for k, v in axes.items())
            of = [r["values"][metric][0] for r in runs if r["tag"] == tag and metric in r["values"]]
            sd = statistics.stdev(of) if len(of) > 1 else math.nan
            mean, half = statistics.fmean(of) if of else math.nan, 2.78 * sd / math.sqrt(max(len(of), 1))
            summary.append({"tag": tag, "axes": axes, "metric": metric, "mean": mean, "low": mean - half, "high": mean + half, "n": len(of), "sd_seed": sd,
                            "sd_test": 0.0097, "values": of})
            if loss != losses[0]:
                base = tag.replace(f"loss={loss}", f"loss={losses[0]}")
                d, few = good.get(loss, 0) - good.get(losses[0], 0) + rng.normal(0, 0.006), seeds < 6
                comparisons.append({"metric": metric, "tag": tag, "baseline": base, "difference": d, "low": d - 0.02, "high": d + 0.02, "effect": d / 0.015,
                                    "p": 2 * 0.5 ** seeds, "p_holm": min(8 * 0.5 ** seeds, 1), "p_smallest": 2 * 0.5 ** seeds, "stars": "" if few else "**",
                                    "n": len(of), "detectable": 0.021,
                                    "note": f"{seeds} seeds: the smallest possible p is {2 * 0.5 ** seeds:.3g}, so no star can be" if few else ""})
    wrong = [f"{r['run']} failed {r['tries']} times: {r['error'].splitlines()[0]}" for r in runs if r["state"] == "failed"]
    return {"study": "Losses and learning rates of image-text pretraining", "config": "quickstart.py", "generated": "2026-11-27 15:00 UTC",
            "commit": "1416d55b0a3f", "device": "1 x NVIDIA H100", "axes": ["optim.lr", "loss", "encoder", "batch"], "metrics": names, "shown": shown, "runs": runs,
            "pictures": pictures, "summary": summary, "comparisons": comparisons, "problems": wrong}


if __name__ == "__main__":  # to look at a page: python -m tests.sweeps.test_page > report.html
    print(page(fake()))
