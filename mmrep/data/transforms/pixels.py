"""What a picture's numbers mean: jitter, channels, windows, normalization of u8|u16|f32[..., C], the `image` or another `key` (volume)."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from mmrep.core.names import within
from mmrep.data.example import Example, Transform


def limits(name: str, ends: Sequence[float], least: float = -math.inf, most: float = math.inf, low_open: bool = False
           ) -> tuple[float, float]:
    """(low, high) as floats. Raises ValueError for what is no such pair within [least, most]."""
    if isinstance(ends, (int, float, str)) or len(ends) != 2 or not ends[0] <= ends[1]:
        raise ValueError(f"{name} {ends!r} is no pair (low, high)")
    for end in ends:
        within(name, end, least, most, low_open)
    return float(ends[0]), float(ends[1])


def on(key: str, change: Callable[[np.ndarray, np.random.Generator], np.ndarray], p: float | None = None) -> Transform:
    """The transform that changes the array of `key` alone, with probability p, or always and without a draw."""
    def apply(example: Example, rng: np.random.Generator) -> Example:
        if key not in example or p is not None and rng.uniform() >= p:
            return example
        return {**example, key: change(example[key], rng)}

    return apply


def as_dtype(values: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Float values back to the dtype of `image`, rounded and clipped where that is an integer."""
    if image.dtype.kind == "f":
        return values.astype(image.dtype)
    return np.clip(np.rint(values), 0, np.iinfo(image.dtype).max).astype(image.dtype)


def by_values(name: str, image: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Values as `change` maps those of [0, 1], clipped to [0, 1]; integers are scaled by their dtype's range, and looked up.

    Raises ValueError on float pixels outside [0, 1].
    """
    if image.dtype.kind == "f":
        if image.size and (image.min() < 0 or image.max() > 1):
            raise ValueError(f"{name}: pixels run from {image.min():.3g} to {image.max():.3g}, not within [0, 1]; put it before normalize")
        return np.clip(change(image), 0, 1).astype(image.dtype)
    top = np.iinfo(image.dtype).max
    return as_dtype(change(np.arange(top + 1) / top) * top, image)[image]


def intensity(gain: float = 0.2, offset: float = 0.1, gamma: float = 0.2, p: float = 1.0, key: str = "image") -> Transform:
    """Jitter with probability p: x in [0, 1] -> x**exp(U(+-gamma)) * (1 + U(+-gain)) + U(+-offset), clipped to [0, 1].

    Integer pixels are scaled by their dtype's range. Raises ValueError on float pixels outside [0, 1].
    """
    within("intensity: p", p, 0, 1)

    def change(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        power, factor = math.exp(rng.uniform(-gamma, gamma)), 1 + rng.uniform(-gain, gain)
        shift = rng.uniform(-offset, offset)
        return by_values("intensity", image, lambda x: x**power * factor + shift)

    return on(key, change, p)


def color_jitter(brightness: float = 0.4, contrast: float = 0.4, saturation: float = 0.0, p: float = 1.0, key: str = "image") -> Transform:
    """Jitter with probability p, in this order: times U(1 +- brightness); away from the mean gray level by U(1 +- contrast); of three
    channels, away from each pixel's gray by U(1 +- saturation). Clipped to the dtype's range, of floats [0, 1], after each.

    Source: torchvision's ColorJitter (which shuffles the order; its hue does nothing to gray pictures), as ConVIRT (Zhang et al. 2022)
    has it with 0.4 and 0.4. Raises ValueError on float pixels outside [0, 1].
    """
    for name, value in (("brightness", brightness), ("contrast", contrast), ("saturation", saturation)):
        within(f"color_jitter: {name}", value, 0, 1)
    within("color_jitter: p", p, 0, 1)

    def change(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        bright, much, colorful = (rng.uniform(1 - most, 1 + most) for most in (brightness, contrast, saturation))
        image = by_values("color_jitter", image, lambda x: x * bright)
        mean = float(_gray(image).mean()) / (np.iinfo(image.dtype).max if image.dtype.kind in "ui" else 1)
        image = by_values("color_jitter", image, lambda x: (x - mean) * much + mean)
        if not saturation or image.shape[-1] != 3:
            return image
        gray, top = _gray(image), np.iinfo(image.dtype).max if image.dtype.kind in "ui" else 1
        return as_dtype(np.clip((image - gray) * np.float32(colorful) + gray, 0, top), image)

    return on(key, change, p)


def _gray(image: np.ndarray) -> np.ndarray:
    """f32[..., 1]: ITU-R 601 luma of three channels, else their mean."""
    if image.shape[-1] == 3:
        return image.astype(np.float32) @ np.array([[0.299], [0.587], [0.114]], np.float32)
    return image.mean(-1, keepdims=True, dtype=np.float32)


def with_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """[H, W, C] to [H, W, channels], same dtype: ITU-R 601 luma of RGB, or the gray plane repeated.

    Raises ValueError for any other two numbers.
    """
    if image.shape[-1] == channels:
        return image
    if channels == 3 and image.shape[-1] == 1:
        return np.repeat(image, 3, axis=-1)
    if channels == 1 and image.shape[-1] == 3:
        return as_dtype(_gray(image), image)
    raise ValueError(f"has {image.shape[-1]} channels, {channels} were asked for")


def to_channels(channels: int) -> Transform:
    """Make the image 1-channel or 3-channel; see `with_channels`."""
    return on("image", lambda image, rng: with_channels(image, channels))


def to_uint8(window: Sequence[float] | None = None, percentile: Sequence[float] | None = None, key: str = "image") -> Transform:
    """Pixels to u8: linearly from `window` (low, high; of a CT in HU), or from their own `percentile`s, or from their dtype's range."""
    for name, ends in (("window", window), ("percentile", percentile)):
        if ends is not None and (isinstance(ends, (int, float, str)) or len(ends) != 2 or not ends[0] < ends[1]):
            raise ValueError(f"to_uint8: {name} {ends!r} is no pair (low, high) with low < high")

    def change(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if window is not None:
            low, high = window
        elif percentile is not None:
            low, high = np.percentile(image, percentile)
        elif image.dtype.kind == "f":
            low, high = 0.0, 1.0
        else:
            low, high = 0.0, float(np.iinfo(image.dtype).max)
        scaled = (image.astype(np.float32) - low) * (255 / max(high - low, 1e-6))
        return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)

    return on(key, change)


def normalize(mean: float | Sequence[float] = 0.5, std: float | Sequence[float] = 0.5, key: str = "image") -> Transform:
    """Pixels to f32: integer pixels to [0, 1] by their dtype's range, then (x - mean) / std.

    mean, std: one number, or one a channel; the defaults give [-1, 1]. The encoders take float images as they are, so
    this replaces `config.inputs`, which does the same on the device with a quarter of the bytes sent there. Raises
    ValueError for a std that is not positive or a wrong number of channels.
    """
    mean, std = np.asarray(mean, np.float32), np.asarray(std, np.float32)
    if mean.ndim > 1 or std.ndim > 1 or not (std > 0).all() or not np.isfinite(mean).all():
        raise ValueError(f"normalize: mean {mean.tolist()} and std {std.tolist()} must be numbers, std above 0")

    def change(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        for values in (mean, std):
            if values.ndim and len(values) != image.shape[-1]:
                raise ValueError(f"normalize: {len(values)} values for {image.shape[-1]} channels; give one, or one each")
        scale = np.float32(1 / np.iinfo(image.dtype).max) if image.dtype.kind in "ui" else np.float32(1)
        return (image.astype(np.float32) * scale - mean) / std

    return on(key, change)


def standardize(percentile: Sequence[float] = (0.5, 99.5), above: float | None = None, mask: str | None = None, key: str = "image"
                ) -> Transform:
    """Pixels to f32 of mean 0 and deviation 1: clipped at the foreground's `percentile`s, then (x - its mean) / its deviation.

    The foreground, of which the three are taken: where the mask `mask/<mask>` is not 0, or what is `above` a number (0: without air of an
    MR), or every pixel; every pixel, too, where none is foreground. A constant foreground gets a deviation of 1e-8. Source: nnU-Net
    (Isensee et al. 2021), which takes those of CT over the foreground of the whole data set; here each picture has its own.
    """
    low, high = limits("standardize: percentile", percentile, 0, 100)

    def apply(example: Example, rng: np.random.Generator) -> Example:
        if key not in example:
            return example
        image = example[key].astype(np.float32)
        inside = np.ones(image.shape, bool) if above is None else image > above
        if mask is not None:
            if f"mask/{mask}" not in example:
                raise ValueError(f"standardize: there is no mask/{mask}; name a mask of the {key}")
            inside = inside & (example[f"mask/{mask}"] != 0)
        values = image[inside] if inside.any() else image.ravel()
        ends = np.percentile(values, (low, high)).astype(np.float32)
        values = np.clip(values, *ends)
        return {**example, key: (np.clip(image, *ends) - values.mean()) / max(float(values.std()), 1e-8)}

    return apply
