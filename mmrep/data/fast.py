"""Pictures decoded fast, by the packages of the extra `fast`: JPEG by simplejpeg at a smaller scale, shrinking by OpenCV.

simplejpeg (https://gitlab.com/jfolz/simplejpeg) and Pillow both call libjpeg-turbo; what is saved is decoding pixels that a resize would
average away, and Pillow's copies. Without the packages Pillow does the same, in twice the time, with pixels that differ a little.
Reading gray radiographs of 224 px at 64, pixels are 2 to 5 of 255 levels from the area mean of the whole picture, as with `size_hint` and
Pillow (tests/data/test_images.py); at a sharp edge a single one may be 100.
"""

import functools
import io
from typing import Any, NamedTuple

import numpy as np


class Packages(NamedTuple):
    """The modules of the extra `fast`."""

    simplejpeg: Any
    cv2: Any


@functools.cache
def packages() -> Packages | None:
    """The packages, or None where one is missing."""
    try:
        import cv2
        import simplejpeg
    except ImportError:
        return None
    cv2.setNumThreads(1)  # the reader threads keep the cores busy; OpenCV's own would wait for them
    return Packages(simplejpeg, cv2)


def library(decode: str) -> str:
    """What decodes pictures under decode="exact" or "fast" here: "pillow" or "simplejpeg+opencv"."""
    return "simplejpeg+opencv" if decode == "fast" and packages() else "pillow"


def notes(decode: str) -> list[str]:
    """A line where "fast" is asked for and its packages are missing."""
    if decode != "fast" or packages():
        return []
    return ["decode='fast' decodes with Pillow, for simplejpeg or opencv-python-headless is missing: half as fast, and pixels differ "
            "a little; pip install -e '.[fast]', or set decode='exact'"]


def decode_jpeg(data: bytes, channels: int, size_hint: int | None, max_pixels: float) -> np.ndarray | None:
    """A JPEG as u8 [H, W, channels], at the smallest scale of n/8 whose shorter side stays >= size_hint.

    None for what Pillow has to decide: no JPEG, no packages, a turned, a CMYK or a damaged one, too many pixels.
    """
    found = packages()
    if found is None or data[:2] != b"\xff\xd8" or _has_exif(data) and _turned(data):
        return None
    try:
        height, width, space, _ = found.simplejpeg.decode_jpeg_header(data)
        if space not in ("YCbCr", "Gray") or height * width > max_pixels:
            return None
        side = size_hint or 0
        # strict: what libjpeg can mend, such as a cut end filled with gray, is an error
        return found.simplejpeg.decode_jpeg(data, "GRAY" if channels == 1 else "RGB", min_height=side, min_width=side, min_factor=1,
                                            strict=True)
    except Exception:  # ValueError mostly, KeyError of a subsampling that it does not know
        return None


def _has_exif(data: bytes) -> bool:
    """Whether a JPEG may hold EXIF: segment by segment up to the scan (ITU-T T.81, B.1.1.4), for a search costs more than that."""
    at = 2
    while len(data) > at + 3 and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xDA:  # start of scan
            return False
        if marker < 0xC0 or 0xD0 <= marker <= 0xD9 or marker == 0xFF:  # none with a length: let Pillow look
            return True
        if marker == 0xE1 and data[at + 4:at + 10] == b"Exif\0\0":
            return True
        at += 2 + (data[at + 2] << 8 | data[at + 3])
    return True


def _turned(data: bytes) -> bool:
    """Whether EXIF says that the picture is stored on its side, mirrored or upside down, or cannot be read."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.getexif().get(0x0112, 1) != 1  # Orientation
    except Exception:  # Pillow's decoding says what is wrong
        return True


def shrink(image: np.ndarray, size: int) -> np.ndarray:
    """[H, W, C] u8|u16 averaged down until its shorter side is `size` pixels; a smaller one as it is."""
    height, width = image.shape[:2]
    if min(height, width) <= size:
        return image
    scale = size / min(height, width)
    height, width = max(round(height * scale), size), max(round(width * scale), size)
    found = packages()
    if found is None:
        from mmrep.data.transforms.geometry import resample

        return resample(image, height, width, "area")
    small = found.cv2.resize(image, (width, height), interpolation=found.cv2.INTER_AREA)
    return small if small.ndim == 3 else small[..., None]
