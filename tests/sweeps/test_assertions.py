"""What a figure must show: read, checked, judged."""

import json
import math

import pytest

from mmrep.sweeps.assertions import counts, judge, read_expected

GOOD = {"paper": "p", "assertions": [
    {"id": "t", "kind": "THEOREM", "quantity": "x", "is": "within", "value": 1.0, "tolerance": 0.1, "why": "closed form"},
    {"id": "s", "kind": "SIGNATURE", "quantity": "y", "is": "at least", "value": 0.5, "committed": "2026-05-02T12:00"},
    {"id": "r", "kind": "REGRESSION", "quantity": "y", "is": "below", "value": 0.9, "provenance": "ours", "scales": ["smoke"]}],
    "controls": [{"id": "c", "of": "s", "quantity": "z", "why": "pairs shuffled"}]}


def written(tmp_path, found):
    file = tmp_path / "expected.json"
    file.write_text(json.dumps(found))
    return file


def verdicts(measured, scale="small", began="2026-05-03T10:00:00Z"):
    return {v.id: (v.verdict, v.ok) for v in judge(GOOD, measured, scale, began)}


def test_verdicts_and_controls(tmp_path):
    assert read_expected(written(tmp_path, GOOD)) == GOOD
    assert verdicts({"x": 1.05, "y": 0.6, "z": 0.1}) == {
        "t": ("PASS", True), "s": ("PASS", True), "r": ("NOT RUN", True), "c": ("FAIL", True)}
    assert verdicts({"x": 1.2, "y": math.nan, "z": 0.7}) == {
        "t": ("FAIL", False), "s": ("FAIL", False), "r": ("NOT RUN", True), "c": ("PASS", False)}  # a control that passes is wrong
    assert verdicts({"x": 1.0, "y": 0.6, "z": math.nan})["c"] == ("FAIL", False)  # nor is one that was not measured right
    assert verdicts({"y": 0.6}, "smoke")["r"] == ("PASS", True)
    kinds = counts(judge(GOOD, {"x": 1.05, "y": 0.6, "z": 0.1}, "small"))
    assert kinds["control"]["PASS"] == 1 and kinds["REGRESSION"]["NOT RUN"] == 1
    assert kinds["THEOREM"] == {"PASS": 1, "FAIL": 0, "NOT RUN": 0}
    with pytest.raises(ValueError, match="'t': figure.py measures no 'x'; did you mean 'xx'"):
        judge(GOOD, {"xx": 1.0, "y": 1, "z": 1}, "small")


def test_runs_before_a_threshold_confirm_nothing():
    assert verdicts({"x": 1.0, "y": 0.6, "z": 0.1}, began="2026-05-02T11:59:59Z")["s"] == ("NOT RUN", True)


@pytest.mark.parametrize("change, words", [
    (lambda f: f["assertions"][0].pop("why"), "assertions 't': has no 'why'"),
    (lambda f: f["assertions"][1].pop("committed"), "assertions 's': has no 'committed'"),
    (lambda f: f["assertions"][1].update(committed="2026-05-02"), "'s': committed '2026-05-02'; give the minute"),
    (lambda f: f["assertions"][0].update(kind="THEORY"), "kind 'THEORY'; did you mean 'THEOREM'"),
    (lambda f: f["assertions"][0].pop("tolerance"), "`within` has a tolerance"),
    (lambda f: f["assertions"][0].update(toleranse=1), "'toleranse' is no key of it; did you mean 'tolerance'"),
    (lambda f: f["assertions"][0].update(id="s"), "needs an id of its own"), (lambda f: f["controls"].clear(), "has no controls"),
    (lambda f: f["controls"][0].update(of="q"), "is of no assertion 'q'"), (lambda f: f.pop("controls"), "KeyError: 'controls'")])
def test_a_wrong_expectation_is_named(tmp_path, change, words):
    found = json.loads(json.dumps(GOOD))
    change(found)
    with pytest.raises(ValueError, match=words):
        read_expected(written(tmp_path, found))
