"""The final evaluation of a run, and a notebook's way to a trained model."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mmrep import config as cfg
from mmrep import hosts
from mmrep.core import checkpoint
from mmrep.core.types import TrainState
from mmrep.evals.suite import Suite, as_json
from mmrep.run import Run, assemble, write_json

Say = Callable[[str], None]


def final(run: Run, suite: Suite, state: TrainState, workdir: Path, seconds: dict[str, float], say: Say,
          init: Callable | None = None) -> dict:
    """Evaluate the best checkpoint (by `config.save.metric`; else the last) on test, once, with the controls.

    Writes results.json: {"metrics": {name: {"value", "low", "high", "n"}}, "controls": {control: as metrics},
    "paired": {control: differences of the probes, as metrics}, "test_reads": how often test was read, "step": of the
    judged checkpoint, "config_hash", "seconds"}.
    """
    began = time.perf_counter()
    config = run.config
    params, step = state.params, run.total
    if config.save.metric:
        saved = checkpoint.read_params(workdir, metric=config.save.metric, mode=config.save.mode)
        params, step = place(run, saved["params"]), saved["step"]
    features = suite.features(params["encoders"], config.eval.limit)
    results = judged(run, suite, params, features, "test", init)
    results["test_reads"] = count_read(workdir) if config.evals else 0
    seconds["evaluate"] = round(time.perf_counter() - began, 2)
    results |= {"config_hash": cfg.digest(config), "seconds": seconds, "step": step}
    if hosts.first():
        from mmrep.figure import run_figure

        run_figure(workdir, results, features("test") if config.evals else None)
        write_json(workdir / "results.json", results)
        if config.evals:
            say(table(results))
        say(f"wrote {workdir / 'results.json'} and {workdir / 'figure.png'}")
    return results


def judged(run: Run, suite: Suite, params: dict, features: Callable, on: str,
           init: Callable | None = None) -> dict:
    """{"metrics", "controls", "paired"}: the evaluators, the controls beside them, and the probes' differences."""
    metrics = as_json(suite.evaluate(params["encoders"], on, features))
    controls, differences = suite.controls(on, tuple(run.config.eval.controls), run.config.seed, features, init)
    return {"metrics": metrics, "controls": {k: as_json(v) for k, v in controls.items()},
            "paired": {k: as_json(v) for k, v in differences.items()}}


def count_read(workdir: Path) -> int:
    """Count one more reading of the test split in the run folder."""
    file = workdir / "test_reads.json"
    reads = json.loads(file.read_text())["reads"] + 1 if file.is_file() else 1
    if hosts.first():
        write_json(file, {"reads": reads})
    return reads


def place(run: Run, params: dict) -> dict:
    """numpy params onto the run's mesh."""
    return jax.tree.map(lambda x, s: jax.device_put(np.asarray(x), s), params, run.placed.params)


def table(results: dict, width: int = 46) -> str:
    """The headline numbers beside their controls, for a terminal."""
    controls = sorted(results["controls"])
    lines = [f"{'test':{width}}{'':24}" + "".join(f"{c:>12}" for c in controls)]
    for name, m in results["metrics"].items():
        if name.startswith(("alignment/uniformity", "alignment/effective")) or name.endswith("/null"):
            continue
        beside = "".join(f"{results['controls'][c][name]['value']:12.3f}" if name in results["controls"][c] else f"{'':12}"
                         for c in controls)
        lines.append(f"{name:{width}}{m['value']:8.3f} [{m['low']:.3f}, {m['high']:.3f}]{beside}")
    return "\n".join(lines)


def open_run(workdir: str | Path, data: dict[str, Any] | None = None, step: int | None = None
             ) -> tuple[Run, dict, Path]:
    """(Run, params, folder) of a finished or stopped run. data: overrides of the main stream's source.

    Raises FileNotFoundError where the folder is no run's.
    """
    workdir = folder_of(workdir)
    file = workdir / "config.json"
    if not file.is_file():
        raise FileNotFoundError(f"{workdir}: no config.json; is it a run's workdir?")
    config = cfg.from_json(file.read_text())
    params = checkpoint.read_params(workdir, step, config.save.metric, config.save.mode)["params"]
    with config.unlocked():
        config.mesh.update({"data": -1, "fsdp": 1, "tensor": 1})
        config.micro = 1
        for stream in config.data.values():
            shards = jax.device_count()
            stream.batch = max(stream.batch // shards, 1) * shards
        main = "main" if "main" in config.data else sorted(config.data)[0]
        for key, value in (data or {}).items():
            if "source" not in config.data[main]:
                raise ValueError(f"--data {key}={value}: config.data.{main} is a mixture; nothing to override")
            cfg.apply(config, f"data.{main}.source.{key}={value}")
    run = assemble(config, workdir)
    checkpoint.check_same({p: np.shape(x) for p, x in _flat(params)},
                          {p: x.shape for p, x in _flat(run.shapes.params)}, str(workdir))
    return run, place(run, params), workdir


def folder_of(workdir: str | Path) -> Path:
    """The run's folder itself, or that of its last stage with a checkpoint."""
    workdir = Path(workdir)
    stages = sorted((p for p in workdir.glob("stage*") if checkpoint.steps_of(p)), key=lambda p: int(p.name[5:]))
    return stages[-1] if stages else workdir


def _flat(tree_: Any) -> list[tuple[str, Any]]:
    from mmrep.core import tree

    return list(zip(tree.paths(tree_), jax.tree.leaves(tree_)))


def evaluate(workdir: str | Path, data: dict[str, Any] | None = None, split: str = "test", say: Say = print) -> dict:
    """Evaluate a run again, on other data by overrides of the source; counts a reading of test. Returns metrics."""
    run, params, folder = open_run(workdir, data)
    reads = count_read(folder) if split == "test" else None
    with jax.set_mesh(run.mesh):
        suite = Suite(run)
        suite.check()
        results = judged(run, suite, params, suite.features(params["encoders"], run.config.eval.limit), split)
    say(table(results))
    return results | {"split": split, "test_reads": reads, "config_hash": cfg.digest(run.config)}


def load(workdir: str | Path, step: int | None = None) -> tuple[dict[str, Callable], dict, Any]:
    """(model, params, config) of a run, in one line, for notebooks.

    model: pure functions of params: `encode(params, modality, x) -> Encoded`, with tokens and every intermediate in
    `out`; x: u8 pixels [B, H, W, C] or i32 tokens [B, L]; `texts(params, [str]) -> f32[n, E]`; `tokenize([str])`.
    """
    from mmrep.core.types import View
    from mmrep.evals.features import text_encoder

    run, params, _ = open_run(workdir, step=step)

    def encode(params: dict, modality: str, x: Any) -> Any:
        return run.encode(params["encoders"], View(modality), jax.numpy.asarray(x), None)

    model: dict[str, Callable] = {"encode": encode}
    if "text" in run.config.encoders:
        length = run.config.tokenizer.length
        program = text_encoder(run.encode, run.tokenizer, length)
        model["texts"] = lambda params, texts: program(params["encoders"], texts)
        model["tokenize"] = lambda texts: run.tokenizer.encode(list(texts), length)
    return model, params, run.config


def export(workdir: str | Path, out: str | Path, data: dict[str, Any] | None = None, split: str = "test",
           say: Say = print) -> Path:
    """Write a split's embeddings with ids to OUT.npz or OUT.parquet."""
    out = Path(out)
    if out.suffix not in (".npz", ".parquet"):
        raise ValueError(f"--out {out}: write to a .npz or a .parquet file")
    run, params, _ = open_run(workdir, data)
    with jax.set_mesh(run.mesh):
        rows = Suite(run).features(params["encoders"])(split)
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
    say(f"wrote {len(rows['index'])} rows x {len(rows)} columns to {out}")
    return out
