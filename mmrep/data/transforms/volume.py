"""Geometry of a `volume` u8|f32[D, H, W, C]: resize, pad, crops, patches, quarter turns; its masks move along (`masks`).

Values: `pixels` and `filters` with key="volume". Mirrors: `laterality.flip`.
"""

from collections.abc import Sequence

import numpy as np

from mmrep.data.example import Example, Transform
from mmrep.data.transforms.checks import among, field, limits, names, number, sides, switch, whole
from mmrep.data.transforms.masks import masks_of, move
from mmrep.data.transforms.pixels import as_dtype

Size = int | Sequence[int]
BOX = ("depth", "height", "width")
METHODS = ("area", "linear", "nearest")


def _weights(n: int, m: int, method: str) -> np.ndarray:
    """f32[m, n]: what each of n voxels gives to each of m, rows summing to 1."""
    scale = n / m
    center, at = (np.arange(m)[:, None] + 0.5) * scale, np.arange(n)
    if method == "area":  # overlap of the new voxel with the old
        weights = np.clip(np.minimum(center + scale / 2, at + 1) - np.maximum(center - scale / 2, at), 0, None)
    else:
        weights = np.clip(1 - np.abs(center - at - 0.5) / max(scale, 1), 0, None)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def resample_volume(volume: np.ndarray, size: Sequence[int], method: str = "area") -> np.ndarray:
    """[D, H, W, C] to `size`, same dtype: area (mean of what a voxel covers), linear (a triangle, wider when shrinking), or nearest."""
    among("method", method, METHODS)
    if volume.shape[:3] == tuple(size):
        return volume
    if method == "nearest":
        at = (((np.arange(m) + 0.5) * n / m).astype(np.int64) for n, m in zip(volume.shape, size))
        return volume[np.ix_(*at)]
    values = volume.astype(np.float32)
    axes = sorted(range(3), key=lambda axis: size[axis] / volume.shape[axis])  # what shrinks most first: less is left to do
    for axis in axes:
        if volume.shape[axis] != size[axis]:
            values = np.moveaxis(np.tensordot(_weights(volume.shape[axis], size[axis], method), values, (1, axis)), 0, axis)
    return as_dtype(values, volume)


def resize_volume(size: Size, method: str = "area") -> Transform:
    """Resize to (depth, height, width), masks by the nearest voxel. method: as `resample_volume`. To a spacing in mm: the reader's
    `spacing`."""
    box = sides("resize_volume: size", size, BOX)
    among("resize_volume: method", method, METHODS)
    return lambda example, rng: move(example, "volume", lambda x, mask: resample_volume(x, box, "nearest" if mask else method))


def _padded(x: np.ndarray, box: Sequence[int], value: float) -> np.ndarray:
    short = [max(side - n, 0) for side, n in zip(box, x.shape)]
    return np.pad(x, [*((n // 2, n - n // 2) for n in short), (0, 0)], constant_values=value) if any(short) else x


def pad_volume(size: Size, value: float = 0.0) -> Transform:
    """Pad to at least (depth, height, width), evenly on both sides, with `value` (masks with 0)."""
    box = sides("pad_volume: size", size, BOX)
    number("pad_volume: value", value)
    return lambda example, rng: move(example, "volume", lambda x, mask: _padded(x, box, 0 if mask else value))


def crop_volume(size: Size, random: bool = True) -> Transform:
    """Cut (depth, height, width) at a uniformly random place, or in the middle. Raises ValueError where the volume is smaller."""
    box = sides("crop_volume: size", size, BOX)
    switch("crop_volume: random", random)

    def apply(example: Example, rng: np.random.Generator) -> Example:
        if field(example, "volume") is None:
            return example
        room = [n - side for n, side in zip(example["volume"].shape, box)]
        if min(room) < 0:
            raise ValueError(f"crop_volume: the volume is {'x'.join(map(str, example['volume'].shape[:3]))}, the crop "
                             f"{'x'.join(map(str, box))}; pad_volume or resize_volume first")
        return _cut(example, box, [int(rng.integers(most + 1)) if random else most // 2 for most in room])

    return apply


def _cut(example: Example, box: Sequence[int], start: Sequence[int]) -> Example:
    where = tuple(slice(at, at + side) for at, side in zip(start, box))
    return move(example, "volume", lambda x, mask: x[where])


def sample_patch(size: Size, foreground: float = 1 / 3, mask: str = "volume", classes: Sequence[int] | None = None, value: float = 0.0
                 ) -> Transform:
    """Cut a patch (depth, height, width), with probability `foreground` around a voxel of the mask `mask/<mask>`, else anywhere.

    That voxel is drawn from one class among those there, each as likely (of `classes`, default: all but 0), uniformly over its voxels; the
    patch is centered on it as far as the volume reaches. A smaller volume is padded with `value` first. Without the mask, or with none of
    the classes, the place is uniform. Source: nnU-Net (Isensee et al. 2021), where a third of a batch is such.
    """
    box = sides("sample_patch: size", size, BOX)
    number("sample_patch: foreground", foreground, 0, 1)
    names("sample_patch: mask", mask)
    number("sample_patch: value", value)
    if classes is not None:
        if isinstance(classes, str) or not isinstance(classes, Sequence) or not classes:
            raise ValueError(f"sample_patch: classes {classes!r} is no tuple of the mask's numbers")
        if 0 in classes:
            raise ValueError("sample_patch: class 0 is what is no foreground; name others")
        classes = [whole("sample_patch: classes", one) for one in classes]

    def apply(example: Example, rng: np.random.Generator) -> Example:
        if field(example, "volume") is None:
            return example
        example = move(example, "volume", lambda x, is_mask: _padded(x, box, 0 if is_mask else value))
        room = np.array([n - side for n, side in zip(example["volume"].shape, box)])
        labels = example.get(f"mask/{mask}")
        if labels is not None and f"mask/{mask}" not in masks_of(example, "volume"):
            raise ValueError(f"sample_patch: mask/{mask} is not of the volume")
        start = [int(rng.integers(most + 1)) for most in room]
        if rng.uniform() < foreground and labels is not None:
            flat = labels.max(-1).ravel()
            there = np.flatnonzero(np.bincount(flat.astype(np.int64)))
            there = there[there > 0] if classes is None else np.intersect1d(there, classes)
            if len(there):
                found = np.flatnonzero(flat == there[rng.integers(len(there))])
                center = np.unravel_index(found[rng.integers(len(found))], labels.shape[:3])
                start = np.clip(np.array(center) - np.array(box) // 2, 0, room).tolist()
        return _cut(example, box, start)

    return apply


def rotate90(plane: str = "axial", p: float = 0.5) -> Transform:
    """Turn a volume in a plane by 1, 2 or 3 quarters, with probability p; it never mirrors.

    plane: "axial" (height and width), "coronal" (depth and width) or "sagittal" (depth and height), whose two sides must be equal.
    """
    planes: dict[str, tuple[int, int]] = {"axial": (1, 2), "coronal": (0, 2), "sagittal": (0, 1)}
    among("rotate90: plane", plane, planes)
    number("rotate90: p", p, 0, 1)
    axes = planes[plane]

    def apply(example: Example, rng: np.random.Generator) -> Example:
        if field(example, "volume") is None:
            return example
        n, m = (example["volume"].shape[axis] for axis in axes)
        if n != m:
            raise ValueError(f"rotate90: the {plane} plane of the volume is {n}x{m}; make it square by pad_volume or crop_volume")
        if rng.uniform() >= p:
            return example
        quarters = int(rng.integers(1, 4))
        return move(example, "volume", lambda x, mask: np.rot90(x, quarters, axes))

    return apply


def random_crop_volume(size: Size, scale: Sequence[float] = (0.5, 1.0), method: str = "area") -> Transform:
    """Random resized crop: a box of `scale` of the volume, of its proportions, anywhere within, resized to (depth, height, width).

    Sides are rounded to voxels. Source: the 3-D form of Szegedy et al. 2015, as MONAI's RandSpatialCrop and Resize.
    """
    low, high = limits("random_crop_volume: scale", scale, 0, 1, low_open=True)
    sides("random_crop_volume: size", size, BOX)
    among("random_crop_volume: method", method, METHODS)
    resize = resize_volume(size, method)

    def apply(example: Example, rng: np.random.Generator) -> Example:
        if field(example, "volume") is None:
            return example
        side = rng.uniform(low, high) ** (1 / 3)
        shape = example["volume"].shape[:3]
        box = [max(round(n * side), 1) for n in shape]
        return resize(_cut(example, box, [int(rng.integers(n - b + 1)) for n, b in zip(shape, box)]), rng)

    return apply
