"""How a run starts: from its seed, or with what `config.init` takes over from another run: params and their tokenizer."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmrep import config as cfg
from mmrep.core import checkpoint, tree
from mmrep.core.types import TrainState
from mmrep.data import tokenizers
from mmrep.opened import folder_of, started_in
from mmrep.run import Run


class Source(NamedTuple):
    """The other run of `config.init`: its params, its config, its folder, and whether text params are taken over."""

    params: dict
    config: Any
    folder: Path
    text: bool


def open_source(config: Any, workdir: Path) -> Source | None:
    """The run that `config.init` names: its best (by its own config) or newest params, as they are judged; None on a resume.

    Raises FileNotFoundError where it is no run, ValueError for a bad pattern.
    """
    c = config.init
    if not c.path or checkpoint.steps_of(workdir):
        return None
    folder = source_folder(c.path, workdir)
    try:
        other = cfg.from_json((folder / "config.json").read_text())
        saved = checkpoint.read_params(folder, metric=other.save.metric, mode=other.save.mode)
        params = tree.averaged(saved["params"], saved["ema"])
    except FileNotFoundError as error:
        raise FileNotFoundError(f"config.init.path: {error.filename or error}: is no finished or stopped run") from None
    names = checkpoint.renamed(tree.paths(params), cfg.plain(c.rename))
    try:
        text = any(name.startswith("encoders/text/") and re.fullmatch(c.only, name) for name in names.values())
    except re.error as error:
        raise ValueError(f"config.init.only: {c.only!r} is no regular expression ({error})") from None
    return Source(params, other, folder, text)


def source_folder(path: str, workdir: Path) -> Path:
    """The folder of the run that `config.init.path` of the run in `workdir` names."""
    number = re.fullmatch(r"stage(\d+)", workdir.name)  # a stage names the one before it beside its own folder, which may be moved
    before = number and path == f"../stage{int(number[1]) - 1}"
    began = started_in(workdir) / path
    return folder_of(workdir / path if before else began if began.exists() else Path(path))


def inherit_tokenizer(source: Source | None, config: Any, workdir: Path) -> None:
    """Text params speak of their own tokens: copy the trained tokenizer that they come with. Before it is opened."""
    theirs, mine = (source.folder if source else workdir) / "tokenizer.json", workdir / "tokenizer.json"
    trains = config.tokenizer.name in tokenizers.TRAINERS
    if source and source.text and trains and theirs.is_file() and not mine.is_file():
        part = mine.with_suffix(".part")
        shutil.copyfile(theirs, part)
        part.replace(mine)


def check_tokenizer(source: Source | None, run: Run) -> None:
    """Raise ValueError where text params are taken over whose tokens are others than this run's."""
    if source is None or not source.text or "text" not in run.config.encoders:
        return
    file = source.folder / "tokenizer.json"
    theirs = tokenizers.load(file if file.is_file() else source.config.tokenizer.name)
    if theirs.spec != run.tokenizer.spec:
        raise ValueError(f"config.tokenizer: is {run.tokenizer.name}, but the text params of config.init.path were trained with "
                         f"the {theirs.name} of {source.folder}, so its numbers would mean other words; use that one, or leave "
                         "them out with config.init.only='(?!encoders/text/).*'")


def fit(source: Source | None, run: Run) -> tuple[dict, dict] | None:
    """`checkpoint.fit` of the other run's params to this one's."""
    c = run.config.init
    return source and checkpoint.fit(run.shapes.params, source.params, c.only, cfg.plain(c.rename))


def start(run: Run, init: Callable, fitted: tuple[dict, dict] | None, say: Callable[[str], None]) -> TrainState:
    """The state of the seed, with another run's params where `config.init` asks for them."""
    state = init(np.int32(run.config.seed), run.hp)
    if fitted is None:
        return state
    loaded, report = fitted
    say(f"config.init.path {run.config.init.path}: " + ", ".join(f"{len(v)} leaves {k}" for k, v in report.items()))
    for kind in ("missing", "unexpected"):
        for path in report[kind][:20]:
            say(f"  {kind}: {path}")
        if len(report[kind]) > 20:
            say(f"  {kind}: and {len(report[kind]) - 20} more")
    params = checkpoint.put(state.params, loaded)
    ema = {n: jax.tree.map(jnp.copy, _like(params, e)) for n, e in state.ema.items()}
    return state._replace(params=params, ema=ema)


def _like(full: dict, partial: dict) -> dict:
    return {k: _like(full[k], v) if isinstance(v, dict) else full[k] for k, v in partial.items()}
