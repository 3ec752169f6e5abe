import gzip
import io
import logging
import traceback
import tracemalloc
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest

from mmrep.data.medical.dicom import read_dicom, read_dicom_series
from mmrep.data.medical.ecg import read_dicom_ecg
from tests.data.medical.fuzz import mutations, only_documented

pydicom = pytest.importorskip("pydicom", reason="needs the extra `medical`: pip install mmrep[medical]")
codecs = pytest.importorskip("imagecodecs", reason="needs the extra `medical`: pip install mmrep[medical]")
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


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("center, width", [(700, 0), (700, -5), (700, "inf"), ("nan", 900)])
def test_a_window_that_is_none_is_told_and_makes_no_nan(function, center, width):
    file = opened("MR_small.dcm")
    file.VOILUTFunction, file.WindowCenter, file.WindowWidth = function, center, width
    for window, dtype in (("file", "float32"), (None, "uint8")):
        with pytest.raises(ValueError, match=r"the file's window is none .* pass window=\(low, high\)|differ in Window"):
            read_dicom(written(file), window, dtype)
    assert np.isfinite(read_dicom(written(file), (0, 1000), "float32")[0]).all()


def test_one_slice_is_a_volume_where_its_thickness_is_told():
    file = opened()
    file.SliceThickness = 5.0
    values, meta = read_dicom_series([written(file)])
    assert values.shape == (1, 128, 128) and meta["spacing"][0] == 5 and abs(np.linalg.det(np.array(meta["affine"])[:3, :3])) > 1
    del file.SliceThickness, file.SpacingBetweenSlices
    with pytest.raises(ValueError, match="is one slice, whose thickness is not told: a volume is the folder of its series"):
        read_dicom_series([written(file)])


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


@pytest.mark.parametrize("padding", [{"PixelPaddingValue": -2000}, {"PixelPaddingValue": 63536},
                                     {"PixelPaddingValue": -1990, "PixelPaddingRangeLimit": -2000}])
def test_padding_does_not_widen_the_range(padding):
    file = opened()
    pixels = np.tile(np.arange(100, 120, dtype=np.int16), file.Rows * file.Columns // 20 + 1)[:file.Rows * file.Columns]
    pixels[:50] = -2000
    file.PixelData = pixels.tobytes()
    for key, value in padding.items():
        file.add_new(key, "US" if value > 0 else "SS", value)
    expected = np.rint(np.clip((pixels - 100.0) / 19, 0, 1) * 255).reshape(file.Rows, -1)
    assert np.abs(read_dicom(written(file))[0][..., 0] - expected).max() <= 1
    file.PhotometricInterpretation = "MONOCHROME1"
    mirrored = read_dicom(written(file), dtype="float32")[0].ravel()[50:] - float(file.RescaleIntercept)
    np.testing.assert_array_equal(mirrored, 219 - pixels[50:])
    file.PixelData = np.full_like(pixels, -2000).tobytes()  # nothing else
    assert not read_dicom(written(file), dtype="uint8")[0].std()


def test_compressed_files_equal_the_uncompressed():
    expected = read_dicom(FILES / "MR_small.dcm")[0]
    for name in ("RLE", "jp2klossless", "jpeg_ls_lossless", "bigendian", "implicit"):
        np.testing.assert_array_equal(read_dicom(FILES / f"MR_small_{name}.dcm")[0], expected, err_msg=name)
    assert read_dicom(FILES / "JPGExtended.dcm")[0].std() > 1 and read_dicom(FILES / "JPEG2000.dcm")[0].std() > 1


@pytest.mark.parametrize("uid, encode, values", [
    ("50", lambda v: codecs.jpeg8_encode(v, level=100), np.uint8),
    ("51", lambda v: codecs.jpeg8_encode(v, level=100, bitspersample=12), np.uint16),
    ("57", lambda v: codecs.jpeg8_encode(v, lossless=True, bitspersample=16), np.uint16),
    ("70", lambda v: codecs.ljpeg_encode(v, bitspersample=16), np.uint16), ("80", codecs.jpegls_encode, np.uint16),
    ("81", lambda v: codecs.jpegls_encode(v, level=2), np.uint16), ("90", lambda v: codecs.jpeg2k_encode(v, level=0), np.uint16),
    ("91", lambda v: codecs.jpeg2k_encode(v, level=80, reversible=False), np.uint16), ("201", codecs.htj2k_encode, np.uint16)])
def test_every_compressed_syntax_gives_what_was_encoded(uid, encode, values):
    grid = np.arange(64)
    top = {"50": 255, "51": 4095}.get(uid, 65535)
    picture = (top * (0.5 + 0.4 * np.sin(grid[:, None] / 9) * np.cos(grid[:40] / 7))).astype(values)
    file = opened()
    file.file_meta.TransferSyntaxUID = pydicom.uid.UID(f"1.2.840.10008.1.2.4.{uid}")
    file.Rows, file.Columns, file.BitsAllocated, file.BitsStored = *picture.shape, 8 * picture.itemsize, top.bit_length()
    file.HighBit, file.PixelRepresentation, file.RescaleIntercept = file.BitsStored - 1, 0, 0
    file.PixelData = pydicom.encaps.encapsulate([encode(picture)])
    file["PixelData"].VR, file["PixelData"].is_undefined_length = "OB", True
    error = np.abs(read_dicom(written(file), dtype="float32")[0][..., 0] - picture).max()
    assert error <= {"50": 2, "51": 4, "81": 2, "91": 100}.get(uid, 0)


def test_run_lengths_that_unpack_to_more_than_a_frame_are_refused():
    file = opened("MR_small_RLE.dcm")
    bomb = np.array([2, 64, 128, *[0] * 13], "<u4").tobytes() + bytes([129, 0]) * 32 + bytes([129, 0]) * (1 << 19)  # 64 MiB of zeros
    file.PixelData = pydicom.encaps.encapsulate([bomb])
    file["PixelData"].is_undefined_length = True
    data = written(file)
    tracemalloc.start()
    with pytest.raises(ValueError, match="damaged"):
        read_dicom(data)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 16 << 20


def test_a_deflated_file_is_read_and_its_bomb_is_not():
    values = read_dicom(FILES / "image_dfl.dcm", dtype="float32")[0]
    np.testing.assert_array_equal(values[..., 0], opened("image_dfl.dcm").pixel_array)
    data = (FILES / "image_dfl.dcm").read_bytes()
    start = 144 + int.from_bytes(data[140:144], "little")
    with pytest.raises(ValueError, match="unpacks to more than max_bytes=10000000"):
        read_dicom(data[:start] + zlib.compress(bytes(1 << 26), wbits=-15), max_bytes=10**7)
    with pytest.raises(ValueError, match="unpacks to more than max_bytes=10000000"):
        read_dicom_ecg(data[:start] + zlib.compress(bytes(1 << 26), wbits=-15), max_bytes=10**7)
    with pytest.raises(ValueError, match="cut short"):
        read_dicom(data[:-200])


def enhanced(heights, **changed):
    """A multi-frame CT whose frame at z mm holds the value z, stored as ten times that with a scale of its own."""
    file, groups = opened(), []
    for key in ("ImagePositionPatient", "RescaleSlope", "RescaleIntercept"):
        delattr(file, key)
    spacing, axes = pydicom.Dataset(), pydicom.Dataset()
    spacing.PixelSpacing, axes.ImageOrientationPatient = file.PixelSpacing, file.ImageOrientationPatient
    shared = pydicom.Dataset()
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [spacing], [axes]
    del file.PixelSpacing, file.ImageOrientationPatient
    for number, z in enumerate(heights):
        place, scale, group = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
        place.ImagePositionPatient = [-10.0, -20.0, z]
        scale.RescaleSlope, scale.RescaleIntercept = 0.1, number
        view = pydicom.Dataset()
        view.WindowCenter, view.WindowWidth = z, 4
        group.FrameVOILUTSequence = [view]
        group.PlanePositionSequence, group.PixelValueTransformationSequence = [place], [scale]
        groups.append(group)
    file.NumberOfFrames, file.SharedFunctionalGroupsSequence, file.PerFrameFunctionalGroupsSequence = len(heights), [shared], groups
    file.PixelData = np.stack([np.full((file.Rows, file.Columns), 10 * z - 10 * k, np.int16) for k, z in enumerate(heights)]).tobytes()
    for key, new in changed.items():
        setattr(file, key, new)
    return written(file)


def test_an_enhanced_file_is_a_volume_in_patient_order(tmp_path):
    heights = [7.5, -5.0, 0.0, 5.0, -2.5, 2.5]
    (tmp_path / "enhanced.dcm").write_bytes(enhanced(heights))
    values, meta = read_dicom_series(tmp_path / "enhanced.dcm")
    np.testing.assert_allclose(values[:, 0, 0], sorted(heights), atol=1e-5)
    single = [plane(z, 1) for z in heights]
    assert meta["affine"] == read_dicom_series(single)[1]["affine"] and meta["slices"] == 6
    np.testing.assert_allclose(read_dicom(tmp_path / "enhanced.dcm", dtype="float32")[0][:, 0, 0, 0], heights, atol=1e-5)
    np.testing.assert_allclose(read_dicom(tmp_path / "enhanced.dcm", dtype="float32", frame=3)[0][0, 0, 0], 5.0, atol=1e-5)
    with pytest.raises(ValueError, match="frames differ in Window"):
        read_dicom(tmp_path / "enhanced.dcm", "file")
    assert read_dicom(tmp_path / "enhanced.dcm", "file", frame=1)[1]["window"] == [-7.0, -4.0]  # center -5, width 4: PS3.3 C.11.2.1.2
    twice = enhanced([0.0, 2.5, 0.0, 2.5])  # two echoes in one file
    with pytest.raises(ValueError, match="frame 0 of the file and frame 2 of the file are at the same position.*frames="):
        read_dicom_series([twice])
    np.testing.assert_allclose(read_dicom_series([twice], frames=(3, 2))[0][:, 0, 0], [0.0, 2.5], atol=1e-5)
    with pytest.raises(ValueError, match="has 4 frames, not all"):
        read_dicom_series([twice], frames=(3, 4))
    with pytest.raises(ValueError, match="declares 3 frames and does not describe"):
        read_dicom_series([enhanced(heights, NumberOfFrames=3)])


def test_a_tilted_series_is_refused():
    def leaning(mm):
        return [plane(z, 1, ImagePositionPatient=[-10.0, -20.0 + mm * k, z]) for k, z in enumerate((0.0, 2.5, 5.0, 7.5))]

    assert read_dicom_series(leaning(0.01))[1]["slices"] == 4  # as positions are rounded
    for mm in (0.1, -1.0):
        with pytest.raises(ValueError, match="mm aside of the file.*gantry tilt.*dcm2niix"):
            read_dicom_series(leaning(mm))


def test_a_real_enhanced_file_equals_nibabels_reading():
    nicom = pytest.importorskip("nibabel.nicom.dicomwrappers", reason="needs the extra `medical`: pip install mmrep[medical]")
    folder = Path(nicom.__file__).parent / "tests" / "data"
    file = pydicom.dcmread(io.BytesIO(gzip.decompress((folder / "philips_mprage.dcm.gz").read_bytes())))
    file.PixelData = np.random.default_rng(0).integers(0, 4096, (176, 256, 256), np.uint16).tobytes()  # in the package they are blank
    values, meta = read_dicom_series([written(file)])
    theirs = nicom.wrapper_from_data(file)
    scale = file.PerFrameFunctionalGroupsSequence[0].PixelValueTransformationSequence[0]  # the same for all
    expected = theirs.get_unscaled_data() * float(scale.RescaleSlope) + float(scale.RescaleIntercept)
    affine = np.diag([-1, -1, 1, 1]) @ theirs.affine  # [row, column, slice], LPS
    assert values.shape == (176, 256, 256) and meta["modality"] == "MR" and values.std() > 0
    for index in ((0, 0, 0), (175, 0, 0), (100, 200, 30)):
        world = np.array(meta["affine"]) @ [*index, 1]
        row, column, slice_ = np.rint(np.linalg.solve(affine, world)[:3]).astype(int)
        np.testing.assert_allclose(affine @ [row, column, slice_, 1], world, atol=0.05)
        np.testing.assert_allclose(values[index[0]], expected[:, :, slice_], rtol=1e-6)
    with pytest.raises(ValueError, match="0.dcm is a mosaic"):
        read_dicom_series([folder / "0.dcm", folder / "1.dcm"])


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


@pytest.mark.filterwarnings("ignore:Invalid value")  # of the planting itself
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
