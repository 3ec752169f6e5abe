"""What zip, tar and npz files hold: unsafe members, and sizes above a limit, are refused before anything is unpacked."""

import bz2
import gzip
import lzma
import math
import posixpath
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

MAX_BYTES = 2 << 30  # of one member
MAX_WHOLE = 16 << 30  # of what is unpacked as a whole: a compressed tar, a stack of pictures
OPENERS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
DAMAGE = (OSError, EOFError, KeyError, RuntimeError, NotImplementedError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)


def safe_names(names: Iterable[str], archive: str) -> list[str]:
    """Member names without `./` and doubled slashes. ValueError on one that leads out, is empty, or stands there twice."""
    safe: dict[str, str] = {}
    for name in names:
        parts = name.replace("\\", "/").split("/")
        if name.startswith(("/", "\\")) or ".." in parts or name[1:2] == ":" or "\0" in name or not name:
            raise ValueError(f"archive: {archive} has a member {name!r} that leads out of the archive; write it again with relative names")
        short = posixpath.normpath(name)
        if short in safe:
            raise ValueError(f"archive: {archive} holds {name!r} twice; write it again with one of each")
        safe[short] = name
    return list(safe)


def zip_index(file: zipfile.ZipFile, archive: str) -> dict[str, zipfile.ZipInfo]:
    """Files of a zip by name, folders left out. ValueError on an unsafe or doubled name, a link or a device, each named."""
    members = [info for info in file.infolist() if not info.filename.endswith("/")]  # is_dir fails on an empty name
    for info in members:
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise ValueError(f"archive: {archive} has a member {info.filename!r} that is a link or a device; "
                             "write it again with files only")
    return dict(zip(safe_names((info.filename for info in members), archive), members))


def open_zip(source: Path | BinaryIO, archive: str) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
    """A zip and its files by name; `archive` is what to call it. Raises ValueError on damage or an unsafe member, OSError."""
    try:
        file = zipfile.ZipFile(source)
    except Exception as error:  # zipfile lets out struct's and its own errors
        if isinstance(error, OSError):
            raise
        raise ValueError(f"archive: {archive} is damaged or cut short ({type(error).__name__}); copy it again") from None
    return file, zip_index(file, archive)


def tar_index(file: BinaryIO, archive: str) -> dict[str, tuple[int, int]]:
    """{name: (offset, size)} of the files of an uncompressed tar, folders left out; only headers are read.

    ValueError on damage, and on an unsafe or doubled name, a link, a device, a sparse file, or a member beyond the end, each named.
    """
    end = file.seek(0, 2)
    file.seek(0)
    members: list[tarfile.TarInfo] = []
    try:
        tar, before = tarfile.open(fileobj=_Headers(file), mode="r:"), -1
        while (info := tar.next()) is not None:
            if info.size < 0 or tar.offset <= before:  # a negative size would lead back, forever
                raise ValueError("a header leads back")
            before = tar.offset
            tar.members.clear()  # it keeps all, and resolves links among them
            if not info.isdir():
                members.append(info)
    except Exception as error:  # tarfile lets out its own and struct's
        raise ValueError(f"archive: {archive} is damaged or no tar ({type(error).__name__}); copy it again") from None
    for info in members:
        if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or info.issparse():
            raise ValueError(f"archive: {archive} has a member {info.name!r} that is a link, a device or sparse; "
                             "write it again with files only")
        if info.offset_data + info.size > end:
            raise ValueError(f"archive: {archive} is cut short in its member {info.name!r}; copy it again")
    return {name: (info.offset_data, info.size) for name, info in zip(safe_names((info.name for info in members), archive), members)}


class _Headers:
    """A file of which tarfile reads headers only: a name or attribute of more than a megabyte is damage or an attack."""

    def __init__(self, file: BinaryIO):
        self._file, self.seek, self.tell = file, file.seek, file.tell

    def read(self, n: int) -> bytes:
        if not 0 <= n <= 1 << 20:
            raise ValueError("header too large")
        return self._file.read(n)


def open_tar(path: Path, max_bytes: int = MAX_WHOLE) -> tuple[BinaryIO, dict[str, tuple[int, int]]]:
    """An uncompressed tar, and its files by name. One in gzip, bzip2 or xz is unpacked once, into a temporary file that nobody else sees.

    Raises ValueError on damage, an unsafe member, or a compressed one of more than `max_bytes`; OSError.
    """
    file = path.open("rb")
    head = file.read(512)
    opener = next((opener for magic, opener in OPENERS.items() if head.startswith(magic)), None)
    if opener is not None and head[257:262] != b"ustar":  # else the first member's name begins so
        file.close()
        file = tempfile.TemporaryFile()
        try:
            with opener(path) as packed:
                size = 0
                while piece := packed.read(1 << 20):
                    size += len(piece)
                    if size > max_bytes:
                        raise ValueError(f"archive: {path} unpacks to more than max_bytes={max_bytes}; raise it, or write a .tar")
                    file.write(piece)
        except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
            raise ValueError(f"archive: {path} is damaged or cut short ({type(error).__name__}); copy it again") from None
    return file, tar_index(file, str(path))


def read_member(file: zipfile.ZipFile, info: zipfile.ZipInfo, archive: str, max_bytes: int = MAX_BYTES) -> bytes:
    """Bytes of a file of a zip, no more than it declares. ValueError where that is above the limit, on damage, and on encryption."""
    check_size(info.file_size, archive, info.filename, max_bytes)
    try:
        with file.open(info) as member:
            content = member.read(info.file_size + 1)
    except DAMAGE as error:
        raise ValueError(f"archive: {info.filename!r} in {archive} cannot be unpacked ({str(error) or type(error).__name__})") from None
    if len(content) != info.file_size:
        raise ValueError(f"archive: {info.filename!r} in {archive} declares {info.file_size} bytes and holds {len(content)}; copy it again")
    return content


def check_size(size: int, archive: str, member: str, max_bytes: int) -> None:
    """ValueError where a member declares more bytes than the limit; asked before it is unpacked."""
    if size > max_bytes:
        raise ValueError(f"archive: {member!r} in {archive} declares {size} bytes, more than max_bytes={max_bytes}; "
                         "raise it if that is right")


def read_npy(file: Any, name: str, max_bytes: int = MAX_BYTES) -> np.ndarray:
    """The array of a .npy stream, once its header promises no more than `max_bytes`; nothing is unpickled.

    Raises ValueError on damage, a cut end, Python objects, too much; what reading the stream raises. Format: numpy.lib.format
    """
    try:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = header(file)
    except Exception as error:
        raise ValueError(f"npy: {name} is no .npy array ({type(error).__name__}); write it again") from None
    if dtype.hasobject:
        raise ValueError(f"npy: {name} holds Python objects; write numbers")
    size = math.prod(shape) * dtype.itemsize
    if min(shape, default=1) < 0 or size > max_bytes:
        raise ValueError(f"npy: {name} declares {dtype}{list(shape)}, more than max_bytes={max_bytes}; raise it if that is right")
    content = file.read(size)
    if len(content) != size:
        raise ValueError(f"npy: {name} is cut short: {len(content)} bytes of {size}; write it again")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


def read_npz_member(file: zipfile.ZipFile, info: zipfile.ZipInfo, archive: str, max_bytes: int = MAX_BYTES) -> np.ndarray:
    """An array of an npz, as `read_npy`. Raises ValueError, which names archive and member."""
    if info.file_size > max_bytes + (1 << 16):  # the header is no pixel
        check_size(info.file_size, archive, info.filename, max_bytes)
    try:
        with file.open(info) as member:
            return read_npy(member, f"{info.filename!r} in {archive}", max_bytes)
    except DAMAGE as error:
        raise ValueError(f"archive: {info.filename!r} in {archive} cannot be unpacked ({str(error) or type(error).__name__})") from None
