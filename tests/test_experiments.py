"""The studies that can be reproduced: whole, checked, honest about what was run; drawn at smoke scale; their paper presets traced."""

import json
import zlib
from pathlib import Path

import jax
import pytest

from mmrep import config as cfg
from mmrep.evals.suite import Suite
from mmrep.hyper import group_key
from mmrep.run import assemble, batch_like
from mmrep.sweeps import plan, results
from mmrep.sweeps.assertions import judge, read_expected, text_of
from mmrep.sweeps.reproduce import MARK, figure_of, listed, recorded, reproduce, studies
from mmrep.sweeps.status import folder_of
from mmrep.sweeps.style import STYLE
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
        assert all(v["ok"] for v in found["verdicts"] if v["kind"] in ("THEOREM", "PUBLISHED", "control"))
        assert found["seeds"] == list(plan.load_study(folder, found["scale"]).seeds)
        tests = {one["id"]: one for one in expected["assertions"]}
        texts = {one["id"]: text_of(tests[one.get("of", one["id"])] | {"quantity": one["quantity"]})
                 for one in [*expected["assertions"], *expected["controls"]]}
        assert {v["id"]: v["text"] for v in found["verdicts"]} == texts  # no threshold was moved after the run
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


def metrics_of(study, found):
    """{run's name: the metrics that its evaluators give}, without training; of a simulation, those of its first run."""
    if study.simulate:
        return dict.fromkeys((m.name for m in found), list(study.simulate(found[0].config["point"], found[0].seed)))
    names, out = {}, {}
    for member in found:
        config = member.config
        source = cfg.plain(config.data.main.source)
        kind = cfg.digest([cfg.plain(config.evals), sorted(config.encoders), source["name"], source.get("mode")])
        if kind not in names:
            names[kind] = list(Suite(assemble(config)).names("test"))
        out[member.name] = names[kind]
    return out


def any_number(name):
    return {"value": 0.2 + zlib.crc32(name.encode()) / 2**33, "low": 0, "high": 1, "n": 9}


def pretended(study, out):
    """The table of results of a study none of whose runs ran: in every run's folder a number of every metric."""
    found = plan.members(study)
    plan.write_plan(study, found, out)
    metrics = metrics_of(study, found)
    for member, run in zip(found, plan.read_plan(out)["runs"]):
        folder, controls = folder_of(out, run), [] if study.simulate else list(member.config.eval.controls)
        numbers = {control: {name: any_number(f"{member.name}/{control}/{name}") for name in metrics[member.name]}
                   for control in ("", *controls)}
        folder.mkdir(parents=True)
        trained = numbers.pop("")
        (folder / "results.json").write_text(json.dumps({
            "metrics": trained, "controls": numbers, "split": "test", "step": 9, "config_hash": "",
            "seconds": {"train": 1, "evaluate": 1}}))
        (folder / "metrics.jsonl").write_text("".join(json.dumps({"step": n, "loss": 1.0, "time": float(n)}) + "\n" for n in (1, 2, 3)))
    results.write(*results.collect(out), out)
    return results.read(out)


@pytest.mark.slow
@pytest.mark.parametrize("name, scale", [(f.name, "paper") for f in FOLDERS] + [
    (f.name, "small") for f in FOLDERS if not (f / "recorded.json").is_file()])  # what is recorded was judged
def test_every_preset_can_be_judged(name, scale, tmp_path):
    """What its runs will measure is what figure.py reads and expected.json asks for: seen in seconds, not after the training."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder = ROOT / "experiments" / name
    rows = pretended(plan.load_study(folder, scale), tmp_path)
    figure, expected = figure_of(folder), read_expected(folder / "expected.json")
    verdicts = judge(expected, figure.measure(rows), scale)
    judged = [v for v in verdicts if v.verdict != "NOT RUN"]
    assert any(v.kind != "control" for v in judged) and any(v.kind == "control" for v in judged)
    with plt.rc_context(STYLE):
        plt.close(figure.draw(rows))


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
