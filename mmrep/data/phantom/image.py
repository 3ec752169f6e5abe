"""The phantom's 2-D image: the scene (`scene`), seen from the front, over low-frequency clutter and noise.

What is shown, and how: class = the grating in the lesion's middle; severity = the ring around it, from dark (mild) over none to
bright (severe); laterality and zone = where the lesion lies (radiological convention: the patient's left is at the right of the
image); findings = six small marks, each at a random free place; vendor = gain and noise. A whole image adds organ = the anatomy
behind, texture and marker = two more small patches, inspiration and posture = how the anatomy lies.
"""

from functools import lru_cache

import numpy as np

from mmrep.data.phantom.anatomy import flat_anatomy
from mmrep.data.phantom.latents import Latents
from mmrep.data.phantom.philox import bits_of
from mmrep.data.phantom.scene import AMPLITUDES, BASE, CLUTTER_LEVEL, CONTRAST, NUISANCE, add_scene

CLUTTER = 4             # cosines per axis


@lru_cache(maxsize=4)
def _background(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Anatomy f32[size,size] (two lung fields, gray levels) and the cosines f32[CLUTTER,size], rounded to 1/1024."""
    axis = (np.arange(size) + 0.5) / size
    x, y = np.meshgrid(axis, axis)

    def ellipse(cx: float, cy: float, rx: float, ry: float) -> np.ndarray:
        return 1 / (1 + np.exp(np.clip((np.hypot((x - cx) / rx, (y - cy) / ry) - 1) * 8, -30, 30)))

    anatomy = 90 + 50 * ellipse(.5, .55, .47, .52) - 45 * (ellipse(.29, .48, .17, .33) + ellipse(.71, .48, .17, .33))
    cosines = np.cos(np.pi * np.arange(CLUTTER)[:, None] * axis[None])
    return (np.round(anatomy * 1024) / 1024).astype(np.float32), (np.round(cosines * 1024) / 1024).astype(np.float32)


def render_image(block: Latents, size: int = 32, contrast: float = CONTRAST, clutter: float = CLUTTER_LEVEL,
                 nuisance: float = NUISANCE, whole: bool = False) -> np.ndarray:
    """Latents of B subjects -> u8[B,size,size,1].

    size: 16..1024 pixels a side (the same scene, finer; made for 32..224). contrast, clutter, nuisance:
    multiples of the calibrated levels, all >= 0: of lesion and marks; of the low-frequency background; of noise, decoys and
    vendor differences. whole: show organ, texture, marker and posture, too. Only elementwise arithmetic in a fixed order: bytes
    do not depend on the block. Raises ValueError for a size or level out of range.
    """
    if not 16 <= size <= 1024 or min(contrast, clutter, nuisance) < 0:
        raise ValueError(f"phantom image: size must be 16..1024 and levels >= 0, got {size=} {contrast=} {clutter=} {nuisance=}")
    # small chunks stay in the cache; the result cannot depend on them
    chunk = max(1, 128 * BASE**2 // size**2)
    parts = [_render({k: v[i:i + chunk] for k, v in block.items()}, size, np.float32(contrast), np.float32(clutter),
                     np.float32(nuisance), whole) for i in range(0, len(block["id"]), chunk)]
    return np.concatenate(parts) if parts else np.zeros((0, size, size, 1), np.uint8)


def _render(block: Latents, size: int, contrast: np.float32, clutter: np.float32, nuisance: np.float32, whole: bool) -> np.ndarray:
    n = len(block["id"])
    anatomy, cosines = _background(size)
    image = flat_anatomy(block["organ"], block["style"], size) if whole else np.broadcast_to(anatomy, (n, size, size)).copy()
    coefficients = block["image/clutter"][:, :CLUTTER**2].reshape(n, CLUTTER, CLUTTER) * (clutter * np.float32(AMPLITUDES["clutter"]))
    for row in range(CLUTTER):  # explicit sums: a matrix product's order of summation depends on the block
        line = coefficients[:, row, 0, None] * cosines[0]
        for col in range(1, CLUTTER):
            line = line + coefficients[:, row, col, None] * cosines[col]
        image += cosines[row][None, :, None] * line[:, None, :]
    add_scene(image, block, contrast, nuisance, whole)

    vendor = (block["image/vendor"] - 1).astype(np.float32) * nuisance
    gain, spread = 1 + np.float32(0.1) * vendor, np.float32(AMPLITUDES["noise"]) * nuisance * (1 + np.float32(0.3) * vendor)
    noise = noise_of(block, "image/noise", size * size).reshape(n, size, size) * spread[:, None, None]
    image = (image - np.float32(120)) * gain[:, None, None] + np.float32(120) + noise
    return np.clip(np.floor(image + np.float32(0.5)), 0, 255).astype(np.uint8)[..., None]


def noise_of(block: Latents, name: str, n: int) -> np.ndarray:
    """Unit-variance noise f32[B,n]: the difference of two uniform bytes a number (integers, so exact anywhere)."""
    raw = bits_of(block, {name: -(-n // 4)})[name]
    pairs = np.ascontiguousarray(raw).astype("<u8", copy=False).view(np.uint8).reshape(len(raw), 4 * raw.shape[1], 2)[:, :n]
    pairs = pairs.astype(np.int16)
    return (pairs[..., 0] - pairs[..., 1]).astype(np.float32) * np.float32(1 / 104.5)
