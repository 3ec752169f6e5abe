"""Augmentation on the device, for what is cheap there: `config.inputs.NAME.augment = ({"name": "shift"}, {"name": "gain", "low": 0.8})`.

Each is a pure function of arrays and one key an example, so that what an example gets depends neither on mesh nor on micro-batches, and
each view (sample, crop) of it gets another draw. Pixels come scaled to [0, 1], signals in their own units, before `mean` and `std`.
Training only. Pixels that move leave their masks behind, so a run whose data have masks refuses what moves pixels. What is not here
(rotation, sentences, views) is in `mmrep/data/transforms`, on the host.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from mmrep import config as cfg
from mmrep.core.names import within
from mmrep.encoders.layers import uniform

Array = jax.Array
Augment = Callable[[Array, Array, int], Array]  # (f32[B, *spatial, C], keys [B], tag of the draw) -> the same shape
TAG = 1 << 20           # beyond the tags of the deepest encoder
TAGS_EACH = 16          # draws that one augmentation may make


def _range(name: str, low: float, high: float) -> None:
    within(f"{name}: low", low, 0, high, low_open=True)


def _each(x: Array, values: Array) -> Array:
    """f32[B] or f32[B, C] beside f32[B, *spatial, C]."""
    return values.reshape(len(x), *[1] * (x.ndim - 2), -1)


def _between(keys: Array, tag: int, low: float, high: float) -> Array:
    return low + (high - low) * uniform(keys, tag, ())


def flip(axis: int, p: float = 0.0, laterality: str = "refuse") -> Augment:
    """Mirror a spatial axis (of an image 0: up-down, 1: left-right) with probability p, by default never.

    laterality: "refuse" (`validate.check_augment`) beside texts, which may name a side that a mirrored picture does not have, or "ignore".
    """
    within("flip: p", p, 0, 1)
    if laterality not in ("refuse", "ignore"):
        raise ValueError(f"flip: laterality {laterality!r} is not 'refuse' or 'ignore'")

    def apply(x: Array, keys: Array, tag: int) -> Array:
        if not 0 <= axis < x.ndim - 2:
            raise ValueError(f"flip: axis {axis} of {x.ndim - 2} spatial axes")
        return jnp.where(_each(x, uniform(keys, tag, ()) < p), jnp.flip(x, axis + 1), x)

    return apply


def shift(most: float = 0.1) -> Augment:
    """Move by whole pixels, up to `most` of each axis (rounded) either way; the border is repeated."""
    within("shift: most", most, 0, 1)

    def apply(x: Array, keys: Array, tag: int) -> Array:
        for axis, n in enumerate(x.shape[1:-1]):
            far = round(most * n)
            by = jnp.floor(_between(keys, tag + axis, -far, far + 1)).astype(jnp.int32)
            at = jnp.clip(jnp.arange(n) + by[:, None], 0, n - 1)
            x = jax.vmap(lambda one, i, axis=axis: jnp.take(one, i, axis))(x, at)
        return x

    return apply


def crop(low: float = 0.5, high: float = 1.0) -> Augment:
    """A box of low..high of the area or volume, of the input's proportions, somewhere within, resized back linearly."""
    _range("crop", low, high)
    within("crop: high", high, 0, 1)

    def apply(x: Array, keys: Array, tag: int) -> Array:
        axes = x.ndim - 2
        side = _between(keys, tag, low, high) ** (1 / axes)
        for axis, n in enumerate(x.shape[1:-1]):
            start = uniform(keys, tag + 1 + axis, ()) * (1 - side) * n
            at = start[:, None] + (jnp.arange(n) + 0.5) * side[:, None] - 0.5
            # two entries a row: a dense product is several times faster than a gather
            weights = jnp.maximum(0, 1 - jnp.abs(jnp.clip(at, 0, n - 1)[..., None] - jnp.arange(n)))
            x = jax.vmap(lambda one, w, axis=axis: jnp.moveaxis(jnp.tensordot(w, one, (1, axis)), 0, axis))(x, weights)
        return x

    return apply


def intensity(gain: float = 0.2, offset: float = 0.1, gamma: float = 0.2) -> Augment:
    """Jitter of pixels: x -> x**exp(U(+-gamma)) * (1 + U(+-gain)) + U(+-offset), clipped to [0, 1], as the host's `intensity`."""
    def apply(x: Array, keys: Array, tag: int) -> Array:
        power, factor, more = (_each(x, _between(keys, tag + i, -v, v)) for i, v in enumerate((gamma, gain, offset)))
        return jnp.clip(jnp.maximum(x, 1e-6) ** jnp.exp(power) * (1 + factor) + more, 0, 1)

    return apply


def gain(low: float = 0.8, high: float = 1.25) -> Augment:
    """All values times a factor, log-uniform in low..high: amplitude of a signal, exposure of a volume."""
    _range("gain", low, high)
    return lambda x, keys, tag: x * _each(x, jnp.exp(_between(keys, tag, jnp.log(low), jnp.log(high))))


def noise(std: float = 0.02) -> Augment:
    """Gaussian noise of a deviation uniform in 0..std, in the input's units."""
    within("noise: std", std, 0)

    def apply(x: Array, keys: Array, tag: int) -> Array:
        draws = jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, tag + 1), x.shape[1:]))(keys)
        return x + _each(x, _between(keys, tag, 0, std)) * draws

    return apply


def cutout(size: float = 0.25, p: float = 1.0) -> Augment:
    """Fill a box of `size` of each axis, somewhere within, by the example's mean of each channel, with probability p (DeVries & Taylor
    2017); of a signal, a span of time in all leads."""
    within("cutout: size", size, 0, 1)
    within("cutout: p", p, 0, 1)

    def apply(x: Array, keys: Array, tag: int) -> Array:
        inside = _each(x, uniform(keys, tag, ()) < p)
        for axis, n in enumerate(x.shape[1:-1]):
            length = max(round(size * n), 1)
            start = jnp.floor(uniform(keys, tag + 1 + axis, ()) * (n - length + 1))[:, None]
            here = (jnp.arange(n) >= start) & (jnp.arange(n) < start + length)
            inside = inside & here.reshape(len(x), *[n if i == axis else 1 for i in range(x.ndim - 2)], 1)
        return jnp.where(inside, x.mean(tuple(range(1, x.ndim - 1)), keepdims=True), x)

    return apply


def drop_channels(p: float = 0.1) -> Augment:
    """Set every channel (lead) to 0 with probability p, but never all of them."""
    within("drop_channels: p", p, 0, 1, high_open=True)

    def apply(x: Array, keys: Array, tag: int) -> Array:
        draws = uniform(keys, tag, (x.shape[-1],))
        return x * _each(x, (draws >= p) | (draws == draws.max(1, keepdims=True)))

    return apply


AUGMENTS: dict[str, Callable[..., Augment]] = {
    "flip": flip, "shift": shift, "crop": crop, "intensity": intensity, "gain": gain, "noise": noise, "cutout": cutout,
    "drop_channels": drop_channels}
MOVES = ("flip", "shift", "crop")  # pixels, away from masks and boxes


def augment(specs: Sequence[dict], where: str) -> Callable[[Array, Array], Array]:
    """One function (f32[B, *spatial, C], keys [B]) -> the same shape of several {name, **kwargs}, in order.

    Raises ValueError naming `where` (the config path) and the nearest valid name or keyword.
    """
    if not isinstance(specs, (tuple, list)):
        raise ValueError(f"{where}: needs a tuple of {{name, ...}} dicts; got {specs!r}")
    parts: list[Any] = [cfg.build(AUGMENTS, spec, f"{where}[{i}]") for i, spec in enumerate(specs)]

    def apply(x: Array, keys: Array) -> Array:
        for i, part in enumerate(parts):
            x = part(x, keys, TAG + i * TAGS_EACH)
        return x

    return apply
