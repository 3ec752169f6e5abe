"""`mmrep sweep`: its arguments to a study."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmrep import config as cfg
from mmrep.sweeps import axes, plan
from mmrep.sweeps.results import cell


def sweep(args: argparse.Namespace, overrides: list[str], say: Callable[[str], None]) -> int:
    """Run what the command line asks for; the exit code."""
    from mmrep.sweeps.run import run_sweep

    study, out = study_of(args, overrides)
    slurm = None
    if args.slurm is not None:
        from mmrep.sweeps.slurm import split_options

        slurm = split_options(args.slurm)
    folder = Path(args.out or out)
    if args.search:
        return _search(args, study, folder, overrides, say)
    return run_sweep(study, folder, args.workers, tuple(overrides), args.retry, args.dry_run, say, slurm, args.together)


def _search(args: argparse.Namespace, study: plan.Study, out: Path, overrides: list[str], say: Callable[[str], None]) -> int:
    from mmrep.sweeps.search import search

    if not args.metric:
        raise ValueError("--search: name what is to be best, as validation calls it: --metric retrieval/image_to_text/R@1/instance")
    if args.slurm is not None or args.dry_run or args.together > 1:
        raise ValueError("--search: goes with --workers, not with --slurm, --dry-run or --together")
    return search(study, ranges(args.over, study.config, overrides), args.search, args.metric, out, args.mode, args.workers,
                  tuple(overrides), args.retry, say)


def report(args: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Write and print the report of a sweep's folder; the exit code."""
    from mmrep.sweeps import report

    baseline = {}
    for text in args.baseline:
        axis, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--baseline {text}: write --baseline AXIS=VALUE")
        baseline[axis] = cell(value)
    return report.report(Path(args.dir), args.metric, baseline if args.baseline else None, say, not args.no_pictures)


def reproduce(args: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Reproduce one study or all, or list them; the exit code."""
    from mmrep.stop import Stopped
    from mmrep.sweeps import reproduce

    if args.list:
        return reproduce.list_studies(args.scale, args.json, say)
    if not args.all and not args.study:
        raise ValueError("reproduce: name a study, or give --all or --list")
    out = Path(args.out) if args.out else None
    try:
        if args.all:
            return reproduce.reproduce_all(args.scale, args.workers, args.retry, args.record, say)
        found = reproduce.reproduce(args.study, args.scale, out, args.workers, args.retry, args.record, say)
        return int(not reproduce.passed(found))
    except Stopped as stopped:
        say(f"mmrep: {stopped}")
        return 130 if stopped.name == "SIGINT" else 143


def study_of(args: argparse.Namespace, overrides: list[str]) -> tuple[plan.Study, str]:
    """The study that is asked for, with the command line's axes and seeds, and the usual folder of its runs."""
    seeds = plan.seeds_of(_seeds(args.seeds)) if args.seeds else ()
    if is_config(args.study):
        study = plan.Study(Path(args.study.partition(":")[0]).stem, args.study, [axes.Point({}, {})], (0,), {}, ())
        out = f"runs/{study.name}_sweep"
    else:
        study = plan.load_study(args.study, args.scale)
        out = f"runs/{study.name}/{args.scale}"
    if args.search and not is_config(args.study):
        raise ValueError(f"--search: {args.study} has points of its own; search over a config: mmrep sweep configs/x.py --over ...")
    if args.over and not args.search:
        if study.simulate:
            raise ValueError(f"--over: {study.name} is a simulation, whose axes stand in its sweep.py")
        study = study._replace(points=axes.product(study.points, axes.grid(_axes(args.over, study.config, overrides))))
    return study._replace(seeds=seeds or study.seeds), out


def is_config(name: str) -> bool:
    """Whether a name is that of a config's file rather than of a study's folder or sweep.py."""
    file = Path(name.partition(":")[0])
    return file.suffix == ".py" and file.name != "sweep.py"


def _seeds(text: str) -> int | list[int]:
    try:
        return [int(s) for s in text.split(",")] if "," in text else int(text)
    except ValueError:
        raise ValueError(f"--seeds {text}: give a number of seeds, such as 5, or a list, such as 3,7,11") from None


def _axes(given: list[str], config: str, overrides: list[str]) -> dict[str, list[Any]]:
    """{config path: values} of --over KEY=V1,V2, each of the type that the config has there."""
    base, found = cfg.load(config, overrides), {}
    for text in given:
        key, equals, values = text.partition("=")
        key = key.removeprefix("config.")
        if not equals:
            raise ValueError(f"--over {text}: write --over KEY=V1,V2,...")
        if key in found:
            raise ValueError(f"--over {key}: comes twice; give all of its values at once")
        parts = split_values(values)
        if not parts or not all(parts):
            raise ValueError(f"--over {text}: the axis {key} has {'an empty' if parts else 'no'} value, so the grid is empty; write "
                             f"{key}=V1,V2")
        found[key] = parts if key.startswith("arg.") else [_value(base, key, part) for part in parts]
    return found


def ranges(given: list[str], config: str, overrides: list[str]) -> dict[str, Any]:
    """{config path: values, or a range} of --over KEY=V1,V2 and --over KEY=LOW..HIGH; even in the logarithm where HIGH is ten times LOW."""
    found: dict[str, Any] = {}
    for text in given:
        key, _, values = text.partition("=")
        low, dots, high = values.partition("..")
        if not dots:
            found |= _axes([text], config, overrides)
            continue
        try:
            bounds = float(low), float(high)
        except ValueError:
            raise ValueError(f"--over {text}: a range is of two numbers, --over KEY=1e-4..1e-2") from None
        _axes([f"{key}={bounds[0]}"], config, overrides)  # whether there is such a key, and it takes numbers
        found[key.removeprefix("config.")] = (axes.log_uniform if 0 < 10 * bounds[0] <= bounds[1] else axes.uniform)(*bounds)
    return found


def _value(base: Any, key: str, text: str) -> Any:
    """The value that `--config.KEY=TEXT` would set."""
    config = cfg.override_with(base, {}, "")
    cfg.apply(config, f"{key}={text}")
    node = config
    for part in key.split("."):
        node = node[part]
    return cfg.plain(node)


def split_values(text: str) -> list[str]:
    """Text split at commas that stand in no bracket or quote."""
    parts, depth, quote = [""], 0, ""
    for c in text:
        if quote:
            quote = "" if c == quote else quote
        elif c in "\"'":
            quote = c
        elif c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
        elif c == "," and not depth:
            parts.append("")
            continue
        parts[-1] += c
    return [part.strip() for part in parts] if text.strip() else []
