"""Tiny folders of chest radiographs: DICOM files, BenchX's lists, and every split of a set prepared from them."""

from pathlib import Path

import numpy as np

from mmrep.data.builders.base import prepare
from mmrep.data.builders.chest_xray import BENCHX


def write_dicom(path: Path, values: np.ndarray, **tags) -> None:
    """A gray DICOM image of u8 or u16 values, uncompressed, with a patient's name that nothing may repeat."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID, file.file_meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, "1.2.840.10008.5.1.4.1.1.1.1"
    file.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    file.SOPClassUID, file.SOPInstanceUID = file.file_meta.MediaStorageSOPClassUID, file.file_meta.MediaStorageSOPInstanceUID
    file.PatientName, file.Modality, file.PhotometricInterpretation = "Doe^Jane", "CR", "MONOCHROME2"
    file.Rows, file.Columns = values.shape
    file.SamplesPerPixel, file.PixelRepresentation = 1, 0
    file.BitsAllocated = file.BitsStored = 8 * values.itemsize
    file.HighBit = file.BitsStored - 1
    for name, value in tags.items():
        setattr(file, name, value)
    file.PixelData = values.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)


def write_lists(folder: Path, **names: list[str]) -> None:
    """benchx/SPLIT.txt under a folder; a share of train that is not given is train's first."""
    (folder / "benchx").mkdir(parents=True, exist_ok=True)
    for split in BENCHX:
        (folder / "benchx" / f"{split}.txt").write_text("".join(f"{name}\n" for name in names.get(split, names["train"][:1])))


def every_split(dataset, folder: Path) -> dict[str, list[dict]]:
    """{split: its records, decoded}, in no order, of a data set prepared from `folder`/raw."""
    builder = prepare(dataset, folder / "raw", folder / "prepared")
    return {split: list(builder.as_data_source(split=split)) for split in dataset.splits}
