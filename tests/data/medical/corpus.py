"""Small files of every format with the function that reads them: what pydicom and nibabel ship, and what their writers write."""

import gzip
import io
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np

from mmrep.data.images import decode
from mmrep.data.medical.bags import read_bag
from mmrep.data.medical.dicom import read_dicom, read_dicom_series
from mmrep.data.medical.ecg import LEADS, read_array_ecg, read_dicom_ecg, read_wfdb
from mmrep.data.medical.edf import read_edf
from mmrep.data.medical.hdf5 import read_hdf5
from mmrep.data.medical.nifti import read_nifti
from mmrep.data.medical.slide import slide_tiles
from mmrep.data.medical.tiff import read_tiff
from mmrep.data.stores import open_images

MOST = 1 << 24
DICOM = ("CT_small", "MR_small_RLE", "MR_small_jp2klossless", "MR_small_jpeg_ls_lossless", "SC_rgb_jpeg_gdcm", "SC_rgb_small_odd_jpeg",
         "SC_rgb_dcmtk_+eb+cr", "SC_rgb_jls_lossy_line", "JPGExtended", "MR_small_bigendian", "examples_palette", "rtdose_rle",
         "liver_1frame", "image_dfl")


def corpus(folder: Path):
    """(name, bytes, read) of every file; `read` gives (array, ...) or raises ValueError or OSError. Files go below `folder`."""
    noise = np.random.default_rng(0)
    picture = np.indices((40, 48, 3)).sum(0).astype(np.uint8) // 4 * 4  # that packs well, so that more of a file is headers
    waves = np.sin(np.arange(600)[:, None] / 50 * np.arange(1, 13))
    yield from _dicom(waves)
    yield from _nifti(noise)
    yield from _wfdb(folder, waves)
    yield from _tiff(folder, picture)
    yield from _tables(waves)
    yield from _archives(folder, picture)


def _dicom(waves):
    import pydicom

    from tests.data.medical.test_dicom import enhanced, plane

    files = Path(pydicom.__file__).parent / "data" / "test_files"
    for name in DICOM:
        yield f"dicom {name}", (files / f"{name}.dcm").read_bytes(), lambda copy: read_dicom(copy, dtype="float32", max_bytes=MOST)
    many = enhanced([7.5, -5.0, 0.0, 5.0])
    yield "dicom enhanced", many, lambda copy: read_dicom_series([copy], frames=(1, 2), max_bytes=MOST)
    yield "dicom one of two slices", plane(0.0, 1), lambda copy: read_dicom_series([copy, plane(2.5, 2)], max_bytes=MOST)
    yield "dicom waveform", (files / "waveform_ecg.dcm").read_bytes(), lambda copy: read_dicom_ecg(copy, rate=250, max_bytes=MOST)
    deflated = (files / "image_dfl.dcm").read_bytes()
    start = 144 + int.from_bytes(deflated[140:144], "little")

    def deflate(plain):
        return read_dicom(deflated[:start] + zlib.compress(plain, wbits=-15), max_bytes=MOST)
    yield "dicom deflated", zlib.decompress(deflated[start:], wbits=-15), deflate


def _nifti(noise):
    import nibabel

    files = Path(nibabel.__file__).parent / "tests" / "data"

    def read(copy):
        return read_nifti(copy, volume=0, spacing=(3, 3, 3), max_bytes=MOST)
    small = nibabel.Nifti1Image(noise.normal(size=(6, 5, 4)).astype(np.float32), np.diag([-2.0, 2, 2, 1])).to_bytes()
    yield "nifti 1", small, read
    yield "nifti functional", (files / "functional.nii").read_bytes(), read
    yield "nifti 2 gz", (files / "example_nifti2.nii.gz").read_bytes(), read
    yield "nifti in gz", small, lambda copy: read(gzip.compress(copy, 1))


def _wfdb(folder, waves):
    import wfdb

    from tests.data.medical.test_ecg import segments

    segments(folder, "variable")
    wfdb.wrsamp("rec", fs=500, units=["mV"] * 12, sig_name=list(LEADS), p_signal=waves, fmt=["212"] * 12, write_dir=str(folder))
    for record, file in (("rec", "rec.hea"), ("rec", "rec.dat"), ("all", "all.hea"), ("all", "part1.hea"), ("all", "layout.hea")):
        good = (folder / file).read_bytes()

        def read(copy, record=record, file=file, good=good):
            (folder / file).write_bytes(copy)
            try:
                return read_wfdb(folder / record, rate=250, max_bytes=MOST)
            finally:
                (folder / file).write_bytes(good)
        yield f"wfdb {record} {file}", good, read


def _tiff(folder, picture):
    import tifffile

    for coding in (None, "deflate", "lzw", "jpeg", "jpeg2000", "zstd"):
        buffer = io.BytesIO()
        with tifffile.TiffWriter(buffer) as file:
            for _ in range(2):
                file.write(picture, photometric="rgb", tile=(32, 32), compression=coding, metadata=None)
        yield f"tiff {coding}", buffer.getvalue(), lambda copy: read_tiff(copy, max_bytes=MOST)
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, picture[..., 0].astype(np.uint16), compression="deflate", predictor=True, rowsperstrip=8, byteorder=">")
    yield "tiff 16", buffer.getvalue(), lambda copy: read_tiff(copy, max_bytes=MOST)
    path = folder / "slide.svs"
    with tifffile.TiffWriter(path) as file:
        for k in (1, 2, 4):
            file.write(picture[::k, ::k], photometric="rgb", tile=(16, 16), compression="jpeg", metadata=None,
                       description="Aperio |MPP = 0.25" if k == 1 else None)

    def read(copy):
        path.write_bytes(copy)
        tiles = [tile for tile, _ in zip((pixels for pixels, _ in slide_tiles(path, 8, mpp=0.6, tissue=0.1, backend="tifffile",
                                                                              max_bytes=MOST)), range(8))]
        return (np.stack(tiles) if tiles else np.zeros(0),)
    yield "slide svs", path.read_bytes(), read


def _tables(waves):
    import edfio
    import h5py

    for kind in ("Edf", "Bdf"):
        signals = [getattr(edfio, f"{kind}Signal")(waves[:, k], 100, label=LEADS[k], physical_dimension="mV") for k in range(3)]
        yield kind.lower(), getattr(edfio, kind)(signals).to_bytes(), lambda copy: read_edf(copy, rate=50, max_bytes=MOST)
    for coding in (None, "gzip"):
        buffer = io.BytesIO()
        with h5py.File(buffer, "w") as file:
            file.create_dataset("features", data=waves.astype(np.float32), compression=coding, chunks=(50, 12))
            file.create_dataset("coords", data=np.arange(1200).reshape(600, 2), compression=coding)
        yield f"bag hdf5 {coding}", buffer.getvalue(), lambda copy: read_bag(copy, max_bytes=MOST)
        yield f"hdf5 rows {coding}", buffer.getvalue(), lambda copy: read_hdf5(copy, "coords", rows=[3, 500, 1], max_bytes=MOST)
    for save in (np.savez, np.savez_compressed):
        buffer = io.BytesIO()
        save(buffer, features=waves[:, :5], coords=np.arange(1200).reshape(600, 2))
        yield f"bag {save.__name__}", buffer.getvalue(), lambda copy: read_bag(copy, max_bytes=MOST)
    buffer = io.BytesIO()
    np.save(buffer, waves)
    yield "npy", buffer.getvalue(), lambda copy: read_array_ecg(copy, 500, rate=250, max_bytes=MOST)

    def zipped(copy):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("a.npy", copy)
        return read_array_ecg(buffer.getvalue(), 500, max_bytes=MOST)
    yield "npy in npz", buffer.getvalue(), zipped


def _archives(folder, picture):
    from PIL import Image

    encoded = {}
    for kind in ("PNG", "JPEG"):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, kind)
        encoded[kind] = buffer.getvalue()
        yield f"picture {kind}", encoded[kind], lambda copy: (decode(copy, channels=3, max_pixels=MOST >> 2),)
        yield f"picture {kind} fast", encoded[kind], lambda copy: (decode(copy, 3, size_hint=16, how="fast", max_pixels=MOST >> 2),)
    for kind, mode in (("zip", None), ("tar", "w"), ("tar.gz", "w:gz"), ("tar.xz", "w:xz"), ("npz", None)):
        path = folder / f"x.{kind}"
        if kind == "zip":
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
                for name, content in encoded.items():
                    file.writestr(name, content)
        elif kind == "npz":
            np.savez_compressed(path, PNG=picture, JPEG=picture)
        else:
            with tarfile.open(path, mode, format=tarfile.PAX_FORMAT) as file:
                for name, content in encoded.items():
                    member = tarfile.TarInfo(name)
                    member.size, member.pax_headers = len(content), {"comment": "ü" * 300}
                    file.addfile(member, io.BytesIO(content))

        def read(copy, path=path):
            path.write_bytes(copy)
            store = open_images(path, max_bytes=MOST)
            return (np.array([len(store.read(name)) for name in encoded if name in store]),)
        yield f"store {kind}", path.read_bytes(), read
