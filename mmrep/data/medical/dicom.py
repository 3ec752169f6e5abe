"""DICOM images and series, read by pydicom: intensities, colors, frames, patient order. Only the elements named here are ever parsed."""

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.medical.codestream import check_codestream
from mmrep.data.medical.files import MAX_BYTES, Told, as_dtype, bounded, check_output, package, read_bytes, windowed

PIXELS = ("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "BitsAllocated",
          "BitsStored", "HighBit", "PixelRepresentation", "PixelData", "FloatPixelData", "DoubleFloatPixelData", "ExtendedOffsetTable",
          "ExtendedOffsetTableLengths", "RedPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableDescriptor",
          "BluePaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableData",
          "BluePaletteColorLookupTableData", "SegmentedRedPaletteColorLookupTableData", "SegmentedGreenPaletteColorLookupTableData",
          "SegmentedBluePaletteColorLookupTableData")
MEANING = ("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence",
           "PixelSpacing", "ImagerPixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "SharedFunctionalGroupsSequence",
           "PerFrameFunctionalGroupsSequence", "Modality", "ViewPosition", "ImageLaterality", "SeriesInstanceUID")
# Codes that metadata passes on; anything else in their place could be a name and is left out
CODES = {"Modality": {"CR", "CT", "DX", "ECG", "ES", "GM", "IO", "IVUS", "MG", "MR", "NM", "OCT", "OP", "OPT", "OT", "PT", "PX", "RF",
                      "RTDOSE", "SC", "SM", "US", "XA", "XC"},
         "ViewPosition": {"AP", "PA", "LL", "RL", "RLD", "LLD", "RLO", "LLO", "CC", "MLO", "ML", "LM", "XCCL", "LATERAL"},
         "ImageLaterality": {"L", "R", "B", "U"}}
GROUPS = {"RescaleSlope": "PixelValueTransformationSequence", "RescaleIntercept": "PixelValueTransformationSequence",
          "WindowCenter": "FrameVOILUTSequence", "WindowWidth": "FrameVOILUTSequence", "VOILUTFunction": "FrameVOILUTSequence",
          "PixelSpacing": "PixelMeasuresSequence"}


def read_dicom(source: str | Path | bytes, window: tuple[float, float] | str | None = None, dtype: str = "uint8", frame: int | None = None,
               max_bytes: int = MAX_BYTES) -> tuple[np.ndarray, dict[str, Any]]:
    """Read the image of a DICOM file: u8|f32[H, W, C], C 1 or 3 (RGB); [F, H, W, C] where it has several frames and `frame` picks none.

    `window` (low, high) in the file's unit (HU for CT) clips and scales gray to 0 to 255 in u8, [0, 1] in f32; "file" takes the file's
    first window or VOI LUT; None gives f32 in the file's unit (after rescale), and u8 by the file's window, else from the least to the
    greatest value. MONOCHROME1 is inverted, so larger is brighter; in the file's unit it is mirrored in its own range. Color is u8, or
    f32 in [0, 1], and has no window. Compressed pixels are decoded by pydicom with the pylibjpeg packages.
    Metadata: spacing (row, column) mm or None, frames, window ("lut", "range", [low, high] or None), inverted, modality, view, laterality
    (None where the file does not give a standard code).
    Raises FileNotFoundError, other OSError; ValueError on no pixel data, damage, more than `max_bytes` decoded, a window asked of a file
    that has none. Elements: DICOM PS3.3 C.7.6.3 (Image Pixel), C.11.1 (Modality LUT), C.11.2 (VOI LUT).
    """
    check_output(window, dtype)
    data, name = read_bytes(source, max_bytes)
    return _guarded(lambda: _image(_open(data, name), name, window, dtype, frame, max_bytes), name)


def read_dicom_series(source: str | Path | Sequence[str | Path | bytes], window: tuple[float, float] | str | None = None,
                      dtype: str = "float32", max_bytes: int = MAX_BYTES) -> tuple[np.ndarray, dict[str, Any]]:
    """Read the files of one series, or all files of a folder, as a volume: f32|u8[D, H, W] with slices in patient order.

    Slices ascend along the normal of the image plane (row direction x column direction) whatever the files' names and numbers. `window`
    (low, high) as in `read_dicom`, the same for every slice; u8 needs it; "file" is refused, for it may differ from slice to slice.
    Metadata: spacing (slice, row, column) mm, affine (4 x 4 lists: [slice, row, column] to RAS mm), slices, modality, ignored (files of
    the folder that are not DICOM).
    Raises FileNotFoundError, other OSError; ValueError on files of several series, differing sizes, orientations or pixel spacings, slices
    at the same position, a missing slice, color, several frames a file, MONOCHROME1 without a window. Elements: DICOM PS3.3 C.7.6.2.
    """
    check_output(window, dtype)
    if window == "file" or (dtype == "uint8" and window is None):
        raise ValueError("dicom: a series is read with window=(low, high) for all its slices, or as float32 without one")
    sources, ignored = _members(source)
    slices, total = [], 0
    for member in sources:
        data, name = read_bytes(member, max_bytes)
        total += len(data)
        bounded(total, "the series", max_bytes)
        slices.append((_guarded(lambda data=data, name=name: _plane(_open(data, name), name), name), data, name))
    for key, what in (("series", "series"), ("shape", "image sizes")):
        if len({plane[key] for plane, _, _ in slices}) > 1:
            count = len({plane[key] for plane, _, _ in slices})
            raise ValueError(f"dicom: the {len(slices)} files hold {count} {what}; pass the files of one series")
    first = slices[0][0]
    for plane, _, name in slices:
        for key, what, most in (("axes", "orientation", 1e-3), ("spacing", "pixel spacing", 1e-3)):
            if np.abs(plane[key] - first[key]).max() > most:
                raise ValueError(f"dicom: {name} has another {what} than {slices[0][2]}; pass the files of one series")
    normal = np.cross(*first["axes"])
    slices.sort(key=lambda item: float(item[0]["position"] @ normal))
    where = np.array([plane["position"] @ normal for plane, _, _ in slices])
    steps = np.diff(where)
    step = float(np.median(steps)) if len(steps) else 0.0
    for i, gap in enumerate(steps):
        if gap < 1e-3:
            raise ValueError(f"dicom: {slices[i][2]} and {slices[i + 1][2]} are at the same position; pass one of each")
        if abs(gap - step) > max(0.02 * step, 0.02):
            raise ValueError(f"dicom: {gap:.3f} mm between {slices[i][2]} and {slices[i + 1][2]}, elsewhere {step:.3f}; a slice is missing")
    bounded(4 * len(slices) * first["shape"][0] * first["shape"][1], "the volume", max_bytes)
    read = [_guarded(lambda data=data, name=name: _image(_open(data, name), name, window, dtype, None, max_bytes), name)
            for _, data, name in slices]
    if window is None and any(facts["inverted"] for _, facts in read):  # each would be mirrored in a range of its own
        raise ValueError(f"dicom: the {len(slices)} files are MONOCHROME1; pass window=(low, high), which is the same for all slices")
    planes = [pixels for pixels, _ in read]
    row, column = first["axes"]
    affine = np.eye(4)  # DICOM's axes run to the left and posterior, RAS to the right and anterior
    affine[:3, :3] = np.stack([normal * step, column * first["spacing"][0], row * first["spacing"][1]], 1)
    affine[:3, 3] = slices[0][0]["position"]
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    return np.stack([plane[..., 0] for plane in planes]), {
        "spacing": [step, *(float(s) for s in first["spacing"])], "affine": affine.tolist(), "slices": len(slices),
        "modality": first["modality"], "ignored": ignored}


def _guarded(read: Any, name: str) -> Any:
    """What `read()` gives; whatever the decoders raise or warn of may quote the file's values, so only its kind is passed on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return read()
        except (Told, ImportError) as error:
            raise (ValueError(str(error)) if isinstance(error, Told) else error) from None
        except Exception as error:
            raise ValueError(f"dicom: {name} is cut short or damaged ({type(error).__name__}); copy or write it again") from None


def _open(data: bytes, name: str) -> Any:
    """The listed elements of a file that begins as DICOM does."""
    if data[128:132] != b"DICM":
        raise Told(f"dicom: {name} is no DICOM file (no DICM after 128 bytes)")
    return package("pydicom").dcmread(io.BytesIO(data), specific_tags=[*PIXELS, *MEANING])


def _element(file: Any, keyword: str) -> Any:
    """An element's value: of the file, or the one that all frames of a multi-frame file share; None where there is none."""
    if file.get(keyword) is not None:
        return file.get(keyword)
    values = []
    for group in [*(file.get("SharedFunctionalGroupsSequence") or []), *(file.get("PerFrameFunctionalGroupsSequence") or [])]:
        for item in group.get(GROUPS[keyword]) or []:
            values.append(item.get(keyword))
    if any(value != values[0] for value in values):
        raise Told(f"dicom: frames differ in {keyword}; write them as files of their own")
    return values[0] if values else None


def _code(file: Any, keyword: str) -> str | None:
    """The element's value where it is a standard code."""
    value = str(file.get(keyword) or "").strip()
    return value if value in CODES[keyword] else None


def _pixels(file: Any, name: str, frame: int | None, max_bytes: int) -> tuple[np.ndarray, int]:
    """Stored values [F, H, W, C] (color as RGB or palette indices) and how many frames the file has."""
    if not any(key in file for key in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise Told(f"dicom: {name} has no pixel data; leave it out (a report, plan, structure or waveform?)")
    frames, samples = int(file.get("NumberOfFrames") or 1), int(file.SamplesPerPixel)
    shape = (int(file.Rows), int(file.Columns))
    if min(*shape, frames, samples) < 1:
        raise Told(f"dicom: {name} declares no pixels")
    if not (frame is None or 0 <= frame < frames):
        raise Told(f"dicom: {name} has {frames} frames, no frame {frame}")
    size = frames * samples * shape[0] * shape[1] * max(int(file.BitsAllocated) // 8, 4)
    if size > max_bytes:
        raise Told(f"dicom: {name} declares {size} bytes of pixels, more than max_bytes={max_bytes}; raise it if that is right")
    if file.file_meta.TransferSyntaxUID.is_encapsulated:
        for piece in package("pydicom.encaps").generate_frames(file.PixelData, number_of_frames=frames):
            check_codestream(piece, name, (*shape, samples))
    # pydicom's own decoder for run lengths: a plugin written in Rust panics on damage, which no `except Exception` holds.
    plugin = "pydicom" if file.file_meta.TransferSyntaxUID == package("pydicom").uid.RLELossless else ""
    pixels = package("pydicom.pixels").pixel_array(file, index=frame, decoding_plugin=plugin)
    return pixels.reshape(-1, *shape, samples), frames


def _image(file: Any, name: str, window: Any, dtype: str, frame: int | None, max_bytes: int) -> tuple[np.ndarray, dict[str, Any]]:
    """What `read_dicom` gives, of an opened file."""
    stored, frames = _pixels(file, name, frame, max_bytes)
    kind = str(file.PhotometricInterpretation)
    if kind == "PALETTE COLOR" or stored.shape[-1] == 3:
        if isinstance(window, tuple | list):
            raise Told(f"dicom: {name} is in color, which has no window; pass window=None")
        values, used, inverted = _color(file, stored, kind), None, False
        values = as_dtype(values, dtype)
    elif stored.shape[-1] == 1:
        inverted = kind == "MONOCHROME1"
        values, used = _gray(file, name, stored, window, dtype, inverted)
    else:
        raise Told(f"dicom: {name} has {stored.shape[-1]} samples a pixel, neither gray nor RGB")
    spacing = _element(file, "PixelSpacing") or file.get("ImagerPixelSpacing")
    return values[0] if len(values) == 1 else values, {
        "spacing": [float(s) for s in spacing] if spacing else None, "frames": frames, "window": used, "inverted": inverted,
        "modality": _code(file, "Modality"), "view": _code(file, "ViewPosition"), "laterality": _code(file, "ImageLaterality")}


def _color(file: Any, stored: np.ndarray, kind: str) -> np.ndarray:
    """RGB f32 in [0, 1]; pydicom has turned YBR to RGB."""
    if kind == "PALETTE COLOR":
        bits = int(file.RedPaletteColorLookupTableDescriptor[2])
        rgb = package("pydicom.pixels").apply_color_lut(stored[..., 0], file)[..., :3]
        return rgb.astype(np.float32) / np.float32((1 << (8 * rgb.dtype.itemsize if bits > 8 else 8)) - 1)
    return stored.astype(np.float32) / np.float32((1 << int(file.BitsStored)) - 1)


def _gray(file: Any, name: str, stored: np.ndarray, window: Any, dtype: str, inverted: bool) -> tuple[np.ndarray, Any]:
    """Gray values after modality LUT and window, larger brighter, and the window used."""
    if file.get("ModalityLUTSequence"):
        values = _looked_up(file, stored, file.ModalityLUTSequence[0])
    else:
        slope, intercept = _element(file, "RescaleSlope"), _element(file, "RescaleIntercept")
        values = stored.astype(np.float64) * float(1 if slope is None else slope) + float(0 if intercept is None else intercept)
        values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise Told(f"dicom: {name} has pixels that are NaN or infinite; leave it out")
    width, lut = _element(file, "WindowWidth"), file.get("VOILUTSequence")
    if window == "file" and width is None and not lut:
        raise Told(f"dicom: {name} has no window; pass window=(low, high)")
    if window is None and dtype == "float32":
        return (values.min() + values.max() - values if inverted else values), None
    if isinstance(window, tuple | list):
        unit, used = windowed(values, *window), [float(w) for w in window]
    elif lut:
        unit, used = np.clip(_looked_up(file, values, lut[0]) / np.float32((1 << int(lut[0].LUTDescriptor[2])) - 1), 0, 1), "lut"
    elif width is not None:
        unit, used = _file_window(file, values, width)
    else:
        unit, used = windowed(values, float(values.min()), float(values.max())), "range"
    return as_dtype(1 - unit if inverted else unit, dtype), used


def _looked_up(file: Any, values: np.ndarray, item: Any) -> np.ndarray:
    """Entries f32 of a LUT, the first and last for values beyond it: DICOM PS3.3 C.11.1.1.1 (pydicom 3.0 wraps 8-bit tables past 255)."""
    entries, first, _ = (int(v) for v in item.LUTDescriptor)
    entries, table = entries or 65536, item.LUTData
    if isinstance(table, bytes):
        little = file.original_encoding[1]
        table = np.frombuffer(table, np.uint8 if len(table) < 2 * entries else "<u2" if little else ">u2")
    table = np.asarray(table, np.float32)[:entries]
    return table[np.clip(np.rint(values).astype(np.int64) - first, 0, len(table) - 1)]


def _file_window(file: Any, values: np.ndarray, width: Any) -> tuple[np.ndarray, list[float]]:
    """The file's first window, in [0, 1], and its [low, high]: DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3."""
    center, function = _element(file, "WindowCenter"), str(_element(file, "VOILUTFunction") or "LINEAR")
    center, width = (float(v if isinstance(v, int | float) else v[0]) for v in (center, width))
    if function == "SIGMOID":
        unit = 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -60, 60)))
        return unit.astype(np.float32), [center - width / 2, center + width / 2]
    center, width = (center - 0.5, max(width - 1, 1e-6)) if function == "LINEAR" else (center, width)
    low, high = center - width / 2, center + width / 2
    return windowed(values, low, high), [low, high]


def _members(source: Any) -> tuple[list[str | Path | bytes], int]:
    """The files of a series, in an order of their own, and how many of a folder are left out as not DICOM."""
    if not isinstance(source, str | Path):
        if not source:
            raise ValueError("dicom: a series needs at least one file")
        return list(source), 0
    folder = Path(source)
    if not folder.is_dir():
        raise FileNotFoundError(f"dicom: no folder at {folder}; a single file is read by read_dicom")
    files = sorted(path for path in folder.iterdir() if path.is_file())
    found = []
    for path in files:
        with path.open("rb") as file:
            if file.read(132)[128:] == b"DICM" and path.name != "DICOMDIR":
                found.append(path)
    if not found:
        raise ValueError(f"dicom: none of the {len(files)} files of {folder} is DICOM")
    return found, len(files) - len(found)


def _plane(file: Any, name: str) -> dict[str, Any]:
    """Where a slice lies: position f64[3], axes f64[2, 3] (row and column direction), spacing f64[2] mm, shape, series."""
    if int(file.get("NumberOfFrames") or 1) > 1 or int(file.get("SamplesPerPixel") or 1) > 1:
        raise Told(f"dicom: {name} has several frames or is in color; read it with read_dicom")
    if any(file.get(key) is None for key in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns")):
        raise Told(f"dicom: {name} does not say where its slice lies (position, orientation, spacing or size is missing)")
    axes = np.array([float(v) for v in file.ImageOrientationPatient]).reshape(2, 3)
    position, spacing = np.array([float(v) for v in file.ImagePositionPatient]), np.array([float(v) for v in file.PixelSpacing])
    if position.shape != (3,) or spacing.shape != (2,) or not np.isfinite(np.concatenate([axes.ravel(), position, spacing])).all() \
            or np.abs(axes @ axes.T - np.eye(2)).max() > 1e-2 or spacing.min() <= 0:
        raise Told(f"dicom: {name} has a position, orientation or spacing that is no image plane")
    return {"position": position, "axes": axes, "spacing": spacing, "shape": (int(file.Rows), int(file.Columns)),
            "series": str(file.get("SeriesInstanceUID")), "modality": _code(file, "Modality")}
