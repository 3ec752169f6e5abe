"""The elements of a DICOM file that pixels and geometry need: only these are ever parsed, and errors quote none of their values."""

import io
import zlib
from typing import Any

import numpy as np

from mmrep.data.medical.files import Told, package

PIXELS = ("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "BitsAllocated",
          "BitsStored", "HighBit", "PixelRepresentation", "PixelData", "FloatPixelData", "DoubleFloatPixelData", "ExtendedOffsetTable",
          "ExtendedOffsetTableLengths", "RedPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableDescriptor",
          "BluePaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableData",
          "BluePaletteColorLookupTableData", "SegmentedRedPaletteColorLookupTableData", "SegmentedGreenPaletteColorLookupTableData",
          "SegmentedBluePaletteColorLookupTableData")
MEANING = ("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence",
           "PixelSpacing", "ImagerPixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "SharedFunctionalGroupsSequence",
           "PerFrameFunctionalGroupsSequence", "ImageType", "Modality", "ViewPosition", "ImageLaterality", "SeriesInstanceUID",
           "PixelPaddingValue", "PixelPaddingRangeLimit", "SpacingBetweenSlices", "SliceThickness")
# Codes that metadata passes on; anything else in their place could be a name and is left out
CODES = {"Modality": {"CR", "CT", "DX", "ECG", "ES", "GM", "IO", "IVUS", "MG", "MR", "NM", "OCT", "OP", "OPT", "OT", "PT", "PX", "RF",
                      "RTDOSE", "SC", "SEG", "SM", "US", "XA", "XC"},
         "ViewPosition": {"AP", "PA", "LL", "RL", "RLD", "LLD", "RLO", "LLO", "CC", "MLO", "ML", "LM", "XCCL", "LATERAL"},
         "ImageLaterality": {"L", "R", "B", "U"}}
# Functional groups of enhanced multi-frame files: DICOM PS3.3 C.7.6.16.2
GROUPS = {"RescaleSlope": "PixelValueTransformationSequence", "RescaleIntercept": "PixelValueTransformationSequence",
          "WindowCenter": "FrameVOILUTSequence", "WindowWidth": "FrameVOILUTSequence", "VOILUTFunction": "FrameVOILUTSequence",
          "PixelSpacing": "PixelMeasuresSequence", "ImagePositionPatient": "PlanePositionSequence",
          "ImageOrientationPatient": "PlaneOrientationSequence"}
WINDOWS = ("WindowCenter", "WindowWidth", "VOILUTFunction")
FRAMES = 100_000  # more than a volume has
DEFLATED = b"1.2.840.10008.1.2.1.99"  # as explicit little endian, 1.2.840.10008.1.2.1, but for the deflation


def open_file(data: bytes, name: str, max_bytes: int) -> Any:
    """The listed elements of a file that begins as DICOM does. Raises Told, and what pydicom raises on damage."""
    if data[128:132] != b"DICM":
        raise Told(f"dicom: {name} is no DICOM file (no DICM after 128 bytes)")
    return package("pydicom").dcmread(io.BytesIO(inflated(data, name, max_bytes)), specific_tags=[*PIXELS, *MEANING])


def inflated(data: bytes, name: str, max_bytes: int) -> bytes:
    """A deflated file as a plain one, no longer than the limit; others as they are: DICOM PS3.5 A.5 (pydicom inflates without limit)."""
    start = 144 + int.from_bytes(data[140:144], "little")  # after the group of file meta elements, whose length comes first
    meta = data[:start]
    if data[132:138] != b"\x02\x00\x00\x00UL" or DEFLATED not in meta:
        return data
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    plain = stream.decompress(data[start:], max_bytes + 1)
    if len(plain) > max_bytes:
        raise Told(f"dicom: {name} unpacks to more than max_bytes={max_bytes}; raise it if that is right")
    if not stream.eof:
        raise Told(f"dicom: {name} is cut short; copy or write it again")
    return meta.replace(DEFLATED, DEFLATED[:-3].ljust(len(DEFLATED), b"\0")) + plain


def by_frame(file: Any, keyword: str, frames: int) -> list[Any]:
    """An element's value for each frame: the file's own, that of all frames, or the frame's; None where there is none."""
    own = file.get(keyword)
    if own is not None:
        return [own] * frames

    def within(group: Any) -> Any:
        return next((item.get(keyword) for item in group.get(GROUPS[keyword]) or []), None)

    shared = next((within(group) for group in file.get("SharedFunctionalGroupsSequence") or []), None)
    groups = list(file.get("PerFrameFunctionalGroupsSequence") or [])
    if 0 < len(groups) < frames:
        raise Told(f"dicom: {len(groups)} frames are described and {frames} are there; write the file again")
    values = [within(group) for group in groups[:frames]] or [None] * frames
    return [shared if value is None else value for value in values]


def element(file: Any, keyword: str, frames: int = 1, frame: int | None = None) -> Any:
    """An element's value for one frame, or where all share one; None where there is none. Raises Told where they differ."""
    values = by_frame(file, keyword, frames)
    if frame is not None:
        return values[frame]
    if any(value != values[0] for value in values):
        raise Told(f"dicom: frames differ in {keyword}; read one with frame=" + (", or pass window=" if keyword in WINDOWS else ""))
    return values[0]


def code(file: Any, keyword: str) -> str | None:
    """The element's value where it is a standard code."""
    value = str(file.get(keyword) or "").strip()
    return value if value in CODES[keyword] else None


def planes(file: Any, name: str) -> list[dict[str, Any]]:
    """Where each frame lies: position f64[3], axes f64[2, 3] (row and column direction), spacing f64[2] mm, thickness mm (the distance to
    the next slice as the file tells it, else its thickness, else 0), shape, series, modality.

    Raises Told on color, or a frame whose place is not told or is no image plane. Elements: DICOM PS3.3 C.7.6.2, C.7.6.16.2.1 to 2.4.
    """
    frames = int(file.get("NumberOfFrames") or 1)
    if int(file.get("SamplesPerPixel") or 1) > 1:
        raise Told(f"dicom: {name} is in color; read it with read_dicom")
    if "MOSAIC" in (file.get("ImageType") or []):  # Siemens: slices side by side in one picture
        raise Told(f"dicom: {name} is a mosaic of slices; turn it into NIfTI (dcm2niix) and read that")
    keywords = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
    if len(file.get("PerFrameFunctionalGroupsSequence") or []) not in (0, frames) or frames > FRAMES:
        raise Told(f"dicom: {name} declares {frames} frames and does not describe that many; write it again")
    told = list(zip(*(by_frame(file, keyword, frames) for keyword in keywords)))
    out = []
    for place in told:
        if any(value is None for value in place) or file.get("Rows") is None or file.get("Columns") is None:
            raise Told(f"dicom: {name} does not say where its slice lies (position, orientation, spacing or size is missing)"
                       + ("; frames are read with read_dicom" if frames > 1 else ""))
        position, axes, spacing = (np.array([float(v) for v in value]) for value in place)
        if position.shape != (3,) or axes.shape != (6,) or spacing.shape != (2,) \
                or not np.isfinite(np.concatenate([axes, position, spacing])).all() \
                or np.abs(axes.reshape(2, 3) @ axes.reshape(2, 3).T - np.eye(2)).max() > 1e-2 or spacing.min() <= 0:
            raise Told(f"dicom: {name} has a position, orientation or spacing that is no image plane")
        apart = next((float(v) for v in (file.get("SpacingBetweenSlices"), file.get("SliceThickness")) if v and 0 < float(v) < 1e4), 0.0)
        out.append({"position": position, "axes": axes.reshape(2, 3), "spacing": spacing, "thickness": apart,
                    "shape": (int(file.Rows), int(file.Columns)), "series": str(file.get("SeriesInstanceUID")),
                    "modality": code(file, "Modality")})
    return out
