"""Checkpoints: asynchronous, atomic, restorable on another mesh; partial and renamed loading. The one user of orbax.

A checkpoint is the TrainState as nested dicts of arrays with string keys; the data position is a function of its step.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from mmrep.core import tree
from mmrep.core.names import nearest
from mmrep.core.types import TrainState


def _to_dict(state: TrainState) -> dict:
    from flax import serialization

    # the key's data goes as plain integers; empty parts are left out, for orbax keeps no empty dict
    parts = state._asdict() | {"rng": jax.random.key_data(state.rng)}
    return {k: v for k, v in serialization.to_state_dict(parts).items() if jax.tree.leaves(v)}


def _from_dict(parts: dict, like: TrainState) -> TrainState:
    from flax import serialization

    target = like._asdict() | {"rng": jax.random.key_data(like.rng) if isinstance(like.rng, jax.Array) else like.rng}
    full = serialization.to_state_dict(target) | parts
    out = serialization.from_state_dict(target, full)
    return TrainState(**out)._replace(rng=jax.random.wrap_key_data(out["rng"]))


class Manager(NamedTuple):
    """An open checkpoint folder."""

    orbax: Any
    folder: Path


def open_folder(folder: Path, keep: int = 2, metric: str = "", mode: str = "max") -> Manager:
    """Open WORKDIR/checkpoints; keeps the newest and the `keep` best by `metric` (the `keep` newest without one)."""
    import orbax.checkpoint as ocp

    if mode not in ("max", "min"):
        raise ValueError(f"config.save.mode: {mode!r}; valid: max, min")
    folder = Path(folder).resolve()
    policies = ocp.checkpoint_managers
    kept: list = [policies.LatestN(1 if metric else max(keep, 1))]
    if metric:
        kept.append(policies.BestN(get_metric_fn=lambda m: m[metric], n=keep, reverse=mode == "min",
                                   keep_checkpoints_without_metrics=False))
    options = ocp.CheckpointManagerOptions(
        preservation_policy=policies.AnyPreservationPolicy(kept), create=True, cleanup_tmp_directories=True,
        best_fn=(lambda m: m[metric]) if metric else None, best_mode=mode)
    return Manager(ocp.CheckpointManager(folder, options=options), folder)


def save(manager: Manager, state: TrainState, metrics: dict[str, float] | None = None) -> None:
    """Start saving; a folder appears under its final name only when whole. Raises OSError where the disk refuses."""
    import orbax.checkpoint as ocp

    step = int(state.step)
    if step in manager.orbax.all_steps():
        return
    manager.orbax.save(step, args=ocp.args.StandardSave(_to_dict(state)), metrics=metrics, force=True)


def wait(manager: Manager) -> None:
    """Until every save is on disk; raises what a save in the background met."""
    manager.orbax.wait_until_finished()
    manager.orbax.check_for_errors()


def close(manager: Manager) -> None:
    """Wait, then release the folder."""
    wait(manager)
    manager.orbax.close()


def latest(manager: Manager) -> int | None:
    """The newest whole checkpoint's step."""
    return manager.orbax.latest_step()


def restore(manager: Manager, step: int, like: TrainState, shardings: TrainState) -> TrainState:
    """A checkpoint placed as `shardings` say. like: a TrainState of ShapeDtypeStructs.

    Raises ValueError naming the first leaf that differs where it is a checkpoint of another model.
    """
    import orbax.checkpoint as ocp

    wanted = jax.tree.map(lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s), _strip(like),
                          _strip(shardings))
    wanted = _to_dict_abstract(wanted)
    saved = manager.orbax.item_metadata(step).tree
    check_same({p: tuple(leaf.shape) for p, leaf in zip(tree.paths(saved), jax.tree.leaves(saved))},
               {p: tuple(leaf.shape) for p, leaf in zip(tree.paths(wanted), jax.tree.leaves(wanted))},
               f"{manager.folder}/{step}")
    parts = manager.orbax.restore(step, args=ocp.args.StandardRestore(wanted))
    return _from_dict(parts, _strip(like))


def _strip(state: TrainState) -> TrainState:
    """The state with its typed key as the integers it is saved as."""
    rng = state.rng
    if isinstance(rng, jax.ShapeDtypeStruct) and jax.dtypes.issubdtype(rng.dtype, jax.dtypes.prng_key):
        data = jax.eval_shape(jax.random.key_data, rng)
        return state._replace(rng=jax.ShapeDtypeStruct(data.shape, data.dtype))
    return state


def _to_dict_abstract(state: TrainState) -> dict:
    from flax import serialization

    return {k: v for k, v in serialization.to_state_dict(state._asdict()).items() if jax.tree.leaves(v)}


def check_same(saved: dict[str, tuple], wanted: dict[str, tuple], where: str) -> None:
    """Raise ValueError naming the first leaf in which a checkpoint and this run's model differ."""
    for path in sorted({*saved, *wanted}):
        if saved.get(path) != wanted.get(path):
            what = ("is missing from it" if path not in saved else "is unknown to this config" if path not in wanted
                    else f"is {saved[path]} there and {wanted[path]} here")
            raise ValueError(f"checkpoint {where}: of another model: leaf {path} {what}; use the config it was made "
                             "with, another --workdir, or config.init.path to take over what fits")


def read_params(workdir: Path, step: int | None = None, metric: str = "", mode: str = "max") -> dict:
    """{"params", "ema"} of a run's checkpoint as numpy: of `step`, else the best by `metric`, else the newest.

    Raises FileNotFoundError where there is none.
    """
    import orbax.checkpoint as ocp

    folder = Path(workdir).resolve() / "checkpoints"
    steps = sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit()) if folder.is_dir() else []
    if not steps:
        raise FileNotFoundError(f"{workdir}: holds no finished checkpoint; is it a run's workdir?")
    if step is not None and step not in steps:
        raise FileNotFoundError(f"{workdir}: no checkpoint of step {step}; there are {steps}")
    with ocp.CheckpointManager(folder, options=ocp.CheckpointManagerOptions(read_only=True)) as manager:
        if step is None:
            scores = {s: (manager.metrics(s) or {}).get(metric) for s in steps} if metric else {}
            judged = [s for s in steps if scores.get(s) is not None]
            sign = 1 if mode == "max" else -1
            step = max(judged, key=lambda s: sign * scores[s]) if judged else steps[-1]
        saved = manager.item_metadata(step).tree
        wanted = jax.tree.map(lambda m: np.zeros(m.shape, m.dtype), saved)
        parts = manager.restore(step, args=ocp.args.StandardRestore(wanted))
    return {k: parts.get(k, {}) for k in ("params", "ema")}


def take_over(params: dict, source: dict, only: str = ".*", rename: dict[str, str] | None = None,
              where: str = "config.init") -> tuple[dict, dict[str, list[str]]]:
    """Put another run's leaves into `params` where path (after renaming) and shape fit.

    only: regex over paths of `params` that are wanted. rename: {regex on the source's paths: replacement}. Returns the
    params and a report {"loaded", "missing", "unexpected", "shape"} of paths. Raises ValueError if nothing fits or a
    wanted leaf has another shape.
    """
    flat = dict(zip(tree.paths(source), jax.tree.leaves(source)))
    for pattern, to in (rename or {}).items():
        tree.match(f"{pattern}.*", list(flat), f"{where}.rename")
        flat = {re.sub(f"^{pattern}", to, p): x for p, x in flat.items()}
    wanted = {p for p in tree.paths(params) if re.fullmatch(only, p)}
    if not wanted:
        raise ValueError(f"{where}.only: {only!r} matches no leaf; {nearest(only.strip('.*'), tree.paths(params))}")
    report: dict[str, list[str]] = {"loaded": [], "missing": [], "unexpected": sorted(set(flat) - wanted), "shape": []}

    def put(path: str, leaf: Any) -> Any:
        if path not in wanted:
            return leaf
        if path not in flat:
            report["missing"].append(path)
            return leaf
        if tuple(flat[path].shape) != tuple(leaf.shape):
            report["shape"].append(f"{path}: {tuple(flat[path].shape)} there, {tuple(leaf.shape)} here")
            return leaf
        report["loaded"].append(path)
        placed = jax.device_put(np.asarray(flat[path], leaf.dtype), leaf.sharding) if hasattr(leaf, "sharding") else flat[path]
        return placed

    out = tree.map_named(put, params)
    if report["shape"]:
        raise ValueError(f"{where}.path: {report['shape'][0]}; leave it out with config.init.only")
    if not report["loaded"]:
        raise ValueError(f"{where}.path: no leaf fits; missing e.g. {report['missing'][0]}")
    return out, report
