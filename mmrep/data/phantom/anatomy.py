"""Anatomy of the whole scene: ellipsoids of an organ site, as a volume holds them and as they look projected from the front."""

from functools import lru_cache

import numpy as np

ORGANS = ("chest", "heart", "abdomen")
STYLE = ("inspiration", "heart_rate", "posture")
AIR, FILM, EXPOSURE = 20.0, 30.0, 1.1  # gray of air in a volume; of the empty film, and per gray of a mean along the depth

# An ellipsoid: center and half-axes as (row, column, depth) fractions, gray added inside, and what it moves with
_BODY = ((.55, .50, .50), (.52, .47, .42), 100.0)
_SPINE = ((.55, .50, .82), (.48, .06, .07), 55.0)
_ELLIPSOIDS = {
    "chest": (_BODY, _SPINE, ((.48, .29, .48), (.33, .17, .30), -75.0), ((.48, .71, .48), (.33, .17, .30), -75.0),
              ((.58, .56, .40), (.17, .14, .16), 30.0)),
    "heart": (_BODY, _SPINE, ((.50, .52, .45), (.30, .28, .26), 30.0), ((.54, .58, .44), (.19, .15, .16), 25.0),
              ((.46, .42, .44), (.16, .12, .14), 20.0), ((.20, .50, .45), (.18, .07, .07), 25.0)),
    "abdomen": (_BODY, _SPINE, ((.36, .32, .45), (.24, .25, .28), 30.0), ((.34, .74, .58), (.13, .10, .14), 25.0),
                ((.60, .28, .70), (.13, .07, .08), 35.0), ((.60, .72, .70), (.13, .07, .08), 35.0),
                ((.72, .52, .30), (.12, .20, .12), -60.0)),
}


def _moved(ellipsoid: tuple, inspiration: float, posture: float) -> tuple:
    """The ellipsoid of a subject: air-filled ones grow down with inspiration, all but the spine lean with posture."""
    (row, col, depth), (height, width, length), gray = ellipsoid
    grown = 1 + 0.10 * inspiration if gray < 0 else 1.0
    return (row + height * (grown - 1), col + 0.02 * posture * (ellipsoid is not _SPINE), depth), (height * grown, width, length), gray


def _flat(organ: str, size: int, inspiration: float, posture: float) -> np.ndarray:
    """Mean along the depth, exactly: an ellipsoid's chord. f64[size,size]"""
    at = (np.arange(size) + 0.5) / size
    total = np.zeros((size, size))
    for ellipsoid in _ELLIPSOIDS[organ]:
        (row, col, _), (height, width, length), gray = _moved(ellipsoid, inspiration, posture)
        inside = 1 - ((at[:, None] - row) / height) ** 2 - ((at[None] - col) / width) ** 2
        total += gray * 2 * length * np.sqrt(np.maximum(inside, 0))
    return total


def _solid(organ: str, side: int, inspiration: float, posture: float) -> np.ndarray:
    """Gray above air, f64[depth,height,width], edges a voxel wide."""
    at = (np.arange(side) + 0.5) / side
    total = np.zeros((side,) * 3)
    for ellipsoid in _ELLIPSOIDS[organ]:
        (row, col, depth), (height, width, length), gray = _moved(ellipsoid, inspiration, posture)
        radius = np.sqrt(((at[:, None, None] - depth) / length) ** 2 + ((at[None, :, None] - row) / height) ** 2
                         + ((at[None, None] - col) / width) ** 2)
        total += gray * np.clip((1 - radius) * min(height, width, length) * side + 0.5, 0, 1)
    return total


def _family(make: object, size: int) -> np.ndarray:
    """f32[3 organs, 3, ...]: the anatomy, and what a standard deviation of inspiration and of posture adds; in 1/1024."""
    rows = []
    for organ in ORGANS:
        still = make(organ, size, 0.0, 0.0)
        rows.append([still, (make(organ, size, 1.0, 0.0) - make(organ, size, -1.0, 0.0)) / 2,
                     (make(organ, size, 0.0, 1.0) - make(organ, size, 0.0, -1.0)) / 2])
    return (np.round(np.array(rows) * 1024) / 1024).astype(np.float32)


@lru_cache(maxsize=4)
def _flats(size: int) -> np.ndarray:
    return _family(_flat, size)


@lru_cache(maxsize=2)
def _solids(side: int) -> np.ndarray:
    return _family(_solid, side)


def _mixed(table: np.ndarray, organ: np.ndarray, style: np.ndarray) -> np.ndarray:
    lean = (slice(None),) + (None,) * (table.ndim - 2)
    style = np.clip(style, -3, 3)
    return table[organ, 0] + style[:, 0][lean] * table[organ, 1] + style[:, 2][lean] * table[organ, 2]


def flat_anatomy(organ: np.ndarray, style: np.ndarray, size: int) -> np.ndarray:
    """Projected anatomy f32[B,size,size] in gray levels. organ: i32[B]; style: f32[B,3] in STYLE's order, standard normal."""
    return np.float32(FILM) + np.float32(EXPOSURE) * _mixed(_flats(size), organ, style)


def solid_anatomy(organ: np.ndarray, style: np.ndarray, side: int) -> np.ndarray:
    """The same anatomy as a volume, f32[B,side,side,side] (depth from front to back, row, column) in gray levels."""
    return np.float32(AIR) + _mixed(_solids(side), organ, style)
