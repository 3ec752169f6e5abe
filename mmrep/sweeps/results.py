"""The results of a sweep as one tidy table: a row a run and metric, as plain dicts, Parquet and CSV."""

import csv
import json
import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mmrep.core.names import nearest
from mmrep.sweeps import plan, status
from mmrep.writers import read_rows

Rows = list[dict[str, Any]]
NUMBERS = ("value", "low", "high", "seconds_train", "seconds_step", "seconds_evaluate", "seconds")
WHOLE = ("seed", "n", "step")


def collect(out: Path) -> tuple[Rows, Rows]:
    """(a row a finished run and metric, a row a run) of a sweep's folder, from its run folders.

    Of a metric: run, tag, seed, a column an axis, split, control ("" for the trained model; else of `results.json`, "paired/NAME" for a
    difference to it), metric, value, low, high (95 % interval over cases), n, step, config_hash, overrides (JSON), commit, device,
    seconds_* (train: the loop, compilation included; step: `step_seconds`), time. Of a run: run, tag, seed, axes {axis:
    value} (one may be called "loss", too), state, error, tries, step, loss, seconds, left_out {metric: why}. Of a run of several stages
    a metric's step is that of the last stage, a run's is counted through all of them, and seconds are those of all.
    Raises ValueError naming a damaged or half-written results.json, FileNotFoundError where OUT is no sweep's.
    """
    found = plan.read_plan(out)
    axes = found["axes"]
    plainly = {axis: _typed([run["axes"].get(axis) for run in found["runs"]]) for axis in axes}
    rows, runs = [], []
    for i, run in enumerate(found["runs"]):
        folder = status.folder_of(out, run)
        state = status.state_of(folder)
        who = {"run": f"{run['tag']}/seed{run['seed']}", "tag": run["tag"], "seed": run["seed"]}
        settings = {axis: plainly[axis][i] for axis in axes}
        head = who | settings
        seconds, left_out, step = 0.0, {}, state.step
        if state.state == "finished":
            results, record = status.read_results(folder), _record(folder)
            seconds, left_out = status.seconds_of(results), results.get("left_out", {})
            step = results["step"] + sum(status.last_row(part / "metrics.jsonl")[0] for part in status.parts_of(folder)[:-1])
            tail = {"step": results["step"], "config_hash": results["config_hash"],
                    "overrides": json.dumps(run["overrides"], sort_keys=True), "commit": record.get("commit", ""),
                    "device": _device(record), "time": record.get("time", ""),
                    "seconds_train": results["seconds"].get("train", 0.0), "seconds_step": step_seconds(folder),
                    "seconds_evaluate": results["seconds"].get("evaluate", 0.0), "seconds": round(seconds, 2)}
            paired = {f"paired/{k}": v for k, v in results.get("paired", {}).items()}
            parts = {"": results["metrics"]} | results.get("controls", {}) | paired
            rows += [head | {"split": results.get("split", ""), "control": control, "metric": name} | _numbers(values) | tail
                     for control, metrics in parts.items() for name, values in metrics.items()]
        runs.append(who | {"axes": settings, "state": state.state, "error": state.error, "tries": state.tries,
                            "step": step, "loss": state.loss, "seconds": round(seconds, 2), "left_out": left_out})
    return rows, runs


def _numbers(values: dict) -> dict:
    return {"value": float(values["value"]), "low": float(values["low"]), "high": float(values["high"]), "n": int(values["n"])}


def step_seconds(folder: Path) -> float:
    """Seconds a step of a run, data and logging included: the median over the intervals between two logs, of all its stages, 0 without
    any. The first step, which compiles, lies before the first log."""
    each: list[float] = []
    for file in (part / "metrics.jsonl" for part in status.parts_of(folder)):
        logs = [(row["step"], row["time"]) for row in (read_rows(file) if file.is_file() else ()) if "loss" in row]
        each += [(b[1] - a[1]) / (b[0] - a[0]) for a, b in zip(logs, logs[1:]) if b[0] > a[0]]
    return round(statistics.median(each), 6) if each else 0.0


def _record(folder: Path) -> dict:
    """run.json; empty where it is missing or damaged, for numbers do not hang on it."""
    try:
        return json.loads((folder / "run.json").read_text())
    except (OSError, ValueError):
        return {}


def _device(record: dict) -> str:
    kinds = record.get("devices", [])
    kinds = kinds if isinstance(kinds, list) else [kinds]
    return f"{record.get('device_count', len(kinds))} x {', '.join(map(str, dict.fromkeys(kinds)))}" if kinds else ""


def _typed(values: list) -> list:
    """The values of an axis as one type: numbers as they are, everything else as tables show it."""
    known = [v for v in values if v is not None]
    if known and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in known):
        whole = all(isinstance(v, int) for v in known)
        return [None if v is None else v if whole else float(v) for v in values]
    return [None if v is None else plan.shown(v) for v in values]


def write(rows: Rows, runs: Rows, out: Path) -> None:
    """Write OUT/results.parquet and OUT/results.csv, each whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = list(rows[0]) if rows else [c for c in plan.COLUMNS]
    part = out / "results.parquet.part"
    pq.write_table(pa.table({c: [r[c] for r in rows] for c in columns}), part)
    part.replace(out / "results.parquet")
    part = out / "results.csv.part"
    with part.open("w", newline="") as f:
        table = csv.DictWriter(f, columns)
        table.writeheader()
        table.writerows(rows)
    part.replace(out / "results.csv")


def read(path: Path) -> Rows:
    """The rows of a results table: a .csv, a .parquet, or a sweep's folder. Raises FileNotFoundError, or ValueError naming the file, the
    line and what is wrong: a column that is missing, a half-written row, a number that is none."""
    path = Path(path)
    if path.is_dir():
        path = next((f for f in (path / "results.parquet", path / "results.csv") if f.is_file()), path / "results.csv")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such table of results; `mmrep sweep` or `mmrep report` writes it")
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        try:
            rows = pq.read_table(path).to_pylist()
        except (OSError, ValueError) as error:
            raise ValueError(f"{path}: is no whole Parquet file ({str(error).splitlines()[0]}); `mmrep report` writes it anew") from None
    else:
        rows = _read_csv(path)
    for column in ("run", "tag", "seed", "metric", "value"):
        if rows and column not in rows[0]:
            raise ValueError(f"{path}: has no column {column!r}; {nearest(column, rows[0])}")
    return rows


def _read_csv(path: Path) -> Rows:
    rows = []
    with path.open(newline="") as f:
        table = csv.DictReader(f)
        for row in table:
            if None in row or None in row.values():
                cells = sum(v is not None for v in row.values())
                raise ValueError(f"{path} line {table.line_num}: a half-written row of {cells} cells, not {len(table.fieldnames or ())}; "
                                 "`mmrep report` writes the table anew")
            for key, convert in ((*((k, float) for k in NUMBERS), *((k, int) for k in WHOLE))):
                if key in row:
                    try:
                        row[key] = convert(row[key])
                    except ValueError:
                        raise ValueError(f"{path} line {table.line_num}: {key} {row[key]!r} is no number") from None
            rows.append({k: cell(v) if k not in plan.COLUMNS else v for k, v in row.items()})
    return rows


def cell(text: Any) -> Any:
    """An axis' cell: a number where it is one."""
    for convert in (int, float):
        try:
            return convert(text)
        except (ValueError, TypeError):
            continue
    return text or None


# ---- what figures and notebooks need of a table ---------------------------------------------------------------------

def where(rows: Rows, **equal: Any) -> Rows:
    """The rows whose columns have these values; one of a tuple's is enough. control="" (the trained model) unless given.

    Raises ValueError for a column that the table has not.
    """
    equal = {"control": ""} | equal
    for column in equal:
        if rows and column not in rows[0]:
            raise ValueError(f"the table of results has no column {column!r}; {nearest(column, rows[0])}")
    return [r for r in rows if all(r[k] in v if isinstance(v, (tuple, list, set)) else r[k] == v for k, v in equal.items())]


def values(rows: Rows, metric: str, by: str | Iterable[str] = (), **equal: Any) -> dict[Any, list[float]]:
    """{value of the column `by` (a tuple of several): the metric's values, by seed}. Raises ValueError where the table has no such row."""
    columns = (by,) if isinstance(by, str) else tuple(by)
    found: dict[Any, list[float]] = {}
    for row in sorted(where(rows, metric=metric, **equal), key=lambda r: r["seed"]):
        key = tuple(row[c] for c in columns)
        found.setdefault(key[0] if isinstance(by, str) else key, []).append(row["value"])
    if not found:
        known = sorted({r["metric"] for r in where(rows, **equal)})
        asked = "".join(f", {k}={v!r}" for k, v in equal.items())
        raise ValueError(f"the table of results has no {metric!r}{asked}; " + (nearest(metric, known) if known else "no row is left"))
    return dict(sorted(found.items(), key=lambda item: tuple((v is None, isinstance(v, str), v) for v in (
        item[0] if isinstance(item[0], tuple) else (item[0],)))))


def mean(found: Iterable[float]) -> float:
    """The mean of numbers; NaN of none."""
    found = list(found)
    return math.fsum(found) / len(found) if found else math.nan


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> float:
    """Spearman's rank correlation of pairs of numbers; NaN where one side does not vary."""
    from scipy.stats import spearmanr

    return float(spearmanr(x, y).statistic) if len(set(x)) > 1 and len(set(y)) > 1 else math.nan
