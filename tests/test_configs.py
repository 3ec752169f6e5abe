"""The configs that ship, and the README's own code, run as they stand."""

import re

import numpy as np
import pytest
from PIL import Image

from mmrep import config as cfg
from mmrep.data.builders import DATASETS
from mmrep.data.builders.base import prepare
from mmrep.objectives import OBJECTIVES
from mmrep.train import train
from tests import runs
from tests.data.builders.test_medmnist import write

CONFIGS = sorted(p.relative_to(runs.ROOT / "configs").as_posix() for p in (runs.ROOT / "configs").rglob("*.py") if p.name != "base.py")


@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_has_a_smoke_argument_that_runs_to_its_results(name, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    results = train(cfg.load(f"{runs.ROOT / 'configs' / name}:smoke", ["eval.controls=()"]), tmp_path / "w", say=lambda text: None)
    assert (tmp_path / "w" / "figure.png").is_file() and results["seconds"]["train"] > 0
    assert bool(results["metrics"]) == (not name.startswith("bench_")), results["left_out"]


def smoke(name, arg, tmp_path):
    config = cfg.load(f"{runs.ROOT / 'configs' / name}:{arg},smoke", ["eval.controls=()"])
    return config, train(config, tmp_path / "w", say=lambda text: None)["metrics"]


def test_clip_table_takes_several_pictures_a_row(tmp_path):
    rng = np.random.default_rng(0)
    lines = ["frontal,lateral,report,finding,case,split"]
    for n in range(72):
        for view in ("f", "l"):
            Image.fromarray(rng.integers(0, 255, (20, 24 if view == "f" else 16), np.uint8)).save(tmp_path / f"{view}{n}.png")
        split = "train" if n < 40 else "val" if n < 48 else "test"
        lines.append(f"{'' if n % 4 == 1 else f'f{n}.png'},{'' if n % 4 == 2 else f'l{n}.png'},words {n},{n % 2},{n},{split}")
    (tmp_path / "t.csv").write_text("\n".join(lines))
    arg = f"path={tmp_path / 't.csv'},image=frontal+lateral,text=report,label=finding,case=case,batch=40"
    config, metrics = smoke("clip_table.py", arg, tmp_path)
    assert config.data.main.batch == 40 and metrics["retrieval/image_to_text/R@1/instance"]["n"] == 24
    table = tmp_path / "t.csv"
    table.write_text(table.read_text().replace("f60.png,l60.png", ","))
    assert train(config, tmp_path / "again", say=lambda text: None)["metrics"]["retrieval/image_to_text/R@1/instance"]["n"] == 23


def test_finetune_takes_a_prepared_data_set_by_its_name(tmp_path):
    write(tmp_path / "raw", "retinamnist", 28, n=24)
    prepare(DATASETS["retinamnist"], tmp_path / "raw", tmp_path / "data")
    config, metrics = smoke("finetune.py", f"tfds=retinamnist,data_dir={tmp_path / 'data'}", tmp_path)
    assert config.objectives.classify.heads.to_dict() == {"label": {"kind": "ce", "classes": 5}}
    assert config.save.metric == "val/supervised/label/auroc" and any("supervised/label" in name for name in metrics)
    with pytest.raises(ValueError, match="label 'grade' of retinamnist has no named classes"):
        cfg.load(f"{runs.ROOT / 'configs' / 'finetune.py'}:tfds=retinamnist,data_dir={tmp_path / 'data'},label=grade", [])


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["gloria", "mgca", "cxr_clip", "biovil", "multi_crop", "nnunet", "ecg", "table"])
def test_every_recipe_runs_on_the_phantom(recipe, tmp_path):
    config = cfg.load(f"{runs.ROOT / 'configs' / 'recipes.py'}:recipe={recipe},smoke", ["eval.controls=()"])
    assert train(config, tmp_path / "w", say=lambda text: None)["metrics"]


def test_the_objective_of_the_readme_is_one(tmp_path, monkeypatch):
    text = (runs.ROOT / "README.md").read_text()
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", text, re.S) if "def align(" in block]
    found: dict = {}
    exec(code, found)
    monkeypatch.setitem(OBJECTIVES, "align", found["align"])
    objectives = runs.CLIP | {"align": {"name": "align", "weight": 0.1, "from": "50%"}}
    train(runs.config(objectives=objectives, **{"total": "4 steps"}), tmp_path, say=lambda text: None)
    losses = [row.get("align/loss") for row in runs.rows(tmp_path)]
    assert losses[0] is losses[1] is None and 0 < losses[2] < 4 and 0 < losses[3] < 4
