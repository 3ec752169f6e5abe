"""The configs that ship, and the README's own code, run as they stand."""

import re

import pytest

from mmrep import config as cfg
from mmrep.objectives import OBJECTIVES
from mmrep.train import train
from tests import runs

CONFIGS = sorted(p.name for p in (runs.ROOT / "configs").glob("*.py") if p.name != "base.py")


@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_has_a_smoke_argument_that_runs_to_its_results(name, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    results = train(cfg.load(f"{runs.ROOT / 'configs' / name}:smoke", ["eval.controls=()"]), tmp_path / "w", say=lambda text: None)
    assert (tmp_path / "w" / "figure.png").is_file() and results["seconds"]["train"] > 0
    assert bool(results["metrics"]) == (not name.startswith("bench_")), results["left_out"]


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
