"""What a run's folder knows of its data, so that its model can be opened where the data are not."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data import tokenizers


def record(workdir: Path, run: Any, suite: Any) -> None:
    """Write data.json: forms of a row of every stream and of what is evaluated, numbers of rows, class names."""
    from mmrep.run import write_json

    if run.config.tokenizer.name.endswith(".json") and not (workdir / "tokenizer.json").is_file():
        tokenizers.save(run.tokenizer, workdir / "tokenizer.json")
    write_json(workdir / "data.json", {
        "specs": {n: _plain(spec) for n, spec in run.specs.items()}, "eval": _plain(suite.trained_spec),
        "examples": {n: len(s) for n, s in run.sources.items()},
        "label_names": {k: list(map(str, v)) for k, v in suite.trained_names.items()}})


def read(workdir: Path) -> dict | None:
    """What `record` wrote, or None where a run has not."""
    file = workdir / "data.json"
    if not file.is_file():
        return None
    facts = json.loads(file.read_text())
    return facts | {"specs": {n: _spec(spec) for n, spec in facts["specs"].items()}, "eval": _spec(facts["eval"])}


def _plain(spec: dict) -> dict:
    return {k: [None if shape is None else list(shape), None if dtype is None else np.dtype(dtype).name]
            for k, (shape, dtype) in spec.items()}


def _spec(plain: dict) -> dict:
    return {k: (None if shape is None else tuple(shape), None if dtype is None else np.dtype(dtype))
            for k, (shape, dtype) in plain.items()}
