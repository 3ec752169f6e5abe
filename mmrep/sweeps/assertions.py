"""What a figure must show, as data: `expected.json`, and its verdicts.

    {"paper": "...", "assertions": [
        {"id": "relu_first_layer", "kind": "PUBLISHED", "quantity": "cos/relu/1", "is": "within", "value": 0.3195, "tolerance": 0.01,
         "citation": "Liang et al. 2022, figure 2b", "provenance": "printed by the authors' notebook"},
        {"id": "gap_at_init", "kind": "SIGNATURE", "quantity": "gap/init", "is": "at least", "value": 0.5,
         "committed": "2026-11-27T15:10"}],
     "controls": [{"id": "linear", "of": "relu_first_layer", "quantity": "cos/linear/1", "why": "no nonlinearity, no cone"}]}

Kinds: THEOREM (a proof or a closed form), PUBLISHED (a number of the paper: citation and provenance), SIGNATURE (a shape of the paper's
result, whose threshold was committed before the confirming seeds ran), REGRESSION (our own earlier number). They are never added up. A
control is a quantity of runs whose mechanism is off; it must fail the assertion that it is `of`.
"""

import json
import math
import re
from pathlib import Path
from typing import Any, NamedTuple

from mmrep.core.names import nearest

KINDS = ("THEOREM", "PUBLISHED", "SIGNATURE", "REGRESSION")
TESTS = ("within", "at least", "at most", "below", "above")
KEYS = ("id", "kind", "quantity", "is", "value", "tolerance", "citation", "provenance", "committed", "scales", "why")
NEEDS = {"PUBLISHED": ("citation", "provenance"), "SIGNATURE": ("committed",), "THEOREM": ("why",), "REGRESSION": ("provenance",)}


class Verdict(NamedTuple):
    """Of one assertion or control. ok: it is as it must be (a control: it fails); verdict: PASS or FAIL of the check itself, or NOT RUN."""

    id: str
    kind: str
    text: str
    value: float
    verdict: str
    ok: bool
    note: str = ""


def read_expected(file: Path) -> dict[str, Any]:
    """expected.json, checked. Raises FileNotFoundError, or ValueError naming the file, the assertion and what is wrong with it."""
    if not file.is_file():
        raise FileNotFoundError(f"{file}: is missing; a study to reproduce says there what must come out")
    try:
        found = json.loads(file.read_text())
        assertions, controls = found["assertions"], found["controls"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: is no {{'paper', 'assertions': [...], 'controls': [...]}} ({type(error).__name__}: {error})") from None
    ids: set[str] = set()
    for i, one in enumerate([*assertions, *controls]):
        at = f"{file}: {'assertions' if i < len(assertions) else 'controls'} {one.get('id', i)!r}"
        if one.get("id") in ids or not one.get("id"):
            raise ValueError(f"{at}: needs an id of its own")
        ids.add(one["id"])
        needed = ("kind", "quantity", "is", "value") if i < len(assertions) else ("of", "quantity", "why")
        for key in (*needed, *NEEDS.get(one.get("kind"), ())):
            if key not in one:
                raise ValueError(f"{at}: has no {key!r}")
        for key in one:
            if key not in (*KEYS, "of"):
                raise ValueError(f"{at}: {key!r} is no key of it; {nearest(key, KEYS)}")
        if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d", one.get("committed", "2026-01-01T00:00")):
            raise ValueError(f"{at}: committed {one['committed']!r}; give the minute of the commit that has the threshold, such as "
                             "2026-01-31T09:05 (UTC): runs that began before it confirm nothing")
        if i < len(assertions):
            if one["kind"] not in KINDS:
                raise ValueError(f"{at}: kind {one['kind']!r}; {nearest(one['kind'], KINDS)}")
            if one["is"] not in TESTS or one["is"] == "within" and "tolerance" not in one:
                raise ValueError(f"{at}: `is` must be one of {', '.join(TESTS)}, and `within` has a tolerance")
        elif one["of"] not in {a["id"] for a in assertions}:
            raise ValueError(f"{at}: is of no assertion {one['of']!r}; {nearest(one['of'], [a['id'] for a in assertions])}")
    if not controls:
        raise ValueError(f"{file}: has no controls; a figure needs at least one that must fail")
    return found


def holds(one: dict, value: float) -> bool:
    """Whether a number passes an assertion; NaN passes none."""
    if not math.isfinite(value):
        return False
    bound = one["value"]
    return {"within": abs(value - bound) <= one.get("tolerance", 0.0), "at least": value >= bound, "at most": value <= bound,
            "below": value < bound, "above": value > bound}[one["is"]]


def text_of(one: dict) -> str:
    """An assertion in words: quantity within 0.3195 ± 0.01."""
    return f"{one['quantity']} {one['is']} {one['value']:g}" + (f" ± {one['tolerance']:g}" if one["is"] == "within" else "")


def judge(expected: dict, measured: dict[str, float], scale: str, began: str = "") -> list[Verdict]:
    """A verdict for every assertion and control. measured: quantities by name; began: when the first of the runs did (ISO, UTC).

    What is not of this scale is NOT RUN; so is a SIGNATURE whose threshold was committed after the runs began: they do not confirm it. A
    control that is NaN has not failed as it must: nothing was measured.
    Raises ValueError for a quantity that was not measured.
    """
    found = []
    assertions = {a["id"]: a for a in expected["assertions"]}
    for one in [*expected["assertions"], *expected["controls"]]:
        test = assertions[one.get("of", one["id"])]
        kind = "control" if "of" in one else one["kind"]
        text = text_of(test | {"quantity": one["quantity"]})
        if scale not in one.get("scales", test.get("scales", ("small", "paper"))):
            found.append(Verdict(one["id"], kind, text, math.nan, "NOT RUN", True, f"not at {scale} scale"))
            continue
        if one["quantity"] not in measured:
            raise ValueError(f"expected.json {one['id']!r}: figure.py measures no {one['quantity']!r}; "
                             + nearest(one["quantity"], measured))
        value = float(measured[one["quantity"]])
        passed = holds(test, value)
        late = kind == "SIGNATURE" and began and began[:len(one["committed"])] < one["committed"]
        note = f"of {one['of']}, which it must fail: {one['why']}" if kind == "control" else ""
        note = f"threshold of {one['committed']}, runs of {began}: they came before it and confirm nothing" if late else note
        found.append(Verdict(one["id"], kind, text, value, "NOT RUN" if late else "PASS" if passed else "FAIL",
                             not passed and math.isfinite(value) if kind == "control" else passed or bool(late), note))
    return found


def counts(found: list[Verdict]) -> dict[str, dict[str, int]]:
    """{kind: {"PASS", "FAIL", "NOT RUN"}}, controls by whether they fail as they must."""
    out: dict[str, dict[str, int]] = {}
    for one in found:
        word = one.verdict if one.kind != "control" or one.verdict == "NOT RUN" else "PASS" if one.ok else "FAIL"
        kind = out.setdefault(one.kind, {"PASS": 0, "FAIL": 0, "NOT RUN": 0})
        kind[word] += 1
    return out
