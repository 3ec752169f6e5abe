"""A validation report as text for a terminal, and as one self-contained HTML page."""

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmrep.core.files import write_text

MOST = 12  # classes of a label that are shown
STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1d2329; max-width: 1100px; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.4rem } h2 { font-size: 1.05rem; margin-top: 2rem; border-bottom: 1px solid #cdd5dc; padding-bottom: .25rem }
table { border-collapse: collapse; margin: .5rem 0 } th, td { padding: .22rem .7rem; text-align: right; vertical-align: top }
th { color: #5b6772; font-weight: 600 } th:first-child, td:first-child, td.text { text-align: left }
tr:nth-child(even) td { background: #f4f6f8 }
.FAIL, .LOOK, .ok { display: inline-block; min-width: 3.4rem; text-align: center; border-radius: .3rem; color: #fff; font-size: .8rem }
.FAIL { background: #b3261e } .LOOK { background: #a06a00 } .ok { background: #2f7d4f }
.bar { display: inline-block; height: .7rem; background: #5d8fc2; vertical-align: middle; margin-right: .4rem }
.small { color: #5b6772; font-size: .9rem } td.text { max-width: 46rem; overflow-wrap: anywhere }
"""


def cells_of(report: Mapping[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """(title, head, rows) of every table of a report, all as text."""
    splits = list(report["splits"])
    tables = [("splits", ["split", "rows", "bad", "cases"], [
        [s, f"{v['rows']:,}", f"{v['skipped']:,}", f"{v['cases']:,}" if "cases" in v else "-"] for s, v in report["splits"].items()])]
    tables.append(("fields", ["field", "forms", "min", "max", "mean", *(f"missing in {s}" for s in splits)], [
        [field, _forms(v["forms"]), *(f"{v[k]:.4g}" if k in v else "-" for k in ("min", "max", "mean")),
         *(f"{report['missing'][field][s]:,}" for s in splits)] for field, v in report["fields"].items()]))
    if shared := [[kind, f"{v['values']:,}", f"{v['rows']:,}"] for kind, v in report["duplicates"].items() if v["rows"]]:
        tables.append(("duplicates", ["what", "shared by several rows", "rows"], shared))
    if report["leakage"]:
        tables.append(("leakage between splits", ["what", "splits", "in both", "rows of the one", "rows of the other", "e.g. rows"], [
            [kind, pair.replace("/", " and "), f"{v['values']:,}", f"{v['rows'][0]:,}", f"{v['rows'][1]:,}",
             "; ".join(f"{a}, {b}" for a, b in v["examples"][:3])]
            for kind, pairs in report["leakage"].items() for pair, v in pairs.items()]))
    for label, found in report["labels"].items():
        if found["kind"] == "number":
            rows = [[s, *(f"{v:.4g}" for v in found["range"][s]), f"{found['unknown'][s]:,}"] for s in found["range"]]
            tables.append((f"label {label}", ["split", "min", "mean", "max", "unknown"], rows))
            continue
        total = {c: sum(found["counts"][s].get(c, 0) for s in splits) for s in splits for c in found["counts"][s]}
        shown = sorted(total, key=lambda c: (-total[c], c))
        rows = [[c, *(_count(found, s, c) for s in splits)] for c in shown[:MOST]]
        if len(shown) > MOST:
            rest = shown[MOST:]
            rows.append([f"{len(rest)} more", *(f"{sum(found['counts'][s].get(c, 0) for c in rest):,}" for s in splits)])
        rows.append(["(unknown)", *(f"{found['unknown'][s]:,}" for s in splits)])
        classes = found["kind"] == "classes"
        title = f"label {label}" + ("" if classes else ": rows with each finding / without it / where it is uncertain or not told")
        tables.append((title, ["class" if classes else "finding", *splits], rows))
    return tables


def _count(found: Mapping[str, Any], split: str, name: str) -> str:
    """Rows of a class; of a finding those that have it, have it not, and leave it open."""
    parts = [found[key][split].get(name, 0) for key in ("counts", "absent", "open") if key in found]
    return " / ".join(f"{n:,}" for n in parts)


def _forms(forms: Mapping[str, int]) -> str:
    """The most frequent shapes."""
    first = list(forms.items())
    return ", ".join(f"{form} x {n:,}" for form, n in first[:2]) + (f", {len(first) - 2} more" if len(first) > 2 else "")


def summary(report: Mapping[str, Any], source: str) -> str:
    """Verdicts, then the tables, in columns."""
    lines = [head(report, source)]
    lines += [f"{v['mark']:5}{v['what']:22}{' '.join(v['text'].split())}" for v in report["verdicts"]]
    for title, names, rows in cells_of(report):
        widths = [max(len(row[i]) for row in [names, *rows]) for i in range(len(names))]
        lines += ["", f"{title}:"]
        lines += ["  " + "  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))).rstrip()
                  for row in [names, *rows]]
    return "\n".join(lines)


def head(report: Mapping[str, Any], source: str) -> str:
    """One line: what was read, and how fast."""
    cases = "" if report["cases"] is None else f", {report['cases']:,} cases"
    return (f"{source}: {report['rows']:,} rows read, {report['skipped']:,} bad{cases}, in {report['seconds']:.1f} s "
            f"({report['rows_per_second']:,.0f} rows/s)")


def write_html(report: Mapping[str, Any], source: str, out: Path) -> Path:
    """The report as one page without scripts or anything from elsewhere; written whole or not at all."""
    if out.suffix != ".html":
        raise ValueError(f"--html {out}: write to a .html file")
    text = html.escape
    body = [f"<h1>{text(source)}</h1><p>{text(head(report, '').removeprefix(': '))}. Rows are numbers in the file, from 0.</p>",
            "<table>", *(f"<tr><td><span class={v['mark']}>{v['mark']}</span></td><td class=text>{text(v['what'])}</td>"
                         f"<td class=text>{text(v['text'])}</td></tr>" for v in report["verdicts"]), "</table>"]
    for title, names, rows in cells_of(report):
        bars = title.startswith("label ") and names[0] != "split"
        body += [f"<h2>{text(title)}</h2><table><tr>{''.join(f'<th>{text(n)}</th>' for n in names)}</tr>"]
        most = [max([_first(row[i]) for row in rows] + [1]) if bars and i else 1 for i in range(len(names))]
        for row in rows:
            cells = [f"<td>{_bar(cell, most[i]) if bars and i else ''}{text(cell)}</td>" for i, cell in enumerate(row)]
            body.append(f"<tr>{''.join(cells)}</tr>")
        body.append("</table>")
    if report["problems"]:
        body += ["<h2>bad rows</h2><table>", *(f"<tr><td>{text(p['split'])}</td><td class=text>{text(p['why'])}</td></tr>"
                                              for p in report["problems"][:200]), "</table>"]
        body += [f"<p class=small>and {len(report['problems']) - 200:,} more</p>"] if len(report["problems"]) > 200 else []
    if report["notes"]:
        body += ["<h2>notes</h2>", *(f"<p class=small>{text(note)}</p>" for note in report["notes"])]
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, f"<!doctype html><meta charset=utf-8><title>{text(source)}</title><style>{STYLE}</style>\n" + "\n".join(body) + "\n")
    return out


def _first(cell: str) -> int:
    """The number of a cell, of "with / without / open" the first."""
    return int(cell.partition(" /")[0].replace(",", ""))


def _bar(cell: str, most: int) -> str:
    return f"<span class=bar style='width:{_first(cell) / most * 6:.2f}rem'></span>"
