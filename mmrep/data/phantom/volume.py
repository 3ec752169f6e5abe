"""The phantom's 3-D volume: the scene whose projection along the depth the image shows, and the depth that a projection loses.

A lesion and marks are flat patterns (those of the image), a quarter of the depth thick, times 1 + a pattern along the depth that
sums to zero: so the volume's mean along the depth is the image's scene, and yet a coarse volume tells what only a fine image can.
class = the solid pattern in the lesion, severity = the shell around it, findings = a small solid pattern each, laterality and
zone = where the lesion lies, depth = in which third along the depth, which only the volume knows.
"""

from functools import lru_cache

import numpy as np

from mmrep.data.phantom.anatomy import solid_anatomy
from mmrep.data.phantom.image import noise_of
from mmrep.data.phantom.latents import N_DECOYS, Latents
from mmrep.data.phantom.philox import bits_of, choice, normal, uniform
from mmrep.data.phantom.scene import BASE, CONTRAST, NUISANCE, add_scene, lesion_center, mark_places, mask, rim_level

SIDE = 16               # solid patterns are made of voxels of the 16-voxel volume; larger volumes show them finer
THICK = 4               # of lesion and marks along the depth, in such voxels
ENHANCED = 3.0          # scene in the image: so many times its mean along the depth
# gray levels
SOLID = {"core": 55.0, "shell": 30.0, "mark": 70.0, "decoy": 70.0, "noise": 14.0, "clutter": 6.0}
THICKNESS = (1, 2, 4)   # slices that share their noise
_WALSH = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]], np.int8)
_CORES = ((1, 0, 1), (2, 1, 0), (3, 2, 2), (1, 3, 0), (2, 0, 3), (3, 1, 1), (1, 2, 3), (2, 3, 2), (3, 0, 2), (3, 3, 1))
_MARKS = ((1, 0, 0), (2, 0, 1), (3, 1, 0), (1, 1, 1), (2, 1, 0), (3, 0, 1), (3, 1, 1))


@lru_cache(maxsize=1)
def _patterns() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Signs along (depth, row, column), each summing to zero along the depth: cores f32[10,4,4,4], shell f32[1,4,6,6], marks
    f32[7,4,2,2]."""
    cores = [np.einsum("i,j,k", *(_WALSH[n] for n in one)) for one in _CORES]
    shell = np.ones((THICK, 6, 6)) * _WALSH[3][:, None, None]
    shell[:, 1:5, 1:5] = 0
    marks = [np.einsum("i,j,k", _WALSH[one[0]], *(_WALSH[n][:2] for n in one[1:])) for one in _MARKS]
    return np.stack(cores).astype(np.float32), shell[None].astype(np.float32), np.stack(marks).astype(np.float32)


def _starts(block: Latents) -> tuple[np.ndarray, np.ndarray]:
    """First voxel along the depth of the lesion i64[B] (1..11, in the third that `depth` names) and of each cell's mark i64[B,n]."""
    draws = bits_of(block, {"volume/depths": 1 + 7 + N_DECOYS})["volume/depths"]
    lesion = 1 + 4 * block["depth"].astype(np.int64) + choice(draws[:, 0], 3)
    return lesion, choice(draws[:, 1:], SIDE - THICK + 1).astype(np.int64)


def _put(volume: np.ndarray, gain: np.ndarray, pattern: np.ndarray, start: np.ndarray, corner: np.ndarray) -> None:
    """Add gain f32[B] x pattern f32[B,d,h,w] at depth i64[B] and corner i64[B,2] of f32[B,SIDE,SIDE,SIDE], in place, cut at the rims."""
    there = np.flatnonzero(gain)
    if not len(there):
        return
    pattern = np.broadcast_to(pattern, (len(volume), *pattern.shape[1:]))[there]
    z, y, x = (v[there, None] + np.arange(n) for v, n in zip((start, corner[:, 0], corner[:, 1]), pattern.shape[1:]))
    rows, cols = (y >= 0) & (y < SIDE), (x >= 0) & (x < SIDE)
    b, i, j, k = np.nonzero(np.broadcast_to(rows[:, None, :, None] & cols[:, None, None], pattern.shape))
    volume[there[b], z[b, i], y[b, j], x[b, k]] += (gain[there][:, None, None, None] * pattern)[b, i, j, k]


def _solid_patterns(block: Latents, corner: np.ndarray, depth: np.ndarray, depths: np.ndarray, contrast: np.float32, nuisance: np.float32
                    ) -> np.ndarray:
    """What sums to zero along the depth: f32[B,SIDE,SIDE,SIDE]; corner, depth, depths as `clean_volume` has them."""
    n, level = len(block["id"]), {k: np.float32(v) for k, v in SOLID.items()}
    cores, shell, marks = _patterns()
    volume = np.zeros((n, SIDE, SIDE, SIDE), np.float32)
    strength = contrast * block["lesion_contrast"]
    pixel = np.floor(lesion_center(block) * BASE).astype(np.int64)
    middle = (pixel + 1) // 2
    _put(volume, strength * level["core"], cores[block["class"]], depth, middle - 2)
    _put(volume, strength * rim_level(block).astype(np.float32) * level["shell"], shell, depth, middle - 3)
    places = (corner + 1) // 2 - 1
    for k in range(7):
        shown = block["findings"][:, k].astype(np.float32) if k < 6 else block["image/decoy"].astype(np.float32) * nuisance
        _put(volume, shown * strength * level["mark"], marks[k][None], depths[:, k], places[:, k])
    draws = choice(bits_of(block, {"volume/decoys": 4 * N_DECOYS})["volume/decoys"], 6)
    lines = np.concatenate([_WALSH[1:], -_WALSH[1:]]).astype(np.float32)[draws].reshape(n, N_DECOYS, 2, 2, THICK)
    for k in range(N_DECOYS):
        _put(volume, np.full(n, nuisance * level["decoy"]), lines[:, k].transpose(0, 3, 1, 2), depths[:, 7 + k], places[:, 7 + k])
    return volume


def _finer(coarse: np.ndarray, side: int) -> np.ndarray:
    """f32[B,SIDE,SIDE,SIDE] on a grid of `side` voxels: the nearest one's value, and along the depth, where patterns must go on summing to
    zero, the mean of what a voxel covers."""
    at = np.arange(side) * SIDE // side
    fine, start = coarse[:, :, at][:, :, :, at], np.arange(side) * SIDE
    if side % SIDE == 0:
        return fine[:, at]
    ends = np.minimum(start + SIDE, (at + 1) * side)  # in parts of a voxel, SIDE to one of `side`
    first = ((ends - start) / SIDE).astype(np.float32)[None, :, None, None]
    return first * fine[:, at] + (1 - first) * fine[:, np.minimum(at + 1, SIDE - 1)]


def _thick_scene(block: Latents, corner: np.ndarray, depth: np.ndarray, depths: np.ndarray, side: int, contrast: np.float32,
                 nuisance: np.float32) -> np.ndarray:
    """The image's scene, each thing at its depth: f32[B,side,side,side], whose mean along the depth is scene / ENHANCED."""
    n, finer = len(block["id"]), -(-BASE // side)
    scene = np.zeros((n, side * finer, side * finer), np.float32)
    add_scene(scene, block, contrast, nuisance, whole=False)
    if finer > 1:
        scene = sum(scene[:, i::finer, j::finer] for i in range(finer) for j in range(finer)) / np.float32(finer**2)
    # the depth of the pixels of a thing: marks and decoys around their places, the lesion's everywhere else
    start = np.broadcast_to(depth[:, None, None], (n, BASE, BASE)).copy()
    around = np.arange(-3, 4)
    for k in range(7 + N_DECOYS):
        rows = np.clip(corner[:, k, 0, None] + around, 0, BASE - 1)[:, :, None]
        cols = np.clip(corner[:, k, 1, None] + around, 0, BASE - 1)[:, None, :]
        start[np.arange(n)[:, None, None], rows, cols] = depths[:, k, None, None]
    at = (np.arange(side) * 2 + 1) * BASE // (2 * side)
    start = start[:, at][:, :, at]
    slices = np.arange(side) * SIDE // side
    inside = (slices[None, :, None, None] >= start[:, None]) & (slices[None, :, None, None] < start[:, None] + THICK)
    return scene[:, None] * (inside * np.float32(SIDE / (THICK * ENHANCED)))


def render_volume(block: Latents, side: int = 16, contrast: float = CONTRAST, nuisance: float = NUISANCE) -> np.ndarray:
    """Latents of B subjects -> u8[B,side,side,side,1]: depth from front to back, rows and columns as in the image.

    side: 16..256 voxels. contrast, nuisance: multiples of the calibrated levels, >= 0: of lesion and marks; of noise, decoys,
    clutter and bias field. Bytes do not depend on the block. Raises ValueError for a side or level out of range.
    """
    if not 16 <= side <= 256 or min(contrast, nuisance) < 0:
        raise ValueError(f"phantom volume: side must be 16..256 and levels >= 0, got {side=} {contrast=} {nuisance=}")
    chunk = max(1, 64 * 16**3 // side**3)
    parts = [_render({k: v[i:i + chunk] for k, v in block.items()}, side, np.float32(contrast), np.float32(nuisance))
             for i in range(0, len(block["id"]), chunk)]
    return np.concatenate(parts) if parts else np.zeros((0, side, side, side, 1), np.uint8)


def clean_volume(block: Latents, side: int, contrast: float = CONTRAST, nuisance: float = NUISANCE) -> np.ndarray:
    """The scene alone, f32[B,side,side,side] in gray levels, without anatomy, bias field and noise."""
    contrast, nuisance = np.float32(contrast), np.float32(nuisance)
    corner = np.floor(mark_places(block, 7 + N_DECOYS) * BASE).astype(np.int64)  # the middle pixel of every mark and decoy, i64[B,n,2]
    depth, depths = _starts(block)
    solid = _solid_patterns(block, corner, depth, depths, contrast, nuisance)
    return _thick_scene(block, corner, depth, depths, side, contrast, nuisance) + _finer(solid, side)


def _render(block: Latents, side: int, contrast: np.float32, nuisance: np.float32) -> np.ndarray:
    n = len(block["id"])
    raw = bits_of(block, {"volume/thickness": 1, "volume/bias": 6})
    volume = solid_anatomy(block["organ"], block["style/volume"], side) + clean_volume(block, side, contrast, nuisance)
    # bias field: a slow gain along each axis, and a slow offset of either sign
    slope = normal(uniform(raw["volume/bias"])).astype(np.float32) * nuisance
    ramp = (np.round(np.cos(np.pi * (np.arange(side) + 0.5) / side) * 1024) / 1024).astype(np.float32)
    shape = ((n, side, 1, 1), (n, 1, side, 1), (n, 1, 1, side))
    for axis in range(3):
        volume = volume * (1 + np.float32(0.05) * (slope[:, axis, None] * ramp).reshape(shape[axis]))
        volume += np.float32(SOLID["clutter"]) * (slope[:, 3 + axis, None] * ramp).reshape(shape[axis])
    noise = noise_of(block, "volume/noise", side**3).reshape(n, side, side, side)
    slices = np.arange(side)
    groups = slices // np.array(THICKNESS)[:, None] * np.array(THICKNESS)[:, None]
    which = groups[choice(raw["volume/thickness"][:, 0], 3)]
    noise = noise[np.arange(n)[:, None], which]
    volume += noise * (np.float32(SOLID["noise"]) * nuisance)
    return np.clip(np.floor(volume + np.float32(0.5)), 0, 255).astype(np.uint8)[..., None]


def volume_mask(block: Latents, side: int) -> np.ndarray:
    """Label map u8[B,side,side,side,1] of the volume: the image's (`scene.mask`), each thing at its depth."""
    flat, (depth, depths) = mask(block, side)[..., 0], _starts(block)
    start = np.concatenate([np.zeros((len(flat), 1), np.int64), depth[:, None], depths[:, :6]], 1)  # by label
    start = np.take_along_axis(start, flat.reshape(len(flat), side * side).astype(np.int64), 1).reshape(flat.shape)[:, None]
    slices = (np.arange(side) * SIDE // side)[:, None, None]
    return (flat[:, None] * ((slices >= start) & (slices < start + THICK)))[..., None]
