"""`mmrep data prepare`: a source's rows, decoded and prepared once, as sharded array_record files that the source `records` reads.

A shard is a fixed range of rows and written by one process under another name, then renamed: whatever was killed whenever, the same
command goes on where shards are missing, and every byte is that of an undisturbed run with any number of processes.
"""

import fcntl
import hashlib
import importlib.metadata
import importlib.util
import json
import multiprocessing
import os
import sys
from collections.abc import Callable
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.core.files import write_json
from mmrep.data import fast, streams
from mmrep.data.audit.source import each_split, plain, raw
from mmrep.data.reading import presence, read_rows
from mmrep.data.records import FORMAT, encode, shard_name
from mmrep.data.sources import BadRow, fingerprint, rows_of

Say = Callable[[str], None]
VERSIONS = ("mmrep", "numpy", "pillow", "array_record")
READ_BY = {"volume": ("nibabel", "pydicom", "scipy", "imagecodecs", "tifffile"), "signal": ("wfdb", "pydicom", "scipy")}
PLACES = ("path", "images", "data_dir")  # of a source: where it lies, not what it is
ATTRIBUTES = ("tabular_names", "category_names")
BLOCK = 64


def prepare(stream: dict[str, Any], out: str | Path, processes: int | None = None, shard: int = 1024, say: Say = print) -> Path:
    """Write every split that the stream {"source" or "sources", "prepare", "on_error"} has to the folder `out`; go on if stopped.

    processes: default one a core; shard: rows of a shard. Rows that prove bad are left out and counted where `on_error` is "skip", else
    they end the command. Files that changed since are noticed by their sizes (of a zip by checksums); one of the same size is not: delete
    the folder where you have mended such. Raises ValueError where the folder holds rows of another source, transform or version, or
    another process prepares it.
    """
    if shard < 1:
        raise ValueError(f"--shard {shard}: give at least one row")
    folder = Path(out)
    stream = {key: stream[key] for key in ("source", "sources", "prepare", "on_error") if key in stream}
    sources, lost = each_split(stream)
    for split, error in lost.items():
        if not sources or _is_there(stream, split):  # not a split that the source lacks, but one with something wrong
            raise error
        say(f"left out {split}: {plain(error)}")
    for source in sources.values():
        _alike(source)
    plan = {"format": FORMAT, "fingerprint": _fingerprint(stream, sources, shard), "shard": shard,
            "splits": {split: {"rows": len(source), "shards": -(-len(source) // shard)} for split, source in sources.items()}}
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        before = json.loads((folder / "plan.json").read_text()) if (folder / "plan.json").is_file() else None
        if before is None and any(p.name != ".lock" for p in folder.iterdir()):
            raise ValueError(f"--out {folder}: holds something else; use an empty folder, or one that the same command began")
        if before not in (None, plan):
            raise ValueError(f"--out {folder}: holds rows of another source, transform, version or shard size, or of files that have "
                             f"changed (fingerprint {before.get('fingerprint')}, this is {plan['fingerprint']}); use another folder")
        write_json(folder / "plan.json", plan)
        for left in folder.glob("*.part*"):
            left.unlink(missing_ok=True)
        todo = [(split, number) for split, found in plan["splits"].items() for number in range(found["shards"])
                if not (folder / f"{shard_name(split, number, found['shards'])}.array_record").is_file()]
        total = sum(found["shards"] for found in plan["splits"].values())
        say(f"{total - len(todo)} of {total} shards are there" if len(todo) < total else f"{total} shards of {shard} rows to write")
        if todo:
            _all(stream, folder, plan, todo, processes or len(os.sched_getaffinity(0)), sources, say)
        write_json(folder / "index.json", _index(folder, plan, stream, sources))
    counts = json.loads((folder / "index.json").read_text())["splits"]
    rows, bad = (sum(counts[split][key] for split in sources) for key in ("rows", "skipped"))
    left_out = f", {bad:,} bad ones were left out" if bad else ""
    say(f"wrote {rows:,} rows to {folder}{left_out}; read them with {{'name': 'records', 'path': {str(folder)!r}}} and no `prepare`")
    return folder


def _is_there(stream: dict[str, Any], split: str) -> bool:
    """Whether a split can be opened where bad rows and shared cases are passed over."""
    try:
        streams.open_source(raw(stream), split, "source")
    except (ValueError, OSError):
        return False
    return True


def _fingerprint(stream: dict[str, Any], sources: dict[str, Any], shard: int) -> str:
    """Digest of what decides the bytes: the sources' own fingerprints, their files' sizes, their arguments but for places, transforms,
    versions. When files were written says nothing: a copy of them is the same."""
    versions = _versions(stream)
    content = {split: [len(source), fingerprint(source), _sizes(source)] for split, source in sources.items()}
    what = {"format": FORMAT, "stream": _placeless(stream), "content": content, "versions": versions, "shard": shard}
    return hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _alike(source: Any) -> None:
    """Raise ValueError where the sources of a mixture give different labels or ids, by their first rows: what is asked of a prepared row
    without reading it is the same of all."""
    kinds = {}
    for name, part in zip(getattr(source, "names", ()), getattr(source, "components", ())):
        (first,) = read_rows(part, np.arange(1))
        if not isinstance(first, BadRow):
            kinds[name] = {key for key in first if key.startswith("label/") or key == "case"}
    if kinds and (odd := set.union(*kinds.values()) - set.intersection(*kinds.values())):
        raise ValueError(f"prepare: not every source of the mixture gives {', '.join(sorted(odd))}; prepare each by itself, or leave that "
                         "out of the others")


def _sizes(source: Any) -> str:
    """Text that changes where files do that a source's rows name, as far as their sizes tell."""
    if hasattr(source, "components"):
        return "+".join(map(_sizes, source.components))
    return source.sizes() if hasattr(source, "sizes") else ""


def _versions(stream: dict[str, Any]) -> dict[str, str]:
    """Versions of what decides the bytes: of the fast decoders, too, where a source decodes fast and they are there."""
    specs = stream["sources"].values() if "sources" in stream else [stream["source"]]
    found = {name: importlib.metadata.version(name) for name in VERSIONS}
    if any(fast.library(spec.get("decode", "exact")) != "pillow" for spec in specs):
        found |= {module.__name__: module.__version__ for module in fast.packages()}
    for kind in {kind for spec in specs for kind in READ_BY if kind in (spec.get("columns") or ())}:
        found |= {name: importlib.metadata.version(name) for name in READ_BY[kind] if importlib.util.find_spec(name)}
    return found


def _placeless(value: Any) -> Any:
    return {k: _placeless(v) for k, v in value.items() if k not in PLACES} if isinstance(value, dict) else value


def _all(stream: dict, folder: Path, plan: dict, todo: list, processes: int, sources: dict, say: Say) -> None:
    """Write the shards, each process every n-th of them. Raises the first error of any."""
    n = min(processes, len(todo))
    if n <= 1:
        for split, number in todo:
            _shard(sources[split], folder, plan, split, number)
        return
    context = multiprocessing.get_context("spawn")  # readers and JAX hold threads, which a fork would lose
    errors = context.SimpleQueue()
    workers = [context.Process(target=_work, args=(stream, folder, plan, todo[k::n], errors), daemon=True) for k in range(n)]
    for worker in workers:
        worker.start()
    left = list(workers)
    while left and not any(worker.exitcode for worker in workers):
        wait([worker.sentinel for worker in left])
        left = [worker for worker in left if worker.exitcode is None]
    codes = [worker.exitcode for worker in workers if worker.exitcode]
    for worker in left:  # of one that failed: a bad row must not be told hours later
        worker.terminate()
        worker.join()
    if not errors.empty():
        raise ValueError(errors.get())
    if codes:
        raise OSError(f"prepare: a process ended with code {codes[0]} (out of memory?); run the same command again, with fewer "
                      "--processes: it goes on where shards are missing")
    say(f"wrote {len(todo)} shards in {n} processes")


def _work(stream: dict, folder: Path, plan: dict, todo: list, errors: Any) -> None:
    """One process: its shards in turn."""
    sources: dict[str, Any] = {}
    try:
        for split, number in todo:
            if split not in sources:
                sources[split] = streams.open_source(stream, split, "source")
            _shard(sources[split], folder, plan, split, number)
    except (ValueError, OSError) as error:
        errors.put(str(error))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _shard(source: Any, folder: Path, plan: dict, split: str, number: int) -> None:
    """Write one shard and the columns beside it; the records' name comes last and says that both are whole."""
    from array_record.python.array_record_module import ArrayRecordWriter

    parent = multiprocessing.parent_process()
    name = shard_name(split, number, plan["splits"][split]["shards"])
    part = folder / f"{name}.part{os.getpid()}"
    writer = ArrayRecordWriter(str(part), "group_size:1")
    first = number * plan["shard"]
    rows = np.arange(first, min(first + plan["shard"], len(source)))
    facts: list[dict] = []
    for at in range(0, len(rows), BLOCK):
        if parent is not None and not parent.is_alive():
            raise OSError("prepare: was stopped")
        places = rows[at:at + BLOCK]
        for row, example in zip(rows_of(source, places), read_rows(source, places)):
            if isinstance(example, BadRow):
                if not example.skip:
                    raise example
                continue
            writer.write(encode(example))
            facts.append(_columns(source, int(row), example))
    writer.close()
    columns = {key: np.array([one[key] for one in facts]) for key in (facts[0] if facts else {"row": 0})}
    if facts and any(one.keys() != facts[0].keys() for one in facts):
        raise ValueError(f"{split}: rows differ in their labels or ids; a record's columns need the same of every row")
    columns["row"] = columns["row"].astype(np.int64)
    beside = folder / f"{name}.npz.part{os.getpid()}"
    with beside.open("wb") as file:
        np.savez(file, **columns)
    beside.replace(folder / f"{name}.npz")
    part.replace(folder / f"{name}.array_record")


def _columns(source: Any, row: int, example: dict) -> dict[str, Any]:
    """What is asked of a row without reading it."""
    flags = presence({"present": example["present"]}) if "present" in example else {}
    out: dict[str, Any] = {"row": row}
    out |= {f"has/{field}": bool(field in example and np.any(flags.get(field, True))) for field in source.fields}
    return out | {key: example[key] for key in example if key.startswith("label/") or key == "case"}


def _index(folder: Path, plan: dict, stream: dict, sources: dict) -> dict[str, Any]:
    """index.json: what the source `records` needs beside the shards."""
    splits = {}
    for split, found in plan["splits"].items():
        count = 0
        for number in range(found["shards"]):
            with np.load(folder / f"{shard_name(split, number, found['shards'])}.npz", allow_pickle=False) as file:
                count += len(file["row"])
        bad = int(getattr(sources[split], "skipped", 0))
        splits[split] = {"rows": count, "shards": found["shards"], "skipped": bad + found["rows"] - count}
    some = next(iter(sources.values()))
    return {"format": FORMAT, "fingerprint": plan["fingerprint"], "splits": splits, "fields": list(some.fields),
            "label_names": {k: list(map(str, v)) for k, v in getattr(some, "label_names", {}).items()},
            "attributes": {name: getattr(some, name) for name in ATTRIBUTES if hasattr(some, name)},
            "prepare": [_plainly(t) for t in stream.get("prepare") or ()], "versions": _versions(stream),
            "notes": {split: list(getattr(source, "notes", ())) for split, source in sources.items()}}


def _plainly(value: Any) -> Any:
    return {k: _plainly(v) for k, v in value.items()} if isinstance(value, dict) else list(value) if isinstance(value, tuple) else value


class _locked:
    """The folder for this process alone, as long as it lives."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __enter__(self) -> None:
        self.file = (self.folder / ".lock").open("a+")
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"--out {self.folder}: another process prepares it; wait for it, or use another folder") from None
        except OSError:  # a file system without locks
            pass

    def __exit__(self, *_: Any) -> None:
        self.file.close()
