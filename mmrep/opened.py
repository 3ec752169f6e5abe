"""A run opened again: a notebook's way to a trained model, and what evaluation and embedding start from."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from mmrep import config as cfg
from mmrep import facts
from mmrep.core import checkpoint, tree
from mmrep.core.names import nearest
from mmrep.data.records import read_index
from mmrep.data.survey import PICTURES
from mmrep.evals.suite import Suite
from mmrep.run import Run, assemble
from mmrep.shared import Shared


class Opened(NamedTuple):
    """A run opened again: parts, params as they are judged, evaluators, folder, the config it was trained with, the params' step."""

    run: Run
    params: dict
    suite: Suite
    folder: Path
    config: Any
    step: int


def open_run(workdir: str | Path, data: dict[str, Any] | None = None, step: int | None = None, shared: Shared | None = None) -> Opened:
    """A finished or stopped run, on any number of devices. data: overrides of the main stream's source. shared: of `mmrep.shared`.

    No data are opened: its folder knows their forms. Raises FileNotFoundError where the folder is no run's.
    """
    folder = folder_of(workdir)
    file = folder / "config.json"
    if not file.is_file():
        raise FileNotFoundError(f"{folder}: no config.json; is it a run's workdir?")
    known, trained = facts.read(folder), cfg.from_json(file.read_text())
    config = rooted(cfg.from_json(file.read_text()), folder)
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
        changed, main = rooted(cfg.from_json(file.read_text()), folder), "main" if "main" in config.data else sorted(config.data)[0]
        _another_kind(changed.data[main], data)
        for key, value in data.items():
            parts = changed.data[main].get("sources")
            if parts is not None and key.partition(".")[0] not in parts:
                raise ValueError(f"--data {key}={value}: config.data.{main} is a mixture; name the source, e.g. "
                                 f"{next(iter(parts))}.{key}={value}")
            cfg.apply(changed, f"data.{main}.{'source' if parts is None else 'sources'}.{key}={value}")
        other = changed.data[main]
    run = assemble(config, folder, facts=known)
    checkpoint.check_same(_shapes(saved["params"]), _shapes(run.shapes.params), str(folder))
    return Opened(run, place(run, saved["params"], saved["ema"]), Suite(run, other, known, shared), folder, trained, int(saved["step"]))


def _another_kind(stream: Any, data: dict[str, Any]) -> None:
    """Empty each source of the stream where `data` names one of another kind, whose arguments are others. A folder whose rows were prepared
    when it was written takes the place of the run's `prepare`. Raises ValueError where it was prepared otherwise."""
    sources = {"": stream.source} if "source" in stream else {f"{name}.": source for name, source in stream.sources.items()}
    for at, source in sources.items():
        kind, path = data.get(f"{at}name", source.name), data.get(f"{at}path")
        if kind != source.name:
            with source.unlocked():
                for key in [key for key in source if key not in ("name", "weight")]:
                    del source[key]
        if kind != "records" or path is None or not (done := read_index(Path(str(path))).get("prepare")):
            continue
        mine = json.loads(json.dumps(cfg.plain(stream.get("prepare") or ())))
        if done != mine and (mine or kind != source.name):
            raise ValueError(f"--data {at}path={path}: its rows were prepared by {done}, the run's by {mine}; prepare them by its config")
        if at and mine:
            raise ValueError(f"--data {at}path={path}: its rows were prepared already, and the others of the mixture are not; prepare all")
        with stream.unlocked():
            stream.prepare = ()


def started_in(folder: Path) -> Path:
    """The working folder in which the run in `folder` was started first, which relative paths in its config begin at."""
    log = folder / "run.json"
    return Path(json.loads(log.read_text()).get("folder", ".")) if log.is_file() else Path()


def rooted(config: Any, folder: Path) -> Any:
    """The config of the run in `folder`, with the places of its data named from where the run was started, if they are still there."""
    began = started_in(folder)

    def place(value: Any, table: Path | None = None) -> Any:
        """The value, from `began` if it is there; not where it lies beside the table, which comes first (`manifest`)."""
        if isinstance(value, (tuple, list)):
            return type(value)(map(place, value))
        if not isinstance(value, str) or table is not None and _there(table / value):
            return value
        return str(began / value) if _there(began / value) else value

    if began.resolve() == Path.cwd():
        return config
    with config.unlocked():
        for stream in config.data.values():
            for source in [stream.source] if "source" in stream else stream.sources.values():
                table = None
                if source.name == "manifest":
                    path = began / source.path
                    table = path if path.is_dir() else path.parent
                source.update({key: place(source[key]) for key in ("path", "data_dir") if source.get(key)})
                if source.get("images"):
                    source.images = place(source.images, table)
                if source.get("files"):
                    source.files = {key: place(value, table) for key, value in source.files.items()}
    return config


def _there(path: Path) -> bool:
    """Whether there is such a file or folder, or the npz of FILE.npz/NAME."""
    return path.exists() or path.parent.suffix == ".npz" and path.parent.exists()


def folder_of(workdir: str | Path) -> Path:
    """The run's folder itself, or that of its last stage with a checkpoint."""
    workdir = Path(workdir)
    stages = sorted((p for p in workdir.glob("stage*") if checkpoint.steps_of(p)), key=lambda p: int(p.name[5:]))
    return stages[-1] if stages else workdir


def _shapes(tree_: Any) -> dict[str, tuple[int, ...]]:
    return dict(zip(tree.paths(tree_), map(np.shape, jax.tree.leaves(tree_))))


def place(run: Run, params: dict, ema: dict) -> dict:
    """A checkpoint's numpy params onto the run's mesh, as they are judged."""
    params = tree.averaged(params, ema)
    return jax.tree.map(lambda x, s: jax.device_put(np.asarray(x), s), params, run.placed.params)


def load(workdir: str | Path, step: int | None = None) -> tuple[dict[str, Callable], dict, Any]:
    """(model, params, config) of a run, in one line, for notebooks; the data need not be there.

    model: pure functions of params: `encode(params, modality, x) -> Encoded`, with tokens and every intermediate in
    `out`; x: u8 pixels [B, H, W, C] (floats: standardized already), i32 tokens [B, L] or texts, a dict of arrays for an
    encoder of several fields; with a text encoder `texts(params, [str]) -> f32[n, E]` and `tokenize([str])`; with a
    supervised term `score(params, label, x, term="") -> logits f32[B, K]` of its head. They raise ValueError for another
    form than the run's own.
    """
    from mmrep.core.types import View
    from mmrep.evals.features import text_encoder, text_program
    from mmrep.evals.supervised import heads_of, of_term

    run, params, suite, _, config, _ = open_run(workdir, step=step)
    length = config.tokenizer.length

    def tokenize(texts: Any) -> np.ndarray:
        return run.tokenizer.encode(_listed(texts), length)

    def encode(params: dict, modality: str, x: Any) -> Any:
        if modality == "text" and _is_text(x):
            x = tokenize(x)
        given = x if isinstance(x, dict) else {next(iter(run.reads.get(modality, {modality: None}))): x}
        for key, value in given.items():
            if modality in config.encoders and suite.form(key):
                _check_input(key, value, *suite.form(key))
        batch = {k: jax.numpy.asarray(v) for k, v in given.items()}
        return run.encode(params["encoders"], View(modality), batch, None)

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
        program = text_encoder(text_program(run.encode, run.mesh), run.tokenizer, length)
        model["texts"] = lambda params, texts: program(params["encoders"], _listed(texts))
        model["tokenize"] = tokenize
    return model, params, config


def _is_text(x: Any) -> bool:
    return isinstance(x, str) or isinstance(x, (list, tuple)) and all(isinstance(one, str) for one in x)


def _listed(texts: Any) -> list[str]:
    """Texts as a list; a lone one must not be taken for a list of letters. Raises ValueError for what is no text."""
    found = [texts] if isinstance(texts, str) else list(texts)
    for i, text in enumerate(found):
        if not isinstance(text, str):
            raise ValueError(f"texts: entry {i} is {type(text).__name__}, no text")
    if not found:
        raise ValueError("texts: the list is empty")
    return found


def _check_input(modality: str, x: Any, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Raise ValueError for an array that an encoder would take without a word, though it means something else."""
    form, one = np.shape(x), f"{dtype}[B, {', '.join(map(str, shape))}]"
    kind = np.dtype(getattr(x, "dtype", None) or np.asarray(x).dtype)
    if len(form) < len(shape) + 1:
        raise ValueError(f"encode: {modality} of shape {form}; the run reads {one}: add the first axis, e.g. x[None]"
                         + (", or the last, of channels" if modality in PICTURES else ""))
    if modality in PICTURES and form[-1] != shape[-1]:
        raise ValueError(f"encode: {modality} has {form[-1]} channels, the run's {shape[-1]}: it reads {one}")
    if modality not in PICTURES and dtype.kind == "f" and form[-1] != shape[-1]:
        what = "leads" if modality == "signal" else "numbers a row"
        raise ValueError(f"encode: {modality} has {form[-1]} {what}, the run's {shape[-1]}: it reads {one}")
    if modality in PICTURES and form[1:] != shape:
        warnings.warn(f"encode: {modality} of shape {form}; the run was trained on {one}, after config.data.*.prepare, which is not "
                      "applied here: embeddings of another size may mean little", stacklevel=3)
    if dtype.kind == "u" and kind.kind in "iub" and kind != dtype:
        raise ValueError(f"encode: {modality} is {kind}; the run reads {one}: scale it to the range of {dtype} and cast it, or "
                         "give floats, standardized as config.inputs says")
    if isinstance(x, jax.core.Tracer):
        return
    values = np.asarray(x)
    if not values.size:
        raise ValueError(f"encode: {modality} of shape {form} holds nothing")
    if kind.kind == "f" and not np.isfinite(values).all():
        raise ValueError(f"encode: {modality} holds values that are not finite")
    if dtype.kind == "u" and kind.kind == "f" and (values.max() > 50 or 0 <= values.min() <= values.max() <= 1):
        raise ValueError(f"encode: {modality} is {kind} with values from {values.min():.4g} to {values.max():.4g}; floats are taken "
                         f"as standardized already, by config.inputs: give raw pixels as {dtype}")
