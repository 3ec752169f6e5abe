"""How picture files are decoded, with Pillow."""

import io
import zipfile
import zlib
from typing import Any

import numpy as np

from mmrep.data.transforms.pixels import with_channels


def decode(data: bytes | np.ndarray, channels: int = 1, bits: int = 8, size_hint: int | None = None) -> np.ndarray:
    """Decode one picture to u8 (bits 8) or u16 (bits 16) [H, W, channels], turned as its EXIF orientation says.

    `size_hint` lets a JPEG be decoded at 1/2, 1/4 or 1/8 scale as long as its shorter side stays >= size_hint pixels.
    An 8-bit file read with bits=16 is scaled by 257. Raises ValueError or OSError on anything that is not such a
    picture, on a 16-bit file read with bits=8 (no window is right for every scanner), on 16-bit color in a picture file, and on a
    TIFF of several pages.
    """
    if isinstance(data, np.ndarray):
        return _fit(data if data.ndim == 3 else data[..., None], channels, bits)
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(data)) as image:
        if image.format == "TIFF" and image.n_frames > 1:
            raise ValueError(f"has {image.n_frames} pages; write each as a picture, with a row of its own")
        if image.format == "JPEG":
            if size_hint:
                shorter = min(image.size)
                scale = max(s for s in (1, 2, 4, 8) if s == 1 or shorter // s >= size_hint)
                # Pillow picks the largest scale whose result is not below the size asked for.
                image.draft("L" if channels == 1 else "RGB", (image.size[0] // scale, image.size[1] // scale))
        deep = _sample_bits(image, data)  # of the file: a turned copy knows no format
        if image.info.get("exif"):
            image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I;16") or image.mode == "I":
            values = np.asarray(image)
            if values.min() < 0 or values.max() > 65535:
                raise ValueError(f"holds values from {values.min()} to {values.max()}; store them as 16-bit unsigned")
            return _fit(values.astype(np.uint16)[..., None], channels, bits)
        if deep > 8:  # Pillow would cut them to their high bytes without a word
            raise ValueError(f"has {deep} bits a channel in color; only gray picture files may have more than 8: store it as 8-bit "
                             "color, or as an npz of uint16")
        if image.mode == "F":
            raise ValueError("holds floating-point pixels; store it as an 8- or 16-bit picture")
        mode = "L" if channels == 1 else "RGB"
        pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    return _fit(pixels[..., None] if channels == 1 else pixels, channels, bits)


def _sample_bits(image: Any, data: bytes) -> int:
    """Bits a channel as the file says (PNG, TIFF), 8 where it does not."""
    if image.format == "PNG" and data[12:16] == b"IHDR":
        return data[24]
    if image.format == "TIFF":
        bits = image.tag_v2.get(258, 8)  # BitsPerSample
        return max(bits) if isinstance(bits, tuple) else int(bits)
    return 8


def decode_mask(data: bytes | np.ndarray) -> np.ndarray:
    """Decode a mask of class numbers to u8 [H, W, 1]: palette indices as stored, and 0 / 255 (or 1-bit) as 0 / 1."""
    if not isinstance(data, np.ndarray):
        from PIL import Image

        with Image.open(io.BytesIO(data)) as image:
            data = np.asarray(image if image.mode in ("1", "L", "P") else image.convert("L"))
    mask = (data if data.ndim == 3 else data[..., None]).astype(np.uint8)
    return mask // 255 if np.isin(mask, (0, 255)).all() else mask


def _fit(pixels: np.ndarray, channels: int, bits: int) -> np.ndarray:
    """Pixels [H, W, C] in the wanted number of channels and bits."""
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"holds {pixels.dtype} pixels; store them as uint8 or uint16")
    pixels = with_channels(pixels, channels)
    if bits == 8 and pixels.dtype == np.uint16:
        raise ValueError("has 16 bits a pixel; set bits=16 beside path in the source and put first in prepare "
                         "{'name': 'to_uint8', 'window': (low, high)}, the range of values to see")
    return pixels.astype(np.uint16) * 257 if bits == 16 and pixels.dtype == np.uint8 else pixels


def decode_errors() -> tuple[type[BaseException], ...]:
    """What a corrupt or missing picture may raise, from the file system, the zip or Pillow."""
    import lzma
    import struct

    from PIL import Image

    # RuntimeError: an encrypted member of a zip, or one of a compression that Python lacks
    return (OSError, ValueError, SyntaxError, KeyError, EOFError, RuntimeError, struct.error, zlib.error, lzma.LZMAError,
            zipfile.BadZipFile, Image.DecompressionBombError)
