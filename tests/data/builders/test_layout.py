import io

import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from mmrep.data.builders.comments import without_comments
from mmrep.data.builders.layout import known, open_first, picture, rows, split_by_hash
from mmrep.data.readers import axial
from tests.data.builders.folders import write_table


def test_rows_read_quoted_newlines_long_cells_and_a_byte_order_mark(tmp_path):
    write_table(tmp_path / "a.csv", "id, text", [["1", "two\nlines"], ["2", "x" * 200_000]])
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "a.csv").read_bytes())
    assert [len(row["text"]) for row in rows(tmp_path / "a.csv", ("id", "text"))] == [9, 200_000]


@pytest.mark.parametrize("data, told", [(b"id,text\n1\n", "row 1 has 1 cells"), (b"id,text\n1,a\n2,\xff\n", "is damaged after row"),
                                        (b"number,text\n1,a\n", "has no column id")])
def test_rows_name_file_and_row_of_what_is_wrong(tmp_path, data, told):
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(ValueError, match=told):
        list(rows(tmp_path / "a.csv", ("id",)))


def test_a_table_cut_short_is_told(tmp_path):
    write_table(tmp_path / "a.csv.gz", "id", [[n] for n in range(1000)])
    (tmp_path / "a.csv.gz").write_bytes((tmp_path / "a.csv.gz").read_bytes()[:-20])
    with pytest.raises(ValueError, match="a.csv.gz is damaged"):
        list(rows(tmp_path / "a.csv.gz", ("id",)))
    with pytest.raises(FileNotFoundError, match="no file at"):
        list(rows(tmp_path / "b.csv", ("id",)))


def test_what_lies_behind_the_pixels_of_a_jpeg_goes_too():
    out = io.BytesIO()
    Image.fromarray(np.arange(4096, dtype=np.uint8).reshape(64, 64)).save(out, "JPEG", progressive=True)
    data, comment = out.getvalue(), b"\xff\xfe\x00\x0bDoe^Jane\x00"
    second = data.rindex(b"\xff\xda")
    marked = data[:second] + comment + data[second:] + b"PatientName=Doe^Jane"
    assert without_comments(marked) == without_comments(data) and b"Doe" not in without_comments(marked)
    filled = data[:-2] + b"\xff\xff\xff\xd9Doe^Jane"  # fill bytes may stand before any marker
    assert without_comments(filled) == without_comments(data)
    cut = data[:-40]
    assert not without_comments(cut).endswith(b"\xff\xd9")
    for given in (data, marked, filled):
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(without_comments(given)))), np.asarray(Image.open(io.BytesIO(data))))
    with pytest.raises(ValueError, match="without a scan"):
        without_comments(data[:data.index(b"\xff\xda")])


def test_the_split_of_an_id_is_fixed_and_its_shares_are_right():
    assert [split_by_hash(f"HAM_{n:07d}") for n in range(8)] == ["test"] + ["train"] * 7
    found = [split_by_hash(str(n)) for n in range(10_000)]
    for name, share in {"train": 0.7, "val": 0.1, "test": 0.2}.items():
        assert abs(found.count(name) / 10_000 - share) < 3 * np.sqrt(share * (1 - share) / 10_000)


@pytest.mark.parametrize("mode, channels", [("L", 3), ("P", 3), ("RGBA", 3), ("CMYK", 3), ("RGB", 1), ("I;16", 1)])
def test_pictures_of_any_mode_get_the_channels_asked_for(mode, channels):
    out = io.BytesIO()
    image = Image.fromarray(np.full((4, 5), 77 * 257, np.uint16)) if mode == "I;16" else Image.new("L", (5, 4), 77).convert(mode)
    image.save(out, "TIFF" if mode == "CMYK" else "PNG")
    with Image.open(io.BytesIO(picture(out.getvalue(), "a", channels))) as read:
        values = np.asarray(read)
    assert values.shape == ((4, 5, 3) if channels == 3 else (4, 5)) and (abs(values.astype(int) - 77) <= 1).all()


def test_a_picture_that_fits_keeps_its_bytes_and_a_damaged_one_is_named():
    out = io.BytesIO()
    Image.new("RGB", (5, 4)).save(out, "JPEG")
    assert picture(out.getvalue(), "a.jpg", 3) == out.getvalue()
    with pytest.raises(ValueError, match="a.jpg is damaged"):
        picture(out.getvalue()[:-30], "a.jpg", 3)


@pytest.mark.parametrize("form, mode, options", [
    ("JPEG", "L", {}), ("JPEG", "RGB", {"progressive": True}), ("JPEG", "RGB", {"restart_marker_blocks": 2}), ("JPEG", "CMYK", {}),
    ("PNG", "L", {}), ("PNG", "RGB", {}), ("PNG", "P", {}), ("TIFF", "RGB", {})])
@pytest.mark.parametrize("orientation", [1, 6])
def test_nobody_is_named_beside_the_pixels_and_every_picture_stands_upright(form, mode, options, orientation):
    ramp = Image.fromarray(np.linspace(0, 255, 32 * 48).astype(np.uint8).reshape(32, 48)).convert(mode)
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "Doe, Jane", orientation
    if form == "JPEG":
        options = {**options, "comment": b"Doe, Jane", "quality": 95}
    if form == "PNG":
        options = {**options, "pnginfo": PngInfo()}
        options["pnginfo"].add_text("Patient", "Doe, Jane")
        options["pnginfo"].add_itxt("Patient", "Doe, Jane")
    out = io.BytesIO()
    ramp.save(out, form, exif=exif, **options)
    data = out.getvalue() + (b"Doe, Jane" if form == "PNG" else b"")
    assert b"Doe" in data
    found = picture(data, "a", 1 if mode == "L" else 3)
    with Image.open(io.BytesIO(found)) as got, Image.open(io.BytesIO(data)) as given:
        want = ImageOps.exif_transpose(given).convert("L" if mode == "L" else "RGB")
        assert np.array_equal(np.asarray(got), np.asarray(want)) and got.size == ((32, 48) if orientation == 6 else (48, 32))
    assert b"Doe" not in found and b"Exif" not in found and b"eXIf" not in found


def test_helpers_of_absent_values_places_and_axes(tmp_path):
    assert known("age", "") == {"age": 0.0, "age_known": 0.0} and known("age", "4.5") == {"age": 4.5, "age_known": 1.0}
    with pytest.raises(FileNotFoundError, match="holds none of images, images.zip"):
        open_first(tmp_path, ("images", "images.zip"))
    values = np.zeros((2, 3, 4))
    values[1, 2, 3] = 1  # right, front, top
    assert np.argwhere(axial(values)).tolist() == [[3, 0, 0]]
