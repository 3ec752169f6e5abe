"""The final evaluation of a run, and a notebook's way to a trained model."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from mmrep import config as cfg
from mmrep import facts, hosts
from mmrep.core import checkpoint
from mmrep.core.names import nearest
from mmrep.core.types import TrainState
from mmrep.data.sources import identify
from mmrep.evals.suite import Suite, as_json, averaged, reasons
from mmrep.run import Run, assemble, write_json

Say = Callable[[str], None]


def final(run: Run, suite: Suite, state: TrainState, workdir: Path, seconds: dict[str, float], say: Say,
          init: Callable | None = None, on: str = "test") -> dict:
    """Evaluate the best checkpoint (by `config.save.metric`; else the last) on test, once, with the controls.

    Writes results.json: {"metrics": {name: {"value", "low", "high", "n"}}, "controls": {control: as metrics},
    "paired": {control: differences of the probes, as metrics}, "left_out": {name: why there is no number}, "skipped":
    {split: rows that could not be read}, "split", "test_reads": how often test was read, "step": of the judged checkpoint,
    "config_hash", "seconds"}. on: "val" for a stage that another follows.
    """
    began = time.perf_counter()
    config = run.config
    params, ema, step = state.params, state.ema, run.total
    if config.save.metric:
        saved = checkpoint.read_params(workdir, metric=config.save.metric, mode=config.save.mode)
        params, ema, step = place(run, saved["params"], saved["ema"]), {}, saved["step"]
    params = averaged(params, ema)
    reads = count_read(workdir, int(bool(config.evals) and on == "test"))  # before: a reading that fails was one, too
    features = suite.features(params, config.eval.limit)
    results = judged(run, suite, params, features, on, init) | {"test_reads": reads}
    seconds["evaluate"] = round(time.perf_counter() - began, 2)
    results |= {"config_hash": cfg.digest(config), "seconds": seconds, "step": step}
    if hosts.first():
        from mmrep.figure import run_figure

        write_json(workdir / "results.json", results)  # first: a figure that fails must not cost a reading of test
        run_figure(workdir, results, features(on) if config.evals else None)
        if config.evals:
            say(table(results))
        say(f"wrote {workdir / 'results.json'} and {workdir / 'figure.png'}")
    return results


def judged(run: Run, suite: Suite, params: dict, features: Callable, on: str, init: Callable | None = None) -> dict:
    """{"metrics", "controls", "paired", "left_out", "skipped", "split"}: the evaluators, the controls beside them, the
    probes' differences, and what is missing from them."""
    suite.skipped.clear()  # of this reading, not of those during training, which a resumed run has not made
    found = suite.evaluate(params, on, features)
    controls, differences = suite.controls(on, tuple(run.config.eval.controls), run.config.seed, features, init)
    missing = reasons(found)
    for kind, parts in (("controls", controls), ("paired", differences)):
        for control, values in parts.items():
            missing |= {f"{kind}/{control}/{k}": why for k, why in reasons(values).items() if k not in missing}
    return {"metrics": as_json(found), "controls": {k: as_json(v) for k, v in controls.items()},
            "paired": {k: as_json(v) for k, v in differences.items()}, "left_out": missing, "skipped": dict(suite.skipped),
            "split": on}


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
    """Whether a reading counts as one of test: any split but the run's own train and val, which --data may rename."""
    return split not in ("train", "val") or any(k.split(".")[0] == "splits" for k in data or {})


def place(run: Run, params: dict, ema: dict) -> dict:
    """A checkpoint's numpy params onto the run's mesh, as they are judged."""
    params = averaged(params, ema)
    return jax.tree.map(lambda x, s: jax.device_put(np.asarray(x), s), params, run.placed.params)


def table(results: dict, width: int = 46) -> str:
    """The headline numbers beside their controls, for a terminal."""
    controls = sorted(results["controls"])
    lines = [f"{results['split']:{width}}{'':24}" + "".join(f"{c:>12}" for c in controls)]
    for name, m in results["metrics"].items():
        if name.startswith(("alignment/uniformity", "alignment/effective")) or name.endswith(("/null", "/n_labels")):
            continue
        beside = "".join(f"{results['controls'][c][name]['value']:12.3f}" if name in results["controls"][c] else f"{'':12}"
                         for c in controls)
        lines.append(f"{name:{width}}{m['value']:8.3f} [{m['low']:.3f}, {m['high']:.3f}]{beside}")
    lines += [f"{name}: left out, {why}" for name, why in results["left_out"].items() if not name.startswith(("controls/", "paired/"))]
    lines += [f"{n} rows of {split} could not be read" for split, n in results["skipped"].items() if n]
    return "\n".join(lines)


class Opened(NamedTuple):
    """A run opened again: parts, params as they are judged, evaluators, folder, and the config it was trained with."""

    run: Run
    params: dict
    suite: Suite
    folder: Path
    config: Any


def open_run(workdir: str | Path, data: dict[str, Any] | None = None, step: int | None = None) -> Opened:
    """A finished or stopped run, on any number of devices. data: overrides of the main stream's source.

    No data are opened: its folder knows their forms. Raises FileNotFoundError where the folder is no run's.
    """
    folder = folder_of(workdir)
    file = folder / "config.json"
    if not file.is_file():
        raise FileNotFoundError(f"{folder}: no config.json; is it a run's workdir?")
    known, trained = facts.read(folder), cfg.from_json(file.read_text())
    config = cfg.from_json(file.read_text())
    saved = checkpoint.read_params(folder, step, config.save.metric, config.save.mode)
    with config.unlocked():
        config.mesh.update({"data": -1, "fsdp": 1, "tensor": 1})
        config.micro = 1
        for stream in config.data.values():
            shards = jax.device_count()
            stream.batch = max(stream.batch // shards, 1) * shards
        if known and (folder / "tokenizer.json").is_file():
            config.tokenizer = {"name": str(folder / "tokenizer.json"), "length": config.tokenizer.length}
    other = None
    if data:
        changed, main = cfg.from_json(file.read_text()), "main" if "main" in config.data else sorted(config.data)[0]
        for key, value in data.items():
            if "source" not in changed.data[main]:
                raise ValueError(f"--data {key}={value}: config.data.{main} is a mixture; nothing to override")
            cfg.apply(changed, f"data.{main}.source.{key}={value}")
        other = changed.data[main]
    run = assemble(config, folder, facts=known)
    checkpoint.check_same({p: np.shape(x) for p, x in _flat(saved["params"])},
                          {p: x.shape for p, x in _flat(run.shapes.params)}, str(folder))
    return Opened(run, place(run, saved["params"], saved["ema"]), Suite(run, other, known), folder, trained)


def folder_of(workdir: str | Path) -> Path:
    """The run's folder itself, or that of its last stage with a checkpoint."""
    workdir = Path(workdir)
    stages = sorted((p for p in workdir.glob("stage*") if checkpoint.steps_of(p)), key=lambda p: int(p.name[5:]))
    return stages[-1] if stages else workdir


def _flat(tree_: Any) -> list[tuple[str, Any]]:
    from mmrep.core import tree

    return list(zip(tree.paths(tree_), jax.tree.leaves(tree_)))


def evaluate(workdir: str | Path, data: dict[str, Any] | None = None, split: str = "test", say: Say = print) -> dict:
    """Evaluate a run again, on other data by overrides of the source; counts a reading of test. Returns what `judged`
    gives, with "test_reads", "data" and "config_hash".

    Only the split has to be there: what needs others (a probe) is left out where they are not.
    """
    o = open_run(workdir, data)
    with jax.set_mesh(o.run.mesh):
        o.suite.check((split,))
        reads = count_read(o.folder, int(may_be_test(split, data)))
        results = judged(o.run, o.suite, o.params, o.suite.features(o.params, o.run.config.eval.limit), split)
    say(table(results))
    return results | {"test_reads": reads, "data": data or {}, "config_hash": cfg.digest(o.config)}


def load(workdir: str | Path, step: int | None = None) -> tuple[dict[str, Callable], dict, Any]:
    """(model, params, config) of a run, in one line, for notebooks; the data need not be there.

    model: pure functions of params: `encode(params, modality, x) -> Encoded`, with tokens and every intermediate in
    `out`; x: u8 pixels [B, H, W, C] or i32 tokens [B, L]; with a text encoder `texts(params, [str]) -> f32[n, E]` and
    `tokenize([str])`; with a supervised term `score(params, label, x, term="") -> logits f32[B, K]` of its head.
    """
    from mmrep.core.types import View
    from mmrep.evals.features import text_encoder
    from mmrep.evals.supervised import heads_of, of_term

    run, params, _, _, config = open_run(workdir, step=step)

    def encode(params: dict, modality: str, x: Any) -> Any:
        return run.encode(params["encoders"], View(modality), jax.numpy.asarray(x), None)

    def score(params: dict, label: str, x: Any, term: str = "") -> Any:
        heads = of_term(heads_of(config, params), term)
        if label not in heads:
            raise ValueError(f"score: no head {label!r}; {nearest(label, heads)}")
        encoded = encode(params, heads[label].modality, x)
        return heads[label].logits(getattr(encoded, heads[label].feature).astype("float32"))

    model: dict[str, Callable] = {"encode": encode}
    if any(spec.name == "supervised" for spec in config.objectives.values()):
        model["score"] = score
    if "text" in config.encoders:
        length = config.tokenizer.length
        program = text_encoder(run.encode, run.tokenizer, length)
        model["texts"] = lambda params, texts: program(params["encoders"], texts)
        model["tokenize"] = lambda texts: run.tokenizer.encode(list(texts), length)
    return model, params, config


def export(workdir: str | Path, out: str | Path, data: dict[str, Any] | None = None, split: str = "test",
           say: Say = print) -> Path:
    """Write a split's embeddings to OUT.npz or OUT.parquet, with `row` of the file, `case` and `image` as written there.

    What the source cannot say is left out; `index` is the row's place in the split. Counts a reading of test.
    """
    out = Path(out)
    if out.suffix not in (".npz", ".parquet"):
        raise ValueError(f"--out {out}: write to a .npz or a .parquet file")
    o = open_run(workdir, data)
    source = o.suite.source(split)
    if may_be_test(split, data):
        count_read(o.folder)
    with jax.set_mesh(o.run.mesh):
        rows = o.suite.features(o.params)(split)
    ids = identify(source, rows["index"])
    rows |= {k: np.array(["" if v is None else v for v in values])
             for k, values in ids.items() if any(v is not None for v in values)}
    part = out.with_name(out.name + ".part")
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".npz":
        with part.open("wb") as f:
            np.savez(f, **rows)
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({k: list(v) if v.ndim > 1 else v for k, v in rows.items()}), part)
    part.replace(out)
    say(f"wrote {len(rows['index'])} rows x {len(rows)} columns to {out}"
        + (f"; {o.suite.skipped[split]} rows could not be read" if o.suite.skipped[split] else ""))
    return out
