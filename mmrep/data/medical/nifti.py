"""NIfTI volumes: RAS orientation, voxel spacing, intensity window. nibabel reads the format."""

import gzip
import io
import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.medical.files import MAX_BYTES, as_dtype, bounded, check_output, package, read_bytes, windowed

MILLIMETERS = {1: 1000.0, 3: 0.001}  # in a meter and a micron, by the codes of xyzt_units in nifti1.h; others are mm, or do not tell


def read_nifti(source: str | Path | bytes, spacing: Sequence[float] | None = None, window: tuple[float, float] | None = None,
               dtype: str = "float32", volume: int | None = None, labels: bool = False, max_bytes: int = MAX_BYTES
               ) -> tuple[np.ndarray, dict[str, Any]]:
    """Read a .nii or .nii.gz (NIfTI-1 or -2, one file): f32|u8[X, Y, Z], axes to the right, anterior and superior.

    `spacing` (mm, one a axis) resamples, linearly after a Gaussian against aliasing, or to the nearest voxel with `labels`; the field
    of view is kept, so the spacing reached (metadata) differs by less than a voxel over the whole axis. `window` (low, high) in the file's
    unit (HU for CT) clips and scales to [0, 1] in f32, 0 to 255 in u8; without it values stay as they are, and u8 needs values that
    are whole numbers from 0 to 255. A file of several volumes needs `volume`, the number of one, from 0.
    Metadata: spacing mm, affine (4 x 4 lists: voxel to RAS mm; meters and microns are scaled), axes (in the file, "LPS"), volumes, oriented
    (False where the file tells no orientation: taken for RAS).
    Raises FileNotFoundError, other OSError; ValueError on a damaged or cut file, NaN or infinite voxels, more than `max_bytes` (of the
    file, unpacked, or resampled). Layout: https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h
    """
    check_output(window, dtype)
    if window == "file":
        raise ValueError("nifti: a NIfTI file has no window of its own; pass window=(low, high)")
    nibabel = package("nibabel")
    data, name = read_bytes(source, max_bytes)
    image = _open(nibabel, _unpacked(data, name, max_bytes), name, max_bytes)
    shape = image.shape
    volumes = math.prod(shape[3:])
    if volume is None and volumes > 1:
        raise ValueError(f"nifti: {name} holds {volumes} volumes; pass volume=0 to {volumes - 1}")
    if not 0 <= (volume or 0) < volumes:
        raise ValueError(f"nifti: {name} has no volume {volume}; it holds {volumes}")
    at = np.unravel_index(volume or 0, shape[3:], order="F") if shape[3:] else ()
    try:
        values = np.asarray(image.dataobj[(..., *(int(i) for i in at))], np.float32)
    except Exception as error:
        raise ValueError(f"nifti: the voxels of {name} cannot be read ({type(error).__name__}); copy or write it again") from None
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise ValueError(f"nifti: {name} has {bad} voxels that are NaN or infinite; mend or leave out the file")
    values, affine, axes = to_ras(values, image.affine, name)
    affine = np.diag([*[MILLIMETERS.get(int(image.header["xyzt_units"]) & 7, 1.0)] * 3, 1.0]) @ affine
    if spacing is not None:
        values, affine = respaced(values, affine, spacing, labels, name, max_bytes)
    if window is not None:
        values = as_dtype(windowed(values, *window), dtype)
    elif dtype == "uint8":
        if values.min() < 0 or values.max() > 255 or not np.array_equal(values, np.rint(values)):
            raise ValueError(f"nifti: {name} has values that are not whole numbers 0 to 255; pass window=(low, high)")
        values = values.astype(np.uint8)
    header = image.header
    return np.ascontiguousarray(values), {
        "spacing": [float(s) for s in np.linalg.norm(affine[:3, :3], axis=0)], "affine": affine.tolist(), "axes": axes, "volumes": volumes,
        "oriented": bool(header["sform_code"] > 0 or header["qform_code"] > 0)}


def _unpacked(data: bytes, name: str, max_bytes: int) -> bytes:
    """The file's bytes, out of gzip where they begin as gzip does."""
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            raw = file.read(max_bytes + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"nifti: {name} is cut short or damaged ({type(error).__name__}); copy it again") from None
    bounded(len(raw), name, max_bytes)
    return raw


def _open(nibabel: Any, raw: bytes, name: str, max_bytes: int) -> Any:
    """nibabel's image, voxels not read yet, once the header says what the bytes can hold."""
    sizes = set(struct.unpack("<i", raw[:4]) + struct.unpack(">i", raw[:4])) if len(raw) >= 4 else set()
    kind = nibabel.Nifti1Image if 348 in sizes else nibabel.Nifti2Image if 540 in sizes else None
    if kind is None:
        raise ValueError(f"nifti: {name} does not begin as a NIfTI file does")
    try:
        image = kind.from_bytes(raw)
        shape, stored, offset = image.shape, image.header.get_data_dtype(), int(image.dataobj.offset)
    except Exception as error:  # nibabel lets out its own errors and numpy's
        raise ValueError(f"nifti: the header of {name} is damaged, or of a .hdr/.img pair ({type(error).__name__}); write .nii") from None
    if stored.kind not in "iuf":
        raise ValueError(f"nifti: {name} stores {stored} voxels; only real numbers are read")
    if len(shape) < 3 or min(shape) < 1:
        raise ValueError(f"nifti: {name} has shape {tuple(shape)}, not a volume")
    bounded(math.prod(shape[:3]) * 4, name, max_bytes)
    needed = offset + math.prod(shape) * stored.itemsize
    if offset < 0 or needed > len(raw):
        raise ValueError(f"nifti: {name} is cut short: {len(raw)} bytes of {needed}; copy it again")
    return image


def to_ras(values: np.ndarray, affine: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray, str]:
    """Axes flipped and permuted, never resampled, to the nearest of right, anterior, superior; the affine that fits; the axes before."""
    tools = package("nibabel").orientations
    try:
        usable = np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > 1e-12
        turn = tools.io_orientation(affine) if usable else np.full((3, 2), np.nan)
    except np.linalg.LinAlgError:
        turn = np.full((3, 2), np.nan)
    if not np.isfinite(turn).all():
        raise ValueError(f"nifti: {name} has an orientation that is no rotation and scale; mend its sform or qform")
    affine = affine @ tools.inv_ornt_aff(turn, values.shape)
    return tools.apply_orientation(values, turn), affine, "".join(tools.ornt2axcodes(turn))


def respaced(values: np.ndarray, affine: np.ndarray, spacing: Sequence[float], labels: bool, name: str, max_bytes: int = MAX_BYTES
             ) -> tuple[np.ndarray, np.ndarray]:
    """The same field of view on a grid of about `spacing` mm, and its affine; the outer faces of the volume stay where they are."""
    from scipy import ndimage

    wanted = np.asarray(spacing, float)
    if wanted.shape != (3,) or not np.isfinite(wanted).all() or wanted.min() <= 0:
        raise ValueError(f"nifti: spacing {spacing!r} must be three positive numbers of mm")
    shape = np.maximum(np.rint(np.array(values.shape) * (np.linalg.norm(affine[:3, :3], axis=0) / wanted)), 1)
    bounded(int(min(np.prod(shape) * 4, 1e18)), f"{name} at spacing {wanted.tolist()}", max_bytes)
    factor = np.array(values.shape) / shape  # old voxels in a new one
    if not labels:
        values = ndimage.gaussian_filter(values, np.maximum(factor - 1, 0) / 2, mode="nearest")
    # Voxel i of the new grid has its center at factor * (i + 1/2) - 1/2 of the old one.
    values = ndimage.affine_transform(values, factor, (factor - 1) / 2, tuple(int(n) for n in shape), order=0 if labels else 1,
                                      mode="nearest")
    move = np.diag([*factor, 1.0])
    move[:3, 3] = (factor - 1) / 2
    return values, affine @ move


def check_same_place(affine: np.ndarray, other: np.ndarray, shape: Sequence[int]) -> None:
    """ValueError where a mask does not lie on its volume, both of `shape` [X, Y, Z]: where the affines (voxel to RAS mm) of the two
    differ at a corner by more than a twentieth of the volume's smallest voxel side, which headers do by rounding alone."""
    corners = np.stack([*np.indices((2, 2, 2)).reshape(3, 8) * (np.array(shape)[:, None] - 1), np.ones(8)])
    affine, other = np.asarray(affine), np.asarray(other)
    apart = float(np.linalg.norm(((affine - other) @ corners)[:3], axis=0).max())
    if not apart <= np.linalg.norm(affine[:3, :3], axis=0).min() / 20:
        raise ValueError(f"lies up to {apart:.4g} mm off its volume, of another origin, spacing or direction in its header; resample it "
                         "onto the volume, or mend the header that is wrong")
