"""What a picture's numbers mean: intensity jitter, channels, windows, normalization of `image` u8|u16|f32[H, W, C]."""

import math
from collections.abc import Sequence

import numpy as np

from mmrep.data.example import Example, Transform


def as_dtype(values: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Float values back to the dtype of `image`, rounded and clipped where that is an integer."""
    if image.dtype.kind == "f":
        return values.astype(image.dtype)
    return np.clip(np.rint(values), 0, np.iinfo(image.dtype).max).astype(image.dtype)


def intensity(gain: float = 0.2, offset: float = 0.1, gamma: float = 0.2, p: float = 1.0) -> Transform:
    """Jitter with probability p: x in [0, 1] -> x**exp(U(+-gamma)) * (1 + U(+-gain)) + U(+-offset), clipped to [0, 1].

    Integer pixels are scaled by their dtype's range. Raises ValueError on float pixels outside [0, 1].
    """
    def apply(example: Example, rng: np.random.Generator) -> Example:
        if "image" not in example or rng.uniform() >= p:
            return example
        power, factor = math.exp(rng.uniform(-gamma, gamma)), 1 + rng.uniform(-gain, gain)
        shift, image = rng.uniform(-offset, offset), example["image"]
        if image.dtype.kind == "f":
            if image.min() < 0 or image.max() > 1:
                raise ValueError(f"intensity: pixels run from {image.min():.3g} to {image.max():.3g}, not within "
                                 "[0, 1]; put it before normalize")
            return {**example, "image": np.clip(image ** power * factor + shift, 0, 1).astype(image.dtype)}
        top = np.iinfo(image.dtype).max
        table = as_dtype(((np.arange(top + 1) / top) ** power * factor + shift) * top, image)
        return {**example, "image": table[image]}

    return apply


def with_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """[H, W, C] to [H, W, channels], same dtype: ITU-R 601 luma of RGB, or the gray plane repeated.

    Raises ValueError for any other two numbers.
    """
    if image.shape[-1] == channels:
        return image
    if channels == 3 and image.shape[-1] == 1:
        return np.repeat(image, 3, axis=-1)
    if channels == 1 and image.shape[-1] == 3:
        return as_dtype(image.astype(np.float32) @ np.array([[0.299], [0.587], [0.114]], np.float32), image)
    raise ValueError(f"has {image.shape[-1]} channels, {channels} were asked for")


def to_channels(channels: int) -> Transform:
    """Make the image 1-channel or 3-channel; see `with_channels`."""
    def apply(example: Example, rng: np.random.Generator) -> Example:
        return {**example, "image": with_channels(example["image"], channels)} if "image" in example else example

    return apply


def to_uint8(window: Sequence[float] | None = None, percentile: Sequence[float] | None = None) -> Transform:
    """Image to u8: linearly from `window` (low, high), or from its own `percentile`s, or from its dtype's range."""
    for name, ends in (("window", window), ("percentile", percentile)):
        if ends is not None and (len(ends) != 2 or not ends[0] < ends[1]):
            raise ValueError(f"to_uint8: {name} {ends!r} is no pair (low, high) with low < high")

    def apply(example: Example, rng: np.random.Generator) -> Example:
        if "image" not in example:
            return example
        image = example["image"]
        if window is not None:
            low, high = window
        elif percentile is not None:
            low, high = np.percentile(image, percentile)
        elif image.dtype.kind == "f":
            low, high = 0.0, 1.0
        else:
            low, high = 0.0, float(np.iinfo(image.dtype).max)
        scaled = (image.astype(np.float32) - low) * (255 / max(high - low, 1e-6))
        return {**example, "image": np.clip(np.rint(scaled), 0, 255).astype(np.uint8)}

    return apply


def normalize(mean: float | Sequence[float] = 0.5, std: float | Sequence[float] = 0.5) -> Transform:
    """Image to f32: integer pixels to [0, 1] by their dtype's range, then (x - mean) / std.

    mean, std: one number, or one a channel; the defaults give [-1, 1]. The encoders take float images as they are, so
    this replaces `config.inputs`, which does the same on the device with a quarter of the bytes sent there. Raises
    ValueError for a std that is not positive or a wrong number of channels.
    """
    mean, std = np.asarray(mean, np.float32), np.asarray(std, np.float32)
    if mean.ndim > 1 or std.ndim > 1 or not (std > 0).all() or not np.isfinite(mean).all():
        raise ValueError(f"normalize: mean {mean.tolist()} and std {std.tolist()} must be numbers, std above 0")

    def apply(example: Example, rng: np.random.Generator) -> Example:
        if "image" not in example:
            return example
        image = example["image"]
        for values in (mean, std):
            if values.ndim and len(values) != image.shape[-1]:
                raise ValueError(f"normalize: {len(values)} values for {image.shape[-1]} channels; give one, or one each")
        scale = np.float32(1 / np.iinfo(image.dtype).max) if image.dtype.kind in "ui" else np.float32(1)
        return {**example, "image": (image.astype(np.float32) * scale - mean) / std}

    return apply
