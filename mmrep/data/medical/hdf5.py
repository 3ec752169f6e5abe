"""Arrays in HDF5 files by h5py: whole or some rows, never through a link to another file."""

import io
import itertools
import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.medical.files import MAX_BYTES, Told, bounded, guarded, package, read_bytes

DEFLATE = 1
FILTERS = {DEFLATE, 2, 3, 5, 6, 32000}  # shuffle, checksum, n-bit, scale-offset, LZF: what h5py itself writes
LARGE = 1 << 18  # bytes of a packed chunk; deflate makes at most 1032 of one, so a smaller chunk unpacks to less than 258 MiB


def read_hdf5(source: str | Path | bytes, key: str, rows: slice | Sequence[int] | np.ndarray | None = None, max_bytes: int = MAX_BYTES
              ) -> tuple[np.ndarray, dict[str, Any]]:
    """Read a dataset of numbers of an HDF5 file: an array in the file's own dtype (bool, integers or floats), [rows, ...] where picked.

    `key` is its path in the file ("images", "group/features"); `rows` a slice, or numbers from 0 in any order. Only what is asked for is
    read. Metadata: shape (in the file), dtype, rows (how many were read).
    Raises FileNotFoundError, other OSError; ValueError on damage, no such dataset, text or compound values, rows out of range, more than
    `max_bytes` asked for, a dataset that lies in another file (external or virtual). API: https://docs.h5py.org/en/stable/high/dataset.html
    """
    file, name = _source(source, max_bytes)
    return guarded(lambda: _read(file, name, key, rows, max_bytes), name, "hdf5")


def shapes(source: str | Path | bytes, max_bytes: int = MAX_BYTES) -> dict[str, tuple[int, ...]]:
    """{key: shape} of the datasets of numbers that lie in an HDF5 file; nothing of them is read. Raises as `read_hdf5`."""
    file, name = _source(source, max_bytes)

    def listed() -> dict[str, tuple[int, ...]]:
        found: dict[str, tuple[int, ...]] = {}
        h5py = package("h5py")
        with h5py.File(file, "r") as opened:
            opened.visititems(lambda key, each: found.update({key: each.shape}) if isinstance(each, h5py.Dataset) and each.shape is not None
                              and each.dtype.kind in "biuf" and not each.is_virtual and not each.external else None)
        return found
    return guarded(listed, name, "hdf5")


def _source(source: str | Path | bytes, max_bytes: int) -> tuple[Any, str]:
    """What h5py opens, and what to call it."""
    if isinstance(source, bytes):
        data, name = read_bytes(source, max_bytes)
        return io.BytesIO(data), name
    if not Path(source).is_file():
        raise FileNotFoundError(f"hdf5: no file at {source}")
    return str(source), str(source)


def _read(source: Any, name: str, key: str, rows: Any, max_bytes: int) -> tuple[np.ndarray, dict[str, Any]]:
    with package("h5py").File(source, "r") as file:
        dataset = _dataset(file, name, key)
        shape = dataset.shape
        if rows is None:
            count, picked = (shape[0] if shape else 1), None
        else:
            if not shape:
                raise Told(f"hdf5: {key!r} in {name} is a single number and has no rows")
            count, picked = _rows(rows, shape[0], name, key)
        bounded(count * max(math.prod(shape[1:]), 1) * dataset.dtype.itemsize, f"{key!r} in {name}", max_bytes)
        if dataset.chunks:
            bounded(math.prod(dataset.chunks) * dataset.dtype.itemsize, f"a chunk of {key!r} in {name}", max_bytes)
            _check_chunks(dataset, name, key, picked)
        if picked is None:
            values = dataset[()]
        elif isinstance(picked, slice):
            values = dataset[picked]
        else:  # HDF5 reads ascending rows, each once
            unique, back = np.unique(picked, return_inverse=True)
            values = dataset[unique][back] if len(unique) else np.empty((0, *shape[1:]), dataset.dtype)
        return np.asarray(values), {"shape": list(shape), "dtype": str(dataset.dtype), "rows": count}


def _dataset(file: Any, name: str, key: str) -> Any:
    """The dataset of a path whose every link stays within the file."""
    h5py, group = package("h5py"), file
    for part in [part for part in key.split("/") if part]:
        if not isinstance(group, h5py.Group) or part not in group:
            raise Told(f"hdf5: {name} has no dataset {key!r}; there are: {', '.join(sorted(file)[:20])}")
        if not isinstance(group.get(part, getlink=True), h5py.HardLink):
            raise Told(f"hdf5: {key!r} in {name} is a link; name the dataset it leads to")
        group = group[part]
    if not isinstance(group, h5py.Dataset):
        raise Told(f"hdf5: {key!r} in {name} is a group, no dataset")
    if group.external or group.is_virtual:
        raise Told(f"hdf5: {key!r} in {name} lies in another file; write it into this one")
    if group.shape is None or group.dtype.kind not in "biuf":
        raise Told(f"hdf5: {key!r} in {name} holds no numbers ({group.dtype})")
    return group


def _check_chunks(dataset: Any, name: str, key: str, picked: Any) -> None:
    """Refuse chunks that would unpack to more than a chunk holds, which HDF5 would let them; asked of those that could be large."""
    plan = dataset.id.get_create_plist()
    filters = [plan.get_filter(k)[0] for k in range(plan.get_nfilters())]
    if set(filters) - FILTERS or len(set(filters)) < len(filters):
        raise Told(f"hdf5: {key!r} in {name} is packed by filters {filters}; write it with compression='gzip'")
    size, high = math.prod(dataset.chunks) * dataset.dtype.itemsize, dataset.chunks[0]
    numbers = np.arange(picked.start, picked.stop, picked.step or 1) if isinstance(picked, slice) else picked
    large: list[tuple] = []

    def ask(chunk: Any) -> None:
        if chunk.size > size + size // 64 + 4096:
            raise Told(f"hdf5: a chunk of {key!r} in {name} has {chunk.size} bytes for {size} of numbers; copy or write it again")
        if chunk.size > LARGE and DEFLATE in filters:
            large.append(chunk.chunk_offset)

    if numbers is None:
        dataset.id.chunk_iter(ask)
    else:
        rest = [range(0, n, each) for n, each in zip(dataset.shape[1:], dataset.chunks[1:])]
        for offset in itertools.product(np.unique(numbers // high * high).tolist(), *rest):
            ask(dataset.id.get_chunk_info_by_coord(offset))
    for offset in large:
        packed = dataset.id.read_direct_chunk(offset)[1]
        if len(zlib.decompressobj().decompress(packed, size + 5)) > size + 4:  # 4 of a checksum
            raise Told(f"hdf5: a chunk of {key!r} in {name} unpacks to more than the {size} bytes of a chunk; write it again")


def _rows(rows: Any, length: int, name: str, key: str) -> tuple[int, slice | np.ndarray]:
    """How many rows, and the rows as a slice that ascends or numbers i64[n]."""
    if isinstance(rows, slice):
        picked: Any = range(*rows.indices(length))
        if rows.step is None or rows.step > 0:
            return len(picked), slice(picked.start, max(picked.stop, picked.start), picked.step)
    else:
        picked = rows
    numbers = np.asarray(picked)
    if numbers.ndim != 1 or (numbers.size and (numbers.dtype.kind not in "iu" or numbers.min() < 0 or numbers.max() >= length)):
        raise Told(f"hdf5: rows of {key!r} in {name} are numbers from 0 to {length - 1}")
    return len(numbers), numbers.astype(np.int64)
