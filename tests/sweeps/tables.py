"""Small tables of results for tests."""

from mmrep.core.files import write_json


def row(tag="a", seed=0, metric="m", value=0.5, control="", n=100, **axes):
    """A row as `results.collect` gives it."""
    return {"run": f"{tag}/seed{seed}", "tag": tag, "seed": seed} | axes | {
        "split": "test", "control": control, "metric": metric, "value": value, "low": value - 0.1, "high": value + 0.1, "n": n, "step": 10,
        "config_hash": "h", "overrides": "{}", "commit": "c", "device": "cpu", "time": "2026-01-02T00:00:00Z", "seconds_train": 1.0,
        "seconds_step": 0.1, "seconds_evaluate": 1.0, "seconds": 2.0}


def paired(seeds, shift=0.1, metrics=("m",)):
    """Two settings of an axis `loss`, softmax and sigmoid, the second better by about `shift`."""
    return [row(f"loss={loss}", seed, metric, 0.5 + 0.01 * seed + (shift + 0.001 * (seed % 3) if loss == "sigmoid" else 0), loss=loss)
            for metric in metrics for loss in ("softmax", "sigmoid") for seed in range(seeds)]


def planned(rows, axes=("loss",)):
    """The plan of these rows' runs."""
    return [{"tag": r["tag"], "seed": r["seed"], "axes": {a: r[a] for a in axes}} for r in rows]


def folder(out, runs):
    """A sweep's folder with finished runs {name: (axes, {metric: value}) or None for one that did not begin}; nothing is collected."""
    out.mkdir(exist_ok=True)
    plan = []
    for name, found in runs.items():
        tag, _, seed = name.partition("/seed")
        axes, metrics = found or ({}, None)
        plan.append({"tag": tag, "seed": int(seed), "axes": axes, "overrides": axes, "config": {"data": {}, "total": "10 steps"}})
        run = out / "runs" / tag / f"seed{seed}"
        run.mkdir(parents=True)
        if metrics is not None:
            values = {k: {"value": v, "low": v, "high": v, "n": 10} for k, v in metrics.items()}
            write_json(run / "results.json", {"metrics": values, "controls": {"untrained": values}, "paired": {}, "split": "test",
                                              "left_out": {"lost": "few"}, "step": 10, "config_hash": "h",
                                              "seconds": {"train": 1.0, "evaluate": 0.5}})
    axes = list(dict.fromkeys(a for run in plan for a in run["axes"]))
    write_json(out / "sweep.json", {"study": "s", "config": "c.py", "file": "", "baseline": {}, "family": [], "shown": [], "seeds": [0, 1],
                                    "axes": axes, "runs": plan})
    return out
