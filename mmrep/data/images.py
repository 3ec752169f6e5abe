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
    inverted = white_is_zero(image)
    if image.info.get("exif"):
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16") or image.mode == "I":
        values = (1 << deep) - 1 - np.asarray(image, np.int64) if inverted else np.asarray(image)
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


def white_is_zero(image: Any) -> bool:
    """Whether an opened TIFF holds 0 for white, which Pillow turns around in 8 bits and not in 16."""
    return image.format == "TIFF" and image.tag_v2.get(262) == 0  # PhotometricInterpretation


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

    A picture file is turned as its EXIF orientation says; three channels are taken where they are alike. `max_pixels` and errors as for
    `decode`; ValueError too on color, alpha, and values that are not whole numbers from 0 to 255.
    """
    if not isinstance(data, np.ndarray):
        data = _opened(data, max_pixels, _mask_pixels)
    mask = data if data.ndim == 3 else data[..., None]
    if mask.ndim != 3 or not mask.size or (mask != mask[..., :1]).any():
        raise ValueError("is a mask whose channels differ (color?); store class numbers, one a pixel (gray, or a palette)")
    if not whole_bytes(mask):
        raise ValueError(f"is a mask with values from {mask.min()} to {mask.max()}; store class numbers, whole and from 0 to 255")
    mask = mask[..., :1].astype(np.uint8)
    return mask // 255 if np.isin(mask, (0, 255)).all() else mask


def _mask_pixels(image: Any) -> np.ndarray:
    from PIL import ImageOps

    if image.mode not in ("1", "L", "P", "RGB", "I", "F") and not image.mode.startswith("I;16"):
        raise ValueError(f"is a mask of mode {image.mode} (color or alpha); store class numbers, one a pixel (gray, or a palette)")
    if white_is_zero(image) and image.mode != "1":  # of one bit Pillow shows what is meant
        raise ValueError("is a mask whose 0 is white (TIFF, WhiteIsZero), which leaves open whether its numbers or its grays are classes; "
                         "store it with 0 as black")
    return np.asarray(ImageOps.exif_transpose(image) if image.info.get("exif") else image)


def stored_size(data: bytes | np.ndarray, max_pixels: int | None = None) -> tuple[int, int, int]:
    """Height, width and EXIF orientation (1 to 8, 1 is upright) of a picture as it is stored, without decoding it. Errors as `decode`."""
    def size(image: Any) -> tuple[int, int, int]:
        tiff = image.format == "TIFF"  # whose size Pillow gives as turned
        orientation = image.getexif().get(0x0112, 1) if tiff or image.info.get("exif") else 1
        width, height = image.size[::-1] if tiff and orientation in _ON_ITS_SIDE else image.size
        return height, width, orientation if orientation in range(1, 9) else 1

    return (*data.shape[:2], 1) if isinstance(data, np.ndarray) else _opened(data, max_pixels, size)


# How a picture stored with an orientation of EXIF 2.3, 4.6.4, is turned upright
_ON_ITS_SIDE: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).swapaxes(0, 1), 8: np.rot90}


def fit_mask(mask: np.ndarray, shape: tuple[int, ...], stored: tuple[int, int, int]) -> np.ndarray:
    """A mask u8[h, w, C] of a picture as that was decoded, [H, W, C] = `shape`: turned upright with it, and resampled to the nearest pixel
    where the picture was decoded at a smaller scale.

    stored: `stored_size` of the picture, the size that the mask has to have, upright or as stored. ValueError for any other, and where the
    picture is stored turned and the sizes do not tell whether the mask is.
    """
    height, width, orientation = stored
    upright = (width, height) if orientation in _ON_ITS_SIDE else (height, width)
    found = mask.shape[:2]
    if orientation != 1 and found == upright == (height, width):
        raise ValueError(f"is of a picture with EXIF orientation {orientation}, and may be turned or not; write the picture upright")
    if found == (height, width) != upright:
        mask = _ON_ITS_SIDE[orientation](mask)
    if mask.shape[:2] != upright:
        raise ValueError(f"is {list(found)} and its picture {list(upright)}; write them alike")
    if upright == tuple(shape[:2]):
        return np.ascontiguousarray(mask)
    from mmrep.data.transforms.geometry import resample

    return resample(np.ascontiguousarray(mask), *shape[:2], "nearest")


def whole_bytes(values: np.ndarray) -> bool:
    """Whether all are whole numbers from 0 to 255."""
    return values.dtype == np.uint8 or bool(values.min() >= 0 and values.max() <= 255 and np.array_equal(values, np.rint(values)))


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
