"""Turn, shear and bend `image` u8|u16|f32[H, W, C], zeros outside; its masks and boxes move along (`masks`)."""

import math
from collections.abc import Sequence

import numpy as np

from mmrep.data.example import Example, Transform
from mmrep.data.transforms.checks import field, limits, number
from mmrep.data.transforms.geometry import per_plane
from mmrep.data.transforms.masks import BOXES, move
from mmrep.data.transforms.pixels import as_dtype


def rotate(degrees: float) -> Transform:
    """Rotate about the center by a uniform angle in [-degrees, degrees], bilinear (masks: nearest), zeros outside."""
    number("rotate: degrees", degrees, 0)

    def apply(example: Example, rng: np.random.Generator) -> Example:
        if field(example, "image") is None:
            return example
        from PIL import Image

        angle = rng.uniform(-degrees, degrees)
        h, w = example["image"].shape[:2]
        kinds = (Image.Resampling.BILINEAR, Image.Resampling.NEAREST)
        return move(example, "image", lambda x, mask: per_plane(x, lambda plane: plane.rotate(angle, kinds[mask])),
                    _fractions(_turn(-math.radians(angle)), np.array([w / 2, h / 2]), h, w))

    return apply


def _turn(angle: float) -> np.ndarray:
    """The rotation of (x, y) by an angle in radians, with y downwards: clockwise as seen."""
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def affine(degrees: float = 0.0, translate: float = 0.0, scale: Sequence[float] = (1.0, 1.0), shear: float = 0.0, p: float = 1.0
           ) -> Transform:
    """Random affine map about the center with probability p: shear, rotation, scale, then shift; bilinear (masks: nearest), zeros outside.

    degrees, shear: angles uniform in +- that; translate: of each side, uniform in +- that share of it; scale: (low, high), uniform. It
    never mirrors. A box becomes the one around what it turns into. Source: torchvision's RandomAffine, as ConVIRT (Zhang et al. 2022) and
    BioViL (Boecking et al. 2022) use it.
    """
    low, high = limits("affine: scale", scale, 0.0, low_open=True)
    number("affine: degrees", degrees, 0)
    number("affine: shear", shear, 0, 90, high_open=True)
    number("affine: translate", translate, 0)
    number("affine: p", p, 0, 1)

    def apply(example: Example, rng: np.random.Generator) -> Example:
        if field(example, "image") is None or rng.uniform() >= p:
            return example
        from PIL import Image

        h, w = example["image"].shape[:2]
        angle, lean = (math.radians(rng.uniform(-most, most)) for most in (degrees, shear))
        factor = rng.uniform(low, high)
        by = np.array([rng.uniform(-translate, translate) * side for side in (w, h)])
        forward = factor * _turn(angle) @ np.array([[1, math.tan(lean)], [0, 1]])  # of (x, y) in pixels from the center
        center = np.array([w / 2, h / 2])
        back = np.linalg.inv(forward)
        start = center - back @ (center + by)
        spec = (back[0, 0], back[0, 1], start[0], back[1, 0], back[1, 1], start[1])
        kinds = (Image.Resampling.BILINEAR, Image.Resampling.NEAREST)
        return move(example, "image", lambda x, mask: per_plane(
            x, lambda plane: plane.transform((w, h), Image.Transform.AFFINE, spec, kinds[mask])), _fractions(forward, center + by, h, w))

    return apply


def _fractions(forward: np.ndarray, to: np.ndarray, h: int, w: int) -> np.ndarray:
    """The matrix of `move` of a map of (x, y) in pixels about the image's center, which goes to `to`."""
    sides = np.array([h, w])
    inner = forward[::-1, ::-1] * sides[None] / sides[:, None]
    return np.concatenate([inner, (to[::-1] / sides - inner @ [0.5, 0.5])[:, None]], 1)


def elastic(alpha: float = 0.05, sigma: float = 0.05, p: float = 1.0) -> Transform:
    """Bend with probability p: every pixel moved by a smooth random field, bilinear (masks: nearest), zeros outside.

    alpha: largest move of a pixel, sigma: deviation of the Gaussian that smooths the field, as shares of the longer side. Raises ValueError
    for an example with boxes, which a bend does not leave rectangles. Source: Simard et al. 2003, section 2 (there alpha scales the field).
    """
    number("elastic: alpha", alpha, 0)
    number("elastic: sigma", sigma, 0, low_open=True)
    number("elastic: p", p, 0, 1)

    def apply(example: Example, rng: np.random.Generator) -> Example:
        if field(example, "image") is None:
            return example
        if BOXES in example:
            raise ValueError(f"elastic: would bend the image away from {BOXES}; put {{'name': 'drop', 'keys': ('{BOXES}',)}} before it")
        if rng.uniform() >= p:
            return example
        from scipy.ndimage import gaussian_filter, map_coordinates

        h, w = example["image"].shape[:2]
        bend = np.stack([gaussian_filter(rng.uniform(-1, 1, (h, w)), sigma * max(h, w), mode="constant") for _ in range(2)])
        at = np.indices((h, w)) + bend * (alpha * max(h, w) / max(np.abs(bend).max(), 1e-12))

        def change(x: np.ndarray, mask: bool) -> np.ndarray:
            order = 0 if mask else 1
            planes = [map_coordinates(plane.astype(np.float32), at, order=order, mode="constant") for plane in np.moveaxis(x, -1, 0)]
            return as_dtype(np.stack(planes, -1), x)

        return move(example, "image", change)

    return apply
