"""The phantom's 2-D image: a lesion and small findings at random places among look-alikes, over low-frequency clutter and noise.

What is shown, and how: class = the grating in the lesion's middle; severity = the ring around it, from dark (mild) over none to
bright (severe); laterality and zone = where the lesion lies (radiological convention: the patient's left is at the right of the
image); findings = six small marks, each at a random free place; vendor = gain and noise. Marks and lesion have zero mean and
move, so a linear reading of raw pixels finds next to nothing. They are strong but small, among as many chance patterns of the
same size and strength, so a random feature, averaged over the image, drowns in what means nothing, while a filter that has
learned a pattern reads it with ease (experiments/headroom has the table).
"""

from functools import lru_cache

import numpy as np

from mmrep.data.phantom.latents import N_DECOYS, Latents
from mmrep.data.phantom.philox import bits

BASE = 32               # lengths below are pixels of the 32-pixel image; larger images show the same scene finer
LESION, CORE, MARK = 15.0, 8.5, 5.0  # diameters: of the ring, of the grating inside it, of a mark
TABLE, SPAN = 128, 1.25  # side of the pattern tables; half-width they cover, in radii of what they show
CLUTTER = 4             # cosines per axis
CONTRAST, CLUTTER_LEVEL, NUISANCE = 1.0, 1.0, 1.0
# marks lie in the cells of a 5 x 5 grid that is itself shifted by up to 4.5 pixels: anywhere, and never overlapping
_GRID, _PITCH = 5, 5.5


def _unit(pattern: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Zero mean and unit root mean square inside, as i16 in 1/256: integers, so that every processor holds the same table."""
    weight = inside / inside.sum()
    pattern = (pattern - (pattern * weight).sum()) * inside
    return np.round(pattern / np.sqrt((pattern**2 * weight).sum()) * 256).astype(np.int16)


@lru_cache(maxsize=1)
def _tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Class textures i16[10,T,T], rim i16[T,T], marks i16[6+1,T,T] (findings, a decoy), over [-SPAN, SPAN]^2."""
    axis = (np.arange(TABLE) + 0.5) / TABLE * 2 * SPAN - SPAN
    x, y = np.meshgrid(axis, axis)
    r = np.hypot(x, y)

    def soft(distance: np.ndarray, width: float = 0.12) -> np.ndarray:
        return 1 / (1 + np.exp(np.clip(distance / width * 4, -30, 30)))

    def band(distance: np.ndarray, width: float) -> np.ndarray:
        return np.exp(-(distance / width) ** 2)

    core = soft(r - 0.80)
    # Six coarse and four fine gratings (cycles in a pixel of the 32-pixel image), no two closer than the core's bandwidth; the
    # marks have other frequencies still. Orientation and spacing survive any shift, so an encoder learns them in few steps
    turns = np.deg2rad([15, 45, 75, 105, 135, 165, 15, 75, 105, 165])
    speed = np.pi * CORE * np.where(np.arange(10) < 6, 0.21, 0.36)
    textures = [np.cos(v * (x * np.cos(t) + y * np.sin(t))) for v, t in zip(speed, turns)]
    whole = soft(np.maximum(abs(x), abs(y)) - 1.05)
    across, along = np.cos(np.pi * x / 0.4), np.cos(np.pi * y / 0.4)  # period 2 pixels of the 32-pixel image
    slow_across, slow_along = np.cos(np.pi * x / 0.8 + np.pi / 4), np.cos(np.pi * y / 0.8 + np.pi / 4)  # period 4
    marks = [np.cos(1.5 * np.pi * x) * np.cos(1.5 * np.pi * y),       # opacity: a coarse mesh
             across * along,                                          # nodule: a fine mesh
             along,                                                   # effusion: levels
             along * slow_across,                                     # cardiomegaly: bricks
             across,                                                  # pneumothorax: upright lines
             across * slow_along,                                     # device: upright bricks
             np.sign(y)]                                              # a decoy: nothing that a report speaks of
    # bright, between two darker rings of the same total: flat where the place is not known
    rim = band(r - 0.98, 0.12) - 0.55 * band(r - 0.8, 0.12) - 0.5 * band(r - 1.14, 0.12)
    return (np.stack([_unit(t, core) for t in textures]), _unit(rim, soft(r - 1.16)),
            np.stack([_unit(m, whole) for m in marks]))


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


def lesion_center(block: Latents) -> np.ndarray:
    """Where the lesion lies: f32[B,2], (row, column) as fractions of the image, a pixel's center at 32 pixels."""
    side = np.where(block["laterality"] == 0, np.float32(0.70), np.float32(0.30)) + np.float32(0.12) * block["lesion_x"]
    height = np.float32(0.5) + (block["zone"] - 1) * np.float32(0.25) + np.float32(0.10) * block["lesion_y"]
    place = np.stack([height, side], -1).astype(np.float32)
    return (np.floor(place * BASE) + np.float32(0.5)) / np.float32(BASE)


def _stamp(image: np.ndarray, tables: np.ndarray, gain: np.ndarray, center: np.ndarray, radius: np.ndarray, rotation: np.ndarray
           ) -> None:
    """Adds gain f32[B] x tables i16[B,T,T]-by-index at center f32[B,2] (pixels) with radius f32[B] pixels, in place."""
    table, index = tables
    there = np.flatnonzero(gain)
    if not len(there):
        return
    index, gain, center, radius, rotation = (v[there] for v in (index, gain, center, radius, rotation))
    reach = int(np.ceil(SPAN * np.sqrt(2) * radius.max())) + 1
    offset = np.arange(-reach, reach + 1)
    corner = np.floor(center).astype(np.int32)
    rows, cols = corner[:, :1] + offset, corner[:, 1:] + offset
    # A pixel is its center. The pattern is looked up, not interpolated: the tables are much finer than the image
    dy = ((rows + np.float32(0.5) - center[:, :1]) / radius[:, None])[:, :, None]
    dx = ((cols + np.float32(0.5) - center[:, 1:]) / radius[:, None])[:, None, :]
    cosine, sine = (f(np.deg2rad(rotation.astype(np.float64))).astype(np.float32)[:, None, None] for f in (np.cos, np.sin))
    scale = np.float32(TABLE / (2 * SPAN))
    v = np.floor((dy * cosine - dx * sine + np.float32(SPAN)) * scale).astype(np.int32)
    u = np.floor((dx * cosine + dy * sine + np.float32(SPAN)) * scale).astype(np.int32)
    size = image.shape[1]
    good = (u >= 0) & (u < TABLE) & (v >= 0) & (v < TABLE)
    good &= ((rows >= 0) & (rows < size))[:, :, None] & ((cols >= 0) & (cols < size))[:, None, :]
    b, i, j = np.nonzero(good)
    values = table[index[b], v[b, i, j], u[b, i, j]] * np.float32(1 / 256) * gain[b]
    image[there[b], rows[b, i], cols[b, j]] += values  # no pixel occurs twice within one stamp


def _mark_places(block: Latents, n: int) -> np.ndarray:
    """Centers f32[B,n,2] (fractions of the image) of n <= 16 small things in random cells, the first 7 clear of the whole lesion."""
    pitch = np.float32(_PITCH / BASE)
    jitter = (block["image/jitter"] >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
    jitter = jitter * np.float32(1 - _GRID * _PITCH / BASE)
    grid = (np.arange(_GRID, dtype=np.float32) + np.float32(0.5)) * pitch
    cells = np.stack(np.meshgrid(grid, grid, indexing="ij"), -1).reshape(1, -1, 2) + jitter[:, None]
    away = np.abs(cells - lesion_center(block)[:, None]).max(-1) * BASE
    # first the cells that clear the ring (9 or more), then those that clear the grating (16 or more in all)
    near = (away <= (LESION + MARK) / 2).astype(np.uint64) + (away <= (CORE + MARK) / 2 + 1).astype(np.uint64)
    order = np.argsort(block["image/cells"] >> np.uint64(2) | near << np.uint64(62), axis=1, kind="stable")[:, :n]
    places = np.take_along_axis(cells, order[..., None], 1)
    return (np.floor(places * BASE) + np.float32(0.5)) / np.float32(BASE)  # whole pixels: fine patterns stay what they are


def render_image(block: Latents, size: int = 32, contrast: float = CONTRAST, clutter: float = CLUTTER_LEVEL,
                 nuisance: float = NUISANCE) -> np.ndarray:
    """Latents of B subjects -> u8[B,size,size,1].

    size: 16..1024 pixels a side (the same scene, finer; made for 32..224). contrast, clutter, nuisance:
    multiples of the calibrated levels, all >= 0: of lesion and marks; of the low-frequency background; of noise, decoys and
    vendor differences. Only elementwise arithmetic in a fixed order: bytes do not depend on the block. Raises ValueError for a
    size or level out of range.
    """
    if not 16 <= size <= 1024 or min(contrast, clutter, nuisance) < 0:
        raise ValueError(f"phantom image: size must be 16..1024 and levels >= 0, got {size=} {contrast=} {clutter=} {nuisance=}")
    # small chunks stay in the cache; the result cannot depend on them
    chunk = max(1, 128 * BASE**2 // size**2)
    parts = [_render({k: v[i:i + chunk] for k, v in block.items()}, size, np.float32(contrast), np.float32(clutter),
                     np.float32(nuisance)) for i in range(0, len(block["id"]), chunk)]
    return np.concatenate(parts) if parts else np.zeros((0, size, size, 1), np.uint8)


# gray levels at contrast = clutter = nuisance = 1
AMPLITUDES = {"texture": 60.0, "rim": 38.0, "mark": 50.0, "decoy": 70.0, "clutter": 7.0, "noise": 18.0}


def _render(block: Latents, size: int, contrast: np.float32, clutter: np.float32, nuisance: np.float32) -> np.ndarray:
    n, level = len(block["id"]), {k: np.float32(v) for k, v in AMPLITUDES.items()}
    anatomy, cosines = _background(size)
    image = np.broadcast_to(anatomy, (n, size, size)).copy()
    coefficients = block["image/clutter"][:, :CLUTTER**2].reshape(n, CLUTTER, CLUTTER) * (clutter * level["clutter"])
    for row in range(CLUTTER):  # explicit sums: a matrix product's order of summation depends on the block
        line = coefficients[:, row, 0, None] * cosines[0]
        for col in range(1, CLUTTER):
            line = line + coefficients[:, row, col, None] * cosines[col]
        image += cosines[row][None, :, None] * line[:, None, :]

    textures, rim, marks = _tables()
    center, pixel = lesion_center(block) * np.float32(size), np.float32(size / BASE)
    radius = np.float32(LESION / 2) * pixel * block["lesion_size"]
    strength = contrast * block["lesion_contrast"]
    nothing = np.zeros(n, np.int32)
    _stamp(image, (textures, block["class"]), strength * level["texture"], center, radius * np.float32(CORE / LESION),
           block["image/rotation"])

    within = np.float32(3) * block["severity"] - block["severity_bin"] - np.float32(0.5)
    rim_gain = (block["severity_bin"] - 1 + np.float32(0.5) * within) * level["rim"]  # gaps between the bins, a slope inside
    _stamp(image, (rim[None], nothing), strength * rim_gain, center, radius, block["image/rotation"])

    places = _mark_places(block, 7 + N_DECOYS)
    spot, straight = np.full(n, np.float32(MARK / 2) * pixel), np.zeros(n, np.float32)
    for k in range(7):
        shown = block["findings"][:, k].astype(np.float32) if k < 6 else block["image/decoy"].astype(np.float32) * nuisance
        _stamp(image, (marks, nothing + k), shown * strength * level["mark"], places[:, k] * np.float32(size), spot, straight)

    image += _decoys(block, places[:, 7:], size) * (level["decoy"] * nuisance)

    vendor = (block["image/vendor"] - 1).astype(np.float32) * nuisance
    gain, spread = 1 + np.float32(0.1) * vendor, level["noise"] * nuisance * (1 + np.float32(0.3) * vendor)
    noise = _noise(block, size) * spread[:, None, None]
    image = (image - np.float32(120)) * gain[:, None, None] + np.float32(120) + noise
    return np.clip(np.floor(image + np.float32(0.5)), 0, 255).astype(np.uint8)[..., None]


def _decoys(block: Latents, places: np.ndarray, size: int) -> np.ndarray:
    """MARK x MARK pixels of random sign around each place f32[B,n,2]: f32[B,size,size], pixels of the 32-pixel image."""
    side, n = int(MARK), len(block["id"])
    draws = block["image/decoys"][:, :, None] >> np.arange(side * side, dtype=np.uint64) & np.uint64(1)
    signs = (draws.astype(np.float32) * 2 - 1).reshape(n, -1, side, side)
    around = np.arange(side) - side // 2
    corner = np.floor(places * BASE).astype(np.int64)
    rows, cols = corner[..., 0, None, None] + around[:, None], corner[..., 1, None, None] + around
    rows, cols = np.broadcast_to(rows, signs.shape), np.broadcast_to(cols, signs.shape)
    inside = (rows >= 0) & (rows < BASE) & (cols >= 0) & (cols < BASE)
    image = np.zeros((n, BASE, BASE), np.float32)
    b, _, _, _ = np.nonzero(inside)
    image[b, rows[inside], cols[inside]] = signs[inside]  # cells are apart: no pixel is meant twice
    at = np.arange(size) * BASE // size
    return image[:, at][:, :, at]


def _noise(block: Latents, size: int) -> np.ndarray:
    """Unit-variance noise f32[B,size,size]: the difference of two uniform bytes a pixel (integers, so exact anywhere)."""
    count = -(-size * size // 4)
    raw = bits(int(block["seed"][0]), block["id"], {"image/noise": count})["image/noise"]
    pairs = np.ascontiguousarray(raw).astype("<u8", copy=False).view(np.uint8).reshape(len(raw), -1, 2).astype(np.int16)
    pairs = pairs[:, :size * size]
    return (pairs[..., 0] - pairs[..., 1]).astype(np.float32).reshape(-1, size, size) * np.float32(1 / 104.5)
