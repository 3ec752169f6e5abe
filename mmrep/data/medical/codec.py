"""Compressed DICOM frames (run lengths, JPEG, JPEG-LS, JPEG 2000) by imagecodecs, all of permissive licenses, as a decoder of pydicom's."""

from typing import Any

import numpy as np

from mmrep.data.medical.files import package

RUN_LENGTHS = "1.2.840.10008.1.2.5"
JPEG = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
JPEG_2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202",
             "1.2.840.10008.1.2.4.203")
# pydicom asks for this and for `is_available`
DECODER_DEPENDENCIES = {uid: ("imagecodecs",) for uid in (RUN_LENGTHS, *JPEG, *JPEG_LS, *JPEG_2000)}


def is_available(uid: str) -> bool:
    """Whether frames of a transfer syntax are decoded here."""
    return uid in DECODER_DEPENDENCIES


def decode(file: Any, frame: int | None = None) -> np.ndarray:
    """Pixels of a compressed pydicom Dataset as `pydicom.pixels.pixel_array` gives them: u|i[(F,) H, W(, C)], color as RGB.

    Raises ImportError without the package, on damage what pydicom and the libraries raise. Transfer syntaxes: DICOM PS3.5 section 10 and
    annex A.4.
    """
    uid = file.file_meta.TransferSyntaxUID
    if uid not in DECODER_DEPENDENCIES:
        return package("pydicom.pixels").pixel_array(file, index=frame, decoding_plugin="")
    package("imagecodecs")
    decoder = package("pydicom.pixels.decoders.base").Decoder(uid)  # one of our own: pydicom's are shared, and try every package there is
    decoder.add_plugin("imagecodecs", (__name__, "decode_frame"))
    options = package("pydicom.pixels.utils").as_pixel_options(file)
    return decoder.as_array(file, index=frame, decoding_plugin="imagecodecs", **options)[0]


def decode_frame(data: bytes, runner: Any) -> bytes:
    """Stored values of one frame, colors interleaved and as they are coded; `runner` is told how they are laid out."""
    codecs, uid = package("imagecodecs"), runner.transfer_syntax
    if uid == RUN_LENGTHS:
        return _run_lengths(data, runner)
    if uid in JPEG_2000:
        values = codecs.jpeg2k_decode(data)
        if runner.photometric_interpretation in ("YBR_ICT", "YBR_RCT"):  # undone with the wavelets
            runner.set_option("photometric_interpretation", "RGB")
    elif uid in JPEG_LS:
        values = codecs.jpegls_decode(data)
    else:
        color = {"colorspace": "RGB", "outcolorspace": "RGB"} if runner.samples_per_pixel == 3 else {}  # that is, no conversion
        values = codecs.jpeg8_decode(data, **color)
    if values.shape != (runner.rows, runner.columns, runner.samples_per_pixel)[:values.ndim]:
        raise ValueError("another size than the file declares")
    runner.set_option("bits_allocated", 8 * values.itemsize)
    if runner.samples_per_pixel > 1:
        runner.set_option("planar_configuration", 0)
    return values.tobytes()


def _run_lengths(data: bytes, runner: Any) -> bytes:
    """Stored values of a frame in PackBits, a segment for each byte of each sample, highest byte first: DICOM PS3.5 annex G.

    pydicom's own decoder lets a segment grow to 64 times its bytes, and walks it in Python.
    """
    size, count = runner.rows * runner.columns, int.from_bytes(data[:4], "little")
    wide = runner.bits_allocated // 8
    starts = np.frombuffer(data[4:64], "<u4")[:count].tolist()
    if count != runner.samples_per_pixel * wide or len(starts) != count:
        raise ValueError("another number of segments than samples and bytes")
    segments = []
    for start, end in zip(starts, [*starts[1:], len(data)]):
        segment = package("imagecodecs").packbits_decode(data[start:end], out=size + 1024)[:size]  # and what padding makes
        if len(segment) != size:
            raise ValueError("a segment is too short")
        segments.append(np.frombuffer(segment, np.uint8))
    runner.set_option("planar_configuration", 1)
    return np.stack(segments).reshape(-1, wide, size)[:, ::-1].transpose(0, 2, 1).tobytes()
