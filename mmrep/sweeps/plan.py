"""A sweep as a plan: which runs there are, their configs, tags and folders, and who is compared with whom."""

import importlib.util
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from mmrep import config as cfg
from mmrep.core.files import write_json
from mmrep.core.names import nearest
from mmrep.sweeps.axes import Point, as_point

SCALES = ("smoke", "small", "paper")
# columns of the table of results that no axis may be called
COLUMNS = ("run", "tag", "seed", "split", "control", "metric", "value", "low", "high", "n", "step", "config_hash", "overrides", "commit",
           "device", "seconds_train", "seconds_step", "seconds_evaluate", "seconds", "time")


class Study(NamedTuple):
    """What a `sweep.py` says. config: "FILE.py[:arg]", or "" where `simulate` makes the numbers; baseline: {axis: value} that the others
    are compared with; family: metrics of these comparisons, declared beforehand; shown: metrics of the tables (of the family, if empty);
    seeded: keys of the config that take the run's seed, too, such as the data's."""

    name: str
    config: str
    points: list[Point]
    seeds: tuple[int, ...]
    baseline: dict[str, Any]
    family: tuple[str, ...]
    shown: tuple[str, ...] = ()
    file: str = ""
    simulate: Callable | None = None
    seeded: tuple[str, ...] = ()


class Member(NamedTuple):
    """One run of a sweep: its config (of a simulation a plain dict of its settings) and its folder's name below OUT/runs."""

    tag: str
    seed: int
    axes: dict[str, Any]
    overrides: dict[str, Any]
    config: Any

    @property
    def name(self) -> str:
        return f"{self.tag}/seed{self.seed}"


def load_study(path: str | Path, scale: str = "small", root: Path | None = None) -> Study:
    """The study in a folder (its sweep.py), or of a sweep.py itself, at a scale: smoke, small or paper.

    A `sweep.py` has `sweep(scale)`, which gives points (`mmrep.sweeps.axes`) or dicts of overrides; CONFIG, a config file below the
    project's root, or `simulate(point, seed) -> {metric: number}`; SEEDS, {scale: number of seeds}, or one number; and, for comparisons,
    BASELINE, FAMILY and SHOWN. SEEDED: keys that take the run's seed, such as ("data.main.source.seed",), where every seed is a world of
    its own, not a start alone. Raises FileNotFoundError or ValueError naming the file and what is wrong with it.
    """
    file = find_study(path)
    if scale not in SCALES:
        raise ValueError(f"--scale {scale}: {nearest(scale, SCALES)}")
    module = load_module(file)
    for name in ("sweep", "SEEDS"):
        if not hasattr(module, name):
            raise ValueError(f"{file}: has no {name}; it needs sweep(scale), SEEDS and CONFIG or simulate(point, seed)")
    config, simulate = getattr(module, "CONFIG", ""), getattr(module, "simulate", None)
    if bool(config) == bool(simulate):
        raise ValueError(f"{file}: needs one of CONFIG, a config file, and simulate(point, seed)")
    root = root or file.resolve().parents[2]
    if config and not Path(config.partition(":")[0]).is_absolute():
        config = str(root / config)
    seeds = module.SEEDS.get(scale, 1) if isinstance(module.SEEDS, dict) else module.SEEDS
    points = [as_point(p) for p in module.sweep(scale)]
    if not points:
        raise ValueError(f"{file}: sweep({scale!r}) gives no points, so there is nothing to run")
    return Study(file.resolve().parent.name, config, points, seeds_of(seeds), dict(getattr(module, "BASELINE", {})),
                 tuple(getattr(module, "FAMILY", ())), tuple(getattr(module, "SHOWN", ())), str(file.resolve()), simulate,
                 tuple(getattr(module, "SEEDED", ())))


def find_study(path: str | Path) -> Path:
    """The sweep.py of `experiments/NAME`, of NAME alone, of a folder or itself. Raises FileNotFoundError naming the nearest study."""
    for file in (Path(path), Path(path) / "sweep.py", Path("experiments") / path / "sweep.py"):
        if file.is_file() and file.suffix == ".py":
            return file
    known = sorted(file.parent.name for file in Path("experiments").glob("*/sweep.py"))
    raise FileNotFoundError(f"study {path}: there is no {path}/sweep.py; {nearest(Path(path).name, known)}")


def load_module(file: Path) -> Any:
    """A study's Python file as a module of its own. Raises ValueError naming file and line where it fails."""
    with cfg.one_line(file):
        spec = importlib.util.spec_from_file_location(f"mmrep_study_{file.resolve().parent.name}_{file.stem}", file)
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    return module


def seeds_of(seeds: int | Iterable[int]) -> tuple[int, ...]:
    """5 -> seeds 0..4; a list as it is. Raises ValueError for none, or one that comes twice."""
    seeds = tuple(range(seeds)) if isinstance(seeds, int) else tuple(int(s) for s in seeds)
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise ValueError(f"seeds: {seeds} should be one or more different numbers of at least 0")
    return seeds


def columns_of(points: list[Point]) -> dict[str, str]:
    """{axis: its column in the table}: the shortest end of the path that no other axis has. Raises ValueError for one that the table
    has for something else."""
    axes = list(dict.fromkeys(axis for point in points for axis in point.axes))
    found = {}
    for axis in axes:
        parts = axis.removesuffix(".name").split(".")
        ends = [".".join(parts[-i:]) for i in range(1, len(parts) + 1)]
        others = [other.removesuffix(".name") for other in axes if other != axis]
        alone = [e for e in ends if not any(other == e or other.endswith("." + e) for other in others)] or ends[-1:]
        found[axis] = next((e for e in alone if e not in COLUMNS), "")
        if not found[axis]:
            why = "seeds are given by SEEDS or --seeds" if axis == "seed" else "rename the axis: named('other', {...})"
            raise ValueError(f"axis {axis}: the table of results has a column of this name; {why}")
    return found


def shown(value: Any) -> str:
    """A value as tags and tables write it."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (tuple, list)):
        return "+".join(map(shown, value)) or "none"
    if isinstance(value, dict):
        return shown(value["name"]) if "name" in value else cfg.digest(value)[:6]
    return str(value)


def tag_of(axes: dict[str, Any], columns: dict[str, str]) -> str:
    """A folder's name for a point: lr=0.001,batch=64; "base" without axes."""
    if "tag" in axes:
        return str(axes["tag"])
    text = ",".join(f"{columns[axis]}={shown(value)}" for axis, value in axes.items()) or "base"
    text = "".join(c if c.isalnum() or c in "=,.+-_%" else "_" for c in text)
    return text if len(text) <= 150 else f"{text[:130]}..{cfg.digest(axes)[:8]}"


def members(study: Study, overrides: Iterable[str] = ()) -> list[Member]:
    """Every run, point by point and seed by seed. overrides: `--config.KEY=VALUE` of all of them.

    Raises ValueError for an axis that the config has not, a value of another type, two runs with the same tag, or a baseline that is none
    of the points.
    """
    columns = columns_of([p._replace(axes={k: v for k, v in p.axes.items() if k != "tag"}) for p in study.points])
    found, tags, bases = [], {}, {}
    for point in study.points:
        tag = tag_of(point.axes, columns)
        if tag in tags:
            raise ValueError(f"two runs have the tag {tag!r}: {tags[tag]} and {point.changes}; their axes must differ in what tables show, "
                             "so name the settings: named('axis', one={...}, other={...})")
        tags[tag] = point.changes
        axes = {columns[k]: v for k, v in point.axes.items() if k != "tag"}
        setting = None if study.simulate else config_of(study, point, overrides, tag, bases)
        for seed in study.seeds:
            config = settings_of(study, point, seed) if study.simulate else with_seed(study, setting, seed, tag)
            found.append(Member(tag, seed, axes, {k: v for k, v in point.changes.items() if k != "tag"}, config))
    check_baseline(study.baseline, [m.axes for m in found])
    return found


def settings_of(study: Study, point: Point, seed: int) -> dict:
    """Of a simulation, what stands in the place of a config; code: of the file that simulates, so that a changed one is another run."""
    changes = {k: v for k, v in point.changes.items() if k != "tag"}
    return cfg.plain({"simulate": study.name, "point": changes, "seed": seed, "code": cfg.digest(Path(study.file).read_text())})


def config_of(study: Study, point: Point, overrides: Iterable[str], tag: str, bases: dict) -> ConfigDict:
    """The config of a setting; bases: configs by argument, loaded once."""
    changes = {k: v for k, v in point.changes.items() if k != "tag"}
    path, _, arg = study.config.partition(":")
    given = {k[4:]: v if isinstance(v, float) else shown(v) for k, v in changes.items() if k.startswith("arg.")}
    args = ",".join(filter(None, [arg, *(f"{k}={v}" for k, v in given.items())]))
    if args not in bases:
        bases[args] = cfg.load(f"{path}:{args}" if args else path, overrides)
        cfg.check_keys(bases[args])
    config = bases[args]
    for key, value in changes.items():
        if not key.startswith("arg."):
            config = cfg.with_change(config, key, value, f"sweep {tag}")
    if "seed" in changes:
        raise ValueError(f"sweep {tag}: seed is an axis of its own: give SEEDS, or --seeds")
    return config


def with_seed(study: Study, config: ConfigDict, seed: int, tag: str) -> ConfigDict:
    """The config of a run: its setting's, with a seed."""
    for key in study.seeded:
        config = cfg.with_change(config, key, seed, f"sweep {tag}")
    return cfg.override_with(config, {"seed": seed}, f"sweep {tag}")


def check_baseline(baseline: dict[str, Any], settings: list[dict[str, Any]], where: str = "baseline") -> None:
    """Raise ValueError for a baseline that names an axis, a value, or values together that no run has. settings: the axes of every run."""
    for axis, value in baseline.items():
        values = [s[axis] for s in settings if axis in s]
        if not values:
            known = sorted({a for s in settings for a in s})
            raise ValueError(f"{where} {axis}={shown(value)}: no axis is called {axis!r}; {nearest(axis, known)}")
        if shown(value) not in map(shown, values):
            raise ValueError(f"{where} {axis}={shown(value)}: no run has it; valid: " + ", ".join(dict.fromkeys(map(shown, values))))
    if not any(all(axis in s and shown(s[axis]) == shown(value) for axis, value in baseline.items()) for s in settings):
        both = ", ".join(f"{axis}={shown(value)}" for axis, value in baseline.items())
        raise ValueError(f"{where} {both}: each is of some run, but no run has all of them")


def write_plan(study: Study, found: list[Member], out: Path) -> None:
    """Write OUT/sweep.json: what workers run and reports read."""
    write_json(out / "sweep.json", {
        "study": study.name, "config": study.config, "file": study.file if study.simulate else "", "baseline": study.baseline,
        "family": study.family, "shown": study.shown, "seeds": study.seeds,
        "axes": list(dict.fromkeys(axis for m in found for axis in m.axes)),
        "runs": [{"tag": m.tag, "seed": m.seed, "axes": cfg.plain(m.axes), "overrides": cfg.plain(m.overrides),
                  "config": cfg.plain(m.config)} for m in found]})


def read_plan(out: Path) -> dict[str, Any]:
    """What `write_plan` wrote. Raises FileNotFoundError or ValueError naming the file where there is none, or it is damaged."""
    file = out / "sweep.json"
    if not file.is_file():
        raise FileNotFoundError(f"{out}: is no sweep's folder (it has no sweep.json); `mmrep sweep ... --out {out}` makes one")
    try:
        return json.loads(file.read_text())
    except ValueError as error:
        raise ValueError(f"{file}: is damaged ({error}); run the same `mmrep sweep` again, which writes it anew") from None
