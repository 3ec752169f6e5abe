"""Where files of pictures lie: a folder, a zip, a tar, an npz or an HDF5 file, read by name from any thread."""

import glob
import posixpath
import threading
import zipfile
from pathlib import Path

import numpy as np

from mmrep.data.archives import MAX_BYTES, MAX_WHOLE, check_size, open_tar, open_zip, read_member, read_npz_member


class Folder:
    """Files below a folder, by relative path."""

    def __init__(self, path: Path):
        self.path = path

    def __contains__(self, name: str) -> bool:
        try:
            return (self.path / name).exists()  # a series of slices is a folder
        except OSError:  # longer than names of files are: a text
            return False

    def read(self, name: str) -> bytes:
        """Encoded bytes of one file."""
        return (self.path / name).read_bytes()

    def size(self, name: str) -> int:
        """Bytes of one file, or of all files of a folder (a series, a record of several files of one name); 0 where there is none."""
        path = self.path / name
        try:
            record = path.with_suffix("") if path.suffix == ".hea" else path  # whose signals lie in other files
            alone = path.is_file() and record == path
            several = path.iterdir() if path.is_dir() else [path] if alone else path.parent.glob(f"{glob.escape(record.name)}.*")
            return sum(file.stat().st_size for file in several)
        except OSError:
            return 0


class Zip:
    """Members of a zip archive. One handle behind a lock: members are small and decoding happens outside the lock."""

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES):
        self.path, self.max_bytes, self._lock = path, max_bytes, threading.Lock()
        self._zip, self._members = open_zip(path, str(path))

    def __contains__(self, name: str) -> bool:
        return posixpath.normpath(name) in self._members

    def read(self, name: str) -> bytes:
        """Encoded bytes of one member. Raises ValueError on damage, or more than `max_bytes`."""
        with self._lock:
            return read_member(self._zip, self._members[posixpath.normpath(name)], str(self.path), self.max_bytes)

    def size(self, name: str) -> int:
        """The checksum of one member, which tells more than its bytes; 0 where there is none."""
        found = self._members.get(posixpath.normpath(name))
        return found.CRC if found else 0


class Tar:
    """Members of a .tar, or of a .tar.gz (.bz2, .xz), which is unpacked to a temporary file when it is opened."""

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES, max_whole: int = MAX_WHOLE):
        self.path, self.max_bytes, self._lock = path, max_bytes, threading.Lock()
        self._file, self._members = open_tar(path, max_whole)

    def __contains__(self, name: str) -> bool:
        return posixpath.normpath(name) in self._members

    def read(self, name: str) -> bytes:
        """Encoded bytes of one member. Raises ValueError on more than `max_bytes`, or a file cut since."""
        offset, size = self._members[posixpath.normpath(name)]
        check_size(size, str(self.path), name, self.max_bytes)
        with self._lock:
            self._file.seek(offset)
            content = self._file.read(size)
        if len(content) != size:
            raise ValueError(f"archive: {name!r} in {self.path} is cut short; copy the archive again")
        return content

    def size(self, name: str) -> int:
        """Bytes of one member; 0 where there is none."""
        return self._members.get(posixpath.normpath(name), (0, 0))[1]


class Npz:
    """Arrays of an npz: one key each, or rows by number, of its only array where that is a stack [n, ...] of pictures or of the one that
    `stack` names."""

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES, max_whole: int = MAX_WHOLE, stack: str | None = None):
        self.path, self.max_bytes, self._lock = path, max_bytes, threading.Lock()
        try:
            self._zip, members = open_zip(path, str(path))
            self._members = {name.removesuffix(".npy"): info for name, info in members.items() if name.endswith(".npy")}
            if stack is not None and stack not in self._members:
                raise ValueError(f"it has no array {stack!r} but {', '.join(self._members)}")
            only = self._members[stack or next(iter(self._members))] if stack or len(self._members) == 1 else None
            self._stack = None if only is None else read_npz_member(self._zip, only, str(path), max_whole)
        except ValueError as error:
            raise ValueError(f"images: {path} is damaged or not an npz of arrays ({describe(error)})") from None
        if self._stack is not None and stack is None and self._stack.ndim < 3:  # a file of a single named picture
            self._stack = None

    def arrays(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the arrays, by name; of those that cannot be read ()."""
        found = {}
        for name, info in self._members.items():
            try:
                with self._lock, self._zip.open(info) as member:
                    version = np.lib.format.read_magic(member)
                    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                    found[name] = reader(member)[0]
            except Exception:  # whatever is damaged: this is for an error message
                found[name] = ()
        return found

    def __contains__(self, name: str) -> bool:
        if self._stack is not None and str(name).isdigit():
            return int(name) < len(self._stack)
        return name in self._members

    def read(self, name: str) -> np.ndarray:
        """Pixels of one picture. Raises ValueError on damage, or more than `max_bytes`."""
        if self._stack is not None and str(name).isdigit():
            return self._stack[int(name)]
        with self._lock:
            return read_npz_member(self._zip, self._members[name], str(self.path), self.max_bytes)

    def size(self, name: str) -> int:
        """Bytes of the whole file."""
        return self.path.stat().st_size


class Hdf5:
    """Pictures u8|u16[H, W(, C)] in the stacks [n, H, W(, C)] of an HDF5 file: KEY/ROW, or rows of its only stack by number."""

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES):
        from mmrep.data.medical import hdf5

        self.path, self.max_bytes, self._read = path, max_bytes, hdf5.read_hdf5
        self._stacks = {key: shape[0] for key, shape in hdf5.shapes(path).items() if len(shape) in (3, 4)}
        if not self._stacks:
            raise ValueError(f"images: {path} has no stack of pictures [n, H, W] or [n, H, W, C]")

    def _find(self, name: str) -> tuple[str, int]:
        key, _, row = str(name).rpartition("/")
        key = next(iter(self._stacks)) if not key and len(self._stacks) == 1 else key
        return (key, int(row)) if row.isdigit() and int(row) < self._stacks.get(key, 0) else ("", -1)

    def __contains__(self, name: str) -> bool:
        return self._find(name)[1] >= 0

    def read(self, name: str) -> np.ndarray:
        """Pixels of one picture. Raises ValueError on damage, or more than `max_bytes`."""
        key, row = self._find(name)
        return self._read(self.path, key, [row], self.max_bytes)[0][0]

    def size(self, name: str) -> int:
        """Bytes of the whole file."""
        return self.path.stat().st_size


def open_images(path: Path, max_bytes: int | None = None) -> Folder | Zip | Tar | Npz | Hdf5:
    """Open a folder, a .zip, .tar, .tar.gz, .npz or .h5 of pictures or other files: `name in store`, `store.read(name) -> bytes | array`.

    FILE.npz/NAME is one array of an npz, [n, ...], whose rows are read by number.

    `max_bytes` is the most that a member, a stack of pictures or a compressed tar may unpack to (default 2 GiB, whole ones 16 GiB).
    Raises FileNotFoundError, or ValueError on another kind of file, a damaged one, and one with a member that is a link, a device, there
    twice, or leads out of it (`../`, `/etc`). Reading is safe from several threads.
    """
    most, whole = (MAX_BYTES, MAX_WHOLE) if max_bytes is None else (max_bytes, max_bytes)
    if path.is_dir():
        return Folder(path)
    if path.parent.suffix.lower() == ".npz" and path.parent.is_file():
        return Npz(path.parent, most, whole, path.name)
    if not path.is_file():
        raise FileNotFoundError(f"images: no folder, zip, tar, npz or h5 at {path}")
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if suffixes[-1:] == [".npz"]:
        return Npz(path, most, whole)
    if suffixes[-1:] in ([".h5"], [".hdf5"]):
        return Hdf5(path, most)
    if suffixes[-1:] in ([".tar"], [".tgz"]) or suffixes[:1] == [".tar"]:
        return Tar(path, most, whole)
    if not zipfile.is_zipfile(path):
        damaged = suffixes[-1:] == [".zip"]
        raise ValueError(f"images: {path} is damaged or cut short; copy it again" if damaged else
                         f"images: {path} is not a folder, a zip, a tar, an npz or an h5")
    return Zip(path, most)


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
