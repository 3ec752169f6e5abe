import json

import numpy as np
import pytest

from mmrep.data.builders import DATASETS
from mmrep.data.builders.base import made, prepare
from mmrep.data.builders.msd import TASKS
from mmrep.data.tfds import tfds
from tests.data.builders.folders import write_volume


def write(folder, name, volumes, masks, spacing=(1, 1, 1)):
    """A task as the release holds it; dataset.json without what is not read."""
    folder = folder / TASKS[name].folder
    pairs = []
    for n, (values, mask) in enumerate(zip(volumes, masks)):
        file = f"{name}_{n:03d}.nii.gz"
        write_volume(folder / "imagesTr" / file, values, spacing)
        write_volume(folder / "labelsTr" / file, mask, spacing)
        pairs.append({"image": f"./imagesTr/{file}", "label": f"./labelsTr/{file}"})
    (folder / "dataset.json").write_text(json.dumps({
        "name": name, "tensorImageSize": "3D", "modality": {"0": "MRI"}, "labels": {"0": "background", "1": "Anterior", "2": "Posterior"},
        "numTraining": len(pairs), "numTest": 1, "training": pairs, "test": ["./imagesTs/x.nii.gz"]}))
    return folder


def body(fill, lesion, channels=0):
    """f32[4, 6, 3(, channels)], brightest at the left, front, top, where the mask is `lesion`."""
    values, mask = np.full((4, 6, 3), fill, np.float32), np.zeros((4, 6, 3), np.uint8)
    values[0, 5, 2], mask[0, 5, 2] = fill + 100, lesion
    return (np.stack([values + 1000 * c for c in range(channels)], -1) if channels else values), mask


@pytest.mark.parametrize("name, channels, corner", [("spleen", 0, 64), ("brain", 4, 255)])
def test_ct_by_its_window_mr_by_rank_and_masks_on_their_voxels(tmp_path, capsys, name, channels, corner):
    made_of = [body(-160 if name == "spleen" else 40, 1, channels) for _ in range(30)]
    folder = write(tmp_path / "raw", name, [v for v, _ in made_of], [m for _, m in made_of], (1, 2, 3))
    (folder / "labelsTr" / f"{name}_000.nii.gz").unlink()
    write_volume(folder / "labelsTr" / f"{name}_001.nii.gz", made_of[1][1], (1, 2, 4))  # elsewhere than its volume
    prepare(DATASETS[f"msd_{name}"], tmp_path / "raw", tmp_path / "data")
    assert "left out" in capsys.readouterr().err
    sources = [tfds(f"msd_{name}", split, tmp_path / "data") for split in ("train", "val", "test")]
    assert sum(map(len, sources)) == 28
    row = sources[0][0]
    assert row["volume"].shape == (3, 6, 4, channels or 1) and row["mask/labels"].shape == (3, 6, 4, 1)
    assert np.argwhere(row["mask/labels"][..., 0]).tolist() == [[2, 0, 3]] and (row["volume"][2, 0, 3] == corner).all()


def test_other_labels_and_lists_are_refused(tmp_path):
    folder = write(tmp_path, "spleen", [body(0, 3)[0]] * 10, [body(0, 3)[1]] * 10)
    with pytest.raises(ValueError, match="has the label 3; the last of Task09_Spleen is 1"):
        list(made(DATASETS["msd_spleen"], tmp_path, "train"))
    (folder / "dataset.json").write_text("{}")
    with pytest.raises(ValueError, match="dataset.json is no list of the Decathlon"):
        list(made(DATASETS["msd_spleen"], tmp_path, "train"))


def test_real_hippocampi_in_the_release_s_layout(shared, tmp_path):
    with np.load(shared / "data" / "msd_hippocampus" / "volumes.npz") as file:
        volumes, masks = file["images"][:40], file["masks"][:40]
    write(tmp_path, "hippocampus", [v.astype(np.float32) for v in volumes], masks)
    read = [record for split in ("train", "val", "test") for _, record in made(DATASETS["msd_hippocampus"], tmp_path, split)]
    assert len(read) == 40 and len({record["case"] for record in read}) == 40
    assert sorted(int((r["mask"] == 2).sum()) for r in read) == sorted(int((m == 2).sum()) for m in masks)
