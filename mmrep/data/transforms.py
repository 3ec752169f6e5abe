"""Transforms of one example in numpy: geometry, intensity, text, tokens, views.

A transform is `(example, np.random.Generator) -> example`; a factory here takes keyword arguments and returns one.
Every transform leaves an example without its modality alone, returns a new dict and never writes into an array.
Geometry acts alike on `image` u8|u16|f32[H, W, C] and on every `mask/<name>` of the same height and width.
"""

import math
import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np

from mmrep.core.names import within

Example = dict[str, Any]
Transform = Callable[[Example, np.random.Generator], Example]


def philox(seed: int, tag: int, a: int = 0, b: int = 0) -> np.random.Generator:
    """Generator that is a pure function of (seed, tag, a, b); distinct arguments never share a stream.

    Philox is keyed by (seed, tag) and its 256-bit counter starts at (0, 0, a, b): 2**128 draws before two could meet.
    """
    mask = 2**64 - 1
    key = np.array([seed & mask, tag & mask], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=np.array([0, 0, a & mask, b & mask], np.uint64)))


# ---- geometry

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
    return _like(np.stack(planes, axis=-1), image)


def _like(values: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Float values back to the dtype of `image`, rounded and clipped where that is an integer."""
    if image.dtype.kind == "f":
        return values.astype(image.dtype)
    return np.clip(np.rint(values), 0, np.iinfo(image.dtype).max).astype(image.dtype)


def _geometry(change: Callable[[np.ndarray, bool], np.ndarray], example: Example) -> Example:
    """Apply `change(array, is_mask)` to the image and to every mask beside it."""
    if "image" not in example:
        return example
    masks = {k: change(v, True) for k, v in example.items() if k.startswith("mask/")}
    return {**example, "image": change(example["image"], False), **masks}


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
    within("size", min(height, width), 1)
    return height, width


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
            left, top = (w - width / scale) / 2, (h - height / scale) / 2
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


# ---- intensity

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
        table = _like(((np.arange(top + 1) / top) ** power * factor + shift) * top, image)
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
        return _like(image.astype(np.float32) @ np.array([[0.299], [0.587], [0.114]], np.float32), image)
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


# ---- text

def _text(change: Callable[[str], str], example: Example) -> Example:
    if "text" not in example:
        return example
    text = example["text"]
    return {**example, "text": change(text) if isinstance(text, str) else [change(sample) for sample in text]}


def lowercase() -> Transform:
    """Text in lower case."""
    return lambda example, rng: _text(str.lower, example)


def remove_words(words: Sequence[str]) -> Transform:
    """Remove whole words (or phrases), whatever their case, e.g. the label's own name, and close the gap."""
    if isinstance(words, str) or not words:
        raise ValueError(f"remove_words: give a list of words, got {words!r}")
    longest_first = sorted(words, key=len, reverse=True)
    pattern = re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, longest_first)) + r")(?!\w)", re.IGNORECASE)
    return lambda example, rng: _text(lambda text: re.sub(r"\s{2,}", " ", pattern.sub("", text)).strip(), example)


def sample_sentences(count: int = 1) -> Transform:
    """Keep `count` >= 1 random sentences of the text, in their order."""
    within("sample_sentences: count", count, 1)
    def apply(example: Example, rng: np.random.Generator) -> Example:
        def change(text: str) -> str:
            sentences = [s for s in re.split(r"(?<=[.!?])\s+|\n+", text) if s.strip()]
            if len(sentences) <= count:
                return text
            return " ".join(sentences[i] for i in sorted(rng.choice(len(sentences), count, replace=False)))

        return _text(change, example)

    return apply


def tokenize(tokenizer: Any = "byte", length: int = 64) -> Transform:
    """Text to i32[length] (a list of S texts to i32[S, length]); `tokenizer` is a Tokenizer, "byte" or a saved file.

    The transform's `block` does the same to a whole block of rows, whose `text` is a list.
    """
    from mmrep.data import tokenizers

    tokenizer = tokenizers.load(tokenizer) if isinstance(tokenizer, str) else tokenizer

    def apply(example: Example, rng: np.random.Generator) -> Example:
        if "text" not in example:
            return example
        text = example["text"]
        tokens = tokenizer.encode([text] if isinstance(text, str) else list(text), length)
        return {**example, "text": tokens[0] if isinstance(text, str) else tokens}

    def block(rows: dict[str, Any]) -> dict[str, Any]:
        if "text" not in rows:
            return rows
        one = all(isinstance(text, str) for text in rows["text"])
        encode = tokenizer.encode if one else lambda texts, n: np.stack([tokenizer.encode(t, n) for t in texts])
        return {**rows, "text": encode(rows["text"], length)}

    apply.block = block
    return apply


# ---- composition

def views(count: int, transforms: Any, key: str = "image", to: str | None = None) -> Transform:
    """`count` independently augmented samples of `key` on a new first axis, under `to` (default: the same key).

    transforms: as in a config, {name, **kwargs} each, or what else `compose` takes. Raises ValueError for a count below 1.
    """
    if count < 1:
        raise ValueError(f"views: count {count} is below 1")
    inner = compose(transforms)

    def apply(example: Example, rng: np.random.Generator) -> Example:
        if key not in example:
            return example
        one = {key: example[key]}
        return {**example, to or key: np.stack([inner(one, rng)[key] for _ in range(count)])}

    return apply


TRANSFORMS: dict[str, Callable[..., Transform]] = {
    "resize": resize, "center_crop": center_crop, "random_crop": random_crop, "flip": flip, "rotate": rotate,
    "intensity": intensity, "to_channels": to_channels, "to_uint8": to_uint8, "normalize": normalize,
    "lowercase": lowercase, "remove_words": remove_words, "sample_sentences": sample_sentences, "tokenize": tokenize, "views": views,
}


def compose(transforms: Any) -> Transform:
    """One transform of several: a sequence of transforms, names, {name, **kwargs} or (name, kwargs), or name -> kwargs.

    Raises ValueError naming an unknown name (and the nearest one) or the transform that got a wrong keyword.
    """
    if transforms is None:
        return lambda example, rng: example
    if callable(transforms):
        return transforms
    if hasattr(transforms, "items"):
        transforms = [transforms] if isinstance(transforms.get("name"), str) else list(transforms.items())
    elif isinstance(transforms, str):
        transforms = [transforms]
    built = [entry if callable(entry) else _build(entry) for entry in transforms]

    def apply(example: Example, rng: np.random.Generator) -> Example:
        for transform in built:
            example = transform(example, rng)
        return example

    return apply


def _build(entry: Any) -> Transform:
    if hasattr(entry, "items"):
        kwargs = dict(entry.items())
        name = kwargs.pop("name", None)
    else:
        name, kwargs = (entry, {}) if isinstance(entry, str) else entry
    if name not in TRANSFORMS:
        near = get_close_matches(str(name), TRANSFORMS, 1)
        raise ValueError(f"transforms: no {name!r}" + (f"; did you mean {near[0]!r}?" if near else
                                                       f"; there are {', '.join(TRANSFORMS)}"))
    try:
        return TRANSFORMS[name](**dict(kwargs))
    except TypeError as error:
        raise ValueError(f"transform {name!r}: {error}") from None
