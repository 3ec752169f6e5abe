"""Sizes of a picture `image` u8|u16|f32[H, W, C]: resize, crops. Masks and boxes move along (`masks`); turns and bends: `warp`."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from mmrep.data.example import Example, Transform
from mmrep.data.transforms.checks import among, field, limits, sides
from mmrep.data.transforms.masks import move, stretch, taken
from mmrep.data.transforms.pixels import as_dtype

METHODS = ("area", "bilinear", "bicubic", "nearest")


def resample(image: np.ndarray, height: int, width: int, method: str = "area",
             box: tuple[float, float, float, float] | None = None) -> np.ndarray:
    """Resize [H, W, C] (or the box left, top, right, bottom of it) to [height, width, C] with Pillow, same dtype.

    `method`: area (box filter), bilinear, bicubic or nearest; all but nearest average when shrinking.
    """
    from PIL import Image

    filters = (Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.NEAREST)
    kind = filters[METHODS.index(among("method", method, METHODS))]
    return per_plane(image, lambda plane: plane.resize((width, height), kind, box=box))


def per_plane(image: np.ndarray, change: Callable) -> np.ndarray:
    """Apply a Pillow operation to the whole picture where Pillow has a mode for it, else channel by channel."""
    from PIL import Image

    channels = image.shape[-1]
    if image.dtype == np.uint8 and channels in (1, 3):
        out = np.asarray(change(Image.fromarray(image[..., 0] if channels == 1 else image)))
        return out[..., None] if channels == 1 else out
    planes = [np.asarray(change(Image.fromarray(np.ascontiguousarray(image[..., c], np.float32))))
              for c in range(channels)]
    return as_dtype(np.stack(planes, axis=-1), image)


PLANE = ("height", "width")


def resize(size: int | Sequence[int], method: str = "area", fit: str = "stretch") -> Transform:
    """Resize to (height, width). `fit`: stretch, pad (keep the aspect, zeros around), cover (keep it, cut the rest)."""
    height, width = sides("resize: size", size, PLANE)
    among("resize: method", method, METHODS)
    among("resize: fit", fit, ("stretch", "pad", "cover"))

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

    def boxes(h: int, w: int) -> np.ndarray | None:
        if fit == "stretch":
            return None
        scale = max(height / h, width / w) if fit == "cover" else min(height / h, width / w)
        tall, wide = (h * scale, w * scale) if fit == "cover" else (max(round(h * scale), 1), max(round(w * scale), 1))
        top, left = ((height - tall) / 2, (width - wide) / 2) if fit == "cover" else ((height - tall) // 2, (width - wide) // 2)
        return stretch(tall / height, wide / width, top / height, left / width)

    def apply(example: Example, rng: np.random.Generator) -> Example:
        picture = field(example, "image")
        return example if picture is None else move(example, "image", change, boxes(*picture.shape[:2]))

    return apply


def center_crop(size: int | Sequence[int]) -> Transform:
    """Cut the central (height, width). Raises ValueError where the picture is smaller."""
    return _crop("center_crop", size, lambda most, rng: most // 2)


def crop(size: int | Sequence[int]) -> Transform:
    """Cut (height, width) at a uniformly random place (`random_crop` resizes, too). Raises ValueError where the picture is smaller."""
    return _crop("crop", size, lambda most, rng: int(rng.integers(most + 1)))


def _crop(name: str, size: int | Sequence[int], place: Callable[[int, np.random.Generator], int]) -> Transform:
    height, width = sides(f"{name}: size", size, PLANE)

    def apply(example: Example, rng: np.random.Generator) -> Example:
        if field(example, "image") is None:
            return example
        h, w = example["image"].shape[:2]
        if h < height or w < width:
            raise ValueError(f"{name}: the image is {h}x{w}, the crop {height}x{width}; resize first")
        top, left = place(h - height, rng), place(w - width, rng)
        return move(example, "image", lambda x, mask: x[top:top + height, left:left + width],
                    taken((left, top, left + width, top + height), h, w))

    return apply


def random_crop(size: int | Sequence[int], scale: Sequence[float] = (0.5, 1.0), ratio: Sequence[float] = (0.75, 4 / 3),
                method: str = "area") -> Transform:
    """Random resized crop: a box of `scale` of the area and log-uniform aspect `ratio`, resized to `size`.

    Source: Szegedy et al. 2015, as in torchvision; ten draws, then the largest central box of an allowed aspect.
    """
    height, width = sides("random_crop: size", size, PLANE)
    scale, ratio = limits("random_crop: scale", scale, 0, 1, low_open=True), limits("random_crop: ratio", ratio, 0, low_open=True)
    among("random_crop: method", method, METHODS)

    def apply(example: Example, rng: np.random.Generator) -> Example:
        if field(example, "image") is None:
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
        return move(example, "image", lambda x, mask: resample(x, height, width, "nearest" if mask else method, box), taken(box, h, w))

    return apply
