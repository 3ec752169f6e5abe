"""Contact sheets: several pictures a row, every modality, masks, labels in words."""

import numpy as np
import pytest
from PIL import Image

from mmrep import config as cfg
from mmrep.cli import main
from mmrep.data import panels
from mmrep.data.example import MODALITIES
from mmrep.data.manifest import manifest
from mmrep.data.show import show_augmented, show_rows
from mmrep.data.sources import arrays
from tests import runs


def drawn(row, present, names=None):
    """Which picture, and how many lines, bars, texts and mask contours each panel of a row has."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots()
    panels.draw(ax, row, present, names)
    found = [{"lines": len(a.lines), "boxes": len(a.patches), "contours": len(a.collections), "texts": [t.get_text() for t in a.texts],
              "shape": a.images[0].get_array().shape if a.images else None} for a in ax.child_axes]
    plt.close(fig)
    return dict(zip(panels.panels(row), found))


def test_every_modality_has_a_panel_with_what_marks_it():
    rng = np.random.default_rng(0)
    lesion = np.zeros((6, 8, 8, 1), np.uint8)
    lesion[4, 2:5, 2:5] = 1
    row = {"image": rng.integers(0, 255, (8, 9, 3), np.uint8), "volume": rng.normal(size=(6, 8, 8, 1)).astype(np.float32),
           "mask/lesion": lesion, "signal": rng.normal(size=(50, 3)), "features": np.ones(7), "tabular": np.array([60.0, 27.5]),
           "category": np.array([1, 2]), "label/boxes": np.array([[0.1, 0.1, 0.5, 0.5], [0, 0, 0, 0]]), "index": 0}
    found = drawn(row, dict.fromkeys(MODALITIES, True))
    assert found["image"]["shape"] == (8, 9, 3) and found["image"]["boxes"] == 1
    assert found["volume"]["shape"] == (8, 8) and found["volume"]["contours"] == 1, "the slice in which the lesion is"
    assert found["signal"]["lines"] == 3 and found["features"]["boxes"] == 7 and "60 27.5" in found["tabular"]["texts"][0]
    named = drawn(row, dict.fromkeys(MODALITIES, True), {"tabular": ["age", "a_very_long_name_of_bmi"],
                                                         "category": {"sex": ["<null>", "F"], "smoking": ["<null>", "never", "former"]}})
    assert named["tabular"]["texts"] == ["age  60\na_very_long_name_\u2026  27.5\nsex  F\nsmoking  former"]
    absent = drawn({**row, "signal": None}, {**dict.fromkeys(MODALITIES, True), "signal": False, "volume": False})
    assert absent["signal"]["texts"] == ["no signal"] and absent["volume"]["texts"] == ["no volume"]


def test_samples_stand_side_by_side_at_one_height():
    frontal, lateral = np.full((10, 8, 1), 200, np.uint8), np.full((5, 5, 1), 90, np.uint8)
    assert drawn({"image": [frontal, lateral]}, {"image": True})["image"]["shape"] == (10, 18)
    study = np.stack([frontal, frontal * 0])
    strip = panels._strip(list(study), np.array([True, False]))
    assert (strip[:, :8] == 200).all() and (strip[:, 8:] == 127).all(), "an absent one is gray, not black"
    assert drawn({"image": study}, {"image": np.array([True, False])})["image"]["texts"] == []
    assert drawn({"image": study}, {"image": np.array([False, False])})["image"]["texts"] == ["no image"]


def test_rows_of_several_pictures_are_drawn_from_a_table(tmp_path):
    for n in range(4):
        Image.new("L", (8 + n, 10), 60 * n).save(tmp_path / f"f{n}.png")
        Image.new("L", (6, 6), 60 * n).save(tmp_path / f"l{n}.png")
    rows = "".join(f"f{n}.png,{'' if n == 1 else f'l{n}.png'},clear,{n},{-1 if n else 1},train\n" for n in range(4))
    (tmp_path / "t.csv").write_text("frontal,lateral,report,edema,nodule,split\n" + rows.replace(",2,", ",0,").replace(",3,", ",1,"))
    source = manifest(tmp_path / "t.csv", "train", columns={"image": ["frontal", "lateral"], "text": "report",
                                                            "label": {"findings": ["edema", "nodule"]}})
    assert panels.labels(source[0], {"label/findings": ["edema", "nodule"]}) == "findings nodule"
    assert panels.labels(source[1], {"label/findings": ["edema", "nodule"]}) == "findings edema/nodule?"
    out = show_rows({"train": source}, tmp_path / "sheet.png")
    with Image.open(out) as sheet:
        assert np.asarray(sheet.convert("L")).std() > 5
    with pytest.raises(ValueError, match="write to a .png file"):
        show_rows({"train": arrays(text=["a"])}, tmp_path / "sheet.jpg")


def test_augmentations_stand_beside_their_row(tmp_path):
    config = cfg.load(f"{runs.ROOT / 'configs' / 'recipes.py'}:recipe=convirt,smoke", [])
    (source,) = [stream.source for stream in config.data.values()]
    assert source.name == "phantom"
    out = show_augmented(config, tmp_path / "a.png", 3, rows=2)
    with Image.open(out) as sheet:
        wide = sheet.size[0]
    show_augmented(config, tmp_path / "b.png", 1, rows=2)
    with Image.open(tmp_path / "b.png") as sheet:
        assert wide == 2 * sheet.size[0]  # a row, then its augmentations
    for arguments, message in (((tmp_path / "a.png", 0), "--times 0"), ((tmp_path / "a.jpg", 2), "write to a .png file")):
        with pytest.raises(ValueError, match=message):
            show_augmented(config, *arguments)
    assert main(["data", "show", str(tmp_path), "--times", "2"]) == 2
