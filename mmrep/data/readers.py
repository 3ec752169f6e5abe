"""What a named file becomes in a batch, by its suffix: a volume, a signal, features. Pictures: `mmrep.data.images`.

Volumes of a known orientation all lie alike: [D, H, W, C] from the feet up, from front to back, and from the patient's right to the left,
so that a slice looks as radiologists see it. Arrays (.npy, .npz) are taken as they lie.
"""

import inspect
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.core.names import nearest
from mmrep.data.archives import MAX_BYTES, open_zip, read_npy, read_npz_member
from mmrep.data.images import stored_size, whole_bytes
from mmrep.data.medical.ecg import LEADS
from mmrep.data.stores import Folder

# what a cell may leave out of a file's name
SUFFIXES = {"image": ("", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm"), "volume": ("", ".nii.gz", ".nii", ".npy", ".dcm"),
            "signal": (".hea", "", ".npy", ".dcm", ".edf", ".bdf"), "features": ("", ".npy", ".npz", ".h5")}


def read_image(store: Any, name: str, decode: Callable, *, window: Sequence[float] | str | None = None, frame: int | None = None
               ) -> np.ndarray:
    """A picture file, or a DICOM image of one frame (whatever its suffix): u8|u16[H, W, C] as `decode` gives it. window (low, high), in HU
    for CT, and frame: of DICOM, whose own window counts where none is given. Raises ValueError, OSError."""
    data = store.read(name)
    if isinstance(data, np.ndarray) or data[128:132] != b"DICM":
        return decode(data)
    from mmrep.data.medical import dicom

    window = tuple(window) if isinstance(window, (list, tuple)) else window
    values, facts = dicom.read_dicom(data, window, "uint8", frame)
    if values.ndim != 3:
        raise ValueError(f"has {facts['frames']} frames; set read={{'image': {{'frame': 0}}}}, or read it as a volume")
    return decode(values)


def image_size(store: Any, name: str, max_pixels: int | None = None) -> tuple[int, int, int]:
    """Height, width and EXIF orientation of a picture file or DICOM image as it is stored (`images.stored_size`). Raises ValueError,
    OSError."""
    data = store.read(name)
    if isinstance(data, np.ndarray) or data[128:132] != b"DICM":
        return stored_size(data, max_pixels)
    from mmrep.data.medical import elements, files

    file = files.guarded(lambda: elements.open_file(data, name, MAX_BYTES), name, "dicom")
    return int(file.Rows), int(file.Columns), 1


def read_volume(store: Any, name: str, *, spacing: Sequence[float] | None = None, window: Sequence[float] | None = None,
                dtype: str = "float32", volume: int | None = None, labels: bool = False, max_bytes: int = MAX_BYTES) -> np.ndarray:
    """A NIfTI file, a folder or file of a DICOM series, a TIFF of several pages or an array as u8|f32[D, H, W, C].

    spacing: mm (depth, height, width) to resample to, not of arrays and TIFF; labels: by the nearest voxel. window (low, high), in HU
    for CT: clipped and scaled to 0 to 255 for dtype "uint8" and to 0 to 1 for "float32"; without it values stay as they are. volume:
    which of several in a NIfTI file. Raises ValueError, OSError for what cannot be read, for more than `max_bytes` (also unpacked), and
    where voxels are NaN or infinite.
    """
    return read_placed_volume(store, name, spacing=spacing, window=window, dtype=dtype, volume=volume, labels=labels,
                              max_bytes=max_bytes)[0]


def read_placed_volume(store: Any, name: str, *, spacing: Sequence[float] | None = None, window: Sequence[float] | None = None,
                       dtype: str = "float32", volume: int | None = None, labels: bool = False, max_bytes: int = MAX_BYTES
                       ) -> tuple[np.ndarray, np.ndarray | None]:
    """As `read_volume`, with where it lies: f64[4, 4], of a voxel [X, Y, Z] as `nifti.to_ras` gives it to mm to the right, front and head;
    None of files that do not tell."""
    from mmrep.data.medical import dicom, nifti
    from mmrep.data.medical.files import check_output

    found, window = locate(store, name), None if window is None else tuple(window)
    check_output(window, dtype)
    mm = None if spacing is None else tuple(spacing)[::-1]
    if suffix(name) in (".nii", ".nii.gz") and not isinstance(found, np.ndarray):
        values, facts = nifti.read_nifti(found, mm, window, "uint8" if labels else dtype, volume, labels, max_bytes)
        return axial(values)[..., None], np.array(facts["affine"]) if facts["oriented"] else None
    if isinstance(found, np.ndarray) or suffix(name) in (".npy", ".npz", ".tif", ".tiff"):
        values = numbers(found, name, max_bytes=max_bytes)
        if suffix(name) in (".tif", ".tiff") and values.ndim == 3:  # [H, W, C], whose channels would pass for columns
            raise ValueError("is a TIFF of one page, which is no volume; read it as an image")
        if values.ndim not in (3, 4) or mm is not None:
            raise ValueError(f"is {values.dtype}{list(values.shape)}; arrays are taken as [D, H, W] or [D, H, W, C], without spacing=")
        return _as_asked(values if values.ndim == 4 else values[..., None], window, dtype), None
    folder = isinstance(found, Path) and found.is_dir()
    if not folder and _head(found)[128:132] != b"DICM":
        raise ValueError("is no volume that is read: NIfTI, DICOM (a file or a folder of one series), TIFF, npy or npz")
    plain = mm is None  # else the window comes after the resampling, as of NIfTI
    values, facts = dicom.read_dicom_series(found if folder else [found], window if plain else None, dtype if plain else "float32",
                                            max_bytes=max_bytes)
    values, affine, _ = nifti.to_ras(values, np.array(facts["affine"]), name)
    if not plain:
        values, affine = nifti.respaced(values, affine, mm, labels, name, max_bytes)
        values = _as_asked(values, window, dtype)
    return axial(values)[..., None], affine


def _as_asked(values: np.ndarray, window: tuple[float, float] | None, dtype: str) -> np.ndarray:
    """Values clipped to the window and scaled, or as they are: u8 stays u8, others become f32, or u8 where that is asked and they fit."""
    from mmrep.data.medical.files import as_dtype, windowed

    if window is not None:
        return as_dtype(windowed(values, *window), dtype)
    if values.dtype == np.uint8:
        return values
    if dtype == "uint8":
        if not whole_bytes(values):
            raise ValueError("has values that are not whole numbers 0 to 255; set window=(low, high) in read=, or dtype='float32'")
        return values.astype(np.uint8)
    return values.astype(np.float32)


def _head(found: Path | bytes) -> bytes:
    """The first bytes of a file, which tell DICOM from others."""
    if isinstance(found, bytes):
        return found[:132]
    with found.open("rb") as file:
        return file.read(132)


def read_mask(store: Any, name: str, *, spacing: Sequence[float] | None = None, volume: int | None = None, max_bytes: int = MAX_BYTES
              ) -> tuple[np.ndarray, np.ndarray | None]:
    """A mask of a volume, in any file of `read_volume`, as class numbers u8[D, H, W, 1], resampled to the nearest voxel, and where it lies,
    as `read_placed_volume` gives it.

    Raises ValueError, OSError as there, and where voxels are not whole numbers from 0 to 255.
    """
    values, affine = read_placed_volume(store, name, spacing=spacing, volume=volume, labels=True, max_bytes=max_bytes)
    if values.shape[-1] != 1 or not whole_bytes(values):
        raise ValueError("is no mask of class numbers 0 to 255, one a voxel")
    return values.astype(np.uint8), affine


def axial(values: np.ndarray) -> np.ndarray:
    """[X, Y, Z] to the right, front and head -> [D, H, W] from the feet up, front to back, the patient's right to the left."""
    return np.ascontiguousarray(values.transpose(2, 1, 0)[:, ::-1, ::-1])


def read_signal(store: Any, name: str, *, rate: float | None = None, leads: Sequence[str] = LEADS, native_rate: float | None = None,
                names: Sequence[str] = LEADS, unit: str = "mV", group: int = 0, max_bytes: int = MAX_BYTES) -> np.ndarray:
    """A WFDB record (.hea, or without a suffix), a DICOM waveform, an EDF file or an array as f32[T, leads] in mV, resampled to `rate` Hz.

    native_rate, names, unit: of an array [T, leads] or [leads, T], which does not tell them. group: multiplex group of a DICOM file.
    Raises ValueError, OSError for what cannot be read, more than `max_bytes`, a lead that is missing, and NaN or infinite samples.
    """
    from mmrep.data.medical import ecg

    found, kind = locate(store, name), suffix(name)
    if isinstance(found, np.ndarray) or kind in (".npy", ".npz"):
        if native_rate is None:
            raise ValueError(f"{name!r} is an array, which has no sampling rate; set read={{'signal': {{'native_rate': Hz}}}}")
        return ecg.read_array_ecg(numbers(found, name, max_bytes=max_bytes), native_rate, rate, names, leads, unit, max_bytes=max_bytes)[0]
    if kind in (".edf", ".bdf"):
        from mmrep.data.medical import edf

        return edf.read_edf(found, rate, leads, max_bytes=max_bytes)[0]
    if kind == ".dcm":
        return ecg.read_dicom_ecg(found, rate, leads, group, max_bytes)[0]
    if not isinstance(found, Path):
        raise ValueError(f"{name!r}: a WFDB record is several files; unpack the archive")
    return ecg.read_wfdb(found, rate, leads, max_bytes=max_bytes)[0]


def read_features(store: Any, name: str, *, key: str = "features", max_bytes: int = MAX_BYTES) -> np.ndarray:
    """An array as f32[D], or a bag f32[N, D] (tiles, crops); key: which of several arrays of an .npz or .h5. Raises ValueError, OSError."""
    found = locate(store, name)
    if not isinstance(found, np.ndarray) and suffix(name) in (".h5", ".hdf5"):
        from mmrep.data.medical import hdf5

        values = hdf5.read_hdf5(found, key, max_bytes=max_bytes)[0]
    else:
        values = numbers(found, name, key, max_bytes)
    if values.ndim == 3 and len(values) == 1:  # as some write a bag
        values = values[0]
    if values.ndim not in (1, 2):
        raise ValueError(f"{name!r} is {values.dtype}{list(values.shape)}, not a vector [D] or a bag [N, D]")
    values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError(f"{name!r} has {int((~np.isfinite(values)).sum())} values that are NaN or infinite")
    return values


READERS = {"image": read_image, "volume": read_volume, "signal": read_signal, "features": read_features}


def check_options(what: str, kind: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a reader as a dict; ValueError naming the nearest where it has no such option. what: how the message begins."""
    if kind not in READERS:
        raise ValueError(f"{what}: read[{kind!r}] is of nothing that is read; {nearest(kind, READERS)}")
    known = [name for name, p in inspect.signature(READERS[kind]).parameters.items() if p.kind == p.KEYWORD_ONLY]
    for name in options:
        if name not in known:
            raise ValueError(f"{what}: read of {kind} has no option {name!r}; {nearest(name, known)}")
    return dict(options)


def suffix(name: str) -> str:
    """The lower-case suffix of a file name, ".nii.gz" as one."""
    low = name.lower()
    return ".nii.gz" if low.endswith(".nii.gz") else Path(low).suffix


def locate(store: Any, name: str) -> Path | bytes | np.ndarray:
    """Where a reader finds a file: its path in a folder, its bytes in an archive, an array of an npz. Raises ValueError for what an
    archive does not hold, such as a folder."""
    if isinstance(store, Folder):
        return store.path / name
    if name not in store:
        raise ValueError(f"{name!r} is no file of {store.path.name}; a series of slices in an archive is not read: unpack it")
    return store.read(name)


def numbers(found: Path | bytes | np.ndarray, name: str, key: str = "", max_bytes: int = MAX_BYTES) -> np.ndarray:
    """The array of a .npy, of an .npz (its only one, or `key`), a TIFF's pages, or the array itself.

    Raises ValueError on NaN, infinity, what are no numbers, or more than `max_bytes`."""
    values = found
    if not isinstance(found, np.ndarray):
        if suffix(name) in (".tif", ".tiff"):
            from mmrep.data.medical import tiff

            values = tiff.read_tiff(found, max_bytes=max_bytes)[0]
        elif suffix(name) == ".npz":
            archive, members = open_zip(found if isinstance(found, Path) else io.BytesIO(found), name)
            if f"{key}.npy" not in members and len(members) != 1:
                raise ValueError(f"{name!r} holds {', '.join(m.removesuffix('.npy') for m in members)}; name one by key=")
            values = read_npz_member(archive, members.get(f"{key}.npy") or next(iter(members.values())), name, max_bytes)
        else:
            data = found.read_bytes() if isinstance(found, Path) else found
            values = read_npy(io.BytesIO(data), repr(name), max_bytes)
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{name!r} holds {values.dtype}, not numbers")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError(f"{name!r} has {int((~np.isfinite(values)).sum())} values that are NaN or infinite; mend or leave out the file")
    return values
