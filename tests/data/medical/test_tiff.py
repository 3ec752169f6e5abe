import io
import tracemalloc
import zlib

import numpy as np
import pytest

from mmrep.data.medical.tiff import read_tiff

tifffile = pytest.importorskip("tifffile", reason="needs the extra `medical`: pip install mmrep[medical]")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_pictures_and_stacks(tmp_path, dtype):
    values = np.random.default_rng(0).integers(0, 255, (5, 40, 30)).astype(dtype)
    tifffile.imwrite(tmp_path / "stack.tif", values, photometric="minisblack", resolution=(100, 50), resolutionunit="CENTIMETER")
    read, meta = read_tiff(tmp_path / "stack.tif")
    assert read.dtype == dtype and meta["pages"] == 5 and meta["spacing"] == pytest.approx([0.2, 0.1])  # row, column
    np.testing.assert_array_equal(read[..., 0], values)
    np.testing.assert_array_equal(read_tiff((tmp_path / "stack.tif").read_bytes(), page=3)[0][..., 0], values[3])
    for dots, unit, size in ((300, "INCH", None), (72, "INCH", None), (25400 * 4, "INCH", [0.00025] * 2)):  # of a printer, of a scanner
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, values[0], photometric="minisblack", resolution=(dots, dots), resolutionunit=unit)
        assert read_tiff(buffer.getvalue())[1]["spacing"] == (size and pytest.approx(size))
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.stack([values[0]] * 4, -1), photometric="rgb", extrasamples=["unassalpha"])
    assert read_tiff(buffer.getvalue())[0].shape == (40, 30, 3)


def test_bad_tiffs_are_told(tmp_path):
    with tifffile.TiffWriter(tmp_path / "two.tif") as file:
        for side in (20, 30):
            file.write(np.zeros((side, side), np.uint8))
    with pytest.raises(ValueError, match="two.tif has pages of several sizes"):
        read_tiff(tmp_path / "two.tif")
    with pytest.raises(ValueError, match="no page 2"):
        read_tiff(tmp_path / "two.tif", page=2)
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.zeros((4096, 4096), np.uint8), compression="deflate")
    with pytest.raises(ValueError, match="more than max_bytes=1000000"):
        read_tiff(buffer.getvalue(), max_bytes=10**6)
    tifffile.imwrite(tmp_path / "white.tif", np.full((4, 4), 10, np.uint8), photometric="miniswhite")
    assert (read_tiff(tmp_path / "white.tif")[0] == 245).all()


def test_a_tile_that_unpacks_to_more_than_a_tile_is_refused(tmp_path):
    codecs = pytest.importorskip("imagecodecs", reason="needs the extra `medical`: pip install mmrep[medical]")
    bombs = {"deflate": zlib.compress(bytes(1 << 28), 9), "jpeg": codecs.jpeg8_encode(np.zeros((8192, 8192), np.uint8)),
             "jpeg2000": codecs.jpeg2k_encode(np.zeros((8192, 8192), np.uint8), level=0)}
    for coding, bomb in bombs.items():
        with tifffile.TiffWriter(tmp_path / "x.tif") as file:
            file.write(iter([bomb]), shape=(64, 64), dtype=np.uint8, tile=(64, 64), compression=coding, photometric="minisblack")
        tracemalloc.start()
        with pytest.raises(ValueError, match="x.tif"):
            read_tiff(tmp_path / "x.tif")
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < 32 << 20, coding
