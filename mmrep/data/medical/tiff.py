"""TIFF files by tifffile: pictures and stacks of 8 and 16 bits, and any region of a page without the rest of it."""

import io
import math
import threading
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.medical.codestream import check_codestream
from mmrep.data.medical.files import MAX_BYTES, Told, bounded, guarded, package, read_bytes

# none, LZW, JPEG, deflate (two numbers), packbits, JPEG 2000 (two numbers), Zstandard: TIFF 6.0 sections 7 to 22, Adobe notes 1 and 2
XRESOLUTION, YRESOLUTION = 282, 283
CODINGS = (1, 5, 7, 8, 32946, 32773, 33005, 34712, 50000)
LOCK = threading.Lock()  # tifffile keeps decoders in a dict of the file


def read_tiff(source: str | Path | bytes, page: int | None = None, max_bytes: int = MAX_BYTES) -> tuple[np.ndarray, dict[str, Any]]:
    """Read a TIFF: u8|u16|f32[H, W, C], C 1 or 3; [D, H, W, C], a volume, where it has several pages and `page` picks none.

    Values as stored, but alpha is left out, WhiteIsZero is inverted, and other numbers than u8 and u16 become f32.
    Metadata: pages, spacing (row, column) mm or None.
    Raises FileNotFoundError, other OSError; ValueError on damage, more than `max_bytes` decoded, pages of several sizes or kinds, a
    palette, planes of a color each, a coding that is not read, NaN. Format: TIFF 6.0,
    https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf
    """
    data, name = read_bytes(source, max_bytes)
    return guarded(lambda: _stack(open_tiff(io.BytesIO(data)), name, page, max_bytes), name, "tiff")


def _stack(file: Any, name: str, page: int | None, max_bytes: int) -> tuple[np.ndarray, dict[str, Any]]:
    pages = len(file.pages)
    if not (page is None or 0 <= page < pages):
        raise Told(f"tiff: {name} has {pages} pages, no page {page}")
    picked = [file.pages[k] for k in (range(pages) if page is None else [page])]
    first = picked[0]
    if len({(p.imagelength, p.imagewidth, p.samplesperpixel, str(p.dtype)) for p in picked}) > 1:
        raise Told(f"tiff: {name} has pages of several sizes or kinds; pass page=0 to {pages - 1}")
    bounded(len(picked) * first.imagelength * first.imagewidth * min(first.samplesperpixel, 4) * 4, name, max_bytes)
    values = []
    for each in picked:
        check_page(each, name, max_bytes)
        values.append(read_region(file, each, name, 0, 0, each.imagelength, each.imagewidth))
    stack = np.stack(values)
    size = [microns(first, tag) for tag in (YRESOLUTION, XRESOLUTION)]
    return (stack[0] if len(stack) == 1 else stack), {"pages": pages, "spacing": None if None in size else [um / 1000 for um in size]}


def open_tiff(file: Any) -> Any:
    """A tifffile of one stream or path; nothing but its first directory is read yet."""
    return package("tifffile").TiffFile(file, _multifile=False)  # else it would follow names of other files


def check_page(page: Any, name: str, max_bytes: int) -> None:
    """Refuse a page that is not read, or whose tiles or strips are too large to be unpacked one at a time. Raises Told."""
    if int(page.compression) not in CODINGS:
        raise Told(f"tiff: {name} is of coding {int(page.compression)}, which is not read; write it as JPEG, LZW or deflate "
                   "(a slide: install openslide-python)")
    if int(page.photometric) == 3:
        raise Told(f"tiff: {name} has a palette; write its colors")
    if page.samplesperpixel not in (1, 2, 3, 4) or (page.samplesperpixel > 1 and page.planarconfig != 1) or page.imagedepth != 1:
        raise Told(f"tiff: {name} has {page.samplesperpixel} samples a pixel, or planes of one each; write gray or interleaved RGB")
    if page.bitspersample not in (8, 16, 32, 64) or page.dtype is None or page.dtype.kind not in "iuf":
        raise Told(f"tiff: {name} holds {page.bitspersample}-bit {page.dtype}; write 8 or 16 bits")
    if min(page.imagelength, page.imagewidth, *page.chunks) < 1:
        raise Told(f"tiff: {name} declares no pixels")
    bounded(math.prod(page.chunks) * page.dtype.itemsize, f"a tile or strip of {name}", max_bytes)
    pieces = math.prod(page.chunked)
    if len(page.dataoffsets) < pieces or len(page.databytecounts) < pieces:
        raise Told(f"tiff: {name} lists {len(page.dataoffsets)} of its {pieces} tiles or strips; copy or write it again")


def read_region(file: Any, page: Any, name: str, top: int, left: int, height: int, width: int) -> np.ndarray:
    """Pixels [height, width, C] of a checked page, decoding only the tiles or strips they lie in; white outside of the page."""
    high, wide = page.chunks[:2]
    across = page.chunked[1]
    channels = 3 if page.samplesperpixel >= 3 else 1
    dtype = page.dtype if page.dtype in (np.uint8, np.uint16) else np.dtype(np.float32)
    out = np.full((height, width, channels), _white(dtype), dtype)
    bottom, right = min(top + height, page.imagelength), min(left + width, page.imagewidth)
    for row in range(max(top, 0) // high, -(-bottom // high)):
        for column in range(max(left, 0) // wide, -(-right // wide)):
            piece = _piece(file, page, name, row * across + column)[..., :channels]
            y, x = row * high, column * wide
            y0, y1, x0, x1 = max(y, top), min(y + piece.shape[0], bottom), max(x, left), min(x + piece.shape[1], right)
            if y1 > y0 and x1 > x0:
                out[y0 - top:y1 - top, x0 - left:x1 - left] = piece[y0 - y:y1 - y, x0 - x:x1 - x]
    if dtype.kind == "f" and not np.isfinite(out).all():
        raise Told(f"tiff: {name} has pixels that are NaN or infinite; leave it out")
    return out


def _piece(file: Any, page: Any, name: str, number: int) -> np.ndarray:
    """One decoded tile or strip, [h, w, C]."""
    size = page.databytecounts[number]
    shape = page.chunks if len(page.chunks) == 3 else (*page.chunks, 1)
    if size > 2 * math.prod(shape) * page.dtype.itemsize + 65_536:
        raise Told(f"tiff: {name} has a tile of {size} bytes, more than its pixels need; copy or write it again")
    with LOCK:
        file.filehandle.seek(page.dataoffsets[number])
        data = file.filehandle.read(size)
        if len(data) != size:
            raise Told(f"tiff: {name} is cut short; copy it again")
        decode = page.decode
    if not size:  # a tile that the scanner left out
        return np.full(shape, _white(page.dtype), page.dtype)
    if int(page.compression) in (7, 33005, 34712):
        check_codestream(data, name, shape, smaller=True)  # the last tiles may be cut to the page
    values = decode(data, number, jpegtables=page.jpegtables)[0]
    if int(page.photometric) == 0 and values.dtype.kind == "u":
        values = np.iinfo(values.dtype).max - values
    return values.reshape(values.shape[-3:])


def _white(dtype: np.dtype) -> int:
    return int(np.iinfo(dtype).max) if dtype.kind == "u" else 0


def microns(page: Any, tag: int = XRESOLUTION) -> float | None:
    """Micrometers a pixel along x (or y) as the resolution tags tell; None where they do not, or tell what no microscope has: of dots an
    inch, those of printers (72, 300, 600), too."""
    resolution, unit = page.tags.valueof(tag), int(page.tags.valueof(296, 2))
    if not resolution or not min(resolution) or unit not in (2, 3):
        return None
    value = {2: 25400.0, 3: 10000.0}[unit] * resolution[1] / resolution[0]
    return value if 0.02 < value < {2: 25.0, 3: 300.0}[unit] else None
