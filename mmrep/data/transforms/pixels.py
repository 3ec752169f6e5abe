"""What a picture's numbers mean: jitter, channels, windows, normalization of u8|u16|f32[..., C], the `image` or another `key` (volume)."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mmrep.core.names import located
from mmrep.data.example import Example, Transform
from mmrep.data.transforms.checks import field, limits, names, number, whole


def on(name: str, key: str, change: Callable[[np.ndarray, np.random.Generator], np.ndarray], p: float | None = None,
       several: bool = True, check: Callable[[np.ndarray], Any] = lambda x: None) -> Transform:
    """The transform `name` that changes the array of `key` alone, with probability p, or always and without a draw.

    several: whether an array of several samples is changed at once, by the same draws. check: raises ValueError for an array that cannot
    be changed, whether or not it would be. Raises ValueError for another `p` or `key`, and as `checks.field`.
    """
    names(f"{name}: key", key)
    if p is not None:
        number(f"{name}: p", p, 0, 1)

    def apply(example: Example, rng: np.random.Generator) -> Example:
        with located(name):
            x = field(example, key, several)
            if x is None:
                return example
            check(x)
        return example if p is not None and rng.uniform() >= p else {**example, key: change(x, rng)}

    return apply


def full(image: np.ndarray) -> int:
    """The largest pixel: that of u8 or u16, 1 of floats. Raises ValueError for other dtypes."""
    if image.dtype.kind not in "uf":
        raise ValueError(f"the pixels are {image.dtype}, not u8, u16 or floats; map a window of them by to_uint8 before")
    return 1 if image.dtype.kind == "f" else np.iinfo(image.dtype).max


def as_dtype(values: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Float values back to the dtype of `image`, rounded and clipped where that is an integer."""
    if image.dtype.kind == "f":
        return values.astype(image.dtype, copy=False)
    low, high = (0, 1) if image.dtype.kind == "b" else (np.iinfo(image.dtype).min, np.iinfo(image.dtype).max)
    return np.clip(np.rint(values), low, high).astype(image.dtype)


def shown(image: np.ndarray) -> None:
    """Raise ValueError for pixels that are no u8 or u16, nor floats within [0, 1]."""
    if full(image) == 1 and image.size and not (image.min() >= 0 and image.max() <= 1):
        raise ValueError(f"pixels run from {image.min():.3g} to {image.max():.3g}, not within [0, 1]; put it before normalize")


def by_values(image: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Values as `change` maps those of [0, 1], clipped to [0, 1]; integers are scaled by their dtype's range, and looked up."""
    top = full(image)
    if image.dtype.kind == "f":
        return np.clip(change(image), 0, 1).astype(image.dtype)
    return as_dtype(change(np.arange(top + 1) / top) * top, image)[image]


def intensity(gain: float = 0.2, offset: float = 0.1, gamma: float = 0.2, p: float = 1.0, key: str = "image") -> Transform:
    """Jitter with probability p: x in [0, 1] -> x**exp(U(+-gamma)) * (1 + U(+-gain)) + U(+-offset), clipped to [0, 1].

    gain, offset: 0 to 1; gamma: from 0. Integer pixels are scaled by their dtype's range; several samples are changed alike. Raises
    ValueError on float pixels outside [0, 1].
    """
    for name, value, most in (("gain", gain, 1), ("offset", offset, 1), ("gamma", gamma, math.inf)):
        number(f"intensity: {name}", value, 0, most)

    def change(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        power, factor = math.exp(rng.uniform(-gamma, gamma)), 1 + rng.uniform(-gain, gain)
        shift = rng.uniform(-offset, offset)
        return by_values(image, lambda x: x**power * factor + shift)

    return on("intensity", key, change, p, check=shown)


def color_jitter(brightness: float = 0.4, contrast: float = 0.4, saturation: float = 0.0, p: float = 1.0, key: str = "image") -> Transform:
    """Jitter with probability p, in this order: times U(1 +- brightness); away from the mean gray level by U(1 +- contrast); of three
    channels, away from each pixel's gray by U(1 +- saturation). Clipped to the dtype's range, of floats [0, 1], after each.

    Source: torchvision's ColorJitter (which shuffles the order; its hue does nothing to gray pictures), as ConVIRT (Zhang et al. 2022)
    has it with 0.4 and 0.4. Raises ValueError on float pixels outside [0, 1].
    """
    for name, value in (("brightness", brightness), ("contrast", contrast), ("saturation", saturation)):
        number(f"color_jitter: {name}", value, 0, 1)

    def change(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        bright, much, colorful = (rng.uniform(1 - most, 1 + most) for most in (brightness, contrast, saturation))
        image = by_values(image, lambda x: x * bright)
        mean = float(_gray(means(image)).mean()) / full(image)
        image = by_values(image, lambda x: (x - mean) * much + mean)
        if not saturation or image.shape[-1] != 3:
            return image
        gray = _gray(image)
        return as_dtype(np.clip((image - gray) * np.float32(colorful) + gray, 0, full(image)), image)

    return on("color_jitter", key, change, p, several=False, check=shown)


def means(image: np.ndarray) -> np.ndarray:
    """f64[C]: the mean of each channel of [..., C]."""
    return np.array([image[..., c].mean(dtype=np.float64) for c in range(image.shape[-1])])  # several times faster than along axes


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
    if whole("to_channels: channels", channels) not in (1, 3):
        raise ValueError(f"to_channels: channels {channels} is not 1 or 3")
    return on("to_channels", "image", lambda image, rng: with_channels(image, channels))


def to_uint8(window: Sequence[float] | None = None, percentile: Sequence[float] | None = None, key: str = "image") -> Transform:
    """Pixels to u8: linearly from `window` (low, high; of a CT in HU), or from their own `percentile`s, or from their dtype's range."""
    for name, ends in (("window", window), ("percentile", percentile)):
        if ends is not None:
            low, high = limits(f"to_uint8: {name}", ends, *((0, 100) if name == "percentile" else ()))
            if low == high:
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

    return on("to_uint8", key, change, several=percentile is None)


def normalize(mean: float | Sequence[float] = 0.5, std: float | Sequence[float] = 0.5, key: str = "image") -> Transform:
    """Pixels to f32: integer pixels to [0, 1] by their dtype's range, then (x - mean) / std.

    mean, std: one number, or one a channel; the defaults give [-1, 1]. The encoders take float images as they are, so
    this replaces `config.inputs`, which does the same on the device with a quarter of the bytes sent there. Raises
    ValueError for a std that is not positive or a wrong number of channels.
    """
    for name, values in (("mean", mean), ("std", std)):
        for value in values if isinstance(values, Sequence) and not isinstance(values, str) else (values,):
            number(f"normalize: {name}", value, *((0, math.inf, True) if name == "std" else ()))
    mean, std = np.asarray(mean, np.float32), np.asarray(std, np.float32)

    def change(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        for values in (mean, std):
            if values.ndim and len(values) != image.shape[-1]:
                raise ValueError(f"normalize: {len(values)} values for {image.shape[-1]} channels; give one, or one each")
        return (image.astype(np.float32) * np.float32(1 / full(image)) - mean) / std

    return on("normalize", key, change)


def standardize(percentile: Sequence[float] = (0.5, 99.5), above: float | None = None, mask: str | None = None, key: str = "image"
                ) -> Transform:
    """Pixels to f32 of mean 0 and deviation 1: clipped at the foreground's `percentile`s, then (x - its mean) / its deviation.

    The foreground, of which the three are taken: where the mask `mask/<mask>` is not 0, or what is `above` a number (0: without air of an
    MR), or every pixel; every pixel, too, where none is foreground. A constant foreground gets a deviation of 1e-8. Source: nnU-Net
    (Isensee et al. 2021), which takes those of CT over the foreground of the whole data set; here each picture has its own.
    """
    low, high = limits("standardize: percentile", percentile, 0, 100)
    names("standardize: key", key)
    if above is not None:
        number("standardize: above", above)
    if mask is not None:
        names("standardize: mask", mask)

    def apply(example: Example, rng: np.random.Generator) -> Example:
        image = field(example, key)
        if image is None:
            return example
        image = image.astype(np.float32)
        inside = np.ones(image.shape, bool) if above is None else image > above
        if mask is not None:
            if f"mask/{mask}" not in example:
                raise ValueError(f"standardize: there is no mask/{mask}; name a mask of the {key}")
            marked = example[f"mask/{mask}"]
            if marked.shape[:-1] != image.shape[:-1] or marked.shape[-1] not in (1, image.shape[-1]):
                raise ValueError(f"standardize: mask/{mask} is {list(marked.shape)}, not of the {key}, {list(image.shape)}")
            inside = inside & (marked != 0)
        values = image[inside] if inside.any() else image.ravel()
        ends = np.percentile(values, (low, high)).astype(np.float32)
        values = np.clip(values, *ends)
        return {**example, key: (np.clip(image, *ends) - values.mean()) / max(float(values.std()), 1e-8)}

    return apply
