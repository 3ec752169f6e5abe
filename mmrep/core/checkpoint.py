"""Checkpoints: asynchronous, atomic, restorable on another mesh; partial and renamed loading. The one user of orbax.

A checkpoint is the TrainState as nested dicts of arrays with string keys; the data position is a function of its step.
"""

import errno
import logging
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from mmrep.core import tree
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


class _Keep:
    """orbax's preservation policy: the newest, and of the scheduled ones the `keep` newest, or the `keep` best.

    A checkpoint out of schedule (a signal's) lasts until the next one, so that an interrupted run ends with the same
    folder as an uninterrupted one.
    """

    def __init__(self, keep: int, metric: str, mode: str, scheduled: Callable[[int], bool]):
        self.keep, self.metric, self.mode, self.scheduled = max(keep, 1), metric, mode, scheduled

    def should_preserve(self, checkpoints: Any, *, context: Any) -> list[bool]:
        """One bool a checkpoint; they come sorted by step."""
        steps = [c.step for c in checkpoints if self.scheduled(c.step)]
        if self.metric:
            scores = {c.step: (c.metrics or {}).get(self.metric) for c in checkpoints}
            steps = ranked({s: scores[s] for s in steps}, self.mode)[: self.keep]
        else:
            steps = steps[-self.keep:]
        return [c.step in steps or i == len(checkpoints) - 1 for i, c in enumerate(checkpoints)]


def ranked(scores: dict[int, float | None], mode: str) -> list[int]:
    """Steps from the best to the worst; of equal scores the earlier step first; without a (finite) score left out."""
    sign = -1 if mode == "max" else 1
    judged = [s for s, score in scores.items() if score is not None and math.isfinite(score)]
    return sorted(judged, key=lambda s: (sign * scores[s], s))


def open_folder(folder: Path, keep: int = 2, metric: str = "", mode: str = "max",
                scheduled: Callable[[int], bool] = lambda step: True) -> Manager:
    """Open WORKDIR/checkpoints; keeps the newest and the `keep` best by `metric` (the `keep` newest without one).

    scheduled: whether a step is one of the regular saves. What an interrupted save left behind is removed.
    """
    import orbax.checkpoint as ocp

    _quiet()
    folder = Path(folder).resolve()
    _remove_partial(folder)
    options = ocp.CheckpointManagerOptions(preservation_policy=_Keep(keep, metric, mode, scheduled), create=True,
                                           best_fn=(lambda m: m[metric]) if metric else None, best_mode=mode)
    return Manager(ocp.CheckpointManager(folder, options=options, item_handlers=ocp.StandardCheckpointHandler()), folder)


def _quiet() -> None:
    """orbax reports a failed write as a page of tracebacks on standard error, besides raising it."""
    logging.getLogger("absl").setLevel(logging.CRITICAL)


def _remove_partial(folder: Path) -> None:
    """A checkpoint is written under a temporary name: what bears one was cut."""
    if jax.process_index() == 0:
        for part in folder.glob("*.orbax-checkpoint-tmp*"):
            shutil.rmtree(part, ignore_errors=True)


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    """tensorstore gives the operating system's errors as ValueErrors: make them OSErrors again."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        code = re.search(r"os_error_code='(\d+)'", str(error))
        if not code:
            raise
        _remove_partial(folder)  # it holds the space that the next attempt needs
        raise OSError(int(code[1]), os.strerror(int(code[1])), str(folder)) from error


def save(manager: Manager, state: TrainState, metrics: dict[str, float] | None = None) -> None:
    """Start saving; a folder appears under its final name only when whole. Raises OSError where the disk refuses."""
    import orbax.checkpoint as ocp

    step = int(state.step)
    if step in manager.orbax.all_steps():
        return
    with _disk_errors(manager.folder):
        manager.orbax.save(step, args=ocp.args.StandardSave(_to_dict(state)), metrics=metrics, force=True)


def wait(manager: Manager) -> None:
    """Until every save is on disk; raises OSError where the disk refused one."""
    with _disk_errors(manager.folder):
        manager.orbax.wait_until_finished()
        manager.orbax.check_for_errors()


def close(manager: Manager) -> None:
    """Wait, then release the folder."""
    try:
        wait(manager)
    finally:
        with _disk_errors(manager.folder):
            manager.orbax.close()


def replace(manager: Manager, state: TrainState, metrics: dict[str, float]) -> None:
    """Save a step again, now with its metrics. Cut in between, the run goes on from the checkpoint before."""
    manager.orbax.delete(int(state.step))
    save(manager, state, metrics)


def latest(manager: Manager) -> int | None:
    """The newest whole checkpoint's step."""
    return manager.orbax.latest_step()


def restore(manager: Manager, step: int, like: TrainState, shardings: TrainState) -> TrainState:
    """A checkpoint placed as `shardings` say. like: a TrainState of ShapeDtypeStructs.

    Raises ValueError naming the first leaf that differs where it is a checkpoint of another model, or where it is
    damaged.
    """
    import orbax.checkpoint as ocp

    wanted = jax.tree.map(lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s), _strip(like),
                          _strip(shardings))
    wanted = _to_dict_abstract(wanted)
    where = f"{manager.folder}/{step}"
    saved = _metadata(manager.orbax, step, where)
    check_same({p: tuple(leaf.shape) for p, leaf in zip(tree.paths(saved), jax.tree.leaves(saved))},
               {p: tuple(leaf.shape) for p, leaf in zip(tree.paths(wanted), jax.tree.leaves(wanted))}, where)
    with _damage(where):
        parts = manager.orbax.restore(step, args=ocp.args.StandardRestore(wanted))
    return _from_dict(parts, _strip(like))


def _metadata(manager: Any, step: int, where: str) -> dict:
    with _damage(where):
        return manager.item_metadata(step).tree


@contextmanager
def _damage(where: str) -> Iterator[None]:
    """orbax and tensorstore meet a damaged checkpoint with errors of any type; say which one it is.

    What the machine refuses (a disk's I/O error, memory) stays an OSError or a MemoryError.
    """
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        text = str(error)
        code = re.search(r"os_error_code='(\d+)'", text)
        if "RESOURCE_EXHAUSTED" in text and not code:
            raise MemoryError(f"checkpoint {where}: no memory to restore it: {text.splitlines()[0][:120]}") from error
        number = int(code[1]) if code else error.errno if isinstance(error, OSError) else None
        if number not in (None, errno.ENOENT):  # the disk's trouble, not the checkpoint's
            raise OSError(number, os.strerror(number), where) from error
        raise ValueError(f"checkpoint {where}: is damaged or incomplete ({(text.splitlines() or [''])[0][:120]}); if the "
                         "disk is well, move that folder away, and the same command goes on from the one before"
                         ) from error


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


def steps_of(workdir: Path) -> list[int]:
    """Steps of a run's whole checkpoints, in order."""
    folder = Path(workdir) / "checkpoints"
    return sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit()) if folder.is_dir() else []


def read_params(workdir: Path, step: int | None = None, metric: str = "", mode: str = "max") -> dict:
    """{"params", "ema", "step"} of a run's checkpoint as numpy: of `step`, else the best by `metric`, else the newest.

    Raises FileNotFoundError where there is none, ValueError where it is damaged.
    """
    import orbax.checkpoint as ocp

    _quiet()
    steps = steps_of(workdir)
    if not steps:
        raise FileNotFoundError(f"{workdir}: holds no finished checkpoint; is it a run's workdir?")
    if step is not None and step not in steps:
        raise FileNotFoundError(f"{workdir}: no checkpoint of step {step}; there are {steps}")
    folder = Path(workdir).resolve() / "checkpoints"
    with ocp.CheckpointManager(folder, options=ocp.CheckpointManagerOptions(read_only=True),
                               item_handlers=ocp.PyTreeCheckpointHandler()) as manager:
        if step is None:
            best = ranked({s: (manager.metrics(s) or {}).get(metric) for s in steps}, mode) if metric else []
            step = best[0] if best else steps[-1]
        saved = _metadata(manager, step, f"{folder}/{step}")
        wanted = {part: jax.tree.map(lambda m: np.zeros(m.shape, m.dtype), saved[part])  # moments and queues stay on the disk
                  for part in ("params", "ema") if part in saved}
        with _damage(f"{folder}/{step}"):
            parts = manager.restore(step, args=ocp.args.PyTreeRestore(
                item=wanted, restore_args=ocp.checkpoint_utils.construct_restore_args(wanted), partial_restore=True))
    return {"params": parts["params"], "ema": parts.get("ema", {}), "step": step}


def renamed(paths: list[str], rename: dict[str, str], where: str = "config.init") -> dict[str, str]:
    """{path: its new name}; rename: {regex at the start of a path: replacement}, one after the other.

    Raises ValueError for a pattern that matches nothing or gives two leaves one name.
    """
    names = {p: p for p in paths}
    for pattern, to in rename.items():
        tree.match(f"(?:{pattern}).*", list(names.values()), f"{where}.rename")
        names = {p: re.sub(f"^(?:{pattern})", to, name) for p, name in names.items()}
        news = list(names.values())
        if len(set(news)) < len(news):
            twice = next(name for name in news if news.count(name) > 1)
            raise ValueError(f"{where}.rename: {pattern!r} gives two leaves the name {twice}; make it longer")
    return names


def fit(wanted: dict, source: dict, only: str = ".*", rename: dict[str, str] | None = None,
        where: str = "config.init") -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
    """Which leaves of another run's params go into this run's (a tree of arrays or shapes).

    only: regex over the paths of `wanted` to take over. rename: {regex at the start of the source's paths:
    replacement}. Returns {path: array} and a report {"loaded", "missing", "unexpected", "left out"} of paths; a missing
    leaf keeps its start, and what `only` leaves out is not unexpected. Raises ValueError if nothing fits, a pattern
    matches nothing, two leaves get one name, or a leaf has another shape.
    """
    flat = dict(zip(tree.paths(source), jax.tree.leaves(source)))
    names = renamed(list(flat), rename or {}, where)
    flat = {names[p]: x for p, x in flat.items()}
    shapes = {p: tuple(x.shape) for p, x in zip(tree.paths(wanted), jax.tree.leaves(wanted))}
    mine = set(tree.match(only, list(shapes), f"{where}.only"))
    for path in sorted(mine & set(flat)):
        if tuple(flat[path].shape) != shapes[path]:
            raise ValueError(f"{where}.path: leaf {path} is {tuple(flat[path].shape)} there and {shapes[path]} here; "
                             f"leave it out with {where}.only, e.g. '(?!{re.escape(path)}).*'")
    loaded = {p: flat[p] for p in sorted(mine & set(flat))}
    report = {"loaded": list(loaded), "missing": sorted(mine - set(flat)),
              "unexpected": sorted(p for p in set(flat) - mine if re.fullmatch(only, p)),
              "left out": sorted(p for p in set(flat) - mine if not re.fullmatch(only, p))}
    if not loaded:
        raise ValueError(f"{where}.path: no leaf fits; missing e.g. {report['missing'][0]}, it holds e.g. "
                         f"{next(iter(flat), 'nothing')}; see {where}.rename")
    return loaded, report


def put(params: dict, loaded: dict[str, np.ndarray]) -> dict:
    """`params` with the arrays of `fit` in their place, with each leaf's dtype and sharding."""
    return tree.map_named(lambda path, leaf: jax.device_put(np.asarray(loaded[path], leaf.dtype), leaf.sharding)
                          if path in loaded else leaf, params)
