"""DICOM images and series, read by pydicom: intensities, colors, frames, patient order."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.medical.codec import decode
from mmrep.data.medical.codestream import check_codestream
from mmrep.data.medical.elements import by_frame, code, element, open_file, planes
from mmrep.data.medical.files import MAX_BYTES, Told, as_dtype, bounded, check_output, guarded, package, read_bytes, windowed


def read_dicom(source: str | Path | bytes, window: tuple[float, float] | str | None = None, dtype: str = "uint8", frame: int | None = None,
               max_bytes: int = MAX_BYTES) -> tuple[np.ndarray, dict[str, Any]]:
    """Read the image of a DICOM file: u8|f32[H, W, C], C 1 or 3 (RGB); [F, H, W, C] where it has several frames and `frame` picks none.

    `window` (low, high) in the file's unit (HU for CT) clips and scales gray to 0 to 255 in u8, [0, 1] in f32; "file" takes the file's
    first window or VOI LUT; None gives f32 in the file's unit (after rescale), and u8 by the file's window, else from the least to the
    greatest value that is no padding. MONOCHROME1 is inverted, so larger is brighter; in the file's unit it is mirrored in its own range.
    Color is u8, or f32 in [0, 1], and has no window. Compressed pixels (run lengths, JPEG, JPEG-LS, JPEG 2000) are decoded by imagecodecs.
    Metadata: spacing (row, column) mm or None, frames, window ("lut", "range", [low, high] or None), inverted, modality, view, laterality
    (None where the file does not give a standard code).
    Raises FileNotFoundError, other OSError; ValueError on no pixel data, damage, more than `max_bytes` decoded, a window asked of a file
    that has none. Elements: DICOM PS3.3 C.7.6.3 (Image Pixel), C.11.1 (Modality LUT), C.11.2 (VOI LUT).
    """
    check_output(window, dtype)
    data, name = read_bytes(source, max_bytes)
    values, facts = guarded(lambda: _image(open_file(data, name, max_bytes), name, window, dtype, frame, max_bytes), name, "dicom")
    return values[0] if len(values) == 1 else values, facts


def read_dicom_series(source: str | Path | Sequence[str | Path | bytes], window: tuple[float, float] | str | None = None,
                      dtype: str = "float32", frames: Sequence[int] | None = None, max_bytes: int = MAX_BYTES
                      ) -> tuple[np.ndarray, dict[str, Any]]:
    """Read the files of one series, all files of a folder, or an enhanced multi-frame file as a volume: f32|u8[D, H, W] in patient order.

    Slices ascend along the normal of the image plane (row direction x column direction) whatever the files' names and numbers, or the
    frames' order; a rescale of its own applies to each. `frames` picks frames of multi-frame files by number, from 0 (one echo or time of
    several). `window` (low, high) as in `read_dicom`, the same for every slice; u8 needs it; "file" is refused, for it may differ.
    Metadata: spacing (slice, row, column) mm, affine (4 x 4 lists: [slice, row, column] to RAS mm), slices, modality, ignored (files of
    the folder that are not DICOM).
    Raises FileNotFoundError, other OSError; ValueError on files of several series, differing sizes, orientations or pixel spacings, slices
    at the same position, a missing slice, slices that lie aside of one another (gantry tilt), color, MONOCHROME1
    without a window. Elements: DICOM PS3.3 C.7.6.2, C.7.6.16.2.
    """
    check_output(window, dtype)
    if window == "file" or (dtype == "uint8" and window is None):
        raise ValueError("dicom: a series is read with window=(low, high) for all its slices, or as float32 without one")
    sources, ignored = _members(source)
    files, slices, total = [], [], 0
    for member in sources:
        data, name = read_bytes(member, max_bytes)
        total += len(data)
        bounded(total, "the series", max_bytes)
        found = guarded(lambda data=data, name=name: planes(open_file(data, name, max_bytes), name), name, "dicom")
        picked = range(len(found)) if frames is None or len(found) == 1 else frames
        if not all(0 <= k < len(found) for k in picked):
            raise ValueError(f"dicom: {name} has {len(found)} frames, not all of those asked for")
        slices += [(found[k], f"frame {k} of {name}" if len(found) > 1 else name, len(files), k) for k in picked]
        files.append((data, name))
    slices, step = _in_order(slices)
    first = slices[0][0]
    bounded(4 * len(slices) * first["shape"][0] * first["shape"][1], "the volume", max_bytes)
    volume, inverted = np.empty((len(slices), *first["shape"]), dtype), False
    for number, (data, name) in enumerate(files):
        values, facts = guarded(lambda: _image(open_file(data, name, max_bytes), name, window, dtype, None, max_bytes), name, "dicom")
        inverted |= facts["inverted"]
        for at, (_, _, file, k) in enumerate(slices):
            if file == number:
                volume[at] = values[k, ..., 0]
    if window is None and inverted:  # each would be mirrored in a range of its own
        raise ValueError(f"dicom: the {len(slices)} slices are MONOCHROME1; pass window=(low, high), which is the same for all slices")
    row, column = first["axes"]
    affine = np.eye(4)  # DICOM's axes run to the left and posterior, RAS to the right and anterior
    affine[:3, :3] = np.stack([np.cross(row, column) * step, column * first["spacing"][0], row * first["spacing"][1]], 1)
    affine[:3, 3] = first["position"]
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    return volume, {"spacing": [step, *(float(s) for s in first["spacing"])], "affine": affine.tolist(), "slices": len(slices),
                    "modality": first["modality"], "ignored": ignored}


def _in_order(slices: list[tuple]) -> tuple[list[tuple], float]:
    """Slices (plane, name, ...) of one series by position along their normal, and the mm between them."""
    if not slices:
        raise ValueError("dicom: a series needs at least one slice")
    for key, what in (("series", "series"), ("shape", "image sizes")):
        count = len({plane[key] for plane, *_ in slices})
        if count > 1:
            raise ValueError(f"dicom: the {len(slices)} slices are of {count} {what}; pass the files of one series")
    first, name = slices[0][:2]
    for plane, other, *_ in slices:
        for key, what in (("axes", "orientation"), ("spacing", "pixel spacing")):
            if np.abs(plane[key] - first[key]).max() > 1e-3:
                raise ValueError(f"dicom: {other} has another {what} than {name}; pass the files of one series")
    normal = np.cross(*first["axes"])
    slices = sorted(slices, key=lambda item: float(item[0]["position"] @ normal))
    steps = np.diff([plane["position"] @ normal for plane, *_ in slices])
    step = float(np.median(steps)) if len(steps) else first["thickness"]
    if not step and len(slices) == 1:
        raise ValueError(f"dicom: {name} is one slice, whose thickness is not told: a volume is the folder of its series; read it as an "
                         "image, or pass the other slices, too")
    for (_, one, *_), (_, two, *_), gap in zip(slices, slices[1:], steps):
        if gap < 1e-3:
            raise ValueError(f"dicom: {one} and {two} are at the same position; pass one of each (frames= picks among frames)")
        if abs(gap - step) > max(0.02 * step, 0.02):
            raise ValueError(f"dicom: {gap:.3f} mm between {one} and {two}, elsewhere {step:.3f}; a slice is missing")
    bottom, name = slices[0][:2]
    for plane, other, *_ in slices:
        move = plane["position"] - bottom["position"]
        aside, along = float(np.linalg.norm(np.cross(move, normal))), float(move @ normal)
        if aside > max(0.01 * along, 0.02):
            raise ValueError(f"dicom: {other} lies {aside:.3f} mm aside of {name}, which is {along:.3f} below: gantry tilt; turn the series"
                             " into NIfTI (dcm2niix sets it upright) and read that")
    return slices, step


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
    pixels = decode(file, frame)
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
        values, used = _gray(file, name, stored, window, dtype, inverted, frames, frame)
    else:
        raise Told(f"dicom: {name} has {stored.shape[-1]} samples a pixel, neither gray nor RGB")
    spacing = element(file, "PixelSpacing", frames, frame) or file.get("ImagerPixelSpacing")
    return values, {
        "spacing": [float(s) for s in spacing] if spacing else None, "frames": frames, "window": used, "inverted": inverted,
        "modality": code(file, "Modality"), "view": code(file, "ViewPosition"), "laterality": code(file, "ImageLaterality")}


def _color(file: Any, stored: np.ndarray, kind: str) -> np.ndarray:
    """RGB f32 in [0, 1]; pydicom has turned YBR to RGB."""
    if kind == "PALETTE COLOR":
        bits = int(file.RedPaletteColorLookupTableDescriptor[2])
        rgb = package("pydicom.pixels").apply_color_lut(stored[..., 0], file)[..., :3]
        return rgb.astype(np.float32) / np.float32((1 << (8 * rgb.dtype.itemsize if bits > 8 else 8)) - 1)
    return stored.astype(np.float32) / np.float32((1 << int(file.BitsStored)) - 1)


def _gray(file: Any, name: str, stored: np.ndarray, window: Any, dtype: str, inverted: bool, frames: int, frame: int | None
          ) -> tuple[np.ndarray, Any]:
    """Gray values after modality LUT and window, larger brighter, and the window used."""
    if file.get("ModalityLUTSequence"):
        values = _looked_up(file, stored, file.ModalityLUTSequence[0])
    else:
        slopes, intercepts = (by_frame(file, key, frames) for key in ("RescaleSlope", "RescaleIntercept"))
        picked = range(frames) if frame is None else [frame]
        values = np.empty(stored.shape, np.float32)
        for at, k in enumerate(picked):  # frames of PET and MR have a scale each
            slope, intercept = (float(given if value is None else value) for value, given in ((slopes[k], 1), (intercepts[k], 0)))
            values[at] = stored[at].astype(np.float64) * slope + intercept
    if not np.isfinite(values).all():
        raise Told(f"dicom: {name} has pixels that are NaN or infinite; leave it out")
    if window is None and dtype == "float32":
        return (sum(_range(file, stored, values)) - values if inverted else values), None
    if isinstance(window, tuple | list):
        unit = windowed(values, *window)
        return as_dtype(1 - unit if inverted else unit, dtype), [float(w) for w in window]
    width, lut = element(file, "WindowWidth", frames, frame), file.get("VOILUTSequence")
    if window == "file" and width is None and not lut:
        raise Told(f"dicom: {name} has no window; pass window=(low, high)")
    if lut:
        unit, used = np.clip(_looked_up(file, values, lut[0]) / np.float32((1 << int(lut[0].LUTDescriptor[2])) - 1), 0, 1), "lut"
    elif width is not None:
        unit, used = _file_window(file, values, width, frames, frame)
    else:
        unit, used = windowed(values, *map(float, _range(file, stored, values))), "range"
    return as_dtype(1 - unit if inverted else unit, dtype), used


def _range(file: Any, stored: np.ndarray, values: np.ndarray) -> tuple[np.float32, np.float32]:
    """The least and the greatest value of the pixels that are no padding (of all, where all are): DICOM PS3.3 C.7.5.1.1.2."""
    first = file.get("PixelPaddingValue")
    if first is not None and stored.dtype.kind in "iu":
        last = file.get("PixelPaddingRangeLimit")
        # wrapped, for some write a negative number as unsigned
        low, high = sorted(int(np.array(int(v)).astype(stored.dtype)) for v in (first, first if last is None else last))
        inside = values[(stored < low) | (stored > high)]
        values = inside if inside.size else values
    return values.min(), values.max()


def _looked_up(file: Any, values: np.ndarray, item: Any) -> np.ndarray:
    """Entries f32 of a LUT, the first and last for values beyond it: DICOM PS3.3 C.11.1.1.1 (pydicom 3.0 wraps 8-bit tables past 255)."""
    entries, first, _ = (int(v) for v in item.LUTDescriptor)
    entries, table = entries or 65536, item.LUTData
    if isinstance(table, bytes):
        little = file.original_encoding[1]
        table = np.frombuffer(table, np.uint8 if len(table) < 2 * entries else "<u2" if little else ">u2")
    table = np.asarray(table, np.float32)[:entries]
    return table[np.clip(np.rint(values).astype(np.int64) - first, 0, len(table) - 1)]


def _file_window(file: Any, values: np.ndarray, width: Any, frames: int, frame: int | None) -> tuple[np.ndarray, list[float]]:
    """The file's first window, in [0, 1], and its [low, high]: DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3."""
    center = element(file, "WindowCenter", frames, frame)
    function = str(element(file, "VOILUTFunction", frames, frame) or "LINEAR")
    center, width = (float(v if isinstance(v, int | float) else v[0]) for v in (center, width))
    if not (np.isfinite([center, width]).all() and width > 0):
        raise Told("dicom: the file's window is none (a center or width that is not finite, or a width not above 0); pass "
                   "window=(low, high)")
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
    if folder.is_file():
        return [folder], 0
    if not folder.is_dir():
        raise FileNotFoundError(f"dicom: no folder or file at {folder}")
    files = sorted(path for path in folder.iterdir() if path.is_file())
    found = []
    for path in files:
        with path.open("rb") as file:
            if file.read(132)[128:] == b"DICM" and path.name != "DICOMDIR":
                found.append(path)
    if not found:
        raise ValueError(f"dicom: none of the {len(files)} files of {folder} is DICOM")
    return found, len(files) - len(found)
