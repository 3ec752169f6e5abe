import zipfile

import numpy as np
import pytest

from mmrep.data.medical.bags import read_bag

h5py = pytest.importorskip("h5py", reason="needs the extra `medical`: pip install mmrep[medical]")
FEATURES = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float16)
COORDS = np.arange(14, dtype=np.int32).reshape(7, 2) * 256


def written(path, **arrays):
    """A bag as CLAM appends it batch by batch: chunked, of unlimited length."""
    if path.suffix == ".npz":
        np.savez(path, **arrays)
        return path
    with h5py.File(path, "w") as file:
        for key, values in arrays.items():
            file.create_dataset(key, data=values, chunks=(1, *values.shape[1:]), maxshape=(None, *values.shape[1:]))
    return path


@pytest.mark.parametrize("kind", ["h5", "npz"])
def test_bags(tmp_path, kind):
    path = written(tmp_path / f"x.{kind}", features=FEATURES, coords=COORDS)
    for source in (path, path.read_bytes()):
        values, meta = read_bag(source)
        assert values.dtype == np.float32 and meta["tiles"] == 7
        np.testing.assert_array_equal(values, FEATURES)
        np.testing.assert_array_equal(meta["coords"], COORDS)
    assert read_bag(path, coords=None)[1]["coords"] is None
    alone = written(tmp_path / f"y.{kind}", features=FEATURES[None])
    assert read_bag(alone)[0].shape == (7, 5) and read_bag(alone)[1]["coords"] is None


@pytest.mark.parametrize("kind", ["h5", "npz"])
def test_bad_bags_are_told(tmp_path, kind):
    holed = FEATURES.copy()
    holed[1, 2] = np.nan
    for arrays, options, why in ((dict(features=holed), {}, "1 values that are NaN"),
                                 (dict(features=FEATURES[0]), {}, "not numbers \\[tiles"),
                                 (dict(features=FEATURES[:0]), {}, "not numbers \\[tiles"),
                                 (dict(features=FEATURES, coords=COORDS[:3]), {}, "not whole numbers \\[7, 2\\]"),
                                 (dict(other=FEATURES, coords=COORDS), {}, "no (array|dataset) 'features'"),
                                 (dict(features=FEATURES), dict(max_bytes=60), "more than max_bytes")):
        with pytest.raises(ValueError, match=why):
            read_bag(written(tmp_path / f"x.{kind}", **arrays), **options)
    (tmp_path / "bad").write_bytes(b"PK no bag")
    with pytest.raises(ValueError, match="damaged"):
        read_bag(tmp_path / "bad")
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as file:
        file.writestr("x/data.pkl", b"cos\nsystem\n")
    with pytest.raises(ValueError, match="x.pt is a torch file"):
        read_bag(tmp_path / "x.pt")
