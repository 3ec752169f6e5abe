"""The table of a run: what stands beside each number, what is left aside, verdicts and reasons."""

import pytest

from mmrep.summary import ceiling, chance, summary


def number(value, low=None, high=None, n=40):
    return {"value": value, "low": value - 0.1 if low is None else low, "high": value + 0.1 if high is None else high, "n": n}


@pytest.mark.parametrize("pair, mark", [(("image", "text"), ""), (("text", "image"), ":text-image"), (("image", "ecg"), ":image-ecg")])
def test_every_pair_finds_its_chance_and_ceiling(pair, mark):
    a, b = pair
    metrics = {f"retrieval/{a}_to_{b}/R@10/instance": number(0.5), f"retrieval/{b}_to_{a}/R@5/group": number(0.4),
               f"retrieval/chance{mark}/R@10/instance": number(0.25), f"retrieval/ceiling{mark}/R@10/instance": number(0.9),
               f"retrieval/chance{mark}/R@5/group": number(0.125), f"alignment{mark}/gap": number(0.3),
               f"alignment{mark}/mutual_knn@10": number(0.2), f"alignment{mark}/mutual_knn@10/null": number(0.0625),
               f"alignment{mark}/uniformity/{a}": number(-3.0)}
    assert chance(f"retrieval/{a}_to_{b}/R@10/instance", metrics) == 0.25
    assert ceiling(f"retrieval/{a}_to_{b}/R@10/instance", metrics) == 0.9
    assert chance(f"retrieval/{b}_to_{a}/R@5/group", metrics) == 0.125 and ceiling(f"retrieval/{b}_to_{a}/R@5/group", metrics) is None
    assert chance(f"alignment{mark}/mutual_knn@10", metrics) == 0.0625
    text = summary({"metrics": metrics, "controls": {}, "left_out": {}, "skipped": {}, "split": "val", "rows": 40})
    assert text.startswith("val, 40 rows") and "uniformity" not in text and "retrieval/chance" not in text
    assert text.count("\nretrieval:") == text.count("\nalignment of the modalities:") == 1 and "\nother:" not in text
    assert "0.500 [0.400, 0.600]" in text and "0.250      0.900" in text
    other = {f"ecg/{name}": value for name, value in metrics.items()}  # of a stream besides the main one
    assert chance(f"ecg/retrieval/{a}_to_{b}/R@10/instance", other) == 0.25
    text = summary({"metrics": other, "controls": {}, "left_out": {}, "skipped": {}, "split": "val", "rows": 40})
    assert "\nretrieval:\n  ecg/retrieval/" in text and "\nother:" not in text and "uniformity" not in text


def test_verdicts_and_reasons():
    probe = "probe/finding/auroc"
    results = {"metrics": {probe: number(0.8)}, "controls": {"untrained": {probe: number(0.6)}, "raw_pca": {probe: number(0.7)}},
               "paired": {"untrained": {probe: number(0.2)}, "raw_pca": {probe: number(0.05)}}, "split": "test", "rows": 40, "step": 7,
               "left_out": {f"alignment/{i}": "too few" for i in range(5)} | {"probe/x": "no", "paired/raw_pca/probe/x": "no"},
               "skipped": {"train": 1, "test": 0}}
    text = summary(results).splitlines()
    assert text[0].startswith("test, 40 rows, step 7") and text[0].endswith("chance  untrained    raw_pca")
    assert text[2].split() == [probe, "0.800", "[0.700,", "0.900]", "0.500", "0.600", "0.700"]
    assert any(line.endswith("above untrained encoders") for line in text)
    assert any(line.endswith("not told apart from raw inputs (PCA)") for line in text)
    assert any(line.split() == "probe/x none: no (raw inputs (PCA))".split() for line in text)
    assert text[-3:] == ["left out: alignment/... (5 numbers): too few", "left out: probe/x: no", "1 row of train could not be read"]
