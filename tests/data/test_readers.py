"""Files of every modality that a table names: one orientation of volumes, options, absent cells, and bad files as bad rows."""

import gzip
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmrep.data.manifest import manifest
from mmrep.data.medical.ecg import LEADS
from mmrep.data.pipeline import eval_batches, train_batches
from mmrep.data.sources import BadRow
from mmrep.data.transforms import compose
from mmrep.data.transforms.masks import masks_of
from mmrep.data.transforms.samples import choose, each

nibabel = pytest.importorskip("nibabel", reason="needs the extra `medical`: pip install mmrep[medical]")
pydicom = pytest.importorskip("pydicom", reason="needs the extra `medical`: pip install mmrep[medical]")
pytest.importorskip("wfdb", reason="needs the extra `medical`: pip install mmrep[medical]")
FILES = Path(pydicom.__file__).parent / "data" / "test_files"  # shipped in the package: no network


def table(folder, rows):
    path = folder / "metadata.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def body():
    """i16[S, A, R], 6 x 8 x 10, and which half is bright along each axis: head 1000, front 100, right 10."""
    z, y, x = np.indices((6, 8, 10))
    return (1000 * (z >= 3) + 100 * (y >= 4) + 10 * (x >= 5)).astype(np.int16)


def as_nifti(path, codes):
    """The body, stored along other axes: RAS, LPS, PIL ..."""
    image = nibabel.Nifti1Image(body().transpose(2, 1, 0), np.diag([2.0, 2, 3, 1]))
    turn = nibabel.orientations.ornt_transform(nibabel.orientations.axcodes2ornt("RAS"), nibabel.orientations.axcodes2ornt(codes))
    nibabel.save(image.as_reoriented(turn), path)


def as_series(folder, plane):
    """The body as a DICOM series of axial or coronal slices, under names in no order."""
    folder.mkdir()
    data = body()[:, ::-1, ::-1]  # [S, P, L]: as DICOM's axes run
    slices = data if plane == "axial" else data[::-1].swapaxes(0, 1)  # of a coronal slice, rows run from the head down
    for k, pixels in enumerate(slices):
        file = pydicom.dcmread(FILES / "CT_small.dcm")
        file.Rows, file.Columns = pixels.shape
        file.RescaleSlope, file.RescaleIntercept = 1, 0
        file.PixelSpacing = [2.0, 2.0] if plane == "axial" else [3.0, 2.0]
        file.ImageOrientationPatient = [1, 0, 0, 0, 1, 0] if plane == "axial" else [1, 0, 0, 0, 0, -1]
        file.ImagePositionPatient = [0.0, 0.0, 3.0 * k] if plane == "axial" else [0.0, 2.0 * k, 15.0]
        file.PixelData = np.ascontiguousarray(pixels).tobytes()
        file.save_as(folder / f"{(5 * k) % 7}_{k}.dcm")


def test_one_body_has_the_same_axes_from_every_kind_of_file(tmp_path):
    expected = body()[:, ::-1, ::-1]  # from the feet up, front to back, the patient's right to the left
    for codes in ("RAS", "LPS", "PIL", "SAR"):
        as_nifti(tmp_path / f"{codes}.nii.gz", codes)
    for plane in ("axial", "coronal"):
        as_series(tmp_path / plane, plane)
    np.save(tmp_path / "array.npy", expected)
    names = ["RAS.nii.gz", "LPS", "PIL.nii.gz", "SAR", "axial", "coronal", "array.npy"]  # a suffix may be left out
    path = table(tmp_path, [{"scan": name} for name in [*names, None]])
    source = manifest(path, "all", columns={"volume": "scan"})
    assert source.fields == ("volume",) and source.has["volume"].tolist() == [True] * 7 + [False]
    for i, name in enumerate(names):
        assert source[i]["volume"].dtype == np.float32
        np.testing.assert_array_equal(source[i]["volume"][..., 0], expected, err_msg=name)
    batch = next(eval_batches(source, 8))
    assert batch["volume"].shape == (8, 6, 8, 10, 1) and batch["present"]["volume"].tolist() == [True] * 7 + [False]
    windowed = manifest(path, "all", columns={"volume": "scan"}, read={"volume": {"window": (0, 1000), "dtype": "uint8"}})
    for i in range(7):
        np.testing.assert_array_equal(windowed[i]["volume"], windowed[0]["volume"], err_msg=names[i])
    assert windowed[0]["volume"].dtype == np.uint8 and windowed[0]["volume"].max() == 255
    spaced = manifest(path, "all", columns={"volume": "scan"}, read={"volume": {"spacing": (3, 4, 2)}}, filter={"scan": names[:6]})
    for i in range(6):
        assert spaced[i]["volume"].shape == (6, 4, 10, 1)
        np.testing.assert_allclose(spaced[i]["volume"], spaced[0]["volume"], atol=1e-3, err_msg=names[i])


def test_masks_of_volumes_go_the_way_of_their_volumes(tmp_path):
    for codes in ("RAS", "PIL"):
        as_nifti(tmp_path / f"{codes}.nii", codes)
    mask = nibabel.load(tmp_path / "PIL.nii")
    nibabel.save(nibabel.Nifti1Image((np.asarray(mask.dataobj) >= 1000).astype(np.uint8) * 2, mask.affine), tmp_path / "mask.nii")
    np.savez(tmp_path / "masks.npz", a=(body()[:, ::-1, ::-1] >= 1000).astype(np.uint8)[None] * 2, b=np.zeros((1, 5, 8, 10), np.uint8))
    path = table(tmp_path, [{"scan": "RAS", "lesion": "mask.nii", "row": 0}])
    read = {"volume": {"spacing": (3, 4, 2)}}
    for more in ({}, {"read": read}):
        example = manifest(path, "all", columns={"volume": "scan", "mask": {"lesion": "lesion"}}, **more)[0]
        assert example["mask/lesion"].dtype == np.uint8 and example["mask/lesion"].shape == example["volume"].shape
        assert set(np.unique(example["mask/lesion"])) == {0, 2} and (example["mask/lesion"][3:] == 2).all()
    columns = {"volume": "scan", "mask": {"lesion": "row"}}
    assert (manifest(path, "all", columns=columns, files={"mask/lesion": "masks.npz/a"})[0]["mask/lesion"][3:] == 2).all()
    with pytest.raises(BadRow, match=r"row 0 \(line 1\): mask/lesion is \[5, 8, 10\] and its volume \[6, 8, 10\]"):
        manifest(path, "all", columns=columns, files={"mask/lesion": "masks.npz/b"})[0]
    with pytest.raises(ValueError, match="mask/lesion would be read from masks.npz/a; name its array"):
        manifest(path, "all", columns=columns | {"volume": "row"}, files={"volume": "masks.npz/a"})


@pytest.mark.parametrize("spacing", [None, (3, 4, 2)])
def test_a_mask_that_lies_elsewhere_than_its_volume_is_a_bad_row(tmp_path, spacing):
    as_nifti(tmp_path / "scan.nii", "RAS")
    as_series(tmp_path / "series", "axial")
    there = nibabel.load(tmp_path / "scan.nii").affine
    series = np.diag([2.0, 2.0, 3.0, 1.0])
    series[:2, 3] = -18, -14  # of the first voxel to the left and back, as DICOM's axes run
    moved, wide, moved_series = there.copy(), there * [[1.5], [1], [1], [1]], series.copy()
    moved[2, 3] += 50
    moved_series[0, 3] += 0.5
    voxels = (body().transpose(2, 1, 0) >= 1000).astype(np.uint8)
    for name, affine in (("right", there + np.eye(4, k=3) * 0.01), ("moved", moved), ("wide", wide), ("series_right", series),
                         ("series_moved", moved_series)):
        nibabel.save(nibabel.Nifti1Image(voxels, affine), tmp_path / f"{name}.nii")
    untold = nibabel.Nifti1Image(voxels, None)
    untold.header.set_zooms((2, 2, 3))
    nibabel.save(untold, tmp_path / "untold.nii")
    rows = [("scan", "right"), ("scan", "untold"), ("series", "series_right"), ("scan", "moved"), ("scan", "wide"),
            ("series", "series_moved")]
    path = table(tmp_path, [{"scan": scan, "lesion": mask} for scan, mask in rows])
    source = manifest(path, "all", columns={"volume": "scan", "mask": {"lesion": "lesion"}},
                      read={} if spacing is None else {"volume": {"spacing": spacing}})
    for row in range(3):
        assert (source[row]["mask/lesion"][3:] == 1).all() and not source[row]["mask/lesion"][:3].any()
    wider = "lies up to 9 mm off its volume" if spacing is None else r"is \[6, 4, 15\] and its volume \[6, 4, 10\]"
    for row, reason in ((3, "lies up to 50 mm off its volume"), (4, wider), (5, "lies up to 0.5 mm off its volume")):
        with pytest.raises(BadRow, match=rf"row {row} .*{reason}"):
            source[row]


def test_masks_of_a_picture_and_of_a_volume_in_one_table(tmp_path):
    as_nifti(tmp_path / "scan.nii", "RAS")
    np.save(tmp_path / "mask.npy", (body()[:, ::-1, ::-1] >= 1000).astype(np.uint8))
    Image.fromarray(np.arange(20, dtype=np.uint8).reshape(4, 5)).save(tmp_path / "film.png")
    Image.fromarray(np.eye(4, 5, dtype=np.uint8)).save(tmp_path / "lungs.png")
    path = table(tmp_path, [{"film": "film", "scan": "scan", "lungs": "lungs", "liver": "mask"}])
    example = manifest(path, "all", columns={"image": "film", "volume": "scan", "mask": {"lungs": "lungs", "volume/liver": "liver"}})[0]
    assert example["mask/lungs"].shape == (4, 5, 1) and example["mask/volume/liver"].shape == example["volume"].shape == (6, 8, 10, 1)
    assert (example["mask/volume/liver"][3:] == 1).all() and len(masks_of(example, "volume")) == len(masks_of(example, "image")) == 1


@pytest.mark.parametrize("column", ["scans", ["first", "second"]])
def test_several_files_of_a_row_are_a_list_of_samples(tmp_path, column):
    for k, side in enumerate((4, 6, 6)):
        np.save(tmp_path / f"{k}.npy", np.full((side, 8, 8), k, np.float32))
    rows = [{"scans": ["0", "1"], "first": "0", "second": "1"}, {"scans": ["2"], "first": None, "second": "2"},
            {"scans": [], "first": None, "second": None}, {"scans": ["0", "gone"], "first": "0", "second": "gone"}]
    source = manifest(table(tmp_path, rows), "all", columns={"volume": column}, on_error="skip")
    assert [[len(one) for one in example.get("volume", ())] for example in source] == [[4, 6], [6], []]
    assert source.has["volume"].tolist() == [True, True, False] and source.skipped == 1
    assert source.identify(np.arange(3))["image"] == ["0.npy", "2.npy", None]
    prepare = (each([{"name": "pad_volume", "size": (6, 8, 8)}], "volume"), choose(2, random=False, key="volume"))
    batch = next(iter(eval_batches(source, 4, compose(prepare))))
    assert batch["volume"].shape == (4, 2, 6, 8, 8, 1)
    assert batch["present"]["volume"].tolist() == [[True, True], [True, False], [False, False], [False, False]]
    assert batch["volume"][0, 1].max() == 1 and batch["volume"][1, 0].max() == 2
    with pytest.raises(FileNotFoundError, match=r"row 3 \(line 4\): volume column .* holds text that is not in"):
        manifest(tmp_path / "metadata.jsonl", "all", columns={"volume": column})


def test_a_limit_of_bytes_is_a_key_of_the_source(tmp_path):
    np.savez_compressed(tmp_path / "large.npz", a=np.zeros((64, 64, 64), np.float32))  # 1 MiB of zeros in a kilobyte
    with gzip.open(tmp_path / "large.nii.gz", "wb") as file:
        file.write(nibabel.Nifti1Image(np.zeros((64, 64, 64), np.float32), np.eye(4)).to_bytes())
    for name in ("large.npz", "large.nii.gz"):
        path = table(tmp_path, [{"scan": name}])
        assert manifest(path, "all", columns={"volume": "scan"})[0]["volume"].shape == (64, 64, 64, 1)
        for more in ({"max_bytes": 100_000}, {"read": {"volume": {"max_bytes": 100_000}}}):
            with pytest.raises(BadRow, match=rf"row 0 \(line 1\): volume '{name}': .*more than max_bytes=100000"):
                manifest(path, "all", columns={"volume": "scan"}, **more)[0]
    for limit in ("max_bytes", "max_pixels"):
        for value in (0, "1e9", True):
            with pytest.raises(ValueError, match=f"{limit} .* is no number above 0"):
                manifest(path, "all", columns={"volume": "scan"}, **{limit: value})


def test_signals_of_every_kind_of_file_are_alike(tmp_path):
    import wfdb

    waves = np.round(np.sin(np.arange(1000)[:, None] / 250 * np.pi * np.arange(1, 13)), 3)
    wfdb.wrsamp("rec", fs=500, units=["mV"] * 12, sig_name=list(LEADS), p_signal=waves, fmt=["16"] * 12, write_dir=str(tmp_path))
    np.save(tmp_path / "array.npy", (waves * 1000).astype(np.int16).T)
    np.savez(tmp_path / "all.npz", signals=np.stack([waves, -waves]), leads=np.array(LEADS))
    path = table(tmp_path, [{"ecg": name, "row": i % 2} for i, name in enumerate(("rec", "rec.hea", "array", None))])
    read = {"rate": 250, "native_rate": 500, "unit": "uV", "leads": ("II", "V1")}
    source = manifest(path, "all", columns={"signal": "ecg"}, read={"signal": read})
    assert [("signal" in source[i]) for i in range(4)] == [True] * 3 + [False]
    for i in range(3):
        assert source[i]["signal"].shape == (500, 2) and source[i]["signal"].dtype == np.float32
        np.testing.assert_allclose(source[i]["signal"], source[0]["signal"], atol=2e-3)
    np.testing.assert_allclose(source[0]["signal"][50:-50], waves[100:-100:2, [1, 6]], atol=0.02)
    rows = manifest(path, "all", columns={"signal": "row"}, files={"signal": "all.npz/signals"}, read={"signal": {"native_rate": 500}})
    np.testing.assert_allclose(rows[1]["signal"], -waves, atol=1e-6)
    with pytest.raises(BadRow, match=r"row 2 .*signal 'array.npy': .*no sampling rate; set read={'signal': {'native_rate': Hz}}"):
        manifest(path, "all", columns={"signal": "ecg"})[2]
    with pytest.raises(ValueError, match="read of signal has no option 'rates'; did you mean 'rate'"):
        manifest(path, "all", columns={"signal": "ecg"}, read={"signal": {"rates": 250}})


def test_features_as_cells_files_bags_and_several(tmp_path):
    values = np.random.default_rng(0).normal(size=(3, 7)).astype(np.float32)
    np.save(tmp_path / "bag.npy", np.stack([values[0], values[1]]))
    np.savez(tmp_path / "vector.npz", values[1])
    np.savez(tmp_path / "stack.npz", values)
    path = table(tmp_path, [{"v": values[i].tolist() if i else None, "bag": "bag", "file": ("vector.npz", None, None)[i], "row": 2 - i,
                             "a": i, "b": -i, "split": "train"} for i in range(3)])
    source = manifest(path, "train", columns={"features": "v"})
    assert "features" not in source[0] and source.has["features"].tolist() == [False, True, True]
    np.testing.assert_array_equal(source[2]["features"], values[2])
    for key, of in (("features", "row"), ("my_features", {"my_features": "row"})):
        stacked = manifest(path, "train", files={key: "stack.npz/arr_0"}, columns={"features": of})
        np.testing.assert_array_equal(stacked[0][key], values[2])
    named = manifest(path, "train", columns={"features": {"bag": "bag", "file_features": "file", "ab": ["a", "b"]}})
    assert named.fields == ("ab", "bag", "file_features") and named[2]["ab"].tolist() == [2, -2]
    assert named[1]["bag"].shape == (2, 7) and named.has["file_features"].tolist() == [True, False, False]
    batch = next(eval_batches(named, 3))
    assert batch["bag"].shape == (3, 2, 7) and batch["present"]["file_features"].tolist() == [True, False, False]
    digests = []
    for last in (0.0, 1.0):  # far down a long vector
        long = table(tmp_path, [{"v": [0.0] * 5000 + [last] + [0.0] * 5000}])
        digests.append(manifest(long, "all", columns={"features": "v"}).fingerprint())
    assert digests[0] != digests[1]
    bad = table(tmp_path, [{"v": [1, 2]}, {"v": [1, None]}, {"v": "x"}, {"v": [float("nan"), 1]}])
    for rows, missing in (([0], "raise"), ([0], "absent"), ([0, 1, 3], 0.5)):
        left = manifest(bad, "all", columns={"features": "v"}, missing=missing, on_error="skip")
        assert [row for i, row in enumerate(left.rows.tolist()) if "features" in left[i]] == rows
    with pytest.raises(ValueError, match=r"row 1 \(line 2\): features column 'v' holds a list of 2, with a null"):
        manifest(bad, "all", columns={"features": "v"})


def test_a_mask_of_a_dicom_image_shrinks_with_it_and_no_other_is_stretched(tmp_path):
    (tmp_path / "scan.dcm").write_bytes((FILES / "CT_small.dcm").read_bytes())
    for name, size in (("mask", (128, 128)), ("other", (64, 64))):
        Image.fromarray(np.kron(np.eye(2), np.ones((size[0] // 2, size[1] // 2))).astype(np.uint8)).save(tmp_path / f"{name}.png")
    path = table(tmp_path, [{"scan": "scan", "m": "mask"}, {"scan": "scan", "m": "other"}])
    for how, side in (("exact", 128), ("fast", 32)):
        source = manifest(path, "all", columns={"image": "scan", "mask": "m"}, decode=how, size_hint=32)
        np.testing.assert_array_equal(source[0]["mask/m"][..., 0], np.kron(np.eye(2), np.ones((side // 2, side // 2))))
        with pytest.raises(BadRow, match=r"mask/m is \[64, 64\] and its picture \[128, 128\]; write them alike"):
            source[1]


def test_dicom_images_are_pictures_whatever_their_names(tmp_path):
    for name in ("CT_small.dcm", "SC_rgb_small_odd.dcm"):
        (tmp_path / name).write_bytes((FILES / name).read_bytes())
    (tmp_path / "IM0001").write_bytes((FILES / "CT_small.dcm").read_bytes())
    path = table(tmp_path, [{"image": name} for name in ("CT_small", "IM0001", "SC_rgb_small_odd.dcm")])
    source = manifest(path, "all", columns={"image": "image"}, read={"image": {"window": (-160, 240)}},
                      filter={"image": ["CT_small", "IM0001"]})
    assert source[0]["image"].shape == (128, 128, 1) and source[0]["image"].dtype == np.uint8
    np.testing.assert_array_equal(source[0]["image"], source[1]["image"])
    assert manifest(path, "all", columns={"image": "image"}, channels=3)[2]["image"].shape == (3, 3, 3)


def test_bad_files_are_bad_rows_that_name_file_and_reason_and_no_patient(tmp_path):
    as_nifti(tmp_path / "good.nii", "RAS")
    whole = (tmp_path / "good.nii").read_bytes()
    (tmp_path / "cut.nii").write_bytes(whole[:400])
    nan = nibabel.Nifti1Image(np.full((6, 8, 10), np.nan, np.float32), np.eye(4))
    nibabel.save(nan, tmp_path / "nan.nii")
    np.save(tmp_path / "inf.npy", np.full((6, 8, 10), np.inf, np.float32))
    np.save(tmp_path / "flat.npy", np.zeros((6, 8), np.float32))
    (tmp_path / "report.dcm").write_bytes((FILES / "waveform_ecg.dcm").read_bytes())
    (tmp_path / "note.txt").write_text("no volume")
    Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(tmp_path / "page.tif")
    as_series(tmp_path / "gap", "axial")
    next(iter(sorted((tmp_path / "gap").glob("*_2.dcm")))).unlink()
    why = {"cut.nii": "cut short", "nan.nii": "480 voxels that are NaN", "inf.npy": "480 values that are NaN or infinite",
           "flat.npy": r"is float32\[6, 8\]", "report.dcm": "dicom", "note.txt": "is no volume that is read", "gap": "a slice is missing",
           "page.tif": "is a TIFF of one page"}
    path = table(tmp_path, [{"scan": "good.nii"}, *({"scan": name} for name in why)])
    source = manifest(path, "all", columns={"volume": "scan"})
    for i, (name, reason) in enumerate(why.items(), 1):
        with pytest.raises(BadRow, match=rf"metadata.jsonl row {i} \(line {i + 1}\): volume '{name}': .*{reason}") as caught:
            source[i]
        assert "\n" not in str(caught.value) and "CompressedSamples" not in str(caught.value)
    skipping = manifest(path, "all", columns={"volume": "scan"}, on_error="skip")
    with train_batches(skipping, 8, 0) as batches:
        batch = next(batches)
    assert batches.skipped == 7 and batch["valid"].sum() == 1 and np.isfinite(batch["volume"]).all()
    with pytest.raises(FileNotFoundError, match="volume 'gone.nii' is not in .*; set files={'volume': ...}, or on_error='skip'"):
        manifest(table(tmp_path, [{"scan": "gone.nii"}]), "all", columns={"volume": "scan"})


def test_a_wrong_place_of_arrays_names_those_there_are(tmp_path):
    np.savez(tmp_path / "signals.npz", uV=np.zeros((4, 12, 50), np.float32), fs=np.float32(500))
    path = table(tmp_path, [{"scan": "0"}])
    with pytest.raises(FileNotFoundError, match=r"signal '0' is not in .*signals.npz, which holds uV \[4, 12, 50\], fs \[\] \(FILE/NAME"):
        manifest(path, "all", columns={"signal": "scan"}, files={"signal": "signals.npz"})
    source = manifest(path, "all", columns={"signal": "scan"}, files={"signal": "signals.npz/uV"}, read={"signal": {"native_rate": 500}})
    assert source[0]["signal"].shape == (50, 12)
    with pytest.raises(BadRow, match=r"set read=\{'signal': \{'native_rate': Hz\}\}, or pass on_error='skip'"):
        manifest(path, "all", columns={"signal": "scan"}, files={"signal": "signals.npz/uV"})[0]


def test_a_package_that_is_missing_is_one_line_and_no_bad_row(tmp_path, monkeypatch):
    as_nifti(tmp_path / "a.nii", "RAS")
    source = manifest(table(tmp_path, [{"scan": "a.nii"}]), "all", columns={"volume": "scan"}, on_error="skip")
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(ValueError, match=r"needs nibabel: pip install .mmrep\[medical\]") as caught:
        source[0]
    assert not isinstance(caught.value, BadRow)


def test_volumes_in_archives(tmp_path):
    as_nifti(tmp_path / "a.nii.gz", "LPS")
    with zipfile.ZipFile(tmp_path / "scans.zip", "w") as file:
        file.write(tmp_path / "a.nii.gz", "x/a.nii.gz")
    np.savez(tmp_path / "scans.npz", images=body()[None].astype(np.uint8), other=np.zeros(3))
    path = table(tmp_path, [{"scan": "x/a", "row": 0}])
    zipped = manifest(path, "all", columns={"volume": "scan"}, files={"volume": "scans.zip"})[0]["volume"]
    np.testing.assert_array_equal(zipped[..., 0], body()[:, ::-1, ::-1])
    stacked = manifest(path, "all", columns={"volume": "row"}, files={"volume": "scans.npz/images"})[0]["volume"]
    assert stacked.dtype == np.uint8 and stacked.shape == (6, 8, 10, 1)
    with pytest.raises(ValueError, match=r"files\['volumes'\] is of no column that names files; did you mean 'volume'"):
        manifest(path, "all", columns={"volume": "row"}, files={"volumes": "scans.npz"})


def test_real_sets_in_npz_files_equal_their_arrays(shared):
    from mmrep.data.audit.source import open_splits, stream_of

    folder = shared / "data" / "ludb_ecg"
    stream = stream_of(str(folder), "signal=index,text=text,case=record,label=rhythm", {
        "files.signal": "signals.npz/signals_uV", "read.signal.native_rate": "250", "read.signal.unit": "uV"})
    with np.load(folder / "signals.npz", allow_pickle=False) as file:
        signals = file["signals_uV"]
    for source in open_splits(stream)[0].values():
        for i in (0, len(source) - 1):
            np.testing.assert_allclose(source[i]["signal"], signals[source.rows[i]].T / 1000, atol=1e-6)
    folder = shared / "data" / "msd_hippocampus"
    stream = stream_of(str(folder), "volume=index,mask.hippocampus=index,case=name", {
        "files.volume": "volumes.npz/images", "files.mask": "volumes.npz/masks"})
    with np.load(folder / "volumes.npz", allow_pickle=False) as file:
        volumes, masks = file["images"], file["masks"]
    source = open_splits(stream)[0]["test"]
    for i in (0, 51):
        np.testing.assert_array_equal(source[i]["volume"][..., 0], volumes[source.rows[i]])
        np.testing.assert_array_equal(source[i]["mask/hippocampus"][..., 0], masks[source.rows[i]])


@pytest.mark.parametrize("kind", ["volume", "signal", "features"])
def test_every_modality_reaches_an_encoder_by_the_arguments_of_a_config(tmp_path, kind):
    import jax

    from mmrep import config as cfg
    from mmrep.run import assemble

    shape = {"volume": (8, 16, 16), "signal": (100, 12), "features": (20,)}[kind]
    rows = [{"cell": f"{i}.npy", "report": f"report {i % 3}", "patient": i, "split": ("train", "val", "test")[i % 3]} for i in range(12)]
    for i in range(12):
        np.save(tmp_path / f"{i}.npy", np.random.default_rng(i).normal(size=shape).astype(np.float32))
    overrides = ["total=2 steps", "data.main.batch=4"] + (["data.main.source.read={'signal': {'native_rate': 500, 'rate': 250}}"] if
                                                          kind == "signal" else [])
    spec = f"configs/clip_table.py:path={table(tmp_path, rows)},{kind}=cell,text=report,case=patient,split=split"
    run = assemble(cfg.load(spec, overrides), devices=jax.devices()[:1])
    assert run.specs["main"][kind][0] == {"volume": (8, 16, 16, 1), "signal": (50, 12), "features": (20,)}[kind]
    assert set(run.shapes.params["encoders"]) == {kind, "text"}
