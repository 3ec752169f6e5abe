"""MedMNIST v2 and MedMNIST+: twelve sets of small pictures (28, 64, 128 or 224 pixels) and six of small volumes (28 or 64 voxels)."""

import io
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.archives import MAX_BYTES, open_zip, read_npz_member
from mmrep.data.builders.base import Dataset

ORGANS = ("bladder", "femur-left", "femur-right", "heart", "kidney-left", "kidney-right", "liver", "lung-left", "lung-right", "pancreas",
          "spleen")
# name -> channels, and the names of its classes (of chestmnist: of its findings)
SETS = {
    "pathmnist": (3, ("adipose", "background", "debris", "lymphocytes", "mucus", "smooth muscle", "normal colon mucosa",
        "cancer-associated stroma", "colorectal adenocarcinoma epithelium")),
    "chestmnist": (1, ("atelectasis", "cardiomegaly", "effusion", "infiltration", "mass", "nodule", "pneumonia", "pneumothorax",
        "consolidation", "edema", "emphysema", "fibrosis", "pleural", "hernia")),
    "dermamnist": (3, ("actinic keratoses and intraepithelial carcinoma", "basal cell carcinoma", "benign keratosis-like lesions",
        "dermatofibroma", "melanoma", "melanocytic nevi", "vascular lesions")),
    "octmnist": (1, ("choroidal neovascularization", "diabetic macular edema", "drusen", "normal")),
    "pneumoniamnist": (1, ("normal", "pneumonia")),
    "retinamnist": (3, ("0", "1", "2", "3", "4")),
    "breastmnist": (1, ("malignant", "normal, benign")),
    "bloodmnist": (3, ("basophil", "eosinophil", "erythroblast", "immature granulocytes", "lymphocyte", "monocyte", "neutrophil",
        "platelet")),
    "tissuemnist": (1, ("Collecting Duct, Connecting Tubule", "Distal Convoluted Tubule", "Glomerular endothelial cells",
        "Interstitial endothelial cells", "Leukocytes", "Podocytes", "Proximal Tubule Segments", "Thick Ascending Limb")),
    "organamnist": (1, ORGANS),
    "organcmnist": (1, ORGANS),
    "organsmnist": (1, ORGANS),
    "organmnist3d": (1, ("liver", "kidney-right", "kidney-left", "femur-right", "femur-left", "bladder", "heart", "lung-right",
        "lung-left", "spleen", "pancreas")),
    "nodulemnist3d": (1, ("benign", "malignant")),
    "adrenalmnist3d": (1, ("normal", "hyperplasia")),
    "fracturemnist3d": (1, ("buckle rib fracture", "nondisplaced rib fracture", "displaced rib fracture")),
    "vesselmnist3d": (1, ("vessel", "aneurysm")),
    "synapsemnist3d": (1, ("inhibitory synapse", "excitatory synapse")),
}
SIZES, SIZES_3D = (28, 64, 128, 224), (28, 64)
FINDINGS = "chestmnist"  # the one of several labels a picture


def _features(f: Any, name: str) -> dict[str, Any]:
    channels, classes = SETS[name]
    label = f.Tensor(shape=(len(classes),), dtype=np.int8) if name == FINDINGS else f.ClassLabel(names=classes)
    if name.endswith("3d"):
        return {"volume": f.Tensor(shape=(None, None, None, 1), dtype=np.uint8, encoding="zlib"), "label": label}
    return {"image": f.Image(shape=(None, None, channels)), "label": label}


def _examples(folder: Path, split: str, name: str, size: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Pictures are read one after the other, for those of 224 pixels do not fit in memory."""
    path = folder / (f"{name}.npz" if size == 28 else f"{name}_{size}.npz")
    if not path.is_file():
        raise FileNotFoundError(f"builder: no file at {path}")
    archive, members = open_zip(path, str(path))
    for wanted in (f"{split}_images.npy", f"{split}_labels.npy"):
        if wanted not in members:
            raise ValueError(f"builder: {path} has no array {wanted.removesuffix('.npy')}; it holds {', '.join(members)[:200]}")
    labels = read_npz_member(archive, members[f"{split}_labels.npy"], str(path))
    channels, classes = SETS[name]
    shape = (size, size, size) if name.endswith("3d") else (size, size, 3) if channels == 3 else (size, size)
    if labels.shape != (len(labels), len(classes) if name == FINDINGS else 1) or labels.max() >= (2 if name == FINDINGS else len(classes)):
        raise ValueError(f"builder: {split}_labels of {path} is {labels.dtype}{list(labels.shape)}, not the set's")
    with archive.open(members[f"{split}_images.npy"]) as file:
        _check_header(file, (len(labels), *shape), f"{split}_images of {path}")
        for number, label in enumerate(labels):
            data = file.read(math.prod(shape))
            if len(data) != math.prod(shape):
                raise ValueError(f"builder: {split}_images of {path} is cut short; download it again")
            yield f"{split}{number:06d}", partial(_record, np.frombuffer(data, np.uint8).reshape(shape), label, name)


def _check_header(file: Any, shape: tuple[int, ...], what: str) -> None:
    """Read the header of a .npy stream up to its values. Raises ValueError for another array than u8[shape]."""
    try:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        found, fortran, dtype = header(file)
    except Exception as error:  # numpy lets out several
        raise ValueError(f"builder: {what} is damaged ({type(error).__name__}); download it again") from None
    if found != shape or fortran or dtype != np.uint8 or math.prod(shape[1:]) > MAX_BYTES:
        raise ValueError(f"builder: {what} is {dtype}{list(found)}, not uint8{list(shape)}")


def _record(values: np.ndarray, label: np.ndarray, name: str) -> dict[str, Any]:
    said = label.astype(np.int8) if name == FINDINGS else int(label[0])
    if name.endswith("3d"):
        return {"volume": values[..., None], "label": said}
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(values).save(out, "PNG")
    return {"image": out.getvalue(), "label": said}


def _dataset(name: str, size: int) -> Dataset:
    file = f"{name}.npz" if size == 28 else f"{name}_{size}.npz"
    kind = "volume" if name.endswith("3d") else "image"
    return Dataset(
        name=file.removesuffix(".npz"),
        description=f"{name} of MedMNIST v2 at {size} pixels a side, in its official splits. Patients are not told: intervals resample "
                    "pictures.",
        homepage="https://medmnist.com",
        license="CC BY-NC 4.0" if name == "dermamnist" else "CC BY 4.0",
        citation="@article{yang2023medmnist, title={MedMNIST v2 - A large-scale lightweight benchmark for 2D and 3D biomedical image "
                 "classification}, author={Yang, Jiancheng and Shi, Rui and Wei, Donglai and Liu, Zequan and Zhao, Lin and Ke, Bilian and "
                 "Pfister, Hanspeter and Ni, Bingbing}, journal={Scientific Data}, volume={10}, number={1}, pages={41}, year={2023}}",
        manual=f"{file} of https://zenodo.org/records/10519652.",
        layout="github.com/MedMNIST/MedMNIST, medmnist/dataset.py and medmnist/info.py",
        features=partial(_features, name=name), examples=partial(_examples, name=name, size=size),
        names={"label": SETS[name][1]} if name == FINDINGS else {},
        columns={kind: kind, "label": {"findings" if name == FINDINGS else "label": "label"}})


MEDMNIST = tuple(_dataset(name, size) for name in SETS for size in (SIZES_3D if name.endswith("3d") else SIZES))
