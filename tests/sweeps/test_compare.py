"""Means, comparisons, and the words on what a design cannot show."""

import math

import numpy as np

from mmrep.metrics import seeds
from mmrep.sweeps import tables
from mmrep.sweeps.compare import compare, problems, summarize
from tests.sweeps.tables import paired, planned, row


def compared(rows, metrics=("m",)):
    return compare(rows, {"loss": "softmax"}, list(metrics), planned(rows))


def test_a_comparison_is_paired_by_seed_and_corrected_over_the_family():
    rows = paired(10, metrics=("m", "k"))
    found = compare(rows, {"loss": "softmax"}, ["m", "k"], planned(rows))
    assert [(c["tag"], c["baseline"], c["metric"], c["n"]) for c in found] == [
        ("loss=sigmoid", "loss=softmax", m, 10) for m in ("m", "k")]
    d = [0.1 + 0.001 * (s % 3) for s in range(10)]
    assert np.isclose(found[0]["difference"], np.mean(d)) and np.isclose(found[0]["p"], 2 / 2**10)
    assert np.isclose(found[0]["p_holm"], 2 * 2 / 2**10) and found[0]["stars"] == "**" and not found[0]["note"]
    assert np.isclose(found[0]["effect"], seeds.hedges_g(d))


def test_no_star_where_the_design_cannot_reach_one():
    for n in (1, 2, 3, 5):
        one = compared(paired(n))[0]
        assert one["stars"] == "" and f"smallest possible p is {2.0 ** (1 - n):.3g}" in one["note"]
    six = compared(paired(6))[0]  # 2 / 64 < 0.05, but of two comparisons 4 / 64 is not
    assert six["stars"] == "*" and "a claim needs 10" in six["note"]
    both = compared(paired(6, metrics=("m", "k")), ["m", "k"])
    assert all(c["stars"] == "" and "after correction for 2" in c["note"] for c in both)
    rng = np.random.default_rng(0)
    noisy = [r | {"value": r["value"] + rng.normal(0, 0.5)} for r in paired(10, shift=0.0)]
    assert "pipeline check, no comparison" in compared(noisy)[0]["note"]


def test_what_was_declared_stays_the_family_and_lost_pairs_cost_the_star():
    rows = paired(10, metrics=("m", "k"))
    plan = planned(rows)
    found = compare(rows, {"loss": "softmax"}, ["m", "k", "misspelled"], plan)
    assert np.isclose(found[0]["p_holm"], 3 * 2 / 2**10)
    assert math.isnan(found[2]["p_holm"]) and "10 of 10 pairs are missing" in found[2]["note"]
    runs = [{"run": rows[0]["run"], "state": "finished"}]
    assert "misspelled is in none of the 1 finished runs" in problems(rows, runs, ["misspelled"])[0]
    diverged = [r | ({"value": math.nan} if r["seed"] < 2 and r["tag"] == "loss=sigmoid" else {}) for r in rows]
    one = compare(diverged, {"loss": "softmax"}, ["m"], plan)[0]
    assert one["n"] == 8 and one["p"] < 0.05 and one["stars"] == "" and "2 of 10 pairs are missing or NaN" in one["note"]
    failed = [r for r in rows if r["tag"] == "loss=softmax"]  # of the other setting no run ended
    assert compare(failed, {"loss": "softmax"}, ["m"], plan)[0]["n"] == 0


def test_each_setting_is_compared_within_its_other_axes():
    rows = [row(f"loss={x},lr={y}", s, value=y + (x == "b"), loss=x, lr=y) for x in "ab" for y in (0.1, 1.0) for s in range(3)]
    plan = planned(rows, ("loss", "lr"))
    found = compare(rows, {"loss": "a"}, ["m"], plan)
    assert {(c["tag"], c["baseline"]) for c in found} == {("loss=b,lr=0.1", "loss=a,lr=0.1"), ("loss=b,lr=1.0", "loss=a,lr=1.0")}
    assert all(np.isclose(c["difference"], 1) for c in found)
    one = compare(rows, {"loss": "a", "lr": 1.0}, ["m"], plan)
    assert {c["baseline"] for c in one} == {"loss=a,lr=1.0"} and len(one) == 3 and compare(rows, {}, ["m"], plan) == []


def test_seed_and_test_sample_variance_stand_apart():
    rows = [row("a", s, value=v) for s, v in enumerate((0.5, 0.6, 0.7))] + [row("a", 3, value=math.nan)]
    one = summarize(rows, ["m"], [])[0]
    assert np.isclose(one["mean"], 0.6) and np.isclose(one["sd_seed"], 0.1) and np.isclose(one["sd_test"], 0.2 / (2 * 1.959964))
    assert one["n"] == 3 and one["nan"] == 1 and np.isclose(one["low"], seeds.t_interval((0.5, 0.6, 0.7))[1])


def test_several_commits_and_stopped_runs_are_told():
    rows = [row("a", 0), row("a", 1) | {"commit": "d"}]
    runs = [{"run": "a/seed0", "state": "finished", "left_out": {}}, {"run": "a/seed1", "state": "stopped", "step": 7}]
    text = "\n".join(problems(rows, runs, ["m"]))
    assert "2 commits: c, d" in text and "a/seed1 is half-done (step 7)" in text


def test_tables_are_aligned_and_escaped():
    table = (["a_b", "value"], [["x%", "1.50"], ["y", "-12.25**"]])
    assert tables.terminal(table).splitlines() == ["a_b     value", "───  ────────", "x%       1.50", "y    -12.25**"]
    assert tables.markdown(table).splitlines()[3] == "| y | -12.25\\*\\* |"
    assert tables.latex(table).splitlines()[4:6] == ["x\\% & 1.50 \\\\", "y & -12.25$^{**}$ \\\\"]
    assert tables.number(math.nan) == "–" and tables.number(0.00001) == "1e-05" and tables.number(0.0) == "0.000"
