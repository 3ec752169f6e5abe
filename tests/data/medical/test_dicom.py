import io
import logging
import traceback
import warnings
from pathlib import Path

import numpy as np
import pytest

from mmrep.data.medical.dicom import read_dicom, read_dicom_series
from tests.data.medical.fuzz import mutations, only_documented

pydicom = pytest.importorskip("pydicom", reason="needs the extra `medical`: pip install mmrep[medical]")
FILES = Path(pydicom.__file__).parent / "data" / "test_files"  # shipped in the package: no network
PLANTED = "PLANTED^SECRET"


def opened(name="CT_small.dcm"):
    return pydicom.dcmread(FILES / name)


def written(file) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file.save_as(buffer)
    return buffer.getvalue()


def plane(z, value, **changed):
    """A CT slice at z mm, whose pixels all are `value`."""
    file = opened()
    file.ImagePositionPatient = [-10.0, -20.0, z]
    file.PixelData = np.full((file.Rows, file.Columns), value, np.int16).tobytes()
    for key, new in changed.items():
        setattr(file, key, new)
    return written(file)


def test_values_are_rescaled_and_windowed():
    file = opened()
    hounsfield = file.pixel_array * float(file.RescaleSlope) + float(file.RescaleIntercept)
    values, meta = read_dicom(FILES / "CT_small.dcm", dtype="float32")
    np.testing.assert_array_equal(values[..., 0], hounsfield.astype(np.float32))
    assert meta["modality"] == "CT" and meta["spacing"] == [float(s) for s in file.PixelSpacing] and meta["window"] is None
    expected = np.rint(np.clip((hounsfield + 160) / 400, 0, 1) * 255)
    assert np.abs(read_dicom(FILES / "CT_small.dcm", (-160, 240))[0][..., 0] - expected).max() <= 1  # f32 rounding at ties
    with pytest.raises(ValueError, match="has no window"):
        read_dicom(FILES / "CT_small.dcm", "file")


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_the_files_window_equals_pydicoms(function):
    file = opened("MR_small.dcm")
    file.VOILUTFunction, file.WindowCenter, file.WindowWidth = function, [700, 1], [900, 2]
    signed = pydicom.pixels.apply_voi_lut(file.pixel_array.astype(float), file)  # spans -32768 to 32767
    values, meta = read_dicom(written(file), "file", "float32")
    np.testing.assert_allclose(values[..., 0], (signed + 32768) / 65535, atol=2e-5)
    assert meta["window"][0] < meta["window"][1]


@pytest.mark.parametrize("bits", [8, 16])
def test_voi_lut(bits):
    file = opened("MR_small.dcm")
    item = pydicom.Dataset()
    item.LUTDescriptor, item.LUTData = [4096, 0, bits], (np.arange(4096) * 2**bits // 4096).tolist()
    item["LUTDescriptor"].VR = item["LUTData"].VR = "US"
    file.VOILUTSequence = [item]
    values, meta = read_dicom(written(file), "file")
    entries = np.clip(file.pixel_array, 0, 4095).astype(int) * 2**bits // 4096
    np.testing.assert_array_equal(values[..., 0], np.rint(entries / (2**bits - 1) * 255))
    assert meta["window"] == "lut"


def test_monochrome1_is_inverted():
    file = opened()
    plain = {dtype: read_dicom(written(file), (-500, 500), dtype)[0] for dtype in ("uint8", "float32")}
    file.PhotometricInterpretation = "MONOCHROME1"
    for dtype, top in (("uint8", 255), ("float32", 1)):
        values, meta = read_dicom(written(file), (-500, 500), dtype)
        assert meta["inverted"] and np.abs(values.astype(float) - (top - plain[dtype].astype(float))).max() <= (1 if top == 255 else 1e-6)


def test_compressed_files_equal_the_uncompressed():
    expected = read_dicom(FILES / "MR_small.dcm")[0]
    for name in ("RLE", "jp2klossless", "jpeg_ls_lossless", "bigendian", "implicit"):
        np.testing.assert_array_equal(read_dicom(FILES / f"MR_small_{name}.dcm")[0], expected, err_msg=name)
    assert read_dicom(FILES / "JPGExtended.dcm")[0].std() > 1 and read_dicom(FILES / "JPEG2000.dcm")[0].std() > 1


def test_color_is_rgb():
    red, green, blue = np.eye(3) * 255  # the top bands of this test picture
    for name in ("SC_rgb_rle.dcm", "SC_rgb_dcmtk_+eb+cr.dcm", "SC_ybr_full_422_uncompressed.dcm", "SC_rgb_jpeg_dcmtk.dcm",
                 "SC_rgb_gdcm_KY.dcm"):
        values, _ = read_dicom(FILES / name)
        for row, color in ((5, red), (25, green), (45, blue)):
            assert np.abs(values[row, 50].astype(float) - color).max() <= 6, name
    palette, _ = read_dicom(FILES / "examples_palette.dcm")
    assert palette.shape == (350, 800, 3) and palette.dtype == np.uint8 and len(np.unique(palette.reshape(-1, 3), axis=0)) > 50
    with pytest.raises(ValueError, match="is in color"):
        read_dicom(FILES / "SC_rgb_rle.dcm", (0, 100))


def test_frames():
    values, meta = read_dicom(FILES / "rtdose.dcm", dtype="float32")
    assert values.shape == (15, 10, 10, 1) and meta["frames"] == 15
    np.testing.assert_array_equal(read_dicom(FILES / "rtdose.dcm", dtype="float32", frame=7)[0], values[7])
    with pytest.raises(ValueError, match="no frame 15"):
        read_dicom(FILES / "rtdose.dcm", frame=15)


def test_bad_files_are_told():
    for name, why in (("rtplan.dcm", "no pixel data"), ("MR_truncated.dcm", "cut short"), ("README.txt", "no DICOM file")):
        with pytest.raises(ValueError, match=f"{name}.*{why}"):
            read_dicom(FILES / name)
    file = opened()
    file.Rows = file.Columns = 65535
    with pytest.raises(ValueError, match="more than max_bytes"):
        read_dicom(written(file))


def test_a_series_is_in_patient_order(tmp_path):
    heights = [7.5, -5.0, 0.0, 5.0, -2.5, 2.5]
    for number, z in enumerate(heights):
        (tmp_path / f"{number}.dcm").write_bytes(plane(z, int(z * 10) + 1000, InstanceNumber=number))
    (tmp_path / "notes.txt").write_text("no picture")
    values, meta = read_dicom_series(tmp_path)
    np.testing.assert_array_equal(values[:, 0, 0], np.array(sorted(heights)) * 10 + 1000 - 1024)
    row, column = (float(s) for s in opened().PixelSpacing)
    assert values.shape == (6, 128, 128) and meta["spacing"] == [2.5, row, column] and meta["ignored"] == 1 and meta["slices"] == 6
    # Slice 0, row 0, column 0 lies at the first position, left and posterior in DICOM.
    np.testing.assert_allclose(np.array(meta["affine"]) @ [1, 2, 3, 1], [10 - 3 * column, 20 - 2 * row, -2.5, 1], atol=1e-9)


@pytest.mark.parametrize("extra, why", [
    (dict(z=0.0), "same position"), (dict(z=20.0), "slice is missing"), (dict(z=7.5, SeriesInstanceUID="1.2.3"), "2 series"),
    (dict(z=7.5, ImageOrientationPatient=[1, 0, 0, 0, 0, -1]), "another orientation"),
    (dict(z=7.5, PixelSpacing=[9, 9]), "another pixel spacing"),
    (dict(z=7.5, ImagePositionPatient=None), "where its slice lies"),
    (dict(z=7.5, Rows=64, PixelData=bytes(64 * 128 * 2)), "2 image sizes")])
def test_an_inconsistent_series_is_told(extra, why):
    extra = dict(extra)
    with pytest.raises(ValueError, match=why):
        read_dicom_series([plane(0.0, 1), plane(2.5, 2), plane(5.0, 3), plane(extra.pop("z"), 4, **extra)])


@pytest.mark.filterwarnings("ignore:Invalid value")  # of the planting itself
def test_a_series_of_inverted_slices_needs_a_window():
    slices = [plane(z, z, PhotometricInterpretation="MONOCHROME1") for z in (0, 10)]
    with pytest.raises(ValueError, match="MONOCHROME1; pass window"):
        read_dicom_series(slices)
    assert read_dicom_series(slices, window=(-1100, 0))[0].shape[0] == 2


def test_nothing_that_identifies_a_patient_comes_out(caplog):
    file = opened()
    for keyword in ("PatientName", "PatientID", "PatientAddress", "StudyDescription", "Modality", "ViewPosition", "ImageLaterality",
                    "AccessionNumber", "OperatorsName", "ReferringPhysicianName", "InstitutionName", "SeriesDescription",
                    "BodyPartExamined"):
        setattr(file, keyword, PLANTED)
    file.PatientBirthDate, file.SeriesInstanceUID = "19010203", "1.2.840.19010203"
    good = written(file)
    assert PLANTED.encode() in good and b"19010203" in good
    told = [str(read_dicom(good)[1]), str(read_dicom_series([good])[1])]
    with warnings.catch_warnings(record=True) as warned, caplog.at_level(logging.DEBUG):
        warnings.simplefilter("always")
        replaced = [good.replace(tag, PLANTED.encode()[:len(tag)]) for tag in (b"-1024", b"MONOCHR")]
        bad = [good[:-100], good[:2000], *mutations(good, 60, 5), *replaced]
        for data in bad:
            try:
                told.append(str(read_dicom(data)[1]))
            except (ValueError, OSError) as error:
                assert error.__suppress_context__
                told += ["".join(traceback.format_exception(error))]
        with pytest.raises(ValueError) as two:
            other = opened()
            other.SeriesInstanceUID = "1.2.3"
            read_dicom_series([good, written(other)])
    everything = " ".join([*told, str(two.value), caplog.text, *(str(w.message) for w in warned)])
    for secret in ("PLANTED", "SECRET", "19010203"):
        assert secret not in everything


def test_mutated_files_raise_only_documented_errors():
    names = ("MR_small.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "SC_rgb_small_odd_jpeg.dcm", "examples_palette.dcm",
             "rtdose_rle.dcm")
    for seed, name in enumerate(names):
        _, refused = only_documented(lambda copy: read_dicom(copy, max_bytes=1 << 24), (FILES / name).read_bytes(), 50, seed)
        assert refused > 5
    only_documented(lambda copy: read_dicom_series([copy, plane(2.5, 2)]), plane(0.0, 1), 50, 9)
