"""Configs: overrides, errors that name the key, durations, snapshots, stages."""

import pytest

from mmrep import config as cfg
from tests.tiny import ROOT

QUICK = str(ROOT / "configs" / "quickstart.py")


@pytest.mark.parametrize("override,message", [
    ("optim.lrr=1", "config.optim.lrr: unknown key; did you mean 'lr'"),
    ("optm.lr=1", "config.optm: unknown key; did you mean 'optim'"),
    ("lr=1", "config.lr: unknown key; did you mean config.optim.lr?"),
    ("batch_size=64", "config.batch_size: unknown key; did you mean config.data.main.batch or config.eval.batch?"),
    ("optim.lr=abc", "config.optim.lr: 'abc' is no float, such as 0.002"),
    ("seed=1.5", "config.seed: 1.5 is no int"),
    ("log.tensorboard=1", "config.log.tensorboard: 1 is no bool"),
    ("encoders.image.width=a", "config.encoders.image.width: 'a' is no int"),
    ("objectives.clipp.weight=2", "config.objectives.clipp: unknown key; did you mean 'clip'"),
    ("data.main=3", "config.data.main: is a dict; set one of its keys: batch, source"),
    ("optim={'lr': 1}", "config.optim: set its keys one by one"),
    ("seed.x=3", "config.seed: has no key 'x': it is 0"),
    ("seed", "write --config.key=value")])
def test_bad_overrides_name_the_key(override, message):
    with pytest.raises(ValueError) as caught:
        cfg.load(QUICK, [override])
    assert message in str(caught.value)


def test_good_overrides_keep_types():
    c = cfg.load(QUICK + ":smoke", ["optim.lr=1", "optim.kwargs.b1=0.8", "encoders.image.pool=mean", "total=3 epochs",
                                    "objectives.clip.temperature=0.1", "evals.again={'name': 'retrieval'}", "rules=()",
                                    "log.tensorboard=true"])
    assert type(c.optim.lr) is float and c.optim.kwargs.b1 == 0.8 and c.objectives.clip.temperature == 0.1
    assert c.evals.again.name == "retrieval" and c.rules == () and c.total == "3 epochs" and c.log.tensorboard is True
    again = cfg.from_json(cfg.to_json(c))
    assert cfg.diff(c, again) == {} and cfg.digest(c) == cfg.digest(again)
    with again.unlocked():
        again.optim.lr = 2.0
    assert cfg.diff(c, again) == {"optim.lr": (1.0, 2.0)} and cfg.digest(c) != cfg.digest(again)


@pytest.mark.parametrize("body,message", [
    ("    c.optim.lrr = 1.0\n", "config.optim.lrr: unknown key; did you mean 'lr'"),
    ("    c.total = 5\n", "line 4: TypeError"),
    ("    c.optm.lr = 1.0\n", "line 4: AttributeError"),
    ("    c.tootal = '5 steps'\n", "config.tootal: unknown key; did you mean 'total'"),
    ("    c.evals = 3\n", "config c.py line 4"),
    ("    import nothing_like_it\n", "line 4: ModuleNotFoundError"),
    ("    )\n", "line 4: SyntaxError")])
def test_mistakes_in_a_config_file_name_the_line(tmp_path, body, message):
    (tmp_path / "base.py").write_text((ROOT / "configs" / "base.py").read_text())
    file = tmp_path / "c.py"
    file.write_text("import base\ndef get_config():\n    c = base.get_config()\n" + body + "    return c\n")
    with pytest.raises(ValueError) as caught:
        cfg.load(str(file))
    assert message.replace("c.py", str(file)) in str(caught.value) and "\n" not in str(caught.value)


def test_a_config_may_import_its_neighbors_anywhere(tmp_path):
    (tmp_path / "base.py").write_text((ROOT / "configs" / "base.py").read_text())
    (tmp_path / "late.py").write_text("def get_config():\n    import base\n    c = base.get_config()\n    c.tootal = 1\n    return c\n")
    with pytest.raises(ValueError, match="config.tootal: unknown key"):  # and base's keys are known then, too
        cfg.load(str(tmp_path / "late.py"))


def test_missing_files_and_arguments():
    with pytest.raises(FileNotFoundError, match="no such file; did you mean .*quickstart.py"):
        cfg.load(QUICK.replace("quickstart", "quickstrat"))
    with pytest.raises(ValueError, match="config argument 'smokee' is unknown; did you mean 'smoke'"):
        cfg.load(QUICK + ":smokee")


def test_built_things_check_names_kwargs_and_types():
    def thing(width: int, share: float = 0.5, kind: str = "a", pair: tuple | str = "b") -> dict:
        return locals()

    table = {"thing": thing}
    assert cfg.build(table, {"name": "thing", "share": 1}, "config.x", width=3) == {
        "width": 3, "share": 1, "kind": "a", "pair": "b"}
    for spec, message in (({"name": "thin"}, "config.x.name: unknown 'thin'; did you mean 'thing'"),
                          ({"name": "thing", "shar": 1}, "config.x.shar: thing takes no 'shar'; did you mean 'share'"),
                          ({"name": "thing", "width": "3"}, "config.x.width: '3' is no int"),
                          ({"name": "thing", "share": None}, "config.x.share: None is no float"),
                          ({"name": "thing"}, "config.x: .*width"), (3, "config.x: needs a {name, ...} dict; got 3")):
        with pytest.raises(ValueError, match=message):
            cfg.build(table, spec, "config.x")


def test_errors_inside_what_is_built_begin_with_its_path():
    def fails(kind: str = ""):
        raise {"key": KeyError("soft"), "value": ValueError("no\ngood"), "path": ValueError("config.y: bad")}[kind]

    for kind, message in (("key", "config.x: KeyError: 'soft'"), ("value", "config.x: no good"), ("path", "config.y: bad")):
        with pytest.raises(ValueError) as caught:
            cfg.build({"fails": fails}, {"name": "fails", "kind": kind}, "config.x")
        assert str(caught.value) == message


def test_durations():
    size = dict(batch=10, examples=105, total=200)
    for text, steps in (("7 steps", 7), ("3 epochs", 30), ("1e3 examples", 100), ("5%", 10), ("5 %", 10), (4, 4),
                        ("0.1%", 1), ("3 examples", 1), ("0 steps", 0), ("0%", 0)):
        assert cfg.steps(text, "config.total", **size) == steps
    for text in ("x steps", "5 step backs", "5 lightyears", "-1 steps", "", "inf steps", "nan epochs"):
        with pytest.raises(ValueError, match="config.total: .* is no duration"):
            cfg.steps(text, "config.total", **size)


def test_stage_overrides_merge_remove_and_refuse():
    c = cfg.load(QUICK)
    out = cfg.override_with(c, {"total": "5 steps", "optim": {"lr": 1}, "evals": {"probe": None},
                                "objectives": {"clip": {"temperature": 0.2}, "new": {"name": "sigmoid"}}}, "config.stages[1]")
    assert out.optim.lr == 1.0 and out.optim.wd == c.optim.wd and "probe" not in out.evals and "probe" in c.evals
    assert out.objectives.clip.name == "contrastive" and out.objectives.new.name == "sigmoid" and c.total == cfg.load(QUICK).total
    for change, message in (({"optim": {"lrr": 1}}, r"config.stages\[1\]: config.optim.lrr: unknown key"),
                            ({"total": 5}, r"config.stages\[1\]: config.total: 5 is no text"),
                            ({"optim": {"lr": "a"}}, r"config.stages\[1\]: config.optim.lr: 'a' is no float")):
        with pytest.raises(ValueError, match=message):
            cfg.override_with(c, change, "config.stages[1]")


def test_every_key_of_base_is_one_that_a_config_must_hold():
    """`cfg.NEEDED` is written out, for configs are read where configs/base.py is not."""
    def leaves(node, prefix=""):
        for key, value in node.items():
            free = prefix + key in cfg.FREE or not isinstance(value, dict)
            yield from [prefix + key] if free else leaves(value, f"{prefix}{key}.")

    from tests.tiny import base

    found = set(leaves(base().to_dict())) - {"tokenizer"} | {"tokenizer.name", "tokenizer.length"}
    assert found - set(cfg.LATER) == set(cfg.NEEDED) and set(cfg.LATER) < found
