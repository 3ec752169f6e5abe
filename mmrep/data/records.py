"""Source over what `mmrep data prepare` wrote: decoded rows in sharded array_record files, any of them read in well under a millisecond.

A folder holds, for each shard, SPLIT-00003-of-00040.array_record and beside it SPLIT-00003-of-00040.npz with what is asked of rows
without reading them (row, case, has/..., label/...), and index.json, written last. A record is one row in the layout of a safetensors
file (https://huggingface.co/docs/safetensors, "Format"): u64 length of the header, header in JSON {key: {"dtype", "shape",
"data_offsets"}, "__metadata__": {key: text}}, then the arrays' bytes. Texts stand in the metadata as JSON; nothing is ever unpickled.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.example import Example
from mmrep.data.sources import BadRow

FORMAT = "mmrep records 1"
MEND = "delete that shard's .array_record and run the same `mmrep data prepare` again, which writes what is missing"
DTYPES = {"U8": np.uint8, "I8": np.int8, "U16": np.uint16, "I16": np.int16, "U32": np.uint32, "I32": np.int32, "U64": np.uint64,
          "I64": np.int64, "F16": np.float16, "F32": np.float32, "F64": np.float64, "BOOL": np.bool_}
NAMES = {np.dtype(dtype): name for name, dtype in DTYPES.items()}


def encode(example: Example) -> bytes:
    """One row as bytes: arrays and numbers as they are, texts (str or a list of str) beside them, "present" flattened to present/KEY, a
    list of arrays (several samples) to KEY//0, KEY//1, ...

    Raises ValueError for a value of another kind.
    """
    arrays, texts = {}, {}
    for key, value in example.items():
        if key == "present":
            arrays |= {f"present/{k}": np.asarray(flag) for k, flag in value.items()}
        elif isinstance(value, str) or isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value):
            texts[key] = json.dumps(value, ensure_ascii=False)
        elif isinstance(value, (list, tuple)):
            arrays |= {f"{key}//{i}": np.asarray(one) for i, one in enumerate(value)}
        else:
            arrays[key] = np.asarray(value)
    for key, array in arrays.items():
        if array.dtype not in NAMES:
            raise ValueError(f"records: {key!r} is {array.dtype}, which a record cannot hold; give numbers, bools or text")
    header: dict[str, Any] = {"__metadata__": dict(sorted(texts.items()))} if texts else {}
    body, at = [], 0
    for key in sorted(arrays, key=lambda k: (-arrays[k].dtype.itemsize, k)):  # the widest first: every array is aligned
        data = np.ascontiguousarray(arrays[key]).tobytes()
        header[key] = {"dtype": NAMES[arrays[key].dtype], "shape": list(arrays[key].shape), "data_offsets": [at, at + len(data)]}
        body.append(data)
        at += len(data)
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(body)


def decode(data: bytes) -> Example:
    """The row of `encode`; arrays are read-only views of `data`, numbers numpy scalars."""
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    example: Example = {key: json.loads(text) for key, text in header.pop("__metadata__", {}).items()}
    lists: dict[str, dict[int, np.ndarray]] = {}
    for key, form in header.items():
        dtype = DTYPES[form["dtype"]]
        first, last = form["data_offsets"]
        array = np.frombuffer(data, dtype, (last - first) // np.dtype(dtype).itemsize, start + first).reshape(form["shape"])
        if key.startswith("present/"):
            example.setdefault("present", {})[key[8:]] = array[()]
        elif "//" in key:
            name, _, number = key.partition("//")
            lists.setdefault(name, {})[int(number)] = array
        else:
            example[key] = array[()]
    return example | {key: [of[i] for i in range(len(of))] for key, of in lists.items()}


class Records:
    """Source over one split of a prepared folder; `rows` are those of the source it was made from. Build it with `records`."""

    def __init__(self, folder: Path, split: str, index: dict[str, Any]):
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        self.folder, self.split = folder, split
        self._fingerprint = f"{index['fingerprint']}/{split}"
        self.label_names, self.notes = index["label_names"], list(index["notes"].get(split, ()))
        self.fields, self.skipped = tuple(index["fields"]), 0
        for name, value in index["attributes"].items():
            setattr(self, name, value)
        shards = index["splits"][split]["shards"]
        parts = [_columns(folder / f"{shard_name(split, number, shards)}.npz") for number in range(shards)]
        self._ends = np.cumsum([len(part["row"]) for part in parts])
        full = [part for part in parts if len(part["row"])] or parts[:1]  # of a shard whose rows are all bad nothing is known
        columns = {key: np.concatenate([part[key] for part in full]) for key in full[0]}
        self.rows = columns["row"]
        self.has = {key[4:]: mark for key, mark in columns.items() if key.startswith("has/")}
        self.labels = {key[6:]: values for key, values in columns.items() if key.startswith("label/")}
        self.cases = columns.get("case")
        files = [str(folder / f"{shard_name(split, n, shards)}.array_record") for n in range(shards)]
        try:
            self._records = ArrayRecordDataSource(files)
            found = len(self._records)
        except Exception as error:  # one of three kinds, by what is wrong with the file
            raise ValueError(f"records {folder}: a shard of {split} is damaged or missing ({_short(error)}); {MEND}") from None
        if found != len(self.rows):
            raise ValueError(f"records {folder}: the shards of {split} hold {found:,} rows where {len(self.rows):,} were written; {MEND}")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> Example:
        try:
            return decode(self._records[int(row)])
        except Exception as error:  # Riegeli's RuntimeError, what JSON and numpy say of bytes that are no record
            shard = int(np.searchsorted(self._ends, int(row), "right"))
            raise BadRow(f"{self.where(row)}: {shard_name(self.split, shard, len(self._ends))}.array_record is damaged "
                         f"({_short(error)}); {MEND}") from None

    def read(self, rows: np.ndarray) -> list[Example | BadRow]:
        """Examples of many rows, read together; a BadRow is one that cannot be read."""
        try:
            return [decode(data) for data in self._records.__getitems__([int(row) for row in rows])]
        except Exception:  # as above: find out which
            return [self._one(int(row)) for row in rows]

    def _one(self, row: int) -> Example | BadRow:
        try:
            return self[row]
        except BadRow as error:
            return error

    def texts(self, rows: Sequence[int] | np.ndarray | None = None) -> list[Any]:
        """Texts of some rows (all by default), None where absent."""
        found = self.read(np.arange(len(self)) if rows is None else np.asarray(rows))
        return [None if isinstance(one, BadRow) else one.get("text") for one in found]

    def fingerprint(self) -> str:
        """The prepared folder's."""
        return self._fingerprint

    def where(self, row: int) -> str:
        """What an error message calls a row."""
        return f"records {self.folder} {self.split} row {int(row)} (row {int(self.rows[int(row)])} of what it was prepared from, from 0)"

    def __getstate__(self) -> dict:
        return {"folder": self.folder, "split": self.split}

    def __setstate__(self, state: dict) -> None:
        self.__init__(state["folder"], state["split"], read_index(state["folder"]))


def _columns(file: Path) -> dict[str, np.ndarray]:
    """What stands beside a shard's records. Raises ValueError for a file that is damaged or missing."""
    try:
        with np.load(file, allow_pickle=False) as saved:
            columns = {key: saved[key] for key in saved.files}
        if any(len(values) != len(columns["row"]) for values in columns.values()):
            raise ValueError("columns of unequal length")
        return columns
    except Exception as error:  # zip, zlib, npy and numpy's header parser have each their own
        raise ValueError(f"records {file}: damaged or missing ({_short(error)}); {MEND}") from None


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:100] or type(error).__name__


def shard_name(split: str, number: int, shards: int) -> str:
    """File name of a shard without its suffix."""
    return f"{split}-{number:05d}-of-{shards:05d}"


def is_prepared(folder: Path) -> bool:
    """Whether a folder is one that `mmrep data prepare` wrote, or began."""
    return (folder / "index.json").is_file() and _read(folder / "index.json").get("format") == FORMAT or (folder / "plan.json").is_file()


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def read_index(folder: Path) -> dict[str, Any]:
    """index.json of a prepared folder. Raises FileNotFoundError where there is none, ValueError where it is of another format."""
    file = folder / "index.json"
    if not file.is_file():
        raise FileNotFoundError(f"records {folder}: " + ("not finished; run the same `mmrep data prepare` again" if
                                (folder / "plan.json").is_file() else "no index.json; write the folder by `mmrep data prepare`"))
    index = _read(file)
    if index.get("format") != FORMAT or not {"fingerprint", "splits", "fields", "label_names", "attributes", "notes"} <= set(index):
        raise ValueError(f"records {folder}: index.json is not of the format {FORMAT!r}; prepare the folder again")
    return index


def records(path: str | Path, split: str) -> Records:
    """Source over a split of a folder that `mmrep data prepare` wrote: rows as they were decoded and prepared, so leave out the stream's
    `prepare`. Raises FileNotFoundError or ValueError."""
    folder = Path(path)
    index = read_index(folder)
    if split not in index["splits"]:
        raise ValueError(f"records {folder}: no split {split!r}; it has {', '.join(index['splits'])}")
    return Records(folder, split, index)
