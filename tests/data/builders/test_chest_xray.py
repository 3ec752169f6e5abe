import io

import numpy as np
import pytest
from PIL import Image

from mmrep.data.builders.chest_xray import box_mask, boxes, listed, radiograph
from tests.data.builders.radiographs import write_dicom


def test_the_mask_of_whole_pixels_is_exact_whatever_the_size():
    rng = np.random.default_rng(0)
    for _ in range(200):
        height, width = rng.integers(1, 3000, 2)
        corners = [(*rng.integers(0, (width, height)), *rng.integers(1, (width + 1, height + 1))) for _ in range(3)]
        corners = [(a, b, c, d) for a, b, c, d in corners if a < c and b < d]
        mask = np.zeros((height, width, 1), np.uint8)
        for left, top, right, bottom in corners:
            mask[top:bottom, left:right] = 1
        assert np.array_equal(box_mask(boxes(corners, height, width, 3), height, width), mask)


def test_boxes_are_cut_at_the_rim_and_refused_outside_of_it():
    assert boxes([(-5, 2, 20, 4)], 10, 10, 2).tolist() == [pytest.approx([0.2, 0, 0.4, 1]), [0, 0, 0, 0]]
    for wrong in ((3, 3, 3, 5), (12, 0, 15, 5), (float("nan"), 0, 5, 5)):
        with pytest.raises(ValueError, match="box 2 is empty or outside of its image of 10x10"):
            boxes([(0, 0, 1, 1), wrong], 10, 10, 2)
    with pytest.raises(ValueError, match="3 boxes on one image, more than the 2"):
        boxes([(0, 0, 1, 1)] * 3, 10, 10, 2)


def test_a_radiograph_keeps_stored_values_in_a_window_and_refuses_color(tmp_path):
    values = np.arange(48, 248, dtype=np.uint8).reshape(10, 20)
    write_dicom(tmp_path / "gray.dcm", values)
    png, height, width = radiograph(tmp_path / "gray.dcm", (0, 255))
    with Image.open(io.BytesIO(png)) as image:
        assert image.mode == "L" and (height, width) == (10, 20) and np.array_equal(np.asarray(image), values)
    write_dicom(tmp_path / "color.dcm", values.reshape(10, 20), Columns=5, Rows=10, SamplesPerPixel=3, PhotometricInterpretation="RGB",
                PlanarConfiguration=0)
    with pytest.raises(ValueError, match="color.dcm"):
        radiograph(tmp_path / "color.dcm")


def test_lists_skip_empty_lines_and_tell_a_stranger_by_its_line(tmp_path):
    (tmp_path / "benchx").mkdir()
    (tmp_path / "benchx" / "val.txt").write_text("a\n\nb \nc\n")
    names = listed(tmp_path, "val", {"a", "b"}, "the table")
    assert [next(names), next(names)] == ["a", "b"]
    with pytest.raises(ValueError, match="val.txt line 4 names an image that the table does not have"):
        next(names)
