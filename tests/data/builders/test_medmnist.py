import numpy as np
import pytest

from mmrep.data.builders import DATASETS
from mmrep.data.builders.base import made, prepare
from mmrep.data.builders.medmnist import MEDMNIST, SETS
from mmrep.data.tfds import tfds

ARRAYS = ("train_images", "train_labels", "val_images", "val_labels", "test_images", "test_labels")


def write(folder, name, size, n=4, **changed):
    """NAME(_SIZE).npz as the release holds it: images u8[n, ...], labels u8[n, 1] (or [n, 14])."""
    channels, classes = SETS[name]
    shape = (size,) * 3 if name.endswith("3d") else (size, size, 3) if channels == 3 else (size, size)
    rng = np.random.default_rng(0)
    arrays = {}
    for split in ("train", "val", "test"):
        arrays[f"{split}_images"] = rng.integers(0, 255, (n, *shape), np.uint8)
        arrays[f"{split}_labels"] = rng.integers(0, 2, (n, len(classes) if name == "chestmnist" else 1), np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / f"{name}{'' if size == 28 else f'_{size}'}.npz", **arrays | changed)
    assert tuple(arrays) == ARRAYS
    return arrays


@pytest.mark.parametrize("name, size", [("pathmnist", 28), ("chestmnist", 64), ("organmnist3d", 28)])
def test_every_pixel_and_label_comes_back(tmp_path, name, size):
    arrays = write(tmp_path / "raw", name, size)
    dataset = DATASETS[name if size == 28 else f"{name}_{size}"]
    prepare(dataset, tmp_path / "raw", tmp_path / "data")
    for split in ("train", "val", "test"):
        source = tfds(dataset.name, split, tmp_path / "data")
        key = "volume" if name.endswith("3d") else "image"
        label = "label/findings" if name == "chestmnist" else "label/label"
        seen = sorted((np.ravel(row[key]).tolist(), np.ravel(row[label]).tolist()) for row in (source[i] for i in range(len(source))))
        want = sorted((np.ravel(image).tolist(), said.tolist())
                      for image, said in zip(arrays[f"{split}_images"], arrays[f"{split}_labels"]))
        assert seen == want
    assert len(source.label_names["findings" if name == "chestmnist" else "label"]) == len(SETS[name][1])


def test_there_are_sixty_sets():
    assert len(MEDMNIST) == 12 * 4 + 6 * 2 and {"pneumoniamnist", "pneumoniamnist_224", "nodulemnist3d_64"} <= set(DATASETS)


@pytest.mark.parametrize("changed, message", [
    ({"train_images": np.zeros((4, 28, 28), np.float32)}, r"train_images of .*pneumoniamnist.npz is float32\[4, 28, 28\], not uint8"),
    ({"train_images": np.zeros((3, 28, 28), np.uint8)}, "not uint8"),
    ({"train_labels": np.full((4, 1), 2, np.uint8)}, "train_labels of .* not the set's"),
    ({"train_labels": np.array([{}] * 4)}, "holds Python objects")])
def test_other_arrays_are_refused(tmp_path, changed, message):
    write(tmp_path / "raw", "pneumoniamnist", 28, **changed)
    with pytest.raises(ValueError, match=message):
        list(made(DATASETS["pneumoniamnist"], tmp_path / "raw", "train"))


def test_the_real_pneumoniamnist(shared, tmp_path):
    """5,856 pictures in the official splits; the file as the release names it, in another order within train."""
    read = {split: list(made(DATASETS["pneumoniamnist"], shared / "data" / "pneumoniamnist", split)) for split in ("train", "val", "test")}
    assert {split: len(rows) for split, rows in read.items()} == {"train": 4708, "val": 524, "test": 624}
    assert sum(record["label"] for _, record in read["train"]) == 3494
