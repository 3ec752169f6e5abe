"""`mmrep sweep --search N`: settings that Optuna proposes, each from the validation results of those before it."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmrep import config as cfg
from mmrep.core.files import write_json
from mmrep.core.names import nearest
from mmrep.sweeps import plan, status
from mmrep.sweeps.axes import Point, Range
from mmrep.sweeps.results import mean
from mmrep.sweeps.run import run_sweep
from mmrep.writers import read_rows


def search(study: plan.Study, axes: dict[str, Range | list], trials: int, metric: str, out: Path, mode: str = "max", workers: int = 1,
           overrides: tuple[str, ...] = (), retry: bool = False, say: Callable[[str], None] = print) -> int:
    """Try `trials` settings of the axes, `workers` at a time, each with every seed of the study; the exit code of `run_sweep`.

    Settings are proposed by Optuna's tree-structured Parzen estimator (Bergstra et al. 2011), seeded: after a kill the same command
    proposes the same ones and finds their runs. A setting is worth the mean over its seeds of the last validation of `metric`
    (`val/METRIC` of metrics.jsonl; a config that never validates does so after its last step), so nothing is chosen by test. A range is
    continuous (rounded to 4 digits), a list a choice. A setting that comes again is not run again; one that failed is worth nothing.
    Writes OUT/search.json: settings and values, best first. Raises ValueError without axes or without Optuna, for a bad mode, or a metric
    that validation does not give.
    """
    try:
        import optuna
    except ModuleNotFoundError:
        raise ValueError("--search: needs Optuna: pip install 'mmrep[search]'") from None
    if not axes or trials < 1:
        raise ValueError(f"--search {trials}: needs an axis (--over KEY=V1,V2, or --over KEY=LOW..HIGH) and at least one setting")
    if mode not in ("max", "min"):
        raise ValueError(f"--mode {mode}: give max or min")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=0, constant_liar=workers > 1)
    trial_log = optuna.create_study(direction="maximize" if mode == "max" else "minimize", sampler=sampler)
    never = str(cfg.load(study.config, overrides).eval.every).split()[0].rstrip("%") == "0"
    more = {"eval.every": "100%"} if never else {}
    points: dict[str, Point] = {}
    values: dict[str, float] = {}
    code = 0
    for begun in range(0, trials, workers):
        asked = [trial_log.ask() for _ in range(min(workers, trials - begun))]
        new = [Point(p, p | more) for p in (propose(trial, axes) for trial in asked)]
        columns = plan.columns_of(new)
        tags = [plan.tag_of(p.axes, columns) for p in new]
        points |= {tag: p for tag, p in zip(tags, new) if tag not in points}
        code = run_sweep(study._replace(points=list(points.values()), baseline={}), out, workers, overrides, retry, say=say)
        if code > 1:
            return code
        for trial, tag in zip(asked, tags):
            if tag not in values:
                values[tag] = mean(last_validation(status.folder_of(out, {"tag": tag, "seed": s}), metric) for s in study.seeds)
            good = math.isfinite(values[tag])
            trial_log.tell(trial, values[tag] if good else None, None if good else optuna.trial.TrialState.FAIL)
        write(points, values, metric, mode, out)
    best = ranked(values, mode)
    if best:
        say(f"best val/{metric} of {len(points)} settings ({mode}): {values[best[0]]:.4g} at {best[0]}; {out / 'search.json'} has all")
    return code


def propose(trial: Any, axes: dict[str, Range | list]) -> dict[str, Any]:
    """A value of each axis."""
    found = {}
    for key, of in axes.items():
        if isinstance(of, Range):
            found[key] = float(f"{trial.suggest_float(key, of.low, of.high, log=of.log):.4g}")
        else:
            found[key] = list(of)[trial.suggest_categorical(key, list(range(len(of))))]
    return found


def last_validation(folder: Path, metric: str) -> float:
    """A run's last `val/METRIC`, NaN where the run failed. Raises ValueError naming the nearest where validation does not give it."""
    if status.state_of(folder).state != "finished":
        return math.nan
    file = status.parts_of(folder)[-1] / "metrics.jsonl"  # of several stages the last one's: it is what the run ends as
    rows = read_rows(file)
    found = {k: v for row in rows for k, v in row.items() if k.startswith("val/")}  # later rows over earlier ones
    if f"val/{metric}" not in found:
        raise ValueError(f"--metric {metric}: {file} has no val/{metric}; "
                         + (nearest(metric, [k[4:] for k in found]) if found else "nothing was validated: set --config.eval.every=100%"))
    return float(found[f"val/{metric}"])


def ranked(values: dict[str, float], mode: str) -> list[str]:
    """Settings with a finite value, best first."""
    good = [tag for tag, value in values.items() if math.isfinite(value)]
    return sorted(good, key=lambda tag: values[tag], reverse=mode == "max")


def write(points: dict[str, Point], values: dict[str, float], metric: str, mode: str, out: Path) -> None:
    """Write OUT/search.json."""
    best = ranked(values, mode)
    rest = [tag for tag in points if tag not in best]
    write_json(out / "search.json", {"metric": f"val/{metric}", "mode": mode, "settings": [
        {"tag": tag, "value": values[tag] if tag in best else None, "changes": cfg.plain(points[tag].changes)} for tag in best + rest]})
