import numpy as np
import pytest

from mmrep.data.builders.chest_xray import box_mask
from mmrep.data.builders.rsna_pneumonia import RSNA_PNEUMONIA
from mmrep.data.tfds import tfds
from mmrep.data.transforms.geometry import resize
from mmrep.data.transforms.laterality import flip
from tests.data.builders.folders import write_table
from tests.data.builders.radiographs import every_split, write_dicom, write_lists

LABELS = "patientId,x,y,width,height,Target"
INFO = "patientId,class"
NAMES = [f"{n:08x}-28d2-4a58-8b5e-2c5b5f1b0e{n:02d}" for n in range(6)]


def write_folder(raw):
    """Six images: the first without pneumonia and not normal, the others with two boxes of which one leaves the image."""
    labels, info = [[NAMES[0], "", "", "", "", 0]], [[NAMES[0], "No Lung Opacity / Not Normal"]]
    for name in NAMES[1:]:
        labels += [[name, "2.0", "1.0", "3.0", "4.0", 1], [name, "6.0", "6.0", "9.0", "1.0", 1]]
        info += [[name, "Lung Opacity"]] * 2
    write_table(raw / "stage_2_train_labels.csv", LABELS, labels)
    write_table(raw / "stage_2_detailed_class_info.csv", INFO, info)
    for n, name in enumerate(NAMES):
        write_dicom(raw / "stage_2_train_images" / f"{name}.dcm", np.full((10, 8), 40 * n, np.uint8))
    write_lists(raw, train=NAMES[:4], train_10=NAMES[:2], train_1=NAMES[1:2], val=NAMES[4:5], test=NAMES[5:])


def test_rsna_keeps_boxes_as_fractions_their_mask_and_the_splits_of_benchx(tmp_path):
    write_folder(tmp_path / "raw")
    found = every_split(RSNA_PNEUMONIA, tmp_path)
    assert {split: sorted(int(r["image"][0, 0, 0]) // 40 for r in rows) for split, rows in found.items()} == {
        "train": [0, 1, 2, 3], "train_10": [0, 1], "train_1": [1], "val": [4], "test": [5]}
    [ill], well = found["test"], next(r for r in found["train"] if r["image"].max() == 0)
    assert (ill["pneumonia"], ill["kind"], well["pneumonia"], well["kind"]) == (1, 2, 0, 1)
    assert np.allclose(ill["boxes"][:3], [[0.1, 0.25, 0.5, 0.625], [0.6, 0.75, 0.7, 1], [0, 0, 0, 0]])
    mask = np.zeros((10, 8, 1), np.uint8)
    mask[1:5, 2:5] = mask[6:7, 6:8] = 1
    assert np.array_equal(ill["mask"], mask) and not well["mask"].any() and not well["boxes"].any()
    source = tfds("rsna_pneumonia", "train", tmp_path / "prepared", splits={"train": "train_1"})
    example = source[0]
    assert len(source) == 1 and source.fields == ("image",) and example["mask/pneumonia"].shape == example["image"].shape == (10, 8, 1)
    turned = flip(p=1.0)(resize((40, 32))(example, None), np.random.default_rng(0))
    assert np.array_equal(box_mask(turned["label/boxes"], 40, 32), turned["mask/pneumonia"])
    assert turned["mask/pneumonia"].sum() == 16 * 12 + 4 * 8
    assert example["label/boxes"].shape == (8, 4) and source.label_names["kind"][example["label/kind"]] == "Lung Opacity"


@pytest.mark.parametrize("break_it, told", [
    (lambda raw: (raw / "benchx" / "val.txt").write_text(f"{NAMES[0]}\nstranger\n"), "val.txt line 2 names an image that"),
    (lambda raw: (raw / "benchx" / "train_1.txt").unlink(), "no file at .*train_1.txt; put train.txt, .* of github.com/yangzhou12/BenchX"),
    (lambda raw: (raw / "stage_2_train_images" / f"{NAMES[2]}.dcm").write_bytes(b"DICM"), "train record 3: .*is no DICOM file"),
    (lambda raw: write_table(raw / "stage_2_detailed_class_info.csv", INFO, [[NAMES[0], "Normal"]]), "the class None for an image"),
    (lambda raw: write_table(raw / "stage_2_train_labels.csv", LABELS, [[name, 9, 9, 1, 1, 1] for name in NAMES]),
     "train record 1: .*box 1 is empty or outside of its image of 10x8")])
def test_rsna_tells_what_is_wrong_and_names_no_patient(tmp_path, break_it, told):
    write_folder(tmp_path / "raw")
    break_it(tmp_path / "raw")
    with pytest.raises((ValueError, FileNotFoundError), match=f"(?s)rsna_pneumonia.*{told}") as error:
        every_split(RSNA_PNEUMONIA, tmp_path)
    assert "Doe" not in str(error.value) and not (tmp_path / "prepared" / "rsna_pneumonia" / "1.0.0").exists()
