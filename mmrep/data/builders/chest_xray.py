"""What sets of chest radiographs share: pictures out of DICOM files, boxes, their masks, and the split lists of BenchX."""

import io
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

# Splits of BenchX (Zhou et al. 2024); train_10 and train_1 are its tenth and hundredth of train, whose rows they repeat.
BENCHX = ("train", "train_10", "train_1", "val", "test")
BENCHX_URL = "github.com/yangzhou12/BenchX, preprocess/datasets/"


def radiograph(path: Path, window: tuple[float, float] | None = None) -> tuple[bytes, int, int]:
    """A PNG, one channel of 8 bits, of a DICOM image, its height and its width. window: (low, high) of the stored values that become 0
    and 255; None is the file's own, else from its least to its greatest value. Raises FileNotFoundError, ValueError."""
    from PIL import Image

    from mmrep.data.medical.dicom import read_dicom

    values, _ = read_dicom(path, window=window)
    if values.ndim != 3 or values.shape[-1] != 1:
        raise ValueError(f"builder: {path.name} is no single gray picture but {list(values.shape)}")
    out = io.BytesIO()
    Image.fromarray(values[..., 0]).save(out, "PNG")
    return out.getvalue(), *values.shape[:2]


def boxes(corners: Sequence[Sequence[float]], height: int, width: int, most: int) -> np.ndarray:
    """f32[most, 4]: (left, top, right, bottom) in pixels as top, left, bottom, right fractions of the image, cut at its rim, then zeros.

    The form of `label/boxes` (`transforms.masks`). Raises ValueError for more than `most` boxes, an empty one, or one outside.
    """
    if len(corners) > most:
        raise ValueError(f"builder: {len(corners)} boxes on one image, more than the {most} that the set was made for")
    out = np.zeros((most, 4), np.float32)
    for n, (left, top, right, bottom) in enumerate(corners):
        box = np.clip([top / height, left / width, bottom / height, right / width], 0, 1)
        if not (box[2] > box[0] and box[3] > box[1]):
            raise ValueError(f"builder: box {n + 1} is empty or outside of its image of {height}x{width}")
        out[n] = box
    return out


def box_mask(found: np.ndarray, height: int, width: int) -> np.ndarray:
    """u8[height, width, 1]: 1 within any of the boxes f32[K, 4] of `boxes`, whose rims are rounded down, as BenchX makes its masks."""
    mask = np.zeros((height, width, 1), np.uint8)
    for top, left, bottom, right in found.astype(np.float64):
        # 1e-4 of a pixel: whole pixels that were fractions in f32 are whole again
        rows, columns = (slice(int(low * n + 1e-4), int(high * n + 1e-4)) for low, high, n in ((top, bottom, height), (left, right, width)))
        mask[rows, columns] = 1
    return mask


def mask_feature(f: Any) -> Any:
    """The TFDS feature of a mask u8[H, W, 1] on an image."""
    return f.Tensor(shape=(None, None, 1), dtype=np.uint8, encoding="zlib")


def listed(folder: Path, split: str, known: Container[str], what: str) -> Iterator[str]:
    """The names in benchx/SPLIT.txt, one a line, in its order. known: names of the set; what: the file that gives them.

    Raises FileNotFoundError, ValueError for a line that is none of them, told by its number.
    """
    path = folder / "benchx" / f"{split}.txt"
    if not path.is_file():
        raise FileNotFoundError(f"builder: no file at {path}; put {', '.join(f'{name}.txt' for name in BENCHX)} of {BENCHX_URL} there")
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if line.strip():
            if line.strip() not in known:
                raise ValueError(f"builder: {path} line {number} names an image that {what} does not have; take the set's own lists")
            yield line.strip()
