"""From a study to its runs: tags, columns, configs, and what is wrong with it in one line."""

import pytest

from mmrep.sweeps import Point, grid, named, product
from mmrep.sweeps.axes import as_point
from mmrep.sweeps.commands import split_values
from mmrep.sweeps.plan import Study, load_study, members
from tests.tiny import ROOT

PAIRS = str(ROOT / "configs" / "toys" / "pairs.py")


def study(points, seeds=(0,), **more):
    return Study("s", PAIRS + ":smoke", points, seeds, **{"baseline": {}, "family": ()} | more)


def test_every_point_and_seed_is_a_run_of_its_own_config():
    found = members(study(product(named("loss", softmax={"objectives.pair.name": "contrastive"}, sigmoid={
        "objectives.pair": {"name": "sigmoid", "bias": -5.0}}), grid({"optim.lr": (1e-3, 1e-2), "arg.content": ("4",)})), (0, 7)))
    assert [m.name for m in found[:3]] == ["loss=softmax,lr=0.001,content=4/seed0", "loss=softmax,lr=0.001,content=4/seed7",
                                           "loss=softmax,lr=0.01,content=4/seed0"]
    last = found[-1]
    assert last.axes == {"loss": "sigmoid", "lr": 0.01, "content": "4"} and last.config.seed == 7 and last.config.optim.lr == 0.01
    assert last.config.objectives.pair.to_dict() == {"name": "sigmoid", "bias": -5.0}  # of another name: the old's arguments are gone
    assert last.config.data.main.source.latent.content == 4


def test_a_seed_may_be_the_worlds_too():
    found = members(study(named("x", a={}), (3, 4), seeded=("data.main.source.seed",)))
    assert [(m.config.seed, m.config.data.main.source.seed) for m in found] == [(3, 3), (4, 4)]
    with pytest.raises(ValueError, match="config.data.mian: unknown key"):
        members(study(named("x", a={}), seeded=("data.mian.source.seed",)))


def test_columns_are_the_shortest_ends_of_their_paths():
    found = members(study(grid({"encoders.x1.activation": ("relu",), "encoders.x2.activation": ("tanh",),
                                "objectives.pair.name": ("sigmoid",)})))
    assert members(study([Point({"x": 1, "y.x": 2}, {})]))[0].axes == {"x": 1, "y.x": 2}
    assert found[0].axes == {"x1.activation": "relu", "x2.activation": "tanh", "pair": "sigmoid"}


@pytest.mark.parametrize("points, words", [
    (grid({"optim.lrr": (1e-3,)}), "config.optim.lrr: unknown key; did you mean 'lr'"),
    (grid({"opt.lr": (1e-3,)}), "config.opt: unknown key"), (grid({"optim.lr": ("fast",)}), "config.optim.lr: 'fast' is no float"),
    (grid({"optim.lr.x": (1,)}), "has no key 'x'"), (grid({"seed": (1, 2)}), "axis seed: .*--seeds"),
    ([{"config.seed": 5}], "axis seed: .*--seeds"),
    (grid({"metric": (1, 2)}), "axis metric: the table of results has a column"),
    ([Point({"a": 1}, {"optim.lr": 1e-3}), Point({"a": 1}, {"optim.lr": 1e-2})], "two runs have the tag 'a=1'"),
    ([{"tag": "x", "optim.lr": 1e-3}, {"tag": "x", "optim.lr": 1e-2}], "two runs have the tag 'x'")])
def test_what_is_wrong_with_an_axis_is_one_line(points, words):
    with pytest.raises(ValueError, match=words):
        members(study([as_point(p) for p in points]))


def test_a_baseline_must_be_one_of_the_runs():
    points = grid({"objectives.pair.name": ("sigmoid", "contrastive")})
    members(study(points, baseline={"pair": "sigmoid"}))
    for baseline, words in (({"loss": "sigmoid"}, "no axis is called 'loss'"), ({"pair": "moco"}, "valid: sigmoid, contrastive")):
        with pytest.raises(ValueError, match=words):
            members(study(points, baseline=baseline))
    mixed = named("a", x={}) + [Point({"a": "y", "b": 1}, {})]
    with pytest.raises(ValueError, match="baseline a=x, b=1: each is of some run, but no run has all of them"):
        members(study(mixed, baseline={"a": "x", "b": 1}))


@pytest.mark.parametrize("text, words", [
    ("SEEDS = 1", "has no sweep"), ("SEEDS = 1\ndef sweep(scale): return []", "needs one of CONFIG"),
    ("SEEDS = 1\nCONFIG = 'configs/toys/pairs.py'\ndef sweep(scale): return []", "gives no points"),
    ("SEEDS = (1, 1)\nCONFIG = 'x.py'\ndef sweep(scale): return [{}]", "should be one or more different"),
    ("SEEDS = 1\nCONFIG = 'x.py'\ndef sweep(scale): return [{'optim.lr': 1 / 0}]", "division by zero")])
def test_a_broken_study_is_named(tmp_path, text, words):
    (tmp_path / "sweep.py").write_text(text + "\n")
    with pytest.raises((ValueError, ZeroDivisionError), match=words):
        load_study(tmp_path)


def test_unknown_studies_and_scales_are_named_with_the_nearest():
    with pytest.raises(FileNotFoundError, match="did you mean 'cone_effect'"):
        load_study("cone_efect")
    with pytest.raises(ValueError, match="did you mean 'small'"):
        load_study("cone_effect", "smal")


def test_values_of_the_command_line_split_outside_brackets():
    assert split_values("1e-3, (1,2),{'a': 'x,y'}") == ["1e-3", "(1,2)", "{'a': 'x,y'}"] and split_values("") == []
    assert split_values("a,,b") == ["a", "", "b"]
