"""Bags of tile features that encoders of slides wrote, as HDF5 or npz."""

import io
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.archives import open_zip, read_npz_member
from mmrep.data.medical.files import MAX_BYTES, bounded
from mmrep.data.medical.hdf5 import read_hdf5, shapes


def read_bag(source: str | Path | bytes, features: str = "features", coords: str | None = "coords", max_bytes: int = MAX_BYTES
             ) -> tuple[np.ndarray, dict[str, Any]]:
    """Read a bag: f32[N, D], the features of N tiles of a slide, for the modality `features`.

    HDF5 as CLAM's extract_features_fp.py writes it (`features` [N, D], `coords` [N, 2] as x, y in pixels of level 0), or an npz of the same
    names, or of a single array. A leading axis of 1 is taken off. `coords=None` does not ask for them.
    Metadata: tiles (N), coords (i64[N, 2] as written, or None).
    Raises FileNotFoundError, other OSError; ValueError on damage, no such array, shapes that do not fit, no tiles, NaN or infinite
    values, more than `max_bytes` as f32. Layout: https://github.com/mahmoodlab/CLAM
    """
    name = "the file" if isinstance(source, bytes) else str(source)
    if _begins(source) == b"PK":
        archive, members = open_zip(io.BytesIO(source) if isinstance(source, bytes) else Path(source), name)
        arrays = {member.removesuffix(".npy"): info for member, info in members.items()}
        key = features if features in arrays or len(arrays) != 1 else next(iter(arrays))

        def get(wanted: str) -> np.ndarray:
            return read_npz_member(archive, arrays[wanted], name, max_bytes)
        if any(member.endswith("data.pkl") for member in members):
            raise ValueError(f"bag: {name} is a torch file, a pickle, which is never opened; write its array as HDF5 or npz")
        if key not in arrays:
            raise ValueError(f"bag: {name} has no array {key!r}; there are: {', '.join(sorted(arrays)[:20])}")
        has_coords = coords in arrays
    else:
        def get(wanted: str) -> np.ndarray:
            return read_hdf5(source, wanted, max_bytes=max_bytes)[0]
        key, has_coords = features, coords is not None and coords in shapes(source, max_bytes)
    values = get(key)
    values = values[0] if values.ndim == 3 and len(values) == 1 else values
    if values.ndim != 2 or not values.size or values.dtype.kind not in "iuf":
        raise ValueError(f"bag: {key!r} in {name} is {values.dtype}{list(values.shape)}, not numbers [tiles, features]")
    bounded(values.size * 4, name, max_bytes)
    with np.errstate(over="ignore"):
        values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError(f"bag: {key!r} in {name} has {int((~np.isfinite(values)).sum())} values that are NaN or infinite; write it again")
    where = None
    if has_coords:
        where = get(coords)
        where = where[0] if where.ndim == 3 and len(where) == 1 else where
        if where.ndim != 2 or len(where) != len(values) or where.shape[1] < 2 or where.dtype.kind not in "iu":
            raise ValueError(f"bag: {coords!r} in {name} is {where.dtype}{list(where.shape)}, not whole numbers [{len(values)}, 2]; "
                             "write it again, or pass coords=None")
        where = where[:, :2].astype(np.int64)
    return values, {"tiles": len(values), "coords": where}


def _begins(source: str | Path | bytes) -> bytes:
    """The first two bytes of a file."""
    if isinstance(source, bytes):
        return source[:2]
    if not Path(source).is_file():
        raise FileNotFoundError(f"bag: no file at {source}")
    with Path(source).open("rb") as file:
        return file.read(2)
