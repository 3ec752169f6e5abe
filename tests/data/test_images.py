"""Decoding pictures: exact is Pillow's, fast is close to it and shares its errors; what is damaged or too large is refused."""

import io
import random
import shutil
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from mmrep.data import fast
from mmrep.data.builders.layout import picture
from mmrep.data.images import decode, decode_mask
from mmrep.data.manifest import manifest
from mmrep.data.pipeline import eval_batches
from mmrep.data.sources import BadRow
from mmrep.data.tfds import tfds
from mmrep.data.transforms.geometry import resample


def photo(height=301, width=400):
    """Smooth shapes with a little noise, u8[H, W, 3]."""
    y, x = np.mgrid[:height, :width] / 50
    waves = np.stack([np.sin(x + y), np.cos(2 * x), np.sin(3 * y)], -1)
    return np.clip(128 + 60 * waves + 8 * np.random.default_rng(0).standard_normal(waves.shape), 0, 255).astype(np.uint8)


def noise(height=300, width=400):
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)


def encoded(pixels, kind="JPEG", **options):
    out = io.BytesIO()
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(out, kind, **options)
    return out.getvalue()


def apart(a, b):
    """Largest and mean difference of two pictures of one shape and dtype."""
    assert a.shape == b.shape and a.dtype == b.dtype
    gap = np.abs(a.astype(int) - b)
    return gap.max(), gap.mean()


@pytest.mark.parametrize("picture,quality,most,mean", [(photo, 90, 16, 2.5), (noise, 90, 50, 10.0)])
@pytest.mark.parametrize("channels", [1, 3])
def test_fast_is_near_the_area_mean_of_the_whole_picture(picture, quality, most, mean, channels):
    data = encoded(picture(), quality=quality)
    whole = decode(data, channels)
    small = decode(data, channels, size_hint=64, how="fast")
    assert min(small.shape[:2]) == 64
    want = resample(whole, *small.shape[:2], "area")
    largest, average = apart(small, want)
    assert largest <= most and average <= mean
    # nearer to it than what a size_hint gives with Pillow
    pillow = resample(decode(data, channels, size_hint=64), *small.shape[:2], "area")
    assert average <= apart(pillow, want)[1] + 0.1
    unscaled = decode(data, channels, how="fast")
    assert apart(unscaled, whole)[0] == 0 if channels == 3 else apart(unscaled, whole)[1] < 4  # luma as stored, or of the RGB


def test_real_pictures_differ_as_much_as_by_scaled_decoding_with_pillow(shared):
    files = sorted((shared / "data" / "medpix2" / "images").glob("*.jpg"))[::40][:12]
    assert len(files) > 5
    for file in files:  # 224 px with sharp edges and letters
        data = file.read_bytes()
        small = decode(data, 1, size_hint=64, how="fast")
        want, pillow = (resample(decode(data, 1, size_hint=hint), *small.shape[:2], "area") for hint in (None, 64))
        average = apart(small, want)[1]
        assert average <= 6 and average <= apart(pillow, want)[1] + 1.5, file.name


def test_exact_is_pillow_bit_for_bit():
    for data in (encoded(photo(), quality=85), encoded(photo(), "PNG"), encoded(photo(), "TIFF")):
        assert np.array_equal(decode(data, 3), np.asarray(Image.open(io.BytesIO(data))))
        assert np.array_equal(decode(data, 1)[..., 0], np.asarray(Image.open(io.BytesIO(data)).convert("L")))


def test_what_the_fast_decoder_cannot_do_pillow_does():
    turned = Image.Exif()
    turned[0x0112] = 6  # stored on its side
    data = encoded(photo(), exif=turned)
    assert decode(data, 3, how="fast").shape == (400, 301, 3)
    assert np.array_equal(decode(data, 3, how="fast"), decode(data, 3))
    profile = b"\xff\xe2" + struct.pack(">H", 60_002) + b"\xff\xda" * 30_000  # a segment before it that seems to begin the scan
    assert decode(data[:2] + profile + data[2:], 3, how="fast").shape == decode(data[:2] + profile + data[2:], 3).shape == (400, 301, 3)
    turned[0x0112] = 1
    upright = encoded(photo(), exif=turned)
    assert apart(decode(upright, 3, size_hint=100, how="fast"), decode(encoded(photo()), 3, size_hint=100, how="fast"))[0] == 0
    ink = encoded(Image.fromarray(photo()).convert("CMYK"))
    deep = encoded(np.random.default_rng(0).integers(0, 65536, (90, 120)).astype(np.uint16), "PNG")
    for data, channels, bits in ((ink, 3, 8), (ink, 1, 8), (deep, 1, 16), (encoded(photo(), "PNG"), 3, 8), (encoded(photo()), 3, 16)):
        whole = decode(data, channels, bits)
        assert np.array_equal(decode(data, channels, bits, how="fast"), whole)
        small = decode(data, channels, bits, size_hint=45, how="fast")
        assert min(small.shape[:2]) == 45 and small.dtype == whole.dtype
    small = decode(deep, 1, 16, size_hint=45, how="fast")
    assert apart(small, resample(decode(deep, 1, 16), *small.shape[:2], "area"))[0] <= 1
    assert np.array_equal(fast.shrink(photo()[..., :1], 400), photo()[..., :1])  # nothing is enlarged
    with pytest.raises(ValueError, match="'fasst' is not 'exact' or 'fast'"):
        decode(ink, how="fasst")


def test_without_the_packages_pillow_does_the_same_and_the_run_says_so(tmp_path, monkeypatch):
    (tmp_path / "a.jpg").write_bytes(encoded(photo()))
    (tmp_path / "t.csv").write_text("image,split\na.jpg,train\n")

    def table(**options):
        return manifest(tmp_path / "t.csv", "train", columns={"image": "image"}, channels=3, size_hint=64, **options)

    quick, plain = table(decode="fast"), table()
    want = quick[0]["image"]
    assert fast.library("fast") == "simplejpeg+opencv" and not quick.notes and fast.library("exact") == "pillow"
    assert quick.fingerprint() == plain.fingerprint() + "/simplejpeg+opencv"
    monkeypatch.setattr(fast, "packages", lambda: None)
    slow = table(decode="fast")
    largest, average = apart(slow[0]["image"], want)
    assert largest <= 24 and average <= 3
    (note,) = slow.notes
    assert "simplejpeg" in note and "[fast]" in note and not table().notes
    assert slow.fingerprint() == plain.fingerprint() + "/pillow" and table().fingerprint() == plain.fingerprint()
    with pytest.raises(ValueError, match="decode 'quick' is not 'exact' or 'fast'"):
        table(decode="quick")


def test_whatever_simplejpeg_says_of_a_header_pillow_decides():
    data = bytearray(encoded(photo(40, 40)))
    data[data.index(b"\xff\xc0") + 11] = 0x14  # 1 x 4 subsampling, of which simplejpeg's header raises KeyError
    results = []
    for how in ("exact", "fast"):
        try:
            results.append(decode(bytes(data), 3, how=how).tobytes())
        except (ValueError, OSError) as error:
            results.append(str(error))
    assert results[0] == results[1]


def test_a_cut_jpeg_is_an_error_in_both_ways():
    for data in (encoded(photo(), quality=90), encoded(photo(), quality=90, progressive=True)):
        for share in (0.02, 0.3, 0.6, 0.9, 0.99):
            for how in ("exact", "fast"):
                for size_hint in (None, 64):
                    with pytest.raises(OSError):
                        decode(data[:int(len(data) * share)], 3, size_hint=size_hint, how=how)


def huge_png(width, height):
    """A PNG that declares more pixels than it holds."""
    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))


def huge_jpeg(width, height):
    data = bytearray(encoded(photo(40, 40)))
    at = data.index(b"\xff\xc0")
    data[at + 5:at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.parametrize("how", ["exact", "fast"])
def test_bombs_are_refused_by_what_they_declare(how, tmp_path):
    tiff = encoded(Image.new("1", (20_000, 20_000)), "TIFF", compression="group4")
    for data in (huge_png(60_000, 60_000), huge_jpeg(65_000, 65_000), tiff):
        with pytest.raises(ValueError, match="declares .*pixels.*raise max_pixels"):
            decode(data, how=how)
        with pytest.raises(ValueError, match="declares .*pixels.*raise max_pixels"):
            decode_mask(data)
    data = encoded(photo())  # 301 x 400
    for good in (decode(data, how=how, max_pixels=301 * 400), decode(data, size_hint=64, how=how, max_pixels=301 * 400)):
        assert good.dtype == np.uint8
    with pytest.raises(ValueError, match="declares 400 x 301 pixels, more than 100,000; raise max_pixels"):
        decode(data, how=how, max_pixels=100_000)
    with pytest.raises(ValueError, match="declares 400 x 301 pixels"):
        decode_mask(encoded(photo(), "PNG"), max_pixels=100_000)
    # in a table it is a row with a name, to be mended or masked
    (tmp_path / "good.jpg").write_bytes(encoded(photo(50, 50)))
    (tmp_path / "bomb.jpg").write_bytes(huge_jpeg(65_000, 65_000))
    (tmp_path / "t.csv").write_text("image,split\ngood.jpg,train\nbomb.jpg,train\n")
    source = manifest(tmp_path / "t.csv", "train", columns={"image": "image"}, decode=how)
    with pytest.raises(ValueError, match=r"t.csv row 1 \(line 3\): image 'bomb.jpg': declares"):
        source[1]
    reader = eval_batches(source, 2, on_error="skip")
    assert next(reader)["valid"].tolist() == [True, False] and "bomb.jpg" in reader.bad[1]


def test_a_larger_limit_can_be_asked_for(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    data = encoded(photo(50, 60))
    for how in ("exact", "fast"):
        with pytest.raises(ValueError, match="declares"):
            decode(data, how=how)
    assert decode(data, max_pixels=3000).shape == (50, 60, 1)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_tiff_whose_zero_is_white_is_inverted(bits):
    tifffile = pytest.importorskip("tifffile", reason="needs the extra `medical`: pip install mmrep[medical]")
    values = np.array([[0, 1, 200], [2**bits - 1, 17, 5]], f"u{bits // 8}")
    tifffile.imwrite(out := io.BytesIO(), 2**bits - 1 - values, photometric="miniswhite", metadata=None)
    for how in ("exact", "fast"):
        assert np.array_equal(decode(out.getvalue(), 1, bits, how=how)[..., 0], values)
    stored = np.asarray(Image.open(io.BytesIO(picture(out.getvalue(), "a.tif", 1))))  # what a builder keeps
    assert np.array_equal(stored, values if bits == 8 else values // 257)
    with pytest.raises(ValueError, match="is a mask whose 0 is white"):
        decode_mask(out.getvalue())


def test_masks_that_are_no_class_numbers_are_refused():
    classes = np.array([[0, 1], [2, 255]], np.uint8)
    color = np.stack([classes, classes[::-1], classes], -1)
    deep = Image.fromarray(np.array([[0, 300]], np.uint16))
    for bad in (encoded(Image.fromarray(color), "PNG"), encoded(Image.fromarray(classes).convert("LA"), "PNG"), encoded(deep, "PNG"), color,
                np.array([[0, 300]], np.uint16), np.array([[0, -1]], np.int8), np.array([[0, 0.5]]), np.array([[0, np.nan]])):
        with pytest.raises(ValueError, match="is a mask .*store class numbers"):
            decode_mask(bad)
    palette = Image.fromarray(classes)
    palette.putpalette(list(range(256)) * 3)
    for good in (palette, Image.fromarray(classes), Image.fromarray(classes).convert("RGB"), Image.fromarray(classes.astype(np.uint16))):
        assert np.array_equal(decode_mask(encoded(good, "PNG"))[..., 0], classes)
    for good in (classes, classes.astype(np.int64), classes.astype(np.float32)):
        assert np.array_equal(decode_mask(good)[..., 0], classes)
    assert decode_mask(np.array([[True, False]])).tolist() == decode_mask(np.array([[255, 0]])).tolist() == [[[1], [0]]]


def mutations(count, seed=0):
    """Damaged bytes of small pictures of many formats: cut, or with some bytes changed, half of them near the start."""
    draw, pixels = random.Random(seed), noise(48, 60)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    deep = Image.fromarray(np.random.default_rng(2).integers(0, 65536, (40, 50)).astype(np.uint16))
    image = Image.fromarray(pixels)
    whole = [encoded(pixels), encoded(pixels, progressive=True, exif=exif), encoded(image.convert("L")), encoded(image.convert("CMYK")),
             encoded(pixels, "PNG"), encoded(image.convert("P"), "PNG"), encoded(image.convert("RGBA"), "PNG"), encoded(deep, "PNG"),
             encoded(deep, "TIFF"), *(encoded(pixels, "TIFF", compression=c) for c in ("raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg")),
             encoded(pixels, "WEBP"), encoded(pixels, "BMP"), encoded(pixels, "GIF")]
    for number in range(count):
        data = bytearray(whole[number % len(whole)])
        if draw.random() < 0.2:
            yield bytes(data[:draw.randrange(len(data))])
            continue
        for _ in range(draw.randint(1, 8)):
            data[draw.randrange(min(len(data), 600) if draw.random() < 0.5 else len(data))] = draw.choice((0, 255, draw.randrange(256)))
        yield bytes(data)


@pytest.mark.filterwarnings("ignore")
def test_damaged_pictures_raise_only_what_is_documented():
    errors = 0
    for number, data in enumerate(mutations(1200)):
        for read in (lambda: decode(data, 1 + 2 * (number % 2), 8 + 8 * (number % 3 == 0), 32 * (number % 5 == 0) or None, "exact", 10**6),
                     lambda: decode(data, 1 + 2 * (number % 2), 8 + 8 * (number % 3 == 0), 32 * (number % 5 == 0) or None, "fast", 10**6),
                     lambda: decode_mask(data, 10**6)):
            try:
                assert read().ndim == 3
            except (ValueError, OSError) as error:
                errors += 1
                assert str(error)
    assert 300 < errors < 3 * 1200


def test_a_tfds_dataset_is_decoded_by_the_same_choice(tmp_path):
    import tensorflow_datasets as td

    files = [encoded(photo(), quality=90), encoded(photo(), quality=90)[:4000]]

    class LoaderPictures(td.core.GeneratorBasedBuilder):
        VERSION = td.core.Version("1.0.0")

        def _info(self):
            return td.core.DatasetInfo(builder=self, features=td.features.FeaturesDict({"image": td.features.Image(shape=(None, None, 3)),
                                                                                       "label": np.int64}))

        def _split_generators(self, manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for i, data in enumerate(files):
                yield i, {"image": io.BytesIO(data), "label": i}

    LoaderPictures(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    exact, quick = (tfds("loader_pictures", "train", tmp_path, decode=how, size_hint=hint) for how, hint in (("exact", None), ("fast", 64)))
    assert quick.fingerprint() == exact.fingerprint() + "/simplejpeg+opencv" and not quick.notes
    part = tfds("loader_pictures", "train", tmp_path, splits={"train": "train[:50%]"})
    files[1] = files[1][:3000]  # prepared anew from other files
    shutil.rmtree(tmp_path / "loader_pictures")
    LoaderPictures(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    changed = tfds("loader_pictures", "train", tmp_path)
    assert len({exact.fingerprint(), part.fingerprint(), changed.fingerprint()}) == 3
    for row in range(2):
        try:
            number = int(exact[row]["label/label"])
        except BadRow as error:
            assert "image image file is truncated" in str(error) and f"row {row}" in str(error)
            with pytest.raises(BadRow, match="truncated"):
                quick[row]
            continue
        assert number == 0 and np.array_equal(exact[row]["image"], decode(files[0], 3))  # whatever TFDS would take
        assert np.array_equal(quick[row]["image"], decode(files[0], 3, size_hint=64, how="fast"))


def test_a_mask_in_tfds_has_the_size_of_its_picture(tmp_path):
    import tensorflow_datasets as td

    mask = td.features.Tensor(shape=(None, None, 1), dtype=np.uint8, encoding="zlib")

    class LoaderMasks(td.core.GeneratorBasedBuilder):
        VERSION = td.core.Version("1.0.0")

        def _info(self):
            return td.core.DatasetInfo(builder=self, features=td.features.FeaturesDict({
                "image": td.features.Image(shape=(None, None, 3)), "mask": mask}))

        def _split_generators(self, manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for i, side in enumerate((400, 7)):
                yield i, {"image": io.BytesIO(encoded(photo())), "mask": np.ones((301, side, 1), np.uint8)}

    LoaderMasks(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    source = tfds("loader_masks", "train", tmp_path, columns={"image": "image", "mask/a": "mask"}, size_hint=64)
    wrong = []
    for row in range(2):
        try:
            example = source[row]
            assert example["mask/a"].shape[:2] == example["image"].shape[:2] == (76, 100) and example["mask/a"].all()
        except BadRow as error:
            wrong.append(str(error))
    assert len(wrong) == 1 and "mask/a is [301, 7] and its picture [301, 400]; write them alike" in wrong[0]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_a_picture_is_turned_as_its_camera_says(kind):
    blocks = np.kron(np.arange(6).reshape(3, 2) * 40, np.ones((8, 8))).astype(np.uint8)  # 24 high, 16 wide
    turned = (np.array, np.fliplr, lambda a: np.rot90(a, 2), np.flipud, np.transpose, lambda a: np.rot90(a, -1),
              lambda a: np.rot90(a, 2).T, np.rot90)
    Image.fromarray(blocks).save(plain := io.BytesIO(), kind)
    stored = np.asarray(Image.open(plain))
    for orientation, turn in enumerate(turned, 1):
        (exif := Image.Exif())[0x0112] = orientation
        Image.fromarray(blocks).save(file := io.BytesIO(), kind, exif=exif)
        np.testing.assert_array_equal(decode(file.getvalue())[..., 0], turn(stored), err_msg=str(orientation))
