"""Whole-slide images by tifffile or openslide: levels of a pyramid, regions of any of them, tissue, tiles at a wanted resolution."""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.medical.files import MAX_BYTES, Told, bounded, guarded
from mmrep.data.medical.tiff import check_page, microns, open_tiff, read_region

THUMBNAIL = 2048  # pixels of the longer side where tissue is looked for
LEAST_SATURATION, MOST_SATURATION = 15, 64  # of 255: below it is the scanner's noise; above, more only tells strong stains from weak


class TiffSlide:
    """A pyramid in a TIFF: pages (Aperio SVS, libvips) or sub-pages (OME) of the first page's shape in smaller. As `open_slide`."""

    def __init__(self, path: str | Path, max_bytes: int = MAX_BYTES):
        self.name = str(path)
        self._file = open_tiff(str(path))
        first = self._file.pages[0]
        height, width = first.imagelength, first.imagewidth
        pages = {(height, width): first}
        for page in [*(first.pages or []), *self._file.pages[1:]]:
            h, w = page.imagelength, page.imagewidth
            same = page.samplesperpixel == first.samplesperpixel and page.dtype == first.dtype
            if same and 0 < h < height and 0 < w < width and abs(h * width / height - w) <= max(1, w / 100):  # labels have another shape
                pages.setdefault((h, w), page)
        for page in pages.values():
            check_page(page, self.name, max_bytes)
        if first.dtype != np.uint8 or first.samplesperpixel < 3:
            raise Told(f"slide: {path} is not in color of 8 bits; read it with read_tiff")
        self._pages = [pages[size] for size in sorted(pages, reverse=True)]
        self.mpp = _told_microns(str(first.description)) or microns(first)
        self.shapes = [(page.imagelength, page.imagewidth) for page in self._pages]

    def read(self, level: int, top: int, left: int, height: int, width: int) -> np.ndarray:
        """Pixels u8[height, width, 3] of a level, from (top, left) of that level; white outside."""
        return guarded(lambda: read_region(self._file, self._pages[level], self.name, top, left, height, width), self.name, "slide")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class OpenSlide:
    """A slide of any scanner that openslide reads. As `open_slide`."""

    def __init__(self, path: str | Path, max_bytes: int = MAX_BYTES):
        import openslide

        self.name, self._slide = str(path), openslide.OpenSlide(str(path))
        self.shapes = [(h, w) for w, h in self._slide.level_dimensions]
        mpp = self._slide.properties.get("openslide.mpp-x")
        self.mpp = float(mpp) if mpp else None

    def read(self, level: int, top: int, left: int, height: int, width: int) -> np.ndarray:
        """Pixels u8[height, width, 3] of a level, from (top, left) of that level; white outside."""
        down = self._slide.level_downsamples[level]
        where = (round(left * down), round(top * down))
        pixels = guarded(lambda: np.asarray(self._slide.read_region(where, level, (width, height))), self.name, "slide")
        alpha = pixels[..., 3:].astype(np.uint16)
        return ((pixels[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)

    def close(self) -> None:
        """Close the file."""
        self._slide.close()


def open_slide(path: str | Path, backend: str | None = None, max_bytes: int = MAX_BYTES) -> TiffSlide | OpenSlide:
    """Open a slide: `shapes` [(H, W), ...] from the largest level down, `mpp` (micrometers a pixel of level 0, or None), `read`, `close`.

    `backend` is "tifffile" (TIFF, SVS, OME-TIFF), "openslide" (where installed), or None: tifffile, and openslide for what it cannot read.
    Raises FileNotFoundError; ValueError on a file neither reads, damage, tiles of more than `max_bytes`.
    """
    if backend not in (None, "tifffile", "openslide"):
        raise ValueError(f"slide: backend {backend!r} is neither 'tifffile' nor 'openslide'")
    if not Path(path).is_file():
        raise FileNotFoundError(f"slide: no file at {path}")
    try:
        if backend != "openslide":
            return guarded(lambda: TiffSlide(path, max_bytes), str(path), "slide")
        why = "openslide-python is not installed"
    except ValueError as error:
        if backend == "tifffile":
            raise
        why = str(error)
    try:
        import openslide  # noqa: F401
    except ImportError:
        raise ValueError(f"{why}; other formats need: pip install openslide-python openslide-bin") from None
    return guarded(lambda: OpenSlide(path, max_bytes), str(path), "slide")


def _told_microns(description: str) -> float | None:
    """Micrometers a pixel in the text of Aperio ("MPP = 0.25") or OME ("PhysicalSizeX="0.25"", micrometers unless it says otherwise)."""
    found = re.search(r"\bMPP\s*=\s*(\d+\.?\d*)", description) or (
        None if re.search(r'PhysicalSizeXUnit="(?!µm|um)', description) else re.search(r'PhysicalSizeX="(\d+\.?\d*)"', description))
    value = float(found.group(1)) if found else 0.0
    return value if 0.02 < value < 300 else None


def thumbnail(slide: TiffSlide | OpenSlide, most: int = THUMBNAIL) -> np.ndarray:
    """The whole slide, u8[h, w, 3] with at most `most` pixels a side: means of blocks of the smallest level that has as many."""
    level = max((k for k, shape in enumerate(slide.shapes) if max(shape) >= most), default=0)
    height, width = slide.shapes[level]
    k = -(-max(height, width) // most)
    wide, high = -(-width // k) * k, max(512 // k, 1) * k  # bands of many blocks, for a tile is unpacked whole each time
    bounded(wide * high * 3, f"a band of {slide.name}", MAX_BYTES)
    rows = []
    for top in range(0, -(-height // k) * k, high):
        band = slide.read(level, top, 0, min(high, -(-(height - top) // k) * k), wide)
        rows.append(band.reshape(-1, k, wide // k, k, 3).mean((1, 3), dtype=np.float32))
    return np.rint(np.concatenate(rows)).astype(np.uint8)


def tissue_mask(pixels: np.ndarray) -> np.ndarray:
    """Where a thumbnail u8[h, w, 3] shows tissue: bool[h, w].

    Saturation (HSV), smoothed, above Otsu's threshold (Otsu 1979, eq. 14 to 18) of what lies below 64 of 255, and never below 15; holes
    are filled and specks left out. A field that is tissue from edge to edge has its palest parts left out.
    """
    from scipy import ndimage

    top, low = pixels.max(-1).astype(np.float32), pixels.min(-1).astype(np.float32)
    saturation = np.rint(255 * (top - low) / np.maximum(top, 1))
    smooth = np.minimum(ndimage.uniform_filter(saturation, 5, mode="nearest"), MOST_SATURATION)
    mask = smooth > max(otsu(smooth), LEAST_SATURATION)
    reach = np.ones((5, 5), bool)
    return ndimage.binary_opening(ndimage.binary_fill_holes(ndimage.binary_closing(np.pad(mask, 4), reach)), reach)[4:-4, 4:-4]


def otsu(values: np.ndarray) -> float:
    """The threshold on values in [0, 255] that separates two classes best; a value above it is of the upper one."""
    counts = np.histogram(values, 256, (0, 256))[0].astype(float)
    below, levels = np.cumsum(counts), np.arange(256)
    above = below[-1] - below
    sums = np.cumsum(counts * levels)
    between = below * above * (sums / np.maximum(below, 1) - (sums[-1] - sums) / np.maximum(above, 1)) ** 2
    return float(np.argmax(between))


def tile_grid(shape: tuple[int, int], size: float, stride: float | None = None, mask: np.ndarray | None = None, share: float = 0.5
              ) -> np.ndarray:
    """Top left corners (y, x) of tiles that lie within a slide: i64[N, 2] in pixels of level 0, row by row.

    `shape` (H, W), `size` and `stride` (default: the size) are in pixels of level 0. With a `mask` bool[h, w] over the whole slide, only
    tiles of which at least `share` is true. Raises ValueError on a size or stride below 1, a share beyond 0 to 1.
    """
    stride = size if stride is None else stride
    if not (size >= 1 and stride >= 1 and 0 <= share <= 1):
        raise ValueError(f"slide: tiles of size {size}, stride {stride}, share {share}: sizes are at least 1 pixel, shares 0 to 1")
    ys, xs = (np.floor(np.arange(max(math.floor((side - size) / stride + 1e-9) + 1, 0)) * stride).astype(np.int64) for side in shape)
    corners = np.stack(np.meshgrid(ys, xs, indexing="ij"), -1).reshape(-1, 2)
    if mask is None or not len(corners):
        return corners
    total = np.pad(np.cumsum(np.cumsum(mask, 0, dtype=np.int64), 1), ((1, 0), (1, 0)))
    scale = np.array(mask.shape) / np.array(shape)
    low = np.floor(corners * scale).astype(np.int64)
    high = np.minimum(np.maximum(np.ceil((corners + size) * scale), low + 1), mask.shape).astype(np.int64)
    low = np.minimum(low, high - 1)
    inside = (total[high[:, 0], high[:, 1]] - total[low[:, 0], high[:, 1]] - total[high[:, 0], low[:, 1]] + total[low[:, 0], low[:, 1]])
    return corners[inside >= share * (high - low).prod(1)]


def slide_tiles(path: str | Path, size: int = 256, mpp: float | None = None, level: int = 0, stride: float | None = None,
                tissue: float | None = 0.5, native_mpp: float | None = None, backend: str | None = None, max_bytes: int = MAX_BYTES
                ) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
    """Tiles u8[size, size, 3] of a slide, row by row, each with {"y", "x": corner in pixels of level 0, "level", "mpp": its own or None}.

    `mpp` (micrometers a pixel: 0.5 is 20x of most scanners) is reached by averaging down from the next finer level; None takes `level` as
    it is. `native_mpp` is that of level 0 where the file does not tell. `stride` in pixels of the tile (default: the size). `tissue` is the
    share of a tile that `tissue_mask` must find (None: every tile). Tiles that overlap the slide's end are left out.
    Raises as `open_slide`; ValueError on an unknown or unreachable resolution, a level that is not there.
    """
    slide = open_slide(path, backend, max_bytes)
    try:
        full = slide.shapes[0]
        downs = [full[1] / shape[1] for shape in slide.shapes]
        native = slide.mpp if native_mpp is None else native_mpp
        if mpp is None:
            if not 0 <= level < len(downs):
                raise ValueError(f"slide: {path} has {len(downs)} levels, no level {level}")
            down = downs[level]
        else:
            if native is None:
                raise ValueError(f"slide: {path} does not tell its micrometers a pixel; pass native_mpp=")
            down = mpp / native
            if not (math.isfinite(down) and down >= 0.99):
                raise ValueError(f"slide: {path} has {native} micrometers a pixel, no {mpp}; ask for a coarser resolution")
            level = max(k for k, each in enumerate(downs) if each <= down * 1.01)
        side = max(round(size * down / downs[level]), 1)  # pixels of the level that make a tile
        bounded(side * side * 3, f"a tile of {slide.name}", max_bytes)
        mask = None if tissue is None else tissue_mask(thumbnail(slide))
        for y, x in tile_grid(full, size * down, None if stride is None else stride * down, mask, tissue or 0.0):
            pixels = slide.read(level, round(y / downs[level]), round(x / downs[level]), side, side)
            yield _resized(pixels, size), {"y": int(y), "x": int(x), "level": level, "mpp": None if native is None else native * down}
    finally:
        slide.close()


def _resized(pixels: np.ndarray, size: int) -> np.ndarray:
    """Pixels averaged down to u8[size, size, 3]."""
    if pixels.shape[0] == size:
        return pixels
    from PIL import Image

    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BOX))
