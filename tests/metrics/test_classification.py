"""Classification metrics against sklearn, with and without weights."""

import time

import numpy as np
import pytest
from sklearn import metrics as sk

from mmrep.metrics import classification as cls
from mmrep.metrics import intervals


@pytest.fixture(params=[False, True], ids=["continuous", "ties"])
def data(request):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 300)
    scores = rng.normal(size=(300, 6)) + 1.2 * np.eye(6)[labels]  # class 5 never occurs
    weights = rng.multinomial(300, np.full(300, 1 / 300), size=4).astype(float)
    return labels, (np.round(scores) if request.param else scores), weights


@pytest.mark.filterwarnings("ignore:y_pred contains classes")
def test_label_metrics_equal_sklearn(data):
    labels, scores, weights = data
    predicted = scores.argmax(1)
    pairs = ((cls.accuracy, sk.accuracy_score, {}), (cls.balanced_accuracy, sk.balanced_accuracy_score, {}),
             (cls.macro_f1, sk.f1_score, {"average": "macro", "zero_division": 0}))
    for ours, theirs, extra in pairs:
        assert ours(labels, scores) == pytest.approx(theirs(labels, predicted, **extra))
        weighted = ours(labels, predicted, weights)
        for row, w in zip(weighted, weights):
            index = np.repeat(np.arange(300), w.astype(int))
            assert row == pytest.approx(theirs(labels[index], predicted[index], **extra))


def test_auroc_and_average_precision_equal_sklearn(data):
    labels, scores, weights = data
    for ours, macro, theirs in ((cls.auroc, cls.macro_auroc, sk.roc_auc_score),
                                (cls.average_precision, cls.macro_average_precision, sk.average_precision_score)):
        columns = [theirs(labels == c, scores[:, c]) for c in range(5)]
        assert [ours(labels == c, scores[:, c]) for c in range(5)] == pytest.approx(columns)
        assert macro(labels, scores) == pytest.approx(np.mean(columns))
        weighted = [np.mean([theirs(labels == c, scores[:, c], sample_weight=w) for c in range(5)]) for w in weights]
        assert macro(labels, scores, weights).tolist() == pytest.approx(weighted)


def test_classes_without_both_labels_are_left_out_and_reported(data):
    labels, scores, _ = data
    found = cls.auroc_per_class(labels, scores)
    assert found.left_out.tolist() == [5] and found.classes.tolist() == [0, 1, 2, 3, 4]
    assert np.isfinite(found.values).all() and found.macro == pytest.approx(found.values.mean())
    with pytest.raises(ValueError, match="no class has both"):
        cls.auroc_per_class(np.zeros((9, 2)), np.random.default_rng(0).normal(size=(9, 2)))
    with pytest.raises(ValueError, match="only one label"):
        cls.auroc(np.ones(9), np.arange(9.0))


def test_multi_label_with_uncertain_labels_masked():
    rng = np.random.default_rng(0)
    labels = rng.integers(-1, 2, (200, 3))  # -1: uncertain
    scores = rng.normal(size=(200, 3)) + labels
    found = cls.auroc_per_class(labels, scores, mask=labels >= 0)
    for c in range(3):
        known = labels[:, c] >= 0
        assert found.values[c] == pytest.approx(sk.roc_auc_score(labels[known, c], scores[known, c]))
    assert cls.macro_auroc(labels, scores, np.ones((2, 200)), labels >= 0) == pytest.approx([found.macro] * 2)
    with pytest.raises(ValueError, match="value other than 0 or 1; mask it"):
        cls.auroc_per_class(labels, scores)


def test_brier_equals_sklearn_and_ece_a_naive_loop():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 500)
    p = rng.dirichlet(np.ones(4), 500)
    onehot = np.eye(4)[labels]
    assert cls.brier(labels, p) == pytest.approx(np.square(p - onehot).sum(1).mean())
    assert cls.brier(labels > 1, p[:, 0]) == pytest.approx(sk.brier_score_loss(labels > 1, p[:, 0]))
    confidence, right = p.max(1), p.argmax(1) == labels
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert cls.ece(labels, p) == pytest.approx(expected)
    assert cls.ece(labels, p, weights=np.ones((3, 500))) == pytest.approx([expected] * 3)
    binary = rng.random(20000)
    assert cls.ece(rng.random(20000) < binary, binary) < 0.02  # calibrated by construction
    assert cls.ece(np.zeros(10, int), np.ones(10)) == 1.0
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        cls.ece(labels, 3 * p)


def test_thousand_resamples_of_macro_auroc_are_fast():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 512)
    scores = rng.normal(size=(512, 10)) + np.eye(10)[labels]
    intervals.auroc_interval(labels, scores, n_boot=10)
    start = time.perf_counter()
    found = intervals.auroc_interval(labels, scores, n_boot=1000)
    assert time.perf_counter() - start < 1.0  # 0.07 s alone on one core
    assert found.low < found.value < found.high
