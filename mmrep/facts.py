"""What a run's folder knows of its data, so that its model can be opened where the data are not."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data import tokenizers
from mmrep.data.sources import fingerprint


def record(workdir: Path, run: Any, suite: Any, resumes: bool) -> None:
    """Write data.json: forms of a row of every stream and of what is evaluated, numbers of rows, names of classes and
    categories, digests.

    Raises ValueError where a run that goes on was started with other data, or with another tokenizer.
    """
    from mmrep.core.files import write_json

    now = {"specs": {n: _plain(spec) for n, spec in run.specs.items()}, "eval": {n: _plain(s.spec) for n, s in suite.streams.items()},
           "examples": {n: len(s) for n, s in run.sources.items()}, "measured": run.measured,
           "label_names": {n: {k: list(map(str, v)) for k, v in s.names.items()} for n, s in suite.streams.items()},
           "category_names": {n: {k: list(map(str, v)) for k, v in getattr(s, "category_names", {}).items()}
                              for n, s in run.sources.items()},
           "digests": {n: fingerprint(s) for n, s in run.sources.items()},
           "encoders": {n: s.encoder for n, s in run.sources.items() if getattr(s, "encoder", None)},  # of embeddings: what made them
           "eval_digests": {n: {split: fingerprint(suite.source(split, n)) for split in ("val", "test")}
                            for n in sorted({stream for _, _, stream in suite.entries()})}}
    file, copy = workdir / "data.json", workdir / "tokenizer.json"
    if resumes and file.is_file():
        _check_same(json.loads(file.read_text()), now, workdir)
        if copy.is_file() and tokenizers.load(copy).spec != run.tokenizer.spec:
            raise ValueError(f"config.tokenizer: {run.config.tokenizer.name} is not the tokenizer that the run in {workdir} was "
                             f"started with, which is kept in {copy}; put it back, or use another --workdir")
    if run.config.tokenizer.name.endswith(".json") and not copy.is_file():
        tokenizers.save(run.tokenizer, copy)
    write_json(file, now)


def _check_same(before: dict, now: dict, workdir: Path) -> None:
    """Raise ValueError naming the first stream whose training data are others than at the run's start."""
    for name in now["examples"]:
        for key, what in (("examples", "rows"), ("specs", "forms"), ("digests", "content")):
            old, new = before.get(key, {}).get(name), now[key][name]
            if old is not None and json.loads(json.dumps(old)) != json.loads(json.dumps(new)):
                counts = f" ({old:,} then, {new:,} now)" if key == "examples" else ""
                raise ValueError(f"config.data.{name}: the training data are not those that the run in {workdir} was started with: "
                                 f"other {what}{counts}; put them back, or use another --workdir")


def changed(facts: dict | None, suite: Any) -> list[str]:
    """A line for each split that the suite has opened of the run's own data whose rows are others than when the run started, as far
    as its source can tell."""
    lines = []
    for (name, split), source in suite.opened.items() if facts else ():
        before = facts.get("digests", {}).get(name) if split == "train" else facts.get("eval_digests", {}).get(name, {}).get(split)
        if suite.streams[name].own and before and fingerprint(source) != before:
            lines.append(f"config.data.{name}: the rows of {split} are not those that the run was started with: other content")
    return lines


def read(workdir: Path) -> dict | None:
    """What `record` wrote, or None where a run has not."""
    file = workdir / "data.json"
    if not file.is_file():
        return None
    facts = json.loads(file.read_text())
    return facts | {key: {n: _spec(spec) for n, spec in facts[key].items()} for key in ("specs", "eval")}


def _plain(spec: dict) -> dict:
    return {k: [None if shape is None else list(shape), None if dtype is None else np.dtype(dtype).name]
            for k, (shape, dtype) in spec.items()}


def _spec(plain: dict) -> dict:
    return {k: (None if shape is None else tuple(shape), None if dtype is None else np.dtype(dtype))
            for k, (shape, dtype) in plain.items()}
