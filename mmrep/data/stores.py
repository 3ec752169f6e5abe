"""Where files of pictures lie: a folder, a zip or an npz, read by name from any thread."""

import threading
import zipfile
import zlib
from pathlib import Path

import numpy as np


class Folder:
    """Files below a folder, by relative path."""

    def __init__(self, path: Path):
        self.path = path

    def __contains__(self, name: str) -> bool:
        return (self.path / name).is_file()

    def read(self, name: str) -> bytes:
        """Encoded bytes of one file."""
        return (self.path / name).read_bytes()


class Zip:
    """Members of a zip archive. One handle behind a lock: members are small and decoding happens outside the lock."""

    def __init__(self, path: Path):
        self.path, self._lock, self._zip = path, threading.Lock(), zipfile.ZipFile(path)
        self._names = set(self._zip.namelist())

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def read(self, name: str) -> bytes:
        """Encoded bytes of one member."""
        with self._lock:
            return self._zip.read(name)


class Npz:
    """Pictures u8|u16[H, W(, C)] of an npz: one key each, or rows of its only array [n, H, W(, C)] by number."""

    def __init__(self, path: Path):
        self.path, self._lock = path, threading.Lock()
        try:
            self._file = np.load(path, allow_pickle=False)
            self._stack = self._file[self._file.files[0]] if len(self._file.files) == 1 else None
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, AttributeError) as error:
            raise ValueError(f"images: {path} is damaged or not an npz of arrays ({describe(error)}); "
                             "copy or write it again") from None
        if self._stack is not None and self._stack.ndim < 3:  # a file of a single named picture
            self._stack = None

    def __contains__(self, name: str) -> bool:
        if self._stack is not None and str(name).isdigit():
            return int(name) < len(self._stack)
        return name in self._file.files

    def read(self, name: str) -> np.ndarray:
        """Pixels of one picture."""
        if self._stack is not None and str(name).isdigit():
            return self._stack[int(name)]
        with self._lock:
            return self._file[name]


def open_images(path: Path) -> Folder | Zip | Npz:
    """Open a folder, a .zip or a .npz of pictures: `name in store`, `store.read(name) -> bytes | array`.

    Raises FileNotFoundError, or ValueError on another kind of file. Reading is safe from several threads.
    """
    if path.is_dir():
        return Folder(path)
    if not path.is_file():
        raise FileNotFoundError(f"images: no folder, zip or npz at {path}")
    if path.suffix.lower() == ".npz":
        return Npz(path)
    if not zipfile.is_zipfile(path):
        damaged = path.suffix.lower() == ".zip"
        raise ValueError(f"images: {path} is damaged or cut short; copy it again" if damaged else
                         f"images: {path} is not a folder, a zip or an npz")
    return Zip(path)


def describe(error: BaseException) -> str:
    """One short line of an error for a message."""
    if type(error).__name__ == "UnidentifiedImageError":
        return "not a picture Pillow can read"
    return (str(error).splitlines() or [type(error).__name__])[0]


def nearby(folder: Path, name: str) -> str:
    """An archive in the folder that holds the picture, for the advice of an error message; "" for none."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix in (".zip", ".npz") and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if {name, f"{name}.npy"} & set(archive.namelist()):
                    return path.name
    return ""
