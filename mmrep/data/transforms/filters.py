"""Blur, noise, local contrast and holes: `image` u8|u16|f32[H, W, C], or another `key`. Masks stay as they are."""

import math
from collections.abc import Sequence

import numpy as np

from mmrep.data.example import Transform
from mmrep.data.transforms.checks import limits, number, whole
from mmrep.data.transforms.pixels import as_dtype, full, means, on


def blur(sigma: Sequence[float] = (0.1, 2.0), p: float = 0.5, key: str = "image") -> Transform:
    """Gaussian blur of a deviation uniform in `sigma`, in pixels along every spatial axis, with probability p; the border is repeated.

    Source: SimCLR (Chen et al. 2020, appendix A); ConVIRT (Zhang et al. 2022) has sigma (0.1, 3).
    """
    low, high = limits("blur: sigma", sigma, 0)

    def change(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        from scipy.ndimage import gaussian_filter

        width = rng.uniform(low, high)
        return as_dtype(gaussian_filter(x.astype(np.float32), (*[width] * (x.ndim - 1), 0), mode="nearest"), x)

    return on("blur", key, change, p, several=False)


def noise(std: float = 0.02, p: float = 1.0, key: str = "image") -> Transform:
    """Gaussian noise of a deviation uniform in 0..std, with probability p.

    std: of integers as a share of their dtype's range, of floats (a signal in mV, features) in their own units, which are not clipped.
    """
    number("noise: std", std, 0)

    def change(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return as_dtype(x + np.float32(rng.uniform(0, std) * full(x)) * rng.standard_normal(x.shape, np.float32), x)

    return on("noise", key, change, p, check=full)


def erase(area: Sequence[float] = (0.02, 0.33), ratio: Sequence[float] = (0.3, 3.3), fill: str | float = "mean", p: float = 0.5,
          key: str = "image") -> Transform:
    """Fill a box of `area` of the pixels somewhere within, of log-uniform aspect `ratio`, with probability p; of a volume, of every slice.

    fill: "mean" (of each channel), "noise" (uniform over the dtype's range, of floats 0..1), or a number. Ten draws find a box that fits,
    else nothing is erased. A finding under it stays in masks and labels. Source: random erasing (Zhong et al. 2020, algorithm 1); with
    `ratio` (1, 1) the cutout of DeVries & Taylor 2017.
    """
    low, high = limits("erase: area", area, 0, 1, low_open=True)
    thin, wide = limits("erase: ratio", ratio, 0, low_open=True)
    if fill not in ("mean", "noise"):
        if isinstance(fill, str):
            raise ValueError(f"erase: fill {fill!r} is not 'mean', 'noise' or a number")
        number("erase: fill", fill)

    def change(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        h, w = x.shape[-3:-1]
        for _ in range(10):
            size, aspect = h * w * rng.uniform(low, high), math.exp(rng.uniform(math.log(thin), math.log(wide)))
            tall, broad = max(round(math.sqrt(size * aspect)), 1), max(round(math.sqrt(size / aspect)), 1)
            if tall <= h and broad <= w:
                break
        else:
            return x
        top, left = int(rng.integers(h - tall + 1)), int(rng.integers(w - broad + 1))
        out = x.copy()
        hole = out[..., top:top + tall, left:left + broad, :]
        if fill == "noise":
            hole[:] = as_dtype(rng.random(hole.shape, np.float32) * full(x), x)
        else:
            hole[:] = as_dtype(means(x) if fill == "mean" else np.float64(fill), x)
        return out

    return on("erase", _picture("erase", key), change, p, several=False, check=full)


def _picture(name: str, key: str) -> str:
    if key.partition("/")[0] not in ("image", "volume"):
        raise ValueError(f"{name}: key {key!r} is no image or volume")
    return key


def clahe(clip: float = 4.0, tiles: int = 8, p: float = 1.0) -> Transform:
    """Contrast-limited adaptive histogram equalization of a u8 image, channel by channel, with probability p.

    Each of tiles x tiles parts has its histogram cut at `clip` times its mean, what is cut spread evenly, and equalized; between the tiles'
    centers their maps are blended bilinearly. Sizes that `tiles` does not divide are padded by reflection. Raises ValueError for other
    dtypes. Source: Zuiderveld 1994 (Graphics Gems IV), with OpenCV's rounding; clip 4 and 8 tiles are albumentations' in CXR-CLIP (You
    et al. 2023). A preprocessing for `prepare`, too.
    """
    number("clahe: clip", clip, 0, low_open=True)
    whole("clahe: tiles", tiles)

    def check(image: np.ndarray) -> None:
        if image.dtype != np.uint8:
            raise ValueError(f"the image is {image.dtype}, not uint8; put to_uint8 before it")

    def change(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return np.stack([_equalized(image[..., c], clip, tiles) for c in range(image.shape[-1])], -1)

    return on("clahe", "image", change, p, several=False, check=check)


def _equalized(plane: np.ndarray, clip: float, tiles: int) -> np.ndarray:
    h, w = plane.shape
    more = (tiles - h % tiles, tiles - w % tiles) if h % tiles or w % tiles else (0, 0)
    padded = np.pad(plane, ((0, more[0]), (0, more[1])), "reflect" if min(h, w) > tiles else "edge")
    tall, wide = padded.shape[0] // tiles, padded.shape[1] // tiles
    parts = padded.reshape(tiles, tall, tiles, wide).transpose(0, 2, 1, 3).reshape(tiles * tiles, -1)
    counts = np.stack([np.bincount(part, minlength=256) for part in parts])
    most = max(int(clip * parts.shape[1] / 256), 1)
    excess = np.maximum(counts - most, 0).sum(1)
    counts = np.minimum(counts, most) + (excess // 256)[:, None]
    for tile, left in enumerate(excess % 256):  # what does not divide goes to bins spread over the range
        counts[tile, np.arange(left) * max(256 // max(left, 1), 1)] += 1
    maps = np.clip(np.rint(counts.cumsum(1) * np.float32(255 / parts.shape[1])), 0, 255).astype(np.float32).reshape(tiles, tiles, 256)

    def between(n: int, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        at = np.arange(n, dtype=np.float32) / side - np.float32(0.5)
        low = np.floor(at).astype(np.int64)
        return np.clip(low, 0, tiles - 1), np.clip(low + 1, 0, tiles - 1), at - low

    (y0, y1, fy), (x0, x1, fx) = between(h, tall), between(w, wide)
    top = maps[y0[:, None], x0, plane] * (1 - fx) + maps[y0[:, None], x1, plane] * fx
    low = maps[y1[:, None], x0, plane] * (1 - fx) + maps[y1[:, None], x1, plane] * fx
    return np.clip(np.rint(top * (1 - fy[:, None]) + low * fy[:, None]), 0, 255).astype(np.uint8)
