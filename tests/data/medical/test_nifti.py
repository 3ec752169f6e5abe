import gzip
from pathlib import Path

import numpy as np
import pytest

from mmrep.data.medical.nifti import read_nifti
from tests.data.medical.fuzz import only_documented

nib = pytest.importorskip("nibabel", reason="needs the extra `medical`: pip install mmrep[medical]")
FILES = Path(nib.__file__).parent / "tests" / "data"


def encoded(values, affine=None):
    return nib.Nifti1Image(values, np.eye(4) if affine is None else affine).to_bytes()


def test_a_real_file_equals_nibabels_own_canonical_orientation():
    for name in ("anatomical.nii", "example_nifti2.nii.gz"):
        image = nib.load(FILES / name)
        image = image.slicer[..., 0] if image.ndim == 4 else image
        expected = nib.as_closest_canonical(image)
        values, meta = read_nifti(FILES / name, volume=0)
        np.testing.assert_array_equal(values, expected.get_fdata(dtype=np.float32))
        np.testing.assert_allclose(meta["affine"], expected.affine, atol=1e-9)
        assert meta["axes"] == "LAS" and meta["oriented"]


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SAR", "PIL"])
def test_any_storage_order_gives_the_same_volume(codes):
    values = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    affine = np.array([[2, 0, 0, -3], [0, 3, 0, 5], [0, 0, 4, 7], [0, 0, 0, 1.0]])
    turn = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(codes))
    stored = nib.Nifti1Image(values, affine).as_reoriented(turn)
    read, meta = read_nifti(stored.to_bytes())
    np.testing.assert_array_equal(read, values)
    np.testing.assert_allclose(meta["affine"], affine)
    assert meta["axes"] == codes and meta["spacing"] == [2.0, 3.0, 4.0]


def test_respacing_keeps_positions_and_labels():
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in (20, 16, 12)), indexing="ij"), -1)
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    ramp = (grid @ np.array([1.0, 2.0, 3.0])).astype(np.float32)  # x + y + z in mm
    values, meta = read_nifti(encoded(ramp, affine), spacing=(2, 2, 2))
    assert values.shape == (10, 16, 18) and meta["spacing"] == [2.0, 2.0, 2.0]
    inner = np.stack(np.meshgrid(*(np.arange(2, n - 2) for n in values.shape), indexing="ij"), -1)
    world = inner @ np.array(meta["affine"])[:3, :3].T + np.array(meta["affine"])[:3, 3]
    np.testing.assert_allclose(values[2:-2, 2:-2, 2:-2], world.sum(-1), atol=1e-3)
    mask = (grid[..., 0] > 9).astype(np.uint8) * 7
    assert set(np.unique(read_nifti(encoded(mask, affine), spacing=(3, 3, 3), labels=True)[0])) == {0, 7}


@pytest.mark.parametrize("unit, mm", [("mm", 1), ("unknown", 1), ("micron", 1e-3), ("meter", 1e3)])
def test_units_of_length_become_millimeters(unit, mm):
    values = np.random.default_rng(0).normal(size=(8, 6, 4)).astype(np.float32)
    affine = np.array([[-25.0, 0, 0, 3], [0, 25, 0, 5], [0, 0, 50, 7], [0, 0, 0, 1]]) / [[mm], [mm], [mm], [1]]
    image = nib.Nifti1Image(values, affine)
    image.header.set_xyzt_units(unit, "sec")
    read, meta = read_nifti(image.to_bytes())
    np.testing.assert_allclose(meta["spacing"], [25, 25, 50], rtol=1e-6)
    np.testing.assert_allclose(meta["affine"], nib.as_closest_canonical(image).affine * [[mm], [mm], [mm], [1]], rtol=1e-6)
    np.testing.assert_array_equal(read, values[::-1])
    assert read_nifti(image.to_bytes(), spacing=(50, 50, 50))[0].shape == (4, 3, 4)


def test_window():
    values = np.linspace(-1000, 1000, 24).reshape(2, 3, 4).astype(np.int16)
    unit = np.clip((values + 160.0) / 400, 0, 1)
    np.testing.assert_allclose(read_nifti(encoded(values), window=(-160, 240))[0], unit, atol=1e-6)
    np.testing.assert_array_equal(read_nifti(encoded(values), window=(-160, 240), dtype="uint8")[0], np.rint(np.float32(unit) * 255))
    with pytest.raises(ValueError, match="pass window"):
        read_nifti(encoded(values), dtype="uint8")


def test_bad_files_are_told(tmp_path):
    good = encoded(np.ones((8, 8, 8), np.float32))
    for value in (np.nan, np.inf):
        holed = np.ones((8, 8, 8), np.float32)
        holed[1, 2, 3] = value
        with pytest.raises(ValueError, match="1 voxels that are NaN or infinite"):
            read_nifti(encoded(holed))
    (tmp_path / "cut.nii").write_bytes(good[:-5])
    (tmp_path / "cut.nii.gz").write_bytes(gzip.compress(good)[:-9])
    for name in ("cut.nii", "cut.nii.gz"):
        with pytest.raises(ValueError, match=f"{name} is cut short"):
            read_nifti(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_nifti(tmp_path / "none.nii")
    with pytest.raises(ValueError, match="max_bytes=100000"):
        read_nifti(gzip.compress(bytes(10**7)), max_bytes=10**5)
    huge = bytearray(good)
    huge[42:48] = np.array([32767] * 3, "<i2").tobytes()
    with pytest.raises(ValueError, match="declares .* bytes"):
        read_nifti(bytes(huge))
    with pytest.raises(ValueError, match="bytes, more than"):
        read_nifti(good, spacing=(1e-4, 1e-4, 1e-4))
    with pytest.raises(ValueError, match="holds 20 volumes"):
        read_nifti(FILES / "functional.nii")
    np.testing.assert_array_equal(read_nifti(FILES / "functional.nii", volume=3)[0][::-1],
                                  np.asarray(nib.load(FILES / "functional.nii").dataobj[..., 3], np.float32))


def test_mutated_files_raise_only_documented_errors():
    small = encoded(np.random.default_rng(0).normal(size=(6, 5, 4)).astype(np.float32), np.diag([-2.0, 2, 2, 1]))
    for seed, data in enumerate((small, gzip.compress(small), (FILES / "example_nifti2.nii.gz").read_bytes())):
        read, refused = only_documented(lambda copy: read_nifti(copy, volume=0, spacing=(3, 3, 3), max_bytes=1 << 22), data, 120, seed)
        assert refused > 20
