"""Geometry of a picture `image` u8|u16|f32[H, W, C], acting alike on every `mask/<name>` of the same height and width."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from mmrep.core.names import within
from mmrep.data.example import Example, Transform
from mmrep.data.transforms.pixels import as_dtype


def resample(image: np.ndarray, height: int, width: int, method: str = "area",
             box: tuple[float, float, float, float] | None = None) -> np.ndarray:
    """Resize [H, W, C] (or the box left, top, right, bottom of it) to [height, width, C] with Pillow, same dtype.

    `method`: area (box filter), bilinear, bicubic or nearest; all but nearest average when shrinking.
    """
    from PIL import Image

    filters = {"area": Image.Resampling.BOX, "bilinear": Image.Resampling.BILINEAR,
               "bicubic": Image.Resampling.BICUBIC, "nearest": Image.Resampling.NEAREST}
    if method not in filters:
        raise ValueError(f"resize: method {method!r} is not one of {', '.join(filters)}")
    return _per_plane(image, lambda plane: plane.resize((width, height), filters[method], box=box))


def _per_plane(image: np.ndarray, change: Callable) -> np.ndarray:
    """Apply a Pillow operation to the whole picture where Pillow has a mode for it, else channel by channel."""
    from PIL import Image

    channels = image.shape[-1]
    if image.dtype == np.uint8 and channels in (1, 3):
        out = np.asarray(change(Image.fromarray(image[..., 0] if channels == 1 else image)))
        return out[..., None] if channels == 1 else out
    planes = [np.asarray(change(Image.fromarray(np.ascontiguousarray(image[..., c], np.float32))))
              for c in range(channels)]
    return as_dtype(np.stack(planes, axis=-1), image)


def _geometry(change: Callable[[np.ndarray, bool], np.ndarray], example: Example) -> Example:
    """Apply `change(array, is_mask)` to the image and to every mask beside it."""
    if "image" not in example:
        return example
    if example["image"].ndim != 3:
        raise ValueError(f"the image has shape {example['image'].shape}, not [H, W, C]; of several samples, put geometry before "
                         "or into `views`")
    masks = {k: change(v, True) for k, v in example.items() if k.startswith("mask/")}
    return {**example, "image": change(example["image"], False), **masks}


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    sides = (size, size) if isinstance(size, int) else size
    if not isinstance(sides, Sequence) or len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise ValueError(f"size: {size!r} is no number of pixels, nor a pair (height, width) of them")
    return sides[0], sides[1]


def resize(size: int | Sequence[int], method: str = "area", fit: str = "stretch") -> Transform:
    """Resize to (height, width). `fit`: stretch, pad (keep the aspect, zeros around), cover (keep it, cut the rest)."""
    height, width = _pair(size)
    if fit not in ("stretch", "pad", "cover"):
        raise ValueError(f"resize: fit {fit!r} is not one of stretch, pad, cover")

    def change(image: np.ndarray, mask: bool) -> np.ndarray:
        h, w = image.shape[:2]
        kind = "nearest" if mask else method
        if (h, w) == (height, width):
            return image
        if fit == "stretch":
            return resample(image, height, width, kind)
        if fit == "cover":
            scale = max(height / h, width / w)
            left, top = max((w - width / scale) / 2, 0.0), max((h - height / scale) / 2, 0.0)  # rounding may fall below 0
            return resample(image, height, width, kind, (left, top, w - left, h - top))
        scale = min(height / h, width / w)
        small = resample(image, max(round(h * scale), 1), max(round(w * scale), 1), kind)
        top, left = (height - small.shape[0]) // 2, (width - small.shape[1]) // 2
        out = np.zeros((height, width, image.shape[-1]), image.dtype)
        out[top:top + small.shape[0], left:left + small.shape[1]] = small
        return out

    return lambda example, rng: _geometry(change, example)


def center_crop(size: int | Sequence[int]) -> Transform:
    """Cut the central (height, width). Raises ValueError where the picture is smaller."""
    height, width = _pair(size)

    def change(image: np.ndarray, mask: bool) -> np.ndarray:
        h, w = image.shape[:2]
        if h < height or w < width:
            raise ValueError(f"center_crop: the image is {h}x{w}, the crop {height}x{width}; resize first")
        top, left = (h - height) // 2, (w - width) // 2
        return image[top:top + height, left:left + width]

    return lambda example, rng: _geometry(change, example)


def random_crop(size: int | Sequence[int], scale: Sequence[float] = (0.5, 1.0), ratio: Sequence[float] = (0.75, 4 / 3),
                method: str = "area") -> Transform:
    """Random resized crop: a box of `scale` of the area and log-uniform aspect `ratio`, resized to `size`.

    Source: Szegedy et al. 2015, as in torchvision; ten draws, then the largest central box of an allowed aspect.
    """
    height, width = _pair(size)
    for name, ends, most in (("scale", scale, 1.0), ("ratio", ratio, math.inf)):
        if isinstance(ends, (int, float)) or len(ends) != 2 or not 0 < ends[0] <= ends[1] <= most:
            raise ValueError(f"random_crop: {name} {ends!r} is no pair (low, high) with 0 < low <= high" + " <= 1" * (most == 1))

    def apply(example: Example, rng: np.random.Generator) -> Example:
        if "image" not in example:
            return example
        h, w = example["image"].shape[:2]
        for _ in range(10):
            area = h * w * rng.uniform(*scale)
            aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
            box_w, box_h = math.sqrt(area * aspect), math.sqrt(area / aspect)
            if box_w <= w and box_h <= h:
                left, top = rng.uniform(0, w - box_w), rng.uniform(0, h - box_h)
                break
        else:
            aspect = min(max(w / h, ratio[0]), ratio[1])
            box_w, box_h = min(w, h * aspect), min(h, w / aspect)
            left, top = (w - box_w) / 2, (h - box_h) / 2
        box = (left, top, left + box_w, top + box_h)
        return _geometry(lambda x, mask: resample(x, height, width, "nearest" if mask else method, box), example)

    return apply


def flip(axis: str = "horizontal", p: float = 0.0) -> Transform:
    """Mirror with probability p. Off by default: a mirrored chest has its heart, and its report's "left", wrong."""
    if axis not in ("vertical", "horizontal"):
        raise ValueError(f"flip: axis {axis!r} is not 'vertical' or 'horizontal'")
    within("flip: p", p, 0, 1)
    number = 0 if axis == "vertical" else 1
    return lambda example, rng: (
        _geometry(lambda x, mask: np.flip(x, number), example) if rng.uniform() < p else example)


def rotate(degrees: float) -> Transform:
    """Rotate about the center by a uniform angle in [-degrees, degrees], bilinear, zeros outside."""
    def apply(example: Example, rng: np.random.Generator) -> Example:
        from PIL import Image

        angle = rng.uniform(-degrees, degrees)
        filters = (Image.Resampling.BILINEAR, Image.Resampling.NEAREST)
        return _geometry(lambda x, mask: _per_plane(x, lambda plane: plane.rotate(angle, filters[mask])), example)

    return apply
