"""Pictures with captions: ROCO v2 and PMC-OA (figures of open-access papers), and Quilt-1M (histopathology)."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.builders.base import Dataset
from mmrep.data.builders.layout import TRAIN_VAL, numbered, open_first, picture, read, rows, split_by_hash, within

ROCO_SPLITS = {"train": "train", "val": "valid", "test": "test"}
PMC_FOLDER = "caption_T060_filtered_top4_sep_v0_subfigures"  # in images.zip
QUILT = ("caption", "image_path", "subset", "split")
SUBSETS = ("openpath", "pubmed", "quilt", "laion")


def _roco_features(f: Any) -> dict[str, Any]:
    return {"image": f.Image(shape=(None, None, 3)), "caption": f.Text(), "concepts": f.Text(), "case": np.int32}


def _roco(folder: Path, split: str) -> Iterator[tuple[str, Any]]:
    part = ROCO_SPLITS[split]
    store = open_first(folder, (f"{part}_images", f"{part}_images.zip", part))
    concepts = {row["ID"]: row["CUIs"] for row in rows(folder / f"{part}_concepts.csv", ("ID", "CUIs"))}
    first = sum(1 for before in list(ROCO_SPLITS)[:list(ROCO_SPLITS).index(split)]
                for _ in rows(folder / f"{ROCO_SPLITS[before]}_captions.csv", ("ID", "Caption")))  # no case in two splits
    for number, row in enumerate(rows(folder / f"{part}_captions.csv", ("ID", "Caption")), first):
        name = within(store, f"{row['ID']}.jpg", ("", f"{part}/", f"{part}_images/"))
        yield row["ID"], partial(_record, store, name, row["Caption"], number, concepts=concepts.get(row["ID"], ""))


def _pmc_features(f: Any) -> dict[str, Any]:
    return {"image": f.Image(shape=(None, None, 3)), "caption": f.Text(), "case": np.int32}


def _pmc(folder: Path, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    store = open_first(folder, ("images", "images.zip", PMC_FOLDER))
    with (folder / "pmc_oa.jsonl").open(encoding="utf-8") as file:
        for number, line in enumerate(file):
            row = json.loads(line)
            paper = row["image"].partition("_")[0]
            name = within(store, row["image"], ("", f"{PMC_FOLDER}/", f"images/{PMC_FOLDER}/"))
            if split_by_hash(paper) == split:  # the archive lacks some
                yield str(number), partial(_record, store, name, row["caption"], int(paper.removeprefix("PMC")))


def _record(store: Any, name: str, caption: str, case: int, **more: Any) -> dict[str, Any]:
    return {"image": picture(read(store, name), name, 3), "caption": caption, "case": case, **more}


def _quilt_features(f: Any) -> dict[str, Any]:
    return {"image": f.Image(shape=(None, None, 3)), "caption": f.Text(), "subset": f.ClassLabel(names=SUBSETS), "case": np.int32}


def _quilt(folder: Path, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    store = open_first(folder, ("quilt_1m", "quilt_1m.zip"))
    table = folder / "quilt_1M_lookup.csv"
    cases = numbered(row["image_path"] for row in rows(table, QUILT))
    for number, row in enumerate(rows(table, QUILT)):
        name = row["image_path"]
        here = "test" if row["split"] == "val" else split_by_hash(name, TRAIN_VAL)
        if here == split:
            yield str(number), partial(_record, store, name, row["caption"], cases[name], subset=row["subset"])


ROCO_V2 = Dataset(
    name="roco_v2",
    description="ROCO v2: 79,789 radiology pictures of open-access papers with their captions and UMLS concepts (CUIs, joined by ;), in "
                "its official splits. The paper of a picture is not in these tables: `case` is the picture.",
    homepage="https://zenodo.org/records/10821435",
    license="CC BY-NC 4.0 and others, a picture each (license_information.csv)",
    citation="@article{ruckert2024rocov2, title={ROCOv2: Radiology Objects in COntext Version 2, an Updated Multimodal Image Dataset}, "
             "author={Rückert, Johannes and Bloch, Louise and Brüngel, Raphael and Idrissi-Yaghir, Ahmad and Schäfer, Henning and Schmidt, "
             "Cynthia S and Koitka, Sven and Pelka, Obioma and Abacha, Asma Ben and Herrera, Alba G. Seco de and others}, "
             "journal={Scientific Data}, volume={11}, pages={688}, year={2024}}",
    manual="{train,valid,test}_captions.csv, {train,valid,test}_concepts.csv, and {train,valid,test}_images.zip or what they hold; rows "
           "without their picture are left out.",
    layout="github.com/Munteanu-Matei/rocov2-medical-vlm, its training script (train_captions.csv, train_concepts.csv)",
    features=_roco_features, examples=_roco,
    columns={"image": "image", "text": "caption", "case": "case"})


PMC_OA = Dataset(
    name="pmc_oa",
    description="PMC-OA: 1.6 million figures of open-access papers with their captions, sub-figures apart. No official split: by a hash "
                "of the paper (layout.split_by_hash), 70 % train, 10 % val, 20 % test.",
    homepage="https://huggingface.co/datasets/axiong/pmc_oa",
    license="not stated; each paper's own",
    citation="@article{lin2023pmc, title={PMC-CLIP: Contrastive Language-Image Pre-training using Biomedical Documents}, author={Lin, "
             "Weixiong and Zhao, Ziheng and Zhang, Xiaoman and Wu, Chaoyi and Zhang, Ya and Wang, Yanfeng and Xie, Weidi}, "
             "journal={arXiv:2303.07240}, year={2023}}",
    manual="pmc_oa.jsonl, and images.zip or what it holds; rows whose picture it lacks are left out.",
    layout="https://huggingface.co/datasets/axiong/pmc_oa/blob/main/README.md; github.com/VectorInstitute/mmlearn, "
           "projects/med_benchmarking/datasets/pmcoa.py",
    features=_pmc_features, examples=_pmc,
    columns={"image": "image", "text": "caption", "case": "case"})


QUILT_1M = Dataset(
    name="quilt_1m",
    description="Quilt-1M: a million pairs of histopathology pictures and text, of videos, papers and the web. The official val is the "
                "test split here; val is a tenth of the train pictures by hash (layout.split_by_hash). Patients and videos are not told.",
    homepage="https://quilt1m.github.io",
    license="research only, on request (https://zenodo.org/record/8239942)",
    citation="@misc{ikezogwo2023quilt1m, title={Quilt-1M: One Million Image-Text Pairs for Histopathology}, author={Ikezogwo, Wisdom "
             "Oluchi and Seyfioglu, Mehmet Saygin and Ghezloo, Fatemeh and Geva, Dylan Stefan Chan and Mohammed, Fatwir Sheikh and Anand, "
             "Pavan Kumar and Krishna, Ranjay and Shapiro, Linda}, eprint={2306.11207}, archivePrefix={arXiv}, year={2023}}",
    manual="quilt_1M_lookup.csv, and quilt_1m/ with the pictures.",
    layout="github.com/wisdomikezogwo/quilt1m, README.md; github.com/VectorInstitute/mmlearn, projects/med_benchmarking/datasets/quilt.py",
    features=_quilt_features, examples=_quilt,
    columns={"image": "image", "text": "caption", "case": "case"})
