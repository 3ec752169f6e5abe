"""The tables of a report, for a terminal, in Markdown and in LaTeX: means over seeds, and comparisons with the baseline."""

import math
import re
from typing import Any

from mmrep.sweeps.plan import shown

Table = tuple[list[str], list[list[str]]]  # head, rows


def number(x: float, digits: int = 3) -> str:
    """A number with `digits` decimals, in as many digits where it is large or small; – for NaN."""
    if x is None or math.isnan(x):
        return "–"
    if x and (abs(x) >= 1000 or abs(x) < 10**-digits / 2):
        return f"{x:.{digits}g}"
    return f"{x:.{digits}f}"


def of_means(summary: list[dict], axes: list[str], metrics: list[str], stars: dict[tuple[str, str], str] | None = None) -> Table:
    """A row a setting, a column a metric: mean [95 % interval over seeds], stars of its comparison; of fewer than 4 seeds their values."""
    cells = {(s["tag"], s["metric"]): s for s in summary}
    tags = list(dict.fromkeys(s["tag"] for s in summary))
    named = {s["tag"]: s["axes"] for s in summary}
    rows = []
    for tag in tags:
        found = [cells.get((tag, m)) for m in metrics]
        seeds = max((s["n"] for s in found if s), default=0)
        rows.append([*("" if named[tag][a] is None else shown(named[tag][a]) for a in axes), str(seeds),
                     *(_cell(s) + (stars or {}).get((tag, s["metric"]), "") if s else "" for s in found)])
    return [*axes, "seeds", *metrics], rows


def _cell(one: dict) -> str:
    if not one["n"]:
        return "NaN"
    if one["n"] < 4:
        return " ".join(number(v) for v in one["values"])
    return f"{number(one['mean'])} [{number(one['low'])}, {number(one['high'])}]"


def of_variance(summary: list[dict]) -> Table:
    """Where the spread comes from: deviation between seeds, and standard error by the test cases of one run."""
    return (["setting", "metric", "seeds", "sd over seeds", "se of test cases"],
            [[s["tag"], s["metric"], str(s["n"]), number(s["sd_seed"], 4), number(s["sd_test"], 4)] for s in summary])


def of_comparisons(found: list[dict]) -> Table:
    """A row a comparison: difference [95 % interval over paired seeds], effect size, p, Holm's p, what the design can detect."""
    return (["setting", "baseline", "metric", "pairs", "difference", "Hedges g", "p", "p (Holm)", "detectable", ""],
            [[c["tag"], c["baseline"], c["metric"], str(c["n"]),
              f"{number(c['difference'])} [{number(c['low'])}, {number(c['high'])}]{c['stars']}", number(c["effect"], 2), number(c["p"], 4),
              number(c["p_holm"], 4), number(c["detectable"]), c["note"]] for c in found])


def terminal(table: Table) -> str:
    """Aligned columns; the first to the left, numbers to the right."""
    head, rows = table
    widths = [max(len(r[i]) for r in [head, *rows]) for i in range(len(head))]
    right = [all(_numeric(r[i]) for r in rows if r[i]) for i in range(len(head))]
    line = lambda r: "  ".join(c.rjust(w) if up else c.ljust(w) for c, w, up in zip(r, widths, right)).rstrip()  # noqa: E731
    return "\n".join([line(head), line(["─" * w for w in widths]), *map(line, rows)])


def _numeric(text: str) -> bool:
    return text[:1].isdigit() or text[:1] in "-–" and (len(text) == 1 or text[1:2].isdigit() or text[1:2] == ".")


def markdown(table: Table) -> str:
    """A Markdown table."""
    head, rows = table
    escaped = [[c.replace("|", "\\|").replace("*", "\\*") for c in r] for r in [head, *rows]]
    lines = ["| " + " | ".join(r) + " |" for r in escaped]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])


def latex(table: Table) -> str:
    """A booktabs table; needs \\usepackage{booktabs}."""
    head, rows = table
    lines = [" & ".join(map(_tex, r)) + r" \\" for r in [head, *rows]]
    return "\n".join(["\\begin{tabular}{" + "l" * len(head) + "}", "\\toprule", lines[0], "\\midrule", *lines[1:], "\\bottomrule",
                      "\\end{tabular}"])


TEX = {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}"} | {c: "\\" + c for c in "_%&#${}"}


def _tex(text: str) -> str:
    text = re.sub(r"[\\~^_%&#${}]", lambda found: TEX[found[0]], text).replace("–", "--")
    return re.sub(r"\*+", lambda found: f"$^{{{found[0]}}}$", text)


def plain(value: Any) -> Any:
    """NaN as None, which JSON has."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
