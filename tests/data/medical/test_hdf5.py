import io
import zlib

import numpy as np
import pytest

from mmrep.data.medical.hdf5 import read_hdf5

h5py = pytest.importorskip("h5py", reason="needs the extra `medical`: pip install mmrep[medical]")


def written(path, **arrays):
    with h5py.File(path, "w") as file:
        for key, values in arrays.items():
            file.create_dataset(key.replace("__", "/"), data=values, chunks=(2, *values.shape[1:]), compression="gzip")
    return path


def test_rows_are_read_in_the_order_asked_for(tmp_path):
    values = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float16)
    path = written(tmp_path / "x.h5", group__a=values, n=np.arange(5, dtype=np.int64))
    for source in (path, path.read_bytes()):
        read, meta = read_hdf5(source, "group/a")
        np.testing.assert_array_equal(read, values)
        assert meta == {"shape": [10, 3], "dtype": "float16", "rows": 10}
    for rows in ([7, 0, 0, 9], np.array([3]), slice(2, 9, 3), slice(None, None, -2), slice(-3, None), slice(8, 2), []):
        np.testing.assert_array_equal(read_hdf5(path, "/group/a", rows)[0], values[np.array(rows, int) if isinstance(rows, list) else rows])
    assert read_hdf5(path, "n", [4], max_bytes=8000)[0].tolist() == [4]


def test_bad_files_and_links_are_told(tmp_path):
    path = written(tmp_path / "x.h5", a=np.zeros((4, 2)))
    (tmp_path / "secret.bin").write_bytes(bytes(range(64)))
    with h5py.File(path, "a") as file:
        file["soft"], file["out"] = h5py.SoftLink("/a"), h5py.ExternalLink("other.h5", "/a")
        file.create_dataset("raw", (8,), "f8", external=[(str(tmp_path / "secret.bin"), 0, 64)])
        file.create_dataset("text", data=["a", "b"])
        file.create_dataset("one", data=3.0)
        file.create_dataset("huge", (1 << 20, 1 << 20), "f8", chunks=(16, 16))
        file.create_dataset("thick", (1 << 13, 1 << 13), "u1", chunks=(1 << 13, 1 << 13))
        layout = h5py.VirtualLayout((4, 2), "f8")
        layout[:] = h5py.VirtualSource("other.h5", "a", (4, 2))
        file.create_virtual_dataset("virtual", layout)
        file.create_group("group")
    for key, options, why in (("b", {}, "no dataset 'b'; there are: a, group"), ("soft", {}, "is a link"), ("out", {}, "is a link"),
                              ("raw", {}, "in another file"), ("virtual", {}, "in another file"), ("text", {}, "no numbers"),
                              ("group", {}, "is a group"), ("huge", {}, "more than max_bytes"), ("a/b", {}, "no dataset"),
                              ("thick", dict(rows=[0], max_bytes=1 << 20), "a chunk of 'thick'"), ("one", dict(rows=[0]), "no rows"),
                              ("a", dict(rows=[4]), "0 to 3"), ("a", dict(rows=[-1]), "0 to 3"), ("a", dict(rows=[0.5]), "0 to 3")):
        with pytest.raises(ValueError, match=why):
            read_hdf5(path, key, **options)
    assert read_hdf5(path, "one")[0] == 3.0 and read_hdf5(path, "huge", slice(5, 6))[0].shape == (1, 1 << 20)
    (tmp_path / "cut.h5").write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ValueError, match="cut.h5 is cut short or damaged"):
        read_hdf5(tmp_path / "cut.h5", "a")
    with pytest.raises(FileNotFoundError):
        read_hdf5(tmp_path / "none.h5", "a")
    with pytest.raises(ValueError, match="damaged"):
        read_hdf5(io.BytesIO(b"").getvalue(), "a")


def test_a_chunk_that_unpacks_to_more_than_a_chunk_is_refused(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for key, filters in (("bomb", {}), ("shuffled", {"shuffle": True, "fletcher32": True})):
            dataset = file.create_dataset(key, (8192, 64), "f4", chunks=(4096, 64), compression="gzip", **filters)
            dataset[:4096] = 1
            dataset.id.write_direct_chunk((4096, 0), zlib.compress(bytes(1 << 29), 9))
        noise = np.random.default_rng(0).normal(size=(1 << 17, 4))
        file.create_dataset("honest", data=noise, chunks=noise.shape, compression="gzip", shuffle=True, fletcher32=True)
        file.create_dataset("small", (8, 64), "f4", chunks=(8, 64), compression="lzf").id.write_direct_chunk((0, 0), bytes(1 << 16))
        file.create_dataset("packed", (4, 4), "f4", chunks=(4, 4), compression=32015, allow_unknown_filter=True)
    for key in ("bomb", "shuffled"):
        with pytest.raises(ValueError, match=f"'{key}' in .* unpacks to more than the 1048576 bytes"):
            read_hdf5(tmp_path / "x.h5", key, rows=[5000])
        assert (read_hdf5(tmp_path / "x.h5", key, rows=slice(0, 4096))[0] == 1).all()
    np.testing.assert_array_equal(read_hdf5(tmp_path / "x.h5", "honest")[0], noise)
    with pytest.raises(ValueError, match="has 65536 bytes for 2048 of numbers"):
        read_hdf5(tmp_path / "x.h5", "small")
    with pytest.raises(ValueError, match="packed by filters \\[32015\\]"):
        read_hdf5(tmp_path / "x.h5", "packed")
