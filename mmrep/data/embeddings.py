"""Source over the embeddings that `mmrep embed` wrote: vectors of another model as a modality, and which model made them."""

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.archives import open_zip, read_npz_member
from mmrep.data.example import Example
from mmrep.data.tables import identities

KEY = "mmrep_encoder"  # of the file's metadata (parquet), or of an array of one text (npz)


def read_file(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(columns [n, ...], encoder {"config_hash", "checkpoint", "step"}, empty of files that older versions wrote) of one file.

    Raises FileNotFoundError, or ValueError for a file that `mmrep embed` did not write.
    """
    if not path.is_file():
        raise FileNotFoundError(f"embeddings {path}: no such file; write it by `mmrep embed RUN --out {path.name}`")
    try:
        if path.suffix.lower() == ".npz":
            archive, members = open_zip(path, str(path))
            columns = {name.removesuffix(".npy"): read_npz_member(archive, member, str(path)) for name, member in members.items()}
            encoder = json.loads(str(columns.pop(KEY, "{}")))
        else:
            from pyarrow import parquet

            table = parquet.read_table(path)
            encoder = json.loads((table.schema.metadata or {}).get(KEY.encode(), b"{}"))
            columns = {name: _array(table[name]) for name in table.column_names}
    except Exception as error:  # zip, npy, Arrow and JSON have each their own
        raise ValueError(f"embeddings {path}: damaged or not what `mmrep embed` writes ({' '.join(str(error).split())[:120]})") from None
    if not any(name.endswith("/embedding") for name in columns):
        raise ValueError(f"embeddings {path}: has no column MODALITY/embedding; write it by `mmrep embed`")
    return columns, encoder


def _array(column: Any) -> np.ndarray:
    import pyarrow as pa

    if pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type):
        flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return flat.reshape(len(column), -1)
    return column.to_numpy()


def is_embeddings(path: Path) -> bool:
    """Whether a .parquet or .npz file is one that `mmrep embed` wrote, without reading its rows."""
    try:
        if path.suffix.lower() == ".npz":
            with np.load(path, allow_pickle=False) as file:
                return any(name.endswith("/embedding") for name in file.files)
        from pyarrow import parquet

        return any(name.endswith("/embedding") for name in parquet.read_schema(path).names)
    except Exception:  # another kind of file: its own reader will say what is wrong with it
        return False


class Embeddings:
    """Source over one split of embeddings; `encoder` {"config_hash", "checkpoint", "step"} of what made them. See `embeddings`."""

    def __init__(self, columns: dict[str, np.ndarray], fields: dict[str, str], encoder: dict[str, Any], path: str, split: str):
        self.encoder, self.path, self.split, self.skipped = encoder, path, split, 0
        self.rows = columns["row"].astype(np.int64)
        n = len(self.rows)
        self._vectors = {field: np.ascontiguousarray(columns[column], np.float32) for field, column in fields.items()}
        self.fields = tuple(self._vectors)
        self.has = {field: columns.get(f"present/{column.partition('/')[0]}", np.ones(n)).astype(bool) for field, column in fields.items()}
        self.cases, self._case_ids, self._images = columns.get("case"), columns.get("case_ids"), columns.get("image")
        self.labels = {name[6:]: values for name, values in columns.items() if name.startswith("label/") and not name.endswith("/name")}
        self.label_names = {name: _names(values, columns[f"label/{name}/name"]) for name, values in self.labels.items()
                            if f"label/{name}/name" in columns}
        made = " ".join(f"{k} {v}" for k, v in encoder.items()) or "an unknown model (the file does not say)"
        self.notes = [f"embeddings {path}: made by {made}"]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> Example:
        example: Example = {field: vectors[row] for field, vectors in self._vectors.items() if self.has[field][row]}
        example |= {f"label/{name}": values[row] for name, values in self.labels.items()}
        return example if self.cases is None else example | {"case": self.cases[row]}

    def block(self, rows: Sequence[int] | np.ndarray) -> dict[str, Any]:
        """Many rows at once: stacked arrays and `present`."""
        rows = np.asarray(rows)
        block: dict[str, Any] = {field: vectors[rows] for field, vectors in self._vectors.items()}
        block |= {f"label/{name}": values[rows] for name, values in self.labels.items()}
        block |= {} if self.cases is None else {"case": self.cases[rows]}
        return block | {"present": {field: mark[rows] for field, mark in self.has.items()}}

    def fingerprint(self) -> str:
        """A digest of the vectors, and the encoder's."""
        total = zlib.crc32(self.rows.tobytes())
        for vectors in self._vectors.values():
            total = zlib.crc32(vectors, total)
        return f"{total:08x}/{self.encoder.get('checkpoint', '')}"

    def identify(self, rows: np.ndarray) -> dict[str, list]:
        """Rows, cases and pictures as they are called where the vectors come from; see `sources.identify`."""
        cases = [None] * len(rows) if self._case_ids is None else self._case_ids[rows].tolist()
        images = [None] * len(rows) if self._images is None else [str(name) or None for name in self._images[rows].tolist()]
        return {"row": self.rows[rows].tolist(), "case": [None if case in (None, "") else str(case) for case in cases],
                "image": images, "images": [name and (name,) for name in images]}

    def where(self, row: int) -> str:
        """What an error message calls a row."""
        return f"embeddings {self.path} row {int(self.rows[row])} ({self.split})"


def _names(numbers: np.ndarray, names: np.ndarray) -> list[str]:
    known = {int(number): str(name) for number, name in zip(numbers, names) if number >= 0}
    return [known.get(number, str(number)) for number in range(max(known, default=-1) + 1)]


def embeddings(path: str | Path | Sequence[str], split: str, modality: str = "", which: str = "embedding",
               splits: dict[str, str] | None = None) -> Embeddings:
    """Source over the files that `mmrep embed --out` wrote, a split each or all in one: `features` f32[D], labels, cases.

    path: a .parquet or .npz file, or several of one encoder (train.parquet, val.parquet, ...). modality: whose vectors are `features`;
    "" for the only one, or for each its own field MODALITY_features. which: "embedding" (unit norm) or "pooled". splits: renames.
    Raises FileNotFoundError, or ValueError for another kind of file, files of several encoders, a modality or split that is not there,
    or vectors that are not finite.
    """
    paths = [Path(p) for p in ([path] if isinstance(path, (str, Path)) else path)]
    read = [read_file(p) for p in paths]
    where = ", ".join(map(str, paths))
    encoders = {json.dumps(encoder, sort_keys=True) for _, encoder in read}
    if len(encoders) > 1:
        raise ValueError(f"embeddings {where}: made by different encoders ({' and '.join(sorted(encoders))}), whose vectors cannot be "
                         "compared")
    shared = set.intersection(*(set(columns) for columns, _ in read))
    columns = {key: np.concatenate([found[key] for found, _ in read]) for key in sorted(shared)}
    n = len(next(iter(columns.values())))
    columns.setdefault("row", columns.get("index", np.arange(n)))
    if "case" in columns:
        if columns["case"].dtype.kind not in "iu":  # else numbers of a source that has no ids
            columns["case_ids"] = columns["case"]
            columns["case"] = identities([cell if cell not in ("", None) else None for cell in columns["case"].tolist()])
        columns["case"] = columns["case"].astype(np.int32)
    if which not in ("embedding", "pooled"):
        raise ValueError(f"embeddings {where}: which={which!r} is not embedding or pooled")
    found = sorted(key.partition("/")[0] for key in columns if key.endswith(f"/{which}"))
    if modality and modality not in found:
        raise ValueError(f"embeddings {where}: no vectors of {modality!r}; it has {', '.join(found)}")
    chosen = [modality] if modality else found
    fields = {"features" if len(chosen) == 1 else f"{name}_features": f"{name}/{which}" for name in chosen}
    for column in fields.values():
        if bad := np.flatnonzero(~np.isfinite(columns[column]).all(1)).tolist():
            raise ValueError(f"embeddings {where} row {bad[0]}: {column} holds NaN or infinity; embed the rows again")
    wanted = (splits or {}).get(split, split)
    if "split" in columns and split != "all":
        kept = np.asarray(columns["split"]).astype(str) == wanted
        if not kept.any():
            has = ", ".join(sorted(set(map(str, columns["split"]))))
            raise ValueError(f"embeddings {where}: no rows of split {wanted!r}; it has {has}: embed it, too (mmrep embed RUN --split ...), "
                             "and give both files")
        columns = {key: values[kept] for key, values in columns.items()}
    return Embeddings(columns, fields, read[0][1], where, split)
