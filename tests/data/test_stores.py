"""Archives of pictures: read by name, and refused where a member is unsafe or unpacks to more than is allowed."""

import io
import tarfile
import tracemalloc
import zipfile

import numpy as np
import pytest

from mmrep.data.stores import Folder, open_images
from tests.data.medical.fuzz import mutations

FILES = {"a.png": b"first", "deep/er/b.png": b"second" * 1000, "ü c.png": b""}


def write(folder, kind, files=FILES, more=()):
    """An archive of a kind; `more` are further (name, bytes) and tar members."""
    path = folder / f"x.{kind}"
    entries = [*files.items(), *(m for m in more if isinstance(m, tuple))]
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            file.mkdir("deep")
            for name, content in entries:
                file.writestr(name, content)
        return path
    with tarfile.open(path, {"tar": "w", "tar.gz": "w:gz", "tar.xz": "w:xz"}[kind]) as file:
        folder_member = tarfile.TarInfo("deep")
        folder_member.type = tarfile.DIRTYPE
        file.addfile(folder_member)
        for name, content in entries:
            member = tarfile.TarInfo(name if isinstance(name, str) else name.filename)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
        for member in more:
            if not isinstance(member, tuple):
                file.addfile(member)
    return path


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.xz"])
def test_members_are_read_by_name_in_any_order(tmp_path, kind):
    store = open_images(write(tmp_path, kind, {f"./{name}": content for name, content in FILES.items()}))
    for name in reversed(FILES):
        assert name in store and f"./{name}" in store and store.read(name) == FILES[name]
    assert "none.png" not in store and "deep" not in store and "" not in store
    assert isinstance(open_images(tmp_path), Folder)
    assert open_images(write(tmp_path, kind, {"BZh9.png": b"x"})).read("BZh9.png") == b"x"  # begins as bzip2 does


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize("name", ["../a.png", "deep/../../a.png", "/etc/a.png", "C:\\a.png", "..\\a.png", "\\\\host\\a.png"])
def test_names_that_lead_out_are_refused(tmp_path, kind, name):
    with pytest.raises(ValueError, match=rf"x\.{kind} has a member .*a\.png.* leads out"):
        open_images(write(tmp_path, kind, more=[(name, b"x")]))


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_there_twice_are_refused(tmp_path, kind):
    for name in ("a.png", "deep/er/./b.png"):
        with pytest.raises(ValueError, match=rf"x\.{kind} holds '.*' twice"):
            open_images(write(tmp_path, kind, more=[(name, b"x")]))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE,
                                  tarfile.GNUTYPE_SPARSE, b"?"])
def test_links_and_devices_are_refused(tmp_path, kind):
    member = tarfile.TarInfo("evil")
    member.type, member.linkname = kind, "/etc/passwd"
    with pytest.raises(ValueError, match="x.tar has a member 'evil' that is a link|x.tar is damaged"):
        open_images(write(tmp_path, "tar", more=[member]))
    link = zipfile.ZipInfo("evil")
    link.external_attr = 0o120777 << 16
    with pytest.raises(ValueError, match="x.zip has a member 'evil' that is a link"):
        open_images(write(tmp_path, "zip", more=[(link, b"/etc/passwd")]))


def test_bombs_are_refused_before_they_are_unpacked(tmp_path):
    zeros = {"a.png": b"ok", "bomb.png": bytes(64 << 20)}
    paths = [write(tmp_path, kind, zeros) for kind in ("zip", "tar")]
    packed = write(tmp_path, "tar.gz", zeros)
    np.savez_compressed(tmp_path / "x.npz", a=np.zeros((2, 2), np.uint8), bomb=np.zeros((8192, 8192), np.uint8))
    np.savez_compressed(tmp_path / "stack.npz", np.zeros((1024, 256, 256), np.uint8))
    tracemalloc.start()
    for path in paths:
        store = open_images(path, max_bytes=1 << 20)
        assert store.read("a.png") == b"ok"
        with pytest.raises(ValueError, match=rf"'bomb.png' in .*{path.name} declares 67108864 bytes, more than max_bytes=1048576"):
            store.read("bomb.png")
    with pytest.raises(ValueError, match="x.tar.gz unpacks to more than max_bytes=1048576"):
        open_images(packed, max_bytes=1 << 20)
    store = open_images(tmp_path / "x.npz", max_bytes=1 << 20)
    assert store.read("a").shape == (2, 2)
    with pytest.raises(ValueError, match="bomb.npy' in .*x.npz declares 671"):
        store.read("bomb")
    with pytest.raises(ValueError, match="stack.npz .*more than max_bytes"):
        open_images(tmp_path / "stack.npz", max_bytes=1 << 20)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 8 << 20


@pytest.mark.parametrize("size, claimed", [(64 << 20, 10), (54321, 1 << 19)])
def test_a_member_that_lies_of_its_size_is_refused(tmp_path, size, claimed):
    path = write(tmp_path, "zip", {"a.png": bytes(size)})
    data, real = bytearray(path.read_bytes()), size.to_bytes(4, "little")
    assert data.count(real) == 2  # before the member and in the directory
    path.write_bytes(data.replace(real, claimed.to_bytes(4, "little")))
    tracemalloc.start()
    with pytest.raises(ValueError, match="'a.png' in .*x.zip"):
        open_images(path, max_bytes=1 << 20).read("a.png")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 8 << 20


def test_an_npy_that_promises_more_than_it_holds_is_refused(tmp_path):
    declared = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000, 1000000), }"
    header = np.lib.format.magic(1, 0) + b"\x76\x00" + declared.ljust(117) + b"\n"
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
        file.writestr("a.npy", header)
        file.writestr("b.npy", header.replace(b"1000000, 1000000", b"1000, 1000      "))
    store = open_images(tmp_path / "x.npz")
    for key, said in (("a", "declares uint8\\[1000000, 1000000\\], more than"), ("b", "cut short: 0 bytes of 1000000")):
        with pytest.raises(ValueError, match=f"'{key}.npy' in .*x.npz.*{said}"):
            store.read(key)


def test_stacks_of_pictures_in_hdf5(tmp_path):
    h5py = pytest.importorskip("h5py", reason="needs the extra `medical`: pip install mmrep[medical]")
    pictures = np.random.default_rng(0).integers(0, 256, (5, 6, 7), np.uint8)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("set/cxr", data=pictures, chunks=(1, 6, 7), compression="gzip")
        file.create_dataset("label", data=np.arange(5))
    store = open_images(tmp_path / "x.h5")
    for name in ("3", "set/cxr/3"):
        assert name in store
        np.testing.assert_array_equal(store.read(name), pictures[3])
    assert not any(name in store for name in ("5", "-1", "set/cxr/5", "label/3", "cxr/3", "x", ""))
    with h5py.File(tmp_path / "y.h5", "w") as file:
        file["label"], file["out"] = np.arange(5), h5py.ExternalLink("x.h5", "/set/cxr")
    with pytest.raises(ValueError, match="y.h5 has no stack of pictures"):
        open_images(tmp_path / "y.h5")


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "npz"])
def test_damaged_archives_raise_only_documented_errors(tmp_path, kind):
    counts, path = [0, 0], tmp_path / "x.npz"
    if kind == "npz":
        np.savez_compressed(path, a=np.arange(40).reshape(2, 4, 5), b=np.zeros((2, 2)))
    else:
        path = write(tmp_path, kind)
    for copy in mutations(path.read_bytes(), 150, 0):
        path.write_bytes(copy)
        try:
            store = open_images(path, max_bytes=1 << 20)
            for name in ("a", "b") if kind == "npz" else FILES:
                if name in store:
                    store.read(name)
            counts[0] += 1
        except (ValueError, OSError):
            counts[1] += 1
    assert min(counts) > 0 and counts[1] > 20


def test_a_zip_with_a_member_of_no_name_is_refused(tmp_path):
    path = write(tmp_path, "zip", {"aa": b"x"})
    data = path.read_bytes()
    end = data.rfind(b"PK\x01\x02", 0, data.rfind(b"aa"))
    path.write_bytes(data[:end + 28] + bytes(2) + data[end + 30:data.rfind(b"aa")] + data[data.rfind(b"aa") + 2:])
    with pytest.raises(ValueError, match="x.zip"):
        open_images(path)


def test_a_negative_size_in_a_tar_ends(tmp_path):
    """tarfile of Python 3.11 walks such a header forever."""
    path = write(tmp_path, "tar")
    data = bytearray(path.read_bytes())
    data[512 + 124:512 + 136] = b"\xff" * 11 + b"\x00"  # the second member: -256 bytes
    data[512 + 148:512 + 156] = b" " * 8
    data[512 + 148:512 + 156] = b"%06o\0 " % sum(data[512:1024])
    path.write_bytes(data)
    with pytest.raises(ValueError, match="x.tar is damaged"):
        open_images(path)


def test_a_record_is_as_large_as_all_of_its_files(tmp_path):
    for name in ("r0.hea", "r0.dat", "r01.dat", "x.png"):
        (tmp_path / name).write_bytes(b"1234567")
    store = open_images(tmp_path)
    assert [store.size(name) for name in ("r0", "r0.hea", "x.png", "none")] == [14, 14, 7, 0]
