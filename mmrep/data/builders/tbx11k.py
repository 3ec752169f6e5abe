"""TBX11K: 8,399 chest radiographs, healthy, sick or with tuberculosis, and boxes around the latter."""

import io
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.builders.base import Dataset
from mmrep.data.builders.chest_xray import BENCHX, box_mask, boxes, listed, mask_feature
from mmrep.data.builders.layout import numbered, open_first, picture

FILES = ("TBX11K_train.json", "TBX11K_val.json")  # COCO; the labels of test are not public
KINDS = {"health": "healthy", "sick": "sick_but_no_tb", "tb": "tb"}  # folder -> class
TUBERCULOSIS = ("ActiveTuberculosis", "ObsoletePulmonaryTuberculosis", "PulmonaryTuberculosis")
MOST = 32  # boxes on an image


def _features(f: Any) -> dict[str, Any]:
    return {"image": f.Image(shape=(None, None, 1)), "kind": f.ClassLabel(names=tuple(KINDS.values())),
            "tuberculosis": f.Tensor(shape=(len(TUBERCULOSIS),), dtype=np.int8), "boxes": f.Tensor(shape=(MOST, 4), dtype=np.float32),
            "box_kind": f.Tensor(shape=(MOST,), dtype=np.int32), "mask": mask_feature(f), "case": np.int32}


def _annotations(folder: Path) -> dict[str, tuple[str, list[tuple[str, list[float]]]]]:
    """{name: (file, [(category, [x, y, width, height] in pixels)])} of the two files."""
    found = {}
    for path in (folder / "annotations" / "json" / name for name in FILES):
        if not path.is_file():
            raise FileNotFoundError(f"builder: no file at {path}; put the files where the builder's instructions say")
        try:
            whole = json.loads(path.read_text("utf-8"))
            names = {entry["id"]: entry["name"] for entry in whole["categories"]}
            files = {entry["id"]: entry["file_name"] for entry in whole["images"]}
            found |= {Path(file).stem: (file, []) for file in files.values()}
            for entry in whole["annotations"]:
                found[Path(files[entry["image_id"]]).stem][1].append((names[entry["category_id"]], entry["bbox"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"builder: {path} is no COCO file of the release ({type(error).__name__}); download it again") from None
    return found


def _examples(folder: Path, split: str) -> Iterator[tuple[str, Any]]:
    """Names of BenchX's lists are those of the files, of a copy of the set that keeps all of one folder."""
    store, found = open_first(folder, ("imgs", "TBX11K/imgs")), _annotations(folder if (folder / "imgs").is_dir() else folder / "TBX11K")
    cases = numbered(sorted(found))
    for name in listed(folder, split, found, " and ".join(FILES)):
        yield name, partial(_record, store, *found[name], cases[name])


def _record(store: Any, file: str, found: list[tuple[str, list[float]]], case: int) -> dict[str, Any]:
    from PIL import Image

    image = picture(store.read(file), file, 1)
    with Image.open(io.BytesIO(image)) as opened:
        width, height = opened.size
    placed = boxes([(x, y, x + w, y + h) for _, (x, y, w, h) in found], height, width, MOST)
    kinds = [TUBERCULOSIS.index(name) for name, _ in found]
    return {"image": image, "kind": KINDS[file.split("/")[0]], "tuberculosis": [int(n in kinds) for n in range(len(TUBERCULOSIS))],
            "boxes": placed, "box_kind": np.array(kinds + [-1] * (MOST - len(kinds)), np.int32), "mask": box_mask(placed, height, width),
            "case": case}


TBX11K = Dataset(
    name="tbx11k",
    description="TBX11K: 512x512 frontal radiographs, healthy, sick without tuberculosis, or with it: active, obsolete (latent) or of "
                "unknown kind, boxed; the mask is the boxes' union. The official train and val together, less one picture of tuberculosis "
                "without a box, in the splits of BenchX; train_10 and train_1 repeat a tenth and a hundredth of train. The labels of the "
                "official test are not public. `case` counts images.",
    homepage="https://github.com/yun-liu/Tuberculosis",
    license="non-commercial, as its authors say",
    citation="@inproceedings{liu2020rethinking, title={Rethinking Computer-Aided Tuberculosis Diagnosis}, author={Liu, Yun and Wu, Yu-Huan "
             "and Ban, Yunfeng and Wang, Huifang and Cheng, Ming-Ming}, booktitle={CVPR}, pages={2646--2655}, year={2020}}",
    manual="imgs/{health,sick,tb}/*.png, annotations/json/TBX11K_train.json and TBX11K_val.json (TBX11K.zip, unpacked), and "
           "benchx/{train,train_10,train_1,val,test}.txt of github.com/yangzhou12/BenchX, preprocess/datasets/TBX11K.",
    layout="gitlab.idiap.ch/medai/software/mednet, src/mednet/data/classify/tbx11k.py (folders, annotations); "
           "github.com/yangzhou12/BenchX, preprocess/datasets/TBX11K/preprocess_tbx11k.py (boxes, names)",
    features=_features, examples=_examples, splits=BENCHX, names={"tuberculosis": TUBERCULOSIS},
    columns={"image": "image", "label": {"kind": "kind", "tuberculosis": "tuberculosis", "boxes": "boxes"}, "mask/tuberculosis": "mask",
             "case": "case"})
