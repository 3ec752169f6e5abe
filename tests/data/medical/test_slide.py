from pathlib import Path

import numpy as np
import pytest

from mmrep.data.medical.slide import open_slide, otsu, slide_tiles, thumbnail, tile_grid, tissue_mask

tifffile = pytest.importorskip("tifffile", reason="needs the extra `medical`: pip install mmrep[medical]")
skimage = pytest.importorskip("skimage", reason="needs the extra `dev`: pip install mmrep[dev]")
STAINED = Path(skimage.__file__).parent / "data" / "ihc.png"  # shipped in the package: no network


def stained():
    from PIL import Image

    return np.asarray(Image.open(STAINED).convert("RGB"))


def slide_pixels():
    """A slide: the stained tissue (512 x 512) at (256, 512) of 1100 x 1400 pixels of noisy white."""
    noise = np.random.default_rng(0).integers(240, 250, (1100, 1400, 1))
    pixels = np.repeat(noise, 3, -1).astype(np.uint8)
    pixels[256:768, 512:1024] = stained()
    return pixels


def halved(pixels, k):
    h, w = pixels.shape[0] // k * k, pixels.shape[1] // k * k
    return np.rint(pixels[:h, :w].reshape(h // k, k, w // k, k, 3).mean((1, 3))).astype(np.uint8)


def pyramid(path, layout, coding="deflate"):
    """A slide of levels 1, 1/2 and 1/4 at 0.25 micrometers, with a label, laid out as a kind of scanner does."""
    pixels = slide_pixels()
    levels = [halved(pixels, 2), halved(pixels, 4)]
    options = dict(photometric="rgb", tile=(240, 240), compression=coding)
    if coding == "ycbcr":
        coding = "jpeg"
        options |= dict(compression=coding, subsampling=(2, 2), compressionargs={"outcolorspace": "ycbcr"})
    with tifffile.TiffWriter(path, ome=False) as file:
        if layout == "svs":
            file.write(pixels, description="Aperio Image\r\nPLANTED |AppMag = 40|MPP = 0.2500|Date = 01/02/19", metadata=None, **options)
            file.write(levels[1], photometric="rgb", rowsperstrip=16, compression=coding)  # the thumbnail has strips
            file.write(levels[0], **options)
        else:
            file.write(pixels, subifds=2, resolution=(40000, 40000), resolutionunit="CENTIMETER", metadata=None, **options)
            for level in levels:
                file.write(level, subfiletype=1, **options)
        file.write(np.full((300, 200, 3), 200, np.uint8), photometric="rgb")  # the label
    return pixels, levels


@pytest.mark.parametrize("layout", ["svs", "ome"])
def test_levels_and_regions_equal_what_was_written(tmp_path, layout):
    pixels, levels = pyramid(tmp_path / "x.svs", layout)
    slide = open_slide(tmp_path / "x.svs")
    assert slide.shapes == [(1100, 1400), (550, 700), (275, 350)] and slide.mpp == pytest.approx(0.25)
    for level, expected in enumerate([pixels, *levels]):
        for top, left, height, width in ((0, 0, 275, 350), (230, 235, 33, 27), (100, 100, 1, 1)):
            np.testing.assert_array_equal(slide.read(level, top, left, height, width), expected[top:top + height, left:left + width])
    corner = slide.read(0, 1090, 1390, 20, 20)
    np.testing.assert_array_equal(corner[:10, :10], pixels[1090:, 1390:])
    assert (corner[10:] == 255).all() and (corner[:, 10:] == 255).all()
    slide.close()


@pytest.mark.parametrize("coding, most", [("jpeg", 40), ("ycbcr", 40), ("lzw", 0), ("zstd", 0), ("jpeg2000", 60), (None, 0)])
def test_codings(tmp_path, coding, most):
    pixels, _ = pyramid(tmp_path / "x.tif", "ome", coding)
    read = open_slide(tmp_path / "x.tif").read(0, 200, 500, 300, 300)
    error = np.abs(read.astype(int) - pixels[200:500, 500:800])
    assert error.max() <= most * 3 and error.mean() <= most / 10


def test_tissue_is_found(tmp_path):
    filters = pytest.importorskip("skimage.filters")
    pixels = slide_pixels()
    mask, gray = tissue_mask(pixels), stained().mean(-1)
    within = mask[256:768, 512:1024]
    assert within[gray < 170].mean() > 0.95 and within[gray > 215].mean() < 0.05  # stained tissue, and the glass that shows in between
    within[:] = False
    assert mask.mean() < 0.002
    assert not tissue_mask(np.full((64, 64, 3), 245, np.uint8)).any() and not tissue_mask(pixels[:200]).any()
    values = pixels[..., 2].astype(float)
    assert otsu(values) == filters.threshold_otsu(pixels[..., 2])
    pyramid(tmp_path / "x.svs", "svs")
    small = thumbnail(open_slide(tmp_path / "x.svs"), most=200)
    assert small.shape == (138, 175, 3)
    np.testing.assert_allclose(small[:137], halved(halved(pixels, 4), 2), atol=2)


def test_tiles_at_a_resolution(tmp_path):
    pixels, levels = pyramid(tmp_path / "x.svs", "svs")
    tiles = list(slide_tiles(tmp_path / "x.svs", 64, mpp=0.5))
    assert tiles and all(facts["level"] == 1 and facts["mpp"] == pytest.approx(0.5) for _, facts in tiles)
    for tile, facts in tiles:
        y, x = facts["y"] // 2, facts["x"] // 2
        np.testing.assert_array_equal(tile, levels[0][y:y + 64, x:x + 64])
        assert 256 - 64 <= facts["y"] < 768 and 512 - 64 <= facts["x"] < 1024
    assert 8 <= len(tiles) <= 16  # 16 lie within the picture, a third of which is glass
    coarse, facts = next(slide_tiles(tmp_path / "x.svs", 64, mpp=0.75, tissue=None))
    assert facts["level"] == 1 and coarse.shape == (64, 64, 3)
    np.testing.assert_allclose(coarse.mean((0, 1)), pixels[:192, :192].mean((0, 1)), atol=0.5)
    every = [facts for _, facts in slide_tiles(tmp_path / "x.svs", 256, tissue=None, stride=128)]
    assert len(every) == 7 * 9 and every[1]["x"] == 128 and every[-1] == {"y": 768, "x": 1024, "level": 0, "mpp": 0.25}
    for wanted, why in ((dict(mpp=0.1), "no 0.1"), (dict(level=3), "no level 3"), (dict(size=0), "at least 1 pixel")):
        with pytest.raises(ValueError, match=why):
            next(slide_tiles(tmp_path / "x.svs", **wanted))


def test_the_grid_counts_tissue():
    mask = np.zeros((10, 20), bool)
    mask[:, 10:] = True
    np.testing.assert_array_equal(tile_grid((100, 200), 50, mask=mask), [[0, 100], [0, 150], [50, 100], [50, 150]])
    assert len(tile_grid((100, 200), 50, stride=25, mask=mask, share=0.5)) == 3 * 4 and len(tile_grid((100, 200), 50)) == 8
    assert len(tile_grid((49, 200), 50)) == 0 and len(tile_grid((100, 200), 50, mask=mask, share=0.0)) == 8


def test_openslide_agrees_with_tifffile(tmp_path):
    pytest.importorskip("openslide", reason="needs openslide: pip install openslide-python openslide-bin")
    pyramid(tmp_path / "x.svs", "svs", "ycbcr")
    assert tifffile.TiffFile(tmp_path / "x.svs").pages[0].photometric.name == "YCBCR"
    one, two = (open_slide(tmp_path / "x.svs", backend) for backend in ("tifffile", "openslide"))
    assert one.shapes[0] == two.shapes[0] and one.mpp == two.mpp
    error = np.abs(one.read(0, 300, 600, 100, 100).astype(int) - two.read(0, 300, 600, 100, 100))
    assert error.mean() < 2


def test_bad_slides_are_told(tmp_path):
    pyramid(tmp_path / "x.svs", "svs")
    data = (tmp_path / "x.svs").read_bytes()
    (tmp_path / "cut.svs").write_bytes(data[:len(data) // 2])
    (tmp_path / "no.svs").write_bytes(b"no slide")
    tifffile.imwrite(tmp_path / "gray.tif", np.zeros((64, 64), np.uint16))
    with pytest.raises(FileNotFoundError):
        open_slide(tmp_path / "none.svs")
    for name, why in (("cut.svs", "cut"), ("no.svs", "cut short or damaged"), ("gray.tif", "not in color of 8 bits")):
        with pytest.raises(ValueError, match=f"{name}.*{why}"):
            slide = open_slide(tmp_path / name, "tifffile")
            slide.read(0, 0, 0, *slide.shapes[0])
    with pytest.raises(ValueError, match="more than max_bytes=1000"):
        open_slide(tmp_path / "x.svs", "tifffile", max_bytes=1000)
    assert "PLANTED" not in str(next(slide_tiles(tmp_path / "x.svs"))[1])
