"""What a run was trained on and by what it is known: rows of other data that must not be tested on, and a digest of its params."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mmrep import config as cfg
from mmrep.core import tree
from mmrep.data import streams
from mmrep.data.audit.overlap import shared_rows
from mmrep.data.audit.scan import scan
from mmrep.data.audit.source import raw
from mmrep.data.sources import subset
from mmrep.opened import rooted
from mmrep.start import source_folder

WAYS = ("exclude", "refuse", "allow")


def without_trained(o: Any, split: str, way: str, say: Callable[[str], None]) -> dict[str, Any]:
    """Leave out of the suite's `split` of other data the rows that the run (`opened.Opened`) was trained on.

    The same is what `audit.overlap` calls so: equal or near-identical pictures, equal volumes, signals or vectors, names of pictures where
    these are ids of one registry, cases where their ids are not counted up; of texts alone, equal texts. Returns {"way", "rows": of the
    split, "trained": rows that were trained on, "kinds": {kind: rows}, "excluded"}, and with "unchecked", why nothing, or not all, could be
    compared: "allow" does not look, and with "exclude" a run may be evaluated where its training data are not. Raises ValueError for an
    unknown way, where `way` is "refuse" and there are such rows, or it cannot be told, and where all rows are such.
    """
    if way not in WAYS:
        raise ValueError(f"--overlap {way}: is not one of {', '.join(WAYS)}")
    source, stream = o.suite.source(split), o.suite.streams[o.suite.stream].data
    if way == "allow":
        return {"way": way, "rows": len(source), "unchecked": "--overlap allow"}
    own, lost = _trained_rows(o)
    why = f"{'the' if not own else 'not all of the'} run's training data cannot be opened ({'; '.join(lost)})"
    if lost and way == "refuse":
        raise ValueError(f"--overlap refuse: {why}; put them back, or pass exclude or allow")
    if not own:
        return {"way": way, "rows": len(source), "unchecked": why}
    say(f"reading {sum(map(len, own.values())):,} training rows, to leave out those that are in --data, too")
    bare = streams.open_source(raw(cfg.plain(stream)), split, f"config.data.{o.suite.stream}")
    theirs = scan({split: bare}, say=say)
    mark, kinds = np.zeros(len(source), bool), {}
    for rows in own.values():
        found, counts = shared_rows(scan({"train": rows}, say=say), theirs)
        mark[_places(source, bare, theirs.place[found])] = True
        kinds = {kind: max(kinds.get(kind, 0), n) for kind, n in (kinds | counts).items()}
    n = int(mark.sum())
    counts = ", ".join(f"{kind} {n:,}" for kind, n in kinds.items() if n)
    if n and way == "refuse":
        raise ValueError(f"--overlap refuse: {n:,} of {len(source):,} rows of {split} were trained on ({counts}); exclude leaves them out, "
                         "allow does not look")
    if n == len(source):
        raise ValueError(f"--data: all {n:,} rows of {split} were trained on ({counts}); --overlap allow evaluates on them nevertheless")
    if n:
        o.suite.opened[o.suite.stream, split] = subset(source, ~mark)
    return {"way": way, "rows": len(source), "trained": n, "kinds": kinds, "excluded": n} | ({"unchecked": why} if lost else {})


def _places(source: Any, bare: Any, places: np.ndarray) -> np.ndarray:
    """Rows of the suite's source that are these of the bare one, which left out its bad rows in the same way or not."""
    if len(source) == len(bare) or not hasattr(source, "rows"):
        return places
    return np.flatnonzero(np.isin(source.rows, bare.rows[places]))


def _trained_rows(o: Any) -> tuple[dict[str, Any], list[str]]:
    """(stream -> source of the rows that the run was trained on, and the runs that its params came from (`config.init.path`); why some
    cannot be opened). Nothing of them is kept: small pictures are pictures of patients, too."""
    out: dict[str, Any] = {}
    opened: set[str] = set()
    runs, lost = _ancestors(o.folder, o.config)
    for folder, config in runs:
        for name, stream in rooted(config.copy_and_resolve_references(), folder).data.items():
            stream = cfg.plain(stream)
            bare = raw(stream) | ({"fraction": stream["fraction"]} if "fraction" in stream else {})
            if (told := repr(bare)) not in opened:
                opened.add(told)
                try:
                    source = streams.open_source(bare, "train", f"config.data.{name}")
                except (ValueError, OSError) as error:
                    lost.append(" ".join(str(error).split()))
                    continue
                out[name if folder == o.folder else f"{folder}:{name}"] = source
    return out, lost


def _ancestors(folder: Path, config: Any) -> tuple[list[tuple[Path, Any]], list[str]]:
    """(a run, and those whose params it started from, (folder, config) each; why one of them cannot be found)."""
    found = [(folder, config)]
    while path := found[-1][1].init.path:
        folder = source_folder(path, found[-1][0])
        if any(folder.resolve() == one.resolve() for one, _ in found):
            break
        file = folder / "config.json"
        if not file.is_file():
            return found, [f"config.init.path of {found[-1][0]}: {path} is no longer there"]
        found.append((folder, cfg.from_json(file.read_text())))
    return found, []


def digest(params: Any) -> str:
    """Sixteen hexadecimal digits of a model's params: paths, shapes and values."""
    total = hashlib.sha256()
    for path, leaf in zip(tree.paths(params), jax.tree.leaves(params)):
        value = np.asarray(jax.device_get(leaf))
        total.update(f"{path} {value.dtype} {value.shape}\n".encode())
        total.update(np.ascontiguousarray(value).tobytes())
    return total.hexdigest()[:16]
