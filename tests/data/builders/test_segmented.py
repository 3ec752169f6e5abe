import numpy as np
import pytest

from mmrep.data.builders.segmented import AMOS, BRATS, BTCV, voxel_labels
from mmrep.data.medical.nifti import read_nifti
from mmrep.data.sources import BadRow
from tests.data.builders.folders import prepared, write_volume


def volume(fill: float, lesion: int) -> tuple[np.ndarray, np.ndarray]:
    image, mask = np.full((4, 6, 3), fill, np.float32), np.zeros((4, 6, 3), np.uint8)
    image[0, 5, 2], mask[0, 5, 2] = fill + 100, lesion  # left, front, top
    return image, mask


def test_btcv_tests_on_the_twelve_of_transunet_and_keeps_masks_on_their_voxels(tmp_path):
    base = tmp_path / "raw" / "RawData" / "Training"
    for n in (1, 5, 6, 7, 9, 10, 21, 23, 24, 26, 38):
        image, mask = volume(-160, 13)
        write_volume(base / "img" / f"img{n:04d}.nii.gz", image, (1, 2, 3))
        write_volume(base / "label" / f"label{n:04d}.nii.gz", mask, (1, 2, 3))
    found = prepared(BTCV, tmp_path)
    assert sorted(int(r["case"]) for r in found["test"]) == [1, 38]
    one = found["test"][0]
    assert one["volume"].shape == (3, 6, 4, 1) and one["mask"].shape == (3, 6, 4, 1) and one["spacing"].tolist() == [3, 2, 1]
    assert np.argwhere(one["mask"][..., 0]).tolist() == np.argwhere(one["volume"][..., 0]).tolist() == [[2, 0, 3]]
    assert one["mask"].max() == 13


def test_amos_scales_ct_by_a_window_and_mr_by_rank(tmp_path):
    for part, numbers in (("Tr", range(1, 25)), ("Va", (8, 507))):
        for n in numbers:
            image, mask = volume(40, 15)
            write_volume(tmp_path / "raw" / f"images{part}" / f"amos_{n:04d}.nii.gz", image)
            write_volume(tmp_path / "raw" / f"labels{part}" / f"amos_{n:04d}.nii.gz", mask)
    found = prepared(AMOS, tmp_path)
    assert len(found["train"]) + len(found["val"]) == 24 and found["val"]
    ct, mr = sorted(found["test"], key=lambda r: r["case"])
    assert (ct["modality"], mr["modality"]) == (0, 1)
    assert ct["volume"].min() == 128 and mr["volume"].min() == 0 and mr["volume"].max() == 255


def test_brats_stacks_four_sequences_and_closes_the_gap_in_its_labels(tmp_path):
    for n in range(30):
        case = f"BraTS2021_{n:05d}"
        for k, name in enumerate(("t1", "t1ce", "t2", "flair")):
            write_volume(tmp_path / "raw" / case / f"{case}_{name}.nii.gz", volume(100 * (k + 1), 0)[0])
        write_volume(tmp_path / "raw" / case / f"{case}_seg.nii.gz", volume(0, 4)[1])
    found = prepared(BRATS, tmp_path)
    cases = [r for split in found.values() for r in split]
    assert len(cases) == 30 and all(found.values())
    assert all(r["volume"].shape == (3, 6, 4, 4) and r["mask"].max() == 3 for r in cases)


def test_a_label_that_brats_does_not_have_is_refused(tmp_path):
    case = "BraTS2021_00000"
    for name in ("t1", "t1ce", "t2", "flair", "seg"):
        write_volume(tmp_path / "raw" / case / f"{case}_{name}.nii.gz", volume(0, 3)[1])
    with pytest.raises(ValueError, match="seg.nii.gz has the labels"):
        prepared(BRATS, tmp_path)


def test_an_organ_that_the_set_does_not_have_is_refused(tmp_path):
    image, mask = volume(0, 14)
    write_volume(tmp_path / "raw" / "RawData" / "Training" / "img" / "img0005.nii.gz", image)
    write_volume(tmp_path / "raw" / "RawData" / "Training" / "label" / "label0005.nii.gz", mask)
    with pytest.raises(ValueError, match="label0005.nii.gz has the label 14; the last of the set is 13"):
        prepared(BTCV, tmp_path)


def test_labels_that_lie_elsewhere_than_their_volume_are_left_out(tmp_path):
    image, mask = volume(0, 1)
    write_volume(tmp_path / "image.nii.gz", image, (1, 2, 3))
    write_volume(tmp_path / "mask.nii.gz", mask, (1, 2, 3.5))
    _, about = read_nifti(tmp_path / "image.nii.gz")
    assert voxel_labels(tmp_path / "image.nii.gz", image.shape, about).shape == image.shape
    with pytest.raises(BadRow, match="mask.nii.gz lies up to 1 mm off its volume, .*; resample it onto"):
        voxel_labels(tmp_path / "mask.nii.gz", image.shape, about)
    with pytest.raises(ValueError, match=r"mask.nii.gz has shape \(4, 6, 3\), its volume \(4, 6, 4\)"):
        voxel_labels(tmp_path / "mask.nii.gz", (4, 6, 4), about)
