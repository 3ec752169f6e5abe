"""What SOURCE means on the command line, and its splits opened as they lie on disk.

SOURCE is one of
  FILE.py[:arg]           a config; its stream "main" (or its only one)
  TABLE                   .csv, .tsv, .jsonl, .parquet, or a folder with one metadata.* of these; columns by --columns, else guessed
  EMBEDDINGS              the .parquet or .npz that `mmrep embed` wrote
  FOLDER                  that `mmrep data prepare` wrote
  tfds:NAME               a prepared TFDS dataset
  "{'name': ..., ...}"    what stands under `source` in a config, as a Python literal
and KEY=VALUE pairs (--data) are further arguments of the source: images=images.zip channels=3 splits.val=dev read.signal.rate=250;
columns.KEY=VALUE adds to, or replaces, one of the columns that are named or guessed.
"""

import ast
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmrep import config as cfg
from mmrep.data import streams
from mmrep.data.audit.guess import guess
from mmrep.data.example import MODALITIES
from mmrep.data.records import is_prepared
from mmrep.data.sources import subset
from mmrep.data.tables import find_table

Say = Callable[[str], None]
LISTED = ("image", "volume", "signal", "text", "label", "tabular", "category", "soft", "features")  # named twice: several


def stream_of(source: str, columns: str = "", data: dict[str, str] | None = None, overrides: Sequence[str] = (), say: Say = print
              ) -> dict[str, Any]:
    """The stream {"source": {name, ...}} or {"sources": ...}, with `prepare` where a config has it, that SOURCE means.

    columns: "image=file,text=caption,label.finding=dx" in place of guesses; overrides: KEY=VALUE of a config. What is guessed is told
    by `say`. Raises ValueError or FileNotFoundError.
    """
    more = {key: value if key.startswith("columns.") and value[:1] not in ("[", "{", "(") else _literal(value)  # names of columns are text
            for key, value in (data or {}).items()}
    if source.partition(":")[0].endswith(".py"):
        config = cfg.load(source, overrides)
        cfg.check_keys(config)
        streams.check_streams(config.data)
        if columns or more:
            raise ValueError(f"{source}: of a config, override keys by --config.data.main.source.KEY=VALUE, not by --columns or --data")
        main = "main" if "main" in config.data else sorted(config.data)[0]
        return cfg.plain(config.data[main])
    if overrides:
        raise ValueError(f"--config.{overrides[0]}: {source} is no config; give KEY=VALUE pairs by --data")
    spec = _spec(source)
    of_columns = {key: more.pop(key) for key in list(more) if key.startswith("columns.")}  # go on top of those named or guessed
    _set(spec, more)
    if columns and "columns" in more:
        raise ValueError("--data columns=...: --columns names them, too; give one of the two (--data columns.KEY=VALUE adds to --columns)")
    if columns:
        spec["columns"] = named_columns(columns)
    elif spec["name"] == "manifest" and "columns" not in spec:
        try:
            found, said = guess(find_table(spec["path"]), spec.get("images"), spec.get("files"))
        except ValueError:
            if not any(key.split(".")[1] in MODALITIES for key in of_columns):
                raise
            found, said = {"columns": {}}, "no column"  # what is named is all there is
        spec = found | spec | ({"files": found.get("files", {}) | spec.get("files", {})} if "files" in found else {})
        say(f"{spec['path']}: guessed {said}; name others by --columns")
    _set(spec, of_columns)
    return {"source": spec}


def _set(spec: dict[str, Any], more: dict[str, Any]) -> None:
    """Set `KEY.KEY...` of a source's arguments. Raises ValueError where a key lies below what is no dict."""
    for key, value in more.items():
        *parents, last = key.split(".")
        node = spec
        for depth, parent in enumerate(parents):
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise ValueError(f"--data {key}: {'.'.join(parents[:depth + 1])} is {node!r}, which has no keys; give it whole")
        node[last] = value


def _spec(source: str) -> dict[str, Any]:
    if source.lstrip().startswith("{"):
        spec = _literal(source)
        if not isinstance(spec, dict) or "name" not in spec:
            raise ValueError(f"{source}: no dict {{'name': ..., ...}}, as under `source` in a config")
        return spec
    if source.startswith("tfds:"):
        return {"name": "tfds", "dataset": source[5:]}
    path = Path(source)
    if is_prepared(path):
        return {"name": "records", "path": source}
    if path.is_file() and path.suffix.lower() in (".parquet", ".npz"):
        from mmrep.data.embeddings import is_embeddings

        if is_embeddings(path):
            return {"name": "embeddings", "path": source}
        if path.suffix.lower() == ".npz":
            raise ValueError(f"{source}: an npz that `mmrep embed` did not write; name its arrays in a table, with images={path.name}")
    find_table(path)
    return {"name": "manifest", "path": source}


def _literal(text: str) -> Any:
    """A Python literal, or the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def named_columns(text: str) -> dict[str, Any]:
    """`--columns` as the manifest's: "image=file,text=findings,text=impression,label.dx=diagnosis,label=sex" is {"image": "file", "text":
    ["findings", "impression"], "label": {"dx": "diagnosis", "sex": "sex"}}. Raises ValueError."""
    columns: dict[str, Any] = {}
    for pair in text.split(","):
        key, mark, column = pair.strip().partition("=")
        if not mark or not key or not column:
            raise ValueError(f"--columns {text}: {pair!r} is no KEY=COLUMN, e.g. image=file,text=caption,label.finding=dx,case=patient")
        key, _, name = key.partition(".")
        if key in ("label", "mask"):
            columns.setdefault(key, {})[name or column] = column
        elif name:
            if not isinstance(columns.setdefault(key, {}), dict):
                if key != "features":
                    raise ValueError(f"--columns {text}: names {key} both with and without a name of its own")
                columns[key] = {key: columns[key]}
            columns[key][name] = column
        elif key in columns and key in LISTED:
            columns[key] = [*([columns[key]] if isinstance(columns[key], str) else columns[key]), column]
        elif key in columns:
            raise ValueError(f"--columns {text}: names two columns for {key}")
        else:
            columns[key] = [column] if key in ("tabular", "category") else column
    return columns


def open_splits(stream: dict[str, Any], prepare: bool = False) -> tuple[dict[str, Any], dict[str, str]]:
    """(split -> source, split -> why it cannot be opened): train, val and test as far as they are there, "none" for rows of a table
    that are in none of them, "all" where the source knows no splits.

    Bad rows are left out and counted, cases may have rows in several splits: to be reported, not refused. Without `prepare`, as they
    lie on disk. Raises the source's error where nothing can be opened.
    """
    stream = raw(stream) | ({"prepare": stream.get("prepare") or ()} if prepare else {})
    opened, lost = each_split(stream)
    told = {split: plain(error) for split, error in lost.items()}
    lone = stream.get("source", {}).get("name") == "manifest"
    if opened and not lone:
        return opened, told
    try:
        whole = streams.open_source(stream, "all", "source")
    except (ValueError, OSError) as error:
        if opened:
            return opened, told
        first = error if lone else next(iter(lost.values()))  # a table's own fault, where there might only be no column of splits
        raise type(first)(plain(first)) from None
    if not opened:  # no splits; but where a column of them is named, it is the wrong one, or its values are to be renamed
        return {"all": whole}, told if "split" in stream.get("source", {}).get("columns", {}) else {}
    taken = np.concatenate([source.rows for source in opened.values()])
    left = np.flatnonzero(~np.isin(whole.rows, taken))
    if len(left):
        opened["none"] = subset(whole, left)
        opened["none"].skipped, opened["none"].problems = 0, {}
    return opened, told


def plain(error: Exception) -> str:
    """What it says, without the config's path, which the command line has not."""
    return str(error).removeprefix("source.source: ").removeprefix("source.source.")


def each_split(stream: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Exception]]:
    """(split -> source, split -> the error of one that cannot be opened) of train, val and test."""
    opened: dict[str, Any] = {}
    lost: dict[str, Exception] = {}
    for split in streams.SPLITS:
        try:
            opened[split] = streams.open_source(stream, split, "source")
        except (ValueError, OSError) as error:
            lost[split] = error
    return opened, lost


def raw(stream: dict[str, Any]) -> dict[str, Any]:
    """The stream's source or sources alone, without transforms, cache or fraction, such that no row's fault stops the reading."""
    def lenient(spec: dict[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in spec.items() if k != "on_error"} | ({"shared_cases": True} if spec["name"] == "manifest" else {})

    kept = {"source": lenient(stream["source"])} if "source" in stream else \
        {"sources": {name: lenient(spec) for name, spec in stream["sources"].items()}}
    return kept | {"on_error": "skip"}
