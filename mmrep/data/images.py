"""How picture files are decoded: with Pillow, bit for bit as its users get them, or fast (`mmrep.data.fast`)."""

import io
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from mmrep.data import fast
from mmrep.data.transforms.pixels import with_channels


def decode(data: bytes | np.ndarray, channels: int = 1, bits: int = 8, size_hint: int | None = None, how: str = "exact",
           max_pixels: int | None = None) -> np.ndarray:
    """Decode one picture to u8 (bits 8) or u16 (bits 16) [H, W, channels], turned as its EXIF orientation says.

    how         "exact": Pillow, bit for bit. `size_hint` lets a JPEG be decoded at 1/2, 1/4 or 1/8 scale as long as its shorter side
                stays >= size_hint pixels. "fast": a picture whose shorter side is above `size_hint` pixels is averaged down to it, a JPEG
                by simplejpeg and OpenCV where they are installed and as far as they can (`fast.library` tells), else by Pillow
    max_pixels  the most that a picture may declare, before anything is decoded; None: Pillow's own, 178,956,970
    An 8-bit file read with bits=16 is scaled by 257. Raises ValueError or OSError on anything that is not such a
    picture, is cut short or too large, on a 16-bit file read with bits=8 (no window is right for every scanner), on 16-bit color in a
    picture file, and on a TIFF of several pages.
    """
    if how not in ("exact", "fast"):
        raise ValueError(f"decode: {how!r} is not 'exact' or 'fast'")
    if how == "exact":
        return _decoded(data, channels, bits, size_hint, max_pixels)
    pixels = None if isinstance(data, np.ndarray) else fast.decode_jpeg(data, channels, size_hint, _most(max_pixels))
    pixels = _decoded(data, channels, bits, size_hint, max_pixels) if pixels is None else _fit(pixels, channels, bits)
    return fast.shrink(pixels, size_hint) if size_hint else pixels


def _most(max_pixels: int | None) -> float:
    """The largest picture, in pixels. Pillow warns at its own limit and refuses above twice that."""
    if max_pixels is not None:
        return max_pixels
    from PIL import Image

    return np.inf if Image.MAX_IMAGE_PIXELS is None else 2 * Image.MAX_IMAGE_PIXELS


def _opened(data: bytes, max_pixels: int | None, read: Callable[[Any], np.ndarray]) -> np.ndarray:
    """`read` of the opened picture. Raises ValueError or OSError only, before decoding where it declares more than `max_pixels`."""
    from PIL import Image

    if max_pixels is not None and Image.MAX_IMAGE_PIXELS is not None and max_pixels > 2 * Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = max_pixels  # of the process: Pillow has no other place for it
    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
            if width * height > _most(max_pixels):
                raise ValueError(f"declares {width} x {height} pixels, more than {_most(max_pixels):,.0f}; raise max_pixels if it is right")
            return read(image)
    except (ValueError, OSError):
        raise
    except Image.DecompressionBombError as error:
        raise ValueError(f"declares too many pixels ({error}); raise max_pixels if it is right") from None
    except Exception as error:  # of damaged files, Pillow's parsers raise nearly anything
        raise ValueError(f"is damaged ({type(error).__name__}: {error})") from None


def _decoded(data: bytes | np.ndarray, channels: int, bits: int, size_hint: int | None, max_pixels: int | None) -> np.ndarray:
    if isinstance(data, np.ndarray):
        return _fit(data if data.ndim == 3 else data[..., None], channels, bits)
    return _opened(data, max_pixels, lambda image: _pixels(image, data, channels, bits, size_hint))


def _pixels(image: Any, data: bytes, channels: int, bits: int, size_hint: int | None) -> np.ndarray:
    """Pixels of an opened picture, as `decode` says of "exact"."""
    from PIL import ImageOps

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


def decode_mask(data: bytes | np.ndarray, max_pixels: int | None = None) -> np.ndarray:
    """Decode a mask of class numbers to u8 [H, W, 1]: palette indices as stored, and 0 / 255 (or 1-bit) as 0 / 1.

    `max_pixels` and errors as for `decode`.
    """
    if not isinstance(data, np.ndarray):
        data = _opened(data, max_pixels, lambda image: np.asarray(image if image.mode in ("1", "L", "P") else image.convert("L")))
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
