"""Where things lie, and what they look like: the one scene that the image and the volume of a subject both show.

A lesion lies at a place that laterality, zone and two offsets give, a small mark stands for each finding at a random free place, chance
patterns (decoys) of a mark's size lie among them. Marks and lesion have zero mean and move, so a linear reading of raw pixels finds
next to nothing; they are strong but small, so a random feature, averaged over the image, drowns in what means nothing, while a filter
that has learned a pattern reads it with ease (experiments/headroom has the table).
"""

from functools import lru_cache

import numpy as np

from mmrep.data.phantom.latents import N_DECOYS, Latents

BASE = 32               # lengths below are pixels of the 32-pixel image; larger images show the same scene finer
LESION, CORE, MARK = 15.0, 8.5, 5.0  # diameters: of the ring, of the grating inside it, of a mark
TABLE, SPAN = 128, 1.25  # side of the pattern tables; half-width they cover, in radii of what they show
CONTRAST, CLUTTER_LEVEL, NUISANCE = 1.0, 1.0, 1.0
# gray levels at contrast = clutter = nuisance = 1
AMPLITUDES = {"texture": 60.0, "rim": 38.0, "mark": 50.0, "decoy": 70.0, "clutter": 7.0, "noise": 18.0}
# marks lie in the cells of a 5 x 5 grid that is itself shifted by up to 4.5 pixels: anywhere, and never overlapping
GRID, PITCH = 5, 5.5
N_PLACES = 9 + N_DECOYS  # six findings and a decoy mark, decoys, then texture and marker, which the plain scene leaves empty


def unit(pattern: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Zero mean and unit root mean square inside, as i16 in 1/256: integers, so that every processor holds the same table."""
    weight = inside / inside.sum()
    pattern = (pattern - (pattern * weight).sum()) * inside
    return np.round(pattern / np.sqrt((pattern**2 * weight).sum()) * 256).astype(np.int16)


@lru_cache(maxsize=1)
def tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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
    return (np.stack([unit(t, core) for t in textures]), unit(rim, soft(r - 1.16)),
            np.stack([unit(m, whole) for m in marks]))


@lru_cache(maxsize=1)
def glyphs() -> np.ndarray:
    """Signs i8[20, MARK, MARK] of ten textures and ten markers: fixed patterns, no two of which agree in more than 17 of 25 pixels."""
    side, kept = int(MARK), []
    draws = np.random.Generator(np.random.Philox(20)).integers(0, 2, (4096, side * side), dtype=np.int8) * 2 - 1
    for one in draws:
        if abs(int(one.sum())) == 1 and all(abs(int(one @ other)) <= 9 for other in kept):
            kept.append(one.astype(np.int64))
        if len(kept) == 20:
            return np.stack(kept).astype(np.int8).reshape(20, side, side)
    raise AssertionError("unreachable: 4,096 fixed draws hold twenty patterns")


def lesion_center(block: Latents) -> np.ndarray:
    """Where the lesion lies: f32[B,2], (row, column) as fractions of the image, a pixel's center at 32 pixels."""
    side = np.where(block["laterality"] == 0, np.float32(0.70), np.float32(0.30)) + np.float32(0.12) * block["lesion_x"]
    height = np.float32(0.5) + (block["zone"] - 1) * np.float32(0.25) + np.float32(0.10) * block["lesion_y"]
    place = np.stack([height, side], -1).astype(np.float32)
    return (np.floor(place * BASE) + np.float32(0.5)) / np.float32(BASE)


def mark_places(block: Latents, n: int = N_PLACES) -> np.ndarray:
    """Centers f32[B,n,2] (fractions of the image) of n <= 16 small things in random cells, the first 7 clear of the whole lesion."""
    pitch = np.float32(PITCH / BASE)
    jitter = (block["image/jitter"] >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
    jitter = jitter * np.float32(1 - GRID * PITCH / BASE)
    grid = (np.arange(GRID, dtype=np.float32) + np.float32(0.5)) * pitch
    cells = np.stack(np.meshgrid(grid, grid, indexing="ij"), -1).reshape(1, -1, 2) + jitter[:, None]
    away = np.abs(cells - lesion_center(block)[:, None]).max(-1) * BASE
    # first the cells that clear the ring (9 or more), then those that clear the grating (16 or more in all)
    near = (away <= (LESION + MARK) / 2).astype(np.uint64) + (away <= (CORE + MARK) / 2 + 1).astype(np.uint64)
    order = np.argsort(block["image/cells"] >> np.uint64(2) | near << np.uint64(62), axis=1, kind="stable")[:, :n]
    places = np.take_along_axis(cells, order[..., None], 1)
    return (np.floor(places * BASE) + np.float32(0.5)) / np.float32(BASE)  # whole pixels: fine patterns stay what they are


def rim_level(block: Latents) -> np.ndarray:
    """Signed strength of the ring, f64[B]: about -1 mild, 0 moderate, 1 severe; gaps between the bins, a slope inside."""
    within = np.float32(3) * block["severity"] - block["severity_bin"] - np.float32(0.5)
    return block["severity_bin"] - 1 + np.float32(0.5) * within


def add_scene(image: np.ndarray, block: Latents, contrast: np.float32, nuisance: np.float32, whole: bool) -> None:
    """Add lesion, marks and decoys to f32[B,size,size] in place; whole: texture and marker, too."""
    n, size, level = len(block["id"]), image.shape[1], {k: np.float32(v) for k, v in AMPLITUDES.items()}
    textures, rim, marks = tables()
    center, pixel = lesion_center(block) * np.float32(size), np.float32(size / BASE)
    radius = np.float32(LESION / 2) * pixel * block["lesion_size"]
    strength = contrast * block["lesion_contrast"]
    nothing = np.zeros(n, np.int32)
    _stamp(image, (textures, block["class"]), strength * level["texture"], center, radius * np.float32(CORE / LESION),
           block["image/rotation"])
    _stamp(image, (rim[None], nothing), strength * (rim_level(block) * level["rim"]), center, radius, block["image/rotation"])

    places = mark_places(block)
    spot, straight = np.full(n, np.float32(MARK / 2) * pixel), np.zeros(n, np.float32)
    for k in range(7):
        shown = block["findings"][:, k].astype(np.float32) if k < 6 else block["image/decoy"].astype(np.float32) * nuisance
        _stamp(image, (marks, nothing + k), shown * strength * level["mark"], places[:, k] * np.float32(size), spot, straight)

    signs = (block["image/decoys"][:, :, None] >> np.arange(int(MARK)**2, dtype=np.uint64) & np.uint64(1)).astype(np.float32) * 2 - 1
    image += _patches(places[:, 7:7 + N_DECOYS], signs.reshape(n, N_DECOYS, int(MARK), int(MARK)), size) * (level["decoy"] * nuisance)
    if whole:
        shown = np.stack([glyphs()[block["texture"]], glyphs()[10 + block["marker_a"]]], 1).astype(np.float32)
        image += _patches(places[:, 7 + N_DECOYS:], shown, size) * (contrast * level["decoy"])


def _stamp(image: np.ndarray, patterns: tuple[np.ndarray, np.ndarray], gain: np.ndarray, center: np.ndarray, radius: np.ndarray,
           rotation: np.ndarray) -> None:
    """Adds gain f32[B] x tables i16[B,T,T]-by-index at center f32[B,2] (pixels) with radius f32[B] pixels, in place."""
    table, index = patterns
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


def _patches(places: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    """Values f32[B,n,MARK,MARK] around places f32[B,n,2]: f32[B,size,size], a value a pixel of the 32-pixel image."""
    side = int(MARK)
    around = np.arange(side) - side // 2
    corner = np.floor(places * BASE).astype(np.int64)
    rows, cols = corner[..., 0, None, None] + around[:, None], corner[..., 1, None, None] + around
    rows, cols = np.broadcast_to(rows, values.shape), np.broadcast_to(cols, values.shape)
    inside = (rows >= 0) & (rows < BASE) & (cols >= 0) & (cols < BASE)
    image = np.zeros((len(values), BASE, BASE), np.float32)
    b, _, _, _ = np.nonzero(inside)
    image[b, rows[inside], cols[inside]] = values[inside]  # cells are apart: no pixel is meant twice
    at = np.arange(size) * BASE // size
    return image[:, at][:, :, at]


def boxes(block: Latents) -> np.ndarray:
    """Where lesion and findings lie: f32[B,7,4], (top, left, bottom, right) as fractions of the image; zeros for a finding not there."""
    half = np.concatenate([np.full((len(block["id"]), 1), LESION / 2 / BASE, np.float32) * block["lesion_size"][:, None],
                           np.full((len(block["id"]), 6), MARK / 2 / BASE, np.float32)], 1)[..., None]
    center = np.concatenate([lesion_center(block)[:, None], mark_places(block, 6)], 1)
    there = np.concatenate([np.ones((len(half), 1)), block["findings"]], 1)[..., None].astype(np.float32)
    return np.clip(np.concatenate([center - half, center + half], -1), 0, 1) * there


def mask(block: Latents, size: int) -> np.ndarray:
    """The same as a label map u8[B,size,size,1]: 0 nothing, 1 the lesion (a disc), 2..7 the findings (squares)."""
    at = ((np.arange(size) + 0.5) / size).astype(np.float32)
    center, half = lesion_center(block), np.float32(LESION / 2 / BASE) * block["lesion_size"]
    far = (at[None, :, None] - center[:, 0, None, None]) ** 2 + (at[None, None] - center[:, 1, None, None]) ** 2
    out = (far <= (half**2)[:, None, None]).astype(np.uint8)
    box = boxes(block)[:, 1:]
    for k in range(6):
        rows = (at >= box[:, k, 0, None]) & (at < box[:, k, 2, None])
        cols = (at >= box[:, k, 1, None]) & (at < box[:, k, 3, None])
        out[rows[:, :, None] & cols[:, None]] = 2 + k
    return out[..., None]
