"""The Medical Segmentation Decathlon: ten tasks of CT and MR volumes with voxel labels, a data set each."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmrep.data.builders.base import Dataset
from mmrep.data.builders.layout import split_by_hash
from mmrep.data.builders.segmented import by_rank, voxel_labels
from mmrep.data.medical.files import as_dtype, windowed
from mmrep.data.medical.nifti import read_nifti
from mmrep.data.readers import axial
from mmrep.data.sources import BadRow

ABDOMEN, LUNG = (-160.0, 240.0), (-1000.0, 400.0)  # HU


class Task(NamedTuple):
    """A task: its folder, its channels, the names of its labels above 0, and the window of a CT in HU (None: MR)."""

    folder: str
    channels: tuple[str, ...]
    labels: tuple[str, ...]
    window: tuple[float, float] | None


TASKS = {
    "brain": Task("Task01_BrainTumour", ("FLAIR", "T1w", "T1gd", "T2w"), ("edema", "non-enhancing tumor", "enhancing tumor"), None),
    "heart": Task("Task02_Heart", ("MRI",), ("left atrium",), None),
    "liver": Task("Task03_Liver", ("CT",), ("liver", "cancer"), ABDOMEN),
    "hippocampus": Task("Task04_Hippocampus", ("MRI",), ("anterior", "posterior"), None),
    "prostate": Task("Task05_Prostate", ("T2", "ADC"), ("peripheral zone", "transition zone"), None),
    "lung": Task("Task06_Lung", ("CT",), ("cancer",), LUNG),
    "pancreas": Task("Task07_Pancreas", ("CT",), ("pancreas", "cancer"), ABDOMEN),
    "hepatic_vessel": Task("Task08_HepaticVessel", ("CT",), ("vessel", "tumor"), ABDOMEN),
    "spleen": Task("Task09_Spleen", ("CT",), ("spleen",), ABDOMEN),
    "colon": Task("Task10_Colon", ("CT",), ("colon cancer primaries",), ABDOMEN),
}


def _features(f: Any, task: Task) -> dict[str, Any]:
    return {"volume": f.Tensor(shape=(None, None, None, len(task.channels)), dtype=np.uint8, encoding="zlib"),
            "mask": f.Tensor(shape=(None, None, None, 1), dtype=np.uint8, encoding="zlib"),
            "spacing": f.Tensor(shape=(3,), dtype=np.float32), "case": np.int32}


def _examples(folder: Path, split: str, task: Task) -> Iterator[tuple[str, Any]]:
    base = folder / task.folder if (folder / task.folder).is_dir() else folder
    listing = base / "dataset.json"
    if not listing.is_file():
        raise FileNotFoundError(f"builder: no file at {listing}; unpack {task.folder}.tar there")
    try:
        pairs = [(pair["image"], pair["label"]) for pair in json.loads(listing.read_text("utf-8"))["training"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"builder: {listing} is no list of the Decathlon ({type(error).__name__}); unpack it again") from None
    for number, (image, label) in enumerate(sorted(pairs)):
        name = Path(image).name.removesuffix(".nii.gz")
        if split_by_hash(name) == split:
            yield name, partial(_record, base / image, base / label, task, number)


def _record(image: Path, label: Path, task: Task, case: int) -> dict[str, Any]:
    for path in (image, label):
        if not path.is_file():
            raise BadRow(f"builder: no file at {path}")
    several = len(task.channels) > 1
    read = [read_nifti(image, volume=n if several else None) for n in range(len(task.channels))]
    mask = voxel_labels(label, read[0][0].shape, read[0][1])
    if mask.max() > len(task.labels):
        raise ValueError(f"builder: {label.name} has the label {mask.max()}; the last of {task.folder} is {len(task.labels)}")
    channels = [by_rank(values) if task.window is None else as_dtype(windowed(values, *task.window), "uint8") for values, _ in read]
    return {"volume": np.stack([axial(values) for values in channels], -1), "mask": axial(mask)[..., None],
            "spacing": read[0][1]["spacing"][::-1], "case": case}


def _dataset(name: str, task: Task) -> Dataset:
    scaled = f"[{task.window[0]:g}, {task.window[1]:g}] HU to 0 to 255" if task.window else "each channel by its percentiles"
    return Dataset(
        name=f"msd_{name}",
        description=f"{task.folder} of the Medical Segmentation Decathlon: {', '.join(task.channels)} ({scaled}), labels "
                    f"{', '.join(f'{n} {label}' for n, label in enumerate(task.labels, 1))}. The labels of the official test are not "
                    "public: the train part is split by a hash of the case (layout.split_by_hash), 70 % train, 10 % val, 20 % test.",
        homepage="http://medicaldecathlon.com",
        license="CC BY-SA 4.0",
        citation="@article{antonelli2022medical, title={The Medical Segmentation Decathlon}, author={Antonelli, Michela and Reinke, "
                 "Annika and Bakas, Spyridon and Farahani, Keyvan and Kopp-Schneider, Annette and Landman, Bennett A and Litjens, Geert "
                 "and Menze, Bjoern and Ronneberger, Olaf and Summers, Ronald M and others}, "
                 "journal={Nature Communications}, volume={13}, pages={4128}, year={2022}}",
        manual=f"{task.folder}/ (or what it holds: dataset.json, imagesTr/, labelsTr/).",
        layout="github.com/Project-MONAI/MONAI, monai/data/decathlon_datalist.py; github.com/rundherum/pymia, tests of its MSDDataset",
        features=partial(_features, task=task), examples=partial(_examples, task=task),
        columns={"volume": "volume", "mask/labels": "mask", "case": "case"})


MSD = tuple(_dataset(name, task) for name, task in TASKS.items())
