"""`mmrep reproduce`: run a figure's study, draw it from its table of results, and judge what it must show."""

import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmrep.core.files import write_json, write_text
from mmrep.stop import Stopped
from mmrep.sweeps import plan, results, tables
from mmrep.sweeps.assertions import KINDS, Verdict, counts, judge, read_expected

Say = Callable[[str], None]
SIGNALS = {130: "SIGINT", 143: "SIGTERM"}
MARK = ("<!-- recorded: written by `mmrep reproduce --record` -->", "<!-- end of recorded -->")


def reproduce(path: str, scale: str = "small", out: Path | None = None, workers: int = 1, retry: bool = False, record: bool = False,
              say: Say = print) -> dict[str, Any]:
    """Run, draw and judge one study; what it writes to OUT/reproduced.json: verdicts, measured quantities, minutes (of all its
    runs, one after another; wall_minutes: by the clock), hardware, commit.

    record: also into the study's folder: figure.png, recorded.json and the table in README.md. Raises ValueError or FileNotFoundError for a
    study, a table or an expectation that is wrong, and where runs failed.
    """
    from mmrep.sweeps.run import run_sweep

    study = plan.load_study(path, scale)
    folder = plan.find_study(path).resolve().parent
    expected = read_expected(folder / "expected.json")
    figure = figure_of(folder)
    out = out or Path("runs") / study.name / scale
    start = time.perf_counter()
    code = run_sweep(study, out, workers, (), retry, False, say)
    if code in SIGNALS:
        raise Stopped(f"{study.name}: stopped by {SIGNALS[code]}; the same command goes on", SIGNALS[code])
    if code:
        raise ValueError(f"{study.name}: not all of its runs are finished, so there is nothing to judge; see {out}")
    rows = results.read(out)
    measured = {k: float(v) for k, v in figure.measure(rows).items()}
    draw(figure, rows, out)
    verdicts = judge(expected, measured, scale, min(r["time"] for r in rows))
    found = {"study": study.name, "paper": expected["paper"], "scale": scale, "seeds": list(study.seeds), **_origin(rows),
             "wall_minutes": round((time.perf_counter() - start) / 60, 2), "time": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
             "verdicts": [v._asdict() for v in verdicts], "measured": measured}
    write_json(out / "reproduced.json", tables.plain(found))
    for line in told(found):
        say(line)
    say(f"{out / 'figure.png'} and figure.pdf; numbers in {out / 'results.csv'}")
    if record:
        keep(folder, out, found)
        say(f"recorded in {folder}")
    return found


def _origin(rows: results.Rows) -> dict[str, Any]:
    """Where a table comes from: how many runs, their minutes one after another, when the first began, hardware, and their commits."""
    runs = {r["run"]: r for r in rows}.values()
    commits = Counter(r["commit"] for r in runs)
    return {"runs": len(runs), "minutes": round(sum(r["seconds"] for r in runs) / 60, 2), "began": min(r["time"] for r in runs),
            "device": ", ".join(sorted({r["device"] for r in runs})),
            "commit": min(commits) if len(commits) == 1 else ", ".join(f"{commit} ({n} runs)" for commit, n in commits.most_common())}


def figure_of(folder: Path) -> Any:
    """The study's figure.py. Raises FileNotFoundError or ValueError for what it lacks."""
    file = folder / "figure.py"
    if not file.is_file():
        raise FileNotFoundError(f"{file}: is missing; it has measure(rows) -> {{name: number}} and draw(rows) -> a matplotlib figure")
    module = plan.load_module(file)
    for name in ("measure", "draw"):
        if not callable(getattr(module, name, None)):
            raise ValueError(f"{file}: has no {name}(rows)")
    return module


def draw(figure: Any, rows: results.Rows, out: Path) -> None:
    """Write OUT/figure.png and OUT/figure.pdf, in the house's style."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from mmrep.sweeps.style import STYLE

    with plt.rc_context(STYLE):
        drawn = figure.draw(rows)
        for kind in ("png", "pdf"):
            part = out / f"figure.part.{kind}"
            drawn.savefig(part, dpi=200, **({"metadata": {"CreationDate": None}} if kind == "pdf" else {}))
            part.replace(out / f"figure.{kind}")
        plt.close(drawn)


def told(found: dict) -> list[str]:
    """The verdicts as lines: one table a kind."""
    lines = [f"{found['study']} ({found['paper']}), {found['scale']} scale: {found['runs']} runs, {found['minutes']:g} worker minutes "
             f"of {found['device']}"]
    each = sorted((Verdict(**v) for v in found["verdicts"]), key=lambda v: (*KINDS, "control").index(v.kind))
    words = [verdict_of(v, "FAILS, as it must") for v in each]
    for word, v in zip(words, each):
        value = "" if v.value is None or v.verdict == "NOT RUN" else f"{v.value:.4g}"
        lines.append(f"  {word:{max(map(len, words))}}  {v.kind:9}  {v.id}: {v.text}; measured {value}"
                     + (f"  ({v.note})" if v.note else ""))
    return lines


def verdict_of(v: Verdict, failing: str) -> str:
    """The word of a verdict; failing: that of a control which fails as it must."""
    if v.kind != "control" or v.verdict == "NOT RUN":
        return v.verdict
    return failing if v.ok else "PASSES, as it must not" if v.verdict == "PASS" else "IS NaN, so it shows nothing"


def summary(found: dict) -> str:
    """Passed of all, kind by kind: never added up."""
    each = counts([Verdict(**v) for v in found["verdicts"]])
    words = []
    for kind in (*KINDS, "control"):
        n = each.get(kind)
        if n and n["PASS"] + n["FAIL"]:
            name = "controls fail as they must" if kind == "control" else kind
            words.append(f"{name} {n['PASS']}/{n['PASS'] + n['FAIL']}")
    return ", ".join(words) or "nothing judged at this scale"


def passed(found: dict) -> bool:
    """Whether every verdict is as it must be."""
    return all(v["ok"] for v in found["verdicts"])


def word_of(found: dict) -> str:
    """PASS, FAIL, or nothing where nothing is judged at this scale."""
    return "" if all(v["verdict"] == "NOT RUN" for v in found["verdicts"]) else "PASS" if passed(found) else "FAIL"


def keep(folder: Path, out: Path, found: dict) -> None:
    """Put the figure, the verdicts and their table into the study's folder, and between the marks of its README."""
    import shutil

    readme = folder / "README.md"
    text = readme.read_text()
    if MARK[0] not in text or MARK[1] not in text:
        raise ValueError(f"{readme}: has no lines {MARK[0]!r} and {MARK[1]!r}, between which the numbers go")
    head, _, rest = text.partition(MARK[0])
    tail = rest.partition(MARK[1])[2]
    shutil.copyfile(out / "figure.png", folder / "figure.png")
    write_json(folder / "recorded.json", tables.plain(found))
    write_text(readme, head + "\n".join([MARK[0], *recorded(found), MARK[1]]) + tail)


def recorded(found: dict) -> list[str]:
    """The lines of a README that say what came out."""
    rows = []
    for v in map(lambda v: Verdict(**v), found["verdicts"]):
        value = "" if v.value is None or v.verdict == "NOT RUN" else f"{v.value:.4g}"
        rows.append([v.kind, v.id, v.text, value, verdict_of(v, "fails, as it must")])
    seeds = ", ".join(map(str, found["seeds"]))
    when = (f"begun {found['began'].replace('T', ' ')[:16]}, judged " if "began" in found else "") + found["time"]
    return ["", f"Ours, {found['scale']} scale, seeds {seeds}: {found['runs']} runs, {found['minutes']:g} minutes "
            f"on {found['device']}, {when}, commit {found['commit']}.", "", "![figure](figure.png)", "",
            tables.markdown((["kind", "id", "assertion", "measured", "verdict"], rows)), ""]


def studies(root: Path = Path("experiments")) -> list[Path]:
    """Folders of the studies that can be reproduced."""
    return sorted(file.parent for file in root.glob("*/expected.json"))


def listed(scale: str) -> list[dict[str, Any]]:
    """Every study with its paper, minutes and last result: of this machine (runs/NAME/SCALE) where there is one, else as recorded."""
    found = []
    for folder in studies():
        expected = read_expected(folder / "expected.json")
        here, kept = Path("runs") / folder.name / scale / "reproduced.json", folder / "recorded.json"
        file = here if here.is_file() else kept
        last = json.loads(file.read_text()) if file.is_file() else None
        judged = last is not None and word_of(last) != ""
        found.append({"study": folder.name, "paper": expected["paper"], "assertions": len(expected["assertions"]),
                      "controls": len(expected["controls"]), "minutes": last and last["minutes"], "time": last and last["time"],
                      "scale": last and last["scale"], "result": summary(last) if last else "not run",
                      "ok": passed(last) if judged else None, "where": "here" if here.is_file() else "recorded" if last else ""})
    return found


def list_studies(scale: str, as_json: bool, say: Say = print) -> int:
    """Print what `listed` gives, as a table or as JSON."""
    found = listed(scale)
    if as_json:
        say(json.dumps(found, indent=1))
        return 0
    if not found:
        say("no experiments/*/expected.json here: run it from the project's root")
        return 0
    rows = [[f["study"], f["paper"], "" if f["minutes"] is None else f"{f['minutes']:.1f}", f["scale"] or "", f["time"] or "",
             {True: "PASS", False: "FAIL", None: ""}[f["ok"]], f["result"], f["where"]] for f in found]
    say(tables.terminal((["study", "paper", "worker minutes", "scale", "time", "", "result", "from"], rows)))
    return 0


def reproduce_all(scale: str, workers: int, retry: bool, record: bool, say: Say = print) -> int:
    """Every study one after another; a table at the end. 0 where all verdicts are as they must be. What is recorded is written last, so
    that every run is of the commit as it stands. Raises Stopped after a signal: the same command goes on."""
    right, ends, kept = True, [], []
    for folder in studies():
        say(f"== {folder.name}")
        try:
            found = reproduce(str(folder), scale, None, workers, retry, False, say)
        except Exception as error:  # whatever a study's own file raises: the other studies go on
            right = False
            ends.append([folder.name, "ERROR", "", " ".join(f"{type(error).__name__}: {error}".split())])
            continue
        right &= passed(found)
        ends.append([folder.name, word_of(found), f"{found['minutes']:.1f}", summary(found)])
        kept.append((folder, found))
    for folder, found in kept if record else ():
        keep(folder, Path("runs") / found["study"] / scale, found)
    say(tables.terminal((["study", "", "worker minutes", "result"], ends)))
    return int(not right)
