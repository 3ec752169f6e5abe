"""The final evaluation of a run, a later one, and its embeddings as a file."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mmrep import config as cfg
from mmrep import facts, hosts, trained
from mmrep.core import checkpoint, tree
from mmrep.core.files import write_json
from mmrep.core.types import TrainState
from mmrep.data import embeddings
from mmrep.data.sources import identify
from mmrep.evals.controls import controls
from mmrep.evals.projection import projection
from mmrep.evals.suite import Suite, as_json, reasons
from mmrep.opened import folder_of, open_run, place
from mmrep.run import Run
from mmrep.summary import summary

Say = Callable[[str], None]


def final(run: Run, suite: Suite, state: TrainState, workdir: Path, seconds: dict[str, float], say: Say,
          init: Callable | None = None, on: str = "test", figure: bool = True) -> dict:
    """Evaluate the best checkpoint (by `config.save.metric`; else the last) on test, once, with the controls.

    Writes results.json: {"metrics": {name: {"value", "low", "high", "n"}}, "controls": {control: as metrics},
    "paired": {control: differences of the probes, as metrics}, "left_out": {name: why there is no number}, "skipped":
    {split: rows that could not be read}, "split", "rows": of it that were read, "test_reads": how often test was read, "step": of the
    judged checkpoint, "config_hash", "seconds"}. on: "val" for a stage that another follows.
    figure: whether to draw figure.png.
    """
    began = time.perf_counter()
    config = run.config
    params, ema, step = state.params, state.ema, run.total
    if config.save.metric:
        saved = checkpoint.read_params(workdir, metric=config.save.metric, mode=config.save.mode)
        params, ema, step = place(run, saved["params"], saved["ema"]), {}, saved["step"]
    params = tree.averaged(params, ema)
    features = suite.features(params, config.eval.limit)
    suite.skipped.clear()  # of this reading, not of those during training, which a resumed run has not made
    if config.evals:
        features(on)  # a row that cannot be read ends it here, before anything of the split is known
    reads = count_read(workdir, int(bool(config.evals) and on == "test"))  # before: a reading that fails later was one, too
    results = judged(run, suite, params, features, on, init) | {"test_reads": reads}
    seconds["evaluate"] = round(time.perf_counter() - began, 2)
    results |= {"config_hash": cfg.digest(config), "seconds": seconds, "step": step}
    if hosts.first():
        picture = projection(features(on), suite.streams[suite.stream].names) if config.evals else None
        if picture:
            write_json(workdir / "map.json", picture | {"split": on, "stream": suite.stream})
        write_json(workdir / "results.json", results)  # first: a figure that fails must not cost a reading of test
        if figure:
            from mmrep.figure import run_figure

            run_figure(workdir, results, features(on) if config.evals else None)
        if config.evals:
            say(summary(results))
        say(f"wrote {workdir / 'results.json'}" + (f" and {workdir / 'figure.png'}" if figure else ""))
    return results


def judged(run: Run, suite: Suite, params: dict, features: Callable, on: str, init: Callable | None = None) -> dict:
    """{"metrics", "controls", "paired", "left_out", "skipped", "split", "rows" that were read}: the evaluators, the controls beside them,
    the probes' differences, and what is missing from them."""
    found = suite.evaluate(params, on, features)
    beside, differences = controls(suite, on, tuple(run.config.eval.controls), run.config.seed, features, init)
    missing = reasons(found)
    for kind, parts in (("controls", beside), ("paired", differences)):
        for control, values in parts.items():
            missing |= {f"{kind}/{control}/{k}": why for k, why in reasons(values).items() if k not in missing}
    return {"metrics": as_json(found), "controls": {k: as_json(v) for k, v in beside.items()},
            "paired": {k: as_json(v) for k, v in differences.items()}, "left_out": missing, "skipped": dict(suite.skipped),
            "split": on} | ({"rows": len(features(on)["index"])} if run.config.evals else {})


def count_read(workdir: Path, more: int = 1) -> int:
    """Count `more` readings of the test split in the run folder; how many there were, over all stages of a run."""
    file = workdir / "test_reads.json"
    stages = workdir.parent.glob("stage*/test_reads.json") if re.fullmatch(r"stage\d+", workdir.name) else [file]
    before = sum(json.loads(f.read_text())["reads"] for f in stages if f.is_file())
    mine = json.loads(file.read_text())["reads"] if file.is_file() else 0
    if hosts.first() and more:
        write_json(file, {"reads": mine + more})
    return before + more


def may_be_test(split: str, data: dict[str, Any] | None) -> bool:
    """Whether a reading counts as one of test: any split but train and val, which --data may rename by their names or their column."""
    parts = [re.split(r"[.\[]", key) for key in data or {}]
    return split not in ("train", "val") or any("splits" in p or p[-1] == "columns" or p[-2:] == ["columns", "split"] for p in parts)


def evaluate(workdir: str | Path, data: dict[str, Any] | None = None, split: str = "test", say: Say = print,
             overlap: str = "exclude") -> dict:
    """Evaluate a run again, on other data by overrides of the source; counts a reading of test. Returns what `judged`
    gives, with "step", "test_reads", "data" and "config_hash", and on other data "overlap" (`trained.without_trained`).

    Only the split has to be there: what needs others (a probe) is left out where they are not. overlap: what to do with rows of other data
    that the run was trained on: "exclude" them, "refuse" the evaluation, or "allow" them without looking; see `trained.without_trained`.
    """
    o = open_run(workdir, data)
    with jax.set_mesh(o.run.mesh):
        o.suite.source(split)  # a split that is not there is told whatever the config evaluates
        shared = trained.without_trained(o, split, overlap, say) if data else {}
        o.suite.check((split,))
        features = o.suite.features(o.params, o.run.config.eval.limit)
        if o.config.evals:
            features(split)
        reads = count_read(o.folder, int(may_be_test(split, data)))
        results = judged(o.run, o.suite, o.params, features, split)
    results |= {"step": o.step, "test_reads": reads, "data": data or {}, "config_hash": cfg.digest(o.config)}
    results |= {"overlap": shared} if shared else {}
    say(summary(results))
    for line in [*facts.changed(facts.read(o.folder), o.suite), *_unknown(o.suite)]:
        say(line)
    if not o.suite.streams[o.suite.stream].own and any(name.startswith(("probe/", "knn/")) for name in results["metrics"]):
        say("probes and kNN were fitted on the other data's train rows and chosen on its val rows")
    if not (o.folder / "results.json").is_file():
        say(f"{o.folder}: not finished; this is its checkpoint of step {o.step}")
    say(f"test has been read {reads} times ({o.folder / 'test_reads.json'}, embeddings and other data included)")
    return results


def trajectory(workdir: str | Path, data: dict[str, Any] | None = None, split: str = "val", say: Say = print) -> dict:
    """Every saved checkpoint on a split: {"steps", "metrics": {name: {"value", "low", "high", "n": a list each, None where there is none}},
    "split", "data"}. Counts one reading of test, if it is that. `config.save.keep` says how many checkpoints there are."""
    from mmrep.sweeps.tables import number, terminal

    folder = folder_of(workdir)
    steps = sorted(checkpoint.steps_of(folder))
    if not steps:
        raise FileNotFoundError(f"{workdir}: no checkpoint is saved there")
    count_read(folder, int(may_be_test(split, data)))
    found, shared = [], {}
    for step in steps:
        o = open_run(workdir, data, step, shared)
        with jax.set_mesh(o.run.mesh):
            found.append(as_json(o.suite.evaluate(o.params, split)))
    names = list(dict.fromkeys(name for one in found for name in one))
    metrics = {name: {k: [one[name][k] if name in one else None for one in found] for k in ("value", "low", "high", "n")} for name in names}
    shown = [n for n in names if not n.endswith(("/null", "/n_labels", "/strength")) and "/ceiling" not in n and "/chance" not in n]
    say(terminal((["metric", *(f"step {step}" for step in steps)],
                  [[n, *("–" if v is None else number(v) for v in metrics[n]["value"])] for n in shown])))
    return {"steps": steps, "metrics": metrics, "split": split, "data": data or {}}


def _unknown(suite: Suite) -> list[str]:
    """Lines on categories of other data that training did not have."""
    return list(dict.fromkeys(line for source in suite.opened.values() for line in getattr(source, "unknown", ())))


def export(workdir: str | Path, out: str | Path, data: dict[str, Any] | None = None, split: str = "test",
           say: Say = print) -> Path:
    """Write a split's embeddings to OUT.npz or OUT.parquet, with `row` of the file, `case` and `image` as written there.

    What the source cannot say is left out; `index` is the row's place in the split, `split` its name; beside a label of
    named classes, i32 numbers, stand their names as label/NAME/name. The file says which model made them (`data.embeddings`).
    Counts a reading of test.
    """
    out = Path(out)
    if out.suffix not in (".npz", ".parquet"):
        raise ValueError(f"--out {out}: write to a .npz or a .parquet file")
    o = open_run(workdir, data)
    source = o.suite.source(split)
    for line in [*facts.changed(facts.read(o.folder), o.suite), *_unknown(o.suite)]:
        say(line)
    if may_be_test(split, data):
        count_read(o.folder)
    with jax.set_mesh(o.run.mesh):
        rows = o.suite.features(o.params)(split)
    ids = identify(source, rows["index"])
    rows |= {k: np.array(["" if v is None else v for v in values])
             for k, values in ids.items() if k != "images" and any(v is not None for v in values)}
    rows["split"] = np.full(len(rows["index"]), split)
    for label, names in getattr(source, "label_names", {}).items():
        numbers = rows.get(f"label/{label}")
        if numbers is not None and numbers.ndim == 1 and numbers.dtype.kind == "i":
            rows[f"label/{label}/name"] = np.array([str(names[i]) if 0 <= i < len(names) else "" for i in numbers])
    made = json.dumps({"config_hash": cfg.digest(o.config), "checkpoint": trained.digest(o.params), "step": o.step})
    part = out.with_name(out.name + ".part")
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".npz":
        with part.open("wb") as f:
            np.savez(f, **rows, **{embeddings.KEY: np.array(made)})
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.table({k: list(v) if v.ndim > 1 else v for k, v in rows.items()})
        pq.write_table(table.replace_schema_metadata({embeddings.KEY: made}), part)
    part.replace(out)
    say(f"wrote {len(rows['index'])} rows x {len(rows)} columns of step {o.step} to {out}"
        + (f"; {o.suite.skipped[split]} rows could not be read" if o.suite.skipped[split] else ""))
    return out
