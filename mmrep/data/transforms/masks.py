"""What moves with a picture: masks on its pixels (or voxels), and boxes as fractions of the image."""

from collections.abc import Callable

import numpy as np

from mmrep.data.example import MODALITIES, Example
from mmrep.data.transforms.checks import field

BOXES = "label/boxes"  # f32[K, 4]: top, left, bottom, right as fractions of the image, zeros where there is none
PICTURES = ("image", "volume")


def masks_of(example: Example, key: str) -> list[str]:
    """Names of the masks on the pixels of `key` (image or volume): `mask/KEY`, and those named after no modality that have its extent.

    Raises ValueError for a mask that lies on no picture of the example: what moves the picture would leave it behind.
    """
    found = []
    for name in example:
        of = name[5:].partition("/")[0]
        if not name.startswith("mask/") or of in MODALITIES and of != key:
            continue
        extent = example[name].shape[:-1]
        if extent == example[key].shape[:-1]:
            found.append(name)
        elif of == key or not any(other in example and extent == example[other].shape[:-1] for other in PICTURES):
            raise ValueError(f"{name} is {list(example[name].shape)} and the {key} {list(example[key].shape)}; a mask needs the extent of "
                             "its picture, and an axis of channels")
    return found


def move(example: Example, key: str, change: Callable[[np.ndarray, bool], np.ndarray], matrix: np.ndarray | None = None) -> Example:
    """The example with `change(array, is_mask)` of the picture `key` and of its masks, and the image's boxes moved by `matrix`.

    matrix: f[2, 3], fractions (y, x, 1) of the image before to (y, x) after; None where boxes stay. Raises ValueError for several samples.
    """
    picture = field(example, key)
    if picture is None:
        return example
    moved = {name: change(example[name], True) for name in masks_of(example, key)}
    if key == "image" and BOXES in example and matrix is not None:
        moved[BOXES] = moved_boxes(example[BOXES], matrix)
    return {**example, key: change(picture, False), **moved}


def moved_boxes(boxes: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """f32[..., 4] around what each box becomes, cut at the image's rim; zeros for one that is outside, or was all zeros."""
    top, left, bottom, right = np.moveaxis(boxes.astype(np.float64), -1, 0)
    corners = np.stack([(top, left), (top, right), (bottom, left), (bottom, right)])  # [4, 2, ...]
    new = np.clip(np.einsum("ij,kj...->ki...", matrix[:, :2], corners) + matrix[:, 2].reshape(1, 2, *[1] * top.ndim), 0, 1)
    low, high = new.min(0), new.max(0)
    there = (high > low).all(0) & (bottom > top) & (right > left)
    return (np.stack([*low, *high], -1) * there[..., None]).astype(np.float32)


def stretch(height: float, width: float, top: float = 0, left: float = 0) -> np.ndarray:
    """The matrix of `move` that scales by height, width and then shifts by top, left, all as fractions of the new image."""
    return np.array([[height, 0, top], [0, width, left]], np.float64)


def taken(box: tuple[float, float, float, float], h: int, w: int) -> np.ndarray:
    """The matrix of `move` where the box (left, top, right, bottom, in pixels of h x w) becomes the whole image."""
    left, top, right, bottom = box
    return stretch(h / (bottom - top), w / (right - left), -top / (bottom - top), -left / (right - left))
