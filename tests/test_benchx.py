"""configs/benchx.py on sets prepared from tiny generated folders, as a user with access runs it."""

import numpy as np
import pytest

from mmrep import config as cfg
from mmrep.data.audit.source import open_splits
from mmrep.data.builders import DATASETS
from mmrep.data.builders.base import prepare
from mmrep.data.builders.vindr_cxr import BENCHX_FINDINGS, FINDINGS
from mmrep.evaluate import evaluate
from mmrep.train import train
from tests import runs
from tests.data.builders.folders import write_picture, write_table
from tests.data.builders.radiographs import write_dicom, write_lists
from tests.data.builders.test_five_by_200 import write_mimic
from tests.data.builders.test_rsna_pneumonia import INFO, LABELS
from tests.data.builders.test_vindr_cxr import BOXES, TEST_BOXES, TEST_LABELS
from tests.data.builders.test_vindr_cxr import LABELS as VINDR_LABELS

NAMES = [f"{n:032x}" for n in range(28)]
PARTS = {"train": NAMES[:16], "train_10": NAMES[:10], "train_1": NAMES[2:10], "val": NAMES[16:22], "test": NAMES[22:]}


def write_rsna(raw):
    """Every second image with a box."""
    well, ill = ["", "", "", "", 0], [1, 1, 5, 5, 1]
    write_table(raw / "stage_2_train_labels.csv", LABELS, [[name, *(well, ill)[n % 2]] for n, name in enumerate(NAMES)])
    kinds = [[name, ("Normal", "Lung Opacity")[n % 2]] for n, name in enumerate(NAMES)]
    write_table(raw / "stage_2_detailed_class_info.csv", INFO, kinds)
    for n, name in enumerate(NAMES):
        write_dicom(raw / "stage_2_train_images" / f"{name}.dcm", np.full((20, 20), 9 * n, np.uint8))
    write_lists(raw, **PARTS)


def write_vindr(raw):
    """One finding of BenchX's an image, boxed by one of three radiologists; pictures of two sizes."""
    none = [0.0] * (len(FINDINGS) - 1) + [1.0]
    for part, names in (("train", NAMES[:22]), ("test", NAMES[22:])):
        who = [["R1"], ["R2"], ["R3"]] if part == "train" else [[]]
        boxes = [[name, *who[0], BENCHX_FINDINGS[n % 14], 1, 1, 5, 5] for n, name in enumerate(names)]
        write_table(raw / "annotations" / f"annotations_{part}.csv", BOXES if part == "train" else TEST_BOXES, boxes)
        write_table(raw / "annotations" / f"image_labels_{part}.csv", VINDR_LABELS if part == "train" else TEST_LABELS,
                    [[name, *by, *none] for name in names for by in who])
        for n, name in enumerate(names):
            pixels = np.arange(30 * (20 + n % 2), dtype=np.uint16).reshape(30, -1)
            write_dicom(raw / part / f"{name}.dicom", pixels, BitsStored=12, HighBit=11)
    write_lists(raw, **PARTS)


def write_covidx(raw):
    """Every second image positive."""
    for part in ("train", "val", "test"):
        lines = []
        for name in PARTS[part]:
            n = NAMES.index(name)
            write_picture(raw / part / f"{name}.png", 9 * n, "L")
            lines.append(f"{n} {name}.png {('negative', 'positive')[n % 2]} rsna\n")
        (raw / f"{part}.txt").write_text("".join(lines))
    write_lists(raw, **{split: [f"train/{name}.png" for name in names] for split, names in PARTS.items()})


WRITE = {"rsna": ("rsna_pneumonia", write_rsna), "vindr": ("vindr_cxr", write_vindr), "covidx": ("covidx", write_covidx)}


@pytest.mark.parametrize("task, share, rows", [("rsna", 100, 16), ("rsna", 1, 8), ("vindr", 10, 10), ("covidx", 10, 10)])
def test_a_task_of_the_protocol_trains_on_its_share_and_is_judged_on_its_test(tmp_path, task, share, rows):
    name, write = WRITE[task]
    write(tmp_path / "raw")
    prepare(DATASETS[name], tmp_path / "raw", tmp_path / "data")
    config = cfg.load(f"{runs.ROOT / 'configs' / 'benchx.py'}:task={task},share={share},data_dir={tmp_path / 'data'},smoke")
    opened, _ = open_splits(cfg.plain(config.data.main))
    assert {split: len(source) for split, source in opened.items()} == {"train": rows, "val": 6, "test": 6}
    results = train(config, tmp_path / "run", say=lambda text: None)
    label = next(iter(config.objectives.classify.heads))
    assert results["metrics"][f"supervised/{label}/auroc"]["n"] == 6 and "untrained" in results["controls"], results["left_out"]


def test_the_protocol_itself_is_fixed():
    config = cfg.load(f"{runs.ROOT / 'configs' / 'benchx.py'}:task=vindr,share=1,data_dir=data")
    assert (config.seed, config.total, config.optim.lr, config.optim.name, config.data.main.batch) == (42, "3000 steps", 3e-2, "sgd", 64)
    assert cfg.plain(config.data.main.source.splits) == {"train": "train_1"} and config.save.metric == "val/supervised/benchx/auroc"
    with pytest.raises(ValueError, match="task must be one of covidx, rsna, siim, vindr, nih and share 1, 10 or 100, got rsna, 5"):
        cfg.load(f"{runs.ROOT / 'configs' / 'benchx.py'}:share=5")


def test_retrieval_on_mimic_5x200_of_a_run_on_another_set(tmp_path):
    for name, write in (("covidx", write_covidx), ("mimic_5x200", write_mimic)):
        write(tmp_path / name)
        prepare(DATASETS[name], tmp_path / name, tmp_path / "data")
    source = {"name": "tfds", "dataset": "covidx", "data_dir": str(tmp_path / "data"), "columns": {"image": "image", "text": "source"}}
    train(cfg.load(f"{runs.ROOT / 'configs' / 'clip_table.py'}:smoke",
                   [f"data.main.source={source}", "data.main.batch=8", "eval.controls=()"]), tmp_path / "run", say=lambda text: None)
    columns = DATASETS["mimic_5x200"].columns
    metrics = evaluate(tmp_path / "run", {"dataset": "mimic_5x200", "columns": str({k: v for k, v in columns.items() if k != "label"})},
                       say=lambda text: None, overlap="allow")["metrics"]
    hits = [metrics[f"retrieval/image_to_text/R@{k}/group"] for k in (1, 5, 10)]
    assert [hit["n"] for hit in hits] == [25] * 3 and 0 <= hits[0]["value"] <= hits[1]["value"] <= hits[2]["value"]
    assert hits[2]["value"] > metrics["retrieval/image_to_text/R@10/instance"]["value"]  # of the finding, not of the image
