"""What makes two rows the same: digests of arrays and texts, a perceptual hash of pictures, the parts of a file's name."""

import functools
import hashlib
import re
import unicodedata
from typing import Any

import numpy as np

SIDE = 32  # pixels of a thumbnail
FLAT = 2.0  # gray levels of 255: below this standard deviation a thumbnail shows nothing to compare


def digest(value: Any) -> int:
    """u64 that equal values share: of arrays dtype, shape and bytes; of texts (str or list of str) their UTF-8."""
    if isinstance(value, (str, list, tuple)):
        data = "\0".join([value] if isinstance(value, str) else map(str, value)).encode("utf-8", "surrogatepass")
        head = b"text"
    else:
        array = np.ascontiguousarray(value)
        data, head = array, f"{array.dtype.str}{np.shape(value)}".encode()
    return int.from_bytes(hashlib.blake2b(data, digest_size=8, person=hashlib.blake2b(head, digest_size=16).digest()).digest(), "little")


def normalized(text: Any) -> str:
    """A text (or list of them) in lower case, Unicode NFKC, words and numbers only: what punctuation and white space hide."""
    whole = text if isinstance(text, str) else "\n".join(map(str, text))
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", whole).lower()))


def thumbnail(image: np.ndarray) -> np.ndarray:
    """u8[SIDE, SIDE] gray of a picture [H, W, C], smoothed as it shrinks.

    8-bit pictures keep their levels, others are spread over 0..255 by their own range: what is compared ignores both.
    """
    from PIL import Image

    gray = image[..., 0] if image.shape[-1] == 1 else image.mean(-1)
    if image.dtype != np.uint8:
        gray = np.nan_to_num(gray.astype(np.float32))
        low, high = float(gray.min()), float(gray.max())
        gray = (gray - low) * (255.0 / max(high - low, 1e-12))
    # not a box filter, which shifts by parts of a pixel: of pictures stored at half their size it lost up to 97 %
    return np.asarray(Image.fromarray(gray.round().astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC))


@functools.lru_cache(maxsize=1)
def _cosines() -> np.ndarray:
    """The first 8 rows of the orthonormal DCT-II of SIDE points, f64[8, SIDE]."""
    k, n = np.arange(8)[:, None], np.arange(SIDE)[None]
    return np.cos(np.pi * (2 * n + 1) * k / (2 * SIDE)) * np.where(k == 0, np.sqrt(1 / SIDE), np.sqrt(2 / SIDE))


def perceptual(thumb: np.ndarray) -> int:
    """64-bit perceptual hash (pHash) of u8[32, 32]: signs of the 8 x 8 lowest DCT-II coefficients against their median.

    Zauner 2010, Implementation and Benchmarking of Perceptual Image Hash Functions, section 3.2.1. Hashes are compared by the
    number of bits that differ; scale and offset of the gray levels do not change them.
    """
    low = _cosines() @ thumb.astype(np.float64) @ _cosines().T
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big")


def is_flat(thumb: np.ndarray) -> bool:
    """Whether a thumbnail is so even that its hash is noise."""
    return float(thumb.std()) < FLAT


def name_parts(name: str) -> tuple[int, list[int], bool]:
    """(digest of a file's name without folder and suffix; digests of it and of its parts that could be an id; whether there are such).

    A part lies between _, -, space and dot and has five characters or more, three digits among them: "MPX1024_synpic40275.jpg" and
    "synpic40275.jpg" share an id.
    """
    stem = re.split(r"[/\\]", name)[-1]
    stem = re.sub(r"\.(png|jpe?g|tiff?|dcm|nii|npy|gz|bmp|webp)$", "", stem, flags=re.IGNORECASE)
    parts = {part for part in re.split(r"[_\-\s.]+", stem) if len(part) >= 5 and sum(c.isdigit() for c in part) >= 3}
    return digest(stem), sorted(digest(part) for part in parts | {stem}), bool(parts)


def counted(ids: set[str]) -> bool:
    """Whether ids are numbered in order, as many hospitals do (1, 2, ...; P001, P002, ...): all alike but for their digits, and no number
    larger than 20 times how many there are. Equal ones then need not be the same patient."""
    alike = {re.sub(r"\d+", "#", one) for one in ids}
    numbers = [int("".join(re.findall(r"\d+", one)) or 0) for one in ids]
    return len(alike) <= 1 and max(numbers, default=0) <= 20 * len(ids)
