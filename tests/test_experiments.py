"""The studies that can be reproduced: whole, checked, honest about what was run; drawn at smoke scale; their paper presets traced."""

import json
from pathlib import Path

import jax
import pytest

from mmrep.hyper import group_key
from mmrep.run import assemble, batch_like
from mmrep.sweeps import plan
from mmrep.sweeps.assertions import read_expected
from mmrep.sweeps.reproduce import MARK, figure_of, listed, recorded, reproduce, studies
from tests import runs
from tests.tiny import ROOT

FOLDERS = studies(ROOT / "experiments")
NAMES = [folder.name for folder in FOLDERS]


@pytest.fixture(autouse=True)
def root(monkeypatch):
    monkeypatch.chdir(ROOT)
    for name in ("JAX_COMPILATION_CACHE_DIR", "XLA_FLAGS"):  # workers see one device, as on a machine: eight make them slow
        monkeypatch.setenv(name, runs.environment()[name])


@pytest.mark.parametrize("name", NAMES)
def test_a_study_is_whole_and_its_numbers_are_not_typed(name):
    folder = ROOT / "experiments" / name
    expected = read_expected(folder / "expected.json")
    figure_of(folder)
    for scale in plan.SCALES:
        assert plan.load_study(folder, scale).points
    text = (folder / "README.md").read_text()
    assert f"mmrep reproduce {name}" in text and "Published" in text and MARK[0] in text
    between = text.partition(MARK[0])[2].partition(MARK[1])[0].strip("\n")
    if (folder / "recorded.json").is_file():  # the README says what the run said, to the letter
        found = json.loads((folder / "recorded.json").read_text())
        assert between == "\n".join(recorded(found)).strip("\n")
        assert {v["id"] for v in found["verdicts"]} == {one["id"] for one in [*expected["assertions"], *expected["controls"]]}
        assert all(v["ok"] for v in found["verdicts"] if v["kind"] in ("THEOREM", "PUBLISHED", "control"))
        texts = {one["id"]: one for one in expected["assertions"]}
        for v in found["verdicts"]:  # no threshold was moved after the run
            if v["id"] in texts:
                assert f"{texts[v['id']]['value']:g}" in v["text"]
    else:
        assert between == ""


def test_the_list_has_every_study():
    assert [one["study"] for one in listed("small")] == NAMES and len(NAMES) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_study_runs_and_draws_at_smoke_scale(name, tmp_path):
    said = []
    found = reproduce(name, "smoke", tmp_path, workers=1, say=said.append)
    assert all(v["ok"] for v in found["verdicts"]) and (tmp_path / "figure.pdf").stat().st_size > 3000
    assert (tmp_path / "figure.png").stat().st_size > 10_000 and found["measured"]


@pytest.mark.slow
@pytest.mark.parametrize("name", [f.name for f in FOLDERS if not plan.load_study(f).simulate])
def test_the_paper_preset_traces(name):
    study = plan.load_study(Path("experiments") / name, "paper", ROOT)
    first = {}
    for member in plan.members(study._replace(seeds=study.seeds[:1])):
        first.setdefault(group_key(member.config), member.config)
    for config in list(first.values())[:3] + list(first.values())[-1:]:
        run = assemble(config)
        batches = {n: batch_like(spec, config.data[n].batch) for n, spec in run.specs.items()}
        state, metrics = jax.eval_shape(run.step, run.shapes, batches, run.hp)
        assert metrics["loss"].shape == () and jax.tree.structure(state.params) == jax.tree.structure(run.shapes.params)
