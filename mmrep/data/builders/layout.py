"""What reading an official layout takes: rows of a table, pictures by name, splits by hash, numbers in the place of ids."""

import csv
import gzip
import hashlib
import io
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmrep.data.archives import MAX_BYTES
from mmrep.data.builders.comments import without_comments
from mmrep.data.images import white_is_zero
from mmrep.data.sources import BadRow
from mmrep.data.stores import open_images

SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}
TRAIN_VAL = {"train": 0.9, "val": 0.1}  # of an official training part, where the test part is official, too
ABSENT = ("", "nan", "NaN", "NA")       # cells that hold no number


def rows(path: Path, columns: Sequence[str]) -> Iterator[dict[str, str]]:
    """Rows of a .csv, .csv.gz or .csv.zip (of one file), a dict of stripped cells each; UTF-8, with or without a byte order mark.

    Raises FileNotFoundError; ValueError where the header lacks one of `columns`, a row has another number of cells than it, or the file
    is damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(f"builder: no file at {path}; put the files where the builder's instructions say")
    csv.field_size_limit(2**31 - 1)  # of the process; reports are longer than the default of 131,072 characters
    number = 0
    try:
        with _text(path) as file:
            lines = csv.reader(file)
            header = [name.strip() for name in next(lines, [])]
            if missing := [name for name in columns if name not in header]:
                raise ValueError(f"builder: {path} has no column {', '.join(missing)}; its header begins {','.join(header)[:200]}")
            for number, cells in enumerate(lines, 1):
                if len(cells) != len(header):
                    raise ValueError(f"builder: {path} row {number} has {len(cells)} cells, its header {len(header)}; download it again")
                yield dict(zip(header, (cell.strip() for cell in cells)))
    except (UnicodeDecodeError, csv.Error, EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile) as error:
        raise ValueError(f"builder: {path} is damaged after row {number} ({type(error).__name__}); download it again") from None


def _text(path: Path) -> io.TextIOWrapper:
    if path.suffix == ".gz":
        return io.TextIOWrapper(gzip.open(path), "utf-8-sig", newline="")
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) != 1 or members[0].file_size > MAX_BYTES:
                raise ValueError(f"builder: {path} must hold one table of at most {MAX_BYTES} bytes")
            return io.TextIOWrapper(io.BytesIO(archive.read(members[0])), "utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def split_by_hash(identity: str, shares: Mapping[str, float] = SHARES) -> str:
    """The split of a patient, lesion or paper: the first 8 bytes of its id's SHA-256, over 2^64, against the cumulated shares."""
    at = int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8], "big") / 2**64
    for name, share in shares.items():
        at -= share
        if at < 0:
            return name
    return list(shares)[-1]


def numbered(ids: Iterable[str]) -> dict[str, int]:
    """id -> number from 0 in order of first appearance: records hold the number, never the id."""
    numbers: dict[str, int] = {}
    for identity in ids:
        numbers.setdefault(identity, len(numbers))
    return numbers


def known(name: str, cell: str) -> dict[str, float]:
    """A number that may be absent, as two columns: `name` (0 where absent) and `name_known` (1 or 0)."""
    return {name: 0.0, f"{name}_known": 0.0} if cell in ABSENT else {name: float(cell), f"{name}_known": 1.0}


def open_first(folder: Path, names: Sequence[str]) -> Any:
    """The first of these folders or archives that is there, opened by `mmrep.data.stores.open_images`; FileNotFoundError."""
    for name in names:
        if (folder / name).exists():
            return open_images(folder / name)
    raise FileNotFoundError(f"builder: {folder} holds none of {', '.join(names)}")


def read(store: Any, name: str) -> bytes:
    """A file of a store. Raises BadRow where it is not there."""
    if name not in store:
        raise BadRow(f"builder: no file {name.rpartition('/')[2]}")
    return store.read(name)


def within(store: Any, name: str, folders: Sequence[str]) -> str:
    """The name by which the store holds a file: in the first of the folders ("" for none) where it is, else in the first."""
    return next((path for folder in folders if (path := folder + name) in store), folders[0] + name)


def picture(data: bytes, name: str, channels: int) -> bytes:
    """An encoded picture of so many channels (1 or 3), upright, its pixels as they came where they fit, else as PNG; 16-bit gray is divided
    by 257. EXIF and comments, which may name a patient, are left out.

    TFDS hands out what is stored, without converting or turning it. Raises BadRow, a ValueError, where Pillow cannot
    read it, and for more pixels than it takes: one picture must not cost hours of the others.
    """
    import numpy as np
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            fits = image.mode == {1: "L", 3: "RGB"}[channels] and image.format in ("JPEG", "PNG")
            if fits and image.getexif().get(0x0112, 1) == 1:  # Orientation
                return without_comments(data)
            inverted = white_is_zero(image)
            image = ImageOps.exif_transpose(image)
            if image.mode.startswith("I"):
                values = np.clip(np.asarray(image, np.int64), 0, 65535)
                image = Image.fromarray(((65535 - values if inverted else values) // 257).astype(np.uint8))
            out = io.BytesIO()
            image = image.convert({1: "L", 3: "RGB"}[channels])
            Image.frombytes(image.mode, image.size, image.tobytes()).save(out, "PNG")  # a copy that knows the pixels alone
    except Exception as error:
        raise BadRow(f"builder: {name} is damaged or no picture ({type(error).__name__})") from None
    return out.getvalue()


def found(folder: Path, pattern: str) -> list[Path]:
    """What in a folder fits a pattern, by name; FileNotFoundError where nothing does."""
    paths = sorted(folder.glob(pattern))
    if not paths:
        raise FileNotFoundError(f"builder: {folder} holds no {pattern}")
    return paths
