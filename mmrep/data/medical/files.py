"""What the readers share: packages on demand, bounded bytes, the intensity window."""

import importlib
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

MAX_BYTES = 2 << 30  # of a file, and of what it unpacks to
QUOTING = ("pydicom", "tifffile", "edfio", "nibabel")  # their warnings and logs quote values of the file, which may name a patient


class Told(ValueError):
    """An error in our own words, fit to be shown."""


def package(name: str) -> ModuleType:
    """Import a package of the extra `medical`; ImportError says how to install it."""
    root = name.split(".")[0]
    if root in QUOTING:
        for logger in (root, f"{root}.global"):  # nibabel's has a level of its own
            logging.getLogger(logger).setLevel(logging.CRITICAL + 1)
        warnings.filterwarnings("ignore", module=rf"{root}(\.|$)")  # for good: catch_warnings is not for threads
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ImportError(f'medical: needs {name}: pip install "mmrep[medical]"') from None


def guarded(read: Callable[[], Any], name: str, kind: str) -> Any:
    """What `read()` gives; whatever a library raises may quote the file's values, so only its kind is passed on, as ValueError.

    Told and ImportError come through.
    """
    try:
        with np.errstate(all="ignore"):
            return read()
    except (Told, ImportError) as error:
        raise (ValueError(str(error)) if isinstance(error, Told) else error) from None
    except Exception as error:
        raise ValueError(f"{kind}: {name} is cut short or damaged ({type(error).__name__}); copy or write it again") from None


def read_bytes(source: str | Path | bytes, max_bytes: int = MAX_BYTES) -> tuple[bytes, str]:
    """Bytes of a file, or those given, and what to call them in a message.

    Raises FileNotFoundError, other OSError, and ValueError on more than `max_bytes`.
    """
    if isinstance(source, bytes):
        data, name = source, "the file"
    else:
        path = Path(source)
        name = str(path)
        if not path.is_file():
            raise FileNotFoundError(f"medical: no file at {path}")
        bounded(path.stat().st_size, name, max_bytes)
        data = path.read_bytes()
    bounded(len(data), name, max_bytes)
    return data, name


def bounded(size: int, name: str, max_bytes: int) -> None:
    """Told, a ValueError, where a size in bytes is above the limit; asked before anything of that size is made."""
    if size > max_bytes:
        raise Told(f"medical: {name} holds or declares {size} bytes, more than max_bytes={max_bytes}; raise it if that is right")


def check_output(window: object, dtype: str) -> None:
    """ValueError on a window that is not (low, high) with low < high, None or "file", and on an unknown dtype."""
    if dtype not in ("float32", "uint8"):
        raise ValueError(f"medical: dtype {dtype!r} is neither 'float32' nor 'uint8'")
    if window is None or window == "file":
        return
    if not (isinstance(window, tuple | list) and len(window) == 2 and np.isfinite(window).all() and window[0] < window[1]):
        raise ValueError(f"medical: window {window!r} must be (low, high) with low < high")


def windowed(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """f32 in [0, 1] of the same shape: values clipped to [low, high] and scaled."""
    return np.clip((values.astype(np.float32) - np.float32(low)) / np.float32(max(high - low, 1e-12)), 0, 1)


def as_dtype(unit: np.ndarray, dtype: str) -> np.ndarray:
    """Values in [0, 1] as f32, or rounded to u8 0 to 255."""
    return np.rint(unit * 255).astype(np.uint8) if dtype == "uint8" else unit.astype(np.float32)
