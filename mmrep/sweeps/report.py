"""`mmrep report DIR`: the table of results, tables of means and comparisons, and one page to look at."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmrep import config as cfg
from mmrep.core.files import write_text
from mmrep.sweeps import plan, results, status, tables
from mmrep.sweeps.compare import compare, metrics_of, problems, summarize

POINTS = 60  # of a learning curve
DRAWN = ("image", "volume", "signal")  # what a row may hold that can be drawn, the first that it holds
MOST = 1000  # rows of one source whose pictures and texts the page holds
MANY, LINES = 40, 20  # settings, and sentences on what is wrong, that a terminal shows


def report(out: Path, metrics: Iterable[str] = (), baseline: dict[str, Any] | None = None, say: Callable[[str], None] = print,
           pictures: bool = True) -> int:
    """Write OUT/results.csv and .parquet, report.md, report.tex and report.html anew, and print the tables; 0, or 1 for 0 finished runs.

    metrics: of the tables (else what the study shows, its family, or a few); they are the family of comparisons where the study declares
    none. baseline: {axis: value}, else the study's. pictures: whether the page holds pictures and texts of rows. Raises ValueError for a
    name that is not there, or a damaged file.
    """
    found = plan.read_plan(out)
    rows, runs = results.collect(out)
    results.write(rows, runs, out)
    axes = found["axes"]
    shown = metrics_of(rows, list(metrics) or list(found["shown"]) or list(found["family"]))
    family = [m for m in found["family"]] or shown
    wrong = problems(rows, runs, list(dict.fromkeys([*shown, *family])))
    base = baseline if baseline is not None else found["baseline"]
    if runs and base:
        plan.check_baseline(base, [r["axes"] for r in found["runs"]], "--baseline")
    summary = summarize(rows, shown, axes)
    compared = compare(rows, base, family, found["runs"])
    chosen = [*(["baseline"] if baseline is not None else []), *([] if found["family"] else ["metrics"])]
    declared = f" ({' and '.join(chosen)} chosen with the report, not declared before the runs: exploration)" if chosen else ""
    text = written(found, runs, wrong, summary, compared, axes, shown, declared)
    for line in text("terminal"):
        say(line)
    write_text(out / "report.md", "\n".join(text("markdown")) + "\n")
    write_text(out / "report.tex", "\n".join(text("latex")) + "\n")
    from mmrep.sweeps.page import page

    data = gathered(out, found, rows, runs, wrong, summary, compared, axes, shown, say if pictures else None)
    write_text(out / "report.html", page(data))
    say(f"wrote {out / 'report.html'}, report.md, report.tex, results.csv and results.parquet")
    return 0 if rows else 1


def written(found: dict, runs: list[dict], wrong: list[str], summary: list[dict], compared: list[dict], axes: list[str],
            shown: list[str], declared: str) -> Callable[[str], list[str]]:
    """kind ("terminal", "markdown", "latex") -> the report's lines."""
    done = sum(r["state"] == "finished" for r in runs)
    stars = {(c["tag"], c["metric"]): c["stars"] for c in compared}
    few = min((s["n"] for s in summary), default=0)

    def lines(kind: str) -> list[str]:
        make = {"terminal": tables.terminal, "markdown": tables.markdown, "latex": tables.latex}[kind]
        mark = {"terminal": "", "markdown": "## ", "latex": "% "}[kind]
        point = {"terminal": "! ", "markdown": "- ", "latex": "% "}[kind]
        told, means_of, against, part = wrong, summary, compared, ""
        if kind == "terminal":
            told = wrong if len(wrong) <= LINES else [*wrong[:LINES], f"and {len(wrong) - LINES} more such lines: report.md has all"]
            tags, part = _first(summary, shown)
            means_of, against = (sorted((one for one in of if one["tag"] in tags), key=lambda one: tags[one["tag"]])
                                 for of in (summary, compared))
        out = [f"{mark[1:]}{found['study']}: {done} of {len(runs)} runs finished", *([""] if told else []),
               *(f"{point}{line}" for line in told)]
        if summary:
            means = "values of every seed" if few < 4 else "mean [95 % interval over seeds]"
            out += ["", f"{mark}Results: {means}{part}", "", make(tables.of_means(means_of, axes, shown, stars))]
            out += ["", f"{mark}Spread: between seeds, and by the test cases of one run", "", make(tables.of_variance(means_of))]
        if compared:
            out += ["", f"{mark}Against the baseline{declared}: paired by seed, sign-flip tests, Holm over {len(compared)} comparisons; "
                    "detectable: the difference that a t test at 5 % over their number finds with 80 % power", "",
                    *_footed(tables.of_comparisons(against), make)]
        return out

    return lines


def _first(summary: list[dict], shown: list[str]) -> tuple[dict[str, int], str]:
    """({setting that a terminal shows: its place}, words on the others): all as planned, or of many those with the highest first metric."""
    tags = dict.fromkeys(s["tag"] for s in summary)
    if len(tags) <= MANY:
        return dict.fromkeys(tags, 0), ""
    ranked = sorted((s for s in summary if s["metric"] == shown[0] and s["n"]), key=lambda s: -s["mean"])[:MANY]
    words = f"; the {len(ranked)} of {len(tags)} settings with the highest {shown[0]}, report.md has all"
    return {s["tag"]: place for place, s in enumerate(ranked)}, words


def _footed(table: tables.Table, make: Callable) -> list[str]:
    """A table whose last column, of notes, is put below it, each note once, with letters in their place."""
    head, rows = table
    notes = list(dict.fromkeys(r[-1] for r in rows if r[-1]))
    letters = {note: chr(97 + i) if i < 26 else str(i) for i, note in enumerate(notes)}
    marked = [[*r[:-1], f"({letters[r[-1]]})" if r[-1] else ""] for r in rows]
    return [make((head, marked)), *([""] if notes else []), *(f"({letter}) {note}" for note, letter in letters.items())]


# ---- what the page shows ---------------------------------------------------------------------------------------------

def gathered(out: Path, found: dict, rows: list[dict], runs: list[dict], wrong: list[str], summary: list[dict], compared: list[dict],
             axes: list[str], shown: list[str], say: Callable[[str], None] | None = None) -> dict[str, Any]:
    """The data of the page, as plain values: see `page.page`. say: where to say which pictures cannot be read; None: no pictures."""
    per_run: dict[str, dict] = {}
    for row in rows:
        one = per_run.setdefault(row["run"], {"values": {}, "controls": {}})
        if not row["control"]:
            one["values"][row["metric"]] = [row["value"], row["low"], row["high"], row["n"]]
        elif "/" not in row["control"]:
            one["controls"].setdefault(row["control"], {})[row["metric"]] = row["value"]
    wanted: dict[str, Wanted] = {}
    listed = []
    for run, planned in zip(runs, found["runs"]):
        folder = status.folder_of(out, planned)
        keep = ("run", "tag", "seed", "axes", "state", "error", "tries", "step", "seconds")
        listed.append({k: run[k] for k in keep} | per_run.get(run["run"], {"values": {}, "controls": {}}) | {
            "curve": curve(folder), "map": map_of(folder, planned["config"], wanted)})
    pictures = {key: read_pictures(of, say) for key, of in wanted.items()} if say else {}  # once for all runs of the same data
    every = list(dict.fromkeys(r["metric"] for r in results.where(rows)))
    first = rows[0] if rows else {"commit": "", "device": ""}
    return {
        "study": found["study"], "config": Path(found["config"]).name if found["config"] else "simulation", "axes": axes,
        "generated": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), "commit": first["commit"], "device": first["device"],
        "metrics": list(dict.fromkeys([*shown, *every])), "shown": shown, "runs": listed, "pictures": pictures, "summary": summary,
        "comparisons": compared, "problems": wrong}


def curve(folder: Path) -> dict[str, list] | None:
    """The learning curves of a run's metrics.jsonl, of its stages one after another, thinned to about POINTS rows; None without any."""
    rows = status.rows_of(folder)
    train, judged = [r for r in rows if "loss" in r], [r for r in rows if "loss" not in r]
    kept = [train[i] for i in np.unique(np.linspace(0, len(train) - 1, min(POINTS, len(train))).astype(int))] if train else []
    kept = sorted([*kept, *judged], key=lambda r: r["step"])
    if not kept:
        return None
    keys = [k for k in dict.fromkeys(k for r in kept for k in r) if k not in ("step", "time") and not k.startswith("grad_norm/")]
    keys = [k for k in keys if k.startswith("val/") or "/" not in k or k.endswith(("/loss", "/scale"))][:24]
    return {"step": [r["step"] for r in kept]} | {k: [r.get(k) for r in kept] for k in keys}


class Wanted(NamedTuple):
    """Rows of a split of a stream's data that the maps of some runs show, and that their queries find, by how many show them."""

    stream: dict
    split: str
    shown: Counter
    found: Counter


def map_of(folder: Path, config: dict, wanted: dict[str, Wanted]) -> dict | None:
    """The run's map.json with the key of its rows' pictures in `wanted`, where there are any; None without a map, or before the last
    stage has ended."""
    part = status.parts_of(folder)[-1]
    if not (folder / "results.json").is_file() or not (part / "map.json").is_file():
        return None
    try:
        found = json.loads((part / "map.json").read_text())
        if part != folder:  # a stage may have data of its own
            config = json.loads((part / "config.json").read_text())
    except (OSError, ValueError):
        return None
    from mmrep.data.streams import opened_key

    stream = config["data"][found["stream"]]
    key = cfg.digest({"data": opened_key(stream), "split": found["split"]})
    if key in wanted or _can_be_shown(part, found["stream"]):
        of = wanted.setdefault(key, Wanted(stream, found["split"], Counter(), Counter()))
        of.shown.update([*found["rows"], *(q["query"] for q in found["retrieval"])])
        of.found.update(row for q in found["retrieval"] for row, _ in q["found"])
    return found | {"data": key}


def _can_be_shown(folder: Path, stream: str) -> bool:
    """Whether rows of a run's stream hold pictures or texts, as its data.json says: data of vectors need not be opened."""
    try:
        forms = json.loads((folder / "data.json").read_text())
        return bool({*forms["specs"].get(stream, ()), *forms["eval"].get(stream, ())} & {"text", *DRAWN})
    except (OSError, ValueError, KeyError):  # of an older run: its data will tell
        return True


def read_pictures(wanted: Wanted, say: Callable[[str], None]) -> dict[str, dict]:
    """{"images": {row: data URI}, "texts": {row: text}} of at most MOST rows, first those that maps show, then those that are found most
    often; of those that can be read, and why not all can is said."""
    from mmrep.data import streams
    from mmrep.data.reading import read_rows as read
    from mmrep.data.sources import BadRow
    from mmrep.sweeps.page import thumbnail

    stream, split, shown, found = wanted
    rows = sorted(list(dict.fromkeys(row for of in (shown, found) for row, _ in of.most_common()))[:MOST])
    images, texts = {}, {}
    try:
        source = streams.open_source(cfg.plain(stream), split)
        parts = np.array_split(np.array(rows), -(-len(rows) // 64))  # volumes are large, and only their thumbnails are kept
        for row, example in ((row, one) for part in parts for row, one in zip(part.tolist(), read(source, part))):
            if isinstance(example, BadRow):
                continue
            text = example.get("text")
            if text is not None:
                texts[str(row)] = str(text if isinstance(text, str) else " / ".join(text))[:400]
            drawn = next((example[k] for k in DRAWN if k in example), None)
            if drawn is not None:
                images[str(row)] = thumbnail(np.asarray(drawn))
    except Exception as error:  # whatever a source raises, a report of numbers must not end for want of its pictures
        parts = stream.get("sources") or {"": stream.get("source", {})}
        names = ", ".join(" ".join(str(s[k]) for k in ("name", "path") if s.get(k)) for s in parts.values())
        say(f"the page shows no pictures and texts of {split} of {names}: {' '.join(str(error).split()) or type(error).__name__}")
    return {"images": images, "texts": texts}
