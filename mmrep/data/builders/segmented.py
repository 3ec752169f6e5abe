"""Volumes with voxel labels: BTCV and AMOS (abdominal organs), BraTS 2021 (glioma in four MR sequences)."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.builders.base import Dataset
from mmrep.data.builders.layout import TRAIN_VAL, found, split_by_hash
from mmrep.data.medical.files import as_dtype, windowed
from mmrep.data.medical.nifti import check_same_place, read_nifti
from mmrep.data.readers import axial
from mmrep.data.sources import BadRow

BTCV_ORGANS = ("background", "spleen", "right kidney", "left kidney", "gallbladder", "esophagus", "liver", "stomach", "aorta",
               "inferior vena cava", "portal vein and splenic vein", "pancreas", "right adrenal gland", "left adrenal gland")
BTCV_TEST = (1, 2, 3, 4, 8, 22, 25, 29, 32, 35, 36, 38)  # of TransUNet (Chen 2021), lists/lists_Synapse/test_vol.txt
AMOS_ORGANS = ("background", "spleen", "right kidney", "left kidney", "gall bladder", "esophagus", "liver", "stomach", "aorta", "postcava",
               "pancreas", "right adrenal gland", "left adrenal gland", "duodenum", "bladder", "prostate/uterus")
BRATS_SEQUENCES = ("t1", "t1ce", "t2", "flair")
CT_WINDOW = (-160.0, 240.0)  # HU
LAST_CT = 500                # AMOS: later numbers are MR


def by_rank(values: np.ndarray) -> np.ndarray:
    """u8: MR has no unit, so its 0.5 to 99.5 percentiles, of the voxels above 0, become 0 to 255."""
    inside = values[values > 0]
    low, high = np.percentile(inside, (0.5, 99.5)) if inside.size else (0.0, 1.0)
    return as_dtype(windowed(values, float(low), float(high)), "uint8")


def voxel_labels(path: Path, shape: tuple[int, ...], about: Mapping[str, Any]) -> np.ndarray:
    """A NIfTI file of labels u8[X, Y, Z] on a volume of a shape, `about` as `read_nifti` says of it. Raises ValueError for another shape,
    BadRow where its header puts it elsewhere than the volume."""
    mask, facts = read_nifti(path, labels=True, dtype="uint8")
    if mask.shape != shape:
        raise ValueError(f"builder: {path.name} has shape {mask.shape}, its volume {shape}")
    if facts["oriented"] and about["oriented"]:
        try:
            check_same_place(about["affine"], facts["affine"], shape)
        except ValueError as error:
            raise BadRow(f"builder: {path.name} {error}") from None
    return mask


def _features(f: Any, channels: int = 1) -> dict[str, Any]:
    return {"volume": f.Tensor(shape=(None, None, None, channels), dtype=np.uint8, encoding="zlib"),
            "mask": f.Tensor(shape=(None, None, None, 1), dtype=np.uint8, encoding="zlib"),
            "spacing": f.Tensor(shape=(3,), dtype=np.float32), "case": np.int32}


def _amos_features(f: Any) -> dict[str, Any]:
    return {**_features(f), "modality": f.ClassLabel(names=("CT", "MR"))}


def _brats_features(f: Any) -> dict[str, Any]:
    return _features(f, len(BRATS_SEQUENCES))


def _pair(image: Path, label: Path, organs: tuple[str, ...], window: tuple[float, float] | None, **more: Any) -> dict[str, Any]:
    """A volume of one channel and its mask; spacing mm along depth, height, width."""
    values, about = read_nifti(image, window=window, dtype="uint8" if window else "float32")
    mask = voxel_labels(label, values.shape, about)
    if mask.max() >= len(organs):
        raise ValueError(f"builder: {label} has the label {mask.max()}; the last of the set is {len(organs) - 1}")
    return {"volume": axial(values if window else by_rank(values))[..., None], "mask": axial(mask)[..., None],
            "spacing": about["spacing"][::-1], **more}


def _btcv(folder: Path, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    base = folder / "RawData" / "Training"
    for image in found(base / "img", "img*.nii.gz"):
        case = int(image.name[3:7])
        if ("test" if case in BTCV_TEST else split_by_hash(image.name[3:7], TRAIN_VAL)) == split:
            yield image.name[3:7], partial(_pair, image, base / "label" / f"label{image.name[3:7]}.nii.gz", BTCV_ORGANS, CT_WINDOW,
                                           case=case)


def _amos(folder: Path, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    part = "Va" if split == "test" else "Tr"
    base = folder / "amos22" if (folder / "amos22").is_dir() else folder
    for image in found(base / f"images{part}", "amos_*.nii.gz"):
        case = int(image.name[5:9])
        if split == "test" or split_by_hash(image.name[:9], TRAIN_VAL) == split:
            ct = case <= LAST_CT
            yield image.name[:9], partial(_pair, image, base / f"labels{part}" / image.name, AMOS_ORGANS,
                                          CT_WINDOW if ct else None, modality="CT" if ct else "MR", case=case)


def _brats(folder: Path, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for place in found(folder, "BraTS2021_*"):
        if split_by_hash(place.name) == split:
            yield place.name, partial(_brats_record, place)


def _brats_record(place: Path) -> dict[str, Any]:
    read = [read_nifti(place / f"{place.name}_{name}.nii.gz") for name in BRATS_SEQUENCES]
    mask = voxel_labels(place / f"{place.name}_seg.nii.gz", read[0][0].shape, read[0][1])
    if wrong := sorted(set(np.unique(mask).tolist()) - {0, 1, 2, 4}):
        raise ValueError(f"builder: {place.name}_seg.nii.gz has the labels {wrong}, not only 0, 1, 2 and 4")
    return {"volume": np.stack([axial(by_rank(values)) for values, _ in read], -1),
            "mask": axial(np.where(mask == 4, 3, mask).astype(np.uint8))[..., None], "spacing": read[0][1]["spacing"][::-1],
            "case": int(place.name.rpartition("_")[2])}


BTCV = Dataset(
    name="btcv",
    description="BTCV: 30 abdominal CTs with 13 organs, [-160, 240] HU to 0 to 255; the 20 of the challenge's test have no public labels "
                "and are left out. Test: the twelve of TransUNet (Chen 2021), which published tables use; val is a tenth of the others by "
                "hash (layout.split_by_hash).",
    homepage="https://www.synapse.org/#!Synapse:syn3193805",
    license="terms of the Synapse project",
    citation="@misc{landman2015btcv, title={MICCAI Multi-Atlas Labeling Beyond the Cranial Vault: Workshop and Challenge}, "
             "author={Landman, Bennett and Xu, Zhoubing and Igelsias, J and Styner, Martin and Langerak, T and Klein, Arno}, year={2015}}",
    manual="RawData/Training/img/ and RawData/Training/label/.",
    layout="github.com/constantinpape/torch-em, torch_em/data/datasets/medical/btcv.py; github.com/Beckschen/TransUNet, "
           "lists/lists_Synapse",
    features=_features, examples=_btcv,
    columns={"volume": "volume", "mask/organs": "mask", "case": "case"})


AMOS = Dataset(
    name="amos",
    description="AMOS 2022: abdominal CT (300 labeled) and MR (60) with 15 organs; CT [-160, 240] HU to 0 to 255, MR by its percentiles. "
                "The labels of the official test are not public: the official validation is the test split here; val is a tenth of the "
                "train patients by hash (layout.split_by_hash).",
    homepage="https://zenodo.org/records/7262581",
    license="CC BY 4.0",
    citation="@article{ji2022amos, title={AMOS: A Large-Scale Abdominal Multi-Organ Benchmark for Versatile Medical Image Segmentation}, "
             "author={Ji, Yuanfeng and Bai, Haotian and Yang, Jie and Ge, Chongjian and Zhu, Ye and Zhang, Ruimao and Li, Zhen and Zhang, "
             "Lingyan and Ma, Wanling and Wan, Xiang and others}, journal={arXiv:2206.08023}, year={2022}}",
    manual="imagesTr/, labelsTr/, imagesVa/ and labelsVa/ of amos22.zip.",
    layout="github.com/MIC-DKFZ/nnUNet, nnunetv2/dataset_conversion/Dataset218_Amos2022_task1.py",
    features=_amos_features, examples=_amos,
    columns={"volume": "volume", "mask/organs": "mask", "label": {"modality": "modality"}, "case": "case"})


BRATS = Dataset(
    name="brats",
    description="BraTS 2021, training part: glioma in MR scans, channels t1, t1ce, t2, flair, each by its percentiles; labels 1 necrotic "
                "core, 2 edema, 3 enhancing tumor (4 in the files). No labels of the other parts are public: split by a hash of the case "
                "(layout.split_by_hash), 70 % train, 10 % val, 20 % test.",
    homepage="https://www.synapse.org/#!Synapse:syn25829067",
    license="terms of the Synapse project",
    citation="@article{baid2021brats, title={The RSNA-ASNR-MICCAI BraTS 2021 Benchmark on Brain Tumor Segmentation and Radiogenomic "
             "Classification}, author={Baid, Ujjwal and Ghodasara, Satyam and Mohan, Suyash and Bilello, Michel and Calabrese, Evan and "
             "Colak, Errol and Farahani, Keyvan and Kalpathy-Cramer, Jayashree and Kitamura, Felipe C and Pati, Sarthak and others}, "
             "journal={arXiv:2107.02314}, year={2021}}",
    manual="BraTS2021_xxxxx/BraTS2021_xxxxx_{t1,t1ce,t2,flair,seg}.nii.gz.",
    layout="github.com/MIC-DKFZ/nnUNet, nnunetv2/dataset_conversion/Dataset137_BraTS21.py",
    features=_brats_features, examples=_brats,
    columns={"volume": "volume", "mask/tumor": "mask", "case": "case"})
